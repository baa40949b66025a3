"""Checks of X: finite, in range, with the features of ``fit``; errors name the row and column."""

from __future__ import annotations

import functools
from math import sqrt
from typing import Any

import numpy as np
from sklearn import get_config

from kernelmill._arrays import (
    is_sparse,
    namespace,
    to_host,
)
from kernelmill._estimator._base import warn
from kernelmill._estimator._parameters import shown
from kernelmill.ops import values

_SEARCH_ROWS = 65536  # rows of a block in the search for the first bad value
# The roots of the least square that keeps all its digits, and of the largest square.
_ROOTS = {
    info.dtype: (float(info.tiny) ** 0.5 / float(info.eps) ** 0.5, float(info.max) ** 0.5)
    for info in (np.finfo(np.float32), np.finfo(np.float64))
}
# Tolerance of probabilities that must sum to one: float32 rounding passes.
SUM_TOLERANCE = 1e-5
_HINTS = {
    "NaN": "impute or drop missing values first, for example with sklearn.impute.SimpleImputer",
    "inf": "clip or drop such values first",
}


def extent(array: Any) -> tuple[float, int]:
    """The largest magnitude in an array, and how many entries are NaN, which have none."""
    if isinstance(array, np.ndarray) and array.dtype in _ROOTS:
        return values.extent(array if array.ndim == 2 else array.reshape(1, -1))
    if not array.size:
        return 0.0, 0
    top, missing = max(float(array.max()), -float(array.min())), 0
    if top != top:
        xp = namespace(array)
        missing = int(xp.isnan(array).sum())
        top = float(xp.abs(xp.nan_to_num(array, nan=0.0, posinf=np.inf, neginf=-np.inf)).max())
    return top, missing


def all_finite(array: Any) -> bool:
    """Whether no value is NaN or inf."""
    top, missing = extent(array)
    return top < np.inf and not missing


def check_values(
    X: Any, owner: str, names: Any = None, *, first_row: int = 0, allow_nan: bool = False,
    whole: bool = False, squared: Any = True
) -> bool | None:
    """Raise where X holds NaN, inf, or values whose squares overflow or underflow.

    Parameters
    ----------
    X : ndarray, CSR matrix or CuPy array of shape (n, d)
        Rows, or a chunk of them.
    first_row : int, default=0
        Number of the first of these rows in all of X, for errors.
    allow_nan : bool, default=False
        Whether NaN is a missing entry rather than an error; inf is always an error.
    whole : bool, default=False
        Whether these are all rows of a fit; values of a chunk, or in ``predict``, may be tiny.
    squared : bool or dtype, default=True
        Whether the model squares what it is given, so that the range of magnitudes is limited, and
        in which dtype if not in that of X.

    Returns
    -------
    bool or None
        Whether entries are missing; None if not known.

    Notes
    -----
    Distances and densities square what they are given. With u the largest magnitude, ``(2 u)^2``
    summed over the features (float64: over X, where sums have no wider type) must not overflow, and
    ``u^2`` must keep all its digits: beyond that a fit would be silently wrong. Cost: one pass over
    X, half a microsecond for a small ndarray; none under
    ``sklearn.config_context(assume_finite=True)``.
    """
    if get_config()["assume_finite"]:
        return None if allow_nan else False
    stored = X
    if type(X) is np.ndarray and X.dtype in _ROOTS:  # nearly always: without the questions
        top, missing = values.extent(X)
    else:
        stored = X.data if is_sparse(X) else X
        top, missing = extent(stored)
    if top == np.inf or (missing and not allow_nan):
        raise _not_finite(X, stored, owner, names, first_row, allow_nan)
    dtype = stored.dtype if isinstance(squared, bool) else np.dtype(squared)
    double = dtype.itemsize == 8
    terms = 4.0 * X.shape[1] * (X.shape[0] if double else 1)
    least, most = _ROOTS.get(dtype, (0.0, np.inf))
    if squared and (top * sqrt(terms) > most or (whole and 0 < top < least)):
        hint = "scale X" if double else "scale X, or pass float64"
        what = f"small enough to be squared in {dtype}"
        if top < 1:
            what = f"large enough to be squared in {dtype}"
        raise ValueError(f"{owner}: X must be {what}, got values of up to {top:.3g} ({hint})")
    return bool(missing)


def _first_bad(array: Any, allow_nan: bool) -> tuple[tuple[int, ...], int]:
    """Place of the first value that is not finite (or NaN), and how many there are."""
    first: tuple[int, ...] = ()
    count = 0
    for start in range(0, len(array), _SEARCH_ROWS):
        block = array[start : start + _SEARCH_ROWS]
        bad = np.isinf(block) if allow_nan else ~np.isfinite(block)
        number = int(bad.sum())
        if number and not first:
            place = np.unravel_index(int(bad.argmax()), bad.shape)
            first = (start + int(place[0]), *map(int, place[1:]))
        count += number
    return first, count


