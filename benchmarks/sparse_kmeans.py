"""k-means on CSR rows beside scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work, close


def _make(n: int, d: int, k: int, density: float):
    import scipy.sparse

    X = scipy.sparse.random(
        n, d, density, format="csr", dtype=np.float32, rng=np.random.default_rng(7)
    )
    rows = np.random.default_rng(8).choice(n, k, replace=False)
    return X, X[rows].toarray()


def _system(module: str, n_iter: int) -> Callable[[Any], Callable[[], Any]]:
    def prepare(data: Any) -> Callable[[], Any]:
        kind = __import__(module, fromlist=["KMeans"]).KMeans
        X, start = data
        return lambda: kind(len(start), init=start, n_init=1, max_iter=n_iter, tol=0.0).fit(X)

    return prepare


def _inertia(X: Any, centers: np.ndarray) -> float:
    C = np.asarray(centers, dtype=np.float64)
    X = X.astype(np.float64)
    square = np.asarray(X.multiply(X).sum(1)).reshape(-1, 1) - 2 * (X @ C.T) + (C**2).sum(1)
    return float(np.maximum(square, 0).min(axis=1).sum())


def _case(n: int, d: int, k: int, density: float, n_iter: int = 10) -> Case:
    def same(data: Any, ours: Any, other: Any) -> str:
        X = data[0]
        got, want = (_inertia(X, fit.cluster_centers_) for fit in (ours, other))
        return close(got, want, 1e-4, "inertia")

    def work(data: Any, _: Any) -> Work:
        stored = data[0].nnz
        # A stored value and its column are read once a pass; k centers stay in cache at best.
        passes = n_iter + 1
        return Work(
            passes * 2.0 * stored * k, passes * 8.0 * stored, f"{passes} passes of 2 nnz k flops"
        )

    return Case(
        name=f"lloyd-{n_iter}-iterations n={n} d={d} k={k} density={density} float32",
        make=lambda: _make(n, d, k, density),
        systems={
            "kernelmill": _system("kernelmill.cluster", n_iter),
            "scikit-learn": _system("sklearn.cluster", n_iter),
        },
        check=same,
        work=work,
    )


def cases(quick: bool) -> list[Case]:
    """Text-like rows: wide and nearly empty."""
    if quick:
        return [_case(500, 200, 5, 0.05, 2)]
    return [_case(20_000, 5_000, 50, 0.01), _case(100_000, 1_000, 20, 0.02)]
