"""Progress of a fit: scikit-learn's callbacks where they exist, a tqdm bar under ``verbose``.

A fit opens `Progress` and reports to it each run and iteration, whereupon a callback may stop the
fit. Without callbacks and bar, ``progress.listening`` is False and loops may take many iterations
at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

try:  # scikit-learn 1.9 and later
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]  # takes the place of the import
        """Placeholder for versions of scikit-learn without callbacks."""

    def with_callbacks(method):
        """Return the method unchanged."""
        return method


__all__ = ["QUIET", "CallbackSupportMixin", "Progress", "heard", "with_callbacks"]

logger = logging.getLogger("kernelmill")
# Seconds between two evaluations of an objective that costs a pass of its own.
_OBJECTIVE_EVERY = 0.25


class _Heard(threading.local):
    def __init__(self) -> None:
        self.models: dict[int, bool] = {}


_heard = _Heard()


def heard() -> dict[int, bool]:
    """Of the models, by id, that are being fitted in this thread: whether callbacks have heard."""
    return _heard.models


class Progress:
    """The callbacks and the progress bar of one fit.

    Parameters
    ----------
    estimator : object
        The model being fitted.
    verbose : bool or int
        Whether to show a bar.
    runs, iterations : int or None
        Most runs (restarts), and most iterations of each; None if unknown.
    unit : str, default="iteration"
        Name of an iteration.
    X, y, metadata : optional
        Passed to callbacks.

    Attributes
    ----------
    listening : bool
        Whether single iterations are reported.

    Notes
    -----
    Callbacks see a fit as a tree of tasks: fit, run, iteration.
    """

    def __init__(
        self, estimator: Any, verbose: Any, *, runs: int = 1, iterations: int | None = None,
        unit: str = "iteration", X: Any = None, y: Any = None,
        metadata: dict[str, Any] | None = None
    ) -> None:
        self._name = type(estimator).__name__
        self._estimator = estimator
        self._iterations = iterations
        self._unit = unit
        self._data = {"X": X, "y": y, "metadata": metadata}
        self._bar: Any = None
        self._root: Any = None
        self._run: Any = None
        self._runs, self._run_number = runs, 0
        self._last = self._cost = 0.0
        if getattr(estimator, "_skl_callbacks", None) and hasattr(
            estimator, "_init_callback_context"
        ):
            self._root = estimator._init_callback_context(max_subtasks=runs)
            if id(estimator) in _heard.models:  # others have no end at which to be told
                _heard.models[id(estimator)] = True
            self._root.call_on_fit_task_begin(estimator=estimator, **self._data)
        if verbose:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=iterations, desc=self._name, unit=unit, leave=True)
        self.listening = self._root is not None or self._bar is not None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin_run(self) -> None:
        """Report that a run (one of several starts) begins."""
        self._run_number += 1
        if self._root is not None:
            self._run = self._root.subcontext(task_name="run", max_subtasks=self._iterations)
            self._run.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        if self._bar is not None:
            self._bar.reset(total=self._iterations)
            self._last = 0.0
            if self._runs > 1:
                self._bar.set_description(f"{self._name} {self._run_number}/{self._runs}")

    def step(
        self,
        objective: Callable[[], float] | float | None = None,
        state: Callable[[], dict[str, Any]] | None = None,
    ) -> bool:
        """Report that an iteration has ended.

        Parameters
        ----------
        objective : float or callable, optional
            Shown beside the bar. A callable is called rarely enough to take at most a sixth of the
            time.
        state : callable, optional
            Returns the fitted attributes of a usable model, for callbacks that ask for them.

        Returns
        -------
        bool
            Whether a callback stops the fit.
        """
        stop = False
        if self._run is not None:
            task = self._run.subcontext(task_name=self._unit)
            task.call_on_fit_task_begin(estimator=self._estimator, **self._data)
            stop = task.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=state, **self._data
            )
        if self._bar is not None:
            now = time.perf_counter()
            if callable(objective):
                if now - self._last >= max(_OBJECTIVE_EVERY, 5 * self._cost):
                    value = objective()
                    self._last = time.perf_counter()
                    self._cost = self._last - now
                    self._bar.set_postfix(objective=f"{value:.6g}", refresh=False)
            elif objective is not None:
                self._bar.set_postfix(objective=f"{objective:.6g}", refresh=False)
            self._bar.update()
        return bool(stop)

    def end_run(
        self, message: str, *args: Any, objective: float | None = None, state: Any = None
    ) -> bool:
        """Report that a run has ended; the message is logged at level DEBUG.

        Returns
        -------
        bool
            Whether a callback stops the remaining runs.
        """
        logger.debug("%s: " + message, self._name, *args)
        if self._bar is not None:
            if objective is not None:
                self._bar.set_postfix(objective=f"{objective:.6g}", refresh=False)
            self._bar.total = self._bar.n  # shown as complete
            self._bar.refresh()
        if self._run is None:
            return False
        run, self._run = self._run, None
        return bool(
            run.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=state, **self._data
            )
        )

    def end_fit(self, state: Callable[[], dict[str, Any]] | None = None) -> None:
        """Report that the fit has succeeded."""
        if self._root is not None:
            self._root.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=state, **self._data
            )


class _Quiet:
    """A `Progress` that reports nothing, for fits inside a step of another fit."""

    listening = False

    def begin_run(self) -> None:
        """Do nothing."""

    def step(self, *args: Any, **kwargs: Any) -> bool:
        """Never stop."""
        return False

    end_run = step
    end_fit = step


QUIET: Any = _Quiet()
