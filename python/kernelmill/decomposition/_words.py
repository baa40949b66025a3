"""What the docstrings of decompositions have in common."""

from __future__ import annotations

from kernelmill._estimator._words import WORDS as COMMON

WORDS = COMMON.extended(
    arguments={
        "inverse_transform.X": ("array-like of shape (n, n_components)",
            "What ``transform`` gives."),
        "check_input": ("bool", "Ignored; present for API compatibility. X is always checked."),
    },
    parameters={
        "whiten": ("bool", "Whether ``transform`` divides by the standard deviations, so that all "
            "components have variance 1."),
        "tol": ("float", "Tolerance of ``\"arpack\"``; 0 is machine precision."),
        "n_oversamples": ("int", "Random directions beyond `n_components` of ``\"randomized\"``."),
        "power_iteration_normalizer": ('{"auto", "QR", "LU", "none"}',
            "What keeps the directions of ``\"randomized\"`` apart; ``\"auto\"`` is by the "
            "eigenvectors of their products."),
        "n_jobs": ("int or None", "Ignored; present for API compatibility. See "
            "`kernelmill.threads`."),
        "max_iter": ("int", "Most iterations."),
        "max_no_improvement": ("int or None",
            "Batches without a better smoothed cost that end the iteration."),
        "copy_X": ("bool", "Ignored; present for API compatibility. X is never modified."),
    },
    attributes={
        "components_": ("ndarray of shape (n_components, d), dtype of X",
            "Axes, orthonormal, by decreasing variance; of the entries of each the largest in "
            "magnitude is positive."),
        "explained_variance_": ("ndarray of shape (n_components,), float64",
            "Variance of each component, divided by n - 1; 0 where it is below rounding."),
        "explained_variance_ratio_": ("ndarray of shape (n_components,), float64",
            "Its share of the variance of all features."),
        "singular_values_": ("ndarray of shape (n_components,), float64",
            "Lengths of the columns of the transformed rows of ``fit``."),
        "mean_": ("ndarray of shape (d,), float64", "Mean of each feature."),
        "error_": ("list of float", "Cost at each iteration."),
        "n_steps_": ("int", "Batches."),
        "noise_variance_": ("float", "Mean variance of the directions that are left out."),
    },
    raises={
        "inverse_transform.X": "ValueError\n    If X is not finite or has other than "
            "`n_components` columns.",
    },
)
