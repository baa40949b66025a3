"""Families with conjugate priors: Bayes' rule, with densities of SciPy, is the oracle."""

import io
import math

import numpy as np
import pytest
import scipy.sparse
from scipy import stats
from sklearn.base import clone

import kernelmill
from kernelmill.estimation import (
    Bernoulli,
    Categorical,
    Exponential,
    Gaussian,
    MultivariateGaussian,
    Poisson,
)

N, D = 40, 3
RNG = np.random.default_rng(0)
EVENTS = (RNG.random((N, D)) < [0.2, 0.5, 0.9]).astype(float)
CATEGORIES = RNG.integers(0, 4, (N, D)).astype(float)
COUNTS = RNG.poisson([0.3, 2.0, 20.0], (N, D)).astype(float)
TIMES = RNG.exponential([0.1, 1.0, 30.0], (N, D))
NORMALS = RNG.normal(size=(N, D)) @ [[1, 0, 0], [0.5, 2, 0], [0, 1, 0.3]] + [1.0, -2.0, 5.0]
SPREAD = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 3.0]])

# Models with proper priors, their rows, and the log density of parameters under prior or posterior.
FAMILIES = {
    "Bernoulli": (
        Bernoulli(alpha=[0.5, 2.0, 1.0], beta=3.0),
        EVENTS,
        lambda t, h: stats.beta.logpdf(t["probability"], h["alpha"], h["beta"]).sum(),
        lambda X, t: stats.bernoulli.logpmf(X, t["probability"]).sum(axis=1),
    ),
    "Categorical": (
        Categorical(n_categories=4, alpha=[0.5, 1.0, 2.0, 3.0]),
        CATEGORIES,
        lambda t, h: sum(
            stats.dirichlet.logpdf(p / p.sum(), a)
            for p, a in zip(t["probability"], h["alpha"], strict=True)
        ),
        lambda X, t: np.log(t["probability"][np.arange(D), X.astype(int)]).sum(axis=1),
    ),
    "Poisson": (
        Poisson(shape=[0.5, 2.0, 30.0], rate=1.5),
        COUNTS,
        lambda t, h: stats.gamma.logpdf(t["rate"], h["shape"], scale=1 / h["rate"]).sum(),
        lambda X, t: stats.poisson.logpmf(X, t["rate"]).sum(axis=1),
    ),
    "Exponential": (
        Exponential(shape=[3.0, 2.0, 1.0], rate=[0.1, 1.0, 20.0]),
        TIMES,
        lambda t, h: stats.gamma.logpdf(t["rate"], h["shape"], scale=1 / h["rate"]).sum(),
        lambda X, t: stats.expon.logpdf(X, scale=1 / t["rate"]).sum(axis=1),
    ),
    "Gaussian": (
        Gaussian(mean=[0.5, 0.0, 4.0], kappa=0.7, shape=[2.5, 2.0, 3.0], rate=1.3),
        NORMALS,
        lambda t, h: (
            stats.invgamma.logpdf(t["variance"], h["shape"], scale=h["rate"])
            + stats.norm.logpdf(t["mean"], h["mean"], np.sqrt(t["variance"] / h["kappa"]))
        ).sum(),
        lambda X, t: stats.norm.logpdf(X, t["mean"], np.sqrt(t["variance"])).sum(axis=1),
    ),
    "MultivariateGaussian": (
        MultivariateGaussian(mean=[0.5, 0.0, 4.0], kappa=0.7, degrees_of_freedom=5.5, scale=SPREAD),
        NORMALS,
        lambda t, h: (
            stats.invwishart.logpdf(t["covariance"], h["degrees_of_freedom"], h["scale"])
            + stats.multivariate_normal.logpdf(t["mean"], h["mean"], t["covariance"] / h["kappa"])
        ),
        lambda X, t: stats.multivariate_normal.logpdf(X, t["mean"], t["covariance"]),
    ),
}
BY_NAME = pytest.mark.parametrize("name", FAMILIES)
DEFAULTS = [
    (Bernoulli(), EVENTS), (Categorical(), CATEGORIES), (Poisson(), COUNTS),
    (Exponential(), TIMES), (Gaussian(), NORMALS), (MultivariateGaussian(), NORMALS),
]  # fmt: skip


