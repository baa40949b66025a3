"""Support vector machines: block SMO on signed multipliers.

A problem is to minimise ``1/2 b'K b + q'b + w |b|_1`` where ``lower <= b <= upper``, with
``lower <= 0 <= upper``, and the sum of b is fixed; where ``grouped`` the sums over the variables
with ``upper > 0`` and over the others are. The gradient ``g = K b + q`` is state, so q is not an
argument. The row and column of K of a variable are those of a row of X, which may be shared.

Multipliers, gradients and everything else but the rows of K are float64. NaN or infinity in K ends
a problem as stalled. Empty problems end at once. Shapes, dtypes and numbers that do not fit raise
ValueError. Deterministic: the same bits at any thread count. Cost of a round: 2 n d flops for each
kernel row that is not in the cache, 2 m flops for each multiplier that moved, and about 6 q for
each of the pairs that move inside a working set of q variables.

Pairs are chosen as by Fan, Chen and Lin (2005), "Working set selection using second order
information for training support vector machines".
"""

from __future__ import annotations

import math

import numpy as np

from ._op import op
from .kernels import _values

# Entries of the settings.
SETTINGS = (
    "kind",  # number of a kernel function in `kernels.KINDS`; -1 where X is K
    "gamma",
    "coef0",
    "degree",
    "tol",  # largest violation of a problem that has converged, times its scale
    "width",  # w
    "grouped",
    "most_steps",  # pairs moved, after which a problem counts as stalled
)
# Columns of the state of a problem.
STATE = (
    "status",  # RUNNING, CONVERGED or STALLED
    "rounds",
    "steps",  # pairs moved
    "violation",  # at the beginning of the last round
    "curvature",  # least (K_ii + K_jj - 2 K_ij) / (|K_ii| + |K_jj| + 2 |K_ij|) of a pair moved
    "gain",  # decrease of the objective so far
    "idle",  # rounds since the last that gained
    "scale",  # factor of tol, given by the caller
)
RUNNING, CONVERGED, STALLED = 0, 1, 2
_NEAR = 512  # most variables of a block
_IDLE = 20  # rounds without gain that end a problem


