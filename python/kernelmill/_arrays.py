"""Kinds and places of arrays, and their conversion to rows that ops take.

The only module that inspects the type of an array; all others call `kind`, `namespace`, `beside`
and `to_host` for arrays, `as_matrix` to convert X, `check_weights` for weights. No library but
NumPy is imported: a value can only come from a library that is loaded already.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from numbers import Number
from typing import Any

import numpy as np

from . import _levels

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
# Rows that are interleaved from columns at a time: 4096 float64 of one column are 32 KiB, which
# stays in the first-level cache while the neighbouring columns are written beside it.
_BLOCK = 4096
_ON_HOST = frozenset({np.ndarray, float, int, bool, str, type(None)})
# What pandas calls columns of numbers, and those without any entry.
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")


# --- kinds ----------------------------------------------------------------------------------------


def library(value: Any) -> str:
    """The library that a value comes from, without importing it: "pandas", "numpy", ..."""
    return type(value).__module__.partition(".")[0]


def is_cupy(value: Any) -> bool:
    """Whether this is an array on a GPU."""
    return type(value) is not np.ndarray and library(value) == "cupy" and hasattr(value, "ndim")


def memory_map_of(array: Any) -> tuple[mmap.mmap, np.memmap] | None:
    """The map that an array is a view of, as (mmap object, numpy.memmap), or None."""
    owner, view = array, None
    while owner is not None:
        if view is None and isinstance(owner, np.memmap):
            view = owner
        if isinstance(owner, mmap.mmap):
            return None if view is None else (owner, view)
        owner = getattr(owner, "base", None)
    return None


def is_sparse(value: Any) -> bool:
    """Whether this is a SciPy sparse matrix or array."""
    if type(value) is np.ndarray:  # the commonest, in tenths of a microsecond
        return False
    return "scipy.sparse" in sys.modules and sys.modules["scipy.sparse"].issparse(value)


def is_csr(value: Any) -> bool:
    """Whether this is a SciPy CSR matrix or array: the sparse form that ops take."""
    return is_sparse(value) and value.format == "csr"


def is_frame(value: Any) -> bool:
    """Whether this is a pandas or polars DataFrame, or a pyarrow Table or RecordBatch."""
    name = type(value).__name__
    return (library(value) in ("pandas", "polars") and name == "DataFrame") or (
        library(value) == "pyarrow" and name in ("Table", "RecordBatch")
    )


def is_lazy(value: Any) -> bool:
    """Whether this is a polars LazyFrame or a pyarrow Dataset: a table not read yet."""
    if library(value) == "polars":
        return type(value).__name__ == "LazyFrame"
    return library(value) == "pyarrow" and hasattr(value, "get_fragments")


def is_path(value: Any) -> bool:
    """Whether this names a file."""
    return isinstance(value, str | os.PathLike)


def _is_chunk(item: Any) -> bool:
    """Whether an item of a list is a chunk of rows, perhaps with weights, rather than one row."""
    if isinstance(item, tuple) and len(item) == 2:
        item = item[0]
    return getattr(item, "ndim", 0) == 2 or is_frame(item)


def kind(value: Any) -> str:
    """Classify a value passed as X.

    Returns
    -------
    {"numpy", "cupy", "sparse", "frame", "dask", "lazy", "path", "paths", "chunks", "nested", \
            "array-like", "other"}
        ``"chunks"`` is an iterable of chunks, or a function that returns one; ``"nested"`` is
        lists of numbers.
    """
    if isinstance(value, np.ndarray):
        return "numpy"
    if is_cupy(value):
        return "cupy"
    if is_sparse(value):
        return "sparse"
    if is_frame(value):
        return "frame"
    if library(value) in ("dask", "dask_expr"):
        return "dask"
    if is_lazy(value):
        return "lazy"
    if is_path(value):
        return "path"
    if isinstance(value, list | tuple):
        if len(value) and all(map(is_path, value)):
            return "paths"
        return "chunks" if len(value) and _is_chunk(value[0]) else "nested"
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return "array-like"
    if hasattr(value, "__dlpack__"):
        return "array-like"
    if isinstance(value, dict | bytes | type):
        return "other"
    return "chunks" if callable(value) or hasattr(value, "__iter__") else "other"


def exchanged(value: Any) -> Any:
    """A tensor of another library as a NumPy array over the same memory, where it exports that."""
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic):
        return np.from_dlpack(value)
    return value


def mapped_as_array(value: Any) -> Any:
    """A memory map as a plain array over the same pages; anything else unchanged."""
    return value.view(np.ndarray) if isinstance(value, np.memmap) else value


def unmasked(value: Any) -> Any:
    """A masked array as float64, NaN where an entry is masked; anything else as it is."""
    return np.ma.filled(value.astype(np.float64), np.nan) if np.ma.isMaskedArray(value) else value


# --- places ---------------------------------------------------------------------------------------


def namespace(array: Any) -> Any:
    """numpy or cupy, whichever the array belongs to."""
    return sys.modules["cupy"] if is_cupy(array) else np


def to_host(value: Any) -> Any:
    """An array as NumPy, without a copy where it already is; arrays in tuples too."""
    if type(value) in _ON_HOST:  # the commonest, known without a question
        return value
    if isinstance(value, tuple):
        items = [to_host(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value.get() if is_cupy(value) else value


def beside(value: Any, like: Any) -> Any:
    """A dense array on the device where `like` lives; itself where it is there already."""
    if is_cupy(like):
        return value if is_cupy(value) or value is None else namespace(like).asarray(value)
    return to_host(value)


def room(shape: tuple[int, int], dtype: Any, like: Any) -> Any:
    """A matrix of any values where `like` lives; on the host in memory that results left behind.

    The faults of its first writing would cost several times the writing itself.
    """
    if is_cupy(like):
        return namespace(like).empty(shape, dtype)
    return _levels.cpu().pool_array(*shape, np.dtype(dtype).char)


def all_beside(values: Any, like: Any) -> list:
    """Dense arrays on the device where `like` lives."""
    return [beside(value, like) for value in values]


def to_device(value: Any, device: str | None) -> Any:
    """An array moved to ``"cpu"`` or ``"cuda"``; None leaves it where it is."""
    if device is None or value is None:
        return value
    return sys.modules["cupy"].asarray(value) if device == "cuda" else to_host(value)


def require_cuda(owner: str) -> None:
    """Raise unless a GPU can be used now."""
    must = f"{owner}: device must be 'cpu' or None here, got 'cuda'"
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(
            f"{must} (CuPy must be installed: pip install 'kernelmill[cuda]')"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own class, which differs between versions
        raise RuntimeError(f"{must} (no GPU can be used: {error})") from error
    if count < 1:
        raise RuntimeError(f"{must} (no GPU was found)")


# --- frames ---------------------------------------------------------------------------------------


def column_names(frame: Any) -> list:
    """The column labels of a frame, in order."""
    return list(frame.schema.names if library(frame) == "pyarrow" else frame.columns)


def feature_names(value: Any) -> np.ndarray | None:
    """Column names as scikit-learn keeps them, or None where they are not all text."""
    if type(value) is np.ndarray or not is_frame(value):
        return None
    names = column_names(value)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return np.array(names, dtype=object)


def select_columns(frame: Any, names: Sequence) -> Any:
    """The columns of these names, in this order."""
    return frame[list(names)] if library(frame) == "pandas" else frame.select(list(names))


def align_columns(value: Any, names: Any, owner: str, position: int) -> Any:
    """A frame with its columns in the order of `names`; anything without text names unchanged.

    Matching chunks of frames by position would silently mix up reordered columns.
    """
    own = feature_names(value)
    if own is None or names is None or np.array_equal(own, names):
        return value
    if sorted(own) != sorted(names):
        odd = sorted(set(own) ^ set(names))[:5]
        raise ValueError(
            f"{owner}: X must have the same columns in every chunk, got others in the chunk that "
            f"starts at row {position} (on one side only: {', '.join(odd)})"
        )
    return select_columns(value, names)


def choose_columns(
    names: Sequence, *, columns: Any, exclude: Any, weight: Any, owner: str
) -> list:
    """Names of the columns that are features, by ``columns=`` or ``exclude=``.

    Parameters
    ----------
    names : sequence
        All columns but that of the weights.
    columns, exclude : name, sequence of names or None
        What the user asks for; at most one of them.
    weight : str or None
        Name of the column of weights, which may stand in `exclude`.
    """
    argument, asked = ("columns", columns) if exclude is None else ("exclude", exclude)
    asked = [asked] if isinstance(asked, str | int) else list(asked)
    for place, name in enumerate(asked):
        if name not in names and (argument == "columns" or name != weight):
            what = f"{name!r}, the column of sample_weight" if name == weight else repr(name)
            raise ValueError(
                f"{owner}: {argument} must name columns of X, got {what} ({_listing(names)})"
            )
        if name in asked[:place]:
            raise ValueError(f"{owner}: {argument} must name each column once, got {name!r} twice")
    chosen = asked if argument == "columns" else [name for name in names if name not in asked]
    if not chosen:
        raise ValueError(f"{owner}: {argument} must leave a column of X, got {asked!r}")
    return chosen


def choose_from(value: Any, choose: Any, owner: str) -> Any:
    """The columns of a frame that `choose` picks from their names; all of X where it is None."""
    if choose is None:
        return value
    if not is_frame(value):
        raise TypeError(
            f"{owner}: columns and exclude must be None where X has no column names, got them "
            f"beside {type(value).__name__} (X[:, indices] selects columns of an array)"
        )
    return select_columns(value, choose(column_names(value)))


def _listing(names: Sequence) -> str:
    """The first columns of a table, for messages."""
    return f"columns: {', '.join(map(str, names[:10]))}{', ...' if len(names) > 10 else ''}"


def drop_column(frame: Any, name: Any, owner: str) -> tuple[Any, np.ndarray]:
    """Split a frame into all other columns and the column of weights."""
    names = column_names(frame)
    if name not in names:
        raise ValueError(
            f"{owner}: sample_weight must be a column of X, got {name!r} ({_listing(names)})"
        )
    if library(frame) == "pandas":
        column = np.asarray(frame[name])
    elif library(frame) == "polars":
        column = frame[name].to_numpy()
    else:
        column = frame.column(name).to_numpy(zero_copy_only=False)
    return select_columns(frame, [other for other in names if other != name]), column


def levels_of(frame: Any, position: int) -> np.ndarray | None:
    """The levels of a categorical column of a frame, or None where it has another dtype.

    Those of the dtype with pandas, those that occur with polars and pyarrow.
    """
    origin = library(frame)
    if origin == "pandas":
        own = frame.dtypes.iloc[position]
        if type(own).__name__ != "CategoricalDtype":
            return None
        return own.categories.to_numpy()
    if origin == "polars":
        if str(frame.dtypes[position]).partition("(")[0] not in ("Categorical", "Enum"):
            return None
    elif "dictionary" not in str(frame.schema[position].type):
        return None
    return distinct(frame, position)


def _column_values(frame: Any, position: int) -> Any:
    """Entries of a column as Python objects, None or NaN where they are missing."""
    if library(frame) == "pandas":
        column = frame.iloc[:, position]
        return [None if gone else v for v, gone in zip(column, column.isna(), strict=True)]
    if library(frame) == "polars":
        return frame.to_series(position).to_list()
    return frame.column(position).to_pylist()


def distinct(frame: Any, position: int) -> np.ndarray:
    """The different entries of a column, sorted, without missing ones."""
    found = {v for v in _column_values(frame, position) if v is not None and v == v}
    return np.array(sorted(found), dtype=object if any(map(is_path, found)) else None)


def numbered(frame: Any, levels: dict[int, np.ndarray]) -> Any:
    """A frame with some columns as numbers of levels: NaN for missing, their count for unknown."""
    columns = {}
    for position, own in levels.items():
        place = {level: float(i) for i, level in enumerate(own.tolist())}
        if levels_of(frame, position) is not None and library(frame) == "pandas":
            column = frame.iloc[:, position].cat
            given = [place.get(level, len(own)) for level in column.categories.tolist()]
            columns[position] = np.array([*given, np.nan])[column.codes.to_numpy()]
        else:
            values = _column_values(frame, position)
            numbers = [np.nan if v is None or v != v else place.get(v, len(own)) for v in values]
            columns[position] = np.array(numbers, dtype=np.float64)
    if library(frame) == "pandas":
        frame = frame.copy(deep=False)
        for position, column in columns.items():
            frame.isetitem(position, column)
        return frame
    names = column_names(frame)
    if library(frame) == "polars":
        series = sys.modules["polars"].Series
        return frame.with_columns(*(series(names[p], c) for p, c in columns.items()))
    for position, column in columns.items():
        entry = sys.modules["pyarrow"].array(column, from_pandas=True)
        frame = frame.set_column(position, names[position], entry)
    return frame


def slice_rows(value: Any, start: int, stop: int) -> Any:
    """Rows start to stop of anything `as_matrix` takes, without a copy where possible."""
    if library(value) == "pandas":
        return value.iloc[start:stop]
    if library(value) == "pyarrow":
        return value.slice(start, stop - start)
    return value[start:stop]


def _arrow_dtype(kind: Any) -> np.dtype | None:
    """The NumPy dtype of an Arrow type, or None where it is not a number."""
    import pyarrow.types as types

    if types.is_boolean(kind):
        return np.dtype(bool)
    if types.is_decimal(kind):
        return np.dtype(np.float64)
    if types.is_integer(kind) or types.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype())
    return None


def _polars_dtype(kind: Any, column: Any) -> np.dtype | None:
    """The NumPy dtype of a polars column, or None where it is not a number."""
    name = str(kind)
    if name == "Boolean":
        return np.dtype(bool)
    if kind.is_decimal() or (name == "Object" and all(map(_is_number, column))):
        return np.dtype(np.float64)
    return np.dtype(name.lower()) if kind.is_integer() or kind.is_float() else None


def _is_number(value: Any) -> bool:
    """Whether a Python object in a column is a number, or stands for a missing one."""
    return value is None or isinstance(value, Number | np.bool_)


def _holds_numbers(column: Any) -> bool:
    """Whether a pandas column of dtype object holds numbers alone; an empty one may."""
    infer = sys.modules["pandas"].api.types.infer_dtype
    return len(column) == 0 or infer(column, skipna=True) in _NUMBERS


def _column_dtypes(frame: Any) -> Iterator[tuple[Any, np.dtype | None, Any]]:
    """For each column its name, NumPy dtype (None where it is not numeric) and own type."""
    origin = library(frame)
    if origin == "pandas":
        for j, (name, own) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
            if own is np.dtype(object) and _holds_numbers(frame.iloc[:, j]):
                yield name, np.dtype(np.float64), own
                continue
            known = own.kind in "biuf"
            # Extension dtypes carry their NumPy dtype under one of two names.
            plain = getattr(own, "numpy_dtype", getattr(own, "subtype", own))
            yield name, np.dtype(plain) if known else None, own
    elif origin == "polars":
        for column in frame.get_columns():
            yield column.name, _polars_dtype(column.dtype, column), column.dtype
    else:
        for field in frame.schema:
            yield field.name, _arrow_dtype(field.type), field.type


def _frame_columns(frame: Any) -> list[np.ndarray]:
    """The columns of a polars or pyarrow table as arrays; missing entries are NaN."""
    if library(frame) == "polars":
        columns = [series.to_numpy() for series in frame.get_columns()]
    else:
        columns = [column.to_numpy(zero_copy_only=False) for column in frame.itercolumns()]
    # Decimals, and booleans beside nulls; None becomes NaN.
    return [c.astype(np.float64) if c.dtype.kind == "O" else c for c in columns]


def _frame_to_matrix(frame: Any, dtype: np.dtype, owner: str) -> np.ndarray:
    if library(frame) == "pandas":
        if all(isinstance(own, np.dtype) and own.kind != "O" for own in frame.dtypes):
            return frame.to_numpy(dtype=dtype)
        if dtype.kind == "f":
            return frame.to_numpy(dtype=dtype, na_value=np.nan)
        series = [frame.iloc[:, j] for j in range(frame.shape[1])]
        columns = [
            one.to_numpy(np.float64, na_value=np.nan) if one.hasnans else one.to_numpy()
            for one in series
        ]
    else:
        columns = _frame_columns(frame)
    if dtype.kind in "iu":  # NaN as a whole number would be anything
        for name, column in zip(column_names(frame), columns, strict=True):
            if column.dtype.kind == "f" and np.isnan(column).any():
                raise ValueError(
                    f"{owner}: X must have no missing entries where it is {dtype}, got some in "
                    f"column {name!r}"
                )
    matrix = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for start in range(0, len(matrix), _BLOCK):
        block = slice(start, start + _BLOCK)
        for j, column in enumerate(columns):
            matrix[block, j] = column[block]
    return matrix


# --- conversion -----------------------------------------------------------------------------------


def _two_axes(value: Any, owner: str, accept_sparse: bool) -> Any:
    """An ndarray, CSR matrix or CuPy array of two axes and numbers (or objects)."""
    if is_sparse(value):
        if not accept_sparse:
            raise TypeError(
                f"{owner}: X must be dense, got a sparse matrix of shape {value.shape} "
                f"(X.toarray() takes {np.prod(value.shape, dtype=float) * 8 / 2**20:.2g} MiB)"
            )
        array = value.tocsr()
    elif isinstance(value, np.matrix):
        raise TypeError(f"{owner}: X must be an array, got numpy.matrix (use numpy.asarray(X))")
    elif value is None:
        raise ValueError(f"{owner}: X must be a 2-D array, got None")
    elif isinstance(value, np.ndarray) or is_cupy(value):
        array = value
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{owner}: X must have rows of equal length, got {error}") from error
    if array.dtype.kind == "c":
        raise ValueError(f"{owner}: X must be real, got {array.dtype} (Complex data not supported)")
    if array.dtype.kind not in "biufO":
        raise ValueError(f"{owner}: X must be numeric, got dtype {array.dtype}")
    if array.ndim != 2:
        got = f"shape {array.shape}" if array.ndim else f"a {type(value).__name__}"
        raise ValueError(
            f"{owner}: X must be 2-D, got {got} (Reshape your data with "
            f"X.reshape(-1, 1) for one feature or X.reshape(1, -1) for one row)"
        )
    return array


def native_dtype(value: Any, owner: str) -> np.dtype:
    """The dtype that holds every value of X without loss, before any conversion."""
    if not is_frame(value):
        return _two_axes(value, owner, True).dtype
    dtypes = []
    for name, dtype, own in _column_dtypes(value):
        if dtype is None:
            raise ValueError(
                f"{owner}: X must have numeric columns only, got column {name!r} of type {own} "
                f"(drop or encode it)"
            )
        dtypes.append(dtype)
    if not dtypes:
        raise ValueError(f"{owner}: X must have at least one column, got a frame without columns")
    return np.result_type(*dtypes)


def pick_dtype(native: np.dtype, accepted: Sequence[np.dtype]) -> np.dtype:
    """The dtype to compute in: the data's own where it is accepted, else the first accepted."""
    native = native.newbyteorder("=")
    return native if native in accepted else accepted[0]


