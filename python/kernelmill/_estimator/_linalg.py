"""Factorisations and special functions where arrays live.

SciPy and its LAPACK on the CPU; on a GPU cuSOLVER, cuBLAS and kernels of CuPy, through CuPy.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import scipy.linalg
import scipy.linalg.lapack
import scipy.special

from kernelmill._arrays import is_cupy, namespace

# Up to this order LAPACK runs on one thread. OpenBLAS's threads wait in a loop for 0.1 s after each
# call, on the processors that our next pass needs. On two cores, with nothing else running, fits
# that mix small products with passes took 1.3 to 8 times as long (FastICA of digits 65 ms, not 33;
# IncrementalPCA 177, not 23; KernelPCA 679, not 110), and up to 20 on a busy machine.
_ALONE = 512


class _OneThread(contextlib.ContextDecorator):
    """A context in which BLAS uses one thread, also entered again inside itself.

    ``of`` is part of the path of the libraries that it is about, all by default.

    The limit is that of the process, and OpenBLAS lifts it only for the thread that set it. So the
    first thread to come sets and restores it, and others that come meanwhile leave it alone.
    """

    def __init__(self, of: str = "") -> None:
        self._of = of
        self._lock = threading.Lock()
        self._owner, self._depth = 0, 0
        self._before: list[int] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        """Free the lock of a thread that the child does not have."""
        if self._owner != threading.get_ident():
            self._lock, self._owner, self._depth = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner != me:
            if not self._lock.acquire(blocking=False):
                return
            self._before = [library.get_num_threads() for library in self._libraries()]
            self._owner = me
            self._set([1] * len(self._before))
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        if self._owner != threading.get_ident():
            return
        self._depth -= 1
        if self._depth == 0:
            self._set(self._before)
            self._owner = 0
            self._lock.release()

    def _set(self, numbers: list[int]) -> None:
        for library, before, number in zip(self._libraries(), self._before, numbers, strict=True):
            if before != 1:
                library.set_num_threads(number)

    def _libraries(self) -> list:
        return [library for library in _blas() if self._of in library.filepath]


@functools.cache
def _blas() -> list:
    from threadpoolctl import ThreadpoolController  # 4 ms to look for libraries

    # Its own contexts ask each library for all that it can tell: 40 us a time, not 6.
    return ThreadpoolController().select(user_api="blas").lib_controllers


_one_thread = _OneThread()
# For fits that alternate SciPy's factorisations with sums of NumPy's: the wheels of the two
# bring a BLAS each, and the threads of one wait in a loop on the processors that the other and our
# passes need. Gaussian processes of 1,200 to 2,000 rows took two to three times as long; those of
# classes 2.1 times (1,200 rows) and 1.6 (2,500).
numpy_on_one_thread = _OneThread("numpy.libs")


def lapack_threads(order: int) -> AbstractContextManager:
    """A context in which LAPACK uses as many threads as matrices of this order are worth."""
    return _one_thread if order <= _ALONE else contextlib.nullcontext()


def some_eigenpairs(
    S: np.ndarray, first: int, last: int, *, check_finite: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues first, ..., last of a symmetric matrix, rising, and their vectors as columns.

    Where many eigenvalues are equal but for rounding, as of a centred identity, LAPACK's choice by
    number may give fewer or none; then all of them are computed.
    """
    values, vectors = scipy.linalg.eigh(S, subset_by_index=(first, last), check_finite=check_finite)
    if len(values) <= last - first:
        values, vectors = scipy.linalg.eigh(S, driver="evd", check_finite=check_finite)
        values, vectors = values[first : last + 1], vectors[:, first : last + 1]
    return values, vectors


# Rows up to which all of a matrix is taken where ARPACK gives none of it: n^3, and 800 MB.
_MOST_WHOLE = 10_000


def largest_eigenpairs(
    A: Any, k: int, start: np.ndarray, *, tol: float = 0.0, ncv: int | None = None,
    most: int | None = None, threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The k largest eigenvalues of a symmetric A, rising, and their vectors as columns, by ARPACK.

    A is an array or a LinearOperator, `most` the largest number of restarts, and `threads` the
    order by which the threads of BLAS are chosen (k). ARPACK gives nothing for zeros ("starting
    vector is zero") and now and then for matrices of few different eigenvalues ("no shifts could
    be applied": one of 84 identities); those are solved whole.

    Raises
    ------
    RuntimeError
        If `most` restarts were too few.
    """
    import scipy.sparse.linalg as sparse

    try:
        with lapack_threads(threads or k):  # a product with one vector waits for the memory
            values, vectors = sparse.eigsh(
                A, k, which="LA", v0=start, tol=tol, ncv=ncv, maxiter=most
            )
    except sparse.ArpackError as error:
        n = A.shape[0]
        if not np.any(A @ start):
            return np.zeros(k), np.eye(n, k)
        if isinstance(error, sparse.ArpackNoConvergence) or n > _MOST_WHOLE:
            raise _unfinished(error, k) from error
        return some_eigenpairs(_whole(A), n - k, n - 1)
    order = np.argsort(values, kind="stable")
    return values[order], vectors[:, order]


def largest_triplets(
    A: Any, k: int, start: np.ndarray, tol: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k largest singular values of A, falling, between their vectors, by ARPACK.

    As `largest_eigenpairs`; the left vectors are columns, the right ones rows.
    """
    import scipy.sparse.linalg as sparse

    try:
        left, values, right = sparse.svds(A, k=k, tol=tol, v0=start)
    except sparse.ArpackError as error:
        unfinished = isinstance(error, sparse.ArpackNoConvergence)
        if unfinished or max(A.shape) > _MOST_WHOLE:
            raise _unfinished(error, k) from error
        left, values, right = scipy.linalg.svd(_whole(A), full_matrices=False)
        return left[:, :k], values[:k], right[:k]
    order = np.argsort(-values, kind="stable")
    return left[:, order], values[order], right[order]


def _whole(A: Any) -> np.ndarray:
    return A if isinstance(A, np.ndarray) else A @ np.eye(A.shape[1], dtype=A.dtype)


def _unfinished(error: Any, k: int) -> RuntimeError:
    values = getattr(error, "eigenvalues", None)
    return RuntimeError(
        f"ARPACK: all {k} vectors must converge, got {0 if values is None else len(values)} that "
        "did (give a larger tol or max_iter, or a solver other than 'arpack')"
    )


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
