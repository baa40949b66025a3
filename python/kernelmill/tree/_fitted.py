"""A fitted tree: its arrays under scikit-learn's names, walks down it, and pruning."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import scipy.sparse

from kernelmill._arrays import all_beside, is_sparse, to_host
from kernelmill.ops import tree as ops
from kernelmill.tree._growth import Grown, splits_of_levels

ARRAYS = (
    "children_left", "children_right", "feature", "threshold", "missing_go_to_left", "impurity",
    "n_node_samples", "weighted_n_node_samples", "value", "side",
)  # fmt: skip
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

    children_left: np.ndarray
    children_right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_go_to_left: np.ndarray
    impurity: np.ndarray
    n_node_samples: np.ndarray
    weighted_n_node_samples: np.ndarray
    value: np.ndarray
    side: np.ndarray

    def __init__(self, arrays: dict[str, np.ndarray], n_features: int, n_classes: Any) -> None:
        for name in ARRAYS:
            setattr(self, name, arrays[name])
        self.n_features = n_features
        self.n_classes = np.asarray(n_classes)
        self.n_outputs = len(self.n_classes)
        self.max_n_classes = int(self.n_classes.max())
        self.node_count = self.capacity = len(self.feature)
        self.n_leaves = int((self.children_left < 0).sum())
        self._nodes, self._values = arrays["nodes"], arrays["leaf_values"]
        self._sides = arrays["sides"]

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

    def compute_partial_dependence(self, grid: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Mean prediction where some features are given, by weight of training rows: (1, n_grid).

        Friedman (2001), "Greedy function approximation: a gradient boosting machine", section 8.2.
        """
        weight = np.zeros((self.node_count, len(grid)))
        weight[0] = 1.0
        column = {int(f): j for j, f in enumerate(features)}
        for node in np.flatnonzero(self.children_left >= 0):
            left, right = self.children_left[node], self.children_right[node]
            j = column.get(int(self.feature[node]))
            if j is None:
                mass = self.weighted_n_node_samples
                share: Any = mass[left] / mass[node]
            elif self.side[node] >= 0:
                codes = grid[:, j].astype(np.int64)
                share = self.sides[self.side[node]][np.where(codes < 256, codes, 0)]
            else:
                share = grid[:, j] <= self.threshold[node]
            weight[left], weight[right] = weight[node] * share, weight[node] * (1 - share)
        leaf = self.children_left < 0
        return self.value[leaf, 0, 0][None, :] @ weight[leaf]

    def __repr__(self) -> str:
        return f"<Tree of {self.node_count} nodes, {self.n_leaves} leaves>"


def arrays_of(grown: Grown, n_classes: np.ndarray, classification: bool) -> dict[str, np.ndarray]:
    """What a fitted estimator keeps of a tree."""
    nodes = grown.nodes.view(ops.NODE).reshape(-1)
    leaf = nodes["feature"] < 0
    feature = np.where(leaf, -2, nodes["feature"] & (ops.CATEGORY - 1)).astype(np.int32)
    missing = ~leaf & ((nodes["feature"] & ops.MISSING) != 0)
    levels = splits_of_levels(nodes)
    side = np.where(levels, nodes["threshold"], -1).astype(np.int32)
    left = np.where(leaf, -1, np.arange(1, len(leaf) + 1)).astype(np.int32)
    right = np.where(leaf, -1, nodes["right"]).astype(np.int32)
    impurity, mass, count = (column.copy() for column in grown.stats.T)
    value = shaped(grown.value, n_classes, classification)
    values = (
        left, right, feature, np.where(levels, np.nan, nodes["threshold"]),
        missing.astype(np.uint8), impurity, count.astype(np.int64), mass, value, side,
    )  # fmt: skip
    arrays = dict(zip(ARRAYS, values, strict=True))
    own = np.ascontiguousarray(value[leaf].reshape(int(leaf.sum()), -1))
    return arrays | {"nodes": grown.nodes.copy(), "leaf_values": own, "sides": grown.sides.copy()}


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


def walkable(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with what `ops.apply` and `ops.predict` walk: 16 bytes a node."""
    leaf, side = arrays["children_left"] < 0, arrays["side"]
    nodes = np.zeros(len(leaf), ops.NODE)
    nodes["threshold"] = np.where(side >= 0, side, arrays["threshold"])
    nodes["right"] = np.where(leaf, np.cumsum(leaf) - 1, arrays["children_right"])
    marks = arrays["missing_go_to_left"].astype(np.int32) * ops.MISSING
    marks |= (side >= 0).astype(np.int32) * ops.CATEGORY
    nodes["feature"] = np.where(leaf, -1, arrays["feature"] | marks)
    values = np.ascontiguousarray(arrays["value"][leaf].reshape(int(leaf.sum()), -1))
    return arrays | {"nodes": nodes.view(np.int64).reshape(-1, 2), "leaf_values": values}


def pruning_path(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimal cost-complexity pruning: the weakest links, one after another.

    Parameters
    ----------
    arrays : dict
        Of a tree.

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
    left, right = arrays["children_left"], arrays["children_right"]
    mass = arrays["weighted_n_node_samples"]
    risk = arrays["impurity"] * mass / mass[0]
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


def pruned(arrays: dict[str, np.ndarray], alpha: float) -> dict[str, np.ndarray]:
    """The arrays of the smallest subtree whose weakest link is stronger than alpha."""
    removed_at = pruning_path(arrays)[2]
    left, right = arrays["children_left"], arrays["children_right"]
    splits = (left >= 0) & (removed_at > alpha)
    kept = np.zeros(len(left), bool)
    kept[0] = True
    for node in np.flatnonzero(left >= 0):  # parents come first
        if kept[node] and splits[node]:
            kept[left[node]] = kept[right[node]] = True
    number = np.cumsum(kept) - 1
    out = {name: arrays[name][kept] for name in ARRAYS} | {"sides": arrays["sides"]}
    leaf = ~splits[kept]
    out["side"] = np.where(leaf, -1, out["side"]).astype(np.int32)
    out["children_left"] = np.where(leaf, -1, number[left[kept]]).astype(np.int32)
    out["children_right"] = np.where(leaf, -1, number[right[kept]]).astype(np.int32)
    out["feature"] = np.where(leaf, -2, out["feature"]).astype(np.int32)
    out["threshold"] = np.where(leaf, -2.0, out["threshold"])
    out["missing_go_to_left"] = np.where(leaf, 0, out["missing_go_to_left"]).astype(np.uint8)
    return walkable(out)
