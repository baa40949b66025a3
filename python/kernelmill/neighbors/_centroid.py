"""NearestCentroid."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import check_count, class_labels
from kernelmill.neighbors._words import WORDS
from kernelmill.ops import neighbors as ops
from kernelmill.ops import pairwise


class NearestCentroid(ClassifierMixin, Estimator):
    """Classify rows by the nearest center of a class.

    Parameters
    ----------
    metric : {"euclidean", "manhattan"}, default="euclidean"
        Distance. Centers are means, or medians for ``"manhattan"``.
    shrink_threshold : float, default=None
        How far centers move to the common mean, in units of their deviation: a feature that no
        class needs is left out.
    priors : {"uniform", "empirical"} or array-like of shape (n_classes,), default="uniform"
        Probabilities of the classes, for ``decision_function`` and its relatives.

    Attributes
    ----------
    centroids_ : ndarray of shape (n_classes, d), float64
        Centers.
    class_prior_ : ndarray of shape (n_classes,), float64
        Probabilities of the classes.
    deviations_ : ndarray of shape (n_classes, d), float64
        Offsets of the class means in units of their deviation, shrunk.
    within_class_std_dev_ : ndarray of shape (d,), float64
        Pooled deviation of each feature.
    classes_
    n_features_in_, feature_names_in_

    Notes
    -----
    Probabilities are those of the paper, ``exp(decision / 2)`` by their sum; scikit-learn 1.9
    leaves out the half.

    References
    ----------
    Tibshirani, Hastie, Narasimhan, Chu (2002), "Diagnosis of multiple cancer types by shrunken
    centroids of gene expression".

    Examples
    --------
    >>> from kernelmill.neighbors import NearestCentroid
    >>> model = NearestCentroid().fit([[0.0], [1.0], [8.0], [10.0]], ["a", "a", "b", "b"])
    >>> model.predict([[3.0], [6.0]]).tolist()
    ['a', 'b']
    >>> model.predict_proba([[0.5]]).round(2), model.decision_function([[0.5]]).shape
    (array([[1., 0.]]), (1,))
    >>> model.predict_log_proba([[0.5]]).shape
    (1, 2)
    """

    _words = WORDS
    _accepts_sparse = True
    _accepts_streams = False
    _parameters: ClassVar = {
        "metric": rule.one_of("euclidean", "manhattan"),
        "shrink_threshold": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "priors": rule.any_of(rule.one_of("uniform", "empirical"), rule.array("(n_classes,)")),
    }
    centroids_: Any

    def __init__(self, metric="euclidean", *, shrink_threshold=None, priors="uniform"):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y):
        """Find the centers.

        Parameters
        ----------
        y : array-like of shape (n,)
            Classes.

        Raises
        ------
        ValueError
            If X and y do not fit, or there is only one class.
        """
        owner = type(self).__name__
        rows = self._rows(X, reset=True)
        given = class_labels(y, owner)
        check_count(given, rows.count, owner)
        self.classes_, codes = np.unique(given, return_inverse=True)
        k, n = len(self.classes_), rows.count
        if k < 2:
            raise ValueError(
                f"{owner}: y must have at least 2 classes, got {k} (The number of classes has to "
                f"be greater than one; got {k} class)"
            )
        counts = np.bincount(codes)
        means = np.stack([_mean(rows.X[codes == c]) for c in range(k)])
        self.class_prior_ = self._prior(counts, owner)
        if self.metric == "manhattan":
            self.centroids_ = np.stack([_median(rows.X[codes == c]) for c in range(k)])
        else:
            self.centroids_ = means.copy()
        squares = sum(_squares(rows.X[codes == c], self.centroids_[c]) for c in range(k))
        deviation = np.sqrt(squares / max(n - k, 1))
        # The mean of all is not that of the classes, which differ in size.
        center = _mean(rows.X)
        self.within_class_std_dev_ = deviation
        unit = np.sqrt(1 / counts - 1 / n)[:, None] * (deviation + np.median(deviation))
        with np.errstate(invalid="ignore", divide="ignore"):
            offsets = np.where(unit > 0, (self.centroids_ - center) / unit, 0.0)
        if self.shrink_threshold:
            if not (deviation > 0).any():
                raise ValueError(
                    f"{owner}: X must vary within classes for shrink_threshold, got none (All "
                    "features have zero variance. Division by zero.)"
                )
            offsets = np.sign(offsets) * np.maximum(np.abs(offsets) - self.shrink_threshold, 0)
            self.centroids_ = center + unit * offsets
        self.deviations_ = offsets
        return self

    def _prior(self, counts: np.ndarray, owner: str) -> np.ndarray:
        if isinstance(self.priors, str):
            shares = counts if self.priors == "empirical" else np.ones(len(counts))
            return shares / shares.sum()
        prior = np.asarray(self.priors, np.float64)
        if prior.shape != counts.shape or not (prior >= 0).all() or not prior.sum() > 0:
            raise ValueError(
                f"{owner}: priors must be {len(counts)} numbers that are not negative (priors must "
                f"be non-negative), got {prior.tolist()}"
            )
        if not np.isclose(prior.sum(), 1):
            warn(f"{owner}: The priors do not sum to 1. Normalizing such that it sums to one.",
                 UserWarning)  # fmt: skip
        return prior / prior.sum()

    def _dense(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = self._rows(X, reset=False).X
        return (X.toarray() if is_sparse(X) else X).astype(np.float64, copy=False)

    def predict(self, X):
        """The class of the nearest center, or the likeliest where classes have priors.

        Returns
        -------
        labels : ndarray of shape (n,)
            Classes.
        """
        check_is_fitted(self)
        equal = (self.class_prior_ == self.class_prior_[0]).all()
        if self.metric == "euclidean" and not equal:
            return self.classes_.take(self._scores(X).argmax(axis=1))
        code = ops.EUCLIDEAN if self.metric == "euclidean" else ops.MANHATTAN
        return self.classes_.take(ops.nearest(self._dense(X), self.centroids_, 1, code)[0][:, 0])

    def _scores(self, X: Any) -> np.ndarray:
        """Twice the logarithm of density and prior of each class, but for what they share."""
        check_is_fitted(self)
        if self.metric != "euclidean":
            raise AttributeError(
                f"NearestCentroid: metric must be 'euclidean' for probabilities, got "
                f"{self.metric!r}"
            )
        deviation = self.within_class_std_dev_
        unit = np.where(deviation > 0, deviation, np.inf)  # what does not vary says nothing
        square = pairwise.euclidean(self._dense(X) / unit, self.centroids_ / unit, True)
        with np.errstate(divide="ignore"):
            return 2 * np.log(self.class_prior_) - square

    def decision_function(self, X):
        """How much better a class fits than others.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), or (n,) for two classes
            ``2 log prior - z^2``, with z the distance to the center in units of the deviations of
            the features; of two classes the difference.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`.

        Returns
        -------
        logs : ndarray of shape (n, n_classes), float64
            A column for each of `classes_`.
        """
        scores = self._scores(X) / 2
        scores = scores - scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def predict_proba(self, X):
        """Probabilities of the classes, as normal distributions with a common variance.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), float64
            Rows add up to 1.
        """
        return np.exp(self.predict_log_proba(X))


def _mean(X: Any) -> np.ndarray:
    """Means of columns, within their range: rounding gives equal numbers no deviation."""
    ends = X.min(axis=0), X.max(axis=0)
    low, high = (end.toarray().ravel() if is_sparse(end) else end for end in ends)
    return np.asarray(X.mean(axis=0, dtype=np.float64)).ravel().clip(low, high)


def _median(X: Any) -> np.ndarray:
    """Medians of columns; of sparse rows column by column, with as many zeros as are not stored."""
    if not is_sparse(X):
        return np.median(X, axis=0)
    n, columns = X.shape[0], X.tocsc()
    columns.sum_duplicates()
    found = np.zeros(X.shape[1])
    for f in np.flatnonzero(2 * np.diff(columns.indptr) >= n):  # others have more zeros than half
        stored = columns.data[columns.indptr[f] : columns.indptr[f + 1]]
        found[f] = np.median(np.concatenate([stored, np.zeros(n - len(stored), stored.dtype)]))
    return found


def _squares(X: Any, mean: np.ndarray) -> np.ndarray:
    """Sums of squares about the mean; of sparse rows without making them dense."""
    if not is_sparse(X):
        return ((X.astype(np.float64) - mean) ** 2).sum(axis=0)
    stored = X.tocoo()
    column, value = stored.col, stored.data.astype(np.float64)
    d = X.shape[1]
    sums = np.bincount(column, (value - mean[column]) ** 2, d)
    return sums + (X.shape[0] - np.bincount(column, minlength=d)) * mean**2
