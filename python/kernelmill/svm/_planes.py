"""The problems of linear machines, and what their solvers have in common.

For each class against the others, or for one target, minimised is

    1/2 |w|^2 + 1/2 (b / s)^2 + sum_i C_i l(y_i, w.x_i + b)

or, with an L1 penalty, ``|w|_1 + |b| / s + sum_i C_i l``, over w and b, with the `scaling` s of the
intercept: infinity for one without a penalty, 0 for none. See docs/kernel-methods.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator._climb import Step
from kernelmill._estimator._rows import Rows

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Planes:
    """The problems of one fit.

    Attributes
    ----------
    rows : Rows
    y : ndarray of shape (n,), float64
        1 and -1, or numbers, of one problem; numbers of classes if there are several.
    price : ndarray of shape (n,), float64
        C times the weights of the rows.
    positive : ndarray of shape (k,)
        Factors of the prices of rows with positive targets.
    loss : str
        One of `ops.coordinate.LOSSES`.
    epsilon : float
    l1 : bool
        Whether the penalty is L1.
    scaling : float
        s.
    tol : float
        The gap that ends a fit, as a share of the objective.
    max_iter : int
    seed : int
    """

    rows: Rows
    y: np.ndarray
    price: np.ndarray
    positive: np.ndarray
    loss: str
    epsilon: float
    l1: bool
    scaling: float
    tol: float
    max_iter: int
    seed: int

    @property
    def k(self) -> int:
        """Number of problems."""
        return len(self.positive)

    @property
    def smooth(self) -> bool:
        """Whether the loss has a derivative."""
        return self.loss.startswith("squared")

    @property
    def classes(self) -> bool:
        """Whether targets are classes."""
        return self.loss.endswith("hinge")

    def target(self, c: int) -> np.ndarray:
        """Targets of a problem."""
        return self.y if self.k == 1 else np.where(self.y == c, 1.0, -1.0)

    def prices(self, c: int) -> np.ndarray:
        """Prices of a problem."""
        factor = self.positive[c]
        return self.price if factor == 1 else np.where(self.target(c) > 0, factor, 1.0) * self.price


@dataclass(frozen=True)
class Plane:
    """A solution: ``coef.x + intercept``, its objective, the gap to the least, and its steps."""

    coef: np.ndarray
    intercept: float
    objective: float
    gap: float
    steps: int
    converged: bool


class Solver(Protocol):
    """What `climb` needs of a solver, and how its state is read."""

    def begin(self) -> Any:
        """The first state."""

    def advance(self, state: Any, most: int) -> Step:
        """One step, or more."""

    def planes(self, state: Any) -> list[Plane]:
        """The solutions so far."""


@dataclass(frozen=True)
class Stage:
    """Where a solver stands that takes one problem after the other; never changed in place."""

    points: tuple
    steps: tuple[int, ...]
    done: tuple[bool, ...]  # converged, out of steps, or stuck
    met: tuple[bool, ...]  # whether the tolerance was met


class OneByOne:
    """Base of solvers that take one problem after the other.

    A subclass makes the first point of a problem and steps from point to point.
    """

    def __init__(self, planes: Planes) -> None:
        self.given = planes

    def start(self, c: int) -> Any:
        """The first point of a problem."""
        raise NotImplementedError

    def step(self, c: int, point: Any) -> tuple[Any, bool]:
        """The next point, and whether there is no better one."""
        raise NotImplementedError

    def read(self, c: int, point: Any) -> tuple[np.ndarray, float, float, float]:
        """Coefficients, intercept, objective and gap of a point."""
        raise NotImplementedError

    def begin(self) -> Stage:
        """The first points of all problems."""
        k = self.given.k
        points = tuple(self.start(c) for c in range(k))
        # No tolerance for zeros: just above the least C with a feature they are nearly as good.
        read = (self.read(c, point)[2:] for c, point in enumerate(points))
        met = tuple(bool(gap <= _ROUNDING * objective) for objective, gap in read)
        return Stage(points, (0,) * k, met, met)

    def met(self, c: int, point: Any) -> bool:
        """Whether the tolerance is met."""
        _, _, objective, gap = self.read(c, point)
        return bool(gap <= self.given.tol * objective)

    def advance(self, state: Stage, most: int) -> Step:
        """One step of the first problem that goes on."""
        if all(state.done):
            return Step(state, None, True, 1)
        c = state.done.index(False)
        point, ended = self.step(c, state.points[c])
        met = self.met(c, point)
        steps = state.steps[c] + 1
        ended = ended or met or steps >= self.given.max_iter

        def put(values: tuple, value: Any) -> tuple:
            return (*values[:c], value, *values[c + 1 :])

        after = Stage(
            put(state.points, point), put(state.steps, steps), put(state.done, ended),
            put(state.met, met),
        )  # fmt: skip
        objective = -self.read(c, point)[2]
        return Step(after, objective, all(after.done), 1)

    def planes(self, state: Stage) -> list[Plane]:
        """The solutions so far."""
        found = zip(state.points, state.steps, state.met, strict=True)
        return [
            Plane(*self.read(c, point), steps=max(1, steps), converged=met)
            for c, (point, steps, met) in enumerate(found)
        ]


def squares(X: Any) -> np.ndarray:
    """``|x|^2`` of all rows, float64; repeated columns of a CSR matrix must have been added up."""
    if is_sparse(X):
        n = X.shape[0]
        own = np.repeat(np.arange(n), np.diff(X.indptr))
        return np.bincount(own, X.data.astype(np.float64) ** 2, n)
    return np.einsum("ij,ij->i", X, X, dtype=np.float64)
