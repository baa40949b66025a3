"""KNeighborsClassifier and RadiusNeighborsClassifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._targets import check_count, class_labels
from kernelmill.neighbors._base import (
    RADIUS,
    KNeighbourhoods,
    Neighbourhoods,
    RadiusNeighborsMixin,
    query_of,
    ragged_weights,
    weights_of,
)


class _Voters(ClassifierMixin, Neighbourhoods):
    """Classes of rows by the votes of their neighbours."""

    classes_: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags

    @fitting
    def fit(self, X, y):
        """Keep the rows and their classes.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Classes.

        Raises
        ------
        ValueError
            If X, y and the parameters do not suit each other.
        """
        self._fit_classes(X, y)
        return self

    def _fit_classes(self, X: Any, y: Any) -> None:
        owner = type(self).__name__
        rows = self._fit_rows(X)
        given = class_labels(y, owner, multioutput=True)
        check_count(given, rows.count, owner)
        columns = given.reshape(len(given), -1)
        found = [np.unique(column, return_inverse=True) for column in columns.T]
        labels = [own for own, _ in found]
        self.outputs_2d_ = given.ndim == 2
        self.classes_ = labels if given.ndim == 2 else labels[0]
        self._codes = np.stack([code.reshape(-1) for _, code in found], axis=1)

    def _by_output(self) -> list[np.ndarray]:
        return list(self.classes_) if self.outputs_2d_ else [self.classes_]

    def _labels(self, shares: list[np.ndarray]) -> np.ndarray:
        """The class with the largest share, the first of equals."""
        pairs = zip(self._by_output(), shares, strict=True)
        labels = [own.take(share.argmax(axis=1)) for own, share in pairs]
        return np.stack(labels, axis=1) if self.outputs_2d_ else labels[0]


def votes(
    query: np.ndarray, codes: np.ndarray, weights: np.ndarray | None, n: int, classes: int
) -> np.ndarray:
    """Sums of weights by query and class, (n, classes), divided by those of the query."""
    sums = np.bincount(query * classes + codes, weights, n * classes).reshape(n, classes)
    total = sums.sum(axis=1, keepdims=True)
    return sums / np.where(total == 0, 1, total)


class KNeighborsClassifier(KNeighbourhoods, _Voters):
    """Classify rows by a vote of their k nearest neighbours.

    Parameters
    ----------
    n_neighbors : int, default=5

    Attributes
    ----------
    classes_, effective_metric_, effective_metric_params_, n_samples_fit_, outputs_2d_
    n_features_in_, feature_names_in_

    Notes
    -----
    Of classes with equal votes the first is predicted; of neighbours at equal distances the lowest
    indices vote. With ``weights="distance"``, neighbours at distance 0 alone vote if there are any.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.neighbors import KNeighborsClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = KNeighborsClassifier(n_neighbors=7, weights="distance").fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > 0.94
    True
    >>> model.predict([[5.0, 3.4, 1.5, 0.2]]), model.predict_proba([[5.0, 3.4, 1.5, 0.2]])
    (array([0]), array([[1., 0., 0.]]))
    """

    def _shares(self, X: Any) -> list[np.ndarray]:
        distances, indices = self._nearest(X, self.n_neighbors)
        weights = weights_of(distances, self.weights, type(self).__name__)
        if weights is not None and (mute := (weights == 0).all(axis=1)).any():
            raise ValueError(
                f"{type(self).__name__}: weights must give some neighbour of each row a weight, "
                f"got 0 for all of row {int(mute.argmax())} (All neighbors of some sample is "
                "getting zero weights)"
            )
        n, k = indices.shape
        query = np.repeat(np.arange(n), k)
        flat = None if weights is None else weights.ravel()
        return [
            votes(query, self._codes[indices.ravel(), output], flat, n, len(own))
            for output, own in enumerate(self._by_output())
        ]

    def predict_proba(self, X):
        """Shares of the classes among the neighbours.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), or list of them
            A list where there are several outputs.
        """
        shares = self._shares(X)
        return shares if self.outputs_2d_ else shares[0]

    def predict(self, X):
        """The class with most votes.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_outputs)
            Classes.

        Raises
        ------
        ValueError
            If a function given as `weights` gives 0 to all neighbours of a row.
        """
        return self._labels(self._shares(X))


class RadiusNeighborsClassifier(RadiusNeighborsMixin, _Voters):
    """Classify rows by a vote of all rows within a radius.

    Parameters
    ----------
    radius : float, default=1.0
    outlier_label : label, list of labels, "most_frequent" or None, default=None
        Class of rows without neighbours, one for each output; None refuses such rows. If no row of
        ``fit`` has it, predictions of such rows warn, and their probabilities are all 0.

    Attributes
    ----------
    outlier_label_ : label or list of labels
        Class of rows without neighbours.
    classes_, effective_metric_, effective_metric_params_, n_samples_fit_, outputs_2d_
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> from kernelmill.neighbors import RadiusNeighborsClassifier
    >>> model = RadiusNeighborsClassifier(1.0, outlier_label="far")
    >>> _ = model.fit([[0.0], [0.5], [9.0], [99.0]], ["a", "a", "b", "far"])
    >>> model.predict([[0.7], [8.5], [5.0]]).tolist()
    ['a', 'b', 'far']
    """

    outlier_label_: Any

    _parameters: ClassVar = {
        **Neighbourhoods._parameters,
        "radius": RADIUS,
        "outlier_label": rule.Rule(lambda value: True, "a label"),
    }

    def __init__(
        self, radius=1.0, *, weights="uniform", algorithm="auto", leaf_size=30, p=2,
        metric="minkowski", outlier_label=None, metric_params=None, n_jobs=None
    ):
        self._set_parameters(locals())

    def _fit_classes(self, X: Any, y: Any) -> None:
        super()._fit_classes(X, y)
        outside = self._outside()
        self._outside_labels = outside
        self.outlier_label_ = outside if self.outputs_2d_ or outside is None else outside[0]

    def _outside(self) -> list | None:
        """The label of rows without neighbours, for each output."""
        given, known = self.outlier_label, self._by_output()
        owner = type(self).__name__
        if given is None:
            return None
        if isinstance(given, str) and given == "most_frequent":
            counts = [np.bincount(code, minlength=1) for code in self._codes.T]
            return [own[count.argmax()] for own, count in zip(known, counts, strict=True)]
        several = isinstance(given, list | tuple | np.ndarray) and np.ndim(given) == 1
        labels = list(given) if several else [given] * len(known)
        if len(labels) != len(known):
            raise ValueError(
                f"{owner}: outlier_label must have one label for each of {len(known)} outputs, got "
                f"{len(labels)}"
            )
        for label, own in zip(labels, known, strict=True):
            if not np.isscalar(label):
                raise TypeError(f"{owner}: outlier_label must be a label, got {label!r}")
            as_text = own.dtype.kind in "US" and not isinstance(label, str | bytes)
            if as_text or np.append(own, label).dtype.kind != own.dtype.kind:
                raise TypeError(
                    f"{owner}: outlier_label must be of the type of y, {own.dtype}, got {label!r}"
                )
        return labels

    def _shares(self, X: Any) -> tuple[list[np.ndarray], np.ndarray]:
        """Shares by output, and which rows have neither neighbours nor votes."""
        offsets, indices, distances = self._within(X, self.radius)
        counts = np.diff(offsets)
        alone = counts == 0
        owner, outside = type(self).__name__, self._outside_labels or []
        if alone.any() and not outside:
            raise ValueError(
                f"{owner}: X must have neighbours within the radius {self.radius}, got none for "
                f"rows {np.flatnonzero(alone)[:5].tolist()} (No neighbors found for test samples: "
                "set outlier_label)"
            )
        weights = ragged_weights(offsets, distances, self.weights)
        query = query_of(offsets)
        shares = [
            votes(query, self._codes[indices, output], weights, len(counts), len(own))
            for output, own in enumerate(self._by_output())
        ]
        mute = (shares[0] == 0).all(axis=1)
        if alone.any():
            for share, own, label in zip(shares, self._by_output(), outside, strict=True):
                place = np.flatnonzero(own == label)
                if len(place):
                    share[np.ix_(alone, place)] = 1
                else:
                    warn(
                        f"{owner}: Outlier label {label} is not in training classes. "
                        "All class probabilities of outliers will be assigned with 0.",
                        UserWarning,
                    )
        return shares, mute

    def predict_proba(self, X):
        """Shares of the classes within the radius.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), or list of them
            Rows without neighbours are all of the class of outliers, or 0 if no row of ``fit`` was;
            rows whose neighbours all weigh 0 have 0.
        """
        shares, _ = self._shares(X)
        return shares if self.outputs_2d_ else shares[0]

    def predict(self, X):
        """The class with most votes, or that of outliers.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_outputs)
            Classes.

        Raises
        ------
        ValueError
            If a row has no neighbours, or none with a weight, and there is no `outlier_label`.
        """
        shares, mute = self._shares(X)
        labels = self._labels(shares)
        if mute.any():
            if self._outside_labels is None:
                raise ValueError(
                    f"{type(self).__name__}: weights must give some neighbour of each row a "
                    f"weight, got 0 for all of row {int(mute.argmax())} (set outlier_label)"
                )
            outside = np.array(self._outside_labels)
            labels = labels.astype(np.result_type(labels, outside))
            labels[mute] = outside if self.outputs_2d_ else outside[0]
        return labels
