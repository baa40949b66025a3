"""Log joint densities in float64, whatever rows hold: float32 values, gaps, points that are far.

What classifiers compare. Rows with missing entries have the density of what is observed; of
independent features that is a sum with terms left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import log_joint

_LOG_2PI = float(np.log(2 * np.pi))
_BLOCK = 1 << 16  # elements of float32 rows that are made float64 at a time


def gaussian_joint(X: Any, gaussians: Gaussians, offsets: np.ndarray) -> np.ndarray:
    """``offset_j + log N(x; mean_j, covariance_j)`` of each row and Gaussian.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32, float64 or longdouble
        NaN is a missing entry.
    gaussians : Gaussians
    offsets : ndarray of shape (k,)
        Such as log priors.

    Returns
    -------
    joint : ndarray of shape (n, k), float64, or longdouble for such rows
        -inf where squares leave the range.
    """
    if X.dtype == np.longdouble and np.longdouble is not np.float64:
        return _plainly(X, gaussians, offsets)
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
                joint[places[gaps]] = _plainly(some, gaussians, offsets)
            else:
                joint[places[gaps]] = log_joint(some, gaussians, offsets, True)
    return joint


def _plainly(X: np.ndarray, gaussians: Gaussians, offsets: np.ndarray) -> np.ndarray:
    """The definition, in the type of X, Gaussian by Gaussian."""
    out = np.empty((len(X), gaussians.k), dtype=X.dtype)
    there = ~np.isnan(X)
    if not gaussians.is_diagonal and not there.all():
        for i, row in enumerate(X):
            part = _observed(gaussians, there[i])
            out[i] = _plainly(row[None, there[i]], part, offsets)[0]
        return out
    factors = gaussians.whitening
    for j, mean in enumerate(gaussians.means):
        P = factors[min(j, len(factors) - 1)].astype(X.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if gaussians.is_diagonal:
                white = np.where(there, (X - mean) * P, 0)
                constant = there @ (np.log(P) - 0.5 * _LOG_2PI)
            else:
                white = (X - mean) @ P
                constant = np.log(np.diagonal(P)).sum() - 0.5 * X.shape[1] * _LOG_2PI
            out[:, j] = offsets[j] + constant - 0.5 * (white * white).sum(1)
    return out


def _observed(gaussians: Gaussians, there: np.ndarray) -> Gaussians:
    from kernelmill._gaussian._passes import _marginal

    return _marginal(gaussians, np.flatnonzero(there))
