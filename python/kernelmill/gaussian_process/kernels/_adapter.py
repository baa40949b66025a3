"""Kernels of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill.gaussian_process.kernels._kernel import Hyperparameter, Kernel
from kernelmill.gaussian_process.kernels._protocol import check_host


class KernelAdapter(Kernel):
    """A kernel of another class that follows scikit-learn's protocol, as fits take it.

    Models, sums and products make it of such kernels by themselves, and of classes that derive from
    a kernel of this package and change its ``__call__`` or ``diag``.

    Parameters
    ----------
    kernel : kernel
        Has ``__call__(X, Y=None, eval_gradient=False)``, ``diag``, ``theta``, ``bounds``,
        ``hyperparameters``, ``is_stationary`` and ``clone_with_theta``; rows are NumPy arrays.

    Notes
    -----
    Slower than kernels of this package: gradients are taken from those of blocks of rows, four
    entries for each that is used, and derivatives in the features are central differences.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process.kernels import RBF as Theirs
    >>> from kernelmill.gaussian_process.kernels import KernelAdapter, WhiteKernel
    >>> class Wide(Theirs):
    ...     def __call__(self, X, Y=None, eval_gradient=False):
    ...         return super().__call__(X, Y, eval_gradient)
    >>> kernel = WhiteKernel(0.1) + Wide(2.0)
    >>> isinstance(kernel.k2, KernelAdapter), kernel([[0.0], [2.0]]).round(4).tolist()
    (True, [[1.1, 0.6065], [0.6065, 1.1]])
    """

    def __init__(self, kernel):
        self.kernel = kernel

    def _copied(self) -> KernelAdapter:
        return KernelAdapter(self.kernel.clone_with_theta(self.kernel.theta))

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """Those of the kernel."""
        return [
            Hyperparameter(f"kernel__{h.name}", h.value_type, h.bounds, h.n_elements, h.fixed)
            for h in self.kernel.hyperparameters
        ]

    @property
    def theta(self) -> np.ndarray:
        """That of the kernel, ndarray of shape (p,)."""
        return np.asarray(self.kernel.theta, dtype=np.float64)

    @theta.setter
    def theta(self, theta: Any) -> None:
        self.kernel.theta = theta

    @property
    def bounds(self) -> np.ndarray:
        """Those of the kernel, ndarray of shape (p, 2)."""
        return np.asarray(self.kernel.bounds, dtype=np.float64).reshape(-1, 2)

    def _named(self):
        owner = type(self.kernel).__name__
        own = [h for h in self.kernel.hyperparameters if not h.fixed]
        return [f"{owner}.{h.name}" for h in own for _ in range(h.n_elements)]

    def _call(self, X, Y=None, eval_gradient=False):
        check_host(X, type(self.kernel).__name__)
        return self.kernel(X, Y, eval_gradient=True) if eval_gradient else self.kernel(X, Y)

    def _diag(self, X):
        return self._checked(self.kernel.diag(X), (len(X),))

    def is_stationary(self):
        """Whether covariances depend on differences of rows only.

        Returns
        -------
        stationary : bool
            What the kernel says.
        """
        return bool(self.kernel.is_stationary())

    @property
    def requires_vector_input(self) -> bool:
        """What the kernel says."""
        return bool(getattr(self.kernel, "requires_vector_input", True))

    def __repr__(self):
        return repr(self.kernel)
