"""Steps of nonnegative factorisations ``X ~ W H``: coordinate descent and multiplicative updates.

Minimised is, over W (n, k) and H (k, d) of at least 0,

    D_beta(X | W H) + l1_W |W|_1 + l2_W / 2 |W|^2 + l1_H |H|_1 + l2_H / 2 |H|^2

with ``D_2 = 1/2 |X - WH|^2``, ``D_1 = sum x log(x / y) - x + y`` (Kullback and Leibler), ``D_0 =
sum x/y - log(x/y) - 1`` (Itakura and Saito), and between and beyond them
``D_b = sum (x^b + (b - 1) y^b - b x y^(b - 1)) / (b (b - 1))``.

A multiplicative update of W is the ratio of the negative and the positive part of the slope,

    W <- W * ((X (WH)^(b - 2)) H' / ((WH)^(b - 1) H' + l1 + l2 W))^gamma

whose exponent gamma, 1 / (2 - b) below 1 and 1 / (b - 1) above 2, is what makes the objective never
increase (Fevotte and Idier). For sparse X sums of its entries run over those that are stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import xlogy

from kernelmill._arrays import is_sparse
from kernelmill.ops import decomposition, matmul

_BLOCK = 1 << 17  # entries of X whose model is in the cache at a time
LOSSES = {"frobenius": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}


class Penalties(NamedTuple):
    """Of the entries of one factor and of their squares."""

    l1: float = 0.0
    l2: float = 0.0


def gamma_of(beta: float) -> float:
    """The exponent of a multiplicative update."""
    if beta < 1:
        return 1.0 / (2.0 - beta)
    return 1.0 / (beta - 1.0) if beta > 2 else 1.0


def times(X: Any, B: np.ndarray) -> np.ndarray:
    """``X @ B`` for dense or sparse X, at the dtype of B."""
    if is_sparse(X):
        return np.ascontiguousarray(X @ B)
    return np.ascontiguousarray(matmul.matmul(B.T, X.T).T)


def descend(
    X: Any, W: np.ndarray, H: np.ndarray, penalties: Penalties, order: np.ndarray
) -> tuple[np.ndarray, float]:
    """W after a sweep of coordinate descent, and the violation before."""
    G, Q = gram(H), times(X, H.T)
    if penalties.l2:
        G[np.diag_indices_from(G)] += penalties.l2
    if penalties.l1:
        Q -= penalties.l1
    new = np.array(W, order="C")
    return new, decomposition.nonnegative(G, Q, order, new)


def gram(H: np.ndarray) -> np.ndarray:
    """``H H'``."""
    return matmul.matmul(H, np.ascontiguousarray(H.T))


def _least(dtype: Any, size: float) -> float:
    """What stands for 0 in a divisor, far below entries of this size."""
    return float(np.finfo(dtype).eps) ** 2 * size or float(np.finfo(dtype).tiny)


