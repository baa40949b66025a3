"""Gaussian mixtures: log joint densities, responsibilities, and the E-step in one pass.

Symbols: X is (n, d) data, component j of k has mean m_j, and P_j with ``P_j P_j' = inverse
covariance`` (upper triangular, scikit-learn's ``precisions_cholesky_``). With the offset ``c_j``,
which is the log weight of a mixture or what a variational bound puts in its place,

    log joint_ij = c_j + log|P_j| - d/2 log(2 pi) - 1/2 ||(x_i - m_j) P_j||^2.

Parameters are float64 even for float32 data. Statistics are moments about the means that the pass
was given: about the origin they would lose all digits where means are large beside the spread.
One P for all components is the tied covariance; a diagonal one with equal entries the spherical.

A row with NaN gets NaN, and so do sums over rows unless the op says otherwise. Empty X gives empty
results and sums of zero. All ops are deterministic: what is summed over rows is summed over chunks
whose bounds depend on the shapes alone, combined in order, so results have the same bits at any
thread count. Shapes and dtypes that do not fit raise ValueError. Cost is counted in flops.

References: Bishop (2006), "Pattern Recognition and Machine Learning", 9.2; Dempster, Laird, Rubin
(1977), "Maximum likelihood from incomplete data via the EM algorithm", for the steps.
"""

from __future__ import annotations

import numpy as np

from ._op import op

_LOG_2PI = float(np.log(2 * np.pi))




