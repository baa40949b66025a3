"""Second moments of rows beside NumPy's product, which is BLAS's symmetric one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _make(n: int, d: int, dtype: Any) -> Any:
    return np.random.default_rng(5).standard_normal((n, d)).astype(dtype)


def _ours(X: Any) -> Any:
    from kernelmill.ops import moments

    targets, origin = np.empty((len(X), 0)), X[:64].mean(0, dtype=np.float64)
    return lambda: moments.products(X, targets, origin)


def _numpy(X: Any) -> Any:
    origin = X[:64].mean(0, dtype=np.float64)

    def run() -> Any:
        z = X - origin
        return z.T @ z

    return run


def _case(n: int, d: int, dtype: Any) -> Case:
    def check(_: Any, ours: Any, other: Any) -> str:
        return arrays_close(ours[:d, :d] / n, other[:d, :d] / n, 0, 1e-9)

    def work(X: Any, _: Any) -> Work:
        return Work(1.0 * n * d * d, X.nbytes, "half of the product")

    return Case(
        f"moments n={n} d={d} {np.dtype(dtype).name}",
        lambda: _make(n, d, dtype),
        {"kernelmill": _ours, "numpy": _numpy},
        check,
        work,
        dtype="float64",
    )


def cases(quick: bool) -> list[Case]:
    """Shapes of regressions and of principal components."""
    if quick:
        return [_case(2000, 20, np.float64)]
    return [
        _case(400_000, 60, np.float64),
        _case(400_000, 60, np.float32),
        _case(1_000_000, 8, np.float64),
        _case(20_000, 1000, np.float64),
    ]
