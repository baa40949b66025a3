"""The M-step: weights, means and covariances from moments about the means of the pass.

With n_j, s_j, S_j the moments about m_j and delta_j = s_j / n_j,

    new mean        m_j + delta_j
    new covariance  S_j / n_j - delta_j delta_j'        (its diagonal, or the mean of that)
    tied            (sum_j S_j - n_j delta_j delta_j') / sum_j n_j

plus ``reg_covar`` on the diagonal. A component of zero weight keeps its mean and covariance: the
likelihood does not depend on them, so EM stays monotone without NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments

# Share of the total weight below which a component is empty: such sums are rounding errors.
EMPTY = 10 * np.finfo(np.float64).eps
# Share of a variance that a prior or a lower bound may make up without a warning.
_UNNOTED = 0.25


def maximise(moments: Moments, gaussians: Gaussians, reg_covar: float, owner: str) -> Gaussians:
    """The Gaussians of the greatest expected log-likelihood.

    Parameters
    ----------
    moments : Moments
        Moments about ``gaussians.means``.
    reg_covar : float
        Added to the diagonal of the covariances.
    """
    kind, d = gaussians.covariance_type, gaussians.d
    mass = float(moments.weights.sum())
    if not mass > 0:
        return gaussians
    filled = moments.weights > EMPTY * mass
    total = np.where(filled, moments.weights, 1.0)
    delta = np.where(filled[:, None], moments.sums / total[:, None], 0.0)
    means = gaussians.means + delta
    if kind == "tied":
        between = (moments.weights[:, None] * delta).T @ delta
        covariances = (moments.squares[0] - between) / mass
        covariances = (covariances + covariances.T) / 2
        covariances[np.diag_indices(d)] += reg_covar
    elif kind == "full":
        covariances = moments.squares / total[:, None, None] - delta[:, :, None] * delta[:, None]
        covariances[:, np.arange(d), np.arange(d)] += reg_covar
        covariances[~filled] = gaussians.covariances[~filled]
    else:
        # Rounding may make a variance of 0 negative.
        variances = np.maximum(moments.squares / total[:, None] - delta**2, 0.0)
        if kind == "spherical":
            covariances = variances.mean(axis=1) + reg_covar
        else:
            covariances = variances + reg_covar
        covariances[~filled] = gaussians.covariances[~filled]
    return Gaussians.of(means, covariances, kind, owner)


def is_constant(variance: Any, mean: Any, dtype: Any = np.float64) -> Any:
    """Whether a variance is no more than the rounding of values about the mean."""
    return variance <= (64 * float(np.finfo(dtype).eps) * np.abs(mean)) ** 2


def variances_of(gaussians: Gaussians) -> np.ndarray:
    """The diagonals of the covariances: (k, d), (k, 1) for spherical or (1, d) for tied ones."""
    if gaussians.is_diagonal:
        return gaussians.covariances.reshape(gaussians.k, -1)
    return np.diagonal(gaussians.matrices, axis1=1, axis2=2)


def regulariser_note(
    owner: str, of_data: np.ndarray, variances: np.ndarray, means: np.ndarray, counts: np.ndarray,
    name: Callable[[int, int], str], place: Callable[[int], str], dtype: Any
) -> str | None:
    """The sentence to warn with where a prior or lower bound makes up much of a variance.

    Absolute ones are made for data of unit size: for daily returns they may be all there is. Few
    rows, and features that are constant, are what they are for, so these are passed over.

    Parameters
    ----------
    of_data, variances : ndarray of shape (g, d), or (g, 1) for spherical covariances
        Variances without and with what was added to them.
    counts : ndarray of shape (g,)
        Rows of each group.
    name : callable
        ``name(group, feature)``: the parameter to blame.
    place : callable
        ``place(group)`` in words.
    """
    if (of_data >= (1.0 - _UNNOTED) * variances).all():
        return None
    d = means.shape[1]
    size = np.abs(means) if of_data.shape[1] == d else np.abs(means).max(axis=1, keepdims=True)
    share = 1.0 - of_data / variances
    share[is_constant(of_data, size, dtype) | (share > 1.0 - 1e-12)] = 0.0
    share[counts < 2 * (d + 1)] = 0.0
    j, p = (int(i) for i in np.unravel_index(share.argmax(), share.shape))
    if not share[j, p] > _UNNOTED:
        return None
    feature = f" of feature {p}" if share.shape[1] > 1 else ""
    return (
        f"{owner}: {name(j, p)} makes up {share[j, p]:.0%} of the variance{feature} in {place(j)} "
        f"(lower it, or scale X)"
    )


def moments_of(weights: np.ndarray, gaussians: Gaussians, reg_covar: float) -> Moments:
    """The moments about the means from which `maximise` computes these weights and Gaussians.

    Parameters
    ----------
    weights : ndarray of shape (k,), float64
        Weights n_j of the components.
    reg_covar : float
        Regularisation that `maximise` adds, which is subtracted here.

    Notes
    -----
    The parameters of a model are thus sufficient statistics: online EM needs no other state.
    Variances below `reg_covar`, which `maximise` never returns, become `reg_covar`.
    """
    k, d, kind = gaussians.k, gaussians.d, gaussians.covariance_type
    if gaussians.is_diagonal:
        second = np.maximum(gaussians.variances - reg_covar, 0.0) * weights[:, None]
    else:
        inner = gaussians.matrices - reg_covar * np.eye(d)
        mass = weights.sum(keepdims=True) if kind == "tied" else weights
        second = inner * mass[:, None, None]
    return Moments(weights, np.zeros((k, d)), second, 0.0)
