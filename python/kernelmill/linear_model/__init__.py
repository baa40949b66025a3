"""Linear models with scikit-learn's interface, trained row by row."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Perceptron": "_perceptron",
        "SGDClassifier": "_sgd_classifier",
        "SGDRegressor": "_sgd_regressor",
    },
)
