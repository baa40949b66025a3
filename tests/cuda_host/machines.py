"""What kernel machines do on the device alone; run by ``estimators.py``."""

import cupy
import numpy as np
import pytest
import sklearn.gaussian_process.kernels

from kernelmill.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    SparseGaussianProcessRegressor,
)
from kernelmill.gaussian_process.kernels import Kernel, Matern, PairwiseKernel
from kernelmill.kernel_ridge import KernelRidge
from kernelmill.svm import SVC, SVCCV


def test_rows_of_float32_meet_the_conditions():
    """More rows than a working set, whose kernel is float32; checked on the host, in float64."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(700, 3)).astype(np.float32)
    y = np.where(X[:, 0] + 0.5 * X[:, 1] + 0.6 * rng.normal(size=700) > 0, 1, -1)
    model = SVC(gamma=0.5, C=10.0, tol=1e-3, cache_size=1).fit(cupy.asarray(X), y)
    assert isinstance(model.support_vectors_, cupy.ndarray)
    b = np.zeros(700)
    b[model.support_] = model.dual_coef_[0]
    up, down = b < np.where(y > 0, 10.0, 0.0), b > np.where(y > 0, 0.0, -10.0)
    slope = y - model.decision_function(X.astype(np.float64))
    assert slope[up].max() - slope[down].min() < 1.5e-3  # of which a third may be rounding of K


class Written(Kernel):
    """A kernel of a user."""

    def __call__(self, X, Y=None, eval_gradient=False):
        K = X @ (X if Y is None else Y).T
        return (K, np.empty((*K.shape, 0))) if eval_gradient else K

    def is_stationary(self):
        return False


class Theirs(sklearn.gaussian_process.kernels.RBF):
    """One that derives from scikit-learn's."""


def test_what_has_no_path_on_a_gpu_says_so():
    X, y = cupy.asarray(np.arange(8.0)[:, None]), np.arange(8) % 2
    for model in (
        SVC(kernel=lambda A, B: A @ B.T), KernelRidge(kernel=lambda a, b: a @ b),
        KernelRidge(kernel=Matern()),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="kernel must be the name of one where X is on a GPU"):
            model.fit(X, y)
    with pytest.raises(TypeError, match="X must be on the CPU, where folds share rows"):
        SVCCV().fit(X, y)
    for model, words in (
        (GaussianProcessRegressor(Matern(nu=0.7)), "nu must be 0.5, 1.5, 2.5 or infinity"),
        (GaussianProcessClassifier(PairwiseKernel()), "where scikit-learn computes the values"),
        (GaussianProcessRegressor(Written()), "Written: X must be on the CPU for a kernel of this"),
        (GaussianProcessRegressor(Theirs()), "Theirs: X must be on the CPU for a kernel of this"),
        (SparseGaussianProcessRegressor(), "X must be on the CPU, got an array on a GPU"),
    ):
        with pytest.raises(TypeError, match=words):
            model.fit(X, y)
