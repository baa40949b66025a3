"""Linear models of moments and of losses beside scikit-learn and scikit-learn-intelex."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work


def _classes(n: int, d: int, k: int) -> Any:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, d))
    scores = X @ rng.standard_normal((d, k)) / np.sqrt(d) + rng.gumbel(size=(n, k))
    return X, scores.argmax(1)


def _numbers(n: int, d: int, counts: bool = False) -> Any:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, d))
    mean = X @ rng.standard_normal(d) / np.sqrt(d)
    return X, rng.poisson(np.exp(mean)) if counts else mean + rng.standard_normal(n)


def _system(package: str, model: str, **options: Any) -> Callable[[Any], Any]:
    def prepare(data: Any) -> Callable[[], Any]:
        kind = getattr(__import__(f"{package}.linear_model", fromlist=[model]), model, None)
        if kind is None:
            raise ImportError(f"{package} has no {model}")

        def run() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return kind(**options).fit(*data)

        return run

    return prepare


def _log_loss(data: Any, model: Any) -> float:
    X, y = data
    logs = model.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return float(-logs.sum() + (np.asarray(model.coef_) ** 2).sum() / 2)


def _logistic(n: int, d: int, k: int) -> Case:
    def check(data: Any, ours: Any, other: Any) -> str:
        a, b = _log_loss(data, ours), _log_loss(data, other)
        return "" if a <= b * (1 + 1e-6) else f"objective {a:.9g} above {b:.9g}"

    return Case(
        f"logistic n={n} d={d} classes={k}",
        lambda: _classes(n, d, k),
        {
            "kernelmill": _system("kernelmill", "LogisticRegression"),
            "scikit-learn": _system(
                "sklearn", "LogisticRegression", solver="newton-cholesky", tol=1e-6
            ),
            "scikit-learn lbfgs": _system("sklearn", "LogisticRegression", tol=1e-6, max_iter=1000),
            "sklearnex": _system("sklearnex", "LogisticRegression", tol=1e-6, max_iter=1000),
        },
        check,
        lambda data, _: Work(4.0 * n * d * k, 8.0 * n * d, "one gradient"),
        dtype="float64",
        want=2.0,
    )


def _regression(model: str, n: int, d: int, counts: bool, want: float, **options: Any) -> Case:
    def check(data: Any, ours: Any, other: Any) -> str:
        gap = np.abs(ours.coef_ - other.coef_).max() / np.abs(other.coef_).max()
        return "" if gap < 1e-4 else f"coefficients differ by {gap:.1e}"

    names = ("kernelmill", "sklearn") if counts else ("kernelmill", "sklearn", "sklearnex")
    return Case(
        f"{model} n={n} d={d}",
        lambda: _numbers(n, d, counts),
        {name: _system(name, model, **options) for name in names},
        check,
        lambda data, _: Work(1.0 * n * d * d, 8.0 * n * d, "products of features"),
        dtype="float64",
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Two and seven classes, regressions, small fits."""
    if quick:
        return [_logistic(300, 4, 2)]
    return [
        _regression("Ridge", 400_000, 60, False, 2.0),
        _regression("LinearRegression", 400_000, 60, False, 2.0),
        _regression("RidgeCV", 20_000, 60, False, 3.0, alphas=(0.1, 1.0, 10.0)),
        _regression("LinearRegression", 200, 5, False, 2.0),
        _logistic(150_000, 40, 2),
        _logistic(60_000, 40, 7),
        _logistic(200, 5, 2),
        _regression("PoissonRegressor", 100_000, 30, True, 2.0, alpha=1e-4, tol=1e-6),
    ]
