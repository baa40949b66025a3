"""What the specifications of `coordinate.descent` and `coordinate.path` do to one problem."""

from __future__ import annotations

import numpy as np

ACTIVE_SWEEPS = 9  # most sweeps over coefficients that are not 0 between two over all
STEPS = 5  # differences of positions that are combined
RIDGE = 1e-12  # of their products, as a share of the trace
MOST_WEIGHT = 1e6  # sum of the sizes of the weights, by which rounding grows
# What a combination must gain, in gains of the sweeps that it is made of. Along directions in which
# the objective is flat it multiplies rounding by up to 1e6, for little.
WORTH = 10.0
RESOLUTION = 1e-24  # of squares; shorter differences are rounding
FARTHEST = 2.0  # steps of a path that go farther than so many times the step before say little


def row_norms(A: np.ndarray, positive: bool) -> np.ndarray:
    """Norms of rows (d,), of their positive parts where only these count."""
    A = np.maximum(A, 0.0) if positive else A
    return np.sqrt((A * A).sum(1))


def duality_gap(
    coef: np.ndarray, gradient: np.ndarray, dual: np.ndarray, slope: np.ndarray, residual: float,
    l1: np.ndarray, l2: np.ndarray, squares: np.ndarray, positive: bool,
) -> tuple[float, float]:  # fmt: skip
    """The gap of coefficients and the residual of others, and what that is scaled by.

    `slope` is the gradient at `dual`, `squares` the diagonal of G.
    """
    norms = row_norms(slope, positive)
    over = (l2 == 0) & (l1 > 0) & (norms > l1)
    c = float((l1[over] / norms[over]).min(initial=1.0))
    delta = dual - coef
    along, apart = float((gradient * delta).sum()), float((delta * (gradient - slope)).sum())
    gap = 0.5 * max(0.0, (1 - c) ** 2 * residual + 2 * c * (1 - c) * along + c * c * apart)
    sizes = np.sqrt((coef * coef).sum(1))
    beyond = np.where(c * norms - l1 < 0, 0.0, c * norms - l1)
    terms = l1 * sizes + l2 / 2 * sizes * sizes - c * (slope * coef).sum(1)
    squared = l2 > 0
    terms[squared] += beyond[squared] ** 2 / (2 * l2[squared])
    free = (l1 == 0) & (l2 == 0)
    twice = np.where(squares > 0, 2 * squares, np.inf)[free]
    terms[free] = norms[free] ** 2 / twice
    return gap + float(terms.sum()), c


def objective_gain(
    coef: np.ndarray, gradient: np.ndarray, after: np.ndarray, slope: np.ndarray, l1: np.ndarray,
    l2: np.ndarray,
) -> float:  # fmt: skip
    """By how much the objective falls from coefficients to others, where the gradient is `slope`.

    Each feature's part by differences, which are exact to rounding where positions are near.
    """
    sizes, others = (np.sqrt((b * b).sum(1)) for b in (coef, after))
    gain = ((gradient + slope) * (after - coef)).sum(1) / 2
    return float((gain - (others - sizes) * (l1 + l2 / 2 * (others + sizes))).sum())


def combined(steps: np.ndarray, changes: np.ndarray, l2: np.ndarray) -> np.ndarray | None:
    """Weights of sum 1 with the least combined residual, of steps of B and A (STEPS, d, m)."""
    mixed = np.einsum("kjt,ljt->kl", steps, changes)
    K = np.einsum("kjt,ljt,j->kl", steps, steps, l2) - (mixed + mixed.T) / 2
    K += RIDGE * np.trace(K) * np.eye(STEPS)
    try:
        L = np.linalg.cholesky(K)
    except np.linalg.LinAlgError:
        return None
    weights = np.linalg.solve(L.T, np.linalg.solve(L, np.ones(STEPS)))
    total = weights.sum()
    return weights / total if np.abs(weights).sum() <= MOST_WEIGHT * abs(total) else None


