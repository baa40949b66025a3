"""`Rows`: X as every model sees it, and the base class that makes them.

``fit`` asks once what X is. After that rows are rows: dense, CSR, on a GPU, or read chunk by chunk
from a file, an iterator or a Dask cluster. A model gives a *pass*, a function of a block of rows,
to `map_reduce` (statistics that add up) or to `map` (one result per row), whatever X is.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Generator, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from kernelmill._arrays import (
    FLOATS,
    as_matrix,
    beside,
    check_weights,
    drop_column,
    feature_names,
    is_frame,
    is_path,
    is_sparse,
    kind,
    memory_map_of,
    namespace,
    require_cuda,
    to_device,
    to_host,
)
from kernelmill._docstrings import Documented
from kernelmill._estimator._progress import CallbackSupportMixin
from kernelmill._estimator._random import legacy_state
from kernelmill._estimator._validation import (
    all_finite,
    check_features,
    check_shape,
    check_values,
    chunk_check,
    zero_weights,
)

# A memory map up to this size is read as an array: its pages are cheaper to keep than to read
# again. Other streams up to this size are kept where many random rows are needed.
MEMMAP_BYTES = 256 << 20


class Rows:
    """Rows of X with their weights, wherever they are.

    `Estimator._rows` makes them.

    Attributes
    ----------
    X : ndarray, CSR matrix or CuPy array of shape (n, d), or None
        All rows, where they are computed on; None where they are read chunk by chunk.
    weight : array of shape (n,), dtype of X, or None
        Weights of rows in memory, beside X. Those of a stream come with its chunks.
    source : Source or None
        Where chunks come from.
    missing : bool or None
        Whether entries are NaN; None if not known, as for a stream.
    dtype : dtype
        float32 or float64.
    n_features : int
        Number of features d.
    is_stream : bool
        Whether rows are read chunk by chunk in every pass.
    is_dense : bool
        Whether all rows are one dense array in memory.
    xp : module
        numpy or cupy: what passes return.
    owner : str
        Name of the caller in errors.
    """

    def __init__(
        self, X: Any, weight: Any, owner: str, *, source: Any = None, like: Any = None,
        device: str | None = None, missing: bool | None = None,
        check: Callable[[], Any] | None = None,
    ) -> None:  # fmt: skip
        self.X, self.weight, self.owner, self.source = X, weight, owner, source
        self.missing = missing
        self._check = check
        self._device = device
        self.is_stream = source is not None
        if self.is_stream:
            self.dtype, self.n_features = source.dtype, source.n_features
        else:
            self.dtype, (self.count, self.n_features) = X.dtype, X.shape
        plain = type(X) is np.ndarray  # the commonest, known without a call
        self.is_dense = plain or not (self.is_stream or is_sparse(X))
        self.xp = np if plain else namespace(X)
        given = X if like is None else like
        self._like = None if type(given) is np.ndarray else given

    def check(self) -> None:
        """Check the values, where ``_rows(..., deferred=True)`` has left that to the model.

        For a model whose first pass gives sums that show whether values are out of range: it calls
        this where they are, or before anything else is done with X.
        """
        if self._check is not None:
            self._check()
            self._check = None

    @cached_property
    def count(self) -> int:
        """Number of rows, by one pass over a stream where it is not known yet."""
        return self.source.count_rows()

    def map_reduce(
        self, op: Callable, *state: Any, merge: Callable | None = None,
        along: tuple[np.ndarray, ...] = (), **options: Any,
    ) -> Any:  # fmt: skip
        """Add up, or merge, ``op(X, *along, *state, sample_weight=w, **options)`` over all rows.

        Parameters
        ----------
        op : callable
            A function at module level: Dask sends it to its workers. Its arrays are beside X.
        *state
            The model so far. Arrays are put beside X.
        along : tuple of ndarray, optional
            Arrays on the host with an entry for each row, such as targets, of which `op` gets the
            entries of its rows. Chunks of a stream are then read here, not on workers.
        merge : callable, optional
            ``merge(total, part) -> total``; by default the elementwise sum.

        Returns
        -------
        object
            What `op` returns. From a stream it is on the host.
        """
        if self.source is None:
            given = _near((*along, *state), self.xp)
            return op(self.X, *given, sample_weight=self.weight, **options)
        if along:
            from kernelmill._estimator._targets import check_count
            from kernelmill.stream._source import Fold

            fold, start = Fold(merge), 0
            for chunk in self.chunks():
                own = [values[start : start + chunk.count] for values in along]
                start += chunk.count
                if len(own[0]) < chunk.count:
                    check_count(along[0], start, self.owner)
                fold.add(to_host(chunk.map_reduce(op, *own, *state, **options)))
            check_count(along[0], start, self.owner)
            return fold.total
        return self.source.map_reduce(_run, op, self._device, state, options, merge=merge)

    def map(self, op: Callable, *state: Any, **options: Any) -> Any:
        """One result per row: ``op(X, *state, **options)``, joined over the chunks of a stream.

        Returns
        -------
        array
            Where the user's X lives; on the host from a stream.
        """
        if self.source is None:
            return self.as_given(op(self.X, *_near(state, self.xp), **options))
        parts = list(self.source.map(_run, op, self._device, state, options))
        if parts:
            return np.concatenate(parts)
        return _run(np.empty((0, self.n_features), self.dtype), op, None, state, options)

    def chunks(self) -> Generator[Rows, None, None]:
        """Rows in memory, one chunk after another: all of them at once where they are there."""
        if self.source is None:
            yield self
            return
        with contextlib.closing(iter(self.source)) as chunks:
            for X, weight in chunks:
                X = X if is_sparse(X) else to_device(X, self._device)
                yield Rows(X, None if weight is None else beside(weight, X), self.owner)

    def take(self, indices: Any) -> Any:
        """Rows at some places as a dense array: beside X, or on the host from a stream."""
        if self.source is None:
            rows = self.X[self.xp.asarray(indices)]
        else:
            rows = to_host(self.source.take(indices))
        return rows.toarray() if is_sparse(rows) else rows

    def part(self, indices: Any) -> Rows:
        """Some rows with their weights, by their numbers or by a mask; lazily from a stream."""
        if self.source is None:
            weight = None if self.weight is None else self.weight[indices]
            return Rows(self.X[indices], weight, self.owner, missing=self.missing)
        from kernelmill.stream import source

        chosen = np.zeros(self.count, dtype=bool)
        chosen[indices] = True

        def chunks() -> Iterator[Any]:
            start = 0
            for chunk in self.chunks():
                own = np.flatnonzero(chosen[start : start + chunk.count])
                start += chunk.count
                if len(own):
                    part = chunk.part(chunk.xp.asarray(own))
                    yield part.X if part.weight is None else (part.X, part.weight)

        return Rows(
            None, None, self.owner, source=source(chunks, owner=self.owner), device=self._device
        )

    def columns(self, chosen: np.ndarray) -> Rows:
        """Some features of these rows, by their numbers; lazily from a stream."""
        if self.source is None:
            return Rows(self.X[:, chosen], self.weight, self.owner)
        from kernelmill.stream import source

        def chunks() -> Iterator[Any]:
            for chunk in self.chunks():
                X = chunk.X[:, chosen]
                yield X if chunk.weight is None else (X, chunk.weight)

        opened = source(chunks, owner=self.owner)
        return Rows(None, None, self.owner, source=opened, device=self._device)

    def weighted(self, factors: np.ndarray) -> Rows:
        """These rows with their weights times factors of shape (n,), lazily from a stream."""
        if self.source is None:
            weight = beside(np.asarray(factors, dtype=self.dtype), self.X)
            weight = weight if self.weight is None else self.weight * weight
            like, check = self._like, self._check
            return Rows(
                self.X, weight, self.owner, like=like, missing=self.missing, check=check
            )
        from kernelmill.stream import source

        def chunks() -> Iterator[Any]:
            start = 0
            for chunk in self.chunks():
                part = chunk.weighted(factors[start : start + chunk.count])
                start += chunk.count
                yield part.X, part.weight

        opened = source(chunks, owner=self.owner)
        return Rows(None, None, self.owner, source=opened, device=self._device)

    def all_weights(self) -> np.ndarray | None:
        """Weights of all rows on the host, by one pass over a stream."""
        if self.source is None:
            return to_host(self.weight)
        weights = []
        with contextlib.closing(self.chunks()) as chunks:
            for chunk in chunks:
                if chunk.weight is None:
                    return None
                weights.append(to_host(chunk.weight))
        return np.concatenate(weights) if weights else None

    def gather(self, indices: Any) -> Rows:
        """Some rows in memory with their weights, by their numbers, in any order, with repeats."""
        if self.source is None:
            return self.part(self.xp.asarray(indices))
        X, weight = self.source._take(np.asarray(indices))
        if not all_finite(X.data if is_sparse(X) else X):
            for _ in self.source:  # a pass names the entry, unless the model accepts it
                pass
        here = X if is_sparse(X) else to_device(X, self._device)
        weight = None if weight is None else beside(weight, here)
        return Rows(here, weight, self.owner, like=X, missing=self.missing)

    def kept(self) -> Rows:
        """These rows; a stream of at most `MEMMAP_BYTES`, as a dense array, in memory."""
        size = self.count * self.n_features * self.dtype.itemsize
        if not self.is_stream or size > MEMMAP_BYTES:
            return self
        return self.gather(np.arange(self.count))

    def read(self) -> Rows:
        """These rows in memory by one pass, as of an iterator: at most `MEMMAP_BYTES` of them.

        Raises
        ------
        ValueError
            If there are more.
        """
        parts, weights, size = [], [], 0
        with contextlib.closing(self.chunks()) as chunks:
            for chunk in chunks:
                rows = chunk.take(np.arange(chunk.count))
                parts.append(rows)
                weights.append(chunk.weight)
                size += rows.nbytes
                if size > MEMMAP_BYTES:
                    raise ValueError(
                        f"{self.owner}: X must be readable more than once where it is larger than "
                        f"{MEMMAP_BYTES >> 20} MiB, got an iterator (pass a function that returns "
                        "one)"
                    )
        X = np.empty((0, self.n_features), self.dtype) if not parts else self.xp.concatenate(parts)
        weighted = bool(weights) and weights[0] is not None
        weight = self.xp.concatenate(weights) if weighted else None
        return Rows(X, weight, self.owner, like=X, missing=self.missing)

    def batches(
        self, size: int, order: Callable[[int], np.ndarray] | None = None,
        chosen: np.ndarray | None = None,
    ) -> Iterator[tuple[Any, np.ndarray, Any]]:  # fmt: skip
        """Dense batches of rows, their numbers and their weights, on the host from a stream.

        Parameters
        ----------
        size : int
            Rows of a batch; the last may be smaller.
        order : callable, optional
            ``order(n)`` is a permutation of n rows. A stream is shuffled in windows of
            `CHUNK_BYTES`, one after the other.
        chosen : ndarray of bool, optional
            Which rows take part, by their numbers.
        """
        if self.source is None:
            places = np.arange(self.count) if chosen is None else np.flatnonzero(chosen)
            places = places if order is None else places[order(len(places))]
            weight = self.all_weights()
            for start in range(0, len(places), size):
                some = places[start : start + size]
                yield self.take(some), some, None if weight is None else weight[some]
            return
        from kernelmill.stream import CHUNK_BYTES
        from kernelmill.stream._source import rechunk

        def numbered() -> Iterator[tuple[Any, np.ndarray]]:
            start = 0
            for chunk in self.chunks():
                X, w = to_host(chunk.X), to_host(chunk.weight)
                numbers = np.arange(start, start + chunk.count, dtype=np.float64)
                start += chunk.count
                more = np.column_stack([numbers, np.full(chunk.count, np.nan) if w is None else w])
                if chosen is not None:
                    own = chosen[int(numbers[0]) : start] if chunk.count else numbers > 0
                    if len(own) < chunk.count:
                        raise ValueError(
                            f"{self.owner}: there must be {len(chosen)} rows, got {start} or more"
                        )
                    X, more = X[own], more[own]
                yield X, more

        def shuffled() -> Iterator[tuple[Any, np.ndarray]]:
            bytes_of_row = max(1, self.n_features * self.dtype.itemsize)
            for X, more in rechunk(numbered(), max(size, CHUNK_BYTES // bytes_of_row)):
                taken = order(X.shape[0])  # type: ignore[misc]
                yield X[taken], more[taken]

        for X, more in rechunk(numbered() if order is None else shuffled(), size):
            weight = None if np.isnan(more[0, 1]) else more[:, 1].astype(self.dtype)
            yield X.toarray() if is_sparse(X) else X, more[:, 0].astype(np.int64), weight

    def sample(self, n: int, seed: int, stream: int) -> Rows:
        """Different rows drawn at random, in memory, with their weights; all if n is more."""
        if n >= self.count and self.source is None:
            return self
        from sklearn.utils.random import sample_without_replacement

        count, state = self.count, legacy_state(seed, stream)
        chosen = sample_without_replacement(count, min(n, count), random_state=state)
        return self.gather(np.sort(chosen))

    def as_given(self, value: Any) -> Any:
        """A result on the device of the user's X; on the host from a stream."""
        return to_host(value) if self._like is None else beside(value, self._like)


