"""Huber's regression: the least of its objective, its scale, and residuals that vanish."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model as sk
from sklearn.exceptions import ConvergenceWarning

from kernelmill.linear_model import HuberRegressor, QuantileRegressor
from kernelmill.linear_model._robust import best_scale, best_size


def problem(seed=0, n=200, d=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    return X, X @ rng.normal(size=d) + rng.standard_t(1.5, size=n), rng.uniform(0, 2, n)


def objective(model, X, y, w):
    z = np.abs(y - X @ model.coef_ - model.intercept_) / model.scale_
    loss = np.where(z < model.epsilon, z * z, 2 * model.epsilon * z - model.epsilon**2)
    return (w * model.scale_ * (1 + loss)).sum() + model.alpha * (model.coef_**2).sum()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("options", [{}, {"epsilon": 2.0}, {"alpha": 5.0}], ids=str)
@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_no_worse_than_scikit_learns(intercept, options, weighted):
    X, y, w = problem()
    w = w if weighted else np.ones(len(y))
    options = {"fit_intercept": intercept, **options}
    ours = HuberRegressor(**options).fit(X, y, sample_weight=w)
    theirs = sk.HuberRegressor(**options, tol=1e-8, max_iter=10_000).fit(X, y, sample_weight=w)
    a, b = objective(ours, X, y, w), objective(theirs, X, y, w)
    assert a <= b * (1 + 1e-9)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)
    assert ours.scale_ == pytest.approx(theirs.scale_, rel=1e-3)
    assert (ours.outliers_ != theirs.outliers_).sum() <= 1
    assert ours.n_iter_ < 60


@pytest.mark.parametrize("c", [1e-4, 1.0, 10.0, 1e4])
def test_most_residuals_vanish(c):
    X, y = c * np.array([[15.0], [75], [150]]), [1.0, 2, 3]
    model = HuberRegressor(alpha=0.0).fit(X, y)
    assert model.coef_[0] * c == pytest.approx(2 / 135, abs=1e-5)
    assert model.intercept_ == pytest.approx(7 / 9, abs=1e-3)
    if c == 1:
        model = HuberRegressor().fit(X, y)
        assert model.coef_[0] == pytest.approx(2 / 135, abs=1e-4)


def test_a_constant_target():
    model = HuberRegressor().fit([[15.0], [75], [150]], [5, 5, 5])
    assert model.coef_[0] == pytest.approx(0, abs=1e-12)
    assert model.intercept_ == pytest.approx(5)
    assert not model.outliers_.any()


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_the_size_of_the_columns_does_not_matter(factor):
    X, y, _ = problem(n=60)
    plain = HuberRegressor(alpha=0.0).fit(X, y)
    scaled = HuberRegressor(alpha=0.0).fit(factor * X, y)
    np.testing.assert_allclose(scaled.coef_ * factor, plain.coef_, rtol=1e-6)
    assert scaled.scale_ == pytest.approx(plain.scale_)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_scale(seed):
    rng = np.random.default_rng(seed)
    sizes, w = np.abs(rng.standard_t(2, 50)), rng.uniform(0, 2, 50)

    def value(s):
        z = sizes / s
        return (w * s * (1 + np.where(z < 1.35, z * z, 2.7 * z - 1.35**2))).sum()

    best = best_scale(sizes, w, 1.35)
    assert all(value(best) <= value(best * f) for f in (0.9, 0.999, 1.001, 1.1))
    assert best_scale(np.zeros(5), np.ones(5), 1.35) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_best_size_of_a_step(seed):
    rng = np.random.default_rng(seed)
    r, t, w = rng.standard_t(2, 30), rng.normal(size=30), rng.uniform(0, 2, 30)
    width, bend = rng.uniform(0, 0.5), rng.uniform(0, 1) * (seed % 2)
    slope = -(w * t) @ np.clip(r, -width, width)
    t, slope = (t, 0.0) if slope < 0 else (-t, 0.0)

    def value(a):
        z = np.abs(r - a * t)
        inside = np.minimum(z, width)
        return w @ (inside * (z - inside / 2)) + slope * a + bend * a * a / 2

    best = best_size(r, t, w, width, slope, bend)
    assert best > 0
    assert all(value(best) <= value(best * f) for f in (0.5, 0.99, 0.9999, 1.0001, 1.01, 2))
    assert best_size(r, -t, w, width, slope, bend) == 0


@pytest.mark.parametrize("epsilon", [1.0, 1.001])
@pytest.mark.parametrize(
    ("n", "d", "seed"), [(50, 3, 1), (200, 4, 0), (200, 4, 1), (60, 20, 0), (60, 20, 1)]
)
def test_a_loss_of_least_sizes(epsilon, n, d, seed):
    """With epsilon 1 the best scale is 0, and the plane a median's; near 1 it is about so."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    y = X @ rng.normal(size=d) + rng.standard_t(1.5, size=n)
    model = HuberRegressor(epsilon=epsilon, alpha=0.0).fit(X, y)  # a warning would be an error
    least = QuantileRegressor(alpha=0.0).fit(X, y).predict(X)
    found = objective(model, X, y, np.ones(n))
    assert found <= 2 * epsilon * np.abs(y - least).sum() * (1 + 1e-6)
    assert model.n_iter_ < 60


