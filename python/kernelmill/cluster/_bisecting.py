"""BisectingKMeans: clusters are split in two, one after another."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill.cluster import _seeding
from kernelmill.cluster._centers import CentersModel, check_row_count, warn_if_too_few
from kernelmill.cluster._lloyd import lloyd, tolerance
from kernelmill.cluster._statistics import assign, lloyd_pass, sum_of


class _Tree:
    """A binary tree of clusters; node 0 is the root.

    Attributes
    ----------
    children : list of tuple
        Left and right child of each node, (-1, -1) for leaves.
    centers : list of array of shape (d,), float64
    rows : dict from leaf to its row numbers
    inertias : dict from leaf to its inertia
    scores : dict from leaf that can be split to its score; the highest is split next
    n_iter : int
        Total iterations of all splits.
    """

    def __init__(self, center: Any, rows: Any, inertia: float) -> None:
        self.children = [(-1, -1)]
        self.centers = [center]
        self.rows = {0: rows}
        self.inertias = {0: inertia}
        self.scores = {0: 1.0}
        self.n_iter = 0

    def copy(self) -> _Tree:
        """A copy that shares the arrays."""
        other = _Tree.__new__(_Tree)
        for name, value in vars(self).items():
            setattr(other, name, value if isinstance(value, int) else value.copy())
        return other

    def split(
        self, node: int, centers: Any, parts: list[Any], inertias: list[float], scores: list[float]
    ) -> None:
        """Replace a leaf by two children."""
        self.children[node] = (len(self.children), len(self.children) + 1)
        del self.rows[node], self.inertias[node], self.scores[node]
        for side in (0, 1):
            child = len(self.children)
            self.children.append((-1, -1))
            self.centers.append(centers[side])
            self.rows[child], self.inertias[child] = parts[side], inertias[side]
            if scores[side] > 0:
                self.scores[child] = scores[side]

    def leaves(self) -> list[int]:
        """Leaves from left to right."""
        leaves, stack = [], [0]
        while stack:
            node = stack.pop()
            left, right = self.children[node]
            if left < 0:
                leaves.append(node)
            else:
                stack += [right, left]
        return leaves


class BisectingKMeans(CentersModel):
    """k-means that splits one cluster in two until there are enough.

    Clusters are more even in size than those of `KMeans`, and form a tree.

    Parameters
    ----------
    init : {"k-means++", "k-means||", "random"} or callable, default="random"
        Initial centers of each split; a callable is called with ``n_clusters=2``.
    n_init : int, default=1
        Starts of each split; the one with the lowest inertia is kept.
    verbose : int, default=0
        Whether to show a progress bar over the splits.
    tol : float, default=1e-4
        Stop a start when the centers move by at most ``tol`` times the mean variance of the
        features of X.
    copy_x : bool, default=True
        Ignored; present for API compatibility. X is never modified.
    algorithm : {"lloyd", "elkan", "plain"}, default="lloyd"
        As for `KMeans`; the result does not depend on it.
    bisecting_strategy : {"biggest_inertia", "largest_cluster"}, default="biggest_inertia"
        Split the cluster with the largest inertia, or the one with the most rows of positive
        weight.

    Attributes
    ----------
    cluster_centers_ : array of shape (k, d), dtype of X
        Centers of the leaves, from left to right in the tree.
    labels_ : array of shape (n,), int32
        Leaf of each row.
    inertia_ : float
        Weighted sum of squared distances of the rows to the centers of their leaves.
    n_iter_ : int
        Total iterations of all splits.
    n_features_in_, feature_names_in_

    See Also
    --------
    KMeans : Updates all centers together.

    Notes
    -----
    ``predict`` descends the tree, so the label of a row may differ from that of the nearest center;
    ``transform`` and ``score`` use the centers alone. Each split copies the rows of its cluster.
    Supports scikit-learn's callbacks and `kernelmill.callbacks` (``set_callbacks``), which see the
    centers after each split and may stop the fit. Cost about 4 n d log2(k) flops times the
    iterations of a split, for an even tree.

    References
    ----------
    Steinbach, Karypis, Kumar (2000), "A comparison of document clustering techniques".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import BisectingKMeans
    >>> X = np.array([[0.0], [0.2], [5.0], [5.2], [9.0], [9.2]])
    >>> model = BisectingKMeans(3, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.ravel().round(1).tolist())
    [0.1, 5.1, 9.1]
    >>> bool(model.predict([[0.1]])[0] == model.labels_[0])
    True
    """

    _accepts_streams = False
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
        "device": rule.DEVICE,
    }

    def __init__(
        self, n_clusters=8, *, init="random", n_init=1, random_state=None, max_iter=300, verbose=0,
        tol=1e-4, copy_x=True, algorithm="lloyd", bisecting_strategy="biggest_inertia", device=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Split clusters until there are `n_clusters`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory, as for `KMeans`.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X or the weights are not finite, or X has fewer rows
            than clusters.
        TypeError
            If X is a stream.
        RuntimeError
            If ``device="cuda"`` and no GPU is available.

        Warns
        -----
        ConvergenceWarning
            If X has fewer distinct rows than clusters.
        """
        rows = self._rows(X, sample_weight, reset=True)
        k, largest = int(self.n_clusters), self.bisecting_strategy == "largest_cluster"
        check_row_count("BisectingKMeans", rows.count, k)
        seed, tol = seed_of(self.random_state), tolerance(rows, self.tol)
        first = rows.take([0]).astype(np.float64)
        sums, weights, _ = rows.map_reduce(lloyd_pass, first)
        mean = sums[0] / weights[0]
        inertia = sum_of(assign(rows.X, mean[None])[1], rows.weight)

        def advance(tree, most):
            """Split one cluster in two."""
            tree = tree.copy()
            while True:
                node = max(tree.scores, key=lambda leaf: tree.scores[leaf])
                numbers = tree.rows[node]
                some = rows.part(numbers) if len(numbers) < rows.count else rows
                run = self._split(some, tol, seed, node)
                tree.n_iter += run.n_iter
                centers, labels = run.state
                sides = [labels == side for side in (0, 1)]
                parts = [numbers[side] for side in sides]
                if all(len(part) for part in parts):
                    break
                del tree.scores[node]  # all its rows are equal
                if not tree.scores:
                    return Step(tree, sum(tree.inertias.values()), True)
            squared = assign(some.X, centers)[1]
            weight = some.weight
            pieces = [sum_of(squared[s], None if weight is None else weight[s]) for s in sides]
            scores = pieces
            if largest:
                counts = sides if weight is None else [weight[s] > 0 for s in sides]
                scores = [float(count.sum()) - 1 for count in counts]
            tree.split(node, centers, parts, pieces, scores)
            finished = len(tree.rows) == k or not tree.scores
            return Step(tree, sum(tree.inertias.values()), finished)

        n_splits = k - 1
        with Progress(
            self, self.verbose, iterations=max(n_splits, 1), unit="split", X=X, y=y
        ) as progress:
            run = climb(
                progress,
                lambda number: _Tree(mean, rows.xp.arange(rows.count), inertia),
                advance,
                max_iter=n_splits,
                attributes=lambda tree, n_splits: self._tree_attributes(tree, rows),
            )
        tree = run.state
        self.__dict__.update(self._tree_attributes(tree, rows))
        labels = rows.xp.empty(rows.count, dtype=np.int32)
        for label, leaf in enumerate(tree.leaves()):
            labels[tree.rows[leaf]] = label
        self.labels_ = rows.as_given(labels)
        self.inertia_ = float(sum(tree.inertias.values()))
        self.n_iter_ = tree.n_iter
        if run.converged:  # rather than stopped by a callback
            warn_if_too_few(self, self.labels_)
        return self

    def _split(self, rows: Rows, tol: float, seed: int, node: int) -> Run:
        """The best of `n_init` runs with two centers."""
        starts, max_iter = int(self.n_init), int(self.max_iter)

        def run(number):
            centers = _seeding.start(rows, self.init, 2, seed, node * starts + number)
            return lloyd(rows, centers, max_iter=max_iter, tol=tol, algorithm=self.algorithm)

        return min((run(number) for number in range(starts)), key=lambda run: run.objective)

    def _tree_attributes(self, tree: _Tree, rows: Rows) -> dict[str, Any]:
        """Attributes of a usable model, with the tree as arrays."""
        leaves = tree.leaves()
        missing = int(self.n_clusters) - len(leaves)
        centers = namespace(tree.centers[0]).stack(
            [tree.centers[leaf] for leaf in leaves] + [tree.centers[leaves[0]]] * missing
        )
        label = np.full(len(tree.children), -1, dtype=np.int32)
        label[leaves] = np.arange(len(leaves))
        return {
            **self._attributes(centers, rows),
            "_tree_children": np.array(tree.children, dtype=np.int64),
            "_tree_labels": label,
            "_tree_centers": np.stack([to_host(center) for center in tree.centers]),
        }

    def predict(self, X):
        """Descend the tree with each row, to the nearer of two centers at each split.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows in memory.

        Returns
        -------
        labels : array of shape (n,), int32
            Leaf of each row.

        Raises
        ------
        TypeError
            If X is a stream.
        """
        rows = self._fitted_rows(X)
        xp, n = rows.xp, rows.count
        labels = xp.empty(n, dtype=np.int32)
        stack = [(0, xp.arange(n))]
        while stack:
            node, places = stack.pop()
            left, right = self._tree_children[node]
            if left < 0:
                labels[places] = self._tree_labels[node]
            elif len(places):
                some = rows.X[places] if len(places) < n else rows.X
                side = assign(some, xp.asarray(self._tree_centers[[left, right]]))[0]
                stack += [(int(left), places[side == 0]), (int(right), places[side == 1])]
        return rows.as_given(labels)
