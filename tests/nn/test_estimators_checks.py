"""scikit-learn's own checks of the estimators over networks; every exception has its reason."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.nn import NeuralNetClassifier, NeuralNetRegressor

_ORDER = "batches are drawn in an order that repeated rows change; test_estimators.py has one batch"
EXPECTED_FAILURES = {
    "check_do_not_raise_errors_in_init_or_set_params": (
        "takes **kwargs for an argument; a name that is none of module__* is a TypeError at once"
    ),
    "check_sample_weight_equivalence_on_dense_data": _ORDER,
    "check_sample_weight_equivalence_on_sparse_data": _ORDER,
}


@parametrize_with_checks(
    [
        NeuralNetClassifier(max_epochs=60, lr=0.02),
        NeuralNetRegressor(max_epochs=60, lr=0.02),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES,
)
def test_scikit_learn(estimator, check):
    check(estimator)
