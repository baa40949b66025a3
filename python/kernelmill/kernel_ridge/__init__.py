"""Kernel ridge regression with scikit-learn's interface."""

from .._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"KernelRidge": "_ridge"})
