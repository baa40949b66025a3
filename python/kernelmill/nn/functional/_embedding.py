"""Rows of tables: embeddings, and bags of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import beside, namespace, to_host
from ...ops import embedding as ops
from .._backward import recomputed
from .._documents import complete
from .._shape import getitem, putitem
from .._tape import Node, Rule, written
from .._tensor import Tensor, as_array, as_tensor


def _rows(indices: Any, count: int, name: str) -> Any:
    index = as_array(indices)
    if index.dtype.kind not in "iu":
        raise RuntimeError(f"F.{name}: input must be integers, got {index.dtype}")
    if index.size and (index.min() < 0 or index.max() >= count):
        raise IndexError(
            f"F.{name}: input must be indices from 0 to {count - 1}, got {index.min()} to "
            f"{index.max()}"
        )
    return index.astype(np.int64, copy=False)


def _forward(weight: Any, index: Any, padding: int) -> Any:
    return ops.forward(weight, index.reshape(-1)).reshape(*index.shape, weight.shape[1])


def _backward(g: Any, saved: tuple, node: Node) -> Any:
    index, padding = node.options["index"], node.options["padding"]
    rows = g.reshape(index.size, g.shape[-1])
    return ops.backward(rows, index.reshape(-1), node.parents[0].shape[0], padding)


def _twice(g: Any, saved: tuple, node: Node) -> Any:
    index, padding = node.options["index"], node.options["padding"]
    g = g * (index != padding)[..., None].astype(g.dtype)
    return putitem(g, index=index, shape=node.parents[0].shape)


_embedding: Rule = Rule("embedding", _forward, _backward, twice=_twice)


def _bag_forward(
    weight: Any, factors: Any, index: Any, offsets: Any, mode: str, padding: int
) -> Any:
    return ops.bag(weight, index, offsets, factors, ops.MODES.index(mode), padding)


def _bag_backward(g: Any, saved: tuple, node: Node) -> Any:
    weight, factors = saved
    o = node.options
    found = ops.bag_backward(g, weight, o["index"], o["offsets"], factors,
                             ops.MODES.index(o["mode"]), o["padding"])  # fmt: skip
    return tuple(d if p is not None else None for d, p in zip(found, node.parents, strict=True))


def _bag_composed(
    weight: Any, factors: Any, index: Any, offsets: Any, mode: str, padding: int
) -> Any:
    """The same in differentiable operations."""
    xp = namespace(index)
    bag_of = xp.searchsorted(offsets, xp.arange(len(index)), side="right") - 1
    keep = index != padding
    index, bag_of = index[keep], bag_of[keep]
    rows = getitem(weight, index=index)
    shape = (len(offsets), weight.shape[1])
    if mode == "max":
        return _bag_maximum(rows, bag_of, shape)
    if factors is not None:
        rows = rows * getitem(factors, index=keep).reshape(-1, 1)
    sums = putitem(rows, index=bag_of, shape=shape)
    if mode == "mean":
        counts = xp.maximum(xp.bincount(bag_of, minlength=shape[0]), 1).astype(rows.dtype)
        sums = sums / counts[:, None]
    return sums


_bag: Rule = Rule(
    "embedding_bag", _bag_forward, _bag_backward, {0: (), 1: ()}, twice=recomputed(_bag_composed, 2)
)


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Look up rows of a table.

    Parameters
    ----------
    input : Tensor of any shape, integers
        Which rows.
    weight : Tensor of shape (num_embeddings, embedding_dim)
    padding_idx : int, optional
        This row gets no gradient.
    max_norm : float, optional
        Rows that are used and longer are scaled to this norm, in place, before they are read.
    norm_type : float, default=2
    scale_grad_by_freq : bool, default=False
        Divide the gradient of a row by how often it was used.
    sparse : bool, default=False
        Ignored; present for compatibility with torch. Gradients are dense.

    Returns
    -------
    output : Tensor of shape (*input.shape, embedding_dim)

    Raises
    ------
    IndexError
        If an index is out of range.
    """
    weight = as_tensor(weight)
    count = weight.shape[0]
    index = beside(_rows(input, count, "embedding"), weight.data)
    padding = -1 if padding_idx is None else int(padding_idx) % count
    if max_norm is not None:
        _shorten(weight, namespace(index).unique(index), max_norm, norm_type)
    if scale_grad_by_freq:
        weight = _by_frequency(weight, index)
    return _embedding(weight, index=index, padding=padding)


