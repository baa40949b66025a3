"""What the docstrings of the linear models have in common."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as _SHARED

IGNORED = "Ignored; present for API compatibility."
_NUMBERS = "Numbers, in memory even if X is a stream."

WORDS = _SHARED.extended(
    arguments={
        "fit.y": ("array-like of shape (n,) or (n, n_outputs)", _NUMBERS),
        "partial_fit.y": ("array-like of shape (n,)", _NUMBERS),
        "partial_fit.X": ("{array-like, sparse matrix} of shape (n, d), or a stream",
            "More rows; see ``fit``."),
        "partial_fit.sample_weight": ("array-like of shape (n,)", "Weights of the rows."),
    },
    parameters={
        "fit_intercept": ("bool", "Whether to learn an intercept, which no penalty concerns."),
        "copy_X": ("bool", f"{IGNORED} X is never modified."),
        "n_jobs": ("int or None", f"{IGNORED} See `kernelmill.threads`."),
        "max_iter": ("int", "Most iterations."),
        "positive": ("bool", "Whether no coefficient may be negative."),
        "warm_start": ("bool", "Start from the coefficients of the last fit."),
        "solver": ("str", "Ignored but for its name, one of scikit-learn's: the optimum does not "
            "depend on it, and how it is found is chosen by the shape of X."),
        "alpha": ("float", "Strength of the penalty."),
        "l1_ratio": ("float", "Share of the L1 penalty, between 0 (none) and 1 (no other)."),
        "precompute": ("bool or array", "Ignored: whether products of features are computed is "
            "chosen by the shape of X and never changes the result."),
        "selection": ('{"cyclic", "random"}', "Order of the coordinates: as they are, or drawn "
            "once."),
        "class_weight": ('dict, "balanced" or None', 'Weights of the rows of each class; '
            '``"balanced"`` weighs classes alike.'),
        "random_state": ("int, RandomState, Generator or None", IGNORED),
        "cv": ("int, splitter, iterable or None", "How rows are split; 5 folds without a "
            "shuffle by default."),
        "alphas": ("int or array-like", "Penalties, or how many."),
        "eps": ("float", "The least penalty of a path as a share of the largest."),
    },
    attributes={
        "coef_": ("ndarray of shape (d,) or (n_outputs, d), dtype of X", "Coefficients."),
        "intercept_": ("float or ndarray of shape (n_outputs,)", "Intercept, 0.0 where none is "
            "learnt."),
        "classes_": ("ndarray of shape (n_classes,)", "Labels of the classes."),
        "n_iter_": ("int", "Number of iterations."),
        "dual_gap_": ("float", "Upper bound of what the objective is above its least."),
        "alpha_": ("float", "The penalty that was chosen."),
        "sparse_coef_": ("CSR matrix of shape (1, d)", "The coefficients in sparse form."),
    },
)
ONE_TARGET = WORDS.extended(
    arguments={"fit.y": ("array-like of shape (n,)", _NUMBERS)},
    attributes={
        "coef_": ("ndarray of shape (d,), dtype of X", "Coefficients."),
        "intercept_": ("float", "Intercept, 0.0 where none is learnt."),
    },
)
CLASSES = WORDS.extended(
    arguments={
        "fit.y": ("array-like of shape (n,)", "Class labels, numbers or strings, in memory even if "
            "X is a stream."),
    },
    attributes={
        "coef_": ("ndarray of shape (1, d) or (n_classes, d), dtype of X", "Coefficients."),
        "intercept_": ("ndarray of shape (1,) or (n_classes,)", "Intercepts."),
    },
)
DESCENT = WORDS.extended(
    parameters={
        "tol": ("float", "The duality gap that ends the descent, as a share of the mean square of "
            "centred y."),
        "verbose": ("bool or int", IGNORED),
    },
)
SEVERAL_TASKS = DESCENT.extended(
    attributes={
        "coef_": ("ndarray of shape (n_outputs, d), dtype of X", "Coefficients."),
        "intercept_": ("ndarray of shape (n_outputs,)", "Intercepts."),
        "sparse_coef_": ("CSR matrix of shape (n_outputs, d)", "The coefficients in sparse form."),
    },
)
