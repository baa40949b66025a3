"""Growth of one tree by its definition, for the specification of `tree.grow`."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from .random import philox4x32, uniform
from .tree_criteria import gain_of, keeps, level_of, measure_of
from .tree_walks import CODES, MISSING

EQUAL = 2.0**-40  # gains this close, as a share of a node's impurity, are equal


@dataclass
class Node:
    """A node that grows."""

    rows: np.ndarray
    depth: int
    key: int
    bounds: tuple[float, float]
    value: np.ndarray
    impurity: float
    may: bool
    gain: float = -np.inf
    feature: int = -1
    rank: int = -1
    missing_left: bool = False
    threshold: float = -2.0
    levels: np.ndarray | None = None  # codes that go left
    children: tuple[Node, ...] = ()


class Growing:
    """One tree by its definition."""

    def __init__(self, given: tuple, weight: np.ndarray, seed: int) -> None:
        X, self.ranks, self.y, self.classes, self.rule, self.monotonic, mask = given
        self.X, self.values = X, [np.unique(column[~np.isnan(column)]) for column in X.T]
        self.categorical = np.zeros(len(self.ranks), bool) if mask is None else mask
        self.w, self.seed = weight, seed
        total = weight.sum()
        self.limits = np.array([*self.rule[:3], self.rule[3] * total])
        self.min_gain = self.rule[7] * total * (1 - EQUAL)
        self.once: dict[int, list[np.ndarray]] = {}
        if self.rule[10]:
            rows = np.flatnonzero(weight > 0)
            for f in np.flatnonzero(self.categorical).tolist():
                self.once[f] = self.orders(self.codes(f, rows), rows)

    def open(self, rows: np.ndarray, depth: int, key: int, bounds: tuple[float, float]) -> Node:
        y, w = self.y[rows], self.w[rows]
        value, total = measure_of(y, w, self.classes, self.limits)
        pure = bool((y == y[0]).all())
        _, _, min_leaf, _, min_split, max_depth, *_ = self.rule
        may = not pure and len(rows) >= max(min_split, 2 * min_leaf) and depth < max_depth
        may = may and w.sum() >= 2 * self.limits[3] * (1 - EQUAL)
        impurity = 0.0 if pure else total / w.sum()
        return Node(rows, depth, key, bounds, value, impurity, bool(may))

    def drawn(self, node: Node) -> list[int]:
        """Features to look at, in this order."""
        d, most = len(self.ranks), int(self.rule[8])
        if most > d:
            return list(range(d))
        words = philox4x32(np.arange(-(-d // 4), dtype=np.uint64), self.seed, node.key).ravel()
        features, varies = list(range(d)), False
        for i in range(d):
            if i >= most and varies:
                return features[:i]
            j = i + (int(words[i]) * (d - i) >> 32)
            features[i], features[j] = features[j], features[i]
            own = self.ranks[features[i], node.rows]
            if self.categorical[features[i]]:
                own = self.codes(features[i], node.rows)
            varies = varies or bool((own != own[0]).any())
        return features

    def codes(self, f: int, rows: np.ndarray) -> np.ndarray:
        """Codes of a categorical feature."""
        return np.nan_to_num(self.X[rows, f]).astype(np.int64)

    def orders(self, codes: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        """Levels of a node by what a target is on average: each mean, or each class's share."""
        y, w = self.y[rows], self.w[rows]
        keys = [y[:, k] for k in range(y.shape[1])]
        if len(self.classes):
            keys = [
                (y[:, k] == label) * 1.0
                for k, c in enumerate(self.classes)
                for label in ([1] if c == 2 else range(c))
            ]
        levels = np.unique(codes)
        mass = np.array([w[codes == code].sum() for code in levels])
        out = []
        for key in keys:
            sums = np.array([(w * key)[codes == code].sum() for code in levels])
            out.append(levels[np.argsort(sums / mass, kind="stable")])
        return out

    def number(self, node: Node, f: int, kind: int) -> float:
        """A number of a node and feature in [0, 1)."""
        first = (kind << 33) + 2 * (f // 2)  # item of float64: two to a block
        return float(uniform.specification(self.seed, node.key, first, 2, np.float64)[f % 2])

    def find_levels(self, node: Node, f: int, whole: float, slack: float) -> None:
        """The best split of a categorical feature, if it is better than that of the node."""
        rows = node.rows
        y, w, codes = self.y[rows], self.w[rows], self.codes(f, rows)
        orders = self.once.get(f) or self.orders(codes, rows)
        orders = [order[np.isin(order, codes)] for order in orders]
        if self.rule[9]:
            own = min(len(orders) - 1, int(self.number(node, f, 2) * len(orders)))
            orders = [orders[own]]
        for order in orders:
            cuts = range(len(order) - 1)
            if self.rule[9] and len(order) > 1:
                most = len(order) - 1
                cuts = range(min(most - 1, int(self.number(node, f, 1) * most)), most)[:1]
            for cut in cuts:
                goes = np.isin(codes, order[: cut + 1])
                found = gain_of(y, w, goes, self.classes, self.limits, whole)
                if not found > node.gain + slack:
                    continue
                levels = np.full(CODES, self.larger(w, goes))
                levels[order] = np.arange(len(order)) <= cut
                node.feature, node.rank, node.gain, node.levels = f, cut, found, levels
                node.missing_left = bool(levels[0])

    def larger(self, w: np.ndarray, goes: np.ndarray) -> bool:
        """Whether the left side is larger by more than rounding: in weight, or rows of a bag."""
        w = np.ones(len(w)) if self.rule[11] else w
        return bool(2 * w[goes].sum() > w.sum() * (1 + EQUAL))

    def drawn_cut(self, node: Node, f: int) -> tuple[list[int], float]:
        """The rank below a drawn threshold, and the threshold; none for a constant feature."""
        own = self.ranks[f, node.rows]
        if own.min() == own.max():
            return [], 0.0
        own = own[own != MISSING]
        u = self.number(node, f, 1)
        low, high = (float(self.values[f][r]) for r in (own.min(), own.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            wide = high - low
            t = low + u * wide if np.isfinite(wide) else low / 2 + high / 2
        t = (t if low <= t < high else low) + 0.0  # not -0
        return [int((self.values[f].astype(np.float64) <= t).sum()) - 1], float(t)

    def find(self, node: Node) -> bool:
        """The best split; whether there is one."""
        rows = node.rows
        y, w = self.y[rows], self.w[rows]
        _, whole = measure_of(y, w, self.classes, self.limits)
        slack = EQUAL * node.impurity * w.sum()
        for f in self.drawn(node):
            if self.categorical[f]:
                self.find_levels(node, f, whole, slack)
                continue
            own = self.ranks[f, rows]
            missing = own == MISSING
            present = np.unique(own[~missing])
            gaps, t = bool(missing.any()), 0.0
            cuts = [int(r) for r in (present if gaps else present[:-1])]
            if self.rule[9]:
                cuts, t = self.drawn_cut(node, f)
            for rank in cuts:
                last = rank >= present[-1]
                for left in (False, True) if gaps and not last else (False,):
                    goes = np.where(missing, left, own <= rank)
                    found = gain_of(y, w, goes, self.classes, self.limits, whole)
                    if self.monotonic is not None and self.monotonic[f] and found > -np.inf:
                        sign = int(self.monotonic[f])
                        if not keeps(y, w, goes, self.classes, self.limits, sign, node.bounds):
                            continue
                    if found > node.gain + slack:
                        node.feature, node.rank, node.gain, node.levels = f, rank, found, None
                        node.missing_left = left if gaps else self.larger(w, goes)
                        node.threshold = t if self.rule[9] else self.middle(f, rank, rows)
        return node.feature >= 0 and not (self.min_gain > 0 and node.gain < self.min_gain)

    def middle(self, f: int, rank: int, rows: np.ndarray) -> float:
        own, x = self.ranks[f, rows], self.X[rows, f]
        above = x[(own > rank) & (own != MISSING)]
        if not len(above):
            return np.inf
        low, high = float(x[own <= rank].max()), float(above.min())
        t = low / 2 + high / 2
        return (t if low <= t < high else low) + 0.0  # not -0

    def split(self, node: Node) -> None:
        own = self.ranks[node.feature, node.rows]
        goes = np.where(own == MISSING, node.missing_left, own <= node.rank)
        if node.levels is not None:
            goes = node.levels[self.codes(node.feature, node.rows)]
        sides = node.rows[goes], node.rows[~goes]
        bounds = [node.bounds, node.bounds]
        sign = 0 if self.monotonic is None else int(self.monotonic[node.feature])
        if sign:
            levels = [level_of(self.y[s], self.w[s], self.classes, self.limits) for s in sides]
            middle = float(np.clip((levels[0] + levels[1]) / 2, *node.bounds))
            below, above = (node.bounds[0], middle), (middle, node.bounds[1])
            bounds = [below, above] if sign > 0 else [above, below]
        node.children = tuple(
            self.open(rows, node.depth + 1, child_key(node.key, i + 1), bounds[i])
            for i, rows in enumerate(sides)
        )

    def grow(self) -> Node:
        root = self.open(np.flatnonzero(self.w > 0), 0, 0, (-np.inf, np.inf))
        fresh, most = [root], int(self.rule[6])
        if not most:
            while fresh:
                node = fresh.pop()
                if node.may and self.find(node):
                    self.split(node)
                    fresh += node.children
            return root
        heap: list[tuple[float, int, Node]] = []
        leaves = serial = 0
        while True:
            for node in fresh:
                if node.may and self.find(node):
                    heapq.heappush(heap, (-node.gain, serial, node))
                    serial += 1
            leaves += 1
            if not heap or leaves >= most:
                return root
            node = heapq.heappop(heap)[2]
            self.split(node)
            fresh = list(node.children)


def child_key(key: int, side: int) -> int:
    """splitmix64 of Steele, Lea and Flood (2014)."""
    z = (2 * key + side + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def clipped(
    node: Node, mass: float, classes: np.ndarray, monotonic: np.ndarray | None
) -> np.ndarray:
    """The value within its bounds."""
    if monotonic is None:
        return node.value
    if not len(classes):
        return np.clip(node.value, *node.bounds)
    share = np.clip(node.value[1] / mass, *node.bounds)
    return np.array([mass * (1 - share), mass * share])
