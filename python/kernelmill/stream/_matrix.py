"""Turns what users hold (arrays, CSR, data frames, tensors) into one numeric 2-D chunk."""

import sys

import numpy as np

DEFAULT_DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
# Rows that are interleaved from columns at a time: 4096 float64 of one column are 32 KiB, which
# stays in the first-level cache while the neighbouring columns are written beside it.
_BLOCK = 4096


def kind_of(value):
    """The library a value comes from, without importing it: "pandas", "polars", "numpy", ..."""
    return type(value).__module__.partition(".")[0]


def is_sparse(value):
    """Whether this is a SciPy sparse matrix or array."""
    return "scipy.sparse" in sys.modules and sys.modules["scipy.sparse"].issparse(value)


def is_frame(value):
    """Whether this is a pandas or polars DataFrame, or a pyarrow Table or RecordBatch."""
    name = type(value).__name__
    return (kind_of(value) in ("pandas", "polars") and name == "DataFrame") or (
        kind_of(value) == "pyarrow" and name in ("Table", "RecordBatch")
    )


def is_device_array(value):
    """Whether this array lives on a GPU; it stays there."""
    return kind_of(value) == "cupy" and hasattr(value, "ndim")


def column_names(frame):
    """The column labels of a frame, in order."""
    return list(frame.schema.names if kind_of(frame) == "pyarrow" else frame.columns)


def feature_names(value):
    """Column names as scikit-learn keeps them, or None where they are not all text."""
    if not is_frame(value):
        return None
    names = column_names(value)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return np.array(names, dtype=object)


def align_columns(value, names, owner, position):
    """A frame with its columns in the order of `names`; anything without text names as it is.

    Chunks of frames are matched by name: by position, reordered columns would be mixed in silence.
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
    return value[list(names)] if kind_of(value) == "pandas" else value.select(list(names))


def drop_column(frame, name, owner):
    """Take one column out of a frame: the remaining frame, and the column as an array."""
    names = column_names(frame)
    if name not in names:
        raise ValueError(
            f"{owner}: sample_weight must be a column of X, got {name!r} (columns: "
            f"{', '.join(map(str, names[:10]))}{', ...' if len(names) > 10 else ''})"
        )
    kind = kind_of(frame)
    if kind == "pandas":
        return frame.drop(columns=name), np.asarray(frame[name])
    if kind == "polars":
        return frame.drop(name), frame[name].to_numpy()
    return frame.drop_columns([name]), frame.column(name).to_numpy(zero_copy_only=False)


def slice_rows(value, start, stop):
    """Rows start to stop of anything `to_matrix` takes, without a copy where that is possible."""
    if kind_of(value) == "pandas":
        return value.iloc[start:stop]
    if kind_of(value) == "pyarrow":
        return value.slice(start, stop - start)
    return value[start:stop]


def _arrow_dtype(kind):
    """The NumPy dtype of an Arrow type, or None where it is not a number."""
    import pyarrow.types as types

    if types.is_boolean(kind):
        return np.dtype(bool)
    if types.is_integer(kind) or types.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype())
    return None


def _column_dtypes(frame):
    """For each column its name, NumPy dtype (None where it is not numeric) and own type."""
    kind = kind_of(frame)
    if kind == "pandas":
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
            known = dtype.kind in "biuf"
            # Extension dtypes carry their NumPy dtype under one of two names.
            plain = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
            yield name, np.dtype(plain) if known else None, dtype
    elif kind == "polars":
        for name, dtype in frame.schema.items():
            known = dtype.is_integer() or dtype.is_float() or str(dtype) == "Boolean"
            plain = {"Boolean": "bool"}.get(str(dtype), str(dtype).lower())
            yield name, np.dtype(plain) if known else None, dtype
    else:
        for field in frame.schema:
            yield field.name, _arrow_dtype(field.type), field.type


def _plain(value, owner):
    """An ndarray, CSR matrix or device array with two dimensions and a numeric dtype."""
    if is_sparse(value):
        array = value.tocsr()
    elif isinstance(value, np.ndarray) or is_device_array(value):
        array = value
    else:
        array = np.asarray(value)
        if array.dtype.kind in "OU" and kind_of(value) in ("builtins", "numpy"):
            array = np.asarray(value, dtype=object)
    if array.ndim != 2:
        raise ValueError(
            f"{owner}: X must be 2-D, got shape {array.shape} (X.reshape(-1, 1) makes one feature, "
            f"X.reshape(1, -1) makes one row)"
        )
    if array.dtype.kind not in "biufO":
        raise ValueError(f"{owner}: X must be numeric, got dtype {array.dtype}")
    return array


def native_dtype(value, owner):
    """The dtype that holds every value of X without loss, before any conversion.

    Raises
    ------
    ValueError
        If X is not numeric; for a frame the message names the first bad column.
    """
    if not is_frame(value):
        return _plain(value, owner).dtype
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


def pick_dtype(native, accepted):
    """The dtype to compute in: the data's own where it is accepted, else the first accepted."""
    return native if native in accepted else accepted[0]


def _interleave(columns, rows, dtype):
    result = np.empty((rows, len(columns)), dtype=dtype)
    for start in range(0, rows, _BLOCK):
        block = slice(start, start + _BLOCK)
        for j, column in enumerate(columns):
            result[block, j] = column[block]
    return result


def _frame_to_matrix(frame, dtype):
    kind = kind_of(frame)
    if kind == "pandas":
        if all(isinstance(own, np.dtype) for own in frame.dtypes):
            return frame.to_numpy(dtype=dtype)
        return frame.to_numpy(dtype=dtype, na_value=np.nan)
    if kind == "polars":
        columns = [series.to_numpy() for series in frame.get_columns()]
        return _interleave(columns, frame.height, dtype)
    columns = [column.to_numpy(zero_copy_only=False) for column in frame.itercolumns()]
    return _interleave(columns, frame.num_rows, dtype)


def to_matrix(value, dtype, owner):
    """X as a 2-D array or CSR matrix of this dtype; no copy where it already is one."""
    if is_frame(value):
        native_dtype(value, owner)  # names a column that is not numeric
        return _frame_to_matrix(value, dtype)
    array = _plain(value, owner)
    if np.ma.isMaskedArray(array) and np.dtype(dtype).kind == "f":
        # A masked entry is a missing one. Integers have no NaN: there the mask stays.
        array = np.ma.filled(array.astype(dtype), np.nan)
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "O":
        try:
            return array.astype(dtype)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: X must be numeric, got {error}") from error
    return array.astype(dtype)


def to_weights(weights, rows, dtype, owner, first_row=0):
    """Sample weights as a 1-D float array of this many rows, finite and not negative."""
    array = weights if is_device_array(weights) else np.asarray(weights)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{owner}: sample_weight must be numeric, got dtype {array.dtype}")
    if array.shape != (rows,):
        raise ValueError(
            f"{owner}: sample_weight must have one value for each row of X, got shape "
            f"{array.shape} for {rows} rows"
        )
    good = (array >= 0) & (array < np.inf)
    if not good.all():
        row = int((~good).argmax())
        raise ValueError(
            f"{owner}: sample_weight must be finite and not negative, got {float(array[row]):g} at "
            f"row {first_row + row}"
        )
    return array.astype(weight_dtype(dtype), copy=False)


def weight_dtype(dtype):
    """Weights have the dtype of X where that is a float, else float64."""
    return dtype if np.dtype(dtype).kind == "f" else np.dtype(np.float64)
