"""Checks of values beside NumPy: the largest magnitude, and the number of missing entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work


def _make(n: int, d: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(6)
    X = rng.standard_normal((n, d)).astype(dtype)
    X[rng.integers(n, size=n // 10), 0] = np.nan
    return X


def _ours(X: np.ndarray) -> Any:
    from kernelmill.ops import values

    return lambda: values.extent(X)


def _numpy(X: np.ndarray) -> Any:
    def run() -> tuple[float, int]:
        largest = max(float(np.fmax.reduce(X, None)), -float(np.fmin.reduce(X, None)))
        return largest, int(np.isnan(X).sum())

    return run


def _case(n: int, d: int, dtype: str) -> Case:
    return Case(
        name=f"extent n={n} d={d} {dtype}",
        make=lambda: _make(n, d, dtype),
        systems={"kernelmill": _ours, "numpy": _numpy},
        check=lambda data, ours, other: "" if ours == other else f"{ours} is not {other}",
        work=lambda X, _: Work(2.0 * X.size, X.nbytes, "bytes"),
        dtype=dtype,
    )


def cases(quick: bool) -> list[Case]:
    """One row, as in a call of ``predict``, and arrays in and out of the cache."""
    shapes = [(10, 8), (1000, 20)] if quick else [(10, 8), (20_000, 20), (1_000_000, 20)]
    return [_case(n, d, dtype) for n, d in shapes for dtype in ("float32", "float64")]
