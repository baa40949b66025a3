"""The steps of an epoch, and when to stop: for the trainer and the estimators over networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._arrays import namespace
from ..ops import optim as rules
from ._elementwise import widened


@dataclass
class Totals:
    """Sums over the batches of an epoch so far.

    Attributes
    ----------
    loss : float
        Sum of the losses of all counted items.
    count : float
        Number of counted items, or the sum of their weights.
    batches, steps, skipped : int
        Batches read, optimiser steps, and batches or steps left out as not finite.
    ended : bool
        Whether all batches were read.
    """

    loss: float = 0.0
    count: float = 0.0
    batches: int = 0
    steps: int = 0
    skipped: int = 0
    ended: bool = False

    def mean(self) -> float:
        """The mean loss of a counted item; NaN without any."""
        return self.loss / self.count if self.count else math.nan


@dataclass(frozen=True)
class Patience:
    """The best value of a monitored number so far, and epochs since then.

    Attributes
    ----------
    sign : float
        -1 where smaller is better, else 1.
    tol : float
        Least gain that counts.
    best : float
        The best value, times ``sign``.
    since : int
        Epochs without a gain.
    """

    sign: float = -1.0
    tol: float = 0.0
    best: float = -math.inf
    since: int = 0

    def after(self, value: float) -> Patience:
        """With one more epoch. NaN is no gain."""
        signed = self.sign * value
        gained = signed > self.best + self.tol
        best = signed if signed > self.best else self.best
        return replace(self, best=best, since=0 if gained else self.since + 1)


def gradients(optimizer: Any) -> list[Any]:
    """The arrays of the gradients of all parameters that have one."""
    learnt = [p for group in optimizer.param_groups for p in group["params"]]
    return [p.grad.data for p in learnt if p.grad is not None]


def copied(optimizer: Any) -> dict[str, Any]:
    """The state of an optimiser in memory of its own."""

    def own(value: Any) -> Any:
        if isinstance(value, list):
            return [own(item) for item in value]
        return value.copy() if hasattr(value, "__array__") else value

    state = optimizer.state_dict()
    kept = {key: {name: own(v) for name, v in one.items()} for key, one in state["state"].items()}
    return {"state": kept, "param_groups": state["param_groups"]}


class NotFinite(ValueError):
    """A loss or gradient is NaN or infinite."""


class Steps:
    """Steps of an optimiser over batches.

    Parameters
    ----------
    optimizer : Optimizer
    forward : callable
        ``forward(batch)`` returns the loss and the number of counted items first.
    summed : bool
        Whether the loss is a sum over the items rather than their mean.
    accumulate : int
        Batches of one step.
    clip_norm, clip_value : float or None
        Limits of the norm of all gradients, and of each element.
    skip : bool
        Leave out what is not finite rather than raise.
    before, after : callable or None
        ``before(totals)`` is called when gradients are there, ``after(totals)`` after each step.

    Notes
    -----
    With c_i items and mean loss l_i, the loss of a step over several batches is
    ``sum_i c_i l_i / sum_i c_i``, whatever their sizes. A batch without counted items (all targets
    ignored) is left out, and a step without any changes nothing.
    """

    def __init__(
        self,
        optimizer: Any,
        forward: Callable[[Any], Any],
        *,
        summed: bool = False,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        skip: bool = False,
        before: Callable[[Totals], None] | None = None,
        after: Callable[[Totals], None] | None = None,
    ) -> None:
        self.optimizer, self.forward, self.summed = optimizer, forward, summed
        self.accumulate, self.skip = accumulate, skip
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.before, self.after = before, after
        self._plain = accumulate == 1 and clip_norm is None and clip_value is None and not skip
        self._closed = getattr(optimizer, "_needs_closure", False)
        if self._closed and not self._plain:
            raise ValueError(
                "nn.Trainer: accumulate, clip_norm, clip_value and nonfinite must be the defaults "
                f"for {type(optimizer).__name__}, which evaluates a batch several times, got others"
            )

    def run(self, batches: Iterable[Any], totals: Totals) -> Totals:
        """One pass over the batches, added to the totals."""
        if self._closed:
            return self._run_closed(batches, totals)
        forward, optimizer, summed = self.forward, self.optimizer, self.summed
        before, after, accumulate = self.before, self.after, self.accumulate
        plain, window, micro = self._plain, 0.0, 0
        for batch in batches:
            found = forward(batch)
            loss, count = found[0], found[1]
            totals.batches += 1
            value = loss.item() if count else 0.0
            if value - value != 0.0:
                self._refuse("loss", value, totals)
                totals.skipped += 1
                count = 0
            if accumulate > 1:
                if micro == 0:
                    optimizer.zero_grad()
                    window = 0.0
                micro += 1
            if count:
                totals.loss += value if summed else value * count
                totals.count += count
                if accumulate == 1:
                    optimizer.zero_grad()
                    loss.backward()
                else:
                    loss.backward(None if summed else np.asarray(count, dtype=loss.dtype))
                    window += count
            if accumulate > 1:
                if micro < accumulate:
                    continue
                micro = 0
                count = window
            if count:
                if before is not None:
                    before(totals)
                if plain:
                    optimizer.step()
                    totals.steps += 1
                else:
                    self._step(1.0 if summed or accumulate == 1 else 1.0 / window, totals)
            if after is not None:
                after(totals)
        totals.ended = True
        if micro and window:  # the last window is shorter
            if before is not None:
                before(totals)
            self._step(1.0 if summed else 1.0 / window, totals)
            if after is not None:
                after(totals)
        return totals

    def _refuse(self, what: str, value: float, totals: Totals) -> None:
        if not self.skip:
            raise NotFinite(f"the {what} must stay finite, got {value} in batch {totals.batches}")

    def _step(self, scale: float, totals: Totals) -> None:
        """Clip the gradients, which are to be multiplied by the scale, and move."""
        found = gradients(self.optimizer)
        if self.clip_value is not None:
            limit = self.clip_value / scale
            for g in found:
                namespace(g).clip(g, -limit, limit, out=g)
        norm = float(rules.norm([widened(g) for g in found], 2.0)) * scale
        if not math.isfinite(norm):
            self._refuse("norm of the gradients", norm, totals)
            totals.skipped += 1
            return
        if self.clip_norm is not None and norm > self.clip_norm:
            scale *= self.clip_norm / (norm + 1e-6)  # as torch's clip_grad_norm_
        self.optimizer.step(scale=scale)
        totals.steps += 1

    def _run_closed(self, batches: Iterable[Any], totals: Totals) -> Totals:
        """Steps of an optimiser that evaluates the loss by itself."""
        for batch in batches:
            counts: list[float] = []

            def closure(batch: Any = batch, counts: list[float] = counts) -> Any:
                self.optimizer.zero_grad()
                loss, count = self.forward(batch)[:2]
                counts.append(count)
                if count:
                    loss.backward()
                return loss

            totals.batches += 1
            value = self.optimizer.step(closure).item()
            if counts[0]:
                if not math.isfinite(value):
                    self._refuse("loss", value, totals)
                totals.loss += value if self.summed else value * counts[0]
                totals.count += counts[0]
                totals.steps += 1
            if self.after is not None:
                self.after(totals)
        return totals
