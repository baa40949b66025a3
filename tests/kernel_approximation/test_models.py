"""Approximations: their error, kernels, sparse rows, streams, far rows, files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.sparse
import sklearn.kernel_approximation
from sklearn.metrics.pairwise import chi2_kernel, laplacian_kernel, pairwise_kernels, rbf_kernel

import kernelmill
from kernelmill.kernel_approximation import Nystroem, RandomFourierFeatures, RBFSampler, _base
from kernelmill.stream import source
from kernelmill.svm import LinearSVC

KERNELS = {"rbf": rbf_kernel, "laplacian": laplacian_kernel}


def rows(n=60, d=4, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


@pytest.mark.parametrize("m", [4000, 4001])
@pytest.mark.parametrize("kernel", KERNELS)
def test_products_of_features_are_values_of_the_kernel(kernel, m):
    X = rows()
    model = RandomFourierFeatures(m, gamma=0.3, kernel=kernel, random_state=1).fit(X)
    Z = model.transform(X)
    assert Z.shape == (60, m)
    # Means of m / 2 terms in [-1, 1]: 6 deviations.
    np.testing.assert_allclose(Z @ Z.T, KERNELS[kernel](X, gamma=0.3), atol=6 * (2 / m) ** 0.5)
    if m % 2 == 0:
        np.testing.assert_allclose((Z * Z).sum(1), 1.0, rtol=1e-12)
    for other in range(2, 5):
        again = RandomFourierFeatures(m, gamma=0.3, kernel=kernel, random_state=other)
        assert not np.array_equal(again.fit(X).transform(X), Z)


def test_pairs_have_less_variance_than_random_phases():
    X, want = rows(), rbf_kernel(rows(), gamma=0.02)

    def error(cls):
        found = [
            cls(gamma=0.02, n_components=100, random_state=s).fit_transform(X) for s in range(20)
        ]
        return np.mean([((Z @ Z.T - want) ** 2).mean() for Z in found])

    assert error(RBFSampler) < 0.5 * error(sklearn.kernel_approximation.RBFSampler)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [RandomFourierFeatures, RBFSampler, Nystroem])
def test_csr_rows_and_streams_are_the_same(make, dtype):
    X = rows(50, 6, dtype=dtype)
    X[X < 0.3] = 0
    model = make(n_components=20, random_state=0)
    sparse = scipy.sparse.csr_matrix(X)
    eps = np.finfo(dtype).eps
    Z = model.fit(X).transform(X)
    assert Z.dtype == dtype
    np.testing.assert_allclose(model.transform(sparse), Z, atol=500 * eps)
    lazy = model.transform(source([X[:20], X[20:]]))
    found = np.concatenate([chunk for chunk, _ in lazy])
    np.testing.assert_allclose(found, Z, atol=500 * eps)
    assert lazy.n_features == 20
    other = make(n_components=20, random_state=0).fit(sparse)
    P, Q = other.transform(X), other.transform(sparse)
    np.testing.assert_allclose(P, Q, atol=500 * eps)
    if make is Nystroem:
        assert scipy.sparse.issparse(other.components_)
        np.testing.assert_allclose(Q, Z, atol=1e5 * eps)


def test_a_fit_of_a_stream_is_that_of_its_rows():
    X = rows(90, 3) * [1, 2, 5] + [0, 1, 9]
    w = np.random.default_rng(1).uniform(0, 2, 90)
    chunks = [(X[i : i + 40], w[i : i + 40]) for i in range(0, 90, 40)]
    for make in (RandomFourierFeatures, Nystroem):
        one = make(n_components=10, gamma="scale", random_state=3).fit(X, sample_weight=w)
        other = make(n_components=10, gamma="scale", random_state=3).fit(lambda: iter(chunks))
        assert other.gamma_ == pytest.approx(one.gamma_, rel=1e-12)
        np.testing.assert_allclose(other.transform(X), one.transform(X), atol=1e-9)
    mean = np.average(X, weights=w[:, None] * np.ones(3))
    want = np.average((X - mean) ** 2, weights=w[:, None] * np.ones(3))
    assert one.gamma_ == pytest.approx(1 / (3 * want), rel=1e-12)


@pytest.mark.parametrize("make", [RandomFourierFeatures, Nystroem])
def test_rows_far_from_zero_lose_nothing(make):
    X = rows(40, 3, dtype=np.float32)
    X = (np.round(X * 64) / 64).astype(np.float32)
    far = X + np.float32(4096)  # exact
    near = make(n_components=30, gamma=0.3, random_state=0).fit(X)
    moved = make(n_components=30, gamma=0.3, random_state=0).fit(far)
    A, B = near.transform(X), moved.transform(far)
    np.testing.assert_allclose(A @ A.T, B @ B.T, atol=2e-4 if make is Nystroem else 1e-4)


def test_a_sum_of_squares_of_parts():
    X = rows(7, 3) + 5
    parts = _base.merged(_base.spread(X[:2]), _base.spread(X[2:]))
    np.testing.assert_allclose(parts, _base.spread(X), rtol=1e-12)
    np.testing.assert_allclose(parts, [21, X.mean(), ((X - X.mean()) ** 2).sum()], rtol=1e-12)
    empty = _base.spread(X[:0])
    np.testing.assert_array_equal(_base.merged(empty, empty), np.zeros(3))
    np.testing.assert_allclose(_base.merged(empty, parts), parts)
    assert RandomFourierFeatures().fit(np.full((4, 2), 3.0)).gamma_ == 1
    assert RandomFourierFeatures(gamma="auto").fit(X).gamma_ == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "kernel", ["linear", "polynomial", "rbf", "sigmoid", "laplacian", "chi2", "cosine"]
)
def test_all_rows_give_the_kernel_itself(kernel):
    X = np.abs(rows(30, 4))
    given = {} if kernel in ("linear", "chi2") else {"gamma": 0.2}
    model = Nystroem(kernel, n_components=30, **given).fit(X)
    Z = model.transform(X)
    if kernel == "chi2":
        want = chi2_kernel(X)
    else:
        want = pairwise_kernels(X, metric=kernel, filter_params=True, **given)
    if kernel == "sigmoid":  # has negative eigenvalues, which no features have
        values, vectors = np.linalg.eigh(want)
        want = (vectors * np.maximum(values, 0)) @ vectors.T
    np.testing.assert_allclose(Z @ Z.T, want, atol=1e-5 * np.abs(want).max())


def test_features_are_exact_between_the_rows_drawn():
    X = rows(200, 3)
    model = Nystroem(gamma=0.5, n_components=40, random_state=0).fit(X)
    np.testing.assert_array_equal(model.components_, X[model.component_indices_])
    assert len(set(model.component_indices_)) == 40
    Z, want = model.transform(X), rbf_kernel(X, gamma=0.5)
    own = model.component_indices_
    np.testing.assert_allclose(Z[own] @ Z.T, want[own], atol=1e-6)
    theirs = sklearn.kernel_approximation.Nystroem(gamma=0.5, n_components=40, random_state=0)
    error = np.abs(theirs.fit_transform(X) @ theirs.transform(X).T - want).mean()
    assert np.abs(Z @ Z.T - want).mean() < 1.5 * error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_rows_are_no_trouble(dtype):
    X = np.repeat(rows(6, 2, dtype=dtype), 5, axis=0)
    model = Nystroem(gamma=1.0, n_components=25, random_state=0).fit(X)
    Z = model.transform(X)
    np.testing.assert_allclose(
        Z @ Z.T, rbf_kernel(X, gamma=1.0), atol=1e-6 if dtype is np.float64 else 1e-4
    )
    assert np.abs(model.normalization_).max() < 10  # directions of rounding are left out


def test_kernels_that_the_user_gives():
    X, Y = rows(25, 3), rows(9, 3, seed=1)

    def power(A, B, exponent=2):
        return (A @ B.T + 1) ** exponent

    want = Nystroem("poly", gamma=1.0, degree=3, n_components=12, random_state=0).fit(X)
    called = Nystroem(power, kernel_params={"exponent": 3}, n_components=12, random_state=0)
    np.testing.assert_allclose(called.fit(X).transform(Y), want.transform(Y), rtol=1e-6)
    given = Nystroem("precomputed", n_components=12, random_state=0).fit(power(X, X, 3))
    assert given.components_ is None
    np.testing.assert_allclose(given.transform(power(Y, X, 3)), want.transform(Y), rtol=1e-6)
    with pytest.raises(ValueError, match=r"^Nystroem: X must be a square matrix for kernel='preco"):
        Nystroem("precomputed").fit(X)


def test_fewer_rows_than_components():
    with pytest.warns(UserWarning, match=r"Nystroem: n_components must be at most .* 100 for 8"):
        model = Nystroem().fit(rows(8, 2))
    assert model.transform(rows(3, 2)).shape == (3, 8)
    names = model.get_feature_names_out()
    assert names[0] == "nystroem0"
    assert len(names) == 8
    zero = np.zeros(8)
    zero[[1, 4]] = 1
    model = Nystroem(n_components=2).fit(rows(8, 2), sample_weight=zero)
    np.testing.assert_array_equal(model.component_indices_, [1, 4])


@pytest.mark.parametrize(
    "model",
    [
        RandomFourierFeatures(10, kernel="laplacian", random_state=0),
        RBFSampler(n_components=10, random_state=0),
        Nystroem(n_components=10, random_state=0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_model_is_saved_whole(model):
    X = rows()
    for given in (X, scipy.sparse.csr_matrix(X)):
        fitted, file = model.fit(given), io.BytesIO()
        kernelmill.save(fitted, file)
        file.seek(0)
        loaded = kernelmill.load(file)
        np.testing.assert_array_equal(loaded.transform(given), fitted.transform(given))


def test_a_linear_machine_of_features_is_one_with_a_kernel():
    from sklearn.pipeline import make_pipeline

    X = rows(600, 2)
    y = (X**2).sum(1) > 1.4
    for features in (
        RandomFourierFeatures(200, gamma=1.0, random_state=0),
        Nystroem(gamma=1.0, n_components=60, random_state=0),
    ):
        model = make_pipeline(features, LinearSVC(C=10.0)).fit(X[:400], y[:400])
        assert model.score(X[400:], y[400:]) > 0.95
    assert LinearSVC().fit(X[:400], y[:400]).score(X[400:], y[400:]) < 0.7
