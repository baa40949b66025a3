"""How models read X: rows of numbers, or one column of symbols, as `Sequences`."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import feature_names, kind, mapped_as_array, to_host
from kernelmill._estimator._parameters import shown
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._validation import as_array
from kernelmill.hmm._observations import Symbols, as_symbols, observe_symbols, observe_vectors
from kernelmill.hmm._sequences import Sequences, check_lengths, check_sequence_weight
from kernelmill.stream import Source

# Symbols are numbers of columns of tables: beyond this somebody passed times or identifiers.
MOST_SYMBOLS = 10_000_000


class SequenceInput(Estimator):
    """Base of the models: X, lengths and weights as `Sequences`.

    Subclasses say which of their parameters is as wide as X (`_widest`) and make of rows what the
    emission takes (`_observe`).
    """

    _accepts_missing = True
    _widest: ClassVar[str]
    _observe: ClassVar[Callable]

    def _observer(self, reset: bool = False) -> Callable:
        """`_observe` with all but the rows filled in, picklable; `reset` as in `_rows`."""
        return functools.partial(type(self)._observe, owner=type(self).__name__)

    def _width(self) -> int:
        """Features, or symbols, of the parameters as they are."""
        return self._width_of(self._widest)

    def _width_of(self, name: str) -> int:
        shape = as_array(getattr(self, name), name, type(self).__name__).shape
        return int(shape[-1]) if shape else 0

    def _n_columns(self) -> int:
        """Columns of X that the parameters are for."""
        return self._width()

    def _sequences(
        self, X: Any, lengths: Any = None, weight: Any = None, *, reset: bool
    ) -> Sequences:
        """X, lengths and weights, checked, as `Sequences`."""
        owner = type(self).__name__
        if lengths is not None and kind(X) in ("chunks", "dask"):
            raise ValueError(
                f"{owner}: lengths must be None where X is a stream, whose chunks are sequences, "
                f"got {type(lengths).__name__} (concatenate the chunks to cut them by lengths)"
            )
        if weight is not None and isinstance(X, Source):
            raise ValueError(
                f"{owner}: sample_weight must be None beside a Source, got {type(weight).__name__} "
                f"(give weights where the Source is made, one for each row)"
            )
        X = mapped_as_array(X)  # the pages of a map are read as they are needed
        known = self if reset else self._expecting()
        rows = known._rows(X, reset=reset)
        observe, n_states = self._observer(reset), int(self.n_components)
        if rows.is_stream:
            if weight is not None:
                sizes = rows.source.chunk_lengths()
                weight = check_sequence_weight(owner, weight, len(sizes))
                rows = known._rows(X, np.repeat(weight, sizes), reset=reset)
            return Sequences(rows, None, None, observe, n_states)
        if rows.missing is False:
            observe = functools.partial(observe, missing=False)  # they need not be looked for again
        lengths = check_lengths(owner, lengths, rows.count)
        if rows.weight is not None:  # of a Source, one for each row
            weight = to_host(rows.weight[:1])
        weight = check_sequence_weight(owner, weight, len(lengths))
        return Sequences(rows, lengths, weight, observe, n_states)

    def _expecting(self) -> Any:
        """The model, or a copy that expects the columns of parameters that were assigned.

        Those have no names, so any names of X will do.
        """
        columns = self._n_columns()
        if vars(self).get("n_features_in_") == columns:
            return self
        model = copy.copy(self)
        model.n_features_in_, model.feature_names_in_ = columns, None
        return model

    def _source(self, X: Any, sample_weight: Any, reset: bool, once: bool) -> Source:
        what = kind(X)
        if what in ("path", "paths", "lazy"):
            raise TypeError(
                f"{type(self).__name__}: X must be an array with lengths, or sequences (a list of "
                f"arrays, a function that returns an iterator of arrays, a Dask array with one "
                f"sequence per partition), got {'the path ' * (what == 'path')}"
                f"{shown(X)} (files do not say where sequences end)"
            )
        return super()._source(X, sample_weight, reset, once)


class RowsMixin(SequenceInput):
    """X is rows of numbers, NaN where one is missing."""

    _observe: ClassVar[Callable] = staticmethod(observe_vectors)

    @property
    def n_features(self) -> int:
        """Features d: columns of X, as the parameters have them."""
        return self._width()

    @n_features.setter
    def n_features(self, value: int) -> None:
        """Accepted for compatibility with hmmlearn, where it is assigned with the parameters."""
        if vars(self).get(self._widest) is not None and value != self._width():
            raise ValueError(
                f"{type(self).__name__}: n_features must be {self._width()} as {self._widest} has "
                f"it, got {value!r} (assign the parameters of another width)"
            )


class _SelfChecked(SequenceInput):
    """`_observe` finds every value that is refused, and says more of it than checks of rows do."""

    _checks_values = False

    def _chunk_check(self, reset: bool) -> Callable:
        return functools.partial(_observable, observe=self._observer(reset))


def _observable(X: Any, first_row: int, *, observe: Callable) -> Any:
    """The ``validate`` of a source: errors name rows in all of X, which passes do not know."""
    observe(X, first_row=first_row)
    return X


class CountsMixin(_SelfChecked, RowsMixin):
    """X is rows of counts, NaN where one is missing."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class SymbolsMixin(_SelfChecked):
    """X is one column of symbols, negative or NaN where one is missing."""

    # Chunks of symbols: it holds all of them whatever the first chunk is made of, and NaN.
    _dtypes = (np.dtype(np.float64),)
    _as_is = ()
    _observe: ClassVar[Callable] = staticmethod(observe_symbols)

    def _n_columns(self) -> int:
        return 1

    def _n_symbols(self, reset: bool) -> int | None:
        """How many symbols there are, None where X is to tell."""
        known = None if self.n_features is None else int(self.n_features)
        name, hint = self._widest, "add 'e' to init_params to initialise it again"
        if reset and (self._anew("e") or vars(self).get(name) is None):
            if self.emissionprob_init is None:
                return known
            name, hint = "emissionprob_init", "leave n_features out"
        width = self._width() if name == self._widest else self._width_of(name)
        if reset and known not in (None, width):
            raise ValueError(
                f"{type(self).__name__}: n_features must be {width} as {name} has it, got {known} "
                f"({hint})"
            )
        return width

    def _observer(self, reset: bool = False) -> Callable:
        return functools.partial(super()._observer(), n_symbols=self._n_symbols(reset))

    def _matrix(self, X: Any) -> tuple[Any, Any]:
        return as_symbols(X, type(self).__name__)[:, None], feature_names(X)

    def _sequences(
        self, X: Any, lengths: Any = None, weight: Any = None, *, reset: bool
    ) -> Sequences:
        owner, n_symbols = type(self).__name__, self._n_symbols(reset)
        data = super()._sequences(X, lengths, weight, reset=reset)
        if n_symbols is None:
            n_symbols = data.map_reduce(_n_symbols_of, merge=max)
            if n_symbols > MOST_SYMBOLS:
                raise ValueError(
                    f"{owner}: X must hold symbols below {MOST_SYMBOLS} where n_features is None, "
                    f"got {n_symbols - 1} (number them with numpy.unique(X, return_inverse=True), "
                    f"or pass n_features)"
                )
        if n_symbols < 1:
            raise ValueError(
                f"{owner}: X must hold at least one symbol, got only missing ones (pass n_features)"
            )
        data.width = n_symbols
        return data


def _n_symbols_of(observed: Symbols, lengths: Any, weight: Any) -> int:
    return observed.n_symbols
