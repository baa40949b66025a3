"""Rows made ready to be searched: a metric, and the algorithm that suits it and their shape.

Most metrics are Euclidean or of Minkowski's family after a change of coordinates, and are searched
by the ops. Others are blocks of a matrix of distances, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.spatial.distance

from kernelmill._arrays import is_sparse
from kernelmill._estimator._base import warn
from kernelmill.ops import neighbors as ops

_NAMES = {
    "l2": "euclidean",
    "l1": "manhattan",
    "cityblock": "manhattan",
    "infinity": "chebyshev",
    "p": "minkowski",
    "sokalmichener": "rogerstanimoto",
    "wminkowski": "minkowski",
}
_CODES = {name: code for code, name in enumerate(ops.METRICS)}
# Metrics that are Euclidean in other coordinates, with the metric they are there.
_MOVED = {
    "seuclidean": "euclidean",
    "mahalanobis": "euclidean",
    "cosine": "half_sqeuclidean",
    "correlation": "half_sqeuclidean",
}
# Metrics of scikit-learn and SciPy that are computed in blocks.
_BLOCKS = (
    "braycurtis", "canberra", "dice", "jaccard", "jensenshannon", "rogerstanimoto",
    "russellrao", "sokalsneath", "yule",
)  # fmt: skip
# Those of scikit-learn's ball tree that no tree here knows.
_BALLS = {*_BLOCKS, "hamming"} - {"jensenshannon", "yule"}
# Those that scikit-learn does not know.
_CDIST = ("jensenshannon",)
_SPARSE = ("euclidean", "sqeuclidean", "manhattan", "cosine")
KNOWN = tuple(
    sorted({*_CODES, *_NAMES, *_MOVED, *_BLOCKS, "haversine", "precomputed"} - {"half_sqeuclidean"})
)
_BLOCK_BYTES = 32 << 20
# Chord lengths are accurate to this; what is within it of the k-th neighbour is looked at again.
_CHORD = 1e-15
# A tree pays up to about as many features: measured on 40,000 rows of normal numbers.
_TREE_FEATURES, _TREE_ROWS = 9, 128


class Space(NamedTuple):
    """Rows, and how they are searched.

    Attributes
    ----------
    rows : ndarray or CSR matrix
        Rows in the coordinates of the search; of a precomputed metric, the distances.
    metric : str or callable
        As `effective` gives it.
    params : dict
        Its parameters.
    tree : tuple of ndarray, or None
        ``order``, ``points`` and ``boxes``.
    moved : dict
        What takes queries to those coordinates.
    """

    rows: Any
    metric: Any
    params: dict
    tree: tuple | None
    moved: dict

    @property
    def n_rows(self) -> int:
        return self.rows.shape[0]

    @property
    def method(self) -> str:
        """ "kd_tree" or "brute"."""
        return "brute" if self.tree is None else "kd_tree"

    @property
    def code(self) -> int | None:
        """Index into `ops.METRICS`, or None where distances come in blocks."""
        if is_sparse(self.rows) or not isinstance(self.metric, str):
            return None
        if self.metric == "haversine":
            return ops.EUCLIDEAN
        return _CODES.get(_MOVED.get(self.metric, self.metric))

    @property
    def arguments(self) -> tuple:
        """Metric and exponent, for an op."""
        return self.code, float(self.params.get("p", 2.0))

    def given(self) -> Any:
        """The rows as they were given, or None where the coordinates of the search are others."""
        if self.moved or self.metric in ("cosine", "correlation"):
            return None
        return self.rows[:, 3:].copy() if self.metric == "haversine" else self.rows

    def moved_queries(self, X: Any) -> Any:
        """Queries in the coordinates of the search, in the dtype of the rows."""
        if is_sparse(X) and not is_sparse(self.rows) and self.metric != "precomputed":
            X = X.toarray()
        if self.code is None:
            X = X.astype(self.rows.dtype, copy=False)
            if is_sparse(self.rows) and not is_sparse(X) and self.metric != "precomputed":
                return scipy.sparse.csr_matrix(X)
            return X
        return np.asarray(_move(X, self.metric, self.moved), self.rows.dtype)

    def nearest(self, Q: Any, k: int, own: np.ndarray | None = None) -> tuple:
        """Distances and indices of the k nearest rows to queries in these coordinates."""
        if self.metric == "haversine":
            return self._nearest_on_sphere(Q, k, own)
        if self.code is not None:
            found = ops.nearest(Q, self.rows, k, *self.arguments, own, *(self.tree or ()))
            return found[1], found[0]
        n = Q.shape[0]
        distances, indices = np.empty((n, k)), np.empty((n, k), np.int64)
        for start, D in self._blocks(Q, k):
            stop = start + len(D)
            if own is not None:
                D[np.arange(len(D)), own[start:stop]] = np.nan
            distances[start:stop], indices[start:stop] = _least(D, k)
        return distances, indices

    def lists(self, Q: Any, radius: float, own: np.ndarray | None = None) -> tuple:
        """Offsets, indices and distances of the rows within a radius of each query."""
        if self.metric == "haversine":
            return self._within_on_sphere(Q, radius, own)
        if self.code is not None:
            return self._lists(Q, radius, own)
        offsets = [np.zeros(1, np.int64)]
        indices: list = []
        distances: list = []
        for start, D in self._blocks(Q, None):
            if own is not None:
                D[np.arange(len(D)), own[start : start + len(D)]] = np.nan
            near = radius >= D
            offsets.append(near.sum(axis=1))
            indices.append(np.nonzero(near)[1])
            distances.append(D[near])
        return np.cumsum(np.concatenate(offsets)), _joined(indices), _joined(distances, float)

    def _lists(self, Q: np.ndarray, radius: float, own: np.ndarray | None) -> tuple:
        how = *self.arguments, own, *(self.tree or ())
        offsets = np.concatenate([[0], np.cumsum(ops.within(Q, self.rows, radius, *how))])
        indices, distances = np.empty(offsets[-1], np.int64), np.empty(offsets[-1])
        ops.lists(Q, self.rows, radius, offsets, indices, distances, *how)
        return offsets, indices, distances

    def _nearest_on_sphere(self, Q: np.ndarray, k: int, own: np.ndarray | None) -> tuple:
        """By chords, which are ordered as angles are but for rounding; then by angles."""
        n, tree, points = len(Q), self.tree or (), self.rows[:, :3].copy()
        distances, indices = np.empty((n, k)), np.empty((n, k), np.int64)
        step = max(1, _BLOCK_BYTES // (64 * k))
        for start in range(0, n, step):
            block = slice(start, start + step)
            mine = None if own is None else own[block]
            chord = ops.nearest(Q[block, :3], points, k, ops.EUCLIDEAN, 2.0, mine, *tree)[1]
            for i, reach in enumerate(chord[:, -1] * (1 + _CHORD) + _CHORD):
                one = slice(start + i, start + i + 1)
                skip = None if own is None else own[one]
                _, near, angles = self._within_chord(Q[one], reach, skip)
                best = np.lexsort((near, angles))[:k]
                distances[one], indices[one] = angles[best], near[best]
        return distances, indices

    def _within_chord(self, Q: np.ndarray, reach: float, own: np.ndarray | None) -> tuple:
        plain = self._replace(rows=self.rows[:, :3].copy(), metric="euclidean")
        offsets, near, _ = plain._lists(Q[:, :3].copy(), reach, own)
        query = np.repeat(np.arange(len(Q)), np.diff(offsets))
        return offsets, near, angles(Q[query, 3:], self.rows[near, 3:])

    def _within_on_sphere(self, Q: np.ndarray, radius: float, own: np.ndarray | None) -> tuple:
        reach = 2 * math.sin(min(max(radius, 0.0), math.pi) / 2) * (1 + _CHORD) + _CHORD
        offsets, near, angles = self._within_chord(Q, reach, own)
        query = np.repeat(np.arange(len(Q)), np.diff(offsets))
        kept = angles <= radius
        counts = np.bincount(query[kept], minlength=len(Q))
        return np.concatenate([[0], np.cumsum(counts)]), near[kept], angles[kept]

    def _blocks(self, Q: Any, k: int | None) -> Iterator[tuple[int, np.ndarray]]:
        """First row and distances of blocks of queries; float64, and the caller's to change."""
        step = max(1, _BLOCK_BYTES // (8 * max(self.n_rows, 1)))
        measure = _block_measure(self)
        for start in range(0, Q.shape[0], step):
            D = np.array(measure(Q[start : start + step], k), np.float64)
            if self.metric == "precomputed" and Q is self.rows and is_sparse(Q):
                own = np.arange(start, start + len(D))
                mine = D[own - start, own]
                D[own - start, own] = np.where(np.isnan(mine), 0, mine)
            yield start, D


def _joined(parts: list, dtype: Any = np.int64) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _least(D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k least of each row, then by index, without sorting the others."""
    whole = np.where(np.isnan(D), np.inf, D)
    if k < D.shape[1]:
        last = np.partition(whole, k - 1, axis=1)[:, k - 1 : k]
        row, column = np.nonzero(whole <= last)
    else:
        row, column = (index.ravel() for index in np.indices(D.shape))
    values = whole[row, column]
    order = np.lexsort((column, values, row))
    first = np.searchsorted(row[order], np.arange(len(D)))
    chosen = order[first[:, None] + np.arange(k)]
    return D[row[chosen], column[chosen]], column[chosen]


def _block_measure(space: Space) -> Callable:
    """``measure(queries, k)``: their distances to all rows."""
    rows, metric, params = space.rows, space.metric, space.params
    if metric == "precomputed":
        return lambda Q, k: filled(Q) if is_sparse(Q) else Q
    if is_sparse(rows) and metric in ("euclidean", "sqeuclidean"):
        return SparseMeasure(rows, metric == "sqeuclidean")
    from sklearn.metrics import pairwise_distances
    from sklearn.metrics.pairwise import PAIRWISE_BOOLEAN_FUNCTIONS

    if is_sparse(rows) and metric == "cosine":
        return lambda Q, k: pairwise_distances(Q, rows, metric="cosine")
    if metric in _CDIST:
        return lambda Q, k: scipy.spatial.distance.cdist(Q, rows, metric, **params)
    if metric in PAIRWISE_BOOLEAN_FUNCTIONS:
        known = rows != 0
        return lambda Q, k: pairwise_distances(Q != 0, known, metric=metric, **params)
    return lambda Q, k: pairwise_distances(Q, rows, metric=metric, **params)


def filled(X: Any) -> np.ndarray:
    """Sparse distances as an array, with NaN for those that are not stored."""
    D = np.full(X.shape, np.nan)
    entries = X.tocoo()
    D[entries.row, entries.col] = entries.data
    return D


class SparseMeasure:
    """Euclidean distances of sparse rows: products, and differences where those may be spoiled."""

    def __init__(self, rows: Any, squared: bool) -> None:
        self.rows, self.squared = rows.astype(np.float64), squared
        self.norms = np.asarray(self.rows.multiply(self.rows).sum(axis=1)).ravel()
        self.width = int(np.diff(rows.indptr).max(initial=0)) + 16

    def __call__(self, Q: Any, k: int | None) -> np.ndarray:
        Q = Q.astype(np.float64)
        norms = np.asarray(Q.multiply(Q).sum(axis=1)).ravel()
        sums = norms[:, None] + self.norms
        D = sums - 2 * (Q @ self.rows.T).toarray()
        slack = 4 * self.width * np.finfo(np.float64).eps * sums
        if k is None:
            spoiled = slack * 2.0**30 > D
        else:  # all that may be among the k nearest; the others do not matter
            k = min(k, D.shape[1])
            spoiled = np.partition(D + slack, k - 1, axis=1)[:, k - 1 : k] >= D - slack
        row, column = np.nonzero(spoiled)
        for start in range(0, len(row), 4096):
            part = slice(start, start + 4096)
            t = Q[row[part]] - self.rows[column[part]]
            D[row[part], column[part]] = np.asarray(t.multiply(t).sum(axis=1)).ravel()
        D = np.maximum(D, 0)
        return D if self.squared else np.sqrt(D)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle distances of (latitude, longitude) pairs in radians, row by row."""
    half = np.sin((a - b) / 2) ** 2
    s = half[:, 0] + np.cos(a[:, 0]) * np.cos(b[:, 0]) * half[:, 1]
    return 2 * np.arcsin(np.sqrt(np.minimum(s, 1)))


def effective(metric: Any, p: float | None, params: dict | None, owner: str) -> tuple[Any, dict]:
    """The metric under its own name, and its parameters.

    Raises
    ------
    ValueError
        If it is unknown.
    """
    params = dict(params or {})
    if not isinstance(metric, str):
        return metric, params
    name = _NAMES.get(metric, metric)
    if name not in KNOWN:
        raise ValueError(
            f"{owner}: metric must be one of {', '.join(KNOWN)} or a function, got {metric!r}"
        )
    if name == "minkowski":
        own = params.pop("p", p)
        if p is not None and own != p:
            warn(
                f"{owner}: p must be given once, got p={p} and {own} in metric_params, which is "
                "taken (Parameter p is found in metric_params)", SyntaxWarning
            )  # fmt: skip
        power = 2.0 if own is None else float(own)
        if not power > 0:
            raise ValueError(f"{owner}: p must be above 0, got {power}")
        if params.get("w") is None:
            params.pop("w", None)
            simple = {1.0: "manhattan", 2.0: "euclidean", math.inf: "chebyshev"}.get(power)
            if simple is not None:
                return simple, params
        params["p"] = power
    return name, params


def space_of(
    X: Any, metric: Any, params: dict, algorithm: str, owner: str, k: int | None = None
) -> Space:
    """Rows made ready.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    metric, params :
        As `effective` gives them.
    algorithm : {"auto", "kd_tree", "ball_tree", "brute"}
    k : int, optional
        Neighbours that will be asked for.

    Raises
    ------
    ValueError
        If metric, rows and algorithm do not suit each other.
    """
    balls = algorithm == "ball_tree" and (callable(metric) or metric in _BALLS)
    tree = algorithm in ("kd_tree", "ball_tree") and not balls
    if is_sparse(X):
        if metric not in (*_SPARSE, "precomputed") and isinstance(metric, str):
            raise ValueError(
                f"{owner}: metric must be one of {', '.join(_SPARSE)} for sparse X, got {metric!r}"
            )
        return Space(X, metric, params, None, {})
    moved = _moves(X, metric, params, owner)
    space = Space(X, metric, params, None, moved)
    if metric == "haversine":
        points = _on_sphere(X)
        return space._replace(rows=points, tree=grown(points[:, :3]))
    if space.code is None:
        if callable(metric):  # its sums shall not be those of float32
            space = space._replace(rows=X.astype(np.float64))
        if tree and metric != "precomputed":
            raise ValueError(f"{owner}: metric {metric!r} must have algorithm='brute' or 'auto'")
        return space
    if metric in _MOVED or moved:
        X = np.ascontiguousarray(_move(X, metric, moved))
        space = space._replace(rows=X)
    fits = space.code not in (ops.HAMMING, ops.NAN_EUCLIDEAN)
    if tree and (not fits or metric in ("cosine", "correlation")):
        raise ValueError(f"{owner}: metric {metric!r} must have algorithm='brute' or 'auto'")
    if algorithm == "auto":
        few = X.shape[1] <= _TREE_FEATURES and len(X) >= _TREE_ROWS
        tree = fits and few and metric not in ("cosine", "correlation")
        tree = tree and (k is None or k < len(X) // 2)
    return space._replace(tree=grown(X)) if tree and len(X) else space


def grown(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tree over rows."""
    leaves = ops.leaves_of(len(X))
    return ops.grow(X, leaves, ops.groups_of(leaves))


def _moves(X: np.ndarray, metric: Any, params: dict, owner: str) -> dict:
    """What changes the coordinates, as arrays."""
    d = X.shape[1]
    if metric == "minkowski" and "w" in params:
        w = np.asarray(params["w"], np.float64)
        if w.shape != (d,) or not (w >= 0).all():
            raise ValueError(f"{owner}: w must be {d} numbers of at least 0, got {w.tolist()}")
        return {"scale": w ** (1 / params["p"])}
    if metric == "seuclidean":
        V = params.get("V")
        V = X.astype(np.float64).var(axis=0, ddof=1) if V is None else np.asarray(V, np.float64)
        if V.shape != (d,) or not (V > 0).all():
            raise ValueError(f"{owner}: V must be {d} variances above 0, got {V.tolist()}")
        return {"scale": 1 / np.sqrt(V)}
    if metric == "mahalanobis":
        return {"factor": _factor(X, params, owner)}
    if metric == "haversine" and d != 2:
        raise ValueError(
            f"{owner}: X must have 2 features for haversine, latitude and longitude in radians, "
            f"got {d}"
        )
    return {}


def _factor(X: np.ndarray, params: dict, owner: str) -> np.ndarray:
    """F with ``(x - y)' VI (x - y) = ||(x - y) F||^2``."""
    d = X.shape[1]
    if params.get("VI") is not None:
        VI = np.asarray(params["VI"], np.float64)
    else:
        V = params.get("V")
        V = np.cov(X.T.astype(np.float64)).reshape(d, d) if V is None else np.asarray(V, np.float64)
        VI = np.linalg.pinv(V, hermitian=True) if V.shape == (d, d) else V
    if VI.shape != (d, d) or not np.allclose(VI, VI.T):
        raise ValueError(f"{owner}: V and VI must be symmetric matrices of {d} rows, got others")
    values, vectors = scipy.linalg.eigh(VI)
    if values[0] < -1e-8 * abs(values[-1]):
        raise ValueError(f"{owner}: VI must have no negative eigenvalue, got {values[0]:g}")
    return vectors * np.sqrt(np.maximum(values, 0))


def _move(X: np.ndarray, metric: Any, moved: dict) -> np.ndarray:
    if "scale" in moved:
        return X * moved["scale"]
    if "factor" in moved:
        return X.astype(np.float64) @ moved["factor"]
    if metric == "haversine":
        return _on_sphere(X)
    if metric in ("cosine", "correlation"):
        return _directions(X.astype(np.float64), metric == "correlation")
    return X


def _on_sphere(X: np.ndarray) -> np.ndarray:
    """Points of the unit sphere, and latitude and longitude beside them."""
    X = X.astype(np.float64)
    latitude, longitude = X.T
    c = np.cos(latitude)
    points = [c * np.cos(longitude), c * np.sin(longitude), np.sin(latitude), latitude, longitude]
    return np.ascontiguousarray(np.stack(points, axis=1))


def _directions(X: np.ndarray, centered: bool) -> np.ndarray:
    """Rows of length 1; those without a direction get one of their own, at distance 1 to others."""
    if centered:
        flat = (X[:, :1] == X).all(axis=1)
        X = np.where(flat[:, None], 0.0, X - X.mean(axis=1, keepdims=True))
    top = np.abs(X).max(axis=1, initial=0)
    none = top == 0
    X = X / np.where(none, 1, top)[:, None]  # squares of tiny rows would vanish
    norm = np.sqrt((X * X).sum(axis=1))
    return np.column_stack([X / np.where(none, 1, norm)[:, None], none])
