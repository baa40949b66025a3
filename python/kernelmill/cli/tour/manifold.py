"""Maps on the tour: handwritten digits by PCA, by t-SNE and by UMAP, side by side."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from ._context import INK, Context, Row


def rows(context: Context) -> Iterator[Row]:
    """The digits on three maps; a digit should lie beside its like."""
    from sklearn.datasets import load_digits

    from ...decomposition import PCA
    from ...manifold import TSNE, UMAP, trustworthiness
    from ...neighbors import KNeighborsClassifier

    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    maps = {}
    for model in (PCA(2), TSNE(random_state=0), UMAP(random_state=0)):
        name = type(model).__name__
        maps[name], seconds = context.timed(functools.partial(model.fit_transform, X))
        trust = trustworthiness(X, maps[name], n_neighbors=5)
        found = KNeighborsClassifier(5).fit(maps[name], y).predict(None)
        score = f"accuracy {(found == y).mean():.3f}, trust {trust:.3f}"
        yield Row(name, "digits, 2 dimensions", X.shape, seconds, score, context.where())
    if context.plot:
        _draw(context, maps, y)


def _draw(context: Context, maps: dict[str, np.ndarray], y: np.ndarray) -> None:
    figure = context.figure(15, 5.5)
    for axes, (name, Y) in zip(figure.subplots(1, 3), maps.items(), strict=True):
        axes.scatter(*Y.T, s=5, c=y, cmap="tab10", linewidths=0)
        for digit in range(10):
            middle = np.median(Y[y == digit], axis=0)
            axes.annotate(str(digit), middle, ha="center", va="center", fontsize=14, color=INK)
        axes.set_title(name, loc="left", color=INK)
        axes.set(xticks=[], yticks=[])
        axes.set_aspect("equal", "datalim")
    context.save(figure, "digits-maps", "digits on maps by PCA, t-SNE and UMAP")
