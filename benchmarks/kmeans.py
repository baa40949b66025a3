"""k-means beside scikit-learn, scikit-learn-intelex and faiss.

Equal work: the same start, the same number of iterations (``tol=0``), one run (``n_init=1``),
centers and labels as the result. faiss subsamples unless it is told not to, and trains only
centers, so its run ends with the search that gives labels. Inertia is recomputed here from each
system's centers in float64, never taken from the system.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._harness import Case, Work, close, not_worse

RNG_SEED = 20240


@dataclass(frozen=True)
class Data:
    """Rows of a mixture of overlapping Gaussians, and where every system starts."""

    X: np.ndarray
    start: np.ndarray

    @property
    def k(self) -> int:
        return len(self.start)


def mixture(n: int, d: int, k: int, dtype: str = "float32", spread: float = 1.0) -> Data:
    """n rows around k means that lie ``spread`` apart per axis; the start is k of the rows."""
    rng = np.random.default_rng(RNG_SEED)
    means = spread * rng.standard_normal((k, d))
    X = means[rng.integers(k, size=n)] + rng.standard_normal((n, d))
    X = np.ascontiguousarray(X, dtype=dtype)
    return Data(X, X[rng.choice(n, k, replace=False)].copy())


def inertia(X: np.ndarray, centers: np.ndarray) -> float:
    """Sum of squared distances to the nearest center, in float64, by blocks of rows."""
    C = np.asarray(centers, dtype=np.float64)
    total = 0.0
    for i in range(0, len(X), 8192):
        block = X[i : i + 8192].astype(np.float64)
        square = (block**2).sum(1)[:, None] - 2 * block @ C.T + (C**2).sum(1)
        total += float(np.maximum(square, 0).min(axis=1).sum())
    return total


def _estimator(module: str, name: str, **fixed: Any) -> Callable[[Data], Callable[[], Any]]:
    """A system whose class ``module.name`` has scikit-learn's parameters."""

    def prepare(data: Data) -> Callable[[], Any]:
        kind = getattr(__import__(module, fromlist=[name]), name)

        def run():
            model = kind(data.k, init=data.start, n_init=1, **fixed).fit(data.X)
            return model.cluster_centers_, model.labels_

        return run

    return prepare


def _faiss(n_iter: int) -> Callable[[Data], Callable[[], Any]]:
    def prepare(data: Data) -> Callable[[], Any]:
        import faiss

        if data.X.dtype != np.float32:
            raise ImportError("faiss has float32 only")

        def run():
            model = faiss.Kmeans(
                data.X.shape[1],
                data.k,
                niter=n_iter,
                max_points_per_centroid=len(data.X),  # else it trains on a sample
                min_points_per_centroid=1,
            )
            model.train(data.X, init_centroids=data.start)
            _, labels = model.index.search(data.X, 1)
            return model.centroids, labels[:, 0]

        return run

    return prepare


def _same_inertia(data: Data, ours: Any, other: Any) -> str:
    return close(inertia(data.X, ours[0]), inertia(data.X, other[0]), 1e-4, "inertia")


def _inertia_not_worse(data: Data, ours: Any, other: Any, rtol: float = 1e-3) -> str:
    return not_worse(inertia(data.X, ours[0]), inertia(data.X, other[0]), rtol, "inertia")


def _lloyd_work(n_iter: int) -> Callable[[Data, Any], Work]:
    def work(data: Data, _: Any) -> Work:
        n, d = data.X.shape
        passes = n_iter + 1  # the last one gives the labels
        return Work(
            passes * (2.0 * n * data.k * d),
            passes * data.X.nbytes,
            f"{passes} passes of 2nkd flops, X read once a pass",
        )

    return work


