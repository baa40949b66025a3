"""Elementwise functions beside NumPy and scipy.special: bound by memory when done well."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _peer(name: str):
    import scipy.special

    return {"logistic": scipy.special.expit, "erf": scipy.special.erf}.get(
        name, getattr(np, name, None)
    )


def _case(name: str, n: int, dtype: str) -> Case:
    def make():
        X = np.random.default_rng(6).uniform(-4, 4, n).astype(dtype)
        return np.abs(X) + np.asarray(0.1, dtype) if name.startswith("log") else X

    def ours(X: Any):
        from kernelmill.ops import elementwise

        run = getattr(elementwise, name)
        return lambda: run(X)

    def other(X: Any):
        run = _peer(name)
        return lambda: run(X)

    rtol = 8 * float(np.finfo(dtype).eps)
    return Case(
        name=f"{name} n={n} {dtype}",
        make=make,
        systems={"kernelmill": ours, "NumPy or scipy.special": other},
        check=lambda data, ours, other: arrays_close(ours, other, rtol=rtol, atol=rtol),
        work=lambda data, result: Work(0.0, data.nbytes + result.nbytes, "one read, one write"),
        dtype=dtype,
    )


def cases(quick: bool) -> list[Case]:
    """Every function whose name a peer shares, at 16M values and at a size that fits the cache."""
    from kernelmill.ops import all_ops

    names = [
        op.op_name
        for op in all_ops().values()
        if op.family == "elementwise" and _peer(op.op_name) is not None
    ]
    if quick:
        return [_case(name, 1001, "float32") for name in names]
    large = [_case(name, 16_777_216, "float32") for name in names]
    return [*large, *(_case(name, 10_000, "float64") for name in names)]
