"""Forces between points of a map, those of t-SNE and the epochs of UMAP; paths of a graph.

Points are the rows of Y, with ``t = y_i - y_j``, ``d2 = sum t^2`` and ``w_ij = 1 / (1 + d2)``.
A graph lists the neighbours of each point: those of point i are ``indices[offsets[i] :
offsets[i + 1]]``.

Places must be finite: what NaN among values or rates gives is NaN. Empty Y gives empty results.
What does not fit raises ValueError. Deterministic: the same bits at any thread count. Cost is
stated per op.
"""

from __future__ import annotations

import numpy as np

from ._op import op
from .random import philox4x32

_HOST = "walks of trees and of ragged lists of neighbours branch at every step"
CLIP = 4.0  # most that a coordinate of UMAP is pushed at once
NEAR = 1e-3  # keeps the push of close points finite
TOGETHER = 16  # points that push at once
TURN = 0.61803398874989485  # golden ratio: edges take turns evenly
AXES = 3  # most columns of Y for a tree


@op("Y: f64[n,q>=1], theta: float -> force: f64[n,q], weight: f64[n]", cuda=_HOST)
def repulsion(Y: np.ndarray, theta: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """What pushes the points of t-SNE apart, before it is divided by the sum of weights.

    Parameters
    ----------
    Y : ndarray of shape (n, q), float64
        Points, finite and below 1e150.
    theta : float
        In [0, 1]. Distant points count as one at their mean where the widest side of their box is
        less than theta times its distance from a group of points; 0 takes all pairs. Above 0, Y has
        at most 3 columns, and differences are float32.

    Returns
    -------
    force : ndarray of shape (n, q), float64
        ``sum_j w_ij^2 (y_i - y_j)``.
    weight : ndarray of shape (n,), float64
        ``sum over j != i of w_ij``.

    Raises
    ------
    ValueError
        If theta is out of range, Y has too many columns for it, or is not finite.

    Notes
    -----
    Cost n log n for theta above 0: a tree along Morton's curve, walked by 16 points at a time. The
    share that is neglected of a term is of order theta squared.

    References
    ----------
    Barnes, Hut (1986), "A hierarchical O(N log N) force-calculation algorithm"; van der Maaten
    (2014), "Accelerating t-SNE using tree-based algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import layout
    >>> layout.repulsion(np.array([[0.0], [1.0]]))
    (array([[-0.25],
           [ 0.25]]), array([0.5, 0.5]))
    """
    if not 0 <= theta <= 1:
        raise ValueError(f"layout.repulsion: theta must be in [0, 1], got {theta}")
    if theta > 0 and Y.shape[1] > AXES:
        raise ValueError(
            "layout.repulsion: Y must have at most 3 columns if theta is above 0, got "
            f"{Y.shape[1]}"
        )
    if not (np.abs(Y) <= 1e150).all():
        raise ValueError("layout.repulsion: Y must be finite and below 1e150, got others")
    t = Y[:, None] - Y[None]
    w = 1 / (1 + (t * t).sum(axis=2))
    force = (w[:, :, None] ** 2 * t).sum(axis=1)
    np.fill_diagonal(w, 0)
    return force, w.sum(axis=1)


@op(
    "Y: f64[n,q>=1], offsets: i64[n+1], indices: i32[t], values: f64[t], divergence: bool"
    " -> force: f64[n,q], cross: f64[n]",
    cuda=_HOST,
)
def attraction(
    Y: np.ndarray,
    offsets: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    divergence: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """What pulls the points of t-SNE together.

    Parameters
    ----------
    Y : ndarray of shape (n, q), float64
        Points.
    offsets : ndarray of shape (n + 1,), int64
        Where the neighbours of each point begin.
    indices : ndarray of shape (t,), int32
        Neighbours.
    values : ndarray of shape (t,), float64
        Their probabilities p.
    divergence : bool
        Whether to compute `cross`.

    Returns
    -------
    force : ndarray of shape (n, q), float64
        ``sum_j p_ij w_ij (y_i - y_j)``.
    cross : ndarray of shape (n,), float64
        ``sum_j p_ij log(1 + d2)``; zeros unless asked for.

    Raises
    ------
    ValueError
        If offsets do not rise from 0 to t, or a neighbour is no point.

    Notes
    -----
    Cost O(t q).

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import layout
    >>> Y, edges = np.array([[0.0], [1.0]]), np.array([1, 0], np.int32)
    >>> layout.attraction(Y, np.array([0, 1, 2]), edges, np.array([0.5, 0.5]))[0]
    array([[-0.25],
           [ 0.25]])
    """
    _check_graph("attraction", offsets, indices, len(Y))
    force, cross = np.zeros(Y.shape), np.zeros(len(Y))
    for i in range(len(Y)):
        near = slice(offsets[i], offsets[i + 1])
        t, p = Y[i] - Y[indices[near]], values[near]
        d2 = (t * t).sum(axis=1)
        force[i] = (p / (1 + d2)) @ t
        if divergence:
            cross[i] = p @ np.log1p(d2)
    return force, cross


@op(
    "Y: inout f32[n,q>=1], Z: f32[m,q]?, offsets: i64[n+1], indices: i32[t], rates: f32[t],"
    " first: int[0,2**31), count: int[0,2**31), total: int[1,2**31), a: float, b: float,"
    " gamma: float, alpha: float, negatives: int[0,2**16), seed: int[0,2**64) -> ",
    cuda=_HOST,
)
def umap(
    Y: np.ndarray,
    Z: np.ndarray | None,
    offsets: np.ndarray,
    indices: np.ndarray,
    rates: np.ndarray,
    first: int,
    count: int,
    total: int,
    a: float,
    b: float,
    gamma: float = 1.0,
    alpha: float = 1.0,
    negatives: int = 5,
    seed: int = 0,
) -> None:
    """Some epochs of UMAP.

    Parameters
    ----------
    Y : ndarray of shape (n, q), float32, C-contiguous, updated in place
        Points.
    Z : ndarray of shape (m, q), float32, optional
        Other points, which stay where they are and to which the edges lead. Left out, the points
        of Y are each other's neighbours.
    offsets : ndarray of shape (n + 1,), int64
        Where the neighbours of each point begin.
    indices : ndarray of shape (t,), int32
        Neighbours.
    rates : ndarray of shape (t,), float32
        How often an edge acts: in the epochs e where ``floor((e + 1) rate + f) > floor(e rate +
        f)``, f the fractional part of 0.618... times its number, so that edges take turns.
    first : int
        The first epoch.
    count : int
        Number of epochs.
    total : int
        Number of all epochs: steps are ``alpha (1 - e / total)``.
    a : float
        With `b`, the curve ``1 / (1 + a d2^b)``.
    b : float
        See `a`.
    gamma : float
        Strength of the push.
    alpha : float
        First step.
    negatives : int
        Points drawn for each edge that acts.
    seed : int
        Seed of these.

    Returns
    -------
    None

    Raises
    ------
    ValueError
        If offsets do not rise from 0 to t, or a neighbour is no point.

    Notes
    -----
    In an epoch each point moves by itself, against the places of the others before the epoch. For
    each edge that acts, in order, it is pulled by
    ``step clip(-2 a b d2^(b - 1) / (1 + a d2^b) t)``: twice without Z, as each edge stands for both
    of its ends. Then it is pushed from the drawn points, 16 at once, by
    ``step sum clip(2 gamma b / ((0.001 + d2) (1 + a d2^b)) t)``. A coordinate is clipped to
    [-4, 4]. Draw k of point i in epoch e is word ``k mod 4`` of block ``2^24 i + k // 4`` of
    stream e of `kernelmill.ops.random`, times m, by 2^32; the point itself does not count.
    Arithmetic is float32. Cost O(q) an edge that acts, and a draw.

    References
    ----------
    McInnes, Healy, Melville (2018), "UMAP: uniform manifold approximation and projection for
    dimension reduction".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import layout
    >>> Y, edges = np.array([[0.0], [1.0]], np.float32), np.array([1, 0], np.int32)
    >>> rates = np.ones(2, np.float32)
    >>> layout.umap(Y, None, np.array([0, 1, 2]), edges, rates, 0, 1, 2, 1.0, 1.0, negatives=0)
    >>> Y.ravel()
    array([1., 0.], dtype=float32)
    """
    m = len(Y if Z is None else Z)
    _check_graph("umap", offsets, indices, m)

    def curve(d2: np.ndarray) -> np.ndarray:
        return 1 + a * d2**b

    phases = np.modf(np.arange(len(rates)) * TURN)[0]
    for e in range(first, first + count):
        step = alpha * (1 - e / total)
        X = (Y.copy() if Z is None else Z).astype(np.float64)
        r = rates.astype(np.float64)
        acts = np.floor((e + 1) * r + phases) > np.floor(e * r + phases)
        for i in range(len(Y)):
            y = Y[i].astype(np.float64)
            edges = offsets[i] + np.flatnonzero(acts[offsets[i] : offsets[i + 1]])
            for j in np.repeat(indices[edges], 2 if Z is None else 1):
                t = y - X[j]
                d2 = (t * t).sum()
                if d2 > 0:
                    g = -2 * a * b * d2 ** (b - 1) / curve(d2)
                    y += step * np.clip(g * t, -CLIP, CLIP)
            drawn = len(edges) * negatives
            blocks = np.arange((drawn + 3) // 4, dtype=np.uint64) + np.uint64(i << 24)
            words = philox4x32(blocks, seed, e).ravel()[:drawn]
            at = (words * np.uint64(m) >> np.uint64(32)).astype(np.int64)
            for some in np.split(at, range(TOGETHER, drawn, TOGETHER)):
                t = y - X[some]
                d2 = (t * t).sum(axis=1)
                g = 2 * gamma * b / ((NEAR + d2) * curve(d2))
                if Z is None:
                    g[some == i] = 0
                y += step * np.clip(g[:, None] * t, -CLIP, CLIP).sum(axis=0)
            Y[i] = y


@op("offsets: i64[n+1], indices: i32[t], lengths: f64[t] -> distances: f64[n,n]", cuda=_HOST)
def paths(offsets: np.ndarray, indices: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Lengths of the shortest paths between all points of a graph.

    Parameters
    ----------
    offsets : ndarray of shape (n + 1,), int64
        Where the edges of each point begin.
    indices : ndarray of shape (t,), int32
        Points that the edges lead to. Several may join the same two points.
    lengths : ndarray of shape (t,), float64
        Their lengths, at least 0.

    Returns
    -------
    distances : ndarray of shape (n, n), float64
        The least sum of lengths on a way from point i to point j, added up from i on; 0 on the
        diagonal, infinity where there is no way.

    Raises
    ------
    ValueError
        If a length is below 0 or NaN, offsets do not rise from 0 to t, or an edge leads to no
        point.

    Notes
    -----
    Cost n (n + t) log n: a heap for each point, which threads share out.

    References
    ----------
    Dijkstra (1959), "A note on two problems in connexion with graphs".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import layout
    >>> layout.paths(np.array([0, 1, 2, 2]), np.array([1, 2], np.int32), np.array([1.0, 2.0]))
    array([[ 0.,  1.,  3.],
           [inf,  0.,  2.],
           [inf, inf,  0.]])
    """
    n = len(offsets) - 1
    bad = ~(lengths >= 0)
    if bad.any():
        raise ValueError(f"layout.paths: lengths must be at least 0, got {lengths[bad][0]:g}")
    _check_graph("paths", offsets, indices, n)
    distances = np.full((n, n), np.inf)
    np.fill_diagonal(distances, 0.0)
    begins = np.repeat(np.arange(n), np.diff(offsets))
    while True:  # ways of one more edge, until none is shorter
        further = distances.copy()
        np.minimum.at(further.T, indices, (distances[:, begins] + lengths).T)
        if (further == distances).all():
            return distances
        distances = further


def _check_graph(name: str, offsets: np.ndarray, indices: np.ndarray, points: int) -> None:
    t = len(indices)
    if offsets[0] != 0 or offsets[-1] != t or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"layout.{name}: offsets must rise from 0 to the number of indices, {t}, got others"
        )
    if t and not (indices.min() >= 0 and indices.max() < points):
        raise ValueError(f"layout.{name}: indices must be in [0, {points}), got others")
