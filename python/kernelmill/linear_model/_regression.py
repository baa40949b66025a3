"""What regressions share: targets, one fit without iterations, predictions in float64."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from kernelmill._arrays import is_sparse
from kernelmill._estimator._base import fitting_at_once as fitting_at_once
from kernelmill._estimator._rows import Rows
from kernelmill.linear_model._linear import LinearModel

BLOCK = 1 << 16  # elements of float32 rows that are made float64 at a time


def predicted(X: Any, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """``X coef' + intercept`` of shape (n, m), in float64 for float32 rows, without a copy of X."""
    if is_sparse(X):
        return np.asarray(X @ coef.T) + intercept
    if X.dtype == np.float64:
        return X @ coef.T + intercept
    result = np.empty((len(X), len(coef)))
    step = max(1, BLOCK // max(1, X.shape[1]))
    for i in range(0, len(X), step):
        result[i : i + step] = X[i : i + step].astype(np.float64) @ coef.T
    return result + intercept


class LinearRegressor(RegressorMixin, LinearModel):
    """Base of the regressions: ``coef_ x + intercept_``."""

    _squares: ClassVar = np.float64  # of float32 rows, too
    _ravelled: ClassVar[bool] = True  # whether coefficients of one column of targets are a vector

    def _set_model(
        self, coef: np.ndarray, x_mean: np.ndarray, y_mean: np.ndarray, rows: Rows, vector: bool,
        fit_intercept: bool | None = None,
    ) -> None:  # fmt: skip
        """Set coefficients (m, d), in the dtype of X, and the intercept that goes with them.

        `vector` says whether targets had one axis.
        """
        coef = np.ascontiguousarray(coef, dtype=rows.dtype)
        self.coef_ = coef[0] if vector or (self._ravelled and len(coef) == 1) else coef
        if self.fit_intercept if fit_intercept is None else fit_intercept:
            intercept = y_mean - coef.astype(np.float64) @ x_mean
            self.intercept_ = intercept[0] if vector else intercept
        else:
            self.intercept_ = 0.0

    def predict(self, X):
        """Predicted numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs), float64
            Predictions, computed in float64.
        """
        found = self._linear(X)
        return found.ravel() if self._vector() else found

    def _vector(self) -> bool:
        """Whether predictions are a vector."""
        if is_sparse(self.coef_):
            ravelled = self._ravelled and self.coef_.shape[0] == 1
            return ravelled or np.ndim(self.intercept_) == 0
        return np.ndim(self.coef_) == 1

    def _linear(self, X: Any) -> np.ndarray:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        coef = self.coef_.toarray() if is_sparse(self.coef_) else np.asarray(self.coef_)
        coef = np.atleast_2d(coef).astype(np.float64)
        intercept = np.atleast_1d(np.asarray(self.intercept_, dtype=np.float64))
        return self._rows(X, reset=False).map(predicted, coef, intercept)


TARGETS = """y : array-like of shape (n,) or (n, n_outputs)
            Numbers, in memory even if X is a stream."""
