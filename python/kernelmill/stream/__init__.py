"""One way to read X, wherever it is: memory, a memory map, Parquet, an iterator, a Dask cluster.

A model that trains by map, reduce and update asks `source` for a `Source` and runs
``source.map_reduce(op, *state)`` once per iteration. It never asks where the rows are.
"""

import os

import numpy as np

from kernelmill._arrays import kind, memory_map_of
from kernelmill.stream._source import CHUNK_BYTES, Source

__all__ = ["CHUNK_BYTES", "Source", "source"]


def source(
    X,
    sample_weight=None,
    *,
    chunk_rows=None,
    dtype=None,
    validate=None,
    owner="stream.source",
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
        - a re-iterable of chunks, or a function without arguments that returns an iterator of
          chunks; a chunk is any of the above that is in memory, or a pair (chunk, weights);
        - a generator, which is enough for one pass;
        - Dask array or DataFrame: a chunk is a partition, and ops run where the partitions are;
        - a `Source`, which is returned as it is.
    sample_weight : array-like of shape (n,), str or None
        One weight per row. For frames and Parquet also the name of a column, which is then no
        feature. For Dask also a Dask array or Series with the same partitions. Iterators may
        yield pairs instead.
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
        If X is not 2-D and numeric, or the weights do not fit; the message names the column or row.
    TypeError
        If X is of no supported kind.
    ImportError
        If reading X needs a package that is missing; the message has the command to install it.

    Notes
    -----
    Inputs are never written to. Sources that take time to read (Parquet, iterators) read the next
    chunk in a thread while the current one is in use, so two chunks are in memory at a time.

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
    """
    if isinstance(X, Source):
        if sample_weight is not None or chunk_rows is not None:
            raise ValueError(
                f"{owner}: sample_weight and chunk_rows must be given where the Source is made, "
                f"got them beside a Source"
            )
        return X
    if chunk_rows is not None and (
        isinstance(chunk_rows, bool)
        or not isinstance(chunk_rows, (int, np.integer))
        or chunk_rows < 1
    ):
        raise ValueError(f"{owner}: chunk_rows must be a whole number above 0, got {chunk_rows!r}")
    accepted = None
    if dtype is not None:
        accepted = [np.dtype(d) for d in (dtype if isinstance(dtype, (list, tuple)) else [dtype])]
    reader, X = _reader(X, owner)
    return reader(
        X,
        sample_weight,
        chunk_rows=None if chunk_rows is None else int(chunk_rows),
        owner=owner,
        accepted=accepted,
        validate=validate,
    )


def _reader(X, owner):
    """The class that reads X, and X as that class takes it."""
    from kernelmill.stream import _readers

    what = kind(X)
    if what == "dask":
        from kernelmill.stream._dask import DaskSource

        return DaskSource, X
    if what == "path" and os.fspath(X).endswith(".npy"):
        what, X = "numpy", _open_npy(X, owner)
    if what == "numpy" and X.ndim == 2 and X.size and memory_map_of(X) is not None:
        return _readers.MemmapSource, X
    if what in ("array-like", "nested"):
        X = _as_array(X, owner)
    if what == "lazy":
        raise TypeError(f"{owner}: X must be a DataFrame, got a LazyFrame (X.collect() makes one)")
    if what == "other":
        raise TypeError(
            f"{owner}: X must be an array, frame, path, Dask collection or iterable of chunks, got "
            f"{type(X).__name__}"
        )
    if what in ("path", "paths"):
        return _readers.ParquetSource, X
    return _readers.IteratorSource if what == "chunks" else _readers.ArraySource, X


def _as_array(X, owner):
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(f"{owner}: X must have rows of equal length, got {error}") from error


def _open_npy(path, owner):
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{owner}: X must be a file that exists, got {os.fspath(path)!r}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{owner}: X must be a numeric .npy file, got {path} ({error})") from error
