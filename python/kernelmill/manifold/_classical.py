"""Classical scaling: coordinates from distances by eigenvectors."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._linalg import lapack_threads, largest_eigenpairs, some_eigenpairs
from kernelmill.decomposition._krylov import soonest
from kernelmill.manifold._laplacian import WHOLE
from kernelmill.manifold._rows import Manifold, magnitude_of, normals, refuse_negative, turned
from kernelmill.neighbors._base import SEARCH, check_pair
from kernelmill.neighbors._space import Space, filled
from kernelmill.ops import neighbors, pairwise


class ClassicalMDS(Manifold):
    """Coordinates whose inner products are those that the distances say.

    ``B = -J D^2 J / 2`` with ``J = I - 1 1' / n`` has the inner products of centred rows where D
    holds Euclidean distances; the map is its eigenvectors with the largest eigenvalues, times their
    roots.

    Parameters
    ----------
    n_components : int, default=2
        Dimensions q of the map.

    Attributes
    ----------
    embedding_
    dissimilarity_matrix_ : ndarray of shape (n, n), float64
        Distances.
    eigenvalues_ : ndarray of shape (q,), float64
        Eigenvalues of B, descending; 0 for negative ones.
    n_features_in_, feature_names_in_

    Notes
    -----
    Of Euclidean distances this is the principal components of X. Memory O(n^2).

    References
    ----------
    Torgerson (1952), "Multidimensional scaling: I. Theory and method".

    Examples
    --------
    >>> from kernelmill.manifold import ClassicalMDS
    >>> ClassicalMDS(1).fit_transform([[0.0, 0], [3, 4], [6, 8]]).ravel()
    array([ 5.,  0., -5.])
    """

    _parameters: ClassVar = {
        "n_components": rule.integer(1),
        "metric": SEARCH["metric"],
        "metric_params": SEARCH["metric_params"],
    }
    algorithm = "brute"  # all distances need no tree
    embedding_: Any

    def __init__(self, n_components=2, *, metric="euclidean", metric_params=None):
        self._set_parameters(locals())

    @property
    def _squares(self):
        return True

    @fitting
    def fit(self, X, y=None):
        """Find the coordinates of the rows of X.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric.
        """
        D, e, dtype = self._distances(X)
        rank = self.n_features_in_ if self.metric == "euclidean" else None
        values, vectors = leading(double_centered(D)[0], int(self.n_components), 0.0, rank)
        self.dissimilarity_matrix_ = np.ldexp(D, e)
        self.eigenvalues_ = np.ldexp(values, 2 * e)
        self.embedding_ = np.ldexp(vectors * np.sqrt(values), e).astype(dtype)
        return self

    def _distances(self, X: Any) -> tuple[np.ndarray, int, Any]:
        """Distances by ``2^e``, e, and the dtype of X."""
        rows = self._fit_rows(X)
        check_pair(rows.count, type(self).__name__)
        D = all_distances(self._space, type(self).__name__)
        if self._space.metric == "precomputed":
            e = magnitude_of(D)
            D = np.ldexp(D, -e)
        else:
            e = -self._exponent * self._power
        del self._searched
        return D, e, rows.dtype


def all_distances(space: Space, owner: str) -> np.ndarray:
    """Symmetric distances of all rows, float64 (n, n)."""
    n, X = space.n_rows, space.rows
    if space.metric == "precomputed":
        D = np.array(filled(X) if is_sparse(X) else X, np.float64)
        if np.isnan(D).any():
            raise ValueError(f"{owner}: X must have all distances, got some that are not stored")
        if not np.allclose(D, D.T, rtol=1e-8, atol=1e-8 * max(float(D.max(initial=0)), 1e-300)):
            raise ValueError(f"{owner}: X must be symmetric for metric='precomputed', got others")
        return (D + D.T) / 2
    if space.code in (neighbors.EUCLIDEAN, neighbors.SQUARED) and space.metric != "haversine":
        X = (X.toarray() if is_sparse(X) else X).astype(np.float64)
        return pairwise.euclidean(X, X, space.code == neighbors.SQUARED)
    distances, near = space.nearest(X, n)
    refuse_negative(distances, owner)
    D = np.empty((n, n))
    np.put_along_axis(D, near, distances, axis=1)
    return (D + D.T) / 2


def double_centered(D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``B = -J D^2 J / 2``, and the means of the columns of D^2."""
    B = D * D
    means = B.mean(axis=0)
    B -= means
    B -= means[:, None]
    B += means.mean()
    B *= -0.5
    return B, means


def leading(
    B: np.ndarray, q: int, tol: float, rank: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The q largest eigenvalues of a symmetric matrix, at least 0, and their vectors.

    `rank` is what the rank of B is at most but for rounding, if that is known.
    """
    n = len(B)
    k = min(q, n)
    with lapack_threads(k):
        found = soonest(B, k, 0, tol, rank)
    if found is not None:
        values, vectors = found[0][::-1], found[1][::-1].T
    elif n <= WHOLE or k >= n - 1:
        with lapack_threads(n):
            values, vectors = some_eigenpairs(B, n - k, n - 1, check_finite=False)
    else:
        v0 = normals(0, 11, n, 1).ravel()
        values, vectors = largest_eigenpairs(B, k, v0, tol=tol)
    values, vectors = np.maximum(values[::-1], 0), turned(vectors[:, ::-1])
    if k < q:
        values = np.pad(values, (0, q - k))
        vectors = np.pad(vectors, ((0, 0), (0, q - k)))
    return values, vectors
