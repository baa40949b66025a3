"""What the docstrings of Markov chains have in common."""

from __future__ import annotations

from kernelmill._docstrings import Words

WORDS = Words(
    arguments={
        "sequences": ("array, str, list of sequences, or iterable of sequences", "As in `fit`."),
        "y": ("ignored", "Ignored; present for API compatibility."),
        "lengths": ("array-like of shape (S,), int, or None", "As in `fit`."),
        "sample_weight": ("array-like of shape (S,) or None", "A weight per sequence."),
        "start": ("state, array-like of shape (K,), or None",
            "A state or a distribution over states; ``startprob_`` if None."),
        "n": ("int", "Number of steps, at least 0."),
    },
)
