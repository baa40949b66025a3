"""Elementwise functions beside NumPy, SciPy and torch: bound by memory when done well."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

# Name here: name in torch, where NumPy and SciPy have none of that name.
TORCH = {
    "logistic": "sigmoid", "relu": "relu", "gelu": "nn.functional.gelu",
    "silu": "nn.functional.silu", "softplus": "nn.functional.softplus", "elu": "nn.functional.elu",
}  # fmt: skip
SAME = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt", "add", "multiply", "less")


def _numpy(name: str) -> Any:
    import scipy.special

    return {"logistic": scipy.special.expit, "erf": scipy.special.erf}.get(
        name, getattr(np, name, None)
    )


def _torch(name: str) -> Any:
    import torch

    found = torch
    for part in TORCH.get(name, name).split("."):
        found = getattr(found, part)
    return found


def _case(name: str, shapes: tuple[tuple[int, ...], ...], dtype: str, want: float | None) -> Case:
    def make():
        rng = np.random.default_rng(6)
        arrays = [rng.uniform(-4, 4, shape).astype(dtype) for shape in shapes]
        if name in ("log", "log1p", "sqrt"):
            arrays[0] = np.abs(arrays[0]) + np.asarray(0.1, dtype)
        return arrays

    def ours(arrays: Any):
        from kernelmill.ops import elementwise

        run = getattr(elementwise, name)
        more = (1.0,) if name == "elu" else ()
        return lambda: run(*arrays, *more)

    def numpy(arrays: Any):
        run = _numpy(name)
        return lambda: run(*arrays)

    def torch(arrays: Any):
        import torch

        run, tensors = _torch(name), [torch.from_numpy(a) for a in arrays]
        return lambda: run(*tensors).numpy()

    rtol = 8 * float(np.finfo(dtype).eps)
    # gelu and softplus of torch lose digits where x is far below zero.
    atol = rtol if name not in TORCH else 16 * rtol
    systems = {"kernelmill": ours, "NumPy or scipy.special": numpy, "torch": torch}
    if _numpy(name) is None:
        del systems["NumPy or scipy.special"]
    label = " x ".join("(" + ", ".join(map(str, shape)) + ")" for shape in shapes)
    return Case(
        name=f"{name} {label} {dtype}",
        make=make,
        systems=systems,
        check=lambda data, ours, other: arrays_close(
            ours.astype(dtype), other.astype(dtype), rtol=rtol, atol=atol
        ),
        work=lambda data, result: Work(
            0.0, sum(a.nbytes for a in data) + result.nbytes, "each array read or written once"
        ),
        dtype=dtype,
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Functions of 4096 x 4096 float32 values, broadcast rows and columns, and small arrays."""
    unary = [name for name in (*SAME, *TORCH) if name not in ("add", "multiply", "less")]
    if quick:
        return [_case(name, ((1001,),), "float32", None) for name in unary]
    square, row, column = (4096, 4096), (4096,), (4096, 1)
    large = [_case(name, (square,), "float32", 3.0) for name in unary]
    large += [_case(name, (square, square), "float32", 2.0) for name in ("add", "multiply", "less")]
    large += [_case("multiply", (square, other), "float32", 2.0) for other in (row, column)]
    small = [_case(name, ((10_000,),), "float64", None) for name in unary]
    small += [_case("add", ((16,), (16,)), "float32", None)]
    return [*large, *small]
