"""Logs of a training run: lines of JSON, and TensorBoard's event files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ._documents import complete


def flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers of nested rows, with names like ``"gradients/0.weight"``."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _strict(value: Any) -> Any:
    """A value that JSON can hold: it has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class JSONLog:
    """One JSON object a line, for each epoch and each monitored step.

    Parameters
    ----------
    path : str or os.PathLike
        The file. A new run replaces it; a resumed run goes on after the step of its checkpoint.

    Notes
    -----
    Each line is flushed. NaN and infinity are written as null.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Linear(2, 1)
    >>> optimizer = nn.optim.SGD(model.parameters(), 0.1)
    >>> batches = [(nn.ones(3, 2), nn.ones(3, 1))]
    >>> trainer = nn.Trainer(max_epochs=2, logs=[nn.JSONLog("run.jsonl")])
    >>> _ = trainer.fit(model, nn.MSELoss(), optimizer, batches)
    >>> with open("run.jsonl") as file:
    ...     len(file.readlines())
    2
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path
        self._file: Any = None

    def open(self, step: int, epoch: int) -> None:
        """Begin, or go on after a checkpoint.

        Parameters
        ----------
        step, epoch : int
            Steps taken and epochs finished before; without steps, begin a new file.
        """
        from .._estimator.persistence import write_atomically

        kept = []
        if step and os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                for line in file:
                    try:
                        row = json.loads(line)
                    except ValueError:  # the last line of a run that was killed
                        break
                    if row.get("step", 0) <= step and row.get("epoch", 0) <= epoch:
                        kept.append(line)
        write_atomically(self.path, [line.encode() for line in kept])
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a line.

        Parameters
        ----------
        row : dict
            Numbers by name, with the number of the ``step``.
        """
        self._file.write(json.dumps(_strict(row), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoardLog:
    """Curves for TensorBoard, by tensorboardX: ``pip install 'kernelmill[tensorboard]'``.

    Parameters
    ----------
    folder : str or os.PathLike
        Of the event files. A resumed run adds a file and hides what came after its checkpoint.

    Raises
    ------
    ImportError
        If tensorboardX is not installed, when the log is made.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Linear(2, 1)
    >>> optimizer = nn.optim.SGD(model.parameters(), 0.1)
    >>> batches = [(nn.ones(3, 2), nn.ones(3, 1))]
    >>> log = nn.TensorBoardLog("events")
    >>> _ = nn.Trainer(max_epochs=2, logs=[log]).fit(model, nn.MSELoss(), optimizer, batches)
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        try:
            import tensorboardX  # noqa: F401 - known before a run, not after its first epoch
        except ImportError as error:
            raise ImportError(
                "nn.TensorBoardLog: tensorboardX must be installed, got none (pip install "
                "'kernelmill[tensorboard]')"
            ) from error
        self.folder = folder
        self._writer: Any = None

    def open(self, step: int, epoch: int) -> None:
        """Begin, or go on after a checkpoint.

        Parameters
        ----------
        step, epoch : int
            Steps taken and epochs finished before.
        """
        from tensorboardX import SummaryWriter

        purge = {"purge_step": step + 1} if step else {}
        self._writer = SummaryWriter(os.fspath(self.folder), **purge)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a point to each curve.

        Parameters
        ----------
        row : dict
            Numbers by name, with the number of the ``step``.
        """
        for name, value in flat(row):
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


complete(globals())
