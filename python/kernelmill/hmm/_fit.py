"""The loop of every fit: expectation, maximisation, a record, and progress.

One iteration is one pass over the data. The parameters are attributes of the model throughout, so a
callback sees a usable model; `fitting` puts the old ones back where a fit does not end well.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import xlogy
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator._base import fitting
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill.hmm import _passes
from kernelmill.hmm._base import (
    NUMBER_OR_ARRAY,
    SHARED,
    SequenceModel,
    checked_distribution,
)
from kernelmill.hmm._chain import MarkovChain
from kernelmill.hmm._monitor import ConvergenceMonitor, logger
from kernelmill.hmm._passes import Chain, Expected, Sequences, Stream


def start_numbers(random_state: Any) -> np.random.RandomState:
    """Random numbers for starts: those that hmmlearn draws from the same ``random_state``."""
    if isinstance(random_state, np.random.Generator):
        return legacy_state(seed_of(random_state), 0)
    return check_random_state(random_state)


def dirichlet_start(numbers: np.random.RandomState, K: int, size: int | None = None) -> np.ndarray:
    """Distributions from a Dirichlet with parameters 1 / K, without exact zeros.

    For many states such numbers underflow to 0, and a zero would be kept through the fit.
    """
    drawn = np.atleast_1d(numbers.dirichlet(np.full(K, 1.0 / K), size=size))
    drawn = np.where(np.isfinite(drawn), drawn, 1.0 / K)
    return np.maximum(drawn, np.finfo(np.float64).tiny)


def dirichlet_mode(
    prior: Any, counts: np.ndarray, before: np.ndarray, keep_zeros: bool = False
) -> np.ndarray:
    """The most probable distributions after some counts, along the last axis.

    ``p ~ max(prior - 1 + counts, 0)``: where the sum is negative the maximum lies on the border.

    Parameters
    ----------
    prior : float or array
        Parameters of the Dirichlet distribution.
    counts : ndarray
    before : ndarray
        The distributions so far: what is left of those without any mass.
    keep_zeros : bool
        Whether entries that are 0 stay 0.
    """
    mass = np.maximum(prior - 1.0 + counts, 0.0)
    if keep_zeros:
        mass = np.where(before == 0, 0.0, mass)
    total = mass.sum(axis=-1, keepdims=True)
    filled = total > np.finfo(np.float64).tiny
    return np.where(filled, mass / np.where(filled, total, 1.0), before)


def dirichlet_log_prior(prior: Any, p: np.ndarray, skip_zeros: bool = True) -> float:
    """``sum (prior - 1) log p``, over positive entries only where `skip_zeros` is set."""
    excess = np.asarray(prior, dtype=np.float64) - 1.0
    if not excess.any():
        return 0.0
    weight = np.broadcast_to(excess, p.shape)
    if skip_zeros or (weight < 0).any():
        weight = np.where(p > 0, weight, 0.0)
    return float(xlogy(weight, np.where(weight == 0, 1.0, p)).sum())


class FittedModel(SequenceModel):
    """Base of the models that `fit` can fit.

    Subclasses say how to start (`_start`, which returns what the fit has to know beside the
    attributes), what the E-step runs on (`_step_model`), what it has reached (`_reached`) and how
    the parameters follow (`_maximise`).
    """

    # Letters of ``params`` and ``init_params``, and the attributes that they stand for.
    _letters: ClassVar[dict[str, tuple[str, ...]]] = {}

    def _start(self, data: Sequences | Stream) -> Any:
        raise NotImplementedError

    def _step_model(self) -> tuple[Chain, Any]:
        raise NotImplementedError

    def _reached(self, expected: Expected, emission: Any, setting: Any) -> tuple[float, float]:
        """What the monitor records: (log-likelihood or bound, objective)."""
        raise NotImplementedError

    def _maximise(self, expected: Expected, emission: Any, setting: Any) -> None:
        raise NotImplementedError

    def _needs(self, letter: str) -> bool:
        """Whether the parameters of a letter are to be started: asked for, or not there."""
        names = self._letters[letter]
        present = [name for name in names if name in vars(self)]
        if letter not in self.init_params:
            return len(present) < len(names)
        if present and "_monitor" not in vars(self):
            logger.warning(
                "%s: %s was assigned but fit starts it anew, because init_params contains %r",
                type(self).__name__,
                present[0].lstrip("_"),
                letter,
            )
        return True

    def _match_columns(self, d: int, name: str) -> None:
        """Raise where parameters that were not started anew are for other rows than X has."""
        if self._n_columns() != d:
            raise ValueError(
                f"{type(self).__name__}: X must have the {self._n_columns()} features of {name}, "
                f"got {d} (leave its letter in init_params to start it anew)"
            )

    def _attributes(self) -> dict[str, Any]:
        """What makes a usable model of a copy, for callbacks that want one."""
        return {name: value for name, value in vars(self).items() if name.endswith("_")}

    def _monitor_of_fit(self) -> ConvergenceMonitor:
        """A new monitor, or the one of the user's own class, emptied."""
        monitor = vars(self).get("_monitor")
        if monitor is None or type(monitor) is ConvergenceMonitor:
            return ConvergenceMonitor(self.tol, int(self.n_iter), self.verbose)
        monitor._reset()
        return monitor

    @fitting
    def fit(self, X: Any, lengths: Any = None, sample_weight: Any = None) -> Any:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (T, d), or a stream of sequences
            Observations of one or more sequences, one after the other. Or a stream whose chunks are
            sequences: a list of 2-D arrays, an iterable of them, a function that returns an
            iterator, a Dask array with one sequence in each partition.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences in X, adding up to T; one sequence when left out. None for
            streams.
        sample_weight : array-like of shape (S,), optional
            A weight for each sequence. A weight of 2 is the same as the sequence twice, 0 as no
            sequence.

        Returns
        -------
        self : estimator
            The model itself, fitted.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X, lengths or weights do not fit, or a sequence is
            impossible under the start.

        Notes
        -----
        Parameters whose letter is missing in ``init_params`` start from the attributes as they are;
        those whose letter is missing in ``params`` stay as they started. A fit that fails or is
        interrupted leaves the model as it was.
        """
        owner = type(self).__name__
        data = self._sequences(X, lengths, sample_weight, reset=True)
        setting = self._start(data)
        self._step_model()  # raises where the start makes no sense, also with n_iter = 0
        monitor = self._monitor_of_fit()
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, self.verbose, iterations=int(self.n_iter), X=X, metadata=metadata
        ) as progress:
            progress.begin_run()
            for _ in range(int(self.n_iter)):
                chain, emission = self._step_model()
                expected = data.reduce(_passes.expectation, chain, emission)
                if expected.impossible:
                    raise ValueError(
                        f"{owner}: X must be possible under the parameters, got "
                        f"{expected.impossible} sequences of probability 0 (zeros in startprob_, "
                        f"transmat_ or the emissions rule them out)"
                    )
                log_prob, objective = self._reached(expected, emission, setting)
                self._maximise(expected, emission, setting)
                monitor.report(log_prob, objective)
                stop = progress.listening and progress.step(objective, self._attributes)
                if monitor.converged or stop:
                    break
            self._monitor = monitor
            progress.end_run("%d iterations", monitor.iter, state=self._attributes)
            progress.end_fit(self._attributes)
        return self


class EMModel(FittedModel):
    """Base of the models whose parameters are points, found by expectation-maximisation.

    The transition counts and first states of the E-step give, with Dirichlet priors,

        pi_j   ~ max(startprob_prior_j - 1 + sum_s v_s gamma_0(j), 0),
        A_ij   ~ max(transmat_prior_ij - 1 + sum_s v_s sum_t xi_t(i, j), 0),

    and zeros stay zeros. A state that is never left keeps its row.
    """

    _parameters: ClassVar[dict[str, Any]] = {
        **SHARED,
        "startprob_prior": NUMBER_OR_ARRAY,
        "transmat_prior": NUMBER_OR_ARRAY,
    }

    # --- what subclasses say ---------------------------------------------------------------------

    def _start_emissions(self, data: Sequences | Stream) -> Any:
        """Start the emissions; returns what the other two want to know."""
        raise NotImplementedError

    def _maximise_emissions(self, statistics: Any, emission: Any, setting: Any) -> None:
        raise NotImplementedError

    def _log_prior_emissions(self, emission: Any, setting: Any) -> float:
        return 0.0

    def _n_fit_scalars(self) -> dict[str, int]:
        """Free parameters by letter."""
        raise NotImplementedError

    # --- fitting ---------------------------------------------------------------------------------

    def _start(self, data: Sequences | Stream) -> Any:
        K = int(self.n_components)
        owner = type(self).__name__
        for name, shape in (("startprob_prior", (K,)), ("transmat_prior", (K, K))):
            broadcast_parameter(owner, name, getattr(self, name), shape, minimum=0)
        numbers = start_numbers(self.random_state)
        if self._needs("s"):
            self.startprob_ = dirichlet_start(numbers, K)
        if self._needs("t"):
            self.transmat_ = dirichlet_start(numbers, K, K)
        setting = self._start_emissions(data)
        free = self._n_fit_scalars()
        needed = sum(count for letter, count in free.items() if letter in self.params)
        if data.n_rows * self._n_columns() < needed:
            logger.warning(
                "%s: %d free parameters are fitted to %d numbers; the fit will be degenerate",
                owner,
                needed,
                data.n_rows * self._n_columns(),
            )
        return setting

    def _step_model(self) -> tuple[Chain, Any]:
        chain = self._chain()
        self.startprob_, self.transmat_ = chain
        return chain, self._emission()

    def _reached(self, expected: Expected, emission: Any, setting: Any) -> tuple[float, float]:
        prior = self._log_prior_emissions(emission, setting)
        for prior_of, p in (
            (self.startprob_prior, self.startprob_),
            (self.transmat_prior, self.transmat_),
        ):
            prior += dirichlet_log_prior(prior_of, p)
        return expected.log_prob, expected.log_prob + prior

    def _maximise(self, expected: Expected, emission: Any, setting: Any) -> None:
        if "s" in self.params:
            self.startprob_ = dirichlet_mode(
                np.asarray(self.startprob_prior), expected.starts, self.startprob_, keep_zeros=True
            )
        if "t" in self.params:
            self.transmat_ = dirichlet_mode(
                np.asarray(self.transmat_prior),
                expected.transitions,
                self.transmat_,
                keep_zeros=True,
            )
        self._maximise_emissions(expected.emissions, emission, setting)

    # --- information -----------------------------------------------------------------------------

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Compute Akaike's information criterion: less is better.

        Parameters
        ----------
        X : array-like of shape (T, d), or a stream of sequences
            Observations; see ``fit``.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences in X.

        Returns
        -------
        aic : float
            ``2 p - 2 log p(X)`` with p free parameters.
        """
        return -2.0 * self.score(X, lengths) + 2.0 * sum(self._n_fit_scalars().values())

    def bic(self, X: Any, lengths: Any = None) -> float:
        """Compute the Bayesian information criterion: less is better.

        Parameters
        ----------
        X : array-like of shape (T, d), or a stream of sequences
            Observations; see ``fit``.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences in X.

        Returns
        -------
        bic : float
            ``p log T - 2 log p(X)`` with p free parameters.
        """
        data, *model = self._ready(X, lengths)
        log_prob = float(sum(part.sum() for part in data.map(_passes.scores, *model)))
        return -2.0 * log_prob + sum(self._n_fit_scalars().values()) * float(np.log(data.n_rows))

    def get_stationary_distribution(self) -> np.ndarray:
        """Compute the distribution of states that transitions leave as it is.

        Returns
        -------
        distribution : ndarray of shape (K,)
            pi with ``pi A = pi``. Where there are several (A is reducible) the mean of the extreme
            ones, see `MarkovChain.stationary_distributions`.

        Raises
        ------
        NotFittedError
            Before ``fit`` or before ``transmat_`` was assigned.
        """
        check_is_fitted(self, "transmat_")
        owner, K = type(self).__name__, int(self.n_components)
        transmat = checked_distribution(owner, "transmat_", self.transmat_, (K, K))
        chain = MarkovChain.from_matrix(transmat)
        return chain.stationary_distributions().mean(axis=0)


def broadcast_parameter(
    owner: str, name: str, value: Any, shape: tuple[int, ...], minimum: float = -np.inf
) -> np.ndarray:
    """A hyperparameter as float64 of the given shape.

    A vector with one entry for each of the first axis is accepted, too.

    Raises
    ------
    ValueError
        If it is not finite, below `minimum`, or does not broadcast.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: {name} must be numeric, got {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{owner}: {name} must be finite, got NaN or inf")
    if (array < minimum).any():
        raise ValueError(f"{owner}: {name} must be at least {minimum:g}, got {array.min():g}")
    for candidate in (array, array.reshape(array.shape + (1,) * (len(shape) - array.ndim))):
        try:
            return np.broadcast_to(candidate, shape)
        except ValueError:
            continue
    raise ValueError(f"{owner}: {name} must broadcast to shape {shape}, got {array.shape}")
