"""Sequences of symbols as integers, and how often each run of n symbols occurs in them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._validation import as_array, as_numbers

# Symbols that are counted at a time.
_BATCH = 1 << 20
# Codes of runs must stay below this, else runs are compared symbol by symbol.
_LARGEST_CODE = 2**62


class Batch(NamedTuple):
    """Sequences one after the other; those of weight 0 are empty.

    Attributes
    ----------
    codes : ndarray of shape (T,), int64
        Symbols as integers.
    lengths : ndarray of shape (S,), int64
        Length of each sequence.
    weights : ndarray of shape (S,), float64, or None
        Weight of each sequence.
    """

    codes: np.ndarray
    lengths: np.ndarray
    weights: np.ndarray | None


class SymbolTable:
    """Integer codes of symbols, in order of first appearance.

    Parameters
    ----------
    symbols : iterable of hashable, optional
        Known from the start.
    fixed : bool, default=False
        Whether other symbols are an error.
    owner : str, default="MarkovChain"
        The class or function that error messages name.
    """

    def __init__(
        self, symbols: Iterable[Any] = (), *, fixed: bool = False, owner: str = "MarkovChain"
    ) -> None:
        self.owner = owner
        self.codes: dict[Hashable, int] = {}
        self._fixed = False
        self.encode(as_list(symbols))
        self._fixed = fixed

    def encode(self, sequence: Any) -> np.ndarray:
        """Codes of one sequence: a str, list, tuple or 1-D array of symbols."""
        if isinstance(sequence, str):
            points = np.frombuffer(sequence.encode("utf-32-le", "surrogatepass"), np.uint32)
            values, index = _distinct_values(points)
            return self._encode_list(list(map(chr, values)))[index]
        if isinstance(sequence, np.ndarray) and sequence.dtype.kind in "iubSUf":
            values, index = _distinct_values(sequence)
            return self._encode_list(values)[index]
        return self._encode_list(as_list(sequence))

    def _encode_list(self, symbols: list[Any]) -> np.ndarray:
        try:
            new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self.codes]
        except TypeError:
            for symbol in symbols:  # one of them cannot be hashed
                self._check_symbol(symbol)
            raise
        for symbol in new:
            self._check_symbol(symbol)
            if self._fixed:
                raise ValueError(
                    f"{self.owner}: symbols must be in classes_, got {symbol!r} (name symbols that "
                    f"may come later in the parameter classes)"
                )
            # Python's own numbers: NumPy's would differ in text and JSON.
            plain = symbol.item() if isinstance(symbol, np.number | np.bool_) else symbol
            self.codes[plain] = len(self.codes)
        return np.fromiter(map(self.codes.__getitem__, symbols), np.int64, len(symbols))

    def _check_symbol(self, symbol: Any) -> None:
        try:
            missing = symbol is np.ma.masked or bool(symbol != symbol)
        except TypeError:  # pandas.NA has no truth value
            missing = True
        except ValueError:  # an array, which is not hashable either
            missing = False
        if missing:
            raise ValueError(
                f"{self.owner}: symbols must not be missing, got {symbol!r} (split the sequence "
                f"there)"
            )
        try:
            hash(symbol)
        except TypeError as error:
            raise TypeError(
                f"{self.owner}: symbols must be hashable, got {type(symbol).__name__} (turn lists "
                f"into tuples)"
            ) from error

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Symbols as an array, sorted if comparable, and the place there of each code."""
        symbols: list[Any] = list(self.codes)
        try:
            order = sorted(range(len(symbols)), key=symbols.__getitem__)
        except TypeError:  # of several types: in order of appearance
            order = list(range(len(symbols)))
        rank = np.empty(len(symbols), dtype=np.int64)
        rank[order] = np.arange(len(symbols))
        return symbol_array([symbols[i] for i in order]), rank

    # --- reading ---

    def read(
        self, sequences: Any, lengths: Any = None, sample_weight: Any = None
    ) -> Iterator[Batch]:
        """Coded batches of sequences, in one pass; the arguments are those of `MarkovChain.fit`."""
        sequences, many = self._one_or_many(sequences)
        weights = None if sample_weight is None else self._checked_weights(sample_weight)
        if not many:
            yield self._split(sequences, lengths, weights)
            return
        if lengths is not None:
            raise ValueError(
                f"{self.owner}: lengths must be None for several sequences, got both (lengths "
                f"split one long sequence)"
            )
        codes: list[np.ndarray] = []
        first = size = 0
        for number, item in enumerate(sequences):
            if not _is_sequence(item):
                raise TypeError(
                    f"{self.owner}: sequences must be an iterable of lists or arrays of symbols, "
                    f"got {type(item).__name__} as sequence {number} (pass a list or an array for "
                    f"one sequence, list(text) for the characters of a text)"
                )
            if weights is not None and number == len(weights):
                self._check_count(weights, number + 1)
            ignored = weights is not None and weights[number] == 0
            codes.append(self.encode([] if ignored else self._flat(item)))
            size += len(codes[-1])
            if size >= _BATCH:
                yield _batch(codes, weights, first)
                codes, first, size = [], first + len(codes), 0
        if codes or not first:
            yield _batch(codes, weights, first)
        self._check_count(weights, first + len(codes))

    def _one_or_many(self, sequences: Any) -> tuple[Any, bool]:
        """The sequences, and whether they are several or one."""
        if isinstance(sequences, str):
            return sequences, False
        if _is_array(sequences):
            sequences = self._flat(sequences)
            if sequences.dtype != object or not sequences.size:
                return sequences, False
        elif callable(sequences):
            sequences = sequences()
        if not isinstance(sequences, Iterable):
            raise TypeError(
                f"{self.owner}: sequences must be an array, a str, a list or an iterable of "
                f"sequences, got {type(sequences).__name__}"
            )
        if not isinstance(sequences, list | tuple | np.ndarray):
            return sequences, True
        kinds = [_is_sequence(item) for item in sequences]
        if all(kinds):
            return sequences, True
        if any(kinds):
            place = kinds.index(False)
            raise ValueError(
                f"{self.owner}: sequences must be all symbols or all sequences, got "
                f"{type(sequences[place]).__name__} at place {place} (pass [symbols] for one "
                f"sequence of tuples and other symbols)"
            )
        flat = not isinstance(sequences, np.ndarray)
        if flat and any(isinstance(item, str) and len(item) != 1 for item in sequences):
            raise ValueError(
                f"{self.owner}: sequences must not be a flat list of texts, got one (pass [words] "
                f"for one sequence of words, [list(word) for word in words] for sequences of "
                f"characters)"
            )
        return sequences, False

    def _flat(self, sequence: Any) -> Any:
        """One sequence as a list, tuple or 1-D array."""
        if isinstance(sequence, list | tuple):
            return sequence
        array = as_array(sequence, "sequences", self.owner)
        missing = np.ma.getmaskarray(sequence) if np.ma.isMaskedArray(sequence) else np.False_
        if array.dtype == object and not isinstance(sequence, np.ndarray):
            # None is the null of Series and Arrow arrays; elsewhere it may be a symbol.
            missing = np.array([symbol is None for symbol in array.flat], dtype=bool)
        if missing.any():
            raise ValueError(
                f"{self.owner}: symbols must not be missing, got one at place "
                f"{int(missing.argmax())} (split the sequence there)"
            )
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise ValueError(
                f"{self.owner}: sequences must be 1-D arrays of symbols, got shape {array.shape} "
                f"(pass list(X) if each row is a sequence)"
            )
        return array

    def _split(self, sequence: Any, lengths: Any, weights: np.ndarray | None) -> Batch:
        T = len(sequence)
        cuts = np.array([T]) if lengths is None else self._checked_lengths(lengths, T)
        self._check_count(weights, len(cuts))
        if weights is not None and not weights.all():
            counted = np.repeat(weights > 0, cuts)
            if isinstance(sequence, np.ndarray):
                sequence = sequence[counted]
            else:
                sequence = list(compress(sequence, counted))
            cuts = np.where(weights > 0, cuts, 0)
        return Batch(self.encode(sequence), cuts, weights)

    def _checked_lengths(self, lengths: Any, T: int) -> np.ndarray:
        lengths = as_array(lengths, "lengths", self.owner)
        if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
            raise ValueError(
                f"{self.owner}: lengths must be whole numbers of shape (S,), got {lengths.dtype} "
                f"of shape {lengths.shape}"
            )
        # Each is compared too: a sum of huge ones wraps, and might be T by that.
        if (lengths < 0).any() or (lengths > T).any() or lengths.sum() != T:
            raise ValueError(
                f"{self.owner}: lengths must be at least 0 and add up to the {T} symbols, got a "
                f"sum of {sum(lengths.tolist())}"
            )
        return lengths.astype(np.int64)

    def _checked_weights(self, weights: Any) -> np.ndarray:
        weights = as_numbers(weights, "sample_weight", self.owner)
        if weights.ndim != 1:
            raise ValueError(
                f"{self.owner}: sample_weight must have shape (S,), got {weights.shape}"
            )
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            raise ValueError(
                f"{self.owner}: sample_weight must be finite and at least 0, got "
                f"{weights[bad][0]:g} for sequence {int(bad.argmax())}"
            )
        return weights

    def _check_count(self, weights: np.ndarray | None, sequences: int) -> None:
        if weights is not None and len(weights) != sequences:
            raise ValueError(
                f"{self.owner}: sample_weight must have one weight per sequence, got "
                f"{len(weights)} for {sequences} sequences"
            )


