"""Factorisations and special functions where arrays live.

SciPy and its LAPACK on the CPU; on a GPU cuSOLVER, cuBLAS and kernels of CuPy, through CuPy.
"""

from __future__ import annotations

from typing import Any

import scipy.linalg
import scipy.linalg.lapack
import scipy.special

from kernelmill._arrays import is_cupy, namespace


def special(array: Any) -> Any:
    """The module of SciPy's special functions for the array: scipy.special or CuPy's."""
    if is_cupy(array):
        import cupyx.scipy.special

        return cupyx.scipy.special
    return scipy.special


def cholesky(A: Any) -> Any:
    """The lower Cholesky factor of a positive definite matrix.

    Raises
    ------
    numpy.linalg.LinAlgError
        If it is not positive definite.
    """
    if not is_cupy(A):
        return scipy.linalg.cholesky(A, lower=True, check_finite=False)
    import cupyx

    with cupyx.errstate(linalg="raise"):  # by default CuPy does not ask whether it went well
        return namespace(A).linalg.cholesky(A)


def half_solve(L: Any, b: Any, *, transposed: bool = False) -> Any:
    """``L^-1 b``, or ``L'^-1 b``, of a lower triangle."""
    if not is_cupy(L):
        return scipy.linalg.solve_triangular(
            L, b, trans=int(transposed), lower=True, check_finite=False
        )
    from cupyx.scipy.linalg import solve_triangular

    return solve_triangular(L, b, trans=int(transposed), lower=True)


def solve(L: Any, b: Any) -> Any:
    """``(L L')^-1 b``"""
    if not is_cupy(L):
        return scipy.linalg.cho_solve((L, True), b, check_finite=False)
    return half_solve(L, half_solve(L, b), transposed=True)


def half_inverse(L: Any) -> Any:
    """``L^-1``"""
    if is_cupy(L):
        return half_solve(L, namespace(L).eye(len(L)))
    return scipy.linalg.lapack.dtrtri(L, lower=1)[0]


def eigh(A: Any) -> tuple[Any, Any]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix."""
    return namespace(A).linalg.eigh(A) if is_cupy(A) else scipy.linalg.eigh(A, check_finite=False)
