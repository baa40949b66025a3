"""The least of the check loss over rows that need not be in memory, with a proof of how near it is.

Minimised over the coefficients c and the constant b of each quantile q are, for the residuals
``r = y - c.z - b`` of scaled rows z and shares w of the weights, the sums of
``w max(q r, (q - 1) r)`` and ``limit |c|``; predictions of neighbouring quantiles must not cross at
any row.

**Smoothing.** ``max(q r, (q - 1) r) = |r| / 2 + (q - 1/2) r``, and ``h log cosh(r / h)`` lies
within ``h log 2`` of ``|r|``. A row of the table of losses (`ops.glm_table`) is log-cosh, so one
pass gives value, gradient and Hessian at a width h. Penalties are smoothed alike. Newton's steps
follow the least while h falls by up to `_FALL` a pass, until few residuals are within h of zero.

**Crossing over.** The dual program is ``max y.a`` with ``(q - 1) w <= a <= q w`` and
``|sum a z| <= limit`` (``sum a = 0`` with a constant). Rows whose residuals are far from zero have
a at one of its ends: one sum stands for all of them (the globs of Portnoy and Koenker, 1997). The
few others are the variables of a linear program, whose multipliers are c and b. A pass then
computes the loss of these. Whatever a was taken for the rows of the sum, a is a point of the dual,
so loss less ``y.a`` bounds what is left to gain. Rows that add to it, or where predictions cross,
are made variables, and the program is solved again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from kernelmill._arrays import is_sparse
from kernelmill._estimator._climb import Step
from kernelmill._estimator._moments import pilot
from kernelmill._estimator._rows import MEMMAP_BYTES, Rows
from kernelmill._estimator._targets import check_count
from kernelmill.linear_model import _vertex as vertex
from kernelmill.linear_model._newton import LOSS, newton_step
from kernelmill.ops import glm

_BLOCK = 1 << 20  # entries of X whose residuals are computed at a time
_FREE = 2000, 30  # variables of the program: at least so many, and for each feature
_FALL, _LEAST_FALL = 4.0, 1.2  # of the width, in one pass
_LEAST_WIDTH = 1e-11  # as a share of the first: then residuals are ties
_NEAR = 0.03  # share of h times the mass within h that a step may gain where h falls
_FAR = 1.0  # the same that is too far after a fall
_FLATS = 4  # falls that leave the mass as it was: the rest are ties
_AT_LEAST = 1e-3  # the same at the last width
_LEAST_SIZE = 1e-12  # of a step
_BAND = 4.0  # widths within which rows are variables: cosh(4)^-2 is 0.001
_GAP = 1e-9  # share of the loss that may be left to gain
_SMALL = 1e-3  # of a typical target: a loss below it is as good as one of this
_INFEASIBLE = 2  # of linprog
_CROSSING = 1e-8  # of a typical target
_PASSES = 100  # of smoothing: programs find the way from there
_SMALL_PROGRAM = 1 << 17  # numbers of a program that is solved from vertex to vertex
_VERTICES = 12  # the most, for each parameter
_ROUNDING = 1e-12  # of the largest number of a line: a multiplier of 0
_COLLINEAR = 1e-3  # share of a feature that others do not explain
_EPS = float(np.finfo(np.float64).eps)
MOST_ROUNDS = 30  # programs, each with more variables
MOST_STEPS = 2000


def _aside(solve: Callable[[], Any]) -> Any:
    """What `solve` returns or raises, from a thread of its own where this one must see Ctrl-C.

    Python hears of a signal in the main thread only, and not before a call of C++ is over. The
    solver holds no lock of Python while it runs; one that nobody waits for runs to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        return solve()
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(solve())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="kernelmill-linprog", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if errors:
        raise errors[0]
    return results[0]


