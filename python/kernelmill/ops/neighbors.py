"""Nearest rows, rows within a radius, and what stands on them, without an n x m matrix.

A metric is a number, an index into `METRICS`. The distance of rows x and y, with t = x - y:

====================  ============================================================================
``euclidean``         ``sqrt(sum t^2)``
``manhattan``         ``sum |t|``
``chebyshev``         ``max |t|``
``minkowski``         ``(sum |t|^p)^(1/p)``; `p` is used here only
``hamming``           share of the features in which they differ
``nan_euclidean``     ``sqrt(d / m sum t^2)`` over the m features that both have; NaN where m is 0
``sqeuclidean``       ``sum t^2``
``half_sqeuclidean``  ``sum t^2 / 2``: the cosine distance of rows of length 1
====================  ============================================================================

Distances are summed in float64 in ascending order of the features, whatever the dtype of the rows.
Neighbours are ordered by that sum, and equal sums by index: the lowest comes first.

A tree (`grow`) makes searches fast where there are few features: `order`, `points` and `boxes`
belong together, and change no bit of a result. It serves all but ``hamming`` and
``nan_euclidean``.

NaN stands for a missing value with ``nan_euclidean``; a distance of NaN is no neighbour. Elsewhere
rows must be finite. Empty X gives empty results. What does not fit raises ValueError.
Deterministic: the same bits at any thread count. Cost without a tree is 2 n m d flops.
"""

from __future__ import annotations

import numpy as np

from ._op import op

METRICS = (
    "euclidean", "manhattan", "chebyshev", "minkowski", "hamming", "nan_euclidean", "sqeuclidean",
    "half_sqeuclidean",
)  # fmt: skip
EUCLIDEAN, MANHATTAN, CHEBYSHEV, MINKOWSKI, HAMMING, NAN_EUCLIDEAN, SQUARED, HALF_SQUARED = range(8)
KERNELS = ("gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine")
WIDTH = 32  # most rows of a leaf
FAN = 8  # boxes of a group
_HOST = "searches of trees and short lists branch at every step, which suits the host"


