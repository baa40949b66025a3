"""Growth of exact decision trees, and their use.

Symbols: n rows, d features, o outputs, t trees, v nodes of room for a tree. Growth sees a feature
through the ranks of its values: ``ranks[f, i]`` counts the different values of feature f below
that of row i, and is `MISSING` for NaN; ``values[f, r]`` is the value of rank r. So only the order
of a feature decides, and trees of a forest share what is computed once.

``rule`` holds the criterion and the limits, by `rule_of`. The criterion is an index into
`CRITERIA`; alpha is the level of a quantile. ``classes[k]`` is the number of classes of output k;
no classes at all mean regression. Gains are decreases of weighted impurity, averaged over outputs:
a perfect split gains ``weight of the node * impurity of the node``.

A fitted node is a `NODE` of 16 bytes; nodes of a tree stand depth first, the left child next to its
parent.

y and weight must be finite; X may hold NaN. Empty input gives empty results. Deterministic: results
have the same bits at any thread count. Shapes and dtypes that do not fit raise ValueError. Cost is
counted in rows looked at. The trees are those of Breiman, Friedman, Olshen and Stone (1984),
"Classification and Regression Trees".
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from ._op import op
from .random import philox4x32, uniform
from .tree_criteria import (
    CRITERIA,
    ENTROPY,
    GINI,
    POISSON,
    QUANTILE,
    SQUARED,
    gain_of,
    keeps,
    level_of,
    measure_of,
)

__all__ = ["CRITERIA", "ENTROPY", "GINI", "POISSON", "QUANTILE", "SQUARED"]

MISSING = 2**30
_FEATURE = MISSING - 1
EQUAL = 2.0**-40  # gains this close, as a share of a node's impurity, are equal
_HOST = "trees grow on the CPU"
# A node: 16 bytes. A leaf has feature -1 and the number of its values in `right`; an inner node has
# its left child next to it, and the missing go left where `feature` has the bit MISSING.
NODE = np.dtype([("threshold", "f8"), ("feature", "i4"), ("right", "i4")])


def rule_of(
    criterion: int, *, alpha: float = 0.5, min_leaf: int = 1, min_weight: float = 0.0,
    min_split: int = 2, max_depth: int | None = None, max_leaf_nodes: int | None = None,
    min_gain: float = 0.0, max_features: int | None = None, random: bool = False,
) -> np.ndarray:
    """The rule of a tree.

    Parameters
    ----------
    criterion : int
        Index into `CRITERIA`.
    alpha : float
        Level of a quantile.
    min_leaf : int
        Fewest rows of a leaf.
    min_weight : float
        Least weight of a leaf, as a share of the weight of the tree.
    min_split : int
        Fewest rows of a node that is split.
    max_depth : int, optional
    max_leaf_nodes : int, optional
        The node whose split gains most is split first, until there are so many leaves.
    min_gain : float
        Least gain, as a share of the weight of the tree.
    max_features : int, optional
        Features drawn for each node.
    random : bool
        One threshold drawn for each feature in place of all.

    Returns
    -------
    rule : ndarray of shape (10,), float64
        For `grow`.

    Examples
    --------
    >>> from kernelmill.ops import tree
    >>> tree.rule_of(tree.GINI, max_depth=3).tolist()
    [0.0, 0.5, 1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 2147483647.0, 0.0]
    """
    return np.array([
        criterion, alpha, min_leaf, min_weight, min_split,
        np.inf if max_depth is None else max_depth, max_leaf_nodes or 0, min_gain,
        2**31 - 1 if max_features is None else max_features, random,
    ], np.float64)  # fmt: skip


@op("X: T[n,d] -> ranks: i32[d,n], values: T[d,n]", cuda=_HOST)
def rank_columns(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the values of each feature.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides.

    Returns
    -------
    ranks : ndarray of shape (d, n), int32
        As described above.
    values : ndarray of shape (d, n), dtype of X
        Different values, rising, then NaN.

    Raises
    ------
    ValueError
        If there are 2**30 rows or more, or dtypes do not fit.

    Notes
    -----
    Both zeros are one value. Cost is that of d radix sorts.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> ranks, values = tree.rank_columns(np.array([[3.0], [1.0], [3.0]]))
    >>> ranks.tolist(), values.tolist()
    ([[1, 0, 1]], [[1.0, 3.0, nan]])
    """
    n, d = X.shape
    if n >= MISSING:
        raise ValueError(f"tree.rank_columns: X must have fewer than 2**30 rows, got {n}")
    ranks, values = np.full((d, n), MISSING, np.int32), np.full((d, n), np.nan, X.dtype)
    for f in range(d):
        present = ~np.isnan(X[:, f])
        own, ranks[f, present] = np.unique(X[present, f], return_inverse=True)
        values[f, : len(own)] = own
    return ranks, values


