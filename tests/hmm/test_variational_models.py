"""The lower bound is exact: equal to the evidence where q can be, below it elsewhere."""

import itertools
import logging

import numpy as np
import pytest
from hmm_kinds import COVARIANCES, KINDS, same_start
from scipy.special import digamma, gammaln, multigammaln
from scipy.stats import dirichlet, wishart

from kernelmill.hmm import CategoricalHMM, VariationalCategoricalHMM, VariationalGaussianHMM
from kernelmill.hmm._observations import Symbols
from kernelmill.hmm._posterior import (
    dirichlet_divergence,
    expected_log,
    mean_divergence,
    wishart_divergence,
)
from kernelmill.hmm._symbol_start import successions

LOPSIDED = np.tile([[1.0, 0.9], [0.0, 1.0]], (2, 1, 1))


def log_dirichlet_integral(prior, counts):
    """log of the integral of prod p^counts under a Dirichlet: a ratio of beta functions."""
    total = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum())
    return total + (gammaln(prior + counts) - gammaln(prior)).sum()


def symbol_evidence(X, start, moves, table):
    """log p(X) of a categorical model under Dirichlet priors, by all paths."""
    K, M = table.shape
    logs = []
    for path in itertools.product(range(K), repeat=len(X)):
        first, steps, emitted = np.eye(K)[path[0]], np.zeros((K, K)), np.zeros((K, M))
        for a, b in itertools.pairwise(path):
            steps[a, b] += 1
        for z, x in zip(path, X, strict=True):
            emitted[z, x] += 1
        log = log_dirichlet_integral(start, first)
        log += sum(log_dirichlet_integral(moves[j], steps[j]) for j in range(K))
        log += sum(log_dirichlet_integral(table[j], emitted[j]) for j in range(K))
        logs.append(log)
    return np.logaddexp.reduce(logs)


def gaussian_evidence(X, mean, beta, dof, scale):
    """log p(X) of one Gaussian under a Gaussian-Wishart prior."""
    n, d = X.shape
    beta_n, dof_n = beta + n, dof + n
    mean_n = (beta * mean + X.sum(axis=0)) / beta_n
    scale_n = scale + X.T @ X + beta * np.outer(mean, mean) - beta_n * np.outer(mean_n, mean_n)
    log = -n * d / 2 * np.log(np.pi) + d / 2 * np.log(beta / beta_n)
    log += dof / 2 * np.linalg.slogdet(scale)[1] - dof_n / 2 * np.linalg.slogdet(scale_n)[1]
    return log + multigammaln(dof_n / 2, d) - multigammaln(dof / 2, d)


