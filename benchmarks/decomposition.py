"""Decompositions beside scikit-learn and scikit-learn-intelex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close

PEERS = {
    "kernelmill": "kernelmill.decomposition",
    "scikit-learn": "sklearn.decomposition",
    "scikit-learn-intelex": "sklearnex.decomposition",
}


def _fitted(module: str, name: str, **options: Any) -> Callable:
    def prepare(X: Any) -> Any:
        model = getattr(__import__(module, fromlist=[name]), name)
        return lambda: model(**options).fit(X)

    return prepare


def _falling(n: int, d: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, d)) * np.linspace(3, 1, d) + 1).astype(dtype)


def _standing_out(n: int, d: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    low = rng.standard_normal((n, 40)) @ rng.standard_normal((40, d))
    return (low + rng.standard_normal((n, d))).astype(dtype)


def _same_variance(X: Any, ours: Any, other: Any) -> str:
    """Ours explain no less than the other's, within 1e-4 of it."""
    a, b = (float(np.sum(m.explained_variance_)) for m in (ours, other))
    return "" if a > (1 - 1e-4) * b else f"explained variance {a:.6g} against {b:.6g}"


def _pca(n: int, d: int, k: int, dtype: str, want: float | None, make: Any = _falling) -> Case:
    systems = {
        name: _fitted(module, "PCA", n_components=k, random_state=0)
        for name, module in PEERS.items()
    }
    return Case(
        name=f"PCA n={n} d={d} k={k} {dtype}",
        make=lambda: make(n, d, dtype),
        systems=systems,
        check=_same_variance,
        work=lambda X, _: Work(1.0 * n * d * min(d, 4 * k), X.nbytes, "a product with itself"),
        dtype=dtype,
        want=want,
    )


def _sources(n: int, k: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    half = k // 2
    sources = np.hstack([rng.laplace(size=(n, half)), rng.uniform(-1, 1, (n, k - half))])
    return sources @ rng.standard_normal((k, k))


def _ica(n: int, k: int, fun: str, want: float | None) -> Case:
    w = np.random.default_rng(2).standard_normal((k, k))

    def check(X: Any, ours: Any, other: Any) -> str:
        a, b = ours.transform(X), other.transform(X)
        near = np.abs(np.corrcoef(a.T, b.T)[:k, k:]).max(1).min()
        return "" if near > 0.999 else f"a source has correlation {near:.4f}"

    systems = {
        name: _fitted(PEERS[name], "FastICA", fun=fun, w_init=w, whiten_solver="eigh")
        for name in ("kernelmill", "scikit-learn")
    }
    return Case(
        name=f"FastICA n={n} k={k} {fun}",
        make=lambda: _sources(n, k),
        systems=systems,
        check=check,
        work=lambda X, m: Work(4.0 * n * k * k * m.n_iter_, X.nbytes * m.n_iter_, "4 n k^2 a step"),
        dtype="float64",
        want=want,
    )


def _parts(name: str, n: int, d: int, want: float | None, k: int = 10, **options: Any) -> Case:
    def make() -> np.ndarray:
        rng = np.random.default_rng(3)
        return rng.random((n, k)) @ rng.random((k, d)) + 0.1 * rng.random((n, d))

    def check(X: Any, ours: Any, other: Any) -> str:
        a, b = (float(getattr(m, "reconstruction_err_", 0.0)) for m in (ours, other))
        return "" if a < 1.01 * b + 1e-12 else f"error {a:.6g} against {b:.6g}"

    systems = {
        system: _fitted(PEERS[system], name, n_components=k, random_state=0, **options)
        for system in ("kernelmill", "scikit-learn")
    }
    text = " ".join(f"{key}={value}" for key, value in options.items())
    return Case(
        name=f"{name} n={n} d={d} k={k} {text}".rstrip(),
        make=make,
        systems=systems,
        check=check,
        work=lambda X, _: Work(0.0, X.nbytes, "one pass over the rows"),
        dtype="float64",
        want=want,
    )


def _kernel(n: int, d: int, k: int, want: float | None) -> Case:
    def check(X: Any, ours: Any, other: Any) -> str:
        return arrays_close(ours.eigenvalues_, other.eigenvalues_, 1e-9)

    systems = {
        name: _fitted(PEERS[name], "KernelPCA", n_components=k, kernel="rbf")
        for name in ("kernelmill", "scikit-learn")
    }
    return Case(
        name=f"KernelPCA rbf n={n} d={d} k={k}",
        make=lambda: np.random.default_rng(5).standard_normal((n, d)),
        systems=systems,
        check=check,
        work=lambda X, _: Work(28 * 2.0 * n * n, 8.0 * n * n, "28 products of Lanczos' iteration"),
        dtype="float64",
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Tall and square rows, both dtypes, small fits; sources; parts."""
    if quick:
        return [_pca(200, 5, 2, "float64", None), _ica(500, 3, "logcosh", None)]
    return [
        _pca(200_000, 80, 10, "float64", 1.5),
        _pca(200_000, 80, 10, "float32", 1.5),
        _pca(3_000, 2_500, 20, "float64", 1.5, _standing_out),
        _pca(3_000, 2_500, 20, "float32", 1.5, _standing_out),
        _pca(100, 2_000, 10, "float64", 1.5),
        _pca(150, 4, 2, "float64", 2.0),
        _ica(60_000, 20, "logcosh", 3.0),
        _ica(60_000, 20, "cube", 3.0),
        _parts("NMF", 5_000, 100, 2.0, max_iter=30, tol=0),
        _parts("NMF", 5_000, 100, None, max_iter=30, tol=0, solver="mu", beta_loss=1.0),
        _parts("NMF", 200, 5, 2.0, k=2),
        _parts("MiniBatchNMF", 200, 5, 2.0, k=2),
        _kernel(200, 5, 2, 2.0),
    ]
