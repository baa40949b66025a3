"""One run of training: epochs for the climb, evaluation, best weights, checkpoints."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._arrays import to_host
from .._estimator._climb import Step
from .._estimator._patience import Patience
from ._random import current
from ._tape import array_of, no_grad
from ._tensor import Tensor
from ._trainer_loop import NotFinite, Steps, Totals, copied
from ._trainer_metrics import scores
from ._trainer_monitor import Average, Monitor
from ._trainer_state import TrainerState
from .optim.lr_scheduler import ReduceLROnPlateau

_EMPTY = inspect.Parameter.empty
_LISTS = (list, tuple)  # a union made anew in each step would cost 0.1 microseconds


@dataclass(frozen=True)
class Epoch:
    """Where a run stands after an epoch; never changed in place."""

    epochs: int = 0
    steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    patience: Patience = field(default_factory=Patience)
    best: dict[str, Any] | None = None  # weights
    best_epoch: int = 0
    finished: bool = False
    weights: Any = None  # and the optimiser's state, where an interrupted fit must keep them


def _numbers(target: Any) -> np.ndarray:
    """A target on the host."""
    y = target.data if isinstance(target, Tensor) else target
    return y if type(y) is np.ndarray else np.asarray(to_host(y))


def counter(loss: Any) -> Callable[[Any], float]:
    """``count(target)``: what the mean of this loss is divided by, up to a constant factor."""
    ignored, weight = getattr(loss, "ignore_index", None), getattr(loss, "weight", None)
    if ignored is None and not hasattr(loss, "forward"):  # a function
        inner = loss.func if isinstance(loss, functools.partial) else loss
        given = loss.keywords if isinstance(loss, functools.partial) else {}
        try:
            known = inspect.signature(inner).parameters
        except (TypeError, ValueError):
            known = {}  # type: ignore[assignment]
        default = known["ignore_index"].default if "ignore_index" in known else None
        ignored = given.get("ignore_index", None if default is _EMPTY else default)
        weight = given.get("weight")
    if ignored is None:
        return lambda target: _numbers(target).size
    factors = None if weight is None else np.asarray(to_host(array_of(weight)))
    integer = np.dtype(np.int64)
    mark = np.asarray(ignored, integer)  # an array: half the cost of comparing with an int

    def count(target: Any) -> float:
        y = _numbers(target)
        if y.dtype is not integer and y.dtype.kind not in "iu":  # probabilities of the classes
            return y.size
        if factors is None:  # count_nonzero asks for overrides first: 1 of 2.4 microseconds a step
            return (y != mark).tobytes().count(1)
        return float(factors[y[y != mark]].sum())

    return count


def forward_of(model: Any, loss: Any, step: Any) -> Callable[[Any], tuple]:
    """``forward(batch)``: loss, count, and, unless a user's step keeps them, output and target."""
    if step is not None:

        def custom(batch: Any) -> tuple:
            found = step(model, batch)
            if isinstance(found, tuple):
                return found
            first = batch
            while isinstance(first, list | tuple | Mapping):
                first = next(iter(first.values() if isinstance(first, Mapping) else first))
            return found, len(first)

        return custom
    count = counter(loss)

    def forward(batch: Any) -> tuple:
        if isinstance(batch, _LISTS) and len(batch) > 1:
            if len(batch) == 2:
                inputs, target = batch
                output = model(inputs)
            else:
                *inputs, target = batch
                output = model(*inputs)
        elif isinstance(batch, dict) and "target" in batch:
            named = dict(batch)
            target = named.pop("target")
            output = model(**named)
        else:
            raise ValueError(
                "nn.Trainer: a batch must be a list of the inputs and, last, the target, or a dict "
                f"with the key 'target', got {type(batch).__name__} (or pass step=)"
            )
        return loss(output, target), count(target), output, target

    return forward


