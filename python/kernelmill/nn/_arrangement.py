"""More functions that arrange elements, under torch's names: joins, places, grids, orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import beside, namespace, to_host
from ._documents import complete
from ._dtypes import FLOATS
from ._elementwise import where
from ._shape import _along, axis_of, cat, getitem, putitem, sizes_of, stack
from ._tape import array_of
from ._tensor import Tensor, as_array, as_tensor

# --- joins and parts ------------------------------------------------------------------------------


def _raised(tensors: tuple[Any, ...], rank: Any) -> Any:
    made = [rank(as_tensor(t)) for t in tensors]
    return made[0] if len(made) == 1 else tuple(made)


def _listed(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors given one by one or as a sequence."""
    one = len(tensors) == 1 and isinstance(tensors[0], tuple | list)
    if one and all(hasattr(t, "dtype") or isinstance(t, tuple | list) for t in tensors[0]):
        return tuple(tensors[0])
    return tensors


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one axis."""
    return _raised(_listed(tensors), lambda t: t if t.ndim else t.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two axes; a vector becomes a row."""
    return _raised(_listed(tensors), lambda t: t if t.ndim > 1 else t.reshape(1, -1))


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three axes; a matrix gets a last one."""

    def raised(t: Tensor) -> Tensor:
        return t if t.ndim > 2 else atleast_2d(t).unsqueeze(-1)

    return _raised(_listed(tensors), raised)


def hstack(tensors: Sequence[Any]) -> Tensor:
    """Tensors joined along the second axis, vectors along their only one."""
    made = [atleast_1d(t) for t in tensors]
    return cat(made, 0 if made and made[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Tensor:
    """Tensors joined along the first axis; vectors are rows."""
    return cat([atleast_2d(t) for t in tensors], 0)


def dstack(tensors: Sequence[Any]) -> Tensor:
    """Tensors joined along the third axis."""
    return cat([atleast_3d(t) for t in tensors], 2)


def column_stack(tensors: Sequence[Any]) -> Tensor:
    """Tensors joined along the second axis; vectors are columns."""
    made = [as_tensor(t) for t in tensors]
    return cat([t if t.ndim > 1 else t.reshape(-1, 1) for t in made], 1)


def block_diag(*tensors: Any) -> Tensor:
    """Matrices along the diagonal of a larger one, zeros elsewhere."""
    blocks = [atleast_2d(as_tensor(t)) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows, at = [], 0
    for b in blocks:
        xp = namespace(b.data)
        gaps = [at, width - at - b.shape[1]]
        left, right = (Tensor(xp.zeros((b.shape[0], n), b.dtype)) for n in gaps)
        rows.append(cat([left, b, right], 1))
        at += b.shape[1]
    return cat(rows, 0)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """An axis cut into so many parts, or at these places."""
    x = as_tensor(input)
    axis = axis_of("tensor_split", dim, x.ndim)
    n = x.shape[axis]
    given = array_of(indices_or_sections)
    if np.ndim(given) == 0:
        parts = int(given)
        if parts < 1:
            raise RuntimeError(f"nn.tensor_split: there must be 1 part or more, got {parts}")
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        cuts = list(itertools.accumulate(sizes[:-1]))
    else:
        cuts = [slice(int(i)).indices(n)[1] for i in np.asarray(given)]
    edges = [0, *cuts, n]
    lead = (slice(None),) * axis
    return tuple(
        getitem(x, index=(*lead, slice(a, max(a, b)))) for a, b in itertools.pairwise(edges)
    )


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Parts of the second axis, of a vector's only one."""
    x = as_tensor(input)
    return tensor_split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Parts of the first axis."""
    return tensor_split(input, indices_or_sections, 0)


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Parts of the third axis."""
    return tensor_split(input, indices_or_sections, 2)


def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """An axis cut into parts of these sizes."""
    return as_tensor(input).split([*split_sizes], dim)


# --- shapes ---------------------------------------------------------------------------------------


def ravel(input: Any) -> Tensor:
    """All elements as one axis."""
    return as_tensor(input).reshape(-1)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape of several that are broadcast together."""
    return np.broadcast_shapes(*shapes)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Tensors in their common shape."""
    made = [as_tensor(t) for t in tensors]
    shape = np.broadcast_shapes(*(t.shape for t in made))
    return tuple(t.expand(shape) for t in made)


