"""Coordinate descent: of penalised least squares in Gram form, and of linear support vectors.

`descent`. Symbols: G = X'X (d, d) and Q = X'Y (d, m) are products of d features and m targets, B (d, m) the
coefficients, whose row j belongs to feature j, ``R = Y - X B`` the residual and
``A = X'R = Q - G B`` the gradient. Minimised is

    1/2 |Y - X B|^2 + sum_j (l1_j |B_j| + l2_j / 2 |B_j|^2)

with the Euclidean norm of a row: m = 1 is the elastic net, m > 1 the group lasso of several tasks.

`dual`. Symbols: X (n, d) rows with targets y and prices C of their errors; of each of several
problems a multiplier b_i for each row and ``w = X'b``. Minimised is the dual of
``1/2 |w|^2 + sum_i C_i l(y_i, w.x_i + c)``, for the losses

=======================================  ===========================================
0, hinge                                 ``max(0, 1 - y p)``
1, squared_hinge                         ``max(0, 1 - y p)^2``
2, epsilon_insensitive                   ``max(0, |p - y| - epsilon)``
3, squared_epsilon_insensitive           ``max(0, |p - y| - epsilon)^2``
=======================================  ===========================================

NaN and infinity reach the coefficients and the gap. No features, d = 0, or no coordinates to visit
change nothing; the gap of empty sums is 0. Deterministic: coordinates follow one another, and
problems of different blocks, which share no sum, run side by side with the same bits. Shapes and dtypes that do not fit raise ValueError. Cost 2 d m flops for a coordinate that
changes, m for one that does not; of `dual` 2 d for a row and problem whose multiplier stays, 4 d
where it changes, for CSR rows what they store in place of d.

Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent". The gap is that of Fenchel's dual, see Fercoq, Gramfort and Salmon (2015),
"Mind the duality gap: safer rules for the lasso". Hsieh, Chang, Lin, Keerthi and Sundararajan
(2008), "A dual coordinate descent method for large-scale linear SVM".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._op import op

_SERIAL = "coordinates follow one another, and run on the CPU only"
# Columns of the state of a problem of `dual`.
STATE = (
    "intercept",  # weight of the constant feature
    "offset",  # what is added to all predictions
    "positive",  # factor of the prices of rows whose target is above 0
    "violation",  # the largest of the last epoch; infinity at first
    "kept",  # losses of the rows that have settled
    "gap",  # of the last epoch, an estimate; once it has finished, primal minus dual objective
    "objective",  # the primal one, with the same reserve
    "finished",  # 1 where the problem is left alone
    "epochs",
)
SETTINGS = (
    "loss",  # number of one of the LOSSES
    "epsilon",
    "constant",  # value of the constant feature, 0 for none
    "tol",  # the gap that ends a problem, as a share of its objective
    "several",  # whether y holds numbers of problems rather than the targets of one
    "shrinking",  # whether rows that have settled are left out
)
LOSSES = ("hinge", "squared_hinge", "epsilon_insensitive", "squared_epsilon_insensitive")
ACTIVE_SWEEPS = 9  # most sweeps over coefficients that are not 0 between two over all


def _sweep(
    G: np.ndarray, order: np.ndarray, coef: np.ndarray, gradient: np.ndarray, l1: np.ndarray,
    l2: np.ndarray, positive: bool, active: bool,
) -> float:  # fmt: skip
    """Largest ``G_jj |change|^2``."""
    largest = 0.0
    for j in order:
        before = coef[j].copy()
        if active and not before.any():
            continue
        curvature = G[j, j] + l2[j]
        rho = gradient[j] + G[j, j] * before
        if positive:
            rho = np.maximum(rho, 0.0)
        norm = float(np.sqrt((rho * rho).sum()))
        after = np.zeros_like(rho)
        if curvature > 0 and not norm <= l1[j]:
            after = rho * ((1 - l1[j] / norm) / curvature)
        change = after - before
        if change.any():
            coef[j] = after
            gradient -= G[j][:, None] * change
            largest = max(largest, float(G[j, j] * (change * change).sum()))
    return largest


def _gap(
    G: np.ndarray, Q: np.ndarray, coef: np.ndarray, gradient: np.ndarray, l1: np.ndarray,
    l2: np.ndarray, square: float, positive: bool,
) -> float:  # fmt: skip
    side = np.maximum(gradient, 0.0) if positive else gradient
    norms = np.sqrt((side * side).sum(1))
    residual = max(0.0, square - float(((Q + gradient) * coef).sum()))
    scale = 1.0
    for j in range(len(G)):
        if l2[j] == 0 and l1[j] > 0 and norms[j] * scale > l1[j]:
            scale = l1[j] / norms[j]
    gap = 0.5 * (1 - scale) ** 2 * residual
    for j in range(len(G)):
        if l1[j] == 0 and l2[j] == 0:
            gap += norms[j] ** 2 / (2 * G[j, j]) if G[j, j] > 0 else 0.0
            continue
        b = float(np.sqrt((coef[j] * coef[j]).sum()))
        beyond = max(0.0, scale * norms[j] - l1[j])
        gap += l1[j] * b + l2[j] / 2 * b * b - scale * float((gradient[j] * coef[j]).sum())
        if l2[j] > 0:
            gap += beyond * beyond / (2 * l2[j])
    return gap


@op(
    "G: f64[d,d], Q: f64[d,m], order: i64[r], coef: inout f64[d,m], gradient: inout f64[d,m],"
    " l1: f64[d], l2: f64[d], square: float, tol: float, sweeps: int, positive: bool"
    " -> taken: int, gap: float",
    cuda=_SERIAL,
)
def descent(
    G: np.ndarray,
    Q: np.ndarray,
    order: np.ndarray,
    coef: np.ndarray,
    gradient: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
    square: float,
    tol: float,
    sweeps: int,
    positive: bool,
) -> tuple[int, float]:
    """Minimise by one coordinate after the other until the duality gap is small.

    A coordinate moves to ``B_j = rho max(0, 1 - l1_j / |rho|) / (G_jj + l2_j)`` with
    ``rho = A_j + G_jj B_j``; of a feature that is 0, and has no l2, it becomes 0.

    Parameters
    ----------
    G : ndarray of shape (d, d), float64
        X'X, symmetric.
    Q : ndarray of shape (d, m), float64
        X'Y.
    order : ndarray of shape (r,), int64
        Coordinates, in the order of the sweeps; others stay as they are.
    coef : ndarray of shape (d, m), float64, C-contiguous, updated in place
        B.
    gradient : ndarray of shape (d, m), float64, C-contiguous, updated in place
        ``Q - G B`` of the coefficients given, kept up to date.
    l1 : ndarray of shape (d,), float64
        Penalties of the norms of the rows of B.
    l2 : ndarray of shape (d,), float64
        Penalties of their squares.
    square : float
        ``|Y|^2``.
    tol : float
        The gap that ends the descent.
    sweeps : int
        Most sweeps over all coordinates.
    positive : bool
        Whether coefficients below 0 are not allowed.

    Returns
    -------
    taken : int
        Sweeps over all coordinates.
    gap : float
        An upper bound of what the objective is above its least, within rounding of ``|Y|^2``.

    Raises
    ------
    IndexError
        If a number in order is not in [0, d).
    ValueError
        If shapes or dtypes do not fit.

    Notes
    -----
    After each sweep over all coordinates the gap is computed, and then up to nine sweeps go over
    those that are not 0, until the largest ``G_jj |change|^2`` is at most 1 % of that of the first.
    With ``c = min(1, l1_j / |A_j|)`` over features without l2, the gap is
    ``(1 - c)^2 |R|^2 / 2 + sum_j (l1_j |B_j| + l2_j / 2 |B_j|^2 + (c |A_j| - l1_j)_+^2 / (2 l2_j)
    - c A_j.B_j)``; a feature without penalties adds ``|A_j|^2 / (2 G_jj)``.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import coordinate
    >>> G, Q = np.diag([2.0, 1.0]), np.array([[4.0], [0.5]])
    >>> coef, gradient = np.zeros((2, 1)), Q.copy()
    >>> coordinate.descent(G, Q, np.arange(2), coef, gradient, np.ones(2), np.zeros(2), 9.0, 1e-9,
    ...                    10, False)
    (1, 0.0)
    >>> coef.ravel().tolist()
    [1.5, 0.0]
    """
    if order.size and not (order.min() >= 0 and order.max() < len(G)):
        wrong = order[(order < 0) | (order >= len(G))][0]
        raise IndexError(f"coordinate.descent: order must be in [0, {len(G)}), got {wrong}")
    taken, gap = 0, np.inf
    rest = coef, gradient, l1, l2
    with np.errstate(all="ignore"):
        while True:
            gap = _gap(G, Q, *rest, square, positive)
            if gap <= tol or taken >= sweeps or not len(order):
                return taken, gap
            first = _sweep(G, order, *rest, positive, False)
            taken += 1
            if first > 0 and _gap(G, Q, *rest, square, positive) <= tol:
                continue
            for _ in range(ACTIVE_SWEEPS):
                moved = _sweep(G, order, *rest, positive, True)
                if moved <= 0.01 * first:
                    break


def _terms(
    y: float, price: float, p: float, b: float, given: dict[str, float]
) -> tuple[float, float, float, float, float, float]:
    """Of one row: q, D, the bounds of b, its loss, and its share of the gap."""
    loss, eps = int(given["loss"]), given["epsilon"] if given["loss"] >= 2 else 0.0
    curvature = 0.5 / price if loss in (1, 3) else 0.0
    high = np.inf if loss in (1, 3) else price
    if loss < 2:
        beyond = max(0.0, 1 - y * p)
        low, top = (0.0, high) if y > 0 else (-high, 0.0)
    else:
        beyond, low, top = max(0.0, abs(p - y) - eps), -high, high
    value = price * (beyond * beyond if loss in (1, 3) else beyond)
    gap = b * p - y * b + eps * abs(b) + curvature / 2 * b * b + value
    return -y, curvature, low, top, value, gap


def _examined(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, i: int, problem: int, w: np.ndarray,
    b: float, one: dict[str, float], given: dict[str, float],
) -> tuple[float, float, tuple]:  # fmt: skip
    """Price and prediction of a row, and its terms."""
    target = (1.0 if y[i] == problem else -1.0) if given["several"] else float(y[i])
    cost = float(price[i]) * (one["positive"] if target > 0 else 1.0)
    p = float(X[i].astype(np.float64) @ w) + given["constant"] * one["intercept"] + one["offset"]
    return cost, p, _terms(target, cost, p, b, given)


def _judge_dual(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, weights: np.ndarray, beta: np.ndarray,
    settled: np.ndarray, states: list[dict[str, float]], first: int, given: dict[str, float],
) -> None:  # fmt: skip
    """The end of an epoch: finish problems whose gap is small, or look at all rows again."""
    norms = [
        float(weights[:, j] @ weights[:, j]) / 2 + one["intercept"] ** 2 / 2
        for j, one in enumerate(states)
    ]
    asking = []
    for j, one in enumerate(states):
        if one["finished"]:
            continue
        one["objective"] += norms[j] + one["kept"]
        one["epochs"] += 1
        if one["gap"] <= given["tol"] * one["objective"]:
            asking.append(j)
    if not asking:
        return
    for j, one in enumerate(states):
        if one["finished"]:
            continue
        one["gap"], one["objective"] = 0.0, norms[j]
        for i in range(len(X)):
            if price[i] > 0:
                terms = _examined(
                    X, y, price, i, first + j, weights[:, j], beta[i, j], one, given
                )[2]
                one["objective"] += terms[4]
                one["gap"] += terms[5]
        one["finished"] = float(one["gap"] <= given["tol"] * one["objective"])
    if not all(states[j]["finished"] for j in asking):
        settled[...] = 0
        for one in states:
            if not one["finished"]:
                one["violation"], one["kept"] = np.inf, 0.0


@op(
    "X: T[n,d]|csr, y: f64[n], price: f64[n], squares: f64[n], order: i64[e,m],"
    " weights: inout f64[b,d,w], beta: inout f64[b,n,w], settled: inout u8[b,n],"
    " state: inout f64[b,w,9], settings: f64[6] -> taken: int",
    cuda=_SERIAL,
)
def dual(
    X: np.ndarray,
    y: np.ndarray,
    price: np.ndarray,
    squares: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    beta: np.ndarray,
    settled: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
) -> int:
    """Epochs of dual coordinate descent of linear support vector machines, side by side.

    A row with prediction ``p = w.x + c v + offset`` moves its multiplier to the least of the dual,
    ``b <- clip(soft(b - g / H, epsilon / H))`` with ``g = p - y + D b`` and ``H = |x|^2 + c^2 + D``;
    D is ``1 / (2 C)`` for the squared losses and 0 for the others, whose multipliers are bounded by
    C; those of classes have the sign of the target. ``soft(z, t) = sign(z) max(0, |z| - t)``, with
    epsilon 0 for classes.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    y : ndarray of shape (n,), float64
        1 and -1, or numbers; numbers of problems if ``several``: the target of problem c is 1 where
        y is c, else -1.
    price : ndarray of shape (n,), float64
        C of each row; rows with 0 are ignored.
    squares : ndarray of shape (n,), float64
        ``|x|^2``.
    order : ndarray of shape (e, m), int64
        Rows of each epoch, in their order.
    weights : ndarray of shape (b, d, w), float64, C-contiguous, updated in place
        w of the problems, in b blocks of w = 1 or 8.
    beta : ndarray of shape (b, n, w), float64, C-contiguous, updated in place
        Multipliers; weights and intercepts must be those that follow from them.
    settled : ndarray of shape (b, n), uint8, C-contiguous, updated in place
        1 for the rows that a block leaves out.
    state : ndarray of shape (b, w, 9), float64, C-contiguous, updated in place
        STATE of each problem, whose intercept is v.
    settings : ndarray of shape (6,), float64
        Values of SETTINGS.

    Returns
    -------
    taken : int
        Epochs, the most of any block.

    Raises
    ------
    IndexError
        If a number in order is not in [0, n).
    ValueError
        If shapes or dtypes do not fit, w is neither 1 nor 8, or there is no such loss.

    Notes
    -----
    A multiplier may grow where its slope ``g + epsilon`` (``g - epsilon`` below 0) is negative, and
    fall where ``g - epsilon`` (``g + epsilon`` above 0) is positive; the violation is by how much.
    A row whose slopes are on the right side by more than the largest violation of the epoch before,
    in all problems of the block that go on, is left out from then on. The gap is the sum of
    ``b p - y b + epsilon |b| + D b^2 / 2 + C l`` over rows: terms of Fenchel and Young, none of which
    is negative. Each epoch adds up the terms it meets. Where that is small enough, they are computed
    anew, of all rows: the problem has finished, or all rows join in again.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import coordinate
    >>> X, y = np.array([[1.0], [3.0]]), np.array([-1.0, 1.0])
    >>> state = np.zeros((1, 1, 9))
    >>> state[0, 0, 2:4] = 1.0, np.inf
    >>> weights, beta = np.zeros((1, 1, 1)), np.zeros((1, 2, 1))
    >>> settings = np.array([0.0, 0.0, 1.0, 1e-6, 0.0, 1.0])
    >>> taken = coordinate.dual(X, y, np.full(2, 9.0), np.array([1.0, 9.0]),
    ...                         np.tile(np.arange(2), (500, 1)), weights, beta,
    ...                         np.zeros((1, 2), np.uint8), state, settings)
    >>> weights.round(2).ravel().tolist(), state[0, 0, 0].round(2).tolist()  # penalised, both
    ([1.0], -2.0)
    """
    given = dict(zip(SETTINGS, settings.tolist(), strict=True))
    blocks, _, width = weights.shape
    if width not in (1, 8):
        raise ValueError(f"coordinate.dual: weights must have 1 or 8 problems a block, got {width}")
    if not 0 <= given["loss"] < len(LOSSES):
        raise ValueError(
            f"coordinate.dual: loss must be in [0, {len(LOSSES)}), got {given['loss']:g}"
        )
    if order.size and not (order.min() >= 0 and order.max() < len(X)):
        wrong = order[(order < 0) | (order >= len(X))][0]
        raise IndexError(f"coordinate.dual: order must be in [0, {len(X)}), got {wrong}")
    most = 0
    with np.errstate(all="ignore"):
        for block in range(blocks):
            states = [dict(zip(STATE, row, strict=True)) for row in state[block].tolist()]
            own = weights[block], beta[block], settled[block]
            for taken, rows in enumerate(order):
                if all(one["finished"] for one in states):
                    break
                _dual_epoch(X, y, price, squares, rows, *own, states, block * width, given)
                most = max(most, taken + 1)
            state[block] = [[*one.values()] for one in states]
    return most


def _dual_epoch(
    X: np.ndarray, y: np.ndarray, price: np.ndarray, squares: np.ndarray, rows: np.ndarray,
    weights: np.ndarray, beta: np.ndarray, settled: np.ndarray, states: list[dict[str, float]],
    first: int, given: dict[str, float],
) -> None:  # fmt: skip
    running = [j for j, one in enumerate(states) if not one["finished"]]
    for j in running:
        states[j]["gap"] = states[j]["objective"] = 0.0
    largest = dict.fromkeys(running, 0.0)
    constant, eps = given["constant"], given["epsilon"] if given["loss"] >= 2 else 0.0
    for i in rows:
        if settled[i] or not price[i] > 0:
            continue
        rests: Any = bool(given["shrinking"])
        changes = {}
        losses = {}
        for j in running:
            one, b = states[j], float(beta[i, j])
            terms = _examined(X, y, price, i, first + j, weights[:, j], b, one, given)
            _, p, (q, curvature, low, high, value, gap) = terms
            one["gap"] += gap
            one["objective"] += value
            losses[j] = value
            g = p + q + curvature * b
            up = g + (eps if b >= 0 else -eps) if b < high else np.inf
            down = g + (eps if b > 0 else -eps) if b > low else -np.inf
            largest[j] = max(largest[j], -up, down)
            rests = rests and up > one["violation"] and down < -one["violation"]
            H = squares[i] + constant * constant + curvature
            if H > 0:
                z = b - g / H
                after = min(max(np.copysign(max(abs(z) - eps / H, 0.0), z), low), high)
            else:
                after = high if up < 0 else low if down > 0 else b
            changes[j] = after - b
        if rests:
            settled[i] = 1
            for j in running:
                states[j]["kept"] += losses[j]
                states[j]["objective"] -= losses[j]
            continue
        x = X[i].astype(np.float64)
        for j, change in changes.items():
            beta[i, j] += change
            weights[:, j] += change * x
            states[j]["intercept"] += change * constant
    for j in running:
        states[j]["violation"] = largest[j]
    _judge_dual(X, y, price, weights, beta, settled, states, first, given)
