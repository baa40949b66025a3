"""What all trees share: parameters, fit, and the methods that walk down."""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._targets import check_count, check_mass
from kernelmill.ops import tree as ops
from kernelmill.tree import _levels
from kernelmill.tree._fitted import KEPT, Tree, arrays_of, pruned, pruning_path
from kernelmill.tree._growth import Field, Limits, Nursery
from kernelmill.tree._levels import Levelled, levels_in, with_codes
from kernelmill.tree._words import WORDS

SHARE = rule.Rule(
    lambda v: rule.is_real(v) and not rule.is_integer(v) and 0 < v <= 1, "a share in (0, 1]"
)
_count = rule.any_of(rule.integer(1), SHARE)
PARAMETERS = {
    "max_depth": rule.any_of(rule.integer(1), rule.nothing()),
    "min_samples_split": rule.any_of(rule.integer(2), SHARE),
    "min_samples_leaf": _count,
    "min_weight_fraction_leaf": rule.real(0, high=0.5),
    "max_features": rule.any_of(_count, rule.one_of("sqrt", "log2"), rule.nothing()),
    "random_state": rule.RANDOM_STATE,
    "max_leaf_nodes": rule.any_of(rule.integer(2), rule.nothing()),
    "min_impurity_decrease": rule.real(0),
    "ccp_alpha": rule.real(0),
    "monotonic_cst": rule.any_of(rule.array("(n_features,) of -1, 0 and 1"), rule.nothing()),
    "categorical_features": _levels.RULE,
    "split": rule.one_of("exact", "hist"),
    "max_bins": rule.Rule(
        lambda v: rule.is_integer(v) and 2 <= v <= 255, "a whole number from 2 to 255"
    ),
}

_TREES: WeakKeyDictionary = WeakKeyDictionary()  # what `tree_` gave, which no file is to hold


