"""Must-link and cannot-link constraints: their closure, and labels that satisfy them.

Rows that must link form groups (connected components). Cannot-links between groups form a graph
whose proper colourings with k colours are the feasible labellings. Only its k-core is hard: a group
with fewer than k neighbours always finds a cluster after the others.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator._base import warn

# Steps of the exact search before it gives up; a step takes about 10 microseconds.
_SEARCH_STEPS = 100_000
_ORDERS = 20  # random orders tried before the exact search
_CHAINS = 100  # improvements at most, for each group; each of them pays


def pairs_of(pairs: Any, n: int, name: str, owner: str) -> np.ndarray:
    """Pairs of row numbers as an int64 array of shape (m, 2)."""
    if pairs is None:
        return np.empty((0, 2), dtype=np.int64)
    array = np.asarray(pairs)
    if array.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: {name} must be pairs of row numbers of shape (m, 2), got {array.dtype} of "
            f"shape {array.shape}"
        )
    outside = ((array < 0) | (array >= n)).any(axis=1)
    if outside.any():
        i, j = array[outside.argmax()]
        raise ValueError(f"{owner}: {name} must be between 0 and {n - 1}, got pair ({i}, {j})")
    return array.astype(np.int64)


class Links:
    """Groups of rows that must link, and pairs of groups that cannot.

    Parameters
    ----------
    must, cannot : ndarray of shape (m, 2), int64
        Pairs of rows.
    n : int
        Number of rows.
    owner : str
        Name of the caller in errors.

    Attributes
    ----------
    group : ndarray of shape (n,), int32
        Group of each row.
    size : int
        Number of groups.
    neighbours : list of ndarray
        For each group the groups that it cannot link with.

    Raises
    ------
    ValueError
        If two rows that cannot link must link, through a chain that the message names.
    """

    def __init__(self, must: np.ndarray, cannot: np.ndarray, n: int, owner: str) -> None:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        graph = csr_array((np.ones(len(must), np.int8), (must[:, 0], must[:, 1])), shape=(n, n))
        self.size, self.group = connected_components(graph, directed=False)
        ends = self.group[cannot]
        clash = np.flatnonzero(ends[:, 0] == ends[:, 1])
        if len(clash):
            i, j = map(int, cannot[clash[0]])
            raise ValueError(_contradiction(graph, i, j, owner))
        both = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
        starts = np.searchsorted(both[:, 0], np.arange(self.size + 1))
        self.neighbours = [both[a:b, 1] for a, b in itertools.pairwise(starts)]


def _contradiction(graph: Any, i: int, j: int, owner: str) -> str:
    from scipy.sparse.csgraph import breadth_first_order

    if i == j:
        return f"{owner}: cannot_link must join different rows, got ({i}, {j}) (drop this pair)"
    _, before = breadth_first_order(graph, i, directed=False)
    chain = [j]
    while chain[-1] != i:
        chain.append(int(before[chain[-1]]))
    return (
        f"{owner}: cannot_link must not contradict must_link, got ({i}, {j}), which must link "
        f"through rows {' - '.join(map(str, chain[::-1]))} (drop this pair or one of that chain)"
    )


class Unsatisfiable(ValueError):
    """No labelling satisfies the constraints, or none was found."""


def first_labels(
    cost: np.ndarray, neighbours: list[np.ndarray], rows: list[int], rng: np.random.Generator,
    owner: str
) -> np.ndarray:
    """Labels of groups that satisfy all cannot-links, of small cost, found in bounded time.

    Parameters
    ----------
    cost : ndarray of shape (s, k), float64
        Cost of each group in each cluster.
    neighbours : list of s ndarrays
        Groups that each cannot link with.
    rows : list of s ints
        A row of each group, for errors.
    rng : Generator
        Generates the orders tried.

    References
    ----------
    Wagstaff, Cardie, Rogers, Schroedl (2001), "Constrained k-means clustering with background
    knowledge", for the greedy assignment; Brelaz (1979), "New methods to color the vertices of a
    graph", for the order of the exact search.
    """
    s, k = cost.shape
    order = peeling_order(neighbours, k)
    best = None
    for attempt in range(_ORDERS):
        # The peeling order never fails outside the core; random ones may find cheaper labels.
        tried = order[1] if attempt == 0 else rng.permutation(s)
        labels = _greedy(cost, neighbours, tried)
        if labels is None:
            continue
        value = float(cost[np.arange(s), labels].sum())
        if best is None or value < best[0]:
            best = (value, labels)
        if attempt >= 2:
            break
    if best is not None:
        return best[1]
    core = _colour_core(order[0], neighbours, k, rows, owner)
    fixed = np.full(s, -1, dtype=np.int32)
    members = np.array(sorted(core))
    colour = np.array([core[g] for g in members])
    # Match colours to clusters at the least cost.
    from scipy.optimize import linear_sum_assignment

    price = np.stack([cost[members[colour == c]].sum(axis=0) for c in range(k)])
    fixed[members] = linear_sum_assignment(price)[1][colour]
    labels = _greedy(cost, neighbours, [g for g in order[1] if fixed[g] < 0], fixed)
    assert labels is not None, "a group outside the core has fewer than k neighbours"
    return labels


def peeling_order(neighbours: list[np.ndarray], k: int) -> tuple[list[int], list[int]]:
    """The k-core of a graph, and an order in which greedy labels can fail only inside it.

    Nodes with fewer than k neighbours left are removed one after another; the order is the core
    first, then the others from the last removed to the first.
    """
    degree = [len(near) for near in neighbours]
    stack = [g for g, count in enumerate(degree) if count < k]
    taken, gone = [], [count < k for count in degree]
    while stack:
        g = stack.pop()
        taken.append(g)
        for h in neighbours[g]:
            degree[h] -= 1
            if degree[h] < k and not gone[h]:
                gone[h] = True
                stack.append(h)
    core = [g for g, out in enumerate(gone) if not out]
    core.sort(key=lambda g: -len(neighbours[g]))
    return core, core + taken[::-1]


def _greedy(
    cost: np.ndarray, neighbours: list[np.ndarray], order: Any, start: np.ndarray | None = None
) -> np.ndarray | None:
    """Give each group the cheapest cluster that no neighbour has; None if a group finds none."""
    labels = np.full(len(cost), -1, dtype=np.int32) if start is None else start.copy()
    for g in order:
        price = cost[g]
        if len(neighbours[g]):
            used = labels[neighbours[g]]
            price = price.copy()
            price[used[used >= 0]] = np.inf
        labels[g] = best = int(price.argmin())
        if price[best] == np.inf:
            return None
    return labels


def _colour_core(
    core: list[int], neighbours: list[np.ndarray], k: int, rows: list[int], owner: str
) -> dict[int, int]:
    """A proper colouring of the core by exact search, most constrained group first."""
    inside = set(core)
    near = {g: [int(h) for h in neighbours[g] if int(h) in inside] for g in core}
    clique = _clique(near)
    if len(clique) > k:
        shown = ", ".join(str(rows[g]) for g in clique[: k + 1])
        raise Unsatisfiable(
            f"{owner}: cannot_link must be satisfiable with n_clusters={k}, got rows {shown} that "
            f"all exclude one another (raise n_clusters to at least {len(clique)} or drop one of "
            f"these pairs)"
        )
    colour: dict[int, int] = {}
    banned = {g: [0] * k for g in core}  # how many neighbours have each colour
    steps = 0

    def place(g: int, c: int, change: int) -> None:
        for h in near[g]:
            banned[h][c] += change

    def options(g: int, used: int) -> list[int]:
        # Unused colours are interchangeable: try one of them.
        return [c for c in range(min(used + 1, k)) if not banned[g][c]]

    def next_group() -> int | None:
        left = [g for g in core if g not in colour]
        if not left:
            return None
        return max(left, key=lambda g: (sum(b > 0 for b in banned[g]), len(near[g])))

    first = next_group()
    if first is None:
        return colour
    stack = [(first, options(first, 0), 0)]
    while stack:
        steps += 1
        if steps > _SEARCH_STEPS:
            raise Unsatisfiable(
                f"{owner}: cannot_link must be satisfiable with n_clusters={k}, got no labelling "
                f"in {_ORDERS} orders and {_SEARCH_STEPS} steps of search, which is no proof "
                f"(raise n_clusters, drop pairs around row {rows[core[0]]}, or try another "
                f"random_state)"
            )
        g, left, used = stack[-1]
        if g in colour:
            place(g, colour.pop(g), -1)
        if not left:
            stack.pop()
            continue
        c = left.pop(0)
        colour[g] = c
        place(g, c, 1)
        following = next_group()
        if following is None:
            return colour
        now = max(used, c + 1)
        stack.append((following, options(following, now), now))
    raise Unsatisfiable(
        f"{owner}: cannot_link must be satisfiable with n_clusters={k}, got pairs among "
        f"{len(core)} groups around row {rows[core[0]]} that no labelling satisfies, by exhaustive "
        f"search (raise n_clusters or drop some of these pairs)"
    )


def _clique(near: dict[int, list[int]]) -> list[int]:
    """A large clique, grown greedily from each node."""
    best: list[int] = []
    sets = {g: set(others) for g, others in near.items()}
    for g in sorted(near, key=lambda g: -len(near[g]))[:200]:
        clique, left = [g], set(sets[g])
        while left:
            h = max(left, key=lambda h: (len(sets[h] & left), -h))
            clique.append(h)
            left &= sets[h]
        if len(clique) > len(best):
            best = clique
    return best


def improve(
    labels: np.ndarray, cost: np.ndarray, neighbours: list[np.ndarray], owner: str = ""
) -> np.ndarray:
    """Lower the cost of feasible labels by Kempe chains, until no chain helps.

    Moving a group from cluster a to b forces its neighbours in b to a, theirs in a to b, and so on;
    the whole chain keeps all constraints. Without neighbours in b it is a move of one group.

    Parameters
    ----------
    labels : ndarray of shape (s,), int32
        Labels that satisfy all cannot-links; not modified.

    Returns
    -------
    ndarray of shape (s,), int32
        Labels that satisfy them too, of at most the same cost.

    Warns
    -----
    ConvergenceWarning
        If chains may still help after 100 s of them.

    Notes
    -----
    Each chain lowers the cost in exact arithmetic (`math.fsum` rounds once), so labels never
    return.
    """
    labels = labels.copy()
    s = len(labels)
    left = _CHAINS * s
    changed = True
    while changed:
        changed = False
        # A chain that helps has a member that gains by itself: only those are tried.
        for g, b in np.argwhere(cost < cost[np.arange(s), labels][:, None]):
            a = int(labels[g])
            if not cost[g, b] < cost[g, a]:
                continue
            chain, stack = {int(g)}, [int(g)]
            while stack:
                at = stack.pop()
                other = b if labels[at] == a else a
                for h in neighbours[at]:
                    if labels[h] == other and int(h) not in chain:
                        chain.add(int(h))
                        stack.append(int(h))
            members = np.fromiter(chain, dtype=np.int64)
            moved = np.where(labels[members] == a, b, a)
            change = itertools.chain(cost[members, moved], -cost[members, labels[members]])
            if math.fsum(change) < 0:
                if not left:
                    warn(
                        f"{owner}: Labels that satisfy cannot_link may not be of least cost after "
                        f"{_CHAINS * s} improvements (drop pairs)",
                        ConvergenceWarning,
                    )
                    return labels
                left -= 1
                labels[members] = moved
                changed = True
    return labels
