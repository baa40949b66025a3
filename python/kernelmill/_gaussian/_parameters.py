"""Means and covariances of k Gaussians, in scikit-learn's shapes.

============  ==================  ============================
type          covariances         statistics of second order
============  ==================  ============================
"full"        (k, d, d)           (k, d, d)
"tied"        (d, d)              (1, d, d)
"diag"        (k, d)              (k, d)
"spherical"   (k,)                (k, d)
============  ==================  ============================

``precisions_cholesky`` has the shape of the covariances: P with ``P P' = inverse covariance``,
upper triangular; reciprocal standard deviations if covariances are diagonal. The ops know two
types: a spherical covariance is a diagonal one with equal entries, a tied one a shared full one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dtrtri

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


# Asymmetry of a matrix A beside sqrt(a_ii a_jj) that counts as rounding: float32 matrices pass.
_ASYMMETRY = 1e-5


class NotPositiveDefinite(ValueError):
    """A covariance matrix is not positive definite."""


def covariance_shape(covariance_type: str, k: int, d: int) -> tuple[int, ...]:
    """The shape of covariances in scikit-learn's convention."""
    return {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[covariance_type]


def n_covariance_parameters(covariance_type: str, k: int, d: int) -> int:
    """Free parameters of the covariances, for AIC and BIC."""
    matrix = d * (d + 1) // 2
    return {"full": k * matrix, "tied": matrix, "diag": k * d, "spherical": k}[covariance_type]


def symmetric(matrices: np.ndarray) -> np.ndarray | None:
    """The symmetric parts of matrices (..., d, d); None where one is not symmetric.

    Differences are compared with sqrt(a_ii a_jj), which bounds the entries of a positive definite
    matrix: the answer depends neither on the unit of a feature nor on how small an entry is.
    """
    transposed = np.swapaxes(matrices, -1, -2)
    apart = np.abs(matrices - transposed)
    if not apart.any():
        return matrices
    size = np.sqrt(np.abs(np.diagonal(matrices, axis1=-2, axis2=-1)))
    if not (apart <= _ASYMMETRY * size[..., :, None] * size[..., None, :]).all():
        return None
    return (matrices + transposed) / 2


def precisions_cholesky(covariances: np.ndarray, covariance_type: str, owner: str) -> np.ndarray:
    """P with ``P P' = inverse covariance``, in the shape of the covariances.

    Parameters
    ----------
    covariances : ndarray, float64
        In the shape of the type; matrices symmetric.
    """
    if covariance_type in ("diag", "spherical"):
        bad = ~((covariances > 0) & (covariances < np.inf))
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            where = f"component {place[0]}" + (f", feature {place[1]}" if len(place) > 1 else "")
            raise NotPositiveDefinite(
                f"{owner}: variances must be positive and finite, got {covariances[place]:g} for "
                f"{where} (raise reg_covar, lower the number of components, or scale the features)"
            )
        return 1.0 / np.sqrt(covariances)
    matrices = covariances[None] if covariance_type == "tied" else covariances
    try:
        lower = np.linalg.cholesky(matrices)
        good = bool(np.isfinite(lower).all())
    except np.linalg.LinAlgError:
        good = False
    if not good:
        raise _singular(matrices, covariance_type, owner)
    factors = np.empty_like(lower)
    for j, factor in enumerate(lower):
        # L' is upper triangular and its inverse is P: L L' = covariance.
        factors[j] = dtrtri(factor.T, lower=0)[0]
    return factors[0] if covariance_type == "tied" else factors


def _singular(matrices: np.ndarray, covariance_type: str, owner: str) -> NotPositiveDefinite:
    """The error for the first matrix without a Cholesky factor."""
    j = next(j for j, matrix in enumerate(matrices) if not _has_factor(matrix))
    least = "NaN or inf"
    if np.isfinite(matrices[j]).all():
        least = f"a least eigenvalue of {np.linalg.eigvalsh(matrices[j])[0]:g}"
    which = "the tied covariance" if covariance_type == "tied" else f"component {j}"
    return NotPositiveDefinite(
        f"{owner}: covariances must be positive definite, got {least} for {which} (raise "
        f"reg_covar, lower the number of components, or scale the features)"
    )


def _has_factor(matrix: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(np.linalg.cholesky(matrix)).all())
    except np.linalg.LinAlgError:
        return False


def checked_precisions_cholesky(
    factor: np.ndarray, covariance_type: str, k: int, d: int, owner: str
) -> np.ndarray:
    """``precisions_cholesky`` of the type: upper triangles, as the ops need.

    Any F with ``F F^T`` the precision gives the same Gaussian, so lower triangles, which users
    assign from `numpy.linalg.cholesky`, are converted. Tied and diagonal factors have the same
    shape if k is d, but different zeros.
    """
    expected = covariance_shape(covariance_type, k, d)
    what = f"of shape {expected}"
    got = f"{factor.shape}"
    if factor.shape == expected:
        diagonal = factor
        if covariance_type in ("full", "tied"):
            diagonal = np.diagonal(factor, axis1=-2, axis2=-1)
            what = "triangular matrices with a positive diagonal"
        else:
            what = "positive numbers"
        if (diagonal > 0).all() and np.isfinite(factor).all():
            if diagonal is factor or not np.tril(factor, -1).any():
                return factor
            if not np.triu(factor, 1).any():
                return _upper_of(factor)
        got = "other values"
    raise ValueError(
        f"{owner}: precisions_cholesky_ must be {what} for covariance_type={covariance_type!r}, "
        f"got {got} (set the covariance_type of the previous fit, or fit again with "
        f"warm_start=False)"
    )


def _upper_of(factor: np.ndarray) -> np.ndarray:
    """Upper triangles U with ``U U^T = F F^T``: Cholesky factors in reversed order."""
    reversed_product = factor[..., ::-1, ::-1] @ np.swapaxes(factor, -1, -2)[..., ::-1, ::-1]
    return np.ascontiguousarray(np.linalg.cholesky(reversed_product)[..., ::-1, ::-1])


def covariances_of(factor: np.ndarray, covariance_type: str) -> np.ndarray:
    """The covariances from `precisions_cholesky`, in the same shape."""
    if covariance_type in ("diag", "spherical"):
        return factor**-2.0
    inverse = np.linalg.inv(factor)
    return np.swapaxes(inverse, -1, -2) @ inverse


def full_covariances(covariances: np.ndarray, covariance_type: str, k: int, d: int) -> np.ndarray:
    """Covariances of any type as k matrices (k, d, d), possibly a read-only view."""
    if covariance_type == "full":
        return covariances
    if covariance_type == "tied":
        return np.broadcast_to(covariances, (k, d, d))
    variances = np.broadcast_to(covariances.reshape(k, -1), (k, d))
    return variances[:, :, None] * np.eye(d)


@dataclass(frozen=True)
class Gaussians:
    """k Gaussians of one covariance type; small, immutable and picklable, for use in passes.

    Attributes
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    means : ndarray of shape (k, d), float64
    covariances, precisions_cholesky : ndarray, float64
        In scikit-learn's shapes.
    """

    covariance_type: str
    means: np.ndarray
    covariances: np.ndarray
    precisions_cholesky: np.ndarray

    @classmethod
    def of(cls, means, covariances, covariance_type: str, owner: str) -> Gaussians:
        """Gaussians with these means and covariances."""
        means = np.asarray(means, dtype=np.float64)
        covariances = np.asarray(covariances, dtype=np.float64)
        factor = precisions_cholesky(covariances, covariance_type, owner)
        return cls(covariance_type, means, covariances, factor)

    @property
    def k(self) -> int:
        """Number of components."""
        return len(self.means)

    @property
    def d(self) -> int:
        """Number of features."""
        return self.means.shape[1]

    @property
    def is_diagonal(self) -> bool:
        """Whether features are independent within a component."""
        return self.covariance_type in ("diag", "spherical")

    @property
    def variances(self) -> np.ndarray:
        """(k, d) variances of single features; diagonal types only."""
        if self.covariance_type == "diag":
            return self.covariances
        return np.broadcast_to(self.covariances[:, None], (self.k, self.d))

    @property
    def whitening(self) -> np.ndarray:
        """``precisions_cholesky`` as the ops take it: (k, d), (k, d, d), or (1, d, d) when tied."""
        if self.covariance_type == "diag":
            return self.precisions_cholesky
        if self.covariance_type == "spherical":
            return np.repeat(self.precisions_cholesky[:, None], self.d, axis=1)
        return self.precisions_cholesky.reshape(-1, self.d, self.d)

    @property
    def matrices(self) -> np.ndarray:
        """Covariance matrices (k, d, d), or (1, d, d) when tied."""
        if self.covariance_type == "tied":
            return self.covariances[None]
        return full_covariances(self.covariances, self.covariance_type, self.k, self.d)
