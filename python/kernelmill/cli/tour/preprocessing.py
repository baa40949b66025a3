"""Preprocessing on the tour: wines measured in units that differ a thousandfold."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ._context import Context, Row


def rows(context: Context) -> Iterator[Row]:
    """Wines by their cultivar: k-means on raw rows, and behind scalers on a file with gaps."""
    from sklearn.datasets import load_wine
    from sklearn.metrics import adjusted_rand_score
    from sklearn.pipeline import make_pipeline

    from ...cluster import KMeans
    from ...preprocessing import MinMaxScaler, RobustScaler, SimpleImputer, StandardScaler

    X, cultivar = load_wine(return_X_y=True)
    device = {"device": context.device}
    X[np.random.default_rng(0).random(X.shape) < 0.05] = np.nan
    with tempfile.TemporaryDirectory(prefix="kernelmill-") as folder:
        path = Path(folder) / "wine.npy"
        np.save(path, X)
        scalers = None, StandardScaler(), RobustScaler(), MinMaxScaler()
        for scaler in scalers:
            steps = [SimpleImputer(strategy="median"), scaler, KMeans(3, random_state=0, **device)]
            model = make_pipeline(*[step for step in steps if step is not None])
            _, seconds = context.timed(functools.partial(model.fit, path))
            score = f"ARI {adjusted_rand_score(cultivar, model[-1].labels_):.2f}"
            name = type(model[-2]).__name__
            yield Row(name, "wines, file with gaps", X.shape, seconds, score, context.where())
