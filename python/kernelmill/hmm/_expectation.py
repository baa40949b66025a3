"""Passes over sequences: the E-step, scores, posteriors, filtered states and paths.

A pass takes what was observed in some whole sequences, their lengths and weights, a chain and an
emission; `kernelmill.hmm._sequences` runs it. The functions stand at module level, so that Dask can
send them to its workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import beside, namespace, to_host
from kernelmill.ops import hmm


class Chain(NamedTuple):
    """The hidden chain; rows need not be normalised."""

    startprob: np.ndarray
    transmat: np.ndarray


class Expected(NamedTuple):
    """The result of an E-step; it adds up over sequences.

    Attributes
    ----------
    log_prob : float
        Weighted log-likelihood of the possible sequences.
    impossible : int
        Sequences of probability 0.
    starts : ndarray of shape (K,)
    transitions : ndarray of shape (K, K)
    emissions : array, or tuple of these
        Statistics of the emission.
    """

    log_prob: float
    impossible: int
    starts: np.ndarray
    transitions: np.ndarray
    emissions: Any


def _call(op: Callable, density: Any, *arrays: Any) -> Any:
    """Call an op with its small arguments where the log densities are."""
    return op(density, *(beside(array, density) for array in arrays))


def expectation(
    observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any
) -> Expected:
    """The E-step on some sequences."""
    density, shares = emission.log_density(observed)
    gamma, log_prob, starts, transitions = _call(
        hmm.posteriors, density, chain.startprob, chain.transmat, lengths, weight
    )
    del density
    log_prob = to_host(log_prob)
    possible = log_prob != -np.inf
    if weight is None:
        total = float(log_prob[possible].sum())
    else:
        total = float((weight * np.where(possible, log_prob, 0.0)).sum())
        gamma *= beside(np.repeat(weight, lengths), gamma)[:, None]
    emissions = emission.statistics(observed, gamma, shares)
    impossible = int((~possible).sum())
    return Expected(total, impossible, to_host(starts), to_host(transitions), emissions)


def scores(observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any) -> Any:
    """Log-likelihood of each sequence, (S,)."""
    density = emission.log_density(observed)[0]
    return to_host(_call(hmm.forward, density, chain.startprob, chain.transmat, lengths)[1])


def smoothed(
    observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any
) -> tuple[np.ndarray, Any]:
    """Log-likelihood of each sequence and posterior probabilities of states, (S,) and (T, K)."""
    density = emission.log_density(observed)[0]
    gamma, log_prob = _call(hmm.posteriors, density, chain.startprob, chain.transmat, lengths)[:2]
    return to_host(log_prob), gamma


def last_filtered(
    observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any
) -> np.ndarray:
    """Probabilities of the state after the end of each sequence, (S, K)."""
    density = emission.log_density(observed)[0]
    filtered = _call(hmm.forward, density, chain.startprob, chain.transmat, lengths)[0]
    states = np.tile(chain.startprob, (len(lengths), 1))
    some = lengths > 0
    ends = beside(np.cumsum(lengths)[some] - 1, filtered)
    states[some] = to_host(filtered[ends]) @ chain.transmat
    return states


def paths(
    observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any
) -> tuple[np.ndarray, Any]:
    """Log-probability of the best path of each sequence and the paths, (S,) and (T,)."""
    density = emission.log_density(observed)[0]
    with np.errstate(divide="ignore"):
        logs = np.log(chain.startprob), np.log(chain.transmat)
    states, log_prob = _call(hmm.viterbi, density, *logs, lengths)
    return to_host(log_prob), states


def best_states(
    observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any
) -> tuple[np.ndarray, Any]:
    """Sum of the largest posteriors of each sequence and the states they are of."""
    gamma = smoothed(observed, lengths, weight, chain, emission)[1]
    largest = np.r_[0.0, np.cumsum(to_host(gamma.max(axis=1)))]
    ends = np.cumsum(lengths)
    states = gamma.argmax(axis=1).astype(namespace(gamma).int32)
    return largest[ends] - largest[ends - lengths], states
