"""What all schedules share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._documents import complete
from ._optimizer import Optimizer


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} must have one value for each of {n} groups, got {len(value)}")
    return [*value]


class LRScheduler:
    """Base class of schedules.

    Parameters
    ----------
    optimizer : Optimizer
        Its ``param_groups`` are changed.
    last_epoch : int, default=-1
        Steps taken before, when an interrupted schedule goes on; -1 begins.

    Attributes
    ----------
    last_epoch : int
        Steps taken so far.
    base_lrs : list of float
        Learning rate of each group at the beginning.

    Notes
    -----
    A subclass gives `get_lr`, which may use the current learning rates, so that schedules can act
    on each other's results.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: group {i} must have 'initial_lr' when last_epoch is "
                    f"given, got {sorted(group)}"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()

    def _begin(self) -> None:
        self._beginning = True  # a resumed multiplicative schedule changes nothing
        self.step()
        self._beginning = False

    def get_lr(self) -> list[float]:
        """Learning rates at ``last_epoch``."""
        raise NotImplementedError

    def _restart_lr(self) -> list[float]:
        """Learning rates at ``last_epoch``, whatever they are now."""
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next learning rates.

        Parameters
        ----------
        epoch : int, optional
            Go to this number of steps instead.
        """
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set(self.get_lr() if epoch is None else self._restart_lr())

    def _set(self, rates: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = [*rates]

    def get_last_lr(self) -> list[float]:
        """Learning rates that were set last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """All that changes, and the options that are numbers or texts."""
        return {k: v for k, v in vars(self).items() if k != "optimizer" and not callable(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Parameters
        ----------
        state_dict : dict
            The saved state.
        """
        vars(self).update(state_dict)


complete(globals())
