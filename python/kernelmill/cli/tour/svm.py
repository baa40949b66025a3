"""Support vector machines on the tour: digits told apart, diabetes, and planes of features."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._context import INK, MUTED, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Digits by pairs of machines and by planes, a regression, and moons by three machines."""
    from sklearn.datasets import load_diabetes, load_digits
    from sklearn.model_selection import train_test_split

    from ...svm import SVC, SVR, LinearSVC

    if context.device == "cuda":
        context.notes.append("Support vector machines ran on the CPU.")
    for name, load, model in (
        ("digits", load_digits, SVC(C=10.0)),
        ("diabetes", load_diabetes, SVR(C=100.0, kernel="rbf")),
        ("digits", load_digits, LinearSVC(C=1e-3, intercept_scaling=np.inf)),
    ):
        X, y = load(return_X_y=True)
        A, B, a, b = train_test_split(X, y, random_state=0)
        _, seconds = context.timed(functools.partial(model.fit, A, a))
        measure = "R2" if name == "diabetes" else "accuracy"
        score = f"{measure} {model.score(B, b):.3f}"
        yield Row(
            type(model).__name__, f"{name}, held out", A.shape, seconds, score, context.where()
        )
    yield from _moons(context)


def _moons(context: Context) -> Iterator[Row]:
    from sklearn.datasets import make_moons
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline

    from ...kernel_approximation import Nystroem
    from ...svm import SVC, LinearSVC

    X, y = make_moons(400, noise=0.25, random_state=0)
    A, B, a, b = train_test_split(X, y, random_state=0)
    plane = LinearSVC(C=10.0)
    features = Nystroem(gamma=1.5, n_components=30, random_state=0)
    models = {
        "a plane": plane,
        "a plane of 30 Nystroem features": make_pipeline(features, LinearSVC(C=10.0)),
        "a Gaussian kernel": SVC(C=10.0, gamma=1.5),
    }
    for name, model in models.items():
        _, seconds = context.timed(functools.partial(model.fit, A, a))
        if name.startswith("a plane of"):
            score = f"accuracy {model.score(B, b):.3f}"
            yield Row("Nystroem, LinearSVC", "moons, held out", A.shape, seconds, score,
                      context.where())  # fmt: skip
    if context.plot:
        _draw(context, models, A, a)


def _draw(context: Context, models: dict[str, Any], X: np.ndarray, y: np.ndarray) -> None:
    from matplotlib.colors import ListedColormap, TwoSlopeNorm
    from sklearn.inspection import DecisionBoundaryDisplay

    figure = context.figure(12, 4)
    points = ListedColormap(["#2171b5", "#cb6a2c"])
    for axes, (name, model) in zip(figure.subplots(1, 3, sharey=True), models.items(), strict=True):
        shown = {"response_method": "decision_function", "ax": axes, "grid_resolution": 200}
        norm = TwoSlopeNorm(0, -3, 3)
        DecisionBoundaryDisplay.from_estimator(
            model, X, plot_method="pcolormesh", cmap="PuOr_r", norm=norm, alpha=0.55, **shown
        )
        DecisionBoundaryDisplay.from_estimator(
            model, X, plot_method="contour", levels=[-1, 0, 1], colors=INK,
            linestyles=["dotted", "solid", "dotted"], **shown,
        )  # fmt: skip
        axes.scatter(*X.T, c=y, s=14, cmap=points, edgecolors="white", linewidths=0.4)
        axes.set_title(name, loc="left", color=INK)
        axes.tick_params(colors=MUTED)
    caption = "moons by a plane, by features, by a kernel: decisions 0 (line), -1 and 1 (dotted)"
    context.save(figure, "moons-machines", caption)
