"""TruncatedSVD."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._random import seed_of
from kernelmill.decomposition._axes import (
    CentredRows,
    by_lanczos,
    by_random,
    by_rows,
    by_scatter,
    by_values,
    signed,
)
from kernelmill.decomposition._pca import NORMALIZER, solver_of
from kernelmill.decomposition._projection import Projection, projected


def _variances(X: Any) -> np.ndarray:
    """Variance of each column, divided by n, in float64."""
    n, d = X.shape
    if not is_sparse(X):
        mean = X.mean(0, dtype=np.float64)
        return np.array([np.square(X[:, j] - mean[j]).mean() for j in range(d)])
    values = X.data.astype(np.float64)
    mean = np.bincount(X.indices, values, d) / n
    stored = np.bincount(X.indices, minlength=d)
    inside = np.bincount(X.indices, (values - mean[X.indices]) ** 2, d)
    return (inside + (n - stored) * mean**2) / n


class TruncatedSVD(Projection):
    """Directions of the largest singular values of X, which is not centred: sparse rows stay so.

    On counts of words this is latent semantic analysis.

    Parameters
    ----------
    n_components : int, default=2
        Number of components.
    algorithm : {"randomized", "arpack"}, default="randomized"
        How they are found where X is large. Where the products of all features, or of all rows, are
        cheap, they are found exactly from these.
    n_iter : int, default=5
        Iterations of ``"randomized"``.

    Attributes
    ----------
    components_
    explained_variance_ : ndarray of shape (n_components,), float64
        Variance of the transformed rows of ``fit``, divided by n.
    explained_variance_ratio_, singular_values_, n_features_in_, feature_names_in_

    See Also
    --------
    PCA : Of centred rows.

    Notes
    -----
    Cost of an iteration: 4 (k + n_oversamples) flops for each stored entry. A stream is read once,
    for the products of all features; squares of singular values then have errors of ``eps`` times
    the largest.

    References
    ----------
    Halko, Martinsson and Tropp (2011), "Finding structure with randomness".

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from kernelmill.decomposition import TruncatedSVD
    >>> counts = csr_matrix([[2, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 1]])
    >>> svd = TruncatedSVD(2, random_state=0).fit(counts)
    >>> svd.singular_values_.round(4), abs(svd.transform(counts)).round(3).tolist()
    (array([3.    , 1.4142]), [[2.121, 0.0], [2.121, 0.0], [0.0, 1.414]])
    """

    _accepts_sparse = True
    _parameters: ClassVar = {
        "n_components": rule.integer(1),
        "algorithm": rule.one_of("randomized", "arpack"),
        "n_iter": rule.integer(0),
        "n_oversamples": rule.integer(1),
        "power_iteration_normalizer": NORMALIZER,
        "random_state": rule.RANDOM_STATE,
        "tol": rule.real(0),
    }

    def __init__(
        self, n_components=2, *, algorithm="randomized", n_iter=5, n_oversamples=10,
        power_iteration_normalizer="auto", random_state=None, tol=0.0,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y=None):
        """Find the directions.

        Raises
        ------
        ValueError
            If X or a parameter does not fit.
        """
        rows = self._rows(X, reset=True, once=True)
        d, k, dtype = rows.n_features, self.n_components, rows.dtype
        if k > d or (self.algorithm == "arpack" and k >= d):
            least = "<" if self.algorithm == "arpack" else "<="
            raise ValueError(
                f"{rows.owner}: n_components({k}) must be {least} n_features({d}), got {k}"
            )
        solver = "covariance_eigh"
        if not rows.is_stream:
            solver = solver_of(rows.count, d, k, False, is_sparse(rows.X))
        if solver == "covariance_eigh":
            seen = moments_of(rows)
            mean = np.multiply.outer(seen.mean, seen.mean) * seen.weight
            axes = by_scatter(seen.xx + mean, min(k, seen.count, d))
            components = signed(axes.components)
            variances = np.einsum("ij,ij->i", components @ seen.xx, components) / seen.weight
            total = float(np.trace(seen.xx)) / seen.weight
        else:
            A = CentredRows(rows, centred=False)
            if solver == "full":
                axes = by_values(A, k)
            elif solver == "dual_eigh":
                axes = by_rows(A, min(k, rows.count))
            elif self.algorithm == "arpack":
                axes = by_lanczos(A, k, seed_of(self.random_state), self.tol)
            else:
                seed, normalizer = seed_of(self.random_state), self.power_iteration_normalizer
                axes = by_random(A, k, seed, self.n_oversamples, self.n_iter, normalizer)
            components = signed(axes.components)
            X = to_host(rows.X)
            variances = projected(X, None, components).var(0, dtype=np.float64)
            total = float(_variances(X).sum())
        self.components_ = np.ascontiguousarray(components, dtype=dtype)
        self.singular_values_ = axes.values
        self.explained_variance_ = np.maximum(variances, 0)
        self.explained_variance_ratio_ = self.explained_variance_ / (total or 1.0)
        return self

    def _transformation(self) -> tuple:
        return None, self.components_, None
