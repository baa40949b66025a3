"""ConstrainedKMeans: k-means under constraints on pairs of rows or on cluster sizes."""

from __future__ import annotations

import operator
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Rows
from kernelmill.cluster import _links, _seeding, _sizes
from kernelmill.cluster._centers import CentersModel, check_row_count, warn_if_too_few
from kernelmill.cluster._kmeans import INIT, N_INIT, number_of_starts
from kernelmill.cluster._lloyd import Partition, far_rows, relocated_centers, tolerance
from kernelmill.cluster._statistics import assign, lloyd_pass, sum_of
from kernelmill.ops import pairwise, random

# Streams of random numbers: for centers without seeds, and for the order of groups.
_SEEDS = 1 << 20
_ORDER = 1 << 21


class ConstrainedKMeans(CentersModel):
    """k-means with must-links and cannot-links, or with limits on the sizes of clusters.

    ``labels_`` satisfies all constraints: rows that must link share a cluster, rows that cannot
    link do not, or every cluster has between `size_min` and `size_max` rows.

    Parameters
    ----------
    must_link : array of shape (m, 2), int, or None, default=None
        Pairs of row numbers, in the X given to ``fit``, of rows in the same cluster. Pairs chain:
        (0, 1) and (1, 2) join 0 and 2.
    cannot_link : array of shape (m, 2), int, or None, default=None
        Pairs of row numbers of rows in different clusters.
    size_min, size_max : int or None, default=None
        Minimum and maximum number of rows of a cluster; cannot be combined with pairs.
    seeds : array of shape (n,), int, or None, default=None
        Known labels from 0 to k - 1, and -1 for rows without one. The initial centers are the means
        of the seeds, instead of `init`; rows with a seed may still change cluster.
    init : {"k-means++", "k-means||", "random"}, array of shape (k, d) or callable, \
            default="k-means++"
        Initial centers; see `KMeans`.
    n_init : int or "auto", default="auto"
        Number of starts, as for `KMeans`.
    tol : float, default=1e-4
        As for `KMeans`.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute distances of unconstrained rows; constraints are solved on the CPU.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Means of the clusters.
    labels_ : array of shape (n,), int32
        Labels, which satisfy the constraints.
    inertia_ : float
        Weighted sum of squared distances of the rows to the centers of their own clusters.
    n_iter_, n_features_in_, feature_names_in_

    Raises
    ------
    ValueError
        From ``fit``, if the constraints contradict one another; the message names the rows.

    See Also
    --------
    KMeans : Without constraints.

    Notes
    -----
    ``predict`` finds the nearest centers: constraints hold for the rows of ``fit`` only, so
    ``predict(X)`` may differ from ``labels_``.
    ``set_callbacks`` takes scikit-learn's callbacks and `kernelmill.callbacks.Checkpoint`.

    Satisfying cannot-links is graph colouring, which is NP-hard. Groups of rows with fewer than k
    exclusions can always be placed; for the others a few greedy orders are tried, then an exact
    search of bounded length. An error says that no labelling exists, and why, or that none was
    found. Later iterations improve the labels by Kempe chains, so the inertia never increases. Size
    limits are met by an exact minimum-cost flow, with the n k distances in memory as float64.
    Supports scikit-learn's callbacks and `kernelmill.callbacks` (``set_callbacks``), which see the
    centers after each iteration and may stop the fit.

    References
    ----------
    Wagstaff et al. (2001), "Constrained k-means clustering with background knowledge". Basu,
    Banerjee, Mooney (2002), "Semi-supervised clustering by seeding". Bradley, Bennett, Demiriz
    (2000), "Constrained k-means clustering", for sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import ConstrainedKMeans
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> model = ConstrainedKMeans(2, must_link=[(0, 3)], cannot_link=[(0, 1)], random_state=0)
    >>> labels = model.fit(X).labels_
    >>> bool(labels[0] == labels[3] != labels[1])
    True
    >>> X = np.array([[0.0], [0.1], [0.2], [9.0]])
    >>> even = ConstrainedKMeans(2, size_min=2, random_state=0).fit(X)
    >>> np.bincount(even.labels_).tolist()
    [2, 2]
    """

    _accepts_sparse = False
    _accepts_streams = False
    _parameters: ClassVar = {
        "n_clusters": rule.integer(1),
        "must_link": rule.any_of(rule.array("(m, 2)"), rule.nothing()),
        "cannot_link": rule.any_of(rule.array("(m, 2)"), rule.nothing()),
        "size_min": rule.any_of(rule.integer(0), rule.nothing()),
        "size_max": rule.any_of(rule.integer(1), rule.nothing()),
        "seeds": rule.any_of(rule.array("(n,)"), rule.nothing()),
        "init": INIT,
        "n_init": N_INIT,
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
        "verbose": rule.VERBOSE,
        "random_state": rule.RANDOM_STATE,
        "device": rule.DEVICE,
    }

    def __init__(
        self, n_clusters=8, *, must_link=None, cannot_link=None, size_min=None, size_max=None,
        seeds=None, init="k-means++", n_init="auto", max_iter=300, tol=1e-4, verbose=0,
        random_state=None, device=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find centers and labels that satisfy the constraints.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Dense rows in memory, as for `KMeans`.
        y : ignored
            Ignored; present for API compatibility. Known labels are passed as `seeds`.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in centers and inertia; sizes count rows.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, X has fewer rows
            than clusters, or the constraints contradict one another.
        TypeError
            If X is sparse or a stream.
        RuntimeError
            If ``device="cuda"`` and no GPU is available.

        Warns
        -----
        ConvergenceWarning
            If the best start did not converge in `max_iter` iterations, the labels may not be the
            cheapest that satisfy the constraints, or X has fewer distinct rows than clusters.
        """
        rows = self._rows(X, sample_weight, reset=True)
        check_row_count("ConstrainedKMeans", rows.count, int(self.n_clusters))
        seed = seed_of(self.random_state)
        problem = self._problem(rows, seed)
        tol = tolerance(rows, self.tol)

        def begin(number):
            problem.restart()
            return Partition(self._start(rows, seed, number))

        def advance(state, most):
            """One iteration of Lloyd's algorithm with the assignment of the problem."""
            before = state.centers
            sums, weights, inertia, changed = problem.step(before)
            filled = weights > 0
            centers = before.copy()
            centers[filled] = sums[filled] / weights[filled, None]
            shift = float(((centers - before) ** 2).sum())
            empty = np.flatnonzero(~to_host(filled))
            moved = problem.relocated(before, centers, empty) if len(empty) else None
            if moved is None:
                return Step(Partition(centers), inertia, shift <= tol or not changed)
            return Step(Partition(rows.xp.asarray(moved)), inertia)

        def finish(run):
            centers = run.state.centers
            problem.step(centers)
            labels, inertia = problem.labels(centers)
            return run._replace(state=Partition(centers, labels), objective=inertia)

        runs = 1 if self.seeds is not None else number_of_starts(self, 10)
        max_iter = int(self.max_iter)
        with Progress(self, self.verbose, runs=runs, iterations=max_iter, X=X, y=y) as progress:
            best: Run = climb(
                progress,
                begin,
                advance,
                max_iter=max_iter,
                attributes=lambda state, n_iter: self._attributes(state.centers, rows),
                starts=runs,
                finish=finish,
                better=operator.lt,
            )
        self.__dict__.update(self._attributes(best.state.centers, rows))
        self.labels_ = rows.as_given(best.state.labels)
        self.inertia_, self.n_iter_ = best.objective, best.n_iter
        warn_if_too_few(self, self.labels_)
        if not best.converged and best.n_iter >= max_iter:  # rather than stopped by a callback
            warn(
                f"ConstrainedKMeans: the best start did not converge in max_iter={max_iter} "
                f"iterations (raise max_iter or tol)",
                ConvergenceWarning,
            )
        return self

    def _problem(self, rows, seed):
        n, k = rows.count, int(self.n_clusters)
        pairs = {
            name: _links.pairs_of(getattr(self, name), n, name, "ConstrainedKMeans")
            for name in ("must_link", "cannot_link")
        }
        if self.size_min is None and self.size_max is None:
            links = _links.Links(pairs["must_link"], pairs["cannot_link"], n, "ConstrainedKMeans")
            return _LinkedRows(rows, links, seed)
        if any(len(given) for given in pairs.values()):
            raise ValueError(
                "ConstrainedKMeans: size_min and size_max must be None beside must_link and "
                "cannot_link, got both (links and limits on sizes cannot be combined)"
            )
        low, high = _sizes.check_sizes(self.size_min, self.size_max, n, k, "ConstrainedKMeans")
        return _SizedRows(rows, low, high)

    def _start(self, rows, seed, number):
        k = int(self.n_clusters)
        if self.seeds is None:
            return _seeding.start(rows, self.init, k, seed, number)
        seeds = np.asarray(self.seeds)
        n = rows.count
        if seeds.shape != (n,) or seeds.dtype.kind not in "iu":
            raise ValueError(
                f"ConstrainedKMeans: seeds must be whole numbers of shape ({n},), got "
                f"{seeds.dtype} of shape {seeds.shape}"
            )
        if seeds.max() >= k or seeds.min() < -1:
            raise ValueError(
                f"ConstrainedKMeans: seeds must be between -1 and {k - 1}, got "
                f"{seeds.min()} to {seeds.max()}"
            )
        return _seeded(rows.X, rows.weight, seeds, k, seed)


def _seeded(X: Any, weight: Any, seeds: np.ndarray, k: int, seed: int) -> Any:
    """Means of the seeds; clusters without one start at rows drawn by squared distance."""
    xp = namespace(X)
    centers, missing = [], []
    w = xp.ones(X.shape[0]) if weight is None else weight.astype(np.float64)
    for j in range(k):
        rows = xp.asarray(np.flatnonzero(seeds == j))
        total = float(w[rows].sum())
        if total > 0:
            centers.append((w[rows, None] * X[rows].astype(np.float64)).sum(axis=0) / total)
        else:
            centers.append(None)
            missing.append(j)
    u = random.uniform(seed, _SEEDS, 0, k)
    for j in missing:
        known = [center for center in centers if center is not None]
        mass = to_host(w)
        if known:
            squared = to_host(assign(X, xp.stack(known))[1])
            mass = mass * squared if (mass * squared).sum() > 0 else mass
        running = np.cumsum(mass)
        row = min(int(np.searchsorted(running, u[j] * running[-1], side="right")), len(mass) - 1)
        centers[j] = X[row].astype(np.float64)
    return xp.stack(centers)


class _LinkedRows:
    """Rows under links: free rows on the device of X, constrained groups on the host.

    A group of rows that must link costs ``W (||m - c||^2) + const`` in a cluster, with W and m its
    weight and mean: it acts as a single heavy row.
    """

    def __init__(self, rows: Rows, links: Any, seed: int) -> None:
        X, weight, xp = rows.X, rows.weight, rows.xp
        self.n, self.links, self.seed = X.shape[0], links, seed
        sizes = np.bincount(links.group, minlength=links.size)
        constrained = sizes > 1
        for g, near in enumerate(links.neighbours):
            if len(near):
                constrained[g] = True
        self.constrained = np.flatnonzero(constrained)
        number = np.full(links.size, -1)
        number[self.constrained] = np.arange(len(self.constrained))
        self.neighbours = [number[links.neighbours[g]] for g in self.constrained]
        self.tied = np.array([len(near) > 0 for near in self.neighbours], dtype=bool)
        member = number[links.group]  # constrained group of each row, -1 for free rows
        self.free_rows = np.flatnonzero(member < 0)
        whole = len(self.free_rows) == self.n
        self.free = rows if whole else rows.part(xp.asarray(self.free_rows))
        self.rows = np.flatnonzero(member >= 0)
        self.member = member[self.rows]
        self.X = to_host(X[xp.asarray(self.rows)]).astype(np.float64)
        self.w = np.ones(len(self.rows))
        if weight is not None:
            self.w = to_host(weight)[self.rows].astype(np.float64)
        s, d = len(self.constrained), X.shape[1]
        self.weight = np.bincount(self.member, weights=self.w, minlength=s)
        # A group of zero weight is placed by its unweighted mean.
        w = np.where(self.weight[self.member] > 0, self.w, 1.0)
        total = np.bincount(self.member, weights=w, minlength=s)
        sums = np.zeros((s, d))
        np.add.at(sums, self.member, w[:, None] * self.X)
        self.mean = sums / total[:, None]
        self.spread = float((self.w * ((self.X - self.mean[self.member]) ** 2).sum(axis=1)).sum())
        self.first_row = [0] * s
        for row, g in zip(self.rows[::-1], self.member[::-1], strict=True):
            self.first_row[g] = int(row)
        self.restart()

    def restart(self) -> None:
        """Forget the labels of the previous start."""
        self.group_labels: np.ndarray | None = None

    def step(self, centers: Any) -> tuple[Any, Any, float, bool]:
        """Assign all rows: sums, weights, inertia, and whether labels may have changed."""
        xp = namespace(centers)
        k, d = centers.shape
        sums, weights, inertia = xp.zeros((k, d)), xp.zeros(k), 0.0
        if len(self.free_rows):
            sums, weights, inertia = self.free.map_reduce(lloyd_pass, centers)
        changed = bool(len(self.free_rows))
        if len(self.constrained):
            squared = pairwise.euclidean(self.mean, to_host(centers), squared=True)
            # Groups of zero weight go where they are near, and push no other group away.
            some = self.weight > 0
            light = self.weight[some].min(initial=1.0) * 2.0**-100
            heavy = np.where(some, self.weight, light)
            before = self.group_labels
            labels = self._feasible_labels(heavy[:, None] * squared)
            changed = changed or before is None or not np.array_equal(before, labels)
            self.group_labels = labels
            more = np.zeros((k, d))
            np.add.at(more, labels, self.weight[:, None] * self.mean)
            heavier = np.bincount(labels, weights=self.weight, minlength=k)
            own = squared[np.arange(len(labels)), labels]
            sums, weights = sums + xp.asarray(more), weights + xp.asarray(heavier)
            inertia += float(self.weight @ own) + self.spread
        return sums, weights, inertia, changed

    def _feasible_labels(self, cost: np.ndarray) -> np.ndarray:
        labels = cost.argmin(axis=1).astype(np.int32)
        tied = np.flatnonzero(self.tied)
        if not len(tied):
            return labels
        number = np.full(len(cost), -1)
        number[tied] = np.arange(len(tied))
        near = [number[self.neighbours[g]] for g in tied]
        if self.group_labels is None:
            begin = _links.first_labels(
                cost[tied],
                near,
                [self.first_row[g] for g in tied],
                generator(self.seed, _ORDER),
                "ConstrainedKMeans",
            )
        else:
            begin = self.group_labels[tied]
        labels[tied] = _links.improve(begin, cost[tied], near, "ConstrainedKMeans")
        return labels

    def relocated(self, before: Any, centers: Any, empty: np.ndarray) -> Any:
        """Centers with empty ones moved to the costliest free rows, or None."""
        if not len(self.free_rows):
            return None
        far = far_rows(self.free, before, len(empty))
        return relocated_centers(centers, empty, far, self.free.dtype)

    def labels(self, centers: Any) -> tuple[Any, float]:
        """Labels of the last step, and their inertia at its centers."""
        xp = namespace(centers)
        labels, inertia = np.empty(self.n, dtype=np.int32), 0.0
        if len(self.free_rows):
            free, squared = assign(self.free.X, centers)
            labels[self.free_rows] = to_host(free)
            inertia += sum_of(squared, self.free.weight)
        if len(self.rows):
            assert self.group_labels is not None  # of the last step
            own = self.group_labels[self.member]
            labels[self.rows] = own
            away = self.X - to_host(centers)[own]
            inertia += float(self.w @ (away**2).sum(axis=1))
        return xp.asarray(labels), inertia


class _SizedRows:
    """Rows under limits on the sizes of clusters."""

    def __init__(self, rows: Rows, low: int, high: int) -> None:
        self.rows, self.low, self.high = rows, low, high
        self.X, self.weight = rows.X, rows.weight
        self.restart()

    def restart(self) -> None:
        """Forget the labels of the previous start."""
        self.current: np.ndarray | None = None

    def step(self, centers: Any) -> tuple[Any, Any, float, bool]:
        """Assign all rows: sums, weights, inertia, and whether labels changed."""
        xp, k = namespace(self.X), len(centers)
        w = None if self.weight is None else to_host(self.weight).astype(np.float64)
        # In float64: the spacing of float32 would move centers far from the origin.
        cost = to_host(pairwise.euclidean(self.X.astype(np.float64), centers, squared=True))
        if w is not None:
            cost *= w[:, None]
        before = self.current
        self.current = _sizes.labels_within(
            cost, self.low, self.high, before, "ConstrainedKMeans"
        )
        changed = before is None or not np.array_equal(before, self.current)
        labels = xp.asarray(self.current)
        weight = xp.ones(len(labels)) if w is None else xp.asarray(w)
        columns = [
            xp.bincount(labels, weights=weight * self.X[:, p], minlength=k)
            for p in range(self.X.shape[1])
        ]
        weights = xp.bincount(labels, weights=weight, minlength=k)
        inertia = float(cost[np.arange(len(cost)), self.current].sum())
        return xp.stack(columns, axis=1), weights, inertia, changed

    def relocated(self, before: Any, centers: Any, empty: np.ndarray) -> Any:
        """Centers with empty ones moved to the costliest rows, or None."""
        far = far_rows(self.rows, before, len(empty))
        return relocated_centers(centers, empty, far, self.X.dtype)

    def labels(self, centers: Any) -> tuple[Any, float]:
        """Labels of the last step, and their inertia."""
        labels = namespace(self.X).asarray(self.current)
        away = self.X - centers[labels]
        return labels, sum_of((away**2).sum(axis=1), self.weight)
