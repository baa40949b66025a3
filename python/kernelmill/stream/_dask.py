"""Dask arrays and data frames: a partition is a chunk, and ops run where the partitions are.

Nothing here opens a connection: passes are ordinary Dask tasks, so Dask's own rules about workers
that die (recompute what they held, try again elsewhere) apply as they are.
"""

import math
import sys
import time

import numpy as np

from kernelmill._arrays import (
    as_matrix,
    check_weights,
    choose_from,
    drop_column,
    feature_names,
    library,
    native_dtype,
)
from kernelmill.stream._source import Fold, Source, _join

# How often Dask may run a task again that raised, as a task on a dying worker can.
RETRIES = 2
# Seconds without any worker or scheduler after which a pass gives up.
PATIENCE = 30.0
# Results merged in one task: fewer tasks for the scheduler, still a left fold.
_FOLD = 16


class ClusterError(RuntimeError):
    """The Dask cluster is gone, or it lost the same task again and again."""


def _run(part, weights, spec, index):
    """One op on one partition, on a worker: (rows, result); no result where there are no rows."""
    owner = spec["owner"]
    X = as_matrix(part, owner, (spec["dtype"],))
    rows, d = X.shape
    if d != spec["n_features"]:
        raise ValueError(
            f"{owner}: X must have {spec['n_features']} features in every partition, got {d} in "
            f"partition {index}"
        )
    if weights is not None:
        weights = check_weights(weights, rows, spec["dtype"], owner)
    if not rows:
        return 0, None
    if spec["validate"] is not None:
        X = spec["validate"](X, spec["starts"][index] if spec["starts"] is not None else 0)
    kwargs = dict(spec["kwargs"])
    if spec["weighted"]:
        kwargs["sample_weight"] = weights
    return rows, spec["op"](X, *spec["state"], **kwargs)


def _fold(before, parts, merge):
    """Add some results, in order, to the fold of those before them, on a worker."""
    rows, fold = before if before is not None else ([], Fold(merge))
    # A task may run again after a worker was lost: what it was given must stay as it is.
    fresh = Fold(merge)
    fresh.total, fresh.count = fold.total, min(fold.count, 1)
    rows = list(rows)
    for size, part in parts:
        rows.append(size)
        if size:
            fresh.add(part)
    return rows, fresh


def _count(part):
    return part.shape[0] if hasattr(part, "shape") else len(part)


