"""Independent components: sources come back, the fixed point holds, streams are the rows."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.decomposition as peer
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill.decomposition import FastICA
from kernelmill.decomposition._fast_ica import decorrelated


def mixture(n=2000, d=3, seed=0):
    rng = np.random.default_rng(seed)
    sources = np.column_stack(
        [rng.laplace(size=n) if j % 2 else rng.uniform(-1, 1, n) for j in range(d)]
    )
    return sources, sources @ rng.normal(size=(d, d)) + np.arange(d)


def matched(found, sources):
    """The size of the correlation of each source with what was found for it."""
    k = sources.shape[1]
    return np.abs(np.corrcoef(found.T, sources.T)[:-k, -k:]).max(0)


@pytest.mark.parametrize("algorithm", ["parallel", "deflation"])
@pytest.mark.parametrize("fun", ["logcosh", "exp", "cube", "own"])
def test_sources_come_back(algorithm, fun):
    sources, X = mixture()
    if fun == "own":
        fun = lambda u, power: (u**power, power * u ** (power - 1))  # noqa: E731 - as users do
    model = FastICA(
        algorithm=algorithm, fun=fun, random_state=0, tol=1e-8,
        fun_args={"power": 3} if callable(fun) else None,
    ).fit(X)  # fmt: skip
    assert matched(model.transform(X), sources).min() > 0.99
    if not callable(fun):
        other = peer.FastICA(algorithm=algorithm, fun=fun, random_state=1, tol=1e-8).fit(X)
        near = np.abs(np.corrcoef(model.transform(X).T, other.transform(X).T)[:3, 3:]).max(1)
        # what deflation finds depends on the order, which is drawn
        atol = 1e-6 if algorithm == "parallel" else 1e-3
        np.testing.assert_allclose(near, 1, atol=atol)


def test_a_callable_is_its_name():
    _, X = mixture()
    w = np.random.default_rng(1).normal(size=(3, 3))
    cube = FastICA(fun="cube", w_init=w).fit(X)
    for mean in (False, True):  # scikit-learn's functions give the mean of the slopes
        own = lambda u, m=mean: (u**3, (3 * u**2).mean(-1) if m else 3 * u**2)  # noqa: E731
        model = FastICA(fun=own, w_init=w).fit(X)
        np.testing.assert_allclose(model.components_, cube.components_, rtol=1e-9)
        assert model.n_iter_ == cube.n_iter_


@pytest.mark.parametrize("whiten", ["unit-variance", "arbitrary-variance"])
@pytest.mark.parametrize("k", [None, 2])
def test_the_scale_of_sources(whiten, k):
    """scikit-learn/scikit-learn#13056, scikit-learn/scikit-learn#17162"""
    _, X = mixture(200)
    model = FastICA(k, whiten=whiten, random_state=0).fit(X)
    S = model.transform(X)
    k = k or 3
    np.testing.assert_allclose(S.var(0), 1, rtol=1e-12)
    np.testing.assert_allclose(S.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(model.components_ @ model.mixing_, np.eye(k), atol=1e-12)
    back = model.inverse_transform(S)
    if k == 3:
        np.testing.assert_allclose(back, X, atol=1e-12)
    np.testing.assert_allclose(back.mean(0), X.mean(0), rtol=1e-12)
    white = (X - model.mean_) @ model.whitening_.T
    np.testing.assert_allclose(white.T @ white / 200, np.eye(k), atol=1e-12)


def test_a_fixed_point():
    """At the end a step changes nothing but signs: its matrix is symmetric, up to these."""
    _, X = mixture()
    S = FastICA(random_state=0, tol=1e-14, max_iter=500).fit_transform(X)
    g = np.tanh(S)
    M = g.T @ S / len(S) - np.diag((1 - g * g).mean(0))
    M *= np.sign(M.diagonal())[:, None]
    np.testing.assert_allclose(M, M.T, atol=1e-7)


def test_rows_that_are_white_already():
    _, X = mixture()
    first = FastICA(random_state=0)
    Z = (first.fit_transform(X)) @ np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    model = FastICA(whiten=False, random_state=0).fit(Z)
    assert not hasattr(model, "mean_")
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-12)
    near = np.abs(np.corrcoef(model.transform(Z).T, first.transform(X).T)[:3, 3:]).max(1)
    np.testing.assert_allclose(near, 1, atol=1e-6)
    np.testing.assert_allclose(model.inverse_transform(model.transform(Z)), Z, atol=1e-12)


