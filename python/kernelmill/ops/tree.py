"""Growth of exact decision trees, and their use.

Symbols: n rows, d features, o outputs, t trees, v nodes of room for a tree. Growth sees a feature
through the ranks of its values: ``ranks[f, i]`` counts the different values of feature f below
that of row i. So only the order of a feature decides, and trees of a forest share what is computed
once. Ranks are unsigned integers of 2 or 4 bytes, in the byte order of the machine, or of 3, the
lowest first; those of NaN are 65535, `MISSING` or 2**24 - 1. In 1 byte they number bins of adjacent
values, and those of NaN are 255.

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

import numpy as np

from . import tree_walks as walks
from ._op import op
from .tree_criteria import CRITERIA, ENTROPY, GINI, POISSON, QUANTILE, SQUARED
from .tree_growth import Growing, clipped
from .tree_walks import CATEGORY, MISSING, NODE

__all__ = [
    "CATEGORY", "CRITERIA", "ENTROPY", "GINI", "MISSING", "NODE", "POISSON", "QUANTILE", "SQUARED",
]  # fmt: skip

# Ranks of NaN by the number of bytes, and the most rows whose ranks fit.
_NONE = {2: 2**16 - 1, 3: 2**24 - 1, 4: MISSING}

_HOST = "exact trees grow on the CPU"


def rule_of(
    criterion: int,
    *,
    alpha: float = 0.5,
    min_leaf: int = 1,
    min_weight: float = 0.0,
    min_split: int = 2,
    max_depth: int | None = None,
    max_leaf_nodes: int | None = None,
    min_gain: float = 0.0,
    max_features: int | None = None,
    random: bool = False,
    levels_once: bool = False,
    bagged: bool = False,
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
        Features drawn for each node, where all of them may be drawn; else they come in order.
    random : bool
        One threshold drawn for each feature in place of all.
    levels_once : bool
        Levels are put in order by the rows of the tree rather than by those of each node: fewer
        partitions are to choose from, so there is less to be fooled by.
    bagged : bool
        The larger of two children is that of more rows rather than of more weight, which counts
        draws.

    Returns
    -------
    rule : ndarray of shape (12,), float64
        For `grow`.

    Examples
    --------
    >>> from kernelmill.ops import tree
    >>> tree.rule_of(tree.GINI, max_depth=3).tolist()
    [0.0, 0.5, 1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 2147483647.0, 0.0, 0.0, 0.0]
    """
    return np.array([
        criterion, alpha, min_leaf, min_weight, min_split,
        np.inf if max_depth is None else max_depth, max_leaf_nodes or 0, min_gain,
        2**31 - 1 if max_features is None else max_features, random, levels_once, bagged,
    ], np.float64)  # fmt: skip


@op("X: T[n,d], bytes: int[2,5) -> ranks: u8[d,n,bytes]", cuda=_HOST)
def rank_columns(X: np.ndarray, bytes: int) -> np.ndarray:
    """Ranks of the values of each feature.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides.
    bytes : int
        Of a rank: 4, or 2 for up to 65535 rows, or 3 for up to 16777215.

    Returns
    -------
    ranks : ndarray of shape (d, n, bytes), uint8
        As described above.

    Raises
    ------
    ValueError
        If there are 2**30 rows or more, ranks do not fit in so many bytes, or dtypes do not fit.

    Notes
    -----
    Both zeros are one value. Cost is that of d radix sorts.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> tree.rank_columns(np.array([[3.0], [1.0], [3.0]]), 2).view(np.uint16)[:, :, 0]
    array([[1, 0, 1]], dtype=uint16)
    """
    n, d = X.shape
    if n >= MISSING:
        raise ValueError(f"tree.rank_columns: X must have fewer than 2**30 rows, got {n}")
    if n > _NONE[bytes]:
        raise ValueError(
            "tree.rank_columns: bytes must be 4, or 2 for up to 65535 rows, or 3 for up to "
            f"16777215, got {bytes} for {n} rows"
        )
    ranks = np.full((d, n, 1), _NONE[bytes], np.uint16 if bytes == 2 else np.uint32)
    for f in range(d):
        present = ~np.isnan(X[:, f])
        ranks[f, present, 0] = np.unique(X[present, f], return_inverse=True)[1]
    if bytes == 3:
        return np.ascontiguousarray(ranks.astype("<u4").view(np.uint8)[:, :, :3])
    return ranks.view(np.uint8)


