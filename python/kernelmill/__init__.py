"""KernelMill: machine learning in one wheel.

Families are imported when they are first used: ``import kernelmill`` loads neither SciPy nor the
compiled modules.
"""

from __future__ import annotations

import importlib
from typing import Any

from ._version import __version__

# Public name -> module that holds it. Modules map to themselves.
_EXPORTS = {
    "backend": "kernelmill.ops._op",
    "get_threads": "kernelmill._threads",
    "threads": "kernelmill._threads",
    "info": "kernelmill._info",
    "load": "kernelmill._estimator.persistence",
    "save": "kernelmill._estimator.persistence",
    "ModelFileError": "kernelmill._estimator.persistence",
}
_MODULES = (
    "callbacks",
    "cluster",
    "hmm",
    "metrics",
    "mixture",
    "ops",
    "plot",
    "preprocessing",
    "stream",
)

__all__ = ["__version__", *sorted(_EXPORTS), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"kernelmill.{name}")
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'kernelmill' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
