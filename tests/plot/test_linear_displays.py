"""Displays of linear models: coefficients, their paths, bands of predictions."""

import numpy as np
import pandas as pd
import pytest
import sklearn.linear_model
from matplotlib import pyplot as plt
from scipy.stats import norm, t
from sklearn.datasets import load_diabetes, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernelmill.ensemble import RandomForestRegressor
from kernelmill.gaussian_process import GaussianProcessRegressor
from kernelmill.gaussian_process.kernels import RBF, WhiteKernel
from kernelmill.linear_model import (
    ARDRegression,
    BayesianLinearRegression,
    BayesianRidge,
    LassoCV,
    LassoLars,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    lasso_path,
)
from kernelmill.plot import CoefficientDisplay, CoefficientPathDisplay, PredictiveBandDisplay
from kernelmill.plot._coefficients import spread_out
from kernelmill.preprocessing import RadialBasisFeatures

X, Y = load_diabetes(return_X_y=True)
FRAME = load_diabetes(as_frame=True)["data"]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


# --- coefficients ---------------------------------------------------------------------------------


def logistic_problem(k=2):
    x = RNG.normal(size=(400, 3)) * [1.0, 5.0, 0.2] + [0.0, 100.0, 0.0]
    scores = (x - x.mean(0)) @ RNG.normal(size=(3, k)) * [[0.5]] + RNG.gumbel(size=(400, k))
    return x, scores.argmax(axis=1)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("C", [0.7, np.inf])
def test_intervals_of_logistic_coefficients_are_by_the_hessian(k, C):
    x, y = logistic_problem(k)
    w = RNG.integers(1, 4, 400).astype(float)
    model = LogisticRegression(C=C, tol=1e-8).fit(x, y, sample_weight=w)
    p = model.predict_proba(x)
    z = np.column_stack([x - x.mean(0), np.ones(400)])  # intercepts move, coefficients do not
    outputs = 1 if k == 2 else k
    H = np.zeros((outputs, 4, outputs, 4))
    for a in range(outputs):
        for b in range(outputs):
            curvature = p[:, 1] * (1 - p[:, 1]) if k == 2 else p[:, a] * ((a == b) - p[:, b])
            H[a, :, b] = (z * (w * curvature)[:, None]).T @ z
        H[a, :3, a, :3] += np.eye(3) / C
    covariance = model.coef_covariance(x, w)
    if k == 2:
        want = np.linalg.inv(H[0, :, 0])[:3, :3]
        np.testing.assert_allclose(covariance, want, rtol=1e-8)
        display = CoefficientDisplay.from_estimator(model, x, sample_weight=w, level=0.8)
        half = norm.ppf(0.9) * np.sqrt(np.diag(want))
        np.testing.assert_allclose(display.upper - display.coef, half, rtol=1e-8)
        np.testing.assert_allclose(display.coef - display.lower, half, rtol=1e-8)
        return
    # Differences between classes are what the rows say; what is common to all is not.
    if np.isinf(C):
        assert covariance.shape == (3, 3, 3)
    else:
        inverse = np.linalg.pinv(H.reshape(12, 12), rcond=1e-13).reshape(3, 4, 3, 4)
        want = np.stack([inverse[c, :3, c, :3] for c in range(3)])
        np.testing.assert_allclose(covariance, want, rtol=1e-6)
    display = CoefficientDisplay.from_estimator(model, x, sample_weight=w, output=2)
    np.testing.assert_array_equal(display.coef, model.coef_[2])
    with pytest.raises(ValueError, match=r"output must be one of \[0, 1, 2\], got None"):
        CoefficientDisplay.from_estimator(model, x)


def test_intervals_of_logistic_coefficients_cover():
    """Of 200 draws of the labels about 95 in 100 intervals hold the coefficient."""
    x = RNG.normal(size=(300, 2))
    p = 1 / (1 + np.exp(-(x @ [1.0, -0.5] + 0.3)))
    held = 0
    for _ in range(200):
        model = LogisticRegression(C=np.inf).fit(x, RNG.random(300) < p)
        half = 1.96 * np.sqrt(np.diag(model.coef_covariance(x)))
        held += int((np.abs(model.coef_[0] - [1.0, -0.5]) < half).sum())
    assert 0.92 < held / 400 < 0.98


