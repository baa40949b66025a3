"""Every kind of source yields the same rows, checks its passes, and merges in chunk order."""

import collections
import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse
from stream_kinds import (
    SOURCES,
    assert_equal,
    chunked,
    make_memmap,
    make_parquet,
    moments,
    real_numbers,
    small_integers,
)

from kernelmill import stream
from kernelmill.stream import _source
from kernelmill.stream._source import add_up, rechunk


@pytest.mark.parametrize("chunk_rows", [None, 1, 10, 103, 1000])
def test_same_rows_and_exact_sums(make, chunk_rows, tmp_path):
    X = small_integers(dtype=np.float64)
    s = stream.source(make(X, tmp_path), chunk_rows=chunk_rows)
    assert s.n_features == 5
    assert s.dtype == np.float64
    for _ in range(3):
        parts = [part.toarray() if scipy.sparse.issparse(part) else part for part, w in s]
        assert all(type(part) in (np.ndarray, np.memmap) for part in parts)
        np.testing.assert_array_equal(np.concatenate(parts), X)
        if chunk_rows is not None:
            sizes = [min(chunk_rows, 103 - start) for start in range(0, 103, chunk_rows)]
            assert [len(part) for part in parts] == sizes
    assert s.count_rows() == s.n_rows == 103
    assert_equal(s.map_reduce(moments, 2.0), moments(X, 2.0))


def test_equal_bounds_give_equal_bits(make, tmp_path):
    X = real_numbers()
    reference = stream.source(X, chunk_rows=10).map_reduce(moments, 0.1)
    s = stream.source(make(X, tmp_path), chunk_rows=10)
    assert_equal(s.map_reduce(moments, 0.1), reference)
    # The order of the fold shows in the bits, or the comparison above would prove nothing.
    backwards = stream.source(X[::-1], chunk_rows=10).map_reduce(moments, 0.1)
    assert any(backwards[1] != reference[1])


def test_one_chunk_is_the_op_itself():
    X = real_numbers()
    assert_equal(stream.source(X).map_reduce(moments), moments(X))


def test_float32_stays_float32(make, tmp_path):
    if make in (SOURCES["lists"],):
        pytest.skip("a list has no dtype to keep")
    X = real_numbers(dtype=np.float32)
    s = stream.source(make(X, tmp_path), chunk_rows=10)
    assert s.dtype == np.float32
    assert {part.dtype for part, w in s} == {np.dtype(np.float32)}


def test_take_and_sample(make, tmp_path):
    X = real_numbers()
    s = stream.source(make(X, tmp_path), chunk_rows=10)
    for indices in ([5, 0, 102, 5, 40], [0], [], [102]):
        rows = s.take(indices)
        rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        np.testing.assert_array_equal(rows, X[indices])
        if isinstance(rows, np.ndarray):
            rows[:] = 0  # a copy
    rows, w, indices = s.sample(20, random_state=0)
    rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
    assert w is None
    assert len(set(indices)) == 20
    np.testing.assert_array_equal(rows, X[indices])
    np.testing.assert_array_equal(s.sample(20, random_state=0)[2], indices)
    with pytest.raises(ValueError, match="indices must be below the 103 rows of X, got 103"):
        s.take([3, 103])
    with pytest.raises(ValueError, match="indices must be 0 or more, got -1"):
        s.take([-1])
    with pytest.raises(ValueError, match="indices must be 1-D whole numbers"):
        s.take([0.5])
    with pytest.raises(ValueError, match="n must be between 1 and the 103 rows"):
        s.sample(104, random_state=0)


def test_weights_follow_their_rows(make, tmp_path):
    X = small_integers(dtype=np.float64)
    w = np.random.default_rng(2).integers(0, 5, size=103).astype(np.float64)
    s = stream.source(make(X, tmp_path), w, chunk_rows=10)
    assert_equal(s.map_reduce(moments), moments(X, sample_weight=w))
    assert_equal(s.map_reduce(moments), moments(np.repeat(X, w.astype(int), axis=0)))
    _, weights, indices = s.sample(9, random_state=1)
    np.testing.assert_array_equal(weights, w[indices])
    twice = stream.source(make(X, tmp_path), np.float64(2.0), chunk_rows=10)
    assert_equal(twice.map_reduce(moments), moments(X, sample_weight=np.full(103, 2.0)))
    for wrong in (w[:-1], np.append(w, 1.0), w[:, None]):
        with pytest.raises(ValueError, match="sample_weight must"):
            stream.source(make(X, tmp_path), wrong, chunk_rows=10).map_reduce(moments)
    with pytest.raises(ValueError, match="sample_weight must be numeric"):
        stream.source(make(X, tmp_path), np.full(103, "a"), chunk_rows=10).map_reduce(moments)


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "Parquet"])
def test_weight_column(kind, tmp_path):
    X = abs(small_integers(dtype=np.float64))
    s = stream.source(SOURCES[kind](X, tmp_path), "c1", chunk_rows=10)
    rest = X[:, [0, 2, 3, 4]]
    assert s.feature_names.tolist() == ["c0", "c2", "c3", "c4"]
    assert_equal(s.map_reduce(moments), moments(rest, sample_weight=X[:, 1]))
    with pytest.raises(ValueError, match=r"must be a column of X, got 'no' \(columns: c0, c1"):
        stream.source(SOURCES[kind](X, tmp_path), "no")