class TreeModel(Levelled):
    """What trees and forests share: a subclass encodes targets and says how to predict."""

    _words = WORDS
    _accepts_sparse = True
    _accepts_missing = True
    _accepts_streams = False
    _squares = False
    _classification: ClassVar[bool]
    _levels_once: ClassVar[bool] = False  # levels are put in order once for a tree
    criterion: str
    split: str
    max_bins: int
    classes_: Any
    is_categorical_: np.ndarray | None

    def _encoded(self, y: Any, owner: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Targets, numbers of classes or nothing, and weights of the rows by class."""
        raise NotImplementedError

    def _criterion(self) -> tuple[int, float]:
        """Index into `ops.CRITERIA`, and the level of a quantile."""
        raise NotImplementedError

    def _random_cuts(self) -> bool:
        """Whether thresholds are drawn."""
        raise NotImplementedError

    def _leaf_values(self, X: Any) -> np.ndarray:
        """(n, n_outputs, max_n_classes): shares of the classes, or predictions."""
        raise NotImplementedError

    def _all_trees(self) -> tuple[np.ndarray, ...]:
        """Nodes, roots, sides, weights of nodes and values of leaves, as `ops` take them."""
        raise NotImplementedError

    def predict_contributions(self, X):
        """What each feature adds to the prediction: Shapley values along the paths of trees.

        Returns
        -------
        contributions : ndarray of shape (n, d + 1) or (n, d + 1, k), or list of them
            The last column is the expected prediction, and columns add up to the prediction. In
            classification to the shares of the k classes, a list where there are several outputs;
            in regression with k outputs to each of them.
        """
        X = self._dense(X)
        self._refuse_device(X, "contributions are computed there")
        nodes, roots, sides, cover, values = self._all_trees()
        k = values.shape[1]
        phi = ops.contributions(X, nodes, roots, sides, cover, values, np.zeros(k))
        phi = np.ascontiguousarray(phi.transpose(0, 2, 1))
        phi /= len(roots)
        if not self._classification:
            return phi[:, :, 0] if k == 1 else phi
        most = k // self.n_outputs_
        own = [phi[:, :, i * most : i * most + c] for i, c in enumerate(self._n_classes)]
        return own[0] if isinstance(self.classes_, np.ndarray) else own

    def _field(
        self, X: np.ndarray, targets: np.ndarray, weight: np.ndarray | None, random: bool
    ) -> Field:
        """What trees see of the rows: ranks of values or of bins; drawn cuts need neither."""
        if self.split == "exact" or random:
            return Field.of(X, targets, random, shared=not isinstance(self, DecisionTree))
        return Field.binned(X, targets, weight, self.max_bins)

    def _limits(self, n: int, d: int, classes: np.ndarray) -> Limits:
        criterion, alpha = self._criterion()
        monotonic = self._monotonic(d, classes)
        mask = self.is_categorical_
        if mask is not None and criterion == ops.QUANTILE:
            raise ValueError(
                f"{type(self).__name__}: categorical_features must name no features for criterion="
                f"{self.criterion!r}, got {int(mask.sum())} (no order of levels gives the best cut)"
            )
        return Limits(
            criterion=criterion,
            alpha=alpha,
            unit=2.0 if self.criterion == "absolute_error" else 1.0,
            classes=classes,
            max_depth=self.max_depth,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_split=max(2, _share(self.min_samples_split, n)),
            min_samples_leaf=_share(self.min_samples_leaf, n),
            min_weight_fraction=self.min_weight_fraction_leaf,
            min_impurity_decrease=self.min_impurity_decrease,
            max_features=_features(self.max_features, d),
            in_order=self.max_features is None,
            levels_once=self._levels_once,
            bagged=getattr(self, "bootstrap", False),
            random=self._random_cuts(),
            monotonic=monotonic,
            categorical=mask,
        )

    def _monotonic(self, d: int, classes: np.ndarray) -> np.ndarray | None:
        if self.monotonic_cst is None:
            return None
        owner, signs = type(self).__name__, np.asarray(self.monotonic_cst)
        if signs.shape != (d,) or not np.isin(signs, (-1, 0, 1)).all():
            raise ValueError(
                f"{owner}: monotonic_cst must be {d} numbers of -1, 0 and 1, got {signs.tolist()}"
            )
        if self.is_categorical_ is not None and signs[self.is_categorical_].any():
            raise ValueError(
                f"{owner}: monotonic_cst must be 0 for categorical features, got others (levels "
                "have no order)"
            )
        if self.n_outputs_ > 1 or (len(classes) and classes[0] > 2):
            what = "outputs" if self.n_outputs_ > 1 else "classes (multiclass)"
            raise ValueError(
                f"{owner}: monotonic_cst must be None for several {what}, got constraints "
                f"(monotonic constraints are not supported with {what})"
            )
        return signs.astype(np.int32) if signs.any() else None

    def _dense(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        return with_codes(rows.X.toarray() if is_sparse(rows.X) else rows.X, self._category_levels)

    def _training(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """Rows, targets, weights if any, and numbers of classes or nothing."""
        owner = type(self).__name__
        again = getattr(self, "warm_start", False) and "_trees" in self.__dict__
        if not again:
            self.__dict__.pop("_levels", None)
        rows = self._rows(X, sample_weight, reset=not again)
        self._refuse_device(rows.X, "exact trees grow there, and predict on either device")
        before = self.__dict__.get("classes_"), self.__dict__.get("n_outputs_")
        targets, classes, class_weight = self._encoded(y, owner)
        if again:
            check_again(owner, before, (self.__dict__.get("classes_"), targets.shape[1]))
        check_count(targets, rows.count, owner)
        X = rows.X.toarray() if is_sparse(rows.X) else rows.X
        if not again:
            mask = self._categories(X.shape[1])
            self.is_categorical_ = mask if mask.any() else None
            self._category_levels = levels_in(X, mask, owner)
        X = with_codes(X, self._category_levels)
        weight = None if rows.weight is None else rows.weight.astype(np.float64)
        if class_weight is not None:
            weight = class_weight if weight is None else weight * class_weight
        if weight is not None and not (weight > 0).any():
            raise ValueError(f"{owner}: weights must be above 0 for some row, got none")
        if weight is not None:
            check_mass(weight, owner)
        self.n_outputs_ = targets.shape[1]
        self._n_classes = classes if len(classes) else np.ones(self.n_outputs_, np.int64)
        return X, targets, weight, classes


def check_again(owner: str, before: tuple[Any, Any], after: tuple[Any, Any]) -> None:
    """Refuses classes, or a number of outputs, other than the last fit's with ``warm_start``."""
    (labels, outputs), (own, count) = before, after
    listed = isinstance(labels, list), isinstance(own, list)
    same = outputs == count and listed[0] == listed[1]
    if same and own is not None:
        pairs = zip(labels, own, strict=True) if listed[1] else [(labels, own)]
        same = all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)
    if not same:
        what = "other classes" if outputs == count else f"{count} outputs after {outputs}"
        raise ValueError(
            f"{owner}: y must have the outputs and classes of the last fit with warm_start, got "
            f"{what} (set warm_start=False to start anew)"
        )


