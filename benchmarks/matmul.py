"""The dense product beside NumPy's BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _make(m: int, k: int, n: int, dtype: str):
    rng = np.random.default_rng(5)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def _ours(data: Any):
    from kernelmill.ops import matmul

    return lambda: matmul.matmul(*data)


def _numpy(data: Any):
    return lambda: data[0] @ data[1]


def _case(m: int, k: int, n: int, dtype: str, want: float | None = None) -> Case:
    # Both sums carry at most about k * eps of sum |a b|, which is about k for standard normals.
    atol = 2 * k * float(np.finfo(dtype).eps) * max(1.0, np.sqrt(k))

    def work(data: Any, result: np.ndarray) -> Work:
        moved = data[0].nbytes + data[1].nbytes + result.nbytes
        return Work(2.0 * m * k * n, moved, "2mkn flops, or three matrices moved once")

    return Case(
        name=f"matmul m={m} k={k} n={n} {dtype}",
        make=lambda: _make(m, k, n, dtype),
        systems={"kernelmill": _ours, "NumPy": _numpy},
        check=lambda data, ours, other: arrays_close(ours, other, rtol=0.0, atol=atol),
        work=work,
        dtype=dtype,
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Large squares, panels as k-means has them, and tails."""
    if quick:
        return [_case(65, 33, 17, "float32")]
    squares = [(n, n, n) for n in (256, 1024, 2048)]
    # m, k, n: k-means on a tall matrix, a layer on a batch, a layer on a small batch, odd sizes.
    others = [(65_536, 32, 100), (256, 1024, 1024), (64, 784, 128), (1009, 1013, 1019)]
    return [
        _case(m, k, n, dtype, want=0.95 if m == n == k else 1.0)
        for dtype in ("float32", "float64")
        for m, k, n in squares + others
    ]
