"""Pooling: the largest or the mean value of windows of planes with one to three axes.

Images and channels are one axis of planes, and missing spatial axes have size 1 in front. A window
is a product of ranges: output i of an axis takes the elements ``begin[i], begin[i] + step, ...``
below ``end[i]``; the tables of the three axes stand one after the other. `windows` and
`adaptive_windows` make them, on the host for every device, so that one loop serves all pooling.
NaN gives NaN, except in planes it is not in. Empty input: no planes give none. Deterministic: a
plane is worked on by one thread, in order, so results have the same bits at any thread count. Cost:
one pass over windows. Shapes, dtypes and values that do not fit raise ValueError.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._op import op


class Windows(NamedTuple):
    """Windows of three axes.

    Attributes
    ----------
    out : tuple of int
        Number of windows on each axis.
    begin, end : ndarray of int64
        Range of each window, within the plane.
    step : ndarray of shape (3,), int64
        Distance of elements on each axis.
    counts : ndarray of float64
        What a window counts for on its axis in the divisor of a mean.
    """

    out: tuple[int, int, int]
    begin: np.ndarray
    end: np.ndarray
    step: np.ndarray
    counts: np.ndarray


def _joined(out: list[int], parts: list[Any], step: Sequence[int]) -> Windows:
    begin, end, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    steps = np.array(step, np.int64)
    shape = (out[0], out[1], out[2])
    return Windows(
        shape, begin.astype(np.int64), end.astype(np.int64), steps, count.astype(np.float64)
    )


def windows(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int] = (1, 1, 1),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Windows:
    """Windows of one size at equal distances, as torch places them.

    Parameters
    ----------
    size, kernel, stride, padding, dilation : sequence of 3 int
        Extents of the plane and of the windows, and how these are placed.
    ceil_mode : bool, default=False
        Whether a last window may reach beyond the padding; one that would begin beyond the plane
        and its left padding is dropped.
    count_include_pad : bool, default=True
        Whether elements of the padding count in the divisor of a mean; what `ceil_mode` adds
        never does.

    Returns
    -------
    windows : Windows

    Raises
    ------
    ValueError
        If a window does not fit, or padding is more than half of one.
    """
    out, parts = [], []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        if min(k, s, d) < 1 or not 0 <= 2 * p <= d * (k - 1) + 1:
            raise ValueError(
                "pool.windows: kernel, stride and dilation must be positive and padding at most "
                f"half a window, got {k}, {s}, {d} and {p}"
            )
        room = n + 2 * p - d * (k - 1) - 1
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        if count < 1:
            raise ValueError(
                f"pool.windows: kernels must fit the padded input, got {k} with dilation {d} for "
                f"an axis of {n} with padding {p}"
            )
        start = np.arange(count) * s - p
        begin = start + -(np.minimum(start, 0) // d) * d
        end = np.minimum(start + (k - 1) * d + 1, n)
        whole = np.minimum(start + k, n + p) - start
        out.append(count)
        parts.append((begin, end, whole if count_include_pad else end - begin))
    return _joined(out, parts, dilation)


def adaptive_windows(size: Sequence[int], out: Sequence[int]) -> Windows:
    """A given number of windows that cover each axis as evenly as possible.

    Parameters
    ----------
    size, out : sequence of 3 int
        Extents of the plane, and numbers of windows.

    Returns
    -------
    windows : Windows
    """
    parts = []
    for n, m in zip(size, out, strict=True):
        i = np.arange(m)
        begin, end = i * n // max(m, 1), -(-(i + 1) * n // max(m, 1))
        parts.append((begin, end, end - begin))
    return _joined([*out], parts, (1, 1, 1))


def _each(
    shape: tuple[int, ...], begin: np.ndarray, end: np.ndarray, step: np.ndarray, out: tuple
) -> Iterator[tuple[Any, Any]]:
    """Every window: indices of its place in the outputs and of its elements in planes."""
    if len(begin) != sum(out) or len(end) != sum(out):
        raise ValueError(
            f"pool: begin and end must have {sum(out)} values, got {len(begin)} and {len(end)}"
        )
    first = (0, out[0], out[0] + out[1])
    for a in range(3):
        low, high = (t[first[a] : first[a] + out[a]] for t in (begin, end))
        if step[a] < 1 or (low < 0).any() or (high > shape[a + 1]).any():
            raise ValueError("pool: windows must lie within the planes, got one that does not")
    for place in itertools.product(*(range(m) for m in out)):
        at = [f + i for f, i in zip(first, place, strict=True)]
        ranges = [
            slice(begin[t], max(end[t], begin[t]), s) for t, s in zip(at, step, strict=True)
        ]
        yield (slice(None), *place), (slice(None), *ranges)


@op(
    "x: T[n,a,b,c], begin: host i64[r], end: host i64[r], step: host i64[3], oa: int[0,2**31),"
    " ob: int[0,2**31), oc: int[0,2**31) -> y: T[n,oa,ob,oc], indices: i64[n,oa,ob,oc]",
    half=True,
)
def maximum(
    x: np.ndarray, begin: np.ndarray, end: np.ndarray, step: np.ndarray, oa: int, ob: int, oc: int
) -> tuple[np.ndarray, np.ndarray]:
    """Largest value of each window and where it is.

    Parameters
    ----------
    x : ndarray of shape (n, a, b, c), float32 or float64
        Planes, any strides.
    begin, end : ndarray of shape (oa + ob + oc,), int64
        Ranges of the windows on the three axes.
    step : ndarray of shape (3,), int64
        Distance of elements on each axis.
    oa, ob, oc : int
        Number of windows on each axis.

    Returns
    -------
    y : ndarray of shape (n, oa, ob, oc), dtype of x
        Values; -inf for a window without elements.
    indices : ndarray of shape (n, oa, ob, oc), int64
        Places in the plane, counted in C order: the first of equals, or of NaN; 0 for a window
        without elements.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a window leaves the planes.

    Notes
    -----
    Values are taken as they are, so nothing is rounded.
    """
    n, a, b, c = x.shape
    y = np.full((n, oa, ob, oc), -np.inf, x.dtype)
    indices = np.zeros((n, oa, ob, oc), np.int64)
    places = np.arange(a * b * c).reshape(a, b, c)
    for place, window in _each(x.shape, begin, end, step, (oa, ob, oc)):
        inside = x[window]
        if inside[:1].size:
            inside = inside.reshape(n, -1)
            best = inside.argmax(1)
            y[place] = inside[np.arange(n), best]
            indices[place] = places[window[1:]].ravel()[best]
    return y, indices


def _checked(indices: np.ndarray, size: int, op: str) -> None:
    for index in indices.ravel():
        if not 0 <= index < size:
            raise IndexError(f"{op}: indices must lie in [0, {size}), got {index}")


@op(
    "x: T[n,oa,ob,oc], indices: i64[n,oa,ob,oc], a: int[0,2**31), b: int[0,2**31),"
    " c: int[0,2**31) -> y: T[n,a,b,c]",
    half=True,
)
def scatter(x: np.ndarray, indices: np.ndarray, a: int, b: int, c: int) -> np.ndarray:
    """Values put at places of planes of zeros: unpooling, and the gradient of `maximum`.

    Parameters
    ----------
    x : ndarray of shape (n, oa, ob, oc), float32 or float64
        Values, any strides.
    indices : ndarray of shape (n, oa, ob, oc), int64
        Places in the plane, counted in C order.
    a, b, c : int
        Extents of the planes.

    Returns
    -------
    y : ndarray of shape (n, a, b, c), dtype of x
        Values of one place are added, in order.

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.
    IndexError
        If an index is not of the plane.
    """
    _checked(indices, a * b * c, "pool.scatter")
    y = np.zeros((len(x), a * b * c))
    for plane, values, places in zip(y, x, indices, strict=True):
        np.add.at(plane, places.ravel(), values.ravel().astype(np.float64))
    return y.reshape(len(x), a, b, c).astype(x.dtype)


@op("x: T[n,a,b,c], indices: i64[n,oa,ob,oc] -> y: T[n,oa,ob,oc]", half=True)
def gather(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Values at places of planes: the gradient of `scatter`.

    Parameters
    ----------
    x : ndarray of shape (n, a, b, c), float32 or float64
        Planes, any strides.
    indices : ndarray of shape (n, oa, ob, oc), int64
        Places in the plane, counted in C order.

    Returns
    -------
    y : ndarray of shape (n, oa, ob, oc), dtype of x

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit.
    IndexError
        If an index is not of the plane.
    """
    size = x.shape[1] * x.shape[2] * x.shape[3]
    _checked(indices, size, "pool.gather")
    flat, places = x.reshape(len(x), size), indices.reshape(len(x), math.prod(indices.shape[1:]))
    return np.take_along_axis(flat, places, 1).reshape(indices.shape)


