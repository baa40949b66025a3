"""Least squares from moments, and from a triangular factor where moments lack the digits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg
from scipy.linalg import lapack

from kernelmill._arrays import is_sparse
from kernelmill._estimator._moments import Moments
from kernelmill._estimator._rows import Rows

EPS = float(np.finfo(np.float64).eps)
# Normal equations lose the square of the condition number: up to here ten digits remain.
WELL_CONDITIONED = 1e3
# From here on two digits are lost (Longley: 12 of 14), which few rows have back for the price of a
# pass: for 1000 x 50 it takes a third of the fit.
MILD = 30.0
_SMALL = 50_000
_FEW = 16  # features of a matrix that LAPACK takes as one block
_BLOCK_ROWS = 4096


class Solution(NamedTuple):
    """Coefficients of least squares."""

    coef: np.ndarray  # (m, d)
    rank: int
    singular: np.ndarray  # of the centred and weighted rows, largest first
    condition: float  # of the rows with columns scaled to length one


def _scales(xx: np.ndarray) -> np.ndarray:
    """Lengths of the columns, 1 where a column is zero within rounding of its sums."""
    lengths = np.sqrt(np.maximum(np.diag(xx), 0.0))
    return np.where(lengths > 0, lengths, 1.0)


def constant_columns(moments: Moments) -> np.ndarray:
    """Columns whose spread is rounding: they count as zeros."""
    squares = np.diag(moments.xx)
    size = (np.abs(moments.origin[: moments.d]) + np.abs(moments.x_mean)) * EPS
    return squares <= 4 * moments.count * moments.weight / max(moments.count, 1) * size * size


def _eigen(K: np.ndarray, vectors: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a symmetric matrix, rising, and its vectors if asked for."""
    if len(K) <= _FEW:  # LAPACK itself: what SciPy puts around it takes two thirds of the time
        values, found, _, _, info = lapack.dsyevr(K, compute_v=vectors, lower=1)
        if info == 0:
            return values, found
    if vectors:
        return scipy.linalg.eigh(K, check_finite=False)
    return scipy.linalg.eigvalsh(K, check_finite=False), K


def from_moments(moments: Moments) -> Solution | None:
    """By Cholesky of the normal equations; None where these have lost too many digits."""
    d = moments.d
    if d == 0:
        return Solution(np.zeros((moments.xy.shape[1], 0)), 0, np.zeros(0), 1.0)
    if d >= moments.count or constant_columns(moments).any():
        return None
    scale = _scales(moments.xx)
    K = moments.xx / np.multiply.outer(scale, scale)
    values, vectors = _eigen(K, True)
    if not values[0] * WELL_CONDITIONED**2 > values[-1]:
        return None
    right = vectors.T @ (moments.xy / scale[:, None])
    coef = (vectors @ (right / values[:, None])) / scale[:, None]
    singular = _eigen(moments.xx, False)[0]
    return Solution(
        coef.T, d, np.sqrt(np.maximum(singular[::-1], 0)), float(np.sqrt(values[-1] / values[0]))
    )


def positive(moments: Moments, found: Solution) -> Solution:
    """The best coefficients without any below zero, from those of well conditioned moments.

    The best has positive coefficients and a slope of zero, or none and a slope that calls for less.
    Mostly the first guess, that those below zero are none, is so; else with ``K = R'R`` they are
    the least of ``|R b - inv(R') q|``, by active sets (Lawson and Hanson, 1974).
    """
    coef = found.coef.copy()
    wrong = np.flatnonzero((coef < 0).any(1))
    if len(wrong):
        scale = _scales(moments.xx)
        K = moments.xx / np.multiply.outer(scale, scale)
        for t in wrong:
            q = moments.xy[:, t] / scale
            coef[t] = _without_negative(K, q, coef[t] > 0) / scale
    return found._replace(coef=coef)


