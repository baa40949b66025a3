"""Kernel principal components: the definition, the linear kernel, scikit-learn."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.decomposition as peer
from sklearn.exceptions import NotFittedError
from sklearn.metrics.pairwise import pairwise_kernels

import kernelmill
from kernelmill.decomposition import PCA, KernelPCA
from kernelmill.manifold import ClassicalMDS, Isomap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) * [3, 2.5, 2, 1.5, 1] + 2
NEW = RNG.normal(size=(9, 5)) + 1


def centred(K, fit=None):
    fit = K if fit is None else fit
    return K - fit.mean(0) - K.mean(1, keepdims=True) + fit.mean()


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "cosine", "laplacian", "callable"])
@pytest.mark.parametrize("solver", ["dense", "arpack"])
def test_eigenvectors_of_the_centred_kernel(kernel, solver):
    options = {"poly": {"degree": 2, "gamma": 0.1}, "rbf": {"gamma": 0.1}}.get(kernel, {})
    if kernel == "callable":
        function = lambda a, b, power: (1 + a @ b) ** power  # noqa: E731 - passed on
        model = KernelPCA(3, kernel=function, kernel_params={"power": 2}, eigen_solver=solver)
        of = lambda A, B: (1 + A @ B.T) ** 2  # noqa: E731 - beside it
    else:
        model = KernelPCA(3, kernel=kernel, eigen_solver=solver, random_state=0, **options)
        if kernel in ("poly", "rbf", "laplacian"):
            options = {"gamma": 1 / 5, **options}
        of = lambda A, B: pairwise_kernels(A, B, metric=kernel, **options)  # noqa: E731 - as above
    Z = model.fit_transform(X)
    K = of(X, X)
    values, U = np.linalg.eigh(centred(K))
    values, U = values[::-1][:3], U[:, ::-1][:, :3]
    U = U * np.sign(U[np.abs(U).argmax(0), np.arange(3)])
    np.testing.assert_allclose(model.eigenvalues_, values, rtol=1e-9)
    np.testing.assert_allclose(Z, U * np.sqrt(values), atol=1e-8)
    np.testing.assert_allclose(model.transform(X), Z, atol=1e-8)
    np.testing.assert_allclose(
        model.transform(NEW), centred(of(NEW, X), K) @ U / np.sqrt(values), atol=1e-8
    )


@pytest.mark.parametrize("kernel", ["rbf", "poly", "cosine"])
def test_restored_rows_are_scikit_learns(kernel):
    options = {"kernel": kernel, "gamma": 0.05, "fit_inverse_transform": True, "alpha": 0.1}
    model, other = KernelPCA(3, **options).fit(X), peer.KernelPCA(3, **options).fit(X)
    np.testing.assert_allclose(model.transform(NEW), other.transform(NEW), atol=1e-9)
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(NEW)),
        other.inverse_transform(other.transform(NEW)),
        atol=1e-7,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_many_components_as_the_rank(dtype):
    """scikit-learn/scikit-learn#18146"""
    low = (RNG.normal(size=(300, 3)) @ RNG.normal(size=(3, 20))).astype(dtype)
    model = KernelPCA().fit(low)
    assert len(model.eigenvalues_) == 3
    Z = model.transform(low)
    assert Z.dtype == dtype
    atol = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(Z, model.fit_transform(low), atol=atol)
    zeros = KernelPCA(5).fit(low)
    assert (zeros.eigenvalues_[3:] == 0).all()
    assert (zeros.transform(low)[:, 3:] == 0).all()
    assert len(KernelPCA(5, remove_zero_eig=True).fit(low).eigenvalues_) == 3


def test_rounding_of_a_kernel_far_from_its_mean():
    near = np.array([[5.0, 1], [5 + 1e-8, 1e-8], [5 + 1e-8, 0]])
    assert (KernelPCA(2).fit(near).eigenvalues_ > 0).tolist() == [True, False]


def test_scores_of_rows_far_from_the_origin():
    """What is the same in all entries of K is taken off the factors, not off the scores."""
    centred_rows = X - X.mean(0)
    pca = PCA(3).fit(centred_rows)
    far = KernelPCA(3).fit(centred_rows + 1e5).transform(NEW + 1e5)
    np.testing.assert_allclose(np.abs(far), np.abs(pca.transform(NEW)), atol=1e-4)


