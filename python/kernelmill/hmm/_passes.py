"""Passes over sequences: the E-step, scores, posteriors, filtered states and paths.

A pass takes what was observed in some whole sequences, their lengths and weights, a chain and an
emission. In memory `Sequences` runs it on groups of sequences, one after the other; `Stream` runs
it on the chunks of a source, each one sequence. The functions stand at module level, so that Dask
can send them to its workers.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kernelmill._arrays import is_cupy
from kernelmill._estimator._device import namespace, to_host
from kernelmill.ops import hmm
from kernelmill.stream._source import Fold, add_up

# Entries of the (T, K) matrices of one group of sequences: 128 MiB each.
_GROUP_ENTRIES = 1 << 24
# Rows that decide a start; more of them would not make it better, only later.
MOST_ROWS = 1 << 15


class Chain(NamedTuple):
    """The hidden chain; rows need not be normalised."""

    startprob: np.ndarray
    transmat: np.ndarray


class Expected(NamedTuple):
    """What an E-step finds; it adds up over sequences.

    Attributes
    ----------
    log_prob : float
        Weighted log-likelihood of the possible sequences.
    impossible : int
        Sequences without probability.
    starts : ndarray of shape (K,)
    transitions : ndarray of shape (K, K)
    rows : int
        Rows of the sequences.
    emissions : array, or tuple of these
        Statistics of the emission.
    """

    log_prob: float
    impossible: int
    starts: np.ndarray
    transitions: np.ndarray
    rows: int
    emissions: Any


def _call(op: Any, density: Any, *arrays: Any) -> Any:
    """Call an op with its small arguments where the log densities are."""
    if is_cupy(density):
        xp = namespace(density)
        arrays = tuple(xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays)
    return op(density, *arrays)


def expectation(
    observed: Any, lengths: np.ndarray, weight: Any, chain: Chain, emission: Any
) -> Expected:
    """The E-step on some sequences."""
    density, kept = emission.log_density(observed)
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
        gamma *= namespace(gamma).asarray(np.repeat(weight, lengths))[:, None]
    emissions = emission.statistics(observed, gamma, kept)
    return Expected(
        total,
        int((~possible).sum()),
        to_host(starts),
        to_host(transitions),
        int(lengths.sum()),
        emissions,
    )


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
    ends = np.cumsum(lengths) - 1
    found = np.tile(chain.startprob, (len(lengths), 1))
    some = lengths > 0
    found[some] = to_host(filtered[namespace(filtered).asarray(ends[some])]) @ chain.transmat
    return found


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
    xp = namespace(gamma)
    largest = np.r_[0.0, np.cumsum(to_host(gamma.max(axis=1)))]
    ends = np.cumsum(lengths)
    return largest[ends] - largest[ends - lengths], gamma.argmax(axis=1).astype(xp.int32)


def _of_chunk(
    X: Any, observe: Callable, run: Callable, *state: Any, sample_weight: Any = None
) -> Any:
    """A pass over one chunk of a source, which is one sequence."""
    lengths = np.array([X.shape[0]], dtype=np.int64)
    weight = None if sample_weight is None else np.asarray(sample_weight[:1], dtype=np.float64)
    return run(observe(X), lengths, weight, *state)


def _if_weighted(X: Any, op: Callable, *state: Any, sample_weight: Any = None) -> list[Any]:
    """What an op gives for a chunk, in a list; nothing for a sequence of weight 0."""
    if sample_weight is not None and not sample_weight[0] > 0:
        return []
    return [op(X, *state, sample_weight=sample_weight)]


def _add_lists(total: list[Any], part: list[Any]) -> list[Any]:
    """Merge lists of at most one result by adding these up."""
    return [add_up(total[0], part[0])] if total and part else total or part


def _has_weight(X: Any, sample_weight: Any = None) -> np.ndarray:
    return np.array([sample_weight is None or sample_weight[0] > 0])


def _joined(total: np.ndarray, part: np.ndarray) -> np.ndarray:
    return np.concatenate([total, part])


def _largest_symbol(X: Any, as_codes: Callable, sample_weight: Any = None) -> int:
    codes = as_codes(X)
    return int(codes.max()) if len(codes) else -1


class Sequences:
    """Sequences in memory, one after the other in X; none of them has weight 0.

    Parameters
    ----------
    X : array of shape (T, d)
    lengths : ndarray of shape (S,), int64
    weight : ndarray of shape (S,), float64, or None
    observe : callable
        ``observe(rows, first_row=...)`` makes of rows what an emission takes.
    n_states : int
        Decides how many sequences go into a group.

    Attributes
    ----------
    n_rows, n_sequences : int
        Rows, and sequences that have any.
    d : int
        Features; of symbols how many there are.
    kept : ndarray of bool, or None
        Which rows of what the user passed these are, None for all of them: a weight of 0 is no
        sequence.
    """

    def __init__(
        self,
        X: Any,
        lengths: np.ndarray,
        weight: Any,
        observe: Callable,
        n_states: int,
        d: int,
        kept: np.ndarray | None = None,
    ) -> None:
        self._X = X
        self.d = d
        self.kept = kept
        self.n_rows, self.n_sequences = len(X), int((lengths > 0).sum())
        self._parts = []
        ends = np.cumsum(lengths)
        first = 0
        for start, stop in _groups(lengths, max(1, _GROUP_ENTRIES // max(1, n_states))):
            end = int(ends[stop - 1])
            rows = X if end - first == len(X) else X[first:end]
            part_weight = None if weight is None else weight[start:stop]
            place = first if kept is None else np.flatnonzero(kept)[first:end]
            self._parts.append((observe(rows, first_row=place), lengths[start:stop], part_weight))
            first = end

    def reduce(self, run: Callable, *state: Any) -> Any:
        """The sum of a pass over all groups."""
        fold = Fold()
        for part in self._parts:
            fold.add(run(*part, *state))
        return fold.total

    def map(self, run: Callable, *state: Any) -> Iterator[Any]:
        """What a pass gives for each group."""
        for part in self._parts:
            yield run(*part, *state)

    @functools.cached_property
    def some_rows(self) -> Any:
        """At most `MOST_ROWS` of the rows, on the host, in their order, the same ones each time."""
        return to_host(self._X[_drawn(len(self._X))])


def _drawn(rows: int) -> Any:
    """Which rows decide a start."""
    if rows <= MOST_ROWS:
        return slice(None)
    drawn = np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False, shuffle=False)
    return np.sort(drawn)


def _groups(lengths: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Ranges of sequences with at most so many rows, or a single longer one."""
    if int(lengths.sum()) <= most:
        return [(0, len(lengths))]
    found, start, count = [], 0, 0
    for s, length in enumerate(lengths.tolist()):
        if count and count + length > most:
            found.append((start, s))
            start, count = s, 0
        count += length
    return [*found, (start, len(lengths))]


