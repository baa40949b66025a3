"""Naive Bayes of categories."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._posterior import log_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count
from kernelmill._estimator._validation import as_array
from kernelmill.naive_bayes._discrete import PARAMETERS, DiscreteNB, least_hit, split_infinite
from kernelmill.naive_bayes._words import DENSE
from kernelmill.ops import moments, reduction

_MIN_CATEGORIES = rule.any_of(
    rule.Rule(lambda v: rule.is_integer(v) and v >= 1, "a whole number of at least 1"),
    rule.array("(d,)"),
    rule.nothing(),
)
# Each category of each feature has a column, numbered in 32 bits.
_MOST = 2**31


class CategoricalNB(DiscreteNB):
    """Naive Bayes of categories: each feature is one of some values, numbered from 0 on.

    Parameters
    ----------
    alpha : float, default=1.0
        What is added to the count of each category; 0 for none.
    min_categories : int or array-like of shape (d,), optional
        Least number of categories of all features, or of each; by default those that occur.

    Attributes
    ----------
    classes_, class_count_, class_log_prior_
    category_count_ : list of d ndarrays of shape (n_classes, n_categories), float64
        Weight of the rows of each class with each category of a feature.
    feature_log_prob_ : list of d ndarrays of shape (n_classes, n_categories), float64
        ``log P(category | class)``.
    n_categories_ : ndarray of shape (d,), int64
        Number of categories of each feature.
    n_features_in_, feature_names_in_

    See Also
    --------
    BernoulliNB : For features of two values.

    Notes
    -----
    With N_cv rows of class c that have category v of a feature, ``P(v | c) = (N_cv + alpha) / sum_v
    (N_cv + alpha)``. A missing entry (NaN) is left out, as is its factor of the probability of its
    row. Fractions are cut off. A category that occurs in no row of ``fit`` is an error;
    `min_categories` announces it. Rows may be a stream, which is read once; ``partial_fit`` of
    parts is ``fit`` of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.naive_bayes import CategoricalNB
    >>> X = np.array([[0, 2], [0, 1], [1, 0], [1, np.nan]])
    >>> model = CategoricalNB().fit(X, ["a", "a", "b", "b"])
    >>> model.predict([[0, 1], [np.nan, 0]]).tolist(), model.n_categories_.tolist()
    (['a', 'b'], [2, 3])
    >>> np.exp(model.feature_log_prob_[1]).round(3).tolist()
    [[0.2, 0.4, 0.4], [0.5, 0.25, 0.25]]
    """

    category_count_: Any
    n_categories_: Any

    _words = DENSE
    _accepts_sparse: ClassVar = False
    _accepts_missing: ClassVar = True
    _deferred: ClassVar = False
    _parameters: ClassVar = {
        **PARAMETERS,
        "alpha": rule.real(0),
        "min_categories": _MIN_CATEGORIES,
    }

    def __init__(
        self, *, alpha=1.0, force_alpha=True, fit_prior=True, class_prior=None,
        min_categories=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        return tags

    def _least_categories(self, d: int) -> np.ndarray:
        if self.min_categories is None:
            return np.zeros(d, dtype=np.int64)
        given = as_array(self.min_categories, "min_categories", "CategoricalNB")
        if given.dtype.kind not in "iu":
            raise ValueError(
                "CategoricalNB: min_categories must be whole numbers, got "
                f"{given.dtype} ('min_categories' should have integral type)"
            )
        if given.ndim and given.shape != (d,):
            raise ValueError(
                f"CategoricalNB: min_categories must be a number or one for each of {d} features, "
                f"got shape {given.shape} ('min_categories' should have shape ({d},))"
            )
        return np.broadcast_to(given.astype(np.int64), (d,))

    def _learn(self, rows: Rows, codes: np.ndarray, first: bool) -> None:
        k, d = len(self.classes_), rows.n_features
        before = [np.zeros((k, 0))] * d if first else self.category_count_
        least = np.maximum(self._least_categories(d), [part.shape[1] for part in before])
        total: Any = None
        start = 0
        if not rows.is_stream:
            check_count(codes, rows.count, rows.owner)
        for chunk in rows.chunks():
            own = codes[start : start + chunk.count]
            start += chunk.count
            if len(own) < chunk.count:
                check_count(codes, start, rows.owner)
            part = chunk.map_reduce(_tallies, own, k, least, rows.owner)
            total = part if total is None else _merged(total, part)
        check_count(codes, start, rows.owner)
        weights, sizes, tallies = total
        counts = np.split(tallies, np.cumsum(sizes)[:-1], axis=1)
        for count, past in zip(counts, before, strict=True):
            count[:, : past.shape[1]] += past
        self.class_count_ = weights if first else self.class_count_ + weights
        self.category_count_, self.n_categories_ = counts, sizes
        self._update(self._alphas(d))
        self._set_prior()

    def _update(self, alpha: Any) -> None:
        self.feature_log_prob_, totals = [], []
        for count in self.category_count_:
            smooth = count + alpha
            total = smooth.sum(axis=1, keepdims=True)
            none = total == 0  # nothing is known
            smooth = np.where(none, 1.0, smooth)
            total = np.where(none, max(1, smooth.shape[1]), total)
            totals.append(np.broadcast_to(np.log(total), smooth.shape))
            self.feature_log_prob_.append(log_of(smooth) - totals[-1])
        self._log_totals = np.concatenate(totals, axis=1)

    def _joint(self) -> Any:
        logs, impossible = split_infinite(
            np.concatenate(self.feature_log_prob_, axis=1), self._log_totals
        )
        # A column of zeros at the end for what is missing.
        logs = np.pad(logs, ((0, 0), (0, 1)))
        impossible = None if impossible is None else np.pad(impossible, ((0, 0), (0, 1)))
        state = logs, impossible, self.class_log_prior_, self.n_categories_
        return _categorical_joint, state


def _refuse(X: np.ndarray, low: np.ndarray, owner: str) -> None:
    """Raise for a negative category."""
    if (low < 0).any():
        p = int((low < 0).argmax())
        raise ValueError(
            f"{owner}: X must hold categories from 0 on, got {low[p]:g} in column {p} (Negative "
            f"values in data passed to {owner} (input X))"
        )


def _ends(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest category of each column as floats, 0 and -1 if all are missing."""
    low, high = reduction.min(X, 0), reduction.max(X, 0)
    if np.isnan(low).any():
        low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
        low, high = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=-1.0)
    return low, np.floor(high)


