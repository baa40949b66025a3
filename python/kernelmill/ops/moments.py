"""Second moments of rows: what least squares, ridge, principal components and discriminants need.

Symbols: X is (n, d) data, Y (n, m) targets, w weights, o an origin near the means. A pass over rows
gives sums that add up over chunks with the same origin; the moments about the means follow from
them (`kernelmill._estimator._moments`).

NaN and infinity propagate to the sums that they are in, and may to others of the same row. Empty X
gives zeros. Sums are in float64, in chunks whose bounds depend on the sizes alone: the same bits at
any thread count. Shapes and dtypes that do not fit raise ValueError. Cost n (d + m)^2 flops, half
of the product; for CSR rows with an origin of zeros the square of what a row stores.
"""

from __future__ import annotations

import numpy as np

from ._op import op


@op(
    "X: T[n,d]|csr, Y: f64[n,m], origin: f64[p], sample_weight: T[n]? -> products: f64[p+1,p+1]",
    cuda="the models that use it run on the CPU only",
)
def products(
    X: np.ndarray,
    Y: np.ndarray,
    origin: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Sum ``w z z'`` over rows ``z = (x - o, y - o', 1)``.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows. Repeated entries of a CSR row add up.
    Y : ndarray of shape (n, m), float64
        Targets, m = 0 where there are none.
    origin : ndarray of shape (d + m,), float64
        What is taken off the columns of X and of Y. The nearer to the means, the fewer digits the
        moments about the means lose: (distance / deviation)^2 of those of float64.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of at least 0, 1 when left out.

    Returns
    -------
    products : ndarray of shape (d + m + 1, d + m + 1), float64
        The symmetric matrix of sums: of products, of z in the last row and column, and of the
        weights in the corner.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import moments
    >>> X, Y = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [0.0], [1.0]])
    >>> moments.products(X, Y, np.array([2.0, 0.0]))
    array([[5., 1., 1.],
           [1., 2., 2.],
           [1., 2., 3.]])
    """
    n, d = X.shape
    if len(origin) != d + Y.shape[1]:
        raise ValueError(
            f"moments.products: origin must have shape (d + m,), got ({len(origin)},) for d = {d} "
            f"and m = {Y.shape[1]}"
        )
    z = np.hstack([X.astype(np.float64) - origin[:d], Y - origin[d:], np.ones((n, 1))])
    weight = np.ones(n) if sample_weight is None else sample_weight.astype(np.float64)
    return (z * weight[:, None]).T @ z
