"""Activations. Those of the elementwise table are one fused pass; the others are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import beside, namespace, to_host
from ...ops import softmax as softmax_ops
from .._documents import complete
from .._dtypes import FLOATS
from .._elementwise import apply, float_dtype, gate, raw, to_dtype, where
from .._random import Generator, random_array
from .._reductions import total
from .._shape import axis_of
from .._tape import RESULT, Node, Rule
from .._tensor import Tensor, as_tensor


def _row(name: str, row: str, about: str, example: str) -> Callable[..., Tensor]:
    def function(input: Any, inplace: bool = False) -> Tensor:
        return apply(row, as_tensor(input))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{about}

Parameters
----------
input : Tensor
inplace : bool, default=False
    Ignored; present for compatibility with torch. The result is always new.

Examples
--------
>>> from kernelmill.nn import Tensor, functional as F
>>> F.{name}(Tensor([-1.0, 2.0]))
tensor({example})
"""
    return function


relu = _row("relu", "relu", "The larger of x and 0.", "[0., 2.]")
selu = _row("selu", "selu", "Self-normalising exponential linear unit.", "[-1.1113,  2.1014]")
silu = _row("silu", "silu", "x times its logistic function (swish).", "[-0.2689,  1.7616]")
sigmoid = _row("sigmoid", "logistic", "The logistic function.", "[0.2689, 0.8808]")
tanh = _row("tanh", "tanh", "The hyperbolic tangent.", "[-0.7616,  0.964 ]")
logsigmoid = _row(
    "logsigmoid", "log_sigmoid", "The logarithm of the logistic function.", "[-1.3133, -0.1269]"
)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, else ``negative_slope * x``."""
    return apply("leaky_relu", as_tensor(input), float(negative_slope))


def prelu(input: Any, weight: Any) -> Tensor:
    """x where positive, else ``weight * x``, with one weight or one for each channel (axis 1)."""
    x, weight = as_tensor(input), as_tensor(weight)
    if weight.numel() > 1 and x.ndim > 1:
        weight = weight.reshape(-1, *(1,) * (x.ndim - 2))
    return apply("leaky_relu", x, weight)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else ``alpha (e^x - 1)``."""
    return apply("elu", as_tensor(input), float(alpha))


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else ``alpha (e^(x / alpha) - 1)``."""
    x = as_tensor(input)
    return where(x > 0, x, alpha * (x / alpha).expm1())


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; ``"tanh"`` is its approximation."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"F.gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply("gelu" if approximate == "none" else "gelu_tanh", as_tensor(input))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + e^(beta x)) / beta``, and x where ``beta x`` is above the threshold."""
    x = as_tensor(input)
    smooth = apply("softplus", x) if beta == 1 else apply("softplus", x * beta) / beta
    return where(x * beta > threshold, x, smooth)


def mish(input: Any, inplace: bool = False) -> Tensor:
    """``x tanh(softplus(x))``."""
    x = as_tensor(input)
    return x * apply("tanh", apply("softplus", x))


def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to an interval; the gradient outside, and at its ends, is 0."""
    x = as_tensor(input)
    inside = (x.data > min_val) & (x.data < max_val)
    return where(inside, x, x.detach().clamp(min_val, max_val))


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """``min(max(x + 3, 0), 6) / 6``."""
    return relu6(as_tensor(input) + 3.0) / 6.0


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """``x min(max(x + 3, 0), 6) / 6``."""
    x = as_tensor(input)
    return x * hardsigmoid(x)


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x where its magnitude is above the limit, else 0."""
    x = as_tensor(input)
    return where(abs(x.data) > lambd, x, 0)


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by the limit, at most to 0."""
    if lambd < 0:
        raise RuntimeError(f"F.softshrink: lambd must not be negative, got {lambd}")
    x = as_tensor(input)
    moved = where(x.data > 0, x - lambd, x + lambd)
    return where(abs(x.data) > lambd, moved, 0)


def tanhshrink(input: Any) -> Tensor:
    """``x - tanh(x)``."""
    x = as_tensor(input)
    return x - apply("tanh", x)


def softsign(input: Any) -> Tensor:
    """``x / (1 + |x|)``."""
    x = as_tensor(input)
    return x / (1.0 + abs(x))


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above the threshold, else the value."""
    x = as_tensor(input)
    return where(x.data > threshold, x, value)


def heaviside(input: Any, value: float = 0.0) -> Tensor:
    """The step function: 0 below 0, 1 above, ``value`` at 0; its gradient is 0."""
    x = as_tensor(input).data
    xp, number = namespace(x), x.dtype.type
    step = xp.where(x == 0, number(value), xp.where(x < 0, number(0), x))
    return Tensor(xp.where(x > 0, number(1), step))  # NaN stays


