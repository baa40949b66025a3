"""Generalised linear models: value, gradient and Hessian of the loss in one pass over X.

Symbols: X is (n, d) data, y targets, W (k, d) coefficients, b intercepts, s a shift of the rows,
``p = W (x - s) + b`` linear predictors, w weights. One output has a loss of the table
:mod:`kernelmill.ops.glm_table`, several the multinomial one. Sums add up over chunks of rows.

NaN and infinity in X reach all sums; a loss that overflows is infinite, and so is the sum. Rows of
weight 0 count for nothing, whatever their loss. Empty X gives zeros. Sums are in float64 for
float32 rows too, in chunks whose bounds depend on the sizes alone: the same bits at any thread
count. Shapes, dtypes and values that do not fit raise ValueError. Cost 4 n k d flops for value and
gradient, and n k (k + 1) / 2 d^2 more for the Hessian; for CSR rows without a shift the gradient
costs 4 k flops a stored value.
"""

from __future__ import annotations

import numpy as np

from ._op import op
from .elementwise import evaluate
from .glm_table import LOSSES as ROWS

LOSSES = (*(row.name for row in ROWS), "multinomial")
MULTINOMIAL = len(LOSSES) - 1
_HOST = "the models that use it run on the CPU only"


def _check(name: str, y: np.ndarray, k: int, loss: int) -> None:
    if (loss == MULTINOMIAL) != (k > 1):
        raise ValueError(
            f"glm.{name}: coef must have 1 row, or several for the multinomial loss, got {k} rows "
            f"for loss {LOSSES[loss]}"
        )
    if loss == MULTINOMIAL and len(y) and not (y.min() >= 0 and y.max() < k):
        raise ValueError(f"glm.{name}: y must be in [0, {k}) for the multinomial loss")


def _parts(
    X: np.ndarray, y: np.ndarray, coef: np.ndarray, intercept: np.ndarray, shift: np.ndarray,
    loss: int, parameter: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rows z = (x - s, 1), losses (n,), slopes (n, k) and curvatures (n, k, k)."""
    z = np.hstack([X.astype(np.float64) - shift, np.ones((len(X), 1))])
    p = z @ np.hstack([coef, intercept[:, None]]).T
    if loss == MULTINOMIAL:
        top = p.max(1, keepdims=True)
        exps = np.exp(p - top)
        total = exps.sum(1, keepdims=True)
        share = exps / total
        own = np.arange(len(coef)) == y[:, None]
        value = (np.log(total) + top)[:, 0] - (p * own).sum(1)
        curvature = share[:, :, None] * (np.eye(len(coef)) - share[:, None, :])
        return z, value, share - own, curvature
    row, names = ROWS[loss], {"y": y, "p": p[:, 0], "a": parameter}
    value, slope, curvature = (
        np.broadcast_to(evaluate(text, names), y.shape)
        for text in (row.value, row.slope, row.curvature)
    )
    return z, value, slope[:, None], curvature[:, None, None]


def _weights(n: int, sample_weight: np.ndarray | None) -> np.ndarray:
    return np.ones(n) if sample_weight is None else sample_weight.astype(np.float64)


def _weighted(w: np.ndarray, values: np.ndarray) -> np.ndarray:
    w = w.reshape(-1, *[1] * (values.ndim - 1))
    return np.where(w == 0, 0.0, w * values)


@op(
    "X: T[n,d]|csr, y: f64[n], coef: f64[k>=1,d], intercept: f64[k], shift: f64[d],"
    " loss: int[0,10), parameter: float, sample_weight: T[n]?"
    " -> value: float, gradient: f64[k,d+1]",
    cuda=_HOST,
)
def gradient(
    X: np.ndarray,
    y: np.ndarray,
    coef: np.ndarray,
    intercept: np.ndarray,
    shift: np.ndarray,
    loss: int,
    parameter: float,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Sum ``w l(y, p)`` over the rows, and its gradient by W and b.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    y : ndarray of shape (n,), float64
        Targets; class numbers for the multinomial loss.
    coef : ndarray of shape (k, d), float64
        W.
    intercept : ndarray of shape (k,), float64
        b.
    shift : ndarray of shape (d,), float64
        s, near the means of the columns where these are large.
    loss : int
        Number of one of the LOSSES.
    parameter : float
        The a of the table.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.

    Returns
    -------
    value : float
        The sum.
    gradient : ndarray of shape (k, d + 1), float64
        Derivatives by W, and in the last column by b.

    Raises
    ------
    ValueError
        If shapes, dtypes or class numbers do not fit, or a loss of one output is given several.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import glm
    >>> X, y = np.array([[1.0], [3.0]]), np.array([1.0, 2.0])
    >>> glm.gradient(X, y, np.ones((1, 1)), np.zeros(1), np.zeros(1), 0, 0.0)
    (0.5, array([[3., 1.]]))
    """
    _check("gradient", y, len(coef), loss)
    with np.errstate(all="ignore"):
        z, value, slope, _ = _parts(X, y, coef, intercept, shift, loss, parameter)
        w = _weights(len(X), sample_weight)
        return float(_weighted(w, value).sum()), _weighted(w, slope).T @ z


@op(
    "X: T[n,d]|csr, y: f64[n], coef: f64[k>=1,d], intercept: f64[k], shift: f64[d],"
    " loss: int[0,10), parameter: float, sample_weight: T[n]?"
    " -> value: float, gradient: f64[k,d+1], hessian: f64[k,k,d+1,d+1]",
    cuda=_HOST,
)
def hessian(
    X: np.ndarray,
    y: np.ndarray,
    coef: np.ndarray,
    intercept: np.ndarray,
    shift: np.ndarray,
    loss: int,
    parameter: float,
    sample_weight: np.ndarray | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The same as `gradient`, and the Hessian, with the curvatures of the table.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    y : ndarray of shape (n,), float64
        Targets; class numbers for the multinomial loss.
    coef : ndarray of shape (k, d), float64
        W.
    intercept : ndarray of shape (k,), float64
        b.
    shift : ndarray of shape (d,), float64
        s, near the means of the columns where these are large.
    loss : int
        Number of one of the LOSSES.
    parameter : float
        The a of the table.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.

    Returns
    -------
    value : float
        The sum.
    gradient : ndarray of shape (k, d + 1), float64
        Derivatives by W, and in the last column by b.
    hessian : ndarray of shape (k, k, d + 1, d + 1), float64
        ``hessian[a, b] = sum w c_ab z z'`` with ``z = (x - s, 1)`` and the second derivatives c of
        the loss by the predictors a and b.

    Raises
    ------
    ValueError
        If shapes, dtypes or class numbers do not fit, or a loss of one output is given several.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import glm
    >>> X, y = np.array([[1.0], [3.0]]), np.array([1.0, 2.0])
    >>> glm.hessian(X, y, np.ones((1, 1)), np.zeros(1), np.zeros(1), 0, 0.0)[2][0, 0]
    array([[10.,  4.],
           [ 4.,  2.]])
    """
    _check("hessian", y, len(coef), loss)
    with np.errstate(all="ignore"):
        z, value, slope, curvature = _parts(X, y, coef, intercept, shift, loss, parameter)
        w = _weights(len(X), sample_weight)
        second = np.einsum("nab,np,nq->abpq", _weighted(w, curvature), z, z, optimize=True)
        return float(_weighted(w, value).sum()), _weighted(w, slope).T @ z, second
