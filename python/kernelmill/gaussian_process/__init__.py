"""Gaussian processes: regression, classification, and regression from inducing points."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "GaussianProcessClassifier": "_classifier",
        "GaussianProcessRegressor": "_regressor",
        "SparseGaussianProcessRegressor": "_sparse",
        "kernels": "kernels",
    },
)
