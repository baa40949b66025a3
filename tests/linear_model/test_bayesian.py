"""Bayesian regressions: scikit-learn's iterations, the conjugate posterior, sequential updates."""

import warnings

import numpy as np
import pytest
import scipy.stats
from sklearn import linear_model as sk

from kernelmill.linear_model import ARDRegression, BayesianLinearRegression, BayesianRidge


def problem(n=120, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3 * rng.normal(size=d)
    return X, X[:, :2] @ [2.0, -1.0] + 4 + 0.5 * rng.normal(size=n)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "d"), [(120, 6), (10, 25)])
def test_the_evidence_is_scikit_learns(intercept, n, d):
    X, y = problem(n, d)
    options = {"fit_intercept": intercept, "compute_score": True, "tol": 1e-8}
    ours, theirs = BayesianRidge(**options).fit(X, y), sk.BayesianRidge(**options).fit(X, y)
    # Fewer rows than features can be fitted without an error: the precision grows without end.
    rtol = 1e-8 if n > d else 1e-3
    for name in ("coef_", "intercept_", "sigma_", "alpha_", "lambda_", "X_offset_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(), err_msg=name)
    if n > d:
        np.testing.assert_allclose(ours.scores_, theirs.scores_, rtol=1e-8)
        for a, b in zip(ours.predict(X, True), theirs.predict(X, True), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8)


@pytest.mark.parametrize("kind", ["BayesianRidge", "ARDRegression"])
def test_priors_are_scikit_learns(kind):
    X, y = problem(20)
    given = {"alpha_1": 3.0, "alpha_2": 0.5, "lambda_1": 2.0, "lambda_2": 7.0, "tol": 1e-10}
    if kind == "BayesianRidge":
        given |= {"alpha_init": 0.3, "lambda_init": 5.0}
    for more in ({}, {"max_iter": 2}):  # which tells where the precisions start
        theirs = getattr(sk, kind)(**given, **more).fit(X, y)
        ours = {"BayesianRidge": BayesianRidge, "ARDRegression": ARDRegression}[kind]
        ours = ours(**given, **more).fit(X, y)
        for name in ("coef_", "alpha_", "lambda_"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7)


def test_weights_of_the_evidence_are_scikit_learns():
    X, y = problem()
    w = np.random.default_rng(1).uniform(0.1, 2, len(y))
    ours, theirs = BayesianRidge(tol=1e-8).fit(X, y, w), sk.BayesianRidge(tol=1e-8).fit(X, y, w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-8)
    assert ours.alpha_ == pytest.approx(theirs.alpha_)


@pytest.mark.parametrize("intercept", [True, False])
def test_relevance_is_scikit_learns(intercept):
    X, y = problem()
    options = {"fit_intercept": intercept, "compute_score": True, "tol": 1e-8}
    ours, theirs = ARDRegression(**options).fit(X, y), sk.ARDRegression(**options).fit(X, y)
    for name in ("coef_", "intercept_", "alpha_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ours.scores_, theirs.scores_, rtol=1e-8)
    for a, b in zip(ours.predict(X, True), theirs.predict(X, True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)


def test_the_band_is_narrowest_at_the_mean():
    x = np.linspace(80, 100, 50)
    y = x + np.sin(np.arange(50))
    model = BayesianRidge().fit(x[:, None], y)
    _, band = model.predict([[90], [100], [0]], return_std=True)
    np.testing.assert_allclose(band, [0.712539, 0.732783, 1.696383], atol=1e-5)
    _, moved = BayesianRidge().fit(x[:, None] + 512, y).predict([[602], [612], [512]], True)
    np.testing.assert_allclose(moved, band, rtol=1e-8)


@pytest.mark.parametrize("kind", [BayesianRidge, ARDRegression, BayesianLinearRegression])
def test_nothing_to_explain(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kind().fit([[1, 0], [0, 0]], [0, 0])
        mean, band = model.predict([[1, 0], [5, 5]], return_std=True)
        np.testing.assert_array_equal(mean, 0)
        X = np.random.default_rng(0).normal(size=(40, 3))
        model = kind().fit(X, np.full(40, 2.5))
        mean, band = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, 2.5, rtol=1e-12)
    assert np.isfinite(band).all()
    assert (band < 1).all()


@pytest.mark.parametrize("intercept", [True, False])
def test_batches_give_the_posterior_of_all_rows(intercept):
    X, y = problem()
    w = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    at_once = BayesianLinearRegression(fit_intercept=intercept).fit(X, y, w)
    parts = BayesianLinearRegression(fit_intercept=intercept)
    for i in range(0, len(y), 17):
        parts.partial_fit(X[i : i + 17], y[i : i + 17], w[i : i + 17])
    for name in ("coef_", "intercept_", "covariance_", "shape_", "rate_", "log_evidence_"):
        a, b = getattr(parts, name), getattr(at_once, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max(), err_msg=name)
    assert parts.n_samples_seen_ == len(y)


def test_the_posterior_is_that_of_the_definition():
    X, y = problem(12, 2)
    a0, b0, alpha = 2.0, 3.0, 0.7
    model = BayesianLinearRegression(alpha=alpha, shape=a0, rate=b0, fit_intercept=False)
    model.fit(X, y)
    # y has Student's distribution with 2 a0 degrees and the matrix b0 / a0 (I + X X' / alpha).
    shape = b0 / a0 * (np.eye(12) + X @ X.T / alpha)
    want = scipy.stats.multivariate_t(np.zeros(12), shape, 2 * a0).logpdf(y)
    assert model.log_evidence_ == pytest.approx(want)
    P = X.T @ X + alpha * np.eye(2)
    m = np.linalg.solve(P, X.T @ y)
    np.testing.assert_allclose(model.coef_, m)
    assert model.shape_ == a0 + 6
    assert model.rate_ == pytest.approx(b0 + 0.5 * (y @ y - m @ P @ m))


def test_predictions_quantiles_and_draws_agree():
    X, y = problem(15, 2)
    model = BayesianLinearRegression().fit(X, y)
    point = X.mean(0, keepdims=True) + np.array([[1.0, -2.0]])
    mean, band = model.predict(point, return_std=True)
    coef, intercept, variance = model.sample_posterior(200_000, random_state=0)
    noise = np.random.default_rng(1).normal(size=len(variance)) * np.sqrt(variance)
    drawn = coef @ point[0] + intercept + noise
    assert drawn.mean() == pytest.approx(mean[0], abs=5 * band[0] / 400)
    assert drawn.std() == pytest.approx(band[0], rel=0.02)
    levels = [0.05, 0.5, 0.95]
    got = model.predict_quantiles(point, levels)[0]
    np.testing.assert_allclose(np.quantile(drawn, levels), got, atol=0.03 * band[0])
    np.testing.assert_allclose(np.cov(coef.T), model.covariance_, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("quantiles", [[0.5, 1.5], [-0.1], np.nan, ["0.5"], [[0.5]]])
def test_quantiles_beyond_0_and_1_are_refused(quantiles):
    X, y = problem(15, 2)
    model = BayesianLinearRegression().fit(X, y)
    with pytest.raises(ValueError, match="quantiles must be numbers from 0 to 1, got"):
        model.predict_quantiles(X, quantiles)
    np.testing.assert_array_equal(model.predict_quantiles(X[:1], [0, 1]), [[-np.inf, np.inf]])
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        model.sample_posterior(0)


def test_the_prior_of_ridge():
    X, y = problem()
    model = BayesianLinearRegression(alpha=3.0).fit(X, y)
    theirs = sk.Ridge(3.0).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-9)
    assert model.intercept_ == pytest.approx(theirs.intercept_)


@pytest.mark.parametrize("intercept", [True, False])
def test_the_evidence_of_one_more_row_is_its_predicted_density(intercept):
    X, y = problem(15, 2)
    model = BayesianLinearRegression(shape=2.0, rate=3.0, fit_intercept=intercept)
    model.fit(X[:14], y[:14])
    before, free = model.log_evidence_, 2 * model.shape_
    assert free == 4.0 + 14 - intercept  # a flat prior takes one of the rows
    mean, band = model.predict(X[14:], return_std=True)
    scale = band / np.sqrt(free / (free - 2))
    want = scipy.stats.t.logpdf(y[14], free, mean[0], scale[0])
    assert model.partial_fit(X[14:], y[14:]).log_evidence_ - before == pytest.approx(want)


@pytest.mark.parametrize("model", [BayesianRidge, ARDRegression])
@pytest.mark.parametrize("factor", [1e7, 1e60, 1e120])
def test_large_targets_have_the_model_of_smaller_ones(model, factor):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = X @ [1.0, 2, 0, -1] + 0.3 * rng.normal(size=60)
    # From 1e6 on the priors, of 1e-6, are nothing beside the squares.
    plain, found = model(tol=1e-9).fit(X, 1e6 * y), model(tol=1e-9).fit(X, factor * y)
    np.testing.assert_allclose(found.coef_ / factor, plain.coef_ / 1e6, rtol=1e-6, atol=1e-7)
    assert found.alpha_ * factor**2 == pytest.approx(plain.alpha_ * 1e12, rel=1e-6)


@pytest.mark.parametrize("model", [BayesianRidge, ARDRegression])
def test_targets_that_the_prior_swamps_are_refused(model):
    X = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.raises(ValueError, match="y must be larger beside the prior alpha_2=1e-06"):
        model().fit(X, 1e-120 * X[:, 0])
    found = BayesianRidge(alpha_2=0, lambda_2=0).fit(X, 1e-120 * (X[:, 0] + 0.1 * X[:, 1] ** 2))
    assert found.coef_[0] == pytest.approx(1e-120, rel=0.1)


@pytest.mark.parametrize("model", [BayesianRidge, ARDRegression])
@pytest.mark.parametrize("priors", [["lambda_2"], ["lambda_1", "lambda_2", "alpha_1", "alpha_2"]])
def test_priors_of_zero(rng, model, priors):
    X = rng.normal(size=(40, 3))
    fit = lambda X, y: model(compute_score=True, **dict.fromkeys(priors, 0)).fit(X, y)  # noqa: E731
    exact = fit(X, X @ [1.0, 2.0, 3.0])
    np.testing.assert_allclose(exact.coef_, [1, 2, 3], rtol=1e-6)
    idle = X * [1, 1, 0] + [0, 0, 1]
    noise = rng.integers(0, 2, 40)
    for rows, y in ((X, noise), (idle, X[:, 0]), (X * 0, X[:, 0]), (X, np.zeros(40))):
        found = fit(rows, y)
        for value in (found.coef_, found.sigma_, found.alpha_, found.lambda_, found.scores_):
            assert np.isfinite(value).all()
        assert np.isfinite(found.predict(rows, return_std=True)).all()
