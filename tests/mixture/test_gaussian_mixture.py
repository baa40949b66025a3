"""GaussianMixture: known answers, theorems of EM, scikit-learn from the same start."""

import copy
import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Peer

import kernelmill
from kernelmill.mixture import GaussianMixture

DTYPES = [np.float32, np.float64]
LEARNED = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
# The log-likelihood of a row carries the rounding of d squares and of the sum over rows: some eps
# times the sum of the magnitudes, which is below 1e3 here.
EPS = 1e3 * np.finfo(np.float64).eps


def fitted(model):
    """Everything that was learned, comparable bit for bit."""
    arrays = {name: getattr(model, name).tobytes() for name in LEARNED}
    return {**arrays, "bounds": model.lower_bounds_, "n_iter": model.n_iter_}


def quiet_fit(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", ".*: reg_covar makes up", UserWarning)
        return model.fit(*args, **kwargs)


# --- known answers --------------------------------------------------------------------------------


def test_one_component_is_the_sample_mean_and_covariance(X, kind):
    model = GaussianMixture(covariance_type=kind, reg_covar=0).fit(X)
    np.testing.assert_allclose(model.means_[0], X.mean(axis=0), rtol=1e-12, atol=1e-12)
    covariance = np.cov(X.T, ddof=0)
    expected = {
        "full": covariance[None],
        "tied": covariance,
        "diag": np.diag(covariance)[None],
        "spherical": [np.trace(covariance) / 3],
    }[kind]
    np.testing.assert_allclose(model.covariances_, expected, rtol=1e-11)
    np.testing.assert_array_equal(model.weights_, [1.0])
    assert model.converged_
    assert model.n_iter_ == 2


def test_two_points_by_hand():
    """From means at the points and unit variances, equal weights: shares by the logistic function.

    At -1 the share of the first component is s = 1 / (1 + exp(-2)); means become -(2 s - 1) and
    2 s - 1, variances 1 - (2 s - 1)^2.
    """
    model = quiet_fit(
        GaussianMixture(
            2,
            weights_init=[0.5, 0.5],
            means_init=[[-1.0], [1.0]],
            precisions_init=[[[1.0]], [[1.0]]],
            max_iter=1,
            reg_covar=0,
        ),
        [[-1.0], [1.0]],
    )
    shift = 2 / (1 + np.exp(-2)) - 1
    np.testing.assert_allclose(model.means_, [[-shift], [shift]], rtol=1e-14)
    np.testing.assert_allclose(model.covariances_.ravel(), [1 - shift**2] * 2, rtol=1e-14)
    expected = np.log(0.5 * norm.pdf(0) + 0.5 * norm.pdf(2))
    assert model.lower_bound_ == pytest.approx(expected, rel=1e-14)


def test_densities_are_those_of_scipy(X, kind):
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    joint = np.empty((len(X), 3))
    for j in range(3):
        covariance = {
            "full": lambda j=j: model.covariances_[j],
            "tied": lambda: model.covariances_,
            "diag": lambda j=j: np.diag(model.covariances_[j]),
            "spherical": lambda j=j: model.covariances_[j] * np.eye(3),
        }[kind]()
        joint[:, j] = model.weights_[j] * multivariate_normal(model.means_[j], covariance).pdf(X)
    np.testing.assert_allclose(model.score_samples(X), np.log(joint.sum(axis=1)), rtol=1e-9)
    shares = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), shares, atol=1e-9)
    np.testing.assert_array_equal(model.predict(X), joint.argmax(axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_precisions_invert_covariances(make, kind, dtype):
    X = make(dtype=dtype)
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    for name in LEARNED:
        assert getattr(model, name).dtype == dtype
    if kind in ("diag", "spherical"):
        product = model.covariances_ * model.precisions_
        np.testing.assert_allclose(product, 1, rtol=10 * np.finfo(dtype).eps)
    else:
        product = model.covariances_ @ model.precisions_
        eye = np.broadcast_to(np.eye(3), product.shape)
        np.testing.assert_allclose(product, eye, atol=1e3 * np.finfo(dtype).eps)


# --- scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(400, 3, 3), (300, 1, 2), (600, 7, 5)], ids=str)
def test_same_path_as_scikit_learn_from_the_same_start(make, start, kind, shape):
    n, d, k = shape
    X = make(n, d, k)
    options = {**start(X, k, kind), "tol": 1e-5, "max_iter": 200}
    ours, peer = quiet_fit(GaussianMixture(**options), X), quiet_fit(Peer(**options), X)
    assert ours.n_iter_ == peer.n_iter_
    assert ours.converged_ == peer.converged_
    np.testing.assert_allclose(ours.lower_bounds_, peer.lower_bounds_, rtol=1e-9)
    for name in LEARNED:
        np.testing.assert_allclose(
            getattr(ours, name), getattr(peer, name), rtol=1e-6, atol=1e-9, err_msg=name
        )
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))
    np.testing.assert_allclose(ours.score_samples(X), peer.score_samples(X), rtol=1e-8)
    assert ours.aic(X) == pytest.approx(peer.aic(X), rel=1e-10)
    assert ours.bic(X) == pytest.approx(peer.bic(X), rel=1e-10)


