"""Isomap: a map of the distances along a graph of neighbours."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill.manifold._classical import double_centered, leading
from kernelmill.manifold._rows import Neighbourly
from kernelmill.neighbors._base import RADIUS, SEARCH, as_graph, check_pair, nearest_graph
from kernelmill.neighbors._space import Space
from kernelmill.ops import layout


class Isomap(Neighbourly):
    """A map whose straight distances are those along the graph of neighbours.

    With D the lengths of shortest paths in the graph, the map is the classical scaling of D: with
    ``B = -J D^2 J / 2``, ``J = I - 1 1' / n``, its coordinates are the eigenvectors of B with the
    largest eigenvalues, times their roots.

    Parameters
    ----------
    n_neighbors : int or None, default=5
        Neighbours of a row, without itself; None with `radius`.
    radius : float, default=None
        Distance up to which rows are neighbours.
    tol : float, default=0
        Tolerance of eigenvalues; 0 is the precision of floats.
    max_iter : int, default=None
        Ignored; present for API compatibility.
    path_method : {"auto", "FW", "D"}, default="auto"
        Ignored; present for API compatibility: Dijkstra's algorithm is used from each row.

    Attributes
    ----------
    embedding_
    dist_matrix_ : ndarray of shape (n, n), float64
        Lengths of shortest paths.
    nbrs_ : NearestNeighbors
        The rows of ``fit``, ready to be searched.
    kernel_pca_ : KernelPCA
        The model of B, made when it is asked for.
    n_features_in_, feature_names_in_

    Notes
    -----
    Where the graph has several parts, the closest two rows of each pair of parts are connected, and
    a warning says so. Memory O(n^2).

    References
    ----------
    Tenenbaum, de Silva, Langford (2000), "A global geometric framework for nonlinear dimensionality
    reduction".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import Isomap
    >>> t = np.linspace(0, 3, 50)
    >>> X = np.stack([np.cos(t), np.sin(t)], axis=1)
    >>> y = Isomap(n_neighbors=3, n_components=1).fit_transform(X).ravel()
    >>> float(np.abs(y[-1] - y[0]).round(2))
    3.0
    """

    _parameters: ClassVar = {
        "n_neighbors": rule.any_of(rule.integer(1), rule.nothing()),
        "radius": rule.any_of(RADIUS, rule.nothing()),
        "n_components": rule.integer(1),
        "eigen_solver": rule.one_of("auto", "arpack", "dense"),
        "tol": rule.real(0),
        "max_iter": rule.any_of(rule.integer(1), rule.nothing()),
        "path_method": rule.one_of("auto", "FW", "D"),
        "neighbors_algorithm": SEARCH["algorithm"],
        "n_jobs": SEARCH["n_jobs"],
        "metric": SEARCH["metric"],
        "p": SEARCH["p"],
        "metric_params": SEARCH["metric_params"],
    }
    embedding_: Any
    dist_matrix_: Any

    def __init__(
        self,
        *,
        n_neighbors=5,
        radius=None,
        n_components=2,
        eigen_solver="auto",
        tol=0,
        max_iter=None,
        path_method="auto",
        neighbors_algorithm="auto",
        n_jobs=None,
        metric="minkowski",
        p=2,
        metric_params=None,
    ):
        self._set_parameters(locals())

    @property
    def algorithm(self):  # type: ignore[override]
        """How to search."""
        return self.neighbors_algorithm

    @property
    def _asked(self) -> int | None:
        return None if self.n_neighbors is None else int(self.n_neighbors)

    @fitting
    def fit(self, X, y=None):
        """Make the map of X.

        Raises
        ------
        ValueError
            If X is not finite, or has too few rows.

        Warns
        -----
        UserWarning
            If the graph has several parts.
        """
        owner = type(self).__name__
        if (self.n_neighbors is None) == (self.radius is None):
            raise ValueError(
                f"{owner}: n_neighbors or radius must be None, and not both, got "
                f"{self.n_neighbors} and {self.radius} (Both n_neighbors and radius are provided)"
            )
        rows = self._fit_rows(X)
        n = rows.count
        check_pair(n, owner)
        if self.n_neighbors is not None:
            graph = nearest_graph(self._nearest(None, int(self.n_neighbors)), "distance", n)
        else:
            offsets, near, distances = self._within(None, self._radius_here())
            graph = as_graph(offsets, near, distances, "distance", n)
        graph = joined(graph, self._space, owner)
        D = paths_of(graph)
        B, self._column_means = double_centered(D)
        self._values, self._vectors = leading(B, int(self.n_components), float(self.tol))
        self._paths = D
        self.dist_matrix_ = self._in_given_unit(D)
        points = self._vectors * np.sqrt(self._values)
        self.embedding_ = self._in_given_unit(points).astype(rows.dtype)
        self._error = float(np.sqrt(max((B**2).sum() - (self._values**2).sum(), 0.0)) / n)
        return self

    @property
    def kernel_pca_(self) -> Any:
        """Kernel principal components of ``-D^2 / 2``, whose scores are the map."""
        from kernelmill.decomposition import KernelPCA

        check_is_fitted(self, "embedding_")
        model = KernelPCA(self.n_components, kernel="precomputed", tol=self.tol)
        return model.fit(-0.5 * self.dist_matrix_**2)

    def _radius_here(self) -> float:
        return float(np.ldexp(float(self.radius), self._exponent * self._power))

    def _in_given_unit(self, values: np.ndarray) -> np.ndarray:
        return np.ldexp(values, -self._exponent * self._power) if self._exponent else values

    def reconstruction_error(self):
        """Error of the map, ``|B - Y Y'| / n`` of the centred squares B.

        Returns
        -------
        error : float
            In squared units of X.
        """
        check_is_fitted(self, "embedding_")
        return float(self._in_given_unit(self._in_given_unit(np.array(self._error))))

    def transform(self, X):
        """Put other rows on the map, by paths over their neighbours in ``fit``.

        Returns
        -------
        embedding : ndarray of shape (n, q), dtype of X
            Their points.
        """
        check_is_fitted(self, "embedding_")
        D = self._paths
        if self.n_neighbors is not None:
            distances, near = self._nearest(X, int(self.n_neighbors))
            paths = np.full((len(near), len(D)), np.inf)
            for j in range(near.shape[1]):
                np.minimum(paths, distances[:, j, None] + D[near[:, j]], out=paths)
        else:
            offsets, near, distances = self._within(X, self._radius_here())
            paths = np.full((len(offsets) - 1, len(D)), np.inf)
            for i in range(len(paths)):
                own = slice(offsets[i], offsets[i + 1])
                if offsets[i] == offsets[i + 1]:
                    raise ValueError(
                        f"Isomap: X must have neighbours within the radius {self.radius}, got none "
                        f"for row {i}"
                    )
                paths[i] = (distances[own, None] + D[near[own]]).min(axis=0)
        B = -0.5 * (paths**2 - self._column_means)  # a constant in a row is orthogonal to vectors
        with np.errstate(divide="ignore"):
            inverse = np.where(self._values > 0, 1 / np.sqrt(self._values), 0.0)
        return self._in_given_unit(B @ (self._vectors * inverse)).astype(self.embedding_.dtype)


def paths_of(graph: Any) -> np.ndarray:
    """Lengths of the shortest paths along edges in either direction, float64 (n, n)."""
    n = graph.shape[0]
    begins, ends = np.repeat(np.arange(n), np.diff(graph.indptr)), graph.indices
    order = np.argsort(np.concatenate([begins, ends]), kind="stable")
    indices = np.concatenate([ends, begins])[order].astype(np.int32)
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(begins, minlength=n) + np.bincount(ends, minlength=n), out=offsets[1:])
    return layout.paths(offsets, indices, np.tile(graph.data, 2)[order].astype(np.float64))


def joined(graph: Any, space: Space, owner: str) -> Any:
    """The graph with the closest two rows of each pair of its parts connected."""
    parts, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    if parts == 1:
        return graph
    if space.metric == "precomputed" and is_sparse(space.rows):
        raise ValueError(
            f"{owner}: X must have distances that connect all rows, got {parts} parts of the graph "
            "of neighbours (with sparse distances the parts cannot be joined)"
        )
    warn(
        f"{owner}: the graph of neighbours has {parts} parts (the number of connected components "
        f"of the neighbors graph is {parts} > 1), whose closest rows are connected",
        UserWarning,
    )
    members = [np.flatnonzero(label == part) for part in range(parts)]
    row, column, length = [], [], []
    for a in range(parts):
        for b in range(a + 1, parts):
            i, j, d = _closest(space, members[a], members[b])
            row.append(i)
            column.append(j)
            length.append(d)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    ends = np.concatenate([rows, row]), np.concatenate([graph.indices, column])
    data = np.concatenate([graph.data, length])
    return scipy.sparse.csr_matrix((data, ends), shape=graph.shape)


def _closest(space: Space, a: np.ndarray, b: np.ndarray) -> tuple[int, int, float]:
    if space.metric == "precomputed":
        block = space.rows[np.ix_(a, b)]
        i, j = np.unravel_index(int(block.argmin()), block.shape)
        return int(a[i]), int(b[j]), float(block[i, j])
    part = space._replace(rows=space.rows[b], tree=None)
    if space.metric == "haversine":
        from kernelmill.neighbors._space import grown

        part = part._replace(tree=grown(part.rows[:, :3]))
    distances, near = part.nearest(space.rows[a], 1)
    first = int(distances[:, 0].argmin())
    return int(a[first]), int(b[near[first, 0]]), float(distances[first, 0])
