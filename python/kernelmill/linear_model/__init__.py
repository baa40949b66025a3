"""Linear models with scikit-learn's interface: exact ones, and some trained row by row."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ElasticNet": "_elastic_net",
        "Lasso": "_elastic_net",
        "LinearRegression": "_least_squares",
        "LogisticRegression": "_logistic",
        "MultiTaskElasticNet": "_elastic_net",
        "MultiTaskLasso": "_elastic_net",
        "Perceptron": "_perceptron",
        "Ridge": "_ridge",
        "RidgeCV": "_ridge",
        "RidgeClassifier": "_ridge",
        "SGDClassifier": "_sgd_classifier",
        "SGDRegressor": "_sgd_regressor",
    },
)
