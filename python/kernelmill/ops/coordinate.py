"""Coordinate descent: of penalised least squares in Gram form, and of linear support vectors.

`descent`. Symbols: G = X'X (d, d) and Q = X'Y (d, m) are products of d features and m targets,
B (d, m) the coefficients, whose row j belongs to feature j, ``R = Y - X B`` the residual and
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

`joint`. The same with one problem for k classes (Crammer and Singer), ``1/2 sum_m |w_m|^2 + sum_i
C_i max_m (w_m.x + [m is not y] - w_y.x)``, and k multipliers a row, whose sum is 0.

NaN and infinity reach the coefficients and the gap. No features, d = 0, or no coordinates to visit
change nothing; the gap of empty sums is 0. Deterministic: coordinates follow one another, and
several targets, which do not depend on each other, and problems of different blocks, which share no
sum, run side by side with the same bits. Shapes and dtypes that do not fit raise ValueError. Cost
2 d m flops for a coordinate that changes, m for one that does not; of `dual` 2 d for a row and
problem whose multiplier stays, 4 d where it changes, for CSR rows what they store in place of d.

Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent". The gap is that of Fenchel's dual, see Fercoq, Gramfort and Salmon (2015),
"Mind the duality gap: safer rules for the lasso". Hsieh, Chang, Lin, Keerthi and Sundararajan
(2008), "A dual coordinate descent method for large-scale linear SVM". Keerthi et al. (2008), "A
sequential dual method for large scale multi-class linear SVMs".
"""

from __future__ import annotations

import numpy as np

from ._op import op
from .coordinate_dual import (
    JOINT_STATE,
    LOSSES,
    SETTINGS,
    STATE,
    dual_epoch,
    joint_epoch,
)

_MANY = "the models that use it run on the CPU only"
_SERIAL = "coordinates follow one another, and run on the CPU only"
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


def _descended(
    G: np.ndarray, Q: np.ndarray, order: np.ndarray, coef: np.ndarray, gradient: np.ndarray,
    l1: np.ndarray, l2: np.ndarray, square: float, tol: float, sweeps: int, positive: bool,
) -> tuple[int, float]:  # fmt: skip
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
    return _descended(G, Q, order, coef, gradient, l1, l2, square, tol, sweeps, positive)


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
    ``b <- clip(soft(b - g / H, epsilon / H))``, ``g = p - y + D b``, ``H = |x|^2 + c^2 + D``. D
    is ``1 / (2 C)`` for squared losses and 0 for the others, whose multipliers are bounded by C;
    those of classes have the sign of the target. ``soft(z, t) = sign(z) max(0, |z| - t)``, with
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
    ``b p - y b + epsilon |b| + D b^2 / 2 + C l`` over rows: terms of Fenchel and Young, none of
    which is negative. Each epoch adds up the terms it meets. Where that is small enough, they are
    computed anew, of all rows: the problem has finished, or all rows join in again.

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
                dual_epoch(X, y, price, squares, rows, *own, states, block * width, given)
                most = max(most, taken + 1)
            state[block] = [[*one.values()] for one in states]
    return most


@op(
    "G: f64[d,d], Q: f64[n,d], squares: f64[n], coef: inout f64[n,d], l1: float, tol: float,"
    " sweeps: int, positive: bool -> taken: int, gap: float",
    cuda=_MANY,
)
def lassos(
    G: np.ndarray, Q: np.ndarray, squares: np.ndarray, coef: np.ndarray, l1: float, tol: float,
    sweeps: int, positive: bool,
) -> tuple[int, float]:  # fmt: skip
    """Lassos of many targets with the same features, each by `descent`.

    Parameters
    ----------
    G : ndarray of shape (d, d), float64
        X'X, symmetric.
    Q : ndarray of shape (n, d), float64
        Y'X: a row for each target.
    squares : ndarray of shape (n,), float64
        ``|y|^2`` of the targets.
    coef : ndarray of shape (n, d), float64, C-contiguous, updated in place
        Coefficients of each target, from which its descent starts.
    l1 : float
        The penalty of sizes.
    tol : float
        The gap that ends the descent of a target, as a share of its square.
    sweeps : int
        Most sweeps over all coordinates.
    positive : bool
        Whether coefficients below 0 are not allowed.

    Returns
    -------
    taken : int
        Most sweeps that a target has taken.
    gap : float
        The largest gap as a share of the square.

    Notes
    -----
    In parallel over the targets.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import coordinate
    >>> coef = np.zeros((2, 2))
    >>> coordinate.lassos(np.eye(2), np.array([[3.0, 0.5], [0.0, -2.0]]), np.array([10.0, 4.0]),
    ...                   coef, 1.0, 1e-9, 10, False)
    (1, 0.0)
    >>> coef.tolist()
    [[2.0, 0.0], [0.0, -1.0]]
    """
    d = len(G)
    first, second, order = np.full(d, l1), np.zeros(d), np.arange(d)
    most, worst = 0, 0.0
    for i in range(len(coef)):
        own = np.ascontiguousarray(coef[i][:, None])
        target = Q[i][:, None]
        gradient = target - G @ own
        taken, gap = _descended(
            G, target, order, own, gradient, first, second, float(squares[i]),
            tol * float(squares[i]), sweeps, positive,
        )  # fmt: skip
        coef[i] = own[:, 0]
        most = max(most, taken)
        worst = max(worst, gap / squares[i] if squares[i] > 0 else 0.0)
    return most, float(worst)


