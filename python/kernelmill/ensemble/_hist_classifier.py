"""HistGradientBoostingClassifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import class_labels, coded, weights_by_class
from kernelmill.ensemble import _hist_base, _hist_words
from kernelmill.ensemble._hist_base import HistGradientBoosting
from kernelmill.ensemble._hist_losses import Loss, named
from kernelmill.ops import elementwise, softmax


class HistGradientBoostingClassifier(ClassifierMixin, HistGradientBoosting):
    __doc__ = f"""Gradient boosting on histograms, for classification.

    Parameters
    ----------
    loss : {{"log_loss"}} or callable, default="log_loss"
        What is minimised: the binary or the multinomial log loss. A callable ``loss(y, raw)`` for
        two classes, y holding 0 and 1, returns the gradient and the hessian of each row by its raw
        prediction, whose logistic function is the probability.
    {_hist_words.PARAMETERS.format(binary=", for two classes")}
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; ``"balanced"`` makes the weights of all classes equal.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    {_hist_words.ATTRIBUTES}

    Notes
    -----
    {_hist_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from kernelmill.ensemble import HistGradientBoostingClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = HistGradientBoostingClassifier(max_iter=50).fit(X, y)
    >>> model.score(X, y), model.predict_proba(X[:1]).shape
    (1.0, (1, 2))
    """  # fmt: skip

    _classification = True
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **_hist_base.PARAMETERS,
        "loss": rule.any_of(rule.one_of("log_loss"), rule.function("(y, raw)")),
        "class_weight": rule.any_of(
            rule.Rule(lambda v: isinstance(v, Mapping), "a dict"), rule.one_of("balanced"),
            rule.nothing(),
        ),
    }  # fmt: skip

    def __init__(
        self, loss="log_loss", *, learning_rate=0.1, max_iter=100, max_leaf_nodes=31,
        max_depth=None, min_samples_leaf=20, l2_regularization=0.0, max_features=1.0, max_bins=255,
        categorical_features="from_dtype", monotonic_cst=None, interaction_cst=None,
        warm_start=False, early_stopping="auto", scoring="loss", validation_fraction=0.1,
        n_iter_no_change=10, tol=1e-7, verbose=0, random_state=None, class_weight=None,
        l1_regularization=0.0, min_gain_to_split=0.0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _encoded(self, y: Any, owner: str, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        given = class_labels(y, owner)
        if reset:
            self.classes_, codes = coded(given, np.float64)
            if len(self.classes_) < 2:
                raise ValueError(f"{owner}: y must hold at least two classes, got 1 class")
        else:
            unknown = np.setdiff1d(given, self.classes_)
            if len(unknown):
                raise ValueError(
                    f"{owner}: y must hold known classes only, got {unknown[:5].tolist()}"
                )
            codes = np.searchsorted(self.classes_, given).astype(np.float64)
        return codes, given

    def _class_weight(self, given: np.ndarray) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        return weights_by_class(self.class_weight, given, type(self).__name__)

    def _loss(self, owner: str) -> Loss:
        k = len(self.classes_)
        if callable(self.loss) and k > 2:
            raise ValueError(f"{owner}: y must hold two classes where loss is a function, got {k}")
        return named(self.loss, 0.5, k, owner)

    def _shares(self, raw: np.ndarray) -> np.ndarray:
        if raw.shape[1] == 1:
            p = elementwise.logistic(raw)
            return namespace(raw).concatenate([elementwise.logistic(-raw), p], axis=1)
        return softmax.softmax(raw[:, :, None])[:, :, 0]

    def _labels(self, raw: np.ndarray) -> np.ndarray:
        codes = (raw[:, 0] > 0).astype(np.int64) if raw.shape[1] == 1 else raw.argmax(axis=1)
        return self.classes_[to_host(codes)]

    def predict(self, X):
        """Predict classes.

        Returns
        -------
        labels : ndarray of shape (n,)
            Labels of the classes.
        """
        return self._labels(self._raw(X))

    def predict_proba(self, X):
        """Probabilities of the classes.

        Returns
        -------
        proba : ndarray of shape (n, n_classes)
            Rows sum to 1.
        """
        return self._shares(self._raw(X))

    def decision_function(self, X):
        """Raw predictions: log odds, or scores of the classes.

        Returns
        -------
        scores : ndarray of shape (n,) or (n, n_classes)
            A vector for two classes.
        """
        raw = self._raw(X)
        return raw[:, 0].copy() if raw.shape[1] == 1 else raw

    def staged_predict(self, X) -> Iterator[np.ndarray]:
        """Predict classes after each round.

        Yields
        ------
        labels : ndarray of shape (n,)
            Labels of the classes.
        """
        for raw in self._staged_raw(X):
            yield self._labels(raw)

    def staged_predict_proba(self, X) -> Iterator[np.ndarray]:
        """Probabilities of the classes after each round.

        Yields
        ------
        proba : ndarray of shape (n, n_classes)
            Rows sum to 1.
        """
        for raw in self._staged_raw(X):
            yield self._shares(raw)

    def staged_decision_function(self, X) -> Iterator[np.ndarray]:
        """Raw predictions after each round.

        Yields
        ------
        scores : ndarray of shape (n,) or (n, n_classes)
            As `decision_function`.
        """
        for raw in self._staged_raw(X):
            yield raw[:, 0].copy() if raw.shape[1] == 1 else raw
