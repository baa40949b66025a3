"""Rows as few numbers: components, factors, topics and codes, named as scikit-learn names them."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DictionaryLearning": "_dictionary",
        "FactorAnalysis": "_factor_analysis",
        "FastICA": "_fast_ica",
        "IncrementalPCA": "_incremental",
        "KernelPCA": "_kernel_pca",
        "LatentDirichletAllocation": "_lda",
        "MiniBatchNMF": "_minibatch_nmf",
        "MiniBatchDictionaryLearning": "_dictionary",
        "NMF": "_nmf",
        "PCA": "_pca",
        "PredictiveSparseDecomposition": "_predictive",
        "ProbabilisticPCA": "_probabilistic",
        "SparseCoder": "_dictionary",
        "TruncatedSVD": "_truncated_svd",
    },
)