def _tallies(
    X: Any, codes: np.ndarray, k: int, least: np.ndarray, owner: str, sample_weight: Any = None
) -> tuple:
    """Weights of the classes, numbers of categories, tallies (k, sum of these)."""
    low, high = _ends(X)
    _refuse(X, low, owner)
    if high.sum() + len(high) >= _MOST:
        p = int(high.argmax())
        raise ValueError(
            f"{owner}: X must hold categories numbered from 0 on, of fewer than 2**31 numbers, got "
            f"{high[p]:g} in column {p} (sklearn.preprocessing.OrdinalEncoder numbers values)"
        )
    sizes = np.maximum(high.astype(np.int64) + 1, least)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    tallies = np.zeros((k, max(1, int(starts[-1]))))
    moments.class_tallies(X, codes, starts, tallies, sample_weight)
    return np.bincount(codes, sample_weight, minlength=k).astype(np.float64), sizes, tallies


def _merged(a: tuple, b: tuple) -> tuple:
    sizes = np.maximum(a[1], b[1])
    total = np.zeros((len(a[0]), int(sizes.sum())))
    for _, own, tallies in (a, b):
        to, start = 0, 0
        for size, most in zip(own, sizes, strict=True):
            total[:, to : to + size] += tallies[:, start : start + size]
            to, start = to + most, start + size
    return a[0] + b[0], sizes, total


def _categorical_joint(
    X: np.ndarray, logs: np.ndarray, impossible: Any, prior: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    n, d = X.shape
    if not n:
        return np.empty((0, len(prior)))
    low, high = _ends(X)
    _refuse(X, low, "CategoricalNB")
    if (high >= sizes).any():
        p = int((high >= sizes).argmax())
        raise IndexError(
            f"CategoricalNB: X must hold categories that fit has seen, got {high[p]:g} in column "
            f"{p}, which has {sizes[p]} (set min_categories; the index is out of bounds)"
        )
    starts = np.cumsum(sizes) - sizes
    gaps = np.isnan(X)
    places = np.where(gaps, 0, X).astype(np.int32)
    places += starts.astype(np.int32)
    places[gaps] = logs.shape[1] - 1
    rows = scipy.sparse.csr_matrix(
        (np.ones(n * d), places.ravel(), np.arange(0, n * d + 1, d)), shape=(n, logs.shape[1])
    )
    found = rows @ logs.T + prior
    if impossible is None:
        return found
    return least_hit(found, rows @ impossible.T, prior)
