"""Densities against SciPy, likelihoods and paths against enumeration, missing entries, samples."""

import itertools

import numpy as np
import pytest
from hmm_kinds import KINDS, assert_monotone, same_start
from scipy import stats

from kernelmill._gaussian._parameters import full_covariances
from kernelmill.hmm import CategoricalHMM, GaussianHMM, MultinomialHMM, PoissonHMM


def gaussian_density(x, mean, covariance):
    """Log density of what is there of one row."""
    seen = np.isfinite(x)
    if not seen.any():
        return 0.0
    return stats.multivariate_normal.logpdf(x[seen], mean[seen], covariance[np.ix_(seen, seen)])


def density_of(model, X):
    """log b_t(j), row by row and state by state, from SciPy."""
    K, kind = model.n_components, type(model).__name__
    found = np.zeros((len(X), K))
    for t, j in itertools.product(range(len(X)), range(K)):
        x = np.asarray(X[t])
        if kind in ("GaussianHMM", "VariationalGaussianHMM"):
            found[t, j] = gaussian_density(x, model.means_[j], model.covars_[j])
        elif kind == "GMMHMM":
            parts = []
            for m in range(model.n_mix):
                d, type_ = model.n_features, model.covariance_type
                if type_ == "tied":
                    covariance = model.covars_[j]
                else:
                    covariance = full_covariances(model.covars_[j], type_, model.n_mix, d)[m]
                density = gaussian_density(x, model.means_[j, m], covariance)
                parts.append(np.log(model.weights_[j, m]) + density)
            found[t, j] = np.logaddexp.reduce(parts)
        elif kind in ("CategoricalHMM", "VariationalCategoricalHMM"):
            found[t, j] = np.log(model.emissionprob_[j, x[0]]) if x[0] >= 0 else 0.0
        elif kind == "PoissonHMM":
            seen = np.isfinite(x)
            found[t, j] = stats.poisson.logpmf(x[seen], model.lambdas_[j][seen]).sum()
        elif np.isfinite(x).all():
            found[t, j] = stats.multinomial.logpmf(x, x.sum(), model.emissionprob_[j])
    return found


