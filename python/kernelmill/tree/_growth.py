"""Growth of trees by `kernelmill.ops.tree.grow`: targets, limits, and what has grown."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernelmill._estimator._random import generator
from kernelmill._estimator._targets import exponent_of, exponent_of_squares
from kernelmill.ops import histogram
from kernelmill.ops import tree as ops

SAMPLE = 200_000  # rows that thresholds of bins are taken from


@dataclass
class Limits:
    """When a node is a leaf, and how it is split.

    Attributes
    ----------
    criterion, alpha : int, float
        Index into `ops.CRITERIA`, and the level of a quantile.
    unit : float
        Factor of impurities: the absolute error is twice the pinball loss.
    classes : ndarray of shape (n_outputs,) or (0,), int64
        Numbers of classes.
    max_depth, max_leaf_nodes : int or None
    min_samples_split, min_samples_leaf : int
    min_weight_fraction, min_impurity_decrease : float
        Shares of the weight of all rows.
    max_features : int
    in_order : bool
        Look at all features in their order, rather than at drawn ones in the order of drawing.
    random : bool
        One threshold drawn per feature instead of all.
    levels_once : bool
        Levels are put in order once for a tree.
    bagged : bool
        Weights count draws: rows say which child is the larger.
    monotonic : ndarray of shape (d,), int32, or None
    categorical : ndarray of shape (d,), bool, or None
    """

    criterion: int
    classes: np.ndarray
    max_features: int
    alpha: float = 0.5
    unit: float = 1.0
    max_depth: int | None = None
    max_leaf_nodes: int | None = None
    min_samples_split: int = 2
    min_samples_leaf: int = 1
    min_weight_fraction: float = 0.0
    min_impurity_decrease: float = 0.0
    random: bool = False
    monotonic: np.ndarray | None = None
    categorical: np.ndarray | None = None
    in_order: bool = False
    levels_once: bool = False
    bagged: bool = False

    @property
    def rule(self) -> np.ndarray:
        return ops.rule_of(
            self.criterion,
            alpha=self.alpha,
            min_leaf=self.min_samples_leaf,
            min_weight=self.min_weight_fraction,
            min_split=self.min_samples_split,
            max_depth=self.max_depth,
            max_leaf_nodes=self.max_leaf_nodes,
            min_gain=self.min_impurity_decrease / self.unit,
            max_features=None if self.in_order else self.max_features,
            random=self.random,
            levels_once=self.levels_once,
            bagged=self.bagged,
        )

    def most_nodes(self, rows: int) -> int:
        """Nodes of the largest tree over so many rows."""
        leaves = max(1, rows // self.min_samples_leaf)
        if self.max_depth is not None:
            leaves = min(leaves, 2 ** min(self.max_depth, 40))
        if self.max_leaf_nodes is not None:
            leaves = min(leaves, self.max_leaf_nodes)
        return 2 * leaves - 1


@dataclass
class Field:
    """What trees see of the rows.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    ranks : ndarray of shape (d, n, bytes), uint8, or None
        What `ops.rank_columns` gave, or numbers of bins; drawn cuts need none, nor do float32 rows.
    y : ndarray of shape (n, n_outputs), float64
        Divided by a power of 2 where squares would overflow or vanish.
    exponent : int
        That power.
    """

    X: np.ndarray
    ranks: np.ndarray | None
    y: np.ndarray
    exponent: int = 0

    @classmethod
    def of(
        cls, X: np.ndarray, y: np.ndarray, random: bool = False, shared: bool = False
    ) -> Field:
        """For exact cuts; ``shared`` says that many trees grow side by side.

        These look at few features of a node each, and are faster over ranks; one tree after another
        needs less memory without them.
        """
        needed = not random and (shared or X.dtype != np.float32)
        ranks = ops.rank_columns(X, ops.bytes_of_ranks(len(X))) if needed else None
        return cls(X, ranks, *_in_range(y))

    @classmethod
    def binned(cls, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, most: int) -> Field:
        """Features in bins of about equal weight, at most ``most`` each."""
        n, d = X.shape
        edges, count = _edges(X, weight, most - 1)
        codes = histogram.encode(X, edges, count, np.zeros(d, bool), d, 1)
        codes -= 1  # the missing have code 0
        return cls(X, codes.reshape(d, n, 1), *_in_range(y))

    def set_targets(self, y: np.ndarray) -> None:
        """Others, of about the magnitude of those before."""
        self.y = targets_of(np.ldexp(y, -self.exponent) if self.exponent else y)


def _in_range(y: np.ndarray) -> tuple[np.ndarray, int]:
    """Targets that can be squared, and the power of 2 that they are divided by."""
    exponent = exponent_of(y)
    return targets_of(np.ldexp(y, -exponent) if exponent else y), exponent


def _edges(X: np.ndarray, weight: np.ndarray | None, cuts: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, from a sample where rows are many; all where values are few."""
    rows, own = (X, np.zeros(0)) if weight is None else (X[weight > 0], weight[weight > 0])
    if len(rows) <= SAMPLE:
        return histogram.edges(rows, own, cuts)
    chosen = np.sort(generator(0, 2).choice(len(rows), SAMPLE, replace=False))
    edges, count = histogram.edges(rows[chosen], own[chosen] if len(own) else own, cuts)
    few = np.flatnonzero(count < cuts)  # the sample may lack some of them
    if len(few):
        edges[few], count[few] = histogram.edges(rows[:, few], own, cuts)
    return edges, count


