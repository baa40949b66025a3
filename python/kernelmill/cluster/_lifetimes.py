"""Which parts of a hierarchy are clusters: how long they last, and which are chosen.

A cluster is born at the density (1 / height) at which its parent parts into several of enough rows.
Rows leave it when they part from it in smaller numbers, or with its last split. Merges at one
height are one event, as mutual reachability makes many equal distances: so what comes out does not
depend on the order of equal ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Lifetimes(NamedTuple):
    """Clusters of a hierarchy; number 0 is the root.

    Attributes
    ----------
    parent : list of int
        -1 for the root.
    birth : list of float
        Density at which a cluster appears.
    size : list of int
        Rows at birth.
    cluster : ndarray of shape (n,), int64
        The smallest cluster that a row is ever in.
    leave : ndarray of shape (n,), float64
        Density at which it leaves that.
    """

    parent: list
    birth: list
    size: list
    cluster: np.ndarray
    leave: np.ndarray

    def children(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.parent]
        for c, up in enumerate(self.parent[1:], 1):
            found[up].append(c)
        return found

    def stability(self) -> np.ndarray:
        """Sum over rows of the densities over which they stay."""
        birth, size = np.array(self.birth), np.array(self.size, float)
        sums = np.zeros(len(birth))
        np.add.at(sums, self.cluster, self.leave - birth[self.cluster])
        for c, up in enumerate(self.parent[1:], 1):
            sums[up] += size[c] * (birth[c] - birth[up])
        return sums


def lifetimes(
    children: np.ndarray, heights: np.ndarray, sizes: np.ndarray, least: int
) -> Lifetimes:
    """Clusters of at least `least` rows. Rows at height 0 of each other are never parted."""
    n = len(heights) + 1
    # Lists: a number of an array is a new object each time that it is read.
    size_of, pairs, levels = [1] * n + sizes.tolist(), children.tolist(), heights.tolist()
    order, begin = _leaves_in_order(pairs, size_of, n)
    parent, birth, size = [-1], [0.0], [n]
    gone: list[tuple[int, int, float]] = []  # nodes that leave a cluster, and at which density
    stack = [(2 * n - 2, 0)]
    while stack:
        node, own = stack.pop()
        height = levels[node - n] if node >= n else 0.0
        if node < n or height == 0:
            gone.append((node, own, np.inf))
            continue
        density = 1 / height
        parts, open_nodes = [], [node]
        while open_nodes:  # what is left below this height: merges at it have no order
            inner = open_nodes.pop()
            if inner >= n and levels[inner - n] == height:
                open_nodes += pairs[inner - n]
            else:
                parts.append(inner)
        large = [child for child in parts if size_of[child] >= least]
        for child in parts:
            if size_of[child] < least:
                gone.append((child, own, density))
        for child in large:
            if len(large) > 1:
                parent.append(own)
                birth.append(density)
                size.append(size_of[child])
            stack.append((child, len(parent) - 1 if len(large) > 1 else own))
    gone.sort(key=lambda left: begin[left[0]])
    counts = [size_of[node] for node, _, _ in gone]
    cluster, leave = np.zeros(n, np.int64), np.zeros(n)
    cluster[order] = np.repeat([own for _, own, _ in gone], counts)
    leave[order] = np.repeat([density for _, _, density in gone], counts)
    return Lifetimes(parent, birth, size, cluster, leave)


def _leaves_in_order(pairs: list, size_of: list, n: int) -> tuple[np.ndarray, list]:
    """Rows such that those of each node are side by side, and where those of a node begin."""
    begin = [0] * (2 * n - 1)
    for i in range(n - 2, -1, -1):
        a, b = pairs[i]
        begin[a] = begin[n + i]
        begin[b] = begin[n + i] + size_of[a]
    order = np.empty(n, np.int64)
    order[begin[:n]] = np.arange(n)
    return order, begin


def selected(
    tree: Lifetimes, method: str, most: int | None, epsilon: float, single: bool
) -> list[int]:
    """The clusters that are chosen, none of them within another."""
    within = tree.children()
    if method == "leaf":
        chosen = [c for c, inner in enumerate(within) if not inner]
    else:
        best = tree.stability()
        chosen_of: list[list[int]] = [[] for _ in within]
        for c in range(len(within) - 1, -1, -1):
            inner = sum(best[i] for i in within[c])
            large = most is not None and tree.size[c] > most
            if c == 0 and not single:
                large = True
            if inner > best[c] or large:
                best[c] = inner
                chosen_of[c] = [leaf for i in within[c] for leaf in chosen_of[i]]
            else:
                chosen_of[c] = [c]
        chosen = chosen_of[0]
    if not single:
        chosen = [c for c in chosen if c > 0]
    if epsilon > 0 and chosen != [0]:
        chosen = _merged(tree, chosen, epsilon, single)
    return sorted(chosen)


def _merged(tree: Lifetimes, chosen: list[int], epsilon: float, single: bool) -> list[int]:
    """Clusters born below the radius are replaced by the first one above them that is not."""
    found: set[int] = set()
    for c in chosen:
        while c > 0 and tree.birth[c] * epsilon > 1:
            up = tree.parent[c]
            if up == 0 and not single:
                break
            c = up
        found.add(c)

    def outer(c: int) -> bool:
        while tree.parent[c] >= 0:
            c = tree.parent[c]
            if c in found:
                return False
        return True

    return [c for c in found if outer(c)]


def numbered(clusters: np.ndarray) -> np.ndarray:
    """Clusters of rows under the numbers 0, 1, ..., by their first row."""
    _, first, place = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place.reshape(-1)]


def members(
    tree: Lifetimes, chosen: list[int], n: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, numbered by their first row, and how long rows stay, by the longest."""
    owner = np.full(len(tree.parent), -1)
    for c in chosen:
        owner[c] = c
    for c, up in enumerate(tree.parent[1:], 1):  # parents come before their children
        if owner[c] < 0:
            owner[c] = owner[up]
    own = owner[tree.cluster]
    leave = tree.leave
    if chosen == [0]:  # all rows are in the root: noise is what leaves it early
        inner = [tree.birth[c] for c, up in enumerate(tree.parent) if up == 0]
        at_root = tree.cluster == 0
        out = np.where(at_root, leave, inner[0] if inner else 0.0)
        last = max([*inner, *out[at_root]])
        own = np.where(out >= (1 / epsilon if epsilon > 0 else last), own, -1)
    labels, chance = np.full(n, -1), np.zeros(n)
    there = own >= 0
    if not there.any():
        return labels, chance
    labels[there] = numbered(own[there])
    # A cluster lasts until its last row leaves it, or it parts into two; what is within stays on.
    direct = tree.cluster == own
    last = np.zeros(len(tree.parent))
    np.maximum.at(last, own[direct & there], leave[direct & there])
    for c, up in enumerate(tree.parent[1:], 1):
        last[up] = max(last[up], tree.birth[c])
    longest = last[own[there]]
    stay = np.minimum(leave[there], longest)
    with np.errstate(invalid="ignore"):
        chance[there] = np.where(stay >= longest, 1.0, stay / longest)
    return labels, chance
