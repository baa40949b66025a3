"""RandomForestClassifier and ExtraTreesClassifier."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.metrics import accuracy_score

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import weights_by_class
from kernelmill.ensemble import _words
from kernelmill.ensemble._forest import PARAMETERS, Forest
from kernelmill.tree import _words as tree_words
from kernelmill.tree._classifier import (
    CLASSES,
    CRITERIA,
    ClassTrees,
    DecisionTreeClassifier,
    ExtraTreeClassifier,
    weights_of_classes,
)

_CRITERION = """criterion : {"gini", "entropy", "log_loss"}, default="gini"
        Impurity of a node; ``"entropy"`` and ``"log_loss"`` are the same."""
_CLASS_WEIGHT = """class_weight : dict, list of dict, "balanced", "balanced_subsample" or None, \
default=None
        Weights of the classes; ``"balanced"`` makes the weights of all classes equal,
        ``"balanced_subsample"`` those in each bag. One dict for each output where there are
        several."""
_OOB = """oob_decision_function_ : ndarray of shape (n, n_classes)
        Mean shares of the classes over trees whose bag lacks the row; NaN where there is none. Of
        shape (n, n_classes, n_outputs) where there are several outputs."""


class _ForestClassifier(Forest, ClassTrees):
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "criterion": rule.one_of(*CRITERIA),
        "class_weight": weights_of_classes("balanced", "balanced_subsample"),
    }

    def _weights_by_class(self, y: np.ndarray, owner: str) -> np.ndarray | None:
        if self.class_weight != "balanced_subsample":
            return super()._weights_by_class(y, owner)
        # Without bags the subsample is all rows.
        return None if self.bootstrap else weights_by_class("balanced", y, owner)

    def _subsample_weights(self, targets: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
        if self.class_weight != "balanced_subsample":
            return None
        weights = np.ones(len(targets))
        for codes in targets.T.astype(np.int64):
            sums = np.bincount(codes, counts)
            present = sums > 0
            sums[present] = counts.sum() / (present.sum() * sums[present])
            weights *= sums[codes]
        return weights

    def _set_oob(self, sums: np.ndarray, votes: np.ndarray, targets: np.ndarray) -> None:
        known, codes = votes > 0, targets.astype(np.int64)
        guess = sums.argmax(axis=2)
        labels = self.classes_ if isinstance(self.classes_, list) else [self.classes_]
        pairs = [
            (own[codes[known, k]], own[guess[known, k]]) for k, own in enumerate(labels)
        ]
        if self.n_outputs_ == 1:
            self.oob_decision_function_ = sums[:, 0]
            true, found = pairs[0]
        else:
            self.oob_decision_function_ = np.moveaxis(sums, 1, 2)
            true, found = (np.stack(side, axis=1) for side in zip(*pairs, strict=True))
        if not known.any():
            self.oob_score_ = float("nan")
        elif callable(self.oob_score):
            self.oob_score_ = self.oob_score(true, found)
        elif self.n_outputs_ == 1:
            self.oob_score_ = float(accuracy_score(true, found))
        else:
            self.oob_score_ = float((true == found).all(axis=1).mean())

    def predict(self, X):
        """The class with the largest mean share, the first of equals.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_outputs)
            Labels of the classes.
        """
        return self._labels(X)

    def predict_proba(self, X):
        """Mean over trees of the shares of the classes in the leaf of each row.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), or list of them
            A list where there are several outputs.
        """
        return self._proba(X)

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`.

        Returns
        -------
        logs : ndarray of shape (n, n_classes), or list of them
            -inf for a share of 0.
        """
        return self._log_proba(X)


class RandomForestClassifier(_ForestClassifier):
    __doc__ = f"""Random forest for classification.

    Trees over bags of rows, each split the best of a few features drawn for it; predictions are
    means of the shares of classes in leaves.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    {_CRITERION}
    {_words.PARAMETERS.format(max_features='"sqrt"', bootstrap="True", score="accuracy")}
    {_CLASS_WEIGHT}
    {_words.PRUNING.format(binary=" of two classes")}
    {tree_words.CATEGORIES}
    {tree_words.SPLIT}

    Attributes
    ----------
    {CLASSES}
    {_words.ATTRIBUTES}
    {_OOB}

    Notes
    -----
    {_words.NOTES}

    References
    ----------
    Breiman (2001), "Random forests".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.ensemble import RandomForestClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RandomForestClassifier(50, oob_score=True, random_state=0).fit(X, y)
    >>> model.oob_score_ > 0.93, model.predict(X[:2]).tolist()
    (True, [0, 0])
    >>> model.predict_proba(X[:1]).tolist(), model.predict_log_proba(X).shape
    ([[1.0, 0.0, 0.0]], (150, 3))
    >>> model.apply(X).shape, len(model.estimators_)
    ((150, 50), 50)
    >>> path, begins = model.decision_path(X)
    >>> path.shape[1] == int(begins[-1])
    True
    >>> near = model.proximity(X)
    >>> bool(near[0, 1] > near[0, 100])
    True
    """  # fmt: skip
    _tree = DecisionTreeClassifier

    def __init__(
        self, n_estimators=100, *, criterion="gini", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features="sqrt",
        max_leaf_nodes=None, min_impurity_decrease=0.0, bootstrap=True, oob_score=False,
        n_jobs=None, random_state=None, verbose=0, warm_start=False, class_weight=None,
        ccp_alpha=0.0, max_samples=None, monotonic_cst=None, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())


class ExtraTreesClassifier(_ForestClassifier):
    __doc__ = f"""Extremely randomised trees for classification: thresholds are drawn.

    Trees over all rows; a split is the best of a few features drawn for it, each with one threshold
    drawn between its extremes in the node.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    {_CRITERION}
    {_words.PARAMETERS.format(max_features='"sqrt"', bootstrap="False", score="accuracy")}
    {_CLASS_WEIGHT}
    {_words.PRUNING.format(binary=" of two classes")}
    {tree_words.CATEGORIES}
    {tree_words.SPLIT}

    Attributes
    ----------
    {CLASSES}
    {_words.ATTRIBUTES}
    {_OOB}

    Notes
    -----
    {_words.NOTES}

    References
    ----------
    Geurts, Ernst and Wehenkel (2006), "Extremely randomized trees".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.ensemble import ExtraTreesClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> ExtraTreesClassifier(50, random_state=0).fit(X, y).score(X, y)
    1.0
    """  # fmt: skip
    _tree, _cuts = ExtraTreeClassifier, True

    def __init__(
        self, n_estimators=100, *, criterion="gini", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features="sqrt",
        max_leaf_nodes=None, min_impurity_decrease=0.0, bootstrap=False, oob_score=False,
        n_jobs=None, random_state=None, verbose=0, warm_start=False, class_weight=None,
        ccp_alpha=0.0, max_samples=None, monotonic_cst=None, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())
