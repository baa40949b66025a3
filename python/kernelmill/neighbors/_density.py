"""KernelDensity."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from scipy.special import logsumexp
from sklearn.neighbors import BallTree, KDTree
from sklearn.utils.validation import check_is_fitted

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import generator, seed_of
from kernelmill.neighbors._base import SEARCH, Searcher
from kernelmill.neighbors._space import angles, effective, space_of
from kernelmill.ops import neighbors as ops

_BLOCK = 1 << 18  # pairs of a block on the sphere
_LOG_TWO_PI = math.log(2 * math.pi)


class KernelDensity(Searcher):
    """Density of rows as a sum of kernels around them.

    Parameters
    ----------
    bandwidth : float or {"scott", "silverman"}, default=1.0
        Unit of the distances: a number, ``n^(-1 / (d + 4))`` or ``(n (d + 2) / 4)^(-1 / (d + 4))``.
    algorithm : {"auto", "ball_tree", "kd_tree", "brute"}, default="auto"
        Ignored; present for API compatibility. Sums are exact, over all rows.
    kernel : {"gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"}, \
default="gaussian"
        With z the distance by the bandwidth: ``exp(-z^2 / 2)``, 1, ``1 - z^2``, ``exp(-z)``,
        ``1 - z`` and ``cos(pi z / 2)``, the last four of the five without ``exp`` for z < 1 only.
    metric : str, default="euclidean"
        As for `NearestNeighbors`. The norm of the density is that of the Euclidean distance, also
        for ``"haversine"``: that of a plane, which a bandwidth far below 1 sees.
    atol : float, default=0
        Ignored; present for API compatibility.
    rtol : float, default=0
        Ignored; present for API compatibility.
    breadth_first : bool, default=True
        Ignored; present for API compatibility.

    Attributes
    ----------
    bandwidth_ : float
        The unit in use.
    tree_ : sklearn.neighbors.KDTree or BallTree
        A tree of the rows, made when it is asked for; sums do not need it.
    n_features_in_, feature_names_in_

    Notes
    -----
    Sums are taken relative to their largest term: the log density of a row far from all others is
    finite, whatever the bandwidth, with the kernels that do not end.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.neighbors import KernelDensity
    >>> model = KernelDensity(bandwidth=0.5).fit([[0.0], [0.0], [3.0]])
    >>> np.exp(model.score_samples([[0.0], [3.0]])).round(3)
    array([0.532, 0.266])
    >>> model.score([[0.0]]) > model.score([[2.0]])
    True
    >>> model.sample(2, random_state=0).shape
    (2, 1)
    """

    _accepts_sparse = False
    _parameters: ClassVar = {
        **{name: SEARCH[name] for name in ("algorithm", "leaf_size", "metric_params")},
        "bandwidth": rule.any_of(rule.real(0, above=True), rule.one_of("scott", "silverman")),
        "kernel": rule.one_of(*ops.KERNELS),
        "metric": rule.Rule(lambda value: isinstance(value, str), "the name of a metric"),
        "atol": rule.real(0),
        "rtol": rule.real(0),
        "breadth_first": rule.boolean(),
    }
    p = None

    def __init__(
        self, *, bandwidth=1.0, algorithm="auto", kernel="gaussian", metric="euclidean", atol=0,
        rtol=0, breadth_first=True, leaf_size=40, metric_params=None
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Keep the rows.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric.
        """
        owner = type(self).__name__
        metric, params = effective(self.metric, None, self.metric_params, owner)
        rows = self._rows(X, sample_weight, reset=True)
        centers = rows.X.copy()  # in the coordinates given, for sample(); the caller may change X
        space = space_of(centers, metric, params, "brute", owner)
        if space.code in (None, ops.NAN_EUCLIDEAN):
            raise ValueError(
                f"{owner}: metric must be Euclidean, of Minkowski's family, hamming or haversine, "
                f"perhaps after a change of coordinates, got {metric!r}"
            )
        weight = None if rows.weight is None else rows.weight.astype(np.float64)
        if weight is not None and not (weight > 0).all():
            kept = weight > 0
            space = space._replace(rows=space.rows[kept])
            centers, weight = centers[kept], weight[kept]
        self._searched = space._asdict()
        self._centers, self._weight = centers, weight
        self._mass = float(space.n_rows if weight is None else weight.sum())
        self.bandwidth_ = self._bandwidth(self._mass, rows.n_features)
        return self

    @property
    def tree_(self) -> Any:
        """A tree of the rows, for code that searches them."""
        check_is_fitted(self, "_searched")
        metric, params = effective(self.metric, None, self.metric_params, type(self).__name__)
        kind = KDTree if metric in KDTree.valid_metrics and "w" not in params else BallTree
        return kind(
            self._centers, leaf_size=self.leaf_size, metric=metric, sample_weight=self._weight,
            **{name: np.asarray(v) if np.ndim(v) else v for name, v in params.items()}
        )  # fmt: skip

    def _bandwidth(self, n: float, d: int) -> float:
        """Rows count by their weight, so that a weight of 2 is a row twice."""
        if self.bandwidth == "scott":
            return n ** (-1 / (d + 4))
        if self.bandwidth == "silverman":
            return (n * (d + 2) / 4) ** (-1 / (d + 4))
        return float(self.bandwidth)

    def score_samples(self, X):
        """The logarithm of the density at each row.

        Returns
        -------
        density : ndarray of shape (n,), float64
            -inf where no kernel reaches.
        """
        space = self._space
        Q = space.moved_queries(self._rows(X, reset=False).X)
        if space.metric == "haversine":
            logs = self._on_sphere(Q[:, 3:], space.rows[:, 3:])
        else:
            kernel = ops.KERNELS.index(self.kernel)
            logs = ops.log_density(
                Q, space.rows, self._weight, kernel, self.bandwidth_, *space.arguments
            )
        return logs - log_norm(self.kernel, self.bandwidth_, self.n_features_in_) - math.log(
            self._mass
        )

    def _on_sphere(self, Q: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Logarithms of sums over great-circle distances, by blocks of queries."""
        logs = np.empty(len(Q))
        step = max(1, _BLOCK // max(len(rows), 1))
        for start in range(0, len(Q), step):
            part = Q[start : start + step]
            pairs = np.repeat(part, len(rows), axis=0), np.tile(rows, (len(part), 1))
            z = angles(*pairs).reshape(len(part), -1) / self.bandwidth_
            terms = _log_kernel(self.kernel, z)
            logs[start : start + step] = logsumexp(terms, axis=1, b=self._weight)
        return logs

    def score(self, X, y=None):
        """The sum of the log densities of all rows.

        Returns
        -------
        score : float
            Log-likelihood.
        """
        return float(np.sum(self.score_samples(X)))

    def sample(self, n_samples=1, random_state=None):
        """Draw rows from the density, of a Gaussian or tophat kernel.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed or generator.

        Returns
        -------
        X : ndarray of shape (n_samples, d), float64
            Rows.

        Raises
        ------
        NotImplementedError
            If the kernel is another.
        ValueError
            If `n_samples` is no whole number of at least 0.
        """
        check_is_fitted(self, "_searched")
        rule.check_whole(n_samples, "n_samples", type(self).__name__)
        if self.kernel not in ("gaussian", "tophat"):
            raise NotImplementedError(
                f"KernelDensity: kernel must be 'gaussian' or 'tophat' to sample, got "
                f"{self.kernel!r}"
            )
        rng = generator(seed_of(random_state), 0)
        n, d = self._centers.shape
        place = rng.uniform(size=n_samples)
        if self._weight is None:
            chosen = (place * n).astype(np.int64)
        else:  # the same row as if each stood there as often as its weight says
            ends = np.cumsum(self._weight)
            chosen = np.searchsorted(ends, place * ends[-1], side="right").clip(max=n - 1)
        center = self._centers[chosen].astype(np.float64)
        step = rng.standard_normal((n_samples, d))
        if self.kernel == "tophat":  # uniform in the ball
            length = np.sqrt((step**2).sum(axis=1, keepdims=True))
            step *= rng.uniform(size=(n_samples, 1)) ** (1 / d) / length
        return center + self.bandwidth_ * step


def _log_kernel(kernel: str, z: np.ndarray) -> np.ndarray:
    """Logarithms of a kernel at distances in units of the bandwidth; -inf beyond its end."""
    if kernel == "gaussian":
        return -z * z / 2
    if kernel == "exponential":
        return -z
    own = {
        "tophat": np.ones_like(z),
        "epanechnikov": 1 - z * z,
        "linear": 1 - z,
        "cosine": np.cos(np.pi / 2 * z),
    }[kernel]
    with np.errstate(divide="ignore"):
        return np.log(np.where(z < 1, own, 0.0))


def log_norm(kernel: str, bandwidth: float, d: int) -> float:
    """Logarithm of the integral of a kernel over d dimensions."""
    ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)  # volume of the unit ball
    if kernel == "gaussian":
        norm = d / 2 * _LOG_TWO_PI
    elif kernel == "tophat":
        norm = ball
    elif kernel == "epanechnikov":
        norm = ball + math.log(2 / (d + 2))
    elif kernel == "exponential":
        norm = ball + math.lgamma(d + 1)
    elif kernel == "linear":
        norm = ball - math.log(d + 1)
    else:
        norm = ball + math.log(d * _cosine_moment(d - 1))
    return norm + d * math.log(bandwidth)


def _cosine_moment(power: int) -> float:
    """Integral of ``z^power cos(pi z / 2)`` from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(64 + power)
    z = (nodes + 1) / 2
    return float((weights / 2 * z**power * np.cos(np.pi / 2 * z)).sum())
