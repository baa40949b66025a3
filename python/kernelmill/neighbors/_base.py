"""What models that search for neighbours share: parameters, rows, searches and graphs."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill.neighbors._space import Space, effective, space_of
from kernelmill.neighbors._words import ROWS_OR_NONE, WORDS

SEARCH: dict[str, rule.Rule] = {
    "algorithm": rule.one_of("auto", "ball_tree", "kd_tree", "brute"),
    "leaf_size": rule.integer(1),
    "metric": rule.any_of(
        rule.Rule(lambda value: isinstance(value, str), "the name of a metric"),
        rule.function("(x, y)"),
    ),
    "p": rule.any_of(
        rule.real(0, above=True), rule.infinity(), rule.nothing()
    ),
    "metric_params": rule.any_of(
        rule.Rule(lambda value: isinstance(value, dict), "a dict"), rule.nothing()
    ),
    "n_jobs": rule.any_of(rule.Rule(rule.is_integer, "a whole number"), rule.nothing()),
}
RADIUS = rule.any_of(rule.real(0), rule.infinity())
WEIGHTS = rule.any_of(rule.one_of("uniform", "distance", None), rule.function("(distances)"))


class Searcher(Estimator):
    """Base of the models that keep rows to search.

    Attributes
    ----------
    _space : Space
        The rows.
    """

    _words = WORDS
    _accepts_sparse = True
    _accepts_streams = False
    _keeps_rows: ClassVar = True  # after `fit`, which the caller's own array would not outlast
    metric: Any
    algorithm: str
    p: Any
    metric_params: Any

    @property
    def _accepts_missing(self):  # type: ignore[override]
        return self.metric == "nan_euclidean"

    @property
    def _squares(self):
        return not (self.metric == "precomputed" or callable(self.metric))

    @property
    def _asked(self) -> int | None:
        """Neighbours that will be asked for, where that is known: most rows suit no tree."""
        return None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == "precomputed"
        tags.input_tags.allow_nan = self.metric == "nan_euclidean"
        return tags

    def _fit_rows(self, X: Any, sample_weight: Any = None) -> Rows:
        """Keep the rows of X; the `Rows` of X."""
        owner = type(self).__name__
        metric, params = effective(self.metric, self.p, self.metric_params, owner)
        rows = self._rows(X, sample_weight, reset=True)
        if metric == "precomputed":
            check_distances(rows.X, owner)
        kept = self._usable(rows.X)
        if self._keeps_rows and metric != "precomputed":
            kept = own_rows(kept, X)
        space = space_of(kept, metric, params, self.algorithm, owner, self._asked)
        self.effective_metric_, self.effective_metric_params_ = metric, params
        self.n_samples_fit_ = rows.count
        self._searched = space._asdict()
        return rows

    def _usable(self, X: Any) -> Any:
        """The rows that are searched."""
        return X

    @property
    def _space(self) -> Space:
        check_is_fitted(self, "_searched")
        return Space(**self._searched)

    @property
    def _fit_X(self) -> Any:
        """What scikit-learn's ``kneighbors_graph`` and ``radius_neighbors_graph`` ask of models."""
        rows = self._space.given()
        if rows is None:
            raise AttributeError(
                f"{type(self).__name__}: metric must leave rows as they are given, got "
                f"{self._space.metric!r} (call the model's own kneighbors_graph)"
            )
        return rows

    @property
    def _fit_method(self) -> str:
        return self._space.method

    def _queries(self, X: Any, itself: bool = False) -> tuple[Any, np.ndarray | None]:
        """Rows in the coordinates of the search, and what each of them must not find."""
        space = self._space
        if X is None:
            return space.rows, None if itself else np.arange(space.n_rows)
        rows = self._rows(X, reset=False)
        if space.metric == "precomputed":
            refuse_negative(rows.X, type(self).__name__)
        return space.moved_queries(self._in_unit(rows.X)), None

    def _in_unit(self, X: Any) -> Any:
        """Queries in the unit of the rows that are searched, which is that of ``fit`` here."""
        return X

    def _nearest(self, X: Any, k: int, itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Distances and indices; X of None is that of ``fit``, where a row may find `itself`."""
        space, owner = self._space, type(self).__name__
        if not rule.is_integer(k):
            raise TypeError(
                f"{owner}: n_neighbors must be a whole number, got {k!r} (n_neighbors does not "
                f"take {type(k)} value, enter integer value)"
            )
        if k < 1:
            raise ValueError(f"{owner}: n_neighbors must be at least 1, got {k}")
        alone = X is None and not itself
        most = space.n_rows - alone
        if k > most:
            left = " other than the query" if alone else ""
            raise ValueError(
                f"{owner}: n_neighbors must be at most the number of rows{left}, {most}, got {k} "
                f"(Expected n_neighbors <= n_samples_fit, but n_neighbors = {k}, n_samples_fit = "
                f"{space.n_rows}, n_samples = {space.n_rows if X is None else len_of(X)})"
            )
        Q, own = self._queries(X, itself)
        found = space.nearest(Q, int(k), own)
        none = np.isnan(found[0]).any(axis=1)
        if none.any():
            known = "stored" if space.metric == "precomputed" else "defined"
            raise ValueError(
                f"{owner}: X must have {k} distances {known} in each row, got fewer in row "
                f"{int(none.argmax())} ({k} neighbors are required for some samples; a distance "
                f"that is not {known} is that of no neighbour)"
            )
        return found

    def _within(
        self, X: Any, radius: float, itself: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets, indices and distances; X of None is that of ``fit``, as in `_nearest`."""
        space = self._space  # before X is looked at
        if not rule.is_real(radius) or radius != radius:
            raise TypeError(f"{type(self).__name__}: radius must be a number, got {radius!r}")
        Q, own = self._queries(X, itself)
        return space.lists(Q, float(radius), own)


def own_rows(rows: Any, given: Any) -> Any:
    """A copy of rows in memory that the caller may change; what nobody can write is kept."""
    values = rows.data if is_sparse(rows) else rows
    if isinstance(given, list) or (
        isinstance(given, np.ndarray) and not np.may_share_memory(values, given)
    ):
        return rows
    # A frame hands out views that are read-only of memory that is not.
    while isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.base
    return rows.copy() if isinstance(values, np.ndarray) else rows


class KNeighborsMixin:
    """The k nearest rows of those in ``fit``."""

    n_neighbors: Any
    n_samples_fit_: int

    @property
    def _asked(self) -> int:
        return int(self.n_neighbors)

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Find the k nearest rows of ``fit``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), optional
            Rows; those of ``fit`` by default, where no row is its own neighbour.
        n_neighbors : int, optional
            k; that of the constructor by default.
        return_distance : bool, default=True
            Whether to return distances, too.

        Returns
        -------
        distances : ndarray of shape (n, k), float64
            Ascending; left out if `return_distance` is False.
        indices : ndarray of shape (n, k), int64
            Rows of ``fit``; of equal distances the lowest comes first.

        Raises
        ------
        ValueError
            If there are fewer than k rows, or rows at a defined distance.
        """
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        distances, indices = self._nearest(X, k)  # type: ignore[attr-defined]
        return (distances, indices) if return_distance else indices

    def kneighbors_graph(self, X=None, n_neighbors=None, mode="connectivity"):
        """The k nearest rows as a sparse matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), optional
            Rows; those of ``fit`` by default, where no row is its own neighbour.
        n_neighbors : int, optional
            k; that of the constructor by default.
        mode : {"connectivity", "distance"}, default="connectivity"
            Whether entries are 1 or distances.

        Returns
        -------
        graph : CSR matrix of shape (n, n_fit)
            The nearest come first in each row.
        """
        check_mode(mode, type(self).__name__)
        return nearest_graph(self.kneighbors(X, n_neighbors), mode, self.n_samples_fit_)


class RadiusNeighborsMixin:
    """The rows of ``fit`` within a radius."""

    radius: Any
    n_samples_fit_: int

    def _listed(
        self, X: Any, radius: Any, by_distance: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets, indices and distances, of each query by distance or by index."""
        radius = self.radius if radius is None else radius
        if radius is None:
            raise ValueError(
                f"{type(self).__name__}: radius must be given here or to the model, got None"
            )
        owner, radii = type(self).__name__, None
        if isinstance(radius, list | tuple | np.ndarray):
            radii = np.asarray(radius)
            if radii.dtype.kind not in "iuf" or np.isnan(radii).any():
                raise TypeError(f"{owner}: radius must be a number or numbers, got {radius!r}")
            radius = float(radii.max(initial=0.0))
        found = self._within(X, radius)  # type: ignore[attr-defined]
        offsets, indices, distances = (
            found if radii is None else within_each(found, radii, f"{owner}: radius")
        )
        if by_distance:
            order = np.lexsort((indices, distances, query_of(offsets)))
            indices, distances = indices[order], distances[order]
        return offsets, indices, distances

    def radius_neighbors(self, X=None, radius=None, return_distance=True, sort_results=False):
        """Find the rows of ``fit`` within a radius.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), optional
            Rows; those of ``fit`` by default, where no row is its own neighbour.
        radius : float or array-like of shape (n,), optional
            Largest distance, of all rows or of each; that of the constructor by default. Memory is
            that of the largest.
        return_distance : bool, default=True
            Whether to return distances, too.
        sort_results : bool, default=False
            Whether to order them by distance rather than by index.

        Returns
        -------
        distances : ndarray of shape (n,) of ndarrays, float64
            Left out if `return_distance` is False.
        indices : ndarray of shape (n,) of ndarrays, int64
            Rows of ``fit``.
        """
        owner = type(self).__name__
        if sort_results and not return_distance:
            raise ValueError(f"{owner}: return_distance must be True if sort_results is, got False")
        offsets, indices, distances = self._listed(X, radius, sort_results)
        found = as_lists(offsets, indices)
        return (as_lists(offsets, distances), found) if return_distance else found

    def radius_neighbors_graph(self, X=None, radius=None, mode="connectivity", sort_results=False):
        """The rows within a radius as a sparse matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), optional
            Rows; those of ``fit`` by default, where no row is its own neighbour.
        radius : float or array-like of shape (n,), optional
            Largest distance, of all rows or of each; that of the constructor by default. Memory is
            that of the largest.
        mode : {"connectivity", "distance"}, default="connectivity"
            Whether entries are 1 or distances.
        sort_results : bool, default=False
            Whether to order the entries of a row by distance rather than by index.

        Returns
        -------
        graph : CSR matrix of shape (n, n_fit)
            Distances of 0 are stored.
        """
        check_mode(mode, type(self).__name__)
        found = self._listed(X, radius, sort_results)
        return as_graph(*found, mode, self.n_samples_fit_)


