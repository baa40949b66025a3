"""Data larger than memory: memory maps, Parquet, lazy tables, iterators, Dask collections.

`source` wraps any of them as a `Source`: rows chunk by chunk, as often as needed. Every model whose
``fit`` takes a stream accepts what `source` accepts, and a `Source` too.
"""

import functools
import os

import numpy as np

from kernelmill._arrays import choose_columns, kind, library, memory_map_of
from kernelmill.stream._source import CHUNK_BYTES, Source

__all__ = ["CHUNK_BYTES", "Source", "source"]


def source(
    X, sample_weight=None, *, columns=None, exclude=None, chunk_rows=None, dtype=None,
    validate=None, owner="stream.source"
):
    """Wrap any supported X as a `Source` of chunks.

    Parameters
    ----------
    X : array-like, shape (n, d), or one of the following
        - ndarray, CSR matrix, list of lists, CuPy array, or an object with ``__array__``;
        - pandas or polars DataFrame, pyarrow Table, with numeric columns only;
        - numpy.memmap, or a path that ends in ``.npy``: 64 MiB chunks, resident memory stays near
          one chunk;
        - path, folder or glob pattern of Parquet files, or a list of these: a chunk is a row group,
          or 64 MiB of a larger one; needs pyarrow;
        - polars LazyFrame, such as ``polars.scan_parquet(...)``, or pyarrow Dataset: 64 MiB chunks;
          the query or scan is run anew in every pass, so its rows must come in a fixed order;
        - a re-iterable of chunks, or a function without arguments that returns an iterator of
          chunks; a chunk is any of the above that is in memory, or a pair (chunk, weights);
        - an iterator, such as a generator, which is enough for one pass;
        - Dask array or DataFrame: a chunk is a partition, and ops run where the partitions are;
        - a `Source`: the same rows, with `validate` as one more check.
    sample_weight : array-like of shape (n,), str or None
        One weight per row. Where X has column names also the name of a column, which is then no
        feature. For Dask also a Dask array or Series with the same partitions. Iterators may
        yield pairs instead.
    columns : str or list of str, optional
        Names of the columns to use as features, in this order. Only these are read from Parquet
        files and lazy tables. All columns by default.
    exclude : str or list of str, optional
        Names of the columns to leave out, instead of `columns`.
    chunk_rows : int, optional
        Rows of every chunk but the last. The default is all of X where it is in memory, and the
        pieces named above elsewhere.
    dtype : dtype or list of dtypes, optional
        Accepted dtypes. X keeps its dtype where it is accepted and is converted to the first one
        otherwise, chunk by chunk. The default is [float64, float32].
    validate : callable, optional
        ``validate(X_chunk, first_row) -> X_chunk`` is called once for each chunk, in the first pass
        over it; `first_row` is the number of the chunk's first row in X.
    owner : str
        What errors call the caller.

    Returns
    -------
    Source
        Iterable, as often as needed, over pairs of rows and weights.

    Raises
    ------
    ValueError
        If X is not 2-D and numeric, a column is missing, or the weights do not fit; the message
        names the column or row.
    TypeError
        If X is of no supported kind.
    ImportError
        If reading X needs a package that is missing; the message has the command to install it.

    Notes
    -----
    Inputs are never modified. Sources that take time to read (Parquet, lazy tables, iterators) read
    the next chunk in a thread while the current one is in use, so two chunks are in memory at a
    time. Missing entries of frames and tables become NaN, decimals and Python numbers float64.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import stream
    >>> X = np.arange(12, dtype=np.float32).reshape(6, 2)
    >>> s = stream.source(X, chunk_rows=4)
    >>> s.n_features, s.dtype, s.n_rows
    (2, dtype('float32'), 6)
    >>> [chunk.shape for chunk, weights in s]
    [(4, 2), (2, 2)]
    >>> s.take([5, 0])
    array([[10., 11.],
           [ 0.,  1.]], dtype=float32)

    A table with an identifier and a column of weights:

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"id": [7, 8], "a": [1.0, 2.0], "b": [3.0, 4.0], "w": [1.0, 0.5]})
    >>> s = stream.source(frame, "w", exclude="id")
    >>> s.feature_names.tolist()
    ['a', 'b']
    """
    if isinstance(X, Source):
        if any(value is not None for value in (sample_weight, columns, exclude, chunk_rows)):
            raise ValueError(
                f"{owner}: sample_weight, columns, exclude and chunk_rows must be given where the "
                f"Source is made, got them beside a Source"
            )
        return X.checked(validate)
    if columns is not None and exclude is not None:
        raise ValueError(f"{owner}: columns must be None beside exclude, got both")
    if chunk_rows is not None and (
        isinstance(chunk_rows, bool)
        or not isinstance(chunk_rows, (int, np.integer))
        or chunk_rows < 1
    ):
        raise ValueError(f"{owner}: chunk_rows must be a whole number above 0, got {chunk_rows!r}")
    accepted = None
    if dtype is not None:
        accepted = [np.dtype(d) for d in (dtype if isinstance(dtype, (list, tuple)) else [dtype])]
    choose = None
    if columns is not None or exclude is not None:
        weight = sample_weight if isinstance(sample_weight, str) else None
        choose = functools.partial(
            choose_columns, columns=columns, exclude=exclude, weight=weight, owner=owner
        )
    reader, X = _reader(X, owner)
    return reader(
        X,
        sample_weight,
        choose=choose,
        chunk_rows=None if chunk_rows is None else int(chunk_rows),
        owner=owner,
        accepted=accepted,
        validate=validate,
    )


def _reader(X, owner):
    """The class that reads X, and X as that class takes it."""
    from kernelmill.stream import _readers, _tables

    what = kind(X)
    if what == "dask":
        from kernelmill.stream._dask import DaskSource

        return DaskSource, X
    if what == "path" and os.fspath(X).endswith(".npy"):
        what, X = "numpy", open_npy(X, owner)
    if what == "numpy" and X.ndim == 2 and X.size and memory_map_of(X) is not None:
        return _readers.MemmapSource, X
    if what in ("array-like", "nested"):
        X = _as_array(X, owner)
    if what == "lazy":
        polars = library(X) == "polars"
        return _tables.LazyFrameSource if polars else _tables.DatasetSource, X
    if what == "other":
        raise TypeError(
            f"{owner}: X must be an array, frame, path, Dask collection or iterable of chunks, got "
            f"{type(X).__name__}"
        )
    if what in ("path", "paths"):
        return _tables.ParquetSource, X
    return _readers.IteratorSource if what == "chunks" else _readers.ArraySource, X


def _as_array(X, owner):
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(f"{owner}: X must have rows of equal length, got {error}") from error


def open_npy(path, owner):
    """The memory map of a .npy file."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{owner}: X must be a file that exists, got {os.fspath(path)!r}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{owner}: X must be a numeric .npy file, got {path} ({error})") from error
