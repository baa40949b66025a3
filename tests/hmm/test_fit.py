"""Fits of every kind of model: monotone, kept zeros, weights, starts, interruptions."""

import logging
import pickle

import numpy as np
import pytest
from hmm_kinds import KINDS, assert_monotone, same_start
from sklearn.exceptions import NotFittedError

import kernelmill
from kernelmill.hmm import (
    GMMHMM,
    CategoricalHMM,
    ConvergenceMonitor,
    GaussianHMM,
    MultinomialHMM,
    PoissonHMM,
    VariationalGaussianHMM,
)
from kernelmill.hmm._dirichlet import dirichlet_mode, dirichlet_start

LENGTHS = {
    "one sequence": [60],
    "two sequences": [45, 15],
    "five sequences": [1, 20, 1, 0, 33, 5],
    "one-row sequences": [1] * 12,
    "a single row": [1],
    "two rows": [2],
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_no_iteration_lowers_the_objective(kind, lengths, rng):
    X = kind.rows(rng, sum(lengths))
    model = kind.make(2, n_iter=25, tol=-np.inf, random_state=0).fit(X, lengths)
    assert model.monitor_.iter == 25
    assert_monotone(model, len(X))


def test_duplicates_do_not_lower_it(kind, rng):
    X = np.repeat(kind.rows(rng, 2), [30, 10], axis=0)
    model = kind.make(3, n_iter=25, tol=-np.inf, random_state=0).fit(X, [25, 15])
    assert_monotone(model, len(X))


def test_constant_rows_do_not_lower_it(kind, rng):
    X = np.repeat(kind.rows(rng, 1), 20, axis=0)
    model = kind.make(3, n_iter=25, tol=-np.inf, random_state=0).fit(X)
    assert_monotone(model, len(X))


def test_priors_do_not_lower_it(em_kind, rng):
    """With priors the log-likelihood alone may fall, the objective may not."""
    X = em_kind.rows(rng, 60)
    priors = {
        "GaussianHMM": {
            "means_prior": 1.0,
            "means_weight": 5.0,
            "covars_prior": 0.5,
            "covars_weight": 9.0,
        },
        "GMMHMM": {"weights_prior": 3.0, "means_prior": 2.0, "means_weight": 4.0},
        "CategoricalHMM": {"emissionprob_prior": 4.0},
        "PoissonHMM": {"lambdas_prior": 30.0, "lambdas_weight": 5.0},
    }.get(em_kind.name.partition("-")[0], {})
    model = em_kind.make(
        2,
        startprob_prior=3.0,
        transmat_prior=np.array([[9.0, 2.0], [1.0, 20.0]]),
        n_iter=30,
        tol=-np.inf,
        random_state=1,
        **priors,
    ).fit(X, [40, 20])
    assert_monotone(model, len(X))
    assert model.monitor_.history != model.monitor_.objective


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("covariance", ["spherical", "diag", "full", "tied"])
def test_wishart_and_gamma_priors_do_not_lower_it(covariance, d, rng):
    X = KINDS["GMMHMM-diag"].rows(rng, 60, d)
    if covariance in ("full", "tied"):
        priors = {"covars_prior": 2.0 * np.eye(d), "covars_weight": d + 3.0}
    else:
        priors = {"covars_prior": 2.0, "covars_weight": 1.5}
    model = KINDS[f"GMMHMM-{covariance}"].make(
        2, n_iter=30, tol=-np.inf, random_state=1, means_weight=2.0, **priors
    )
    assert_monotone(model.fit(X), len(X))


def test_more_states_than_the_data_need(kind, rng):
    X = kind.rows(rng, 40)
    model = kind.make(7, n_iter=20, tol=-np.inf, random_state=0).fit(X, [20, 20])
    assert_monotone(model, len(X))


def test_a_state_that_is_never_visited_keeps_its_parameters(em_kind, rng):
    X = em_kind.rows(rng, 40)
    start = em_kind.make(3, n_iter=1, random_state=0).fit(X)
    model = same_start(start, em_kind.make(3, n_iter=5, tol=-np.inf))
    model.startprob_ = np.array([0.5, 0.5, 0.0])
    model.transmat_ = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.3, 0.4]])
    before = {name: np.copy(getattr(model, name)) for name in em_kind.emissions}
    row = model.transmat_[2].copy()
    model.fit(X)
    assert np.array_equal(model.transmat_[2], row)
    for name, value in before.items():
        if name in ("_covars_", "covars_") and model.get_params().get("covariance_type") == "tied":
            value = value.reshape(-1, *value.shape[-2:])
            if len(value) == 1:
                continue  # all states share it
        found = np.reshape(getattr(model, name), value.shape)
        assert np.array_equal(found[2], value[2]), name
    assert_monotone(model, len(X))


