"""OneClassSVM."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import OutlierMixin

from kernelmill._arrays import beside, namespace
from kernelmill._estimator._base import fitting
from kernelmill.svm import _problems
from kernelmill.svm._base import NU, PARAMETERS
from kernelmill.svm._regressor import SingleMachine


class OneClassSVM(OutlierMixin, SingleMachine):
    """Support of a distribution: a region that leaves out at most the share `nu` of the rows.

    Parameters
    ----------
    nu : float, default=0.5
        Upper bound of the share of rows left out, and lower bound of the share of support vectors;
        in (0, 1].

    Attributes
    ----------
    coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_, n_support_
    offset_ : float
        ``decision_function`` is ``score_samples`` minus this.
    shape_fit_, support_, support_vectors_, n_features_in_, feature_names_in_

    Notes
    -----
    A row on the border, whose decision is 0 up to rounding, is not left out. Multipliers are at
    most 1 and add up to nu n, or the same with weights, as in scikit-learn.

    References
    ----------
    Schoelkopf, Platt, Shawe-Taylor, Smola and Williamson (2001), "Estimating the support of a
    high-dimensional distribution".

    Examples
    --------
    >>> from kernelmill.svm import OneClassSVM
    >>> X = [[0.0], [0.44], [0.45], [0.46], [1.0]]
    >>> OneClassSVM(gamma="auto").fit(X).predict(X)
    array([-1,  1,  1,  1, -1])
    """

    _parameters: ClassVar = {**PARAMETERS, "nu": NU}
    _center = False
    _single = False  # which rows lie on the border is told by the last digits

    def __init__(
        self, *, kernel="rbf", degree=3, gamma="scale", coef0=0.0, tol=1e-3, nu=0.5,
        shrinking=True, cache_size=200, verbose=False, max_iter=-1,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the region.

        Raises
        ------
        ValueError
            If X, weights or a parameter do not fit.
        """
        rows = self._checked(self._rows(X, sample_weight, reset=True))
        return self._solve(X, None, sample_weight, np.zeros(rows.count), rows)

    def _attributes(self, *given: Any) -> dict[str, Any]:
        found = super()._attributes(*given)
        return found | {"offset_": -found["intercept_"]}

    def _problem(self, y: np.ndarray, weights: np.ndarray, scale: float) -> _problems.Problem:
        return _problems.one_class(np.arange(len(y), dtype=np.int32), weights, self.nu, scale)

    def _constant_of(self, problem: _problems.Problem, b: np.ndarray, g: np.ndarray) -> float:
        # The largest that the tolerance allows: no row is left out whose multiplier could grow.
        most = float(problem.up(b, g).max())
        return most if np.isfinite(most) else super()._constant_of(problem, b, g)

    def score_samples(self, X):
        """Sums of kernel values with the support vectors.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n,)
            Larger is more usual.
        """
        decision = self.decision_function(X)
        return decision + beside(self.offset_, decision)

    def decision_function(self, X):
        """Signed distance to the border of the region, times the norm of its normal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n,)
            Positive inside.
        """
        return self._mapped_rows(X, self._values)

    def predict(self, X):
        """1 for rows inside the region or on its border, -1 for others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            1 and -1.
        """
        decision = self.decision_function(X)
        # Sums of as many terms, each of at most the size of the offset or so.
        size = float(np.max(np.abs(self.offset_)) + np.abs(self._dual).sum())
        rounding = 16 * np.finfo(self._precision()).eps * size
        return namespace(decision).where(decision >= -rounding, 1, -1)

    def _precision(self) -> Any:
        dtype = getattr(self.support_vectors_, "dtype", np.dtype(np.float64))
        return dtype if dtype.kind == "f" else np.dtype(np.float64)
