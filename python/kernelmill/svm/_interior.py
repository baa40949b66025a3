"""Linear machines with a loss that has kinks, by a primal-dual interior point method.

A row has one piece of loss ``C max(0, c - t p)`` for a class (t = y, c = 1) and two for a number
(t = 1, c = y - epsilon; t = -1, c = -y - epsilon). With multipliers ``0 <= a <= C`` of the pieces,
``z`` of the lower and the losses ``e`` of the upper bound, and ``R = diag(1, ..., 1, 1 / s^2)``,
the conditions of the optimum u = (w, b) are

    R u = sum t a (x, 1)        t p - c = z - e        a z = 0        (C - a) e = 0

Newton's steps towards a z = (C - a) e = m, with m ever smaller, need one matrix a step:
``R + sum (x, 1)(x, 1)' / D`` with ``D = z / a + e / (C - a)``. See Mehrotra (1992), "On the
implementation of a primal-dual interior point method", and Ferris and Munson (2002),
"Interior-point methods for massive support vector machines".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from kernelmill._estimator._moments import pilot, sums
from kernelmill.linear_model._regression import predicted
from kernelmill.ops import moments
from kernelmill.svm._planes import OneByOne, Planes

_SHORT = 0.995  # of the way to a bound
_ROUNDING = 1e-14


@dataclass(frozen=True)
class Inner:
    """A point inside the bounds; never changed in place. Pieces are (1 or 2, n)."""

    u: np.ndarray  # (d + 1,), b about the shift
    p: np.ndarray  # (n,)
    a: np.ndarray
    z: np.ndarray
    e: np.ndarray
    lacking: np.ndarray  # (d + 1,), sum t a (x, 1) - R u


def _gram(X: Any, weight: np.ndarray, origin: np.ndarray, sample_weight: Any = None) -> np.ndarray:
    return moments.products(X, np.empty((X.shape[0], 0)), origin, weight.astype(X.dtype))


class Interior(OneByOne):
    """The method, one problem after the other."""

    def __init__(self, planes: Planes) -> None:
        super().__init__(planes)
        rows, self.used = planes.rows, planes.price > 0
        d, s = rows.n_features, planes.scaling
        self.shift = np.zeros(d)
        if s == np.inf:  # then moving all rows changes nothing
            first = rows if not rows.is_stream else next(iter(rows.chunks()))
            self.shift = pilot(first.X, first.weight)
        self.intercept = s > 0
        self.top = float(planes.price.max() * max(1.0, planes.positive.max()))
        self.R = np.append(np.ones(d), 1 / s**2 if s > 0 else 1.0) / self.top

    def pieces(self, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Signs t, constants c and prices, shares of the largest, of all pieces, (1 or 2, n)."""
        y, price = self.given.target(c), self.given.prices(c)[None] / self.top
        if self.given.classes:
            return y[None], np.ones((1, len(y))), price
        eps = self.given.epsilon
        return np.array([[1.0], [-1.0]]), np.stack([y - eps, -y - eps]), np.vstack([price, price])

    def start(self, c: int) -> Inner:
        """Multipliers in the middle, and w = 0."""
        t, constants, price = self.pieces(c)
        u, p = np.zeros(len(self.R)), np.zeros(len(self.used))
        if not self.given.classes and self.intercept:
            u[-1] = p[:] = float(np.median(self.given.y[self.used]))
        slack = t * p - constants
        size = float(np.abs(slack[:, self.used]).mean())
        size = size if size > 0 else 1.0
        z, e = size + np.maximum(slack, 0.0), size + np.maximum(-slack, 0.0)
        a = price / 2
        return Inner(u, p, a, z, e, self.sums((t * a).sum(0)) - self.R * u)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """``sum v (x - shift, 1)``; without an intercept the last is 0."""
        found = self.given.rows.map_reduce(sums, along=(values,))
        found = np.append(found[:-1] - self.shift * found[-1], found[-1])
        found[-1] *= self.intercept
        return found

    def product(self, u: np.ndarray) -> np.ndarray:
        """``(x - shift, 1).u`` of all rows."""
        last = np.atleast_1d(u[-1] * self.intercept - u[:-1] @ self.shift)
        return self.given.rows.map(predicted, u[None, :-1], last).ravel()

    def step(self, c: int, point: Inner) -> tuple[Inner, bool]:
        """Predictor and corrector."""
        t, constants, price = self.pieces(c)
        a, z, e = point.a, point.z, point.e
        used = np.broadcast_to(self.used, a.shape)
        rest = price - a
        with np.errstate(all="ignore"):
            D = np.where(used, z / a + e / rest, np.inf)
            solve = self._solver((1 / D).sum(0))
            off = -(t * point.p - constants - z + e)
            mu = float((a * z)[used].sum() + (rest * e)[used].sum()) / (2 * max(1, used.sum()))

            def towards(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
                """Directions that bring a z and (C - a) e to change by these."""
                q = np.where(used, off + first / a - second / rest, 0.0)
                u = solve(point.lacking + self.sums((t * q / D).sum(0)))
                p = self.product(u)
                da = np.where(used, (q - t * p) / D, 0.0)
                return u, p, da, (first - z * da) / a, (second + e * da) / rest

            _, _, da, dz, de = towards(-a * z, -rest * e)
            way = self._way(used, (a, da), (rest, -da), (z, dz), (e, de))
            there = float(((a + way * da) * (z + way * dz))[used].sum())
            there += float(((rest - way * da) * (e + way * de))[used].sum())
            aim = mu * (there / (2 * max(1, used.sum())) / mu) ** 3 if mu > 0 else 0.0
            u, p, da, dz, de = towards(aim - a * z - da * dz, aim - rest * e + da * de)
            way = min(1.0, _SHORT * self._way(used, (a, da), (rest, -da), (z, dz), (e, de)))
        u, a = point.u + way * u, a + way * da
        after = Inner(
            u, point.p + way * p, a, np.where(used, z + way * dz, z),
            np.where(used, e + way * de, e), self.sums((t * a).sum(0)) - self.R * u,
        )  # fmt: skip
        good = all(np.isfinite(v).all() for v in (after.u, after.a, after.z, after.e))
        return (after, way < 1e-10) if good else (point, True)

    @staticmethod
    def _way(used: np.ndarray, *pairs: tuple[np.ndarray, np.ndarray]) -> float:
        """How far all of the first may go along the second and stay above 0, at most 1."""
        most = 1.0
        for value, change in pairs:
            falls = used & (change < 0)
            if falls.any():
                most = min(most, float((value[falls] / -change[falls]).min()))
        return most

    def _solver(self, weight: np.ndarray) -> Any:
        """What solves ``(R + sum weight (x, 1)(x, 1)') u = right``."""
        top = float(weight.max())
        top = top if 0 < top < np.inf else 1.0  # in units of it squares of large rows stay finite
        H = np.array(self.given.rows.map_reduce(_gram, self.shift, along=(weight / top,)))
        if not self.intercept:
            H[-1] = H[:, -1] = 0.0
        H.flat[:: len(H) + 1] += self.R / top
        scale = 1 / np.sqrt(np.diag(H))
        K = H * np.multiply.outer(scale, scale)
        try:
            factor = scipy.linalg.cho_factor(K, lower=True, check_finite=False)
            return lambda right: (
                scale * scipy.linalg.cho_solve(factor, scale * (right / top), check_finite=False)
            )
        except scipy.linalg.LinAlgError:
            values, vectors = scipy.linalg.eigh(K, check_finite=False)
            kept = values > values[-1] * 1e-15 * len(values)
            vectors = vectors[:, kept]
            inverse = vectors / values[kept]
            return lambda right: scale * (inverse @ (vectors.T @ (scale * (right / top))))

    def met(self, c: int, point: Inner) -> bool:
        """Whether the tolerance is met, or the gap is the rounding of its terms: it may be 0."""
        if super().met(c, point):
            return True
        _, constants, price = self.pieces(c)
        gap = self.read(c, point)[3]
        return bool(gap <= _ROUNDING * self.top * float((price * np.abs(constants)).sum()))

    def read(self, c: int, point: Inner) -> tuple[np.ndarray, float, float, float]:
        """The gap of u and the multipliers, from products that the step has made."""
        t, constants, price = self.pieces(c)
        over = np.maximum(constants - t * point.p, 0.0)
        objective = float(point.u @ (self.R * point.u)) / 2 + float((price * over).sum())
        dual = self.R * point.u + point.lacking  # sum t a (x, 1)
        bends = np.where(self.R > 0, self.R, 1.0)
        norm = float((dual * dual / bends)[self.R > 0].sum()) / 2
        gap = objective + norm - float((point.a * constants).sum())
        if self.R[-1] == 0:  # the sum is to be 0: it costs what the intercept may have to move
            gap += abs(float(dual[-1])) * (abs(float(point.u[-1])) + float(over.max()))
        if not self.intercept:
            return point.u[:-1], 0.0, objective * self.top, max(gap, 0.0) * self.top
        moved = float(point.u[-1] - point.u[:-1] @ self.shift)
        return point.u[:-1], moved, objective * self.top, max(gap, 0.0) * self.top
