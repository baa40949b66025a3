"""Laws of scale: what is fitted to y times a power of two is what is fitted to y, times it.

Weights times a power of two change nothing.
"""

import numpy as np
import pytest
from sklearn.base import clone

from kernelmill.ensemble import (
    AdaBoostRegressor,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from kernelmill.tree import DecisionTreeRegressor, ExtraTreeRegressor

_RNG = np.random.default_rng(0)
X = _RNG.standard_normal((80, 3))
Y = X[:, 0] + X[:, 1] ** 2 + 0.1 * _RNG.standard_normal(80)

MODELS = {
    "tree": DecisionTreeRegressor(max_depth=4),
    "binned": DecisionTreeRegressor(max_depth=4, split="hist"),
    "pruned": DecisionTreeRegressor(max_leaf_nodes=9),
    "absolute": DecisionTreeRegressor(max_depth=4, criterion="absolute_error"),
    "drawn": ExtraTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(8, random_state=0),
    "extra trees": ExtraTreesRegressor(8, random_state=0),
    "adaboost": AdaBoostRegressor(n_estimators=8, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=8),
    "huber": GradientBoostingRegressor(n_estimators=8, loss="huber", subsample=0.7, random_state=0),
    "stopped": GradientBoostingRegressor(n_estimators=40, n_iter_no_change=2, random_state=0),
    "histograms": HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=5),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("c", [1e150, 1e-150, 2.0**700, 2.0**-900])
def test_predictions_scale_with_targets(name, c):
    exact = np.frexp(c)[0] == 0.5
    plain = MODELS[name].fit(X, Y)
    found, importances = plain.predict(X), getattr(plain, "feature_importances_", None)
    scaled = MODELS[name].fit(X, c * Y)
    np.testing.assert_allclose(scaled.predict(X) / c, found, rtol=0 if exact else 1e-12)
    if name == "histograms" and not 1e-155 < c < 1e155:
        importances = None  # gains are squares
    if importances is not None:
        np.testing.assert_allclose(
            scaled.feature_importances_, importances, rtol=0 if exact else 1e-10
        )


@pytest.mark.parametrize("c", [2.0**440, 2.0**-350])
def test_limits_in_units_of_squares_scale(c):
    def leaves(factor):
        limits = {"min_impurity_decrease": 0.02 * factor**2, "ccp_alpha": 0.03 * factor**2}
        models = [DecisionTreeRegressor(**{k: v}).fit(X, factor * Y) for k, v in limits.items()]
        return [m.get_n_leaves() for m in models], models[0].tree_.impurity / factor**2

    (plain, impurity), (scaled, own) = leaves(1.0), leaves(c)
    assert plain == scaled
    assert 2 < min(plain) < 40
    np.testing.assert_array_equal(own, impurity)


def test_losses_of_boosting_scale():
    model = GradientBoostingRegressor(n_estimators=3)
    plain = model.fit(X, Y).train_score_
    np.testing.assert_array_equal(model.fit(X, 2.0**400 * Y).train_score_, plain * 2.0**800)


def test_out_of_bag_scores_do_not_change():
    model = RandomForestRegressor(30, oob_score=True, random_state=0)
    assert model.fit(X, Y).oob_score_ == model.fit(X, 2.0**600 * Y).oob_score_


@pytest.mark.parametrize("name", ["tree", "forest", "adaboost", "boosting", "histograms"])
def test_targets_beyond_sums_are_refused(name):
    with pytest.raises(ValueError, match=r"y must be at most .* got values of up to 1e\+300"):
        MODELS[name].fit(X, np.where(Y > 0, 1e300, Y))


def test_stopping_by_squares_refuses_what_has_none():
    model = HistGradientBoostingRegressor(early_stopping=True)
    with pytest.raises(ValueError, match="y must be small enough to be squared"):
        model.fit(X, 1e160 * Y)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("error")
def test_weights_have_no_unit_as_long_as_they_can_be_added(name):
    w = np.random.default_rng(1).integers(1, 5, 80).astype(float)
    model = MODELS[name]
    want = clone(model).fit(X, Y, w).predict(X)
    for power in (-900, 900):
        np.testing.assert_array_equal(clone(model).fit(X, Y, w * 2.0**power).predict(X), want)
    if isinstance(model, AdaBoostRegressor | GradientBoostingRegressor):  # these divide them
        np.testing.assert_array_equal(clone(model).fit(X, Y, w * 2.0**1020).predict(X), want)
        return
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: sample_weight must have a fin"):
        clone(model).fit(X, Y, w * 2.0**1020)
