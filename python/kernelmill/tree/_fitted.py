"""A fitted tree: its arrays under scikit-learn's names, walks down it, and pruning."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from kernelmill._arrays import all_beside, is_sparse, to_host
from kernelmill.ops import tree as ops
from kernelmill.tree._growth import Grown, splits_of_levels

# What an estimator keeps of a tree: nodes as `ops.NODE`, of which leaves name themselves, so that
# rows of `value` are those of nodes; impurity, weight and number of rows; and codes that go left.
KEPT = ("nodes", "stats", "value", "sides")
_ROOT = np.zeros(1, np.int64)


class Tree:
    """A fitted tree, read-only.

    It has what scikit-learn's ``plot_tree``, ``export_text`` and ``export_graphviz`` read. Nodes
    are numbered depth first: the left child of node i is node i + 1.

    Attributes
    ----------
    node_count, n_leaves, max_depth, n_features, n_outputs, max_n_classes : int
        Sizes.
    n_classes : ndarray of shape (n_outputs,)
        Numbers of classes, 1 in regression.
    children_left, children_right : ndarray of shape (node_count,)
        Numbers of the children, -1 for leaves.
    feature : ndarray of shape (node_count,)
        Feature that is compared, -2 for leaves.
    threshold : ndarray of shape (node_count,)
        Rows with a value of at most this go left; NaN for a split of levels, which
        scikit-learn's functions cannot show.
    side : ndarray of shape (node_count,)
        For a split of levels its row of ``sides``, else -1.
    sides : ndarray of shape (n_splits, 256), bool
        Codes of levels that go left: 0 for a missing one, then the levels in their order.
    missing_go_to_left : ndarray of shape (node_count,), uint8
        Whether missing values go left.
    impurity : ndarray of shape (node_count,)
        Impurity of the training rows of the node.
    n_node_samples, weighted_n_node_samples : ndarray of shape (node_count,)
        Number and weight of those rows.
    value : ndarray of shape (node_count, n_outputs, max_n_classes)
        Shares of the classes, or what a leaf predicts.

    Examples
    --------
    >>> from kernelmill.tree import DecisionTreeRegressor
    >>> tree = DecisionTreeRegressor().fit([[0], [1], [2]], [5, 5, 8]).tree_
    >>> tree.node_count, float(tree.threshold[0]), tree.value[:, 0, 0].tolist()
    (3, 1.5, [6.0, 5.0, 8.0])
    """

    def __init__(self, arrays: dict[str, np.ndarray], n_features: int, n_classes: Any) -> None:
        self._nodes, self._stats, self.value, self._sides = (arrays[name] for name in KEPT)
        self._words = self._nodes.view(ops.NODE).reshape(-1)
        self.n_features = n_features
        self.n_classes = np.asarray(n_classes)
        self.n_outputs = len(self.n_classes)
        self.max_n_classes = int(self.n_classes.max())
        self.node_count = self.capacity = len(self._nodes)
        self._values = self.value.reshape(self.node_count, -1)

    @cached_property
    def _leaf(self) -> np.ndarray:
        return self._words["feature"] < 0

    @cached_property
    def _of_levels(self) -> np.ndarray:
        return splits_of_levels(self._words)

    @property
    def n_leaves(self) -> int:
        return int(self._leaf.sum())

    @cached_property
    def children_left(self) -> np.ndarray:
        after = np.arange(1, self.node_count + 1, dtype=np.int32)
        return np.where(self._leaf, np.int32(-1), after)

    @cached_property
    def children_right(self) -> np.ndarray:
        return np.where(self._leaf, np.int32(-1), self._words["right"])

    @cached_property
    def feature(self) -> np.ndarray:
        return np.where(self._leaf, np.int32(-2), self._words["feature"] & (ops.CATEGORY - 1))

    @cached_property
    def threshold(self) -> np.ndarray:
        return np.where(self._of_levels, np.nan, self._words["threshold"])

    @cached_property
    def side(self) -> np.ndarray:
        return np.where(self._of_levels, self._words["threshold"], -1).astype(np.int32)

    @cached_property
    def missing_go_to_left(self) -> np.ndarray:
        marks = self._words["feature"]
        return (~self._leaf & ((marks & ops.MISSING) != 0)).astype(np.uint8)

    @cached_property
    def impurity(self) -> np.ndarray:
        return self._stats[:, 0].copy()

    @cached_property
    def weighted_n_node_samples(self) -> np.ndarray:
        return self._stats[:, 1].copy()

    @cached_property
    def n_node_samples(self) -> np.ndarray:
        return self._stats[:, 2].astype(np.int64)

    @property
    def sides(self) -> np.ndarray:
        return np.unpackbits(self._sides, axis=1, bitorder="little").astype(bool)

    @property
    def max_depth(self) -> int:
        return int(self.compute_node_depths().max()) - 1

    def apply(self, X: Any) -> np.ndarray:
        """Number of the leaf of each row."""
        X = X.toarray() if is_sparse(X) else X
        own = all_beside((self._nodes, _ROOT, self._sides), X)
        return ops.apply(X, *own)[:, 0].astype(np.int64)

    def predict(self, X: Any) -> np.ndarray:
        """Values of the leaves, (n, n_outputs, max_n_classes) without axes of size 1."""
        X = X.toarray() if is_sparse(X) else X
        sums = ops.predict(X, *all_beside((self._nodes, _ROOT, self._sides, self._values), X))
        out = sums.reshape(len(X), self.n_outputs, self.max_n_classes)
        return out[:, 0] if self.n_outputs == 1 else out

    def decision_path(self, X: Any) -> scipy.sparse.csr_matrix:
        """The nodes that each row passes, as a matrix of ones."""
        leaves = to_host(self.apply(X))
        parent = np.full(self.node_count, -1, np.int64)
        inner = np.flatnonzero(self.children_left >= 0)
        parent[self.children_left[inner]] = parent[self.children_right[inner]] = inner
        depth = self.compute_node_depths()[leaves]
        ends = np.cumsum(depth)
        columns = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
        at, to = leaves.copy(), ends - 1
        alive = np.arange(len(leaves))
        while len(alive):  # from the leaves up, all rows at once
            columns[to[alive]] = at[alive]
            to[alive] -= 1
            at[alive] = parent[at[alive]]
            alive = alive[at[alive] >= 0]
        begins = np.concatenate([[0], ends])
        data = np.ones(len(columns), np.int64)
        shape = len(leaves), self.node_count
        return scipy.sparse.csr_matrix((data, columns, begins), shape=shape)

    def compute_node_depths(self) -> np.ndarray:
        """Depth of each node, 1 for the root."""
        depth = np.ones(self.node_count, np.int64)
        level = np.zeros(1, np.int64)
        while len(level):
            level = level[self.children_left[level] >= 0]
            children = np.concatenate([self.children_left[level], self.children_right[level]])
            depth[children] = np.tile(depth[level] + 1, 2)
            level = children
        return depth

    def compute_feature_importances(self, normalize: bool = True) -> np.ndarray:
        """Decrease of weighted impurity by each feature; shares of their sum with ``normalize``."""
        inner = self.children_left >= 0
        own = self.weighted_n_node_samples * self.impurity
        left, right = self.children_left[inner], self.children_right[inner]
        gain = np.maximum(own[inner] - own[left] - own[right], 0.0)
        sums = np.bincount(self.feature[inner], gain, minlength=self.n_features)
        sums = sums / self.weighted_n_node_samples[0]
        total = sums.sum()
        return sums / total if normalize and total > 0 else sums

    def compute_partial_dependence(
        self, grid: np.ndarray, features: np.ndarray, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Mean prediction where some features are given, by weight of training rows: (1, n_grid).

        It is added to `out`, of shape (n_grid,), where that is given.
        """
        found = dependence(
            self._nodes, self._sides, self.weighted_n_node_samples, self.value[:, 0, 0], grid,
            features
        )  # fmt: skip
        if out is not None:
            out += found
        return found[None]

    def __repr__(self) -> str:
        return f"<Tree of {self.node_count} nodes, {self.n_leaves} leaves>"


