"""Weights of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight


def not_negative(weights: Any) -> Any:
    """Weights of which negative ones are 0: their rows are left out, as LIBSVM does."""
    known = hasattr(getattr(weights, "dtype", None), "kind")  # an array's, as NumPy has it
    values = weights if known else np.asarray(weights)
    if values.dtype == object:
        try:
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            return weights  # which is refused
    if values.dtype.kind not in "if" or not bool((values < 0).any()):
        return weights
    return values * (values > 0)


def factors_of_classes(
    class_weight: Any, classes: np.ndarray, codes: np.ndarray, labels: np.ndarray,
    weights: np.ndarray, owner: str
) -> np.ndarray:  # fmt: skip
    """The factor of C for each class; balanced are the sums of the weights of the rows.

    Raises
    ------
    ValueError
        If a class has no row with a positive weight, or factors do not fit the classes.
    """
    present = np.bincount(codes, weights > 0, len(classes)) > 0
    if not present.all():
        missing = classes[~present][0]
        raise ValueError(
            f"{owner}: sample_weight must be positive for some row of each class, got "
            f"none for class {missing!r} (drop those rows, or weigh them)"
        )
    try:
        if isinstance(class_weight, str):  # by weights, so that they equal repetition
            shares = np.bincount(codes, weights, len(classes))
            factors = shares.sum() / (len(shares) * shares)
        else:
            factors = compute_class_weight(class_weight, classes=classes, y=labels)
    except ValueError as error:
        raise ValueError(f"{owner}: class_weight must fit y, got others ({error})") from None
    if not (factors > 0).all():
        raise ValueError(
            f"{owner}: class_weight must be above 0 for each class, got {factors.min():g}"
        )
    return factors
