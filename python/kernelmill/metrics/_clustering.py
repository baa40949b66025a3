"""What the clustering metrics share: validated rows, labels as codes, and bounded passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .._arrays import as_matrix, namespace
from .._estimator._validation import check_values

# Temporary memory of a pass, in bytes: small enough to stay in the cache.
CACHED_BYTES = 1 << 19
# Results of one op call, in bytes, that are kept only until they are reduced.
CHUNK_BYTES = 1 << 26


@dataclass
class Clustering:
    """Rows with validated labels.

    Attributes
    ----------
    X : array of shape (n, d), float32 or float64
    codes : array of shape (n,), int64
        Index of the cluster of each row, in the order of the sorted labels.
    n_clusters : int
    """

    X: Any
    codes: Any
    n_clusters: int

    @property
    def xp(self) -> Any:
        return namespace(self.X)

    @cached_property
    def sizes(self) -> Any:
        """Number of rows in each cluster, int64 of shape (k,)."""
        return self.xp.bincount(self.codes, minlength=self.n_clusters)

    @cached_property
    def offsets(self) -> Any:
        """Start of each cluster in `order`, int64 of shape (k + 1,)."""
        xp = self.xp
        return xp.concatenate([xp.zeros(1, dtype=np.int64), xp.cumsum(self.sizes)])

    @cached_property
    def order(self) -> Any:
        """Indices of the rows, sorted by cluster."""
        if self.xp is not np:
            return self.xp.argsort(self.codes)  # stable in CuPy
        # NumPy sorts narrow integers by radix: 5 times faster than int64 at a million rows.
        narrow = self.codes.astype(np.uint16) if self.n_clusters <= 1 << 16 else self.codes
        return np.argsort(narrow, kind="stable")

    @cached_property
    def grouped(self) -> Any:
        """The rows of X, sorted by cluster."""
        return self.X[self.order]

    def chunks(self) -> Iterator[slice]:
        """Slices of rows whose float64 copy stays in the cache."""
        rows = max(64, CACHED_BYTES // (8 * max(self.X.shape[1], 1)))
        if self.xp is not np:
            rows = max(rows, CHUNK_BYTES // (8 * max(self.X.shape[1], 1)))
        for begin in range(0, len(self.X), rows):
            yield slice(begin, min(begin + rows, len(self.X)))

    def sums(self, values: Any, codes: Any) -> Any:
        """Sum of float64 rows by cluster: (r, c) values and (r,) codes give (k, c)."""
        if self.xp is not np:
            total = self.xp.zeros((self.n_clusters, values.shape[1]))
            self.xp.add.at(total, codes, values)
            return total
        from scipy.sparse import csc_array

        rows = len(values)
        members = csc_array(
            (np.ones(rows), codes, np.arange(rows + 1)), shape=(self.n_clusters, rows)
        )
        return members @ values

    @cached_property
    def origin(self) -> Any:
        """Mean of the first rows: sums are taken about it, so that they stay small."""
        return self.X[:1024].astype(np.float64).mean(axis=0)

    @cached_property
    def centroids(self) -> Any:
        """Mean of each cluster, float64 of shape (k, d)."""
        total = self.xp.zeros((self.n_clusters, self.X.shape[1]))
        for rows in self.chunks():
            total += self.sums(self.X[rows].astype(np.float64) - self.origin, self.codes[rows])
        return total / self.sizes[:, None] + self.origin

    def sums_about_centroids(self, power: int) -> Any:
        """Sum of ``||x - centroid||**power``, power 1 or 2, of each cluster: (k,) float64."""
        xp = self.xp
        total = xp.zeros((self.n_clusters, 1))
        for rows in self.chunks():
            difference = self.X[rows] - self.centroids[self.codes[rows]]
            square = xp.einsum("ij,ij->i", difference, difference)[:, None]
            total += self.sums(xp.sqrt(square) if power == 1 else square, self.codes[rows])
        return total[:, 0]


def check(name: str, X: Any, labels: Any, *, for_score: bool = True) -> Clustering:
    """Validate rows and labels; ``for_score`` also requires 2 to n - 1 distinct labels."""
    X = _check_rows(name, X)
    xp = namespace(X)
    try:
        values = labels if namespace(labels) is not np else np.asarray(labels)
        if values.ndim != 1 or len(values) != len(X):
            raise ValueError(
                f"{name}: labels must be a vector with one label per row of X, got shapes "
                f"{values.shape} and {X.shape}"
            )
        if values.dtype.kind == "f" and not bool(namespace(values).isfinite(values).all()):
            raise ValueError(f"{name}: labels must be finite, got NaN or infinity")
        classes, codes = namespace(values).unique(values, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"{name}: labels must be of types that compare with each other, got a mixture ({error})"
        ) from error
    if for_score and not 2 <= len(classes) <= len(X) - 1:
        raise ValueError(
            f"{name}: labels must have 2 to n_samples - 1 = {len(X) - 1} distinct values, got "
            f"{len(classes)} (a score compares clusters, not all of a single row)"
        )
    return Clustering(X, xp.asarray(codes).astype(np.int64), len(classes))


def _check_rows(name: str, X: Any) -> Any:
    X = as_matrix(X, name, accept_sparse=False)
    if not X.size:
        raise ValueError(f"{name}: X must have rows and columns, got shape {X.shape}")
    check_values(X, name, whole=True, squared=np.float64)  # distances are of float64
    return X
