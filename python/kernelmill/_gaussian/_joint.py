"""Log joint densities in float64, whatever rows hold: float32 values, gaps, points that are far.

What classifiers compare. Rows with missing entries have the density of what is observed; of
independent features that is a sum with terms left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import _marginal, log_joint

_LOG_2PI = float(np.log(2 * np.pi))
_BLOCK = 1 << 16  # elements of float32 rows that are made float64 at a time


def gaussian_joint(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> np.ndarray:
    """``offset_j + log N(x; mean_j, covariance_j)`` of each row and Gaussian.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        NaN is a missing entry.
    gaussians : Gaussians
    offsets : ndarray of shape (k,)
        Such as log priors.

    Returns
    -------
    joint : ndarray of shape (n, k), float64
        -inf where squares leave the range.
    """
    if X.dtype == np.float64:
        joint = log_joint(X, gaussians, offsets, False)
    else:
        joint = np.empty((len(X), gaussians.k))
        step = max(1, _BLOCK // max(1, X.shape[1]))
        for i in range(0, len(X), step):
            block = X[i : i + step].astype(np.float64)
            joint[i : i + step] = log_joint(block, gaussians, offsets, False)
    odd = np.isnan(joint).any(1)
    if odd.any():
        places = np.flatnonzero(odd)
        rows = X[places].astype(np.float64)
        gaps = np.isnan(rows).any(1)
        joint[places[~gaps]] = -np.inf  # inf - inf
        if gaps.any():
            some = rows[gaps]
            if gaussians.is_diagonal:
                joint[places[gaps]] = _with_gaps(some, gaussians, offsets)
            else:
                joint[places[gaps]] = log_joint(some, gaussians, offsets, True)
    return joint


def _with_gaps(X: np.ndarray, gaussians: Gaussians, offsets: np.ndarray) -> np.ndarray:
    """Joint densities of rows with missing entries, of independent features."""
    out = np.empty((len(X), gaussians.k))
    there = ~np.isnan(X)
    for j, (mean, P) in enumerate(zip(gaussians.means, gaussians.whitening, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):
            white = np.where(there, (X - mean) * P, 0.0)
            constant = there @ (np.log(P) - 0.5 * _LOG_2PI)
            out[:, j] = offsets[j] + constant - 0.5 * (white * white).sum(1)
    return out


def gaussian_differences(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> np.ndarray:
    """`gaussian_joint` less that of one of the Gaussians: for rows that are far from all of them.

    With u and v the whitened distances from two means,

        u^2 - v^2 = (u - v) (u + v),    u - v = x (P_u - P_v) - (m_u P_u - m_v P_v),

    keeps the digits that are lost where squares are large beside their difference. It is taken in
    the widest type, as squares may leave the range.
    """
    out = np.empty((len(X), gaussians.k), dtype=np.longdouble)
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, len(X), step):
        block = X[i : i + step].astype(np.longdouble)
        there = ~np.isnan(block)
        if gaussians.is_diagonal or there.all():
            out[i : i + step] = _differences(block, there, gaussians, offsets)
            continue
        for r, row in enumerate(block):
            some = there[r]
            if not some.any():
                out[i + r] = offsets - offsets.max()
                continue
            part = _marginal(gaussians, np.flatnonzero(some))
            out[i + r] = _differences(row[None, some], there[None, r, some], part, offsets)[0]
    return out


def _differences(
    X: np.ndarray, there: np.ndarray, gaussians: Gaussians, offsets: np.ndarray
) -> np.ndarray:
    """Of rows in the type of X."""
    factors = gaussians.whitening.astype(X.dtype)
    one = int(np.argmax(offsets))  # a Gaussian that is possible

    def of(j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        P = factors[min(j, len(factors) - 1)]
        if gaussians.is_diagonal:
            return P, gaussians.means[j] * P, np.log(P)
        return P, gaussians.means[j] @ P, np.log(np.diagonal(P))

    P, moved, logs = of(one)
    product = np.multiply if gaussians.is_diagonal else np.matmul
    X = np.where(there, X, 0)
    out = np.zeros((len(X), gaussians.k), dtype=X.dtype)
    v = product(X, P) - moved
    for j in range(gaussians.k):
        if j != one:
            Q, shifted, own = of(j)
            apart = product(X, Q - P) - (shifted - moved)
            term = apart * (apart + 2 * v)
            if gaussians.is_diagonal:
                constant = there @ (own - logs)
                term = np.where(there, term, 0)
            else:
                constant = (own - logs).sum()
            out[:, j] = offsets[j] - offsets[one] + constant - 0.5 * term.sum(1)
    return out


gaussian_joint.differences = gaussian_differences  # type: ignore[attr-defined]
