"""Convolution layers."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .. import init
from .._documents import complete
from .._tensor import Tensor
from ..functional._convolution import convolve, each
from ._layers import empty_parameter, uniform_by_fan
from ._module import Module

_MODES = {"reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class Convolution(Module):
    """What convolutions and transposed ones share."""

    axes = 1
    transposed = False
    output_padding: tuple[int, ...]
    padding: Any

    def _make(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, groups: int, bias: bool, padding_mode: str, dtype: Any,
    ) -> None:  # fmt: skip
        name = self._get_name()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups must divide in_channels and out_channels, got {groups} for "
                f"{in_channels} and {out_channels}"
            )
        if padding_mode != "zeros" and (padding_mode not in _MODES or self.transposed):
            allowed = "'zeros'" if self.transposed else "zeros, reflect, replicate or circular"
            raise ValueError(f"{name}: padding_mode must be {allowed}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = each(name, "kernel_size", kernel_size, self.axes)
        self.stride = each(name, "stride", stride, self.axes)
        self.padding = (
            padding if isinstance(padding, str) else each(name, "padding", padding, self.axes)
        )
        self.dilation = each(name, "dilation", dilation, self.axes)
        self.padding_mode = padding_mode
        outer, inner = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        self.weight = empty_parameter(outer, inner // groups, *self.kernel_size, dtype=dtype)
        if bias:
            self.bias = empty_parameter(out_channels, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        uniform_by_fan(self, init.fans(self.weight)[0])

    def extra_repr(self) -> str:
        """Sizes."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if isinstance(self.padding, str) or any(self.padding):
            text += f", padding={self.padding!r}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text


class _Conv(Convolution):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._make(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                   padding_mode, dtype)  # fmt: skip

    def forward(self, input: Any) -> Tensor:
        """Apply the layer."""
        return self.activated(input, "identity")

    def activated(self, input: Any, activation: str) -> Tensor:
        """Apply the layer and an activation in one pass."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._widths(), _MODES[self.padding_mode])
            padding = 0
        return convolve(f"conv{self.axes}d", self.axes, input, self.weight, self.bias, self.stride,
                        padding, self.dilation, self.groups, activation)  # fmt: skip

    def _widths(self) -> list[int]:
        """Before and after each axis, last axis first."""
        if self.padding == "valid":
            return [0] * (2 * self.axes)
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return [v for t in reversed(total) for v in (t // 2, t - t // 2)]
        return [p for p in reversed(self.padding) for _ in range(2)]


class _ConvTranspose(Convolution):
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
        dilation: Any = 1, padding_mode: str = "zeros", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.output_padding = each(self._get_name(), "output_padding", output_padding, self.axes)
        self._make(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                   padding_mode, dtype)  # fmt: skip

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """Apply the layer; ``output_size`` chooses among the sizes that stride leaves open."""
        extra = self.output_padding
        if output_size is not None:
            wanted = tuple(output_size)[-self.axes :]
            least = tuple(
                (n - 1) * s - 2 * p + d * (k - 1) + 1
                for n, s, p, d, k in zip(
                    input.shape[-self.axes :],
                    self.stride,
                    self.padding,
                    self.dilation,
                    self.kernel_size,
                    strict=True,
                )
            )
            extra = tuple(w - m for w, m in zip(wanted, least, strict=True))
        function = getattr(F, f"conv_transpose{self.axes}d")
        return function(input, self.weight, self.bias, self.stride, self.padding, extra,
                        self.groups, self.dilation)  # fmt: skip

    @property
    def _input_places(self) -> tuple[int, ...]:
        return (1,) * self.axes


_DOCUMENT = """{about} layer of {axes} ax{plural}s.

Parameters
----------
in_channels, out_channels : int
kernel_size : int or tuple of int
stride : int or tuple of int, default=1
padding : {padding}
{extra}dilation : int or tuple of int, default=1
groups : int, default=1
    Output channels see only the input channels of their group.
bias : bool, default=True
padding_mode : {modes}
dtype : dtype, optional

Attributes
----------
weight : Parameter of shape ({weight}, *kernel_size)
    Uniform within ``1 / sqrt(fan_in)`` at first.
bias : Parameter of shape (out_channels,) or None

See Also
--------
kernelmill.nn.functional.{function} : The function of the layer.

Examples
--------
>>> from kernelmill import nn
>>> nn.{name}(3, 4, 3)(nn.ones({x})).shape
{shape}
"""


def _layers() -> dict[str, type]:
    made: dict[str, type] = {}
    for axes in (1, 2, 3):
        for base in (_Conv, _ConvTranspose):
            backwards = base is _ConvTranspose
            name = f"{base.__name__[1:]}{axes}d"
            end = 9 if backwards else 5
            document = _DOCUMENT.format(
                about="Transposed convolution" if backwards else "Convolution",
                axes=axes,
                plural="i" if axes == 1 else "e",
                padding="int or tuple of int, default=0" if backwards
                else 'int, tuple of int, "same" or "valid", default=0',
                extra="output_padding : int or tuple of int, default=0\n" if backwards else "",
                modes='{"zeros"}' if backwards else '{"zeros", "reflect", "replicate", "circular"}',
                weight="in_channels, out_channels / groups" if backwards
                else "out_channels, in_channels / groups",
                function=f"conv{'_transpose' * backwards}{axes}d",
                name=name,
                x=", ".join(["2", "3", *["7"] * axes]),
                shape=(2, 4, *(end,) * axes),
            )  # fmt: skip
            made[name] = type(
                name, (base,), {"axes": axes, "__doc__": document, "__module__": __name__}
            )
    return made


LAYERS = _layers()
globals().update(LAYERS)


complete(globals())
