"""Decision trees: exact, with scikit-learn's parameters and attributes."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DecisionTreeClassifier": "_classifier",
        "DecisionTreeRegressor": "_regressor",
        "ExtraTreeClassifier": "_classifier",
        "ExtraTreeRegressor": "_regressor",
    },
)
