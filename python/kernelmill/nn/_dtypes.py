"""What tensors may hold: numbers of NumPy's dtypes, and bfloat16, which ml_dtypes adds to them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..ops import half

HALF = np.dtype(np.float16)
# Kinds of floats. NumPy gives bfloat16 that of records, which no tensor holds.
FLOATS = "fV"


def bfloat16() -> np.dtype:
    """The dtype, of the package that has it."""
    try:
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        raise ImportError(
            "nn.Tensor: dtype bfloat16 must come from the package ml_dtypes, as NumPy lacks it, "
            "got no such package (pip install ml_dtypes; float16 needs nothing)"
        ) from None


def dtype_of(name: Any) -> np.dtype:
    """A dtype of NumPy's, or bfloat16."""
    if str(name).rpartition(".")[2].rstrip("'>") == "bfloat16":
        return bfloat16()
    return np.dtype(name)


def holds_numbers(dtype: np.dtype) -> bool:
    """Whether a tensor can have it."""
    return dtype.kind in "biuf" or dtype.name == "bfloat16"


def is_half(dtype: Any) -> bool:
    """Whether numbers of it are stored in 16 bits and computed in 32; None has no numbers."""
    return dtype is not None and (dtype == HALF or dtype.kind == "V")


def finfo(dtype: Any) -> Any:
    """Limits of a float dtype."""
    dtype = np.dtype(dtype)
    known = np if dtype.kind == "f" else importlib.import_module("ml_dtypes")
    return known.finfo(dtype)


def promoted(dtypes: list[np.dtype]) -> np.dtype:
    """The dtype of a result of dtypes of one kind: of the two of 16 bits it is float32."""
    if len({*dtypes}) > 1:
        dtypes = [np.dtype(np.float32) if d.kind == "V" else d for d in dtypes]
    return np.result_type(*dtypes)


def widened(x: Any) -> Any:
    """An array of 16 bits as float32; anything else as it is."""
    dtype = getattr(x, "dtype", None)
    if not is_half(dtype):
        return x
    if dtype == HALF and type(x) is np.ndarray and x.flags.c_contiguous and x.size:
        return half.widen(x.reshape(-1, 1).view(np.uint8)).reshape(x.shape)
    return x.astype(np.float32)


def narrowed(x: Any, dtype: np.dtype) -> Any:
    """A float array in 16 bits, infinite where it is too large; others as they are."""
    if x.dtype.kind not in FLOATS or x.dtype == dtype:
        return x
    plain = type(x) is np.ndarray and x.dtype == np.float32 and x.flags.c_contiguous
    if plain and x.size and dtype == HALF:
        return half.narrow(x.reshape(-1)).view(HALF).reshape(x.shape)
    with np.errstate(over="ignore"):
        return x.astype(dtype)
