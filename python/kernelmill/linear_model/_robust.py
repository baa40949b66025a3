"""Huber's regression, with the scale of the residuals learnt."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from kernelmill._arrays import is_sparse, namespace
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._progress import Progress
from kernelmill.linear_model._generalised import vector
from kernelmill.linear_model._logistic import warn_steps
from kernelmill.linear_model._newton import (
    ROUNDING,
    Objective,
    Point,
    newton_step,
)
from kernelmill.linear_model._regression import BLOCK, LinearRegressor, predicted
from kernelmill.linear_model._words import ONE_TARGET
from kernelmill.ops import moments

_THROUGH = 1e-6  # of the targets: such residuals are those of a plane through all rows
_FLOOR = 1e-5  # least scale, as a share of the first
_FLOOR_OF_MEAN = 1e-12  # the same where the first is that of no coefficients
_WIDEST = 1e300  # margin within which all rows are
_ENOUGH = 0.25  # of what a step promises
_SOLVED = 1e-6  # share of a gradient that rounding leaves
_NEARLY = 0.9  # of a scale: it is about as good
_SHARE = 1e-4  # of the curvature of parabolas, where rows within do not determine a plane
_SHRINKAGE = 0.1  # a step of the scale goes no further down


def best_scale(sizes: np.ndarray, weights: np.ndarray, epsilon: float) -> float:
    """The scale s with the least ``sum w (s + s H(r / s))`` for residuals of these sizes.

    The derivative ``W - sum_in w r^2 / s^2 - epsilon^2 W_out`` rises with s; it is zero at
    ``s^2 = sum_in w r^2 / (W - epsilon^2 W_out)`` for the right set of rows within ``epsilon s``.
    """
    order = np.argsort(sizes)
    r, w = sizes[order], weights[order]
    inside, total = np.cumsum(w * r * r), np.cumsum(w)
    room = total * (epsilon * epsilon) + total[-1] * (1 - epsilon * epsilon)
    # The derivative where the first rows are just within, times r^2: below zero, then above.
    rising = np.flatnonzero(room * r * r >= epsilon * epsilon * inside)
    last = (int(rising[0]) if len(rising) else len(r)) - 1
    if last < 0 or not room[last] > 0:
        return 0.0
    return float(np.sqrt(inside[last] / room[last]))


def best_size(
    r: np.ndarray, t: np.ndarray, weights: np.ndarray, width: float, slope: float = 0.0,
    bend: float = 0.0,
) -> float:  # fmt: skip
    """The a >= 0 with the least sum of ``w h(r - a t)`` and ``slope a + bend a^2 / 2``.

    With h Huber's loss of this width; its derivative ``-w t clip(r - a t)`` is linear between the
    places where a residual enters and leaves the width.
    """
    moving = (t != 0) & (weights > 0)
    r, t, w = r[moving], t[moving], weights[moving]
    enters, leaves = (r - width * np.sign(t)) / t, (r + width * np.sign(t)) / t
    own = w * t * t
    slope -= float((w * t) @ np.clip(r, -width, width))
    bend += float(own[(enters <= 0) & (leaves > 0)].sum())
    places, changes = np.concatenate([enters, leaves]), np.concatenate([own, -own])
    ahead = np.flatnonzero(places > 0)
    ahead = ahead[np.argsort(places[ahead])]
    starts = np.append(0.0, places[ahead])
    bends = np.maximum(bend + np.append(0.0, np.cumsum(changes[ahead])), 0.0)
    slopes = slope + np.append(0.0, np.cumsum(bends[:-1] * np.diff(starts)))
    rising = np.flatnonzero(slopes >= 0)
    last = (int(rising[0]) if len(rising) else len(slopes)) - 1
    if last < 0 or not bends[last] > 0:
        return 0.0 if last < 0 else float(starts[last])
    return float(starts[last] - slopes[last] / bends[last])


def _huber(sizes: np.ndarray, weights: np.ndarray, width: float) -> float:
    """Sum of ``w r^2 / 2`` within the width, and of ``w width (|r| - width / 2)`` beyond."""
    within = np.minimum(sizes, width)
    return float(weights @ (within * (sizes - within / 2)))


def _predicted(X: Any, coef: np.ndarray, intercept: np.ndarray, shift: np.ndarray) -> Any:
    """``(X - shift) coef' + intercept`` (n, 1) in float64: the digits of an offset are not lost."""
    if is_sparse(X) or not shift.any():
        return predicted(X, coef, intercept - coef @ shift)
    step = max(1, BLOCK // X.shape[1])
    parts = [(X[i : i + step] - shift) @ coef.T for i in range(0, X.shape[0], step)]
    return (parts[0] if len(parts) == 1 else namespace(X).concatenate(parts)) + intercept


def _solves(H: np.ndarray, step: np.ndarray, gradient: np.ndarray) -> bool:
    """Whether the step answers all of the gradient: no direction is flat."""
    lengths = np.sqrt(np.diag(H))
    lengths = np.where(lengths > 0, lengths, 1.0)
    left, all_of = (np.abs(g.ravel() / lengths).max() for g in (step @ H + gradient, gradient))
    return bool(left <= _SOLVED * all_of)


class _State(NamedTuple):
    """Where a fit stands."""

    point: Point
    scale: float
    residuals: np.ndarray
    exact: bool  # whether the scale is the best for these


class _Objective(Objective):
    """A problem whose residuals are kept."""

    def explained(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Predictions (n,)."""
        return np.asarray(self.rows.map(_predicted, coef, intercept, self.shift)).ravel()

    def unexplained(self, at: Point) -> np.ndarray:
        """Residuals (n,)."""
        return self.y - self.explained(at.coef, at.intercept)

    def passes(self, at: Point, alpha: float, epsilon: float, used: np.ndarray) -> bool:
        """Whether the plane through the rows used is the best: none pulls harder than it may.

        Near such a plane the loss is ``2 epsilon w |r|``. So it is the least where numbers within
        2 epsilon, here ``u.x``, have ``sum w (u.x) x = 2 alpha c``.
        """
        pulled = np.append(2 * alpha * at.coef, np.zeros((1, 1)), axis=1)
        H = self.evaluated(at, True).hessian
        u = newton_step(-pulled, H)[0]
        pulls = self.y - self.unexplained(Point(u[:, :-1], u[:, -1]))
        return _solves(H, u, -pulled) and bool(np.abs(pulls[used]).max() <= 2 * epsilon)

    def bends(self, r: np.ndarray, exact: bool) -> np.ndarray:
        """Hessian (d + 1, d + 1) at this scale, or if `exact` at the best one for these residuals.

        With v the sum of ``w r x`` over the rows within, and R that of ``w r^2``, the scale gives
        way by ``v v' / R``. Zero in directions in which the rows within say nothing.
        """
        within = (np.abs(r) <= self.parameter).astype(self.rows.dtype)
        origin = np.append(self.shift, 0.0)
        G = np.asarray(
            self.rows.weighted(within).map_reduce(moments.products, origin, along=(r[:, None],))
        )
        d = self.d
        places = [*range(d), d + 1]
        H, v, total = G[np.ix_(places, places)], G[places, d], G[d, d]
        if exact and total > 0:
            H = H - np.multiply.outer(v, v / total)
            np.fill_diagonal(H, np.maximum(H.diagonal(), 0.0))  # but for rounding it is so
        return self._hessian(H[None, None])


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
    A step for the coefficients is Newton's, and goes as far as the loss falls where few rows are no
    outliers, as with epsilon near 1; one for the scale is exact. Both sort the residuals. Where
    most residuals vanish the best scale is zero, and the loss that of least sizes; the scale stops
    at 1e-5 of the first. Where rows are fewer than features, some plane passes through all of them:
    it is the answer for ``alpha=0``, and for a penalty so small that no row is worth giving up. Of
    several such planes the fit takes one by the rows and their weights alone: repeated, weighted
    and sparse rows have the same.

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
        problem = _Objective(
            rows, y, "huber", intercept=self.fit_intercept, parameter=_WIDEST, newton=True
        )
        if self.alpha == 0 and self.fit_intercept:
            # Of several best planes, one that repetition and sparse rows do not change.
            problem.shift = moments_of(rows).x_mean
        at = problem.start()
        if before is not None and np.shape(before) == (problem.d,):
            coef = np.asarray(before, dtype=np.float64)[None]
            at = problem.start(coef, np.array([float(self.intercept_)]))
        else:
            at = problem.advance(at, 1e-3).state
        first = problem.unexplained(at)
        rounding = 16 * np.finfo(np.float64).eps * float(np.abs(y).max(initial=0.0))
        first, least = np.where(np.abs(first) <= rounding, 0.0, first), _FLOOR
        mean = np.average(y, weights=given) if self.fit_intercept else 0.0
        used = weights > 0
        through = np.abs(first[used]).max() <= _THROUGH * np.abs(y - mean)[used].max()
        args = at, self.alpha, self.epsilon, used
        if self.alpha > 0 and through and not problem.passes(*args):
            at = problem.start(None, np.array([mean]))
            first, least = problem.unexplained(at), _FLOOR_OF_MEAN
        found = best_scale(np.abs(first), weights, self.epsilon)
        scale = max(found, float(np.sqrt(np.average(first**2, weights=weights))) * _SHRINKAGE)
        floor = scale * least

        def advance(state: _State, most: int) -> Step:
            s = state.scale
            if s == 0:  # nothing is left to explain
                return Step(state, 0.0, True)
            local = problem.changed(min(self.epsilon * s, _WIDEST), self.alpha * s)
            there, r, gain, found = self._stepped(local, weights, state)
            # Twice as far on the way down, which is long where the best scale is 0; but not where a
            # plane through all rows would end it.
            ahead = found / s if found < _NEARLY * s and least == _FLOOR else 1.0
            after = max(found * ahead, s * _SHRINKAGE, floor)
            still = abs(after - s) <= self.tol * s
            little = gain <= self.tol**2 * max(s * s * local.weight, there.value)
            ended = bool(still and little)
            return Step(_State(there, after, r, after == found), -after, ended)

        def attributes(state: _State, n_iter: int) -> dict[str, Any]:
            point, s = state.point, state.scale
            sizes = np.abs(problem.unexplained(point))
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
                told, lambda number: _State(at, scale, first, scale == found), advance,
                max_iter=self.max_iter, attributes=attributes,
            )  # fmt: skip
        if not run.converged and 0 < self.max_iter <= run.n_iter:
            warn_steps(rows.owner, self.max_iter)
        self.__dict__.update(attributes(run.state, run.n_iter))
        return self

    def _stepped(
        self, local: _Objective, weights: np.ndarray, state: _State
    ) -> tuple[Point, np.ndarray, float, float]:  # fmt: skip
        """The end of a step, the residuals, the gain, and the best scale for these residuals.

        The gain is in units of the loss at this scale. Where that is the best, the loss is the
        least over all scales, and the first step tried is Newton's for these. Where it gains less
        than it promises, as of rows within that do not determine a plane, the next has the best
        length at this scale.
        """
        s, exact = state.scale, state.exact
        about = local.weight * s * s / 2 if exact else 0.0

        def moved(size: float) -> tuple[Point, np.ndarray, float, float]:
            there = Point(at.coef + size * step[:, :-1], at.intercept + size * step[:, -1])
            r = local.unexplained(there)
            sizes = np.abs(r)
            best = best_scale(sizes, weights, self.epsilon)
            if not exact:
                value = _huber(sizes, weights, local.parameter)
            elif best > 0:
                value = s * local.weight * best / 2
                value += s / best * _huber(sizes, weights, self.epsilon * best)
            else:
                value = s * self.epsilon * float(weights @ sizes)
            value += local.penalty(there)
            return there._replace(value=value), r, at.value + about - value, best

        at = local.evaluated(state.point, False)
        H = local.bends(state.residuals, exact)
        step, gain = newton_step(at.gradient, H)
        if _solves(H, step, at.gradient):
            found = moved(1.0)
            if found[2] >= _ENOUGH * gain - ROUNDING * at.value:
                return found
        # The rows within, and a little of the parabolas above the loss in all directions of which
        # these say nothing: there the loss is made of straight lines, along which a step goes on
        # until enough other rows are within.
        at = local.evaluated(state.point, True)
        H = local.bends(state.residuals, False) + _SHARE * at.hessian
        step, gain = newton_step(at.gradient, H)
        if np.isfinite(gain):
            along = local.explained(step[:, :-1], step[:, -1])
            bend = local.l2 * np.array([at.coef[0] @ step[0, :-1], step[0, :-1] @ step[0, :-1]])
            found = moved(best_size(state.residuals, along, weights, local.parameter, *bend))
            if found[2] > 0:
                return found
        return at, state.residuals, 0.0, best_scale(np.abs(state.residuals), weights, self.epsilon)
