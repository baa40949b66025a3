"""LocalOutlierFactor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill.neighbors._base import SEARCH, KNeighborsMixin, Searcher, check_pair


def _fits_and_predicts(model: Any) -> bool:
    if model.novelty:
        raise AttributeError(
            "LocalOutlierFactor: novelty must be False for fit_predict, got True (fit_predict is "
            "not available when novelty=True: use fit, then predict other rows)"
        )
    return True


def _sees_others(model: Any) -> bool:
    if not model.novelty:
        raise AttributeError(
            "LocalOutlierFactor: novelty must be True to judge other rows, got False (this method "
            "is not available when novelty=False: use fit_predict)"
        )
    return True


class LocalOutlierFactor(KNeighborsMixin, OutlierMixin, Searcher):
    """Find rows that lie in thinner parts than their neighbours do.

    The reach of row j from i is ``max(d(i, j), d_k(j))`` with ``d_k(j)`` the distance of j to its
    k-th neighbour; the density of i is the inverse of its mean reach over the k neighbours; and the
    factor of i is the mean density of its neighbours by its own.

    Parameters
    ----------
    n_neighbors : int, default=20
        Number of neighbours; at most n - 1 are used.
    contamination : float or "auto", default="auto"
        Share of outliers in ``fit``, at most 0.5; ``"auto"`` calls a factor above 1.5 an outlier.
    novelty : bool, default=False
        Whether to judge rows other than those of ``fit``.

    Attributes
    ----------
    negative_outlier_factor_ : ndarray of shape (n,), float64
        Minus the factor: near -1 for inliers.
    n_neighbors_ : int
        Neighbours in use.
    offset_ : float
        Rows below it are outliers.
    effective_metric_, effective_metric_params_, n_samples_fit_
    n_features_in_, feature_names_in_

    Notes
    -----
    Rows with k equal neighbours have an infinite density; two such densities are equal, and their
    ratio is 1. The factor of a row beside such rows is infinite.

    References
    ----------
    Breunig, Kriegel, Ng, Sander (2000), "LOF: identifying density-based local outliers".

    Examples
    --------
    >>> from kernelmill.neighbors import LocalOutlierFactor
    >>> LocalOutlierFactor(2).fit_predict([[0.0], [0.1], [0.2], [9.0]])
    array([ 1,  1,  1, -1])
    >>> model = LocalOutlierFactor(2, novelty=True).fit([[0.0], [0.1], [0.2], [0.3]])
    >>> model.predict([[0.15], [4.0]])
    array([ 1, -1])
    >>> model.decision_function([[0.15]]) > 0, model.score_samples([[4.0]]) < -10
    (array([ True]), array([ True]))
    """

    _parameters: ClassVar = {
        **SEARCH,
        "n_neighbors": rule.integer(1),
        "contamination": rule.any_of(rule.one_of("auto"), rule.real(0, above=True, high=0.5)),
        "novelty": rule.boolean(),
    }

    def __init__(
        self, n_neighbors=20, *, algorithm="auto", leaf_size=30, metric="minkowski", p=2,
        metric_params=None, contamination="auto", novelty=False, n_jobs=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Find the factors of the rows.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric.

        Warns
        -----
        UserWarning
            If there are fewer rows than neighbours, or many equal rows.
        """
        n = self._fit_rows(X).count
        check_pair(n, "LocalOutlierFactor")
        if self.n_neighbors > n - 1:
            warn(
                f"LocalOutlierFactor: n_neighbors ({self.n_neighbors}) is greater than the total "
                f"number of samples ({n}). n_neighbors will be set to (n_samples - 1) for "
                "estimation.",
                UserWarning,
            )
        self.n_neighbors_ = min(self._asked, n - 1)
        distances, indices = self._nearest(None, self.n_neighbors_)
        self._reach = distances[:, -1].copy()
        self._density = self._densities(distances, indices)
        factors = self._factors(self._density, indices)
        self.negative_outlier_factor_ = -factors
        if self.contamination == "auto":
            self.offset_ = -1.5
        else:
            finite = np.maximum(-factors, -1e300)  # percentiles are means of two
            self.offset_ = float(np.percentile(finite, 100.0 * self.contamination))
        if np.isinf(factors).any() and not self.novelty:
            warn(
                "LocalOutlierFactor: Duplicate values are leading to incorrect results. Increase "
                "the number of neighbors for more accurate results.",
                UserWarning,
            )
        return self

    def _densities(self, distances: np.ndarray, indices: np.ndarray) -> np.ndarray:
        reach = np.maximum(distances, self._reach[indices]).mean(axis=1)
        with np.errstate(divide="ignore"):
            return 1 / reach

    def _factors(self, density: np.ndarray, indices: np.ndarray) -> np.ndarray:
        near = self._density[indices]
        with np.errstate(invalid="ignore"):
            ratio = near / density[:, None]
        equal = np.isinf(near) & np.isinf(density)[:, None]
        return np.where(equal, 1.0, ratio).mean(axis=1)

    @available_if(_fits_and_predicts)
    def fit_predict(self, X, y=None):
        """Fit, and say which rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            -1 for outliers, 1 for inliers.
        """
        return self.fit(X)._inliers(self.negative_outlier_factor_)

    def _inliers(self, scores: np.ndarray) -> np.ndarray:
        return np.where(scores < self.offset_, -1, 1)

    @available_if(_sees_others)
    def score_samples(self, X):
        """Minus the factor of other rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n,), float64
            The lower, the more of an outlier.
        """
        check_is_fitted(self, "negative_outlier_factor_")
        distances, indices = self._nearest(X, self.n_neighbors_)
        return -self._factors(self._densities(distances, indices), indices)

    @available_if(_sees_others)
    def decision_function(self, X):
        """`score_samples` above `offset_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n,), float64
            Negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    @available_if(_sees_others)
    def predict(self, X=None):
        """Say which of other rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), optional
            Rows; those of ``fit`` by default.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            -1 for outliers, 1 for inliers.
        """
        check_is_fitted(self, "negative_outlier_factor_")
        if X is None:
            return self._inliers(self.negative_outlier_factor_)
        return self._inliers(self.score_samples(X))
