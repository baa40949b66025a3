"""Reachability plot: how rows are reached in the order of OPTICS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._pipeline import split
from ._style import MOST_IN_LEGEND, NOISE, Display, cluster_colors, legend_beside


class ReachabilityDisplay(Display):
    """Reachability of rows in their order: valleys are clusters.

    Create one with `from_estimator`, which reads a fitted `kernelmill.cluster.OPTICS`.

    Parameters
    ----------
    reachability : array-like of shape (n_samples,)
        Reachability of each row.
    ordering : array-like of shape (n_samples,)
        Rows in their order.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import ReachabilityDisplay
    >>> display = ReachabilityDisplay([float("inf"), 1.0, 2.0], [0, 1, 2], [0, 0, -1]).plot()
    >>> display.ax_.get_xlabel()
    'Rows in the order of OPTICS'
    """

    def __init__(
        self, reachability: Any, ordering: Any, labels: Any, *, estimator_name: str | None = None
    ) -> None:
        self.reachability = np.asarray(reachability, np.float64)
        self.ordering = np.asarray(ordering, np.int64)
        self.labels = np.asarray(labels)
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, **kwargs: Any
    ) -> ReachabilityDisplay:
        """Draw the plot of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted `kernelmill.cluster.OPTICS`, or a pipeline that ends with one.

        Returns
        -------
        display : ReachabilityDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or has no reachability.

        Examples
        --------
        >>> from kernelmill.cluster import OPTICS
        >>> from kernelmill.plot import ReachabilityDisplay
        >>> model = OPTICS(min_samples=2).fit([[0.0], [1.0], [2.0], [30.0], [31.0], [32.0]])
        >>> display = ReachabilityDisplay.from_estimator(model)
        >>> len(display.ax_.collections)
        2
        """
        model = split(cls.__name__, estimator, "reachability_")[1]
        display = cls(
            model.reachability_, model.ordering_, model.labels_,
            estimator_name=type(model).__name__
        )  # fmt: skip
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ReachabilityDisplay:
        """Draw one area a cluster; rows that nothing reaches go to the top.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.fill_between`` for every cluster.

        Returns
        -------
        display : ReachabilityDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import ReachabilityDisplay
        >>> display = ReachabilityDisplay([float("inf"), 1.0, 2.0], [0, 1, 2], [0, 0, -1]).plot()
        >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
        ['0', 'noise']
        """
        ax = self._axes(ax, (8.0, 4.0))
        heights, labels = self.reachability[self.ordering], self.labels[self.ordering]
        finite = np.isfinite(heights)
        top = float(heights[finite].max(initial=0)) or 1.0
        heights = np.where(finite, heights, 1.05 * top)
        edges = np.repeat(np.arange(len(heights) + 1), 2)[1:-1]
        clusters = np.unique(labels)
        found = clusters[clusters >= 0]
        shades = dict(zip(found, cluster_colors(len(found)), strict=True)) | {-1: NOISE}
        for cluster in [*found, *clusters[clusters < 0]]:
            style = {"color": shades[cluster], "linewidth": 0,
                     "label": "noise" if cluster < 0 else str(cluster)}  # fmt: skip
            own = np.repeat(labels == cluster, 2)
            ax.fill_between(edges, 0, np.repeat(heights, 2), where=own, **{**style, **kwargs})
        ax.set_xlim(0, len(heights))
        ax.set_ylim(0, 1.05 * top)
        ax.set(xlabel="Rows in the order of OPTICS", ylabel="Reachability")
        if len(clusters) <= MOST_IN_LEGEND:
            legend_beside(ax, title="Cluster")
        return self._finish(ax, "reachability")
