"""Dirichlet distributions: where fits start, modes and log densities."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn.utils import check_random_state

from kernelmill._estimator._random import legacy_state, seed_of


def start_numbers(random_state: Any) -> np.random.RandomState:
    """Random numbers for starts: those that hmmlearn draws from the same ``random_state``."""
    if isinstance(random_state, np.random.Generator):
        return legacy_state(seed_of(random_state), 0)
    return check_random_state(random_state)


def dirichlet_start(numbers: np.random.RandomState, K: int, size: int | None = None) -> np.ndarray:
    """Distributions from a Dirichlet with parameters 1 / K, without exact zeros.

    For many states such numbers underflow to 0, and a zero would be kept through the fit.
    """
    drawn = np.atleast_1d(numbers.dirichlet(np.full(K, 1.0 / K), size=size))
    drawn = np.where(np.isfinite(drawn), drawn, 1.0 / K)
    return np.maximum(drawn, np.finfo(np.float64).tiny)


def soft_shares(numbers: np.random.RandomState, K: int, size: int | None = None) -> np.ndarray:
    """Distributions near the uniform one, which commit a fit to nothing: (K,) or (size, K)."""
    return numbers.dirichlet(np.full(K, 10.0), size=size)


def dirichlet_mode(
    prior: Any, counts: np.ndarray, before: np.ndarray, keep_zeros: bool = False
) -> np.ndarray:
    """The most probable distributions after some counts, along the last axis.

    ``p ~ max(prior - 1 + counts, 0)``: where the sum is negative the maximum lies on the border.

    Parameters
    ----------
    prior : float or array
        Parameters of the Dirichlet distribution.
    before : ndarray
        The distributions so far: what is left of those without any mass.
    keep_zeros : bool
        Whether entries that are 0 stay 0.
    """
    mass = np.maximum(prior - 1.0 + counts, 0.0)
    if keep_zeros:
        mass = np.where(before == 0, 0.0, mass)
    total = mass.sum(axis=-1, keepdims=True)
    filled = total > np.finfo(np.float64).tiny
    return np.where(filled, mass / np.where(filled, total, 1.0), before)


def dirichlet_log_prior(prior: Any, p: np.ndarray, skip_zeros: bool = True) -> float:
    """``sum (prior - 1) log p``, over positive entries only where `skip_zeros` is set."""
    excess = np.asarray(prior, dtype=np.float64) - 1.0
    if not excess.any():
        return 0.0
    weight = np.broadcast_to(excess, p.shape)
    if skip_zeros or (weight < 0).any():
        weight = np.where(p > 0, weight, 0.0)
    return float(xlogy(weight, np.where(weight == 0, 1.0, p)).sum())
