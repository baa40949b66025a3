"""MiniBatchKMeans: centers updated from small random batches."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kernelmill._arrays import beside, namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import zero_weights
from kernelmill.cluster import _seeding
from kernelmill.cluster._centers import CentersModel, check_row_count, refuse_overflow
from kernelmill.cluster._kmeans import INIT, N_INIT, number_of_starts
from kernelmill.cluster._lloyd import Descent, rounding, tolerance
from kernelmill.cluster._statistics import assign, lloyd_pass, reservoir, sum_of
from kernelmill.ops import kmeans, random
from kernelmill.stream._source import CHUNK_BYTES, rechunk, rows_in

# Streams of random numbers of one fit; starts use small numbers.
_BATCHES = 1 << 20
_VALIDATION = _BATCHES + 1
_SUBSETS = _BATCHES + 2
_REASSIGN = 1 << 21
_CHUNKS = 1 << 22
# Iterations on the subset that a start was made on.
_REFINEMENTS = 5


def _updated(centers: Any, counts: Any, sums: Any, weights: Any) -> tuple[Any, Any]:
    """Centers and counts after a batch with these statistics; see `kmeans.minibatch_step`."""
    total = counts + weights
    got = weights > 0
    moved = centers.copy()
    moved[got] = (counts[got, None] * centers[got] + sums[got]) / total[got, None]
    return moved, total


def _step(rows: Rows, batch: Any, centers: Any, counts: Any) -> tuple[Any, Any, float]:
    """`kmeans.minibatch_step` for dense or CSR rows."""
    if rows.is_dense:
        return kmeans.minibatch_step(rows.X, batch, centers, counts, rows.weight)
    sums, weights, inertia = rows.part(batch).map_reduce(lloyd_pass, centers)
    return *_updated(centers, counts, sums, weights), inertia


def _refined(rows: Rows, centers: Any) -> Any:
    """A start after a few cheap iterations on the subset it was made on."""
    for _ in range(_REFINEMENTS):
        sums, weights, _ = rows.map_reduce(lloyd_pass, centers)
        centers, _ = _updated(centers, 0 * weights, sums, weights)
    return centers


class Followed(NamedTuple):
    """Centers and counts, and what decides when to stop and when to move idle centers."""

    centers: Any  # (k, d), float64
    counts: Any  # (k,), float64: weight of the rows that each center has been given
    steps: int = 0  # batches
    seen: int = 0  # rows
    mass: float = 0.0  # their weight
    since: int = 0  # rows since idle centers were last moved
    smoothed: float | None = None  # inertia per unit of weight, smoothed over batches
    least: float | None = None  # its minimum so far
    stale: int = 0  # batches since that minimum


def reassigned(
    model: Any, rows: Rows, batch: Any, centers: Any, counts: Any, since: int, seed: int, step: int
) -> tuple[Any, Any, int]:
    """Move centers with hardly any rows onto rows of a batch that are far from all others.

    Every ``10 k`` rows, when a center of average size has been given ten. Rows are drawn by weight
    times squared distance, never from where a center is. Returns the centers, the counts, and the
    rows since the last move.
    """
    n = rows.count if batch is None else len(batch)
    since += n
    if model.reassignment_ratio == 0 or since < 10 * model.n_clusters:
        return centers, counts, since
    host_counts = to_host(counts)
    idle = np.flatnonzero(host_counts < model.reassignment_ratio * host_counts.max())
    # At most half of the batch becomes centers; the ones with the least weight move first.
    idle = idle[np.argsort(host_counts[idle], kind="stable")][: n // 2]
    if not len(idle):
        return centers, counts, 0
    others = np.delete(np.arange(len(centers)), idle)
    kept = centers[namespace(centers).asarray(others)]
    # More than needed, for some may be equal.
    size, stream = 4 * len(idle) + 16, _REASSIGN + step
    some = rows if batch is None else rows.part(batch)
    drawn = some.map_reduce(reservoir, kept, size=size, seed=seed, stream=stream)[1]
    drawn = drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])]
    away = assign(drawn, to_host(kept))[1] > rounding(drawn, rows.dtype)
    drawn = drawn[away][: len(idle)]
    idle = idle[: len(drawn)]
    centers, host_counts = centers.copy(), host_counts.copy()
    xp = namespace(centers)
    centers[xp.asarray(idle)] = xp.asarray(drawn)
    # Large enough not to be moved again at once.
    host_counts[idle] = host_counts[others].min()
    return centers, xp.asarray(host_counts), 0


class MiniBatchKMeans(CentersModel):
    """k-means that updates the centers from small random batches.

    Each center is the running mean of all rows it was given. Much less work than `KMeans` on large
    data, for an inertia a few per cent higher.

    Parameters
    ----------
    init : {"k-means++", "k-means||", "random"}, array of shape (k, d) or callable, \
            default="k-means++"
        Initial centers, from a random subset of `init_size` rows; see `KMeans`.
    max_iter : int, default=100
        Maximum number of passes over the data, each of n rows in batches; of a stream of more than
        256 MiB at most this many blocks of 64 MiB are read, one a pass.
    batch_size : int, default=1024
        Rows of a batch.
    compute_labels : bool, default=True
        Whether ``fit`` ends with a pass that sets ``labels_`` and the exact ``inertia_``.
    tol : float, default=0.0
        Stop when a batch moves the centers by at most ``tol`` times the mean variance of the
        features; 0 turns this off.
    max_no_improvement : int or None, default=10
        Stop after this many batches without a lower smoothed inertia; None turns this off.
    init_size : int or None, default=None
        Rows of the subset on which starts are made and compared; three batches, but at least ``k``
        rows, by default.
    n_init : int or "auto", default="auto"
        Number of starts; the best on the subset is used. ``"auto"`` is 3 for ``"random"`` and
        callables, 1 otherwise.
    reassignment_ratio : float, default=0.01
        Every ``10 k`` rows, centers with less than this share of the largest center's weight move
        to rows of the batch, drawn by weight times squared distance to the other centers. 0 turns
        this off.

    Attributes
    ----------
    cluster_centers_
    labels_ : array of shape (n,), int32
        Nearest center of each row; only with `compute_labels`.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers; without `compute_labels` an
        estimate from the batches.
    counts_ : array of shape (k,), float64
        Weight of the rows that each center was given.
    n_iter_ : int
        Passes over the data, rounded up.
    n_steps_ : int
        Number of batches.
    n_features_in_, feature_names_in_

    See Also
    --------
    KMeans : Uses all rows in every iteration.

    Notes
    -----
    Batches are drawn with replacement by weight, from all rows: of a stream of more than 256 MiB
    many batches at a time, 64 MiB in one pass, so that neither the order of the rows nor the chunks
    matter. Arrays, files and streams of the same rows give the same centers, bit for bit, where
    `max_iter` does not end the fit.

    An iterator is read to its end in one pass, and there are no ``labels_``. Its rows are shuffled
    64 MiB at a time, and the start is made on the first of these blocks: a longer iterator should
    not yield sorted rows.

    Supports scikit-learn's callbacks and `kernelmill.callbacks` (``set_callbacks``), which see the
    centers after each batch and may stop the fit. Cost 2 b k d flops a batch of b rows.

    References
    ----------
    Sculley (2010), "Web-scale k-means clustering".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import MiniBatchKMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [4, 0], [4, 4]], dtype=float)
    >>> model = MiniBatchKMeans(2, random_state=0, batch_size=6, max_iter=20).fit(X)
    >>> model.predict([[0, 0], [4, 4]]).tolist() in ([0, 1], [1, 0])
    True
    >>> online = MiniBatchKMeans(2, random_state=0)
    >>> for batch in np.split(X, 2):
    ...     online = online.partial_fit(batch)
    >>> online.n_steps_
    2
    """

    counts_: Any
    n_steps_: int
    _rows_since_reassignment: int

    _parameters: ClassVar = {
        "n_clusters": rule.integer(1),
        "init": INIT,
        "max_iter": rule.integer(1),
        "batch_size": rule.integer(1),
        "verbose": rule.VERBOSE,
        "compute_labels": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
        "tol": rule.real(0),
        "max_no_improvement": rule.any_of(rule.integer(0), rule.nothing()),
        "init_size": rule.any_of(rule.integer(1), rule.nothing()),
        "n_init": N_INIT,
        "reassignment_ratio": rule.real(0, high=1),
        "device": rule.DEVICE,
    }

    def __init__(
        self, n_clusters=8, *, init="k-means++", max_iter=100, batch_size=1024, verbose=0,
        compute_labels=True, random_state=None, tol=0.0, max_no_improvement=10, init_size=None,
        n_init="auto", reassignment_ratio=0.01, device=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the centers batch by batch.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, or X has fewer rows
            than clusters.
        RuntimeError
            If ``device="cuda"`` and no GPU is available.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True)
        seed, once = seed_of(self.random_state), rows.is_stream and hasattr(X, "__next__")
        sample, n, total, batches, n_steps = self._plan(rows, once, seed)
        rows = rows if once else sample
        tol = tolerance(sample, self.tol)
        centers = self._start(sample, seed)
        patience = None if once else self.max_no_improvement

        def advance(state, most):
            batch = next(batches, None)
            if batch is None:
                return Step(state, state.smoothed, True, 0)
            return self._follow(state, *batch, n=n, tol=tol, seed=seed, patience=patience)

        with Progress(
            self, self.verbose, iterations=n_steps, unit="batch", X=X, y=y
        ) as progress:
            run = climb(
                progress,
                lambda number: Followed(centers, namespace(centers).zeros(len(centers))),
                advance,
                max_iter=1 << 62,  # the batches end
                attributes=lambda state, n_iter: self._attributes(state.centers, rows),
            )
        state = run.state
        self._store(state, rows, seed)
        self._rows_since_reassignment = 0
        self.n_iter_ = 1 if once else -(-state.seen // n)
        if self.compute_labels and not once:
            end = Descent(rows, 0.0).finish(run)
            self.labels_ = rows.as_given(end.state.labels)
            self.inertia_ = end.objective
        else:
            self.inertia_ = (state.smoothed or 0.0) * (state.mass if once else total)
        refuse_overflow("MiniBatchKMeans", self.inertia_, rows.dtype)
        return self

    @fitting
    def partial_fit(self, X, y=None, sample_weight=None):
        """Update the centers from one batch; the first call chooses initial centers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            The batch, in memory.

        Raises
        ------
        ValueError
            If X or the weights are not finite, X has other features or `n_clusters` has changed
            since the previous call, or the first batch has fewer rows than clusters.
        """
        first = "cluster_centers_" not in vars(self)
        rows = self._rows(X, sample_weight, reset=first, once=True)
        if rows.is_stream:
            raise TypeError(
                f"MiniBatchKMeans: X must be in memory for partial_fit, got {type(X).__name__} "
                f"(pass the batches one by one, or the stream to fit)"
            )
        seed = getattr(self, "_seed", None)
        if seed is None:
            seed = seed_of(self.random_state)
        if first:
            check_row_count("MiniBatchKMeans", rows.count, int(self.n_clusters))
            centers, counts = self._start(rows, seed), rows.xp.zeros(int(self.n_clusters))
            steps, since = 0, 0
        else:
            centers = self._previous_centers(rows.n_features, "partial_fit a clone instead")
            centers, counts = beside(centers, rows.X), beside(self.counts_, rows.X)
            steps, since = self.n_steps_, self._rows_since_reassignment
        sums, weights, _ = rows.map_reduce(lloyd_pass, centers)
        centers, counts = _updated(centers, counts, sums, weights)
        centers, counts, since = reassigned(self, rows, None, centers, counts, since, seed, steps)
        self._store(Followed(centers, counts, steps + 1), rows, seed)
        self._rows_since_reassignment = since
        if self.compute_labels:
            labels, squared = assign(rows.X, centers)
            self.labels_ = rows.as_given(labels)
            self.inertia_ = sum_of(squared, rows.weight)
        return self

    # --- parts of a fit ---------------------------------------------------------------------------

    def _plan(self, rows, once, seed):
        """Rows for the start, n, their weight, the batches, and how many of them at most."""
        size, passes, k = int(self.batch_size), int(self.max_iter), int(self.n_clusters)
        block = rows_in(CHUNK_BYTES, rows.n_features, rows.dtype.itemsize)
        if once:
            blocks = _blocks(rows, max(block, self._init_size(size)))
            first = next(blocks, None)
            n = 0 if first is None else first.count
            check_row_count("MiniBatchKMeans", n, k)
            return first, n, None, _shuffled(itertools.chain([first], blocks), size, seed), None
        rows, n = rows.kept(), rows.count
        check_row_count("MiniBatchKMeans", n, k)
        size = min(size, n)
        ahead = max(1, block // size) if rows.is_stream else 1
        n_steps = max(1, min(passes * n // size, passes * ahead if rows.is_stream else 1 << 62))
        weight = rows.all_weights()
        total = n if weight is None else sum_of(weight)
        batches = itertools.islice(_drawn(rows, weight, size, ahead, seed), n_steps)
        return rows, n, total, batches, n_steps

    def _init_size(self, batch):
        """Rows of the subset on which starts are made, before it is limited to n."""
        size, k = self.init_size, int(self.n_clusters)
        if size is None:
            return 3 * batch if 3 * batch >= k else 3 * k
        if size < k:
            warn(
                f"MiniBatchKMeans: init_size={size} should be larger than n_clusters={k} (3 "
                f"n_clusters rows are used)",
                RuntimeWarning,
            )
            return 3 * k
        return int(size)

    def _start(self, rows, seed):
        """The best of some starts, each made on one subset and compared on another."""
        n = rows.count
        if rows.weight is not None and not bool((rows.weight > 0).any()):
            raise zero_weights(rows.owner)
        starts = number_of_starts(self, 3)
        size = min(n, self._init_size(min(int(self.batch_size), n)))

        def subset(stream):
            if size >= n:
                return rows
            return rows.gather(np.sort(random.integers(seed, stream, 0, size, n)))

        best = least = None
        for number in range(starts):
            some = subset(_SUBSETS + number)
            if some.weight is not None and not bool((some.weight > 0).any()):
                some = rows
            centers = _seeding.start(some, self.init, int(self.n_clusters), seed, number)
            if not _seeding.is_given(self.init):
                centers = _refined(some, centers)
            if starts == 1:
                return centers
            inertia = float(subset(_VALIDATION).map_reduce(lloyd_pass, centers)[2])
            if least is None or inertia < least:
                best, least = centers, inertia
        return best

    def _follow(self, state, rows, batch, *, n, tol, seed, patience):
        """Update the centers from one batch."""
        before, steps = state.centers, state.steps
        centers, counts, inertia = _step(rows, batch, before, state.counts)
        centers, counts, since = reassigned(
            self, rows, batch, centers, counts, state.since, seed, steps
        )
        total = len(batch) if rows.weight is None else float(rows.weight[batch].sum())
        state = state._replace(
            centers=centers,
            counts=counts,
            steps=steps + 1,
            seen=state.seen + len(batch),
            mass=state.mass + total,
            since=since,
        )
        if steps == 0 or not total > 0:  # the inertia of the first batch is that of the start
            return Step(state, state.smoothed)
        smoothed = inertia / total
        if state.smoothed is not None:
            share = min(2.0 * min(int(self.batch_size), n) / (n + 1), 1.0)
            smoothed = state.smoothed + share * (smoothed - state.smoothed)
        lower = state.least is None or smoothed < state.least
        moved = float(((centers - before) ** 2).sum()) if tol > 0 else np.inf
        if moved <= tol:
            return Step(state._replace(smoothed=smoothed), smoothed, True)
        state = state._replace(
            smoothed=smoothed,
            least=smoothed if lower else state.least,
            stale=0 if lower else state.stale + 1,
        )
        return Step(state, smoothed, patience is not None and state.stale >= patience)

    def _store(self, state, rows, seed):
        """Set the fitted attributes."""
        self.__dict__.pop("labels_", None)
        self.__dict__.update(self._attributes(state.centers, rows))
        self.counts_ = rows.as_given(state.counts)
        self.n_steps_, self._seed = state.steps, seed


def _blocks(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows of a stream in memory, `size` at a time: blocks span chunks."""
    with contextlib.closing(rows.chunks()) as chunks:
        for X, weight in rechunk(((chunk.X, chunk.weight) for chunk in chunks), size):
            yield Rows(X, weight, rows.owner)


