"""scikit-learn's own checks, with every exception and its reason."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

MODELS = [
    DecisionTreeClassifier(),
    DecisionTreeRegressor(),
    ExtraTreeClassifier(max_features=None),
    ExtraTreeRegressor(),
    DecisionTreeClassifier(split="hist"),
    ExtraTreeRegressor(split="hist", max_bins=20),
]


@parametrize_with_checks(MODELS)
def test_scikit_learn(estimator, check):
    check(estimator)
