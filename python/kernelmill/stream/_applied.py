"""A source whose chunks are transformed on the way: `Source.apply`."""

import contextlib
import copy
import functools

import numpy as np

from kernelmill._arrays import beside, is_cupy
from kernelmill.stream._source import Source


def _transformed(X, op, state):
    """``op(X, *state)``, with the arrays of the state where X is."""
    if is_cupy(X):
        state = [beside(value, X) if type(value) is np.ndarray else value for value in state]
    return op(X, *state)


def _check_applied(op, state, validate, X, first_row):
    """Check what becomes of a chunk; the chunk itself stays as it is."""
    validate(_transformed(X, op, state), first_row)
    return X


def _run_applied(X, before, op, state, kwargs, **weighted):
    """`op` on a transformed chunk."""
    return op(_transformed(X, *before), *state, **weighted, **kwargs)


class AppliedSource(Source):
    """Chunks of another source, each transformed when it is read: see `Source.apply`."""

    def __init__(self, source, op, state, n_features, dtype, names):
        self._source, self._op, self._state = source, op, state
        self._owner, self._validate = source._owner, None
        self.n_features, self.dtype, self.feature_names = n_features, dtype, names
        self._in_memory = None

    def _whole(self):
        """All transformed rows, where those of the source are one chunk in memory."""
        if self._in_memory is None and self._source.in_memory is not None:
            self._in_memory = _transformed(self._source.in_memory, self._op, self._state)
        return self._in_memory

    in_memory = property(_whole)

    @property
    def n_rows(self):
        """Rows of X; None until they are known."""
        return self._source.n_rows

    def __iter__(self):
        """Yield (X_chunk, w_chunk or None)."""
        with contextlib.closing(iter(self._source)) as chunks:
            for X, w in chunks:
                yield _transformed(X, self._op, self._state), w
                del X, w

    def checked(self, validate):
        """As `Source.checked`, of the transformed chunks."""
        if validate is None:
            return self
        other = copy.copy(self)
        check = functools.partial(_check_applied, self._op, self._state, validate)
        other._source = self._source.checked(check)
        return other

    def count_rows(self):
        """As `Source.count_rows`."""
        return self._source.count_rows()

    def chunk_lengths(self):
        """As `Source.chunk_lengths`."""
        return self._source.chunk_lengths()

    def map_reduce(self, op, *state, merge=None, **kwargs):
        """As `Source.map_reduce`; on Dask both functions run where the partitions are."""
        before = (self._op, self._state)
        return self._source.map_reduce(_run_applied, before, op, state, kwargs, merge=merge)

    def map(self, op, *state, **kwargs):
        """As `Source.map`; on Dask both functions run where the partitions are."""
        yield from self._source.map(_run_applied, (self._op, self._state), op, state, kwargs)

    def _take(self, indices):
        X, w = self._source._take(indices)
        return _transformed(X, self._op, self._state), w