def family(name):
    model, *rest = FAMILIES[name]
    return clone(model), *rest


def learned(model):
    return {
        f"{kind}{name}": np.asarray(value)
        for kind in ("posterior_", "map_", "maximum_likelihood_", "posterior_mean_")
        for name, value in getattr(model, kind).items()
    } | {"evidence": np.asarray(model.log_evidence_)}


def assert_same(one, other, rtol=1e-11):
    a, b = learned(one), learned(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=1e-13, err_msg=name)


# --- Bayes' rule ----------------------------------------------------------------------------------


@BY_NAME
def test_evidence_is_likelihood_times_prior_by_posterior(name):
    """At any parameters: so posterior, evidence and densities are right together."""
    model, X, prior, likelihood = family(name)
    model.fit(X)
    draws = model.sample_posterior(5, random_state=0)
    for i in range(5):
        t = {key: value[i] for key, value in draws.items()}
        bayes = likelihood(X, t).sum() + prior(t, model.prior_) - prior(t, model.posterior_)
        np.testing.assert_allclose(model.log_evidence_, bayes, rtol=1e-9)


@BY_NAME
def test_evidence_is_the_product_of_predictions(name):
    model, X, *_ = family(name)
    total = 0.0
    for i in range(N):
        if i:
            total += model.log_density(X[i : i + 1]).item()
        model.partial_fit(X[i : i + 1])
        if not i:
            total = model.log_evidence_
    np.testing.assert_allclose(model.log_evidence_, total, rtol=1e-10)
    assert_same(model, clone(model).fit(X))


@BY_NAME
def test_predictive_density_is_the_mean_over_the_posterior(name):
    model, X, _, likelihood = family(name)
    model.fit(X)
    draws, rows = model.sample_posterior(4000, random_state=1), X[:4]
    each = np.array([
        likelihood(rows, {key: value[i] for key, value in draws.items()}) for i in range(4000)
    ])  # fmt: skip
    density = np.exp(each)
    error = density.std(axis=0) / math.sqrt(4000)
    assert (np.abs(density.mean(axis=0) - np.exp(model.score_samples(rows))) < 5 * error).all()
    # The bound must be tight enough to tell the prediction from that at the mode.
    assert (error < 0.05 * density.mean(axis=0)).all()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("largest", [3, 5000])
def test_many_rows_have_the_densities_of_few(name, largest):
    """Those of small whole numbers are looked up where there are many rows."""
    model, X, *_ = family(name)
    rows = np.vstack([X] * 60)
    if name == "Poisson":
        rows[7, 1] = largest
    whole = model.fit(rows)
    for parameters in ("predictive", "map"):
        got = whole.log_density(rows, parameters)
        parts = [whole.log_density(rows[i : i + 500], parameters) for i in range(0, 2400, 500)]
        np.testing.assert_allclose(got, np.concatenate(parts), rtol=1e-12)
    halves = clone(model).partial_fit(rows[:1000]).partial_fit(rows[1000:])
    assert_same(halves, whole)


@BY_NAME
def test_modes_are_modes(name):
    model, X, prior, likelihood = family(name)
    model.fit(X)
    best = prior(model.map_, model.posterior_)
    likeliest = model.log_density(X, "maximum_likelihood").sum()
    np.testing.assert_allclose(
        likeliest, likelihood(X, model.maximum_likelihood_).sum(), rtol=1e-10
    )
    np.testing.assert_allclose(
        model.log_density(X, "map"), likelihood(X, model.map_), rtol=1e-9, atol=1e-12
    )
    for start, value in ((model.map_, best), (model.maximum_likelihood_, likeliest)):
        for moved in neighbours(start, name):
            other = (
                prior(moved, model.posterior_) if start is model.map_
                else likelihood(X, moved).sum()
            )  # fmt: skip
            assert other < value


