"""Boosted trees of other libraries as those of our histogram boosting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from kernelmill.convert._attributes import fitted_on
from kernelmill.convert._trees import numbered
from kernelmill.ensemble._hist_trees import Trees
from kernelmill.ops import histogram as ops

_MOST = 254  # levels: one more code is for those that are not known
_UNKNOWN = 255  # their code of unknown levels, where it is told from missing ones
_NO_SIDES = np.zeros((0, 32), np.uint8)


class Table(NamedTuple):
    """A tree node by node, in the order of its library.

    Attributes
    ----------
    left, right : ndarray of shape (v,), int
        Children; -1 for both makes a leaf.
    feature : ndarray of shape (v,), int
    threshold : ndarray of shape (v,), float64
        At most this goes left; of leaves their value.
    missing_left : ndarray of shape (v,), bool
    kept_left : dict from int to (ndarray, bool)
        Of the splits of levels: the levels that go left, and whether unknown ones do.
    cover, gain : ndarray of shape (v,), float64
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    named: dict[int, tuple[np.ndarray, bool]]
    cover: np.ndarray
    gain: np.ndarray


def _side(own: np.ndarray, named: np.ndarray, others: bool, missing: bool) -> np.ndarray:
    """Bits of the codes that go left: of the missing, of levels by number, of the unknown."""
    bits = np.full(256, others)
    bits[0] = missing
    bits[1 : len(own) + 1] = np.isin(own, named) != others
    return np.packbits(bits, bitorder="little")


def trees_of(tables: Iterable[Table], levels: dict[int, np.ndarray]) -> Trees:
    """Trees one after another, and the sides of their splits of levels."""
    parts, sizes, cover, gain = [], [], [], []
    sides: list[np.ndarray] = []
    for table in tables:
        order, place = numbered(table.left, table.right)
        leaf = table.left[order] < 0
        feature = table.feature[order].astype(np.int64)
        threshold = table.threshold[order].astype(np.float64)
        marks = table.missing_left[order] * ops.MISSING
        for node, (named, others) in table.named.items():
            at, f = place[node], int(table.feature[node])
            threshold[at], marks[at] = len(sides), marks[at] + ops.CATEGORY
            missing = bool(table.missing_left[node])
            sides.append(_side(levels[f], named, others, missing))
        nodes = np.zeros(len(order), ops.NODE)
        nodes["threshold"] = threshold
        nodes["feature"] = np.where(leaf, -1, feature | marks)
        nodes["right"] = np.where(leaf, 0, place[table.right[order]])
        parts.append(nodes)
        sizes.append(len(order))
        cover.append(table.cover[order])
        gain.append(np.where(leaf, 0.0, table.gain[order]))
    if not parts:
        return Trees.none()
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    words = np.concatenate(parts).view(np.int64).reshape(-1, 2)
    packed = np.stack(sides) if sides else _NO_SIDES
    return Trees(words, roots, packed, np.concatenate(cover), np.concatenate(gain))


def levels_in(tables: list[Table]) -> dict[int, np.ndarray]:
    """The levels that splits name, of each feature with such splits; rising."""
    found: dict[int, set[float]] = {}
    for table in tables:
        for node, (named, _) in table.named.items():
            found.setdefault(int(table.feature[node]), set()).update(named.tolist())
    levels = {f: np.array(sorted(own), np.float64) for f, own in found.items()}
    for f, own in levels.items():
        if len(own) > _MOST:
            raise NotImplementedError(
                f"convert: splits must name at most {_MOST} levels of a feature, got {len(own)} of "
                f"feature {f}"
            )
    return levels


def put(
    ours: Any, tables: list[Table], start: np.ndarray, d: int, levels: dict[int, np.ndarray],
    names: dict[int, np.ndarray],
) -> None:  # fmt: skip
    """Make a model of trees.

    Parameters
    ----------
    ours : HistGradientBoosting
        Unfitted.
    tables : list of Table
        Round after round; tree i adds to score i mod k.
    start : ndarray of shape (k,)
        Scores without a tree.
    d : int
        Number of features.
    levels : dict
        Levels by number of categorical features.
    names : dict
        Labels of the categories of frames, where numbers stand for them.
    """
    mask = np.zeros(d, bool)
    mask[[*levels]] = True
    count = np.zeros(d, np.int32)
    edges = np.full((d, max([1, *(len(own) for own in levels.values())])), np.inf)
    for f, own in levels.items():
        edges[f, : len(own)], count[f] = own, len(own)
    ours._edges, ours._edge_count, ours._is_categorical = edges, count, mask
    ours._levels, ours._baseline = names, np.array(start, np.float64)
    ours._trees = trees_of(tables, levels).state()
    ours.is_categorical_ = mask if mask.any() else None
    ours.n_trees_per_iteration_ = len(start)
    ours.n_iter_ = len(tables) // len(start)
    ours.n_features_in_ = d


