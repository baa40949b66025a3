"""Trees grown on histograms of binned features, for boosting.

Symbols: n rows, d features, k scores of a row (classes), v nodes of a tree, q groups of features.

Features are coded in one byte: 0 is missing, codes from 1 rise with the value (or are levels of a
categorical feature). Codes lie in blocks of features, ``codes[block, row, feature in block]``, so
that a row of a block is one read and the histograms of a block fit the first-level cache; the last
block is padded. ``counts[f]`` is the number of codes of feature f, missing and unseen included.

Gradients and hessians are rounded to whole multiples of a step, so their sums are exact: the
histogram of a node is that of its parent less its sibling's, bit for bit, and results have the same
bits at any thread count. See `grow` for the steps.

Rows are finite numbers or NaN, infinity included; targets, gradients and weights must be finite.
Empty input gives empty results. Deterministic. What does not fit raises ValueError. Cost is counted
in rows times features looked at.
"""

from __future__ import annotations

import numpy as np

from . import histogram_walks as walks
from ._op import op
from .histogram_growth import Growth
from .histogram_losses import LOSSES, check_classes, losses_of, slopes_of
from .tree_walks import CATEGORY, MISSING, NODE

__all__ = ["CATEGORY", "LOSSES", "MISSING", "NODE"]


@op(
    "X: T[n,d], weight: f64[w=n|0], cuts: int[1,255) -> edges: f64[d,cuts], count: i32[d]",
    cuda="thresholds come from a sample of the rows, on the CPU",
)
def edges(X: np.ndarray, weight: np.ndarray, cuts: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds that cut each feature into bins of about equal weight.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows; NaN is left out.
    weight : ndarray of shape (n,) or (0,), float64
        Weights above 0; none stand for ones.
    cuts : int
        Most thresholds: one less than bins.

    Returns
    -------
    edges : ndarray of shape (d, cuts), float64
        Rising; inf behind the last one.
    count : ndarray of shape (d,), int32
        Number of thresholds of each feature.

    Notes
    -----
    A threshold lies in the middle between two neighbouring values ``low < high``, or is low where
    rounding gives no number in ``[low, high)``. All neighbours are separated where there are at
    most cuts + 1 values. Else threshold number j is behind the first value up to which the weight
    is at least ``j / (cuts + 1)`` of the whole, less 2**-40 of it for rounding. Cost O(n d).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> edges, count = histogram.edges(np.array([[1.0], [2.0], [4.0]]), np.zeros(0), 4)
    >>> edges[0, : count[0]].tolist()
    [1.5, 3.0]
    """
    n, d = X.shape
    out, count = np.full((d, cuts), np.inf), np.zeros(d, np.int32)
    w = weight if len(weight) else np.ones(n)
    for f in range(d):
        x = X[:, f].astype(np.float64)
        present = ~np.isnan(x)
        values, where = np.unique(x[present], return_inverse=True)
        if len(values) < 2:
            continue
        behind = np.arange(len(values) - 1)
        if len(behind) > cuts:
            below = np.cumsum(np.bincount(where, w[present]))
            wanted = below[-1] * (np.arange(1, cuts + 1) / (cuts + 1) - 2.0**-40)
            behind = np.unique(np.searchsorted(below, wanted))
            behind = behind[behind < len(values) - 1]
        low, high = values[behind], values[behind + 1]
        with np.errstate(invalid="ignore"):
            middle = low / 2 + high / 2
        middle = np.where((low <= middle) & (middle < high), middle, low)
        count[f] = len(middle)
        out[f, : len(middle)] = middle
    return out, count


@op(
    "X: T[n,d], edges: f64[d,e], count: host i32[d], categorical: host bool[d],"
    " blocks: int[0,2**31), width: int[1,17) -> codes: u8[blocks,n,width]"
)
def encode(
    X: np.ndarray, edges: np.ndarray, count: np.ndarray, categorical: np.ndarray, blocks: int,
    width: int,
) -> np.ndarray:  # fmt: skip
    """Codes of rows.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    edges : ndarray of shape (d, e), float64
        Thresholds, or levels of a categorical feature, rising.
    count : ndarray of shape (d,), int32
        Number of them, at most 254 thresholds or 255 levels.
    categorical : ndarray of shape (d,), bool
        Which features are categorical.
    blocks, width : int
        Number of blocks, and features of each; at least d together.

    Returns
    -------
    codes : ndarray of shape (blocks, n, width), uint8
        0 for NaN; one more than the number of thresholds below the value; one more than the place
        of a level, or ``count + 1`` where it is unknown (0 where count is 255). 0 in padding.

    Raises
    ------
    ValueError
        If blocks are too few or a count does not fit.

    Notes
    -----
    ``x <= edges[j]`` is ``code <= j + 1``. Cost O(n d log e).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> X, edges = np.array([[1.0], [3.0], [np.nan]]), np.array([[2.0]])
    >>> one, numbers = np.array([1], np.int32), np.array([False])
    >>> histogram.encode(X, edges, one, numbers, 1, 1).ravel().tolist()
    [1, 2, 0]
    """
    n, d = X.shape
    if blocks * width < d:
        raise ValueError(
            f"histogram.encode: blocks times width must be at least {d}, got {blocks * width}"
        )
    if ((count < 0) | (count > np.minimum(edges.shape[1], 254 + categorical))).any():
        raise ValueError(
            f"histogram.encode: count must be at most {edges.shape[1]}, 254 and 255 for levels, "
            f"got {count.max()}"
        )
    flat = np.zeros((n, blocks * width), np.uint8)
    for f in range(d):
        x, own = X[:, f].astype(np.float64), edges[f, : count[f]]
        at = np.searchsorted(own, x)
        code = at + 1
        if categorical[f]:
            unseen = count[f] + 1 if count[f] < 255 else 0
            known = at < count[f]
            known[known] = own[at[known]] == x[known]
            code = np.where(known, code, unseen)
        flat[:, f] = np.where(np.isnan(x), 0, code)
    return np.ascontiguousarray(flat.reshape(n, blocks, width).transpose(1, 0, 2))


@op(
    "y: f64[n], raw: f64[k,n], weight: f64[w=n|0], loss: int[0,9), parameter: float, unit: bool"
    " -> gradient: f64[k,n], hessian: f64[k,unit?1:n]"
)
def slopes(
    y: np.ndarray, raw: np.ndarray, weight: np.ndarray, loss: int, parameter: float, unit: bool
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivatives of a loss by the scores.

    Parameters
    ----------
    y : ndarray of shape (n,), float64
        Targets; numbers of classes for log loss.
    raw : ndarray of shape (k, n), float64
        Scores: one row of them, or one for each class of the multinomial loss.
    weight : ndarray of shape (n,) or (0,), float64
        Weights; none stand for ones.
    loss : int
        Index into `LOSSES`.
    parameter : float
        Level of the quantile, or half width of Huber's square.
    unit : bool
        True where all second derivatives are 1: only one of them is returned.

    Returns
    -------
    gradient : ndarray of shape (k, n), float64
        Weight times first derivative.
    hessian : ndarray of shape (k, n) or (k, 1), float64
        Weight times second derivative, or a bound of it: 1 for the absolute error, the quantile
        and Huber's loss, ``tanh(r) / r`` for log cosh.

    Raises
    ------
    ValueError
        If a class is not below k.

    Notes
    -----
    With ``r = raw - y`` the losses are: squared error ``r^2 / 2``; absolute error ``|r|``;
    pinball ``max(-a r, (1 - a) r)``; Huber ``r^2 / 2`` up to ``|r| = a``, straight beyond; log cosh
    ``log cosh r``; Poisson ``exp(raw) - y raw``; gamma ``raw + y exp(-raw)``; log loss ``log(1 +
    exp(raw)) - y raw``; multinomial ``log sum exp raw - raw[y]``. Cost O(n k).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> squared, y, raw = histogram.LOSSES.index("squared_error"), np.array([1.0]), np.ones((1, 1))
    >>> gradient, _ = histogram.slopes(y, 3 * raw, np.zeros(0), squared, 0.0, True)
    >>> float(gradient[0, 0])
    2.0
    """
    check_classes("slopes", loss, y, len(raw))
    gradient, hessian = slopes_of(LOSSES[loss], y, raw, parameter)
    if len(weight):
        gradient, hessian = gradient * weight, hessian * weight
    return gradient, np.ones((len(raw), 1)) if unit else hessian


@op(
    "y: f64[n], raw: f64[k,n], weight: f64[w=n|0], loss: int[0,9), parameter: float"
    " -> mean: float"
)
def deviance(
    y: np.ndarray, raw: np.ndarray, weight: np.ndarray, loss: int, parameter: float
) -> float:
    """Weighted mean of a loss.

    Parameters
    ----------
    y, raw, weight, loss, parameter :
        As in `slopes`.

    Returns
    -------
    mean : float
        0 without rows.

    Raises
    ------
    ValueError
        If a class is not below k.

    Notes
    -----
    Cost O(n k).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> y, raw = np.array([1.0, 2.0]), np.array([[3.0, 2.0]])
    >>> float(histogram.deviance(y, raw, np.zeros(0), 0, 0.0))
    1.0
    """
    check_classes("deviance", loss, y, len(raw))
    if not len(y):
        return 0.0
    each = losses_of(LOSSES[loss], y, raw, parameter)
    if not len(weight):
        return float(each.sum() / len(y))
    return float((each * weight).sum() / weight.sum())


@op(
    "codes: u8[b,n,w], counts: host i32[d], categorical: host bool[d], gradient: f64[n],"
    " hessian: f64[h=n|1], rule: host f64[9], monotonic: host i32[d]?, groups: host bool[q,d]?,"
    " seed: int[0,2**64), rows: inout i32[n], nodes: int[1,2**31)"
    " -> split: i32[nodes,8], stats: f64[nodes,4], sides: u8[nodes,32], count: int"
)
def grow(
    codes: np.ndarray, counts: np.ndarray, categorical: np.ndarray, gradient: np.ndarray,
    hessian: np.ndarray, rule: np.ndarray, monotonic: np.ndarray | None,
    groups: np.ndarray | None, seed: int, rows: np.ndarray, nodes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:  # fmt: skip
    """One tree: the leaf whose split gains most is split, until nothing gains or fits.

    Parameters
    ----------
    codes : ndarray of shape (b, n, w), uint8
        Rows, as `encode` gives them.
    counts : ndarray of shape (d,), int32
        Number of codes of each feature, from 1 to 256; codes are below it.
    categorical : ndarray of shape (d,), bool
        Which features are categorical.
    gradient : ndarray of shape (n,), float64
        First derivatives of the loss.
    hessian : ndarray of shape (n,) or (1,), float64
        Second derivatives, not below 0; one stands for all rows.
    rule : ndarray of shape (9,), float64
        ``[rate, l2, l1, min_leaf, min_hessian, max_depth, share, min_gain, coarse]``: factor of
        the values of nodes; penalties of values; fewest rows of a leaf, and least sum of its
        hessians; most comparisons to a leaf, 0 for no limit; share of the allowed features that a
        node looks at, drawn anew; least gain; fewest rows for coarse steps.
    monotonic : ndarray of shape (d,), int32, optional
        1 where values must not fall with the feature, -1 where they must not rise, 0 for neither.
    groups : ndarray of shape (q, d), bool, optional
        Features that may be split below each other: all features on a path are in one group.
    seed : int
        Of draws and of the rounding of coarse steps.
    rows : ndarray of shape (n,), int32
        Becomes the rows of the nodes: those of node i stand in its span, in rising order.
    nodes : int
        Most nodes: twice the leaves less 1.

    Returns
    -------
    split : ndarray of shape (nodes, 8), int32
        ``[feature, code, missing left, left, right, start, stop, depth]`` of each node, depth
        first: feature -1 and no children (-1) for a leaf; codes up to ``code`` go left, -1 for
        categorical splits.
    stats : ndarray of shape (nodes, 4), float64
        ``[gain, value, sum of gradients, sum of hessians]``; those of leaves are sums of what was
        given, the others of whole steps.
    sides : ndarray of shape (nodes, 32), uint8
        Bit c mod 8 of byte c div 8 is 1 where code c goes left.
    count : int
        Number of nodes; what is behind them is 0.

    Raises
    ------
    ValueError
        If counts do not fit the codes' blocks.

    Notes
    -----
    A leaf of gradient G and hessian H has the value ``-t(G) / (H + l2)``, t moving G towards 0 by
    l1, and lowers the objective by ``t(G)^2 / (2 (H + l2))``; a gain is what the children lower it
    more than the node. The largest gain wins, then the lowest feature, then the lowest cut, then
    missing right; a gain must be above min_gain and 2**-40 of what the children gain. Rows with a
    missing code go to the side where they gain most, or apart from all others; where a node has
    none, and for codes that it lacks, to the child with more rows. Levels are ordered by
    ``G / (H + l2)`` and cut once (Fisher 1958, "On grouping for maximum homogeneity"). Against
    noise, those of fewer than min_leaf / 2 rows count as one, and l2 is raised by the hessian of
    min_leaf - 1 mean rows of the node, in order and gain. Under a monotonic constraint values of
    children are clipped to bounds, and keep to either side of their middle.

    Steps are the largest power of two with which n rows still sum exactly in float64: about
    ``2**(log2(n) - 52)`` of the largest entry. From ``coarse`` rows on they are 1/8191 of the
    largest gradient and 1/16383 of the largest hessian, rounded up or down at random by a hash of
    the row, so that sums have no bias, if that is at most 1/16 of their mean sizes; gains must then
    exceed what the rounding may feign, ``4 (1 + (G/H)^2) rows / H`` in steps. (Shi et al., 2022,
    "Quantized training of gradient boosting decision trees", do with fewer bits.)

    Cost: rows of the smaller child of each split times d, and 256 d for each node.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> codes = np.array([[[1], [1], [2]]], np.uint8)
    >>> rule = np.array([1.0, 0, 0, 1, 0, 0, 1, 0, 1e9])
    >>> gradient, rows = np.array([-1.0, -1.0, 5.0]), np.arange(3, dtype=np.int32)
    >>> split, stats, _, count = histogram.grow(
    ...     codes, np.array([3], np.int32), np.array([False]), gradient, np.ones(1), rule, None,
    ...     None, 0, rows, 5)
    >>> count, stats[:count, 1].tolist()
    (3, [-1.0, 1.0, -5.0])
    """
    d = len(counts)
    if codes.shape[0] * codes.shape[2] < d or ((counts < 1) | (counts > 256)).any():
        raise ValueError(
            f"histogram.grow: counts must be of at most {codes.shape[0] * codes.shape[2]} "
            f"features, from 1 to 256, got {d} up to {counts.max(initial=0)}"
        )
    n = codes.shape[1]
    flat = codes.transpose(1, 0, 2).reshape(n, -1)[:, :d]
    growth = Growth(flat, counts, categorical, gradient, hessian, rule, monotonic, groups, seed)
    return growth.tree(rows, nodes)


@op(
    "residual: f64[n], weight: f64[w=n|0], rows: i32[n], spans: host i32[m,2], level: float"
    " -> value: f64[m]"
)
def quantiles(
    residual: np.ndarray, weight: np.ndarray, rows: np.ndarray, spans: np.ndarray, level: float
) -> np.ndarray:
    """Weighted quantile of the residuals of each leaf.

    Parameters
    ----------
    residual : ndarray of shape (n,), float64
        Target less score of each row.
    weight : ndarray of shape (n,) or (0,), float64
        Weights above 0; none stand for ones.
    rows : ndarray of shape (n,), int32
        Rows in the order of leaves.
    spans : ndarray of shape (m, 2), int32
        Places of the rows of each leaf.
    level : float
        Between 0 and 1.

    Returns
    -------
    value : ndarray of shape (m,), float64
        The number with the least pinball loss, the middle of several; 0 for an empty span.

    Raises
    ------
    ValueError
        If spans or rows lie outside.

    Notes
    -----
    With values sorted, the first one up to which the weight is at least ``level`` of the whole, or
    the middle of it and the next where the weight is that within 2**-40. Cost O(n log n).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> r, rows, one = np.array([3.0, 1.0, 2.0]), np.arange(3, dtype=np.int32), np.zeros(0)
    >>> histogram.quantiles(r, one, rows, np.array([[0, 3], [0, 2]], np.int32), 0.5).tolist()
    [2.0, 2.0]
    """
    walks.check_spans("quantiles", rows, spans, len(residual))
    value = np.zeros(len(spans))
    for i, (start, stop) in enumerate(spans):
        own = rows[start:stop]
        if not len(own):
            continue
        order = own[np.argsort(residual[own], kind="stable")]
        below = np.cumsum(weight[order]) if len(weight) else np.arange(1.0, len(order) + 1)
        wanted, slack = level * below[-1], 2.0**-40 * below[-1]
        at = min(int(np.searchsorted(below, wanted - slack)), len(order) - 1)
        value[i] = residual[order[at]]
        if below[at] <= wanted + slack and at + 1 < len(order):
            value[i] = residual[order[at]] / 2 + residual[order[at + 1]] / 2
    return value


@op("rows: i32[n], spans: host i32[m,2], value: host f64[m], raw: inout f64[r] -> ")
def add(rows: np.ndarray, spans: np.ndarray, value: np.ndarray, raw: np.ndarray) -> None:
    """Add the value of each leaf to the scores of its rows.

    Parameters
    ----------
    rows : ndarray of shape (n,), int32
        Rows in the order of leaves, each once.
    spans : ndarray of shape (m, 2), int32
        Places of the rows of each leaf; no two overlap.
    value : ndarray of shape (m,), float64
        Of each leaf.
    raw : ndarray of shape (r,), float64
        Scores, updated.

    Returns
    -------
    None

    Raises
    ------
    ValueError
        If spans or rows lie outside.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> raw, rows = np.zeros(3), np.array([2, 0, 1], np.int32)
    >>> histogram.add(rows, np.array([[0, 1], [1, 3]], np.int32), np.array([5.0, 7.0]), raw)
    >>> raw.tolist()
    [7.0, 7.0, 5.0]
    """
    walks.check_spans("add", rows, spans, len(raw))
    for (start, stop), own in zip(spans, value, strict=True):
        raw[rows[start:stop]] += own


@op("codes: u8[b,n,w], split: host i32[v,8], sides: host u8[v,32] -> leaves: i32[n]")
def walk(codes: np.ndarray, split: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The leaf of each coded row.

    Parameters
    ----------
    codes : ndarray of shape (b, n, w), uint8
        Rows.
    split : ndarray of shape (v, 8), int32
        Nodes, as `grow` gives them, without those not used.
    sides : ndarray of shape (v, 32), uint8
        Codes that go left.

    Returns
    -------
    leaves : ndarray of shape (n,), int32
        Numbers of nodes.

    Raises
    ------
    ValueError
        If a node names a feature outside the codes, or a child that does not come behind it.

    Notes
    -----
    Cost O(n depth).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> split = np.array([[0, 1, 0, 1, 2, 0, 0, 0]] + [[-1] * 8] * 2, np.int32)
    >>> sides = np.zeros((3, 32), np.uint8)
    >>> sides[0, 0] = 2  # code 1
    >>> histogram.walk(np.array([[[1], [2]]], np.uint8), split, sides).tolist()
    [1, 2]
    """
    b, n, w = codes.shape
    inner = np.flatnonzero(split[:, 0] >= 0)
    children = split[inner, 3:5]
    fits = (split[inner, 0] < b * w) & (children > inner[:, None]).all(axis=1)
    if not (len(split) and fits.all() and (children < len(split)).all()):
        raise ValueError(
            "histogram.walk: split must name features of the codes and children behind their "
            "parent, got others"
        )
    at = np.zeros(n, np.int32)
    for node in inner:  # parents come first
        own = at == node
        code = codes[split[node, 0] // w, :, split[node, 0] % w]
        left = (sides[node][code // 8] >> (code % 8)) & 1 == 1
        at[own & left] = split[node, 3]
        at[own & ~left] = split[node, 4]
    return at


@op(
    "X: T[n,d], nodes: i64[v,2], roots: i64[t], sides: u8[s,32], start: f64[k] -> raw: f64[n,k]"
)
def predict(
    X: np.ndarray, nodes: np.ndarray, roots: np.ndarray, sides: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Scores of rows: a start and a leaf of every tree.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows; codes in the columns of categorical features.
    nodes : ndarray of shape (v, 2), int64
        Trees one after another, as `NODE`; children are counted from the root of their tree.
    roots : ndarray of shape (t,), int64
        Where each tree begins. Tree i adds to score i mod k.
    sides : ndarray of shape (s, 32), uint8
        Codes that go left, for the categorical splits.
    start : ndarray of shape (k,), float64
        Scores without a tree.

    Returns
    -------
    raw : ndarray of shape (n, k), float64
        Sums in the order of trees.

    Raises
    ------
    ValueError
        If a node names a feature that X lacks, a child that does not come behind it, or sides that
        do not exist.

    Notes
    -----
    A code outside 0 to 255 counts as 0. Cost O(n t depth).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import histogram
    >>> nodes = np.array([(0.5, 0, 2), (3.0, -1, 0), (4.0, -1, 0)], histogram.NODE)
    >>> words, none = nodes.view(np.int64).reshape(-1, 2), np.zeros((0, 32), np.uint8)
    >>> X, root = np.array([[0.0], [1.0]]), np.zeros(1, np.int64)
    >>> histogram.predict(X, words, root, none, np.zeros(1)).ravel().tolist()
    [3.0, 4.0]
    """
    walks.check_nodes("predict", nodes, roots, sides, X.shape[1], len(start))
    raw = np.tile(start, (len(X), 1))
    for t, root in enumerate(roots):
        raw[:, t % len(start)] += walks.add_up(X, nodes, int(root), sides)
    return raw
