"""Weighted second moments of rows and targets, in one pass wherever the rows are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count
from kernelmill.ops import moments

_PILOT = 64  # rows whose mean is the origin of the sums
# Stored entries of a column this much farther from zero than they spread lose digits in sums about
# zero: three of sixteen at 1e3 / 2.
_FAR = 300.0
_BLOCK = 1 << 18  # entries of float32 rows that are made float64 at a time
# Sums of squares outside may have overflowed, or lost digits to underflow.
_LEAST, _MOST = 1e-280, 1e300


@dataclass(frozen=True)
class Moments:
    """Sums of rows (x, y) about their means, or about zero.

    Attributes
    ----------
    count : int
        Number of rows n.
    weight : float
        Sum of their weights.
    mean : ndarray of shape (d + m,), float64
        Weighted means of features and targets; zeros where the sums are about zero.
    scatter : ndarray of shape (d + m, d + m), float64
        ``sum w (z - mean) (z - mean)'``.
    d : int
        Number of features.
    total : ndarray
        The sums about `origin` as the op gives them, which add up and can be taken off again.
    origin : ndarray of shape (d + m,)
    """

    count: int
    weight: float
    mean: np.ndarray
    scatter: np.ndarray
    d: int
    total: np.ndarray
    origin: np.ndarray

    @cached_property
    def xx(self) -> np.ndarray:
        """Products of the features (d, d)."""
        return self.scatter[: self.d, : self.d]

    @cached_property
    def xy(self) -> np.ndarray:
        """Products of features and targets (d, m)."""
        return self.scatter[: self.d, self.d :]

    @cached_property
    def yy(self) -> np.ndarray:
        """Products of the targets (m, m)."""
        return self.scatter[self.d :, self.d :]

    @property
    def x_mean(self) -> np.ndarray:
        """Means of the features."""
        return self.mean[: self.d]

    @property
    def y_mean(self) -> np.ndarray:
        """Means of the targets."""
        return self.mean[self.d :]

    def without(self, other: Moments) -> Moments:
        """The moments of the rows that are not in `other`, a part with the same origin."""
        return _about_means(
            self.total - other.total, self.origin, self.count - other.count, self.d
        )


def _about_means(total: np.ndarray, origin: np.ndarray, count: int, d: int) -> Moments:
    weight, sums = float(total[-1, -1]), total[-1, :-1]
    shift = sums / weight
    scatter = total[:-1, :-1] - np.multiply.outer(sums, shift)
    return Moments(count, weight, origin + shift, scatter, d, total, origin)


def pilot(X: Any, weight: Any = None) -> np.ndarray:
    """An origin near the means: that of a few rows, float64; of sparse rows mostly zeros."""
    if weight is None:
        step = max(1, X.shape[0] // _PILOT)
        some = X[: step * _PILOT : step]
    else:
        counted = np.flatnonzero(weight)
        some = X[counted[:: max(1, len(counted) // _PILOT)][:_PILOT]]
        if not len(counted):
            return np.zeros(X.shape[1])
    if not is_sparse(X):
        return some.mean(0, dtype=np.float64)
    stored = np.bincount(some.indices, minlength=X.shape[1]) >= some.shape[0]
    if not stored.any():
        return np.zeros(X.shape[1])
    some = some.toarray().astype(np.float64)
    mean, spread = some.mean(0), some.std(0)
    return np.where(stored & (np.abs(mean) > _FAR * spread) & (mean != 0), mean, 0.0)


def moments_of(
    rows: Rows, targets: np.ndarray | None = None, *, centred: bool = True,
    origin: np.ndarray | None = None,
) -> Moments:  # fmt: skip
    """Moments of all rows, in one pass.

    Parameters
    ----------
    rows : Rows
    targets : ndarray of shape (n, m), float64, optional
        In memory, with an entry for each row, also of a stream.
    centred : bool, default=True
        Whether about the means rather than about zero.
    origin : ndarray of shape (d + m,), optional
        Of the sums; by default the mean of a few rows.

    Raises
    ------
    ValueError
        If there is not one target for each row.
    """
    total: Any = None
    count, d = 0, rows.n_features
    for chunk in rows.chunks():
        if targets is None:
            Y = np.empty((chunk.count, 0))
        else:
            Y = targets[count : count + chunk.count]
            if len(Y) < chunk.count or (not rows.is_stream and len(Y) < len(targets)):
                check_count(targets, count + chunk.count, rows.owner)
        if not chunk.count:
            continue
        if origin is None:
            origin = np.zeros(d + Y.shape[1])
            if centred:
                origin[:d] = pilot(chunk.X, chunk.weight)
                if targets is not None and len(targets):
                    origin[d:] = targets.mean(0)
        with np.errstate(invalid="ignore", over="ignore"):
            part = chunk.map_reduce(moments.products, Y, origin)
        size = np.abs(np.diag(part)[:d])
        if not (size.max(initial=1.0) < _MOST and size.min(initial=1.0) > _LEAST):
            chunk.check()
        total = part if total is None else total + part
        count += chunk.count
    if targets is not None:
        check_count(targets, count, rows.owner)
    assert origin is not None  # there is a row
    if not centred:
        return Moments(
            count, float(total[-1, -1]), np.zeros(len(total) - 1), total[:-1, :-1], d, total, origin
        )
    return _about_means(total, origin, count, d)


def sums(X: Any, values: np.ndarray, sample_weight: Any = None) -> np.ndarray:
    """``X' values`` and the sum of the values, of shape (d + 1,), in float64."""
    if is_sparse(X):
        total = np.asarray(X.T @ values, dtype=np.float64).ravel()
    elif X.dtype == np.float64:
        total = values @ X
    else:
        total = np.zeros(X.shape[1])
        step = max(1, _BLOCK // max(1, X.shape[1]))
        for i in range(0, len(X), step):
            total += values[i : i + step] @ X[i : i + step].astype(np.float64)
    return np.append(total, values.sum())
