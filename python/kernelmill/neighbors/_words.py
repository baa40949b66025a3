"""What the docstrings of neighbour models have in common."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as COMMON

_ROWS = "{array-like, sparse matrix} of shape (n, d)"
# What predictions take: `kneighbors` takes None too, but as its default.
ROWS_OR_NONE = (
    f"{_ROWS}, or None", "Rows; those of ``fit`` for None, where no row is its own neighbour."
)

WORDS = COMMON.extended(
    arguments={
        "X": (_ROWS, "Rows in memory; for ``metric=\"precomputed\"`` their distances to those of "
            "``fit``, of shape (n, n_fit)."),
        "fit.X": (_ROWS, "Rows in memory, float32 or float64; for ``metric=\"precomputed\"`` their "
            "distances, of shape (n, n)."),
        "n_neighbors": ("int", "Number of neighbours; that of the model by default."),
        "radius": ("float", "The radius; that of the model by default."),
        "return_distance": ("bool", "Whether to return the distances too."),
        "mode": ('{"connectivity", "distance"}', "Whether entries are 1, or distances."),
    },
    parameters={
        "n_neighbors": ("int", "Number of neighbours k."),
        "radius": ("float", "Radius; a distance equal to it counts."),
        "weights": ('{"uniform", "distance"}, callable or None',
            'Weights of the neighbours: equal, or the inverse of their distances, where those at '
            "distance 0 alone count if there are any; or what a function of the distances gives."),
        "algorithm": ('{"auto", "ball_tree", "kd_tree", "brute"}',
            "How to search: by a k-d tree (both names of trees mean it) or by products with all "
            'rows. ``"auto"`` chooses by the metric and the shape of X. With functions and metrics '
            'that only scikit-learn\'s ball tree knows ``"ball_tree"`` compares all pairs. The '
            "result does not depend on it."),
        "leaf_size": ("int", "Ignored; present for API compatibility. Leaves have 32 rows."),
        "metric": ("str or callable",
            'Distance: ``"euclidean"``, ``"sqeuclidean"``, ``"manhattan"``, ``"chebyshev"``, '
            '``"minkowski"``, ``"seuclidean"``, ``"mahalanobis"``, ``"cosine"``, '
            '``"correlation"``, ``"hamming"``, ``"haversine"``, ``"nan_euclidean"``, '
            '``"precomputed"``, those of SciPy, or a function of two rows.'),
        "p": ("float", "Exponent of Minkowski's distance."),
        "metric_params": ("dict", "Further parameters of the metric: ``w``, ``V``, ``VI``, ``p``."),
        "n_jobs": ("int", "Ignored; present for API compatibility. `kernelmill.threads` limits "
            "threads."),
    },
    attributes={
        "effective_metric_": ("str or callable", "The metric in use."),
        "effective_metric_params_": ("dict", "Its parameters."),
        "n_samples_fit_": ("int", "Number of rows in ``fit``."),
        "classes_": ("ndarray of shape (n_classes,), or list of them", "Labels of the classes."),
        "outputs_2d_": ("bool", "Whether y had several columns."),
    },
)
