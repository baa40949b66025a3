"""Sources of tables that are read on the way: Parquet files, Arrow datasets, polars LazyFrames."""

import glob
import itertools
import os

import numpy as np

from kernelmill._arrays import (
    as_matrix,
    check_weights,
    column_names,
    drop_column,
    feature_names,
    native_dtype,
    select_columns,
    slice_rows,
    weight_dtype,
)
from kernelmill.stream._source import CHUNK_BYTES, Source, end_marks, rows_in

# Bytes of columns that are decoded at a time, on their way into a chunk.
_BATCH_BYTES = 4 << 20


class TableSource(Source):
    """Columns that are decoded a few MiB at a time into chunks of rows.

    Subclasses say with `_batches` where the columns come from.

    Parameters
    ----------
    empty : polars.DataFrame or pyarrow.Table
        A table without rows and with all columns.
    rows : int or None
        How many there are, where that is known.
    """

    _slow_to_read = True

    def __init__(
        self, empty, rows, sample_weight, *, choose, chunk_rows, owner, accepted, validate
    ):
        self._weight_column = sample_weight if isinstance(sample_weight, str) else None
        if self._weight_column is not None:
            empty, _ = drop_column(empty, self._weight_column, owner)
        if choose is not None:
            empty = select_columns(empty, choose(column_names(empty)))
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
        self._rows_a_chunk = chunk_rows or rows_in(
            CHUNK_BYTES, self.n_features, self.dtype.itemsize
        )
        self._weights = None
        if sample_weight is not None and self._weight_column is None:
            self._weights = check_weights(sample_weight, self._length(), self.dtype, owner)

    def _length(self):
        """Rows of the table, without a pass over its columns."""
        return self.n_rows

    def _sizes(self):
        """Rows of each chunk, as an iterable that may go on for ever."""
        return itertools.repeat(self._rows_a_chunk)

    def _batches(self, names, rows):
        """Yield small frames with these columns, in order, of at most about so many rows."""
        raise NotImplementedError

    def _read(self):
        wanted = list(self._columns)
        if self._weight_column is not None:
            wanted.append(self._weight_column)
        batches = self._batches(wanted, rows_in(_BATCH_BYTES, len(wanted), 8))
        table, position = None, 0
        try:
            for size in self._sizes():
                X = np.empty((size, self.n_features), dtype=self.dtype)
                w = None
                if self._weight_column is not None:
                    w = np.empty(size, dtype=weight_dtype(self.dtype))
                elif self._weights is not None:
                    w = self._weights[position : position + size]
                filled = 0
                while filled < size:
                    if table is None or not len(table):
                        table = next(batches, None)
                        if table is None:
                            break
                        continue
                    part = slice_rows(table, 0, size - filled)
                    table = slice_rows(table, len(part), len(table))
                    rows = slice(filled, filled + len(part))
                    if w is not None and self._weight_column is not None:
                        part, w[rows] = drop_column(part, self._weight_column, self._owner)
                    part = select_columns(part, self._columns)
                    X[rows] = as_matrix(part, self._owner, (self.dtype,))
                    filled = rows.stop
                if filled:
                    yield X[:filled], None if w is None else w[:filled]
                del X, w
                position += filled
                if filled < size:
                    break
        finally:
            getattr(batches, "close", lambda: None)()
        if self.n_rows is not None and position != self.n_rows:
            raise ValueError(
                f"{self._owner}: X must yield the same chunks in every pass, got {position} of "
                f"{self.n_rows} rows (was the data changed in between?)"
            )


class LazyFrameSource(TableSource):
    """A polars LazyFrame, whose plan is executed in every pass by the streaming engine."""

    def __init__(self, X, sample_weight, *, owner, **options):
        self._frame = X
        import polars

        empty = polars.DataFrame(schema=X.collect_schema())
        super().__init__(empty, None, sample_weight, owner=owner, **options)

    def _length(self):
        import polars

        return self._frame.select(polars.len()).collect(engine="streaming").item()

    def _batches(self, names, rows):
        frame = self._frame.select(names)
        yield from frame.collect_batches(chunk_size=rows, lazy=True, engine="streaming")

    def _fingerprint(self, X):
        return end_marks(X)


