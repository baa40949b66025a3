"""Gaussian processes on the tour: the sunspots with a band, and classes of wine."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._context import INK, MUTED, Context, Row
from .sequences import CYCLE, SUNSPOTS, YEARS

SINCE, UNTIL = 1870, 1975  # rows of the fit; the years after it are forecast


def rows(context: Context) -> Iterator[Row]:
    """A forecast some cycles ahead, and probabilities of three cultivars."""
    from sklearn.datasets import load_wine
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    from ...gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
    from ...gaussian_process.kernels import RBF, ExpSineSquared, WhiteKernel

    if context.device == "cuda":
        context.notes.append("Gaussian processes ran on the CPU.")
    roots = np.sqrt(SUNSPOTS)  # counts: their roots have about one variance
    fitted = (YEARS >= SINCE) & (YEARS < UNTIL)
    ahead = YEARS >= UNTIL
    kernel = 1.0 * ExpSineSquared(1.0, CYCLE, periodicity_bounds=(9.0, 13.0)) * RBF(30.0)
    model = GaussianProcessRegressor(kernel + WhiteKernel(0.1), normalize_y=True)
    X = YEARS[:, None].astype(np.float64)
    _, seconds = context.timed(functools.partial(model.fit, X[fitted], roots[fitted]))
    mean, std = model.predict(X, return_std=True)
    inside = np.abs(roots - mean)[ahead] < 1.2816 * std[ahead]
    yield Row(
        "Gaussian process", f"sunspots {SINCE} to {UNTIL - 1}", X[fitted].shape, seconds,
        f"80 % band holds {inside.mean():.2f}", context.where(),
    )  # fmt: skip
    if context.plot:
        _draw(context, mean, std)

    X, y = load_wine(return_X_y=True)
    A, B, a, b = train_test_split(X, y, random_state=0, stratify=y)
    scaler = StandardScaler().fit(A)
    classifier = GaussianProcessClassifier(1.0 * RBF(3.0))
    _, seconds = context.timed(functools.partial(classifier.fit, scaler.transform(A), a))
    score = f"accuracy {classifier.score(scaler.transform(B), b):.3f}"
    yield Row(
        "Gaussian process", "wine, held out", A.shape, seconds, score, context.where()
    )


def _draw(context: Context, mean: Any, std: Any) -> None:
    figure = context.figure(9, 4)
    axes = figure.subplots()
    shown = YEARS >= 1920
    low, high = (np.maximum(mean + sign * 1.2816 * std, 0)[shown] ** 2 for sign in (-1, 1))
    axes.fill_between(YEARS[shown], low, high, color="#9ecae1", lw=0, label="80 % band")
    axes.plot(YEARS[shown], np.maximum(mean[shown], 0) ** 2, color="#2171b5", label="median")
    axes.plot(YEARS[shown], SUNSPOTS[shown], ".", color=INK, ms=4, label="observed")
    axes.axvline(UNTIL - 0.5, color=MUTED, lw=0.8)
    axes.set(xlabel="year", ylabel="sunspots")
    axes.legend(frameon=False, loc="upper left", ncols=3)
    title = "A Gaussian process goes on with the cycle of the sun, and says when it no longer knows"
    axes.set_title(title, loc="left", color=INK)
    context.save(figure, "sunspots-process", "sunspots by a Gaussian process, with its band")