class Descent:
    """One problem, and where its descent stands; arrays are changed in place."""

    def __init__(
        self, G: np.ndarray, Q: np.ndarray, order: np.ndarray, coef: np.ndarray,
        gradient: np.ndarray, l1: np.ndarray, l2: np.ndarray, square: float, positive: bool,
    ) -> None:  # fmt: skip
        self.G, self.Q, self.coef, self.gradient = G, Q, coef, gradient
        self.l1, self.l2, self.square, self.positive = l1, l2, square, positive
        self.live = list(order)
        self.whole = set(order) == set(range(len(G)))
        self.penalised = bool(((l1 != 0) | (l2 != 0)).all())
        self.dual: tuple[np.ndarray, np.ndarray] | None = None
        self.passed: list[tuple[np.ndarray, np.ndarray]] = []

    def run(self, tol: float, sweeps: int) -> tuple[int, float]:
        """Sweep until the gap is at most tol, and the last sweep has changed little."""
        taken, settled = 0, True
        sweeps = sweeps if self.live else 0
        relative = tol / self.square if self.square > 0 else 0.0
        share = max(relative, min(max(4 * relative, 1e-10), 1e-4))
        while True:
            gap = self._best_gap()
            if (gap <= tol and settled) or taken >= sweeps:
                return taken, gap
            self._screen(gap)
            first = self._sweep(False)
            taken += 1
            settled = first <= share**2 * self._longest()
            if not first > 0:
                continue
            self._remember()
            if settled and self._best_gap() <= tol:
                continue
            for _ in range(ACTIVE_SWEEPS):
                moved = self._sweep(True)
                if moved <= 0.01 * first:
                    settled = max(moved, self._called()) <= share**2 * self._longest()
                    break
                self._remember()

    def _longest(self) -> float:
        """Largest ``G_jj |B_j|^2``."""
        return float((np.diag(self.G) * (self.coef**2).sum(1)).max(initial=0.0))

    def _called(self) -> float:
        """Largest ``G_jj |change|^2`` of coordinates that are 0, if each were alone to move."""
        largest = 0.0
        norms = row_norms(self.gradient, self.positive)
        for j in self.live:
            curvature = self.G[j, j] + self.l2[j]
            if not self.coef[j].any() and norms[j] > self.l1[j] and curvature > 0:
                change = (norms[j] - self.l1[j]) / curvature
                largest = max(largest, float(self.G[j, j] * change * change))
        return largest

    def predict(self, coef: np.ndarray, gradient: np.ndarray, t: float) -> None:
        """Go on from the last position, t times as far as from that to this, where it helps."""
        self._adopt(
            self.coef + t * (self.coef - coef), self.gradient + t * (self.gradient - gradient)
        )

    def _sweep(self, active: bool) -> float:
        """Largest ``G_jj |change|^2``."""
        largest = 0.0
        for j in self.live:
            before = self.coef[j].copy()
            if active and not before.any():
                continue
            square, l1 = self.G[j, j], self.l1[j]
            curvature = square + self.l2[j]
            rho = self.gradient[j] + square * before
            if self.positive:
                rho = np.maximum(rho, 0.0)
            norm = float(np.sqrt((rho * rho).sum()))
            after = np.zeros_like(rho)
            if curvature > 0 and not norm <= l1:
                after = rho * ((1 - l1 / norm) / curvature)
            change = after - before
            if change.any():
                self.coef[j] = after
                self.gradient -= self.G[j][:, None] * change
                largest = max(largest, float(square * (change * change).sum()))
        return largest

    def _gap(self, dual: np.ndarray, slope: np.ndarray) -> tuple[float, float]:
        residual = max(0.0, self.square - float(((self.Q + self.gradient) * self.coef).sum()))
        return duality_gap(
            self.coef, self.gradient, dual, slope, residual, self.l1, self.l2, np.diag(self.G),
            self.positive,
        )  # fmt: skip

    def _best_gap(self) -> float:
        """The least, with the residual here and with the best of those that were combined."""
        here = self._gap(self.coef, self.gradient)[0]
        if self.dual is None:
            return here
        other = self._gap(*self.dual)[0]
        if other < here:
            return other
        self.dual = self.coef.copy(), self.gradient.copy()
        return here

    def _screen(self, gap: float) -> None:
        """Leave out coordinates that are 0 here and, by the sphere, at the optimum."""
        if not self.penalised or not self.whole:
            return
        slope = self.gradient if self.dual is None else self.dual[1]
        c = self._gap(slope, slope)[1]
        eps = float(np.finfo(np.float64).eps)
        radius = np.sqrt(2 * (gap + (len(self.G) + 8) * eps * self.square))
        reach = c * row_norms(slope, self.positive) + np.sqrt(np.diag(self.G)) * radius
        self.live = [j for j in self.live if self.coef[j].any() or not reach[j] < self.l1[j]]

    def _adopt(self, coef: np.ndarray, gradient: np.ndarray, least: float = 0.0) -> bool:
        """Move there if the objective falls by more than `least`.

        What is 0 here stays so, and what would change its sign, or must not be negative, becomes 0.
        """
        same = coef * self.coef > 0 if coef.shape[1] == 1 else self.coef.any(1, keepdims=True)
        if self.positive:
            same = same & (coef >= 0)
        gradient += self.G @ np.where(same, 0.0, coef)
        coef[...] = np.where(same, coef, 0.0)
        at = self.coef, self.gradient
        if not objective_gain(*at, coef, gradient, self.l1, self.l2) > least:
            return False
        self.coef[...], self.gradient[...] = coef, gradient
        return True

    def _remember(self) -> None:
        self.passed.append((self.coef.copy(), self.gradient.copy()))
        if len(self.passed) > STEPS:
            self._extrapolate()
            self.passed = [(self.coef.copy(), self.gradient.copy())]

    def _extrapolate(self) -> None:
        """Combine the last positions: to a new one, or else to a point of the dual."""
        coefs, gradients = (np.array(part) for part in zip(*self.passed, strict=True))
        steps, changes = np.diff(coefs, axis=0), np.diff(gradients, axis=0)
        lengths = (self.l2[:, None] * steps**2 - steps * changes).sum()
        explained = abs(((self.Q + self.gradient) * self.coef).sum())
        weights = combined(steps, changes, self.l2) if lengths > RESOLUTION * explained else None
        if weights is None:
            return
        coef = coefs[-1] + np.tensordot(weights[:-1], coefs[1:-1] - coefs[-1], 1)
        gradient = self.Q - self.G @ coef  # of those combined, errors would be as large as weights
        at = self.coef, self.gradient
        swept = objective_gain(*self.passed[0], *at, self.l1, self.l2)
        if self._adopt(coef, gradient, WORTH * swept) or not self.penalised:
            return
        if self.dual is None or self._gap(coef, gradient)[0] < self._gap(*self.dual)[0]:
            self.dual = coef, gradient
