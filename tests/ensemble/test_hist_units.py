"""HistGradientBoostingRegressor: targets in any unit, also where rounds are scored."""

import numpy as np
import pytest

from kernelmill.ensemble import HistGradientBoostingRegressor as Regressor


def noisy(n=400, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("c", [1e-9, 2.0**-60, 1e9])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "quantile", "poisson", "gamma"]
)
def test_when_to_stop_has_no_unit(loss, c):
    X, y = noisy(600)
    y = np.exp(y) if loss in ("poisson", "gamma") else y
    options = {
        "early_stopping": True, "n_iter_no_change": 2, "tol": 1e-3, "random_state": 0,
        "quantile": 0.7,
    }  # fmt: skip
    plain, scaled = (Regressor(loss, **options).fit(X, u * y) for u in (1.0, c))
    assert 5 < plain.n_iter_ < 100
    assert scaled.n_iter_ == plain.n_iter_
    again = Regressor(loss, max_iter=3, warm_start=True, **options).fit(X, c * y)
    assert again.set_params(max_iter=100).fit(X, c * y).n_iter_ == plain.n_iter_
    np.testing.assert_allclose(scaled.predict(X) / c, plain.predict(X), rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_early_stopping_refuses_targets_whose_squares_vanish(loss):
    X, y = noisy(120)
    options = {"early_stopping": True, "max_iter": 20, "random_state": 0}
    with pytest.raises(ValueError, match="y must be large enough to be squared in float64"):
        Regressor(loss, **options).fit(X, 1e-200 * y)
    assert Regressor(loss, **options).fit(X, 1e-140 * y).n_iter_ > 5


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_positive_targets_in_any_unit(loss):
    X, y = noisy(150)
    y = np.exp(y / 4)
    plain = Regressor(loss, max_iter=20).fit(X, y).predict(X)
    for c in (1e-9, 1e9):
        scaled = Regressor(loss, max_iter=20).fit(X, c * y).predict(X)
        np.testing.assert_allclose(scaled / c, plain, rtol=1e-6)
