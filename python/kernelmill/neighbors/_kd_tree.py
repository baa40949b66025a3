"""KDTree: searches of rows without an estimator around them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from kernelmill.neighbors._base import as_lists, within_each
from kernelmill.neighbors._density import KernelDensity
from kernelmill.neighbors._unsupervised import NearestNeighbors


class KDTree:
    """A k-d tree of rows, for the nearest rows and those within a radius.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows, float32 or float64.
    leaf_size : int, default=40
        Ignored; present for API compatibility. Leaves have 32 rows.
    metric : str, default="minkowski"
        Distance: ``"euclidean"``, ``"manhattan"``, ``"chebyshev"`` or ``"minkowski"``.
    **kwargs : dict
        Further parameters of the metric, such as ``p``.

    Attributes
    ----------
    data : ndarray of shape (n, d)
        The rows.
    valid_metrics : list of str
        Names of metrics that a tree knows, those of scikit-learn's tree.

    See Also
    --------
    NearestNeighbors : The same as an estimator, with more metrics.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.neighbors import KDTree
    >>> tree = KDTree(np.arange(10.0)[:, None])
    >>> distances, indices = tree.query([[2.2]], k=2)
    >>> indices
    array([[2, 3]])
    >>> tree.query_radius([[2.2]], r=1.0, count_only=True)
    array([2])
    """

    valid_metrics: ClassVar = [
        "euclidean", "l2", "minkowski", "p", "manhattan", "cityblock", "l1", "chebyshev",
        "infinity",
    ]  # fmt: skip

    def __init__(self, X, leaf_size=40, metric="minkowski", **kwargs):
        p = kwargs.pop("p", 2)
        self._model = NearestNeighbors(
            algorithm="kd_tree", metric=metric, p=p, metric_params=kwargs or None
        ).fit(X)
        self._metric, self._params = metric, kwargs

    @property
    def data(self) -> np.ndarray:
        """The rows, (n, d)."""
        return self._model._space.rows

    def __len__(self) -> int:
        return self._model.n_samples_fit_

    def query(
        self, X, k=1, return_distance=True, dualtree=False, breadth_first=False, sort_results=True
    ):
        """Find the k nearest rows.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Queries.
        k : int, default=1
            Number of neighbours.
        return_distance : bool, default=True
            Whether to return distances, too.
        dualtree, breadth_first, sort_results : bool
            Ignored; present for API compatibility. The nearest always come first.

        Returns
        -------
        distances : ndarray of shape (m, k), float64
            Left out if `return_distance` is False.
        indices : ndarray of shape (m, k), int64
            Rows; of equal distances the lowest comes first.
        """
        return self._model.kneighbors(X, k, return_distance)

    def query_radius(self, X, r, return_distance=False, count_only=False, sort_results=False):
        """Find the rows within a radius.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Queries.
        r : float or array-like of shape (m,)
            Radius, of all queries or of each.
        return_distance : bool, default=False
            Whether to return distances, too, behind the indices.
        count_only : bool, default=False
            Whether to return the numbers of rows alone.
        sort_results : bool, default=False
            Whether to order rows by distance rather than by index; needs distances.

        Returns
        -------
        count : ndarray of shape (m,), int64
            With `count_only`.
        indices : ndarray of shape (m,) of ndarrays, int64
            Rows.
        distances : ndarray of shape (m,) of ndarrays, float64
            With `return_distance`.
        """
        if return_distance and count_only:
            raise ValueError("KDTree: return_distance must be False with count_only, got True")
        if sort_results and not return_distance:
            raise ValueError("KDTree: return_distance must be True with sort_results, got False")
        radius = np.asarray(r, np.float64)
        most = float(radius.max(initial=0.0))
        found = self._model._listed(X, most, sort_results)
        offsets, indices, distances = (
            within_each(found, radius, "KDTree: r") if radius.ndim else found
        )
        if count_only:
            return np.diff(offsets)
        near = as_lists(offsets, indices)
        return (near, as_lists(offsets, distances)) if return_distance else near

    def kernel_density(
        self, X, h, kernel="gaussian", atol=0, rtol=1e-8, breadth_first=True, return_log=False
    ):
        """Sums of kernels around the rows, at each query.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Queries.
        h : float
            Bandwidth.
        kernel : str, default="gaussian"
            As for `KernelDensity`.
        atol, rtol, breadth_first : float, float, bool
            Ignored; present for API compatibility. Sums are exact.
        return_log : bool, default=False
            Whether to return logarithms.

        Returns
        -------
        density : ndarray of shape (m,), float64
            Sums of kernels that integrate to 1: n times the density.
        """
        model = KernelDensity(
            bandwidth=h, kernel=kernel, metric=self._model.effective_metric_,
            metric_params=self._model.effective_metric_params_ or None,
        ).fit(self.data)  # fmt: skip
        logs = model.score_samples(X) + math.log(len(self))
        return logs if return_log else np.exp(logs)

    def two_point_correlation(self, X, r, dualtree=False):
        """Pairs of queries and rows within each of some radii.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Queries.
        r : array-like of shape (q,)
            Radii.
        dualtree : bool, default=False
            Ignored; present for API compatibility.

        Returns
        -------
        counts : ndarray of shape (q,), int64
            Numbers of pairs.
        """
        radii: Any = np.atleast_1d(np.asarray(r, np.float64))
        return np.array([self.query_radius(X, one, count_only=True).sum() for one in radii])