def test_coefficients_of_a_search_and_of_classes_with_weights():
    x, y = logistic_problem()
    found = LogisticRegressionCV(cv=3).fit(x, y)
    assert found.coef_covariance(x).shape == (3, 3)
    model = LogisticRegression(class_weight={0: 1.0, 1: 3.0}).fit(x, y)
    own = np.where(y == 1, 3.0, 1.0)
    np.testing.assert_allclose(
        model.coef_covariance(x, own),
        LogisticRegression(tol=1e-8).fit(x, y, sample_weight=own).coef_covariance(x, own),
        rtol=1e-3,
    )
    with pytest.raises(ValueError, match="l1_ratio must be 0 for a covariance"):
        LogisticRegression(l1_ratio=0.5).fit(x, y).coef_covariance(x)
    lasso = CoefficientDisplay.from_estimator(LogisticRegression(l1_ratio=1.0).fit(x, y), x)
    assert lasso.lower is None


def test_intervals_of_bayesian_regressions_are_those_of_the_posterior():
    model = BayesianLinearRegression(alpha=1e-3).fit(X, Y)
    display = CoefficientDisplay.from_estimator(model, level=0.9)
    draws = model.sample_posterior(20_000, random_state=0)[0]
    np.testing.assert_allclose(
        [display.lower, display.upper], np.quantile(draws, [0.05, 0.95], axis=0),
        atol=0.03 * draws.std(),
    )  # fmt: skip
    free = 2 * model.shape_
    scale = np.sqrt(np.diag(model.covariance_) * (free - 2) / free)
    np.testing.assert_allclose(display.upper, model.coef_ + t.ppf(0.95, free) * scale)
    for make in (BayesianRidge, sklearn.linear_model.BayesianRidge):
        ridge = make().fit(X, Y)
        display = CoefficientDisplay.from_estimator(ridge)
        np.testing.assert_allclose(
            display.upper - ridge.coef_, norm.ppf(0.975) * np.sqrt(np.diag(ridge.sigma_))
        )
    x = RNG.normal(size=(200, 6))
    sparse = ARDRegression().fit(x, x[:, 1] + 0.1 * RNG.normal(size=200))
    display = CoefficientDisplay.from_estimator(sparse)
    kept = sparse.lambda_ < sparse.threshold_lambda
    assert (display.upper[~kept] == display.lower[~kept]).all()
    assert display.lower[1] > 0.8
    assert 0 < kept.sum() < 6


