"""Criteria of trees by their definitions, for the specifications in `tree`.

A set of rows has targets y (n, o) and weights w (n,); `classes` and `rule` are those of the ops.
"""

from __future__ import annotations

import numpy as np

CRITERIA = ("gini", "entropy", "squared_error", "poisson", "quantile")
GINI, ENTROPY, SQUARED, POISSON, QUANTILE = range(5)


def _quantile(y: np.ndarray, w: np.ndarray, alpha: float) -> float:
    """The weighted quantile: the middle of all that minimise the pinball loss."""
    order = np.argsort(y, kind="stable")
    y, cumulative = y[order], np.cumsum(w[order])
    target = alpha * cumulative[-1]
    lower = min(int(np.searchsorted(cumulative, target, side="left")), len(y) - 1)
    upper = min(int(np.searchsorted(cumulative, target, side="right")), len(y) - 1)
    return float(y[lower] + (y[upper] - y[lower]) / 2)


def _xlogx(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x * np.log(np.where(x > 0, x, 1.0)), 0.0)


def measure_of(
    y: np.ndarray, w: np.ndarray, classes: np.ndarray, rule: np.ndarray
) -> tuple[np.ndarray, float]:
    """Values of a set of rows, and its weight times its impurity."""
    criterion, alpha = int(rule[0]), float(rule[1])
    outputs = y.shape[1]
    values: list[np.ndarray] = []
    total = 0.0
    for k in range(outputs):
        if len(classes):
            counts = np.bincount(y[:, k].astype(np.int64), weights=w, minlength=int(classes[k]))
            values.append(counts)
            mass = counts.sum()
            if criterion == GINI:
                total += mass - (counts**2).sum() / mass
            else:
                total += (_xlogx(mass) - _xlogx(counts).sum()) / np.log(2.0)
        elif criterion == QUANTILE:
            q = _quantile(y[:, k], w, alpha)
            values.append(np.array([q]))
            over = y[:, k] - q
            total += (w * np.where(over > 0, alpha * over, (alpha - 1) * over)).sum()
        else:
            mean = (w * y[:, k]).sum() / w.sum()
            values.append(np.array([mean]))
            if criterion == POISSON:
                own = y[:, k]
                ratio = np.where(own > 0, own, 1.0) / (mean if mean > 0 else 1.0)
                total += (w * (own * np.log(ratio) - (own - mean))).sum()
            else:
                total += (w * (y[:, k] - mean) ** 2).sum()
    return np.concatenate(values) if values else np.zeros(0), total / max(1, outputs)


def gain_of(
    y: np.ndarray,
    w: np.ndarray,
    goes: np.ndarray,
    classes: np.ndarray,
    rule: np.ndarray,
    whole: float,
) -> float:
    for side in (goes, ~goes):
        if side.sum() < max(1, rule[2]) or w[side].sum() < rule[3]:
            return -np.inf
        if int(rule[0]) == POISSON and (w[side] @ y[side] <= 0).any():
            return -np.inf
    parts = [measure_of(y[side], w[side], classes, rule)[1] for side in (goes, ~goes)]
    return whole - parts[0] - parts[1]


def level_of(y: np.ndarray, w: np.ndarray, classes: np.ndarray, rule: np.ndarray) -> float:
    """What a monotonic constraint compares: the value, or the share of the second class."""
    value = measure_of(y, w, classes, rule)[0]
    return float(value[1] / w.sum() if len(classes) else value[0])


def keeps(
    y: np.ndarray,
    w: np.ndarray,
    goes: np.ndarray,
    classes: np.ndarray,
    rule: np.ndarray,
    sign: int,
    bounds: tuple[float, float] | None,
) -> bool:
    """Whether the children keep a monotonic constraint."""
    left, right = (level_of(y[s], w[s], classes, rule) for s in (goes, ~goes))
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    inside = low <= min(left, right) and max(left, right) <= high
    return bool(inside and (right - left) * sign >= 0)
