"""Convolutions and transposed convolutions of one to three axes.

A convolution is linear in its input and in its weights, so the derivatives of the three products
(result, input gradient, weight gradient) are these three again: gradients of any order run on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ops import convolution as ops
from ...ops.linear import ACTIVATIONS
from .._backward import recomputed
from .._documents import complete
from .._elementwise import RULES, unified
from .._shape import reshape
from .._tape import RESULT, Node, Rule, sum_to
from .._tensor import Tensor, as_tensor
from ._dense import _slope, pad


def _geometry(node: Node) -> dict[str, Any]:
    return {name: node.options[name] for name in ("stride", "padding", "dilation", "groups")}


def _bias_gradient(g: Any) -> Any:
    """The sum over samples and places."""
    return reshape(sum_to(g, (1, g.shape[1], *(1,) * (g.ndim - 2))), shape=(g.shape[1],))


def _forward(x: Any, w: Any, b: Any, activation: str, **geometry: Any) -> Any:
    return ops.forward(x, w, b, activation=ACTIVATIONS.index(activation), **geometry)


def _backward(g: Any, saved: tuple, node: Node) -> Any:
    x, w, y = saved
    if node.options["activation"] != "identity":
        op, names = _slope(node.options["activation"])[0]
        g = op(*[g if n == "dout" else y for n in names])
    px, pw, pb = node.parents
    geometry = _geometry(node)
    return (
        None if px is None else input_gradient(g, w, None, size=px.shape[2:], **geometry),
        None if pw is None else weight_gradient(x, g, kernel=pw.shape[2:], **geometry),
        None if pb is None else _bias_gradient(g),
    )


def _composed(x: Any, w: Any, b: Any, activation: str, **geometry: Any) -> Any:
    z = plain(x, w, b, activation="identity", **geometry)
    return z if activation == "identity" else RULES[activation](z)


plain: Rule = Rule("convolution", _forward, _backward, {0: (1,), 1: (0,), RESULT: ()})
fused: Rule = Rule(
    "convolution", _forward, _backward, {0: (), 1: (), 2: (), RESULT: ()},
    twice=recomputed(_composed, 3),
)  # fmt: skip
fused.backward = lambda g, saved, node: _backward(g, (saved[0], saved[1], saved[3]), node)


def _input_backward(h: Any, saved: tuple, node: Node) -> Any:
    g, w = saved
    pg, pw, pb = node.parents
    geometry = _geometry(node)
    return (
        None if pg is None else plain(h, w, None, activation="identity", **geometry),
        None if pw is None else weight_gradient(h, g, kernel=pw.shape[2:], **geometry),
        None if pb is None else _bias_gradient(h),
    )


def _weight_backward(h: Any, saved: tuple, node: Node) -> Any:
    x, g = saved
    px, pg = node.parents
    geometry = _geometry(node)
    return (
        None if px is None else input_gradient(g, h, None, size=px.shape[2:], **geometry),
        None if pg is None else plain(x, h, None, activation="identity", **geometry),
    )


input_gradient: Rule = Rule(
    "transposed convolution",
    lambda g, w, b, **o: ops.input_gradient(g, w, b, **o),
    _input_backward,
    {0: (1,), 1: (0,)},
)
weight_gradient: Rule = Rule(
    "convolution's weight gradient",
    lambda x, g, **o: ops.weight_gradient(x, g, **o),
    _weight_backward,
    {0: (1,), 1: (0,)},
)


def each(name: str, what: str, value: Any, axes: int) -> tuple[int, ...]:
    """One number for each spatial axis."""
    if hasattr(value, "__index__"):
        return (int(value),) * axes
    given = tuple(int(v) for v in value)
    if len(given) == 1:
        given *= axes
    if len(given) != axes:
        raise RuntimeError(f"F.{name}: {what} must be one number or {axes}, got {value!r}")
    return given


def _batched(name: str, input: Any, axes: int) -> tuple[Tensor, bool]:
    """With an axis of samples, and whether it is new."""
    x = as_tensor(input)
    if x.ndim == axes + 1:
        return x.unsqueeze(0), True
    if x.ndim != axes + 2:
        raise RuntimeError(
            f"F.{name}: input must have {axes + 1} or {axes + 2} axes, got shape {x.shape}"
        )
    return x, False


def convolve(
    name: str, axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    dilation: Any, groups: int, activation: str = "identity",
) -> Tensor:  # fmt: skip
    """Any of :func:`conv1d` to :func:`conv3d`, with an activation on its result."""
    x, alone = _batched(name, input, axes)
    weight = as_tensor(weight)
    steps, apart = each(name, "stride", stride, axes), each(name, "dilation", dilation, axes)
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and set(steps) != {1}):
            raise ValueError(
                f"F.{name}: padding must be numbers, 'valid' or 'same' (with stride 1), got "
                f"{padding!r}"
            )
        total = [d * (k - 1) if padding == "same" else 0
                 for d, k in zip(apart, weight.shape[2:], strict=True)]  # fmt: skip
        if any(t % 2 for t in total):  # an odd number is one more behind
            x = pad(x, [v for t in reversed(total) for v in (0, t % 2)])
        around = tuple(t // 2 for t in total)
    else:
        around = each(name, "padding", padding, axes)
    (x, weight, *rest), _ = unified((x, weight) if bias is None else (x, weight, as_tensor(bias)))
    rule = plain if activation == "identity" else fused
    y = rule(x, weight, rest[0] if rest else None, activation=activation, stride=steps,
             padding=around, dilation=apart, groups=int(groups))  # fmt: skip
    return y.squeeze(0) if alone else y


def _transposed(
    name: str, axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    output_padding: Any, groups: int, dilation: Any,
) -> Tensor:  # fmt: skip
    x, alone = _batched(name, input, axes)
    weight = as_tensor(weight)
    steps, around, apart, extra = (
        each(name, what, value, axes)
        for what, value in (("stride", stride), ("padding", padding), ("dilation", dilation),
                            ("output_padding", output_padding))
    )  # fmt: skip
    if any(e < 0 or e >= max(s, d) for e, s, d in zip(extra, steps, apart, strict=True)):
        raise RuntimeError(
            f"F.{name}: output_padding must be smaller than stride or dilation, got {extra} for "
            f"stride {steps} and dilation {apart}"
        )
    if x.shape[1] != weight.shape[0]:
        raise RuntimeError(
            f"F.{name}: input must have {weight.shape[0]} channels as weight says, got shape "
            f"{x.shape}"
        )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(
            x.shape[2:], steps, around, apart, weight.shape[2:], extra, strict=True
        )
    )
    (x, weight, *rest), _ = unified((x, weight) if bias is None else (x, weight, as_tensor(bias)))
    bias = rest[0] if rest else None
    if all(e < s for e, s in zip(extra, steps, strict=True)):
        y = input_gradient(x, weight, bias, size=size, stride=steps, padding=around,
                           dilation=apart, groups=int(groups))  # fmt: skip
    else:  # no input of a convolution has this size: cut it out of the whole
        whole = tuple(n + 2 * p - e for n, p, e in zip(size, around, extra, strict=True))
        y = input_gradient(x, weight, None, size=whole, stride=steps, padding=(0,) * axes,
                           dilation=apart, groups=int(groups))  # fmt: skip
        y = pad(y, [v for p, e in zip(around[::-1], extra[::-1], strict=True) for v in (-p, e - p)])
        y = y if bias is None else y + reshape(bias, shape=(-1, *(1,) * axes))
    return y.squeeze(0) if alone else y


_DOCUMENT = """{about} of {axes} ax{plural}s.

