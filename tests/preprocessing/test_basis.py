"""Basis functions: their formulas, where centers and periods come from, and models behind them."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

import kernelmill
from kernelmill.linear_model import (
    BayesianLinearRegression,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from kernelmill.preprocessing import FourierFeatures, RadialBasisFeatures

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 2)) * [1.0, 30.0] + [0.0, 500.0]


def bumps(x, centers, widths):
    return np.exp(-((x[:, None] - centers) ** 2) / (2 * widths**2))


# --- radial basis functions -----------------------------------------------------------------------


def test_bumps_of_features_stand_at_their_quantiles():
    model = RadialBasisFeatures(5, width_factor=0.7).fit(X)
    centers = np.quantile(X, [0, 0.25, 0.5, 0.75, 1], axis=0)
    np.testing.assert_allclose(model.centers_, centers.T.ravel(), rtol=1e-12)
    assert model.feature_indices_.tolist() == [0] * 5 + [1] * 5
    gaps = np.diff(centers, axis=0)
    want = np.vstack([gaps[0], (gaps[1:] + gaps[:-1]) / 2, gaps[-1]])
    np.testing.assert_allclose(model.widths_, 0.7 * want.T.ravel(), rtol=1e-12)
    got = model.transform(X)
    for j in range(2):
        want_j = bumps(X[:, j], centers[:, j], 0.7 * want[:, j])
        np.testing.assert_allclose(got[:, 5 * j : 5 * j + 5], want_j, rtol=1e-11, atol=1e-300)
    uniform = RadialBasisFeatures(3, centers="uniform").fit(X)
    low, high = X.min(axis=0), X.max(axis=0)
    np.testing.assert_allclose(
        uniform.centers_, np.stack([low, (low + high) / 2, high], axis=1).ravel(), rtol=1e-12
    )
    one = RadialBasisFeatures(1).fit(X)
    np.testing.assert_allclose(one.centers_, np.median(X, axis=0), rtol=1e-12)
    assert (one.transform(X) == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bumps_of_rows_stand_at_given_centers(dtype):
    centers = np.array([[0.0, 500.0], [1.0, 520.0], [-1.0, 430.0]])
    rows = X.astype(dtype)
    distance = np.linalg.norm(rows[:, None].astype(np.float64) - centers, axis=2)
    between = np.linalg.norm(centers[:, None] - centers, axis=2) + np.diag([np.inf] * 3)
    for widths, want in (
        (None, between.min(axis=1)), (9.0, np.full(3, 9.0)), ([5.0, 6, 7], np.array([5.0, 6, 7]))
    ):  # fmt: skip
        model = RadialBasisFeatures(centers=centers, widths=widths).fit(rows)
        np.testing.assert_allclose(model.widths_, want, rtol=1e-12)
        got = model.transform(rows)
        assert got.dtype == dtype
        atol = 1e-12 if dtype is np.float64 else 1e-6
        np.testing.assert_allclose(got, np.exp(-(distance**2) / (2 * want**2)), rtol=0, atol=atol)
    assert model.get_feature_names_out().tolist() == ["rbf0", "rbf1", "rbf2"]


def test_bumps_of_rows_stand_at_centers_of_k_means():
    spots = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    rows = spots[RNG.integers(0, 3, 120)] + 0.1 * RNG.normal(size=(120, 2))
    model = RadialBasisFeatures(3, centers="kmeans", random_state=0).fit(rows)
    found = model.centers_[np.argsort(model.centers_ @ [1.0, 2.0])]
    np.testing.assert_allclose(found, spots, atol=0.1)
    np.testing.assert_allclose(model.widths_, 9.0, atol=0.3)
    twice = np.repeat(rows[:4], 5, axis=0)  # fewer rows than centers
    with pytest.warns(UserWarning, match="distinct clusters"):
        few = RadialBasisFeatures(10, centers="kmeans", random_state=0).fit(twice)
    assert len(few.centers_) == 4
    assert np.isfinite(few.transform(twice)).all()


def test_repeated_values_have_one_bump():
    flags = np.column_stack([np.repeat([0.0, 1.0], 40), np.full(80, 7.0)])
    model = RadialBasisFeatures(6).fit(flags)
    assert model.get_feature_names_out(["a", "b"]).tolist() == ["a_rbf0", "a_rbf1", "b_rbf0"]
    assert model.widths_.tolist() == [1.0, 1.0, np.inf]
    assert (model.transform(flags)[:, 2] == 1).all()


def test_offsets_cost_no_digits():
    far = np.round(X * 1024) / 1024
    for options in ({}, {"centers": far[:4], "widths": 3.0}):
        near = RadialBasisFeatures(**options).fit(far)
        if options:
            options = {**options, "centers": far[:4] + 2.0**30}
        moved = RadialBasisFeatures(**options).fit(far + 2.0**30)
        # centers are rounded at 2^30: 1e-7 of widths of a tenth
        np.testing.assert_allclose(
            moved.transform(far + 2.0**30), near.transform(far), rtol=0, atol=1e-5
        )


# --- Fourier features -----------------------------------------------------------------------------


def test_waves_are_those_of_the_period():
    model = FourierFeatures(2, period=[3.0, 24.0]).fit(X)
    want = [
        wave(2 * np.pi * k * X[:, j] / period)
        for j, period in enumerate([3.0, 24.0]) for k in (1, 2) for wave in (np.sin, np.cos)
    ]  # fmt: skip
    np.testing.assert_allclose(model.transform(X), np.stack(want, axis=1), rtol=0, atol=1e-11)
    names = ["a_sin1", "a_cos1", "a_sin2", "a_cos2", "b_sin1", "b_cos1", "b_sin2", "b_cos2"]
    assert model.get_feature_names_out(["a", "b"]).tolist() == names
    whole = FourierFeatures().fit(np.column_stack([X, np.ones(len(X))]))
    assert whole.period_.tolist() == [*np.ptp(X, axis=0), np.inf]
    np.testing.assert_array_equal(
        whole.transform(np.column_stack([X, -np.ones(len(X))]))[:, -2:].T,
        [np.zeros(len(X)), np.ones(len(X))],
    )


def test_phases_of_a_clock_keep_their_digits():
    seconds = 1.7e9 + np.arange(0.0, 86400, 600)[:, None]
    model = FourierFeatures(3, period=86400.0).fit(seconds)
    np.testing.assert_allclose(
        model.transform(seconds), model.transform(seconds + 1000 * 86400.0), rtol=0, atol=1e-13
    )
    exact = 2 * np.pi * (seconds[:, 0].astype(np.int64) % 86400) / 86400
    np.testing.assert_allclose(model.transform(seconds)[:, 0], np.sin(exact), rtol=0, atol=1e-13)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("period", [0.9, 7.0, 61.3])
def test_periods_are_found(even, period):
    rng = np.random.default_rng(1)
    t = np.arange(300.0) * 0.4 if even else np.sort(rng.uniform(0, 120, 300))
    y = 5 + 2 * np.sin(2 * np.pi * t / period + 1) + rng.normal(size=300)
    model = FourierFeatures(1, period="estimate").fit(t[:, None], y)
    # the deviation of a frequency is sqrt(6 / n) noise / (pi amplitude span)
    error = np.sqrt(6 / 300) / (np.pi * 2 * 120)
    assert abs(1 / model.period_[0] - 1 / period) < 5 * error


def test_weights_choose_the_period_and_rows_without_weight_are_no_rows():
    t = np.linspace(0, 30, 400)
    y = np.where(t < 15, np.sin(2 * np.pi * t / 3), np.sin(2 * np.pi * t / 5))
    for keep, period in ((t < 15, 3.0), (t >= 15, 5.0)):
        model = FourierFeatures(1, period="estimate")
        model.fit(t[:, None], y, sample_weight=keep.astype(float))
        np.testing.assert_allclose(model.period_, period, rtol=1e-6)
        alone = FourierFeatures(1, period="estimate").fit(t[keep, None], y[keep])
        np.testing.assert_array_equal(alone.period_, model.period_)
    both = np.sin(2 * np.pi * t / 3) + 0.9 * np.sin(2 * np.pi * t / 5)
    weight = RNG.integers(0, 4, 400)
    one = FourierFeatures(1, period="estimate").fit(t[:, None], both, sample_weight=weight)
    rows, targets = np.repeat(t, weight)[:, None], np.repeat(both, weight)
    other = FourierFeatures(1, period="estimate").fit(rows, targets)
    np.testing.assert_allclose(one.period_, other.period_, rtol=1e-12)
    assert abs(one.period_[0] - FourierFeatures(1, period="estimate").fit(
        t[:, None], both).period_[0]) > 1e-6  # fmt: skip


def test_many_rows_are_drawn_from():
    rng = np.random.default_rng(3)
    t = rng.uniform(0, 100, 10_000)
    y = np.sin(2 * np.pi * t / 0.5) + rng.normal(size=10_000)
    chunks = [t[i : i + 3000, None] for i in range(0, 10_000, 3000)]
    streamed = FourierFeatures(period="estimate").fit(chunks, y)
    # as above, of 2048 rows
    error = np.sqrt(6 / 2048) / (np.pi * 100)
    assert abs(1 / streamed.period_[0] - 2.0) < 5 * error
    memory = FourierFeatures(period="estimate").fit(t[:, None], y)
    np.testing.assert_array_equal(streamed.period_, memory.period_)


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [RadialBasisFeatures(4), RadialBasisFeatures(3, centers="kmeans", random_state=0),
     FourierFeatures(2)],
    ids=str,
)  # fmt: skip
def test_streams_and_threads_give_the_same(model):
    rows = model.fit(X).transform(X)
    chunks = [X[i : i + 40] for i in range(0, len(X), 40)]
    lazy = type(model)(**model.get_params()).fit(chunks).transform(chunks)
    np.testing.assert_allclose(np.vstack([chunk for chunk, _ in lazy]), rows, rtol=0, atol=1e-9)
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            np.testing.assert_array_equal(model.fit(X).transform(X), rows)


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (RadialBasisFeatures(0), None, "n_centers"),
        (
            RadialBasisFeatures(centers=[[1.0]]),
            None,
            r"centers must have shape \(m, 2\), got \(1, 1",
        ),
        (RadialBasisFeatures(3, widths=[1.0]), None, "widths must be positive and finite.* 6 cent"),
        (RadialBasisFeatures(3, widths=-1.0), None, "widths"),
        (FourierFeatures(period=[1.0, 0.0]), None, "period must be positive and finite"),
        (FourierFeatures(period="estimate"), None, "y must be given for period='estimate'"),
        (FourierFeatures(period="estimate"), [1.0, 2.0], "FourierFeatures: y must have"),
    ],
)
def test_refusals(model, y, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


CURVES = {
    "polynomials": PolynomialFeatures(9),
    "splines": SplineTransformer(n_knots=9),
    "bumps": RadialBasisFeatures(12),
    "waves": FourierFeatures(3, period=2 * np.pi),
}


@pytest.mark.parametrize("name", CURVES)
def test_linear_models_behind_basis_functions_fit_curves(name):
    """scikit-learn's and ours, in front of models of ours."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (400, 1))
    clean = np.sin(2 * x[:, 0])
    y = clean + 0.1 * rng.normal(size=400)
    for model in (
        LinearRegression(),
        Ridge(alpha=1e-3),
        BayesianLinearRegression(alpha=1e-3),
        HuberRegressor(alpha=1e-3),
    ):
        pipeline = make_pipeline(CURVES[name], model).fit(x, y)
        error = pipeline.predict(x) - clean
        # a straight line leaves a deviation of 0.7
        assert np.sqrt((error**2).mean()) < 0.06, model
    assert cross_val_score(make_pipeline(CURVES[name], Ridge(alpha=1e-3)), x, y, cv=4).min() > 0.9
    band = make_pipeline(CURVES[name], BayesianLinearRegression(alpha=1e-3)).fit(x, y)
    mean, deviation = band.predict(x, return_std=True)
    assert 0.9 < (np.abs(mean - y) < 2 * deviation).mean() < 0.99
    counts = rng.poisson(np.exp(1 + clean))
    rates = make_pipeline(CURVES[name], PoissonRegressor(alpha=1e-3)).fit(x, counts).predict(x)
    assert np.corrcoef(rates, np.exp(1 + clean))[0, 1] > 0.95
    classes = make_pipeline(CURVES[name], LogisticRegression(C=100.0)).fit(x, clean > 0)
    assert classes.score(x, clean > 0) > 0.95