def neighbours(parameters, name, step=3e-3):
    """Parameters with one entry larger or smaller; of a covariance also its size."""
    for key, value in parameters.items():
        for place in np.ndindex(value.shape):
            for sign in (-step, step):
                moved = np.array(value)
                moved[place] *= 1 + sign
                if key == "covariance":
                    moved[place[::-1]] = moved[place]
                if name == "Categorical":
                    moved /= moved.sum(axis=1, keepdims=True)
                yield {**parameters, key: moved}
        if key == "covariance":
            yield from ({**parameters, key: value * (1 + sign)} for sign in (-step, step))


@BY_NAME
def test_means_of_parameters_and_rows_are_those_of_draws(name):
    model, X, *_ = family(name)
    model.fit(X)
    draws = model.sample_posterior(20_000, random_state=0)
    for key, mean in model.posterior_mean_.items():
        error = draws[key].std(axis=0) / math.sqrt(20_000)
        assert (np.abs(draws[key].mean(axis=0) - mean) < 5 * error + 1e-12).all(), key
        assert draws[key].std(axis=0).max() > 0
    rows = model.sample(20_000, random_state=0)
    assert rows.shape == (20_000, D)
    if name == "Categorical":
        for v in range(4):
            p = model.posterior_mean_["probability"][:, v]
            assert (np.abs((rows == v).mean(axis=0) - p) < 5 * np.sqrt(p / 20_000)).all()
        return
    error = rows.std(axis=0) / math.sqrt(20_000)
    assert (np.abs(rows.mean(axis=0) - model.predictive_mean_) < 5 * error).all()
    np.testing.assert_allclose(rows.var(axis=0), model.predictive_variance_, rtol=0.25)
    np.testing.assert_allclose(
        [*model._predictive().stats("mv")],
        [model.predictive_mean_, model.predictive_variance_],
        rtol=1e-9,
    )
    below = (rows[None] <= model.predictive_quantiles([0.1, 0.5, 0.9])[:, None]).mean(axis=1)
    assert (below > np.array([[0.09], [0.49], [0.89]])).all()
    if name not in ("Bernoulli", "Poisson"):
        np.testing.assert_allclose(below, np.tile([[0.1], [0.5], [0.9]], (1, D)), atol=0.02)


def test_draws_of_several_gaussians_vary_together():
    model = MultivariateGaussian().fit(NORMALS)
    rows = model.sample(20_000, random_state=0)
    want = np.corrcoef(NORMALS.T)
    np.testing.assert_allclose(np.corrcoef(rows.T), want, atol=0.05)


@BY_NAME
def test_credible_intervals_hold_their_share(name):
    model, X, *_ = family(name)
    model.fit(X)
    draws = model.sample_posterior(20_000, random_state=0)
    if "covariance" in draws:
        draws["variance"] = np.diagonal(draws["covariance"], axis1=1, axis2=2)
    found = model.credible_interval(0.8)
    assert found.keys() <= draws.keys()
    for key, (low, high) in found.items():
        for share in ((draws[key] < low).mean(axis=0), (draws[key] > high).mean(axis=0)):
            assert (np.abs(share - 0.1) < 0.015).all(), key


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical", "Poisson"])
def test_probabilities_sum_to_one(name):
    model, X, *_ = family(name)
    model.fit(X[:, :1]) if name == "Categorical" else model.set_params(
        **{k: 1.0 for k in model.get_params()}
    ).fit(X[:, :1])
    values = np.arange({"Bernoulli": 2, "Categorical": 4, "Poisson": 60}[name])[:, None]
    for parameters in ("predictive", "map", "maximum_likelihood"):
        total = np.exp(model.log_density(values, parameters)).sum()
        np.testing.assert_allclose(total, 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["Exponential", "Gaussian", "MultivariateGaussian"])
