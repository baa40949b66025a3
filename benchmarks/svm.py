"""Support vector machines beside LIBSVM, LIBLINEAR (scikit-learn) and scikit-learn-intelex."""

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
        compiled=["LIBSVM"],
    )


def _search_case(n: int, d: int, noise: float, side: int, folds: int) -> Case:
    """A grid of C and gamma by cross-validation, and the fit of the best."""
    Cs, gammas = np.logspace(-2, 3, side), np.logspace(-4, 1, side)

    def ours(data: Any) -> Callable[[], Any]:
        from kernelmill.svm import SVCCV

        return lambda: SVCCV(Cs=Cs, gammas=gammas, cv=folds).fit(*data)

    def grid(data: Any) -> Callable[[], Any]:
        import joblib
        from sklearn.model_selection import GridSearchCV
        from sklearn.svm import SVC

        def search() -> Any:
            # Threads: LIBSVM lets go of Python's lock, and a process of the harness may have no
            # processes of its own, so that joblib's default would take one job alone.
            with joblib.parallel_config(backend="threading", n_jobs=2):
                return GridSearchCV(SVC(), {"C": Cs, "gamma": gammas}, cv=folds).fit(*data)

        return search

    def check(data: Any, ours: Any, other: Any) -> str:
        # A row whose decision is within the tolerance of 0 may be on either side.
        scores = (np.asarray(m.cv_results_["mean_test_score"]) for m in (ours, other))
        rows = n * float(np.abs(np.subtract(*scores)).max())
        return "" if rows < 2.5 else f"scores differ by {rows:.0f} rows"

    return Case(
        f"SVCCV rbf n={n} d={d}, {side} x {side} grid, {folds} folds",
        lambda: _classes(n, d, noise),
        {"kernelmill": ours, "GridSearchCV of LIBSVM, 2 jobs": grid},
        check,
        want=10.0,
        compiled=["GridSearchCV of LIBSVM, 2 jobs"],
    )


def _text(n: int, d: int, k: int) -> Any:
    """Rows like those of texts: Zipf's words, a tenth of them of a topic, of length 1."""
    import scipy.sparse

    rng = np.random.default_rng(0)
    counts = rng.poisson(60, n) + 5
    shares = np.cumsum(1 / np.arange(1, d + 1) ** 1.05)
    words = np.searchsorted(shares / shares[-1], rng.random(counts.sum()))
    y, row = rng.integers(0, k, n), np.repeat(np.arange(n), counts)
    topic = (y[row] * 1777 + rng.integers(0, d // 25, len(row))) % d
    words = np.where(rng.random(len(row)) < 0.1, topic, words)
    X = scipy.sparse.csr_matrix((np.ones(len(row)), (row, words)), (n, d))
    X.sum_duplicates()
    seen = np.bincount(X.indices, minlength=d)
    X.data = np.log1p(X.data) * np.log((n + 1) / (1 + seen))[X.indices]
    own = np.repeat(np.arange(n), np.diff(X.indptr))
    X.data /= np.sqrt(np.bincount(own, X.data**2, n))[own]
    return X, np.where(rng.random(n) < 0.05, rng.integers(0, k, n), y)


def _primal(model: Any, data: Any) -> float:
    """The objective of linear machines, summed over classes."""
    (X, y), coef = data, np.atleast_2d(model.coef_)
    p, total = np.asarray(X @ coef.T) + model.intercept_, 0.5 * float((coef**2).sum())
    total += 0.5 * float((np.asarray(model.intercept_) ** 2).sum())
    for c in range(len(coef)):
        if y.dtype.kind == "f":
            beyond = np.maximum(0, np.abs(p[:, c] - y) - model.epsilon)
        else:
            own = y == model.classes_[c if len(coef) > 1 else 1]
            beyond = np.maximum(0, 1 - np.where(own, 1, -1) * p[:, c])
        total += model.C * float((beyond**2 if "squared" in model.loss else beyond).sum())
    return total


def _linear_case(name: str, make: Any, model: str, **options: Any) -> Case:
    def check(data: Any, ours: Any, other: Any) -> str:
        a, b = _primal(ours, data), _primal(other, data)
        return "" if a <= b * (1 + 1e-4) else f"objective {a:.6g} above {b:.6g}"

    def work(data: Any, fitted: Any) -> Work:
        size = data[0].nnz if hasattr(data[0], "nnz") else data[0].size
        planes = len(np.atleast_2d(fitted.coef_))
        return Work(2.0 * size * planes, 8.0 * size, "one pass")

    text = " ".join(f"{key}={value}" for key, value in options.items())
    packages = {"kernelmill": "kernelmill.svm", "LIBLINEAR": "sklearn.svm"}
    return Case(
        f"{model} {name} {text}",
        make,
        {n: _system(module, model, options) for n, module in packages.items()},
        check,
        work,
        dtype="float64",
        want=3.0,
        compiled=["LIBLINEAR"],
    )


def _dense(n: int, d: int) -> Any:
    from sklearn.datasets import make_classification

    return make_classification(n, d, n_informative=d // 2, flip_y=0.05, random_state=0)


def _line(n: int, d: int) -> Any:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=d) + rng.standard_t(3, n)


def _linear_cases(n: int, d: int, texts: int, words: int) -> list[Case]:
    return [
        *(
            _linear_case(f"n={n} d={d}", lambda: _dense(n, d), "LinearSVC", loss=loss, max_iter=100)
            for loss in ("squared_hinge", "hinge")
        ),
        _linear_case(f"n={n} d={d}", lambda: _line(n, d), "LinearSVR", epsilon=0.1, max_iter=100),
        *(
            _linear_case(
                f"text n={texts} d={words} k={k}",
                lambda k=k: _text(texts, words, k),
                "LinearSVC",
                loss=loss,
            )
            for k in (2, 20)
            for loss in ("squared_hinge", "hinge")
        ),
    ]


def cases(quick: bool) -> list[Case]:
    """Few and many support vectors, a regression, a grid; linear machines, dense and of texts."""
    if quick:
        return [_case("SVC", 300, 5, 0.01, C=1.0), *_linear_cases(300, 5, 300, 1500)[:4]]
    return [
        _case("SVC", 10_000, 20, 0.01, C=1.0),
        _case("SVC", 20_000, 40, 0.1, C=5.0),
        _case("SVR", 8_000, 10, 0.1, C=3.0),
        _search_case(5_000, 20, 0.1, 8, 5),
        *_linear_cases(100_000, 50, 100_000, 50_000),
    ]
