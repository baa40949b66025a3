"""Initial centers of k-means: k-means++, k-means||, random rows, an array or a callable."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from kernelmill._arrays import beside, is_sparse, to_host
from kernelmill._estimator._parameters import is_integer
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._validation import all_finite, zero_weights
from kernelmill.cluster._lloyd import lloyd
from kernelmill.cluster._statistics import BestOf, assign, dense_rows, lloyd_pass, reservoir
from kernelmill.ops import kmeans, random

# k-means|| draws 2 k rows a round: a first round by weight, then four by squared distance. Bahmani
# et al. find no gain beyond five rounds (section 5.3).
_OVERSAMPLING = 2
_ROUNDS = 5
_CANDIDATE_ITERATIONS = 20


def trials(n_clusters: int) -> int:
    """Candidates per seed of greedy k-means++, as in scikit-learn."""
    return 2 + int(log(n_clusters))


def is_given(init: Any) -> bool:
    """Whether `init` is an array of centers."""
    return not isinstance(init, str) and not callable(init)


def given_centers(init: Any, n_clusters: int, n_features: int, owner: str) -> np.ndarray:
    """The user's centers as float64 of shape (k, d)."""
    if is_sparse(init):
        init = init.toarray()
    try:
        centers = np.array(to_host(init), dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}: init must be an array of numbers, got {error}") from error
    if centers.shape != (n_clusters, n_features):
        raise ValueError(
            f"{owner}: init must have shape ({n_clusters}, {n_features}) for n_clusters="
            f"{n_clusters} and {n_features} features, got {centers.shape}"
        )
    if not all_finite(centers):
        raise ValueError(f"{owner}: init must be finite, got NaN or inf")
    return centers


def start(rows: Rows, init: Any, n_clusters: int, seed: int, stream: int) -> Any:
    """Initial centers.

    Notes
    -----
    A stream that is small enough to be kept starts as its rows in memory would, whatever its
    chunks.
    """
    k, given = n_clusters, rows
    if rows.is_stream and not is_given(init):
        rows = rows.kept()
        if rows.weight is not None and not bool((rows.weight > 0).any()):
            raise zero_weights(rows.owner)
    if callable(init):
        # A callable gets rows in memory: for a large stream, a sample.
        some = rows.sample(max(100 * k, 10_000), seed, stream) if rows.is_stream else rows
        made = init(_read_only(some.X), k, random_state=legacy_state(seed, stream))
        made = given_centers(made, k, rows.n_features, rows.owner)
    elif not isinstance(init, str):
        made = given_centers(init, k, rows.n_features, rows.owner)
    elif rows.is_stream:
        made = (random_from if init == "random" else scalable)(rows, k, seed, stream)
    elif init == "k-means++":
        made = plus_plus(rows, k, seed, stream)[0]
    elif init == "random":
        made = rows_at(rows, random_rows(rows.count, rows.weight, k, seed, stream))
    else:
        made = scalable(rows, k, seed, stream)
    return made if type(made) is np.ndarray and given.xp is np else beside(made, given.X)


def _read_only(X: Any) -> Any:
    """A read-only view of X for a callable of the user's."""
    if type(X) is not np.ndarray:
        return X
    view = X.view()
    view.flags.writeable = False
    return view


def start_rows(
    X: np.ndarray, weight: Any, init: str, n_clusters: int, seed: int, runs: int
) -> np.ndarray:
    """Row numbers (runs, k), int64, that `start` chooses for the first `runs` starts."""
    if init == "random":
        chosen = [random_rows(len(X), weight, n_clusters, seed, i) for i in range(runs)]
        return np.stack(chosen)
    t = trials(n_clusters)
    u = [random.uniform(seed, i, 0, n_clusters * t) for i in range(runs)]
    return kmeans.plus_plus(X, np.reshape(u, (runs, n_clusters, t)), weight)[0]


def rows_at(rows: Rows, indices: Any) -> Any:
    """Some rows in memory as float64 centers."""
    return rows.take(indices).astype(np.float64)


def plus_plus(
    rows: Rows, n_clusters: int, seed: int, stream: int, t: int | None = None
) -> tuple[Any, Any]:
    """Rows in memory chosen by greedy k-means++, as float64 centers, and their numbers."""
    t = t or trials(n_clusters)
    u = random.uniform(seed, stream, 0, n_clusters * t).reshape(n_clusters, t)
    if rows.is_dense:
        indices = kmeans.plus_plus(rows.X, rows.xp.asarray(u), rows.weight)[0]
        return rows.X[indices].astype(np.float64), indices
    indices = _sparse_plus_plus(rows.X, rows.weight, u)
    return dense_rows(rows.X, indices), indices


def _sparse_plus_plus(X: Any, weight: Any, uniforms: np.ndarray) -> np.ndarray:
    """`kmeans.plus_plus` on CSR rows, one pass per candidate."""
    n = X.shape[0]
    w = np.ones(n) if weight is None else weight.astype(np.float64)

    def draw(mass: np.ndarray, u: np.ndarray) -> np.ndarray:
        running = np.cumsum(mass)
        picked = np.searchsorted(running, u * running[-1], side="right")
        return np.minimum(picked, np.flatnonzero(mass)[-1])

    indices = np.empty(len(uniforms), dtype=np.int64)
    closest = np.full(n, np.inf)
    for s in range(len(uniforms)):
        if s == 0:
            candidates = draw(w, uniforms[:1, 0])
        else:
            mass = w * closest
            candidates = draw(mass if mass.sum() > 0 else w, uniforms[s])
        best = np.inf
        for candidate in candidates:
            trial = np.minimum(closest, assign(X, dense_rows(X, [candidate]))[1])
            cost = float(w @ trial)
            if cost < best:
                best, indices[s], kept = cost, candidate, trial
        closest = kept
    return indices


