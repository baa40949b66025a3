"""OPTICS: rows in the order in which density reaches them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClusterMixin

from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._validation import as_array
from kernelmill.cluster._steep import steep_clusters
from kernelmill.neighbors._base import SEARCH, Searcher, check_pair
from kernelmill.neighbors._space import Space
from kernelmill.neighbors._words import WORDS

_COUNT = rule.any_of(rule.integer(2), rule.Rule(
    lambda v: rule.is_real(v) and not rule.is_integer(v) and 0 < v <= 1, "a share in (0, 1]"
))  # fmt: skip


class OPTICS(ClusterMixin, Searcher):
    """Order rows by density, and read clusters of any density from the order.

    The core distance of a row is that to its `min_samples`-th nearest row, itself included. From a
    row that is processed, another one is reached at the larger of its core distance and their
    distance; the next row is always the one with the least such reachability.

    Parameters
    ----------
    min_samples : int or float, default=5
        Rows that make a neighbourhood dense; a float is a share of the rows.
    max_eps : float, default=inf
        Rows that are farther do not reach each other.
    cluster_method : {"xi", "dbscan"}, default="xi"
        Clusters between steep parts of the reachability, or those at one radius.
    eps : float, default=None
        Radius for ``"dbscan"``; None is `max_eps`.
    xi : float, default=0.05
        Least relative step that is steep.
    predecessor_correction : bool, default=True
        Whether clusters end where a row was not reached from inside.
    min_cluster_size : int or float, default=None
        Fewest rows of a cluster for ``"xi"``; None is `min_samples`, a float a share of the rows.
    memory : str or object, default=None
        Ignored; present for API compatibility.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        Clusters; -1 for noise.
    ordering_ : ndarray of shape (n,), int64
        Rows in their order.
    reachability_ : ndarray of shape (n,), float64
        Reachability of each row; inf for the first of a part.
    core_distances_ : ndarray of shape (n,), float64
        Core distances; inf beyond `max_eps`.
    predecessor_ : ndarray of shape (n,), int64
        Row from which each one was reached; -1 for none.
    cluster_hierarchy_ : ndarray of shape (n_clusters, 2), int64
        First and last place in the order of each cluster, the smaller ones first; for ``"xi"``.
    n_features_in_, feature_names_in_

    Notes
    -----
    Of equal reachabilities the lowest row comes next. Memory O(n).

    References
    ----------
    Ankerst, Breunig, Kriegel, Sander (1999), "OPTICS: ordering points to identify the clustering
    structure"; Schubert, Gertz (2018), "Improving the cluster structure extracted from OPTICS
    plots".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import OPTICS
    >>> X = np.array([[0.0], [1.0], [2.0], [30.0], [31.0], [32.0], [90.0]])
    >>> OPTICS(min_samples=2, cluster_method="dbscan", eps=2.0).fit_predict(X)
    array([ 0,  0,  0,  1,  1,  1, -1])
    >>> OPTICS(min_samples=2).fit(X).cluster_hierarchy_.tolist()
    [[0, 2], [3, 6], [0, 6]]
    """

    _keeps_rows = False
    _parameters: ClassVar = {
        **SEARCH,
        "min_samples": _COUNT,
        "max_eps": rule.any_of(rule.real(0), rule.infinity()),
        "cluster_method": rule.one_of("xi", "dbscan"),
        "eps": rule.any_of(rule.real(0), rule.nothing()),
        "xi": rule.Rule(lambda v: rule.is_real(v) and 0 < v < 1, "a number in (0, 1)"),
        "predecessor_correction": rule.boolean(),
        "min_cluster_size": rule.any_of(_COUNT, rule.nothing()),
        "memory": rule.Rule(lambda value: True, "anything"),
    }

    def __init__(
        self,
        *,
        min_samples=5,
        max_eps=np.inf,
        metric="minkowski",
        p=2,
        metric_params=None,
        cluster_method="xi",
        eps=None,
        xi=0.05,
        predecessor_correction=True,
        min_cluster_size=None,
        algorithm="auto",
        leaf_size=30,
        memory=None,
        n_jobs=None,
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Order the rows, and read the clusters.

        Raises
        ------
        ValueError
            If X is not finite, does not suit the metric, or has too few rows.

        Warns
        -----
        UserWarning
            If no row has a dense neighbourhood.
        """
        owner = type(self).__name__
        eps = self.max_eps if self.eps is None else self.eps
        if self.cluster_method == "dbscan" and eps > self.max_eps:
            raise ValueError(
                f"{owner}: eps must be at most max_eps, {self.max_eps}, got {eps} (Specify an "
                f"epsilon smaller than {self.max_eps}. Got {eps}.)"
            )
        rows = self._fit_rows(X)
        n = rows.count
        check_pair(n, owner)
        least = count_of(self.min_samples, n, "min_samples", owner)
        found = ordered(self._space, least, float(self.max_eps))
        self.ordering_, self.core_distances_, self.reachability_, self.predecessor_ = found
        if np.isinf(self.reachability_).all():
            warn(
                f"{owner}: max_eps must reach more rows: no row is reached from another (All "
                "reachability values are inf. Set a larger max_eps or all data will be considered "
                "outliers.)", UserWarning
            )  # fmt: skip
        given = {"reachability": self.reachability_, "ordering": self.ordering_}
        if self.cluster_method == "xi":
            self.labels_, self.cluster_hierarchy_ = cluster_optics_xi(
                **given, predecessor=self.predecessor_, min_samples=self.min_samples,
                min_cluster_size=self.min_cluster_size, xi=self.xi,
                predecessor_correction=self.predecessor_correction
            )  # fmt: skip
        else:
            self.labels_ = cluster_optics_dbscan(
                **given, core_distances=self.core_distances_, eps=eps
            )
        del self._searched
        return self

    def fit_predict(self, X, y=None):
        """Find the clusters, and return `labels_`.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters; -1 for noise.
        """
        return self.fit(X).labels_


