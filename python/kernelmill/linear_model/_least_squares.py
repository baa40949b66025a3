"""Least squares."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg
import scipy.optimize
from sklearn.base import MultiOutputMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._targets import targets_of
from kernelmill.linear_model import _solve as solve
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import WORDS


class LinearRegression(MultiOutputMixin, LinearRegressor):
    """Least squares: the coefficients with the least sum of squared residuals.

    One pass gives the second moments of the rows about their means, and Cholesky's factor the
    coefficients, as long as the condition number leaves ten digits. Otherwise a second pass reduces
    the rows to a triangle, whose singular values say which directions the rows do not determine:
    of all best coefficients the shortest are returned, and ``rank_`` says so.

    Parameters
    ----------
    tol : float, default=1e-6
        Ignored; the rank is decided by the rounding of float64.

    Attributes
    ----------
    coef_, intercept_
    rank_ : int
        Number of directions that the rows determine; less than d where columns depend on each
        other, or there are fewer rows.
    singular_ : ndarray of shape (min(n, d),), float64
        Singular values of the centred rows.
    condition_ : float
        Condition number of the centred rows with columns scaled to length one; inf where the rank
        is less than d.
    n_features_in_, feature_names_in_

    See Also
    --------
    Ridge : With a penalty of the squares of the coefficients.
    SGDRegressor : Trained row by row.

    Notes
    -----
    Sums are in float64 about an origin near the means, for float32 rows too, so that columns far
    from zero keep their digits. Rows may be a CSR matrix or a stream, which is read once; twice
    where the condition number asks for it, which an iterator does not allow.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import LinearRegression
    >>> X = np.array([[1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [2.0, 3.0]])
    >>> model = LinearRegression().fit(X, X @ [1.0, 2.0] + 3.0)
    >>> model.coef_.round(6).tolist(), round(float(model.intercept_), 6), model.rank_
    ([1.0, 2.0], 3.0, 2)
    >>> model.predict([[3.0, 5.0]]).round(6).tolist(), model.condition_ < 4
    ([16.0], True)
    >>> LinearRegression().fit([[1.0, 1.0], [2.0, 2.0]], [1.0, 2.0]).coef_.round(6).tolist()
    [0.5, 0.5]
    """

    _words = WORDS
    _ravelled: ClassVar[bool] = False
    _parameters: ClassVar = {
        "fit_intercept": rule.boolean(),
        "copy_X": rule.boolean(),
        "tol": rule.real(0),
        "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
        "positive": rule.boolean(),
    }

    def __init__(
        self, *, fit_intercept=True, copy_X=True, tol=1e-6, n_jobs=None, positive=False
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Find the coefficients with the least sum of squared residuals.

        Raises
        ------
        ValueError
            If X or y do not fit, or an iterator cannot be read again and has to be.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True, deferred=True)
        y = targets_of(y, rows)
        Y = y.reshape(len(y), -1)
        if not rows.is_stream and rows.count <= rows.n_features and not self.positive:
            found, x_mean, y_mean = solve.wide(rows, Y, self.fit_intercept)
        else:
            moments = moments_of(rows, Y, centred=self.fit_intercept)
            x_mean, y_mean = moments.x_mean, moments.y_mean
            fast = solve.from_moments(moments)
            if fast is not None and self.positive:
                # Longer than a triangle of the rows: only where that loses no digits.
                fast = solve.positive(moments, fast) if fast.condition <= solve.MILD else None
            if fast is not None:
                found = fast
                if fast.condition > solve.MILD and solve.is_small(rows):
                    factor = scipy.linalg.cholesky(moments.xx, check_finite=False)
                    coef = solve.refined(rows, Y, moments, factor, fast.coef)
                    found = fast._replace(coef=coef)
            else:
                R = solve.triangular(rows, Y, moments)
                d = moments.d
                found = solve.from_factor(R, d, moments.count, solve.constant_columns(moments))
                if found.rank == d and not self.positive:
                    coef = solve.refined(rows, Y, moments, R, found.coef)
                    found = found._replace(coef=coef)
                if self.positive:
                    each = [scipy.optimize.nnls(R[:, :d], b)[0] for b in R[:, d:].T]
                    found = found._replace(coef=np.array(each))
        self._set_model(found.coef, x_mean, y_mean, rows, y.ndim == 1)
        self.rank_, self.singular_ = found.rank, found.singular
        self.condition_ = found.condition
        return self
