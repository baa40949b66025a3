"""FuzzyCMeans: rows belong to all clusters, by degrees."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb, warn_unconverged
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill.cluster._centers import check_row_count
from kernelmill.cluster._seeding import start
from kernelmill.cluster._words import WORDS
from kernelmill.ops import pairwise


class FuzzyCMeans(ClusterMixin, Estimator):
    """Clusters to which rows belong by degrees.

    Degrees u, with sum 1 over the clusters, and centers c minimise ``J = sum_i w_i sum_c u_ic^m
    |x_i - c|^2``. For given centers ``u_ic`` is proportional to ``|x_i - c|^(-2 / (m - 1))``; for
    given degrees a center is the mean of the rows, weighted by ``w u^m``.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k.
    m : float, default=2
        Exponent of the degrees, above 1: near 1 they are 0 or 1, as in k-means.
    init : {"k-means++", "random"}, callable or array-like of shape (k, d), default="k-means++"
        First centers, as for `KMeans`.
    n_init : int, default=1
        Starts.
    max_iter : int, default=300
        Most iterations of a start.
    tol : float, default=1e-6
        Relative fall of J that ends a start.

    Attributes
    ----------
    cluster_centers_
    labels_ : array of shape (n,), int64
        Cluster with the largest degree; not for streams.
    membership_ : array of shape (n, k), float64
        Degrees; not for streams.
    objective_ : float
        J.
    n_iter_
    n_features_in_, feature_names_in_

    Notes
    -----
    J falls in every iteration. A row at a center belongs to it alone, or in equal parts to the
    centers that are there.

    References
    ----------
    Bezdek (1981), "Pattern recognition with fuzzy objective function algorithms".

    Examples
    --------
    >>> from kernelmill.cluster import FuzzyCMeans
    >>> X = [[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]]
    >>> model = FuzzyCMeans(2, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.ravel().round(1).tolist())
    [1.0, 10.0]
    >>> model.predict_proba([[5.5]]).round(2)
    array([[0.5, 0.5]])
    """

    _words = WORDS
    _parameters: ClassVar = {
        "n_clusters": rule.integer(1),
        "m": rule.real(1, above=True),
        "init": rule.any_of(
            rule.one_of("k-means++", "random"), rule.function("(X, n_clusters, random_state)"),
            rule.array("(n_clusters, n_features)"),
        ),
        "n_init": rule.integer(1),
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
        "random_state": rule.RANDOM_STATE,
        "verbose": rule.VERBOSE,
    }  # fmt: skip
    cluster_centers_: Any

    def __init__(
        self,
        n_clusters=8,
        *,
        m=2.0,
        init="k-means++",
        n_init=1,
        max_iter=300,
        tol=1e-6,
        random_state=None,
        verbose=0,
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the centers.

        Raises
        ------
        ValueError
            If X is not finite, or has fewer rows than clusters.

        Warns
        -----
        ConvergenceWarning
            If the best start did not converge.
        """
        owner, k, m = type(self).__name__, int(self.n_clusters), float(self.m)
        seed = seed_of(self.random_state)
        rows = self._rows(X, sample_weight, reset=True)
        check_row_count(owner, rows.count, k)

        def state_of(centers: Any) -> tuple:
            sums, masses, objective = rows.map_reduce(weighed, centers, m=m)
            return centers, to_host(sums), to_host(masses), float(objective)

        def begin(number: int) -> tuple:
            return state_of(start(rows, self.init, k, seed, number))

        def advance(state: tuple, most: int) -> Step:
            centers, sums, masses, objective = state
            there = masses > 0
            moved = np.where(
                there[:, None], sums / np.where(there, masses, 1)[:, None], to_host(centers)
            )
            new = state_of(rows.xp.asarray(moved))
            if new[3] > objective:  # by rounding alone
                return Step(state, -objective, True)
            return Step(new, -new[3], objective - new[3] <= float(self.tol) * objective)

        def attributes(state: tuple, n_iter: int) -> dict:
            return {
                "cluster_centers_": rows.as_given(state[0].astype(rows.dtype)),
                "_centers64": to_host(state[0]),
                "objective_": state[3],
                "n_iter_": n_iter,
            }

        with Progress(
            self, self.verbose, runs=int(self.n_init), iterations=int(self.max_iter)
        ) as progress:
            run = climb(
                progress,
                begin,
                advance,
                max_iter=int(self.max_iter),
                starts=int(self.n_init),
                attributes=attributes,
            )
        for name, value in attributes(run.state, run.n_iter).items():
            setattr(self, name, value)
        warn_unconverged(owner, run, "max_iter", int(self.max_iter))
        if not rows.is_stream:
            self.membership_ = rows.map(degrees, run.state[0], m=m)
            self.labels_ = self.membership_.argmax(axis=1)
        return self

    def predict_proba(self, X):
        """The degrees of rows.

        Returns
        -------
        degrees : array of shape (n, k), float64
            With sum 1.
        """
        check_is_fitted(self, "cluster_centers_")
        return self._rows(X, reset=False).map(degrees, self._centers64, m=float(self.m))

    def predict(self, X):
        """The cluster with the largest degree of each row.

        Returns
        -------
        labels : array of shape (n,), int64
            Clusters; the first of equals.
        """
        return self.predict_proba(X).argmax(axis=1)

    def fit_predict(self, X, y=None, sample_weight=None):
        """Find the centers, and return `labels_`.

        Returns
        -------
        labels : array of shape (n,), int64
            Clusters.
        """
        return self.fit(X, sample_weight=sample_weight).labels_


def _relative(X: Any, centers: Any, m: float) -> tuple[Any, Any, Any]:
    """Degrees up to their sum, their sum, and the least squared distance of each row.

    Relative to the least distance, so that powers neither overflow nor vanish.
    """
    xp = namespace(X)
    D = pairwise.euclidean(X, centers.astype(X.dtype), True).astype(np.float64)
    least = D.min(axis=1)
    unit = xp.where(least > 0, least, 1)
    with np.errstate(divide="ignore"):
        ratio = xp.where(least[:, None] > 0, unit[:, None] / xp.where(D > 0, D, 1), D == 0)
    u = ratio ** (1 / (m - 1))
    return u, u.sum(axis=1), least


def degrees(X: Any, centers: Any, *, m: float) -> Any:
    """Degrees of rows, float64 (n, k)."""
    u, total, _ = _relative(X, centers, m)
    return u / total[:, None]


def weighed(X: Any, centers: Any, sample_weight: Any = None, *, m: float) -> tuple:
    """Sums of rows and of weights ``w u^m`` of each cluster, and J.

    With these degrees the sum over the clusters of ``u^m |x - c|^2`` is ``least / total^(m - 1)``.
    """
    u, total, least = _relative(X, centers, m)
    w = (u / total[:, None]) ** m
    cost = least / total ** (m - 1)
    if sample_weight is not None:
        weight = sample_weight.astype(np.float64)
        w, cost = w * weight[:, None], cost * weight
    sums = w.astype(X.dtype).T @ X if X.dtype == np.float64 else w.T @ X.astype(np.float64)
    return sums, w.sum(axis=0), cost.sum()
