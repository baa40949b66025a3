"""Fitted parameters as data: a model declares each one, and the fit does the rest.

``_fitted`` of a model is a tuple of these records, in the order in which a fit starts them. From it
follow the letters of ``params`` and ``init_params``, what a fit starts anew, the checks of values
that were fitted or assigned, and the number of free scalars; and for distributions with Dirichlet
priors, and their variational posteriors, the update and its part of the objective, too.

Shapes are spelled in letters: K states, M Gaussians of a state, d features (or symbols).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._parameters import Rule
from kernelmill._estimator._validation import as_numbers
from kernelmill._gaussian._parameters import symmetric
from kernelmill.hmm._dirichlet import (
    dirichlet_log_prior,
    dirichlet_mode,
    dirichlet_start,
    soft_shares,
    start_numbers,
)
from kernelmill.hmm._posterior import dirichlet_divergence, mean_of
from kernelmill.hmm._symbol_start import start_counts

State = dict[str, Any]  # attributes of a model by name
Known = dict[str, Any]  # what a fit has to know beside its state, such as priors, by name

# --- checks of values ----------------------------------------------------------------------------


def checked_parameter(owner: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A fitted or assigned parameter as finite float64 of the given shape; raises otherwise."""
    array = np.asarray(as_numbers(value, name, owner), order="C")
    if array.shape != shape:
        raise ValueError(f"{owner}: {name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{owner}: {name} must be finite, got NaN or inf")
    return array


