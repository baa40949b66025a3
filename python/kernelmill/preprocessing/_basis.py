"""Basis functions: features that let linear models fit curves and cycles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._random import generator
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count, vector
from kernelmill._estimator._validation import as_numbers
from kernelmill._estimator._words import DENSE_ROWS
from kernelmill.ops import pairwise
from kernelmill.preprocessing._base import ColumnTransformer, fitting_in_one_pass
from kernelmill.preprocessing._quantiles import merge_summaries, quantiles, summarise

_BLOCK = 1 << 18  # entries of the transform at a time
_MOST = 2048  # rows of a periodogram
_FINER = 5  # frequencies of a periodogram for each cycle over the span


def _blockwise(X: np.ndarray, width: int, features: Callable) -> np.ndarray:
    """Features of blocks of float64 rows, in the dtype of X (n, width)."""
    out = np.empty((len(X), width), X.dtype)
    step = max(1, _BLOCK // max(1, width, X.shape[1]))
    for i in range(0, len(X), step):
        out[i : i + step] = features(X[i : i + step].astype(np.float64))
    return out


def bumps_of_features(
    X: Any, columns: np.ndarray, centers: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """``exp(-((x_j - c) / w)^2 / 2)`` of single features, (n, m)."""

    def features(rows: np.ndarray) -> np.ndarray:
        z = (rows[:, columns] - centers) / widths
        return np.exp(-0.5 * z * z)

    return _blockwise(X, len(centers), features)


def bumps_of_rows(X: Any, centers: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """``exp(-|x - c|^2 / (2 w^2))`` of whole rows, (n, m)."""
    origin = centers.mean(axis=0)  # near the rows: distances lose no digits to an offset
    moved = centers - origin

    def features(rows: np.ndarray) -> np.ndarray:
        z = pairwise.euclidean(rows - origin, moved) / widths
        return np.exp(-0.5 * z * z)

    return _blockwise(X, len(centers), features)


def harmonics(X: Any, period: np.ndarray, n_harmonics: int) -> np.ndarray:
    """Sines and cosines of whole multiples of ``2 pi x / period``, (n, 2 d n_harmonics)."""
    d = X.shape[1]
    multiples = np.arange(1, n_harmonics + 1)
    still = np.isinf(period)
    periods = np.where(still, 1.0, period)

    def features(rows: np.ndarray) -> np.ndarray:
        # The remainder is exact: a clock of many periods loses no digits of the phase.
        share = np.where(still, 0.0, np.remainder(rows, periods) / periods)
        turns = np.remainder(share[:, :, None] * multiples, 1.0) * (2 * math.pi)
        return np.stack([np.sin(turns), np.cos(turns)], axis=-1).reshape(len(rows), -1)

    return _blockwise(X, 2 * d * n_harmonics, features)


def gaps_of(centers: np.ndarray) -> np.ndarray:
    """Mean distance of ascending centers to their neighbours; infinite for one alone."""
    if len(centers) < 2:
        return np.full(len(centers), np.inf)
    gaps = np.diff(centers)
    return 0.5 * (np.append(gaps[0], gaps) + np.append(gaps, gaps[-1]))


def nearest_of(centers: np.ndarray) -> np.ndarray:
    """Distance of each center to the nearest one that differs; infinite if there is none."""
    distance = pairwise.euclidean(centers - centers.mean(axis=0), centers - centers.mean(axis=0))
    return np.where(distance > 0, distance, np.inf).min(axis=1)


class _Basis(ColumnTransformer):
    """Base of basis functions: dense rows without gaps, and names of what comes out."""

    _accepts_missing: ClassVar = False
    _words = ColumnTransformer._words.extended(
        arguments={
            "X": ("array-like of shape (n, d), or a stream", "Rows; see ``fit``."),
            "fit.X": (DENSE_ROWS[0], DENSE_ROWS[1].removesuffix(" NaN is a missing value.")),
        },
    )

    def _names_out(self, names: list[str]) -> list[str]:
        raise NotImplementedError

    def get_feature_names_out(self, input_features=None):
        """Names of the features that ``transform`` makes.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the features of X, those of ``fit`` by default.

        Returns
        -------
        names : ndarray of str, object
            One for each column.

        Raises
        ------
        ValueError
            If the names are not those of ``fit``.
        """
        check_is_fitted(self)
        known = getattr(self, "feature_names_in_", None)
        d = self.n_features_in_
        if input_features is None:
            given = [f"x{j}" for j in range(d)] if known is None else list(known)
        else:
            given = [str(name) for name in input_features]
            if len(given) != d or (known is not None and given != list(known)):
                raise ValueError(
                    f"{type(self).__name__}: input_features must be the {d} names of fit, got "
                    f"{rule.shown(given)} (input_features is not equal to feature_names_in_, or "
                    "input_features should have length equal to number of features)"
                )
        return np.array(self._names_out(given), dtype=object)

    @property
    def _n_features_out(self) -> int:
        return len(self.get_feature_names_out())

    def _columns_out(self) -> int:
        return self._n_features_out


class RadialBasisFeatures(_Basis):
    """Gaussian bumps around centers: near a center its feature is 1, far away 0.

    A linear model of them is a smooth curve, or surface, that is local: what the rows say in one
    place does not move it in another.

    Parameters
    ----------
    n_centers : int, default=10
        Number of centers, of each feature or of rows; fewer where values repeat.
    centers : {"quantile", "uniform", "kmeans"} or array-like of shape (m, d), default="quantile"
        Bumps of each feature alone, around its quantiles or evenly from its least to its greatest
        value; or bumps of whole rows, around centers of k-means or those given.
    widths : float or array-like, optional
        Standard deviations of the bumps, in the unit of X: one, or one for each center given. By
        default the mean distance of a center of a feature to its neighbours, and for centers of
        rows that to the nearest one.
    width_factor : float, default=1.0
        What the widths are multiplied by. Below 1 bumps are told apart, above 1 they are smoother,
        and worse conditioned.
    random_state : int, RandomState, Generator or None, default=None
        Starts k-means.

    Attributes
    ----------
    centers_ : ndarray of shape (m,) or (m, d), float64
        Centers, of single features or of rows.
    widths_ : ndarray of shape (m,), float64
        Widths; infinite for a feature of one value, whose bump is 1 everywhere.
    feature_indices_ : ndarray of shape (m,), int64, or None
        The feature of each bump; None where bumps are of rows.
    n_features_in_, feature_names_in_

    See Also
    --------
    kernelmill.kernel_approximation.Nystroem : Features whose products are a kernel.
    sklearn.preprocessing.SplineTransformer : Piecewise polynomials instead of bumps.

    Notes
    -----
    ``exp(-|x - c|^2 / (2 w^2))``, computed in float64. Quantiles are exact in memory, and of a
    stream as for `RobustScaler`. Cost O(n m) of single features, O(n m d) of rows.

    References
    ----------
    Moody and Darken (1989), "Fast learning in networks of locally-tuned processing units".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from kernelmill.linear_model import Ridge
    >>> from kernelmill.preprocessing import RadialBasisFeatures
    >>> X = np.linspace(0, 6, 200)[:, None]
    >>> y = np.sin(2 * X[:, 0])
    >>> model = make_pipeline(RadialBasisFeatures(12), Ridge(alpha=1e-3)).fit(X, y)
    >>> round(model.score(X, y), 2)
    1.0
    >>> RadialBasisFeatures(3).fit([[0.0], [1.0], [4.0]]).get_feature_names_out().tolist()
    ['x0_rbf0', 'x0_rbf1', 'x0_rbf2']
    """

    centers_: Any
    widths_: Any
    feature_indices_: Any

    _parameters: ClassVar = {
        "n_centers": rule.integer(1),
        "centers": rule.any_of(rule.one_of("quantile", "uniform", "kmeans"), rule.array("(m, d)")),
        "widths": rule.any_of(rule.real(0, above=True), rule.array("(m,)"), rule.nothing()),
        "width_factor": rule.real(0, above=True),
        "random_state": rule.RANDOM_STATE,
    }

    def __init__(
        self, n_centers=10, *, centers="quantile", widths=None, width_factor=1.0,
        random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_in_one_pass
    def fit(self, X, y=None, sample_weight=None):
        """Place the centers.

        Raises
        ------
        ValueError
            If X is not finite, or centers or widths do not fit it.
        """
        at = self.centers if isinstance(self.centers, str) else "given"
        rows = self._rows(X, sample_weight, reset=True, once=at != "kmeans")
        columns = None
        if at in ("quantile", "uniform"):
            columns, centers, gaps = self._of_features(rows, at == "uniform")
        elif at == "kmeans":
            from kernelmill.cluster import KMeans

            k = min(self.n_centers, rows.count)
            model = KMeans(k, n_init=1, random_state=self.random_state).fit(rows)
            centers = np.unique(to_host(model.cluster_centers_).astype(np.float64), axis=0)
            gaps = nearest_of(centers)
        else:
            centers = as_numbers(self.centers, "centers", rows.owner).astype(np.float64)
            if centers.ndim != 2 or centers.shape[1] != rows.n_features or not len(centers):
                raise ValueError(
                    f"{rows.owner}: centers must have shape (m, {rows.n_features}), got "
                    f"{centers.shape}"
                )
            gaps = nearest_of(centers)
        self.feature_indices_, self.centers_ = columns, centers
        self.widths_ = self._widths(gaps) * self.width_factor
        return self

    def _of_features(self, rows: Rows, uniform: bool) -> tuple[np.ndarray, ...]:
        summary = rows.map_reduce(summarise, merge=merge_summaries, whole=not rows.is_stream)
        m = self.n_centers
        shares = np.linspace(0, 1, m) if m > 1 else np.array([0.5])
        if uniform:
            low, high = to_host(quantiles(summary, (0.0, 1.0)))
            places = low + (high - low) * shares[:, None]
        else:
            places = to_host(quantiles(summary, shares))
        each = [np.unique(column) for column in places.T]
        columns = np.repeat(np.arange(len(each)), [len(column) for column in each])
        return columns, np.concatenate(each), np.concatenate([gaps_of(c) for c in each])

    def _widths(self, gaps: np.ndarray) -> np.ndarray:
        if self.widths is None:
            return gaps
        owner = type(self).__name__
        given = as_numbers(self.widths, "widths", owner).astype(np.float64)
        if given.shape not in ((), gaps.shape) or not ((given > 0) & (given < np.inf)).all():
            raise ValueError(
                f"{owner}: widths must be positive and finite, one or one for each of {len(gaps)} "
                f"centers, got {rule.shown(self.widths)}"
            )
        return np.broadcast_to(given, gaps.shape).copy()

    def _transformation(self):
        if self.feature_indices_ is None:
            return bumps_of_rows, (self.centers_, self.widths_)
        return bumps_of_features, (self.feature_indices_, self.centers_, self.widths_)

    def _names_out(self, names):
        if self.feature_indices_ is None:
            return [f"rbf{k}" for k in range(len(self.centers_))]
        start = np.searchsorted(self.feature_indices_, self.feature_indices_)
        return [
            f"{names[j]}_rbf{k - start[k]}" for k, j in enumerate(self.feature_indices_.tolist())
        ]


def strongest_frequency(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Frequency of the sinusoid with a mean that fits y best, 0 if x or y is constant.

    The least squares of all frequencies on a grid, from one cycle over the span to half as many as
    there are rows; then the best place between its neighbours.
    """
    from scipy.optimize import brentq, minimize_scalar

    low, span = float(x.min()), float(x.max() - x.min())
    w = weight / weight.sum()
    y = y - w @ y
    size = float(np.abs(y).max(initial=0.0))
    if not (span > 0 and size > 0):
        return 0.0
    t, wy = (x - low) / span, w * (y / size)

    def power(cycles: np.ndarray) -> np.ndarray:
        turns = 2 * np.pi * np.multiply.outer(cycles, t)
        c, s = np.cos(turns), np.sin(turns)
        C, S = c @ w, s @ w
        CC, CS = (c * c) @ w - C * C, (c * s) @ w - C * S
        SS, YC, YS = (s * s) @ w - S * S, c @ wy, s @ wy
        det = CC * SS - CS * CS
        top = YC * YC * SS - 2 * YC * YS * CS + YS * YS * CC
        good = det.real > 1e-9 * (CC + SS).real ** 2
        return np.where(good, top / np.where(good, det, 1.0), 0.0)

    most = max(1, len(np.unique(x)) // 2)
    grid = np.arange(_FINER, _FINER * most + 1) / _FINER
    step = max(1, _BLOCK // len(x))
    powers = np.concatenate([power(grid[i : i + step]) for i in range(0, len(grid), step)])
    best = float(grid[int(powers.argmax())])
    near = minimize_scalar(
        lambda f: -float(power(np.array([f]))[0]),
        method="bounded",
        bounds=(best - 1 / _FINER, best + 1 / _FINER),
    )
    if -near.fun >= powers.max():
        best = float(near.x)

    def slope(cycles: float) -> float:  # by a complex step, which takes no difference
        return float(power(np.array([cycles + 1e-30j]))[0].imag) * 1e30

    # Values are flat at their greatest, so the search has half of the digits; the slope has all.
    low_end, high_end = best - 1e-3, best + 1e-3
    if slope(low_end) > 0 > slope(high_end):
        best = float(brentq(slope, low_end, high_end, xtol=1e-15 * best, rtol=1e-14))
    return best / span


class FourierFeatures(_Basis):
    """Sines and cosines of each feature, for what comes again after a period.

    Parameters
    ----------
    n_harmonics : int, default=3
        How many multiples of the frequency: the higher, the sharper what repeats.
    period : float, array-like of shape (d,) or {"range", "estimate"}, default="range"
        Of all features, or of each, in the unit of X. ``"range"`` is from the least to the
        greatest value; ``"estimate"`` is the period of the single sinusoid that fits y best.

    Attributes
    ----------
    period_ : ndarray of shape (d,), float64
        Period of each feature; infinite where there is none, as of a constant one.
    n_features_in_, feature_names_in_

    See Also
    --------
    kernelmill.kernel_approximation.RandomFourierFeatures : Random waves that approximate a kernel.

    Notes
    -----
    The columns are ``sin(2 pi k x / period)`` and ``cos(2 pi k x / period)`` of each feature, k
    from 1 to `n_harmonics`; phases are remainders, so that a clock of 1e9 keeps its digits. The
    estimate is the greatest of a periodogram of least squares with a mean, for rows at any places:
    from one cycle over the range of the feature to half as many as there are rows, of at most 2048
    rows, drawn if there are more. Cost O(n d n_harmonics).

    References
    ----------
    Zechmeister and Kuerster (2009), "The generalised Lomb-Scargle periodogram".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from kernelmill.linear_model import LinearRegression
    >>> from kernelmill.preprocessing import FourierFeatures
    >>> hours = np.arange(0.0, 24 * 14)[:, None]
    >>> y = 10 + np.sin(2 * np.pi * hours[:, 0] / 24)
    >>> model = make_pipeline(FourierFeatures(1, period="estimate"), LinearRegression())
    >>> model.fit(hours, y)[0].period_.round(6)
    array([24.])
    >>> model.predict([[24 * 365.0 + 6]]).round(6)
    array([11.])
    >>> model[0].get_feature_names_out().tolist()
    ['x0_sin1', 'x0_cos1']
    """

    period_: Any

    _parameters: ClassVar = {
        "n_harmonics": rule.integer(1),
        "period": rule.any_of(
            rule.one_of("range", "estimate"), rule.real(0, above=True), rule.array("(d,)")
        ),
    }

    def __init__(self, n_harmonics=3, *, period="range"):
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = isinstance(self.period, str) and self.period == "estimate"
        return tags

    @fitting_in_one_pass
    def fit(self, X, y=None, sample_weight=None):
        """Find the periods.

        Parameters
        ----------
        y : array-like of shape (n,), optional
            What repeats; for ``period="estimate"`` only.

        Raises
        ------
        ValueError
            If X is not finite, periods do not fit it, or y is missing where it is needed.
        """
        how = self.period if isinstance(self.period, str) else "given"
        rows = self._rows(X, sample_weight, reset=True, once=how != "estimate")
        if how == "range":
            summary = rows.map_reduce(summarise, merge=merge_summaries, whole=not rows.is_stream)
            low, high = to_host(quantiles(summary, (0.0, 1.0)))
            self.period_ = np.where(high > low, high - low, np.inf)
        elif how == "estimate":
            self.period_ = self._estimated(rows, y)
        else:
            given = as_numbers(self.period, "period", rows.owner).astype(np.float64)
            d = rows.n_features
            if given.shape not in ((), (d,)) or not ((given > 0) & (given < np.inf)).all():
                raise ValueError(
                    f"{rows.owner}: period must be positive and finite, one or one for each of {d} "
                    f"features, got {rule.shown(self.period)}"
                )
            self.period_ = np.broadcast_to(given, (d,)).copy()
        return self

    def _estimated(self, rows: Rows, y: Any) -> np.ndarray:
        if y is None:
            raise ValueError(
                f"{rows.owner}: y must be given for period='estimate', got None (requires y to be "
                "passed, but the target y is None)"
            )
        y = vector(y, rows.owner)
        check_count(y, rows.count, rows.owner)
        weights = rows.all_weights()
        places = np.arange(len(y)) if weights is None else np.flatnonzero(weights > 0)
        if len(places) > _MOST:
            places = np.sort(generator(0, 0).choice(places, _MOST, replace=False))
        X = to_host(rows.take(places)).astype(np.float64)
        w = np.ones(len(places)) if weights is None else weights[places].astype(np.float64)
        found = np.array([strongest_frequency(x, y[places], w) for x in X.T])
        with np.errstate(divide="ignore"):
            return 1 / found

    def _transformation(self):
        return harmonics, (self.period_, self.n_harmonics)

    def _names_out(self, names):
        return [
            f"{name}_{wave}{k}"
            for name in names
            for k in range(1, self.n_harmonics + 1)
            for wave in ("sin", "cos")
        ]