def _divisors(count: np.ndarray, divisor: float, out: tuple[int, int, int]) -> np.ndarray:
    a, b, c = np.split(count, np.cumsum(out)[:2])
    return a[:, None, None] * b[:, None] * c * divisor


@op(
    "x: T[n,a,b,c], begin: host i64[r], end: host i64[r], count: host f64[r], divisor: float,"
    " oa: int[0,2**31), ob: int[0,2**31), oc: int[0,2**31) -> y: T[n,oa,ob,oc]",
    half=True,
)
def average(
    x: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    count: np.ndarray,
    divisor: float,
    oa: int,
    ob: int,
    oc: int,
) -> np.ndarray:
    """Sum of each window, divided.

    Parameters
    ----------
    x : ndarray of shape (n, a, b, c), float32 or float64
        Planes, any strides.
    begin, end : ndarray of shape (oa + ob + oc,), int64
        Ranges of the windows on the three axes, of adjacent elements.
    count : ndarray of shape (oa + ob + oc,), float64
        A window is divided by the product of its three counts,
    divisor : float
        and by this.
    oa, ob, oc : int
        Number of windows on each axis.

    Returns
    -------
    y : ndarray of shape (n, oa, ob, oc), dtype of x

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a window leaves the planes.

    Notes
    -----
    Implementations add in float64.
    """
    y = np.zeros((len(x), oa, ob, oc))
    for place, window in _each(x.shape, begin, end, np.ones(3, np.int64), (oa, ob, oc)):
        y[place] = x[window].astype(np.float64).sum((1, 2, 3))
    with np.errstate(all="ignore"):
        return (y / _divisors(count, divisor, (oa, ob, oc))).astype(x.dtype)