def as_matrix(
    value: Any, owner: str, dtypes: Sequence[np.dtype] = FLOATS, accept_sparse: bool = True
) -> Any:
    """X as a 2-D ndarray, CSR matrix or CuPy array; not copied where it already is one.

    Columns of a row of a CSR matrix ascend and differ: others are copied, sorted and added up.

    Parameters
    ----------
    value : ndarray, CuPy array, sparse matrix, frame, nested lists or array-like
        Masked entries become NaN.
    dtypes : sequence of dtype
        Accepted dtypes. X keeps its own if accepted, otherwise it is converted to the first.
    accept_sparse : bool, default=True
        Whether sparse X becomes CSR rather than an error.
    """
    if is_frame(value):
        return _frame_to_matrix(value, pick_dtype(native_dtype(value, owner), dtypes), owner)
    array = _two_axes(value, owner, accept_sparse)
    if is_sparse(array) and not array.has_canonical_format:
        array = array.copy()
        array.sum_duplicates()
    dtype = pick_dtype(array.dtype, dtypes)
    if np.ma.isMaskedArray(array) and dtype.kind == "f":
        array = np.ma.filled(array.astype(dtype), np.nan)
    if array.dtype == dtype and array.dtype.isnative:
        return array
    try:
        return array.astype(dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}: X must be numeric, got {error}") from error


