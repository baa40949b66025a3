"""Names in the nodes of a graph. Imported where a graph is drawn, as it needs matplotlib."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import numpy as np
from matplotlib.text import Text
from matplotlib.textpath import TextPath

from ._style import INK

SIZE = 10.0  # points
SMALLEST = 6.0  # that can be read


class NodeLabel(Text):
    """A name in a node, in lines and at a size that fit, whatever the size of the axes is.

    Parameters
    ----------
    place : ndarray of shape (2,)
        Center of the node.
    radius : float
        Radius of the node.
    name : str
        The name.
    """

    def __init__(self, place: np.ndarray, radius: float, name: str) -> None:
        super().__init__(*place, ha="center", va="center", color=INK, fontsize=SIZE, zorder=5)
        self._radius = radius
        self.write(name)

    def write(self, name: str) -> None:
        """Show a name, in the lines that fit the smallest circle."""
        # Lines end after blanks and hyphens; eight parts can be broken in 128 ways.
        parts = [name]  # of a formula
        if "$" not in name:
            parts = re.split(r"(?<=[\s_/-])(?=[^\s_/-])", name, maxsplit=7)
        ways = itertools.product(("", "\n"), repeat=len(parts) - 1)
        texts = ["".join(itertools.chain(*zip(parts, (*way, ""), strict=True))) for way in ways]
        self._reach, text = min((_reach(text), text) for text in texts)
        self.set_text(text)

    def fitting(self, unit: float) -> float:
        """The font size that fits if a unit of the axes has so many points."""
        return min(SIZE, 0.92 * SIZE * self._radius * unit / self._reach)

    def draw(self, renderer: Any) -> None:
        """Draw the name at the size that fits now."""
        assert self.axes is not None
        origin, one = self.axes.transData.transform([(0, 0), (1, 0)])
        self.set_fontsize(self.fitting((one - origin)[0] / renderer.points_to_pixels(1.0)))
        super().draw(renderer)


def _reach(text: str) -> float:
    """Radius of the circle around lines of text of the full size, in points."""
    lines = text.split("\n")
    heights = 1.2 * SIZE * np.abs(np.arange(len(lines)) - (len(lines) - 1) / 2) + SIZE / 2
    return float(max(map(np.hypot, heights, [_width(line.strip()) / 2 for line in lines])))


@functools.lru_cache(1000)
def _width(line: str) -> float:
    return TextPath((0, 0), line, size=SIZE).get_extents().width if line else 0.0
