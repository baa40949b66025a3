"""AdaBoostClassifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step
from kernelmill._estimator._targets import check_count, class_labels, coded
from kernelmill.ensemble._adaboost import PARAMETERS, THERE, AdaBoost, State
from kernelmill.tree import DecisionTreeClassifier


class AdaBoostClassifier(ClassifierMixin, AdaBoost):
    """AdaBoost for classification, by SAMME.

    Each member is fitted with larger weights for the rows that those before it got wrong; members
    vote with weights.

    Parameters
    ----------
    estimator : estimator or None, default=None
        A classifier whose ``fit`` takes ``sample_weight``; None stands for
        ``DecisionTreeClassifier(max_depth=1)``.
    n_estimators : int, default=50
        Most members.
    learning_rate : float, default=1.0
        Factor of the weights of members.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator, of members that have one.

    Attributes
    ----------
    estimator_ : estimator
        What members are clones of.
    estimators_ : list of estimators
        Members; fewer than ``n_estimators`` where one makes no error, or one is no better than
        chance.
    estimator_weights_, estimator_errors_ : ndarray of shape (n_members,)
        Weights in the vote, and weighted training errors.
    feature_importances_ : ndarray of shape (d,)
        Mean of the importances of the members by their weights.
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    n_classes_ : int
        Number of classes.
    n_features_in_, feature_names_in_

    Notes
    -----
    With e the weighted error of a member and K classes, its weight is
    ``learning_rate (log((1 - e) / e) + log(K - 1))``, and the weights of the rows that it got wrong
    are multiplied by its exponential. Logarithms of the weights are kept, the largest 0, so that
    they stay finite however far they spread. Trees of this package sort float64 features once and
    float32 ones not at all: a stump costs few passes over X.

    References
    ----------
    Freund and Schapire (1997), "A decision-theoretic generalization of on-line learning and an
    application to boosting"; Zhu, Zou, Rosset and Hastie (2009), "Multi-class AdaBoost".

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from kernelmill.ensemble import AdaBoostClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = AdaBoostClassifier(n_estimators=30, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.97, len(model.estimators_)
    (True, 30)
    >>> model.predict(X[:2]).tolist(), model.predict_proba(X[:2]).shape
    ([0, 0], (2, 2))
    >>> bool(model.decision_function(X[:1])[0] < 0), model.predict_log_proba(X).shape
    (True, (569, 2))
    >>> scores = [*model.staged_score(X, y)]
    >>> scores[0] < scores[-1]
    True
    >>> stages = model.staged_predict(X), model.staged_predict_proba(X)
    >>> [next(stage).shape for stage in (*stages, model.staged_decision_function(X))]
    [(569,), (569, 2), (569,)]
    """

    _metric = staticmethod(accuracy_score)
    _parameters: ClassVar[dict[str, rule.Rule]] = PARAMETERS

    def __init__(
        self, estimator=None, *, n_estimators=50, learning_rate=1.0, random_state=None
    ):  # fmt: skip
        self._set_parameters(locals())

    def _default(self) -> Any:
        return DecisionTreeClassifier(max_depth=1)

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Fit the members one after another.

        Parameters
        ----------
        y : array-like of shape (n,)
            Labels of the classes.

        Returns
        -------
        self : AdaBoostClassifier
            Itself.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit, or the first member is no better than
            chance.
        """
        owner = type(self).__name__
        rows = self._rows(X, sample_weight, reset=True)
        self._refuse_device(rows.X, THERE)
        labels = class_labels(y, owner)
        check_count(labels, rows.count, owner)
        self.classes_, codes = coded(labels, np.int32)
        self.n_classes_ = len(self.classes_)
        self._set_estimator()
        if not has_fit_parameter(self.estimator_, "sample_weight"):
            raise ValueError(
                f"{owner}: estimator must take sample_weight in fit, got "
                f"{type(self.estimator_).__name__}"
            )
        kept, shared, begin = self._begin(rows, labels)
        given, labels, codes = rows.X[kept], labels[kept], codes[kept]

        def advance(state: State, most: int) -> Step:
            number, weights = len(state.members), state.shares
            member = self._fitted_member(number, shared, given, labels, weights)
            wrong = self._codes(member, given) != codes
            # Not weights @ wrong: threads of BLAS spin on the cores that the next member needs
            # (0.24 s for 50 stumps of 50k x 20 against 0.6), and sums depend on their number.
            error = float(weights[wrong].sum())
            if error >= 1 - 1 / self.n_classes_ and self.n_classes_ > 1:
                if not number:
                    raise ValueError(
                        f"{owner}: estimator must be better than chance on X, got an error of "
                        f"{error} (BaseClassifier in AdaBoostClassifier ensemble is worse than "
                        "random, ensemble can not be fit.)"
                    )
                return Step(state, finished=True, taken=1)
            if error <= 0:
                return Step(state.after(member, 1.0, 0.0, state.logs), finished=True)
            alpha = self.learning_rate * (
                np.log1p(-error) - np.log(error) + np.log(self.n_classes_ - 1)
            )
            moved = alpha * wrong
            moved += state.logs
            return Step(state.after(member, float(alpha), error, moved))

        self._climb(X, y, begin, advance)
        return self

    def _codes(self, member: Any, X: Any) -> np.ndarray:
        """Numbers of the classes that a member predicts."""
        levels = getattr(member, "is_categorical_", None) is not None
        if isinstance(member, DecisionTreeClassifier) and not (is_sparse(X) or levels):
            tree = member.tree_
            number = np.searchsorted(self.classes_, member.classes_)
            return number[tree.value[:, 0].argmax(axis=1)][tree.apply(X)]
        return np.searchsorted(self.classes_, member.predict(X))

    def _votes(self, X: Any) -> Any:
        """Sums of votes (n, n_classes) and of weights, member after member."""
        check_is_fitted(self, "estimators_")
        k = self.n_classes_
        sums, total = None, 0.0
        for codes, weight in self._stages(X, self._codes):
            if sums is None:
                sums = np.zeros((len(codes), k))
            sums -= weight / max(1, k - 1)
            sums[np.arange(len(codes)), codes] += weight * (1 + 1 / max(1, k - 1))
            total += weight
            yield self._decisions(sums / total)

    def _decisions(self, mean: np.ndarray) -> np.ndarray:
        return mean[:, 1] - mean[:, 0] if self.n_classes_ == 2 else mean

    def _probabilities(self, decisions: np.ndarray) -> np.ndarray:
        if self.n_classes_ == 1:
            return np.ones((len(decisions), 1))
        if self.n_classes_ == 2:
            return softmax(np.stack([-decisions, decisions], axis=1) / 2, axis=1)
        return softmax(decisions / (self.n_classes_ - 1), axis=1)

    def _labels(self, decisions: np.ndarray) -> np.ndarray:
        if self.n_classes_ == 2:
            return self.classes_[(decisions > 0).astype(np.int64)]
        return self.classes_[decisions.argmax(axis=1)]

    def staged_decision_function(self, X):
        """`decision_function` of the first member, the first two, and so on.

        Yields
        ------
        decisions : ndarray of shape (n,) or (n, n_classes)
            One for each stage.
        """
        yield from self._votes(X)

    def decision_function(self, X):
        """Mean vote of the members by weight.

        Returns
        -------
        decisions : ndarray of shape (n,) or (n, n_classes)
            A vote is 1 for the class that a member predicts and ``-1 / (n_classes - 1)`` for
            others; of two classes the second's less the first's.
        """
        *_, last = self._votes(X)
        return last

    def predict(self, X):
        """The class with the largest vote, the first of equals.

        Returns
        -------
        labels : ndarray of shape (n,)
            Labels of the classes.
        """
        return self._labels(self.decision_function(X))

    def staged_predict(self, X):
        """`predict` after each member.

        Yields
        ------
        labels : ndarray of shape (n,)
            One for each stage.
        """
        for decisions in self._votes(X):
            yield self._labels(decisions)

    def predict_proba(self, X):
        """Probabilities of the classes, from the votes.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            Softmax of ``votes / (n_classes - 1)``.
        """
        return self._probabilities(self.decision_function(X))

    def staged_predict_proba(self, X):
        """`predict_proba` after each member.

        Yields
        ------
        proba : ndarray of shape (n, n_classes)
            One for each stage.
        """
        for decisions in self._votes(X):
            yield self._probabilities(decisions)

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`.

        Returns
        -------
        logs : ndarray of shape (n, n_classes)
            Finite.
        """
        return np.log(self.predict_proba(X))
