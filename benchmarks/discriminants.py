"""Discriminants and naive Bayes beside scikit-learn and scikit-learn-intelex."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ._harness import Case, Work


def _gaussian(n: int, d: int, k: int) -> Any:
    rng = np.random.default_rng(2)
    y = rng.integers(0, k, n)
    return rng.standard_normal((n, d)) + rng.standard_normal((k, d))[y], y


def _counts(n: int, d: int, k: int) -> Any:
    rng = np.random.default_rng(2)
    y = rng.integers(0, k, n)
    return rng.poisson(rng.gamma(2.0, 1.0, (k, d))[y]).astype(np.float64), y


def _text(n: int, d: int, k: int, words: int) -> Any:
    """Rows of so many words, of frequencies that fall by Zipf's law, as CSR."""
    import scipy.sparse

    rng = np.random.default_rng(2)
    shares = np.cumsum(1 / np.arange(1, d + 1) ** 1.1)
    drawn = np.searchsorted(shares / shares[-1], rng.random((n, words)))
    places, counts = np.unique(drawn + np.arange(n)[:, None] * d, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(np.bincount(places // d, minlength=n))])
    rows = scipy.sparse.csr_matrix(
        (counts.astype(np.float64), (places % d).astype(np.int32), starts.astype(np.int32)),
        shape=(n, d),
    )
    return rows, rng.integers(0, k, n)


def _system(package: str, model: str, predicts: bool, **options: Any) -> Callable[[Any], Any]:
    room = "discriminant_analysis" if model.endswith("Analysis") else "naive_bayes"

    def prepare(data: Any) -> Callable[[], Any]:
        kind = getattr(__import__(f"{package}.{room}", fromlist=[model]), model, None)
        if kind is None:
            raise ImportError(f"{package} has no {model}")
        fitted = kind(**options).fit(*data)

        def run() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if predicts:
                    return fitted.predict_proba(data[0])
                return kind(**options).fit(*data)

        return run

    return prepare


def _case(model: str, made: Callable, shape: tuple, predicts: bool = False, **options: Any) -> Case:
    def check(data: Any, ours: Any, other: Any) -> str:
        if not predicts:
            ours, other = (m.predict_proba(data[0][:1000]) for m in (ours, other))
        gap = float(np.abs(ours - other).max())
        return "" if gap < 1e-6 else f"probabilities differ by {gap:.1e}"

    def work(data: Any, _: Any) -> Work:
        X = data[0]
        return Work(0.0, float(getattr(X, "data", X).nbytes), "read X once")

    what = "predict_proba" if predicts else "fit"
    size = f"n={shape[0]} d={shape[1]} classes={shape[2]}"
    return Case(
        f"{model} {what} {size}{' CSR' if made is _text else ''}",
        lambda: made(*shape),
        {name: _system(name, model, predicts, **options)
         for name in ("kernelmill", "sklearn", "sklearnex")},
        check, work, dtype="float64", want=2.0 if shape[0] < 1000 else 3.0,
    )  # fmt: skip


def cases(quick: bool) -> list[Case]:
    """Dense rows, texts, small fits, predictions."""
    if quick:
        return [
            _case("GaussianNB", _gaussian, (300, 4, 3)),
            _case("MultinomialNB", _text, (200, 500, 3, 20), True),
        ]
    dense, small = (400_000, 40, 5), (200, 5, 5)
    gaussian = ("GaussianNB", "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis")
    counts = ("MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB")
    return [
        *(_case(model, _gaussian, dense) for model in gaussian),
        *(_case(model, _counts, dense) for model in counts),
        *(_case(model, _text, (50_000, 20_000, 5, 150)) for model in counts[:3]),
        *(_case(model, _gaussian, small) for model in gaussian),
        *(_case(model, _counts, small) for model in counts),
        *(_case(model, _gaussian, dense, True) for model in gaussian),
        *(_case(model, _counts, dense, True) for model in counts),
    ]
