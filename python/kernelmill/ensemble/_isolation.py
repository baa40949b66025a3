"""IsolationForest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import beside, is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill.ensemble._as_sequence import AsSequence
from kernelmill.ensemble._trees import Members, Trees, joined, kept_trees, set_before
from kernelmill.ops import tree as ops
from kernelmill.tree._base import SHARE
from kernelmill.tree._fitted import arrays_of
from kernelmill.tree._growth import Field, Grown, Limits, Nursery, targets_of
from kernelmill.tree._regressor import ExtraTreeRegressor
from kernelmill.tree._words import WORDS

_ONE = np.ones(1, np.int64)
_BATCH = 32  # trees a call
# What a fit sets before its first tree.
_STARTED = ("_seed", "_drawn", "_weight", "max_samples_", "offset_")


class IsolationForest(AsSequence, OutlierMixin, Estimator):
    """Isolation forest: rows that random splits separate early are outliers.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_samples : "auto", int or float, default="auto"
        Rows of each tree; ``"auto"`` means 256, or all where there are fewer; a float is a share.
    contamination : "auto" or float, default="auto"
        Share of outliers, which sets ``offset_``; ``"auto"`` sets it to -0.5.
    max_features : int or float, default=1.0
        Features of each tree; a float is a share.
    bootstrap : bool, default=False
        Whether rows of a tree are drawn with replacement.
    n_jobs : int or None, default=None
        Ignored; present for API compatibility. See `kernelmill.threads`.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator; an int gives the same forest, bit for bit, at any number of threads.
    verbose : int, default=0
        Whether to show a progress bar; nothing else is printed.
    warm_start : bool, default=False
        Whether ``fit`` keeps the trees of the last fit and adds those that ``n_estimators`` asks
        for.

    Attributes
    ----------
    estimators_ : sequence of ExtraTreeRegressor
        The trees; each is made when it is asked for.
    estimator_ : ExtraTreeRegressor
        An unfitted tree with their parameters.
    estimators_features_, estimators_samples_ : list of ndarray
        Features and rows of each tree.
    max_samples_ : int
        Rows of each tree.
    offset_ : float
        Rows whose score is below this are outliers.
    n_features_in_, feature_names_in_

    Notes
    -----
    A node is split at a threshold drawn between the extremes of a feature drawn among those that
    vary in it, down to depth ``ceil(log2(max_samples_))``. With h the mean over trees of the depth
    of a row's leaf, plus c(m) for a leaf of m rows, its score is ``-2**(-h / c(max_samples_))``,
    where ``c(m) = 2 H(m - 1) - 2 (m - 1) / m`` is the mean depth of a random search tree of m rows
    and H the harmonic number. Only rows that are drawn are read in ``fit``. Weights are rates at
    which rows are drawn. Cost O(n_estimators max_samples log max_samples) to grow, and a walk per
    row and tree to score.

    References
    ----------
    Liu, Ting and Zhou (2008), "Isolation forest".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ensemble import IsolationForest
    >>> X = np.vstack([np.random.default_rng(0).normal(size=(200, 2)), [[9.0, 9.0]]])
    >>> model = IsolationForest(random_state=0).fit(X)
    >>> model.score_samples(X).argmin(), model.predict(X)[-1], model.fit_predict(X)[-1]
    (np.int64(200), np.int64(-1), np.int64(-1))
    >>> bool(model.decision_function(X)[-1] < 0)
    True
    """

    _words = WORDS
    _accepts_sparse = True
    _accepts_missing = True
    _accepts_streams = False
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        "n_estimators": rule.integer(1),
        "max_samples": rule.any_of(rule.one_of("auto"), rule.integer(1), SHARE),
        "contamination": rule.any_of(
            rule.one_of("auto"),
            rule.Rule(lambda v: rule.is_real(v) and 0 < v <= 0.5, "a share in (0, 0.5]"),
        ),
        "max_features": rule.any_of(rule.integer(1), SHARE),
        "bootstrap": rule.boolean(),
        "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
        "random_state": rule.RANDOM_STATE,
        "verbose": rule.VERBOSE,
        "warm_start": rule.boolean(),
    }
    n_estimators: int
    max_samples: Any
    contamination: Any
    max_features: Any
    bootstrap: bool
    random_state: Any
    verbose: Any
    warm_start: bool

    def __init__(
        self, *, n_estimators=100, max_samples="auto", contamination="auto", max_features=1.0,
        bootstrap=False, n_jobs=None, random_state=None, verbose=0, warm_start=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Grow the trees.

        Parameters
        ----------
        sample_weight : array-like of shape (n,), optional
            Rates at which rows are drawn.

        Returns
        -------
        self : IsolationForest
            Itself.

        Raises
        ------
        ValueError
            If X, weights or a parameter do not fit.
        """
        owner = type(self).__name__
        again = self.warm_start and "_trees" in self.__dict__
        rows = self._rows(X, sample_weight, reset=not again)
        self._refuse_device(rows.X, "exact trees grow there, and predict on either device")
        n, d = rows.count, rows.n_features
        weight = None if rows.weight is None else rows.weight.astype(np.float64)
        if weight is not None and (weight == weight[0]).all():
            weight = None
        old = kept_trees(self, _ONE, False)
        if not old:
            self._seed = seed_of(self.random_state)
        self.max_samples_ = self._rows_of_a_tree(n, weight)
        features = self.max_features
        count = int(features) if rule.is_integer(features) else max(1, int(features * d))
        if count > d:
            raise ValueError(f"{owner}: max_features must be at most {d}, got {features}")
        self._drawn, self._weight, self.offset_ = (n, d, count), weight, -0.5
        trees = self._grow(rows.X, old)
        self.__dict__.update(self._attributes(trees, 0))
        if self.contamination != "auto":
            dense = rows.X.toarray() if is_sparse(rows.X) else rows.X
            self.offset_ = float(np.percentile(self._scores(dense), 100 * self.contamination))
        return self

    @property
    def _depth(self) -> int:
        """Most comparisons to a leaf."""
        return int(np.ceil(np.log2(max(self.max_samples_, 2))))

    @property
    def _unit(self) -> float:
        """Mean depth of a random search tree of as many rows as a tree has."""
        return float(_mean_depth(np.array([float(self.max_samples_)]))[0])

    def _rows_of_a_tree(self, n: int, weight: np.ndarray | None) -> int:
        if self.max_samples == "auto":
            wanted = min(256, n)
        elif rule.is_integer(self.max_samples):
            wanted = min(int(self.max_samples), n)
            if self.max_samples > n:
                warn(
                    f"{type(self).__name__}: max_samples must be at most the number of rows {n}, "
                    f"got {self.max_samples} (max_samples will be set to n_samples for estimation)",
                    UserWarning,
                )
        else:
            wanted = max(1, int(self.max_samples * n))
        if weight is not None and not self.bootstrap:
            wanted = min(wanted, int((weight > 0).sum()))
        return wanted

    def _samples(self, tree: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and features of a tree."""
        (n, d, features), weight = self._drawn, self._weight
        draws = generator(self._seed, 2 * tree + 1)
        if weight is None:
            rows = draws.choice(n, self.max_samples_, replace=self.bootstrap)
        elif self.bootstrap:
            rows = draws.choice(n, self.max_samples_, p=weight / weight.sum())
        else:  # the first of clocks that ring at these rates
            with np.errstate(divide="ignore"):
                rings = draws.exponential(size=n) / weight
            rows = np.argpartition(rings, self.max_samples_ - 1)[: self.max_samples_]
        chosen = np.arange(d) if features == d else draws.choice(d, features, replace=False)
        return np.sort(rows), np.sort(chosen)

    def _grow(self, X: Any, old: list[Grown]) -> list[Grown]:
        _, d, features = self._drawn
        limits = Limits(ops.SQUARED, np.zeros(0, np.int64), 1, max_depth=self._depth, random=True)
        nursery = Nursery(limits)

        def advance(trees: list[Grown], most: int) -> Step:
            first = len(trees)
            numbers = range(first, first + min(most, _BATCH))
            drawn = [self._samples(t) for t in numbers]
            union = np.unique(np.concatenate([rows for rows, _ in drawn]))
            own = X[union]
            dense = own.toarray() if is_sparse(own) else own
            # Targets only have to differ: a node has one candidate.
            y = np.arange(float(len(union)))
            weights = np.zeros((len(drawn), len(union)))
            for i, (rows, _) in enumerate(drawn):
                weights[i] = np.bincount(np.searchsorted(union, rows), minlength=len(union))
            seeds = np.array([self._tree_seed(t) for t in numbers])
            if features == d:
                grown = nursery.grow(Field(dense, None, targets_of(y)), weights, seeds)
            else:
                grown = []
                for i, (_, chosen) in enumerate(drawn):
                    part = Field(dense[:, chosen], None, targets_of(y))
                    grown += nursery.grow(part, weights[i : i + 1], seeds[i : i + 1])
                    words = grown[-1].nodes.view(ops.NODE).reshape(-1)
                    inner = words["feature"] >= 0
                    mark = words["feature"][inner] & ops.MISSING
                    words["feature"][inner] = chosen[words["feature"][inner] & ~ops.MISSING] | mark
            return Step(trees + grown, taken=len(grown))

        left = self.n_estimators - len(old)
        if not left:
            return old
        with Progress(self, self.verbose, iterations=left, unit="tree", X=X) as progress:
            run = climb(
                progress, lambda number: old, advance, max_iter=left, attributes=self._attributes
            )
        return run.state

    def _attributes(self, trees: list[Grown], count: int) -> dict[str, Any]:
        if not trees:
            return {}
        arrays = joined(trees, _ONE, False)
        # Above the mean depth, so that rows which no tree tells apart have a score of -0.5 exactly.
        depths = _depths(arrays) - self._unit
        return set_before(self, _STARTED) | {"_trees": arrays, "_depths": depths}

    def _tree_seed(self, tree: int) -> int:
        return int(generator(self._seed, 2 * tree).integers(2**31))

    def __sklearn_is_fitted__(self):
        return "_trees" in self.__dict__

    @property
    def estimators_(self):
        """The trees, as estimators that are made when they are asked for: a read-only sequence."""
        check_is_fitted(self)
        return Members(len(Trees(self._trees)), self._member)

    @property
    def estimator_(self):
        """An unfitted tree with the parameters of those that grow."""
        return ExtraTreeRegressor(max_features=1, max_depth=self._depth)

    def _member(self, number: int) -> ExtraTreeRegressor:
        tree = self.estimator_.set_params(random_state=self._tree_seed(number))
        tree._arrays = arrays_of(Trees(self._trees).grown(number, _ONE, False), _ONE, False)
        tree.n_features_in_, tree.n_outputs_, tree._n_classes = self.n_features_in_, 1, _ONE
        tree.max_features_, tree._category_levels, tree.is_categorical_ = 1, {}, None
        return tree

    @property
    def estimators_samples_(self):
        """Rows of each tree: a list of ndarrays."""
        return self._all_samples(0)

    @property
    def estimators_features_(self):
        """Features of each tree: a list of ndarrays."""
        return self._all_samples(1)

    def _all_samples(self, which: int) -> list[np.ndarray]:
        check_is_fitted(self)
        count = len(Trees(self._trees))
        return [self._samples(t)[which] for t in range(count)]

    def _scores(self, X: np.ndarray) -> np.ndarray:
        trees = Trees(self._trees)
        above = trees.sums_of_values(X, self._depths)[:, 0]
        above /= len(trees)
        unit = self._unit
        return -0.5 * 2.0 ** (-above / unit) if unit > 0 else beside(np.full(len(X), -0.5), X)

    def score_samples(self, X):
        """Scores of rows: -1 for the most isolated, about -0.5 or more for usual ones.

        Returns
        -------
        scores : ndarray of shape (n,)
            In [-1, 0).
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        return self._scores(rows.X.toarray() if is_sparse(rows.X) else rows.X)

    def predict_contributions(self, X):
        """What each feature adds to the depth of rows: Shapley values along the paths of trees.

        Returns
        -------
        contributions : ndarray of shape (n, d + 1)
            The last column is the expected depth. Columns add up to ``h / c(max_samples_)``, so
            scores are ``-2**(-sum)``: what makes a row an outlier has a negative contribution.
        """
        check_is_fitted(self)
        rows, trees = self._rows(X, reset=False), Trees(self._trees)
        self._refuse_device(rows.X, "contributions are computed there")
        X = rows.X.toarray() if is_sparse(rows.X) else rows.X
        walkable = (*trees.walkable()[:4], self._depths)
        phi = ops.contributions(X, *walkable, np.zeros(1))[:, 0]
        phi /= len(trees) * max(self._unit, 1.0)
        phi[:, -1] += 1.0  # depths are above the mean; trees of one row have that of their root
        return phi

    def decision_function(self, X):
        """Scores of rows less ``offset_``: negative for outliers.

        Returns
        -------
        scores : ndarray of shape (n,)
            `score_samples` less ``offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """-1 for outliers, 1 for others.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            By the sign of `decision_function`.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)


def _mean_depth(m: np.ndarray) -> np.ndarray:
    """Mean depth of a random search tree of m rows; H(m - 1) = digamma(m) + Euler's constant."""
    from scipy.special import digamma

    safe = np.maximum(m, 2.0)
    depth = 2.0 * (digamma(safe) + np.euler_gamma) - 2.0 * (safe - 1) / safe
    return np.where(m > 1, depth, 0.0)


def _depths(
    arrays: dict[str, Any], mean_depth: Callable[[np.ndarray], np.ndarray] = _mean_depth
) -> np.ndarray:
    """Depth of each node, with the mean depth of what is left in it, (nodes, 1)."""
    words = arrays["nodes"].view(ops.NODE).reshape(-1)
    begins = arrays["begins"]
    leaf = words["feature"] < 0
    root = np.repeat(begins[:-1], np.diff(begins))
    depth = np.zeros(len(words))
    level = begins[:-1].copy()
    while len(level):
        level = level[~leaf[level]]
        children = np.concatenate([level + 1, root[level] + words["right"][level]])
        depth[children] = np.tile(depth[level] + 1, 2)
        level = children
    return (depth + mean_depth(arrays["weight"].astype(np.float64)))[:, None]
