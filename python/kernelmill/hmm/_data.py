"""From what users pass to what passes read: rows, lengths and weights, checked once."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import feature_names, library
from kernelmill._estimator._device import namespace
from kernelmill._estimator._parameters import is_integer
from kernelmill._estimator._streams import is_stream
from kernelmill._estimator._validation import as_array, check_features, check_X, chunk_check
from kernelmill.hmm._observations import as_symbols, observe_symbols, observe_vectors
from kernelmill.hmm._passes import Sequences, Stream, largest_symbol
from kernelmill.stream import Source, source

# Symbols are numbers of columns of tables: beyond this somebody passed times or identifiers.
MOST_SYMBOLS = 10_000_000
# Chunks of symbols: it holds all of them whatever the first chunk is made of, and NaN.
_SYMBOL_DTYPE = np.dtype(np.float64)


def check_lengths(owner: str, lengths: Any, rows: int) -> np.ndarray:
    """Lengths of the sequences in X as int64; one sequence where None is given.

    Raises
    ------
    ValueError
        If they are no whole numbers of at least 0 that add up to the rows of X.
    """
    if lengths is None:
        return np.array([rows], dtype=np.int64)
    if is_integer(lengths):
        lengths = [lengths]
    found = as_array(lengths, "lengths", owner)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(
            f"{owner}: lengths must be whole numbers, one for each sequence, got {found.dtype} of "
            f"shape {found.shape} (they say how many rows of X belong to each sequence)"
        )
    if (found < 0).any():
        raise ValueError(f"{owner}: lengths must be at least 0, got {int(found.min())}")
    # Each is compared too: a sum of huge ones wraps, and might be that of the rows by that.
    if (found > rows).any() or int(found.sum()) != rows:
        raise ValueError(
            f"{owner}: lengths must add up to the {rows} rows of X, got a sum of "
            f"{sum(found.tolist())} (an array of lengths doesn't sum to the number of rows)"
        )
    return found.astype(np.int64)


def check_sequence_weight(owner: str, weight: Any, sequences: int) -> np.ndarray | None:
    """Weights of the sequences as float64, or None.

    Raises
    ------
    ValueError
        If they are not finite, negative, all zero, or of another number.
    """
    if weight is None:
        return None
    found = as_array(weight, "sample_weight", owner)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{owner}: sample_weight must be numeric, got dtype {found.dtype}")
    if found.shape != (sequences,):
        raise ValueError(
            f"{owner}: sample_weight must have shape ({sequences},), one for each sequence, got "
            f"{found.shape} (rows of a sequence share its weight)"
        )
    found = found.astype(np.float64)
    good = (found >= 0) & (found < np.inf)
    if not good.all():
        s = int((~good).argmax())
        raise ValueError(
            f"{owner}: sample_weight must be finite and not negative, got {found[s]:g} for "
            f"sequence {s}"
        )
    if not (found > 0).any():
        raise ValueError(f"{owner}: sample_weight must have a positive sum, got only zeros")
    return found


def _expecting(model: Any, names: Any, reset: bool) -> Any:
    """The model, or a copy that expects the columns of its parameters where these were assigned.

    Such columns have no names of their own, so any `names` of X will do.
    """
    columns = None if reset else model._n_columns()
    if reset or vars(model).get("n_features_in_") == columns:
        return model
    shown = copy.copy(model)
    shown.n_features_in_ = columns
    vars(shown).pop("feature_names_in_", None)
    if names is not None:
        shown.feature_names_in_ = names
    return shown


def _is_stream(X: Any) -> bool:
    if isinstance(X, np.memmap):  # the pages of a map are read as they are needed
        return False
    if isinstance(X, str | os.PathLike):
        return True
    return is_stream(X)


def _open(model: Any, X: Any, lengths: Any, weight: Any, dtype: Any, validate: Any) -> Source:
    owner = type(model).__name__
    first = X[0] if isinstance(X, list | tuple) and len(X) else X
    if isinstance(first, str | os.PathLike):
        raise TypeError(
            f"{owner}: X must be an array with lengths, or sequences (a list of arrays, a function "
            f"that returns an iterator of arrays, a Dask array with one sequence per partition), "
            f"got the path {os.fspath(first)!r} (files do not say where sequences end)"
        )
    if lengths is not None:
        raise ValueError(
            f"{owner}: lengths must be None where X is a stream, whose chunks are sequences, got "
            f"{type(lengths).__name__} (concatenate the chunks to cut them by lengths)"
        )
    if weight is not None and isinstance(X, Source):
        raise ValueError(
            f"{owner}: sample_weight must be None beside a Source, got {type(weight).__name__} "
            f"(give weights where the Source is made, one for each row)"
        )
    opened = source(X, dtype=dtype, validate=validate, owner=owner)
    if weight is None:
        return opened
    sizes = opened.chunk_lengths()
    checked = check_sequence_weight(owner, weight, len(sizes))
    assert checked is not None
    rows = np.repeat(checked, sizes)
    if library(X) in ("dask", "dask_expr"):
        rows = rows.astype(opened.dtype if opened.dtype.kind == "f" else np.float64)
    return source(X, rows, dtype=dtype, validate=validate, owner=owner)


def _observable(X: Any, first_row: int, *, observe: Callable) -> Any:
    """The ``validate`` of a source: errors name rows in all of X, which passes do not know."""
    observe(X, first_row=first_row)
    return X


def _counted(X: Any, first_row: int, *, check: Callable, observe: Callable) -> Any:
    return _observable(check(X, first_row), first_row, observe=observe)


def open_vectors(
    model: Any, X: Any, lengths: Any, weight: Any, observe: Callable, *, reset: bool
) -> Sequences | Stream:
    """Sequences of rows of numbers, in memory or as a stream."""
    owner = type(model).__name__
    if type(X) is not np.ndarray and _is_stream(X):
        check = chunk_check(owner, accept_sparse=False, allow_nan=True)
        if type(model)._observe is not observe_vectors:  # counts, of which more can be wrong
            check = functools.partial(_counted, check=check, observe=observe)
        opened = _open(model, X, lengths, weight, None, check)
        known = _expecting(model, opened.feature_names, reset)
        check_features(known, opened.feature_names, opened.n_features, reset)
        return Stream(opened, observe, opened.n_features, reset and _may_weigh(X, weight))
    known = _expecting(model, feature_names(X), reset)
    rows, _ = check_X(known, X, reset=reset, accept_sparse=False, allow_nan=True)
    rows, found, weight, kept = _kept(owner, rows, lengths, weight)
    K, d = int(model.n_components), rows.shape[1]
    return Sequences(rows, found, weight, observe, K, d, kept)


def _may_weigh(X: Any, weight: Any) -> bool:
    return weight is not None or isinstance(X, Source)


def _kept(owner: str, X: Any, lengths: Any, weight: Any) -> tuple[Any, Any, Any, Any]:
    """Rows, lengths and weights of the sequences with weight, and which rows these are.

    The last one is None where all are kept.
    """
    found = check_lengths(owner, lengths, len(X))
    weight = check_sequence_weight(owner, weight, len(found))
    if weight is None or weight.all():
        return X, found, weight, None
    used = weight > 0
    kept = np.repeat(used, found)
    if not kept.any():
        raise ValueError(
            f"{owner}: sample_weight must be positive for a sequence that has rows, got only zeros"
        )
    return X[namespace(X).asarray(kept)], found[used], weight[used], kept


def open_symbols(
    model: Any, X: Any, lengths: Any, weight: Any, n_symbols: Any, observe: Callable, *, reset: bool
) -> Sequences | Stream:
    """Sequences of symbols; how many there are is as given, or one above the largest.

    ``observe(X, n_symbols=...)`` makes of rows what an emission takes.
    """
    owner = type(model).__name__
    if type(X) is not np.ndarray and _is_stream(X):
        codes = functools.partial(as_symbols, owner=owner)
        bound = codes if n_symbols is None else functools.partial(observe, n_symbols=n_symbols)
        check = functools.partial(_observable, observe=bound)
        opened = _open(model, X, lengths, weight, _SYMBOL_DTYPE, check)
        if opened.n_features != 1:
            raise ValueError(
                f"{owner}: X must be one column of symbols, got chunks of {opened.n_features} "
                f"columns"
            )
        known = _expecting(model, opened.feature_names, reset)
        check_features(known, opened.feature_names, 1, reset)
        if n_symbols is None:
            n_symbols = _not_too_many(largest_symbol(opened, codes) + 1, owner)
        n_symbols = _at_least_one(n_symbols, owner)
        bound = functools.partial(observe, n_symbols=n_symbols)
        return Stream(opened, bound, n_symbols, reset and _may_weigh(X, weight))
    codes = as_symbols(X, owner)
    if not len(codes):
        raise ValueError(f"{owner}: X must have at least 1 row, got 0 sample(s)")
    names = feature_names(X)
    check_features(_expecting(model, names, reset), names, 1, reset)
    codes, found, weight, kept = _kept(owner, codes, lengths, weight)
    if n_symbols is None:
        n_symbols = _not_too_many(int(codes.max()) + 1, owner)
    n_symbols = _at_least_one(n_symbols, owner)
    bound = functools.partial(observe, n_symbols=n_symbols)
    return Sequences(codes, found, weight, bound, int(model.n_components), n_symbols, kept)


def _not_too_many(n_symbols: int, owner: str) -> int:
    if n_symbols > MOST_SYMBOLS:
        raise ValueError(
            f"{owner}: X must hold symbols below {MOST_SYMBOLS} where n_features is None, got "
            f"{n_symbols - 1} (number them with numpy.unique(X, return_inverse=True), or pass "
            f"n_features)"
        )
    return n_symbols


def _at_least_one(n_symbols: int, owner: str) -> int:
    if n_symbols < 1:
        raise ValueError(
            f"{owner}: X must hold at least one symbol, got only missing ones (pass n_features)"
        )
    return int(n_symbols)


class _Observed:
    """How a model reads X; `_observe` makes of rows what its emission takes."""

    _observe: ClassVar[Callable]

    def _observer(self) -> Callable:
        """`_observe` with all but the rows filled in; picklable."""
        return functools.partial(
            type(self)._observe, owner=type(self).__name__, device=getattr(self, "device", None)
        )

    def _width(self) -> int:
        """Features, or symbols, of the parameters as they are."""
        return self._width_of(self._widest)  # type: ignore[attr-defined]

    def _width_of(self, name: str) -> int:
        shape = as_array(getattr(self, name), name, type(self).__name__).shape
        return int(shape[-1]) if shape else 0


class RowsMixin(_Observed):
    """X is rows of numbers, NaN where one is missing."""

    _observe: ClassVar[Callable] = staticmethod(observe_vectors)

    def _n_columns(self) -> int:
        return self._width()

    @property
    def n_features(self) -> int:
        """Features d: columns of X, as the parameters have them."""
        return self._width()

    @n_features.setter
    def n_features(self, value: int) -> None:
        """Accepted for hmmlearn's sake, where it has to be assigned beside the parameters."""
        widest: str = self._widest  # type: ignore[attr-defined]
        if vars(self).get(widest) is not None and value != self._width():
            raise ValueError(
                f"{type(self).__name__}: n_features must be {self._width()} as {widest} has it, "
                f"got {value!r} (assign the parameters of another width)"
            )

    def _sequences(
        self, X: Any, lengths: Any = None, weight: Any = None, *, reset: bool
    ) -> Sequences | Stream:
        return open_vectors(self, X, lengths, weight, self._observer(), reset=reset)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # BaseEstimator comes after
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = type(self)._observe is not observe_vectors  # counts
        return tags


class SymbolsMixin(_Observed):
    """X is one column of symbols, negative or NaN where one is missing."""

    n_features: int | None
    init_params: str
    _observe: ClassVar[Callable] = staticmethod(observe_symbols)

    def _n_columns(self) -> int:
        return 1

    def _observer(self) -> Callable:
        return functools.partial(super()._observer(), n_symbols=self._width())

    def _sequences(
        self, X: Any, lengths: Any = None, weight: Any = None, *, reset: bool
    ) -> Sequences | Stream:
        widest: str = self._widest  # type: ignore[attr-defined]
        known = None if self.n_features is None else int(self.n_features)
        if not reset or ("e" not in self.init_params and vars(self).get(widest) is not None):
            width = self._width()
            if reset and known not in (None, width):
                raise ValueError(
                    f"{type(self).__name__}: n_features must be {width} as {widest} has it, got "
                    f"{known} (put 'e' into init_params to start anew)"
                )
            known = width
        observe = super()._observer()
        return open_symbols(self, X, lengths, weight, known, observe, reset=reset)
