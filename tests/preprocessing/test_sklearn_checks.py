"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.preprocessing import (
    FourierFeatures,
    KNNImputer,
    MinMaxScaler,
    RadialBasisFeatures,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
)

_DRAWN = "k-means starts at rows drawn by their numbers, which repetition changes"
EXPECTED_FAILURES: dict = {
    "kmeans": {"check_sample_weight_equivalence_on_dense_data": _DRAWN},
}


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
        FourierFeatures(),
        FourierFeatures(2, period="estimate"),
        RadialBasisFeatures(),
        RadialBasisFeatures(5, centers="uniform", width_factor=0.5),
        RadialBasisFeatures(4, centers="kmeans", random_state=0),
    ],
    expected_failed_checks=lambda model: EXPECTED_FAILURES.get(getattr(model, "centers", ""), {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)