def _fixed(n: int, d: int, k: int, dtype: str = "float32", n_iter: int = 20, **more: Any) -> Case:
    """The same number of Lloyd iterations from the same start."""
    fixed = {"max_iter": n_iter, "tol": 0.0}
    return Case(
        name=f"lloyd-{n_iter}-iterations n={n} d={d} k={k} {dtype}",
        make=functools.partial(mixture, n, d, k, dtype),
        systems={
            "kernelmill": _estimator("kernelmill.cluster", "KMeans", **fixed),
            "scikit-learn lloyd": _estimator("sklearn.cluster", "KMeans", **fixed),
            "scikit-learn-intelex": _estimator("sklearnex.cluster", "KMeans", **fixed),
            "faiss": _faiss(n_iter),
        },
        check=_same_inertia,
        work=_lloyd_work(n_iter),
        dtype=dtype,
        **more,
    )


def _converged(n: int, d: int, k: int, dtype: str = "float32") -> Case:
    """Until labels stand still (at most 300 iterations): where bounds pay."""
    fixed = {"max_iter": 300, "tol": 0.0}
    return Case(
        name=f"to-convergence n={n} d={d} k={k} {dtype}",
        make=functools.partial(mixture, n, d, k, dtype, spread=1.5),
        systems={
            "kernelmill": _estimator("kernelmill.cluster", "KMeans", **fixed),
            "scikit-learn lloyd": _estimator("sklearn.cluster", "KMeans", **fixed),
            "scikit-learn elkan": _estimator(
                "sklearn.cluster", "KMeans", algorithm="elkan", **fixed
            ),
            "scikit-learn-intelex": _estimator("sklearnex.cluster", "KMeans", **fixed),
        },
        check=_inertia_not_worse,
        dtype=dtype,
        want=1.5,
    )


def _small_fits(n_fits: int) -> Case:
    """Many small fits with restarts: what a search over parameters does all day."""

    def system(module: str) -> Callable[[Data], Callable[[], Any]]:
        def prepare(data: Data) -> Callable[[], Any]:
            kind = __import__(module, fromlist=["KMeans"]).KMeans

            def run():
                fits = (kind(6, n_init=10, random_state=s).fit(data.X) for s in range(n_fits))
                return sum(inertia(data.X, fit.cluster_centers_) for fit in fits)

            return run

        return prepare

    return Case(
        name=f"{n_fits}-fits n=600 d=5 k=6 n_init=10 float64",
        make=functools.partial(mixture, 600, 5, 6, "float64", spread=3.0),
        systems={
            "kernelmill": system("kernelmill.cluster"),
            "scikit-learn": system("sklearn.cluster"),
            "scikit-learn-intelex": system("sklearnex.cluster"),
        },
        check=lambda data, ours, other: not_worse(ours, other, 1e-3, "summed inertia"),
        dtype="float64",
        want=5.0,
    )


def _minibatch(n: int, d: int, k: int) -> Case:
    """Ten epochs of batches of 1024 from the same start, no early stop on either side."""
    fixed = {"batch_size": 1024, "max_iter": 10, "max_no_improvement": None, "random_state": 0}
    fixed["tol"] = 0.0
    return Case(
        name=f"minibatch-10-epochs n={n} d={d} k={k} float32",
        make=functools.partial(mixture, n, d, k),
        systems={
            "kernelmill": _estimator("kernelmill.cluster", "MiniBatchKMeans", **fixed),
            "scikit-learn": _estimator("sklearn.cluster", "MiniBatchKMeans", **fixed),
        },
        check=functools.partial(_inertia_not_worse, rtol=1e-2),  # both are noisy at the percent
        work=lambda data, _: Work(
            11 * 2.0 * n * k * d, 11 * 4.0 * n * d, "11 passes of 2nkd flops"
        ),
        want=3.0,
    )