def targets_of(y: np.ndarray) -> np.ndarray:
    """Targets as growth reads them."""
    return np.ascontiguousarray(y, np.float64).reshape(len(y), -1)


@dataclass
class Grown:
    """A tree: arrays with one entry per node, depth first.

    Attributes
    ----------
    nodes : ndarray of shape (v, 2), int64
        A view of an array of `ops.NODE`.
    stats : ndarray of shape (v, 3), float64
        Impurity, weight and number of rows.
    value : ndarray of shape (v, width), float64
        Weights of classes, means, or quantiles.
    sides : ndarray of shape (q, 32), uint8
        Codes that go left, of the splits of levels.
    """

    nodes: np.ndarray
    stats: np.ndarray
    value: np.ndarray
    sides: np.ndarray


def _times_power(x: float, exponent: int) -> float:
    """``x 2^exponent``, infinity where it overflows."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(x, exponent))


def splits_of_levels(nodes: np.ndarray) -> np.ndarray:
    """Which nodes, as `ops.NODE`, are splits of levels."""
    return (nodes["feature"] >= 0) & (nodes["feature"] & ops.CATEGORY != 0)


class Nursery:
    """Room in which trees of one kind grow; without ``copy`` they stand until the next call.

    What is not copied keeps its room, of which pages that no tree reached cost nothing.
    """

    def __init__(self, limits: Limits, copy: bool = True) -> None:
        self.limits, self._copy = limits, copy
        self._rule = limits.rule
        self._room: tuple[np.ndarray, ...] = ()

    def grow_one(self, field: Field, weight: np.ndarray | None, seeds: np.ndarray) -> Grown:
        """One tree that takes the room with it, cut to its size."""
        (grown,) = self.grow(field, weight, seeds)
        sizes = len(grown.nodes), len(grown.stats), len(grown.value), len(grown.sides)
        room, self._room = self._room, ()
        del grown  # its views would point to memory that is given back
        for array, size in zip(room, sizes, strict=True):
            array.resize((1, size, array.shape[2]), refcheck=False)
        return Grown(*(array[0] for array in room))

    def grow(self, field: Field, weight: np.ndarray | None, seeds: np.ndarray) -> list[Grown]:
        """One tree per seed, with the weights of its rows, (trees, n), or None for ones."""
        limits, trees = self.limits, len(seeds)
        rows = len(field.y) if weight is None else int((weight > 0).sum(axis=1).max(initial=1))
        width = int(limits.classes.sum()) if len(limits.classes) else field.y.shape[1]
        most = limits.most_nodes(rows)
        if not self._room or self._room[0].shape[0] < trees or self._room[0].shape[1] < most:
            self._room = ()  # given back before there is more
            if trees > 1:  # the next bags may have a few rows more
                most += most // 64
            self._room = (
                np.empty((trees, most, 2), np.int64),
                np.empty((trees, most, 3)),
                np.empty((trees, most, width)),
                np.empty((trees, 0 if limits.categorical is None else most // 2, 32), np.uint8),
            )
        room = [array[:trees] for array in self._room]
        squares = exponent_of_squares(field.exponent)
        if limits.criterion != ops.SQUARED:  # other losses are of the first degree
            squares = field.exponent
        rule = self._rule
        if field.exponent:
            least = _times_power(limits.min_impurity_decrease, -squares)
            rule = replace(limits, min_impurity_decrease=least).rule
        sizes = ops.grow(
            field.X, field.ranks, field.y, weight, limits.classes, rule,
            limits.monotonic, limits.categorical, seeds, *room,
        )  # fmt: skip
        grown = []
        for t, v in enumerate(sizes):
            nodes, stats, value = (array[t, :v] for array in room[:3])
            sets = 0
            if limits.categorical is not None:
                sets = int(splits_of_levels(nodes.view(ops.NODE)[:, 0]).sum())
            own = nodes, stats, value, room[3][t, :sets]
            grown.append(Grown(*(array.copy() if self._copy else array for array in own)))
        for tree in grown if limits.unit != 1.0 else ():
            tree.stats[:, 0] *= limits.unit
        for tree in grown if field.exponent else ():
            tree.stats[:, 0] = np.ldexp(tree.stats[:, 0], squares)
            tree.value[...] = np.ldexp(tree.value, field.exponent)
        return grown
