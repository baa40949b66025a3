"""Trees of an ensemble side by side in a few arrays, and what is asked of all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from kernelmill._arrays import all_beside
from kernelmill._estimator._base import warn
from kernelmill.ops import tree as ops
from kernelmill.tree._fitted import KEPT, Tree, arrays_of, pruned, shaped
from kernelmill.tree._growth import Grown, splits_of_levels

# What an ensemble keeps; `begins` are the roots and the end. Leaf values are those of the nodes.
NAMES = ("nodes", "impurity", "weight", "rows", "value", "leaf_values", "begins", "sides")


def cut_back(grown: Grown, n_classes: np.ndarray, classification: bool, alpha: float) -> Grown:
    """A tree after minimal cost-complexity pruning."""
    tree = Tree(arrays_of(grown, n_classes, classification), 1, n_classes)
    return grown_of(pruned(tree, alpha), n_classes if classification else None)


def grown_of(arrays: dict[str, np.ndarray], n_classes: np.ndarray | None) -> Grown:
    """A tree as it grows, from what an estimator keeps; of classes if their numbers are given."""
    nodes, stats, value, sides = (arrays[name] for name in KEPT)
    words = nodes.view(ops.NODE).reshape(-1)
    leaf = words["feature"] < 0
    words["right"][leaf] = np.arange(int(leaf.sum()))
    if n_classes is None:
        value = value[:, :, 0]
    else:
        parts = [value[:, k, :c] * stats[:, 1:2] for k, c in enumerate(n_classes)]
        value = np.concatenate(parts, axis=1)
    return Grown(nodes, stats, np.ascontiguousarray(value), sides)


class Store:
    """Trees side by side, written one after another into arrays with room for those to come.

    Parameters
    ----------
    n_classes : ndarray of shape (n_outputs,)
        Numbers of classes, or ones.
    classification : bool
    expected : int
        How many trees there will be.
    """

    def __init__(self, n_classes: np.ndarray, classification: bool, expected: int) -> None:
        self._n_classes, self._classification = n_classes, classification
        self._expected = expected
        self._begins = [0]
        self._room: list[np.ndarray] = []  # the first five of `NAMES`
        self._sides: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._begins) - 1

    def extend(self, trees: list[Grown]) -> None:
        """More trees. Their leaves take the numbers of their nodes, which are rows of `value`."""
        if not trees:
            return
        begin = self._begins[-1]
        begins = begin + np.cumsum([len(tree.nodes) for tree in trees])
        end = int(begins[-1])
        if not self._room or len(self._room[0]) < end:
            self._widen(end, len(trees))
        weights = np.concatenate([tree.stats[:, 1] for tree in trees])
        with np.errstate(over="ignore"):
            if (weights.astype(self._room[2].dtype) != weights).any():
                wide = np.empty(len(self._room[2]))
                wide[:begin] = self._room[2][:begin]
                self._room[2] = wide
        nodes, impurity, weight, rows, value = (array[begin:end] for array in self._room)
        np.concatenate([tree.nodes for tree in trees], out=nodes)
        np.concatenate([tree.stats[:, 0] for tree in trees], out=impurity)
        weight[:] = weights
        np.concatenate([tree.stats[:, 2] for tree in trees], out=rows, casting="unsafe")
        words = nodes.view(ops.NODE)[:, 0]
        leaf = np.flatnonzero(words["feature"] < 0)
        words["right"][leaf] = begin + leaf
        values = np.concatenate([tree.value for tree in trees])
        shaped(values, self._n_classes, self._classification, value)
        first = begin
        for tree, last in zip(trees, begins.tolist(), strict=True):
            if len(tree.sides):
                own = words[first - begin : last - begin]
                own["threshold"][splits_of_levels(own)] += sum(map(len, self._sides))
            if len(tree.sides) or not self._sides:
                self._sides.append(tree.sides.copy())
            self._begins.append(last)
            first = last

    def _widen(self, needed: int, coming: int) -> None:
        """Room for all trees, if the next ones are like those so far; pages unused cost nothing."""
        begin, done = self._begins[-1], len(self)
        each = needed / (done + coming)
        size = max(needed, int(1.1 * each * max(self._expected, done + coming)))
        width = len(self._n_classes) * int(self._n_classes.max())
        # Weights of bags are whole numbers, and take half of the memory until others come.
        kind = self._room[2].dtype if self._room else np.float32
        room = [
            np.empty((size, 2), np.int64), np.empty(size), np.empty(size, kind),
            np.empty(size, np.int32), np.empty((size, width)),
        ]  # fmt: skip
        for new, old in zip(room, self._room, strict=False):
            new[:begin] = old[:begin]
        self._room = room

    def arrays(self) -> dict[str, Any]:
        """The arrays of the trees, at least one, in `NAMES`."""
        begins = np.array(self._begins)
        own = [array[: begins[-1]] for array in self._room]
        own += own[-1], begins, np.concatenate(self._sides)
        return dict(zip(NAMES, own, strict=True))


def joined(trees: Iterable[Grown], n_classes: np.ndarray, classification: bool) -> dict[str, Any]:
    """The arrays of some trees, at least one, in `NAMES`."""
    trees = list(trees)
    store = Store(n_classes, classification, len(trees))
    store.extend(trees)
    return store.arrays()


def set_before(model: Any, names: Iterable[str]) -> dict[str, Any]:
    """What a fit has set before its first tree: without it an interrupted one is no model."""
    return {name: vars(model)[name] for name in names if name in vars(model)}


def kept_trees(model: Any, n_classes: np.ndarray, classification: bool) -> list[Grown]:
    """The trees of the last fit that ``warm_start`` keeps, or none."""
    if not (model.warm_start and "_trees" in vars(model)):
        return []
    held, owner = Trees(model._trees), type(model).__name__
    if model.n_estimators < len(held):
        raise ValueError(
            f"{owner}: n_estimators must be at least {len(held)}, the number of trees that "
            f"warm_start keeps, got {model.n_estimators}"
        )
    if model.n_estimators == len(held):
        warn(
            f"{owner}: n_estimators must grow for warm_start to add trees, got "
            f"{model.n_estimators} again (Warm-start fitting without increasing n_estimators does "
            "not fit new trees.)",
            UserWarning,
        )
    return [held.grown(t, n_classes, classification) for t in range(len(held))]


class Trees:
    """The trees of a fitted ensemble, read-only.

    Parameters
    ----------
    arrays : dict
        Of `joined`.
    """

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.nodes, self.impurity, self.weight, self.rows, self.value, self.leaf_values = (
            arrays[name] for name in NAMES[:6]
        )
        self.begins, self.sides = arrays["begins"], arrays["sides"]
        self.roots = self.begins[:-1]

    def __len__(self) -> int:
        return len(self.roots)

    def sums(self, X: np.ndarray) -> np.ndarray:
        """Sums over trees of the values of the leaves of each row."""
        return self.sums_of_values(X, self.leaf_values)

    def sums_of_values(self, X: Any, values: np.ndarray) -> Any:
        """The same for other values, which leaves have by their number."""
        return ops.predict(X, *all_beside((self.nodes, self.roots, self.sides, values), X))

    def leaves(self, X: np.ndarray) -> np.ndarray:
        """Number of the leaf of each row in each tree, (n, trees), int32, beside X."""
        return ops.apply(X, *all_beside((self.nodes, self.roots, self.sides), X))

    def leaf_numbers(self, nodes: np.ndarray) -> np.ndarray:
        """Rows of `leaf_values` of leaves."""
        return self.nodes.view(ops.NODE).reshape(-1)["right"][nodes]

    def sums_of(self, X: np.ndarray, tree: int) -> np.ndarray:
        """Values of the leaves of each row in one tree."""
        own = self.nodes[self.begins[tree] : self.begins[tree + 1]]
        trees = own, np.zeros(1, np.int64), self.sides, self.leaf_values
        return ops.predict(X, *all_beside(trees, X))

    def walkable(self) -> tuple[np.ndarray, ...]:
        """Nodes, roots, sides, weights of nodes and values of leaves, as `ops` take them."""
        cover = np.ascontiguousarray(self.weight, np.float64)
        return self.nodes, self.roots, self.sides, cover, self.leaf_values

    def grown(self, tree: int, n_classes: np.ndarray, classification: bool) -> Grown:
        """One tree as it grew."""
        part = slice(self.begins[tree], self.begins[tree + 1])
        nodes = self.nodes[part].copy()
        words = nodes.view(ops.NODE).reshape(-1)
        leaf = words["feature"] < 0
        words["right"][leaf] = np.arange(int(leaf.sum()))
        levels = splits_of_levels(words)
        sides = self.sides[words["threshold"][levels].astype(np.int64)]
        words["threshold"][levels] = np.arange(len(sides))
        value = self.value[part]
        if classification:
            most = int(n_classes.max())
            own = value.reshape(len(value), len(n_classes), most) * self.weight[part, None, None]
            value = np.concatenate([own[:, k, :c] for k, c in enumerate(n_classes)], axis=1)
        stats = np.stack([self.impurity[part], self.weight[part], self.rows[part]], axis=1)
        return Grown(nodes, stats, np.ascontiguousarray(value), sides)

    def path(self, X: np.ndarray) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
        """The nodes that each row passes, tree beside tree, and where each tree begins."""
        n_classes = np.ones(self.value.shape[1], np.int64)
        parts = []
        for t in range(len(self)):
            grown = self.grown(t, n_classes, False)
            own = Tree(arrays_of(grown, n_classes, False), X.shape[1], n_classes)
            parts.append(own.decision_path(X))
        return scipy.sparse.hstack(parts, format="csr"), self.begins.copy()

    def decreases(self, d: int) -> np.ndarray:
        """Decrease of weighted impurity by each feature in each tree, per weight: (trees, d)."""
        words = self.nodes.view(ops.NODE).reshape(-1)
        inner = np.flatnonzero(words["feature"] >= 0)
        number = np.searchsorted(self.begins, inner, side="right") - 1
        own = self.impurity * self.weight
        right = words["right"][inner] + self.begins[number]
        gain = np.maximum(own[inner] - own[inner + 1] - own[right], 0.0)
        feature = words["feature"][inner] & (ops.CATEGORY - 1)
        sums = np.bincount(number * d + feature, gain, minlength=len(self) * d).reshape(-1, d)
        return sums / self.weight[self.roots, None]

    def importances(self, d: int) -> np.ndarray:
        """Mean over trees of the normalised decreases of impurity, normalised."""
        sums = self.decreases(d)
        total = sums.sum(axis=1, keepdims=True)
        sums = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
        mean = sums.mean(axis=0)
        return mean / mean.sum() if mean.sum() > 0 else mean


class Members(Sequence):
    """The trees of an ensemble as estimators, made when they are asked for."""

    def __init__(self, count: int, make: Callable[[int], Any]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._count))]
        i = int(index) + (self._count if index < 0 else 0)
        if not 0 <= i < self._count:
            raise IndexError(f"estimators_: index must be below {self._count}, got {index}")
        return self._make(i)

    def __repr__(self) -> str:
        return f"<{self._count} trees>"
