"""What supervised models are given to predict: class labels and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import column_or_1d

from kernelmill._arrays import to_host
from kernelmill._estimator._random import legacy_state
from kernelmill._estimator._validation import as_array

_BLOCK = 1 << 14  # numbers


def _given(y: Any, owner: str) -> Any:
    if y is None:
        raise ValueError(
            f"{owner}: y must be given, got None (this estimator requires y to be passed, but the "
            "target y is None)"
        )
    return to_host(y)


def _finite(y: np.ndarray, owner: str) -> None:
    if y.dtype.kind != "f" or np.isfinite(y).all():
        return
    bad = ~np.isfinite(y)
    first = np.unravel_index(int(bad.argmax()), y.shape)
    kind, what = ("NaN", "NaN") if np.isnan(y[first]) else (str(y[first]), "infinity")
    place = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), first, strict=False))
    more = f" and {bad.sum() - 1} more" if bad.sum() > 1 else ""
    raise ValueError(
        f"{owner}: y must be finite, got {kind} at {place}{more} (Input y contains {what}: drop "
        "such rows first)"
    )


def _is_missing(label: Any) -> bool:
    if isinstance(label, float):
        return label != label
    return type(label).__name__ in ("NoneType", "NAType", "NaTType")


def _one_kind(y: Any, owner: str) -> None:
    """Raise unless labels are all numbers or all strings, and none is missing."""
    types, first = set(), None
    for i, label in enumerate(y):
        if _is_missing(label):
            first = i if first is None else first
        else:
            types.add("str" if isinstance(label, str) else type(label).__name__)
    if "str" in types and len(types) > 1:
        raise ValueError(
            f"{owner}: y must be all numbers or all strings, got {' and '.join(sorted(types))}"
        )
    if first is not None:
        raise ValueError(
            f"{owner}: y must have a label for each row, got {y[first]} at row {first} (Input y "
            "contains NaN: drop such rows first)"
        )


def weights_by_class(
    class_weight: Any, labels: np.ndarray, owner: str, weights: np.ndarray | None = None
) -> np.ndarray:
    """The weight of each row by its class; balanced are the sums of `weights` if there are any.

    Raises
    ------
    ValueError
        If ``class_weight`` names classes that ``labels`` does not hold.
    """
    if isinstance(class_weight, str) and weights is not None:  # a weight of 2 is a row twice
        check_count(labels, len(weights), owner)
        _, codes = np.unique(labels, return_inverse=True)
        sums = np.bincount(codes, weights)
        factors = sums.sum() / (np.count_nonzero(sums) * np.where(sums > 0, sums, 1.0))
        return factors[codes]
    try:
        return compute_sample_weight(class_weight, labels)
    except ValueError as error:
        words = f"{owner}: class_weight must fit y, got others ({error})"
        raise ValueError(words) from None


def check_count(y: Any, count: int, owner: str) -> None:
    """Raise unless there is one target for each row."""
    if len(y) != count:
        raise ValueError(
            f"{owner}: y must have one entry for each row of X, got {len(y)} for {count} rows "
            "(inconsistent numbers of samples)"
        )


def check_mass(weight: np.ndarray, owner: str) -> None:
    """Raise where sums of the weights, each as often as there are rows, may overflow."""
    top = float(weight.max()) if len(weight) else 0.0
    if top > np.finfo(np.float64).max / max(1, len(weight)):
        raise ValueError(
            f"{owner}: sample_weight must have a finite sum, got weights of up to {top:.3g} for "
            f"{len(weight)} rows (divide them by their mean)"
        )


def blocks(n: int, columns: int = 1) -> Iterator[slice]:
    """Rows that are taken at once, so that a matrix of them takes about 128 KB."""
    step = max(1024, _BLOCK // columns)
    return (slice(i, min(n, i + step)) for i in range(0, n, step))


def coded(labels: np.ndarray, dtype: Any = np.int64) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and the number of the class of each label.

    Whole numbers in a narrow range are counted, which takes an eighth of the time of a sort.
    """
    codes = np.empty(len(labels), dtype)
    if labels.dtype.kind in "iub" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if high - low <= max(1024, 2 * len(labels)) and high < 2**63:
            there = np.zeros(high - low + 1, bool)
            for own in blocks(len(labels)):
                there[labels[own].astype(np.int64) - low] = True
            number = np.cumsum(there) - 1
            for own in blocks(len(labels)):
                codes[own] = number[labels[own].astype(np.int64) - low]
            return (np.flatnonzero(there) + low).astype(labels.dtype), codes
    classes = np.unique(labels)
    for own in blocks(len(labels)):  # the inverse of `unique` takes five columns of 8 bytes
        codes[own] = np.searchsorted(classes, labels[own])
    return classes, codes


def codes_in(classes: np.ndarray, labels: np.ndarray, owner: str) -> np.ndarray:
    """The number of the class of each label.

    Raises
    ------
    ValueError
        If a label is none of the classes.
    """
    own, codes = coded(labels)
    unknown = np.setdiff1d(own, classes)
    if len(unknown):
        raise ValueError(
            f"{owner}: y must hold known classes only, got {unknown[:5].tolist()} beside "
            f"{classes[:20].tolist()} (`y` has classes not in `self.classes_`. The target "
            f"label(s) {unknown[:5]} in y do not exist in the initial classes)"
        )
    return np.searchsorted(classes, own)[codes]