@pytest.mark.parametrize("covariance", ["spherical", "diag", "full", "tied"])
def test_a_start_below_the_floor_is_raised_first(covariance, rng):
    """Rows on top of each other are likeliest without any spread: the floor is no way down."""
    X = np.repeat(rng.standard_normal((3, 2)), 10, axis=0)
    model = GaussianHMM(3, covariance, init_params="st", n_iter=10, tol=-np.inf, random_state=0)
    model.means_ = X[::10].copy()
    tiny = {"spherical": np.ones(3), "diag": np.ones((3, 2)), "tied": np.eye(2)}
    model.covars_ = 1e-12 * tiny.get(covariance, np.tile(np.eye(2), (3, 1, 1)))
    model.covars_prior = 0.0
    model.fit(X)
    assert_monotone(model, 30)
    floor = 1e-3 * np.minimum(X.var(axis=0), 1.0)
    assert (np.linalg.eigvalsh(model.covars_) >= 0.99 * floor.min()).all()


@pytest.mark.parametrize("banded", [True, False])
def test_zeros_are_kept_exactly(kind, banded, rng):
    K = 4
    mask = np.triu(np.ones((K, K)))
    if banded:
        mask *= np.tril(np.ones((K, K)), 1)
    X = kind.rows(rng, 48)
    if kind.name.startswith("Variational"):
        prior = np.eye(K)[0] + 0.0
        model = kind.make(K, startprob_prior=prior, transmat_prior=mask, random_state=0, n_iter=20)
    else:
        model = kind.make(K, random_state=0, n_iter=20, tol=-np.inf, transmat_prior=2.0)
        model.init_params = model.init_params.strip("st")
        model.startprob_ = np.eye(K)[0]
        model.transmat_ = mask / mask.sum(axis=1, keepdims=True)
    model.fit(X, [24, 24])
    assert (model.transmat_[mask == 0] == 0).all()
    assert (model.startprob_[1:] == 0).all()
    assert model.startprob_[0] == 1
    states = model.predict(X[:24])
    assert states[0] == 0
    assert np.diff(states).min() >= 0
    assert_monotone(model, len(X))


def test_weights_equal_repetition(kind, rng):
    X, lengths = kind.rows(rng, 50), [20, 18, 12]
    start = kind.make(2, n_iter=1, random_state=0).fit(X, lengths)
    weighted = same_start(start, kind.make(2, n_iter=6, tol=-np.inf))
    weighted.fit(X, lengths, sample_weight=[2, 0, 1])
    repeated = same_start(start, kind.make(2, n_iter=6, tol=-np.inf))
    repeated.fit(np.concatenate([X[:20], X[:20], X[38:]]), [20, 20, 12])
    assert_same_fit(weighted, repeated, 50)


def test_a_weight_of_zero_is_no_sequence(kind, rng):
    """Starts, priors, numbers of symbols and of trials do not see it."""
    X, other = kind.rows(rng, 50), 3 * kind.rows(rng, 15) + 30
    together = np.concatenate([X[:30], other, X[30:]])
    alone = kind.make(2, n_iter=6, tol=-np.inf, random_state=0).fit(X, [30, 20])
    beside = kind.make(2, n_iter=6, tol=-np.inf, random_state=0)
    beside.fit(together, [30, 15, 20], sample_weight=[1, 0, 1])
    assert_same_fit(beside, alone, 50)
    assert vars(beside).get("n_trials_") == vars(alone).get("n_trials_")


