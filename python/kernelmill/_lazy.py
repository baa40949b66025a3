"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    package: str,
    names: Mapping[str, str],
    refusal: Callable[[str, str], AttributeError] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    names : dict of str to str
        The module of each public name, relative to the package. A name that is its own module is
        the module.
    refusal : callable, optional
        Makes the exception for a package and a name that it lacks.

    Returns
    -------
    all : list of str
        The names, sorted.
    """

    def get(name: str) -> Any:
        if name not in names:
            if refusal is not None:
                raise refusal(package, name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: Any = importlib.import_module(f"{package}.{names[name]}")
        if name != names[name]:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return get, listed, sorted(names)
