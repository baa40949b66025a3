"""Dropout by a mask that is a function of (seed, stream, entry) and is drawn, never stored.

Dropped entries are selected, not multiplied by 0, so NaN and inf among them leave no trace; kept
ones propagate NaN. Empty input gives an empty result. Deterministic: the same bits at any thread
count, on every device. Cost is that of :func:`kernelmill.ops.random.uniform` beside one pass over
memory. Shapes, dtypes and values that do not fit raise ValueError.
"""

from __future__ import annotations

import numpy as np

from . import random
from ._op import op


@op(
    "x: T[n,k], p: float, seed: int[0,2**64), stream: int[0,2**64), scale: float, shift: float,"
    " dropped: float, rows: bool -> y: T[n,k]",
    half=True,
)
def dropout(
    x: np.ndarray,
    p: float,
    seed: int,
    stream: int,
    scale: float = 1.0,
    shift: float = 0.0,
    dropped: float = 0.0,
    rows: bool = False,
) -> np.ndarray:
    """Entries replaced with probability p: ``scale x + shift`` where kept, else `dropped`.

    Ordinary dropout has ``scale = 1 / (1 - p)``, alpha dropout a shift and a value of dropped
    entries that keep mean and variance. The gradient is the same op, of dout without shift and
    with 0 where dropped.

    Parameters
    ----------
    x : ndarray of shape (n, k), float32 or float64
        Values, any strides.
    p : float
        Probability that an entry is dropped; none at 0, all at 1.
    seed : int in [0, 2**64)
        Which sequences of random numbers.
    stream : int in [0, 2**64)
        Which sequence of the seed: one per call.
    scale, shift, dropped : float, default=1.0, 0.0, 0.0
        What becomes of the entries; rounded to the dtype of x.
    rows : bool, default=False
        Whether whole rows are dropped, such as the k places of one channel.

    Returns
    -------
    y : ndarray of shape (n, k), dtype of x
        New and C-contiguous.

    Raises
    ------
    ValueError
        If p is not in [0, 1], or another argument does not fit.

    Notes
    -----
    Entry (i, j) has item ``i k + j`` of the float32 numbers of `random.uniform`, or item i with
    `rows`, and is kept where that is at least p.

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import dropout
    >>> dropout.dropout(np.ones((2, 4)), 0.5, seed=1, stream=0, scale=2.0)
    array([[2., 2., 2., 2.],
           [2., 2., 0., 2.]])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout.dropout: p must be in [0, 1], got {p}")
    n, k = x.shape
    u = random.uniform.specification(seed, stream, 0, n if rows else n * k, np.float32)
    kept = np.broadcast_to(u.reshape(n, 1 if rows else k) >= np.float64(p), x.shape)
    a, b, c = np.array([scale, shift, dropped], x.dtype).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(kept, x.astype(np.float64) * a + b, c).astype(x.dtype)