def check_classes(classes: np.ndarray, owner: str) -> None:
    """Raise unless there is something to tell apart."""
    if len(classes) < 2:
        raise ValueError(
            f"{owner}: y must hold at least 2 classes, got 1 class (the number of classes has to "
            "be greater than one)"
        )


def class_labels(
    y: Any, owner: str, *, multilabel: bool = False, multioutput: bool = False
) -> np.ndarray:
    """Class labels as a vector, as a matrix of 0 and 1 where several may hold, or by output."""
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iubU":
        return y  # nothing to ask, which takes 0.2 ms
    y = _given(y, owner)
    if isinstance(y, list | tuple):  # as an array they would all be strings
        _one_kind(y, owner)
    y = as_array(y, "y", owner)
    if y.dtype.kind == "O" and y.ndim == 1:
        _one_kind(y, owner)
    _finite(y, owner)
    try:
        if not ((multilabel or multioutput) and y.ndim == 2 and y.shape[1] > 1):
            y = column_or_1d(y, warn=True)
        for column in y.T if multioutput and y.ndim == 2 else [y]:
            check_classification_targets(column)
    except (TypeError, ValueError) as error:  # a TypeError for bytes
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{owner}: y must be a vector of class labels, got something else ({error})"
        ) from error
    if y.ndim == 2 and not multioutput and not np.isin(y, (0, 1)).all():
        raise ValueError(f"{owner}: y of two axes must hold 0 and 1 (several labels), got others")
    return y


def numbers(y: Any, owner: str, dtype: Any) -> np.ndarray:
    """Targets of a regression, (n,) or (n, n_outputs), in the dtype of X."""
    y = as_array(_given(y, owner), "y", owner)
    if y.dtype.kind == "O":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: y must be numbers, got objects ({error})") from error
    if y.dtype.kind not in "biuf" or y.ndim not in (1, 2):
        raise ValueError(
            f"{owner}: y must be numbers of shape (n,) or (n, n_outputs), got {y.dtype} of shape "
            f"{y.shape}"
        )
    _finite(y, owner)
    return np.ascontiguousarray(y, dtype=dtype)


def as_vector(y: np.ndarray, owner: str) -> np.ndarray:
    """Numbers (n,) of an array (n,) or, with a warning, (n, 1)."""
    if y.ndim == 1:  # nothing to ask, which takes 35 us
        return y
    if y.shape[1] != 1:
        raise ValueError(
            f"{owner}: y must be a vector of numbers, got shape {y.shape} (y should be a 1d array)"
        )
    return np.ascontiguousarray(column_or_1d(y, warn=True))


def vector(y: Any, owner: str) -> np.ndarray:
    """Targets of a regression with one output, (n,), float64."""
    return as_vector(numbers(y, owner, np.float64), owner)


# Squares of residuals down to 1e-8 of the largest target keep all their digits.
_LEAST_TARGET = 2.0**-484


def check_squares(y: np.ndarray, owner: str, vanishing: bool = False) -> None:
    """Raise where sums of squares of float64 targets about any of them may overflow.

    Also where they may vanish, if that matters: coefficients of least squares do not need them.
    """
    top = largest(y)
    if top > (np.finfo(np.float64).max / (4.0 * y.size + 1.0)) ** 0.5:
        raise ValueError(
            f"{owner}: y must be small enough to be squared in float64, got values of up to "
            f"{top:.3g} (scale y)"
        )
    if vanishing and 0 < top < _LEAST_TARGET:
        raise ValueError(
            f"{owner}: y must be large enough to be squared in float64, got values of up to "
            f"{top:.3g} (scale y)"
        )


# Sums of as many targets as fit in memory do not overflow.
_MOST_TARGET = 2.0**970
# Squares of such targets, and products of their sums, are far from both ends of float64.
_SQUARED_WELL = 300


def largest(y: np.ndarray) -> float:
    """The largest magnitude, without an array for it."""
    return max(float(y.max()), -float(y.min())) if y.size else 0.0


def check_sums(y: np.ndarray, owner: str) -> None:
    """Raise where sums of float64 targets may overflow."""
    top = largest(y)
    if top > _MOST_TARGET:
        raise ValueError(
            f"{owner}: y must be at most {_MOST_TARGET:.3g} in magnitude to be summed in float64, "
            f"got values of up to {top:.3g} (scale y)"
        )


def exponent_of(y: np.ndarray) -> int:
    """The power of 2 to divide by for squares to be exact; 0 where they are so as they are."""
    exponent = int(np.frexp(largest(y))[1])
    return 0 if abs(exponent) <= _SQUARED_WELL else exponent


def exponent_of_squares(exponent: int) -> int:
    """That of squares; bounded, so that they fit: beyond, squares keep their ratios alone."""
    return min(max(2 * exponent, -900), 1000)


