"""Distances between the rows of two matrices.

NaN and infinity propagate as in the formula. Empty X or Y gives an empty result. Widths or dtypes
that differ raise ValueError. Deterministic: the same bits at any thread count. Cost is 2 n m d
flops.
"""

from __future__ import annotations

import numpy as np

from ._op import op


@op("X: T[n,d], Y: T[m,d], squared: bool -> D: T[n,m]")
def euclidean(X: np.ndarray, Y: np.ndarray, squared: bool = False) -> np.ndarray:
    """Euclidean distances between all rows of X and all rows of Y.

    ``D[i, j] = sqrt(sum_p (X[i, p] - Y[j, p])^2)``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        First rows.
    Y : ndarray of shape (m, d), dtype of X
        Second rows.
    squared : bool, default=False
        Return the squares.

    Returns
    -------
    D : ndarray of shape (n, m), dtype of X
        Distances, never negative, exactly zero between equal rows.

    Notes
    -----
    Implementations may expand the square, and then recompute every entry that cancellation would
    spoil: the relative error is at most ``c * (d + 4) * eps`` however far the data lie from the
    origin. With d = 0 all distances are 0.
    """
    difference = X.astype(np.float64)[:, None, :] - Y.astype(np.float64)[None, :, :]
    square = (difference**2).sum(axis=2)
    return (square if squared else np.sqrt(square)).astype(X.dtype)
