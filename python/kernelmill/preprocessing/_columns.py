"""Passes over blocks of rows that give one result per column, and transforms of such blocks.

All of it is bound by memory: blocks stay in the second-level cache between the few steps that each
of them takes, and are float64 there, so that no copy of a float32 X in float64 is ever made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import is_sparse, namespace
from kernelmill.ops import reduction

_BLOCK_BYTES = 256 << 10
_GPU_BLOCK_BYTES = 64 << 20  # a few launches for each block


def row_blocks(X: Any, factor: int = 1) -> Iterator[slice]:
    """Slices of rows whose float64 copies stay in cache."""
    size = factor * _BLOCK_BYTES if namespace(X) is np else _GPU_BLOCK_BYTES
    step = max(1, size // (8 * max(1, X.shape[1])))
    for start in range(0, X.shape[0], step):
        yield slice(start, start + step)


def weighted_rows(X: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Rows with a positive weight, and their weights."""
    if sample_weight is None:
        return X, None
    kept = sample_weight > 0
    return (X, sample_weight) if bool(kept.all()) else (X[kept], sample_weight[kept])


def dense_columns(X: Any, columns: slice) -> Any:
    """Some columns as rows of a new contiguous array: what sorting column by column needs."""
    part = X[:, columns]
    part = part.toarray() if is_sparse(X) else part
    return namespace(part).array(part.T, order="C")


def each_block(X: Any, function: Callable[[Any], Any], n_columns: int | None = None) -> Any:
    """What a function makes of the blocks of a dense X in float64, in the dtype and layout of X.

    It may change the block that it is given.
    """
    xp, d = namespace(X), X.shape[1] if n_columns is None else n_columns
    order = "C" if X.flags.c_contiguous or not X.flags.f_contiguous else "F"
    out = xp.empty((X.shape[0], d), X.dtype, order=order)
    in_place = n_columns is None and X.dtype == np.float64
    # A result that is too large for float32 is inf, as in any arithmetic of that type.
    with np.errstate(over="ignore"):
        # Columns that are short pieces of their own cost more than the cache gains: 63 ms for
        # 10^6 x 20 in blocks of 256 KiB, 37 ms in 1 MiB.
        for rows in row_blocks(X, 4 if order == "F" else 1):
            if in_place:  # one copy less than by way of a block
                block = out[rows]
                block[...] = X[rows]
            else:
                block = X[rows].astype(np.float64, order=order)
            result = function(block)
            if not (in_place and result is block):
                out[rows] = result
    return out


# --- moments --------------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Weight, mean and sum of squared deviations of the entries of each column that are not NaN.

    Attributes
    ----------
    weight : array of shape (d,), float64
    near, offset : array of shape (d,), float64
        The mean is their sum. A float64 close to it and what that lacks: far from the origin the
        rounding of a mean would show in the variance of merged parts.
    square : array of shape (d,), float64
    """

    weight: Any
    near: Any
    offset: Any
    square: Any

    @property
    def mean(self) -> Any:
        """Mean of each column."""
        return self.near + self.offset


def moments(X: Any, sample_weight: Any = None) -> Moments:
    """Moments of rows, by two steps over each block: exact for constants, stable far from 0."""
    X, sample_weight = weighted_rows(X, sample_weight)
    if is_sparse(X):
        return _sparse_moments(X, sample_weight)
    xp = namespace(X)
    zero = xp.zeros(X.shape[1])
    total = Moments(zero, zero, zero, zero)
    for rows in row_blocks(X):
        weight = None if sample_weight is None else sample_weight[rows].astype(np.float64)
        # Sums go by layout; columns are faster, but not for products with weights.
        block = X[rows].astype(np.float64, order="F" if weight is None else "C")
        total = merge_moments(total, _block_moments(xp, block, weight))
    return total


def _block_moments(xp: Any, X: Any, weight: Any) -> Moments:
    first = X[0]
    centered = X - first
    mask = None
    if xp is np and weight is None and not np.isnan(mean := reduction.mean(centered, 0)).any():
        near = first + mean
        step = near - first
        offset = (first - (near - step)) + (mean - step)  # exact (Knuth's sum of two numbers)
        n = np.full(X.shape[1], float(len(X)))
        return Moments(n, near, offset, n * reduction.variance(centered, 0))
    if bool(xp.isnan(centered.sum())):
        mask = ~xp.isnan(X)
        # Of a column without entries nothing is used.
        first = xp.where(mask, X, np.inf).min(axis=0)
        first = xp.where(xp.isinf(first), 0.0, first)
        X = xp.where(mask, X, first)
        centered = X - first

    def add(values: Any) -> Any:
        if weight is None:
            return values.sum(axis=0, dtype=np.float64)
        return xp.einsum("i,ij->j", weight, values)

    if mask is None:
        n = xp.full(X.shape[1], float(len(X) if weight is None else weight.sum()))
    else:
        n = add(mask.astype(np.float64))
    some = xp.where(n > 0, n, 1.0)
    near = first + add(centered) / some
    centered = X - near
    if mask is not None:
        centered *= mask
    offset = add(centered) / some
    with np.errstate(over="ignore", invalid="ignore"):  # a mean alone may be asked for
        square = xp.maximum(add(centered * centered) - offset * offset * n, 0.0)
    return Moments(n, xp.where(n > 0, near, 0.0), offset, square)


def _sparse_moments(X: Any, sample_weight: Any) -> Moments:
    d, data = X.shape[1], X.data.astype(np.float64)
    total = float(X.shape[0] if sample_weight is None else sample_weight.sum(dtype=np.float64))
    weight = np.ones(len(data))
    if sample_weight is not None:
        weight = np.repeat(sample_weight.astype(np.float64), np.diff(X.indptr))

    def add(values: np.ndarray) -> np.ndarray:
        return np.bincount(X.indices, weights=values, minlength=d)

    there = ~np.isnan(data)
    # Rounding must not leave a column that is stored in every row some weight of zeros.
    full = np.bincount(X.indices, minlength=d) == X.shape[0]
    zeros = np.where(full, 0.0, np.maximum(total - add(weight), 0.0))
    weight, data = weight * there, np.where(there, data, 0.0)
    n = add(weight) + zeros
    some = np.where(n > 0, n, 1.0)
    near = add(weight * data) / some
    centered = data - near[X.indices]
    offset = (add(weight * centered) - zeros * near) / some
    square = add(weight * centered**2) + zeros * near**2 - offset**2 * n
    return Moments(n, near, offset, np.maximum(square, 0.0))


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of both parts (Chan, Golub and LeVeque 1983)."""
    xp = namespace(a.near)
    weight = a.weight + b.weight
    share = b.weight / xp.where(weight > 0, weight, 1.0)
    near = xp.where(a.weight > 0, a.near, b.near)
    first = xp.where(a.weight > 0, a.offset, b.offset)
    apart = xp.where(a.weight > 0, (b.near - a.near) + (b.offset - a.offset), 0.0)
    square = a.square + b.square + apart * apart * (a.weight * share)
    return Moments(weight, near, first + apart * share, square)


