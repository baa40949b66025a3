"""Discriminants on the tour: handwritten digits in the plane that tells them apart best."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from ._context import INK, MUTED, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Digits by planes between Gaussian classes, and their projection."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from ...discriminant_analysis import GaussianClassifier, LinearDiscriminantAnalysis

    if context.device == "cuda":
        context.notes.append("Discriminants ran on the CPU.")
    X, digit = load_digits(return_X_y=True)
    X = X[:, X.std(0) > 0]
    A, B, a, b = train_test_split(X, digit, random_state=0)
    lda = LinearDiscriminantAnalysis()
    # Some pixels are white in all rows of a digit, so only a shared covariance is regular.
    nearest = GaussianClassifier(covariance="diag", shared=True)
    for model, name in ((lda, "discriminants"), (nearest, "nearest mean")):
        _, seconds = context.timed(functools.partial(model.fit, A, a))
        score = f"accuracy {model.score(B, b):.3f}"
        yield Row(name, "digits, held out", A.shape, seconds, score, context.where())
    if context.plot:
        _draw(context, lda, B, b)


def _draw(context: Context, model, X: np.ndarray, digit: np.ndarray) -> None:
    figure = context.figure(11, 5)
    Z, share = model.transform(X), model.explained_variance_ratio_
    for axes, (i, j) in zip(figure.subplots(1, 2), ((0, 1), (2, 3)), strict=True):
        for c in range(10):
            axes.scatter(*Z[digit == c][:, [i, j]].T, s=9, alpha=0.5, color=f"C{c}", linewidths=0)
        for c in range(10):
            x, y = np.median(Z[digit == c][:, [i, j]], axis=0)
            axes.text(x, y, str(c), color=INK, fontsize=15, fontweight="bold", ha="center",
                      va="center")  # fmt: skip
        axes.set_xlabel(f"discriminant {i + 1}, {share[i]:.0%} of what tells them apart",
                        color=MUTED)  # fmt: skip
        axes.set_ylabel(f"discriminant {j + 1}, {share[j]:.0%}", color=MUTED)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle("Digits that the model has not seen, projected", color=INK, fontsize=12)
    context.save(figure, "discriminants", "held-out digits on the first four linear discriminants")
