"""Hierarchies beside SciPy, scikit-learn and fastcluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _ours(linkage: str, graph: Any = None) -> Any:
    def prepare(X: Any) -> Any:
        from kernelmill.cluster import AgglomerativeClustering

        model = AgglomerativeClustering(linkage=linkage, connectivity=graph and graph(X))
        return lambda: model.fit(X).distances_

    return prepare


def _scikit_learn(linkage: str, graph: Any = None) -> Any:
    def prepare(X: Any) -> Any:
        from sklearn.cluster import AgglomerativeClustering

        model = AgglomerativeClustering(
            linkage=linkage, connectivity=graph and graph(X), compute_distances=True
        )
        return lambda: model.fit(X).distances_

    return prepare


def _scipy(linkage: str) -> Any:
    def prepare(X: Any) -> Any:
        from scipy.cluster import hierarchy

        return lambda: hierarchy.linkage(X, linkage)[:, 2]

    return prepare


def _fastcluster(linkage: str) -> Any:
    def prepare(X: Any) -> Any:
        import fastcluster

        if linkage in ("ward", "single"):
            return lambda: fastcluster.linkage_vector(X, linkage)[:, 2]
        return lambda: fastcluster.linkage(X, linkage)[:, 2]

    return prepare


def _case(linkage: str, n: int, d: int, want: float | None) -> Case:
    return Case(
        name=f"{linkage} n={n} d={d} float64",
        make=lambda: np.random.default_rng(0).standard_normal((n, d)),
        systems={
            "kernelmill": _ours(linkage),
            "fastcluster": _fastcluster(linkage),
            "scipy": _scipy(linkage),
            "scikit-learn": _scikit_learn(linkage),
        },
        check=lambda X, ours, other: arrays_close(np.sort(ours), np.sort(other), 1e-6),
        work=lambda X, _: Work(1.0 * n * n * d, X.nbytes, "nnd flops, half of all pairs"),
        dtype="float64",
        want=want,
    )


def _nearest(X: np.ndarray) -> Any:
    from sklearn.neighbors import kneighbors_graph

    return kneighbors_graph(X, 10, include_self=False)


def _connected(linkage: str, n: int, d: int) -> Case:
    return Case(
        name=f"{linkage} of 10 neighbours n={n} d={d} float64",
        make=lambda: np.random.default_rng(0).standard_normal((n, d)),
        systems={
            "kernelmill": _ours(linkage, _nearest),
            "scikit-learn": _scikit_learn(linkage, _nearest),
        },
        check=lambda X, ours, other: arrays_close(ours, other, 1e-6),
        work=lambda X, _: Work(10.0 * n * d, X.nbytes, "flops of connected rows"),
        dtype="float64",
        want=10.0,
    )


def cases(quick: bool) -> list[Case]:
    """Means and spanning trees, then distances of all pairs."""
    if quick:
        return [_case("ward", 200, 3, None)]
    return [
        _case("ward", 12_000, 8, 2.0),
        _case("single", 15_000, 8, 3.0),
        _case("average", 6_000, 8, None),
        *(_connected(linkage, 3_000, 8) for linkage in ("ward", "average", "complete")),
    ]
