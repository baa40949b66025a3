"""Rows with what makes preparation hard, in every place that rows can be."""

import numpy as np
import pytest

from kernelmill import stream


def cut(X, size=37):
    return [X[start : start + size] for start in range(0, len(X), size)]


def npy(X, folder):
    np.save(folder / "X.npy", X)
    return stream.source(folder / "X.npy", chunk_rows=50)


def parquet(X, folder):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    frame.to_parquet(folder / "X.parquet", row_group_size=60)
    return str(folder / "X.parquet")


def lazy(X, folder):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    return polars.DataFrame({f"c{j}": X[:, j] for j in range(X.shape[1])}).lazy()


def dask(X, folder):
    array = pytest.importorskip("dask.array", reason="dask is not installed")
    return array.from_array(X, chunks=(40, -1))


STREAMS = {
    "chunks": lambda X, folder: cut(X),
    "function": lambda X, folder: lambda: iter(cut(X)),
    "npy": npy,
    "Parquet": parquet,
    "lazy": lazy,
    "Dask": dask,
}


@pytest.fixture(params=STREAMS)
def streamed(request):
    """Makes a stream that can be read again and again."""
    return STREAMS[request.param]


@pytest.fixture
def X(rng):
    """Gaps, a constant, a constant with gaps, a column far from the origin, whole numbers."""
    X = rng.normal(size=(200, 6)) * [1, 10, 1, 1, 1, 1] + [0, 3, 0, 0, 1e8, 0]
    X[:, 2] = 0.1
    X[:, 3] = -7.3
    X[:, 5] = rng.integers(0, 5, size=200)
    X[rng.random(X.shape) < [0.2, 0, 0, 0.3, 0.1, 0.1]] = np.nan
    return X
