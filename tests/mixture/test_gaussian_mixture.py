"""GaussianMixture: known answers, theorems of EM, scikit-learn from the same start."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture as Peer

import kernelmill
from kernelmill._gaussian._parameters import NotPositiveDefinite
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
    options = {"init_params": init, "reg_covar": 0, "tol": 0, "max_iter": 40, "random_state": 0}
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
    assert model.lower_bound_ == pytest.approx(
        GaussianMixture(3, covariance_type=kind, random_state=0, n_init=3).fit(X[keep]).lower_bound_,
        abs=0.05,
    )


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
        match="^GaussianMixture: X must have an observed entry with weight in every column, got "
        "none in column 1",
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


# --- streams --------------------------------------------------------------------------------------


def chunks_of(X, rows=70):
    return [X[i : i + rows] for i in range(0, len(X), rows)]


@pytest.mark.parametrize("kind", ["full", "tied", "spherical"])
@pytest.mark.parametrize("how", ["list", "pairs", "function", "npy", "frames", "dask"])
@pytest.mark.parametrize("missing", [False, True])
def test_streams_equal_memory(X, rng, tmp_path, kind, how, missing):
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    w = rng.random(len(X)) if how == "pairs" else None
    options = {"n_components": 3, "covariance_type": kind, "random_state": 0, "max_iter": 8}
    options |= {"contamination": 0.1}
    memory = quiet_fit(GaussianMixture(**options), X, sample_weight=w)
    if how == "list":
        data = chunks_of(X)
    elif how == "pairs":
        data = list(zip(chunks_of(X), chunks_of(w), strict=True))
    elif how == "function":
        data = lambda: iter(chunks_of(X))  # noqa: E731
    elif how == "npy":
        np.save(tmp_path / "X.npy", X)
        data = kernelmill.stream.source(tmp_path / "X.npy", chunk_rows=64)
    elif how == "frames":
        pandas = pytest.importorskip("pandas")
        data = [pandas.DataFrame(chunk, columns=["a", "b", "c"]) for chunk in chunks_of(X)]
    else:
        data = pytest.importorskip("dask.array").from_array(X, chunks=(100, 3))
    model = quiet_fit(GaussianMixture(**options), data)
    np.testing.assert_allclose(model.lower_bounds_, memory.lower_bounds_, rtol=1e-10)
    for name in LEARNED:
        np.testing.assert_allclose(
            getattr(model, name), getattr(memory, name), rtol=1e-8, atol=1e-10
        )
    assert model.offset_ == pytest.approx(memory.offset_, rel=1e-9)
    np.testing.assert_array_equal(model.predict(data), memory.predict(X))
    np.testing.assert_allclose(model.score_samples(data), memory.score_samples(X), rtol=1e-8)
    np.testing.assert_allclose(model.predict_proba(data), memory.predict_proba(X), atol=1e-8)
    assert model.score(data) == pytest.approx(memory.score(X, sample_weight=w), rel=1e-9)


def test_large_streams_start_on_a_sample(make, monkeypatch):
    from kernelmill.mixture import _rows

    X = make(3000, 3, 3)
    monkeypatch.setattr(_rows, "SAMPLE_BYTES", 0)
    monkeypatch.setattr(_rows, "SAMPLE_ROWS", 200)
    model = GaussianMixture(3, random_state=0, n_init=2).fit(chunks_of(X, 500))
    memory = GaussianMixture(3, random_state=0, n_init=2).fit(X)
    assert model.lower_bound_ == pytest.approx(memory.lower_bound_, abs=0.02)


def test_sparse_is_refused(X):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="^GaussianMixture: X must be dense"):
        GaussianMixture(2).fit(sparse.csr_array(X))
    with pytest.raises(TypeError, match="^GaussianMixture: X must be dense"):
        GaussianMixture(2).fit([sparse.csr_array(X)])


def test_blocks_change_nothing(make, monkeypatch):
    from kernelmill.mixture import _rows

    X = make(500, 3, 3)
    model = GaussianMixture(3, random_state=0).fit(X)
    whole = model.predict(X), model.score_samples(X), model.predict_proba(X)
    monkeypatch.setattr(_rows, "BLOCK_BYTES", 8 * 3 * 7)
    parts = model.predict(X), model.score_samples(X), model.predict_proba(X)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert one.dtype == other.dtype
    again = GaussianMixture(3, random_state=0).fit(X)
    np.testing.assert_allclose(again.means_, model.means_, rtol=1e-9)


# --- scikit-learn's manners -----------------------------------------------------------------------


def test_warm_start_goes_on(X, start):
    options = {**start(X, 3, "full"), "tol": 0, "reg_covar": 0}
    whole = quiet_fit(GaussianMixture(**options, max_iter=6), X)
    model = GaussianMixture(**options, max_iter=2, warm_start=True)
    bounds = []
    for _ in range(3):
        bounds += quiet_fit(model, X).lower_bounds_
    np.testing.assert_allclose(bounds, whole.lower_bounds_, rtol=1e-12)
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-10)
    model.set_params(tol=1.0, max_iter=50).fit(X)
    assert model.n_iter_ == 1  # the bound of the fit before counts
    model.set_params(n_components=2)
    with pytest.raises(ValueError, match="^GaussianMixture: warm_start must continue with the comp"):
        model.fit(X)


def test_sample_draws_from_the_mixture(X, kind):
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    drawn, labels = model.sample(20_000)
    assert drawn.shape == (20_000, 3)
    share = np.bincount(labels, minlength=3) / 20_000
    np.testing.assert_allclose(share, model.weights_, atol=0.02)
    for j in range(3):
        rows = drawn[labels == j]
        covariance = {
            "full": lambda j=j: model.covariances_[j],
            "tied": lambda: model.covariances_,
            "diag": lambda j=j: np.diag(model.covariances_[j]),
            "spherical": lambda j=j: model.covariances_[j] * np.eye(3),
        }[kind]()
        scale = np.sqrt(np.trace(covariance))
        # Five standard errors.
        np.testing.assert_allclose(
            rows.mean(axis=0), model.means_[j], atol=5 * scale / np.sqrt(len(rows))
        )
        np.testing.assert_allclose(
            np.cov(rows.T), covariance, atol=8 * scale**2 / np.sqrt(len(rows))
        )
    np.testing.assert_array_equal(model.sample(5)[0], model.sample(5)[0])
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        model.sample(0)


def test_parameters_set_by_hand():
    """The idiom of scikit-learn's users: a mixture that was never fitted."""
    model = GaussianMixture(2, covariance_type="diag", random_state=0)
    model.weights_ = np.array([0.5, 0.5])
    model.means_ = np.array([[0.0], [4.0]])
    model.covariances_ = np.array([[1.0], [1.0]])
    expected = np.log(0.5 * norm.pdf(1) + 0.5 * norm.pdf(3))
    assert model.score_samples([[1.0]])[0] == pytest.approx(expected)
    assert model.sample(3)[0].shape == (3, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickles_and_files(make, tmp_path, kind, dtype):
    X = make(dtype=dtype, shift=1e3)
    model = GaussianMixture(3, covariance_type=kind, random_state=0, contamination=0.1).fit(X)
    kernelmill.save(model, tmp_path / "model.safetensors")
    for again in (
        pickle.loads(pickle.dumps(model)),
        kernelmill.load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
    ):
        assert fitted(again) == fitted(model)
        np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
        np.testing.assert_array_equal(again.is_outlier(X), model.is_outlier(X))
    assert "means_" not in vars(clone(model))


def test_feature_names(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(model.predict(frame), model.fit_predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_silence_and_bars(X, capfd):
    quiet = GaussianMixture(3, random_state=0).fit(X)
    assert capfd.readouterr() == ("", "")
    shown = GaussianMixture(3, random_state=0, verbose=1).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert "GaussianMixture" in err
    assert fitted(shown) == fitted(quiet)


def test_convergence_warning(X):
    with pytest.warns(
        ConvergenceWarning,
        match="^GaussianMixture: the best start did not converge in max_iter=1 iter",
    ):
        GaussianMixture(3, max_iter=1, random_state=0).fit(X)


def test_a_failed_fit_leaves_the_model_as_it_was(X):
    model = GaussianMixture(3, random_state=0).fit(X)
    before = fitted(model)
    with pytest.raises(ValueError, match="X must be finite or NaN"):
        model.fit(np.full((9, 2), np.inf))
    assert fitted(model) == before
    assert model.n_features_in_ == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components must be a whole number of at least 1, got 0"),
        ({"covariance_type": "round"}, "covariance_type must be one of 'full', 'tied'"),
        ({"weights_init": [0.5, 0.6]}, "weights_init must not be negative and must sum to one"),
        ({"weights_init": [1.5, -0.5]}, "weights_init must not be negative"),
        ({"means_init": np.zeros((2, 2))}, r"means_init must have shape \(2, 3\), got \(2, 2\)"),
        ({"means_init": np.full((2, 3), np.nan)}, "means_init must be finite"),
        ({"precisions_init": -np.tile(np.eye(3), (2, 1, 1))}, "must be positive definite"),
        ({"precisions_init": np.ones((2, 3, 3)).cumsum(axis=2)}, "must be symmetric"),
        (
            {"covariance_type": "diag", "precisions_init": np.zeros((2, 3))},
            "precisions_init must be positive, got 0",
        ),
        ({"contamination": 0.7}, "contamination must be a number above 0 and at most 0.5"),
        ({"learning_decay": 0.5}, "learning_decay must be a number above 0.5 and at most 1"),
        ({"device": "tpu"}, "device must be None"),
    ],
    ids=str,
)
def test_messages(X, options, message):
    with pytest.raises(ValueError, match=f"^GaussianMixture: .*{message}"):
        GaussianMixture(**{"n_components": 2, **options}).fit(X)


def test_more_messages(X):
    with pytest.raises(ValueError, match=r"must be at most the number of rows, got n_samples = 3 "):
        GaussianMixture(4).fit(X[:3])
    with pytest.raises(NotPositiveDefinite, match="^GaussianMixture: covariances must be positive"):
        GaussianMixture(1, reg_covar=0).fit(np.ones((5, 2)))
    with pytest.raises(NotFittedError):
        GaussianMixture(1).predict(X)
    with pytest.raises(ValueError, match="X must be small enough for densities in float32, got"):
        GaussianMixture(1, means_init=[[0.0]], weights_init=[1.0], precisions_init=[[[1.0]]]).fit(
            np.full((3, 1), 1e30, np.float32)
        )
