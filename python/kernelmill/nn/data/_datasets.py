"""Data sets: what a loader takes samples from, by number or one after another."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..._arrays import is_sparse, namespace, to_host
from .._documents import complete
from .._random import Generator, randperm
from .._tensor import Tensor, as_array


class Dataset:
    """Base of the data sets whose samples have numbers.

    A subclass has ``__getitem__``, and ``__len__`` where samplers need it. With
    ``__getitems__(indices)`` it may also read the samples of a batch at once.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> class Squares(data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> [batch[1].tolist() for batch in data.DataLoader(Squares(), batch_size=2)]
    [[0, 1], [4, 9]]
    """

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: __getitem__ must be written, got none")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base of the data sets that are read from the beginning to the end.

    A subclass has ``__iter__``, which starts anew each time.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> class Lines(data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter([1.0, 2.0, 3.0])
    >>> [batch.tolist() for batch in data.DataLoader(Lines(), batch_size=2)]
    [[1.0, 2.0], [3.0]]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__}: __iter__ must be written, got none")

    def __add__(self, other: Any) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


def rows_of(array: Any, indices: Any) -> Any:
    """Rows of an array at some places, as a new dense array; consecutive ones by a range."""
    if isinstance(indices, range):
        taken = array[indices.start : indices.stop]
        return taken.toarray() if is_sparse(taken) else taken.copy()
    if is_sparse(array):
        return array[indices].toarray()
    xp = namespace(array)
    return xp.take(array, xp.asarray(indices), axis=0)


class TensorDataset(Dataset):
    """Tensors or arrays of equal length: sample i holds row i of each.

    Parameters
    ----------
    *tensors : Tensor, array or CSR matrix
        Equal in their first axis. Rows of a sparse matrix become dense, batch by batch.

    Attributes
    ----------
    tensors : tuple
        As given.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.nn import data
    >>> rows = data.TensorDataset(np.zeros((3, 2)), np.arange(3))
    >>> len(rows), rows[1][1].item()
    (3, 1)
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tensors
        self._arrays = [
            t if is_sparse(t) else t.data if isinstance(t, Tensor) else as_array(t) for t in tensors
        ]
        lengths = [a.shape[0] if a.ndim else None for a in self._arrays]
        if not lengths or len(set(lengths)) > 1 or None in lengths:
            raise ValueError(
                f"TensorDataset: tensors must be one or more of equal length, got lengths {lengths}"
            )

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(rows_of(a, [index])[0] if is_sparse(a) else a[index]) for a in self._arrays
        )

    def __len__(self) -> int:
        return self._arrays[0].shape[0]

    def _batch(self, indices: Any) -> list[Tensor]:
        """The samples of a batch, collated."""
        return [Tensor(rows_of(a, indices)) for a in self._arrays]


class StackDataset(Dataset):
    """Data sets side by side: sample i holds sample i of each.

    Parameters
    ----------
    *args : Dataset or sequence
        Of equal length; samples are tuples.
    **kwargs : Dataset or sequence
        Instead of these; samples are dicts.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> data.StackDataset(x=[1, 2], target=["a", "b"])[1]
    {'x': 2, 'target': 'b'}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.datasets: Any = args or kwargs
        lengths = {len(one) for one in (args or kwargs.values())}
        if len(lengths) != 1 or (args and kwargs):
            raise ValueError(
                "StackDataset: datasets must be one or more of equal length, all by position or "
                f"all by name, got lengths {sorted(lengths)}"
            )

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: one[index] for name, one in self.datasets.items()}
        return tuple(one[index] for one in self.datasets)

    def __len__(self) -> int:
        kept = self.datasets
        return len(next(iter(kept.values() if isinstance(kept, dict) else kept)))


class Subset(Dataset):
    """Some samples of a data set.

    Parameters
    ----------
    dataset : Dataset
        Or a sequence.
    indices : sequence of int
        Their numbers, in order.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> list(data.Subset("abcde", [4, 0]))
    ['e', 'a']
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices
        if hasattr(dataset, "_batch"):
            self._batch = self._batched

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    @functools.cached_property
    def _places(self) -> np.ndarray:
        return np.asarray(self.indices, dtype=np.int64)

    def _batched(self, indices: Any) -> list[Tensor]:
        return self.dataset._batch(self._places[np.asarray(indices)])


class ConcatDataset(Dataset):
    """Data sets one after another.

    Parameters
    ----------
    datasets : iterable of Dataset
        Each with a length.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> joined = data.ConcatDataset(["abc", "de"])
    >>> len(joined), joined[3], joined[-1]
    (5, 'd', 'e')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = [*datasets]
        if not self.datasets or any(isinstance(d, IterableDataset) for d in self.datasets):
            raise ValueError(
                "ConcatDataset: datasets must be one or more with lengths, got "
                f"{[type(d).__name__ for d in self.datasets]} (ChainDataset joins iterable ones)"
            )
        self.cumulative_sizes = [*itertools.accumulate(len(d) for d in self.datasets)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"ConcatDataset: index must be below {len(self)}, got {index}")
        number = bisect.bisect_right(self.cumulative_sizes, place)
        return self.datasets[number][place - (self.cumulative_sizes[number - 1] if number else 0)]


class ChainDataset(IterableDataset):
    """Iterable data sets one after another.

    Parameters
    ----------
    datasets : iterable of IterableDataset
        Or other iterables.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> list(data.ChainDataset([[1, 2], [3]]))
    [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = [*datasets]

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)


