"""Theorems of support vector machines: optimality, weights, scale, threads, other libraries."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.svm
from sklearn.exceptions import ConvergenceWarning

import kernelmill
from kernelmill._kernels import kernel_of
from kernelmill.svm import (
    SVC,
    SVR,
    LinearSVC,
    LinearSVR,
    NuSVC,
    NuSVR,
    OneClassSVM,
    _pairs,
    _problems,
    _training,
    _warm,
)

KERNELS = ("linear", "poly", "rbf", "sigmoid", "laplacian", "chi2")
MACHINES = (SVC, NuSVC, SVR, NuSVR, OneClassSVM)
TOL = 1e-3


def blobs(n=90, d=3, k=2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return np.abs(rng.normal(size=(n, d)) + y[:, None] * 0.7 + 1).astype(dtype), y


def targets(cls, X, y):
    return np.sin(2 * X[:, 0]) + 0.1 * y if cls in (SVR, NuSVR) else y


def options(cls, **more):
    nu = {NuSVC: 0.7071, NuSVR: 0.3, OneClassSVM: 0.3}.get(cls)
    return more if nu is None else {"nu": nu, **more}


def values(model, X):
    """Predictions, or decisions of all pairs of classes."""
    if hasattr(model, "decision_function_shape"):
        model.decision_function_shape = "ovo"
    return model.decision_function(X) if hasattr(model, "decision_function") else model.predict(X)


def dense(X):
    return X.toarray() if scipy.sparse.issparse(X) else X


def data_kinds():
    X, y = blobs()
    yield "dense", X, y
    yield "float32", X.astype(np.float32), y
    yield "csr", scipy.sparse.csr_matrix(np.where(X > 1.5, X, 0)), y
    yield "equal rows", np.repeat(X[:30], 3, axis=0), np.repeat(y[:30], 3)
    yield "constant column", np.concatenate([X, np.ones((len(X), 1))], axis=1), y
    yield "unscaled", X * [1, 1e3, 1e-3], y
    yield "few", X[:6], y[:6]
    yield "two", X[:2], y[:2]
    yield "contradictions", np.concatenate([X[:20], X[:20]]), np.concatenate([y[:20], 1 - y[:20]])


def primal_gap(model, X, y, C):
    """Primal minus dual objective of a machine with price C, from its decision function alone."""
    K = kernel_of(model, X, fitted=model._gamma).matrix(X, X, "test")
    b = np.zeros(X.shape[0])
    b[model.support_] = dense(model.dual_coef_)[0]
    f = values(model, X)
    norm = b @ K @ b
    if isinstance(model, SVC):
        signs = np.where(y == model.classes_[1], 1.0, -1.0)
        loss, dual = np.maximum(0, 1 - signs * f), np.abs(b).sum() - norm / 2
    else:
        loss = np.maximum(0, np.abs(y - f) - model.epsilon)
        dual = y @ b - model.epsilon * np.abs(b).sum() - norm / 2
    assert np.abs(b).max() <= C * (1 + 1e-12)
    assert abs(b.sum()) <= 1e-9 * max(1.0, np.abs(b).sum())
    return norm / 2 + C * loss.sum() - dual, abs(dual)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cls", [SVC, SVR])
def test_the_duality_gap_is_small_and_is_what_dual_gap_says(cls, kernel):
    for name, X, y in data_kinds():
        if kernel == "poly" and name == "unscaled":
            continue  # of values of 1e9: a tolerance of 1e-3 of a decision is below its rounding
        dense = X.toarray() if scipy.sparse.issparse(X) else X
        z = targets(cls, dense, y)
        for C in (0.3, 20.0):
            model = cls(kernel=kernel, C=C, degree=2, coef0=0.1, gamma=0.1).fit(X, z)
            gap, size = primal_gap(model, X, z, C)
            # A violation of tol costs each multiplier at most that.
            allowed = 2 * TOL * C * len(y) + 1e-7 * size
            if kernel != "sigmoid":  # no duality without a positive semi-definite kernel
                assert -1e-6 * (1 + size) <= gap <= allowed, (name, C, gap)
            assert np.max(model.dual_gap_) <= allowed, (name, C)
            assert model.fit_status_ == 0, (name, C)


def dual_of(model, like, X, y):
    """The dual objective of a machine with a price, with the kernel of ours."""
    K = kernel_of(like, X, fitted=like._gamma).matrix(X, X, "test")
    b = np.zeros(X.shape[0])
    b[model.support_] = dense(model.dual_coef_)[0]
    linear = y @ b - model.epsilon * np.abs(b).sum() if isinstance(like, SVR) else np.abs(b).sum()
    return linear - b @ K @ b / 2


def nu_gap(model, X, y):
    """Primal minus dual objective of a machine with a share, and the size of its terms."""
    K = kernel_of(model, X, fitted=model._gamma).matrix(X, X, "test")
    n, b = X.shape[0], np.zeros(X.shape[0])
    b[model.support_] = dense(model.dual_coef_)[0]
    f, share = values(model, X), model.nu * X.shape[0]
    if isinstance(model, NuSVC):  # divided by the margin r, which gives multipliers of at most 1
        r = share / np.abs(b).sum()
        b, f, signs = r * b, r * f, np.where(y == model.classes_[1], 1.0, -1.0)
        loss, linear = np.maximum(0, r - signs * f).sum(), -share * r
        sums = [b[signs > 0].sum() - share / 2, b[signs < 0].sum() + share / 2]
        bound, dual = 1.0, 0.0
    elif isinstance(model, NuSVR):
        C, error = model.C, np.abs(y - f)
        width = np.sort(error)[max(0, n - 1 - int(share))]  # the best: at most nu n are beyond
        loss, linear = C * np.maximum(0, error - width).sum(), C * share * width
        sums, bound, dual = [b.sum(), max(0.0, np.abs(b).sum() - C * share)], C, y @ b
    else:
        r = float(model.offset_[0])
        loss, linear = np.maximum(0, -f).sum(), -share * r
        sums, bound, dual = [b.sum() - share], 1.0, 0.0
    norm = b @ K @ b
    assert np.abs(b).max(initial=0.0) <= bound * (1 + 1e-9)
    np.testing.assert_allclose(sums, 0, atol=1e-9 * max(share * bound, 1))
    return norm / 2 + linear + loss - (dual - norm / 2), abs(linear) + loss + norm + abs(dual)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cls", [NuSVC, NuSVR, OneClassSVM])
def test_the_duality_gap_of_shares_is_small(cls, kernel):
    for name, X, y in data_kinds():
        if (kernel == "poly" and name == "unscaled") or kernel == "sigmoid":
            continue  # as above; and no duality without a positive semi-definite kernel
        if cls is NuSVC and (name == "contradictions" or kernel not in ("rbf", "laplacian")):
            continue  # classes that overlap within the share have no margin to divide by
        z = targets(cls, dense(X), y)
        given = options(cls, kernel=kernel, degree=2, coef0=0.1, gamma=0.1)
        model = cls(**given).fit(X, z)
        gap, size = nu_gap(model, X, z)
        most = model.C if cls is NuSVR else 1.0
        allowed = 2 * TOL * most * len(y) + 1e-7 * size
        assert -1e-6 * (1 + size) <= gap <= allowed, (name, gap, allowed)
        assert model.fit_status_ == 0, name


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("cls", MACHINES)
def test_the_same_as_libsvm(cls):
    for k in (2, 4) if cls in (SVC, NuSVC) else (2,):
        X, y = blobs(n=600, k=k)
        z = targets(cls, X, y)
        for kernel in ("linear", "poly", "rbf"):
            given = options(cls, kernel=kernel, gamma=0.5, degree=2, coef0=1.0)
            ours = cls(**given, tol=1e-5).fit(X, z)
            peer = getattr(sklearn.svm, cls.__name__)(**given, tol=1e-6).fit(X, z)
            found, want = values(ours, X), values(peer, X)
            np.testing.assert_allclose(found, want, rtol=0, atol=3e-3 * np.abs(want).max())
            if k == 2 and cls in (SVC, SVR):
                duals = [dual_of(m, ours, X, z) for m in (ours, peer)]
                np.testing.assert_allclose(*duals, rtol=1e-4)
            if cls in (SVC, NuSVC):
                assert (ours.predict(X) != peer.predict(X)).mean() < 0.01
            assert ours.dual_coef_.shape[0] == peer.dual_coef_.shape[0]
            np.testing.assert_allclose(
                ours.intercept_, peer.intercept_, atol=5e-3 * np.abs(want).max()
            )


@pytest.mark.parametrize("break_ties", [False, True])
def test_scores_of_classes_are_libsvms(break_ties):
    X, y = blobs(n=300, k=4)
    given = {"gamma": 0.5, "break_ties": break_ties}
    ours, peer = SVC(**given, tol=1e-6).fit(X, y), sklearn.svm.SVC(**given, tol=1e-6).fit(X, y)
    np.testing.assert_allclose(ours.decision_function(X), peer.decision_function(X), atol=1e-4)
    assert (ours.predict(X) == peer.predict(X)).mean() > 0.99


def test_a_decision_of_zero_is_for_the_first_class():
    np.testing.assert_array_equal(_pairs.votes(np.zeros((1, 3)), 3), [[2, 1, 0]])


@pytest.mark.parametrize("cls", MACHINES)
@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian"])
def test_weights_equal_repetition(cls, kernel):
    X, y = blobs(n=80)
    counts = np.random.default_rng(1).integers(0, 3, 80)
    z = targets(cls, X, y)
    make = lambda: cls(**options(cls, kernel=kernel, tol=1e-6))  # noqa: E731
    weighted = make().fit(X, z, sample_weight=counts.astype(float))
    repeated = make().fit(np.repeat(X, counts, axis=0), np.repeat(z, counts))
    size = np.abs(values(weighted, X)).max()
    np.testing.assert_allclose(values(weighted, X), values(repeated, X), atol=2e-5 * size)
    assert counts[weighted.support_].all()


@pytest.mark.parametrize("cls", MACHINES)
def test_dense_and_sparse_are_the_same_model(cls):
    X, y = blobs(n=100, d=20, k=3 if cls in (SVC, NuSVC) else 2)
    X = np.where(X > 2, X, 0)
    sparse = scipy.sparse.csr_matrix(X)
    for kernel in (*KERNELS[:3], "laplacian"):
        make = lambda kernel=kernel: cls(**options(cls, kernel=kernel, tol=1e-5, gamma=0.05))  # noqa: E731
        z = targets(cls, X, y)
        one, other = make().fit(X, z), make().fit(sparse, z)
        np.testing.assert_allclose(values(one, X), values(other, sparse), atol=1e-3)
        np.testing.assert_allclose(values(other, X), values(other, sparse), atol=1e-9)
        assert scipy.sparse.issparse(other.support_vectors_)


@pytest.mark.parametrize("cls", MACHINES)
def test_same_bits_at_any_thread_count(cls):
    X, y = blobs(n=1500, d=5, k=3 if cls in (SVC, NuSVC) else 2)
    z = targets(cls, X, y)
    for cache_size in (200, 1):  # 1 MB: pairs with rows of their own, and rows computed again
        found = []
        for threads in (1, 2, 7):
            with kernelmill.threads(threads):
                model = cls(**options(cls, cache_size=cache_size)).fit(X, z)
                found.append((model.dual_coef_.tobytes(), values(model, X).tobytes()))
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("tiny", [1e-3, 0.5])
@pytest.mark.parametrize("cls", MACHINES)
def test_a_small_cache_gives_the_same_model(cls, tiny):
    X, y = blobs(n=600 if tiny < 0.1 else 1500, d=5, k=3 if cls in (SVC, NuSVC) else 2)
    z = targets(cls, X, y)
    large, small = (cls(**options(cls, cache_size=c, tol=1e-4)).fit(X, z) for c in (200, tiny))
    size = np.abs(values(large, X)).max()
    np.testing.assert_allclose(values(large, X), values(small, X), atol=2e-3 * size)


@pytest.mark.parametrize("cls", MACHINES)
def test_a_model_is_saved_whole(cls):
    X, y = blobs(k=3 if cls in (SVC, NuSVC) else 2)
    z = targets(cls, X, y)
    for rows in (X, scipy.sparse.csr_matrix(X)):
        for kernel in ("rbf", "linear"):
            model = cls(**options(cls, kernel=kernel)).fit(rows, z)
            file = io.BytesIO()
            kernelmill.save(model, file)
            file.seek(0)
            loaded = kernelmill.load(file)
            assert values(loaded, rows).tobytes() == values(model, rows).tobytes()


@pytest.mark.parametrize("cls", [SVR, NuSVR])
def test_a_scaled_regression_is_the_same(cls):
    X, y = blobs()
    z = targets(cls, X, y)
    want = cls(tol=1e-5).fit(X, z).predict(X)
    for c in (1e-6, 2.0**-20, 1e6):
        found = cls(tol=1e-5).fit(c * X, z).predict(c * X)
        np.testing.assert_allclose(found, want, atol=1e-4)


def test_moving_all_rows_changes_nothing():
    X, y = blobs(n=700)
    for kernel in ("linear", "rbf", "laplacian"):
        want = SVC(kernel=kernel, tol=1e-5).fit(X, y).decision_function(X)
        found = SVC(kernel=kernel, tol=1e-5).fit(X + 1e5, y).decision_function(X + 1e5)
        np.testing.assert_allclose(found, want, atol=1e-3)


def test_one_class_leaves_out_at_most_nu():
    X, _ = blobs(n=900)
    for nu in (0.01, 0.1, 0.5, 1.0):
        for kernel in ("rbf", "laplacian", "linear"):
            model = OneClassSVM(nu=nu, kernel=kernel).fit(X)
            assert (model.predict(X) == -1).mean() <= nu
            assert len(model.support_) >= nu * len(X) - 1e-9
            np.testing.assert_allclose(model.dual_coef_.sum(), nu * len(X))
            np.testing.assert_allclose(
                model.score_samples(X) - model.offset_, model.decision_function(X)
            )


def test_nu_bounds_errors_and_support():
    X, y = blobs(n=400)
    model = NuSVC(nu=0.4).fit(X, y)
    assert (model.predict(X) != y).mean() <= 0.4
    assert len(model.support_) >= 0.4 * len(X)
    with pytest.raises(ValueError, match=r"^NuSVC: nu must be at most .*infeasible"):
        NuSVC(nu=0.9).fit(X, np.arange(400) < 20)


@pytest.mark.parametrize("cls", [SVC, SVR])
def test_shrinking_changes_the_time_alone(cls, monkeypatch):
    X, y = blobs(n=2500, d=4)
    z, shrunk, grow = targets(cls, X, y), [], _training.Training._grow

    def counted(self, *args):
        shrunk.append(len(self._active[0]))
        grow(self, *args)

    monkeypatch.setattr(_training.Training, "_grow", counted)
    monkeypatch.setattr(_training, "_SLICE", 1.0)  # a round a slice: shrinking has its chance
    given = {"C": 100.0, "gamma": 0.3, "tol": TOL}
    model = cls(**given, cache_size=20).fit(X, z)
    assert shrunk
    assert max(shrunk) < len(X)
    whole = cls(**given, cache_size=20, shrinking=False).fit(X, z)
    assert np.max(model.dual_gap_) <= 2 * TOL * 100 * len(X)
    gap, size = primal_gap(model, X, z, 100.0)
    assert gap <= 2 * TOL * 100 * len(X) + 1e-7 * size
    size = np.abs(values(whole, X)).max()
    np.testing.assert_allclose(values(model, X), values(whole, X), atol=5 * TOL * size)


def test_max_iter_ends_and_says_so():
    X, y = blobs(n=300)
    with pytest.warns(ConvergenceWarning, match="max_iter=7 ended the fit"):
        model = SVC(max_iter=7).fit(X, y)
    assert model.n_iter_[0] == 7
    assert model.fit_status_ == 1
    assert model.dual_gap_[0] > 1


def test_float32_rows_are_left_where_they_are_too_coarse():
    """Narrow Gaussians of rows that nearly coincide: their distances have no digits in float32."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 3e4])
    y = np.arange(800) % 2
    given = {"C": 1e3, "gamma": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = SVC(**given).fit(X, y)
    assert ours.dual_gap_[0] < 800 * 1e3 * 2e-3
    gap, size = primal_gap(ours, X, y, 1e3)
    assert gap <= 2 * TOL * 1e3 * 800 + 1e-7 * size


def test_the_kernel_may_be_a_function_or_a_matrix():
    X, y = blobs(k=3)
    kernel = lambda A, B: (A @ B.T + 1) ** 2  # noqa: E731
    want = SVC(kernel="poly", degree=2, gamma=1.0, coef0=1.0, tol=1e-6).fit(X, y)
    called = SVC(kernel=kernel, tol=1e-6).fit(X, y)
    given = SVC(kernel="precomputed", tol=1e-6).fit(kernel(X, X), y)
    for found in (called.decision_function(X), given.decision_function(kernel(X, X))):
        np.testing.assert_allclose(found, want.decision_function(X), atol=1e-4)
    with pytest.raises(ValueError, match=r"^SVC: kernel must return finite numbers of shape"):
        SVC(kernel=lambda A, B: A).fit(X, y)
    with pytest.raises(ValueError, match=r"^SVC: X must not be negative for kernel='chi2'"):
        SVC(kernel="chi2").fit(-X, y)


def test_the_kernel_of_sparse_rows_may_be_a_sparse_matrix(rng):
    X = scipy.sparse.random_array((40, 6), density=0.5, rng=rng, format="csr")
    y = (X.sum(1) > np.median(X.sum(1))).astype(int)
    model = SVC(kernel=lambda a, b: a @ b.T).fit(X, y)
    want = SVC(kernel="linear").fit(X, y)
    np.testing.assert_allclose(model.decision_function(X), want.decision_function(X), atol=2e-3)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("cls", [SVC, SVR])
def test_a_path_of_prices_starts_from_the_last_one(cls, k):
    if cls is SVR and k > 2:
        return
    X, y = blobs(n=400, d=3, k=k)
    z = targets(cls, X, y)
    w = np.random.default_rng(0).uniform(0.5, 2, 400)
    warm = cls(warm_start=True, tol=1e-5)
    for C, weight in ((1.0, None), (1.3, None), (0.9, None), (1.0, w), (3.0, None)):
        warm.set_params(C=C).fit(X, z, sample_weight=weight)
        cold = cls(C=C, tol=1e-5).fit(X, z, sample_weight=weight)
        np.testing.assert_allclose(values(warm, X), values(cold, X), atol=1e-3)
        assert np.max(warm.dual_gap_) <= 2e-5 * 400 * C * 2
    path, steps, cold_steps = cls(warm_start=True), 0, 0
    for C in np.geomspace(0.1, 100, 13):
        steps += int(np.sum(path.set_params(C=C).fit(X, z).n_iter_))
        cold_steps += int(np.sum(cls(C=C).fit(X, z).n_iter_))
    assert steps < (0.6 if cls is SVR else 0.95) * cold_steps
    again = warm.fit(X, z)
    assert np.max(again.n_iter_) <= 0.05 * np.max(cold.n_iter_)  # the optimum is where it starts
    # Others rows, or another kernel: a start that is feasible, or none.
    moved = warm.set_params(gamma=0.1).fit(X[::-1], z)
    cold = cls(C=3.0, tol=1e-5, gamma=0.1).fit(X[::-1], z)
    np.testing.assert_allclose(values(moved, X), values(cold, X), atol=1e-3)
    fewer = warm.fit(X[:300], z[:300])
    cold = cls(C=3.0, tol=1e-5, gamma=0.1).fit(X[:300], z[:300])
    np.testing.assert_array_equal(values(fewer, X), values(cold, X))
    if cls is SVC:  # classes of other names
        named = warm.fit(X[:300], z[:300].astype(str))
        np.testing.assert_array_equal(values(named, X), values(cold, X))


def test_starts_are_feasible():
    rng = np.random.default_rng(0)
    signs = np.where(rng.random(50) < 0.4, 1.0, -1.0)
    problem = _problems.classes(np.arange(50), signs, rng.uniform(0, 2, 50))
    for b in (3 * rng.normal(size=50), np.abs(rng.normal(size=50)), np.zeros(50)):
        start = _warm.feasible(b, problem)
        assert (start >= problem.lower).all()
        assert (start <= problem.upper).all()
        assert abs(start.sum()) < 1e-12
    kept = problem.upper / 2
    kept[~(signs > 0)] = problem.lower[~(signs > 0)] / 2
    start = _warm.feasible(kept, problem)
    assert (start != 0).sum() == 50
    # At a price three times higher bounds are followed to the last bit, and free ones stay there.
    dear = dataclasses.replace(problem, lower=3 * problem.lower, upper=3 * problem.upper)
    for share in (0.2, 0.8):
        b = (problem.lower + problem.upper) * np.where(rng.random(50) < share, 1.0, 0.4)
        b = _warm.feasible(b, problem)
        bound = (b != 0) & ((b == problem.lower) | (b == problem.upper))
        start = _warm.followed(b, 3.0, dear)
        assert (start >= dear.lower).all()
        assert (start <= dear.upper).all()
        assert abs(start.sum()) < 1e-12
        if share == 0.2:
            np.testing.assert_array_equal(start[bound], (dear.lower + dear.upper)[bound])
            assert np.abs(start[~bound] - b[~bound]).max() < np.abs(dear.upper).max()
    free = _warm.feasible((problem.lower + problem.upper) / 3, problem)
    np.testing.assert_array_equal(_warm.followed(free, 3.0, dear), free)


def test_what_rounding_leaves_is_not_free():
    # Any multiplier of the sum between -1 and 1 would do: the middle is taken, also where a sum has
    # left a little of a multiplier.
    problem = _problems.classes(np.arange(4), np.array([1.0, 1, -1, -1]), np.ones(4))
    g = np.array([-1.0, 2, 1, -3])
    for b in ([1.0, 0, -1, 0], [1 - 1e-15, 1e-16, -1, -1e-17]):
        assert problem.multipliers(np.array(b), g)[0] == pytest.approx(0.0, abs=1e-12)
    assert problem.multipliers(np.array([0.5, 0, -0.5, 0]), g)[0] == pytest.approx(0.0)
    assert problem.multipliers(np.array([0.5, 0, -1, 0]), g)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("cls", MACHINES)
def test_coef_is_for_linear_kernels(cls):
    X, y = blobs()
    model = cls(**options(cls))
    with pytest.raises(AttributeError, match="object has no attribute 'coef_'"):
        model.coef_  # noqa: B018
    model.fit(X, targets(cls, X, y))
    with pytest.raises(
        AttributeError, match=rf"^{cls.__name__}: coef_ exists for kernel='linear' a"
    ):
        model.coef_  # noqa: B018
    assert not hasattr(model, "coef_")
    with pytest.raises(AttributeError, match="object has no attribute 'other_'"):
        model.other_  # noqa: B018
    assert cls(**options(cls, kernel="linear")).fit(X, targets(cls, X, y)).coef_.shape == (1, 3)


@pytest.mark.parametrize("cls", [*MACHINES, LinearSVC, LinearSVR])
def test_names_of_features_are_checked(cls):
    X, y = blobs()
    frame, z = pd.DataFrame(X, columns=["a", "b", "c"]), targets(cls, X, y)
    model = cls(**options(cls)).fit(frame, z)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="same order as they were in fit"):
        model.predict(frame[["b", "a", "c"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.predict(frame.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        cls(**options(cls)).fit(X, z).predict(frame)


@pytest.mark.parametrize("cache_size", [1, 6])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("cls", [SVC, SVR])
def test_memory_is_the_cache_and_some_bytes_a_row(cls, cache_size, rng):
    """Three machines of pairs in turn, with fewer variables after a while: one cache at a time."""
    n = 2000
    X = rng.normal(size=(n, 5))
    z = X[:, 0] * X[:, 1] + rng.normal(size=n)
    y = np.digitize(z, [-0.4, 0.4]) if cls is SVC else z
    model = cls(C=3.0, cache_size=cache_size, max_iter=6000)
    model.fit(X[:100], y[:100])  # imports
    tracemalloc.start()
    model.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A quarter of the cache is for the block of a working set, in the compiled loop. About 270
    # bytes a row were seen with either cache, for 5 features.
    assert peak <= 0.75 * cache_size * 2**20 + 400 * n