class DaskSource(Source):
    """A Dask array or DataFrame."""

    _slow_to_read = True

    def __init__(self, X, sample_weight, *, choose, chunk_rows, owner, accepted, validate):
        if hasattr(X, "to_dask_array"):
            if chunk_rows is not None:
                raise ValueError(
                    f"{owner}: chunk_rows must be None for a Dask DataFrame, got {chunk_rows} "
                    f"(X.repartition changes its partitions)"
                )
            if isinstance(sample_weight, str):
                drop_column(X._meta, sample_weight, owner)  # names a column that is not there
                X, sample_weight = X.drop(columns=sample_weight), X[sample_weight]
            if getattr(X, "ndim", 0) != 2:
                raise ValueError(f"{owner}: X must be 2-D, got a Dask {type(X).__name__}")
            if choose is not None:
                X = X[choose(list(X.columns))]
            meta, lengths = X._meta, None
            native, names = native_dtype(meta, owner), feature_names(meta)
            n_features = meta.shape[1]
        else:
            choose_from(X, choose, owner)  # an array has no column names to choose from
            if getattr(X, "ndim", 0) != 2 or math.isnan(X.shape[1]):
                raise ValueError(
                    f"{owner}: X must be 2-D with a known number of columns, got shape "
                    f"{getattr(X, 'shape', None)}"
                )
            chunks = {1: -1} if chunk_rows is None else {0: chunk_rows, 1: -1}
            X = X.rechunk(chunks)  # an op needs whole rows
            native, names, n_features = X.dtype, None, X.shape[1]
            if native.kind not in "biufO":
                raise ValueError(f"{owner}: X must be numeric, got dtype {native}")
            lengths = None if math.isnan(X.shape[0]) else [int(size) for size in X.chunks[0]]
        super().__init__(
            owner=owner,
            accepted=accepted,
            validate=validate,
            native=native,
            n_features=n_features,
            names=names,
            n_rows=None if lengths is None else sum(lengths),
        )
        self._collection = X
        self._parts = list(np.ravel(X.to_delayed()))
        self._lengths = lengths  # rows of each partition, where known
        self._weights = self._weight_parts(sample_weight)

    def _weight_parts(self, weights):
        if weights is None:
            return [None] * len(self._parts)
        if library(weights) in ("dask", "dask_expr"):
            if (
                self._lengths is not None
                and hasattr(weights, "rechunk")
                and weights.shape == (self.n_rows,)
            ):
                weights = weights.rechunk((tuple(self._lengths),))
            parts = list(np.ravel(weights.to_delayed()))
            if len(parts) != len(self._parts):
                raise ValueError(
                    f"{self._owner}: sample_weight must have the partitions of X, got "
                    f"{len(parts)} for {len(self._parts)}"
                )
            return parts
        rows = self.count_rows()
        weights = check_weights(weights, rows, self.dtype, self._owner)
        assert self._lengths is not None  # they were counted
        ends = np.cumsum(self._lengths)
        return np.split(weights, ends[:-1])

    # --- running tasks ---------------------------------------------------------------------------

    def _client(self):
        """The distributed client in charge, or None for Dask's own schedulers."""
        if "distributed" not in sys.modules:
            return None
        import distributed
        from dask.base import get_scheduler

        futures = distributed.futures_of(self._collection)
        if futures:
            return futures[0].client
        # What compute() would use, so that dask.config.set(scheduler=...) holds here too.
        client = getattr(get_scheduler(), "__self__", None)
        return client if isinstance(client, distributed.Client) else None

    def _compute(self, tasks):
        """Yield the results of Delayed objects in order, or raise ClusterError."""
        client = self._client()
        if client is None:
            import dask

            yield from dask.compute(*tasks)
            return
        futures = client.compute(tasks, retries=RETRIES)
        try:
            while futures:
                yield self._result(futures[0], client)
                del futures[0]  # lets the cluster forget the result
        finally:
            if futures and client.status == "running":
                client.cancel(futures)

    def _result(self, future, client):
        from concurrent.futures import CancelledError

        from distributed.scheduler import KilledWorker

        alone_since = None
        while True:
            # Asked before the wait: a task may fail in the moment in which the wait runs out.
            failed = future.status == "error"
            try:
                return future.result(timeout=None if failed else 1.0)
            except TimeoutError:
                if failed:  # it is the op's own
                    raise
            except (CancelledError, KilledWorker, OSError) as error:
                if isinstance(error, OSError) and future.status == "error":
                    raise
                raise ClusterError(
                    f"{self._owner}: the Dask cluster must keep its workers, got {error!r} "
                    f"(workers that run out of memory need smaller partitions)"
                ) from error
            try:
                alone = not client.nthreads(callback_timeout=5)
            except (OSError, TimeoutError):
                alone = True
            if not alone:
                alone_since = None
                continue
            now = time.monotonic()
            alone_since = alone_since or now
            if now - alone_since > PATIENCE:
                raise ClusterError(
                    f"{self._owner}: the Dask cluster must have a worker, got none for "
                    f"{PATIENCE:.0f} seconds (workers that cannot import kernelmill, or a module "
                    f"that X is made with, leave: their logs name it)"
                )

    def _spec(self, op, state, kwargs, weighted, *, first):
        import dask

        starts = None
        if self._lengths is not None:
            starts = [0, *np.cumsum(self._lengths).tolist()]
        # One task that every other one depends on: it travels to each worker once, and Dask can
        # make it again if the worker that holds it dies, as it could not with scattered data.
        spec = {
            "owner": self._owner,
            "dtype": self.dtype,
            "n_features": self.n_features,
            "validate": self._validate if first else None,
            "starts": starts,
            "op": op,
            "state": state,
            "kwargs": kwargs,
            "weighted": weighted,
        }
        return dask.delayed(_Constant(spec), pure=False)()

    def _tasks(self, op, state, kwargs, *, weighted, first):
        import dask

        spec = self._spec(op, state, kwargs, weighted, first=first)
        run = dask.delayed(_run, pure=False, traverse=False)
        return [
            run(part, self._weights[i] if weighted else None, spec, i)
            for i, part in enumerate(self._parts)
        ]

    def _guarded(self, make):
        """Run a pass; where validation fails without row numbers, find them and run it again."""
        first = not self._complete
        try:
            yield from make(first)
        except ClusterError:
            raise
        except Exception:
            if not first or self._validate is None or self._lengths is not None:
                raise
            self.count_rows()
            yield from make(first)

    # --- the interface of Source -----------------------------------------------------------------

    def map_reduce(self, op, *state, merge=None, **kwargs):
        """As `Source.map_reduce`; the op and the merge run on the workers."""
        import dask

        fold = dask.delayed(_fold, pure=False, traverse=False)

        def make(first):
            tasks = self._tasks(op, state, kwargs, weighted=True, first=first)
            total = None
            for start in range(0, len(tasks), _FOLD):
                total = fold(total, tasks[start : start + _FOLD], merge)
            yield from self._compute([total])

        [(rows, result)] = self._guarded(make)
        self._record(rows)
        self._require_rows(result.count)
        return result.total

    def map(self, op, *state, **kwargs):
        """As `Source.map`; the op runs on the workers, all partitions at once."""
        rows = []

        def make(first):
            tasks = self._tasks(op, state, kwargs, weighted=False, first=first)
            return self._compute(tasks)

        for size, result in self._guarded(make):
            rows.append(size)
            if size:
                yield result
        self._record(rows)

    def _record(self, rows):
        """Remember the partitions of a whole pass, or check them against the first."""
        if self._lengths is not None and rows != self._lengths:
            i = next(i for i, size in enumerate(rows) if size != self._lengths[i])
            raise ValueError(
                f"{self._owner}: X must have the same partitions in every pass, got {rows[i]} rows "
                f"in partition {i}, which had {self._lengths[i]}"
            )
        self._lengths = rows
        self._seen = [(size, 0) for size in rows]
        self.n_rows = sum(rows)
        self._complete = True

    def _read(self):
        for part, weights in zip(self._parts, self._weights, strict=True):
            if weights is None or isinstance(weights, np.ndarray):
                [X] = self._compute([part])
                yield X, weights
            else:
                X, w = self._compute([part, weights])
                yield X, w

    def count_rows(self):
        """Rows of X; one task per partition where they are not known yet."""
        if self._lengths is None:
            import dask

            count = dask.delayed(_count, pure=False)
            self._lengths = [int(n) for n in self._compute([count(p) for p in self._parts])]
            self.n_rows = sum(self._lengths)
        return self.n_rows

    def chunk_lengths(self):
        """As `Source.chunk_lengths`; one task per partition where they are not known yet."""
        self.count_rows()
        assert self._lengths is not None  # they were counted
        return list(self._lengths)

    def _take(self, indices):
        import dask

        rows = self.count_rows()
        self._require_rows(rows)
        indices = self._row_numbers(indices)
        order = np.argsort(indices, kind="stable")
        wanted = indices[order]
        assert self._lengths is not None  # they were counted
        ends = np.cumsum(self._lengths)
        spec = self._spec(_identity, (), {}, True, first=False)
        pick = dask.delayed(_pick_rows, pure=False)
        tasks = []
        for i, end in enumerate(ends):
            start = end - self._lengths[i]
            local = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, end)] - start
            if local.size or (i == 0 and not wanted.size):
                tasks.append(pick(self._parts[i], self._weights[i], spec, local))
        X, w = _join(list(self._compute(tasks)))
        back = np.argsort(order)
        return X[back], None if w is None else w[back]


def _identity(X, sample_weight=None):
    return X


def _pick_rows(part, weights, spec, local):
    """Some rows of one partition, on a worker."""
    X = as_matrix(part, spec["owner"], (spec["dtype"],))
    if weights is not None:
        weights = check_weights(weights, X.shape[0], spec["dtype"], spec["owner"])[local]
    return X[local], weights


class _Constant:
    """A function that returns what it was made with; Dask passes it on without looking inside."""

    def __init__(self, value):
        self._value = value

    def __call__(self):
        return self._value
