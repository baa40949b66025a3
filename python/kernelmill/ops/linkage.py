"""Hierarchies of clusters: who is merged with whom, and at which height.

Rows are clusters 0 to n - 1, and merge i makes cluster n + i. Merges come by height, the lowest
first, as in a linkage matrix of SciPy; of the two children the lower number comes first. The
closest two clusters are always merged next. Where several pairs are equally close, any order of
them may come, the same one in every run. So with ties the hierarchy is one of several.

NaN or infinity in X gives heights without meaning; the caller checks. Empty X, or one row, gives no
merges. What does not fit raises ValueError. Deterministic: the same bits at any thread count. Cost
is about n^2 d flops for `single`, 3 n^2 d for `ward`, and 3 n^2 for `chain`; with connected rows
O(log e) for each pair of connected clusters that comes up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import neighbors
from ._op import op

LINKAGES = ("complete", "average", "single", "ward")
COMPLETE, AVERAGE, SINGLE, WARD = range(4)
_HOST = "each merge waits for the one before, which suits the host"


def greedy(D: np.ndarray, update: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merges of the closest pair, again and again.

    Parameters
    ----------
    D : ndarray of shape (n, n), float64
        Distances.
    update : callable
        ``update(p, q, d, a, b, c)`` is the distance of a cluster of c rows to the union of those of
        a and b rows at distances p and q, which were d apart.
    """
    n = len(D)
    D = D.copy()
    np.fill_diagonal(D, np.inf)
    name, size = np.arange(n), np.ones(n)
    m = max(n - 1, 0)
    children, heights, sizes = np.zeros((m, 2), np.int64), np.zeros(m), np.zeros(m, np.int64)
    for i in range(m):
        a, b = divmod(int(D.argmin()), n)
        d = D[a, b]
        children[i] = sorted((name[a], name[b]))
        heights[i], sizes[i] = d, size[a] + size[b]
        D[a] = D[:, a] = update(D[a], D[b], d, size[a], size[b], size)
        D[b] = D[:, b] = D[a, a] = np.inf
        size[a] += size[b]
        name[a] = n + i
    return children, heights, sizes


