"""Softmax and cross entropy beside torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work, outputs_close, torch_peer

SHAPES = ((4096, 4096, 1), (65_536, 10, 1), (64, 1000, 1), (32, 21, 16_384), (2048, 32_000, 1))


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
        y = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        return [x, y, dout, rng.integers(0, shape[1], (shape[0], shape[2]))]

    def prepare(data: Any) -> Any:
        from kernelmill.ops import softmax

        return lambda: ours(softmax, *data)

    return Case(
        f"{name} {' x '.join(map(str, shape))} float32",
        make,
        {"kernelmill": prepare, "torch": torch_peer(lambda t, *data: lambda: peer(t, *data))},
        outputs_close(2e-5, 2e-5),
        lambda data, _: Work(0.0, passes * data[0].nbytes, f"{passes} arrays moved once"),
    )


def _loss(torch: Any, x: Any, target: Any) -> Any:
    return torch.nn.functional.cross_entropy(x, target, reduction="none")


def _loss_and_gradient(torch: Any, x: Any, target: Any) -> Any:
    x = x.detach().requires_grad_()
    loss = _loss(torch, x, target)
    loss.sum().backward()
    return loss.detach(), x.grad


def _ours_loss_and_gradient(op: Any, x: Any, target: Any) -> Any:
    losses, lse, _ = op.cross_entropy(x, target)
    return losses, op.cross_entropy_backward(np.ones_like(losses), x, lse, target)


def cases(quick: bool) -> list[Case]:
    """Attention-like, classifier, segmentation and vocabulary shapes."""
    made = []
    for shape in ((5, 7, 3),) if quick else SHAPES:
        made += [
            _case("softmax", shape, 2, lambda op, x, *_: (op.softmax(x),),
                  lambda t, x, *_: (t.softmax(x, 1),)),
            _case("softmax backward", shape, 3,
                  lambda op, x, y, dout, _: (op.softmax_backward(dout, y),),
                  lambda t, x, y, dout, _: (
                      t.ops.aten._softmax_backward_data(dout, y, 1, t.float32),)),
            _case("cross entropy", shape, 1, lambda op, x, y, d, c: op.cross_entropy(x, c)[:1],
                  lambda t, x, y, d, c: (_loss(t, x, c),)),
            _case("cross entropy both ways", shape, 3,
                  lambda op, x, y, d, c: _ours_loss_and_gradient(op, x, c),
                  lambda t, x, y, d, c: _loss_and_gradient(t, x, c)),
        ]  # fmt: skip
    return made