def test_predictive_densities_are_those_of_scipy(name):
    model, X, *_ = family(name)
    model.fit(X)
    h = model.posterior_
    if name == "MultivariateGaussian":
        free = h["degrees_of_freedom"] - D + 1
        shape = h["scale"] * (1 + 1 / h["kappa"]) / free
        want = stats.multivariate_t(h["mean"], shape, df=free).logpdf(X)
    else:
        want = model._predictive().logpdf(X).sum(axis=1)
    np.testing.assert_allclose(model.score_samples(X), want, rtol=1e-10)
    np.testing.assert_allclose(model.score(X), want.mean(), rtol=1e-10)


def test_one_feature_is_the_same_by_both_gaussians():
    X = NORMALS[:, :1]
    one = Gaussian(mean=1.0, kappa=0.3, shape=2.0, rate=3.0).fit(X)
    other = MultivariateGaussian(mean=1.0, kappa=0.3, degrees_of_freedom=4.0, scale=6.0).fit(X)
    np.testing.assert_allclose(one.log_evidence_, other.log_evidence_, rtol=1e-12)
    np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), rtol=1e-11)
    for a, b in zip(
        one.credible_interval().values(), other.credible_interval().values(), strict=True
    ):
        np.testing.assert_allclose(np.ravel(a), np.ravel(b), rtol=1e-9)


@pytest.mark.parametrize("make", [Gaussian, MultivariateGaussian])
def test_a_flat_mean_is_the_limit_of_a_vague_one(make):
    """With density 1: that of N(m, v / kappa) near its centre, without its own constant."""
    flat = make().fit(NORMALS)
    kappa = 1e-10
    vague = make(kappa=kappa).fit(NORMALS)
    np.testing.assert_allclose(flat.posterior_["mean"], vague.posterior_["mean"], rtol=1e-8)
    name = "shape" if make is Gaussian else "degrees_of_freedom"
    lost = 0.5 if make is Gaussian else 1.0
    np.testing.assert_allclose(flat.posterior_[name] + lost, vague.posterior_[name], rtol=1e-12)
    # Integrated over a grid of one feature's mean and variance with the density 1 of the mean.
    x = NORMALS[:6, 0]
    mean = np.linspace(x.mean() - 60, x.mean() + 60, 6001)
    log_v = np.linspace(-6, 12, 2001)
    v = np.exp(log_v)[:, None]
    prior = stats.invgamma(2.0, scale=1.5).logpdf(v) + log_v[:, None]
    square = ((x - x.mean()) ** 2).sum() + len(x) * (mean - x.mean()) ** 2
    log = prior - 3 * np.log(2 * np.pi * v) - square / (2 * v)
    want = math.log(np.exp(log).sum() * (mean[1] - mean[0]) * (log_v[1] - log_v[0]))
    options = (
        {"shape": 2.0, "rate": 1.5} if make is Gaussian else {"degrees_of_freedom": 4, "scale": 3.0}
    )
    got = make(**options).fit(x[:, None]).log_evidence_
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_modes_at_the_edge():
    one = Bernoulli(alpha=0.5, beta=[0.5, 0.5, 2.0]).fit([[1.0, 0.0, 0.0]])
    assert one.map_["probability"].tolist() == [1.0, 0.0, 0.0]
    flat = Categorical(n_categories=3, alpha=[1.0, 0.5, 2.0]).fit([[0]])
    assert flat.map_["probability"].tolist() == [[0.5, 0.0, 0.5]]
    assert Poisson().fit([[0]]).map_["rate"].item() == 0
    with np.errstate(all="raise"):
        zeros = Poisson().fit([[0], [0]])
        assert zeros.maximum_likelihood_["rate"].item() == 0
        assert zeros.log_density([[0], [1]], "maximum_likelihood").tolist() == [0.0, -np.inf]
        assert Exponential().fit([[0.0]]).maximum_likelihood_["rate"].item() == np.inf
    assert Categorical().fit([[0]]).credible_interval()["probability"][0].item() == 1.0


