"""DecisionTreeClassifier and ExtraTreeClassifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.tree import DecisionTreeClassifier as Peer

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import class_labels, coded, weights_by_class
from kernelmill.ops import tree as ops
from kernelmill.tree import _base, _words
from kernelmill.tree._base import DecisionTree, TreeModel

CRITERIA = {"gini": ops.GINI, "entropy": ops.ENTROPY, "log_loss": ops.ENTROPY}
CLASS_WEIGHT = """class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes; ``"balanced"`` makes the weights of all classes equal. One dict for
        each output where there are several."""
CLASSES = """classes_ : ndarray of shape (n_classes,), or list of them
        Labels of the classes; a list where there are several outputs.
    n_classes_ : int or list of int
        Numbers of classes."""


def _is_class_weight(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def weights_of_classes(*names: str) -> rule.Rule:
    """The rule of ``class_weight``."""
    return rule.any_of(
        rule.Rule(_is_class_weight, "a dict or a list of dicts"),
        rule.one_of(*names),
        rule.nothing(),
    )


class ClassTrees(ClassifierMixin, TreeModel):
    """Targets and predictions of classifiers."""

    _classification = True
    criterion: str
    class_weight: Any
    classes_: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags

    def _criterion(self) -> tuple[int, float]:
        return CRITERIA[self.criterion], 0.5

    def _encoded(self, y: Any, owner: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        given = class_labels(y, owner, multioutput=True)
        columns = given.reshape(len(given), -1)
        labels, codes = zip(*(coded(column, np.float64) for column in columns.T), strict=True)
        classes = np.array([len(own) for own in labels], np.int64)
        one = given.ndim == 1
        self.classes_ = labels[0] if one else list(labels)
        self.n_classes_ = int(classes[0]) if one else classes.tolist()
        weights = self._weights_by_class(given, owner)
        codes = codes[0][:, None] if len(codes) == 1 else np.stack(codes, axis=1)
        return codes, classes, weights

    def _weights_by_class(self, y: np.ndarray, owner: str) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        return weights_by_class(self.class_weight, y, owner)

    def _proba(self, X: Any) -> Any:
        shares = self._leaf_values(X)
        if not isinstance(self.classes_, list):
            return shares[:, 0]
        return [shares[:, k, : len(own)] for k, own in enumerate(self.classes_)]

    def _log_proba(self, X: Any) -> Any:
        proba = self._proba(X)
        with np.errstate(divide="ignore"):
            return [np.log(p) for p in proba] if isinstance(proba, list) else np.log(proba)

    def _labels(self, X: Any) -> np.ndarray:
        proba = self._proba(X)
        if not isinstance(proba, list):
            return self.classes_.take(to_host(proba.argmax(axis=1)))
        pairs = zip(self.classes_, proba, strict=True)
        return np.stack([own.take(to_host(p.argmax(axis=1))) for own, p in pairs], axis=1)


class _Classifier(ClassTrees, DecisionTree):
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **_base.PARAMETERS,
        "splitter": rule.one_of("best", "random"),
        "criterion": rule.one_of(*CRITERIA),
        "class_weight": weights_of_classes("balanced"),
    }

    def predict_proba(self, X, check_input=True):
        """Shares of the classes in the leaf of each row.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), or list of them
            By weight of the training rows; a list where there are several outputs.
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

    def predict(self, X, check_input=True):
        """The class with the largest share in the leaf of each row, the first of equals.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_outputs)
            Labels of the classes.
        """
        return self._labels(X)


class DecisionTreeClassifier(_Classifier):
    __doc__ = f"""Decision tree for classification.

    Parameters
    ----------
    criterion : {{"gini", "entropy", "log_loss"}}, default="gini"
        Impurity of a node; ``"entropy"`` and ``"log_loss"`` are the same.
    {_words.PARAMETERS.format(splitter="best", max_features="None")}
    {CLASS_WEIGHT}
    {_words.PRUNING.format(binary=" of two classes")}
    {_words.CATEGORIES}
    {_words.SPLIT}

    Attributes
    ----------
    {CLASSES}
    {_words.ATTRIBUTES}

    Notes
    -----
    {_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.tree import DecisionTreeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DecisionTreeClassifier(max_depth=3).fit(X, y)
    >>> model.score(X, y) > 0.97, model.get_depth(), model.get_n_leaves()
    (True, 3, 5)
    >>> model.predict([[5.1, 3.5, 1.4, 0.2]]).tolist()
    [0]
    >>> model.predict_proba([[5.1, 3.5, 1.4, 0.2]]).tolist()
    [[1.0, 0.0, 0.0]]
    >>> model.predict_log_proba(X).shape
    (150, 3)
    >>> model.apply(X[:1]).tolist(), model.decision_path(X[:1]).indices.tolist()
    ([1], [0, 1])
    >>> path = model.cost_complexity_pruning_path(X, y)
    >>> len(path.ccp_alphas)
    5
    """  # fmt: skip

    def __init__(
        self, *, criterion="gini", splitter="best", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features=None, random_state=None,
        max_leaf_nodes=None, min_impurity_decrease=0.0, class_weight=None, ccp_alpha=0.0,
        monotonic_cst=None, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())


class ExtraTreeClassifier(_Classifier):
    __doc__ = f"""Extremely randomised tree for classification: thresholds are drawn.

    For ensembles. Differs from `DecisionTreeClassifier` in two defaults.

    Parameters
    ----------
    criterion : {{"gini", "entropy", "log_loss"}}, default="gini"
        Impurity of a node; ``"entropy"`` and ``"log_loss"`` are the same.
    {_words.PARAMETERS.format(splitter="random", max_features='"sqrt"')}
    {CLASS_WEIGHT}
    {_words.PRUNING.format(binary=" of two classes")}
    {_words.CATEGORIES}
    {_words.SPLIT}

    Attributes
    ----------
    {CLASSES}
    {_words.ATTRIBUTES}

    Notes
    -----
    {_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.tree import ExtraTreeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> ExtraTreeClassifier(random_state=0).fit(X, y).score(X, y)
    1.0
    """  # fmt: skip

    def __init__(
        self, *, criterion="gini", splitter="random", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features="sqrt", random_state=None,
        max_leaf_nodes=None, min_impurity_decrease=0.0, class_weight=None, ccp_alpha=0.0,
        monotonic_cst=None, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())


Peer.register(_Classifier)  # its tree_ is what plot_tree and its like read
