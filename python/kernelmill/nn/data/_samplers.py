"""Samplers: in which order, and in which batches, samples are read.

Each draws from a generator of its own, so that no loader disturbs another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..._estimator._parameters import is_integer
from .._documents import complete
from .._random import Generator, current, multinomial, randint, randperm
from .._tensor import as_array


def own(generator: Generator | None) -> Generator:
    """The generator given, or a new one whose seed is drawn from the default generator."""
    return current().fork() if generator is None else generator


def _count(owner: str, name: str, value: Any) -> int:
    if not (is_integer(value) and value >= 1):
        raise ValueError(f"{owner}: {name} must be a whole number above 0, got {value!r}")
    return int(value)


class Sampler:
    """Base of the samplers: iterables over numbers of samples, or over lists of them.

    Parameters
    ----------
    data_source : object, optional
        Ignored; present for compatibility with torch.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> class Backwards(data.Sampler):
    ...     def __iter__(self):
    ...         return iter([2, 1, 0])
    >>> list(data.BatchSampler(Backwards(), 2, drop_last=False))
    [[2, 1], [0]]
    """

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__}: __iter__ must be written, got none")


class _Ordered(Sampler):
    """A sampler that knows the order of an epoch at once, as an array or a range."""

    def _order(self) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        order = self._order()
        return iter(order if isinstance(order, range) else order.tolist())


class SequentialSampler(_Ordered):
    """All samples in order.

    Parameters
    ----------
    data_source : Dataset
        The samples.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> list(data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def _order(self) -> range:
        return range(len(self.data_source))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(_Ordered):
    """All samples in a random order, a new one in each epoch; or some, with replacement.

    Parameters
    ----------
    data_source : Dataset
        The samples.
    replacement : bool, default=False
        Whether a sample may be drawn again.
    num_samples : int, optional
        How many to draw; all by default. Without replacement, more than all are drawn from one
        permutation after another.
    generator : Generator, optional
        Its own, seeded from the default one, if not given.

    Examples
    --------
    >>> from kernelmill import nn
    >>> sampler = nn.data.RandomSampler("abcd", generator=nn.Generator(0))
    >>> sorted(sampler) == sorted(sampler) == [0, 1, 2, 3]
    True
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.data_source, self.replacement = data_source, bool(replacement)
        self._num_samples = num_samples
        if num_samples is not None:
            _count("RandomSampler", "num_samples", num_samples)
        self.generator = own(generator)

    @property
    def num_samples(self) -> int:
        """Samples of an epoch."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def _order(self) -> np.ndarray:
        n, wanted = len(self.data_source), self.num_samples
        if not n:
            return np.zeros(0, np.int64)
        if self.replacement:
            return randint(n, size=(wanted,), generator=self.generator).data
        parts = [randperm(n, generator=self.generator).data for _ in range(-(-wanted // n))]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts))[:wanted]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_Ordered):
    """Some samples in a random order.

    Parameters
    ----------
    indices : sequence of int
        Their numbers.
    generator : Generator, optional

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> sorted(data.SubsetRandomSampler([5, 7, 9]))
    [5, 7, 9]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, own(generator)

    def _order(self) -> np.ndarray:
        order = randperm(len(self.indices), generator=self.generator).data
        return np.asarray(self.indices, dtype=np.int64)[order]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_Ordered):
    """Samples drawn with given probabilities.

    Parameters
    ----------
    weights : sequence of float
        One for each sample; they need not sum to 1.
    num_samples : int
        How many to draw in an epoch.
    replacement : bool, default=True
        Whether a sample may be drawn again.
    generator : Generator, optional

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> list(data.WeightedRandomSampler([0.0, 1.0, 0.0], 3))
    [1, 1, 1]
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.weights = np.asarray(as_array(weights), dtype=np.float64)
        if self.weights.ndim != 1:
            raise ValueError(
                f"WeightedRandomSampler: weights must have one axis, got {self.weights.ndim}"
            )
        self.num_samples = _count("WeightedRandomSampler", "num_samples", num_samples)
        self.replacement, self.generator = bool(replacement), own(generator)

    def _order(self) -> np.ndarray:
        drawn = multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        return drawn.data

    def __len__(self) -> int:
        return self.num_samples


class StratifiedSampler(_Ordered):
    """A random order in which every run of samples has nearly the shares of the classes.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Class of each sample.
    generator : Generator, optional

    Notes
    -----
    The samples of a class are shuffled and spread evenly over the epoch: with p the share of a
    class among C, a batch of b samples holds b p of it, give or take ``1 + p (C - 2)``.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.nn import data
    >>> y = np.array([0] * 90 + [1] * 10)
    >>> order = np.array(list(data.StratifiedSampler(y)))
    >>> [int(y[order[i : i + 20]].sum()) for i in range(0, 100, 20)]
    [2, 2, 2, 2, 2]
    """

    def __init__(self, labels: Any, generator: Generator | None = None) -> None:
        labels = np.asarray(as_array(labels))
        if labels.ndim != 1:
            raise ValueError(f"StratifiedSampler: labels must have one axis, got {labels.ndim}")
        _, self._codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self._counts, self.generator = counts, own(generator)

    def _order(self) -> np.ndarray:
        shuffled = randperm(len(self._codes), generator=self.generator).data
        by_class = shuffled[np.argsort(self._codes[shuffled], kind="stable")]
        starts = np.cumsum(self._counts) - self._counts
        rank = np.arange(len(by_class)) - np.repeat(starts, self._counts)
        place = (rank + 0.5) / np.repeat(self._counts, self._counts)
        return by_class[np.argsort(place, kind="stable")]

    def __len__(self) -> int:
        return len(self._codes)


class BatchSampler(Sampler):
    """Batches of the numbers that another sampler gives.

    Parameters
    ----------
    sampler : Sampler or iterable of int
        Gives the numbers.
    batch_size : int
        Samples of a batch.
    drop_last : bool
        Leave out a last, shorter batch.

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> list(data.BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler, self.drop_last = sampler, bool(drop_last)
        self.batch_size = _count("BatchSampler", "batch_size", batch_size)

    def _slices(self) -> Iterator[Any]:
        """Batches as lists, or slices of the order where that is known at once."""
        size = self.batch_size
        if isinstance(self.sampler, _Ordered):
            order = self.sampler._order()
            stop = len(order) - len(order) % size if self.drop_last else len(order)
            for start in range(0, stop, size):
                yield order[start : start + size]
            return
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __iter__(self) -> Iterator[list[int]]:
        return (b.tolist() if isinstance(b, np.ndarray) else [*b] for b in self._slices())

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class BucketBatchSampler(Sampler):
    """Batches of samples of similar length, so that little is padded.

    Parameters
    ----------
    lengths : array-like of int, shape (n,)
        Length of each sample.
    batch_size : int
        Most samples of a batch.
    shuffle : bool, default=True
        Sort within random pools of samples, and give the batches in random order; all samples are
        sorted otherwise.
    drop_last : bool, default=False
        Leave out batches of fewer samples than ``batch_size``.
    max_tokens : int, optional
        Most places of a padded batch: its samples times its longest one. A sample that is longer
        is a batch of its own.
    pool : int, default=100
        Batches whose samples are sorted together.
    generator : Generator, optional

    Examples
    --------
    >>> from kernelmill.nn import data
    >>> list(data.BucketBatchSampler([5, 1, 4, 2], 2, shuffle=False))
    [[1, 3], [2, 0]]
    """

    def __init__(
        self, lengths: Any, batch_size: int, shuffle: bool = True, drop_last: bool = False, *,
        max_tokens: int | None = None, pool: int = 100, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.lengths = np.asarray(as_array(lengths))
        if self.lengths.ndim != 1 or self.lengths.dtype.kind not in "iu":
            raise ValueError(
                "BucketBatchSampler: lengths must be one whole number for each sample, got "
                f"{self.lengths.dtype} of shape {self.lengths.shape}"
            )
        self.batch_size = _count("BucketBatchSampler", "batch_size", batch_size)
        self.pool = _count("BucketBatchSampler", "pool", pool)
        if max_tokens is not None:
            _count("BucketBatchSampler", "max_tokens", max_tokens)
        self.shuffle, self.drop_last, self.max_tokens = bool(shuffle), bool(drop_last), max_tokens
        self.generator = own(generator) if shuffle else None

    def __iter__(self) -> Iterator[list[int]]:
        n = len(self.lengths)
        order, pool = np.arange(n), max(n, 1)
        if self.shuffle:
            order, pool = randperm(n, generator=self.generator).data, self.pool * self.batch_size
        batches = []
        for start in range(0, n, pool):
            part = order[start : start + pool]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += self._cut(part)
        if self.drop_last:
            batches = [batch for batch in batches if len(batch) == self.batch_size]
        if self.shuffle:
            places = randperm(len(batches), generator=self.generator).tolist()
            batches = [batches[place] for place in places]
        return iter(batches)

    def _cut(self, part: np.ndarray) -> list[list[int]]:
        """Batches of samples in ascending order of length."""
        if self.max_tokens is None:
            size = self.batch_size
            return [part[i : i + size].tolist() for i in range(0, len(part), size)]
        batches: list[list[int]] = [[]]
        for index in part.tolist():
            batch = batches[-1]
            full = (len(batch) + 1) * int(self.lengths[index]) > self.max_tokens
            if batch and (full or len(batch) == self.batch_size):
                batches.append([])
            batches[-1].append(index)
        return [batch for batch in batches if batch]

    def __len__(self) -> int:
        if self.max_tokens is not None:
            raise TypeError(
                "BucketBatchSampler: the number of batches is not known beforehand with max_tokens"
            )
        n, size = len(self.lengths), self.batch_size
        return n // size if self.drop_last else -(-n // size)


complete(globals())
