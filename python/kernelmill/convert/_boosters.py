"""Fitted models of LightGBM and XGBoost, by what these dump publicly."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from scipy.special import logit

from kernelmill.convert._histograms import Table, levels_in, put
from kernelmill.convert._trees import largest_below

LIBRARIES = {"lightgbm": "LightGBM", "xgboost": "XGBoost"}


def library(model: Any) -> str | None:
    """ "lightgbm" or "xgboost" for a model of theirs, or of a class derived from one."""
    roots = (cls.__module__.partition(".")[0] for cls in type(model).__mro__)
    return next((root for root in roots if root in LIBRARIES), None)


def converted(model: Any) -> Any:
    """Our histogram boosting with their trees."""
    own = library(model)
    assert own is not None
    ours = _from_lightgbm(model) if own == "lightgbm" else _from_xgboost(model)
    ours._absent_is_missing = own == "xgboost"  # of sparse rows; for LightGBM such an entry is 0
    return ours


def _refused(what: str, got: Any) -> NotImplementedError:
    return NotImplementedError(f"convert: {what}, got {got}")


def _model(link: str, classes: Any, tables: list[Table], start: np.ndarray) -> Any:
    """Ours, unfitted but for classes."""
    from kernelmill.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    rounds = max(1, len(tables) // len(start))
    if link in ("logistic", "softmax"):
        ours = HistGradientBoostingClassifier(max_iter=rounds)
        ours.classes_ = np.asarray(classes)
        return ours
    if len(start) > 1:
        raise _refused("model must have one output for a regression", len(start))
    loss = "poisson" if link == "exponential" else "squared_error"
    return HistGradientBoostingRegressor(loss, max_iter=rounds)


def _finished(
    link: str, classes: Any, tables: list[Table], start: np.ndarray, d: int,
    names: dict[int, np.ndarray], columns: Any,
) -> Any:  # fmt: skip
    ours = _model(link, classes, tables, start)
    levels = levels_in(tables)
    for f, own in names.items():  # all categories of frames, whether a split names them or not
        levels[f] = np.arange(float(len(own)))
    put(ours, tables, start, d, levels, names)
    if columns:
        ours.feature_names_in_ = np.array(columns, object)
    return ours


# --- LightGBM -------------------------------------------------------------------------------------

_TINY = 1e-35  # what LightGBM takes for 0 where zeros are missing
_LIGHTGBM = {
    **dict.fromkeys(
        ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank",
         "rank_xendcg", "custom"), "identity",
    ),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exponential"),
    "binary": "logistic",
    "multiclass": "softmax",
}  # fmt: skip


def _from_lightgbm(model: Any) -> Any:
    booster = model if hasattr(model, "dump_model") else model.booster_
    dump = booster.dump_model()
    name, *rest = (dump.get("objective") or "custom").split()
    if name not in _LIGHTGBM or "sqrt" in rest:
        raise _refused(
            f"the objective of LightGBM must be one of {', '.join(_LIGHTGBM)}",
            repr(dump["objective"]),
        )
    k = int(dump["num_tree_per_iteration"])
    sigmoid = next((float(r.partition(":")[2]) for r in rest if r.startswith("sigmoid")), 1.0)
    unit = sigmoid if name == "binary" else 1.0
    if dump["average_output"]:
        unit *= k / max(1, len(dump["tree_info"]))
    tables = [_lightgbm_table(tree["tree_structure"], unit) for tree in dump["tree_info"]]
    d = int(dump["max_feature_idx"]) + 1
    columns = dump["feature_names"]
    usual = columns == [f"Column_{i}" for i in range(d)]
    given = getattr(model, "classes_", np.arange(max(2, k)))
    labels = [
        f for f, own in enumerate(columns)
        if dump["pandas_categorical"] and _is_categorical(dump, own)
    ]  # fmt: skip
    names: dict[int, np.ndarray] = {}
    if len(labels) == len(dump["pandas_categorical"] or ()):
        pairs = zip(labels, dump["pandas_categorical"] or (), strict=True)
        names = {f: np.array(own, object) for f, own in pairs}
    return _finished(
        _LIGHTGBM[name], given, tables, np.zeros(k), d, names, None if usual else columns
    )


def _is_categorical(dump: dict[str, Any], column: str) -> bool:
    return bool(dump["feature_infos"].get(column, {}).get("values"))


def _lightgbm_table(root: dict[str, Any], unit: float) -> Table:
    nodes, left, right = [root], [], []
    for node in nodes:  # grows while it is walked
        if "leaf_coeff" in node:
            raise _refused("leaves of LightGBM must be constants", "linear leaves (linear_tree)")
        inner = "split_feature" in node
        left.append(len(nodes) if inner else -1)
        right.append(len(nodes) + 1 if inner else -1)
        if inner:
            nodes += [node["left_child"], node["right_child"]]
    v = len(nodes)
    feature, threshold = np.full(v, -1), np.zeros(v)
    missing, cover, gain = np.zeros(v, bool), np.zeros(v), np.zeros(v)
    named: dict[int, tuple[np.ndarray, bool]] = {}
    for at, node in enumerate(nodes):
        if "split_feature" not in node:
            threshold[at] = node["leaf_value"] * unit
            cover[at] = node.get("leaf_count", 1)
            continue
        feature[at], gain[at] = node["split_feature"], node["split_gain"]
        cover[at] = node["internal_count"]
        if node["decision_type"] == "==":
            own = np.array([float(c) for c in str(node["threshold"]).split("||")])
            named[at] = own, False  # those named go left
            continue
        threshold[at] = node["threshold"]
        as_zero = bool(threshold[at] >= 0)
        if node["missing_type"] == "NaN":
            missing[at] = node["default_left"]
        else:
            missing[at] = as_zero  # a missing value is 0
            if node["missing_type"] == "Zero" and (
                node["default_left"] != as_zero or abs(threshold[at]) <= _TINY
            ):
                raise _refused(
                    "a missing value of LightGBM must be NaN", "zeros that are missing "
                    "(zero_as_missing)"
                )  # fmt: skip
    return Table(np.array(left), np.array(right), feature, threshold, missing, named, cover, gain)


# --- XGBoost --------------------------------------------------------------------------------------

_IDENTITY = (
    "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror",
    "reg:quantileerror", "rank:ndcg", "rank:map", "rank:pairwise",
)  # fmt: skip
_XGBOOST = {
    **dict.fromkeys(_IDENTITY, "identity"),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exponential"),
    "binary:logistic": "logistic",
    **dict.fromkeys(("multi:softprob", "multi:softmax"), "softmax"),
}
_MARGIN = {"logistic": logit, "exponential": np.log}


def _from_xgboost(model: Any) -> Any:
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    link = _XGBOOST.get(learner["objective"]["name"])
    if link is None:
        raise _refused(
            f"the objective of XGBoost must be one of {', '.join(_XGBOOST)}",
            repr(learner["objective"]["name"]),
        )
    missing = getattr(model, "missing", None)
    if missing is not None and missing == missing:
        raise _refused("a missing value of XGBoost must be NaN", f"missing={missing!r}")
    boosting = learner["gradient_booster"]
    drops = boosting.get("weight_drop")
    boosting = boosting.get("gbtree", boosting)  # dart holds one
    if "trees" not in boosting.get("model", {}):
        raise _refused("the booster of XGBoost must be of trees", repr(boosting["name"]))
    forest, about = boosting["model"], learner["learner_model_param"]
    k = max(1, int(about["num_class"]), int(about.get("num_target", 1)))
    if link == "logistic" and k > 1:
        raise _refused("model of XGBoost must have one output", f"{k} labels")
    most = len(forest["trees"])
    best = learner["attributes"].get("best_iteration")
    if best is not None and model is not booster:  # what its predict walks, too
        most = forest["iteration_indptr"][int(best) + 1]
    groups: list[list[Table]] = [[] for _ in range(k)]
    for t, tree in enumerate(forest["trees"][:most]):
        unit = 1.0 if drops is None else drops[t]
        groups[forest["tree_info"][t]].append(_xgboost_table(tree, unit))
    tables = [table for step in zip(*groups, strict=True) for table in step]
    start = np.ravel(json.loads(about["base_score"])).astype(np.float64)
    margin = _MARGIN.get(link)
    start = np.broadcast_to(start if margin is None else margin(start), (k,))
    classes = getattr(model, "classes_", np.arange(max(2, k)))
    names = _xgboost_names(forest.get("cats", {}))
    columns = learner["feature_names"]
    return _finished(link, classes, tables, start, int(about["num_feature"]), names, columns)


def _xgboost_names(cats: dict[str, Any]) -> dict[int, np.ndarray]:
    """Categories of frames by number of the feature."""
    names = {}
    for f, own in enumerate(cats.get("enc") or ()):
        values, offsets = own.get("values") or [], own.get("offsets")
        if offsets:
            text = bytes(v % 256 for v in values)
            labels = [text[a:b].decode() for a, b in itertools.pairwise(offsets)]
            names[f] = np.array(labels, object)
        elif values:
            names[f] = np.array(values, object)
    return names


def _xgboost_table(tree: dict[str, Any], unit: float) -> Table:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise _refused("leaves of XGBoost must be numbers", "vectors (multi_output_tree)")
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    leaf = left < 0
    condition = np.array(tree["split_conditions"], np.float32)
    named: dict[int, tuple[np.ndarray, bool]] = {}
    feature = np.where(leaf, -1, tree["split_indices"])
    threshold = np.where(
        leaf, condition.astype(np.float64) * unit, largest_below(condition, inclusive=False)
    )
    parts = zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"],
        strict=True,
    )  # fmt: skip
    for node, begin, size in parts:
        named[int(node)] = np.array(tree["categories"][begin : begin + size], np.float64), True
    return Table(
        left, right, feature, threshold, np.array(tree["default_left"]) != 0, named,
        np.array(tree["sum_hessian"], np.float64), np.array(tree["loss_changes"], np.float64),
    )  # fmt: skip