@pytest.mark.parametrize("scale", [2.0**-66, 2.0**66])
def test_the_unit_of_weights_changes_nothing(em_kind, scale, rng):
    """Where priors are flat; only what is small beside all weight counts as no weight."""
    X, lengths = em_kind.rows(rng, 50), [30, 20]
    flat = {"covars_prior": 0.0} if em_kind.name.startswith("GaussianHMM") else {}
    one, other = (
        em_kind.make(2, n_iter=6, tol=-np.inf, random_state=0, **flat).fit(X, lengths, weight)
        for weight in ([1.0, 2.0], [scale, 2.0 * scale])
    )
    other.monitor_.history = [value / scale for value in other.monitor_.history]
    assert_same_fit(other, one, 50)


def test_trials_of_sequences_without_weight(rng):
    """Rows of weight 0 are not compared with the trials, and are counted in messages."""
    X = np.concatenate([rng.multinomial(n, [0.2, 0.3, 0.5], 5) for n in (3, 4, 3)])
    for n_trials in (3, np.repeat([3, 9, 3], 5)):
        model = MultinomialHMM(1, n_trials=n_trials).fit(X, [5, 5, 5], [1, 0, 1])
        assert model.n_trials_ == 3
    X[12] = [1, 1, 0]
    for data, lengths in ((X, [5, 5, 5]), (np.split(X, 3), None)):
        with pytest.raises(ValueError, match="got 2 instead of 3 in row 12"):
            MultinomialHMM(1, n_trials=3).fit(data, lengths, [1, 0, 1])


def assert_same_fit(a, b, rows):
    """Equal within rounding: a few T K eps, amplified by six iterations."""
    rtol = 1e3 * rows * np.finfo(np.float64).eps
    np.testing.assert_allclose(a.monitor_.history, b.monitor_.history, rtol=rtol)
    for name, value in vars(b).items():
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            np.testing.assert_allclose(
                getattr(a, name), value, rtol=rtol, atol=rtol * np.abs(value).max(), err_msg=name
            )


def test_groups_of_sequences_equal_one_group(kind, rng, monkeypatch):
    X, lengths = kind.rows(rng, 50), [20, 0, 18, 12]
    start = kind.make(2, n_iter=1, random_state=0).fit(X, lengths)
    whole = same_start(start, kind.make(2, n_iter=6, tol=-np.inf)).fit(X, lengths)
    monkeypatch.setattr("kernelmill.hmm._sequences._GROUP_ENTRIES", 2 * 20)
    cut = same_start(start, kind.make(2, n_iter=6, tol=-np.inf)).fit(X, lengths)
    assert_same_fit(cut, whole, 50)
    np.testing.assert_allclose(cut.predict_proba(X, lengths).sum(axis=1), 1.0, rtol=1e-12)
    assert np.array_equal(cut.predict(X, lengths), whole.predict(X, lengths))
    assert cut.score(X, lengths) == pytest.approx(whole.score(X, lengths), rel=1e-10)


@pytest.mark.parametrize("letter", ["s", "t", "emissions"])
def test_params_says_what_changes(kind, letter, rng):
    X = kind.rows(rng, 40)
    start = kind.make(2, n_iter=1, random_state=0).fit(X)
    letters = start.params
    only = letters.replace("s", "").replace("t", "") if letter == "emissions" else letter
    model = same_start(start, kind.make(2, n_iter=3, tol=-np.inf, params=only))
    names = {"s": "startprob_", "t": "transmat_", "emissions": kind.emissions[0]}
    before = {key: np.copy(getattr(model, name)) for key, name in names.items()}
    model.fit(X, [25, 15])
    for key, value in before.items():
        changed = not np.array_equal(getattr(model, names[key]), value)
        assert changed == (key == letter), key
    assert_monotone(model, 40)


def test_no_iteration_only_starts(kind, rng):
    X = kind.rows(rng, 30)
    model = kind.make(2, n_iter=0, random_state=0).fit(X)
    assert model.monitor_.iter == 0
    assert np.isfinite(model.score(X))


def test_the_same_numbers_give_the_same_fit(kind, rng):
    X = kind.rows(rng, 30)
    a, b = (kind.make(2, n_iter=3, random_state=7).fit(X) for _ in range(2))
    for name, value in vars(a).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(b, name)), name
    other = kind.make(2, n_iter=3, random_state=np.random.default_rng(3)).fit(X)
    assert not np.array_equal(other.transmat_, a.transmat_)


