"""Pooling of one to three axes: the largest or the mean value of windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import is_cupy
from ...ops import pool as ops
from .._documents import complete
from .._elementwise import widened
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor
from ._convolution import each


def _planes(x: Any, axes: int) -> Any:
    """An array as (planes, a, b, c), with missing spatial axes of size 1 in front."""
    lead = x.ndim - axes
    return x.reshape(math.prod(x.shape[:lead]), *(1,) * (3 - axes), *x.shape[lead:])


def _back(y: Any, like: Any, axes: int) -> Any:
    """Planes in the shape that they came from, but for the spatial axes."""
    return y.reshape(*like.shape[: like.ndim - axes], *y.shape[4 - axes :])


# --- largest values -------------------------------------------------------------------------------


def _scatter_forward(x: Any, indices: Any, size: tuple[int, ...]) -> Any:
    axes = len(size)
    whole = (*(1,) * (3 - axes), *size)
    return _back(ops.scatter(_planes(x, axes), _planes(indices, axes), *whole), x, axes)


def _gather_forward(x: Any, indices: Any, size: tuple[int, ...]) -> Any:
    axes = len(size)
    return _back(ops.gather(_planes(x, axes), _planes(indices, axes)), x, axes)


def _scatter_back(g: Any, saved: tuple, node: Node) -> Any:
    return _scatter(g, **{k: node.options[k] for k in ("indices", "size")})


_scatter: Rule = Rule(
    "max_unpool", _scatter_forward, lambda g, saved, node: _gather(g, **node.options)
)
_gather: Rule = Rule("gather", _gather_forward, _scatter_back)
_largest: Rule = Rule("max_pool", lambda x, y, indices, size: y, _scatter_back)


def _maximum(name: str, axes: int, input: Any, windows: Any) -> tuple[Tensor, Tensor]:
    x = as_tensor(input)
    _check_axes(name, x, axes)
    table = windows(x.shape[x.ndim - axes :])
    planes = _planes(x.data if is_cupy(x.data) else widened(x.data), axes)
    y, indices = ops.maximum(planes, table.begin, table.end, table.step, *table.out)
    y, indices = _back(y, x.data, axes), _back(indices, x.data, axes)
    return _largest(x, y=y, indices=indices, size=x.shape[x.ndim - axes :]), Tensor(indices)


def _check_axes(name: str, x: Tensor, axes: int) -> None:
    if x.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"F.{name}: input must have {axes + 1} or {axes + 2} axes, got shape {x.shape}"
        )


def _whole(values: tuple[int, ...], fill: int) -> tuple[int, ...]:
    """Numbers of three axes."""
    return (*(fill,) * (3 - len(values)), *values)


def max_pool(
    name: str, axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(values, indices) of the largest elements of windows."""
    kernel = each(name, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else each(name, "stride", stride, axes)
    around = each(name, "padding", padding, axes)
    apart = each(name, "dilation", dilation, axes)

    def windows(size: tuple[int, ...]) -> Any:
        return ops.windows(_whole(size, 1), _whole(kernel, 1), _whole(steps, 1), _whole(around, 0),
                           _whole(apart, 1), ceil_mode)  # fmt: skip

    return _maximum(name, axes, input, windows)


def adaptive_size(size: tuple[int, ...], wanted: Any, name: str) -> tuple[int, ...]:
    """Sizes of the output, None where they stay."""
    axes = len(size)
    given = (wanted,) * axes if wanted is None or hasattr(wanted, "__index__") else tuple(wanted)
    if len(given) != axes:
        raise RuntimeError(f"F.{name}: output_size must be one number or {axes}, got {wanted!r}")
    return tuple(n if m is None else int(m) for n, m in zip(size, given, strict=True))


def adaptive_max(name: str, axes: int, input: Any, output_size: Any) -> tuple[Tensor, Tensor]:
    """(values, indices) of the largest elements of a given number of windows."""

    def windows(size: tuple[int, ...]) -> Any:
        out = adaptive_size(size, output_size, name)
        return ops.adaptive_windows(_whole(size, 1), _whole(out, 1))

    return _maximum(name, axes, input, windows)


def unpool(
    name: str, axes: int, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any,
    output_size: Any,
) -> Tensor:  # fmt: skip
    """Values at their places among zeros."""
    x = as_tensor(input)
    _check_axes(name, x, axes)
    places = as_tensor(indices).data
    if places.shape != x.shape:
        raise ValueError(
            f"F.{name}: indices must have the input's shape {x.shape}, got {places.shape}"
        )
    kernel = each(name, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else each(name, "stride", stride, axes)
    around = each(name, "padding", padding, axes)
    size = tuple(
        (n - 1) * s - 2 * p + k
        for n, s, p, k in zip(x.shape[x.ndim - axes :], steps, around, kernel, strict=True)
    )
    if output_size is not None:
        size = tuple(int(n) for n in output_size)[-axes:]
    return _scatter(x, indices=places.astype(np.int64, copy=False), size=size)


# --- means ----------------------------------------------------------------------------------------


def _average_forward(x: Any, table: Any, divisor: float, size: tuple[int, ...]) -> Any:
    axes = len(size)
    y = ops.average(_planes(x, axes), table.begin, table.end, table.counts, divisor, *table.out)
    return _back(y, x, axes)


def _spread_forward(g: Any, table: Any, divisor: float, size: tuple[int, ...]) -> Any:
    axes = len(size)
    dx = ops.average_gradient(
        _planes(g, axes), table.begin, table.end, table.counts, divisor, *_whole(size, 1)
    )
    return _back(dx, g, axes)


_average: Rule = Rule(
    "avg_pool", _average_forward, lambda g, saved, node: _spread(g, **node.options)
)
_spread: Rule = Rule(
    "avg_pool's gradient", _spread_forward, lambda g, saved, node: _average(g, **node.options)
)


def avg_pool(
    name: str, axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any,
    ceil_mode: bool, count_include_pad: bool, divisor_override: float | None,
) -> Tensor:  # fmt: skip
    """Means of windows."""
    x = as_tensor(input)
    _check_axes(name, x, axes)
    kernel = each(name, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else each(name, "stride", stride, axes)
    around = each(name, "padding", padding, axes)
    size = x.shape[x.ndim - axes :]
    table = ops.windows(_whole(size, 1), _whole(kernel, 1), _whole(steps, 1), _whole(around, 0),
                        ceil_mode=ceil_mode, count_include_pad=count_include_pad)  # fmt: skip
    divisor = 1.0
    if divisor_override is not None:
        if not divisor_override:
            raise RuntimeError(f"F.{name}: divisor_override must not be 0")
        table = table._replace(counts=np.ones_like(table.counts))
        divisor = float(divisor_override)
    return _average(x, table=table, divisor=divisor, size=size)


def adaptive_avg(name: str, axes: int, input: Any, output_size: Any) -> Tensor:
    """Means of a given number of windows."""
    x = as_tensor(input)
    _check_axes(name, x, axes)
    size = x.shape[x.ndim - axes :]
    out = adaptive_size(size, output_size, name)
    table = ops.adaptive_windows(_whole(size, 1), _whole(out, 1))
    return _average(x, table=table, divisor=1.0, size=size)


# --- the functions of each number of axes ---------------------------------------------------------

_WINDOWS = """kernel_size : int or tuple of int
    Extent of the windows.
stride : int or tuple of int, optional
    Distance of the windows; the kernel size by default.
padding : int or tuple of int, default=0
    Places around the input that {padded}; at most half a window.
"""
_CEIL = """ceil_mode : bool, default=False
    Whether a last window may reach beyond the input.
"""
_DOCUMENTS = {
    "max_pool": (
        "Largest elements of windows",
        _WINDOWS.format(padded="are never the largest")
        + """dilation : int or tuple of int, default=1
    Distance of the elements of a window.
"""
        + _CEIL
        + """return_indices : bool, default=False
    Return where they were as well.
""",
        "2",
    ),
    "avg_pool": (
        "Means of windows",
        _WINDOWS.format(padded="are 0")
        + _CEIL
        + """count_include_pad : bool, default=True
    Whether the padding counts in the divisor.
divisor_override : float, optional
    Divide by this instead.
""",
        "2",
    ),
    "adaptive_max_pool": (
        "Largest elements of a given number of windows that cover the input",
        """output_size : int or tuple of int or None
    Number of windows; None keeps a size.
return_indices : bool, default=False
    Return where they were as well.
""",
        "3",
    ),
    "adaptive_avg_pool": (
        "Means of a given number of windows that cover the input",
        """output_size : int or tuple of int or None
    Number of windows; None keeps a size.
""",
        "3",
    ),
    "max_unpool": (
        "Values put at the places that :func:`max_pool{axes}d` found, among zeros",
        """indices : Tensor, integers
    Places in the plane, as ``return_indices`` gives them.
kernel_size : int or tuple of int
    Extent of the windows.
stride : int or tuple of int, optional
    Distance of the windows; the kernel size by default.
padding : int or tuple of int, default=0
    As in the pooling.
output_size : tuple of int, optional
    Sizes of the result, where the pooling left them open.
""",
        "",
    ),
}


def _document(kind: str, axes: int) -> str:
    about, parameters, argument = _DOCUMENTS[kind]
    sizes = "L" if axes == 1 else ", ".join("DHW"[3 - axes :])
    shape = ", ".join("6" * axes)
    name = f"{kind}{axes}d"
    call = f"nn.functional.{name}(nn.ones(1, 2, {shape}), {argument})"
    result = 3
    if kind == "max_unpool":
        call = (
            f"nn.functional.{name}(*nn.functional.max_pool{axes}d(nn.ones(1, 2, {shape}), 2, "
            "return_indices=True), 2)"
        )
        result = 6
    returned = "Tensor"
    if "max_pool" in kind:
        returned = "Tensor, or tuple of Tensor with ``return_indices``"
    return f"""{about.format(axes=axes)}.

Parameters
----------
input : Tensor of shape (N, C, {sizes}) or (C, {sizes})
    Samples, or one of them.
{parameters}
Returns
-------
output : {returned}
    In the dtype of the input.

Raises
------
RuntimeError or ValueError
    If shapes or sizes do not fit.

Examples
--------
>>> from kernelmill import nn
>>> {call}.shape
(1, 2, {", ".join([str(result)] * axes)})
"""


def _make(axes: int) -> dict[str, Any]:
    def max_pool_(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        found = max_pool(f"max_pool{axes}d", axes, input, kernel_size, stride, padding, dilation,
                         ceil_mode)  # fmt: skip
        return found if return_indices else found[0]

    def avg_pool_(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: float | None = None,
    ) -> Tensor:  # fmt: skip
        return avg_pool(f"avg_pool{axes}d", axes, input, kernel_size, stride, padding, ceil_mode,
                        count_include_pad, divisor_override)  # fmt: skip

    def adaptive_max_pool_(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        found = adaptive_max(f"adaptive_max_pool{axes}d", axes, input, output_size)
        return found if return_indices else found[0]

    def adaptive_avg_pool_(input: Any, output_size: Any) -> Tensor:
        return adaptive_avg(f"adaptive_avg_pool{axes}d", axes, input, output_size)

    def max_unpool_(
        input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
        output_size: Any = None,
    ) -> Tensor:  # fmt: skip
        return unpool(f"max_unpool{axes}d", axes, input, indices, kernel_size, stride, padding,
                      output_size)  # fmt: skip

    made = {}
    for function in (max_pool_, avg_pool_, adaptive_max_pool_, adaptive_avg_pool_, max_unpool_):
        kind = function.__name__.rstrip("_")
        name = f"{kind}{axes}d"
        function.__name__ = function.__qualname__ = name
        function.__doc__ = _document(kind, axes)
        made[name] = function
    return made


FUNCTIONS = {**_make(1), **_make(2), **_make(3)}
globals().update(FUNCTIONS)


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """Samples of another size: repeated, or weighted means of neighbours.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...)
        With one to three spatial axes.
    size : int or tuple of int, optional
        Sizes of the result.
    scale_factor : float or tuple of float, optional
        Factors of the sizes; either this or ``size``.
    mode : {"nearest", "nearest-exact", "area", "linear", "bilinear", "trilinear", "bicubic"}
        The linear ones are one, named by the number of axes; ``"bicubic"`` is for two of them,
        ``"area"`` the means of :func:`adaptive_avg_pool2d`, and ``"nearest-exact"`` the sample
        next to the middle of the new one.
    align_corners : bool, optional
        Whether the corners of input and output coincide, for the linear and cubic modes.
    recompute_scale_factor : bool, optional
        Take the factors from the rounded sizes.
    antialias : bool, default=False
        Must be False: a smaller picture is not blurred first.

    Returns
    -------
    output : Tensor
        In the dtype of the input.

    Raises
    ------
    ValueError
        If sizes or the mode do not fit.

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.Tensor([[[1.0, 2.0]]])
    >>> nn.functional.interpolate(x, scale_factor=2).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """
    x: Any = as_tensor(input)
    axes = x.ndim - 2
    smooth = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}.get(axes, ())
    known = ("nearest", "nearest-exact", "area", *smooth)
    if not smooth or mode not in known:
        raise ValueError(
            f"F.interpolate: mode must be one of {', '.join(known)} for input of shape {x.shape}, "
            f"got {mode!r}"
        )
    if antialias:
        raise NotImplementedError(
            "F.interpolate: antialias must be False, got True (blur the input first)"
        )
    if align_corners is not None and mode not in smooth:
        raise ValueError(
            f"F.interpolate: align_corners must be None for mode {mode!r}, got {align_corners}"
        )
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "F.interpolate: either size or scale_factor must be given, got both or none"
        )
    if size is not None:
        out = each("interpolate", "size", size, axes)
        factors = [m / n for m, n in zip(out, x.shape[2:], strict=True)]
    else:
        given = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * axes
        factors = [float(f) for f in given]
        out = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True))
        if recompute_scale_factor:
            factors = [m / n for m, n in zip(out, x.shape[2:], strict=True)]
    if min(out, default=1) < 1 or min(x.shape[2:], default=1) < 1:
        raise ValueError(
            f"F.interpolate: sizes must be at least 1, got {out} for an input of {x.shape[2:]}"
        )
    if mode == "area":
        return adaptive_avg("interpolate", axes, x, out)
    for a, (m, f) in enumerate(zip(out, factors, strict=True)):
        x = _resampled(x, 2 + a, m, f, mode, bool(align_corners))
    return x


def _resampled(x: Any, axis: int, m: int, factor: float, mode: str, corners: bool) -> Any:
    n = x.shape[axis]
    if m == n and factor == 1:
        return x
    place = np.arange(m)
    if mode.startswith("nearest"):
        at = (place + 0.5 * (mode != "nearest")) / factor
        return x.index_select(axis, np.minimum(at.astype(np.int64), n - 1))
    inner = (n - 1) / (m - 1) if m > 1 else 0.0
    at = place * inner if corners else (place + 0.5) / factor - 0.5
    shape = (-1, *(1,) * (x.ndim - axis - 1))
    if mode == "bicubic":
        low = np.floor(at).astype(np.int64)
        shares = [s.astype(x.dtype) for s in cubic_shares(at - low)]
        parts = [
            x.index_select(axis, np.clip(low + k - 1, 0, n - 1)) * shares[k].reshape(shape)
            for k in range(4)
        ]
        return parts[0] + parts[1] + parts[2] + parts[3]
    at = np.maximum(at, 0.0)
    low = np.minimum(at.astype(np.int64), n - 1)
    high = np.minimum(low + 1, n - 1)
    share = (at - low).astype(x.dtype).reshape(shape)
    below, above = x.index_select(axis, low), x.index_select(axis, high)
    return below + (above - below) * share


def cubic_shares(t: Any) -> tuple[Any, Any, Any, Any]:
    """Shares of the four samples around a place (Keys 1981), with torch's slope a = -3/4."""
    a = -0.75

    def near(d: Any) -> Any:  # a distance of at most 1
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:  # from 1 to 2
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def global_avg_pool(input: Any) -> Tensor:
    """The mean over all spatial axes, which stay with size 1.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...)
        Samples.

    Returns
    -------
    output : Tensor of shape (N, C, 1, ...)
        Means.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.global_avg_pool(nn.ones(2, 3, 4, 4)).shape
    (2, 3, 1, 1)
    """
    x = as_tensor(input)
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


complete(globals())