def _predict(n: int, d: int, k: int, dtype: str = "float32", **more: Any) -> Case:
    """Labels of n rows under a fitted model; n = 1 is the latency of a call."""

    def system(module: str) -> Callable[[Data], Callable[[], Any]]:
        def prepare(data: Data) -> Callable[[], Any]:
            kind = __import__(module, fromlist=["KMeans"]).KMeans
            model = kind(k, init=data.start, n_init=1, max_iter=1, tol=0.0).fit(data.X)
            rows = data.X[:n].copy()
            return lambda: np.asarray(model.predict(rows))

        return prepare

    def same(data: Data, ours: np.ndarray, other: np.ndarray) -> str:
        differ = int((ours != other).sum())
        # Rows half way between two centers may differ by rounding: at most one in ten thousand.
        return "" if differ <= 1e-4 * n else f"{differ} labels of {n} differ"

    return Case(
        name=f"predict n={n} d={d} k={k} {dtype}",
        make=functools.partial(mixture, max(n, 20 * k), d, k, dtype),
        systems={
            "kernelmill": system("kernelmill.cluster"),
            "scikit-learn": system("sklearn.cluster"),
            "scikit-learn-intelex": system("sklearnex.cluster"),
        },
        check=same,
        dtype=dtype,
        **more,
    )


def _assign(n: int, d: int, k: int, dtype: str = "float32") -> Case:
    """The op alone beside its own floor: the fused product and argmin."""

    def ours(data: Data) -> Callable[[], Any]:
        from kernelmill.ops import kmeans

        centers = data.start.astype(np.float64)
        return lambda: kmeans.assign(data.X, centers)

    def brute(data: Data) -> Callable[[], Any]:
        half = (data.start**2).sum(1) / 2
        return lambda: ((half - data.X @ data.start.T).argmin(axis=1), None)

    def same(data: Data, ours: Any, other: Any) -> str:
        return _nearest_equal(data, ours[0], other[0])

    return Case(
        name=f"assign n={n} d={d} k={k} {dtype}",
        make=functools.partial(mixture, n, d, k, dtype),
        systems={"kernelmill": ours, "NumPy product, argmin": brute},
        check=same,
        work=lambda data, _: Work(2.0 * n * k * d, data.X.nbytes + 8.0 * n, "2nkd flops"),
        dtype=dtype,
    )


def _nearest_equal(data: Data, ours: np.ndarray, other: np.ndarray) -> str:
    """Empty when labels agree, or differ only between centers equally near within rounding."""
    rows = np.flatnonzero(ours != other)
    X = data.X[rows].astype(np.float64)
    C = data.start.astype(np.float64)
    gap = np.abs(((X - C[ours[rows]]) ** 2).sum(1) - ((X - C[other[rows]]) ** 2).sum(1))
    scale = (X**2).sum(1) + (C**2).sum(1).max()
    allowed = 4 * (data.X.shape[1] + 4) * np.finfo(data.X.dtype).eps * scale
    bad = int((gap > allowed).sum())
    return f"{bad} labels differ beyond rounding" if bad else ""


def cases(quick: bool) -> list[Case]:
    """The cases of the project's targets first, then shapes that nobody tuned for."""
    if quick:
        return [
            _fixed(5_000, 8, 10, n_iter=3),
            _converged(2_000, 4, 64),
            _small_fits(2),
            _minibatch(5_000, 8, 10),
            _predict(1, 8, 10),
            _assign(3_001, 7, 13),
        ]
    return [
        _fixed(200_000, 32, 100, want=1.5),
        _small_fits(10),
        _minibatch(300_000, 20, 50),
        _converged(100_000, 16, 64),
        _converged(200_000, 32, 100),
        _converged(50_000, 64, 256),
        _fixed(50_000, 300, 40, want=1.3),
        _fixed(200_000, 32, 100, "float64"),
        _fixed(99_991, 17, 7),
        _fixed(30_011, 3, 33, "float64"),
        _predict(1, 32, 100),
        _predict(200_000, 32, 100),
        _assign(200_000, 32, 100),
        _assign(50_000, 300, 40),
        _assign(100_003, 13, 1000),
    ]
