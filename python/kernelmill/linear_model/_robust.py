"""Huber's regression, with the scale of the residuals learnt."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._rows import Rows
from kernelmill.linear_model._generalised import vector
from kernelmill.linear_model._logistic import warn_steps
from kernelmill.linear_model._newton import Objective, Point
from kernelmill.linear_model._regression import LinearRegressor, predicted
from kernelmill.linear_model._words import ONE_TARGET

_FLOOR = 1e-5  # least scale, as a share of the first
_WIDEST = 1e300  # margin within which all rows are
_SHRINKAGE = 0.1  # a step of the scale goes no further down


def best_scale(sizes: np.ndarray, weights: np.ndarray, epsilon: float) -> float:
    """The scale s with the least ``sum w (s + s H(r / s))`` for residuals of these sizes.

    The derivative ``W - sum_in w r^2 / s^2 - epsilon^2 W_out`` rises with s; it is zero at
    ``s^2 = sum_in w r^2 / (W - epsilon^2 W_out)`` for the right set of rows within ``epsilon s``.
    """
    order = np.argsort(sizes)
    r, w = sizes[order], weights[order]
    inside = np.concatenate([[0.0], np.cumsum(w * r * r)])  # the first k rows are in
    outside = w.sum() - np.concatenate([[0.0], np.cumsum(w)])
    room = w.sum() - epsilon * epsilon * np.maximum(outside, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.where(room > 0, inside / room, np.inf)
    limits = epsilon * np.sqrt(square)  # within which the first k rows must be, and no more
    lower = np.concatenate([[0.0], r])
    upper = np.concatenate([r, [np.inf]])
    fits = (room > 0) & (lower <= limits * (1 + 1e-12)) & (limits <= upper * (1 + 1e-12))
    return float(np.sqrt(square[np.argmax(fits)])) if fits.any() else 0.0


class HuberRegressor(LinearRegressor):
    """Least squares for small residuals, least sizes for large ones, at a scale that is learnt.

    Minimises ``sum w (s + s H(r / s)) + alpha |coef|^2`` over coefficients and the scale s, with
    ``H(z) = z^2`` within epsilon and ``2 epsilon |z| - epsilon^2`` beyond.

    Parameters
    ----------
    epsilon : float, default=1.35
        Number of scales beyond which a residual is an outlier, at least 1.
    max_iter : int, default=100
        Most steps.
    tol : float, default=1e-5
        Ends the fit where a step gains less than ``tol**2`` of the objective, and the scale stays
        within `tol` of itself.

    Attributes
    ----------
    coef_, intercept_
    scale_ : float
        The scale: residuals beyond ``epsilon scale_`` are outliers. Close to 0 where most residuals
        vanish.
    n_iter_
    outliers_ : ndarray of shape (n,), bool
        Which rows are outliers.
    n_features_in_, feature_names_in_

    See Also
    --------
    LogCoshRegressor : A smooth loss, with a scale that is given.
    QuantileRegressor : Sizes of residuals alone.

    Notes
    -----
    A step for the coefficients is weighted least squares, of parabolas that lie above the loss (one
    pass over the rows), and one for the scale is exact, by sorting the residuals. Where most
    residuals vanish the best scale is zero, and the loss that of least sizes; the scale stops at
    1e-5 of the first.

    References
    ----------
    Huber and Ronchetti (2009), "Robust Statistics", 7.8. Owen (2007), "A robust hybrid of lasso and
    ridge regression".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import HuberRegressor
    >>> X = np.arange(20.0)[:, None]
    >>> y = 3 * X[:, 0] + np.tile([-0.1, 0.1], 10)
    >>> y[7] = 1e4
    >>> model = HuberRegressor().fit(X, y)
    >>> model.coef_.round(2).tolist(), np.flatnonzero(model.outliers_).tolist()
    ([3.0], [7])
    >>> model.predict([[30.0]]).round(0).tolist(), model.scale_ < 0.3
    ([90.0], True)
    """

    _words = ONE_TARGET
    _parameters: ClassVar = {
        "epsilon": rule.real(1),
        "max_iter": rule.integer(0),
        "alpha": rule.real(0),
        "warm_start": rule.boolean(),
        "fit_intercept": rule.boolean(),
        "tol": rule.real(0),
    }

    def __init__(
        self, *, epsilon=1.35, max_iter=100, alpha=1e-4, warm_start=False, fit_intercept=True,
        tol=1e-5,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Find coefficients and scale.

        Raises
        ------
        ValueError
            If X or y do not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` steps were not enough.
        """
        before = getattr(self, "coef_", None) if self.warm_start else None
        rows = self._rows(X, sample_weight, reset=True)
        y = vector(y, rows, vanishing=True)
        given = rows.all_weights()
        weights = np.ones(len(y)) if given is None else given.astype(np.float64)
        # The first coefficients are those of least squares: Huber's with all rows within.
        problem = Objective(
            rows, y, "huber", intercept=self.fit_intercept, parameter=_WIDEST, newton=True
        )
        at = problem.start()
        if before is not None and np.shape(before) == (problem.d,):
            coef = np.asarray(before, dtype=np.float64)[None]
            at = problem.start(coef, np.array([float(self.intercept_)]))
        else:
            at = problem.advance(at, 1e-3).state
        first = self._sizes(rows, y, problem, at)
        rounding = 16 * np.finfo(np.float64).eps * float(np.abs(y).max(initial=0.0))
        first = np.where(first <= rounding, 0.0, first)
        scale = max(
            best_scale(first, weights, self.epsilon),
            float(np.sqrt(np.average(first**2, weights=weights))) * _SHRINKAGE,
        )
        floor = scale * _FLOOR

        def advance(state: tuple[Point, float], most: int) -> Step:
            point, s = state
            if s == 0:  # nothing is left to explain
                return Step(state, 0.0, True)
            local = problem.changed(min(self.epsilon * s, _WIDEST), self.alpha * s)
            point = local.evaluated(point, True)
            step = local.advance(point, 0.0, ahead=False)
            gain = point.value - step.state.value
            sizes = self._sizes(rows, y, local, step.state)
            found = best_scale(sizes, weights, self.epsilon)
            # Twice as far on the way down, which is long where the best scale is 0.
            after = max(found * min(1.0, found / s), s * _SHRINKAGE, floor)
            still = abs(after - s) <= self.tol * s
            little = gain <= self.tol**2 * max(s * s * local.weight, point.value)
            state = step.state, after
            return Step(state, -after, bool(still and little))

        def attributes(state: tuple[Point, float], n_iter: int) -> dict[str, Any]:
            point, s = state
            sizes = self._sizes(rows, y, problem, point)
            coef = np.ascontiguousarray(point.coef[0], dtype=rows.dtype)
            intercept = problem.intercepts(point)[0]
            return {
                "coef_": coef,
                "intercept_": intercept if self.fit_intercept else 0.0,
                "scale_": s,
                "n_iter_": n_iter,
                "outliers_": sizes > self.epsilon * s + rounding,
            }

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(self, False, iterations=self.max_iter, X=X, y=y, metadata=metadata) as told:
            run = climb(
                told, lambda number: (at, scale), advance, max_iter=self.max_iter,
                attributes=attributes,
            )  # fmt: skip
        if not run.converged and 0 < self.max_iter <= run.n_iter:
            warn_steps(rows.owner, self.max_iter)
        self.__dict__.update(attributes(run.state, run.n_iter))
        return self

    @staticmethod
    def _sizes(rows: Rows, y: np.ndarray, problem: Objective, at: Point) -> np.ndarray:
        found = rows.map(predicted, at.coef, problem.intercepts(at))
        return np.abs(y - np.asarray(found).ravel())
