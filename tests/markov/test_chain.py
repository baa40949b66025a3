"""MarkovChain: fits, weights, streams, order n, sequences, samples and files."""

from __future__ import annotations

import itertools
import math
import weakref

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import kernelmill
from kernelmill.markov import MarkovChain, _sequences, select_order

EPS = np.finfo(np.float64).eps
ABBA = [list("abba"), list("cab"), list("a")]


def same(a: MarkovChain, b: MarkovChain) -> None:
    assert a.states_.tolist() == b.states_.tolist()
    for name in ("counts_", "start_counts_", "transmat_", "startprob_"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


# --- fits ---


def test_counts_by_hand():
    chain = MarkovChain().fit(ABBA)
    assert chain.classes_.tolist() == chain.states_.tolist() == ["a", "b", "c"]
    assert chain.counts_.tolist() == [[0, 2, 0], [1, 1, 0], [1, 0, 0]]
    assert chain.start_counts_.tolist() == [2, 0, 1]
    assert chain.transmat_.tolist() == [[0, 1, 0], [0.5, 0.5, 0], [1, 0, 0]]
    assert np.array_equal(chain.startprob_, np.array([2, 0, 1]) / 3)


def test_smoothing_is_the_posterior_mean():
    chain = MarkovChain(smoothing=0.5).fit(ABBA)
    counts = np.array([[0, 2, 0], [1, 1, 0], [1, 0, 0]]) + 0.5
    assert np.array_equal(chain.transmat_, counts / counts.sum(axis=1, keepdims=True))
    assert np.array_equal(chain.startprob_, np.array([2.5, 0.5, 1.5]) / 4.5)
    assert chain.counts_.sum() == 5, "pseudo-counts are not counts"
    prior = np.arange(9.0).reshape(3, 3)
    chain = MarkovChain(smoothing=prior, start_smoothing=1).fit(ABBA)
    counts = np.array([[0, 2, 0], [1, 1, 0], [1, 0, 0]]) + prior
    assert np.array_equal(chain.transmat_, counts / counts.sum(axis=1, keepdims=True))
    assert np.array_equal(chain.startprob_, np.array([3, 1, 2]) / 6)
    row = MarkovChain(smoothing=[1, 0, 0]).fit(ABBA)
    assert row.transmat_[0].tolist() == [1 / 3, 2 / 3, 0]
    assert row.startprob_[1] == 0


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_the_fit_is_the_maximum(rng, order, smoothing):
    """No distribution nearby is more likely (more probable a posteriori, with a prior)."""
    sequences = [rng.integers(0, 3, int(n)) for n in rng.integers(4, 30, 8)]
    chain = MarkovChain(order, smoothing=smoothing).fit(sequences)

    def objective(transmat):
        N = chain.counts_.sum(axis=0) if order == 0 else chain.counts_ + smoothing
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nansum(np.where(N > 0, N * np.log(transmat), 0))

    best = objective(chain.transmat_)
    if order == 0:
        frequencies = np.bincount(np.concatenate(sequences), minlength=3) + smoothing
        assert np.allclose(chain.transmat_, frequencies / frequencies.sum(), rtol=4 * EPS, atol=0)
        assert np.array_equal(chain.startprob_, chain.transmat_[0])
        return
    for _ in range(20):
        other = chain.transmat_ * np.exp(0.1 * rng.standard_normal(chain.transmat_.shape))
        other /= other.sum(axis=1, keepdims=True)
        assert objective(other) <= best


def test_forms_of_the_same_sequences(rng):
    x = rng.integers(-3, 4, 60)
    lengths = [10, 0, 30, 20]
    cuts = np.split(x, np.cumsum(lengths)[:-1])
    chain = MarkovChain(2).fit(cuts)
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    for form in (
        x,
        x[:, None],
        x.tolist(),
        x.astype(np.int8),
        x.astype(np.float64),
        pandas.Series(x),
        x.astype(object),
    ):
        same(chain, MarkovChain(2).fit(form, lengths=lengths))
    for form in (
        [cut.tolist() for cut in cuts],
        tuple(tuple(cut.tolist()) for cut in cuts),
        (cut for cut in cuts),
        lambda: iter(cuts),
        map(pandas.Series, cuts),
    ):
        same(chain, MarkovChain(2).fit(form))
    letters = MarkovChain().fit("abracadabra")
    same(letters, MarkovChain().fit(list("abracadabra")))
    same(letters, MarkovChain().fit(np.array(list("abracadabra"))))
    same(letters, MarkovChain().fit([list("abracadabra")]))
    before = x.copy()
    x.flags.writeable = False
    same(chain, MarkovChain(2).fit(x, lengths=lengths))
    assert np.array_equal(x, before)


def test_columns_of_lists_are_several_sequences():
    lists = [["a", "b", "b"], ["c"], ["b", "a"]]
    chain = MarkovChain().fit(lists)
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    polars = pytest.importorskip("polars", reason="needs polars")
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = pandas.DataFrame({"user": [1, 1, 1, 2, 3, 3], "page": list("abbcba")})
    for form in (
        pandas.Series(lists),
        table.groupby("user")["page"].apply(list),
        pandas.Series(lists, dtype=pandas.ArrowDtype(arrow.list_(arrow.string()))),
        polars.Series(lists),
        arrow.array(lists),
        arrow.chunked_array([lists[:2], lists[2:]]),
        np.array(lists, dtype=object),
    ):
        same(chain, MarkovChain().fit(form))
    for numbers in ([[1, 2, 2], [3], [2, 1]], [[1, 2], [2, 3]]):
        chain = MarkovChain().fit(numbers)
        for form in (pandas.Series(numbers), polars.Series(numbers), arrow.array(numbers)):
            same(chain, MarkovChain().fit(form))
    for empty in (polars.Series([["a"], None]), polars.Series(["a", None]), arrow.array([1, None])):
        with pytest.raises(ValueError, match="symbols must not be missing"):
            MarkovChain().fit(empty)
    with pytest.raises(ValueError, match="all symbols or all sequences, got int at place 1"):
        MarkovChain().fit(pandas.Series([["a"], 3]))


def test_columns_of_symbols_are_one_sequence():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    polars = pytest.importorskip("polars", reason="needs polars")
    chain = MarkovChain(2).fit(list("abbca"))
    for form in (
        pandas.Series(list("abbca"), dtype="category"),
        pandas.DataFrame({"page": list("abbca")}),
        polars.Series(list("abbca"), dtype=polars.Categorical),
    ):
        same(chain, MarkovChain(2).fit(form))
    numbers = MarkovChain().fit([1, 2, 1, 3])
    for kind in (object, "Int64", "category", np.float32):
        same(numbers, MarkovChain().fit(pandas.Series([1, 2, 1, 3], dtype=kind)))
    scalars = MarkovChain().fit(list(np.array([1, 2, 1, 3])))
    assert scalars.classes_.dtype == numbers.classes_.dtype
    same(numbers, scalars)
    days = pandas.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01"])
    assert MarkovChain().fit(list(days)).counts_.tolist() == [[0, 1], [1, 0]]
    for missing in (pandas.Series([1, None], dtype="Int64"), pandas.Series(["a", None])):
        with pytest.raises(ValueError, match="symbols must not be missing"):
            MarkovChain().fit(missing)


def test_an_iterator_is_read_once_and_not_kept():
    """One pass is enough: a generator is asked for a sequence when the last one is counted."""
    alive: list[weakref.ref] = []

    def runs():
        for _ in range(50):
            run = np.zeros(1 << 19, dtype=np.int8)
            run[::3] = 1
            alive.append(weakref.ref(run))
            yield run
            del run
            assert sum(reference() is not None for reference in alive) <= 2

    chain = MarkovChain().fit(runs())
    assert chain.start_counts_.tolist() == [0, 50]
    assert select_order((list("abab") for _ in range(3)), 1).order == 1
    assert chain.score(iter([[0, 1], [1]])) == chain.score([[0, 1], [1]])


def test_a_stream_stops_where_its_weights_end():
    def endless():
        while True:
            yield [0, 1]

    with pytest.raises(ValueError, match="one weight per sequence, got 2 for 3 sequences"):
        MarkovChain().fit(endless(), sample_weight=[1, 1])


def test_symbols_of_any_kind():
    things = [None, (1, 2), "a", frozenset({3}), 4.5, None, "a", None]
    chain = MarkovChain().fit([things])
    assert chain.classes_.tolist() == [None, (1, 2), "a", frozenset({3}), 4.5], "as they appear"
    assert chain.counts_[chain.classes_.tolist().index("a")].sum() == 2
    assert chain.score([things]) == pytest.approx(4 * math.log(1 / 2), rel=1e-12)
    days = MarkovChain().fit(np.array(["2020-01-01", "2020-01-02"] * 3, dtype="datetime64[D]"))
    assert len(days.classes_) == 2
    assert MarkovChain().fit([True, False, True]).classes_.tolist() == [False, True]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_weights_equal_repetition(rng, order):
    sequences = [rng.integers(0, 4, int(n)) for n in rng.integers(2, 9, 20)]
    sequences[3] = np.array([9, 9, 9, 8])  # symbols that only a sequence of no weight has
    weight = rng.integers(0, 4, 20)
    weight[3] = 0
    repeated = [s for s, w in zip(sequences, weight, strict=True) for _ in range(w)]
    chain = MarkovChain(order, smoothing=0.25).fit(repeated)
    same(chain, MarkovChain(order, smoothing=0.25).fit(sequences, sample_weight=weight))
    stream = MarkovChain(order, smoothing=0.25).fit(iter(sequences), sample_weight=weight)
    same(chain, stream)
    flat = MarkovChain(order, smoothing=0.25).fit(
        np.concatenate(sequences), lengths=[len(s) for s in sequences], sample_weight=weight
    )
    same(chain, flat)
    total = chain.score(repeated)
    kept = [s for s, w in zip(sequences, weight, strict=True) if w]
    assert chain.score(kept, sample_weight=weight[weight > 0]) == pytest.approx(total, rel=1e-13)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("smoothing", [0, 1])
def test_streams_and_partial_fits_equal_one_fit(rng, order, smoothing, monkeypatch):
    monkeypatch.setattr("kernelmill.markov._symbols._BATCH", 50)
    sequences = [rng.integers(0, 2 + i // 10, 12).tolist() for i in range(40)]
    whole = MarkovChain(order, smoothing=smoothing).fit(sequences)
    same(whole, MarkovChain(order, smoothing=smoothing).fit(iter(sequences)))
    parts = MarkovChain(order, smoothing=smoothing)
    for first in range(0, 40, 7):
        parts.partial_fit(sequences[first : first + 7])
    same(whole, parts)
    same(whole, parts.fit(sequences))
    with pytest.raises(ValueError, match=f"order must stay {order} in partial_fit, got 9"):
        parts.set_params(order=9).partial_fit(sequences)


def test_a_state_that_is_never_left_goes_on_for_ever():
    chain = MarkovChain().fit([["home", "cart", "buy"], ["home", "leave"]])
    absorbing = [c.states for c in chain.communicating_classes() if c.recurrent]
    assert absorbing == [["buy"], ["leave"]]
    assert chain.hitting_probabilities("buy")[chain.states_ == "home"] == 0.5
    assert chain.score([["home", "cart", "buy", "buy"]]) == math.log(0.5)
    second = MarkovChain(2).fit([list("xab"), list("yac")])
    # What was seen, and what "b for ever" and "c for ever" pass through.
    seen = {"xa", "ya", "ab", "ac", "bb", "cc"}
    assert {"".join(state) for state in second.states_.tolist()} == seen
    assert np.allclose(second.transmat_.sum(axis=1), 1, rtol=0, atol=EPS)
    assert second.hitting_probabilities("b").tolist() == [
        float(state[0] in "xb" or state[1] == "b") for state in second.states_.tolist()
    ]


def test_order_n_is_order_one_on_tuples(rng):
    x = rng.integers(0, 3, 400)
    chain = MarkovChain(2).fit(x)
    pairs = MarkovChain().fit([list(itertools.pairwise(x.tolist()))])
    assert pairs.states_.tolist() == chain.states_.tolist()
    assert np.array_equal(chain.n_step_transmat(1), pairs.transmat_)
    assert np.array_equal(chain.startprob_, pairs.startprob_)
    assert chain.score(x) == pytest.approx(
        pairs.score([list(itertools.pairwise(x.tolist()))]), rel=1e-12
    )
    assert np.allclose(
        chain.stationary_distribution(), pairs.stationary_distribution(), rtol=1e-12, atol=0
    )
    assert np.allclose(
        chain.hitting_times(2), pairs.hitting_times([(i, 2) for i in range(3)]), rtol=1e-12, atol=0
    )


# --- sequences ---


def test_probabilities_of_all_sequences_add_up_to_one(rng):
    fitted = MarkovChain(2).fit(rng.integers(0, 3, 200))
    assert len(fitted.states_) == 9
    for chain in (fitted, MarkovChain(smoothing=1).fit(rng.integers(0, 3, 50)), fitted):
        for T in range(1, 6):
            every = [list(s) for s in itertools.product(range(3), repeat=T)]
            assert np.exp(chain.score_samples(every)).sum() == pytest.approx(1, rel=1e-13)


def test_score_is_the_product_of_probabilities():
    A = np.array([[0.2, 0.8], [0.6, 0.4]])
    chain = MarkovChain.from_matrix(A, [0.3, 0.7], classes=["u", "v"])
    log_prob = chain.score_samples(["u", "v", "v", "u", "v"], lengths=[3, 0, 2])
    assert log_prob[0] == pytest.approx(math.log(0.3 * 0.8 * 0.4), rel=1e-14)
    assert log_prob[1] == 0
    assert log_prob[2] == pytest.approx(math.log(0.3 * 0.8), rel=1e-14)
    text = chain.score(["u", "v", "v", "u", "v"], lengths=[3, 0, 2])
    assert text == pytest.approx(log_prob.sum(), rel=1e-14)
    stuck = MarkovChain.from_matrix([[1, 0], [0.5, 0.5]])
    assert stuck.score([0, 1]) == -np.inf
    assert stuck.score([[0, 1], [0, 0]], sample_weight=[0, 1]) == pytest.approx(-math.log(2))
    second = MarkovChain(2).fit("aab")
    assert second.score("ba") == -np.inf, "a history that was never seen"
    with pytest.raises(ValueError, match="symbols must be in classes_, got 'w'"):
        chain.score(["u", "w"])
    assert chain.score(["u", "v"]) < 0, "an unknown symbol left no trace"
    known = MarkovChain(classes=["u", "w"], smoothing=1).fit([["u", "u", "v"]])
    assert known.classes_.tolist() == ["u", "v", "w"]
    assert np.isfinite(known.score([["w", "w"]]))


def test_criteria_count_what_is_free(rng):
    x = rng.integers(0, 3, 100)
    for order, free in ((0, 2), (1, 6 + 2), (2, 18 + 8)):
        chain = MarkovChain(order).fit(x)
        assert chain.n_parameters() == free
        assert chain.aic(x) == pytest.approx(2 * free - 2 * chain.score(x), rel=1e-14)
        expected = free * math.log(100) - 2 * chain.score(x)
        assert chain.bic(x) == pytest.approx(expected, rel=1e-14)


def test_next_symbols(rng):
    x = rng.integers(0, 3, 300)
    chain = MarkovChain(2).fit(x)
    proba = chain.predict_proba([[0, 1, 2], [2, 0], [1], []])
    index = {state: i for i, state in enumerate(chain.states_.tolist())}
    assert np.array_equal(proba[0], chain.transmat_[index[1, 2]])
    assert np.array_equal(proba[1], chain.transmat_[index[2, 0]])
    # From Bayes' rule: p(next | so far) = p(so far, next) / p(so far).
    for row, so_far in ((proba[2], [1]), (proba[3], [])):
        joint = np.exp(chain.score_samples([[*so_far, s] for s in range(3)]))
        assert np.allclose(row, joint / joint.sum(), rtol=1e-13, atol=1e-300)
    most = chain.classes_[proba.argmax(axis=1)]
    assert chain.predict([[0, 1, 2], [2, 0], [1], []]).tolist() == most.tolist()
    with pytest.raises(ValueError, match=r"must end in a state that was seen in fit, got \('b'"):
        MarkovChain(2).fit("aab").predict_proba("ba")


# --- samples ---


def test_sampled_frequencies_are_within_exact_bounds(rng):
    """Transitions out of each state are multinomial: each count within its binomial interval."""
    P = np.array([[0.5, 0.3, 0.2, 0], [0, 0.1, 0.4, 0.5], [0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]])
    start = np.array([0.1, 0.2, 0.3, 0.4])
    chain = MarkovChain.from_matrix(P, start, random_state=3)
    X = chain.sample(50, n_sequences=2000)
    assert X.shape == (2000, 50)
    found = MarkovChain(classes=range(4)).fit(list(X))
    tests = 0
    for counts, p in ((found.start_counts_, start), *zip(found.counts_, P, strict=True)):
        n = int(counts.sum())
        for count, probability in zip(counts, p, strict=True):
            # 20 tests at 1e-6 each: a false alarm in 50 000 seeds.
            low, high = stats.binom.interval(1 - 1e-6, n, probability)
            assert low <= count <= high
            tests += 1
    assert tests == 20
    assert (found.counts_[P == 0] == 0).all()


def test_samples_do_not_depend_on_how_they_are_drawn(rng, monkeypatch):
    x = rng.integers(0, 3, 500)
    for order in (1, 2, 3):
        chain = MarkovChain(order, random_state=5).fit(x)
        drawn = chain.sample(40, n_sequences=7)
        with monkeypatch.context() as patch:
            patch.setattr(_sequences, "_DENSE_PATHS", 0)
            assert np.array_equal(chain.sample(40, n_sequences=7), drawn)
        assert np.array_equal(chain.sample(40), drawn[0])
        assert np.array_equal(chain.sample(40, random_state=5), drawn[0])
        assert not np.array_equal(chain.sample(40, random_state=6), drawn[0])
        assert np.isfinite(chain.score_samples(list(drawn))).all()
        assert chain.sample(1, start=chain.states_.tolist()[1]).shape == (1,)
        assert chain.sample(0).shape == (0,)


def test_a_start_may_be_any_array_like():
    chain = MarkovChain.from_matrix([[0.5, 0.5], [0.1, 0.9]], classes=[("x", 1), "y"])
    expected = chain.sample(9, start=[0.0, 1.0], random_state=0).tolist()
    assert chain.sample(9, start="y", random_state=0).tolist() == expected
    for module, make in (("pandas", "Series"), ("polars", "Series"), ("pyarrow", "array")):
        found = pytest.importorskip(module, reason=f"needs {module}")
        start = getattr(found, make)([0.0, 1.0])
        assert chain.sample(9, start=start, random_state=0).tolist() == expected
    assert chain.sample(1, start=("x", 1)).tolist() == [("x", 1)]
    for start, message in (
        ((0.0, 1.0), "must be a state or a distribution over the 2 states, got"),
        ([1.0], r"must have shape \(2,\), got \(1,\)"),
        (["x", "y"], r"must be numeric, got \['x', 'y'\]"),
    ):
        with pytest.raises(ValueError, match=f"MarkovChain: start {message}"):
            chain.sample(1, start=start)


def test_pseudo_counts_of_the_start_are_a_symbol_s():
    """A state of order n gets M / K of the pseudo-count, so their sum is that of order 1."""
    sequences = [list("aab"), list("ba"), list("ab")]
    for order, starts in ((1, [2, 1]), (2, [1, 1, 1, 0])):
        chain = MarkovChain(order, smoothing=0.5).fit(sequences)
        K = len(starts)
        expected = (np.array(starts) + 0.5 * 2 / K) / (3 + 0.5 * 2)
        assert np.allclose(chain.startprob_, expected, rtol=4 * EPS, atol=0)


def test_samples_of_order_two_follow_its_law():
    flip = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]]
    chain = MarkovChain.from_matrix(flip, order=2, classes=["a", "b"])
    X = chain.sample(20_000, random_state=1)
    found = MarkovChain(2).fit(X)
    for counts, p in zip(found.counts_, np.array(flip), strict=True):
        low, high = stats.binom.interval(1 - 1e-6, int(counts.sum()), p[0])
        assert low <= counts[0] <= high


# --- files, clones, refusals ---


@pytest.mark.parametrize("order", [1, 2])
def test_saved_and_loaded(tmp_path, rng, order):
    for symbols in (list("abc"), [3, 1, 2], [("x", 1), None, "y"]):
        x = [[symbols[i] for i in rng.integers(0, 3, 50)]]
        chain = MarkovChain(order, smoothing=0.5, random_state=0).fit(x)
        kernelmill.save(chain, tmp_path / "chain.safetensors")
        again = kernelmill.load(tmp_path / "chain.safetensors")
        same(chain, again)
        assert again.get_params() == chain.get_params()
        assert again.score(x) == chain.score(x)
        assert np.array_equal(again.sample(9), chain.sample(9))
        same(again.partial_fit(x), MarkovChain(order, smoothing=0.5).fit(x * 2))


def test_clones_and_failed_fits():
    chain = MarkovChain(2, smoothing=0.1).fit("abab")
    assert clone(chain).get_params() == chain.get_params()
    assert repr(chain) == "MarkovChain(order=2, smoothing=0.1)"
    with pytest.raises(NotFittedError):
        clone(chain).stationary_distribution()
    with pytest.raises(NotFittedError):
        clone(chain).score("ab")
    kept = chain.transmat_

    def interrupted():
        yield ["c", "c", "b"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chain.partial_fit(interrupted())
    assert chain.transmat_ is kept
    with pytest.raises(ValueError, match="at least 2 symbols for order 2, got 1 in sequence 1"):
        chain.fit([["a", "b"], ["c"]])
    assert chain.transmat_ is kept


@pytest.mark.parametrize(
    ("parameters", "sequences", "arguments", "message"),
    [
        ({"order": -1}, "ab", {}, "order must be a whole number of at least 0, got -1"),
        ({"smoothing": -1.0}, "ab", {}, "smoothing must be a number of at least 0"),
        ({"smoothing": [1.0]}, "ab", {}, r"smoothing must be .* got shape \(1,\)"),
        ({"smoothing": np.eye(2), "order": 2}, "ab", {}, r"smoothing must be .* got shape"),
        ({"smoothing": np.eye(2), "order": 0}, "ab", {}, r"of shape \(2,\), got shape \(2, 2\)"),
        ({"smoothing": ["a"]}, "ab", {}, r"smoothing must be numeric, got \['a'\]"),
        ({}, [], {}, "must have at least one symbol and a weight above 0"),
        ({}, [[]], {}, "must have at least one symbol and a weight above 0"),
        ({}, "ab", {"sample_weight": [0]}, "must have at least one symbol and a weight above 0"),
        ({}, "ab", {"sample_weight": [1, 1]}, "one weight per sequence, got 2 for 1 sequences"),
        ({}, [[1], [2]], {"sample_weight": [1, -1]}, "at least 0, got -1 for sequence 1"),
        ({}, iter([[1], [2]]), {"sample_weight": [1]}, "got 1 for 2 sequences"),
        ({}, iter([[1], [2]]), {"sample_weight": [1] * 3}, "got 3 for 2 sequences"),
        ({}, "ab", {"lengths": [1]}, "add up to the 2 symbols, got a sum of 1"),
        ({}, "ab", {"lengths": [1.0, 1.0]}, "lengths must be whole numbers"),
        ({}, [[1], [2]], {"lengths": [1, 1]}, "lengths must be None for several sequences"),
        ({}, ["ab", "cd"], {}, "must not be a flat list of texts"),
        ({}, [1, [2]], {}, "must be all symbols or all sequences, got int at place 0"),
        ({}, np.zeros((3, 2)), {}, r"1-D arrays of symbols, got shape \(3, 2\)"),
        ({}, [1.0, np.nan], {}, "symbols must not be missing, got nan"),
        ({}, np.array([1.0, np.nan]), {}, "symbols must not be missing, got nan"),
        ({"order": 40}, np.arange(100), {}, "order must be lower for 100 symbols, got 40"),
        ({"order": 5, "smoothing": 1}, np.arange(100), {}, "order must be lower for 100 symbols"),
    ],
)
def test_refusals(parameters, sequences, arguments, message):
    with pytest.raises(ValueError, match=f"MarkovChain: .*{message}"):
        MarkovChain(**parameters).fit(sequences, **arguments)


@pytest.mark.parametrize("lengths", [[2**63 - 1, 2**63 - 1, 8], np.array([2**64 - 1, 7], "u8")])
def test_lengths_whose_sum_wraps(lengths):
    """In 64 bits their sum is that of the symbols."""
    message = "add up to the 6 symbols, got a sum of 184467440737095516"
    for run in (MarkovChain().fit, lambda *a, **k: select_order(*a, 1, **k)):
        with pytest.raises(ValueError, match=f"(MarkovChain|select_order): lengths .* {message}"):
            run(np.arange(6), lengths=lengths)


def test_refusals_of_kinds():
    with pytest.raises(TypeError, match="symbols must be hashable, got dict"):
        MarkovChain().fit([[{}]])
    with pytest.raises(TypeError, match="iterable of lists or arrays of symbols, got int"):
        MarkovChain().fit(iter([1, 2]))
    with pytest.raises(TypeError, match="sequences must be an array, a str, a list"):
        MarkovChain().fit(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.5, 0.5]],), r"transmat must have shape \(M\*\*1, M\), got \(1, 2\)"),
        (([[0.5, 0.4], [0.5, 0.5]],), "transmat must sum to 1, got 0.9 in row 0"),
        (([[1.5, -0.5], [0.5, 0.5]],), "transmat must be at least 0 everywhere, got -0.5"),
        (([[np.nan, 1], [0.5, 0.5]],), "transmat must be at least 0 everywhere"),
        ((np.eye(2), [1.0]), r"startprob must have shape \(2,\)"),
        ((np.eye(2), [0.6, 0.6]), "startprob must sum to 1, got 1.2"),
        (("abc",), "transmat must be numeric, got 'abc'"),
        (([[1], [1, 2]],), r"transmat must have rows of equal length, got \[\[1\], \[1, 2\]\]"),
        ((np.eye(2), "ab"), "startprob must be numeric, got 'ab'"),
    ],
)
def test_matrices_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=f"MarkovChain: {message}"):
        MarkovChain.from_matrix(*arguments)