def _stored_model(X: Any, W: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Entries of ``W H`` where X stores one."""
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    found = np.empty(X.nnz, W.dtype)
    step = max(1, _BLOCK // max(1, W.shape[1]))
    for i in range(0, X.nnz, step):
        part = slice(i, i + step)
        found[part] = np.einsum("ij,ij->i", W[rows[part]], H.T[X.indices[part]])
    return found


def _with_data(X: Any, data: np.ndarray) -> Any:
    return type(X)((data, X.indices, X.indptr), shape=X.shape)


def _powers(X: Any, Y: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray | None]:
    """``X Y^(beta - 2)``, and ``Y^(beta - 1)`` unless it is 1."""
    if beta == 1:
        return X / Y, None
    if beta == 0:
        inverse = 1 / Y
        return X * inverse * inverse, inverse
    power = Y ** (beta - 2)
    return X * power, power * Y


def ratio_for_W(X: Any, W: np.ndarray, H: np.ndarray, beta: float) -> tuple[Any, Any]:
    """Numerator and denominator of the update of W, without penalties."""
    if beta == 2:
        return times(X, H.T), matmul.matmul(W, gram(H))
    Ht = np.ascontiguousarray(H.T)
    below = np.broadcast_to(H.sum(1), W.shape) if beta == 1 else np.empty_like(W)
    tiny = _least(W.dtype, float(W.max(initial=0)) * float(H.max(initial=0)))
    if is_sparse(X):
        Y = np.maximum(_stored_model(X, W, H), tiny)
        above = _with_data(X, _powers(X.data, Y, beta)[0]) @ Ht
        if beta != 1:
            for part in _parts(X):
                whole = np.maximum(matmul.matmul(W[part], H), tiny)
                below[part] = matmul.matmul(whole ** (beta - 1), Ht)
        return above, below
    above = np.empty_like(W)
    for part in _parts(X):
        Y = np.maximum(matmul.matmul(W[part], H), tiny)
        first, second = _powers(X[part], Y, beta)
        above[part] = matmul.matmul(first, Ht)
        if second is not None:
            below[part] = matmul.matmul(second, Ht)
    return above, below


def ratio_for_H(X: Any, W: np.ndarray, H: np.ndarray, beta: float) -> tuple[Any, Any]:
    """Numerator and denominator of the update of H, without penalties."""
    if beta == 2:
        turned = X.T @ W if is_sparse(X) else matmul.matmul(np.ascontiguousarray(W.T), X).T
        return np.ascontiguousarray(turned.T), matmul.matmul(gram(W.T), H)
    above = np.zeros(H.shape)
    below = np.zeros(H.shape)
    if beta == 1:
        below[...] = W.sum(0, dtype=np.float64)[:, None]
    tiny = _least(W.dtype, float(W.max(initial=0)) * float(H.max(initial=0)))
    if is_sparse(X):
        Y = np.maximum(_stored_model(X, W, H), tiny)
        above += (_with_data(X, _powers(X.data, Y, beta)[0]).T @ W).T
    for part in _parts(X):
        if is_sparse(X) and beta == 1:
            break
        Wt = np.ascontiguousarray(W[part].T)
        Y = np.maximum(matmul.matmul(W[part], H), tiny)
        if is_sparse(X):
            below += matmul.matmul(Wt, Y ** (beta - 1))
            continue
        first, second = _powers(X[part], Y, beta)
        above += matmul.matmul(Wt, first)
        if second is not None:
            below += matmul.matmul(Wt, second)
    return above, below


def _parts(X: Any) -> Any:
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, X.shape[0], step):
        yield slice(i, min(i + step, X.shape[0]))


def multiplied(
    A: np.ndarray, above: np.ndarray, below: np.ndarray, penalties: Penalties, gamma: float
) -> np.ndarray:
    """A factor after a multiplicative update."""
    below = below + penalties.l1 if penalties.l1 else below
    below = below + penalties.l2 * A if penalties.l2 else below
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(below > 0, above / below, 0.0)
    if gamma != 1:
        ratio **= gamma
    return (A * ratio).astype(A.dtype, copy=False)


def divergence(X: Any, W: np.ndarray, H: np.ndarray, beta: float, root: bool = False) -> float:
    """``D_beta(X | W H)``, or the root of its double."""
    tiny = _least(W.dtype, float(W.max(initial=0)) * float(H.max(initial=0)))
    total = 0.0
    if beta == 2 and is_sparse(X):
        square = float(np.square(X.data, dtype=np.float64).sum())
        cross = float((times(X, H.T).astype(np.float64) * W).sum())
        model = float((gram(W.T).astype(np.float64) * gram(H)).sum())
        total = max(0.0, square + model - 2 * cross) / 2
    elif is_sparse(X):
        Y = np.maximum(_stored_model(X, W, H).astype(np.float64), tiny)
        x = X.data.astype(np.float64)
        if beta == 1:
            total = float((xlogy(x, x / Y) - x).sum())
            total += float(W.sum(0, dtype=np.float64) @ H.sum(1, dtype=np.float64))
        else:
            total = float((x**beta - beta * x * Y ** (beta - 1)).sum())
            for part in _parts(X):
                whole = np.maximum(matmul.matmul(W[part], H), tiny).astype(np.float64)
                total += (beta - 1) * float((whole**beta).sum())
            total /= beta * (beta - 1)
    else:
        for part in _parts(X):
            Y = matmul.matmul(W[part], H).astype(np.float64)
            x = X[part].astype(np.float64)
            total += _dense_divergence(x, Y if beta == 2 else np.maximum(Y, tiny), beta)
    return float(np.sqrt(2 * max(total, 0.0))) if root else total


def _dense_divergence(x: np.ndarray, Y: np.ndarray, beta: float) -> float:
    if beta == 2:
        return float(np.square(x - Y).sum()) / 2
    if beta == 1:
        return float((xlogy(x, x / Y) - x + Y).sum())
    if beta == 0:
        ratio = x / Y
        return float((ratio - np.log(ratio) - 1).sum())
    power = x**beta + (beta - 1) * Y**beta - beta * x * Y ** (beta - 1)
    return float(power.sum()) / (beta * (beta - 1))
