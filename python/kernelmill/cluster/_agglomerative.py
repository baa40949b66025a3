"""AgglomerativeClustering: a hierarchy of clusters from single rows up to all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._rows import Estimator
from kernelmill.cluster._connected import edges, graph_of, spanned
from kernelmill.cluster._lifetimes import numbered
from kernelmill.neighbors._base import SEARCH, check_distances, check_pair
from kernelmill.neighbors._space import Space, effective, space_of
from kernelmill.neighbors._words import WORDS
from kernelmill.ops import linkage as ops
from kernelmill.ops import neighbors, pairwise

_BLOCK_BYTES = 32 << 20
_EUCLIDEAN = (neighbors.EUCLIDEAN, neighbors.SQUARED, neighbors.HALF_SQUARED)
_FEW = 512  # rows whose distances SciPy has before a block is cut into its rows


class AgglomerativeClustering(ClusterMixin, Estimator):
    """Merge the closest two clusters, again and again.

    Parameters
    ----------
    n_clusters : int or None, default=2
        Number of clusters; None with `distance_threshold`.
    metric : str or callable, default="euclidean"
        As for `kernelmill.neighbors.NearestNeighbors`; ``"euclidean"`` for Ward's linkage.
    memory : str or object, default=None
        Ignored; present for API compatibility.
    connectivity : {array-like, sparse matrix} of shape (n, n) or callable, default=None
        Which rows are connected, or a function of X that says so. Only clusters with connected rows
        are merged. Parts that are not connected are connected by their nearest rows.
    compute_full_tree : bool or "auto", default="auto"
        Ignored; present for API compatibility: the tree is always full. It must not be False with
        `distance_threshold`.
    linkage : {"ward", "complete", "average", "single"}, default="ward"
        Distance of clusters: the rise of the sum of squares about the means, or the largest, mean
        or least distance of two rows.
    distance_threshold : float, default=None
        Clusters that are at least so far apart are not merged.
    compute_distances : bool, default=False
        Ignored; present for API compatibility: distances are always computed.

    Attributes
    ----------
    n_clusters_ : int
        Number of clusters.
    labels_ : ndarray of shape (n,), int64
        Clusters, numbered by their first row.
    children_ : ndarray of shape (n - 1, 2), int64
        Merges by height: rows are 0 to n - 1, and merge i makes cluster n + i.
    distances_ : ndarray of shape (n - 1,), float64
        Heights of the merges.
    linkage_matrix_ : ndarray of shape (n - 1, 4), float64
        Children, distance and size of each merge, as `scipy.cluster.hierarchy` takes them.
    n_leaves_ : int
        Number of rows.
    n_connected_components_ : int
        Parts of the connectivity; 1 without one.
    n_features_in_, feature_names_in_

    Notes
    -----
    Ward's and single linkage need memory O(n d): they work on means, and on a minimum spanning
    tree. Complete and average linkage, precomputed distances, and angles ("haversine") need the
    distances of all pairs; where these would not fit the free memory, MemoryError is raised before
    work starts. With connectivity, the distances of connected pairs are all it takes, in O(log E)
    for each pair of E, and of clusters, that are connected. Where several pairs are equally close,
    the hierarchy is one of several.

    With `connectivity` only clusters with connected rows are merged. Ward's distance is that of all
    their rows, so heights need not rise. Complete and single linkage take the largest and the least
    distance of connected rows. For average linkage, the distance of two merged clusters from a
    third is the mean of theirs by their sizes, or that of the only one that is connected with it.
    These are scikit-learn's definitions.

    References
    ----------
    Murtagh (1983), "A survey of recent advances in hierarchical clustering algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import AgglomerativeClustering
    >>> X = np.array([[0.0], [1.0], [5.0], [5.5], [20.0]])
    >>> model = AgglomerativeClustering(3, linkage="single").fit(X)
    >>> model.labels_, model.distances_
    (array([0, 0, 1, 1, 2]), array([ 0.5,  1. ,  4. , 14.5]))
    >>> AgglomerativeClustering(None, distance_threshold=4.0).fit(X).n_clusters_
    3
    """

    _words = WORDS
    _accepts_streams = False
    _parameters: ClassVar = {
        "n_clusters": rule.any_of(rule.integer(1), rule.nothing()),
        "metric": SEARCH["metric"],
        "memory": rule.Rule(lambda value: True, "anything"),
        "connectivity": rule.any_of(rule.array("(n, n)"), rule.function("(X)"), rule.nothing()),
        "compute_full_tree": rule.any_of(rule.one_of("auto"), rule.boolean()),
        "linkage": rule.one_of(*ops.LINKAGES),
        "distance_threshold": rule.any_of(rule.real(0), rule.nothing()),
        "compute_distances": rule.boolean(),
    }
    labels_: Any
    children_: Any
    distances_: Any

    def __init__(
        self, n_clusters=2, *, metric="euclidean", memory=None, connectivity=None,
        compute_full_tree="auto", linkage="ward", distance_threshold=None, compute_distances=False
    ):  # fmt: skip
        self._set_parameters(locals())

    @property
    def _squares(self):
        return self.metric != "precomputed"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == "precomputed"
        return tags

    @fitting
    def fit(self, X, y=None):
        """Build the hierarchy, and cut it.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory; for ``metric="precomputed"`` their distances, of shape (n, n).

        Raises
        ------
        ValueError
            If X is not finite, a distance is not defined, or parameters contradict each other.
        MemoryError
            If the distances of all pairs are needed and do not fit the free memory.
        """
        owner = type(self).__name__
        if (self.n_clusters is None) == (self.distance_threshold is None):
            raise ValueError(
                f"{owner}: n_clusters or distance_threshold must be None, and not both, got "
                f"{self.n_clusters} and {self.distance_threshold} (Exactly one of n_clusters and "
                "distance_threshold has to be set, and the other needs to be None.)"
            )
        if self.distance_threshold is not None and self.compute_full_tree is False:
            raise ValueError(
                f"{owner}: compute_full_tree must be True if distance_threshold is set, got False"
            )
        metric, params = effective(self.metric, None, None, owner)
        if self.linkage == "ward" and metric != "euclidean":
            raise ValueError(
                f"{owner}: metric must be 'euclidean' for linkage='ward', got {self.metric!r}"
            )
        rows = self._rows(X, reset=True)
        n = rows.count
        check_pair(n, owner)
        if self.n_clusters is not None and self.n_clusters > n:
            raise ValueError(
                f"{owner}: n_clusters must be at most the number of rows, {n}, got "
                f"{self.n_clusters} (Cannot extract more clusters than samples)"
            )
        space = _space(rows.X, metric, params, owner)
        children, heights, self._sizes = self._hierarchy(space, rows.X, owner)
        self.children_, self.distances_, self.n_leaves_ = children, heights, n
        if self.distance_threshold is None:
            self.n_clusters_ = int(self.n_clusters)
        else:
            self.n_clusters_ = int((heights >= self.distance_threshold).sum()) + 1
        self.labels_ = cut(children, n, self.n_clusters_)
        return self

    def _hierarchy(self, space: Space, X: Any, owner: str) -> tuple:
        kind, n = ops.LINKAGES.index(self.linkage), space.n_rows
        self.n_connected_components_ = 1
        if self.connectivity is not None:
            pairs, part = graph_of(self.connectivity, X, owner)
            self.n_connected_components_ = int(part.max()) + 1
            a, b = edges(pairs, part, lambda rows: _blocks_of(space, rows, owner))
            if self.linkage == "ward":
                return ops.connected_ward(space.rows, a, b, n - 1)
            distances = _of_pairs(space, a, b, owner)
            if self.linkage == "single":
                return spanned(a, b, distances, n)
            return ops.connected(distances, a, b, n - 1, kind)
        if self.linkage == "ward":
            return ops.ward(space.rows, n - 1)
        known = space.code not in (None, neighbors.NAN_EUCLIDEAN) and space.metric != "haversine"
        if self.linkage == "single" and known:
            return ops.single(space.rows, n - 1, *space.arguments)
        check_memory(4 * n * n, owner)
        return ops.chain(condensed(space, owner), n - 1, kind)

    @property
    def linkage_matrix_(self):
        """Children, distance and size of each merge, ndarray of shape (n - 1, 4)."""
        check_is_fitted(self)
        return np.column_stack([self.children_, self.distances_, self._sizes]).astype(np.float64)

    def fit_predict(self, X, y=None):
        """Build the hierarchy, and return `labels_`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters.
        """
        return self.fit(X).labels_


def _space(X: np.ndarray, metric: Any, params: dict, owner: str) -> Space:
    """Rows in the coordinates of the metric, where every distance is defined."""
    if metric == "precomputed":
        check_distances(X, owner)
    if metric in ("cosine", "correlation"):
        rest = X - X[:, :1] if metric == "correlation" else X
        none = np.flatnonzero((rest == 0).all(axis=1))
        if len(none):
            what = "vary" if metric == "correlation" else "have an entry that is not 0"
            raise ValueError(
                f"{owner}: X must {what} in each row for metric={metric!r}, got none in row "
                f"{int(none[0])} (its distance is not defined)"
            )
    if metric == "haversine":
        return Space(X, metric, params, None, {})
    return space_of(X, metric, params, "brute", owner)


def condensed(space: Space, owner: str, infinite: bool = False) -> np.ndarray:
    """Distances of rows (0, 1), (0, 2), ..., (n - 2, n - 1), which may be infinite or not."""
    n = space.n_rows
    if n <= _FEW and space.code == neighbors.EUCLIDEAN and space.metric != "haversine":
        return pdist(space.rows.astype(np.float64))
    D = np.empty(n * (n - 1) // 2)
    rows, start = space.rows, 0
    step = max(1, _BLOCK_BYTES // (8 * n))
    for first in range(0, n, step):
        block = _block(space, rows[first : first + step], first)
        for i, row in enumerate(block):
            own = row[i + 1 :]
            D[start : start + len(own)] = own
            start += len(own)
    bad = np.isnan(D) if infinite else ~np.isfinite(D)
    if bad.any():
        place = int(bad.argmax())
        row = next(i for i in range(n) if (i + 1) * n - (i + 1) * (i + 2) // 2 > place)
        _refuse(D[place], row, owner)
    return D


def _block(space: Space, Q: Any, first: int) -> np.ndarray:
    """Distances of some rows to those from `first` on, float64."""
    rows = space.rows[first:]
    if space.metric == "precomputed":
        return np.asarray(Q[:, first:], np.float64)
    if space.code in _EUCLIDEAN and space.metric != "haversine":
        squared = space.code != neighbors.EUCLIDEAN
        D = pairwise.euclidean(Q.astype(np.float64), rows.astype(np.float64), squared)
        return D / 2 if space.code == neighbors.HALF_SQUARED else D
    from sklearn.metrics import pairwise_distances

    params = {k: v for k, v in space.params.items() if k != "w"}
    return pairwise_distances(
        Q.astype(np.float64), rows.astype(np.float64), metric=space.metric, **params
    )


def _blocks_of(space: Space, rows: np.ndarray, owner: str) -> Iterator[np.ndarray]:
    """Distances of some rows to all, some of these rows at a time."""
    step = max(1, _BLOCK_BYTES // (8 * space.n_rows))
    for i in range(0, len(rows), step):
        block = _block(space, space.rows[rows[i : i + step]], 0)
        _check_defined(block, rows[i : i + step], owner)
        yield block


def _of_pairs(space: Space, a: np.ndarray, b: np.ndarray, owner: str) -> np.ndarray:
    """Distances of rows a to rows b, float64, of each pair by itself."""
    rows, D = space.rows, np.empty(len(a))
    if space.metric == "precomputed":
        D[:] = rows[a, b]
    elif space.code in _EUCLIDEAN and space.metric != "haversine":
        step = max(1, _BLOCK_BYTES // (8 * max(1, rows.shape[1])))
        for i in range(0, len(a), step):
            part = slice(i, i + step)
            apart = rows[a[part]].astype(np.float64) - rows[b[part]]
            D[part] = np.einsum("ij,ij->i", apart, apart)
        if space.code == neighbors.EUCLIDEAN:
            np.sqrt(D, out=D)
        elif space.code == neighbors.HALF_SQUARED:
            D /= 2
    elif callable(space.metric):
        pairs = zip(rows[a], rows[b], strict=True)
        D[:] = [space.metric(x, y, **space.params) for x, y in pairs]
    else:
        whose = np.unique(a)  # one row of distances after the other
        place = np.searchsorted(a[order := np.argsort(a, kind="stable")], whose)
        ends = np.append(place[1:], len(a))
        each = (row for block in _blocks_of(space, whose, owner) for row in block)
        for row, first, last in zip(each, place, ends, strict=True):
            D[order[first:last]] = row[b[order[first:last]]]
    _check_defined(D, a, owner)
    return D


def _check_defined(D: np.ndarray, rows: np.ndarray, owner: str) -> None:
    """Raise where a distance of one of these rows is not finite."""
    bad = ~np.isfinite(D)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        _refuse(D[place], rows[place[0]], owner)


def _refuse(distance: float, row: int, owner: str) -> None:
    raise ValueError(
        f"{owner}: X must have a distance between any two rows, got {distance} for row {row}"
    )


def check_memory(needed: int, owner: str) -> None:
    """Raise where so many bytes are more than what is free, as far as that is known."""
    if needed < 1 << 24:  # to ask takes longer than to use them
        return
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.M)
    free = int(found[1]) * 1024 if found else needed
    if needed > free:
        raise MemoryError(
            f"{owner}: the distances of all pairs must fit the free memory of {free >> 20} MiB, "
            f"got {needed >> 20} MiB (linkage 'ward' and 'single' without connectivity need none)"
        )


def cut(children: np.ndarray, n: int, k: int) -> np.ndarray:
    """Labels of k clusters, numbered by their first row."""
    root = np.arange(2 * n - 1)
    root[children[: n - k].ravel()] = np.repeat(np.arange(n, 2 * n - k), 2)
    while not np.array_equal(up := root[root], root):  # twice as far each time
        root = up
    return numbered(root[:n])
