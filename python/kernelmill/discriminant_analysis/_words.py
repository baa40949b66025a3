"""What the docstrings of discriminants have in common."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as _SHARED

_LABELS = "Class labels, numbers or strings, in memory even if X is a stream."

WORDS = _SHARED.extended(
    arguments={
        "X": ("array-like of shape (n, d), or a stream", "Rows; see ``fit``."),
        "fit.X": ("array-like of shape (n, d), or a stream",
            "Rows, as for other models, but not sparse."),
        "fit.y": ("array-like of shape (n,)", _LABELS),
        "partial_fit.X": ("array-like of shape (n, d), or a stream", "More rows; see ``fit``."),
        "partial_fit.y": ("array-like of shape (n,)", _LABELS),
        "partial_fit.classes": ("array-like of shape (n_classes,)",
            "All labels that will occur; needed in the first call."),
        "partial_fit.sample_weight": ("array-like of shape (n,)", "Weights of the rows."),
    },
    parameters={
        "priors": ("array-like of shape (n_classes,)", "Priors of the classes; by default the "
            "shares of the classes in the rows."),
        "store_covariance": ("bool", "Whether to set ``covariance_``."),
        "covariance_estimator": ("object", "In place of `shrinkage`, an estimator with ``fit`` and "
            "``covariance_``, such as those of `sklearn.covariance`, which is fitted to rows of "
            "one class in memory."),
    },
    attributes={
        "classes_": ("ndarray of shape (n_classes,)", "Labels of the classes."),
        "means_": ("ndarray of shape (n_classes, d), float64", "Means of the classes."),
        "priors_": ("ndarray of shape (n_classes,), float64", "Priors of the classes."),
        "class_count_": ("ndarray of shape (n_classes,), float64", "Weight of the rows of each "
            "class."),
    },
)
