"""Growth of trees over the ops of `kernelmill.ops.tree`: which nodes to split, and in what order.

A `Field` holds the rows of a tree in the order of positions. All open nodes of a level are
measured, searched and split together; with a limit on leaves the node with the largest gain goes
first, one at a time. The tree is renumbered depth first at the end, so that a left child stands
next to its parent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelmill.ops import tree as ops

# Gains and limits are sums of rounded numbers: a decrease of exactly the limit counts.
_SLACK = 1 - 2.0**-40


@dataclass
class Limits:
    """When a node is a leaf, and how it is split.

    Attributes
    ----------
    criterion, alpha : int, float
        Index into `ops.CRITERIA`, and the level of a quantile.
    unit : float
        Factor of impurities: the absolute error is twice the pinball loss.
    classes : ndarray of shape (n_outputs,) or (0,), int64
        Numbers of classes.
    max_depth, max_leaf_nodes : int or None
    min_samples_split, min_samples_leaf : int
    min_weight_leaf, min_impurity_decrease : float
        Absolute weight; decrease of weighted impurity as a share of the weight of all rows.
    max_features : int
    random : bool
        One threshold drawn per feature instead of all.
    monotonic : ndarray of shape (d,), int32, or None
    seed : int
    """

    criterion: int
    classes: np.ndarray
    max_features: int
    alpha: float = 0.5
    unit: float = 1.0
    max_depth: int | None = None
    max_leaf_nodes: int | None = None
    min_samples_split: int = 2
    min_samples_leaf: int = 1
    min_weight_leaf: float = 0.0
    min_impurity_decrease: float = 0.0
    random: bool = False
    monotonic: np.ndarray | None = None
    seed: int = 0

    @property
    def rule(self) -> np.ndarray:
        least = float(self.min_samples_leaf)
        return np.array([self.criterion, self.alpha, least, self.min_weight_leaf])


@dataclass
class Field:
    """Rows in the order of positions; `ops.partition` moves them.

    Attributes
    ----------
    X : ndarray of shape (n_rows, d)
    order : ndarray of shape (d, n), int32
    rows : ndarray of shape (n,), int32
    y : ndarray of shape (n, n_outputs), float64
    weight : ndarray of shape (n,) or (0,), float64
    """

    X: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Field:
        rows = np.arange(len(X), dtype=np.int32)
        own = np.zeros(0) if weight is None else np.array(weight, np.float64)
        targets = np.array(y, np.float64).reshape(len(X), -1)
        return cls(X, ops.sort_columns(X), rows, targets, own)

    def values(self, spans: np.ndarray, feature: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Values of entry `at` of each span, in float64."""
        rows = self.rows[ops.position(self.order[feature, spans[:, 0] + at])]
        return self.X[rows, feature].astype(np.float64)


