"""Trees of scikit-learn as ours, and the ensembles that hold them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill.ensemble._isolation import _mean_depth
from kernelmill.ensemble._trees import grown_of, joined
from kernelmill.ops import tree as ops
from kernelmill.tree._fitted import KEPT
from kernelmill.tree._growth import Grown

_NO_SIDES = np.zeros((0, 32), np.uint8)
_ONE = np.ones(1, np.int64)
_NAMES = (
    "children_right", "feature", "threshold", "missing_go_to_left", "impurity",
    "n_node_samples", "weighted_n_node_samples", "value",
)  # fmt: skip


def preorder(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Nodes depth first, left before right, as ours are numbered; children of -1 make a leaf."""
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        if left[node] >= 0:
            stack += [int(right[node]), int(left[node])]
    return np.array(order)


def numbered(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """That order, and the place of each node in it."""
    order = preorder(left, right)
    place = np.empty(len(left), np.int32)
    place[order] = np.arange(len(order))
    return order, place


def largest_below(threshold: np.ndarray, inclusive: bool) -> np.ndarray:
    """The largest float64 x whose rounding to float32 is at most (or below) a threshold.

    So ``x <= largest_below(t)`` goes the way of a library that rounds rows to float32 first. The
    bound is the middle of two neighbouring float32 numbers, which itself rounds to the even one.
    """
    t = np.asarray(threshold, np.float64)
    with np.errstate(over="ignore"):
        low = t.astype(np.float32)
    above = low > t if inclusive else low >= t
    low = np.where(above, np.nextafter(low, np.float32(-np.inf)), low)
    middle = (low.astype(np.float64) + np.nextafter(low, np.float32(np.inf))) / 2
    odd = low.view(np.int32) & 1 == 1
    found = np.where(odd, np.nextafter(middle, -np.inf), middle)
    return np.where(np.isfinite(low), found, t)


def arrays_of(tree: Any) -> dict[str, np.ndarray]:
    """Our arrays of their tree."""
    order, place = numbered(tree.children_left, tree.children_right)
    leaf = tree.children_left[order] < 0
    own = {name: np.array(getattr(tree, name)[order]) for name in _NAMES}
    nodes = np.zeros(len(order), ops.NODE)
    exact = largest_below(own["threshold"], inclusive=True)
    nodes["threshold"] = np.where(leaf, own["threshold"], exact)
    nodes["right"] = place[np.where(leaf, order, own["children_right"])]
    missing = np.where(own["missing_go_to_left"] != 0, ops.MISSING, 0)
    nodes["feature"] = np.where(leaf, -1, own["feature"] | missing)
    stats = [own[name] for name in ("impurity", "weighted_n_node_samples", "n_node_samples")]
    arrays = nodes.view(np.int64).reshape(-1, 2), np.stack(stats, axis=1), own["value"], _NO_SIDES
    return dict(zip(KEPT, arrays, strict=True))


def _about_trees(ours: Any, theirs: Any) -> None:
    classes = np.atleast_1d(getattr(theirs, "n_classes_", 1)).astype(np.int64)
    regression = not hasattr(theirs, "classes_")
    ours._n_classes = np.ones(theirs.n_outputs_, np.int64) if regression else classes
    ours._category_levels, ours.is_categorical_ = {}, None
    if regression:
        ours._one = theirs.n_outputs_ == 1


def tree(ours: Any, theirs: Any) -> None:
    """A single tree."""
    _about_trees(ours, theirs)
    ours._arrays = arrays_of(theirs.tree_)


def _grown(tree: Any, n_classes: np.ndarray | None = None, by_count: bool = False) -> Grown:
    """A tree as it would have grown here, of classes or of means."""
    arrays = arrays_of(tree)
    if by_count:
        arrays["stats"][:, 1] = arrays["stats"][:, 2]
    return grown_of(arrays, n_classes)


def forest(ours: Any, theirs: Any) -> None:
    """Trees whose mean predicts."""
    _about_trees(ours, theirs)
    classification = hasattr(theirs, "classes_")
    own = ours._n_classes if classification else None
    grown = [_grown(member.tree_, own) for member in theirs.estimators_]
    ours._trees = joined(grown, ours._n_classes, classification)
    ours._seed = 0
    if not classification:
        ours._kept = None


def gradient_boosting(ours: Any, theirs: Any) -> None:
    """Stages of trees, a column for each class of several."""
    columns = [[_grown(member.tree_) for member in own] for own in theirs.estimators_.T]
    ours._columns = [joined(column, _ONE, False) for column in columns]
    ours._seed = 0
    start = theirs.init_
    constant = type(start).__name__ in ("DummyClassifier", "DummyRegressor")
    ours._base, ours.init_ = np.zeros(len(columns)), None
    if constant and theirs.init is None:
        ours._base = ours._raw_of(start, np.zeros((1, theirs.n_features_in_)))[0]
    elif theirs.init != "zero":
        ours.init_ = start


def isolation(ours: Any, theirs: Any) -> None:
    """Trees whose depths predict."""
    grown, depths = [], []
    members = zip(
        theirs.estimators_, theirs.estimators_features_, theirs._decision_path_lengths,
        theirs._average_path_length_per_tree, strict=True,
    )  # fmt: skip
    for member, features, nodes, rest in members:
        order = numbered(member.tree_.children_left, member.tree_.children_right)[0]
        depths.append((np.asarray(nodes) + rest - 1.0)[order])  # nodes that are passed, and more
        one = _grown(member.tree_, by_count=True)
        words = one.nodes.view(ops.NODE)[:, 0]
        inner = words["feature"] >= 0
        missing = words["feature"][inner] & ops.MISSING
        own = words["feature"][inner] & ~ops.MISSING
        words["feature"][inner] = np.asarray(features)[own] | missing
        grown.append(one)
    ours._trees = joined(grown, _ONE, False)
    most = np.array([float(theirs.max_samples_)])
    unit = float(_their_mean_depth(most)[0])  # scores are powers of depths by this
    ratio = float(_mean_depth(most)[0]) / unit if unit > 0 else 1.0
    ours._depths = np.concatenate(depths)[:, None] * ratio - float(_mean_depth(most)[0])
    ours._seed = 0


def _their_mean_depth(m: np.ndarray) -> np.ndarray:
    """As scikit-learn has it: the harmonic number of m - 1 is its logarithm and 0.5772."""
    safe = np.maximum(m, 3.0)
    depth = 2.0 * (np.log(safe - 1) + np.euler_gamma) - 2.0 * (safe - 1) / safe
    return np.where(m > 2, depth, np.where(m == 2, 1.0, 0.0))
