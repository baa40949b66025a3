"""Conversions between float16 and float32 beside NumPy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, torch_peer


def _same(_: Any, ours: Any, other: Any) -> str:
    got, want = (np.asarray(a).reshape(-1).view(np.uint8) for a in (ours, other))
    return "" if np.array_equal(got, want) else "the bits differ"


def _case(n: int, wide: bool) -> Case:
    source, target = ("float16", "float32") if wide else ("float32", "float16")

    def ours(data: Any) -> Any:
        from kernelmill.ops import half

        (x,) = data
        if wide:
            return lambda: half.widen(x.view(np.uint8).reshape(-1, 2))
        return lambda: half.narrow(x).view(np.float16)

    def numpy(data: Any) -> Any:
        (x,) = data
        return lambda: x.astype(target)

    def peer(torch: Any, x: Any) -> Any:
        return lambda: x.to(getattr(torch, target))

    return Case(
        f"{source} to {target} n={n}",
        lambda: [np.random.default_rng(0).standard_normal(n).astype(source)],
        {"kernelmill": ours, "numpy": numpy, "torch": torch_peer(peer)},
        _same,
        lambda data, _: Work(0.0, 6.0 * n, "both arrays moved once"),
        source,
    )


def cases(quick: bool) -> list[Case]:
    """A hidden layer's batch, and what fills no cache."""
    sizes = (1003,) if quick else (64 * 1024, 16_000_000)
    return [_case(n, wide) for n in sizes for wide in (True, False)]
