"""Averages of the weights of a model over training, as in ``torch.optim.swa_utils``."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...ops import optim as ops
from .._documents import complete
from .._tape import no_grad, written
from .._tensor import Tensor
from ..modules._layers import _BatchNorm
from ..modules._module import Module
from ._optimizer import Optimizer
from ._schedule import LRScheduler, per_group

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip


def _move(averages: Any, values: Any, share: float) -> None:
    """``average += share (value - average)`` for lists of tensors, all floats by one op."""
    pairs = [(a.data, v.data) for a, v in zip(averages, values, strict=True)]
    fused = [
        pair
        for pair in pairs
        if type(pair[0]) is np.ndarray and pair[0].dtype.name in ("float32", "float64")
        and pair[0].dtype == pair[1].dtype and pair[0].flags.c_contiguous
    ]  # fmt: skip
    if fused:
        first, second = (list(part) for part in zip(*fused, strict=True))
        ops.ema(first, second, decay=1.0 - share)
    done = {id(average) for average, _ in fused}
    for average, value in pairs:
        if id(average) not in done:  # integers are rounded towards zero, as in torch
            average[...] = (average + (value - average) * share).astype(average.dtype)
    written(averages)


def _decay(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"get_ema_avg_fn: decay must be in [0, 1], got {decay}")
    return float(decay)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], None]:
    """An exponential moving average of all parameters, for :class:`AveragedModel`.

    Parameters
    ----------
    decay : float, default=0.999
        Share of the average that is kept in each step.

    Returns
    -------
    multi_avg_fn : callable
        ``multi_avg_fn(averages, values, n)`` changes the averages in place.

    Examples
    --------
    >>> from kernelmill import nn
    >>> average = nn.zeros(2)
    >>> nn.optim.swa_utils.get_ema_multi_avg_fn(0.75)([average], [nn.ones(2)], 1)
    >>> average.tolist()
    [0.25, 0.25]
    """
    share = 1.0 - _decay(decay)
    return lambda averages, values, n_averaged: _move(averages, values, share)


def get_swa_multi_avg_fn() -> Callable[[Any, Any, Any], None]:
    """The mean of all parameters over the updates, for :class:`AveragedModel`.

    Returns
    -------
    multi_avg_fn : callable
        ``multi_avg_fn(averages, values, n)`` changes the averages in place.

    Examples
    --------
    >>> from kernelmill import nn
    >>> average = nn.zeros(2)
    >>> nn.optim.swa_utils.get_swa_multi_avg_fn()([average], [nn.ones(2)], 3)
    >>> average.tolist()
    [0.25, 0.25]
    """
    return lambda averages, values, n_averaged: _move(averages, values, 1 / (int(n_averaged) + 1))


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """An exponential moving average of one parameter, for :class:`AveragedModel`.

    Parameters
    ----------
    decay : float, default=0.999
        Share of the average that is kept in each step.

    Returns
    -------
    avg_fn : callable
        ``avg_fn(average, value, n)`` returns the new average.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.optim.swa_utils.get_ema_avg_fn(0.75)(nn.zeros(2), nn.ones(2), 1).tolist()
    [0.25, 0.25]
    """
    kept = _decay(decay)
    return lambda average, value, n_averaged: kept * average + (1 - kept) * value


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """The mean of one parameter over the updates, for :class:`AveragedModel`.

    Returns
    -------
    avg_fn : callable
        ``avg_fn(average, value, n)`` returns the new average.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.optim.swa_utils.get_swa_avg_fn()(nn.zeros(2), nn.ones(2), 3).tolist()
    [0.25, 0.25]
    """
    return lambda average, value, n_averaged: average + (value - average) / (int(n_averaged) + 1)


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of those that the model had.

    Parameters
    ----------
    model : Module
        Copied.
    device : {"cpu", "cuda"}, optional
        Where the copy is to be; beside the model by default.
    avg_fn : callable, optional
        ``avg_fn(average, value, n)`` returns the new average of a parameter; by default the mean.
    multi_avg_fn : callable, optional
        ``multi_avg_fn(averages, values, n)`` changes lists of averages in place, in one pass.
    use_buffers : bool, default=False
        Average buffers too; otherwise they are copied.

    Attributes
    ----------
    module : Module
        The averaged model.
    n_averaged : Tensor of int64
        Number of updates.

    References
    ----------
    Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization".

    Examples
    --------
    >>> from kernelmill import nn
    >>> from kernelmill.nn.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> model = nn.Linear(3, 1)
    >>> average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    >>> optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     model(nn.ones(2, 3)).sum().backward()
    ...     optimizer.step()
    ...     average.update_parameters(model)
    >>> average(nn.ones(2, 3)).shape, average.n_averaged.item()
    ((2, 1), 5)
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Any, Any, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError(
                "AveragedModel: avg_fn or multi_avg_fn must be given, not both (leave one out)"
            )
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", Tensor(np.array(0, np.int64)))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Let the present parameters of the model enter the averages.

        Parameters
        ----------
        model : Module
            The model that is being trained.
        """
        averages, values = (
            [*itertools.chain(one.parameters(), one.buffers() if self.use_buffers else ())]
            for one in (self.module, model)
        )
        n = self.n_averaged.item()
        with no_grad():
            if n == 0:
                for average, value in zip(averages, values, strict=True):
                    average.copy_(value)
            elif self.avg_fn is not None:
                for average, value in zip(averages, values, strict=True):
                    average.copy_(self.avg_fn(average.detach(), value.detach(), self.n_averaged))
            else:
                move = self.multi_avg_fn or get_swa_multi_avg_fn()
                move(averages, values, self.n_averaged)
            if not self.use_buffers:
                for kept, value in zip(self.module.buffers(), model.buffers(), strict=True):
                    kept.copy_(value)
            self.n_averaged.copy_(n + 1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of batch normalisation anew, by one pass over data.

    The statistics of averaged weights are not the averages of statistics.

    Parameters
    ----------
    loader : iterable
        Gives batches: a tensor or array, or a list or tuple that begins with one.
    model : Module
        Its statistics are updated; its mode is left as it was.
    device : {"cpu", "cuda"}, optional
        Where batches are moved to.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.BatchNorm1d(2)
    >>> nn.optim.swa_utils.update_bn([nn.ones(4, 2), 3 * nn.ones(4, 2)], model)
    >>> model.running_mean.tolist()
    [2.0, 2.0]
    """
    layers = [one for one in model.modules() if isinstance(one, _BatchNorm)]
    if not layers:
        return
    momenta = [one.momentum for one in layers]
    was_training = model.training
    model.train()
    for one in layers:
        one.reset_running_stats()
        one.momentum = None  # the mean over all batches
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(x if device is None else x.to(device))
    finally:
        for one, momentum in zip(layers, momenta, strict=True):
            one.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the present learning rate to a constant one, for averaging weights.

    Parameters
    ----------
    swa_lr : float or list of float
        The last rate.
    anneal_epochs : int, default=10
        Steps until then.
    anneal_strategy : {"cos", "linear"}, default="cos"
        The shape of the way.

    Examples
    --------
    >>> from kernelmill import nn
    >>> optimizer = nn.optim.SGD([nn.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = nn.optim.swa_utils.SWALR(optimizer, 0.2, 4, "linear")
    >>> for _ in range(5):
    ...     print(round(optimizer.param_groups[0]["lr"], 3))
    ...     schedule.step()
    1.0
    0.8
    0.6
    0.4
    0.2
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for group, rate in zip(
            optimizer.param_groups, per_group("swa_lr", optimizer, swa_lr), strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"SWALR: anneal_strategy must be one of 'cos' or 'linear', got {anneal_strategy!r}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs must not be negative, got {anneal_epochs!r}")
        self.anneal_epochs, self._anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the way is behind, from 0 to 1."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[float]:
        step = max(1, self.last_epoch) if self.anneal_epochs == 0 else self.last_epoch
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            # Another schedule may have moved the rate: what it began with follows from it.
            last = group["swa_lr"]
            first = last if before == 1 else (group["lr"] - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates


complete(globals())
