"""Coordinate descent of penalised least squares in Gram form.

Symbols: G = X'X (d, d) and Q = X'Y (d, m) are products of d features and m targets, B (d, m) the
coefficients, whose row j belongs to feature j, ``R = Y - X B`` the residual and
``A = X'R = Q - G B`` the gradient. Minimised is

    1/2 |Y - X B|^2 + sum_j (l1_j |B_j| + l2_j / 2 |B_j|^2)

with the Euclidean norm of a row: m = 1 is the elastic net, m > 1 the group lasso of several tasks.

NaN and infinity reach the coefficients and the gap. No features, d = 0, or no coordinates to visit
change nothing; the gap of empty sums is 0. Deterministic: coordinates follow one another, and
several targets, which do not depend on each other, have the same bits at any thread count. Shapes
and dtypes that do not fit raise ValueError. Cost 2 d m flops for a coordinate that changes, m for
one that does not.

Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent". The gap is that of Fenchel's dual, see Fercoq, Gramfort and Salmon (2015),
"Mind the duality gap: safer rules for the lasso".
"""

from __future__ import annotations

import numpy as np

from ._op import op

_SERIAL = "coordinates follow one another, and run on the CPU only"
_MANY = "the models that use it run on the CPU only"
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
