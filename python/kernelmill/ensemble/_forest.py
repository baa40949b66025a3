"""What all forests share: bags of rows, growth, out-of-bag estimates, leaves."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._threads import get_threads
from kernelmill.ensemble._as_sequence import AsSequence
from kernelmill.ensemble._trees import Members, Store, Trees, cut_back, kept_trees, set_before
from kernelmill.ops import random
from kernelmill.tree import _base
from kernelmill.tree._base import TreeModel
from kernelmill.tree._fitted import arrays_of
from kernelmill.tree._growth import Grown, Limits, Nursery

PARAMETERS = {
    **_base.PARAMETERS,
    "n_estimators": rule.integer(1),
    "bootstrap": rule.boolean(),
    "oob_score": rule.any_of(rule.boolean(), rule.function("(y_true, y_pred) -> float")),
    "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
    "verbose": rule.VERBOSE,
    "warm_start": rule.boolean(),
    "max_samples": rule.any_of(rule.integer(1), _base.SHARE, rule.nothing()),
}
# Rows looked at in a slice of about 100 ms, for Ctrl-C and callbacks.
_SLICE = 10_000_000
# Rows of bags that are drawn by one call.
_DRAWN = 1 << 16
# What a fit sets before its first tree.
_STARTED = (
    "_seed", "_counted", "_n_classes", "_one", "n_outputs_", "classes_", "n_classes_",
    "_category_levels", "_levels", "is_categorical_",
)  # fmt: skip


class Forest(AsSequence, TreeModel):
    """Base of the forests. A subclass encodes targets and says how to predict."""

    _tree: ClassVar[Any]
    _cuts: ClassVar[bool] = False  # whether thresholds are drawn
    _levels_once = True
    n_estimators: int
    bootstrap: bool
    oob_score: Any
    max_samples: Any
    warm_start: bool
    verbose: Any
    random_state: Any
    ccp_alpha: float

    def _random_cuts(self) -> bool:
        return self._cuts

    def _subsample_weights(self, targets: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
        """Weights of the rows of one bag by class."""
        return None

    def _set_oob(self, sums: np.ndarray, votes: np.ndarray, targets: np.ndarray) -> None:
        """Out-of-bag attributes from sums of predictions (n, n_outputs, classes)."""
        raise NotImplementedError

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Grow the trees.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows; a bag multiplies them by how often it holds a row. Rows of weight
            0 are ignored.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.
        """
        owner = type(self).__name__
        if self.oob_score and not self.bootstrap:
            raise ValueError(
                f"{owner}: oob_score must be False for bootstrap=False, got {self.oob_score} "
                "(out-of-bag estimates need bags)"
            )
        if self.max_samples is not None and not self.bootstrap:
            raise ValueError(
                f"{owner}: max_samples must be None for bootstrap=False, got {self.max_samples}"
            )
        X, targets, weight, classes = self._training(X, y, sample_weight)
        old = kept_trees(self, self._n_classes, self._classification)
        if not old:
            self._seed = seed_of(self.random_state)
        limits = self._limits(len(X), X.shape[1], classes)
        self._counted = self._runs(len(X), len(old))
        grown = self._grow(X, targets, weight, limits, old)
        self.__dict__.update(self._attributes(grown))
        self._keep(X, targets, weight)
        for name in ("oob_score_", "oob_decision_function_", "oob_prediction_"):
            self.__dict__.pop(name, None)
        if self.oob_score:
            self._out_of_bag(X, targets)
        return self

    def _grow(
        self, X: np.ndarray, targets: np.ndarray, weight: np.ndarray | None, limits: Limits,
        old: list[Grown],
    ) -> Store:
        nursery = Nursery(limits, copy=False)
        field = self._field(X, targets, weight, limits.random)
        n, d = X.shape
        levels = np.log2(n + 2) if limits.max_depth is None else limits.max_depth
        entries = max(1.0, n * min(limits.max_features, d) * float(levels))
        threads = get_threads()
        batch = threads * max(1, int(_SLICE / entries))  # as many for each thread
        store = Store(self._n_classes, self._classification, self.n_estimators)
        store.extend(old)

        def advance(first: int, most: int) -> Step:
            count = min(batch, most)
            weights = None
            if weight is not None or self.bootstrap:
                weights = self._bag_weights(first, count, n, targets, weight)
            own = nursery.grow(field, weights, self._tree_seeds(first, count))
            if self.ccp_alpha > 0:
                kind = self._n_classes, self._classification
                own = [cut_back(tree, *kind, self.ccp_alpha) for tree in own]
            store.extend(own)
            return Step(len(store), finished=len(store) == self.n_estimators, taken=len(own))

        left = self.n_estimators - len(old)
        if not left:
            return store
        with Progress(self, self.verbose, iterations=left, unit="tree", X=X) as progress:
            climb(
                progress, lambda number: len(store), advance, max_iter=left,
                attributes=lambda first, count: self._attributes(store),
            )  # fmt: skip
        return store

    def _attributes(self, store: Store) -> dict[str, Any]:
        return set_before(self, _STARTED) | {"_trees": store.arrays()} if len(store) else {}

    def _keep(self, X: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> None:
        """What a subclass keeps of the training rows."""

    # --- bags -------------------------------------------------------------------------------------

    def _bag_size(self, n: int) -> int:
        if not self.bootstrap:
            return 0
        if self.max_samples is None:
            return n
        if rule.is_integer(self.max_samples):
            if self.max_samples > n:
                raise ValueError(
                    f"{type(self).__name__}: max_samples must be at most the number of rows {n}, "
                    f"got {self.max_samples}"
                )
            return int(self.max_samples)
        return max(1, round(n * self.max_samples))

    def _tree_seeds(self, first: int, count: int) -> np.ndarray:
        return random.integers(self._seed, 0, first, count, 2**31)

    def _runs(self, n: int, old: int) -> tuple[tuple[int, int, int, int], ...]:
        """Of each series of trees with equal bags the first tree, rows, draws and first item.

        Bags of a later fit with ``warm_start`` may be others. A size of 0: no bags.
        """
        size = self._bag_size(n)
        if not old:
            return ((0, n, size, 0),)
        runs = self.__dict__.get("_counted", ((0, 0, 0, 0),))  # a converted forest has none
        first, rows, drawn, item = runs[-1]
        if (rows, drawn) == (n, size):
            return runs
        return (*runs, (old, n, size, item + (old - first) * drawn))

    def _run(self, tree: int) -> tuple[int, int, int, int]:
        return next(run for run in reversed(self._counted) if run[0] <= tree)

    def _draws(self, tree: int, count: int) -> np.ndarray:
        """Rows in the bags of adjacent trees of a series, tree after tree."""
        first, n, size, item = self._run(tree)
        return random.integers(self._seed, 1, item + (tree - first) * size, count * size, n)

    def _bag(self, tree: int) -> np.ndarray:
        """How often the bag of a tree holds each row."""
        return np.bincount(self._draws(tree, 1), minlength=self._run(tree)[1])

    def _bags(self, first: int, count: int, n: int) -> np.ndarray:
        """The same of trees of a series, (count, n), drawn together where they are small."""
        bags = np.empty((count, n))
        together = max(1, _DRAWN // n)
        for begin in range(0, count, together):
            own = min(together, count - begin)
            drawn = self._draws(first + begin, own)
            if own > 1:
                drawn.reshape(own, -1)[...] += n * np.arange(own)[:, None]
            bags[begin : begin + own] = np.bincount(drawn, minlength=own * n).reshape(own, n)
        return bags

    def _bag_weights(
        self, first: int, count: int, n: int, targets: np.ndarray, weight: np.ndarray | None
    ) -> np.ndarray:
        """Weights of n rows in some trees, (count, n)."""
        own = np.ones(n) if weight is None else weight
        _, rows, size, _ = self._run(first)
        if not size or rows != n:  # no bags, or bags of other rows
            return np.tile(own, (count, 1))
        bags = self._bags(first, count, n)
        for bag in bags:
            by_class = self._subsample_weights(targets, bag)
            if weight is None and by_class is None:
                break  # counts are weights
            bag *= own if by_class is None else own * by_class
            if not (bag > 0).any():  # no row of the bag has weight: all rows stand in for it
                bag[...] = own
        return bags

    def _out_of_bag(self, X: np.ndarray, targets: np.ndarray) -> None:
        trees, n = Trees(self._trees), len(X)
        sums, votes = np.zeros((n, trees.value.shape[1])), np.zeros(n, np.int64)
        for t in range(len(trees)):
            _, rows, size, _ = self._run(t)
            if not size or rows != n:  # which rows it has not seen is not known
                continue
            out = np.flatnonzero(self._bag(t) == 0)
            if len(out):
                sums[out] += trees.sums_of(X[out], t)
                votes[out] += 1
        if not votes.all():
            warn(
                f"{type(self).__name__}: n_estimators must be larger for all rows to have "
                f"out-of-bag estimates, got {len(trees)} ({int((votes == 0).sum())} rows are in "
                "every bag; theirs are NaN; Some inputs do not have OOB scores)",
                UserWarning,
            )
        with np.errstate(invalid="ignore"):
            mean = sums.reshape(n, self.n_outputs_, -1) / votes[:, None, None]
        self._set_oob(mean, votes, targets)

    # --- use --------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self):
        return "_trees" in self.__dict__

    def _held(self) -> Trees:
        check_is_fitted(self)
        return Trees(self._trees)

    def _all_trees(self) -> tuple[np.ndarray, ...]:
        return self._held().walkable()

    def _leaf_values(self, X: Any) -> np.ndarray:
        trees = self._held()
        sums = trees.sums(self._dense(X))
        sums /= len(trees)
        return sums.reshape(len(sums), self.n_outputs_, -1)

    @property
    def estimators_(self):
        """The trees, as estimators that are made when they are asked for: a read-only sequence."""
        return Members(len(self._held()), self._member)

    @property
    def estimator_(self):
        """An unfitted tree with the parameters of those that grow."""
        return self._tree(**self._tree_parameters())

    def _tree_parameters(self) -> dict[str, Any]:
        own = self.get_params(deep=False)
        names = self._tree._get_param_names()
        kept = {name: own[name] for name in names if name in own}
        if kept.get("class_weight") == "balanced_subsample":
            kept["class_weight"] = "balanced"
        return {**kept, "random_state": None}

    def _member(self, number: int) -> Any:
        seed = int(self._tree_seeds(number, 1)[0])
        tree = self._tree(**{**self._tree_parameters(), "random_state": seed})
        grown = self._held().grown(number, self._n_classes, self._classification)
        tree._arrays = arrays_of(grown, self._n_classes, self._classification)
        for name in ("n_features_in_", *_STARTED[2:]):
            if name in self.__dict__:
                setattr(tree, name, self.__dict__[name])
        tree.max_features_ = _base._features(self.max_features, self.n_features_in_)
        return tree

    @property
    def estimators_samples_(self):
        """Rows in the bag of each tree, with repetitions: a list of ndarrays."""
        check_is_fitted(self)
        samples = []
        for t in range(len(self._held())):
            _, n, size, _ = self._run(t)
            rows = np.arange(n, dtype=np.int32)
            samples.append(np.repeat(rows, self._bag(t)) if size else rows)
        return samples

    @property
    def feature_importances_(self):
        """Mean over trees of the normalised decrease of impurity by each feature, (d,)."""
        return self._held().importances(self.n_features_in_)

    def apply(self, X):
        """Number of the leaf of each row in each tree.

        Returns
        -------
        leaves : ndarray of shape (n, n_estimators), int64
            Numbers of nodes.
        """
        return self._held().leaves(self._dense(X)).astype(np.int64)

    def decision_path(self, X):
        """The nodes that each row passes.

        Returns
        -------
        path : CSR matrix of shape (n, n_nodes)
            1 where a row passes a node; tree beside tree.
        n_nodes_ptr : ndarray of shape (n_estimators + 1,)
            Columns of tree i begin at entry i.
        """
        return self._held().path(self._dense(X))

    def proximity(self, X, Y=None):
        """Share of the trees in which two rows have the same leaf.

        Parameters
        ----------
        Y : {array-like, sparse matrix} of shape (m, d), optional
            Rows to compare with; X itself when left out.

        Returns
        -------
        shares : ndarray of shape (n, m)
            1 for rows that no tree tells apart.

        Notes
        -----
        Breiman (2001), "Random forests". Memory O(n m).
        """
        trees = self._held()
        one = self._members_of_leaves(trees, X)
        other = one if Y is None else self._members_of_leaves(trees, Y)
        return np.asarray((one @ other.T).toarray()) / len(trees)

    def _members_of_leaves(self, trees: Trees, X: Any) -> scipy.sparse.csr_matrix:
        leaves = to_host(trees.leaves(self._dense(X))) + trees.roots
        n, t = leaves.shape
        data, begins = np.ones(n * t), np.arange(0, n * t + 1, t)
        return scipy.sparse.csr_matrix((data, leaves.ravel(), begins), (n, len(trees.nodes)))
