"""Principal axes of rows: by their scatter, by their singular values, or by random directions.

A is (n, d): rows less their means, times the roots of their weights. ``A = U S V'``; the axes are
the rows of V', and the squares S^2 are the eigenvalues of the scatter A'A and of A A'.

The scatter A'A is one pass, but its eigenvalues have errors of eps S_1^2, so that directions with
S below sqrt(eps) S_1 are lost. `by_rows` does the same for n < d with A A', and then regains
digits: the singular values of the small matrix A'U, with U orthonormal, are those of A on the
span of U.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator._linalg import lapack_threads, largest_triplets, some_eigenpairs
from kernelmill._estimator._moments import pilot
from kernelmill._estimator._rows import Rows
from kernelmill.ops import matmul, moments, random

_BLOCK = 1 << 16  # entries of rows that are centred at a time, in the cache
_NONE = np.empty(0)
# n d^2 up to which left vectors cost less than a call for a triangle first: 28 rows of 5 features
# take 12 us, not 21; from 100 of 20 on it is the other way.
_AT_ONCE = 40_000


class Axes(NamedTuple):
    """Axes and singular values, by decreasing value."""

    components: np.ndarray  # (k, d)
    values: np.ndarray  # (k,), float64
    total: float  # sum of all squared singular values


def signed(components: np.ndarray) -> np.ndarray:
    """Each row with the sign that makes its entry of largest magnitude positive."""
    if not components.size:
        return components
    largest = np.abs(components).argmax(1)
    negative = components[np.arange(len(components)), largest] < 0
    return np.where(negative[:, None], -components, components)


def product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """``A @ B`` for few columns of B: as ``(B' A')'``, so that the long side is that of a tile."""
    return matmul.matmul(B.T, A.T).T


def half(value: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """A float64 array as a number of this dtype, and what rounding took from it, or None."""
    if dtype == np.float64:
        return value, None
    high = value.astype(dtype)
    low = (value - high).astype(dtype)
    return high, low if low.any() else None


def centred_blocks(X: np.ndarray, mean: np.ndarray) -> Any:
    """``(place, X[place] - mean)`` for blocks of rows, with the digits of a float64 mean."""
    high, low = half(mean, X.dtype)
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, len(X), step):
        place = slice(i, min(i + step, len(X)))
        block = X[place] - high
        if low is not None:
            block -= low
        yield place, block


class CentredRows:
    """Rows in memory, centred and weighted, as a matrix A that is multiplied from either side.

    Dense rows are copied; sparse ones stay as they are, and the means are taken off products.

    Parameters
    ----------
    rows : Rows
        In memory, of positive weights.
    centred : bool
        Whether means are taken off.

    Attributes
    ----------
    count : int
        Number of rows.
    weight : float
        Sum of their weights.
    mean : ndarray of shape (d,), float64
        Zeros if not centred.
    total : float
        Sum of all squared entries of A.
    """

    def __init__(self, rows: Rows, centred: bool) -> None:
        X = to_host(rows.X)
        self.count, self.d = X.shape
        w = None if rows.weight is None else to_host(rows.weight).astype(np.float64)
        self.weight = float(self.count if w is None else w.sum())
        self.root = None if w is None else np.sqrt(w)
        self.dtype = X.dtype
        self.mean = np.zeros(self.d)
        self.sparse = is_sparse(X)
        if self.sparse:
            X = X.astype(np.float64)
            ones = np.ones(self.count) if w is None else w
            if centred:
                self.mean = (X.T @ ones) / self.weight
            self.A = X
            squares = X.multiply(X).T @ ones - self.weight * self.mean**2
            self.total = float(np.maximum(squares, 0).sum())
            return
        if centred:
            origin = pilot(X, rows.weight)
            sums = np.zeros(self.d)
            for place, block in centred_blocks(X, origin):
                sums += block.sum(0, dtype=np.float64) if w is None else w[place] @ block
            self.mean = origin + sums / self.weight
        A = np.empty(X.shape, X.dtype) if centred or w is not None else X
        self.total = 0.0
        for place, block in centred_blocks(X, self.mean):
            if self.root is not None:
                block *= self.root[place, None].astype(X.dtype)
            if A is not X:
                A[place] = block
            self.total += float(np.einsum("ij,ij->", block, block, dtype=np.float64))
        self.A = A

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.count, self.d

    @cached_property
    def _turned(self) -> Any:
        return self.A.T.tocsr()

    def times(self, B: np.ndarray) -> np.ndarray:
        """``A @ B``."""
        if not self.sparse:
            return product(self.A, B.astype(self.dtype, copy=False))
        found = self.A @ B - self.mean @ B
        return found if self.root is None else found * self.root[:, None]

    def back(self, B: np.ndarray) -> np.ndarray:
        """``A' @ B``."""
        if not self.sparse:
            return product(self.A.T, B.astype(self.dtype, copy=False))
        if self.root is not None:
            B = B * self.root[:, None]
        return self._turned @ B - np.multiply.outer(self.mean, B.sum(0))


