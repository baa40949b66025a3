"""What supervised models are given to predict: class labels and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from kernelmill._arrays import to_host
from kernelmill._estimator._validation import as_array


def _given(y: Any, owner: str) -> Any:
    if y is None:
        raise ValueError(
            f"{owner}: y must be given, got None (this estimator requires y to be passed, but the "
            "target y is None)"
        )
    return to_host(y)


def _finite(y: np.ndarray, owner: str) -> None:
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(
            f"{owner}: y must be finite, got NaN or inf (Input y contains NaN, or Input y contains "
            "infinity)"
        )


def check_count(y: Any, count: int, owner: str) -> None:
    """Raise unless there is one target for each row."""
    if len(y) != count:
        raise ValueError(
            f"{owner}: y must have one entry for each row of X, got {len(y)} for {count} rows "
            "(inconsistent numbers of samples)"
        )


def class_labels(y: Any, owner: str, *, multilabel: bool = False) -> np.ndarray:
    """Class labels as a vector, or as a matrix of 0 and 1 where several may hold."""
    y = _given(y, owner)
    if isinstance(y, list | tuple) or getattr(getattr(y, "dtype", None), "kind", "") == "O":
        types = {"str" if isinstance(label, str) else type(label).__name__ for label in y}
        if "str" in types and len(types) > 1:
            raise ValueError(
                f"{owner}: y must be all numbers or all strings, got {' and '.join(sorted(types))}"
            )
    y = as_array(y, "y", owner)
    _finite(y, owner)
    try:
        if not (multilabel and y.ndim == 2 and y.shape[1] > 1):
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
    except ValueError as error:
        raise ValueError(
            f"{owner}: y must be a vector of class labels, got something else ({error})"
        ) from error
    if y.ndim == 2 and not np.isin(y, (0, 1)).all():
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