def test_the_bound_of_one_state_is_the_evidence_of_symbols(rng):
    X = KINDS["CategoricalHMM"].rows(rng, 30)
    model = VariationalCategoricalHMM(1, emissionprob_prior=0.7, n_iter=5, random_state=0).fit(X)
    M = model.emissionprob_.shape[1]
    expected = log_dirichlet_integral(np.full(M, 0.7), np.bincount(X[:, 0], minlength=M))
    assert model.monitor_.history[-1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize("d", [1, 3])
def test_the_bound_of_one_state_is_the_evidence_of_rows(covariance, d, rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 30, d)
    mean, scale = np.arange(d) * 1.0, 0.5 * np.eye(d) + 0.1
    model = VariationalGaussianHMM(
        1,
        covariance,
        means_prior=mean,
        beta_prior=0.3,
        dof_prior=d + 1.5,
        scale_prior=scale if covariance == "tied" else scale[None],
        n_iter=5,
        random_state=0,
    ).fit(X)
    expected = gaussian_evidence(X, mean, 0.3, d + 1.5, scale)
    assert model.monitor_.history[-1] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("covariance", ["diag", "spherical"])
def test_a_restricted_posterior_stays_below_the_evidence(covariance, rng):
    X = rng.standard_normal((40, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    model = VariationalGaussianHMM(1, covariance, n_iter=5, random_state=0).fit(X)
    expected = gaussian_evidence(X, X.mean(axis=0), 1.0, 2.0, 1e-3 * np.eye(2))
    assert model.monitor_.history[-1] < expected - 1.0  # the features are correlated
    one = VariationalGaussianHMM(1, covariance, n_iter=5, random_state=0).fit(X[:, :1])
    expected = gaussian_evidence(X[:, :1], X[:, 0].mean(keepdims=True), 1.0, 1.0, 1e-3 * np.eye(1))
    assert one.monitor_.history[-1] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_stays_below_the_evidence_of_two_states(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, 8)
    model = VariationalCategoricalHMM(2, n_iter=200, tol=1e-12, random_state=seed).fit(X)
    M = model.emissionprob_.shape[1]
    half = np.full(2, 0.5)
    evidence = symbol_evidence(X, half, np.tile(half, (2, 1)), np.full((2, M), 1.0 / M))
    bound = model.monitor_.history
    assert max(bound) <= evidence + 1e-9
    assert bound[-1] > evidence - 8.0  # a bound, not just a small number


def test_a_bound_below_falls_where_the_posterior_is_wrong(rng):
    """Any change of a converged posterior lowers the bound: it is at a maximum."""
    X = KINDS["GaussianHMM-diag"].rows(rng, 60)
    model = VariationalGaussianHMM(2, "full", n_iter=500, tol=1e-12, random_state=0).fit(X)
    best = model.monitor_.history[-1]
    for name in ("startprob_", "transmat_", "means_", "beta_", "dof_", "scale_"):
        for factor in (0.9, 1.1):
            other = same_start(model, VariationalGaussianHMM(2, "full", n_iter=1))
            name_ = f"{name}posterior_"
            setattr(other, name_, getattr(other, name_) * factor)
            assert other.fit(X).monitor_.history[0] < best, (name, factor)


def test_states_that_the_data_do_not_need_lose_their_mass(rng):
    X = np.repeat([0.0, 6.0, 0.0, 6.0], 50)[:, None] + rng.standard_normal((200, 1))
    bounds = {}
    for K in (1, 2, 3, 5):
        fits = [
            VariationalGaussianHMM(K, "full", n_iter=300, random_state=seed).fit(X)
            for seed in range(3)
        ]
        best = max(fits, key=lambda model: model.monitor_.history[-1])
        bounds[K] = best.monitor_.history[-1]
        if K == 5:
            visits = best.predict_proba(X).sum(axis=0)
            assert (visits > 5).sum() == 2
    assert max(bounds, key=bounds.get) == 2


def switching(rng, T, stay=0.95):
    """States of a chain of two."""
    return np.cumsum(rng.random(T) > stay) % 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("M", "T", "stay", "least"),
    [
        (4, 1000, 0.95, 0.98),
        (50, 1000, 0.95, 0.98),
        (200, 1000, 0.95, 0.98),
        (1000, 4000, 0.95, 0.98),
        (20_000, 20_000, 0.98, 0.9),  # symbols that occur once in the mean; it was 0.51
        (20_000, 40_000, 0.98, 0.98),
    ],
)
def test_states_of_disjoint_symbols_are_found_from_any_start(M, T, stay, least, seed):
    rng = np.random.default_rng(0)
    states = switching(rng, T, stay)
    X = M // 2 * states + rng.integers(0, M // 2, T)
    model = VariationalCategoricalHMM(2, n_features=M, random_state=seed).fit(X)
    agree = (model.predict(X) == states).mean()
    assert max(agree, 1.0 - agree) > least


@pytest.mark.parametrize("M", [1, 2, 50, 20_000])
@pytest.mark.parametrize("K", [1, 2, 50])
def test_symbols_start_at_the_prior_plus_counts(K, M, rng):
    """The first bound is that of a posterior that could be: of the size of the last one."""
    X = rng.integers(0, M, 2000)
    model = VariationalCategoricalHMM(K, n_features=M, n_iter=1, random_state=0).fit(X)
    bound = model.monitor_.history[0]
    # T symbols of probability 1 / M in one of K states, and for each symbol and state that was
    # seen the way from a pseudo-count of 1 / M; it was -4e92 with 50 symbols, -inf with 20,000.
    seen = K * len(np.unique(X)) * np.log(M)
    assert 0.0 >= bound > -2.0 * (2000.0 * (np.log(K) + np.log(M) + 1.0) + seen + K**2)
    start = VariationalCategoricalHMM(K, n_features=M, n_iter=0, random_state=0).fit(X)
    prior, posterior = start.emissionprob_prior_, start.emissionprob_posterior_
    np.testing.assert_allclose((posterior - prior).sum(axis=0), np.bincount(X, minlength=M))
    for name, size in (("startprob", 1.0), ("transmat", 2000.0)):
        counts = getattr(start, f"{name}_posterior_") - getattr(start, f"{name}_prior_")
        assert counts.min() > 0
        assert counts.sum() == pytest.approx(size)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_many_gaussian_states_start_at_the_prior_plus_counts(covariance, rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 500)
    model = VariationalGaussianHMM(50, covariance, n_iter=1, random_state=0).fit(X)
    assert 0.0 > model.monitor_.history[0] > -50.0 * 500


@pytest.mark.parametrize("lags", [1, 2, 30])
def test_starts_count_symbols_within_sequences(lags, rng):
    lengths, K, M = np.array([5, 0, 1, 12, 2]), 2, 3
    X = rng.integers(-1, M, lengths.sum())  # -1 is missing
    expected, later, at = np.zeros((M, M + 1)), np.zeros((M, M)), 0
    for length in lengths:
        x = X[at : at + length]
        for i in np.flatnonzero(x >= 0):
            expected[x[i], x[i + 1] if i + 1 < length else -1] += 1
            for after in x[i + 2 : i + 1 + lags]:
                if after >= 0:
                    later[x[i], after] += 1
        at += length
    for n in (M, 30):  # by table and by sorting
        found = successions(Symbols(X, n), lengths, None, n, lags).toarray()
        assert np.array_equal(found[:M, [0, 1, 2, -1]], expected)
        assert np.array_equal(found[:M, n : n + M], later)
        assert found.sum() == expected.sum() + later.sum()
    starts = [
        VariationalCategoricalHMM(K, n_features=M, n_iter=0, random_state=0).fit(*given)
        for given in ((X, lengths), ([x[:, None] for x in np.split(X, np.cumsum(lengths)[:-1])],))
    ]
    posteriors = [start.emissionprob_posterior_ for start in starts]
    np.testing.assert_allclose(*posteriors, rtol=1e-12)


def test_symbols_without_neighbours_have_a_start():
    X, lengths = np.arange(6) % 3, np.ones(6, dtype=int)
    model = VariationalCategoricalHMM(4, random_state=0).fit(X, lengths)
    assert np.isfinite(model.monitor_.history).all()


def test_divergences_equal_integrals(rng):
    """Monte Carlo over the posterior, within five standard errors."""
    n = 20_000
    q, p = np.array([3.0, 1.5, 0.7]), np.array([1.0, 2.0, 0.5])
    drawn = dirichlet(q).rvs(n, random_state=1).T
    drawn /= drawn.sum(axis=0)
    values = dirichlet.logpdf(drawn, q) - dirichlet.logpdf(drawn, p)
    error = 5 * values.std() / np.sqrt(n)
    assert abs(dirichlet_divergence(q, p) - values.mean()) < error

    scale, prior = np.array([[2.0, 0.5], [0.5, 1.0]]), np.eye(2)
    ours = wishart(7.0, np.linalg.inv(scale))
    matrices = ours.rvs(4000, random_state=2).transpose(1, 2, 0)
    logs = ours.logpdf(matrices) - wishart(3.0, prior).logpdf(matrices)
    found = wishart_divergence(
        np.array([7.0]), scale[None], np.array([3.0]), prior[None], 2, "full"
    )
    assert abs(found - logs.mean()) < 5 * logs.std() / np.sqrt(4000)


def test_divergences_are_zero_at_the_prior():
    q = np.array([[2.0, 0.0, 1.0], [0.5, 3.0, 0.0]])
    assert dirichlet_divergence(q, q) == pytest.approx(0.0, abs=1e-12)
    for kind, scale in (
        ("full", np.stack([np.eye(2), 2 * np.eye(2)])),
        ("diag", np.ones((2, 2))),
        ("spherical", np.array([1.0, 2.0])),
        ("tied", np.eye(2)),
    ):
        dof = np.full(1 if kind == "tied" else 2, 4.0)
        assert wishart_divergence(dof, scale, dof, scale, 2, kind) == pytest.approx(0, abs=1e-12)
    none = mean_divergence(np.zeros((2, 2)), np.ones(2), np.ones(2), np.ones((2, 2)))
    assert none == pytest.approx(0.0, abs=1e-12)


def test_expected_log_of_impossible_outcomes():
    found = expected_log(np.array([2.0, 0.0, 1.0]))
    assert found[1] == -np.inf
    np.testing.assert_allclose(found[[0, 2]], digamma([2.0, 1.0]) - digamma(3.0), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dof_posterior_": [0.5, 3.0]}, r"dof_posterior_ must be above d - 1 = 1, got 0.5"),
        ({"beta_prior_": [0.0, 1.0]}, r"beta_prior_ must be positive"),
        ({"scale_posterior_": -np.ones((2, 2, 2))}, r"scale_posterior_ must be positive definite"),
        ({"startprob_posterior_": [-1.0, 2.0]}, r"startprob_posterior_ must not be negative"),
        ({"transmat_posterior_": np.eye(2)}, r"transmat_posterior_ must be positive exactly where"),
        ({"means_prior_": np.zeros(3)}, r"means_prior_ must have shape \(2, 2\), got \(3,\)"),
        ({"scale_posterior_": np.ones(3)}, r"scale_posterior_ must have shape \(2, 2, 2\), got"),
        ({"scale_posterior_": "a"}, r"scale_posterior_ must be numeric, got"),
        ({"scale_posterior_": LOPSIDED}, r"scale_posterior_ must be symmetric, got another matrix"),
        ({"scale_prior_": LOPSIDED}, r"scale_prior_ must be symmetric, got another matrix"),
        ({"dof_posterior_": "a"}, r"dof_posterior_ must be numeric, got"),
        ({"startprob_posterior_": [0.0, 0.0]}, r"startprob_posterior_ must have a positive sum"),
    ],
)
def test_assigned_posteriors_are_checked(change, message, rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 30)
    model = VariationalGaussianHMM(2, "full", n_iter=2, random_state=0).fit(X)
    model.set_params(init_params="")
    for name, value in change.items():
        setattr(model, name, np.asarray(value))
    with pytest.raises(ValueError, match=message):
        model.fit(X)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_posteriors_may_be_assigned_as_lists(covariance, rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 30)
    model = VariationalGaussianHMM(2, covariance, n_iter=2, random_state=0).fit(X)
    same = same_start(model, VariationalGaussianHMM(2, covariance, n_iter=2))
    listed = same_start(model, VariationalGaussianHMM(2, covariance, n_iter=2))
    for name, value in vars(model).items():
        if name.endswith(("_prior_", "_posterior_")):
            setattr(listed, name, np.asarray(value).tolist())
    same.fit(X)
    listed.fit(X)
    for name, value in vars(same).items():
        if name.endswith(("_prior_", "_posterior_")):
            assert type(getattr(listed, name)) is type(value), name
            assert np.array_equal(getattr(listed, name), value), name


@pytest.mark.parametrize("name", ["startprob_prior", "transmat_prior", "emissionprob_prior"])
def test_concentrations_are_not_negative(name):
    X = np.arange(12).reshape(12, 1) % 3
    with pytest.raises(ValueError, match=rf"^Vari.*HMM: {name} must be at least 0, got -1"):
        VariationalCategoricalHMM(2, **{name: -1}).fit(X)
    with pytest.raises(ValueError, match=rf"^Vari.*HMM: {name}_ must have a positive sum"):
        VariationalCategoricalHMM(2, **{name: 0}).fit(X)


def test_scales_of_a_prior_are_symmetric(rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 30)
    with pytest.raises(ValueError, match=r"^Vari.*HMM: scale_prior_ must be symmetric"):
        VariationalGaussianHMM(2, scale_prior=LOPSIDED).fit(X)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("means_posterior_", np.zeros((2, 2)), "means_prior_ must be assigned beside means_post"),
        ("dof_posterior_", np.ones(2), "dof_prior_ must be assigned beside dof_posterior_ where"),
        ("startprob_prior_", np.ones(2), "startprob_posterior_ must be assigned beside"),
    ],
)
def test_posteriors_without_their_priors_are_not_overwritten(name, value, message, rng):
    model = VariationalGaussianHMM(2, init_params="", n_iter=0)
    setattr(model, name, value)
    with pytest.raises(ValueError, match=rf"^VariationalGaussianHMM: {message}"):
        model.fit(rng.standard_normal((20, 2)))
    assert getattr(model, name) is value