def count_of(value: Any, n: int, name: str, owner: str) -> int:
    """A number of rows, at least 2, that may be a share of n."""
    count = int(value) if rule.is_integer(value) else max(2, int(value * n))
    if count > n:
        raise ValueError(
            f"{owner}: {name} must be no greater than the number of samples ({n}). Got {count}"
        )
    return count


def ordered(space: Space, least: int, reach: float) -> tuple[np.ndarray, ...]:
    """Order, core distances, reachabilities and predecessors."""
    n = space.n_rows
    core = space.nearest(space.rows, least)[0][:, -1].copy()
    core[~(core <= reach)] = np.inf
    reached, before = np.full(n, np.inf), np.full(n, -1)
    waiting = np.full(n, np.inf)  # reachabilities of rows that are not processed
    order, rest = np.empty(n, np.int64), np.arange(n)
    done = np.zeros(n, bool)
    first = 0  # all rows before it are processed
    for place in range(n):
        p = int(waiting.argmin())
        if np.isinf(waiting[p]):  # nothing is reached: the lowest row that is left
            while done[first]:
                first += 1
            p = first
        order[place], done[p], waiting[p] = p, True, np.inf
        if np.isinf(core[p]):
            continue
        near, distances = _within(space, p, reach)
        if len(near) == n:
            near = rest
        arrival = np.maximum(distances, core[p])
        better = (arrival < reached[near]) & ~done[near]
        near = near[better]
        reached[near] = waiting[near] = arrival[better]
        before[near] = p
    return order, core, reached, before


