"""Samples of images at places that a grid names, as spatial transformers need them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..._arrays import namespace
from .._documents import complete
from .._elementwise import where
from .._shape import cat
from .._tensor import Tensor, as_tensor
from ._pool import cubic_shares

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Tensor:
    """Places of an affine map's output in its input, for :func:`grid_sample`.

    Parameters
    ----------
    theta : Tensor of shape (N, 2, 3) or (N, 3, 4)
        Matrices that map places of the output, with a 1 behind, to places of the input.
    size : tuple of int
        Shape of the output, (N, C, H, W) or (N, C, D, H, W).
    align_corners : bool, optional
        Whether -1 and 1 are the middles of the outermost pixels, not their outer edges (default).

    Returns
    -------
    grid : Tensor of shape (N, H, W, 2) or (N, D, H, W, 3)
        Places from -1 to 1; the last axis of the image comes first.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    References
    ----------
    Jaderberg et al. (2015), "Spatial transformer networks".

    Examples
    --------
    >>> from kernelmill import nn
    >>> same = nn.Tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> nn.functional.affine_grid(same, (1, 1, 1, 2))[0, 0].tolist()
    [[-0.5, 0.0], [0.5, 0.0]]
    """
    theta = as_tensor(theta)
    size = tuple(size)
    axes = len(size) - 2
    if axes not in (2, 3) or theta.shape != (size[0], axes, axes + 1) or min(size) < 1:
        raise ValueError(
            "F.affine_grid: theta must have shape (N, 2, 3) for a size (N, C, H, W) or (N, 3, 4) "
            f"for (N, C, D, H, W), all positive, got {theta.shape} and {size}"
        )
    xp = namespace(theta.data)
    lines = []
    for n in size[2:]:
        line = xp.linspace(-1, 1, n) if n > 1 else xp.zeros(1)
        lines.append(line if align_corners else line * ((n - 1) / n))
    places = [p.reshape(-1) for p in reversed(xp.meshgrid(*lines, indexing="ij"))]
    base = xp.stack([*places, xp.ones_like(places[0])]).astype(theta.dtype)
    return (theta @ base).transpose(1, 2).reshape(size[0], *size[2:], axes)


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """Values of images between their pixels, at the places of a grid.

    Parameters
    ----------
    input : Tensor of shape (N, C, H, W) or (N, C, D, H, W)
    grid : Tensor of shape (N, ..., 2) or (N, ..., 3)
        As many axes as the input has. A place is given by its x, y (and z), where x runs along the
        last axis of the image; -1 and 1 are its ends.
    mode : {"bilinear", "nearest", "bicubic"}
        Weighted means of the pixels around a place, the nearest pixel (gradients of the grid are
        0), or cubic interpolation (Keys 1981), for two axes.
    padding_mode : {"zeros", "border", "reflection"}
        What lies outside: zeros, the pixels of the border, or the image mirrored.
    align_corners : bool, optional
        Whether -1 and 1 are the middles of the outermost pixels, not their outer edges (default).

    Returns
    -------
    output : Tensor of shape (N, C, ...)
        The middle axes are those of the grid. A place of NaN has the value NaN.

    Raises
    ------
    ValueError
        If shapes or modes do not fit.

    See Also
    --------
    affine_grid : The grid of an affine map.

    Notes
    -----
    Time is of order ``C 2^axes`` a place (16 C for ``"bicubic"``).

    Examples
    --------
    >>> from kernelmill import nn
    >>> image = nn.Tensor([[[[0.0, 10.0]]]])
    >>> nn.functional.grid_sample(image, nn.Tensor([[[[0.0, 0.0], [-0.5, 0.0]]]])).tolist()
    [[[[5.0, 0.0]]]]
    """
    x, places = as_tensor(input), as_tensor(grid)
    axes = x.ndim - 2
    if axes not in (2, 3) or places.ndim != x.ndim or places.shape[0] != x.shape[0] or (
        places.shape[-1] != axes or min(x.shape[2:]) < 1
    ):  # fmt: skip
        raise ValueError(
            "F.grid_sample: input must be (N, C, H, W) or (N, C, D, H, W) with pixels, and grid "
            f"(N, ..., 2) or (N, ..., 3) with as many axes, got {x.shape} and {places.shape}"
        )
    for word, value, known in (
        ("mode", mode, _MODES if axes == 2 else _MODES[:2]),
        ("padding_mode", padding_mode, _PADDINGS),
    ):
        if value not in known:
            raise ValueError(
                f"F.grid_sample: {word} must be one of {', '.join(known)} for {axes} axes, got "
                f"{value!r}"
            )
    sizes = x.shape[2:]
    pixels = x.movedim(1, -1).reshape(x.shape[0] * math.prod(sizes), x.shape[1])
    table = cat(
        [pixels, namespace(x.data).zeros((1, x.shape[1]), x.dtype)]
    )  # the last lies outside
    flat = places.reshape(x.shape[0], math.prod(places.shape[1:-1]), axes)
    at = []
    for a, n in enumerate(sizes):
        g = flat[:, :, axes - 1 - a]
        at.append((g + 1) * ((n - 1) / 2) if align_corners else (g + 1) * (n / 2) - 0.5)
    if mode != "bicubic":
        at = [_inside(p, n, padding_mode, align_corners) for p, n in zip(at, sizes, strict=True)]
    total: Any = None
    for numbers, share in _taps(at, mode):
        if mode == "bicubic":
            numbers = [
                _inside(p, n, padding_mode, align_corners)
                for p, n in zip(numbers, sizes, strict=True)
            ]
        rows = table.index_select(0, _rows(numbers, sizes, len(pixels)))
        rows = rows if share is None else rows * share.reshape(-1, 1)
        total = rows if total is None else total + rows
    return total.reshape(x.shape[0], *places.shape[1:-1], x.shape[1]).movedim(-1, 1)


def _taps(at: list, mode: str) -> Any:
    """The pixels around each place, as numbers along the axes, and their shares."""
    arrays = [p.detach().data for p in at]
    xp = namespace(arrays[0])
    if mode == "nearest":
        # Nothing depends on where a place is, but for a NaN.
        yield [xp.rint(p) for p in arrays], sum(p * 0 for p in at) + 1
        return
    low = [xp.floor(p) for p in arrays]
    rest = [p - f for p, f in zip(at, low, strict=True)]
    shares: list[tuple[Any, ...]]
    if mode == "bilinear":
        shares, first = [(1 - t, t) for t in rest], 0
    else:
        shares, first = [cubic_shares(t) for t in rest], -1
    for corner in itertools.product(range(len(shares[0])), repeat=len(at)):
        share = shares[0][corner[0]]
        for one, k in zip(shares[1:], corner[1:], strict=True):
            share = share * one[k]
        yield [f + (k + first) for f, k in zip(low, corner, strict=True)], share


def _inside(place: Any, n: int, padding: str, corners: bool | None) -> Any:
    """Places brought into the image by the border or by mirrors; zeros leave them as they are."""
    if padding == "zeros":
        return place
    if padding == "border":
        return _clipped(place, n)
    low, span = (0.0, n - 1.0) if corners else (-0.5, float(n))
    if span == 0:
        return place * 0
    values = place.detach().data if isinstance(place, Tensor) else place
    xp = namespace(values)
    with np.errstate(invalid="ignore"):  # infinite places become NaN
        turns = xp.floor((values - low) / span)
        # Even stretches are the image itself, moved; odd ones are mirrored.
        even = turns % 2 == 0
        inner = (place - (low + turns * span)) * xp.where(even, 1, -1).astype(values.dtype)
        inner = inner + (low + xp.where(even, 0, span)).astype(values.dtype)
    return _clipped(inner, n)


def _clipped(place: Any, n: int) -> Any:
    """At the ends, as beyond them, the slope is 0: the pixel behind an end is not that of zeros."""
    clipped = place.clip(0, n - 1)
    if not isinstance(place, Tensor):
        return clipped
    values = place.detach().data
    return where((values > 0) & (values < n - 1), place, clipped.detach())


def _rows(numbers: list, sizes: tuple[int, ...], outside: int) -> Any:
    """Rows of the table of pixels for numbers of shape (N, places); the last row for none."""
    first = numbers[0].data if isinstance(numbers[0], Tensor) else numbers[0]
    xp = namespace(first)
    rows = xp.broadcast_to(xp.arange(len(first))[:, None], first.shape)
    known = xp.ones(first.shape, bool)
    for number, n in zip(numbers, sizes, strict=True):
        whole = number.data if isinstance(number, Tensor) else number
        known &= (whole >= 0) & (whole <= n - 1)  # false for NaN
        rows = rows * n + xp.clip(xp.nan_to_num(whole), 0, n - 1).astype(np.int64)
    return xp.where(known, rows, outside).reshape(-1)


complete(globals())
