"""Silhouette coefficients without an n x n matrix.

NaN and infinity propagate. Empty X gives an empty result. Widths or dtypes that differ raise
ValueError. Deterministic: the same bits at any thread count. Cost is 2 n m d flops and n m square
roots.
"""

from __future__ import annotations

import numpy as np

from ._op import op


@op("X: T[n,d], Y: T[m,d], offsets: i64[k+1] -> S: f64[n,k]")
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
        If offsets do not describe the rows of Y.

    Notes
    -----
    Memory O(n k) beside the inputs.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis".
    """
    if offsets[0] != 0 or offsets[-1] != len(Y) or np.any(np.diff(offsets) < 0):
        raise ValueError(
            f"silhouette.cluster_distance_sums: offsets must rise from 0 to {len(Y)}, got {offsets}"
        )
    X64, Y64 = X.astype(np.float64), Y.astype(np.float64)
    sums = np.zeros((len(X), offsets.size - 1))
    for g in range(offsets.size - 1):
        for y in Y64[offsets[g] : offsets[g + 1]]:
            sums[:, g] += np.sqrt(((X64 - y) ** 2).sum(axis=1))
    return sums