def test_float32_rows_are_accepted(rng):
    """Rows sum to one within 1e-5 and are divided by their sums."""
    P = rng.random((200, 200)).astype(np.float32)
    P /= P.sum(axis=1, keepdims=True)
    assert abs(P.sum(axis=1, dtype=np.float64) - 1).max() > 1e-8, "else this shows nothing"
    chain = MarkovChain.from_matrix(P, P[0])
    for p in (chain.transmat_, chain.startprob_[None]):
        assert np.allclose(p.sum(axis=1), 1, rtol=0, atol=4 * EPS)
    assert np.allclose(chain.transmat_, P, rtol=1e-6, atol=0)
    assert np.allclose(chain.distribution(3, start=P[1]), P[1] @ P @ P @ P, rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match=r"transmat must sum to 1, got 0\.99998 in row 1"):
        MarkovChain.from_matrix([[1, 0], [0.5, 0.49998]])


def test_matrices_have_names_for_their_states():
    with pytest.raises(ValueError, match="classes must be 2 different symbols"):
        MarkovChain.from_matrix(np.eye(2), classes=["a", "a"])
    with pytest.raises(ValueError, match=r"classes must be 2 different symbols, .*, got 5$"):
        MarkovChain.from_matrix(np.eye(2), classes=5)
    with pytest.raises(ValueError, match="order must be a whole number of at least 1, got 0"):
        MarkovChain.from_matrix([[1.0]], order=0)
    given = np.eye(2)
    chain = MarkovChain.from_matrix(given, classes=["z", "a"])
    given[0] = 7
    assert chain.transmat_[0].tolist() == [1, 0], "a copy"
    assert chain.states_.tolist() == ["z", "a"], "in the order given"
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 0, got -1"):
        chain.sample(-1)
    with pytest.raises(ValueError, match=r"n_sequences must be None or a whole number .*, got 0"):
        chain.sample(1, n_sequences=0)
    with pytest.raises(ValueError, match="random_state must be"):
        chain.sample(1, random_state=-1)


def test_predict_before_fit_says_so():
    with pytest.raises(NotFittedError):
        MarkovChain().predict("ab")


def test_masked_symbols_are_refused():
    masked = np.ma.array([0, 1, 0, 1], mask=[False, False, True, False])
    message = "MarkovChain: symbols must not be missing, got one at place 2"
    for sequences in (masked, [masked], iter([masked]), masked[:, None]):
        with pytest.raises(ValueError, match=message):
            MarkovChain().fit(sequences)
    with pytest.raises(ValueError, match="symbols must not be missing, got masked"):
        MarkovChain().fit([0, 1, np.ma.masked, 1])
    MarkovChain().fit(np.ma.array([0, 1, 0, 1]))


def test_the_name_in_kernelmill_hmm_stays():
    import kernelmill.hmm

    assert kernelmill.hmm.MarkovChain is MarkovChain
    assert kernelmill.hmm.select_order is select_order
