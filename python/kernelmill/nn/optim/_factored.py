"""Adafactor: second moments of matrices by their rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..._arrays import namespace
from .._documents import complete
from .._dtypes import is_half, narrowed, widened
from .._tape import written
from ._optimizer import Optimizer


def _size(x: Any) -> float:
    """The root of the mean square, without overflow."""
    return float(namespace(x).sqrt((x.astype(np.float64) ** 2).mean())) if x.size else 0.0


class Adafactor(Optimizer):
    """Adaptive steps whose state of a matrix is a row and a column (Shazeer and Stern 2018).

    Parameters
    ----------
    lr : float, default=0.01
        The largest relative step; it falls with the root of the number of steps.
    beta2_decay : float, default=-0.8
        The squares of step t are averaged with the weight ``t ** beta2_decay``.
    eps : tuple of float or None, default=(None, 1e-3)
        The least root of a mean square of gradients, the machine epsilon by default, and that of
        parameters.
    d : float, default=1.0
        Largest root mean square of a step.
    weight_decay : float, default=0
        Each step multiplies the parameter by ``1 - lr * weight_decay``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **torch: Any,
    ) -> None:
        chosen = {"lr": lr, "beta2_decay": beta2_decay, "d": d, "weight_decay": weight_decay,
                  "maximize": maximize}  # fmt: skip
        self._check(
            chosen, torch=torch, beta2_decay=(beta2_decay <= 0, "not be positive"),
            d=(d >= 1, "be at least 1"),
        )  # fmt: skip
        if not all(e is None or e >= 0 for e in eps):
            raise ValueError(f"Adafactor: eps must not be negative, got {eps}")
        super().__init__(params, {**chosen, "eps": eps})

    def step(self, closure: Callable[[], Any] | None = None, *, scale: float = 1.0) -> Any:
        loss = self._closed(closure)
        moved = []
        for group in self.param_groups:
            factor = -scale if group["maximize"] else scale
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, widened(p.grad.data), factor, group)
                    moved.append(p)
        written(moved)
        return loss

    def _move(self, p: Any, gradient: Any, factor: float, group: dict[str, Any]) -> None:
        value, state = widened(p.data), self.state[p]
        xp, dtype = namespace(value), value.dtype
        g = gradient * dtype.type(factor)
        state["step"] = step = state.get("step", 0.0) + 1.0
        if not g.size:
            return
        least = float(np.finfo(dtype).eps) if group["eps"][0] is None else group["eps"][0]
        fresh = step ** group["beta2_decay"]
        rate = max(group["eps"][1], _size(value)) * min(group["lr"], step**-0.5)
        if g.ndim > 1:
            means = []
            for name, axis in (("row_var", -1), ("col_var", -2)):
                mean = (g * g).mean(axis, keepdims=True)
                old = state.get(name)
                old = xp.zeros_like(mean) if old is None else old
                state[name] = (old + (mean - old) * fresh).astype(dtype)
                means.append(state[name])
            rows, columns = means
            spread = rows.mean(-2, keepdims=True).clip(least, None)
            squares = rows * columns / spread
        else:
            old = state.get("variance")
            old = xp.zeros_like(g) if old is None else old
            squares = state["variance"] = (old + (g * g - old) * fresh).astype(dtype)
        change = g / xp.sqrt(squares.clip(least * least, None))
        rate /= max(1.0, _size(change) / group["d"])
        value = value * dtype.type(1.0 - group["lr"] * group["weight_decay"])
        made = (value - change * dtype.type(rate)).astype(dtype, copy=False)
        p.data[...] = narrowed(made, p.data.dtype) if is_half(p.data.dtype) else made


complete(globals())
