"""Elementary functions of every element of an array."""

from __future__ import annotations

import numpy as np
import scipy.special

from ._op import op


@op
def exp(x: np.ndarray) -> np.ndarray:
    """Exponential function.

    Parameters
    ----------
    x : ndarray of any shape and strides, float32 or float64
        Arguments.

    Returns
    -------
    y : ndarray of the shape and dtype of x
        C-contiguous and new.

    Raises
    ------
    ValueError
        If x is not float32 or float64.

    Notes
    -----
    ``y = e^x``. NaN gives NaN; -inf gives 0, inf and overflow give inf, underflow is gradual.
    An empty x gives an empty y. Deterministic: an element's bits depend on its value alone, at
    any place, length and thread count. Largest error of the C++ twin: 1.05 units in the last
    place in float32, 1.1 in float64 (docs/vector-math.md). Cost about 20 flops an element, in
    one pass over memory.

    References
    ----------
    Cody, Waite. Software Manual for the Elementary Functions. Prentice-Hall, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import elementwise
    >>> elementwise.exp(np.array([-np.inf, 0.0, np.log(2.0)]))
    array([0., 1., 2.])
    """
    wide = _wide("elementwise.exp", x)
    with np.errstate(all="ignore"):
        return np.exp(wide).astype(x.dtype)


@op
def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm.

    Parameters
    ----------
    x : ndarray of any shape and strides, float32 or float64
        Arguments.

    Returns
    -------
    y : ndarray of the shape and dtype of x
        C-contiguous and new.

    Raises
    ------
    ValueError
        If x is not float32 or float64.

    Notes
    -----
    ``y = log(x)``. NaN gives NaN; x < 0 gives NaN, +-0 gives -inf, inf gives inf. An empty x
    gives an empty y. Deterministic: an element's bits depend on its value alone, at any place,
    length and thread count. Largest error of the C++ twin: 1.0 units in the last place in
    float32, 1.0 in float64 (docs/vector-math.md). Cost about 25 flops an element, in one pass
    over memory.

    References
    ----------
    Cody, Waite. Software Manual for the Elementary Functions. Prentice-Hall, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import elementwise
    >>> elementwise.log(np.array([0.0, 1.0, np.inf]))
    array([-inf,   0.,  inf])
    """
    wide = _wide("elementwise.log", x)
    with np.errstate(all="ignore"):
        return np.log(wide).astype(x.dtype)


@op
def log1p(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of 1 + x, accurate for small x.

    Parameters
    ----------
    x : ndarray of any shape and strides, float32 or float64
        Arguments.

    Returns
    -------
    y : ndarray of the shape and dtype of x
        C-contiguous and new.

    Raises
    ------
    ValueError
        If x is not float32 or float64.

    Notes
    -----
    ``y = log(1 + x)``. NaN gives NaN; x < -1 gives NaN, -1 gives -inf, inf gives inf, +-0 and
    denormals give themselves. An empty x gives an empty y. Deterministic: an element's bits
    depend on its value alone, at any place, length and thread count. Largest error of the C++
    twin: 1.5 units in the last place in float32, 1.5 in float64 (docs/vector-math.md). Cost
    about 30 flops an element, in one pass over memory.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import elementwise
    >>> elementwise.log1p(np.array([-1.0, -0.0, np.inf]))
    array([-inf,  -0.,  inf])
    """
    wide = _wide("elementwise.log1p", x)
    with np.errstate(all="ignore"):
        return np.log1p(wide).astype(x.dtype)


@op
def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : ndarray of any shape and strides, float32 or float64
        Arguments.

    Returns
    -------
    y : ndarray of the shape and dtype of x
        C-contiguous and new.

    Raises
    ------
    ValueError
        If x is not float32 or float64.

    Notes
    -----
    ``y = (e^x - e^-x) / (e^x + e^-x)``. NaN gives NaN; +-inf gives +-1, +-0 gives +-0; the
    function is odd in every bit and never passes 1. An empty x gives an empty y. Deterministic:
    an element's bits depend on its value alone, at any place, length and thread count. Largest
    error of the C++ twin: 2.5 units in the last place in float32, 3.0 in float64
    (docs/vector-math.md). Cost about 30 flops an element, in one pass over memory.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import elementwise
    >>> elementwise.tanh(np.array([-np.inf, -0.0, 30.0]))
    array([-1., -0.,  1.])
    """
    wide = _wide("elementwise.tanh", x)
    with np.errstate(all="ignore"):
        return np.tanh(wide).astype(x.dtype)


@op
def erf(x: np.ndarray) -> np.ndarray:
    """Error function.

    Parameters
    ----------
    x : ndarray of any shape and strides, float32 or float64
        Arguments.

    Returns
    -------
    y : ndarray of the shape and dtype of x
        C-contiguous and new.

    Raises
    ------
    ValueError
        If x is not float32 or float64.

    Notes
    -----
    ``y = 2 / sqrt(pi) * integral from 0 to x of exp(-t^2) dt``. NaN gives NaN; +-inf gives +-1,
    +-0 gives +-0; the function is odd in every bit and never passes 1. An empty x gives an
    empty y. Deterministic: an element's bits depend on its value alone, at any place, length
    and thread count. Largest error of the C++ twin: 1.5 units in the last place in float32, 1.5
    in float64 (docs/vector-math.md). Cost about 35 (float32) or 70 (float64) flops an element,
    in one pass over memory.

    References
    ----------
    Cody. Rational Chebyshev approximations for the error function. Math. Comp. 23, 1969.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import elementwise
    >>> elementwise.erf(np.array([-np.inf, -0.0, 9.0]))
    array([-1., -0.,  1.])
    """
    wide = _wide("elementwise.erf", x)
    with np.errstate(all="ignore"):
        return scipy.special.erf(wide).astype(x.dtype)


@op
def logistic(x: np.ndarray) -> np.ndarray:
    """Logistic function (sigmoid).

    Parameters
    ----------
    x : ndarray of any shape and strides, float32 or float64
        Arguments.

    Returns
    -------
    y : ndarray of the shape and dtype of x
        C-contiguous and new.

    Raises
    ------
    ValueError
        If x is not float32 or float64.

    Notes
    -----
    ``y = 1 / (1 + e^-x)``, computed as ``e^x / (1 + e^x)`` below zero. NaN gives NaN; -inf
    gives 0, inf gives 1; far below zero the result is e^x, down to the denormals. An empty x
    gives an empty y. Deterministic: an element's bits depend on its value alone, at any place,
    length and thread count. Largest error of the C++ twin: 2.5 units in the last place in
    float32, 2.5 in float64 (docs/vector-math.md). Cost about 25 flops an element, in one pass
    over memory.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import elementwise
    >>> elementwise.logistic(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """
    wide = _wide("elementwise.logistic", x)
    with np.errstate(all="ignore"):
        z = np.exp(-np.abs(wide))
        return (np.where(wide < 0, z, 1.0) / (1.0 + z)).astype(x.dtype)


def _wide(name: str, x: np.ndarray) -> np.ndarray:
    if x.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{name}: x must be float32 or float64, got {x.dtype} (convert it with astype)"
        )
    with np.errstate(invalid="ignore"):  # a signalling NaN is one more NaN
        return np.ascontiguousarray(x, dtype=np.float64).reshape(x.shape)
