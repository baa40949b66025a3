"""Starts of EM: components around centers (k-means, k-means++, random rows), or random.

A start is the `Moments` of the rows under hard labels or random responsibilities, about reference
Gaussians; the model turns them into parameters. Rows are labelled and summed in blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._arrays import namespace, to_host
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import refuse_unseen
from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments, has_missing, moments
from kernelmill.cluster import _seeding
from kernelmill.cluster._lloyd import lloyd, tolerance
from kernelmill.mixture._densities import blocks, overall
from kernelmill.ops import kmeans, random
from kernelmill.stream._source import add_up

# A start from a stream uses a random sample: of this size, but at least this many rows for each
# component.
_SAMPLE_BYTES = 64 << 20
_SAMPLE_ROWS = 1000
# Streams of random numbers.
_SAMPLES = 1 << 24
_SHARES = 1 << 24
INITS = ("kmeans", "k-means++", "random", "random_from_data")
# As in scikit-learn's mixtures.
_MAX_ITER, _TOL = 300, 1e-4


class Starter:
    """Makes the starts of one fit, on a sample if the rows are a stream.

    Parameters
    ----------
    rows : Rows
    how : {"kmeans", "k-means++", "random", "random_from_data"}
    k : int
        Number of components.
    covariance_type : str
    reg_covar : float
    seed : int
    """

    def __init__(
        self, rows: Rows, how: str, k: int, covariance_type: str, reg_covar: float, seed: int
    ) -> None:
        owner = rows.owner
        if rows.is_stream:
            size = max(_SAMPLE_BYTES // (rows.dtype.itemsize * rows.n_features), _SAMPLE_ROWS * k)
            rows = rows.sample(size, seed, _SAMPLES)
        self._rows, self._how, self._k, self._seed = rows, how, k, seed
        self._kind, self._owner = covariance_type, owner
        self.mean, variance = feature_moments(rows, owner)
        variance = variance + reg_covar
        self._variance = np.where(variance > 0, variance, 1.0)
        self._filled = rows.X
        self._gaps = has_missing(rows.X) if rows.missing is None else rows.missing
        if self._gaps:
            # For k-means only, which needs all entries: it gives the labels.
            xp = namespace(rows.X)
            mean = xp.asarray(self.mean.astype(rows.dtype))
            self._filled = xp.where(rows.X == rows.X, rows.X, mean)

    def start(self, number: int) -> tuple[Moments, Gaussians]:
        """Moments of one start, and the reference Gaussians."""
        if self._how == "random":
            centers = None
            reference = self._around(np.tile(self.mean, (self._k, 1)))
        else:
            centers = self._centers(number)
            reference = self._around(to_host(centers))
        total = None
        for block in blocks(self._rows.count, self._k, 8):
            shares = self._shares(block, centers, number)
            part = moments(self._rows.X[block], shares, reference, None if self._gaps else False)
            total = part if total is None else add_up(total, part)
        assert total is not None  # there are rows
        return total, reference

    def _around(self, means: np.ndarray) -> Gaussians:
        k = len(means)
        covariances: Any = {
            "full": lambda: np.tile(np.diag(self._variance), (k, 1, 1)),
            "tied": lambda: np.diag(self._variance),
            "diag": lambda: np.tile(self._variance, (k, 1)),
            "spherical": lambda: np.full(k, self._variance.mean()),
        }[self._kind]()
        return Gaussians.of(means, covariances, self._kind, self._owner)

    def _shares(self, block: slice, centers: Any, number: int) -> Any:
        """Responsibilities (rows, k) of a block of rows, times their weights."""
        xp, size = namespace(self._filled), block.stop - block.start
        if centers is None:
            u = random.uniform(
                self._seed, _SHARES + number, block.start * self._k, size * self._k
            ).reshape(size, self._k)
            shares = xp.asarray(u / u.sum(axis=1, keepdims=True))
        else:
            labels = kmeans.assign(self._filled[block], centers)[0]
            shares = xp.zeros((size, self._k))
            shares[xp.arange(size), labels] = 1.0
        if self._rows.weight is not None:
            shares *= self._rows.weight[block, None]
        return shares

    def _centers(self, number: int) -> Any:
        rows, k = Rows(self._filled, self._rows.weight, self._owner), self._k
        how = "random" if self._how == "random_from_data" else "k-means++"
        centers = _seeding.start(rows, how, k, self._seed, number)
        if self._how != "kmeans":
            return centers
        tol = tolerance(rows, _TOL)
        return lloyd(rows, centers, max_iter=_MAX_ITER, tol=tol).state.centers


def origin_of(rows: Rows) -> np.ndarray:
    """A point among the data: the first row, with 0 for missing values."""
    return np.nan_to_num(to_host(rows.take([0]))[0].astype(np.float64))


def feature_moments(rows: Rows, owner: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the observed values of each feature."""
    origin = origin_of(rows)
    weights, sums, squares, _, _ = rows.map_reduce(overall, origin, False)
    refuse_unseen(weights, owner)
    shift = sums / weights
    return origin + shift, np.maximum(squares / weights - shift**2, 0.0)
