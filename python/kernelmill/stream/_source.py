"""What every source shares: checked passes over chunks, map_reduce, and reading ahead."""

import contextlib
import copy
import functools
import queue
import threading
import zlib
from typing import Any

import numpy as np

from kernelmill._arrays import (
    FLOATS,
    align_columns,
    as_matrix,
    check_weights,
    is_sparse,
    pick_dtype,
)

# Bytes of one chunk where the user names no chunk_rows: large enough that starting a pass over it
# costs nothing beside the pass, small enough that two of them fit anywhere.
CHUNK_BYTES = 64 << 20
# What to do about an iterator; `Estimator` says the same before it is read.
READ_ONCE = "an iterator can be read once: pass a function that returns one, or a list"


def rows_in(chunk_bytes, n_features, itemsize):
    """How many rows fit into so many bytes; at least one."""
    return max(1, chunk_bytes // max(1, n_features * itemsize))


def end_marks(X):
    """A checksum of the first and the last row: what a source that may be shuffled is known by."""
    if not X.shape[0] or not isinstance(X, np.ndarray):
        return 0
    return zlib.crc32(X[-1].tobytes(), zlib.crc32(X[0].tobytes()))


def add_up(total, part, in_place=False):
    """Elementwise sum of two results of the same structure.

    Parameters
    ----------
    total, part : array, number, None, or tuple, list or dict of these
        Equal in structure and shapes.
    in_place : bool
        Whether arrays of `total` may be overwritten.
    """
    if total is None and part is None:
        return None
    if isinstance(total, (tuple, list)) and type(total) is type(part) and len(total) == len(part):
        items = [add_up(a, b, in_place) for a, b in zip(total, part, strict=True)]
        return type(total)(*items) if hasattr(total, "_fields") else type(total)(items)
    if isinstance(total, dict) and isinstance(part, dict) and total.keys() == part.keys():
        return {key: add_up(total[key], part[key], in_place) for key in total}
    nested = (tuple, list, dict, type(None), str)
    if (
        isinstance(total, nested)
        or isinstance(part, nested)
        or getattr(total, "shape", ()) != getattr(part, "shape", ())
    ):
        raise ValueError(
            f"map_reduce: op must return equal structures for every chunk, got {_outline(total)} "
            f"and {_outline(part)} (pass merge= to combine them)"
        )
    if in_place and isinstance(total, np.ndarray) and total.dtype == getattr(part, "dtype", None):
        return np.add(total, part, out=total)
    return total + part


def _outline(value):
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(_outline, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(map(str, value))})"
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {shape}" if shape is not None else "")


class Fold:
    """A left fold in the order of the parts; the first part is the start.

    Attributes
    ----------
    total : object
        The parts so far, merged.
    count : int
        How many there were.
    """

    def __init__(self, merge=None):
        self.merge = merge
        self.total = None
        self.count = 0

    def add(self, part):
        """Merge one more part."""
        if self.count == 0:
            self.total = part
        elif self.merge is not None:
            self.total = self.merge(self.total, part)
        else:
            # The first part belongs to whoever made it; from the second on the total is our own.
            self.total = add_up(self.total, part, in_place=self.count > 1)
        self.count += 1


