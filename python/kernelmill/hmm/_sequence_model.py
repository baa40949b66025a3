"""What every model of sequences shares: scores, posteriors, paths, samples and filtering."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import namespace
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._parameters import DEVICE, Rule, check_whole, is_real, shown
from kernelmill._estimator._random import seed_of
from kernelmill.hmm import _expectation
from kernelmill.hmm._declared import Parameter
from kernelmill.hmm._emissions import PATHS
from kernelmill.hmm._expectation import Chain
from kernelmill.hmm._filter import StateFilter
from kernelmill.hmm._inputs import SequenceInput
from kernelmill.hmm._monitor import ConvergenceMonitor
from kernelmill.hmm._prediction import Prediction, predicted
from kernelmill.hmm._sequences import Sequences, check_sequence_weight
from kernelmill.hmm._words import WORDS
from kernelmill.ops import hmm, random

ALGORITHMS = ("viterbi", "map")
NUMBER = Rule(lambda value: is_real(value) and np.isfinite(value), "a finite number")
NUMBER_OR_ARRAY = rule.any_of(NUMBER, rule.array("that broadcasts to the parameter's"))
OPTIONAL = rule.any_of(NUMBER_OR_ARRAY, rule.nothing())
TOLERANCE = Rule(
    lambda value: is_real(value) and value < np.inf, "a number, or -inf to do all n_iter iterations"
)
# Parameters that all models have.
SHARED = {
    "n_components": rule.integer(1),
    "algorithm": rule.one_of(*ALGORITHMS),
    "random_state": rule.RANDOM_STATE,
    "n_init": rule.integer(1),
    "n_iter": rule.integer(0),
    "tol": TOLERANCE,
    "verbose": rule.VERBOSE,
    "implementation": rule.one_of("log", "scaling"),
    "device": DEVICE,
    "warm_start": rule.boolean(),
}


class SequenceModel(SequenceInput):
    """Base of the hidden Markov models: everything but how they are fitted.

    Subclasses declare their parameters, say how X is read (`kernelmill.hmm._inputs`), and what the
    emission is (`_emission`).

    Attributes
    ----------
    _fitted : tuple of Parameter
        What a fit finds.
    _points : tuple of Parameter
        What the chain and the emission are made of: start, transitions, and more.
    """

    _fitted: ClassVar[tuple[Parameter, ...]]
    _points: ClassVar[tuple[Parameter, ...]]

    _parameters: ClassVar[dict[str, Any]] = SHARED
    _words = WORDS

    def _emission(self, *values: Any) -> Any:
        """The emission of the values of `_points`, start and transitions left out."""
        raise NotImplementedError

    def _check_sampling(self) -> None:
        """Raise where `sample` lacks anything."""

    def _size(self, letter: str) -> int:
        """What a letter of a shape stands for."""
        return int(self.n_components) if letter == "K" else self._width()

    def _model(self) -> tuple[Chain, Any]:
        """Chain and emission of the parameters as they are; raises where they make no sense."""
        first, moves, *rest = (parameter.of(self) for parameter in self._points)
        return Chain(first, moves), self._emission(*rest)

    # --- the monitor -----------------------------------------------------------------------------

    @property
    def monitor_(self) -> ConvergenceMonitor:
        """History of the last fit; empty before the first."""
        monitor = vars(self).get("_monitor")
        if monitor is None:
            monitor = ConvergenceMonitor(self.tol, self.n_iter, self.verbose)
        return monitor

    @monitor_.setter
    def monitor_(self, monitor: ConvergenceMonitor) -> None:
        self._monitor = monitor

    # --- inference -------------------------------------------------------------------------------

    def _ready(self, X: Any, lengths: Any) -> tuple[Sequences, Chain, Any]:
        check_is_fitted(self, "startprob_")
        chain, emission = self._model()
        return self._sequences(X, lengths, reset=False), chain, emission

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, lengths: Any = None
    ) -> float:
        """Compute the log-likelihood of X.

        Parameters
        ----------
        y : array-like of shape (S,), optional
            `lengths` by position, as in ``fit``.
        sample_weight : array-like of shape (S,), optional
            Weight of each sequence.

        Returns
        -------
        log_prob : float
            ``log p(X)`` in nats, summed over sequences with their weights; -inf where one is
            impossible.

        Raises
        ------
        ValueError
            If X does not fit the model.
        NotFittedError
            Before ``fit`` or before parameters were assigned.

        Notes
        -----
        Costs about 2 T K^2 flops besides the densities.
        """
        scores = self._scores(X, y if lengths is None else lengths)
        weight = check_sequence_weight(type(self).__name__, sample_weight, len(scores))
        if weight is None:
            return float(scores.sum())
        return float((weight[weight > 0] * scores[weight > 0]).sum())

    def _scores(self, X: Any, lengths: Any) -> np.ndarray:
        """Log-likelihood of each sequence, (S,)."""
        data, *model = self._ready(X, lengths)
        return np.concatenate(data.map(_expectation.scores, *model))

    def score_samples(self, X: Any, lengths: Any = None) -> tuple[float, Any]:
        """Compute the log-likelihood of X and the posterior probabilities of states.

        Returns
        -------
        log_prob : float
            ``log p(X)`` in nats, summed over sequences.
        posteriors : array of shape (T, K), float64
            ``p(z_t = j | X)``; rows sum to one, and are 0 in impossible sequences.
        """
        data, *model = self._ready(X, lengths)
        return _joined(data, data.map(_expectation.smoothed, *model))

    def predict_proba(self, X: Any, lengths: Any = None) -> Any:
        """Compute the posterior probabilities of states.

        Returns
        -------
        posteriors : array of shape (T, K), float64
            ``p(z_t = j | X)``.
        """
        return self.score_samples(X, lengths)[1]

    def decode(
        self, X: Any, lengths: Any = None, algorithm: str | None = None
    ) -> tuple[float, Any]:
        """Find the hidden states of X and their log-probability.

        Parameters
        ----------
        algorithm : {"viterbi", "map"}, optional
            ``"viterbi"`` finds the most probable path, ``"map"`` the most probable state of each
            step. The model's own ``algorithm`` when left out.

        Returns
        -------
        log_prob : float
            Log-probability of X and the path; with ``"map"`` the sum of the largest posterior
            probabilities, as in hmmlearn.
        state_sequence : array of shape (T,), int32
            States. Ties go to the lowest state, from the end of each sequence backwards.
        """
        owner = type(self).__name__
        algorithm = self.algorithm if algorithm is None else algorithm
        if algorithm not in ALGORITHMS:
            raise ValueError(
                f"{owner}: algorithm must be one of {', '.join(map(repr, ALGORITHMS))}, got "
                f"{algorithm!r}"
            )
        data, *model = self._ready(X, lengths)
        run = _expectation.paths if algorithm == "viterbi" else _expectation.best_states
        return _joined(data, data.map(run, *model))

    def predict(self, X: Any, lengths: Any = None) -> Any:
        """Find the hidden states of X.

        Returns
        -------
        state_sequence : array of shape (T,), int32
            As ``decode`` finds them.
        """
        return self.decode(X, lengths)[1]

    def predict_next(
        self, X: Any, lengths: Any = None, *, steps: Any = 1, quantiles: Any = None
    ) -> Prediction:
        """Predict the state and observation of each sequence some steps after its end.

        Returns
        -------
        prediction : Prediction
            A named tuple of ``states`` of shape (S, K), the probabilities of the state; ``mean``
            and ``variance`` of shape (S, m), those of the observation (for categorical models the
            distribution of the symbol, and the variances of the symbols' indicators; for
            multinomial models without a single ``n_trials`` those of one trial); and
            ``quantiles`` of shape (S, Q, m), or (S, m) for one level, or None. If `steps` is an
            array, an axis of size H follows the first. The parameters count as known.

        Raises
        ------
        ValueError
            If X does not fit the model, `steps` or `quantiles` are out of their range, or
            quantiles are asked for symbols, which have no order.

        See Also
        --------
        filter : The same for a single sequence, one observation at a time.
        """
        data, *model = self._ready(X, lengths)
        states = np.concatenate(data.map(_expectation.last_filtered, *model))
        chain, emission = model
        return predicted(type(self).__name__, states, chain.transmat, emission, steps, quantiles)

    def filter(self) -> StateFilter:
        """Start filtering a sequence, one observation at a time.

        Returns
        -------
        filter : StateFilter
            ``filter.update(x)`` processes one observation and returns the probabilities of the
            current state; ``filter.predict()`` predicts the next. It uses constant memory.
        """
        check_is_fitted(self, "startprob_")
        observe = functools.partial(self._observer(), first_row=None)
        return StateFilter(*self._model(), observe, type(self).__name__)

    def sample(
        self, n_samples: int = 1, random_state: Any = None, currstate: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a sequence from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of steps T.
        random_state : int, RandomState, Generator or None, default=None
            Seed or generator; the model's own ``random_state`` when left out. An int gives the
            same result at any number of threads.
        currstate : int, optional
            State of the first step; drawn from ``startprob_`` when left out.

        Returns
        -------
        X : ndarray of shape (T, d)
            Observations.
        state_sequence : ndarray of shape (T,), int64
            The states that emitted them.

        Raises
        ------
        ValueError
            If an argument is out of its range.
        NotFittedError
            Before ``fit`` or before parameters were assigned.
        """
        check_is_fitted(self, "startprob_")
        self._check_sampling()
        owner, K = type(self).__name__, int(self.n_components)
        check_whole(n_samples, "n_samples", owner, least=1)
        if currstate is not None:
            check_whole(currstate, "currstate", owner)
        chain, emission = self._model()
        start = chain.startprob
        if currstate is not None:
            if currstate >= K:
                raise ValueError(f"{owner}: currstate must be below {K}, got {currstate}")
            start = np.zeros(K)
            start[currstate] = 1.0
        state = self.random_state if random_state is None else random_state
        if not rule.RANDOM_STATE.accepts(state):
            raise ValueError(
                f"{owner}: random_state must be {rule.RANDOM_STATE.words}, got {shown(state)}"
            )
        seed = seed_of(state)
        uniforms = random.uniform(seed, PATHS, 0, int(n_samples))
        lengths = np.array([n_samples], dtype=np.int64)
        states = hmm.sample_states(start, chain.transmat, uniforms, lengths).astype(np.int64)
        return emission.sample(states, seed), states


def _joined(data: Sequences, parts: list[tuple[np.ndarray, Any]]) -> tuple[float, Any]:
    """The sum of what groups of sequences have one of, and their rows where the user's X lives."""
    total = float(sum(log_prob.sum() for log_prob, _ in parts))
    rows = [part for _, part in parts]
    return total, data.rows.as_given(
        rows[0] if len(rows) == 1 else namespace(rows[0]).concatenate(rows)
    )
