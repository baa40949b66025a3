"""Support vector machines with scikit-learn's interface."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "SVC": "_classifier",
        "NuSVC": "_classifier",
        "SVR": "_regressor",
        "NuSVR": "_regressor",
        "OneClassSVM": "_one_class",
        "SVCCV": "_search",
        "SVRCV": "_search",
        "LinearSVC": "_linear",
        "LinearSVR": "_linear",
    },
)
