"""Schedules of the learning rate, with torch's names and arguments.

A schedule changes ``lr`` (and cycled momenta) in the groups of an optimiser. It sets the first
value when it is made; ``step()`` comes after the optimiser's step.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._documents import complete
from ._cycles import CyclicLR, OneCycleLR
from ._optimizer import Optimizer
from ._schedule import LRScheduler, per_group

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


class _Decay(LRScheduler):
    """``floor + (lr - floor) * factor(t)``; steps multiply by the ratio of two factors."""

    _floor = 0.0

    def _factor(self, t: float) -> float:
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        t, floor = self.last_epoch, self._floor
        now, before = self._factor(t), self._factor(t - 1) if t > 0 else 1.0
        if before < 1e-14:  # the factor left zero: nothing remains that could be multiplied
            rise = now if now > 1e-14 else 0.0
            return [
                group["lr"] + (base - floor) * rise
                for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True)
            ]
        ratio = now / before
        return [floor + (group["lr"] - floor) * ratio for group in self.optimizer.param_groups]

    def _restart_lr(self) -> list[float]:
        factor = self._factor(self.last_epoch)
        return [self._floor + (base - self._floor) * factor for base in self.base_lrs]


class StepLR(_Decay):
    """Multiply by ``gamma`` every ``step_size`` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, t: float) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(_Decay):
    """Multiply by ``gamma`` at each of the ``milestones``."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, t: float) -> float:
        return self.gamma ** sum(n for m, n in self.milestones.items() if m <= t)


class ExponentialLR(_Decay):
    """Multiply by ``gamma`` every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, t: float) -> float:
        return self.gamma**t


