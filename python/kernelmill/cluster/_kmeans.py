"""KMeans: Lloyd's algorithm on arrays, CSR matrices and streams."""

from __future__ import annotations

import logging
import operator
from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import Progress, logger
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._threads import get_threads
from kernelmill.cluster import _seeding
from kernelmill.cluster._centers import (
    CentersModel,
    check_row_count,
    refuse_overflow,
    warn_if_too_few,
)
from kernelmill.cluster._lloyd import (
    EMPTY_CLUSTER,
    Descent,
    FusedDescent,
    Partition,
    tolerance,
)
from kernelmill.cluster._statistics import sum_of
from kernelmill.ops import kmeans

INIT = rule.any_of(
    rule.one_of("k-means++", "k-means||", "random"),
    rule.function("(X, n_clusters, random_state)"),
    rule.array("(n_clusters, n_features)"),
)
# Runs go side by side where a step has at most this many chunks of the fused op, so that more
# threads could not share it, and where the results of all runs take at most this many bytes.
_TOGETHER_CHUNKS = 4
_CHUNK_FLOPS = 4e6  # roughly those of row_grain in cpp/ops/kmeans_nearest.hpp
_TOGETHER_BYTES = 64e6

N_INIT = rule.any_of(rule.one_of("auto"), rule.integer(1))


def number_of_starts(estimator: Any, many: int) -> int:
    """``n_init`` as a number; "auto" is `many` for random starts and callables, 1 otherwise."""
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


class KMeans(CentersModel):
    """k-means clustering by Lloyd's algorithm, from tiny arrays to data larger than memory.

    Minimises ``sum_i w[i] min_j ||X[i] - C[j]||^2`` over the centers C, from one or more starts.

    Parameters
    ----------
    init : {"k-means++", "k-means||", "random"}, array of shape (k, d) or callable, \
            default="k-means++"
        Initial centers. ``"k-means++"`` is the greedy variant with ``2 + floor(log k)`` candidates
        per center; on a stream of more than 256 MiB, where it would take k passes, ``"k-means||"``
        with six is used instead. ``"random"`` draws rows by weight. An array gives the centers. A
        callable is called as ``init(X, n_clusters, random_state=RandomState)`` and returns an
        array.
    n_init : int or "auto", default="auto"
        Number of starts; the one with the lowest inertia is kept. ``"auto"`` is 10 for ``"random"``
        and callables, 1 otherwise.
    tol : float, default=1e-4
        Stop when the centers move by at most ``tol`` times the mean variance of the features
        (squared Frobenius norm), or when no label changes.
    copy_x : bool, default=True
        Ignored; present for API compatibility. X is neither copied nor modified.
    algorithm : {"lloyd", "elkan", "plain"}, default="lloyd"
        Whether to keep two distance bounds per row (Hamerly), which skip rows whose label cannot
        change: ``"lloyd"`` where that is faster, ``"elkan"`` always, ``"plain"`` never. All three
        give the same labels and centers, bit for bit.
    warm_start : bool, default=False
        Start from the centers of the previous fit instead of `init`. A fit interrupted by Ctrl-C
        then keeps the centers it has reached, and the next one continues from them.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Centers, also stored in float64, so that ``labels_`` equals ``predict(X)`` and float32 rows
        far from the origin get the same labels as in float64.
    labels_ : array of shape (n,), int32
        Nearest center of each row.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers.
    n_iter_, n_features_in_, feature_names_in_
    interrupted_ : bool
        True after a fit with ``warm_start=True`` that Ctrl-C stopped; absent otherwise.

    See Also
    --------
    MiniBatchKMeans : Updates centers from small batches; faster on large data, slightly worse.
    BisectingKMeans : Splits one cluster after another.
    ConstrainedKMeans : Obeys constraints on pairs of rows or on cluster sizes.

    Notes
    -----
    float32 input stays float32, without a float64 copy; sums are float64. A cluster that loses all
    its rows moves to the row of largest weight times squared distance to its center. Several starts
    of a small problem run in parallel, one thread each, with unchanged results.

    The result does not depend on how the rows are stored: a ``.npy`` file is its memory map, and a
    memory map of up to 256 MiB is an array. Other streams of up to 256 MiB, as a dense array, have
    the same starts as an array, and so the same centers up to rounding. Larger streams start from
    ``"k-means||"``, or from ``"random"`` rows, which are drawn chunk by chunk: they depend on the
    chunks, too.

    Supports scikit-learn's callbacks (``set_callbacks``), which see the centers after each
    iteration and may stop the fit. A fit that fails, or is interrupted without `warm_start`, leaves
    the model unchanged. ``predict``, ``transform`` and ``score`` may be called from several
    threads. Cost at most 2 n k d flops an iteration. Memory for labels and bounds: 12 n bytes for
    float32 rows, or up to 64 MB for parallel starts.

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
        "warm_start": rule.boolean(),
        "device": rule.DEVICE,
    }

    def __init__(
        self, n_clusters=8, *, init="k-means++", n_init="auto", max_iter=300, tol=1e-4, verbose=0,
        random_state=None, copy_x=True, algorithm="lloyd", warm_start=False, device=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the centers.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, or X has fewer rows
            than clusters.
        RuntimeError
            If ``device="cuda"`` and no GPU is available.

        Warns
        -----
        ConvergenceWarning
            If X has fewer distinct rows than clusters.
        """
        rows = self._rows(X, sample_weight, reset=True)
        k = int(self.n_clusters)
        check_row_count("KMeans", rows.count, k)
        seed, init, runs = seed_of(self.random_state), self.init, 1
        if self.warm_start and "cluster_centers_" in vars(self):
            init = self._previous_centers(rows.n_features, "set warm_start=False")
        else:
            runs = number_of_starts(self, 10)
        tol, max_iter = tolerance(rows, self.tol), int(self.max_iter)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, self.verbose, runs=runs, iterations=max_iter, X=X, y=y, metadata=metadata
        ) as progress:
            descent: Descent = (FusedDescent if rows.is_dense else Descent)(
                rows, tol, k, self.algorithm
            )
            together = runs > 1 and rows.is_dense and not (descent.bounded or progress.listening)
            if together and runs_together(rows, k, runs, init):
                starts = _seeding.start_rows(rows.X, rows.weight, init, k, seed, runs)
                descent = _SmallRuns(descent, starts, min(max_iter, np.iinfo(np.int64).max))
                runs = len(descent.numbers)

            def begin(number):
                if isinstance(descent, _SmallRuns):
                    return descent.begin_known(number)
                return descent.begin(_seeding.start(rows, init, k, seed, number))

            best = climb(
                progress,
                begin,
                descent.advance,
                max_iter=max_iter,
                attributes=lambda state, n_iter: self._attributes(state.centers, rows),
                starts=runs,
                finish=descent.finish,
                better=operator.lt,
            )
        refuse_overflow("KMeans", best.objective, rows.dtype)
        centers, labels = best.state
        if isinstance(descent, _SmallRuns):  # views would keep the results of all runs in memory
            centers, labels = centers.copy(), labels.copy()
        self.__dict__.update(self._attributes(centers, rows))
        self.labels_ = rows.as_given(labels)
        self.inertia_, self.n_iter_ = best.objective, best.n_iter
        warn_if_too_few(self, self.labels_)
        return self


