"""Batches of sequences of different lengths, as in ``torch.nn.utils.rnn``.

A packed batch holds the rows of all sequences and no padding: those of the first step, then those
of the second, and so on, the longest sequence first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._arrays import namespace
from .._documents import complete
from .._shape import cat
from .._tape import Rule
from .._tensor import Tensor, as_array, as_tensor


def _place(rows: Any, index: Any, count: int, value: float) -> Any:
    placed = namespace(rows).full((count, *rows.shape[1:]), value, rows.dtype)
    placed[index] = rows
    return placed


# Rows by number, and their inverse, which fills the other places up; no number comes twice.
_chosen: Rule = Rule(
    "pack",
    lambda rows, index: rows[index],
    lambda g, saved, node: _placed(
        g, index=node.options["index"], count=node.parents[0].shape[0], value=0
    ),
)
_placed: Rule = Rule(
    "pad", _place, lambda g, saved, node: _chosen(g, index=node.options["index"])
)


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """A batch of sequences without padding, which recurrent layers take and give.

    Made by :func:`pack_padded_sequence` and :func:`pack_sequence`.

    Parameters
    ----------
    data : Tensor of shape (n, ...)
        Rows of all sequences, step by step.
    batch_sizes : Tensor of shape (t,), int64
        How many sequences have each step.
    sorted_indices, unsorted_indices : Tensor of shape (b,), int64, optional
        Places of the sorted sequences in the original batch, and the inverse; one gives the other.
        None if they were sorted.

    Examples
    --------
    >>> from kernelmill import nn
    >>> packed = nn.utils.rnn.pack_sequence([nn.Tensor([1.0, 2.0, 3.0]), nn.Tensor([4.0])])
    >>> packed.data, packed.batch_sizes
    (tensor([1., 4., 2., 3.]), tensor([2, 1, 1]))
    """

    __slots__ = ()

    def __new__(
        cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None,
        unsorted_indices: Any = None,
    ) -> PackedSequence:  # fmt: skip
        if batch_sizes is None:  # a pair, as in torch
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        rest = [None if a is None else _whole(a) for a in (sorted_indices, unsorted_indices)]
        return super().__new__(cls, as_tensor(data), _whole(batch_sizes), *rest)

    def _with(self, data: Tensor) -> PackedSequence:
        return self._replace(data=data)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Convert or move the data.

        Parameters
        ----------
        *args, **kwargs
            As for ``Tensor.to``.

        Returns
        -------
        PackedSequence
            The same batch over other data.
        """
        return self._with(self.data.to(*args, **kwargs))

    def float(self) -> PackedSequence:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> PackedSequence:
        """Convert to float64."""
        return self.to(np.float64)

    def cpu(self) -> PackedSequence:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self) -> PackedSequence:
        """Move to the GPU."""
        return self.to("cuda")


def _whole(values: Any) -> Tensor:
    """A tensor of int64 on the CPU."""
    return Tensor(np.asarray(as_array(values)).astype(np.int64, copy=False))


def invert_permutation(permutation: Any) -> Tensor | None:
    """The places that a permutation takes its entries from; None gives None.

    Parameters
    ----------
    permutation : Tensor or array of int, or None
        Each number from 0 on once.

    Returns
    -------
    inverse : Tensor or None
        ``inverse[permutation[i]] = i``.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.rnn.invert_permutation([2, 0, 1])
    tensor([1, 2, 0])
    """
    return None if permutation is None else Tensor(np.argsort(_whole(permutation).data))


