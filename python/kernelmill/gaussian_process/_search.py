"""Searches for hyperparameters that are watched, stopped, and resumed from a file.

An optimizer is a function of the values that it is given. So a search is the list of its
evaluations: one that goes on repeats the optimizer's steps from the list, which takes no time,
and then evaluates. It ends at the same bits, whatever the optimizer is, if it makes no random
choices of its own; hyperparameters are few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill.gaussian_process.kernels._kernel import Kernel

OTHERS = (
    "{}: warm_start=True must go on with the rows, targets and options of the search that was "
    "interrupted, got others (warm_start=False begins a new one)"
)

Attributes = Callable[[], dict[str, Any]]


def fingerprint(*arrays: Any) -> list[str]:
    """What tells arrays from others, for `Search`."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [float(s) for a in arrays for s in (a.sum(), a.ravel()[::2].sum(), (a * a).sum())]
    return [repr(s) for s in sums] + [repr(a.shape) for a in arrays]


def described(kernel: Kernel) -> str:
    """What tells a kernel from others: its repr, and its parameters to all digits with bounds."""
    fixed = [h.name for h in kernel.hyperparameters if h.fixed]
    params = kernel.get_params() if fixed else {}
    kept = [(name, np.asarray(params.get(name)).tolist()) for name in fixed]
    return repr((repr(kernel), kernel.theta.tolist(), kernel.bounds.tolist(), kept))


class Stopped(Exception):
    """A callback has ended the run."""


class Search:
    """The evaluations of a fit.

    Parameters
    ----------
    model : Estimator
        With ``warm_start=True`` an interrupted search that it holds goes on.
    X, y
        What callbacks are told.
    made_of : list
        Plain values that tell this search from others.
    runs : int, default=1
        Most runs.
    seed : int, optional
        Drawn already.

    Attributes
    ----------
    seed : int
        Of the search, also where an earlier fit has begun it.
    warm : bool
        ``warm_start`` of the fit that has begun it.
    keeps : bool
        Whether attributes may be asked for.
    """

    def __init__(
        self, model: Any, X: Any, y: Any, made_of: list[Any], runs: int = 1, seed: int | None = None
    ) -> None:
        self._model, self._made_of = model, made_of
        kept = vars(model).get("_search") if model.warm_start else None
        if kept is not None and kept["made_of"] != made_of:
            raise ValueError(OTHERS.format(type(model).__name__))
        if seed is None:
            seed = seed_of(model.random_state) if kept is None else kept["seed"]
        self.seed = seed
        self.warm = bool(model.warm_start) if kept is None else kept["warm"]
        self._evaluations = [] if kept is None else list(kept["evaluations"])
        self._at, self._value, self._whole = 0, -math.inf, True
        self._theta: np.ndarray | None = None
        self._attributes: Attributes | None = None
        self.progress = Progress(model, False, runs=runs, unit="evaluation", X=X, y=y)
        self.keeps = self.progress.listening or bool(model.warm_start)

    def __enter__(self) -> Search:
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        if error is None:
            vars(self._model).pop("_search", None)
        elif isinstance(error, KeyboardInterrupt) and self._attributes is not None:
            error.attributes = self.state()  # type: ignore[attr-defined]

    def state(self) -> dict[str, Any]:
        """A model of the best evaluation, with the search."""
        assert self._attributes is not None
        search = {
            "made_of": self._made_of, "seed": self.seed, "warm": self.warm,
            "evaluations": list(self._evaluations[: self._at]),
        }  # fmt: skip
        return {**self._attributes(), "_search": search}

    def run(self, climb: Callable[[], tuple[np.ndarray, float]]) -> tuple[np.ndarray, float, bool]:
        """A run's parameters and value, and whether a callback ends the search."""
        self.progress.begin_run()
        self.forget()
        stopped = False
        try:
            theta, value = climb()
        except Stopped:
            assert self._theta is not None
            # Likelihoods of some of the rows are larger than those of all.
            theta, value, stopped = self._theta, self._value if self._whole else -math.inf, True
        skip = self.progress.end_run("log marginal likelihood %.6g", value, objective=value)
        return theta, value, stopped or skip

    def forget(self, whole: bool = True) -> None:
        """What comes next, of all rows or of some, is not to be compared with what was."""
        self._value, self._whole = -math.inf, whole

    def evaluate(
        self, theta: np.ndarray, compute: Callable[[], tuple], attributes: Attributes
    ) -> tuple[Any, ...]:
        """``compute()``, whose first number is the value, unless the search has it already.

        Parameters
        ----------
        theta : ndarray of shape (p,)
        compute : callable
            Gives a tuple of numbers and arrays.
        attributes : callable
            Gives the attributes of a usable model of this evaluation, once it was computed.
        """
        if self._at < len(self._evaluations):
            before, result = self._evaluations[self._at]
            if not np.array_equal(before, theta):
                raise ValueError(
                    f"{type(self._model).__name__}: warm_start=True must go on with an optimizer "
                    "that makes the same steps again, got another (warm_start=False begins anew)"
                )
            self._at += 1
            self._better(theta, result[0], None)
            return result
        result = compute()
        if not self.keeps:
            return result
        self._evaluations.append((theta.copy(), result))
        self._at += 1
        self._better(theta, result[0], attributes)
        listening, known = self.progress.listening, self._attributes is not None
        if listening and self.progress.step(float(result[0]), self.state if known else None):
            raise Stopped
        return result

    def _better(self, theta: np.ndarray, value: float, attributes: Attributes | None) -> None:
        better = value > self._value
        if better or self._theta is None:
            self._theta, self._value = theta.copy(), value
        # A search that goes on has none of the best before.
        if better or (self._attributes is None and value > -math.inf):
            self._attributes = attributes or self._attributes
