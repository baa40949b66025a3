"""What all support vector machines share: parameters, rows, kernel, and decisions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import (
    beside,
    check_weights,
    drop_column,
    is_frame,
    is_sparse,
    namespace,
    to_host,
)
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._validation import check_shape, zero_weights
from kernelmill._kernels import (
    GAMMA,
    KERNEL,
    Kernel,
    are_objects,
    check_square,
    kernel_of,
    refuse_function,
)
from kernelmill.svm import _words
from kernelmill.svm._training import Training
from kernelmill.svm._weights import not_negative

PARAMETERS: dict[str, rule.Rule] = {
    "kernel": KERNEL,
    "degree": rule.real(0),
    "gamma": GAMMA,
    "coef0": rule.finite(),
    "tol": rule.real(0, above=True),
    "cache_size": rule.real(0, above=True),
    "verbose": rule.VERBOSE,
    "shrinking": rule.boolean(),
    "max_iter": rule.integer(-1),
}
C = rule.Rule(lambda v: rule.is_real(v) and v > 0, "a number above 0 (np.inf allows no error)")
NU = rule.real(0, above=True, high=1)


class SupportVectorMachine(Estimator):
    """Base of the machines. A subclass states its dual problems and reads their solutions."""

    _accepts_sparse = True
    _accepts_streams = False
    _words = _words.WORDS
    _center: ClassVar[bool] = True  # whether the sum of multipliers is 0, for linear kernels
    _single: ClassVar[bool] = True  # whether rows of the kernel may be float32

    C: float
    kernel: Any
    gamma: Any
    shrinking: bool
    tol: float
    cache_size: float
    max_iter: int
    dual_coef_: Any
    support_: Any
    support_vectors_: Any

    def __getattr__(self, name: str) -> Any:
        owner = type(self).__name__
        if name == "coef_" and "support_" in vars(self):
            raise AttributeError(
                f"{owner}: coef_ exists for kernel='linear' alone, got kernel={self.kernel!r} (its "
                "function is no plane in the features; LinearSVC of kernel_approximation has one)"
            )
        raise AttributeError(f"{owner!r} object has no attribute {name!r}")

    @property
    def _cost(self) -> float:
        """C, at most a number whose square times kernel values stays finite."""
        return min(float(self.C), 1e100)

    @property
    def _hard(self) -> bool:
        """Whether no error is allowed."""
        return bool(np.isinf(getattr(self, "C", 0.0)))

    @property
    def _squares(self) -> bool:
        return self.kernel != "precomputed"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def _rows(self, X: Any, sample_weight: Any = None, **options: Any) -> Rows:
        if isinstance(sample_weight, str) and is_frame(X):
            X, sample_weight = drop_column(X, sample_weight, type(self).__name__)
        if sample_weight is not None:
            sample_weight = not_negative(sample_weight)
        if callable(self.kernel) and are_objects(X):
            return self._objects(X, sample_weight, **options)
        return super()._rows(X, sample_weight, **options)

    def _objects(self, X: Any, sample_weight: Any, reset: bool) -> Rows:
        """Rows that are no numbers, for a kernel of the user's: one column of objects."""
        owner, column = type(self).__name__, np.empty((len(X), 1), object)
        column[:, 0] = list(X)
        check_shape(self, column.shape, None, reset)
        weight = check_weights(sample_weight, len(column), np.float64, owner)
        if weight is not None and not (weight > 0).any():
            raise zero_weights(owner)
        return Rows(column, weight, owner)

    def _checked(self, rows: Rows) -> Rows:
        """Rows of a fit, dense where they are a kernel."""
        X = rows.X
        if callable(self.kernel):
            refuse_function(X, rows.owner)
        if self.kernel == "precomputed":
            check_square(X, rows.owner)
            X = X.toarray() if is_sparse(X) else X
        if self.kernel == "chi2":
            Kernel("chi2").refuse_negative(X, rows.owner)
        return Rows(X, rows.weight, rows.owner)

    def _weights(self, rows: Rows) -> np.ndarray:
        weight = to_host(rows.weight)
        return np.ones(rows.count) if weight is None else weight.astype(np.float64)

    def _training(
        self, kernel: Kernel, X: Any, given: Any, problems: Any, weights: Any
    ) -> Training:
        """The training on these rows, whose kernel values are `given` if they are."""
        origin = None
        centered = kernel.moves or (kernel.name == "linear" and self._center)
        if centered and not is_sparse(X):
            origin = namespace(X).average(X, axis=0, weights=beside(weights, X))
        return Training(
            type(self).__name__, kernel, X if given is None else given, origin, problems,
            self.tol, self.cache_size, self.max_iter, self._single, self.shrinking,
        )  # fmt: skip

    def _fitted_kernel(self, X: Any, kept: np.ndarray, weights: np.ndarray) -> Kernel:
        given = self.gamma
        if isinstance(given, str) and self.kernel != "precomputed" and not callable(self.kernel):
            return kernel_of(self, X[kept], weights[kept])
        return kernel_of(self, X)

    def _given_values(self, kernel: Kernel, X: Any, kept: np.ndarray, owner: str) -> Any:
        """Values of K between the rows of the fit that count, where the user gives them."""
        if kernel.name == "precomputed":
            return X[np.ix_(kept, kept)]
        return kernel.matrix(X[kept], X[kept], owner) if kernel.name == "callable" else None

    def _remember(
        self, kernel: Kernel, X: Any, kept: np.ndarray, support: np.ndarray, origin: Any
    ) -> dict[str, Any]:
        """Attributes that predictions read; `support` numbers the rows in `kept`."""
        rows = kept[support]
        precomputed = kernel.name == "precomputed"
        price = {"_price": self._cost} if "warm_start" in self._parameters else {}
        return price | {  # with the price of these multipliers, for a start from them
            "support_": rows.astype(np.int32),
            "support_vectors_": np.empty((0, 0)) if precomputed else X[rows],
            "shape_fit_": X.shape,
            "fit_status_": 0,
            "_gamma": kernel.gamma,
            "_origin": to_host(origin) if kernel.name == "linear" else None,
        }

    def _as_rows(self, coef: np.ndarray) -> Any:
        """Coefficients as attributes: read-only, and sparse where the rows of the fit are."""
        if is_sparse(self.support_vectors_):
            import scipy.sparse

            return scipy.sparse.csr_matrix(coef)
        coef.flags.writeable = False
        return coef

    @property
    def _dual(self) -> np.ndarray:
        """``dual_coef_`` as a dense array."""
        coef = self.dual_coef_
        return coef.toarray() if is_sparse(coef) else coef

    def _kernel_sums(self, X: Any, coef: np.ndarray, own: Any = None) -> Any:
        """``K(X, support vectors) @ coef`` beside X; `own` is a slice of the support vectors."""
        owner = type(self).__name__
        kernel = kernel_of(self, X, fitted=self._gamma)
        own = slice(None) if own is None else own
        if kernel.name == "precomputed":
            return X[:, self.support_[own]] @ beside(coef, X)
        vectors = self.support_vectors_[own]
        if is_sparse(X) and not is_sparse(vectors):
            import scipy.sparse

            vectors = scipy.sparse.csr_matrix(to_host(vectors))
        elif not is_sparse(X):
            vectors = beside(vectors.toarray() if is_sparse(vectors) else vectors, X)
        if vectors.dtype != X.dtype:
            wide = np.result_type(vectors.dtype, X.dtype)
            X, vectors = X.astype(wide), vectors.astype(wide)
        if kernel.name == "linear" and self._center:
            return self._linear_sums(X, vectors, coef)
        return kernel.apply(X, vectors, coef, owner)

    def _linear_sums(self, X: Any, vectors: Any, coef: np.ndarray) -> Any:
        """The same for a linear kernel, about the origin of the fit."""
        if self._origin is None or is_sparse(X):
            shift = 0.0 if self._origin is None else self._origin @ self._weighted(vectors, coef)
            return X @ beside(self._weighted(vectors, coef), X) - shift
        centered = X.astype(np.float64) - beside(self._origin.astype(np.float64), X)
        return centered @ beside(self._weighted(vectors, coef), X)

    def _weighted(self, vectors: Any, coef: np.ndarray) -> np.ndarray:
        """Weights of features, ``sum_j coef_j (x_j - origin)``, of shape (d, k), on the host."""
        coef = beside(coef, vectors)
        if is_sparse(vectors) or self._origin is None:
            return to_host(vectors.T @ coef)
        return to_host((vectors.astype(np.float64) - beside(self._origin, vectors)).T @ coef)

    def _shift(self, coef: np.ndarray, own: Any = None) -> np.ndarray:
        """What an intercept about the origin of the fit loses in X itself, of shape (k,)."""
        if self.kernel != "linear" or self._origin is None:
            return np.zeros(coef.shape[1])
        vectors = self.support_vectors_[slice(None) if own is None else own]
        return self._origin @ self._weighted(vectors, coef)

    def _refuse_columns(self, X: Any) -> None:
        """Explain a wrong number of columns of a precomputed kernel."""
        if self.kernel != "precomputed" or not hasattr(X, "shape") or len(X.shape) != 2:
            return
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{type(self).__name__}: X must have a column for each training row with "
                f"kernel='precomputed', got {X.shape[1]} columns for {self.n_features_in_} rows "
                f"(X.shape[1] should be equal to the number of samples at training time)"
            )

    def _mapped_rows(self, X: Any, op: Any, *state: Any) -> Any:
        check_is_fitted(self)
        self._refuse_columns(X)
        return self._rows(X, reset=False).map(op, *state)
