"""Ensembles of trees: forests and boosting, with scikit-learn's parameters and attributes."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "HistGradientBoostingClassifier": "_hist_classifier",
        "HistGradientBoostingRegressor": "_hist_regressor",
        "AdaBoostClassifier": "_adaboost_classifier",
        "AdaBoostRegressor": "_adaboost_regressor",
        "ExtraTreesClassifier": "_forest_classifier",
        "ExtraTreesRegressor": "_forest_regressor",
        "GradientBoostingClassifier": "_gradient_boosting_classifier",
        "GradientBoostingRegressor": "_gradient_boosting_regressor",
        "IsolationForest": "_isolation",
        "RandomForestClassifier": "_forest_classifier",
        "RandomForestRegressor": "_forest_regressor",
    },
)
