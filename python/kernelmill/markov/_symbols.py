"""Sequences of symbols as integers, and how often each run of symbols occurs in them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._validation import as_array, as_numbers

# Symbols of a stream that are counted at a time.
_BATCH = 1 << 20
# Codes of runs must stay below this, else runs are compared symbol by symbol.
_LARGEST_CODE = 2**62


class Batch(NamedTuple):
    """Sequences one after the other.

    Attributes
    ----------
    symbols : ndarray of shape (T,)
        Codes (int64), or symbols before they are coded.
    lengths : ndarray of shape (S,), int64
        Length of each sequence.
    weights : ndarray of shape (S,), float64, or None
        Weight of each sequence.
    """

    symbols: Any
    lengths: np.ndarray
    weights: np.ndarray | None


class SymbolTable:
    """Codes of symbols, in order of first appearance.

    Parameters
    ----------
    symbols : iterable of hashable, optional
        Known from the start.
    owner : str, default="MarkovChain"
        What errors call the caller.
    """

    def __init__(self, symbols: Iterable[Any] = (), owner: str = "MarkovChain") -> None:
        self.owner = owner
        self.codes: dict[Hashable, int] = {}
        for symbol in as_list(symbols):
            self._add(symbol)

    def _add(self, symbol: Any) -> int:
        try:
            missing = symbol is np.ma.masked or bool(symbol != symbol)
        except TypeError:  # pandas.NA does not even say
            missing = True
        except ValueError:  # an array, which is not hashable either
            missing = False
        if missing:
            raise ValueError(
                f"{self.owner}: symbols must not be missing, got {symbol!r} (cut the sequence in "
                f"two there)"
            )
        try:
            hash(symbol)
        except TypeError as error:
            raise TypeError(
                f"{self.owner}: symbols must be hashable, got {type(symbol).__name__} (turn lists "
                f"into tuples)"
            ) from error
        return self.codes.setdefault(symbol, len(self.codes))

    def encode(self, sequence: Any, *, grow: bool) -> np.ndarray:
        """Codes of one run of symbols; a new symbol gets the next code, or raises.

        Parameters
        ----------
        sequence : ndarray of shape (T,), str or sequence
            Symbols.
        grow : bool
            Whether new symbols are let in.
        """
        if isinstance(sequence, np.ndarray) and sequence.dtype.kind in "iubSUf":
            symbols, inverse = np.unique(sequence, return_inverse=True)
            # In order of appearance, as a list of the same symbols would be coded.
            first = np.empty(len(symbols), dtype=np.int64)
            first[inverse[::-1]] = np.arange(len(sequence))[::-1]
            found = np.empty(len(symbols), dtype=np.int64)
            order = np.argsort(first)
            found[order] = self._encode_list(symbols[order].tolist(), grow)
            return found[inverse]
        return self._encode_list(as_list(sequence), grow)

    def _encode_list(self, symbols: list[Any], grow: bool) -> np.ndarray:
        codes = self.codes
        try:
            return np.fromiter((codes[s] for s in symbols), dtype=np.int64, count=len(symbols))
        except (KeyError, TypeError):
            pass
        if grow:
            return np.fromiter(map(self._add, symbols), dtype=np.int64, count=len(symbols))
        for symbol in symbols:
            known = len(codes)
            if self._add(symbol) == known:
                del codes[symbol]
                raise ValueError(
                    f"{self.owner}: symbols must be among the {known} of classes_, got {symbol!r} "
                    f"(name symbols that may come later in the parameter classes)"
                )
        raise AssertionError("every symbol is known")

    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Symbols as an array, sorted where they can be, and the new code of each old one."""
        symbols: list[Any] = list(self.codes)
        try:
            order = sorted(range(len(symbols)), key=symbols.__getitem__)
        except TypeError:  # of several types: in order of appearance
            order = list(range(len(symbols)))
        rank = np.empty(len(symbols), dtype=np.int64)
        rank[order] = np.arange(len(symbols))
        return symbol_array([symbols[i] for i in order]), rank


def as_list(sequence: Any) -> list[Any]:
    """Symbols as Python objects: NumPy's scalars would differ in text and JSON."""
    return sequence.tolist() if isinstance(sequence, np.ndarray) else list(sequence)


def symbol_array(symbols: list[Any]) -> np.ndarray:
    """Symbols as a 1-D array: numeric or text where all are, else of objects."""
    kinds = {type(symbol) for symbol in symbols}
    if len(kinds) == 1 and kinds <= {int, str, float, bool, bytes}:
        array = np.array(symbols)
        if array.dtype.kind in "iuUfbS" and array.tolist() == symbols:
            return array
    array = np.empty(len(symbols), dtype=object)
    array[:] = symbols
    return array


# --- reading --------------------------------------------------------------------------------------


def _is_sequence(item: Any) -> bool:
    if item is np.ma.masked:  # an array, and yet a single missing symbol
        return False
    return isinstance(item, list | tuple | np.ndarray) or hasattr(item, "to_numpy")