# --- extremes -------------------------------------------------------------------------------------


class Extremes(NamedTuple):
    """Least and greatest entries of each column (NaN where it has none), and rows.

    Attributes
    ----------
    low, high : array of shape (d,), float64
    rows : int
    """

    low: Any
    high: Any
    rows: int


def extremes(X: Any, sample_weight: Any = None) -> Extremes:
    """Extremes of the entries that are not NaN."""
    X, _ = weighted_rows(X, sample_weight)
    if is_sparse(X):
        parts = [dense_columns(X, slice(j, j + 1)).T for j in range(X.shape[1])]
        ends = [extremes(part) for part in parts]
        low, high = (np.concatenate([end[side] for end in ends]) for side in (0, 1))
        return Extremes(low, high, X.shape[0])
    xp = namespace(X)
    empty = xp.full(X.shape[1], np.nan)
    total = Extremes(empty, empty, 0)
    if xp is np and len(X):
        low, high = reduction.min(X, 0), reduction.max(X, 0)
        if np.isnan(low).any():
            low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
        return Extremes(low.astype(np.float64), high.astype(np.float64), len(X))
    for rows in row_blocks(X):
        block = X[rows]
        low, high = block.min(axis=0), block.max(axis=0)
        if bool(xp.isnan(low).any()):
            there = ~xp.isnan(block)
            low = xp.where(there, block, np.inf).min(axis=0)
            high = xp.where(there, block, -np.inf).max(axis=0)
            nothing = low > high
            low, high = xp.where(nothing, np.nan, low), xp.where(nothing, np.nan, high)
        total = merge_extremes(
            total, Extremes(low.astype(np.float64), high.astype(np.float64), len(block))
        )
    return total


def merge_extremes(a: Extremes, b: Extremes) -> Extremes:
    """Extremes of both parts."""
    xp = namespace(a.low)
    return Extremes(xp.fmin(a.low, b.low), xp.fmax(a.high, b.high), a.rows + b.rows)


# --- transforms -----------------------------------------------------------------------------------


def scaled(X: Any, center: Any, scale: Any) -> Any:
    """``(X - center) / scale``, where None leaves a step out; one rounding for float32 rows."""
    if is_sparse(X):
        return X if scale is None else _sparse_scaled(X, 1.0 / scale)

    def one(block: Any) -> Any:
        if center is not None:
            block -= center
        if scale is not None:
            block /= scale
        return block

    return each_block(X, one)


def unscaled(X: Any, center: Any, scale: Any) -> Any:
    """``X * scale + center``, the inverse of `scaled`."""
    if is_sparse(X):
        return X if scale is None else _sparse_scaled(X, scale)

    def one(block: Any) -> Any:
        if scale is not None:
            block *= scale
        if center is not None:
            block += center
        return block

    return each_block(X, one)


def _sparse_scaled(X: Any, factor: np.ndarray) -> Any:
    data = (X.data * factor[X.indices]).astype(X.dtype)
    return type(X)((data, X.indices.copy(), X.indptr.copy()), shape=X.shape)


def stretched(X: Any, scale: Any, offset: Any, low: Any, high: Any) -> Any:
    """``X * scale + offset``, clipped to low and high where they are given."""

    def one(block: Any) -> Any:
        block *= scale
        block += offset
        return block if low is None else namespace(block).clip(block, low, high)

    return each_block(X, one)


def shrunk(X: Any, scale: Any, offset: Any) -> Any:
    """``(X - offset) / scale``, the inverse of `stretched`."""
    return scaled(X, offset, scale)