class Session:
    """The parts of a run, and its epochs.

    Parameters
    ----------
    trainer : Trainer
        Its settings.
    owner : str
        Name of the caller in errors.
    model, optimizer, schedule, train, valid
        As for ``Trainer.fit``.
    forward : callable
        ``forward(batch)`` gives loss, count, output, target and, perhaps, weights of the rows.
    kind : str
        What the outputs are, see `kind_of`.
    summed : bool
        Whether the loss is a sum.
    snapshot : bool
        Whether each epoch keeps copies of the weights and of the optimiser's state.
    """

    def __init__(
        self,
        trainer: Any,
        owner: str,
        model: Any,
        optimizer: Any,
        train: Iterable[Any],
        valid: Iterable[Any] | None,
        forward: Callable[[Any], tuple],
        *,
        kind: str = "values",
        summed: bool = False,
        schedule: Any = None,
        snapshot: bool = False,
    ) -> None:
        self.trainer, self.owner, self.model = trainer, owner, model
        self.optimizer, self.schedule = optimizer, schedule
        self.train, self.valid, self.kind, self.snapshot = train, valid, kind, snapshot
        self.forward = forward
        self.monitored = trainer.monitor or ("train_loss" if valid is None else "valid_loss")
        self.state = Epoch(patience=Patience(trainer._sign(self.monitored), trainer.tol))
        self.totals: Totals | None = None  # of an epoch that a checkpoint was written in
        keep = trainer.keep_best
        self.keeps_best = valid is not None if keep is None else bool(keep)
        self.average = None if trainer.ema is None else Average(model, trainer.ema)
        self.monitor = None
        if trainer.monitor_every is not None:
            self.monitor = Monitor(model, trainer.monitor_every)
        each_step = trainer.schedule_on == "step" and schedule is not None
        checkpoints = trainer.checkpoint is not None and trainer.checkpoint_every is not None
        checkpoints = checkpoints and optimizer is not None  # rather than an evaluation alone
        if checkpoints and not hasattr(train, "state_dict"):
            raise ValueError(
                f"{owner}: checkpoint_every must be None unless train is a DataLoader, whose "
                f"place can be saved, got {trainer.checkpoint_every}"
            )
        followed = self.average is not None or each_step or checkpoints
        self._each_step, self._checkpoints = each_step, checkpoints
        self._last_step = -1
        self.steps = Steps(
            optimizer,
            forward if self.monitor is None else self._monitored_forward,
            summed=summed,
            accumulate=trainer.accumulate,
            clip_norm=trainer.clip_norm,
            clip_value=trainer.clip_value,
            skip=trainer.nonfinite == "skip",
            before=None if self.monitor is None else self._record,
            after=self._after if followed else None,
        )
        self._counting = Totals()

    # --- an epoch ---------------------------------------------------------------------------------

    def advance(self, state: Epoch, most: int) -> Step:
        """One epoch, or the rest of one that a checkpoint was written in."""
        began = time.perf_counter()
        trainer = self.trainer
        totals, self.totals = self.totals or Totals(), None
        self.state, self._counting = state, totals
        self.model.train()
        try:
            self.steps.run(() if totals.ended else self.train, totals)
        except NotFinite as error:
            raise ValueError(
                f"{self.owner}: {error} of epoch {state.epochs + 1} (scale the data or lower the "
                "learning rate; nn.Trainer(nonfinite='skip') leaves such batches out)"
            ) from None
        if not totals.batches:
            raise ValueError(f"{self.owner}: train must have at least one batch, got none")
        row: dict[str, Any] = {
            "epoch": state.epochs + 1,
            "step": state.steps + totals.steps,
            "train_loss": totals.mean(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        if totals.skipped:
            row["skipped"] = totals.skipped
        with self.average.in_place() if self.average is not None else nullcontext():
            if self.valid is not None:
                found = self.evaluate(self.valid, trainer._metrics)
                row.update({f"valid_{name}": value for name, value in found.items()})
            if self.monitored not in row:
                raise ValueError(
                    f"{self.owner}: monitor must be one of {sorted(row)}, got {self.monitored!r}"
                )
            patience = state.patience.after(row[self.monitored])
            best, best_epoch = state.best, state.best_epoch
            if patience.best > state.patience.best:
                best_epoch = row["epoch"]
                best = copies(self.model) if self.keeps_best else None
        if self.schedule is not None and not self._each_step:
            plateau = isinstance(self.schedule, ReduceLROnPlateau)
            self.schedule.step(*([row[self.monitored]] if plateau else []))
        row["seconds"] = time.perf_counter() - began
        finished = trainer.patience is not None and patience.since >= trainer.patience
        after = replace(
            state, epochs=row["epoch"], steps=row["step"], history=[*state.history, row],
            patience=patience, best=best, best_epoch=best_epoch, finished=finished,
        )  # fmt: skip
        if self.snapshot:
            after = replace(after, weights=(copies(self.model), copied(self.optimizer)))
        self.state, self._counting = after, Totals()
        for log in trainer.logs:
            log.write(row)
        if trainer.checkpoint is not None:
            self.write(None)
        return Step(after, row[self.monitored], finished)

    def _monitored_forward(self, batch: Any) -> tuple:
        monitor = self.monitor
        assert monitor is not None
        if not monitor.due(self.state.steps + self._counting.steps):
            return self.forward(batch)
        with monitor.watching():
            return self.forward(batch)

    def _record(self, totals: Totals) -> None:
        monitor, step = self.monitor, self.state.steps + totals.steps
        assert monitor is not None
        if monitor.due(step):
            row = monitor.record(step + 1)
            for log in self.trainer.logs:
                log.write(row)

    def _after(self, totals: Totals) -> None:
        """After each step of the optimiser, or a step without counted items."""
        taken = self.state.steps + totals.steps
        if taken != self._last_step:
            if self.average is not None:
                self.average.update()
            if self._each_step:
                self.schedule.step()
        if self._checkpoints and taken % self.trainer.checkpoint_every == 0:
            self.write(totals)
        self._last_step = taken

    def evaluate(
        self, batches: Iterable[Any], metrics: Mapping[str, Callable] | None = None
    ) -> dict[str, float]:
        """The mean loss and the metrics over all batches, in evaluation mode."""
        totals, outputs, targets, weights = Totals(), [], [], []
        training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                for batch in batches:
                    found = self.forward(batch)
                    loss, count = found[:2]
                    if count:
                        value = loss.item()
                        totals.loss += value if self.steps.summed else value * count
                        totals.count += count
                    if metrics:
                        if len(found) < 4:
                            raise ValueError(
                                f"{self.owner}: step must return (loss, count, output, target) for "
                                "metrics, got less"
                            )
                        outputs.append(to_host(array_of(found[2])))
                        targets.append(to_host(array_of(found[3])))
                        weights.append(found[4] if len(found) > 4 else None)
        finally:
            self.model.train(training)
        result = {"loss": totals.mean()}
        if metrics and outputs:
            weight = None if weights[0] is None else np.concatenate([*map(to_host, weights)])
            result |= scores(
                metrics, np.concatenate(outputs), np.concatenate(targets), self.kind, weight
            )
        return result

    def finish(self, state: Epoch) -> None:
        """Give the model its final weights: the best ones, or the averages, if kept."""
        if self.keeps_best and state.best is not None:
            put(self.model, state.best)
        elif self.average is not None:
            for mean, p in zip(self.average.arrays, self.average.parameters, strict=True):
                p.data[...] = mean

    # --- checkpoints ------------------------------------------------------------------------------

    def write(self, totals: Totals | None) -> None:
        """Write a checkpoint; totals are those of an unfinished epoch."""
        state = self.state
        values = {
            "epochs": state.epochs,
            "steps": state.steps,
            "history": state.history,
            "patience": [state.patience.best, state.patience.since],
            "best": state.best,
            "best_epoch": state.best_epoch,
            "finished": state.finished,
            "totals": None if totals is None else vars(totals),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "average": None if self.average is None else self.average.arrays,
            "generator": current().get_state(),
            "train": _place(self.train),
            "valid": _place(self.valid),
        }
        TrainerState(values).save(self.trainer.checkpoint)

    def read(self, path: Any) -> None:
        """Go on from a checkpoint."""
        values = TrainerState.load(path).values
        try:
            self.model.load_state_dict(values["model"])
            self.optimizer.load_state_dict(values["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.owner}: resume must be a checkpoint of this model and optimiser, got one "
                f"that does not fit ({error})"
            ) from error
        parts: dict[str, Any] = {
            "schedule": self.schedule, "train": self.train, "valid": self.valid
        }  # fmt: skip
        for name, part in parts.items():
            if values[name] is not None and hasattr(part, "load_state_dict"):
                part.load_state_dict(values[name])
        if self.average is not None and values["average"] is not None:
            for mean, array in zip(self.average.arrays, values["average"], strict=True):
                mean[...] = array
        current().set_state(values["generator"])
        if values["totals"] is not None and not hasattr(self.train, "load_state_dict"):
            raise ValueError(
                f"{self.owner}: train must be a DataLoader to go on in the middle of an epoch, got "
                f"{type(self.train).__name__}"
            )
        best, since = values["patience"]
        self.totals = None if values["totals"] is None else Totals(**values["totals"])
        self.state = Epoch(
            values["epochs"], values["steps"], values["history"],
            replace(self.state.patience, best=best, since=since), values["best"],
            values["best_epoch"], values["finished"],
        )  # fmt: skip
        self._last_step = self.state.steps + (self.totals.steps if self.totals else 0)


def _place(loader: Any) -> Any:
    return loader.state_dict() if hasattr(loader, "state_dict") else None


def copies(model: Any) -> dict[str, Any]:
    """The weights and buffers of a model in memory of their own."""
    return {name: tensor.data.copy() for name, tensor in model.state_dict().items()}


def put(model: Any, weights: Mapping[str, Any]) -> None:
    """Copy weights and buffers into a model."""
    model.load_state_dict(weights)


def summed(loss: Any) -> bool:
    """Whether a loss is a sum over the items."""
    options = loss.keywords if isinstance(loss, functools.partial) else vars(loss)
    reduction = options.get("reduction", "mean")
    if reduction == "none":
        raise ValueError("nn.Trainer: the reduction of loss must be 'mean' or 'sum', got 'none'")
    return reduction == "sum"
