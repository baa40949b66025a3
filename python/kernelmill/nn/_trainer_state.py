"""The state of a training run as one file, which holds no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._arrays import to_host
from ._documents import complete
from ._tensor import Tensor


class TrainerState:
    """All that a run needs to go on: what :class:`kernelmill.nn.Trainer` writes as a checkpoint.

    Parameters
    ----------
    values : dict
        The model, the optimiser, the schedule, random generators, the position of the loader, the
        history and the best weights; numbers, texts, arrays, lists and dicts of these.

    Attributes
    ----------
    values : dict
        As given.

    Examples
    --------
    >>> from kernelmill import nn
    >>> model = nn.Linear(2, 1)
    >>> optimizer = nn.optim.SGD(model.parameters(), 0.1)
    >>> batches = [(nn.ones(3, 2), nn.ones(3, 1))]
    >>> trainer = nn.Trainer(max_epochs=2, checkpoint="run.safetensors")
    >>> _ = trainer.fit(model, nn.MSELoss(), optimizer, batches)
    >>> nn.TrainerState.load("run.safetensors").values["epochs"]
    2
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __kernelmill_state__(self) -> dict[str, Any]:
        return plain(self.values)

    @classmethod
    def __kernelmill_restore__(cls, values: Any) -> TrainerState:
        if not isinstance(values, dict):
            raise ValueError("a malformed TrainerState")
        return cls(values)

    def save(self, path: str | os.PathLike) -> None:
        """Write the file; the old one stays until the new one is complete.

        Parameters
        ----------
        path : str or os.PathLike
        """
        from .._estimator.persistence import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> TrainerState:
        """Read a file.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        state : TrainerState

        Raises
        ------
        ModelFileError
            If it is damaged or something else.
        """
        from .._estimator.persistence import ModelFileError, load

        state = load(path)
        if not isinstance(state, cls):
            raise ModelFileError(
                f"nn.TrainerState: path must be a checkpoint of nn.Trainer, got a file of a "
                f"{type(state).__name__}"
            )
        return state


def plain(value: Any) -> Any:
    """A value in the types of a model file: host arrays, and dicts for other mappings."""
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        return to_host(value)
    return value


complete(globals())
