"""Scatter plot of clusters in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._pipeline import feature_names, split, transform
from ._plane import MAX_POINTS, dense_rows, grid, plane, point_style, sample
from ._style import (
    INK,
    MOST_IN_LEGEND,
    NOISE,
    Display,
    cluster_colors,
    counted,
    legend_beside,
    lighter,
)

GRID = 400  # steps of each axis at which the regions are predicted


class ClusterDisplay(Display):
    """Scatter plot of clusters in the plane, with their centers and regions.

    Create one with `from_estimator`, which computes the parameters.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2)
        Coordinates of the rows in the plane.
    labels : array-like of shape (n_samples,)
        Cluster of each row; -1 is drawn as noise.
    centers : array-like of shape (n_clusters, 2), optional
        Centers in the plane.
    regions : tuple of (xs, ys, labels), optional
        Grid coordinates of shape (a,) and (b,), and predicted clusters of shape (b, a).
    axis_names : tuple of two str, default=("Feature 0", "Feature 1")
        Labels of the axes.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.plot import ClusterDisplay
    >>> display = ClusterDisplay([[0, 0], [1, 0], [5, 5]], [0, 0, 1], centers=[[0.5, 0], [5, 5]])
    >>> display.plot().ax_.get_xlabel()
    'Feature 0'
    """

    def __init__(
        self,
        points: Any,
        labels: Any,
        *,
        centers: Any = None,
        regions: tuple[Any, Any, Any] | None = None,
        axis_names: tuple[str, str] = ("Feature 0", "Feature 1"),
        estimator_name: str | None = None,
    ) -> None:
        self.points = np.asarray(points)
        self.labels = np.asarray(labels)
        self.centers = None if centers is None else np.asarray(centers)
        self.regions = regions
        self.axis_names = axis_names
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        regions: bool | None = None,
        max_points: int = MAX_POINTS,
        random_state: Any = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> ClusterDisplay:
        """Plot the clusters that a fitted estimator assigns to the rows of X.

        Rows with more than two features are projected onto their first two principal components.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``predict``, or with the ``labels_`` of X; or a fitted pipeline that
            ends with one. ``cluster_centers_`` are drawn if the model has them.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows. A pipeline transforms them first; the plot shows the features that its model sees.
        regions : bool, optional
            Shade the plane by predicted cluster, which for k-means gives the Voronoi cells. By
            default, done when the model has ``predict`` and sees two features.
        max_points : int, default=20_000
            Maximum number of rows to draw; a random sample is drawn if there are more.
        random_state : int, RandomState instance or None, default=0
            Seed or generator for the sample; pass an int for reproducible results.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : ClusterDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or does not cluster, or if regions are requested and the
            model does not see exactly two features.
        ImportError
            If matplotlib is not installed.

        References
        ----------
        Pearson (1901), "On lines and planes of closest fit to systems of points in space", for the
        projection.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from kernelmill.cluster import KMeans
        >>> from kernelmill.plot import ClusterDisplay
        >>> X = np.random.default_rng(0).standard_normal((60, 2)) * [1, 100]
        >>> model = make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(X)
        >>> ClusterDisplay.from_estimator(model, X).ax_.get_xlabel()
        'Feature 0 (after StandardScaler)'
        """
        steps, model = split(cls.__name__, estimator, "predict", "labels_")
        seen = transform(cls.__name__, steps, X)
        predicts = hasattr(model, "predict")
        labels = np.asarray(model.predict(seen) if predicts else model.labels_)
        shape = np.shape(seen)
        if len(shape) != 2 or len(labels) != shape[0]:
            raise ValueError(
                f"ClusterDisplay: X must be the matrix that the {len(labels)} labels belong to, "
                f"got shape {shape}"
            )
        d = shape[1]
        if regions is None:
            regions = d == 2 and predicts
        if regions and (d != 2 or not predicts):
            raise ValueError(
                "ClusterDisplay: regions must be left out unless X has two features and the "
                f"estimator has predict, got {d} features and {type(model).__name__}"
            )
        chosen = sample(shape[0], max_points, random_state)
        rows = dense_rows(seen, chosen)
        names, axis_labels = feature_names(steps, X, d)
        centers = getattr(model, "cluster_centers_", None)
        if d == 1:
            rows = np.column_stack([rows[:, 0], np.zeros(len(rows))])
            if centers is not None:
                centers = np.column_stack([centers, np.zeros(len(centers))])
            axis_names = (axis_labels[0], "")
        else:
            origin, axes, axis_names = plane(cls.__name__, rows, names, axis_labels)
            rows = (rows - origin) @ axes
            if centers is not None:
                centers = (np.asarray(centers) - origin) @ axes
        display = cls(
            rows,
            labels[chosen],
            centers=centers,
            regions=_predicted_grid(model, rows, seen) if regions else None,
            axis_names=axis_names,
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ClusterDisplay:
        """Draw the rows, centers and regions.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``ax.scatter`` for the rows.

        Returns
        -------
        display : ClusterDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import ClusterDisplay
        >>> display = ClusterDisplay([[0, 0], [1, 0], [5, 5]], ["a", "a", "b"]).plot(marker="s")
        >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
        ['a', 'b']
        """
        ax = self._axes(ax, (6.4, 5.2))
        shown = self.labels if self.regions is None else np.append(self.labels, self.regions[2])
        clusters = np.unique(shown[~_is_noise(shown)])
        colors = cluster_colors(len(clusters))
        if self.regions is not None:
            self._draw_regions(ax, clusters, colors)
        style = {**point_style(len(self.points)), "linewidths": 0, **kwargs}
        noise = _is_noise(self.labels)
        if noise.any():
            ax.scatter(*self.points[noise].T, c=NOISE, label="noise", **style)
        for cluster, color in zip(clusters, colors, strict=True):
            members = self.points[self.labels == cluster]
            ax.scatter(*members.T, color=color, label=f"{cluster}", **style)
        if self.centers is not None:
            ax.scatter(
                *self.centers.T, marker="X", s=110, c=INK, edgecolors="white", linewidths=1.5,
                zorder=4, label="center",
            )  # fmt: skip
        if len(clusters) <= MOST_IN_LEGEND:
            for handle in legend_beside(ax, title="Cluster").legend_handles:
                handle.set_sizes([46])
                handle.set_alpha(1)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        if not self.axis_names[1]:
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        return self._finish(ax, counted(len(clusters), "cluster"))

    def _draw_regions(self, ax: Any, clusters: np.ndarray, colors: list[Any]) -> None:
        from matplotlib.colors import ListedColormap

        assert self.regions is not None
        xs, ys, cells = map(np.asarray, self.regions)
        codes = np.searchsorted(clusters, cells).astype(np.float64)
        dx, dy = (xs[1] - xs[0]) / 2, (ys[1] - ys[0]) / 2
        ax.imshow(
            np.ma.masked_array(codes, mask=_is_noise(cells)),
            extent=(xs[0] - dx, xs[-1] + dx, ys[0] - dy, ys[-1] + dy),
            origin="lower",
            cmap=ListedColormap([lighter(color, 0.78) for color in colors]),
            vmin=-0.5,
            vmax=len(clusters) - 0.5,
            interpolation="nearest",
            aspect="auto",
            zorder=0,
        )
        ax.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))


def _is_noise(labels: np.ndarray) -> np.ndarray:
    return (labels == -1) & (labels.dtype.kind in "iO")


def _predicted_grid(model: Any, points: np.ndarray, like: Any) -> tuple[Any, Any, Any]:
    """A grid around the points, and the cluster predicted at each place."""
    xs, ys, grid_points = grid(points.min(axis=0), points.max(axis=0), 0.06, GRID)
    dtype = points.dtype if points.dtype.kind == "f" else np.float64
    places: Any = grid_points.reshape(-1, 2).astype(dtype)
    if hasattr(like, "columns"):
        places = type(like)(dict(zip(like.columns, places.T, strict=True)))
    return xs, ys, np.asarray(model.predict(places)).reshape(GRID, GRID)
