"""Gaussian processes beside scikit-learn: fits, likelihoods, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work


def _make(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=n)


def _modules() -> dict[str, Any]:
    import sklearn.gaussian_process
    import sklearn.gaussian_process.kernels

    from kernelmill import gaussian_process

    return {"kernelmill": gaussian_process, "scikit-learn": sklearn.gaussian_process}


def _regressor(module: Any, ard: bool, d: int, **options: Any) -> Any:
    kernel = module.kernels.RBF([1.0] * d if ard else 1.0) + module.kernels.WhiteKernel(0.1)
    return module.GaussianProcessRegressor(kernel, random_state=0, **options)


def _fit(n: int, d: int, label: str, want: float, ard: bool = False) -> Case:
    def prepared(system: str) -> Any:
        def prepare(data: Any) -> Any:
            return lambda: _regressor(_modules()[system], ard, d).fit(*data)

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        a, b = (m.log_marginal_likelihood_value_ for m in (ours, other))
        return "" if a >= b - 1e-5 * abs(b) else f"log marginal likelihoods {a} and {b}"

    return Case(
        f"fit {label} n={n} d={d}",
        lambda: _make(n, d),
        {system: prepared(system) for system in ("kernelmill", "scikit-learn")},
        check,
        lambda data, model: Work(float(n) ** 3, 0.0, "one evaluation with its gradient"),
        want=want,
        compiled=["scikit-learn"],
    )


def _step(n: int, d: int, label: str, ard: bool = False) -> Case:
    def prepared(system: str) -> Any:
        def prepare(data: Any) -> Any:
            model = _regressor(_modules()[system], ard, d, optimizer=None).fit(*data)
            theta = model.kernel_.theta
            return lambda: model.log_marginal_likelihood(theta, eval_gradient=True)

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        error = max(float(np.max(np.abs((a - b) / b))) for a, b in zip(ours, other, strict=True))
        return "" if error < 1e-6 else f"likelihoods or gradients differ by {error}"

    return Case(
        f"likelihood and gradient {label} n={n} d={d}",
        lambda: _make(n, d),
        {system: prepared(system) for system in ("kernelmill", "scikit-learn")},
        check,
        lambda data, result: Work(float(n) ** 3, 0.0, "a factor and its inverse"),
    )


def _predict(n: int, m: int) -> Case:
    def prepared(system: str) -> Any:
        def prepare(data: Any) -> Any:
            model = _regressor(_modules()[system], False, 5, optimizer=None).fit(*data)
            Z = np.random.default_rng(1).normal(size=(m, 5))
            return lambda: model.predict(Z, return_std=True)

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        error = max(float(np.abs(a - b).max()) for a, b in zip(ours, other, strict=True))
        return "" if error < 1e-8 else f"predictions differ by {error}"

    return Case(
        f"means and deviations n={n}, {m} rows",
        lambda: _make(n, 5),
        {system: prepared(system) for system in ("kernelmill", "scikit-learn")},
        check,
        lambda data, result: Work(float(n) ** 2 * m, 0.0, "triangular solves"),
    )


def _classify(n: int) -> Case:
    def prepared(system: str) -> Any:
        def prepare(data: Any) -> Any:
            module = _modules()[system]
            kernel = 1.0 * module.kernels.RBF(1.0)
            model = module.GaussianProcessClassifier(kernel, random_state=0)
            return lambda: model.fit(data[0], data[1] > 0)

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        a, b = (m.log_marginal_likelihood_value_ for m in (ours, other))
        return "" if a >= b - 1e-5 * abs(b) else f"log marginal likelihoods {a} and {b}"

    return Case(
        f"classifier n={n} d=5",
        lambda: _make(n, 5),
        {system: prepared(system) for system in ("kernelmill", "scikit-learn")},
        check,
        lambda data, model: Work(float(n) ** 3, 0.0, "one factor and its inverse"),
    )


def cases(quick: bool) -> list[Case]:
    """Fits with and without a length scale for each feature; steps; predictions; classes."""
    if quick:
        return [_fit(60, 3, "RBF + White", 1), _classify(40)]
    return [
        _fit(200, 5, "RBF + White", 1),
        _fit(2000, 5, "RBF + White", 5),
        _fit(1000, 10, "RBF with ARD + White", 5, ard=True),
        _step(2000, 5, "RBF + White"),
        _step(2000, 10, "RBF with ARD + White", ard=True),
        _step(5000, 5, "RBF + White"),
        _predict(2000, 5000),
        _classify(500),
    ]