class DatasetSource(TableSource):
    """A pyarrow Dataset: files of Parquet, CSV, Feather, ORC, ..., partitioned or not."""

    def __init__(self, X, sample_weight, *, owner, **options):
        self._dataset = X
        super().__init__(X.schema.empty_table(), None, sample_weight, owner=owner, **options)

    def _length(self):
        return self._dataset.count_rows()

    def _batches(self, names, rows):
        options = {"columns": names, "batch_size": rows, "batch_readahead": 1}
        for part in self._parts():
            if part is not self._dataset:
                options["schema"] = self._dataset.schema
            yield from part.to_batches(**options)

    def _parts(self):
        """Row groups and files to scan one by one: a scan of all reads up to 1 GiB ahead."""
        dataset = self._dataset
        # One with a filter, or made of other datasets, knows best how to scan itself.
        if type(dataset).__name__ != "FileSystemDataset" or getattr(dataset, "_scan_options", True):
            yield dataset
            return
        for fragment in dataset.get_fragments():
            if hasattr(fragment, "split_by_row_group"):
                yield from fragment.split_by_row_group()
            else:
                yield fragment


def parquet_files(path, owner):
    """The files behind a path, folder, pattern or list of these, folders and patterns sorted."""
    if isinstance(path, (list, tuple)):
        return [file for item in path for file in parquet_files(item, owner)]
    name = os.fspath(path)
    if os.path.isdir(name):
        files = []
        for folder, folders, names in os.walk(name):
            folders[:] = [f for f in folders if not f.startswith(("_", "."))]
            files += [
                os.path.join(folder, file)
                for file in names
                if file.endswith(".parquet") and not file.startswith(("_", "."))
            ]
        files.sort()
    elif os.path.exists(name):
        return [name]
    elif any(mark in name for mark in "*?["):
        files = sorted(glob.glob(name, recursive=True))
    else:
        raise FileNotFoundError(f"{owner}: X must be a file that exists, got {name!r}")
    if not files:
        raise FileNotFoundError(f"{owner}: X must name at least one Parquet file, got {name!r}")
    return files


class ParquetSource(TableSource):
    """Parquet files, one row group (or 64 MiB of a larger one) at a time."""

    def __init__(self, path, sample_weight, *, chunk_rows, owner, **options):
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(
                f"{owner}: X must be readable with pyarrow, which is missing, got {path!r} "
                f"(pip install pyarrow)"
            ) from error
        self._open = pyarrow.parquet.ParquetFile
        self._files = parquet_files(path, owner)
        self._groups = []  # rows of every row group of every file, where they set the chunks
        for file in self._files:
            try:
                with self._open(file) as opened:
                    metadata, schema = opened.metadata, opened.schema_arrow
            except pyarrow.ArrowInvalid as error:
                raise ValueError(
                    f"{owner}: X must be a Parquet or .npy file, got {file} (polars.scan_csv(path) "
                    f"streams a CSV file; {error})"
                ) from error
            self._groups += [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            if file == self._files[0]:
                first = schema
            elif not set(first.names) <= set(schema.names):
                missing = next(name for name in first.names if name not in schema.names)
                raise ValueError(
                    f"{owner}: X must have the same columns in every file, got no {missing!r} in "
                    f"{file}"
                )
        rows = sum(self._groups)
        if chunk_rows is not None:
            self._groups = [rows]
        super().__init__(
            first.empty_table(), rows, sample_weight, chunk_rows=chunk_rows, owner=owner, **options
        )

    def _sizes(self):
        most = self._rows_a_chunk
        return [min(most, n - start) for n in self._groups for start in range(0, n, most)]

    def _batches(self, names, rows):
        for file in self._files:
            with self._open(file) as opened:
                for group in range(opened.num_row_groups):
                    yield from opened.iter_batches(rows, row_groups=[group], columns=names)
