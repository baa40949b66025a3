"""Checks before a long run: a range of learning rates, and whether a batch can be learnt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._documents import complete
from ._random import current
from ._trainer_loop import Steps, Totals, copied
from ._trainer_session import copies, forward_of, put, summed


@dataclass(frozen=True)
class LearningRates:
    """What :func:`kernelmill.nn.find_learning_rate` has measured.

    Attributes
    ----------
    rates, losses : ndarray of shape (n,)
        Learning rates in ascending order, and the smoothed loss at each.
    suggestion : float
        The rate at which the loss falls fastest; NaN if it never falls.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


@dataclass(frozen=True)
class Overfit:
    """What :func:`kernelmill.nn.overfit_batch` has found.

    Attributes
    ----------
    losses : ndarray of shape (steps,)
        The loss before each step.
    passed : bool
        Whether the last loss is below the wanted share of the first.
    without_gradient : list of str
        Parameters that the loss does not depend on, or whose gradient was 0 in every step.
    """

    losses: np.ndarray
    passed: bool
    without_gradient: list[str]


@contextmanager
def _undone(model: Any, optimizer: Any) -> Iterator[None]:
    """Put everything back after the block: weights, optimiser, mode, default generator."""
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(
            "find_learning_rate, overfit_batch: optimizer, behind model and loss, must be one of "
            f"nn.optim, got {type(optimizer).__name__}"
        )
    weights, state, training = copies(model), copied(optimizer), model.training
    drawn = current().get_state()
    rates = [dict(group) for group in optimizer.param_groups]
    try:
        yield
    finally:
        put(model, weights)
        optimizer.load_state_dict(state)
        for group, before in zip(optimizer.param_groups, rates, strict=True):
            group.update(before)
        optimizer.zero_grad()
        model.train(training)
        current().set_state(drawn)


def _over_and_over(batches: Iterable[Any]) -> Iterator[Any]:
    empty = False
    while not empty:
        empty = True
        for batch in batches:
            empty = False
            yield batch


def find_learning_rate(
    model: Any, loss: Any, optimizer: Any, batches: Iterable[Any], *, low: float = 1e-6,
    high: float = 1.0, steps: int = 100, smoothing: float = 0.9, step: Any = None,
) -> LearningRates:  # fmt: skip
    """Train with a learning rate that rises from step to step, and look at the loss.

    Parameters
    ----------
    model : Module
        The network; it is left as it was.
    loss : Module or callable
        As for :meth:`kernelmill.nn.Trainer.fit`.
    optimizer : Optimizer
        Of the model; it is left as it was.
    batches : DataLoader or iterable of batches
        Read over and over.
    low, high : float, default=1e-6 and 1.0
        The first and the last rate; they rise by a constant factor.
    steps : int, default=100
        Number of steps. It ends before when the loss is four times the least, or not finite.
    smoothing : float, default=0.9
        Decay of the moving average of the loss.
    step : callable, optional
        As for :class:`kernelmill.nn.Trainer`.

    Returns
    -------
    found : LearningRates
        Rates, losses, and a suggestion.

    References
    ----------
    Smith (2017), "Cyclical learning rates for training neural networks".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> _ = nn.manual_seed(0)
    >>> X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    >>> y = X @ np.float32([[1], [2], [3]])
    >>> model = nn.Linear(3, 1)
    >>> optimizer = nn.optim.SGD(model.parameters(), 0.1)
    >>> found = nn.find_learning_rate(model, nn.MSELoss(), optimizer, [(X, y)], high=10)
    >>> 0.001 < found.suggestion < 1
    True
    """
    if not (0 < low < high and steps >= 3):
        raise ValueError(
            f"nn.find_learning_rate: low must be above 0 and below high, with 3 or more steps, got "
            f"{low}, {high} and {steps}"
        )
    factor = (high / low) ** (1.0 / (steps - 1))
    rates: list[float] = []
    losses: list[float] = []
    with _undone(model, optimizer):
        model.train()
        forward = forward_of(model, loss, step)
        run = Steps(optimizer, forward, summed=step is None and summed(loss), skip=True).run
        average = 0.0
        for i, batch in enumerate(_over_and_over(batches)):
            if i == steps:
                break
            rate = low * factor**i
            for group in optimizer.param_groups:
                group["lr"] = rate
            totals = run([batch], Totals())
            if totals.skipped:
                break
            if not totals.count:
                continue
            average = smoothing * average + (1.0 - smoothing) * totals.mean()
            rates.append(rate)
            losses.append(average / (1.0 - smoothing ** len(rates)))  # as Adam corrects its means
            if losses[-1] > 4.0 * min(losses):
                break
    found, curve = np.array(rates), np.array(losses)
    suggestion = math.nan
    # The noise between batches is larger than what a tiny rate changes: falls over many steps.
    # A convolution turns the weights round, so it gives minus the slope of a line through them.
    half = max(1, steps // 20)
    weights = np.arange(-half, half + 1.0)
    falls = np.convolve(curve, weights, "valid") if len(curve) > 2 * half else np.zeros(0)
    if falls.size and falls.max() > 0:
        suggestion = float(found[half + int(falls.argmax())])
    return LearningRates(found, curve, suggestion)


def overfit_batch(
    model: Any, loss: Any, optimizer: Any, batch: Any, *, steps: int = 200, share: float = 0.1,
    step: Any = None,
) -> Overfit:  # fmt: skip
    """Train on one batch alone: a network that cannot learn it has a fault.

    Parameters
    ----------
    model : Module
        The network; it is left as it was.
    loss : Module or callable
        As for :meth:`kernelmill.nn.Trainer.fit`.
    optimizer : Optimizer
        Of the model; it is left as it was.
    batch : list or dict
        The batch, such as ``next(iter(loader))``.
    steps : int, default=200
        Number of steps.
    share : float, default=0.1
        What the loss must fall to, as a share of the first.
    step : callable, optional
        As for :class:`kernelmill.nn.Trainer`.

    Returns
    -------
    found : Overfit
        The losses, whether they fell far enough, and parameters without a gradient.

    Examples
    --------
    >>> from kernelmill import nn
    >>> _ = nn.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    >>> batch = nn.randn(8, 2), nn.randn(8, 1)
    >>> optimizer = nn.optim.Adam(model.parameters(), 0.05)
    >>> nn.overfit_batch(model, nn.MSELoss(), optimizer, batch).passed
    True
    """
    losses, moved = [], set()
    names = {id(p): name for name, p in model.named_parameters()}
    with _undone(model, optimizer):
        model.train()

        def before(totals: Totals) -> None:
            for p in model.parameters():
                if p.grad is not None and bool((p.grad.data != 0).any()):
                    moved.add(id(p))

        run = Steps(
            optimizer, forward_of(model, loss, step), before=before,
            summed=step is None and summed(loss),
        ).run  # fmt: skip
        for _ in range(steps):
            losses.append(run([batch], Totals()).mean())
    passed = bool(losses) and losses[-1] <= share * losses[0]
    return Overfit(np.array(losses), passed, [n for key, n in names.items() if key not in moved])



complete(globals())
