"""`Sequences`: rows cut into sequences, each with a weight, in memory or as the chunks of a stream.

A pass of `kernelmill.hmm._expectation` is a function of some whole sequences. In memory it runs on
groups of sequences that stand one after the other, in a stream on chunks, each one sequence.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kernelmill._arrays import to_host
from kernelmill._estimator._parameters import is_integer
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import as_array
from kernelmill.hmm._observations import observed_columns
from kernelmill.stream._source import Fold, add_up

# Entries of the (T, K) matrices of one group of sequences: 128 MiB each.
_GROUP_ENTRIES = 1 << 24
# Rows that decide a start; more of them would not make it better, only later.
MOST_ROWS = 1 << 15


def check_lengths(owner: str, lengths: Any, rows: int) -> np.ndarray:
    """Lengths of the sequences in X as int64; one sequence where None is given."""
    if lengths is None:
        return np.array([rows], dtype=np.int64)
    if is_integer(lengths):
        lengths = [lengths]
    array = as_array(lengths, "lengths", owner)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{owner}: lengths must be whole numbers, one for each sequence, got {array.dtype} of "
            f"shape {array.shape} (they say how many rows of X belong to each sequence)"
        )
    if (array < 0).any():
        raise ValueError(f"{owner}: lengths must be at least 0, got {int(array.min())}")
    # Each is compared too: a sum of huge ones wraps, and might be that of the rows by that.
    if (array > rows).any() or int(array.sum()) != rows:
        raise ValueError(
            f"{owner}: lengths must add up to the {rows} rows of X, got a sum of "
            f"{sum(array.tolist())} (an array of lengths doesn't sum to the number of rows)"
        )
    return array.astype(np.int64)


def check_sequence_weight(owner: str, weight: Any, sequences: int) -> np.ndarray | None:
    """Weights of the sequences as float64, or None."""
    if weight is None:
        return None
    array = as_array(weight, "sample_weight", owner)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{owner}: sample_weight must be numeric, got dtype {array.dtype}")
    if array.shape != (sequences,):
        raise ValueError(
            f"{owner}: sample_weight must have shape ({sequences},), one for each sequence, got "
            f"{array.shape} (rows of a sequence share its weight)"
        )
    array = array.astype(np.float64)
    good = (array >= 0) & (array < np.inf)
    if not good.all():
        s = int((~good).argmax())
        raise ValueError(
            f"{owner}: sample_weight must be finite and not negative, got {array[s]:g} for "
            f"sequence {s}"
        )
    if not (array > 0).any():
        raise ValueError(f"{owner}: sample_weight must have a positive sum, got only zeros")
    return array


class Sequences:
    """Rows in sequences; those with zero weight are ignored in a fit.

    Parameters
    ----------
    rows : Rows
    lengths : ndarray of shape (S,), int64, or None
        None for a stream, whose chunks are the sequences and bring their weights.
    weight : ndarray of shape (S,), float64, or None
    observe : callable
        ``observe(rows, first_row=...)`` makes of rows what an emission takes.
    n_states : int
        Decides how many sequences go into a group.

    Attributes
    ----------
    rows : Rows
        In memory only those of sequences with weight.
    width : int
        Features; for symbols the caller sets how many symbols there are.
    """

    def __init__(
        self, rows: Rows, lengths: np.ndarray | None, weight: Any, observe: Callable, n_states: int
    ) -> None:
        self._observe = observe
        self.width = rows.n_features
        if lengths is not None:
            self.used = None
            if weight is not None and not weight.all():
                self.used = self._some(np.repeat(weight > 0, lengths), rows.owner)
                rows = rows.part(rows.xp.asarray(self.used))
                lengths, weight = lengths[weight > 0], weight[weight > 0]
            most = max(1, _GROUP_ENTRIES // max(1, n_states))
            self._lengths = lengths
            self._groups = list(self._grouped(rows.X, lengths, weight, most))
        self.rows = rows

    def _grouped(
        self, X: Any, lengths: np.ndarray, weight: Any, most: int
    ) -> Iterator[tuple[Any, np.ndarray, Any]]:
        """What was observed, lengths and weights of each group of sequences."""
        places = None if self.used is None else np.flatnonzero(self.used)
        if len(X) <= most:
            yield self._observe(X, first_row=0 if places is None else places), lengths, weight
            return
        ends = np.cumsum(lengths)
        first = 0
        for start, stop in _ranges(lengths, most):
            end = int(ends[stop - 1])
            place = first if places is None else places[first:end]
            part = None if weight is None else weight[start:stop]
            yield self._observe(X[first:end], first_row=place), lengths[start:stop], part
            first = end

    @staticmethod
    def _some(used: np.ndarray, owner: str) -> np.ndarray:
        if not used.any():
            raise ValueError(
                f"{owner}: sample_weight must be positive for a sequence that has rows, got only "
                f"zeros"
            )
        return used

    # --- rows ------------------------------------------------------------------------------------

    @functools.cached_property
    def _chunks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a stream: rows of the chunks, which have weight, and which columns have values."""
        summaries = self.rows.map_reduce(_summary_of_chunk, self._observe, merge=_extended)
        sizes, weighted, columns = (np.array(part) for part in zip(*summaries, strict=True))
        return sizes, self._some(weighted, self.rows.owner), columns

    @functools.cached_property
    def used(self) -> np.ndarray | None:
        """Which rows of the user's X have weight, as a mask; None for all of them."""
        sizes, weighted, _ = self._chunks
        return None if weighted.all() else np.repeat(weighted, sizes)

    @functools.cached_property
    def n_sequences(self) -> int:
        """Sequences that have rows, and weight."""
        return int(self._chunks[1].sum() if self.rows.is_stream else (self._lengths > 0).sum())

    @property
    def observed_columns(self) -> np.ndarray:
        """Which columns have a value in a sequence with weight, (d,)."""
        if self.rows.is_stream:
            _, weighted, columns = self._chunks
            return columns[weighted].any(axis=0)
        return np.any([observed_columns(group[0]) for group in self._groups], axis=0)

    @property
    def count(self) -> int:
        """Number of rows with weight."""
        return self.rows.count if self.used is None else int(self.used.sum())

    @functools.cached_property
    def some_rows(self) -> Any:
        """At most `MOST_ROWS` of the rows, on the host, in their order, the same ones each time."""
        n, places = self.count, None
        if n > MOST_ROWS:
            drawn = np.random.default_rng(0).choice(n, MOST_ROWS, replace=False, shuffle=False)
            places = np.sort(drawn)
        if self.rows.is_stream:
            all_places = np.arange(n) if self.used is None else np.flatnonzero(self.used)
            places = all_places if places is None else all_places[places]
        return to_host(self.rows.X if places is None else self.rows.take(places))

    # --- passes ----------------------------------------------------------------------------------

    def map_reduce(self, run: Callable, *state: Any, merge: Callable | None = None) -> Any:
        """Add up, or merge, ``run(observed, lengths, weight, *state)`` over sequences with weight.

        Parameters
        ----------
        run : callable
            A pass; its result is on the host.
        *state
            Passed on, such as the chain and the emission.
        merge : callable, optional
            ``merge(total, part) -> total``; by default the elementwise sum.
        """
        if self.rows.is_stream:
            both = functools.partial(_merged, merge=merge or add_up)
            return self.rows.map_reduce(_of_chunk, self._observe, run, state, merge=both)[0]
        fold = Fold(merge)
        for group in self._groups:
            fold.add(run(*group, *state))
        return fold.total

    def map(self, run: Callable, *state: Any) -> list[Any]:
        """Results of a pass for each group or chunk, in their order, weights left aside."""
        if self.rows.is_stream:
            op = (_of_chunk, self._observe, run, state)
            return self.rows.map_reduce(*op, merge=_extended, weighted=False)
        return [run(*group, *state) for group in self._groups]


