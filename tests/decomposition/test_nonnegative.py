"""Nonnegative factorisations: scikit-learn's iterates, costs that never rise, equal starts."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.decomposition as peer
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.decomposition import NMF, MiniBatchNMF
from kernelmill.decomposition._nmf import double_svd
from kernelmill.decomposition._nonnegative import divergence, gamma_of
from kernelmill.decomposition._watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = np.abs(RNG.normal(size=(60, 4))) @ np.abs(RNG.normal(size=(4, 15))) + 0.1 * RNG.random((60, 15))
SPARSE = sp.csr_matrix(X * (RNG.random(X.shape) < 0.5))
W0, H0 = np.abs(RNG.normal(size=(60, 3))), np.abs(RNG.normal(size=(3, 15)))
PENALISED = {"alpha_W": 0.01, "alpha_H": 0.02, "l1_ratio": 0.5}
KINDS = [
    ("cd", "frobenius", {}),
    ("cd", "frobenius", PENALISED),
    ("mu", "frobenius", PENALISED),
    ("mu", "kullback-leibler", {}),
    ("mu", "kullback-leibler", PENALISED),
    ("mu", "itakura-saito", {}),
    ("mu", 0.5, {}),
    ("mu", 1.5, PENALISED),
    ("mu", 3, {}),
]


@pytest.mark.parametrize(("solver", "beta", "more"), KINDS)
@pytest.mark.parametrize("sparse", [False, True])
def test_iterates_are_scikit_learns(solver, beta, more, sparse):
    data = SPARSE if sparse else X
    if sparse and beta in ("itakura-saito", 0.5):
        pytest.skip("zeros have no such divergence")
    options = {"init": "custom", "solver": solver, "beta_loss": beta, "max_iter": 25, **more}
    model = NMF(3, **options).fit(data, W=W0, H=H0)
    other = peer.NMF(3, **options).fit(data, W=W0.copy(), H=H0.copy())
    np.testing.assert_allclose(model.components_, other.components_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.reconstruction_err_, other.reconstruction_err_, rtol=1e-8)
    assert model.n_iter_ == other.n_iter_


@pytest.mark.parametrize(("solver", "beta", "more"), KINDS)
def test_the_cost_never_rises(solver, beta, more):
    number = {"frobenius": 2, "kullback-leibler": 1, "itakura-saito": 0}.get(beta, beta)
    n, d = X.shape
    costs = []
    for steps in range(1, 12):
        model = NMF(
            3, init="custom", solver=solver, beta_loss=beta, max_iter=steps, tol=0, **more
        )
        kept = {}
        divided = model._fit  # the last W, which the model does not keep
        divided(X, W=W0, H=H0)
        kept = model.components_
        W = model._coded(X, kept, model._penalties(n, d)[0], 400, 0.0)
        cost = divergence(X, W, kept, number)
        for factor, penalty in zip((W, kept), model._penalties(n, d), strict=True):
            cost += penalty.l1 * factor.sum() + penalty.l2 / 2 * (factor**2).sum()
        costs.append(cost)
    assert np.diff(costs).max() < 1e-6 * costs[0]
    assert costs[-1] < 0.999 * costs[0]


@pytest.mark.parametrize("model", [
    NMF(2, solver="mu", init="nndsvda"), NMF(2), NMF(3, solver="mu", beta_loss=1.0),
    MiniBatchNMF(2, batch_size=20, random_state=0),
])  # fmt: skip
@pytest.mark.parametrize("data", [X, SPARSE])
def test_transform_of_the_training_rows(model, data):
    """scikit-learn/scikit-learn#18663"""
    found = model.fit_transform(data)
    np.testing.assert_allclose(model.fit(data).transform(data), found, rtol=1e-12)
    back = model.inverse_transform(found)
    want = np.linalg.norm((data.toarray() if sp.issparse(data) else data) - back)
    if getattr(model, "beta_loss", 2) == "frobenius":
        assert want <= model.reconstruction_err_ * (1 + 1e-6)


def test_coefficients_of_descent_are_least_squares():
    from scipy.optimize import nnls

    model = NMF(3, tol=1e-6, max_iter=300).fit(X)
    want = [nnls(model.components_.T, x)[0] for x in X]
    np.testing.assert_allclose(model.transform(X), want, atol=1e-6)


@pytest.mark.parametrize("kind", ["nndsvd", "nndsvda", "nndsvdar"])
@pytest.mark.parametrize("sparse", [False, True])
def test_starts_by_singular_vectors(kind, sparse):
    rows = NMF()._rows(SPARSE if sparse else X, reset=True)
    W, H = double_svd(rows, 3, 0, 0.25, kind)
    dense = SPARSE.toarray() if sparse else X
    U, s, V = np.linalg.svd(dense, full_matrices=False)
    np.testing.assert_allclose(W[:, 0], np.sqrt(s[0]) * np.abs(U[:, 0]), rtol=1e-8)
    np.testing.assert_allclose(H[0], np.sqrt(s[0]) * np.abs(V[0]), rtol=1e-8)
    plain, _ = double_svd(rows, 3, 0, 0.25, "nndsvd")
    zero = plain == 0
    assert zero.any()
    if kind == "nndsvda":
        assert (W[zero] == 0.25).all()
    elif kind == "nndsvdar":
        assert (W[zero] > 0).mean() > 0.9
        assert W[zero].max() < 0.02
    np.testing.assert_allclose(W[~zero], plain[~zero])
    j = 1 if U[:, 1].max() else 2
    own = ~zero[:, j]
    parts = [np.maximum(sign * U[own, j], 0) for sign in (1, -1)]
    want = W[own, j] / np.linalg.norm(W[own, j])
    assert any(np.allclose(want, p / (np.linalg.norm(p) or 1), atol=1e-6) for p in parts)