def test_some_parameters_may_be_given(X):
    """The others come from the start that `init_params` makes, as in scikit-learn."""
    options = {"n_components": 3, "random_state": 0, "max_iter": 0}
    plain = GaussianMixture(**options).fit(X)
    given = GaussianMixture(**options, means_init=X[:3]).fit(X)
    np.testing.assert_array_equal(given.means_, X[:3])
    np.testing.assert_array_equal(given.covariances_, plain.covariances_)
    np.testing.assert_array_equal(given.weights_, plain.weights_)
    given = GaussianMixture(**options, weights_init=[0.5, 0.3, 0.2]).fit(X)
    np.testing.assert_array_equal(given.weights_, [0.5, 0.3, 0.2])
    np.testing.assert_array_equal(given.means_, plain.means_)
    precisions = np.tile(2 * np.eye(3), (3, 1, 1))
    given = GaussianMixture(**options, precisions_init=precisions).fit(X)
    np.testing.assert_allclose(given.covariances_, precisions / 4, rtol=1e-12)
    assert given.n_iter_ == 0
    assert not given.converged_


# --- theorems -------------------------------------------------------------------------------------


def climbs(model, data, **kwargs):
    """Whether the bound never falls, for a model with tol=0."""
    bounds = quiet_fit(model, data, **kwargs).lower_bounds_
    scale = max(1.0, np.abs(bounds).max())
    return len(bounds) > 1 and np.diff(bounds).min() >= -EPS * scale


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("missing", [False, True])
def test_the_likelihood_never_falls(X, rng, kind, init, missing):
    if missing:
        X[rng.random(X.shape) < 0.3] = np.nan
    options = {"init_params": init, "reg_covar": 0, "tol": 0, "max_iter": 25, "random_state": 0}
    # Three components: with more, one of these starts runs into a singularity, which is a maximum.
    assert climbs(GaussianMixture(3, covariance_type=kind, **options), X)
    w = rng.random(len(X))
    assert climbs(GaussianMixture(3, covariance_type=kind, **options), X, sample_weight=w)


@pytest.mark.parametrize(
    "case", ["duplicates", "fewer distinct rows", "empty component", "constant feature", "one row"]
)
@pytest.mark.parametrize("missing", [False, True])
def test_what_regularisation_may_cost(rng, start, kind, case, missing):
    """A step gains at least the change of ``reg_covar / 2 sum_j pi_j tr(S_j^-1)``.

    The update maximises Q minus that penalty, at the weights of the step, so the fall of the
    likelihood is bounded by it: 0 where `reg_covar` is 0.
    """
    base = rng.normal(size=(4, 2))
    X = {
        "duplicates": np.repeat(rng.normal(size=(30, 2)), rng.integers(1, 9, size=30), axis=0),
        "fewer distinct rows": np.repeat(base[:2], 20, axis=0),
        "empty component": rng.normal(size=(60, 2)),
        "constant feature": np.column_stack([rng.normal(size=60), np.ones(60)]),
        "one row": base[:1],
    }[case].copy()
    k = 1 if case == "one row" else 4
    if missing and case != "one row":
        X[rng.random(X.shape) < 0.2] = np.nan
        X[0] = base[0]
    options = start(X, k, kind)
    if case == "empty component":
        options["means_init"][1] = 1e8
    reg = 1e-4
    model = GaussianMixture(**options, reg_covar=reg, tol=0, max_iter=1, warm_start=True)
    bounds, allowed, old = [], [], np.full(k, 2.0)
    for _ in range(25):
        quiet_fit(model, X)  # its bound is that of the parameters before the update
        new = traces(model)
        bounds.append(model.lower_bound_)
        allowed.append(reg / 2 * model.weights_ @ (new - old))
        old = new
        assert np.isfinite(model.means_).all()
        assert np.isfinite(model.covariances_).all()
    gained = np.diff(bounds) - allowed[:-1]
    assert gained.min() >= -EPS * max(1.0, np.abs(bounds).max())