def _level_bits(words: np.ndarray) -> np.ndarray:
    """Numbers of the bits that are set in eight words of 32."""
    return np.flatnonzero(np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little"))


def histogram_boosting(ours: Any, theirs: Any) -> None:
    """Of scikit-learn's histogram boosting; no public attribute has its trees."""
    d = theirs.n_features_in_
    column, levels, names, unknown = np.arange(d), {}, {}, np.nan
    if theirs._preprocessor is not None:  # categorical features come first there
        mask = np.asarray(theirs.is_categorical_, bool)
        column = np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])
        encoder = theirs._preprocessor.named_transformers_["encoder"]
        unknown = encoder.unknown_value  # NaN: they are missing
        for f, given in zip(column, encoder.categories_, strict=False):
            known = [c for c in given.tolist() if c is not None and c == c]
            if given.dtype.kind in "biuf":
                levels[int(f)] = np.array(known, np.float64)
            else:
                levels[int(f)] = np.arange(float(len(known)))
                names[int(f)] = np.array(known, object)
    tables = []
    for own in theirs._predictors:
        for predictor in own:
            nodes, sets = predictor.nodes, {}
            leaf = nodes["is_leaf"] != 0
            feature = np.where(leaf, -1, column[nodes["feature_idx"] % d])
            for at in np.flatnonzero(~leaf & (nodes["is_categorical"] != 0)):
                bits = _level_bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][at]])
                f, missing = int(feature[at]), bool(nodes["missing_go_to_left"][at])
                named = np.isin(np.arange(len(levels[f])), bits)
                others = missing if unknown != unknown else bool(np.isin(unknown, bits))
                sets[int(at)] = levels[f][named != others], others
            left, right = (np.where(leaf, -1, nodes[n].astype(np.int64)) for n in ("left", "right"))
            tables.append(Table(
                left, right, feature, np.where(leaf, nodes["value"], nodes["num_threshold"]),
                nodes["missing_go_to_left"] != 0, sets, nodes["count"].astype(np.float64),
                nodes["gain"],
            ))  # fmt: skip
    put(ours, tables, np.ravel(theirs._baseline_prediction), d, levels, names)


# --- and back -------------------------------------------------------------------------------------


def _labels_of(ours: Any) -> dict[int, list[Any]]:
    """What the levels of categorical features are, by number of the feature."""
    bins, names = ours._bins, _names(ours)
    features = bins.categorical.nonzero()[0].tolist()
    return {f: list(names.get(f, bins.edges[f, : bins.count[f]])) for f in features}


def _names(ours: Any) -> dict[int, np.ndarray]:
    """Labels of categories of frames, where numbers stand for them."""
    return vars(ours).get("_levels", {})


def _rows(ours: Any) -> Any:
    """Rows of theirs that hold every level, as a frame where that is how they came.

    The last row has none: without it theirs takes missing values for unknown levels.
    """
    own = _labels_of(ours)
    n = max(2, len(getattr(ours, "classes_", ())), *map(len, own.values()), 2)
    columns: list[Any] = [np.zeros(n + 1) for _ in range(ours.n_features_in_)]
    for f, labels in own.items():
        if labels:
            columns[f] = [labels[i % len(labels)] for i in range(n)]
        columns[f] = [*columns[f][:n], np.nan]
    names = getattr(ours, "feature_names_in_", None)
    if names is None and not _names(ours):
        return np.array(columns, np.float64).T
    import pandas as pd

    frame = pd.DataFrame(dict(enumerate(columns)))
    for f in _names(ours):
        frame[f] = pd.Categorical(frame[f], categories=own[f])
    if names is not None:
        frame.columns = list(names)
    return frame


def _targets(ours: Any) -> np.ndarray:
    n = len(_rows(ours))
    return np.resize(ours.classes_, n) if hasattr(ours, "classes_") else np.ones(n)


