"""Starts from the last fit: its multipliers, moved to new bounds.

All multipliers follow the price where most of them are at a bound. Else those at a bound follow it;
the others, of rows on the margin, stay but for making up the sum, each by the same share of its way
to 0 or to the bound. On grids of prices that took fewer steps than either alone, and none at all
where nothing is at a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelmill.svm._problems import Problem

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Before:
    """What a fit with ``warm_start`` takes from the one before.

    Attributes
    ----------
    price : float
        Its C.
    multipliers : dict
        For each pair of classes (or None, for a regression) signed multipliers of all rows of X.
    """

    price: float
    multipliers: dict[Any, np.ndarray]

    def started(
        self, problem: Problem, rows: np.ndarray, price: float, pair: Any = None
    ) -> Problem:
        """The problem, whose variables are these rows of X, with a start."""
        known = self.multipliers.get(pair)
        if known is None:
            return problem
        start = followed(known[rows], price / self.price, problem)
        return replace(problem, start=start) if start.any() else problem


def followed(b: np.ndarray, ratio: float, problem: Problem) -> np.ndarray:
    """Multipliers at a price `ratio` times lower, moved to the bounds of the problem."""
    if not ratio < 1e9:  # as good as no bound: nothing stays at it
        return feasible(b, problem)
    end = np.where(b > 0, problem.upper, problem.lower)
    used, bound = b != 0, np.abs(b * ratio) >= np.abs(end) * (1 - 1e-9)
    share = 2 * np.count_nonzero(bound & used) >= np.count_nonzero(used)
    b = np.where(bound & used, end, b * ratio if share else b)  # to the last bit
    if share:
        return feasible(b, problem)
    b = np.clip(b, problem.lower, problem.upper)
    excess = float(b.sum())
    way = np.where(np.sign(b) == np.sign(excess), b, b - end) * (used & ~bound)
    total = float(np.abs(way).sum())
    if total > abs(excess) > _ROUNDING * float(np.abs(b).sum()):
        b = b - way * (abs(excess) / total)
    return feasible(b, problem)


def feasible(b: np.ndarray, problem: Problem) -> np.ndarray:
    """Multipliers within the bounds that add up to 0: those of the larger side are scaled down."""
    b = np.clip(b, problem.lower, problem.upper)
    above, below = float(b[b > 0].sum()), float(-b[b < 0].sum())
    if abs(above - below) <= _ROUNDING * above:  # multipliers at a bound stay there
        return b
    if above > below:
        b = np.where(b > 0, b * (below / above), b)
    else:
        b = np.where(b < 0, b * (above / below), b)
    return b


def classes_before(model: Any, n: int) -> Before | None:
    """Of a classifier that was fitted to as many rows."""
    state = vars(model)
    if not model.warm_start or "_price" not in state or state["shape_fit_"][0] != n:
        return None
    k = len(model.classes_)
    coef = -model._dual if k == 2 else model._dual
    ends = np.cumsum(model.n_support_)
    own = [slice(int(e - c), int(e)) for e, c in zip(ends, model.n_support_, strict=True)]
    found = {}
    for i in range(k):
        for j in range(i + 1, k):
            b = np.zeros(n)
            b[model.support_[own[i]]] = coef[j - 1, own[i]]
            b[model.support_[own[j]]] = coef[i, own[j]]
            found[model.classes_[i], model.classes_[j]] = b
    return Before(model._price, found)


def values_before(model: Any, n: int) -> Before | None:
    """Of a regression that was fitted to as many rows."""
    state = vars(model)
    if not model.warm_start or "_price" not in state or state["shape_fit_"][0] != n:
        return None
    b = np.zeros(n)
    b[model.support_] = model._dual[0]
    return Before(model._price, {None: b})
