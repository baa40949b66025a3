"""Categorical features: which they are, and levels of frames as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._arrays import (
    as_matrix,
    column_names,
    distinct,
    feature_names,
    is_frame,
    levels_of,
    namespace,
    numbered,
)
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._rows import Estimator

RULE = rule.any_of(
    rule.one_of("from_dtype"), rule.array("(n_features,) or of positions or names"),
    rule.nothing(),
)  # fmt: skip


CODES = 256  # a missing value, at most 255 levels or one less and those not seen


def levels_in(X: np.ndarray, mask: np.ndarray, owner: str) -> dict[int, np.ndarray]:
    """The levels of categorical features, rising."""
    levels = {}
    for f in np.flatnonzero(mask):
        own = np.unique(X[:, f])
        own = own[~np.isnan(own)].astype(np.float64)
        if len(own) >= CODES:
            raise ValueError(
                f"{owner}: categorical_features must name features with at most {CODES - 1} "
                f"levels, got {len(own)} in feature {f} (it is expected to have a cardinality <= "
                f"{CODES - 1})"
            )
        levels[int(f)] = own
    return levels


def with_codes(X: np.ndarray, levels: dict[int, np.ndarray]) -> np.ndarray:
    """Rows with codes in the columns of categorical features: 0 for a missing value, then levels by
    number, then any that is not known."""
    if not levels:
        return X
    X, xp = X.copy(), namespace(X)
    for f, numbers in levels.items():
        x, own = X[:, f].astype(np.float64), xp.asarray(numbers)
        at = xp.searchsorted(own, x)  # NaN behind all
        known = own[xp.minimum(at, len(own) - 1)] == x if len(own) else xp.zeros(len(x), bool)
        code = xp.where(known, at + 1, len(own) + 1)
        X[:, f] = xp.where(xp.isnan(x) | (code >= CODES), 0, code)
    return X


class Levelled(Estimator):
    """Base of models with ``categorical_features``."""

    _most_words = ""  # what sets the limit
    categorical_features: Any

    @property
    def _most_levels(self) -> int:
        """Most levels of a feature."""
        return 255

    def _matrix(self, X: Any) -> tuple[Any, Any]:
        """X as numbers: levels of frames' categorical columns are numbered as in the first fit."""
        if is_frame(X):
            if "_levels" not in self.__dict__:
                self._levels = self._found_levels(X)
            if len(column_names(X)) > max(self._levels, default=-1):
                X, names = numbered(X, self._levels), feature_names(X)
                return as_matrix(X, type(self).__name__, accept_sparse=False), names
        return super()._matrix(X)

    def _found_levels(self, frame: Any) -> dict[int, np.ndarray]:
        given, names = self.categorical_features, column_names(frame)
        levels = {}
        for j, name in enumerate(names):
            own = levels_of(frame, j)
            if given is None:
                continue
            if not isinstance(given, str):
                listed = np.asarray(given)
                mask = listed.dtype.kind == "b"
                if not (listed[j] if mask and len(listed) == len(names) else j in listed.tolist()
                        or name in listed.tolist()):  # fmt: skip
                    continue
                if own is None:
                    own = distinct(frame, j)
                    if own.dtype.kind in "biuf":
                        continue  # a column of numbers is one already
            if own is None:
                continue
            if len(own) > self._most_levels:
                raise ValueError(
                    f"{type(self).__name__}: categorical_features must have at most "
                    f"{self._most_words}{self._most_levels} levels, got {len(own)} in column "
                    f"{name!r} (it is expected to have a cardinality <= {self._most_levels})"
                )
            levels[j] = own
        return levels

    def _categories(self, d: int) -> np.ndarray:
        names = getattr(self, "feature_names_in_", None)
        levels = self.__dict__.get("_levels", {})
        mask = chosen_categories(self, names, d, list(levels))
        mask[list(levels)] = True
        return mask


def chosen_categories(model: Any, names: Any, d: int, from_dtype: list[int]) -> np.ndarray:
    """Which features are categorical, as a mask, by ``categorical_features``."""
    owner, given = type(model).__name__, model.categorical_features
    mask = np.zeros(d, bool)
    if given is None:
        return mask
    if isinstance(given, str):  # "from_dtype", by its rule
        mask[from_dtype] = True
        return mask
    listed = np.asarray(given)
    if listed.size == 0:
        return mask
    if listed.dtype.kind not in "biUO":
        raise ValueError(
            f"{owner}: categorical_features must be an array of bool, int or str, got dtype "
            f"{listed.dtype}"
        )
    if listed.dtype.kind in "UO":
        if names is None:
            raise ValueError(
                f"{owner}: categorical_features must hold positions or a mask where X has no "
                "column names, got names (it was passed as an array of strings, which requires a "
                "frame)"
            )
        unknown = sorted(set(map(str, listed)) - set(names))
        if unknown:
            raise ValueError(
                f"{owner}: categorical_features must name columns of X, got {unknown[0]!r}"
            )
        return np.isin(names, list(map(str, listed)))
    if listed.dtype.kind == "b":
        if listed.shape != (d,):
            raise ValueError(
                f"{owner}: categorical_features must have shape ({d},) as a mask, got "
                f"{listed.shape}"
            )
        return listed.copy()
    if listed.min() < 0 or listed.max() >= d:
        raise ValueError(
            f"{owner}: categorical_features must be positions in [0, {d - 1}], got {listed.min()} "
            f"to {listed.max()}"
        )
    mask[listed] = True
    return mask
