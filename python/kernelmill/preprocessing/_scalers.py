"""StandardScaler and MinMaxScaler: statistics that add up, in one pass."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._rows import Rows
from kernelmill.preprocessing._base import IncrementalScaler
from kernelmill.preprocessing._columns import (
    Extremes,
    Moments,
    extremes,
    merge_extremes,
    merge_moments,
    moments,
    scaled,
    shrunk,
    stretched,
    unscaled,
)

# A standard deviation of fewer units in the last place of the mean is rounding.
_ULPS = 8


class StandardScaler(IncrementalScaler):
    """Subtract the mean of each feature and divide by its standard deviation.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether to subtract the mean; must be False for sparse X, which would become dense.
    with_std : bool, default=True
        Whether to divide by the standard deviation.

    Attributes
    ----------
    scale_ : array of shape (d,), float64, or None
        Standard deviation of each feature, 1 for a constant one.
    mean_ : array of shape (d,), float64, or None
        Mean of each feature; None where neither mean nor deviation is used.
    var_ : array of shape (d,), float64, or None
        Variance of each feature (divided by n).
    n_samples_seen_ : int, float or array of shape (d,)
        Rows, or weight of the rows, without those where the feature is missing; an array where
        features differ.
    n_features_in_, feature_names_in_

    See Also
    --------
    RobustScaler : Uses quantiles, which outliers do not move.
    MinMaxScaler : Maps the range of each feature to a given one.

    Notes
    -----
    Missing entries (NaN) are skipped in ``fit`` and kept in ``transform``. ``fit`` is one pass over
    X with sums in float64 around the mean of each block, merged by the formula of Chan et al.: the
    variance keeps its digits far from the origin. Rows with zero weight are ignored. A feature is
    constant where its standard deviation is below 8 units in the last place of its mean;
    scikit-learn's bound grows with n. float32 rows stay float32. Cost 5 n d flops.

    References
    ----------
    Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.preprocessing import StandardScaler
    >>> X = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    >>> scaler = StandardScaler().fit(X)
    >>> scaler.mean_, scaler.var_.round(3)
    (array([2., 1.]), array([2.667, 0.   ]))
    >>> scaler.transform([[2.0, 3.0]])
    array([[0., 2.]])

    A file is read once by ``fit``; ``transform`` gives its rows chunk by chunk:

    >>> np.save("rows.npy", X)
    >>> scaled = StandardScaler().fit_transform("rows.npy")
    >>> [chunk.shape for chunk, weights in scaled]
    [(3, 2)]
    """

    _squares = np.float64  # whatever the dtype of X
    _private = ("_mean_rest",)
    scale_: Any
    mean_: Any
    _mean_rest: Any  # what rounding took from the mean, for the next partial_fit
    var_: Any
    n_samples_seen_: Any

    _parameters: ClassVar = {
        "copy": rule.boolean(),
        "with_mean": rule.boolean(),
        "with_std": rule.boolean(),
    }

    def __init__(self, *, copy=True, with_mean=True, with_std=True):
        self._set_parameters(locals())

    @property
    def _accepts_sparse(self):  # type: ignore[override]
        return not self.with_mean

    def _learned(self) -> Moments:
        seen = np.broadcast_to(to_host(self.n_samples_seen_), self.n_features_in_)
        mean, var = (
            np.zeros(len(seen)) if part is None else to_host(part)
            for part in (self.mean_, self.var_)
        )
        mean, var = np.nan_to_num(mean), np.nan_to_num(var)  # of columns without entries
        return Moments(seen.astype(np.float64), mean, self._mean_rest, var * seen)

    def _learn(self, rows: Rows, before: Moments | None) -> Any:
        seen = to_host(rows.map_reduce(moments, merge=merge_moments))
        if before is not None:
            seen = merge_moments(before, seen)
        weight = seen.weight
        some = np.where(weight > 0, weight, np.nan)
        mean, var = np.where(weight > 0, seen.mean, np.nan), seen.square / some
        if bool((weight == np.round(weight)).all()):
            weight = weight.astype(np.int64)
        self.n_samples_seen_ = weight[0] if bool((weight == weight[0]).all()) else weight
        used = self.with_mean or self.with_std
        self.mean_ = rows.as_given(mean) if used else None
        self._mean_rest = (seen.near - seen.mean) + seen.offset
        self.var_ = self.scale_ = None
        if self.with_std:
            scale = np.sqrt(var)
            constant = scale <= _ULPS * np.finfo(np.float64).eps * np.abs(mean)
            self.var_ = rows.as_given(var)
            self.scale_ = rows.as_given(np.where(constant, 1.0, scale))
        return self

    def _transformation(self):
        return scaled, (self.mean_ if self.with_mean else None, self.scale_)

    def _inverse(self):
        return unscaled, (self.mean_ if self.with_mean else None, self.scale_)


class MinMaxScaler(IncrementalScaler):
    """Map the range of each feature linearly to a given range.

    Parameters
    ----------
    feature_range : tuple (min, max), default=(0, 1)
        Range of the transformed features.
    clip : bool, default=False
        Whether to clip values outside the range seen in ``fit``.

    Attributes
    ----------
    min_ : array of shape (d,), float64
        Added to each feature after scaling: ``feature_range[0] - data_min_ * scale_``.
    scale_ : array of shape (d,), float64
        Factor of each feature, for a constant one the width of `feature_range`.
    data_min_, data_max_, data_range_ : array of shape (d,), float64
        Least and greatest value of each feature, and their difference.
    n_samples_seen_ : int
        Rows with a positive weight.
    n_features_in_, feature_names_in_

    See Also
    --------
    StandardScaler : Scales to zero mean and unit variance.

    Notes
    -----
    Missing entries (NaN) are skipped in ``fit`` and kept in ``transform``. ``fit`` is one pass over
    X. float32 rows stay float32. A feature is constant where its extremes are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.preprocessing import MinMaxScaler
    >>> scaler = MinMaxScaler(clip=True).fit([[0.0, 5.0], [4.0, 5.0], [np.nan, 5.0]])
    >>> scaler.data_range_
    array([4., 0.])
    >>> scaler.transform([[1.0, 5.0], [8.0, 5.0]])
    array([[0.25, 0.  ],
           [1.  , 0.  ]])
    """

    data_min_: Any
    data_max_: Any
    data_range_: Any
    scale_: Any
    min_: Any
    n_samples_seen_: int

    _squares = False
    _parameters: ClassVar = {
        "feature_range": rule.Rule(
            lambda value: isinstance(value, list | tuple)
            and len(value) == 2
            and all(map(rule.is_real, value))
            and value[0] < value[1],
            "a pair (min, max) of numbers with min below max",
        ),
        "copy": rule.boolean(),
        "clip": rule.boolean(),
    }

    def __init__(self, feature_range=(0, 1), *, copy=True, clip=False):
        self._set_parameters(locals())

    def _learned(self) -> Extremes:
        low, high = to_host((self.data_min_, self.data_max_))
        return Extremes(low, high, self.n_samples_seen_)

    def _learn(self, rows: Rows, before: Extremes | None) -> Any:
        range_of_rows = to_host(rows.map_reduce(extremes, merge=merge_extremes))
        seen = range_of_rows if before is None else merge_extremes(before, range_of_rows)
        low, high = self.feature_range
        spread = seen.high - seen.low
        scale = (high - low) / np.where(spread < np.finfo(np.float64).tiny, 1.0, spread)
        self.data_min_, self.data_max_ = rows.as_given(seen.low), rows.as_given(seen.high)
        self.data_range_, self.scale_ = rows.as_given(spread), rows.as_given(scale)
        self.min_, self.n_samples_seen_ = rows.as_given(low - seen.low * scale), seen.rows
        return self

    def _transformation(self):
        low, high = self.feature_range if self.clip else (None, None)
        return stretched, (self.scale_, self.min_, low, high)

    def _inverse(self):
        return shrunk, (self.scale_, self.min_)
