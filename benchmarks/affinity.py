"""Affinity propagation beside scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._harness import Case, Work


def _case(n: int, want: float | None) -> Case:
    def make() -> np.ndarray:
        rng = np.random.default_rng(0)
        centers = 6 * rng.standard_normal((12, 5))
        return centers[rng.integers(0, 12, n)] + rng.standard_normal((n, 5))

    def system(module: str) -> Any:
        def prepare(X: Any) -> Any:
            model = __import__(module, fromlist=["AffinityPropagation"]).AffinityPropagation
            options = {"preference": -200.0, "damping": 0.8, "random_state": 0}
            return lambda: model(**options).fit(X)

        return prepare

    def check(X: Any, ours: Any, other: Any) -> str:
        return "" if np.array_equal(ours.labels_, other.labels_) else "labels differ"

    return Case(
        name=f"AffinityPropagation n={n} d=5 float64",
        make=make,
        systems={
            "kernelmill": system("kernelmill.cluster"),
            "scikit-learn": system("sklearn.cluster"),
        },
        check=check,
        work=lambda X, m: Work(12.0 * n * n * m.n_iter_, 40.0 * n * n * m.n_iter_, "5 n n a step"),
        dtype="float64",
        want=want,
    )


def cases(quick: bool) -> list[Case]:
    """Similarities within the caches, and far beyond them."""
    if quick:
        return [_case(100, None)]
    return [_case(200, 3.0), _case(2_000, 3.0)]