def read_ahead(chunks):
    """Pass on the items of an iterator while one thread already reads the next one.

    At most two items exist at a time: the one in use and the next. An exception of the iterator is
    raised here, after the items before it. The thread ends, and closes the iterator, when this
    generator does.
    """
    slots = threading.Semaphore(2)
    handed: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()

    def read():
        try:
            while True:
                slots.acquire()
                if stopped.is_set():
                    break
                handed.put((next(chunks), None))
        except StopIteration:
            handed.put((None, None))
        except BaseException as error:  # it belongs to the consumer, whatever it is
            handed.put((None, error))
        finally:
            with contextlib.suppress(Exception):
                getattr(chunks, "close", lambda: None)()

    thread = threading.Thread(target=read, name="kernelmill-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = handed.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
            del item
            slots.release()
    finally:
        stopped.set()
        slots.release()
        # It is at most in the middle of one item; a source that blocks for longer keeps its daemon.
        thread.join(timeout=0.5)


def rechunk(chunks, rows):
    """Cut (X, w) pairs anew into chunks of exactly this many rows, the last one excepted."""
    pieces, count = [], 0
    for X, w in chunks:
        start = 0
        while count + X.shape[0] - start >= rows:
            stop = start + rows - count
            pieces.append((X[start:stop], None if w is None else w[start:stop]))
            yield _join(pieces)
            pieces, count, start = [], 0, stop
        if start < X.shape[0]:
            pieces.append((X[start:], None if w is None else w[start:]))
            count += X.shape[0] - start
        del X, w
    if pieces:
        yield _join(pieces)


def _join(pieces):
    if len(pieces) == 1:
        return pieces[0]
    parts = [X for X, _ in pieces]
    if is_sparse(parts[0]):
        import scipy.sparse

        X = scipy.sparse.vstack(parts, format="csr")
    else:
        X = np.concatenate(parts)
    return X, None if pieces[0][1] is None else np.concatenate([w for _, w in pieces])


class Source:
    """Rows of X, chunk by chunk, as often as needed.

    `kernelmill.stream.source` makes one. Every pass yields the same chunks in the same order; a
    pass that does not raises.

    Attributes
    ----------
    n_features : int
        Columns of X.
    dtype : numpy.dtype
        Of every chunk.
    n_rows : int or None
        Rows of X; None until they are known. `count_rows` finds out.
    feature_names : ndarray of str, dtype object, or None
        Column names, where X has any and all are text.
    in_memory : ndarray, CSR matrix or None
        All of X where it is one chunk in memory, converted and validated; else None.
    """

    in_memory: Any = None
    # Whether reading the next chunk takes time that a thread can overlap with computing.
    _slow_to_read = False
    _chunk_rows = None  # where the reader's own pieces are to be cut anew

    def __init__(self, *, owner, accepted, validate, native, n_features, names, n_rows):
        self._owner = owner
        if names is not None and getattr(validate, "keywords", {}).get("names", ()) is None:
            validate = functools.partial(validate, names=names)  # its messages name columns
        self._validate = validate
        self.dtype = pick_dtype(native, accepted or FLOATS)
        self.n_features = n_features
        self.feature_names = names
        self.n_rows = n_rows
        self._seen = []  # (rows, fingerprint) of each chunk, from the first pass
        self._complete = False
        self._lock = threading.Lock()

    def _read(self):
        """Yield (X, w) pairs as they come: any type, any numeric dtype."""
        raise NotImplementedError

    def _load(self):
        """Check all of X, where it is one chunk in memory."""
        raise NotImplementedError

    def _fingerprint(self, X):
        """A cheap sign that a later pass brings the same chunk."""
        return 0

    def __iter__(self):
        """Yield (X_chunk, w_chunk or None); chunks without rows are left out."""
        chunks = self._checked()
        return read_ahead(chunks) if self._slow_to_read else chunks

    def _matrices(self):
        position, weighted = 0, None
        raw = self._read()
        try:
            for X, w in raw:
                X = align_columns(X, self.feature_names, self._owner, position)
                X = as_matrix(X, self._owner, (self.dtype,))
                rows, d = X.shape
                if d != self.n_features:
                    raise ValueError(
                        f"{self._owner}: X must have {self.n_features} features in every chunk, "
                        f"got {d} in the chunk that starts at row {position}"
                    )
                if w is not None:
                    w = check_weights(w, rows, self.dtype, self._owner, first_row=position)
                if weighted not in (None, w is not None):
                    raise ValueError(
                        f"{self._owner}: sample_weight must come with every chunk or none, got "
                        f"both (the chunk that starts at row {position} differs)"
                    )
                weighted = w is not None
                yield X, w
                position += rows
                del X, w
        finally:
            getattr(raw, "close", lambda: None)()

    def _checked(self):
        index, position = 0, 0
        chunks = self._matrices()
        if self._chunk_rows is not None:
            chunks = rechunk(chunks, self._chunk_rows)
        with contextlib.closing(chunks):
            for X, w in chunks:  # no enumerate: it would keep the last chunk alive
                X = self._check(index, position, X)
                rows = X.shape[0]
                if rows:
                    yield X, w
                index += 1
                position += rows
                del X, w
        self._end(index, position)

    def _check(self, index, position, X):
        """Validate a chunk that is new; a chunk seen before must be the same one."""
        witness = (X.shape[0], self._fingerprint(X))
        if index < len(self._seen):
            rows, mark = self._seen[index]
            if rows != witness[0]:
                raise ValueError(
                    f"{self._owner}: X must yield the same chunks in every pass, got "
                    f"{witness[0]} rows in chunk {index}, which had {rows} before"
                )
            if mark != witness[1]:
                raise ValueError(
                    f"{self._owner}: X must yield the same chunks in every pass, got other values "
                    f"in chunk {index} (is the iterator shuffled or random?)"
                )
            return X
        if self._complete:
            raise ValueError(
                f"{self._owner}: X must yield the same chunks in every pass, got more than the "
                f"{len(self._seen)} chunks it had before"
            )
        if self._validate is not None and X.shape[0]:
            X = self._validate(X, position)
        with self._lock:
            if index == len(self._seen):
                self._seen.append(witness)
        return X

    def _end(self, chunks, rows):
        if chunks < len(self._seen):
            hint = "pass an iterable that starts anew, or a function that returns a new iterator"
            if chunks:
                hint = "was the data changed in between?"
            raise ValueError(
                f"{self._owner}: X must yield the same chunks in every pass, got {chunks} of "
                f"{len(self._seen)} ({hint})"
            )
        self._complete = True
        self.n_rows = rows

    def count_rows(self):
        """Rows of X, by one pass where they are not known yet.

        Returns
        -------
        int
            How many.
        """
        if self.n_rows is None:
            for _ in self:
                pass
        return self.n_rows

    def chunk_lengths(self):
        """Rows of each chunk, by one pass where they are not known yet; chunks without rows too.

        Returns
        -------
        list of int
            In the order of the chunks.
        """
        if not self._complete:
            for _ in self:
                pass
        return [rows for rows, _ in self._seen]

    def map_reduce(self, op, *state, merge=None, **kwargs):
        """Merge ``op(X_chunk, *state, sample_weight=w_chunk, **kwargs)`` over all chunks.

        The merge is a left fold in chunk order on every kind of source, so sources whose chunks
        have equal bounds give equal bits. With one chunk the result is that of `op` itself.

        Parameters
        ----------
        op : callable
            Returns an array, a number, or a tuple, list or dict of these. On a Dask source it runs
            on the workers, so it and its arguments must be picklable.
        *state
            Passed on to every call, such as the model so far.
        merge : callable, optional
            ``merge(total, part) -> total``; by default the elementwise sum.
        **kwargs
            Passed on to every call.

        Returns
        -------
        object
            What `op` returns, merged.

        Raises
        ------
        ValueError
            If there are no rows, or a pass brings other chunks than the one before.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill import stream
        >>> def moments(X, sample_weight=None):
        ...     return len(X), X.sum(axis=0)
        >>> X = np.arange(8.0).reshape(4, 2)
        >>> n, total = stream.source(X, chunk_rows=3).map_reduce(moments)
        >>> n, total
        (4, array([12., 16.]))
        """
        fold = Fold(merge)
        with contextlib.closing(iter(self)) as chunks:
            for X, w in chunks:
                fold.add(op(X, *state, sample_weight=w, **kwargs))
                del X, w
        self._require_rows(fold.count)
        return fold.total

    def map(self, op, *state, **kwargs):
        """Yield ``op(X_chunk, *state, **kwargs)`` for each chunk, in order.

        Parameters
        ----------
        op : callable
            As in `map_reduce`, without weights.
        *state, **kwargs
            Passed on to every call.

        Yields
        ------
        object
            What `op` returns: one part of labels, say.
        """
        with contextlib.closing(iter(self)) as chunks:
            for X, w in chunks:
                del w
                result = op(X, *state, **kwargs)
                del X
                yield result

    def apply(self, op, *state, n_features=None, dtype=None, feature_names=None):
        """Transform every chunk on the way, without keeping any.

        Parameters
        ----------
        op : callable
            ``op(X_chunk, *state)`` returns as many rows. On a Dask source it runs on the workers,
            so it and its arguments must be picklable.
        *state
            Passed on to every call.
        n_features : int, optional
            Columns of what `op` returns; as before by default.
        dtype : dtype, optional
            Of what `op` returns; as before by default.
        feature_names : ndarray of str, optional
            Names of the columns that `op` returns.

        Returns
        -------
        Source
            The transformed rows with the weights that they had, as often as needed.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill import stream
        >>> X = np.arange(6.0).reshape(3, 2)
        >>> halves = stream.source(X, chunk_rows=2).apply(np.multiply, 0.5)
        >>> [chunk.tolist() for chunk, weights in halves]
        [[[0.0, 0.5], [1.0, 1.5]], [[2.0, 2.5]]]
        """
        from kernelmill.stream._applied import AppliedSource

        d = self.n_features if n_features is None else n_features
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        return AppliedSource(self, op, state, d, dtype, feature_names)

    def checked(self, validate):
        """The same rows, with one more check of each chunk in the first pass over it.

        Parameters
        ----------
        validate : callable or None
            As in `kernelmill.stream.source`.

        Returns
        -------
        Source
            Itself where there is no check to add.
        """
        if validate is None:
            return self
        twice = self._validate is not None
        other = copy.copy(self)
        other._validate = functools.partial(_both, self._validate, validate) if twice else validate
        other._seen, other._complete = [], False
        if self.in_memory is not None:
            other._load()
        return other

    def take(self, indices):
        """Rows of X at the given places.

        Parameters
        ----------
        indices : array-like of int, shape (m,)
            Row numbers from 0, in any order, repeats allowed.

        Returns
        -------
        ndarray or CSR matrix, shape (m, n_features)
            A copy, in the order of `indices`. Reads no further than the last row asked for.
        """
        return self._take(self._row_numbers(indices))[0]

    def sample(self, n, random_state):
        """Different rows drawn at random, each set of n equally likely, in the order they stand.

        Parameters
        ----------
        n : int
            How many, at most the number of rows.
        random_state : int, numpy.random.RandomState or None
            Where the draw starts.

        Returns
        -------
        X : ndarray or CSR matrix, shape (n, n_features)
            The rows.
        sample_weight : ndarray of shape (n,) or None
            Their weights.
        indices : ndarray of int64, shape (n,)
            Ascending.
        """
        from sklearn.utils.random import sample_without_replacement

        rows = self.count_rows()
        if not 0 < n <= rows:
            raise ValueError(
                f"{self._owner}: n must be between 1 and the {rows} rows of X, got {n}"
            )
        drawn = sample_without_replacement(rows, n, random_state=random_state)
        indices = np.sort(drawn.astype(np.int64))
        X, w = self._take(indices)
        return X, w, indices

    def _row_numbers(self, indices):
        indices = np.asarray(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise ValueError(
                f"{self._owner}: indices must be 1-D whole numbers, got {indices.dtype} of shape "
                f"{indices.shape}"
            )
        indices = indices.astype(np.int64)
        if indices.size and indices.min() < 0:
            raise ValueError(f"{self._owner}: indices must be 0 or more, got {indices.min()}")
        if indices.size and self.n_rows is not None and indices.max() >= self.n_rows:
            raise ValueError(
                f"{self._owner}: indices must be below the {self.n_rows} rows of X, got "
                f"{indices.max()}"
            )
        return indices

    def _take(self, indices):
        order = np.argsort(indices, kind="stable")
        wanted = indices[order]
        pieces: list[tuple[Any, Any]] = []
        done, position = 0, 0
        with contextlib.closing(iter(self)) as chunks:
            for X, w in chunks:
                rows = X.shape[0]
                end = np.searchsorted(wanted, position + rows)
                local = wanted[done:end] - position
                if local.size or not pieces:
                    pieces.append((X[local], None if w is None else w[local]))
                done, position = end, position + rows
                del X, w
                if done == len(wanted):
                    break
        self._require_rows(len(pieces))
        if done < len(wanted):
            raise ValueError(
                f"{self._owner}: indices must be below the {position} rows of X, got {wanted[-1]}"
            )
        X, w = _join(pieces)
        back = np.argsort(order)
        return X[back], None if w is None else w[back]

    def _require_rows(self, count):
        if not count:
            raise ValueError(f"{self._owner}: X must have at least one row, got none")


def _both(first, second, X, first_row):
    """Two checks of a chunk, one after the other."""
    return second(first(X, first_row), first_row)
