"""Labels of least cost under limits on the sizes of clusters: an exact transportation problem.

Clusters are the nodes of a small graph. The cost of the edge from j to l is that of moving the
cheapest row from j to l, so a path moves one row along each edge and changes only the sizes of its
ends. Labels are optimal when no path or cycle lowers the cost and all sizes are within their
limits; until then the best path is followed (cycle cancelling, Klein 1967).
"""

from __future__ import annotations

import itertools

import numpy as np


def check_sizes(
    size_min: int | None, size_max: int | None, n: int, k: int, owner: str
) -> tuple[int, int]:
    """The limits as numbers.

    Raises
    ------
    ValueError
        If n rows cannot be divided into k clusters within the limits.
    """
    low = 0 if size_min is None else int(size_min)
    high = n if size_max is None else min(int(size_max), n)
    if low * k > n:
        raise ValueError(
            f"{owner}: size_min must be at most {n // k} for {n} rows in {k} clusters, got {low} "
            f"(lower size_min or n_clusters)"
        )
    if high * k < n:
        raise ValueError(
            f"{owner}: size_max must be at least {-(-n // k)} for {n} rows in {k} clusters, got "
            f"{high} (raise size_max or n_clusters)"
        )
    if low > high:
        raise ValueError(
            f"{owner}: size_min must be at most size_max, got size_min={low} and size_max={high}"
        )
    return low, high


class _Edges:
    """The cheapest move between each pair of clusters, updated as rows move."""

    def __init__(self, cost: np.ndarray, labels: np.ndarray) -> None:
        k = cost.shape[1]
        self.cost, self.labels = cost, labels
        self.members = [np.flatnonzero(labels == j) for j in range(k)]
        self.price = np.full((k, k), np.inf)
        self.row = np.full((k, k), -1, dtype=np.int64)
        for j in range(k):
            self._refresh(j)

    def _refresh(self, j: int) -> None:
        rows = self.members[j]
        if not len(rows):
            self.price[j] = np.inf
        else:
            change = self.cost[rows] - self.cost[rows, j][:, None]
            best = change.argmin(axis=0)
            self.price[j] = change[best, np.arange(change.shape[1])]
            self.row[j] = rows[best]
        self.price[j, j] = 0.0

    def follow(self, path: list[int]) -> None:
        """Move the cheapest row along each edge of a path."""
        moves = [(int(self.row[j, to]), j, to) for j, to in itertools.pairwise(path)]
        for row, j, to in moves:
            self.labels[row] = to
            self.members[j] = self.members[j][self.members[j] != row]
            self.members[to] = np.append(self.members[to], row)
        for j in set(path):
            self._refresh(j)


def _shortest(price: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Floyd-Warshall: distances, first steps, and a node on a cycle of negative cost, or -1."""
    k = len(price)
    distance = price.copy()
    step = np.tile(np.arange(k), (k, 1))
    tiny = -1e-12 * max(1.0, float(np.abs(price[np.isfinite(price)]).max(initial=0.0)))
    for m in range(k):
        through = distance[:, m, None] + distance[m]
        shorter = through < distance + tiny
        distance[shorter] = through[shorter]
        step = np.where(shorter, step[:, m, None], step)
        # Stop at the first negative cycle, while the steps still describe it.
        if (distance.diagonal() < 0).any():
            return distance, step, int(distance.diagonal().argmin())
    return distance, step, -1


def _path(step: np.ndarray, j: int, to: int) -> list[int]:
    path = [j]
    while True:
        path.append(int(step[path[-1], to]))
        if path[-1] == to:
            return path
        if len(path) > len(step) + 1:  # a cycle by rounding: the direct move always exists
            return [j, to]


def labels_within(
    cost: np.ndarray, low: int, high: int, start: np.ndarray | None = None
) -> np.ndarray:
    """Labels of least total cost with ``low <= size <= high`` for every cluster.

    Parameters
    ----------
    cost : ndarray of shape (n, k), float64
        Cost of each row in each cluster.
    low, high : int
        Limits, with ``k low <= n <= k high``.
    start : ndarray of shape (n,), int32, optional
        Initial labels, such as those of the previous iteration; by default the cheapest of each
        row.

    Returns
    -------
    ndarray of shape (n,), int32

    Notes
    -----
    Exact, up to ties. Each step moves rows along a path of clusters and costs O(k^3 + n); there are
    about as many steps as rows outside the limits.
    """
    k = cost.shape[1]
    labels = (cost.argmin(axis=1) if start is None else start).astype(np.int32)
    edges = _Edges(cost, labels)
    counts = np.bincount(labels, minlength=k)
    scale = 1e-12 * max(1.0, float(np.abs(cost).max(initial=0.0)))
    while True:
        distance, step, cycle = _shortest(edges.price)
        if cycle >= 0:
            edges.follow(_path(step, cycle, cycle))
            continue
        # Change of the number of rows outside the limits at either end of a path.
        giving = np.where(counts > high, -1, np.where(counts <= low, 1, 0))
        taking = np.where(counts < low, -1, np.where(counts >= high, 1, 0))
        outside = giving[:, None] + taking[None, :]
        np.fill_diagonal(outside, 3)
        outside = np.where(np.isfinite(distance), outside, 3)
        least = int(outside.min())
        open_paths = np.where(outside == least, distance, np.inf)
        j, to = np.unravel_index(int(open_paths.argmin()), open_paths.shape)
        if least > 0 or (least == 0 and open_paths[j, to] >= -scale):
            return labels
        edges.follow(_path(step, int(j), int(to)))
        counts[j] -= 1
        counts[to] += 1