def test_weights_inside_an_iterator():
    X, w = small_integers(), np.arange(103.0)
    s = stream.source(lambda: chunked(X, 9, w))
    assert_equal(s.map_reduce(moments), moments(X, sample_weight=w))
    assert s.sample(3, random_state=0)[1].dtype == np.float32
    mixed = [(X, w), X]
    with pytest.raises(ValueError, match="sample_weight must come with every chunk or none"):
        stream.source(mixed).count_rows()
    with pytest.raises(ValueError, match="as an argument, got both"):
        stream.source(lambda: chunked(X, 9, w), w).count_rows()


def test_input_is_never_written_to(tmp_path):
    X = real_numbers()
    before = X.tobytes()
    s = stream.source(X, np.ones(103), chunk_rows=10)
    s.map_reduce(moments)
    s.take([1])
    assert X.tobytes() == before


def test_in_memory():
    X = real_numbers()
    assert stream.source(X).in_memory is X
    assert stream.source(X, chunk_rows=10).in_memory is None
    assert stream.source(X.astype(int)).in_memory.dtype == np.float64
    sparse = scipy.sparse.csr_array(X)
    assert stream.source(sparse).in_memory is sparse
    assert stream.source(lambda: [X]).in_memory is None


def test_small_memmap_is_in_memory(tmp_path):
    """Workers of joblib get their arrays this way; they should not change path because of it."""
    s = stream.source(make_memmap(real_numbers(), tmp_path))
    assert s.in_memory is not None
    assert len(list(s)) == 1


def test_large_memmap_is_chunked(tmp_path, monkeypatch):
    monkeypatch.setattr("kernelmill.stream._readers.CHUNK_BYTES", 1000)
    s = stream.source(make_memmap(real_numbers(), tmp_path))
    assert s.in_memory is None
    assert [len(part) for part, w in s] == [25, 25, 25, 25, 3]


def test_copy_on_write_changes_survive(tmp_path):
    X = make_memmap(small_integers(2000, 8), tmp_path, mode="c")
    X[:] += 1
    s = stream.source(X, chunk_rows=100)
    for _ in range(2):
        assert_equal(s.map_reduce(moments), moments(small_integers(2000, 8) + 1))


@pytest.mark.parametrize(
    ("given", "accepted", "expected"),
    [
        (np.int16, None, np.float64),
        (bool, None, np.float64),
        (np.float16, None, np.float64),
        (np.float32, None, np.float32),
        (">f4", None, np.float32),
        (np.float64, np.float32, np.float32),
        (np.int8, [np.float32, np.int8], np.int8),
        (np.float64, [np.float32, np.int8], np.float32),
    ],
)
def test_dtype(given, accepted, expected):
    X = small_integers(dtype=np.float64).clip(0, 1).astype(given)
    for chunk_rows in (None, 10):
        s = stream.source(X, dtype=accepted, chunk_rows=chunk_rows)
        assert s.dtype == expected
        assert {part.dtype for part, w in s} == {np.dtype(expected)}


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "Parquet"])
def test_frames_keep_names_and_refuse_text(kind, tmp_path):
    X = small_integers(dtype=np.float64)
    assert stream.source(SOURCES[kind](X, tmp_path)).feature_names.tolist() == [
        f"c{j}" for j in range(5)
    ]
    module = pytest.importorskip("pyarrow" if kind == "Parquet" else kind)
    columns = {"a": [1.0, 2.0], "name": ["x", "y"], "other": ["x", "y"]}
    frame = (module.DataFrame if kind in ("pandas", "polars") else module.table)(columns)
    if kind == "Parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(frame, tmp_path / "t.parquet")
        frame = tmp_path / "t.parquet"
    with pytest.raises(ValueError, match="numeric columns only, got column 'name' of type"):
        stream.source(frame)


