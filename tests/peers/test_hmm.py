"""Hidden Markov models beside hmmlearn's: from the same start, the same numbers.

Where the two differ on purpose, hmmlearn's way is computed here and compared with, or the fixed
points are: covariances of GMMHMM (hmmlearn takes them about the means before the update, so it goes
there slower), the bound of VariationalGaussianHMM (without its constant), priors of PoissonHMM.
"""

import logging

import numpy as np
import pytest

from kernelmill import hmm

hmmlearn_hmm = pytest.importorskip("hmmlearn.hmm", reason="needs hmmlearn")
hmmlearn_vhmm = pytest.importorskip("hmmlearn.vhmm", reason="needs hmmlearn")

K = 3
LENGTHS = [50, 1, 99]
COVARIANCES = ("spherical", "diag", "full", "tied")
RTOL = 1e-6


@pytest.fixture(autouse=True)
def _quiet():
    """hmmlearn logs a warning where MultinomialHMM is made, and where GMMHMM falls."""
    logging.getLogger("hmmlearn").setLevel(logging.CRITICAL)


def path_log_prob(model, X, states):
    """log p(X, states) by hmmlearn's densities."""
    first = np.r_[0, np.cumsum(LENGTHS)[:-1]]
    density = model._compute_log_likelihood(X)[np.arange(len(X)), states].sum()
    moves = np.delete(np.arange(len(X)), first)
    steps = model.transmat_[states[moves - 1], states[moves]]
    with np.errstate(divide="ignore"):
        return density + np.log(model.startprob_[states[first]]).sum() + np.log(steps).sum()


def blobs(rng, d=2):
    means = rng.normal(0.0, 4.0, (K, d))
    return means[rng.integers(K, size=150)] + rng.standard_normal((150, d))


def chain_start(rng):
    return {"startprob_": rng.dirichlet(np.ones(K)), "transmat_": rng.dirichlet(np.ones(K), K)}


def both(name, start, X, module=hmmlearn_hmm, n_iter=8, **options):
    """The same model by both libraries, after the same iterations from the same start."""
    fitted = []
    for library in (hmm, module):
        model = getattr(library, name)(
            n_components=K, n_iter=n_iter, tol=-np.inf, init_params="", **options
        )
        for attribute, value in start.items():
            setattr(model, attribute, np.copy(value))
        if library is module and name == "GMMHMM":
            model.n_features = X.shape[1]
        fitted.append(model.fit(X, LENGTHS))
    return fitted


def assert_equal_models(ours, theirs, X, names):
    np.testing.assert_allclose(
        ours.monitor_.history, list(theirs.monitor_.history), rtol=RTOL, err_msg="history"
    )
    for name in ("startprob_", "transmat_", *names):
        value = np.asarray(getattr(theirs, name))
        np.testing.assert_allclose(
            getattr(ours, name), value, rtol=RTOL, atol=RTOL * np.abs(value).max(), err_msg=name
        )
    assert_equal_answers(ours, theirs, X)


def assert_equal_answers(ours, theirs, X):
    assert ours.score(X, LENGTHS) == pytest.approx(theirs.score(X, LENGTHS), rel=RTOL)
    log_prob, posteriors = ours.score_samples(X, LENGTHS)
    expected = theirs.score_samples(X, LENGTHS)
    assert log_prob == pytest.approx(expected[0], rel=RTOL)
    np.testing.assert_allclose(posteriors, expected[1], rtol=RTOL, atol=RTOL)
    for algorithm in ("viterbi", "map"):
        log_prob, states = ours.decode(X, LENGTHS, algorithm=algorithm)
        expected = theirs.decode(X, LENGTHS, algorithm=algorithm)
        assert log_prob == pytest.approx(expected[0], rel=RTOL)
        if algorithm == "map":
            best = posteriors.max(axis=1)
            for path in (states, expected[1]):
                np.testing.assert_allclose(posteriors[np.arange(150), path], best, rtol=RTOL)
        else:  # paths that are equally good may differ
            for path in (states, expected[1]):
                assert path_log_prob(theirs, X, path) == pytest.approx(log_prob, rel=RTOL)
    for mine, other in zip(ours.sample(7, 0), theirs.sample(7, 0), strict=True):
        assert mine.shape == other.shape


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_gaussian(covariance, d, rng):
    X = blobs(rng, d)
    covars = {
        "spherical": np.full(K, 3.0),
        "diag": np.full((K, d), 3.0),
        "full": np.tile(3.0 * np.eye(d), (K, 1, 1)),
        "tied": 3.0 * np.eye(d),
    }[covariance]
    start = {**chain_start(rng), "means_": X[[0, 40, 70]], "covars_": covars}
    for options in (
        {},
        {
            "startprob_prior": 1.5,
            "transmat_prior": 2.0,
            "means_prior": 0.5,
            "means_weight": 2.0,
            "covars_prior": 0.3,
            "covars_weight": d + 4.0,
        },
        {"implementation": "scaling"},
    ):
        ours, theirs = both("GaussianHMM", start, X, covariance_type=covariance, **options)
        # hmmlearn reads spherical covariances of d > 1 as K d of them.
        readable = covariance != "spherical" or d == 1
        assert_equal_models(ours, theirs, X, ("means_", "covars_")[: 1 + readable])
        assert ours.aic(X, LENGTHS) == pytest.approx(theirs.aic(X, LENGTHS), rel=RTOL)
        assert ours.bic(X, LENGTHS) == pytest.approx(theirs.bic(X, LENGTHS), rel=RTOL)
        np.testing.assert_allclose(
            ours.get_stationary_distribution(), theirs.get_stationary_distribution(), rtol=RTOL
        )


