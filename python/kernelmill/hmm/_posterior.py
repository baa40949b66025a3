"""Expectations and divergences of the variational posteriors: Dirichlet and Gaussian-Wishart.

A Dirichlet has parameters along the last axis; entries that are 0 in the prior are outcomes that
cannot be. A precision matrix Lambda has a Wishart distribution with nu degrees of freedom and
inverse scale matrix Psi, so ``E[Lambda] = nu Psi^-1``; a mean has, given Lambda, the normal
distribution N(m, (beta Lambda)^-1). Diagonal and spherical Psi are restrictions of the posterior,
not of Lambda: the best posterior among those has the diagonal of the free Psi, or the mean of that.
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln, multigammaln


def expected_log(concentration: np.ndarray) -> np.ndarray:
    """``E[log p]`` of a Dirichlet; -inf where the concentration is 0."""
    possible = concentration > 0
    total = concentration.sum(axis=-1, keepdims=True)
    logs = digamma(np.where(possible, concentration, 1.0)) - digamma(total)
    return np.where(possible, logs, -np.inf)


def mean_of(concentration: np.ndarray) -> np.ndarray:
    """``E[p]`` of a Dirichlet."""
    return concentration / concentration.sum(axis=-1, keepdims=True)


def dirichlet_divergence(posterior: np.ndarray, prior: np.ndarray) -> float:
    """``KL(posterior || prior)`` of Dirichlets, summed over all but the last axis."""
    possible = prior > 0
    q, p = np.where(possible, posterior, 1.0), np.where(possible, prior, 1.0)
    terms = (q - p) * (digamma(q) - digamma(posterior.sum(axis=-1, keepdims=True)))
    terms = np.where(possible, terms - gammaln(q) + gammaln(p), 0.0)
    sums = gammaln(posterior.sum(axis=-1)) - gammaln(prior.sum(axis=-1))
    return float(terms.sum() + sums.sum())


def log_determinant(matrices: np.ndarray, d: int, covariance_type: str) -> np.ndarray:
    """``log |Psi|`` of each group: (K,), or (1,) when tied."""
    if covariance_type == "spherical":
        return d * np.log(matrices)
    if covariance_type == "diag":
        return np.log(matrices).sum(axis=1)
    return np.linalg.slogdet(matrices.reshape(-1, d, d))[1]


def log_precision_sum(dof: np.ndarray, d: int) -> np.ndarray:
    """``E[log |Lambda|] + log |Psi|``."""
    return digamma((dof[:, None] - np.arange(d)) / 2.0).sum(axis=1) + d * np.log(2.0)


def wishart_divergence(
    dof: np.ndarray, scale: np.ndarray, dof_prior: np.ndarray, scale_prior: np.ndarray, d: int,
    covariance_type: str
) -> float:
    """``KL(W(dof, scale) || W(dof_prior, scale_prior))``, summed over groups."""
    log_det = log_determinant(scale, d, covariance_type)
    log_det_prior = log_determinant(scale_prior, d, covariance_type)
    if covariance_type == "spherical":
        trace = d * scale_prior / scale
    elif covariance_type == "diag":
        trace = (scale_prior / scale).sum(axis=1)
    else:
        shape = (-1, d, d)
        solved = np.linalg.solve(scale.reshape(shape), scale_prior.reshape(shape))
        trace = np.trace(solved, axis1=1, axis2=2)

    def log_normaliser(nu: np.ndarray, log_psi: np.ndarray) -> np.ndarray:
        return nu * d / 2 * np.log(2.0) - nu / 2 * log_psi + multigammaln(nu / 2, d)

    expected = log_precision_sum(dof, d) - log_det
    divergence = 0.5 * ((dof - dof_prior) * expected - dof * d + dof * trace)
    divergence += log_normaliser(dof_prior, log_det_prior) - log_normaliser(dof, log_det)
    return float(divergence.sum())


def mean_divergence(
    offset: np.ndarray, beta: np.ndarray, beta_prior: np.ndarray, whitening: np.ndarray
) -> float:
    """``E KL(N(m, (beta Lambda)^-1) || N(m0, (beta0 Lambda)^-1))``, summed over states.

    `offset` is m - m0, (K, d); `whitening` is P with ``P P' = E[Lambda]``, as the ops take it.
    """
    diagonal = whitening.ndim == 2
    white = offset * whitening if diagonal else (offset[:, None, :] @ whitening)[:, 0]
    d = offset.shape[1]
    ratio = beta_prior / beta
    return float(0.5 * (d * (ratio - 1.0 - np.log(ratio)) + beta_prior * (white**2).sum(1)).sum())
