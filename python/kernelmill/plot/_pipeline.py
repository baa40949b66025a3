"""The model at the end of a pipeline, the rows that it sees, and what their features are called."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import column_names, is_frame


def split(name: str, estimator: Any, *needs: str, fitted: bool = True) -> tuple[list[Any], Any]:
    """The transformers of a pipeline in order, and the model that they lead to.

    Pipelines may be nested, and a search (``best_estimator_``) stands for the best that it found.
    Any other estimator is a model without transformers.

    Parameters
    ----------
    estimator : estimator
        Model, pipeline, or search over either.
    *needs : str
        Attributes of which the model must have one.
    fitted : bool, default=True
        Whether the model must be fitted.

    Returns
    -------
    steps : list of transformers
        What X passes through, without ``"passthrough"``.
    model : estimator
        The last step.
    """
    steps: list[Any] = []
    model = estimator
    while True:
        if hasattr(model, "steps"):
            *before, model = (step for _, step in model.steps)
            steps += [step for step in before if step is not None and step != "passthrough"]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        else:
            break
    kind = repr(model) if model is None or isinstance(model, str) else type(model).__name__
    if fitted:
        _check_fitted(name, model)
    if not any(hasattr(model, attribute) for attribute in needs):
        raise ValueError(
            f"{name}: estimator must be a model with {' or '.join(needs)}, or a pipeline that ends "
            f"with one, got {kind}"
        )
    return steps, model


def transform(name: str, steps: list[Any], X: Any) -> Any:
    """The rows that the model sees: X after all fitted steps."""
    for step in steps:
        _check_fitted(name, step)
        X = step.transform(X)
    return X


def _check_fitted(name: str, estimator: Any) -> None:
    if not hasattr(estimator, "__sklearn_tags__"):
        return  # anything with the right attributes will do
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise NotFittedError(
            f"{name}: estimator must be fitted, got an unfitted {type(estimator).__name__} (call "
            "fit first)"
        ) from error


def feature_names(steps: list[Any], X: Any, rows: Any) -> tuple[list[str], list[str]]:
    """Names of the features that the model sees, and labels for the axes that show them.

    Names are those of ``get_feature_names_out``. A scaler gives features the names that they had,
    though the values are no longer the same: such a label says what the values went through.

    Parameters
    ----------
    steps : list of transformers
        As `split` returns them.
    X : array-like or DataFrame
        Rows before the steps.
    rows : Source
        Rows after the steps.

    Returns
    -------
    names, labels : list of str
        One of each per feature.
    """
    given = getattr(steps[0], "feature_names_in_", None) if steps else rows.feature_names
    if given is None and is_frame(X):
        given = column_names(X)
    if given is None:
        given = _numbered(getattr(steps[0], "n_features_in_", 0) if steps else rows.n_features)
    names = given = [str(name) for name in given]
    try:
        for step in steps:
            names = [str(name) for name in step.get_feature_names_out(np.array(names, object))]
    except (AttributeError, ValueError):  # a step does not name its features, or not these
        names = []
    if len(names) != rows.n_features:
        names = given = _numbered(rows.n_features)
    history = ", ".join(type(step).__name__ for step in steps)
    labels = [f"{name} (after {history})" if steps and name in given else name for name in names]
    return names, labels


def _numbered(width: int) -> list[str]:
    return [f"Feature {j}" for j in range(width)]
