"""Bayesian optimisation: of functions, and of the hyperparameters of estimators."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BayesSearchCV": "_search",
        "BayesianOptimizer": "_optimizer",
        "Categorical": "_dimensions",
        "Integer": "_dimensions",
        "Real": "_dimensions",
        "SearchResult": "_result",
        "minimize": "_minimize",
    },
)
