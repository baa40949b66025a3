"""Reshaping, slicing, joining: views and copies of NumPy's and CuPy's, on the tape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import beside, is_cupy, namespace, to_host
from ..ops import embedding
from . import _tape
from ._documents import complete
from ._tape import Node, Rule, array_of, sum_to

# --- rules: given arrays they give arrays, given tensors tensors ----------------------------------



reshape: Rule = Rule(
    "reshape",
    lambda x, shape: x.reshape(shape),
    lambda g, saved, node: reshape(g, shape=node.parents[0].shape),
)


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    inverse = [0] * len(axes)
    for i, a in enumerate(axes):
        inverse[a] = i
    return tuple(inverse)


permute: Rule = Rule(
    "permute",
    lambda x, axes: x.transpose(axes),
    lambda g, saved, node: permute(g, axes=_inverse(node.options["axes"])),
)


def swap_last(x: Any) -> Any:
    """Matrices transposed: the last two axes exchanged."""
    n = x.ndim
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


_SMALL = 4096  # elements that are filled sooner than NumPy makes a view of them (4 us)


def expanded(x: Any, shape: tuple[int, ...]) -> Any:
    """An array in a larger shape: a view, or a copy where that takes less time."""
    if type(x) is np.ndarray and math.prod(shape) <= _SMALL:
        filled = np.empty(shape, x.dtype)
        filled[...] = x
        return filled
    return namespace(x).broadcast_to(x, shape)


broadcast: Rule = Rule(
    "expand",
    expanded,
    lambda g, saved, node: sum_to(g, node.parents[0].shape),
)


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None or p is Ellipsis or (isinstance(p, slice | int | np.integer)
        and not isinstance(p, bool | np.bool_))
        for p in parts
    )  # fmt: skip


def _get(x: Any, index: Any) -> Any:
    return namespace(x).asarray(x[_beside(index, x)])


def _beside(index: Any, like: Any) -> Any:
    """An index whose arrays are on the device of what it is for."""
    if not is_cupy(like):
        return index
    if isinstance(index, tuple):
        return tuple(_beside(part, like) for part in index)
    return beside(index, like) if isinstance(index, np.ndarray) else index


def _put(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of this shape, with g added where the index points: an element may come twice."""
    xp = namespace(g)
    result = xp.zeros(shape, g.dtype)
    if _is_basic(index):
        result[index] = g
    elif xp is np:
        np.add.at(result, index, g)
    else:  # CuPy adds in any order
        count = math.prod(shape)
        places = xp.arange(count).reshape(shape)[_beside(index, g)]
        result = embedding.backward(g.reshape(-1, 1), places.reshape(-1), count).reshape(shape)
    return result


getitem: Rule = Rule(
    "getitem",
    _get,
    lambda g, saved, node: putitem(
        g, index=node.options["index"], shape=node.parents[0].shape
    ),
)  # fmt: skip
putitem: Rule = Rule(
    "putitem", _put, lambda g, saved, node: getitem(g, index=node.options["index"])
)


def _concatenate_backward(g: Any, saved: tuple, node: Node) -> Any:
    axis, sizes = node.options["axis"], node.options["sizes"]
    gradients, start = [], 0
    for parent, size in zip(node.parents, sizes, strict=True):
        index = (*(slice(None),) * axis, slice(start, start + size))
        gradients.append(None if parent is None else getitem(g, index=index))
        start += size
    return tuple(gradients)


concatenate: Rule = Rule(
    "concatenate",
    lambda *xs, axis, sizes: namespace(xs[0]).concatenate(xs, axis),
    _concatenate_backward,
)


def _split_forward(x: Any, axis: int, sizes: tuple[int, ...]) -> Any:
    parts, start = [], 0
    for size in sizes:
        parts.append(x[(*(slice(None),) * axis, slice(start, start + size))])
        start += size
    return tuple(parts)


def _split_backward(g: dict[int, Any], saved: tuple, node: Node) -> Any:
    axis, sizes = node.options["axis"], node.options["sizes"]
    some = next(iter(g.values()))
    xp = namespace(array_of(some))

    def zeros(size: int) -> Any:
        shape = (*some.shape[:axis], size, *some.shape[axis + 1 :])
        return xp.zeros(shape, some.dtype)

    parts = [g[i] if i in g else zeros(size) for i, size in enumerate(sizes)]
    return concatenate(*parts, axis=axis, sizes=sizes)


