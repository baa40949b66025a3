"""The loop of every iterative fit: starts, iterations, callbacks, Ctrl-C, the best run."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator._base import warn
from kernelmill._estimator._progress import Progress


class Step(NamedTuple):
    """The result of one or more iterations."""

    state: Any  # new parameters, never old ones changed in place
    objective: Any = None  # a number, or a callable, called only while progress is reported
    finished: bool = False  # whether this start has converged
    taken: int = 1  # number of iterations


class Run(NamedTuple):
    """The outcome of one start."""

    state: Any  # after the last iteration
    objective: float  # of the last iteration
    history: list[float]  # objectives of the iterations that gave a number
    n_iter: int
    converged: bool  # rather than stopped by max_iter or a callback


def warn_unconverged(owner: str, run: Run, name: str, most: int) -> None:
    """Warn where the limit on iterations, the parameter of this name, has ended the best run."""
    if not run.converged and 0 < most <= run.n_iter:  # rather than stopped by a callback
        warn(
            f"{owner}: the best start did not converge in {name}={most} iterations (raise {name} "
            f"or tol, try another start, or look for degenerate data)",
            ConvergenceWarning,
        )


def climb(
    progress: Progress, begin: Callable[[int], Any], advance: Callable[[Any, int], Step], *,
    max_iter: int, attributes: Callable[[Any, int], dict[str, Any]], starts: int = 1,
    finish: Callable[[Run], Run] | None = None, better: Callable[[float, float], bool] = operator.gt
) -> Run:
    """Iterate from each start until it converges, and keep the best run.

    Parameters
    ----------
    progress : Progress
        Reports every run and iteration.
    begin : callable
        ``begin(number)`` returns the initial state of a start.
    advance : callable
        ``advance(state, most)`` takes between 1 and `most` iterations and returns a `Step`; `most`
        is 1 while progress is reported. ``taken=0`` ends a start that has no more data.
    max_iter : int
        Most iterations of a start.
    attributes : callable
        ``attributes(state, n_iter)`` returns the fitted attributes of a usable model, for callbacks
        and interrupted fits.
    starts : int, default=1
        Number of starts.
    finish : callable, optional
        Completes a run with what only its last state needs, such as labels.
    better : callable, default=operator.gt
        ``better(objective, best)``: whether a run replaces the best one so far.

    Returns
    -------
    Run
        The best run, the first in a tie.

    Notes
    -----
    States are never changed in place, so the state is complete whenever Ctrl-C arrives. The
    exception carries its attributes, or those of the best finished run if there is one; see
    `kernelmill._estimator._base.fitting`.
    """
    best: Run | None = None
    state, done = None, 0
    try:
        for number in range(starts):
            progress.begin_run()
            state, done = begin(number), 0
            history: list[float] = []
            finished = stopped = False
            objective: Any = None
            while done < max_iter and not (finished or stopped):
                state, objective, finished, taken = advance(
                    state, 1 if progress.listening else max_iter - done
                )
                done += taken
                if not callable(objective) and objective is not None:
                    history.append(objective)
                if progress.listening and taken:
                    stopped = progress.step(objective, functools.partial(attributes, state, done))
            value = history[-1] if history else float("nan")
            run = Run(state, value, history, done, finished)
            if finish is not None:
                run = finish(run)
            if best is None or better(run.objective, best.objective):
                best = run
            skip = progress.end_run(
                "run %d of %d: objective %.6g after %d iterations",
                number + 1,
                starts,
                run.objective,
                run.n_iter,
                objective=run.objective,
                state=functools.partial(attributes, run.state, run.n_iter),
            )
            if stopped or skip:
                break
    except KeyboardInterrupt as interrupt:
        if best is not None:
            state, done = best.state, best.n_iter
        if state is not None:
            interrupt.attributes = attributes(state, done)  # type: ignore[attr-defined]
        raise
    assert best is not None  # starts >= 1
    progress.end_fit(functools.partial(attributes, best.state, best.n_iter))
    return best
