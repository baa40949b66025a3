"""The hidden Markov model whose states emit symbols."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill.hmm._base import NUMBER_OR_ARRAY, checked_distribution
from kernelmill.hmm._data import open_symbols
from kernelmill.hmm._emissions import CategoricalEmission
from kernelmill.hmm._fit import (
    EMModel,
    broadcast_parameter,
    dirichlet_log_prior,
    dirichlet_mode,
    start_numbers,
)
from kernelmill.hmm._observations import observe_symbols
from kernelmill.hmm._passes import Sequences, Stream


def random_table(random_state: Any, K: int, M: int) -> np.ndarray:
    """Distributions over M symbols: uniform numbers over their sum."""
    table = start_numbers(random_state).random_sample((K, M))
    return table / table.sum(axis=1, keepdims=True)


class SymbolsMixin:
    """X is one column of symbols, negative or NaN where one is missing."""

    n_features: int | None
    init_params: str
    # The fitted attribute of shape (K, M).
    _table_name = "emissionprob_"

    def _n_columns(self) -> int:
        return 1

    def _n_symbols(self) -> int:
        """Symbols M of the model as it is."""
        return int(np.shape(getattr(self, self._table_name))[-1])

    def _observe(self) -> Callable:
        return functools.partial(
            observe_symbols, owner=type(self).__name__, device=getattr(self, "device", None)
        )

    def _observer(self) -> Callable:
        return functools.partial(self._observe(), n_symbols=self._n_symbols())

    def _sequences(
        self, X: Any, lengths: Any = None, weight: Any = None, *, reset: bool
    ) -> Sequences | Stream:
        if not reset or ("e" not in self.init_params and self._table_name in vars(self)):
            known: int | None = self._n_symbols()
        else:
            known = None if self.n_features is None else int(self.n_features)
        return open_symbols(self, X, lengths, weight, known, self._observe(), reset=reset)

    def _checked_table(self, check: Callable, name: str) -> np.ndarray:
        """A table of shape (K, M) that `check` accepts."""
        table = vars(self)[name]
        M = int(np.shape(table)[-1]) if np.ndim(table) == 2 else 0
        if self.n_features is not None:
            M = int(self.n_features)
        return check(type(self).__name__, name, table, (int(self.n_components), M))  # type: ignore[attr-defined]


class CategoricalHMM(SymbolsMixin, EMModel):
    """Hidden Markov model whose states emit symbols.

    Parameters
    ----------
    n_components : int, default=1
        Number of states K.
    startprob_prior : float or array of shape (K,), default=1.0
        Parameters of the Dirichlet prior of ``startprob_``.
    transmat_prior : float or array of shape (K, K), default=1.0
        Parameters of the Dirichlet prior of each row of ``transmat_``.
    emissionprob_prior : float or array of shape (K, M), default=1.0
        Parameters of the Dirichlet prior of each row of ``emissionprob_``.
    n_features : int, optional
        Number of symbols M; one more than the largest in X when left out.
    algorithm : {"viterbi", "map"}, default="viterbi"
        How ``decode`` and ``predict`` find states.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers, for starts and for ``sample``.
    n_iter : int, default=10
        Most iterations.
    tol : float, default=1e-2
        Stop when an iteration gains less log-likelihood plus log prior.
    verbose : bool, default=False
        Show a progress bar; nothing is ever printed otherwise.
    params, init_params : str, default="ste"
        What ``fit`` changes, and what it starts anew: letters for startprob, transmat and
        emissionprob.
    implementation : {"log", "scaling"}, default="log"
        Accepted for hmmlearn's sake; both names give the same result, see `GaussianHMM`.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute: None is where X lives.

    Attributes
    ----------
    startprob_ : ndarray of shape (K,)
        Probabilities of the first state.
    transmat_ : ndarray of shape (K, K)
        Probabilities of the next state (columns) given the state (rows).
    emissionprob_ : ndarray of shape (K, M)
        Probabilities of the symbols in each state.
    monitor_ : ConvergenceMonitor
        Log-likelihood and objective of each iteration.
    n_features_in_ : int
        1, after ``fit``.

    See Also
    --------
    MultinomialHMM : Several symbols at each step, counted.
    VariationalCategoricalHMM : Distributions over the parameters instead of points.

    Notes
    -----
    X is one column of whole numbers from 0. Negative numbers, NaN and masked entries are missing:
    their density is 1 in every state. ``fit`` leaves ``n_features`` as it was given; the number of
    symbols is ``emissionprob_.shape[1]``. Zeros in ``startprob_`` and ``transmat_`` stay zeros, a
    state that is never visited keeps its parameters, and the objective never falls. Cost of an
    iteration about 6 T K^2 flops.

    References
    ----------
    Baum, Petrie, Soules, Weiss (1970), "A maximization technique occurring in the statistical
    analysis of probabilistic functions of Markov chains". Rabiner (1989), "A tutorial on hidden
    Markov models and selected applications in speech recognition".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import CategoricalHMM
    >>> X = np.tile([0, 1, 0, 1, 2, 3, 2, 3], 20)[:, None]
    >>> model = CategoricalHMM(2, random_state=1, n_iter=200, tol=1e-6).fit(X)
    >>> model.predict(X[:8])[[0, 4]].tolist() in ([0, 1], [1, 0])
    True
    >>> (model.emissionprob_.max(axis=0) > 0.49).all()
    np.True_
    """

    _letters: ClassVar = {"s": ("startprob_",), "t": ("transmat_",), "e": ("emissionprob_",)}
    _parameters: ClassVar = {
        **EMModel._parameters,
        "emissionprob_prior": NUMBER_OR_ARRAY,
        "n_features": rule.any_of(rule.integer(1), rule.nothing()),
    }

    def __init__(
        self,
        n_components=1,
        startprob_prior=1.0,
        transmat_prior=1.0,
        *,
        emissionprob_prior=1.0,
        n_features=None,
        algorithm="viterbi",
        random_state=None,
        n_iter=10,
        tol=1e-2,
        verbose=False,
        params="ste",
        init_params="ste",
        implementation="log",
        device=None,
    ):
        self.n_components = n_components
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.emissionprob_prior = emissionprob_prior
        self.n_features = n_features
        self.algorithm = algorithm
        self.random_state = random_state
        self.n_iter = n_iter
        self.tol = tol
        self.verbose = verbose
        self.params = params
        self.init_params = init_params
        self.implementation = implementation
        self.device = device

    def _emission(self) -> CategoricalEmission:
        table = self._checked_table(checked_distribution, "emissionprob_")
        with np.errstate(divide="ignore"):
            return CategoricalEmission(np.log(table))

    def _start_emissions(self, data: Sequences | Stream) -> np.ndarray:
        owner, K, M = type(self).__name__, int(self.n_components), data.n_symbols
        if self._needs("e"):
            self.emissionprob_ = random_table(self.random_state, K, M)
        return broadcast_parameter(owner, "emissionprob_prior", self.emissionprob_prior, (K, M), 0)

    def _log_prior_emissions(self, emission: Any, setting: Any) -> float:
        return dirichlet_log_prior(setting, self.emissionprob_, skip_zeros=False)

    def _maximise_emissions(self, statistics: Any, emission: Any, setting: Any) -> None:
        if "e" in self.params:
            self.emissionprob_ = dirichlet_mode(setting, statistics, self.emissionprob_)

    def _n_fit_scalars(self) -> dict[str, int]:
        K, M = self.emissionprob_.shape
        return {"s": K - 1, "t": K * (K - 1), "e": K * (M - 1)}