class ConstantLR(_Decay):
    """Multiply by ``factor`` until ``total_iters`` steps are done."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor must lie in [0, 1], got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, t: float) -> float:
        return self.factor if t < self.total_iters else 1.0


class LinearLR(_Decay):
    """Go from ``start_factor`` to ``end_factor`` in equal steps: a warm-up by default."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("start_factor", start_factor), ("end_factor", end_factor)):
            if not 0 <= value <= 1 or (name == "start_factor" and value == 0):
                raise ValueError(f"LinearLR: {name} must lie in (0, 1], got {value}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, t: float) -> float:
        share = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


class PolynomialLR(_Decay):
    """Fall to zero in ``total_iters`` steps as ``(1 - t / total_iters) ** power``."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def _factor(self, t: float) -> float:
        return (1.0 - min(t, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(_Decay):
    """Follow half a cosine down to ``eta_min`` in ``T_max`` steps, and up again."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    @property
    def _floor(self) -> float:  # type: ignore[override]
        return self.eta_min

    def _factor(self, t: float) -> float:
        return (1 + math.cos(math.pi * t / self.T_max)) / 2


class _Lambdas(LRScheduler):
    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = per_group("lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in super().state_dict().items() if k != "lr_lambdas"}


class LambdaLR(_Lambdas):
    """Multiply the first learning rate by ``lr_lambda(steps)``, one function or one per group."""

    def get_lr(self) -> list[float]:
        at = self.last_epoch
        return [b * f(at) for b, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_Lambdas):
    """Multiply the current learning rate by ``lr_lambda(steps)`` at every step but the first."""

    def get_lr(self) -> list[float]:
        groups, at = self.optimizer.param_groups, self.last_epoch
        if self._beginning:
            return [group["lr"] for group in groups]
        return [g["lr"] * f(at) for g, f in zip(groups, self.lr_lambdas, strict=True)]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Follow half a cosine down to ``eta_min`` in ``T_0`` steps, then begin again.

    Each round is ``T_mult`` times as long as the one before. ``step`` takes fractions too.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if value < 1 or value != int(value):
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: {name} must be a positive integer, got {value}"
                )
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i, self.T_cur = T_0, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next learning rates.

        Parameters
        ----------
        epoch : float, optional
            Go to this number of steps, which may be a fraction, instead.
        """
        at = self.last_epoch + 1 if epoch is None else epoch
        if at < 0:
            raise ValueError(
                f"CosineAnnealingWarmRestarts: epoch must not be negative, got {epoch}"
            )
        self.T_i, self.T_cur = self.T_0, at
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        self.last_epoch = math.floor(at)
        self._set(self.get_lr())


class SequentialLR(LRScheduler):
    """One schedule until the first of the ``milestones``, the next one from there, and so forth.

    Examples
    --------
    >>> from kernelmill import nn
    >>> from kernelmill.nn.optim import lr_scheduler
    >>> optimizer = nn.optim.SGD([nn.ones(1, requires_grad=True)], lr=1.0)
    >>> parts = [
    ...     lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2),
    ...     lr_scheduler.ExponentialLR(optimizer, gamma=0.5),
    ... ]
    >>> schedule = lr_scheduler.SequentialLR(optimizer, parts, milestones=[2])
    >>> for _ in range(4):
    ...     print(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     schedule.step()
    0.5
    0.5
    1.0
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: milestones must be one less than schedulers, got {len(milestones)} "
                f"and {len(schedulers)}"
            )
        for scheduler in schedulers:
            if isinstance(scheduler, ReduceLROnPlateau) or scheduler.optimizer is not optimizer:
                raise ValueError(
                    "SequentialLR: schedulers must be schedules without a metric of the same "
                    f"optimizer, got {type(scheduler).__name__}"
                )
        self.optimizer, self._schedulers, self._milestones = optimizer, schedulers, [*milestones]
        self.last_epoch = last_epoch + 1
        # As if the schedules had not been begun when they were made.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo(schedulers)
        first = schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next learning rates.

        Parameters
        ----------
        epoch : None
            Not used.
        """
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        begins = number > 0 and self._milestones[number - 1] == self.last_epoch
        scheduler.step(0 if begins else None)
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        mine = {k: v for k, v in state_dict.items() if k != "_schedulers"}
        super().load_state_dict(mine)
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


def _undo(schedulers: Sequence[Any]) -> None:
    for scheduler in schedulers:
        if hasattr(scheduler, "_schedulers"):
            _undo(scheduler._schedulers)
        else:
            scheduler.last_epoch -= 1


class ChainedScheduler(SequentialLR):
    """All ``schedulers`` step together, each on the result of the one before.

    Examples
    --------
    >>> from kernelmill import nn
    >>> from kernelmill.nn.optim import lr_scheduler
    >>> optimizer = nn.optim.SGD([nn.ones(1, requires_grad=True)], lr=1.0)
    >>> parts = [
    ...     lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2),
    ...     lr_scheduler.ExponentialLR(optimizer, gamma=0.5),
    ... ]
    >>> schedule = lr_scheduler.ChainedScheduler(parts)
    >>> for _ in range(4):
    ...     print(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     schedule.step()
    0.5
    0.25
    0.25
    0.125
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: schedulers must not be empty, got none")
        self.optimizer = optimizer or schedulers[0].optimizer
        for scheduler in schedulers:
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(
                    "ChainedScheduler: schedulers must be of the same optimizer, got "
                    f"{type(scheduler).__name__} of another one"
                )
        self._schedulers = [*schedulers]
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _begin(self) -> None:
        for scheduler in self._schedulers:
            scheduler._begin()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next learning rates.

        Parameters
        ----------
        epoch : int, optional
            Go to this number of steps instead.
        """
        for scheduler in self._schedulers:
            scheduler.step(epoch)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class ReduceLROnPlateau(LRScheduler):
    """Multiply by ``factor`` when a metric has not improved for ``patience`` steps.

    ``mode`` says whether a smaller (``"min"``) or a larger metric is better, ``threshold`` by how
    much it must be, relative to the best (``threshold_mode="rel"``) or not (``"abs"``). After a
    reduction ``cooldown`` steps do not count.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        for name, value, known in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in known:
                raise ValueError(
                    f"ReduceLROnPlateau: {name} must be one of {', '.join(known)}, got {value!r}"
                )
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lrs, self.eps = per_group("min_lr", optimizer, min_lr), eps
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _better(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * (metric - self.best) > self.threshold
        return sign * metric > sign * self.best * (1 + sign * self.threshold)

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take in a metric.

        Parameters
        ----------
        metrics : float or Tensor
            What should improve; NaN does not.
        epoch : int, optional
            Number of this step.
        """
        metric = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        better = self._better(metric)
        self.best = metric if better else self.best
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                reduced = max(group["lr"] * self.factor, least)
                if group["lr"] - reduced > self.eps:
                    group["lr"] = reduced
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


complete(globals())
