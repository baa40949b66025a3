"""Reductions beside NumPy, SciPy and torch: bound by one read of memory when done well."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

NUMPY = {"variance": "var"}
TORCH = {"max": "amax", "min": "amin", "variance": "var"}


def _numpy(name: str, X: np.ndarray, axis: int | None) -> Any:
    import scipy.special

    if name == "logsumexp":
        return lambda: scipy.special.logsumexp(X, axis=axis)
    if name == "norm":
        return lambda: np.linalg.norm(X if axis is not None else X.ravel(), axis=axis)
    return lambda: getattr(np, NUMPY.get(name, name))(X, axis=axis)


def _torch(name: str, X: np.ndarray, axis: int | None) -> Any:
    import torch

    tensor, dims = torch.from_numpy(X), tuple(range(X.ndim)) if axis is None else axis
    if name.startswith("arg"):
        return lambda: getattr(torch, name)(tensor, dim=axis).numpy()
    if name == "variance":
        return lambda: torch.var(tensor, dim=dims, correction=0).numpy()
    if name == "norm":
        return lambda: torch.linalg.vector_norm(tensor, dim=dims).numpy()
    return lambda: getattr(torch, TORCH.get(name, name))(tensor, dim=dims).numpy()


def _case(name: str, shape: tuple[int, int], axis: int | None, dtype: str) -> Case:
    def ours(X: Any):
        from kernelmill.ops import reduction

        run = getattr(reduction, name)
        return lambda: run(X, axis)

    # float32 sums of the others carry more of their own rounding than ours.
    n = shape[0] * shape[1] if axis is None else shape[axis]
    rtol = 8 * float(np.finfo(dtype).eps) * max(1.0, np.log2(n))
    return Case(
        name=f"{name} {shape} axis={axis} {dtype}",
        make=lambda: np.random.default_rng(8).uniform(0, 4, shape).astype(dtype),
        systems={
            "kernelmill": ours,
            "NumPy or SciPy": lambda X: _numpy(name, X, axis),
            "torch": lambda X: _torch(name, X, axis),
        },
        check=lambda data, ours, other: arrays_close(
            ours.astype(dtype), np.asarray(other, dtype), rtol=rtol, atol=0.0
        ),
        work=lambda data, result: Work(0.0, data.nbytes, "each value read once"),
        dtype=dtype,
    )


def cases(quick: bool) -> list[Case]:
    """Every reduction of a 4096 x 4096 float32 matrix along rows, columns and both; short rows."""
    from kernelmill.ops.reduction import ROWS

    if quick:
        return [_case(name, (100, 37), 0, "float32") for name in ROWS]
    large = [_case(name, (4096, 4096), axis, "float32") for name in ROWS for axis in (0, 1, None)]
    short = [_case(name, (500_000, 10), axis, "float32") for name in ROWS for axis in (0, 1)]
    return [*large, *short]
