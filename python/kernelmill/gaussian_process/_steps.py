"""Stochastic steps of the variational bound, on batches of rows.

A step on b of n rows takes q along its natural gradient by a share rho, and kernel, noise and
inducing inputs by Adam, both by the bound's estimate from the batch (see `_bound`) at what was
before the step, so that its gradients are unbiased.

**Rows that q remembers.** Steps of share rho make q a weighted mean of what batches say. Weights
w_j that add up to 1 tell as much as ``N = 1 / sum_j w_j^2`` rows of one weight do, so that

    1 / N' = (1 - rho)^2 / N + rho^2 / b.

It is largest, N + b, for ``rho = b / (N + b)``: with hyperparameters that do not move, q is then
that of all rows so far. What earlier batches said is out of date where they do, so rho is at
least `natural_step`; N then ends at ``b (2 - rho) / rho``. A stream, whose n is not known, has
this N for n, and the data's part of q is scaled with it; a fit knows n.

**When to end.** A window of a pass, or of 50 steps if those are more, has a mean of the bound's
estimates. When it has not risen by 1e-4 for each target, learning rate and natural step are
halved; after the fifth time the fit ends.

Hensman, Fusi and Lawrence (2013), "Gaussian processes for big data".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelmill._estimator._climb import Step
from kernelmill._estimator._patience import Patience
from kernelmill._estimator._random import generator
from kernelmill._estimator._rows import Rows
from kernelmill.gaussian_process import _factor
from kernelmill.gaussian_process._bound import Bound, Coordinates, Data, Gaussian
from kernelmill.ops import optim

_HALVINGS = 5
_WINDOW = 50  # steps
_TOL = 1e-4  # of the bound for each target: a gain of less changes no prediction that can be seen


@dataclass(frozen=True)
class State:
    """Where the steps have led; never changed in place."""

    theta: np.ndarray  # of `Coordinates`
    q: Gaussian
    moments: tuple[np.ndarray, np.ndarray]  # of Adam
    rows: float = 0.0  # N
    steps: int = 0
    passes: int = 0
    halvings: int = 0
    values: list[float] = field(default_factory=list)  # of the window
    patience: Patience = field(default_factory=lambda: Patience(1.0, _TOL))

    def plain(self) -> dict[str, Any]:
        """The state in arrays, numbers and lists, for a file."""
        known = {k: v for k, v in vars(self).items() if k not in ("q", "patience")}
        return {**known, "q": tuple(self.q), "patience": vars(self.patience)}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> State:
        """From `plain`."""
        q, patience = Gaussian(*plain["q"]), Patience(**plain["patience"])
        return cls(**{**plain, "q": q, "patience": patience})


def begin(coordinates: Coordinates, targets: int) -> State:
    """The state before the first step: q is the prior."""
    m, theta = len(coordinates.Z), coordinates.start
    theta = np.clip(theta, *coordinates.bounds.T)
    q = Gaussian(np.eye(m), np.zeros((m, targets)))
    return State(theta, q, (np.zeros_like(theta), np.zeros_like(theta)))


class Descent:
    """Steps over the rows, pass by pass.

    Parameters
    ----------
    coordinates : Coordinates
    owner : str
    rate, share : float
        Adam's learning rate, and the least share of a natural step.
    optimizes : bool
        Whether hyperparameters move.
    """

    def __init__(
        self, coordinates: Coordinates, owner: str, rate: float, share: float, optimizes: bool
    ) -> None:
        self.coordinates, self.owner = coordinates, owner
        self.rate, self.share = rate, share
        self.optimizes = optimizes and len(coordinates.start) > 0

    def bound(self, state: State, data: Data, n: float | None = None) -> Bound:
        """The bound's estimate at a state."""
        return Bound(*self.coordinates.parts(state.theta), data, state.q, n)

    def step(self, state: State, x: np.ndarray, y: np.ndarray, n: float | None = None) -> State:
        """One step on a batch; without n, it is the number of rows that q remembers."""
        b, half = len(x), 0.5**state.halvings
        rho = b / (state.rows + b)
        if self.optimizes:
            rho = max(rho, half * self.share, 0.0 if n is None else b / n)
        rho = min(rho, 1.0)
        before = (1 - rho) ** 2 / state.rows if state.rows else 0.0
        remembered = 1 / (before + rho**2 / b)
        if n is None and state.rows:  # the data's part of q stands for N rows more or less
            q, eye, more = state.q, np.eye(len(state.q.precision)), remembered / state.rows
            state = replace(state, q=Gaussian(eye + more * (q.precision - eye), more * q.shift))
        bound = self.bound(state, Data(Rows(x, None, self.owner), y, self.owner), n or remembered)
        theta, moments = state.theta, state.moments
        if self.optimizes and state.rows:  # q before the first batch says nothing
            theta, moments = self._adam(state, -self.coordinates.gradient(bound), half)
        return replace(
            state, theta=theta, moments=moments, q=bound.natural(state.q, rho), rows=remembered,
            steps=state.steps + 1, values=[*state.values, bound.value],
        )  # fmt: skip

    def _adam(
        self, state: State, gradient: np.ndarray, half: float
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        theta, first, second = (a.copy() for a in (state.theta, *state.moments))
        # The bound grows with the rows; a rate does not, and eps is then nothing.
        optim.adam([theta], [gradient], [first], [second], step=max(state.steps, 1),
                   lr=self.rate * half)  # fmt: skip
        return np.clip(theta, *self.coordinates.bounds.T), (first, second)

    def advance(self, state: State, rows: Rows, y: np.ndarray, batch: int, seed: int) -> Step:
        """One pass over the rows in a new order."""
        n, t = y.shape
        b = min(batch, n)
        order = generator(seed, 2 + state.passes).permutation if b < n else None
        with _factor.lapack_threads(len(self.coordinates.Z)):
            for x, places, _ in rows.batches(b, order):
                state = self.step(state, x, y[places], n)
        state = replace(state, passes=state.passes + 1)
        value = float(np.mean(state.values[-math.ceil(n / b) :]))
        if len(state.values) < _WINDOW:
            return Step(state, value)
        patience = state.patience.after(float(np.mean(state.values)) / (n * t))
        state = replace(state, values=[], patience=patience)
        if patience.since == 0:
            return Step(state, value)
        patience = replace(patience, since=0)
        state = replace(state, halvings=state.halvings + 1, patience=patience)
        return Step(state, value, state.halvings == _HALVINGS)