@op(
    "X: T[n,d], means: f64[k>=1,d], precisions_cholesky: f64[p=k|1,d,d], offsets: f64[k]"
    " -> log_joint: T[n,k]"
)
def full_log_joint(
    X: np.ndarray, means: np.ndarray, precisions_cholesky: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Log joint density of each row and each Gaussian with full or tied covariance.

    ``out[i, j] = c_j + log|P_j| - d/2 log(2 pi) - 1/2 ||(X[i] - m_j) P_j||^2``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    means : ndarray of shape (k, d), float64
        Means m, k >= 1.
    precisions_cholesky : ndarray of shape (k, d, d) or (1, d, d), float64
        P, upper triangular with a positive diagonal; what is below the diagonal is not read. A
        single one is shared by all components.
    offsets : ndarray of shape (k,), float64
        c, such as log weights; -inf where a component has none.

    Returns
    -------
    log_joint : ndarray of shape (n, k), dtype of X
        In nats.

    Notes
    -----
    Implementations multiply rows by P_j at the dtype of X after moving the origin to a median o of
    the means and subtract ``(m_j - o) P_j`` then, so the error of each whitened coordinate is a few
    eps times ``sum_p |X[i, p] - o_p| |P_j[p, q]|``. Cost n k d^2 flops, with a single P n d^2 + 3 n
    k d.
    """
    P = np.triu(precisions_cholesky)
    difference = X.astype(np.float64)[:, None, :] - means
    with np.errstate(invalid="ignore", over="ignore"):
        each = np.broadcast_to(P, (len(means), *P.shape[1:]))
        white = np.einsum("njp,jpq->njq", difference, each)
        log_det = np.log(np.diagonal(P, axis1=1, axis2=2)).sum(axis=1)
        constant = offsets + log_det - 0.5 * X.shape[1] * _LOG_2PI
        return (constant - 0.5 * (white**2).sum(axis=2)).astype(X.dtype)


@op(
    "X: T[n,d], means: f64[k>=1,d], precisions_cholesky: f64[k,d], offsets: f64[k]"
    " -> log_joint: T[n,k]"
)
def diag_log_joint(
    X: np.ndarray, means: np.ndarray, precisions_cholesky: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Log joint density of each row and each Gaussian with diagonal covariance.

    ``out[i, j] = c_j + sum_p log P_jp - d/2 log(2 pi) - 1/2 sum_p (X[i, p] - m_jp)^2 P_jp^2``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    means : ndarray of shape (k, d), float64
        Means m, k >= 1.
    precisions_cholesky : ndarray of shape (k, d), float64
        P, one over the standard deviations.
    offsets : ndarray of shape (k,), float64
        c, such as log weights; -inf where a component has none.

    Returns
    -------
    log_joint : ndarray of shape (n, k), dtype of X
        In nats.

    Notes
    -----
    Implementations sum squares of ``x P - m P`` at the dtype of X after moving the origin to a
    median of the means. Cost 4 n k d flops.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        white = (X.astype(np.float64)[:, None, :] - means) * precisions_cholesky
        constant = (
            offsets + np.log(precisions_cholesky).sum(axis=1) - 0.5 * X.shape[1] * _LOG_2PI
        )
        return (constant - 0.5 * (white**2).sum(axis=2)).astype(X.dtype)


@op("log_joint: T[n,k>=1] -> log_prob: T[n], responsibilities: T[n,k]")
def responsibilities(log_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log density of each row and the share of each component in it, from log joint densities.

    ``log_prob[i] = log sum_j exp(log_joint[i, j])``,
    ``responsibilities[i, j] = exp(log_joint[i, j] - log_prob[i])``.

    Parameters
    ----------
    log_joint : ndarray of shape (n, k), float32 or float64
        Log joint densities, k >= 1.

    Returns
    -------
    log_prob : ndarray of shape (n,), dtype of log_joint
        In nats.
    responsibilities : ndarray of shape (n, k), dtype of log_joint
        Rows sum to one.

    Notes
    -----
    The largest entry is taken out of each row first, so nothing overflows. A row that is -inf
    throughout has log_prob -inf and responsibilities 0. Cost about 20 flops an entry (one exp).
    """
    joint = log_joint.astype(np.float64)
    largest = joint.max(axis=1, keepdims=True)
    none = largest == -np.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.exp(joint - np.where(none, 0.0, largest))
        total = share.sum(axis=1, keepdims=True)
        log_prob = (largest + np.log(total))[:, 0]
        share = np.where(none, 0.0, share / total)
    return log_prob.astype(log_joint.dtype), share.astype(log_joint.dtype)


@op(
    "X: T[n,d], responsibilities: f64[n,k>=1], means: f64[k,d], pooled: bool -> weights: f64[k],"
    " sums: f64[k,d], squares: f64[pooled?1:k,d,d]"
)
def full_moments(
    X: np.ndarray, responsibilities: np.ndarray, means: np.ndarray, pooled: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted moments of the rows about each mean; they add up over chunks of rows.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    responsibilities : ndarray of shape (n, k), float64
        Weight r of each row in each component.
    means : ndarray of shape (k, d), float64
        Points m to take moments about.
    pooled : bool, default=False
        Whether second moments are summed over the components.

    Returns
    -------
    weights : ndarray of shape (k,), float64
        ``sum_i r[i, j]``.
    sums : ndarray of shape (k, d), float64
        ``sum_i r[i, j] (X[i] - m_j)``.
    squares : ndarray of shape (k, d, d), or (1, d, d) if pooled, float64
        ``sum_i r[i, j] (X[i] - m_j) (X[i] - m_j)'``, symmetric to the bit.

    Notes
    -----
    Implementations accumulate in float64 about one origin near the means and move the moments to
    each mean at the end of a chunk, so the error is a few float64 eps times the second moment about
    that origin. NaN and inf reach the moments of their feature. Cost n k d^2 flops, pooled n d^2 +
    2 n k d.
    """
    difference = X.astype(np.float64)[:, None, :] - means
    weighted = responsibilities[:, :, None] * difference
    squares = np.einsum("njp,njq->jpq", weighted, difference)
    squares = (squares + squares.transpose(0, 2, 1)) / 2
    if pooled:
        squares = squares.sum(axis=0, keepdims=True)
    return responsibilities.sum(axis=0), weighted.sum(axis=0), squares


@op(
    "X: T[n,d], responsibilities: f64[n,k>=1], means: f64[k,d] -> weights: f64[k],"
    " sums: f64[k,d], squares: f64[k,d]"
)
def diag_moments(
    X: np.ndarray, responsibilities: np.ndarray, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted moments about each mean, second ones of single features; they add up over chunks.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    responsibilities : ndarray of shape (n, k), float64
        Weight r of each row in each component.
    means : ndarray of shape (k, d), float64
        Points m to take moments about.

    Returns
    -------
    weights : ndarray of shape (k,), float64
        ``sum_i r[i, j]``.
    sums : ndarray of shape (k, d), float64
        ``sum_i r[i, j] (X[i] - m_j)``.
    squares : ndarray of shape (k, d), float64
        ``sum_i r[i, j] (X[i] - m_j)^2``, feature by feature.

    Notes
    -----
    Accumulated as in `full_moments`. NaN and inf reach the moments of their feature. Cost 4 n k d
    flops.
    """
    difference = X.astype(np.float64)[:, None, :] - means
    weighted = responsibilities[:, :, None] * difference
    return responsibilities.sum(axis=0), weighted.sum(axis=0), (weighted * difference).sum(axis=0)


@op(
    "X: T[n,d], means: f64[k>=1,d], precisions_cholesky: f64[p=k|1,d,d], offsets: f64[k],"
    " sample_weight: T[n]? -> weights: f64[k], sums: f64[k,d], squares: f64[p,d,d],"
    " log_likelihood: float"
)
def full_step(
    X: np.ndarray, means: np.ndarray, precisions_cholesky: np.ndarray, offsets: np.ndarray,
    sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The E-step of a mixture with full or tied covariance: statistics, without responsibilities.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    means : ndarray of shape (k, d), float64
        Means.
    precisions_cholesky : ndarray of shape (k, d, d) or (1, d, d), float64
        As in `full_log_joint`.
    offsets : ndarray of shape (k,), float64
        As in `full_log_joint`.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.

    Returns
    -------
    weights : ndarray of shape (k,), float64
        ``sum_i w[i] r[i, j]`` with r the responsibilities.
    sums : ndarray of shape (k, d), float64
        ``sum_i w[i] r[i, j] (X[i] - m_j)``.
    squares : ndarray of shape (k, d, d) or (1, d, d), float64
        ``sum_i w[i] r[i, j] (X[i] - m_j) (X[i] - m_j)'``; summed over j where one P is shared.
    log_likelihood : float
        ``sum_i w[i] log_prob[i]``, in nats.

    Notes
    -----
    `full_log_joint`, `responsibilities` and `full_moments` in one pass over X, block by block: no n
    x k matrix. Rows with zero weight are ignored, whatever they hold; inf reaches the
    log-likelihood and the moments of its feature. The statistics add up over chunks of rows. Cost 2
    n k d^2 flops, with a single P 2 n d^2 + 6 n k d.
    """
    pooled = len(precisions_cholesky) == 1 and len(means) > 1
    joint = full_log_joint.specification(X, means, precisions_cholesky, offsets)
    weight, X, log_prob, share = _weighted(X, joint, sample_weight)
    moments = full_moments.specification(X, share, means, pooled)
    return *moments, float((weight * log_prob).sum())


@op(
    "X: T[n,d], means: f64[k>=1,d], precisions_cholesky: f64[k,d], offsets: f64[k],"
    " sample_weight: T[n]? -> weights: f64[k], sums: f64[k,d], squares: f64[k,d],"
    " log_likelihood: float"
)
def diag_step(
    X: np.ndarray, means: np.ndarray, precisions_cholesky: np.ndarray, offsets: np.ndarray,
    sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The E-step of a mixture with diagonal covariance: statistics, without responsibilities.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    means : ndarray of shape (k, d), float64
        Means.
    precisions_cholesky : ndarray of shape (k, d), float64
        As in `diag_log_joint`.
    offsets : ndarray of shape (k,), float64
        As in `diag_log_joint`.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.

    Returns
    -------
    weights : ndarray of shape (k,), float64
        ``sum_i w[i] r[i, j]`` with r the responsibilities.
    sums : ndarray of shape (k, d), float64
        ``sum_i w[i] r[i, j] (X[i] - m_j)``.
    squares : ndarray of shape (k, d), float64
        ``sum_i w[i] r[i, j] (X[i] - m_j)^2``, feature by feature.
    log_likelihood : float
        ``sum_i w[i] log_prob[i]``, in nats.

    Notes
    -----
    `diag_log_joint`, `responsibilities` and `diag_moments` in one pass over X, block by block: no n
    x k matrix. Rows with zero weight are ignored, whatever they hold; inf reaches the
    log-likelihood and the moments of its feature. The statistics add up over chunks of rows. Cost 8
    n k d flops.
    """
    joint = diag_log_joint.specification(X, means, precisions_cholesky, offsets)
    weight, X, log_prob, share = _weighted(X, joint, sample_weight)
    moments = diag_moments.specification(X, share, means)
    return *moments, float((weight * log_prob).sum())


def _weighted(X: np.ndarray, joint: np.ndarray, sample_weight: np.ndarray | None) -> tuple:
    """Rows with weight: their weights, themselves, log densities and weighted responsibilities."""
    weight = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    kept = weight != 0
    log_prob, share = responsibilities.specification(joint[kept].astype(np.float64))
    return weight[kept], X[kept], log_prob, weight[kept, None] * share
