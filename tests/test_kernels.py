"""Parameters of kernel functions, and what models ask of them."""

import numpy as np
import pytest
import scipy.sparse

from kernelmill._kernels import Kernel, kernel_of, variance
from kernelmill.kernel_approximation import Nystroem
from kernelmill.kernel_ridge import KernelRidge
from kernelmill.svm import SVC


def test_variance_counts_zeros_weights_and_parts():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4)) * (rng.random((50, 4)) < 0.5) + 1
    X[X == 1] = 0
    counts = rng.integers(0, 4, 50).astype(float)
    repeated = np.repeat(X, counts.astype(int), axis=0)
    for make in (np.asarray, scipy.sparse.csr_matrix):
        assert variance(make(X)) == pytest.approx(X.var(), rel=1e-12)
        assert variance(make(X), counts) == pytest.approx(repeated.var(), rel=1e-12)
    assert variance(X.astype(np.float32) + 1e4) == pytest.approx(X.var(), rel=1e-3)


def test_the_diagonal_is_that_of_the_matrix():
    X = np.abs(np.random.default_rng(0).normal(size=(9, 3)))
    for name in ("linear", "poly", "rbf", "sigmoid", "laplacian", "chi2"):
        kernel = Kernel(name, 0.3, 0.5, 2.0)
        for made in (X, scipy.sparse.csr_matrix(X)):
            K = kernel.matrix(made, made, "test")
            np.testing.assert_allclose(kernel.diagonal(made), K.diagonal(), rtol=1e-12)


def test_gamma():
    X = np.array([[0.0, 2.0], [2.0, 0.0]])
    assert kernel_of(SVC(gamma="auto"), X).gamma == 0.5
    assert kernel_of(SVC(), X).gamma == 0.5
    assert kernel_of(SVC(), 0 * X).gamma == 1
    assert kernel_of(SVC(gamma=3), X).gamma == 3
    assert kernel_of(SVC(kernel=len), X).is_given


@pytest.mark.parametrize("name", ["chi2", "additive_chi2"])
@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_kernels_of_shares_refuse_negative_rows(name, make):
    X = np.random.default_rng(0).uniform(size=(20, 3))
    for model in (KernelRidge(1e3, kernel=name), Nystroem(name, n_components=5)):
        message = f"^{type(model).__name__}: X must not be negative for kernel='{name}', got -"
        with pytest.raises(ValueError, match=message):
            model.fit(make(-X), X[:, 0])
        model.fit(make(X), X[:, 0])
        use = model.predict if hasattr(model, "predict") else model.transform
        with pytest.raises(ValueError, match=message):
            use(make(-X))
