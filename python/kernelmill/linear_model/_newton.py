"""Minimisation of the penalised loss of a generalised linear model.

Minimised is ``F = sum w l(y, W x + b) + l1 |W|_1 + l2 / 2 |W|^2``, and the same penalties of a
factor times b where it has one. Where the Hessian fits, each
step is Newton's: one pass gives value, gradient and Hessian, and with an L1 penalty the quadratic
model is minimised by coordinate descent. Else directions are those of L-BFGS in scaled features,
one gradient a step. Steps that do not lower F are halved.

Many rows say little more of where the least is than a sample of m of them does: with q parameters
the least of the sample is about ``q / 2 m`` for each row above that of all, and its Hessian differs
by ``sqrt(q / m)`` from that of all. So a minimisation begins with the least of a sample, and the
inverse of its Hessian is the first matrix of L-BFGS, each of whose steps over all rows leaves a
share of about ``sqrt(q / m)`` of the distance: five gradients at 150,000 x 40 and two classes, in
place of five Hessians and a gradient, which cost 2.3 times as much each. This is the sub-sampled
Newton method of Byrd, Chin, Neveitt and Nocedal (2011), "On the use of stochastic Hessian
information in optimization methods for machine learning".
"""

from __future__ import annotations

import copy
import functools
import math
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from kernelmill._arrays import is_sparse
from kernelmill._estimator._climb import Step
from kernelmill._estimator._moments import moments_of, pilot
from kernelmill._estimator._rows import Rows
from kernelmill.linear_model import _solve as solve
from kernelmill.linear_model._regression import predicted
from kernelmill.ops import coordinate, glm, moments

LOSS = {name: number for number, name in enumerate(glm.LOSSES)}
MOST_PARAMETERS = 1200  # of a Hessian
_WIDE, _MANY = 100, 2e8  # classes times features, and products of a Hessian, for L-BFGS
_HISTORY = 12  # steps that L-BFGS remembers
LEAST_STEP = 1e-12
ARMIJO = 1e-4
ROUNDING = 1e-14  # of F, from one evaluation to the next
_EPS = float(np.finfo(np.float64).eps)
_FEW = 32  # parameters of a model with an L1 penalty that is solved by its signs first
# A sample is this share of the rows, or so many rows for each parameter, if that is at most a
# quarter of them; with fewer rows than that the passes cost less than what goes on around them.
_SAMPLE, _ROWS_EACH, _ROWS_WORTH = 1 / 16, 25, 20_000
_SAMPLE_STEPS = 50


class Point(NamedTuple):
    """Where a minimisation stands; never changed in place."""

    coef: np.ndarray  # (k, d)
    intercept: np.ndarray  # (k,), about the shift
    value: float = np.inf  # F
    loss: float = np.inf  # without penalties
    gradient: Any = None  # (k, d + 1), of the smooth part of F
    hessian: Any = None  # (q, q), or None
    history: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    first: Any = None  # Cholesky factor (q, q) of the Hessian of a sample, for L-BFGS
    stuck: bool = False
    flat: bool = False  # whether some Hessian on the way here was all but singular


def newton_step(gradient: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, float]:
    """The step, in the shape of the gradient, and half of Newton's decrement."""
    return _newton_step(gradient, hessian)[:2]