def glu(input: Any, dim: int = -1) -> Tensor:
    """The first half of an axis times the logistic function of the second."""
    x = as_tensor(input)
    axis = axis_of("glu", dim, x.ndim)
    if x.shape[axis] % 2:
        raise RuntimeError(f"F.glu: the axis must have an even size, got {x.shape[axis]}")
    a, b = x.chunk(2, axis)
    return a * apply("logistic", b)


# --- softmax --------------------------------------------------------------------------------------


def as_classes(x: Any, axis: int) -> Any:
    """An array as (what is before an axis, the axis, what is behind it)."""
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _along(name: str) -> Rule:
    """The rule of an op along one axis."""
    op, gradient = getattr(softmax_ops, name), getattr(softmax_ops, f"{name}_backward")

    def forward(x: Any, axis: int) -> Any:
        return op(as_classes(x, axis)).reshape(x.shape)

    def backward(g: Any, saved: tuple, node: Node) -> Any:
        (y,), axis = saved, node.options["axis"]
        return gradient(as_classes(g, axis), as_classes(y, axis)).reshape(y.shape)

    def twice(g: Any, saved: tuple, node: Node) -> Any:
        (y,), axis = saved, (node.options["axis"],)
        if name == "softmax":
            weighted = gate(g, y)
            return weighted - y * total(weighted, axis=axis, keepdims=True)
        return g - gate(total(g, axis=axis, keepdims=True), raw("exp")(y))

    return Rule(name, forward, backward, {RESULT: ()}, twice=twice)


_softmax = _along("softmax")
_log_softmax = _along("log_softmax")


def _over(rule: Rule, name: str, input: Any, dim: int | None, dtype: Any) -> Tensor:
    x = as_tensor(input)
    if dtype is not None or x.dtype.kind not in FLOATS:
        x = to_dtype(x, float_dtype(dtype))
    if x.ndim == 0:
        return rule(x.reshape(1), axis=0).reshape(())
    if dim is None:  # torch's choice where none is given
        dim = 0 if x.ndim in (1, 3) else 1
    return rule(x, axis=axis_of(name, dim, x.ndim))


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Exponentials along an axis, divided by their sum.

    Examples
    --------
    >>> from kernelmill.nn import Tensor, functional as F
    >>> F.softmax(Tensor([1000.0, 1000.0]), dim=0)
    tensor([0.5, 0.5])
    """
    return _over(_softmax, "softmax", input, dim, dtype)


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """The logarithm of :func:`softmax`, without overflow or loss of digits."""
    return _over(_log_softmax, "log_softmax", input, dim, dtype)


def softmin(input: Any, dim: int | None = None, dtype: Any = None) -> Tensor:
    """:func:`softmax` of ``-x``."""
    return softmax(-as_tensor(input), dim, dtype)


def gumbel_softmax(
    logits: Any,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    generator: Generator | None = None,
) -> Tensor:
    """A sample of categories that has a gradient (Jang et al. 2017).

    Parameters
    ----------
    logits : Tensor
        Logarithms of weights.
    tau : float, default=1
        Temperature: the smaller, the closer to one category.
    hard : bool, default=False
        Give exactly one category; the gradient is that of the soft sample.
    eps : float, optional
        Ignored; present for compatibility with torch.
    dim : int, default=-1
        The axis of the categories.
    generator : Generator, optional
    """
    x = as_tensor(logits)
    u = np.maximum(random_array("uniform", x.shape, x.dtype, generator), 2.0**-33)
    soft = softmax((x - beside(np.log(-np.log(u)).astype(x.dtype), x.data)) / tau, dim)
    if not hard:
        return soft
    axis = axis_of("gumbel_softmax", dim, x.ndim)
    picked = np.expand_dims(to_host(soft.data.argmax(axis)), axis)
    one = np.zeros(soft.shape, soft.dtype)
    np.put_along_axis(one, picked, 1, axis)
    one = beside(one, soft.data)
    return soft + (one - soft.data)


def rrelu(
    input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
    inplace: bool = False, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """x where positive, else x times a slope that is drawn anew for each element (Xu et al. 2015).

    Parameters
    ----------
    input : Tensor
    lower, upper : float, default=1/8 and 1/3
        Range of the slopes.
    training : bool, default=False
        False takes the middle of the range.
    inplace : bool, default=False
    generator : Generator, optional
    """
    x = as_tensor(input)
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    slopes = lower + (upper - lower) * random_array("uniform", x.shape, x.dtype, generator)
    return where(x >= 0, x, x * slopes.astype(x.dtype))


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along an axis divided by their p-norm, or by ``eps`` where that is larger."""
    x = as_tensor(input)
    if not math.isfinite(eps) or eps < 0:
        raise RuntimeError(f"F.normalize: eps must not be negative, got {eps}")
    return x / apply("maximum", x.norm(p, dim, keepdim=True), float(eps))


complete(globals())
