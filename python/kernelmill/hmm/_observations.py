"""What models observe: vectors, symbols or counts, checked once and laid out for the passes.

Each ``observe_*`` function turns rows into a small record. It is a plain function at module level,
so that Dask can send it to its workers. Where nothing was observed the density is 1:

- vectors: an entry that is NaN is marginalised, a row of NaN throughout says nothing;
- symbols: negative numbers, NaN and masked entries;
- counts: NaN entries (of multinomial rows, whole rows only).

Errors name the row, counted from `first_row`, the place of the first one in all of X, or an array
of the places of all. None is for a single observation that a filter takes in, called x.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln

from kernelmill._arrays import as_matrix, beside, is_cupy, is_frame, is_sparse, to_host, unmasked
from kernelmill._estimator._parameters import shown
from kernelmill._gaussian._passes import Part, parts_of

# Counts of one feature up to this size are looked up in a table of densities.
MOST_TABLED = 1 << 12
# From here on floats skip whole numbers.
_INEXACT = 2.0**53


class Vectors(NamedTuple):
    """Rows of real numbers.

    Attributes
    ----------
    X : array of shape (T, d), float32 or float64
    parts : list of Part, or None
        The rows cut by what they lack, where any entry is missing.
    """

    X: Any
    parts: list[Part] | None


class Symbols(NamedTuple):
    """Whole numbers below n_symbols.

    Attributes
    ----------
    codes : array of shape (T,), int64
        -1 where nothing was observed.
    n_symbols : int
    """

    codes: Any
    n_symbols: int


class Counts(NamedTuple):
    """Rows of counts.

    Attributes
    ----------
    X : array of shape (T, d), float64
        0 where an entry is missing.
    seen : array of shape (T, d), float64, or None
        1 where an entry was observed, 0 elsewhere; None where all were.
    constant : array of shape (T,), float64
        The part of the log density that depends on no parameter.
    """

    X: Any
    seen: Any
    constant: Any


def observed_columns(observed: Vectors | Symbols | Counts) -> np.ndarray:
    """Which columns of X have a value, (d,)."""
    if isinstance(observed, Symbols):
        return to_host((observed.codes >= 0).any())[None]
    if isinstance(observed, Counts):
        seen = np.ones(observed.X.shape) if observed.seen is None else observed.seen
        return to_host((seen > 0).any(axis=0))
    columns = np.full(observed.X.shape[1], observed.parts is None)
    for part in observed.parts or ():
        columns[part.observed] = True
    return columns


class _Bad(NamedTuple):
    """An entry that is refused, and how errors speak of it."""

    value: float
    name: str
    where: str


def _first_bad(X: Any, bad: Any, first_row: int | np.ndarray | None) -> _Bad:
    """The first entry of a column, or of rows, for which `bad` is true."""
    place = tuple(int(i) for i in np.argwhere(to_host(bad))[0])
    value, entry = float(X[place]), place[1:]
    if first_row is None:
        return _Bad(value, "x", f" in entry {entry[0]}" if entry else "")
    column = f", column {entry[0]}" if entry else ""
    row = first_row[place[0]] if isinstance(first_row, np.ndarray) else first_row + place[0]
    return _Bad(value, "X", f" at row {row}{column}")


def observe_vectors(
    X: Any, *, owner: str, first_row: int | np.ndarray | None = 0, missing: bool = True
) -> Vectors:
    """Rows of real numbers, NaN where an entry is missing; none is refused here."""
    return Vectors(X, parts_of(X) if missing else None)


def _refuse_sparse(X: Any, owner: str) -> None:
    if is_sparse(X):
        raise TypeError(f"{owner}: X must be dense, got a sparse matrix of shape {X.shape}")


def as_symbols(X: Any, owner: str, first_row: int | np.ndarray | None = 0) -> Any:
    """X, one column of whole numbers, as a vector of int64 codes, -1 where nothing was observed."""
    hint = "encode other labels with sklearn.preprocessing.LabelEncoder"
    _refuse_sparse(X, owner)
    if is_frame(X):
        X = as_matrix(X, owner, (np.dtype(np.float64),))  # integers have no room for nulls
    elif not is_cupy(X):
        try:
            X = np.asarray(unmasked(X))
        except ValueError as error:
            raise ValueError(
                f"{owner}: X must be one column of symbols, of shape (T, 1), got {shown(X)} (in a "
                f"list of sequences each is a column, x.reshape(-1, 1))"
            ) from error
    if X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]
    elif X.ndim != 1:
        raise ValueError(
            f"{owner}: X must be one column of symbols, of shape (T, 1), got shape {X.shape} "
            f"(Reshape your data with X.reshape(-1, 1))"
        )
    if X.dtype.kind in "fO":
        try:
            X = X.astype(np.float64)  # a copy; half floats could not hold the bound below
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: X must be whole numbers, got {error} ({hint})") from error
        absent = X != X
        whole = (np.floor(X) == X) & (abs(X) < _INEXACT)
        if not bool((whole | absent).all()):
            bad = _first_bad(X, ~(whole | absent), first_row)
            raise ValueError(
                f"{owner}: {bad.name} must be whole numbers, got {bad.value}{bad.where} ({hint})"
            )
        X[absent] = -1
    elif X.dtype.kind not in "biu":
        raise ValueError(f"{owner}: X must be whole numbers, got dtype {X.dtype} ({hint})")
    if X.dtype.kind == "u" and X.dtype.itemsize == 8:
        X = X.clip(max=np.iinfo(np.int64).max)  # beyond it the signed number would be negative
    codes = X.astype(np.int64, order="C", copy=False)
    if len(codes) and int(codes.min()) < -1:
        codes = codes.clip(-1)
    return codes


def observe_symbols(
    X: Any, *, n_symbols: int | None, owner: str, first_row: int | np.ndarray | None = 0
) -> Symbols:
    """Symbols below `n_symbols`, one more than the largest where it is None."""
    codes = as_symbols(X, owner, first_row)
    most = int(codes.max()) if len(codes) else -1
    if n_symbols is None:
        n_symbols = most + 1
    elif most >= n_symbols:
        bad = _first_bad(codes, codes >= n_symbols, first_row)
        hint = " (pass n_features to allow for symbols that fit does not see)"
        raise ValueError(
            f"{owner}: {bad.name} must hold symbols below {n_symbols}, got {bad.value:.0f}"
            f"{bad.where}{'' if first_row is None else hint}"
        )
    return Symbols(codes, n_symbols)


def _whole_counts(X: Any, owner: str, first_row: int | np.ndarray | None) -> tuple[Any, Any]:
    """Counts without NaN as float64, and where entries were seen (None: everywhere)."""
    _refuse_sparse(X, owner)
    absent = X != X
    missing = bool(absent.any())
    counts = X.astype(np.float64)  # a copy
    if missing:
        counts[absent] = 0.0
    good = (counts >= 0) & (counts == np.floor(counts)) & (counts < _INEXACT)
    if not bool(good.all()):
        bad = _first_bad(counts, ~good, first_row)
        hint = " (counts must stay below 2**53)" if bad.value >= _INEXACT else ""
        raise ValueError(
            f"{owner}: {bad.name} must be whole numbers of at least 0, got {bad.value:g}"
            f"{bad.where}{hint}"
        )
    return counts, (~absent).astype(np.float64) if missing else None


def _log_factorials(counts: Any) -> Any:
    """``log x!`` of each entry, by a table where counts are small."""
    most = int(counts.max()) if counts.size else 0
    if is_cupy(counts):
        return beside(gammaln(to_host(counts) + 1.0), counts)  # once per fit
    if most < 1 << 16:
        return np.take(gammaln(np.arange(1.0, most + 2.0)), counts.astype(np.int64))
    return gammaln(counts + 1.0)


def observe_counts(
    X: Any, *, owner: str, first_row: int | np.ndarray | None = 0
) -> Counts | Symbols:
    """Counts with a Poisson distribution in each feature.

    Small counts of a single feature are symbols: ``Symbols.n_symbols`` is one more than the
    largest, and the table of densities depends on it.
    """
    counts, seen = _whole_counts(X, owner, first_row)
    if counts.shape[1] == 1 and len(counts):
        most = int(counts.max())
        if most < min(MOST_TABLED, len(counts)):
            codes = counts[:, 0].astype(np.int64)
            if seen is not None:
                codes[seen[:, 0] == 0] = -1
            return Symbols(codes, most + 1)
    return Counts(counts, seen, -_log_factorials(counts).sum(axis=1))


def observe_multinomial(
    X: Any, *, owner: str, first_row: int | np.ndarray | None = 0
) -> Counts:
    """Counts whose rows are multinomial; a row is missing as a whole or not at all."""
    counts, seen = _whole_counts(X, owner, first_row)
    if seen is not None:
        partly = (seen.min(axis=1) == 0) & (seen.max(axis=1) == 1)
        if bool(partly.any()):
            bad = _first_bad(partly, partly, first_row)
            what = "be" if first_row is None else "have rows that are"
            raise ValueError(
                f"{owner}: {bad.name} must {what} NaN throughout or not at all, got NaN in some "
                f"entries{bad.where}"
            )
    trials = counts.sum(axis=1)
    constant = _log_factorials(trials) - _log_factorials(counts).sum(axis=1)
    return Counts(counts, seen, constant)  # a missing row of zeros has density 1 as it is
