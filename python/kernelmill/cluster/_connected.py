"""Hierarchies whose merges are limited to connected clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator._base import warn


def graph_of(connectivity: Any, X: Any, owner: str) -> tuple[csr_matrix, np.ndarray]:
    """Pairs of rows that are connected, and the part, of those that are not, of each row."""
    graph = connectivity(X) if callable(connectivity) else connectivity
    graph = csr_matrix(graph if is_sparse(graph) else np.asarray(to_host(graph)))
    n = X.shape[0]
    if graph.shape != (n, n):
        raise ValueError(
            f"{owner}: connectivity must be a matrix of shape {(n, n)}, got {graph.shape}"
        )
    rows, columns = graph.nonzero()  # zeros that are stored connect nothing
    ends = np.minimum(rows, columns), np.maximum(rows, columns)
    pairs = csr_matrix((np.ones(len(rows)), ends), shape=(n, n))
    parts, part = connected_components(pairs, directed=False)
    if parts > 1:
        warn(
            f"{owner}: the number of connected components of the connectivity matrix is {parts} > "
            "1. Any two are connected by their nearest rows.",
            UserWarning,
        )
    return pairs, part


def edges(pairs: csr_matrix, part: np.ndarray, distances: Callable) -> tuple:
    """Pairs (a, b) of connected rows with a < b, and of the nearest rows of any two parts.

    ``distances(rows)`` yields distances of some of these rows at a time to all. Of rows that are
    equally near, the first of the later part is taken, and then the first of the earlier one.
    """
    a, b = pairs.nonzero()
    found = [(a[a < b], b[a < b])]
    order = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[order], np.arange(int(part.max()) + 1))
    for i in range(1, len(starts)):
        before, begins = order[: starts[i]], starts[:i]
        least = np.full(i, np.inf)
        ends = np.zeros((2, i), np.int64)
        first = 0
        own = np.flatnonzero(part == i)
        for block in distances(own):
            block = block[:, before]
            nearest = np.minimum.reduceat(block, begins, axis=1)
            row = nearest.argmin(axis=0)
            there = nearest[row, np.arange(i)]
            # The first column of each part that has the least distance.
            holds = np.flatnonzero(block[row[part[before]], np.arange(len(before))]
                                   == there[part[before]])  # fmt: skip
            column = before[holds[np.searchsorted(part[before[holds]], np.arange(i))]]
            less = there < least
            least[less], ends[:, less] = there[less], [own[first + row[less]], column[less]]
            first += len(block)
        found.append((ends.min(axis=0), ends.max(axis=0)))
    return tuple(np.concatenate(each).astype(np.int64) for each in zip(*found, strict=True))


def spanned(a: np.ndarray, b: np.ndarray, distances: np.ndarray, n: int) -> tuple:
    """Single linkage: merges along a minimum spanning tree, in O(E log E).

    Edges that are equally long come by a, then by b, so the tree is the only one.
    """
    order = np.lexsort((b, a, distances))
    places = np.empty(len(order))
    places[order] = np.arange(1, len(order) + 1)
    tree = minimum_spanning_tree(csr_matrix((places, (a, b)), shape=(n, n)))
    kept = order[np.sort(tree.data).astype(np.int64) - 1]
    above, name = list(range(n)), list(range(n))
    children, sizes, size = [], [], [1] * n

    def top(row: int) -> int:
        while above[row] != row:
            above[row] = row = above[above[row]]
        return row

    for i, (p, q) in enumerate(zip(a[kept].tolist(), b[kept].tolist(), strict=True)):
        p, q = top(p), top(q)
        children.append(sorted((name[p], name[q])))
        if size[p] < size[q]:
            p, q = q, p
        above[q], name[p] = p, n + i
        size[p] += size[q]
        sizes.append(size[p])
    return np.array(children, np.int64), distances[kept], np.array(sizes, np.int64)