def test_points_without_posteriors_are_a_model():
    given = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.full((2, 3), 1 / 3)
    X = np.array([[0], [2], [1]])
    answers = []
    for model in (VariationalCategoricalHMM(2, random_state=0), CategoricalHMM(2, random_state=0)):
        model.startprob_, model.transmat_, model.emissionprob_ = given
        filter = model.filter()
        filter.update(1)
        answers.append(
            [
                model.score(X),
                *model.decode(X),
                *model.sample(9),
                *model.predict_next(X),
                filter.probabilities,
            ]
        )
        with pytest.raises(ValueError, match="X must hold symbols below 3, got 3"):
            model.score([[3]])
    for found, expected in zip(*answers, strict=True):
        assert np.array_equal(found, expected)


def test_an_overwritten_point_is_logged(caplog):
    X = np.arange(12).reshape(12, 1) % 3
    for letters, why in (("ste", "init_params contains 't'"), ("se", "transmat_prior_ was not")):
        model = VariationalCategoricalHMM(2, init_params=letters, random_state=0)
        model.transmat_ = np.eye(2)
        with caplog.at_level(logging.WARNING, "kernelmill"):
            model.fit(X)
        assert f"transmat_ was assigned but fit initialises it again, because {why}" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.WARNING, "kernelmill"):
            model.fit(X)
        assert not caplog.records