@dataclass
class _Node:
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
    children: tuple[_Node, ...] = ()


class _Growing:
    """One tree by its definition."""

    def __init__(self, given: tuple, weight: np.ndarray, seed: int) -> None:
        self.ranks, self.values, self.y, self.classes, self.rule, self.monotonic = given
        self.w, self.seed = weight, seed
        total = weight.sum()
        self.limits = np.array([*self.rule[:3], self.rule[3] * total])
        self.min_gain = self.rule[7] * total * (1 - EQUAL)

    def open(self, rows: np.ndarray, depth: int, key: int, bounds: tuple[float, float]) -> _Node:
        y, w = self.y[rows], self.w[rows]
        value, total = measure_of(y, w, self.classes, self.limits)
        pure = bool((y == y[0]).all())
        _, _, min_leaf, _, min_split, max_depth, *_ = self.rule
        may = not pure and len(rows) >= max(min_split, 2 * min_leaf) and depth < max_depth
        may = may and w.sum() >= 2 * self.limits[3] * (1 - EQUAL)
        impurity = 0.0 if pure else total / w.sum()
        return _Node(rows, depth, key, bounds, value, impurity, bool(may))

    def drawn(self, node: _Node) -> list[int]:
        """Features to look at."""
        d, most = len(self.ranks), int(self.rule[8])
        if most >= d:
            return list(range(d))
        words = philox4x32(np.arange(-(-d // 4), dtype=np.uint64), self.seed, node.key).ravel()
        features, varies = list(range(d)), False
        for i in range(d):
            if i >= most and varies:
                return sorted(features[:i])
            j = i + (int(words[i]) * (d - i) >> 32)
            features[i], features[j] = features[j], features[i]
            own = self.ranks[features[i], node.rows]
            varies = varies or bool((own != own[0]).any())
        return sorted(features)

    def drawn_cut(self, node: _Node, f: int) -> tuple[list[int], float]:
        """The rank below a drawn threshold, and the threshold; none for a constant feature."""
        own = self.ranks[f, node.rows]
        own = own[own != MISSING]
        if not len(own) or own.min() == own.max():
            return [], 0.0
        first = 2**33 + 2 * (f // 2)  # item of float64: two to a block
        u = uniform.specification(self.seed, node.key, first, 2, np.float64)[f % 2]
        low, high = (float(self.values[f, r]) for r in (own.min(), own.max()))
        with np.errstate(over="ignore", invalid="ignore"):
            wide = high - low
            t = low + u * wide if np.isfinite(wide) else low / 2 + high / 2
        t = t if low <= t < high else low
        return [int((self.values[f].astype(np.float64) <= t).sum()) - 1], float(t)

    def find(self, node: _Node) -> bool:
        """The best split; whether there is one."""
        rows = node.rows
        y, w = self.y[rows], self.w[rows]
        _, whole = measure_of(y, w, self.classes, self.limits)
        slack = EQUAL * node.impurity * w.sum()
        for f in self.drawn(node):
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
                        node.feature, node.rank, node.gain = f, rank, found
                        node.missing_left = left if gaps else bool(2 * goes.sum() > len(rows))
                        node.threshold = t if self.rule[9] else self.middle(f, rank, present)
        return node.feature >= 0 and not (self.min_gain > 0 and node.gain < self.min_gain)

    def middle(self, f: int, rank: int, present: np.ndarray) -> float:
        above = present[present > rank]
        if not len(above):
            return np.inf
        low = float(self.values[f, present[present <= rank][-1]])
        high = float(self.values[f, above[0]])
        t = low / 2 + high / 2
        return t if low <= t < high else low

    def split(self, node: _Node) -> None:
        own = self.ranks[node.feature, node.rows]
        goes = np.where(own == MISSING, node.missing_left, own <= node.rank)
        sides = node.rows[goes], node.rows[~goes]
        bounds = [node.bounds, node.bounds]
        sign = 0 if self.monotonic is None else int(self.monotonic[node.feature])
        if sign:
            levels = [level_of(self.y[s], self.w[s], self.classes, self.limits) for s in sides]
            middle = float(np.clip((levels[0] + levels[1]) / 2, *node.bounds))
            below, above = (node.bounds[0], middle), (middle, node.bounds[1])
            bounds = [below, above] if sign > 0 else [above, below]
        node.children = tuple(
            self.open(rows, node.depth + 1, _child_key(node.key, i + 1), bounds[i])
            for i, rows in enumerate(sides)
        )

    def grow(self) -> _Node:
        root = self.open(np.flatnonzero(self.w > 0), 0, 0, (-np.inf, np.inf))
        fresh, most = [root], int(self.rule[6])
        if not most:
            while fresh:
                node = fresh.pop()
                if node.may and self.find(node):
                    self.split(node)
                    fresh += node.children
            return root
        heap: list[tuple[float, int, _Node]] = []
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


def _child_key(key: int, side: int) -> int:
    """splitmix64 of Steele, Lea and Flood (2014)."""
    z = (2 * key + side + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


@op(
    "ranks: i32[d,n], values: T[d,n], y: f64[n,o>=1], weight: f64[t,n]?, classes: i64[c],"
    " rule: f64[10], monotonic: i32[d]?, seeds: i64[t], nodes: inout i64[t,v>=1,2],"
    " stats: inout f64[t,v,3], value: inout f64[t,v,width] -> sizes: i64[t]",
    cuda=_HOST,
)
def grow(
    ranks: np.ndarray,
    values: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None,
    classes: np.ndarray,
    rule: np.ndarray,
    monotonic: np.ndarray | None,
    seeds: np.ndarray,
    nodes: np.ndarray,
    stats: np.ndarray,
    value: np.ndarray,
) -> np.ndarray:
    """Grow whole trees.

    Parameters
    ----------
    ranks, values : ndarrays of shape (d, n)
        What `rank_columns` gave.
    y : ndarray of shape (n, o), float64
        Targets; whole numbers below ``classes[k]`` in classification.
    weight : ndarray of shape (t, n), float64, or None
        Weights of the rows in each tree; those of weight 0 are absent. None stands for ones.
    classes : ndarray of shape (o,) or (0,), int64
        Numbers of classes.
    rule : ndarray of shape (10,), float64
        Of `rule_of`.
    monotonic : ndarray of shape (d,), int32, or None
        1 where the value of the left child must not exceed that of the right one, -1 for the
        opposite, 0 for none. For one output; a value is the mean, the quantile, or the share of the
        second of two classes. Children of such a split keep to either side of its middle.
    seeds : ndarray of shape (t,), int64
        Which draws of features and thresholds.
    nodes : ndarray of shape (t, v, 2), int64, C-contiguous, updated in place
        Trees, each a view of an array of `NODE`.
    stats : ndarray of shape (t, v, 3), float64, C-contiguous, updated in place
        Impurity, weight and number of rows of each node. Impurity is the Gini index, entropy in
        bits, variance, half the Poisson deviance, or mean pinball loss, averaged over outputs.
    value : ndarray of shape (t, v, width), float64, C-contiguous, updated in place
        Weights of the classes, output after output; or means, or quantiles, the middle of all
        minimisers in a tie. width is the sum of classes, or o.

    Returns
    -------
    sizes : ndarray of shape (t,), int64
        Numbers of nodes.

    Raises
    ------
    ValueError
        If there is no room for a tree, no row of a tree has weight, or a target is no class.

    Notes
    -----
    A node is split while its targets differ. The largest gain wins, then the lowest feature, then
    the lowest cut, then missing right; gains that differ by at most 2**-40 of the node's impurity
    are equal, so that rounding decides nothing. A gain of 0 is a gain: an exclusive or of two
    features gains nothing at first. A cut lies between different values, or between the present and
    the missing, which go right then. Where a node has no missing values, they follow the child with
    more rows. A threshold is the middle of its neighbours, or the lower one where rounding leaves
    no middle; infinity before the missing. With the Poisson criterion both children must have a
    positive sum.

    The key of a node is 0 for the root, and splitmix64 of ``2 key + 1`` or ``2 key + 2`` for its
    children. Features are drawn without replacement by the 32-bit words of the Philox sequence of
    the seed and the key: the i-th is one of the d - i left, ``word (d - i) / 2**32``; more are
    drawn while all are constant. The threshold of feature f is drawn by item ``2**33 + f`` of the
    float64 sequence.

    Cost is O(n) a level and feature looked at for squared error and two classes, O(n log n) for
    others; memory O(n) a thread.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> ranks, values = tree.rank_columns(np.array([[0.0], [1.0], [2.0]]))
    >>> y, none, seeds = np.array([[5.0], [5.0], [8.0]]), np.zeros(0, np.int64), np.zeros(1, int)
    >>> nodes, stats, value = np.zeros((1, 5, 2), int), np.zeros((1, 5, 3)), np.zeros((1, 5, 1))
    >>> rule = tree.rule_of(tree.SQUARED)
    >>> tree.grow(ranks, values, y, None, none, rule, None, seeds, nodes, stats, value).tolist()
    [3]
    >>> nodes[0, :3].copy().view(tree.NODE).ravel().tolist()
    [(1.5, 1073741824, 2), (-2.0, -1, 0), (-2.0, -1, 1)]
    >>> value[0, :3, 0].tolist()
    [6.0, 5.0, 8.0]
    """
    _check_targets(y, classes, value.shape[2])
    sizes = np.zeros(len(seeds), np.int64)
    for t, seed in enumerate(seeds):
        w = np.ones(len(y)) if weight is None else weight[t]
        if not (w > 0).any():
            raise ValueError(
                "tree.grow: weight must be above 0 for some row of each tree, got none"
            )
        given = ranks, values, y, classes, rule, monotonic
        root = _Growing(given, w, int(seed)).grow()
        stack, leaves, at = [(root, -1)], 0, 0
        table = np.zeros(nodes.shape[1], NODE)
        while stack:
            node, parent = stack.pop()
            if at == nodes.shape[1]:
                raise ValueError(
                    f"tree.grow: nodes must have room for a whole tree, got {nodes.shape[1]}"
                )
            if parent >= 0:
                table["right"][parent] = at
            own = w[node.rows].sum()
            stats[t, at] = node.impurity, own, len(node.rows)
            value[t, at] = _clipped(node, own, classes, monotonic)
            if node.children:
                mark = MISSING if node.missing_left else 0
                table[at] = node.threshold, node.feature | mark, 0
                stack += [(node.children[1], at), (node.children[0], -1)]
            else:
                table[at] = -2.0, -1, leaves
                leaves += 1
            at += 1
        sizes[t] = at
        nodes[t, :at] = table[:at].view(np.int64).reshape(-1, 2)
    return sizes


def _clipped(
    node: _Node, mass: float, classes: np.ndarray, monotonic: np.ndarray | None
) -> np.ndarray:
    """The value within its bounds."""
    if monotonic is None:
        return node.value
    if not len(classes):
        return np.clip(node.value, *node.bounds)
    share = np.clip(node.value[1] / mass, *node.bounds)
    return np.array([mass * (1 - share), mass * share])


def _check_targets(y: np.ndarray, classes: np.ndarray, width: int) -> None:
    fits = len(classes) in (0, y.shape[1])
    fits = fits and width == (int(classes.sum()) if len(classes) else y.shape[1])
    if fits and len(classes) and len(y):
        fits = bool((y >= 0).all() and (y < classes).all() and (y == np.floor(y)).all())
    if not fits:
        raise ValueError(
            "tree.grow: y must hold numbers of classes, and classes and value fit it, got others"
        )


@op("X: T[n,d], nodes: i64[v,2], roots: i64[t] -> leaves: i32[n,t]", cuda=_HOST)
def apply(X: np.ndarray, nodes: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """The leaf of each row in each tree.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides.
    nodes : ndarray of shape (v, 2), int64
        Nodes of all trees: a view of an array of `NODE`.
    roots : ndarray of shape (t,), int64
        Where each tree begins.

    Returns
    -------
    leaves : ndarray of shape (n, t), int32
        Numbers of nodes, counted from the root of the tree.

    Raises
    ------
    ValueError
        If a node names a feature that X lacks, or a child outside `nodes` or before its parent.

    Notes
    -----
    A row goes left where ``x <= threshold`` in float64; a missing value follows the bit of the
    node. Cost is the depth of the leaves.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> nodes = np.array([(0.5, 0, 2), (0, -1, 0), (0, -1, 1)], tree.NODE)
    >>> words = nodes.view(np.int64).reshape(-1, 2)
    >>> tree.apply(np.array([[0.0], [1.0]]), words, np.array([0])).ravel()
    array([1, 2], dtype=int32)
    """
    table = np.ascontiguousarray(nodes).view(NODE).reshape(-1)
    _check_nodes("apply", table, roots, X.shape[1])
    leaves = np.zeros((len(X), len(roots)), np.int32)
    for t, root in enumerate(roots):
        for i, x in enumerate(X.astype(np.float64)):
            at = int(root)
            while table["feature"][at] >= 0:
                f = int(table["feature"][at])
                value = x[f & _FEATURE]
                left = bool(f & MISSING) if np.isnan(value) else value <= table["threshold"][at]
                at = at + 1 if left else int(root) + int(table["right"][at])
            leaves[i, t] = at - root
    return leaves


@op(
    "X: T[n,d], nodes: i64[v,2], roots: i64[t], values: f64[l,s] -> sums: f64[n,s]",
    cuda=_HOST,
)
def predict(X: np.ndarray, nodes: np.ndarray, roots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The sum over trees of the values of each row's leaves.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides.
    nodes, roots :
        As in `apply`.
    values : ndarray of shape (l, s), float64
        Values of leaves, by the number that a leaf has in `right`.

    Returns
    -------
    sums : ndarray of shape (n, s), float64
        Added up in the order of the trees.

    Raises
    ------
    ValueError
        As `apply`, or if a leaf names values that are not there.

    Notes
    -----
    Memory does not grow with the number of trees.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> nodes = np.array([(0.5, 0, 2), (0, -1, 0), (0, -1, 1)], tree.NODE)
    >>> words, values = nodes.view(np.int64).reshape(-1, 2), np.array([[3.0], [4.0]])
    >>> tree.predict(np.array([[0.0], [1.0]]), words, np.array([0]), values).ravel()
    array([3., 4.])
    """
    table = np.ascontiguousarray(nodes).view(NODE).reshape(-1)
    _check_nodes("predict", table, roots, X.shape[1], len(values))
    leaves = apply.specification(X, nodes, roots)
    sums = np.zeros((len(X), values.shape[1]))
    for t, root in enumerate(roots):
        sums += values[table["right"][leaves[:, t] + root]]
    return sums


def _check_nodes(
    name: str, table: np.ndarray, roots: np.ndarray, d: int, values: int = 2**31
) -> None:
    ends = [*roots[1:], len(table)][: len(roots)]
    for begin, end in zip(roots, ends, strict=True):
        own = table[begin:end] if 0 <= begin < end <= len(table) else table[:0]
        inner = own["feature"] >= 0
        number, right = np.arange(len(own)), own["right"]
        fits = np.where(inner, (right > number + 1) & (right < len(own)), right >= 0)
        fits &= np.where(inner, (own["feature"] & _FEATURE) < d, right < values)
        if not len(own) or not fits.all():
            raise ValueError(
                f"tree.{name}: nodes must name features of X, children behind their parent and "
                "values that exist, got others"
            )