def _codes(theirs: Any, ours: Any) -> dict[int, np.ndarray]:
    """Our code of each level, in the order of theirs."""
    if theirs._preprocessor is None:
        return {}
    bins, names, own = ours._bins, _names(ours), {}
    encoder = theirs._preprocessor.named_transformers_["encoder"]
    features = bins.categorical.nonzero()[0].tolist()
    for f, given in zip(features, encoder.categories_, strict=True):
        known = [c for c in given.tolist() if c is not None and c == c]
        if f in names:
            known = [list(names[f]).index(c) for c in known]
        edges = bins.edges[f, : bins.count[f]]
        at = np.searchsorted(edges, known)
        found = (at < len(edges)) & (np.append(edges, np.nan)[at] == known)
        own[f] = np.where(found, at + 1, len(edges) + 1 if len(edges) < 255 else 0)
    return own


def _words(bits: np.ndarray) -> np.ndarray:
    """256 bits as eight words of 32."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u4").astype(np.uint32)


def _tell_unknown(theirs: Any) -> None:
    """Unknown levels get a code of their own: theirs takes them for missing otherwise."""
    theirs._preprocessor.named_transformers_["encoder"].unknown_value = _UNKNOWN
    thresholds = theirs._bin_mapper.bin_thresholds_
    for f in np.flatnonzero(theirs._is_categorical_remapped):
        thresholds[f] = np.append(thresholds[f], float(_UNKNOWN)).astype(thresholds[f].dtype)


def _planted(theirs: Any, ours: Any) -> None:
    """Trees as records of theirs, whose fields have names."""
    like, d = theirs._predictors[0][0], ours.n_features_in_
    mask = np.asarray(ours._is_categorical, bool)
    number = np.empty(d, np.int64)  # categorical features come first there
    number[np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])] = np.arange(d)
    trees, count, k = Trees(**ours._trees), ours._edge_count, ours.n_trees_per_iteration_
    made, codes, parted = [], _codes(theirs, ours), False
    for begin, end in itertools.pairwise([*trees.roots.tolist(), len(trees.nodes)]):
        own = trees.nodes[begin:end].view(ops.NODE)[:, 0]
        leaf = own["feature"] < 0
        feature = np.where(leaf, 0, own["feature"] & (ops.CATEGORY - 1))
        levels = ~leaf & (own["feature"] & ops.CATEGORY != 0)
        nodes = np.zeros(len(own), like.nodes.dtype)
        nodes["is_leaf"], nodes["is_categorical"] = leaf, levels
        nodes["feature_idx"] = number[feature]
        nodes["value"] = np.where(leaf, own["threshold"], 0.0)
        nodes["num_threshold"] = np.where(leaf | levels, 0.0, own["threshold"])
        nodes["missing_go_to_left"] = ~leaf & (own["feature"] & ops.MISSING != 0)
        nodes["left"] = np.where(leaf, 0, np.arange(1, len(own) + 1))
        nodes["right"] = np.where(leaf, 0, own["right"])
        nodes["gain"], nodes["count"] = trees.gain[begin:end], np.rint(trees.cover[begin:end])
        for i in np.flatnonzero(~leaf):  # children have larger numbers
            nodes["depth"][[nodes["left"][i], nodes["right"][i]]] = nodes["depth"][i] + 1
        bits = np.zeros((int(levels.sum()), 256), bool)
        for number_of_split, i in enumerate(np.flatnonzero(levels)):
            side, f = trees.sides[int(own["threshold"][i])], int(feature[i])
            left = np.unpackbits(side, bitorder="little").astype(bool)
            unknown = left[count[f] + 1 if count[f] < 255 else 0]
            bits[number_of_split, : len(codes[f])] = left[codes[f]]
            bits[number_of_split, _UNKNOWN] = unknown
            nodes["missing_go_to_left"][i], nodes["bitset_idx"][i] = left[0], number_of_split
            parted |= bool(unknown != left[0])
        sets = _words(bits)
        made.append(type(like)(nodes, sets, sets.copy()))
    if parted:
        _tell_unknown(theirs)
    theirs._predictors = [made[i : i + k] for i in range(0, len(made), k)]
    theirs._baseline_prediction = np.array(ours._baseline, np.float64)[None, :]


back = fitted_on(
    _rows,
    _targets,
    _planted,
    categorical_features=lambda ours: (
        ours._is_categorical.tolist() if ours._is_categorical.any() else None
    ),
    max_iter=1,
    max_bins=255,
    early_stopping=False,
    warm_start=False,
    monotonic_cst=None,
    interaction_cst=None,
    class_weight=None,
    scoring=None,
    verbose=0,
)
