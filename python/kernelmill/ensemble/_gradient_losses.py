"""Losses of gradient boosting over exact trees: start, gradient, and what leaves add.

Raw predictions are (n, k), with one column but for three or more classes. Weights w are (n,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp, softmax

from kernelmill._estimator._targets import blocks, exponent_of, exponent_of_squares

_TIE = 2.0**-40  # sums of weights are rounded


def quantiles_of_groups(
    y: np.ndarray, w: np.ndarray, group: np.ndarray, count: int, level: float
) -> np.ndarray:
    """Weighted quantiles of groups of rows: the middle of all that minimise the pinball loss.

    Parameters
    ----------
    y, w : ndarray of shape (n,)
        Values and weights.
    group : ndarray of shape (n,), integers
        Number of the group of each row.
    count : int
        Number of groups.
    level : float
        Of the quantile.

    Returns
    -------
    values : ndarray of shape (count,)
        0 for empty groups.
    """
    kept = w > 0
    if not kept.all():
        y, w, group = y[kept], w[kept], group[kept]
    del kept
    order = np.lexsort((y, group))
    y, group = y[order], group[order]
    w = w[order] if w.strides != (0,) else w  # one number
    del order
    begin = np.searchsorted(group, np.arange(count))
    end = np.searchsorted(group, np.arange(count), side="right")
    out = np.zeros(count)
    for g in np.flatnonzero(end > begin):
        below = np.cumsum(w[begin[g] : end[g]])
        target, slack = level * below[-1], _TIE * below[-1]
        own = y[begin[g] : end[g]]
        low = min(int(np.searchsorted(below, target - slack)), len(own) - 1)
        tie = below[low] <= target + slack and low + 1 < len(own)
        out[g] = own[low] + (own[low + 1] - own[low]) / 2 if tie else own[low]
    return out


def _quantile(y: np.ndarray, w: np.ndarray, level: float) -> np.ndarray:
    """That of all rows, (1,)."""
    return quantiles_of_groups(y, w, np.zeros(len(y), np.uint8), 1, level)


class Loss:
    """One output, squared error."""

    columns = 1
    _exponent = 0  # squares are taken of errors divided by this power of 2

    def measure(self, y: np.ndarray) -> None:
        """Look at the targets before all else."""
        self._exponent = exponent_of(y)

    def base(self, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The best constant, (k,)."""
        origin = y[0]
        return np.array([origin + np.average(y - origin, weights=w)])

    def gradient(self, y: np.ndarray, raw: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Minus the derivative by raw predictions, (n, k); w are for scales."""
        return y[:, None] - raw

    # ``leaves(y, raw, gradient, w, k, leaf, count)``: what the leaves of a tree for column k add,
    # where that is not what the tree predicts already.
    leaves: Any = None

    def of(self, y: np.ndarray, raw: np.ndarray, w: np.ndarray) -> float:
        """Mean loss."""
        total = mass = 0.0
        for own in blocks(len(y), self.columns):
            total += float((self._each(y[own], raw[own]) * w[own]).sum())
            mass += float(w[own].sum())
        # Undone as far as float64 can hold all of them.
        return float(np.ldexp(total / mass, exponent_of_squares(self._exponent)))

    def _each(self, y: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """The loss of each row, (n,); squares of errors divided by the power of 2."""
        return np.square(np.ldexp(y - raw[:, 0], -self._exponent))


class Absolute(Loss):
    """Absolute error."""

    def base(self, y, w):
        return _quantile(y, w, 0.5)

    def gradient(self, y, raw, w):
        return np.sign(y[:, None] - raw)

    def leaves(self, y, raw, gradient, w, k, leaf, count):
        return quantiles_of_groups(y - raw[:, 0], w, leaf, count, 0.5)

    def measure(self, y):
        pass  # no squares

    def _each(self, y, raw):
        return np.abs(y - raw[:, 0])


class Quantile(Absolute):
    """Pinball loss of a level."""

    def __init__(self, level: float) -> None:
        self._level = level

    def base(self, y, w):
        return _quantile(y, w, self._level)

    def gradient(self, y, raw, w):
        over = y[:, None] - raw
        return np.where(over > 0, self._level, np.where(over < 0, self._level - 1, 0.0))

    def leaves(self, y, raw, gradient, w, k, leaf, count):
        return quantiles_of_groups(y - raw[:, 0], w, leaf, count, self._level)

    def _each(self, y, raw):
        over = y - raw[:, 0]
        return np.where(over > 0, self._level * over, (self._level - 1) * over)


class Huber(Loss):
    """Squared error near 0, absolute beyond the quantile of the level of the absolute errors."""

    def __init__(self, level: float) -> None:
        self._level = level
        self._delta = self._bend = 0.0  # of the last gradient, and of a mean loss

    def base(self, y, w):
        return _quantile(y, w, 0.5)

    def _scale(self, off, w):
        return _quantile(np.abs(off), w, self._level)[0]

    def gradient(self, y, raw, w):
        off = y - raw[:, 0]
        self._delta = self._scale(off, w)
        return np.clip(off, -self._delta, self._delta)[:, None]

    def leaves(self, y, raw, gradient, w, k, leaf, count):
        median = quantiles_of_groups(y - raw[:, 0], w, leaf, count, 0.5)

        def rest(own: slice) -> np.ndarray:
            off = y[own] - raw[own, 0] - median[leaf[own]]
            return np.clip(off, -self._delta, self._delta)

        return median + _means(rest, w, leaf, count)

    def of(self, y, raw, w):
        self._bend = self._delta or self._scale(y - raw[:, 0], w)
        return super().of(y, raw, w)

    def _each(self, y, raw):
        off = np.ldexp(np.abs(y - raw[:, 0]), -self._exponent)
        delta = np.ldexp(self._bend, -self._exponent)
        return np.where(off <= delta, off**2 / 2, delta * (off - delta / 2))


class Logistic(Loss):
    """Two classes, y in {0, 1}: half the deviance."""

    def base(self, y, w):
        p = np.average(y, weights=w)
        return np.array([np.log(p) - np.log1p(-p)])

    def measure(self, y):
        pass  # no squares

    def gradient(self, y, raw, w):
        out = expit(raw)
        return np.subtract(y[:, None], out, out=out)

    def leaves(self, y, raw, gradient, w, k, leaf, count):
        def parts(own: slice) -> tuple[np.ndarray, np.ndarray]:
            p = expit(raw[own, 0])
            return gradient[own, 0], p * (1 - p)

        return _newton(parts, w, leaf, count)

    def _each(self, y, raw):
        f = raw[:, 0]
        return 2 * (np.logaddexp(0, f) - y * f)


class Multinomial(Loss):
    """Three or more classes, y their numbers."""

    def __init__(self, classes: int) -> None:
        self.columns = classes

    def base(self, y, w):
        share = np.bincount(y.astype(np.int64), w, self.columns)
        share[share == 0] = np.finfo(float).eps * share.sum()  # all rows of a class without weight
        logs = np.log(share)
        return logs - logs.mean()

    def gradient(self, y, raw, w):
        gradient = np.empty_like(raw)
        for own in blocks(len(y), self.columns):
            np.negative(softmax(raw[own], axis=1), out=gradient[own])
            gradient[own][np.arange(len(y[own])), y[own].astype(np.int64)] += 1
        return gradient

    def leaves(self, y, raw, gradient, w, k, leaf, count):
        def parts(own: slice) -> tuple[np.ndarray, np.ndarray]:
            p = softmax(raw[own], axis=1)[:, k]
            return gradient[own, k], p * (1 - p)

        step = _newton(parts, w, leaf, count, self.columns)
        return step * (self.columns - 1) / self.columns

    def _each(self, y, raw):
        return logsumexp(raw, axis=1) - raw[np.arange(len(y)), y.astype(np.int64)]


class Exponential(Logistic):
    """Two classes, y in {0, 1}: the loss of AdaBoost."""

    def base(self, y, w):
        p = np.average(y, weights=w)
        return np.array([(np.log(p) - np.log1p(-p)) / 2])

    def gradient(self, y, raw, w):
        sign = 2 * y - 1
        return (sign * np.exp(-sign * raw[:, 0]))[:, None]

    def leaves(self, y, raw, gradient, w, k, leaf, count):
        return _newton(lambda own: (gradient[own, 0], np.abs(gradient[own, 0])), w, leaf, count)

    def _each(self, y, raw):
        return np.exp(-(2 * y - 1) * raw[:, 0])


def _means(
    part: Callable[[slice], np.ndarray], w: np.ndarray, leaf: np.ndarray, count: int
) -> np.ndarray:
    """Of each leaf, where ``part`` gives the numbers of some rows."""
    total, mass = np.zeros((2, count))
    for own in blocks(len(leaf)):
        total += np.bincount(leaf[own], w[own] * part(own), count)
        mass += np.bincount(leaf[own], w[own], count)
    return np.divide(total, mass, out=np.zeros(count), where=mass > 0)


def _newton(
    parts: Callable[[slice], tuple[np.ndarray, np.ndarray]],
    w: np.ndarray,
    leaf: np.ndarray,
    count: int,
    columns: int = 1,
) -> np.ndarray:
    """One step of Newton's method in each leaf; none where it has no curvature left.

    ``parts`` gives minus the gradients and the curvatures of some rows, by matrices of so many
    columns.
    """
    over, under, mass = np.zeros((3, count))
    for own in blocks(len(leaf), columns):
        g, h = parts(own)
        over += np.bincount(leaf[own], w[own] * g, count)
        under += np.bincount(leaf[own], w[own] * h, count)
        mass += np.bincount(leaf[own], w[own], count)
    return np.divide(over, under, out=np.zeros(count), where=under > 2.0**-100 * mass)


def loss_of(name: str, alpha: float, classes: int) -> Any:
    """The loss of a model."""
    if name == "log_loss":
        return Logistic() if classes == 2 else Multinomial(classes)
    if name in ("huber", "quantile"):
        return Huber(alpha) if name == "huber" else Quantile(alpha)
    kinds = {"exponential": Exponential, "squared_error": Loss, "absolute_error": Absolute}
    return kinds[name]()