def random_rows(n: int, weight: Any, n_clusters: int, seed: int, stream: int) -> np.ndarray:
    """Different row numbers drawn with probability proportional to weight.

    The k smallest of ``-log(u) / w`` (exponential races); rows of zero weight come last.
    """
    key = -np.log1p(-random.uniform(seed, stream, 0, n))
    if weight is not None:
        w = to_host(weight).astype(np.float64)
        with np.errstate(divide="ignore"):
            key = np.where(w > 0, key / w, np.inf)
    return np.argsort(key, kind="stable")[:n_clusters]


def scalable(rows: Rows, n_clusters: int, seed: int, stream: int) -> np.ndarray:
    """k-means||: a few passes that draw many rows each, then k-means on the rows drawn.

    Notes
    -----
    Each round draws exactly ``2 k`` rows with probability proportional to ``w D^2`` in one pass;
    the independent draws of the paper need the cost first. Six passes in all.

    References
    ----------
    Bahmani, Moseley, Vattani, Kumar, Vassilvitskii (2012), "Scalable k-means++".
    """
    size = _OVERSAMPLING * n_clusters
    candidates: np.ndarray | None = None
    for number in range(_ROUNDS):
        drawn = _reservoir(rows, candidates, size, seed, stream * _ROUNDS + number)
        if not len(drawn):
            break  # every row is a candidate already
        candidates = drawn if candidates is None else np.concatenate([candidates, drawn])
    if candidates is None:
        raise zero_weights(rows.owner)
    if len(candidates) < n_clusters:  # fewer distinct rows than clusters
        more = np.resize(candidates, (n_clusters - len(candidates), candidates.shape[1]))
        return np.concatenate([candidates, more])
    weight = to_host(rows.map_reduce(lloyd_pass, candidates)[1])
    drawn_rows = Rows(candidates, weight, rows.owner)
    centers = plus_plus(drawn_rows, n_clusters, seed, stream)[0]
    run = lloyd(drawn_rows, centers, max_iter=_CANDIDATE_ITERATIONS, tol=0.0, algorithm="plain")
    return run.state.centers


def random_from(rows: Rows, n_clusters: int, seed: int, stream: int) -> np.ndarray:
    """Different rows drawn by weight, in one pass, as float64 centers."""
    drawn = _reservoir(rows, None, n_clusters, seed, stream)
    return np.resize(drawn, (n_clusters, drawn.shape[1]))


def _reservoir(rows: Rows, centers: Any, size: int, seed: int, stream: int) -> np.ndarray:
    merge = BestOf(size)
    return rows.map_reduce(
        reservoir, centers, merge=merge, size=size, seed=seed, stream=stream
    )[1]


class _Caller(Estimator):
    """Reads X for the function below, whose name errors show."""

    _accepts_sparse = True
    _accepts_streams = False


_Caller.__name__ = "kmeans_plusplus"


def kmeans_plusplus(
    X: Any, n_clusters: int, *, sample_weight: Any = None, x_squared_norms: Any = None,
    random_state: Any = None, n_local_trials: int | None = None
) -> tuple[Any, Any]:
    """Choose initial centers by greedy k-means++.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d)
        Rows to choose from.
    n_clusters : int
        Number of centers k, at most n.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows.
    x_squared_norms : array-like of shape (n,), optional
        Ignored; present for API compatibility.
    random_state : int, RandomState, Generator or None
        Seed or generator; an int gives the same centers on every machine and at any number of
        threads.
    n_local_trials : int, optional
        Candidates per center; ``2 + floor(log k)`` by default.

    Returns
    -------
    centers : array of shape (k, d), dtype of X
        Rows of X.
    indices : array of shape (k,), int64
        Their row numbers: ``centers == X[indices]``.

    Raises
    ------
    ValueError
        If X or the weights are not finite, k is not between 1 and n, or there is not one norm for
        each row.

    Notes
    -----
    Cost 2 n k t d flops for t candidates.

    References
    ----------
    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.cluster import kmeans_plusplus
    >>> X = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> centers, indices = kmeans_plusplus(X, 2, random_state=0)
    >>> sorted(centers.round().ravel().tolist())
    [0.0, 5.0]
    """
    rows = _Caller()._rows(X, sample_weight, reset=True)
    if not is_integer(n_clusters) or not 1 <= n_clusters <= rows.count:
        raise ValueError(
            f"kmeans_plusplus: n_clusters must be a whole number from 1 to the {rows.count} rows "
            f"of X, got {n_clusters!r}"
        )
    if n_local_trials is not None and (not is_integer(n_local_trials) or n_local_trials < 1):
        raise ValueError(
            f"kmeans_plusplus: n_local_trials must be a whole number of at least 1, got "
            f"{n_local_trials!r}"
        )
    if x_squared_norms is not None and np.shape(x_squared_norms) != (rows.count,):
        raise ValueError(
            f"kmeans_plusplus: x_squared_norms must have shape ({rows.count},), got "
            f"{np.shape(x_squared_norms)}"
        )
    seed = seed_of(random_state)
    indices = plus_plus(rows, n_clusters, seed, 0, n_local_trials)[1]
    return rows.take(indices), indices
