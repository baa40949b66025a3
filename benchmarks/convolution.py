"""Convolutions beside torch: forward, and the gradients of input and weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

# Name: images, channels, outputs, size, kernel, stride, groups.
LAYERS = {
    "3x3": (16, 64, 64, 56, 3, 1, 1),
    "3x3 wide": (32, 128, 128, 28, 3, 1, 1),
    "3x3 deep": (32, 512, 512, 7, 3, 1, 1),
    "3x3 one image": (1, 256, 256, 14, 3, 1, 1),
    "3x3 stride 2": (16, 64, 128, 56, 3, 2, 1),
    "1x1": (16, 64, 256, 56, 1, 1, 1),
    "1x1 one image": (1, 256, 64, 56, 1, 1, 1),
    "5x5": (32, 32, 64, 28, 5, 1, 1),
    "7x7 stride 2": (4, 3, 64, 224, 7, 2, 1),
    "depthwise 3x3": (16, 128, 128, 56, 3, 1, 128),
    "digits": (32, 1, 32, 28, 3, 1, 1),
    "tiny": (2, 3, 4, 9, 3, 1, 1),
}


def _make(layer: tuple[int, ...]) -> Any:
    images, channels, outputs, size, kernel, stride, groups = layer
    rng = np.random.default_rng(9)
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return (
        draw(images, channels, size, size),
        draw(outputs, channels // groups, kernel, kernel),
        draw(images, outputs, out, out),
    )


def _case(name: str, kind: str) -> Case:
    layer = LAYERS[name]
    size, kernel, stride, groups = layer[3:]
    more = ((stride,) * 2, (kernel // 2,) * 2, (1, 1), groups)

    def ours(data: Any) -> Any:
        from kernelmill.ops import convolution as op

        x, w, d = data
        if kind == "forward":
            return lambda: op.forward(x, w, None, *more)
        if kind == "input gradient":
            return lambda: op.input_gradient(d, w, None, (size, size), *more)
        return lambda: op.weight_gradient(x, d, (kernel, kernel), *more)

    def torch(data: Any) -> Any:
        import torch

        x, w, d = (torch.from_numpy(a) for a in data)
        if kind == "forward":
            return lambda: torch.nn.functional.conv2d(x, w, None, *more).numpy()
        mask = [kind == "input gradient", kind == "weight gradient", False]
        back = torch.ops.aten.convolution_backward
        at = mask.index(True)
        return lambda: back(d, x, w, None, *more[:3], False, [0, 0], groups, mask)[at].numpy()

    def check(data: Any, ours: np.ndarray, other: np.ndarray) -> str:
        """Sums of n products of normal numbers in float32, in any two orders.

        A rounding is off by at most u = 2^-24 of a partial sum, which is at most the sum of the
        absolute products, about 2 n / pi; n roundings of either sign add up to 4 sqrt(n) of that
        but for one sum in 1,000 at the most (Higham and Mary 2019). On depthwise weights, n =
        50,176, we are 0.0006 and torch is 0.009 from float64; this is 1.7, a wrong tap 200.
        """
        _, w, d = data
        n = {
            "forward": w[0].size,
            "input gradient": w.size // w.shape[1] // groups,
            "weight gradient": d.size // d.shape[1],
        }[kind]
        return arrays_close(ours, other, rtol=0.0, atol=4 * n**0.5 * 2.0**-24 * 2 * n / np.pi)

    def work(data: Any, result: Any) -> Work:
        flops = 2.0 * data[2].size * data[1][0].size
        moved = sum(a.nbytes for a in data)
        return Work(flops, moved, "2 flops per output, channel and tap, or all moved once")

    systems = {"kernelmill": ours, "torch": torch}
    label = f"{kind} {name} {'x'.join(map(str, layer))} float32"
    return Case(label, lambda: _make(layer), systems, check, work, want=1.0)


def cases(quick: bool) -> list[Case]:
    """Layers of well-known networks, at batches of 1 to 32."""
    names = ["tiny"] if quick else [name for name in LAYERS if name != "tiny"]
    kinds = ("forward", "input gradient", "weight gradient")
    return [_case(name, kind) for name in names for kind in kinds]
