"""Growth of exact decision trees, level by level, and their use.

Symbols: n positions, d features, o outputs, m nodes. A node is a span ``[start, stop)`` of
positions: `rows` says which row lies at a position, `y` and `weight` are kept in the order of
positions, and ``order[f]`` lists the positions of each span by rising value of feature f. So a
split search is one walk over adjacent memory, a split is one stable partition, and nothing is ever
sorted again. Many nodes, of one tree or of many, go through a call together.

An entry of `order` is a position with two marks: `FIRST` where the value differs from the one
before it in the span, `MISSING` where the value is NaN; those come last. Positions stay below
2**30.

``rule`` holds the criterion and its limits: ``[criterion, alpha, min_leaf, min_weight]``. The
criterion is an index into `CRITERIA`; alpha is the level of the quantile; a child has at least
min_leaf rows and min_weight of weight. ``classes[k]`` is the number of classes of output k; no
classes at all mean regression. Gains are decreases of weighted impurity, averaged over outputs: a
perfect split gains ``weight of the node * impurity of the node``.

y and weight must be finite; X may hold NaN. Empty input gives empty results. Deterministic: each
span is walked in order by one thread, so results have the same bits at any thread count. Shapes and
dtypes that do not fit raise ValueError. Cost is counted in entries looked at. The trees are those
of Breiman, Friedman, Olshen and Stone (1984), "Classification and Regression Trees".
"""

from __future__ import annotations

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
    measure_of,
    weights_of,
)

__all__ = ["CRITERIA", "ENTROPY", "GINI", "POISSON", "QUANTILE", "SQUARED"]

FIRST = -(2**31)
MISSING = 2**30
_POSITION = MISSING - 1
EQUAL = 2.0**-40  # gains this close, as a share of a node's impurity, are equal
_HOST = "trees grow on the CPU"
# A node: 16 bytes. A leaf has feature -1 and the number of its values in `right`; an inner node has
# its left child next to it, and the missing go left where `feature` has the bit MISSING.
NODE = np.dtype([("threshold", "f8"), ("feature", "i4"), ("right", "i4")])


def position(entries: np.ndarray) -> np.ndarray:
    """Positions of entries of `order`, without their marks."""
    return entries & _POSITION


@op("X: T[n,d] -> order: i32[d,n]", cuda=_HOST)
def sort_columns(X: np.ndarray) -> np.ndarray:
    """Entries of each feature by rising value, rows at equal values in their own order.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides; row i is position i.

    Returns
    -------
    order : ndarray of shape (d, n), int32
        Entries as described above.

    Raises
    ------
    ValueError
        If there are 2**30 rows or more, or dtypes do not fit.

    Notes
    -----
    Cost is that of d radix sorts.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> tree.position(tree.sort_columns(np.array([[3.0], [1.0], [2.0]]))).tolist()
    [[1, 2, 0]]
    """
    if len(X) >= MISSING:
        raise ValueError(f"tree.sort_columns: X must have fewer than 2**30 rows, got {len(X)}")
    order = np.argsort(X, axis=0, kind="stable").T.astype(np.int32)
    values = np.take_along_axis(X.T, order.astype(np.int64), axis=1)
    missing = np.isnan(values)
    first = np.ones(order.shape, bool)
    first[:, 1:] = (values[:, 1:] != values[:, :-1]) & ~(missing[:, 1:] & missing[:, :-1])
    return order | np.where(first, FIRST, 0).astype(np.int32) | (missing * MISSING).astype(np.int32)


