"""Hierarchies whose merges are limited to connected clusters."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator._base import warn
from kernelmill.ops.linkage import WARD, lance_williams


def graph_of(connectivity: Any, X: Any, owner: str) -> tuple[list[set[int]], np.ndarray]:
    """Neighbours of each row, and the part, of those that are not connected, that it is in."""
    graph = connectivity(X) if callable(connectivity) else connectivity
    graph = csr_matrix(graph if is_sparse(graph) else np.asarray(to_host(graph)))
    n = X.shape[0]
    if graph.shape != (n, n):
        raise ValueError(
            f"{owner}: connectivity must be a matrix of shape {(n, n)}, got {graph.shape}"
        )
    rows, columns = graph.nonzero()
    pairs = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))  # no zeros are stored
    part = connected_components(pairs, directed=False)[1]
    near: list[set[int]] = [set() for _ in range(n)]
    for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
        if a != b:
            near[a].add(b)
            near[b].add(a)
    return near, part


def _join(D: np.ndarray, near: list[set[int]], part: np.ndarray) -> None:
    """Connect the nearest rows of any two parts."""
    for i in range(1, int(part.max()) + 1):
        own = np.flatnonzero(part == i)
        block = D[own]
        least = block.min(axis=0)
        order = np.lexsort((least, part))
        for b in order[np.searchsorted(part[order], np.arange(i))].tolist():
            a = int(own[block[:, b].argmin()])
            near[a].add(b)
            near[b].add(a)


def connected(
    D: np.ndarray, near: list[set[int]], part: np.ndarray, linkage: int, owner: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merges of the closest two connected clusters, again and again.

    Ward's distance of clusters is that of all their rows. Of the other linkages, where only one of
    two merged clusters is connected with a third, its distance is kept, as scikit-learn does: rows
    that are not connected have none.

    Parameters
    ----------
    D : ndarray of shape (n, n), float64
        Distances; used up.
    near : list of set
        What each row is connected with; used up.
    part : ndarray of shape (n,)
        Parts that are not connected; any two are by their nearest rows.
    """
    n = len(D)
    update = lance_williams(linkage)
    name, size, alive = np.arange(n), np.ones(n), np.ones(n, bool)
    children, heights = np.zeros((n - 1, 2), np.int64), np.zeros(n - 1)
    sizes = np.zeros(n - 1, np.int64)
    parts = int(part.max()) + 1
    if parts > 1:
        warn(
            f"{owner}: the number of connected components of the connectivity matrix is {parts} > "
            "1. Any two are connected by their nearest rows.",
            UserWarning,
        )
        _join(D, near, part)
    # An entry is stale when one of its clusters has been merged since.
    waiting = [(D[a, b], a, b, a, b) for a in range(n) for b in near[a] if a < b]
    heapq.heapify(waiting)
    for i in range(n - 1):
        while not (
            alive[waiting[0][1]] and alive[waiting[0][2]]
            and name[waiting[0][1]] == waiting[0][3] and name[waiting[0][2]] == waiting[0][4]
        ):  # fmt: skip
            heapq.heappop(waiting)
        height, a, b, _, _ = heapq.heappop(waiting)
        children[i] = sorted((name[a], name[b]))
        heights[i], sizes[i] = height, size[a] + size[b]
        new = update(D[a], D[b], height, size[a], size[b], size)
        if linkage != WARD:
            for c, other in ((a, b), (b, a)):
                alone = list(near[c] - near[other])
                new[alone] = D[c, alone]
        D[a] = D[:, a] = new
        size[a] += size[b]
        alive[b] = False
        name[a] = n + i
        near[a] = {c for c in near[a] | near[b] if alive[c] and c != a}
        for c in near[a]:
            near[c].add(a)
            near[c].discard(b)
            heapq.heappush(waiting, (D[a, c], a, c, name[a], name[c]))
    return children, heights, sizes
