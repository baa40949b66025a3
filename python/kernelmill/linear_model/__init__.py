"""Linear models with scikit-learn's interface: exact ones, and some trained row by row."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ARDRegression": "_bayesian",
        "BayesianLinearRegression": "_bayesian",
        "BayesianRidge": "_bayesian",
        "ElasticNet": "_elastic_net",
        "ElasticNetCV": "_paths",
        "GammaRegressor": "_generalised",
        "Lasso": "_elastic_net",
        "LassoCV": "_paths",
        "LinearRegression": "_least_squares",
        "LogCoshRegressor": "_generalised",
        "LogisticRegression": "_logistic",
        "MultiTaskElasticNet": "_elastic_net",
        "MultiTaskElasticNetCV": "_paths",
        "MultiTaskLasso": "_elastic_net",
        "MultiTaskLassoCV": "_paths",
        "Perceptron": "_perceptron",
        "PoissonRegressor": "_generalised",
        "Ridge": "_ridge",
        "RidgeCV": "_ridge",
        "RidgeClassifier": "_ridge",
        "SGDClassifier": "_sgd_classifier",
        "SGDRegressor": "_sgd_regressor",
        "TweedieRegressor": "_generalised",
        "enet_path": "_paths",
        "lasso_path": "_paths",
    },
)
