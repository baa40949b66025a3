"""Scores computed from the spread about centroids, in one or two passes over the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docstrings import complete
from ..ops import pairwise
from ._clustering import check
from ._words import SCORES


def calinski_harabasz_score(X: Any, labels: Any) -> float:
    """Ratio of the variance between clusters to the variance within clusters.

    ``(sum_g n_g ||c_g - c||^2 / (k - 1)) / (sum_i ||x_i - c_labels[i]||^2 / (n - k))``, where c_g
    is the centroid of cluster g of k, n_g its number of rows and c the mean of all rows.

    Returns
    -------
    score : float
        Higher is better; 1.0 if the rows of every cluster coincide.

    See Also
    --------
    sklearn.metrics.calinski_harabasz_score : The same value.

    Notes
    -----
    Two passes in float64 about the centroids, so that float32 rows far from the origin lose no
    accuracy. Cost 5 n d flops; memory O(k d).

    References
    ----------
    Calinski and Harabasz (1974), "A dendrite method for cluster analysis".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.metrics import calinski_harabasz_score
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> calinski_harabasz_score(X, [0, 0, 1, 1])
    200.0
    """
    rows = check("calinski_harabasz_score", X, labels)
    n, k = len(rows.X), rows.n_clusters
    within = float(rows.sums_about_centroids(2).sum())
    if within == 0:
        return 1.0
    mean = (rows.sizes @ (rows.centroids - rows.origin)) / n + rows.origin
    between = float(rows.sizes @ ((rows.centroids - mean) ** 2).sum(axis=1))
    return between * (n - k) / (within * (k - 1))


def davies_bouldin_score(X: Any, labels: Any) -> float:
    """Mean over all clusters of the worst ratio of spread to separation.

    ``1/k sum_g max_{h != g} (S_g + S_h) / ||c_g - c_h||``, where S_g is the mean distance from the
    rows of cluster g to their centroid c_g.

    Returns
    -------
    score : float
        Lower is better; 0 if the rows of every cluster coincide. Pairs of clusters with the same
        centroid are skipped, as in scikit-learn.

    See Also
    --------
    sklearn.metrics.davies_bouldin_score : The same value.

    Notes
    -----
    Two passes in float64. Cost 5 n d + 2 k^2 d flops; memory O(k d + k^2).

    References
    ----------
    Davies and Bouldin (1979), "A cluster separation measure".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.metrics import davies_bouldin_score
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> davies_bouldin_score(X, [0, 0, 1, 1])
    0.1
    """
    rows = check("davies_bouldin_score", X, labels)
    xp = rows.xp
    spread = rows.sums_about_centroids(1) / rows.sizes
    separation = pairwise.euclidean(rows.centroids, rows.centroids)
    if bool(xp.allclose(spread, 0)) or bool(xp.allclose(separation, 0)):
        return 0.0
    separation[separation == 0] = np.inf
    ratio = (spread[:, None] + spread) / separation
    return float(ratio.max(axis=1).mean())


for _function in (calinski_harabasz_score, davies_bouldin_score):
    complete(_function, SCORES)
