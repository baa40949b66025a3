"""Linear machines by dual coordinate descent: for many features, dense or CSR.

`ops.coordinate.dual` has all classes see a row together. An intercept without a penalty would tie all
multipliers together, by a sum of 0. It has one about where it is instead, again and again: the
method of proximal points, whose stages have ``(b - b0)^2 / (2 s^2)`` and end at the same optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelmill._estimator._climb import Step
from kernelmill._estimator._random import generator
from kernelmill.ops import coordinate as ops
from kernelmill.svm._planes import Plane, Planes, squares

_COLUMN = {name: i for i, name in enumerate(ops.STATE)}
_WIDTH = 8  # problems of a block, where there are several
_DRAWN = 1 << 20  # numbers of rows that are drawn at a time, at most 32 orders
_WORK = 5e7  # stored values of one call of the op, about 100 ms


@dataclass(frozen=True)
class Dual:
    """Where the descent stands; never changed in place."""

    weights: np.ndarray  # (blocks, d, width)
    beta: np.ndarray
    settled: np.ndarray
    state: np.ndarray
    epochs: int = 0

    def column(self, name: str) -> np.ndarray:
        """One column of the state of all problems, those that fill a block included."""
        return self.state[:, :, _COLUMN[name]].ravel()


class Descent:
    """Epochs of all problems of a fit, side by side."""

    def __init__(self, planes: Planes, shrinking: bool = True) -> None:
        self.given = planes
        X = planes.rows.X
        self.squares, self.price, self.y = squares(X), planes.price, planes.y
        self.places = np.flatnonzero(planes.price > 0)
        self.constant = planes.scaling
        if planes.scaling == np.inf:
            mean = float(np.average(self.squares, weights=planes.price))
            self.constant = mean**0.5 if mean > 0 else 1.0
        self.settings = np.array([
            ops.LOSSES.index(planes.loss), planes.epsilon, self.constant, planes.tol,
            planes.k > 1, shrinking,
        ], dtype=np.float64)  # fmt: skip
        stored = X.nnz if hasattr(X, "nnz") else X.size
        self.cost = max(1, stored) * planes.k
        self._drawn: tuple[int, Any] = (-1, None)

    def begin(self) -> Dual:
        """Zeros."""
        k, (n, d) = self.given.k, self.given.rows.X.shape
        width = 1 if k == 1 else _WIDTH
        blocks = -(-k // width)
        state = np.zeros((blocks * width, len(ops.STATE)))
        state[:, _COLUMN["positive"]] = 1.0
        state[:k, _COLUMN["positive"]] = self.given.positive
        state[:, _COLUMN["violation"]] = np.inf
        state[k:, _COLUMN["finished"]] = 1.0
        if not self.given.classes and self.constant > 0:
            state[:, _COLUMN["offset"]] = self._middle()
        return Dual(
            np.zeros((blocks, d, width)), np.zeros((blocks, n, width)),
            np.zeros((blocks, n), np.uint8), state.reshape(blocks, width, len(ops.STATE)),
        )  # fmt: skip

    def _middle(self) -> float:
        """Where an intercept without a penalty starts."""
        return float(np.median(self.y[self.places])) if self.given.scaling == np.inf else 0.0

    def _order(self, epoch: int, most: int) -> np.ndarray:
        """Orders of the rows for the next epochs, the same however many are asked for."""
        n = max(1, len(self.places))
        block = max(1, min(32, _DRAWN // n))
        if self._drawn[0] != epoch // block:
            draws = generator(self.given.seed, 2 + epoch // block)
            drawn = draws.permuted(np.tile(self.places, (block, 1)), axis=1)
            self._drawn = epoch // block, drawn
        begin = epoch % block
        return self._drawn[1][begin : begin + max(1, min(most, block - begin))]

    def advance(self, before: Dual, most: int) -> Step:
        """Some epochs, about 100 ms."""
        after = replace(
            before, weights=before.weights.copy(), beta=before.beta.copy(),
            settled=before.settled.copy(), state=before.state.copy(),
        )  # fmt: skip
        left = int(self.given.max_iter) - before.epochs
        order = self._order(before.epochs, max(1, min(most, left, int(_WORK / self.cost) + 1)))
        taken = ops.dual(
            self.given.rows.X, self.y, self.price, self.squares, order, after.weights, after.beta,
            after.settled, after.state, self.settings,
        )  # fmt: skip
        if self.given.scaling == np.inf:
            self._move(after)
        finished = bool(after.column("finished").all())
        objective = -float(after.column("objective")[: self.given.k].sum())
        after = replace(after, epochs=before.epochs + max(1, taken))
        ended = finished or after.epochs >= self.given.max_iter
        return Step(after, objective, ended, max(1, taken))

    def _move(self, after: Dual) -> None:
        """Begin the next stage of problems whose intercept is still on its way."""
        state = after.state.reshape(-1, len(ops.STATE))
        for c in range(self.given.k):
            one = state[c]
            pull = float(one[_COLUMN["intercept"]])
            if not one[_COLUMN["finished"]]:
                continue
            if pull * pull / 2 <= self.given.tol * one[_COLUMN["objective"]]:
                continue
            one[_COLUMN["offset"]] += self.constant * pull
            one[_COLUMN["finished"]] = one[_COLUMN["kept"]] = 0.0
            one[_COLUMN["violation"]] = np.inf
            after.settled[c // after.weights.shape[2]] = 0

    def planes(self, state: Dual) -> list[Plane]:
        """The solutions so far."""
        if not state.column("finished").all():  # the gaps of the last epoch are estimates
            state = self._judged(state)
        blocks, d, width = state.weights.shape
        weights = state.weights.transpose(0, 2, 1).reshape(blocks * width, d)
        pull = state.column("intercept")
        found = self.constant * pull + state.column("offset")
        free = self.given.scaling == np.inf
        objective, gap = state.column("objective"), state.column("gap")
        met = gap <= self.given.tol * objective
        return [
            Plane(
                weights[c], float(found[c]), float(objective[c] - free * pull[c] ** 2 / 2),
                float(max(gap[c], 0.0) + free * pull[c] ** 2 / 2),
                max(1, int(state.column("epochs")[c])), bool(met[c]),
            )
            for c in range(self.given.k)
        ]  # fmt: skip

    def _judged(self, state: Dual) -> Dual:
        """The same with exact gaps: an epoch without rows whose tolerance is without a limit."""
        copies = (state.weights, state.beta, state.settled.copy(), state.state.copy())
        settings = self.settings.copy()
        settings[ops.SETTINGS.index("tol")] = np.finfo(np.float64).max
        epochs = copies[3][..., _COLUMN["epochs"]].copy()
        order = np.zeros((1, 0), dtype=np.int64)
        ops.dual(
            self.given.rows.X, self.y, self.price, self.squares, order, *copies, settings
        )  # fmt: skip
        copies[3][..., _COLUMN["epochs"]] = epochs
        return replace(state, state=copies[3])
