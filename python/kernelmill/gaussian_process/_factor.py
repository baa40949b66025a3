"""Cholesky factors that say what they needed, and sums over the entries of a kernel matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from kernelmill._arrays import beside, is_cupy, namespace, to_host
from kernelmill._estimator import _linalg
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill.gaussian_process.kernels._kernel import BLOCK, Kernel

# What is added to a diagonal that is not numerically positive, relative to its mean. Rounding in a
# factorisation moves eigenvalues by about n eps: 1e-12 for 5,000 rows.
_FIRST, _LAST = 1e-12, 1e-4


lapack_threads = _linalg.lapack_threads


def covariances(kernel: Kernel, X: np.ndarray) -> np.ndarray:
    """``kernel(X)`` on and above the diagonal; below it values are not set.

    Temporary arrays of n x n entries, fresh from the system each time, took twice as long as the
    values (n = 2,000).
    """
    n = len(X)
    K = namespace(X).empty((n, n))
    for start in range(0, n, BLOCK):
        rows, columns = slice(start, min(start + BLOCK, n)), slice(start, n)
        K[rows, columns] = kernel._forward(X[rows], X[columns], True)[0]
    return K


def factor(make: Callable[[], np.ndarray], noise: Any, owner: str) -> tuple[np.ndarray, float]:
    """The lower Cholesky factor of ``K + diag(noise)``, and the jitter that it took.

    Parameters
    ----------
    make : callable
        Gives K, an array that may be overwritten; only its upper triangle is read. It is called
        again for each jitter.
    noise : float or ndarray of shape (n,)
    owner : str
        Name of the caller in errors.

    Returns
    -------
    L : ndarray of shape (n, n)
        In Fortran's order; what is above the diagonal is not set.
    jitter : float
        What was added to the diagonal, 0 if nothing.

    Raises
    ------
    ValueError
        If a jitter of 1e-4 of the diagonal is not enough.
    """
    K = make()
    _add_to_diagonal(K, noise)
    mean = float(K.diagonal().mean()) if len(K) else 0.0
    if not np.isfinite(mean):
        raise ValueError(
            f"{owner}: the kernel must be finite for these rows, got {mean} on its diagonal "
            "(check the kernel's parameters, or scale X)"
        )
    jitter = 0.0
    while True:
        L, found = _attempt(K)
        if not found:
            return L, jitter
        jitter = mean * _FIRST if jitter == 0 else 10 * jitter
        if not jitter <= mean * _LAST * 1.0001:
            raise ValueError(
                f"{owner}: the kernel matrix must be positive definite, got {found} "
                f"with jitter up to {jitter / 10:.3g} on a diagonal of mean "
                f"{mean:.3g} (raise alpha, add a WhiteKernel, or remove rows that are nearly equal)"
            )
        K = make()
        _add_to_diagonal(K, noise + jitter)


def _add_to_diagonal(K: np.ndarray, value: Any) -> None:
    if is_cupy(K):
        places = namespace(K).arange(len(K))
        K[places, places] += value if np.ndim(value) == 0 else beside(value, K)
    else:
        np.einsum("ii->i", K)[...] += value


def _attempt(K: np.ndarray) -> tuple[np.ndarray, str]:
    """The factor of a matrix by its upper triangle, and what there was instead, if anything."""
    if is_cupy(K):
        upper = namespace(K).triu(K, 1)
        try:
            return _linalg.cholesky(upper + upper.T + np.diag(K.diagonal())), ""
        except np.linalg.LinAlgError:
            return K, "one without a Cholesky factor"
    # The lower triangle of K.T is the upper one of K.
    L, info = lapack.dpotrf(K.T, lower=1, overwrite_a=1, clean=0)
    if info == 0:
        return L, ""
    # What remained of the diagonal.
    return L, f"a pivot of {L[info - 1, info - 1]:.3g} in row {info - 1}"


def solve(L: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(L L')^-1 b``"""
    if is_cupy(L):
        return _linalg.solve(L, b)
    return lapack.dpotrs(L, b, lower=1)[0]


