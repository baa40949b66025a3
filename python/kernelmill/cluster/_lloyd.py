"""Lloyd's algorithm over rows: the fused op where rows are dense in memory, passes elsewhere.

A descent supplies the iterations of `climb`. It stops when the centers move by at most `tol`
(squared Frobenius norm), which includes unchanged labels: these leave every bit of the centers. A
last assignment makes labels and inertia those of the final centers.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import QUIET
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import zero_weights
from kernelmill.cluster._statistics import (
    BestOf,
    Far,
    assign,
    farthest,
    labels_of,
    lloyd_pass,
    sum_of,
)
from kernelmill.ops import kmeans

# Flops of one call of the fused op, 100 ms at 20 GFLOP/s: the delay of Ctrl-C.
_SLICE_FLOPS = 2e9
# Bounds pay where comparing a row with every center costs more than reading its two bounds and one
# exact distance: with the product at 200 GFLOP/s a core, from about k d = 2500 on (measured: 1.2
# times faster at k = 100, d = 32; slower at k = 64, d = 16).
_BOUNDS_FROM_K = 16
_BOUNDS_FROM_KD = 2500
_BOUNDS_BYTES = 1 << 30
EMPTY_CLUSTER = 3  # the status of kmeans.lloyd and kmeans.restarts


class Partition(NamedTuple):
    """The state of a descent."""

    centers: Any  # (k, d), float64
    labels: Any = None  # (n,), int32: nearest centers, once the descent is finished


def choose_bounds(n: int, d: int, k: int, dtype: np.dtype, algorithm: str) -> bool:
    """Whether to keep two bounds per row, which skip rows whose label cannot change."""
    if algorithm == "plain":
        return False
    if algorithm == "elkan":
        return k > 1
    worth = k >= _BOUNDS_FROM_K and k * d >= _BOUNDS_FROM_KD
    return worth and 2 * n * dtype.itemsize <= _BOUNDS_BYTES


def steps_per_slice(n: int, d: int, k: int) -> int:
    """Most iterations of one call of the fused op."""
    return max(1, int(_SLICE_FLOPS / (2.0 * n * d * k)))


def tolerance(rows: Rows, tol: float) -> float:
    """`tol` times the mean variance of the features, as scikit-learn scales it; weighted."""
    if tol == 0:
        return 0.0
    # Variances about one of the rows lose few digits.
    first = rows.take(np.array([0])).astype(np.float64)
    sums, weights, inertia = rows.map_reduce(lloyd_pass, first)
    total = float(weights[0])
    if not 0 < total < np.inf:
        raise ValueError(
            f"{rows.owner}: sample_weight must have a positive, finite sum, got {total:g} (scale "
            "the weights)"
        )
    offset = sums[0] / total - namespace(sums).asarray(first[0])
    return tol * max(inertia / total - float((offset * offset).sum()), 0.0) / rows.n_features


def rounding(rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Squared distances from float64 rows to centers that equal them, at most, by rounding."""
    return (rows**2).sum(axis=1) * (4 * np.finfo(dtype).eps) ** 2


def relocated_centers(
    centers: Any, empty: Any, far: Far, dtype: np.dtype, weights: Any = None
) -> Any:
    """Centers with the empty ones moved to the costliest rows; None if no row can be used.

    The cost of a row is its weight times its squared distance to the nearest center of the last
    assignment. Without weights this is the choice of scikit-learn, which ranks by distance alone.
    As there, a row that becomes a center leaves the mean of its cluster. Rows that lie on their
    center within rounding, equal one already taken or are alone in their cluster are skipped:
    nothing would be gained.

    Parameters
    ----------
    centers : array of shape (k, d), float64
        Means of the last step.
    empty : array of int
        Clusters without rows.
    far : Far
        Rows to use, the costliest first.
    weights : array of shape (k,), optional
        Weights of the clusters; without them the means are not changed.
    """
    if not len(far.rows):
        return None
    totals = None if weights is None else to_host(weights).astype(np.float64)
    moved = to_host(centers).copy()
    taken: list[int] = []
    for row in np.flatnonzero((far.costs > 0) & (far.squared > rounding(far.rows, dtype))):
        if len(taken) == len(empty):
            break
        x, label, weight = far.rows[row], far.labels[row], far.weights[row]
        if any(np.array_equal(x, far.rows[other]) for other in taken):
            continue
        if totals is not None:
            left = totals[label] - weight
            if not left > 1e-12 * totals[label]:  # zero within the rounding of sums
                continue
            moved[label] += weight / left * (moved[label] - x)
            totals[label] = left
        moved[empty[len(taken)]] = x
        taken.append(int(row))
    return namespace(centers).asarray(moved) if taken else None


