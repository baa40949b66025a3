"""Text that the docstrings of the machines share."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as COMMON

_ROWS = "{array-like, sparse matrix} of shape (n, d)"
WORDS = COMMON.extended(
    arguments={
        "X": (_ROWS,
            "Rows; for ``kernel=\"precomputed\"`` kernel values, one column for each training "
            "row."),
        "fit.X": (_ROWS,
            "Rows: NumPy array of any strides, SciPy sparse matrix, pandas or polars frame; CSR is "
            "never made dense. For ``kernel=\"precomputed\"`` the symmetric kernel matrix."),
        "fit.y": ("array-like of shape (n,)", "Targets."),
        "fit.sample_weight": ("array-like of shape (n,)",
            "Weights of the rows, factors of C. A weight of 2 counts a row twice; rows with zero "
            "weight are ignored."),
    },
    parameters={
        "C": ("float", "Price of an error: the bound of the multipliers. Larger is stricter."),
        "nu": ("float",
            "Upper bound of the share of rows on the wrong side of the margin, and lower bound of "
            "the share of support vectors; in (0, 1]."),
        "kernel": ("{\"linear\", \"poly\", \"rbf\", \"sigmoid\", \"laplacian\", \"chi2\", "
            "\"precomputed\"} or callable",
            "Kernel function, or a function ``(X, Y) -> K``."),
        "degree": ("float", "Exponent of ``\"poly\"``."),
        "gamma": ("{\"scale\", \"auto\"} or float",
            "Coefficient of all kernels but ``\"linear\"``. ``\"scale\"`` is 1 / (d times the "
            "variance over all entries of X, weighted), or 1 where that is 0; ``\"auto\"`` is "
            "1 / d."),
        "coef0": ("float", "Constant of ``\"poly\"`` and ``\"sigmoid\"``."),
        "shrinking": ("bool",
            "Ignored; present for API compatibility. Working sets leave settled rows alone."),
        "tol": ("float",
            "Largest violation of the optimality conditions, in units of the decision function."),
        "cache_size": ("float", "Memory for rows of the kernel matrix, in MB."),
        "max_iter": ("int",
            "Most steps of pairs of multipliers in each problem, or -1 for no limit."),
        "class_weight": ("dict, \"balanced\" or None",
            "Factors of C for the rows of each class; ``\"balanced\"`` weighs classes alike."),
        "probability": ("bool", "Whether to calibrate probabilities, by 5 further fits."),
        "decision_function_shape": ("{\"ovr\", \"ovo\"}",
            "Whether `decision_function` returns a score for each class, or one for each pair."),
        "break_ties": ("bool",
            "Whether `predict` takes the largest score of ``\"ovr\"`` rather than the first of the "
            "classes with most votes."),
    },
    attributes={
        "classes_": ("ndarray of shape (n_classes,)", "Labels of the classes."),
        "class_weight_": ("ndarray of shape (n_classes,)", "Factor of C for each class."),
        "coef_": ("ndarray of shape (n_pairs, d)",
            "Weights of the features, for a linear kernel alone."),
        "dual_coef_": ("ndarray of shape (n_classes - 1, n_support)",
            "Signed multipliers of the support vectors."),
        "dual_gap_": ("float or ndarray of shape (n_pairs,)",
            "At most this much the objective is above its least value."),
        "fit_status_": ("int", "0 where the fit met its tolerance, else 1."),
        "intercept_": ("ndarray of shape (n_pairs,)", "Constants of the decision functions."),
        "n_iter_": ("int or ndarray of shape (n_pairs,)", "Steps of pairs of multipliers."),
        "n_support_": ("ndarray, int32", "Number of support vectors, of each class."),
        "shape_fit_": ("tuple of int", "Shape of X in ``fit``."),
        "support_": ("ndarray of shape (n_support,), int32", "Rows of X that are support vectors."),
        "support_vectors_": ("{ndarray, CSR matrix} of shape (n_support, d)",
            "Support vectors; empty for a precomputed kernel."),
    },
)  # fmt: skip
