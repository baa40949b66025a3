"""Hierarchies whose merges are limited to connected clusters."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator._base import warn
from kernelmill.ops.linkage import lance_williams


def graph_of(connectivity: Any, X: Any, owner: str) -> tuple[list[set[int]], int]:
    """Neighbours of each row, and the number of parts that are not connected."""
    graph = connectivity(X) if callable(connectivity) else connectivity
    graph = csr_matrix(graph if is_sparse(graph) else np.asarray(to_host(graph)))
    n = X.shape[0]
    if graph.shape != (n, n):
        raise ValueError(
            f"{owner}: connectivity must be a matrix of shape {(n, n)}, got {graph.shape}"
        )
    rows, columns = graph.nonzero()
    parts, _ = connected_components(graph, directed=False)
    near: list[set[int]] = [set() for _ in range(n)]
    for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
        if a != b:
            near[a].add(b)
            near[b].add(a)
    return near, int(parts)


def connected(
    D: np.ndarray, near: list[set[int]], parts: int, linkage: int, owner: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merges of the closest two connected clusters, again and again.

    Distances of clusters are those of the linkage over all rows, connected or not.

    Parameters
    ----------
    D : ndarray of shape (n, n), float64
        Distances; used up.
    near : list of set
        What each row is connected with; used up. Parts that are not connected are merged last, the
        closest first.
    """
    n = len(D)
    update = lance_williams(linkage)
    name, size, alive = np.arange(n), np.ones(n), np.ones(n, bool)
    children, heights = np.zeros((n - 1, 2), np.int64), np.zeros(n - 1)
    sizes = np.zeros(n - 1, np.int64)
    # An entry is stale when one of its clusters has been merged since.
    waiting = [(D[a, b], a, b, a, b) for a in range(n) for b in near[a] if a < b]
    heapq.heapify(waiting)
    if parts > 1:
        warn(
            f"{owner}: the number of connected components of the connectivity matrix is {parts} > "
            "1. They are merged last, the closest first.",
            UserWarning,
        )
    for i in range(n - 1):
        while waiting and not (
            alive[waiting[0][1]] and alive[waiting[0][2]]
            and name[waiting[0][1]] == waiting[0][3] and name[waiting[0][2]] == waiting[0][4]
        ):  # fmt: skip
            heapq.heappop(waiting)
        if waiting:
            height, a, b, _, _ = heapq.heappop(waiting)
        else:
            left = np.flatnonzero(alive)
            rest = D[np.ix_(left, left)].copy()
            np.fill_diagonal(rest, np.inf)
            p, q = divmod(int(rest.argmin()), len(left))
            a, b = int(left[p]), int(left[q])
            height = D[a, b]
        children[i] = sorted((name[a], name[b]))
        heights[i], sizes[i] = height, size[a] + size[b]
        D[a] = D[:, a] = update(D[a], D[b], height, size[a], size[b], size)
        size[a] += size[b]
        alive[b] = False
        name[a] = n + i
        near[a] = {c for c in near[a] | near[b] if alive[c] and c != a}
        for c in near[a]:
            near[c].add(a)
            near[c].discard(b)
            heapq.heappush(waiting, (D[a, c], a, c, name[a], name[c]))
    return children, heights, sizes
