"""Rows as few numbers: components, factors, topics and codes, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "FactorAnalysis": "_factor_analysis",
        "IncrementalPCA": "_incremental",
        "KernelPCA": "_kernel_pca",
        "PCA": "_pca",
        "ProbabilisticPCA": "_probabilistic",
        "TruncatedSVD": "_truncated_svd",
    },
)
