"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.neural_network import MLPClassifier, MLPRegressor

_ORDER = "batches are drawn in an order that repeated rows change; for all at once see test_mlp.py"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": _ORDER,
    "check_sample_weight_equivalence_on_sparse_data": _ORDER,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)],
    expected_failed_checks=lambda model: EXPECTED_FAILURES,
)
def test_scikit_learn(estimator, check):
    check(estimator)
