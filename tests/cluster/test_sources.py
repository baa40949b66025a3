"""Wherever the rows are, the models are the same: streams, files, frames and arrays."""

import numpy as np
import pytest
import scipy.sparse as sp

import kernelmill
from kernelmill._estimator import _rows
from kernelmill.cluster import KMeans, MiniBatchKMeans


def fitted(model):
    """The bits of a fit."""
    return model.cluster_centers_.tobytes(), model.labels_.tobytes(), model.inertia_, model.n_iter_


def chunks_of(X, rows=70):
    return [X[i : i + rows] for i in range(0, len(X), rows)]


@pytest.mark.parametrize("kind", ["list", "pairs", "function", "npy", "sparse", "source", "dask"])
def test_streams_equal_memory(make, rng, tmp_path, kind):
    X = make(500, 5, 6)
    w = rng.random(500) if kind == "pairs" else None
    start = X[rng.choice(500, 6, replace=False)]
    memory = KMeans(6, init=start).fit(X, sample_weight=w)
    if kind == "list":
        data = chunks_of(X)
    elif kind == "pairs":
        data = list(zip(chunks_of(X), chunks_of(w), strict=True))
    elif kind == "function":
        data = lambda: iter(chunks_of(X))  # noqa: E731
    elif kind == "npy":
        np.save(tmp_path / "X.npy", X)
        data = kernelmill.stream.source(tmp_path / "X.npy", chunk_rows=64)
    elif kind == "sparse":
        data = [sp.csr_array(chunk) for chunk in chunks_of(X)]
    elif kind == "source":
        data = kernelmill.stream.source(X, chunk_rows=111)
    else:
        data = pytest.importorskip("dask.array").from_array(X, chunks=(100, 5))
    model = KMeans(6, init=start).fit(data)
    np.testing.assert_array_equal(model.labels_, memory.labels_)
    np.testing.assert_allclose(model.cluster_centers_, memory.cluster_centers_, rtol=1e-10)
    assert model.inertia_ == pytest.approx(memory.inertia_, rel=1e-10)
    assert model.n_iter_ == memory.n_iter_
    np.testing.assert_array_equal(model.predict(data), memory.labels_)
    assert model.score(data) == pytest.approx(-memory.inertia_, rel=1e-10)


def drawn(X, n_clusters, random_state):
    return X[random_state.permutation(X.shape[0])[:n_clusters]]


INITS = ["k-means++", "k-means||", "random", drawn]


@pytest.mark.parametrize("init", INITS)
def test_large_streams_start_well(make, init, monkeypatch):
    X = make(2000, 4, 8)
    monkeypatch.setattr(_rows, "MEMMAP_BYTES", 0)
    model = KMeans(8, init=init, random_state=0, n_init=3).fit(chunks_of(X, 300))
    again = KMeans(8, init=init, random_state=0, n_init=3).fit(chunks_of(X, 300))
    assert fitted(model) == fitted(again)
    best = min(KMeans(8, n_init=10, random_state=s).fit(X).inertia_ for s in range(3))
    assert model.inertia_ <= (1.1 if init in ("k-means++", "k-means||") else 5.0) * best


SAME_ROWS = {
    "list": lambda X, w, folder: (pairs_of(X, w), None),
    "function": lambda X, w, folder: (lambda: iter(pairs_of(X, w)), None),
    "CSR chunks": lambda X, w, folder: (
        [(sp.csr_array(part), weight) for part, weight in pairs_of(X, w)],
        None,
    ),
    "source": lambda X, w, folder: (kernelmill.stream.source(X, w, chunk_rows=111), None),
    "frame": lambda X, w, folder: (frame_of(X, w), "w"),
    "Parquet": lambda X, w, folder: (frame_of(X, w).to_parquet(folder / "X.parquet"), "w"),
    "lazy": lambda X, w, folder: (
        pytest.importorskip("polars").from_pandas(frame_of(X, w)).lazy(),
        "w",
    ),
    "dask": lambda X, w, folder: (
        pytest.importorskip("dask.array").from_array(X, chunks=(100, 5)),
        w,
    ),
}


def pairs_of(X, w):
    return list(zip(chunks_of(X), chunks_of(w), strict=True))


def frame_of(X, w):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=list("abcde")).assign(w=w)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("kind", SAME_ROWS)
@pytest.mark.parametrize("model", [KMeans, MiniBatchKMeans])
def test_the_same_rows_give_the_same_result(make, rng, tmp_path, kind, init, model):
    X, w = make(500, 5, 6), rng.integers(3, size=500).astype(float)
    made = model(6, init=init, n_init=2, random_state=0).fit(X, sample_weight=w)
    data, weight = SAME_ROWS[kind](X, w, tmp_path)
    data = tmp_path / "X.parquet" if kind == "Parquet" else data
    other = model(6, init=init, n_init=2, random_state=0).fit(data, sample_weight=weight)
    np.testing.assert_array_equal(other.labels_, made.labels_)
    np.testing.assert_allclose(other.cluster_centers_, made.cluster_centers_, rtol=1e-10)
    assert other.n_iter_ == made.n_iter_


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("model", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize("kept", [True, False])
def test_a_file_is_its_memory_map(make, tmp_path, monkeypatch, init, model, kept):
    X = make(500, 5, 6, np.float32)
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setattr("kernelmill.stream._readers.CHUNK_BYTES", 4 * 5 * 90)
    if not kept:
        monkeypatch.setattr(_rows, "MEMMAP_BYTES", 0)
    made = model(6, init=init, random_state=0).fit(tmp_path / "X.npy")
    other = model(6, init=init, random_state=0).fit(np.load(tmp_path / "X.npy", mmap_mode="r"))
    assert fitted(made) == fitted(other)
    if kept:
        assert fitted(made) == fitted(model(6, init=init, random_state=0).fit(X))
