"""Coordinate descent of penalised least squares in Gram form.

Symbols: G = X'X (d, d) and Q = X'Y (d, m) are products of d features and m targets, B (d, m) the
coefficients, whose row j belongs to feature j, ``R = Y - X B`` the residual and
``A = X'R = Q - G B`` the gradient. Minimised is

    1/2 |Y - X B|^2 + sum_j (l1_j |B_j| + l2_j / 2 |B_j|^2)

with the Euclidean norm of a row: m = 1 is the elastic net, m > 1 the group lasso of several tasks.

NaN and infinity reach the coefficients and the gap. No features, d = 0, or no coordinates to visit
change nothing; the gap of empty sums is 0. Deterministic, one thread: coordinates follow one
another. Shapes and dtypes that do not fit raise ValueError. Cost 2 d m flops for a coordinate that
changes, m for one that does not.

Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent". The gap is that of Fenchel's dual, see Fercoq, Gramfort and Salmon (2015),
"Mind the duality gap: safer rules for the lasso".
"""

from __future__ import annotations

import numpy as np

from ._op import op

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
