"""The dense matrix product: the tile product with nothing done to its tiles.

NaN and infinity propagate. An empty sum, k = 0, is 0. Shapes and dtypes that do not fit raise
ValueError. Deterministic: the order in which an entry is summed depends on the shapes alone, so
results have the same bits at any thread count. Cost is 2 m n k flops.
"""

from __future__ import annotations

import numpy as np

from ._op import op


@op("A: T[m,k], B: T[k,n], C: T[m,n]?, alpha: float, beta: float -> out: T[m,n]", half=True)
def matmul(
    A: np.ndarray, B: np.ndarray, C: np.ndarray | None = None, alpha: float = 1.0, beta: float = 0.0
) -> np.ndarray:
    """General matrix product ``alpha * A @ B + beta * C``.

    Parameters
    ----------
    A : ndarray of shape (m, k), float32 or float64
        Left factor, any strides.
    B : ndarray of shape (k, n), dtype of A
        Right factor, any strides.
    C : ndarray of shape (m, n), dtype of A, optional
        Added matrix; read only when ``beta != 0``, so it may then hold NaN.
    alpha, beta : float
        Scales.

    Returns
    -------
    out : ndarray of shape (m, n), dtype of A
        A new row-major array; C is not modified.

    Raises
    ------
    ValueError
        If ``beta != 0`` without C.

    Notes
    -----
    Implementations add at the dtype of A. With k = 0 the result is ``beta * C``.

    References
    ----------
    Goto and van de Geijn (2008), "Anatomy of high-performance matrix multiplication".
    """
    out = alpha * (A.astype(np.float64) @ B.astype(np.float64))
    if beta != 0:
        if C is None:
            raise ValueError("matmul.matmul: C must be given when beta is not 0, got None")
        out = out + beta * C.astype(np.float64)
    return out.astype(A.dtype)
