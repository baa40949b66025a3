"""Ascent of a log marginal likelihood: scoring steps in a box, corrected by what they show.

With ``a = (K + S)^-1 y`` and ``v_i = (dK / dtheta_i) a``, the *average information*

    M_ij = v_i' (K + S)^-1 v_j / 2

has the Fisher information ``tr((K + S)^-1 dK_i (K + S)^-1 dK_j) / 2`` as its expectation, since
``E a a' = (K + S)^-1``, and costs n^2 flops for each hyperparameter where the trace costs n^3. It
is positive semi-definite, whatever the curvature of the likelihood is. A step s maximises

    g's - s'B s / 2    over    low <= theta + s <= high,  |s_i| <= radius,

where B is M, changed by the BFGS formula of the last steps, which adds the curvature that M has no
part in (the second derivatives of K, and a model that does not fit). Theta are logarithms, so the
radius is a factor. A step that does not climb is taken back and the radius shrinks.

**Flat directions.** A length scale l far beyond the rows has ``log p = c - b w`` with ``w = l^-2``:
as ``g = 2 b w`` and ``M ~ w^2``, the step g / M in theta is of any size, up or down, and tells
nothing. In w it is right. So a hyperparameter with ``|g_i| > 2 M_ii`` takes its step in
``w = exp(e theta)``, with the power e in which K is nearly linear, in units tangent to theta:

    s = (exp(e step) - 1) / e,    d theta / ds = exp(-e step).

Ten length scales of which seven do not matter took 6 evaluations so, and 49 without (n = 1,000).

Gilmour, Thompson and Cullis (1995), "Average information REML".
Nocedal and Wright (2006), "Numerical optimization", chapters 4 and 6.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import lsq_linear
from sklearn.exceptions import ConvergenceWarning

from kernelmill._estimator._base import warn

# theta and the least value of interest -> value, gradient and information; the last two are
# computed for larger values only.
Evaluate = Callable[[np.ndarray, float], tuple[float, np.ndarray, np.ndarray]]

_RELATIVE = 1e-7  # of log p: a search ends with the step that is foreseen to gain less
_RADIUS = 2.0  # of the first step: a factor of 7
_PAIRS = 5  # steps that B remembers
_LEAST = 1e-10  # curvature of B, of its diagonal


def ascend(
    evaluate: Evaluate, start: np.ndarray, bounds: np.ndarray, powers: np.ndarray, owner: str,
    *, gain: float = 1e-5, max_iter: int = 500,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Parameters where a log likelihood is largest, near a start, and its value there.

    The last step, which gains next to nothing, is taken without an evaluation; the value is the one
    foreseen.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(theta, least)`` gives the value, the gradient and the information.
    start, bounds, powers : ndarray of shape (p,), (p, 2) and (p,)
    owner : str
        Name of the caller in messages.
    gain : float, default=1e-5
        A search ends with the step that is foreseen to gain less, in log p.
    max_iter : int, default=500
        Most steps.
    """
    low, high = bounds.T
    theta = np.clip(start, low, high)
    value, g, M = evaluate(theta, -math.inf)
    if value == -math.inf:
        return theta, value
    seen = [(theta, g)]
    radius = _RADIUS
    for _ in range(max_iter):
        box = np.maximum(low - theta, -radius), np.minimum(high - theta, radius)
        e = np.where(np.abs(g) > 2 * np.diag(M), powers, 0.0)
        s, foreseen = _step(_corrected(M, seen, e), g, *(_tangent(side, e) for side in box))
        step = np.clip(_back(s, e), *box)
        length = float(np.abs(step).max())
        if foreseen <= max(gain, _RELATIVE * abs(value)) or length < 1e-9:
            return theta + step, value + foreseen
        rise, slope, information = evaluate(theta + step, value)
        ratio = (rise - value) / foreseen
        if ratio < 0.25:
            radius = 0.25 * length
        elif ratio > 0.75 and length > 0.99 * radius:
            radius *= 2
        if rise > value:
            theta, value, g, M = theta + step, rise, slope, information
            seen = [*seen[-_PAIRS:], (theta, g)]
    warn(
        f"{owner}: the search for hyperparameters failed to converge in {max_iter} iterations "
        "(scale X and y, or give an optimizer)",
        ConvergenceWarning,
    )
    return theta, value


def _tangent(step: np.ndarray, e: np.ndarray) -> np.ndarray:
    """s of steps of theta."""
    return np.where(e == 0, step, np.expm1(e * step) / np.where(e == 0, 1, e))


def _back(s: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Steps of theta of s."""
    with np.errstate(divide="ignore"):
        return np.where(e == 0, s, np.log1p(np.maximum(e * s, -1)) / np.where(e == 0, 1, e))


def _corrected(
    M: np.ndarray, seen: list[tuple[np.ndarray, np.ndarray]], e: np.ndarray
) -> np.ndarray:
    """M, made positive definite, with the curvature ``d's / s's`` along each step s."""
    B = M + 1e-8 * (np.diag(M).max() + 1e-300) * np.eye(len(M))
    here = seen[-1][0]
    points = [(_tangent(at - here, e), g * np.exp(-e * (at - here))) for at, g in seen]
    for (before, old), (after, new) in itertools.pairwise(points):
        s, d = after - before, old - new
        Bs = B @ s
        if d @ s > 1e-3 * (s @ Bs):  # elsewhere the likelihood is not concave, but M is positive
            B = B - np.outer(Bs, Bs) / (s @ Bs) + np.outer(d, d) / (d @ s)
    # Entries of 1e8 beside 1e19 leave rounding where the curvature of the first was.
    size = np.sqrt(np.maximum(np.diag(B), np.diag(M).max() * 1e-300))
    values, vectors = np.linalg.eigh(B / np.outer(size, size))
    if values[0] > _LEAST:
        return B
    return np.outer(size, size) * ((vectors * np.maximum(values, _LEAST)) @ vectors.T)


def _step(
    B: np.ndarray, g: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, float]:
    """The best step in a box, and its gain."""
    step = np.linalg.solve(B, g)
    if (step < low).any() or (step > high).any():
        step = np.zeros_like(g)
        free = low < high
        if free.any():
            # |R s - R'^-1 g|^2 / 2 with B = R'R is -(g's - s'B s / 2) and a constant.
            R = np.linalg.cholesky(B[np.ix_(free, free)]).T
            box = low[free], high[free]
            with np.errstate(over="ignore"):  # of a likelihood that is all but flat
                step[free] = lsq_linear(R, np.linalg.solve(R.T, g[free]), box, method="bvls").x
            step = np.clip(step, low, high)
    return step, float(g @ step - 0.5 * step @ B @ step)
