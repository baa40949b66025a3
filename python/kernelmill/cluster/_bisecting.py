"""BisectingKMeans: one cluster after another is split in two."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._device import DEVICE, move_back, move_in, namespace, to_host
from kernelmill._estimator._progress import QUIET, Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._streams import check_weight, is_stream
from kernelmill._estimator._validation import check_X
from kernelmill.cluster import _seeding
from kernelmill.cluster._base import CentersMixin, row_count_error, warn_if_too_few
from kernelmill.cluster._lloyd import (
    Run,
    choose_bounds,
    lloyd_by_passes,
    lloyd_in_memory,
    tolerance,
)
from kernelmill.cluster._passes import assign, lloyd_pass, sum_of
from kernelmill.stream import source


class _Tree:
    """A binary tree of clusters as lists that grow: node 0 is the root.

    Attributes
    ----------
    children : list of tuple
        Left and right child of each node, (-1, -1) for leaves.
    centers : list of ndarray of shape (d,), float64
    rows : dict from leaf to its row numbers
    scores : dict from leaf that can be split to what decides which is next
    """

    def __init__(self, center: Any, rows: Any) -> None:
        self.children = [(-1, -1)]
        self.centers = [center]
        self.rows = {0: rows}
        self.scores = {0: 1.0}

    def split(self, node: int, run: Run, parts: list[Any], scores: list[float]) -> None:
        self.children[node] = (len(self.children), len(self.children) + 1)
        del self.rows[node], self.scores[node]
        for side in (0, 1):
            child = len(self.children)
            self.children.append((-1, -1))
            self.centers.append(run.centers[side])
            self.rows[child] = parts[side]
            if scores[side] > 0:
                self.scores[child] = scores[side]

    def leaves(self) -> list[int]:
        """Leaves from left to right."""
        found, stack = [], [0]
        while stack:
            node = stack.pop()
            left, right = self.children[node]
            if left < 0:
                found.append(node)
            else:
                stack += [right, left]
        return found


class BisectingKMeans(CentersMixin):
    """k-means that starts from one cluster and splits one cluster in two until there are enough.

    Clusters come out more even in size than those of `KMeans`, and form a tree.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k.
    init : {"k-means++", "k-means||", "random"} or callable, default="random"
        Where each split starts. A callable is called with ``n_clusters=2``.
    n_init : int, default=1
        Starts of each split; the one with the least inertia wins.
    random_state : int, RandomState, Generator or None, default=None
        Which random numbers. An int gives the same bits at any number of threads.
    max_iter : int, default=300
        Most iterations of each start.
    verbose : int, default=0
        Show a progress bar over the splits.
    tol : float, default=1e-4
        Stop a start when the centers move by at most ``tol`` times the mean variance of the
        features of X.
    copy_x : bool, default=True
        Accepted for scikit-learn's sake; X is never written to.
    algorithm : {"lloyd", "elkan", "plain"}, default="lloyd"
        As for `KMeans`: the work changes, not the result.
    bisecting_strategy : {"biggest_inertia", "largest_cluster"}, default="biggest_inertia"
        Which cluster is split next: the one with the largest inertia, or with the most rows.
    device : {None, "cpu", "cuda"}, default=None
        Where to compute; see `KMeans`.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Centers of the leaves, from left to right in the tree.
    labels_ : array of shape (n,), int32
        Leaf of each row.
    inertia_ : float
        Weighted sum of squared distances of the rows to the centers of their leaves.
    n_iter_ : int
        Iterations of all splits together.
    n_features_in_ : int
        Number of features d.
    feature_names_in_ : ndarray of shape (d,), object
        Column names, if X was a frame with text names.

    See Also
    --------
    KMeans : Moves all centers at once.

    Notes
    -----
    ``predict`` goes down the tree, so a row may get another label than that of the nearest center.
    ``transform`` and ``score`` use the centers alone. Each split copies the rows of its cluster.
    Cost about 2 n d log2(k) times the iterations of a split, in flops, for an even tree.

    References
    ----------
    Steinbach, Karypis, Kumar (2000), "A comparison of document clustering techniques".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import BisectingKMeans
    >>> X = np.array([[0.0], [0.2], [5.0], [5.2], [9.0], [9.2]])
    >>> model = BisectingKMeans(3, random_state=0).fit(X)
    >>> model.cluster_centers_.ravel().round(1).tolist() in ([0.1, 5.1, 9.1], [9.1, 5.1, 0.1],
    ...     [0.1, 9.1, 5.1], [5.1, 9.1, 0.1])
    True
    """

    _streams = False
    _parameters: ClassVar = {
        "n_clusters": rule.integer(1),
        "init": rule.any_of(
            rule.one_of("k-means++", "k-means||", "random"),
            rule.function("(X, n_clusters, random_state)"),
        ),
        "n_init": rule.integer(1),
        "random_state": rule.RANDOM_STATE,
        "max_iter": rule.integer(1),
        "verbose": rule.VERBOSE,
        "tol": rule.real(0),
        "copy_x": rule.boolean(),
        "algorithm": rule.one_of("lloyd", "elkan", "plain"),
        "bisecting_strategy": rule.one_of("biggest_inertia", "largest_cluster"),
        "device": DEVICE,
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        init="random",
        n_init=1,
        random_state=None,
        max_iter=300,
        verbose=0,
        tol=1e-4,
        copy_x=True,
        algorithm="lloyd",
        bisecting_strategy="biggest_inertia",
        device=None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.random_state = random_state
        self.max_iter = max_iter
        self.verbose = verbose
        self.tol = tol
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.bisecting_strategy = bisecting_strategy
        self.device = device

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Split clusters until there are enough.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory, as for `KMeans`.
        y : ignored
            There for pipelines.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : BisectingKMeans
            The model itself, fitted.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, or X has fewer rows
            than clusters.
        TypeError
            If X is a stream.
        RuntimeError
            If ``device="cuda"`` and there is no GPU to use.

        Warns
        -----
        ConvergenceWarning
            If X has fewer distinct rows than clusters.
        """
        if type(X) is not np.ndarray and is_stream(X):
            self._need_memory(X)
        rows, _ = check_X(self, X, reset=True)
        weight = check_weight(self, sample_weight, rows)
        n, k = rows.shape[0], int(self.n_clusters)
        if k > n:
            raise row_count_error("BisectingKMeans", n, k)
        like = X if self.device else rows
        rows = move_in(rows, self.device, "BisectingKMeans")
        if weight is not None:
            weight = move_in(weight, self.device, "BisectingKMeans")
        self._grow(rows, weight, like, y, seed_of(self.random_state))
        return self

    def _grow(self, X, weight, like, y, seed):
        n, d = X.shape
        k, xp = int(self.n_clusters), namespace(X)
        first = _seeding.rows_at(X, np.array([0]))
        tol = tolerance(self.tol, d, first, lambda c: lloyd_pass(X, c, weight))
        sums, weights, _ = lloyd_pass(X, first, weight)
        mean = sums[0] / weights[0]
        tree, iterations = _Tree(mean, xp.arange(n)), 0
        inertias = {0: sum_of(assign(X, mean[None])[1], weight)}
        progress = Progress(self, self.verbose, iterations=max(k - 1, 1), unit="split", X=X, y=y)
        with progress:
            progress.begin_run()
            while len(tree.rows) < k and tree.scores:
                node = max(tree.scores, key=lambda leaf: tree.scores[leaf])
                rows = tree.rows[node]
                some = X[rows] if len(rows) < n else X
                some_weight = None if weight is None else weight[rows]
                run = self._split(some, some_weight, tol, seed, node)
                iterations += run.n_iter
                parts = [rows[run.labels == side] for side in (0, 1)]
                if not all(len(part) for part in parts):
                    del tree.scores[node]  # all its rows are equal
                    continue
                squared = assign(some, run.centers)[1]
                pieces = [
                    sum_of(
                        squared[run.labels == side],
                        None if some_weight is None else some_weight[run.labels == side],
                    )
                    for side in (0, 1)
                ]
                largest = self.bisecting_strategy == "largest_cluster"
                scores: list[float] = [len(p) - 1 for p in parts] if largest else pieces
                del inertias[node]
                tree.split(node, run, parts, scores)
                left, right = tree.children[node]
                inertias[left], inertias[right] = pieces
                if progress.listening and progress.step(
                    objective=sum(inertias.values()),
                    state=lambda: self._tree_state(tree, X.dtype, like),
                ):
                    break
            self._keep(tree, inertias, iterations, n, X.dtype, like)

            def state():
                return self._tree_state(tree, X.dtype, like)

            progress.end_run("%d splits", len(tree.rows) - 1, state=state)
            progress.end_fit(state)

    def _split(self, X, weight, tol, seed, node) -> Run:
        """The best of `n_init` starts with two centers."""
        n, d = X.shape
        xp, best = namespace(X), None
        options = {"max_iter": int(self.max_iter), "tol": tol, "progress": QUIET}
        sparse = is_sparse(X)
        if sparse:
            held = source(X, sample_weight=weight, owner="BisectingKMeans")
        else:
            bounded = choose_bounds(n, d, 2, X.dtype, self.algorithm)
            bounds = xp.empty((n if bounded else 0, 2), dtype=X.dtype)
            labels = xp.empty(n, dtype=np.int32)
        for number in range(int(self.n_init)):
            stream = node * int(self.n_init) + number
            centers = _seeding.start(X, weight, self.init, 2, seed, stream, "BisectingKMeans")
            if sparse:
                run, _ = lloyd_by_passes(held, centers, **options)
            else:
                run, _ = lloyd_in_memory(
                    X, weight, centers, bounds=bounds, labels=labels, **options
                )
            if best is None or run.inertia < best.inertia:
                best = run
        assert best is not None  # there is at least one start
        return best

    def _tree_state(self, tree, dtype, like):
        """Attributes of a usable model: the centers, and the tree as arrays."""
        leaves = tree.leaves()
        missing = int(self.n_clusters) - len(leaves)
        centers = namespace(tree.centers[0]).stack(
            [tree.centers[leaf] for leaf in leaves] + [tree.centers[leaves[0]]] * missing
        )
        label = np.full(len(tree.children), -1, dtype=np.int32)
        label[leaves] = np.arange(len(leaves))
        return {
            **self._state(centers, dtype, like),
            "_tree_children": np.array(tree.children, dtype=np.int64),
            "_tree_labels": label,
            "_tree_centers": np.stack([to_host(center) for center in tree.centers]),
        }

    def _keep(self, tree, inertias, iterations, n, dtype, like):
        self.__dict__.update(self._tree_state(tree, dtype, like))
        labels = namespace(tree.rows[tree.leaves()[0]]).empty(n, dtype=np.int32)
        for label, leaf in enumerate(tree.leaves()):
            labels[tree.rows[leaf]] = label
        self.labels_ = move_back(labels, like)
        self.inertia_ = float(sum(inertias.values()))
        self.n_iter_ = iterations
        warn_if_too_few(self, self.labels_)

    def predict(self, X):
        """Go down the tree with each row, to the nearer of two centers at each split.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory.

        Returns
        -------
        labels : array of shape (n,), int32
            Leaf that each row arrives at.

        Raises
        ------
        ValueError
            If X is not finite or has other features than in ``fit``.
        TypeError
            If X is a stream.
        NotFittedError
            Before ``fit``.
        """
        if "cluster_centers_" not in vars(self):
            check_is_fitted(self)
        if type(X) is not np.ndarray and is_stream(X):
            self._need_memory(X)
        rows = move_in(check_X(self, X, reset=False)[0], self.device, "BisectingKMeans")
        xp = namespace(rows)
        labels = xp.empty(rows.shape[0], dtype=np.int32)
        stack = [(0, xp.arange(rows.shape[0]))]
        while stack:
            node, places = stack.pop()
            left, right = self._tree_children[node]
            if left < 0:
                labels[places] = self._tree_labels[node]
            elif len(places):
                some = rows[places] if len(places) < rows.shape[0] else rows
                pair = xp.asarray(self._tree_centers[[left, right]])
                side = assign(some, pair)[0]
                stack += [(int(left), places[side == 0]), (int(right), places[side == 1])]
        return move_back(labels, X if self.device else rows)
