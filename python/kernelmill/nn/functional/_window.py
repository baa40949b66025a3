"""Windows as columns and back, channels as pixels and back, and what is made of windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import namespace
from .._documents import complete
from .._elementwise import apply
from .._tape import Rule
from .._tensor import Tensor, as_tensor
from ._convolution import each
from ._dense import pad
from ._pool import avg_pool


def _columns(x: Any, windows: tuple, size: tuple[int, ...]) -> Any:
    """(N, C, *size) as (N, C, taps, *places): what each tap of the window sees."""
    taps, places, slices = windows
    xp = namespace(x)
    if any(low or high for low, high in slices[1]):
        x = xp.pad(x, ((0, 0), (0, 0), *slices[1]))
    out = xp.empty((*x.shape[:2], math.prod(taps), *places), x.dtype)
    for i, part in enumerate(slices[0]):
        out[:, :, i] = x[part]
    return out


def _images(y: Any, windows: tuple, size: tuple[int, ...]) -> Any:
    """The adjoint of `_columns`: sums of what the taps have seen."""
    _, _, slices = windows
    padded = [n + low + high for n, (low, high) in zip(size, slices[1], strict=True)]
    out = namespace(y).zeros((*y.shape[:2], *padded), y.dtype)
    for i, part in enumerate(slices[0]):
        out[part] += y[:, :, i]
    inner = tuple(slice(low, low + n) for n, (low, _) in zip(size, slices[1], strict=True))
    return namespace(y).ascontiguousarray(out[(slice(None), slice(None), *inner)])


_unfold: Rule = Rule("unfold", _columns, lambda g, saved, node: _fold(g, **node.options))
_fold: Rule = Rule("fold", _images, lambda g, saved, node: _unfold(g, **node.options))


def _windows(name: str, size: Any, kernel_size: Any, dilation: Any, padding: Any,
             stride: Any) -> dict[str, Any]:  # fmt: skip
    """Options of the rules for images of two axes."""
    size = each(name, "output_size", size, 2)
    taps, steps, pads, strides = (
        each(name, word, value, 2)
        for word, value in (("kernel_size", kernel_size), ("dilation", dilation),
                            ("padding", padding), ("stride", stride))
    )  # fmt: skip
    places = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, pads, steps, taps, strides, strict=True)
    )
    if min(places) < 1:
        raise RuntimeError(
            f"F.{name}: kernel_size must fit into the padded image, got windows of {taps} for an "
            f"image of {size}"
        )
    slices = [
        (slice(None), slice(None), *(
            slice(i * d, i * d + s * (m - 1) + 1, s)
            for i, d, s, m in zip(tap, steps, strides, places, strict=True)
        ))
        for tap in np.ndindex(*taps)
    ]  # fmt: skip
    return {"windows": (taps, places, (slices, [(p, p) for p in pads])), "size": size}


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of images as columns.

    Parameters
    ----------
    input : Tensor of shape (N, C, H, W) or (C, H, W)
    kernel_size, dilation, padding, stride : int or tuple of int

    Returns
    -------
    columns : Tensor of shape (N, C * taps, places) or (C * taps, places)
        One column for each place of the window, from left to right and from top to bottom.
    """
    x = as_tensor(input)
    if x.ndim not in (3, 4):
        raise RuntimeError(f"F.unfold: input must have 3 or 4 axes, got shape {x.shape}")
    one = x.ndim == 3
    x = x.unsqueeze(0) if one else x
    options = _windows("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    taps, places, _ = options["windows"]
    y = _unfold(x, **options).reshape(x.shape[0], x.shape[1] * math.prod(taps), math.prod(places))
    return y.squeeze(0) if one else y


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Tensor:  # fmt: skip
    """Images from the columns of :func:`unfold`; values of windows that overlap are summed.

    Parameters
    ----------
    input : Tensor of shape (N, C * taps, places) or (C * taps, places)
    output_size : int or tuple of int
        Height and width of the images.
    kernel_size, dilation, padding, stride : int or tuple of int

    Returns
    -------
    images : Tensor of shape (N, C, H, W) or (C, H, W)
        The sums.
    """
    x = as_tensor(input)
    if x.ndim not in (2, 3):
        raise RuntimeError(f"F.fold: input must have 2 or 3 axes, got shape {x.shape}")
    one = x.ndim == 2
    x = x.unsqueeze(0) if one else x
    options = _windows("fold", output_size, kernel_size, dilation, padding, stride)
    taps, places, _ = options["windows"]
    n, rows, columns = x.shape
    if rows % math.prod(taps) or columns != math.prod(places):
        raise RuntimeError(
            f"F.fold: input must have a multiple of {math.prod(taps)} rows and "
            f"{math.prod(places)} columns, got shape {x.shape}"
        )
    y = _fold(x.reshape(n, rows // math.prod(taps), math.prod(taps), *places), **options)
    return y.squeeze(0) if one else y


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Channels as pixels: (..., C r^2, H, W) to (..., C, H r, W r) (Shi et al. 2016)."""
    x, r = as_tensor(input), int(upscale_factor)
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise RuntimeError(
            f"F.pixel_shuffle: input must have a multiple of {r * r} channels, got shape {x.shape}"
        )
    *lead, c, h, w = x.shape
    y = x.reshape(-1, c // (r * r), r, r, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """Pixels as channels: (..., C, H r, W r) to (..., C r^2, H, W)."""
    x, r = as_tensor(input), int(downscale_factor)
    if x.ndim < 3 or r < 1 or x.shape[-2] % r or x.shape[-1] % r:
        raise RuntimeError(
            f"F.pixel_unshuffle: height and width must be multiples of {r}, got shape {x.shape}"
        )
    *lead, c, h, w = x.shape
    y = x.reshape(-1, c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    return y.reshape(*lead, c * r * r, h // r, w // r)


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Channels of groups in turn, so that grouped convolutions mix them (Zhang et al. 2018)."""
    x = as_tensor(input)
    if x.ndim < 3 or groups < 1 or x.shape[1] % groups:
        raise RuntimeError(
            f"F.channel_shuffle: input must have a multiple of {groups} channels, got shape "
            f"{x.shape}"
        )
    n, c, *rest = x.shape
    return x.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Values divided by those of neighbouring channels (Krizhevsky et al. 2012).

    ``x / (k + alpha m)^beta`` with m the mean of the squares of the ``size`` channels around each.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...)
    size : int
        Number of channels, the own one included.
    alpha : float, default=1e-4
        Weight of the mean.
    beta : float, default=0.75
        The exponent.
    k : float, default=1
        What is added to the mean.
    """
    x = as_tensor(input)
    if x.ndim < 3:
        raise RuntimeError(
            f"F.local_response_norm: input must have 3 or more axes, got shape {x.shape}"
        )
    n, c, *rest = x.shape
    flat = apply("square", x).reshape(n, 1, c, math.prod(rest))
    flat = pad(flat, (0, 0, size // 2, (size - 1) // 2))
    mean = avg_pool("local_response_norm", 2, flat, (size, 1), (1, 1), 0, False, True, None)
    return x / (mean.reshape(x.shape) * alpha + k) ** beta


def _lp_pool(name: str, axes: int, input: Any, norm_type: float, kernel_size: Any, stride: Any,
             ceil_mode: bool) -> Tensor:  # fmt: skip
    x = as_tensor(input)
    taps = each(name, "kernel_size", kernel_size, axes)
    stride = taps if stride is None else stride
    mean = avg_pool(name, axes, x**norm_type, taps, stride, 0, ceil_mode, True, None)
    return (mean * float(math.prod(taps))) ** (1.0 / norm_type)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None,
              ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """The p-norms of windows of (N, C, L) or (C, L)."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None,
              ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """The p-norms of windows of (N, C, H, W) or (C, H, W)."""
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Any, stride: Any = None,
              ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """The p-norms of windows of (N, C, D, H, W) or (C, D, H, W)."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def pdist(input: Any, p: float = 2.0) -> Tensor:
    """Distances of all pairs of rows, (i, j) with i < j, as one vector."""
    x = as_tensor(input)
    if x.ndim != 2:
        raise RuntimeError(f"F.pdist: input must have 2 axes, got shape {x.shape}")
    first, second = np.triu_indices(x.shape[0], 1)
    return (x[first] - x[second]).norm(p, 1)


complete(globals())
