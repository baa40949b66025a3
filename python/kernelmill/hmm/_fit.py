"""The loop of every fit: expectation, maximisation, a record, and progress.

One iteration is one pass over the data. The parameters are attributes of the model throughout, so a
callback sees a usable model; `fitting` puts the old ones back where a fit does not end well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator._base import fitting
from kernelmill._estimator._progress import Progress
from kernelmill.hmm import _passes
from kernelmill.hmm._base import NUMBER_OR_ARRAY, SHARED, SequenceModel
from kernelmill.hmm._declared import TRANSMAT, Distributions
from kernelmill.hmm._dirichlet import start_numbers
from kernelmill.hmm._monitor import ConvergenceMonitor, logger
from kernelmill.hmm._passes import Chain, Expected, Sequences, Stream
from kernelmill.markov import MarkovChain


class FittedModel(SequenceModel):
    """Base of the models that `fit` can fit.

    Subclasses say which starts make sense (`_check_start`), what a fit has to know beside the
    attributes (`_setting`), what an E-step runs on (`_step`), what it has reached (`_reached`) and
    how the parameters follow (`_maximise`).
    """

    def _setting(self, data: Sequences | Stream) -> Any:
        """Called when the parameters have been started."""
        raise NotImplementedError

    def _check_start(self) -> None:
        """Raise where the start makes no sense; what the fit itself finds is not checked again."""
        raise NotImplementedError

    def _step(self) -> tuple[Chain, Any]:
        """The chain and the emission that an E-step runs on."""
        raise NotImplementedError

    def _reached(self, expected: Expected, emission: Any, setting: Any) -> tuple[float, float]:
        """What the monitor records: (log-likelihood or bound, objective)."""
        raise NotImplementedError

    def _maximise(self, expected: Expected, emission: Any, setting: Any) -> None:
        raise NotImplementedError

    def _start(self, data: Sequences | Stream) -> set[str]:
        """Start the parameters that have to be; returns their letters."""
        numbers = start_numbers(self.random_state)
        letters = {p.letter for p in self._fitted}
        new = {letter for letter in letters if self._needs(letter)}
        for parameter in self._fitted:
            if parameter.letter in new:
                parameter.begin(self, data, numbers)
            elif self._widest in parameter.names and self._n_columns() != self.n_features_in_:
                raise ValueError(
                    f"{type(self).__name__}: X must have the {self._n_columns()} features of "
                    f"{self._widest}, got {self.n_features_in_} (leave its letter in init_params "
                    f"to start it anew)"
                )
        return new

    def _needs(self, letter: str) -> bool:
        """Whether the parameters of a letter are to be started: asked for, or not there."""
        names = [name for p in self._fitted if p.letter == letter for name in p.names]
        points = [p.name for p in self._points if p.letter == letter]
        missing = [name for name in names if vars(self).get(name) is None]
        present = [name for name in names if name not in missing]
        why = f"init_params contains {letter!r}"
        if letter not in self.init_params:
            if not missing:
                return False
            if present:
                raise ValueError(
                    f"{type(self).__name__}: {missing[0].lstrip('_')} must be assigned beside "
                    f"{present[0].lstrip('_')} where init_params has no {letter!r}, got a model "
                    f"without it (put {letter!r} into init_params to start both anew)"
                )
            why = f"{missing[0].lstrip('_')} was not"
        present += [name for name in points if vars(self).get(name) is not None]
        if present and "_monitor" not in vars(self):
            logger.warning(
                "%s: %s was assigned but fit starts it anew, because %s",
                type(self).__name__,
                present[0].lstrip("_"),
                why,
            )
        return True

    def _attributes(self) -> dict[str, Any]:
        """What makes a usable model of a copy, for callbacks that want one."""
        return {name: value for name, value in vars(self).items() if name.endswith("_")}

    @contextlib.contextmanager
    def _monitor_of_fit(self) -> Iterator[ConvergenceMonitor]:
        """A new monitor, or the one of the user's own class, emptied unless the fit fails."""
        monitor = vars(self).get("_monitor")
        if monitor is None or type(monitor) is ConvergenceMonitor:
            yield ConvergenceMonitor(self.tol, int(self.n_iter), self.verbose)
            return
        before = vars(monitor).copy()
        monitor._reset()
        try:
            yield monitor
        except BaseException:
            vars(monitor).clear()
            vars(monitor).update(before)
            raise

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
            A weight for each sequence: 0 is as no sequence, and from the same start 2 is as the
            sequence twice. Where a fit starts depends only on which sequences have weight.

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
        Parameters whose letter is missing in ``init_params`` start from the attributes as they are
        (variational posteriors from all attributes of the letter), or anew where there are none;
        those whose letter is missing in ``params`` stay as they started. A fit that fails or is
        interrupted leaves the model as it was.
        """
        owner = type(self).__name__
        data = self._sequences(X, lengths, sample_weight, reset=True)
        self._start(data)
        setting = self._setting(data)
        self._check_start()
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        n_iter = int(self.n_iter)
        with (
            self._monitor_of_fit() as monitor,
            Progress(self, self.verbose, iterations=n_iter, X=X, metadata=metadata) as progress,
        ):
            progress.begin_run()
            for _ in range(n_iter):
                chain, emission = self._step()
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
            self._step()  # raises where the last update makes no sense: a singular covariance
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

    def _setting_of_emissions(self, data: Sequences | Stream) -> Any:
        """What a fit has to know of the emissions, once they have been started."""

    def _maximise_emissions(self, statistics: Any, emission: Any, setting: Any) -> None:
        """Set those parameters that are no distributions."""

    def _log_prior_emissions(self, emission: Any, setting: Any) -> float:
        """Log prior density of those parameters, up to a constant."""
        return 0.0

    # --- fitting ---------------------------------------------------------------------------------

    @property
    def _distributions(self) -> list[Distributions]:
        return [p for p in self._fitted if isinstance(p, Distributions)]

    def _n_fit_scalars(self) -> dict[str, int]:
        """Free parameters by letter."""
        return {parameter.letter: parameter.n_free(self) for parameter in self._fitted}

    def _setting(self, data: Sequences | Stream) -> tuple[list[np.ndarray], Any]:
        free = self._n_fit_scalars()
        needed = sum(count for letter, count in free.items() if letter in self.params)
        numbers = data.n_rows * self._n_columns()
        if numbers < needed:
            logger.warning(
                "%s: %d free parameters are fitted to %d numbers; the fit will be degenerate",
                type(self).__name__,
                needed,
                numbers,
            )
        priors = [p.prior_of(self) for p in self._distributions]
        return priors, self._setting_of_emissions(data)

    def _check_start(self) -> None:
        for parameter in self._fitted:
            setattr(self, parameter.name, parameter.of(self))
        self._step()

    def _step(self) -> tuple[Chain, Any]:
        first, moves, *rest = (getattr(self, parameter.name) for parameter in self._fitted)
        return Chain(first, moves), self._emission(*rest)

    def _reached(self, expected: Expected, emission: Any, setting: Any) -> tuple[float, float]:
        priors, of_emissions = setting
        prior = self._log_prior_emissions(emission, of_emissions)
        prior += sum(p.log_prior(self, q) for p, q in zip(self._distributions, priors, strict=True))
        return expected.log_prob, expected.log_prob + prior

    def _maximise(self, expected: Expected, emission: Any, setting: Any) -> None:
        priors, of_emissions = setting
        for parameter, prior in zip(self._distributions, priors, strict=True):
            if parameter.letter in self.params:
                parameter.maximise(self, expected, prior)
        self._maximise_emissions(expected.emissions, emission, of_emissions)

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
        A = TRANSMAT.of(self)
        chain = MarkovChain.from_matrix(A / A.sum(axis=1, keepdims=True))  # it takes sums closely
        return chain.stationary_distributions().mean(axis=0)
