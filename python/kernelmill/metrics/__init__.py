"""How good is a clustering? Scores and distances between and within clusters.

Names and values are those of `sklearn.metrics` where the thing exists there.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "calinski_harabasz_score": "_dispersion",
    "davies_bouldin_score": "_dispersion",
    "inter_cluster_distances": "_distances",
    "intra_cluster_distances": "_distances",
    "silhouette_samples": "_silhouette",
    "silhouette_score": "_silhouette",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
