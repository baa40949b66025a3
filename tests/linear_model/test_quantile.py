"""Quantile regression: the least of the pinball loss, several quantiles, and exact lines."""

import _thread
import threading

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from sklearn import linear_model as sk
from sklearn.metrics import r2_score

from kernelmill.linear_model import QuantileRegressor


def problem(seed=0, n=120, d=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    return X, X @ rng.normal(size=d) + rng.standard_t(2, size=n), rng.uniform(0, 2, n)


def loss(model, X, y, w=None):
    r = y - model.predict(X)
    pinball = np.average(np.maximum(model.quantile * r, (model.quantile - 1) * r), weights=w)
    return pinball + model.alpha * np.abs(model.coef_).sum()


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_scikit_learns(quantile, alpha, intercept, weighted):
    X, y, w = problem()
    w = w if weighted else None
    given = {"quantile": quantile, "alpha": alpha, "fit_intercept": intercept}
    theirs = sk.QuantileRegressor(**given).fit(X, y, sample_weight=w)
    for rows in (X, scipy.sparse.csr_matrix(X)):
        ours = QuantileRegressor(**given).fit(rows, y, sample_weight=w)
        assert loss(ours, X, y, w) == pytest.approx(loss(theirs, X, y, w), rel=1e-10)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)


def test_an_exact_line():
    x = np.random.default_rng(0).normal(size=10_000)
    model = QuantileRegressor(alpha=0.0).fit(x[:, None], 86.4 * x)
    assert model.coef_[0] == pytest.approx(86.4, abs=1e-6)


def test_the_score_of_several_is_the_mean_of_each():
    X, y, w = problem()
    levels = [0.2, 0.6]
    model = QuantileRegressor(quantile=levels, alpha=0.1).fit(X, y)
    each = [r2_score(y, f, sample_weight=w) for f in model.predict(X).T]
    assert model.score(X, y, w) == pytest.approx(np.mean(each))


def test_several_quantiles_do_not_cross():
    X, y = np.arange(8.0)[:, None], [1, 1, 2, 1, 3, 2, 9, 3]
    levels = [0.1, 0.5, 0.9]
    model = QuantileRegressor(quantile=levels, alpha=0.0).fit(X, y)
    ends = model.predict([[0.0], [7.0]])
    assert (np.diff(ends, axis=1) >= -1e-9).all()
    r = np.asarray(y)[:, None] - model.predict(X)
    least = [0.0] * 3
    for i, q in enumerate(levels):
        alone = QuantileRegressor(quantile=q, alpha=0.0).fit(X, y)
        least[i] = loss(alone, X, y)
    got = np.maximum(np.array(levels) * r, (np.array(levels) - 1) * r).mean(0)
    np.testing.assert_allclose(got, least, rtol=1e-9)  # these do not cross by themselves


def test_quantiles_that_would_cross_are_kept_apart():
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(25, 3)), rng.standard_t(1.5, 25)
    levels = [0.8, 0.3, 0.5, 0.6]
    alone = np.column_stack(
        [QuantileRegressor(quantile=q, alpha=0.0).fit(X, y).predict(X) for q in sorted(levels)]
    )
    assert (np.diff(alone, axis=1) < -1e-6).any()
    together = QuantileRegressor(quantile=levels, alpha=0.0).fit(X, y).predict(X)
    assert (np.diff(together[:, np.argsort(levels)], axis=1) >= -1e-8).all()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_units_do_not_matter(factor):
    X, y, _ = problem()
    plain = QuantileRegressor(alpha=0.0).fit(X, y)
    scaled = QuantileRegressor(alpha=0.0).fit(factor * X, y)
    np.testing.assert_allclose(scaled.coef_ * factor, plain.coef_, rtol=1e-7)
    small = QuantileRegressor(alpha=0.1).fit(X, factor * y)
    np.testing.assert_allclose(small.coef_, factor * QuantileRegressor(alpha=0.1).fit(X, y).coef_,
                               rtol=1e-7, atol=1e-12 * factor)  # fmt: skip


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1, 2.0, [0.5, 1.0]])
def test_a_quantile_of_0_or_1_is_refused(quantile):
    with pytest.raises(ValueError, match="quantile must be a number above 0 and below 1"):
        QuantileRegressor(quantile=quantile).fit([[1.0], [2.0]], [1, 2])


def test_a_stream_is_refused():
    with pytest.raises(TypeError, match="must be an array or frame in memory"):
        QuantileRegressor().fit(lambda: iter([np.ones((2, 1))]), [1, 2])


def test_ctrl_c_is_seen_while_the_solver_runs(monkeypatch):
    ends, began = threading.Event(), threading.Event()

    def solver(*args, **options):
        assert threading.current_thread() is not threading.main_thread()
        began.set()
        ends.wait(60)

    monkeypatch.setattr(scipy.optimize, "linprog", solver)

    def interrupt():
        began.wait(60)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        QuantileRegressor().fit(np.eye(3), np.arange(3.0))
    assert not ends.is_set()
    ends.set()


def test_what_the_solver_raises_is_raised():
    with pytest.raises(TypeError, match="time_limit"):
        QuantileRegressor(solver_options={"time_limit": "soon"}).fit(np.eye(3), np.arange(3.0))
