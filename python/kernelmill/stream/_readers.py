"""Sources of arrays: in memory, memory-mapped, or chunk by chunk from an iterator."""

import mmap

import numpy as np

from kernelmill._arrays import (
    as_matrix,
    check_weights,
    choose_from,
    drop_column,
    feature_names,
    is_frame,
    is_sparse,
    memory_map_of,
    native_dtype,
    slice_rows,
)
from kernelmill.stream._source import CHUNK_BYTES, READ_ONCE, Source, end_marks, rows_in


class ArraySource(Source):
    """An array, CSR matrix or data frame in memory: one chunk, or slices of `chunk_rows`."""

    def __init__(self, X, sample_weight, *, choose, chunk_rows, owner, accepted, validate):
        if isinstance(sample_weight, str) and is_frame(X):
            X, sample_weight = drop_column(X, sample_weight, owner)
        X = choose_from(X, choose, owner)
        native = native_dtype(X, owner)
        if is_sparse(X):
            X = X.tocsr()
        rows = X.shape[0]
        super().__init__(
            owner=owner,
            accepted=accepted,
            validate=validate,
            native=native,
            n_features=X.shape[1],
            names=feature_names(X),
            n_rows=rows,
        )
        self._X = X
        self._weights = check_weights(sample_weight, rows, self.dtype, owner)
        self._step = chunk_rows or max(rows, 1)
        if rows <= self._step and (chunk_rows is None or rows):
            self._load()

    def _load(self):
        """Convert and validate X once, where it is a single chunk."""
        X = as_matrix(self._X, self._owner, (self.dtype,))
        if self._validate is not None:
            X = self._validate(X, 0)
        self._X = self.in_memory = X
        self._seen.append((X.shape[0], 0))
        self._complete = True

    def _read(self):
        for start in range(0, self.n_rows or 1, self._step):
            stop = min(start + self._step, self.n_rows)
            X = self._X if stop - start == self.n_rows else slice_rows(self._X, start, stop)
            yield X, None if self._weights is None else self._weights[start:stop]
            del X

    def _take(self, indices):
        self._require_rows(self.n_rows)
        if is_frame(self._X):
            return super()._take(indices)
        X = as_matrix(self._X[indices], self._owner, (self.dtype,))
        return X, None if self._weights is None else self._weights[indices]


