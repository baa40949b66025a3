"""Scatter plot of clusters in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import column_names, is_frame, to_host
from ._pipeline import feature_names, split, transform
from ._plane import grid, plane, point_style, scatter
from ._rows import MAX_POINTS, DrawnRows, ask, complete, gaussians_of, memberships_of, note_of
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
    centers : array-like of shape (n_clusters, 2), optional
        Centers in the plane.
    regions : tuple of (xs, ys, labels), optional
        Grid coordinates of shape (a,) and (b,), and predicted clusters of shape (b, a).
    noise : int, str or None, default=-1
        Label that is drawn as noise.
    kind : {"cluster", "class"}, default="cluster"
        What labels stand for, in the legend and the title.

    Attributes
    ----------
    ax_, figure_

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.plot import ClusterDisplay
    >>> display = ClusterDisplay([[0, 0], [1, 0], [5, 5]], [0, 0, 1], centers=[[0.5, 0], [5, 5]])
    >>> display.plot().ax_.get_xlabel()
    'Feature 0'
    """

    def __init__(
        self, points: Any, labels: Any, *, centers: Any = None,
        regions: tuple[Any, Any, Any] | None = None,
        axis_names: tuple[str, str] = ("Feature 0", "Feature 1"), noise: Any = -1,
        imputed: Any = None, kind: str = "cluster", note: str | None = None,
        estimator_name: str | None = None
    ) -> None:
        self.points = np.asarray(points)
        self.labels = np.asarray(labels)
        self.centers = None if centers is None else np.asarray(centers)
        self.regions = regions
        self.axis_names = axis_names
        self.noise, self.kind, self.note = noise, kind, note
        self.imputed = np.zeros(len(self.points), bool) if imputed is None else np.asarray(imputed)
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, regions: bool | None = None, max_points: int = MAX_POINTS,
        random_state: Any = 0, ax: Any = None, **kwargs: Any
    ) -> ClusterDisplay:
        """Plot the clusters that a fitted estimator assigns to the rows of X.

        Rows with more than two features are projected onto their first two principal components.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``predict``, or with the ``labels_`` of X; or a fitted pipeline that
            ends with one. ``cluster_centers_`` are drawn if the model has them.
        X : array-like or DataFrame of shape (n_samples, n_features), or a stream
            Rows. A pipeline transforms them first; the plot shows the features that its model sees.
            Rows with missing values (NaN) are drawn hollow at their conditional mean if the model
            is a mixture, and left out otherwise; a note counts them.
        regions : bool, optional
            Shade the plane by predicted cluster or class, which for k-means gives the Voronoi
            cells. By default, done when the model has ``predict`` and sees two features.

        Returns
        -------
        display : ClusterDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or does not cluster, or if regions are requested and the
            model does not see exactly two features.

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
        drawn = DrawnRows(cls.__name__, seen, max_points, random_state)
        predicts, d = hasattr(model, "predict"), drawn.source.n_features
        if regions is None:
            regions = d == 2 and predicts
        if regions and (d != 2 or not predicts):
            raise ValueError(
                "ClusterDisplay: regions must be left out unless X has two features and the "
                f"estimator has predict, got {d} features and {type(model).__name__}"
            )
        labels = drawn.of(drawn.ask(model.predict) if predicts else to_host(model.labels_))
        gaussians = gaussians_of(cls.__name__, model)
        full = complete(
            cls.__name__, drawn.rows, gaussians, lambda: memberships_of(model, drawn)
        )
        rows, imputed = full.rows, full.imputed.any(axis=1)
        names, axis_labels = feature_names(steps, X, drawn.source)
        centers = to_host(getattr(model, "cluster_centers_", None))
        if d == 1:
            # Heights without a meaning, as even as they can be, keep the rows apart.
            rows = np.column_stack([rows[:, 0], np.arange(len(rows)) * 0.6180339887 % 1 - 0.5])
            if centers is not None:
                centers = np.column_stack([centers, np.zeros(len(centers))])
            axis_names = (axis_labels[0], "")
        else:
            origin, axes, axis_names = plane(cls.__name__, rows, names, axis_labels)
            rows = (rows - origin) @ axes
            if centers is not None:
                centers = (np.asarray(centers) - origin) @ axes
        classifies = hasattr(model, "classes_")
        rejects = getattr(model, "contamination", None) is not None
        display = cls(
            rows,
            labels[full.kept],
            centers=centers,
            regions=_predicted_grid(model, rows, seen) if regions else None,
            axis_names=axis_names,
            noise=(model.outlier_label if rejects else None) if classifies else -1,
            imputed=imputed,
            kind="class" if classifies else "cluster",
            note=note_of(int(imputed.sum()), int((~full.kept).sum()), gaussians is not None),
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ClusterDisplay:
        """Draw the rows, centers and regions.

        Parameters
        ----------
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
        clusters = np.unique(shown[shown != self.noise].tolist())
        colors = cluster_colors(len(clusters))
        if self.regions is not None:
            self._draw_regions(ax, clusters, colors)
        style = {**point_style(len(self.points)), "linewidths": 0, **kwargs}
        groups = [*zip(clusters, clusters, colors, strict=True)]
        if (self.labels == self.noise).any():
            groups.insert(0, ("noise" if self.kind == "cluster" else "outlier", self.noise, NOISE))
        for text, label, color in groups:
            members = self.labels == label
            scatter(
                ax, self.points[members], color, self.imputed[members], label=f"{text}", **style
            )
        if self.centers is not None:
            ax.scatter(
                *self.centers.T, marker="X", s=110, c=INK, edgecolors="white", linewidths=1.5,
                zorder=4, label="center",
            )  # fmt: skip
        if len(clusters) <= MOST_IN_LEGEND:
            for handle in legend_beside(ax, title=self.kind.title()).legend_handles:
                handle.set_sizes([46])
                handle.set_alpha(1)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        if not self.axis_names[1]:
            ax.set(yticks=[], ylim=(-2, 2))
            ax.spines["left"].set_visible(False)
        return self._finish(ax, counted(len(clusters), self.kind), self.note)

    def _draw_regions(self, ax: Any, clusters: np.ndarray, colors: list[Any]) -> None:
        from matplotlib.colors import ListedColormap

        assert self.regions is not None
        xs, ys, cells = map(np.asarray, self.regions)
        codes = np.ma.array(np.zeros(cells.shape), mask=True)  # matplotlib reads what is masked
        for code, cluster in enumerate(clusters):
            codes[cells == cluster] = code
        dx, dy = (xs[1] - xs[0]) / 2, (ys[1] - ys[0]) / 2
        ax.imshow(
            codes,
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


def _predicted_grid(model: Any, points: np.ndarray, like: Any) -> tuple[Any, Any, Any]:
    """A grid around the points, and the cluster predicted at each place."""
    xs, ys, grid_points = grid(points.min(axis=0), points.max(axis=0), 0.06, GRID)
    places: Any = grid_points.reshape(-1, 2).astype(points.dtype)
    if is_frame(like):
        make = getattr(type(like), "from_pydict", type(like))  # pyarrow's, and the others'
        places = make(dict(zip(column_names(like), places.T, strict=True)))
    return xs, ys, ask(model.predict, places).reshape(GRID, GRID)
