"""MDS: a map whose distances are those of the rows, or in their order."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.isotonic import isotonic_regression

from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill.manifold._classical import ClassicalMDS, double_centered, leading
from kernelmill.manifold._rows import start_of
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._base import SEARCH
from kernelmill.ops import pairwise, random


class MDS(ClassicalMDS):
    """A map whose distances are close to those of the rows.

    The stress ``sum_{i<j} (d_ij - h_ij)^2`` of the distances d on the map falls in every step. With
    ``metric_mds`` the h are the distances of the rows; without, they are what is closest to d among
    all that have the order of these distances.

    Parameters
    ----------
    metric_mds : bool, default=True
        Whether distances themselves count, or their order alone.
    n_init : int, default=1
        Starts; those after the first are random.
    init : {"classical_mds", "random"} or array-like of shape (n, q), default="classical_mds"
        First map.
    max_iter : int, default=300
        Most steps.
    eps : float, default=1e-6
        A step that lowers the stress by at most this share of ``sum d^2`` ends a start.
    normalized_stress : bool or "auto", default="auto"
        Whether `stress_` is ``sqrt(stress / sum d^2)``; ``"auto"`` is so for the order alone.

    Attributes
    ----------
    embedding_
    stress_ : float
        Stress of the map.
    dissimilarity_matrix_ : ndarray of shape (n, n), float64
        Distances of the rows.
    n_iter_
    n_features_in_, feature_names_in_

    Notes
    -----
    A step is ``Y <- B Y / n`` with ``b_ij = -h_ij / d_ij`` and ``b_ii = -sum_j b_ij``, which
    majorises the stress. Without `metric_mds` the h are scaled to the sum of squares of ``n (n - 1)
    / 2`` before each step. Equal distances have equal h. Memory O(n^2).

    References
    ----------
    Kruskal (1964), "Nonmetric multidimensional scaling: a numerical method"; de Leeuw (1977),
    "Applications of convex analysis to multidimensional scaling".

    Examples
    --------
    >>> from kernelmill.manifold import MDS
    >>> model = MDS(1, random_state=0).fit([[0.0, 0], [3, 4], [6, 8]])
    >>> model.embedding_.ravel().round(6) + 0.0, round(model.stress_, 6)
    (array([ 5.,  0., -5.]), 0.0)
    """

    _parameters: ClassVar = {
        **ClassicalMDS._parameters,
        "metric_mds": rule.boolean(),
        "n_init": rule.integer(1),
        "init": rule.any_of(
            rule.one_of("classical_mds", "random"), rule.array("(n, n_components)")
        ),
        "max_iter": rule.integer(1),
        "verbose": rule.VERBOSE,
        "eps": rule.real(0),
        "n_jobs": SEARCH["n_jobs"],
        "random_state": rule.RANDOM_STATE,
        "normalized_stress": rule.any_of(rule.boolean(), rule.one_of("auto")),
    }
    stress_: float
    n_iter_: int

    def __init__(
        self,
        n_components=2,
        *,
        metric_mds=True,
        n_init=1,
        init="classical_mds",
        max_iter=300,
        verbose=0,
        eps=1e-6,
        n_jobs=None,
        random_state=None,
        metric="euclidean",
        metric_params=None,
        normalized_stress="auto",
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, init=None):
        """Make the map of X.

        Parameters
        ----------
        init : array-like of shape (n, q), default=None
            First start, instead of the parameter.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric, or `init` is no finite map.
        """
        seed = seed_of(self.random_state)
        D, e, dtype = self._distances(X)
        n, q, owner = len(D), int(self.n_components), type(self).__name__
        if init is not None or not isinstance(self.init, str):
            start = start_of(self.init if init is None else init, n, q, owner)
        else:
            start = None
        targets = _Distances(D) if self.metric_mds else _Order(D)

        def begin(number: int) -> tuple:
            if number == 0 and start is not None:
                Y = np.ldexp(start, -e if self.metric_mds else 0)
            elif number == 0 and self.init == "classical_mds":
                values, vectors = leading(double_centered(D)[0], q, 0.0)
                Y = vectors * np.sqrt(values)
            else:
                Y = random.uniform(seed, number, 0, n * q).reshape(n, q) * _unit(D, targets)
            return moved(Y, targets)

        def advance(state: tuple, most: int) -> Step:
            Y, d, h, stress = state[:4]
            new = moved(_majorised(Y, d, h), targets)
            finished = bool(stress - new[3] <= float(self.eps) * new[4])
            if new[3] > stress:  # by rounding alone
                return Step(state, -_normal(state), True)
            return Step(new, -_normal(new), finished)

        def _normal(state: tuple) -> float:
            return float(state[3] / max(state[4], np.finfo(float).tiny))

        bar = Progress(self, self.verbose, runs=int(self.n_init), iterations=int(self.max_iter))
        with lapack_threads(q), bar as progress:  # products with few columns wait for the memory
            run = climb(
                progress,
                begin,
                advance,
                max_iter=int(self.max_iter),
                starts=int(self.n_init),
                attributes=lambda state, n_iter: {"embedding_": state[0], "n_iter_": n_iter},
            )
        self._set(run, D, e, dtype)
        return self

    def fit_transform(self, X, y=None, init=None):
        """Make the map of X.

        Parameters
        ----------
        init : array-like of shape (n, q), default=None
            First start, instead of the parameter.

        Returns
        -------
        embedding : ndarray of shape (n, q), dtype of X
            The map.
        """
        return self.fit(X, y, init).embedding_

    def _set(self, run: Run, D: np.ndarray, e: int, dtype: Any) -> None:
        Y, _, _, stress, size = run.state
        unit = e if self.metric_mds else 0  # the order alone has no unit
        self.embedding_ = np.ldexp(Y, unit).astype(dtype)
        self.n_iter_, self.dissimilarity_matrix_ = run.n_iter, np.ldexp(D, e)
        auto = self.normalized_stress == "auto"
        normal = not self.metric_mds if auto else bool(self.normalized_stress)
        if normal:
            self.stress_ = float(np.sqrt(stress / size)) if size > 0 else 0.0
        else:
            self.stress_ = float(np.ldexp(stress, 2 * unit))


class _Distances:
    """The h of metric scaling: the distances of the rows."""

    def __init__(self, D: np.ndarray) -> None:
        self.D = D

    def __call__(self, d: np.ndarray) -> np.ndarray:
        return self.D


class _Order:
    """The h in the order of the distances of the rows that are closest to d, scaled."""

    def __init__(self, D: np.ndarray) -> None:
        self.n = len(D)
        self.pairs = np.triu_indices(self.n, 1)
        self.values, self.group, self.counts = np.unique(
            D[self.pairs], return_inverse=True, return_counts=True
        )

    def __call__(self, d: np.ndarray) -> np.ndarray:
        means = np.bincount(self.group, d[self.pairs], len(self.counts)) / self.counts
        flat = isotonic_regression(means, sample_weight=self.counts.astype(float))[self.group]
        size = float(flat @ flat)
        if size > 0:
            flat = flat * np.sqrt(len(flat) / size)
        h = np.zeros((self.n, self.n))
        h[self.pairs] = flat
        return h + h.T


def _unit(D: np.ndarray, targets: Any) -> float:
    """Size of a random map: where its distances are about those of the h."""
    return float(D.mean()) if isinstance(targets, _Distances) else 1.0


def moved(Y: np.ndarray, targets: Any) -> tuple:
    """A state: the map, its distances, the h, the stress and half the sum of d^2."""
    d = pairwise.euclidean(Y, Y, False)
    h = targets(d)
    rest = (d - h).ravel()
    return Y, d, h, float(rest @ rest) / 2, float(np.vdot(d, d)) / 2


def _majorised(Y: np.ndarray, d: np.ndarray, h: np.ndarray) -> np.ndarray:
    ratio = d.copy()
    np.fill_diagonal(ratio, np.inf)
    if ratio.min(initial=1.0) > 0:
        np.divide(h, ratio, out=ratio)
    else:  # points that coincide stay together
        ratio = np.divide(h, d, out=np.zeros_like(h), where=d > 0)
    return (ratio.sum(axis=1)[:, None] * Y - ratio @ Y) / len(Y)


def smacof(
    dissimilarities,
    *,
    metric=True,
    n_components=2,
    init=None,
    n_init=1,
    n_jobs=None,
    max_iter=300,
    verbose=0,
    eps=1e-6,
    random_state=None,
    return_n_iter=False,
    normalized_stress="auto",
):
    """A map whose distances are close to given ones.

    Parameters
    ----------
    dissimilarities : array-like of shape (n, n)
        Symmetric distances.
    metric : bool, default=True
        Whether distances themselves count, or their order alone.
    init : array-like of shape (n, q), default=None
        First map; None is random.
    n_init : int, default=1
        Starts.
    max_iter : int, default=300
        Most steps.
    eps : float, default=1e-6
        As for `MDS`.
    return_n_iter : bool, default=False
        Whether to return the number of steps.
    normalized_stress : bool or "auto", default="auto"
        As for `MDS`.

    Returns
    -------
    embedding : ndarray of shape (n, q)
        The map.
    stress : float
        Its stress.
    n_iter : int
        Steps of the best start, if asked for.

    Examples
    --------
    >>> from kernelmill.manifold import smacof
    >>> Y, stress = smacof([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]], random_state=0)
    >>> stress < 1e-3
    True
    """
    model = MDS(
        n_components, metric_mds=metric, n_init=n_init, init="random" if init is None else init,
        max_iter=max_iter, verbose=verbose, eps=eps, random_state=random_state,
        metric="precomputed", normalized_stress=normalized_stress
    ).fit(dissimilarities)  # fmt: skip
    found = model.embedding_, model.stress_
    return (*found, model.n_iter_) if return_n_iter else found


complete(smacof, WORDS)