def test_the_number_of_threads_changes_no_bit(kind, rng):
    X, lengths = kind.rows(rng, 3000), [1000, 1, 1999]
    start = kind.make(2, n_iter=1, random_state=0).fit(X, lengths)
    fits = []
    for count in (1, 2, 7):
        with kernelmill.threads(count):
            model = same_start(start, kind.make(2, n_iter=2, tol=-np.inf)).fit(X, lengths)
            fits.append((model, model.predict_proba(X, lengths), *model.sample(100, 1)))
    for model, *answers in fits[1:]:
        for name, value in vars(fits[0][0]).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, getattr(model, name)), name
        for found, expected in zip(answers, fits[0][1:], strict=True):
            assert np.array_equal(found, expected)


def test_fit_leaves_parameters_and_data_alone(kind, rng):
    X = kind.rows(rng, 30)
    model = kind.make(2, n_iter=2, random_state=np.random.RandomState(0))
    before, given = X.copy(), model.get_params()
    X.setflags(write=False)
    model.fit(X)
    assert np.array_equal(X, before)
    assert model.get_params() == given


def test_a_failed_fit_leaves_the_model_as_it_was(kind, rng, monkeypatch):
    X = kind.rows(rng, 30)
    model = kind.make(2, n_iter=2, random_state=0).fit(X)
    before = {k: np.copy(v) for k, v in vars(model).items() if isinstance(v, np.ndarray)}
    history = list(model.monitor_.history)
    interrupt(monkeypatch, model, 2)
    model.set_params(n_iter=5, tol=-np.inf, random_state=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    for name, value in before.items():
        assert np.array_equal(getattr(model, name), value), name
    assert model.monitor_.history == history


def interrupt(monkeypatch, model, call):
    """Let the M-step of this number raise what Ctrl-C does."""
    original, calls = type(model)._maximise, []

    def maximise(self, *args):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(type(model), "_maximise", maximise)


def test_a_warm_start_goes_on_from_the_parameters(kind, rng):
    X = kind.rows(rng, 40)
    whole = kind.make(2, n_iter=5, tol=-np.inf, random_state=0).fit(X, [25, 15])
    model = kind.make(2, n_iter=3, tol=-np.inf, random_state=0, warm_start=True).fit(X, [25, 15])
    history = model.monitor_.history
    model.set_params(n_iter=2).fit(X, [25, 15])
    assert history + model.monitor_.history == whole.monitor_.history
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(model, name), value), name


def test_an_interrupted_fit_goes_on(kind, rng, monkeypatch):
    X = kind.rows(rng, 40)
    whole = kind.make(2, n_iter=5, tol=-np.inf, random_state=0).fit(X)
    model = kind.make(2, n_iter=5, tol=-np.inf, random_state=0, warm_start=True)
    with monkeypatch.context() as patch:
        interrupt(patch, model, 3)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X)
    assert model.interrupted_
    history = model.monitor_.history
    assert history == whole.monitor_.history[:2]
    assert np.isfinite(model.score(X))
    model.set_params(n_iter=3).fit(X)
    assert not hasattr(model, "interrupted_")
    assert history + model.monitor_.history == whole.monitor_.history
    assert model.score(X) == whole.score(X)


