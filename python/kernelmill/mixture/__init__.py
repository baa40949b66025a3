"""Gaussian mixtures by EM and by variational inference; classifiers and divergences from them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BayesianGaussianMixture": "_bayesian",
        "Estimate": "_divergence",
        "GaussianMixture": "_gaussian_mixture",
        "MixtureClassifier": "_classifier",
        "entropy": "_divergence",
        "kl_divergence": "_divergence",
        "mahalanobis": "_divergence",
    },
)