split: Rule = Rule("split", _split_forward, _split_backward, several=True)


def _along(shape: Sequence[int], index: Any, axis: int) -> tuple:
    """The index that picks ``index`` along one axis and the same place along all others."""
    xp = namespace(index)
    parts = [
        xp.arange(n).reshape([-1 if i == j else 1 for j in range(index.ndim)])
        for i, n in enumerate(index.shape)
    ]
    parts[axis] = index
    return tuple(parts)


def gather_along(x: Any, index: Any, axis: int) -> Any:
    """``x[..., index[...], ...]`` with the places of the index along all other axes."""
    return getitem(x, index=_along(x.shape, index, axis))


def _pad_backward(g: Any, saved: tuple, node: Node) -> Any:
    index = tuple(
        slice(before, before + n)
        for (before, _), n in zip(node.options["widths"], node.parents[0].shape, strict=True)
    )
    return getitem(g, index=index)


pad: Rule = Rule(
    "pad",
    lambda x, widths, value: namespace(x).pad(x, widths, constant_values=value),
    _pad_backward,
)
copy: Rule = Rule("clone", lambda x: x.copy(), lambda g, saved, node: g)


def axis_of(name: str, axis: Any, rank: int) -> int:
    """An axis counted from the first.

    Raises
    ------
    IndexError
        If the array has no such axis.
    """
    if not hasattr(axis, "__index__"):
        raise TypeError(f"nn.{name}: dim must be an integer, got {axis!r}")
    place = int(axis) + rank if axis < 0 else int(axis)
    if not 0 <= place < max(rank, 1):
        raise IndexError(f"nn.{name}: dim must be one of {rank} axes, got {axis}")
    return place


def sizes_of(values: tuple) -> tuple:
    """Sizes or axes given one by one or as a tuple."""
    if len(values) == 1 and not hasattr(values[0], "__index__"):
        values = tuple(values[0])
    return tuple(int(v) for v in values)


def _index(value: Any) -> Any:
    """An index with arrays in place of tensors, and lists as arrays."""
    if isinstance(value, tuple):
        return tuple(map(_index, value))
    value = array_of(value)
    return np.asarray(value) if isinstance(value, list) else value


