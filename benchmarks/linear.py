"""Dense layers beside torch, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, outputs_close, torch_peer


def _operands(n: int, i: int, o: int, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = (n, i), (o, i), (o,), (n, o)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _bound(i: int, dtype: str) -> float:
    """Rounding errors of two sums of i products of standard normals."""
    return 4 * i * float(np.finfo(dtype).eps) * max(1.0, np.sqrt(i))


def _forward(n: int, i: int, o: int, activation: str, dtype: str) -> Case:
    def ours(data: Any):
        from kernelmill.ops import linear

        x, weight, bias, _ = data
        at = linear.ACTIVATIONS.index(activation)
        return lambda: linear.forward(x, weight, bias, at)[:1]

    def torch(torch: Any, x: Any, weight: Any, bias: Any, _: Any):
        functional = torch.nn.functional
        finish = getattr(functional, activation, lambda z: z)
        return lambda: (finish(functional.linear(x, weight, bias)),)

    return Case(
        f"forward {n} x {i} -> {o} {activation} {dtype}",
        lambda: _operands(n, i, o, dtype),
        {"kernelmill": ours, "torch": torch_peer(torch)},
        outputs_close(_bound(i, dtype)),
        lambda *_: Work(2.0 * n * i * o, 0.0, "2 n i o flops"),
        dtype,
    )


def _backward(n: int, i: int, o: int, dtype: str) -> Case:
    def ours(data: Any):
        from kernelmill.ops import linear

        x, weight, _, dout = data
        return lambda: linear.backward(dout, x, weight)

    def torch(torch: Any, x: Any, weight: Any, _: Any, dout: Any):
        return lambda: (dout @ weight, dout.T @ x, dout.sum(0))

    return Case(
        f"backward {n} x {i} -> {o} {dtype}",
        lambda: _operands(n, i, o, dtype),
        {"kernelmill": ours, "torch": torch_peer(torch)},
        outputs_close(_bound(max(n, o), dtype)),
        lambda *_: Work(4.0 * n * i * o, 0.0, "4 n i o flops"),
        dtype,
    )


def cases(quick: bool) -> list[Case]:
    """The layers of two common networks, and one row."""
    if quick:
        return [_forward(5, 9, 3, "relu", "float32"), _backward(5, 9, 3, "float32")]
    shapes = [(64, 784, 128), (256, 1024, 1024), (1, 1024, 1024), (8, 64, 64)]
    return [
        *(_forward(*shape, a, "float32") for shape in shapes for a in ("identity", "relu", "gelu")),
        *(_backward(*shape, "float32") for shape in shapes),
        _forward(256, 1024, 1024, "gelu", "float64"),
    ]
