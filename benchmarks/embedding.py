"""Rows of a table beside torch, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, outputs_close, torch_peer


def _make(v: int, d: int, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((v, d), dtype=np.float32)
    dout = rng.standard_normal((n, d), dtype=np.float32)
    return [weight, dout, rng.integers(0, v, n), np.arange(0, n, 10)]


def _cases(v: int, d: int, n: int) -> list[Case]:
    systems: dict[str, tuple[Any, Any]] = {
        "rows": (
            lambda op, weight, dout, index, offsets: op.forward(weight, index),
            lambda t, weight, dout, index, offsets: t.nn.functional.embedding(index, weight),
        ),
        "gradient": (
            lambda op, weight, dout, index, offsets: op.backward(dout, index, len(weight)),
            lambda t, weight, dout, index, offsets: t.ops.aten.embedding_dense_backward(
                dout, index, len(weight), -1, False
            ),
        ),
        "bags of 10": (
            lambda op, weight, dout, index, offsets: op.bag(weight, index, offsets),
            lambda t, weight, dout, index, offsets: t.nn.functional.embedding_bag(
                index, weight, offsets, mode="sum"
            ),
        ),
    }

    def prepared(ours: Any) -> Any:
        def prepare(data: Any) -> Any:
            from kernelmill.ops import embedding

            return lambda: (ours(embedding, *data),)

        return prepare

    def peer(function: Any) -> Any:
        return torch_peer(lambda t, *data: lambda: (function(t, *data),))

    return [
        Case(
            f"{name} v={v} d={d} n={n} float32",
            lambda: _make(v, d, n),
            {"kernelmill": prepared(ours), "torch": peer(torch)},
            outputs_close(1e-4),
            lambda data, result: Work(
                0.0, data[1].nbytes + result[0].nbytes, "the rows read, the result written"
            ),
        )
        for name, (ours, torch) in systems.items()
    ]


def cases(quick: bool) -> list[Case]:
    """A vocabulary, and a small table."""
    if quick:
        return _cases(7, 5, 20)
    return [*_cases(50_000, 256, 8192), *_cases(100, 32, 50_000)]
