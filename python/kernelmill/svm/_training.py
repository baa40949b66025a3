"""Solving the dual problems of a fit: slices of `ops.svm.solve`, shared rows, and precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._arrays import beside, is_cupy, is_sparse, namespace, room, to_host
from kernelmill._estimator._base import warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._kernels import Kernel
from kernelmill.ops import svm as ops
from kernelmill.svm._problems import Problem, filled
from kernelmill.svm._warm import followed

_WORKING = 4096  # most variables of a working set
_SHRINKS = 4  # most times that a problem is shrunk
_BLOCK = 512  # the same where rows of K cost nothing, and on a GPU
_SMALL = 512  # rows whose kernel is float64 in any case
_SLICE = 2e9  # operations of one call, about 100 ms
_GPU = 20  # times as many on a GPU, where a call also copies all multipliers there and back
_SAMPLE = 64  # rows whose gradients are checked in float64
_LARGEST = 1e30  # values of K that float32 rows may hold
_COLUMN = {name: i for i, name in enumerate(ops.STATE)}


@dataclass(frozen=True)
class Solved:
    """Multipliers and gradients of all problems, one after another; never changed in place."""

    beta: np.ndarray
    gradient: np.ndarray
    state: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """One column of the state of all problems."""
        return self.state[:, _COLUMN[name]]


class Training:
    """The problems of one fit.

    Parameters
    ----------
    owner : str
        Name of the model.
    kernel : Kernel
    X : {ndarray, CSR matrix, CuPy array} of shape (n, d)
        Rows; the kernel matrix where it is given. Its device holds rows of K and runs the slices;
        multipliers and gradients, a few numbers a row, are on the host between them.
    origin : ndarray of shape (d,), or None
        Taken off the rows.
    problems : list of Problem
    tol : float
    cache_size : float
        Memory for rows of K, in MB.
    most_steps : int
        Pairs moved in each problem, or -1.
    single : bool, default=True
        Whether rows of K may be float32.
    shrinking : bool, default=True
        Whether settled variables are left out for a while.
    """

    def __init__(
        self, owner: str, kernel: Kernel, X: Any, origin: np.ndarray | None,
        problems: list[Problem], tol: float, cache_size: float, most_steps: int,
        single: bool = True, shrinking: bool = True,
    ) -> None:  # fmt: skip
        self.owner, self.origin = owner, origin
        self.kernel = self.asked = kernel
        self.X, self.problems, self.tol = X, problems, tol
        self.bytes, self.shrinking = int(cache_size * 2**20), shrinking
        self.most_steps = np.inf if most_steps < 0 else most_steps
        self.spans = np.concatenate([[0], np.cumsum([len(p.rows) for p in problems])])
        self.spans = self.spans.astype(np.int64)
        # Whether rows of K are float32.
        self.single = single and not kernel.is_given and X.shape[0] > _SMALL
        self.single &= float(np.abs(kernel.diagonal(X)).max()) < _LARGEST
        self.unit = 1.0  # of the rows, where the kernel may choose one: float32 has small exponents
        if kernel.moves and X.shape[1]:
            values = X.data if is_sparse(X) else X
            top = max(abs(float(values.max())), abs(float(values.min()))) if values.size else 0.0
            self.unit = 2.0 ** np.frexp(top)[1] if top > 0 else 1.0
            power = 2 if kernel.name == "rbf" else 1
            self.kernel = kernel = replace(kernel, gamma=kernel.gamma * self.unit**power)
        self._prepare()

    # --- rows of K --------------------------------------------------------------------------------

    def rows_as(self, dtype: Any, chosen: Any = None) -> Any:
        """Rows of X about the origin, all or some of them."""
        X = self.X if chosen is None else self.X[chosen]
        if self.origin is not None and not is_sparse(X):
            X = X - self.origin.astype(np.result_type(X.dtype, dtype))
        return (X if self.unit == 1 else X * X.dtype.type(1 / self.unit)).astype(dtype, copy=False)

    def _prepare(self) -> None:
        """Decide whether all problems read one matrix K, and make it."""
        self.dtype: Any = np.dtype(np.float32 if self.single else np.float64)
        if self.kernel.is_given:
            self.dtype = np.dtype(self.X.dtype)
        n = self.X.shape[0]
        self.shared = None
        self._part: tuple[int, Any] = (-1, None)
        if self.kernel.is_given:
            self.shared = namespace(self.X).ascontiguousarray(self.X)
        elif len(self.problems) > 1 and n * n * self.dtype.itemsize <= max(self.bytes, 1 << 20):
            work = self.rows_as(self.dtype)
            self.shared = self.kernel.matrix(work, work, self.owner)

    def _settings(self, problem: Problem, kind: int) -> np.ndarray:
        _, gamma, coef0, degree = (
            (0, 1.0, 0.0, 1.0) if self.kernel.is_given else self.kernel.settings
        )
        given = {
            "kind": kind, "gamma": gamma, "coef0": coef0, "degree": degree, "tol": self.tol,
            "width": problem.w, "grouped": problem.grouped, "most_steps": self.most_steps,
        }  # fmt: skip
        return np.array([float(given[name]) for name in ops.SETTINGS])

    # --- the loop ---------------------------------------------------------------------------------

    def begin(self) -> Solved:
        """The starts of all problems, with their gradients."""
        beta = np.concatenate([
            np.zeros(len(p.rows)) if p.start is None else p.start for p in self.problems
        ])
        return Solved(beta, self.gradient(beta), self.begin_state())

    def begin_at_bounds(self) -> Solved:
        """Starts at the bounds, of the problems whose price is so low that most end there."""
        sides = [(p.upper, -p.lower) for p in self.problems]
        beta = np.concatenate([
            filled(a, float(b.sum())) - filled(b, float(a.sum())) if p.w == 0 else np.zeros(len(a))
            for p, (a, b) in zip(self.problems, sides, strict=True)
        ])
        gradient = self.gradient(beta)
        for k, problem in enumerate(self.problems):
            part = slice(self.spans[k], self.spans[k + 1])
            if beta[part] @ gradient[part] > 0:  # less would be better
                beta[part], gradient[part] = 0.0, problem.q
        return Solved(beta, gradient, self.begin_state())

    def begin_state(self) -> np.ndarray:
        """The state of problems of which no round was taken."""
        state = np.zeros((len(self.problems), len(ops.STATE)))
        state[:, _COLUMN["curvature"]] = np.inf
        state[:, _COLUMN["scale"]] = [p.scale for p in self.problems]
        return state

    def gradient(self, beta: np.ndarray) -> np.ndarray:
        """``K b + q`` of all problems from scratch, in the present precision of rows."""
        gradient = np.concatenate([p.q for p in self.problems]) + 0.0
        if self.kernel.is_given and not is_cupy(self.X):
            return gradient + self._products(beta)
        for k, problem in enumerate(self.problems):
            part = slice(self.spans[k], self.spans[k + 1])
            used = np.flatnonzero(beta[part])
            if len(used):
                coef = beta[part][used][:, None]
                gradient[part] += self.product(problem.rows, problem.rows[used], coef)
        return gradient

    def _products(self, coef: np.ndarray) -> np.ndarray:
        """``K coef`` of all problems, where they share K."""
        rows = np.concatenate([p.rows for p in self.problems]).astype(np.int32, copy=False)
        used = np.flatnonzero(coef)
        ends = np.searchsorted(used, self.spans)
        return ops.products(self.shared, rows, self.spans, rows[used], ends, coef[None, used])[0]

    def product(
        self, rows: np.ndarray, used: np.ndarray, coef: np.ndarray, dtype: Any = None
    ) -> np.ndarray:
        """Values of ``K[rows, used] @ coef``, in the present precision of rows by default."""
        dtype, coef = self.dtype if dtype is None else dtype, beside(coef, self.X)
        if self.kernel.is_given:
            return to_host(self.X[np.ix_(rows, used)].astype(np.float64) @ coef).ravel()
        left, right = self.rows_as(dtype, rows), self.rows_as(dtype, used)
        return to_host(self.kernel.apply(left, right, coef, self.owner)).ravel()

    def advance(self, before: Solved, most: int) -> Step:
        """Some rounds: of all problems where they share K, else of the first that goes on."""
        after = replace(
            before, beta=before.beta.copy(), gradient=before.gradient.copy(),
            state=before.state.copy(),
        )  # fmt: skip
        if self.shared is not None:
            self._solve_shared(after, most)
        else:
            k = int(np.flatnonzero(after.column("status") == ops.RUNNING)[0])
            self._solve_one(after, k, most)
        finished = not (after.column("status") == ops.RUNNING).any()
        objective: Any = functools.partial(self.objective, after)
        return Step(after, objective() if finished else objective, finished, 1)

    def objective(self, solved: Solved) -> float:
        """Sum of the dual objectives."""
        return sum(p.objective(b, g) for p, b, g in self.parts(solved))

    def parts(self, solved: Solved) -> list[tuple[Problem, np.ndarray, np.ndarray]]:
        """Each problem with its multipliers and gradient."""
        cuts = self.spans[1:-1]
        beta, gradient = np.split(solved.beta, cuts), np.split(solved.gradient, cuts)
        return list(zip(self.problems, beta, gradient, strict=True))

    def _rounds(self, variables: int, columns: int, width: int, most: int) -> int:
        d = 1 if self.shared is not None else self.X.shape[1]
        cost = width * (variables + columns * (2 * d + 20)) + 100 * width * width
        most_cost = _SLICE * (_GPU if is_cupy(self.X) else 1)
        return 1 if most == 1 else max(1, int(most_cost / cost))

    def _run(self, X: Any, fixed: tuple, rounds: int, updated: tuple) -> None:
        """`ops.svm.solve` where X lives; arrays on the host are updated there."""
        here = [beside(values, X) for values in updated]
        ops.solve(X, *(beside(values, X) for values in fixed), rounds, *here)
        for values, result in zip(updated, here, strict=True):
            if result is not values:
                values[...] = to_host(result)

    def _solve_shared(self, after: Solved, most: int) -> None:
        assert self.shared is not None
        problem = self.problems[0]
        longest = int(np.diff(self.spans).max())
        width = max(2, min(_BLOCK, longest))
        if self._part[0] != 0:
            rows = np.concatenate([p.rows for p in self.problems]).astype(np.int32)
            lower = np.concatenate([p.lower for p in self.problems])
            upper = np.concatenate([p.upper for p in self.problems])
            self._part = 0, (rows, lower, upper, np.full((len(self.problems), width), -1, np.int32))
        rows, lower, upper, working = self._part[1]
        working = working.copy()
        self._run(
            self.shared, (rows, self.spans, lower, upper, self._settings(problem, -1)),
            self._rounds(int(self.spans[-1]), 0, width, most),
            (after.beta, after.gradient, np.zeros((0, 0), self.shared.dtype),
             np.zeros((0, 2), np.int64), working, after.state),
        )  # fmt: skip
        self._part = 0, (rows, lower, upper, working)

    def _solve_one(self, after: Solved, k: int, most: int) -> None:
        """Rounds of one problem, over all of its variables or over those that are not settled."""
        problem, part = self.problems[k], slice(int(self.spans[k]), int(self.spans[k + 1]))
        beta, gradient, state = after.beta[part], after.gradient[part], after.state[k : k + 1]
        if self._part[0] != k:
            self._hold(k, problem.rows)
            self._active: Any = None
            self._shrinks = 0
        X, rows, cache, slots, working = self._part[1]
        own = slice(None) if self._active is None else self._active[0]
        b, g = np.ascontiguousarray(beta[own]), np.ascontiguousarray(gradient[own])
        span = np.array([0, len(rows)], np.int64)
        fixed = (
            rows, span, np.ascontiguousarray(problem.lower[own]),
            np.ascontiguousarray(problem.upper[own]),
            self._settings(problem, self.kernel.settings[0]),
        )  # fmt: skip
        rounds = self._rounds(len(rows), X.shape[0], working.shape[1], most)
        self._run(X, fixed, rounds, (b, g, cache, slots, working, state))
        del X, cache  # these may be made anew
        beta[own], gradient[own] = b, g
        running = state[0, _COLUMN["status"]] == ops.RUNNING
        if self._active is not None:
            if not running:
                self._grow(problem, beta, gradient, state)
        elif running and state[0, _COLUMN["rounds"]] >= 8 * (self._shrinks + 1):
            self._shrink(problem, beta, gradient)

    def _hold(self, k: int, chosen: np.ndarray) -> None:
        """Memory for rows of K of a problem; what was held before goes first."""
        self._part = -1, None
        self._part = k, self._memory(chosen)

    def _memory(self, chosen: np.ndarray) -> tuple:
        """Rows of X, their numbers for each variable, and the caller's arrays of the op."""
        numbers, own = np.unique(chosen, return_inverse=True)
        n, item = len(numbers), self.dtype.itemsize
        X = self.rows_as(self.dtype, None if n == self.X.shape[0] else numbers)
        # A quarter of the memory is for the block of a working set.
        places = max(2, self.bytes * 3 // 4 // max(1, n * item))
        most = _BLOCK if is_cupy(X) else _WORKING
        width = min(most, len(chosen), places, int((self.bytes / 4 / item) ** 0.5))
        width = max(2, width)
        places = min(n, max(places, width))
        return (
            X, own.astype(np.int32), room((places, n), self.dtype, X),
            np.tile(np.array([-1, 0], np.int64), (places, 1)), np.full((1, width), -1, np.int32),
        )  # fmt: skip

    def _shrink(self, problem: Problem, b: np.ndarray, g: np.ndarray) -> None:
        """Go on without the variables at a bound that no violating pair could have."""
        if not self.shrinking or problem.grouped or self._shrinks >= _SHRINKS or len(b) < _SMALL:
            return
        up, down = problem.up(b, g), problem.down(b, g)
        settled = (np.isinf(down) & (up < down.min())) | (np.isinf(up) & (down > up.max()))
        if problem.w > 0:
            settled |= (b == 0) & (up < down.min()) & (down > up.max())
        active = np.flatnonzero(~settled)
        if len(active) > 0.75 * len(b) or len(active) < 2:
            return
        self._shrinks += 1
        self._active = active, b.copy()
        self._hold(self._part[0], problem.rows[active])

    def _grow(
        self, problem: Problem, b: np.ndarray, g: np.ndarray, state: np.ndarray
    ) -> None:
        """All variables again: gradients of the settled ones follow what has changed since."""
        active, before = self._active
        rest = np.ones(len(b), bool)
        rest[active] = False
        changed = np.flatnonzero(b != before)
        if len(changed):
            change = (b - before)[changed][:, None]
            g[rest] += self.product(problem.rows[rest], problem.rows[changed], change)
        if state[0, _COLUMN["steps"]] < self.most_steps:
            state[0, _COLUMN["status"]] = state[0, _COLUMN["idle"]] = 0.0
        self._active = None
        self._hold(self._part[0], problem.rows)

    # --- precision --------------------------------------------------------------------------------

    def refine(self, solved: Solved) -> Solved | None:
        """None if float32 rows were good enough; else a start in float64, with its gradients.

        The gradients of some rows are computed anew in float64; they must differ by less than a
        quarter of the tolerance.
        """
        if not self.single:
            return None
        worst = max((self.rounding(*part) for part in self.parts(solved)), default=0.0)
        if worst <= self.tol / 4:
            return None
        self.single = False
        self._prepare()
        beta = solved.beta
        state = solved.state.copy()
        for name in ("status", "idle"):
            state[:, _COLUMN[name]] = 0.0
        return Solved(beta, self.gradient(beta), state)

    def rounding(self, problem: Problem, b: np.ndarray, g: np.ndarray) -> float:
        """The most by which gradients of some rows differ from those in float64, per its scale."""
        used = np.flatnonzero(b)
        chosen = np.unique(np.linspace(0, len(b) - 1, min(_SAMPLE, len(b))).astype(np.int64))
        if not len(used) or not np.isfinite(g).all():
            return 0.0 if np.isfinite(g).all() else np.inf
        exact = problem.q[chosen] + self.product(
            problem.rows[chosen], problem.rows[used], b[used][:, None], np.float64
        )
        return float(np.abs(exact - g[chosen]).max()) / problem.scale

    def begin_from(self, before: Training, solved: Solved) -> Solved:
        """A start from the multipliers of the same problems at another price, where they share K.

        Their gradients are those of the multipliers as they were, or scaled, and of what is left.
        """
        beta, base, change = [], [], []
        for old, own, (_, b, g) in zip(
            before.problems, self.problems, before.parts(solved), strict=True
        ):
            ratio = float((own.upper - own.lower).sum() / (old.upper - old.lower).sum())
            start = followed(b, ratio, own)
            by = min(1.0, ratio, key=lambda s: np.count_nonzero(start - s * b))
            beta.append(start)
            base.append(by * (g - old.q) + own.q)
            change.append(start - by * b)
        gradient = np.concatenate(base) + self._products(np.concatenate(change))
        return Solved(np.concatenate(beta), gradient, self.begin_state())

    def settled(self, start: Solved | None = None) -> Solved:
        """The solution, without progress or callbacks."""
        solved = self.begin() if start is None else start
        while True:
            while (solved.column("status") == ops.RUNNING).any():
                solved = self.advance(solved, 2**62).state
            start = self.refine(solved)
            if start is None:
                return solved
            solved = start


def solve(
    model: Any, training: Training, attributes: Callable[[Solved, int], dict[str, Any]], data: tuple
) -> Solved:
    """Solve all problems of a fit; `data` is what the user gave: X, y and weights."""
    X, y, sample_weight = data
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    with Progress(
        model, model.verbose, runs=2, unit="slice", X=X, y=y, metadata=metadata
    ) as progress:

        def climbed(start: Solved) -> Solved:
            return climb(
                progress, lambda number: start, training.advance, max_iter=2**62,
                attributes=attributes,
            ).state  # fmt: skip

        solved = climbed(training.begin())
        start = training.refine(solved)
        if start is not None:
            solved = climbed(start)
    _warn(training, solved)
    return solved


def _warn(training: Training, solved: Solved) -> None:
    owner = training.owner
    curvature = solved.column("curvature")
    noise = 64 * float(np.finfo(training.dtype).eps)
    if (curvature < -noise).any():
        warn(
            f"{owner}: the kernel is not positive semi-definite: K_ii + K_jj - 2 K_ij was "
            f"{curvature.min():.2g} of its terms for some pair of rows (the result meets the "
            "first-order conditions, and may be one of several)",
            ConvergenceWarning,
        )
    stalled = solved.column("status") == ops.STALLED
    if not stalled.any():
        return
    violation = solved.column("violation")[stalled].max()
    if (solved.column("steps")[stalled] >= training.most_steps).any():
        what, hint = f"max_iter={int(training.most_steps)} ended the fit", "raise max_iter"
    else:
        what, hint = "steps no longer change the multipliers", "scale X, or lower C or gamma"
    warn(
        f"{owner}: {what} before the tolerance was met, with a violation of {violation:.3g} "
        f"({hint}; dual_gap_ says how far the fit got)",
        ConvergenceWarning,
    )
