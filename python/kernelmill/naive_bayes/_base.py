"""What naive Bayes classifiers share: classes, ``fit`` and ``partial_fit``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator._base import fitting, fitting_at_once
from kernelmill._estimator._posterior import PosteriorClassifier
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import (
    check_count,
    class_labels,
    coded,
    codes_in,
    declare_classes,
)
from kernelmill.naive_bayes._words import WORDS


class NaiveBayes(PosteriorClassifier):
    """Base of naive Bayes classifiers; subclasses learn from numbered classes in `_learn`."""

    class_count_: Any

    _words = WORDS
    _deferred: ClassVar[bool] = True  # whether `_learn` sees values that are out of range

    def _learn(self, rows: Rows, codes: np.ndarray, first: bool) -> None:
        """Set the attributes from these rows, and from those before unless `first`."""
        raise NotImplementedError

    def _check_learnt(self) -> None:
        """Raise where the rows of a fit do not determine the model."""

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Learn the distribution of each feature in each class, in one pass.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True, deferred=self._deferred)
        labels = class_labels(y, rows.owner)
        if not rows.is_stream:
            check_count(labels, rows.count, rows.owner)
        self.classes_, codes = coded(labels)
        self._learn(rows, codes, True)
        self._check_learnt()

    @fitting
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows to those of earlier calls: the model is that of all of them.

        Raises
        ------
        ValueError
            If X or y do not fit, or classes are missing in the first call or others later.
        """
        first = not hasattr(self, "classes_")
        declare_classes(self, classes, first)
        self.__dict__.pop("_declared", None)
        rows = self._rows(X, sample_weight, reset=first, once=True, deferred=self._deferred)
        labels = class_labels(y, rows.owner)
        if not rows.is_stream:
            check_count(labels, rows.count, rows.owner)
        self._learn(rows, codes_in(self.classes_, labels, rows.owner), first)
        return self

    def predict_joint_log_proba(self, X):
        """Log joint probabilities of rows and classes, ``log P(c) + log P(x | c)``.

        Returns
        -------
        logarithms : ndarray of shape (n, n_classes), float64
            In the order of ``classes_``.
        """
        return self._mapped_joint(X)
