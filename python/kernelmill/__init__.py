"""KernelMill: fast machine learning with scikit-learn's interface.

Subpackages are imported when they are first used: ``import kernelmill`` loads neither SciPy nor the
compiled modules.
"""

from ._lazy import lazy
from ._version import __version__ as __version__

_MODULES = (
    "accelerate",
    "callbacks",
    "cluster",
    "convert",
    "decomposition",
    "discriminant_analysis",
    "ensemble",
    "estimation",
    "gaussian_process",
    "hmm",
    "kernel_approximation",
    "kernel_ridge",
    "linear_model",
    "manifold",
    "markov",
    "metrics",
    "mixture",
    "model_selection",
    "naive_bayes",
    "neighbors",
    "neural_network",
    "nn",
    "ops",
    "plot",
    "preprocessing",
    "stream",
    "svm",
    "tree",
)

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "__version__": "_version",
        "backend": "ops._op",
        "get_threads": "_threads",
        "threads": "_threads",
        "info": "_info",
        "load": "_estimator.persistence",
        "register": "_estimator.registry",
        "save": "_estimator.persistence",
        "ModelFileError": "_estimator.persistence",
        **{name: name for name in _MODULES},
    },
)
