"""Histogram boosting beside scikit-learn's: equal where it must be, and no worse elsewhere."""

import numpy as np
import pytest
from sklearn import ensemble as peer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from kernelmill.ensemble import HistGradientBoostingClassifier as Classifier
from kernelmill.ensemble import HistGradientBoostingRegressor as Regressor


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gamma"])
def test_regression_equals_scikit_learn(loss):
    X, y = load_diabetes(return_X_y=True)
    options = {"max_iter": 40, "loss": loss, "random_state": 0}
    ours = Regressor(**options).fit(X, y).predict(X)
    np.testing.assert_allclose(
        ours, peer.HistGradientBoostingRegressor(**options).fit(X, y).predict(X), rtol=1e-5
    )


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_classification_beside_scikit_learn(load):
    X, y = load(return_X_y=True)
    A, B, a, b = train_test_split(X, y, random_state=0, test_size=0.4)
    options = {"max_iter": 40}
    ours = log_loss(b, Classifier(**options).fit(A, a).predict_proba(B))
    theirs = log_loss(b, peer.HistGradientBoostingClassifier(**options).fit(A, a).predict_proba(B))
    assert ours < theirs + 0.02


def test_coarse_steps_cost_no_quality():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40_000, 8))
    y = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(size=40_000)
    A, B, a, b = X[:20_000], X[20_000:], y[:20_000], y[20_000:]
    options = {"max_iter": 30, "early_stopping": False}
    ours = Regressor(**options).fit(A, a).score(B, b)
    theirs = peer.HistGradientBoostingRegressor(**options).fit(A, a).score(B, b)
    assert ours > theirs - 0.002
    # A target far away: coarse steps would drown all others, so steps are fine.
    far = np.append(a, 1e7)
    alone = Regressor(**options, categorical_features=[8], min_samples_leaf=1)
    mark = np.append(np.zeros(20_000), 1)[:, None]
    model = alone.fit(np.append(np.append(A, A[:1], axis=0), mark, axis=1), far)
    left = model.predict(np.append(B, mark[:20_000], axis=1)) - 1e7 / 20_001 * 0.9**30
    assert np.corrcoef(left, b)[0, 1] ** 2 > theirs - 0.01


@pytest.mark.parametrize("levels", [20, 120])
def test_levels_of_noise_cost_no_quality(levels):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, levels, (6000, 2))
    X = np.concatenate([codes, rng.normal(size=(6000, 2))], axis=1)
    y = rng.normal(size=levels)[codes[:, 0]] + X[:, 2] * X[:, 3] + rng.normal(size=6000)
    A, B, a, b = X[:3000], X[3000:], y[:3000], y[3000:]
    options = {"categorical_features": [0, 1], "max_iter": 60}
    ours = Regressor(**options).fit(A, a).score(B, b)
    assert ours > peer.HistGradientBoostingRegressor(**options).fit(A, a).score(B, b) - 0.01


def test_equal_gains():
    """The lowest feature, the lowest cut and missing right win."""
    column = np.repeat(np.arange(8.0), 10)[:, None]
    model = Regressor(min_samples_leaf=1, max_iter=5).fit(np.tile(column, 3), column[:, 0] > 3)
    assert model.feature_importances_.tolist() == [1, 0, 0]
    stump = Regressor(max_iter=1, max_leaf_nodes=2, min_samples_leaf=1, learning_rate=1)
    for values, y, predicted in (
        ([0, 1, 2], [0, 1, 0], [0, 0.5, 0.5]),
        ([0, 1, np.nan], [0, 1, 0.5], [0, 0.75, 0.75]),
    ):
        X = np.array(values * 10, float)[:, None]
        np.testing.assert_allclose(
            stump.fit(X, y * 10).predict(X[:3]), predicted, rtol=1e-12, atol=1e-12
        )
