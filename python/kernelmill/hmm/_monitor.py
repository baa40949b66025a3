"""The history of a fit, and when to stop."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("kernelmill")


class ConvergenceMonitor:
    """History of a fit, and its stopping rule.

    Each fit makes one, ``monitor_``. For another stopping rule, subclass it, override ``converged``
    and assign an instance to ``model.monitor_`` before ``fit``.

    Parameters
    ----------
    tol : float
        A fit has converged when an iteration raises the objective by less.
    n_iter : int
        Maximum number of iterations.
    verbose : bool
        Whether the model shows a progress bar; the monitor itself shows nothing.

    Attributes
    ----------
    history : list of float
        Log-likelihood of the data before each update of the parameters; the variational models
        record their lower bound.
    objective : list of float
        What the fit maximises: log-likelihood plus log prior density (up to a constant), or the
        lower bound. Equal to ``history`` without priors; it never decreases.
    iter : int
        Number of iterations so far.

    See Also
    --------
    GaussianHMM : A model with a ``monitor_``.

    Examples
    --------
    >>> from kernelmill.hmm import ConvergenceMonitor
    >>> monitor = ConvergenceMonitor(tol=0.1, n_iter=10, verbose=False)
    >>> monitor.report(-20.0)
    >>> monitor.report(-12.0)
    >>> monitor.converged
    False
    >>> monitor.report(-11.95)
    >>> monitor.converged, monitor.iter, monitor.history
    (True, 3, [-20.0, -12.0, -11.95])
    """

    def __init__(self, tol: float, n_iter: int, verbose: Any) -> None:
        self.tol = tol
        self.n_iter = n_iter
        self.verbose = verbose
        self.history: list[float] = []
        self.objective: list[float] = []
        self.iter = 0

    def __repr__(self) -> str:
        shown = "".join(f"    {name}={value!r},\n" for name, value in sorted(vars(self).items()))
        return f"{type(self).__name__}(\n{shown})"

    def _reset(self) -> None:
        """Forget everything but the rule."""
        self.iter = 0
        self.history = []
        self.objective = []

    def report(self, log_prob: float, objective: float | None = None) -> None:
        """Record an iteration.

        Parameters
        ----------
        log_prob : float
            Log-likelihood of the data, or lower bound, under the parameters before the update.
        objective : float, optional
            Log-likelihood plus log prior density; `log_prob` when left out.
        """
        objective = log_prob if objective is None else objective
        if self.objective:
            gain = objective - self.objective[-1]
            # A fall of this size is not rounding, not even that of log densities of float32 rows
            # (6e-8), nor too small for the user to care. No model here falls, but a monitor may be
            # used with a model whose parameters somebody changes between iterations.
            if gain < -1e-6 * max(self.tol, abs(objective), abs(self.objective[-1])):
                logger.warning(
                    "ConvergenceMonitor: the objective must not fall, got %.10g after %.10g",
                    objective,
                    self.objective[-1],
                )
        self.history.append(log_prob)
        self.objective.append(objective)
        self.iter += 1

    @property
    def converged(self) -> bool:
        """Whether the last iteration raised the objective by less than ``tol``.

        False where ``n_iter`` iterations ended the fit before that.
        """
        if len(self.objective) < 2:
            return False
        return bool(self.objective[-1] - self.objective[-2] < self.tol)

    def __kernelmill_state__(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def __kernelmill_restore__(cls, state: Any) -> ConvergenceMonitor:
        names = ("tol", "n_iter", "verbose", "history", "objective", "iter")
        if not isinstance(state, dict) or set(state) != set(names):
            raise ValueError("a malformed ConvergenceMonitor")
        monitor = cls(state["tol"], state["n_iter"], state["verbose"])
        vars(monitor).update(state)
        return monitor
