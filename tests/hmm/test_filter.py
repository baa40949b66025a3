"""Filtering one observation at a time equals the forward pass; predictions equal the algebra."""

import pickle

import numpy as np
import pytest
from hmm_kinds import KINDS

from kernelmill.hmm import CategoricalHMM, GaussianHMM
from kernelmill.ops import hmm


def test_updates_equal_the_forward_pass(kind, rng):
    X = kind.rows(rng, 40)
    model = kind.make(3, n_iter=3, random_state=0).fit(X)
    filter = model.filter()
    followed = np.array([filter.update(x) for x in X])
    chain, emission = model._model()
    density = emission.log_density(model._observer()(X))[0]
    filtered, log_prob = hmm.forward(density, *chain, np.array([len(X)]))
    np.testing.assert_allclose(followed, filtered, rtol=1e-8, atol=1e-12)
    assert filter.log_prob == pytest.approx(log_prob[0], rel=1e-10)
    assert filter.log_prob == pytest.approx(model.score(X), rel=1e-10)
    assert filter.n_updates == 40
    prediction, whole = filter.predict(), model.predict_next(X)
    np.testing.assert_allclose(prediction.states, whole.states[0], rtol=1e-8)
    np.testing.assert_allclose(prediction.mean, whole.mean[0], rtol=1e-8)


