"""Which states of a chain can reach which: classes, periods, and what is sure or impossible.

These are questions about the graph of positive transitions, so the answers are exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Classes(NamedTuple):
    """Communicating classes, in the order of their first states.

    Attributes
    ----------
    label : ndarray of shape (K,), int64
        Class of each state.
    members : list of ndarray
        States of each class, ascending.
    recurrent : ndarray of shape (C,), bool
        Whether no transition leaves the class.
    """

    label: np.ndarray
    members: list[np.ndarray]
    recurrent: np.ndarray


def classes_of(P: Any) -> Classes:
    """Strongly connected components of a CSR matrix, in the order of their first states."""
    from scipy.sparse.csgraph import connected_components

    count, raw = connected_components(P, directed=True, connection="strong")
    _, first = np.unique(raw, return_index=True)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(count)
    label = rank[raw]
    order = np.argsort(label, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1])
    recurrent = np.ones(count, dtype=bool)
    edges = P.tocoo()
    leaving = label[edges.row] != label[edges.col]
    recurrent[label[edges.row[leaving]]] = False
    return Classes(label, members, recurrent)


def period_of(P: Any) -> int:
    """Greatest common divisor of the loop lengths of a strongly connected CSR matrix."""
    from scipy.sparse.csgraph import dijkstra

    edges = P.tocoo()
    if not edges.nnz:
        return 0
    level = dijkstra(P, directed=True, indices=0, unweighted=True)
    # Every loop is a sum of such differences, and each difference one of two loops (Denardo 1977).
    return int(np.gcd.reduce((level[edges.row] + 1 - level[edges.col]).astype(np.int64)))


def reaching(P: Any, targets: np.ndarray, blocked: np.ndarray | None = None) -> np.ndarray:
    """Which states have a path to a target, without passing through blocked states."""
    back = P.T.tocsr()
    found = targets.copy()
    frontier = np.flatnonzero(targets)
    while len(frontier):
        spans = [back.indices[back.indptr[j] : back.indptr[j + 1]] for j in frontier]
        new = np.unique(np.concatenate(spans))
        new = new[~found[new]]
        if blocked is not None:
            new = new[~blocked[new]]
        found[new] = True
        frontier = new
    return found


def fates_of(P: Any, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which states are targets, which of the others hit them perhaps, and which surely."""
    target = np.zeros(P.shape[0], dtype=bool)
    target[places] = True
    can = reaching(P, target)
    # Hitting is not sure where a state that cannot hit may come first.
    doubtful = reaching(P, ~can, blocked=target)
    return target, can & doubtful & ~target, can & ~doubtful & ~target


def sums(rows: Any, columns: np.ndarray) -> np.ndarray:
    """Probability to go from each row to one of some columns."""
    return np.asarray(rows[:, columns].sum(axis=1)).ravel()