def test_rows_are_kept_as_they_were():
    rows = X.copy()
    model = KernelPCA(2, kernel="rbf").fit(rows)
    before = model.transform(NEW)
    rows[:] = 666
    np.testing.assert_array_equal(model.transform(NEW), before)


def test_the_linear_kernel_is_pca_and_sparse_rows_are_dense_ones():
    pca = PCA(3).fit(X)
    model = KernelPCA(3).fit(sp.csr_matrix(X))
    np.testing.assert_allclose(model.eigenvalues_, pca.singular_values_**2, rtol=1e-10)
    np.testing.assert_allclose(np.abs(model.transform(NEW)), np.abs(pca.transform(NEW)), atol=1e-9)
    sparse = model.transform(sp.csr_matrix(NEW))
    np.testing.assert_allclose(sparse, model.transform(NEW), atol=1e-12)
    K = X @ X.T
    given = KernelPCA(3, kernel="precomputed").fit(K)
    np.testing.assert_allclose(given.transform(NEW @ X.T), model.transform(NEW), atol=1e-9)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="kernel must be positive semidefinite, got an eigenvalue"):
        KernelPCA(kernel="precomputed").fit(np.array([[0.0, 1, 2], [1, 0, 5], [2, 5, 0]]))
    far = np.random.default_rng(0).normal(size=(40, 3)) + 1e8
    with pytest.raises(ValueError, match=r"rounding of entries of 3e\+16: subtract the means of X"):
        KernelPCA().fit(far)
    with pytest.raises(ValueError, match="X must be a square matrix"):
        KernelPCA(kernel="precomputed").fit(X)
    with pytest.raises(ValueError, match="fit_inverse_transform must be False"):
        KernelPCA(kernel="precomputed", fit_inverse_transform=True).fit(X @ X.T)
    with pytest.raises(NotFittedError, match="fit_inverse_transform must be True"):
        KernelPCA(2).fit(X).inverse_transform(np.ones((1, 2)))


@pytest.mark.parametrize("n", [70, 100, 300])
def test_rows_that_are_equally_far_apart(n):
    rows = np.random.default_rng(0).normal(size=(n, 3))
    for solver in ("auto", "dense"):
        model = KernelPCA(2, kernel="rbf", gamma=1e9, eigen_solver=solver).fit(rows)
        np.testing.assert_allclose(model.eigenvalues_, [1, 1])
    far = 1 - np.eye(n)
    for places in (
        ClassicalMDS(2, metric="precomputed").fit_transform(far),
        Isomap(n_neighbors=n - 1, metric="precomputed").fit_transform(far),
    ):
        np.testing.assert_allclose(places.T @ places, np.eye(2) / 2, atol=1e-12)


@pytest.mark.parametrize("solver", ["dense", "arpack"])
@pytest.mark.parametrize("n", [3, 60])
def test_degenerate_kernels(n, solver):
    for K, value in (
        (np.eye(n), 1),
        (np.ones((n, n)), 0),
        (np.full((n, n), 0.1), 0),
        (np.zeros((n, n)), 0),
    ):
        for k in {1, 2, n - 1}:
            model = KernelPCA(k, kernel="precomputed", eigen_solver=solver).fit(K)
            np.testing.assert_allclose(model.eigenvalues_, np.full(k, value), atol=1e-14)
            across = model.eigenvectors_.T @ model.eigenvectors_
            np.testing.assert_allclose(across, np.eye(k), atol=1e-12)
            np.testing.assert_array_less(np.abs(model.transform(K)), 1.0001 * value + 1e-14)


def test_too_few_restarts_are_one_sentence():
    model = KernelPCA(5, kernel="rbf", eigen_solver="arpack", max_iter=1)
    rows = np.random.default_rng(0).normal(size=(60, 8))
    with pytest.raises(RuntimeError, match=r"all 5 vectors must converge, got \d that did"):
        model.fit(rows)


def test_bits_do_not_depend_on_threads(tmp_path):
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = KernelPCA(2, kernel="rbf", gamma=0.1).fit(X)
            found.append(model.transform(NEW))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    kernelmill.save(model, tmp_path / "m.safetensors")
    kept = kernelmill.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(kept.transform(NEW), found[0])
