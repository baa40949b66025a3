"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.mixture import BayesianGaussianMixture, GaussianMixture, MixtureClassifier

_SHUFFLED = (
    "random starts pick rows by their place, and the check shuffles the repeated rows; from the "
    "same start weights equal repetition, see test_gaussian_mixture.py"
)
EXPECTED_FAILURES: dict[str, dict[str, str]] = {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        GaussianMixture(),
        GaussianMixture(covariance_type="diag", contamination=0.1),
        BayesianGaussianMixture(),
        BayesianGaussianMixture(covariance_type="tied", contamination=0.1),
        MixtureClassifier(),
        MixtureClassifier(mixture=BayesianGaussianMixture(covariance_type="spherical")),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES.get(type(model).__name__, {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)
