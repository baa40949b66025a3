"""Our trees as scikit-learn's, and the ensembles that hold them.

A tree of theirs is made as pickle would make it: of the kind that a fit of theirs holds, by
``__reduce__`` and ``__setstate__``, whose arrays have named fields. No private module is imported.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor

from kernelmill.convert._attributes import copied, fitted_on
from kernelmill.ensemble._isolation import _mean_depth
from kernelmill.ensemble._trees import Trees
from kernelmill.tree._fitted import Tree, arrays_of

_ONE = np.ones(1, np.int64)
_FIELDS = {  # of their nodes, and our arrays
    "left_child": "children_left", "right_child": "children_right", "feature": "feature",
    "threshold": "threshold", "impurity": "impurity", "n_node_samples": "n_node_samples",
    "weighted_n_node_samples": "weighted_n_node_samples",
    "missing_go_to_left": "missing_go_to_left",
}  # fmt: skip


def _tree(like: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A tree of theirs, of the sizes of one that it is like."""
    own = Tree(arrays, 1, np.ones(arrays["value"].shape[1]))
    if (own.side >= 0).any():
        raise NotImplementedError(
            "to_sklearn: splits must compare numbers with thresholds, got splits of categorical "
            "levels (scikit-learn's trees have none but in histogram boosting)"
        )
    kind, sizes, state = like.__reduce__()
    leaf = own.children_left < 0
    nodes = np.zeros(len(leaf), state["nodes"].dtype)
    for name, ours in _FIELDS.items():
        nodes[name] = getattr(own, ours)
    nodes["feature"][leaf] = nodes["threshold"][leaf] = -2
    depth, level = 0, np.zeros(1, np.int64)
    while True:
        level = level[~leaf[level]]
        if not len(level):
            break
        depth += 1
        level = np.concatenate([own.children_left[level], own.children_right[level]])
    made = kind(*sizes)
    made.__setstate__({
        **state, "max_depth": depth, "node_count": len(nodes), "nodes": nodes,
        "values": np.ascontiguousarray(own.value, np.float64),
    })  # fmt: skip
    return made


def _member(like: Any, arrays: dict[str, np.ndarray]) -> Any:
    """An estimator of a tree, of one that it is like."""
    made = copy.copy(like)
    made.tree_ = _tree(like.tree_, arrays)
    return made


def _members(like: Any, held: dict[str, Any], n_classes: np.ndarray, classes: bool) -> list[Any]:
    trees = Trees(held)
    grown = (trees.grown(t, n_classes, classes) for t in range(len(trees)))
    return [_member(like, arrays_of(one, n_classes, classes)) for one in grown]


def _classes(ours: Any) -> list[np.ndarray]:
    """Labels of each output."""
    return [ours.classes_] if isinstance(ours.classes_, np.ndarray) else list(ours.classes_)


def _targets(ours: Any) -> Any:
    """Every class of every output, or ones."""
    if not hasattr(ours, "classes_"):
        outputs = getattr(ours, "n_outputs_", 1)
        return np.ones((2, outputs)) if outputs > 1 else np.ones(2)
    own = _classes(ours)
    most = max(2, *map(len, own))
    columns = [np.resize(labels, most) for labels in own]
    one = isinstance(ours.classes_, np.ndarray)
    return columns[0] if one else np.stack(columns, axis=1)


def _rows(ours: Any) -> np.ndarray:
    return np.zeros((len(_targets(ours)), ours.n_features_in_))


def _few(**more: Any) -> dict[str, Any]:
    """Parameters of a fit of one small tree."""
    return {
        "n_estimators": 1, "max_depth": 1, "max_leaf_nodes": None, "min_samples_split": 2,
        "min_samples_leaf": 1, "min_weight_fraction_leaf": 0.0, "min_impurity_decrease": 0.0,
        "ccp_alpha": 0.0, "monotonic_cst": None, "class_weight": None, "warm_start": False,
        "bootstrap": False, "oob_score": False, "max_samples": None, "verbose": 0,
        "n_jobs": None, **more,
    }  # fmt: skip


