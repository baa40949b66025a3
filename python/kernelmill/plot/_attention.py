"""What a network attends to: a heat map of queries and keys, or the words of a text, shaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import to_host
from ._style import FAINT, INK, PALETTE, Display, checked_names, hide_spines

_WIDTH = 0.602  # of a character of the fixed-width font that comes with matplotlib, in font sizes


class AttentionDisplay(Display):
    """Attention weights, as a heat map or as shaded text.

    Parameters
    ----------
    weights : array-like of shape (m, n) or (n,)
        ``weights[i, j]`` is how much query i attends to key j. A vector is the attention of one
        query, which is drawn as the text of the keys with shaded words.
    keys : sequence of str, optional
        Names of the keys, usually words or characters; numbers by default.
    queries : sequence of str, optional
        Names of the queries; those of the keys if there are as many.
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
    >>> from kernelmill.plot import AttentionDisplay
    >>> AttentionDisplay([[1.0, 0.0], [0.4, 0.6]], ["a", "word"]).queries
    ['a', 'word']
    """

    def __init__(
        self,
        weights: Any,
        keys: Sequence[str] | None = None,
        queries: Sequence[str] | None = None,
        *,
        estimator_name: str | None = None,
    ) -> None:
        self.weights = np.asarray(to_host(weights), np.float64)
        if self.weights.ndim not in (1, 2) or not self.weights.size:
            raise ValueError(
                "AttentionDisplay: weights must have shape (m, n) or (n,), got "
                f"{self.weights.shape} (choose a sample and a head)"
            )
        n = self.weights.shape[-1]
        self.keys = checked_names("AttentionDisplay", "keys", keys, n)
        if queries is None and self.weights.shape == (n, n):
            queries = self.keys
        rows = 1 if self.weights.ndim == 1 else len(self.weights)
        self.queries = checked_names("AttentionDisplay", "queries", queries, rows)
        self.estimator_name = estimator_name

    def plot(self, ax: Any = None, **kwargs: Any) -> AttentionDisplay:
        """Draw the weights.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``ax.imshow`` for a matrix, to ``ax.text`` for the words of a text.

        Returns
        -------
        display : AttentionDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from kernelmill.plot import AttentionDisplay
        >>> display = AttentionDisplay([0.1, 0.9], ["a", "word"]).plot()
        >>> [text.get_text() for text in display.ax_.texts]
        ['a', 'word']
        """
        if self.weights.ndim == 1:
            ax = self._axes(ax, (8, 1.2))
            self._draw_text(ax, kwargs)
        else:
            m, n = self.weights.shape
            ax = self._axes(ax, (min(1.5 + 0.28 * n, 12.0), min(1.2 + 0.28 * m, 12.0)))
            style = {"cmap": "Blues", "vmin": 0.0, "aspect": "equal"}
            ax.imshow(self.weights, **{**style, **kwargs})
            ax.set_xticks(range(n), self.keys, rotation=90 if max(map(len, self.keys)) > 1 else 0)
            ax.set_yticks(range(m), self.queries)
            ax.set(xlabel="Attends to", ylabel="From")
            ax.tick_params(length=0, color=FAINT)
        hide_spines(ax)
        return self._finish(ax, "attention")

    def _draw_text(self, ax: Any, kwargs: dict[str, Any]) -> None:
        """Words on a grid of characters, in as many lines as they need."""
        from matplotlib.patches import Rectangle

        size = float(kwargs.pop("fontsize", 9.0))
        # In points; a constrained layout may still widen the axes a little.
        points = ax.get_window_extent().width * 72 / ax.figure.dpi
        columns = max(int(points / (_WIDTH * size)), *map(len, self.keys), 1)
        line = column = 0
        places = []
        for word in self.keys:
            if column + len(word) > columns:
                line, column = line + 1, 0
            places.append((line, column))
            column += len(word) + 1
        largest = float(self.weights.max()) or 1.0
        for word, weight, (row, start) in zip(self.keys, self.weights, places, strict=True):
            share = max(float(weight) / largest, 0.0)
            ax.add_patch(
                Rectangle((start - 0.3, row - 0.42), len(word) + 0.6, 0.84, color=PALETTE[1],
                          alpha=0.85 * share, linewidth=0)
            )  # fmt: skip
            style = {"family": "monospace", "fontsize": size, "color": INK, "va": "center"}
            ax.text(start, row, word, **{**style, **kwargs})
        ax.set(xlim=(-0.5, columns + 0.5), ylim=(line + 0.6, -0.6), xticks=[], yticks=[])