def test_float32_far_away_streams_and_few_rows():
    sources, X = mixture()
    w = np.random.default_rng(1).normal(size=(3, 3))
    plain = FastICA(w_init=w).fit(X)
    streamed = FastICA(w_init=w).fit(np.array_split(X, 4))
    np.testing.assert_allclose(streamed.components_, plain.components_, rtol=1e-8)
    far = FastICA(random_state=0).fit(np.float32(X + 1e3))
    S = far.transform(np.float32(X + 1e3))
    assert S.dtype == np.float32
    np.testing.assert_allclose(S.var(0), 1, rtol=1e-4)
    assert matched(S, sources).min() > 0.99
    mixing = np.random.default_rng(3).normal(size=(3, 50))
    wide = FastICA(3, random_state=0, max_iter=1000, tol=1e-3).fit(X[:40] @ mixing)
    assert wide.components_.shape[1] == 50


def test_directions_without_variance_and_bad_input():
    _, X = mixture()
    double = np.hstack([X, X[:, :1]])
    with pytest.warns(UserWarning, match="at most the rank of X, 3, got 4"):
        model = FastICA(4, random_state=0).fit(double)
    assert model.components_.shape == (3, 4)
    assert FastICA(random_state=0).fit(double).components_.shape == (3, 4)
    with pytest.warns(UserWarning, match="n_components is too large"):
        FastICA(9, random_state=0).fit(X)
    with pytest.raises(ValueError, match="features that vary"):
        FastICA().fit(np.ones((5, 2)))
    with pytest.raises(ValueError, match="alpha must be between 1 and 2, got 3"):
        FastICA(fun_args={"alpha": 3}).fit(X)
    with pytest.raises(ValueError, match=r"w_init must have shape \(3, 3\), got \(2, 2\)"):
        FastICA(w_init=np.eye(2)).fit(X)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        FastICA(max_iter=1, tol=0, random_state=0).fit(X)
    with pytest.warns(ConvergenceWarning, match="a component did not converge in max_iter=1"):
        FastICA(max_iter=1, tol=0, random_state=0, algorithm="deflation").fit(X)
    with pytest.raises(TypeError, match="must be dense"):
        FastICA().fit(sp.eye(3, format="csr"))


def test_the_nearest_orthogonal_matrix():
    W = np.random.default_rng(0).normal(size=(4, 4))
    near = decorrelated(W)
    np.testing.assert_allclose(near @ near.T, np.eye(4), atol=1e-14)
    values, vectors = np.linalg.eigh(W @ W.T)
    np.testing.assert_allclose(near, vectors / np.sqrt(values) @ vectors.T @ W, atol=1e-12)


def test_bits_do_not_depend_on_threads(tmp_path):
    _, X = mixture(5000)
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = FastICA(random_state=0).fit(X)
            found.append(model.transform(X))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.transform(X), found[0])


@pytest.mark.parametrize("algorithm", ["parallel", "deflation"])
def test_mixing_of_features_of_many_scales(algorithm):
    """Rows of the whitening matrix are orthogonal to 1e-12 of their lengths, no better."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        X = rng.uniform(-1, 1, (300, 6)) * 10.0 ** np.arange(-3, 3)
        model = FastICA(algorithm=algorithm, random_state=0, max_iter=1000, tol=1e-3).fit(X)
        np.testing.assert_allclose(model.components_ @ model.mixing_, np.eye(6), atol=1e-14)