def mixture_start(rng, X, covariance):
    d = X.shape[1]
    covars = {
        "spherical": np.full((K, 2), 3.0),
        "diag": np.full((K, 2, d), 3.0),
        "full": np.tile(3.0 * np.eye(d), (K, 2, 1, 1)),
        "tied": np.tile(3.0 * np.eye(d), (K, 1, 1)),
    }[covariance]
    means = X[[0, 10, 40, 50, 70, 90]].reshape(K, 2, d)
    weights = rng.dirichlet(np.ones(2), K)
    return {**chain_start(rng), "means_": means, "covars_": covars, "weights_": weights}


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_mixture_with_fixed_covariances(covariance, rng):
    X = blobs(rng)
    ours, theirs = both(
        "GMMHMM",
        mixture_start(rng, X, covariance),
        X,
        n_mix=2,
        covariance_type=covariance,
        params="stmw",
        weights_prior=1.5,
        means_weight=0.5,
        means_prior=1.0,
    )
    assert_equal_models(ours, theirs, X, ("means_", "covars_", "weights_"))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_mixture_has_the_same_fixed_points(covariance, rng):
    """Where ours has converged, an iteration of hmmlearn's changes next to nothing."""
    means = 6.0 * np.arange(2 * K)[:, None] * [1.0, -0.5]
    X = means[np.arange(150) // 5 % 6] + rng.standard_normal((150, 2))
    start = mixture_start(rng, X, covariance)
    start["means_"] = (means + 1.0).reshape(K, 2, 2)
    ours = hmm.GMMHMM(K, 2, covariance_type=covariance, init_params="", n_iter=500, tol=1e-12)
    for name, value in start.items():
        setattr(ours, name, np.copy(value))
    ours.fit(X, LENGTHS)
    # A component at the floor is none of hmmlearn's fixed points, as it has no floor.
    assert ours.monitor_.iter < 500
    assert np.abs(ours.covars_).max(axis=-1).min() > 0.1
    theirs = hmmlearn_hmm.GMMHMM(
        K, 2, covariance_type=covariance, init_params="", n_iter=1, random_state=0
    )
    for name in start:
        setattr(theirs, name, np.copy(getattr(ours, name)))
    theirs.n_features = 2
    theirs.fit(X, LENGTHS)
    for name in start:
        np.testing.assert_allclose(
            getattr(theirs, name), getattr(ours, name), rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_categorical(rng):
    X = rng.integers(0, 5, (150, 1))
    start = {**chain_start(rng), "emissionprob_": rng.dirichlet(np.ones(5), K)}
    for options in ({}, {"emissionprob_prior": 1.3, "startprob_prior": 1.2}):
        ours, theirs = both("CategoricalHMM", start, X, **options)
        assert_equal_models(ours, theirs, X, ("emissionprob_",))
        assert ours.bic(X, LENGTHS) == pytest.approx(theirs.bic(X, LENGTHS), rel=RTOL)


def test_categorical_starts_where_hmmlearn_does(rng):
    """The same seed draws the same start, so a user's fits stay what they were."""
    X = rng.integers(0, 5, (150, 1))
    options = {"random_state": 4, "n_iter": 20, "tol": -np.inf}
    ours = hmm.CategoricalHMM(K, **options).fit(X, LENGTHS)
    theirs = hmmlearn_hmm.CategoricalHMM(K, **options).fit(X, LENGTHS)
    assert_equal_models(ours, theirs, X, ("emissionprob_",))


def test_multinomial(rng):
    X = rng.multinomial(6, [0.3, 0.3, 0.4], 150)
    start = {**chain_start(rng), "emissionprob_": rng.dirichlet(np.ones(3), K)}
    ours, theirs = both("MultinomialHMM", start, X, n_trials=6)
    assert_equal_models(ours, theirs, X, ("emissionprob_",))


@pytest.mark.parametrize("d", [1, 2])
def test_poisson(d, rng):
    X = rng.poisson(rng.choice([2.0, 9.0], (150, 1)), (150, d))
    start = {**chain_start(rng), "lambdas_": rng.gamma(3.0, 1.0, (K, d))}
    ours, theirs = both("PoissonHMM", start, X)
    assert_equal_models(ours, theirs, X, ("lambdas_",))
    assert ours.bic(X, LENGTHS) == pytest.approx(theirs.bic(X, LENGTHS), rel=RTOL)


def variational_start(name, X, names, **options):
    """Where hmmlearn's fit starts, read off a fit without iterations."""
    theirs = getattr(hmmlearn_vhmm, name)(K, n_iter=0, random_state=3, **options).fit(X, LENGTHS)
    return {
        f"{attribute}_{part}_": getattr(theirs, f"{attribute}_{part}_")
        for attribute in names
        for part in ("prior", "posterior")
    }


def test_variational_categorical(rng):
    X = rng.integers(0, 5, (150, 1))
    start = variational_start(
        "VariationalCategoricalHMM", X, ("startprob", "transmat", "emissionprob")
    )
    ours = hmm.VariationalCategoricalHMM(K, n_iter=15, tol=-np.inf, init_params="")
    for name, value in start.items():
        setattr(ours, name, np.copy(value))
    ours.fit(X, LENGTHS)
    theirs = hmmlearn_vhmm.VariationalCategoricalHMM(
        K, n_iter=15, tol=-np.inf, random_state=3
    ).fit(X, LENGTHS)
    names = ("emissionprob_", "emissionprob_posterior_", "transmat_posterior_")
    assert_equal_models(ours, theirs, X, names)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_variational_gaussian(covariance, rng):
    X = blobs(rng)
    names = ("startprob", "transmat", "means", "beta", "dof", "scale")
    start = variational_start("VariationalGaussianHMM", X, names, covariance_type=covariance)
    ours = hmm.VariationalGaussianHMM(K, covariance, n_iter=15, tol=-np.inf, init_params="")
    for name, value in start.items():
        setattr(ours, name, np.copy(value))
    ours.fit(X, LENGTHS)
    theirs = hmmlearn_vhmm.VariationalGaussianHMM(
        K, covariance, n_iter=15, tol=-np.inf, random_state=3
    ).fit(X, LENGTHS)
    # hmmlearn leaves out the constant of the Gaussian density.
    constant = 150 * 2 / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        np.array(ours.monitor_.history) + constant, list(theirs.monitor_.history), rtol=RTOL
    )
    for name in ("means_posterior_", "scale_posterior_", "dof_posterior_", "transmat_posterior_"):
        value = np.asarray(getattr(theirs, name))
        np.testing.assert_allclose(
            getattr(ours, name), value, rtol=RTOL, atol=RTOL * np.abs(value).max(), err_msg=name
        )
    assert_equal_answers(ours, theirs, X)


@pytest.mark.parametrize(
    "name",
    [
        "GaussianHMM",
        "GMMHMM",
        "CategoricalHMM",
        "MultinomialHMM",
        "PoissonHMM",
        "VariationalCategoricalHMM",
        "VariationalGaussianHMM",
    ],
)
def test_parameters_and_defaults(name):
    """Every parameter of hmmlearn's has the same default here; ours has some more."""
    theirs = getattr(hmmlearn_vhmm if name.startswith("Var") else hmmlearn_hmm, name)
    expected = theirs().get_params()
    found = getattr(hmm, name)().get_params()
    assert found.pop("device") is None
    assert found.pop("warm_start") is False
    assert found.pop("n_init") == 1
    starts = [name for name in found if name.endswith("_init")]
    assert [found.pop(name) for name in starts] == [None] * len(starts)
    assert found == expected


def test_left_right_models_stay_so_in_both(rng):
    X = np.sort(rng.integers(0, 5, 150))[:, None]
    start = {
        "startprob_": np.array([1.0, 0.0, 0.0]),
        "transmat_": np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]]),
        "emissionprob_": rng.dirichlet(np.ones(5), K),
    }
    ours, theirs = both("CategoricalHMM", start, X)
    assert_equal_models(ours, theirs, X, ("emissionprob_",))
