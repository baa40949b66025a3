"""Linear machines by dual coordinate descent: for many features, dense or CSR.

`ops.coordinate.dual` has all classes see a row together. An intercept without a penalty would tie
all multipliers together, by a sum of 0. It has one about where it is instead, again and again: the
method of proximal points, whose stages have ``(b - b0)^2 / (2 s^2)`` and end at the same optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator._climb import Step
from kernelmill._estimator._random import generator
from kernelmill.ops import coordinate as ops
from kernelmill.svm._planes import Plane, Planes, squares

_COLUMN = {name: i for i, name in enumerate(ops.STATE)}
_JOINT = {name: i for i, name in enumerate(ops.JOINT_STATE)}
_WIDTH = 8  # problems of a block, where there are several
# Epochs in blocks before problems of bounded multipliers go on one by one. A row rests in a block
# only where it rests for all eight: on texts of 20 classes 0.76 of them were still visited at the
# end, and 0.2 for each class alone, where an epoch of all rows costs twice as much.
_EPOCHS_IN_BLOCKS = 6
_DRAWN = 1 << 20  # numbers of rows that are drawn: 4 to 32 orders, in turn
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


class Epochs:
    """Orders of the rows, and how many epochs make a slice."""

    def __init__(self, planes: Planes) -> None:
        self.given = planes
        X = planes.rows.X
        self.X, self.y, self.price, self.squares = X, planes.y, planes.price, squares(X)
        self.places = np.flatnonzero(planes.price > 0)
        self.constant = planes.scaling
        if planes.scaling == np.inf:
            mean = float(np.average(self.squares, weights=planes.price))
            self.constant = mean**0.5 if mean > 0 else 1.0
        stored = X.nnz if is_sparse(X) else X.size
        self.cost = max(1, stored) * planes.k
        self._drawn: Any = None

    def order(self, epoch: int, most: int) -> np.ndarray:
        """Orders of the next epochs, about 100 ms; the same however many are asked for."""
        if self._drawn is None:
            count = max(4, min(32, _DRAWN // max(1, len(self.places))))
            draws = generator(self.given.seed, 2)
            self._drawn = draws.permuted(np.tile(self.places, (count, 1)), axis=1)
        most = min(most, int(self.given.max_iter) - epoch, int(_WORK / self.cost) + 1)
        begin = epoch % len(self._drawn)
        return self._drawn[begin : begin + max(1, most)]


class Descent(Epochs):
    """Epochs of all problems of a fit, side by side."""

    def __init__(self, planes: Planes, shrinking: bool = True) -> None:
        super().__init__(planes)
        self.settings = np.array([
            ops.LOSSES.index(planes.loss), planes.epsilon, self.constant, planes.tol,
            planes.k > 1, shrinking,
        ], dtype=np.float64)  # fmt: skip

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

    def advance(self, before: Dual, most: int) -> Step:
        """Some epochs, about 100 ms."""
        in_blocks = before.weights.shape[2] > 1 and not self.given.smooth
        if in_blocks and before.epochs >= _EPOCHS_IN_BLOCKS:
            after, in_blocks = self._apart(before), False
        else:
            after = replace(
                before, weights=before.weights.copy(), beta=before.beta.copy(),
                settled=before.settled.copy(), state=before.state.copy(),
            )  # fmt: skip
        if in_blocks:
            most = min(most, _EPOCHS_IN_BLOCKS - before.epochs)
        order = self.order(before.epochs, most)
        taken = ops.dual(
            self.X, self.y, self.price, self.squares, order, after.weights, after.beta,
            after.settled, after.state, self.settings,
        )  # fmt: skip
        if self.given.scaling == np.inf:
            self._move(after)
        finished = bool(after.column("finished").all())
        objective = -float(after.column("objective")[: self.given.k].sum())
        after = replace(after, epochs=before.epochs + max(1, taken))
        ended = finished or after.epochs >= self.given.max_iter
        return Step(after, objective, ended, max(1, taken))

    def _apart(self, state: Dual) -> Dual:
        """The same problems in blocks of one, with all rows to visit; a copy."""
        k = self.given.k

        def alone(blocks: np.ndarray) -> np.ndarray:
            each = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:k]
            return np.array(each[:, :, None], order="C")

        records = state.state.reshape(-1, 1, len(ops.STATE))[:k].copy()
        records[:, :, _COLUMN["kept"]] = 0.0
        settled = np.zeros((k, state.settled.shape[1]), np.uint8)
        return replace(
            state, weights=alone(state.weights), beta=alone(state.beta), settled=settled,
            state=records,
        )  # fmt: skip

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
            self.X, self.y, self.price, self.squares, order, *copies, settings
        )  # fmt: skip
        copies[3][..., _COLUMN["epochs"]] = epochs
        return replace(state, state=copies[3])


@dataclass(frozen=True)
class Together:
    """Where the descent of a joint machine stands; never changed in place."""

    weights: np.ndarray  # (blocks, d, 8)
    intercepts: np.ndarray
    beta: np.ndarray
    settled: np.ndarray
    state: np.ndarray

    def value(self, name: str) -> float:
        """One entry of the state."""
        return float(self.state[_JOINT[name]])


class Joint(Epochs):
    """One machine for all classes."""

    def begin(self) -> Together:
        """Zeros."""
        k, (n, d) = self.given.k, self.X.shape
        state = np.zeros(len(ops.JOINT_STATE))
        state[_JOINT["violation"]] = np.inf
        blocks = -(-k // _WIDTH)
        return Together(
            np.zeros((blocks, d, _WIDTH)), np.zeros(k), np.zeros((n, k)), np.zeros(n, np.uint8),
            state,
        )  # fmt: skip

    def _run(self, after: Together, order: np.ndarray, tol: float) -> int:
        return ops.joint(
            self.X, self.y, self.price, self.squares, order, after.weights, after.intercepts,
            after.beta, after.settled, after.state, self.constant, tol, True,
        )  # fmt: skip

    def advance(self, before: Together, most: int) -> Step:
        """Some epochs, about 100 ms."""
        arrays = (before.weights, before.intercepts, before.beta, before.settled, before.state)
        after = Together(*(array.copy() for array in arrays))
        taken = self._run(after, self.order(int(before.value("epochs")), most), self.given.tol)
        ended = after.value("finished") or after.value("epochs") >= self.given.max_iter
        return Step(after, -after.value("objective"), bool(ended), max(1, taken))

    def planes(self, state: Together) -> list[Plane]:
        """The planes so far; the gap of all is that of the first."""
        if not state.value("finished"):  # the gap of the last epoch is an estimate
            judged = replace(state, settled=state.settled.copy(), state=state.state.copy())
            order = np.zeros((1, 0), dtype=np.int64)
            self._run(judged, order, float(np.finfo(np.float64).max))
            judged.state[_JOINT["epochs"]] -= 1
            state = judged
        k, d = self.given.k, self.X.shape[1]
        weights = state.weights.transpose(0, 2, 1).reshape(-1, d)[:k]
        objective, gap = state.value("objective"), max(state.value("gap"), 0.0)
        met, steps = gap <= self.given.tol * objective, max(1, int(state.value("epochs")))
        return [
            Plane(
                weights[c], float(self.constant * state.intercepts[c]), objective, gap, steps, met
            )
            for c in range(k)
        ]