def _smoothed(
    X: Any, y: np.ndarray, coef: np.ndarray, constant: np.ndarray, widths: np.ndarray,
    shift: np.ndarray, sample_weight: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Sums of ``w log cosh(r / h)``, their gradients and Hessians by ``c / h``, by quantile."""
    sums = [
        glm.hessian(
            X, y / h, (c / h)[None], np.array([b / h]), shift, LOSS["log_cosh"], 0.0, sample_weight
        )
        for c, b, h in zip(coef, constant, widths, strict=True)
    ]
    values, slopes, curves = zip(*sums, strict=True)
    return np.array(values), np.concatenate(slopes), np.concatenate(curves)[:, 0]


@dataclass(frozen=True)
class Point:
    """Where the search stands; never changed in place. Lines are (c, b) of the k quantiles."""

    lines: np.ndarray  # (k, d + 1)
    widths: np.ndarray  # (k,)
    steps: np.ndarray  # (k, d + 1), to be tried next
    gains: np.ndarray  # (k,), that the steps promise
    values: np.ndarray  # (k,), smoothed loss at the lines; inf where the width is new
    size: np.ndarray  # (k,), share of the step to be tried
    falls: np.ndarray  # (k,), of the widths next time
    masses: np.ndarray  # (k,), share of the rows within the widths at the last fall
    flats: np.ndarray  # (k,), falls in a row that have left the mass as it was
    base: np.ndarray  # (k, d + 1), least at the width before
    base_widths: np.ndarray  # (k,)
    done: np.ndarray  # (k,), bool: smooth enough to cross over
    passes: int = 0  # of smoothing
    room: int = 0  # most variables of a quantile at first
    free: tuple[np.ndarray, ...] | None = None  # by quantile, the rows that are variables
    kept: np.ndarray | None = None  # rows where predictions must not cross
    found: np.ndarray | None = None  # (k, d + 1), the least of the program
    gap: float = np.inf
    iterations: int = 0  # of the solver
    rounds: int = 0
    proved: bool = False  # whether the gap is small enough


_BY_QUANTILE = [f.name for f in fields(Point) if f.type == "np.ndarray"]


class Problem:
    """The problem, and the steps towards its least.

    Parameters
    ----------
    rows : Rows
    y : ndarray of shape (n,), float64
        Targets around zero, about 1 in size but for outliers.
    weight : ndarray of shape (n,), optional
        All weights of the rows.
    quantiles : ndarray of shape (k,)
        Rising.
    alpha : float
        The penalty in units of scaled targets.
    intercept : bool
    method, options
        Of ``scipy.optimize.linprog``.
    """

    def __init__(
        self, rows: Rows, y: np.ndarray, weight: np.ndarray | None, quantiles: np.ndarray,
        alpha: float, intercept: bool, method: str, options: Any,
    ) -> None:  # fmt: skip
        self.rows, self.y, self.quantiles, self.intercept = rows, y, quantiles, intercept
        self.method, self.options = method, options
        self.d, self.k = rows.n_features, len(quantiles)
        w = np.ones(len(y)) if weight is None else weight.astype(np.float64)
        if rows.is_stream:
            check_count(y, len(w), rows.owner)
        self.total = float(w.sum())
        self.shares = w / self.total
        self.used = int(np.count_nonzero(w))
        self.room = max(_FREE[0], _FREE[1] * (self.d + 1))
        self.direct = self.used <= 2 * self.room
        self._check_size(self.d * (self.used if self.direct else self.k * self.d))
        first = rows if not rows.is_stream else next(iter(rows.chunks()))
        sparse = is_sparse(first.X)
        self.shift = pilot(first.X, first.weight) if intercept and not sparse else np.zeros(self.d)
        self.scale = self._largest()
        self.limits = alpha / self.scale

    def _check_size(self, numbers: int) -> None:
        """Raise where so many numbers of a stream would be in memory at once."""
        rows, size = self.rows, 8 * numbers
        if rows.is_stream and size > 4 * MEMMAP_BYTES:
            raise ValueError(
                f"{rows.owner}: X must have fewer features where it is a stream, got {self.d} with "
                f"{self.used} rows, which take {size >> 20} MiB (select features, or pass an array)"
            )

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Places of rows, and the rows, some at a time, wherever they are."""
        start = 0
        for chunk in self.rows.chunks():
            if start + chunk.count > len(self.y):
                check_count(self.y, start + chunk.count, self.rows.owner)
            each = max(1, _BLOCK // self.d)
            for i in range(0, chunk.count, each):
                block = chunk.X[i : i + each]
                yield slice(start + i, start + i + block.shape[0]), block
            start += chunk.count
        check_count(self.y, start, self.rows.owner)

    def _scaled(self, X: Any) -> Any:
        """Scaled rows z with a column of ones, or zeros without a constant."""
        if is_sparse(X):
            Z = X.astype(np.float64).multiply(1 / self.scale)
            last = np.full((X.shape[0], 1), float(self.intercept))
            return scipy.sparse.hstack([Z, scipy.sparse.csr_matrix(last)], format="csr")
        Z = np.empty((X.shape[0], self.d + 1))
        np.subtract(X, self.shift, out=Z[:, :-1], dtype=np.float64)
        Z[:, :-1] /= self.scale
        Z[:, -1] = float(self.intercept)
        return Z

    def _largest(self) -> np.ndarray:
        largest = np.zeros(self.d)
        for where, X in self.blocks():
            X = X[self.shares[where] > 0]
            if is_sparse(X):
                sizes = np.asarray(abs(X).max(axis=0).todense()).ravel() if X.shape[0] else 0.0
            else:
                sizes = np.abs(X - self.shift).max(0, initial=0.0)
            largest = np.maximum(largest, sizes)
        return np.where(largest > 0, largest, 1.0)

    def raw(self, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (k, d) and intercepts (k,) of rows that are neither scaled nor shifted."""
        coef = lines[:, :-1] / self.scale
        return coef, lines[:, -1] - coef @ self.shift

    # Smoothed steps.

    def start(self) -> Point:
        """No coefficients, and the quantiles of y."""
        k = self.k
        lines = np.zeros((k, self.d + 1))
        if self.intercept:
            order = np.argsort(self.y, kind="stable")
            below = np.cumsum(self.shares[order])
            places = np.searchsorted(below, self.quantiles * below[-1])
            lines[:, -1] = self.y[order[places]]
        spread = np.array([self.shares @ np.abs(self.y - b) for b in lines[:, -1]])
        nothing = spread <= 0  # all residuals are zero
        return Point(
            lines, np.where(nothing, 1.0, spread), np.zeros_like(lines), np.zeros(k),
            np.full(k, np.inf), np.ones(k), np.full(k, _FALL), np.ones(k), np.zeros(k),
            lines.copy(), np.zeros(k), nothing | self.direct, room=self.room,
        )  # fmt: skip

    def _evaluate(
        self, lines: np.ndarray, widths: np.ndarray, which: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Smoothed losses, gradients, Hessians, and the shares of the rows within the widths."""
        lines, h, q = lines[which], widths[which], self.quantiles[which]
        coef = lines[:, :-1] / self.scale
        values, slopes, curves = self.rows.map_reduce(
            _smoothed, coef, lines[:, -1], h, self.shift, along=(self.y,)
        )
        scale = np.append(self.scale, 1.0) * self.total
        slopes = slopes / scale
        curves = curves / scale[:, None] / np.append(self.scale, 1.0)
        mass = curves[:, -1, -1].copy()
        tilt = q - 0.5
        c = lines[:, :-1]
        t = c / h[:, None]
        sizes = np.abs(t) + np.log1p(np.exp(-2 * np.abs(t))) - np.log(2.0)
        linear = self._means[0] - lines @ self._means[1]
        values = h * (values / (2 * self.total) + sizes @ self.limits) + tilt * linear
        gradients = slopes / 2 - tilt[:, None] * self._means[1]
        gradients[:, :-1] += self.limits * np.tanh(t)
        H = curves / (2 * h[:, None, None])
        diagonal = np.einsum("kii->ki", H)
        with np.errstate(over="ignore"):
            diagonal[:, :-1] += self.limits / h[:, None] / np.cosh(np.minimum(np.abs(t), 300)) ** 2
        if not self.intercept:
            gradients[:, -1] = 0.0
            H[:, -1] = H[:, :, -1] = 0.0
            diagonal[:, -1] = 1.0
        return values, gradients, H, mass

    @functools.cached_property
    def _means(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Means of the targets, of the scaled rows with their last entry, and of their sizes."""
        total, sizes = np.zeros((2, self.d + 1))
        for where, X in self.blocks():
            Z = self._scaled(X)
            total += Z.T @ self.shares[where]
            sizes += abs(Z).T @ self.shares[where]
        return float(self.shares @ self.y), total, np.where(sizes > 0, sizes, 1.0)

    def smooth(self, at: Point) -> Point:
        """One pass: the steps tried, accepted or halved; widths fall where the least is near."""
        which = np.flatnonzero(~at.done)
        after = replace(at, **{name: getattr(at, name).copy() for name in _BY_QUANTILE})
        trial = at.lines + at.size[:, None] * at.steps
        found = self._evaluate(trial, at.widths, which)
        for i, value, slope, H, mass in zip(which.tolist(), *found, strict=True):
            self._taken(after, i, trial[i], value, slope, H, mass)
        if at.passes >= _PASSES:
            late = ~after.done & (after.base_widths > 0)
            after.lines[late], after.widths[late] = at.base[late], at.base_widths[late]
            after.done[late] = True
        return replace(after, passes=at.passes + 1)

    def _taken(
        self, at: Point, i: int, line: np.ndarray, value: float, slope: np.ndarray, H: np.ndarray,
        mass: float,
    ) -> None:  # fmt: skip
        """What the pass says of quantile i, into copies of the arrays of a point."""
        before, size, h = at.gains[i], at.size[i], at.widths[i]
        bound = at.values[i] - 1e-4 * size * before + 1e-14 * abs(at.values[i])
        if not value <= bound and size > _LEAST_SIZE:
            # The slope along the step is -2 gain at its start: where would it be zero?
            there = float(slope @ at.steps[i])
            share = 2 * before / (2 * before + there) if there > 0 else 0.5
            at.size[i] *= min(max(share, 0.1), 0.5)
            return
        step, gain = newton_step(slope, H)
        fresh = at.values[i] == np.inf
        if fresh and gain > _FAR * h * mass and at.falls[i] > _LEAST_FALL:
            at.falls[i] = np.sqrt(at.falls[i])  # too far from the least at this width
            at.widths[i] *= at.falls[i]
            return
        whole = size == 1
        at.lines[i], at.values[i], at.size[i] = line, value, 1.0
        at.steps[i], at.gains[i] = step, gain
        few = mass * self.used <= self.room / (2 * _BAND)
        last = few or h <= _LEAST_WIDTH or at.flats[i] == _FLATS
        if not np.isfinite(gain):
            at.done[i] = True
        elif gain <= (_AT_LEAST if last else _NEAR) * h * mass:
            at.base[i], at.base_widths[i] = line, h
            at.done[i] = last
            if last:
                return
            flat = at.falls[i] == _FALL and mass > 0.8 * at.masses[i]
            at.flats[i] = at.flats[i] + 1 if flat else 0
            at.masses[i] = mass
            at.falls[i] = min(at.falls[i] ** 2, _FALL) if whole else at.falls[i]
            at.widths[i] /= at.falls[i]
            at.values[i] = np.inf
            # Coefficients that are about zero are as many widths from it.
            there = line[:-1] + step[:-1]
            about = (np.abs(there) < 3 * h) & (self.limits > 0)
            at.steps[i, :-1] -= np.where(about, there * (1 - 1 / at.falls[i]), 0.0)

    # Crossing over.

    def _multipliers(self, r: np.ndarray, i: int, at: Point, shares: np.ndarray) -> np.ndarray:
        """The a of rows that are no variables, by their residuals at the smoothed least."""
        h = at.widths[i]
        part = np.where(np.abs(r) <= _BAND * h, np.tanh(r / h), np.sign(r))
        return shares * (self.quantiles[i] - 0.5 + 0.5 * part)

    def _residuals(self, Z: Any, where: Any, lines: np.ndarray) -> np.ndarray:
        return self.y[where][:, None] - Z @ lines.T

    def band(self, at: Point) -> Point:
        """Choose the first variables: rows near the smoothed planes."""
        if self.direct:
            rows = np.flatnonzero(self.shares > 0)
            kept = rows if self.k > 1 else rows[:0]
            return replace(at, free=(rows,) * self.k, kept=kept)
        if not at.widths.all():  # around other planes, of which nothing is known
            sizes = np.concatenate(
                [
                    np.where((self.shares[where] > 0)[:, None], np.abs(r), np.inf)
                    for where, X in self.blocks()
                    for r in [self._residuals(self._scaled(X), where, at.lines)]
                ]
            )
            most = min(at.room // 2, self.used) - 1
            widths = np.partition(sizes, most, axis=0)[most] / _BAND
            at = replace(at, widths=np.maximum(widths, _LEAST_WIDTH))
        near: list[list[np.ndarray]] = [[] for _ in range(self.k)]
        reach: list[list[np.ndarray]] = [[] for _ in range(self.k)]
        for where, X in self.blocks():
            Z = self._scaled(X)
            r = self._residuals(Z, where, at.lines)
            size = abs(Z) @ (1 / self._means[2])
            inside = (np.abs(r) <= _BAND * at.widths) & (self.shares[where] > 0)[:, None]
            for i in range(self.k):
                own = np.flatnonzero(inside[:, i])
                near[i].append(where.start + own)
                reach[i].append(size[own])
        free = []
        for parts, spans in zip(near, reach, strict=True):
            rows = np.concatenate(parts)
            if len(rows) > at.room:  # those that balance most, and of the others any will do
                order = np.argsort(-np.concatenate(spans), kind="stable")
                half = at.room // 2
                rest = order[half:][np.linspace(0, len(rows) - half - 1, half).astype(np.int64)]
                rows = np.sort(rows[np.concatenate([order[:half], rest])])
            free.append(rows)
        kept = np.empty(0, dtype=np.int64) if at.kept is None else at.kept
        return replace(at, free=tuple(free), kept=kept)

    def cross(self, at: Point) -> Step:
        """Solve the program of the variables, and bound what is left to gain."""
        if at.free is None:
            at = self.band(at)
        assert at.free is not None
        assert at.kept is not None
        everything = np.unique(np.concatenate([*at.free, at.kept]))
        self._check_size(len(everything) * self.d)
        whole = not self.rows.is_stream and len(everything) == len(self.y)
        near = self.rows if whole else self.rows.gather(everything)
        Z, y, shares = self._scaled(near.X), self.y[everything], self.shares[everything]
        r = None if self.direct else self._residuals(Z, everything, at.lines)
        sums, bound = np.zeros((self.k, self.d + 1)), 0.0
        if not self.direct:
            sums, bound = self._whole(at)
        blocks, targets, parts = [], [], []
        for i, rows in enumerate(at.free):
            places = np.searchsorted(everything, rows)
            blocks.append(Z[places])
            targets.append(y[places])
            parts.append(shares[places])
            if r is not None:
                a = self._multipliers(r[places, i], i, at, shares[places])
                sums[i] -= blocks[i].T @ a
                bound -= float(a @ y[places])
        kept = Z[np.searchsorted(everything, at.kept)]
        solved = self._program(blocks, targets, parts, kept, sums)
        if solved is None:  # the sums are not balanced by so few
            return Step(replace(at, free=None, room=2 * at.room, widths=2 * at.widths), None, False)
        lines, best, count = solved
        loss, worst, crossed = self._measured(at, lines)
        gap = max(loss + float((self.limits * np.abs(lines[:, :-1])).sum()) - (best + bound), 0.0)
        after = replace(
            at, found=lines, gap=gap, iterations=at.iterations + count, rounds=at.rounds + 1
        )
        broken = np.setdiff1d(crossed, at.kept)
        proved = not len(broken) and (gap <= _GAP * max(loss, _SMALL) or not any(map(len, worst)))
        if not proved:
            free = tuple(np.union1d(f, m) for f, m in zip(at.free, worst, strict=True))
            after = replace(after, free=free, kept=np.union1d(at.kept, broken))
        if not proved and max(map(len, worst)) == self.room:  # start again from here
            nowhere = np.zeros(self.k)
            after = replace(after, lines=lines, widths=nowhere, free=None, room=2 * at.room)
        after = replace(after, proved=proved)
        return Step(after, -loss, proved or after.rounds == MOST_ROUNDS)

    def _whole(self, at: Point) -> tuple[np.ndarray, float]:
        """``sum a z`` and ``y.a`` over all rows, as if none were a variable."""
        sums, dual = np.zeros((self.k, self.d + 1)), 0.0
        for where, X in self.blocks():
            Z = self._scaled(X)
            r = self._residuals(Z, where, at.lines)
            for i in range(self.k):
                a = self._multipliers(r[:, i], i, at, self.shares[where])
                sums[i] += Z.T @ a
                dual += float(a @ self.y[where])
        return sums, dual

    def _measured(self, at: Point, lines: np.ndarray) -> tuple[float, list[np.ndarray], np.ndarray]:
        """The loss; by quantile, rows whose multipliers cost most; rows where lines cross."""
        loss, free = 0.0, np.zeros((self.k, len(self.y)), dtype=bool)
        for i, rows in enumerate(at.free or ()):
            free[i, rows] = True
        costs: list[list[np.ndarray]] = [[] for _ in range(self.k)]
        places: list[list[np.ndarray]] = [[] for _ in range(self.k)]
        crossed, depths = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        for where, X in self.blocks():
            shares = self.shares[where]
            Z = self._scaled(X)
            at_lines = Z @ lines.T
            r = self.y[where][:, None] - at_lines
            old = None if self.direct else self._residuals(Z, where, at.lines)
            for i, q in enumerate(self.quantiles):
                own = shares * np.maximum(q * r[:, i], (q - 1) * r[:, i])
                loss += float(own.sum())
                if old is not None:
                    cost = own - self._multipliers(old[:, i], i, at, shares) * r[:, i]
                    cost[free[i][where]] = 0.0
                    some = np.flatnonzero(cost > 1e-16 * shares)
                    costs[i].append(cost[some])
                    places[i].append(where.start + some)
            if self.k > 1 and not self.direct:
                # A higher quantile that is lower.
                depth = -np.diff(at_lines, axis=1).min(1) * (shares > 0)
                some = np.flatnonzero(depth > _CROSSING)
                crossed.append(where.start + some)
                depths.append(depth[some])
        room = self.room
        worst = [np.sort(self._largest_of(p, c, room)) for p, c in zip(places, costs, strict=True)]
        return loss, worst, np.sort(self._largest_of(crossed, depths, room // 4))

    @staticmethod
    def _largest_of(places: list[np.ndarray], sizes: list[np.ndarray], most: int) -> np.ndarray:
        if not places:
            return np.empty(0, dtype=np.int64)
        where, size = np.concatenate(places), np.concatenate(sizes)
        return where[np.argsort(-size, kind="stable")[:most]]

    def _program(
        self, blocks: list[Any], targets: list[np.ndarray], shares: list[np.ndarray], kept: Any,
        sums: np.ndarray,
    ) -> tuple[np.ndarray, float, int] | None:  # fmt: skip
        """Lines (k, d + 1), the dual value of the variables, and the iterations of the solver.

        None where no values of few variables are in the dual.

        With multipliers m of the order of neighbouring quantiles at each row kept, ``m >= 0``, the
        dual is ``max y.a`` with ``|Z'(a + m_below - m_above) + sums| <= limit`` and the same sums
        of zero for the constants. The lines are the multipliers of these rows.
        """
        if not any(map(len, targets)):
            return None
        if self.direct and self.method == "highs" and not self.options:
            found = self._vertices(blocks[0], targets[0], shares[0])
            if found is not None:
                return found
        k, d, pairs = self.k, self.d, max(self.k - 1, 0)
        size = d + 1 if self.intercept else d
        unit = float(np.mean(np.concatenate(shares)))  # the solver's tolerances are absolute
        rows = [scipy.sparse.csr_matrix(block).T[:size] for block in blocks]
        order = scipy.sparse.csr_matrix(kept).T[:size]
        slack = scipy.sparse.eye(size, d, format="csr")
        parts: list[list[Any]] = []
        for i in range(k):
            line: list[Any] = [None] * (2 * k + pairs)
            line[i] = rows[i]
            line[k + i] = -slack
            if i > 0:  # this quantile is not below the one before
                line[2 * k + i - 1] = order
            if i + 1 < k:
                line[2 * k + i] = -order
            parts.append(line)
        low = [np.concatenate([(q - 1) * w / unit for q, w in self._pairs(shares)])]
        high = [np.concatenate([q * w / unit for q, w in self._pairs(shares)])]
        with np.errstate(over="ignore"):
            limits = np.tile(self.limits / unit, k)
        count = pairs * kept.shape[0]
        low += [-limits, np.zeros(count)]
        high += [limits, np.full(count, np.inf)]
        cost = np.concatenate([*[-y for y in targets], np.zeros(k * d + count)])
        equal = scipy.sparse.bmat(parts, format="csc")
        result = _aside(
            lambda: scipy.optimize.linprog(
                cost, A_eq=equal, b_eq=-sums[:, :size].ravel() / unit,
                bounds=np.column_stack([np.concatenate(low), np.concatenate(high)]),
                method=self.method, options=self.options,
            )
        )  # fmt: skip
        if result.status == _INFEASIBLE and sum(map(len, targets)) < self.used * k:
            return None
        if result.status != 0:
            raise ValueError(
                f"{self.rows.owner}: the solver {self.method} failed ({result.message})"
            )
        lines = np.zeros((k, d + 1))
        lines[:, :size] = -np.asarray(result.eqlin.marginals).reshape(k, size)
        # The penalty holds those inside its limits at 0, but for rounding of the multipliers.
        variables = sum(map(len, targets))
        inside = np.abs(result.x[variables : variables + k * d]) < limits
        small = np.abs(lines[:, :d]) <= _ROUNDING * np.abs(lines).max()
        lines[:, :d][inside.reshape(k, d) & small] = 0.0
        return lines, -float(result.fun) * unit, int(result.nit)

    def _vertices(
        self, Z: Any, y: np.ndarray, shares: np.ndarray
    ) -> tuple[np.ndarray, float, int] | None:  # fmt: skip
        """What `_program` returns, of all rows with weight, each quantile by itself.

        None where that takes long, or the lines cross, so that they are not the least of all.
        """
        d, size = self.d, self.d + self.intercept
        if (len(y) + d) * size > _SMALL_PROGRAM:
            return None
        Z = Z.toarray() if is_sparse(Z) else Z
        A, t = np.vstack([Z[:, :size], np.eye(d, size)]), np.append(y, np.zeros(d))
        lines, value, total = np.zeros((self.k, d + 1)), 0.0, 0
        middle = np.argsort(y, kind="stable")
        below = np.cumsum(shares[middle])
        for i, q in enumerate(self.quantiles):
            up = np.concatenate([q * shares, self.limits])
            down = np.concatenate([(1 - q) * shares, self.limits])
            # No coefficients, and the quantile of y.
            row = middle[min(np.searchsorted(below, q * below[-1]), len(y) - 1)]
            basis = np.append(len(y) + np.arange(d), row)[:size]
            program = t, up, down, basis, _VERTICES * (size + 1), _SMALL
            solved = vertex.least(A, *program)
            if solved is None and not self.limits.any():
                solved = self._by_orthogonal_features(A, program)
            if solved is None:
                return None
            lines[i, :size], a, count = solved
            value, total = value + float(a[: len(y)] @ y), total + count
        if self.k > 1 and (np.diff(Z @ lines.T, axis=1) < -_CROSSING).any():
            return None
        return lines, value, total

    def _by_orthogonal_features(self, A: np.ndarray, program: Any) -> Any:
        """The same without penalties where features are nearly collinear.

        Multipliers of a hundred-millionth, which other solvers leave, matter beside coefficients
        as large as those are then.
        """
        size, n = A.shape[1], len(A) - self.d
        order = np.roll(np.arange(size), self.intercept)  # the constant remains one
        order = order[np.any(A[:n, order], axis=0)]  # features that do not vary stay zeros
        if not 0 < len(order) <= n:
            return None
        Q, R = np.linalg.qr(A[:n, order])
        steep = np.abs(R.diagonal())
        if not _EPS * n * steep.max() < steep.min() < _COLLINEAR * steep.max():
            return None
        turned = A.copy()
        turned[:n, order] = Q * np.sqrt(n)
        solved = vertex.least(turned, *program)
        if solved is None:
            return None
        c = np.zeros(size)
        c[order] = scipy.linalg.solve_triangular(R, np.sqrt(n) * solved[0][order])
        return c, *solved[1:]

    def _pairs(self, shares: list[np.ndarray]) -> Iterator[tuple[float, np.ndarray]]:
        return zip(self.quantiles, shares, strict=True)

    def advance(self, at: Point, most: int) -> Step:
        """One pass of smoothing, or one program and what it leaves to gain."""
        if not at.done.all():
            at = self.smooth(at)
            return Step(at, None, False)
        return self.cross(at)
