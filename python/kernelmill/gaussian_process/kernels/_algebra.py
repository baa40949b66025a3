"""Sums, products and powers of kernels."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from kernelmill.gaussian_process.kernels._kernel import Hyperparameter, Kernel


def _times(W: np.ndarray | None, K: np.ndarray) -> np.ndarray:
    return K if W is None else W * K


def _joined(first: tuple[np.ndarray, ...], second: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
    return tuple(np.concatenate(pair) for pair in zip(first, second, strict=True))


class _Pair(Kernel):
    """Two kernels and an operation."""

    _sign = ""

    def __init__(self, k1: Kernel, k2: Kernel) -> None:
        self.k1 = k1
        self.k2 = k2

    def _parts(self) -> list[Kernel]:
        return [self.k1, self.k2]

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """All hyperparameters, those of ``k1`` first."""
        return [
            h._replace(name=f"{name}__{h.name}")
            for name, kernel in (("k1", self.k1), ("k2", self.k2))
            for h in kernel.hyperparameters
        ]

    def _check(self, d: int) -> None:
        self.k1._check(d)
        self.k2._check(d)

    def __repr__(self) -> str:
        return f"{self.k1!r} {self._sign} {self.k2!r}"


class Sum(_Pair):
    """Sum of two kernels: ``K1 + K2``, written ``k1 + k2``.

    Parameters
    ----------
    k1 : Kernel
        First kernel.
    k2 : Kernel
        Second kernel.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import RBF, WhiteKernel
    >>> RBF(2.0) + WhiteKernel(0.1)
    RBF(length_scale=2) + WhiteKernel(noise_level=0.1)
    """

    _sign = "+"

    def _forward(self, X, Y, own):
        K1, saved1 = self.k1._forward(X, Y, own)
        K2, saved2 = self.k2._forward(X, Y, own)
        return K1 + K2, (saved1, saved2)

    def _derivatives(self, X, Y, own, saved):
        yield from self.k1._derivatives(X, Y, own, saved[0])
        yield from self.k2._derivatives(X, Y, own, saved[1])

    def _pull(self, X, Y, own, saved, A):
        return np.concatenate(
            [self.k1._pull(X, Y, own, saved[0], A), self.k2._pull(X, Y, own, saved[1], A)]
        )

    def _products(self, X, Y, own, saved, W, a, b):
        first = self.k1._products(X, Y, own, saved[0], W, a, b)
        return _joined(first, self.k2._products(X, Y, own, saved[1], W, a, b))

    def _pull_rows(self, X, Y, saved, A):
        return self.k1._pull_rows(X, Y, saved[0], A) + self.k2._pull_rows(X, Y, saved[1], A)

    def _diag(self, X):
        return self.k1._diag(X) + self.k2._diag(X)

    def _pull_diag(self, X, a):
        return np.concatenate([self.k1._pull_diag(X, a), self.k2._pull_diag(X, a)])

    def _pull_diag_rows(self, X, a):
        return self.k1._pull_diag_rows(X, a) + self.k2._pull_diag_rows(X, a)


class Product(_Pair):
    """Product of two kernels, entry by entry: ``K1 * K2``, written ``k1 * k2``.

    Parameters
    ----------
    k1 : Kernel
        First kernel.
    k2 : Kernel
        Second kernel.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import RBF
    >>> 4.0 * RBF(2.0)
    ConstantKernel(constant_value=4) * RBF(length_scale=2)
    """

    _sign = "*"

    def _forward(self, X, Y, own):
        K1, saved1 = self.k1._forward(X, Y, own)
        K2, saved2 = self.k2._forward(X, Y, own)
        return K1 * K2, (saved1, saved2, K1, K2)

    def _derivatives(self, X, Y, own, saved):
        saved1, saved2, K1, K2 = saved
        yield from (D * K2 for D in self.k1._derivatives(X, Y, own, saved1))
        yield from (K1 * D for D in self.k2._derivatives(X, Y, own, saved2))

    def _pull(self, X, Y, own, saved, A):
        saved1, saved2, K1, K2 = saved
        return np.concatenate(
            [self.k1._pull(X, Y, own, saved1, A * K2), self.k2._pull(X, Y, own, saved2, A * K1)]
        )

    def _products(self, X, Y, own, saved, W, a, b):
        saved1, saved2, K1, K2 = saved
        first = self.k1._products(X, Y, own, saved1, _times(W, K2), a, b)
        return _joined(first, self.k2._products(X, Y, own, saved2, _times(W, K1), a, b))

    def _pull_rows(self, X, Y, saved, A):
        saved1, saved2, K1, K2 = saved
        first = self.k1._pull_rows(X, Y, saved1, A * K2)
        return first + self.k2._pull_rows(X, Y, saved2, A * K1)

    def _diag(self, X):
        return self.k1._diag(X) * self.k2._diag(X)

    def _pull_diag(self, X, a):
        return np.concatenate(
            [
                self.k1._pull_diag(X, a * self.k2._diag(X)),
                self.k2._pull_diag(X, a * self.k1._diag(X)),
            ]
        )

    def _pull_diag_rows(self, X, a):
        first = self.k1._pull_diag_rows(X, a * self.k2._diag(X))
        return first + self.k2._pull_diag_rows(X, a * self.k1._diag(X))

    def __repr__(self):
        shown = [f"({k!r})" if isinstance(k, Sum) else repr(k) for k in (self.k1, self.k2)]
        return " * ".join(shown)


class Exponentiation(Kernel):
    """A kernel to a power, entry by entry: ``K ** exponent``.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    exponent : float
        The power. Whole numbers give a positive semi-definite kernel.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import DotProduct
    >>> DotProduct(1.0) ** 2
    DotProduct(sigma_0=1) ** 2
    """

    def __init__(self, kernel: Kernel, exponent: float) -> None:
        self.kernel = kernel
        self.exponent = exponent

    def _parts(self):
        return [self.kernel]

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """All hyperparameters."""
        return [h._replace(name=f"kernel__{h.name}") for h in self.kernel.hyperparameters]

    def _check(self, d):
        self.kernel._check(d)
        if not isinstance(self.exponent, Real) or not math.isfinite(self.exponent):
            raise ValueError(
                f"Exponentiation: exponent must be a finite number, got {self.exponent!r}"
            )

    def _slope(self, K):
        return self.exponent * K ** (self.exponent - 1)

    def _forward(self, X, Y, own):
        K, saved = self.kernel._forward(X, Y, own)
        return K**self.exponent, (saved, K)

    def _derivatives(self, X, Y, own, saved):
        slope = self._slope(saved[1])
        return (slope * D for D in self.kernel._derivatives(X, Y, own, saved[0]))

    def _pull(self, X, Y, own, saved, A):
        return self.kernel._pull(X, Y, own, saved[0], A * self._slope(saved[1]))

    def _products(self, X, Y, own, saved, W, a, b):
        W = _times(W, self._slope(saved[1]))
        return self.kernel._products(X, Y, own, saved[0], W, a, b)

    def _pull_rows(self, X, Y, saved, A):
        return self.kernel._pull_rows(X, Y, saved[0], A * self._slope(saved[1]))

    def _diag(self, X):
        return self.kernel._diag(X) ** self.exponent

    def _pull_diag(self, X, a):
        return self.kernel._pull_diag(X, a * self._slope(self.kernel._diag(X)))

    def _pull_diag_rows(self, X, a):
        return self.kernel._pull_diag_rows(X, a * self._slope(self.kernel._diag(X)))

    def __repr__(self):
        inner = f"({self.kernel!r})" if isinstance(self.kernel, _Pair) else repr(self.kernel)
        return f"{inner} ** {self.exponent}"


class CompoundKernel(Kernel):
    """The kernels of several processes.

    Parameters
    ----------
    kernels : list of Kernel
        The kernels.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import CompoundKernel, RBF
    >>> CompoundKernel([RBF(1.0), RBF(2.0)])([[0.0], [1.0]]).shape
    (2, 2, 2)
    """

    def __init__(self, kernels: list[Kernel]) -> None:
        self.kernels = kernels

    def _parts(self):
        return list(self.kernels)

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """All hyperparameters, those of the first kernel first."""
        return [h for kernel in self.kernels for h in kernel.hyperparameters]

    def _check(self, d):
        for kernel in self.kernels:
            kernel._check(d)

    def _forward(self, X, Y, own):
        return np.stack([kernel._forward(X, Y, own)[0] for kernel in self.kernels], -1), None

    def _diag(self, X):
        return np.stack([kernel._diag(X) for kernel in self.kernels], -1)

    def __call__(self, X, Y=None, eval_gradient=False):
        """The covariances of each kernel.

        Parameters
        ----------
        X : array-like of shape (n, d)
            First rows.
        Y : array-like of shape (m, d), optional
            Second rows; those of X by default.
        eval_gradient : bool, default=False
            Return the gradients too; only without Y.

        Returns
        -------
        K : ndarray of shape (n, m, n_kernels), float64
            Covariances.
        gradient : ndarray of shape (n, n, p, n_kernels), float64
            Derivatives by ``theta`` of each, if asked for.
        """
        found = [kernel(X, Y, eval_gradient) for kernel in self.kernels]
        if eval_gradient:
            return tuple(np.stack(part, -1) for part in zip(*found, strict=True))
        return np.stack(found, -1)

    def __repr__(self):
        return f"CompoundKernel({', '.join(map(repr, self.kernels))})"
