"""How far neighbours on a map can be trusted."""

from __future__ import annotations

import numpy as np

from kernelmill._docstrings import complete
from kernelmill._estimator import _parameters as rule
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._base import check_distances
from kernelmill.neighbors._unsupervised import NearestNeighbors

_BLOCK_BYTES = 32 << 20


def trustworthiness(X, X_embedded, *, n_neighbors=5, metric="euclidean"):
    """Share of the neighbours on a map that are near in the rows as well.

    ``T = 1 - 2 / (n k (2 n - 3 k - 1)) sum_i sum_j max(0, r(i, j) - k)`` over the k nearest points
    j of point i on the map, with r(i, j) the place of row j among those by distance from row i.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d) or (n, n)
        Rows, or their distances for ``metric="precomputed"``.
    X_embedded : array-like of shape (n, q)
        The map.
    n_neighbors : int, default=5
        Neighbours k; less than n / 2.
    metric : str or callable, default="euclidean"
        Distance of rows; that on the map is Euclidean.

    Returns
    -------
    trustworthiness : float
        In [0, 1].

    Raises
    ------
    ValueError
        If there are too many neighbours, or another number of points than of rows.

    Notes
    -----
    Of equal distances the lowest index comes first. Cost O(n^2 (d + k)), memory O(n d).

    References
    ----------
    Venna, Kaski (2001), "Neighborhood preservation in nonlinear projection methods".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import trustworthiness
    >>> X = np.arange(12.0)[:, None]
    >>> trustworthiness(X, 3 * X), trustworthiness(X, X % 4) < 0.7
    (1.0, True)
    """
    owner = "trustworthiness"
    if not rule.is_integer(n_neighbors) or n_neighbors < 1:
        raise ValueError(f"{owner}: n_neighbors must be a whole number of at least 1, got "
                         f"{n_neighbors!r}")  # fmt: skip
    on_map = NearestNeighbors(n_neighbors=n_neighbors, metric="euclidean").fit(X_embedded)
    n, k = on_map.n_samples_fit_, int(n_neighbors)
    if k >= n / 2:
        raise ValueError(
            f"{owner}: n_neighbors must be less than n_samples / 2, {n / 2:g}, got {k} "
            "(n_neighbors should be less than n_samples / 2)"
        )
    rows = NearestNeighbors(metric=metric).fit(X)
    if metric == "precomputed":
        check_distances(rows._space.rows, owner)
    if rows.n_samples_fit_ != n:
        raise ValueError(
            f"{owner}: X_embedded must have {rows.n_samples_fit_} rows as X has, got {n}"
        )
    near = on_map.kneighbors(return_distance=False)
    excess = 0
    space = rows._space
    step = max(1, _BLOCK_BYTES // (16 * n))
    for start in range(0, n, step):
        own = np.arange(start, min(n, start + step))
        # All rows by distance, then by index; the place of each is the inverse of their order.
        order = space.nearest(space.rows[own], n - 1, own)[1]
        place = np.zeros((len(own), n), np.int64)
        place[np.arange(len(own))[:, None], order] = np.arange(1, n)
        ranks = np.take_along_axis(place, near[own], axis=1)
        excess += int(np.maximum(ranks - k, 0).sum())
    return 1.0 - excess * (2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))


complete(trustworthiness, WORDS)
