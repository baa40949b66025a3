"""What counts as a stream, and which features it brings."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from kernelmill import stream
from kernelmill._estimator import _streams
from kernelmill._estimator._streams import is_stream, open_stream

X = np.arange(12.0).reshape(6, 2)


class Model(BaseEstimator):
    pass


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
    monkeypatch.setattr(_streams, "MEMMAP_BYTES", X.nbytes - 1)
    assert is_stream(mapped)


def test_names_and_number_of_features():
    model = Model()
    frame = pd.DataFrame(X, columns=["a", "b"])
    open_stream(model, [frame], reset=True)
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["a", "b"]
    open_stream(model, [frame], reset=False)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but Model was"):
        open_stream(model, [X], reset=False)
    with pytest.raises(ValueError, match=r"passed during fit.\nFeature names unseen .*\n- c\n"):
        open_stream(model, [frame.rename(columns={"a": "c"})], reset=False)
    with pytest.raises(ValueError, match="must be in the same order"):
        open_stream(model, [frame[["b", "a"]]], reset=False)
    open_stream(model, [X], reset=True)
    assert not hasattr(model, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 1 features, but Model is expecting 2 features"):
        open_stream(model, [X[:, :1]], reset=False)


def test_chunks_are_validated_with_rows_of_the_whole():
    bad = X.copy()
    bad[1, 1] = np.nan
    opened = open_stream(Model(), [X, bad], reset=True)
    with pytest.raises(ValueError, match=r"^Model: X must be finite, got NaN at row 7, column 1"):
        opened.count_rows()