def test_the_users_monitor_keeps_an_interrupted_fit(rng, monkeypatch):
    class Mine(ConvergenceMonitor):
        pass

    model = GaussianHMM(2, random_state=0, warm_start=True)
    model.monitor_ = mine = Mine(-np.inf, 9, False)
    interrupt(monkeypatch, model, 3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(rng.standard_normal((30, 1)))
    assert model.monitor_ is mine
    assert mine.iter == len(mine.history) == 2


def test_the_model_is_left_alone_until_the_fit_ends(kind, rng, monkeypatch):
    """The E- and M-steps give new arrays and set nothing."""
    X = kind.rows(rng, 30)
    model = kind.make(2, n_iter=3, random_state=0)
    original, seen = type(model)._maximise, []

    def maximise(self, state, *args):
        before = {name: np.copy(value) for name, value in state.items()}
        new = original(self, state, *args)
        seen.append(set(vars(self)) - set(self.get_params()))
        for name, value in before.items():
            assert np.array_equal(state[name], value), name
        return new

    monkeypatch.setattr(type(model), "_maximise", maximise)
    model.fit(X)
    assert seen == [{"n_features_in_"}] * len(seen)


def test_an_overwritten_start_is_logged(rng, caplog):
    """Whatever was assigned since the last fit, of this model or of a copy of it."""
    X = KINDS["GaussianHMM-diag"].rows(rng, 60)
    model = GaussianHMM(3, random_state=0)
    for number in range(3):
        model.transmat_ = np.full((3, 3), 1 / 3)
        with caplog.at_level(logging.WARNING, "kernelmill"):
            model.fit(X)
            assert "transmat_ was assigned but fit initialises it again" in caplog.text
            assert "pass a start as transmat_init" in caplog.text
            caplog.clear()
            model.fit(X)
            if number:
                model = pickle.loads(pickle.dumps(model)).fit(X)
            assert not caplog.records


@pytest.mark.parametrize("as_stream", [False, True])
def test_columns_without_values_are_refused(kind, as_stream, rng):
    X = kind.rows(rng, 60).astype(float)
    lengths = [20, 40]

    def fit(X, weight=None):
        model = kind.make(2, random_state=0)
        if "Categorical" in kind.name:
            model.set_params(n_features=9)
        if as_stream:
            return model.fit(np.split(X, [20]), sample_weight=weight)
        return model.fit(X, lengths, weight)

    blank = np.full_like(X, np.nan)
    message = "X must have an observed value in every column, got none with positive weight in "
    with pytest.raises(ValueError, match=f"{message}column 0"):
        fit(blank)
    beside = X.copy()
    beside[20:] = np.nan
    fit(beside)
    with pytest.raises(ValueError, match=f"{message}column 0"):
        fit(beside, [0.0, 1.0])
    if X.shape[1] > 1 and kind.name != "MultinomialHMM":
        partly = X.copy()
        partly[:, 1] = np.nan
        with pytest.raises(ValueError, match=f"{message}column 1"):
            fit(partly)


def test_too_few_numbers_are_logged(rng, caplog):
    with caplog.at_level(logging.WARNING, "kernelmill"):
        GaussianHMM(5, random_state=0).fit(rng.standard_normal((6, 2)))
    assert "44 free parameters are fitted to 12 numbers" in caplog.text


def test_impossible_sequences_are_refused(rng):
    model = CategoricalHMM(2, init_params="", n_iter=3)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.eye(2)
    model.emissionprob_ = np.eye(2)
    X = np.array([[0], [0], [1], [0]])
    message = r"X must be possible under the parameters, got 1 sequences of probability 0"
    with pytest.raises(ValueError, match=message):
        model.fit(X, [2, 2])
    assert model.score(X, [2, 2]) == -np.inf
    model.fit(X, [2, 2], sample_weight=[1.0, 0.0])
    assert model.monitor_.history[0] == 0.0


def test_a_bar_is_shown_and_nothing_printed(rng, capsys):
    X = KINDS["PoissonHMM"].rows(rng, 30)
    PoissonHMM(2, verbose=True, random_state=0).fit(X)
    shown = capsys.readouterr()
    assert "PoissonHMM" in shown.err
    assert not shown.out


class Recorder:
    """Keeps the score of the model that it is shown after each iteration; may stop the fit."""

    def __init__(self, stop_after=None):
        self.scores, self.ended, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.ended.append(context.task_name)
        if context.task_name == "iteration":
            self.scores.append(fitted_estimator.score(X))
        return context.task_name == "iteration" and context.task_id + 1 == self.stop_after


def test_callbacks_see_a_model_after_each_iteration(kind, rng):
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
    X, recorder = kind.rows(rng, 40), Recorder()
    model = kind.make(2, n_iter=4, tol=-np.inf, random_state=0).set_callbacks(recorder).fit(X)
    assert recorder.ended == ["iteration"] * 4 + ["run", "fit"]
    assert recorder.scores[-1] == pytest.approx(model.score(X), rel=1e-12)
    if not kind.name.startswith("Variational"):
        # The log-likelihood before each update is that of the model after the one before.
        np.testing.assert_allclose(recorder.scores[:-1], model.monitor_.history[1:], rtol=1e-10)
    stopping = Recorder(stop_after=2)
    model = kind.make(2, n_iter=9, tol=-np.inf, random_state=0).set_callbacks(stopping).fit(X)
    assert model.monitor_.iter == 2


def test_dirichlet_mode_by_hand():
    found = dirichlet_mode(
        np.array(2.0), np.array([[3.0, 0.0], [-1.0, -1.0]]), np.array([[0.5, 0.5], [0.3, 0.7]])
    )
    np.testing.assert_allclose(found, [[0.8, 0.2], [0.3, 0.7]])
    kept = dirichlet_mode(2.0, np.array([3.0, 0.0]), np.array([1.0, 0.0]), keep_zeros=True)
    assert np.array_equal(kept, [1.0, 0.0])
    cut = dirichlet_mode(0.5, np.array([0.2, 1.5]), np.array([0.5, 0.5]))
    assert np.array_equal(cut, [0.0, 1.0])


def test_dirichlet_starts_have_no_zeros():
    start = dirichlet_start(np.random.RandomState(0), 1000, 1000)
    assert (start > 0).all()
    np.testing.assert_allclose(start.sum(axis=1), 1.0, rtol=1e-12)


def test_stationary_distribution(rng):
    model = GaussianHMM(6)
    model.startprob_, model.transmat_ = np.full(6, 1 / 6), rng.dirichlet(np.ones(6), 6)
    pi = model.get_stationary_distribution()
    np.testing.assert_allclose(pi @ model.transmat_, pi, rtol=1e-12)
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.3, 0.7]])
    np.testing.assert_allclose(model.get_stationary_distribution(), [0.75, 0.25], rtol=1e-12)
    model.transmat_ = np.eye(2)
    np.testing.assert_allclose(model.get_stationary_distribution(), [0.5, 0.5], rtol=1e-12)


