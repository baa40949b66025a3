"""Which inputs of an estimator are streams of chunks, and their features."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kernelmill._estimator._validation import check_features, chunk_check
from kernelmill.ops._op import is_cupy
from kernelmill.stream import Source, source
from kernelmill.stream._matrix import is_frame, is_sparse, kind_of

# A memory map up to this size is read as an array: its pages are cheaper to keep than to read
# again.
MEMMAP_BYTES = 256 << 20


def is_stream(X: Any) -> bool:
    """Whether X is to be read chunk by chunk: a path, memory map, iterable, Dask or `Source`."""
    if isinstance(X, np.memmap):
        return X.ndim == 2 and X.nbytes > MEMMAP_BYTES
    if isinstance(X, np.ndarray) or is_sparse(X) or is_frame(X) or is_cupy(X):
        return False
    if isinstance(X, Source | str | os.PathLike) or kind_of(X) in ("dask", "dask_expr"):
        return True
    if isinstance(X, list | tuple):
        first = X[0] if len(X) else None
        if isinstance(first, tuple) and len(first) == 2:
            first = first[0]
        return (
            isinstance(first, str | os.PathLike)
            or is_frame(first)
            or is_sparse(first)
            or getattr(first, "ndim", 0) == 2
        )
    if hasattr(X, "__array__") or hasattr(X, "__array_interface__") or hasattr(X, "__dlpack__"):
        return False
    return (callable(X) or hasattr(X, "__iter__")) and not isinstance(X, dict | bytes)


def open_stream(
    estimator: Any,
    X: Any,
    sample_weight: Any = None,
    *,
    reset: bool,
    chunk_rows: int | None = None,
    accept_sparse: bool = True,
    allow_nan: bool = False,
) -> Source:
    """X as a checked `Source`; keeps or compares the names and number of its features.

    Parameters
    ----------
    estimator : object
        Gets ``n_features_in_`` and ``feature_names_in_`` when `reset`; errors bear its class.
    X : anything `kernelmill.stream.source` takes
    sample_weight : array-like, str or None
        As in `kernelmill.stream.source`.
    reset : bool
        True in ``fit``.
    chunk_rows : int, optional
        As in `kernelmill.stream.source`.
    accept_sparse, allow_nan : bool
        As in `kernelmill._estimator._validation.check_X`.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If the features are not those of ``fit``; NaN and inf are found as the chunks are read.
    """
    owner = type(estimator).__name__
    check = chunk_check(owner, accept_sparse=accept_sparse, allow_nan=allow_nan)
    opened = source(X, sample_weight, chunk_rows=chunk_rows, validate=check, owner=owner)
    check_features(estimator, opened.feature_names, opened.n_features, reset)
    return opened
