"""Callbacks for long fits, in scikit-learn's protocol (scikit-learn 1.9 and later)."""

from __future__ import annotations

import os
import time
from typing import Any

from kernelmill._estimator._base import FEATURES, begun_with, is_fitted_name, warn
from kernelmill._estimator.persistence import save

__all__ = ["Checkpoint"]


class Checkpoint:
    """Write the model to a file now and then while it is fitted.

    Parameters
    ----------
    path : str or os.PathLike
        The model file, as `kernelmill.save` writes it; replaced each time.
    every : float, default=60.0
        Least number of seconds between two files; 0 writes one after every iteration.

    Attributes
    ----------
    n_saved : int
        Files written in the last fit.

    See Also
    --------
    kernelmill.load : Reads the file.

    Notes
    -----
    The first file is written after the first iteration, so that a path that cannot be written is
    known at once; the last one at the end of the fit. Each is written beside its place and renamed
    over the one before, so that a crash at any moment leaves a whole file. If a later one cannot be
    written, a warning says so and the fit goes on. With several starts a file holds the start under
    way, and the last file the best one. A file of an iteration holds what ``predict`` needs, not
    results per row such as ``labels_``. To go on from it: load it, set ``warm_start=True``, and fit
    again. Models without steps to go on from have one file, written at the end: those that solve
    equations directly, such as `Ridge` and `KernelRidge`, and those that sort or search, such as
    `DBSCAN`, `KNeighborsClassifier` and `DecisionTreeClassifier`. ``partial_fit`` of models with
    iterations writes none. Estimators that are fitted at the same time, as in a grid
    search, need a file each.

    Examples
    --------
    >>> import numpy as np
    >>> import kernelmill
    >>> from kernelmill.callbacks import Checkpoint
    >>> from kernelmill.cluster import KMeans
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = KMeans(3, random_state=0)
    >>> if hasattr(model, "set_callbacks"):  # scikit-learn 1.9 and later
    ...     model = model.set_callbacks(Checkpoint("kmeans.safetensors", every=60))
    ...     model = model.fit(X)
    ...     kept = kernelmill.load("kmeans.safetensors")
    ...     assert (kept.predict(X) == model.labels_).all()
    """

    def __init__(self, path: str | os.PathLike, *, every: float = 60.0) -> None:
        if not every >= 0:
            raise ValueError(f"Checkpoint: every must be at least 0 seconds, got {every!r}")
        self.path = path
        self.every = every
        self.n_saved = 0
        self._last = -float("inf")
        self._before: dict[str, Any] = {}

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin a fit.

        Parameters
        ----------
        estimator : estimator
            Being fitted.
        context : sklearn.callback.CallbackContext
            Of the fit.
        """
        self.n_saved, self._last = 0, -float("inf")
        self._before = begun_with(estimator)

    def teardown(self, estimator: Any, context: Any) -> None:
        """End a fit, well or not.

        Parameters
        ----------
        estimator : estimator
            That was fitted.
        context : sklearn.callback.CallbackContext
            Of the fit.
        """
        self._before = {}

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Hear of a task that begins.

        Parameters
        ----------
        estimator : estimator
            Being fitted.
        context : sklearn.callback.CallbackContext
            Of the fit, a run or an iteration.
        """

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None
    ) -> bool:
        """Write the model, if it is time.

        Parameters
        ----------
        estimator : estimator
            Being fitted.
        context : sklearn.callback.CallbackContext
            Of the fit, a run or an iteration.
        fitted_estimator : estimator, optional
            The model as if the fit had ended here.

        Returns
        -------
        bool
            False: it never stops a fit.
        """
        whole = context.parent is None
        due = whole or time.monotonic() - self._last >= self.every
        # A run that has ended may not be the best one.
        is_run = not whole and context.task_name == "run"
        if fitted_estimator is None or not due or is_run:
            return False
        for name, value in list(vars(fitted_estimator).items()):
            # Of an earlier fit: the copy shares what this one has not set yet. A number may be the
            # same object again.
            kept = value is self._before.get(name) and value is vars(estimator).get(name)
            plain = value is None or isinstance(value, (bool, int, float, str))
            if is_fitted_name(name) and name not in FEATURES and kept and not plain:
                delattr(fitted_estimator, name)
        try:
            save(fitted_estimator, self.path)
        except OSError as error:
            if self.n_saved == 0:
                raise
            warn(
                f"Checkpoint: path must be writable, got {error} (the fit goes on; the file is "
                f"{time.monotonic() - self._last:.0f} seconds old)",
                RuntimeWarning,
            )
            return False
        self.n_saved, self._last = self.n_saved + 1, time.monotonic()
        return False
