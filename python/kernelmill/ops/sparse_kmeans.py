"""k-means on rows in compressed sparse row (CSR) form; centers stay dense.

A CSR matrix of shape (n, d) is three arrays: row i holds ``data[indptr[i]:indptr[i+1]]`` in columns
``indices[indptr[i]:indptr[i+1]]``. Repeated columns add up. See `kmeans` for the symbols.

NaN, empty input and determinism are as in `kmeans`. Cost is 2 nnz k flops.
"""

from __future__ import annotations

import numpy as np

from . import kmeans
from ._op import op


def _dense(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, d: int) -> np.ndarray:
    X = np.zeros((len(indptr) - 1, d))
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    np.add.at(X, (row, indices), data.astype(np.float64))
    return X


def _check(name: str, data, indices, indptr, centers) -> None:
    if data.ndim != 1 or data.dtype not in (np.float32, np.float64) or indices.shape != data.shape:
        raise ValueError(
            f"sparse_kmeans.{name}: data must be float32 or float64 and as long as indices, got "
            f"{data.dtype} of shape {data.shape} and indices of shape {indices.shape}"
        )
    if indptr.ndim != 1 or indptr.size < 1 or indptr[0] != 0 or indptr[-1] != len(data):
        raise ValueError(
            f"sparse_kmeans.{name}: indptr must run from 0 to {len(data)}, got shape {indptr.shape}"
        )
    if np.any(np.diff(indptr) < 0):
        raise ValueError(f"sparse_kmeans.{name}: indptr must never fall")
    if centers.ndim != 2 or centers.dtype != np.float64 or len(centers) < 1:
        raise ValueError(
            f"sparse_kmeans.{name}: centers must be float64 of shape (k, d) with k >= 1, got "
            f"{centers.dtype} of shape {centers.shape}"
        )
    if indices.size and (indices.min() < 0 or indices.max() >= centers.shape[1]):
        raise ValueError(
            f"sparse_kmeans.{name}: indices must lie in [0, {centers.shape[1]}), got "
            f"{indices.min()} to {indices.max()}"
        )


@op
def assign(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest center of each sparse row.

    Parameters
    ----------
    data : ndarray of shape (nnz,), float32 or float64
        Stored values.
    indices : ndarray of shape (nnz,), int32 or int64
        Their columns.
    indptr : ndarray of shape (n + 1,), dtype of indices
        Where each row begins.
    centers : ndarray of shape (k, d), float64
        Centers, k >= 1.

    Returns
    -------
    labels : ndarray of shape (n,), int32
        Index of the nearest center, the lowest among ties.
    squared_distances : ndarray of shape (n,), dtype of data
        Squared Euclidean distance to it, never negative.

    Raises
    ------
    ValueError
        If the three arrays are not a CSR matrix as wide as the centers.

    Notes
    -----
    Implementations use ``||x||^2 - 2 x.c + ||c||^2`` in float64.
    """
    _check("assign", data, indices, indptr, centers)
    X = _dense(data, indices, indptr, centers.shape[1])
    labels, squared = kmeans.assign.specification(X, centers)
    return labels, squared.astype(data.dtype)


@op
def lloyd_step(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    centers: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Statistics of one Lloyd pass over sparse rows, and the labels.

    Parameters
    ----------
    data, indices, indptr : ndarrays
        The CSR matrix, as in `assign`.
    centers : ndarray of shape (k, d), float64
        Centers.
    sample_weight : ndarray of shape (n,), dtype of data, optional
        Weights, 1 when left out.

    Returns
    -------
    sums : ndarray of shape (k, d), float64
        Weighted sums of the rows of each cluster.
    weights : ndarray of shape (k,), float64
        Weight of each cluster.
    inertia : float
        Weighted sum of squared distances.
    labels : ndarray of shape (n,), int32
        Labels as in `assign`.

    Raises
    ------
    ValueError
        If the arrays do not fit.
    """
    _check("lloyd_step", data, indices, indptr, centers)
    X = _dense(data, indices, indptr, centers.shape[1])
    if sample_weight is not None and (
        sample_weight.shape != (len(X),) or sample_weight.dtype != data.dtype
    ):
        raise ValueError(
            f"sparse_kmeans.lloyd_step: sample_weight must be {data.dtype} of shape ({len(X)},), "
            f"got {sample_weight.dtype} of shape {sample_weight.shape}"
        )
    w = None if sample_weight is None else sample_weight.astype(np.float64)
    sums, weights, inertia = kmeans.lloyd_step.specification(X, centers, w)
    return sums, weights, inertia, kmeans.assign.specification(X, centers)[0]
