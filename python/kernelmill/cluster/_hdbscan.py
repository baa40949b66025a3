"""HDBSCAN: clusters that last over many densities."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from scipy.spatial.distance import squareform
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._validation import check_values
from kernelmill.cluster._agglomerative import check_memory, condensed, cut
from kernelmill.cluster._lifetimes import lifetimes, members, numbered, selected
from kernelmill.neighbors._base import SEARCH, Searcher, check_pair
from kernelmill.neighbors._space import Space
from kernelmill.ops import linkage as ops
from kernelmill.ops import neighbors

_INFINITE, _MISSING = -2, -3  # labels of rows that have no distances
# Metrics whose distances grow with the square of the rows.
_SQUARED = ("sqeuclidean", "cosine", "correlation")


class HDBSCAN(ClusterMixin, Searcher):
    """Clusters that last over many densities; rows without a cluster are noise.

    The core distance of a row is that to its `min_samples`-th neighbour, itself included. The
    mutual reachability distance of two rows is the largest of both core distances and their own
    distance. Its single linkage is the hierarchy of DBSCAN's clusters over all radii; parts of
    fewer than `min_cluster_size` rows are no clusters but leave one. Of nested clusters those with
    the larger stability are chosen: the sum over rows of how long, in 1 / radius, they stay.

    Parameters
    ----------
    min_cluster_size : int, default=5
        Fewest rows of a cluster.
    min_samples : int, default=None
        Neighbours that the core distance looks at; None is `min_cluster_size`.
    cluster_selection_epsilon : float, default=0.0
        Clusters that part below this radius are taken together.
    max_cluster_size : int, default=None
        Most rows of a cluster, for ``"eom"``.
    metric : str or callable, default="euclidean"
        As for `kernelmill.neighbors.NearestNeighbors`.
    alpha : float, default=1.0
        Divides distances, not core distances.
    leaf_size : int, default=40
        Ignored; present for API compatibility.
    cluster_selection_method : {"eom", "leaf"}, default="eom"
        By stability ("excess of mass"), or all clusters that have no others within.
    allow_single_cluster : bool, default=False
        Whether all rows may be one cluster.
    store_centers : {"centroid", "medoid", "both"}, default=None
        Which centers to compute.
    copy : bool, default=False
        Ignored; present for API compatibility. X is never modified.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        Clusters, numbered by their first row; -1 for noise, -2 for rows with an infinite entry, -3
        for rows with a missing one. Both take no part in the clustering.
    probabilities_ : ndarray of shape (n,), float64
        How long a row stays in its cluster, by the longest in it; 0 for noise, NaN for rows with a
        missing entry.
    centroids_ : ndarray of shape (n_clusters, d), float64
        Means, weighted by `probabilities_`, if stored.
    medoids_ : ndarray of shape (n_clusters, d), float64
        Rows with the least weighted sum of distances, if stored.
    n_features_in_, feature_names_in_

    Notes
    -----
    Memory O(n d) for metrics that `kernelmill.ops.linkage.single` knows; others, and sparse rows,
    need the distances of all pairs. Of a sparse matrix of distances (``metric="precomputed"``) the
    pairs that are stored are the only ones that may be merged; a dense one may have infinite
    distances, which are merged last.

    Equal rows are never parted. Mutual reachability makes many equal distances. Merges at one
    distance are one event here, so the result does not depend on their order; elsewhere it does,
    and clusters of few rows may differ. Cost about n^2 d.

    References
    ----------
    Campello, Moulavi, Sander (2013), "Density-based clustering based on hierarchical density
    estimates".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import HDBSCAN
    >>> X = np.r_[np.linspace(0, 1, 20), np.linspace(5, 9, 20), 30.0][:, None]
    >>> model = HDBSCAN(min_cluster_size=5).fit(X)
    >>> np.bincount(model.labels_ + 1)
    array([ 1, 20, 20])
    >>> int(model.dbscan_clustering(0.3, min_cluster_size=5).max())
    0
    """

    _keeps_rows = False
    _parameters: ClassVar = {
        **{name: SEARCH[name] for name in SEARCH if name != "p"},
        "min_cluster_size": rule.integer(2),
        "min_samples": rule.any_of(rule.integer(1), rule.nothing()),
        "cluster_selection_epsilon": rule.real(0),
        "max_cluster_size": rule.any_of(rule.integer(1), rule.nothing()),
        "alpha": rule.real(0, above=True),
        "cluster_selection_method": rule.one_of("eom", "leaf"),
        "allow_single_cluster": rule.boolean(),
        "store_centers": rule.one_of("centroid", "medoid", "both", None),
        "copy": rule.boolean(),
    }
    p = None

    def __init__(
        self, min_cluster_size=5, min_samples=None, cluster_selection_epsilon=0.0,
        max_cluster_size=None, metric="euclidean", metric_params=None, alpha=1.0, algorithm="auto",
        leaf_size=40, n_jobs=None, cluster_selection_method="eom", allow_single_cluster=False,
        store_centers=None, copy=False
    ):
        self._set_parameters(locals())

    @property
    def _asked(self) -> int:
        return int(self.min_cluster_size if self.min_samples is None else self.min_samples)

    @fitting
    def fit(self, X, y=None):
        """Find the clusters.

        Raises
        ------
        ValueError
            If X does not suit the metric, or has too few finite rows.
        MemoryError
            If the distances of all pairs are needed and do not fit the free memory.
        """
        owner = type(self).__name__
        rows, least = self._fit_rows(X), self._asked
        space = self._space
        n = space.n_rows
        check_pair(n, owner)
        if least > n:
            raise ValueError(
                f"{owner}: min_samples must be at most the number of rows, {n}, got {least}"
            )
        core = space.nearest(space.rows, least)[0][:, -1].copy()
        self._merges = self._hierarchy(space, core)
        tree = lifetimes(*self._merges, int(self.min_cluster_size))
        chosen = selected(
            tree, self.cluster_selection_method, self.max_cluster_size,
            float(self.cluster_selection_epsilon), bool(self.allow_single_cluster)
        )
        self.labels_, self.probabilities_ = members(
            tree, chosen, n, float(self.cluster_selection_epsilon)
        )
        if self.store_centers is not None:
            self._store_centers(_kept(rows.X, self._outside), space, owner)
        if self._outside is not None:
            probabilities = np.where(self._outside == _MISSING, np.nan, 0.0)
            probabilities[self._outside == 0] = self.probabilities_
            self.labels_, self.probabilities_ = self._among_all(self.labels_), probabilities
        del self._searched
        return self

    def _usable(self, X: Any) -> Any:
        """Rows that are finite; `_outside` has the labels of the others, where there are some."""
        self._outside = None
        names = getattr(self, "feature_names_in_", None)
        if self.metric == "precomputed":
            far = False if is_sparse(X) else np.isinf(X)
            finite = np.where(far, 0, X) if np.any(far) else X
            check_values(finite, type(self).__name__, names, squared=False)
            _check_symmetric(finite, type(self).__name__)
            return X
        missing = self.metric == "nan_euclidean"
        gap = _rows_where(np.isnan, X) & (not missing)
        outside = np.where(gap, _MISSING, np.where(_rows_where(np.isinf, X), _INFINITE, 0))
        if outside.any():
            self._outside = outside
            X = _kept(X, outside)
        check_values(
            X, type(self).__name__, names, allow_nan=missing, whole=True, squared=self._squares
        )
        return X

    _checks_values = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.metric != "precomputed"
        return tags

    def _among_all(self, labels: np.ndarray) -> np.ndarray:
        """Labels of all rows, from those of the usable ones."""
        if self._outside is None:
            return labels
        out = self._outside.astype(labels.dtype)
        out[self._outside == 0] = labels
        return out

    def _hierarchy(
        self, space: Space, core: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Single linkage of the mutual reachability distances."""
        n, alpha = space.n_rows, float(self.alpha)
        known = space.code not in (None, neighbors.NAN_EUCLIDEAN) and space.metric != "haversine"
        if known and (alpha == 1 or space.code != neighbors.HAMMING):
            unit = np.sqrt(alpha) if space.metric in _SQUARED else alpha
            X = space.rows if alpha == 1 else space.rows / space.rows.dtype.type(unit)
            return ops.single(X, n - 1, *space.arguments, core)
        owner = type(self).__name__
        if space.metric == "precomputed" and is_sparse(space.rows):
            return _merges_of(space.rows, core, alpha, owner)
        check_memory(4 * n * n, owner)
        if space.metric == "haversine":
            space = space._replace(rows=space.rows[:, 3:])
        D = condensed(space, owner, infinite=True)
        D /= alpha
        start = 0
        for i in range(n - 1):  # by rows: numbers of pairs would be more memory than D
            own = D[start : start + n - 1 - i]
            np.maximum(own, np.maximum(core[i], core[i + 1 :]), out=own)
            start += len(own)
        most = np.finfo(D.dtype).max
        np.minimum(D, most, out=D)  # a pair at an infinite distance is merged last, all the same
        children, heights, sizes = ops.chain(D, n - 1, ops.SINGLE)
        return children, np.where(heights == most, np.inf, heights), sizes

    def _store_centers(self, X: Any, space: Space, owner: str) -> None:
        if space.metric == "precomputed" or is_sparse(X):
            raise ValueError(f"{owner}: store_centers must be None without dense rows")
        count = self.labels_.max() + 1
        means, middles = np.zeros((count, X.shape[1])), np.zeros((count, X.shape[1]))
        for c in range(count):
            mine = self.labels_ == c
            own, weight = X[mine].astype(np.float64), self.probabilities_[mine]
            means[c] = np.average(own, axis=0, weights=weight)
            if self.store_centers in ("medoid", "both"):
                part = space._replace(rows=space.rows[mine], tree=None)
                D = squareform(condensed(part, owner)) if len(own) > 1 else np.zeros((1, 1))
                middles[c] = own[(D @ weight).argmin()]
        if self.store_centers in ("centroid", "both"):
            self.centroids_ = means
        if self.store_centers in ("medoid", "both"):
            self.medoids_ = middles

    def fit_predict(self, X, y=None):
        """Find the clusters, and return `labels_`.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters; -1 for noise.
        """
        return self.fit(X).labels_

    def dbscan_clustering(self, cut_distance, min_cluster_size=5):
        """The clusters at one radius, without their borders.

        Parameters
        ----------
        cut_distance : float
            Radius.
        min_cluster_size : int, default=5
            Fewest rows of a cluster.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters, numbered by their first row; -1 for rows in smaller ones.

        Raises
        ------
        ValueError
            If an argument is no number in its range.
        """
        check_is_fitted(self, "labels_")
        owner = type(self).__name__
        if not rule.is_real(cut_distance) or cut_distance != cut_distance:
            raise ValueError(f"{owner}: cut_distance must be a number, got {cut_distance!r}")
        rule.check_whole(min_cluster_size, "min_cluster_size", owner, least=1)
        children, heights, _ = self._merges
        n = len(heights) + 1
        labels = cut(children, n, n - int(np.searchsorted(heights, cut_distance, side="right")))
        large = np.bincount(labels)[labels] >= min_cluster_size
        out = np.full(n, -1)
        out[large] = numbered(labels[large])
        return self._among_all(out)