def targets_of(y: Any, rows: Any, squared: bool = True, vanishing: bool = False) -> np.ndarray:
    """Targets of a regression as float64, (n,) or (n, m); those of a stream are counted later.

    `squared` and `vanishing` say whether sums of their squares must be finite, and not be lost.
    """
    y = numbers(y, rows.owner, np.float64)
    if squared:
        check_squares(y, rows.owner, vanishing)
    if not rows.is_stream:
        check_count(y, rows.count, rows.owner)
    return y


def hold_out(
    model: Any, given: np.ndarray, count: int, seed: int, least: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to train on, and of those to validate with, by ``validation_fraction``.

    Parameters
    ----------
    model : estimator
        Rows are stratified by ``classes_``, where it has any and y is a vector. A fraction that is
        a whole number counts rows.
    given : ndarray
        Targets as given.
    count : int
        Number of rows.
    seed : int
        Seed of the draw.
    least : int, default=2
        Fewest rows to validate with.

    Raises
    ------
    ValueError
        If too few rows remain on either side.
    """
    owner = type(model).__name__
    off = "early_stopping=False" if hasattr(model, "early_stopping") else "n_iter_no_change=None"
    stratify = given if hasattr(model, "classes_") and given.ndim == 1 else None
    share = model.validation_fraction
    held = int(share) if isinstance(share, Integral) else int(np.ceil(count * share))
    kinds = 1 if stratify is None else len(model.classes_)
    if held < max(least, kinds) or count - held < kinds:
        raise ValueError(
            f"{owner}: validation_fraction must leave at least {least} rows to validate with, and "
            f"one of each class on either side, got {held} of {count} (change it, or set {off})"
        )
    try:
        kept, chosen = train_test_split(
            np.arange(count), test_size=held, random_state=legacy_state(seed, 1), stratify=stratify
        )
    except ValueError as error:
        raise ValueError(
            f"{owner}: y must hold two rows of each class to validate with some, got fewer "
            f"({error} Set {off}.)"
        ) from error
    return kept, chosen


def declare_classes(model: Any, classes: Any, first: bool) -> None:
    """Take in ``classes`` of ``partial_fit``: needed in the first call, the same in later ones.

    Raises
    ------
    ValueError
        If they are missing or others.
    """
    owner = type(model).__name__
    if first and classes is None:
        raise ValueError(
            f"{owner}: classes must be passed on the first call to partial_fit, got None"
        )
    if classes is None:
        return
    given = unique_labels(np.asarray(classes))
    if first:
        model.classes_ = given
        model._declared = True
    elif not np.array_equal(given, model.classes_):
        raise ValueError(
            f"{owner}: classes must be those of the first call, got {given.tolist()} and "
            f"{model.classes_.tolist()} (`classes` is not the same as on last call to "
            "partial_fit)"
        )


def encode_classes(model: Any, y: Any, count: int, reset: bool) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers (n,), or a matrix of 0 and 1 where several may hold; and y as given.

    Sets ``classes_`` and ``_multilabel`` of the model if `reset`, compares with them otherwise.

    Raises
    ------
    ValueError
        If y does not fit, or holds a class that is not known.
    """
    owner = type(model).__name__
    y = class_labels(y, owner, multilabel=True)
    check_count(y, count, owner)
    if reset:
        model._multilabel = y.ndim == 2
        if not hasattr(model, "_declared"):
            model.classes_ = np.arange(y.shape[1]) if y.ndim == 2 else unique_labels(y)
    elif (y.ndim == 2) != model._multilabel:
        raise ValueError(f"{owner}: y must have as many axes as in the first fit, got {y.ndim}")
    if model._multilabel:
        if y.shape[1] != len(model.classes_):
            raise ValueError(
                f"{owner}: y must have {len(model.classes_)} columns, got {y.shape[1]}"
            )
        return y, y
    unknown = np.setdiff1d(np.unique(y), model.classes_)
    if len(unknown):
        raise ValueError(
            f"{owner}: y must hold known classes only, got {unknown[:5].tolist()} beside "
            f"{model.classes_[:20].tolist()} (`y` has classes not in `self.classes_`)"
        )
    return np.searchsorted(model.classes_, y).astype(np.int64), y


def encode_values(
    model: Any, y: Any, count: int, dtype: Any, outputs: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of a regression as (n, n_outputs), and as given.

    Parameters
    ----------
    model : estimator
        Its ``_vector``, whether predictions are vectors, is set without `outputs`.
    y : array-like of shape (n,) or (n, n_outputs)
    count : int
        Rows of X.
    dtype : dtype
    outputs : int or None
        The number of columns that it must have, if known.

    Raises
    ------
    ValueError
        If y does not fit.
    """
    owner = type(model).__name__
    y = numbers(y, owner, dtype)
    check_count(y, count, owner)
    found = 1 if y.ndim == 1 else y.shape[1]
    if outputs is None:
        model._vector = y.ndim == 1
    elif found != outputs:
        raise ValueError(
            f"{owner}: y must have {outputs} columns as in the first fit, got {found}"
        )
    return y.reshape(len(y), found), y
