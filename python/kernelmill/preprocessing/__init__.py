"""Scaling and imputation of rows wherever they are, named as scikit-learn names them."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "MinMaxScaler": "_scalers",
    "RobustScaler": "_robust",
    "SimpleImputer": "_imputer",
    "StandardScaler": "_scalers",
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