class MemmapSource(ArraySource):
    """A memory-mapped array larger than one chunk; pages are given back as chunks are used up.

    Resident memory stays near one chunk: before a chunk is used the kernel is told to read the
    next one (MADV_WILLNEED), afterwards to unmap the pages of this one (MADV_DONTNEED; a shared map
    keeps them in the page cache, so nothing is lost). Copy-on-write maps (mode "c") hold changes
    that exist nowhere else, so their pages are left alone.
    """

    def __init__(self, X, sample_weight, *, chunk_rows, **options):
        X = np.asarray(X)
        rows = chunk_rows or rows_in(CHUNK_BYTES, X.shape[1], X.dtype.itemsize)
        super().__init__(X, sample_weight, chunk_rows=rows, **options)
        behind = memory_map_of(X)
        assert behind is not None  # that is what made it of this class
        self._map, view = behind
        streamed = self.in_memory is None
        self._advised = streamed and view.mode != "c" and hasattr(mmap, "MADV_DONTNEED")
        if self._advised:
            self._base = np.frombuffer(self._map, dtype=np.uint8).ctypes.data

    def _advise(self, X, advice):
        """Advise the kernel about the pages of a slice of the map."""
        low, high = np.lib.array_utils.byte_bounds(X)
        page = mmap.PAGESIZE
        start = (low - self._base) // page * page
        stop = min(-(-(high - self._base) // page) * page, len(self._map))
        if stop > start:
            self._map.madvise(advice, start, stop - start)

    def _read(self):
        if not self._advised:
            yield from super()._read()
            return
        for start in range(0, self.n_rows, self._step):
            X = self._X[start : start + self._step]
            ahead = self._X[start + self._step : start + 2 * self._step]
            if ahead.size:
                self._advise(ahead, mmap.MADV_WILLNEED)
            try:
                w = self._weights
                yield X, None if w is None else w[start : start + self._step]
            finally:
                self._advise(X, mmap.MADV_DONTNEED)

    def _take(self, indices):
        if not self._advised:
            return super()._take(indices)
        # Chunk by chunk, for rows drawn at random lie on every page of the map.
        order = np.argsort(indices, kind="stable")
        wanted = indices[order]
        X = np.empty((len(indices), self.n_features), dtype=self.dtype)
        starts = np.arange(0, self.n_rows, self._step)
        ends = np.searchsorted(wanted, starts + self._step)
        done = 0
        for start, end in zip(starts, ends, strict=True):
            if end > done:
                chunk = self._X[start : start + self._step]
                X[order[done:end]] = chunk[wanted[done:end] - start]
                self._advise(chunk, mmap.MADV_DONTNEED)
            done = end
        return X, None if self._weights is None else self._weights[indices]


class IteratorSource(Source):
    """Chunks from a user's iterable: arrays or (array, weights) pairs, again in every pass."""

    _slow_to_read = True

    def __init__(self, chunks, sample_weight, *, choose, chunk_rows, owner, accepted, validate):
        self._chunks, self._choose = chunks, choose
        self._owner = owner
        self._weight_column = sample_weight if isinstance(sample_weight, str) else None
        self._weights = None
        if sample_weight is not None and self._weight_column is None:
            self._weights = np.asarray(sample_weight)
        self._head = []  # the first chunk of an iterator, which cannot be asked for it again
        self._started = None
        first = self._first()
        super().__init__(
            owner=owner,
            accepted=accepted,
            validate=validate,
            native=native_dtype(first, owner),
            n_features=first.shape[1] if hasattr(first, "shape") else np.shape(first)[1],
            names=feature_names(first),
            n_rows=None,
        )
        self._chunk_rows = chunk_rows
        if self._weights is not None and self._weights.ndim > 1:
            raise ValueError(
                f"{owner}: sample_weight must have one value for each row of X, got shape "
                f"{self._weights.shape}"
            )

    def _open(self):
        made = self._chunks() if callable(self._chunks) else self._chunks
        try:
            return iter(made)
        except TypeError:
            raise TypeError(
                f"{self._owner}: X must return an iterator of chunks, got {type(made).__name__}"
            ) from None

    def _first(self):
        opened = self._open()
        try:
            item = next(opened)
        except StopIteration:
            raise ValueError(f"{self._owner}: X must yield at least one chunk, got none") from None
        if opened is self._chunks:
            self._started, self._head = opened, [item]
        elif hasattr(opened, "close"):
            opened.close()
        return self._pair(item)[0]

    def _pair(self, item):
        X, w = item, None
        if isinstance(item, (tuple, list)) and len(item) == 2:
            first = item[0]
            if is_frame(first) or getattr(first, "ndim", None) == 2:
                X, w = item
        if self._weight_column is not None or self._weights is not None:
            if w is not None:
                raise ValueError(
                    f"{self._owner}: sample_weight must come with the chunks or as an argument, "
                    f"got both"
                )
            if self._weight_column is not None:
                X, w = self._split(X)
        return choose_from(X, self._choose, self._owner), w

    def _split(self, X):
        """A chunk without its column of weights, and that column."""
        if not is_frame(X):
            raise TypeError(
                f"{self._owner}: sample_weight must be an array where chunks have no column names, "
                f"got {self._weight_column!r}"
            )
        return drop_column(X, self._weight_column, self._owner)

    def _read(self):
        if self._started is not None:
            if not self._head:
                raise ValueError(
                    f"{self._owner}: X must be readable more than once, got a "
                    f"{type(self._started).__name__} that was read already ({READ_ONCE})"
                )
            opened, head = self._started, self._head.copy()
            self._head.clear()
        else:
            opened, head = self._open(), []
        position = 0
        try:
            while True:
                item = head.pop() if head else next(opened, opened)
                if item is opened:  # the end: no chunk is the iterator itself
                    break
                X, w = self._pair(item)
                del item
                rows = X.shape[0] if hasattr(X, "shape") else len(X)
                if self._weights is not None:
                    each = self._weights.ndim == 1
                    w = self._weights[position : position + rows] if each else self._weights
                yield X, w
                del X, w
                position += rows
        finally:
            if opened is not self._started and hasattr(opened, "close"):
                opened.close()
        if self._weights is not None and self._weights.size not in (1, position) and position:
            raise ValueError(
                f"{self._owner}: sample_weight must have one value for each row of X, got "
                f"{self._weights.size} for {position} rows"
            )

    def _fingerprint(self, X):
        return end_marks(X)
