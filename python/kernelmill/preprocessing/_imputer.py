"""SimpleImputer: missing entries get one value per column, learned in one pass."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse, namespace, to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import warn
from kernelmill.preprocessing._base import ColumnTransformer, fitting_in_one_pass
from kernelmill.preprocessing._columns import (
    Moments,
    dense_columns,
    each_block,
    merge_moments,
    moments,
    weighted_rows,
)
from kernelmill.preprocessing._quantiles import Summary, merge_summaries, quantiles, summarise

# Distinct values of a column that are counted on a stream: 16 MiB of values and weights.
_DISTINCT = 1 << 20


def marked(X: Any, missing: float) -> Any:
    """X with NaN where it is missing; X itself where NaN already is the mark."""
    if missing != missing:
        return X
    if is_sparse(X):
        data = np.where(X.data == missing, np.nan, X.data).astype(X.dtype)
        return type(X)((data, X.indices, X.indptr), shape=X.shape)
    return namespace(X).where(missing == X, np.nan, X).astype(X.dtype)


class Learned(NamedTuple):
    """What a pass finds.

    Attributes
    ----------
    rows : int
        With a positive weight.
    gaps : array of shape (d,)
        How many of these lack each feature.
    statistic : Moments, Summary, list of counts or None
        By strategy.
    """

    rows: int
    gaps: Any
    statistic: Any


def learn(
    X: Any, sample_weight: Any = None, *, missing: float, strategy: str, whole: bool
) -> Learned:
    """One pass over a chunk, or over all rows in memory."""
    X, weight = weighted_rows(marked(X, missing), sample_weight)
    if is_sparse(X):
        gaps = np.bincount(X.indices[np.isnan(X.data)], minlength=X.shape[1])
    else:
        gaps = namespace(X).isnan(X).sum(axis=0)
    statistic: Any = None
    if strategy == "mean":
        statistic = moments(X, weight)
    elif strategy == "median":
        statistic = summarise(X, weight, whole=whole)
    elif strategy == "most_frequent":
        statistic = value_counts(X, weight)
    return Learned(X.shape[0], gaps, statistic)


def merge_learned(a: Learned, b: Learned) -> Learned:
    """What both parts show."""
    merge: dict = {Moments: merge_moments, Summary: merge_summaries, list: merge_counts}
    merged = merge.get(type(a.statistic))
    statistic = None if merged is None else merged(a.statistic, b.statistic)
    return Learned(a.rows + b.rows, a.gaps + b.gaps, statistic)


def value_counts(X: Any, sample_weight: Any = None) -> list:
    """For each column its distinct values, ascending, and their weights."""
    X, weight = weighted_rows(X, sample_weight)
    weight = None if weight is None else to_host(weight).astype(np.float64)
    counts = []
    for j in range(X.shape[1]):
        column = to_host(dense_columns(X, slice(j, j + 1)))[0]
        there = ~np.isnan(column)
        values, place, number = np.unique(column[there], return_inverse=True, return_counts=True)
        if weight is not None:
            number = np.bincount(place, weights=weight[there], minlength=len(values))
        counts.append((values, number))
    return counts


def merge_counts(a: list, b: list) -> list:
    """Counts of both parts."""
    merged = []
    for column, ((va, na), (vb, nb)) in enumerate(zip(a, b, strict=True)):
        values, place = np.unique(np.concatenate([va, vb]), return_inverse=True)
        if len(values) > _DISTINCT:
            raise ValueError(
                f"SimpleImputer: X must have at most {_DISTINCT} distinct values in each column of "
                f"a stream for strategy='most_frequent', got more in column {column} (use 'median')"
            )
        number = np.bincount(place, weights=np.concatenate([na, nb]), minlength=len(values))
        merged.append((values, number))
    return merged


def filled(X: Any, missing: float, statistics: Any, kept: Any, flagged: Any) -> Any:
    """The kept columns of X without missing entries, then flags of those in some columns."""
    if is_sparse(X):
        return _sparse_filled(X, missing, statistics, kept, flagged)
    xp = namespace(X)

    def one(block: Any) -> Any:
        gaps = xp.isnan(block) if missing != missing else block == missing
        full = xp.where(gaps, statistics, block)[:, kept]
        return full if not len(flagged) else xp.concatenate([full, gaps[:, flagged]], axis=1)

    return each_block(X, one, len(kept) + len(flagged))


def _sparse_filled(
    X: Any, missing: float, statistics: np.ndarray, kept: np.ndarray, flagged: np.ndarray
) -> Any:
    gaps = np.isnan(X.data) if missing != missing else X.data == missing
    data = np.where(gaps, statistics[X.indices], X.data).astype(X.dtype)
    full = type(X)((data, X.indices.copy(), X.indptr.copy()), shape=X.shape)
    full = full if len(kept) == X.shape[1] else full[:, kept]
    if not len(flagged):
        return full
    flags = type(X)((gaps.astype(X.dtype), X.indices.copy(), X.indptr.copy()), shape=X.shape)
    flags.eliminate_zeros()
    return scipy.sparse.hstack([full, flags[:, flagged]], format="csr", dtype=X.dtype)


class Imputer(OneToOneFeatureMixin, ColumnTransformer):
    """Base of what fills missing entries, leaves out features without any, and appends flags."""

    missing_values: Any
    _flagged: Any  # features with a flag
    _parameters: ClassVar = {
        "missing_values": rule.Rule(
            lambda value: rule.is_real(value) or _is_nothing(value),
            "a number, NaN, pandas.NA or None",
        ),
        "copy": rule.boolean(),
        "add_indicator": rule.boolean(),
        "keep_empty_features": rule.boolean(),
    }

    @property
    def _mark(self) -> float:
        """What stands for a missing entry in a matrix."""
        return np.nan if _is_nothing(self.missing_values) else float(self.missing_values)

    @property
    def _accepts_missing(self):  # type: ignore[override]
        return self._mark != self._mark

    @property
    def indicator_(self):
        """scikit-learn's ``MissingIndicator`` of the flags, or None without `add_indicator`."""
        check_is_fitted(self)
        if not self.add_indicator:
            return None
        from sklearn.impute import MissingIndicator

        row = np.full((1, self.n_features_in_), 0.0 if self._mark != 0 else 1.0)
        row[:, self._flagged] = self._mark
        return MissingIndicator(missing_values=self._mark, error_on_new=False).fit(row)

    def _kept(self) -> np.ndarray:
        """Places of the features that are not left out."""
        raise NotImplementedError

    def _columns_out(self):
        return len(self._kept()) + len(self._flagged)

    def get_feature_names_out(self, input_features=None):
        """Get the names of the columns that ``transform`` gives.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X; those seen in ``fit``, or x0, x1, ... by default.

        Returns
        -------
        ndarray of str, dtype object
            Features without those left out, then ``missingindicator_<name>`` for each flag.
        """
        names = super().get_feature_names_out(input_features)
        flags = [f"missingindicator_{name}" for name in names[self._flagged]]
        return np.array([*names[self._kept()], *flags], dtype=object)