def test_coefficients_are_drawn_by_size_with_the_names_of_the_pipeline():
    model = make_pipeline(StandardScaler(), Ridge()).fit(FRAME, Y)
    display = CoefficientDisplay.from_estimator(model, FRAME)
    order = np.argsort(-np.abs(model[-1].coef_))
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == [FRAME.columns[j] for j in order]
    assert display.lower is None
    numbered = CoefficientDisplay.from_estimator(LinearRegression().fit(X, Y))
    assert numbered.feature_names[3] == "Feature 3"
    few = numbered.plot(most=4)
    assert len(few.order_) == 4
    assert "4 of 10 coefficients" in few.ax_.get_title(loc="left")
    banded = CoefficientDisplay([1.0, -3.0, 0.2], [0.5, -4, -1], [2.0, -2, 1]).plot()
    drawn = banded.ax_.collections  # one of intervals that leave out zero, one of the others
    assert [len(c.get_segments()) for c in drawn] == [2, 1]
    np.testing.assert_allclose(sorted(s[0][0] for s in drawn[0].get_segments()), [-4, 0.5])
    discriminant = LinearDiscriminantAnalysis(store_covariance=True).fit(X, Y > 150)
    assert CoefficientDisplay.from_estimator(discriminant).lower is None  # of the features


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CoefficientDisplay([[1.0]]), r"coef must have shape \(d,\), got \(1, 1\)"),
        (lambda: CoefficientDisplay([1.0], [0.0]), "lower and upper must be given together"),
        (lambda: CoefficientDisplay([1.0], [0.0], [1.0, 2.0]), "must have the shape of coef"),
        (lambda: CoefficientDisplay.from_estimator(Ridge().fit(X, Y), level=1.0), "level must be"),
        (lambda: CoefficientDisplay.from_estimator(RidgeCV()), "must be fitted"),
        (lambda: CoefficientDisplay.from_estimator(StandardScaler().fit(X)), "coef_"),
        (lambda: CoefficientPathDisplay([1.0], [1.0]), r"coefs must have shape \(1, d\)"),
        (lambda: CoefficientPathDisplay([0.0], [[1.0]]), "penalties must be above 0"),
        (lambda: CoefficientPathDisplay.from_estimator(LinearRegression().fit(X, Y), X, Y),
         "a model with alpha or C, got LinearRegression"),
        (lambda: CoefficientPathDisplay.from_estimator(Ridge().fit(X, Y), X[:, :3], Y),
         r"X must have the 10 features of fit, got the shape \(442, 3\)"),
        (lambda: PredictiveBandDisplay([0], [0, 1], [0], [0]), "prediction must have the shape"),
        (lambda: PredictiveBandDisplay([0], [0], [0], [0], observed=([0, 1], [0, 1])),
         r"observed must be places and values of one shape.*got shapes \[\(2,\), \(2,\)\]"),
        (lambda: PredictiveBandDisplay.from_estimator(Ridge().fit(X, Y), X),
         "must predict deviations or quantiles, got Ridge"),
        (lambda: PredictiveBandDisplay.from_estimator(BayesianRidge().fit(X, Y), X, Y[:3]),
         r"y must have shape \(442,\), got \(3,\)"),
        (lambda: PredictiveBandDisplay.from_estimator(BayesianRidge().fit(X, Y), X, feature="z"),
         "feature must be one of the 10 columns of X, got 'z'"),
        (lambda: PredictiveBandDisplay.from_estimator(BayesianRidge().fit(X, Y), X, level=2),
         "level must be between 0 and 1"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- paths ----------------------------------------------------------------------------------------


def test_the_path_of_the_lasso_is_that_of_lasso_path():
    close = {"tol": 1e-13, "max_iter": 10_000}
    model = LassoCV(cv=3, **close).fit(FRAME, Y)
    display = CoefficientPathDisplay.from_estimator(model, FRAME, Y)
    want = lasso_path(X - X.mean(0), Y - Y.mean(), alphas=display.penalties, **close)[1]
    size = np.abs(want).max()
    np.testing.assert_allclose(display.coefs / size, want.T / size, rtol=0, atol=1e-5)
    assert (display.coefs[0] == 0).all()
    assert (display.coefs[1] != 0).any()
    assert display.chosen == model.alpha_
    assert len(display.lines_) == 10
    assert display.ax_.xaxis_inverted()
    texts = [text.get_text() for text in display.ax_.texts]
    assert f"alpha = {model.alpha_:.3g}" in texts
    assert set(FRAME.columns) <= set(texts)


def test_paths_of_other_models():
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=[1.0, 100.0])).fit(X, Y)
    display = CoefficientPathDisplay.from_estimator(model, X, Y)
    seen = model[0].transform(X)
    for i in (0, 30, 59):
        want = Ridge(alpha=display.penalties[i]).fit(seen, Y).coef_
        np.testing.assert_allclose(display.coefs[i], want, rtol=1e-8)
    assert np.abs(display.coefs[0]).max() < 0.02 * np.abs(display.coefs[-1]).max()
    assert model[-1].alpha_ == display.chosen
    iris, kind = load_iris(return_X_y=True)
    classes = LogisticRegression().fit(iris, kind)
    display = CoefficientPathDisplay.from_estimator(
        classes, iris, kind, penalties=[1e-3, 1.0, 1e3], output=1
    )
    np.testing.assert_array_equal(display.coefs[1], classes.coef_[1])
    assert display.penalty_name == "C"
    assert not display.ax_.xaxis_inverted()
    assert classes.C == 1.0
    usual = CoefficientPathDisplay.from_estimator(classes, iris, kind, output=1)
    mean = ((iris - iris.mean(0)) ** 2).sum() / 4
    np.testing.assert_allclose(usual.penalties[[0, -1]], [0.01 / mean, 1e4 / mean], rtol=1e-12)
    assert np.abs(usual.coefs[0]).max() < 0.05 * np.abs(usual.coefs[-1]).max()
    angles = LassoLars(alpha=0.1).fit(X, Y)
    display = CoefficientPathDisplay.from_estimator(angles, X, Y)
    np.testing.assert_allclose(display.coefs[-1], angles.coef_, atol=1e-9)
    theirs = sklearn.linear_model.LassoCV(cv=3).fit(X, Y)
    assert CoefficientPathDisplay.from_estimator(theirs, X, Y).chosen == theirs.alpha_


