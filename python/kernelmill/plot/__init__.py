"""Pictures of clusterings, mixtures and chains of states, in the style of scikit-learn's displays.

They need matplotlib. Each is made by ``from_estimator`` or ``from_predictions``, which computes
and draws, and can be drawn again with ``plot``. Nothing is shown: call ``matplotlib.pyplot.show``
or save ``figure_``.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "ClusterDisplay": "_clusters",
    "DensityDisplay": "_density",
    "ElbowDisplay": "_elbow",
    "SilhouetteDisplay": "_silhouette",
    "StatePathDisplay": "_states",
    "TransitionDisplay": "_transitions",
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
