"""Silhouette plot: the coefficients of the rows, sorted within each cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import to_host
from ._pipeline import split, transform
from ._rows import DrawnRows
from ._style import FAINT, INK, Display, cluster_colors


class SilhouetteDisplay(Display):
    """Silhouette coefficients of all rows, grouped by cluster.

    Create one with `from_estimator` or `from_predictions`, which compute the parameters.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Silhouette coefficient of each row.
    n_samples : int, optional
        Number of rows that these were drawn from, if they are a sample.

    Attributes
    ----------
    score_ : float
        Mean of the values.
    ax_, figure_

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis".

    Examples
    --------
    >>> from kernelmill.plot import SilhouetteDisplay
    >>> SilhouetteDisplay([0.5, 0.75, -0.25, 0.5], ["a", "a", "b", "b"]).score_
    0.375
    """

    def __init__(self, values: Any, labels: Any, *, n_samples: int | None = None) -> None:
        self.n_samples = n_samples
        self.values = np.asarray(values, dtype=np.float64)
        self.labels = np.asarray(labels)
        self.score_ = float(self.values.mean())

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, sample_size: int | None = None, random_state: Any = 0,
        ax: Any = None, **kwargs: Any
    ) -> SilhouetteDisplay:
        """Plot the clusters that a fitted estimator assigns to the rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``predict``, or with the ``labels_`` of X; or a fitted pipeline that
            ends with one.
        X : array-like or DataFrame of shape (n_samples, n_features), or a stream
            Rows. A pipeline transforms them first; distances are between the transformed rows.
        sample_size : int, optional
            As in `from_predictions`.
        random_state : int, RandomState instance or None, default=0
            As in `from_predictions`.

        Returns
        -------
        display : SilhouetteDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or does not cluster, or there are fewer than 2 or more
            than n_samples - 1 clusters.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.cluster import KMeans
        >>> from kernelmill.plot import SilhouetteDisplay
        >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
        >>> display = SilhouetteDisplay.from_estimator(KMeans(2, random_state=0).fit(X), X)
        >>> round(display.score_, 4)
        0.8997
        """
        steps, model = split(cls.__name__, estimator, "predict", "labels_")
        drawn = DrawnRows(
            cls.__name__, transform(cls.__name__, steps, X), sample_size, random_state
        )
        labels = drawn.ask(model.predict) if hasattr(model, "predict") else model.labels_
        return cls._of(drawn, labels).plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, X: Any, labels: Any, *, sample_size: int | None = None, random_state: Any = 0,
        ax: Any = None, **kwargs: Any
    ) -> SilhouetteDisplay:
        """Plot the given clusters of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a stream
            Rows.
        labels : array-like of shape (n_samples,)
            Cluster of each row.
        sample_size : int, optional
            Maximum number of rows to use, drawn at random; the cost grows with its square. The
            coefficients are those of these rows among themselves. All rows by default.

        Returns
        -------
        display : SilhouetteDisplay

        Raises
        ------
        ValueError
            As `kernelmill.metrics.silhouette_samples`.

        Examples
        --------
        >>> from kernelmill.plot import SilhouetteDisplay
        >>> X = [[0.0], [1.0], [10.0], [11.0]]
        >>> display = SilhouetteDisplay.from_predictions(X, ["a", "a", "b", "b"])
        >>> round(display.score_, 4)
        0.8997
        """
        drawn = DrawnRows(cls.__name__, X, sample_size, random_state)
        return cls._of(drawn, labels).plot(ax=ax, **kwargs)

    @classmethod
    def _of(cls, drawn: DrawnRows, labels: Any) -> SilhouetteDisplay:
        from ..metrics import silhouette_samples

        labels = drawn.of(np.asarray(to_host(labels)))
        return cls(silhouette_samples(drawn.rows, labels), labels, n_samples=drawn.count)

    def plot(self, ax: Any = None, **kwargs: Any) -> SilhouetteDisplay:
        """Draw one blade per cluster and the mean of all coefficients.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.fill_betweenx`` for every cluster.

        Returns
        -------
        display : SilhouetteDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import SilhouetteDisplay
        >>> display = SilhouetteDisplay([0.5, 0.75, -0.25, 0.5], ["a", "a", "b", "b"]).plot()
        >>> [text.get_text() for text in display.ax_.get_yticklabels()]
        ['a  (2)', 'b  (2)']
        """
        ax = self._axes(ax)
        clusters, codes, sizes = np.unique(self.labels, return_inverse=True, return_counts=True)
        gap = max(1.0, 0.02 * len(self.values))
        top = 0.0
        middles = []
        for code, color in enumerate(cluster_colors(len(clusters))):
            blade = np.sort(self.values[codes == code])[::-1]
            # One step per row; repeated ends make each row a bar, so that a single row is visible.
            edges = top + np.repeat(np.arange(len(blade) + 1), 2)[1:-1]
            style = {"facecolor": color, "linewidth": 0}
            ax.fill_betweenx(edges, 0, np.repeat(blade, 2), **{**style, **kwargs})
            middles.append(top + len(blade) / 2)
            top += len(blade) + gap
        ax.axvline(self.score_, color=INK, linewidth=1.2, linestyle="--")
        ax.annotate(
            f"mean {self.score_:.2f}", (self.score_, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 3), textcoords="offset points", ha="center", va="bottom", color=INK,
        )  # fmt: skip
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
        n, drawn_from = len(self.values), self.n_samples or 0
        note = f", {n:,} of {drawn_from:,} drawn at random" if drawn_from > n else ""
        ax.set(xlabel="Silhouette coefficient", ylabel=f"Cluster (rows{note})")
        return self._finish(ax)