@pytest.mark.parametrize("kind", ["pandas", "pandas nullable", "polars", "pyarrow"])
def test_frames_of_mixed_columns_and_missing_values(kind):
    columns = {
        "i": [1, 2, None],
        "f": [0.5, None, 2.5],
        "b": [True, None, False],
    }
    expected = np.array([[1, 0.5, 1], [2, np.nan, np.nan], [np.nan, 2.5, 0]])
    module = pytest.importorskip(kind.split()[0], reason="not installed")
    if kind == "pandas":
        columns["b"] = [1.0, None, 0.0]
        frame = module.DataFrame(columns)
    elif kind == "pandas nullable":
        frame = module.DataFrame(
            {
                "i": module.array(columns["i"], dtype="Int64"),
                "f": module.array(columns["f"], dtype="Float64"),
                "b": module.array(columns["b"], dtype="boolean"),
            }
        )
    else:
        frame = (module.table if kind == "pyarrow" else module.DataFrame)(columns)
    s = stream.source(frame)
    assert s.in_memory.dtype == np.float64
    np.testing.assert_array_equal(s.in_memory, expected)


def test_other_frame_labels():
    pandas = pytest.importorskip("pandas", reason="not installed")
    assert stream.source(pandas.DataFrame(real_numbers())).feature_names is None
    frame = pandas.DataFrame({"a": pandas.Categorical([1, 2])})
    with pytest.raises(ValueError, match="got column 'a' of type category"):
        stream.source(frame)
    with pytest.raises(ValueError, match="at least one column"):
        stream.source(pandas.DataFrame(index=[1, 2]))


BAD = {
    "1-D": (np.arange(3.0), "X must be 2-D, got shape"),
    "3-D": (np.zeros((2, 2, 2)), "X must be 2-D, got shape"),
    "text": (np.array([["a"]]), "X must be numeric"),
    "list of text rows": ([["a"], ["b"]], "X must be numeric"),
    "complex": (np.ones((2, 2), dtype=complex), "X must be real, got complex128"),
    "dates": (np.zeros((2, 2), dtype="M8[s]"), "X must be numeric, got dtype datetime64"),
    "objects": (np.array([[1, "a"]], dtype=object), "X must be numeric, got could not convert"),
    "number": (3, "X must be an array, frame, path"),
    "dict": ({}, "X must be an array, frame, path"),
    "no chunks": (lambda: iter([]), "must yield at least one chunk"),
    "not an iterator": (lambda: 3, "must return an iterator of chunks, got int"),
    "missing array": ("nowhere.npy", "must be a file that exists, got 'nowhere.npy'"),
    "missing file": ("nowhere.parquet", "must be a file that exists, got 'nowhere.parquet'"),
    "empty pattern": ("nowhere*.parquet", "at least one Parquet file"),
    "ragged lists": ([[1.0], [1.0, 2.0]], "X must have rows of equal length"),
    "1-D chunks": ([np.zeros((2, 2)), np.zeros(2)], "X must be 2-D, got shape"),
}


@pytest.mark.parametrize(("X", "message"), BAD.values(), ids=BAD)
def test_bad_input(X, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=f"^KMeans: .*{message}"):
        stream.source(X, owner="KMeans").map_reduce(moments)


def test_bad_options():
    X = real_numbers()
    for wrong in (0, -1, 1.5, True, "10"):
        with pytest.raises(ValueError, match="chunk_rows must be a whole number above 0"):
            stream.source(X, chunk_rows=wrong)
    s = stream.source(X)
    assert stream.source(s) is s
    with pytest.raises(ValueError, match="where the Source is made"):
        stream.source(s, np.ones(103))
    with pytest.raises(ValueError, match="must have at least one row"):
        stream.source(X[:0]).map_reduce(moments)


