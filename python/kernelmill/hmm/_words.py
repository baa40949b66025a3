"""What the docstrings of hidden Markov models have in common; see also `_docstrings`."""

from __future__ import annotations

from kernelmill._docstrings import Words
from kernelmill._estimator._words import WORDS as COMMON

WORDS = Words(
    arguments={
        "X": ("array-like of shape (T, d), or a stream of sequences", "Observations; see ``fit``."),
        "lengths": (
            "array-like of shape (S,)",
            "Lengths of the sequences in X, adding up to T; one sequence when left out.",
        ),
        "steps": (
            "int or array-like of shape (H,)",
            "How many steps ahead; 1 is the next observation.",
        ),
        "quantiles": (
            "float or array-like of shape (Q,)",
            "Levels of quantiles to compute, above 0 and below 1.",
        ),
    },
    parameters={
        "n_components": ("int", "Number of states K."),
        "n_features": ("int", "Number of symbols M; one more than the largest in X by default."),
    },
    attributes={
        "startprob_": ("ndarray of shape (K,)", "Probabilities of the first state."),
        "transmat_": (
            "ndarray of shape (K, K)",
            "Probabilities of the next state (columns) given the state (rows).",
        ),
        "emissionprob_": (
            "ndarray of shape (K, M)",
            "Probabilities of the symbols in each state.",
        ),
        "monitor_": (
            "ConvergenceMonitor",
            "Log-likelihood and objective of each iteration.",
        ),
        "n_features": ("int", "Number of features d."),
        "n_features_in_": ("int", "The same, after ``fit``."),
        "feature_names_in_": COMMON.attributes["feature_names_in_"],
    },
)
