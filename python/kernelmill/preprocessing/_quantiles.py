"""Quantiles of columns: exact for rows in memory, from a summary of bounded size for streams.

A summary of c chunks stands for the rows by at most ``1 + log2 c`` sets of `SIZE` points a column.
Each point carries the same share of the weight of its set. A chunk becomes one set; two sets that
stand for equally many chunks become one, as in a binary counter (Munro and Paterson 1980; Manku,
Rajagopalan and Lindsay 1998). Replacing a set of weight W by points at the ranks
``(j + 1/2) W / SIZE`` moves no rank by more than ``W / (2 SIZE)``, and each row is part of at most
``1 + log2 c`` such steps, so the rank of a quantile is off by at most ``(2 + log2 c) / (2 SIZE)``
of all rows: 0.3 % for 1024 chunks. Nothing is drawn at random.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import is_sparse, namespace, to_host
from kernelmill.preprocessing._columns import dense_columns, extremes, weighted_rows

SIZE = 2048
_SORT_BYTES = 16 << 20  # of columns that are sorted at a time


class Summary(NamedTuple):
    """What stands for the rows so far.

    Attributes
    ----------
    rows : array or CSR matrix of shape (r, d), or None
        Rows themselves, while there are at most `SIZE` of them, or all of them in memory.
    weight : array of shape (r,), or None
    sets : tuple of (points, weight) or None
        Place i has the set that stands for ``2**i`` chunks: points of shape (d, SIZE), ascending,
        and the weight of each column, shape (d,).
    low, high : array of shape (d,), or None
        Extremes of what the sets stand for.
    """

    rows: Any
    weight: Any
    sets: tuple = ()
    low: Any = None
    high: Any = None


def summarise(X: Any, sample_weight: Any = None, *, whole: bool) -> Summary:
    """The summary of a chunk, or of all rows in memory: these stay as they are."""
    X, weight = weighted_rows(X, sample_weight)
    if whole:
        return Summary(X, weight)
    X = X if is_sparse(X) else to_host(X)
    if X.shape[0] <= SIZE:  # a copy: chunks of a memory map give their pages back
        return Summary(X.copy(), None if weight is None else to_host(weight).copy())
    return _compressed(Summary(X, None if weight is None else to_host(weight)))


def merge_summaries(a: Summary, b: Summary) -> Summary:
    """A summary of both parts, which stay as they are."""
    rows, weight = _joined(a, b)
    merged = Summary(rows, weight)
    if rows is not None and rows.shape[0] > SIZE:
        merged = _compressed(merged)
    for part in (a, b):
        if part.sets:
            merged = merged._replace(
                sets=_added(merged.sets, part.sets),
                low=part.low if merged.low is None else np.fmin(merged.low, part.low),
                high=part.high if merged.high is None else np.fmax(merged.high, part.high),
            )
    return merged


def _joined(a: Summary, b: Summary) -> tuple[Any, Any]:
    """The plain rows of both, and their weights."""
    parts = [part for part in (a, b) if part.rows is not None]
    if len(parts) < 2:
        return (parts[0].rows, parts[0].weight) if parts else (None, None)
    matrices = [part.rows for part in parts]
    if any(map(is_sparse, matrices)):
        import scipy.sparse

        rows = scipy.sparse.vstack([scipy.sparse.csr_array(m) for m in matrices], format="csr")
    else:
        rows = np.concatenate(matrices)
    if all(part.weight is None for part in parts):
        return rows, None
    return rows, np.concatenate(
        [np.ones(p.rows.shape[0]) if p.weight is None else p.weight for p in parts]
    )


def _column_slices(X: Any) -> list[slice]:
    """Slices of columns that are sorted at a time."""
    step = max(1, _SORT_BYTES // (8 * max(1, X.shape[0])))
    return [slice(j, j + step) for j in range(0, X.shape[1], step)]


def _compressed(plain: Summary) -> Summary:
    """A summary of one set instead of rows."""
    X, weight = plain.rows, plain.weight
    parts, weights = [], []
    for columns in _column_slices(X):
        values = dense_columns(X, columns)
        if weight is None:
            values.sort(axis=1)
            count = (~np.isnan(values)).sum(axis=1)
            ranks = ((np.arange(SIZE) + 0.5) / SIZE * count[:, None]).astype(np.int64)
            parts.append(np.take_along_axis(values, ranks, axis=1))
            weights.append(count.astype(np.float64))
        else:
            each = np.broadcast_to(weight.astype(np.float64), values.shape)
            points, total = _points(values, each)
            parts.append(points)
            weights.append(total)
    low, high, _ = extremes(X)
    return Summary(None, None, ((np.concatenate(parts), np.concatenate(weights)),), low, high)


def _sorted_with(values: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Columns in ascending order with NaN, whose weight is 0, at the end; and their weights."""
    order = np.argsort(values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    weights = np.take_along_axis(weights, order, axis=1)
    return values, np.where(np.isnan(values), 0.0, weights)


def _points(values: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values at the ranks in the middle of `SIZE` equal shares of the weight."""
    values, weights = _sorted_with(values, weights)
    running = np.cumsum(weights, axis=1)
    total = running[:, -1]
    points = np.empty((len(values), SIZE), values.dtype)
    for j, row in enumerate(running):
        ranks = np.searchsorted(row, (np.arange(SIZE) + 0.5) / SIZE * total[j], side="right")
        last = max(1, int(np.count_nonzero(weights[j]))) - 1
        points[j] = values[j, np.minimum(ranks, last)]
    return points, total


def _added(sets: tuple, others: tuple) -> tuple:
    """Both groups of sets, by binary addition."""
    result, carry = [], None
    for place in range(max(len(sets), len(others)) + 1):
        here = [group[place] for group in (sets, others) if place < len(group) and group[place]]
        here += [carry] if carry is not None else []
        carry = None
        if len(here) > 1:
            (a, wa), (b, wb) = here[-2:]
            weights = np.repeat(np.stack([wa, wb], axis=1) / SIZE, SIZE, axis=1)
            carry = _points(np.concatenate([a, b], axis=1), weights)
        result.append(here[0] if len(here) % 2 else None)
    while result and result[-1] is None:
        result.pop()
    return tuple(result)


def quantiles(summary: Summary, shares: Any) -> Any:
    """Quantiles of each column without its NaN entries.

    Parameters
    ----------
    shares : sequence of float
        In [0, 1].

    Returns
    -------
    array of shape (len(shares), d), float64
        NaN for a column without entries.

    Notes
    -----
    Of plain rows: numpy's linear interpolation. Weights that are whole numbers count as so many
    rows; others are relative, and the quantile is the value, or the mean of the two values, at
    which the running weight reaches its share.
    """
    if summary.sets:
        return _of_sets(summary, shares)
    X, weight = summary.rows, summary.weight
    parts = []
    for columns in _column_slices(X):
        values = dense_columns(X, columns)
        if weight is None:
            parts.append(_linear(values, shares))
        else:
            host = to_host(values)
            each = np.broadcast_to(to_host(weight).astype(np.float64), host.shape)
            parts.append(_weighted(*_sorted_with(host, each), shares))
    return namespace(parts[0]).concatenate(parts, axis=1)


def _linear(values: Any, shares: Any) -> Any:
    """Linear interpolation between neighbouring ranks, with numpy's two-sided formula."""
    xp = namespace(values)
    values.sort(axis=1)
    last = xp.maximum((~xp.isnan(values)).sum(axis=1) - 1, 0)
    results = []
    for share in shares:
        place = share * last
        below = xp.floor(place).astype(np.int64)
        t = place - below
        a = xp.take_along_axis(values, below[:, None], axis=1)[:, 0].astype(np.float64)
        above = xp.minimum(below + 1, last)[:, None]
        b = xp.take_along_axis(values, above, axis=1)[:, 0].astype(np.float64)
        results.append(xp.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t)))
    return xp.stack(results)


