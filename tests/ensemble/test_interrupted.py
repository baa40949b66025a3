"""With ``warm_start=True`` a fit that Ctrl-C ends is a model, and goes on to the whole one."""

import numpy as np
import pytest
from sklearn.base import clone

import kernelmill
from kernelmill.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestRegressor,
)
from kernelmill.tree._growth import Nursery

X = np.random.default_rng(0).normal(size=(120, 3))
Y = X[:, 0] + X[:, 1] * X[:, 2]


@pytest.fixture
def interrupt(monkeypatch):
    """Growth that Ctrl-C ends in its third call."""
    monkeypatch.setattr("kernelmill.ensemble._forest._SLICE", 1)  # a tree a call
    calls, grow = 0, Nursery.grow

    def growing(self, *given):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return grow(self, *given)

    monkeypatch.setattr(Nursery, "grow", growing)


def results(model):
    names = ("predict", "predict_proba", "score_samples", "decision_function")
    return [getattr(model, name)(X) for name in names if hasattr(model, name)]


@pytest.mark.parametrize(
    "model",
    [
        ExtraTreesClassifier(4, bootstrap=True, oob_score=True),
        RandomForestRegressor(4, keep_targets=True),
        IsolationForest(n_estimators=80, contamination=0.1),
        GradientBoostingClassifier(n_estimators=4, subsample=0.5),
        GradientBoostingRegressor(n_estimators=4, init="zero"),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore:.*n_estimators must be larger:UserWarning")
def test_an_interrupted_fit_is_a_model_and_goes_on(model, interrupt):
    y = Y > 0 if "Classifier" in type(model).__name__ else Y
    model.set_params(random_state=np.random.default_rng(7), warm_start=True)
    with kernelmill.threads(1):
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
        assert model.interrupted_
        part = len(model)
        assert 0 < part < model.n_estimators
        assert all(np.isfinite(one).all() for one in results(model) if one.dtype.kind == "f")
        if hasattr(model, "estimators_samples_"):
            assert len(model.estimators_samples_) == part
        model.fit(X, y)
        whole = clone(model).set_params(random_state=np.random.default_rng(7)).fit(X, y)
    assert not hasattr(model, "interrupted_")
    assert len(model) == model.n_estimators
    for got, want in zip(results(model), results(whole), strict=True):
        np.testing.assert_array_equal(got, want)


def test_targets_of_an_earlier_fit_are_not_kept(interrupt):
    model = RandomForestRegressor(1, keep_targets=True, warm_start=True, random_state=0)
    with kernelmill.threads(1):
        model.fit(X, Y).predict_quantiles(X)
        with pytest.raises(KeyboardInterrupt):
            model.set_params(n_estimators=4).fit(X, Y)
    assert len(model) == 2
    with pytest.raises(ValueError, match="keep_targets must be True in fit"):
        model.predict_quantiles(X)
