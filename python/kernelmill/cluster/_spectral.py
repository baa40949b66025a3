"""SpectralClustering: clusters of a graph from its smoothest functions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.base import ClusterMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill.cluster._kmeans import KMeans
from kernelmill.manifold._laplacian import smoothest
from kernelmill.manifold._spectral import SOLVERS, TOLERANCE, checked_graph, graph_of
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._base import SEARCH
from kernelmill.ops import kernels, random

_GRAPHS = ("nearest_neighbors", "precomputed", "precomputed_nearest_neighbors")
_MOST_TURNS = 30


class SpectralClustering(ClusterMixin, Estimator):
    """Clusters of rows that many heavy edges connect.

    The first functions f with ``L f = lambda D f`` on the graph, one for each cluster, are nearly
    constant on parts that few edges leave; rows are grouped by their values.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    n_components : int, default=None
        Number of functions; None is `n_clusters`.
    n_init : int, default=10
        Starts of k-means.
    gamma : float, default=1
        Coefficient of kernels.
    affinity : str or callable, default="rbf"
        Weights of edges: the name of a kernel; ``"nearest_neighbors"``, ``"precomputed"`` or
        ``"precomputed_nearest_neighbors"`` as for `kernelmill.manifold.SpectralEmbedding`; or a
        function of X that gives all weights.
    n_neighbors : int, default=10
        Neighbours, the row itself included.
    assign_labels : {"kmeans", "discretize", "cluster_qr"}, default="kmeans"
        k-means; the turn of the functions that is closest to indicators of clusters; or a QR
        decomposition with pivots.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Ignored; present for API compatibility.

    Attributes
    ----------
    labels_ : ndarray of shape (n,), int64
        Clusters.
    affinity_matrix_ : {ndarray, sparse array} of shape (n, n)
        Weights.
    n_features_in_, feature_names_in_

    References
    ----------
    von Luxburg (2007), "A tutorial on spectral clustering"; Yu, Shi (2003), "Multiclass spectral
    clustering"; Damle, Minden, Ying (2019), "Simple, direct and efficient multi-way spectral
    clustering".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import SpectralClustering
    >>> t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    >>> ring = np.stack([np.cos(t), np.sin(t)], axis=1)
    >>> X = np.vstack([ring, 3 * ring])
    >>> model = SpectralClustering(2, affinity="nearest_neighbors", n_neighbors=4, random_state=0)
    >>> labels = model.fit_predict(X)
    >>> len(set(labels[:40])), len(set(labels[40:])), int(abs(labels[0] - labels[40]))
    (1, 1, 1)
    """

    _words = WORDS
    _accepts_sparse = True
    _accepts_streams = False
    _parameters: ClassVar = {
        "n_clusters": rule.integer(1),
        "eigen_solver": SOLVERS,
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "random_state": rule.RANDOM_STATE,
        "n_init": rule.integer(1),
        "gamma": rule.real(0),
        "affinity": rule.any_of(rule.one_of(*_GRAPHS, *kernels.KINDS), rule.function("(X)")),
        "n_neighbors": rule.integer(1),
        "eigen_tol": TOLERANCE,
        "assign_labels": rule.one_of("kmeans", "discretize", "cluster_qr"),
        "degree": rule.real(0),
        "coef0": rule.Rule(rule.is_real, "a number"),
        "kernel_params": rule.any_of(
            rule.Rule(lambda value: isinstance(value, dict), "a dict"), rule.nothing()
        ),
        "n_jobs": SEARCH["n_jobs"],
        "verbose": rule.VERBOSE,
    }
    labels_: Any
    affinity_matrix_: Any

    def __init__(
        self,
        n_clusters=8,
        *,
        eigen_solver=None,
        n_components=None,
        random_state=None,
        n_init=10,
        gamma=1.0,
        affinity="rbf",
        n_neighbors=10,
        eigen_tol="auto",
        assign_labels="kmeans",
        degree=3,
        coef0=1,
        kernel_params=None,
        n_jobs=None,
        verbose=False,
    ):
        self._set_parameters(locals())

    @property
    def _squares(self):
        return isinstance(self.affinity, str) and self.affinity not in _GRAPHS

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = str(self.affinity).startswith("precomputed")
        return tags

    @fitting
    def fit(self, X, y=None):
        """Find the clusters.

        Raises
        ------
        ValueError
            If X is not finite, weights are not, or there are fewer rows than clusters.
        """
        owner = type(self).__name__
        seed = seed_of(self.random_state)
        rows = self._rows(X, reset=True)
        n, k = rows.count, int(self.n_clusters)
        if k > n:
            raise ValueError(
                f"{owner}: n_clusters must be at most the number of rows, n_samples={n}, got {k}"
            )
        A = graph_of(self, rows.X, min(int(self.n_neighbors), n), owner)
        self.affinity_matrix_ = A = checked_graph(A, owner)
        q = k if self.n_components is None else int(self.n_components)
        tol = 0.0 if self.eigen_tol == "auto" else float(self.eigen_tol)
        F = smoothest(A, min(q, n), tol=tol, seed=seed)[1]
        if self.assign_labels == "kmeans":
            model = KMeans(k, n_init=int(self.n_init), random_state=seed % 2**32)
            self.labels_ = model.fit(F).labels_.astype(np.int64)
        elif self.assign_labels == "cluster_qr":
            self.labels_ = by_pivots(F)
        else:
            self.labels_ = by_turns(F, seed)
        return self

    def fit_predict(self, X, y=None):
        """Find the clusters, and return `labels_`.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters.
        """
        return self.fit(X).labels_


def by_pivots(F: np.ndarray) -> np.ndarray:
    """Labels by the columns of the polar factor at the rows that pivots choose."""
    k = F.shape[1]
    pivots = scipy.linalg.qr(F.T, pivoting=True, mode="r")[1][:k]
    left, _, right = np.linalg.svd(F[pivots].T)
    return np.abs(F @ (left @ right)).argmax(axis=1)


def by_turns(F: np.ndarray, seed: int) -> np.ndarray:
    """Labels by the turn R that makes ``F R`` closest to indicators: alternating, each exact.

    Rows of F are scaled to length 1. R starts at rows that are far from each other.
    """
    n, k = F.shape
    length = np.linalg.norm(F, axis=1, keepdims=True)
    F = F / np.where(length > 0, length, 1)
    R = np.empty((k, k))
    at, used = int(random.uniform(seed, 3, 0, 1)[0] * n), np.zeros(n)
    for j in range(k):
        R[:, j] = F[at]
        used += np.abs(F @ R[:, j])
        at = int(used.argmin())
    best, labels = -np.inf, np.zeros(n, np.int64)
    for _ in range(_MOST_TURNS):
        chosen = (F @ R).argmax(axis=1)
        sums = np.zeros((k, k))
        np.add.at(sums, chosen, F)
        left, values, right = np.linalg.svd(sums)
        value = float(values.sum())  # rises until nothing changes
        if value <= best * (1 + 1e-14):
            break
        best, labels, R = value, chosen, (left @ right).T
    return labels
