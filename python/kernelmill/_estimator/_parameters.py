"""Parameter constraints as data: a table per estimator, checked when it is fitted.

A class defines ``_parameters = {"n_clusters": integer(1), "init": any_of(...)}``; its ``__init__``
only stores, as scikit-learn requires. A rule is a test and the words that complete "must be".
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np


class InvalidParameterError(ValueError, TypeError):
    """A parameter is not accepted; both kinds of error, as in scikit-learn."""


class Rule(NamedTuple):
    """One constraint.

    Attributes
    ----------
    accepts : callable
        ``accepts(value) -> bool``.
    words : str
        Text that completes "must be".
    """

    accepts: Callable[[Any], bool]
    words: str


def is_integer(value: Any) -> bool:
    """Whether this is a whole number and not a boolean."""
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def check_whole(value: Any, name: str, owner: str, least: int = 0) -> None:
    """Refuse an argument of a method that is no whole number, or below the least one."""
    if not (is_integer(value) and value >= least):
        raise ValueError(
            f"{owner}: {name} must be a whole number of at least {least}, got {shown(value)}"
        )


def is_real(value: Any) -> bool:
    """Whether this is a real number and not a boolean."""
    return type(value) is float or (isinstance(value, Real) and not isinstance(value, bool))


def integer(low: int) -> Rule:
    """A whole number of at least `low`."""
    return Rule(
        lambda value: is_integer(value) and value >= low, f"a whole number of at least {low}"
    )


def is_vector(value: Any) -> bool:
    """Whether these are numbers in one axis, at least one."""
    return np.ndim(value) == 1 and len(value) > 0 and np.asarray(value).dtype.kind in "iuf"


def real(low: float, *, above: bool = False, high: float = math.inf) -> Rule:
    """A finite number from `low` (or above it) to `high`."""

    def accepts(value: Any) -> bool:
        if not is_real(value):
            return False
        return math.isfinite(value) and (value > low if above else value >= low) and value <= high

    words = f"a number above {low}" if above else f"a number of at least {low}"
    return Rule(accepts, words + (f" and at most {high}" if math.isfinite(high) else ""))


def one_of(*names: str | None) -> Rule:
    """One of some strings; None may be among them."""
    words = ", ".join(map(repr, names))
    return Rule(
        lambda value: (value is None or isinstance(value, str)) and value in names,
        f"one of {words}" if len(names) > 1 else words,
    )


def boolean() -> Rule:
    """True or False, NumPy's included."""
    return Rule(lambda value: isinstance(value, bool | np.bool_), "True or False")


def _is_array_like(value: Any) -> bool:
    return not isinstance(value, str | bytes | type) and (
        hasattr(value, "__len__") or hasattr(value, "shape") or hasattr(value, "__array__")
    )


def array(shape: str) -> Rule:
    """An array-like; `shape` is for the message only."""
    return Rule(_is_array_like, f"an array of shape {shape}")


def function(signature: str) -> Rule:
    """A callable; `signature` is for the message only."""
    return Rule(
        lambda value: callable(value) and not isinstance(value, type), f"a function {signature}"
    )


def finite() -> Rule:
    """Any finite number."""
    return Rule(lambda value: is_real(value) and math.isfinite(value), "a finite number")


def infinity() -> Rule:
    """Infinity."""
    return Rule(lambda value: is_real(value) and value == math.inf, "infinity")


def nothing() -> Rule:
    """None."""
    return Rule(lambda value: value is None, "None")


def any_of(*rules: Rule) -> Rule:
    """A value that any of the rules accepts."""
    words = [rule.words for rule in rules]
    return Rule(
        lambda value: any(rule.accepts(value) for rule in rules),
        ", ".join(words[:-1]) + " or " + words[-1],
    )


def _is_random_state(value: Any) -> bool:
    if value is None or isinstance(value, np.random.RandomState | np.random.Generator):
        return True
    return is_integer(value) and 0 <= value < 2**32


RANDOM_STATE = Rule(
    _is_random_state, "None, a whole number in [0, 2**32), a RandomState or a Generator"
)
CLASS_WEIGHT = any_of(
    one_of("balanced", None), Rule(lambda value: isinstance(value, dict), "a dict")
)
DEVICE = Rule(
    lambda value: value is None or (isinstance(value, str) and value in ("cpu", "cuda")),
    "None (the device of the data), 'cpu' or 'cuda' (KernelMill runs on CPUs and NVIDIA GPUs)",
)
VERBOSE = Rule(
    lambda value: isinstance(value, bool | np.bool_) or (is_integer(value) and value >= 0),
    "True, False or a whole number of at least 0",
)


def shown(value: Any) -> str:
    """A value for messages: its repr, or its type and the beginning."""
    text = repr(value)
    return text if len(text) <= 80 else f"{type(value).__name__} {text[:60]}..."


@functools.cache
def _defaults(cls: Any) -> dict[str, Any]:
    """The defaults of the parameters of a class, which its rules accept."""
    signature = inspect.signature(cls)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def check_parameters(estimator: Any) -> None:
    """Test every parameter of an estimator against the table of its class.

    Parameters
    ----------
    estimator : object
        Its class has ``_parameters``, a dict from name to `Rule`.
    """
    cls: Any = type(estimator)
    defaults = _defaults(cls)
    for name, rule in cls._parameters.items():
        value = getattr(estimator, name)
        if value is defaults.get(name, cls):  # most are: a fit of 100 microseconds saves 5
            continue
        if not rule.accepts(value):
            hint = " (it must be finite)" if is_real(value) and not math.isfinite(value) else ""
            raise InvalidParameterError(
                f"{type(estimator).__name__}: {name} must be {rule.words}, got {shown(value)}{hint}"
            )