def broadcast_to(input: Any, size: Any) -> Tensor:
    """A tensor in a larger shape."""
    return as_tensor(input).expand(sizes_of((size,)))


def fliplr(input: Any) -> Tensor:
    """The second axis reversed."""
    return as_tensor(input).flip(1)


def flipud(input: Any) -> Tensor:
    """The first axis reversed."""
    return as_tensor(input).flip(0)


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A plane turned k times by 90 degrees, from the first of two axes to the second."""
    x = as_tensor(input)
    a, b = dims
    if k % 4 == 0:
        return x
    if k % 4 == 2:
        return x.flip(a, b)
    return x.transpose(a, b).flip(a) if k % 4 == 1 else x.transpose(a, b).flip(b)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices whose diagonals are the last axis."""
    x = as_tensor(input)
    n, rank = x.shape[-1] + abs(offset), x.ndim + 1
    places = np.arange(x.shape[-1])
    index = (Ellipsis, places + max(-offset, 0), places + max(offset, 0))
    made = putitem(x, index=index, shape=(*x.shape[:-1], n, n))
    a, b = axis_of("diag_embed", dim1, rank), axis_of("diag_embed", dim2, rank)
    order = list(range(rank - 2))
    for axis, place in sorted(((a, rank - 2), (b, rank - 1))):
        order.insert(axis, place)
    return made.permute(*order)


def diagflat(input: Any, offset: int = 0) -> Tensor:
    """A matrix with all elements on its diagonal."""
    return as_tensor(input).reshape(-1).diag(offset)


def unfold(input: Any, dimension: int, size: int, step: int) -> Tensor:
    """Windows of an axis: the number of windows in its place, their elements as a last axis."""
    x = as_tensor(input)
    axis = axis_of("unfold", dimension, x.ndim)
    if not 0 <= size <= x.shape[axis] or step < 1:
        raise RuntimeError(
            f"nn.unfold: size must be at most {x.shape[axis]} and step positive, got {size} and "
            f"{step}"
        )
    count = (x.shape[axis] - size) // step + 1
    index = np.arange(count)[:, None] * step + np.arange(size)
    return x.index_select(axis, index).movedim(axis + 1, -1)


# --- places ---------------------------------------------------------------------------------------


def take(input: Any, index: Any) -> Tensor:
    """Elements by their place in C order."""
    return getitem(as_tensor(input).reshape(-1), index=as_array(index))


def _cut(src: Any, index: Any, like: Tensor) -> Any:
    """The part of a source that an index covers; a number everywhere."""
    if not hasattr(src, "dtype") and np.ndim(src) == 0:
        return Tensor(namespace(like.data).full(index.shape, src, like.dtype))
    return getitem(as_tensor(src), index=tuple(slice(0, n) for n in index.shape)).to(like.dtype)


def _untouched(x: Tensor, where_: Any) -> Tensor:
    """The tensor with zeros at some places, without a gradient there."""
    keep = np.ones(x.shape, bool)
    keep[where_] = False
    return where(beside(keep, x.data), x, 0)


