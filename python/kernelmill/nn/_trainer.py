"""The trainer: epochs over a loader, with everything that a long run needs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .._arrays import to_host
from .._estimator._climb import climb
from .._estimator._parameters import is_integer
from .._estimator._progress import CallbackSupportMixin, Progress, with_callbacks
from ._documents import complete
from ._tape import array_of, no_grad
from ._trainer_metrics import kind_of, named
from ._trainer_session import Epoch, Session, forward_of, summed

_SMALLER = ("loss", "error", "deviance")  # words in the names of what should be small


class Trainer(CallbackSupportMixin):
    """Trains a network: loss, steps, validation, early stopping, checkpoints, logs.

    Parameters
    ----------
    max_epochs : int, default=10
        Most epochs, those before a resume included.
    metrics : str, callable, list or dict of these, optional
        Computed on the validation batches after each epoch: names of scikit-learn's scorers,
        scorers, or functions of the targets and the predictions.
    monitor : str, optional
        What decides about the best epoch: a name in ``history_``; ``"valid_loss"`` by default, or
        ``"train_loss"`` without validation batches. Larger is better unless the name speaks of a
        loss, error or deviance.
    patience : int, optional
        Epochs without a gain that end the training; never by default.
    tol : float, default=0.0
        Least gain that counts.
    keep_best : bool, optional
        Give the model the weights of the best epoch in the end; by default if there are validation
        batches.
    accumulate : int, default=1
        Batches of one step of the optimiser.
    clip_norm, clip_value : float, optional
        Largest norm of all gradients, and largest magnitude of an element.
    schedule_on : {"epoch", "step"}, default="epoch"
        When the schedule steps.
    ema : float, optional
        Decay of an exponential moving average of the weights, such as 0.999. Validation, the best
        weights and the final ones are those of the average.
    nonfinite : {"raise", "skip"}, default="raise"
        What to do about a batch whose loss is NaN or infinite; ``"skip"`` also looks at the
        gradients, and counts such batches in ``history_``.
    step : callable, optional
        ``step(model, batch)`` returns the loss, or (loss, number of counted items), or these with
        output and target, where ``loss(model(*inputs), target)`` does not fit.
    checkpoint : str or os.PathLike, optional
        File of the checkpoints, replaced as a whole after each epoch.
    checkpoint_every : int, optional
        Also write one after every so many steps.
    logs : list of JSONLog and TensorBoardLog, default=()
        Where the history is written as it grows.
    monitor_every : int, optional
        Steps between two rows of ``monitor_``.
    verbose : bool or int, default=False
        Show a progress bar.

    Attributes
    ----------
    history_ : list of dict
        A row for each epoch: ``epoch``, ``step``, ``train_loss``, ``valid_loss``, metrics as
        ``valid_<name>``, ``lr`` and ``seconds``.
    n_epochs_, n_steps_ : int
        Epochs and steps of the optimiser, those before a resume included.
    best_epoch_ : int
        Number of the epoch in which ``monitor`` was best.
    best_score_ : float
        Its value then.
    monitor_ : list of dict
        With ``monitor_every``: norms of weights and gradients, shares of zeros, and mean, standard
        deviation and share of zeros of the outputs of the layers.
    model_ : Module
        The model.

    Notes
    -----
    The mean loss of an epoch is that of its counted items, whatever the sizes of the batches;
    targets that the loss ignores (``ignore_index``) are not counted, and a batch with no others is
    left out. The gradient of several accumulated batches is that of their joint mean.

    A run that goes on from a checkpoint (``fit(..., resume=True)``) has the same bits as one that
    was never stopped: the checkpoint holds the model, the optimiser, the schedule, the default
    random generator and the place of the loader. Call :func:`kernelmill.nn.manual_seed` before the
    model is made. Callbacks in scikit-learn's protocol (``set_callbacks``, scikit-learn 1.9 and
    later) hear of every epoch and may stop the training. Ctrl-C leaves the model as the last step
    has left it.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> _ = nn.manual_seed(0)
    >>> X = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    >>> train, valid = nn.data.random_split(nn.data.TensorDataset(X, y), [150, 50])
    >>> model = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 2))
    >>> trainer = nn.Trainer(max_epochs=60, metrics="accuracy", patience=20)
    >>> _ = trainer.fit(
    ...     model, nn.CrossEntropyLoss(), nn.optim.Adam(model.parameters(), 0.02),
    ...     nn.data.DataLoader(train, 25, shuffle=True), nn.data.DataLoader(valid, 50))
    >>> trainer.history_[trainer.best_epoch_ - 1]["valid_accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        max_epochs: int = 10,
        *,
        metrics: Any = None,
        monitor: str | None = None,
        patience: int | None = None,
        tol: float = 0.0,
        keep_best: bool | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        schedule_on: str = "epoch",
        ema: float | None = None,
        nonfinite: str = "raise",
        step: Callable[[Any, Any], Any] | None = None,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int | None = None,
        logs: Iterable[Any] = (),
        monitor_every: int | None = None,
        verbose: Any = False,
    ) -> None:
        self.max_epochs, self.metrics, self.monitor = max_epochs, metrics, monitor
        self.patience, self.tol, self.keep_best = patience, tol, keep_best
        self.accumulate, self.clip_norm, self.clip_value = accumulate, clip_norm, clip_value
        self.schedule_on, self.ema, self.nonfinite, self.step = schedule_on, ema, nonfinite, step
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.logs, self.monitor_every, self.verbose = [*logs], monitor_every, verbose
        for name in ("max_epochs", "accumulate", "patience", "checkpoint_every", "monitor_every"):
            value = getattr(self, name)
            optional = name not in ("max_epochs", "accumulate")
            if not (optional and value is None) and not (is_integer(value) and value >= 1):
                raise ValueError(
                    f"nn.Trainer: {name} must be a whole number of at least 1, got {value!r}"
                )
        for name, chosen in (("schedule_on", ("epoch", "step")), ("nonfinite", ("raise", "skip"))):
            if getattr(self, name) not in chosen:
                raise ValueError(
                    f"nn.Trainer: {name} must be one of {chosen}, got {getattr(self, name)!r}"
                )
        for name in ("clip_norm", "clip_value"):
            limit = getattr(self, name)
            if limit is not None and not (limit > 0 and math.isfinite(limit)):
                raise ValueError(f"nn.Trainer: {name} must be a number above 0, got {limit!r}")
        if ema is not None and not 0 <= ema < 1:
            raise ValueError(f"nn.Trainer: ema must be in [0, 1), got {ema!r}")
        self._metrics = named(metrics)

    @staticmethod
    def _sign(name: str) -> float:
        """-1 where a smaller value is better. Scorers of losses have names with ``neg_``."""
        small = any(word in name for word in _SMALLER) and "neg_" not in name
        return -1.0 if small else 1.0

    @with_callbacks
    def fit(
        self, model: Any, loss: Any, optimizer: Any, train: Iterable[Any],
        valid: Iterable[Any] | None = None, *, schedule: Any = None, resume: Any = False,
    ) -> Trainer:  # fmt: skip
        """Train a model, in place.

        Parameters
        ----------
        model : Module
            The network.
        loss : Module or callable
            ``loss(output, target)``, a mean or a sum; of class-number targets the ignored ones do
            not count.
        optimizer : Optimizer
            Of the model's parameters.
        train : DataLoader or iterable of batches
            A batch is a list of the inputs and, last, the target, or a dict with the key
            ``"target"``.
        valid : DataLoader or iterable of batches, optional
            To validate with.
        schedule : LRScheduler, optional
            Of the learning rate.
        resume : bool, str or os.PathLike, default=False
            A checkpoint to go on from; True takes ``checkpoint`` if there is such a file, and
            starts anew otherwise, so that a script that was killed can simply be run again.

        Returns
        -------
        self : Trainer
            Itself.

        Raises
        ------
        ValueError
            If a loss is not finite, with ``nonfinite="raise"``; if there are no batches; or if the
            checkpoint belongs to another model.
        """
        if self._metrics and valid is None:
            raise ValueError("nn.Trainer: valid must be given for metrics, got None")
        if self.step is None and loss is None:
            raise ValueError("nn.Trainer: loss must be given unless step is, got None")
        session = Session(
            self, "nn.Trainer", model, optimizer, train, valid,
            forward_of(model, loss, self.step), kind=kind_of(loss), schedule=schedule,
            summed=self.step is None and summed(loss),
        )  # fmt: skip
        path = self.checkpoint if resume is True else resume
        if resume is True and path is None:
            raise ValueError("nn.Trainer: checkpoint must be given for resume=True, got None")
        if path and (resume is not True or os.path.exists(path)):
            session.read(path)
        start = session.state
        left = 0 if start.finished else max(0, int(self.max_epochs) - start.epochs)
        begun = start.steps + (session.totals.steps if session.totals else 0)

        def attributes(state: Epoch, n_iter: int) -> dict[str, Any]:
            return self._fitted(session, state)

        opened = []
        try:
            for log in self.logs:
                log.open(begun, start.epochs)
                opened.append(log)
            with Progress(self, self.verbose, iterations=left, unit="epoch") as progress:
                run = climb(
                    progress, lambda number: start, session.advance, max_iter=left,
                    attributes=attributes,
                )  # fmt: skip
        except BaseException:
            self.__dict__.update(self._fitted(session, session.state))
            raise
        finally:
            for log in opened:
                log.close()
        session.finish(run.state)
        self.__dict__.update(self._fitted(session, run.state))
        return self

    def _fitted(self, session: Session, state: Epoch) -> dict[str, Any]:
        fitted = {
            "history_": state.history, "n_epochs_": state.epochs, "n_steps_": state.steps,
            "best_epoch_": state.best_epoch,
            "best_score_": state.patience.sign * state.patience.best, "model_": session.model,
        }  # fmt: skip
        if session.monitor is not None:
            fitted["monitor_"] = session.monitor.rows
        return fitted

    def evaluate(self, model: Any, loss: Any, batches: Iterable[Any]) -> dict[str, float]:
        """The mean loss and the metrics of a model, in evaluation mode.

        Parameters
        ----------
        model : Module
            The network.
        loss : Module or callable
            As for `fit`.
        batches : DataLoader or iterable of batches
            As for `fit`.

        Returns
        -------
        found : dict of str to float
            ``loss`` and each metric.
        """
        session = Session(
            self, "nn.Trainer", model, None, batches, None, forward_of(model, loss, self.step),
            kind=kind_of(loss), summed=self.step is None and summed(loss),
        )  # fmt: skip
        return session.evaluate(batches, self._metrics)

    def predict(self, model: Any, batches: Iterable[Any]) -> np.ndarray:
        """The outputs of a model for all batches, in evaluation mode.

        Parameters
        ----------
        model : Module
            The network.
        batches : DataLoader or iterable of batches
            Lists whose last item, the target, is left out where there are several items.

        Returns
        -------
        outputs : ndarray
            Joined along the first axis.
        """
        training, outputs = model.training, []
        model.eval()
        try:
            with no_grad():
                for batch in batches:
                    inputs = batch if isinstance(batch, list | tuple) else [batch]
                    inputs = inputs[:-1] if len(inputs) > 1 else inputs
                    outputs.append(to_host(array_of(model(*inputs))))
        finally:
            model.train(training)
        if not outputs:
            raise ValueError("nn.Trainer: batches must hold at least one, got none")
        return np.concatenate(outputs)


complete(globals())
