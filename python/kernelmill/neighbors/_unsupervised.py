"""NearestNeighbors: searches without targets."""

from __future__ import annotations

from typing import ClassVar

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill.neighbors._base import (
    RADIUS,
    SEARCH,
    KNeighborsMixin,
    RadiusNeighborsMixin,
    Searcher,
)


class NearestNeighbors(KNeighborsMixin, RadiusNeighborsMixin, Searcher):
    """Search for the nearest rows, or for those within a radius.

    Parameters
    ----------
    n_neighbors : int, default=5

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    Notes
    -----
    Exact, also for float32: what may be among the nearest is compared by differences in float64. No
    n x m matrix is made. Ties go to the lowest index.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.neighbors import NearestNeighbors
    >>> X = np.array([[0.0], [1.0], [1.0], [5.0]])
    >>> model = NearestNeighbors(n_neighbors=2, radius=1.5).fit(X)
    >>> distances, indices = model.kneighbors([[0.9]])
    >>> indices
    array([[1, 2]])
    >>> model.kneighbors(return_distance=False)[1]  # without itself
    array([2, 0])
    >>> model.radius_neighbors([[0.0]], return_distance=False)[0]
    array([0, 1, 2])
    >>> model.kneighbors_graph(mode="distance").nnz, model.radius_neighbors_graph(X).nnz
    (8, 10)
    """

    _parameters: ClassVar = {
        **SEARCH,
        "n_neighbors": rule.integer(1),
        "radius": rule.any_of(RADIUS, rule.nothing()),
    }

    def __init__(
        self, *, n_neighbors=5, radius=1.0, algorithm="auto", leaf_size=30, metric="minkowski", p=2,
        metric_params=None, n_jobs=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Keep the rows.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric.
        """
        self._fit_rows(X)
        return self
