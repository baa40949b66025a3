"""Scaling, imputation and basis functions of rows wherever they are."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "FourierFeatures": "_basis",
        "KNNImputer": "_knn_imputer",
        "MinMaxScaler": "_scalers",
        "RadialBasisFeatures": "_basis",
        "RobustScaler": "_robust",
        "SimpleImputer": "_imputer",
        "StandardScaler": "_scalers",
    },
)
