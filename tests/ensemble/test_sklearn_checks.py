"""scikit-learn's own checks, with every exception and its reason."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

MODELS = [
    RandomForestClassifier(n_estimators=5),
    RandomForestRegressor(n_estimators=5),
    ExtraTreesClassifier(n_estimators=5),
    ExtraTreesRegressor(n_estimators=5),
]
_BAGS = "a bag draws rows: other rows, other bags, even where weights make the data the same"


def exceptions(estimator):
    if not getattr(estimator, "bootstrap", False):
        return {}
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": _BAGS for kind in kinds}


@pytest.mark.filterwarnings("ignore:.*n_estimators must:UserWarning")
@parametrize_with_checks(MODELS, expected_failed_checks=exceptions)
def test_scikit_learn(estimator, check):
    check(estimator)
