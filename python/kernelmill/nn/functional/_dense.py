"""Dense layers, look-ups and padding."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ops import elementwise
from ...ops.elementwise_table import DERIVATIVES
from ...ops.linear import ACTIVATIONS, backward, forward
from .._backward import recomputed
from .._documents import complete
from .._elementwise import RULES, unified
from .._linalg import einsum, matmul
from .._shape import getitem, reshape, swap_last
from .._shape import pad as _pad
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """``x W' + b``.

    Parameters
    ----------
    input : Tensor of shape (..., in_features)
    weight : Tensor of shape (out_features, in_features)
    bias : Tensor of shape (out_features,), optional

    Returns
    -------
    output : Tensor of shape (..., out_features)

    Raises
    ------
    RuntimeError
        If the shapes do not fit.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.linear(nn.ones(2, 3), nn.ones(1, 3), nn.ones(1)).tolist()
    [[4.0], [4.0]]
    """
    return dense(input, weight, bias)


def _activated(z: Any, activation: str, parameter: float) -> Any:
    if activation == "identity":
        return z
    more = (parameter,) if activation in ("leaky_relu", "elu") else ()
    return RULES[activation](z, *more)


def dense_forward(
    x: Any, weight: Any, bias: Any, activation: str, parameter: float = 0.0
) -> Any:
    """Of arrays: the result, and a tuple of what the gradient of the activation needs."""
    if activation == "identity":
        return forward(x, weight, bias)[0], (None,)
    by_result = _slope(activation)[1]
    y, z = forward(x, weight, bias, ACTIVATIONS.index(activation), parameter, by_result)
    return y, (y if by_result else z,)


@functools.cache
def _slope(activation: str) -> tuple[Any, bool]:
    """The op behind an activation's gradient, and whether it is a function of the result alone."""
    if activation == "identity":
        return (None, ()), True
    found = DERIVATIVES[activation]["x"]
    return (getattr(elementwise, str(found.row)), found.arguments), "x" not in found.arguments


def dense_gradients(
    g: Any, x: Any, weight: Any, kept: Any, activation: str, parameter: float = 0.0,
    needs: Any = (True, True, True),
) -> tuple[Any, ...]:  # fmt: skip
    """Of arrays: the gradients of the input, the weight and the bias, None where not needed."""
    (slope, names), _ = _slope(activation)
    if slope is not None:
        g = slope(
            *[g if n == "dout" else kept if n in ("x", "result") else parameter for n in names]
        )
    found = backward(g, x, weight, *[not needed for needed in needs])
    return tuple(d if needed else None for d, needed in zip(found, needs, strict=True))


def _dense_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, weight, _, kept = saved
    needs = [p is not None for p in node.parents]
    options = node.options
    return dense_gradients(g, x, weight, kept, options["activation"], options["parameter"], needs)


def _composed(x: Any, weight: Any, bias: Any, activation: str, parameter: float) -> Any:
    """The same in differentiable operations."""
    z = matmul(x, swap_last(weight))
    return _activated(z if bias is None else z + bias, activation, parameter)


_dense: Rule = Rule(
    "linear",
    dense_forward,
    _dense_backward,
    {0: (), 1: (), 2: ()},
    twice=recomputed(_composed, 3),
    extras=True,
)


def dense(
    input: Any, weight: Any, bias: Any, activation: str = "identity", parameter: float = 0.0
) -> Tensor:
    """An activation of :func:`linear`, in one pass."""
    x, weight = as_tensor(input), as_tensor(weight)
    if weight.ndim not in (1, 2) or x.ndim < 1 or x.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            "F.linear: input must have the weight's number of features along its last axis, got "
            f"shapes {x.shape} and {weight.shape}"
        )
    if weight.ndim == 1:
        product = x @ weight
        return product if bias is None else product + bias
    if x.dtype != weight.dtype or (bias is not None and bias.dtype != x.dtype):
        given = (x, weight) if bias is None else (x, weight, as_tensor(bias))
        (x, weight, *rest), _ = unified(given)
        bias = rest[0] if rest else None
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"F.linear: bias must have shape {weight.shape[:1]}, got {tuple(bias.shape)}"
        )
    if x.ndim == 2:
        return _dense(x, weight, bias, activation=activation, parameter=parameter)
    rows = reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
    result = _dense(rows, weight, bias, activation=activation, parameter=parameter)
    return reshape(result, shape=(*x.shape[:-1], weight.shape[0]))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """``y_k = x1' W_k x2 + b_k``.

    Parameters
    ----------
    input1, input2 : Tensor of shape (..., in1_features), (..., in2_features)
    weight : Tensor of shape (out_features, in1_features, in2_features)
    bias : Tensor of shape (out_features,), optional

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.bilinear(nn.ones(5, 2), nn.ones(5, 3), nn.ones(4, 2, 3)).shape
    (5, 4)
    """
    y = einsum("...i,kij,...j->...k", as_tensor(input1), weight, as_tensor(input2))
    return y if bias is None else y + bias


# --- padding --------------------------------------------------------------------------------------

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(
    input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pad a tensor.

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        Before and after, for the last axis, then for the one before it, and so on; negative numbers
        cut off.
    mode : {"constant", "reflect", "replicate", "circular"}
    value : float, default=0
        For ``"constant"``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.pad(nn.Tensor([1.0, 2.0, 3.0]), (2, 0), mode="reflect").tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0]
    """
    x: Any = as_tensor(input)
    if len(pad) % 2 or len(pad) // 2 > x.ndim:
        raise RuntimeError(
            f"F.pad: pad must have two numbers for each of at most {x.ndim} axes, got {tuple(pad)}"
        )
    widths = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        widths[x.ndim - 1 - i] = (int(pad[2 * i]), int(pad[2 * i + 1]))
    if mode == "constant":
        cut = tuple(
            slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True)
        )
        if any(a < 0 or b < 0 for a, b in widths):
            x = getitem(x, index=cut)
        grown = tuple((max(a, 0), max(b, 0)) for a, b in widths)
        return _pad(x, widths=grown, value=0 if value is None else value)
    if mode not in _MODES:
        raise ValueError(
            f"F.pad: mode must be constant, reflect, replicate or circular, got {mode!r}"
        )
    for axis, width in enumerate(widths):
        if width == (0, 0):
            continue
        n = x.shape[axis]
        limit = {"reflect": n - 1, "circular": n}.get(mode, math.inf)
        if max(width) > limit or n == 0:
            raise RuntimeError(
                f"F.pad: pad must be at most {limit} along axis {axis} for mode {mode!r}, "
                f"got {width}"
            )
        index = np.pad(np.arange(n), (max(width[0], 0), max(width[1], 0)), mode=_MODES[mode])  # type: ignore[call-overload]
        index = index[max(-width[0], 0) : len(index) - max(-width[1], 0)]
        x = x.index_select(axis, index)
    return x


complete(globals())
