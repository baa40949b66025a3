"""What models of maps share: rows in a unit of their own, and their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from kernelmill._arrays import is_sparse
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import as_numbers
from kernelmill.manifold._words import WORDS
from kernelmill.neighbors._base import Searcher, check_distances, own_rows
from kernelmill.neighbors._space import effective, space_of
from kernelmill.neighbors._unsupervised import NearestNeighbors
from kernelmill.ops import random

# Metrics whose distances have no unit, or one of their own.
_UNITLESS = ("haversine", "precomputed", "hamming", "canberra")


class Manifold(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Searcher):
    """Base of the models that put rows on a map.

    Distances are those of ``2^e X``, with the whole e that makes the largest entry about 1: so
    nothing depends on the unit of X, and squares stay within the range of floats.
    """

    _words = WORDS
    _keeps_rows = False
    p: Any = 2
    algorithm = "auto"
    metric: Any = "minkowski"
    metric_params: Any = None
    n_components: int
    embedding_: Any
    _exponent: int

    @property
    def _squares(self):
        return False

    @property
    def _n_features_out(self) -> int:
        return self.embedding_.shape[1]

    def _fit_rows(self, X: Any, sample_weight: Any = None) -> Rows:
        owner = type(self).__name__
        metric, params = effective(self.metric, self.p, self.metric_params, owner)
        rows = self._rows(X, sample_weight, reset=True)
        self._exponent = 0
        if metric == "precomputed":
            check_distances(rows.X, owner)
        elif isinstance(metric, str) and metric not in _UNITLESS and not params.keys() - {"p"}:
            self._exponent = -magnitude_of(rows.X)
            rows.X = scaled(rows.X, self._exponent)
        kept = rows.X
        if self._keeps_rows and metric != "precomputed":
            kept = own_rows(kept, X)
        space = space_of(kept, metric, params, self.algorithm, owner, self._asked)
        self._searched = space._asdict()
        return rows

    def _in_unit(self, X: Any) -> Any:
        return scaled(X, self._exponent)

    def _nearest(self, X: Any, k: int, itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
        found = super()._nearest(X, k, itself)
        refuse_negative(found[0], type(self).__name__)
        return found

    def _within(
        self, X: Any, radius: float, itself: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = super()._within(X, radius, itself)
        refuse_negative(found[2], type(self).__name__)
        return found

    @property
    def _power(self) -> int:
        """Power of the unit of X in its distances."""
        return {"sqeuclidean": 2, "cosine": 0, "correlation": 0}.get(self._space.metric, 1)

    def fit_transform(self, X, y=None):
        """Make the map of X.

        Returns
        -------
        embedding : ndarray of shape (n, q), dtype of X
            The map.
        """
        return self.fit(X, y).embedding_


class Neighbourly(Manifold):
    """Those that keep the rows of ``fit``, to put others beside them.

    Attributes
    ----------
    nbrs_ : NearestNeighbors
        The rows of ``fit``, in their own unit, ready to be searched.
    """

    _keeps_rows = True
    n_neighbors: Any
    radius: Any = 1.0

    @property
    def nbrs_(self) -> NearestNeighbors:
        """The rows of ``fit``, in their own unit, ready to be searched."""
        space, e = self._space, self._exponent
        if e and space.moved:  # the move holds the unit
            space = space._replace(moved={k: np.ldexp(v, e) for k, v in space.moved.items()})
        elif e and self._power:
            tree = space.tree and (space.tree[0], *(np.ldexp(part, -e) for part in space.tree[1:]))
            space = space._replace(rows=scaled(space.rows, -e), tree=tree)
        model = NearestNeighbors(
            n_neighbors=self.n_neighbors or 5, radius=self.radius, algorithm=self.algorithm,
            metric=self.metric, p=self.p, metric_params=self.metric_params
        )  # fmt: skip
        model._searched = space._asdict()
        model.effective_metric_, model.effective_metric_params_ = space.metric, space.params
        model.n_samples_fit_ = space.n_rows
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))
        return model


def refuse_negative(distances: np.ndarray, owner: str) -> None:
    """Refuse what a function gave: weights and squares are of distances; rounding becomes 0."""
    least = distances.min(initial=0)
    if -1e-8 * distances.max(initial=0) <= least < 0:  # 1 - cosine of rows that point alike
        np.maximum(distances, 0, out=distances)
    elif least < 0:
        raise ValueError(
            f"{owner}: metric must give distances of at least 0, got {least:g} (a falling function "
            "such as exp(-s) makes a distance of a similarity s)"
        )


def start_of(init: Any, n: int, q: int, owner: str, dtype: Any = np.float64) -> np.ndarray:
    """A map (n, q) to begin with, as it was given."""
    Y = as_numbers(init, "init", owner)
    if Y.shape != (n, q):
        raise ValueError(f"{owner}: init must have shape ({n}, {q}), got {Y.shape}")
    most = float(np.sqrt(np.finfo(dtype).max)) / (4 * q)  # of distances that can be squared
    bad = ~(np.abs(Y) <= most)
    if bad.any():
        raise ValueError(f"{owner}: init must be finite and below {most:.2g}, got {Y[bad][0]}")
    return Y.astype(dtype)


def magnitude_of(X: Any) -> int:
    """The whole number e for which the largest entry of X is about ``2^e``."""
    entries = X.data if is_sparse(X) else X
    return int(np.frexp(float(np.abs(entries).max(initial=0)))[1])


def scaled(X: Any, exponent: int) -> Any:
    """``2^exponent X``."""
    if exponent == 0:
        return X
    if is_sparse(X):
        X = X.copy()
        X.data = np.ldexp(X.data, exponent)
        return X
    return np.ldexp(X, exponent)


def nearest_rows(X: Any, k: int, metric: str, owner: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the k nearest rows of each row, itself among them."""
    if metric == "precomputed":
        check_distances(X, owner)
    else:
        X = scaled(X, -magnitude_of(X))
    space = space_of(X, metric, {}, "auto", owner, k)
    found = space.nearest(space.rows, k)
    if np.isnan(found[0]).any():
        raise ValueError(f"{owner}: X must have {k} distances stored in each row, got fewer")
    return found


def turned(vectors: np.ndarray) -> np.ndarray:
    """Columns with signs that make their largest entry positive, the first of equals."""
    at = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[at, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return vectors * signs


def normals(seed: int, stream: int, n: int, q: int) -> np.ndarray:
    """Standard normal numbers, float64 (n, q)."""
    return random.normal(seed, stream, 0, n * q).reshape(n, q)
