"""The one loop of every iterative fit: starts, iterations, callbacks, Ctrl-C, the best of all."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from kernelmill._estimator._progress import Progress


class Step(NamedTuple):
    """What some iterations lead to.

    Attributes
    ----------
    state : object
        Where the next iteration starts from: new parameters, never old ones changed in place.
    objective : float, callable or None
        What is being optimised; a callable is called only where somebody watches.
    finished : bool
        Whether this start has converged.
    taken : int
        How many iterations they were.
    """

    state: Any
    objective: Any = None
    finished: bool = False
    taken: int = 1


class Run(NamedTuple):
    """The outcome of one start.

    Attributes
    ----------
    state : object
        The last one.
    objective : float
        Of the last iteration.
    history : list of float
        Objectives of all iterations that told a number.
    n_iter : int
        Iterations taken.
    converged : bool
        Whether the start stopped by itself.
    """

    state: Any
    objective: float
    history: list[float]
    n_iter: int
    converged: bool


def climb(
    progress: Progress,
    begin: Callable[[int], Any],
    advance: Callable[[Any, int], Step],
    *,
    max_iter: int,
    attributes: Callable[[Any, int], dict[str, Any]],
    starts: int = 1,
    finish: Callable[[Run], Run] | None = None,
    better: Callable[[float, float], bool] = operator.gt,
) -> Run:
    """Follow each start until it stands still, and keep the best.

    Parameters
    ----------
    progress : Progress
        Told of every run and iteration.
    begin : callable
        ``begin(number)`` gives the state that a start begins from.
    advance : callable
        ``advance(state, most)`` takes at least one iteration, and at most so many: one where
        somebody watches.
    max_iter : int
        Most iterations of a start.
    attributes : callable
        ``attributes(state, n_iter)`` gives fitted attributes that make a usable model: for
        callbacks, and for a fit that is interrupted.
    starts : int, default=1
        Number of starts.
    finish : callable, optional
        Completes a run: what only its last state needs, such as labels.
    better : callable, default=operator.gt
        ``better(objective, best)``: whether a run replaces the best one so far.

    Returns
    -------
    Run
        The best one, the first among equal ones.

    Notes
    -----
    A state holds new arrays rather than old ones that were changed, so Ctrl-C at any moment leaves
    one that is whole. The exception takes the attributes of it along; see
    `kernelmill._estimator._base.fitting`. With several starts these are those of the best finished
    start, once there is one.
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
                if progress.listening:
                    stopped = progress.step(
                        objective, functools.partial(attributes, state, done)
                    )
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
    assert best is not None  # there is at least one start
    progress.end_fit(functools.partial(attributes, best.state, best.n_iter))
    return best
