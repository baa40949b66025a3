"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.preprocessing import (
    KNNImputer,
    MinMaxScaler,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
)

EXPECTED_FAILURES: dict = {}


@pytest.mark.filterwarnings("ignore:SimpleImputer. Skipping features:UserWarning")
@parametrize_with_checks(
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        MinMaxScaler(),
        MinMaxScaler(clip=True),
        RobustScaler(),
        RobustScaler(with_centering=False, unit_variance=True),
        SimpleImputer(),
        SimpleImputer(strategy="median"),
        SimpleImputer(strategy="most_frequent", add_indicator=True),
        SimpleImputer(strategy="constant", fill_value=3.0),
        KNNImputer(),
        KNNImputer(weights="distance", add_indicator=True),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES.get(type(model).__name__, {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)
