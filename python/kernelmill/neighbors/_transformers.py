"""KNeighborsTransformer and RadiusNeighborsTransformer."""

from __future__ import annotations

from typing import ClassVar

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill.neighbors._base import (
    RADIUS,
    SEARCH,
    KNeighborsMixin,
    RadiusNeighborsMixin,
    Searcher,
)

_MODE = rule.one_of("distance", "connectivity")


class _GraphTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Searcher):
    """Rows as their distances to those of ``fit``."""

    n_samples_fit_: int

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

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


class KNeighborsTransformer(KNeighborsMixin, _GraphTransformer):
    """Turn rows into the sparse graph of their k nearest neighbours.

    Parameters
    ----------
    mode : {"distance", "connectivity"}, default="distance"
        Whether entries are distances, of one neighbour more, or ones.

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    Notes
    -----
    With distances there is one neighbour more than `n_neighbors`, because each row of ``fit`` is
    its own: so estimators with ``metric="precomputed"`` have as many as they ask for.

    Examples
    --------
    >>> from kernelmill.neighbors import KNeighborsTransformer
    >>> graph = KNeighborsTransformer(n_neighbors=1).fit_transform([[0.0], [1.0], [3.0]])
    >>> graph.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 2., 0.]])
    """

    _parameters: ClassVar = {**SEARCH, "mode": _MODE, "n_neighbors": rule.integer(1)}

    def __init__(
        self,
        *,
        mode="distance",
        n_neighbors=5,
        algorithm="auto",
        leaf_size=30,
        metric="minkowski",
        p=2,
        metric_params=None,
        n_jobs=None,
    ):
        self._set_parameters(locals())

    def transform(self, X):
        """The graph of the nearest rows of ``fit``.

        Returns
        -------
        graph : CSR matrix of shape (n, n_fit)
            The nearest come first in each row.
        """
        check_is_fitted(self)
        more = int(self.mode == "distance")
        return self.kneighbors_graph(X, self.n_neighbors + more, self.mode)


class RadiusNeighborsTransformer(RadiusNeighborsMixin, _GraphTransformer):
    """Turn rows into the sparse graph of the rows within a radius.

    Parameters
    ----------
    mode : {"distance", "connectivity"}, default="distance"
        Whether entries are distances or ones.
    radius : float, default=1.0

    Attributes
    ----------
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> from kernelmill.neighbors import RadiusNeighborsTransformer
    >>> graph = RadiusNeighborsTransformer(radius=1.0).fit_transform([[0.0], [1.0], [3.0]])
    >>> graph.nnz, graph[0, 1]
    (5, np.float64(1.0))
    """

    _parameters: ClassVar = {**SEARCH, "mode": _MODE, "radius": RADIUS}

    def __init__(
        self,
        *,
        mode="distance",
        radius=1.0,
        algorithm="auto",
        leaf_size=30,
        metric="minkowski",
        p=2,
        metric_params=None,
        n_jobs=None,
    ):
        self._set_parameters(locals())

    def transform(self, X):
        """The graph of the rows of ``fit`` within the radius.

        Returns
        -------
        graph : CSR matrix of shape (n, n_fit)
            Entries of a row by distance; a row of ``fit`` is within the radius of itself.
        """
        check_is_fitted(self)
        return self.radius_neighbors_graph(X, None, self.mode, sort_results=True)
