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
_NONE = np.zeros(2)
LOSSES = {"frobenius": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}


class Penalties(NamedTuple):
    """Of the entries of one factor and of their squares."""

    l1: float = 0.0
    l2: float = 0.0

    def array(self) -> np.ndarray:
        return np.array(self) if any(self) else _NONE


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
    """W after a sweep of coordinate descent over sparse rows, and the violation before."""
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


def _power(X: Any, Y: np.ndarray, beta: float) -> np.ndarray:
    """``X Y^(beta - 2)``"""
    return X / Y if beta == 1 else X * Y ** (beta - 2)


def updated_W(
    X: Any, W: np.ndarray, H: np.ndarray, beta: float, penalties: Penalties
) -> np.ndarray:
    """W after a multiplicative update."""
    if not is_sparse(X):
        return decomposition.multiplicative(X, W, H, beta, penalties.array(), False)[0]
    if beta == 2:
        return _multiplied(W, times(X, H.T), matmul.matmul(W, gram(H)), penalties, beta)
    Ht = np.ascontiguousarray(H.T)
    below = np.broadcast_to(H.sum(1), W.shape) if beta == 1 else np.empty_like(W)
    tiny = _least(W.dtype, float(W.max(initial=0)) * float(H.max(initial=0)))
    Y = np.maximum(_stored_model(X, W, H), tiny)
    above = _with_data(X, _power(X.data, Y, beta)) @ Ht
    if beta != 1:
        for part in _parts(X):
            whole = np.maximum(matmul.matmul(W[part], H), tiny)
            below[part] = matmul.matmul(whole ** (beta - 1), Ht)
    return _multiplied(W, above, below, penalties, beta)


def updated_H(
    X: Any, W: np.ndarray, H: np.ndarray, beta: float, penalties: Penalties
) -> np.ndarray:
    """H after a multiplicative update."""
    if is_sparse(X):
        return _multiplied(H, *ratio_for_H(X, W, H, beta)[:2], penalties, beta)
    new = decomposition.multiplicative(X.T, H.T, W.T, beta, penalties.array(), False)[0]
    return np.ascontiguousarray(new.T)


def ratio_for_H(
    X: Any, W: np.ndarray, H: np.ndarray, beta: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Numerator and denominator of the update of H, without penalties, and the divergence."""
    if not is_sparse(X):
        _, above, below, cost = decomposition.multiplicative(X.T, H.T, W.T, beta, _NONE, True)
        return above.T, below.T, cost
    cost = divergence(X, W, H, beta)
    if beta == 2:
        return np.ascontiguousarray((X.T @ W).T), matmul.matmul(gram(W.T), H), cost
    below = np.zeros(H.shape)
    if beta == 1:
        below[...] = W.sum(0, dtype=np.float64)[:, None]
    tiny = _least(W.dtype, float(W.max(initial=0)) * float(H.max(initial=0)))
    Y = np.maximum(_stored_model(X, W, H), tiny)
    above = (_with_data(X, _power(X.data, Y, beta)).T @ W).T.astype(np.float64)
    for part in _parts(X) if beta != 1 else ():
        Y = np.maximum(matmul.matmul(W[part], H), tiny)
        below += matmul.matmul(np.ascontiguousarray(W[part].T), Y ** (beta - 1))
    return above, below, cost


def _parts(X: Any) -> Any:
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, X.shape[0], step):
        yield slice(i, min(i + step, X.shape[0]))


def _multiplied(
    A: np.ndarray, above: np.ndarray, below: np.ndarray, penalties: Penalties, beta: float
) -> np.ndarray:
    below = below + penalties.l1 if penalties.l1 else below
    below = below + penalties.l2 * A if penalties.l2 else below
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(below > 0, above / below, 0.0) ** gamma_of(beta)
    return (A * ratio).astype(A.dtype, copy=False)


def divergence(X: Any, W: np.ndarray, H: np.ndarray, beta: float, root: bool = False) -> float:
    """``D_beta(X | W H)``, or the root of its double."""
    if not is_sparse(X):
        total = decomposition.multiplicative(X, W, H, beta, _NONE, True)[3]
    elif beta == 2:
        square = float(np.square(X.data, dtype=np.float64).sum())
        cross = float((times(X, H.T).astype(np.float64) * W).sum())
        model = float((gram(W.T).astype(np.float64) * gram(H)).sum())
        total = max(0.0, square + model - 2 * cross) / 2
    else:
        tiny = _least(W.dtype, float(W.max(initial=0)) * float(H.max(initial=0)))
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
    return float(np.sqrt(2 * max(total, 0.0))) if root else total