def checked_distribution(owner: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities whose last axis sums to one; raises otherwise."""
    array = checked_at_least_zero(owner, name, value, shape)
    sums = array.sum(axis=-1)
    if not np.abs(sums - 1.0).max() <= 1e-5:
        what = "rows that sum to 1" if array.ndim > 1 else "a sum of 1"
        raise ValueError(f"{owner}: {name} must have {what}, got {np.array2string(sums)}")
    return array


def checked_at_least_zero(owner: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that are not negative; raises otherwise."""
    array = checked_parameter(owner, name, value, shape)
    if array.size and array.min() < 0:
        raise ValueError(f"{owner}: {name} must not be negative, got {array.min():g}")
    return array


def broadcast_parameter(
    owner: str, name: str, value: Any, shape: tuple[int, ...], minimum: float = -np.inf
) -> np.ndarray:
    """A hyperparameter as finite float64 of at least `minimum`, broadcast to a shape; or raises.

    A vector with one entry for each of the first axis is accepted, too.
    """
    array = as_numbers(value, name, owner)
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


# --- what a model declares -----------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """A parameter that is a point.

    Attributes
    ----------
    letter : str
        Its letter in ``params`` and ``init_params``; several may share one.
    name : str
        Its attribute.
    axes : str, or dict from covariance type to str
        Its shape in letters.
    start : callable, optional
        ``start(model, data, numbers)`` gives the value that a fit starts from; parameters without
        it are started by `FittedModel._start_emissions`.
    check : callable
        ``check(owner, name, value, shape)`` gives the value as the passes need it, or raises.
    """

    letter: str
    name: str
    axes: str | dict[str, str]
    start: Callable | None = None
    check: Callable = checked_parameter

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes that it consists of."""
        return (self.name,)

    @property
    def init(self) -> str:
        """The constructor argument that holds its start."""
        return f"{self.name.strip('_')}_init"

    def spelled(self, model: Any) -> str:
        """Its shape in letters; matrices (d, d) at its end are symmetric."""
        if isinstance(self.axes, str):
            return self.axes
        if model.covariance_type not in list(self.axes):
            raise ValueError(
                f"{type(model).__name__}: covariance_type must be one of {', '.join(self.axes)}, "
                f"got {model.covariance_type!r}"
            )
        return self.axes[model.covariance_type]

    def shape(self, model: Any, d: int | None = None) -> tuple[int, ...]:
        """Its shape in a model: for d features, or as wide as the model's parameters are."""
        return tuple(
            d if letter == "d" and d is not None else model._size(letter)
            for letter in self.spelled(model)
        )

    def of(self, model: Any) -> np.ndarray:
        """Its checked value in a model; raises where there is none, or it makes no sense."""
        return self.checked(model, self.name, getattr(model, self.name, None))

    def checked(self, model: Any, name: str, value: Any, d: int | None = None) -> np.ndarray:
        """The value of the attribute of this name as the passes need it."""
        owner, name = type(model).__name__, name.lstrip("_")
        if value is None:
            raise NotFittedError(
                f"{owner}: {name} must be fitted or assigned first, got a model without it (call "
                f"fit, or assign all parameters)"
            )
        value = self.check(owner, name, value, self.shape(model, d))
        if self.spelled(model).endswith("dd") and (value := symmetric(value)) is None:
            raise ValueError(f"{owner}: {name} must be symmetric, got another matrix")
        return value

    # --- in a fit: attributes of the model are items of a dict, the state ------------------------

    def started(self, model: Any, data: Any, numbers: np.random.RandomState) -> State:
        """Where a fit starts."""
        return {} if self.start is None else {self.name: self.start(model, data, numbers)}

    def given(self, model: Any, data: Any) -> State | None:
        """The start that the constructor was given, None where there is none."""
        value = getattr(model, self.init)
        if value is None:
            return None
        return {self.name: self.checked(model, self.init, value, data.width)}

    def assigned(self, model: Any) -> State:
        """The model's own values."""
        return {name: getattr(model, name) for name in self.names}

    def complete(self, model: Any, state: State, d: int) -> State:
        """Its checked items of a state."""
        return {name: self.checked(model, name, state[name], d) for name in self.names}

    def derived(self, model: Any, state: State) -> State:
        """Attributes that follow from those of a state."""
        return {}

    def objective(self, state: State, known: Known) -> float:
        """Its part of what a fit maximises."""
        return 0.0

    def best(self, state: State, expected: Any, known: Known) -> State:
        """Its best items after an E-step; those of emissions are found by the model."""
        return {}

    def n_free(self, model: Any, d: int | None = None) -> int:
        """Free scalars."""
        shape = self.shape(model, d)
        if self.spelled(model).endswith("dd"):
            return math.prod(shape[:-1]) * (shape[-1] + 1) // 2
        return math.prod(shape)


@dataclass(frozen=True)
class Distributions(Parameter):
    """Distributions along the last axis, with Dirichlet priors: the most probable ones are kept.

    Attributes
    ----------
    counts : callable
        ``counts(expected)`` finds what to count in what an E-step gave.
    keeps_zeros : bool
        Whether entries that are 0 stay 0, and are no part of the prior.
    """

    check: Callable = checked_distribution
    counts: Callable = attrgetter("emissions")
    keeps_zeros: bool = False

    def prior_of(self, model: Any, d: int) -> np.ndarray:
        """Parameters of the prior, flat where the model has no such hyperparameter."""
        name = f"{self.name}prior"
        given = getattr(model, name, 1.0)
        return broadcast_parameter(type(model).__name__, name, given, self.shape(model, d), 0)

    def objective(self, state: State, known: Known) -> float:
        return dirichlet_log_prior(known[self.name], state[self.name], skip_zeros=self.keeps_zeros)

    def best(self, state: State, expected: Any, known: Known) -> State:
        before = state[self.name]
        counts = self.counts(expected).reshape(before.shape)
        return {self.name: dirichlet_mode(known[self.name], counts, before, self.keeps_zeros)}

    def n_free(self, model: Any, d: int | None = None) -> int:
        *rows, columns = self.shape(model, d)
        return math.prod(rows) * (columns - 1)


def _start_first(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    return dirichlet_start(numbers, int(model.n_components))


def _start_moves(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    K = int(model.n_components)
    return dirichlet_start(numbers, K, K)


def _start_table(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    """Distributions over symbols: uniform numbers over their sum."""
    table = start_numbers(model.random_state).random_sample((int(model.n_components), data.width))
    return table / table.sum(axis=1, keepdims=True)


STARTPROB = Distributions(
    "s", "startprob_", "K", _start_first, counts=attrgetter("starts"), keeps_zeros=True
)
TRANSMAT = Distributions(
    "t", "transmat_", "KK", _start_moves, counts=attrgetter("transitions"), keeps_zeros=True
)
EMISSIONPROB = Distributions("e", "emissionprob_", "Kd", _start_table)


@dataclass(frozen=True)
class Posterior(Parameter):
    """A parameter with a distribution: `name` is that of ``{name}_prior_`` and ``_posterior_``."""

    @property
    def names(self) -> tuple[str, ...]:
        return f"{self.name}_prior_", f"{self.name}_posterior_"

    def given(self, model: Any, data: Any) -> State | None:
        """Posteriors are started by `FittedModel._start_emissions`."""
        return None

    def of(self, model: Any) -> np.ndarray:
        """The checked posterior."""
        name = self.names[1]
        return self.checked(model, name, getattr(model, name, None))

    def complete(self, model: Any, state: State, d: int) -> State:
        values = super().complete(model, state, d)
        return {name: value if value.ndim else float(value) for name, value in values.items()}

    def values(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Prior and posterior as arrays."""
        prior, posterior = (np.asarray(state[name], np.float64) for name in self.names)
        return prior, posterior


def _checked_concentration(owner: str, name: str, value: Any, shape: Any) -> np.ndarray:
    array = checked_at_least_zero(owner, name, value, shape)
    if not (array.sum(axis=-1) > 0).all():
        raise ValueError(f"{owner}: {name} must have a positive sum, got only zeros")
    return array


@dataclass(frozen=True)
class Concentrations(Posterior):
    """Parameters of Dirichlet posteriors; the model has their means as ``{name}_``.

    ``start`` gives counts, which are added to the prior.
    """

    check: Callable = _checked_concentration
    counts: Callable = attrgetter("emissions")

    def prior_of(self, model: Any, d: int) -> np.ndarray:
        """Parameters of the prior."""
        shape, name = self.shape(model, d), f"{self.name}_prior"
        given = getattr(model, name)
        given = 1.0 / shape[-1] if given is None else given
        return np.array(broadcast_parameter(type(model).__name__, name, given, shape, minimum=0))

    def started(self, model: Any, data: Any, numbers: np.random.RandomState) -> State:
        assert self.start is not None
        prior = self.prior_of(model, data.width)
        posterior = np.where(prior > 0, prior + self.start(model, data, numbers), 0.0)
        return dict(zip(self.names, (prior, posterior), strict=True))

    def given(self, model: Any, data: Any) -> State | None:
        """The prior, and with it counts in the proportions that the constructor was given."""
        value = getattr(model, self.init)
        if value is None:
            return None
        prior = self.prior_of(model, data.width)
        value = checked_distribution(type(model).__name__, self.init, value, prior.shape)
        mass = data.n_sequences if prior.ndim == 1 else data.count / len(prior)
        posterior = np.where(prior > 0, prior + mass * value, 0.0)
        return dict(zip(self.names, (prior, posterior), strict=True))

    def complete(self, model: Any, state: State, d: int) -> State:
        """Prior and posterior must be 0 in the same places, too."""
        values = super().complete(model, state, d)
        prior, posterior = self.values(values)
        if ((prior > 0) != (posterior > 0)).any():
            raise ValueError(
                f"{type(model).__name__}: {self.name}_posterior_ must be positive exactly where "
                f"{self.name}_prior_ is, got zeros in other places"
            )
        return values

    def derived(self, model: Any, state: State) -> State:
        """The distributions: means of the posteriors."""
        return {f"{self.name}_": mean_of(self.values(state)[1])}

    def objective(self, state: State, known: Known) -> float:
        prior, posterior = self.values(state)
        return -dirichlet_divergence(posterior, prior)

    def best(self, state: State, expected: Any, known: Known) -> State:
        prior, _ = self.values(state)
        return {f"{self.name}_posterior_": prior + self.counts(expected)}


def _start_first_counts(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    return data.n_sequences * soft_shares(numbers, int(model.n_components))


def _start_move_counts(model: Any, data: Any, numbers: np.random.RandomState) -> np.ndarray:
    K = int(model.n_components)
    return data.count / K * soft_shares(numbers, K, K)


STARTPROB_POSTERIOR = Concentrations(
    "s", "startprob", "K", _start_first_counts, counts=attrgetter("starts")
)
TRANSMAT_POSTERIOR = Concentrations(
    "t", "transmat", "KK", _start_move_counts, counts=attrgetter("transitions")
)
EMISSIONPROB_POSTERIOR = Concentrations("e", "emissionprob", "Kd", start_counts)


def rules_of(fitted: tuple[Parameter, ...], points: tuple[Parameter, ...]) -> dict[str, Rule]:
    """The rules of ``params``, ``init_params`` and the starts."""
    letters = "".join(dict.fromkeys(parameter.letter for parameter in fitted))
    accepted = Rule(
        lambda value: isinstance(value, str) and set(value) <= set(letters),
        f"a string of some of the characters {letters!r}",
    )
    starts = {p.init: rule.any_of(rule.array(_words(p)), rule.nothing()) for p in points}
    return {"params": accepted, "init_params": accepted} | starts


def _words(point: Parameter) -> str:
    """Its shape in messages."""
    if isinstance(point.axes, str):
        return f"({', '.join(point.axes)}{',' * (len(point.axes) == 1)})"
    return "that of its covariance_type"
