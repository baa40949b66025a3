"""BayesianGaussianMixture: the bound is exact and never falls; scikit-learn's fixed points."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy.special import betaln, gammaln, multigammaln
from scipy.stats import beta, dirichlet, gamma, wishart
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture as Peer

import kernelmill
from kernelmill.mixture import BayesianGaussianMixture

PRIORS = ("dirichlet_process", "dirichlet_distribution")
LEARNED = (
    "weights_",
    "means_",
    "covariances_",
    "precisions_cholesky_",
    "mean_precision_",
    "degrees_of_freedom_",
)


@pytest.fixture(params=PRIORS)
def weights_prior(request):
    return request.param


def quiet_fit(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*args, **kwargs)


def prior_of(kind, d):
    """Priors that are none of the defaults."""
    V = np.diag(np.arange(1.0, d + 1)) + 0.3
    return {
        "mean_prior": np.arange(d) / 2,
        "mean_precision_prior": 0.7,
        "degrees_of_freedom_prior": d + 1.5,
        "weight_concentration_prior": 0.4,
        "covariance_prior": {
            "full": V,
            "tied": V,
            "diag": np.diag(V).copy(),
            "spherical": 1.3,
        }[kind],
    }


# --- the bound is exact ---------------------------------------------------------------------------


def log_evidence(X, kind, mean_prior, mean_precision_prior, degrees_of_freedom_prior, V0):
    """log p(X) of one Gaussian under its conjugate prior (Murphy 2007, sections 8 and 9)."""
    n, d = X.shape
    center = X.mean(axis=0)
    scatter = (X - center).T @ (X - center)
    away = center - mean_prior
    beta_n = mean_precision_prior + n
    V = scatter + mean_precision_prior * n / beta_n * np.outer(away, away)
    nu0, nu = degrees_of_freedom_prior, degrees_of_freedom_prior + n
    common = -0.5 * n * d * np.log(np.pi) + 0.5 * d * np.log(mean_precision_prior / beta_n)
    if kind in ("full", "tied"):
        return (
            common
            + multigammaln(nu / 2, d)
            - multigammaln(nu0 / 2, d)
            + nu0 / 2 * np.linalg.slogdet(V0)[1]
            - nu / 2 * np.linalg.slogdet(V0 + V)[1]
        )
    if kind == "diag":
        after = V0 + np.diag(V)
        return (
            common
            + (
                gammaln(nu / 2) - gammaln(nu0 / 2) + nu0 / 2 * np.log(V0) - nu / 2 * np.log(after)
            ).sum()
        )
    a0, a = d * nu0 / 2, d * nu / 2
    b0, b = d * V0 / 2, d * (V0 + np.trace(V) / d) / 2
    common = -0.5 * n * d * np.log(2 * np.pi) + 0.5 * d * np.log(mean_precision_prior / beta_n)
    return common + gammaln(a) - gammaln(a0) + a0 * np.log(b0) - a * np.log(b)


@pytest.mark.parametrize("n", [1, 2, 60])
def test_for_one_component_the_bound_is_the_log_evidence(rng, kind, weights_prior, n):
    X = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 3)) + 1
    prior = prior_of(kind, 3)
    model = BayesianGaussianMixture(
        1, covariance_type=kind, reg_covar=0, weight_concentration_prior_type=weights_prior, **prior
    ).fit(X)
    expected = log_evidence(
        X,
        kind,
        prior["mean_prior"],
        prior["mean_precision_prior"],
        prior["degrees_of_freedom_prior"],
        prior["covariance_prior"],
    )
    if weights_prior == "dirichlet_process":  # all rows at the first stick: E v^n
        expected += betaln(1 + n, 0.4) - betaln(1, 0.4)
    assert model.lower_bound_ == pytest.approx(expected, rel=1e-11)


def normal_log_density(x, mean, precisions):
    """log N(x; mean, precision^-1), one precision matrix for each x."""
    away = x - mean
    square = np.einsum("tp,tpq,tq->t", away, precisions, away)
    return 0.5 * np.linalg.slogdet(precisions / (2 * np.pi))[1] - 0.5 * square


def draw(model, kind, process, n, rng):
    """n draws of (pi, mu, precisions) from q, and log q - log p of each."""
    k, d = model.means_.shape
    a0, nu0, V0 = (
        model.weight_concentration_prior_,
        model.degrees_of_freedom_prior_,
        model.covariance_prior_,
    )
    nu, C = np.broadcast_to(model.degrees_of_freedom_, (k,)), model.covariances_
    if process:
        a, b = model.weight_concentration_
        v = np.clip(rng.beta(a, b, size=(n, k)), 1e-300, 1 - 1e-15)
        gap = (beta.logpdf(v, a, b) - beta.logpdf(v, 1, a0)).sum(axis=1)
        pi = v * np.concatenate([np.ones((n, 1)), np.cumprod(1 - v, axis=1)[:, :-1]], axis=1)
    else:
        a = model.weight_concentration_
        pi = rng.dirichlet(a, size=n)
        gap = dirichlet.logpdf(pi.T, a) - dirichlet.logpdf(pi.T, np.full(k, a0))
    L = np.empty((n, k, d, d))
    for j in range(k):
        if kind == "tied" and j:
            L[:, j] = L[:, 0]
        elif kind in ("full", "tied"):
            S, S0 = np.linalg.inv(nu[j] * (C if kind == "tied" else C[j])), np.linalg.inv(V0)
            L[:, j] = wishart.rvs(nu[j], S, size=n, random_state=rng)
            turned = L[:, j].transpose(1, 2, 0)
            gap += wishart.logpdf(turned, nu[j], S) - wishart.logpdf(turned, nu0, S0)
        else:
            size = 1 if kind == "diag" else d  # features behind each Gamma distribution
            shape, scale = size * nu[j] / 2, 2 / (size * nu[j] * np.atleast_1d(C[j]))
            values = rng.gamma(shape, scale, size=(n, len(scale)))
            gap += (
                gamma.logpdf(values, shape, scale=scale)
                - gamma.logpdf(values, size * nu0 / 2, scale=2 / (size * np.atleast_1d(V0)))
            ).sum(axis=1)
            L[:, j] = values[:, :, None] * np.eye(d)
    means = np.empty((n, k, d))
    for j in range(k):
        factor = np.linalg.cholesky(np.linalg.inv(L[:, j]) / model.mean_precision_[j])
        noise = (factor @ rng.standard_normal((n, d, 1)))[:, :, 0]
        means[:, j] = model.means_[j] + noise
        gap += normal_log_density(means[:, j], model.means_[j], model.mean_precision_[j] * L[:, j])
        prior = model.mean_precision_prior_ * L[:, j]
        gap -= normal_log_density(means[:, j], model.mean_prior_, prior)
    return pi, means, L, gap


@pytest.mark.parametrize("missing", [False, True])
def test_the_bound_is_the_expectation_that_it_bounds(rng, kind, weights_prior, missing):
    """E_q[log p - log q] by sampling from q, with densities from SciPy.

    q(z, x_missing) is the one of the last E-step: proportional to exp E log p(x_i, z_i), which is
    averaged over the draws here; where x_1 is missing it is integrated over a grid.
    """
    X = np.concatenate([rng.normal(size=(12, 2)), rng.normal(size=(8, 2)) + 2.0])
    options = {"covariance_type": kind, "weight_concentration_prior_type": weights_prior}
    options |= {"reg_covar": 0, "random_state": 0, **prior_of(kind, 2)}
    model = BayesianGaussianMixture(2, max_iter=0, **options).fit(X)
    before = copy.copy(model)
    # Row 0 stands on a grid of its second feature where that is missing.
    grid = np.linspace(-40, 40, 401) if missing else X[:1, 1]
    rows = np.concatenate([np.column_stack([np.full_like(grid, X[0, 0]), grid]), X[1:]])
    if missing:
        X[0, 1] = np.nan
    bound = quiet_fit(model.set_params(max_iter=1, warm_start=True), X).lower_bound_
    n, k = 3000, 2
    pi, means, L, gap = draw(before, kind, weights_prior == "dirichlet_process", n, rng)
    joint = np.empty((n, len(rows), k))
    for j in range(k):
        away = rows - means[:, j, None]
        square = np.einsum("tnp,tpq,tnq->tn", away, L[:, j], away)
        constant = np.log(pi[:, j]) + 0.5 * np.linalg.slogdet(L[:, j] / (2 * np.pi))[1]
        joint[:, :, j] = constant[:, None] - 0.5 * square
    expected = joint.mean(axis=0)
    cell = np.log(grid[1] - grid[0]) if missing else 0.0
    first = np.logaddexp.reduce((expected[: len(grid)] + cell).ravel())
    others = np.logaddexp.reduce(expected[len(grid) :], axis=1)
    estimate = first + others.sum() - gap.mean()
    # q(z, x_missing) as weights, for the spread of the estimate.
    q = np.exp(
        np.concatenate(
            [expected[: len(grid)] + cell - first, expected[len(grid) :] - others[:, None]]
        )
    )
    noise = ((joint * q).sum(axis=(1, 2)) - gap).std() / np.sqrt(n)
    assert noise < 0.1
    assert abs(bound - estimate) < 5 * noise


# --- theorems -------------------------------------------------------------------------------------


def falls(model, data, **kwargs):
    """The worst fall of the bound, in units of its rounding.

    A row's density carries some eps of its magnitude (1e3 covers squares and constants) and, for
    matrices, some eps times their condition: an entry of V is off by eps of the largest one, which
    is that much of the least eigenvalue.
    """
    bounds = np.array(quiet_fit(model, data, **kwargs).lower_bounds_)
    assert len(bounds) > 1
    condition = 1.0
    if model.covariance_type in ("full", "tied"):
        d = len(model.covariance_prior_)
        condition = np.linalg.cond(model.covariance_prior_ + model.reg_covar * np.eye(d))
    eps = np.finfo(float).eps
    return np.diff(bounds).min() / (eps * (1e3 * np.abs(bounds).max() + condition * len(data)))


@pytest.mark.parametrize("init", ["kmeans", "random", "random_from_data"])
@pytest.mark.parametrize("missing", [False, True])
def test_the_bound_never_falls(X, rng, kind, weights_prior, init, missing):
    if missing:
        X[rng.random(X.shape) < 0.3] = np.nan
    options = {"covariance_type": kind, "weight_concentration_prior_type": weights_prior}
    options |= {"init_params": init, "random_state": 0, "tol": 0, "max_iter": 30}
    assert falls(BayesianGaussianMixture(6, **options), X) >= -1
    w = 2 * rng.random(len(X))
    assert falls(BayesianGaussianMixture(6, **options), X, sample_weight=w) >= -1


@pytest.mark.parametrize(
    "case", ["duplicates", "fewer distinct rows", "constant feature", "one row", "far"]
)
def test_the_bound_never_falls_on_odd_data(rng, kind, weights_prior, case):
    base = rng.normal(size=(4, 2))
    data = {
        "duplicates": np.repeat(rng.normal(size=(30, 2)), rng.integers(1, 9, size=30), axis=0),
        "fewer distinct rows": np.repeat(base[:2], 20, axis=0),
        "constant feature": np.column_stack([rng.normal(size=60), np.ones(60)]),
        "one row": base[:1],
        "far": np.r_[rng.normal(size=(50, 2)), [[1e6, 1e6]]],
    }[case]
    k = 1 if case == "one row" else 4
    options = {"covariance_type": kind, "weight_concentration_prior_type": weights_prior}
    options |= {"random_state": 0, "tol": 0, "max_iter": 30}
    model = BayesianGaussianMixture(k, **options)
    assert falls(model, data) >= -1
    assert np.isfinite(model.means_).all()
    assert np.isfinite(model.covariances_).all()


def test_weights_equal_repetition(X, rng, kind, weights_prior):
    w = rng.integers(1, 4, size=len(X))
    options = {"covariance_type": kind, "weight_concentration_prior_type": weights_prior}
    first = BayesianGaussianMixture(3, random_state=0, max_iter=0, **options).fit(X)
    found = []
    for data, weight in ((X, w), (np.repeat(X, w, axis=0), None)):
        model = copy.copy(first).set_params(warm_start=True, max_iter=10, tol=0)
        found.append(quiet_fit(model, data, sample_weight=weight))
    weighted, repeated = found
    np.testing.assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-11)
    for name in LEARNED:
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-9, atol=1e-11
        )
    np.testing.assert_allclose(weighted.covariance_prior_, repeated.covariance_prior_, rtol=1e-12)


def test_streams_equal_memory(X, rng, kind):
    X[rng.random(X.shape) < 0.05] = np.nan
    options = {"n_components": 4, "covariance_type": kind, "random_state": 0, "max_iter": 8}
    memory = quiet_fit(BayesianGaussianMixture(**options), X)
    model = quiet_fit(BayesianGaussianMixture(**options), [X[:150], X[150:151], X[151:]])
    np.testing.assert_allclose(model.lower_bounds_, memory.lower_bounds_, rtol=1e-10)
    for name in LEARNED:
        np.testing.assert_allclose(
            getattr(model, name), getattr(memory, name), rtol=1e-8, atol=1e-10
        )


def test_any_number_of_threads_gives_the_same_bits(make):
    X = make(3000, 5, 4, np.float32)
    found = []
    for n in (1, 2, 7):
        with kernelmill.threads(n):
            model = quiet_fit(BayesianGaussianMixture(6, random_state=3, max_iter=5), X)
            found.append([getattr(model, name).tobytes() for name in LEARNED])
    assert found[0] == found[1] == found[2]


def test_far_from_the_origin_float32_loses_nothing(make, kind):
    X = make(800, 4, 3, np.float32, shift=1e4)
    options = {"n_components": 3, "covariance_type": kind, "random_state": 0, "max_iter": 15}
    single = quiet_fit(BayesianGaussianMixture(**options), X)
    double = quiet_fit(BayesianGaussianMixture(**options), X.astype(np.float64))
    assert single.lower_bound_ == pytest.approx(double.lower_bound_, rel=1e-4)
    assert single.means_.dtype == np.float32
    assert single.mean_precision_.dtype == np.float64


# --- scikit-learn ---------------------------------------------------------------------------------


def test_fixed_points_of_scikit_learn_are_ours(X, weights_prior):
    """With full covariances and no regularisation, one of our iterations leaves theirs alone."""
    options = {"n_components": 4, "weight_concentration_prior_type": weights_prior}
    peer = quiet_fit(Peer(**options, reg_covar=0, tol=1e-12, max_iter=5000, random_state=0), X)
    assert peer.converged_
    ours = BayesianGaussianMixture(**options, reg_covar=0, warm_start=True, max_iter=1)
    for name, value in vars(peer).items():
        if name.endswith("_"):
            setattr(ours, name, value)
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))
    np.testing.assert_allclose(ours.score_samples(X), peer.score_samples(X), rtol=1e-9)
    quiet_fit(ours, X)
    # Empty components creep: what is left of them shrinks by parts per million an iteration.
    for name in (*LEARNED, "precisions_"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(peer, name), rtol=1e-6, atol=1e-6, err_msg=name
        )
    for name in ("covariance_prior_", "mean_prior_", "weight_concentration_prior_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-10)
    np.testing.assert_allclose(
        np.ravel(ours.weight_concentration_), np.ravel(peer.weight_concentration_), rtol=1e-5
    )


def test_default_priors_are_those_of_scikit_learn(X, kind):
    ours = BayesianGaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    peer = Peer(n_components=2, covariance_type=kind, random_state=0).fit(X)
    for name in (
        "weight_concentration_prior_",
        "mean_precision_prior_",
        "mean_prior_",
        "degrees_of_freedom_prior_",
        "covariance_prior_",
    ):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-10, atol=1e-12)
    assert np.shape(ours.degrees_of_freedom_) == np.shape(peer.degrees_of_freedom_)
    assert np.shape(ours.covariances_) == np.shape(peer.covariances_)


def test_components_that_are_not_needed_lose_their_weight(make, weights_prior):
    X = make(600, 2, 3, spread=8.0)
    model = BayesianGaussianMixture(
        10,
        weight_concentration_prior_type=weights_prior,
        weight_concentration_prior=1e-3,
        max_iter=1000,
        random_state=0,
    ).fit(X)
    assert (model.weights_ > 0.01).sum() <= 4
    assert model.weights_.sum() == pytest.approx(1.0, rel=1e-12)


# --- manners --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pickles_and_files(make, tmp_path, kind, weights_prior, dtype):
    X = make(dtype=dtype, shift=1e3)
    model = BayesianGaussianMixture(
        3, covariance_type=kind, weight_concentration_prior_type=weights_prior, random_state=0
    ).set_params(contamination=0.1, max_iter=500)
    model.fit(X)
    kernelmill.save(model, tmp_path / "model.safetensors")
    for again in (
        pickle.loads(pickle.dumps(model)),
        kernelmill.load(tmp_path / "model.safetensors"),
    ):
        np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
        np.testing.assert_array_equal(again.is_outlier(X), model.is_outlier(X))
        again.set_params(warm_start=True, max_iter=1)
        assert quiet_fit(again, X).lower_bound_ >= model.lower_bound_ - 1e-3 * abs(
            model.lower_bound_
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean_precision_prior": 0}, "mean_precision_prior must be a number above 0 or None"),
        ({"degrees_of_freedom_prior": 1.5}, "degrees_of_freedom_prior must be above d - 1 = 2"),
        ({"mean_prior": [0.0]}, r"mean_prior must have shape \(3,\), got \(1,\)"),
        ({"covariance_prior": np.eye(2)}, r"covariance_prior must have shape \(3, 3\)"),
        ({"covariance_prior": -np.eye(3)}, "covariance_prior must be positive definite, got -1"),
        ({"covariance_prior": np.triu(np.ones((3, 3)))}, "covariance_prior must be symmetric"),
        ({"weight_concentration_prior_type": "none"}, "prior_type must be one of"),
    ],
    ids=str,
)
def test_messages(X, options, message):
    with pytest.raises(ValueError, match=f"^BayesianGaussianMixture: .*{message}"):
        BayesianGaussianMixture(2, **options).fit(X)
