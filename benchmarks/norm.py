"""Layer, group and batch norm beside torch, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work, outputs_close, torch_peer


def _case(
    name: str,
    shape: tuple[int, int, int],
    passes: int,
    ours: Callable[..., Any],
    peer: Callable[..., Any],
) -> Case:
    def make() -> list[np.ndarray]:
        rng = np.random.default_rng(5)
        x, dout = rng.standard_normal((2, *shape), dtype=np.float32)
        weight, bias = rng.standard_normal((2, shape[1]), dtype=np.float32)
        return [x, dout, weight, bias]

    def prepare(data: Any) -> Any:
        from kernelmill.ops import norm

        return lambda: ours(norm, *data)

    def torch(torch: Any, x: Any, dout: Any, weight: Any, bias: Any) -> Any:
        inputs = [x.squeeze(2), weight, bias]
        dout = dout.squeeze(2)
        if passes == 2:
            return lambda: (peer(torch, *inputs).reshape(shape),)

        def both() -> Any:
            leaves = [v.detach().requires_grad_() for v in inputs]
            y = peer(torch, *leaves)
            y.backward(dout)
            return (y.detach().reshape(shape), leaves[0].grad.reshape(shape))

        return both

    return Case(
        f"{name} {' x '.join(map(str, shape))} float32",
        make,
        {"kernelmill": prepare, "torch": torch_peer(torch)},
        outputs_close(1e-4, 1e-4),
        lambda data, _: Work(0.0, passes * data[0].nbytes, f"{passes} arrays moved once"),
    )


def _layer(op: Any, x: Any, dout: Any, weight: Any, bias: Any, groups: int = 1) -> Any:
    y, mean, inverse = op.group(x, weight, bias, groups)
    return y, op.group_backward(dout, x, mean, inverse, weight)[0]


def _batch(op: Any, x: Any, dout: Any, weight: Any, bias: Any) -> Any:
    y, mean, _, inverse = op.batch(x, weight, bias)
    return y, op.batch_backward(dout, x, mean, inverse, weight)[0]


def cases(quick: bool) -> list[Case]:
    """Vectors and images."""
    layers = ((7, 9, 1),) if quick else ((4096, 4096, 1), (512, 768, 1))
    batches = ((7, 9, 1), (3, 4, 5)) if quick else ((256, 1024, 1), (32, 64, 3136), (32, 512, 49))
    made = []
    for shape in layers:
        def layer(t: Any, x: Any, w: Any, b: Any, c: int = shape[1]) -> Any:
            return t.nn.functional.layer_norm(x, (c,), w, b)

        made += [
            _case("layer norm", shape, 2, lambda op, x, d, w, b: op.group(x, w, b)[:1], layer),
            _case("layer norm both ways", shape, 5, _layer, layer),
        ]
    for shape in batches:
        def batch(t: Any, x: Any, w: Any, b: Any) -> Any:
            return t.nn.functional.batch_norm(x, None, None, w, b, True)

        made += [
            _case("batch norm", shape, 2, lambda op, x, d, w, b: op.batch(x, w, b)[:1], batch),
            _case("batch norm both ways", shape, 5, _batch, batch),
        ]
    return made