Parameters
----------
input : Tensor of shape (N, C, {sizes}) or (C, {sizes})
    Samples, or one of them.
weight : Tensor of shape ({weight})
    Kernels.
bias : Tensor, optional
    One number for each output channel.
stride : int or tuple of int, default=1
    Step of the {where}.
padding : {padding}
    {around}
{extra}dilation : int or tuple of int, default=1
    Distance of neighbouring taps.
groups : int, default=1
    Output channels see only the input channels of their group.

Returns
-------
output : Tensor
    In the dtype of the input.

Raises
------
RuntimeError or ValueError
    If shapes, dtypes or sizes do not fit.

Examples
--------
>>> from kernelmill import nn
>>> x, w = nn.ones({x}), nn.ones({w})
>>> nn.functional.{name}(x, w, stride=2).shape
{shape}
"""
_OUTPUT_PADDING = """output_padding : int or tuple of int, default=0
    Places added at the end.
"""


def _make(axes: int) -> list[Any]:
    def conv(
        input: Any, weight: Any, bias: Any = None, stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        return convolve(conv.__name__, axes, input, weight, bias, stride, padding, dilation, groups)

    def transposed(
        input: Any, weight: Any, bias: Any = None, stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0, output_padding: int | Sequence[int] = 0, groups: int = 1,
        dilation: int | Sequence[int] = 1,
    ) -> Tensor:  # fmt: skip
        return _transposed(transposed.__name__, axes, input, weight, bias, stride, padding,
                           output_padding, groups, dilation)  # fmt: skip

    sizes = ", ".join("DHW"[3 - axes :]) if axes > 1 else "L"
    five, two = ", ".join("5" * axes), ", ".join("2" * axes)
    ends = {"conv": "2", "conv_transpose": "10"}
    made = []
    for function, kind in ((conv, "conv"), (transposed, "conv_transpose")):
        backwards = kind != "conv"
        name = f"{kind}{axes}d"
        document = _DOCUMENT.format(
            about="Transposed convolution" if backwards else "Convolution",
            axes=axes,
            plural="i" if axes == 1 else "e",
            sizes=sizes,
            weight=f"{'C, O / groups' if backwards else 'O, C / groups'}, ...",
            where="output" if backwards else "window",
            padding="int or tuple of int, default=0"
            if backwards
            else 'int, tuple of int, "same" or "valid", default=0',
            around="Places taken off at both ends." if backwards else "Zeros added at both ends.",
            extra=_OUTPUT_PADDING if backwards else "",
            x=f"1, 3, {five}",
            w=f"{'3, 4' if backwards else '4, 3'}, {two}",
            name=name,
            shape=f"(1, 4, {', '.join([ends[kind]] * axes)})",
        )
        function.__name__ = function.__qualname__ = name
        function.__doc__ = document
        made.append(function)
    return made


conv1d, conv_transpose1d = _make(1)
conv2d, conv_transpose2d = _make(2)
conv3d, conv_transpose3d = _make(3)


complete(globals())
