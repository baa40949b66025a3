"""Gaussians whose covariance is a product of few rows and a diagonal: ``C = W'W + diag(psi)``.

With ``V = W psi^(-1/2)`` and ``M = I + V V'``, of k rows and columns,

    C^-1   = psi^(-1/2) (I - V' M^-1 V) psi^(-1/2)
    log|C| = log|M| + sum log psi

and for a centred row x the mean of its factors, ``z = M^-1 V psi^(-1/2) x``, is where
``|psi^(-1/2) (x - W'z)|^2 + |z|^2`` is least. That least value is ``x' C^-1 x``: a sum of squares,
which loses no digits where the noise is small beside the factors.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import scipy.linalg


class LowRank(NamedTuple):
    """A covariance.

    Attributes
    ----------
    W : ndarray of shape (k, d), float64
    noise : ndarray of shape (d,), float64
        psi.
    """

    W: np.ndarray
    noise: np.ndarray

    def covariance(self) -> np.ndarray:
        """C."""
        C = self.W.T @ self.W
        C[np.diag_indices_from(C)] += self.noise
        return C

    def regular(self, owner: str) -> Self:
        """This one, or an error where it has no inverse."""
        if not self.noise.min(initial=np.inf) > 0:
            raise ValueError(
                f"{owner}: the covariance of the model must be regular, got directions without "
                "variance (fit rows that vary in every direction, or fewer components)"
            )
        return self

    def prepared(self) -> Prepared:
        """What rows need."""
        return Prepared(self)

    def precision(self) -> np.ndarray:
        """``C^-1``."""
        ready = self.prepared()
        half = scipy.linalg.solve_triangular(ready.L, ready.V, lower=True, check_finite=False)
        P = -half.T @ half
        P[np.diag_indices_from(P)] += 1.0
        return P / np.multiply.outer(ready.root, ready.root)


class Prepared:
    """The factors of a covariance that rows are multiplied with."""

    def __init__(self, model: LowRank) -> None:
        self.root = np.sqrt(model.noise)
        self.V = model.W / self.root
        k, d = self.V.shape
        self.L = scipy.linalg.cholesky(
            np.eye(k) + self.V @ self.V.T, lower=True, check_finite=False
        ) if k else np.empty((0, 0))  # fmt: skip
        self.constant = -0.5 * d * np.log(2 * np.pi) - float(
            np.log(self.root).sum() + np.log(np.diag(self.L)).sum()
        )
        self.to_factors = (
            scipy.linalg.cho_solve((self.L, True), self.V, check_finite=False) if k else self.V
        )

    def factors(self, x: np.ndarray) -> np.ndarray:
        """Means of the factors of centred rows."""
        return (x / self.root) @ self.to_factors.T

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Of centred rows."""
        scaled = x / self.root
        z = scaled @ self.to_factors.T
        rest = scaled - z @ self.V
        return self.constant - 0.5 * ((rest * rest).sum(1) + (z * z).sum(1))