def test_files_that_are_not_what_they_seem(tmp_path):
    (tmp_path / "x.parquet").write_text("not Parquet")
    with pytest.raises(ValueError, match=r"must be a Parquet or \.npy file, .*scan_csv"):
        stream.source(tmp_path / "x.parquet")
    (tmp_path / "x.npy").write_text("not NumPy")
    with pytest.raises(ValueError, match=r"must be a numeric \.npy file"):
        stream.source(tmp_path / "x.npy")
    np.save(tmp_path / "o.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"must be a numeric \.npy file"):
        stream.source(tmp_path / "o.npy")
    with pytest.raises(FileNotFoundError):
        stream.source(tmp_path / "missing.npy")


def test_parquet_without_pyarrow(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install pyarrow"):
        stream.source(tmp_path / "x.parquet")


def test_parquet_files_of_other_columns(tmp_path):
    X = real_numbers()
    files = [make_parquet(X[:, :3], tmp_path, "1.parquet"), make_parquet(X[:, :2], tmp_path)]
    with pytest.raises(
        ValueError, match=r"same columns in every file, got no 'c2' in .*X\.parquet"
    ):
        stream.source(files)


def test_parquet_columns_in_another_order(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="not installed")
    X = small_integers(dtype=np.float64)
    first = make_parquet(X[:50], tmp_path, "1.parquet")
    table = pyarrow.table({f"c{j}": X[50:, j] for j in (3, 1, 4, 0, 2)})
    parquet.write_table(table, tmp_path / "2.parquet")
    s = stream.source([first, tmp_path / "2.parquet"])
    np.testing.assert_array_equal(np.concatenate([part for part, w in s]), X)


# --- passes --------------------------------------------------------------------------------------


def test_generator_serves_one_pass_and_then_says_so():
    X = small_integers()
    s = stream.source(chunked(X, 9))
    assert_equal(s.map_reduce(moments), moments(X))
    with pytest.raises(ValueError, match=r"that was read already \(an iterator can be read"):
        s.map_reduce(moments)


def test_generator_stopped_halfway_is_used_up_too():
    s = stream.source(chunked(small_integers(), 9))
    s.take([0])
    with pytest.raises(ValueError, match="got a generator that was read already"):
        s.count_rows()


class Changing:
    """Yields what `passes` says for its first, second, ... pass."""

    def __init__(self, *passes):
        self.passes = [passes[0], *passes]  # one more look at the first, for shape and dtype

    def __iter__(self):
        return iter(self.passes.pop(0))


A, B = small_integers(4), real_numbers(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([A], r"got 1 of 2 \(was the data changed"),
        ([], r"got 0 of 2 \(pass an iterable that starts anew"),
        ([A, B, A], "got more than the 2 chunks"),
        ([A, B[:3]], "got 3 rows in chunk 1, which had 4"),
        ([B, A], r"got other values in chunk 0 \(is the iterator shuffled"),
        ([A, B[::-1]], "got other values in chunk 1"),
        ([A, B[[0, 1, 2, 2]]], "got other values in chunk 1"),
        ([A, B[[1, 1, 2, 3]]], "got other values in chunk 1"),
    ],
)
def test_changed_pass_is_an_error(second, message):
    s = stream.source(Changing([A, B], second))
    s.map_reduce(moments)
    with pytest.raises(ValueError, match=message):
        s.map_reduce(moments)


def test_other_width_is_an_error():
    with pytest.raises(ValueError, match=r"must have 5 features in every chunk, got 4 .* row 4"):
        stream.source([A, B[:, :4]]).count_rows()


def test_chunks_without_rows_are_left_out():
    s = stream.source([A[:0], A, A[:0], B])
    for _ in range(2):
        assert [len(part) for part, w in s] == [4, 4]
    with pytest.raises(ValueError, match="at least one row"):
        stream.source([A[:0]]).map_reduce(moments)


@pytest.mark.parametrize("kind", ["array", "csr array", "pandas", "memmap", "function", "Parquet"])
def test_validation_sees_each_row_once_with_its_number(kind, tmp_path):
    X = small_integers(dtype=np.float64)
    seen = []

    def validate(part, first_row):
        dense = part.toarray() if scipy.sparse.issparse(part) else part
        np.testing.assert_array_equal(dense, X[first_row : first_row + part.shape[0]])
        seen.append((first_row, part.shape[0]))
        return part

    s = stream.source(SOURCES[kind](X, tmp_path), chunk_rows=20, validate=validate)
    s.take([25])  # a pass that stops early validates what it saw
    for _ in range(3):
        s.map_reduce(moments)
    assert sorted(set(seen)) == [(0, 20), (20, 20), (40, 20), (60, 20), (80, 20), (100, 3)]
    assert len(seen) == 6


def test_validation_may_replace_and_refuse():
    X = small_integers()
    s = stream.source(X, validate=lambda part, first_row: part + 1)
    np.testing.assert_array_equal(s.in_memory, X + 1)

    def refuse(part, first_row):
        raise ValueError(f"row {first_row + 3} is bad")

    with pytest.raises(ValueError, match="row 3 is bad"):
        stream.source(X, validate=refuse)
    with pytest.raises(ValueError, match="row 3 is bad"):
        stream.source(lambda: chunked(X, 9), validate=refuse).map_reduce(moments)
    with pytest.raises(ValueError, match="row 3 is bad"):  # scikit-learn's own words for no rows
        stream.source(X[:0], validate=refuse)


def test_map_is_in_order():
    X = real_numbers()
    parts = list(stream.source(X, chunk_rows=10).map(lambda part, k: part[:, k], 2))
    assert len(parts) == 11
    np.testing.assert_array_equal(np.concatenate(parts), X[:, 2])


# --- merging -------------------------------------------------------------------------------------


Pair = collections.namedtuple("Pair", "a b")


def test_add_up_structures():
    a = (1, 2.5, np.arange(3), [np.ones(2, np.float32), None], {"x": Pair(1, np.float32(2))})
    result = add_up(a, a)
    assert result[0] == 2
    assert result[2].tolist() == [0, 2, 4]
    assert result[3][0].dtype == np.float32
    assert result[3][1] is None
    assert result[4]["x"] == Pair(2, 4)
    assert a[2].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "pair",
    [
        (1, None),
        ((1,), (1, 2)),
        ((1,), [1]),
        ({"a": 1}, {"b": 1}),
        (np.zeros(2), np.zeros(3)),
        (np.zeros((1, 3)), np.zeros(3)),
        (np.zeros(3), 1.0),
        ("a", "b"),
    ],
)
def test_add_up_refuses_other_structures(pair):
    with pytest.raises(ValueError, match="op must return equal structures"):
        add_up(*pair)


