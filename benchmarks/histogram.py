"""Histogram boosting beside XGBoost, LightGBM and scikit-learn: fits, predictions, one row."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ._harness import Case, Work

TREES = 100


def _make(n: int, d: int) -> tuple[np.ndarray, ...]:
    """Training rows, and as many to judge by."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * n, d), dtype=np.float32)
    signal = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + 0.7 * rng.standard_normal(2 * n)
    y = (signal > 0).astype(int)
    return X[:n], y[:n], X[n:], y[n:]


def _model(system: str, threads: int, trees: int) -> Any:
    """Equal leaves, rate and rounds."""
    if system == "kernelmill":
        from kernelmill.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=trees, early_stopping=False)
    if system == "scikit-learn":
        from sklearn.ensemble import HistGradientBoostingClassifier as Peer

        return Peer(max_iter=trees, early_stopping=False)
    if system == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier(
            n_estimators=trees, max_leaves=31, max_depth=0, grow_policy="lossguide",
            learning_rate=0.1, tree_method="hist", reg_lambda=0.0, n_jobs=threads,
        )  # fmt: skip
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=trees, num_leaves=31, learning_rate=0.1, n_jobs=threads, verbose=-1
    )


SYSTEMS = ("kernelmill", "xgboost", "lightgbm", "scikit-learn")


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _fit(n: int, d: int, trees: int = TREES, want: float | None = None) -> Case:
    def prepared(system: str) -> Any:
        def prepare(data: Any) -> Any:
            model = _model(system, 1 if n <= 1000 else _threads(), trees)
            return lambda: model.fit(*data[:2])

        return prepare

    def check(data: Any, ours: Any, other: Any) -> str:
        from sklearn.metrics import roc_auc_score

        a, b = (roc_auc_score(data[3], m.predict_proba(data[2])[:, 1]) for m in (ours, other))
        return "" if a > b - (0.001 if n > 1000 else 0.05) else f"AUC {a} and {b}"

    return Case(
        f"fit {trees} trees of 31 leaves n={n} d={d} float32",
        lambda: _make(n, d),
        {system: prepared(system) for system in SYSTEMS},
        check,
        lambda data, model: Work(0.0, 2.0 * trees * n * (d + 8), "codes and words, twice a tree"),
        want=want,
    )


def _predict(n: int, rows: int, trees: int = TREES, want: float | None = None) -> Case:
    def make() -> Any:
        X, y, B, _ = _make(n, 30)
        few = min(n, 20_000)
        models = {
            system: _model(system, _threads(), trees).fit(X[:few], y[:few]) for system in SYSTEMS
        }
        return B[:rows], models

    def prepared(system: str) -> Any:
        return lambda data: lambda: data[1][system].predict_proba(data[0])[:, 1]

    def check(data: Any, ours: Any, other: Any) -> str:
        near = float(np.mean(np.abs(ours - other)))
        return "" if near < 0.1 else f"mean difference of probabilities {near}"

    return Case(
        f"predict {trees} trees, {rows} rows of 30 float32",
        make,
        {system: prepared(system) for system in SYSTEMS},
        check,
        lambda data, result: Work(0.0, data[0].nbytes, "the rows read"),
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Large and small fits; predictions of many rows and of one."""
    if quick:
        return [_fit(200, 4, 5), _predict(500, 40, 5)]
    return [
        _fit(200_000, 30, want=1.5),
        _fit(1_000, 10),
        _fit(100, 10),
        _predict(200_000, 200_000, want=1.5),
        _predict(200_000, 1),
    ]