def _flat(array: Any, owner: str) -> np.ndarray:
    if np.ma.isMaskedArray(array) and np.ma.getmaskarray(array).any():
        place = int(np.ma.getmaskarray(array).argmax())
        raise ValueError(
            f"{owner}: symbols must not be missing, got a masked one at place {place} (cut the "
            f"sequence in two there)"
        )
    array = as_array(array, "sequences", owner)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{owner}: sequences must be 1-D arrays of symbols, got shape {array.shape} (pass a "
            f"list of 1-D arrays for several sequences)"
        )
    return array


def _check_lengths(lengths: Any, T: int, owner: str) -> np.ndarray:
    lengths = as_array(lengths, "lengths", owner)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
        raise ValueError(
            f"{owner}: lengths must be whole numbers of shape (S,), got {lengths.dtype} of shape "
            f"{lengths.shape}"
        )
    # Each is compared too: a sum of huge ones wraps, and might be T by that.
    if (lengths < 0).any() or (lengths > T).any() or lengths.sum() != T:
        raise ValueError(
            f"{owner}: lengths must be at least 0 and add up to the {T} symbols, got a sum of "
            f"{sum(lengths.tolist())}"
        )
    return lengths.astype(np.int64)


def _check_weights(weights: Any, S: int, owner: str) -> np.ndarray:
    weights = as_numbers(weights, "sample_weight", owner)
    if weights.shape != (S,):
        raise ValueError(
            f"{owner}: sample_weight must have one weight for each of {S} sequences, got shape "
            f"{weights.shape}"
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"{owner}: sample_weight must be finite and at least 0, got others")
    return weights


def _one_or_many(sequences: Any, owner: str) -> tuple[Any, bool]:
    """The sequences, and whether they are one run of symbols rather than several."""
    if isinstance(sequences, str) or hasattr(sequences, "to_numpy"):
        return sequences, True
    if isinstance(sequences, np.ndarray):
        nested = sequences.dtype == object and all(map(_is_sequence, sequences.flat))
        return (list(sequences), False) if nested and sequences.size else (sequences, True)
    if callable(sequences):
        sequences = sequences()
    if not hasattr(sequences, "__iter__"):
        raise TypeError(
            f"{owner}: sequences must be sequences of symbols or an array, got "
            f"{type(sequences).__name__}"
        )
    if not isinstance(sequences, list | tuple):
        return sequences, False
    many = [_is_sequence(item) for item in sequences]
    if all(many):
        return sequences, False
    if any(many):
        place = many.index(False)
        raise ValueError(
            f"{owner}: sequences must be all symbols or all sequences, got "
            f"{type(sequences[place]).__name__} at place {place}"
        )
    if any(isinstance(item, str) and len(item) != 1 for item in sequences):
        raise ValueError(
            f"{owner}: sequences must not be a flat list of text, which may mean words as symbols "
            f"or letters as symbols, got one (pass [words] for one sequence of words, "
            f"[list(word) for word in words] for sequences of letters)"
        )
    return sequences, True


def read(
    sequences: Any,
    lengths: Any = None,
    sample_weight: Any = None,
    *,
    table: SymbolTable,
    grow: bool,
) -> Iterator[Batch]:
    """Coded batches of sequences; all of them in one where they are in memory.

    Parameters
    ----------
    sequences : array, str, list, iterable or callable
        As `MarkovChain.fit` takes them.
    lengths : array-like of shape (S,), optional
        Cuts one run of symbols into sequences.
    sample_weight : array-like of shape (S,), optional
        A weight per sequence.
    table : SymbolTable
        Codes of the symbols.
    grow : bool
        Whether symbols may be new.
    """
    owner = table.owner
    given, one = _one_or_many(sequences, owner)
    if one:
        yield _read_one(given, lengths, sample_weight, table, grow)
        return
    if lengths is not None:
        raise ValueError(f"{owner}: lengths must be left out beside many sequences, got both")
    in_memory = isinstance(given, list | tuple)
    weights = None
    if sample_weight is not None:
        count = len(given) if in_memory else len(np.asarray(sample_weight))
        weights = _check_weights(sample_weight, count, owner)
    held: list[np.ndarray] = []
    done = size = 0
    for item in given:
        if not _is_sequence(item):
            raise TypeError(
                f"{owner}: sequences must yield lists or arrays of symbols, got "
                f"{type(item).__name__} (pass a list or an array for one sequence)"
            )
        run = item if isinstance(item, list | tuple) else _flat(item, owner)
        if grow and weights is not None and not weights[done + len(held) :][:1].any():
            run = []  # a weight of zero is no sequence: its symbols are not learned either
        held.append(table.encode(run, grow=grow))
        size += len(held[-1])
        if size >= _BATCH and not in_memory:
            yield _batch(held, weights, done, owner)
            done, held, size = done + len(held), [], 0
    if held or not done:
        yield _batch(held, weights, done, owner)
        done += len(held)
    if weights is not None and done != len(weights):
        raise _wrong_count(owner, len(weights), done)


