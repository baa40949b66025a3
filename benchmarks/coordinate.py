"""The lasso and its paths beside scikit-learn and celer: objectives compared in the same run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work


def _make(n: int, d: int, density: float) -> Any:
    rng = np.random.default_rng(3)
    if density < 1:
        import scipy.sparse

        X = scipy.sparse.random(n, d, density, format="csr", rng=rng)
    else:
        X = rng.standard_normal((n, d))
    true = np.zeros(d)
    true[rng.choice(d, max(1, d // 30), replace=False)] = rng.standard_normal(max(1, d // 30))
    y = X @ true
    y = y + 0.3 * y.std() * rng.standard_normal(n)
    top = float(np.abs(X.T @ (y - y.mean())).max()) / n
    return X, y, top


def _lasso(package: str, share: float, **options: Any) -> Callable[[Any], Any]:
    def prepare(data: Any) -> Callable[[], Any]:
        kind = __import__(package, fromlist=["Lasso"]).Lasso
        X, y, top = data
        X = X.tocsc() if package == "celer" and hasattr(X, "tocsc") else X
        return lambda: kind(alpha=top / share, **options).fit(X, y)

    return prepare


def _path(package: str, many: int, depth: float, tol: float) -> Callable[[Any], Any]:
    def prepare(data: Any) -> Callable[[], Any]:
        X, y, _ = data
        y = y - y.mean()
        if package == "celer":
            from celer import celer_path

            top = np.abs(X.T @ y).max() / len(y)
            alphas = np.geomspace(top, top / depth, many)
            X = np.asfortranarray(X)
            return lambda: celer_path(X, y, "lasso", alphas=alphas, tol=tol)
        path = __import__(f"{package}.linear_model", fromlist=["lasso_path"]).lasso_path

        def run() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return path(X, y, alphas=many, eps=1 / depth, tol=tol)

        return run

    return prepare


def _objective(data: Any, share: float, model: Any) -> float:
    X, y, top = data
    rest = y - model.predict(X)
    return float(rest @ rest / (2 * len(y)) + top / share * np.abs(model.coef_).sum())


def cases(quick: bool) -> list[Case]:
    """Wide, tall and sparse rows; a path."""

    def lasso(n: int, d: int, share: float, density: float = 1.0) -> Case:
        def check(data: Any, ours: Any, other: Any) -> str:
            a, b = _objective(data, share, ours), _objective(data, share, other)
            spread = float(np.var(data[1]))
            return "" if a <= b + 1e-4 * spread else f"objective {a:.6g} above {b:.6g}"

        return Case(
            f"lasso n={n} d={d} alpha=max/{share:g}" + ("" if density == 1 else " sparse"),
            lambda: _make(n, d, density),
            {
                "kernelmill": _lasso("kernelmill.linear_model", share),
                "scikit-learn": _lasso("sklearn.linear_model", share),
                "celer": _lasso("celer", share),
            },
            check,
            lambda data, _: Work(2.0 * n * d * density, 8.0 * n * d * density, "one pass"),
            dtype="float64",
            want=1.5,
        )

    def path(n: int, d: int, many: int, depth: float, tol: float = 1e-4) -> Case:
        def check(data: Any, ours: Any, other: Any) -> str:
            y = data[1] - data[1].mean()
            a, b = (
                ((y[:, None] - data[0] @ c) ** 2).sum(0) / (2 * n) + alphas * np.abs(c).sum(0)
                for alphas, c, *_ in (ours, other)
            )
            worst = float((a - b).max() / y.var())
            gap = float(np.max(ours[2])) / (y @ y / n)  # scikit-learn and celer end there, too
            if gap > tol:
                return f"duality gap {gap:.2e} of the variance"
            return "" if worst <= tol else f"objective {worst:.2e} of the variance above"

        return Case(
            f"path of {many} to max/{depth:g} n={n} d={d} tol={tol:g}",
            lambda: _make(n, d, 1.0),
            {name: _path(name, many, depth, tol) for name in ("kernelmill", "sklearn", "celer")},
            check,
            lambda data, _: Work(2.0 * many * n * d, 8.0 * n * d, "a pass for each penalty"),
            dtype="float64",
            want=2.0,
        )

    if quick:
        return [lasso(60, 30, 10)]
    return [
        lasso(4000, 3000, 30),
        lasso(100_000, 200, 100),
        lasso(20_000, 20_000, 30, 0.002),
        path(2000, 300, 100, 1000),
        # At a gap of 1e-4 all the way scikit-learn and celer take minutes.
        path(4000, 3000, 100, 1000, 1e-3),
        path(4000, 3000, 30, 100),
    ]
