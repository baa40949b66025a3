"""Multi-layer perceptrons with scikit-learn's interface, on :mod:`kernelmill.nn`."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"MLPClassifier": "_mlp", "MLPRegressor": "_mlp"})
