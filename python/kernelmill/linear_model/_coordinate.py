"""Solvers of the lasso's family: coordinate descent on products of features, with working sets.

Minimised is ``1/2 sum w |y - X b|^2 + l1 |b| + l2 / 2 |b|^2`` of centred rows. Where all products
of features fit, one pass makes them, and no other is needed. Else a working set of features has its
products made, and one pass over the rows says which features it lacks, and how far the objective is
above its least (the duality gap).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._moments import Moments, moments_of, pilot
from kernelmill._estimator._rows import Rows
from kernelmill.linear_model._solve import EPS, constant_columns
from kernelmill.ops import coordinate, glm, matmul
from kernelmill.ops.coordinate_descent import FARTHEST, duality_gap, objective_gain

MOST_PRODUCTS = 768  # features whose products are made at once where a working set is possible
FOR_PATHS = 3  # times as many pay for a path, most of whose features are needed in the end
# Where there are more rows than features, most features are needed at the end of a path, and to
# make their products at once takes half of the time: one product of matrices, and no passes.
FOR_DEEP_PATHS, MANY = 4096, 20  # features, and penalties
_WORK = 2e8  # flops of one call of the op: at most 100 ms
_FIRST, _LEAST = 256, 64  # sizes of a working set, at first and at least
_MOST_MEMBERS = 6144  # features whose products are kept: 300 MB
_BLOCK_ROWS = 256  # whose columns are gathered at a time
# Share of the gap to which a working set is solved, and where so many sweeps over it cost no more
# than a pass over the rows, which then finds nothing but what the set lacks.
_INNER, _CLOSE, _SWEEPS = 0.3, 0.01, 20
_DENSE = 0.1  # share of entries from which products of sparse columns are made of dense ones


@dataclass(frozen=True)
class Penalty:
    """Penalties of the problem as the op takes them."""

    l1: float
    l2: float
    positive: bool = False


@dataclass(frozen=True)
class Position:
    """Where a descent stands; never changed in place."""

    coef: np.ndarray  # (d, m)
    gradient: np.ndarray  # (d, m), X' (Y - X B)
    gap: float = np.inf
    sweeps: int = 0
    residual: float | None = None  # sum of squared residuals, where it is known
    # Coefficients and gradient of the residuals that give the best bound so far.
    dual: tuple[np.ndarray, np.ndarray] | None = None


def step_of(penalties: list[Penalty]) -> float:
    """The last step of a path as a share of the one before, or 0 where that tells nothing."""
    before, last, to = (p.l1 + p.l2 for p in penalties)
    t = (to - last) / (last - before) if last != before else 0.0
    return t if 0 < t <= FARTHEST else 0.0


class Products:
    """A problem in the products of its features."""

    def __init__(self, G: np.ndarray, Q: np.ndarray, square: float, order: Any = None) -> None:
        self.G, self.Q, self.square = G, np.ascontiguousarray(Q), square
        self.order = np.arange(len(G)) if order is None else order

    def start(self, coef: np.ndarray | None = None) -> Position:
        """Zeros, or given coefficients (d, m)."""
        if coef is None or not coef.any():
            return Position(np.zeros_like(self.Q), self.Q.copy())
        return Position(coef.copy(), self.Q - self.G @ coef)

    def advance(self, at: Position, penalty: Penalty, tol: float, most: int) -> Position:
        """At most so many sweeps, or a slice of them."""
        coef, gradient = at.coef.copy(), at.gradient.copy()
        d, m = coef.shape
        sweeps = max(1, min(most, int(_WORK / max(1, 4 * d * d * m))))
        taken, gap = coordinate.descent(
            self.G, self.Q, self.order, coef, gradient, np.full(d, penalty.l1),
            np.full(d, penalty.l2), self.square, tol * self.square, sweeps, penalty.positive,
        )  # fmt: skip
        return Position(coef, gradient, gap, at.sweeps + taken)

    def path(
        self, start: np.ndarray | None, penalties: list[Penalty], tol: float, max_iter: int
    ) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Coefficients (n_penalties, d, m), gaps and sweeps, from each penalty to the next."""
        at = self.start(start)
        coefs, gaps, taken = coordinate.path(
            self.G, self.Q, self.order, at.coef, at.gradient, np.array([p.l1 for p in penalties]),
            np.array([p.l2 for p in penalties]), self.square, tol * self.square, max_iter,
            penalties[0].positive,
        )  # fmt: skip
        return coefs, gaps, taken.tolist()