def half_solve(L: np.ndarray, b: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    """``L^-1 b``, or ``L'^-1 b``"""
    if not b.size:
        return np.zeros_like(b)
    if is_cupy(L):
        return _linalg.half_solve(L, b, transposed=transposed)
    return lapack.dtrtrs(L, b, lower=1, trans=int(transposed))[0]


def inverse(L: np.ndarray) -> np.ndarray:
    """``(L L')^-1``, of which only the lower triangle is set; overwrites L."""
    if is_cupy(L):
        half = _linalg.half_inverse(L)
        return half.T @ half
    return lapack.dpotri(L, lower=1, overwrite_c=1)[0]


def log_determinant(L: np.ndarray) -> float:
    """``log det(L L')``"""
    return 2 * float(np.log(L.diagonal()).sum())


def information(lower: np.ndarray, V: np.ndarray, p: int) -> np.ndarray:
    """``V' A V / 2`` of the A with this lower triangle, summed over all but p columns; (p, p)."""
    inner = 0.5 * (lower @ V) if is_cupy(V) else blas.dsymm(0.5, lower, V, lower=1)
    return to_host(V.reshape(-1, p).T @ inner.reshape(-1, p))


def contract(
    kernel: Kernel, X: np.ndarray, weights: Callable[[slice, slice], np.ndarray],
    a: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """``sum_ij A_ij dK_ij / dtheta`` of a symmetric A, and ``dK / dtheta a``, by blocks of rows.

    Parameters
    ----------
    kernel : Kernel
    X : ndarray of shape (n, d)
    weights : callable
        ``weights(rows, columns)`` gives that block of A, a new array. Only entries on and above the
        diagonal are asked for, and only they need to be right.
    a : ndarray of shape (n, t), optional

    Returns
    -------
    gradient : ndarray of shape (p,)
    products : ndarray of shape (p, n, t)
        Without columns where there is no a.
    """
    n, total = len(X), np.zeros(kernel.n_dims)
    products = namespace(X).zeros((kernel.n_dims, n, 0 if a is None else a.shape[1]))
    for start in range(0, n, BLOCK):
        rows, columns = slice(start, min(start + BLOCK, n)), slice(start, n)
        A = weights(rows, columns)
        height = rows.stop - start
        A[:, height:] *= 2  # each stands for its mirror image, too
        corner = A[:, :height]
        corner += np.triu(corner, 1)
        corner[np.tril_indices(height, -1)] = 0
        saved = kernel._forward(X[rows], X[columns], True)[1]
        total += kernel._pull(X[rows], X[columns], True, saved, A)
        if a is not None:
            vectors = a[columns], a[rows]
            left, right = kernel._products(X[rows], X[columns], True, saved, None, *vectors)
            products[:, rows] += left
            products[:, rows.stop :] += right[:, height:]
    return total, products


OPTIMIZER = rule.any_of(
    rule.one_of("fmin_l_bfgs_b"), rule.function("(objective, start, bounds)"), rule.nothing()
)


def maximise(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    bounds: np.ndarray,
    optimizer: Any,
    owner: str,
    *,
    max_iter: int = 15000,
    count: Callable[[int], None] = lambda n: None,
) -> tuple[np.ndarray, float]:
    """Parameters where a function is largest, near a start, and its value there.

    Parameters
    ----------
    objective : callable
        The function and its gradient.
    start, bounds : ndarray of shape (p,) and (p, 2)
    optimizer : str or callable
    owner : str
        Name of the caller in messages.
    max_iter : int, default=15000
        Most iterations of L-BFGS.
    count : callable, optional
        Is told their number.
    """

    def negative(theta: np.ndarray, eval_gradient: bool = True) -> Any:
        value, gradient = objective(theta)
        return (-value, -gradient) if eval_gradient else -value

    if callable(optimizer):
        theta, least = optimizer(negative, start, bounds=bounds)
        return np.asarray(theta), -float(least)
    low, high = np.reshape(bounds, (-1, 2)).T
    if (low == high).all():  # nothing to search, of which SciPy makes a result without `nit`
        return low, objective(low)[0]
    found = minimize(
        negative, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": max_iter}
    )
    count(int(found.nit))
    if not found.success and found.status == 1:
        warn(
            f"{owner}: lbfgs failed to converge in {found.nit} iterations (scale X and y, or give "
            "an optimizer)",
            ConvergenceWarning,
        )
    return found.x, -float(found.fun)


def warn_at_bounds(kernel: Kernel, owner: str) -> None:
    """Warn of hyperparameters that a fit left at a bound."""
    bounds = kernel.bounds
    names = kernel._named()
    for q, value in enumerate(kernel.theta):
        for side, bound in zip(("lower", "upper"), bounds[q], strict=True):
            if np.isclose(value, bound):
                warn(
                    f"{owner}: {names[q]} must lie inside its bounds for a fit to be trusted, got "
                    f"{np.exp(value):.4g}, which is close to the specified {side} bound (move the "
                    "bound, or fix the parameter)",
                    ConvergenceWarning,
                )


def check_bounds(kernel: Kernel, owner: str) -> np.ndarray:
    """Bounds of theta, all finite.

    Raises
    ------
    ValueError
        If one is infinite: restarts are drawn between them.
    """
    bounds = kernel.bounds
    if not np.isfinite(bounds).all():
        raise ValueError(
            f"{owner}: bounds of hyperparameters must be finite to draw n_restarts_optimizer "
            "starts, got an infinite one (Multiple optimizer restarts requires that all bounds "
            "are finite.)"
        )
    return bounds
