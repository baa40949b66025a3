"""The most probable Gaussians after some weighted moments, under priors and above a floor.

With n_j, s_j, S_j the moments about the means m_j of the pass (see `Moments`), a prior pull of
weight lambda_j towards m0_j, and a prior scatter Psi worth e observations,

    m_j'     = m_j + delta_j,     delta_j = (s_j + lambda_j (m0_j - m_j)) / (n_j + lambda_j),
    C_j      = S_j - s_j delta_j' - delta_j s_j' + n_j delta_j delta_j'
               + lambda_j (m_j' - m0_j) (m_j' - m0_j)' + Psi_j,
    Sigma_j' = C_j / (n_j + e_j),

which is where the expected log-likelihood plus the log prior

    -1/2 sum_j [ e_j log |Sigma_j| + tr(Sigma_j^-1 (Psi_j + lambda_j (m_j - m0_j)(m_j - m0_j)')) ]

is largest; components that share a covariance add up their C, n and e. A diagonal covariance takes
the diagonal, a spherical one the mean of that. A component without mass keeps what it had.

The floor is exact, too: among the covariances with ``Sigma - diag(f)`` positive semidefinite the
best one has the eigenvectors of the free one in units of f, and its eigenvalues, raised to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelmill._gaussian._parameters import Gaussians, NotPositiveDefinite
from kernelmill._gaussian._passes import Moments
from kernelmill._gaussian._update import EMPTY, is_constant, regulariser_note, variances_of


@dataclass(frozen=True)
class NormalPrior:
    """A prior of k Gaussians in G groups that share a covariance (G = k where none do).

    Attributes
    ----------
    mean : ndarray of shape (k, d)
        m0.
    weight : ndarray of shape (k,)
        lambda.
    scatter : ndarray of shape (G, d, d), or (k, d) for diagonal and spherical covariances
        Psi.
    count : ndarray of shape (G,), or (k,), (k, 1) or (k, d)
        e; one for each feature only where covariances are diagonal.
    """

    mean: np.ndarray
    weight: np.ndarray
    scatter: np.ndarray
    count: np.ndarray


def gaussians_of(means, covariances, covariance_type: str, owner: str) -> Gaussians:
    """`Gaussians.of` with the hint that helps here."""
    try:
        return Gaussians.of(means, covariances, covariance_type, owner)
    except NotPositiveDefinite as error:
        raise NotPositiveDefinite(str(error).replace("reg_covar", "min_covar")) from error


def moved_means(moments: Moments, gaussians: Gaussians, prior: NormalPrior) -> np.ndarray:
    """delta, how far each mean goes."""
    mass = moments.weights + prior.weight
    filled = mass > EMPTY * moments.weights.sum()
    pulled = moments.sums + prior.weight[:, None] * (prior.mean - gaussians.means)
    return np.where(filled[:, None], pulled / np.where(filled, mass, 1.0)[:, None], 0.0)


def scatter_about(
    moments: Moments, gaussians: Gaussians, delta: np.ndarray, prior: NormalPrior
) -> np.ndarray:
    """C without Psi: (k, d) for diagonal covariances, else (k, d, d), or (1, d, d) when tied."""
    n, s = moments.weights, moments.sums
    offset = gaussians.means + delta - prior.mean
    if gaussians.is_diagonal:
        moved = moments.squares - 2.0 * s * delta + n[:, None] * delta**2
        return np.maximum(moved, 0.0) + prior.weight[:, None] * offset**2
    cross = s[:, :, None] * delta[:, None, :]
    moved = n[:, None, None] * delta[:, :, None] * delta[:, None, :]
    moved = moved - cross - cross.transpose(0, 2, 1)
    moved += prior.weight[:, None, None] * offset[:, :, None] * offset[:, None, :]
    if len(moments.squares) == 1 and gaussians.k > 1:
        moved = moved.sum(axis=0, keepdims=True)
    return moments.squares + moved


def best(
    moments: Moments, gaussians: Gaussians, prior: NormalPrior, floor: np.ndarray, *, means: bool,
    covariances: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of the greatest expected log-likelihood plus log prior.

    Parameters
    ----------
    moments : Moments
        About the means of `gaussians`.
    gaussians : Gaussians
        Those of the pass; of type "full" where groups share covariances, each one repeated.
    floor : ndarray of shape (d,)
        f; 0 for no floor.
    means, covariances : bool
        What to change.
    """
    k, d, kind = gaussians.k, gaussians.d, gaussians.covariance_type
    delta = moved_means(moments, gaussians, prior) if means else np.zeros((k, d))
    new_means = gaussians.means + delta
    if not covariances:
        return new_means, gaussians.covariances
    scatter = scatter_about(moments, gaussians, delta, prior)
    least = EMPTY * moments.weights.sum()
    if gaussians.is_diagonal:
        mass = moments.weights[:, None] + prior.count.reshape(k, -1)
        filled = (mass > least).all(axis=1)
        covars = (scatter + prior.scatter) / np.where(filled[:, None], mass, 1.0)
        if kind == "spherical":
            covars = np.maximum(covars.mean(axis=1), floor.mean())
        else:
            covars = np.maximum(covars, floor)
        covars[~filled] = gaussians.covariances[~filled]
        return new_means, covars
    groups = len(prior.scatter)
    if kind == "tied":
        mass = moments.weights.sum(keepdims=True) + prior.count
    else:
        mass = moments.weights.reshape(groups, -1).sum(axis=1) + prior.count
        scatter = scatter.reshape(groups, -1, d, d).sum(axis=1)
    filled = mass > least
    covars = (scatter + prior.scatter) / np.where(filled, mass, 1.0)[:, None, None]
    covars = raised((covars + covars.transpose(0, 2, 1)) / 2, floor)
    if kind == "tied":
        return new_means, covars[0] if filled[0] else gaussians.covariances
    covars = np.repeat(covars, k // groups, axis=0)
    filled = np.repeat(filled, k // groups)
    covars[~filled] = gaussians.covariances[~filled]
    return new_means, covars


def raised(covariances: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Matrices (G, d, d) raised to at least diag(floor); the same bits where they are above it."""
    if not (floor > 0).all():
        return covariances
    unit = np.sqrt(floor)
    scaled = covariances / np.outer(unit, unit)
    low = np.linalg.eigvalsh(scaled)[:, 0] < 1.0
    if not low.any():
        return covariances
    values, vectors = np.linalg.eigh(scaled[low])
    lifted = (vectors * np.maximum(values, 1.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    result = covariances.copy()
    result[low] = (lifted + lifted.transpose(0, 2, 1)) / 2 * np.outer(unit, unit)
    return result


def above_floor(gaussians: Gaussians, floor: np.ndarray) -> np.ndarray:
    """The covariances, raised to the floor."""
    kind, covars = gaussians.covariance_type, gaussians.covariances
    if kind == "spherical":
        return np.maximum(covars, floor.mean())
    if kind == "diag":
        return np.maximum(covars, floor)
    return raised(gaussians.matrices, floor).reshape(covars.shape)


def log_prior(gaussians: Gaussians, prior: NormalPrior) -> float:
    """The log prior density, up to a constant."""
    offset = gaussians.means - prior.mean
    if gaussians.is_diagonal:
        variances = gaussians.variances
        spread = (prior.scatter + prior.weight[:, None] * offset**2) / variances
        count = prior.count.reshape(gaussians.k, -1)
        return float(-0.5 * (count * np.log(variances) + spread).sum())
    P = gaussians.whitening  # (k or 1, d, d)
    white = (offset[:, None, :] @ P)[:, 0]
    total = (prior.weight * (white**2).sum(axis=1)).sum()
    groups = len(prior.scatter)
    P = P[:: len(P) // groups]
    log_det = -2.0 * np.log(np.diagonal(P, axis1=1, axis2=2)).sum(axis=1)
    trace = np.einsum("gpq,gpr,grq->g", P, prior.scatter, P)
    return float(-0.5 * (total + (prior.count * log_det + trace).sum()))


def note_of(
    owner: str, update: tuple[Moments, Gaussians, NormalPrior, np.ndarray], new: Gaussians,
    names: tuple[str, str], place: Callable[[int], str], *, means: bool, dtype: Any
) -> str | None:
    """What to warn of where a prior or the floor makes up much of a variance of `new`.

    Parameters
    ----------
    update : tuple
        Moments, Gaussians, prior and floor from which `best` made `new`.
    names : tuple of str
        The parameters of the prior scatter and of the floor.
    place : callable
        ``place(group)`` in words.
    means : bool
        Whether the means were changed.
    """
    moments, gaussians, prior, floor = update
    k, d, groups = gaussians.k, gaussians.d, len(prior.scatter)
    variances = variances_of(new)[:: max(1, k // groups)]
    # Groups of fewer rows are passed over below.
    if variances.min() > 4 * (floor.max() + prior.scatter.max() / (2 * (d + 1))):
        return None
    delta = moved_means(moments, gaussians, prior) if means else np.zeros((k, d))
    of_data, of_prior = scatter_about(moments, gaussians, delta, prior), prior.scatter
    n = moments.weights
    if not gaussians.is_diagonal:
        of_data, of_prior = (np.diagonal(x, axis1=1, axis2=2) for x in (of_data, of_prior))
        of_data = of_data.reshape(groups, -1, d).sum(axis=1)
        n = n.reshape(groups, -1).sum(axis=1)
    if variances.shape[1] < d:
        of_data, of_prior = (x.mean(axis=1, keepdims=True) for x in (of_data, of_prior))
    n = np.maximum(n, np.finfo(np.float64).tiny)[:, None]
    mass = n + prior.count.reshape(groups, -1)
    by_prior = of_prior / mass > variances - (of_data + of_prior) / mass
    return regulariser_note(
        owner,
        of_data / n,
        variances,
        new.means[:: k // groups],
        n[:, 0],
        lambda j, p: names[0 if by_prior[j, p] else 1],
        place,
        dtype,
    )


def floor_of(rows: np.ndarray, min_covar: float) -> np.ndarray:
    """The floor of each feature of rows with gaps, by which small units (daily returns) survive."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(rows)
        count = np.maximum(known.sum(axis=0), 1)
        values = np.where(known, rows, 0.0).astype(np.float64)
        mean = np.zeros(values.shape[1])
        for _ in range(2):  # the rounding of one sum may exceed what `is_constant` takes for it
            mean += np.where(known, values - mean, 0.0).sum(axis=0) / count
        variance = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count
    return bounded_floor(min_covar, variance, mean)


def bounded_floor(min_covar: float, variance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """`min_covar` for each feature, but at most a thousandth of its variance where it varies."""
    return np.minimum(min_covar, np.where(is_constant(variance, mean), np.inf, 1e-3 * variance))

