"""Silhouette coefficients: how much closer a row is to its own cluster than to the next one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import silhouette as ops
from ._clustering import CHUNK_BYTES, Clustering, check


def silhouette_samples(X: Any, labels: Any, *, metric: str = "euclidean") -> Any:
    """Silhouette coefficient of each row.

    ``s(i) = (b(i) - a(i)) / max(a(i), b(i))``, where a(i) is the mean distance from row i to the
    other rows of its cluster and b(i) the smallest mean distance to the rows of another cluster. It
    is close to 1 well inside a cluster, close to 0 between two clusters, and negative if another
    cluster is closer.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows. float32 is used as it is; other types are converted to float64.
    labels : array-like of shape (n_samples,)
        Cluster of each row: numbers or strings; -1 is a label like any other.
    metric : {"euclidean"}, default="euclidean"
        Distance between rows.

    Returns
    -------
    s : ndarray of shape (n_samples,), float64
        Coefficients in [-1, 1]; 0 for the only row of a cluster.

    Raises
    ------
    ValueError
        If X is not a finite numeric matrix, the number of labels differs from n_samples, there are
        fewer than 2 or more than n_samples - 1 distinct labels, or metric is unknown.
    TypeError
        If X is sparse.

    See Also
    --------
    sklearn.metrics.silhouette_samples : The same values, for any metric.

    Notes
    -----
    Cost 2 n^2 d flops and n^2 square roots. Memory: a copy of X and at most 64 MiB more, unless one
    block of 4096 rows by n_clusters needs more; no n x n matrix is stored. Results are bitwise
    equal for any number of threads. A CuPy X gives a CuPy result.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.metrics import silhouette_samples
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0], [5.0]])
    >>> silhouette_samples(X, ["a", "a", "b", "b", "c"]).round(3)
    array([0.8  , 0.75 , 0.8  , 0.833, 0.   ])
    """
    _check_metric("silhouette_samples", metric)
    return _samples(check("silhouette_samples", X, labels))


def silhouette_score(
    X: Any, labels: Any, *, metric: str = "euclidean", sample_size: int | None = None,
    random_state: Any = None
) -> float:
    """Mean silhouette coefficient of all rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    labels : array-like of shape (n_samples,)
        Cluster of each row.
    metric : {"euclidean"}, default="euclidean"
        Distance between rows.
    sample_size : int, optional
        Number of rows to draw at random without replacement; the score is that of these rows alone.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for the sample; pass an int for reproducible results. The sample is the
        same as that of `sklearn.metrics.silhouette_score`.

    Returns
    -------
    score : float
        Mean of `silhouette_samples`, in [-1, 1]; higher is better.

    Raises
    ------
    ValueError
        As in `silhouette_samples`, also for the sample; or if sample_size is not from 1 to
        n_samples.
    TypeError
        If X is sparse.

    Notes
    -----
    Cost 2 n^2 d flops, where n is the number of rows in the sample.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.metrics import silhouette_score
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> round(silhouette_score(X, [0, 0, 1, 1]), 4)
    0.8997
    """
    _check_metric("silhouette_score", metric)
    whole = check("silhouette_score", X, labels, for_score=sample_size is None)
    if sample_size is None:
        return float(_samples(whole).mean())
    from sklearn.utils import check_random_state

    n = len(whole.X)
    if not isinstance(sample_size, (int, np.integer)) or not 1 <= sample_size <= n:
        raise ValueError(
            f"silhouette_score: sample_size must be an integer from 1 to {n}, got {sample_size!r}"
        )
    rows = check_random_state(random_state).permutation(n)[:sample_size]
    rows = whole.xp.asarray(rows)
    sample = check("silhouette_score", whole.X[rows], whole.codes[rows])
    return float(_samples(sample).mean())


def _check_metric(name: str, metric: str) -> None:
    if metric != "euclidean":
        raise ValueError(
            f"{name}: metric must be 'euclidean', got {metric!r} (sklearn.metrics.{name} takes "
            "other metrics)"
        )


def _samples(rows: Clustering) -> Any:
    xp, k, sizes, offsets = rows.xp, rows.n_clusters, rows.sizes, rows.offsets
    n = len(rows.X)
    step = max(4096, CHUNK_BYTES // (8 * k))
    grouped, own = rows.grouped, rows.codes[rows.order]
    scores = xp.empty(n)
    for begin in range(0, n, step):
        block = slice(begin, min(begin + step, n))
        sums = ops.cluster_distance_sums(grouped[block], grouped, offsets)
        at = xp.arange(len(sums)), own[block]
        others = sizes[own[block]] - 1
        a = sums[at] / xp.maximum(others, 1)
        sums /= sizes
        sums[at] = np.inf
        b = sums.min(axis=1)
        larger = xp.maximum(a, b)
        score = (b - a) / xp.where(larger > 0, larger, 1)
        scores[rows.order[block]] = xp.where(others > 0, score, 0.0)
    return scores
