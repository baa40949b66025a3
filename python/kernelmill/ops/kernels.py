"""Kernel functions of the rows of two matrices.

=============  ====================================================================================
0, linear      ``x . y``
1, poly        ``(gamma x . y + coef0)^degree``
2, rbf         ``exp(-gamma |x - y|^2)``
3, sigmoid     ``tanh(gamma x . y + coef0)``
4, laplacian   ``exp(-gamma sum_p |x_p - y_p|)``
5, chi2        ``exp(-gamma sum_p (x_p - y_p)^2 / (x_p + y_p))``, where terms 0 / 0 are 0
=============  ====================================================================================

Distances keep their relative accuracy however far rows lie from zero: ``c (d + 4) eps``. Both
matrices are dense or both are CSR, whose repeated columns add up; CSR rows are never made dense.
NaN and infinity propagate as in the formula. Empty X or Y gives an empty result. Shapes, dtypes and
settings that do not fit raise ValueError. Deterministic: the same bits at any thread count. Cost
2 n m d flops; for CSR about 32 m stored values of a row for 16 rows of X.
"""

from __future__ import annotations

import numpy as np

from ._op import op

KINDS = ("linear", "poly", "rbf", "sigmoid", "laplacian", "chi2")


def _values(
    X: np.ndarray, Y: np.ndarray, kind: int, gamma: float, coef0: float, degree: float
) -> np.ndarray:
    """(n, m) in float64."""
    X, Y, name = X.astype(np.float64), Y.astype(np.float64), KINDS[kind]
    difference = X[:, None, :] - Y[None, :, :]
    with np.errstate(all="ignore"):
        if name == "rbf":
            return np.exp(-gamma * (difference**2).sum(axis=2))
        if name == "laplacian":
            return np.exp(-gamma * np.abs(difference).sum(axis=2))
        if name == "chi2":
            total = X[:, None, :] + Y[None, :, :]
            terms = np.where(total == 0, 0.0, difference**2 / np.where(total == 0, 1.0, total))
            return np.exp(-gamma * terms.sum(axis=2))
        products = X @ Y.T
        if name == "linear":
            return products
        inner = gamma * products + coef0
        return np.tanh(inner) if name == "sigmoid" else inner**degree


@op(
    "X: T[n,d]|csr, Y: T[m,d]|csr, kind: int[0,6), gamma: float, coef0: float, degree: float"
    " -> K: T[n,m]"
)
def matrix(
    X: np.ndarray, Y: np.ndarray, kind: int, gamma: float = 1.0, coef0: float = 0.0,
    degree: float = 3.0
) -> np.ndarray:  # fmt: skip
    """Values of a kernel function between all rows of X and all rows of Y.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        First rows.
    Y : ndarray or CSR matrix of shape (m, d), dtype of X
        Second rows.
    kind : int
        Number of the function in KINDS.
    gamma, coef0, degree : float
        Its parameters, as far as it has them.

    Returns
    -------
    K : ndarray of shape (n, m), dtype of X
        ``K[i, j] = k(X[i], Y[j])``.
    """
    return _values(X, Y, kind, gamma, coef0, degree).astype(X.dtype)


@op(
    "X: T[n,d]|csr, Y: T[m,d]|csr, coef: f64[m,k], kind: int[0,6), gamma: float, coef0: float,"
    " degree: float -> sums: f64[n,k]"
)
def apply(
    X: np.ndarray, Y: np.ndarray, coef: np.ndarray, kind: int, gamma: float = 1.0,
    coef0: float = 0.0, degree: float = 3.0
) -> np.ndarray:  # fmt: skip
    """Products of the matrix of a kernel function, which is never stored whole, with vectors.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        First rows.
    Y : ndarray or CSR matrix of shape (m, d), dtype of X
        Second rows.
    coef : ndarray of shape (m, k), float64
        Factors of the rows of Y.
    kind : int
        Number of the function in KINDS.
    gamma, coef0, degree : float
        Its parameters, as far as it has them.

    Returns
    -------
    sums : ndarray of shape (n, k), float64
        ``sums[i, c] = sum_j k(X[i], Y[j]) coef[j, c]``.
    """
    return _values(X, Y, kind, gamma, coef0, degree) @ coef
