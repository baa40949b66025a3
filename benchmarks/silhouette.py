"""Silhouette score beside scikit-learn: no n x n matrix on our side."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, close


def _make(n: int, d: int, k: int, dtype: str):
    rng = np.random.default_rng(4)
    labels = rng.integers(k, size=n)
    X = 4 * rng.standard_normal((k, d))[labels] + rng.standard_normal((n, d))
    return X.astype(dtype), labels


def _system(module: str):
    def prepare(data: Any):
        score = __import__(module, fromlist=["silhouette_score"]).silhouette_score
        return lambda: float(score(*data))

    return prepare


def _case(n: int, d: int, k: int, dtype: str) -> Case:
    return Case(
        name=f"silhouette_score n={n} d={d} k={k} {dtype}",
        make=lambda: _make(n, d, k, dtype),
        systems={
            "kernelmill": _system("kernelmill.metrics"),
            "scikit-learn": _system("sklearn.metrics"),
        },
        check=lambda data, ours, other: close(ours, other, 1e-4, "score"),
        # A square root is counted as one operation; it has its own, slower unit.
        work=lambda data, _: Work(2.0 * n * n * d + n * n, data[0].nbytes, "2nnd flops"),
        dtype=dtype,
    )


def cases(quick: bool) -> list[Case]:
    """Sizes at which a distance matrix still fits for the peer."""
    if quick:
        return [_case(400, 5, 4, "float64")]
    return [_case(20_000, 16, 10, "float32"), _case(20_000, 16, 10, "float64")]
