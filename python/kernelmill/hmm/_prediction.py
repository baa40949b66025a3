"""What comes next: states and observations some steps ahead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._parameters import is_integer, is_real, shown
from kernelmill._estimator._validation import as_array

# Bisections of an interval; from the widest to the smallest float64 there are 2100 halvings.
_MOST = 2200


class Prediction(NamedTuple):
    """Prediction of a step ahead.

    The axes in front are one for the sequences (of a model's ``predict_next``) and one for the
    steps (where they are an array).

    Attributes
    ----------
    states : ndarray of shape (..., K)
        Probabilities of the state.
    mean : ndarray of shape (..., m)
        Expected observation; for categorical models the distribution of the symbol.
    variance : ndarray of shape (..., m)
        Variance of each of its entries; for categorical models of the indicators of the symbols.
    quantiles : ndarray of shape (..., Q, m) or (..., m), or None
        Quantiles of each entry, where they were asked for.
    """

    states: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    quantiles: np.ndarray | None = None


def predicted(
    owner: str, states: np.ndarray, transmat: np.ndarray, emission: Any, steps: Any, quantiles: Any
) -> Prediction:
    """The prediction from probabilities of the next state.

    Parameters
    ----------
    owner : str
        Name of the model in messages.
    states : ndarray of shape (..., K)
        Probabilities of the next state.
    emission : object
        See `kernelmill.hmm._emissions`.
    steps : int or array-like of int
        How many steps ahead; 1 is the next.
    quantiles : float, array-like of float, or None
        Levels of the quantiles.
    """
    states = _ahead(states, transmat, _checked_steps(owner, steps))
    mean = states @ emission.means
    # E[Var] + Var[E] about the mean itself, so that nothing cancels.
    spread = emission.variances + (emission.means - mean[..., None, :]) ** 2
    variance = (states[..., None, :] @ spread)[..., 0, :]
    if quantiles is None:
        return Prediction(states, mean, variance)
    levels = _checked_levels(owner, quantiles, emission)
    shares = emission.shares(states.reshape(-1, states.shape[-1]))
    flat_mean, flat_variance = (x.reshape(-1, x.shape[-1]) for x in (mean, variance))
    values = np.empty((len(shares), levels.size, mean.shape[-1]))
    for j in range(mean.shape[-1]):
        for q, level in enumerate(levels.flat):
            moments = flat_mean[:, j], np.sqrt(flat_variance[:, j])
            values[:, q, j] = _quantile(emission, shares, j, float(level), *moments)
    shape = (*mean.shape[:-1], *levels.shape, mean.shape[-1])
    return Prediction(states, mean, variance, values.reshape(shape))


def _checked_steps(owner: str, steps: Any) -> np.ndarray:
    array = np.asarray(steps) if is_integer(steps) else as_array(steps, "steps", owner)
    if array.ndim > 1 or array.dtype.kind not in "iu" or (array < 1).any():
        raise ValueError(
            f"{owner}: steps must be a whole number of at least 1, or an array of these, got "
            f"{shown(steps)}"
        )
    return array


def _checked_levels(owner: str, quantiles: Any, emission: Any) -> np.ndarray:
    if emission.no_quantiles:
        raise ValueError(
            f"{owner}: quantiles must be None where {emission.no_quantiles}, got {shown(quantiles)}"
        )
    number = is_real(quantiles)
    levels = np.asarray(quantiles) if number else as_array(quantiles, "quantiles", owner)
    if levels.ndim > 1 or levels.dtype.kind != "f" or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(
            f"{owner}: quantiles must be a number above 0 and below 1, or an array of these, got "
            f"{shown(quantiles)}"
        )
    return levels


def _ahead(states: np.ndarray, transmat: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Probabilities of the state after each number of steps, which gives an axis before the last.
    """
    found = np.empty((*states.shape[:-1], steps.size, states.shape[-1]))
    at = 1
    for place in np.argsort(steps, axis=None, kind="stable"):
        wanted = int(steps.flat[place])
        states = states @ np.linalg.matrix_power(transmat, wanted - at)
        states = states / states.sum(axis=-1, keepdims=True)  # rows of transmat sum to 1 roughly
        at, found[..., place, :] = wanted, states
    return found if steps.ndim else found[..., 0, :]


def _quantile(
    emission: Any, shares: np.ndarray, j: int, level: float, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """The least value of feature j that is not exceeded with probability `level`, (n,).

    Cantelli's inequality bounds it, and bisection finds it.
    """
    slack = 1e-9 * (np.abs(mean) + deviation)
    low = mean - deviation * np.sqrt((1 - level) / level) - slack
    high = mean + deviation * np.sqrt(level / (1 - level)) + slack
    if emission.is_whole:
        low, high = np.floor(low) - 1.0, np.ceil(high)
    for _ in range(_MOST):
        middle = low + (high - low) / 2
        if emission.is_whole:
            middle = np.floor(middle)
        if ((middle <= low) | (middle >= high)).all():
            break
        if level <= 0.5 or emission.is_whole:
            # Rounding of the sum must not pass over a whole number that reaches the level.
            reached = (shares * emission.below(middle, j)).sum(axis=1) >= level * (1 - 1e-14)
        else:  # the tail keeps its digits
            reached = (shares * emission.above(middle, j)).sum(axis=1) <= 1 - level
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
