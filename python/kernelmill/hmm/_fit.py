"""The fit of every model: a start, expectation and maximisation in turns, a record.

One iteration is one pass over the data. In a fit the parameters are a *state*, a dict from the
names of attributes to new values; the model's own are set once, at the end.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb, warn_unconverged
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._estimator._validation import refuse_unseen
from kernelmill.hmm import _expectation
from kernelmill.hmm._declared import TRANSMAT, Distributions, Known, State
from kernelmill.hmm._dirichlet import start_numbers
from kernelmill.hmm._expectation import Chain, Expected
from kernelmill.hmm._monitor import ConvergenceMonitor, logger
from kernelmill.hmm._sequence_model import NUMBER_OR_ARRAY, SHARED, SequenceModel
from kernelmill.hmm._sequences import Sequences
from kernelmill.hmm._words import POINTS
from kernelmill.markov import MarkovChain


class FittedModel(SequenceModel):
    """Base of the models that `fit` can fit.

    Subclasses say what an E-step runs on (`_step`), and do what no declared parameter does by
    itself: the other methods below, which are about emissions.
    """

    # Runs of k-means in the first start, as in hmmlearn.
    _n_kmeans = 10
    # Whether the monitor records the objective only, a bound of the log-likelihood.
    _is_bound: ClassVar[bool] = False

    def _start_emissions(self, data: Sequences, new: set[str]) -> State:
        """Items of a start; `new` has the characters of parameters that are initialised."""
        return {}

    def _prepared(self, data: Sequences, state: State) -> tuple[State, Known]:
        """The start of the fit, and what a fit has to know beside its state."""
        return state, {}

    def _step(self, state: State) -> tuple[Chain, Any]:
        """The chain and the emission that an E-step runs on."""
        raise NotImplementedError

    def _objective_emissions(self, state: State, emission: Any, known: Known) -> float:
        """Log prior density, up to a constant, or minus a divergence."""
        return 0.0

    def _maximise_emissions(
        self, state: State, statistics: Any, emission: Any, known: Known
    ) -> State:
        """Those items of the next state that change."""
        return {}

    def _note(self, state: State, emission: Any, known: Known) -> str | None:
        """What to warn of at the end of a fit that a prior or lower bound makes up much of."""
        return None

    def _maximise(self, state: State, expected: Expected, emission: Any, known: Known) -> State:
        new = self._maximise_emissions(state, expected.emissions, emission, known)
        for parameter in self._fitted:
            if parameter.letter in self.params:
                new |= parameter.best(state, expected, known)
        return state | new

    def _check_data(self, data: Sequences) -> None:
        """Raise, or warn, where the rows do not tell enough."""
        refuse_unseen(data.observed_columns, data.rows.owner)

    def _start(self, data: Sequences, new: set[str]) -> State:
        """Where a fit starts: new values, and the model's own where these are to be used."""
        numbers = start_numbers(self.random_state)
        state: State = {}
        for parameter in self._fitted:
            if parameter.letter in new:
                given = parameter.given(self, data)
                state |= parameter.started(self, data, numbers) if given is None else given
                continue
            if self._widest in parameter.names and self._n_columns() != self.n_features_in_:
                raise ValueError(
                    f"{type(self).__name__}: X must have the {self._n_columns()} features of "
                    f"{self._widest}, got {self.n_features_in_} (leave {parameter.letter!r} in "
                    f"init_params, and warm_start=False, to initialise it again)"
                )
            state |= parameter.assigned(self)
        state |= self._start_emissions(data, new)
        for parameter in self._fitted:
            state |= parameter.complete(self, state, data.width)
        return state

    def _new_letters(self) -> set[str]:
        """Characters of the parameters that a fit initialises."""
        return set(filter(self._needs, dict.fromkeys(p.letter for p in self._fitted)))

    def _is_drawn(self, letter: str) -> bool:
        """Whether random numbers decide where the parameters of a letter start."""
        points = [point for point in self._points if point.letter == letter]
        return any(getattr(self, point.init) is None for point in points)

    def _with_seed(self, seed: int, number: int) -> Any:
        """The model with the random numbers of one more start."""
        model = copy.copy(self)
        model.random_state = legacy_state(seed, number)
        model._n_kmeans = 1  # the best of ten would be the same centers every time
        return model

    def _anew(self, letter: str) -> bool:
        """Whether the parameters of a letter are to be started even where there are some."""
        return letter in self.init_params and not self.warm_start

    def _needs(self, letter: str) -> bool:
        """Whether the parameters of a letter are to be started: asked for, or not there."""
        names = [name for p in self._fitted if p.letter == letter for name in p.names]
        points = [p.name for p in self._points if p.letter == letter]
        missing = [name for name in names if vars(self).get(name) is None]
        present = [name for name in names if name not in missing]
        why = f"init_params contains {letter!r}"
        if not self._anew(letter):
            if not missing:
                return False
            if present:
                raise ValueError(
                    f"{type(self).__name__}: {missing[0].lstrip('_')} must be assigned beside "
                    f"{present[0].lstrip('_')} where init_params has no {letter!r}, got a model "
                    f"without it (add {letter!r} to init_params to initialise both)"
                )
            why = f"{missing[0].lstrip('_')} was not"
        present += [name for name in points if vars(self).get(name) is not None]
        learned = vars(self).get("_learned", {})
        values = {name: vars(self)[name] for name in present}
        assigned = [
            name for name, x in values.items() if np.ndim(x) and x is not learned.get(name)
        ]
        if assigned:
            logger.warning(
                "%s: %s was assigned but fit initialises it again, because %s (pass a start as %s)",
                type(self).__name__,
                assigned[0].lstrip("_"),
                why,
                " or ".join(point.init for point in self._points if point.letter == letter),
            )
        return True

    def _attributes(self, state: State) -> dict[str, Any]:
        """Attributes that make a usable model of a state."""
        attributes = dict(state)
        for parameter in self._fitted:
            attributes |= parameter.derived(self, state)
        return attributes

    def _marked(self, state: State) -> dict[str, Any]:
        """These, and what tells later which of them the user has assigned since."""
        attributes = self._attributes(state)
        arrays = {name: x for name, x in attributes.items() if isinstance(x, np.ndarray)}
        return attributes | {"_learned": arrays}

    @property
    def _own_monitor(self) -> ConvergenceMonitor | None:
        """The monitor of the user's own class."""
        monitor = vars(self).get("_monitor")
        return None if type(monitor) is ConvergenceMonitor else monitor

    def _new_monitor(self) -> ConvergenceMonitor:
        """The monitor of one start."""
        if self._own_monitor is None:
            return ConvergenceMonitor(self.tol, int(self.n_iter), self.verbose)
        monitor = copy.copy(self._own_monitor)
        monitor._reset()
        return monitor

    def _settled(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Attributes of the end of a fit: the user's own monitor takes over what its copy holds."""
        monitor = self._own_monitor
        if monitor is None:
            return attributes
        vars(monitor).update(vars(attributes["_monitor"]))
        return attributes | {"_monitor": monitor}

    @fitting
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, lengths: Any = None
    ) -> Any:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (T, d), or a stream of sequences
            Observations of one or more sequences, one after the other. Or a stream whose chunks are
            sequences: a list of 2-D arrays, an iterable of them, a function that returns an
            iterator, a Dask array with one sequence in each partition.
        y : array-like of shape (S,), optional
            `lengths` by position, as in hmmlearn: ``fit(X, lengths)``. Ignored where `lengths` is
            passed by name.
        sample_weight : array-like of shape (S,), optional
            Weight of each sequence. Those with zero weight are ignored; 2 counts as the sequence
            twice, given the same start. The start depends only on which weights are positive.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences in X, adding up to T; one sequence when left out. None for
            streams.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X, lengths or weights do not fit, or a sequence is
            impossible under the start.

        Warns
        -----
        UserWarning
            If a prior or lower bound of variances makes up more than a quarter of one.

        Notes
        -----
        Parameters that ``init_params`` leaves out start from the attributes as they are
        (variational posteriors from all attributes of their character), if there are any; those
        that ``params`` leaves out keep their start. A fit that fails or is interrupted leaves the
        model unchanged. With ``warm_start=True`` an interrupted fit keeps the parameters reached so
        far, ``interrupted_`` is True, and the next ``fit`` continues from them.
        """
        owner = type(self).__name__
        lengths = y if lengths is None else lengths
        data = self._sequences(X, lengths, sample_weight, reset=True)
        new = self._new_letters()
        self._check_data(data)
        first, known = self._prepared(data, self._start(data, new))
        starts = int(self.n_init) if any(map(self._is_drawn, new)) else 1
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        n_iter = int(self.n_iter)

        seed: int | None = None

        def begin(number: int) -> State:
            nonlocal seed
            state = first
            if number > 0:
                seed = seed_of(self.random_state) if seed is None else seed
                state = self._prepared(data, self._with_seed(seed, number)._start(data, new))[0]
            return state | {"_monitor": self._new_monitor()}

        def advance(state: State, most: int) -> Step:
            chain, emission = self._step(state)
            expected = data.map_reduce(_expectation.expectation, chain, emission)
            if expected.impossible:
                raise ValueError(
                    f"{owner}: X must be possible under the parameters, got {expected.impossible} "
                    f"sequences of probability 0 (zeros in startprob_, transmat_ or the emissions "
                    f"rule them out)"
                )
            objective = expected.log_prob + self._objective_emissions(state, emission, known)
            objective += sum(parameter.objective(state, known) for parameter in self._fitted)
            state = self._maximise(state, expected, emission, known)
            monitor = state["_monitor"]
            monitor.report(objective if self._is_bound else expected.log_prob, objective)
            return Step(state, objective, monitor.converged)

        def finish(run: Run) -> Run:
            self._step(run.state)  # raises where the last update makes no sense
            return run

        with Progress(
            self, self.verbose, runs=starts, iterations=n_iter, X=X, metadata=metadata
        ) as progress:
            try:
                run = climb(
                    progress,
                    begin,
                    advance,
                    max_iter=n_iter,
                    attributes=lambda state, n_iter: self._marked(state),
                    starts=starts,
                    finish=finish,
                )
            except KeyboardInterrupt as interrupt:
                if self.warm_start and hasattr(interrupt, "attributes"):  # `fitting` keeps them
                    interrupt.attributes = self._settled(interrupt.attributes)
                raise
            note = self._note(run.state, self._step(run.state)[1], known)
            self.__dict__.update(self._settled(self._marked(run.state)))
        if self.tol > -np.inf:  # which asks for all iterations
            warn_unconverged(owner, run, "n_iter", n_iter)
        if note is not None:
            warn(note, UserWarning)
        return self


class EMModel(FittedModel):
    """Base of the models whose parameters are points, found by expectation-maximisation.

    The transition counts and first states of the E-step give, with Dirichlet priors,

        pi_j   ~ max(startprob_prior_j - 1 + sum_s v_s gamma_0(j), 0),
        A_ij   ~ max(transmat_prior_ij - 1 + sum_s v_s sum_t xi_t(i, j), 0),

    and zeros stay zeros. A state that is never left keeps its row.
    """

    _words = POINTS
    _parameters: ClassVar[dict[str, Any]] = {
        **SHARED,
        "startprob_prior": NUMBER_OR_ARRAY,
        "transmat_prior": NUMBER_OR_ARRAY,
    }

    def _n_fit_scalars(self, d: int | None = None) -> dict[str, int]:
        """Free parameters by letter."""
        return {parameter.letter: parameter.n_free(self, d) for parameter in self._fitted}

    def _check_data(self, data: Sequences) -> None:
        super()._check_data(data)
        free = self._n_fit_scalars(data.width)
        needed = sum(count for letter, count in free.items() if letter in self.params)
        numbers = data.count * data.rows.n_features
        if numbers < needed:
            logger.warning(
                "%s: %d free parameters are fitted to %d numbers; the fit will be degenerate",
                type(self).__name__,
                needed,
                numbers,
            )

    def _prepared(self, data: Sequences, state: State) -> tuple[State, Known]:
        declared = [p for p in self._fitted if isinstance(p, Distributions)]
        return state, {p.name: p.prior_of(self, data.width) for p in declared}

    def _step(self, state: State) -> tuple[Chain, Any]:
        first, moves, *rest = (state[parameter.name] for parameter in self._fitted)
        return Chain(first, moves), self._emission(*rest)

    # --- information -----------------------------------------------------------------------------

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Compute Akaike's information criterion: lower is better.

        Returns
        -------
        aic : float
            ``2 p - 2 log p(X)`` with p free parameters.
        """
        return -2.0 * self.score(X, lengths) + 2.0 * sum(self._n_fit_scalars().values())

    def bic(self, X: Any, lengths: Any = None) -> float:
        """Compute the Bayesian information criterion: lower is better.

        Returns
        -------
        bic : float
            ``p log T - 2 log p(X)`` with p free parameters.
        """
        data, *model = self._ready(X, lengths)
        log_prob = float(sum(part.sum() for part in data.map(_expectation.scores, *model)))
        return -2.0 * log_prob + sum(self._n_fit_scalars().values()) * float(
            np.log(data.rows.count)
        )

    def get_stationary_distribution(self) -> np.ndarray:
        """Compute the stationary distribution of the hidden chain.

        Returns
        -------
        distribution : ndarray of shape (K,)
            pi with ``pi A = pi``. If there are several (A is reducible), the mean of the extreme
            ones, see `MarkovChain.stationary_distributions`.

        Raises
        ------
        NotFittedError
            Before ``fit`` or before ``transmat_`` was assigned.
        """
        A = TRANSMAT.of(self)
        chain = MarkovChain.from_matrix(A / A.sum(axis=1, keepdims=True))  # it takes sums closely
        return chain.stationary_distributions().mean(axis=0)
