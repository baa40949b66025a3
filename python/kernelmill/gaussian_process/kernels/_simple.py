"""Kernels that are not functions of a distance: constants, noise, products, and those of pairs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_cupy, namespace
from kernelmill.gaussian_process.kernels._kernel import Kernel, shown
from kernelmill.gaussian_process.kernels._protocol import STEP

_BOUNDS = (1e-5, 1e5)


class ConstantKernel(Kernel):
    """Constant kernel: ``K(x, y) = constant_value``.

    As a factor it is the variance of a kernel; as a term, that of an unknown mean.

    Parameters
    ----------
    constant_value : float, default=1.0
        The constant.
    constant_value_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Its bounds in fits.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import ConstantKernel
    >>> ConstantKernel(2.0)([[0.0], [1.0]])
    array([[2., 2.],
           [2., 2.]])
    """

    _names = ("constant_value",)

    def __init__(self, constant_value=1.0, constant_value_bounds=_BOUNDS):
        self.constant_value = constant_value
        self.constant_value_bounds = constant_value_bounds

    def _forward(self, X, Y, own):
        return namespace(X).full((len(X), len(Y)), float(self.constant_value)), None

    def _derivatives(self, X, Y, own, saved):
        if self.n_dims:
            yield namespace(X).full((len(X), len(Y)), float(self.constant_value))

    def _pull(self, X, Y, own, saved, A):
        return np.full(self.n_dims, self.constant_value * float(A.sum()))

    def _pull_rows(self, X, Y, saved, A):
        return np.zeros_like(X)

    def _diag(self, X):
        return namespace(X).full(len(X), float(self.constant_value))

    def _pull_diag(self, X, a):
        return np.full(self.n_dims, self.constant_value * float(a.sum()))

    def is_stationary(self):
        """Whether covariances depend on differences of rows only: yes.

        Returns
        -------
        stationary : bool
            True.
        """
        return True

    def __repr__(self):
        return f"ConstantKernel(constant_value={shown(self.constant_value)})"


class WhiteKernel(Kernel):
    """Noise: ``K(X)`` is ``noise_level`` times the identity, and ``K(X, Y)`` is 0.

    Parameters
    ----------
    noise_level : float, default=1.0
        Variance of the noise.
    noise_level_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Its bounds in fits.

    Notes
    -----
    Rows are compared by their places, not by their values: in ``K(X)`` equal rows have noise of
    their own, and ``K(X, X)`` is 0.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import WhiteKernel
    >>> WhiteKernel(0.5)([[0.0], [0.0]])
    array([[0.5, 0. ],
           [0. , 0.5]])
    """

    _names = ("noise_level",)

    def __init__(self, noise_level=1.0, noise_level_bounds=_BOUNDS):
        self.noise_level = noise_level
        self.noise_level_bounds = noise_level_bounds

    def _forward(self, X, Y, own):
        xp = namespace(X)
        K = xp.zeros((len(X), len(Y)))
        if own:
            places = xp.arange(len(X))
            K[places, places] = self.noise_level
        return K, None

    def _derivatives(self, X, Y, own, saved):
        if self.n_dims:
            yield self._forward(X, Y, own)[0]

    def _pull(self, X, Y, own, saved, A):
        trace = float(np.trace(A)) if own else 0.0
        return np.full(self.n_dims, self.noise_level * trace)

    def _products(self, X, Y, own, saved, W, a, b):
        xp = namespace(X)
        found = [xp.zeros((self.n_dims, len(Z), a.shape[1])) for Z in (X, Y)]
        if own and self.n_dims:
            w = self.noise_level * (xp.ones(len(X)) if W is None else np.diag(W))
            for part, c in zip(found, (a, b), strict=True):
                part[:, : len(X)] = w[:, None] * c[: len(X)]
        return tuple(found)

    def _pull_rows(self, X, Y, saved, A):
        return np.zeros_like(X)

    def _diag(self, X):
        return namespace(X).full(len(X), float(self.noise_level))

    def _pull_diag(self, X, a):
        return np.full(self.n_dims, self.noise_level * float(a.sum()))

    def is_stationary(self):
        """Whether covariances depend on differences of rows only: yes.

        Returns
        -------
        stationary : bool
            True.
        """
        return True


class DotProduct(Kernel):
    """Linear kernel: ``K(x, y) = sigma_0^2 + x'y``.

    Parameters
    ----------
    sigma_0 : float, default=1.0
        Deviation of the intercept.
    sigma_0_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Its bounds in fits.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import DotProduct
    >>> DotProduct(1.0)([[1.0], [2.0]])
    array([[2., 3.],
           [3., 5.]])
    """

    _names = ("sigma_0",)
    _powers: ClassVar = {"sigma_0": 2.0}

    def __init__(self, sigma_0=1.0, sigma_0_bounds=_BOUNDS):
        self.sigma_0 = sigma_0
        self.sigma_0_bounds = sigma_0_bounds

    def _forward(self, X, Y, own):
        return X @ Y.T + self.sigma_0**2, None

    def _derivatives(self, X, Y, own, saved):
        if self.n_dims:
            yield namespace(X).full((len(X), len(Y)), 2.0 * self.sigma_0**2)

    def _pull(self, X, Y, own, saved, A):
        return np.full(self.n_dims, 2 * self.sigma_0**2 * float(A.sum()))

    def _pull_rows(self, X, Y, saved, A):
        return A @ Y

    def _diag(self, X):
        return np.einsum("ij,ij->i", X, X) + self.sigma_0**2

    def _pull_diag(self, X, a):
        return np.full(self.n_dims, 2 * self.sigma_0**2 * float(a.sum()))

    def _pull_diag_rows(self, X, a):
        return 2 * a[:, None] * X

    def is_stationary(self):
        """Whether covariances depend on differences of rows only: no.

        Returns
        -------
        stationary : bool
            False.
        """
        return False


class PairwiseKernel(Kernel):
    """A kernel of scikit-learn's ``pairwise_kernels``.

    Parameters
    ----------
    gamma : float, default=1.0
        Its parameter ``gamma``.
    gamma_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Bounds in fits.
    metric : {"linear", "additive_chi2", "chi2", "poly", "polynomial", "rbf", "laplacian", \
"sigmoid", "cosine"} or callable, default="linear"
        The kernel.
    pairwise_kernels_kwargs : dict, optional
        Further arguments.

    Notes
    -----
    Derivatives are central differences, with a relative error of about 1e-10.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import PairwiseKernel
    >>> PairwiseKernel(metric="cosine")([[1.0, 0.0], [0.0, 2.0]])
    array([[1., 0.],
           [0., 1.]])
    """

    _names = ("gamma",)
    _powers: ClassVar = {"gamma": 1.0}

    def __init__(
        self, gamma=1.0, gamma_bounds=_BOUNDS, metric="linear", pairwise_kernels_kwargs=None
    ):
        self.gamma = gamma
        self.gamma_bounds = gamma_bounds
        self.metric = metric
        self.pairwise_kernels_kwargs = pairwise_kernels_kwargs

    def __repr__(self):
        return f"{super().__repr__()[:-1]}, metric={self.metric})"

    def _at(self, X: np.ndarray, Y: np.ndarray, gamma: Any) -> np.ndarray:
        from sklearn.metrics.pairwise import pairwise_kernels

        if is_cupy(X):
            raise TypeError(
                "PairwiseKernel: X must be on the CPU, where scikit-learn computes the values, got "
                "an array on a GPU (move it with cupy.asnumpy, or use RBF or DotProduct)"
            )
        options = self.pairwise_kernels_kwargs or {}
        return pairwise_kernels(
            X, Y, metric=self.metric, gamma=gamma, filter_params=True, **options
        )

    def _forward(self, X, Y, own):
        return self._at(X, Y, self.gamma), None

    def _derivatives(self, X, Y, own, saved):
        if self.n_dims:
            h = STEP
            up, down = (self._at(X, Y, self.gamma * np.exp(s)) for s in (h, -h))
            yield (up - down) / (2 * h)

    def _each(self, X: np.ndarray, gamma: Any) -> np.ndarray:
        return np.array([self._at(x[None], x[None], gamma)[0, 0] for x in X])

    def _diag(self, X):
        return self._each(X, self.gamma)

    def _pull_diag(self, X, a):
        if not self.n_dims:
            return np.zeros(0)
        h = STEP
        up, down = (self._each(X, self.gamma * np.exp(s)) for s in (h, -h))
        return np.array([a @ (up - down) / (2 * h)])

    def is_stationary(self):
        """Whether covariances depend on differences of rows only.

        Returns
        -------
        stationary : bool
            True for ``"rbf"`` and ``"laplacian"``.
        """
        return self.metric in ("rbf", "laplacian")
