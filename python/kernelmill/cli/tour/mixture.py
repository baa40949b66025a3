"""Mixtures on the tour: three kinds of wine, told apart by their chemistry."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from ._context import INK, Context, Row

# Measurements of the second picture.
SHOWN = ("flavanoids", "color_intensity")


def rows(context: Context) -> Iterator[Row]:
    """Model the chemistry of wines from three cultivars."""
    from sklearn.datasets import load_wine
    from sklearn.metrics import adjusted_rand_score

    from ...mixture import GaussianMixture

    wine = load_wine()
    scaled = (wine.data - wine.data.mean(axis=0)) / wine.data.std(axis=0)
    two = wine.data[:, [wine.feature_names.index(name) for name in SHOWN]]
    options = {"n_init": 10, "random_state": 0, "device": context.device}
    models = []
    for kind, data, X in (("tied", "wines", scaled), ("full", "wines, 2 measurements", two)):
        model = GaussianMixture(3, covariance_type=kind, **options)
        _, seconds = context.timed(functools.partial(model.fit, X))
        score = f"ARI {adjusted_rand_score(wine.target, model.predict(X)):.2f}"
        yield Row("GaussianMixture", data, X.shape, seconds, score, context.where())
        models.append(model)
    if context.plot:
        _draw(context, models, scaled, two, wine.target)


def _draw(context: Context, models, scaled: np.ndarray, two: np.ndarray, cultivar) -> None:
    from ...plot import DensityDisplay

    figure = context.figure(14, 5.2)
    labels = [name.replace("_", " ").capitalize() for name in SHOWN]
    for axes, model, X, title in zip(
        figure.subplots(1, 2),
        models,
        (scaled, two),
        ("13 measurements tell the wines apart", "2 leave doubt: colours mix by membership"),
        strict=True,
    ):
        memberships = model.predict_proba(X)
        # Components in the order of the cultivars that most of their wines come from, so that both
        # pictures have the same colours.
        main = (memberships.T @ np.eye(3)[cultivar]).argmax(axis=1)
        order = np.argsort(main, kind="stable")
        tied = model.covariance_type == "tied"
        shown = SimpleNamespace(
            means_=model.means_[order],
            covariances_=model.covariances_ if tied else model.covariances_[order],
            covariance_type=model.covariance_type,
            weights_=model.weights_[order],
        )
        names = [f"like cultivar {j}" for j in main[order]]
        display = DensityDisplay.from_predictions(
            shown, X, memberships[:, order], component_names=names, ax=axes
        )
        display.ax_.set_title(title, loc="left", color=INK)
    display.ax_.set(xlabel=labels[0], ylabel=labels[1])
    context.save(figure, "wine", "wines in the plane, with the densities of the mixtures")
