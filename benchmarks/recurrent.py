"""Recurrent layers beside torch: forward, and forward with the gradients of all weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close, torch_peer

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
# Sequences, steps, features, units, then options; and what is wanted of a step.
WANTED = {"LSTM": 1.3, "GRU": 2.5}
SHAPES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "": ((32, 64, 128, 128), {}),
    "one sequence": ((1, 100, 128, 128), {}),
    "wide": ((32, 32, 512, 512), {}),
    "two layers, both directions": ((16, 50, 64, 64), {"num_layers": 2, "bidirectional": True}),
    "narrow": ((64, 50, 16, 32), {}),
    "tiny": ((3, 4, 5, 6), {}),
}


def _case(kind: str, name: str, backward: bool) -> Case:
    (batch, steps, features, units), options = SHAPES[name]

    def make() -> list[np.ndarray]:
        rng = np.random.default_rng(9)
        return [rng.standard_normal((steps, batch, features), np.float32)]

    def weights(layer: Any) -> dict[str, np.ndarray]:
        """The same for both libraries."""
        rng = np.random.default_rng(8)
        bound = units**-0.5
        return {
            key: rng.uniform(-bound, bound, tuple(value.shape)).astype(np.float32)
            for key, value in layer.state_dict().items()
        }

    def run(layer: Any, x: Any, no_grad: Any) -> Any:
        parameters = list(layer.parameters())

        def forward() -> Any:
            with no_grad():
                return [layer(x)[0].numpy()]

        def step() -> Any:
            for p in parameters:
                p.grad = None
            output, _ = layer(x)
            output.sum().backward()
            return [output.detach().numpy(), *(p.grad.numpy() for p in parameters)]

        return step if backward else forward

    def ours(data: Any) -> Any:
        from kernelmill import nn

        layer = getattr(nn, kind)(features, units, **options)
        layer.load_state_dict(weights(layer))
        return run(layer, nn.Tensor(data[0]), nn.no_grad)

    def torch(torch: Any, x: Any) -> Any:
        layer = getattr(torch.nn, kind)(features, units, **options)
        layer.load_state_dict({k: torch.from_numpy(v) for k, v in weights(layer).items()})
        return run(layer, x, torch.no_grad)

    def check(data: Any, ours: Any, other: Any) -> str:
        found = (
            arrays_close(a, b, 0.0, 2e-5 * max(1.0, float(np.abs(b).max())))
            for a, b in zip(ours, other, strict=True)
        )
        return "; ".join(filter(None, found))

    def work(data: Any, result: Any) -> Work:
        ways = 2 if options.get("bidirectional") else 1
        flops, width = 0.0, features
        for layer in range(options.get("num_layers", 1)):
            product = 2.0 * batch * steps * GATES[kind] * units * ways
            inputs, states = product * width, product * units
            # Backward: weights of both; states; inputs but the first layer's.
            back = 2 * states + inputs * (1 if layer == 0 else 2)
            flops += inputs + states + (back if backward else 0.0)
            width = units * ways
        return Work(flops, 0.0, "products of inputs, states and weights; gates not counted")

    shape = f"batch {batch} T={steps} {features}-{units}"
    return Case(
        f"{kind} {name + ' ' if name else ''}{shape} {'step' if backward else 'forward'} float32",
        make,
        {"kernelmill": ours, "torch": torch_peer(torch)},
        check,
        work,
        want=WANTED.get(kind, 1.0) if backward and not name else 1.0,
    )


def cases(quick: bool) -> list[Case]:
    """The usual size, one sequence, wide and narrow layers."""
    names = ["tiny"] if quick else [name for name in SHAPES if name != "tiny"]
    return [_case(kind, name, b) for name in names for kind in GATES for b in (False, True)]
