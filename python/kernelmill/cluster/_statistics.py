"""Passes over rows that are dense or CSR, on either device: what `Rows.map_reduce` runs.

Functions at module level, so that Dask can send them to its workers.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import is_sparse, namespace, to_host
from kernelmill.ops import kmeans, random

assign = kmeans.assign
lloyd_pass = kmeans.lloyd_step


def labels_of(X: Any, centers: Any) -> Any:
    """The labels alone."""
    return assign(X, centers)[0]


def dense_rows(X: Any, indices: Any) -> np.ndarray:
    """Some rows as a float64 array on the host."""
    rows = X[indices]
    if is_sparse(rows):
        rows = rows.toarray()
    return to_host(rows).astype(np.float64)


def _top(score: np.ndarray, size: int) -> np.ndarray:
    """Places of the `size` largest scores in descending order, ties by place."""
    if len(score) > size:
        # Keep all ties of the last score taken; the stable sort then breaks them by place.
        limit = np.partition(score, len(score) - size)[len(score) - size]
        kept = np.flatnonzero(score >= limit)
    else:
        kept = np.arange(len(score))
    return kept[np.argsort(-score[kept], kind="stable")][:size]


class Far(NamedTuple):
    """The rows that cost most at their nearest centers, the costliest first."""

    costs: np.ndarray  # (s,), float64: weight times squared distance
    squared: np.ndarray  # (s,), float64: squared distances to the nearest center
    rows: np.ndarray  # (s, d), float64
    labels: np.ndarray  # (s,): the nearest center
    weights: np.ndarray  # (s,), float64


def farthest(X: Any, centers: Any, sample_weight: Any = None, *, size: int) -> Far:
    """The `size` rows of largest weight times squared distance to their nearest center."""
    labels, squared = map(to_host, assign(X, centers))
    squared = squared.astype(np.float64)
    weights = np.ones(len(squared))
    if sample_weight is not None:
        weights = to_host(sample_weight).astype(np.float64)
    costs = weights * squared
    top = _top(costs, size)
    return Far(costs[top], squared[top], dense_rows(X, top), labels[top], weights[top])


def reservoir(
    X: Any, centers: Any, sample_weight: Any = None, *, size: int, seed: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows without replacement with probability proportional to w, or to w D^2.

    Parameters
    ----------
    centers : ndarray of shape (m, d), float64, or None
        D is the distance to the nearest of them; None draws by weight alone.

    Returns
    -------
    keys : ndarray of shape (s,), float64
        ``log(u) / mass``, largest first; the rows with the largest keys over all chunks are the
        sample.

    Notes
    -----
    A pass does not know the place of a chunk in X, so random numbers are keyed by a checksum of its
    first and last rows instead of row numbers.

    References
    ----------
    Efraimidis and Spirakis (2006), "Weighted random sampling with a reservoir".
    """
    n = X.shape[0]
    mass = np.ones(n)
    if centers is not None:
        mass = to_host(assign(X, centers)[1]).astype(np.float64)
    if sample_weight is not None:
        mass = mass * to_host(sample_weight)
    ends = dense_rows(X, np.unique(np.r_[np.arange(min(n, 16)), np.arange(max(n - 16, 0), n)]))
    tag = zlib.crc32(ends.tobytes(), n & 0xFFFFFFFF)
    u = random.uniform(seed, (stream << 32) | tag, 0, n)
    with np.errstate(divide="ignore"):
        # 1 - u lies in (0, 1]. Rows of zero mass are never drawn.
        keys = np.where(mass > 0, np.log1p(-u) / mass, -np.inf)
    top = _top(keys, size)
    top = top[keys[top] > -np.inf]
    return keys[top], dense_rows(X, top)


class BestOf:
    """Merge of `farthest` or `reservoir`: the `size` rows with the highest scores."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, total: tuple, part: tuple) -> tuple:
        both = [np.concatenate(pair) for pair in zip(total, part, strict=True)]
        top = _top(both[0], self.size)
        best = [values[top] for values in both]
        return type(total)(*best) if hasattr(total, "_fields") else tuple(best)


def sum_of(values: Any, sample_weight: Any = None) -> float:
    """Weighted sum in float64."""
    if sample_weight is None:
        return float(values.sum(dtype=np.float64))
    return float(namespace(values).dot(values.astype(np.float64), sample_weight.astype(np.float64)))
