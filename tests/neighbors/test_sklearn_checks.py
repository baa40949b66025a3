"""scikit-learn's own checks, with every exception and its reason."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    MLkNN,
    NearestCentroid,
    NearestNeighbors,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)

MODELS = [
    KNeighborsClassifier(),
    KNeighborsRegressor(weights="distance"),
    KernelDensity(),
    KNeighborsTransformer(),
    LocalOutlierFactor(9),
    LocalOutlierFactor(9, novelty=True),
    MLkNN(5),
    NearestCentroid(),
    NearestNeighbors(),
    RadiusNeighborsClassifier(outlier_label="most_frequent"),
    RadiusNeighborsRegressor(),
    RadiusNeighborsTransformer(),
]


@parametrize_with_checks(MODELS)
def test_scikit_learn(estimator, check):
    check(estimator)
