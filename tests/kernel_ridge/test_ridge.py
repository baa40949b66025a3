"""Kernel ridge regression: the equations, leave-one-out, weights, and scikit-learn's checks."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.gaussian_process.kernels as theirs
import sklearn.kernel_ridge
import sklearn.metrics.pairwise
from sklearn.utils.estimator_checks import parametrize_with_checks

import kernelmill.kernel_ridge
from kernelmill.gaussian_process import kernels as ours
from kernelmill.kernel_ridge import KernelRidge

KERNELS = ("linear", "poly", "polynomial", "rbf", "sigmoid", "laplacian", "chi2", "cosine")


def data(n=60, d=4, outputs=None):
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(n, d)))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    return X, y if outputs is None else np.stack([y * (k + 1) + k for k in range(outputs)], axis=1)


@parametrize_with_checks([KernelRidge()])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("outputs", [None, 3])
def test_the_same_as_scikit_learn(kernel, outputs):
    X, y = data(outputs=outputs)
    w = np.random.default_rng(1).random(len(X))
    alpha = 0.5 if outputs is None else [0.5, 1.0, 2.0]
    gamma = 0.7 if kernel == "chi2" else None
    ours = KernelRidge(alpha, kernel=kernel, gamma=gamma).fit(X, y, sample_weight=w)
    peer = sklearn.kernel_ridge.KernelRidge(alpha=alpha, kernel=kernel, gamma=gamma)
    peer.fit(X, y, sample_weight=w)
    np.testing.assert_allclose(ours.predict(X), peer.predict(X), rtol=1e-7, atol=1e-9)
    if kernel != "chi2":
        made = scipy.sparse.csr_matrix(X)
        sparse = KernelRidge(alpha, kernel=kernel).fit(made, y, sample_weight=w)
        np.testing.assert_allclose(sparse.predict(made), ours.predict(X), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_a_kernel_that_is_not_positive_definite_solves_the_equations(make):
    X, y = data(n=20)
    K = sklearn.metrics.pairwise.additive_chi2_kernel(X)
    with pytest.warns(UserWarning, match="^KernelRidge: alpha must be large enough"):
        model = KernelRidge(0.5, kernel="additive_chi2").fit(make(X), y)
    right = K @ np.linalg.solve(K + 0.5 * np.eye(20), y)
    np.testing.assert_allclose(model.predict(make(X)), right, rtol=1e-7)


def test_leave_one_out_is_what_leaving_out_gives():
    X, y = data(n=25, outputs=2)
    w = np.random.default_rng(1).random(25)
    w[3] = 0.0
    for weight in (None, w):
        model = KernelRidge(0.1, kernel="rbf", leave_one_out=True).fit(X, y, sample_weight=weight)
        for i in (0, 3, 24):
            rest = np.delete(np.arange(25), i)
            other = KernelRidge(0.1, kernel="rbf").fit(
                X[rest], y[rest], sample_weight=None if weight is None else weight[rest]
            )
            np.testing.assert_allclose(
                model.loo_predictions_[i], other.predict(X[i : i + 1])[0], rtol=1e-8
            )


def test_weights_equal_repetition():
    X, y = data(n=30)
    counts = np.random.default_rng(2).integers(0, 3, 30)
    weighted = KernelRidge(0.3, kernel="rbf").fit(X, y, sample_weight=counts.astype(float))
    repeated = KernelRidge(0.3, kernel="rbf").fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)


def test_given_kernels():
    X, y = data()
    want = KernelRidge(kernel="linear").fit(X, y).predict(X[:5])
    given = KernelRidge(kernel="precomputed").fit(X @ X.T, y)
    np.testing.assert_allclose(given.predict(X[:5] @ X.T), want, rtol=1e-7)
    called = KernelRidge(kernel=lambda a, b: a @ b).fit(X, y)
    np.testing.assert_allclose(called.predict(X[:5]), want, rtol=1e-7)
    with pytest.raises(ValueError, match=r"^KernelRidge: X must be a square matrix"):
        KernelRidge(kernel="precomputed").fit(X, y)
    with pytest.raises(ValueError, match=r"^KernelRidge: alpha must be at least 0"):
        KernelRidge([1.0, 2.0]).fit(X, y)


def test_a_singular_system_is_said():
    X = np.array([[1.0], [1.0], [2.0]])
    with pytest.warns(UserWarning, match="least norm"):
        model = KernelRidge(0, kernel="rbf", leave_one_out=True).fit(X, [1.0, 1.0, 0.0])
    np.testing.assert_allclose(model.predict(X), [1, 1, 0], atol=1e-9)


def test_kernels_of_gaussian_processes():
    """With noise: K(X, X) has none, as in scikit-learn."""
    X, y = data()
    found = [
        module.KernelRidge(alpha=0.5, kernel=k.RationalQuadratic(1.3, 2.0) + k.WhiteKernel(0.3))
        .fit(X, y)
        .predict(X[:9] + 0.1)
        for module, k in (
            (sklearn.kernel_ridge, theirs), (kernelmill.kernel_ridge, theirs),
            (kernelmill.kernel_ridge, ours),
        )
    ]  # fmt: skip
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9)
    for options in ({"kernel": ours.RBF}, {"kernel": ours.RBF(), "kernel_params": {"gamma": 1}}):
        with pytest.raises(ValueError, match="kernel must be a kernel with its parameters, got"):
            KernelRidge(**options).fit(X, y)