def within_each(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], radii: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What remains of lists within the largest of radii when each query has its own."""
    offsets, indices, distances = found
    n, query = len(offsets) - 1, query_of(offsets)
    if radii.shape != (n,):
        raise ValueError(f"{name} must be a number or have shape ({n},), got {radii.shape}")
    near = distances <= radii[query]
    counts = np.bincount(query[near], minlength=n)
    return np.concatenate([[0], np.cumsum(counts)]), indices[near], distances[near]


def query_of(offsets: np.ndarray) -> np.ndarray:
    """The query of each entry of lists that lie one after another."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def check_pair(n: int, owner: str) -> None:
    """Refuse a single row where a model compares rows."""
    if n < 2:
        raise ValueError(
            f"{owner}: X must have at least 2 rows, got {n} (n_samples={n} while a minimum of 2 "
            "is required)"
        )


def len_of(X: Any) -> int:
    return X.shape[0] if hasattr(X, "shape") else len(X)


def as_lists(offsets: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An array of arrays."""
    found = np.empty(len(offsets) - 1, object)
    found[:] = [values[a:b] for a, b in itertools.pairwise(offsets)]
    return found


def nearest_graph(found: tuple, mode: str, count: int) -> Any:
    """A graph from the distances and indices of the k nearest."""
    distances, indices = found
    n, k = indices.shape
    return as_graph(np.arange(0, n * k + 1, k), indices.ravel(), distances.ravel(), mode, count)


def as_graph(
    offsets: np.ndarray, indices: np.ndarray, distances: np.ndarray, mode: str, count: int
) -> Any:
    """A CSR matrix of ones or distances."""
    data = np.ones(len(indices)) if mode == "connectivity" else distances
    return scipy.sparse.csr_matrix((data, indices, offsets), shape=(len(offsets) - 1, count))


def check_mode(mode: str, owner: str) -> None:
    """Refuse what a graph cannot hold."""
    if mode not in ("connectivity", "distance"):
        raise ValueError(f"{owner}: mode must be 'connectivity' or 'distance', got {mode!r}")


def check_distances(X: Any, owner: str) -> None:
    """Refuse what is no square matrix of distances."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            f"{owner}: X must be square for metric='precomputed', got shape {X.shape} (Precomputed "
            "matrix must be square)"
        )
    refuse_negative(X, owner)


def refuse_negative(X: Any, owner: str) -> None:
    """Refuse a distance below 0."""
    stored = X.data if is_sparse(X) else X
    if stored.size and stored.min() < 0:
        raise ValueError(
            f"{owner}: X must have no negative entry for metric='precomputed', got "
            f"{float(stored.min()):g} (Negative values in data)"
        )


def inverse(distances: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Inverse distances relative to the least of the query; if that is 0, those at 0 count alone.

    So neither small nor large distances leave the range of floats.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(least == 0, distances == 0, least / distances)


def weights_of(distances: np.ndarray, weights: Any, owner: str) -> np.ndarray | None:
    """Weights of neighbours that are at these distances, or None for equal ones."""
    if weights in (None, "uniform"):
        return None
    if callable(weights):
        given = np.asarray(weights(distances), np.float64)
        if given.shape != distances.shape:
            raise ValueError(
                f"{owner}: weights must give an array of shape {distances.shape}, got {given.shape}"
            )
        return given
    return inverse(distances, distances.min(axis=1, keepdims=True, initial=np.inf))


def ragged_weights(offsets: np.ndarray, distances: np.ndarray, weights: Any) -> np.ndarray | None:
    """`weights_of` for neighbourhoods of different sizes, one after another."""
    if weights in (None, "uniform"):
        return None
    if callable(weights):
        given = weights(as_lists(offsets, distances))
        return np.concatenate([np.asarray(part, np.float64) for part in given])
    query, least = query_of(offsets), np.full(len(offsets) - 1, np.inf)
    np.minimum.at(least, query, distances)
    return inverse(distances, least[query])


class Neighbourhoods(Searcher):
    """Models that predict from the k nearest rows, or from those within a radius."""

    _words = WORDS.extended(arguments={"predict.X": ROWS_OR_NONE, "predict_proba.X": ROWS_OR_NONE})
    _parameters: ClassVar = {**SEARCH, "weights": WEIGHTS}
    weights: Any


class KNeighbourhoods(KNeighborsMixin, Neighbourhoods):
    """Those of the k nearest rows."""

    _parameters: ClassVar = {**Neighbourhoods._parameters, "n_neighbors": rule.integer(1)}

    def __init__(
        self, n_neighbors=5, *, weights="uniform", algorithm="auto", leaf_size=30, p=2,
        metric="minkowski", metric_params=None, n_jobs=None
    ):  # fmt: skip
        self._set_parameters(locals())
