"""Ensembles of trees: forests and boosting, with scikit-learn's parameters and attributes."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ExtraTreesClassifier": "_forest_classifier",
        "ExtraTreesRegressor": "_forest_regressor",
        "RandomForestClassifier": "_forest_classifier",
        "RandomForestRegressor": "_forest_regressor",
    },
)