def traces(model):
    """Traces of the precisions of the components."""
    k, d = model.means_.shape
    P = model.precisions_
    return {
        "full": lambda: np.trace(P, axis1=1, axis2=2),
        "tied": lambda: np.full(k, np.trace(P)),
        "diag": lambda: P.sum(axis=1),
        "spherical": lambda: d * P,
    }[model.covariance_type]()


def test_weights_equal_repetition(X, rng, start, kind):
    w = rng.integers(0, 4, size=len(X))
    options = {**start(X, 3, kind), "tol": 0, "max_iter": 10}
    weighted = quiet_fit(GaussianMixture(**options), X, sample_weight=w)
    repeated = quiet_fit(GaussianMixture(**options), np.repeat(X, w, axis=0))
    np.testing.assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-12)
    for name in LEARNED:
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-9, atol=1e-11
        )
    assert weighted.score(X, sample_weight=w) == pytest.approx(
        repeated.score(np.repeat(X, w, axis=0)), rel=1e-12
    )
    assert weighted.bic(X, sample_weight=w) == pytest.approx(
        repeated.bic(np.repeat(X, w, axis=0)), rel=1e-12
    )


def test_rows_without_weight_are_no_rows(X, rng, kind):
    keep = rng.random(len(X)) < 0.6
    spoiled = X.copy()
    spoiled[~keep] = 1e6
    model = GaussianMixture(3, covariance_type=kind, random_state=0, n_init=3)
    model.fit(spoiled, sample_weight=keep.astype(float))
    assert abs(model.means_).max() < 1e3
    without = GaussianMixture(3, covariance_type=kind, random_state=0, n_init=3).fit(X[keep])
    assert model.lower_bound_ == pytest.approx(without.lower_bound_, abs=0.05)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_scaling_weights_changes_nothing(X, start, kind, scale):
    options = start(X, 3, kind)
    one = GaussianMixture(**options).fit(X)
    other = GaussianMixture(**options).fit(X, sample_weight=np.full(len(X), scale))
    np.testing.assert_allclose(other.means_, one.means_, rtol=1e-10)
    assert other.lower_bound_ == pytest.approx(one.lower_bound_, rel=1e-12)


@pytest.mark.parametrize("kind", ["full", "diag"])
@pytest.mark.parametrize("missing", [False, True])
def test_any_number_of_threads_gives_the_same_bits(make, rng, kind, missing):
    X = make(3000, 5, 4, np.float32)
    if missing:
        X[rng.random(len(X)) < 0.1, 2] = np.nan
    found = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            model = GaussianMixture(4, covariance_type=kind, random_state=3, max_iter=5)
            found.append(fitted(quiet_fit(model, X)))
    assert found[0] == found[1] == found[2]