def _shorten(weight: Tensor, used: Any, max_norm: float, norm_type: float) -> None:
    rows = weight.data[used]
    xp = namespace(rows)
    norms = xp.linalg.norm(rows, norm_type, axis=1, keepdims=True)
    if (norms > max_norm).any():
        weight.data[used] = xp.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows)
        written([weight])


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of the rows of a table, a bag at a time.

    Parameters
    ----------
    input : Tensor of shape (B, n) or (N,), integers
        A bag per row; or all bags one after the other, with ``offsets``.
    weight : Tensor of shape (num_embeddings, embedding_dim)
    offsets : Tensor of shape (B,), integers, optional
        Where each bag starts.
    max_norm : float, optional
    norm_type : float, default=2
    scale_grad_by_freq : bool, default=False
        As for :func:`embedding`.
    mode : {"sum", "mean", "max"}
        An empty bag gives 0.
    sparse : bool, default=False
        Ignored; present for compatibility with torch. Gradients are dense.
    per_sample_weights : Tensor in the shape of ``input``, optional
        Factors of the rows, for ``"sum"``.
    include_last_offset : bool, default=False
        The last offset is the end of the last bag.
    padding_idx : int, optional
        Rows of this number do not count.

    Returns
    -------
    output : Tensor of shape (B, embedding_dim)
    """
    weight = as_tensor(weight)
    index = beside(_rows(input, weight.shape[0], "embedding_bag"), weight.data)
    factors = None if per_sample_weights is None else as_tensor(per_sample_weights)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"F.embedding_bag: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if factors is not None and mode != "sum":
        raise ValueError(
            f"F.embedding_bag: per_sample_weights must be None unless mode is 'sum', got {mode!r}"
        )
    if index.ndim == 2:
        if offsets is not None:
            raise ValueError("F.embedding_bag: offsets must be None where input has two axes")
        offsets = beside(np.arange(index.shape[0]) * index.shape[1], weight.data)
        index = index.reshape(-1)
        factors = None if factors is None else factors.reshape(-1)
    else:
        if offsets is None:
            raise ValueError("F.embedding_bag: offsets must be given where input has one axis")
        offsets = beside(as_array(offsets)[: -1 if include_last_offset else None], weight.data)
    if max_norm is not None:
        _shorten(weight, namespace(index).unique(index), max_norm, norm_type)
    padding = -1 if padding_idx is None else int(padding_idx) % weight.shape[0]
    if scale_grad_by_freq:
        weight = _by_frequency(weight, index)
    return _bag(weight, factors, index=index, offsets=offsets.astype(np.int64), mode=mode,
                padding=padding)  # fmt: skip


def _by_frequency(weight: Tensor, index: Any) -> Tensor:
    """The same table, whose gradient is divided by how often each row is used."""
    xp = namespace(index)
    often = xp.maximum(xp.bincount(index.reshape(-1), minlength=weight.shape[0]), 1)[:, None]
    scale = (1.0 / often).astype(weight.dtype)
    return weight * scale + weight.detach() * (1.0 - scale)


def _bag_maximum(rows: Tensor, bag_of: Any, shape: tuple[int, int]) -> Tensor:
    # What is picked is found on the host: CuPy lacks minimum.at of int64.
    values, bag_of = to_host(rows.data), to_host(bag_of)
    best = np.full(shape, -np.inf, rows.dtype)
    np.maximum.at(best, bag_of, values)
    first = np.full(shape, len(bag_of))  # the first row of each bag that has the maximum
    place = np.where(values == best[bag_of], np.arange(len(bag_of))[:, None], len(bag_of))
    np.minimum.at(first, bag_of, place)
    empty = first == len(bag_of)
    columns = np.broadcast_to(np.arange(shape[1]), shape)
    if not len(bag_of):
        return Tensor(beside(np.zeros(shape, rows.dtype), rows.data))
    picked = getitem(rows, index=(np.where(empty, 0, first), columns))
    return picked * beside((~empty).astype(rows.dtype), rows.data)


def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """One-hot encoding of indices.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.one_hot(nn.Tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    index = as_tensor(input).data
    count = int(index.max()) + 1 if num_classes == -1 else num_classes
    index = _rows(index, count, "one_hot")
    classes = namespace(index).arange(count)
    return Tensor((index[..., None] == classes).astype(np.int64))


complete(globals())
