"""Silhouette plot: one blade per cluster, rows sorted by their coefficient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._style import FAINT, INK, axes_for, cluster_colors


class SilhouetteDisplay:
    """Silhouette coefficients of all rows, grouped by cluster.

    Make one with `from_estimator` or `from_predictions`; the parameters are what they compute.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Silhouette coefficient of each row.
    labels : array-like of shape (n_samples,)
        Cluster of each row.

    Attributes
    ----------
    score_ : float
        Mean of the values.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the axes.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis".

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from kernelmill.plot import SilhouetteDisplay
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> display = SilhouetteDisplay.from_predictions(X, ["a", "a", "b", "b"])
    >>> round(display.score_, 4)
    0.8997
    """

    def __init__(self, values: Any, labels: Any) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.labels = np.asarray(labels)
        self.score_ = float(self.values.mean())

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: Any = None, **kwargs: Any
    ) -> SilhouetteDisplay:
        """Draw the clusters that a fitted estimator predicts for X.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``predict``, or with ``labels_`` that belong to X.
        X : array-like of shape (n_samples, n_features)
            Rows.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : SilhouetteDisplay

        Raises
        ------
        ValueError
            If there are fewer than 2 or more than n_samples - 1 clusters.
        ImportError
            If matplotlib is not installed.
        """
        labels = estimator.predict(X) if hasattr(estimator, "predict") else estimator.labels_
        return cls.from_predictions(X, labels, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, X: Any, labels: Any, *, ax: Any = None, **kwargs: Any
    ) -> SilhouetteDisplay:
        """Draw given clusters of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        labels : array-like of shape (n_samples,)
            Cluster of each row.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : SilhouetteDisplay

        Raises
        ------
        ValueError
            As `kernelmill.metrics.silhouette_samples`.
        ImportError
            If matplotlib is not installed.
        """
        from ..metrics import silhouette_samples

        return cls(silhouette_samples(X, labels), labels).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> SilhouetteDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``ax.fill_betweenx`` for every cluster.

        Returns
        -------
        display : SilhouetteDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        ax = axes_for("SilhouetteDisplay", ax, (6.4, 4.8))
        clusters, codes, sizes = np.unique(self.labels, return_inverse=True, return_counts=True)
        gap = max(1.0, 0.02 * len(self.values))
        top = 0.0
        middles = []
        for code, color in enumerate(cluster_colors(len(clusters))):
            blade = np.sort(self.values[codes == code])[::-1]
            # A step per row; repeated ends make each row a bar, so that a single row is seen too.
            edges = top + np.repeat(np.arange(len(blade) + 1), 2)[1:-1]
            style = {"facecolor": color, "linewidth": 0}
            ax.fill_betweenx(edges, 0, np.repeat(blade, 2), **{**style, **kwargs})
            middles.append(top + len(blade) / 2)
            top += len(blade) + gap
        ax.axvline(self.score_, color=INK, linewidth=1.2, linestyle="--")
        ax.annotate(
            f"mean {self.score_:.2f}",
            (self.score_, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=INK,
        )
        ax.axvline(0, color=FAINT, linewidth=0.8)
        ax.set_ylim(top - gap / 2, -gap / 2)
        ax.set_xlim(min(-0.05, 1.05 * float(self.values.min())), 1)
        if len(clusters) <= 40:
            names = [f"{c}  ({n})" for c, n in zip(clusters, sizes, strict=True)]
            ax.set_yticks(middles, names)
        else:
            ax.set_yticks([])
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set(xlabel="Silhouette coefficient", ylabel="Cluster (rows)")
        self.ax_, self.figure_ = ax, ax.figure
        return self
