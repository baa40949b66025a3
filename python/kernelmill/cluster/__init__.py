"""Clustering: k-means and its relatives, named as scikit-learn names them."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "BisectingKMeans": "_bisecting",
    "ConstrainedKMeans": "_constrained",
    "KMeans": "_kmeans",
    "MiniBatchKMeans": "_minibatch",
    "kmeans_plusplus": "_seeding",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
