"""Rows in the plane: on which two axes and how they are drawn, and the grid behind them."""

from __future__ import annotations

from typing import Any

import numpy as np


def plane(
    name: str, rows: np.ndarray, names: list[str], labels: list[str], features: Any = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """The plane in which rows of at least two features are shown.

    Parameters
    ----------
    names, labels : list of str
        Name and axis label of each feature.
    features : pair of int or str, optional
        Columns to show. When left out, both of two features, else principal components.

    Returns
    -------
    axes : ndarray of shape (d, 2)
        A row x is drawn at ``(x - origin) @ axes``.
    """
    d = rows.shape[1]
    if features is None and d > 2:
        from sklearn.decomposition import PCA

        pca = PCA(2).fit(rows)
        first, second = (
            f"Principal component {i} ({share:.0%} of variance)"
            for i, share in enumerate(pca.explained_variance_ratio_, 1)
        )
        return pca.mean_, pca.components_.T, (first, second)
    chosen = (0, 1) if features is None else tuple(features)
    columns = [names.index(f) if isinstance(f, str) and f in names else f for f in chosen]
    if (
        len(columns) != 2
        or columns[0] == columns[1]
        or not all(isinstance(j, (int, np.integer)) and 0 <= j < d for j in columns)
    ):
        raise ValueError(
            f"{name}: features must be two different columns of the {d} of X, got {features!r}"
        )
    axes = np.eye(d, dtype=rows.dtype)[:, columns]
    return np.zeros(d, rows.dtype), axes, (labels[columns[0]], labels[columns[1]])


def grid(low: Any, high: Any, margin: float, steps: int) -> tuple[Any, Any, np.ndarray]:
    """Coordinates of a grid that is wider than low to high by a share of it on each side.

    Parameters
    ----------
    low, high : array-like of shape (2,)
        Corners.
    margin : float
        That share.
    steps : int
        Points on each axis.

    Returns
    -------
    places : ndarray of shape (steps, steps, 2)
        ``places[b, a]`` is ``(xs[a], ys[b])``.
    """
    pad = margin * np.where(high > low, high - low, 1)
    xs, ys = (np.linspace(low[i] - pad[i], high[i] + pad[i], steps) for i in range(2))
    return xs, ys, np.stack(np.meshgrid(xs, ys), axis=-1)


def point_style(n: int) -> dict[str, Any]:
    """Size and opacity of n points: smaller and fainter where there are many."""
    return {
        "s": float(np.clip(9000 / max(n, 1), 4, 28)),
        "alpha": 0.9 if n < 2000 else 0.6,
        "zorder": 2,
    }


def scatter(ax: Any, points: np.ndarray, colors: Any, imputed: np.ndarray, **style: Any) -> None:
    """Draw points in one colour or one each, those with imputed values as rings."""
    each = np.ndim(colors) == 2
    ax.scatter(*points[~imputed].T, color=colors[~imputed] if each else colors, **style)
    if imputed.any():
        ring = {"facecolors": "none", "edgecolors": colors[imputed] if each else [colors]}
        ax.scatter(*points[imputed].T, **{**style, **ring, "linewidths": 0.9, "label": None})