def test_names_are_kept_apart():
    places = spread_out(np.array([0.0, 0.01, 0.02, 5.0]), 1.0)
    assert (np.diff(places) > 0.99).all()
    assert places[3] == 5.0
    np.testing.assert_allclose(places[:3].mean(), 0.01)


# --- bands ----------------------------------------------------------------------------------------


def curve(n=300):
    x = np.sort(RNG.uniform(0, 6, n))[:, None]
    return x, np.sin(x[:, 0]) + 0.2 * RNG.normal(size=n)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(RadialBasisFeatures(10), BayesianLinearRegression(alpha=1e-2)),
        make_pipeline(RadialBasisFeatures(10), BayesianRidge()),
        make_pipeline(RadialBasisFeatures(10), QuantileRegressor(quantile=[0.5, 0.05, 0.95],
                                                                 alpha=1e-4)),
        RandomForestRegressor(20, min_samples_leaf=20, keep_targets=True, random_state=0),
        make_pipeline(StandardScaler(), GaussianProcessRegressor(RBF() + WhiteKernel(0.1))),
    ],
    ids=["conjugate", "ridge", "quantiles", "forest", "process"],
)  # fmt: skip
def test_bands_over_a_feature_hold_their_share(model):
    x, y = curve()
    model.fit(x, y)
    display = PredictiveBandDisplay.from_estimator(model, x, y)
    assert 0.85 < display.coverage < 0.99
    assert (display.lower <= display.upper).all()
    np.testing.assert_allclose(display.x[[0, -1]], x[[0, -1], 0])
    if hasattr(model[-1], "predict_quantiles") and hasattr(model, "steps"):
        ends = model[-1].predict_quantiles(model[:-1].transform(display.x[:, None]), [0.05, 0.95])
        np.testing.assert_allclose(display.lower, ends[:, 0])
    points = sum(len(c.get_offsets()) for c in display.ax_.collections[1:])
    assert points == len(x)


def test_rows_of_several_features_have_bars_over_their_predictions():
    model = make_pipeline(StandardScaler(), BayesianRidge()).fit(FRAME, Y)
    display = PredictiveBandDisplay.from_estimator(model, FRAME, Y)
    mean, deviation = model.predict(FRAME, return_std=True)
    np.testing.assert_allclose(display.x, mean)
    np.testing.assert_allclose(display.upper - mean, norm.ppf(0.95) * deviation)
    inside = np.abs(Y - mean) <= norm.ppf(0.95) * deviation
    assert display.coverage == inside.mean()
    bars, held, outside = display.ax_.collections
    assert len(bars.get_segments()) == len(Y)
    assert [len(held.get_offsets()), len(outside.get_offsets())] == [inside.sum(), (~inside).sum()]
    assert display.ax_.get_xlabel() == "Prediction"
    few = PredictiveBandDisplay.from_estimator(model, FRAME, Y, max_points=50)
    assert len(few.x) == 50
    assert few.coverage == display.coverage


def test_a_feature_among_others_is_moved_and_they_keep_their_medians():
    model = BayesianRidge().fit(FRAME, Y)
    display = PredictiveBandDisplay.from_estimator(model, FRAME, Y, feature="bmi")
    rows = pd.DataFrame([FRAME.median()] * 300)
    rows["bmi"] = display.x
    np.testing.assert_allclose(display.prediction, model.predict(rows))
    assert display.feature_name == display.ax_.get_xlabel() == "bmi"
    assert display.observed is None
    assert display.coverage is None