@op(
    "order: i32[d,n], spans: i64[m,2], keys: i64[m], max_features: int[1,2**31),"
    " seed: int[0,2**64) -> allowed: bool[m,d]",
    cuda=_HOST,
)
def draw(
    order: np.ndarray, spans: np.ndarray, keys: np.ndarray, max_features: int, seed: int
) -> np.ndarray:
    """Features that each node may split: some, drawn without replacement.

    Parameters
    ----------
    order : ndarray of shape (d, n), int32
        Entries.
    spans : ndarray of shape (m, 2), int64
        Nodes.
    keys : ndarray of shape (m,), int64
        A number of each node that no other has: draws depend on it and the seed alone.
    max_features : int
        Features to draw. More are drawn while all are constant in the node.
    seed : int
        Which draws.

    Returns
    -------
    allowed : ndarray of shape (m, d), bool
        True where feature f was drawn for the node.

    Notes
    -----
    Features come by rising 32-bit word f of the Philox sequence of the seed, stream 2 key.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> order = tree.sort_columns(np.eye(3))
    >>> drawn = tree.draw(order, np.array([[0, 3]]), np.array([0]), max_features=2, seed=0)
    >>> int(drawn.sum())
    2
    """
    d = len(order)
    allowed = np.zeros((len(spans), d), bool)
    for i, (start, stop) in enumerate(spans):
        blocks = philox4x32(np.arange(-(-d // 4), dtype=np.uint64), seed, 2 * int(keys[i]))
        chosen = np.argsort(blocks.ravel()[:d], kind="stable")
        varies = (order[chosen, start + 1 : stop] < 0).any(axis=1)
        first = int(varies.argmax()) if varies.any() else d
        allowed[i, chosen[: max(max_features, first + 1)]] = True
    return allowed


@op(
    "X: T[r,d], rows: i32[n], order: i32[d,n], spans: i64[m,2], keys: i64[m], allowed: bool[m,d]?,"
    " seed: int[0,2**64) -> cuts: i32[m,d], thresholds: f64[m,d]",
    cuda=_HOST,
)
def random_cuts(
    X: np.ndarray,
    rows: np.ndarray,
    order: np.ndarray,
    spans: np.ndarray,
    keys: np.ndarray,
    allowed: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """A threshold drawn uniformly between the extremes of each feature, and what lies below.

    Parameters
    ----------
    X : ndarray of shape (r, d), float32 or float64
        Rows.
    rows : ndarray of shape (n,), int32
        Row at each position.
    order : ndarray of shape (d, n), int32
        Entries.
    spans : ndarray of shape (m, 2), int64
        Nodes.
    keys : ndarray of shape (m,), int64
        As in `draw`.
    allowed : ndarray of shape (m, d), bool, optional
        Features to draw for; all when left out.
    seed : int, default=0
        Which draws.

    Returns
    -------
    cuts : ndarray of shape (m, d), int32
        Entries of the node with a value of at most the threshold; 0 where the feature is constant
        or not allowed.
    thresholds : ndarray of shape (m, d), float64
        ``low + u (high - low)``, or low where that would not lie below high.

    Notes
    -----
    u is item f of the uniform float64 sequence of the seed, stream 2 key + 1.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> rows, node = np.arange(3, dtype=np.int32), np.array([[0, 3]])
    >>> cuts, _ = tree.random_cuts(X, rows, tree.sort_columns(X), node, np.array([0]))
    >>> bool(0 < cuts[0, 0] < 3)
    True
    """
    cuts = np.zeros((len(spans), len(order)), np.int32)
    thresholds = np.zeros(cuts.shape)
    for i, (start, stop) in enumerate(spans):
        u = uniform.specification(seed, 2 * int(keys[i]) + 1, 0, len(order), np.float64)
        for f in range(len(order)):
            if stop == start or not (allowed is None or allowed[i, f]):
                continue
            entries = order[f, start:stop]
            values = X[rows[position(entries)], f].astype(np.float64)
            values = values[~np.isnan(values)]
            if not len(values) or values[0] == values[-1]:
                continue
            low, high = values[0], values[-1]
            with np.errstate(over="ignore", invalid="ignore"):
                wide = high - low
                t = low + u[f] * wide if np.isfinite(wide) else low / 2 + high / 2
            t = t if low <= t < high else low
            thresholds[i, f] = t
            cuts[i, f] = (values <= t).sum()
    return cuts, thresholds


@op(
    "y: f64[n,o], weight: f64[w=n|0], spans: i64[m,2], classes: i64[c], rule: f64[4],"
    " width: int[0,2**31) -> value: f64[m,width], impurity: f64[m], mass: f64[m], pure: bool[m]",
    cuda=_HOST,
)
def measure(
    y: np.ndarray,
    weight: np.ndarray,
    spans: np.ndarray,
    classes: np.ndarray,
    rule: np.ndarray,
    width: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What nodes predict, and how impure they are.

    Parameters
    ----------
    y : ndarray of shape (n, o), float64
        Targets by position; whole numbers below ``classes[k]`` in classification.
    weight : ndarray of shape (n,) or (0,), float64
        Weights by position; none stand for ones.
    spans : ndarray of shape (m, 2), int64
        Nodes, none of them empty.
    classes : ndarray of shape (o,) or (0,), int64
        Numbers of classes.
    rule : ndarray of shape (4,), float64
        Criterion and limits.
    width : int
        Number of values: the sum of classes, or o.

    Returns
    -------
    value : ndarray of shape (m, width), float64
        Weights of the classes, output after output; or means, or quantiles.
    impurity : ndarray of shape (m,), float64
        Gini index, entropy in bits, variance, half the Poisson deviance, or mean pinball loss,
        averaged over outputs.
    mass : ndarray of shape (m,), float64
        Sums of weights.
    pure : ndarray of shape (m,), bool
        Whether all targets of the node are equal.

    Notes
    -----
    Cost O(n), for quantiles O(n log n). The quantile of a tie is the middle of all minimisers.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> y, none = np.array([[1.0], [3.0]]), np.zeros(0)
    >>> rule = np.array([tree.SQUARED, 0.0, 1.0, 0.0])
    >>> node = np.array([[0, 2]])
    >>> value, impurity, *_ = tree.measure(y, none, node, np.zeros(0, np.int64), rule, 1)
    >>> float(value[0, 0]), float(impurity[0])
    (2.0, 1.0)
    """
    m = len(spans)
    value, impurity, mass = np.zeros((m, width)), np.zeros(m), np.zeros(m)
    pure = np.zeros(m, bool)
    w = weights_of(weight, len(y))
    for i, (start, stop) in enumerate(spans):
        own = y[start:stop]
        value[i], total = measure_of(own, w[start:stop], classes, rule)
        mass[i] = w[start:stop].sum()
        impurity[i] = total / mass[i]
        pure[i] = (own == own[0]).all()
    return value, impurity, mass, pure


@op(
    "order: i32[d,n], y: f64[n,o], weight: f64[w=n|0], spans: i64[m,2], value: f64[m,v],"
    " total: f64[m], classes: i64[c], rule: f64[4], allowed: bool[m,d]?, cuts: i32[m,d]?,"
    " monotonic: i32[d]?, bounds: f64[m,2]? -> feature: i32[m], cut: i32[m], missing_left: bool[m],"
    " gain: f64[m]",
    cuda=_HOST,
)
def split(
    order: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    spans: np.ndarray,
    value: np.ndarray,
    total: np.ndarray,
    classes: np.ndarray,
    rule: np.ndarray,
    allowed: np.ndarray | None = None,
    cuts: np.ndarray | None = None,
    monotonic: np.ndarray | None = None,
    bounds: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best split of each node.

    Parameters
    ----------
    order : ndarray of shape (d, n), int32
        Entries.
    y, weight, spans, classes, rule :
        As in `measure`.
    value : ndarray of shape (m, v), float64
        What `measure` gave.
    total : ndarray of shape (m,), float64
        Weight times impurity of each node.
    allowed : ndarray of shape (m, d), bool, optional
        Features to look at; all when left out.
    cuts : ndarray of shape (m, d), int32, optional
        The only cut to try of each feature, 0 for none; all when left out.
    monotonic : ndarray of shape (d,), int32, optional
        1 where the value of the left child must not exceed that of the right one, -1 for the
        opposite, 0 for none. For one output; a value is the mean, the quantile, or the share of the
        second of two classes.
    bounds : ndarray of shape (m, 2), float64, optional
        Least and largest value that children may have; with `monotonic`.

    Returns
    -------
    feature : ndarray of shape (m,), int32
        Feature to split, -1 where no split is allowed.
    cut : ndarray of shape (m,), int32
        Number of present entries that go left.
    missing_left : ndarray of shape (m,), bool
        Whether the missing go left; where there are none, whether more rows go left than right.
    gain : ndarray of shape (m,), float64
        Decrease of weighted impurity, -inf where there is no split.

    Notes
    -----
    The largest gain wins, then the lowest feature, then the lowest cut, then missing right; gains
    that differ by at most 2**-40 of the total are equal, so that rounding decides nothing. A gain
    of 0 is a gain: an exclusive or of two features gains nothing at first. A cut lies between
    unequal values, or between the present and the missing, which go right then. With the Poisson
    criterion both children must have a positive sum. Cost O(n d), for quantiles O(n d log n).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([[5.0], [5.0], [8.0]])
    >>> rule, none = np.array([tree.SQUARED, 0.0, 1.0, 0.0]), np.zeros(0, np.int64)
    >>> node = np.array([[0, 3]])
    >>> feature, cut, _, gain = tree.split(
    ...     tree.sort_columns(X), y, np.zeros(0), node, np.array([[6.0]]), np.array([6.0]), none,
    ...     rule)
    >>> int(feature[0]), int(cut[0]), float(gain[0])
    (0, 2, 6.0)
    """
    m, d = len(spans), len(order)
    w = weights_of(weight, len(y))
    feature, cut = np.full(m, -1, np.int32), np.zeros(m, np.int32)
    missing_left, gain = np.zeros(m, bool), np.full(m, -np.inf)
    for i, (start, stop) in enumerate(spans):
        if stop - start < 2:
            continue
        _, whole = measure_of(y[start:stop], w[start:stop], classes, rule)
        slack = EQUAL * total[i]
        for f in range(d):
            if allowed is not None and not allowed[i, f]:
                continue
            entries = order[f, start:stop]
            p = position(entries)
            present = len(entries) - int(((entries & MISSING) != 0).sum())
            if cuts is None:
                tried = [c for c in range(1, len(entries)) if entries[c] < 0]
            else:
                tried = [int(cuts[i, f])] if cuts[i, f] else []
            for c in tried:
                for left in (False, True) if c < present < len(entries) else (False,):
                    goes = np.zeros(len(entries), bool)
                    goes[:c] = True
                    goes[present:] = left
                    found = gain_of(y[p], w[p], goes, classes, rule, whole)
                    if monotonic is not None and monotonic[f] and found > -np.inf:
                        limits = None if bounds is None else bounds[i]
                        if not keeps(y[p], w[p], goes, classes, rule, monotonic[f], limits):
                            continue
                    if found > gain[i] + slack:
                        feature[i], cut[i], gain[i] = f, c, found
                        more = goes.sum() * 2 > len(entries)
                        missing_left[i] = left if present < len(entries) else more
    return feature, cut, missing_left, gain


@op(
    "order: inout i32[d,n], rows: inout i32[n], y: inout f64[n,o], weight: inout f64[w=n|0],"
    " spans: i64[m,2], feature: i32[m], cut: i32[m], missing_left: bool[m] -> middle: i64[m]",
    cuda=_HOST,
)
def partition(
    order: np.ndarray,
    rows: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    spans: np.ndarray,
    feature: np.ndarray,
    cut: np.ndarray,
    missing_left: np.ndarray,
) -> np.ndarray:
    """Split nodes: what goes left comes first in each span.

    Parameters
    ----------
    order : ndarray of shape (d, n), int32, C-contiguous, updated in place
        Entries.
    rows : ndarray of shape (n,), int32, C-contiguous, updated in place
        Row at each position.
    y : ndarray of shape (n, o), float64, C-contiguous, updated in place
        Targets by position.
    weight : ndarray of shape (n,) or (0,), float64, C-contiguous, updated in place
        Weights by position.
    spans : ndarray of shape (m, 2), int64
        Nodes; spans do not overlap.
    feature, cut, missing_left : ndarrays of shape (m,)
        What `split` gave.

    Returns
    -------
    middle : ndarray of shape (m,), int64
        Where the right child begins.

    Raises
    ------
    ValueError
        If a feature is not in [0, d), or a cut not within its span.

    Notes
    -----
    Stable: positions keep their order within a child. Cost O(n d).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> order = tree.sort_columns(np.array([[2.0], [1.0], [3.0]]))
    >>> rows, y = np.arange(3, dtype=np.int32), np.array([[7.0], [8.0], [9.0]])
    >>> node, one, no = np.array([[0, 3]]), np.array([1], np.int32), np.array([False])
    >>> middle = tree.partition(order, rows, y, np.zeros(0), node, one - 1, one, no)
    >>> rows.tolist(), int(middle[0])
    ([1, 0, 2], 1)
    """
    middle = np.zeros(len(spans), np.int64)
    for i, (start, stop) in enumerate(spans):
        f, c = int(feature[i]), int(cut[i])
        if not (0 <= f < len(order) and 0 < c <= stop - start):
            raise ValueError(
                f"tree.partition: feature must be in [0, {len(order)}) and cut in (0, "
                f"{stop - start}], got {f} and {c}"
            )
    for i, (start, stop) in enumerate(spans):
        f, c = int(feature[i]), int(cut[i])
        entries = order[f, start:stop]
        goes = np.zeros(stop - start, bool)
        present = (entries & MISSING) == 0
        goes[position(entries)[:c] - start] = True
        goes[position(entries)[~present] - start] = missing_left[i]
        moved = np.argsort(~goes, kind="stable")
        place = np.empty(len(goes), np.int64)
        place[moved] = np.arange(len(goes)) + start
        middle[i] = start + goes.sum()
        for array in (rows, y, weight):
            if len(array):
                array[start:stop] = array[start:stop][moved]
        for g in range(len(order)):
            entries = order[g, start:stop].copy()
            side = goes[position(entries) - start]
            group = np.cumsum(entries < 0)  # groups of equal values
            parts = []
            for own in (side, ~side):
                kept, of = entries[own], group[own]
                first = np.ones(len(kept), bool)
                first[1:] = of[1:] != of[:-1]
                new = place[position(kept) - start].astype(np.int32) | (kept & MISSING)
                parts.append(new | np.where(first, FIRST, 0).astype(np.int32))
            order[g, start:stop] = np.concatenate(parts)
    return middle


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
                value = x[f & _POSITION]
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
        fits &= np.where(inner, (own["feature"] & _POSITION) < d, right < values)
        if not len(own) or not fits.all():
            raise ValueError(
                f"tree.{name}: nodes must name features of X, children behind their parent and "
                "values that exist, got others"
            )
