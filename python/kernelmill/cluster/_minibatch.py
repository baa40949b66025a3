"""MiniBatchKMeans: centers follow small random batches."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._device import DEVICE, move_back, move_in, namespace, to_host
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, legacy_state, seed_of
from kernelmill._estimator._streams import check_weight, is_stream, open_stream
from kernelmill._estimator._validation import check_X
from kernelmill.cluster import _seeding
from kernelmill.cluster._base import CentersMixin, refuse_overflow, row_count_error
from kernelmill.cluster._kmeans import INIT, N_INIT, number_of_starts
from kernelmill.cluster._lloyd import tolerance
from kernelmill.cluster._passes import assign, dense_rows, labels_of, lloyd_pass, sum_of
from kernelmill.ops import kmeans, random

# Streams of random numbers of one fit: starts use the small numbers.
_BATCHES = 1 << 20
_VALIDATION = _BATCHES + 1
_SUBSETS = _BATCHES + 2
_REASSIGN = 1 << 21
_CHUNKS = 1 << 22
# Iterations on the subset that a start was made on, before it is judged and followed.
_REFINEMENTS = 5


def _updated(centers: Any, counts: Any, sums: Any, weights: Any) -> tuple[Any, Any]:
    """Centers and counts after a batch with these statistics; see `kmeans.minibatch_step`."""
    total = counts + weights
    got = weights > 0
    moved = centers.copy()
    moved[got] = (counts[got, None] * centers[got] + sums[got]) / total[got, None]
    return moved, total


def _step(X: Any, rows: Any, centers: Any, counts: Any, weight: Any) -> tuple[Any, Any, float]:
    """`kmeans.minibatch_step` for dense or CSR rows."""
    if not is_sparse(X):
        return kmeans.minibatch_step(X, rows, centers, counts, weight)
    batch = None if weight is None else weight[rows]
    sums, weights, inertia = lloyd_pass(X[rows], centers, batch)
    return *_updated(centers, counts, sums, weights), inertia


def _refined(X: Any, weight: Any, centers: Any) -> Any:
    """A start after a few iterations on the subset it was made on, which cost next to nothing."""
    for _ in range(_REFINEMENTS):
        sums, weights, _ = lloyd_pass(X, centers, weight)
        centers, _ = _updated(centers, 0 * weights, sums, weights)
    return centers


class _Descent:
    """Centers on their way, with what decides when to stop and when to move idle centers."""

    def __init__(
        self, model: Any, centers: Any, counts: Any, seed: int, n: int, batch: int, tol: float
    ) -> None:
        self.model = model
        self.centers, self.counts = centers, counts
        self.seed = seed
        self.steps = 0
        self.ewa: float | None = None
        self._least: float | None = None
        self._stale = 0
        self._since = 0
        self._batch = batch
        self._alpha = min(2.0 * batch / (n + 1), 1.0)
        self._tol = tol

    def take(self, X: Any, rows: Any, weight: Any) -> bool:
        """Follow one batch; whether to stop."""
        before = self.centers
        self.centers, self.counts, inertia = _step(X, rows, before, self.counts, weight)
        self.centers, self.counts, self._since = reassigned(
            self.model, X, rows, self.centers, self.counts, self._since, self.seed, self.steps
        )
        self.steps += 1
        total = len(rows) if weight is None else float(weight[rows].sum())
        return total > 0 and self._converged(inertia / total, before)

    def _converged(self, inertia: float, before: Any) -> bool:
        if self.steps == 1:  # the first batch judges the start, not the descent
            return False
        self.ewa = inertia if self.ewa is None else self.ewa + self._alpha * (inertia - self.ewa)
        if self._tol > 0 and float(((self.centers - before) ** 2).sum()) <= self._tol:
            return True
        if self._least is None or self.ewa < self._least:
            self._stale, self._least = 0, self.ewa
        else:
            self._stale += 1
        patience = self.model.max_no_improvement
        return patience is not None and self._stale >= patience


def reassigned(
    model: Any, X: Any, rows: Any, centers: Any, counts: Any, since: int, seed: int, step: int
) -> tuple[Any, Any, int]:
    """Move centers that hardly any row went to onto rows of the batch.

    Every ``10 k`` rows, or at once while a center has had no row, as scikit-learn does. `rows` None
    means all rows of X. Returns the centers, the counts, and the rows since the last time.
    """
    n = X.shape[0] if rows is None else len(rows)
    since += n
    if model.reassignment_ratio == 0:
        return centers, counts, since
    if since < 10 * model.n_clusters and bool((counts > 0).all()):
        return centers, counts, since
    held = to_host(counts)
    idle = np.flatnonzero(held < model.reassignment_ratio * held.max())
    if not len(idle):
        return centers, counts, 0
    # At most half of the batch becomes centers: those with the least weight.
    idle = idle[np.argsort(held[idle], kind="stable")][: n // 2]
    if not len(idle):
        return centers, counts, 0
    picked = generator(seed, _REASSIGN + step).choice(n, size=len(idle), replace=False)
    if rows is not None:
        picked = to_host(rows)[picked]
    xp = namespace(centers)
    centers, held = centers.copy(), held.copy()
    centers[xp.asarray(idle)] = xp.asarray(dense_rows(X, picked))
    others = np.ones(len(held), dtype=bool)
    others[idle] = False
    # Not so little that they would be moved again at once.
    held[idle] = held[others].min() if others.any() else 0
    return centers, xp.asarray(held), 0


class MiniBatchKMeans(CentersMixin):
    """k-means that follows small random batches instead of passing over all rows.

    Each center is the running mean of the rows it was ever given. Much less work than `KMeans` on
    large data, for an inertia a few per cent higher.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k.
    init : {"k-means++", "k-means||", "random"}, array of shape (k, d) or callable, \
            default="k-means++"
        Where to start, on a random subset of `init_size` rows; see `KMeans`.
    max_iter : int, default=100
        Most passes over the data, counted in batches.
    batch_size : int, default=1024
        Rows of a batch.
    verbose : int, default=0
        Show a progress bar.
    compute_labels : bool, default=True
        Whether ``fit`` ends with a pass that sets ``labels_`` and the exact ``inertia_``.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers. An int gives the same bits at any number of threads.
    tol : float, default=0.0
        Stop when a batch moves the centers by at most ``tol`` times the mean variance of the
        features; 0 never stops for that reason.
    max_no_improvement : int or None, default=10
        Stop after this many batches without a lower smoothed inertia.
    init_size : int or None, default=None
        Rows of the subset that starts are made and judged on; three batches, or ``3 k``, by
        default.
    n_init : int or "auto", default="auto"
        Number of starts, of which the best on the subset is followed; 3 for ``"random"`` and
        callables, 1 otherwise.
    reassignment_ratio : float, default=0.01
        A center with less than this share of the largest center's weight moves to a random row.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute; see `KMeans`.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Centers.
    labels_ : array of shape (n,), int32
        Nearest center of each row; with `compute_labels` only.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers; without `compute_labels` an
        estimate from the batches.
    counts_ : array of shape (k,), float64
        Weight that each center has followed.
    n_iter_ : int
        Passes over the data, rounded up.
    n_steps_ : int
        Batches followed.
    n_features_in_ : int
        Number of features d.
    feature_names_in_ : ndarray of shape (d,), object
        Column names, if X was a frame with text names.

    See Also
    --------
    KMeans : Passes over all rows.

    Notes
    -----
    In memory, batches are drawn with replacement by weight. From a stream, each chunk is shuffled
    and cut into batches in its turn, so chunks that differ from one another should be shuffled
    beforehand. Cost 2 b k d flops a batch of b rows.

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
        "device": DEVICE,
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        init="k-means++",
        max_iter=100,
        batch_size=1024,
        verbose=0,
        compute_labels=True,
        random_state=None,
        tol=0.0,
        max_no_improvement=10,
        init_size=None,
        n_init="auto",
        reassignment_ratio=0.01,
        device=None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.device = device

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the centers by following batches.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows, as for `KMeans`.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : MiniBatchKMeans
            The model itself, fitted.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, or X has fewer rows
            than clusters.
        RuntimeError
            If ``device="cuda"`` and there is no GPU to use.
        """
        seed = seed_of(self.random_state)
        if type(X) is not np.ndarray and is_stream(X):
            opened = open_stream(self, X, sample_weight, reset=True)
            if opened.in_memory is None:
                return self._fit_stream(opened, X, y, seed)
            chunks = list(opened)  # one, or none where there are no rows
            if not chunks:
                raise row_count_error("MiniBatchKMeans", 0, int(self.n_clusters))
            [(rows, weight)] = chunks
        else:
            rows, _ = check_X(self, X, reset=True)
            weight = check_weight(self, sample_weight, rows)
        like = X if self.device else rows
        rows = move_in(rows, self.device, "MiniBatchKMeans")
        if weight is not None:
            weight = move_in(weight, self.device, "MiniBatchKMeans")
        self._fit_memory(rows, weight, like, y, seed)
        refuse_overflow("MiniBatchKMeans", self.inertia_, rows.dtype)
        return self

    def _fit_memory(self, X, weight, like, y, seed):
        n, d = X.shape
        if int(self.n_clusters) > n:
            raise row_count_error("MiniBatchKMeans", n, int(self.n_clusters))
        batch = min(int(self.batch_size), n)
        xp = namespace(X)
        tol = self._tolerance(d, dense_rows(X, [0]), lambda c: lloyd_pass(X, c, weight), xp)
        centers = self._start(X, weight, seed)
        descent = _Descent(self, centers, xp.zeros(len(centers)), seed, n, batch, tol)
        running = None if weight is None else np.cumsum(to_host(weight), dtype=np.float64)
        n_steps = max(1, int(self.max_iter) * n // batch)
        with self._progress(n_steps, X, y) as progress:
            progress.begin_run()
            for step in range(n_steps):
                # Weights decide which rows come up; each then counts once.
                if running is None:
                    rows = random.integers(seed, _BATCHES, step * batch, batch, n)
                else:
                    u = random.uniform(seed, _BATCHES, step * batch, batch)
                    rows = np.searchsorted(running, u * running[-1], side="right")
                    rows = np.minimum(rows, n - 1)
                stop = descent.take(X, xp.asarray(rows), None)
                if (self._tell(progress, descent, X.dtype, like)) or stop:
                    break
            self._keep(descent, X.dtype, like, seed)
            self.n_iter_ = -(-descent.steps * batch // n)
            if self.compute_labels:
                labels, squared = assign(X, descent.centers)
                self.labels_ = move_back(labels, like)
                self.inertia_ = sum_of(squared, weight)
            else:
                total = n if weight is None else sum_of(weight)
                self.inertia_ = (descent.ewa or 0.0) * total
            self._finish(progress, descent, X.dtype, like)

    def _fit_stream(self, opened, X, y, seed):
        n = opened.count_rows()
        if int(self.n_clusters) > n:
            raise row_count_error("MiniBatchKMeans", n, int(self.n_clusters))
        device = self.device
        size = min(n, self._init_size(int(self.batch_size)))
        sample, weight, _ = opened.sample(size, legacy_state(seed, _SUBSETS))
        like = dense_rows(sample, [0])
        tol = self._tolerance(
            opened.n_features, like, lambda c: opened.map_reduce(lloyd_pass, c, device=device), np
        )
        centers = self._start(sample, weight, seed)
        xp = np
        if device == "cuda":
            centers = move_in(centers, device, "MiniBatchKMeans")
            xp = namespace(centers)
        counts = xp.zeros(len(centers))
        descent = _Descent(self, centers, counts, seed, n, int(self.batch_size), tol)
        seen, stopped = 0, False
        with self._progress(int(self.max_iter) * -(-n // int(self.batch_size)), X, y) as progress:
            progress.begin_run()
            for epoch in range(int(self.max_iter)):
                with contextlib.closing(iter(opened)) as chunks:
                    for number, (rows, weight) in enumerate(chunks):
                        rows = move_in(rows, device, "MiniBatchKMeans")
                        if weight is not None:
                            weight = move_in(weight, device, "MiniBatchKMeans")
                        rng = generator(seed, _CHUNKS + (epoch << 32) + number)
                        order = rng.permutation(rows.shape[0])
                        for first in range(0, len(order), int(self.batch_size)):
                            batch = order[first : first + int(self.batch_size)]
                            seen += len(batch)
                            stop = descent.take(rows, xp.asarray(batch), weight)
                            if self._tell(progress, descent, opened.dtype, like) or stop:
                                stopped = True
                                break
                        if stopped:
                            break
                if stopped:
                    break
            self._keep(descent, opened.dtype, like, seed)
            self.n_iter_ = -(-seen // n)
            centers = to_host(descent.centers)
            if self.compute_labels:
                parts = list(opened.map(labels_of, centers, device=device))
                self.labels_ = np.concatenate(parts)
                self.inertia_ = float(opened.map_reduce(lloyd_pass, centers, device=device)[2])
            else:
                self.inertia_ = (descent.ewa or 0.0) * n
            self._finish(progress, descent, opened.dtype, like)
        return self

    @fitting
    def partial_fit(self, X, y=None, sample_weight=None):
        """Follow one batch; the first call makes the start.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            The batch, in memory.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : MiniBatchKMeans
            The model itself, fitted.

        Raises
        ------
        ValueError
            If X or the weights are not finite, X has other features than before, or the first batch
            has fewer rows than there are clusters.
        """
        first = "cluster_centers_" not in vars(self)
        given = X
        X, _ = check_X(self, X, reset=first)
        weight = check_weight(self, sample_weight, X)
        like = given if self.device else X
        X = move_in(X, self.device, "MiniBatchKMeans")
        if weight is not None:
            weight = move_in(weight, self.device, "MiniBatchKMeans")
        xp = namespace(X)
        seed = getattr(self, "_seed", None)
        if seed is None:
            seed = seed_of(self.random_state)
        if first:
            if int(self.n_clusters) > X.shape[0]:
                raise row_count_error("MiniBatchKMeans", X.shape[0], int(self.n_clusters))
            centers, counts = self._start(X, weight, seed), xp.zeros(int(self.n_clusters))
            steps, since = 0, 0
        else:
            centers, counts = self._centers_near(X), xp.asarray(self.counts_)
            steps, since = self.n_steps_, self._rows_since_reassignment
        sums, weights, _ = lloyd_pass(X, centers, weight)
        centers, counts = _updated(centers, counts, sums, weights)
        centers, counts, since = reassigned(self, X, None, centers, counts, since, seed, steps)
        self._keep_centers(centers, X.dtype, like)
        self.counts_ = move_back(counts, like)
        self.n_steps_, self._rows_since_reassignment, self._seed = steps + 1, since, seed
        if self.compute_labels:
            labels, squared = assign(X, centers)
            self.labels_ = move_back(labels, like)
            self.inertia_ = sum_of(squared, weight)
        return self

    # --- parts of a fit ---------------------------------------------------------------------------

    def _tolerance(self, d, first, one_pass, xp):
        if self.tol == 0:
            return 0.0
        return tolerance(self.tol, d, xp.asarray(first), one_pass)

    def _init_size(self, batch):
        """Rows of the subset that starts are made on, before n limits it."""
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

    def _start(self, X, weight, seed):
        """The best of some starts, each made on a subset and judged on another."""
        n = X.shape[0]
        starts = number_of_starts(self, 3)
        size = min(n, self._init_size(min(int(self.batch_size), n)))

        def subset(stream):
            if size >= n:
                return X, weight
            rows = random.integers(seed, stream, 0, size, n)
            rows = np.sort(rows) if is_sparse(X) else namespace(X).asarray(np.sort(rows))
            return X[rows], None if weight is None else weight[rows]

        best = least = None
        for number in range(starts):
            some, some_weight = subset(_SUBSETS + number)
            if some_weight is not None and not bool((some_weight > 0).any()):
                some, some_weight = X, weight
            centers = _seeding.start(
                some, some_weight, self.init, int(self.n_clusters), seed, number, "MiniBatchKMeans"
            )
            if not _seeding.is_given(self.init):
                centers = _refined(some, some_weight, centers)
            if starts == 1:
                return centers
            judged, judged_weight = subset(_VALIDATION)
            inertia = sum_of(assign(judged, centers)[1], judged_weight)
            if least is None or inertia < least:
                best, least = centers, inertia
        return best

    def _progress(self, n_steps, X, y):
        return Progress(self, self.verbose, iterations=n_steps, unit="batch", X=X, y=y)

    def _tell(self, progress, descent, dtype, like):
        return progress.listening and progress.step(
            objective=descent.ewa, state=lambda: self._state(descent.centers, dtype, like)
        )

    def _keep(self, descent, dtype, like, seed):
        self._keep_centers(descent.centers, dtype, like)
        self.counts_ = move_back(descent.counts, like)
        self.n_steps_ = descent.steps
        self._rows_since_reassignment, self._seed = 0, seed
        self.__dict__.pop("labels_", None)

    def _finish(self, progress, descent, dtype, like):
        def state():
            return self._state(descent.centers, dtype, like)

        progress.end_run("%d batches", descent.steps, objective=descent.ewa, state=state)
        progress.end_fit(state)
