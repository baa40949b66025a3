"""Nearest neighbours and what stands on them, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "KDTree": "_kd_tree",
        "KNeighborsClassifier": "_classification",
        "KNeighborsRegressor": "_regression",
        "KNeighborsTransformer": "_transformers",
        "KernelDensity": "_density",
        "LocalOutlierFactor": "_outliers",
        "MLkNN": "_multilabel",
        "NearestCentroid": "_centroid",
        "NearestNeighbors": "_unsupervised",
        "RadiusNeighborsClassifier": "_classification",
        "RadiusNeighborsRegressor": "_regression",
        "RadiusNeighborsTransformer": "_transformers",
        "kneighbors_graph": "_graph",
        "radius_neighbors_graph": "_graph",
    },
)
