"""What the docstrings of metrics have in common."""

from __future__ import annotations

from kernelmill._docstrings import Words

_CHECKED = "ValueError\n    If X is not a finite numeric matrix, the number of labels differs from "
SCORES = Words(
    arguments={
        "X": ("array-like of shape (n_samples, n_features)", "Rows."),
        "labels": ("array-like of shape (n_samples,)", "Cluster of each row: numbers or strings."),
        "metric": ('{"euclidean"}', "Distance between rows."),
    },
    raises={
        "labels": f"{_CHECKED}n_samples,\n    or there are fewer than 2 or more than n_samples - 1 "
        "distinct labels.\nTypeError\n    If X is sparse.",
    },
)
DISTANCES = SCORES.extended(
    raises={
        "labels": f"{_CHECKED}n_samples,\n    or kind is unknown.\nTypeError\n    If X is sparse.",
    }
)
