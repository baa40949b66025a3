"""Linear machines with a squared loss, by Newton's method in w, or L-BFGS where it is wide.

The loss is made of pieces of parabolas, so Newton's method ends after finitely many steps. With
``strength = 1 / C``, the objective of `linear_model._newton` is that of the machine over C.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from kernelmill._estimator._rows import Rows
from kernelmill.linear_model._logistic import working_step
from kernelmill.linear_model._newton import Objective, Point
from kernelmill.svm._planes import OneByOne, Planes


@dataclass(frozen=True)
class Reached:
    """A point, the largest dual objective so far, and whether steps promise nothing more."""

    at: Point
    bound: float
    settled: bool = False


class Primal(OneByOne):
    """Newton's method, one problem after the other."""

    def __init__(self, planes: Planes) -> None:
        super().__init__(planes)
        self.top = float(planes.price.max())  # the unit of prices
        self.objectives: list[Objective] = []
        own = self._priced(planes.price)
        for c in range(planes.k):
            if (planes.positive != 1).any():
                own = self._priced(planes.prices(c))
            s, strength = planes.scaling, 1 / self.top
            self.objectives.append(
                Objective(
                    own, planes.target(c), planes.loss,
                    l1=strength if planes.l1 else 0.0, l2=0.0 if planes.l1 else strength,
                    intercept=s > 0, parameter=planes.epsilon,
                    intercept_factor=1 / s if s > 0 else 0.0,
                )
            )  # fmt: skip

    def _priced(self, price: np.ndarray) -> Rows:
        """The rows with shares of the largest price as weights; a stream has weights of its own."""
        rows = self.given.rows
        weights = rows.all_weights() if rows.is_stream else None
        if weights is not None:
            price = np.divide(price, weights, out=np.zeros_like(price), where=weights > 0)
        return rows.weighted(price / self.top)

    def start(self, c: int) -> Reached:
        """Zeros."""
        return self._reached(c, self.objectives[c].start(), -np.inf)

    def step(self, c: int, point: Reached) -> tuple[Reached, bool]:
        """Newton's step, or that of a working set of features."""
        objective, at = self.objectives[c], point.at
        # With an L1 penalty and features that depend on each other the bound may stay loose: a step
        # that promises less than a hundredth of the tolerance is the last one, too.
        enough = self.given.tol * at.value / 100 / objective.weight if self.given.l1 else 0.0
        if objective.l1 > 0 and not objective.newton:
            found = working_step(objective, at, enough**0.5)
        else:
            found = objective.advance(at, enough**0.5)
        after = self._reached(c, found.state._replace(stuck=False), point.bound)
        settled = self.given.l1 and found.finished and not found.state.stuck
        return replace(after, settled=settled), settled or bool(found.state.stuck)

    def met(self, c: int, point: Reached) -> bool:
        """Whether the tolerance is met."""
        return point.settled or super().met(c, point)

    def read(self, c: int, point: Reached) -> tuple[np.ndarray, float, float, float]:
        """Primal minus dual objective; see docs/kernel-methods.md."""
        objective, at = self.objectives[c], point.at
        intercept = float(objective.intercepts(at)[0]) if objective.intercept else 0.0
        gap = max(at.value - point.bound, 0.0)
        return at.coef[0], intercept, at.value * self.top, gap * self.top

    def _reached(self, c: int, at: Point, before: float) -> Reached:
        objective = self.objectives[c]
        bound = self._dual_of_sizes(objective, at) if self.given.l1 else self._dual(objective, at)
        return Reached(at, max(bound, before))

    @staticmethod
    def _dual(objective: Objective, at: Point) -> float:
        """The dual objective of the slopes of the losses: the gradient is all that it lacks."""
        slope, last = at.gradient[0, :-1], float(at.gradient[0, -1])
        gap = float(slope @ slope) / (2 * objective.l2)
        if objective.intercept:
            bend = objective.l2 * objective.factor**2
            if bend > 0:
                gap += last * last / (2 * bend)
            else:  # its slope is to be 0, and costs what the intercept may have to move
                way = abs(float(at.intercept[0])) + (at.loss / objective.weight) ** 0.5
                gap += abs(last) * way
        return at.value - gap

    @staticmethod
    def _dual_of_sizes(objective: Objective, at: Point) -> float:
        """The same with an L1 penalty, where slopes of features must be within its bounds.

        Newton's step in w, without a penalty, takes off what is beyond; a common factor does the
        rest.
        """
        bounds = np.append(np.full(objective.d, objective.l1), objective.l1 * objective.factor)
        if not objective.intercept:
            bounds[-1] = np.inf
        elif objective.factor == 0:
            bounds[-1] = 1e-9 * objective.weight  # zero but for rounding
        excess = at.gradient[0] - np.clip(at.gradient[0], -bounds, bounds)
        if at.hessian is not None and excess.any():
            H = at.hessian.copy()
            H.flat[:: len(H) + 1] *= 1 + 1e-9
            try:
                step = scipy.linalg.solve(H, -excess, assume_a="pos", check_finite=False)
            except scipy.linalg.LinAlgError:
                step = np.zeros(len(H))
            moved = at._replace(coef=at.coef + step[None, :-1], intercept=at.intercept + step[-1:])
            at = objective.evaluated(moved, False)
        flat = np.append(at.coef[0], at.intercept)
        total = 2 * at.loss - float(at.gradient[0] @ flat)
        with np.errstate(divide="ignore"):
            share = float(np.min(np.where(
                np.abs(at.gradient[0]) > bounds, bounds / np.abs(at.gradient[0]), 1.0
            )))  # fmt: skip
        best = total / (2 * at.loss) if at.loss > 0 else 1.0
        share = min(share, max(best, 0.0))
        return share * total - share * share * at.loss
