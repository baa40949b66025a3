"""What both approximations share: the transform of rows and streams, and the scale of a kernel."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from kernelmill._estimator._rows import Rows
from kernelmill._estimator._words import WORDS as COMMON
from kernelmill._kernels import variance
from kernelmill.preprocessing._base import ColumnTransformer

_ROWS = "{array-like, sparse matrix} of shape (n, d), or a stream"
WORDS = COMMON.extended(
    arguments={
        "X": (_ROWS, "Rows; see ``fit``."),
        "copy": ("ignored", "Ignored; present for API compatibility."),
        "sample_weight": ("array-like of shape (n,)",
            "Weights of the rows in the variance of ``gamma=\"scale\"``, and what is drawn; rows "
            "with zero weight are ignored."),
        "fit.sample_weight": ("array-like of shape (n,)",
            "Weights of the rows in the variance of ``gamma=\"scale\"``; rows with zero weight are "
            "ignored."),
    },
    parameters={
        "gamma": ("{\"scale\", \"auto\"} or float",
            "Coefficient of the kernel. ``\"scale\"`` is 1 / (d times the variance over all "
            "entries of X, weighted), or 1 where that is 0; ``\"auto\"`` is 1 / d."),
        "n_components": ("int", "Number of features that are made."),
        "random_state": ("int, RandomState, Generator or None", "Draws the features."),
        "n_jobs": ("int or None", "Ignored; see `kernelmill.threads`."),
    },
    attributes={
        "gamma_": ("float", "The coefficient."),
    },
)  # fmt: skip


def spread(X: Any, sample_weight: Any = None) -> np.ndarray:
    """Weight, mean, and sum of squares about it of all entries, zeros that are not stored too."""
    n, d = X.shape
    weight = None if sample_weight is None else sample_weight.astype(np.float64)
    total = float(n if weight is None else weight.sum()) * d
    sums = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
    whole = float(sums.sum() if weight is None else sums @ weight)
    mean = whole / total if total > 0 else 0.0
    return np.array([total, mean, variance(X, weight) * total if total > 0 else 0.0])


def merged(into: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The same of the rows of both."""
    total = into[0] + other[0]
    if not total > 0:
        return into
    apart, share = other[1] - into[1], other[0] / total
    return np.array([
        total, into[1] + apart * share, into[2] + other[2] + apart**2 * into[0] * share
    ])  # fmt: skip


def gamma_of(given: Any, rows: Rows) -> float:
    """The coefficient of a kernel, by one pass over the rows for ``"scale"``."""
    if not isinstance(given, str):
        return float(given)
    if given == "auto":
        return 1.0 / max(1, rows.n_features)
    total, _, square = rows.map_reduce(spread, merge=merged)
    scale = square / total * rows.n_features if total > 0 else 0.0
    return 1.0 / scale if 0 < scale < np.inf else 1.0


class KernelFeatures(ClassNamePrefixFeaturesOutMixin, ColumnTransformer):
    """Base: features of rows in memory, of CSR rows and of streams."""

    _accepts_missing: ClassVar[bool] = False
    _accepts_sparse: ClassVar = True
    _words = WORDS

    def _columns_out(self) -> int:
        return self._n_features_out

    @property
    def _n_features_out(self) -> int:
        raise NotImplementedError
