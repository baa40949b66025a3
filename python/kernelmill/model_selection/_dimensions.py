"""One dimension of a search space: which values it has, and where they lie in the unit interval.

A value of the user has a *number*: itself, or the index of a choice. A number has a *code*: of a
real number its place in [0, 1] after the prior's transform, otherwise the number. NaN is the number
and the code of a dimension that is not active. Models see *positions*: codes scaled to [0, 1], or
indicators of choices that have no order. Numbers are what is kept: codes are rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelmill._docstrings import Documented, Words
from kernelmill._estimator._parameters import is_integer, is_real, shown

_PRIORS = ("uniform", "log-uniform")
# A whole number of more values is moved by gradients and rounded; one of fewer is tried value by
# value.
MOST_LEVELS = 16


class Dimension(Documented):
    """Base of dimensions.

    Attributes
    ----------
    name : str or None
    when : dict or None
        Choices of other dimensions with which this one is active.
    levels : int or None
        Number of values; None for a continuum.
    width : int
        Number of columns that models see.
    """

    _words = Words(
        parameters={
            "prior": ('{"uniform", "log-uniform"}',
                "Whether equal differences or equal ratios count the same."),
            "name": ("str", "Name; that of the key where the space is a dict."),
            "when": ("dict",
                "Names of categorical dimensions and the choices of theirs, one or a list, with "
                "which this dimension is active. Otherwise points have no value for it."),
        }
    )  # fmt: skip
    name: str | None
    when: dict[str, list[Any]] | None
    levels: int | None
    width = 1

    def _common(self, name: Any, when: Any) -> None:
        owner = type(self).__name__
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{owner}: name must be a string or None, got {shown(name)}")
        if when is not None:
            if not isinstance(when, Mapping) or not when:
                raise ValueError(
                    f"{owner}: when must be a dict of names of dimensions and their choices, got "
                    f"{shown(when)} (for example when={{'kernel': ['rbf', 'poly']}})"
                )
            when = {key: v if isinstance(v, list) else [v] for key, v in when.items()}
        self.name, self.when = name, when

    @property
    def is_continuous(self) -> bool:
        """Whether gradients move it."""
        return self.width == 1 and (self.levels is None or self.levels > MOST_LEVELS)

    def _draw(self, u: np.ndarray) -> np.ndarray:
        """Codes that are distributed by the prior, from numbers in [0, 1)."""
        raise NotImplementedError

    def _undraw(self, v: np.ndarray) -> np.ndarray:
        """Numbers that `_draw` turns into these codes."""
        raise NotImplementedError

    def _positions(self, v: np.ndarray) -> np.ndarray:
        """Columns for models, (n, width)."""
        raise NotImplementedError

    def _nearest(self, z: np.ndarray) -> np.ndarray:
        """The codes nearest to positions, of dimensions of one column."""
        raise NotImplementedError

    def _numbers(self, v: np.ndarray) -> np.ndarray:
        """The numbers of codes."""
        return v

    def _codes(self, numbers: np.ndarray) -> np.ndarray:
        """The codes of numbers."""
        return numbers

    def _value(self, number: float) -> Any:
        """The user's value of a number."""
        raise NotImplementedError

    def _number(self, x: Any) -> float:
        """The number of a user's value; ValueError if it is not one."""
        raise NotImplementedError

    def _refuse(self, x: Any, what: str) -> ValueError:
        return ValueError(f"{self.name or 'a value'} must be {what}, got {shown(x)}")

    def _repr(self, *values: Any) -> str:
        parts = [*map(repr, values)]
        if getattr(self, "prior", "uniform") != "uniform":
            parts.append(f"prior={self.prior!r}")  # type: ignore[attr-defined]
        parts += [f"{k}={v!r}" for k, v in (("name", self.name), ("when", self.when)) if v]
        return f"{type(self).__name__}({', '.join(parts)})"


def _check_range(owner: str, low: Any, high: Any, prior: Any, real: bool) -> None:
    test = is_real if real else is_integer
    kind = "finite numbers" if real else "whole numbers"
    if not all(test(v) and math.isfinite(v) for v in (low, high)) or not (
        low < high if real else low <= high
    ):
        raise ValueError(
            f"{owner}: low and high must be {kind} with low {'below' if real else 'at most'} high, "
            f"got {shown(low)} and {shown(high)}"
        )
    if prior not in _PRIORS:
        raise ValueError(
            f"{owner}: prior must be {' or '.join(map(repr, _PRIORS))}, got {shown(prior)}"
        )
    if prior == "log-uniform" and not low > 0:
        raise ValueError(f"{owner}: low must be above 0 with a log-uniform prior, got {low!r}")