def _batch(codes: list[np.ndarray], weights: np.ndarray | None, first: int) -> Batch:
    part = None if weights is None else weights[first : first + len(codes)]
    joined = np.concatenate(codes) if codes else np.empty(0, dtype=np.int64)
    return Batch(joined, np.array([len(run) for run in codes], dtype=np.int64), part)


def _is_array(item: Any) -> bool:
    """Whether this is an array, Series or tensor; NumPy's scalars and masked constant are not."""
    return hasattr(item, "__array__") and getattr(item, "ndim", 1) != 0


def _is_sequence(item: Any) -> bool:
    return isinstance(item, list | tuple) or _is_array(item)


def as_list(symbols: Any) -> list[Any]:
    """Symbols as Python objects."""
    return symbols.tolist() if isinstance(symbols, np.ndarray) else list(symbols)


def symbol_array(symbols: list[Any]) -> np.ndarray:
    """Symbols as a 1-D array: numeric or text where all are, else of objects."""
    kinds = {type(symbol) for symbol in symbols}
    if len(kinds) == 1 and kinds <= {int, str, float, bool, bytes}:
        array = np.array(symbols)
        if array.dtype.kind in "iuUfbS" and array.tolist() == symbols:
            return array
    return object_array(symbols)


def object_array(items: list[Any]) -> np.ndarray:
    """A 1-D array of objects, tuples among them."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _distinct_values(x: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """The values of x in order of appearance, and for each entry of x the index of its value."""
    span = int(x.max()) - int(x.min()) + 1 if x.dtype.kind in "iub" and x.size else 0
    if 0 < span <= max(len(x), 1 << 16):  # a table: five times faster than sorting int64
        offset = x.astype(np.int64) if x.itemsize < 8 else x
        index = (offset - offset.min()).astype(np.int64)
        first = np.full(span, len(x))
        first[index[::-1]] = np.arange(len(x))[::-1]
    else:
        _, first, index = np.unique(x, return_index=True, return_inverse=True)
    order = np.argsort(first)[: int((first < len(x)).sum())]
    rank = np.empty(len(first), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return x[first[order]].tolist(), rank[index]


# --- counting -------------------------------------------------------------------------------------


class Grams(NamedTuple):
    """Runs of n symbols and how often each occurs.

    Attributes
    ----------
    rows : ndarray of shape (U, n), int64
        Distinct runs, in lexicographic order.
    counts : ndarray of shape (U,), float64
        Weighted numbers of occurrences.
    """

    rows: np.ndarray
    counts: np.ndarray


def no_grams(n: int) -> Grams:
    """Runs of n symbols, none so far."""
    return Grams(np.empty((0, n), dtype=np.int64), np.empty(0))


def add_grams(a: Grams, b: Grams) -> Grams:
    """The counts of two sets of sequences together."""
    if not len(a.rows):
        return b
    return distinct(np.concatenate([a.rows, b.rows]), np.concatenate([a.counts, b.counts]))


def distinct(rows: np.ndarray, counts: np.ndarray | None) -> Grams:
    """Equal runs as one, with the sum of their counts (1 each if None)."""
    n = rows.shape[1]
    base = int(rows.max(initial=0)) + 1
    if base**n >= _LARGEST_CODE:
        runs, inverse = np.unique(rows, axis=0, return_inverse=True)
        return Grams(runs, np.bincount(inverse.ravel(), weights=counts).astype(np.float64))
    codes = encoded(rows, base)
    if base**n <= max(4 * len(rows), 1 << 16):  # a table is faster than sorting
        seen = np.flatnonzero(np.bincount(codes, minlength=1))
        total = np.bincount(codes, weights=counts)[seen]
    else:
        seen, inverse = np.unique(codes, return_inverse=True)
        total = np.bincount(inverse, weights=counts)
    return Grams(decoded(seen, base, n), total.astype(np.float64))


def count_grams(batch: Batch, n: int) -> Grams:
    """Runs of n symbols that lie within a sequence."""
    codes, lengths, weights = batch
    starts, owners = gram_starts(lengths, n)
    rows = codes[starts[:, None] + np.arange(n)]
    return distinct(rows, None if weights is None else weights[owners])


def gram_starts(lengths: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of n symbols within a sequence start, and to which sequence each belongs."""
    number = np.maximum(lengths - n + 1, 0)
    owners = np.repeat(np.arange(len(lengths)), number)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(number) - number, number)
    return np.repeat(np.cumsum(lengths) - lengths, number) + place, owners


def count_starts(batch: Batch, n: int) -> Grams:
    """First n symbols of the sequences that have as many."""
    codes, lengths, weights = batch
    long = lengths >= n
    starts = (np.cumsum(lengths) - lengths)[long]
    rows = codes[starts[:, None] + np.arange(n)]
    return distinct(rows, None if weights is None else weights[long])


def encoded(rows: np.ndarray, M: int) -> np.ndarray:
    """Windows (rows of n class indices) as numbers to base M."""
    codes = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        codes *= M
        codes += column
    return codes


def decoded(codes: np.ndarray, M: int, n: int) -> np.ndarray:
    """The inverse of `encoded`, for windows of n."""
    windows = np.empty((len(codes), n), dtype=np.int64)
    for place in range(n - 1, -1, -1):
        codes, windows[:, place] = np.divmod(codes, M)
    return windows
