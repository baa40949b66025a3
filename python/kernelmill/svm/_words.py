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
            "or negative weight are ignored."),
    },
    parameters={
        "C": ("float",
            "Price of an error: the bound of the multipliers. Larger is stricter; ``np.inf`` "
            "allows no error at all."),
        "Cs": ("array-like of float", "Prices to try."),
        "gammas": ("array-like of float or {\"scale\", \"auto\"}",
            "Coefficients to try; ``\"scale\"`` is that of all rows, not of each fold's."),
        "cv": ("int, cross-validation generator or iterable",
            "Number of folds, or how to split, as in scikit-learn's `GridSearchCV`."),
        "scoring": ("str, callable or None",
            "Score of a fold as in scikit-learn; accuracy, or R2 for numbers, by default."),
        "nu": ("float",
            "Upper bound of the share of rows on the wrong side of the margin, and lower bound of "
            "the share of support vectors; in (0, 1]."),
        "kernel": ("{\"linear\", \"poly\", \"rbf\", \"sigmoid\", \"laplacian\", \"chi2\", "
            "\"precomputed\"} or callable",
            "Kernel function, or a function ``(X, Y) -> K``, which gets X as arrays; rows may "
            "then be any objects, such as a list of strings."),
        "degree": ("float", "Exponent of ``\"poly\"``."),
        "gamma": ("{\"scale\", \"auto\"} or float",
            "Coefficient of all kernels but ``\"linear\"``. ``\"scale\"`` is 1 / (d times the "
            "variance over all entries of X, weighted), or 1 where that is 0; ``\"auto\"`` is "
            "1 / d."),
        "coef0": ("float", "Constant of ``\"poly\"`` and ``\"sigmoid\"``."),
        "shrinking": ("bool",
            "Whether variables that have settled at a bound are left out for a while, and looked "
            "at again in the end; this changes the time alone."),
        "tol": ("float",
            "Largest violation of the optimality conditions, in units of the decision function."),
        "cache_size": ("float", "Memory for rows of the kernel matrix, in MB."),
        "max_iter": ("int",
            "Most steps of pairs of multipliers in each problem, or -1 for no limit."),
        "class_weight": ("dict, \"balanced\" or None",
            "Factors of C for the rows of each class; ``\"balanced\"`` weighs classes alike."),
        "warm_start": ("bool",
            "Whether to start from the multipliers of the last fit, where it had as many rows: a "
            "path of prices takes fewer steps."),
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
        "coef_": ("{ndarray, CSR matrix} of shape (n_pairs, d)",
            "Weights of the features, for a linear kernel alone; read-only, and CSR for a fit to "
            "sparse rows."),
        "dual_coef_": ("{ndarray, CSR matrix} of shape (n_classes - 1, n_support)",
            "Signed multipliers of the support vectors; read-only, and CSR for a fit to sparse "
            "rows."),
        "dual_gap_": ("float or ndarray of shape (n_pairs,)",
            "At most this much the objective is above its least value. With ``C=np.inf`` the "
            "margins are scaled to be met for this, and it is inf where no scale meets them, or "
            "where a row of a regression is beyond the tube at all."),
        "fit_status_": ("int", "0 where the fit met its tolerance, else 1."),
        "intercept_": ("ndarray of shape (n_pairs,)", "Constants of the decision functions."),
        "n_iter_": ("int or ndarray of shape (n_pairs,)", "Steps of pairs of multipliers."),
        "n_support_": ("ndarray, int32", "Number of support vectors, of each class."),
        "shape_fit_": ("tuple of int", "Shape of X in ``fit``."),
        "C_": ("float", "The price of the best mean score."),
        "gamma_": ("float", "Its coefficient."),
        "best_index_": ("int", "Its place in ``cv_results_``."),
        "best_params_": ("dict", "``C`` and ``gamma`` as they were given."),
        "best_score_": ("float", "Its mean score."),
        "cv_results_": ("dict of str to ndarray",
            "Scores of all candidates and folds, as `GridSearchCV` lists them. Times are seconds; "
            "what several fits share (the kernel matrix of a gamma, folds solved side by side, "
            "sums for rows held out) is divided evenly among them."),
        "n_splits_": ("int", "Number of folds."),
        "support_": ("ndarray of shape (n_support,), int32", "Rows of X that are support vectors."),
        "support_vectors_": ("{ndarray, CSR matrix} of shape (n_support, d)",
            "Support vectors; empty for a precomputed kernel."),
    },
)  # fmt: skip

LINEAR = COMMON.extended(
    arguments={
        "partial_fit.X": ("{array-like, sparse matrix} of shape (n, d), or a stream", "More rows."),
        "fit.sample_weight": ("array-like of shape (n,)",
            "Weights of the rows, factors of C, or the name of a column of a frame or Parquet "
            "file. A weight of 2 counts a row twice; rows with zero weight are ignored."),
    },
    parameters={
        "C": ("float", "Price of an error. Larger is stricter."),
        "dual": ("bool or {\"auto\"}", "Ignored: the optimum does not depend on it."),
        "tol": ("float",
            "The duality gap that ends the fit, as a share of the objective; most end far below."),
        "fit_intercept": ("bool", "Whether to learn an intercept."),
        "intercept_scaling": ("float",
            "Size of the intercept in its penalty, which is that of intercept / "
            "intercept_scaling; ``np.inf`` for an intercept without a penalty."),
        "class_weight": ("dict, \"balanced\" or None",
            "Factors of C for the rows of each class, in the plane of that class where there are "
            "several; ``\"balanced\"`` weighs classes alike."),
        "random_state": ("int, RandomState, Generator or None",
            "Draws the orders of rows of dual coordinate descent."),
        "max_iter": ("int", "Most iterations for each plane."),
    },
    attributes={
        "classes_": ("ndarray of shape (n_classes,)", "Labels of the classes."),
        "n_iter_": ("int", "Iterations, the most of any plane."),
        "t_": ("float", "Steps of ``partial_fit``, plus one."),
    },
)  # fmt: skip