def test_the_specification_gives_the_same_fit(make, kind):
    X = make(200, 3, 3)
    options = {"n_components": 3, "covariance_type": kind, "random_state": 0, "max_iter": 20}
    ours = quiet_fit(GaussianMixture(**options), X)
    with kernelmill.backend("numpy"):
        truth = quiet_fit(GaussianMixture(**options), X)
    np.testing.assert_allclose(ours.lower_bounds_, truth.lower_bounds_, rtol=1e-10)
    np.testing.assert_allclose(ours.means_, truth.means_, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_more_starts_are_never_worse(make, seed):
    X = make(300, 2, 6)
    options = {"init_params": "random_from_data", "random_state": seed, "max_iter": 30}
    few = quiet_fit(GaussianMixture(6, n_init=1, **options), X)
    many = quiet_fit(GaussianMixture(6, n_init=8, **options), X)
    assert many.lower_bound_ >= few.lower_bound_


# --- missing entries ------------------------------------------------------------------------------


def test_without_gaps_nothing_changes(X, start, kind):
    """A gap in a row without weight takes the path for gaps; the rest is as it was."""
    options = {**start(X, 3, kind), "tol": 0, "max_iter": 10}
    plain = quiet_fit(GaussianMixture(**options), X)
    gappy = np.vstack([X, np.full((1, 3), np.nan)])
    w = np.r_[np.ones(len(X)), 0.0]
    other = quiet_fit(GaussianMixture(**options), gappy, sample_weight=w)
    np.testing.assert_allclose(other.lower_bounds_, plain.lower_bounds_, rtol=1e-12)
    np.testing.assert_allclose(other.means_, plain.means_, rtol=1e-10)


def test_a_gaussian_with_gaps_is_the_maximum_of_the_observed_likelihood(rng):
    """The gradient of the observed-data likelihood, by central differences, vanishes at the fit."""
    X = rng.multivariate_normal([1.0, -2.0, 0.5], [[2, 1, 0.3], [1, 1.5, 0], [0.3, 0, 1]], size=300)
    X[rng.random(X.shape) < 0.3] = np.nan
    model = quiet_fit(GaussianMixture(reg_covar=0, tol=0, max_iter=400), X)

    def likelihood(mean, covariance):
        total = 0.0
        for x in X:
            o = np.flatnonzero(~np.isnan(x))
            if len(o):
                total += multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(x[o])
        return total / len(X)

    mean, covariance = model.means_[0], model.covariances_[0]
    assert model.score(X) == pytest.approx(likelihood(mean, covariance), rel=1e-12)
    h = 1e-4
    for p in range(3):
        step = h * np.eye(3)[p]
        up, down = likelihood(mean + step, covariance), likelihood(mean - step, covariance)
        assert abs(up - down) / (2 * h) < 1e-6
        for q in range(p + 1):
            step = h * (np.outer(np.eye(3)[p], np.eye(3)[q]) + np.outer(np.eye(3)[q], np.eye(3)[p]))
            up, down = likelihood(mean, covariance + step), likelihood(mean, covariance - step)
            assert abs(up - down) / (2 * h) < 1e-6


def test_gaps_are_filled_from_what_is_known(rng):
    """Two features that are nearly equal: one tells the component as well as both."""
    x = rng.choice([-5.0, 5.0], size=300)
    X = np.column_stack([x, x]) + 0.3 * rng.normal(size=(300, 2))
    labels = (x > 0).astype(int)
    X[rng.random(X.shape) < 0.4] = np.nan
    lost = np.isnan(X).all(axis=1)
    model = GaussianMixture(2, random_state=0).fit(X)
    found = model.predict(X)
    agree = (found == labels)[~lost].mean()
    assert max(agree, 1 - agree) == 1.0
    np.testing.assert_allclose(model.predict_proba(X[lost]), [model.weights_] * lost.sum())
    np.testing.assert_allclose(model.score_samples(X[lost]), 0, atol=1e-12)


def test_a_feature_that_nobody_saw_is_refused(X):
    X[:, 1] = np.nan
    with pytest.raises(
        ValueError,
        match=r"^GaussianMixture: X must have an observed value in every column, got "
        "none with positive weight in column 1",
    ):
        GaussianMixture(2).fit(X)


def test_infinity_is_never_a_gap(X):
    X[5, 1] = np.inf
    with pytest.raises(ValueError, match="X must be finite or NaN, got inf at row 5, column 1"):
        GaussianMixture(2).fit(X)


# --- float32 --------------------------------------------------------------------------------------


def test_far_from_the_origin_float32_loses_nothing(make, start, kind):
    """At a mean of 1e4 spreads the objective is that of float64 rows to 1e-4."""
    X = make(800, 4, 3, np.float32, shift=1e4)
    options = {**start(X, 3, kind), "tol": 0, "max_iter": 15}
    single = quiet_fit(GaussianMixture(**options), X)
    double = quiet_fit(GaussianMixture(**options), X.astype(np.float64))
    assert single.lower_bound_ == pytest.approx(double.lower_bound_, rel=1e-4)
    assert single.means_.dtype == np.float32
    assert single.score(X) == pytest.approx(double.score(X.astype(np.float64)), rel=1e-4)
    assert (single.predict(X) != double.predict(X.astype(np.float64))).mean() <= 0.005
    assert single.score_samples(X).dtype == single.predict_proba(X).dtype == np.float32
    # Rounded means would lose it: so they are kept in float64 besides.
    rounded = copy.copy(single)
    rounded._float64 = None
    exact = double.score_samples(X.astype(np.float64))
    error = abs(single.score_samples(X) - exact).max()
    assert abs(rounded.score_samples(X) - exact).max() > error or kind == "spherical"


def test_edited_parameters_count(make):
    X = make(dtype=np.float32)
    model = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
    labels = model.predict(X)
    for name in LEARNED:
        setattr(model, name, getattr(model, name)[::-1].copy())
    assert (model.predict(X) == 2 - labels).mean() > 0.99


def test_weights_init_sums_to_one_within_the_tolerance(X):
    options = {"means_init": X[:2], "init_params": "random", "max_iter": 0}
    model = GaussianMixture(2, weights_init=[0.5, 0.500009], **options).fit(X)
    assert model.weights_.sum() == pytest.approx(1, abs=1e-15)
    with pytest.raises(ValueError, match=r"must sum to one within 1e-05, got a sum of 1\.00002 "):
        GaussianMixture(2, weights_init=[0.5, 0.50002], **options).fit(X)
