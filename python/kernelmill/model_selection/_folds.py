"""Fits of candidates on the splits of cross-validation, and the table of their scores."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing, get_tags

from kernelmill._estimator import _parameters as rule


class Scoring:
    """What ``scoring`` means: one scorer, several by name, or a function that gives either.

    Attributes
    ----------
    scorer_ : callable or dict of callable
        As scikit-learn's searches have it.
    is_multimetric : bool or None
        None for a function, until it has been called.
    """

    def __init__(self, estimator: Any, scoring: Any) -> None:
        self.scorer_: Any = scoring
        self.is_multimetric: bool | None = None
        if not callable(scoring):
            self.is_multimetric = scoring is not None and not isinstance(scoring, str)
            if self.is_multimetric:
                named = scoring if isinstance(scoring, Mapping) else {k: k for k in scoring}
                if not named or not all(isinstance(name, str) for name in named):
                    raise ValueError(
                        "BayesSearchCV: scoring must name at least one scorer by a string, got "
                        f"{rule.shown(scoring)}"
                    )
                self.scorer_ = {k: check_scoring(estimator, scoring=v) for k, v in named.items()}
            else:
                self.scorer_ = check_scoring(estimator, scoring=scoring)
        self._estimator = estimator

    @property
    def names(self) -> list[str]:
        """Names of the scores; none while they are not known."""
        if self.is_multimetric is None:
            return []
        return [*self.scorer_] if self.is_multimetric else ["score"]

    def takes_weights(self) -> bool:
        """Whether any scorer has an argument ``sample_weight``."""
        scorers = self.scorer_.values() if isinstance(self.scorer_, dict) else [self.scorer_]
        for scorer in scorers:
            function = getattr(scorer, "_score_func", None)
            if function is None:  # the estimator's own score, or a function of the user
                function = scorer if scorer is self.scorer_ and self.is_multimetric is None else (
                    getattr(self._estimator, "score", scorer)
                )
            if "sample_weight" in inspect.signature(function).parameters:
                return True
        return False

    def scores(
        self, estimator: Any, X: Any, y: Any, params: dict[str, Any], error_score: Any
    ) -> tuple[dict[str, float], str | None]:
        """Scores by name, and why one of them is an error's."""
        data = (X,) if y is None else (X, y)
        parts: Mapping[str, Callable] = (
            self.scorer_ if isinstance(self.scorer_, dict) else {"score": self.scorer_}
        )
        found: dict[str, Any] = {}
        failure = None
        for name, scorer in parts.items():
            own = params
            if "sample_weight" in params and self.is_multimetric:
                one = Scoring(estimator, None)
                one.scorer_, one.is_multimetric = scorer, False
                own = params if one.takes_weights() else {}
            try:
                found[name] = scorer(estimator, *data, **own)
            except Exception as error:
                if error_score == "raise":
                    raise
                found[name] = error_score
                failure = f"scoring failed: {type(error).__name__}: {error}"
        if isinstance(found.get("score"), Mapping) and self.is_multimetric is None:
            found = dict(found["score"])
        for name, value in found.items():
            whole = value.item() if getattr(value, "size", 0) == 1 else value
            if not rule.is_real(whole):
                raise ValueError(
                    f"BayesSearchCV: scoring must return a number, got {rule.shown(value)} for "
                    f"{name!r}"
                )
            found[name] = float(whole)
        return found, failure


class Fold(NamedTuple):
    """A candidate on a split; None for scores if it could not be fitted."""

    test: dict[str, float] | None
    train: dict[str, float] | None
    fit_time: float
    score_time: float
    error: str | None


def rows_of(values: Mapping[str, Any], n: int, indices: np.ndarray) -> dict[str, Any]:
    """Metadata of some rows: what has an entry for each row is taken apart."""

    def part(value: Any) -> Any:
        is_array = hasattr(value, "shape") or isinstance(value, list | tuple)
        count = value.shape[0] if getattr(value, "shape", None) else None
        count = len(value) if count is None and hasattr(value, "__len__") else count
        return _safe_indexing(value, indices) if is_array and count == n else value

    return {name: part(value) for name, value in values.items()}