# --- weights --------------------------------------------------------------------------------------


def check_weights(
    value: Any, n: int, dtype: Any, owner: str, *, like: Any = None, first_row: int = 0
) -> Any:
    """One weight for each row, in the dtype of the rows where that is a float, else float64.

    Parameters
    ----------
    value : array-like of shape (n,), number or None
        A number is the weight of every row. None stays None.
    like : array, optional
        The weights are moved to its device.
    first_row : int, default=0
        Number of the first of these rows in all of X, for errors.
    """
    if value is None:
        return None
    dtype = weight_dtype(dtype)
    try:
        weights = value if is_cupy(value) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{owner}: sample_weight must be numeric, got {error}") from error
    if weights.ndim == 0 and weights.dtype.kind in "biuf":
        weights = namespace(weights).full(n, weights)
    if weights.dtype.kind == "c":
        raise ValueError(f"{owner}: sample_weight must be real, got dtype {weights.dtype}")
    if weights.dtype.kind not in "biuf":
        if weights.dtype.kind != "O":
            raise ValueError(f"{owner}: sample_weight must be numeric, got dtype {weights.dtype}")
        try:
            weights = weights.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: sample_weight must be numeric, got {error}") from error
    if weights.shape != (n,):
        raise ValueError(
            f"{owner}: sample_weight must have shape ({n},), one for each row of X, got "
            f"{weights.shape}"
        )
    good = (weights >= 0) & (weights < np.inf)
    if not bool(good.all()):
        row = int((~good).argmax())
        bad = float(weights[row])
        raise ValueError(
            f"{owner}: sample_weight must be finite and not negative, got "
            f"{'NaN' if bad != bad else f'{bad:g}'} at row {first_row + row}"
        )
    most = float(np.finfo(dtype).max)
    if dtype.itemsize < weights.dtype.itemsize and n and float(weights.max()) > most:
        raise ValueError(
            f"{owner}: sample_weight must be at most {most:.3g} for {dtype} rows, got "
            f"{float(weights.max()):g} (scale the weights)"
        )
    weights = weights.astype(dtype, copy=False)  # underflow gives 0
    return weights if like is None else beside(weights, like)


def weight_dtype(dtype: Any) -> np.dtype:
    """Weights have the dtype of X where that is a float, else float64."""
    return np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float64)