def test_information_criteria(em_kind, rng):
    X = em_kind.rows(rng, 40)
    model = em_kind.make(2, n_iter=2, random_state=0).fit(X)
    score = model.score(X)
    parameters = sum(model._n_fit_scalars().values())
    assert model.aic(X) == pytest.approx(2 * parameters - 2 * score, rel=1e-12)
    assert model.bic(X) == pytest.approx(np.log(40) * parameters - 2 * score, rel=1e-12)


@pytest.mark.parametrize("model", [MultinomialHMM, PoissonHMM, CategoricalHMM, GaussianHMM])
def test_before_fit_there_are_no_features(model):
    if model is not CategoricalHMM:  # whose n_features is a parameter
        assert not hasattr(model(2), "n_features")
    with pytest.raises(NotFittedError):
        model(2).get_stationary_distribution()


def test_transitions_alone_have_a_stationary_distribution():
    model = GaussianHMM(2)
    model.transmat_ = np.array([[0.7, 0.3], [0.4, 0.6]])
    np.testing.assert_allclose(model.get_stationary_distribution(), [4 / 7, 3 / 7], rtol=1e-12)


def test_unsigned_symbols_do_not_wrap_to_missing_ones():
    model = CategoricalHMM(2, n_features=3, random_state=0).fit([[0], [1], [2]])
    with pytest.raises(ValueError, match="must hold symbols below 3"):
        model.score(np.array([[2**63 + 1]], dtype=np.uint64))


# --- units ---------------------------------------------------------------------------------------


def regimes(rng, T, low, high, stay=0.95):
    """States of a chain of two, and normal numbers with one of two deviations."""
    states = np.cumsum(rng.random(T) > stay) % 2
    return states, np.where(states, high, low)[:, None] * rng.standard_normal((T, 1))


