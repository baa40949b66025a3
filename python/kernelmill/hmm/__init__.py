"""Hidden Markov models with hmmlearn's names."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "CategoricalHMM": "_discrete",
    "ConvergenceMonitor": "_monitor",
    "GMMHMM": "_mixture",
    "GaussianHMM": "_gaussian",
    "MultinomialHMM": "_counts",
    "PoissonHMM": "_counts",
    "StateFilter": "_filter",
    "VariationalCategoricalHMM": "_variational_models",
    "VariationalGaussianHMM": "_variational_models",
}
# Importable from here too; `kernelmill.markov` is their package.
_MOVED = ("MarkovChain", "select_order")

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        return getattr(importlib.import_module("kernelmill.markov"), name)
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