@op(
    "G: f64[d,d], Q: f64[n,d], squares: f64[n], most: int[0,2**31), tol: float"
    " -> coef: f64[n,d], counts: i64[n]",
    cuda=_MANY,
)
def pursuits(
    G: np.ndarray, Q: np.ndarray, squares: np.ndarray, most: int, tol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal matching pursuit of many targets: the feature nearest to the residual joins.

    Parameters
    ----------
    G : ndarray of shape (d, d), float64
        X'X, symmetric.
    Q : ndarray of shape (n, d), float64
        Y'X: a row for each target.
    squares : ndarray of shape (n,), float64
        ``|y|^2`` of the targets.
    most : int
        Most features of a target.
    tol : float
        Squared residual that ends a pursuit; below 0 for none.

    Returns
    -------
    coef : ndarray of shape (n, d), float64
        Least squares of the features chosen.
    counts : ndarray of shape (n,), int64
        Number of features chosen.

    Notes
    -----
    The lowest number wins among features whose products with the residual have the same size. A
    pursuit ends where all products are below ``d eps |x_j| |y|``, or the next feature depends on
    those before. In parallel over the targets. Cost of a step d k flops after k steps.

    References
    ----------
    Rubinstein, Zibulevsky and Elad (2008), "Efficient implementation of the K-SVD algorithm using
    batch orthogonal matching pursuit".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import coordinate
    >>> coordinate.pursuits(np.eye(3), np.array([[1.0, -4.0, 2.0]]), np.array([21.0]), 2, -1.0)
    (array([[ 0., -4.,  2.]]), array([2]))
    """
    n, d = Q.shape
    coef, counts = np.zeros((n, d)), np.zeros(n, dtype=np.int64)
    lengths, eps = np.sqrt(np.maximum(np.diag(G), 0)), float(np.finfo(np.float64).eps)
    for i in range(n):
        chosen: list[int] = []
        found, gradient = np.zeros(0), Q[i].copy()
        while len(chosen) < min(most, d):
            size = np.abs(gradient)
            size[chosen] = -1
            j = int(size.argmax())
            if not size[j] > eps * d * lengths[j] * np.sqrt(squares[i]):
                break
            both = [*chosen, j]
            if chosen:
                A = G[np.ix_(chosen, chosen)]
                rest = G[j, j] - G[chosen, j] @ np.linalg.solve(A, G[chosen, j])
            else:
                rest = G[j, j]
            if not rest > eps * d * G[j, j]:
                break
            chosen = both
            found = np.linalg.solve(G[np.ix_(chosen, chosen)], Q[i, chosen])
            gradient = Q[i] - G[:, chosen] @ found
            if tol >= 0 and squares[i] - Q[i, chosen] @ found <= tol:
                break
        coef[i, chosen], counts[i] = found, len(chosen)
    return coef, counts


@op(
    "X: T[n,d]|csr, y: f64[n], price: f64[n], squares: f64[n], order: i64[e,m],"
    " weights: inout f64[b,d,w], intercepts: inout f64[k], beta: inout f64[n,k],"
    " settled: inout u8[n], state: inout f64[5], constant: float, tol: float, shrinking: bool"
    " -> taken: int",
    cuda=_SERIAL,
)
def joint(
    X: np.ndarray,
    y: np.ndarray,
    price: np.ndarray,
    squares: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    intercepts: np.ndarray,
    beta: np.ndarray,
    settled: np.ndarray,
    state: np.ndarray,
    constant: float,
    tol: float,
    shrinking: bool,
) -> int:
    """Epochs of dual coordinate descent of one machine for k classes.

    With ``g_m = w_m.x + c v_m + [m is not y]`` and ``H = |x|^2 + c^2``, a row moves its multipliers
    to the least of ``sum_m (H b_m^2 / 2 + (g_m - H before_m) b_m)`` of sum 0 with ``b_y <= C`` and
    ``b_m <= 0``.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    y : ndarray of shape (n,), float64
        Numbers of classes.
    price : ndarray of shape (n,), float64
        C of each row; rows with 0 are ignored.
    squares : ndarray of shape (n,), float64
        ``|x|^2``.
    order : ndarray of shape (e, m), int64
        Rows of each epoch, in their order.
    weights : ndarray of shape (b, d, w), float64, C-contiguous, updated in place
        w of the classes, in b = k / 8, rounded up, blocks of w = 8.
    intercepts : ndarray of shape (k,), float64, C-contiguous, updated in place
        v, the weights of the constant feature.
    beta : ndarray of shape (n, k), float64, C-contiguous, updated in place
        Multipliers; weights and intercepts must be those that follow from them.
    settled : ndarray of shape (n,), uint8, C-contiguous, updated in place
        1 for the rows that are left out.
    state : ndarray of shape (5,), float64, C-contiguous, updated in place
        JOINT_STATE.
    constant : float
        Value c of the constant feature, 0 for none.
    tol : float
        The gap that ends the descent, as a share of the objective.
    shrinking : bool
        Whether rows that have settled are left out.

    Returns
    -------
    taken : int
        Epochs.

    Raises
    ------
    IndexError
        If a number in order is not in [0, n).
    ValueError
        If shapes, dtypes or class numbers do not fit.

    Notes
    -----
    A row without multipliers whose margin is larger than 1 by more than the largest violation of
    the epoch before, ``max_m g_m - min g_m`` over those that may grow, is left out. The gap is the
    sum of ``sum_m b_m g_m + C (max_m g_m - g_y)`` over rows, no term of which is negative; epochs
    end as those of `dual`.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import coordinate
    >>> X, y = np.array([[-1.0], [1.0], [3.0]]), np.array([0.0, 1.0, 2.0])
    >>> weights, state = np.zeros((1, 1, 8)), np.array([np.inf, 0, 0, 0, 0])
    >>> intercepts, beta = np.zeros(3), np.zeros((3, 3))
    >>> taken = coordinate.joint(X, y, np.full(3, 99.0), np.array([1.0, 1.0, 9.0]),
    ...                          np.tile(np.arange(3), (900, 1)), weights, intercepts, beta,
    ...                          np.zeros(3, np.uint8), state, 1.0, 1e-9, True)
    >>> (X @ weights[0, :, :3] + intercepts).argmax(1).tolist(), beta.sum(1).round(9).tolist()
    ([0, 1, 2], [0.0, 0.0, 0.0])
    """
    blocks, _, width = weights.shape
    n, k = beta.shape
    if width != 8 or blocks != -(-k // 8):
        raise ValueError(
            f"coordinate.joint: weights must have {-(-k // 8)} blocks of 8 classes, got {blocks} "
            f"of {width}"
        )
    if len(y) and not (y.min() >= 0 and y.max() < k):
        wrong = y[(y < 0) | (y >= k)][0]
        raise ValueError(f"coordinate.joint: y must be in [0, {k}), got {wrong:g}")
    if order.size and not (order.min() >= 0 and order.max() < n):
        wrong = order[(order < 0) | (order >= n)][0]
        raise IndexError(f"coordinate.joint: order must be in [0, {n}), got {wrong}")
    one = dict(zip(JOINT_STATE, state.tolist(), strict=True))
    taken = 0
    while taken < len(order) and not one["finished"]:
        rows = order[taken]
        joint_epoch(
            X, y, price, squares, rows, weights, intercepts, beta, settled, one, constant, tol,
            shrinking,
        )  # fmt: skip
        taken += 1
    state[...] = [*one.values()]
    return taken
