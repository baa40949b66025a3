"""Walks down fitted trees of histograms: leaves, and what is no tree."""

from __future__ import annotations

import numpy as np

from .tree_walks import CATEGORY, NODE, goes_left, nodes_of


def add_up(X: np.ndarray, words: np.ndarray, root: int, sides: np.ndarray) -> np.ndarray:
    """The value of the leaf of each row in one tree."""
    nodes, out = nodes_of(words), np.zeros(len(X))

    def down(at: int, own: np.ndarray) -> None:
        node = nodes[root + at]
        if node["feature"] < 0:
            out[own] = node["threshold"]
            return
        left = goes_left(node, X[own], sides)
        down(at + 1, own[left])
        down(int(node["right"]), own[~left])

    down(0, np.arange(len(X)))
    return out


def check_spans(name: str, rows: np.ndarray, spans: np.ndarray, n: int) -> None:
    """Raise unless spans and rows lie inside."""
    inside = (spans[:, 0] >= 0) & (spans[:, 0] <= spans[:, 1]) & (spans[:, 1] <= len(rows))
    if not inside.all() or (len(rows) and not (rows.min() >= 0 and rows.max() < n)):
        raise ValueError(
            f"histogram.{name}: spans and rows must lie in {len(rows)} places and {n} rows, got "
            f"others"
        )


def check_nodes(
    name: str, nodes: np.ndarray, roots: np.ndarray, sides: np.ndarray, d: int, k: int
) -> None:
    """Raise unless nodes name what exists."""
    own = np.ascontiguousarray(nodes).view(NODE)[:, 0] if len(nodes) else np.zeros(0, NODE)
    ends = [*roots[1:], len(nodes)][: len(roots)]
    fits = k > 0
    for begin, end in zip(roots, ends, strict=True):
        fits = fits and 0 <= begin < end <= len(nodes)
        for i in range(begin, end) if fits else ():
            feature, right = int(own["feature"][i]), int(own["right"][i])
            if feature < 0:
                continue
            fits = fits and (feature & (CATEGORY - 1)) < d and i - begin + 1 < right < end - begin
            if feature & CATEGORY:
                fits = fits and 0 <= own["threshold"][i] < len(sides)
    if not fits:
        raise ValueError(
            f"histogram.{name}: nodes must name features of X, children behind their parent and "
            "sides that exist, got others"
        )
