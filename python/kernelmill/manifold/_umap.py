"""UMAP: a map of the fuzzy graph of neighbours."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Run, Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._validation import check_values
from kernelmill.decomposition._projection import scores_given
from kernelmill.manifold._fuzzy import curve, fuzzy_graph, memberships, widths
from kernelmill.manifold._laplacian import smoothest
from kernelmill.manifold._principal import principal
from kernelmill.manifold._rows import Manifold, normals, start_of
from kernelmill.neighbors._base import SEARCH, check_pair
from kernelmill.neighbors._unsupervised import NearestNeighbors
from kernelmill.ops import layout, random

_SMALL = 10_000  # rows up to which there are more epochs
_SPAN = 10.0  # width of the first map
_MOMENT = 2e7  # edges and draws of a slice of epochs, about 100 ms
# An epoch is made in so many parts, each with a part of the edges and against the places that the
# part before left. In one part, points that pull each other pass by each other while steps are
# long: maps of digits were 40 wide, not 27, and trustworthiness at 30 neighbours 0.978, not 0.983.
# With 6 or 16 parts they are as with 3.
_PARTS = 3
_BLOCK = 1 << 20  # numbers of rows that are restored at a time
_LEAST = 1e-3  # keeps the cost finite where a membership is whole
_STEPS = 60  # the cost of digits falls by a tenth of a per cent in the last ten


class UMAP(Manifold):
    """A map of the graph of neighbours, in which near rows pull and drawn ones push.

    Row i gives its neighbours the weights ``exp(-max(0, d_ij - rho_i) / sigma_i)`` that sum to
    ``log2(n_neighbors)``; the weight of an edge is that of the union of both rows' opinions, ``a +
    b - a b``. In each epoch an edge acts in proportion to its weight: it pulls its ends together,
    and they are pushed from points drawn at random, along the gradients of the cross entropy of the
    weights and ``1 / (1 + a |y_i - y_j|^(2 b))``.

    Parameters
    ----------
    n_neighbors : int, default=15
        Size of a neighbourhood, the row itself included.
    n_epochs : int, default=None
        Epochs; None is 500, and 200 for more than 10,000 rows.
    learning_rate : float, default=1
        Length of the first step; it falls to 0 in equal steps.
    init : {"spectral", "pca", "random"} or array-like of shape (n, q), default="spectral"
        First map.
    min_dist : float, default=0.1
        How close points may lie.
    spread : float, default=1
        Unit of the map.
    set_op_mix_ratio : float, default=1
        From the meet of both rows' opinions, 0, to their union, 1.
    local_connectivity : float, default=1
        Neighbours that have weight 1.
    repulsion_strength : float, default=1
        Weight of drawn points.
    negative_sample_rate : int, default=5
        Points drawn for each edge that acts.
    a : float, default=None
        With `b`, the curve; by default it follows from `min_dist` and `spread`.
    b : float, default=None
        See `a`.

    Attributes
    ----------
    embedding_
    graph_ : CSR array of shape (n, n)
        Weights of the edges.
    n_epochs_ : int
        Epochs.
    n_features_in_, feature_names_in_

    Notes
    -----
    Neighbours are exact. Within a third of an epoch each point moves by itself, against the places
    that the others had before it, so the same seed gives the same bits at any number of threads.
    Epochs draw at random and do not descend; the fit ends after `n_epochs`.

    References
    ----------
    McInnes, Healy, Melville (2018), "UMAP: uniform manifold approximation and projection for
    dimension reduction".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.manifold import UMAP
    >>> X = np.repeat([[0.0, 0, 0], [9, 0, 0]], 20, axis=0)
    >>> X += np.random.default_rng(0).normal(size=X.shape)
    >>> model = UMAP(n_neighbors=8, random_state=0).fit(X)
    >>> Y = model.embedding_
    >>> apart = np.linalg.norm(Y[:20].mean(axis=0) - Y[20:].mean(axis=0))
    >>> bool(apart > 2 * np.linalg.norm(Y[:20].std(axis=0)))
    True
    >>> model.transform(X[:3]).shape
    (3, 2)
    >>> model.inverse_transform(Y[:1]).round(3).tolist() == X[:1].round(3).tolist()
    True
    """

    _keeps_rows = True
    _parameters: ClassVar = {
        "n_neighbors": rule.integer(2),
        "n_components": rule.integer(1),
        "metric": SEARCH["metric"],
        "metric_params": SEARCH["metric_params"],
        "n_epochs": rule.any_of(rule.integer(0), rule.nothing()),
        "learning_rate": rule.real(0, above=True),
        "init": rule.any_of(
            rule.one_of("spectral", "pca", "random"), rule.array("(n, n_components)")
        ),
        "min_dist": rule.real(0),
        "spread": rule.real(0, above=True),
        "set_op_mix_ratio": rule.real(0, high=1),
        "local_connectivity": rule.real(0),
        "repulsion_strength": rule.real(0),
        "negative_sample_rate": rule.integer(0),
        "a": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "b": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "random_state": rule.RANDOM_STATE,
        "n_jobs": SEARCH["n_jobs"],
        "verbose": rule.VERBOSE,
    }
    embedding_: Any
    graph_: Any

    def __init__(
        self,
        n_neighbors=15,
        n_components=2,
        *,
        metric="euclidean",
        metric_params=None,
        n_epochs=None,
        learning_rate=1.0,
        init="spectral",
        min_dist=0.1,
        spread=1.0,
        set_op_mix_ratio=1.0,
        local_connectivity=1.0,
        repulsion_strength=1.0,
        negative_sample_rate=5,
        a=None,
        b=None,
        random_state=None,
        n_jobs=None,
        verbose=False,
    ):
        self._set_parameters(locals())

    @property
    def _asked(self) -> int:
        return int(self.n_neighbors)

    @fitting
    def fit(self, X, y=None):
        """Make the map of X.

        Raises
        ------
        ValueError
            If X is not finite, or does not suit the metric.

        Warns
        -----
        UserWarning
            If there are fewer rows than neighbours.
        """
        owner = type(self).__name__
        if self.min_dist > self.spread:
            raise ValueError(
                f"{owner}: min_dist must be at most spread, {self.spread}, got {self.min_dist}"
            )
        self._seed = seed_of(self.random_state)
        rows = self._fit_rows(X)
        n = rows.count
        check_pair(n, owner)
        if self.n_neighbors > n:
            warn(f"{owner}: n_neighbors ({self.n_neighbors}) is greater than the number of rows "
                 f"({n}), which is used instead", UserWarning)  # fmt: skip
        given = None
        if not isinstance(self.init, str):
            given = start_of(self.init, n, int(self.n_components), owner, np.float32)
        self._k = min(int(self.n_neighbors), n) - 1
        self._curve = self._fitted_curve()
        graph = fuzzy_graph(*self._nearest(None, self._k), self._reach)
        self.graph_ = graph
        epochs = (500 if n <= _SMALL else 200) if self.n_epochs is None else int(self.n_epochs)
        Y = self._start(rows.X, graph) if given is None else given
        run = self._lay_out(Y, None, self._edges(graph, epochs), epochs, float(self.learning_rate))
        self.embedding_ = run.state[0].astype(rows.dtype)
        self.n_epochs_ = run.n_iter
        return self

    @property
    def _reach(self) -> dict:
        return {
            "local_connectivity": float(self.local_connectivity),
            "mix": float(self.set_op_mix_ratio),
        }

    def _fitted_curve(self) -> tuple[float, float]:
        if self.a is not None and self.b is not None:
            return float(self.a), float(self.b)
        a, b = curve(float(self.spread), float(self.min_dist))
        return (a if self.a is None else float(self.a)), (b if self.b is None else float(self.b))

    def _start(self, X: Any, graph: Any) -> np.ndarray:
        q, n, owner = int(self.n_components), graph.shape[0], type(self).__name__
        if self.init == "random":
            uniform = random.uniform(self._seed, 0, 0, n * q).reshape(n, q)
            return (_SPAN * uniform).astype(np.float32)
        precomputed = self.metric == "precomputed"
        if self.init == "pca":
            if precomputed:
                raise ValueError(f"{owner}: init must not be 'pca' for metric='precomputed'")
            Y = principal(X, q, self._seed)
        else:
            Y = spectral_start(graph, None if precomputed else X, q, self._seed)
        Y = Y * (_SPAN / max(float(np.abs(Y).max()), np.finfo(float).tiny))
        Y += 1e-4 * normals(self._seed, 1, n, q)  # equal rows part
        low, high = Y.min(axis=0), Y.max(axis=0)
        wide = np.where(high > low, high - low, 1.0)
        return (_SPAN * (Y - low) / wide).astype(np.float32)

    def _edges(self, graph: Any, epochs: int) -> tuple:
        """The edges that act at all, and how often."""
        most = float(graph.data.max(initial=0))
        rates = graph.data / (most if most > 0 else 1.0)
        graph = graph.copy()
        graph.data = np.where(rates * max(epochs, 1) >= 1, rates, 0)
        graph.eliminate_zeros()
        return (graph.indptr.astype(np.int64), graph.indices.astype(np.int32),
                graph.data.astype(np.float32))  # fmt: skip

    def _lay_out(
        self, Y: np.ndarray, Z: np.ndarray | None, edges: tuple, epochs: int, alpha: float
    ) -> Run:
        a, b = self._curve
        offsets, indices, rates = edges
        parts = _PARTS if Z is None else 1
        rates = rates / np.float32(parts)
        draws = float(rates.sum()) * (1 + int(self.negative_sample_rate))
        work = parts * (draws + len(rates) / 8 + len(Y))
        slice_ = max(1, int(_MOMENT / work))

        def advance(state: tuple, most: int) -> Step:
            Y, done = state[0].copy(), state[1]
            count = min(most, slice_)
            layout.umap(
                Y, Z, offsets, indices, rates, parts * done, parts * count,
                parts * max(epochs, 1), a, b, float(self.repulsion_strength), alpha,
                int(self.negative_sample_rate), self._seed,
            )  # fmt: skip
            return Step((Y, done + count), taken=count)

        with Progress(self, self.verbose and Z is None, iterations=epochs, unit="epoch") as bar:
            return climb(
                bar,
                lambda number: (Y, 0),
                advance,
                max_iter=epochs,
                attributes=lambda state, n_iter: {"embedding_": state[0], "n_epochs_": n_iter},
            )

    def transform(self, X):
        """Put other rows on the map.

        Rows start at the mean of their neighbours among those of ``fit``, by weight, and move for
        a third of the epochs, while these stay. A row that is equal to one of these gets its point.

        Returns
        -------
        embedding : ndarray of shape (n, q), dtype of X
            Their points.
        """
        check_is_fitted(self, "embedding_")
        n_fit = len(self.embedding_)
        k = min(self._k + 1, n_fit)
        distances, indices = self._nearest(X, k)
        places = self.embedding_.astype(np.float32)
        weights = memberships(distances, float(self.local_connectivity), np.log2(k + 1))
        share = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        n = len(distances)
        Y = (share[:, :, None] * places[indices]).sum(axis=1).astype(np.float32)
        epochs = 100 if n <= _SMALL else 30
        if self.n_epochs is not None:
            epochs = int(self.n_epochs) // 3
        graph = scipy.sparse.csr_array(
            (weights.ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n_fit)
        )
        if n:
            edges = self._edges(graph, epochs)
            Y = self._lay_out(Y, places, edges, epochs, float(self.learning_rate) / 4).state[0]
        known = distances[:, 0] == 0
        Y = Y.astype(self.embedding_.dtype)
        Y[known] = self.embedding_[indices[known, 0]]
        return Y

    def inverse_transform(self, Y):
        """Rows that points of the map may stand for.

        A row starts at the mean of the rows of ``fit`` whose points are nearest to its point, by
        the inverse of their distance on the map, and then lessens the cross entropy of its
        memberships in their neighbourhoods and the weights that the map gives them. A point of the
        map itself gets its row. Of 100 digits put on the map of 600 others, what comes back is off
        by 0.61 of their spread in the root mean square, with umap-learn 0.5.12 by 0.77.

        Parameters
        ----------
        Y : array-like of shape (n, n_components)
            Points.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of the rows of ``fit``
            Rows, dense.

        Raises
        ------
        NotImplementedError
            If the metric is not Euclidean.
        ValueError
            If Y is not finite or too large to be squared, or does not have `n_components` columns.

        Notes
        -----
        Of the neighbours j on the map, `n_neighbors` of them, with distances e_j, shares c_j in
        proportion to ``1 / e_j``, map weights ``v_j = 1 / (1 + a e_j^(2 b))`` and memberships
        ``w_j = exp(-max(0, |x - x_j| - rho_j) / sigma_j)``, the cost is
        ``-sum_j c_j (v_j log w_j + (1 - v_j) log(1 - w_j + 0.001))``. Its gradient is followed by
        steps that never raise it, so nothing is drawn at random, and a row does not depend on
        those that are asked with it. Cost O(n_neighbors d) a step and row.

        Rows that ``fit`` has not seen come back about as far off as the mean that they start at: a
        map of two dimensions does not hold more. Of 700 rows of digits and the points that
        ``transform`` gives to 200 others, the error is 19.8 on average, that of the mean 19.2, and
        the nearest row of ``fit`` is 18.0 away.
        """
        check_is_fitted(self, "embedding_")
        owner, space = type(self).__name__, self._space
        if space.metric != "euclidean" or space.moved:
            raise NotImplementedError(
                f"{owner}: metric must be 'euclidean' to find rows of points, got {self.metric!r}"
            )
        Y = scores_given(Y, self._n_features_out, owner).astype(np.float64)
        check_values(Y, owner, whole=False)  # distances square them
        distances = self._nearest(None, self._k)[0]
        rho, unit, share = widths(distances, float(self.local_connectivity), np.log2(self._k + 1))
        k = min(self._k + 1, len(self.embedding_))
        search = NearestNeighbors(n_neighbors=k).fit(self.embedding_.astype(np.float64))
        X = np.empty((len(Y), space.rows.shape[1]))
        step = max(1, _BLOCK // (k * max(1, X.shape[1])))
        for i in range(0, len(Y), step):
            far, near = search.kneighbors(Y[i : i + step])
            rows = space.rows[near.ravel()]
            rows = (rows.toarray() if is_sparse(rows) else rows).astype(np.float64)
            rows = rows.reshape(*near.shape, X.shape[1])
            X[i : i + step] = restored(far, rows, rho[near], (unit * share)[near], self._curve)
        return np.ldexp(X, -self._exponent).astype(space.rows.dtype)


def restored(
    far: np.ndarray, rows: np.ndarray, rho: np.ndarray, sigma: np.ndarray,
    curve: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    """Rows of least cost, as `UMAP.inverse_transform` says, beside k rows of distances `far`."""
    a, b = curve
    shares = 1 / np.maximum(far, np.finfo(float).tiny ** 0.5 * (1 + far[:, -1:]))
    shares /= shares.sum(axis=1, keepdims=True)
    v = 1 / (1 + a * far ** (2 * b))

    def cost(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        apart = X[:, None] - rows
        length = np.sqrt((apart * apart).sum(axis=2))
        u = np.maximum(length - rho, 0) / sigma
        with np.errstate(under="ignore"):
            w = np.exp(-u)
        value = (shares * (v * u - (1 - v) * np.log(1 - w + _LEAST))).sum(axis=1)
        slope = shares * (v - (1 - v) * w / (1 - w + _LEAST)) / sigma
        slope = np.where(u > 0, slope, 0) / np.where(length > 0, length, 1)
        return value, (slope[:, :, None] * apart).sum(axis=1)

    X = (shares[:, :, None] * rows).sum(axis=1)
    value, slope = cost(X)
    step = (shares * sigma).sum(axis=1) ** 2
    for _ in range(_STEPS):
        new = X - step[:, None] * slope
        there, turned = cost(new)
        less = there < value
        X[less], value[less], slope[less] = new[less], there[less], turned[less]
        step = np.where(less, 1.5 * step, step / 2)
    return X


def spectral_start(graph: Any, X: Any, q: int, seed: int) -> np.ndarray:
    """Eigenvectors of the graph, of each of its parts beside the others, float64 (n, q)."""
    n = graph.shape[0]
    parts, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    if parts == 1:
        return eigenmap(graph, q, seed)
    means = np.zeros((parts, 1))
    if X is not None:
        share = scipy.sparse.csr_array(
            (1.0 / np.bincount(label)[label], (label, np.arange(n))), shape=(parts, n)
        )
        means = share @ X.astype(np.float64)
        means = means.toarray() if is_sparse(means) else means
    middles = principal(means, q, seed)
    middles /= max(float(np.abs(middles).max()), np.finfo(float).tiny)
    gaps = np.linalg.norm(middles[:, None] - middles[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    Y = np.empty((n, q))
    for part in range(parts):
        own = np.flatnonzero(label == part)
        inside = eigenmap(graph[own][:, own], q, seed)
        width = max(float(np.abs(inside).max()), np.finfo(float).tiny)
        Y[own] = middles[part] + inside * (min(gaps[part].min(), 1.0) / 2 / width)
    return Y


def eigenmap(graph: Any, q: int, seed: int) -> np.ndarray:
    """The q smoothest eigenvectors but the first; random numbers where there are too few nodes."""
    n = graph.shape[0]
    if n <= q + 1:
        return normals(seed, 2, n, q)
    # Accurate enough for a start; sparse factors would fill up on many a graph of neighbours.
    return smoothest(graph, q + 1, tol=1e-4, seed=seed, factors=False)[1][:, 1:]
