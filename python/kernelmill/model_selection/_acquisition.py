"""What makes a point worth evaluating: functions of the mean m and deviation s of a model there.

Minimising, with b the best value known and ``z = (b - m) / s``, the improvement ``max(b - f, 0)``
of a Gaussian f has the expectation

    EI = s h(z),    h(z) = phi(z) + z Phi(z),    h'(z) = Phi(z),

and is above 0 with probability ``PI = Phi(z)``. Both underflow from z = -38 on and leave a plain to
whoever follows gradients, so their logarithms are taken. For ``t = -z > 0``, with Mills' ratio
``R(t) = Phi(-t) / phi(t) = sqrt(pi / 2) erfcx(t / sqrt(2))``,

    log h = log phi(t) + log q,    q = 1 - t R(t),    h' / h = R / q,

and q loses digits like eps t^2, so that from t = 50 on it is ``t^-2 (1 - 3 t^-2 + 15 t^-4 - ...)``.
With ``r = h' / h`` the gradient of ``log EI = log s + log h(z)`` is

    d/dm = -r / s,    d/ds = (1 - r z) / s.

The upper confidence bound, of -f as we minimise, is ``UCB = kappa s - m``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, log_ndtr

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_FAR = 50.0  # from here on the series, whose sixth term is 1e-13 there, has more digits

NAMES = ("EI", "PI", "UCB", "Thompson")


def log_h(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``log h(z)`` and ``h'(z) / h(z)``, for any finite z."""
    z = np.asarray(z, dtype=np.float64)
    t = np.maximum(-z, 0.0)
    near = np.minimum(t, _FAR)
    mills = math.sqrt(math.pi / 2) * erfcx(near / math.sqrt(2))
    inverse = 1 / np.maximum(t, _FAR) ** 2
    tail = 1 - inverse * (3 - inverse * (15 - inverse * (105 - 945 * inverse)))
    far = t > _FAR
    log_q = np.where(far, np.log(inverse * tail), np.log1p(-near * mills))
    # R = (1 - q) / t, so R / q = (1 / q - 1) / t.
    ratio = np.where(
        far, (1 / (inverse * tail) - 1) / np.maximum(t, _FAR), mills / (1 - near * mills)
    )
    above = np.maximum(z, 0.0)
    phi = np.exp(-0.5 * above * above - _LOG_ROOT_2PI)
    Phi = np.exp(log_ndtr(above))
    h = phi + above * Phi
    is_above = z > 0
    value = np.where(is_above, np.log(h), log_q - 0.5 * t * t - _LOG_ROOT_2PI)
    return value, np.where(is_above, Phi / h, ratio)


def log_expected_improvement(
    m: np.ndarray, s: np.ndarray, best: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``log EI`` and its derivatives in m and s; without deviation ``log max(best - m, 0)``."""
    m, s = np.broadcast_arrays(np.asarray(m, np.float64), np.asarray(s, np.float64))
    some = np.where(s > 0, s, 1.0)
    z = (best - m) / some
    value, r = log_h(z)
    with np.errstate(divide="ignore"):
        sure = np.log(np.maximum(best - m, 0.0))
    value = np.where(s > 0, np.log(some) + value, sure)
    dm = np.where(s > 0, -r / some, 0.0)
    return value, dm, np.where(s > 0, (1 - r * z) / some, 0.0)


def log_probability_of_improvement(
    m: np.ndarray, s: np.ndarray, best: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``log PI`` and its derivatives in m and s; without deviation 0 or minus infinity."""
    m, s = np.broadcast_arrays(np.asarray(m, np.float64), np.asarray(s, np.float64))
    some = np.where(s > 0, s, 1.0)
    z = (best - m) / some
    log = log_ndtr(z)
    r = np.exp(np.minimum(-0.5 * z * z - _LOG_ROOT_2PI - log, 700.0))  # phi / Phi
    value = np.where(s > 0, log, np.where(best > m, 0.0, -np.inf))
    return value, np.where(s > 0, -r / some, 0.0), np.where(s > 0, -r * z / some, 0.0)


def upper_confidence_bound(
    m: np.ndarray, s: np.ndarray, kappa: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``kappa s - m`` and its derivatives in m and s."""
    m, s = np.broadcast_arrays(np.asarray(m, np.float64), np.asarray(s, np.float64))
    return kappa * s - m, np.full(m.shape, -1.0), np.full(m.shape, float(kappa))


def acquisition(
    name: str, m: np.ndarray, s: np.ndarray, best: float, xi: float, kappa: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The function of this name, to be maximised, and its derivatives in m and s."""
    if name == "UCB":
        return upper_confidence_bound(m, s, kappa)
    if name == "PI":
        return log_probability_of_improvement(m, s, best - xi)
    return log_expected_improvement(m, s, best - xi)
