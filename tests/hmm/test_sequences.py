"""Sequences as streams: lists, iterables, functions and Dask give what arrays give."""

import warnings

import numpy as np
import pytest
from hmm_kinds import KINDS, same_start

from kernelmill.hmm import CategoricalHMM, GaussianHMM, PoissonHMM
from kernelmill.stream import source

LENGTHS = [20, 12, 1, 17]


def sequences_of(X):
    return np.split(X, np.cumsum(LENGTHS)[:-1])


class Again:
    """An iterable that starts anew each time."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)


STREAMS = {
    "list": lambda parts: parts,
    "tuple": tuple,
    "iterable": Again,
    "function": lambda parts: lambda: iter(parts),
    "with empty ones": lambda parts: [parts[0][:0], *parts, parts[0][:0]],
}


def assert_close(a, b):
    rtol = 1e-10
    np.testing.assert_allclose(a.monitor_.history, b.monitor_.history, rtol=rtol)
    for name, value in vars(b).items():
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            scale = np.abs(value).max()
            np.testing.assert_allclose(
                getattr(a, name), value, rtol=rtol, atol=rtol * scale, err_msg=name
            )


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_streams_equal_arrays(kind, stream, rng):
    X = kind.rows(rng, sum(LENGTHS))
    chunks = stream(sequences_of(X))
    whole = kind.make(2, n_iter=4, tol=-np.inf, random_state=0).fit(X, LENGTHS)
    streamed = kind.make(2, n_iter=4, tol=-np.inf, random_state=0).fit(chunks)
    assert_close(streamed, whole)
    assert streamed.score(chunks) == pytest.approx(streamed.score(X, LENGTHS), rel=1e-12)
    assert np.array_equal(streamed.predict(chunks), streamed.predict(X, LENGTHS))
    np.testing.assert_allclose(
        streamed.predict_proba(chunks), streamed.predict_proba(X, LENGTHS), rtol=1e-10, atol=1e-14
    )


def test_weights_of_streamed_sequences(kind, rng):
    X, weight = kind.rows(rng, sum(LENGTHS)), [2.0, 0.0, 1.0, 0.5]
    start = kind.make(2, n_iter=1, random_state=0).fit(X, LENGTHS)
    whole = same_start(start, kind.make(2, n_iter=4, tol=-np.inf)).fit(X, LENGTHS, weight)
    for stream in (sequences_of(X), Again(sequences_of(X))):
        streamed = same_start(start, kind.make(2, n_iter=4, tol=-np.inf))
        streamed.fit(stream, sample_weight=weight)
        assert_close(streamed, whole)


def test_streamed_sequences_of_weight_zero_are_none(kind, rng):
    """Starts, priors, numbers of symbols and of trials do not see them."""
    parts = sequences_of(kind.rows(rng, sum(LENGTHS)))
    parts[1] = 3 * parts[1] + 30
    X, weight = np.concatenate(parts), np.array([1.0, 0.0, 1.0, 1.0])
    alone = kind.make(2, n_iter=4, tol=-np.inf, random_state=0)
    alone.fit(np.delete(X, np.s_[20:32], axis=0), [20, 1, 17])
    weighted = source(parts, np.repeat(weight, LENGTHS))
    for stream, given in ((parts, weight), (weighted, None)):
        streamed = kind.make(2, n_iter=4, tol=-np.inf, random_state=0).fit(stream, None, given)
        assert_close(streamed, alone)
        assert vars(streamed).get("n_trials_") == vars(alone).get("n_trials_")


def test_partitions_of_weight_zero_are_none(rng):
    array = pytest.importorskip("dask.array", reason="needs dask")
    import dask

    parts = sequences_of(rng.integers(0, 3, (sum(LENGTHS), 1)))
    parts[1] += 30
    chunks = array.from_array(np.concatenate(parts), chunks=(tuple(LENGTHS), -1))
    del parts[1]
    with dask.config.set(scheduler="synchronous"):
        model = CategoricalHMM(2, random_state=0).fit(chunks, sample_weight=[1, 0, 1, 1])
    assert_close(model, CategoricalHMM(2, random_state=0).fit(parts))


def test_starts_are_drawn_among_the_rows_with_weight(rng, monkeypatch):
    monkeypatch.setattr("kernelmill.hmm._sequences.MOST_ROWS", 10)
    X = np.repeat([0.0, 1.0, 2.0, 3.0], LENGTHS)[:, None]
    for stream in (X, sequences_of(X)):
        data = GaussianHMM()._sequences(
            stream, LENGTHS if stream is X else None, [1, 0, 1, 1], reset=True
        )
        assert data.some_rows.shape == (10, 1)
        assert not (data.some_rows == 1.0).any()
        assert (data.count, data.n_sequences) == (38, 3)


def test_weights_of_nothing():
    X = np.zeros((3, 1))
    message = "^GaussianHMM: sample_weight must be positive for a sequence that has rows, got only"
    for data, lengths in ((X, [3, 0]), ([X, X[:0]], None)):
        with pytest.raises(ValueError, match=message):
            GaussianHMM().fit(data, lengths, [0, 1])


def test_missing_entries_in_streams(rng):
    X = rng.standard_normal((50, 2))
    X[rng.random(X.shape) < 0.2] = np.nan
    whole = GaussianHMM(2, "full", n_iter=4, tol=-np.inf, random_state=0).fit(X, LENGTHS)
    streamed = GaussianHMM(2, "full", n_iter=4, tol=-np.inf, random_state=0).fit(sequences_of(X))
    assert_close(streamed, whole)


def test_frames_in_streams(rng):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    X = rng.standard_normal((50, 2))
    frames = [pandas.DataFrame(part, columns=["a", "b"]) for part in sequences_of(X)]
    model = GaussianHMM(2, random_state=0, n_iter=3).fit(frames)
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        model.score([frame.rename(columns={"a": "c"}) for frame in frames])


def test_dask_partitions_are_sequences(kind, rng):
    array = pytest.importorskip("dask.array", reason="needs dask")
    import dask

    X = kind.rows(rng, sum(LENGTHS))
    chunks = array.from_array(X, chunks=(tuple(LENGTHS), -1))
    weight = [1.0, 3.0, 1.0, 0.0]
    start = kind.make(2, n_iter=1, random_state=0).fit(X, LENGTHS)
    with dask.config.set(scheduler="synchronous"):
        for given in (None, weight):
            whole = same_start(start, kind.make(2, n_iter=3, tol=-np.inf)).fit(X, LENGTHS, given)
            streamed = same_start(start, kind.make(2, n_iter=3, tol=-np.inf)).fit(
                chunks, sample_weight=given
            )
            assert_close(streamed, whole)
        assert np.array_equal(streamed.predict(chunks), streamed.predict(X, LENGTHS))


def test_passes_travel_to_other_processes(rng):
    """What a Dask worker gets must be picklable."""
    import pickle

    from kernelmill.hmm import _expectation

    model = GaussianHMM(2, random_state=0).fit(rng.standard_normal((30, 2)))
    sent = (model._observer(), _expectation.expectation, *model._model())
    back = pickle.loads(pickle.dumps(sent))
    assert back[1] is _expectation.expectation


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        ([np.zeros((3, 2))], {"lengths": [3]}, ValueError, "lengths must be None where X is a"),
        ("rows.npy", {}, TypeError, "got the path 'rows.npy'"),
        (["a.parquet"], {}, TypeError, "files do not say where sequences end"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], {}, ValueError, "must have 2 features in every"),
        ([np.array([[1.0, np.inf]])], {}, ValueError, "got inf at row 0, column 1"),
        (
            [np.zeros((3, 2))],
            {"sample_weight": [1.0, 2.0]},
            ValueError,
            r"sample_weight must have shape \(1,\), one for each sequence, got \(2,\)",
        ),
    ],
)
def test_streams_that_are_none(X, options, error, message):
    with pytest.raises(error, match=message):
        GaussianHMM(1).fit(X, **options)


def test_a_generator_is_enough_for_a_score(rng):
    X = rng.standard_normal((50, 2))
    model = GaussianHMM(2, random_state=0).fit(X, LENGTHS)
    assert model.score(iter(sequences_of(X))) == pytest.approx(model.score(X, LENGTHS))
    with pytest.raises(ValueError, match="generator"):
        model.fit(part for part in sequences_of(X))


def test_an_iterator_is_refused_before_it_is_read(kind, rng):
    read = []

    def chunks():
        read.append(1)
        yield kind.rows(rng, 20)

    with pytest.raises(ValueError, match=r"got a generator \(an iterator can be read once: pass a"):
        kind.make(2).fit(chunks())
    assert not read


def test_a_source_in_memory_is_one_sequence(rng):
    X = rng.standard_normal((50, 2))
    for weight in (None, np.full(50, 2.0)):
        held = GaussianHMM(2, random_state=0).fit(source(X, weight))
        other = GaussianHMM(2, random_state=0).fit(X, None, None if weight is None else [2.0])
        assert_close(held, other)
        assert np.array_equal(held.predict(source(X, weight)), other.predict(X))


def test_weights_of_zero_in_chunks_are_ignored(rng):
    parts = sequences_of(rng.standard_normal((50, 2)))
    weight = [1.0, 0.0, 1.0, 2.0]
    pairs = [(part, np.full(len(part), w)) for part, w in zip(parts, weight, strict=True)]
    given = GaussianHMM(2, random_state=0).fit(pairs)
    assert_close(given, GaussianHMM(2, random_state=0).fit(parts, sample_weight=weight))
    assert len(given.predict(pairs)) == 50


def test_weights_beside_a_source(rng):
    X = rng.standard_normal((50, 2))
    with pytest.raises(ValueError, match="sample_weight must be None beside a Source"):
        GaussianHMM(1).fit(source(sequences_of(X)), sample_weight=[1, 1, 1, 1])
    held = source(sequences_of(X), np.repeat([1.0, 2.0, 1.0, 1.0], LENGTHS))
    weighted = GaussianHMM(2, random_state=0).fit(held)
    other = GaussianHMM(2, random_state=0).fit(X, LENGTHS, [1, 2, 1, 1])
    assert_close(weighted, other)


def test_a_memory_map_is_an_array(tmp_path, rng):
    X = rng.standard_normal((50, 2))
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    a = GaussianHMM(2, random_state=0).fit(mapped, LENGTHS)
    b = GaussianHMM(2, random_state=0).fit(X, LENGTHS)
    assert a.monitor_.history == b.monitor_.history


def test_symbols_in_streams_may_grow(rng):
    """The largest symbol may stand in the last chunk."""
    chunks = [np.array([[0], [1]]), np.array([[1], [4]])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = CategoricalHMM(2, random_state=0, tol=-np.inf).fit(chunks)
    assert model.emissionprob_.shape == (2, 5)
    with pytest.raises(ValueError, match="X must hold symbols below 5, got 5 at row 1"):
        model.score([np.array([[0], [5]])])


@pytest.mark.parametrize("wide", [np.array([[300], [0]]), np.array([[-1], [0]]), [[1.0], [np.nan]]])
def test_symbols_of_later_chunks_keep_their_values(wide):
    """A first chunk of bytes does not make bytes of the others."""
    chunks = [np.array([[0], [1], [1], [0]], dtype="u1"), np.asarray(wide)]
    whole, streamed = (CategoricalHMM(2, random_state=0, n_iter=3, tol=-np.inf) for _ in range(2))
    whole.fit(np.concatenate(chunks), [4, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streamed.fit(chunks)
        score = streamed.score(chunks)
    assert_close(streamed, whole)
    assert score == pytest.approx(whole.score(np.concatenate(chunks), [4, 2]), rel=1e-12)


def test_fractions_in_later_chunks_are_refused():
    model = CategoricalHMM(2, random_state=0).fit([[0], [1], [1], [0]])
    with pytest.raises(ValueError, match=r"X must be whole numbers, got 0\.9 at row"):
        model.score([np.array([[0], [1], [1], [0]]), np.array([[0.0], [0.9]])])


BAD_ROWS = {
    "PoissonHMM-1": ([1.5], r"got 1\.5 at row 9, column 0"),
    "MultinomialHMM": ([np.nan, 1, 2], "got NaN in some entries at row 9"),
    "CategoricalHMM": ([0.5], r"got 0\.5 at row 9 "),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_are_counted_in_all_of_X(name, rng, monkeypatch):
    """Chunks of a stream and groups of sequences do not count anew."""
    kind, (bad, message) = KINDS[name], BAD_ROWS[name]
    X = kind.rows(rng, 12).astype(np.float64)
    model = kind.make(2, random_state=0).fit(X)
    X[9] = bad
    monkeypatch.setattr("kernelmill.hmm._sequences._GROUP_ENTRIES", 8)
    for run in (model.score, kind.make(2).fit):
        with pytest.raises(ValueError, match=f"^{name.partition('-')[0]}: .*{message}"):
            run(X, [4, 4, 4])
        with pytest.raises(ValueError, match=f"^{name.partition('-')[0]}: .*{message}"):
            run(np.split(X, 3))


def test_rows_without_weight_are_counted():
    X = np.array([[0.0], [1.0], [0.0], [2.0], [1.0], [1.5]])
    with pytest.raises(ValueError, match=r"got 1\.5 at row 5, column 0"):
        PoissonHMM(2).fit(X, [1, 2, 1, 2], sample_weight=[1, 0, 0, 1])


def test_unknown_symbols_are_counted_in_all_of_X():
    model = CategoricalHMM(2, random_state=0).fit([[0], [1], [1], [0]])
    X = np.array([[0], [1], [1], [0], [1], [2]])
    for arguments in ((X, [4, 2]), (np.split(X, [4]),)):
        with pytest.raises(ValueError, match="X must hold symbols below 2, got 2 at row 5 "):
            model.score(*arguments)


def test_rows_of_partitions_of_unknown_length_are_counted(rng):
    frames = pytest.importorskip("dask.dataframe", reason="needs dask")
    import dask
    import pandas

    whole = pandas.DataFrame({"a": [0.0] * 9 + [1.5] + [0.0] * 2})
    X = frames.from_pandas(whole, npartitions=3)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(ValueError, match=r"got 1\.5 at row 9, column 0"):
            PoissonHMM(2).fit(X)
        with pytest.raises(ValueError, match=r"got 1\.5 at row 9 "):
            CategoricalHMM(2).fit(X)


def test_masked_entries_of_chunks_are_missing(em_kind, rng):
    X = em_kind.rows(rng, 40)
    mask = rng.random(X.shape) < 0.2
    if em_kind.name == "MultinomialHMM":
        mask[:] = mask[:, :1]  # rows are missing as a whole
    masked = np.ma.array(X, mask=mask)
    models = [em_kind.make(2, n_iter=2, random_state=0, tol=-np.inf) for _ in range(2)]
    models[0].fit(masked, [25, 15])
    models[1].fit([masked[:25], masked[25:]])
    # Sums over chunks round differently: T eps, amplified by two iterations.
    np.testing.assert_allclose(
        models[1].monitor_.history, models[0].monitor_.history, rtol=1e3 * 40 * 2.2e-16
    )
    whole = em_kind.make(2, n_iter=2, random_state=0, tol=-np.inf).fit(X, [25, 15])
    assert models[0].monitor_.history[0] != whole.monitor_.history[0]
