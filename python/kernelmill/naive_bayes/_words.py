"""What the docstrings of naive Bayes classifiers have in common."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as _SHARED

_LABELS = "Class labels, numbers or strings, in memory even if X is a stream."

WORDS = _SHARED.extended(
    arguments={
        "fit.y": ("array-like of shape (n,)", _LABELS),
        "partial_fit.X": ("{array-like, sparse matrix} of shape (n, d), or a stream",
            "More rows; see ``fit``."),
        "partial_fit.y": ("array-like of shape (n,)", _LABELS),
        "partial_fit.classes": ("array-like of shape (n_classes,)",
            "All labels that will occur; needed in the first call."),
        "partial_fit.sample_weight": ("array-like of shape (n,)", "Weights of the rows."),
    },
    parameters={
        "alpha": ("float or array-like of shape (d,)", "What is added to each count, for all "
            "features or each; 0 for none."),
        "force_alpha": ("bool", "Whether an `alpha` below 1e-10 is used as it is, rather than "
            "raised to that."),
        "fit_prior": ("bool", "Whether priors of the classes are their shares of the rows, rather "
            "than equal."),
        "class_prior": ("array-like of shape (n_classes,)", "Priors of the classes, which go "
            "before `fit_prior`."),
    },
    attributes={
        "classes_": ("ndarray of shape (n_classes,)", "Labels of the classes."),
        "class_count_": ("ndarray of shape (n_classes,), float64", "Weight of the rows of each "
            "class."),
        "class_log_prior_": ("ndarray of shape (n_classes,), float64", "Logarithms of the priors."),
    },
)
DENSE = WORDS.extended(
    arguments={
        "X": ("array-like of shape (n, d), or a stream", "Rows; see ``fit``."),
        "fit.X": ("array-like of shape (n, d), or a stream",
            "Rows, as for other models, but not sparse. NaN is a missing entry, which is left "
            "out."),
        "partial_fit.X": ("array-like of shape (n, d), or a stream", "More rows; see ``fit``."),
    },
    raises={"X": "ValueError\n    If X holds inf or has other features than in ``fit``."},
)
