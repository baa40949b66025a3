"""Fitted trees of histogram boosting: arrays that predictions walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from kernelmill._arrays import all_beside
from kernelmill.ensemble._hist_bins import Bins
from kernelmill.ops import histogram as ops
from kernelmill.ops.tree import contributions
from kernelmill.tree._fitted import dependence


@dataclass(frozen=True)
class Grown:
    """One tree as `ops.grow` gives it, without unused nodes, and the weight of its nodes."""

    split: np.ndarray
    stats: np.ndarray
    sides: np.ndarray
    cover: np.ndarray


@dataclass(frozen=True)
class Trees:
    """Trees one after another, 16 bytes a node.

    Attributes
    ----------
    nodes : ndarray of shape (v, 2), int64
        Nodes as `ops.NODE`.
    roots : ndarray of shape (t,), int64
        Where each tree begins.
    sides : ndarray of shape (s, 32), uint8
        Codes that go left, of the categorical splits.
    cover, gain : ndarray of shape (v,), float64
        Weight of the training rows of each node, and what its split lowers the objective.
    """

    nodes: np.ndarray
    roots: np.ndarray
    sides: np.ndarray
    cover: np.ndarray
    gain: np.ndarray

    @classmethod
    def none(cls) -> Trees:
        """No tree."""
        nothing = np.zeros(0)
        return cls(
            np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros((0, 32), np.uint8),
            nothing, nothing,
        )  # fmt: skip

    @classmethod
    def of(cls, grown: Sequence[Grown], bins: Bins) -> Trees:
        """The trees of a fit."""
        if not grown:
            return cls.none()
        split = np.concatenate([tree.split for tree in grown])
        stats = np.concatenate([tree.stats for tree in grown])
        sides = np.concatenate([tree.sides for tree in grown])
        sizes = np.array([len(tree.split) for tree in grown])
        feature, code = split[:, 0], split[:, 1]
        inner = feature >= 0
        levels = inner & (code < 0)
        numeric = inner & ~levels
        nodes = np.zeros(len(split), ops.NODE)
        nodes["threshold"] = stats[:, 1]
        f = feature[numeric]
        at = code[numeric] - 1  # behind the last threshold: all that is present goes left
        inside = at < bins.count[f]
        nodes["threshold"][numeric] = np.where(inside, bins.edges[f, at], np.inf)
        nodes["threshold"][levels] = np.arange(int(levels.sum()))
        marks = split[:, 2] * ops.MISSING + levels * ops.CATEGORY
        nodes["feature"] = np.where(inner, feature | marks, -1)
        nodes["right"] = np.where(inner, split[:, 4], 0)
        words = nodes.view(np.int64).reshape(-1, 2)
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        cover = np.concatenate([tree.cover for tree in grown])
        return cls(words, roots, np.ascontiguousarray(sides[levels]), cover, stats[:, 0].copy())

    def __len__(self) -> int:
        return len(self.roots)

    def joined(self, more: Trees) -> Trees:
        """These trees and others behind them."""
        nodes = more.nodes.copy()
        own = nodes.view(ops.NODE)[:, 0]
        levels = (own["feature"] >= 0) & ((own["feature"] & ops.CATEGORY) != 0)
        own["threshold"][levels] += len(self.sides)
        return Trees(
            np.concatenate([self.nodes, nodes]),
            np.concatenate([self.roots, more.roots + len(self.nodes)]),
            np.concatenate([self.sides, more.sides]),
            np.concatenate([self.cover, more.cover]),
            np.concatenate([self.gain, more.gain]),
        )

    def part(self, first: int, last: int) -> Trees:
        """Trees `first` to `last`."""
        ends = np.append(self.roots, len(self.nodes))
        a, b = ends[first], ends[last]
        roots = self.roots[first:last] - a
        return replace(
            self, nodes=self.nodes[a:b], roots=roots, cover=self.cover[a:b], gain=self.gain[a:b]
        )

    def scores(self, X: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The start and the leaves of all trees, (n, k)."""
        return ops.predict(X, *all_beside((self.nodes, self.roots, self.sides, start), X))

    def numbered_leaves(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes whose leaves are numbered, and the values of leaves, (leaves, 1)."""
        nodes = self.nodes.copy()
        own = nodes.view(ops.NODE)[:, 0]
        leaf = own["feature"] < 0
        own["right"][leaf] = np.arange(int(leaf.sum()))
        return nodes, own["threshold"][leaf][:, None]

    def dependence(self, grid: np.ndarray, features: Any, bins: Bins, k: int) -> np.ndarray:
        """Sums over the trees of each of k scores, (k, n_grid); see `tree._fitted.dependence`."""
        own = [int(f) for f in features]
        grid = bins.with_codes_of(grid, own)
        sums = np.zeros((k, len(grid)))
        ends = np.append(self.roots, len(self.nodes))
        for t, (a, b) in enumerate(pairwise(ends)):
            value = self.nodes[a:b].view(ops.NODE)[:, 0]["threshold"]
            tree = self.nodes[a:b], self.sides, self.cover[a:b], value
            sums[t % k] += dependence(*tree, grid, own)
        return sums

    def importances(self, d: int) -> np.ndarray:
        """Share of each feature in what all splits gain."""
        feature = self.nodes.view(ops.NODE)[:, 0]["feature"]
        inner = feature >= 0
        sums = np.bincount(feature[inner] & (ops.CATEGORY - 1), self.gain[inner], d)
        total = sums.sum()
        return sums / total if total > 0 else sums

    def state(self) -> dict[str, Any]:
        """The arrays, for a fitted model."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def scores_of(X: np.ndarray, trees: Trees, start: np.ndarray, bins: Bins) -> np.ndarray:
    """Scores of rows, (n, k)."""
    return trees.scores(bins.with_codes(X), start)


def contributions_of(X: np.ndarray, trees: Trees, start: np.ndarray, bins: Bins) -> np.ndarray:
    """What features add to the scores of rows, (n, k, d + 1)."""
    nodes, values = trees.numbered_leaves()
    X = bins.with_codes(X)
    return contributions(X, nodes, trees.roots, trees.sides, trees.cover, values, start)