class WorkingSets:
    """A problem over rows in memory, in the products of a few features at a time."""

    def __init__(self, rows: Rows, Y: np.ndarray, centred: bool, order: Any = None) -> None:
        rows.check()
        self.rows, self.Y, self.centred = rows, Y, centred
        d, m = rows.n_features, Y.shape[1]
        w = rows.weight
        self.w = np.ones(rows.count) if w is None else w.astype(np.float64)
        self.weight = float(self.w.sum())
        self.x_mean, self.y_mean = np.zeros(d), np.zeros(m)
        self.shift = pilot(rows.X, rows.weight) if centred else np.zeros(d)
        if centred:
            self.y_mean = self.w @ Y / self.weight
            _, slope = self._pass(np.zeros(d), np.ones(rows.count))  # sum w (0 - 1) (x - shift)
            self.x_mean = self.shift - slope[0, :d] / self.weight
        self.centred_Y = Y - self.y_mean
        self.square = float((self.w @ (self.centred_Y**2)).sum())
        self.place = np.arange(d) if order is None else np.argsort(order)
        self._members = np.zeros(0, dtype=np.int64)  # features whose products are there
        self._where = np.full(d, -1)
        self._columns = np.zeros((rows.count, 0))  # centred and weighted
        # Sparse columns stay so where none has been shifted to keep its digits.
        sparse = is_sparse(rows.X) and not self.shift.any()
        sparse = sparse and rows.X.nnz <= _DENSE * rows.count * d
        self._sparse = scipy.sparse.csc_array(rows.X, dtype=np.float64) if sparse else None
        self._products = np.zeros((0, 0))  # with room for more, as the columns

    def _pass(self, b: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """Half the squared residuals of ``(x - mean) b``, and minus X'(residuals)."""
        offset = np.array([(self.shift - self.x_mean) @ b])
        return self.rows.map_reduce(
            glm.gradient, b[None], offset, self.shift, 0, 0.0, along=(y,)
        )

    def gradient(self, coef: np.ndarray) -> tuple[np.ndarray, float]:
        """``X'(Y - X B)`` of centred rows and the squared residuals, by one pass a target."""
        d, m = coef.shape
        found, total = np.empty((d, m)), 0.0
        for t in range(m):
            value, slope = self._pass(coef[:, t], np.ascontiguousarray(self.centred_Y[:, t]))
            found[:, t] = -(slope[0, :d] + slope[0, d] * (self.shift - self.x_mean))
            total += 2 * value
        return found, total

    def start(self, coef: np.ndarray | None = None) -> Position:
        """Zeros, or given coefficients (d, m)."""
        if coef is None:
            coef = np.zeros((self.rows.n_features, self.Y.shape[1]))
        gradient, residual = self.gradient(coef)
        return Position(coef, gradient, residual=residual)

    def _chosen(self, at: Position, penalty: Penalty) -> np.ndarray:
        """The coefficients that are not 0, and the features that call most for one."""
        side = np.maximum(at.gradient, 0) if penalty.positive else at.gradient
        score = np.sqrt((side * side).sum(1))
        active = at.coef.any(1)
        many = int(active.sum())
        calling = int((score > penalty.l1).sum())
        size = min(max(_FIRST, 2 * many), max(many + calling, _LEAST))
        score[active] = np.inf
        d = len(score)
        chosen = np.arange(d) if size >= d else np.argpartition(-score, size - 1)[:size]
        lacking = int((self._where[chosen] < 0).sum())
        if lacking and len(self._members):  # in one go with those that may be called next
            spare = min(d, size + max(_LEAST, len(self._members) // 4))
            chosen = np.arange(d) if spare >= d else np.argpartition(-score, spare - 1)[:spare]
        return chosen

    def _grow(self, chosen: np.ndarray) -> None:
        """Make the products of features that are not there yet."""
        if len(self._members) + len(chosen) > _MOST_MEMBERS:  # begin again with these alone
            self._members = np.zeros(0, dtype=np.int64)
            self._where[:] = -1
        new = np.sort(chosen[self._where[chosen] < 0])  # gathered in half of the time
        if not len(new):
            return
        old, total = len(self._members), len(self._members) + len(new)
        if total > self._columns.shape[1]:
            room = min(self.rows.n_features, max(total, 2 * old, MOST_PRODUCTS))
            products = np.empty((room, room))
            products[:old, :old] = self._products[:old, :old]
            self._products = products
        members = np.concatenate([self._members, new])
        self._products[old:total, :total] = self._made(new, members, old)
        self._products[:old, old:total] = self._products[old:total, :old].T
        self._members = members
        self._where[new] = np.arange(old, total)

    def _made(self, new: np.ndarray, members: np.ndarray, old: int) -> np.ndarray:
        """Products of new features with all members, the new ones among them at the end."""
        if self._sparse is not None:
            weighted = self._sparse[:, new]
            weighted.data = weighted.data * self.w[weighted.indices]
            mean = self.x_mean
            product = (weighted.T @ self._sparse[:, members]).toarray()
            return product - np.multiply.outer(self.weight * mean[new], mean[members])
        if len(members) > self._columns.shape[1]:
            columns = np.empty((self.rows.count, self._products.shape[1]))
            columns[:, :old] = self._columns[:, :old]
            self._columns = columns
        part = self._columns[:, old : len(members)]
        self._gather(new, part)
        # Threads of BLAS would spin on after the product, beside those of the next pass.
        return matmul.matmul(part.T, self._columns[:, : len(members)])

    def _gather(self, new: np.ndarray, to: np.ndarray) -> None:
        """Some columns, centred and weighted."""
        sparse = is_sparse(self.rows.X)
        X = self.rows.X[:, new].toarray() if sparse else self.rows.X
        for i in range(0, X.shape[0], _BLOCK_ROWS):
            some, own = X[i : i + _BLOCK_ROWS], to[i : i + _BLOCK_ROWS]
            if not sparse:  # half of the time of an index array
                some = np.take(some, new, axis=1, mode="clip")
            np.subtract(some, self.x_mean[new], out=own)
            if self.rows.weight is not None:
                own *= np.sqrt(self.w[i : i + _BLOCK_ROWS, None])

    def _problem(
        self, chosen: np.ndarray, at: Position
    ) -> tuple[np.ndarray, Products, Position]:
        """The features that may move, which hold all that is not 0, and the problem in them."""
        self._grow(chosen)
        count = len(self._members)
        if count <= 2 * len(chosen):  # all whose products are there: nothing is copied
            chosen, G = self._members, self._products[:count, :count]
        else:
            where = self._where[chosen]
            G = self._products[np.ix_(where, where)]
        coef, gradient = at.coef[chosen], at.gradient[chosen]
        order = np.argsort(self.place[chosen], kind="stable")
        products = Products(G, gradient + matmul.matmul(G, coef), self.square, order)
        return chosen, products, Position(coef, gradient)

    def advance(self, at: Position, penalty: Penalty, tol: float, most: int) -> Position:
        """One working set, solved, and one pass over the rows."""
        gap = at.gap
        if not np.isfinite(gap):
            at = self._bounded(at, penalty)
            gap = at.gap
            if gap <= tol * self.square:
                return at
        chosen, products, inner = self._problem(self._chosen(at, penalty), at)
        near = _SWEEPS * len(chosen) ** 2 <= self.rows.count * self.rows.n_features
        share = max(tol, (_CLOSE if near else _INNER) * min(1.0, gap / self.square))
        limit = share * (_INNER if len(chosen) else 1)
        while inner.sweeps < most:
            inner = products.advance(inner, penalty, limit, most - inner.sweeps)
            if inner.gap <= limit * self.square:
                break
        coef = np.zeros_like(at.coef)
        coef[chosen] = inner.coef
        gradient, residual = self.gradient(coef)
        sweeps = at.sweeps + max(1, inner.sweeps)
        after = Position(coef, gradient, sweeps=sweeps, residual=residual, dual=at.dual)
        return self._bounded(after, penalty)

    def _bounded(self, at: Position, penalty: Penalty) -> Position:
        """With the gap, by the residual here or by the best one before."""
        free = penalty.l1 == 0 and penalty.l2 == 0
        squares = self._squares() if free else np.ones(len(at.coef))
        residual = self.square if at.residual is None else at.residual
        here = at.coef, at.gradient
        of = *np.ones((2, len(at.coef))) * [[penalty.l1], [penalty.l2]], squares, penalty.positive
        gap, _ = duality_gap(*here, *here, residual, *of)
        if at.dual is not None and not free:
            other, _ = duality_gap(*here, *at.dual, residual, *of)
            if other < gap:
                return replace(at, gap=other)
        return replace(at, gap=gap, dual=here)

    def path(
        self, start: np.ndarray | None, penalties: list[Penalty], tol: float, max_iter: int
    ) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Coefficients (n_penalties, d, m), gaps and sweeps, from each penalty to the next."""
        found: list[Position] = []
        at = self.start(start)
        for k, penalty in enumerate(penalties):
            if k >= 2 and (t := step_of(penalties[k - 2 : k + 1])):
                at = self._predicted(found[k - 2], at, t, penalty)
            at = replace(at, gap=np.inf, sweeps=0)
            while at.sweeps < max_iter:
                before = at.sweeps
                at = self.advance(at, penalty, tol, max_iter - at.sweeps)
                if at.gap <= tol * self.square or at.sweeps == before:
                    break
            found.append(at)
        coefs, gaps = np.array([p.coef for p in found]), np.array([p.gap for p in found])
        return coefs, gaps, [p.sweeps for p in found]

    def _predicted(self, before: Position, at: Position, t: float, penalty: Penalty) -> Position:
        """Along the line through the last two solutions, if the objective is less there."""
        step, change = at.coef - before.coef, at.gradient - before.gradient
        coef, gradient = at.coef + t * step, at.gradient + t * change
        l1, l2 = np.ones((2, len(coef))) * [[penalty.l1], [penalty.l2]]
        same = coef * at.coef > 0 if coef.shape[1] == 1 else at.coef.any(1, keepdims=True)
        if np.where(same, 0.0, coef).any():  # zeros, which would need a pass over the rows
            return at
        if not objective_gain(at.coef, at.gradient, coef, gradient, l1, l2) > 0:
            return at
        # |R - t X step|^2, where X'X step is minus the change of the gradient.
        move = 2 * t * (at.gradient * step).sum() + t * t * (change * step).sum()
        residual = max(0.0, (at.residual or 0.0) - float(move))
        return replace(at, coef=coef, gradient=gradient, residual=residual)

    def _squares(self) -> np.ndarray:
        """Sums of the squares of centred columns, which matter without a penalty only."""
        X = self.rows.X
        if is_sparse(X):
            squares = np.asarray(X.multiply(X).T @ self.w).ravel()
            return np.maximum(squares - self.weight * self.x_mean**2, 0)
        return np.einsum("i,ij,ij->j", self.w, X - self.x_mean, X - self.x_mean)


def problem(
    rows: Rows, Y: np.ndarray, centred: bool, order: Any = None, most: int | None = None
) -> tuple[Products | WorkingSets, np.ndarray, np.ndarray, float]:
    """The problem, the means of features and targets, and the weight of the rows.

    All products of up to `most` features are made, by default `MOST_PRODUCTS`.
    """
    d = rows.n_features
    if rows.is_stream or d <= (MOST_PRODUCTS if most is None else most):
        moments = moments_of(rows, Y, centred=centred)
        return of_moments(moments, order), moments.x_mean, moments.y_mean, moments.weight
    sets = WorkingSets(rows, Y, centred, order)
    return sets, sets.x_mean, sets.y_mean, sets.weight


def of_moments(moments: Moments, order: Any = None) -> Products:
    """The problem in the products of all features; columns that only round are zeros."""
    G, Q = moments.xx, moments.xy
    still = constant_columns(moments)
    if still.any():
        G, Q = G.copy(), Q.copy()
        G[still] = G[:, still] = Q[still] = 0.0
    squares = np.diag(moments.yy)
    size = (np.abs(moments.origin[moments.d :]) + np.abs(moments.y_mean)) * EPS
    constant = squares <= 4 * moments.weight * size * size
    if constant.any():
        Q = np.where(constant, 0.0, Q)
        squares = np.where(constant, 0.0, squares)
    return Products(G, Q, float(squares.sum()), order)


def largest_alpha(gradient: np.ndarray, weight: float, l1_ratio: float, positive: bool) -> float:
    """The least penalty with which all coefficients are zero."""
    side = np.maximum(gradient, 0) if positive else gradient
    return float(np.sqrt((side * side).sum(1)).max(initial=0.0)) / (weight * l1_ratio)


def alphas_of(
    made: Products | WorkingSets, weight: float, alphas: Any, l1_ratio: float, positive: bool,
    eps: float, owner: str,
) -> np.ndarray:  # fmt: skip
    """Penalties of a path, largest first: given, or so many evenly spaced in the logarithm."""
    if rule.is_integer(alphas):
        if not l1_ratio > 0:
            raise ValueError(
                f"{owner}: alphas must be given for l1_ratio=0, got a number of them (automatic "
                "alpha grid generation is not supported for l1_ratio=0)"
            )
        largest = largest_alpha(made.start().gradient, weight, l1_ratio, positive)
        if not largest > 0:
            return np.full(alphas, np.finfo(np.float64).resolution)
        return np.geomspace(largest, largest * eps, num=alphas)
    given = np.sort(np.asarray(alphas, dtype=np.float64).ravel())[::-1]
    if not len(given) or not (given >= 0).all():
        raise ValueError(f"{owner}: alphas must be numbers of at least 0, got {alphas!r}")
    return given
