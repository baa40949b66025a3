"""GradientBoostingClassifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import class_labels, coded
from kernelmill.ensemble import _gradient_words as _words
from kernelmill.ensemble._gradient_boosting import PARAMETERS, GradientBoosting

_LEAST = 2.0**-52  # probabilities of `init` are kept this far from 0 and 1


class GradientBoostingClassifier(ClassifierMixin, GradientBoosting):
    __doc__ = f"""Gradient boosting for classification, over exact trees.

    Parameters
    ----------
    loss : {{"log_loss", "exponential"}}, default="log_loss"
        Deviance, or the loss of AdaBoost, for two classes.
    {_words.PARAMETERS.format()}
    max_features : int, float, {{"sqrt", "log2"}} or None, default=None
        Features to look at in each node, drawn anew.
    {_words.MORE}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    n_classes_ : int
        Number of classes.
    {_words.ATTRIBUTES}

    Notes
    -----
    {_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.ensemble import GradientBoostingClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.98, model.predict(X[:2]).tolist()
    (True, [0, 0])
    >>> model.predict_proba(X).shape, model.predict_log_proba(X).shape, model.apply(X).shape
    ((150, 3), (150, 3), (150, 20, 3))
    >>> model.decision_function(X).shape, len([*model.staged_predict(X)])
    ((150, 3), 20)
    >>> stages = model.staged_predict_proba(X), model.staged_decision_function(X)
    >>> [next(stage).shape for stage in stages]
    [(150, 3), (150, 3)]
    """  # fmt: skip

    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "loss": rule.one_of("log_loss", "exponential"),
    }
    classes_: np.ndarray

    def __init__(
        self, *, loss="log_loss", learning_rate=0.1, n_estimators=100, subsample=1.0,
        criterion="friedman_mse", min_samples_split=2, min_samples_leaf=1,
        min_weight_fraction_leaf=0.0, max_depth=3, min_impurity_decrease=0.0, init=None,
        random_state=None, max_features=None, verbose=0, max_leaf_nodes=None, warm_start=False,
        validation_fraction=0.1, n_iter_no_change=None, tol=1e-4, ccp_alpha=0.0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _targets(self, y: Any, owner: str) -> tuple[np.ndarray, np.ndarray, int]:
        given = class_labels(y, owner)
        classes, codes = coded(given, np.float64)
        if len(classes) < 2:
            raise ValueError(
                f"{owner}: y must hold at least 2 classes, got {len(classes)} (y contains 1 class)"
            )
        if self.loss == "exponential" and len(classes) > 2:
            raise ValueError(
                f"{owner}: loss='exponential' must have 2 classes in y, got {len(classes)}"
            )
        self.classes_, self.n_classes_ = classes, len(classes)
        return codes, given, len(classes)

    def _raw_of(self, model: Any, X: Any) -> np.ndarray:
        proba = np.clip(model.predict_proba(X), _LEAST, 1 - _LEAST)
        if self.n_classes_ > 2:
            logs = np.log(proba)
            return logs - logs.mean(axis=1, keepdims=True)
        odds = np.log(proba[:, 1:]) - np.log1p(-proba[:, 1:])
        return odds / 2 if self.loss == "exponential" else odds

    def _probabilities(self, raw: np.ndarray) -> np.ndarray:
        if self.n_classes_ > 2:
            return softmax(raw, axis=1)
        return expit(self._log_odds(raw))

    def _log_odds(self, raw: np.ndarray) -> np.ndarray:
        """Of either class: one less a share near 1 has no digits left."""
        odds = raw * (2 if self.loss == "exponential" else 1)
        return np.concatenate([-odds, odds], axis=1)

    def _labels(self, raw: np.ndarray) -> np.ndarray:
        if self.n_classes_ > 2:
            return self.classes_[raw.argmax(axis=1)]
        return self.classes_[(raw[:, 0] > 0).astype(np.int64)]

    def _decisions(self, raw: np.ndarray) -> np.ndarray:
        return raw if self.n_classes_ > 2 else raw[:, 0]

    def decision_function(self, X):
        """Raw predictions: logarithms of odds, or of unnormalised probabilities.

        Returns
        -------
        decisions : ndarray of shape (n,) or (n, n_classes)
            A vector for two classes; half the logarithm of the odds for the exponential loss.
        """
        return self._decisions(self._raw(X))

    def staged_decision_function(self, X):
        """`decision_function` after each stage.

        Yields
        ------
        decisions : ndarray of shape (n,) or (n, n_classes)
            One for each stage.
        """
        for raw in self._staged_raw(X):
            yield self._decisions(raw)

    def predict(self, X):
        """The most probable class, the first of equals.

        Returns
        -------
        labels : ndarray of shape (n,)
            Labels of the classes.
        """
        return self._labels(self._raw(X))

    def staged_predict(self, X):
        """`predict` after each stage.

        Yields
        ------
        labels : ndarray of shape (n,)
            One for each stage.
        """
        for raw in self._staged_raw(X):
            yield self._labels(raw)

    def predict_proba(self, X):
        """Probabilities of the classes.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            Rows add up to 1.
        """
        return self._probabilities(self._raw(X))

    def staged_predict_proba(self, X):
        """`predict_proba` after each stage.

        Yields
        ------
        proba : ndarray of shape (n, n_classes)
            One for each stage.
        """
        for raw in self._staged_raw(X):
            yield self._probabilities(raw)

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`, finite where the probability is too small for float64.

        Returns
        -------
        logs : ndarray of shape (n, n_classes)
            Of all digits, however near 0 or 1 the probability is.
        """
        raw = self._raw(X)
        return log_softmax(raw, axis=1) if self.n_classes_ > 2 else log_expit(self._log_odds(raw))

    def _leaves_shaped(self, leaves: np.ndarray) -> np.ndarray:
        return leaves
