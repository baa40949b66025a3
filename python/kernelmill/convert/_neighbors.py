"""Models that keep their rows: a fit on these rows is the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill.convert._attributes import copied


def targets(model: Any) -> Any:
    """What a model was given beside rows, of their numbers."""
    if not hasattr(model, "_y"):
        return None
    codes = np.asarray(model._y)
    if not hasattr(model, "classes_"):
        return codes
    if not model.outputs_2d_:
        return model.classes_[codes.reshape(-1)]
    columns = zip(model.classes_, codes.T, strict=True)
    return np.stack([labels[own] for labels, own in columns], axis=1)


def here(ours: Any, theirs: Any) -> None:
    """Fit ours on the rows that theirs keeps, which no public attribute gives."""
    y = targets(theirs)
    ours.fit(theirs._fit_X) if y is None else ours.fit(theirs._fit_X, y)
    copied(theirs, ours)


def density(ours: Any, theirs: Any) -> None:
    """Of a density the tree is public."""
    ours.fit(np.asarray(theirs.tree_.data), sample_weight=_weights(theirs.tree_))
    copied(theirs, ours, without=("tree_",))


def _weights(tree: Any) -> Any:
    weight = tree.sample_weight
    return None if weight is None or not len(weight) else np.asarray(weight)


def _rows(ours: Any) -> Any:
    rows = ours._space.given()
    if rows is None:
        raise NotImplementedError(
            f"to_sklearn: metric must leave rows as they are given, got {ours._space.metric!r} "
            "(fit theirs on X)"
        )
    return rows


def back(made: Any, model: Any) -> None:
    """Fit theirs on the rows that ours keeps."""
    rows = model._centers if hasattr(model, "_mass") else _rows(model)
    if hasattr(model, "_codes"):
        own = [model.classes_] if not model.outputs_2d_ else model.classes_
        columns = [labels[code] for labels, code in zip(own, model._codes.T, strict=True)]
        y = np.stack(columns, axis=1) if model.outputs_2d_ else columns[0]
        made.fit(rows, y)
    elif hasattr(model, "_values"):
        made.fit(rows, model._values[:, 0] if model._vector else model._values)
    elif hasattr(model, "_mass"):
        made.fit(rows, sample_weight=model._weight)
    else:
        made.fit(rows)
    if hasattr(model, "feature_names_in_"):
        made.feature_names_in_ = model.feature_names_in_.copy()
