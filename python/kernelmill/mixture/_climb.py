"""EM: expect, update, until the bound stands still; the best of some starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Run(NamedTuple):
    """The outcome of one start."""

    model: Any
    bound: float  # the last bound: that of the model before the last update
    bounds: list[float]
    n_iter: int
    converged: bool


def climb(
    rows: Any,
    model: Any,
    *,
    max_iter: int,
    tol: float,
    bound: float,
    progress: Any,
    state: Callable[[Any], dict[str, Any]],
    owner: str,
) -> tuple[Run, bool]:
    """Alternate E- and M-steps from one start.

    Parameters
    ----------
    rows : MemoryRows or StreamRows
    model : object
        Has ``gaussians``, ``offsets``, ``bound(moments)`` and ``updated(moments)``.
    max_iter : int
        Most iterations.
    tol : float
        Stop when the bound changes by less.
    bound : float
        Bound of the iteration before the first, -inf where there was none.
    progress : Progress
        Told of every iteration.
    state : callable
        Attributes that make a usable estimator of a model.
    owner : str
        What errors call the caller.

    Returns
    -------
    run : Run
    stopped : bool
        Whether a callback asked to stop.

    Notes
    -----
    One pass over the rows an iteration. As in scikit-learn, the bound of an iteration is that of
    the parameters it started from: it comes out of the same pass.
    """
    bounds: list[float] = []
    converged = stopped = False
    while len(bounds) < max_iter and not (converged or stopped):
        moments = rows.expect(model.gaussians, model.offsets)
        before, bound = bound, model.bound(moments)
        if not np.isfinite(bound):
            single = rows.dtype == np.float32
            raise ValueError(
                f"{owner}: X must be small enough to be squared in {rows.dtype}, got a bound of "
                f"{bound:g} (scale X{', or pass float64' if single else ''})"
            )
        model = model.updated(moments)
        bounds.append(bound)
        converged = abs(bound - before) < tol
        if progress.listening:
            stopped = progress.step(objective=bound, state=lambda model=model: state(model))
    return Run(model, bound, bounds, len(bounds), converged), stopped


def best_of_starts(
    starts: int, begin: Callable[[int], Any], follow: Callable, progress: Any
) -> Run:
    """The run with the greatest bound, the first among equal ones."""
    best: Run | None = None
    for number in range(starts):
        progress.begin_run()
        run, stopped = follow(begin(number))
        if best is None or run.bound > best.bound:
            best = run
        skip = progress.end_run(
            "start %d of %d: bound %.6g after %d iterations",
            number + 1,
            starts,
            run.bound,
            run.n_iter,
            objective=run.bound,
        )
        if stopped or skip:
            break
    assert best is not None  # there is at least one start
    return best
