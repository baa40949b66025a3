"""KernelRidge."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import beside, is_cupy, is_sparse, namespace, to_host
from kernelmill._estimator import _linalg
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once, warn
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import targets_of
from kernelmill._estimator._words import WORDS
from kernelmill._kernels import (
    MORE,
    NAMES,
    Kernel,
    check_square,
    of_pairs,
    refuse_function,
)


class KernelRidge(MultiOutputMixin, RegressorMixin, Estimator):
    """Least squares with a squared penalty, in the space of a kernel function.

    Parameters
    ----------
    alpha : float or array-like of shape (n_outputs,), default=1
        Strength of the penalty, for each output if it is an array.
    kernel : {"linear", "poly", "polynomial", "rbf", "sigmoid", "laplacian", "chi2", "cosine", \
"additive_chi2", "precomputed"} or callable, default="linear"
        Kernel function, or a function ``(x, y) -> float`` of two rows, or a kernel of
        `kernelmill.gaussian_process.kernels` or scikit-learn's.
    gamma : float or None, default=None
        Coefficient of the kernels but ``"linear"``, ``"cosine"`` and ``"additive_chi2"``; 1 / d by
        default, and 1 for ``"chi2"``.
    degree : float, default=3
        Exponent of ``"poly"``.
    coef0 : float, default=1
        Constant of ``"poly"`` and ``"sigmoid"``.
    kernel_params : dict or None, default=None
        Further arguments of a callable kernel.
    leave_one_out : bool, default=False
        Whether to compute ``loo_predictions_``, which takes about twice as long again.

    Attributes
    ----------
    dual_coef_ : ndarray of shape (n,) or (n, n_outputs)
        Factors of the kernel values of the training rows.
    loo_predictions_ : ndarray of shape (n,) or (n, n_outputs)
        Predictions for each training row by the model of all others, if `leave_one_out`.
    X_fit_ : {ndarray, CSR matrix} of shape (n, d)
        Training rows, which predictions need.
    n_features_in_, feature_names_in_

    See Also
    --------
    kernelmill.svm.SVR : Errors up to a width are free, and predictions need fewer rows.

    Notes
    -----
    ``dual_coef_ = (K + alpha W^-1)^-1 y`` by a Cholesky factorisation in float64, with weights W.
    Without row i its prediction misses y_i by ``dual_coef_i / (K + alpha W^-1)^-1_ii``. Costs
    n^3 / 3 operations and 8 n^2 bytes. A singular matrix, which takes ``alpha=0``, gives the
    solution of least norm and a warning.

    References
    ----------
    Saunders, Gammerman and Vovk (1998), "Ridge regression learning algorithm in dual variables".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.kernel_ridge import KernelRidge
    >>> X = np.linspace(0, 6, 50)[:, None]
    >>> y = np.sin(X).ravel()
    >>> model = KernelRidge(alpha=1e-3, kernel="rbf", gamma=1.0, leave_one_out=True).fit(X, y)
    >>> bool(abs(model.predict([[1.0]])[0] - np.sin(1.0)) < 1e-3)
    True
    >>> bool(np.abs(model.loo_predictions_ - y).max() < 0.05)
    True
    """

    _accepts_sparse = True
    _accepts_streams = False
    _words = WORDS
    _parameters: ClassVar = {
        "alpha": rule.any_of(rule.real(0), rule.array("(n_outputs,)")),
        "kernel": rule.any_of(
            rule.one_of(*NAMES, "polynomial", *MORE),
            rule.Rule(callable, "a function (x, y) -> float"),
        ),
        "gamma": rule.any_of(rule.real(0), rule.nothing()),
        "degree": rule.real(0),
        "coef0": rule.finite(),
        "kernel_params": rule.any_of(
            rule.Rule(lambda value: isinstance(value, dict), "a dict"), rule.nothing()
        ),
        "leave_one_out": rule.boolean(),
    }

    def __init__(
        self, alpha=1, *, kernel="linear", gamma=None, degree=3, coef0=1, kernel_params=None,
        leave_one_out=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @property
    def _squares(self) -> bool:
        return self.kernel != "precomputed"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def _kernel(self) -> Kernel:
        if callable(self.kernel):
            function = self.kernel
            # Those of Gaussian processes give all values at once.
            if hasattr(function, "clone_with_theta"):
                if isinstance(function, type) or self.kernel_params:
                    raise ValueError(
                        f"{type(self).__name__}: kernel must be a kernel with its parameters, got "
                        f"{function!r} and kernel_params={self.kernel_params!r} (make it, as in "
                        "RBF(2.0), without kernel_params)"
                    )
            else:
                function = of_pairs(function, **(self.kernel_params or {}))
            return Kernel("callable", function=function)
        if self.kernel in MORE:
            return Kernel("callable", function=MORE[self.kernel])
        name = "poly" if self.kernel == "polynomial" else self.kernel
        gamma = 1.0 if name == "chi2" else 1.0 / max(1, self.n_features_in_)
        gamma = gamma if self.gamma is None else float(self.gamma)
        return Kernel(name, gamma, float(self.coef0), float(self.degree))

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Solve the dual equations.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.

        Warns
        -----
        UserWarning
            If the equations are singular.
        """
        rows = self._rows(X, sample_weight, reset=True)
        owner = rows.owner
        targets = targets_of(y, rows)
        outputs = targets.reshape(rows.count, -1)
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.size not in (1, outputs.shape[1]) or not (alpha >= 0).all():
            raise ValueError(
                f"{owner}: alpha must be at least 0, one number or one for each of the "
                f"{outputs.shape[1]} outputs, got {self.alpha!r}"
            )
        kernel = self._kernel()
        if callable(self.kernel):
            refuse_function(rows.X, owner)
        used = self._values_of(rows.X)
        if self.kernel == "precomputed":
            check_square(used, owner)
        weight = to_host(rows.weight)
        weight = np.ones(rows.count) if weight is None else weight.astype(np.float64)
        kept = weight > 0
        K = kernel.matrix(used, used, owner)
        dual, loo = self._solved(K, outputs, weight, kept, alpha.ravel())
        shape = targets.shape
        self.dual_coef_ = to_host(dual).reshape(shape)
        self.X_fit_ = rows.X if self.kernel == "precomputed" else used
        if self.leave_one_out:
            self.loo_predictions_ = rows.as_given(loo.reshape(shape))
        else:
            self.__dict__.pop("loo_predictions_", None)
        return self

    def _solved(
        self, K: Any, y: np.ndarray, weight: np.ndarray, kept: np.ndarray, alpha: np.ndarray
    ) -> tuple[Any, Any]:
        """Dual coefficients, and leave-one-out predictions if wanted, beside K."""
        y, root, xp = beside(y, K), beside(np.sqrt(weight[kept]), K), namespace(K)
        scaled = root[:, None] * K[np.ix_(kept, kept)] * root
        right = root[:, None] * y[kept]
        dual, loo = xp.zeros(y.shape), xp.zeros(y.shape)
        whole = len(alpha) == 1
        for c, own in enumerate([slice(None)] if whole else range(y.shape[1])):
            b = right[:, own].reshape(len(right), -1)
            found, inverse = self._one(scaled, b, float(alpha[c]))
            columns = slice(None) if whole else slice(c, c + 1)
            dual[np.flatnonzero(kept), columns] = found * root[:, None]
            if self.leave_one_out:
                missed = found / inverse[:, None] / root[:, None]
                loo[np.flatnonzero(kept), columns] = y[kept][:, columns] - missed
        if self.leave_one_out and not kept.all():
            loo[~kept] = K[np.ix_(~kept, kept)] @ dual[kept]
        return dual, loo

    def _one(self, K: Any, b: Any, alpha: float) -> tuple[Any, Any]:
        """``(K + alpha I)^-1 b``, and the diagonal of that inverse if wanted."""
        xp = namespace(K)
        A = K + alpha * xp.eye(len(K))
        try:
            factor = _linalg.cholesky(A)
            least = len(K) * np.finfo(float).eps * A.diagonal().max()
            if factor.diagonal().min() ** 2 <= least:
                raise np.linalg.LinAlgError
        except np.linalg.LinAlgError:
            warn(
                f"{type(self).__name__}: alpha must be large enough for the equations to have one "
                f"solution, got {alpha:g} (that of least norm is taken)",
                UserWarning,
            )
            values, vectors = _linalg.eigh(A)
            large = abs(values) > len(K) * np.finfo(float).eps * abs(values).max()
            vectors = vectors[:, large]
            found = vectors @ ((vectors.T @ b) / values[large][:, None])
            inverse = (vectors**2 / values[large]).sum(axis=1)
            return found, xp.where(inverse == 0, 1.0, inverse)
        found = _linalg.solve(factor, b)
        if not self.leave_one_out:
            return found, xp.ones(len(K))
        return found, (_linalg.half_inverse(factor) ** 2).sum(axis=0)

    def _values_of(self, X: Any) -> Any:
        """Rows in float64, dense where they are a kernel."""
        if is_sparse(X) and (self.kernel == "precomputed" or callable(self.kernel)):
            X = X.toarray()
        return X.astype(np.float64, copy=False)

    def predict(self, X):
        """Values of the fitted function.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            Predictions.
        """
        check_is_fitted(self)
        found = self._rows(X, reset=False).map(self._predicted)
        return found if self.dual_coef_.ndim == 2 else found.ravel()

    def _predicted(self, X: Any) -> np.ndarray:
        coef = self.dual_coef_.reshape(len(self.dual_coef_), -1)
        X, fitted, owner = self._values_of(X), self.X_fit_, type(self).__name__
        if self.kernel == "precomputed":
            return X @ beside(coef, X)
        if is_sparse(X) and not is_sparse(fitted):
            X = X.toarray()
        elif is_sparse(fitted) and is_cupy(X):
            fitted = fitted.toarray()
        elif is_sparse(fitted) and not is_sparse(X):
            import scipy.sparse

            X = scipy.sparse.csr_matrix(X)
        fitted = fitted if is_sparse(fitted) else beside(fitted, X)
        return self._kernel().apply(X, fitted, coef, owner)
