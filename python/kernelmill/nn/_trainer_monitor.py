"""What a network looks like inside: norms, gradients, activations, shares of zeros."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..ops import optim as rules
from ._dtypes import FLOATS
from ._elementwise import widened
from ._tensor import Tensor
from .optim.swa_utils import get_ema_multi_avg_fn


class Monitor:
    """Statistics of every so many steps.

    Parameters
    ----------
    model : Module
    every : int
        Steps between two rows; other steps cost nothing.

    Attributes
    ----------
    rows : list of dict
        ``step``; ``weights`` and ``gradients``, the norm of each parameter and of its gradient;
        ``zeros``, the share of each that is 0; ``activations`` of each layer without layers inside:
        ``mean``, ``std`` and ``zeros``.
    """

    def __init__(self, model: Any, every: int) -> None:
        self.model, self.every = model, every
        self.rows: list[dict[str, Any]] = []
        self._activations: dict[str, dict[str, float]] = {}

    def due(self, step: int) -> bool:
        """Whether the step after this many is monitored."""
        return step % self.every == 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what the layers give inside the block."""
        self._activations = {}
        handles = [
            module.register_forward_hook(self._hook(name))
            for name, module in self.model.named_modules()
            if not any(True for _ in module.children())
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def hook(module: Any, args: Any, result: Any) -> None:
            if isinstance(result, Tensor) and result.data.size and result.dtype.kind in FLOATS:
                x = result.data
                self._activations[name or type(module).__name__] = {
                    "mean": float(x.mean()),
                    "std": float(x.std()),
                    "zeros": float((x == 0).mean()),
                }

        return hook

    def record(self, step: int) -> dict[str, Any]:
        """A row, once the gradients are there."""
        row: dict[str, Any] = {"step": step, "weights": {}, "gradients": {}, "zeros": {}}
        for name, p in self.model.named_parameters():
            row["weights"][name] = float(rules.norm([widened(p.data)], 2.0))
            row["zeros"][name] = float((p.data == 0).mean()) if p.data.size else 0.0
            if p.grad is not None:
                row["gradients"][name] = float(rules.norm([widened(p.grad.data)], 2.0))
        row["activations"] = self._activations
        self.rows.append(row)
        return row


class Average:
    """Exponential moving averages of the parameters of a model.

    Parameters
    ----------
    model : Module
    decay : float
        Share of the old average in a new one.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self.parameters = [*model.parameters()]
        self.arrays = [p.data.copy() for p in self.parameters]
        self._averages = [Tensor(array) for array in self.arrays]
        self._move = get_ema_multi_avg_fn(decay)

    def update(self) -> None:
        """Take in the parameters after a step."""
        self._move(self._averages, self.parameters, 0)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages as the model's parameters inside the block."""
        kept = [p.data for p in self.parameters]
        for mean, p in zip(self.arrays, self.parameters, strict=True):
            p.data = mean
        try:
            yield
        finally:
            for array, p in zip(kept, self.parameters, strict=True):
                p.data = array
