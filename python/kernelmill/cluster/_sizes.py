"""Labels of least cost under limits on the sizes of clusters: an exact transportation problem.

Clusters are the nodes of a small graph. The cost of the edge from j to l is that of moving the
cheapest row from j to l, so a path moves one row along each edge and changes only the sizes of its
ends. Labels are optimal when no path or cycle lowers the cost and all sizes are within their
limits; until then the best path is followed (cycle cancelling, Klein 1967).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator._base import warn

_STEPS = 100  # at most, for each row; each of them pays


def check_sizes(
    size_min: int | None, size_max: int | None, n: int, k: int, owner: str
) -> tuple[int, int]:
    """The limits as numbers."""
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

    def follow(self, path: list[int], must_gain: bool) -> bool:
        """Move the cheapest row along each edge of a path; with `must_gain` only if that pays.

        The gain is that of the labels in exact arithmetic (`math.fsum` rounds once), so labels that
        must gain never return.
        """
        moves = [(int(self.row[j, to]), j, to) for j, to in itertools.pairwise(path)]
        if must_gain:
            terms = [(self.cost[row, to], -self.cost[row, j]) for row, j, to in moves]
            if not math.fsum(itertools.chain(*terms)) < 0:
                return False
        for row, j, to in moves:
            self.labels[row] = to
            self.members[j] = self.members[j][self.members[j] != row]
            self.members[to] = np.append(self.members[to], row)
        for j in set(path):
            self._refresh(j)
        return True


def _shortest(price: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Floyd-Warshall: distances, their rounding errors, first steps, a node of a negative cycle.

    A path replaces another only where it is shorter by more than both errors, so no cycle is
    negative by rounding. The node is -1 if there is none.
    """
    k = len(price)
    distance = price.copy()
    # Sums of at most k prices and their rounding: k + 1 roundings of the sum of their sizes.
    error = (k + 1) * np.finfo(np.float64).eps * np.where(np.isfinite(price), np.abs(price), 0.0)
    step = np.tile(np.arange(k), (k, 1))
    for m in range(k):
        through = distance[:, m, None] + distance[m]
        doubt = error[:, m, None] + error[m]
        shorter = through + doubt < distance - error
        distance[shorter], error[shorter] = through[shorter], doubt[shorter]
        step = np.where(shorter, step[:, m, None], step)
        # Stop at the first negative cycle, while the steps still describe it.
        if (distance.diagonal() < 0).any():
            return distance, error, step, int(distance.diagonal().argmin())
    return distance, error, step, -1


def _path(step: np.ndarray, j: int, to: int) -> list[int]:
    """Nodes from j to `to`; if the steps lead into a cycle, that cycle."""
    path = [j]
    while True:
        path.append(int(step[path[-1], to]))
        if path[-1] == to:
            return path
        if path[-1] in path[:-1]:
            return path[path.index(path[-1]) :]


def labels_within(
    cost: np.ndarray, low: int, high: int, start: np.ndarray | None = None, owner: str = ""
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

    Warns
    -----
    ConvergenceWarning
        If the labels are within the limits but may not be optimal, after 100 n steps.

    Notes
    -----
    Exact, up to ties and rounding. Each step moves rows along a path of clusters and costs O(k^3 +
    n); there are about as many steps as rows outside the limits. Each lowers the number of rows
    outside, or the cost in exact arithmetic, so that labels never return.
    """
    n, k = cost.shape
    labels = (cost.argmin(axis=1) if start is None else start).astype(np.int32)
    edges = _Edges(cost, labels)
    counts = np.bincount(labels, minlength=k)
    direct = np.tile(np.arange(k), (k, 1))
    for number in itertools.count():
        optimal = number < _STEPS * n
        if optimal:
            distance, error, step, cycle = _shortest(edges.price)
            if cycle >= 0 and edges.follow(_path(step, cycle, cycle), must_gain=True):
                continue
        else:  # rows outside the limits still move, each at its least cost
            distance, error, step, cycle = edges.price, np.zeros((k, k)), direct, -1
        # Change of the number of rows outside the limits at either end of a path.
        giving = np.where(counts > high, -1, np.where(counts <= low, 1, 0))
        taking = np.where(counts < low, -1, np.where(counts >= high, 1, 0))
        outside = giving[:, None] + taking[None, :]
        np.fill_diagonal(outside, 3)
        outside = np.where(np.isfinite(distance), outside, 3)
        least = int(outside.min())
        open_paths = np.where(outside == least, distance + error, np.inf)
        j, to = map(int, np.unravel_index(int(open_paths.argmin()), open_paths.shape))
        if least > 0 or (least == 0 and not (optimal and open_paths[j, to] < 0)):
            break
        path = _path(step, j, to)
        if (path[0], path[-1]) != (j, to):
            path = [j, to]
        if not edges.follow(path, must_gain=least == 0):
            break
        counts[j] -= 1
        counts[to] += 1
    if not optimal:
        warn(
            f"{owner}: Labels within size_min and size_max may not be of least cost after {number} "
            f"steps (widen the limits)",
            ConvergenceWarning,
        )
    return labels