def _within(space: Space, p: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    _, near, distances = space.lists(space.rows[p : p + 1], reach)
    return near, distances


def cluster_optics_dbscan(*, reachability, core_distances, ordering, eps):
    """The clusters of DBSCAN at a radius, from the order of OPTICS.

    Parameters
    ----------
    reachability : array-like of shape (n,)
        `OPTICS.reachability_`.
    core_distances : array-like of shape (n,)
        `OPTICS.core_distances_`.
    ordering : array-like of shape (n,)
        `OPTICS.ordering_`.
    eps : float
        Radius.

    Returns
    -------
    labels : ndarray of shape (n,), int64
        Clusters; -1 for noise. Rows on the border may differ from `DBSCAN`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import OPTICS, cluster_optics_dbscan
    >>> model = OPTICS(min_samples=2).fit([[0.0], [1.0], [2.0], [30.0], [31.0], [90.0]])
    >>> cluster_optics_dbscan(
    ...     reachability=model.reachability_, core_distances=model.core_distances_,
    ...     ordering=model.ordering_, eps=2.0)
    array([ 0,  0,  0,  1,  1, -1])
    """
    owner = "cluster_optics_dbscan"
    reached, core, order = (
        as_array(values, name, owner)
        for values, name in (
            (reachability, "reachability"), (core_distances, "core_distances"),
            (ordering, "ordering"),
        )
    )  # fmt: skip
    far, dense = reached > eps, core <= eps
    labels = np.empty(len(core), np.int64)
    labels[order] = np.cumsum(far[order] & dense[order]) - 1
    labels[far & ~dense] = -1
    return labels


def cluster_optics_xi(
    *,
    reachability,
    predecessor,
    ordering,
    min_samples,
    min_cluster_size=None,
    xi=0.05,
    predecessor_correction=True,
):
    """The clusters between steep parts of the reachability.

    Parameters
    ----------
    reachability : array-like of shape (n,)
        `OPTICS.reachability_`.
    predecessor : array-like of shape (n,)
        `OPTICS.predecessor_`.
    ordering : array-like of shape (n,)
        `OPTICS.ordering_`.
    min_samples : int or float
        As for `OPTICS`.
    min_cluster_size : int or float, default=None
        As for `OPTICS`.
    xi : float, default=0.05
        Least relative step that is steep.
    predecessor_correction : bool, default=True
        Whether clusters end where a row was not reached from inside.

    Returns
    -------
    labels : ndarray of shape (n,), int64
        The smallest cluster of each row; -1 for noise.
    clusters : ndarray of shape (n_clusters, 2), int64
        First and last place in the order of each, the smaller ones first.

    Examples
    --------
    >>> from kernelmill.cluster import OPTICS, cluster_optics_xi
    >>> model = OPTICS(min_samples=2).fit([[0.0], [1.0], [2.0], [30.0], [31.0], [32.0]])
    >>> labels, clusters = cluster_optics_xi(
    ...     reachability=model.reachability_, predecessor=model.predecessor_,
    ...     ordering=model.ordering_, min_samples=2)
    >>> labels, clusters.tolist()
    (array([0, 0, 0, 1, 1, 1]), [[0, 2], [3, 5], [0, 5]])
    """
    owner = "cluster_optics_xi"
    reached, before, order = (
        as_array(values, name, owner)
        for values, name in (
            (reachability, "reachability"), (predecessor, "predecessor"), (ordering, "ordering")
        )
    )  # fmt: skip
    n = len(reached)
    least = count_of(min_samples, n, "min_samples", owner)
    size = min_samples if min_cluster_size is None else min_cluster_size
    size = count_of(size, n, "min_cluster_size", owner)
    clusters = steep_clusters(
        reached[order], before[order], order, float(xi), least, size, bool(predecessor_correction)
    )
    labels, number = np.full(n, -1), 0
    for first, last in clusters:
        own = slice(first, last + 1)
        if (labels[own] < 0).all():
            labels[own] = number
            number += 1
    found = np.empty(n, np.int64)
    found[order] = labels
    return found, clusters


for _function in (cluster_optics_dbscan, cluster_optics_xi):
    complete(_function, WORDS)
