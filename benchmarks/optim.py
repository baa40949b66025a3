"""A step of an optimiser beside torch's fused one: bound by memory when done well."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

MODELS = {
    "MLP": [(512, 784), (512,), (256, 512), (256,), (10, 256), (10,)],
    "CNN": [(64, 64, 3, 3), (64,)] * 20,
    "one layer": [(4096, 4096)],
    "tiny": [(32, 16), (32,), (10, 32), (10,)],
}
ARRAYS_MOVED = {"sgd": 5, "adam": 7}  # read or written: parameter, gradient, state


def _make(model: str):
    rng = np.random.default_rng(8)
    shapes = MODELS[model]
    return [[rng.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(2)]


def _ours(name: str) -> Any:
    def prepare(data: Any):
        from kernelmill.ops import optim

        parameters = [p.copy() for p in data[0]]
        n_states = ARRAYS_MOVED[name] // 2 - 1
        states = [[np.zeros_like(p) for p in parameters] for _ in range(n_states)]
        options = {"momentum": 0.9} if name == "sgd" else {}
        step = 0

        def run():
            nonlocal step
            step += 1
            getattr(optim, name)(parameters, data[1], *states, step=step, lr=1e-3, **options)
            return parameters

        return run

    return prepare


def _torch(name: str) -> Any:
    def prepare(data: Any):
        import torch

        parameters = [torch.tensor(p) for p in data[0]]
        for p, g in zip(parameters, data[1], strict=True):
            p.grad = torch.from_numpy(g)
        made = {
            "sgd": lambda: torch.optim.SGD(parameters, 1e-3, momentum=0.9, fused=True),
            "adam": lambda: torch.optim.Adam(parameters, 1e-3, fused=True),
        }[name]()

        def run():
            made.step()
            return [p.numpy() for p in parameters]

        return run

    return prepare


def _check(data: Any, ours: Any, other: Any) -> str:
    return next(
        (c for a, b in zip(ours, other, strict=True) if (c := arrays_close(a, b, 1e-5, 1e-6))), ""
    )


def _case(name: str, model: str) -> Case:
    def work(data: Any, result: Any) -> Work:
        moved = ARRAYS_MOVED[name] * sum(p.nbytes for p in result)
        return Work(0.0, moved, "parameter, gradient and state read, all but the gradient written")

    return Case(
        name=f"{name} {model} float32",
        make=lambda: _make(model),
        systems={"kernelmill": _ours(name), "torch (fused)": _torch(name)},
        check=_check,
        work=work,
        want=1.0,
    )


def cases(quick: bool) -> list[Case]:
    """Momentum and Adam over the parameters of models of several sizes."""
    models = ["tiny"] if quick else [*MODELS]
    return [_case(name, model) for name in ARRAYS_MOVED for model in models]