@pytest.mark.parametrize("covariance", ["spherical", "diag", "full", "tied"])
@pytest.mark.parametrize("c", [1e-3, 1e-6])
def test_default_starts_do_not_depend_on_units(covariance, c, rng):
    """Means, covariances and so the states of c X are those of X, with nothing scaled along."""
    states = np.cumsum(rng.random(400) > 0.95) % 2
    X = 6.0 * states[:, None] + rng.standard_normal((400, 2)) * [1.0, 20.0]
    options = {"covariance_type": covariance, "random_state": 0, "n_iter": 0}
    for make in (
        lambda: GaussianHMM(2, **options),
        lambda: GMMHMM(2, n_mix=2, **options),
        lambda: VariationalGaussianHMM(2, scale_prior=1e-9 * c**2, **options),
    ):
        model, unit = make().fit(c * X), make().fit(X)
        # X of unit size gets 1e-3 more; of c X a thousandth of the variance, which is above 1.
        np.testing.assert_allclose(model._covars_ / c**2, unit._covars_, rtol=2e-3)
        np.testing.assert_allclose(model.means_ / c, unit.means_, rtol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize("c", [1.0, 1e-3, 1e-5])
def test_mixtures_find_clear_states_in_small_units(c, seed):
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.random(400) > 0.95) % 2
    X = c * (6.0 * states[:, None] + rng.standard_normal((400, 1)))
    found = GMMHMM(2, n_mix=2, n_iter=50, random_state=seed).fit(X).predict(X)
    assert max((found == states).mean(), (found != states).mean()) == 1.0


def note_of(model, X):
    with pytest.warns(UserWarning, match="makes up") as caught:
        model.fit(X)
    assert len(caught) == 1
    return str(caught[0].message)


@pytest.mark.parametrize("covariance", ["spherical", "diag", "full"])
def test_a_prior_that_swamps_the_data_is_named(covariance, rng):
    """Daily returns: the share that is named is what `covars_prior` adds to the variance."""
    _, X = regimes(rng, 500, 0.006, 0.02)
    options = {"random_state": 0, "n_iter": 300, "tol": 1e-9}
    note = note_of(model := GaussianHMM(2, covariance, **options), X)
    calm = int(model.covars_[:, 0, 0].argmin())
    gamma = model.predict_proba(X)[:, calm]
    of_data = gamma @ (X[:, 0] - model.means_[calm, 0]) ** 2 / gamma.sum()
    share = 1.0 - of_data / model.covars_[calm, 0, 0]
    assert share == pytest.approx(1e-2 / gamma.sum() / model.covars_[calm, 0, 0], rel=1e-3)
    assert note == (
        f"GaussianHMM: covars_prior makes up {share:.0%} of the variance in state {calm} (lower "
        f"it, or scale X)"
    )
    GaussianHMM(2, covariance, covars_prior=1e-6, **options).fit(X)
    GaussianHMM(2, covariance, **options).fit(100.0 * X)
    GaussianHMM(2, covariance, params="stm", **options).fit(X)
    GaussianHMM(2, covariance, **options).fit(X[:3])  # few rows are what priors are for
    assert "scale_prior makes up" in note_of(
        VariationalGaussianHMM(2, covariance, **options), 0.1 * X
    )
    VariationalGaussianHMM(2, covariance, **options).fit(X)


@pytest.mark.parametrize("covariance", ["spherical", "diag", "full", "tied"])
def test_a_floor_that_swamps_the_data_is_named(covariance, rng):
    states = np.cumsum(rng.random(400) > 0.9) % 2
    X = 100.0 * states[:, None] + 0.01 * rng.standard_normal((400, 1))
    options = {"covariance_type": covariance, "random_state": 0, "n_iter": 50}
    for model in (GaussianHMM(2, covars_prior=0, **options), GMMHMM(2, **options)):
        assert ": min_covar makes up 9" in note_of(model, X)
        model.set_params(min_covar=1e-6).fit(X)
    strong = GMMHMM(2, covars_prior=1.0, covars_weight=9.0, **options)
    scatter = "covars_prior" if covariance in ("full", "tied") else "covars_weight"
    assert f"GMMHMM: {scatter} makes up" in note_of(strong, 1e-3 * X)


def test_regularisers_of_constant_features_are_not_named(rng):
    X = np.column_stack([rng.standard_normal(60), np.full(60, 7.1)])
    for dtype in (np.float32, np.float64):
        GaussianHMM(2, random_state=0).fit(X.astype(dtype))
        GMMHMM(2, random_state=0).fit(X.astype(dtype))
        VariationalGaussianHMM(2, random_state=0).fit(X.astype(dtype))
