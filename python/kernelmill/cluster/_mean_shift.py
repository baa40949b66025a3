"""MeanShift: centers climb to where rows are densest."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._validation import as_numbers
from kernelmill.neighbors._base import SEARCH
from kernelmill.neighbors._space import Space, space_of
from kernelmill.neighbors._unsupervised import NearestNeighbors
from kernelmill.neighbors._words import WORDS

# A center stops where it moves by at most this share of the bandwidth.
_STILL = 1e-3


def estimate_bandwidth(X, *, quantile=0.3, n_samples=None, random_state=0, n_jobs=None):
    """A bandwidth for `MeanShift`: the mean distance to the neighbour at a quantile.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows in memory.
    quantile : float, default=0.3
        Share of the rows that are nearer, in [0, 1].
    n_samples : int, optional
        Rows to draw; all by default.
    random_state : int, RandomState, Generator or None, default=0
        Seed of the draw.
    n_jobs : int, optional
        Ignored; present for API compatibility.

    Returns
    -------
    bandwidth : float
        0 where enough rows are equal; a scalar of the dtype of X.

    Examples
    --------
    >>> from kernelmill.cluster import estimate_bandwidth
    >>> estimate_bandwidth([[0.0], [1.0], [2.0], [3.0]], quantile=0.5).item()
    1.0
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"estimate_bandwidth: quantile must be in [0, 1], got {quantile}")
    model = NearestNeighbors().fit(X)
    rows = model._space.rows
    if n_samples is not None and n_samples < len(rows):
        chosen = legacy_state(seed_of(random_state), 0).permutation(len(rows))[:n_samples]
        model = NearestNeighbors().fit(rows[chosen])
    space = model._space
    k = max(1, int(space.n_rows * quantile))
    return rows.dtype.type(space.nearest(space.rows, k)[0][:, -1].mean())