def _shuffled(blocks: Iterable, size: int, seed: int) -> Iterator[tuple[Rows, Any]]:
    """Batches of rows that are read once: block by block, shuffled and cut."""
    for number, block in enumerate(blocks):
        order = generator(seed, _CHUNKS + number).permutation(block.count)
        for first in range(0, len(order), size):
            yield block, block.xp.asarray(order[first : first + size])


def _drawn(
    rows: Rows, weight: Any, size: int, ahead: int, seed: int
) -> Iterator[tuple[Rows, Any]]:
    """Batches drawn with replacement by weight; each row then counts once.

    Of a stream `ahead` batches are read in one pass.
    """
    n, running = rows.count, None
    if weight is not None:
        running = np.cumsum(weight, dtype=np.float64)
    for first in itertools.count(0, ahead * size):
        if running is None:
            batch = random.integers(seed, _BATCHES, first, ahead * size, n)
        else:
            u = random.uniform(seed, _BATCHES, first, ahead * size)
            batch = np.searchsorted(running, u * running[-1], side="right")
            batch = np.minimum(batch, n - 1)
        if not rows.is_stream:
            yield Rows(rows.X, None, rows.owner), rows.xp.asarray(batch)
            continue
        block = Rows(rows.gather(batch).X, None, rows.owner)
        for place in range(0, len(batch), size):
            yield block, block.xp.arange(place, place + size)
        del block  # before the next one is read
