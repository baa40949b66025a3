"""float16 to float32 and back, as IEEE 754 says: what is stored in 16 bits is computed in 32.

Widening is exact; narrowing rounds to the nearest, ties to the even mantissa, and gives infinity
from 65520 on. NaN stays NaN, subnormal numbers and the sign of zero are kept. Empty input gives an
empty result. Deterministic. Cost is one pass over memory. Shapes and dtypes that do not fit raise
ValueError. A number of 16 bits is a row of two bytes, as it lies in memory.
"""

from __future__ import annotations

import numpy as np

from ._op import op

_CUDA = "CuPy converts on the GPU, in one pass"


@op("bits: u8[n,2] -> x: f32[n]", cuda=_CUDA)
def widen(bits: np.ndarray) -> np.ndarray:
    """float32 numbers from the bytes of float16 numbers.

    Parameters
    ----------
    bits : ndarray of shape (n, 2), uint8
        The bytes of n float16 numbers: ``h.view(np.uint8).reshape(-1, 2)``.

    Returns
    -------
    x : ndarray of shape (n,), float32
        The same numbers.

    Raises
    ------
    ValueError
        If bits has another shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import half
    >>> half.widen(np.array([1.5, -2.0], np.float16).view(np.uint8).reshape(-1, 2))
    array([ 1.5, -2. ], dtype=float32)
    """
    return np.ascontiguousarray(bits).view(np.float16)[:, 0].astype(np.float32)


@op("x: f32[n] -> bits: u8[n,2]", cuda=_CUDA)
def narrow(x: np.ndarray) -> np.ndarray:
    """The bytes of float16 numbers, rounded from float32.

    Parameters
    ----------
    x : ndarray of shape (n,), float32
        Numbers.

    Returns
    -------
    bits : ndarray of shape (n, 2), uint8
        The bytes of n float16 numbers: ``bits.view(np.float16)[:, 0]`` are the numbers.

    Raises
    ------
    ValueError
        If x has another shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import half
    >>> half.narrow(np.array([0.1, 1e6], np.float32)).view(np.float16)[:, 0]
    array([0.1, inf], dtype=float16)
    """
    with np.errstate(over="ignore"):
        return x.astype(np.float16).reshape(-1, 1).view(np.uint8)
