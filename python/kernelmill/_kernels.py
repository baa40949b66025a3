"""Kernel functions of models: their parameters, their values, and what they need of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np

from kernelmill._arrays import beside, is_cupy, is_sparse, namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill.ops import kernels

NAMES = (*kernels.KINDS, "precomputed")
_BLOCK = 1 << 20  # entries of rows at a time
KERNEL = rule.any_of(
    rule.one_of(*NAMES),
    rule.Rule(callable, "a function (X, Y) -> array of shape (len(X), len(Y))"),
)
GAMMA = rule.any_of(rule.one_of("scale", "auto"), rule.real(0))


@dataclass(frozen=True)
class Kernel:
    """A kernel function with its parameters.

    Attributes
    ----------
    name : str
        One of NAMES, or ``"callable"``.
    gamma, coef0, degree : float
        Its parameters.
    function : callable or None
        ``function(X, Y) -> K``, for ``"callable"``.
    """

    name: str
    gamma: float = 1.0
    coef0: float = 0.0
    degree: float = 3.0
    function: Callable[..., Any] | None = None

    @property
    def is_given(self) -> bool:
        """Whether values come from the user rather than from an op."""
        return self.name in ("precomputed", "callable")

    @property
    def moves(self) -> bool:
        """Whether the value changes by nothing when both rows are moved alike."""
        return self.name in ("rbf", "laplacian")

    @property
    def settings(self) -> tuple[int, float, float, float]:
        """The last arguments of the ops."""
        return kernels.KINDS.index(self.name), self.gamma, self.coef0, self.degree

    def matrix(self, X: Any, Y: Any, owner: str) -> Any:
        """Values between all rows of X and of Y; X itself where it is precomputed."""
        if self.name == "precomputed":
            return X
        self.refuse_negative(X, owner)
        if self.function is None:
            return kernels.matrix(X, Y, *self.settings)
        if self.function not in MORE.values():
            refuse_function(X, owner)
        if X.dtype == object:  # rows of the user's own kind, in one column
            X, Y = X[:, 0], Y[:, 0]
        K = self.function(X, Y)
        if not is_cupy(K):
            K = np.asarray(K.toarray() if is_sparse(K) else K, dtype=np.float64)
        if K.shape != (X.shape[0], Y.shape[0]) or not np.isfinite(K).all():
            raise ValueError(
                f"{owner}: kernel must return finite numbers of shape {(X.shape[0], Y.shape[0])} "
                f"for rows of these numbers, got {K.shape}"
            )
        return K

    def apply(self, X: Any, Y: Any, coef: Any, owner: str) -> Any:
        """``K(X, Y) @ coef`` in float64, with coef of shape (len(Y), k), where X lives."""
        if not len(coef):
            return namespace(X).zeros((X.shape[0], coef.shape[1]))
        coef = beside(coef, X)
        if self.is_given:
            return self.matrix(X, Y, owner) @ coef
        self.refuse_negative(X, owner)
        return kernels.apply(X, Y, coef, *self.settings)

    def refuse_negative(self, X: Any, owner: str) -> None:
        """Raise where the kernel is one of shares, and X has negative ones."""
        if self.name != "chi2" and self.function is not _additive_chi2:
            return
        values = X.data if is_sparse(X) else X
        lowest = float(values.min()) if values.size else 0.0
        if lowest < 0:
            name = "chi2" if self.function is None else "additive_chi2"
            raise ValueError(f"{owner}: X must not be negative for kernel={name!r}, got {lowest:g}")

    def diagonal(self, X: Any) -> np.ndarray:
        """``k(x, x)`` for all rows, float64, on the host."""
        if self.name == "precomputed":
            return np.asarray(to_host(X.diagonal()), dtype=np.float64)
        if self.function is not None or self.moves or self.name == "chi2":
            return np.ones(X.shape[0])
        squares = X.multiply(X).sum(axis=1) if is_sparse(X) else namespace(X).einsum(
            "ij,ij->i", X, X, dtype=np.float64
        )  # fmt: skip
        inner = np.asarray(to_host(squares), dtype=np.float64).ravel()
        if self.name == "linear":
            return inner
        with np.errstate(over="ignore"):
            inner = self.gamma * inner + self.coef0
            return np.tanh(inner) if self.name == "sigmoid" else inner**self.degree


def _cosine(X: Any, Y: Any) -> Any:
    if is_cupy(X):
        xp = namespace(X)
        norms = (xp.sqrt(xp.einsum("ij,ij->i", A, A))[:, None] for A in (X, Y))
        X, Y = (A / xp.where(norm > 0, norm, 1.0) for A, norm in zip((X, Y), norms, strict=True))
        return X @ Y.T
    from sklearn.metrics.pairwise import cosine_similarity

    return cosine_similarity(X, Y)


def _additive_chi2(X: Any, Y: Any) -> Any:
    if is_cupy(X):
        xp = namespace(X)
        K = xp.zeros((len(X), len(Y)))
        for x, y in zip(X.T, Y.T, strict=True):
            total = x[:, None] + y
            K -= (x[:, None] - y) ** 2 / xp.where(total > 0, total, 1.0)
        return K
    from sklearn.metrics.pairwise import additive_chi2_kernel

    return additive_chi2_kernel(*(A.toarray() if is_sparse(A) else A for A in (X, Y)))


# Kernels of models in which few people take them, and which have no op of their own.
MORE: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "cosine": _cosine,
    "additive_chi2": _additive_chi2,
}


def of_pairs(function: Callable, **more: Any) -> Callable[[Any, Any], np.ndarray]:
    """The matrix of a function ``(x, y) -> float`` of two rows."""

    def matrix(X: Any, Y: Any) -> np.ndarray:
        return np.array([[function(x, y, **more) for y in Y] for x in X]).reshape(
            X.shape[0], Y.shape[0]
        )

    return matrix


def kernel_of(
    model: Any, X: Any, weight: np.ndarray | None = None, fitted: float | None = None
) -> Kernel:
    """The kernel of a model with parameters ``kernel, gamma, coef0, degree``.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n, d)
        Rows of the fit, for ``gamma="scale"``.
    weight : ndarray of shape (n,), optional
        Their weights.
    fitted : float, optional
        The gamma of the fit, once it is known.
    """
    if callable(model.kernel):
        return Kernel("callable", function=model.kernel)
    gamma = fitted
    if gamma is None:
        gamma = 1.0 if model.kernel == "precomputed" else _gamma_of(model.gamma, X, weight)
    return Kernel(model.kernel, gamma, float(model.coef0), float(model.degree))


def _gamma_of(given: Any, X: Any, weight: np.ndarray | None) -> float:
    if not isinstance(given, str):
        return float(given)
    if given == "auto":
        return 1.0 / X.shape[1]
    with np.errstate(over="ignore"):
        spread = variance(X, weight) * X.shape[1]
    return 1.0 / spread if 0 < spread < np.inf else 1.0


def variance(X: Any, weight: np.ndarray | None = None) -> float:
    """Variance over all entries of X in float64, zeros of a CSR matrix included."""
    n, d = X.shape
    total = float(n if weight is None else weight.sum()) * d
    if is_sparse(X):
        each = None if weight is None else np.repeat(weight, np.diff(X.indptr))
        values = X.data.astype(np.float64)
        mean = float(values.sum() if each is None else values @ each) / total
        squares = (values - mean) ** 2
        stored = float(len(values) if each is None else each.sum())
        inside = float(squares.sum() if each is None else squares @ each)
        return (inside + (total - stored) * mean**2) / total
    weight, rows = beside(weight, X), max(1, _BLOCK // max(1, d))
    parts = [slice(i, i + rows) for i in range(0, n, rows)]

    def summed(function: Callable[[np.ndarray], np.ndarray]) -> float:
        whole = 0.0
        for part in parts:
            sums = function(X[part]).sum(axis=1, dtype=np.float64)
            whole += float(sums.sum() if weight is None else sums @ weight[part])
        return whole

    mean = summed(lambda block: block) / total
    return summed(lambda block: (block.astype(np.float64) - mean) ** 2) / total


def are_objects(X: Any) -> bool:
    """Whether X is a sequence of rows that only a function of the user's can read: strings, ..."""
    if hasattr(X, "dtype"):
        return getattr(X, "ndim", 2) == 1 and not np.issubdtype(np.asarray(X).dtype, np.number)
    if not isinstance(X, list | tuple) or not X or isinstance(X[0], Number):
        return False
    return isinstance(X[0], str | bytes | dict | set) or not hasattr(X[0], "__len__")


def refuse_function(X: Any, owner: str) -> None:
    """Raise where a function of the user's would have to run on a GPU."""
    if is_cupy(X):
        raise TypeError(
            f"{owner}: kernel must be the name of one where X is on a GPU, got a function (its "
            "values come from the CPU: move X there with cupy.asnumpy, or pass its values with "
            "kernel='precomputed')"
        )


def check_square(X: Any, owner: str) -> None:
    """Raise unless a precomputed kernel of a fit is square."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            f"{owner}: X must be a square matrix for kernel='precomputed', one row and one column "
            f"for each training row, got shape {X.shape} (Precomputed matrix must be a square "
            "matrix)"
        )