def _one(theirs: Any, ours: Any) -> None:
    theirs.tree_ = _tree(theirs.tree_, ours._arrays)


def _forest(theirs: Any, ours: Any) -> None:
    like = theirs.estimators_[0]
    theirs.estimators_ = _members(like, ours._trees, ours._n_classes, ours._classification)


def _stages(theirs: Any, ours: Any) -> None:
    like = theirs.estimators_[0, 0]
    columns = [_members(like, held, _ONE, False) for held in ours._columns]
    theirs.estimators_ = np.empty((len(columns[0]), len(columns)), object)
    for k, column in enumerate(columns):
        theirs.estimators_[:, k] = column
    if ours.init_ is not None:
        theirs.init_ = theirs_of(ours.init_)
    elif not ours._base.any():
        theirs.init_ = "zero"
    elif hasattr(theirs, "classes_"):
        theirs.init_ = DummyClassifier().fit(np.zeros((len(ours.classes_), 1)), ours.classes_)
        theirs.init_.class_prior_ = _prior(ours)
    else:
        constant = float(ours._base[0])
        theirs.init_ = DummyRegressor(strategy="constant", constant=constant).fit([[0.0]], [0.0])


def theirs_of(model: Any) -> Any:
    """A fitted model as one of theirs, if it is of ours."""
    from kernelmill.convert import to_sklearn

    ours = type(model).__module__.partition(".")[0] == "kernelmill"
    return to_sklearn(model) if ours else copy.deepcopy(model)


def members(theirs: Any, ours: Any) -> None:
    """Of AdaBoost: all else that it predicts with is public."""
    copied(ours, theirs)
    theirs.estimators_ = [theirs_of(member) for member in ours.estimators_]
    theirs.estimator_ = clone(theirs.estimators_[0])


def _prior(ours: Any) -> np.ndarray:
    """The shares of the classes whose link is what raw predictions begin with."""
    base = ours._base
    if len(base) > 1:
        share = np.exp(base - base.max())
        return share / share.sum()
    steep = 2.0 if ours.loss == "exponential" else 1.0  # half the logit there
    odd = np.exp(-steep * base)
    return np.concatenate([odd / (1 + odd), 1 / (1 + odd)])


def _isolating(theirs: Any, ours: Any) -> None:
    """Depths are those of ours, in the unit of theirs (its harmonic numbers are rounded)."""
    theirs._max_samples = int(ours.max_samples_)
    theirs.estimators_ = _members(theirs.estimators_[0], ours._trees, _ONE, False)
    count, trees = len(theirs.estimators_), Trees(ours._trees)
    theirs.estimators_features_ = [np.arange(ours.n_features_in_)] * count
    # Both are depths of nodes, of which theirs takes the sum less 1.
    depths = (ours._depths[:, 0] + ours._unit) * _unit_there(ours)
    parts = np.split(depths, trees.begins[1:-1])
    theirs._decision_path_lengths = tuple(part + 1.0 for part in parts)
    theirs._average_path_length_per_tree = tuple(np.zeros(len(part)) for part in parts)


def _unit_there(ours: Any) -> float:
    """The mean depth by which theirs divides, over ours."""
    from kernelmill.convert._trees import _their_mean_depth

    most = np.array([float(ours.max_samples_)])
    own = float(_mean_depth(most)[0])
    return float(_their_mean_depth(most)[0]) / own if own > 0 else 1.0


tree = fitted_on(_rows, _targets, _one, **_few())
forest = fitted_on(_rows, _targets, _forest, **_few())
gradient_boosting = fitted_on(
    _rows,
    _targets,
    _stages,
    **_few(init=None, subsample=1.0, n_iter_no_change=None),
)
isolation = fitted_on(
    lambda ours: np.zeros((2, ours.n_features_in_)),
    lambda ours: None,
    _isolating,
    **_few(max_samples="auto", max_features=1.0, contamination="auto"),
)
