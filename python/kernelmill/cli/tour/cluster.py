"""Clustering on the tour: handwritten digits, wines, and the colours of a photograph."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ._context import INK, MUTED, Context, Row

N_COLOURS = 32


def rows(context: Context) -> Iterator[Row]:
    """Cluster digits with three models, wines as a tree, the colours of a photograph with two."""
    yield from _digits(context)
    yield from _wines(context)
    yield from _photograph(context)


def _digits(context: Context) -> Iterator[Row]:
    from sklearn.datasets import load_digits
    from sklearn.metrics import adjusted_rand_score

    from ...cluster import BisectingKMeans, ConstrainedKMeans, KMeans

    X, digit = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    device = {"device": context.device}
    models = [
        KMeans(10, n_init=10, random_state=0, **device),
        BisectingKMeans(10, random_state=0, **device),
        # Every digit was written about 180 times, so sizes are known to be from 160 to 200.
        ConstrainedKMeans(10, size_min=160, size_max=200, random_state=0, **device),
    ]
    for model in models:
        _, seconds = context.timed(functools.partial(model.fit, X))
        score = f"ARI {adjusted_rand_score(digit, model.labels_):.2f}"
        name = type(model).__name__
        yield Row(name, "handwritten digits", X.shape, seconds, score, context.where())
    if context.plot:
        _draw_digits(context, models[0], X, digit)


def _draw_digits(context: Context, model, X: np.ndarray, digit: np.ndarray) -> None:
    from ...plot import ClusterDisplay

    figure = context.figure(11, 4.6)
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    left.suptitle("Centers, with the digit that most rows of each show", color=INK, fontsize=12)
    # In the order of the digit that most rows of the cluster show.
    members = [digit[model.labels_ == j] for j in range(10)]
    main = np.array([np.bincount(digits, minlength=10).argmax() for digits in members])
    for axes, j in zip(left.subplots(2, 5).flat, np.argsort(main, kind="stable"), strict=True):
        axes.imshow(model.cluster_centers_[j].reshape(8, 8), cmap="gray_r", interpolation="bicubic")
        share = (members[j] == main[j]).mean()
        axes.set_title(f"{main[j]}", color=INK, fontsize=13, fontweight="bold", pad=4)
        caption = f"cluster {j}\n{share:.0%} of {len(members[j])} rows"
        axes.set_xlabel(caption, color=MUTED, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#d5dae1")
    ClusterDisplay.from_estimator(model, X, ax=right.subplots())
    context.save(figure, "digits", "centers of the handwritten digits, and the clusters in a plane")


def _wines(context: Context) -> Iterator[Row]:
    from sklearn.datasets import load_wine
    from sklearn.metrics import adjusted_rand_score

    from ...cluster import AgglomerativeClustering
    from ...preprocessing import StandardScaler

    X, cultivar = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = AgglomerativeClustering(3)
    _, seconds = context.timed(functools.partial(model.fit, X))
    score = f"ARI {adjusted_rand_score(cultivar, model.labels_):.2f}"
    yield Row("Ward's tree", "wines, standardised", X.shape, seconds, score, context.where())
    if context.plot:
        from ...plot import DendrogramDisplay

        figure = context.figure(11, 5)
        DendrogramDisplay.from_estimator(model, ax=figure.subplots())
        context.save(figure, "wine-tree", "merges of 178 wines by Ward's method")


def _photograph(context: Context) -> Iterator[Row]:
    from sklearn.datasets import load_sample_image

    from ...cluster import KMeans, MiniBatchKMeans

    try:
        photo = load_sample_image("china.jpg")
    except ImportError:
        context.notes.append(
            "No photograph: reading it requires pillow (pip install 'kernelmill[plot]')."
        )
        return
    X = np.ascontiguousarray(photo.reshape(-1, 3), dtype=np.float32) / np.float32(255)
    options = {"n_init": 1, "random_state": 0, "device": context.device}

    model = KMeans(N_COLOURS, **options)
    _, seconds = context.timed(lambda: model.fit(X))
    score = f"PSNR {_psnr(X, model.cluster_centers_, model.labels_):.1f} dB"
    yield Row("KMeans", "photo colours, in memory", X.shape, seconds, score, context.where())
    if context.plot:
        _draw_photograph(context, model, photo, score)

    batches = MiniBatchKMeans(N_COLOURS, **options)
    _, seconds = context.timed(lambda: batches.fit(X))
    score = f"PSNR {_psnr(X, batches.cluster_centers_, batches.labels_):.1f} dB"
    yield Row(
        "MiniBatchKMeans", "photo colours, in memory", X.shape, seconds, score, context.where()
    )

    with tempfile.TemporaryDirectory(prefix="kernelmill-") as folder:
        path = Path(folder) / "pixels.npy"
        np.save(path, X)
        streamed = KMeans(N_COLOURS, **options)
        _, seconds = context.timed(lambda: streamed.fit(path))
        labels = streamed.predict(X)
    score = f"PSNR {_psnr(X, streamed.cluster_centers_, labels):.1f} dB"
    yield Row("KMeans", "photo colours, from disk", X.shape, seconds, score, context.where())


def _psnr(X: np.ndarray, centers: np.ndarray, labels: np.ndarray) -> float:
    """Peak signal-to-noise ratio, in dB, of the picture drawn with one colour per cluster."""
    error = X.astype(np.float64) - centers.astype(np.float64)[labels]
    return float(-10 * np.log10((error**2).mean()))


def _draw_photograph(context: Context, model, photo: np.ndarray, score: str) -> None:
    order = np.argsort(model.cluster_centers_ @ np.array([0.2126, 0.7152, 0.0722]))  # luminance
    colours = np.clip(model.cluster_centers_, 0, 1)
    painted = colours[model.labels_].reshape(photo.shape)
    share = np.bincount(model.labels_, minlength=len(colours))[order] / model.labels_.size

    figure = context.figure(11, 4.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(12, 1))
    distinct = len(np.unique(photo.reshape(-1, 3), axis=0))
    for column, (picture, title) in enumerate(
        [
            (photo, f"Original: {distinct:,} colours"),
            (painted, f"k-means: {len(colours)} colours, {score}"),
        ]
    ):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(picture)
        axes.set_title(title, color=INK, fontsize=12)
        axes.set_axis_off()
    strip = figure.add_subplot(grid[1, :])
    starts = np.concatenate([[0], np.cumsum(share)[:-1]])
    strip.barh(0, share, left=starts, color=colours[order], height=1)
    strip.set(xlim=(0, 1), ylim=(-0.5, 0.5))
    strip.set_axis_off()
    strip.set_title(
        "The palette; widths show each colour's share of the picture", color=MUTED, fontsize=9
    )
    context.save(figure, "photograph", f"the photograph, and the same with {len(colours)} colours")
