"""The least of a sum of check functions, from vertex to vertex.

Minimised over p numbers c is ``sum_i up_i max(r_i, 0) + down_i max(-r_i, 0)`` with ``r = t - A c``:
a penalty ``limit |c_j|`` is a row ``t = 0, A = e_j`` with both slopes equal to its limit. At a
vertex p independent rows, the basis, have r = 0. Each other row i has the multiplier a_i = up_i or
-down_i, by its side, and those of the basis follow from ``sum_i a_i A_i = 0``. If all of these lie
in [-down, up], a is a point of the dual ``max t.a`` with the value of the loss, which proves the
vertex. If one does not, the loss falls along the edge on which its row is left. The edge is
followed past all rows where the loss goes on falling, each of which changes its side, to the first
where it does not: that row takes the place of the other in the basis (Barrodale and Roberts, 1973,
"An improved algorithm for discrete l1 linear approximation").
"""

from __future__ import annotations

import numpy as np

_OUTSIDE = 1e-12  # of the sum of the slopes: rounding of a multiplier
_PIVOT = 1e-10  # of the largest: a row that hardly changes along an edge
_GAP = 1e-11  # share of the loss that is rounding


def least(
    A: np.ndarray, t: np.ndarray, up: np.ndarray, down: np.ndarray, basis: np.ndarray, most: int,
    small: float,
) -> tuple[np.ndarray, np.ndarray, int] | None:  # fmt: skip
    """The least, its multipliers and the number of vertices.

    Parameters
    ----------
    A : ndarray of shape (m, p), float64
        Rows, of sizes of about 1.
    t, up, down : ndarray of shape (m,), float64
        Targets and slopes.
    basis : ndarray of shape (p,), int
        Independent rows of the first vertex.
    most : int
        Most vertices.
    small : float
        Loss below which all is as good.

    Returns
    -------
    c, a, count : ndarray of shape (p,), ndarray of shape (m,), int
        None where `most` vertices are not enough, as where many rows meet in each, or rounding
        leaves more than 1e-11 of the loss between it and its bound.
    """
    basis = basis.copy()
    bends, allowed = up + down, _OUTSIDE * float(up.sum() + down.sum())
    a = np.empty(len(t))
    above = t > 0
    for count in range(1, most + 1):
        try:
            inverse = np.linalg.inv(A[basis])
        except np.linalg.LinAlgError:
            return None
        c = inverse @ t[basis]
        r = t - A @ c
        if count == 1:
            above = r > 0
        np.copyto(a, -down)
        np.copyto(a, up, where=above)
        a[basis] = 0.0
        own = -(a @ A) @ inverse
        over, under = own - up[basis], -down[basis] - own
        outside = np.maximum(over, under)
        if not outside.max() > allowed:
            a[basis] = np.clip(own, -down[basis], up[basis])
            value = float(up @ np.maximum(r, 0.0) + down @ np.maximum(-r, 0.0))
            proved = value - float(a @ t) <= _GAP * max(value, small)
            c[_zeros(A[basis], t[basis])] = 0.0
            return (c, a, count) if proved else None
        lengths = np.sqrt(np.einsum("ij,ij->j", inverse, inverse))
        leaving = int(np.argmax(np.where(outside > allowed, outside / lengths, -1.0)))
        upward = over[leaving] > under[leaving]
        change = A @ (-inverse[:, leaving] if upward else inverse[:, leaving])
        towards = np.where(above, change, -change)
        towards[basis] = 0.0
        met = np.flatnonzero(towards > _PIVOT * towards.max(initial=0.0))
        if not len(met):
            return None
        speed = towards[met]
        order = np.argsort(np.maximum(np.where(above[met], r[met], -r[met]), 0.0) / speed)
        slope = np.cumsum((bends[met] * speed)[order])
        place = int(np.searchsorted(slope, outside[leaving]))
        if place == len(met):
            return None
        passed = met[order[:place]]
        above[passed] = ~above[passed]
        above[basis[leaving]] = upward
        basis[leaving] = met[order[place]]
    return None


def _zeros(A: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Numbers that a row with one entry and a target of 0 says are 0, which inverses round."""
    return np.nonzero(A[(t == 0) & (np.count_nonzero(A, axis=1) == 1)])[1]