def bytes_of_ranks(n: int) -> int:
    """The fewest bytes that hold the ranks of n rows.

    Parameters
    ----------
    n : int
        Number of rows.

    Returns
    -------
    bytes : int
        2, 3 or 4.

    Examples
    --------
    >>> from kernelmill.ops import tree
    >>> tree.bytes_of_ranks(65_535), tree.bytes_of_ranks(65_536), tree.bytes_of_ranks(2**24)
    (2, 3, 4)
    """
    return next((bytes for bytes, most in _NONE.items() if n <= most), 4)


@op(
    "X: T[n,d], ranks: u8[d,n,b]?, y: f64[n,o>=1], weight: f64[t,n]?, classes: i64[c],"
    " rule: f64[12], monotonic: i32[d]?, categorical: bool[d]?, seeds: i64[t],"
    " nodes: inout i64[t,v>=1,2], stats: inout f64[t,v,3], value: inout f64[t,v,width],"
    " sides: inout u8[t,q,32] -> sizes: i64[t]",
    cuda=_HOST,
)
def grow(
    X: np.ndarray,
    ranks: np.ndarray | None,
    y: np.ndarray,
    weight: np.ndarray | None,
    classes: np.ndarray,
    rule: np.ndarray,
    monotonic: np.ndarray | None,
    categorical: np.ndarray | None,
    seeds: np.ndarray,
    nodes: np.ndarray,
    stats: np.ndarray,
    value: np.ndarray,
    sides: np.ndarray,
) -> np.ndarray:
    """Grow whole trees.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides. Growth reads thresholds and codes there.
    ranks : ndarray of shape (d, n, b), uint8, or None
        What `rank_columns` gave for X, with b of 2, 3 or 4. Drawn cuts need none, nor do float32
        values, whose own order then serves. With b = 1 bins that rise with the value, all cuts then
        lying between bins.
    y : ndarray of shape (n, o), float64
        Targets; whole numbers below ``classes[k]`` in classification.
    weight : ndarray of shape (t, n), float64, or None
        Weights of the rows in each tree; those of weight 0 are absent. None stands for ones.
    classes : ndarray of shape (o,) or (0,), int64
        Numbers of classes.
    rule : ndarray of shape (12,), float64
        Of `rule_of`.
    monotonic : ndarray of shape (d,), int32, or None
        1 where the value of the left child must not exceed that of the right one, -1 for the
        opposite, 0 for none. For one output; a value is the mean, the quantile, or the share of the
        second of two classes. Children of such a split keep to either side of its middle.
    categorical : ndarray of shape (d,), bool, or None
        Features of levels, whose values are codes from 0 to 255; a missing value is code 0.
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
    sides : ndarray of shape (t, q, 32), uint8, C-contiguous, updated in place
        Codes that go left, a bit each, for the splits of levels in the order of nodes.

    Returns
    -------
    sizes : ndarray of shape (t,), int64
        Numbers of nodes.

    Raises
    ------
    ValueError
        If there is no room for a tree, no row of a tree has weight, a target is no class, or a
        value no code, or ranks have other bytes or are missing.

    Notes
    -----
    A node is split while its targets differ. The largest gain wins, then the lowest feature, or
    the one drawn first, then the lowest cut, then missing right; gains that differ by at most
    2**-40 of the node's impurity are equal, so that rounding decides nothing. A gain of 0 is a
    gain: an exclusive or of two features gains nothing at first. A cut lies between different
    values, or between the present and the missing, which go right then. Where a node has no
    missing values, they follow the child with more weight, or more rows with `bagged`. A
    threshold is the middle of its neighbours, or the lower one where rounding leaves no middle;
    infinity before the missing. With the Poisson criterion both children must have a positive sum.

    Levels are put in order, by mean target or by the share of the second of two classes, then
    by code, of the rows of the node or, with `levels_once`, of the tree, and cut in two; with
    several outputs or more classes each output and the share of each class gives an order, and
    the best cut of all wins. A drawn cut is drawn among those of an order, which is drawn too.
    Levels that a node lacks follow that child, too.

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
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> y, none, seeds = np.array([[5.0], [5.0], [8.0]]), np.zeros(0, np.int64), np.zeros(1, int)
    >>> nodes, stats, value = np.zeros((1, 5, 2), int), np.zeros((1, 5, 3)), np.zeros((1, 5, 1))
    >>> rule, sides = tree.rule_of(tree.SQUARED), np.zeros((1, 0, 32), np.uint8)
    >>> given = X, tree.rank_columns(X, 2), y, None, none, rule, None, None, seeds
    >>> tree.grow(*given, nodes, stats, value, sides).tolist()
    [3]
    >>> nodes[0, :3].copy().view(tree.NODE).ravel().tolist()
    [(1.5, 1073741824, 2), (-2.0, -1, 0), (-2.0, -1, 1)]
    >>> value[0, :3, 0].tolist()
    [6.0, 5.0, 8.0]
    """
    _check_targets(y, classes, value.shape[2])
    _check_levels(X, categorical)
    if ranks is None:
        if X.dtype == np.float64 and not rule[9] and X.size:
            raise ValueError(
                "tree.grow: ranks must be given for cuts of float64 that are not drawn, got none"
            )
        ranks = rank_columns.specification(X, 4)
    if ranks.shape[2] != 1 and len(X) > _NONE.get(ranks.shape[2], 0):
        raise ValueError(
            "tree.grow: ranks must have 1 or 4 bytes each, or 2 for up to 65535 rows, or 3 for up "
            f"to 16777215, got {ranks.shape[2]} for {len(X)} rows"
        )
    sizes = np.zeros(len(seeds), np.int64)
    for t, seed in enumerate(seeds):
        w = np.ones(len(y)) if weight is None else weight[t]
        if not (w > 0).any():
            raise ValueError(
                "tree.grow: weight must be above 0 for some row of each tree, got none"
            )
        whole = _whole(rank_columns.specification(X, 4) if rule[9] else ranks)
        given = X, whole, y, classes, rule, monotonic, categorical
        root = Growing(given, w, int(seed)).grow()
        stack, leaves, at, sets = [(root, -1)], 0, 0, 0
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
            value[t, at] = clipped(node, own, classes, monotonic)
            if node.children:
                mark = MISSING if node.missing_left else 0
                table[at] = node.threshold, node.feature | mark, 0
                if node.levels is not None:
                    if sets == sides.shape[1]:
                        raise ValueError(
                            f"tree.grow: sides must have room for a whole tree, got {sets}"
                        )
                    table[at] = sets, node.feature | mark | CATEGORY, 0
                    sides[t, sets] = np.packbits(node.levels, bitorder="little")
                    sets += 1
                stack += [(node.children[1], at), (node.children[0], -1)]
            else:
                table[at] = -2.0, -1, leaves
                leaves += 1
            at += 1
        sizes[t] = at
        nodes[t, :at] = table[:at].view(np.int64).reshape(-1, 2)
    return sizes


