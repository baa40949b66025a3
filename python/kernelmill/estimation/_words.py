"""What the docstrings of estimated distributions have in common."""

from __future__ import annotations

from kernelmill._estimator._words import DENSE_ROWS
from kernelmill._estimator._words import WORDS as _SHARED

_PARAMETERS = "dict of str to ndarray, float64"

WORDS = _SHARED.extended(
    arguments={
        "partial_fit.X": (
            "{array-like, sparse matrix} of shape (n, d), or a stream",
            "More rows; see ``fit``.",
        ),
        "partial_fit.sample_weight": ("array-like of shape (n,)", "Weights of the rows."),
        "parameters": (
            '{"predictive", "map", "maximum_likelihood"}',
            "Whether parameters are averaged over the posterior, or which are taken to be true.",
        ),
        "level": ("float", "Probability of the interval, between 0 and 1."),
        "n_samples": ("int", "Number of draws."),
        "random_state": ("int, RandomState, Generator or None", "Seed or generator."),
        "quantiles": ("array-like of shape (k,)", "Shares between 0 and 1."),
    },
    attributes={
        "prior_": (_PARAMETERS, "Parameters of the prior, for each feature."),
        "posterior_": (_PARAMETERS, "Parameters of the posterior, by the names of the prior's."),
        "maximum_likelihood_": (
            _PARAMETERS,
            "Parameters of the distribution that give the rows the greatest density.",
        ),
        "map_": (_PARAMETERS, "Parameters of the distribution at the mode of the posterior."),
        "posterior_mean_": (
            _PARAMETERS,
            "Means of the posterior; infinite or NaN where there is none.",
        ),
        "predictive_mean_": (
            "ndarray of shape (d,), float64",
            "Mean of a new row; infinite or NaN where there is none.",
        ),
        "predictive_variance_": (
            "ndarray of shape (d,), float64",
            "Variances of a new row; infinite or NaN where there are none.",
        ),
        "log_evidence_": ("float", "Logarithm of the density of all rows that the prior gives."),
        "statistics_": (
            _PARAMETERS,
            "Weighted sums over the rows, which say all that the posterior depends on.",
        ),
        "n_samples_seen_": ("int", "Number of rows."),
    },
)
_ROWS = "array-like of shape (n, d), or a stream"
DENSE = WORDS.extended(
    arguments={
        "X": (_ROWS, "Rows; see ``fit``."),
        "fit.X": (_ROWS, DENSE_ROWS[1].removesuffix(" NaN is a missing value.")),
        "partial_fit.X": (_ROWS, "More rows; see ``fit``."),
    },
    parameters={
        "mean": ("float or array-like of shape (d,)", "Mean of the prior of the mean."),
        "kappa": ("float", "How many rows it counts as; with 0 the prior of the mean is flat."),
    },
)
RATES = WORDS.extended(
    attributes={
        "posterior_": (
            "dict of str to ndarray of shape (d,), float64",
            '``"shape"`` and ``"rate"``, of the posterior.',
        ),
    },
)