@pytest.mark.parametrize("c", [1e-140, 1e-8, 1e8, 1e120])
@pytest.mark.parametrize("kind", [("cd", 2), ("mu", 2), ("mu", 1), ("mu", 0)])
def test_the_law_of_scale(c, kind):
    solver, beta = kind
    if beta == 2 and c == 1e-140:
        c = 1e-100
    # the default start fills zeros with the mean of X, which is in the unit of X, not its root
    options = {"solver": solver, "beta_loss": beta, "max_iter": 30, "init": "random"}
    options["random_state"] = 0
    plain, scaled = NMF(3, **options).fit(X), NMF(3, **options).fit(c * X)
    root = np.sqrt(c)
    np.testing.assert_allclose(scaled.components_ / root, plain.components_, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(
        scaled.transform(c * X) / root, plain.transform(X), rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize(
    ("beta", "fresh"), [("frobenius", False), ("kullback-leibler", False), (0, True), (2.5, False)]
)
def test_batches_are_scikit_learns(beta, fresh):
    options = {
        "init": "custom", "beta_loss": beta, "max_iter": 4, "batch_size": 20,
        "fresh_restarts": fresh, "alpha_W": 0.001,
    }  # fmt: skip
    model = MiniBatchNMF(3, **options).fit(X, W=W0, H=H0)
    other = peer.MiniBatchNMF(3, **options).fit(X, W=W0.copy(), H=H0.copy())
    np.testing.assert_allclose(model.components_, other.components_, rtol=1e-8)
    assert (model.n_steps_, model.n_iter_) == (other.n_steps_, other.n_iter_)


def test_one_batch_after_another():
    options = {"init": "custom", "batch_size": 20}
    model, other = MiniBatchNMF(3, **options), peer.MiniBatchNMF(3, **options)
    for i in (0, 20, 40):
        part = X[i : i + 20]
        model.partial_fit(part, W=W0[i : i + 20], H=H0)
        other.partial_fit(part, W=W0[i : i + 20].copy(), H=H0.copy())
    np.testing.assert_allclose(model.components_, other.components_, rtol=1e-7)
    assert model.n_steps_ == 3


def test_a_batch_of_zeros_ends_nothing():
    data = np.vstack([X[:20], np.zeros((20, 15)), X[20:]])
    model = MiniBatchNMF(3, batch_size=20, random_state=0).fit(data)
    assert model.n_steps_ > 8


def test_a_watch_stops():
    watch = Watch(1.5, 0.1, 2)
    assert not watch.finished(9.0, 0.0)  # the start
    assert not watch.finished(5.0, 1.0)
    assert watch.finished(5.0, 0.05)
    watch = Watch(1.0, 0.0, 2)
    assert [watch.finished(c, 0.0) for c in (9.0, 5.0, 6.0, 7.0)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        ({}, -X, "must not have negative entries, got -"),
        ({"beta_loss": 0, "solver": "mu"}, np.eye(3), "must be above 0 for beta_loss"),
        ({"beta_loss": 1.0}, X, "solver must be 'mu' for this beta_loss"),
        ({"init": "custom"}, X, "W and H must be given"),
        ({"n_components": 99, "init": "nndsvd"}, X, "at most min"),
    ],
)
def test_bad_input_is_refused(options, data, words):
    with pytest.raises(ValueError, match=words):
        NMF(**options).fit(data)
    with pytest.raises(ValueError, match="W must be of shape"):
        NMF(3, init="custom").fit(X, W=W0[:5], H=H0)


def test_exponents_of_updates():
    assert [gamma_of(b) for b in (0, 0.5, 1, 1.5, 2, 3)] == [0.5, 1 / 1.5, 1, 1, 1, 0.5]


def test_memory_does_not_grow_with_the_limit_on_iterations():
    X = np.array([[1.0, 2.0], [2.0, 4.0]])
    NMF(1, init="random", random_state=0).fit(X)
    tracemalloc.start()
    model = NMF(1, init="random", random_state=0, max_iter=10**6).fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.n_iter_ < 100
    assert peak < 1 << 20


def test_warnings_shuffles_and_threads(tmp_path):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        NMF(3, max_iter=2).fit(X)
    shuffled = NMF(3, shuffle=True, random_state=0, max_iter=400).fit(X)
    assert shuffled.reconstruction_err_ < 1.2 * NMF(3, max_iter=400).fit(X).reconstruction_err_
    found = []
    tall = np.tile(X, (40, 1))
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = NMF(3, max_iter=10).fit(tall)
            found.append(model.components_)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.transform(X), model.transform(X))


@pytest.mark.parametrize("kind", [NMF, MiniBatchNMF])
def test_fit_and_transform_in_one_call_take_a_start(kind):
    options = {"n_components": 3, "init": "custom", "max_iter": 3}
    one, two = kind(**options), kind(**options).fit(X, W=W0, H=H0)
    np.testing.assert_array_equal(one.fit_transform(X, W=W0, H=H0), two.transform(X))
    np.testing.assert_array_equal(one.components_, two.components_)
    with pytest.raises(ValueError, match="W and H must be given"):
        one.fit_transform(X)
