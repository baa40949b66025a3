"""Neighbours and DBSCAN beside scikit-learn, scikit-learn-intelex and faiss."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _rows(n: int, d: int, dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


def _fitted(module: str, k: int) -> Any:
    def prepare(data: Any) -> Any:
        model = __import__(module, fromlist=["NearestNeighbors"]).NearestNeighbors
        return lambda: model(n_neighbors=k).fit(data[0]).kneighbors(data[1])

    return prepare


def _faiss(k: int) -> Any:
    def prepare(data: Any) -> Any:
        import faiss

        def run() -> Any:
            index = faiss.IndexFlatL2(data[0].shape[1])
            index.add(data[0])
            squares, indices = index.search(data[1], k)
            return np.sqrt(squares), indices

        return run

    return prepare


def _nearest(n: int, queries: int, d: int, k: int, dtype: str, want: float) -> Case:
    systems = {
        "kernelmill": _fitted("kernelmill.neighbors", k),
        "scikit-learn": _fitted("sklearn.neighbors", k),
        "scikit-learn-intelex": _fitted("sklearnex.neighbors", k),
    }
    if dtype == "float32":
        systems["faiss"] = _faiss(k)

    def work(read: int) -> Work:
        if dtype == "float32" and d >= 32:  # four products of bytes in the time of one of floats
            return Work(0.5 * n * queries * d, read, "2nmd / 4, products of bytes")
        # A tree does less than this where there are few features.
        return Work(2.0 * n * queries * d, read, "2nmd without a tree")

    def check(data: Any, ours: Any, other: Any) -> str:
        """Others expand squares, and lose digits."""
        return arrays_close(np.asarray(ours[0], float), np.asarray(other[0], float), 1e-3, 1e-2)

    return Case(
        name=f"kneighbors n={n} queries={queries} d={d} k={k} {dtype}",
        make=lambda: (_rows(n, d, dtype, 0), _rows(queries, d, dtype, 1)),
        systems=systems,
        check=check,
        work=lambda data, _: work(data[0].nbytes),
        dtype=dtype,
        want=want,
    )


def _dbscan(n: int, d: int, eps: float, want: float | None) -> Case:
    def make() -> np.ndarray:
        rng = np.random.default_rng(2)
        centers = 5 * rng.standard_normal((30, d))
        return centers[rng.integers(0, 30, n)] + 0.5 * rng.standard_normal((n, d))

    def system(module: str) -> Any:
        def prepare(X: Any) -> Any:
            model = __import__(module, fromlist=["DBSCAN"]).DBSCAN
            return lambda: model(eps=eps).fit(X).labels_

        return prepare

    return Case(
        name=f"DBSCAN n={n} d={d} eps={eps}",
        make=make,
        systems={
            "kernelmill": system("kernelmill.cluster"),
            "scikit-learn": system("sklearn.cluster"),
        },
        check=lambda X, ours, other: "" if np.array_equal(ours, other) else "labels differ",
        work=lambda X, _: Work(0.0, 3.0 * X.nbytes, "three passes over the rows"),
        dtype="float64",
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Few and many features, both dtypes; clusters in space."""
    if quick:
        return [_nearest(500, 50, 3, 4, "float64", 1.0), _dbscan(500, 2, 0.3, None)]
    return [
        _nearest(80_000, 20_000, 6, 10, "float64", 1.5),
        _nearest(80_000, 20_000, 6, 10, "float32", 1.5),
        _nearest(50_000, 5_000, 96, 10, "float32", 1.2),
        _nearest(50_000, 5_000, 96, 10, "float64", 1.2),
        _nearest(1_000, 100, 4, 5, "float64", 2.0),
        _dbscan(60_000, 3, 0.2, 3.0),
        _dbscan(60_000, 3, 0.5, 3.0),
        _dbscan(180_000, 9, 0.5, 3.0),
    ]