class MeanShift(ClusterMixin, Estimator):
    """Clusters around the places to which means of neighbourhoods climb.

    From each seed a center moves to the mean of all rows within the bandwidth, again and again.
    Of centers that end within a bandwidth of each other, the one with most rows around it stays.

    Parameters
    ----------
    bandwidth : float, default=None
        Radius of a neighbourhood; None is what `estimate_bandwidth` gives.
    seeds : array-like of shape (n_seeds, d), default=None
        Where centers start; None is at the rows.
    bin_seeding : bool, default=False
        Whether to start at one row of each cell of a grid as wide as the bandwidth.
    min_bin_freq : int, default=1
        Fewest rows of a cell that gives a seed.
    cluster_all : bool, default=True
        Whether rows that are farther than the bandwidth from all centers join the nearest one, or
        get the label -1.
    max_iter : int, default=300
        Most moves of a center.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, d), float64
        Centers, those with most rows around them first.
    labels_ : ndarray of shape (n,), int64
        The nearest center of each row, the first of equals.
    n_iter_ : int
        Most moves that a center has made.
    n_features_in_, feature_names_in_

    Notes
    -----
    Seeds of cells are rows, so a neighbourhood is never empty however small the bandwidth. Where
    the estimated bandwidth is 0, each different row is a cluster. All centers move together; those
    at equal places once.

    References
    ----------
    Comaniciu, Meer (2002), "Mean shift: a robust approach toward feature space analysis".

    Examples
    --------
    >>> from kernelmill.cluster import MeanShift
    >>> model = MeanShift(bandwidth=2.0).fit([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> model.cluster_centers_.ravel(), model.labels_
    (array([1. , 9.5]), array([0, 0, 0, 1, 1]))
    >>> model.predict([[7.0]])
    array([1])
    """

    _words = WORDS
    _accepts_streams = False
    _parameters: ClassVar = {
        "bandwidth": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "seeds": rule.any_of(rule.array("(n_seeds, d)"), rule.nothing()),
        "bin_seeding": rule.boolean(),
        "min_bin_freq": rule.integer(1),
        "cluster_all": rule.boolean(),
        "n_jobs": SEARCH["n_jobs"],
        "max_iter": rule.integer(0),
    }
    cluster_centers_: Any
    labels_: Any

    def __init__(
        self, *, bandwidth=None, seeds=None, bin_seeding=False, min_bin_freq=1, cluster_all=True,
        n_jobs=None, max_iter=300
    ):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None):
        """Find the centers.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory.

        Raises
        ------
        ValueError
            If X is not finite, or no seed has a row within the bandwidth.
        """
        owner = type(self).__name__
        rows = self._rows(X, reset=True).X
        width = self.bandwidth
        width = estimate_bandwidth(rows) if width is None else float(width)
        space = space_of(rows, "euclidean", {}, "auto", owner)
        centers, counts, self.n_iter_ = climbed(
            space, self._seeds(rows, width, owner), width, int(self.max_iter)
        )
        if not len(centers):
            raise ValueError(
                f"{owner}: seeds must have rows within the bandwidth {width}, got none (No point "
                "was within bandwidth of any seed. Try a different seeding strategy or increase "
                "the bandwidth.)"
            )
        self.cluster_centers_ = distinct(centers, counts, width)
        self._width = width
        labels, distances = self._nearest(rows)
        self.labels_ = labels if self.cluster_all else np.where(distances <= width, labels, -1)
        return self

    def _seeds(self, rows: np.ndarray, width: float, owner: str) -> np.ndarray:
        if self.seeds is not None:
            seeds = as_numbers(self.seeds, "seeds", owner)
            if seeds.ndim != 2 or seeds.shape[1] != rows.shape[1]:
                raise ValueError(
                    f"{owner}: seeds must have shape (n_seeds, {rows.shape[1]}), got {seeds.shape}"
                )
            return seeds
        cells = rows if not self.bin_seeding or width == 0 else np.round(rows / width) + 0.0
        _, first, counts = np.unique(cells, axis=0, return_index=True, return_counts=True)
        if self.bin_seeding:
            first = first[counts >= self.min_bin_freq]
        return rows[np.sort(first)].astype(np.float64)

    def _nearest(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = space_of(self.cluster_centers_, "euclidean", {}, "auto", type(self).__name__)
        distances, labels = space.nearest(rows.astype(np.float64), 1)
        return labels[:, 0], distances[:, 0]

    def predict(self, X):
        """The nearest center of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows in memory.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Clusters.
        """
        check_is_fitted(self, "cluster_centers_")
        return self._nearest(self._rows(X, reset=False).X)[0]


def climbed(
    space: Space, seeds: np.ndarray, width: float, most: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Where centers end, the rows around each, and the most moves; those without rows are left out.

    Neighbours are found in the dtype of the rows, means are float64.
    """
    rows = space.rows.astype(np.float64)
    found, numbers, moves = [], [], 0
    centers = np.unique(seeds, axis=0)
    for move in range(most + 1):
        offsets, near, _ = space.lists(centers.astype(space.rows.dtype), width)
        counts = np.diff(offsets)
        there = counts > 0
        starts = offsets[:-1][there]
        centers, counts = centers[there], counts[there]
        if not len(centers):
            break
        means = np.add.reduceat(rows[near], starts, axis=0) / counts[:, None]
        still = np.sqrt(((means - centers) ** 2).sum(axis=1)) <= _STILL * width
        still |= move == most
        found.append(means[still])
        numbers.append(counts[still])
        moves = move
        centers = np.unique(means[~still], axis=0)
        if not len(centers):
            break
    if not found:
        return np.empty((0, rows.shape[1])), np.empty(0, np.int64), moves
    return np.concatenate(found), np.concatenate(numbers), moves


def distinct(centers: np.ndarray, counts: np.ndarray, width: float) -> np.ndarray:
    """Centers, most rows first, without those within the width of an earlier one."""
    order = np.lexsort((*centers.T[::-1], counts))[::-1]
    centers = centers[order]
    space = space_of(centers, "euclidean", {}, "auto", "MeanShift")
    offsets, near, _ = space.lists(centers, width)
    stays = np.ones(len(centers), bool)
    for i in range(len(centers)):
        if stays[i]:
            stays[near[offsets[i] : offsets[i + 1]]] = False
            stays[i] = True
    return centers[stays]


complete(estimate_bandwidth, WORDS)
