"""What the docstrings of k-means models have in common."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as COMMON

_IN_MEMORY = "{array-like, sparse matrix} of shape (n, d)", "Rows in memory."

WORDS = COMMON.extended(
    arguments={"transform.X": _IN_MEMORY, "fit_transform.X": _IN_MEMORY},
    parameters={
        "n_clusters": ("int", "Number of clusters k."),
        "max_iter": ("int", "Maximum number of iterations of each start."),
        "device": ('{None, "cpu", "cuda"}',
            'Where to compute; None follows X. ``"cuda"`` moves NumPy input to the GPU once and '
            "returns NumPy; it raises if there is no GPU."),
    },
    attributes={"cluster_centers_": ("array of shape (k, d), dtype of X", "Centers.")},
)
