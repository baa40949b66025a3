"""Distances between and within clusters."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .._docstrings import complete
from ..ops import pairwise, silhouette
from ._clustering import CHUNK_BYTES, Clustering, check
from ._words import DISTANCES


def inter_cluster_distances(X: Any, labels: Any, *, kind: str = "centroid") -> Any:
    """Distance between each pair of clusters.

    Parameters
    ----------
    kind : {"centroid", "average", "single", "complete"}, default="centroid"
        Where c_g is the mean of cluster g and n_g its number of rows:

        - ``"centroid"``: ``||c_g - c_h||``
        - ``"average"``: ``sum_{i in g, j in h} ||x_i - x_j|| / (n_g n_h)``
        - ``"single"``: ``min_{i in g, j in h} ||x_i - x_j||``
        - ``"complete"``: ``max_{i in g, j in h} ||x_i - x_j||``

    Returns
    -------
    D : ndarray of shape (k, k), float64
        Symmetric, zero on the diagonal; rows and columns in the order of the sorted labels.

    See Also
    --------
    intra_cluster_distances : The spread within clusters.

    Notes
    -----
    ``"centroid"`` costs 3 n d flops, the others 2 n^2 d; memory is bounded, as no n x n matrix
    is stored. A CuPy X gives a CuPy result; ``"single"`` and ``"complete"`` need NumPy.

    References
    ----------
    Lance and Williams (1967), "A general theory of classificatory sorting strategies", for the four
    kinds.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.metrics import inter_cluster_distances
    >>> X = np.array([[0.0], [2.0], [10.0], [14.0]])
    >>> inter_cluster_distances(X, ["a", "a", "b", "b"])
    array([[ 0., 11.],
           [11.,  0.]])
    >>> inter_cluster_distances(X, ["a", "a", "b", "b"], kind="single")
    array([[0., 8.],
           [8., 0.]])
    """
    name = "inter_cluster_distances"
    _check_kind(name, kind, ("centroid", "average", "single", "complete"))
    rows = check(name, X, labels, for_score=False)
    if kind == "centroid":
        distance = pairwise.euclidean(rows.centroids, rows.centroids)
    elif kind == "average":
        distance = _average(rows)
    else:
        distance = _extreme(name, rows, kind)
    distance = (distance + distance.T) / 2  # the two sides are summed in different orders
    distance[rows.xp.arange(rows.n_clusters), rows.xp.arange(rows.n_clusters)] = 0
    return distance


def intra_cluster_distances(X: Any, labels: Any, *, kind: str = "average") -> Any:
    """Spread of the rows within each cluster.

    Parameters
    ----------
    kind : {"average", "centroid", "diameter"}, default="average"
        Where c_g is the mean of cluster g and n_g its number of rows:

        - ``"average"``: ``sum_{i != j in g} ||x_i - x_j|| / (n_g (n_g - 1))``
        - ``"centroid"``: ``sum_{i in g} ||x_i - c_g|| / n_g``
        - ``"diameter"``: ``max_{i, j in g} ||x_i - x_j||``

    Returns
    -------
    spread : ndarray of shape (k,), float64
        In the order of the sorted labels; 0 for a cluster with one row.

    See Also
    --------
    inter_cluster_distances : The distances between clusters.

    Notes
    -----
    ``"centroid"`` costs 5 n d flops, the others ``2 d sum_g n_g^2``; memory is bounded. A CuPy X
    gives a CuPy result.

    References
    ----------
    Bezdek and Pal (1998), "Some new indexes of cluster validity", for the three kinds.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.metrics import intra_cluster_distances
    >>> X = np.array([[0.0], [2.0], [10.0], [14.0]])
    >>> intra_cluster_distances(X, ["a", "a", "b", "b"])
    array([2., 4.])
    >>> intra_cluster_distances(X, ["a", "a", "b", "b"], kind="centroid")
    array([1., 2.])
    """
    name = "intra_cluster_distances"
    _check_kind(name, kind, ("average", "centroid", "diameter"))
    rows = check(name, X, labels, for_score=False)
    if kind == "centroid":
        return rows.sums_about_centroids(1) / rows.sizes
    xp, spread = rows.xp, []
    edges = rows.offsets.tolist()
    for begin, end in itertools.pairwise(edges):
        cluster = rows.grouped[begin:end]
        n = end - begin
        if kind == "average":
            whole = xp.asarray([0, n], dtype=np.int64)
            total = sum(
                silhouette.cluster_distance_sums(cluster[block], cluster, whole).sum()
                for block in _blocks(n, 1)
            )
            spread.append(total / max(n * (n - 1), 1))
        else:
            largest = [pairwise.euclidean(cluster[block], cluster).max() for block in _blocks(n, n)]
            spread.append(xp.stack([xp.asarray(m, dtype=np.float64) for m in largest]).max())
    return xp.stack([xp.asarray(s, dtype=np.float64) for s in spread])


def _check_kind(name: str, kind: str, kinds: tuple[str, ...]) -> None:
    if kind not in kinds:
        raise ValueError(f"{name}: kind must be one of {', '.join(kinds)}, got {kind!r}")


def _blocks(n: int, width: int):
    """Slices of n rows, such that a float64 result of `width` columns stays small."""
    step = max(1, CHUNK_BYTES // (8 * max(width, 1)))
    for begin in range(0, n, step):
        yield slice(begin, min(begin + step, n))


def _average(rows: Clustering) -> Any:
    total = rows.xp.zeros((rows.n_clusters, rows.n_clusters))
    codes = rows.codes[rows.order]
    for block in _blocks(len(rows.X), rows.n_clusters):
        sums = silhouette.cluster_distance_sums(rows.grouped[block], rows.grouped, rows.offsets)
        total += rows.sums(sums, codes[block])
    return total / (rows.sizes[:, None] * rows.sizes)


def _extreme(name: str, rows: Clustering, kind: str) -> np.ndarray:
    if rows.xp is not np:
        raise NotImplementedError(
            f"{name}: kind must be 'centroid' or 'average' for a CuPy X, got {kind!r} (move X to "
            "the host with cupy.asnumpy)"
        )
    extreme, start = (np.minimum, np.inf) if kind == "single" else (np.maximum, -np.inf)
    starts = rows.offsets[:-1]
    distances = np.full((rows.n_clusters, rows.n_clusters), start)
    codes = rows.codes[rows.order]
    for block in _blocks(len(rows.X), len(rows.X)):
        block_distances = pairwise.euclidean(rows.grouped[block], rows.grouped)
        by_cluster = extreme.reduceat(block_distances, starts, axis=1)
        first, last = codes[block][0], codes[block][-1]
        edges = np.searchsorted(codes[block], np.arange(first, last + 1))
        distances[first : last + 1] = extreme(
            distances[first : last + 1], extreme.reduceat(by_cluster, edges, axis=0)
        )
    return distances


for _function in (inter_cluster_distances, intra_cluster_distances):
    complete(_function, DISTANCES)