def fit_fold(
    estimator: Any, params: dict[str, Any], X: Any, y: Any, train: np.ndarray, test: np.ndarray,
    scoring: Scoring, fit_params: dict[str, Any], score_params: dict[str, Any],
    return_train_score: bool, error_score: Any,
) -> Fold:  # fmt: skip
    """Fit a candidate on the rows of a split and score it on the others."""
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    began = time.perf_counter()
    try:
        model = clone(estimator).set_params(**clone(params, safe=False))
        pairwise = get_tags(model).input_tags.pairwise

        def part(rows: np.ndarray) -> tuple[Any, Any]:
            own = _safe_indexing(X, rows)
            if pairwise:
                own = _safe_indexing(own, train, axis=1)
            return own, None if y is None else _safe_indexing(y, rows)

        data = part(train)
        model.fit(*(data[:1] if y is None else data), **rows_of(fit_params, n, train))
    except Exception as error:
        if error_score == "raise":
            raise
        last = traceback.format_exception_only(error)[-1].strip()
        return Fold(None, None, time.perf_counter() - began, 0.0, last)
    fitted = time.perf_counter()
    found, failure = scoring.scores(
        model, *part(test), rows_of(score_params, n, test), error_score
    )
    scored = time.perf_counter()
    own = None
    if return_train_score:
        own, _ = scoring.scores(model, *data, rows_of(score_params, n, train), error_score)
    return Fold(found, own, fitted - began, scored - fitted, failure)


def _column(values: Sequence[Any]) -> np.ndarray:
    """Values of a parameter, as numbers if they are."""
    if all(isinstance(v, bool | np.bool_) for v in values):
        return np.array(values, dtype=bool)
    if all(rule.is_integer(v) for v in values):
        return np.array(values, dtype=np.int64 if max(map(abs, values)) < 2**63 else object)
    if all(rule.is_real(v) for v in values):
        return np.array(values, dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = [*values]
    return column


def table(
    candidates: list[dict[str, Any]], folds: list[list[Fold]], names: list[str],
    return_train_score: bool, error_score: Any,
) -> dict[str, Any]:  # fmt: skip
    """``cv_results_`` as scikit-learn's searches have it."""
    results: dict[str, Any] = {}

    def store(key: str, values: np.ndarray, splits: bool) -> np.ndarray:
        if splits:
            for i in range(values.shape[1]):
                results[f"split{i}_{key}"] = values[:, i]
        results[f"mean_{key}"], results[f"std_{key}"] = values.mean(1), values.std(1)
        return results[f"mean_{key}"]

    for key in ("fit_time", "score_time"):
        store(key, np.array([[getattr(f, key) for f in own] for own in folds]), False)
    for name in dict.fromkeys(k for c in candidates for k in c):
        held = [i for i, c in enumerate(candidates) if name in c]
        values = _column([candidates[i][name] for i in held])
        column = np.ma.masked_all(len(candidates), dtype=values.dtype)
        for i, value in zip(held, values, strict=True):
            column[i] = value
        results[f"param_{name}"] = column
    results["params"] = candidates
    for name in names:
        means = store(f"test_{name}", scores(folds, name, error_score), True)
        least = np.where(np.isnan(means), -np.inf, means)
        order = np.sort(-least)
        results[f"rank_test_{name}"] = (np.searchsorted(order, -least) + 1).astype(np.int32)
        if return_train_score:
            store(f"train_{name}", scores(folds, name, error_score, "train"), True)
    return results


def scores(
    folds: list[list[Fold]], name: str, error_score: Any, which: str = "test"
) -> np.ndarray:
    """Scores of this name, (n_candidates, n_splits)."""
    failed = np.nan if error_score == "raise" else float(error_score)

    def score(fold: Fold) -> float:
        held = getattr(fold, which)
        return failed if held is None else held[name]

    return np.array([[score(fold) for fold in own] for own in folds])
