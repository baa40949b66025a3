"""Samples joined into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._arrays import is_cupy, namespace
from .._documents import complete
from .._dtypes import holds_numbers
from .._tensor import Tensor, as_array


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray | np.generic) or is_cupy(value)


def default_convert(data: Any) -> Any:
    """Turn arrays into tensors, also inside lists, tuples and dicts; leave the rest.

    Parameters
    ----------
    data : object
        Arrays, perhaps inside other objects.

    Returns
    -------
    data : object
        Of the same structure.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.nn import data
    >>> data.default_convert({"x": np.ones(2, np.float32), "name": "a"})
    {'x': tensor([1., 1.]), 'name': 'a'}
    """
    if isinstance(data, Tensor):
        return data
    if _is_array(data):
        array = as_array(data)
        return Tensor(array) if (array.dtype.kind == "c" or holds_numbers(array.dtype)) else data
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, list | tuple):
        return [default_convert(value) for value in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Join samples into a batch: arrays and numbers are stacked along a new first axis.

    Parameters
    ----------
    batch : sequence of samples
        Tensors, arrays, numbers, texts, or lists, tuples and dicts of these.

    Returns
    -------
    batch : object
        A tensor for arrays and numbers; of the structure of the samples otherwise, with lists in
        place of tuples. Texts stay a list.

    Raises
    ------
    ValueError
        If arrays differ in shape.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> data.default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ['a', 'b']]
    """
    return _collated(batch, _stacked)


def _collated(batch: Sequence[Any], join: Any) -> Any:
    first = batch[0]
    if isinstance(first, bool | int | float):
        return join([np.asarray(one) for one in batch])  # float64 and int64, as in torch
    if _is_array(first):
        return join([as_array(one) for one in batch])
    if isinstance(first, Mapping):
        return {key: _collated([one[key] for one in batch], join) for key in first}
    if isinstance(first, str | bytes):
        return [*batch]
    if isinstance(first, list | tuple):
        if any(len(one) != len(first) for one in batch):
            lengths = sorted({len(one) for one in batch})
            raise ValueError(f"default_collate: samples must be of one length, got {lengths}")
        fields = [_collated(column, join) for column in zip(*batch, strict=True)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields
    raise TypeError(
        "default_collate: samples must be tensors, arrays, numbers, texts, or lists, tuples and "
        f"dicts of these, got {type(first).__name__} (pass collate_fn=)"
    )


def _stacked(arrays: list[Any]) -> Tensor:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"default_collate: samples must be of one shape, got {sorted(shapes)[:4]} (pad_collate "
            "pads sequences)"
        )
    return Tensor(namespace(arrays[0]).stack(arrays))


def pad_collate(batch: Sequence[Any], padding_value: Any = 0.0, lengths: bool = True) -> Any:
    """Join samples that hold sequences of unequal length into a batch, padded at the end.

    Parameters
    ----------
    batch : sequence of samples
        As for :func:`default_collate`; arrays may differ in their first axis.
    padding_value : float or sequence of float, default=0.0
        What to pad with; one for each field where samples are lists or tuples, such as
        ``(0, -100)`` for targets that a loss ignores.
    lengths : bool, default=True
        Also give the lengths before padding.

    Returns
    -------
    batch : Tensor or list
        The padded batch; with ``lengths`` a list of the batch's fields and, last, the lengths of
        the first field that has an axis, int64.

    Examples
    --------
    >>> from kernelmill import nn
    >>> samples = [(nn.Tensor([1.0, 2.0]), 0), (nn.Tensor([3.0]), 1)]
    >>> X, y, n = nn.data.pad_collate(samples)
    >>> X.tolist(), y.tolist(), n.tolist()
    ([[1.0, 2.0], [3.0, 0.0]], [0, 1], [2, 1])
    """
    fields = isinstance(batch[0], list | tuple)
    columns = [*zip(*batch, strict=True)] if fields else [batch]
    values = padding_value if isinstance(padding_value, list | tuple) else None
    if values is not None and len(values) != len(columns):
        raise ValueError(
            f"pad_collate: padding_value must be one number, or one for each of {len(columns)} "
            f"fields, got {len(values)}"
        )
    padded = []
    counts: Tensor | None = None
    for i, column in enumerate(columns):
        value = padding_value if values is None else values[i]
        padded.append(_collated(column, lambda arrays, value=value: _padded(arrays, value)))
        if counts is None and _is_array(column[0]) and as_array(column[0]).ndim:
            counts = Tensor(np.array([len(as_array(one)) for one in column], dtype=np.int64))
    if lengths and counts is not None:
        return [*padded, counts]
    return padded if fields else padded[0]


def _padded(arrays: list[Any], value: float) -> Tensor:
    if arrays[0].ndim == 0 or len({a.shape for a in arrays}) == 1:
        return _stacked(arrays)
    if len({a.shape[1:] for a in arrays}) > 1:
        shapes = sorted({a.shape for a in arrays})[:4]
        raise ValueError(
            f"pad_collate: sequences must differ in their first axis only, got shapes {shapes}"
        )
    xp = namespace(arrays[0])
    longest = max(a.shape[0] for a in arrays)
    joined = xp.full((len(arrays), longest, *arrays[0].shape[1:]), value, arrays[0].dtype)
    for row, array in zip(joined, arrays, strict=True):
        row[: array.shape[0]] = array
    return Tensor(joined)


complete(globals())
