"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.linear_model import Perceptron, SGDClassifier, SGDRegressor

_ORDER = "rows are visited in an order that repeated rows change; test_sgd.py fixes the order"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": _ORDER,
    "check_sample_weight_equivalence_on_sparse_data": _ORDER,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [Perceptron(), SGDClassifier(max_iter=200), SGDRegressor(max_iter=200)],
    expected_failed_checks=lambda model: EXPECTED_FAILURES,
)
def test_scikit_learn(estimator, check):
    check(estimator)
