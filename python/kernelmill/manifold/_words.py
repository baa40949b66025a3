"""What the docstrings of manifold models have in common."""

from __future__ import annotations

from kernelmill.neighbors._words import WORDS as NEIGHBORS

_SOLVER = (
    "str",
    "Ignored but for its name; present for API compatibility. Small problems are solved whole, "
    "large ones by Lanczos' iteration.",
)
_TOLERANCE = (
    'float or "auto"',
    'Tolerance of eigenvalues; ``"auto"`` and 0 are the precision of floats.',
)

WORDS = NEIGHBORS.extended(
    arguments={
        "fit_transform.X": NEIGHBORS.arguments["fit.X"],
        **{name: NEIGHBORS.parameters[name] for name in ("n_jobs", "random_state", "verbose")},
        "n_components": ("int", "Dimensions q of the map."),
        "eigen_solver": _SOLVER,
        "eigen_tol": _TOLERANCE,
    },
    parameters={
        "n_components": ("int", "Dimensions q of the map."),
        "n_neighbors": ("int", "Number of neighbours k of a row."),
        "neighbors_algorithm": NEIGHBORS.parameters["algorithm"],
        "eigen_solver": _SOLVER,
        "eigen_tol": _TOLERANCE,
    },
    attributes={
        "embedding_": ("ndarray of shape (n, q), dtype of X", "The map: a point for each row."),
    },
)  # fmt: skip
