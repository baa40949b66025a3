"""Linear systems of Markov chains without a subtraction: every digit of every entry holds.

``Q`` holds transition probabilities among m states and ``leave`` the probability to leave them all,
so ``Q.sum(1) + leave = 1``. Eliminating state j means watching the chain only while it is in
other states (censoring): a path i -> j -> k counts as i -> k. With states eliminated from the last
to the first,

    s_j = leave_j + sum_{i<j} Q_ji           probability to leave j for lower states, or for good
    u_ij = Q_ij / s_j                        expected visits to j per visit to i, for i < j
    Q_ik += u_ij Q_jk,  leave_i += u_ij leave_j      for i, k < j

gives ``I - Q = (I - U)(S - L)`` with U strictly upper, L strictly lower (the rows Q_ji at their
elimination) and S the diagonal of s. LU would form s_j as ``1 - Q_jj``, which cancels for states
that are rarely left; here it is a sum. All terms are at least 0, so entries of solutions for
right-hand sides of at least 0 have small relative errors, however small they are.

References
----------
Grassmann, Taksar, Heyman (1985), "Regenerative analysis and steady state distributions for Markov
chains". O'Cinneide (1993), "Entrywise perturbation theory and error analysis for Markov chains".
Alfa, Xue, Ye (2002), "Accurate computation of the smallest eigenvalue of a diagonally dominant
M-matrix".
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Columns eliminated before the rest of the matrix is updated by one product.
_PANEL = 64
# Up to this many states elimination is dense: 8 m^2 bytes and 2 m^3 / 3 flops.
DENSE_STATES = 4096
_SMALLEST = np.finfo(np.float64).smallest_normal


class Elimination:
    """``I - Q`` in factors, for a dense Q.

    Parameters
    ----------
    Q : ndarray of shape (m, m), float64
        Transition probabilities among the states; overwritten.
    leave : ndarray of shape (m,), float64
        Probability to leave them all; overwritten. Zero throughout for an irreducible chain, for
        which only `stationary` makes sense.
    """

    def __init__(self, Q: np.ndarray, leave: np.ndarray) -> None:
        m = len(Q)
        self._scale = np.empty(m)
        for stop in range(m, 0, -_PANEL):
            first = max(0, stop - _PANEL)
            for j in range(stop - 1, first - 1, -1):
                s = leave[j] + Q[j, :j].sum()
                self._scale[j] = s
                if j == 0:
                    continue
                if not s >= _SMALLEST:
                    raise _never_left()
                Q[:j, j] /= s
                leave[:j] += Q[:j, j] * leave[j]
                # Rows and columns of this panel now, the rest at its end by one product.
                Q[first:j, :j] += np.outer(Q[first:j, j], Q[j, :j])
                Q[:first, first:j] += np.outer(Q[:first, j], Q[j, first:j])
            Q[:first, :first] += Q[:first, first:stop] @ Q[first:stop, :first]
        self._factors = Q

    def solve(self, B: np.ndarray) -> np.ndarray:
        """X of ``(I - Q) X = B``, for B of at least 0 with shape (m,) or (m, r)."""
        from scipy.linalg import solve_triangular

        if not self._scale[0] >= _SMALLEST:
            raise _never_left()
        upper = -np.triu(self._factors, 1)
        half = solve_triangular(upper, B, lower=False, unit_diagonal=True, check_finite=False)
        lower = np.diag(self._scale) - np.tril(self._factors, -1)
        return solve_triangular(lower, half, lower=True, check_finite=False)

    def stationary(self) -> np.ndarray:
        """The distribution with ``pi Q = pi``, where nothing leaves."""
        factors = self._factors
        pi = np.zeros(len(factors))
        pi[0] = 1.0
        for j in range(1, len(factors)):
            pi[j] = pi[:j] @ factors[:j, j]
            if pi[j] > 1e200:
                # Ratios of entries may pass 1e308; what underflows here is below 1e-200 in the end.
                pi[: j + 1] /= pi[j]
        return pi / pi.sum()


def _never_left() -> ValueError:
    return ValueError(
        "MarkovChain: transmat_ must leave each state with a probability above 2e-308, got less "
        "(mean times would exceed the range of float64)"
    )


class SparseElimination:
    """``I - Q`` in factors, for more states than `DENSE_STATES`, by sparse LU.

    The matrix is diagonally dominant, so no pivoting is needed, but the diagonal is formed by a
    subtraction: relative errors are those of the largest entries. Q is a CSR matrix.
    """

    def __init__(self, Q: Any, leave: np.ndarray) -> None:
        from scipy import sparse

        off = Q.copy()
        off.setdiag(0.0)
        off.eliminate_zeros()
        diagonal = np.asarray(off.sum(axis=1)).ravel() + leave
        self._matrix = sparse.csc_array(sparse.diags_array(diagonal) - off)

    def solve(self, B: np.ndarray) -> np.ndarray:
        """X of ``(I - Q) X = B``, for B of at least 0 with shape (m,) or (m, r)."""
        return _refined(self._matrix, B)

    def stationary(self) -> np.ndarray:
        """The distribution with ``pi Q = pi``, where nothing leaves."""
        from scipy import sparse

        # pi (I - Q) = 0 with pi_0 = 1 leaves a nonsingular system for the others.
        rest = sparse.csc_array(self._matrix[1:, 1:].T)
        first = -self._matrix[[0], 1:].toarray().ravel()
        pi = np.concatenate([[1.0], _refined(rest, first)])
        return pi / pi.sum()


def _refined(matrix: Any, B: np.ndarray) -> np.ndarray:
    """Solution by sparse LU and one step of refinement."""
    from scipy.sparse.linalg import splu

    factors = splu(matrix, diag_pivot_thresh=0.0, permc_spec="MMD_AT_PLUS_A")
    X = factors.solve(np.ascontiguousarray(B))
    X += factors.solve(B - matrix @ X)
    return np.maximum(X, 0.0)


def eliminate(Q: Any, leave: np.ndarray) -> Elimination | SparseElimination:
    """The factors of ``I - Q`` for a CSR matrix Q, dense up to `DENSE_STATES`."""
    if Q.shape[0] <= DENSE_STATES:
        return Elimination(Q.toarray(), leave.copy())
    return SparseElimination(Q, leave)