def greedy_connected(
    op: str, pairs: tuple[np.ndarray, np.ndarray], distances: np.ndarray, m: int, joined: Callable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merges of the closest connected pair, again and again.

    Parameters
    ----------
    pairs, distances : tuple of ndarrays of shape (e,), ndarray of shape (e,)
        Rows that are connected, the lower one first, and how far they are apart.
    joined : callable
        ``joined(a, b, height)`` begins a merge, and gives a function ``apart(c, p, q)``: the
        distance of a cluster to the union of a and b, where p and q are its own, or None where it
        is not connected with one of the two.
    """
    n = m + 1
    near: list[dict[int, float]] = [{} for _ in range(n + m)]
    for p, q, d in zip(*(part.tolist() for part in (*pairs, distances)), strict=True):
        if not 0 <= p < q < n or q in near[p]:
            raise ValueError(
                f"linkage.{op}: pairs must be rows of 0 to {m}, the lower one first, each pair "
                f"once, got ({p}, {q})"
            )
        near[p][q] = near[q][p] = d
    waiting = [(d, q, p) for p in range(n) for q, d in near[p].items() if p < q]
    heapq.heapify(waiting)
    gone = [False] * (n + m)
    children, heights, sizes = np.zeros((m, 2), np.int64), np.zeros(m), np.ones(n + m, np.int64)
    for k in range(n, n + m):
        while waiting and (gone[waiting[0][1]] or gone[waiting[0][2]]):
            heapq.heappop(waiting)
        if not waiting:
            raise ValueError(
                f"linkage.{op}: pairs must connect all rows, got {n + m - k + 1} parts"
            )
        height, b, a = heapq.heappop(waiting)
        gone[a] = gone[b] = True
        children[k - n], heights[k - n], sizes[k] = (a, b), height, sizes[a] + sizes[b]
        apart = joined(a, b, height)
        for c in near[a].keys() | near[b].keys():
            if not gone[c]:
                near[k][c] = near[c][k] = d = apart(c, near[a].get(c), near[b].get(c))
                heapq.heappush(waiting, (d, k, c))
    return children, heights, sizes[n:]


def lance_williams(linkage: int) -> Callable:
    def ward(p: np.ndarray, q: np.ndarray, d: float, a: float, b: float, c: np.ndarray):
        with np.errstate(invalid="ignore"):  # inf - inf, of clusters that are gone
            square = ((a + c) * p**2 + (b + c) * q**2 - c * d**2) / (a + b + c)
        return np.sqrt(np.maximum(square, 0))

    return (
        lambda p, q, d, a, b, c: np.maximum(p, q),
        lambda p, q, d, a, b, c: (a * p + b * q) / (a + b),
        lambda p, q, d, a, b, c: np.minimum(p, q),
        ward,
    )[linkage]


@op(
    "X: T[n,d], m: int[0,2**40), metric: int[0,8), p: float, least: f64[n]?"
    " -> children: i64[m,2], heights: f64[m], sizes: i64[m]",
    cuda=_HOST,
)
def single(
    X: np.ndarray,
    m: int,
    metric: int = neighbors.EUCLIDEAN,
    p: float = 2.0,
    least: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Single linkage: clusters are as near as their nearest rows.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    m : int
        Number of merges, n - 1.
    metric : int, default=EUCLIDEAN
        Index into `neighbors.METRICS`, but for ``nan_euclidean``.
    p : float, default=2
        Exponent of ``minkowski``.
    least : ndarray of shape (n,), float64, optional
        Distances of a row are at least this (mutual reachability, where it is the distance to the
        k-th neighbour).

    Returns
    -------
    children : ndarray of shape (m, 2), int64
        The clusters that are merged.
    heights : ndarray of shape (m,), float64
        Their distances.
    sizes : ndarray of shape (m,), int64
        Rows of the new clusters.

    Notes
    -----
    The edges of a minimum spanning tree, found by Prim's algorithm; memory O(n d).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linkage
    >>> children, heights, _ = linkage.single(np.array([[0.0], [5.0], [1.0]]), 2)
    >>> children.tolist(), heights.tolist()
    ([[0, 2], [1, 3]], [1.0, 4.0])
    """
    _check_merges("single", X, m)
    D = neighbors.distances_of(X, X, metric, p)
    if least is not None:
        D = np.maximum(D, np.maximum(least[:, None], least))
    return greedy(D, lance_williams(SINGLE))


@op(
    "X: T[n,d], m: int[0,2**40) -> children: i64[m,2], heights: f64[m], sizes: i64[m]", cuda=_HOST
)
def ward(X: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ward's method: the merge that raises the sum of squares about the means least.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    m : int
        Number of merges, n - 1.

    Returns
    -------
    children : ndarray of shape (m, 2), int64
        The clusters that are merged.
    heights : ndarray of shape (m,), float64
        ``sqrt(2 a b / (a + b))`` times the distance of the means of clusters of a and b rows.
    sizes : ndarray of shape (m,), int64
        Rows of the new clusters.

    Notes
    -----
    Memory O(n d): means and sizes are all it takes.

    References
    ----------
    Ward (1963), "Hierarchical grouping to optimize an objective function". Murtagh (1983), "A
    survey of recent advances in hierarchical clustering algorithms", for chains of nearest
    neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linkage
    >>> children, heights, _ = linkage.ward(np.array([[0.0], [5.0], [1.0]]), 2)
    >>> children.tolist(), heights.round(3).tolist()
    ([[0, 2], [1, 3]], [1.0, 5.196])
    """
    _check_merges("ward", X, m)
    D = neighbors.distances_of(X, X, neighbors.EUCLIDEAN, 2.0)
    return greedy(D, lance_williams(WARD))


@op(
    "distances: inout f64[t], m: int[0,2**40), linkage: int[0,4)"
    " -> children: i64[m,2], heights: f64[m], sizes: i64[m]",
    cuda=_HOST,
)
def chain(
    distances: np.ndarray, m: int, linkage: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A hierarchy from the distances of all pairs.

    Parameters
    ----------
    distances : ndarray of shape (t,), float64, C-contiguous, updated in place
        Of rows (0, 1), (0, 2), ..., (n - 2, n - 1); afterwards the heights at which they come into
        one cluster (cophenetic distances).
    m : int
        Number of merges, n - 1; ``t = n (n - 1) / 2``.
    linkage : int
        Index into `LINKAGES`: the largest, mean or least distance of rows of two clusters, or
        Ward's formula.

    Returns
    -------
    children : ndarray of shape (m, 2), int64
        The clusters that are merged.
    heights : ndarray of shape (m,), float64
        Their distances.
    sizes : ndarray of shape (m,), int64
        Rows of the new clusters.

    Raises
    ------
    ValueError
        If there are not that many distances.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linkage
    >>> children, heights, _ = linkage.chain(np.array([5.0, 1, 4]), 2, linkage.COMPLETE)
    >>> children.tolist(), heights.tolist()
    ([[0, 2], [1, 3]], [1.0, 5.0])
    """
    n = m + 1
    if len(distances) != n * m // 2:
        raise ValueError(
            f"linkage.chain: distances must be {n * m // 2} for {n} rows, got {len(distances)}"
        )
    D = np.zeros((n, n))
    D[np.triu_indices(n, 1)] = distances
    merges = greedy(D + D.T, lance_williams(linkage))
    rows = [[i] for i in range(n)]
    for (a, b), height in zip(merges[0], merges[1], strict=True):
        D[np.ix_(rows[a], rows[b])] = D[np.ix_(rows[b], rows[a])] = height
        rows.append(rows[a] + rows[b])
    distances[:] = D[np.triu_indices(n, 1)]
    return merges


@op(
    "distances: f64[e], lower: i64[e], upper: i64[e], m: int[0,2**40), linkage: int[0,3)"
    " -> children: i64[m,2], heights: f64[m], sizes: i64[m]",
    cuda=_HOST,
)
def connected(
    distances: np.ndarray, lower: np.ndarray, upper: np.ndarray, m: int, linkage: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A hierarchy whose merges are limited to connected clusters, from distances of connected rows.

    Parameters
    ----------
    distances : ndarray of shape (e,), float64
        Of the connected pairs.
    lower, upper : ndarray of shape (e,), int64
        Rows of each pair, the lower one first; each pair once.
    m : int
        Number of merges, n - 1.
    linkage : int
        Index into `LINKAGES`, but for Ward's. Where one of two merged clusters alone is connected
        with a third, its distance is that of the union. Else it is the larger, the mean weighted by
        the sizes, or the smaller of the two.

    Returns
    -------
    children : ndarray of shape (m, 2), int64
        The clusters that are merged, in the order of merging.
    heights : ndarray of shape (m,), float64
        Their distances, which for the mean need not rise.
    sizes : ndarray of shape (m,), int64
        Rows of the new clusters.

    Raises
    ------
    ValueError
        If pairs are not as said, or do not connect all rows.

    Notes
    -----
    Of equally close pairs the one comes first whose later cluster was made first, then the one
    whose earlier cluster was. Memory is that of the pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linkage
    >>> pairs = np.array([0, 1]), np.array([1, 2])
    >>> children, heights, _ = linkage.connected(np.array([5.0, 4]), *pairs, 2, linkage.COMPLETE)
    >>> children.tolist(), heights.tolist()
    ([[1, 2], [0, 3]], [4.0, 5.0])
    """
    update, size = lance_williams(linkage), [1] * (m + 1)

    def joined(a: int, b: int, height: float) -> Callable:
        size.append(size[a] + size[b])

        def apart(c: int, p: Any, q: Any) -> Any:
            if p is None or q is None:
                return p if q is None else q
            return update(p, q, height, size[a], size[b], size[c])

        return apart

    return greedy_connected("connected", (lower, upper), distances, m, joined)


@op(
    "X: T[n,d], lower: i64[e], upper: i64[e], m: int[0,2**40)"
    " -> children: i64[m,2], heights: f64[m], sizes: i64[m]",
    cuda=_HOST,
)
def connected_ward(
    X: np.ndarray, lower: np.ndarray, upper: np.ndarray, m: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ward's method, with merges limited to connected clusters.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    lower, upper : ndarray of shape (e,), int64
        Connected rows, the lower one first; each pair once.
    m : int
        Number of merges, n - 1.

    Returns
    -------
    children : ndarray of shape (m, 2), int64
        The clusters that are merged, in the order of merging.
    heights : ndarray of shape (m,), float64
        ``sqrt(2 a b / (a + b))`` times the distance of the means of clusters of a and b rows, which
        need not rise.
    sizes : ndarray of shape (m,), int64
        Rows of the new clusters.

    Raises
    ------
    ValueError
        If pairs are not as said, or do not connect all rows.

    Notes
    -----
    Ties as in `connected`. Means are sums, of rows less the first one, over sizes. Memory O(n d),
    and that of the pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import linkage
    >>> X, pairs = np.array([[0.0], [5.0], [1.0]]), (np.array([0, 1]), np.array([1, 2]))
    >>> children, heights, _ = linkage.connected_ward(X, *pairs, 2)
    >>> children.tolist(), heights.round(3).tolist()
    ([[1, 2], [0, 3]], [4.0, 3.464])
    """
    _check_merges("connected_ward", X, m)
    size = [1] * len(X)
    sums = list(X.astype(np.float64) - X[:1].astype(np.float64))

    def height(a: int, b: int) -> float:
        square = float(((sums[a] / size[a] - sums[b] / size[b]) ** 2).sum())
        return math.sqrt(square * (2.0 * size[a] * size[b] / (size[a] + size[b])))

    def joined(a: int, b: int, _: float) -> Callable:
        size.append(size[a] + size[b])
        sums.append(sums[a] + sums[b])
        k = len(size) - 1
        return lambda c, p, q: height(k, c)

    inside = (lower >= 0) & (upper < len(X)) & (lower < upper)
    distances = np.zeros(len(lower))
    distances[inside] = [height(a, b) for a, b in zip(lower[inside], upper[inside], strict=True)]
    return greedy_connected("connected_ward", (lower, upper), distances, m, joined)


def _check_merges(name: str, X: np.ndarray, m: int) -> None:
    if m != max(len(X) - 1, 0):
        raise ValueError(f"linkage.{name}: m must be {max(len(X) - 1, 0)}, got {m}")
