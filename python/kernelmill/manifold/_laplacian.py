"""Eigenvectors of graphs: the smoothest functions on their nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from kernelmill._arrays import is_sparse
from kernelmill._estimator._linalg import lapack_threads, largest_eigenpairs, some_eigenpairs
from kernelmill.decomposition._krylov import soonest
from kernelmill.manifold._rows import normals, turned

# Nodes up to which all eigenvectors of a matrix are computed.
WHOLE = 600
# Lanczos' iteration does not end where many eigenvalues are all but equal, as those of a graph
# almost without edges (digits under a kernel of width 1: 8,000 restarts, a minute). All of the
# matrix then takes n^3: 0.1 s for 800 nodes.
_RESTARTS, _MOST_WHOLE = 100, 10_000
# Entries of a row of the graph beyond which factors fill up, and products are cheaper.
_MOST_FILLED = 60


def smoothest(
    A: Any,
    k: int,
    *,
    normalised: bool = True,
    tol: float = 0.0,
    seed: int = 0,
    factors: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The k least eigenvalues of ``L f = lambda D f``, and the f.

    Parameters
    ----------
    A : ndarray or CSR matrix of shape (n, n)
        Symmetric weights, at least 0. Its diagonal does not matter.
    k : int
        How many.
    normalised : bool, default=True
        Whether D has the degrees, the sums of the rows of A, else ones.
    tol : float, default=0
        Relative tolerance; 0 is the precision of floats.
    seed : int, default=0
        Seed of the first vector of Lanczos' iteration.
    factors : bool, default=True
        Whether a sparse matrix may be factorised.

    Returns
    -------
    values : ndarray of shape (k,), float64
        Ascending.
    vectors : ndarray of shape (n, k), float64
        ``f' D f = 1``; the largest entry of each is positive.

    Notes
    -----
    With ``g = D^(1/2) f`` the problem is ``D^(-1/2) L D^(-1/2) g = lambda g``, whose matrix is
    symmetric; f is g *divided* by the root of the degree. Nodes without an edge have degree 1.
    The spectrum lies in [0, 2], so the largest eigenvalues of ``2 - L`` are sought where the graph
    is dense, and those of ``(L + s)^(-1)`` by sparse factors elsewhere.
    """
    n = A.shape[0]
    dense = not is_sparse(A)
    if n <= WHOLE and not dense:
        A = A.toarray()
    sparse = is_sparse(A)
    A = _without_diagonal(A)
    degree = np.asarray(A.sum(axis=1)).ravel()
    alone = degree == 0
    if normalised:
        root = np.sqrt(np.where(alone, 1.0, degree))
        if sparse:
            S = scipy.sparse.diags_array(1 / root) @ A @ scipy.sparse.diags_array(1 / root)
        else:
            S = A / root[:, None]
            S /= root
        diagonal, top = np.where(alone, 0.0, 1.0), 2.0
    else:
        S, diagonal, root = A, degree, np.ones(n)
        top = 2 * float(degree.max(initial=0)) or 1.0
    k = min(k, n)
    found = None
    if dense:  # with few edges, too many eigenvalues are of one size
        shift = 1.0 if normalised else top / 2
        np.fill_diagonal(S, shift - diagonal)
        found = soonest(S, k, seed, tol)
        np.fill_diagonal(S, 0.0)
    if found is not None:
        values, g = shift - found[0], found[1].T
    elif n <= WHOLE or k >= n - 1:
        L = -(S.toarray() if sparse else S).T  # in the order of LAPACK
        L[np.diag_indices(n)] += diagonal
        with lapack_threads(n):
            values, g = some_eigenpairs(L, 0, k - 1, check_finite=False)
    else:
        v0 = normals(seed, 11, n, 1).ravel()
        count = min(n - 1, max(2 * k + 1, 20, int(np.sqrt(n)) if not factors else 0))
        if not (sparse and factors) or A.nnz > _MOST_FILLED * n:
            restarts = _RESTARTS if n <= _MOST_WHOLE else None
            matrix = scipy.sparse.linalg.LinearOperator(
                (n, n), dtype=np.float64,
                matvec=lambda v: S @ v.ravel() + (top - diagonal) * v.ravel(),
            )  # fmt: skip
            try:
                values, g = largest_eigenpairs(
                    matrix, k, v0, tol=tol, ncv=count, most=restarts, threads=count
                )
                values = top - values
            except RuntimeError:
                if n > _MOST_WHOLE:
                    raise
                L = np.diag(diagonal) - (S.toarray() if sparse else S)
                values, g = some_eigenpairs(L, 0, k - 1)
        else:
            L = scipy.sparse.diags_array(diagonal) - S
            values, g = near_zero(L, k, shift=1e-5 * top, tol=tol, v0=v0)
        order = np.argsort(values, kind="stable")
        values, g = values[order], g[:, order]
    f = g / root[:, None]
    f /= np.sqrt((f * f * np.where(alone | (not normalised), 1.0, degree)[:, None]).sum(axis=0))
    return np.maximum(values, 0), turned(f)


def _without_diagonal(A: Any) -> Any:
    if is_sparse(A):
        A = scipy.sparse.csr_array(A, dtype=np.float64)
        return A - scipy.sparse.diags_array(A.diagonal(), format="csr")
    A = np.array(A, dtype=np.float64)
    np.fill_diagonal(A, 0)
    return A


def near_zero(
    M: Any, k: int, *, shift: float, tol: float, v0: np.ndarray, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k eigenvalues of a sparse positive semidefinite matrix next to 0, and their vectors.

    Lanczos' iteration on ``(M + shift)^(-1)``, whose factors are ordered by degrees and need no
    pivots.
    """
    n = M.shape[0]
    factor = factors(M + shift * scipy.sparse.eye_array(n, format="csr"))
    inverse = scipy.sparse.linalg.LinearOperator((n, n), factor.solve, dtype=np.float64)
    count = min(n - 1, max(2 * k + 1, 20))
    values, vectors = largest_eigenpairs(
        inverse, k, v0, tol=tol, ncv=count, most=most, threads=count
    )
    return 1 / values - shift, vectors


def factors(M: Any) -> Any:
    """Factors of a sparse positive definite matrix, ordered by degrees, without pivots."""
    return scipy.sparse.linalg.splu(
        scipy.sparse.csc_array(M), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
        options={"SymmetricMode": True}
    )  # fmt: skip
