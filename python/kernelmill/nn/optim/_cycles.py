"""Schedules that move a momentum against the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .._documents import complete
from ._optimizer import Optimizer
from ._schedule import LRScheduler, per_group


class _MomentumCycle(LRScheduler):
    """What schedules share that move a momentum against the learning rate."""

    cycle_momentum: bool

    def _set_momentum(self, group: dict[str, Any], momentum: float) -> None:
        """Optimisers without a momentum keep what they have."""
        if not self.cycle_momentum:
            return
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = momentum

    def _momentum_range(self, base: Any, most: Any, begins: bool) -> None:
        groups = self.optimizer.param_groups
        bases = per_group("base_momentum", self.optimizer, base)
        mosts = per_group("max_momentum", self.optimizer, most)
        if self.cycle_momentum and begins:
            for group, low, high in zip(groups, bases, mosts, strict=True):
                group["base_momentum"], group["max_momentum"] = low, high
                self._set_momentum(group, high)


class OneCycleLR(_MomentumCycle):
    """One rise to ``max_lr`` and a longer fall far below the start (Smith and Topin 2019).

    The momentum, where the optimiser has one, falls and rises against it. ``total_steps``, or
    ``epochs`` times ``steps_per_epoch``, is the number of values.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None and epochs and steps_per_epoch:
            total_steps = epochs * steps_per_epoch
        if total_steps is None or total_steps <= 0:
            raise ValueError(
                f"OneCycleLR: total_steps must be positive, got {total_steps} (or give epochs and "
                "steps_per_epoch)"
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.optimizer, self.cycle_momentum = optimizer, cycle_momentum
        self.total_steps, self._anneal_func_type = total_steps, anneal_strategy
        rise = pct_start * total_steps - 1
        # Last step, learning rate and momentum of each phase; the first begins at these.
        self._ends = [(0.0, "initial_lr", "max_momentum"), (rise, "max_lr", "base_momentum")]
        if three_phase:
            self._ends.append((2 * rise, "initial_lr", "max_momentum"))
        self._ends.append((total_steps - 1.0, "min_lr", "max_momentum"))
        if last_epoch == -1:
            for group, most in zip(
                optimizer.param_groups, per_group("max_lr", optimizer, max_lr), strict=True
            ):
                group["initial_lr"], group["max_lr"] = most / div_factor, most
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self._momentum_range(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step must be called at most {self.total_steps} times, got "
                f"{self.last_epoch} (raise total_steps)"
            )
        # A loop that steps after each batch steps once more than there are rates.
        at = min(self.last_epoch, self.total_steps - 1)
        phase = next(
            (i for i in range(1, len(self._ends)) if at <= self._ends[i][0]), len(self._ends) - 1
        )
        (begin, lr0, momentum0), (end, lr1, momentum1) = self._ends[phase - 1 : phase + 1]
        share = (at - begin) / (end - begin) if end > begin else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[lr0], group[lr1], share))
            if self.cycle_momentum:
                self._set_momentum(group, self._between(group[momentum0], group[momentum1], share))
        return rates


class CyclicLR(_MomentumCycle):
    """Triangles between ``base_lr`` and ``max_lr`` (Smith 2017).

    ``mode`` is ``"triangular"``, ``"triangular2"`` (each half as high as the one before) or
    ``"exp_range"`` (times ``gamma`` to the number of steps); ``scale_fn`` is a function of one's
    own, of the number of the cycle or, with ``scale_mode="iterations"``, of the step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}"
            )
        self.optimizer, self.cycle_momentum = optimizer, cycle_momentum
        self.mode, self.gamma, self._scale_fn = mode, gamma, scale_fn
        self.scale_mode = "iterations" if mode == "exp_range" and scale_fn is None else scale_mode
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        lowest = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, lowest, strict=True):
                group["lr"] = group["initial_lr"] = lr
        self._momentum_range(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def scale_fn(self, x: float) -> float:
        """Height of a cycle, or at a step, relative to the first."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (x - 1)
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        turns, place = divmod(self.last_epoch / self.total_size, 1.0)
        up = place <= self.step_ratio
        height = place / self.step_ratio if up else (1 - place) / (1 - self.step_ratio)
        height *= self.scale_fn(turns + 1 if self.scale_mode == "cycle" else self.last_epoch)
        rates = []
        for group, low, high in zip(
            self.optimizer.param_groups, self.base_lrs, self.max_lrs, strict=True
        ):
            rates.append(low + (high - low) * height)
            if self.cycle_momentum:
                high, low = group["max_momentum"], group["base_momentum"]
                self._set_momentum(group, high - (high - low) * height)
        return rates


complete(globals())
