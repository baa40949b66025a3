"""Convolutions of one, two or three axes, and their gradients.

With ``x`` of shape (images, channels, *size), ``weight`` (outputs, channels / groups, *kernel) and
zeros outside ``x``::

    y[n, o, s] = sum over c, k of weight[o, c, k] * x[n, group(o) * channels / groups + c,
                                                      s * stride - padding + k * dilation]

The sizes ``stride``, ``padding`` and ``dilation`` have one value for each spatial axis. NaN and
infinity propagate, also times a weight of zero; padding contributes nothing but zeros times
weights. Empty batches are allowed; an output without elements is refused. Deterministic: each
element is one sum in a fixed order (channels, then taps; boxes of positions for weights), so
results have the same bits at any thread count. Cost is 2 operations for each element of y, channel
of its group and tap, for each of the three ops; patches are never stored, only packed in the cache.

In float32, where it takes less time, square kernels of 3 or 5 taps with stride and dilation 1 are
computed from tiles of 6 x 6 inputs (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016). With C channels in a group the error of an element of y, or of the input
gradient, is then at most ``2**-23 * (C + 30) * K`` times the sum over these channels of the
largest ``abs(weight)`` times the largest ``abs(x)`` in the tile, with K = 600 for 3 taps and 1200
for 5. With T tiles in all images the error of a weight's gradient is at most ``2**-23 * (T + 30)
* K`` times the sum over the tiles of the largest ``abs(x)`` times the largest ``abs(dout)``, with
K = 850 for 3 taps and 400 for 5. For numbers of similar magnitude it is about twice that of plain
sums of as many terms. Plain sums are used wherever the tiles give a result that is not finite.

Shapes, dtypes and values that do not fit raise ValueError.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._arrays import is_cupy
from . import elementwise
from ._op import Op, register
from ._signature import HALVES
from .linear import ACTIVATIONS


def _out_sizes(
    op: str,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    for name, values, least in (
        ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)
    ):  # fmt: skip
        if len(values) != len(size):
            raise ValueError(f"{op}: {name} must have {len(size)} values, got {len(values)}")
        if min(values) < least:
            raise ValueError(f"{op}: {name} must be at least {least}, got {min(values)}")
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        if room < 0 or k < 1:
            raise ValueError(
                f"{op}: kernels must fit the padded input, got {k} with dilation {d} for an axis "
                f"of {n} with padding {p}"
            )
        out.append(room // s + 1)
    return out


def _check(op: str, **arrays: np.ndarray) -> None:
    (first, x), *others = arrays.items()
    known = "float32", "float64", *(HALVES if is_cupy(x) else ())
    if x.dtype.name not in known:
        raise ValueError(
            f"{op}: {first} must be {' or '.join(known)}, got {x.dtype} (convert it with astype)"
        )
    if not 3 <= x.ndim <= 5:
        raise ValueError(f"{op}: {first} must have 3 to 5 axes, got shape {x.shape}")
    for name, a in others:
        wide = name == "bias" and x.dtype.name in HALVES and a.dtype.name == "float32"
        if a.dtype.name != x.dtype.name and not wide:
            raise ValueError(
                f"{op}: {name} must be {x.dtype.name} like the other arrays, got {a.dtype}"
            )
        if name != "bias" and a.ndim != x.ndim:
            raise ValueError(f"{op}: {name} must have {x.ndim} axes, got shape {a.shape}")


def _taps(
    kernel: Sequence[int], out: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[Any, Any]]:
    """Index of each tap, and of what it reads of the padded input for all outputs."""
    for tap in itertools.product(*(range(k) for k in kernel)):
        reads = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        yield (..., *tap), (slice(None), slice(None), *reads)


def _padded(x: np.ndarray, padding: Sequence[int]) -> np.ndarray:
    return np.pad(x.astype(np.float64), [(0, 0), (0, 0), *((p, p) for p in padding)])


def _check_ending(op: str, bias: np.ndarray | None, channels: int, activation: int) -> None:
    if not 0 <= activation < len(ACTIVATIONS):
        raise ValueError(f"{op}: activation must be in [0, 12), got {activation}")
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ValueError(f"{op}: bias must have shape ({channels},), got {tuple(bias.shape)}")


def _finished(
    y: np.ndarray, bias: np.ndarray | None, activation: int, parameter: float, dtype: type
) -> np.ndarray:
    if bias is not None:
        y = y + bias.astype(np.float64).reshape(-1, *[1] * (y.ndim - 2))
    name = ACTIVATIONS[activation]
    if activation:
        more = (np.float64(parameter),) if name in ("leaky_relu", "elu") else ()
        y = getattr(elementwise, name).specification(np.ascontiguousarray(y), *more)
    with np.errstate(over="ignore"):
        return y.astype(dtype)


def _grouped(a: np.ndarray, groups: int, axis: int) -> np.ndarray:
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


# Each check returns the extents of y. The CUDA implementation, which has no signature either, calls
# them too.


def _check_forward(
    x: Any, weight: Any, bias: Any, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], groups: int, activation: int,
) -> list[int]:  # fmt: skip
    op = "convolution.forward"
    _check(op, x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    kernel = weight.shape[2:]
    out = _out_sizes(op, x.shape[2:], kernel, stride, padding, dilation)
    if groups < 1:
        raise ValueError(f"{op}: groups must be at least 1, got {groups}")
    if weight.shape[0] % groups:
        raise ValueError(
            f"{op}: weight must have a multiple of {groups} (groups) on its first axis, got shape "
            f"{weight.shape}"
        )
    if x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"{op}: x must have {weight.shape[1] * groups} channels as weight and groups say, got "
            f"{x.shape[1]}"
        )
    _check_ending(op, bias, weight.shape[0], activation)
    return out


def _check_input_gradient(
    dout: Any, weight: Any, bias: Any, size: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], groups: int, activation: int,
) -> list[int]:  # fmt: skip
    op = "convolution.input_gradient"
    _check(op, dout=dout, weight=weight, **({} if bias is None else {"bias": bias}))
    if len(size) != dout.ndim - 2:
        raise ValueError(f"{op}: size must have {dout.ndim - 2} values, got {len(size)}")
    out = _out_sizes(op, size, weight.shape[2:], stride, padding, dilation)
    if dout.shape[1] != weight.shape[0] or groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{op}: dout must have {weight.shape[0]} channels as weight says, a multiple of "
            f"groups, got {dout.shape[1]} and groups {groups}"
        )
    if out != [*dout.shape[2:]]:
        raise ValueError(
            f"{op}: size must be one whose output has the extents of dout, got {[*size]} for shape "
            f"{dout.shape}"
        )
    _check_ending(op, bias, weight.shape[1] * groups, activation)
    return out


def _check_weight_gradient(
    x: Any, dout: Any, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int,
) -> list[int]:  # fmt: skip
    op = "convolution.weight_gradient"
    _check(op, x=x, dout=dout)
    if len(kernel) != x.ndim - 2:
        raise ValueError(f"{op}: kernel must have {x.ndim - 2} values, got {len(kernel)}")
    out = _out_sizes(op, x.shape[2:], kernel, stride, padding, dilation)
    fits = groups >= 1 and x.shape[1] % groups == dout.shape[1] % groups == 0
    if not fits or out != [*dout.shape[2:]] or x.shape[0] != dout.shape[0]:
        raise ValueError(
            f"{op}: dout must be a gradient of the output for x, got shapes {x.shape} and "
            f"{dout.shape} with groups {groups}"
        )
    return out


def forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    activation: int = 0,
    parameter: float = 0.0,
) -> np.ndarray:
    """Convolution, ``f(y + bias)``.

    Parameters
    ----------
    x : ndarray of shape (images, channels, ...), float32 or float64
        Input with one to three spatial axes, any strides.
    weight : ndarray of shape (outputs, channels / groups, ...), dtype of x
        Kernels.
    bias : ndarray of shape (outputs,), dtype of x, or None
        Added to every element of its output channel.
    stride, padding, dilation : sequence of int
        One value for each spatial axis.
    groups : int, default=1
        Output channels see only the input channels of their group.
    activation : int in [0, 12), default=0
        Place of f in `kernelmill.ops.linear.ACTIVATIONS`.
    parameter : float, default=0.0
        Slope of leaky_relu and alpha of elu.

    Returns
    -------
    y : ndarray of shape (images, outputs, ...), dtype of x
        New and C-contiguous.

    Raises
    ------
    ValueError
        If shapes, dtypes or sizes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import convolution
    >>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, -1.0]]])
    >>> convolution.forward(x, w, None, (1,), (0,), (1,))
    array([[[-1., -1.]]])
    """
    out = _check_forward(x, weight, bias, stride, padding, dilation, groups, activation)
    kernel = weight.shape[2:]
    padded, w = _padded(x, padding), _grouped(weight.astype(np.float64), groups, 0)
    y = np.zeros((len(x), groups, weight.shape[0] // groups, *out))
    for tap, reads in _taps(kernel, out, stride, dilation):
        patch = _grouped(padded[reads], groups, 1)
        y += np.einsum("ngc...,goc->ngo...", patch, w[tap])
    y = y.reshape(len(x), len(weight), *out)
    return _finished(y, bias, activation, parameter, x.dtype.type)


def input_gradient(
    dout: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    activation: int = 0,
    parameter: float = 0.0,
) -> np.ndarray:
    """Gradient with respect to the input: the transposed convolution ``f(dx + bias)``.

    Parameters
    ----------
    dout : ndarray of shape (images, outputs, ...), float32 or float64
        Gradient of y, or the input of a transposed convolution; any strides.
    weight : ndarray of shape (outputs, channels / groups, ...), dtype of dout
        Kernels.
    bias : ndarray of shape (channels,), dtype of dout, or None
        Added to every element of its channel.
    size : sequence of int
        Spatial extents of dx: any whose convolution has the extents of dout.
    stride, padding, dilation : sequence of int
        One value for each spatial axis.
    groups : int, default=1
        As in `forward`.
    activation : int in [0, 12), default=0
        Place of f in `kernelmill.ops.linear.ACTIVATIONS`.
    parameter : float, default=0.0
        Slope of leaky_relu and alpha of elu.

    Returns
    -------
    dx : ndarray of shape (images, channels, *size), dtype of dout
        New and C-contiguous.

    Raises
    ------
    ValueError
        If shapes, dtypes or sizes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import convolution
    >>> x, w = np.array([[[-2.0, -0.5]]]), np.array([[[2.0]]])
    >>> convolution.input_gradient(x, w, None, (3,), (2,), (0,), (1,))
    array([[[-4.,  0., -1.]]])
    """
    out = _check_input_gradient(
        dout, weight, bias, size, stride, padding, dilation, groups, activation
    )
    channels = weight.shape[1] * groups
    extents = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    dx = np.zeros((len(dout), channels, *extents))
    w, d = _grouped(weight.astype(np.float64), groups, 0), _grouped(dout.astype(float), groups, 1)
    for tap, reads in _taps(weight.shape[2:], out, stride, dilation):
        flows = np.einsum("ngo...,goc->ngc...", d, w[tap])
        dx[reads] += flows.reshape(len(dout), channels, *out)
    inner = (slice(p, p + n) for n, p in zip(size, padding, strict=True))
    dx = dx[(slice(None), slice(None), *inner)]
    return _finished(dx, bias, activation, parameter, dout.dtype.type)


def weight_gradient(
    x: np.ndarray,
    dout: np.ndarray,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> np.ndarray:
    """Gradient with respect to the weights.

    Parameters
    ----------
    x : ndarray of shape (images, channels, ...), float32 or float64
        Input, any strides.
    dout : ndarray of shape (images, outputs, ...), dtype of x
        Gradient of y, any strides.
    kernel : sequence of int
        Spatial extents of the weights.
    stride, padding, dilation : sequence of int
        One value for each spatial axis.
    groups : int, default=1
        As in `forward`.

    Returns
    -------
    dweight : ndarray of shape (outputs, channels / groups, *kernel), dtype of x
        New and C-contiguous.

    Raises
    ------
    ValueError
        If shapes, dtypes or sizes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import convolution
    >>> x, dout = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> convolution.weight_gradient(x, dout, (2,), (1,), (0,), (1,))
    array([[[21., 32.]]])
    """
    out = _check_weight_gradient(x, dout, kernel, stride, padding, dilation, groups)
    padded, d = _padded(x, padding), _grouped(dout.astype(np.float64), groups, 1)
    d = d.reshape(*d.shape[:3], -1) if d.size else np.zeros((*d.shape[:3], 0))
    dweight = np.zeros((groups, dout.shape[1] // groups, x.shape[1] // groups, *kernel))
    for tap, reads in _taps(kernel, out, stride, dilation):
        patch = _grouped(padded[reads], groups, 1)
        patch = patch.reshape(*patch.shape[:3], d.shape[3])
        dweight[tap] = np.einsum("ngos,ngcs->goc", d, patch)
    return dweight.reshape(dout.shape[1], x.shape[1] // groups, *kernel).astype(x.dtype)


for _specification in (forward, input_gradient, weight_gradient):
    globals()[_specification.__name__] = register(Op(_specification))
