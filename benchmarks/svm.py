"""Support vector machines beside LIBSVM (scikit-learn) and scikit-learn-intelex."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work

_PACKAGES = {"kernelmill": "kernelmill.svm", "LIBSVM": "sklearn.svm", "sklearnex": "sklearnex.svm"}


def _classes(n: int, d: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_classification

    return make_classification(
        n, d, n_informative=d // 2, flip_y=noise, class_sep=1.5 if noise < 0.1 else 1.0,
        random_state=0,
    )  # fmt: skip


def _numbers(n: int, d: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, np.sin(X[:, 0]) + X[:, 1] ** 2 + noise * rng.normal(size=n)


def _system(module: str, model: str, options: dict[str, Any]) -> Callable[[Any], Any]:
    def prepared(data: Any) -> Callable[[], Any]:
        made = getattr(__import__(module, fromlist=[model]), model)(**options)
        return lambda: made.fit(*data)

    return prepared


def _objective(model: Any, data: Any) -> float:
    """The dual objective, to be maximised, of a machine with a Gaussian kernel."""
    from kernelmill.ops import kernels

    X, y = data
    b, own = np.asarray(model.dual_coef_)[0], model.support_
    gamma = 1 / (X.shape[1] * X.var())
    norm = b @ kernels.apply(X[own], X[own], b[:, None], 2, gamma).ravel()
    if y.dtype.kind == "f":  # a regression
        return float(y[own] @ b - model.epsilon * np.abs(b).sum() - norm / 2)
    return float(np.abs(b).sum() - norm / 2)


def _case(model: str, n: int, d: int, noise: float, **options: Any) -> Case:
    make = _classes if model == "SVC" else _numbers

    def check(data: Any, ours: Any, other: Any) -> str:
        found, want = _objective(ours, data), _objective(other, data)
        return "" if abs(found - want) <= 1e-4 * abs(want) else f"objective {found}, not {want}"

    def work(data: Any, fitted: Any) -> Work:
        rows = len(fitted.support_)
        return Work(rows * n * (2.0 * d + 20), 0.0, "the kernel row of each support vector, once")

    text = " ".join(f"{key}={value}" for key, value in options.items())
    return Case(
        f"{model} rbf n={n} d={d} {text} noise={noise}",
        lambda: make(n, d, noise),
        {name: _system(module, model, options) for name, module in _PACKAGES.items()},
        check,
        work,
        want=4.0 if model == "SVR" else 3.0,
    )


def cases(quick: bool) -> list[Case]:
    """Few and many support vectors, and a regression."""
    if quick:
        return [_case("SVC", 300, 5, 0.01, C=1.0)]
    return [
        _case("SVC", 10_000, 20, 0.01, C=1.0),
        _case("SVC", 20_000, 40, 0.1, C=5.0),
        _case("SVR", 8_000, 10, 0.1, C=3.0),
    ]