def _without_negative(K: np.ndarray, q: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The least of ``b'K b / 2 - b'q`` for ``b >= 0``, where K is well conditioned."""
    b = np.zeros(len(q))
    while free.any():
        some = lapack.dposv(K[free][:, free], q[free])[1]
        if (some > 0).all():
            b[free] = some
            break
        free[free] = some > 0
    if ((q - K @ b)[~free] <= 0).all():
        return b
    R = scipy.linalg.cholesky(K, check_finite=False)
    right = scipy.linalg.solve_triangular(R, q, trans="T", check_finite=False)
    return scipy.optimize.nnls(R, right)[0]


def triangular(rows: Rows, targets: np.ndarray, moments: Moments) -> np.ndarray:
    """The factor R of the centred and weighted rows with their targets, block by block."""
    R = np.zeros((0, len(moments.mean)))
    start = 0
    for chunk in rows.chunks():
        for i in range(0, chunk.count, _BLOCK_ROWS):
            X = chunk.X[i : i + _BLOCK_ROWS]
            X = X.toarray() if is_sparse(X) else X
            Y = targets[start + i : start + i + len(X)]
            z = np.hstack([X.astype(np.float64), Y]) - moments.mean
            if chunk.weight is not None:
                z *= np.sqrt(chunk.weight[i : i + _BLOCK_ROWS].astype(np.float64))[:, None]
            R = scipy.linalg.qr(np.vstack([R, z]), mode="r", check_finite=False)[0]
            R = R[: len(moments.mean)]
        start += chunk.count
    return R


def from_factor(R: np.ndarray, d: int, count: int, still: np.ndarray) -> Solution:
    """The shortest of the best coefficients, from R of (rows, targets).

    Columns are scaled to length one before the rank is decided, so that it does not depend on their
    units; among the solutions the one with the least length in the units of X is taken.
    """
    A, B = R[:, :d].copy(), R[:, d:]
    A[:, still] = 0.0
    scale = np.sqrt((A * A).sum(0))
    scale = np.where(scale > 0, scale, 1.0)
    U, s, Vt = scipy.linalg.svd(A / scale, full_matrices=True, check_finite=False)
    s = np.concatenate([s, np.zeros(d - len(s))])
    rank = int((s > s[0] * EPS * max(count, d) ** 0.5 * 8).sum()) if d and s[0] > 0 else 0
    coef = Vt[:rank].T @ ((U[:, :rank].T @ B) / s[:rank, None]) / scale[:, None]
    null = Vt[rank:].T / scale[:, None]
    if rank < d:
        still_null = null / np.sqrt((null * null).sum(0))
        Q, _ = np.linalg.qr(still_null)
        coef -= Q @ (Q.T @ coef)
    singular = scipy.linalg.svdvals(A, check_finite=False) if d else np.zeros(0)
    condition = float(s[0] / s[-1]) if d and s[-1] > 0 else np.inf if d else 1.0
    if rank < d:
        condition = np.inf
    return Solution(coef.T, rank, singular[: min(d, count)], condition)


def is_small(rows: Rows) -> bool:
    """Whether another pass over rows in memory takes next to nothing."""
    return not rows.is_stream and rows.count * rows.n_features <= _SMALL


def refined(
    rows: Rows, targets: np.ndarray, moments: Moments, R: np.ndarray, coef: np.ndarray
) -> np.ndarray:
    """Coefficients (m, d) after a step for the residuals that they leave (Bjorck, 1967)."""
    d = moments.d
    slope = np.zeros((d, targets.shape[1]))
    start = 0
    for chunk in rows.chunks():
        for i in range(0, chunk.count, _BLOCK_ROWS):
            X = chunk.X[i : i + _BLOCK_ROWS]
            X = (X.toarray() if is_sparse(X) else X).astype(np.float64) - moments.x_mean
            rest = targets[start + i : start + i + len(X)] - moments.y_mean - X @ coef.T
            if chunk.weight is not None:
                rest *= chunk.weight[i : i + _BLOCK_ROWS].astype(np.float64)[:, None]
            slope += X.T @ rest
        start += chunk.count
    half = scipy.linalg.solve_triangular(R[:d, :d], slope, trans="T", check_finite=False)
    return coef + scipy.linalg.solve_triangular(R[:d, :d], half, check_finite=False).T


def wide(rows: Rows, targets: np.ndarray, centred: bool) -> tuple[Solution, Any, Any]:
    """Fewer rows than features: by the rows in memory, and the means of features and targets."""
    rows.check()
    held = rows.gather(np.arange(rows.count)) if rows.is_stream else rows
    X = held.X.toarray() if is_sparse(held.X) else held.X
    X = X.astype(np.float64)
    w = None if held.weight is None else held.weight.astype(np.float64)
    if centred:
        x_mean, y_mean = np.average(X, 0, w), np.average(targets, 0, w)
    else:
        x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(targets.shape[1])
    A, B = X - x_mean, targets - y_mean
    if w is not None:
        A, B = A * np.sqrt(w)[:, None], B * np.sqrt(w)[:, None]
    U, s, Vt = scipy.linalg.svd(A, full_matrices=False, check_finite=False)
    rank = int((s > s[0] * EPS * max(A.shape)).sum()) if s.size and s[0] > 0 else 0
    coef = Vt[:rank].T @ ((U[:, :rank].T @ B) / s[:rank, None])
    return Solution(coef.T, rank, s, np.inf), x_mean, y_mean
