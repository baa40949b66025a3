"""Hidden Markov models whose states emit counts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from scipy.special import xlogy

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._parameters import shown
from kernelmill._estimator._validation import as_numbers
from kernelmill.hmm._declared import (
    EMISSIONPROB,
    STARTPROB,
    TRANSMAT,
    Known,
    Parameter,
    State,
    broadcast_parameter,
    checked_at_least_zero,
    rules_of,
)
from kernelmill.hmm._dirichlet import start_numbers
from kernelmill.hmm._emissions import MultinomialEmission, PoissonEmission
from kernelmill.hmm._fit import EMModel
from kernelmill.hmm._inputs import CountsMixin
from kernelmill.hmm._observations import Counts, observe_counts, observe_multinomial
from kernelmill.hmm._sequence_model import NUMBER_OR_ARRAY
from kernelmill.hmm._sequences import Sequences

# Mass below which a state counts as never visited.
_EMPTY = np.finfo(np.float64).tiny


class MultinomialHMM(CountsMixin, EMModel):
    """Hidden Markov model whose states emit several symbols at a time, as counts of each.

    Parameters
    ----------
    n_trials : int or array of shape (T,), optional
        Sum of each row of X. When left out rows may have any sums. `sample` needs a single number:
        this one, or the sum that all rows of ``fit`` had.

    Attributes
    ----------
    startprob_, transmat_, emissionprob_
    n_trials_ : int or None
        Sum of the rows that ``fit`` saw, None where it differs between them.
    monitor_
    n_features : int
        Number of symbols M.
    n_features_in_

    See Also
    --------
    CategoricalHMM : One symbol at each step.

    Notes
    -----
    A row of NaN is missing. The density has the multinomial coefficient. Zeros in ``startprob_``
    and ``transmat_`` stay zeros, a state that is never visited keeps its parameters, and the
    objective never falls. Cost of an iteration about 6 T K^2 + 4 T K M flops.

    References
    ----------
    Rabiner (1989), "A tutorial on hidden Markov models and selected applications in speech
    recognition".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import MultinomialHMM
    >>> rng = np.random.default_rng(0)
    >>> states = np.repeat([0, 1, 0], 30)
    >>> X = rng.multinomial(5, np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])[states])
    >>> model = MultinomialHMM(2, random_state=1, n_iter=50).fit(X)
    >>> low, high = model.emissionprob_[:, 2].argsort()
    >>> model.n_trials_, model.emissionprob_[[low, high], 0].round(1).tolist()
    (5, [0.8, 0.1])

    The states of X, their probabilities, and the likelihood of the model:

    >>> (model.predict(X) == np.where(states, high, low)).mean() > 0.9
    np.True_
    >>> log_prob, path = model.decode(X, lengths=[60, 30])
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((90, 2), (90, 2))
    >>> round(model.score(X)), round(model.aic(X)), round(model.bic(X))
    (-183, 380, 398)

    What comes next, for whole sequences and one row of counts at a time:

    >>> model.predict_next(X, quantiles=0.9).quantiles
    array([[5., 1., 1.]])
    >>> model.filter().update([5, 0, 0])[[low, high]].round(2)
    array([1., 0.])
    >>> model.get_stationary_distribution()[[low, high]].round(1)
    array([0.7, 0.3])
    >>> X, states = model.sample(4, random_state=0)
    >>> X.sum(axis=1)
    array([5, 5, 5, 5])
    """

    _observe: ClassVar[Callable] = staticmethod(observe_multinomial)
    _fitted = _points = (STARTPROB, TRANSMAT, EMISSIONPROB)
    _widest = "emissionprob_"
    _parameters: ClassVar = {
        **EMModel._parameters,
        **rules_of(_fitted, _points),
        "n_trials": rule.any_of(rule.integer(0), rule.array("(T,)"), rule.nothing()),
    }

    def __init__(
        self, n_components=1, n_trials=None, startprob_prior=1.0, transmat_prior=1.0,
        algorithm="viterbi", random_state=None, n_iter=10, tol=1e-2, verbose=False, params="ste",
        init_params="ste", implementation="log", *, startprob_init=None, transmat_init=None,
        emissionprob_init=None, n_init=1, device=None, warm_start=False
    ):
        self._set_parameters(locals())

    def _checked_trials(self, data: Sequences) -> int | None:
        """The sum of all rows that are there, None where they differ; raises where not as given."""
        sums = np.concatenate(data.map_reduce(_row_sums, merge=operator.add))
        there = np.isfinite(sums)
        if self.n_trials is not None:
            owner = type(self).__name__
            given = as_numbers(self.n_trials, "n_trials", owner)
            used = np.ones(len(sums), dtype=bool) if data.used is None else data.used
            if given.shape not in ((), used.shape):
                raise ValueError(
                    f"{owner}: n_trials must be a number or one for each of the {len(used)} rows "
                    f"of X, got shape {given.shape}"
                )
            wanted = np.broadcast_to(given, used.shape)[used]
            wrong = there & (sums != wanted)
            if wrong.any():
                i = int(wrong.argmax())
                raise ValueError(
                    f"{owner}: X must have rows that add up to n_trials, got {sums[i]:g} instead "
                    f"of {wanted[i]:g} in row {np.flatnonzero(used)[i]}"
                )
        distinct = np.unique(sums[there])
        return int(distinct[0]) if len(distinct) == 1 else None

    def _trials(self) -> int | None:
        """The number of symbols of a row, None where there is no single one."""
        if self.n_trials is None:
            return vars(self).get("n_trials_")
        distinct = np.unique(as_numbers(self.n_trials, "n_trials", type(self).__name__))
        if len(distinct) != 1 or not float(distinct[0]).is_integer() or distinct[0] < 0:
            return None
        return int(distinct[0])

    def _emission(self, table: np.ndarray) -> MultinomialEmission:
        return MultinomialEmission(table, self._trials())

    def _start_emissions(self, data: Sequences, new: set[str]) -> State:
        return {"n_trials_": self._checked_trials(data)}

    def _check_sampling(self) -> None:
        if self._trials() is None:
            raise ValueError(
                f"{type(self).__name__}: n_trials must be a single whole number of at least 0 for "
                f"sample, got {shown(self.n_trials)}"
            )


def _start_rates(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    """Drawn from a gamma distribution with the mean and variance of all counts."""
    rows = data.some_rows.astype(np.float64)
    seen = rows[np.isfinite(rows)]
    mean = max(float(seen.mean()) if seen.size else 1.0, np.finfo(np.float64).tiny)
    variance = float(seen.var()) if seen.size else 0.0
    variance = variance if variance > 0 else mean
    numbers = start_numbers(model.random_state)
    shape = (int(model.n_components), data.width)
    drawn = numbers.gamma(mean**2 / variance, variance / mean, size=shape)
    return np.maximum(drawn, 1e-6 * mean)  # a rate of 0 could never explain an event again


LAMBDAS = Parameter("l", "lambdas_", "Kd", _start_rates, checked_at_least_zero)


class PoissonHMM(CountsMixin, EMModel):
    """Hidden Markov model whose states emit counts with a Poisson distribution.

    Parameters
    ----------
    lambdas_prior : float or array of shape (K, d), default=0.0
        alpha of the gamma prior of ``lambdas_``: how many events it is worth.
    lambdas_weight : float or array of shape (K, d), default=0.0
        beta of that prior: how many rows it is worth.

    Attributes
    ----------
    startprob_, transmat_
    lambdas_ : ndarray of shape (K, d)
        Expected counts of each feature in each state.
    monitor_, n_features, n_features_in_

    See Also
    --------
    MultinomialHMM : Counts with a known sum.

    Notes
    -----
    Features are independent within a state. NaN entries are missing and left out exactly. The
    update is ``lambda = (alpha + events) / (beta + rows)`` of the state. Zeros in ``startprob_``
    and ``transmat_`` stay zeros, a state that is never visited keeps its parameters, and the
    objective never falls. Cost of an iteration about 6 T K^2 + 4 T K d flops.

    References
    ----------
    Zucchini, MacDonald, Langrock (2016), "Hidden Markov models for time series", chapters 1 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.hmm import PoissonHMM
    >>> rng = np.random.default_rng(0)
    >>> states = np.repeat([0, 1, 0], 100)
    >>> X = rng.poisson(np.where(states, 9.0, 2.0))[:, None]
    >>> model = PoissonHMM(2, random_state=0, n_iter=50).fit(X)
    >>> low, high = model.lambdas_[:, 0].argsort()
    >>> model.lambdas_[[low, high], 0].round().tolist()
    [2.0, 9.0]

    The states of X, their probabilities, and the likelihood of the model:

    >>> (model.predict(X) == np.where(states, high, low)).mean() > 0.95
    np.True_
    >>> log_prob, path = model.decode(X, lengths=[200, 100])
    >>> model.predict_proba(X).shape, model.score_samples(X)[1].shape
    ((300, 2), (300, 2))
    >>> round(model.score(X)), round(model.aic(X)), round(model.bic(X))
    (-613, 1237, 1255)

    What comes next, with the counts that 10 and 90 % of cases do not exceed:

    >>> prediction = model.predict_next(X, quantiles=[0.1, 0.9])
    >>> prediction.mean.round(1), prediction.variance.round(1), prediction.quantiles
    (array([[2.2]]), array([[2.5]]), array([[[0.],
            [4.]]]))
    >>> model.filter().update(3)[[low, high]].round()
    array([1., 0.])
    >>> model.get_stationary_distribution()[[low, high]].round(1)
    array([0.7, 0.3])
    >>> X, states = model.sample(5, random_state=0)
    >>> X.shape
    (5, 1)
    """

    lambdas_: np.ndarray
    _observe: ClassVar[Callable] = staticmethod(observe_counts)
    _fitted = _points = (STARTPROB, TRANSMAT, LAMBDAS)
    _widest = "lambdas_"
    _parameters: ClassVar = {
        **EMModel._parameters,
        **rules_of(_fitted, _points),
        "lambdas_prior": NUMBER_OR_ARRAY,
        "lambdas_weight": NUMBER_OR_ARRAY,
    }

    def __init__(
        self, n_components=1, startprob_prior=1.0, transmat_prior=1.0, lambdas_prior=0.0,
        lambdas_weight=0.0, algorithm="viterbi", random_state=None, n_iter=10, tol=1e-2,
        verbose=False, params="stl", init_params="stl", implementation="log", *,
        startprob_init=None, transmat_init=None, lambdas_init=None, n_init=1, device=None,
        warm_start=False
    ):
        self._set_parameters(locals())

    def _emission(self, rates: np.ndarray) -> PoissonEmission:
        return PoissonEmission(rates)

    def _prepared(self, data: Sequences, state: State) -> tuple[State, Known]:
        state, known = super()._prepared(data, state)
        owner, shape = type(self).__name__, LAMBDAS.shape(self, data.width)
        for name in ("lambdas_prior", "lambdas_weight"):
            known[name] = broadcast_parameter(owner, name, getattr(self, name), shape, minimum=0)
        return state, known

    def _objective_emissions(self, state: State, emission: Any, known: Known) -> float:
        rates = state["lambdas_"]
        return float((xlogy(known["lambdas_prior"], rates) - known["lambdas_weight"] * rates).sum())

    def _maximise_emissions(
        self, state: State, statistics: Any, emission: Any, known: Known
    ) -> State:
        if "l" not in self.params:
            return {}
        weights, sums = statistics
        mass = weights + known["lambdas_weight"]
        filled = mass > _EMPTY
        rates = (sums + known["lambdas_prior"]) / np.where(filled, mass, 1.0)
        return {"lambdas_": np.where(filled, rates, state["lambdas_"])}


def _row_sums(observed: Counts, lengths: Any, weight: Any) -> list[np.ndarray]:
    """Sum of each row, NaN where it is missing."""
    sums = to_host(observed.X.sum(axis=1))
    if observed.seen is not None:
        sums = np.where(to_host(observed.seen[:, 0]), sums, np.nan)
    return [sums]
