"""Public fitted attributes, carried over by name."""

from __future__ import annotations

import copy
import inspect
from typing import Any


def _is_fitted_name(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def copied(source: Any, target: Any, without: tuple[str, ...] = ()) -> None:
    """Public fitted attributes from one model to the other, arrays copied."""
    for name, value in vars(source).items():
        static = inspect.getattr_static(type(target), name, None)
        if _is_fitted_name(name) and not isinstance(static, property) and name not in without:
            setattr(target, name, copy.deepcopy(value) if name[-2] != "_" else value)