def dependence(
    nodes: np.ndarray, sides: np.ndarray, mass: np.ndarray, value: np.ndarray, grid: np.ndarray,
    features: Iterable[int]
) -> np.ndarray:  # fmt: skip
    """Mean of a tree's leaves over the features that are not given, by weight of training rows.

    Friedman (2001), "Greedy function approximation: a gradient boosting machine", section 8.2.

    Parameters
    ----------
    nodes, sides : ndarray
        As `kernelmill.ops.tree.predict` takes those of one tree.
    mass, value : ndarray of shape (v,), float64
        Weight of the training rows of each node, and its value.
    grid : ndarray of shape (n_grid, m)
        Values of the given features; codes of levels.
    features : sequence of m int
        Their columns.

    Returns
    -------
    means : ndarray of shape (n_grid,), float64
    """
    own = nodes.view(ops.NODE).reshape(-1)
    inner = own["feature"] >= 0
    levels = splits_of_levels(own)
    split = own["feature"] & (ops.CATEGORY - 1)
    column = {int(f): j for j, f in enumerate(features)}
    bits = np.unpackbits(sides, axis=1, bitorder="little").astype(bool)
    weight = np.zeros((len(own), len(grid)))
    weight[0] = 1.0
    for node in np.flatnonzero(inner):
        left, right = node + 1, own["right"][node]
        j = column.get(int(split[node]))
        if j is None:
            share: Any = mass[left] / mass[node] if mass[node] else 0.5
        elif levels[node]:
            codes = grid[:, j].astype(np.int64)
            share = bits[int(own["threshold"][node])][np.where(codes < 256, codes, 0)]
        else:
            share = grid[:, j] <= own["threshold"][node]
        weight[left], weight[right] = weight[node] * share, weight[node] * (1 - share)
    return value[~inner] @ weight[~inner]