def _ranges(lengths: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Ranges of sequences with at most so many rows, or a single longer one."""
    ranges, start, count = [], 0, 0
    for s, length in enumerate(lengths.tolist()):
        if count and count + length > most:
            ranges.append((start, s))
            start, count = s, 0
        count += length
    return [*ranges, (start, len(lengths))]


def _summary_of_chunk(
    X: Any, observe: Callable, sample_weight: Any = None
) -> list[tuple[int, bool, np.ndarray]]:
    weighted = sample_weight is None or bool(sample_weight[0] > 0)
    return [(X.shape[0], weighted, observed_columns(observe(X)))]


def _of_chunk(
    X: Any, observe: Callable, run: Callable, state: tuple, sample_weight: Any = None,
    weighted: bool = True
) -> list[Any]:
    """The result of a pass over one chunk of a stream in a list; none where it has no weight."""
    weight = None
    if weighted and sample_weight is not None:
        weight = np.asarray(to_host(sample_weight[:1]), dtype=np.float64)
        if not weight[0] > 0:
            return []
    return [to_host(run(observe(X), np.array([X.shape[0]], dtype=np.int64), weight, *state))]


def _merged(total: list[Any], part: list[Any], merge: Callable) -> list[Any]:
    """Lists of at most one result as one."""
    return [merge(total[0], part[0])] if total and part else total or part


def _extended(total: list[Any], part: list[Any]) -> list[Any]:
    total.extend(part)
    return total
