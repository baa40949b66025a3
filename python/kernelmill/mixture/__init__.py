"""Gaussian mixtures by EM and by variational inference; classifiers and divergences from them."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "BayesianGaussianMixture": "_bayesian",
    "Estimate": "_divergence",
    "GaussianMixture": "_gaussian_mixture",
    "MixtureClassifier": "_classifier",
    "entropy": "_divergence",
    "kl_divergence": "_divergence",
    "mahalanobis": "_divergence",
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
