"""Support vector machines on the tour: digits told apart, and the progression of diabetes."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ._context import Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Digits by pairs of machines, and a regression."""
    from sklearn.datasets import load_diabetes, load_digits
    from sklearn.model_selection import train_test_split

    from ...svm import SVC, SVR

    if context.device == "cuda":
        context.notes.append("Support vector machines ran on the CPU.")
    for name, load, model in (
        ("digits", load_digits, SVC(C=10.0)),
        ("diabetes", load_diabetes, SVR(C=100.0, kernel="rbf")),
    ):
        X, y = load(return_X_y=True)
        A, B, a, b = train_test_split(X, y, random_state=0)
        _, seconds = context.timed(functools.partial(model.fit, A, a))
        measure = "R2" if name == "diabetes" else "accuracy"
        score = f"{measure} {model.score(B, b):.3f}"
        yield Row(
            type(model).__name__, f"{name}, held out", A.shape, seconds, score, context.where()
        )