class _SmallRuns(Descent):
    """Several starts in one call, for problems too small to use several threads each.

    Parameters
    ----------
    descent : FusedDescent
        Repeats runs in which a cluster became empty.
    starts : ndarray of shape (runs, k), int64
        Row numbers of the initial centers.
    max_iter : int

    Attributes
    ----------
    numbers : list of int
        Starts that may be the best: the best of those that ended, and those to be repeated.
    """

    def __init__(self, descent: Descent, starts: np.ndarray, max_iter: int) -> None:
        self.rows, self._alone, self._starts = descent.rows, descent, starts
        X, weight = descent.rows.X, descent.rows.weight
        self._centers, self._labels, squared, self._steps, status = kmeans.restarts(
            X, starts, weight, max_iter, descent.tol
        )
        ended = np.flatnonzero(status != EMPTY_CLUSTER).tolist()
        self._inertias = inertias = {i: sum_of(squared[i], weight) for i in ended}
        best = min(inertias, key=inertias.__getitem__, default=-1)
        every = logger.isEnabledFor(logging.DEBUG)  # reported one by one
        self.numbers = [i for i in range(len(starts)) if every or i == best or i not in inertias]

    def begin_known(self, number: int) -> Partition:
        """The final state of a start, or the initial one of a run that must be repeated."""
        self._chosen = chosen = self.numbers[number]
        if chosen in self._inertias:
            return Partition(self._centers[chosen], self._labels[chosen])
        return self._alone.begin(_seeding.rows_at(self.rows, self._starts[chosen]))

    def advance(self, state: Partition, most: int) -> Step:
        """All iterations of a run at once."""
        if state.labels is None:
            return self._alone.advance(state, most)
        return Step(state, None, True, int(self._steps[self._chosen]))

    def finish(self, run: Run) -> Run:
        """The run with labels and inertia."""
        if run.state.labels is None:
            return self._alone.finish(run)
        return run._replace(objective=self._inertias[self._chosen])


def runs_together(rows: Rows, k: int, runs: int, init: Any) -> bool:
    """Whether to make several runs over dense rows in one call: small ones on the CPU."""
    if not isinstance(init, str) or init == "k-means||" or rows.xp is not np:
        return False
    n, d = rows.X.shape
    chunks = 2.0 * n * d * k / _CHUNK_FLOPS  # the threads that could share a step
    return (
        chunks <= _TOGETHER_CHUNKS
        and runs >= min(chunks, get_threads())
        and runs * (n * (4 + rows.X.itemsize) + 8 * k * d) <= _TOGETHER_BYTES
    )