def _near(state: tuple, xp: Any) -> list:
    """A state with its arrays where numpy's, or cupy's, are."""
    if xp is np:
        return [value if type(value) is np.ndarray else to_host(value) for value in state]
    return [xp.asarray(value) if type(value) is np.ndarray else value for value in state]


def _run(
    X: Any, op: Callable, device: str | None, state: tuple, options: dict, **weighted: Any
) -> Any:
    """One pass over one chunk, on the device that the user asked for; the result is on the host."""
    if not is_sparse(X):
        X = to_device(X, device)
    if weighted.get("sample_weight") is not None:
        weighted["sample_weight"] = beside(weighted["sample_weight"], X)
    return to_host(op(X, *_near(state, namespace(X)), **weighted, **options))


class Estimator(CallbackSupportMixin, Documented, BaseEstimator):
    """Base of all models: makes `Rows` of what users pass.

    Subclasses declare what they accept, and whether they square it, which limits the magnitudes of
    X; a parameter ``device`` is used if there is one.
    """

    _accepts_sparse: ClassVar[bool] = False
    _accepts_streams: ClassVar[bool] = True
    _accepts_missing: ClassVar[bool] = False
    _dtypes: ClassVar[tuple[np.dtype, ...]] = FLOATS  # of the chunks of a stream
    _as_is: ClassVar[tuple[np.dtype, ...]] = FLOATS  # of arrays that `_matrix` need not convert
    _checks_values: ClassVar[bool] = True  # False where the model does so itself
    _squares: ClassVar[Any] = True  # or the dtype of the squares, where it is not that of X

    def _set_parameters(self, arguments: dict[str, Any]) -> None:
        """Set the arguments of ``__init__``, its ``locals()``, as they are."""
        del arguments["self"]
        self.__dict__.update(arguments)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._accepts_sparse
        tags.input_tags.allow_nan = self._accepts_missing
        return tags

    def _rows(
        self, X: Any, sample_weight: Any = None, *, reset: bool, once: bool | None = None,
        deferred: bool = False,
    ) -> Rows:  # fmt: skip
        """X and its weights, checked, as `Rows`.

        Parameters
        ----------
        sample_weight : array-like of shape (n,), number, str or None
            A string names a column of a frame, which is then no feature.
        reset : bool
            True in ``fit``: keep the number and names of features rather than compare them.
        once : bool, optional
            Whether one pass is enough, so that an iterator can be read; not in ``fit`` by default.
        deferred : bool, default=False
            Whether values in memory are checked by `Rows.check`, which the model must call.
        """
        owner, device = type(self).__name__, getattr(self, "device", None)
        if isinstance(X, Rows):  # of a model that this one is a part of
            check_features(self, None, X.n_features, reset)
            return X
        if device == "cuda":
            require_cuda(owner)
        if type(X) is not np.ndarray and is_stream(X):
            opened = self._source(X, sample_weight, reset, not reset if once is None else once)
            if opened.in_memory is None:
                return Rows(None, None, owner, source=opened, device=device)
            rows, missing, check = opened.in_memory, None, None
            weight = next((w for _, w in opened), None)
        else:
            if isinstance(sample_weight, str) and is_frame(X):
                X, sample_weight = drop_column(X, sample_weight, owner)
            rows, names = X, None
            if not (type(X) is np.ndarray and X.ndim == 2 and X.dtype in self._as_is):
                rows, names = self._matrix(X)
            check_shape(self, rows.shape, names, reset)
            missing = check = None
            if self._checks_values:
                check = functools.partial(
                    check_values, rows, owner, getattr(self, "feature_names_in_", None),
                    allow_nan=self._accepts_missing, whole=reset, squared=self._squares,
                )  # fmt: skip
                if not deferred:
                    missing, check = check(), None
            weight = check_weights(sample_weight, rows.shape[0], rows.dtype, owner)
        if weight is not None and not bool((weight > 0).any()):
            raise zero_weights(owner)
        like = rows
        if device is not None:
            if is_sparse(rows) and device == "cuda":
                raise TypeError(
                    f"{owner}: X must be dense for device='cuda', got a sparse matrix (use "
                    f"device='cpu')"
                )
            rows = to_device(rows, device)
        weight = None if weight is None else beside(weight, rows)
        return Rows(rows, weight, owner, like=like, missing=missing, check=check)

    def _mapped(self, X: Any, op: Callable, state: tuple, d: int | None = None) -> Any:
        """``op(X, *state)``, of d columns: an array for rows in memory, a lazy `Source` if not."""
        # A Source stays one, also where its rows are in memory: a later step may need its weights.
        if is_stream(X):
            opened = self._source(X, None, reset=False, once=True)
            return opened.apply(op, *state, n_features=d)
        return self._rows(X, reset=False).map(op, *state)

    def _refuse_stream(self, X: Any, hint: str) -> None:
        """Raise where X is to be read chunk by chunk, before a chunk is read."""
        if is_stream(X) and getattr(X, "in_memory", None) is None:
            raise TypeError(
                f"{type(self).__name__}: X must be an array or frame in memory, got "
                f"{type(X).__name__} ({hint})"
            )

    def _refuse_device(self, X: Any, hint: str) -> None:
        """Raise where X, of `Rows`, lives on a GPU."""
        if namespace(X) is not np:
            raise NotImplementedError(
                f"{type(self).__name__}: X must be an array on the CPU here, got a CuPy array "
                f"({hint}; cupy.asnumpy moves it)"
            )

    def _matrix(self, X: Any) -> tuple[Any, Any]:
        """X in memory as a matrix, and the names of its columns."""
        matrix = as_matrix(X, type(self).__name__, accept_sparse=self._accepts_sparse)
        return matrix, feature_names(X)

    def _chunk_check(self, reset: bool) -> Callable:
        """The check of a chunk of a stream, ``check(X, first_row) -> X``; picklable."""
        return chunk_check(
            type(self).__name__,
            accept_sparse=self._accepts_sparse,
            allow_nan=self._accepts_missing,
            squared=self._squares,
        )

    def _source(self, X: Any, sample_weight: Any, reset: bool, once: bool) -> Any:
        """X as a checked `Source`."""
        from kernelmill.stream import open_npy, source
        from kernelmill.stream._source import READ_ONCE

        owner = type(self).__name__
        if not self._accepts_streams:
            self._refuse_stream(X, "this model needs all rows at once: load them first")
        if not once and hasattr(X, "__next__"):
            raise ValueError(
                f"{owner}: X must be readable more than once, got a {type(X).__name__} "
                f"({READ_ONCE})"
            )
        check = self._chunk_check(reset)
        whole = None
        if is_path(X) and os.fspath(X).endswith(".npy"):
            X = open_npy(X, owner)
            if not is_stream(X):  # its memory map would be an array
                whole = len(X) or None
        opened = source(
            X, sample_weight, chunk_rows=whole, dtype=self._dtypes, validate=check, owner=owner
        )
        check_features(self, opened.feature_names, opened.n_features, reset)
        return opened


def streams_unwrapped(method: Callable) -> Callable:
    """A method that scikit-learn has wrapped for ``set_output``, but for its lazy results."""

    @functools.wraps(method)
    def transform(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        called = method.__wrapped__ if is_stream(X) else method  # type: ignore[attr-defined]
        return called(self, X, *args, **kwargs)

    return transform


def is_stream(X: Any) -> bool:
    """Whether X is to be read chunk by chunk: a path, memory map, iterable, Dask or `Source`.

    A plain ndarray is not, even over the pages of a map: whoever made it so wants an array.
    """
    if type(X) is np.ndarray:
        return False
    what = kind(X)
    if what == "numpy":
        return X.ndim == 2 and X.nbytes > MEMMAP_BYTES and memory_map_of(X) is not None
    return what in ("dask", "lazy", "path", "paths", "chunks")