# --- the same rows, however they come -------------------------------------------------------------


@BY_NAME
def test_weights_are_repetitions(name):
    model, X, *_ = family(name)
    weight = np.arange(N) % 4
    assert_same(
        clone(model).fit(X, sample_weight=weight), clone(model).fit(np.repeat(X, weight, axis=0))
    )
    halves = clone(model).fit(np.vstack([X, X]), sample_weight=np.full(2 * N, 0.5))
    assert_same(halves, model.fit(X))


@BY_NAME
def test_parts_and_streams_are_the_whole(name):
    model, X, *_ = family(name)
    whole = clone(model).fit(X)
    parts = clone(model)
    weight = 1.0 + np.arange(N) % 3
    weighted = clone(model).fit(X, sample_weight=weight)
    for i in range(0, N, 7):
        parts.partial_fit(X[i : i + 7], sample_weight=weight[i : i + 7])
    assert_same(parts, weighted)
    assert parts.n_samples_seen_ == N
    chunks = [X[i : i + 9] for i in range(0, N, 9)]
    streamed = clone(model).fit(iter(chunks))
    assert_same(streamed, whole)
    np.testing.assert_allclose(
        streamed.score_samples(chunks), whole.score_samples(X), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("name", ["Bernoulli", "Poisson", "Exponential"])
def test_sparse_rows_are_dense_ones(name):
    model, X, *_ = family(name)
    dense = clone(model).fit(X)
    rows = scipy.sparse.csr_matrix(X)
    assert_same(clone(model).fit(rows), dense)
    weight = np.arange(N) % 3
    assert_same(clone(model).fit(rows, sample_weight=weight),
                clone(model).fit(X, sample_weight=weight))  # fmt: skip
    twice = scipy.sparse.csr_matrix((  # each entry stored in two parts
        np.repeat(rows.data / 2, 2), np.repeat(rows.indices, 2), 2 * rows.indptr
    ), shape=rows.shape)  # fmt: skip
    assert_same(clone(model).fit(twice), dense)
    for parameters in ("predictive", "map", "maximum_likelihood"):
        np.testing.assert_allclose(
            dense.log_density(twice, parameters), dense.log_density(X, parameters), rtol=1e-11
        )
    certain = Bernoulli().fit([[1.0, 0.0], [1.0, 1.0]])  # the density of a zero is none
    some = np.array([[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(
        certain.log_density(scipy.sparse.csr_matrix(some), "maximum_likelihood"),
        [np.log(0.5), -np.inf],
    )


@BY_NAME
def test_dtypes_threads_and_files(name):
    model, X, *_ = family(name)
    rows = X.astype(np.float32)
    whole = clone(model).fit(rows.astype(np.float64))
    assert_same(clone(model).fit(rows), whole)
    before = rows.copy()
    rows.flags.writeable = False
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            again = clone(model).fit(rows[:, ::-1][:, ::-1])
        for key, value in learned(again).items():
            np.testing.assert_array_equal(value, learned(clone(model).fit(rows))[key])
    np.testing.assert_array_equal(rows, before)
    file = io.BytesIO()
    kernelmill.save(whole, file)
    file.seek(0)
    loaded = kernelmill.load(file)
    np.testing.assert_array_equal(loaded.score_samples(X), whole.score_samples(X))
    assert_same(loaded.partial_fit(X), clone(whole).fit(np.vstack([before, X])), rtol=1e-6)


def test_new_categories_join_in_later_parts():
    X = np.array([[0.0, 1.0], [1.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
    parts = Categorical(alpha=0.5).partial_fit(X[:2]).partial_fit(X[2:])
    assert_same(parts, Categorical(alpha=0.5).fit(X))
    assert parts.n_categories_ == 4
    assert parts.log_density([[0.0, 7.0]]).item() == -np.inf


@pytest.mark.parametrize("c", [2.0**-40, 1e-6, 1e6, 2.0**40, 1e120])
def test_scaled_rows_give_the_scaled_model(c):
    """Priors have units, and are scaled along."""
    pairs = [
        (Exponential(rate=0.1), Exponential(rate=0.1 * c), TIMES, {"rate": -1}),
        (Gaussian(mean=2.0, kappa=0.5), Gaussian(mean=2.0 * c, kappa=0.5, rate=1e-3 * c**2),
         NORMALS, {"mean": 1, "variance": 2}),
        (MultivariateGaussian(mean=2.0, kappa=0.5, scale=SPREAD),
         MultivariateGaussian(mean=2.0 * c, kappa=0.5, scale=SPREAD * c**2),
         NORMALS, {"mean": 1, "covariance": 2}),
    ]  # fmt: skip
    for plain, scaled, X, powers in pairs:
        plain.fit(X)
        scaled.fit(c * X)
        for kind in ("map_", "maximum_likelihood_", "posterior_mean_"):
            for key, power in powers.items():
                want = getattr(plain, kind)[key]
                size = np.abs(want).max()
                got = getattr(scaled, kind)[key] / c**power
                np.testing.assert_allclose(got / size, want / size, rtol=0, atol=1e-11)
        shift = D * math.log(c)
        np.testing.assert_allclose(
            scaled.score_samples(c * X), plain.score_samples(X) - shift, rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(scaled.log_evidence_, plain.log_evidence_ - N * shift, rtol=1e-9)


@pytest.mark.parametrize("make", [Gaussian, MultivariateGaussian])
def test_offsets_cost_no_digits(make):
    exact = np.round(NORMALS * 1024) / 1024
    near, far = make().fit(exact), make().fit(exact + 2.0**30)
    for key in ("rate", "scale"):
        if key in near.posterior_:
            np.testing.assert_allclose(near.posterior_[key], far.posterior_[key], rtol=1e-9)
    np.testing.assert_allclose(near.log_evidence_, far.log_evidence_, rtol=1e-9)
    np.testing.assert_allclose(
        near.score_samples(exact), far.score_samples(exact + 2.0**30), rtol=1e-6
    )


def test_many_rows_keep_the_digits_of_predictions():
    """Gamma functions of large arguments are taken off each other by their ratio."""
    model = Poisson().fit([[3.0]], sample_weight=[1e12])
    np.testing.assert_allclose(
        model.log_density([[0], [3], [9]]), stats.poisson(3.0).logpmf([0, 3, 9]), rtol=1e-9
    )
    np.testing.assert_allclose(model.predictive_variance_, 3.0, rtol=1e-9)
    times = Exponential().fit([[2.0]], sample_weight=[1e12])
    np.testing.assert_allclose(times.predictive_variance_, 4.0, rtol=1e-9)
    np.testing.assert_allclose(times.log_density([[2.0]]), -1 - math.log(2), rtol=1e-9)


@pytest.mark.parametrize("size", [2e12, 2.0**53, 1e100])
def test_quantiles_of_large_counts(size):
    """SciPy's end the process for counts from 2^53 on."""
    model = Poisson(rate=1.0).fit(np.full((3, 1), size))
    deviation = math.sqrt(model.predictive_variance_.item())
    found = (model.predictive_quantiles([0.1, 0.5, 0.9]) - model.predictive_mean_).ravel()
    np.testing.assert_allclose(
        found / deviation, stats.norm.ppf([0.1, 0.5, 0.9]), atol=1e-5 + 4e-16 * size / deviation
    )
    assert model.predictive_quantiles([0.0]).item() == 0


def test_intervals_and_quantiles_of_one_row():
    (low, high), _ = Gaussian().fit([[3.0]]).credible_interval().values()
    assert low < 3 < high
    assert Bernoulli().fit([[1.0]]).predictive_quantiles([0.0, 1.0]).ravel().tolist() == [0, 1]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "X", "message"),
    [
        (lambda: Bernoulli(), [[0.0, 0.5]], r"Bernoulli: X must hold zeros and ones, got 0.5 in "
         r"row 0, column 1"),
        (lambda: Categorical(), [[-1.0]], "Categorical: X must hold categories.*got -1"),
        (lambda: Categorical(n_categories=2), [[2.0]], "categories from 0 to n_categories - 1"),
        (lambda: Categorical(alpha=[1.0, 1.0]), [[2.0]], "one for each of 3 categories"),
        (lambda: Poisson(), [[1.5]], "Poisson: X must hold counts.*got 1.5"),
        (lambda: Exponential(), [[1.0], [-2.0]], "X must hold times.*got -2 in row 1, column 0 "),
        (lambda: Poisson(shape=[1.0, 2.0]), [[1.0]], "must be a number or one for each of 1"),
        (lambda: Poisson(rate=[-1.0]), [[1.0]], "rate must be finite and above 0, got -1"),
        (lambda: Exponential(), [[1e308], [1e308]], "X must be small enough to be added up"),
        (lambda: Gaussian(mean=[np.nan]), [[1.0]], "mean must be finite, got nan"),
        (lambda: Gaussian(kappa=-1), [[1.0]], "kappa"),
        (lambda: MultivariateGaussian(degrees_of_freedom=1), [[1.0, 2.0]], "above d - 1 = 1"),
        (lambda: MultivariateGaussian(scale=[[1, 2], [2, 1]]), [[1.0, 2.0]],
         "scale must be positive definite"),
        (lambda: MultivariateGaussian(scale=[[1, 0.5], [0.2, 1]]), [[1.0, 2.0]], "symmetric"),
        (lambda: MultivariateGaussian(scale=np.ones((3, 3))), [[1.0, 2.0]], r"got shape \(3, 3\)"),
    ],
)  # fmt: skip
def test_refusals(make, X, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert not hasattr(model, "posterior_")


def test_refusals_of_methods():
    model = Gaussian().fit(NORMALS)
    with pytest.raises(ValueError, match="parameters must be one of"):
        model.log_density(NORMALS, "mode")
    for level in (0, 1, True, "0.9"):
        with pytest.raises(ValueError, match="level must be a number between 0 and 1"):
            model.credible_interval(level)
    with pytest.raises(ValueError, match="quantiles must be a list of numbers from 0 to 1"):
        model.predictive_quantiles([0.5, 1.5])
    for draw in (model.sample, model.sample_posterior):
        for count in (-1, 1.5, True):
            with pytest.raises(ValueError, match="n_samples must be a whole number of at least 0"):
                draw(count)
    with pytest.raises(ValueError, match="Bernoulli: X must hold zeros and ones"):
        Bernoulli().fit(EVENTS).score_samples(EVENTS + 1)
    flat = MultivariateGaussian().fit(NORMALS[:2])
    assert np.isfinite(flat.score_samples(NORMALS)).all()
    with pytest.raises(ValueError, match="X must have a covariance that is not singular"):
        flat.log_density(NORMALS, "maximum_likelihood")
    failing = clone(model).fit(NORMALS)
    kept = failing.posterior_
    with pytest.raises(ValueError, match="NaN"):
        failing.partial_fit(np.full((2, D), np.nan))
    assert failing.posterior_ is kept


@pytest.mark.parametrize(("model", "X"), DEFAULTS, ids=lambda value: type(value).__name__)
def test_defaults_are_near_the_likelihood(model, X):
    model = clone(model).fit(np.vstack([X] * 50))
    for key, value in model.maximum_likelihood_.items():
        np.testing.assert_allclose(model.map_[key], value, rtol=5e-3, atol=5e-3)
