"""scikit-learn's own checks."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.estimation import (
    Categorical,
    Exponential,
    Gaussian,
    MultivariateGaussian,
    Poisson,
)

MODELS = [Categorical(), Exponential(), Gaussian(), MultivariateGaussian(), Poisson()]
_WHOLE = "the check fits fractions, which the distribution does not have"
EXCEPTIONS = {
    "check_sample_weight_equivalence_on_dense_data": _WHOLE,
    "check_sample_weight_equivalence_on_sparse_data": _WHOLE,
}


def exceptions(model):
    return EXCEPTIONS if type(model) in (Categorical, Poisson) else {}


@parametrize_with_checks(MODELS, expected_failed_checks=exceptions)
def test_scikit_learn(estimator, check):
    check(estimator)
