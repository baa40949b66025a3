"""The CTC loss beside torch: the loss alone, and with its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, outputs_close, torch_peer

# Steps, samples, classes, labels: characters and word pieces of speech, lines of handwriting.
SHAPES = ((150, 64, 32, 30), (500, 16, 1000, 80), (1000, 8, 32, 200))


def _case(shape: tuple[int, int, int, int], backward: bool) -> Case:
    steps, n, classes, labels = shape

    def make() -> list[np.ndarray]:
        rng = np.random.default_rng(6)
        x = rng.standard_normal((steps, n, classes), dtype=np.float32)
        x -= np.log(np.exp(x).sum(2, keepdims=True))
        target = rng.integers(1, classes, (n, labels))
        return [x, target, np.full(n, steps), np.full(n, labels)]

    def ours(data: Any) -> Any:
        from kernelmill import nn

        x = nn.Tensor(data[0], backward)

        def run() -> Any:
            x.grad = None
            loss = nn.functional.ctc_loss(x, *data[1:], reduction="sum")
            if not backward:
                return (loss.data,)
            loss.backward()
            return loss.data, x.grad.data

        return run

    def peer(torch: Any, x: Any, *rest: Any) -> Any:
        x = x.clone().requires_grad_(backward)

        def run() -> Any:
            x.grad = None
            loss = torch.nn.functional.ctc_loss(x, *rest, reduction="sum")
            if not backward:
                return (loss,)
            loss.backward()
            return loss.detach(), x.grad

        return run

    # torch's recursion adds logarithms of this size in float32.
    error = 1e-6 * steps * np.log(classes)

    def check(data: Any, ours: Any, other: Any) -> str:
        if not isinstance(other[-1], np.ndarray) and backward:  # torch's has the softmax in it
            other = other[0], np.asarray(other[1]) - np.exp(data[0])
        return outputs_close(error, 1e-5)(data, ours, other)

    visits = steps * n * (labels + 1) * (3 if backward else 1)
    moved = 4.0 * steps * n * classes * (2 if backward else 1)
    return Case(
        f"{'both ways' if backward else 'loss'} T={steps} N={n} C={classes} S={labels} float32",
        make,
        {"kernelmill": ours, "torch": torch_peer(peer)},
        check,
        lambda data, _: Work(100.0 * visits, moved, "100 flops a label and step, moved once"),
        dtype="float64",
        want=1.0,
    )


def cases(quick: bool) -> list[Case]:
    """Batches of speech and handwriting."""
    shapes = ((7, 3, 5, 2),) if quick else SHAPES
    return [_case(shape, backward) for shape in shapes for backward in (False, True)]