def _read_one(
    sequence: Any, lengths: Any, sample_weight: Any, table: SymbolTable, grow: bool
) -> Batch:
    owner = table.owner
    run = sequence if isinstance(sequence, str | list | tuple) else _flat(sequence, owner)
    cuts = _check_lengths([len(run)] if lengths is None else lengths, len(run), owner)
    weights = None if sample_weight is None else _check_weights(sample_weight, len(cuts), owner)
    if grow and weights is not None and not weights.all():
        kept = np.repeat(weights > 0, cuts)
        run = run[kept] if isinstance(run, np.ndarray) else list(compress(run, kept))
        cuts = np.where(weights > 0, cuts, 0)
    return Batch(table.encode(run, grow=grow), cuts, weights)


def _wrong_count(owner: str, weights: int, sequences: int) -> ValueError:
    return ValueError(
        f"{owner}: sample_weight must have one weight for each sequence, got {weights} weights and "
        f"{sequences} sequences"
    )


def _batch(held: list[np.ndarray], weights: Any, done: int, owner: str) -> Batch:
    codes = np.concatenate(held) if held else np.empty(0, dtype=np.int64)
    lengths = np.array([len(run) for run in held], dtype=np.int64)
    if weights is None:
        return Batch(codes, lengths, None)
    part = weights[done : done + len(held)]
    if len(part) != len(held):
        raise _wrong_count(owner, len(weights), done + len(held))
    return Batch(codes, lengths, part)


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


def add_grams(a: Grams, b: Grams) -> Grams:
    """The counts of two sets of sequences, together."""
    if not len(a.rows) or not len(b.rows):
        return b if not len(a.rows) else a
    return distinct(np.concatenate([a.rows, b.rows]), np.concatenate([a.counts, b.counts]))


def distinct(rows: np.ndarray, counts: np.ndarray | None) -> Grams:
    """Equal runs as one, with the sum of their counts (1 each when left out)."""
    n = rows.shape[1]
    base = int(rows.max(initial=0)) + 1
    if base**n < _LARGEST_CODE:
        codes = np.zeros(len(rows), dtype=np.int64)
        for column in rows.T:
            codes *= base
            codes += column
        if base**n <= max(4 * len(rows), 1 << 16):  # a table is faster than sorting
            seen = np.flatnonzero(np.bincount(codes, minlength=1))
            total = np.bincount(codes, weights=counts)[seen]
        else:
            seen, inverse = np.unique(codes, return_inverse=True)
            total = np.bincount(inverse, weights=counts)
        runs = np.empty((len(seen), n), dtype=np.int64)
        for column in range(n - 1, -1, -1):
            seen, runs[:, column] = np.divmod(seen, base)
        return Grams(runs, total.astype(np.float64))
    runs, inverse = np.unique(rows, axis=0, return_inverse=True)
    return Grams(runs, np.bincount(inverse.ravel(), weights=counts).astype(np.float64))


def count_grams(batch: Batch, n: int) -> Grams:
    """Runs of n symbols that lie within a sequence.

    Parameters
    ----------
    batch : Batch
        Coded sequences; those of weight 0 count for nothing.
    n : int
        Length of the runs.
    """
    codes, lengths, weights = batch
    counted = None
    if weights is not None:
        counted = np.where(weights > 0, lengths, 0)
    starts, owners = gram_starts(lengths, n, counted)
    rows = codes[starts[:, None] + np.arange(n)]
    return distinct(rows, None if weights is None else weights[owners])


def gram_starts(
    lengths: np.ndarray, n: int, counted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of n symbols within a sequence start, and to which sequence each belongs.

    Parameters
    ----------
    lengths : ndarray of shape (S,), int64
        Lengths of the sequences.
    n : int
        Length of the runs.
    counted : ndarray of shape (S,), int64, optional
        How many symbols of each sequence are looked at; all when left out.
    """
    number = np.maximum((lengths if counted is None else counted) - n + 1, 0)
    owners = np.repeat(np.arange(len(lengths)), number)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(number) - number, number)
    return np.repeat(np.cumsum(lengths) - lengths, number) + place, owners


def count_starts(batch: Batch, n: int) -> Grams:
    """First n symbols of the sequences that have as many.

    Parameters
    ----------
    batch : Batch
        Coded sequences; those of weight 0 count for nothing.
    n : int
        Length of the runs.
    """
    codes, lengths, weights = batch
    kept = lengths >= n
    if weights is not None:
        kept &= weights > 0
    starts = (np.cumsum(lengths) - lengths)[kept]
    rows = codes[starts[:, None] + np.arange(n)]
    return distinct(rows, None if weights is None else weights[kept])


def encoded(rows: np.ndarray, M: int) -> np.ndarray:
    """Windows (rows of class indices) of shape (m, n)) as numbers to base M."""
    codes = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        codes = codes * M + column
    return codes


def decoded(codes: np.ndarray, M: int, n: int) -> np.ndarray:
    """The inverse of `encoded`, for windows of n."""
    return np.stack([codes // M**power % M for power in range(n - 1, -1, -1)], axis=1)
