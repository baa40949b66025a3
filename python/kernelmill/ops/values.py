"""Questions about the values of a matrix that must be answered before anything is computed from it.

NaN is counted, never propagated. Empty X has the extent (0, 0). Deterministic: no result depends on
the order of the elements. Cost is one pass over memory. Shapes, dtypes and values that do not fit
raise ValueError.
"""

from __future__ import annotations

import numpy as np

from ._op import op


@op(
    "X: T[n,d] -> largest: float, missing: int",
    cuda="the reductions of CuPy do it on the GPU, in one pass each",
)
def extent(X: np.ndarray) -> tuple[float, int]:
    """Find the largest magnitude in X, and how many entries are NaN.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Values.

    Returns
    -------
    largest : float
        ``max |X[i, j]|`` over the entries that are not NaN; inf where one is infinite, 0 where
        there is none.
    missing : int
        Number of entries that are NaN.

    Raises
    ------
    ValueError
        If X has another dtype or is not 2-D.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import values
    >>> values.extent(np.array([[1.0, -3.0], [np.nan, 2.0]]))
    (3.0, 1)
    """
    missing = np.isnan(X)
    return float(np.abs(X[~missing]).max(initial=0.0)), int(missing.sum())
