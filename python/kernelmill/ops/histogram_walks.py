"""Walks down fitted trees of histograms: leaves, expectations, and what is no tree."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

MISSING = 2**30
CATEGORY = 2**29
# A node: 16 bytes. A leaf has feature -1 and its value in `threshold`; an inner node has its left
# child next to it. The missing go left where `feature` has the bit MISSING. With the bit CATEGORY
# the threshold is the number of a row of `sides`, and the feature holds codes.
NODE = np.dtype([("threshold", "f8"), ("feature", "i4"), ("right", "i4")])


def _goes_left(node: Any, X: np.ndarray, sides: np.ndarray) -> np.ndarray:
    feature = int(node["feature"])
    x = X[:, feature & (CATEGORY - 1)].astype(np.float64)
    if feature & CATEGORY:
        with np.errstate(invalid="ignore"):
            code = np.where((x >= 0) & (x < 256), x, 0).astype(int)
        return (sides[int(node["threshold"])][code // 8] >> (code % 8)) & 1 == 1
    return np.where(np.isnan(x), feature & MISSING != 0, x <= node["threshold"])


def _nodes(words: np.ndarray) -> Any:
    return np.ascontiguousarray(words).view(NODE)[:, 0]


def add_up(X: np.ndarray, words: np.ndarray, root: int, sides: np.ndarray) -> np.ndarray:
    """The value of the leaf of each row in one tree."""
    nodes, out = _nodes(words), np.zeros(len(X))

    def down(at: int, own: np.ndarray) -> None:
        node = nodes[root + at]
        if node["feature"] < 0:
            out[own] = node["threshold"]
            return
        left = _goes_left(node, X[own], sides)
        down(at + 1, own[left])
        down(int(node["right"]), own[~left])

    down(0, np.arange(len(X)))
    return out


def expectation(
    X: np.ndarray, words: np.ndarray, root: int, sides: np.ndarray, cover: np.ndarray
) -> np.ndarray:
    """Shapley values by all sets of the features of a tree, (n, d + 1)."""
    nodes, n = _nodes(words), len(X)
    used: set[int] = set()

    def collect(at: int) -> None:
        if nodes[root + at]["feature"] >= 0:
            used.add(int(nodes[root + at]["feature"]) & (CATEGORY - 1))
            collect(at + 1)
            collect(int(nodes[root + at]["right"]))

    collect(0)

    def worth(at: int, known: frozenset[int]) -> np.ndarray:
        node = nodes[root + at]
        if node["feature"] < 0:
            return np.full(n, node["threshold"])
        right = int(node["right"])
        a, b = worth(at + 1, known), worth(right, known)
        if int(node["feature"]) & (CATEGORY - 1) in known:
            return np.where(_goes_left(node, X, sides), a, b)
        p, q = cover[root + at + 1], cover[root + right]
        return (p * a + q * b) / (p + q)

    features, phi = sorted(used), np.zeros((n, X.shape[1] + 1))
    sets = {
        s: worth(0, frozenset(s))
        for r in range(len(features) + 1)
        for s in itertools.combinations(features, r)
    }
    m = len(features)
    for f in features:
        for s, value in sets.items():
            if f not in s:
                share = math.factorial(len(s)) * math.factorial(m - len(s) - 1) / math.factorial(m)
                phi[:, f] += share * (sets[tuple(sorted((*s, f)))] - value)
    phi[:, -1] = sets[()]
    return phi


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