def scatter(input: Any, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> Tensor:
    """The tensor with other values at the positions that ``gather`` would read.

    Of several values for one place the last is kept; ``reduce`` is ``"add"`` or ``"multiply"``.
    """
    x, places = as_tensor(input), to_host(as_array(index))
    axis = axis_of("scatter", dim, x.ndim)
    values = _cut(src, places, x)
    if reduce is not None:
        kinds = {"add": "sum", "multiply": "prod"}
        if reduce not in kinds:
            raise RuntimeError(f"nn.scatter: reduce must be add or multiply, got {reduce!r}")
        return scatter_reduce(x, dim, places, values, kinds[reduce])
    where_ = _along(x.shape, places, axis)
    owner = np.full(x.shape, -1)  # which value each place keeps
    owner[where_] = np.arange(places.size).reshape(places.shape)
    taken = owner >= 0
    chosen = getitem(values.reshape(-1), index=beside(np.where(taken, owner, 0), x.data))
    return where(beside(taken, x.data), chosen, x) if places.size else x


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The tensor with values combined into the positions that ``gather`` would read.

    ``reduce`` is ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``; without
    ``include_self`` the values of the tensor itself do not take part where there are others.
    """
    x, places = as_tensor(input), to_host(as_array(index))
    axis = axis_of("scatter_reduce", dim, x.ndim)
    values = _cut(src, places, x)
    where_ = _along(x.shape, places, axis)
    counts = np.zeros(x.shape, np.int64)
    np.add.at(counts, where_, 1)
    base = x if include_self else _untouched(x, where_)
    if reduce in ("sum", "mean"):
        total = base + putitem(values, index=where_, shape=x.shape)
        if reduce == "sum":
            return total
        number = np.maximum(counts + include_self, 1).astype(x.dtype)
        return total / beside(number, x.data)
    if reduce not in ("prod", "amax", "amin"):
        raise RuntimeError(
            f"nn.scatter_reduce: reduce must be sum, prod, mean, amax or amin, got {reduce!r}"
        )
    # The values of each place as one more axis, filled up with what changes nothing.
    flat = np.ravel_multi_index(np.broadcast_arrays(*where_), x.shape).ravel()
    order = np.argsort(flat, kind="stable")
    flat = flat[order]
    rank = np.arange(flat.size) - np.searchsorted(flat, flat)
    ends = (-math.inf, math.inf) if x.dtype.kind in FLOATS else (
        int(np.iinfo(x.dtype).min), int(np.iinfo(x.dtype).max)
    )  # fmt: skip
    neutral = {"prod": 1, "amax": ends[0], "amin": ends[1]}[reduce]
    shape = (math.prod(x.shape), int(counts.max(initial=0)))
    filled = np.zeros(shape, bool)
    filled[flat, rank] = True
    many = putitem(getitem(values.reshape(-1), index=order), index=(flat, rank), shape=shape)
    own = x.reshape(-1, 1)
    if not include_self:
        own = where(beside(counts.reshape(-1, 1) > 0, x.data), neutral, own)
    joined = cat([own, where(beside(filled, x.data), many, neutral)], 1)
    made = joined.prod(1) if reduce == "prod" else getattr(joined, reduce)(1)
    return made.reshape(x.shape)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Tensor:
    """The tensor with slices of another at positions along an axis."""
    x, places = as_tensor(input), to_host(as_array(index))
    axis = axis_of("index_copy", dim, x.ndim)
    where_ = (*(slice(None),) * axis, places)
    return _untouched(x, where_) + putitem(
        as_tensor(source).to(x.dtype), index=where_, shape=x.shape
    )


def index_fill(input: Any, dim: int, index: Any, value: float) -> Tensor:
    """The tensor with one number at positions along an axis."""
    x, places = as_tensor(input), to_host(as_array(index))
    mask = np.zeros(x.shape, bool)
    mask[(*(slice(None),) * axis_of("index_fill", dim, x.ndim), places)] = True
    return where(beside(mask, x.data), value, x)


def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """The tensor with values at places, or added there: ``x[indices] = values`` as a function."""
    x = as_tensor(input)
    where_ = tuple(to_host(as_array(i)) for i in indices)
    shape = np.empty(x.shape, bool)[where_].shape
    given = as_tensor(values).to(x.dtype).expand(shape)
    added = putitem(given, index=where_, shape=x.shape)
    return x + added if accumulate else _untouched(x, where_) + added


def masked_scatter(input: Any, mask: Any, source: Any) -> Tensor:
    """The tensor with the elements of another, in order, where the mask is True."""
    x = as_tensor(input)
    chosen = np.broadcast_to(to_host(as_array(mask)), x.shape)
    count = int(chosen.sum())
    values = getitem(as_tensor(source).reshape(-1), index=slice(0, count)).to(x.dtype)
    return _untouched(x, chosen) + putitem(values, index=np.nonzero(chosen), shape=x.shape)


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """Places of the elements that are not 0, a row each; with ``as_tuple`` an index each axis."""
    x = as_tensor(input).data
    places = namespace(x).nonzero(x if x.ndim else x.reshape(1))
    if as_tuple:
        return tuple(map(Tensor, places))
    rows = namespace(x).stack(places, axis=1)
    return Tensor(rows if x.ndim else rows[:, :0])


def argwhere(input: Any) -> Tensor:
    """Places of the elements that are not 0, a row each."""
    return nonzero(input)


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Rows and columns of the lower triangle of a matrix."""
    return Tensor(np.stack(np.tril_indices(row, offset, col)))


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """Rows and columns of the upper triangle of a matrix."""
    return Tensor(np.stack(np.triu_indices(row, offset, col)))


# --- grids and products ---------------------------------------------------------------------------


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid from those of its axes."""
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"nn.meshgrid: indexing must be ij or xy, got {indexing!r}")
    axes = [as_tensor(t).reshape(-1) for t in _listed(tensors)]
    n = len(axes)
    swapped = indexing == "xy" and n > 1
    places = [1, 0, *range(2, n)] if swapped else range(n)
    shape = [0] * n
    for axis, place in zip(axes, places, strict=True):
        shape[place] = axis.shape[0]
    return tuple(
        axis.reshape([-1 if i == place else 1 for i in range(n)]).expand(shape)
        for axis, place in zip(axes, places, strict=True)
    )


def cartesian_prod(*tensors: Any) -> Tensor:
    """All tuples of one element of each vector, a row each."""
    if len(tensors) == 1:
        return as_tensor(tensors[0])
    return stack([t.reshape(-1) for t in meshgrid(*tensors)], 1)


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, a row each."""
    x = as_tensor(input)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array([*choose(range(x.shape[0]), r)], np.int64).reshape(-1, r)
    return getitem(x, index=beside(rows, x.data))


# --- orders and counts ----------------------------------------------------------------------------


class Unique(NamedTuple):
    """Different elements, where each element is among them, and how often they are there."""

    output: Any
    inverse_indices: Any = None
    counts: Any = None


def _told(parts: tuple[Any, ...], wanted: tuple[bool, ...]) -> Any:
    kept = [p for p, w in zip(parts, (True, *wanted), strict=True) if w]
    return kept[0] if len(kept) == 1 else tuple(kept)


def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The different elements, or slices along an axis, in rising order."""
    x = as_tensor(input).data
    found = namespace(x).unique(x, return_inverse=True, return_counts=True, axis=dim)
    values, inverse, counts = found
    inverse = inverse.reshape(x.shape if dim is None else (-1,))
    return _told((Tensor(values), Tensor(inverse), Tensor(counts)), (return_inverse, return_counts))


def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along an axis, without repetitions of the one before."""
    x = as_tensor(input)
    rows = x.reshape(-1) if dim is None else x.movedim(dim, 0)
    data = rows.data
    changed = (data[1:] != data[:-1]).reshape(max(len(data) - 1, 0), -1).any(1)
    starts = np.concatenate([np.ones(min(len(data), 1), bool), to_host(changed)])
    first = np.flatnonzero(starts)
    made: Any = getitem(rows, index=beside(first, data))
    inverse = Tensor(np.cumsum(starts) - 1)
    counts = Tensor(np.diff(np.append(first, len(data))))
    if dim is None:
        inverse = inverse.reshape(x.shape)
    else:
        made = made.movedim(0, dim)
    return _told((made, inverse, counts), (return_inverse, return_counts))


def searchsorted(
    sorted_sequence: Any, input: Any, *, right: bool = False, side: str | None = None
) -> Tensor:
    """Where elements belong in a sorted sequence, or in those of the last axis, row by row."""
    s, x = as_tensor(sorted_sequence).data, as_tensor(input).data
    xp = namespace(s)
    which = side or ("right" if right else "left")
    if s.ndim == 1:
        return Tensor(xp.asarray(xp.searchsorted(s, x, which)))
    if s.shape[:-1] != x.shape[:-1]:
        raise RuntimeError(
            "nn.searchsorted: the axes before the last must be the same, got shapes "
            f"{s.shape} and {x.shape}"
        )
    rows = [
        xp.searchsorted(a, b, which)
        for a, b in zip(s.reshape(-1, s.shape[-1]), x.reshape(-1, x.shape[-1]), strict=True)
    ]
    return Tensor(xp.stack(rows).reshape(x.shape) if rows else xp.zeros(x.shape, np.int64))


def bucketize(input: Any, boundaries: Any, *, right: bool = False) -> Tensor:
    """In which of the intervals between boundaries elements lie."""
    return searchsorted(boundaries, input, right=right)


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on is among the elements, or the sum of their weights."""
    x = as_tensor(input).data
    w = None if weights is None else as_tensor(weights).data
    return Tensor(namespace(x).bincount(x, w, minlength))


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of ``bins`` equal intervals between two numbers.

    With ``min`` equal to ``max`` the ends are those of the elements.
    """
    x = as_tensor(input).data
    low, high = float(min), float(max)
    if low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1.0, high + 1.0
    counts, _ = namespace(x).histogram(x, bins=bins, range=(low, high))
    return Tensor(counts.astype(x.dtype))


complete(globals())
