"""Reductions over any axes: the rows of one table, one op each.

A row says what its result is, from which sums it is made, and how a gradient flows back; the C++
and CUDA loops are written in the same three steps (``cpp/ops/reduction_rules.hpp``).
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._op import Op, registry


@dataclass(frozen=True)
class Row:
    """One reduction.

    Attributes
    ----------
    name, about : str
        Name of the op, and its summary.
    truth : callable
        ``truth(x, axis, ddof)`` over one axis in float64.
    steps : str
        Start, combination and finish.
    derivative : str
        What flows back to x, as an expression of :mod:`kernelmill.ops.elementwise_table` in
        ``dout``, ``x`` and ``result`` (all broadcast to x), the number ``n`` of elements reduced,
        and what ``steps`` names; empty where the result is an index.
    notes : str
        Special values.
    example : str
        The printed result for ``[[1, 2], [3, 4]]`` along axis 0.
    """

    name: str
    about: str
    truth: Callable[[np.ndarray, int, float], Any]
    steps: str
    derivative: str
    notes: str
    example: str

    @property
    def index(self) -> bool:
        """Whether the result is an index."""
        return self.name.startswith("arg")

    @property
    def needs_elements(self) -> bool:
        """Whether there is no result without elements."""
        return self.index or self.name in ("max", "min")


def _log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    m = x.max(axis, initial=-np.inf, keepdims=True)
    shift = np.where(np.isfinite(m), m, 0.0)
    return np.log(np.exp(x - shift).sum(axis)) + shift.squeeze(axis)


def _variance(x: np.ndarray, axis: int, ddof: float) -> np.ndarray:
    n = x.shape[axis]
    d = x - x.take([0], axis) if n else x
    s = ((d - d.mean(axis, keepdims=True)) ** 2).sum(axis)
    return s / np.maximum(n - ddof, 0.0)  # `max` is an op here


def _norm(x: np.ndarray, axis: int) -> np.ndarray:
    m = np.abs(x).max(axis, initial=0.0, keepdims=True)
    scale = np.where((m > 0) & (m < np.inf), m, 1.0)
    return np.sqrt(((x / scale) ** 2).sum(axis)) * scale.squeeze(axis)


_ORDER = "NaN is beyond all other values, as for NumPy; there is no result without elements."
TABLE = (
    Row("sum", "Sum", lambda x, axis, ddof: x.sum(axis),
        "start 0; combine s + x", "dout", "No elements give 0.", "[4., 6.]"),
    Row("mean", "Arithmetic mean", lambda x, axis, ddof: x.mean(axis),
        "start 0; combine s + x; finish s / n", "dout / n", "No elements give NaN.", "[2., 3.]"),
    Row("max", "Largest value", lambda x, axis, ddof: x.max(axis),
        "start with the first; combine maximum(s, x)", "where(x == result, dout / ties, 0)",
        f"{_ORDER} ``ties`` elements that equal the result share the gradient.", "[3., 4.]"),
    Row("min", "Smallest value", lambda x, axis, ddof: x.min(axis),
        "start with the first; combine minimum(s, x)", "where(x == result, dout / ties, 0)",
        f"{_ORDER} ``ties`` elements that equal the result share the gradient.", "[1., 2.]"),
    Row("argmax", "Index of the largest value", lambda x, axis, ddof: x.argmax(axis),
        "start with the first; combine to the larger, of equals to the first", "",
        f"{_ORDER} Several axes are counted as one, in C order.", "[1, 1]"),
    Row("argmin", "Index of the smallest value", lambda x, axis, ddof: x.argmin(axis),
        "start with the first; combine to the smaller, of equals to the first", "",
        f"{_ORDER} Several axes are counted as one, in C order.", "[0, 0]"),
    Row("variance", "Variance about the mean", lambda x, axis, ddof: _variance(x, axis, ddof),
        "start mean 0, s 0; combine s + (x - mean)^2 about the mean of each part, parts by Chan's "
        "formula; finish s / (n - ddof)", "dout * 2 * (x - mean) / (n - ddof)",
        "Accurate far from the origin. n <= ddof gives NaN, or inf where s > 0.", "[1., 1.]"),
    Row("logsumexp", "Logarithm of the sum of exponentials",
        lambda x, axis, ddof: _log_sum_exp(x, axis),
        "start m = -inf, s 0; combine s + e^(x - m) about the largest value m; finish m + log(s)",
        "dout * exp(x - result)", "Never overflows. -inf everywhere, or no elements, give -inf.",
        "[3.12692801, 4.12692801]"),
    Row("norm", "Euclidean norm",
        lambda x, axis, ddof: _norm(x, axis),
        "start 0; combine s + x^2, scaled where squares leave the range of float64; finish sqrt(s)",
        "dout * x / result", "No elements give 0; never overflows unless the result does.",
        "[3.16227766, 4.47213595]"),
)  # fmt: skip
ROWS = {row.name: row for row in TABLE}

_DOCUMENT = """{about} over some or all axes.