class StreamDataset(IterableDataset):
    """Rows that are read chunk by chunk: files, memory maps, lazy tables, Dask collections.

    Parameters
    ----------
    X : anything that `kernelmill.stream.source` takes
        Rows of features.
    y : array-like of shape (n,) or (n, n_outputs), optional
        Targets of all rows, in memory.
    target : int or str, optional
        The column of X that is the target instead; a name where X has names.
    shuffle_rows : int, default=100_000
        Rows among which a loader with ``shuffle=True`` shuffles at a time. Chunks come in order.

    Notes
    -----
    A batch holds the rows, the targets if there are any, and the weights if the stream has any, all
    in the dtype of the stream; targets given as `y` keep theirs.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import stream
    >>> from kernelmill.nn import data
    >>> rows = stream.source(np.arange(10.0).reshape(5, 2), chunk_rows=2)
    >>> loader = data.DataLoader(data.StreamDataset(rows, target=1), batch_size=3)
    >>> [y.tolist() for X, y in loader]
    [[1.0, 3.0, 5.0], [7.0, 9.0]]
    """

    def __init__(
        self, X: Any, y: Any = None, *, target: int | str | None = None,
        shuffle_rows: int = 100_000,
    ) -> None:  # fmt: skip
        from ...stream import source

        self.source = source(X, owner="StreamDataset")
        self.y = None if y is None else np.asarray(to_host(as_array(y)))
        self.shuffle_rows = shuffle_rows
        self._target: int | None = None
        if target is not None and y is not None:
            raise ValueError("StreamDataset: target must be None beside y, got both")
        if isinstance(target, str):
            names = self.source.feature_names
            known = [] if names is None else names.tolist()
            if target not in known:
                raise ValueError(f"StreamDataset: target must be one of {known}, got {target!r}")
            self._target = known.index(target)
        elif target is not None:
            if not -self.source.n_features <= target < self.source.n_features:
                raise ValueError(
                    f"StreamDataset: target must be one of {self.source.n_features} columns, got "
                    f"{target}"
                )
            self._target = target % self.source.n_features

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for batch in self._batches(1, None):
            yield tuple(t[0] for t in batch)

    def _batches(self, size: int, generator: Generator | None) -> Iterator[list[Tensor]]:
        """Batches of rows in order, or shuffled in windows by a generator."""
        from ...stream._source import rechunk

        chunks: Iterator[Any] = self._numbered()
        if generator is not None:
            chunks = self._shuffled(rechunk(chunks, self.shuffle_rows), generator)
        for X, more in rechunk(chunks, size):
            X = X.toarray() if is_sparse(X) else to_host(X)
            numbers, weight = more[:, 0].astype(np.int64), more[:, 1]
            batch = []
            if self._target is not None:
                batch = [np.delete(X, self._target, axis=1), X[:, self._target].copy()]
            elif self.y is not None:
                batch = [X, self.y[numbers]]
            batch = batch or [X]
            if not math.isnan(weight[0]):
                batch.append(weight.astype(X.dtype))
            yield [Tensor(part) for part in batch]

    def _numbered(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Chunks with, for each row, its number and its weight, NaN if there is none."""
        start = stop = 0
        for X, w in self.source:
            stop = start + X.shape[0]
            if self.y is not None and stop > len(self.y):
                stop = self.source.count_rows()
                break
            weight = np.full(X.shape[0], math.nan) if w is None else to_host(w)
            yield X, np.column_stack([np.arange(start, stop, dtype=np.float64), weight])
            start = stop
        if self.y is not None and stop != len(self.y):
            raise ValueError(
                f"StreamDataset: y must have one entry for each of {stop} rows, got {len(self.y)}"
            )

    @staticmethod
    def _shuffled(windows: Iterator[Any], generator: Generator) -> Iterator[Any]:
        for X, more in windows:
            order = randperm(X.shape[0], generator=generator).data
            yield X[order], more[order]


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Split a data set at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
        Or a sequence.
    lengths : sequence of int or float
        Sizes of the parts, or shares that sum to 1; rows that remain go to the first parts.
    generator : Generator, optional

    Returns
    -------
    parts : list of Subset
        In the order of ``lengths``.

    Raises
    ------
    ValueError
        If the lengths do not add up.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> [len(part) for part in data.random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    n = len(dataset)
    sizes: list[Any] = [*lengths]
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1 + 1e-9 and all(0 <= s <= 1 for s in sizes):
        sizes = [math.floor(n * share) for share in sizes]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != n or any(s != int(s) or s < 0 for s in sizes):
        raise ValueError(
            f"random_split: lengths must add up to {n}, or be shares that add up to 1, got "
            f"{[*lengths]}"
        )
    order = randperm(n, generator=generator).tolist()
    ends = [*itertools.accumulate(int(s) for s in sizes)]
    return [Subset(dataset, order[a:b]) for a, b in itertools.pairwise([0, *ends])]


complete(globals())