@pytest.mark.parametrize("gap", [10.0, 60.0, 1e4])
@pytest.mark.parametrize("chain", ["identity", "left-right", "rare", "dense"])
def test_a_state_that_underflows_can_become_probable_again(chain, gap, rng):
    """Every prefix has the likelihood of the specification in log space, and of `score`."""
    start, moves, levels = {
        "identity": ([0.5, 0.5], np.eye(2), np.repeat([0, 1], [20, 30])),
        "left-right": (
            [0.6, 0.4, 0.0],
            [[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]],
            np.repeat([1, 0, 2], [5, 20, 30]),
        ),
        "rare": ([1.0, 1e-300], [[1.0, 1e-300], [1e-305, 1.0]], np.repeat([0, 1, 0], 20)),
        "dense": ([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], np.repeat([0, 1, 0], 10)),
    }[chain]
    model = GaussianHMM(len(start))
    model.startprob_, model.transmat_ = np.array(start), np.array(moves)
    model.means_ = gap * np.arange(len(start))[:, None]
    model.covars_ = np.ones((len(start), 1))
    X = gap * levels[:, None] + rng.standard_normal((len(levels), 1))
    filter = model.filter()
    for t, x in enumerate(X, 1):
        states = filter.update(x)
        density = model._model()[1].log_density(model._observer()(X[:t]))[0]
        followed, log_prob = hmm.forward.specification(density, *model._model()[0], np.array([t]))
        np.testing.assert_allclose(states, followed[-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(states, model.predict_proba(X[:t])[-1], rtol=1e-9, atol=1e-12)
        assert filter.log_prob == pytest.approx(log_prob[0], rel=1e-9)
        assert filter.log_prob == pytest.approx(model.score(X[:t]), rel=1e-9)
    np.testing.assert_allclose(filter.predict().states, model.predict_next(X).states[0], rtol=1e-9)


def test_predictions_of_several_sequences(kind, rng):
    X, lengths = kind.rows(rng, 30), [12, 0, 1, 17]
    model = kind.make(2, n_iter=3, random_state=0).fit(X, lengths)
    found = model.predict_next(X, lengths)
    assert found.states.shape == (4, 2)
    np.testing.assert_allclose(found.states.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.states[1], model.startprob_, rtol=1e-12)
    alone = model.predict_next(X[13:])
    np.testing.assert_allclose(found.states[3], alone.states[0], rtol=1e-10)
    streamed = model.predict_next([X[:12], X[12:13], X[13:]])
    np.testing.assert_allclose(streamed.states, found.states[[0, 2, 3]], rtol=1e-10)


def test_missing_observations_only_move_the_chain(rng):
    X = KINDS["GaussianHMM-full"].rows(rng, 40)
    model = GaussianHMM(2, "full", random_state=0).fit(X)
    filter = model.filter()
    filter.update(X[0])
    ahead = filter.predict().states
    np.testing.assert_allclose(filter.update([np.nan, np.nan]), ahead, rtol=1e-12)
    assert filter.log_prob == pytest.approx(model.score(X[:1]), rel=1e-12)
    half = filter.update([X[1, 0], np.nan])
    assert half.sum() == pytest.approx(1.0)


def test_before_the_first_observation_the_start_counts(rng):
    model = CategoricalHMM(2, random_state=0).fit(KINDS["CategoricalHMM"].rows(rng, 30))
    filter = model.filter()
    prediction = filter.predict()
    assert np.array_equal(prediction.states, model.startprob_)
    np.testing.assert_allclose(prediction.mean, model.startprob_ @ model.emissionprob_, rtol=1e-12)
    filter.update(1)
    filter.update([2])
    filter.update(-1)
    assert filter.reset() is filter
    assert filter.n_updates == 0
    assert filter.log_prob == 0.0
    assert np.array_equal(filter.predict().states, model.startprob_)


def test_a_filter_keeps_its_parameters_and_travels(rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 30)
    model = GaussianHMM(2, random_state=0).fit(X)
    filter = model.filter()
    filter.update(X[0])
    other = pickle.loads(pickle.dumps(filter))
    expected = filter.update(X[1])
    model.fit(X + 5.0)
    assert np.array_equal(other.update(X[1]), expected)


def test_what_cannot_be_taken_in(rng):
    model = CategoricalHMM(2)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.eye(2)
    model.emissionprob_ = np.eye(2)
    filter = model.filter()
    filter.update(0)
    with pytest.raises(ValueError, match="x must be possible in a state that can be reached"):
        filter.update(1)
    assert filter.n_updates == 1
    assert np.array_equal(filter.probabilities, [1.0, 0.0])
    with pytest.raises(ValueError, match=r"x must hold symbols below 2, got 2$"):
        filter.update(2)
    with pytest.raises(ValueError, match="x must have 1 features, got 2"):
        filter.update([0, 1])
    with pytest.raises(ValueError, match="x must be numeric"):
        filter.update("a")


@pytest.mark.parametrize(
    ("name", "x", "message"),
    [
        ("CategoricalHMM", 1.5, r"x must be whole numbers, got 1\.5 \(encode"),
        ("PoissonHMM", [0, 1.5], r"x must be whole numbers of at least 0, got 1\.5 in entry 1$"),
        ("PoissonHMM", [1e300, 0], r"got 1e\+300 in entry 0 \(counts must stay below 2\*\*53\)$"),
        ("MultinomialHMM", [np.nan, 1, 2], "x must be NaN throughout or not at all, got NaN"),
    ],
)
def test_errors_speak_of_x(name, x, message, rng):
    """A filter takes in one observation: there are no rows to count."""
    kind = KINDS[name]
    filter = kind.make(2, random_state=0).fit(kind.rows(rng, 40)).filter()
    with pytest.raises(ValueError, match=f"^{name}: .*{message}") as caught:
        filter.update(x)
    assert "row" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["f2", "g", ">f8", "i1"])
def test_any_number_is_an_observation(dtype, kind, rng):
    X = kind.rows(rng, 30)
    model = kind.make(2, n_iter=3, random_state=0).fit(X)
    x = np.round(X[0]).clip(0)
    filters = model.filter(), model.filter()
    expected = filters[0].update(x.astype(np.float64))
    with np.errstate(all="raise"):
        assert np.array_equal(filters[1].update(x.astype(dtype)), expected)


def test_what_is_given_out_may_be_written_to(rng):
    X = KINDS["GaussianHMM-diag"].rows(rng, 30)
    model = GaussianHMM(2, random_state=0).fit(X)
    untouched, written = model.filter(), model.filter()
    for x in X[:3]:
        written.predict().states[:] = [1.0, 0.0]
        found = written.update(x)
        assert np.array_equal(found, untouched.update(x))
        found[:] = 0.0
    written.reset().probabilities[:] = 0.0
    assert np.array_equal(written.update(X[0]), untouched.reset().update(X[0]))


def test_masked_entries_are_missing(rng):
    X = KINDS["GaussianHMM-full"].rows(rng, 30)
    filters = [GaussianHMM(2, "full", random_state=0).fit(X).filter() for _ in range(2)]
    masked = filters[0].update(np.ma.array([99.0, 1.0], mask=[True, False]))
    assert np.array_equal(masked, filters[1].update([np.nan, 1.0]))
    symbols = CategoricalHMM(2, random_state=0).fit([[0], [1], [1], [0]])
    assert np.array_equal(symbols.filter().update(np.ma.masked), symbols.filter().update(-1))
    assert np.array_equal(symbols.filter().update(np.ma.array(1)), symbols.filter().update(1))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([np.inf, 0.0], r"x must be finite or NaN, got \[inf, 0.0\]"),
        ([[1.0], [2.0, 3.0]], r"x must have rows of equal length, got \[\[1.0\], \[2.0, 3.0\]\]"),
        ("ab", "x must be numeric, got dtype <U2"),
    ],
)
def test_observations_that_are_none(x, message, rng):
    filter = GaussianHMM(2, random_state=0).fit(rng.standard_normal((20, 2))).filter()
    with pytest.raises(ValueError, match=f"^GaussianHMM: {message}"):
        filter.update(x)
    assert filter.n_updates == 0