@op(
    "dout: T[n,oa,ob,oc], begin: host i64[r], end: host i64[r], count: host f64[r], divisor: float,"
    " a: int[0,2**31), b: int[0,2**31), c: int[0,2**31) -> dx: T[n,a,b,c]",
    half=True,
)
def average_gradient(
    dout: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    count: np.ndarray,
    divisor: float,
    a: int,
    b: int,
    c: int,
) -> np.ndarray:
    """Gradient of `average`: each value, divided, added to all elements of its window.

    Parameters
    ----------
    dout : ndarray of shape (n, oa, ob, oc), float32 or float64
        Gradient of y, any strides.
    begin, end : ndarray of shape (oa + ob + oc,), int64
        Ranges of the windows on the three axes.
    count : ndarray of shape (oa + ob + oc,), float64
        As for `average`.
    divisor : float
        As for `average`.
    a, b, c : int
        Extents of the planes.

    Returns
    -------
    dx : ndarray of shape (n, a, b, c), dtype of dout

    Raises
    ------
    ValueError
        If shapes or dtypes do not fit, or a window leaves the planes.

    Notes
    -----
    Implementations add in float64.
    """
    dx = np.zeros((len(dout), a, b, c))
    out = dout.shape[1:]
    with np.errstate(all="ignore"):
        shares = dout.astype(np.float64) / _divisors(count, divisor, (out[0], out[1], out[2]))
    for place, window in _each(dx.shape, begin, end, np.ones(3, np.int64), out):
        dx[window] += shares[place][:, None, None, None]
    return dx.astype(dout.dtype)
