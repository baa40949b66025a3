"""Lloyd's algorithm from given centers: over rows in memory, and over a source of chunks.

Both stop when the centers move by at most `tol` (squared Frobenius norm); unchanged labels leave
the centers where they are, bit for bit, so that case is included. Both end with one more
assignment, so labels and inertia belong to the final centers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator._device import namespace, to_host
from kernelmill.cluster._passes import (
    BestOf,
    Far,
    assign,
    farthest,
    labels_of,
    lloyd_pass,
    sum_of,
)
from kernelmill.ops import kmeans

# One call of the fused op takes about this many flops: 100 ms at 20 GFLOP/s, so that Ctrl-C and
# callbacks are served soon enough.
_SLICE_FLOPS = 2e9
# Bounds pay where comparing a row with every center costs more than reading its two bounds and one
# exact distance: with the product at 200 GFLOP/s a core, from about k d = 2500 on (measured: 1.2
# times faster at k = 100, d = 32; slower at k = 64, d = 16).
_BOUNDS_FROM_K = 16
_BOUNDS_FROM_KD = 2500
_BOUNDS_BYTES = 1 << 30
EMPTY_CLUSTER = 3  # the status of kmeans.lloyd and kmeans.restarts


class Run(NamedTuple):
    """The outcome of one start."""

    centers: Any  # (k, d), float64
    labels: Any  # (n,), int32
    inertia: float
    n_iter: int


def choose_bounds(n: int, d: int, k: int, dtype: np.dtype, algorithm: str) -> bool:
    """Whether to keep two bounds per row, which pass over rows whose label cannot change."""
    if algorithm == "plain":
        return False
    if algorithm == "elkan":
        return k > 1
    worth = k >= _BOUNDS_FROM_K and k * d >= _BOUNDS_FROM_KD
    return worth and 2 * n * dtype.itemsize <= _BOUNDS_BYTES


def steps_per_slice(n: int, d: int, k: int, listening: bool) -> int:
    """Iterations that one call of the fused op may take."""
    return 1 if listening else max(1, int(_SLICE_FLOPS / (2.0 * n * d * k)))


def tolerance(
    tol: float,
    n_features: int,
    first_row: np.ndarray,
    one_pass: Callable,
    owner: str = "KMeans",
) -> float:
    """`tol` times the mean variance of the features, as scikit-learn scales it; weighted.

    Parameters
    ----------
    tol : float
        The estimator's parameter.
    n_features : int
    first_row : ndarray of shape (1, d), float64
        A row of X: variances about a point among the data lose few digits.
    one_pass : callable
        `lloyd_pass` over all rows at given centers.
    owner : str
        What errors call the caller.

    Raises
    ------
    ValueError
        If the weights add up to nothing, or to more than float64 holds.
    """
    if tol == 0:
        return 0.0
    sums, weights, inertia = one_pass(first_row)
    total = float(weights[0])
    if not 0 < total < np.inf:
        raise ValueError(
            f"{owner}: sample_weight must have a positive, finite sum, got {total:g} (scale the "
            "weights)"
        )
    offset = sums[0] / total - first_row[0]
    return tol * max(inertia / total - float((offset * offset).sum()), 0.0) / n_features


def relocated_centers(
    centers: Any, empty: Any, far: Far, dtype: np.dtype, weights: Any = None
) -> Any:
    """Centers with the empty ones moved to the farthest rows; None where no row is left over.

    As in scikit-learn, far is meant from the centers that the rows were last compared with, and a
    row that becomes a center leaves the mean that it was part of. A row that lies on its center
    within rounding, equals one taken before or is alone in its cluster is left: moving a center
    there gains nothing.

    Parameters
    ----------
    centers : array of shape (k, d), float64
        Means of the last step.
    empty : array of int
        Clusters without rows.
    far : Far
        Rows to take, farthest first.
    dtype : dtype
        Of X.
    weights : array of shape (k,), optional
        Weights of the clusters; without them the means stay what they are.
    """
    if not len(far.rows):
        return None
    scale = float((far.rows**2).sum(axis=1).max())
    nothing = scale * (4 * np.finfo(dtype).eps) ** 2
    totals = None if weights is None else to_host(weights).astype(np.float64)
    moved = to_host(centers).copy()
    taken: list[int] = []
    for row in np.flatnonzero(far.squared > nothing):
        if len(taken) == len(empty):
            break
        x, label, weight = far.rows[row], far.labels[row], far.weights[row]
        if any(np.array_equal(x, far.rows[other]) for other in taken):
            continue
        if totals is not None:
            left = totals[label] - weight
            if not left > 1e-12 * totals[label]:  # nothing, but for the rounding of sums
                continue
            moved[label] += weight / left * (moved[label] - x)
            totals[label] = left
        moved[empty[len(taken)]] = x
        taken.append(int(row))
    return namespace(centers).asarray(moved) if taken else None


def _candidates(empty: Any) -> int:
    """How many of the farthest rows to look at: some may be equal."""
    return 4 * len(empty) + 16


def lloyd_in_memory(
    X: Any,
    weight: Any,
    centers: Any,
    *,
    max_iter: int,
    tol: float,
    bounds: Any,
    labels: Any,
    progress: Any,
    state: Callable | None = None,
    always: bool = False,
) -> tuple[Run, bool]:
    """Lloyd's algorithm on a dense array with the fused op.

    Parameters
    ----------
    X : ndarray or CuPy array of shape (n, d)
        Rows.
    weight : array of shape (n,) or None
        Their weights.
    centers : array of shape (k, d), float64
        Where to start.
    max_iter, tol
        When to stop; `tol` is absolute.
    bounds : array of shape (n, 2) or (0, 2), dtype of X
        Space for bounds, overwritten.
    labels : array of shape (n,), int32
        Space for labels, overwritten.
    progress : Progress or QUIET
    state : callable, optional
        ``state(centers, n_iter)`` gives attributes of a usable model to callbacks.
    always : bool, default=False
        Use the bounds in every step, whether they pay or not.

    Returns
    -------
    run : Run
    stopped : bool
        Whether a callback asked to stop.
    """
    n, d = X.shape
    n_steps = steps_per_slice(n, d, len(centers), progress.listening)
    labels.fill(-1)
    pruning = Pruning(bounds, always)
    done, stopped = 0, False
    while done < max_iter and not stopped:
        before = centers
        most = min(n_steps, pruning.steps, max_iter - done)
        centers, weights, steps, shift, status = kmeans.lloyd(
            X, before, labels, pruning.space, weight, most, tol
        )
        done += steps
        pruning.after(steps)
        finished = status in (1, 2)
        if status == EMPTY_CLUSTER:
            empty = np.flatnonzero(to_host(weights) <= 0)
            before = _before_last(X, weight, before, steps)
            found = farthest(X, before, weight, size=_candidates(empty))
            moved = relocated_centers(centers, empty, found, X.dtype, weights)
            if moved is not None:
                centers = moved
                _forget(bounds)
            else:
                finished = shift <= tol
        if progress.listening:
            stopped = _tell(progress, X, weight, centers, done, state)
        if finished:
            break
    labels, squared = kmeans.assign(X, centers)
    return Run(centers, labels, sum_of(squared, weight), done), stopped


class Pruning:
    """When to keep bounds: after some plain steps, for as long as they settle most rows.

    Finding the runner-up makes a step about a third dearer, which is lost while centers still
    move far. So bounds are tried after 8 plain steps; where two steps with bounds leave less than
    half of the rows settled, plain steps go on and the next trial waits twice as long. The trials
    cost a few per cent at most, and no choice changes a bit of the result.

    Parameters
    ----------
    bounds : array of shape (n, 2) or (0, 2)
        Space for bounds, overwritten; without rows no bounds are ever kept.
    always : bool
        Keep them in every step.
    """

    TRIAL = 2

    def __init__(self, bounds: Any, always: bool) -> None:
        self._bounds = bounds
        self._none = bounds[:0]
        self._patience = 8
        self._always = always or not len(bounds)
        self._waited = 0
        self._keep = always
        _forget(bounds)

    @property
    def space(self) -> Any:
        """The bounds argument of the next steps."""
        return self._bounds if self._keep else self._none

    @property
    def steps(self) -> int:
        """How many steps may be taken before `after` wants to know."""
        if self._always:
            return 1 << 30
        return 16 * self.TRIAL if self._settled else self._left()

    def _left(self) -> int:
        return (self.TRIAL if self._keep else self._patience) - self._waited

    _settled = False  # bounds have proved their worth

    def after(self, steps: int) -> None:
        """Decide what follows, now that some steps were taken."""
        if self._always:
            return
        self._waited += steps
        if not self._keep:
            if self._waited >= self._patience:
                self._keep, self._waited = True, 0
                _forget(self._bounds)
        elif self._waited >= self.TRIAL:
            self._settled = bool((self._bounds[:, 0] < self._bounds[:, 1]).mean() > 0.5)
            if not self._settled:
                self._keep, self._waited, self._patience = False, 0, 2 * self._patience


def _before_last(X: Any, weight: Any, centers: Any, steps: int) -> Any:
    """Centers before the last of some steps from `centers`: the same bits, by taking the others."""
    if steps == 1:
        return centers
    xp = namespace(X)
    labels = xp.full(X.shape[0], -1, dtype=np.int32)
    none = xp.empty((0, 2), dtype=X.dtype)
    return kmeans.lloyd(X, centers, labels, none, weight, steps - 1, 0.0)[0]


def _forget(bounds: Any) -> None:
    if len(bounds):
        bounds[:, 0] = np.inf
        bounds[:, 1] = 0


def _tell(progress: Any, X: Any, weight: Any, centers: Any, done: int, state: Any) -> bool:
    return progress.step(
        objective=lambda: sum_of(assign(X, centers)[1], weight),
        state=None if state is None else lambda: state(centers, done),
    )


def lloyd_by_passes(
    source: Any,
    centers: np.ndarray,
    *,
    max_iter: int,
    tol: float,
    progress: Any,
    state: Callable | None = None,
    device: str | None = None,
) -> tuple[Run, bool]:
    """Lloyd's algorithm over a `Source`: chunks anywhere, or a CSR matrix in memory.

    Parameters and results are those of `lloyd_in_memory`; `device` is where the chunks are computed
    on. Cost: ``n_iter + 2`` passes over the source.
    """
    done, stopped = 0, False
    while done < max_iter and not stopped:
        sums, weights, inertia = source.map_reduce(lloyd_pass, centers, device=device)
        done += 1
        filled = weights > 0
        before, centers = centers, centers.copy()
        centers[filled] = sums[filled] / weights[filled, None]
        shift = float(((centers - before) ** 2).sum())
        finished = shift <= tol
        if not filled.all():
            empty = np.flatnonzero(~filled)
            size = _candidates(empty)
            found = source.map_reduce(
                farthest, before, merge=BestOf(size), size=size, device=device
            )
            moved = relocated_centers(centers, empty, found, source.dtype, weights)
            if moved is not None:
                centers, finished = moved, False
        if progress.listening:
            attributes = None if state is None else functools.partial(state, centers, done)
            stopped = progress.step(objective=float(inertia), state=attributes)
        if finished:
            break
    held = source.in_memory
    if held is not None and is_sparse(held):
        [(_, weight)] = source
        labels, squared = assign(held, centers)
        return Run(centers, labels, sum_of(squared, weight), done), stopped
    inertia = float(source.map_reduce(lloyd_pass, centers, device=device)[2])
    labels = np.concatenate(list(source.map(labels_of, centers, device=device)))
    return Run(centers, labels, inertia, done), stopped
