"""k-means: assignment, the Lloyd pass, the bounded Lloyd slice, seeding and mini-batches.

Symbols: X is (n, d) data, C is (k, d) centers, w (n,) weights. Centers are float64 even for float32
data: far from the origin the spacing of float32 would move them (mean 1e4 times the spread loses
four of seven digits). Ties go to the lowest center index everywhere.

NaN and infinity in X are not refused: such a row has any label within range and reaches what is
summed over that cluster. Empty X gives empty results and sums of zero unless the op says otherwise.
All ops are deterministic: sums run in float64 over chunks of rows whose bounds depend on the shapes
alone and are combined in order, so results have the same bits at any thread count. Shapes and
dtypes that do not fit raise ValueError. Cost is counted in flops.

The algorithm is that of Lloyd (1982), "Least squares quantization in PCM".
"""

from __future__ import annotations

import numpy as np

from ._op import op


def _squared_distances(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    difference = X.astype(np.float64)[:, None, :] - centers[None, :, :]
    return (difference**2).sum(axis=2)



@op("X: T[n,d]|csr, centers: f64[k>=1,d] -> labels: i32[n], squared_distances: T[n]")
def assign(X: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest center of each row.

    ``labels[i] = argmin_j ||X[i] - C[j]||^2``, the lowest j among ties.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    centers : ndarray of shape (k, d), float64
        Centers, k >= 1.

    Returns
    -------
    labels : ndarray of shape (n,), int32
        Index of the nearest center.
    squared_distances : ndarray of shape (n,), dtype of X
        Squared Euclidean distance to it.

    Notes
    -----
    Implementations compare ``||c'||^2 - 2 x'.c'`` at the dtype of X after moving the origin to a
    median o of the centers (x' = x - o, c' = c - o), so a label may differ where two centers are
    equally near within rounding; the distance returned is recomputed from differences, without
    cancellation. For CSR rows they use ``||x||^2 - 2 x.c + ||c||^2`` in float64; repeated columns
    add up, and the cost is 2 k flops a stored value. The distance of a row with NaN or inf is NaN
    or inf. Cost 2 n k d flops.
    """
    squared = _squared_distances(X, centers)
    labels = squared.argmin(axis=1)
    return labels.astype(np.int32), squared[np.arange(len(X)), labels].astype(X.dtype)


@op(
    "X: T[n,d]|csr, centers: f64[k>=1,d], sample_weight: T[n]? -> sums: f64[k,d],"
    " weights: f64[k], inertia: float"
)
def lloyd_step(
    X: np.ndarray, centers: np.ndarray, sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Sufficient statistics of one Lloyd pass; they add up over chunks of rows.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d), float32 or float64
        Rows.
    centers : ndarray of shape (k, d), float64
        Centers.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.

    Returns
    -------
    sums : ndarray of shape (k, d), float64
        ``sums[j] = sum_{labels[i]=j} w[i] X[i]``.
    weights : ndarray of shape (k,), float64
        ``weights[j] = sum_{labels[i]=j} w[i]``.
    inertia : float
        ``sum_i w[i] ||X[i] - C[labels[i]]||^2``.

    Notes
    -----
    Labels as in `assign`. Cost 2 n k d + 3 n d flops.
    """
    labels, _ = assign.specification(X, centers)
    w = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    sums = np.zeros(centers.shape)
    np.add.at(sums, labels, w[:, None] * X.astype(np.float64))
    weights = np.bincount(labels, weights=w, minlength=len(centers)).astype(np.float64)
    nearest = ((X.astype(np.float64) - centers[labels]) ** 2).sum(axis=1)
    return sums, weights, float((w * nearest).sum())


@op(
    "X: T[n,d], centers: f64[k>=1,d], labels: inout i32[n], bounds: inout T[m=n|0,2],"
    " sample_weight: T[n]?, n_steps: int, tol: float -> new_centers: f64[k,d], weights: f64[k],"
    " steps: int, shift: float, status: int"
)
def lloyd(
    X: np.ndarray, centers: np.ndarray, labels: np.ndarray, bounds: np.ndarray,
    sample_weight: np.ndarray | None = None, n_steps: int = 1, tol: float = 0.0
) -> tuple[np.ndarray, np.ndarray, int, float, int]:
    """A slice of Lloyd's algorithm over data in memory: up to n_steps of assign and update.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    centers : ndarray of shape (k, d), float64
        Centers to start from; not modified.
    labels : ndarray of shape (n,), int32, C-contiguous, updated in place
        Labels of the previous assignment, -1 where there is none.
    bounds : ndarray of shape (n, 2) or (0, 2), dtype of X, C-contiguous, updated in place
        ``bounds[i, 0]`` is at least the distance of row i to ``centers[labels[i]]``;
        ``bounds[i, 1]`` is at most its distance to any other center. ``(inf, 0)`` is always valid.
        With shape (0, 2) no bounds are kept and every step compares every center.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.
    n_steps : int, default=1
        Most steps to take; the caller keeps a slice near 100 ms.
    tol : float, default=0.0
        Stop when the squared Frobenius norm of the movement of the centers is at most this.

    Returns
    -------
    new_centers : ndarray of shape (k, d), float64
        Centers after the last update; a center without weight keeps its place.
    weights : ndarray of shape (k,), float64
        Summed weight of each cluster at the last assignment.
    steps : int
        Steps taken.
    shift : float
        Squared Frobenius norm of the last movement.
    status : int
        0 when steps ran out, 1 when no label changed in the last step, 2 when ``shift <= tol``, 3
        when the last step left a cluster without weight (the caller moves it and goes on).

    Notes
    -----
    Labels are those of `assign` at the centers before the last update. Bounds change the work,
    never the result: a row is passed over only when its bounds, widened by the rounding error of
    the comparison, prove that the comparison would keep its label. On return the bounds hold for
    ``new_centers``. Results have the same bits with or without bounds. Empty X keeps the centers
    and gives status 3. Cost at most 2 n k d flops a step.

    References
    ----------
    Hamerly (2010), "Making k-means even faster", for the bounds.
    """
    steps, shift, status = 0, np.inf, 0
    weights = np.zeros(len(centers))
    while steps < n_steps and status == 0:
        new_labels, _ = assign.specification(X, centers)
        sums, weights, _ = lloyd_step.specification(X, centers, sample_weight)
        filled = weights > 0
        new_centers = centers.copy()
        new_centers[filled] = sums[filled] / weights[filled, None]
        shift = float(((new_centers - centers) ** 2).sum())
        steps += 1
        if not filled.all():
            status = 3
        elif np.array_equal(new_labels, labels):
            status = 1
        elif shift <= tol:
            status = 2
        labels[:] = new_labels
        centers = new_centers
    if len(bounds):
        distance = np.sqrt(_squared_distances(X, centers))
        own = distance[np.arange(len(X)), labels]
        distance[np.arange(len(X)), labels] = np.inf
        bounds[:, 0] = np.nextafter(own.astype(X.dtype), np.inf, dtype=X.dtype)
        bounds[:, 1] = np.nextafter(distance.min(axis=1).astype(X.dtype), 0, dtype=X.dtype)
    return centers.copy(), weights, steps, shift, status


@op(
    "X: T[n,d], starts: i64[r,k>=1], sample_weight: T[n]?, max_steps: int, tol: float"
    " -> centers: f64[r,k,d], labels: i32[r,n], squared_distances: T[r,n], steps: i64[r],"
    " status: i32[r]",
    cuda="it serves data too small for the threads of a CPU (call kmeans.lloyd for each start)",
)
def restarts(
    X: np.ndarray, starts: np.ndarray, sample_weight: np.ndarray | None = None,
    max_steps: int = 300, tol: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lloyd's algorithm from several starts over data in memory, each run to its end.

    For data so small that one run cannot use several threads: here the runs do.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows.
    starts : ndarray of shape (r, k), int64
        Rows that are the first centers of each run.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.
    max_steps : int, default=300
        Most steps of each run.
    tol : float, default=0.0
        A run stops when the squared Frobenius norm of the movement of its centers is at most this.

    Returns
    -------
    centers : ndarray of shape (r, k, d), float64
        Centers after the last step of each run.
    labels : ndarray of shape (r, n), int32
        What `assign` gives at these centers,
    squared_distances : ndarray of shape (r, n), dtype of X
        and what else it gives.
    steps : ndarray of shape (r,), int64
        Steps taken.
    status : ndarray of shape (r,), int32
        As in `lloyd`. A run that leaves a cluster without weight ends there, with status 3; the
        caller starts it again by itself.

    Raises
    ------
    IndexError
        If a row number is out of range.

    Notes
    -----
    Each run has the bits of `lloyd` from ``X[starts[i]]`` and of `assign` after it. Empty X has no
    rows to start from. Cost 2 n k d flops for each step and for the labels.
    """
    if starts.size and not (starts.min() >= 0 and starts.max() < len(X)):
        raise IndexError(
            f"kmeans.restarts: starts must lie in [0, {len(X)}), got {starts.min()} to "
            f"{starts.max()}"
        )
    r, k = starts.shape
    centers = np.empty((r, k, X.shape[1]))
    nearest = np.empty((r, len(X)), dtype=np.int32)
    squared = np.empty((r, len(X)), dtype=X.dtype)
    steps, status = np.empty(r, dtype=np.int64), np.empty(r, dtype=np.int32)
    none = np.empty((0, 2), dtype=X.dtype)
    for i in range(r):
        labels = np.full(len(X), -1, dtype=np.int32)
        centers[i], _, steps[i], _, status[i] = lloyd.specification(
            X, X[starts[i]].astype(np.float64), labels, none, sample_weight, max_steps, tol
        )
        nearest[i], squared[i] = assign.specification(X, centers[i])
    return centers, nearest, squared, steps, status


@op(
    "X: T[n>=1,d], uniforms: f64[r?,k,t>=1], sample_weight: T[n]? -> indices: i64[r?,k],"
    " squared_distances: T[r?,n]"
)
def plus_plus(
    X: np.ndarray, uniforms: np.ndarray, sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy k-means++ seeding: rows drawn by their squared distance to the nearest seed so far.

    The first seed is drawn by weight. Each later seed is the best of t candidates drawn with
    probability proportional to ``w[i] * D[i]^2``: the one that leaves the least
    ``sum_i w[i] min(D[i]^2, ||X[i] - X[candidate]||^2)``, the first among ties.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Rows, n >= 1.
    uniforms : ndarray of shape (k, t) or (r, k, t), float64
        Random numbers in [0, 1): ``uniforms[0, 0]`` draws the first seed, ``uniforms[s]`` the t
        candidates of seed s. With three axes, r seedings that know nothing of each other.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights, 1 when left out.

    Returns
    -------
    indices : ndarray of shape (k,) or (r, k), int64
        Rows chosen.
    squared_distances : ndarray of shape (n,) or (r, n), dtype of X
        Squared distance of each row to its nearest seed.

    Raises
    ------
    ValueError
        If X is empty or no row has weight.

    Notes
    -----
    Number u picks the first row whose running sum of ``w D^2`` passes ``u * total``; when the total
    is 0 (fewer distinct rows than seeds) it picks by weight instead. Empty X raises. With NaN or
    inf in X the choice is unspecified. One seeding has the same bits alone or among others. Cost 2
    n k t d flops at most for each seeding.

    References
    ----------
    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding", section 5 for
    the greedy variant.
    """
    if uniforms.ndim == 3:
        rows = np.empty(uniforms.shape[:2], dtype=np.int64)
        squared = np.empty((len(uniforms), len(X)), dtype=X.dtype)
        for r, one in enumerate(uniforms):
            rows[r], squared[r] = plus_plus.specification(X, one, sample_weight)
        return rows, squared
    w = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
    if not w.sum() > 0:
        raise ValueError("kmeans.plus_plus: sample_weight must have a positive sum, got 0")

    def draw(mass: np.ndarray, u: np.ndarray) -> np.ndarray:
        running = np.cumsum(mass)
        picked = np.searchsorted(running, u * running[-1], side="right")
        return np.minimum(picked, np.flatnonzero(mass)[-1])

    X64 = X.astype(np.float64)
    indices = np.empty(len(uniforms), dtype=np.int64)
    closest = np.full(len(X), np.inf)
    for s in range(len(uniforms)):
        if s == 0:
            candidates = draw(w, uniforms[:1, 0])
        else:
            mass = w * closest
            candidates = draw(mass if mass.sum() > 0 else w, uniforms[s])
        trial = np.minimum(closest, ((X64[candidates][:, None, :] - X64) ** 2).sum(axis=2))
        best = int((trial * w).sum(axis=1).argmin())
        indices[s], closest = candidates[best], trial[best]
    return indices, closest.astype(X.dtype)


@op(
    "X: T[n,d], rows: i64[b], centers: f64[k>=1,d], weight_sums: f64[k], sample_weight: T[n]?"
    " -> new_centers: f64[k,d], new_weight_sums: f64[k], inertia: float"
)
def minibatch_step(
    X: np.ndarray, rows: np.ndarray, centers: np.ndarray, weight_sums: np.ndarray,
    sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """One mini-batch update: each center becomes the running mean of all rows it was ever given.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        All rows.
    rows : ndarray of shape (b,), int64
        Rows of the batch, in any order, repeats allowed.
    centers : ndarray of shape (k, d), float64
        Centers; not modified.
    weight_sums : ndarray of shape (k,), float64
        Weight that each center has seen so far; not modified.
    sample_weight : ndarray of shape (n,), dtype of X, optional
        Weights of all rows, 1 when left out.

    Returns
    -------
    new_centers : ndarray of shape (k, d), float64
        ``(weight_sums[j] C[j] + sum w x) / (weight_sums[j] + sum w)`` over the batch rows nearest
        to j; a center that got no weight keeps its place.
    new_weight_sums : ndarray of shape (k,), float64
        Weight seen, this batch included.
    inertia : float
        ``sum w ||x - C[label]||^2`` over the batch, at the centers before the update.

    Raises
    ------
    IndexError
        If a row lies outside X.

    Notes
    -----
    Ties as in `assign`. An empty batch changes nothing. Cost 2 b k d flops.

    References
    ----------
    Sculley (2010), "Web-scale k-means clustering".
    """
    if rows.size and (rows.min() < 0 or rows.max() >= len(X)):
        raise IndexError(
            f"kmeans.minibatch_step: rows must lie in [0, {len(X)}), got "
            f"{rows.min()} to {rows.max()}"
        )
    weight = None if sample_weight is None else sample_weight[rows]
    sums, weights, inertia = lloyd_step.specification(X[rows], centers, weight)
    total = weight_sums + weights
    new_centers = centers.copy()
    got = weights > 0
    new_centers[got] = (weight_sums[got, None] * centers[got] + sums[got]) / total[got, None]
    return new_centers, total, inertia