def _check_targets(y: np.ndarray, classes: np.ndarray, width: int) -> None:
    fits = len(classes) in (0, y.shape[1])
    fits = fits and width == (int(classes.sum()) if len(classes) else y.shape[1])
    if fits and len(classes) and len(y):
        fits = bool((y >= 0).all() and (y < classes).all() and (y == np.floor(y)).all())
    if not fits:
        raise ValueError(
            "tree.grow: y must hold numbers of classes, and classes and value fit it, got others"
        )


def _whole(ranks: np.ndarray) -> np.ndarray:
    """Ranks as int32, `MISSING` for NaN."""
    size = ranks.shape[2]
    if size == 3:
        wide = np.zeros((*ranks.shape[:2], 4), np.uint8)
        wide[:, :, :3] = ranks
        own = wide.view("<u4")[:, :, 0].astype(np.int32)
    else:
        own = np.ascontiguousarray(ranks).view(f"u{size}")[:, :, 0].astype(np.int32)
    return np.where(own == _NONE.get(size, 255), np.int32(MISSING), own)


def _check_levels(X: np.ndarray, categorical: np.ndarray | None) -> None:
    own = X[:, :0] if categorical is None else X[:, categorical]
    own = own[~np.isnan(own)]
    bad = ~((own >= 0) & (own < 256) & (own == np.floor(own)))
    if bad.any():
        raise ValueError(
            "tree.grow: values of categorical features must be whole numbers from 0 to 255, got "
            f"{own[bad][0]}"
        )


