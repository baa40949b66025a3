"""Naive Bayes on the tour: wines, with and without gaps, and digits as flags."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from ._context import Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Wines by normal distributions, a fifth of the entries missing too, and digits by flags."""
    from sklearn.datasets import load_digits, load_wine
    from sklearn.model_selection import train_test_split

    from ...naive_bayes import BernoulliNB, GaussianNB

    if context.device == "cuda":
        context.notes.append("Naive Bayes ran on the CPU.")
    X, wine = load_wine(return_X_y=True)
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    pixels, digit = load_digits(return_X_y=True)
    for model, data, table, y in (
        (GaussianNB(), "wines, held out", X, wine),
        (GaussianNB(), "wines, a fifth missing", gaps, wine),
        (BernoulliNB(binarize=7.5), "digits, held out", pixels, digit),
    ):
        A, B, a, b = train_test_split(table, y, random_state=0)
        _, seconds = context.timed(functools.partial(model.fit, A, a))
        score = f"accuracy {model.score(B, b):.3f}"
        yield Row(type(model).__name__, data, A.shape, seconds, score, context.where())
