"""Euclidean distances beside scikit-learn and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _make(n: int, m: int, d: int, dtype: str):
    rng = np.random.default_rng(3)
    return rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((m, d)).astype(dtype)


def _ours(data: Any):
    from kernelmill.ops import pairwise

    return lambda: pairwise.euclidean(*data)


def _sklearn(data: Any):
    from sklearn.metrics.pairwise import euclidean_distances

    return lambda: euclidean_distances(*data)


def _scipy(data: Any):
    from scipy.spatial.distance import cdist

    return lambda: cdist(*data)


def _case(n: int, m: int, d: int, dtype: str) -> Case:
    rtol = 100 * float(np.finfo(dtype).eps) * d

    def work(data: Any, result: np.ndarray) -> Work:
        X, Y = data
        moved = X.nbytes + Y.nbytes + result.nbytes
        return Work(2.0 * n * m * d, moved, "2nmd flops, or the result written once")

    return Case(
        name=f"euclidean n={n} m={m} d={d} {dtype}",
        make=lambda: _make(n, m, d, dtype),
        systems={"kernelmill": _ours, "scikit-learn": _sklearn, "SciPy cdist": _scipy},
        check=lambda data, ours, other: arrays_close(ours, other.astype(dtype), rtol, atol=rtol),
        work=work,
        dtype=dtype,
    )


def cases(quick: bool) -> list[Case]:
    """Square and tall, wide and narrow, both dtypes."""
    if quick:
        return [_case(100, 70, 5, "float32")]
    return [
        _case(4096, 4096, 64, "float32"),
        _case(4096, 4096, 64, "float64"),
        _case(100_000, 50, 10, "float32"),
        _case(1000, 1001, 1003, "float32"),
    ]
