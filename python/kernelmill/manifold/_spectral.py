"""SpectralEmbedding: the smoothest functions on a graph of rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from kernelmill._arrays import is_sparse
from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._validation import as_array
from kernelmill._kernels import Kernel
from kernelmill.manifold._laplacian import smoothest
from kernelmill.manifold._rows import Manifold, nearest_rows
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._base import SEARCH, nearest_graph

SOLVERS = rule.one_of("arpack", "lobpcg", "amg", "dense", None)
TOLERANCE = rule.any_of(rule.real(0), rule.one_of("auto"))


def spectral_embedding(
    adjacency,
    *,
    n_components=8,
    eigen_solver=None,
    random_state=None,
    eigen_tol="auto",
    norm_laplacian=True,
    drop_first=True,
):
    """The smoothest functions on a graph.

    Parameters
    ----------
    adjacency : {array-like, sparse matrix} of shape (n, n)
        Symmetric weights, at least 0; the diagonal does not matter.
    norm_laplacian : bool, default=True
        Whether functions are measured by the degrees of the nodes, else all alike.
    drop_first : bool, default=True
        Whether the constant function is left out.

    Returns
    -------
    embedding : ndarray of shape (n, q), float64
        Solutions f of ``L f = lambda D f`` by ascending lambda, with ``f' D f = 1``; D has the
        degrees, or ones.

    Raises
    ------
    ValueError
        If the weights are not square, symmetric and at least 0.

    Warns
    -----
    UserWarning
        If the graph has several parts.

    Examples
    --------
    >>> from kernelmill.manifold import spectral_embedding
    >>> A = [[0.0, 1, 0, 0], [1, 0, 2, 0], [0, 2, 0, 1], [0, 0, 1, 0]]
    >>> f = spectral_embedding(A, n_components=1).ravel()
    >>> (f / f[0]).round(4)
    array([ 1.    ,  0.3333, -0.3333, -1.    ])
    """
    A = checked_graph(adjacency, "spectral_embedding")
    tol = 0.0 if eigen_tol == "auto" else float(eigen_tol)
    return eigenfunctions(
        A, int(n_components), bool(drop_first), normalised=bool(norm_laplacian), tol=tol,
        seed=seed_of(random_state), owner="spectral_embedding"
    )  # fmt: skip


def eigenfunctions(
    A: Any, q: int, drop_first: bool, *, normalised: bool = True, tol: float, seed: int, owner: str
) -> np.ndarray:
    """The q smoothest functions, with a word on a graph of several parts."""
    parts = 1
    if is_sparse(A) or not A[0, 1:].all():  # a node with an edge to all others joins them
        parts = scipy.sparse.csgraph.connected_components(A, directed=False)[0]
    if parts > 1:
        warn(
            f"{owner}: the graph has {parts} parts without an edge between them (Graph is not "
            "fully connected, spectral embedding may not work as expected.)",
            UserWarning,
        )
    vectors = smoothest(A, q + drop_first, normalised=normalised, tol=tol, seed=seed)[1]
    return vectors[:, 1:] if drop_first else vectors


def checked_graph(A: Any, owner: str, symmetric: bool = False) -> Any:
    """Weights of a graph as float64, square, symmetric, as they may be known, and at least 0."""
    A = scipy.sparse.csr_array(A) if is_sparse(A) else as_array(A, "adjacency", owner)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.shape[0]:
        raise ValueError(f"{owner}: adjacency must be square with nodes, got shape {A.shape}")
    A = A.astype(np.float64, copy=not symmetric)
    entries = A.data if is_sparse(A) else A
    if entries.size and not (np.isfinite(entries).all() and entries.min() >= 0):
        raise ValueError(f"{owner}: adjacency must be finite and at least 0, got others")
    if symmetric:
        return A
    difference = abs(A - A.T)
    if difference.max() > 1e-10 * max(float(entries.max(initial=0)), np.finfo(float).tiny):
        warn(f"{owner}: adjacency is not symmetric; its mean with its transpose is used (Array is "
             "not symmetric)", UserWarning)  # fmt: skip
    return (A + A.T) / 2


class SpectralEmbedding(Manifold):
    """The smoothest functions on the graph of neighbours, as coordinates.

    With the weights A of the edges, degrees D and ``L = D - A``, coordinates are the solutions of
    ``L f = lambda D f`` with the least lambda but for the constant one.

    Parameters
    ----------
    affinity : str or callable, default="nearest_neighbors"
        Weights of edges: ``"nearest_neighbors"`` has 1 where both rows are neighbours of each other
        and 1/2 where one is; ``"rbf"`` has ``exp(-gamma |x - y|^2)``; ``"precomputed"`` takes X as
        weights, ``"precomputed_nearest_neighbors"`` as sparse distances; or a function of X.
    gamma : float, default=None
        Coefficient of ``"rbf"``; None is ``1 / d``.
    n_neighbors : int, default=None
        Neighbours, the row itself included; None is a tenth of the rows.

    Attributes
    ----------
    embedding_
    affinity_matrix_ : {ndarray, sparse array} of shape (n, n)
        Weights.
    n_neighbors_ : int
        Neighbours in use.
    n_features_in_, feature_names_in_

    Notes
    -----
    The eigenvectors of the symmetric matrix are divided by the roots of the degrees. A graph of
    several parts has a constant function on each of them, and a warning says so.

    References
    ----------
    Belkin, Niyogi (2003), "Laplacian eigenmaps for dimensionality reduction and data
    representation".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import SpectralEmbedding
    >>> X = np.linspace(0, 1, 30)[:, None]
    >>> f = SpectralEmbedding(1, n_neighbors=4).fit_transform(X).ravel()
    >>> bool((np.diff(f) > 0).all() or (np.diff(f) < 0).all())
    True
    """

    _parameters: ClassVar = {
        "n_components": rule.integer(1),
        "affinity": rule.any_of(
            rule.one_of("nearest_neighbors", "rbf", "precomputed", "precomputed_nearest_neighbors"),
            rule.function("(X)"),
        ),
        "gamma": rule.any_of(rule.real(0), rule.nothing()),
        "random_state": rule.RANDOM_STATE,
        "eigen_solver": SOLVERS,
        "eigen_tol": TOLERANCE,
        "n_neighbors": rule.any_of(rule.integer(1), rule.nothing()),
        "n_jobs": SEARCH["n_jobs"],
    }
    embedding_: Any
    affinity_matrix_: Any

    def __init__(
        self,
        n_components=2,
        *,
        affinity="nearest_neighbors",
        gamma=None,
        random_state=None,
        eigen_solver=None,
        eigen_tol="auto",
        n_neighbors=None,
        n_jobs=None,
    ):
        self._set_parameters(locals())

    @property
    def metric(self):
        """Distance of rows."""
        given = str(self.affinity).startswith("precomputed")
        return "precomputed" if given else "euclidean"

    @fitting
    def fit(self, X, y=None):
        """Find the coordinates of the rows of X.

        Raises
        ------
        ValueError
            If X is not finite, or weights are not.

        Warns
        -----
        UserWarning
            If the graph has several parts.
        """
        owner = type(self).__name__
        seed = seed_of(self.random_state)
        rows = self._rows(X, reset=True)
        n = rows.count
        asked = max(n // 10, 1) if self.n_neighbors is None else int(self.n_neighbors)
        A = graph_of(self, rows.X, min(asked, n), owner)
        if "nearest" in str(self.affinity):
            self.n_neighbors_ = min(asked, n)
        made = self.affinity in ("rbf", "nearest_neighbors")
        self.affinity_matrix_ = A = checked_graph(A, owner, symmetric=made)
        tol = 0.0 if self.eigen_tol == "auto" else float(self.eigen_tol)
        found = eigenfunctions(A, int(self.n_components), True, tol=tol, seed=seed, owner=owner)
        self.embedding_ = found.astype(rows.dtype)
        return self


def graph_of(model: Any, X: Any, k: int, owner: str) -> Any:
    """Weights of the edges that an ``affinity`` says, of k neighbours with each row itself."""
    affinity = model.affinity
    if callable(affinity):
        return affinity(X)
    if affinity == "precomputed":
        return X
    if "nearest" not in affinity:
        gamma = 1.0 / X.shape[1] if model.gamma is None else float(model.gamma)
        kernel = Kernel(affinity, gamma, float(getattr(model, "coef0", 0)),
                        float(getattr(model, "degree", 3)))  # fmt: skip
        return kernel.matrix(X, X, owner)
    metric = "euclidean" if affinity == "nearest_neighbors" else "precomputed"
    A = nearest_graph(nearest_rows(X, k, metric, owner), "connectivity", X.shape[0])
    return (A + A.T) / 2


complete(spectral_embedding, WORDS)