class ShapeMethods:
    """What rearranges the elements of a tensor."""

    __slots__ = ()
    data: Any
    shape: tuple[int, ...]
    ndim: int

    def __getitem__(self, index: Any) -> Any:
        return getitem(self, index=_index(index))

    def reshape(self, *shape: Any) -> Any:
        """The elements in another shape, in C order; one size may be -1."""
        sizes = sizes_of(shape)
        if min(sizes, default=0) < -1:  # NumPy takes each of these for -1
            raise RuntimeError(f"nn.reshape: sizes must be at least 0, or -1 once, got {sizes}")
        return reshape(self, shape=sizes)

    view = reshape

    def view_as(self, other: Any) -> Any:
        """Reshape to the shape of another tensor."""
        return reshape(self, shape=tuple(other.shape))

    reshape_as = view_as

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        """The axes from ``start_dim`` to ``end_dim`` as one."""
        rank = self.ndim
        if rank == 0:
            return reshape(self, shape=(1,))
        first, last = axis_of("flatten", start_dim, rank), axis_of("flatten", end_dim, rank)
        if first > last:
            raise RuntimeError(
                f"nn.flatten: start_dim must not be behind end_dim, got {start_dim} and {end_dim}"
            )
        merged = math.prod(self.shape[first : last + 1])
        return reshape(self, shape=(*self.shape[:first], merged, *self.shape[last + 1 :]))

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Any:
        """Split one axis into several."""
        axis = axis_of("unflatten", dim, self.ndim)
        given = sizes = list(sizes)
        if -1 in sizes:
            sizes = list(sizes)
            rest = math.prod(s for s in sizes if s != -1)
            sizes[sizes.index(-1)] = self.shape[axis] // max(rest, 1)
        if min(sizes, default=0) < 0:
            raise RuntimeError(
                f"nn.unflatten: sizes must be at least 0, or -1 once, got {(*given,)}"
            )
        return reshape(self, shape=(*self.shape[:axis], *sizes, *self.shape[axis + 1 :]))

    def permute(self, *dims: Any) -> Any:
        """Permute the axes."""
        axes = tuple(axis_of("permute", d, self.ndim) for d in sizes_of(dims))
        if sorted(axes) != list(range(self.ndim)):
            raise RuntimeError(
                f"nn.permute: dims must name each of {self.ndim} axes once, got {dims}"
            )
        return permute(self, axes=axes)

    def transpose(self, dim0: int, dim1: int) -> Any:
        """Swap two axes."""
        axes = list(range(self.ndim))
        a, b = axis_of("transpose", dim0, self.ndim), axis_of("transpose", dim1, self.ndim)
        if axes:
            axes[a], axes[b] = b, a
        return permute(self, axes=tuple(axes))

    swapaxes = transpose

    def movedim(self, source: int, destination: int) -> Any:
        """Move one axis to another position."""
        axes = list(range(self.ndim))
        axes.insert(
            axis_of("movedim", destination, self.ndim),
            axes.pop(axis_of("movedim", source, self.ndim)),
        )
        return permute(self, axes=tuple(axes))

    def t(self) -> Any:
        """Transpose a matrix; vectors and numbers are returned as they are."""
        if self.ndim > 2:
            raise RuntimeError(f"nn.t: the tensor must have at most 2 axes, got {self.ndim}")
        return self if self.ndim < 2 else permute(self, axes=(1, 0))

    @property
    def T(self) -> Any:
        """All axes reversed."""
        return permute(self, axes=tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise RuntimeError(f"Tensor.mT: the tensor must have 2 axes, got shape {self.shape}")
        return swap_last(self)

    def squeeze(self, dim: Any = None) -> Any:
        """Remove all axes of size 1, or those of ``dim`` that have size 1."""
        rank = self.ndim
        if dim is None:
            chosen = set(range(rank))
        else:
            chosen = {axis_of("squeeze", d, rank) for d in sizes_of((dim,))}
        shape = tuple(n for i, n in enumerate(self.shape) if not (i in chosen and n == 1))
        return reshape(self, shape=shape)

    def unsqueeze(self, dim: int) -> Any:
        """Insert an axis of size 1."""
        axis = axis_of("unsqueeze", dim, self.ndim + 1)
        return reshape(self, shape=(*self.shape[:axis], 1, *self.shape[axis:]))

    def expand(self, *sizes: Any) -> Any:
        """Broadcast axes of size 1 without a copy; -1 keeps a size."""
        wanted = list(sizes_of(sizes))
        added = len(wanted) - self.ndim
        for i, size in enumerate(wanted):
            if size == -1 and i >= added:
                wanted[i] = self.shape[i - added]
            elif size < 0:
                raise RuntimeError(
                    "nn.expand: sizes must be at least 0, or -1 for an axis that the tensor has, "
                    f"got {tuple(sizes_of(sizes))}"
                )
        return broadcast(self, shape=tuple(wanted))

    def expand_as(self, other: Any) -> Any:
        """Broadcast to the shape of another tensor."""
        return broadcast(self, shape=tuple(other.shape))

    broadcast_to = expand

    def repeat(self, *sizes: Any) -> Any:
        """Repeat the tensor along each axis."""
        counts = sizes_of(sizes)
        shape = (1,) * (len(counts) - self.ndim) + tuple(self.shape)
        if len(counts) < self.ndim:
            raise RuntimeError(
                f"nn.repeat: there must be at least {self.ndim} counts, got {len(counts)}"
            )
        apart = [n for size in shape for n in (1, size)]
        wide = [n for count, size in zip(counts, shape, strict=True) for n in (count, size)]
        tiled = broadcast(reshape(self, shape=tuple(apart)), shape=tuple(wide))
        return reshape(tiled, shape=tuple(c * s for c, s in zip(counts, shape, strict=True)))

    def tile(self, *counts: Any) -> Any:
        """Like :meth:`repeat`; missing counts are 1."""
        given = sizes_of(counts)
        return self.repeat(*(1,) * (self.ndim - len(given)), *given)

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Any:
        """Repeat each element."""
        source: Any = self if dim is not None else reshape(self, shape=(-1,))
        axis = axis_of("repeat_interleave", 0 if dim is None else dim, source.ndim)
        index = np.repeat(np.arange(source.shape[axis]), to_host(array_of(repeats)))
        return source.index_select(axis, index)

    def flip(self, *dims: Any) -> Any:
        """Reverse axes."""
        chosen = {axis_of("flip", d, self.ndim) for d in sizes_of(dims)}
        index = tuple(slice(None, None, -1 if i in chosen else 1) for i in range(self.ndim))
        return getitem(self, index=index)

    def roll(self, shifts: Any, dims: Any = None) -> Any:
        """Shift the elements of axes cyclically.

        Parameters
        ----------
        shifts : int or tuple of int
            How many places, for each axis.
        dims : int or tuple of int, optional
            The axes; by default the elements are shifted in order, as if there were one axis.
        """
        if dims is None:
            flat: Any = self.reshape(-1)
            return flat.roll(shifts, 0).reshape(self.shape)
        if isinstance(shifts, (tuple, list)) or isinstance(dims, (tuple, list)):
            steps = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
            axes = dims if isinstance(dims, (tuple, list)) else (dims,)
            if len(steps) != len(axes):
                raise RuntimeError(
                    f"nn.roll: shifts must be one for each of {len(axes)} dims, got {len(steps)}"
                )
            moved: Any = self
            for step, axis in zip(steps, axes, strict=True):
                moved = moved.roll(step, axis)
            return moved
        axis = axis_of("roll", dims, self.ndim)
        n = self.shape[axis]
        return self.index_select(axis, (np.arange(n) - shifts) % max(n, 1))

    def index_select(self, dim: int, index: Any) -> Any:
        """Select slices of an axis by index."""
        axis = axis_of("index_select", dim, self.ndim)
        return getitem(self, index=(*(slice(None),) * axis, _index(index)))

    def narrow(self, dim: int, start: int, length: int) -> Any:
        """A contiguous range of an axis; a negative start counts from the end."""
        axis = axis_of("narrow", dim, self.ndim)
        size, first = self.shape[axis], start
        start = start + size if start < 0 else start
        if not (length >= 0 and 0 <= start <= size - length):
            raise IndexError(
                f"nn.narrow: start and length must lie in the {size} entries of axis {axis}, got "
                f"{first} and {length}"
            )
        return getitem(self, index=(*(slice(None),) * axis, slice(start, start + length)))

    def select(self, dim: int, index: int) -> Any:
        """One slice of an axis, without the axis."""
        return getitem(self, index=(*(slice(None),) * axis_of("select", dim, self.ndim), index))

    def gather(self, dim: int, index: Any) -> Any:
        """Gather along an axis: ``out[i][j] = x[index[i][j]][j]`` for ``dim=0``."""
        index = _index(index)
        return gather_along(self, index, axis_of("gather", dim, self.ndim))

    def take_along_dim(self, indices: Any, dim: int) -> Any:
        """Like :meth:`gather`, with its arguments in the other order.

        Parameters
        ----------
        indices : Tensor or array of int
            Positions along ``dim``, with the axes of the tensor.
        """
        return self.gather(dim, indices)

    def scatter_add(self, dim: int, index: Any, src: Any) -> Any:
        """This tensor with ``src`` added at the positions that :meth:`gather` would read."""
        index = _index(index)
        axis = axis_of("scatter_add", dim, self.ndim)
        cut = getitem(_tape.Tensor(src) if not isinstance(src, _tape.Tensor) else src,
                      index=tuple(slice(0, n) for n in index.shape))  # fmt: skip
        return self + putitem(cut, index=_along(self.shape, index, axis), shape=self.shape)

    def index_add(self, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
        """This tensor with slices of ``source`` added at positions along an axis.

        Parameters
        ----------
        alpha : float
            Factor of ``source``.
        """
        axis = axis_of("index_add", dim, self.ndim)
        where = (*(slice(None),) * axis, _index(index))
        source = source if isinstance(source, _tape.Tensor) else _tape.Tensor(source)
        source = source if alpha == 1 else source * alpha
        return self + putitem(source, index=where, shape=self.shape)

    def masked_select(self, mask: Any) -> Any:
        """The elements where the mask is True, in order."""
        xp = namespace(self.data)
        return getitem(self, index=xp.broadcast_to(_beside(_index(mask), self.data), self.shape))

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
        """The diagonal of two axes, as the last axis."""
        a, b = axis_of("diagonal", dim1, self.ndim), axis_of("diagonal", dim2, self.ndim)
        moved: Any = permute(self, axes=(*(i for i in range(self.ndim) if i not in (a, b)), a, b))
        rows, columns = moved.shape[-2:]
        first = (max(-offset, 0), max(offset, 0))
        count = max(min(rows - first[0], columns - first[1]), 0)
        places = np.arange(count)
        return getitem(moved, index=(Ellipsis, places + first[0], places + first[1]))

    def diag(self, diagonal: int = 0) -> Any:
        """The diagonal of a matrix, or a matrix with this diagonal."""
        if self.ndim == 2:
            return self.diagonal(diagonal)
        if self.ndim != 1:
            raise RuntimeError(f"nn.diag: the tensor must have 1 or 2 axes, got {self.ndim}")
        n = self.shape[0] + abs(diagonal)
        places = np.arange(self.shape[0])
        index = (places + max(-diagonal, 0), places + max(diagonal, 0))
        return putitem(self, index=index, shape=(n, n))

    def split(self, split_size: Any, dim: int = 0) -> tuple[Any, ...]:
        """Split an axis into parts of one size (the last may be smaller) or of given sizes."""
        axis = axis_of("split", dim, self.ndim)
        n = self.shape[axis]
        if hasattr(split_size, "__index__"):
            step = int(split_size)
            if step < 1:
                raise RuntimeError(f"nn.split: split_size must be at least 1, got {step}")
            sizes = tuple(min(step, n - i) for i in range(0, n, step)) or (0,)
        else:
            sizes = tuple(int(s) for s in split_size)
            if sum(sizes) != n:
                raise RuntimeError(f"nn.split: sizes must add up to {n}, got {sizes}")
        return split(self, axis=axis, sizes=sizes)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Any, ...]:
        """Split an axis into parts of about equal size."""
        n = self.shape[axis_of("chunk", dim, self.ndim)]
        if chunks < 1:
            raise RuntimeError(f"nn.chunk: chunks must be at least 1, got {chunks}")
        return self.split(max(-(-n // chunks), 1), dim)

    def unbind(self, dim: int = 0) -> tuple[Any, ...]:
        """The slices along an axis, without the axis."""
        axis = axis_of("unbind", dim, self.ndim)
        shape = (*self.shape[:axis], *self.shape[axis + 1 :])
        return tuple(reshape(part, shape=shape) for part in self.split(1, axis))

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("nn.Tensor: a tensor without axes must not be iterated over")
        return iter(self.unbind(0)) if self.shape[0] else iter(())

    def clone(self) -> Any:
        """A copy, through which gradients flow."""
        return copy(self)

    def contiguous(self) -> Any:
        """The tensor itself if its array is C-contiguous, else a copy."""
        return self if self.data.flags.c_contiguous else copy(self)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors joined along an axis.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.cat([nn.ones(1), nn.zeros(2)]).tolist()
    [1.0, 0.0, 0.0]
    """
    from ._elementwise import unified

    if not len(tensors):
        raise RuntimeError("nn.cat: tensors must hold at least one, got none")
    values, _ = unified(tuple(tensors), floating=False)
    if not any(isinstance(v, _tape.Tensor) for v in values):
        values = tuple(map(_tape.Tensor, values))
    # Like torch, an empty tensor with one axis joins anything.
    kept = [v for v in values if v.shape != (0,)] or list(values)
    axis = axis_of("cat", dim, kept[0].ndim)
    return concatenate(*kept, axis=axis, sizes=tuple(v.shape[axis] for v in kept))


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of one shape along a new axis.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.stack([nn.ones(2), nn.zeros(2)]).shape
    (2, 2)
    """
    tensors = [t if isinstance(t, _tape.Tensor) else _tape.Tensor(t) for t in tensors]
    if not tensors or any(t.shape != tensors[0].shape for t in tensors):
        shapes = sorted({t.shape for t in tensors})
        raise RuntimeError(f"nn.stack: tensors must have one shape, got {shapes or 'none'}")
    return cat([t.unsqueeze(dim) for t in tensors], axis_of("stack", dim, tensors[0].ndim + 1))


complete(globals())