def leaves_of(n: int) -> int:
    """Number of leaves of a tree over n rows."""
    return max(1, -(-n // WIDTH))


def groups_of(leaves: int) -> int:
    """Number of groups of boxes over some leaves, on all levels together."""
    groups = 0
    while True:
        leaves = -(-leaves // FAN)
        groups += leaves
        if leaves == 1:
            return groups


def sums_of(X: np.ndarray, Y: np.ndarray, metric: int, p: float) -> np.ndarray:
    """What distances are made of, and ordered by: float64 (n, m)."""
    n, m, d = len(X), len(Y), X.shape[1]
    total, both = np.zeros((n, m)), np.zeros((n, m))
    for j in range(d):
        t = np.abs(X[:, j, None].astype(np.float64) - Y[None, :, j])
        if metric == CHEBYSHEV:
            total = np.maximum(total, t)
        elif metric == NAN_EUCLIDEAN:
            both += ~np.isnan(t)
            total += np.where(np.isnan(t), 0.0, t * t)
        elif metric == HAMMING:
            total += t != 0
        else:
            total += t if metric == MANHATTAN else t**p if metric == MINKOWSKI else t * t
    if metric == NAN_EUCLIDEAN:
        with np.errstate(invalid="ignore", divide="ignore"):
            return total * d / both
    return total


def finished(sums: np.ndarray, metric: int, p: float, d: int) -> np.ndarray:
    """Distances from what `sums_of` gives for d features."""
    if metric in (EUCLIDEAN, NAN_EUCLIDEAN):
        return np.sqrt(sums)
    if metric == HAMMING:
        return sums / max(d, 1)
    if metric == HALF_SQUARED:
        return sums / 2
    return sums ** (1 / p) if metric == MINKOWSKI else sums


def distances_of(X: np.ndarray, Y: np.ndarray, metric: int, p: float) -> np.ndarray:
    """All distances, float64 (n, m)."""
    return finished(sums_of(X, Y, metric, p), metric, p, X.shape[1])


def first_of(D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k least of each row by value, then by index; -1 and NaN where there are fewer."""
    n, m = D.shape
    indices, distances = np.full((n, k), -1, np.int64), np.full((n, k), np.nan)
    order = np.argsort(D, axis=1, kind="stable")[:, :k]  # NaN last
    values = np.take_along_axis(D, order, axis=1)
    there = ~np.isnan(values)
    indices[:, : min(k, m)][there] = order[there]
    distances[:, : min(k, m)][there] = values[there]
    return indices, distances


def _without_own(D: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    if own is not None:
        D[np.flatnonzero(own >= 0), own[own >= 0]] = np.nan
    return D


@op(
    "X: T[n,d], leaves: int[1,2**40), groups: int[1,2**40) -> order: i64[n],"
    " points: T[leaves,d,32], boxes: f64[groups,2,d,8]",
    cuda=_HOST,
)
def grow(X: np.ndarray, leaves: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grow a tree: leaves of equal size, by medians along the widest side of each part.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, finite.
    leaves : int
        What `leaves_of` says.
    groups : int
        What `groups_of` says.

    Returns
    -------
    order : ndarray of shape (n,), int64
        Rows by leaf: leaf l has those from ``n l // leaves`` to ``n (l + 1) // leaves``, ascending.
    points : ndarray of shape (leaves, d, 32), dtype of X
        Rows of each leaf, feature by feature; inf beyond the last.
    boxes : ndarray of shape (groups, 2, d, 8), float64
        Least and largest values of eight leaves a group, then of eight groups a group, and so on
        to one. Places without a leaf have inf and -inf.

    Raises
    ------
    ValueError
        If leaves would be empty or have more than 32 rows, or groups are not as many.

    Notes
    -----
    A part of several leaves is cut where its left side has the largest power of two below their
    number. Cost O(n d log n).
    """
    n, d = X.shape
    if not (leaves <= max(n, 1) and -(-n // leaves) <= WIDTH):
        raise ValueError(
            f"neighbors.grow: leaves must have 1 to {WIDTH} rows each, got {leaves} for {n} rows"
        )
    if groups != groups_of(leaves):
        raise ValueError(
            f"neighbors.grow: groups must be {groups_of(leaves)} for {leaves} leaves, got {groups}"
        )
    begin = np.arange(leaves + 1) * n // leaves
    order = np.arange(n)
    parts = [(0, leaves)]
    while parts:
        a, b = parts.pop()
        own = order[begin[a] : begin[b]]
        if b - a == 1:
            own.sort()
            continue
        half = 1
        while 2 * half < b - a:
            half *= 2
        rows = X[own].astype(np.float64)
        widest = int(np.argmax(rows.max(axis=0) - rows.min(axis=0))) if d else 0
        key = rows[:, widest] if d else np.zeros(len(own))
        own[:] = own[np.lexsort((own, key))]
        parts += [(a, a + half), (a + half, b)]
    points = np.full((leaves, d, WIDTH), np.inf, X.dtype)
    low, high = np.full((leaves, d), np.inf), np.full((leaves, d), -np.inf)
    for leaf in range(leaves):
        own = X[order[begin[leaf] : begin[leaf + 1]]]
        if len(own):
            points[leaf, :, : len(own)] = own.T
            low[leaf], high[leaf] = own.min(axis=0), own.max(axis=0)
    levels = []
    while True:
        count = -(-len(low) // FAN)
        level = np.stack([np.full((count * FAN, d), s * np.inf) for s in (1, -1)])
        level[0, : len(low)], level[1, : len(low)] = low, high
        level = level.reshape(2, count, FAN, d)
        levels.append(level.transpose(1, 0, 3, 2))
        if count == 1:
            return order, points, np.ascontiguousarray(np.concatenate(levels))
        low, high = level[0].min(axis=1), level[1].max(axis=1)


@op(
    "X: T[n,d], Y: T[m,d], k: int[0,2**40), metric: int[0,8), p: float, own: i64[n]?,"
    " order: i64[m]?, points: T[leaves,d,32]?, boxes: f64[groups,2,d,8]?"
    " -> indices: i64[n,k], distances: f64[n,k]",
    cuda=_HOST,
)
def nearest(
    X: np.ndarray,
    Y: np.ndarray,
    k: int,
    metric: int = EUCLIDEAN,
    p: float = 2.0,
    own: np.ndarray | None = None,
    order: np.ndarray | None = None,
    points: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of Y that are nearest to each row of X.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Queries.
    Y : ndarray of shape (m, d), dtype of X
        Rows to search.
    k : int
        Number of neighbours.
    metric : int, default=EUCLIDEAN
        Index into `METRICS`.
    p : float, default=2
        Exponent of ``minkowski``, at least 1.
    own : ndarray of shape (n,), int64, optional
        The row of Y that is no neighbour of each query; -1 for none.
    order, points, boxes : ndarrays, optional
        A tree of Y.

    Returns
    -------
    indices : ndarray of shape (n, k), int64
        Rows of Y, the nearest first; -1 where there are fewer than k.
    distances : ndarray of shape (n, k), float64
        Their distances; NaN where there are fewer.

    Notes
    -----
    Memory O(n k) beside the inputs and a packed copy of at most 64 MiB of Y. Many Euclidean
    distances are compared as products, with a bound on their error; what may be among the k nearest
    is then decided from differences, so the result is that of the definition.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import neighbors
    >>> Y = np.array([[0.0], [1.0], [1.0], [3.0]])
    >>> neighbors.nearest(np.array([[2.0]]), Y, 3)[0]
    array([[1, 2, 3]])
    """
    _check_tree("nearest", len(Y), order, points, boxes)
    indices, sums = first_of(_without_own(sums_of(X, Y, metric, p), own), k)
    return indices, finished(sums, metric, p, X.shape[1])


@op(
    "X: T[n,d], Y: T[m,d], radius: float, metric: int[0,8), p: float, own: i64[n]?,"
    " order: i64[m]?, points: T[leaves,d,32]?, boxes: f64[groups,2,d,8]? -> counts: i64[n]",
    cuda=_HOST,
)
def within(
    X: np.ndarray,
    Y: np.ndarray,
    radius: float,
    metric: int = EUCLIDEAN,
    p: float = 2.0,
    own: np.ndarray | None = None,
    order: np.ndarray | None = None,
    points: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Number of rows of Y at most a radius away from each row of X.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Queries.
    Y : ndarray of shape (m, d), dtype of X
        Rows to search.
    radius : float
        A distance equal to it counts.
    metric, p, own, order, points, boxes :
        As in `nearest`.

    Returns
    -------
    counts : ndarray of shape (n,), int64
        Numbers of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import neighbors
    >>> neighbors.within(np.array([[0.0]]), np.array([[0.0], [1.0], [2.0]]), 1.0)
    array([2])
    """
    _check_tree("within", len(Y), order, points, boxes)
    return (_without_own(distances_of(X, Y, metric, p), own) <= radius).sum(axis=1)


@op(
    "X: T[n,d], Y: T[m,d], radius: float, offsets: i64[n+1], indices: inout i64[t],"
    " distances: inout f64[t], metric: int[0,8), p: float, own: i64[n]?, order: i64[m]?,"
    " points: T[leaves,d,32]?, boxes: f64[groups,2,d,8]? -> ",
    cuda=_HOST,
)
def lists(
    X: np.ndarray,
    Y: np.ndarray,
    radius: float,
    offsets: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
    metric: int = EUCLIDEAN,
    p: float = 2.0,
    own: np.ndarray | None = None,
    order: np.ndarray | None = None,
    points: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
) -> None:
    """The rows of Y at most a radius away from each row of X.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Queries.
    Y : ndarray of shape (m, d), dtype of X
        Rows to search.
    radius : float
        A distance equal to it counts.
    offsets : ndarray of shape (n + 1,), int64
        0 and the cumulated counts of `within`.
    indices : ndarray of shape (t,), int64, C-contiguous, updated in place
        Rows of Y, ascending for each query.
    distances : ndarray of shape (t,), float64, C-contiguous, updated in place
        Their distances.
    metric, p, own, order, points, boxes :
        As in `nearest`.

    Returns
    -------
    None

    Raises
    ------
    ValueError
        If offsets are others.
    """
    _check_tree("lists", len(Y), order, points, boxes)
    D = _without_own(distances_of(X, Y, metric, p), own)
    near = radius >= D
    if offsets[0] != 0 or not np.array_equal(np.diff(offsets), near.sum(axis=1)):
        raise ValueError(
            "neighbors.lists: offsets must be the sums of what within counts, got others"
        )
    indices[:], distances[:] = np.nonzero(near)[1], D[near]


@op(
    "X: T[n,d], eps: float, min_samples: float, weight: f64[n]?, metric: int[0,8), p: float,"
    " order: i64[n]?, points: T[leaves,d,32]?, boxes: f64[groups,2,d,8]?"
    " -> labels: i64[n], core: bool[n]",
    cuda=_HOST,
)
def dbscan(
    X: np.ndarray,
    eps: float,
    min_samples: float,
    weight: np.ndarray | None = None,
    metric: int = EUCLIDEAN,
    p: float = 2.0,
    order: np.ndarray | None = None,
    points: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of rows with enough rows around them.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    eps : float
        Radius; a distance equal to it counts.
    min_samples : float
        Least weight within the radius, the row itself included, that makes a row core.
    weight : ndarray of shape (n,), float64, optional
        Weights; ones when left out.
    metric, p, order, points, boxes :
        As in `nearest`.

    Returns
    -------
    labels : ndarray of shape (n,), int64
        Core rows within the radius of each other share a label; labels are numbered by their first
        core row. Another row has the least label of the core rows within its radius, or -1.
    core : ndarray of shape (n,), bool
        Which rows are core.

    Notes
    -----
    Memory O(n): no list of neighbours is kept.

    References
    ----------
    Ester, Kriegel, Sander, Xu (1996), "A density-based algorithm for discovering clusters".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import neighbors
    >>> neighbors.dbscan(np.array([[0.0], [1.0], [1.5], [2.0], [3.0], [9.0]]), 1.0, 4.0)[0]
    array([ 0,  0,  0,  0,  0, -1])
    """
    n = len(X)
    _check_tree("dbscan", n, order, points, boxes)
    near = distances_of(X, X, metric, p) <= eps
    core = near @ (np.ones(n) if weight is None else weight) >= min_samples
    labels = np.full(n, -1)
    number = 0
    for i in np.flatnonzero(core):
        if labels[i] >= 0:
            continue
        labels[i], front = number, [i]
        while front:
            for j in np.flatnonzero(near[front.pop()] & core & (labels < 0)):
                labels[j] = number
                front.append(j)
        number += 1
    for i in np.flatnonzero(~core):
        around = labels[near[i] & core]
        if len(around):
            labels[i] = around.min()
    return labels, core


@op(
    "X: T[n,d], Y: T[m,d], weight: f64[m]?, kernel: int[0,6), bandwidth: float, metric: int[0,8),"
    " p: float -> logs: f64[n]",
    cuda=_HOST,
)
def log_density(
    X: np.ndarray,
    Y: np.ndarray,
    weight: np.ndarray | None,
    kernel: int,
    bandwidth: float,
    metric: int = EUCLIDEAN,
    p: float = 2.0,
) -> np.ndarray:
    """Logarithm of the sum of a kernel around each row of Y, without its norm.

    ``log sum_j w_j K(dist(X[i], Y[j]) / bandwidth)``, with K(z) one of ``exp(-z^2 / 2)``, 1,
    ``1 - z^2``, ``exp(-z)``, ``1 - z`` and ``cos(pi z / 2)``; all but the two with ``exp`` are 0
    from z = 1 on.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Where to evaluate.
    Y : ndarray of shape (m, d), dtype of X
        Centers of the kernels.
    weight : ndarray of shape (m,), float64, or None
        Weights, not negative; ones for None.
    kernel : int
        Index into `KERNELS`.
    bandwidth : float
        Unit of the distances.
    metric, p :
        As in `nearest`.

    Returns
    -------
    logs : ndarray of shape (n,), float64
        -inf where no kernel reaches.

    Notes
    -----
    Sums of ``exp`` are taken relative to their largest term, so far rows stay finite.
    """
    z = distances_of(X, Y, metric, p) / bandwidth
    name = KERNELS[kernel]
    if name in ("gaussian", "exponential"):
        term = -0.5 * z * z if name == "gaussian" else -z
    else:
        with np.errstate(divide="ignore"):
            inside = {
                "tophat": np.ones_like(z),
                "epanechnikov": 1 - z * z,
                "linear": 1 - z,
                "cosine": np.cos(np.pi / 2 * z),
            }[name]
            term = np.log(np.where(z < 1, np.maximum(inside, 0), 0))
    with np.errstate(divide="ignore"):
        term = term + (0.0 if weight is None else np.log(weight))
    if not len(Y):
        return np.full(len(X), -np.inf)
    top = term.max(axis=1)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(term - base[:, None]).sum(axis=1)) + base


@op(
    "X: T[n,d], Y: T[m,d], rows: i64[e], cols: i64[e], k: int[0,2**40) -> indices: i64[e,k],"
    " distances: f64[e,k]",
    cuda=_HOST,
)
def donors(
    X: np.ndarray, Y: np.ndarray, rows: np.ndarray, cols: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows of Y that have a value where a row of X has none.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows with missing values, NaN.
    Y : ndarray of shape (m, d), dtype of X
        Rows that may have what is missing.
    rows, cols : ndarrays of shape (e,), int64
        Entries of X, those of a row side by side.
    k : int
        Number of donors.

    Returns
    -------
    indices : ndarray of shape (e, k), int64
        Rows of Y with a value in that column, by ``nan_euclidean``, the nearest first; -1 where
        there are fewer.
    distances : ndarray of shape (e, k), float64
        Their distances; NaN where there are fewer.

    Raises
    ------
    ValueError
        If an entry is not in X.
    """
    n, d = X.shape
    if not (((rows >= 0) & (rows < n)).all() and ((cols >= 0) & (cols < d)).all()):
        raise ValueError(
            f"neighbors.donors: rows and cols must be entries of X, got others for {n} rows of {d}"
        )
    sums = sums_of(X, Y, NAN_EUCLIDEAN, 2.0)[rows]
    indices, sums = first_of(np.where(np.isnan(Y.T[cols]), np.nan, sums), k)
    return indices, np.sqrt(sums)


def _check_tree(
    name: str, n: int, order: np.ndarray | None, points: np.ndarray | None, boxes: np.ndarray | None
) -> None:
    if order is None:
        return
    leaves = 0 if points is None else len(points)
    fits = boxes is not None and 0 < leaves <= n and len(boxes) == groups_of(leaves)
    if not (fits and -(-n // leaves) <= WIDTH):
        raise ValueError(
            f"neighbors.{name}: order, points and boxes must be what grow gave for these rows, got "
            f"{leaves} leaves for {n} rows"
        )
