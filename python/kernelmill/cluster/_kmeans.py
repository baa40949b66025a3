"""KMeans: Lloyd's algorithm on arrays, CSR matrices and streams."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._device import DEVICE, move_back, move_in, namespace
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._estimator._streams import check_weight, is_stream, open_stream
from kernelmill._estimator._validation import check_X
from kernelmill._threads import get_threads
from kernelmill.cluster import _seeding
from kernelmill.cluster._base import (
    CentersMixin,
    refuse_overflow,
    row_count_error,
    warn_if_too_few,
)
from kernelmill.cluster._lloyd import (
    EMPTY_CLUSTER,
    Run,
    choose_bounds,
    lloyd_by_passes,
    lloyd_in_memory,
    tolerance,
)
from kernelmill.cluster._passes import lloyd_pass, sum_of
from kernelmill.ops import kmeans
from kernelmill.stream import source

INIT = rule.any_of(
    rule.one_of("k-means++", "k-means||", "random"),
    rule.function("(X, n_clusters, random_state)"),
    rule.array("(n_clusters, n_features)"),
)
# Runs go side by side where a step is at most this many chunks of the fused op, so that more
# threads could not share it, and where all that the runs find takes at most so many bytes.
_TOGETHER_CHUNKS = 4
_CHUNK_FLOPS = 4e6  # about, as row_grain in cpp/ops/kmeans_nearest.hpp cuts the rows
_TOGETHER_BYTES = 64e6

N_INIT = rule.any_of(rule.one_of("auto"), rule.integer(1))


def number_of_starts(estimator: Any, many: int) -> int:
    """``n_init`` as a number: `many` for starts at random, one for starts that are good already."""
    init, n_init = estimator.init, estimator.n_init
    if _seeding.is_given(init):
        if n_init not in ("auto", 1):
            warn(
                f"{type(estimator).__name__}: n_init must be 1 when init is an array, got "
                f"{n_init} (one start is made)",
                RuntimeWarning,
            )
        return 1
    if n_init != "auto":
        return int(n_init)
    return 1 if isinstance(init, str) and init != "random" else many


class KMeans(CentersMixin):
    """k-means clustering by Lloyd's algorithm, from tiny arrays to data larger than memory.

    Minimises ``sum_i w[i] min_j ||X[i] - C[j]||^2`` over the centers C, from one or more starts.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k.
    init : {"k-means++", "k-means||", "random"}, array of shape (k, d) or callable, \
            default="k-means++"
        Where to start. ``"k-means++"`` is the greedy variant with ``2 + floor(log k)`` candidates
        per center; on a stream it takes k passes, so ``"k-means||"``, which takes six, stands in
        for it. ``"random"`` draws rows by weight. An array continues from given centers. A callable
        is called as ``init(X, n_clusters, random_state=RandomState)`` and returns an array.
    n_init : int or "auto", default="auto"
        Number of starts; the one with the least inertia wins. ``"auto"`` is 10 for ``"random"`` and
        callables, 1 otherwise.
    max_iter : int, default=300
        Most iterations of a start.
    tol : float, default=1e-4
        Stop when the centers move by at most ``tol`` times the mean variance of the features
        (squared Frobenius norm), or when no label changes.
    verbose : int, default=0
        Show a progress bar; nothing is ever printed otherwise.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers. An int gives the same bits at any number of threads.
    copy_x : bool, default=True
        Accepted for scikit-learn's sake. X is never copied and never written to.
    algorithm : {"lloyd", "elkan", "plain"}, default="lloyd"
        How rows are compared with centers. All three give the same labels and centers, bit for bit.
        ``"lloyd"`` keeps two distance bounds per row where that pays, and passes over rows whose
        label cannot change; ``"elkan"`` always keeps them (two bounds a row, as Hamerly does, not
        k); ``"plain"`` never does.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute: None is where X lives. ``"cuda"`` moves NumPy input to the GPU once and
        gives NumPy back; it raises where there is no GPU.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Centers. They are kept in float64 besides, so that ``labels_`` equals ``predict(X)`` and
        float32 rows far from the origin get the labels that float64 would give.
    labels_ : array of shape (n,), int32
        Nearest center of each row.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers.
    n_iter_ : int
        Iterations of the start that won.
    n_features_in_ : int
        Number of features d.
    feature_names_in_ : ndarray of shape (d,), object
        Column names, if X was a frame with text names.

    See Also
    --------
    MiniBatchKMeans : Follows small batches; faster on large data, a little worse.
    BisectingKMeans : Splits one cluster after another.
    ConstrainedKMeans : Obeys rules about rows and about cluster sizes.

    Notes
    -----
    float32 input stays float32, without a float64 copy; sums are kept in float64. A cluster that
    loses all its rows moves to the row farthest from its center. Several starts of a small problem
    run side by side, one thread each, with the result of one after the other. A fit that fails or
    is interrupted leaves the model as it was. ``predict``, ``transform`` and ``score`` may be
    called from several threads. Cost 2 n k d flops an iteration at most. Memory for labels and
    bounds: 12 n bytes beside float32 rows, or up to 64 MB for starts side by side.

    References
    ----------
    Lloyd (1982), "Least squares quantization in PCM". Arthur and Vassilvitskii (2007), "k-means++:
    the advantages of careful seeding". Bahmani et al. (2012), "Scalable k-means++". Hamerly (2010),
    "Making k-means even faster".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import KMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = KMeans(2, random_state=0).fit(X)
    >>> model.cluster_centers_[np.argsort(model.cluster_centers_[:, 0])]
    array([[ 1.,  2.],
           [10.,  2.]])
    >>> bool(model.predict([[0, 0]])[0] == model.labels_[0])
    True
    >>> model.inertia_
    16.0
    """

    _parameters: ClassVar = {
        "n_clusters": rule.integer(1),
        "init": INIT,
        "n_init": N_INIT,
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
        "verbose": rule.VERBOSE,
        "random_state": rule.RANDOM_STATE,
        "copy_x": rule.boolean(),
        "algorithm": rule.one_of("lloyd", "elkan", "plain"),
        "device": DEVICE,
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        init="k-means++",
        n_init="auto",
        max_iter=300,
        tol=1e-4,
        verbose=0,
        random_state=None,
        copy_x=True,
        algorithm="lloyd",
        device=None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.device = device

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the centers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows: NumPy or CuPy array of any strides, SciPy sparse matrix, pandas or polars frame,
            pyarrow Table, nested lists; or anything `kernelmill.stream.source` takes: a path to
            ``.npy`` or Parquet files, a memory map, an iterable of chunks, a Dask collection.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows. A weight of 2 is the same as the row twice, 0 as no row.

        Returns
        -------
        self : KMeans
            The model itself, fitted.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, or X has fewer rows
            than clusters.
        RuntimeError
            If ``device="cuda"`` and there is no GPU to use.

        Warns
        -----
        ConvergenceWarning
            If X has fewer distinct rows than clusters.
        """
        if type(X) is not np.ndarray and is_stream(X):
            opened = open_stream(self, X, sample_weight, reset=True)
            return self._fit_passes(opened, X, y, self._seed(), opened.count_rows())
        rows, _ = check_X(self, X, reset=True)
        weight = check_weight(self, sample_weight, rows)
        if int(self.n_clusters) > rows.shape[0]:
            raise row_count_error("KMeans", rows.shape[0], int(self.n_clusters))
        rows = move_in(rows, self.device, "KMeans")
        if is_sparse(rows):
            held = source(rows, sample_weight=weight, owner="KMeans")
            return self._fit_passes(held, rows, y, self._seed(), rows.shape[0])
        if weight is not None:
            weight = move_in(weight, self.device, "KMeans")
        like = X if self.device else rows
        return self._fit_dense(rows, weight, like, y, self._seed())

    def _seed(self):
        return seed_of(self.random_state)

    def _progress(self, runs, X, y, weight):
        metadata = None if weight is None else {"sample_weight": weight}
        return Progress(
            self,
            self.verbose,
            runs=runs,
            iterations=int(self.max_iter),
            X=X,
            y=y,
            metadata=metadata,
        )

    def _fit_dense(self, X, weight, like, y, seed):
        n, d = X.shape
        k, xp = int(self.n_clusters), namespace(X)
        runs = number_of_starts(self, 10)
        bounded = choose_bounds(n, d, k, X.dtype, self.algorithm)
        bounds = xp.empty((n if bounded else 0, 2), dtype=X.dtype)
        labels = xp.empty(n, dtype=np.int32)
        tol = tolerance(self.tol, d, X[:1].astype(np.float64), lambda c: lloyd_pass(X, c, weight))
        with self._progress(runs, X, y, weight) as progress:

            def start(number):
                return _seeding.start(X, weight, self.init, k, seed, number, "KMeans")

            def descend(centers):
                return lloyd_in_memory(
                    X,
                    weight,
                    centers,
                    max_iter=int(self.max_iter),
                    tol=tol,
                    bounds=bounds,
                    always=self.algorithm == "elkan",
                    labels=labels,
                    progress=progress,
                    state=lambda centers, n_iter: self._state(centers, X.dtype, like),
                )

            if bounded or not runs_together(X, k, runs, self.init, progress):
                best = best_of_runs(runs, start, descend, progress)
            else:
                starts = _seeding.start_rows(X, weight, self.init, k, seed, runs)
                limits = min(int(self.max_iter), np.iinfo(np.int64).max), tol
                best = best_of_small_runs(X, weight, starts, *limits, descend, progress)
            self._keep(best, X.dtype, like)
            progress.end_fit(lambda: self._state(best.centers, X.dtype, like))
        return self

    def _fit_passes(self, opened, X, y, seed, n):
        """Fit over a source: a stream, or a CSR matrix in memory."""
        k = int(self.n_clusters)
        if k > n:
            raise row_count_error("KMeans", n, k)
        runs = number_of_starts(self, 10)
        first = opened.take([0])
        first = first.toarray() if is_sparse(first) else first
        device = self.device
        tol = tolerance(
            self.tol,
            opened.n_features,
            first.astype(np.float64),
            lambda c: opened.map_reduce(lloyd_pass, c, device=device),
        )
        with self._progress(runs, X, y, None) as progress:

            def start(number):
                return self._start_of(opened, seed, number)

            def descend(centers):
                return lloyd_by_passes(
                    opened,
                    centers,
                    max_iter=int(self.max_iter),
                    tol=tol,
                    progress=progress,
                    state=lambda centers, n_iter: self._state(centers, opened.dtype, first),
                    device=device,
                )

            best = best_of_runs(runs, start, descend, progress)
            self._keep(best, opened.dtype, first)
            progress.end_fit(lambda: self._state(best.centers, opened.dtype, first))
        return self

    def _start_of(self, opened, seed, number):
        """Centers to start from, for a source."""
        k, init = int(self.n_clusters), self.init
        if opened.in_memory is not None:
            [(X, weight)] = opened
            return _seeding.start(X, weight, init, k, seed, number, "KMeans")
        if callable(init):
            # The function gets a sample that fits in memory, as it cannot get a stream.
            size = min(opened.count_rows(), max(100 * k, 10_000))
            rows = opened.sample(size, legacy_state(seed, number))[0]
            return _seeding.start(rows, None, init, k, seed, number, "KMeans")
        if not isinstance(init, str):
            return _seeding.given_centers(init, k, opened.n_features, "KMeans")
        draw = _seeding.random_from if init == "random" else _seeding.scalable
        return draw(opened, k, seed, number, self.device)

    def _keep(self, run: Run, dtype, like):
        refuse_overflow("KMeans", run.inertia, dtype)
        self._keep_centers(run.centers, dtype, like)
        self.labels_ = move_back(run.labels, like)
        self.inertia_ = run.inertia
        self.n_iter_ = run.n_iter
        warn_if_too_few(self, self.labels_)


