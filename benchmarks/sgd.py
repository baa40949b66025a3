"""Linear models that are trained row by row beside scikit-learn: the same steps, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work, arrays_close


def _make(n: int, d: int, k: int, density: float, dtype: Any) -> Any:
    rng = np.random.default_rng(11)
    y = rng.integers(0, k, n)
    if density == 1:
        X = rng.standard_normal((n, d)).astype(dtype)
        X[np.arange(n), y % d] += 1
        return X, y
    import scipy.sparse

    X = scipy.sparse.random(n, d, density, format="csr", dtype=dtype, rng=rng)
    halves = X[:, : d // 2].sum(1) > X[:, d // 2 :].sum(1)
    return X, np.asarray(halves).ravel() if k == 2 else y


def _system(package: str, model: str, options: dict[str, Any]) -> Callable[[Any], Any]:
    def prepare(data: Any) -> Callable[[], Any]:
        kind = getattr(__import__(f"{package}.linear_model", fromlist=[model]), model)
        return lambda: kind(**options).fit(*data)

    return prepare


def _case(
    name: str, model: str, shape: tuple[int, int, int], epochs: int, density: float = 1.0,
    dtype: Any = np.float64, **options: Any,
) -> Case:  # fmt: skip
    n, d, k = shape
    options |= {"max_iter": epochs, "tol": None, "shuffle": False}

    def check(data: Any, ours: Any, other: Any) -> str:
        if density < 1:  # scikit-learn's intercept learns 100 times more slowly from CSR rows
            X, y = data
            gain = ours.score(X, y) - other.score(X, y)
            return "" if gain > -0.01 else f"accuracy {-gain:.3f} below scikit-learn's"
        size = np.abs(other.coef_).max()
        return arrays_close(ours.coef_ / size, other.coef_ / size, 0, 1e-3)

    def work(data: Any, _: Any) -> Work:
        stored = data[0].nnz if density < 1 else n * d
        outputs = 1 if k == 2 else k
        return Work(epochs * 2.0 * stored * outputs, 0.0, "a product with each row in each epoch")

    return Case(
        f"{name} n={n} d={d} {'' if density == 1 else f'density={density} '}"
        f"{np.dtype(dtype).name}, {epochs} epochs",
        lambda: _make(n, d, k, density, dtype),
        {
            "kernelmill": _system("kernelmill", model, options),
            "scikit-learn": _system("sklearn", model, options),
        },
        check,
        work,
        dtype="float64",
        want=2.0,
    )


def cases(quick: bool) -> list[Case]:
    """Few and many features, many classes, an L1 penalty, rows of text."""
    rate = {"learning_rate": "constant", "eta0": 1e-3}
    if quick:
        return [_case("perceptron", "Perceptron", (300, 7, 3), 2)]
    return [
        _case("perceptron", "Perceptron", (500, 5, 2), 50),
        _case("perceptron", "Perceptron", (100_000, 20, 2), 5),
        _case("perceptron", "Perceptron", (60_000, 784, 10), 1, dtype=np.float32),
        _case("hinge", "SGDClassifier", (50_000, 200, 2), 5, **rate),
        _case("log-loss", "SGDClassifier", (100_000, 20, 2), 5, loss="log_loss", **rate),
        _case("log-loss L1", "SGDClassifier", (20_000, 200, 2), 3, loss="log_loss", penalty="l1",
              **rate),
        _case("averaged regression", "SGDRegressor", (50_000, 100, 2), 5, average=True, **rate),
        _case("text", "SGDClassifier", (20_000, 50_000, 2), 5, 0.001),
        _case("text of 20 classes", "Perceptron", (10_000, 20_000, 20), 3, 0.005),
    ]  # fmt: skip