def _checked_lengths(name: str, lengths: Any, batch: int) -> np.ndarray:
    found = _whole(lengths).data
    if found.shape != (batch,):
        raise RuntimeError(
            f"nn.utils.rnn.{name}: lengths must have one entry for each of {batch} sequences, got "
            f"shape {found.shape}"
        )
    return found


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Remove the padding of a batch of sequences.

    Parameters
    ----------
    input : Tensor of shape (T, B, ...), or (B, T, ...) with ``batch_first``
        Padded sequences.
    lengths : sequence of int
        How many steps of each sequence count, at least 1.
    batch_first : bool, default=False
        The batch is the first axis.
    enforce_sorted : bool, default=True
        Raise unless lengths never rise; False sorts the sequences, and results are given in the
        original order.

    Returns
    -------
    packed : PackedSequence
        Gradients flow back to the input.

    Raises
    ------
    RuntimeError
        If lengths do not fit.

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.Tensor([[1.0, 0.0], [2.0, 3.0]])
    >>> nn.utils.rnn.pack_padded_sequence(x, [1, 2], True, enforce_sorted=False).data
    tensor([2., 1., 3.])
    """
    name, x = "pack_padded_sequence", as_tensor(input)
    if x.ndim < 2:
        raise RuntimeError(
            f"nn.utils.rnn.{name}: input must have an axis of steps and one of sequences, got "
            f"shape {x.shape}"
        )
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    given = _checked_lengths(name, lengths, batch)
    if batch == 0 or given.min() < 1:
        raise RuntimeError(
            f"nn.utils.rnn.{name}: lengths must be at least 1, got "
            f"{given.min() if batch else 'none'} (leave empty sequences out)"
        )
    if given.max() > steps:
        raise RuntimeError(
            f"nn.utils.rnn.{name}: lengths must be at most {steps}, the steps of input, got "
            f"{given.max()}"
        )
    order = None
    if not enforce_sorted:
        order = np.argsort(-given, kind="stable")
    elif (np.diff(given) > 0).any():
        raise RuntimeError(
            f"nn.utils.rnn.{name}: lengths must never rise, got {given.tolist()} "
            "(enforce_sorted=False sorts them)"
        )
    sequences = np.arange(batch) if order is None else order
    exists = np.arange(given.max())[:, None] < given[sequences]  # steps by sequences
    step, place = np.nonzero(exists)
    places = sequences[place]
    index = places * steps + step if batch_first else step * batch + places
    rows = _chosen(x.reshape(steps * batch, *x.shape[2:]), index=index)
    return PackedSequence(rows, exists.sum(1), order)


def pad_packed_sequence(
    sequence: Any, batch_first: bool = False, padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Pad a packed batch of sequences, in its original order.

    Parameters
    ----------
    sequence : PackedSequence
        The batch.
    batch_first : bool, default=False
        Make the batch the first axis.
    padding_value : float, default=0.0
        What is put behind each sequence.
    total_length : int, optional
        Steps of the result; those of the longest sequence by default.

    Returns
    -------
    output : Tensor of shape (T, B, ...) or (B, T, ...)
        The sequences with their padding.
    lengths : Tensor of shape (B,), int64
        Their lengths.

    Raises
    ------
    ValueError
        If ``total_length`` is too small.

    Examples
    --------
    >>> from kernelmill import nn
    >>> packed = nn.utils.rnn.pack_sequence([nn.Tensor([1.0, 2.0]), nn.Tensor([3.0])])
    >>> nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    (tensor([[1., 2.],
            [3., 0.]]), tensor([2, 1]))
    """
    data, sizes = sequence.data, sequence.batch_sizes.data
    batch = int(sizes[0])
    steps = len(sizes) if total_length is None else int(total_length)
    if steps < len(sizes):
        raise ValueError(
            "nn.utils.rnn.pad_packed_sequence: total_length must be at least the length of the "
            f"longest sequence, {len(sizes)}, got {total_length}"
        )
    exists = np.arange(batch) < sizes[:, None]
    step, place = np.nonzero(exists)
    lengths = exists.sum(0)
    if sequence.sorted_indices is not None:
        place = sequence.sorted_indices.data[place]
        lengths = lengths[sequence.unsorted_indices.data]
    index = place * steps + step if batch_first else step * batch + place
    rows = _placed(data, index=index, count=steps * batch, value=padding_value)
    shape = (batch, steps) if batch_first else (steps, batch)
    output = rows.reshape(*shape, *data.shape[1:])
    return output, Tensor(lengths.astype(np.int64))


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Stack sequences of different lengths into one padded batch.

    Parameters
    ----------
    sequences : sequence of Tensor of shape (length, ...)
        The sequences.
    batch_first : bool, default=False
        Make the batch the first axis.
    padding_value : float, default=0.0
        What fills up the shorter ones.
    padding_side : {"right", "left"}, default="right"
        Behind or before the sequence.

    Returns
    -------
    padded : Tensor of shape (T, B, ...) or (B, T, ...)
        Gradients flow back to the sequences.

    Raises
    ------
    RuntimeError
        If there is no sequence, or shapes differ behind the first axis.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.rnn.pad_sequence([nn.Tensor([1.0, 2.0]), nn.Tensor([3.0])], batch_first=True)
    tensor([[1., 2.],
            [3., 0.]])
    """
    rows = [as_tensor(s) for s in sequences]
    if not rows or any(s.shape[1:] != rows[0].shape[1:] or s.ndim == 0 for s in rows):
        raise RuntimeError(
            "nn.utils.rnn.pad_sequence: sequences must be at least one, of equal shapes behind "
            f"the first axis, got {[s.shape for s in rows]}"
        )
    if padding_side not in ("right", "left"):
        raise ValueError(
            f"nn.utils.rnn.pad_sequence: padding_side must be right or left, got {padding_side!r}"
        )
    lengths = np.array([len(s) for s in rows])
    steps = int(lengths.max())
    step = np.concatenate([
        np.arange(n) + (0 if padding_side == "right" else steps - n) for n in lengths
    ])
    place = np.repeat(np.arange(len(rows)), lengths)
    index = place * steps + step if batch_first else step * len(rows) + place
    placed = _placed(cat(rows), index=index, count=steps * len(rows), value=padding_value)
    shape = (len(rows), steps) if batch_first else (steps, len(rows))
    return placed.reshape(*shape, *rows[0].shape[1:])


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """Cut a padded batch into its sequences.

    Parameters
    ----------
    padded_sequences : Tensor of shape (T, B, ...), or (B, T, ...) with ``batch_first``
        The batch.
    lengths : sequence of int
        Lengths of the sequences.
    batch_first : bool, default=False
        The batch is the first axis.

    Returns
    -------
    sequences : list of Tensor of shape (length, ...)
        The sequences.

    Raises
    ------
    RuntimeError
        If there is not one length for each sequence.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.rnn.unpad_sequence(nn.Tensor([[1.0, 2.0], [3.0, 0.0]]), [2, 1], batch_first=True)
    [tensor([1., 2.]), tensor([3.])]
    """
    x = as_tensor(padded_sequences)
    if not batch_first:
        x = x.transpose(0, 1)
    found = _checked_lengths("unpad_sequence", lengths, len(x))
    return [x[i, :n] for i, n in enumerate(found.tolist())]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of different lengths.

    Parameters
    ----------
    sequences : sequence of Tensor of shape (length, ...)
        The sequences, none empty.
    enforce_sorted : bool, default=True
        As for :func:`pack_padded_sequence`.

    Returns
    -------
    packed : PackedSequence
        Gradients flow back to the sequences.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.utils.rnn.pack_sequence([nn.Tensor([1.0, 2.0]), nn.Tensor([3.0])]).data
    tensor([1., 3., 2.])
    """
    lengths = [len(as_tensor(s)) for s in sequences]
    return pack_padded_sequence(
        pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted
    )


def unpack_sequence(packed_sequences: Any) -> list[Tensor]:
    """Cut a packed batch into its sequences, in their original order.

    Parameters
    ----------
    packed_sequences : PackedSequence
        The batch.

    Returns
    -------
    sequences : list of Tensor of shape (length, ...)
        The sequences.

    Examples
    --------
    >>> from kernelmill import nn
    >>> packed = nn.utils.rnn.pack_sequence([nn.Tensor([1.0, 2.0]), nn.Tensor([3.0])])
    >>> nn.utils.rnn.unpack_sequence(packed)
    [tensor([1., 2.]), tensor([3.])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


complete(globals())
__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]
