"""X is asked once: what counts as a stream, and `Rows` that answer alike wherever they are."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from kernelmill import stream
from kernelmill._estimator import _rows
from kernelmill._estimator._rows import Estimator, is_stream

X = np.arange(12.0).reshape(6, 2)


class Model(Estimator):
    _accepts_sparse = True

    def __init__(self, device=None):
        self.device = device


@pytest.mark.parametrize(
    "data",
    [
        X,
        X.tolist(),
        [tuple(row) for row in X],
        list(X),
        [1.0, 2.0],
        [],
        sp.csr_array(X),
        pd.DataFrame(X),
        pl.DataFrame(X),
        pd.Series([1.0]),
        {"a": 1},
        3.0,
        None,
    ],
    ids=lambda data: type(data).__name__,
)
def test_arrays_are_no_streams(data):
    assert not is_stream(data)


@pytest.mark.parametrize(
    "data",
    [
        "rows.npy",
        stream.source(X),
        [X, X],
        [(X, np.ones(6))],
        [pd.DataFrame(X)],
        ["a.parquet", "b.parquet"],
        [sp.csr_array(X)],
        lambda: iter([X]),
        (chunk for chunk in [X]),
    ],
    ids=["path", "source", "list", "pairs", "frames", "paths", "sparse", "function", "generator"],
)
def test_chunks_are_streams(data):
    assert is_stream(data)


def test_large_memory_maps_are_streams(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert not is_stream(mapped)
    monkeypatch.setattr(_rows, "MEMMAP_BYTES", X.nbytes - 1)
    assert is_stream(mapped)


def test_names_and_number_of_features():
    model = Model()
    frame = pd.DataFrame(X, columns=["a", "b"])
    model._rows([frame], reset=True)
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["a", "b"]
    model._rows([frame], reset=False)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but Model was"):
        model._rows([X], reset=False)
    with pytest.raises(ValueError, match=r"passed during fit.\nFeature names unseen .*\n- c\n"):
        model._rows([frame.rename(columns={"a": "c"})], reset=False)
    with pytest.raises(ValueError, match="must be in the same order"):
        model._rows([frame[["b", "a"]]], reset=False)
    model._rows([X], reset=True)
    assert not hasattr(model, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 1 features, but Model is expecting 2 features"):
        model._rows([X[:, :1]], reset=False)


def test_chunks_are_validated_with_rows_of_the_whole():
    bad = X.copy()
    bad[1, 1] = np.nan
    rows = Model()._rows([X, bad], reset=True)
    with pytest.raises(ValueError, match=r"^Model: X must be finite, got NaN at row 7, column 1"):
        _ = rows.count


# --- rows -----------------------------------------------------------------------------------------

W = np.array([1.0, 0.0, 2.0, 1.0, 3.0, 1.0])
PLACES = {
    "memory": lambda: (X, W),
    "CSR": lambda: (sp.csr_array(X), W),
    "chunks": lambda: ([X[:4], X[4:]], W),
    "pairs": lambda: ([(X[:4], W[:4]), (X[4:], W[4:])], None),
    "function": lambda: (lambda: iter([X[:1], X[1:]]), W),
    "one chunk": lambda: (stream.source(X, W), None),
    "sparse chunks": lambda: ([sp.csr_array(X[:2]), sp.csr_array(X[2:])], W),
}


def weighted_sum(X, shift, sample_weight=None, *, scale=1.0):
    w = np.ones(X.shape[0]) if sample_weight is None else sample_weight
    return w @ X + scale * shift * w.sum(), len(w)


def row_count(X, sample_weight=None):
    return X.shape[0]


def row_sums(X, shift):
    return np.asarray(X.sum(axis=1)).ravel() + shift


@pytest.mark.parametrize("place", PLACES)
def test_rows_answer_alike_wherever_they_are(place):
    rows = Model()._rows(*PLACES[place](), reset=True)
    shift = np.array([1.0, -1.0])
    total, n = rows.map_reduce(weighted_sum, shift, scale=2.0)
    np.testing.assert_array_equal(total, W @ X + 2.0 * shift * W.sum())
    assert n == rows.count == 6
    assert rows.map_reduce(row_count, merge=max) <= 6
    np.testing.assert_array_equal(rows.map(row_sums, 5.0), X.sum(axis=1) + 5.0)
    np.testing.assert_array_equal(rows.take(np.array([4, 0])), X[[4, 0]])
    some = rows.sample(3, 0, 1)
    assert some.X.shape == (3, 2)
    assert some.count == 3
    dense = some.X.toarray() if sp.issparse(some.X) else some.X
    order = dense[:, 0].astype(int) // 2
    np.testing.assert_array_equal(some.weight, W[order])
    assert np.all(np.diff(order) > 0)
    assert rows.n_features == 2
    assert rows.dtype == np.float64


@pytest.mark.parametrize("place", ["memory", "CSR"])
def test_part_keeps_weights(place):
    rows = Model()._rows(*PLACES[place](), reset=True).part(np.array([2, 4]))
    np.testing.assert_array_equal(rows.weight, W[[2, 4]])
    np.testing.assert_array_equal(rows.take([0, 1]), X[[2, 4]])


def test_streams_without_rows_give_no_results():
    model = Model()
    model._rows(X, reset=True)
    rows = model._rows([X[:0]], reset=False)
    assert rows.map(row_sums, 0.0).shape == (0,)


def test_an_iterator_is_refused_before_it_is_read():
    read = []

    def chunks():
        read.append(1)
        yield X

    with pytest.raises(ValueError, match=r"got a generator \(an iterator can be read once:"):
        Model()._rows(chunks(), reset=True)
    assert not read
    model = Model()
    rows = model._rows(chunks(), reset=True, once=True)
    assert rows.map_reduce(weighted_sum, 0.0)[1] == 6


def test_weights_of_all_zeros_are_refused():
    with pytest.raises(ValueError, match=r"^Model: sample_weight must have a positive sum"):
        Model()._rows(X, np.zeros(6), reset=True)


@pytest.mark.parametrize(
    ("scale", "dtype", "word"),
    [
        (1e19, np.float32, "small"),
        (1e-20, np.float32, "large"),
        (1e154, np.float64, "small"),
        (1e-160, np.float64, "large"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, lambda X: [X, X]])
def test_values_whose_squares_have_no_room_are_refused(form, scale, dtype, word):
    data = form((X * scale).astype(dtype))
    if word == "large" and isinstance(data, list):  # one tiny chunk says nothing of the others
        data = data[0]
    with pytest.raises(ValueError, match=f"X must be {word} enough to be squared in"):
        _ = Model()._rows(data, reset=True).map_reduce(weighted_sum, 0.0)
    _ = Model()._rows(form((X * 0).astype(dtype)), reset=True).map_reduce(weighted_sum, 0.0)
    if word == "large":
        model = Model()
        model._rows(X, reset=True)
        _ = model._rows(data, reset=False)


def test_cuda_needs_a_gpu_and_dense_rows(monkeypatch):
    with pytest.raises(RuntimeError, match=r"^Model: device must be 'cpu' or None here"):
        Model(device="cuda")._rows(X, reset=True)
    monkeypatch.setattr(_rows, "require_cuda", lambda owner: None)
    with pytest.raises(TypeError, match="X must be dense for device='cuda'"):
        Model(device="cuda")._rows(sp.csr_array(X), reset=True)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_weights_from_a_column(frame):
    columns = {"a": X[:, 0], "w": np.arange(6.0), "b": X[:, 1]}
    model = Model()
    rows = model._rows(frame(columns), "w", reset=True)
    np.testing.assert_array_equal(rows.X, X)
    np.testing.assert_array_equal(rows.weight, np.arange(6.0))
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="sample_weight must be a column of X, got 'v'"):
        model._rows(frame(columns), "v", reset=True)
