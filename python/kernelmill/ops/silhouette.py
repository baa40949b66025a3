"""Silhouette coefficients without an n x n matrix.

NaN and infinity propagate. Empty X gives an empty result. Deterministic: the same bits at any
thread count. Cost is 2 n m d flops and n m square roots.
"""

from __future__ import annotations

import numpy as np

from ._op import op


@op
def cluster_distance_sums(X: np.ndarray, Y: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum of the distances from each row of X to each cluster of rows of Y.

    ``S[i, g] = sum_{offsets[g] <= j < offsets[g+1]} ||X[i] - Y[j]||``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Query rows.
    Y : ndarray of shape (m, d), dtype of X
        Rows sorted by cluster.
    offsets : ndarray of shape (k + 1,), int64
        Where each cluster begins in Y; ``offsets[0] = 0``, ``offsets[k] = m``, never falling.

    Returns
    -------
    S : ndarray of shape (n, k), float64
        Summed Euclidean distances; 0 for an empty cluster.

    Raises
    ------
    ValueError
        If widths or dtypes differ or offsets do not describe the rows of Y.

    Notes
    -----
    Memory O(n k) beside the inputs.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis".
    """
    offsets = np.asarray(offsets)
    if X.ndim != 2 or Y.ndim != 2 or X.shape[1] != Y.shape[1] or X.dtype != Y.dtype:
        raise ValueError(
            f"silhouette.cluster_distance_sums: X and Y must be matrices of one width and dtype, "
            f"got {X.shape} {X.dtype} and {Y.shape} {Y.dtype}"
        )
    if (
        offsets.ndim != 1
        or offsets.size < 1
        or offsets[0] != 0
        or offsets[-1] != len(Y)
        or np.any(np.diff(offsets) < 0)
    ):
        raise ValueError(
            f"silhouette.cluster_distance_sums: offsets must rise from 0 to {len(Y)}, got {offsets}"
        )
    X64, Y64 = X.astype(np.float64), Y.astype(np.float64)
    sums = np.zeros((len(X), offsets.size - 1))
    for g in range(offsets.size - 1):
        for y in Y64[offsets[g] : offsets[g + 1]]:
            sums[:, g] += np.sqrt(((X64 - y) ** 2).sum(axis=1))
    return sums
