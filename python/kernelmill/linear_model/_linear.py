"""What a fitted linear model does: scores, classes, and coefficients in sparse form."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator._rows import Estimator


def scores(X: Any, coef: Any, intercept: np.ndarray) -> np.ndarray:
    """``X coef' + intercept``, of shape (n, k) and in the dtype of X."""
    product = X @ coef.T.astype(X.dtype)
    if is_sparse(product):
        product = product.toarray()
    return np.asarray(product) + intercept.astype(X.dtype)


class LinearModel(Estimator):
    """Base of models whose prediction is ``coef_ x + intercept_``."""

    coef_: Any
    intercept_: Any

    _accepts_sparse = True

    def _scores(self, X: Any) -> np.ndarray:
        """(n, k)."""
        check_is_fitted(self)
        coef = self.coef_ if is_sparse(self.coef_) else np.atleast_2d(self.coef_)
        return self._rows(X, reset=False).map(scores, coef, np.atleast_1d(self.intercept_))

    def sparsify(self):
        """Convert ``coef_`` to a CSR matrix, which takes less memory where most entries are zero.

        Returns
        -------
        self : object
            The fitted model.
        """
        check_is_fitted(self)
        self.coef_ = scipy.sparse.csr_matrix(self.coef_)
        return self

    def densify(self):
        """Convert ``coef_`` back to an ndarray.

        Returns
        -------
        self : object
            The fitted model.
        """
        check_is_fitted(self)
        if is_sparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self


class LinearClassifier(LinearModel):
    """Adds the decision function and the classes."""

    classes_: Any

    def decision_function(self, X):
        """Signed distances to the hyperplanes, times the norms of their weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        scores : ndarray of shape (n,) or (n, n_classes)
            Of the second class where there are two, else of each class against the others.
        """
        found = self._scores(X)
        return found.ravel() if found.shape[1] == 1 else found

    def predict(self, X):
        """The class with the highest score.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,)
            Classes.
        """
        return self._chosen(self._scores(X))

    def _chosen(self, found: np.ndarray) -> np.ndarray:
        codes = found.argmax(1) if found.shape[1] > 1 else (found[:, 0] > 0).astype(np.int64)
        return self.classes_[codes]
