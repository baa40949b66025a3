"""Features whose products approximate a kernel, with scikit-learn's interface."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Nystroem": "_nystroem",
        "RBFSampler": "_fourier",
        "RandomFourierFeatures": "_fourier",
    },
)
