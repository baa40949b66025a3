"""Scatter plot of clusters in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._style import INK, NOISE, axes_for, cluster_colors, lighter

# Up to this many points each is drawn; a larger sample only adds ink.
MAX_POINTS = 20_000
GRID = 400  # steps of each axis at which the regions are found


class ClusterDisplay:
    """Rows in the plane, coloured by cluster, with centers and regions.

    Make one with `from_estimator`; the parameters are what it computes.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2)
        Rows in the plane.
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
        Figure of the axes.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from kernelmill.plot import ClusterDisplay
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> model = KMeans(3, n_init=1, random_state=0).fit(X)
    >>> ClusterDisplay.from_estimator(model, X).ax_.get_xlabel()[:20]
    'Principal component '
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
        """Draw the clusters that a fitted estimator predicts for X.

        Rows of more than two features are projected on their first two principal components.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``predict``, or with ``labels_`` that belong to X. ``cluster_centers_`` are
            drawn where they exist.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        regions : bool, optional
            Shade what the estimator predicts for each place: the Voronoi cells of k-means. When
            left out, done for two features and an estimator with ``predict``.
        max_points : int, default=20_000
            Most rows to draw; more are sampled.
        random_state : int, RandomState instance or None, default=0
            Draws that sample.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : ClusterDisplay

        Raises
        ------
        ValueError
            If regions are asked for and X has not two features.
        ImportError
            If matplotlib is not installed.

        References
        ----------
        Pearson (1901), "On lines and planes of closest fit to systems of points in space", for the
        projection.
        """
        names = [str(name) for name in getattr(X, "columns", ())]
        predicts = hasattr(estimator, "predict")
        labels = np.asarray(estimator.predict(X) if predicts else estimator.labels_)
        rows = np.asarray(X)
        if rows.ndim != 2 or len(labels) != len(rows):
            raise ValueError(
                f"ClusterDisplay: X must be the matrix that the {len(labels)} labels belong to, "
                f"got shape {rows.shape}"
            )
        d = rows.shape[1]
        if regions is None:
            regions = d == 2 and predicts
        if regions and (d != 2 or not predicts):
            raise ValueError(
                "ClusterDisplay: regions must be left out for X with other than two features or an "
                f"estimator without predict, got {d} features and {type(estimator).__name__}"
            )
        centers = getattr(estimator, "cluster_centers_", None)
        if centers is not None:
            centers = np.asarray(centers)
        if len(rows) > max_points:
            from sklearn.utils import check_random_state

            kept = check_random_state(random_state).permutation(len(rows))[:max_points]
            rows, labels = rows[kept], labels[kept]
        if d > 2:
            from sklearn.decomposition import PCA

            project = PCA(2).fit(rows)
            share = project.explained_variance_ratio_
            axis_names = (
                f"Principal component 1 ({share[0]:.0%} of variance)",
                f"Principal component 2 ({share[1]:.0%} of variance)",
            )
            points = project.transform(rows)
            centers = None if centers is None else project.transform(centers)
        elif d == 1:
            axis_names = (names[0] if names else "Feature 0", "")
            points = np.column_stack([rows[:, 0], np.zeros(len(rows))])
            if centers is not None:
                centers = np.column_stack([centers[:, 0], np.zeros(len(centers))])
        else:
            axis_names = (names[0], names[1]) if names else ("Feature 0", "Feature 1")
            points = rows
        cells = _predicted_grid(estimator, points, X) if regions else None
        display = cls(
            points,
            labels,
            centers=centers,
            regions=cells,
            axis_names=axis_names,
            estimator_name=type(estimator).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ClusterDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``ax.scatter`` for the rows.

        Returns
        -------
        display : ClusterDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        ax = axes_for("ClusterDisplay", ax, (6.4, 5.2))
        seen = self.labels if self.regions is None else np.append(self.labels, self.regions[2])
        clusters = [c for c in np.unique(seen) if not _is_noise(c)]
        colors = dict(zip(clusters, cluster_colors(len(clusters)), strict=True))
        if self.regions is not None:
            self._draw_regions(ax, clusters, colors)
        n = max(len(self.points), 1)
        style = {"s": float(np.clip(9000 / n, 4, 30)), "linewidths": 0, "zorder": 2}
        style["alpha"] = 0.9 if n < 2000 else 0.6
        noise = np.array([_is_noise(label) for label in self.labels], dtype=bool)
        if noise.any():
            ax.scatter(*self.points[noise].T, c=NOISE, label="noise", **{**style, **kwargs})
        for cluster in clusters:
            members = self.labels == cluster
            ax.scatter(
                *self.points[members].T,
                color=colors[cluster],
                label=f"{cluster}",
                **{**style, **kwargs},
            )
        if self.centers is not None:
            ax.scatter(
                *self.centers.T,
                marker="X",
                s=110,
                c=INK,
                edgecolors="white",
                linewidths=1.5,
                zorder=4,
                label="center",
            )
        if len(clusters) <= 12:
            legend = ax.legend(
                title="Cluster", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False
            )
            for handle in legend.legend_handles:
                handle.set_sizes([46])
                handle.set_alpha(1)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        if not self.axis_names[1]:
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        if self.estimator_name:
            ax.set_title(f"{self.estimator_name}: {len(clusters)} clusters", loc="left")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_regions(self, ax: Any, clusters: list[Any], colors: dict[Any, Any]) -> None:
        from matplotlib.colors import ListedColormap

        assert self.regions is not None
        xs, ys, cells = self.regions
        codes = np.searchsorted(np.array(clusters), cells).astype(np.float64)
        shades = ListedColormap([lighter(colors[c], 0.78) for c in clusters])
        dx, dy = (xs[1] - xs[0]) / 2, (ys[1] - ys[0]) / 2
        ax.imshow(
            np.ma.masked_array(codes, mask=[[_is_noise(c) for c in row] for row in cells]),
            extent=(xs[0] - dx, xs[-1] + dx, ys[0] - dy, ys[-1] + dy),
            origin="lower",
            cmap=shades,
            vmin=-0.5,
            vmax=len(clusters) - 0.5,
            interpolation="nearest",
            aspect="auto",
            zorder=0,
        )
        ax.set_xlim(xs[0], xs[-1])
        ax.set_ylim(ys[0], ys[-1])


def _is_noise(label: Any) -> bool:
    return isinstance(label, (int, np.integer)) and label == -1


def _predicted_grid(estimator: Any, points: np.ndarray, X: Any) -> tuple[Any, Any, Any]:
    """Grid over the points, a little wider, and the cluster predicted at each place."""
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.06 * np.where(high > low, high - low, 1)
    xs, ys = (np.linspace(low[i] - pad[i], high[i] + pad[i], GRID) for i in range(2))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    dtype = points.dtype if points.dtype.kind == "f" else np.float64
    places: Any = grid.astype(dtype)
    if hasattr(X, "columns"):
        places = type(X)(dict(zip(X.columns, places.T, strict=True)))
    return xs, ys, np.asarray(estimator.predict(places)).reshape(GRID, GRID)
