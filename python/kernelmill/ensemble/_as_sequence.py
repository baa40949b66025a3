"""Ensembles as sequences of their estimators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class AsSequence:
    """``len(model)``, ``model[i]`` and a loop over the model, which has ``estimators_``."""

    estimators_: Any

    def __len__(self) -> int:
        return len(self.estimators_)

    def __bool__(self) -> bool:  # before a fit, too
        return True

    def __getitem__(self, index: Any) -> Any:
        return self.estimators_[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.estimators_)
