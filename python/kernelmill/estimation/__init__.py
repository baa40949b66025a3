"""Distributions estimated from rows: maximum likelihood, MAP, posterior, evidence, prediction.

Each class is a family with its conjugate prior, so everything is in closed form.
"""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Bernoulli": "_categories",
        "Categorical": "_categories",
        "Exponential": "_rates",
        "Gaussian": "_gaussian",
        "MultivariateGaussian": "_gaussian",
        "Poisson": "_rates",
    },
)
