"""Device follows the data, and ``device="cuda"`` moves NumPy data once and gives NumPy back."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._estimator._parameters import Rule
from kernelmill.ops._op import is_cupy

DEVICE = Rule(
    lambda value: value in (None, "cpu", "cuda") and not isinstance(value, np.ndarray),
    "None (where the data is), 'cpu' or 'cuda' (KernelMill runs on processors and NVIDIA GPUs)",
)


def require_cuda(owner: str) -> Any:
    """The cupy module, where a GPU can be used now.

    Raises
    ------
    RuntimeError
        If CuPy, the CUDA module of KernelMill or a GPU is missing; never a fallback.
    """
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
    return cupy


def move_in(X: Any, device: str | None, owner: str) -> Any:
    """X where it is to be computed on: itself, or one copy on the other device.

    Parameters
    ----------
    X : ndarray, CSR matrix or CuPy array
        Checked data.
    device : {None, "cpu", "cuda"}
        The estimator's parameter.
    owner : str
        What errors call the caller.

    Raises
    ------
    RuntimeError
        If there is no GPU to use.
    TypeError
        If sparse data are to move to the GPU.
    """
    if device is None:
        return X
    if device == "cuda":
        cupy = require_cuda(owner)
        if is_cupy(X):
            return X
        if not isinstance(X, np.ndarray):
            raise TypeError(
                f"{owner}: X must be dense for device='cuda', got a sparse matrix (use "
                f"device='cpu')"
            )
        return cupy.asarray(X)
    return X.get() if is_cupy(X) else X


def move_back(value: Any, like: Any) -> Any:
    """An array on the device where `like` lives: results go where the user's data came from."""
    if is_cupy(like) == is_cupy(value):
        return value
    if is_cupy(value):
        return value.get()
    import cupy

    return cupy.asarray(value)


def namespace(X: Any) -> Any:
    """numpy or cupy, whichever X belongs to."""
    if is_cupy(X):
        import cupy

        return cupy
    return np


def to_host(value: Any) -> np.ndarray:
    """An array as NumPy, without a copy where it already is."""
    return value.get() if is_cupy(value) else value