@op("X: T[n,d], nodes: i64[v,2], roots: i64[t], sides: u8[q,32] -> leaves: i32[n,t]")
def apply(X: np.ndarray, nodes: np.ndarray, roots: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The leaf of each row in each tree.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, any strides; codes in the columns of categorical features.
    nodes : ndarray of shape (v, 2), int64
        Nodes of all trees: a view of an array of `NODE`.
    roots : ndarray of shape (t,), int64
        Where each tree begins.
    sides : ndarray of shape (q, 32), uint8
        Codes that go left, for splits of levels.

    Returns
    -------
    leaves : ndarray of shape (n, t), int32
        Numbers of nodes, counted from the root of the tree.

    Raises
    ------
    ValueError
        If a node names a feature that X lacks, a child outside `nodes` or before its parent, or
        sides that do not exist.

    Notes
    -----
    A row goes left where ``x <= threshold`` in float64; a missing value follows the bit of the
    node. A code outside 0 to 255 counts as 0. Cost is the depth of the leaves.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> nodes = np.array([(0.5, 0, 2), (0, -1, 0), (0, -1, 1)], tree.NODE)
    >>> words, none = nodes.view(np.int64).reshape(-1, 2), np.zeros((0, 32), np.uint8)
    >>> tree.apply(np.array([[0.0], [1.0]]), words, np.array([0]), none).ravel()
    array([1, 2], dtype=int32)
    """
    walks.check_nodes("apply", nodes, roots, sides, X.shape[1])
    table = walks.nodes_of(nodes)
    leaves = np.zeros((len(X), len(roots)), np.int32)
    for t, root in enumerate(roots):
        for i in range(len(X)):
            at = int(root)
            while table["feature"][at] >= 0:
                left = walks.goes_left(table[at], X[i : i + 1], sides)[0]
                at = at + 1 if left else int(root) + int(table["right"][at])
            leaves[i, t] = at - root
    return leaves


@op(
    "X: T[n,d], nodes: i64[v,2], roots: i64[t], sides: u8[q,32], values: f64[l,s] -> sums: f64[n,s]"
)
def predict(
    X: np.ndarray, nodes: np.ndarray, roots: np.ndarray, sides: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The sum over trees of the values of each row's leaves.

    Parameters
    ----------
    X, nodes, roots, sides :
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
    >>> X, none = np.array([[0.0], [1.0]]), np.zeros((0, 32), np.uint8)
    >>> tree.predict(X, words, np.array([0]), none, values).ravel()
    array([3., 4.])
    """
    walks.check_nodes("predict", nodes, roots, sides, X.shape[1], len(values))
    leaves = apply.specification(X, nodes, roots, sides)
    sums = np.zeros((len(X), values.shape[1]))
    for t, root in enumerate(roots):
        sums += values[walks.nodes_of(nodes)["right"][leaves[:, t] + root]]
    return sums


@op(
    "X: T[n,d], nodes: i64[v,2], roots: i64[t], sides: u8[q,32], cover: f64[v], values: f64[l,s],"
    " start: f64[k] -> phi: f64[n,k,d+1]",
    cuda="contributions are computed on the CPU",
)
def contributions(
    X: np.ndarray, nodes: np.ndarray, roots: np.ndarray, sides: np.ndarray, cover: np.ndarray,
    values: np.ndarray, start: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Shapley values of the features, along the paths of trees.

    Parameters
    ----------
    X, nodes, roots, sides :
        As in `apply`.
    cover : ndarray of shape (v,), float64
        Weight of the training rows of each node, above 0.
    values : ndarray of shape (l, s), float64
        Values of leaves, by the number that a leaf has in `right`. Tree i adds them to the s scores
        from ``s * (i mod (k / s))`` on.
    start : ndarray of shape (k,), float64
        Scores without a tree; k is a multiple of s.

    Returns
    -------
    phi : ndarray of shape (n, k, d + 1), float64
        What each feature adds to the score, and last the expected score; they add up to it.

    Raises
    ------
    ValueError
        As `predict`, or if k is not a multiple of s.

    Notes
    -----
    The worth of a set of features is the expected value of a tree where these are known: at a split
    of another feature both children count, by cover. Shapley's value of a feature is its gain of
    worth, averaged over all orders of the features of the tree. The specification tries all sets.
    Lundberg, Erion and Lee (2018), "Consistent individualized feature attribution for tree
    ensembles", need O(leaves depth^2) for a row and tree; integrals over each edge need O(nodes
    depth).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import tree
    >>> nodes = np.array([(0.5, 0, 2), (0, -1, 0), (0, -1, 1)], tree.NODE)
    >>> words, none = nodes.view(np.int64).reshape(-1, 2), np.zeros((0, 32), np.uint8)
    >>> X, root, cover = np.array([[1.0]]), np.zeros(1, np.int64), np.array([2.0, 1, 1])
    >>> values = np.array([[3.0], [4.0]])
    >>> tree.contributions(X, words, root, none, cover, values, np.zeros(1)).ravel().tolist()
    [0.5, 3.5]
    """
    k, s = len(start), values.shape[1]
    if s == 0 or k == 0 or k % s != 0:
        raise ValueError(
            "tree.contributions: start must have a multiple of the columns of values, got "
            f"{k} and {s}"
        )
    walks.check_nodes("contributions", nodes, roots, sides, X.shape[1], len(values))
    phi = np.zeros((len(X), k, X.shape[1] + 1))
    phi[:, :, -1] = start
    for t, root in enumerate(roots):
        first = t % (k // s) * s
        phi[:, first : first + s] += walks.expectation(X, nodes, int(root), sides, cover, values)
    return phi