def far_rows(rows: Rows, centers: Any, n_empty: int) -> Far:
    """Candidates for empty clusters, more than needed because some may be equal."""
    size = 4 * n_empty + 16
    return rows.map_reduce(farthest, centers, merge=BestOf(size), size=size)


class Descent:
    """Lloyd's algorithm by passes, over rows of any kind.

    Parameters
    ----------
    rows : Rows
    tol : float
        Absolute tolerance.
    k : int, optional
        Number of clusters, which only the fused op needs, as it does the algorithm.
    algorithm : {"lloyd", "elkan", "plain"}, optional
        Whether to keep bounds where that is faster, always or never.
    """

    def __init__(self, rows: Rows, tol: float, k: int = 0, algorithm: str = "") -> None:
        self.rows, self.tol, self.bounded = rows, tol, False

    def begin(self, centers: Any) -> Partition:
        """The initial state of a start from these centers."""
        return Partition(centers)

    def advance(self, state: Partition, most: int) -> Step:
        """One iteration, one pass."""
        before = state.centers
        sums, weights, inertia = self.rows.map_reduce(lloyd_pass, before)
        filled = weights > 0
        if not bool(filled.any()):  # of a stream, whose weights are not known before
            raise zero_weights(self.rows.owner)
        centers = before.copy()
        centers[filled] = sums[filled] / weights[filled, None]
        finished = float(((centers - before) ** 2).sum()) <= self.tol
        if not bool(filled.all()):
            empty = np.flatnonzero(~to_host(filled))
            far = far_rows(self.rows, before, len(empty))
            moved = relocated_centers(centers, empty, far, self.rows.dtype, weights)
            if moved is not None:
                centers, finished = moved, False
        return Step(Partition(centers), float(inertia), finished)

    def finish(self, run: Run) -> Run:
        """The run with labels, and the inertia of its final centers."""
        rows, centers = self.rows, run.state.centers
        if rows.is_stream:
            inertia = float(rows.map_reduce(lloyd_pass, centers)[2])
            labels = rows.map(labels_of, centers)
        else:
            labels, squared = assign(rows.X, centers)
            inertia = sum_of(squared, rows.weight)
        return Run(Partition(centers, labels), inertia, run.history, run.n_iter, run.converged)