Parameters
----------
x : ndarray of any shape and strides, float32 or float64
    Values.
axis : int or tuple of int, optional
    Axes to reduce, negative ones counted from the last; all of them by default.
{ddof}keepdims : bool, default=False
    Keep the reduced axes with size 1, so that the result broadcasts against x.
out : ndarray, optional
    Where the result is written: of its shape and dtype, any strides.

Returns
-------
result : ndarray, {dtype}
    New and C-contiguous, or ``out``; without axes where all are reduced.

Raises
------
ValueError
    If x has another dtype, an axis does not exist or comes twice, out does not fit{empty}.
TypeError
    If axis is neither None, an integer nor a tuple of integers.

Notes
-----
{steps}. float32 is accumulated in float64. NaN gives NaN{nan}. Empty input: {notes}
{derivative}Deterministic: parts depend on shape and strides alone and are combined in order, so
the bits are the same at any thread count. Cost: one pass over memory.

Examples
--------
>>> import numpy as np
>>> from kernelmill.ops import reduction
>>> reduction.{name}(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
array({example})
"""
_DDOF = """ddof : float, default=0
    Subtracted from the number of elements in the divisor.
"""


def _document(row: Row) -> str:
    back = f"The gradient is ``{row.derivative}``. " if row.derivative else ""
    return _DOCUMENT.format(
        about=row.about,
        ddof=_DDOF if row.name == "variance" else "",
        dtype="int64" if row.index else "the dtype of x",
        empty=", or nothing is left to choose from" if row.needs_elements else "",
        steps=row.steps[0].upper() + row.steps[1:],
        nan="" if not row.index else "'s index",
        notes=row.notes,
        derivative=back,
        name=row.name,
        example=row.example,
    )


def _chosen_axes(op: str, axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, tuple) else (axis,)
    if not all(hasattr(a, "__index__") for a in given):
        raise TypeError(f"{op}: axis must be None, an integer or a tuple of integers, got {axis!r}")
    chosen = [a + rank if a < 0 else a for a in given]
    if len({a for a in chosen if 0 <= a < rank}) < len(chosen):
        raise ValueError(
            f"{op}: axis must name different axes of an array with {rank}, got {axis!r}"
        )
    return tuple(sorted(chosen))


def _reduce(row: Row, x: Any, axis: Any, ddof: float, keepdims: bool, out: Any) -> Any:
    op = f"reduction.{row.name}"
    if x.dtype.name not in ("float32", "float64"):
        raise ValueError(
            f"{op}: x must be float32 or float64, got {x.dtype} (convert it with astype)"
        )
    axes = _chosen_axes(op, axis, x.ndim)
    kept = [a for a in range(x.ndim) if a not in axes]
    shape = tuple(x.shape[a] for a in kept)
    count = math.prod(x.shape[a] for a in axes)
    rows = x.astype(np.float64).transpose(*kept, *axes).reshape(*shape, count)
    if row.needs_elements and count == 0 and 0 not in shape:
        raise ValueError(f"{op}: x must have elements along the reduced axes, got shape {x.shape}")
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        result = np.zeros(shape) if 0 in shape else row.truth(rows, -1, ddof)
    with np.errstate(over="ignore"):
        result = np.asarray(result).astype(np.int64 if row.index else x.dtype.newbyteorder("="))
    if keepdims:
        result = result.reshape([1 if a in axes else size for a, size in enumerate(x.shape)])
    if out is None:
        return result
    fits = isinstance(out, np.ndarray) and (out.shape, out.dtype) == (result.shape, result.dtype)
    if not fits or not out.flags.writeable:
        got = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else repr(out)
        raise ValueError(
            f"{op}: out must be a writeable {result.dtype} array of shape {result.shape}, got {got}"
        )
    out[...] = result
    return out


def _specification(row: Row) -> Callable[..., Any]:
    if row.name == "variance":

        def specification(x, axis=None, ddof=0.0, keepdims=False, out=None):
            return _reduce(row, x, axis, ddof, keepdims, out)
    else:

        def specification(x, axis=None, keepdims=False, out=None):  # type: ignore[misc]
            return _reduce(row, x, axis, 0.0, keepdims, out)

    specification.__name__ = specification.__qualname__ = row.name
    specification.__doc__ = inspect.cleandoc(_document(row))
    return specification


for _row in TABLE:
    _op = Op(_specification(_row))
    globals()[_row.name] = registry[_op.name] = _op
__all__ = ["TABLE", *ROWS]


def __getattr__(name: str) -> Op:  # for type checkers: the ops are made above
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