class Real(Dimension):
    """A real number in a range.

    Parameters
    ----------
    low, high : float
        Ends of the range, which belong to it.

    Examples
    --------
    >>> from kernelmill.model_selection import Real
    >>> Real(1e-3, 1e3, "log-uniform", name="C")
    Real(0.001, 1000.0, prior='log-uniform', name='C')
    """

    levels = None

    def __init__(self, low, high, prior="uniform", name=None, when=None):
        _check_range("Real", low, high, prior, real=True)
        self.low, self.high, self.prior = float(low), float(high), prior
        self._common(name, when)

    def _draw(self, u):
        return u

    def _undraw(self, v):
        return v

    def _positions(self, v):
        return v[:, None]

    def _nearest(self, z):
        return np.clip(z, 0.0, 1.0)

    def _ends(self) -> tuple[float, float]:
        if self.prior == "log-uniform":
            return math.log(self.low), math.log(self.high)
        return self.low, self.high

    def _numbers(self, v):
        low, high = self._ends()
        t = (1 - v) * low + v * high  # without overflow where the range is wider than a float
        return np.clip(np.exp(t) if self.prior == "log-uniform" else t, self.low, self.high)

    def _codes(self, numbers):
        low, high = self._ends()
        t = np.log(numbers) if self.prior == "log-uniform" else numbers
        return np.clip((t / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)

    def _value(self, number):
        return float(number)

    def _number(self, x):
        if not is_real(x) or not self.low <= x <= self.high:
            raise self._refuse(x, f"a number from {self.low} to {self.high}")
        return float(x)

    def __repr__(self):
        return self._repr(self.low, self.high)


class Integer(Dimension):
    """A whole number in a range.

    Parameters
    ----------
    low, high : int
        Ends of the range, which belong to it.

    Examples
    --------
    >>> from kernelmill.model_selection import Integer
    >>> Integer(1, 1000, "log-uniform", name="max_iter")
    Integer(1, 1000, prior='log-uniform', name='max_iter')
    """

    def __init__(self, low, high, prior="uniform", name=None, when=None):
        _check_range("Integer", low, high, prior, real=False)
        self.low, self.high, self.prior = int(low), int(high), prior
        self.levels = self.high - self.low + 1
        self.width = int(self.levels > 1)
        self._common(name, when)

    def _ends(self, margin: float) -> tuple[float, float]:
        ends = self.low - margin, self.high + margin
        return (math.log(ends[0]), math.log(ends[1])) if self.prior == "log-uniform" else ends

    def _whole(self, t: Any) -> Any:
        values = np.exp(t) if self.prior == "log-uniform" else t
        return np.clip(np.rint(values), self.low, self.high)

    def _draw(self, u):
        low, high = self._ends(0.5)
        return self._whole(low + u * (high - low))

    def _undraw(self, v):
        low, high = self._ends(0.5)
        return ((np.log(v) if self.prior == "log-uniform" else v) - low) / (high - low)

    def _positions(self, v):
        low, high = self._ends(0.0)
        t = np.log(v) if self.prior == "log-uniform" else v
        return ((t - low) / (high - low))[:, None] if self.width else np.zeros((len(v), 0))

    def _nearest(self, z):
        low, high = self._ends(0.0)
        return self._whole(low + z * (high - low))

    def _value(self, number):
        return int(number)

    def _number(self, x):
        whole = is_integer(x) or (is_real(x) and float(x).is_integer())
        if not whole or not self.low <= x <= self.high:
            raise self._refuse(x, f"a whole number from {self.low} to {self.high}")
        return float(x)

    def __repr__(self):
        return self._repr(self.low, self.high)


class Categorical(Dimension):
    """One of some choices.

    Parameters
    ----------
    choices : sequence
        The choices: any objects. Numbers are taken to be ordered, so that what is learnt of one
        tells of those beside it.

    Examples
    --------
    >>> from kernelmill.model_selection import Categorical
    >>> Categorical(["linear", "rbf"], name="kernel")
    Categorical(['linear', 'rbf'], name='kernel')
    """

    def __init__(self, choices, name=None, when=None):
        given = choices if not isinstance(choices, str) and hasattr(choices, "__len__") else []
        self.choices = list(given)
        if not self.choices:
            raise ValueError(
                f"Categorical: choices must be a sequence of at least one, got {shown(choices)}"
            )
        for i, one in enumerate(self.choices):
            if any(_same(one, other) for other in self.choices[:i]):
                raise ValueError(f"Categorical: choices must differ, got {shown(one)} twice")
        n = self.levels = len(self.choices)
        order = all(is_real(c) and math.isfinite(c) for c in self.choices)
        # Positions of ordered choices: their ranks. Others: indicators at distance 1.
        self.is_ordered = order or n <= 2
        self.width = int(n > 1) if self.is_ordered else n
        self._ranks = np.arange(n, dtype=np.float64)
        if order:
            self._ranks = np.argsort(np.argsort(self.choices)).astype(np.float64)
        self._by_rank = np.argsort(self._ranks)
        self._common(name, when)

    def _draw(self, u):
        n = len(self.choices)
        return self._by_rank[np.minimum(u * n, n - 1).astype(np.intp)].astype(np.float64)

    def _undraw(self, v):
        return (self._ranks[v.astype(np.intp)] + 0.5) / len(self.choices)

    def _positions(self, v):
        n, at = len(self.choices), v.astype(np.intp)
        if self.width <= 1:
            return self._ranks[at][:, None][:, : self.width] / max(n - 1, 1)
        return np.eye(n)[at] * math.sqrt(0.5)

    def _nearest(self, z):
        n = len(self.choices)
        rank = np.clip(np.rint(z * (n - 1)), 0, n - 1).astype(np.intp)
        return self._by_rank[rank].astype(np.float64)

    def _value(self, number):
        return self.choices[int(number)]

    def _number(self, x):
        for i, choice in enumerate(self.choices):
            if _same(x, choice):
                return float(i)
        raise self._refuse(x, f"one of {shown(self.choices)}")

    def __repr__(self):
        return self._repr(self.choices)


class Quantile(Dimension):
    """A real number with a frozen continuous distribution of SciPy as prior."""

    levels = None

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution
        self._common(None, None)

    _draw = Real._draw
    _undraw = Real._undraw
    _positions = Real._positions
    _nearest = Real._nearest

    _value = Real._value

    def _numbers(self, v):
        tiny = 1e-9  # quantiles of 0 and 1 may be infinite
        low, high = self.distribution.support()
        finite = math.isfinite(low) and math.isfinite(high)
        return self.distribution.ppf(v if finite else np.clip(v, tiny, 1 - tiny))

    def _codes(self, numbers):
        return self.distribution.cdf(numbers)

    def _number(self, x):
        low, high = self.distribution.support()
        if not is_real(x) or not low <= x <= high:
            raise self._refuse(x, f"a number from {low} to {high}")
        return float(x)

    def __repr__(self):
        frozen = self.distribution
        return self._repr(frozen.dist.name, frozen.args, frozen.kwds)


def _same(a: Any, b: Any) -> bool:
    """Whether two choices are equal; True is not 1, and arrays are compared whole."""
    if a is b:
        return True
    if isinstance(a, bool | np.bool_) != isinstance(b, bool | np.bool_):
        return False
    try:
        return bool(np.all(a == b)) and np.shape(a) == np.shape(b)
    except (TypeError, ValueError):
        return False


def as_dimension(given: Any, owner: str, name: str | None = None) -> Dimension:
    """A dimension from what users write.

    Parameters
    ----------
    given : Dimension, list, range, array, pair, triple with a prior, or frozen distribution
    owner : str
        Name of the caller in errors.
    name : str, optional
        Its name, if the space has names.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    found: Dimension
    if isinstance(given, Dimension):
        found = given.__class__.__new__(given.__class__)
        found.__dict__.update(given.__dict__)
    elif isinstance(given, tuple) and len(given) in (2, 3) and all(map(is_real, given[:2])):
        cls = Integer if all(map(is_integer, given[:2])) else Real
        found = cls(*given)
    elif hasattr(given, "ppf") and hasattr(given, "support"):
        if hasattr(getattr(given, "dist", None), "pmf"):
            low, high = given.support()
            found = Integer(int(low), int(high))
        else:
            found = Quantile(given)
    elif isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | tuple):
        found = Categorical(list(given))
    else:
        where = f"dimension {name!r}" if name else "a dimension"
        raise ValueError(
            f"{owner}: {where} must be a list of choices, a pair (low, high), a triple (low, high, "
            f"prior), Real, Integer, Categorical or a frozen distribution, got {shown(given)}"
        )
    found.name = name if name is not None else found.name
    return found
