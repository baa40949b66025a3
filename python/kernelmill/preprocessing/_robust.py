"""RobustScaler: medians and quantile ranges, exact in memory, from a summary of a stream."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill.preprocessing._base import Scaler, fitting_in_one_pass
from kernelmill.preprocessing._columns import scaled, unscaled
from kernelmill.preprocessing._quantiles import merge_summaries, quantiles, summarise


class RobustScaler(Scaler):
    """Subtract the median of each feature and divide by a range between quantiles.

    Parameters
    ----------
    with_centering : bool, default=True
        Whether to subtract the median; must be False for sparse X, which would become dense.
    with_scaling : bool, default=True
        Whether to divide by the quantile range.
    quantile_range : tuple (low, high), default=(25.0, 75.0)
        Percentages between 0 and 100.
    unit_variance : bool, default=False
        Whether to divide the scale by the quantile range of the standard normal distribution, so
        that normal features get unit variance.

    Attributes
    ----------
    center_ : array of shape (d,), float64, or None
        Median of each feature.
    scale_ : array of shape (d,), float64, or None
        Quantile range of each feature, 1 where it is 0.
    n_features_in_, feature_names_in_

    See Also
    --------
    StandardScaler : Uses mean and standard deviation.

    Notes
    -----
    Missing entries (NaN) are skipped in ``fit`` and kept in ``transform``. In memory quantiles are
    exact, as NumPy interpolates them. A stream is read once into a deterministic summary of 2048
    points a feature and level (at most ``1 + log2 c`` levels for c chunks); the rank of a quantile
    is then off by at most ``(2 + log2 c) / 4096`` of the rows: 0.3 % for 1024 chunks. Streams of
    at most 2048 rows are exact. Weights that are whole numbers count as so many rows; others are
    relative, and quantiles are values of X or the mean of two.

    References
    ----------
    Manku, Rajagopalan and Lindsay (1998), "Approximate medians and other quantiles in one pass and
    with limited memory".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.preprocessing import RobustScaler
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0], [1000.0]])
    >>> scaler = RobustScaler().fit(X)
    >>> scaler.center_, scaler.scale_
    (array([3.]), array([2.]))
    >>> scaler.transform(X).ravel()
    array([ -1. ,  -0.5,   0. ,   0.5, 498.5])
    """

    center_: Any
    scale_: Any

    _squares = False
    _parameters: ClassVar = {
        "with_centering": rule.boolean(),
        "with_scaling": rule.boolean(),
        "quantile_range": rule.Rule(
            lambda value: isinstance(value, list | tuple)
            and len(value) == 2
            and all(map(rule.is_real, value))
            and 0 <= value[0] < value[1] <= 100,
            "a pair (low, high) of numbers with 0 <= low < high <= 100",
        ),
        "copy": rule.boolean(),
        "unit_variance": rule.boolean(),
    }

    def __init__(
        self, *, with_centering=True, with_scaling=True, quantile_range=(25.0, 75.0), copy=True,
        unit_variance=False
    ):
        self._set_parameters(locals())

    @property
    def _accepts_sparse(self):  # type: ignore[override]
        return not self.with_centering

    @fitting_in_one_pass
    def fit(self, X, y=None, sample_weight=None):
        """Find median and quantile range of each feature.

        Raises
        ------
        ValueError
            If X or the weights are not finite (NaN in X apart).
        TypeError
            If X is sparse and `with_centering` is True.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True)
        summary = rows.map_reduce(summarise, merge=merge_summaries, whole=not rows.is_stream)
        low, high = (percent / 100 for percent in self.quantile_range)
        below, median, above = to_host(quantiles(summary, (low, 0.5, high)))
        self.center_ = rows.as_given(median) if self.with_centering else None
        self.scale_ = None
        if self.with_scaling:
            scale = above - below
            scale = np.where(scale < np.finfo(np.float64).tiny, 1.0, scale)
            if self.unit_variance:
                from scipy.stats import norm

                scale /= norm.ppf(high) - norm.ppf(low)
            self.scale_ = rows.as_given(scale)
        return self

    def _transformation(self):
        return scaled, (self.center_, self.scale_)

    def _inverse(self):
        return unscaled, (self.center_, self.scale_)
