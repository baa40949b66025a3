"""Sources that read in this process: arrays, memory maps, chunk iterators, Parquet files."""

import glob
import mmap
import os
import zlib

import numpy as np

from kernelmill._arrays import (
    as_matrix,
    check_weights,
    column_names,
    drop_column,
    feature_names,
    is_frame,
    is_sparse,
    memory_map_of,
    native_dtype,
    slice_rows,
    weight_dtype,
)
from kernelmill.stream._source import CHUNK_BYTES, Source

# Bytes of Parquet columns that are decoded at a time, on their way into a chunk.
_BATCH_BYTES = 4 << 20


def _cut(rows, most):
    """Sizes of the pieces of at most this many rows, in order."""
    return [min(most, rows - start) for start in range(0, rows, most)]


def _rows_in(chunk_bytes, n_features, itemsize):
    return max(1, chunk_bytes // max(1, n_features * itemsize))


def _own_weights(sample_weight, rows, source):
    if sample_weight is None:
        return None
    return check_weights(sample_weight, rows, source.dtype, source._owner)


class ArraySource(Source):
    """An array, CSR matrix or data frame in memory: one chunk, or slices of `chunk_rows`."""

    def __init__(self, X, sample_weight, *, chunk_rows, owner, accepted, validate):
        if isinstance(sample_weight, str) and is_frame(X):
            X, sample_weight = drop_column(X, sample_weight, owner)
        native = native_dtype(X, owner)
        if is_sparse(X):
            X = X.tocsr()
        rows = X.height if hasattr(X, "height") else X.shape[0]
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
        self._weights = _own_weights(sample_weight, rows, self)
        self._step = chunk_rows or max(rows, 1)
        if rows <= self._step and (chunk_rows is None or rows):
            self._hold()

    def _hold(self):
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
        self._need_rows(self.n_rows)
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

    def __init__(self, X, sample_weight, *, chunk_rows, owner, accepted, validate):
        X = np.asarray(X)
        rows = chunk_rows or _rows_in(CHUNK_BYTES, X.shape[1], X.dtype.itemsize)
        super().__init__(
            X, sample_weight, chunk_rows=rows, owner=owner, accepted=accepted, validate=validate
        )
        behind = memory_map_of(X)
        assert behind is not None  # that is what made it of this class
        self._map, view = behind
        streamed = self.in_memory is None
        self._advise = streamed and view.mode != "c" and hasattr(mmap, "MADV_DONTNEED")
        if self._advise:
            self._base = np.frombuffer(self._map, dtype=np.uint8).ctypes.data

    def _tell(self, X, advice):
        """Advise the kernel about the pages of a slice of the map."""
        low, high = np.lib.array_utils.byte_bounds(X)
        page = mmap.PAGESIZE
        start = (low - self._base) // page * page
        stop = min(-(-(high - self._base) // page) * page, len(self._map))
        if stop > start:
            self._map.madvise(advice, start, stop - start)

    def _read(self):
        if not self._advise:
            yield from super()._read()
            return
        for start in range(0, self.n_rows, self._step):
            X = self._X[start : start + self._step]
            ahead = self._X[start + self._step : start + 2 * self._step]
            if ahead.size:
                self._tell(ahead, mmap.MADV_WILLNEED)
            try:
                w = self._weights
                yield X, None if w is None else w[start : start + self._step]
            finally:
                self._tell(X, mmap.MADV_DONTNEED)

    def _take(self, indices):
        if not self._advise:
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
                self._tell(chunk, mmap.MADV_DONTNEED)
            done = end
        return X, None if self._weights is None else self._weights[indices]


class IteratorSource(Source):
    """Chunks from a user's iterable: arrays or (array, weights) pairs, again in every pass."""

    _slow_to_read = True

    def __init__(self, chunks, sample_weight, *, chunk_rows, owner, accepted, validate):
        self._chunks = chunks
        self._owner = owner
        self._head = []  # the first chunk of a generator, which cannot be asked for it again
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
        self._weights = None if sample_weight is None else np.asarray(sample_weight)
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
        if isinstance(item, (tuple, list)) and len(item) == 2:
            X = item[0]
            if is_frame(X) or getattr(X, "ndim", None) == 2:
                return item
        return item, None

    def _read(self):
        if self._started is not None:
            if not self._head:
                raise ValueError(
                    f"{self._owner}: X must be readable more than once, got a generator that has "
                    f"been used up (pass a function that returns a new one, or a list of chunks)"
                )
            opened, head = self._started, self._head
            self._head = []
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
                    if w is not None:
                        raise ValueError(
                            f"{self._owner}: sample_weight must come with the chunks or as an "
                            f"array, got both"
                        )
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
        if not X.shape[0] or not isinstance(X, np.ndarray):
            return 0
        return zlib.crc32(X[-1].tobytes(), zlib.crc32(X[0].tobytes()))


def parquet_files(path, owner):
    """The files behind a path, folder, pattern or list of these, folders and patterns sorted."""
    if isinstance(path, (list, tuple)):
        return [file for item in path for file in parquet_files(item, owner)]
    name = os.fspath(path)
    if os.path.isdir(name):
        found = []
        for folder, folders, files in os.walk(name):
            folders[:] = [f for f in folders if not f.startswith(("_", "."))]
            found += [
                os.path.join(folder, file)
                for file in files
                if file.endswith(".parquet") and not file.startswith(("_", "."))
            ]
        found.sort()
    elif os.path.exists(name):
        return [name]
    elif any(mark in name for mark in "*?["):
        found = sorted(glob.glob(name, recursive=True))
    else:
        raise FileNotFoundError(f"{owner}: X must be a file that exists, got {name!r}")
    if not found:
        raise FileNotFoundError(f"{owner}: X must name at least one Parquet file, got {name!r}")
    return found


class ParquetSource(Source):
    """Parquet files, one row group (or 64 MiB of a larger one) at a time."""

    _slow_to_read = True

    def __init__(self, path, sample_weight, *, chunk_rows, owner, accepted, validate):
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(
                f"{owner}: X must be readable with pyarrow, which is missing, got {path!r} "
                f"(pip install pyarrow)"
            ) from error
        self._open = pyarrow.parquet.ParquetFile
        self._from_batches = pyarrow.Table.from_batches
        self._files = parquet_files(path, owner)
        groups = []  # rows of every row group of every file
        for file in self._files:
            try:
                with self._open(file) as opened:
                    metadata, schema = opened.metadata, opened.schema_arrow
            except pyarrow.ArrowInvalid as error:
                raise ValueError(
                    f"{owner}: X must be a Parquet or .npy file, got {file} ({error})"
                ) from error
            groups += [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            if file == self._files[0]:
                first = schema
            elif not set(first.names) <= set(schema.names):
                missing = next(name for name in first.names if name not in schema.names)
                raise ValueError(
                    f"{owner}: X must have the same columns in every file, got no {missing!r} in "
                    f"{file}"
                )
        rows = sum(groups)
        empty = first.empty_table()
        self._weight_column = sample_weight if isinstance(sample_weight, str) else None
        if self._weight_column is not None:
            empty, _ = drop_column(empty, self._weight_column, owner)
        self._columns = column_names(empty)
        super().__init__(
            owner=owner,
            accepted=accepted,
            validate=validate,
            native=native_dtype(empty, owner),
            n_features=len(self._columns),
            names=feature_names(empty),
            n_rows=rows,
        )
        if chunk_rows is not None:
            self._sizes = _cut(rows, chunk_rows)
        else:
            most = _rows_in(CHUNK_BYTES, self.n_features, self.dtype.itemsize)
            self._sizes = [size for group in groups for size in _cut(group, most)]
        self._weights = None
        if sample_weight is not None and self._weight_column is None:
            self._weights = _own_weights(sample_weight, rows, self)

    def _batches(self):
        """Small Arrow tables in file order: what is decoded at a time beside the chunk itself."""
        wanted = list(self._columns)
        if self._weight_column is not None:
            wanted.append(self._weight_column)
        step = _rows_in(_BATCH_BYTES, len(wanted), 8)
        for file in self._files:
            with self._open(file) as opened:
                for group in range(opened.num_row_groups):
                    for batch in opened.iter_batches(step, row_groups=[group], columns=wanted):
                        yield self._from_batches([batch])

    def _read(self):
        batches, table, position = self._batches(), None, 0
        for size in self._sizes:
            X = np.empty((size, self.n_features), dtype=self.dtype)
            w = None
            if self._weight_column is not None:
                w = np.empty(size, dtype=weight_dtype(self.dtype))
            elif self._weights is not None:
                w = self._weights[position : position + size]
            filled = 0
            while filled < size:
                if table is None or not table.num_rows:
                    table = next(batches, None)
                    if table is None:
                        raise ValueError(
                            f"{self._owner}: X must yield the same chunks in every pass, got "
                            f"{position + filled} of {self.n_rows} rows (were the files changed?)"
                        )
                part = table.slice(0, size - filled)
                table = table.slice(part.num_rows)
                rows = slice(filled, filled + part.num_rows)
                if self._weight_column is not None:
                    assert w is not None
                    part, w[rows] = drop_column(part, self._weight_column, self._owner)
                X[rows] = as_matrix(part.select(self._columns), self._owner, (self.dtype,))
                filled = rows.stop
            yield X, w
            del X, w
            position += size
