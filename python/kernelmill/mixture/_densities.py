"""Passes over rows given a mixture: moments, labels, log densities, responsibilities.

Functions at module level, so that Dask can send them to its workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kernelmill._arrays import namespace, to_host
from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import has_missing, log_joint
from kernelmill.ops import mixture

# Bytes of a block of an n x k matrix that is used at once and discarded.
BLOCK_BYTES = 8 << 20


def overall(
    X: Any, origin: np.ndarray, full: bool, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, int]:
    """Moments of single features, or of pairs, about a point; missing values are left out.

    Parameters
    ----------
    full : bool
        Whether to return second moments of pairs of features.

    Returns
    -------
    weights, sums : ndarray of shape (d,)
        Those of the observed values of each feature.
    squares : ndarray of shape (d, d) or (d,)
        Missing values count as equal to the origin.
    total : float
        Weight of all rows.
    missing : int
        Number of missing values.
    """
    xp, d = namespace(X), X.shape[1]
    share = xp.ones((X.shape[0], 1))
    if sample_weight is not None:
        share[:, 0] = sample_weight
    missing, weights = 0, None
    center = xp.asarray(origin)
    if has_missing(X):
        seen = X == X
        weights = to_host(seen.T.astype(np.float64) @ share[:, 0])
        missing = int(X.size - seen.sum())
        # float64, so that missing values do not add rounding of the origin to the sums.
        X = xp.where(seen, X, center)
    op = mixture.full_moments if full else mixture.diag_moments
    total, first, second = (to_host(part)[0] for part in op(X, share, center[None]))
    total = float(total)
    return np.full(d, total) if weights is None else weights, first, second, total, missing


def blocks(n: int, k: int, itemsize: int) -> Iterator[slice]:
    """Slices of rows such that k numbers for each row fit in a block."""
    size = max(1, BLOCK_BYTES // (itemsize * k))
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def labels_of(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> Any:
    """The component of the greatest log joint density of each row, the lowest in a tie."""
    return _by_blocks(X, gaussians, offsets, lambda joint: joint.argmax(axis=1), np.int64)


def log_prob_of(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> Any:
    """Log density of each row."""
    return _by_blocks(
        X, gaussians, offsets, lambda joint: mixture.responsibilities(joint)[0], X.dtype
    )


def responsibilities_of(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> Any:
    """Responsibilities (n, k)."""
    return _by_blocks(
        X, gaussians, offsets, lambda joint: mixture.responsibilities(joint)[1], X.dtype
    )


def _by_blocks(X: Any, gaussians: Gaussians, offsets: np.ndarray, of: Callable, dtype: Any) -> Any:
    """``of(log joint densities)``, block by block."""
    xp, out = namespace(X), None
    for rows in blocks(X.shape[0], gaussians.k, X.dtype.itemsize):
        part = of(log_joint(X[rows], gaussians, offsets))
        if rows.start == 0 and rows.stop == X.shape[0]:
            out = part
            break
        if out is None:
            out = xp.empty((X.shape[0], *part.shape[1:]), dtype=dtype)
        out[rows] = part
    if out is None:  # no rows
        out = of(log_joint(X, gaussians, offsets))
    return out


def likelihood_of(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, sample_weight: Any = None
) -> tuple[float, float]:
    """Weighted sum of the log densities, and the weight."""
    log_prob = to_host(log_prob_of(X, gaussians, offsets)).astype(np.float64)
    if sample_weight is None:
        return float(log_prob.sum()), float(len(log_prob))
    weight = to_host(sample_weight).astype(np.float64)
    counted = weight > 0  # not 0 * -inf
    return float(weight[counted] @ log_prob[counted]), float(weight.sum())


def scores_of(
    X: Any, gaussians: Gaussians, offsets: np.ndarray, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Log densities and weights of the rows."""
    log_prob = to_host(log_prob_of(X, gaussians, offsets))
    if sample_weight is None:
        return log_prob, np.ones(len(log_prob))
    return log_prob, to_host(sample_weight).astype(np.float64)


def join(total: tuple, part: tuple) -> tuple:
    """Merge of `scores_of`: concatenation."""
    return tuple(np.concatenate(pair) for pair in zip(total, part, strict=True))
