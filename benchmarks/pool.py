"""Pools beside torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

# Images and channels, size, kernel, stride, padding.
POOLS = {
    "2x2": ((16, 64), 56, 2, 2, 0),
    "3x3 stride 2": ((16, 64), 112, 3, 2, 1),
    "global": ((32, 512), 7, 7, 7, 0),
    "tiny": ((2, 3), 9, 2, 2, 0),
}


def _case(name: str, kind: str) -> Case:
    batch, size, kernel, stride, padding = POOLS[name]
    three = ((1, kernel, kernel), (1, stride, stride), (0, padding, padding))

    def make() -> np.ndarray:
        return np.random.default_rng(10).standard_normal((*batch, size, size)).astype(np.float32)

    def ours(x: np.ndarray) -> Any:
        from kernelmill.ops import pool

        planes = x.reshape(-1, 1, size, size)
        w = pool.windows((1, size, size), *three)
        if kind == "max":
            return lambda: pool.maximum(planes, w.begin, w.end, w.step, *w.out)[0]
        return lambda: pool.average(planes, w.begin, w.end, w.counts, 1.0, *w.out)

    def torch(x: np.ndarray) -> Any:
        import torch

        t = torch.from_numpy(x)
        f = torch.nn.functional
        more = (kernel, stride, padding)
        if kind == "max":
            return lambda: f.max_pool2d(t, *more, return_indices=True)[0].numpy()
        return lambda: f.avg_pool2d(t, *more).numpy()

    def check(data: Any, ours: np.ndarray, other: np.ndarray) -> str:
        return arrays_close(ours.reshape(other.shape), other, rtol=1e-5, atol=1e-6)

    def work(data: Any, result: Any) -> Work:
        return Work(
            0.0, data.nbytes + 3.0 * result.nbytes, "input read, values and indices written"
        )

    systems = {"kernelmill": ours, "torch": torch}
    return Case(f"{kind} {name} {batch} {size} float32", make, systems, check, work, want=1.0)


def cases(quick: bool) -> list[Case]:
    """Pools of well-known networks."""
    names = ["tiny"] if quick else [name for name in POOLS if name != "tiny"]
    return [_case(name, kind) for name in names for kind in ("max", "average")]