class _Problem:
    """Views of the variables of one problem."""

    def __init__(self, rows, lower, upper, beta, gradient, working, state, given) -> None:
        self.rows, self.lower, self.upper = rows, lower, upper
        self.beta, self.gradient, self.working, self.state = beta, gradient, working, state
        self.w, self.tol = given["width"], given["tol"] * state[STATE.index("scale")]
        self.most_steps, self.given_rows = given["most_steps"], given["kind"] < 0
        self.group = np.where(given["grouped"] and len(upper), ~(upper > 0), 0).astype(int)

    def __getitem__(self, name: str) -> float:
        return float(self.state[STATE.index(name)])

    def __setitem__(self, name: str, value: float) -> None:
        self.state[STATE.index(name)] = value

    def up(self, b, g, upper) -> np.ndarray:
        return np.where(b < upper, -(g + np.where(b >= 0, self.w, -self.w)), -np.inf)

    def down(self, b, g, lower) -> np.ndarray:
        return np.where(b > lower, -(g + np.where(b > 0, self.w, -self.w)), np.inf)

    def choose(self) -> np.ndarray:
        """The working set; empty where the problem has ended."""
        up = self.up(self.beta, self.gradient, self.upper)
        down = self.down(self.beta, self.gradient, self.lower)
        most = np.array([up[self.group == k].max(initial=-np.inf) for k in (0, 1)])
        least = np.array([down[self.group == k].min(initial=np.inf) for k in (0, 1)])
        self["violation"] = max(float((most - least).max()), 0.0)
        if not self["violation"] > self.tol:
            self["status"] = CONVERGED
            return np.zeros(0, np.int64)
        if self["steps"] >= self.most_steps or not np.isfinite(self.gradient).all():
            self["status"] = STALLED
            return np.zeros(0, np.int64)
        if len(self.rows) <= min(len(self.working), _NEAR):
            return np.arange(len(self.rows))
        before = int(self["rounds"])
        size = min(len(self.working), _NEAR * max(1, before // 4))
        share = 3 * size // 4 if self.given_rows else size // 2
        fresh = max(2, share) if before else size
        chosen: list[int] = []
        with np.errstate(invalid="ignore"):
            scores = up - least[self.group], most[self.group] - down
        for score, count in zip(scores, (fresh // 2, fresh - fresh // 2), strict=True):
            order = np.lexsort((np.arange(len(score)), -score))
            chosen += [t for t in order if score[t] > self.tol and t not in chosen][:count]
        chosen += [t for t in self.working if t >= 0 and t not in chosen]
        self.working[:] = -1
        self.working[: len(chosen[:size])] = chosen[:size]
        return np.sort(chosen[:size])

    def solve(self, chosen: np.ndarray, K: np.ndarray) -> None:
        """SMO on the working set, whose kernel matrix is K."""
        chosen = chosen[np.argsort(self.group[chosen], kind="stable")]
        b, g = self.beta[chosen], self.gradient[chosen]
        lower, upper, group = self.lower[chosen], self.upper[chosen], self.group[chosen]
        share = 1e-9 if len(self.rows) <= 64 else 0.5
        fine = share * self.tol
        if len(chosen) < len(self.rows):
            fine = max(fine, 0.2 * self["violation"])
        most = min(100 * len(chosen) + 1000, self.most_steps - self["steps"])
        steps, gain, w = 0, 0.0, self.w
        while steps < most:
            up, down = self.up(b, g, upper), self.down(b, g, lower)
            gaps = [
                up[group == k].max(initial=-np.inf) - down[group == k].min(initial=np.inf)
                for k in (0, 1)
            ]
            own = group == int(np.argmax(gaps))
            if not max(gaps) > fine:
                break
            i = int(np.argmax(np.where(own, up, -np.inf)))
            a = K[i, i] + np.diag(K) - 2 * K[i]
            size = abs(K[i, i]) + np.abs(np.diag(K)) + 2 * np.abs(K[i])
            difference = np.maximum(up[i] - down, 0.0)
            curvature = np.maximum(a, np.maximum(size * 1e-12, np.finfo(float).tiny))
            j = int(np.argmax(np.where(own, difference**2 / curvature, -1.0)))
            end_i = 0.0 if b[i] < 0 and w > 0 else upper[i]
            end_j = 0.0 if b[j] > 0 and w > 0 else lower[j]
            room_i, room_j = end_i - b[i], b[j] - end_j
            step = min(difference[j] / curvature[j], room_i, room_j)
            before = b[i], b[j]
            b[i] = end_i if step == room_i else min(b[i] + step, end_i)
            b[j] = end_j if step == room_j else max(b[j] - step, end_j)
            if (b[i], b[j]) == before:
                break
            steps, gain = steps + 1, gain + step * (difference[j] - step * a[j] / 2)
            if size[j] > 0:
                self["curvature"] = min(self["curvature"], a[j] / size[j])
            g += step * (K[i] - K[j])
        self["rounds"] += 1
        self["steps"] += steps
        self["gain"] += gain
        self["idle"] = 0 if gain > 1e-15 * self["gain"] else self["idle"] + 1
        if steps == 0 or self["idle"] >= _IDLE:
            self["status"] = STALLED
        self.change = chosen, b - self.beta[chosen]
        self.beta[chosen] = b


def _cached(
    numbers: np.ndarray, X: np.ndarray, given: dict[str, float], cache: np.ndarray,
    slots: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Rows of K, float64, after those that the cache lacks have been put there."""
    kind, gamma, coef0, degree = (given[name] for name in SETTINGS[:4])
    clock = int(slots[:, 1].max(initial=0)) + 1
    known = {int(row): place for place, row in enumerate(slots[:, 0]) if row >= 0}
    missing = [int(r) for r in dict.fromkeys(numbers.tolist()) if r not in known]
    for row in numbers:
        if int(row) in known:
            slots[known[int(row)], 1] = clock
    order = np.lexsort((np.arange(len(slots)), slots[:, 1]))
    for row, place in zip(missing, order, strict=False):
        slots[place] = row, clock
        cache[place] = _values(X[[row]], X, int(kind), gamma, coef0, degree).astype(cache.dtype)
    places = {int(row): place for place, row in enumerate(slots[:, 0])}
    return cache[[places[int(row)] for row in numbers]].astype(np.float64)


def _check_spans(op: str, name: str, spans: np.ndarray, end: int) -> None:
    if spans[0] != 0 or spans[-1] != end or (np.diff(spans) < 0).any():
        raise ValueError(f"svm.{op}: {name} must rise from 0 to {end}, got others")


def _check_numbers(op: str, name: str, numbers: np.ndarray, end: int) -> None:
    wrong = numbers[(numbers < 0) | (numbers >= end)]
    if len(wrong):
        raise ValueError(f"svm.{op}: {name} must be in [0, {end}), got {wrong[0]}")


def _check(X, rows, spans, cache, working, given) -> None:
    n, m = len(X), len(rows)
    square = given["kind"] < 0
    if (X.shape[1] != n) if square else (
        cache.shape[1] != n or len(cache) < min(working.shape[1], n)
    ):  # fmt: skip
        raise ValueError(
            "svm.solve: cache must have a column for each row of X and a place for each row of a "
            f"working set, or X be square if it is the kernel, got {cache.shape} for X of shape "
            f"{X.shape}"
        )
    _check_spans("solve", "spans", spans, m)
    _check_numbers("solve", "rows", rows, n)
    if (working >= np.diff(spans)[:, None]).any():
        raise ValueError("svm.solve: working must hold numbers of variables, got others")


@op(
    "X: T[n,d]|csr, rows: i32[m], spans: i64[p+1], lower: f64[m], upper: f64[m], settings: f64[8],"
    " most_rounds: int[0,2**62), beta: inout f64[m], gradient: inout f64[m], cache: inout T[s,c],"
    " slots: inout i64[s,2], working: inout i32[p,q>=2], state: inout f64[p,8] -> running: int"
)
def solve(
    X: np.ndarray, rows: np.ndarray, spans: np.ndarray, lower: np.ndarray, upper: np.ndarray,
    settings: np.ndarray, most_rounds: int, beta: np.ndarray, gradient: np.ndarray,
    cache: np.ndarray, slots: np.ndarray, working: np.ndarray, state: np.ndarray
) -> int:  # fmt: skip
    """Rounds of block SMO on some problems over the same rows.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows of data, or the kernel matrix itself, dense, (n, n) and symmetric.
    rows : ndarray of shape (m,), int32
        The row of X of each variable.
    spans : ndarray of shape (p + 1,), int64
        Problem k has the variables ``spans[k]`` to ``spans[k + 1]``.
    lower, upper : ndarray of shape (m,), float64
        Bounds, at most and at least 0.
    settings : ndarray of shape (8,), float64
        The values of SETTINGS.
    most_rounds : int
        Rounds of each problem.
    beta : ndarray of shape (m,), float64, C-contiguous, updated in place
        b, within the bounds.
    gradient : ndarray of shape (m,), float64, C-contiguous, updated in place
        ``K b + q``.
    cache : ndarray of shape (s, n), dtype of X, C-contiguous, updated in place
        Rows of K, at least as many as a working set has; unused, of any shape, where X is K.
    slots : ndarray of shape (s, 2), int64, C-contiguous, updated in place
        The row of K in each place of the cache, or -1, and the number of its last use.
    working : ndarray of shape (p, q), int32, C-contiguous, updated in place
        The last working set of each problem, of variables numbered within it, then -1. Its width is
        the size of working sets.
    state : ndarray of shape (p, 8), float64, C-contiguous, updated in place
        The columns STATE; zeros at first, but ``curvature`` infinity and ``scale`` 1 or so.

    Returns
    -------
    running : int
        Number of problems that have not ended.

    Raises
    ------
    ValueError
        If shapes, dtypes, rows, spans or the cache do not fit.

    Notes
    -----
    A round ends a problem as converged where its violation, the largest ``up_i - down_j`` (of one
    group), is at most ``tol scale``; ``up = -(g + w)`` of a multiplier that may grow and ``down =
    -(g - w)`` of one that may fall, with the signs of w turned below 0 and above 0. Else it chooses
    a working set: all variables if they are at most 512; else half of the set, or three quarters
    where X is K, two at least (all of it in the first round), are those of the largest violation,
    first up and then down, equals by their numbers, and then come variables of the last set in its
    order. A set has at most 512 variables, and after r rounds at most 512 times r / 4. Within the
    set equals go by their numbers, too; more than 512 variables are solved as a problem of their
    own. On a GPU a set has at most 512 variables. Pairs that creep are helped by Newton's steps; on
    a GPU they are left to the rounds that follow. SMO on this block ends at half of the tolerance
    (at 1e-9 of it with at most 64 variables), or at a fifth of the violation of the whole problem
    if that is more, or after 100 q + 1000 steps. Then all gradients follow. A problem ends as
    stalled where no multiplier moves, where 20 rounds gained less than 1e-15 of all before, at
    ``most_steps``, or where a gradient is not finite.
    """
    given = dict(zip(SETTINGS, settings.tolist(), strict=True))
    _check(X, rows, spans, cache, working, given)
    for k in range(len(state)):
        part = slice(int(spans[k]), int(spans[k + 1]))
        problem = _Problem(
            rows[part], lower[part], upper[part], beta[part], gradient[part], working[k],
            state[k], given,
        )  # fmt: skip
        for _ in range(most_rounds):
            if problem["status"]:
                break
            chosen = problem.choose()
            if not len(chosen):
                break
            numbers = problem.rows[chosen]
            if given["kind"] < 0:
                K = X[numbers].astype(np.float64)
            else:
                K = _cached(numbers, X, given, cache, slots)
            order = np.argsort(problem.group[chosen], kind="stable")
            problem.solve(chosen, K[order][:, numbers[order]])
            moved, change = problem.change
            places = {int(t): a for a, t in enumerate(chosen)}
            for t, by in zip(moved, change, strict=True):
                if by and math.isfinite(by):
                    problem.gradient += by * K[places[int(t)]][problem.rows]
    return int((state[:, STATE.index("status")] == RUNNING).sum())


@op(
    "K: T[n,c], rows: i32[m], spans: i64[p+1], used: i32[u], ends: i64[p+1], coef: f64[k,u]"
    " -> sums: f64[k,m]",
    cuda="it serves searches over problems that share a matrix, which run on the CPU",
)
def products(
    K: np.ndarray, rows: np.ndarray, spans: np.ndarray, used: np.ndarray, ends: np.ndarray,
    coef: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Products of parts of one matrix, as gradients and decisions of many problems ask for.

    Those of part l with vector k are ``sum_i coef_ki K[used_i, rows_t]`` for t from ``spans[l]`` to
    ``spans[l + 1]``, over i from ``ends[l]`` to ``ends[l + 1]``. Sums are float64. No part of the
    matrix is copied. Where K is symmetric its rows stand for columns.

    Parameters
    ----------
    K : ndarray of shape (n, c), float32 or float64
        The matrix.
    rows : ndarray of shape (m,), int32
        The column of K of each result; fast where neighbours follow one another.
    spans : ndarray of shape (p + 1,), int64
        Where the results of each part begin, and the end.
    used : ndarray of shape (u,), int32
        The row of K of each coefficient.
    ends : ndarray of shape (p + 1,), int64
        Where the coefficients of each part begin, and the end.
    coef : ndarray of shape (k, u), float64
        Vectors of coefficients.

    Returns
    -------
    sums : ndarray of shape (k, m), float64
        The products of each vector, part by part.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or numbers or spans are out of range.

    Notes
    -----
    NaN and infinity spread as in a product. A part without coefficients is 0. Deterministic: the
    same bits at any thread count. Cost: ``2 k m u / p`` flops for p equal parts.
    """
    _check_numbers("products", "rows", rows, K.shape[1])
    _check_numbers("products", "used", used, K.shape[0])
    _check_spans("products", "spans", spans, len(rows))
    _check_spans("products", "ends", ends, len(used))
    sums = np.zeros((len(coef), len(rows)))
    for part in range(len(spans) - 1):
        own, by = slice(spans[part], spans[part + 1]), slice(ends[part], ends[part + 1])
        sums[:, own] = coef[:, by] @ K[np.ix_(used[by], rows[own])].astype(np.float64)
    return sums
