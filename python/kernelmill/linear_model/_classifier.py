"""The base of classifiers that are trained row by row."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight

from kernelmill._estimator._base import fitting
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import (
    check_classes,
    check_count,
    class_labels,
    declare_classes,
)
from kernelmill.linear_model._linear import LinearClassifier
from kernelmill.linear_model._stochastic import StochasticModel


class StochasticClassifier(ClassifierMixin, LinearClassifier, StochasticModel):
    """Base of the classifiers: labels, class weights, one model or one for each class."""

    class_weight: Any

    _classifies: ClassVar[bool] = True

    def _outputs(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _codes(self, y: np.ndarray, owner: str) -> np.ndarray:
        """Numbers of the classes."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"{owner}: y must hold known classes only, got {unknown[:5].tolist()} beside "
                f"{self.classes_[:20].tolist()} (`y` has classes not in `self.classes_`)"
            )
        return np.searchsorted(self.classes_, y)

    def _targets(self, codes: np.ndarray) -> np.ndarray:
        """Targets as `sgd.epochs` takes them."""
        codes = codes.astype(np.float64)
        return 2 * codes - 1 if len(self.classes_) == 2 else codes

    def _class_weights(self, y: np.ndarray) -> tuple[Any, Any]:
        """Factors of the steps of each model for its own class, and for the others."""
        if self.class_weight is None:
            return 1.0, 1.0
        try:
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        except ValueError as error:
            words = f"{type(self).__name__}: class_weight must fit y, got others ({error})"
            raise ValueError(words) from None
        return (weights[1], weights[0]) if len(weights) == 2 else (weights, 1.0)

    def _labels(self, y: Any, rows: Rows) -> np.ndarray:
        y = class_labels(y, rows.owner)
        if not rows.is_stream:
            check_count(y, rows.count, rows.owner)
        return y

    @fitting
    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None):
        """Train on these rows until the objective brings no gain.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,)
            Class labels, numbers or strings, in memory even if X is a stream.
        coef_init : array-like of shape (1, d) or (n_classes, d), optional
            Coefficients to start from; zeros by default.
        intercept_init : array-like of shape (1,) or (n_classes,), optional
            Intercepts to start from; zeros by default.
        sample_weight : array-like of shape (n,), optional
            Factors of the steps of the rows.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If X, y or a start do not fit, or the weights leave the range of numbers.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` epochs were not enough.
        """
        again = self.warm_start and hasattr(self, "coef_")
        rows = self._rows(X, sample_weight, reset=True)
        labels = self._labels(y, rows)
        self.classes_ = np.unique(labels)  # without the inverse, which takes a sort
        codes = np.searchsorted(self.classes_, labels)
        check_classes(self.classes_, rows.owner)
        start = self._start_of(again, coef_init, intercept_init)
        return self._train(
            rows, self._targets(codes), start, (X, y, sample_weight),
            partial=False, class_weights=self._class_weights(labels),
        )  # fmt: skip

    @fitting
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch over these rows, going on from the last call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,)
            Class labels.
        classes : array-like of shape (n_classes,), optional
            All labels that will occur; needed in the first call.
        sample_weight : array-like of shape (n,), optional
            Factors of the steps of the rows.

        Returns
        -------
        self : object
            The model after this epoch.

        Raises
        ------
        ValueError
            If X or y do not fit, classes are missing in the first call or others later, or
            ``early_stopping`` or ``class_weight="balanced"`` is set.
        """
        self._refuse_early_stopping()
        owner = type(self).__name__
        first = not hasattr(self, "classes_")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"{owner}: class_weight must be a dict or None for partial_fit, got 'balanced' "
                "(class_weight 'balanced' is not supported for partial_fit: call "
                "sklearn.utils.class_weight.compute_class_weight on all labels)"
            )
        declare_classes(self, classes, first)
        self.__dict__.pop("_declared", None)  # y is encoded by this class itself
        rows = self._rows(X, sample_weight, reset=first, once=True)
        labels = self._labels(y, rows)
        start = (None, None) if first else (self.coef_, self.intercept_)
        return self._train(
            rows, self._targets(self._codes(labels, owner)), start, (X, y, sample_weight),
            partial=True, class_weights=self._class_weights(labels),
        )  # fmt: skip

    def _held_out_scores(self, found: np.ndarray, y: np.ndarray, weight: Any) -> np.ndarray:
        """Share of the rows on the right side of each hyperplane."""
        own = y > 0 if len(self.classes_) == 2 else y[:, None] == np.arange(len(self.classes_))
        right = (found > 0) == own.reshape(found.shape)
        return np.average(right, axis=0, weights=weight)
