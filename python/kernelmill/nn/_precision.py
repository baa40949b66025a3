"""How exactly products of float32 are computed on a GPU."""

from __future__ import annotations

import importlib
import os
import warnings

from ._documents import complete

_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` has set, ``"highest"`` at first.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.get_float32_matmul_precision()
    'highest'
    """
    return _precision


def set_float32_matmul_precision(precision: str) -> None:
    """Let products of float32 on a GPU run on tensor cores, or not.

    With ``"highest"`` products are float32. With ``"high"`` or ``"medium"`` their operands are
    rounded to 11 significant bits (TF32) and added up in float32: dense layers, convolutions and
    matrix products by cuBLAS, and attention of up to 64 features a head. On a CPU products are
    float32 in any case. The setting is that of the process, and results depend on it.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        There is nothing coarser than TF32 here, so the last two are the same.

    Raises
    ------
    ValueError
        If it is another one.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.set_float32_matmul_precision("high")
    >>> nn.set_float32_matmul_precision("highest")
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ValueError(
            f"nn.set_float32_matmul_precision: precision must be one of {', '.join(_PRECISIONS)}, "
            f"got {precision!r}"
        )
    _precision = precision
    try:
        cuda = importlib.import_module("kernelmill._cuda")
    except ImportError:  # built without it: all products are on the CPU
        return
    cuda.allow_tf32(precision != "highest")
    if cuda.device_info()["usable"]:
        _tell_cupy(precision != "highest")


def _tell_cupy(allowed: bool) -> None:
    """CuPy asks cuBLAS for TF32 under a setting of its own, which has no public function.

    Without this one, ``CUPY_TF32=1`` in the environment before CuPy is imported does the same.
    """
    try:
        linalg = importlib.import_module("cupy._core._routines_linalg")
        kind = linalg.COMPUTE_TYPE_TF32 if allowed else linalg.COMPUTE_TYPE_DEFAULT
        linalg.set_compute_type("float32", kind)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        if allowed == (os.environ.get("CUPY_TF32", "0") != "0"):
            return  # it computes so already
        warnings.warn(
            f"nn.set_float32_matmul_precision: products by cuBLAS must keep their precision with "
            f"this version of CuPy, got {error} (set CUPY_TF32={int(allowed)} in the environment "
            f"before CuPy is imported; attention follows the setting)",
            RuntimeWarning,
            stacklevel=3,
        )


complete(globals())