def _merges_of(
    D: Any, core: np.ndarray, alpha: float, owner: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Single linkage of mutual reachability where pairs that are not stored are never merged."""
    if np.isnan(core).any():
        raise ValueError(
            f"{owner}: X must have min_samples distances in each row, got fewer in row "
            f"{int(np.isnan(core).argmax())}"
        )
    n, pairs = D.shape[0], scipy.sparse.triu(D, 1).tocoo()
    reach = np.maximum(pairs.data / alpha, np.maximum(core[pairs.row], core[pairs.col]))
    values, rank = np.unique(reach, return_inverse=True)  # from 1 on: a weight of 0 is no edge
    graph = scipy.sparse.csr_matrix((rank + 1.0, (pairs.row, pairs.col)), shape=(n, n))
    tree = scipy.sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    if tree.nnz < n - 1:
        raise ValueError(
            f"{owner}: X must have distances that connect all rows, got {n - tree.nnz} "
            "parts"
        )
    order = np.argsort(tree.data, kind="stable")
    heights = values[tree.data[order].astype(np.int64) - 1]
    children, sizes = np.empty((n - 1, 2), np.int64), np.ones(2 * n - 1, np.int64)
    above = list(range(2 * n - 1))

    def cluster(node: int) -> int:
        while above[node] != node:
            above[node] = node = above[above[node]]
        return node

    ends = np.stack([tree.row, tree.col], axis=1)[order].tolist()
    for i, (a, b) in enumerate(ends):
        both = sorted((cluster(a), cluster(b)))
        children[i], sizes[n + i] = both, sizes[both].sum()
        above[both[0]] = above[both[1]] = n + i
    return children, heights, sizes[n:]


def _check_symmetric(X: Any, owner: str) -> None:
    error = abs(X - X.T)
    slack = 1e-7 * X.max() if X.size else 0.0  # what is left of squares of equal distances
    if error.max() > slack:
        row = int((error > slack).nonzero()[0][0])
        raise ValueError(
            f"{owner}: X must be symmetric for metric='precomputed', got others in row {row} (The "
            "precomputed distance matrix has different values for pairs in both orders)"
        )


def _rows_where(test: Any, X: Any) -> np.ndarray:
    """Rows with an entry for which the test holds."""
    if not is_sparse(X):
        return test(X).any(axis=1)
    query = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    return np.bincount(query[test(X.data)], minlength=X.shape[0]) > 0


def _kept(X: Any, outside: np.ndarray | None) -> Any:
    return X if outside is None else X[outside == 0]