class DecisionTree(TreeModel):
    """Base of the single trees."""

    splitter: str

    def _random_cuts(self) -> bool:
        return self.splitter == "random"

    @fitting
    def fit(self, X, y, sample_weight=None, check_input=True):
        """Grow the tree.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.
        """
        X, targets, weight, classes = self._training(X, y, sample_weight)
        if weight is not None and not (weight > 0).all():
            kept = weight > 0
            X, targets, weight = X[kept], targets[kept], weight[kept]
        limits = self._limits(len(X), X.shape[1], classes)
        seeds = np.array([seed_of(self.random_state)])
        given = None if weight is None else weight[None]
        field = self._field(X, targets, weight, limits.random)
        grown = Nursery(limits, copy=False).grow_one(field, given, seeds)
        self._arrays = arrays_of(grown, self._n_classes, self._classification)
        if self.ccp_alpha > 0:
            own = Tree(self._arrays, X.shape[1], self._n_classes)
            self._arrays = pruned(own, self.ccp_alpha)
        self.max_features_ = limits.max_features
        return self

    @property
    def tree_(self):
        """The fitted tree, one object as long as the fit holds: its arrays are made once."""
        known = _TREES.get(self)
        if known is None or known[0] is not self.__dict__.get("_arrays"):
            own = self._tree()
            known = _TREES[self] = self._arrays, own
        return known[1]

    def _tree(self) -> Tree:
        check_is_fitted(self)
        return Tree(self._arrays, self.n_features_in_, self._n_classes)

    def __sklearn_is_fitted__(self):
        return "_arrays" in self.__dict__

    def _all_trees(self) -> tuple[np.ndarray, ...]:
        nodes, stats, value, sides = (self._arrays[name] for name in KEPT)
        cover = np.ascontiguousarray(stats[:, 1])
        return nodes, np.zeros(1, np.int64), sides, cover, value.reshape(len(nodes), -1)

    @property
    def feature_importances_(self):
        """Normalised decrease of impurity by each feature, ndarray of shape (d,)."""
        return self._tree().compute_feature_importances()  # not in arrays that `tree_` would keep

    def _leaf_values(self, X: Any) -> np.ndarray:
        """(n, n_outputs, max_n_classes)"""
        X = self._dense(X)
        return self._tree().predict(X).reshape(len(X), self.n_outputs_, -1)

    def apply(self, X, check_input=True):
        """Number of the leaf of each row.

        Returns
        -------
        leaves : ndarray of shape (n,), int64
            Numbers of nodes.
        """
        return self._tree().apply(self._dense(X))

    def decision_path(self, X, check_input=True):
        """The nodes that each row passes.

        Returns
        -------
        path : CSR matrix of shape (n, n_nodes)
            1 where a row passes a node.
        """
        return self._tree().decision_path(self._dense(X))

    def get_depth(self):
        """Depth of the tree: the most comparisons to a leaf.

        Returns
        -------
        depth : int
            0 where the root is a leaf.
        """
        return self._tree().max_depth

    def get_n_leaves(self):
        """Number of leaves.

        Returns
        -------
        leaves : int
            At least 1.
        """
        return self._tree().n_leaves

    def cost_complexity_pruning_path(self, X, y, sample_weight=None):
        """The effective alphas of minimal cost-complexity pruning, and the impurities they leave.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.

        Returns
        -------
        path : Bunch
            ``ccp_alphas`` and ``impurities``, ndarrays of shape (steps + 1,).
        """
        from sklearn.base import clone

        whole = clone(self).set_params(ccp_alpha=0.0).fit(X, y, sample_weight)
        alphas, impurities, _ = pruning_path(whole.tree_)
        return Bunch(ccp_alphas=alphas, impurities=impurities)

    def _compute_partial_dependence_recursion(self, grid, target_features):
        """What scikit-learn's ``partial_dependence`` asks of a tree."""
        own = enumerate(int(f) for f in target_features)
        levels = {j: self._category_levels[f] for j, f in own if f in self._category_levels}
        return self._tree().compute_partial_dependence(with_codes(grid, levels), target_features)


def _share(value: Any, n: int) -> int:
    return int(value) if rule.is_integer(value) else int(np.ceil(value * n))


def _features(value: Any, d: int) -> int:
    if value is None:
        return max(1, d)
    if value == "sqrt":
        return max(1, int(np.sqrt(d)))
    if value == "log2":
        return max(1, int(np.log2(d)))
    return min(d, int(value)) if rule.is_integer(value) else max(1, int(value * d))