class FusedDescent(Descent):
    """Lloyd's algorithm over dense rows in memory: many iterations in one call of the fused op."""

    def __init__(self, rows: Rows, tol: float, k: int, algorithm: str = "lloyd") -> None:
        self.rows, self.tol = rows, tol
        n, d = rows.count, rows.n_features
        self.bounded = choose_bounds(n, d, k, rows.dtype, algorithm)
        self._bounds = rows.xp.empty((n if self.bounded else 0, 2), dtype=rows.dtype)
        self._labels = rows.xp.empty(n, dtype=np.int32)
        self._most = steps_per_slice(n, d, k)
        self._always = algorithm == "elkan"

    def begin(self, centers: Any) -> Partition:
        """The initial state of a start from these centers."""
        self._labels.fill(-1)
        self._pruning = Pruning(self._bounds, self._always)
        return Partition(centers)

    def advance(self, state: Partition, most: int) -> Step:
        """One or more iterations, in one call."""
        X, weight, before = self.rows.X, self.rows.weight, state.centers
        most = min(self._most, self._pruning.steps, most)
        centers, weights, steps, shift, status = kmeans.lloyd(
            X, before, self._labels, self._pruning.space, weight, most, self.tol
        )
        self._pruning.after(steps)
        finished = status in (1, 2)
        if status == EMPTY_CLUSTER:
            empty = np.flatnonzero(to_host(weights) <= 0)
            far = far_rows(self.rows, self._before_last(before, steps), len(empty))
            moved = relocated_centers(centers, empty, far, X.dtype, weights)
            if moved is not None:
                centers = moved
                _forget(self._bounds)
            else:
                finished = shift <= self.tol
        return Step(
            Partition(centers), lambda: sum_of(assign(X, centers)[1], weight), finished, steps
        )

    def _before_last(self, centers: Any, steps: int) -> Any:
        """Centers before the last of some steps, by repeating the others: the same bits."""
        if steps == 1:
            return centers
        labels = self.rows.xp.full(len(self.rows.X), -1, dtype=np.int32)
        X, weight = self.rows.X, self.rows.weight
        return kmeans.lloyd(X, centers, labels, self._bounds[:0], weight, steps - 1, 0.0)[0]


def lloyd(rows: Rows, centers: Any, *, max_iter: int, tol: float, algorithm: str = "lloyd") -> Run:
    """One start without progress reports, as part of another fit."""
    descent = (FusedDescent if rows.is_dense else Descent)(rows, tol, len(centers), algorithm)
    return climb(
        QUIET,
        lambda number: descent.begin(centers),
        descent.advance,
        max_iter=max_iter,
        attributes=lambda state, n_iter: {},
        finish=descent.finish,
        better=operator.lt,
    )


class Pruning:
    """Chooses the steps that keep bounds: those in which they settle most rows.

    Finding the runner-up makes a step about a third slower, which is wasted while centers still
    move far. So bounds are tried after 8 plain steps; if two steps with bounds settle less than
    half of the rows, plain steps follow and the next trial waits twice as long. The trials cost a
    few per cent at most, and no choice changes a bit of the result.

    Parameters
    ----------
    bounds : array of shape (n, 2) or (0, 2)
        Space for bounds, overwritten; with no rows bounds are never kept.
    always : bool
        Whether to keep bounds in every step.
    """

    TRIAL = 2

    def __init__(self, bounds: Any, always: bool) -> None:
        self._bounds = bounds
        self._none = bounds[:0]
        self._patience = 8
        self._always = always or not len(bounds)
        self._waited = 0
        self._keeps_bounds = always
        _forget(bounds)

    @property
    def space(self) -> Any:
        """The bounds argument of the next steps."""
        return self._bounds if self._keeps_bounds else self._none

    @property
    def steps(self) -> int:
        """Most steps before `after` must be called."""
        if self._always:
            return 1 << 30
        return 16 * self.TRIAL if self._settled else self._left()

    def _left(self) -> int:
        return (self.TRIAL if self._keeps_bounds else self._patience) - self._waited

    _settled = False  # a trial has succeeded

    def after(self, steps: int) -> None:
        """Choose whether the next steps keep bounds, after this many were taken."""
        if self._always:
            return
        self._waited += steps
        if not self._keeps_bounds:
            if self._waited >= self._patience:
                self._keeps_bounds, self._waited = True, 0
                _forget(self._bounds)
        elif self._waited >= self.TRIAL:
            self._settled = bool((self._bounds[:, 0] < self._bounds[:, 1]).mean() > 0.5)
            if not self._settled:
                self._keeps_bounds, self._waited, self._patience = False, 0, 2 * self._patience


def _forget(bounds: Any) -> None:
    if len(bounds):
        bounds[:, 0] = np.inf
        bounds[:, 1] = 0