def _newton_step(gradient: np.ndarray, hessian: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """The same, and whether the Hessian is all but singular."""
    scale = np.sqrt(np.diag(hessian))
    scale = np.where(scale > 0, scale, 1.0)
    K = hessian / np.multiply.outer(scale, scale)
    right = -gradient.ravel() / scale
    # LAPACK itself: what SciPy puts around it takes most of the time of a small step.
    factor, info = lapack.dpotrf(K, lower=1, clean=0)
    flat = bool(info != 0 or factor.diagonal().min(initial=1.0) < 1e-7)
    if not flat:
        step = lapack.dpotrs(factor, right, lower=1)[0]
    else:
        if not np.isfinite(K).all():
            return np.zeros_like(gradient), np.nan, flat
        values, vectors = scipy.linalg.eigh(K, check_finite=False)
        kept = values > values[-1] * 1e-13 * len(values)
        step = vectors[:, kept] @ ((vectors[:, kept].T @ right) / values[kept])
    return (step / scale).reshape(gradient.shape), float(step @ right) / 2, flat


def _by_signs(
    H: np.ndarray, target: np.ndarray, flat: np.ndarray, slope: np.ndarray, l1: np.ndarray
) -> np.ndarray | None:
    """The least of ``x'H x / 2 - x.target + l1.|x|`` if its signs are as guessed, else None.

    The signs are those of ``flat``, and where that is 0 those that the slope there calls for.
    """
    signs, smooth = np.sign(flat), l1 == 0
    every = np.count_nonzero(signs) == len(signs)
    if not every:
        signs = np.where((signs == 0) & (np.abs(slope) > l1), -np.sign(slope), signs)
        free = (signs != 0) | smooth
    right = target - l1 * signs
    if every:
        x, info = lapack.dposv(H, right)[1:]
    else:
        x = np.zeros(len(flat))
        x[free], info = lapack.dposv(H[free][:, free], right[free])[1:]
    if info or not (smooth | (np.sign(x) == signs)).all():
        return None
    return x if every or (np.abs(target - H @ x)[~free] <= l1[~free]).all() else None


class Objective:
    """The problem, and the steps towards its least.

    Parameters
    ----------
    rows : Rows
    y : ndarray of shape (n,), float64
        Targets, in memory.
    loss : str
        One of `ops.glm.LOSSES`.
    k : int
        Outputs.
    l1, l2 : float
        Penalties.
    intercept : bool
        Whether there are intercepts.
    parameter : float
        Of the loss.
    unit : float
        What counts as one unit of loss for each unit of weight.
    newton : bool, optional
        Whether steps are Newton's; by the shape of the rows by default.
    intercept_factor : float
        The intercept, times this, has the penalties of a coefficient; then rows are not shifted.
    """

    def __init__(
        self, rows: Rows, y: np.ndarray, loss: str, k: int = 1, *, l1: float = 0.0,
        l2: float = 0.0, intercept: bool = True, parameter: float = 0.0, unit: float = 1.0,
        newton: bool | None = None, intercept_factor: float = 0.0,
    ) -> None:  # fmt: skip
        self.rows, self.y, self.name, self.loss, self.k = rows, y, loss, LOSS[loss], k
        self.factor = intercept_factor
        self.l1, self.l2, self.intercept = l1, l2, intercept
        self.parameter, self.unit = parameter, unit
        d = self.d = rows.n_features
        if newton is None:
            newton = k * (d + 1) <= MOST_PARAMETERS and not self._many_products()
        self.newton = newton
        first = rows if not rows.is_stream else next(iter(rows.chunks()))
        shifted = intercept and not self.factor
        self.shift = pilot(first.X, first.weight) if shifted else np.zeros(d)
        weights = rows.all_weights()
        self.weight = float(rows.count if weights is None else weights.sum(dtype=np.float64))
        positive = None if weights is None else weights[weights > 0]
        self.least_weight = 1.0 if positive is None else float(positive.min())

    def _many_products(self) -> bool:
        """Whether a Hessian costs more than some steps of L-BFGS from a good first matrix."""
        each = self.k * self.k * self.d * self.d
        wide = self.k > 2 and (self.k + 1) * self.d > _WIDE and self.l1 == 0 and self.l2 > 0
        return wide and self.rows.count * each > _MANY

    @functools.cached_property
    def _factor(self) -> tuple[np.ndarray, bool] | None:
        """Cholesky factor of the Hessian of each output where the shares of the softmax are equal.

        None where it is not definite, or not made.
        """
        if not (self.l2 > 0 and self.d < MOST_PARAMETERS):
            return None
        total = self._total()
        curvature = (1 / self.k) if self.k > 1 else 0.25
        H = curvature * total
        H.flat[:: len(H) + 1] += self._bends()
        if not self.intercept:
            H[-1] = H[:, -1] = 0.0
            H[-1, -1] = 1.0
        H.flat[:: len(H) + 1] += 1e-12 * np.diag(H)
        return scipy.linalg.cho_factor(H, lower=True, check_finite=False)

    def _total(self) -> np.ndarray:
        """Second moments of the rows about the shift, the weight in the corner."""
        empty = np.empty((len(self.y), 0))
        return self.rows.map_reduce(moments.products, self.shift, along=(empty,))

    @functools.cached_property
    def _scale(self) -> np.ndarray:
        """Root mean squares of the shifted columns, for L-BFGS."""
        total = self.rows.map_reduce(_squares, self.shift)
        return np.sqrt(np.where(total > 0, total / self.weight, 1.0))

    def start(self, coef: Any = None, intercept: Any = None) -> Point:
        """Zeros, or given coefficients and intercepts of rows that are not shifted."""
        if coef is None:
            coef = np.zeros((self.k, self.d))
        if intercept is None:
            intercept = np.zeros(self.k)
        at = Point(coef, intercept + coef @ self.shift if self.intercept else intercept)
        return self.evaluated(at, self.newton)

    def sampled(self, count: int) -> Point | None:
        """The least of a sample of the rows, with its Hessian for L-BFGS; None if none is worth it.

        Parameters
        ----------
        count : int
            The numbers 0, 1, ... of y that a sample must have ten rows of each.
        """
        n, q = self.rows.count, self.k * (self.d + 1)
        m = max(int(n * _SAMPLE), _ROWS_EACH * q)
        if self.rows.is_stream or self.l1 > 0 or q > MOST_PARAMETERS or not (
            n >= _ROWS_WORTH and 4 * m <= n
        ):  # fmt: skip
            return None
        weight = self.rows.weight
        counted = np.arange(n) if weight is None else np.flatnonzero(weight > 0)
        m = min(m, len(counted))
        # One row of each of m equal stretches: any order of the rows may have a period.
        places = np.arange(m) + np.random.Generator(np.random.PCG64(0)).random(m)
        chosen = counted[(places * (len(counted) / m)).astype(np.int64)]
        part = copy.copy(self)
        part.__dict__.pop("_factor", None)
        part.rows, part.y = self.rows.part(chosen), self.y[chosen]
        if (np.bincount(part.y.astype(np.int64), minlength=count) < 10).any():
            return None
        part.weight = float(m if weight is None else part.rows.weight.sum(dtype=np.float64))
        part.l2 = self.l2 * part.weight / self.weight
        at, tol = part.start(), 0.1 * np.sqrt(q / m)
        for _ in range(_SAMPLE_STEPS):
            at, _, finished, _ = part.advance(at, tol)
            if finished:
                break
        H = part.evaluated(at, True).hessian * (self.weight / part.weight)
        try:
            first = scipy.linalg.cho_factor(H, lower=True, check_finite=False)
        except (scipy.linalg.LinAlgError, ValueError):
            return None
        lengths = np.sqrt(np.diag(H))
        if not np.diag(first[0]).min() > 1e-5 * lengths.min():
            return None
        after = self.evaluated(Point(at.coef, at.intercept, first=first), False)
        return after if np.isfinite(after.value) else None

    def intercepts(self, at: Point) -> np.ndarray:
        """Intercepts of rows that are not shifted."""
        if not self.intercept:
            return at.intercept
        found = at.intercept - at.coef @ self.shift
        return found - found.mean() if self.k > 1 else found  # the same of all changes nothing

    def shortest(self, at: Point) -> Point:
        """The point with the same predictions and the shortest coefficients.

        Another one only without a penalty, where columns depend on each other: then many points
        are the least, and this is where the least for a penalty goes as that vanishes.
        """
        rows = self.rows
        few = not rows.is_stream and rows.count <= self.d
        if self.l1 > 0 or self.l2 > 0 or not (few or at.flat):
            return at
        offset = at.intercept - at.coef @ self.shift
        found = np.concatenate([predicted(part.X, at.coef, offset) for part in rows.chunks()])
        if not np.isfinite(found).all():
            return at
        if few:
            solution, x_mean, mean = solve.wide(rows, found, self.intercept)
        else:
            products = moments_of(rows, found, centred=self.intercept)
            R = solve.triangular(rows, found, products)
            still = solve.constant_columns(products)
            solution = solve.from_factor(R, self.d, products.count, still)
            if solution.rank == self.d:
                return at
            x_mean, mean = products.x_mean, products.y_mean
        intercept = mean + solution.coef @ (self.shift - x_mean) if self.intercept else at.intercept
        return at._replace(coef=solution.coef, intercept=intercept)

    def changed(self, parameter: float, l2: float) -> Self:
        """The same with another parameter of the loss and another penalty."""
        after = copy.copy(self)
        after.__dict__.pop("_factor", None)
        after.parameter, after.l2 = parameter, l2
        return after

    def evaluated(self, at: Point, second: bool) -> Point:
        """The point with its value and gradient, and its Hessian if asked for."""
        op = glm.hessian if second else glm.gradient
        loss, slope, *more = self.rows.map_reduce(
            op, at.coef, at.intercept, self.shift, self.loss, self.parameter, along=(self.y,)
        )
        slope = np.array(slope)
        if self.l2:
            slope[:, :-1] += self.l2 * at.coef
            if self.factor:
                slope[:, -1] += self.l2 * self.factor**2 * at.intercept
        if not self.intercept:
            slope[:, -1] = 0.0
        hessian = self._hessian(more[0]) if second else None
        value = loss + self.penalty(at)
        return at._replace(value=value, loss=loss, gradient=slope, hessian=hessian)

    def penalty(self, at: Point) -> float:
        """The penalty at a point."""
        flat = at.coef.ravel()
        if self.factor:
            flat = np.append(flat, self.factor * at.intercept)
        sizes = self.l1 * float(np.add.reduce(np.abs(flat))) if self.l1 else 0.0
        return sizes + self.l2 / 2 * float(flat @ flat) if self.l2 else sizes

    @functools.cached_property
    def _l1_of_each(self) -> np.ndarray:
        """The L1 penalty of each parameter (q,)."""
        return np.tile(np.append(np.full(self.d, self.l1), self.l1 * self.factor), self.k)

    def _bends(self) -> np.ndarray:
        """Second derivatives of the L2 penalty by the parameters of an output."""
        return np.append(np.full(self.d, self.l2), self.l2 * self.factor**2)

    def _hessian(self, blocks: np.ndarray) -> np.ndarray:
        """(k, k, d + 1, d + 1) as a matrix, with the L2 penalty and without flat directions."""
        k, columns = self.k, self.d + 1
        H = np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(k * columns, k * columns)
        if k == 1 and self.intercept and not self.l2:
            return H
        diagonal = H.reshape(-1)[:: len(H) + 1]
        if self.l2:
            diagonal += np.tile(self._bends(), k)
        if not self.intercept:
            last = np.arange(self.d, k * columns, columns)
            H[last] = H[:, last] = 0.0
            diagonal[last] = 1.0
        if k > 1:
            # Adding the same to all classes changes nothing: such directions are made steep.
            view = H.reshape(k, columns, k, columns)
            size = diagonal.reshape(k, columns).mean(0)
            those = range(columns) if self.l2 == 0 and self.l1 == 0 else (self.d,)
            for p in those:
                if p < self.d or self.intercept:
                    view[:, p, :, p] += size[p] / k
        return H

    # Steps.

    def advance(self, at: Point, tol: float, ahead: bool = True) -> Step:
        """One step; finished where what is left to gain is below ``tol**2`` units.

        With the Hessian of the point that is reached, where it is needed next, if `ahead`.
        """
        newton = self.newton and at.first is None
        if newton:
            if at.hessian is None:  # the step before was to be the last
                at = self.evaluated(at, True)
            if self.l1 > 0:
                direction, gain = self._model_step(at)
            else:
                direction, gain, flat = _newton_step(at.gradient, at.hessian)
                at = at._replace(flat=True) if flat else at
        else:
            direction, gain = self._quasi_step(at)
        enough = tol * tol * self.unit * self.weight + 4 * _EPS * abs(at.value)
        if not newton and at.first is None:
            enough *= 1e-2  # the last step leaves a large share of the rest
        last = gain <= enough
        if not math.isfinite(gain):
            return Step(at._replace(stuck=True), -at.value, True)
        after = self._moved(at, direction, gain, newton and ahead and not last)
        return Step(after, -after.value, last or after.stuck)

    def _moved(self, at: Point, direction: np.ndarray, gain: float, second: bool) -> Point:
        size = 1.0
        while size >= LEAST_STEP:
            step = direction if size == 1.0 else size * direction
            there = at._replace(coef=at.coef + step[:, :-1], intercept=at.intercept + step[:, -1])
            there = self.evaluated(there, second and size == 1.0)
            bound = at.value - ARMIJO * size * gain + ROUNDING * abs(at.value)
            if there.value <= bound:
                if second and there.hessian is None:
                    there = self.evaluated(there, True)
                return self._remembered(at, there)
            if at.first is not None:  # the sample has missed a direction
                return self.evaluated(at._replace(first=None, history=()), self.newton)
            size /= 2
        return at._replace(stuck=True)

    def _remembered(self, before: Point, after: Point) -> Point:
        if self.newton and before.first is None:
            return after
        if len(before.history) == _HISTORY and before.first is not None:
            return self.evaluated(after._replace(first=None, history=()), self.newton)
        s = self._flat(after.coef, after.intercept) - self._flat(before.coef, before.intercept)
        u = (after.gradient - before.gradient).ravel()
        if s @ u <= 1e-12 * np.sqrt((s @ s) * (u @ u)):
            return after
        return after._replace(history=(*before.history[-_HISTORY + 1 :], (s, u)))

    @staticmethod
    def _flat(coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        both = np.empty((len(coef), coef.shape[1] + 1))
        both[:, :-1], both[:, -1] = coef, intercept
        return both.ravel()

    def _model_step(self, at: Point) -> tuple[np.ndarray, float]:
        """The step to the least of the quadratic model with the L1 penalty, and its gain."""
        k, columns = self.k, self.d + 1
        flat = self._flat(at.coef, at.intercept)
        H, slope, l1 = at.hessian, at.gradient.ravel(), self._l1_of_each
        # The L2 penalty is a part of H and of the gradient already.
        target = H @ flat - slope
        found = _by_signs(H, target, flat, slope, l1) if len(H) <= _FEW else None
        if found is not None:
            step = found - flat
            model = step @ (slope + H @ step / 2)
            gain = -float(model + l1 @ (np.abs(found) - np.abs(flat)))
            return step.reshape(at.gradient.shape), max(gain, 0.0)
        coef, residual, target = flat[:, None].copy(), -slope[:, None], target[:, None]
        gain, tol = np.inf, 1e-3 * self.unit * self.weight
        for _ in range(12):
            coordinate.descent(
                H, target, np.arange(k * columns), coef, residual, l1, np.zeros(k * columns),
                np.inf, -np.inf, 20, False,
            )  # fmt: skip
            step = coef[:, 0] - flat
            model = slope @ step + step @ (H @ step) / 2
            gain = -float(model + (l1 * (np.abs(coef[:, 0]) - np.abs(flat))).sum())
            wrong = np.where(
                coef[:, 0] != 0, np.abs(residual[:, 0] - l1 * np.sign(coef[:, 0])),
                np.maximum(np.abs(residual[:, 0]) - l1, 0.0),
            )  # fmt: skip
            left = (wrong**2 / np.maximum(np.diag(H), 1e-300)).sum() / 2
            if left <= max(1e-3 * gain, 0.0) or left <= 1e-20 * tol:
                break
        return step.reshape(at.gradient.shape), max(gain, 0.0)

    def _quasi_step(self, at: Point) -> tuple[np.ndarray, float]:
        """L-BFGS's direction, and the gain that it promises."""
        q = at.gradient.ravel()
        rates = []
        first = functools.partial(self._first, factor=at.first)
        for s, u in reversed(at.history):
            rate = (s @ q) / (s @ u)
            rates.append(rate)
            q = q - rate * u
        if at.history:
            s, u = at.history[-1]
            size = 1.0 if at.first is not None else (s @ u) / (u @ first(u))
            q = first(q) * size
        else:
            q = first(q)
        for (s, u), rate in zip(at.history, reversed(rates), strict=True):
            q = q + s * (rate - (u @ q) / (s @ u))
        return -q.reshape(at.gradient.shape), float(q @ at.gradient.ravel()) / 2

    def _first(self, slope: np.ndarray, factor: Any) -> np.ndarray:
        """The inverse of the first matrix of L-BFGS times a vector."""
        if factor is not None:
            return scipy.linalg.cho_solve(factor, slope, check_finite=False)
        if self._factor is not None:
            columns = slope.reshape(self.k, -1).T
            return scipy.linalg.cho_solve(self._factor, columns, check_finite=False).T.ravel()
        scale = np.append(self._scale, 1.0)
        size = self.unit * self.weight * scale * scale
        return slope / np.tile(np.maximum(size + self.l2, 1e-300), self.k)


def _squares(X: Any, shift: np.ndarray, sample_weight: Any = None) -> np.ndarray:
    w = np.ones(X.shape[0]) if sample_weight is None else np.asarray(sample_weight, dtype="f8")
    if is_sparse(X):
        squares = np.asarray(X.multiply(X).T @ w).ravel()
        return squares - 2 * shift * np.asarray(X.T @ w).ravel() + w.sum() * shift**2
    total = np.zeros(X.shape[1])
    for i in range(0, len(X), 4096):
        z = X[i : i + 4096] - shift
        total += w[i : i + 4096] @ (z * z)
    return total
