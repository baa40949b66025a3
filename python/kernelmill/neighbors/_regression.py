"""KNeighborsRegressor and RadiusNeighborsRegressor."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._targets import encode_values
from kernelmill.neighbors._base import (
    RADIUS,
    KNeighbourhoods,
    Neighbourhoods,
    RadiusNeighborsMixin,
    own_rows,
    query_of,
    ragged_weights,
    weights_of,
)


class _Averagers(RegressorMixin, Neighbourhoods):
    """Numbers of rows by the means of their neighbours."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @fitting
    def fit(self, X, y):
        """Keep the rows and their targets.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_outputs)
            Targets.

        Raises
        ------
        ValueError
            If X, y and the parameters do not suit each other.
        """
        rows = self._fit_rows(X)
        self._values = own_rows(encode_values(self, y, rows.count, np.float64, None)[0], y)
        self.outputs_2d_ = not self._vector
        return self


class KNeighborsRegressor(KNeighbourhoods, _Averagers):
    """Predict the mean target of the k nearest neighbours.

    Parameters
    ----------
    n_neighbors : int, default=5

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    Notes
    -----
    With ``weights="distance"``, neighbours at distance 0 alone count if there are any.

    Examples
    --------
    >>> from kernelmill.neighbors import KNeighborsRegressor
    >>> model = KNeighborsRegressor(2).fit([[0.0], [1.0], [2.0]], [0.0, 10.0, 20.0])
    >>> model.predict([[0.2], [1.9]])
    array([ 5., 15.])
    >>> model = KNeighborsRegressor(3, weights="distance").fit([[1.0], [2], [3]], [1.0, 2, 3])
    >>> model.predict([[1.0]])
    array([1.])
    """

    def predict(self, X):
        """The mean target of the nearest rows.

        Returns
        -------
        values : ndarray of shape (n,) or (n, n_outputs)
            Weighted means.
        """
        distances, indices = self._nearest(X, self.n_neighbors)
        weights = weights_of(distances, self.weights, type(self).__name__)
        near = self._values[indices]
        if weights is None:
            values = near.mean(axis=1)
        else:
            values = np.einsum("nk,nko->no", weights, near) / weights.sum(axis=1, keepdims=True)
        return values[:, 0] if self._vector else values


class RadiusNeighborsRegressor(RadiusNeighborsMixin, _Averagers):
    """Predict the mean target of all rows within a radius.

    Parameters
    ----------
    radius : float, default=1.0

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> from kernelmill.neighbors import RadiusNeighborsRegressor
    >>> model = RadiusNeighborsRegressor(1.0).fit([[0.0], [1.0], [2.0]], [0.0, 10.0, 20.0])
    >>> model.predict([[0.2], [1.0]])
    array([ 5., 10.])
    """

    _parameters: ClassVar = {**Neighbourhoods._parameters, "radius": RADIUS}

    def __init__(
        self, radius=1.0, *, weights="uniform", algorithm="auto", leaf_size=30, p=2,
        metric="minkowski", metric_params=None, n_jobs=None
    ):
        self._set_parameters(locals())

    def predict(self, X):
        """The mean target of the rows within the radius.

        Returns
        -------
        values : ndarray of shape (n,) or (n, n_outputs)
            Weighted means; NaN, with a warning, where there are no neighbours.
        """
        offsets, indices, distances = self._within(X, self.radius)
        weights = ragged_weights(offsets, distances, self.weights)
        counts = np.diff(offsets)
        query = query_of(offsets)
        if weights is None:
            weights = np.ones(len(indices))
        total = np.bincount(query, weights, len(counts))
        near = self._values[indices] * weights[:, None]
        sums = [np.bincount(query, column, len(counts)) for column in near.T]
        with np.errstate(invalid="ignore"):
            values = np.stack(sums, axis=1) / total[:, None]
        if (counts == 0).any():
            warn(
                f"{type(self).__name__}: One or more samples have no neighbors within specified "
                "radius; predicting NaN.",
                UserWarning,
            )
        return values[:, 0] if self._vector else values
