"""More reductions under torch's names: quantiles, moments, differences, running extremes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._arrays import beside, namespace, to_host
from ._documents import complete
from ._dtypes import FLOATS
from ._elementwise import gate, raw, unified, where
from ._reductions import Extreme, cumsum
from ._shape import axis_of, cat, gather_along, getitem
from ._tape import RESULT, Node, Rule, array_of
from ._tensor import Tensor, as_tensor


class Range(NamedTuple):
    """The smallest and the largest element."""

    min: Any
    max: Any


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> Range:
    """The smallest and the largest elements."""
    x = as_tensor(input)
    return Range(x.amin(dim, keepdim), x.amax(dim, keepdim))


def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """How many elements are not 0."""
    return (as_tensor(input) != 0).sum(dim)


def std_mean(
    input: Any, dim: Any = None, *, correction: float = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean."""
    x = as_tensor(input)
    return x.std(dim, correction, keepdim), x.mean(dim, keepdim)


def var_mean(
    input: Any, dim: Any = None, *, correction: float = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    x = as_tensor(input)
    return x.var(dim, correction, keepdim), x.mean(dim, keepdim)


# --- orders ---------------------------------------------------------------------------------------


def _picked(x: Tensor, indices: Any, axis: int, keepdim: bool) -> Extreme:
    """Elements by an index along an axis of size 1, and the index."""
    values: Any = gather_along(x, indices, axis)
    made = Tensor(indices)
    if keepdim:
        return Extreme(values, made)
    return Extreme(values.squeeze(axis), made.squeeze(axis))


def _at(order: Any, axis: int, place: Any) -> Any:
    """One place of an order along an axis, that keeps the axis."""
    return np.take_along_axis(order, np.asarray(place), axis)


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Extreme:
    """The k-th smallest element along an axis, from 1 on, and where it is."""
    x = as_tensor(input)
    if x.ndim == 0:
        return Extreme(x, Tensor(np.int64(0)))
    axis = axis_of("kthvalue", dim, x.ndim)
    if not 1 <= k <= x.shape[axis]:
        raise RuntimeError(f"nn.kthvalue: k must be from 1 to {x.shape[axis]}, got {k}")
    order = x.argsort(axis).data
    return _picked(x, order[(*(slice(None),) * axis, slice(k - 1, k))], axis, keepdim)


def _median(name: str, input: Any, dim: int | None, keepdim: bool, skip: bool) -> Any:
    x = as_tensor(input)
    if dim is None:
        return _median(name, x.reshape(-1), 0, False, skip).values
    axis = axis_of(name, dim, x.ndim)
    if not x.shape[axis]:
        raise IndexError(f"nn.{name}: the axis must not be empty, got shape {x.shape}")
    data = to_host(x.data)
    order = to_host(x.argsort(axis).data)
    missing = np.isnan(data).sum(axis, keepdims=True) if x.dtype.kind in FLOATS else None
    n = x.shape[axis]
    if missing is None:
        place: Any = np.full([1 if i == axis else s for i, s in enumerate(x.shape)], (n - 1) // 2)
    elif skip:  # NaN are last
        place = np.maximum(n - missing - 1, 0) // 2
    else:
        place = np.where(missing > 0, n - missing, (n - 1) // 2)
    return _picked(x, beside(_at(order, axis, place), x.data), axis, keepdim)


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two; with ``dim``, along an axis and where it is.

    NaN is the median of what holds one.
    """
    return _median("median", input, dim, keepdim, False)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The :func:`median` of the elements that are no NaN."""
    return _median("nanmedian", input, dim, keepdim, True)


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Extreme:
    """The most frequent element along an axis, the smallest of several, and its last place."""
    x = as_tensor(input)
    if x.ndim == 0:
        return Extreme(x, Tensor(np.int64(0)))
    axis = axis_of("mode", dim, x.ndim)
    if not x.shape[axis]:
        raise IndexError(f"nn.mode: the axis must not be empty, got shape {x.shape}")
    rows = np.moveaxis(to_host(x.data), axis, -1)
    found = np.empty((*rows.shape[:-1], 1), np.int64)
    for place in np.ndindex(*rows.shape[:-1]):
        values, counts = np.unique(rows[place], return_counts=True)
        best = values[counts.argmax()]
        found[place] = np.flatnonzero(rows[place] == best)[-1]
    return _picked(x, beside(np.moveaxis(found, -1, axis), x.data), axis, keepdim)


def msort(input: Any) -> Tensor:
    """The elements sorted along the first axis."""
    return as_tensor(input).sort(0).values


_BETWEEN = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip: bool
) -> Tensor:
    x = as_tensor(input)._floating()
    share = np.asarray(to_host(array_of(q)), np.float64)
    if interpolation not in _BETWEEN:
        raise ValueError(
            f"nn.{name}: interpolation must be one of {', '.join(_BETWEEN)}, got {interpolation!r}"
        )
    if share.ndim > 1 or not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"nn.{name}: q must be numbers from 0 to 1, got {share}")
    axis = 0 if dim is None else axis_of(name, dim, x.ndim)
    rows: Any = x.reshape(-1) if dim is None else x.movedim(axis, -1)
    if not rows.shape[-1]:
        raise RuntimeError(f"nn.{name}: the axis must not be empty, got shape {x.shape}")
    data = to_host(rows.data)
    missing = np.isnan(data).sum(-1, keepdims=True)
    last = data.shape[-1] - 1 - (missing if skip else 0)
    place = np.maximum(last, 0) * share.reshape(-1)  # (..., q)
    place = np.broadcast_to(place, (*data.shape[:-1], share.size))
    if not skip:  # NaN are last, and give NaN
        place = np.where(missing > 0, data.shape[-1] - 1, place)
    low = np.floor(place) if interpolation != "nearest" else np.rint(place)
    if interpolation == "higher":
        low = np.ceil(place)
    part = {"linear": place - low, "midpoint": np.where(place > low, 0.5, 0.0)}.get(interpolation)
    order = to_host(rows.argsort(-1).data)
    below = np.take_along_axis(order, low.astype(np.int64), -1)
    made = gather_along(rows, beside(below, rows.data), rows.ndim - 1)
    if part is not None:
        above = np.take_along_axis(order, np.ceil(place).astype(np.int64), -1)
        high = gather_along(rows, beside(above, rows.data), rows.ndim - 1)
        made = made + (high - made) * beside(part.astype(x.dtype), x.data)
    made = made.movedim(-1, 0) if rows.ndim > 1 else made
    if share.ndim == 0:
        made = made.reshape(made.shape[1:])
    if keepdim:
        lead = made.shape[: share.ndim]
        kept = (1,) * x.ndim if dim is None else tuple(
            1 if i == axis else n for i, n in enumerate(x.shape)
        )  # fmt: skip
        made = made.reshape(*lead, *kept)
    return made


def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """Quantiles of all elements, or along an axis; a first axis is that of several q."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """The :func:`quantile` of the elements that are no NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# --- without NaN ----------------------------------------------------------------------------------


def nansum(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of the elements that are no NaN."""
    x = as_tensor(input)._floating()
    return where(np.isnan(x.data), 0.0, x).sum(dim, keepdim)


def nanmean(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean of the elements that are no NaN."""
    x = as_tensor(input)._floating()
    count = Tensor(~np.isnan(x.data)).sum(dim, keepdim)
    return nansum(x, dim, keepdim) / count


# --- along an axis --------------------------------------------------------------------------------


def _running(name: str, input: Any, dim: int) -> Extreme:
    x = as_tensor(input)
    if x.ndim == 0:
        return Extreme(x, Tensor(np.int64(0)))
    axis = axis_of(name, dim, x.ndim)
    data = np.moveaxis(to_host(x.data), axis, 0)
    best = (np.maximum if name == "cummax" else np.minimum).accumulate(data, 0)
    steps = np.arange(len(data)).reshape(-1, *(1,) * (data.ndim - 1))
    here = data == best  # the last place that has the extreme so far
    if data.dtype.kind in FLOATS:
        here |= np.isnan(data)
    indices = np.maximum.accumulate(np.where(here, steps, 0), 0)
    indices = beside(np.moveaxis(indices, 0, axis), x.data)
    return Extreme(gather_along(x, indices, axis), Tensor(indices))


def cummax(input: Any, dim: int) -> Extreme:
    """The largest elements so far along an axis, and their last places."""
    return _running("cummax", input, dim)


def cummin(input: Any, dim: int) -> Extreme:
    """The smallest elements so far along an axis, and their last places."""
    return _running("cummin", input, dim)


def _log_sums(x: Any, axis: int) -> Any:
    with np.errstate(invalid="ignore"):
        return namespace(x).asarray(np.logaddexp.accumulate(x, axis, dtype=x.dtype))


def _log_sums_backward(g: Any, saved: tuple, node: Node) -> Any:
    """Shares ``e^(x_k - y_i)`` of each sum i from k on."""
    x, y = saved
    axis = node.options["axis"]
    n = x.shape[axis]
    lead = (slice(None),) * axis
    total = None
    for i in range(n):  # one term at a time: no shift of all by one number can overflow
        top = getitem(y, index=(*lead, slice(i, i + 1)))
        safe = where(array_of(top) == -math.inf, 0.0, top) if isinstance(top, Tensor) else (
            np.where(top == -math.inf, 0, top).astype(top.dtype)
        )  # fmt: skip
        keep = np.arange(n).reshape(-1, *(1,) * (x.ndim - axis - 1)) <= i
        part = gate(getitem(g, index=(*lead, slice(i, i + 1))), raw("exp")(x - safe))
        part = part * keep.astype(x.dtype)
        total = part if total is None else total + part
    return g if total is None else total


_logcumsumexp: Rule = Rule("logcumsumexp", _log_sums, _log_sums_backward, {0: (), RESULT: ()})


def logcumsumexp(input: Any, dim: int) -> Tensor:
    """Logarithms of the running sums of exponentials along an axis."""
    x = as_tensor(input)._floating()
    return _logcumsumexp(x, axis=axis_of("logcumsumexp", dim, x.ndim)) if x.ndim else x


def diff(
    input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None
) -> Tensor:
    """Differences of neighbours along an axis, n times."""
    if n < 0:
        raise RuntimeError(f"nn.diff: n must be at least 0, got {n}")
    parts = [as_tensor(p) for p in (prepend, input, append) if p is not None]
    x = parts[0] if len(parts) == 1 else cat(parts, dim)
    axis = axis_of("diff", dim, x.ndim)
    for _ in range(n):
        size = x.shape[axis]
        if not size:
            break
        lead = (slice(None),) * axis
        right = getitem(x, index=(*lead, slice(1, None)))
        left = getitem(x, index=(*lead, slice(0, size - 1)))
        x = right ^ left if x.dtype.kind == "b" else right - left
    return x


def _panels(name: str, y: Any, x: Any, dx: float, dim: int) -> tuple[Tensor, int]:
    """Areas under each piece of a polygon, and their axis."""
    y = as_tensor(y)._floating()
    axis = axis_of(name, dim, y.ndim)
    lead = (slice(None),) * axis
    right = getitem(y, index=(*lead, slice(1, None)))
    left = getitem(y, index=(*lead, slice(0, max(y.shape[axis] - 1, 0))))
    width: Any = dx
    if x is not None:
        x = as_tensor(x)
        width = diff(x, dim=0 if x.ndim == 1 else axis)
        if x.ndim == 1:
            width = width.reshape(-1, *(1,) * (y.ndim - axis - 1))
    return (right + left) * 0.5 * width, axis


def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule, at points x or ``dx`` apart."""
    areas, axis = _panels("trapezoid", y, x, dx, dim)
    return areas.sum(axis)


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integrals up to each point but the first by the trapezoidal rule."""
    areas, axis = _panels("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, axis=axis)


# --- moments and distances ------------------------------------------------------------------------


def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Covariances of the rows, whose columns are observations.

    ``fweights`` say how often an observation was made, ``aweights`` how much it counts.
    """
    x = as_tensor(input)._floating()
    rows: Any = x.reshape(1, -1) if x.ndim < 2 else x
    weight = None
    if fweights is not None or aweights is not None:
        f, a = (np.ones(1) if w is None else as_tensor(w).data.astype(np.float64)
                for w in (fweights, aweights))  # fmt: skip
        weight = beside(np.broadcast_to(f * a, rows.shape[1:]).astype(x.dtype), x.data)
    count = rows.shape[1] if weight is None else float(weight.sum())
    divisor = count - correction
    if aweights is not None and correction:
        divisor = count - correction * float((f * a * a).sum()) / count
    mean = rows.mean(1, keepdim=True) if weight is None else (
        (rows * weight).sum(1, keepdim=True) / count
    )  # fmt: skip
    centred = rows - mean
    made = (centred if weight is None else centred * weight) @ centred.T
    made = made / divisor if divisor > 0 else made / 0.0
    return made.reshape(()) if x.ndim < 2 else made


def corrcoef(input: Any) -> Tensor:
    """Correlations of the rows, whose columns are observations."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    spread = c.diagonal().sqrt()
    made = c / spread.reshape(-1, 1) / spread.reshape(1, -1)
    return made.clamp(-1.0, 1.0)


def dist(input: Any, other: Any, p: float = 2) -> Tensor:
    """The p-norm of a difference."""
    (x, y), _ = unified((as_tensor(input), other))
    return (x - y).norm(p)


def cdist(x1: Any, x2: Any, p: float = 2.0) -> Tensor:
    """Distances of each row of one to each row of the other, in stacks too."""
    (a, b), _ = unified((as_tensor(x1), as_tensor(x2)))
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).norm(p, -1)


def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along an axis scaled to a p-norm of at most ``maxnorm``."""
    x = as_tensor(input)
    axis = axis_of("renorm", dim, x.ndim)
    others = tuple(i for i in range(x.ndim) if i != axis)
    size = x.norm(p, others, keepdim=True)
    long = size.data > maxnorm
    factor = where(long, maxnorm / (where(long, size, 1.0) + 1e-7), 1.0)  # torch's 1e-7
    return x * factor


complete(globals())
