"""Dropout beside torch. Their masks differ, so the share of zeros is checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, torch_peer


def _case(n: int, dtype: str) -> Case:
    def ours(data: Any) -> Any:
        from kernelmill.ops import dropout

        (x,) = data
        return lambda: dropout.dropout(x, 0.5, 1, 0, 2.0)

    def peer(torch: Any, x: Any) -> Any:
        return lambda: torch.nn.functional.dropout(x, 0.5)

    def lawful(_: Any, __: Any, drawn: Any) -> str:
        off = abs((np.asarray(drawn) == 0).mean() - 0.5) / np.sqrt(0.25 / n)
        return "" if off <= 6 else f"the share of zeros is {off:.1f} standard errors off"

    return Case(
        f"dropout n={n} {dtype}",
        lambda: [np.ones((1, n), dtype)],
        {"kernelmill": ours, "torch": torch_peer(peer)},
        lawful,
        lambda data, _: Work(0.0, 2.0 * data[0].nbytes, "two arrays moved once"),
        dtype,
    )


def cases(quick: bool) -> list[Case]:
    """A hidden layer's batch, and what fills no cache."""
    sizes = (1003,) if quick else (64 * 1024, 16_000_000)
    return [_case(n, dtype) for n in sizes for dtype in ("float32", "float64")]