@dataclass
class Grown:
    """A tree: arrays with one entry per node, depth first, and what leaves predict.

    Attributes
    ----------
    left, right : ndarray of shape (v,), int32
        Numbers of the children, -1 for leaves.
    feature : ndarray of shape (v,), int32
        -2 for leaves, as in scikit-learn.
    threshold : ndarray of shape (v,), float64
    missing_left : ndarray of shape (v,), bool
    impurity, mass : ndarray of shape (v,), float64
        Impurity and sum of weights.
    count : ndarray of shape (v,), int64
        Number of rows.
    value : ndarray of shape (v, width), float64
        What `ops.measure` gave.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    impurity: np.ndarray
    mass: np.ndarray
    count: np.ndarray
    value: np.ndarray


@dataclass
class _Nodes:
    """Open nodes that are measured and whose best split is known."""

    number: np.ndarray
    spans: np.ndarray
    depth: np.ndarray
    bounds: np.ndarray | None
    feature: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    cut: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    missing_left: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    gain: np.ndarray = field(default_factory=lambda: np.zeros(0))
    threshold: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def part(self, chosen: Any) -> _Nodes:
        filled = {k: v for k, v in vars(self).items() if v is not None and len(v)}
        return _Nodes(**(vars(self) | {k: v[chosen] for k, v in filled.items()}))


class Growth:
    """One tree that grows over a field."""

    def __init__(self, field: Field, limits: Limits) -> None:
        self.field, self.limits = field, limits
        classes = limits.classes
        self._width = int(classes.sum()) if len(classes) else field.y.shape[1]
        self._rule = limits.rule
        self._total = float(field.weight.sum()) if len(field.weight) else float(len(field.rows))
        self._parts: list[tuple[np.ndarray, ...]] = []  # of each batch of nodes measured
        self._splits: list[tuple[np.ndarray, ...]] = []  # of each batch of nodes split
        self._nodes = 0

    def grow(self) -> Grown:
        """All of it."""
        root = np.array([[0, len(self.field.rows)]])
        bounds = None
        if self.limits.monotonic is not None:
            bounds = np.array([[-np.inf, np.inf]])
        nodes = self._open(root, np.zeros(1, np.int64), bounds)
        if self.limits.max_leaf_nodes is not None:
            self._best_first(nodes, self.limits.max_leaf_nodes)
        else:
            while len(nodes.number):
                nodes = self._split(nodes)
        return self._finished()

    def _best_first(self, nodes: _Nodes, most: int) -> None:
        heap: list[tuple[float, int, _Nodes]] = []
        leaves, serial = 1, 0
        while True:
            for i in range(len(nodes.number)):
                own = nodes.part(slice(i, i + 1))
                heapq.heappush(heap, (-float(own.gain[0]), serial, own))
                serial += 1
            if not heap or leaves >= most:
                return
            leaves += 1
            nodes = self._split(heapq.heappop(heap)[2])

    def _open(self, spans: np.ndarray, depth: np.ndarray, bounds: np.ndarray | None) -> _Nodes:
        """Measure nodes; those that may be split, with their best split."""
        f, limits = self.field, self.limits
        value, impurity, mass, pure = ops.measure(
            f.y, f.weight, spans, limits.classes, self._rule, self._width
        )
        if bounds is not None:
            value = _clipped(value, mass, limits.classes, bounds)
        number = np.arange(self._nodes, self._nodes + len(spans))
        self._nodes += len(spans)
        count = spans[:, 1] - spans[:, 0]
        self._parts.append((impurity * limits.unit, mass, count, value, depth))
        may = ~pure & (count >= max(limits.min_samples_split, 2 * limits.min_samples_leaf))
        if limits.min_weight_leaf > 0:
            may &= mass >= 2 * limits.min_weight_leaf * _SLACK
        if limits.max_depth is not None:
            may &= depth < limits.max_depth
        nodes = _Nodes(number, spans, depth, bounds).part(may)
        if not len(nodes.number):
            return nodes
        return self._searched(nodes, value[may], (impurity * mass)[may])

    def _searched(self, nodes: _Nodes, value: np.ndarray, total: np.ndarray) -> _Nodes:
        f, limits = self.field, self.limits
        allowed = cuts = thresholds = None
        if limits.max_features < len(f.order):
            allowed = ops.draw(
                f.order, nodes.spans, nodes.number, limits.max_features, limits.seed
            )
        if limits.random:
            cuts, thresholds = ops.random_cuts(
                f.X, f.rows, f.order, nodes.spans, nodes.number, allowed, limits.seed
            )
        nodes.feature, nodes.cut, nodes.missing_left, nodes.gain = ops.split(
            f.order, f.y, f.weight, nodes.spans, value, total, limits.classes, self._rule, allowed,
            cuts, limits.monotonic, nodes.bounds,
        )  # fmt: skip
        least = limits.min_impurity_decrease * self._total * _SLACK
        good = nodes.feature >= 0
        if least > 0:
            good &= nodes.gain * limits.unit >= least
        found = nodes.part(good)
        if thresholds is not None:
            found.threshold = thresholds[good, found.feature]
        else:
            found.threshold = self._midpoints(found)
        return found

    def _midpoints(self, nodes: _Nodes) -> np.ndarray:
        """Between the last value on the left and the first on the right; inf before the missing."""
        low = self.field.values(nodes.spans, nodes.feature, nodes.cut - 1)
        high = self.field.values(nodes.spans, nodes.feature, nodes.cut)
        middle = low / 2 + high / 2  # the sum may overflow
        middle = np.where((low <= middle) & (middle < high), middle, low)
        return np.where(np.isnan(high), np.inf, middle)

    def _split(self, nodes: _Nodes) -> _Nodes:
        """Split nodes and open their children."""
        f = self.field
        middle = ops.partition(
            f.order, f.rows, f.y, f.weight, nodes.spans, nodes.feature, nodes.cut,
            nodes.missing_left,
        )  # fmt: skip
        left = self._nodes + 2 * np.arange(len(nodes.number))
        self._splits.append(
            (nodes.number, left, nodes.feature, nodes.threshold, nodes.missing_left)
        )
        ends = nodes.spans[:, 0], middle, middle, nodes.spans[:, 1]
        spans = np.stack(ends, axis=1).reshape(-1, 2)
        depth = np.repeat(nodes.depth + 1, 2)
        signs = self.limits.monotonic
        bounds = None
        if nodes.bounds is not None and signs is not None:
            bounds = self._child_bounds(nodes.bounds, signs[nodes.feature], spans)
        return self._open(spans, depth, bounds)

    def _child_bounds(self, own: np.ndarray, sign: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """Children of a constrained feature keep to either side of the middle of their values."""
        f, limits = self.field, self.limits
        value, _, mass, _ = ops.measure(
            f.y, f.weight, spans, limits.classes, self._rule, self._width
        )
        level = _level(value, mass, limits.classes).reshape(-1, 2)
        low, high = own[:, 0], own[:, 1]
        middle = np.clip(level.mean(axis=1), low, high)
        left = np.stack([np.where(sign < 0, middle, low), np.where(sign > 0, middle, high)], 1)
        right = np.stack([np.where(sign > 0, middle, low), np.where(sign < 0, middle, high)], 1)
        return np.stack([left, right], axis=1).reshape(-1, 2)

    def _finished(self) -> Grown:
        impurity, mass, count, value, depth = map(np.concatenate, zip(*self._parts, strict=True))
        v = len(depth)
        left = np.full(v, -1, np.int64)
        feature, threshold = np.full(v, -2, np.int32), np.full(v, -2.0)
        missing_left = np.zeros(v, bool)
        for number, child, own, at, side in self._splits:
            left[number], feature[number], threshold[number] = child, own, at
            missing_left[number] = side
        place = _depth_first(left, depth)
        back = np.empty(v, np.int64)
        back[place] = np.arange(v)
        moved = left[back]
        inner = moved >= 0
        children = np.full((2, v), -1, np.int32)
        children[0, inner] = place[moved[inner]]
        children[1, inner] = place[moved[inner] + 1]
        return Grown(
            children[0], children[1], feature[back], threshold[back], missing_left[back],
            impurity[back], mass[back], count[back], value[back],
        )  # fmt: skip


def _level(value: np.ndarray, mass: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """What a monotonic constraint compares: the value, or the share of the second class."""
    return value[:, 1] / mass if len(classes) else value[:, 0]


def _clipped(
    value: np.ndarray, mass: np.ndarray, classes: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Values within their bounds."""
    level = np.clip(_level(value, mass, classes), bounds[:, 0], bounds[:, 1])
    if len(classes):
        return np.stack([mass * (1 - level), mass * level], axis=1)
    return level[:, None]


def _depth_first(left: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The number of each node when a tree is walked depth first, left before right."""
    by_depth = np.argsort(depth, kind="stable")
    ends = np.cumsum(np.bincount(depth))
    levels = np.split(by_depth, ends[:-1])
    size = np.ones(len(left), np.int64)
    inner = [level[left[level] >= 0] for level in levels]
    for own in reversed(inner):
        size[own] += size[left[own]] + size[left[own] + 1]
    place = np.zeros(len(left), np.int64)
    for own in inner:
        place[left[own]] = place[own] + 1
        place[left[own] + 1] = place[own] + 1 + size[left[own]]
    return place