def _weighted(values: np.ndarray, weights: np.ndarray, shares: Any) -> np.ndarray:
    """Quantiles of sorted columns whose entries have weights."""
    out = np.full((len(shares), len(values)), np.nan)
    whole = bool((weights == np.round(weights)).all())
    for j, (column, weight) in enumerate(zip(values, weights, strict=True)):
        count = int(np.count_nonzero(weight))
        if not count:
            continue
        column, running = column[:count].astype(np.float64), np.cumsum(weight[:count])
        for i, share in enumerate(shares):
            if whole:
                place = share * (running[-1] - 1)
                ranks = np.minimum([np.floor(place), np.floor(place) + 1], running[-1] - 1)
                # Where a running sum has more digits than float64, the last rank may be the sum.
                a, b = column[np.minimum(np.searchsorted(running, ranks, side="right"), count - 1)]
                t = place - np.floor(place)
                out[i, j] = a + (b - a) * t if t < 0.5 else b - (b - a) * (1 - t)
            else:
                target = share * running[-1]
                near = 4 * count * np.finfo(np.float64).eps * running[-1]  # of the running sum
                first = min(int(np.searchsorted(running, target - near)), count - 1)
                reached = abs(running[first] - target) <= near and 0 < share < 1
                second = min(first + 1, count - 1) if reached else first
                out[i, j] = 0.5 * (column[first] + column[second])
    return out


def _of_sets(summary: Summary, shares: Any) -> np.ndarray:
    """Interpolation between the middles of the shares that the points stand for."""
    low, high = summary.low, summary.high
    parts = [s for s in summary.sets if s is not None]
    values = [points for points, _ in parts]
    weights = [np.repeat(total[:, None] / SIZE, SIZE, axis=1) for _, total in parts]
    if summary.rows is not None:
        rows = dense_columns(summary.rows, slice(None))
        ends = extremes(summary.rows)
        low, high = np.fmin(low, ends.low), np.fmax(high, ends.high)
        each = np.ones(rows.shape[1]) if summary.weight is None else summary.weight
        values.append(rows)
        weights.append(np.broadcast_to(each, rows.shape))
    columns, each = _sorted_with(np.concatenate(values, axis=1), np.concatenate(weights, axis=1))
    out = np.full((len(shares), len(columns)), np.nan)
    for j, (column, weight) in enumerate(zip(columns, each, strict=True)):
        used = weight > 0
        if not used.any():
            continue
        running = np.cumsum(weight[used])
        middles = running - 0.5 * weight[used]
        out[:, j] = np.interp(
            np.asarray(shares) * running[-1],
            np.concatenate([[0.0], middles, [running[-1]]]),
            np.concatenate([[low[j]], column[used], [high[j]]]),
        )
    return out
