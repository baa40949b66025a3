"""The dual problems of all machines, as `ops.svm.solve` takes them.

Multipliers are signed, b_t = y_t alpha_t for classes, and g = K b + q. See docs/kernel-methods.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """Minimise ``1/2 b'K b + q'b + w |b|_1`` with ``lower <= b <= upper`` and fixed sums of b.

    Attributes
    ----------
    rows : ndarray of shape (m,), int32
        The row of X of each variable.
    q, lower, upper : ndarray of shape (m,), float64
    start : ndarray of shape (m,), float64, or None
        Multipliers to start from, which have the sums; None for zeros.
    w : float
    grouped : bool
        Whether the variables with ``upper > 0`` and the others have sums of their own.
    scale : float
        Factor of the tolerance.
    """

    rows: np.ndarray
    q: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    start: np.ndarray | None = None
    w: float = 0.0
    grouped: bool = False
    scale: float = 1.0

    def up(self, b: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Where b may grow, what the multiplier of the sum is at least; -inf elsewhere."""
        return np.where(b < self.upper, -(g + np.where(b >= 0, self.w, -self.w)), -np.inf)

    def down(self, b: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Where b may fall, what the multiplier of the sum is at most; inf elsewhere."""
        return np.where(b > self.lower, -(g + np.where(b > 0, self.w, -self.w)), np.inf)

    def groups(self) -> list[np.ndarray]:
        """Masks of the variables that have a sum in common."""
        first = self.upper > 0
        return [first, ~first] if self.grouped else [np.ones(len(first), bool)]

    def multipliers(self, b: np.ndarray, g: np.ndarray) -> list[float]:
        """The multiplier of each sum: the mean over free variables, or the middle of its range.

        What is left of a multiplier by the rounding of a sum is no sign that it is free.
        """
        near = 1e-10 * np.minimum(self.upper - self.lower, np.abs(b).max(initial=0.0))
        b = np.where(np.abs(b) <= near, 0.0, b)
        b = np.where(self.upper - b <= near, self.upper, b)
        b = np.where(b - self.lower <= near, self.lower, b)
        up, down, found = self.up(b, g), self.down(b, g), []
        for own in self.groups():
            free = own & (b > self.lower) & (b < self.upper) & (b != 0)
            if free.any():
                found.append(float(up[free].mean()))
                continue
            low, high = up[own].max(initial=-np.inf), down[own].min(initial=np.inf)
            ends = [end for end in (low, high) if np.isfinite(end)]
            found.append(float(np.mean(ends)) if ends else 0.0)
        return found

    def gap(self, b: np.ndarray, g: np.ndarray) -> float:
        """Primal minus dual objective, from the gradient: at most this much can be gained."""
        total = 0.0
        for own, rho in zip(self.groups(), self.multipliers(b, g), strict=True):
            slope = (g + rho)[own]
            at, low, high = b[own], self.lower[own], self.upper[own]
            value = slope * at + self.w * np.abs(at)
            least = np.minimum(slope * low - self.w * low, slope * high + self.w * high)
            total += float((value - np.minimum(least, 0.0)).sum())
        return max(total, 0.0)

    def gap_without_bounds(self, b: np.ndarray, g: np.ndarray) -> float:
        """The same where no error is allowed: the primal objective of a function without any.

        With q = -y a decision of at least 1 - v in the class of its row, v < 1, is made one of 1 by
        a factor. inf where no such function is known.
        """
        slope = g + self.multipliers(b, g)[0]
        miss = np.abs(slope) - self.w if self.w > 0 or self.lower.max() < 0 else self.q * slope
        most = max(float(miss.max(initial=0.0)), 0.0)
        if most >= 1 or (most > 0 and self.lower.max() < 0):
            return np.inf
        square = max(float(b @ (g - self.q)), 0.0)  # b'K b
        return max(square / 2 / (1 - most) ** 2 + self.objective(b, g), 0.0)

    def objective(self, b: np.ndarray, g: np.ndarray) -> float:
        """The dual objective, to be minimised."""
        return float(0.5 * b @ (g + self.q) + self.w * np.abs(b).sum())


def filled(upper: np.ndarray, total: float) -> np.ndarray:
    """Multipliers up to `upper`, the first ones first, that add up to `total`."""
    before = np.cumsum(upper) - upper
    return np.clip(total - before, 0.0, upper)


def classes(rows: np.ndarray, signs: np.ndarray, bounds: np.ndarray) -> Problem:
    """C-SVC: `signs` 1 and -1 of the rows, and C times their weights."""
    lower = np.where(signs > 0, 0.0, -bounds)
    return Problem(rows, -signs, lower, np.where(signs > 0, bounds, 0.0))


def nu_classes(
    rows: np.ndarray, signs: np.ndarray, weights: np.ndarray, nu: float, scale: float
) -> Problem:
    """nu-SVC: each class has the sum nu / 2 times all weights; divided by a margin afterwards."""
    half = nu * weights.sum() / 2
    start = np.zeros(len(rows))
    for sign in (1, -1):
        own = signs == sign
        start[own] = sign * filled(weights[own], half)
    lower = np.where(signs > 0, 0.0, -weights)
    upper = np.where(signs > 0, weights, 0.0)
    scale = min(1.0, 2 * half * scale)
    return Problem(rows, np.zeros(len(rows)), lower, upper, start, grouped=True, scale=scale)


def values(rows: np.ndarray, y: np.ndarray, bounds: np.ndarray, epsilon: float) -> Problem:
    """epsilon-SVR."""
    half = float(y.max() - y.min()) / 2
    scale = min(1.0, half) if half > 0 else 1.0
    return Problem(rows, -y, -bounds, bounds, w=epsilon, scale=scale)


def nu_values(rows: np.ndarray, y: np.ndarray, bounds: np.ndarray, nu: float) -> Problem:
    """nu-SVR: variables that lift each row, then those that lower it."""
    start = filled(bounds, nu * bounds.sum() / 2)
    none = np.zeros(len(y))
    half = float(y.max() - y.min()) / 2
    return Problem(
        np.concatenate([rows, rows]),
        np.concatenate([-y, -y]),
        np.concatenate([none, -bounds]),
        np.concatenate([bounds, none]),
        np.concatenate([start, -start]),
        grouped=True,
        scale=min(1.0, half) if half > 0 else 1.0,
    )


def one_class(rows: np.ndarray, weights: np.ndarray, nu: float, scale: float) -> Problem:
    """The support of a distribution: multipliers up to the weights add up to nu times them."""
    total = nu * weights.sum()
    none = np.zeros(len(rows))
    return Problem(
        rows, none, none, weights, filled(weights, total), scale=min(1.0, total * scale)
    )
