"""The loader: batches of a data set, in an order that can be saved and restored."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..._estimator._parameters import is_integer
from ...ops import random as numbers
from .._documents import complete
from .._random import Generator, current, using
from ._collate import default_collate, default_convert
from ._datasets import IterableDataset, StreamDataset, TensorDataset
from ._prefetch import in_order
from ._samplers import BatchSampler, RandomSampler, SequentialSampler, _count

# Arguments of torch's loader that have no meaning for threads.
_IGNORED = {
    "in_order", "multiprocessing_context", "persistent_workers", "pin_memory", "pin_memory_device",
    "timeout", "worker_init_fn",
}  # fmt: skip


class _Iterable(IterableDataset):
    """Any iterable, or a function that returns an iterator."""

    def __init__(self, items: Any) -> None:
        self._items, self._read = items, False

    def __iter__(self) -> Iterator[Any]:
        made = self._items() if callable(self._items) else iter(self._items)
        if made is self._items:
            if self._read:
                raise ValueError(
                    "DataLoader: dataset must be iterable in each epoch, got an iterator that was "
                    "read before (pass a function that returns one, or a list)"
                )
            self._read = True
        return made


def as_dataset(given: Any) -> Any:
    """What a loader is given, as a data set."""
    if isinstance(given, tuple) and given and all(hasattr(part, "shape") for part in given):
        return TensorDataset(*given)
    if hasattr(given, "map_reduce"):  # a Source
        return StreamDataset(given)
    if isinstance(given, IterableDataset) or hasattr(given, "__getitem__"):
        return given
    if hasattr(given, "__iter__") or callable(given):
        return _Iterable(given)
    raise TypeError(
        "DataLoader: dataset must be a data set, a sequence, a tuple of arrays, a stream or an "
        f"iterable, got {type(given).__name__}"
    )


class DataLoader:
    """Batches of a data set, epoch after epoch.

    Parameters
    ----------
    dataset : Dataset, sequence, tuple of arrays, Source or iterable
        A tuple of arrays is a `TensorDataset`, a stream a `StreamDataset`. A function is called in
        each epoch and returns an iterator of samples.
    batch_size : int or None, default=1
        Samples of a batch; None gives single samples as they are.
    shuffle : bool, optional
        A new random order in each epoch. Of a stream, rows are shuffled in windows.
    sampler : Sampler or iterable of int, optional
        Gives the numbers of the samples instead.
    batch_sampler : Sampler or iterable of list of int, optional
        Gives lists of numbers instead.
    num_workers : int, default=0
        Threads that read batches ahead; 0 reads in the caller's thread. Iterable data sets are read
        by one thread. Order and content are the same at any number.
    collate_fn : callable, optional
        Joins a list of samples; `default_collate` by default.
    drop_last : bool, default=False
        Leave out a last, shorter batch.
    generator : Generator, optional
        Of the order; its own, seeded from the default one, if not given.
    prefetch_factor : int, optional
        Batches that are read ahead for each worker; 2 by default.
    **torch : object
        Accepted and ignored: ``pin_memory``, ``timeout`` and others of torch's processes.

    Attributes
    ----------
    epoch : int
        Epochs that were read to their end.

    Notes
    -----
    Random numbers that a data set draws from the default generator (:func:`kernelmill.nn.rand` and
    others, for augmentation) depend on the loader's generator, the epoch and the batch alone. A
    loader without ``shuffle`` draws from no generator that others use. An exception of a data set
    is raised here, after the batches before it; leaving an epoch early, Ctrl-C included, ends the
    threads and never waits long for them.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill import nn
    >>> X, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    >>> loader = nn.data.DataLoader((X, y), 4, shuffle=True, generator=nn.Generator(0))
    >>> [len(labels) for rows, labels in loader]
    [4, 2]

    Stop in the middle of an epoch and go on elsewhere:

    >>> for rows, labels in loader:
    ...     break
    >>> other = nn.data.DataLoader((X, y), 4, shuffle=True)
    >>> other.load_state_dict(loader.state_dict())
    >>> [len(labels) for rows, labels in other]
    [2]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        *,
        drop_last: bool = False,
        generator: Generator | None = None,
        prefetch_factor: int | None = None,
        **torch: Any,
    ) -> None:
        for option in torch:
            if option not in _IGNORED:
                raise TypeError(f"DataLoader: unexpected keyword argument {option!r}")
        self.dataset = as_dataset(dataset)
        self.num_workers, self.prefetch_factor = num_workers, prefetch_factor
        if not (is_integer(num_workers) and num_workers >= 0):
            raise ValueError(
                f"DataLoader: num_workers must be a whole number of at least 0, got {num_workers!r}"
            )
        if prefetch_factor is not None:
            _count("DataLoader", "prefetch_factor", prefetch_factor)
        self._iterable = isinstance(self.dataset, IterableDataset)
        self._check(batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.batch_size, self.drop_last = batch_size, bool(drop_last)
        self.shuffle = bool(shuffle)
        if generator is None:  # one that is not drawn from leaves the default one alone
            generator = current().fork() if shuffle else Generator(current().initial_seed())
        self.generator = generator
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if not self._iterable and batch_sampler is None:
            if sampler is None:
                self.sampler = (
                    RandomSampler(self.dataset, generator=generator)
                    if shuffle
                    else SequentialSampler(self.dataset)
                )
            if batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        # Where the data set joins the rows of a batch by itself, no sample is made.
        self._joins = collate_fn is None and hasattr(self.dataset, "_batch")
        if collate_fn is None:
            collate_fn = default_convert if batch_size is None else default_collate
        self.collate_fn = collate_fn
        self.epoch = self._position = self._skip = 0
        self._begun: list[list[int]] = []  # states when the epoch under way began

    def _check(
        self, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: Any
    ) -> None:
        """Refuse arguments that contradict each other."""
        clash = ""
        if self._iterable and (sampler is not None or batch_sampler is not None):
            clash = "sampler and batch_sampler must be None for an iterable dataset"
        elif self._iterable and shuffle and not hasattr(self.dataset, "_batches"):
            clash = "shuffle must be False for an iterable dataset"
        elif sampler is not None and shuffle:
            clash = "shuffle must be False beside sampler"
        elif batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            clash = "batch_size, shuffle, sampler and drop_last must be left out with batch_sampler"
        elif batch_size is None and drop_last:
            clash = "drop_last must be False with batch_size=None"
        if clash:
            raise ValueError(f"DataLoader: {clash}, got both")
        if batch_size is not None:
            _count("DataLoader", "batch_size", batch_size)

    # --- the position -----------------------------------------------------------------------------

    def _generators(self) -> list[Generator]:
        """All generators that the order comes from, each once."""
        found: dict[int, Generator] = {id(self.generator): self.generator}
        inner = getattr(self.batch_sampler, "sampler", None)
        for holder in (self.sampler, self.batch_sampler, inner):
            one = getattr(holder, "generator", None)
            if isinstance(one, Generator):
                found[id(one)] = one
        return [*found.values()]

    def _states(self) -> list[list[int]]:
        return [[*generator.get_state()] for generator in self._generators()]

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: after the last batch that it gave.

        Returns
        -------
        state : dict
            ``epoch``, ``position`` (batches given in it) and ``generators`` (their states when the
            epoch began); plain numbers.
        """
        states = self._begun or self._states()
        return {"epoch": self.epoch, "position": self._position, "generators": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next iteration go on from a saved place.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` of a loader with the same arguments returned.

        Raises
        ------
        ValueError
            If it belongs to a loader with other samplers.

        Notes
        -----
        Batches before the place are not read from data sets with numbers; iterable ones are read up
        to it. A sampler of your own must give the same order again.
        """
        generators = self._generators()
        if len(generators) != len(state_dict["generators"]):
            raise ValueError(
                f"DataLoader: state_dict must have the states of {len(generators)} generators, got "
                f"{len(state_dict['generators'])} (were the samplers others?)"
            )
        for generator, state in zip(generators, state_dict["generators"], strict=True):
            generator.set_state(state)
        self.epoch = int(state_dict["epoch"])
        self._skip = self._position = int(state_dict["position"])
        self._begun = []

    # --- an epoch ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        if not self._iterable:
            chosen = self.sampler if self.batch_sampler is None else self.batch_sampler
            return len(chosen)
        n, size = len(self.dataset), self.batch_size or 1
        return n // size if self.drop_last else -(-n // size)

    def __iter__(self) -> Iterator[Any]:
        self._begun = self._states()
        skip, self._skip = self._skip, 0
        self._position = skip
        return self._given(self._read(skip))

    def _given(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, counted."""
        try:
            for batch in batches:
                self._position += 1
                yield batch
        finally:
            getattr(batches, "close", lambda: None)()
        self.epoch, self._position, self._begun = self.epoch + 1, 0, []

    def _read(self, skip: int) -> Iterator[Any]:
        # Data sets that only take rows draw no random numbers.
        seed = None if self._joins else self.generator.draw()
        if self._iterable:
            batches = self._in_sequence(seed, skip)
            if self.num_workers:
                from ...stream._source import read_ahead

                return (batch for (batch,) in read_ahead((b,) for b in batches))
            return batches
        if self.batch_sampler is not None:
            slices = getattr(self.batch_sampler, "_slices", self.batch_sampler.__iter__)
            chosen: Iterable[Any] = slices()
        else:
            assert self.sampler is not None
            chosen = self.sampler
        numbered = itertools.islice(enumerate(chosen), skip, None)
        jobs = (functools.partial(self._fetch, indices, seed, i) for i, indices in numbered)
        if self.num_workers:
            return in_order(jobs, self.num_workers, self.num_workers * (self.prefetch_factor or 2))
        return (job() for job in jobs)

    def _fetch(self, indices: Any, seed: tuple[int, int] | None, number: int) -> Any:
        """One batch of a data set with numbers."""
        if seed is None and self.batch_size is not None:
            return self.dataset._batch(indices)
        with using(_of_batch(seed or (0, 0), number)):
            if self.batch_sampler is None:
                return self.collate_fn(self.dataset[indices])
            places = indices.tolist() if isinstance(indices, np.ndarray) else [*indices]
            together = getattr(self.dataset, "__getitems__", None)
            samples = [self.dataset[i] for i in places] if together is None else together(places)
            return self.collate_fn(samples)

    def _in_sequence(self, seed: tuple[int, int] | None, skip: int) -> Iterator[Any]:
        """Batches of an iterable data set."""
        rows = isinstance(self.dataset, StreamDataset) and self.batch_size is not None
        if rows and self.collate_fn is default_collate:
            assert seed is not None
            made = self.dataset._batches(
                self.batch_size, _of_batch(seed, 0) if self.shuffle else None
            )
            size = self.batch_size or 1
            whole = (b for b in made if not (self.drop_last and len(b[0]) < size))
            yield from itertools.islice(whole, skip, None)
            return
        assert seed is not None
        samples = iter(self.dataset)
        for number in itertools.count():
            with using(_of_batch(seed, number)):
                if self.batch_size is None:
                    chosen = [*itertools.islice(samples, 1)]
                else:
                    chosen = [*itertools.islice(samples, self.batch_size)]
                if not chosen or (self.drop_last and len(chosen) < (self.batch_size or 1)):
                    return
                if number < skip:
                    continue
                batch = self.collate_fn(chosen[0] if self.batch_size is None else chosen)
            yield batch


def _of_batch(seed: tuple[int, int], number: int) -> Generator:
    """The generator of one batch."""
    return Generator(int(numbers.integers(*seed, number, 1, 2**63)[0]))


complete(globals())
