"""Graphs of neighbours, as functions."""

from __future__ import annotations

from typing import Any

from kernelmill._docstrings import complete
from kernelmill.neighbors._base import (
    KNeighborsMixin,
    RadiusNeighborsMixin,
    as_graph,
    check_mode,
    nearest_graph,
)
from kernelmill.neighbors._unsupervised import NearestNeighbors
from kernelmill.neighbors._words import WORDS


def _model(X: Any, kind: Any, name: str, options: dict) -> Any:
    """A fitted model: X itself if it is one."""
    if not isinstance(X, kind):
        return NearestNeighbors(**options).fit(X)
    given = X.get_params(deep=False)
    for key, value in options.items():
        if given[key] != value:
            raise ValueError(
                f"{name}: {key} must be that of the model, {given[key]!r}, got {value!r}"
            )
    return X


def _itself(include_self: Any, mode: str) -> bool:
    return mode == "connectivity" if include_self == "auto" else bool(include_self)


def kneighbors_graph(
    X, n_neighbors, *, mode="connectivity", metric="minkowski", p=2, metric_params=None,
    include_self=False, n_jobs=None
):
    """The k nearest rows of each row of X as a sparse matrix.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d), or a fitted model
        Rows, or a model with ``kneighbors``.
    n_neighbors : int
        Number of neighbours.
    mode : {"connectivity", "distance"}, default="connectivity"
        Whether entries are 1 or distances.
    metric : str or callable, default="minkowski"
        As in `NearestNeighbors`; of a fitted model that of the model.
    p : float, default=2
        Power of the Minkowski distance.
    metric_params : dict or None, default=None
        Further arguments of the metric.
    n_jobs : None
        Ignored: the library's threads are used.
    include_self : bool or "auto", default=False
        Whether a row counts as its own neighbour; ``"auto"`` says so for connectivity.

    Returns
    -------
    graph : CSR matrix of shape (n, n)
        The nearest come first in each row.

    Examples
    --------
    >>> from kernelmill.neighbors import kneighbors_graph
    >>> kneighbors_graph([[0.0], [3.0], [1.0]], 1).toarray()
    array([[0., 0., 1.],
           [0., 0., 1.],
           [1., 0., 0.]])
    """
    options = {"metric": metric, "p": p, "metric_params": metric_params}
    check_mode(mode, "kneighbors_graph")
    model = _model(X, KNeighborsMixin, "kneighbors_graph", options)
    found = model._nearest(None, n_neighbors, _itself(include_self, mode))
    return nearest_graph(found, mode, model.n_samples_fit_)


def radius_neighbors_graph(
    X, radius, *, mode="connectivity", metric="minkowski", p=2, metric_params=None,
    include_self=False, n_jobs=None
):
    """The rows within a radius of each row of X as a sparse matrix.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n, d), or a fitted model
        Rows, or a model with ``radius_neighbors``.
    radius : float
        The radius; a distance equal to it counts.
    mode : {"connectivity", "distance"}, default="connectivity"
        Whether entries are 1 or distances.
    metric : str or callable, default="minkowski"
        As in `NearestNeighbors`; of a fitted model that of the model.
    p : float, default=2
        Power of the Minkowski distance.
    metric_params : dict or None, default=None
        Further arguments of the metric.
    n_jobs : None
        Ignored: the library's threads are used.
    include_self : bool or "auto", default=False
        Whether a row counts as its own neighbour; ``"auto"`` says so for connectivity.

    Returns
    -------
    graph : CSR matrix of shape (n, n)
        Ones or distances; distances of 0 are stored.

    Examples
    --------
    >>> from kernelmill.neighbors import radius_neighbors_graph
    >>> radius_neighbors_graph([[0.0], [3.0], [1.0]], 1.5, mode="distance").toarray()
    array([[0., 0., 1.],
           [0., 0., 0.],
           [1., 0., 0.]])
    """
    options = {"metric": metric, "p": p, "metric_params": metric_params}
    check_mode(mode, "radius_neighbors_graph")
    model = _model(X, RadiusNeighborsMixin, "radius_neighbors_graph", options)
    offsets, found, distances = model._within(None, radius, _itself(include_self, mode))
    return as_graph(offsets, found, distances, mode, model.n_samples_fit_)


for _function in (kneighbors_graph, radius_neighbors_graph):
    complete(_function, WORDS)
