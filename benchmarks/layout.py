"""Maps beside openTSNE, umap-learn and scikit-learn; their quality is part of the check."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work, not_worse


def _groups(n: int, d: int) -> Any:
    def make() -> np.ndarray:
        rng = np.random.default_rng(0)
        centers = 4 * rng.standard_normal((10, d))
        return centers[rng.integers(0, 10, n)] + rng.standard_normal((n, d))

    return make


def _sheet(n: int) -> Any:
    def make() -> np.ndarray:
        from sklearn.datasets import make_swiss_roll

        return make_swiss_roll(n, random_state=0)[0]

    return make


def _fitted(module: str, name: str, options: dict, result: str = "embedding_") -> Any:
    def prepare(X: Any) -> Any:
        model = getattr(__import__(module, fromlist=[name]), name)
        return lambda: getattr(model(**options).fit(X), result)

    return prepare


def _open_tsne(X: Any) -> Any:
    import openTSNE

    import kernelmill

    threads = kernelmill.get_threads()
    return lambda: np.asarray(openTSNE.TSNE(n_jobs=threads, random_state=0).fit(X))


def _divergence(X: np.ndarray, Y: np.ndarray) -> float:
    """Of the probabilities of X from the map, all pairs."""
    from kernelmill.manifold._affinities import joint
    from kernelmill.neighbors import NearestNeighbors
    from kernelmill.ops import layout

    P = joint(*NearestNeighbors(n_neighbors=91).fit(X).kneighbors(), 30.0)
    Y = Y.astype(np.float64)
    edges = P.indptr.astype(np.int64), P.indices.astype(np.int32), P.data
    cross = layout.attraction(Y, *edges, True)[1].sum()
    inside = P.data[P.data > 0]
    weight = layout.repulsion(Y, 0.0)[1].sum()
    return float(inside @ np.log(inside) + cross + np.log(weight))


def _tsne(n: int, d: int, want: float | None) -> Case:
    options = {"random_state": 0}
    return Case(
        name=f"t-SNE n={n} d={d} float64",
        make=_groups(n, d),
        systems={
            "kernelmill": _fitted("kernelmill.manifold", "TSNE", options),
            "openTSNE": _open_tsne,
            "scikit-learn": _fitted("sklearn.manifold", "TSNE", options),
        },
        check=lambda X, ours, other: not_worse(
            _divergence(X, ours), _divergence(X, other), 0.03, "divergence"
        ),
        work=lambda X, _: Work(2.0 * n * n * d, X.nbytes, "2nnd flops of the neighbours alone"),
        dtype="float64",
        want=want,
    )


def _umap(n: int, d: int, want: float | None) -> Case:
    def check(X: Any, ours: Any, other: Any) -> str:
        from kernelmill.manifold import trustworthiness

        some = np.random.default_rng(0).permutation(len(X))[:3000]
        ours, other = (1 - trustworthiness(X[some], Y[some], n_neighbors=15) for Y in (ours, other))
        return not_worse(ours, other, 0.05, "1 - trustworthiness")

    return Case(
        name=f"UMAP n={n} d={d} float64",
        make=_groups(n, d),
        systems={
            "kernelmill": _fitted("kernelmill.manifold", "UMAP", {"random_state": 0}),
            "umap-learn": _fitted("umap", "UMAP", {}),
        },
        check=check,
        work=lambda X, _: Work(2.0 * n * n * d, X.nbytes, "2nnd flops of the neighbours alone"),
        dtype="float64",
        want=want,
    )


def _locally_linear(n: int, method: str, want: float | None) -> Case:
    options = {"n_neighbors": 12, "method": method, "random_state": 0}
    error = "reconstruction_error_"

    def check(X: Any, ours: Any, other: Any) -> str:
        return not_worse(ours, max(other, 1e-12), 0.05, "reconstruction error")

    return Case(
        name=f"LLE {method} n={n} d=3 k=12 float64",
        make=_sheet(n),
        systems={
            "kernelmill": _fitted("kernelmill.manifold", "LocallyLinearEmbedding", options, error),
            "scikit-learn": _fitted("sklearn.manifold", "LocallyLinearEmbedding", options, error),
        },
        check=check,
        work=lambda X, _: Work(2.0 * n * n * 3, X.nbytes, "neighbours without a tree"),
        dtype="float64",
        want=want,
    )


def _isomap(n: int, want: float | None) -> Case:
    def check(X: Any, ours: Any, other: Any) -> str:
        off = np.abs(np.abs(ours) - np.abs(other)).max() / np.abs(other).max()
        return "" if off < 1e-6 else f"coordinates differ by {off:.1e} of the largest"

    options = {"n_neighbors": 12}
    return Case(
        name=f"Isomap n={n} k=12 float64",
        make=_sheet(n),
        systems={
            "kernelmill": _fitted("kernelmill.manifold", "Isomap", options),
            "scikit-learn": _fitted("sklearn.manifold", "Isomap", options),
        },
        check=check,
        work=lambda X, _: Work(0.0, 8.0 * n * n, "all distances are written once"),
        dtype="float64",
        want=want,
    )


def _optics(n: int, want: float | None) -> Case:
    def check(X: Any, ours: Any, other: Any) -> str:
        return "" if np.array_equal(ours, other) else "labels differ"

    return Case(
        name=f"OPTICS n={n} d=3 float64",
        make=_groups(n, 3),
        systems={
            "kernelmill": _fitted("kernelmill.cluster", "OPTICS", {}, "labels_"),
            "scikit-learn": _fitted("sklearn.cluster", "OPTICS", {}, "labels_"),
        },
        check=check,
        work=lambda X, _: Work(3.0 * n * n * 3, X.nbytes, "3nnd flops"),
        dtype="float64",
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Maps of neighbourhoods, of what is linear in them, and an order by density."""
    if quick:
        return [_locally_linear(300, "standard", None), _isomap(200, None), _optics(200, None)]
    return [
        _tsne(10_000, 50, 1.5),
        _umap(10_000, 50, 2.0),
        _locally_linear(4_000, "standard", 3.0),
        _locally_linear(4_000, "ltsa", 3.0),
        _isomap(200, 2.0),
        _isomap(1_500, 2.0),
        _optics(4_000, 2.0),
    ]
