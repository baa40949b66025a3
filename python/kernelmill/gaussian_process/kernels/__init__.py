"""Covariance functions of Gaussian processes: scikit-learn's names, sums, products and powers."""

from ..._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "CompoundKernel": "_algebra",
        "ConstantKernel": "_simple",
        "DotProduct": "_simple",
        "ExpSineSquared": "_stationary",
        "Exponentiation": "_algebra",
        "Hyperparameter": "_kernel",
        "Kernel": "_kernel",
        "KernelAdapter": "_adapter",
        "Matern": "_stationary",
        "PairwiseKernel": "_simple",
        "Product": "_algebra",
        "RBF": "_stationary",
        "RationalQuadratic": "_stationary",
        "Sum": "_algebra",
        "WhiteKernel": "_simple",
    },
)