def arrays_of(grown: Grown, n_classes: np.ndarray, classification: bool) -> dict[str, np.ndarray]:
    """What a fitted estimator keeps of a tree, whose arrays it takes over."""
    words = grown.nodes.view(ops.NODE).reshape(-1)
    leaf = np.flatnonzero(words["feature"] < 0)
    words["right"][leaf] = leaf
    value = grown.value
    own = value if value.shape[1] == len(n_classes) * int(n_classes.max()) else None
    value = shaped(value, n_classes, classification, own)
    return dict(zip(KEPT, (grown.nodes, grown.stats, value, grown.sides), strict=True))


def shaped(
    value: np.ndarray, n_classes: np.ndarray, classification: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """Values of nodes as (v, n_outputs, max_n_classes): shares of classes, or predictions.

    They are written to ``out`` of shape (v, n_outputs * max_n_classes) if it is given.
    """
    shape = len(value), len(n_classes), int(n_classes.max())
    to = np.empty(shape) if out is None else out.reshape(shape)
    if not classification:
        to[:, :, 0] = value
        return to
    first = 0
    for k, c in enumerate(n_classes):
        own = value[:, first : first + c]
        np.divide(own, own.sum(axis=1, keepdims=True), out=to[:, k, :c])
        to[:, k, c:] = 0.0
        first += c
    return to


def pruning_path(tree: Tree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimal cost-complexity pruning: the weakest links, one after another.

    Returns
    -------
    alphas, impurities : ndarray of shape (steps + 1,)
        Effective alphas, rising from 0, and total impurity of the leaves at each.
    removed_at : ndarray of shape (node_count,)
        The alpha at which a node becomes a leaf or is gone; inf for leaves of the whole tree.

    Notes
    -----
    ``g(t) = (R(t) - R(T_t)) / (leaves below t - 1)`` with R the weighted impurity as a share of the
    weight of all rows; the lowest g goes first. O(v log v).
    """
    left, right = tree.children_left, tree.children_right
    mass = tree.weighted_n_node_samples
    risk = tree.impurity * mass / mass[0]
    v = len(left)
    parent = np.full(v, -1)
    below, leaves = risk.copy(), np.ones(v, np.int64)
    inner = np.flatnonzero(left >= 0)
    parent[left[inner]] = parent[right[inner]] = inner
    for node in inner[::-1]:  # children have larger numbers
        below[node] = below[left[node]] + below[right[node]]
        leaves[node] = leaves[left[node]] + leaves[right[node]]
    removed_at = np.full(v, np.inf)

    def link(node: int) -> tuple[float, int, int]:
        return float((risk[node] - below[node]) / (leaves[node] - 1)), node, int(leaves[node])

    heap = [link(int(node)) for node in inner]
    heapq.heapify(heap)
    alphas, impurities = [0.0], [float(below[0])]
    while heap:
        alpha, node, count = heapq.heappop(heap)
        if removed_at[node] < np.inf or count != leaves[node]:
            continue  # gone, or an older entry of it
        alpha = max(alpha, alphas[-1])  # equal links, rounded
        lost, gained = leaves[node] - 1, risk[node] - below[node]
        stack = [node]
        while stack:
            at = stack.pop()
            if left[at] >= 0 and removed_at[at] == np.inf:
                removed_at[at] = alpha
                stack += [int(left[at]), int(right[at])]
        at = node
        while at >= 0:
            leaves[at] -= lost
            below[at] += gained
            if at != node:
                heapq.heappush(heap, link(at))
            at = int(parent[at])
        alphas.append(alpha)
        impurities.append(float(below[0]))
    return np.array(alphas), np.array(impurities), removed_at


def pruned(tree: Tree, alpha: float) -> dict[str, np.ndarray]:
    """The arrays of the smallest subtree whose weakest link is stronger than alpha."""
    removed_at = pruning_path(tree)[2]
    left, right = tree.children_left, tree.children_right
    splits = (left >= 0) & (removed_at > alpha)
    kept = np.zeros(len(left), bool)
    kept[0] = True
    for node in np.flatnonzero(left >= 0):  # parents come first
        if kept[node] and splits[node]:
            kept[left[node]] = kept[right[node]] = True
    number = np.cumsum(kept) - 1
    leaf = ~splits[kept]
    words = tree._words[kept]
    words["right"] = np.where(leaf, np.arange(len(leaf)), number[right[kept]])
    words["feature"][leaf], words["threshold"][leaf] = -1, -2.0
    used = splits_of_levels(words)
    sides = tree._sides[words["threshold"][used].astype(np.int64)]
    words["threshold"][used] = np.arange(len(sides))
    nodes = words.view(np.int64).reshape(-1, 2)
    own = nodes, tree._stats[kept], tree.value[kept], sides
    return dict(zip(KEPT, own, strict=True))
