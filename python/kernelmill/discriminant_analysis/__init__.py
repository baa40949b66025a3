"""Discriminants of Gaussian classes, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "GaussianClassifier": "_gaussian",
        "LinearDiscriminantAnalysis": "_linear",
        "QuadraticDiscriminantAnalysis": "_quadratic",
    },
)
