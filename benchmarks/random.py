"""Counter-based random numbers beside NumPy's Generator.

The two are different generators, so the check compares mean and variance, each within six standard
errors of its own law.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work

# op -> (NumPy's method, mean, variance, variance of the squared deviation)
LAWS = {
    "uniform": ("random", 0.5, 1 / 12, 1 / 180),
    "normal": ("standard_normal", 0.0, 1.0, 2.0),
}


def _case(name: str, n: int, dtype: str) -> Case:
    method, mean, variance, spread = LAWS[name]

    def ours(_: Any) -> Callable[[], np.ndarray]:
        from kernelmill.ops import random

        run = getattr(random, name)
        return lambda: run(1, 0, 0, n, dtype=dtype)

    def numpy(_: Any) -> Callable[[], np.ndarray]:
        generator = np.random.default_rng(1)
        return lambda: getattr(generator, method)(n, dtype=dtype)

    def lawful(_: Any, __: np.ndarray, drawn: np.ndarray) -> str:
        drawn = drawn.astype(np.float64)
        if drawn.shape != (n,):
            return f"shape {drawn.shape} against {(n,)}"
        off_mean = abs(drawn.mean() - mean) / np.sqrt(variance / n)
        off_variance = abs(((drawn - mean) ** 2).mean() - variance) / np.sqrt(spread / n)
        if max(off_mean, off_variance) <= 6:
            return ""
        return f"mean and variance are {off_mean:.1f} and {off_variance:.1f} standard errors off"

    return Case(
        name=f"{name} n={n} {dtype}",
        make=lambda: None,
        systems={"kernelmill": ours, "NumPy": numpy},
        check=lawful,
        work=lambda _, result: Work(0.0, 1.0 * result.nbytes, "the result written once"),
        dtype=dtype,
    )


def cases(quick: bool) -> list[Case]:
    """Both laws in both dtypes."""
    n = 1003 if quick else 10_000_000
    return [_case(name, n, dtype) for name in LAWS for dtype in ("float32", "float64")]
