"""Generalised linear models: scikit-learn's optimum, raw columns, and the smooth robust loss."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model as sk
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from kernelmill import linear_model
from kernelmill.linear_model import (
    GammaRegressor,
    LogCoshRegressor,
    LogisticRegression,
    PoissonRegressor,
    TweedieRegressor,
)


def problem(seed=0, n=150, d=5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal(size=d)
    mean = np.exp(0.3 * (X - X.mean(0)) @ rng.normal(size=d) + 0.5)
    return X, mean, rng


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("power", [0, 1, 1.5, 2, 3])
def test_it_is_scikit_learns(alpha, intercept, weighted, power):
    X, mean, rng = problem()
    y = rng.poisson(mean) if power in (1, 1.5) else rng.gamma(2, mean / 2)
    w = rng.uniform(0, 2, len(y)) if weighted else None
    given = {"alpha": alpha, "fit_intercept": intercept}
    ours, theirs = (
        {1: m.PoissonRegressor, 2: m.GammaRegressor}[power](**given)
        if power in (1, 2)
        else m.TweedieRegressor(power=power, **given)
        for m in (linear_model, sk)
    )
    ours.set_params(tol=1e-7).fit(X, y, sample_weight=w)
    theirs.set_params(tol=1e-9, max_iter=10_000).fit(X, y, sample_weight=w)
    # L-BFGS leaves some 1e-6; the deviance explained tells who is nearer.
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-4)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3)
    assert ours.score(X, y, w) == pytest.approx(theirs.score(X, y, w), abs=1e-6)


def test_counts_with_raw_columns():
    X = [[10, 1], [100, 0], [500, 1], [900, 0], [1500, 1], [2200, 0], [3000, 1], [3100, 0]]
    y = [1, 0, 2, 4, 3, 9, 15, 14]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = PoissonRegressor(alpha=0).fit(X, y)
    np.testing.assert_allclose(model.coef_, [0.00084845, -0.027812], rtol=1e-4)
    assert model.intercept_ == pytest.approx(0.135566, abs=1e-5)
    assert model.predict(X).sum() == pytest.approx(48)


def test_targets_out_of_range_are_refused():
    X = np.arange(4.0)[:, None]
    for model, y in (
        (PoissonRegressor(), [1, 2, -1, 3]),
        (GammaRegressor(), [1, 2, 0, 3]),
        (TweedieRegressor(power=1.5), [1, 2, -1, 3]),
    ):
        with pytest.raises(ValueError, match="out of the valid range"):
            model.fit(X, y)
    with pytest.raises(ValueError, match="all zeros"):
        PoissonRegressor().fit(X, np.zeros(4))
    with pytest.raises(ValueError, match="power must be"):
        TweedieRegressor(power=0.5).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="link must be 'log'"):
        TweedieRegressor(power=1, link="identity").fit(X, X[:, 0])


def test_a_warm_start_goes_on():
    X, mean, rng = problem()
    y = rng.poisson(mean)
    model = PoissonRegressor(warm_start=True).fit(X, y)
    first = model.n_iter_
    model.fit(X, y)
    assert model.n_iter_ < first
    model = LogCoshRegressor(scale=0.01, warm_start=True, tol=1e-6).fit(X, y)
    assert model.n_iter_ > 1
    assert model.fit(X, y).n_iter_ == 1


@pytest.mark.parametrize(("power", "same"), [(1, PoissonRegressor), (2, GammaRegressor)])
def test_powers_with_a_name(power, same):
    X, mean, rng = problem()
    y = rng.gamma(2, mean / 2)
    ours, want = TweedieRegressor(power=power).fit(X, y), same().fit(X, y)
    np.testing.assert_array_equal(ours.coef_, want.coef_)
    np.testing.assert_array_equal(ours.predict(X), want.predict(X))


def test_log_cosh_is_the_optimum_of_its_loss():
    X, _, rng = problem()
    y = X[:, 0] + rng.standard_t(2, len(X))
    for scale, alpha in ((1.0, 0.0), (0.3, 0.1), (5.0, 0.01)):
        model = LogCoshRegressor(scale=scale, alpha=alpha, tol=1e-8).fit(X, y)
        slope = scale * np.tanh((y - model.predict(X)) / scale)
        np.testing.assert_allclose(X.T @ slope / len(y), alpha * model.coef_, atol=1e-7)
        assert slope.mean() == pytest.approx(0, abs=1e-7)


def test_log_cosh_leaves_outliers_alone():
    X, _, _ = problem()
    y = X @ np.arange(5.0)
    y[::10] += 1e6
    model = LogCoshRegressor(scale=0.1).fit(X, y)
    np.testing.assert_allclose(model.coef_, np.arange(5.0), atol=0.1)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    "model",
    [
        PoissonRegressor(), GammaRegressor(), TweedieRegressor(power=1.5), TweedieRegressor(),
        TweedieRegressor(power=3),
    ],
    ids=["Poisson", "gamma", "1.5", "normal", "inverse Gaussian"],
)  # fmt: skip
@pytest.mark.parametrize("sparse", [True, False])
def test_few_rows_without_a_penalty_give_the_shortest_coefficients(model, intercept, sparse):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(10, 30)) + 2, rng.uniform(1, 4, 10)
    w = rng.uniform(0.5, 2, 10)
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    model = clone(model).set_params(alpha=0.0, fit_intercept=intercept, tol=1e-9)
    model.fit(rows, y, sample_weight=w)
    eta = y if model.get_params().get("power") == 0 else np.log(y)  # all rows are met
    mean, middle = (np.average(a, axis=0, weights=w) * intercept for a in (X, eta))
    want = np.linalg.pinv(X - mean) @ (eta - middle)
    np.testing.assert_allclose(model.coef_, want, atol=1e-7)
    assert model.intercept_ == pytest.approx(middle - mean @ want, abs=1e-6)
    small = clone(model).set_params(alpha=1e-9).fit(rows, y, sample_weight=w)
    np.testing.assert_allclose(model.coef_, small.coef_, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_rows_of_separable_classes_have_coefficients_in_their_span(classes):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(10, 30)), np.arange(10) % classes
    with pytest.warns(ConvergenceWarning, match="separated"):
        model = LogisticRegression(C=np.inf).fit(X, y)
    centred = X - X.mean(0)
    np.testing.assert_allclose(model.coef_ @ np.linalg.pinv(centred) @ centred, model.coef_)
    np.testing.assert_array_equal(model.predict(X), y)
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("kind", ["repeated", "weightless", "dependent", "chunks"])
@pytest.mark.parametrize("intercept", [True, False])
def test_dependent_features_without_a_penalty_give_the_shortest_coefficients(kind, intercept):
    rng = np.random.default_rng(4)
    X, y, w = rng.normal(size=(5, 8)) + 1, rng.uniform(1, 4, 5), None
    if kind == "repeated":
        X, y = np.vstack([X, X]), np.append(y, y)
    elif kind == "weightless":
        X, y = np.vstack([X, rng.normal(size=(5, 8))]), np.append(y, y)
        w = np.repeat([1.0, 0.0], 5)
    else:
        X = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 5))
        y = np.exp(X[:, 0] / 4 + rng.normal(size=30) / 10)
    rows = (lambda: iter([X[:10], X[10:]])) if kind == "chunks" else X
    model = PoissonRegressor(alpha=0.0, fit_intercept=intercept, tol=1e-10)
    model.fit(rows, y, sample_weight=w)
    kept = X if w is None else X[w > 0]
    centred = kept - kept.mean(0) * intercept
    span = np.linalg.pinv(centred) @ centred
    np.testing.assert_allclose(model.coef_ @ span, model.coef_, atol=1e-9)
    want = sk.PoissonRegressor(alpha=0.0, fit_intercept=intercept, tol=1e-9, max_iter=10_000)
    want.fit(kept, y[: len(kept)])
    np.testing.assert_allclose(model.predict(kept), want.predict(kept), rtol=1e-4)
