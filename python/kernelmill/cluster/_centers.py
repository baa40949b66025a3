"""Base of the models with ``cluster_centers_``: labels, distances and score of rows."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse, namespace
from kernelmill._estimator._base import warn
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill.cluster._statistics import labels_of, lloyd_pass
from kernelmill.cluster._words import WORDS
from kernelmill.ops import pairwise

# Bytes of a block of distances in the transform of sparse rows.
_BLOCK_BYTES = 8 << 20
_EACH_CHUNK = "loop over kernelmill.stream.source(X) and transform each chunk"


class CentersModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Estimator):
    """Base of the k-means models; subclasses fit ``cluster_centers_``.

    Attributes
    ----------
    cluster_centers_
    _centers64 : array of shape (k, d), float64, or None
        Centers before rounding to float32, which would change labels far from the origin.
    """

    _accepts_sparse = True
    _words = WORDS

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _attributes(self, centers: Any, rows: Rows) -> dict[str, Any]:
        """Attributes of a usable model with these float64 centers."""
        centers = rows.as_given(centers)
        return {
            "cluster_centers_": centers.astype(rows.dtype),
            "_centers64": None if rows.dtype == np.float64 else centers,
            "_n_features_out": len(centers),
        }

    def _exact_centers(self) -> Any:
        """Float64 centers: unrounded, unless the user has replaced ``cluster_centers_``."""
        shown = self.cluster_centers_
        exact = getattr(self, "_centers64", None)
        if (
            exact is not None
            and exact.shape == shown.shape
            and bool((exact.astype(shown.dtype) == shown).all())
        ):
            return exact
        return shown if shown.dtype == np.float64 else shown.astype(np.float64)

    def _previous_centers(self, d: int, hint: str) -> Any:
        """Float64 centers to continue from; raises where they have another shape."""
        centers, expected = self._exact_centers(), (int(self.n_clusters), d)
        if centers.shape != expected:
            raise ValueError(
                f"{type(self).__name__}: n_clusters and the number of features must be those of "
                f"the previous fit, {centers.shape}, got {expected} ({hint})"
            )
        return centers

    def _fitted_rows(self, X: Any, sample_weight: Any = None) -> Rows:
        """Rows to which a fitted model is applied."""
        if "cluster_centers_" not in vars(self):
            check_is_fitted(self)
        if "n_features_in_" not in vars(self):  # centers set by the user, without a fit
            self.n_features_in_ = self.cluster_centers_.shape[1]
        return self._rows(X, sample_weight, reset=False)

    def predict(self, X: Any) -> Any:
        """Find the nearest center of each row.

        Returns
        -------
        labels : array of shape (n,), int32
            Index of the nearest center, the lowest in a tie.

        Notes
        -----
        Safe to call from several threads. Cost 2 n k d flops.

        Examples
        --------
        >>> from kernelmill.cluster import KMeans
        >>> KMeans(1).fit([[0.0], [2.0]]).predict([[5.0]])
        array([0], dtype=int32)
        """
        return self._fitted_rows(X).map(labels_of, self._exact_centers())

    def transform(self, X: Any) -> Any:
        """Return the Euclidean distance from each row to each center.

        Returns
        -------
        distances : array of shape (n, k), dtype of X
            Dense, also for sparse X.

        Raises
        ------
        TypeError
            If X is a stream.

        Notes
        -----
        Cost 2 n k d flops.

        Examples
        --------
        >>> from kernelmill.cluster import KMeans
        >>> KMeans(1).fit([[0.0], [2.0]]).transform([[5.0]])
        array([[4.]])
        """
        self._refuse_stream(X, _EACH_CHUNK)
        return self._fitted_rows(X).map(_distances, self._exact_centers())

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and return the distance from each row to each center.

        Returns
        -------
        distances : array of shape (n, k), dtype of X
            Distance from each row to each center.

        Examples
        --------
        >>> from kernelmill.cluster import KMeans
        >>> KMeans(1).fit_transform([[0.0], [2.0]])
        array([[1.],
               [1.]])
        """
        self._refuse_stream(X, _EACH_CHUNK)
        return self.fit(X, y, sample_weight=sample_weight).transform(X)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and return the labels of the rows.

        Returns
        -------
        labels : array of shape (n,), int32
            ``labels_``, or ``predict(X)`` of a model without these.

        Examples
        --------
        >>> from kernelmill.cluster import KMeans
        >>> KMeans(1).fit_predict([[0.0], [2.0]])
        array([0, 0], dtype=int32)
        """
        self.fit(X, y, sample_weight=sample_weight)
        return self.labels_ if hasattr(self, "labels_") else self.predict(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the negative inertia of the rows: larger is better.

        Returns
        -------
        score : float
            ``-sum_i w[i] min_j ||X[i] - C[j]||^2``.

        Examples
        --------
        >>> from kernelmill.cluster import KMeans
        >>> KMeans(1).fit([[0.0], [2.0]]).score([[5.0]])
        -16.0
        """
        rows = self._fitted_rows(X, sample_weight)
        return -float(rows.map_reduce(lloyd_pass, self._exact_centers())[2])


def _distances(X: Any, centers: Any) -> Any:
    """Distances in the dtype of X; for CSR rows by expanding the square in float64."""
    if not is_sparse(X):
        return pairwise.euclidean(X, centers.astype(X.dtype))
    n, k = X.shape[0], len(centers)
    out = np.empty((n, k), dtype=X.dtype)
    norms = (centers**2).sum(axis=1)
    step = max(1, _BLOCK_BYTES // (8 * k))
    for first in range(0, n, step):
        block = X[first : first + step].astype(np.float64)
        square = np.asarray(block.multiply(block).sum(axis=1)).reshape(-1, 1) + norms
        square -= 2 * (block @ centers.T)
        out[first : first + step] = np.sqrt(np.maximum(square, 0))
    return out


def refuse_overflow(owner: str, inertia: float, dtype: np.dtype) -> None:
    """Raise where squared distances overflow: the labels would be meaningless."""
    if not isfinite(inertia):
        raise ValueError(
            f"{owner}: X must be small enough to be squared in {dtype}, got an inertia of "
            f"{inertia:g} (scale X{', or pass float64' if dtype == np.float32 else ''})"
        )


def check_row_count(owner: str, n: int, n_clusters: int) -> None:
    """Raise where there are fewer rows than clusters."""
    if n < n_clusters:
        raise ValueError(
            f"{owner}: n_clusters must be at most the number of rows, got n_samples={n} and "
            f"n_clusters={n_clusters} (lower n_clusters or add rows)"
        )


def warn_if_too_few(estimator: Any, labels: Any) -> None:
    """Warn where some clusters have no row."""
    k = estimator.n_clusters
    filled = int((namespace(labels).bincount(labels, minlength=k) > 0).sum())
    if filled < k:
        warn(
            f"{type(estimator).__name__}: Number of distinct clusters ({filled}) found smaller "
            f"than n_clusters ({k}). Possibly due to duplicate points in X (lower n_clusters).",
            ConvergenceWarning,
        )