def enumerated(model, X):
    """Log-likelihood, posteriors, best path and its log-probability, by all K^T paths."""
    log_b, K, T = density_of(model, X), model.n_components, len(X)
    with np.errstate(divide="ignore"):
        log_pi, log_A = np.log(model.startprob_), np.log(model.transmat_)
    paths = np.array(list(itertools.product(range(K), repeat=T)))
    logs = log_pi[paths[:, 0]] + log_b[np.arange(T), paths].sum(axis=1)
    logs = logs + log_A[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    total = np.logaddexp.reduce(logs)
    share = np.exp(logs - total)
    posteriors = np.array([[share[paths[:, t] == j].sum() for j in range(K)] for t in range(T)])
    return total, posteriors, paths[logs.argmax()], logs.max()


def with_missing(X, kind):
    """The same rows with some entries missing, in the way that the kind of model takes."""
    if "Categorical" in kind.name:
        X = X.copy()
        X[1] = -3
        return X
    X = X.astype(np.float64)
    X[1] = np.nan
    if not kind.name.startswith("Multinomial"):
        X[3, 0] = np.nan
    return X


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("K", [1, 2, 3])
def test_scores_equal_enumeration(kind, K, missing, rng):
    rows = kind.rows(rng, 46)
    symbols = {"n_features": 5} if "Categorical" in kind.name else {}
    model = kind.make(K, n_iter=3, random_state=1, **symbols).fit(rows[6:])
    X = with_missing(rows[:5], kind) if missing else rows[:5]
    total, posteriors, path, best = enumerated(model, X)
    assert model.score(X) == pytest.approx(total, rel=1e-10)
    log_prob, found = model.score_samples(X)
    assert log_prob == pytest.approx(total, rel=1e-10)
    np.testing.assert_allclose(found, posteriors, rtol=1e-8, atol=1e-12)
    log_prob, states = model.decode(X, algorithm="viterbi")
    assert log_prob == pytest.approx(best, rel=1e-10)
    assert np.array_equal(states, path)
    log_prob, states = model.decode(X, algorithm="map")
    assert np.array_equal(states, posteriors.argmax(axis=1))
    assert log_prob == pytest.approx(posteriors.max(axis=1).sum(), rel=1e-9)


def test_missing_entries_do_not_lower_the_objective(kind, rng):
    X = kind.rows(rng, 60)
    if "Categorical" in kind.name:
        X[rng.random(60) < 0.3] = -1
    else:
        X = X.astype(np.float64)
        X[rng.random(60) < 0.2] = np.nan
        if not kind.name.startswith("Multinomial"):
            X[rng.random(X.shape) < 0.2] = np.nan
    model = kind.make(2, n_iter=25, tol=-np.inf, random_state=0).fit(X, [40, 19, 1])
    assert_monotone(model, 60)


def test_only_missing_rows_change_nothing(em_kind, rng):
    """A sequence without observations has probability 1, and moves no emission."""
    X = em_kind.rows(rng, 30)
    start = em_kind.make(2, n_iter=1, random_state=0).fit(X)
    blank = np.full((10, X.shape[1]), -1 if "Categorical" in em_kind.name else np.nan)
    assert start.score(blank) == pytest.approx(0.0, abs=1e-12)
    alone = same_start(start, em_kind.make(2, n_iter=1)).fit(X)
    beside = same_start(start, em_kind.make(2, n_iter=1)).fit(np.concatenate([X, blank]), [30, 10])
    for name in em_kind.emissions:
        value = getattr(alone, name)
        np.testing.assert_allclose(getattr(beside, name), value, rtol=1e-12, err_msg=name)


def test_nan_rows_equal_a_density_of_one(rng):
    """A row of NaN says as much as the chain alone: p(x_0, x_2) summed over the state between."""
    X = KINDS["GaussianHMM-full"].rows(rng, 40)
    model = GaussianHMM(2, "full", random_state=0).fit(X)
    gap = X[:3].copy()
    gap[1] = np.nan
    pi, A = model.startprob_, model.transmat_
    b = np.exp(density_of(model, X[:3]))
    expected = (pi * b[0]) @ A @ A @ b[2]
    assert model.score(gap) == pytest.approx(np.log(expected), rel=1e-12)


@pytest.mark.parametrize("name", ["GaussianHMM-full", "GaussianHMM-diag", "GMMHMM-full"])
def test_blank_rows_are_left_out_of_the_update(name, rng):
    """Completing them would hold the parameters back; without them one step is enough here."""
    kind = KINDS[name]
    X = kind.rows(rng, 30)
    X[5:15] = np.nan
    start = kind.make(1, n_iter=1, random_state=0).fit(kind.rows(rng, 30))
    with_blank = same_start(start, kind.make(1, n_iter=1)).fit(X)
    without = same_start(start, kind.make(1, n_iter=1)).fit(X[np.isfinite(X[:, 0])])
    for attribute in kind.emissions:
        np.testing.assert_allclose(
            getattr(with_blank, attribute), getattr(without, attribute), rtol=1e-10
        )


def test_best_states_of_several_sequences_add_up(kind, rng):
    X, lengths = kind.rows(rng, 30), [12, 0, 1, 17]
    model = kind.make(2, n_iter=3, random_state=0).fit(X, lengths)
    for algorithm in ("map", "viterbi"):
        total, states = model.decode(X, lengths, algorithm)
        alone = [model.decode(part, None, algorithm) for part in (X[:12], X[12:13], X[13:])]
        assert total == pytest.approx(sum(log_prob for log_prob, _ in alone), rel=1e-12)
        assert np.array_equal(states, np.concatenate([path for _, path in alone]))


def test_masked_and_float_symbols_are_the_same(rng):
    X = KINDS["CategoricalHMM"].rows(rng, 30)
    masked = np.ma.masked_array(X, mask=np.arange(30)[:, None] % 7 == 3)
    as_float = masked.astype(float).filled(np.nan)
    negative = masked.filled(-5)
    found = [
        CategoricalHMM(2, random_state=0, n_iter=5).fit(given).emissionprob_
        for given in (masked, as_float, as_float.astype("f2"), negative, negative[:, 0])
    ]
    for other in found[1:]:
        assert np.array_equal(found[0], other)


def null_frames():
    """Frames of one column that holds 1 and a null, in every kind of number that has nulls."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    for dtype in ("boolean", "Int64", "UInt8", "Float64"):
        yield pandas.DataFrame({"a": pandas.array([1, None], dtype=dtype)})
    polars = pytest.importorskip("polars", reason="needs polars")
    for dtype in (polars.Boolean, polars.UInt8, polars.Int16, polars.Float32):
        yield polars.DataFrame({"a": polars.Series([1, None]).cast(dtype)})
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    for dtype in (arrow.bool_(), arrow.uint8(), arrow.int64()):
        yield arrow.table({"a": arrow.array([1, None]).cast(dtype)})


def test_nulls_of_frames_are_missing_symbols():
    X = [[1], [-1]]
    plain = CategoricalHMM(2, random_state=0, n_features=3).fit(X)
    for frame in null_frames():
        model = CategoricalHMM(2, random_state=0, n_features=3).fit(frame)
        assert np.array_equal(model.emissionprob_, plain.emissionprob_)
        assert model.score(frame) == model.score([frame]) == plain.score(X)


def test_samples_have_the_moments_of_the_model(kind, rng):
    X = kind.rows(rng, 90)
    model = kind.make(2, n_iter=5, random_state=0).fit(X)
    T = 40_000
    rows, states = model.sample(T, random_state=3)
    assert states.dtype == np.int64
    assert rows.shape == (T, X.shape[1])
    again = model.sample(T, random_state=3)
    assert np.array_equal(again[0], rows)
    assert np.array_equal(again[1], states)
    moves = np.zeros((2, 2))
    np.add.at(moves, (states[:-1], states[1:]), 1.0)
    leaving = moves.sum(axis=1, keepdims=True)
    error = np.sqrt(0.25 / np.maximum(leaving, 1.0))
    # Five standard errors of a proportion.
    assert (np.abs(moves / np.maximum(leaving, 1.0) - model.transmat_) < 5 * error + 1e-9).all()
    means = model._model()[1].means
    for j in range(2):
        own = rows[states == j]
        if not len(own):
            continue
        if "Categorical" in kind.name:
            share = np.bincount(own[:, 0], minlength=means.shape[1]) / len(own)
            assert (np.abs(share - means[j]) < 5 * np.sqrt(0.25 / len(own)) + 1e-9).all()
        else:
            error = own.std(axis=0) / np.sqrt(len(own))
            assert (np.abs(own.mean(axis=0) - means[j]) < 5 * error + 1e-9).all()


@pytest.mark.parametrize("covariance", ["spherical", "diag", "full", "tied"])
def test_gaussian_samples_have_the_covariance(covariance, rng):
    model = GaussianHMM(2, covariance)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.full((2, 2), 0.5)
    model.means_ = np.zeros((2, 2))
    matrix = np.array([[2.0, 0.8], [0.8, 1.0]])
    model.covars_ = {
        "spherical": np.array([2.0, 0.5]),
        "diag": np.array([[2.0, 1.0], [0.5, 3.0]]),
        "full": np.stack([matrix, matrix / 4]),
        "tied": matrix,
    }[covariance]
    X, states = model.sample(40_000, random_state=0)
    for j in range(2):
        own = X[states == j]
        # The standard error of a covariance is at most the product of deviations over root n / 2.
        allowed = 5 * np.sqrt(2.0 / len(own)) * np.diagonal(model.covars_[j]).max()
        assert np.abs(np.cov(own.T) - model.covars_[j]).max() < allowed


def test_a_sample_goes_on_from_a_state(rng):
    model = PoissonHMM(2, random_state=0).fit(KINDS["PoissonHMM"].rows(rng, 40))
    for state in (0, 1):
        assert model.sample(3, random_state=1, currstate=state)[1][0] == state
    with pytest.raises(ValueError, match="currstate must be below 2, got 2"):
        model.sample(3, currstate=2)
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got 0"):
        model.sample(0)


def test_probabilities_at_float32_are_probabilities(rng):
    """They are off by more than `from_matrix` and NumPy's multinomial let pass."""
    table = rng.dirichlet(np.ones(7), 7).astype(np.float32).astype(np.float64)
    model = MultinomialHMM(7, n_trials=5)
    model.startprob_, model.transmat_ = table[0], table
    model.emissionprob_ = np.c_[table * (1 + 4e-6), np.zeros(7)]
    pi = model.get_stationary_distribution()
    # Rows are off by 7 eps of float32 at most.
    np.testing.assert_allclose(pi @ table, pi, rtol=7 * np.finfo(np.float32).eps)
    assert (model.sample(20, random_state=0)[0].sum(axis=1) == 5).all()


@pytest.mark.parametrize("trials", [-3, 2.5, np.inf, [2, 3]])
def test_trials_of_a_sample(trials):
    model = MultinomialHMM(1, n_trials=trials)
    model.startprob_, model.transmat_, model.emissionprob_ = [1.0], [[1.0]], [[0.5, 0.5]]
    assert np.isfinite(model.score([[1, 2]]))
    message = "n_trials must be a single whole number of at least 0 for sample, got"
    with pytest.raises(ValueError, match=f"^MultinomialHMM: {message} "):
        model.sample(3)


def test_random_states_of_a_sample(kind, rng):
    model = kind.make(1, n_iter=1, random_state=0).fit(kind.rows(rng, 10))
    message = r"random_state must be .*, a whole number in \[0, 2\*\*32\), .*, got -1"
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: {message}"):
        model.sample(1, random_state=-1)
    with pytest.raises(ValueError, match=f"^{type(model).__name__}: {message}"):
        model.set_params(random_state=-1).sample(1)


def test_rates_and_probabilities_of_zero(rng):
    poisson = PoissonHMM(2)
    poisson.startprob_, poisson.transmat_ = np.full(2, 0.5), np.full((2, 2), 0.5)
    poisson.lambdas_ = np.array([[0.0, 2.0], [1.0, 0.0]])
    X = np.array([[0, 3], [2, 0], [0, 0]])
    np.testing.assert_allclose(poisson.score(X), enumerated(poisson, X)[0], rtol=1e-12)
    assert poisson.score([[1, 1]]) == -np.inf
    multinomial = MultinomialHMM(2)
    multinomial.startprob_, multinomial.transmat_ = np.full(2, 0.5), np.full((2, 2), 0.5)
    multinomial.emissionprob_ = np.array([[0.0, 1.0], [0.5, 0.5]])
    X = np.array([[0, 3], [2, 1]])
    np.testing.assert_allclose(multinomial.score(X), enumerated(multinomial, X)[0], rtol=1e-12)
    assert multinomial.predict([[2, 1]])[0] == 1


def test_large_counts_leave_the_table(rng):
    """Counts above the number of rows are computed, below it looked up: the same densities."""
    X = rng.poisson(60.0, (40, 1))
    model = PoissonHMM(2, random_state=0, n_iter=3).fit(X)
    few = X[:6]
    np.testing.assert_allclose(model.score(few), enumerated(model, few)[0], rtol=1e-12)


def test_underflow_goes_over_to_logarithms():
    """Densities of exp(-10^6) and rarely entered states: log space gives what scaling cannot."""
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    model.means_, model.covars_ = np.array([[0.0], [1000.0]]), np.array([[1e-3], [1e-3]])
    X = np.full((4, 1), 1000.0)
    expected = 4 * stats.norm.logpdf(1000.0, 0.0, np.sqrt(1e-3))
    assert model.score(X) == pytest.approx(expected, rel=1e-12)
