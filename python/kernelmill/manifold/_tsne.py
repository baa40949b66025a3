"""TSNE: a map on which close rows are close."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill.manifold._affinities import joint
from kernelmill.manifold._principal import principal
from kernelmill.manifold._rows import Manifold, normals, start_of
from kernelmill.neighbors._base import SEARCH, check_pair
from kernelmill.ops import layout

_EXPLORATION = 250  # iterations with early exaggeration
_EVERY = 50  # iterations between two looks at the divergence
_DIRECT = 256  # rows up to which pairs are faster than a tree
_EXACT_END = 50_000  # rows up to which the divergence at the end is that of all pairs
_PROGRESS = 1e-6  # least share of the divergence by which it must fall
_FEW = 200  # fewer rows have the learning rate of so many
_START = 1e-4  # deviation of the first map


class TSNE(Manifold):
    """A map on which rows that are close to each other stay close.

    Each row i has probabilities ``p(j | i)`` of its neighbours, Gaussian in their distance with a
    width that makes their perplexity what is asked for; ``P = (p(j | i) + p(i | j)) / 2n``. Pairs
    of points on the map have ``q_ij = w_ij / Z`` with ``w_ij = 1 / (1 + |y_i - y_j|^2)`` and
    ``Z = sum w``. The map is found by gradient steps on the divergence of P from q.

    Parameters
    ----------
    perplexity : float, default=30
        Effective number of neighbours; less than the number of rows.
    early_exaggeration : float, default=12
        Factor of P in the first 250 iterations.
    learning_rate : float or "auto", default="auto"
        Length of a step; ``"auto"`` is ``max(n, 200) / (4 e)`` with e the factor of P in
        force: of few rows, longer steps scatter the map.
    max_iter : int, default=1000
        Most iterations.
    n_iter_without_progress : int, default=300
        Iterations without a divergence that is lower by a millionth, which end the fit after the
        first 250.
    min_grad_norm : float, default=1e-7
        A gradient that is not longer ends the fit.
    init : {"pca", "random"} or array-like of shape (n, q), default="pca"
        First map; the principal components get a deviation of 1e-4.
    method : {"barnes_hut", "exact"}, default="barnes_hut"
        Whether P holds the ``3 perplexity`` nearest rows, and distant points of the map act as one,
        or all pairs are looked at, in memory O(n^2).
    angle : float, default=0.5
        Distant points act as one where the side of their box is at most this share of the distance.

    Attributes
    ----------
    embedding_
    kl_divergence_ : float
        Divergence of P from q of the map.
    learning_rate_ : float
        Learning rate of the last iterations.
    n_iter_ : int
        Iterations.
    n_features_in_, feature_names_in_

    Notes
    -----
    Steps have momentum and a gain of each coordinate, so the divergence need not fall in each of
    them; `kl_divergence_` is computed from the map that is returned, up to 50,000 rows over all
    pairs. Neighbours are exact, and no row is its own. Rows that are equal get equal points when
    the first map is that of the principal components.

    References
    ----------
    van der Maaten, Hinton (2008), "Visualizing data using t-SNE"; van der Maaten (2014),
    "Accelerating t-SNE using tree-based algorithms"; Belkina et al. (2019), "Automated optimized
    parameters for T-distributed stochastic neighbor embedding".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import TSNE
    >>> X = np.repeat([[0.0, 0, 0], [9, 0, 0]], 20, axis=0)
    >>> X += np.random.default_rng(0).normal(size=X.shape)
    >>> Y = TSNE(perplexity=5, random_state=0).fit_transform(X)
    >>> apart = np.linalg.norm(Y[:20].mean(axis=0) - Y[20:].mean(axis=0))
    >>> bool(apart > 2 * np.linalg.norm(Y[:20].std(axis=0)))
    True
    """

    _parameters: ClassVar = {
        "n_components": rule.integer(1),
        "perplexity": rule.real(0, above=True),
        "early_exaggeration": rule.real(1),
        "learning_rate": rule.any_of(rule.real(0, above=True), rule.one_of("auto")),
        "max_iter": rule.integer(0),
        "n_iter_without_progress": rule.integer(1),
        "min_grad_norm": rule.real(0),
        "metric": SEARCH["metric"],
        "metric_params": SEARCH["metric_params"],
        "init": rule.any_of(rule.one_of("pca", "random"), rule.array("(n, n_components)")),
        "verbose": rule.VERBOSE,
        "random_state": rule.RANDOM_STATE,
        "method": rule.one_of("barnes_hut", "exact"),
        "angle": rule.real(0, high=1),
        "n_jobs": SEARCH["n_jobs"],
    }
    embedding_: Any
    kl_divergence_: float
    n_iter_: int

    def __init__(
        self,
        n_components=2,
        *,
        perplexity=30.0,
        early_exaggeration=12.0,
        learning_rate="auto",
        max_iter=1000,
        n_iter_without_progress=300,
        min_grad_norm=1e-7,
        metric="euclidean",
        metric_params=None,
        init="pca",
        verbose=0,
        random_state=None,
        method="barnes_hut",
        angle=0.5,
        n_jobs=None,
    ):
        self._set_parameters(locals())

    @property
    def _asked(self) -> int:
        return int(3 * self.perplexity + 1)

    @fitting
    def fit(self, X, y=None):
        """Make the map of X.

        Raises
        ------
        ValueError
            If X is not finite, does not suit the metric, or has too few rows for the perplexity.
        """
        owner = type(self).__name__
        seed = seed_of(self.random_state)
        rows = self._fit_rows(X)
        n = rows.count
        check_pair(n, owner)
        if self.perplexity >= n:
            raise ValueError(
                f"{owner}: perplexity must be less than the number of rows, {n}, got "
                f"{self.perplexity} (perplexity must be less than n_samples)"
            )
        if self.method == "barnes_hut" and self.n_components > layout.AXES:
            raise ValueError(
                f"{owner}: n_components must be at most 3 for method='barnes_hut', got "
                f"{self.n_components}"
            )
        Y = self._start(rows.X, n, seed)
        k = n - 1 if self.method == "exact" else min(n - 1, self._asked)
        P = joint(*self._nearest(None, k), float(self.perplexity))
        del self._searched
        run = self._descend(P, Y)
        self._set(rows.dtype, run.state)
        self.kl_divergence_, self.n_iter_ = run.objective, run.n_iter
        return self

    def _start(self, X: Any, n: int, seed: int) -> np.ndarray:
        q, owner = int(self.n_components), type(self).__name__
        if not isinstance(self.init, str):
            return start_of(self.init, n, q, owner)
        if self.init == "random":
            return _START * normals(seed, 0, n, q)
        if self.metric == "precomputed":
            raise ValueError(
                f"{owner}: init must be 'random' or an array for metric='precomputed', got 'pca' "
                '(The parameter init="pca" cannot be used with metric="precomputed".)'
            )
        Y = principal(X, q, seed)
        return Y / Y[:, 0].std() * _START

    def _rate(self, exaggeration: float, n: int) -> float:
        if self.learning_rate != "auto":
            return float(self.learning_rate)
        return max(n, _FEW) / exaggeration / 4

    def _set(self, dtype: Any, state: tuple) -> None:
        self.embedding_ = state[0].astype(dtype)

    def _descend(self, P: Any, Y: np.ndarray) -> Run:
        n = len(Y)
        graph = P.indptr.astype(np.int64), P.indices.astype(np.int32), P.data
        inside = P.data[P.data > 0]
        entropy = float((inside * np.log(inside)).sum())
        theta = 0.0 if self.method == "exact" or n <= _DIRECT else float(self.angle)
        early = float(self.early_exaggeration)
        self.learning_rate_ = self._rate(1.0 if self.max_iter > _EXPLORATION else early, n)

        def divergence(Y: np.ndarray, theta: float) -> float:
            cross = layout.attraction(Y, *graph, True)[1].sum()
            weight = layout.repulsion(Y, theta)[1].sum()
            # Rounding alone makes it negative.
            return max(0.0, float(entropy + cross + np.log(max(weight, np.finfo(float).tiny))))

        # A state is the map, its velocity and gains, iterations, and the least divergence with the
        # iteration that had it.
        def begin(number: int) -> tuple:
            return Y, np.zeros_like(Y), np.ones_like(Y), 0, np.inf, 0

        def advance(state: tuple, most: int) -> Step:
            Y, velocity, gains, done, least, at = state
            Y, velocity, gains = Y.copy(), velocity.copy(), gains.copy()
            factor, momentum = (early, 0.5) if done < _EXPLORATION else (1.0, 0.8)
            rate = self._rate(factor, n)
            steps = min(most, _EVERY - done % _EVERY)
            gradient = velocity
            for _ in range(steps):
                push, weight = layout.repulsion(Y, theta)
                pull = layout.attraction(Y, *graph)[0]
                total = max(weight.sum(), np.finfo(float).tiny)
                gradient = 4 * (factor * pull - push / total)
                gains = np.where(velocity * gradient < 0, gains + 0.2, gains * 0.8)
                np.maximum(gains, 0.01, out=gains)
                velocity = momentum * velocity - rate * gains * gradient
                Y += velocity
            done += steps
            if done % _EVERY:
                return Step((Y, velocity, gains, done, least, at), taken=steps)
            Y -= Y.mean(axis=0)
            value = divergence(Y, theta)
            if value < least * (1 - _PROGRESS) or done <= _EXPLORATION:
                least, at = value, done
            finished = done > _EXPLORATION and (
                done - at >= self.n_iter_without_progress
                or float(np.linalg.norm(gradient)) <= self.min_grad_norm
            )
            return Step((Y, velocity, gains, done, least, at), value, finished, steps)

        def finish(run: Run) -> Run:
            exact = 0.0 if n <= _EXACT_END else min(theta, 0.2)
            return run._replace(objective=divergence(run.state[0], exact))

        bar = Progress(self, self.verbose, iterations=int(self.max_iter))
        with lapack_threads(Y.shape[1]), bar as progress:
            return climb(
                progress,
                begin,
                advance,
                max_iter=int(self.max_iter),
                finish=finish,
                attributes=lambda state, n_iter: {"embedding_": state[0], "n_iter_": n_iter},
            )