class SimpleImputer(Imputer):
    """Replace missing entries by the mean, median or most frequent value of their feature.

    Parameters
    ----------
    missing_values : float, pandas.NA or None, default=nan
        What stands for a missing entry. NaN, NA and None are the same.
    strategy : {"mean", "median", "most_frequent", "constant"}, default="mean"
        What takes the place of missing entries; of several most frequent values the least.
    fill_value : float or None, default=None
        The value of strategy ``"constant"``; None is 0.
    add_indicator : bool, default=False
        Whether to append one column for each feature with missing entries in ``fit``: 1 where the
        entry was missing, 0 elsewhere.
    keep_empty_features : bool, default=False
        Whether features without any entry in ``fit`` are kept, filled with 0 (or `fill_value`), or
        left out.

    Attributes
    ----------
    statistics_ : array of shape (d,), float64
        What takes the place of missing entries; NaN for features that are left out.
    n_features_in_, feature_names_in_

    Notes
    -----
    X is numeric; strings are for scikit-learn's imputer. ``fit`` is one pass. The median of a
    stream has the error in rank that `RobustScaler` states; the most frequent value is exact for up
    to 2**20 distinct values a feature. Entries that sparse X does not store are zeros, so a feature
    that has some is not empty; with strategy ``"constant"`` scikit-learn leaves it out if all that
    is stored of it is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.preprocessing import SimpleImputer
    >>> X = np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, 4.0]])
    >>> SimpleImputer().fit_transform(X)
    array([[1., 4.],
           [3., 4.],
           [2., 4.]])
    """

    statistics_: Any

    _squares = False
    _private = ("_flagged",)
    _parameters: ClassVar = {
        **Imputer._parameters,
        "strategy": rule.one_of("mean", "median", "most_frequent", "constant"),
        "fill_value": rule.any_of(rule.Rule(rule.is_real, "a number"), rule.nothing()),
    }

    def __init__(
        self, *, missing_values=np.nan, strategy="mean", fill_value=None, copy=True,
        add_indicator=False, keep_empty_features=False
    ):
        self._set_parameters(locals())

    @property
    def _accepts_sparse(self):  # type: ignore[override]
        return self._mark != 0

    def _rows(self, X, *args, **options):
        if is_sparse(X) and self._mark == 0:
            raise ValueError(
                "SimpleImputer: missing_values must not be 0 for sparse X, whose zeros are not "
                f"stored, got a matrix of shape {X.shape} (X.toarray() makes it dense)"
            )
        return super()._rows(X, *args, **options)

    @fitting_in_one_pass
    def fit(self, X, y=None, sample_weight=None):
        """Find what takes the place of missing entries.

        Raises
        ------
        ValueError
            If X is infinite, or NaN does not stand for missing entries and X has some, or if X is
            sparse and `missing_values` is 0.

        Warns
        -----
        UserWarning
            If features without any entry are left out.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True)
        missing = self._mark
        learned = rows.map_reduce(
            learn,
            merge=merge_learned,
            missing=missing,
            strategy=self.strategy,
            whole=not rows.is_stream,
        )
        gaps = to_host(learned.gaps)
        fill = 0.0 if self.fill_value is None else float(self.fill_value)
        values, empty = _values(self.strategy, learned, fill), gaps == learned.rows
        kept = fill if self.strategy == "constant" else 0.0
        values = np.where(empty, kept if self.keep_empty_features else np.nan, values)
        self._flagged = np.flatnonzero(gaps) if self.add_indicator else np.empty(0, np.int64)
        self.statistics_ = rows.as_given(values)
        if not self.keep_empty_features and bool(np.isnan(values).any()):
            names = getattr(self, "feature_names_in_", np.arange(len(values)))[np.isnan(values)]
            warn(
                f"SimpleImputer: Skipping features without any observed values: {names}. At least "
                f"one non-missing value is needed for imputation with strategy="
                f"'{self.strategy}'.",
                UserWarning,
            )
        return self

    def _kept(self) -> np.ndarray:
        left_out = np.isnan(to_host(self.statistics_))
        return np.flatnonzero(~left_out | self.keep_empty_features)  # fill_value may be NaN

    def _transformation(self):
        state = self._mark, self.statistics_, self._kept(), self._flagged
        return filled, state


def _is_nothing(value: Any) -> bool:
    """Whether this is None or pandas.NA, which are NaN in a matrix."""
    return value is None or type(value).__name__ == "NAType"


def _values(strategy: str, learned: Learned, fill: float) -> np.ndarray:
    """What takes the place of missing entries; anything in columns without entries."""
    if strategy == "mean":
        return to_host(learned.statistic.mean)
    if strategy == "median":
        return to_host(quantiles(learned.statistic, (0.5,)))[0]
    if strategy == "most_frequent":
        return np.array(
            [values[n.argmax()] if len(values) else 0.0 for values, n in learned.statistic],
            dtype=np.float64,
        )
    return np.full(len(learned.gaps), fill)
