"""Sparse codes of rows in a dictionary, and the dictionary that fits codes best.

With atoms D (k, d) and rows X (n, d), a code C (n, k) is, for each row by itself,

    lasso   the minimum of 1/2 |x - c D|^2 + alpha |c|_1     (coordinate descent, or its path)
    omp     least squares of few atoms, each the nearest to what is left
    lars    the path of least angles to a number of atoms
    threshold   soft(x D', alpha)

All of them need the products ``D D'`` and ``X D'`` alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator._base import warn
from kernelmill.linear_model._greedy import angles
from kernelmill.ops import coordinate, matmul

ALGORITHMS = ("lasso_lars", "lasso_cd", "lars", "omp", "threshold")
# Duality gap as a share of |x|^2: of coordinate descent, and where the path, which is exact, is
# asked for.
_GAP, _EXACT = 1e-7, 1e-14
_NONE = 1e-10  # share of the largest square of a column of codes below which an atom is not used


class Coding(NamedTuple):
    """How codes are found."""

    algorithm: str
    atoms: int | None = None  # at most, for lars and omp
    alpha: float | None = None
    positive: bool = False
    most: int = 1000


def products(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """``A B'`` in float64."""
    return matmul.matmul(A.astype(np.float64, copy=False), B.astype(np.float64, copy=False).T)


def codes(
    X: np.ndarray, D: np.ndarray, how: Coding, start: np.ndarray | None = None,
    owner: str | None = None, prediction: tuple[np.ndarray, float] | None = None,
) -> np.ndarray:  # fmt: skip
    """Codes of rows, float64 of shape (n, k); warns of large gaps where the owner is given.

    Of a lasso, `prediction` is ``(F, beta)``: then ``beta / 2 |c - f|^2`` is part of the cost, as
    if rows had F and atoms the identity beside them, both times the root of beta.
    """
    G, Q = products(D, D), products(X, D)
    alpha = 1.0 if how.alpha is None else float(how.alpha)
    if how.algorithm == "threshold":
        if how.positive:
            return np.maximum(Q - alpha, 0)
        return np.sign(Q) * np.maximum(np.abs(Q) - alpha, 0)
    squares = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    if prediction is not None:
        F, beta = prediction
        G = G + beta * np.eye(len(G))
        Q = Q + beta * F
        squares = squares + beta * np.einsum("ij,ij->i", F, F)
    count = how.atoms
    if count is None:
        count = max(X.shape[1] // 10, 1)
    count = min(count, len(D))
    if how.algorithm == "omp":
        return coordinate.pursuits(G, Q, squares, count, -1.0)[0]
    if how.algorithm == "lars":
        found = np.empty(Q.shape)
        for i in range(len(Q)):
            path = angles(G, Q[i], 1.0, lasso=False, positive=how.positive, most=count)[1]
            found[i] = path[-1]
        return found
    found = np.zeros(Q.shape) if start is None else np.array(start, np.float64, order="C")
    tol = _GAP if how.algorithm == "lasso_cd" else _EXACT
    _, gap = coordinate.lassos(G, Q, squares, found, alpha, tol, how.most, how.positive)
    if owner is not None and gap > max(tol, _GAP):
        warn(
            f"{owner}: a code did not converge in transform_max_iter={how.most} sweeps, got a "
            f"duality gap of {gap:.3g} of the square of its row (raise transform_max_iter)",
            ConvergenceWarning,
        )
    return found


def fitted_dictionary(
    D: np.ndarray, A: np.ndarray, B: np.ndarray, positive: bool, fresh: Any
) -> tuple[np.ndarray, list[int]]:
    """The dictionary after one sweep over its atoms, and those that were drawn anew.

    With ``A = C'C`` and ``B = C'X``, an atom moves to ``d_j + (B_j - A_j D) / A_jj``, the least
    squares of all others fixed, and back to length 1 where it is longer.

    Parameters
    ----------
    fresh : callable
        ``fresh()`` gives an atom in place of one that no row uses.
    """
    D, drawn = D.copy(), []
    largest = float(A.diagonal().max(initial=0.0))
    for j in range(len(D)):
        if A[j, j] > _NONE * largest:
            D[j] += (B[j] - A[j] @ D) / A[j, j]
        else:
            D[j] = fresh()
            drawn.append(j)
        if positive:
            np.maximum(D[j], 0, out=D[j])
        D[j] /= max(float(np.linalg.norm(D[j])), 1.0)
    return D, drawn


def cost_of(X: np.ndarray, C: np.ndarray, D: np.ndarray, alpha: float) -> float:
    """``1/2 |X - C D|^2 + alpha |C|_1``."""
    rest = X - matmul.matmul(C, D)
    return 0.5 * float(np.einsum("ij,ij->", rest, rest)) + alpha * float(np.abs(C).sum())
