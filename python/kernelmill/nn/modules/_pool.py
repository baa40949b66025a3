"""Pooling and resizing layers."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .._documents import complete
from .._tensor import Tensor
from ._module import Module
from ._simple import layer


def _layers() -> dict[str, type]:
    made: dict[str, type] = {}
    for axes in (1, 2, 3):
        size = ", ".join("6" * axes)
        for name, function, argument, result in (
            ("MaxPool", "max_pool", "2", 3), ("AvgPool", "avg_pool", "2", 3),
            ("AdaptiveMaxPool", "adaptive_max_pool", "3", 3),
            ("AdaptiveAvgPool", "adaptive_avg_pool", "3", 3),
        ):  # fmt: skip
            shape = (1, 2, *(result,) * axes)
            example = f"nn.{name}{axes}d({argument})(nn.ones(1, 2, {size})).shape\n{shape}"
            made[f"{name}{axes}d"] = layer(
                f"{name}{axes}d", f"{function}{axes}d", 1, example, module=__name__,
                last="ceil_mode" if name == "MaxPool" else "",
            )  # fmt: skip
        example = f"nn.LPPool{axes}d(2, 3)(nn.ones(1, 2, {size})).shape\n{(1, 2, *(2,) * axes)}"
        made[f"LPPool{axes}d"] = layer(
            f"LPPool{axes}d", f"lp_pool{axes}d", 1, example, module=__name__
        )
    return made


LAYERS = _layers()
globals().update(LAYERS)


class _MaxUnpool(Module):
    axes = 1

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Tensor:
        """Put values back.

        Parameters
        ----------
        input : Tensor
            Largest elements.
        indices : Tensor of the same shape, integers
            Where they were.
        output_size : tuple of int, optional
            Sizes of the result, where the pooling left them open.

        Returns
        -------
        output : Tensor
            Zeros but for the values.
        """
        function = getattr(F, f"max_unpool{self.axes}d")
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


_DOCUMENT = """Values put back at the places that a pooling layer of {axes} ax{plural}s found.

Parameters
----------
kernel_size : int or tuple of int
    Extent of the windows.
stride : int or tuple of int, optional
    Distance of the windows; the kernel size by default.
padding : int or tuple of int, default=0
    As in the pooling.

Examples
--------
>>> from kernelmill import nn
>>> pool = nn.MaxPool{axes}d(2, return_indices=True)
>>> nn.MaxUnpool{axes}d(2)(*pool(nn.ones{shape})).shape
{shape}
"""
for _axes in (1, 2, 3):
    _name = f"MaxUnpool{_axes}d"
    _text = _DOCUMENT.format(
        axes=_axes, plural="i" if _axes == 1 else "e", shape=(1, 2, *(6,) * _axes)
    )
    LAYERS[_name] = globals()[_name] = type(
        _name, (_MaxUnpool,), {"axes": _axes, "__doc__": _text, "__module__": __name__}
    )


class Upsample(Module):
    """Samples of another size (see :func:`kernelmill.nn.functional.interpolate`).

    Parameters
    ----------
    size : int or tuple of int, optional
        Sizes of the result.
    scale_factor : float or tuple of float, optional
        Factors of the sizes; either this or ``size``.
    mode : {"nearest", "nearest-exact", "area", "linear", "bilinear", "trilinear", "bicubic"}
        How values between samples are found.
    align_corners : bool, optional
        Whether the corners of input and output coincide.
    recompute_scale_factor : bool, optional
        Take the factors from the rounded sizes.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.Upsample(scale_factor=2)(nn.ones(1, 2, 3, 3)).shape
    (1, 2, 6, 6)
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        """Resize."""
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                             self.recompute_scale_factor)  # fmt: skip

    def extra_repr(self) -> str:
        """Sizes and mode."""
        which = (
            f"size={self.size}" if self.size is not None else f"scale_factor={self.scale_factor}"
        )
        return f"{which}, mode={self.mode!r}"


LAYERS["Upsample"] = Upsample
complete(globals())