def _not_finite(
    X: Any, stored: Any, owner: str, names: Any, first_row: int, allow_nan: bool
) -> ValueError:
    """The error for the first value that is inf, or NaN where that is not allowed."""
    place, count = _first_bad(stored, allow_nan)
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
    written = kind if kind == "NaN" or value > 0 else "-inf"
    what = "finite or NaN" if allow_nan else "finite"
    return ValueError(
        f"{owner}: X must be {what}, got {written} at {where}{more} ({_HINTS[kind]})"
    )


def as_array(value: Any, name: str, owner: str) -> np.ndarray:
    """A small argument as an array on the host."""
    try:
        return np.asarray(to_host(value))
    except ValueError as error:
        raise ValueError(
            f"{owner}: {name} must have rows of equal length, got {shown(value)}"
        ) from error


def as_numbers(value: Any, name: str, owner: str) -> np.ndarray:
    """A small argument as a new float64 array on the host."""
    array = as_array(value, name, owner)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: {name} must be numeric, got {shown(value)}") from error


def zero_weights(owner: str) -> ValueError:
    """The error for rows none of which has a weight."""
    return ValueError(f"{owner}: sample_weight must have a positive sum, got only zeros or less")


def check_folds(folds: list, weight: Any, owner: str) -> None:
    """Refuse folds that train on, or hold out, no row with weight."""
    if weight is None:
        return
    for number, fold in enumerate(folds):
        for own, verb in zip(fold, ("train on", "hold out"), strict=True):
            if not (weight[own] > 0).any():
                raise ValueError(
                    f"{owner}: cv must {verb} rows with weight, got none in fold {number} (shuffle "
                    "the rows, or drop those of zero weight)"
                )


def check_shape(estimator: Any, shape: tuple[int, int], names: Any, reset: bool) -> None:
    """Refuse X without rows or features; keep or compare its features, see `check_features`."""
    owner, (rows, d) = type(estimator).__name__, shape
    if d < 1:
        raise ValueError(
            f"{owner}: X must have features, got {d} feature(s) (shape=({rows}, {d})) while a "
            f"minimum of 1 is required."
        )
    if rows < 1:
        raise ValueError(
            f"{owner}: X must have at least 1 row, got {rows} sample(s) (shape=({rows}, {d})) "
            f"while a minimum of 1 is required."
        )
    check_features(estimator, names, d, reset)


def check_features(estimator: Any, names: Any, d: int, reset: bool) -> None:
    """Keep or compare the names and number of features, with scikit-learn's rules and messages.

    Which frames scikit-learn's own check recognises depends on its version.

    Parameters
    ----------
    estimator : object
        Object with ``n_features_in_`` and ``feature_names_in_``, set when `reset`.
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
        for title, unmatched in (
            ("Feature names unseen at fit time", sorted(set(names) - set(known))),
            ("Feature names seen at fit time, yet now missing", sorted(set(known) - set(names))),
        ):
            if unmatched:
                shown = [f"- {name}\n" for name in unmatched[:5]]
                shown += ["- ...\n"] * (len(unmatched) > 5)
                message += f"{title}:\n" + "".join(shown)
        if set(names) == set(known):
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)
    if known is None and names is not None and "feature_names_in_" not in state:  # None: any do
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


def chunk_check(
    owner: str, names: Any = None, *, accept_sparse: bool = True, allow_nan: bool = False,
    squared: Any = True
) -> Any:
    """The ``validate`` of a source: `check_chunk` with all but the chunk filled in, picklable.

    Parameters
    ----------
    accept_sparse : bool, default=True
        Whether a chunk may be CSR.
    allow_nan, squared : bool
        As in `check_values`.
    """
    return functools.partial(
        check_chunk,
        owner=owner,
        names=names,
        accept_sparse=accept_sparse,
        allow_nan=allow_nan,
        squared=squared,
    )


def check_chunk(
    X: Any, first_row: int, *, owner: str, names: Any, accept_sparse: bool, allow_nan: bool,
    squared: Any
) -> Any:
    """Raise where a chunk of a stream cannot be used; `first_row` is its place in X."""
    if is_sparse(X) and not accept_sparse:
        raise TypeError(
            f"{owner}: X must be dense, got a sparse chunk of shape {X.shape} (X.toarray() makes "
            f"it dense)"
        )
    check_values(X, owner, names, first_row=first_row, allow_nan=allow_nan, squared=squared)
    return X


def refuse_unseen(weights: np.ndarray, owner: str) -> None:
    """Raise for the first feature without observed values."""
    if not (weights > 0).all():
        raise ValueError(
            f"{owner}: X must have an observed value in every column, got none with positive "
            f"weight in column {int(np.argmin(weights > 0))} (drop the column)"
        )