def test_results_of_the_op_are_not_overwritten():
    kept = []

    def op(X, sample_weight=None):
        kept.append(X.sum(axis=0))
        return kept[-1]

    X = small_integers(40)
    total = stream.source(X, chunk_rows=10).map_reduce(op)
    np.testing.assert_array_equal(total, X.sum(axis=0))
    for i, part in enumerate(kept):
        np.testing.assert_array_equal(part, X[10 * i : 10 * i + 10].sum(axis=0))


def test_own_merge_and_keywords():
    def op(X, state, sample_weight=None, *, scale):
        assert state == "state"
        return [X.max() * scale]

    X = real_numbers()
    s = stream.source(X, chunk_rows=10)
    assert s.map_reduce(op, "state", merge=lambda a, b: a + b, scale=2) == [
        2 * part.max() for part, w in s
    ]


def test_rechunk_keeps_rows_and_weights_together():
    X, w = np.arange(46.0).reshape(23, 2), np.arange(23.0)
    cuts = [0, 1, 1, 9, 12, 23]
    pieces = [(X[a:b], w[a:b]) for a, b in itertools.pairwise(cuts)]
    for rows in (1, 2, 5, 23, 50):
        result = list(rechunk(iter(pieces), rows))
        assert [len(part) for part, _ in result[:-1]] == [rows] * (len(result) - 1)
        np.testing.assert_array_equal(np.concatenate([part for part, _ in result]), X)
        np.testing.assert_array_equal(np.concatenate([part for _, part in result]), w)


# --- the module ---------------------------------------------------------------------------------


def test_source_module_names_no_heavy_import():
    import subprocess
    import sys

    code = (
        "import sys, kernelmill.stream as s, numpy as np; s.source(np.ones((2, 2)));"
        "bad = {'pandas', 'polars', 'pyarrow', 'dask', 'distributed', 'scipy'} & set(sys.modules);"
        "sys.exit(len(bad))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_default_chunk_size_is_public():
    assert stream.CHUNK_BYTES == _source.CHUNK_BYTES == 64 << 20


def test_ops_and_results_survive_pickle():
    """What a Dask worker needs."""
    assert_equal(pickle.loads(pickle.dumps(moments))(A), moments(A))


def test_lengths_of_chunks():
    X = np.arange(14.0).reshape(7, 2)
    assert stream.source(X).chunk_lengths() == [7]
    assert stream.source(X, chunk_rows=3).chunk_lengths() == [3, 3, 1]
    opened = stream.source([X[:2], X[:0], X[2:]])
    assert opened.chunk_lengths() == [2, 0, 5]
    assert opened.chunk_lengths() == [2, 0, 5]  # known by now
    array = pytest.importorskip("dask.array", reason="needs dask")
    assert stream.source(array.from_array(X, chunks=((3, 4), -1))).chunk_lengths() == [3, 4]
