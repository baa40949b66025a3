"""The M-step: weights, means and covariances from moments about the means of the pass.

With n_j, s_j, S_j the moments about m_j and delta_j = s_j / n_j,

    new mean        m_j + delta_j
    new covariance  S_j / n_j - delta_j delta_j'        (its diagonal, or the mean of that)
    tied            (sum_j S_j - n_j delta_j delta_j') / sum_j n_j

plus ``reg_covar`` on the diagonal. A component of zero weight keeps its mean and covariance: the
likelihood does not depend on them, so EM stays monotone without NaN.
"""

from __future__ import annotations

import numpy as np

from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments

# Share of the total weight below which a component is empty: such sums are rounding errors.
EMPTY = 10 * np.finfo(np.float64).eps


def maximise(moments: Moments, gaussians: Gaussians, reg_covar: float, owner: str) -> Gaussians:
    """The Gaussians of the greatest expected log-likelihood.

    Parameters
    ----------
    moments : Moments
        Moments about ``gaussians.means``.
    gaussians : Gaussians
        Gaussians of the pass.
    reg_covar : float
        Added to the diagonal of the covariances.
    owner : str
        Name of the caller in errors.

    Raises
    ------
    NotPositiveDefinite
        If a covariance is singular.
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


def moments_of(weights: np.ndarray, gaussians: Gaussians, reg_covar: float) -> Moments:
    """The moments about the means from which `maximise` computes these weights and Gaussians.

    Parameters
    ----------
    weights : ndarray of shape (k,), float64
        Weights n_j of the components.
    gaussians : Gaussians
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
