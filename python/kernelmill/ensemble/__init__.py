"""Ensembles of trees with scikit-learn's parameters and attributes."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "HistGradientBoostingClassifier": "_hist_classifier",
        "HistGradientBoostingRegressor": "_hist_regressor",
    },
)
