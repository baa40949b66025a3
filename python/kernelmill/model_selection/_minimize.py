"""minimize: Bayesian optimisation of a function."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill.model_selection._optimizer import BayesianOptimizer
from kernelmill.model_selection._record import Entry, Record
from kernelmill.model_selection._space import Space
from kernelmill.model_selection._words import LOOP, OPTIONS, WORDS, check_options

Evaluate = Callable[[list[Any]], list[tuple[float, str | None, dict[str, Any] | None]]]


def search(
    optimizer: BayesianOptimizer, record: Record, evaluate: Evaluate, given: list[Any], *,
    total: int, n_points: int, progress: Progress, callback: Any = None,
    timeout: float | None = None,
) -> str:  # fmt: skip
    """Evaluate points until there are so many, and say why it ended.

    Parameters
    ----------
    optimizer : BayesianOptimizer
        Has been told nothing.
    record : Record
        Has the evaluations to go on from, and gets those made.
    evaluate : callable
        Gives value, error and details for each of a list of points.
    given : list
        Rows of numbers to evaluate first.
    total : int
        Number of evaluations, those of the record included.
    n_points : int
        How many at a time.
    progress : Progress
        Is told of each.
    callback : callable, optional
        ``callback(result)``, after each; a true result ends the search.
    timeout : float, optional
        Seconds after which no evaluation begins.
    """
    began, stopped = time.monotonic(), False
    for entry in record.entries:
        optimizer._tell_row(entry.row, entry.y, entry.error)
    progress.begin_run()
    for entry in record.entries:
        progress.step(entry.y)
    try:
        while optimizer.n_told < total:
            if stopped:
                return "a callback ended the search"
            if timeout is not None and time.monotonic() - began >= timeout:
                return f"the time of {timeout:g} seconds is over"
            first = optimizer.n_told
            count = min(n_points, total - first)
            rows = given[first : first + count] or optimizer._ask_rows(count)
            if not len(rows):
                return f"all {optimizer.space.size:.0f} points of the space have been evaluated"
            found = evaluate([optimizer.space.point(row) for row in rows])
            for row, (y, error, details) in zip(rows, found, strict=True):
                record.entries.append(Entry(row, y, error, details))
                optimizer._tell_row(row, y, error)
            record.write()
            for _ in rows:
                stopped |= progress.step(optimizer.result().fun)
            if callback is not None:
                stopped |= bool(callback(optimizer.result()))
        return f"{total} evaluations were made"
    except KeyboardInterrupt as interrupt:
        interrupt.result = optimizer.result()  # type: ignore[attr-defined]
        raise


def minimize(
    f, space, *, n_calls=50, n_initial_points=None, x0=None, y0=None, acquisition="EI", xi=None,
    kappa=1.96, n_points=1, n_jobs=None, error_score=np.nan, timeout=None, callback=None,
    checkpoint=None, random_state=None, verbose=0,
):  # fmt: skip
    """Minimise a function that is costly to evaluate, by Bayesian optimisation.

    A Gaussian process with a length scale for each dimension is fitted to the values so far, and
    the next point is the one where most improvement is expected.

    Parameters
    ----------
    f : callable
        The objective, ``f(x) -> float``; x is a list, or a dict if `space` is one. It may be noisy.
        NaN or an infinity says that the evaluation failed.
    n_calls : int, default=50
        Number of evaluations.
    x0 : list, dict, or list of these, optional
        A point to evaluate first, or several.
    y0 : float or list of float, optional
        Values at `x0`, if they are known. They do not count as evaluations.
    callback : callable, optional
        ``callback(result)``, called after each evaluation; a true result ends the search.

    Returns
    -------
    result : SearchResult
        The best point ``x``, the value ``fun`` there, the record ``x_iters`` and ``func_vals``,
        the ``models``, and a ``message`` that says why the search ended.

    Raises
    ------
    ValueError
        If an argument or the space does not fit, or `checkpoint` is of another search.
    KeyboardInterrupt
        On Ctrl-C; the exception has the `SearchResult` so far as ``result``.

    Warns
    -----
    RuntimeWarning
        If evaluations failed.
    UserWarning
        If the space has fewer points than `n_calls`.

    See Also
    --------
    BayesianOptimizer : Ask and tell, for loops of your own.
    BayesSearchCV : Search of hyperparameters by cross-validation.

    Notes
    -----
    The result depends on `n_points`, not on `n_jobs`. ``minimize(a f + b)`` with a > 0 evaluates
    the same points, up to the rounding of values. Where the space is finite no point is evaluated
    twice. See `docs/bayesian-optimisation.md` for the model and the derivation of the acquisition
    functions.

    References
    ----------
    Jones, Schonlau and Welch (1998), "Efficient global optimization of expensive black-box
    functions"; Ament et al. (2023), "Unexpected improvements to expected improvement for Bayesian
    optimization", for its logarithm.

    Examples
    --------
    >>> from kernelmill.model_selection import minimize
    >>> def branin(x):
    ...     a, b = x
    ...     from math import cos, pi
    ...     bowl = b - 5.1 / (4 * pi**2) * a**2 + 5 / pi * a - 6
    ...     return bowl**2 + 10 * (1 - 1 / (8 * pi)) * cos(a) + 10
    >>> result = minimize(branin, [(-5.0, 10.0), (0.0, 15.0)], n_calls=40, random_state=0)
    >>> bool(result.fun < 0.5)  # the minimum is 0.397887
    True

    Names, choices, and a dimension that only one of the choices has:

    >>> from kernelmill.model_selection import Real
    >>> space = {
    ...     "kind": ["flat", "steep"],
    ...     "scale": Real(1e-3, 1e3, "log-uniform", when={"kind": "steep"}),
    ... }
    >>> def cost(x):
    ...     return 1.0 if x["kind"] == "flat" else abs(x["scale"] - 2.0)
    >>> minimize(cost, space, n_calls=20, random_state=0).x["kind"]
    'steep'
    """
    owner = "minimize"
    given = locals()
    check_options(owner, {**OPTIONS, **LOOP}, {k: given[k] for k in (*OPTIONS, *LOOP)})
    if not callable(f):
        raise rule.InvalidParameterError(f"{owner}: f must be callable, got {rule.shown(f)}")
    known = Space(space, owner)
    given_rows, values = _start(known, x0, y0, owner)
    made_of = {
        "n_initial_points": n_initial_points, "acquisition": acquisition, "xi": xi, "kappa": kappa,
        "n_points": n_points, "x0": [known.stored(v) for v in given_rows], "y0": values,
    }  # fmt: skip
    keeps = not rule.is_integer(random_state)
    record = Record(owner, known, checkpoint, made_of, seed_of(random_state), keeps)
    if not record.entries:
        record.entries += [Entry(row, y) for row, y in zip(given_rows, values, strict=False)]
    optimizer = BayesianOptimizer(
        known, n_initial_points=n_initial_points, acquisition=acquisition, xi=xi, kappa=kappa
    )
    optimizer.seed = record.seed
    total = n_calls + len(values)
    with Progress(optimizer, verbose, iterations=total, unit="evaluation") as progress:
        message = search(
            optimizer, record, lambda points: _values(f, points, error_score, n_jobs, owner),
            given_rows,
            total=total, n_points=n_points, progress=progress, callback=callback, timeout=timeout,
        )  # fmt: skip
    result = optimizer.result()
    result.message = message
    failures = [(i, e) for i, e in enumerate(result.errors) if np.isnan(result.func_vals[i])]
    if failures:
        at, why = failures[0]
        warn(
            f"{owner}: f must be finite, got {len(failures)} of {result.nfev} evaluations that "
            f"failed, the first at {rule.shown(result.x_iters[at])} ({why or 'it was not finite'})",
            RuntimeWarning,
        )
    if result.nfev < total and optimizer.is_exhausted:
        warn(f"{owner}: n_calls must be at most the size of a finite space, got {n_calls} "
             f"({message})", UserWarning)  # fmt: skip
    return result


complete(minimize, WORDS)


def _start(space: Space, x0: Any, y0: Any, owner: str) -> tuple[list[np.ndarray], list[float]]:
    """Rows of numbers, and values, of given points."""
    if x0 is None:
        if y0 is not None:
            raise ValueError(f"{owner}: x0 must be given with y0, got None")
        return [], []
    try:
        rows = [space.row(x0)]
    except ValueError:
        several = not isinstance(x0, str | dict) and hasattr(x0, "__len__") and len(x0)
        if not several or (not space.as_dict and not hasattr(x0[0], "__len__")):
            raise
        rows = [space.row(x) for x in x0]
    if y0 is None:
        return rows, []
    values = [y0] if rule.is_real(y0) else list(y0)
    if len(values) != len(rows) or not all(map(rule.is_real, values)):
        raise ValueError(
            f"{owner}: y0 must be a number for each of the {len(rows)} points of x0, got "
            f"{rule.shown(y0)}"
        )
    return rows, [float(y) for y in values]


def _value(f: Any, x: Any, error_score: Any) -> tuple[Any, str | None]:
    try:
        return f(x), None
    except Exception as error:
        if error_score == "raise":
            raise
        return float(error_score), f"{type(error).__name__}: {error}"


def _values(
    f: Any, points: list[Any], error_score: Any, n_jobs: int | None, owner: str
) -> list[tuple[float, str | None, None]]:
    if n_jobs in (None, 1) or len(points) == 1:
        found = [_value(f, x, error_score) for x in points]
    else:
        from joblib import Parallel, delayed

        found = Parallel(n_jobs=n_jobs)(delayed(_value)(f, x, error_score) for x in points)
    result = []
    for y, error in found:
        whole = y.item() if getattr(y, "size", 0) == 1 else y
        if not rule.is_real(whole):
            raise TypeError(f"{owner}: f must return a number, got {rule.shown(y)}")
        result.append((float(whole), error, None))
    return result
