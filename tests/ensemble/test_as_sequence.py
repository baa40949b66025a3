"""Ensembles as sequences of their estimators, as in scikit-learn."""

import numpy as np
import pytest

from kernelmill.ensemble import (
    AdaBoostRegressor,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)


@pytest.mark.parametrize(
    "model",
    [
        AdaBoostRegressor, ExtraTreesRegressor, GradientBoostingRegressor, IsolationForest,
        RandomForestClassifier,
    ],
)  # fmt: skip
def test_an_ensemble_is_a_sequence(model):
    X = np.random.default_rng(0).normal(size=(40, 3))
    unfitted = model(n_estimators=3, random_state=0)
    assert unfitted
    fitted = unfitted.fit(X, (X[:, 0] > 0).astype(int))
    assert len(fitted) == len(fitted.estimators_) == len(list(fitted)) > 0
    first = np.ravel([fitted[0], next(iter(fitted))])
    assert type(first[0]) is type(first[1]) is type(np.ravel([fitted.estimators_[0]])[0])
