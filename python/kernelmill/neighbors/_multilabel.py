"""MLkNN: several labels a row, by Bayes' rule over the counts of labels among neighbours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.base import ClassifierMixin

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._targets import check_count, class_labels
from kernelmill.neighbors._base import SEARCH, KNeighborsMixin, Searcher


class MLkNN(KNeighborsMixin, ClassifierMixin, Searcher):
    """Several labels for each row, by how many of its neighbours have each.

    With c of the k neighbours having a label, its probability follows from Bayes' rule: the prior
    is the share of rows with the label, and the likelihood of c is that among the rows with, or
    without, the label, both smoothed by s.

    Parameters
    ----------
    n_neighbors : int, default=10
    s : float, default=1.0
        Weight of the uniform prior that smooths counts.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,), int64
        Numbers of the labels; the classes of a y with one axis.
    prior_ : ndarray of shape (n_labels,), float64
        Probability of each label.
    likelihood_ : ndarray of shape (2, n_labels, k + 1), float64
        Probability that c neighbours have the label, without and with it.
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    References
    ----------
    Zhang, Zhou (2007), "ML-KNN: a lazy learning approach to multi-label learning".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.neighbors import MLkNN
    >>> X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> Y = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [0, 1]])
    >>> model = MLkNN(2).fit(X, Y)
    >>> model.predict([[0.05], [5.05]])
    array([[1, 1],
           [0, 1]])
    >>> model.predict_proba([[0.05]]).round(2)
    array([[0.8, 0.7]])
    """

    _parameters: ClassVar = {
        **SEARCH, "n_neighbors": rule.integer(1), "s": rule.real(0, above=True)
    }

    def __init__(
        self, n_neighbors=10, *, s=1.0, algorithm="auto", leaf_size=30, metric="minkowski", p=2,
        metric_params=None, n_jobs=None
    ):
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @fitting
    def fit(self, X, y):
        """Count labels among neighbours.

        Parameters
        ----------
        y : {array-like, sparse matrix} of shape (n, n_labels), or array-like of shape (n,)
            1 where a row has a label, 0 elsewhere; or one class for each row.

        Raises
        ------
        ValueError
            If X and y do not fit, or there are no more rows than neighbours.
        """
        owner, k = type(self).__name__, self._asked
        rows = self._fit_rows(X)
        given = class_labels(y.toarray() if is_sparse(y) else y, owner, multilabel=True)
        check_count(given, rows.count, owner)
        self._vector = given.ndim == 1
        self.classes_ = np.unique(given) if self._vector else np.arange(given.shape[1])
        has = given[:, None] == self.classes_ if self._vector else given != 0
        self._has = has.astype(np.float64)
        n = rows.count
        counts = self._has[self._nearest(None, k)[1]].sum(axis=1).astype(np.int64)
        self.prior_ = (self.s + self._has.sum(axis=0)) / (2 * self.s + n)
        tables = []
        for own in (~has, has):
            table = np.stack([
                np.bincount(column[mine], minlength=k + 1)
                for column, mine in zip(counts.T, own.T, strict=True)
            ])  # fmt: skip
            total = table.sum(axis=1, keepdims=True)
            tables.append((self.s + table) / (self.s * (k + 1) + total))
        self.likelihood_ = np.stack(tables)
        return self

    def predict_proba(self, X):
        """Probability of each label.

        Returns
        -------
        proba : ndarray of shape (n, n_labels), float64
            Labels are judged one by one; those of a y with one axis are scaled to the sum 1.
        """
        _, indices = self._nearest(X, self.n_neighbors)
        counts = self._has[indices].sum(axis=1).astype(np.int64)
        label = np.arange(len(self.classes_))
        without = (1 - self.prior_) * self.likelihood_[0][label, counts]
        with_it = self.prior_ * self.likelihood_[1][label, counts]
        proba = with_it / (without + with_it)
        return proba / proba.sum(axis=1, keepdims=True) if self._vector else proba

    def predict(self, X):
        """The labels with a probability above one half, or the likeliest class.

        Returns
        -------
        labels : ndarray of shape (n, n_labels), int64, or (n,)
            As y in ``fit``.
        """
        proba = self.predict_proba(X)
        if self._vector:
            return self.classes_.take(proba.argmax(axis=1))
        return (proba > 0.5).astype(np.int64)
