"""Fitted trees by their definition: nodes, sides, expectations, and what is no tree."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

MISSING = 2**30
CATEGORY = 2**29
CODES = 256
# A node: 16 bytes. A leaf has feature -1; in exact trees `right` is the number of its values, in
# those of histograms `threshold` is its value. An inner node has its left child next to it. The
# missing go left where `feature` has the bit MISSING. With the bit CATEGORY the threshold is the
# number of a row of `sides`, and the feature holds codes from 0 to 255; other codes count as 0.
NODE = np.dtype([("threshold", "f8"), ("feature", "i4"), ("right", "i4")])


def goes_left(node: Any, X: np.ndarray, sides: np.ndarray) -> np.ndarray:
    feature = int(node["feature"])
    x = X[:, feature & (CATEGORY - 1)].astype(np.float64)
    if feature & CATEGORY:
        with np.errstate(invalid="ignore"):
            code = np.where((x >= 0) & (x < 256), x, 0).astype(int)
        return (sides[int(node["threshold"])][code // 8] >> (code % 8)) & 1 == 1
    return np.where(np.isnan(x), feature & MISSING != 0, x <= node["threshold"])


def nodes_of(words: np.ndarray) -> Any:
    return np.ascontiguousarray(words).view(NODE)[:, 0]


def expectation(
    X: np.ndarray, words: np.ndarray, root: int, sides: np.ndarray, cover: np.ndarray,
    values: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Shapley values by all sets of the features of a tree, (n, s, d + 1)."""
    nodes, n = nodes_of(words), len(X)
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
            return np.tile(values[int(node["right"])], (n, 1))
        right = int(node["right"])
        a, b = worth(at + 1, known), worth(right, known)
        if int(node["feature"]) & (CATEGORY - 1) in known:
            return np.where(goes_left(node, X, sides)[:, None], a, b)
        p, q = cover[root + at + 1], cover[root + right]
        return (p * a + q * b) / (p + q)

    features, phi = sorted(used), np.zeros((n, values.shape[1], X.shape[1] + 1))
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
                phi[:, :, f] += share * (sets[tuple(sorted((*s, f)))] - value)
    phi[:, :, -1] = sets[()]
    return phi


def check_nodes(
    name: str, words: np.ndarray, roots: np.ndarray, sides: np.ndarray, d: int,
    values: int = 2**31,
) -> None:  # fmt: skip
    """Raise unless nodes of exact trees name what exists."""
    table = np.ascontiguousarray(words).view(NODE).reshape(-1)
    ends = [*roots[1:], len(table)][: len(roots)]
    for begin, end in zip(roots, ends, strict=True):
        own = table[begin:end] if 0 <= begin < end <= len(table) else table[:0]
        inner = own["feature"] >= 0
        number, right = np.arange(len(own)), own["right"]
        fits = np.where(inner, (right > number + 1) & (right < len(own)), right >= 0)
        fits &= np.where(inner, (own["feature"] & (CATEGORY - 1)) < d, right < values)
        levels = inner & (own["feature"] & CATEGORY != 0)
        side = own["threshold"][levels]
        if not (len(own) and fits.all() and ((side >= 0) & (side < len(sides))).all()):
            raise ValueError(
                f"tree.{name}: nodes must name features of X, children behind their parent, and "
                "values and sides that exist, got others"
            )