def best_of_runs(runs, start, descend, progress) -> Run:
    """The run with the least inertia, the first among equal ones."""
    best: Run | None = None
    for number in range(runs):
        progress.begin_run()
        run, stopped = descend(start(number))
        if best is None or run.inertia < best.inertia:
            best = run
        skip = progress.end_run(
            "run %d of %d: inertia %.6g after %d iterations",
            number + 1,
            runs,
            run.inertia,
            run.n_iter,
            objective=run.inertia,
        )
        if stopped or skip:
            break
    assert best is not None  # there is at least one run
    return best


def best_of_small_runs(X, weight, starts, max_iter, tol, descend, progress) -> Run:
    """As `best_of_runs`, the runs side by side: they are too small to use several threads each.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,) or None
    starts : ndarray of shape (runs, k), int64
        Rows to start from.
    max_iter, tol, descend, progress
        As elsewhere; the progress must not be listening.
    """
    found = list(zip(*kmeans.restarts(X, starts, weight, max_iter, tol), strict=True))

    def finished(number):
        centers, labels, squared, steps, status = found[number]
        if status == EMPTY_CLUSTER:  # needs the care that only a run by itself gets
            return descend(_seeding.rows_at(X, starts[number]))
        return Run(centers, labels, sum_of(squared, weight), int(steps)), False

    best = best_of_runs(len(starts), lambda number: number, finished, progress)
    # Not a view that keeps what the other runs found alive.
    return best._replace(centers=best.centers.copy(), labels=best.labels.copy())


def runs_together(X, k, runs, init, progress) -> bool:
    """Whether to make all runs in one call: several small ones that nobody listens to."""
    n, d = X.shape
    chunks = 2.0 * n * d * k / _CHUNK_FLOPS  # of a step: as many threads could share it
    return (
        runs > 1
        and isinstance(init, str)
        and init in ("k-means++", "random")
        and type(X) is np.ndarray
        and not progress.listening
        and chunks <= _TOGETHER_CHUNKS
        and runs >= min(chunks, get_threads())
        and runs * (n * (4 + X.itemsize) + 8 * k * d) <= _TOGETHER_BYTES
    )
