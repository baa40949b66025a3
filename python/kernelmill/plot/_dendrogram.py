"""Dendrogram: the merges of a hierarchy, as a tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._pipeline import split
from ._style import FAINT, INK, Display, checked_names, cluster_colors

_MOST_NAMES = 60


class DendrogramDisplay(Display):
    """The merges of a hierarchy by their heights.

    Create one with `from_estimator`, which reads the hierarchy of a fitted model.

    Parameters
    ----------
    linkage_matrix : array-like of shape (n - 1, 4)
        Children, height and size of each merge, as `scipy.cluster.hierarchy` has them.
    threshold : float, optional
        Height below which clusters have a colour; none have by default.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    leaves_ : ndarray of shape (n_leaves,), int64
        Rows from left to right, or clusters where only the last merges are drawn.
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import DendrogramDisplay
    >>> display = DendrogramDisplay([[0, 1, 1.0, 2], [2, 3, 4.0, 3]]).plot()
    >>> display.leaves_
    array([2, 0, 1])
    """

    def __init__(
        self,
        linkage_matrix: Any,
        *,
        threshold: float | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.linkage_matrix = np.asarray(linkage_matrix, np.float64)
        if self.linkage_matrix.ndim != 2 or self.linkage_matrix.shape[1] != 4:
            raise ValueError(
                "DendrogramDisplay: linkage_matrix must have shape (n - 1, 4), got "
                f"{self.linkage_matrix.shape}"
            )
        self.threshold, self.estimator_name = threshold, estimator_name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> DendrogramDisplay:
        """Draw the hierarchy of a fitted model, its clusters in colours.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``linkage_matrix_``, or a pipeline that ends with one.

        Returns
        -------
        display : DendrogramDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or has no hierarchy.

        Examples
        --------
        >>> from kernelmill.cluster import AgglomerativeClustering
        >>> from kernelmill.plot import DendrogramDisplay
        >>> model = AgglomerativeClustering(2).fit([[0.0], [1.0], [9.0], [10.5]])
        >>> DendrogramDisplay.from_estimator(model).leaves_.tolist()
        [0, 1, 2, 3]
        """
        model = split(cls.__name__, estimator, "linkage_matrix_")[1]
        heights = model.linkage_matrix_[:, 2]
        k = int(model.n_clusters_)
        threshold = None
        if 1 < k <= len(heights):
            low = heights[-k] if k <= len(heights) else 0.0
            threshold = float(low + (heights[1 - k] - low) / 2)
        display = cls(
            model.linkage_matrix_, threshold=threshold, estimator_name=type(model).__name__
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, last: int | None = None, names: Any = None, **kwargs: Any
    ) -> DendrogramDisplay:
        """Draw the tree.

        Parameters
        ----------
        last : int, optional
            How many of the last merges to draw; all by default. What lies below is one leaf, named
            by its number of rows.
        names : sequence of str, optional
            Names of the rows; numbers by default.
        **kwargs
            Passed to the ``LineCollection`` of the merges.

        Returns
        -------
        display : DendrogramDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import DendrogramDisplay
        >>> display = DendrogramDisplay([[0, 1, 1.0, 2], [2, 3, 4.0, 3]]).plot(names=list("abc"))
        >>> [text.get_text() for text in display.ax_.get_xticklabels()]
        ['c', 'a', 'b']
        """
        ax = self._axes(ax)
        from matplotlib.collections import LineCollection

        Z = self.linkage_matrix
        n = len(Z) + 1
        first = 0 if last is None else max(0, len(Z) - int(last))
        given = None if names is None else checked_names("DendrogramDisplay", "names", names, n)
        places, leaves = layout_of(Z, first)
        heights = np.concatenate([np.zeros(n), Z[:, 2]])
        heights[: n + first] = 0
        group = self._groups(first)
        tops = np.flatnonzero(group[n:] < 0) + n
        colors = cluster_colors(max(1, int(group.max(initial=-1)) + 1))
        lines, shades = [], []
        for i in range(first, len(Z)):
            a, b = Z[i, :2].astype(int)
            top = Z[i, 2]
            lines.append([(places[a], heights[a]), (places[a], top),
                          (places[b], top), (places[b], heights[b])])  # fmt: skip
            shades.append(colors[group[n + i]] if n + i not in tops else FAINT)
        ax.add_collection(LineCollection(lines, **{"colors": shades, "linewidths": 1.4, **kwargs}))
        if self.threshold is not None:
            ax.axhline(self.threshold, color=INK, linewidth=0.9, linestyle="--")
        ax.set_xlim(-0.5, len(leaves) - 0.5)
        ax.set_ylim(0, 1.04 * float(Z[:, 2].max(initial=0)) or 1.0)
        labels = [
            f"({int(Z[c - n, 3])})" if c >= n else (str(c) if given is None else given[c])
            for c in leaves
        ]
        if len(labels) <= _MOST_NAMES:
            turned = 90 if max(map(len, labels)) > 2 else 0
            ax.set_xticks(range(len(labels)), labels, rotation=turned)
        else:
            ax.set_xticks([])
        ax.tick_params(axis="x", length=0)
        ax.spines["bottom"].set_visible(False)
        ax.set(ylabel="Distance", xlabel="Rows" if first == 0 else "Rows, or numbers of them")
        self.leaves_ = np.array(leaves, np.int64)
        return self._finish(ax, "merges by distance")

    def _groups(self, first: int) -> np.ndarray:
        """The coloured cluster of each node, from left to right; -1 above the threshold."""
        Z, n = self.linkage_matrix, len(self.linkage_matrix) + 1
        group = np.full(2 * n - 1, -1)
        if self.threshold is None:
            return group
        number = 0
        stack = [2 * n - 2]
        while stack:
            node = stack.pop()
            if node < n:
                continue
            a, b = Z[node - n, :2].astype(int)
            if group[node] < 0 and Z[node - n, 2] <= self.threshold:
                group[node] = number
                number += 1
            if group[node] >= 0:
                group[a] = group[b] = group[node]
            stack += [b, a]
        return group


def layout_of(Z: np.ndarray, first: int) -> tuple[np.ndarray, list[int]]:
    """Places of the nodes on the axis, and the leaves from left to right.

    Merges before `first` are leaves.
    """
    n = len(Z) + 1
    places = np.full(2 * n - 1, np.nan)
    leaves: list[int] = []
    stack = [2 * n - 2]
    while stack:
        node = stack.pop()
        if node < n + first:
            places[node] = len(leaves)
            leaves.append(node)
        else:
            a, b = Z[node - n, :2].astype(int)
            stack += [max(a, b), min(a, b)] if Z[node - n, 0] <= Z[node - n, 1] else [a, b]
    for i in range(first, len(Z)):
        a, b = Z[i, :2].astype(int)
        places[n + i] = (places[a] + places[b]) / 2
    return places, leaves
