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
"Mind the duality gap: safer rules for the lasso"; its extrapolation of Massias, Gramfort and Salmon
(2018), "Celer: a fast solver for the lasso with dual extrapolation", that of the coefficients of
Bertrand and Massias (2021), "Anderson acceleration of coordinate descent", the sphere of Ndiaye,
Fercoq, Gramfort and Salmon (2017), "Gap safe screening rules for sparsity enforcing penalties".
Hsieh, Chang, Lin, Keerthi and Sundararajan
(2008), "A dual coordinate descent method for large-scale linear SVM". Keerthi et al. (2008), "A
sequential dual method for large scale multi-class linear SVMs".
"""

from __future__ import annotations

import numpy as np

from ._op import op
from .coordinate_descent import FARTHEST, Descent
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


def _check_order(op: str, order: np.ndarray, d: int) -> None:
    if order.size and not (order.min() >= 0 and order.max() < d):
        wrong = order[(order < 0) | (order >= d)][0]
        raise IndexError(f"coordinate.{op}: order must be in [0, {d}), got {wrong}")


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
        The gap that ends the descent, once a sweep has moved no coordinate by more than
        ``4 tol / square`` of the largest, at least 1e-10 and at most 1e-4, or ``tol / square`` if
        that is more.
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

    *Extrapolation.* Of each six positions in a row, five differences dB and dA are combined with
    weights c of sum 1 for which ``sum c_k dR_k``, with ``dR_k.dR_l = -dB_k.dA_l`` (plus
    ``l2 dB_k.dB_l``), is shortest. Rows of the combination E that are 0 in B, or of another sign
    for m = 1, are made 0. The descent goes on from there where the objective is less by ten times
    what the sweeps between have gained, so that it never rises; else the residual at E is a
    candidate for the dual. Its gradient F is made anew, at the price of a sweep: in ``sum c_k A_k``
    errors would be as large as the weights, which may add up to 1e6 before they are dropped.

    *Gap.* For the residual at E, scaled by ``c = min(1, l1_j / |F_j|)`` over features without l2,
    it is ``|R - c R_E|^2 / 2 + sum_j (l1_j |B_j| + l2_j / 2 |B_j|^2 + (c |F_j| - l1_j)_+^2 /
    (2 l2_j) - c F_j.B_j)``, and with D = E - B, ``|R - c R_E|^2 = (1 - c)^2 |R|^2 +
    2 c (1 - c) A.D + c^2 D.(A - F)``. E = B, or the best E so far, whichever is less. A feature
    without penalties adds ``|A_j|^2 / (2 G_jj)``; E is B then.

    *Screening.* The dual's optimum is within ``sqrt(2 gap)`` of c R_E, so that a feature with
    ``c |F_j| + sqrt(2 gap G_jj) < l1_j`` is 0 at the optimum. Where it is 0, sweeps leave it out.
    None is if order lacks a feature or a feature has no penalty.

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
    _check_order("descent", order, len(G))
    with np.errstate(all="ignore"):
        state = Descent(G, Q, order, coef, gradient, l1, l2, square, positive)
        return state.run(tol, sweeps)


@op(
    "G: f64[d,d], Q: f64[d,m], order: i64[r], coef: inout f64[d,m], gradient: inout f64[d,m],"
    " l1: f64[a], l2: f64[a], square: float, tol: float, sweeps: int, positive: bool"
    " -> coefs: f64[a,d,m], gaps: f64[a], taken: i64[a]",
    cuda=_SERIAL,
)
def path(
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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`descent` for one pair of penalties after the other.

    Parameters
    ----------
    G, Q, order, coef, gradient : ndarray, float64
        As `descent` takes them; `coef` is where the first descent starts and the last one ends.
    square, tol, sweeps, positive : float, float, int, bool
        As `descent` takes them.
    l1, l2 : ndarray of shape (a,), float64
        Penalties, each of all features.

    Returns
    -------
    coefs : ndarray of shape (a, d, m), float64
        B for each pair.
    gaps : ndarray of shape (a,), float64
        Their gaps.
    taken : ndarray of shape (a,), int64
        Sweeps over all coordinates.

    Raises
    ------
    IndexError
        If a number in order is not in [0, d).
    ValueError
        If shapes or dtypes do not fit.

    Notes
    -----
    Between the penalties where a feature joins or leaves, the optimum of the lasso is a line in l1.
    From the third pair on a descent starts at ``B + t (B - B')``, where B and B' are the last two
    solutions and t is the step of ``l1 + l2`` as a share of the step before, if t is in (0, 2],
    with the zeros of an extrapolation, if the objective is less there.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import coordinate
    >>> G, Q = np.diag([2.0, 1.0]), np.array([[4.0], [0.5]])
    >>> l1 = np.array([3.0, 2.0, 1.0])
    >>> coefs, gaps, taken = coordinate.path(G, Q, np.arange(2), np.zeros((2, 1)), Q.copy(), l1,
    ...                                      np.zeros(3), 9.0, 1e-9, 10, False)
    >>> coefs[:, :, 0].tolist(), taken.tolist()  # the third is known from the two before
    ([[0.5, 0.0], [1.0, 0.0], [1.5, 0.0]], [1, 1, 0])
    """
    _check_order("path", order, len(G))
    coefs, gaps = np.empty((len(l1), *coef.shape)), np.empty(len(l1))
    taken = np.empty(len(l1), dtype=np.int64)
    gradients, total = [], l1 + l2
    with np.errstate(all="ignore"):
        for k in range(len(l1)):
            d = np.ones(len(G))
            state = Descent(G, Q, order, coef, gradient, l1[k] * d, l2[k] * d, square, positive)
            gradients.append(gradient.copy())
            if k >= 2:
                t = (total[k] - total[k - 1]) / (total[k - 1] - total[k - 2])
                if 0 < t <= FARTHEST:
                    state.predict(coefs[k - 2], gradients[k - 1], t)
            taken[k], gaps[k] = state.run(tol, sweeps)
            coefs[k] = coef
    return coefs, gaps, taken


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
        with np.errstate(all="ignore"):
            square = float(squares[i])
            state = Descent(G, target, order, own, gradient, first, second, square, positive)
            taken, gap = state.run(tol * square, sweeps)
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
