"""Hidden Markov models and Markov chains, named as hmmlearn names them."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "CategoricalHMM": "_discrete",
    "ConvergenceMonitor": "_monitor",
    "GMMHMM": "_mixture",
    "GaussianHMM": "_gaussian",
    "MarkovChain": "_chain",
    "MultinomialHMM": "_counts",
    "PoissonHMM": "_counts",
    "StateFilter": "_filter",
    "VariationalCategoricalHMM": "_variational_models",
    "VariationalGaussianHMM": "_variational_models",
    "select_order": "_chain_order",
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
