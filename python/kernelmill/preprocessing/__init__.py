"""Scaling and imputation of rows wherever they are, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "KNNImputer": "_knn_imputer",
        "MinMaxScaler": "_scalers",
        "RobustScaler": "_robust",
        "SimpleImputer": "_imputer",
        "StandardScaler": "_scalers",
    },
)
