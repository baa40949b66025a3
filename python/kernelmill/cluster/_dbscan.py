"""DBSCAN: clusters of any shape, where rows lie dense."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill.cluster._lifetimes import numbered
from kernelmill.neighbors._base import SEARCH, Searcher, query_of
from kernelmill.neighbors._space import Space, filled, space_of
from kernelmill.ops import neighbors as ops


class DBSCAN(ClusterMixin, Searcher):
    """Clusters of rows with enough rows around them; rows without a cluster are noise.

    A row is *core* if at least `min_samples` rows, itself included, are within `eps` of it. Core
    rows within `eps` of each other are in one cluster. Another row within `eps` of a core row is on
    the border of its cluster, the first one where there are several; all others are noise, -1.

    Parameters
    ----------
    eps : float, default=0.5
        Radius; a distance equal to it counts.
    min_samples : int, default=5
        Rows within the radius that make a row core.
    metric : str or callable, default="euclidean"
        As for `kernelmill.neighbors.NearestNeighbors`.
    p : float, default=None
        Exponent of Minkowski's distance; None is 2.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        Clusters, numbered by their first core row; -1 for noise.
    core_sample_indices_ : ndarray of shape (n_core,), int64
        Which rows are core.
    components_ : {ndarray, sparse matrix} of shape (n_core, d)
        The core rows.
    n_features_in_, feature_names_in_

    Notes
    -----
    Exactly the definition, whatever the algorithm. Memory O(n): no lists of neighbours are kept. In
    few dimensions leaves of a k-d tree are compared as a whole; in many, distances are products.

    References
    ----------
    Ester, Kriegel, Sander, Xu (1996), "A density-based algorithm for discovering clusters in large
    spatial databases with noise".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import DBSCAN
    >>> X = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [11.0], [50.0]])
    >>> model = DBSCAN(eps=1.0, min_samples=2).fit(X)
    >>> model.labels_
    array([ 0,  0,  0,  1,  1,  1, -1])
    >>> model.predict([[2.5], [30.0]])
    array([ 0, -1])
    """

    _keeps_rows = False
    _parameters: ClassVar = {
        **SEARCH,
        "eps": rule.real(0, above=True),
        "min_samples": rule.integer(1),
    }

    def __init__(
        self, eps=0.5, *, min_samples=5, metric="euclidean", metric_params=None, algorithm="auto",
        leaf_size=30, p=None, n_jobs=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the clusters.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric.
        """
        rows = self._fit_rows(X, sample_weight)
        weight = None if rows.weight is None else rows.weight.astype(np.float64)
        space = self._space
        if space.code is not None and space.metric != "haversine":
            labels, core = ops.dbscan(
                space.rows, float(self.eps), float(self.min_samples), weight, *space.arguments,
                *(space.tree or ())
            )
        else:
            labels, core = by_lists(space, float(self.eps), self.min_samples, weight)
        self.labels_, self.core_sample_indices_ = labels, np.flatnonzero(core)
        self.components_ = rows.X[self.core_sample_indices_]
        del self._searched
        return self

    def fit_predict(self, X, y=None, sample_weight=None):
        """Find the clusters, and return `labels_`.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters; -1 for noise.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X):
        """The cluster of the nearest core row, if that is within `eps`.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            -1 for noise. Rows of ``fit`` keep their labels if they are core; a border row may be
            nearer to a core row of another cluster.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        labels = np.full(rows.count, -1)
        core = self.core_sample_indices_
        if not len(core):
            return labels
        owner = type(self).__name__
        metric, params = self.effective_metric_, self.effective_metric_params_
        if metric == "precomputed":
            D = rows.X[:, core]
            D = filled(D) if is_sparse(D) else D
            found = Space(D, metric, params, None, {}).nearest(D, 1)
        else:
            space = space_of(self.components_, metric, params, self.algorithm, owner)
            found = space.nearest(space.moved_queries(rows.X), 1)
        near = found[0][:, 0] <= self.eps
        labels[near] = self.labels_[core[found[1][near, 0]]]
        return labels


def dbscan(
    X, eps=0.5, *, min_samples=5, metric="minkowski", metric_params=None, algorithm="auto",
    leaf_size=30, p=2, sample_weight=None, n_jobs=None
):
    """Core rows and clusters of `DBSCAN`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d)
        Rows; for ``metric="precomputed"`` their distances, of shape (n, n).
    eps : float, default=0.5
        Radius; a distance equal to it counts.
    min_samples : int, default=5
        Rows within the radius that make a row core.
    metric : str or callable, default="minkowski"
        Distance, as for `DBSCAN`.
    metric_params : dict or None, default=None
        Further parameters of the metric.
    algorithm : {"auto", "ball_tree", "kd_tree", "brute"}, default="auto"
        How to search.
    leaf_size : int, default=30
        Ignored; present for API compatibility.
    p : float, default=2
        Exponent of Minkowski's distance.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the rows, of which `min_samples` is a sum.
    n_jobs : None
        Ignored: the library's threads are used.

    Returns
    -------
    core_samples : ndarray of shape (n_core,), int64
        Which rows are core.
    labels : ndarray of shape (n,), int64
        Clusters, numbered by their first core row; -1 for noise.

    Examples
    --------
    >>> from kernelmill.cluster import dbscan
    >>> core, labels = dbscan([[0.0], [1.0], [2.0], [9.0]], eps=1.0, min_samples=3)
    >>> core, labels
    (array([1]), array([ 0,  0,  0, -1]))
    """
    model = DBSCAN(
        eps, min_samples=min_samples, metric=metric, metric_params=metric_params,
        algorithm=algorithm, leaf_size=leaf_size, p=p, n_jobs=n_jobs,
    ).fit(X, sample_weight=sample_weight)  # fmt: skip
    return model.core_sample_indices_, model.labels_


def by_lists(
    space: Space, eps: float, min_samples: float, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core rows where distances come in blocks.

    Notes
    -----
    Memory grows with the number of pairs within the radius.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n = space.n_rows
    offsets, near, _ = space.lists(space.rows, eps)
    query = query_of(offsets)
    mass = np.bincount(query, None if weight is None else weight[near], n)
    core = mass >= min_samples
    both = core[query] & core[near]
    graph = csr_matrix((np.ones(both.sum()), (query[both], near[both])), shape=(n, n))
    _, part = connected_components(graph, directed=False)
    labels = np.full(n, -1)
    labels[core] = numbered(part[core])
    border = ~core[query] & core[near]
    least = np.full(n, n)
    np.minimum.at(least, query[border], labels[near[border]])
    found = least < n
    labels[found] = least[found]
    return labels, core