def top(S: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a symmetric matrix, falling, and their vectors as rows."""
    d = len(S)
    if not k:
        return _NONE, np.empty((0, d))
    if d > 64 and 4 * k < d:
        with lapack_threads(d):
            values, vectors = some_eigenpairs(S, d - k, d - 1, check_finite=False)
    else:
        with lapack_threads(d):
            values, vectors = np.linalg.eigh(S)
        values, vectors = values[d - k :], vectors[:, d - k :]
    return values[::-1], vectors[:, ::-1].T


def by_scatter(scatter: np.ndarray, k: int) -> Axes:
    """From A'A (d, d)."""
    values, vectors = top(scatter, k)
    return Axes(vectors, np.sqrt(np.maximum(values, 0)), float(np.trace(scatter)))


def by_values(A: CentredRows, k: int) -> Axes:
    """By the singular values of A, or of the triangle of its QR factorisation where n > d."""
    values, vectors = right_singular(A.A)
    return Axes(vectors[:k], values[:k].astype(np.float64), A.total)


def right_singular(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values of a matrix and their right vectors, as rows."""
    n, d = A.shape
    with lapack_threads(min(n, d)):
        if n * d * d <= _AT_ONCE:
            pass
        elif n > d and A.dtype == np.float64:  # NumPy has no QR of float32
            A = np.asarray(np.linalg.qr(A, mode="r"))
        elif n > d:
            A = scipy.linalg.qr(A, mode="r", check_finite=False)[0][:d]
        _, values, vectors = np.linalg.svd(A, full_matrices=False)
    return values, vectors


def by_rows(A: CentredRows, k: int) -> Axes:
    """From A A' (n, n), for n < d."""
    n = A.count
    turned = A.A.T
    K = moments.products(turned, np.empty((A.d, 0)), np.zeros(n))[:n, :n]
    _, U = top(K, k)
    return _ritz(A, U.T)


def _ritz(A: CentredRows, U: np.ndarray) -> Axes:
    """The axes of A within the span of orthonormal columns U, from ``A'U = Q (Q'A'U)``."""
    Y = A.back(U)
    Q = _orthonormal(Y)
    with lapack_threads(Q.shape[1]):
        turn, values, _ = scipy.linalg.svd(product(Q.T, Y), check_finite=False)
    components = matmul.matmul(np.ascontiguousarray(turn.T), np.ascontiguousarray(Q.T))
    return Axes(components, values.astype(np.float64), A.total)


def by_random(
    A: CentredRows, k: int, seed: int, more: int, iterations: Any, normalizer: str
) -> Axes:
    """By products with random directions (Halko, Martinsson and Tropp).

    Parameters
    ----------
    more : int
        Directions beyond k.
    iterations : int or "auto"
        Products with A A'.
    """
    n, d = A.shape
    size = min(k + more, n, d)
    if size == min(n, d) and not A.sparse:  # the directions span all rows
        return by_values(A, k)
    if iterations == "auto":
        iterations = 7 if k < 0.1 * min(n, d) else 4
    Q = random.normal(seed, 0, 0, d * size, np.float64).reshape(size, d).T.astype(A.dtype)
    normalise = _normaliser(normalizer)
    for _ in range(iterations):
        Q = normalise(A.times(Q))
        Q = normalise(A.back(Q))
    Q = _orthonormal(A.back(_orthonormal(A.times(Q))))
    Y = A.times(Q)  # on the span of Q, so that values are the lengths of the scores
    with lapack_threads(size):
        _, values, turn = scipy.linalg.svd(product(_orthonormal(Y).T, Y), check_finite=False)
    components = matmul.matmul(np.ascontiguousarray(turn[:k]), np.ascontiguousarray(Q.T))
    return Axes(components, values[:k].astype(np.float64), A.total)


def _orthonormal(Y: np.ndarray) -> np.ndarray:
    """Orthonormal columns of the same span, by products of the long side where that is enough.

    Twice what `_apart` does is orthonormal to rounding unless columns depend on each other.
    """
    Q = _apart(_apart(Y))
    k = Q.shape[1]
    error = float(np.abs(_gram(Q) - np.eye(k)).max(initial=0.0))
    if error < 64 * float(np.finfo(Y.dtype).eps):
        return Q
    with lapack_threads(k):
        return scipy.linalg.qr(Y, mode="economic", check_finite=False)[0]


def _gram(Y: np.ndarray) -> np.ndarray:
    """``Y'Y`` in float64."""
    n, k = Y.shape
    return moments.products(Y, np.empty((n, 0)), np.zeros(k))[:k, :k]


def _apart(Y: np.ndarray) -> np.ndarray:
    """Columns of the same span whose products are nearly those of the identity.

    By the eigenvectors of Y'Y, so that the long side is read by one product and written by another.
    """
    with lapack_threads(Y.shape[1]):
        values, vectors = np.linalg.eigh(_gram(Y))
    values = np.maximum(values, np.finfo(np.float64).eps * (values[-1] or 1.0))
    return product(Y, (vectors / np.sqrt(values)).astype(Y.dtype))


def _normaliser(name: str) -> Any:
    if name == "none":  # but for the size, which would overflow
        return lambda Y: Y / (np.abs(Y).max() or 1.0)
    if name == "LU":
        return lambda Y: scipy.linalg.lu(Y, permute_l=True, check_finite=False)[0]
    return _orthonormal if name == "QR" else _apart


def by_lanczos(A: CentredRows, k: int, seed: int, tol: float) -> Axes:
    """By ARPACK."""
    n, d = A.shape
    if A.total == 0:  # its iteration has nowhere to begin
        return Axes(np.eye(k, d), np.zeros(k), 0.0)
    one = lambda product: lambda v: product(np.asarray(v).reshape(-1, 1)).ravel()  # noqa: E731
    operator = scipy.sparse.linalg.LinearOperator(
        A.shape, matvec=one(A.times), rmatvec=one(A.back), matmat=A.times, rmatmat=A.back,
        dtype=np.float64 if A.sparse else A.dtype,
    )  # fmt: skip
    start = 2 * random.uniform(seed, 1, 0, min(n, d), np.float64) - 1
    size = np.sqrt(A.total) or 1.0
    scaled = operator * (1 / size)
    _, values, vectors = largest_triplets(scaled, k, start.astype(operator.dtype), tol)
    return Axes(vectors, values.astype(np.float64) * size, A.total)
