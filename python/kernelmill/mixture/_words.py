"""What the docstrings of mixtures have in common."""

from __future__ import annotations

from kernelmill._estimator._words import DENSE_ROWS
from kernelmill._estimator._words import WORDS as COMMON

_AS_THERE = "As in `GaussianMixture`."

WORDS = COMMON.extended(
    arguments={
        "X": ("array-like of shape (n, d), or a stream", "Rows; see ``fit``."),
        "fit.X": DENSE_ROWS,
    },
    parameters={
        "n_init": ("int", "Number of starts; the one with the greatest ``lower_bound_`` is kept."),
        "BayesianGaussianMixture.warm_start": ("bool", _AS_THERE),
        "BayesianGaussianMixture.device": ('{None, "cpu", "cuda"}', _AS_THERE),
    },
    attributes={
        "converged_": ("bool", "Whether the best start converged."),
        "offset_": ("float",
            "Log density below which a row is an outlier; only with `contamination`."),
    },
    raises={"X": "ValueError\n    If X holds inf or has other features than in ``fit``."},
)