def test_too_few_steps_warn():
    X, y, _ = problem()
    with pytest.warns(ConvergenceWarning, match="max_iter=1 steps"):
        HuberRegressor(max_iter=1).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(6))
def test_planes_through_all_rows_are_no_arithmetic_trouble(seed):
    """Curvatures at the best scale are differences: by rounding, below zero (a root warned)."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(5, 15)), rng.integers(0, 2, 5).astype(float)
    for epsilon in (1.01, 1.35):
        model = HuberRegressor(epsilon=epsilon, alpha=0.1).fit(X, y)
        assert np.isfinite(model.coef_).all()


def test_of_many_planes_weights_choose_as_repetition_does():
    """Without a penalty and with more features than rows; dense or sparse."""
    rng = np.random.default_rng(3)
    X, y, w = rng.normal(size=(8, 14)), rng.normal(size=8), np.array([1, 0, 3, 2, 1, 0, 2, 1])
    model = HuberRegressor(alpha=0.0).fit(X, y, sample_weight=w)
    again = HuberRegressor(alpha=0.0).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    sparse = HuberRegressor(alpha=0.0).fit(sp.csr_array(X), y, sample_weight=w)
    np.testing.assert_allclose(model.predict(X)[w > 0], y[w > 0], rtol=1e-9)
    np.testing.assert_allclose(again.coef_, model.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sparse.coef_, model.coef_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", [1e-4, 1.0])
def test_more_features_than_rows(alpha):
    """The penalty decides whether the plane passes through all rows: the dual bounds the loss."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(6, 9)), rng.normal(size=6) * 3
    model = HuberRegressor(alpha=alpha, max_iter=1000, tol=1e-9).fit(X, y)
    found = objective(model, X, y, np.ones(6))
    # min over s of a sum of s + s H(r / s) is at least a.r for any a with sum (1 - a^2 / 4) >= 0
    # and |a| <= 2 epsilon; the best a is the slope of the loss at the scale of the model.
    r = y - model.predict(X)
    z = r / max(model.scale_, 1e-300)
    a = 2 * np.clip(z, -model.epsilon, model.epsilon)
    if np.abs(r).max() < 1e-9 * np.abs(y).max():
        a = np.linalg.lstsq(
            np.vstack([X.T, np.ones(6)]), np.append(2 * alpha * model.coef_, 0.0), rcond=None
        )[0]
    a -= a.mean()
    a /= max(1.0, np.sqrt((a @ a) / 24), np.abs(a).max() / (2 * model.epsilon))
    bound = a @ y - ((X.T @ a) @ (X.T @ a)) / (4 * alpha)
    assert bound * (1 - 1e-4) <= found <= bound * (1 + 1e-4)
