"""What every model with ``cluster_centers_`` shares: labels, distances and score of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator._base import warn
from kernelmill._estimator._device import move_back, move_in, namespace
from kernelmill._estimator._progress import CallbackSupportMixin
from kernelmill._estimator._streams import is_stream, open_stream
from kernelmill._estimator._validation import check_weight, check_X
from kernelmill.cluster._passes import assign, labels_of, lloyd_pass, sum_of
from kernelmill.ops import pairwise
from kernelmill.ops._op import is_cupy
from kernelmill.stream._matrix import is_sparse

# Rows of a sparse transform at a time: the block of distances stays near 8 MiB.
_BLOCK_BYTES = 8 << 20


class CentersMixin(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Base of the k-means models; subclasses fit ``cluster_centers_``.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Centers as users see them.
    _centers64 : array of shape (k, d), float64, or None
        The centers before rounding to float32. Far from the origin that rounding would change
        labels, so rows are compared with these.
    """

    _sparse = True  # whether CSR is accepted
    _streams = True  # whether X may be a stream

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._sparse
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _keep_centers(self, centers: Any, dtype: np.dtype, like: Any) -> None:
        """Set ``cluster_centers_`` from float64 centers, where the user's data came from."""
        self.__dict__.update(self._state(centers, dtype, like))

    def _state(self, centers: Any, dtype: np.dtype, like: Any) -> dict[str, Any]:
        """Attributes that make a usable model of float64 centers."""
        centers = move_back(centers, like)
        rounded = centers.astype(dtype)
        return {
            "cluster_centers_": rounded,
            "_centers64": None if dtype == np.float64 else centers,
            "_n_features_out": len(centers),
        }

    def _exact_centers(self) -> Any:
        """Float64 centers: the unrounded ones while ``cluster_centers_`` is what fit has set."""
        shown = self.cluster_centers_
        exact = getattr(self, "_centers64", None)
        if (
            exact is not None
            and exact.shape == shown.shape
            and bool((exact.astype(shown.dtype) == shown).all())
        ):
            return exact
        return shown if shown.dtype == np.float64 else shown.astype(np.float64)

    def _ready(self, X: Any) -> tuple[Any, Any]:
        """Checked rows on the device to compute on, and the centers beside them."""
        if "cluster_centers_" not in vars(self):
            check_is_fitted(self)
        X = check_X(self, X, reset=False, accept_sparse=self._sparse)
        X = move_in(X, self.device, type(self).__name__)
        return X, self._centers_near(X)

    def _centers_near(self, X: Any) -> Any:
        centers = self._exact_centers()
        if is_cupy(X) != is_cupy(centers):
            centers = move_back(centers, X)
        return centers

    def _as_given(self, result: Any, X: Any) -> Any:
        """A result where the user's X lives."""
        return result if self.device is None else move_back(result, X)

    def _open(self, X: Any, sample_weight: Any = None) -> Any:
        """A fitted model's source for rows that are a stream."""
        if "cluster_centers_" not in vars(self):
            check_is_fitted(self)
        self._need_memory(X)
        return open_stream(self, X, sample_weight, reset=False)

    def _need_memory(self, X: Any) -> None:
        if not self._streams:
            name = type(self).__name__
            raise TypeError(
                f"{name}: X must be an array or frame in memory, got {type(X).__name__} (KMeans "
                f"and MiniBatchKMeans read streams)"
            )

    def predict(self, X: Any) -> Any:
        """Find the nearest center of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows; see ``fit`` for what is accepted.

        Returns
        -------
        labels : array of shape (n,), int32
            Index of the nearest center, the lowest among equally near ones.

        Raises
        ------
        ValueError
            If X is not finite or has other features than in ``fit``.
        NotFittedError
            Before ``fit``.

        Notes
        -----
        Safe to call from several threads. Cost 2 n k d flops.
        """
        if type(X) is not np.ndarray and is_stream(X):
            centers = self._exact_centers() if "cluster_centers_" in vars(self) else None
            opened = self._open(X)
            parts = list(opened.map(labels_of, centers, device=self.device))
            return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        rows, centers = self._ready(X)
        return self._as_given(assign(rows, centers)[0], X)

    def transform(self, X: Any) -> Any:
        """Give the Euclidean distance from each row to each center.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory.

        Returns
        -------
        distances : array of shape (n, k), dtype of X
            Dense, also for sparse X.

        Raises
        ------
        ValueError
            If X is not finite or has other features than in ``fit``.
        TypeError
            If X is a stream.
        NotFittedError
            Before ``fit``.

        Notes
        -----
        Cost 2 n k d flops.
        """
        if type(X) is not np.ndarray and is_stream(X):
            raise TypeError(
                f"{type(self).__name__}: X must be in memory for transform, got "
                f"{type(X).__name__} (loop over kernelmill.stream.source(X) and transform each "
                f"chunk)"
            )
        rows, centers = self._ready(X)
        return self._as_given(_distances(rows, centers), X)

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and give the distance from each row to each center.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        distances : array of shape (n, k), dtype of X
            Distance from each row to each center.
        """
        return self.fit(X, y, sample_weight=sample_weight).transform(X)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit and give the labels of the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows; see ``fit``.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        labels : array of shape (n,), int32
            ``labels_``.
        """
        return self.fit(X, y, sample_weight=sample_weight).labels_

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Give the negative inertia of rows: larger is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows; see ``fit``.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        score : float
            ``-sum_i w[i] min_j ||X[i] - C[j]||^2``.

        Raises
        ------
        ValueError
            If X is not finite or has other features than in ``fit``.
        NotFittedError
            Before ``fit``.
        """
        if type(X) is not np.ndarray and is_stream(X):
            opened = self._open(X, sample_weight)
            found = opened.map_reduce(lloyd_pass, self._exact_centers(), device=self.device)
            return -float(found[2])
        rows, centers = self._ready(X)
        weight = check_weight(self, sample_weight, rows)
        return -sum_of(assign(rows, centers)[1], weight)


def _distances(X: Any, centers: Any) -> Any:
    """Distances at the dtype of X; for CSR rows by expanding the square in float64."""
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
    """Raise where squared distances were too large for the dtype: such labels mean nothing."""
    if not np.isfinite(inertia):
        raise ValueError(
            f"{owner}: X must be small enough for squared distances in {dtype}, got an inertia of "
            f"{inertia:g} (scale X{', or pass float64' if dtype == np.float32 else ''})"
        )


def row_count_error(owner: str, n: int, n_clusters: int) -> ValueError:
    """The error for fewer rows than clusters."""
    return ValueError(
        f"{owner}: n_clusters must be at most the number of rows, got n_samples={n} and "
        f"n_clusters={n_clusters} (lower n_clusters or add rows)"
    )


def warn_if_too_few(estimator: Any, labels: Any) -> None:
    """Warn where some clusters have no row."""
    k = estimator.n_clusters
    found = int((namespace(labels).bincount(labels, minlength=k) > 0).sum())
    if found < k:
        warn(
            f"{type(estimator).__name__}: Number of distinct clusters ({found}) found smaller than "
            f"n_clusters ({k}). Possibly due to duplicate points in X (lower n_clusters).",
            ConvergenceWarning,
        )
