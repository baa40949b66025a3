"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.svm import (
    SVC,
    SVCCV,
    SVR,
    SVRCV,
    LinearSVC,
    LinearSVR,
    NuSVC,
    NuSVR,
    OneClassSVM,
)

EXPECTED_FAILURES = {
    "NuSVC": {
        "check_class_weight_classifiers": "nu is refused where it asks more of a class than its "
        "weight, 1e-4 against 1000, allows",
    }
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        SVC(),
        NuSVC(nu=0.2),
        SVR(),
        NuSVR(),
        OneClassSVM(),
        SVCCV(Cs=[1.0], cv=3),
        SVRCV(Cs=[1.0], cv=3),
        LinearSVC(),
        LinearSVC(loss="hinge", tol=1e-12),
        LinearSVC(multi_class="crammer_singer", tol=1e-9, max_iter=20_000),
        LinearSVR(tol=1e-12),
        LinearSVR(loss="squared_epsilon_insensitive"),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES.get(type(model).__name__, {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)
