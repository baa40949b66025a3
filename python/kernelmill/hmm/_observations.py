"""What models observe: vectors, symbols or counts, checked once and laid out for the passes.

Each ``observe_*`` function turns rows into a small record. It is a plain function at module level,
so that Dask can send it to its workers. Where nothing was observed the density is 1:

- vectors: an entry that is NaN is marginalised, a row of NaN throughout says nothing;
- symbols: negative numbers, NaN and masked entries;
- counts: NaN entries (of multinomial rows, whole rows only).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln

from kernelmill._estimator._device import move_in, namespace, to_host
from kernelmill._gaussian._passes import Part, parts_of
from kernelmill.ops._op import is_cupy
from kernelmill.stream._matrix import is_frame, is_sparse, to_matrix

# Counts of one feature up to this size are looked up in a table of densities.
MOST_TABLED = 1 << 12


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


def _owner_row(bad: Any, first_row: int) -> tuple[int, tuple[int, ...]]:
    place = tuple(int(i) for i in np.argwhere(to_host(bad))[0])
    return first_row + place[0], place


def observe_vectors(X: Any, *, owner: str, device: str | None = None) -> Vectors:
    """Rows of real numbers, NaN where an entry is missing."""
    X = move_in(X, device, owner)
    return Vectors(X, parts_of(X))


def as_symbols(X: Any, owner: str) -> Any:
    """X as a vector of int64 codes, -1 where nothing was observed.

    Raises
    ------
    ValueError
        If X is not one column of whole numbers.
    """
    hint = "encode other labels with sklearn.preprocessing.LabelEncoder"
    if is_sparse(X):
        raise TypeError(f"{owner}: X must be dense, got a sparse matrix of shape {X.shape}")
    if is_frame(X):
        X = to_matrix(X, np.float64, owner)  # integers have no room for nulls
    elif np.ma.isMaskedArray(X):
        X = np.ma.filled(X.astype(np.float64), np.nan)
    elif not is_cupy(X):
        X = np.asarray(X)
    if X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]
    elif X.ndim != 1:
        raise ValueError(
            f"{owner}: X must be one column of symbols, of shape (T, 1), got shape {X.shape} "
            f"(Reshape your data with X.reshape(-1, 1))"
        )
    if X.dtype.kind == "O":
        try:
            X = X.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: X must be whole numbers, got {error} ({hint})") from error
    if X.dtype.kind == "f":
        absent = X != X
        whole = (np.floor(X) == X) & (abs(X) < 2.0**53)
        if not bool((whole | absent).all()):
            row, place = _owner_row(~(whole | absent), 0)
            raise ValueError(
                f"{owner}: X must be whole numbers, got {float(X[place])} at row {row} ({hint})"
            )
        X = X.copy()
        X[absent] = -1
    elif X.dtype.kind not in "biu":
        raise ValueError(f"{owner}: X must be whole numbers, got dtype {X.dtype} ({hint})")
    if X.dtype.kind == "u" and X.dtype.itemsize == 8:
        X = X.clip(max=np.iinfo(np.int64).max)  # beyond it the signed number would be negative
    codes = X.astype(np.int64)
    if len(codes) and int(codes.min()) < -1:
        codes = codes.clip(-1)
    return codes


def observe_symbols(X: Any, *, n_symbols: int, owner: str, device: str | None = None) -> Symbols:
    """Symbols below `n_symbols`."""
    codes = as_symbols(X, owner)
    if len(codes) and int(codes.max()) >= n_symbols:
        row = int((codes >= n_symbols).argmax())
        raise ValueError(
            f"{owner}: X must hold symbols below {n_symbols}, got {int(codes[row])} at row {row} "
            f"(pass n_features to allow for symbols that fit does not see)"
        )
    return Symbols(move_in(codes, device, owner), n_symbols)


def _whole_counts(X: Any, owner: str) -> tuple[Any, Any]:
    """Counts without NaN as float64, and where entries were seen (None: everywhere)."""
    absent = X != X
    missing = bool(absent.any())
    counts = X.astype(np.float64)  # a copy
    if missing:
        counts[absent] = 0.0
    good = (counts >= 0) & (counts == np.floor(counts)) & (counts < np.inf)
    if not bool(good.all()):
        row, place = _owner_row(~good, 0)
        raise ValueError(
            f"{owner}: X must be whole numbers of at least 0, got {float(X[place]):g} at row "
            f"{row}, column {place[1]}"
        )
    return counts, (~absent).astype(np.float64) if missing else None


def _log_factorials(counts: Any) -> Any:
    """``log x!`` of each entry, by a table where counts are small."""
    most = int(counts.max()) if counts.size else 0
    if is_cupy(counts):
        return namespace(counts).asarray(gammaln(to_host(counts) + 1.0))  # once per fit
    if most < 1 << 16:
        return np.take(gammaln(np.arange(1.0, most + 2.0)), counts.astype(np.int64))
    return gammaln(counts + 1.0)


def observe_counts(X: Any, *, owner: str, device: str | None = None) -> Counts | Symbols:
    """Counts with a Poisson distribution in each feature.

    Small counts of a single feature are symbols: ``Symbols.n_symbols`` is one more than the
    largest, and the table of densities depends on it.
    """
    X = move_in(X, device, owner)
    counts, seen = _whole_counts(X, owner)
    if counts.shape[1] == 1 and len(counts):
        most = int(counts.max())
        if most < min(MOST_TABLED, len(counts)):
            codes = counts[:, 0].astype(np.int64)
            if seen is not None:
                codes[seen[:, 0] == 0] = -1
            return Symbols(codes, most + 1)
    return Counts(counts, seen, -_log_factorials(counts).sum(axis=1))


def observe_multinomial(X: Any, *, owner: str, device: str | None = None) -> Counts:
    """Counts whose rows are multinomial; a row is missing as a whole or not at all."""
    X = move_in(X, device, owner)
    counts, seen = _whole_counts(X, owner)
    if seen is not None:
        partly = (seen.min(axis=1) == 0) & (seen.max(axis=1) == 1)
        if bool(partly.any()):
            raise ValueError(
                f"{owner}: X must have rows that are NaN throughout or not at all, got NaN in some "
                f"entries of row {int(partly.argmax())}"
            )
    trials = counts.sum(axis=1)
    constant = _log_factorials(trials) - _log_factorials(counts).sum(axis=1)
    return Counts(counts, seen, constant)  # a missing row of zeros has density 1 as it is
