"""scikit-learn's own checks; none is left out."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    SparseGaussianProcessRegressor,
)
from kernelmill.gaussian_process.kernels import RBF

MODELS = [
    GaussianProcessRegressor(),
    GaussianProcessClassifier(),
    SparseGaussianProcessRegressor(1.0 * RBF(1.0), n_inducing=20, max_iter=10, random_state=0),
]


# Few iterations, so that the checks are quick.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(MODELS)
def test_scikit_learn(estimator, check):
    check(estimator)
