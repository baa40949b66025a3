"""Kernel matrices beside scikit-learn's pairwise kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

_KINDS = {"poly": 1, "rbf": 2, "laplacian": 4, "chi2": 5}


def _make(n: int, m: int, d: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((n, d)).astype(dtype), rng.random((m, d)).astype(dtype)


def _ours(kind: str) -> Callable[[Any], Callable[[], Any]]:
    def prepared(data: Any) -> Callable[[], Any]:
        from kernelmill.ops import kernels

        return lambda: kernels.matrix(*data, _KINDS[kind], 0.5, 1.0, 3.0)

    return prepared


def _peer(kind: str) -> Callable[[Any], Callable[[], Any]]:
    def prepared(data: Any) -> Callable[[], Any]:
        from sklearn.metrics import pairwise

        function = getattr(pairwise, "polynomial_kernel" if kind == "poly" else f"{kind}_kernel")
        return lambda: function(*data, gamma=0.5)

    return prepared


def _case(kind: str, n: int, m: int, d: int, dtype: Any = np.float32) -> Case:
    def work(data: Any, K: Any) -> Work:
        return Work(2.0 * n * m * d, float(K.nbytes), "one product, K written once")

    return Case(
        f"{kind} ({n}, {d}) x ({m}, {d}) {np.dtype(dtype).name}",
        lambda: _make(n, m, d, dtype),
        {"kernelmill": _ours(kind), "scikit-learn": _peer(kind)},
        lambda data, ours, other: arrays_close(ours, other, rtol=1e-3),
        work,
        dtype=np.dtype(dtype).name,
    )


def cases(quick: bool) -> list[Case]:
    """Gaussians, and kernels that are no products."""
    if quick:
        return [_case("rbf", 200, 300, 7)]
    return [
        _case("rbf", 4000, 4000, 20),
        _case("rbf", 2000, 5000, 100, np.float64),
        _case("poly", 4000, 4000, 20),
        _case("laplacian", 1000, 2000, 20),
        _case("chi2", 1000, 1000, 50),
    ]
