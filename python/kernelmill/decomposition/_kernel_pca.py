"""KernelPCA."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._linalg import lapack_threads, largest_eigenpairs
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill._kernels import NAMES, Kernel, check_square, of_pairs
from kernelmill.decomposition._axes import signed, top
from kernelmill.decomposition._krylov import LARGE, leading_pairs, soonest
from kernelmill.decomposition._pca import ITERATIONS
from kernelmill.decomposition._projection import scores_given
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import random

_NEGATIVE = 1e-5  # a share of the largest eigenvalue that rounding of a kernel does not reach
_FEW, _MANY = 10, 200  # components and rows from which ARPACK is faster than all of a matrix
_OWN = ("cosine", "polynomial")


class KernelPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Principal components in the space of a kernel function.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components; all with a variance by default.
    kernel : {"linear", "poly", "rbf", "sigmoid", "cosine", "laplacian", "chi2", "precomputed"} or \
callable, default="linear"
        Kernel function, or a function ``(x, y) -> float`` of two rows.
    gamma : float or None, default=None
        Coefficient of ``"rbf"``, ``"poly"``, ``"sigmoid"`` and ``"laplacian"``; 1 / d by default,
        and 1 for ``"chi2"``.
    degree : float, default=3
        Exponent of ``"poly"``.
    coef0 : float, default=1
        Constant of ``"poly"`` and ``"sigmoid"``.
    kernel_params : dict or None, default=None
        Further arguments of a callable kernel.
    alpha : float, default=1.0
        Penalty of the inverse transform.
    fit_inverse_transform : bool, default=False
        Whether to learn ``inverse_transform``: ridge regression of the rows on their scores.
    eigen_solver : {"auto", "dense", "arpack", "randomized"}, default="auto"
        ARPACK, or all of the matrix. ``"auto"`` is ARPACK for more than 500 rows and fewer than 10
        components; ``"randomized"`` is taken as ``"arpack"``.
    tol : float, default=0
        Tolerance of ARPACK; 0 is machine precision.
    max_iter : int or None, default=None
        Most iterations of ARPACK.
    iterated_power : int or "auto", default="auto"
        Ignored; present for API compatibility.
    remove_zero_eig : bool, default=False
        Whether to remove components without variance, as is done where `n_components` is None.

    Attributes
    ----------
    eigenvalues_ : ndarray of shape (n_components,), float64
        Eigenvalues of the centred kernel matrix, falling; 0 where they are below rounding.
    eigenvectors_ : ndarray of shape (n, n_components), float64
        Their vectors, with the largest entry in magnitude positive.
    dual_coef_ : ndarray of shape (n, d)
        Coefficients of the inverse transform.
    X_transformed_fit_ : ndarray of shape (n, n_components)
        Scores of the training rows, for the inverse transform.
    X_fit_ : {ndarray, CSR matrix} of shape (n, d)
        Training rows.
    gamma_ : float
        The coefficient in use.
    n_features_in_, feature_names_in_

    See Also
    --------
    PCA : The linear kernel, from the features.

    Notes
    -----
    With H = I - 11'/n, the kernel is centred by ``H K H``. Its eigenvalues have errors of n units
    in the last place of the largest, or of the largest entry of K, those of float32 rows with the
    units of float32: smaller ones are 0, and so are scores along them. New rows have scores
    ``(k(x, X) - K 1 / n) H a`` with
    ``a = u / sqrt(l)``; their kernel matrix is never stored. Memory 8 n^2 bytes, cost n^3.

    References
    ----------
    Schoelkopf, Smola and Mueller (1998), "Nonlinear component analysis as a kernel eigenvalue
    problem". Bakir, Weston and Schoelkopf (2004), "Learning to find pre-images".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import KernelPCA
    >>> angle = np.linspace(0, 6, 40)
    >>> circles = np.column_stack([np.cos(angle), np.sin(angle)]) * np.repeat([1, 3], 20)[:, None]
    >>> Z = KernelPCA(1, kernel="rbf", gamma=1.0).fit_transform(circles)
    >>> Z.shape
    (40, 1)
    """

    _words = WORDS
    _accepts_sparse = True
    _accepts_streams = False
    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "kernel": rule.any_of(
            rule.one_of(*NAMES, *_OWN), rule.Rule(callable, "a function (x, y) -> float")
        ),
        "gamma": rule.any_of(rule.real(0), rule.nothing()),
        "degree": rule.real(0),
        "coef0": rule.finite(),
        "kernel_params": rule.any_of(
            rule.Rule(lambda value: isinstance(value, dict), "a dict"), rule.nothing()
        ),
        "alpha": rule.real(0),
        "fit_inverse_transform": rule.boolean(),
        "eigen_solver": rule.one_of("auto", "dense", "arpack", "randomized"),
        "tol": rule.real(0),
        "max_iter": rule.any_of(rule.integer(1), rule.nothing()),
        "iterated_power": ITERATIONS,
        "remove_zero_eig": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
        "copy_X": rule.boolean(),
    }

    def __init__(
        self, n_components=None, *, kernel="linear", gamma=None, degree=3, coef0=1,
        kernel_params=None, alpha=1.0, fit_inverse_transform=False, eigen_solver="auto", tol=0,
        max_iter=None, iterated_power="auto", remove_zero_eig=False, random_state=None,
        copy_X=True, n_jobs=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @property
    def _squares(self) -> bool:
        return self.kernel != "precomputed"

    @property
    def _n_features_out(self) -> int:
        return len(self.eigenvalues_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _kernel(self) -> Kernel:
        if callable(self.kernel):
            function = of_pairs(self.kernel, **(self.kernel_params or {}))
            return Kernel("callable", function=function)
        name = {"polynomial": "poly", "cosine": "linear"}.get(self.kernel, str(self.kernel))
        return Kernel(name, self.gamma_, float(self.coef0), float(self.degree))

    def _values_of(self, X: Any) -> Any:
        """Rows in float64 as the kernel reads them."""
        X = X if is_sparse(X) else to_host(X)
        if is_sparse(X) and (self.kernel == "precomputed" or callable(self.kernel)):
            X = X.toarray()
        X = X.astype(np.float64, copy=False)
        if self.kernel == "cosine":
            squares = X.multiply(X).sum(1) if is_sparse(X) else np.einsum("ij,ij->i", X, X)
            length = np.sqrt(np.asarray(squares).ravel())
            length[length == 0] = 1.0
            if is_sparse(X):
                return X.multiply(1 / length[:, None]).tocsr()
            return X / length[:, None]
        return X

    @fitting_at_once
    def fit(self, X, y=None):
        """Find the components.

        Raises
        ------
        ValueError
            If X or a parameter does not fit, or the kernel is not positive semidefinite.
        RuntimeError
            If ``eigen_solver="arpack"`` did not converge in `max_iter` restarts.
        """
        rows = self._rows(X, reset=True)
        owner, n = rows.owner, rows.count
        if self.fit_inverse_transform and self.kernel == "precomputed":
            raise ValueError(
                f"{owner}: fit_inverse_transform must be False for kernel='precomputed', got True "
                "(Cannot fit_inverse_transform with a precomputed kernel.)"
            )
        self.gamma_ = 1.0 if self.kernel == "chi2" else 1.0 / rows.n_features
        if self.gamma is not None:
            self.gamma_ = float(self.gamma)
        self.X_fit_: Any = rows.X.copy() if is_sparse(rows.X) else np.array(to_host(rows.X))
        used = self._values_of(rows.X)
        if self.kernel == "precomputed":
            check_square(used, owner)
        K: Any = self._kernel().matrix(used, used, owner)
        K = np.array(K, dtype=np.float64, copy=True if K is used else None)
        columns = K.mean(0)
        before = max(float(K.max(initial=0.0)), -float(K.min(initial=0.0)))
        self._kernel_means = columns
        K -= columns
        K -= K.mean(1, keepdims=True)
        eps = float(np.finfo(rows.dtype).eps)
        rank = rows.n_features if self.kernel == "linear" else n
        values, vectors = self._eigen(K, min(n, self.n_components or n), rank)
        top_value = max(float(values.max(initial=0.0)), 0.0)
        if float(values.min(initial=0.0)) < -_NEGATIVE * max(top_value, -float(values.min())):
            hint = "try other parameters"
            if -float(values.min()) <= n * eps * before:
                hint = f"rounding of entries of {before:.3g}: subtract the means of X first"
            raise ValueError(
                f"{owner}: the kernel must be positive semidefinite, got an eigenvalue of "
                f"{values.min():.3g} beside the largest of {top_value:.3g} (There are significant "
                f"negative eigenvalues: {hint})"
            )
        values = np.where(values > n * eps * max(top_value, before), values, 0.0)
        vectors = signed(vectors)
        if self.remove_zero_eig or self.n_components is None:
            vectors, values = vectors[values > 0], values[values > 0]
        self.eigenvalues_, self.eigenvectors_ = values, np.ascontiguousarray(vectors.T)
        for name in ("dual_coef_", "X_transformed_fit_"):
            self.__dict__.pop(name, None)
        if self.fit_inverse_transform:
            Z = self.eigenvectors_ * np.sqrt(values)
            used = self._values_of(Z)
            K = np.array(self._kernel().matrix(used, used, owner), dtype=np.float64)
            K[np.diag_indices_from(K)] += self.alpha
            known: Any = self.X_fit_
            dense = known.toarray() if is_sparse(known) else known
            self.X_transformed_fit_ = Z
            self.dual_coef_ = scipy.linalg.solve(
                K, dense.astype(np.float64), assume_a="pos", check_finite=False
            )
        return self

    def _eigen(self, K: np.ndarray, k: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
        n, solver = len(K), self.eigen_solver
        if solver == "auto":
            solver = "arpack" if n > _MANY and k < _FEW else "dense"
            if k < _FEW:
                seed, tol = seed_of(self.random_state), float(self.tol)
                with lapack_threads(k):
                    found = (
                        leading_pairs(K, k, seed, tol)
                        if n >= LARGE
                        else soonest(K, k, seed, tol, rank)
                    )
                if found is not None:
                    return found
        if solver == "dense" or k >= n:
            return top(K, k)
        start = 2 * random.uniform(seed_of(self.random_state), 0, 0, n, np.float64) - 1
        size = float(np.abs(K).max()) or 1.0
        values, vectors = largest_eigenpairs(K / size, k, start, tol=self.tol, most=self.max_iter)
        return values[::-1] * size, vectors[:, ::-1].T

    def fit_transform(self, X, y=None):
        """Find the components, and give the scores of the training rows.

        Returns
        -------
        Z : ndarray of shape (n, n_components), dtype of X
            Scores.
        """
        self.fit(X)
        dtype = self.X_fit_.dtype
        return (self.eigenvectors_ * np.sqrt(self.eigenvalues_)).astype(dtype, copy=False)

    def transform(self, X):
        """Scores of rows.

        Returns
        -------
        Z : ndarray of shape (n, n_components), dtype of X
            Scores.
        """
        check_is_fitted(self)
        return self._rows(X, reset=False).map(self._scores)

    def _scores(self, X: Any) -> np.ndarray:
        root = np.sqrt(self.eigenvalues_)
        with np.errstate(divide="ignore", invalid="ignore"):
            dual = np.where(root > 0, self.eigenvectors_ / root, 0.0)
        dual -= dual.mean(0)
        found = self._kernel().apply(
            self._values_of(X), self._beside(X), dual, type(self).__name__
        )
        return (found - self._kernel_means @ dual).astype(X.dtype, copy=False)

    def _beside(self, X: Any) -> Any:
        """The training rows, sparse as X is."""
        fitted = self._values_of(self.X_fit_)
        if is_sparse(X) and not is_sparse(fitted):
            import scipy.sparse

            return scipy.sparse.csr_matrix(fitted)
        return fitted.toarray() if is_sparse(fitted) and not is_sparse(X) else fitted

    def inverse_transform(self, X):
        """Rows whose scores are near to these, by ridge regression.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of the scores
            Rows.

        Raises
        ------
        NotFittedError
            If ``fit_inverse_transform`` was not True in ``fit``.
        """
        check_is_fitted(self)
        if not hasattr(self, "dual_coef_"):
            raise NotFittedError(
                f"{type(self).__name__}: fit_inverse_transform must be True to restore rows, got "
                "False"
            )
        Z = scores_given(X, self._n_features_out, type(self).__name__)
        fitted = self._values_of(self.X_transformed_fit_)
        found = self._kernel().apply(
            self._values_of(Z), fitted, self.dual_coef_, type(self).__name__
        )
        return found.astype(Z.dtype, copy=False)