class Stream:
    """Sequences that are the chunks of a source; the interface of `Sequences`.

    Where `weighted` is set the source may have weights, and passes leave out chunks of weight 0.
    """

    def __init__(self, opened: Any, observe: Callable, d: int, weighted: bool) -> None:
        self._opened = opened
        self._observe = observe
        self.d = d
        self._weighted = weighted

    @functools.cached_property
    def kept(self) -> np.ndarray | None:
        if not self._weighted:
            return None
        used = self._opened.map_reduce(_has_weight, merge=_joined)
        if not used.any():
            raise ValueError(
                f"{self._opened._owner}: sample_weight must be positive for a sequence that has "
                f"rows, got only zeros"
            )
        return None if used.all() else np.repeat(used, self._sizes)

    @property
    def _sizes(self) -> list[int]:
        return [size for size in self._opened.chunk_lengths() if size]

    @property
    def n_rows(self) -> int:
        return self._opened.count_rows() if self.kept is None else int(self.kept.sum())

    @property
    def n_sequences(self) -> int:
        if self.kept is None:
            return len(self._sizes)
        return int(self.kept[np.cumsum(self._sizes) - 1].sum())

    def reduce(self, run: Callable, *state: Any) -> Any:
        op = (_of_chunk, self._observe, run, *state)
        if not self._weighted:
            return self._opened.map_reduce(*op)
        return self._opened.map_reduce(_if_weighted, *op, merge=_add_lists)[0]

    def map(self, run: Callable, *state: Any) -> Iterator[Any]:
        op = (_of_chunk, self._observe, run, *state)
        if not self._weighted:
            yield from self._opened.map(*op)
        else:
            yield from self._opened.map_reduce(_if_weighted, *op, merge=operator.add)

    @functools.cached_property
    def some_rows(self) -> Any:
        if self.kept is None:
            return to_host(self._opened.sample(min(MOST_ROWS, self.n_rows), 0)[0])
        rows = np.flatnonzero(self.kept)
        return to_host(self._opened.take(rows[_drawn(len(rows))]))


def largest_symbol(opened: Any, as_codes: Callable) -> int:
    """The largest symbol of a stream in sequences with weight, -1 where none was observed."""
    found = opened.map_reduce(_if_weighted, _largest_symbol, as_codes, merge=max)
    return max(found, default=-1)
