"""X and sample_weight as the ops take them: checked once, converted only where they must be.

float32 and float64 stay what they are and are never copied, whatever their strides; every other
number becomes float64. Messages name the first bad row and column.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sklearn import get_config

from kernelmill._estimator._base import warn
from kernelmill._estimator._device import to_host
from kernelmill._estimator._parameters import shown
from kernelmill.ops._op import is_cupy
from kernelmill.stream._matrix import (
    feature_names,
    is_frame,
    is_sparse,
    kind_of,
    native_dtype,
    to_matrix,
)

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_SEARCH_ROWS = 65536  # rows looked through at a time once something is known to be wrong
_HINTS = {
    "NaN": "impute or drop missing values first, for example with sklearn.impute.SimpleImputer",
    "inf": "clip or drop such values first",
}


def all_finite(array: Any) -> bool:
    """Whether no value is NaN or inf.

    A sum is one pass without temporaries, for any strides, and is finite only if every value is.
    The reverse does not hold (finite values may overflow), so a sum that is not finite is followed
    by a search.
    """
    if array.size < 4096 and isinstance(array, np.ndarray):
        return bool(np.isfinite(array).all())  # cheaper than silencing the sum's warnings
    if not isinstance(array, np.ndarray):
        return bool(abs(array).sum() < np.inf) or bool((abs(array) < np.inf).all())
    with np.errstate(all="ignore"):
        total = np.add.reduce(array, axis=None)
    return bool(np.isfinite(total)) or _first_bad(array) is None


def _first_bad(array: Any, allow_nan: bool = False) -> tuple[tuple[int, ...], int] | None:
    """Place of the first value that is not finite (or NaN), and how many there are."""
    first, count = None, 0
    for start in range(0, len(array), _SEARCH_ROWS):
        block = array[start : start + _SEARCH_ROWS]
        bad = np.isinf(block) if allow_nan else ~np.isfinite(block)
        found = int(bad.sum())
        if found and first is None:
            place = np.unravel_index(int(bad.argmax()), bad.shape)
            first = (start + int(place[0]), *map(int, place[1:]))
        count += found
    return None if first is None else (first, count)


def _refuse_not_finite(
    X: Any, owner: str, names: Any, first_row: int = 0, allow_nan: bool = False
) -> None:
    """Raise for the first value of X that is not finite (or NaN); X is dense or CSR."""
    stored = X.data if is_sparse(X) else X
    found = _first_bad(stored, allow_nan)
    if found is None:
        return
    place, count = found
    value = float(stored[place])
    if is_sparse(X):
        row = int(np.searchsorted(X.indptr, place[0], side="right")) - 1
        column = int(X.indices[place[0]])
    else:
        row, column = place
    kind = "NaN" if value != value else "inf"
    where = f"row {first_row + row}, column {column}"
    if names is not None:
        where += f" ({str(names[column])!r})"
    more = f" and {count - 1} more" if count > 1 else ""
    shown = kind if kind == "NaN" or value > 0 else "-inf"
    what = "finite or NaN" if allow_nan else "finite"
    raise ValueError(f"{owner}: X must be {what}, got {shown} at {where}{more} ({_HINTS[kind]})")


def _finite(X: Any) -> bool:
    return all_finite(X.data if is_sparse(X) else X)


def _converted(X: Any, owner: str, accept_sparse: bool) -> Any:
    """X as a 2-D float32 or float64 ndarray, CSR matrix or CuPy array."""
    if is_sparse(X):
        if not accept_sparse:
            raise TypeError(
                f"{owner}: X must be dense, got a sparse matrix of shape {X.shape} (X.toarray() "
                f"takes {np.prod(X.shape, dtype=float) * 8 / 2**20:.0f} MiB)"
            )
        if X.dtype.kind == "c":
            raise ValueError(f"{owner}: X must be real, got {X.dtype} (Complex data not supported)")
        X = X.tocsr()
        return X if X.dtype in _FLOATS else X.astype(np.float64)
    if is_frame(X):
        native = native_dtype(X, owner)
        return to_matrix(X, native if native in _FLOATS else np.dtype(np.float64), owner)
    if isinstance(X, np.matrix):
        raise TypeError(f"{owner}: X must be an array, got numpy.matrix (use numpy.asarray(X))")
    if X is None:
        raise ValueError(f"{owner}: X must be a 2-D array, got None")
    if np.ma.isMaskedArray(X) and X.dtype.kind in "biuf":  # a masked entry is a missing one
        X = np.ma.filled(X if X.dtype in _FLOATS else X.astype(np.float64), np.nan)
    if not is_cupy(X):
        try:
            X = np.asarray(X)
        except ValueError as error:
            raise ValueError(f"{owner}: X must have rows of equal length, got {error}") from error
        if kind_of(X) == "numpy" and X.dtype.kind in "USV":
            raise ValueError(f"{owner}: X must be numeric, got dtype {X.dtype}")
    kind = X.dtype.kind
    if kind == "c":
        raise ValueError(f"{owner}: X must be real, got {X.dtype} (Complex data not supported)")
    if X.ndim != 2:
        raise ValueError(
            f"{owner}: X must be 2-D, got shape {X.shape} (Reshape your data with X.reshape(-1, 1) "
            f"for one feature or X.reshape(1, -1) for one row)"
        )
    if kind not in "biufO":
        raise ValueError(f"{owner}: X must be numeric, got dtype {X.dtype}")
    if X.dtype in _FLOATS:
        return X if X.dtype.isnative else X.astype(X.dtype.newbyteorder("="))
    if kind == "f" and X.dtype.newbyteorder("=") in _FLOATS:
        return X.astype(X.dtype.newbyteorder("="))
    try:
        return X.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}: X must be numeric, got {error}") from error


def as_array(value: Any, name: str, owner: str) -> np.ndarray:
    """A small argument as an array on the host.

    Raises
    ------
    ValueError
        If it is nested lists of unequal length.
    """
    try:
        return np.asarray(to_host(value))
    except ValueError as error:
        raise ValueError(
            f"{owner}: {name} must have rows of equal length, got {shown(value)}"
        ) from error


def as_numbers(value: Any, name: str, owner: str) -> np.ndarray:
    """A small argument as a new float64 array on the host.

    Raises
    ------
    ValueError
        If it holds anything but numbers, or is nested lists of unequal length.
    """
    array = as_array(value, name, owner)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: {name} must be numeric, got {shown(value)}") from error


def check_X(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    accept_sparse: bool = True,
    allow_nan: bool = False,
    min_rows: int = 1,
) -> Any:
    """Check X and keep or compare the names and number of its features.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets ``n_features_in_`` and ``feature_names_in_`` when `reset`; messages bear its class.
    X : array-like of shape (n, d)
        ndarray, CuPy array, SciPy sparse matrix or array, pandas or polars DataFrame, pyarrow
        Table, or nested lists.
    reset : bool
        True in ``fit``; False where X must fit what was learned.
    accept_sparse : bool, default=True
        Whether sparse X becomes CSR or an error.
    allow_nan : bool, default=False
        Whether NaN stands for a missing entry or is an error; inf is always one.
    min_rows : int, default=1
        Fewest rows.

    Returns
    -------
    ndarray, CSR matrix or CuPy array of shape (n, d), float32 or float64
        `X` itself where it already is one of these.

    Raises
    ------
    ValueError
        If X is not a finite numeric matrix, or has other features than in ``fit``.
    TypeError
        If X is sparse and must not be, or holds objects that are no numbers.

    Notes
    -----
    ``sklearn.config_context(assume_finite=True)`` leaves out the search for NaN and inf. Cost: one
    pass over X; about 10 microseconds for a small ndarray.
    """
    owner = type(estimator).__name__
    given = X
    if not (type(X) is np.ndarray and X.ndim == 2 and X.dtype in _FLOATS and X.dtype.isnative):
        X = _converted(X, owner, accept_sparse)
    rows, d = X.shape
    if d < 1:
        raise ValueError(
            f"{owner}: X must have features, got {d} feature(s) (shape=({rows}, {d})) while a "
            f"minimum of 1 is required."
        )
    if rows < min_rows:
        raise ValueError(
            f"{owner}: X must have at least {min_rows} row{'s' * (min_rows > 1)}, got {rows} "
            f"sample(s) (shape=({rows}, {d})) while a minimum of {min_rows} is required."
        )
    check_features(estimator, feature_names(given), d, reset)
    if not get_config()["assume_finite"] and not _finite(X):
        names = getattr(estimator, "feature_names_in_", None)
        _refuse_not_finite(X, owner, names, allow_nan=allow_nan)
    return X


def check_features(estimator: Any, names: Any, d: int, reset: bool) -> None:
    """Keep or compare the names and number of features, with scikit-learn's rules and words.

    Ours and not scikit-learn's, because which frames that knows depends on its version.

    Parameters
    ----------
    estimator : object
        Has or gets ``n_features_in_`` and ``feature_names_in_``.
    names : ndarray of str, or None
        Column names of X, None where it has none.
    d : int
        Number of columns of X.
    reset : bool
        Whether to keep rather than compare.
    """
    state = vars(estimator)
    if reset:
        estimator.n_features_in_ = d
        if names is not None:
            estimator.feature_names_in_ = names
        else:
            state.pop("feature_names_in_", None)
        return
    owner = type(estimator).__name__
    known = state.get("feature_names_in_")
    if known is not None and names is not None and list(known) != list(names):
        message = f"{owner}: The feature names should match those that were passed during fit.\n"
        for title, found in (
            ("Feature names unseen at fit time", sorted(set(names) - set(known))),
            ("Feature names seen at fit time, yet now missing", sorted(set(known) - set(names))),
        ):
            if found:
                shown = [f"- {name}\n" for name in found[:5]] + ["- ...\n"] * (len(found) > 5)
                message += f"{title}:\n" + "".join(shown)
        if set(names) == set(known):
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)
    if known is None and names is not None:
        warn(f"X has feature names, but {owner} was fitted without feature names", UserWarning)
    if known is not None and names is None:
        warn(
            f"X does not have valid feature names, but {owner} was fitted with feature names",
            UserWarning,
        )
    if estimator.n_features_in_ != d:
        raise ValueError(
            f"{owner}: X has {d} features, but {owner} is expecting {estimator.n_features_in_} "
            f"features as input (pass the columns that fit was given)"
        )


def check_weight(estimator: Any, sample_weight: Any, X: Any) -> Any:
    """Weights as the ops take them.

    Parameters
    ----------
    estimator : object
        Messages bear its class.
    sample_weight : array-like of shape (n,), number or None
        None stays None: all weights are 1.
    X : array of shape (n, d)
        What `check_X` returned.

    Returns
    -------
    ndarray or CuPy array of shape (n,), dtype of X, or None

    Raises
    ------
    ValueError
        If a weight is negative, NaN or inf, none is positive, or the length is another.
    """
    if sample_weight is None:
        return None
    owner = type(estimator).__name__
    n = X.shape[0]
    if is_cupy(sample_weight) or is_cupy(X):
        import cupy

        weight = cupy.asarray(sample_weight, dtype=X.dtype)
        if not is_cupy(X):
            weight = cupy.asnumpy(weight)
    else:
        weight = as_array(sample_weight, "sample_weight", owner)
        if weight.ndim == 0 and weight.dtype.kind in "biuf":
            weight = np.full(n, weight)
        if weight.dtype.kind == "c":
            raise ValueError(f"{owner}: sample_weight must be real, got dtype {weight.dtype}")
        given = weight
        try:
            with np.errstate(over="ignore"):
                weight = given.astype(X.dtype, copy=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: sample_weight must be numeric, got {error}") from error
        if given.dtype == np.float64 and bool((np.isinf(weight) & np.isfinite(given)).any()):
            raise ValueError(
                f"{owner}: sample_weight must be at most {np.finfo(X.dtype).max:.3g} for "
                f"{X.dtype} rows, got {float(np.abs(given).max()):g} (scale the weights)"
            )
    if weight.shape != (n,):
        raise ValueError(
            f"{owner}: sample_weight must have shape ({n},), one for each row of X, got "
            f"{weight.shape}"
        )
    check_weight_values(weight, owner)
    if not bool((weight > 0).any()):
        raise ValueError(f"{owner}: sample_weight must have a positive sum, got only zeros")
    return weight


def check_weight_values(weight: Any, owner: str, first_row: int = 0) -> None:
    """Raise for the first weight that is negative, NaN or inf."""
    good = (weight >= 0) & (weight < np.inf)
    if not bool(good.all()):
        row = int((~good).argmax())
        value = float(weight[row])
        shown = "NaN" if value != value else f"{value:g}"
        raise ValueError(
            f"{owner}: sample_weight must be finite and not negative, got {shown} at row "
            f"{first_row + row}"
        )


def chunk_check(
    owner: str, names: Any = None, *, accept_sparse: bool = True, allow_nan: bool = False
) -> Any:
    """The ``validate`` of a source: `check` with the owner and names filled in, picklable.

    Parameters
    ----------
    owner : str
        What errors call the caller.
    names : sequence of str, optional
        Column names for messages.
    accept_sparse, allow_nan : bool
        As in `check_X`.
    """
    return functools.partial(
        check_chunk, owner=owner, names=names, accept_sparse=accept_sparse, allow_nan=allow_nan
    )


def check_chunk(
    X: Any,
    first_row: int,
    *,
    owner: str,
    names: Any,
    accept_sparse: bool = True,
    allow_nan: bool = False,
) -> Any:
    """Raise where a chunk of a stream holds NaN or inf; `first_row` is its place in X."""
    if is_sparse(X) and not accept_sparse:
        raise TypeError(
            f"{owner}: X must be dense, got a sparse chunk of shape {X.shape} (X.toarray() makes "
            f"it dense)"
        )
    if not get_config()["assume_finite"] and not _finite(X):
        _refuse_not_finite(X, owner, names, first_row, allow_nan)
    return X
