"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)

MODELS = [
    RandomForestClassifier(n_estimators=5),
    RandomForestRegressor(n_estimators=5),
    ExtraTreesClassifier(n_estimators=5),
    ExtraTreesRegressor(n_estimators=5),
    RandomForestRegressor(n_estimators=5, split="hist"),
    AdaBoostClassifier(n_estimators=5),
    AdaBoostRegressor(n_estimators=5),
    GradientBoostingClassifier(n_estimators=5),
    GradientBoostingRegressor(n_estimators=5),
    IsolationForest(n_estimators=5),
]
_BAGS = "rows are drawn: other rows, other draws, even where weights make the data the same"
_DRAWS = (RandomForestClassifier, RandomForestRegressor, AdaBoostRegressor, IsolationForest)


def exceptions(estimator):
    if not isinstance(estimator, _DRAWS):
        return {}
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": _BAGS for kind in kinds}


@pytest.mark.filterwarnings("ignore:.*n_estimators must:UserWarning")
@parametrize_with_checks(MODELS, expected_failed_checks=exceptions)
def test_scikit_learn(estimator, check):
    check(estimator)
