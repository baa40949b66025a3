"""Predictions with the band that new values are in, beside what was observed."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from .._arrays import column_names, is_frame, to_host
from ..stream import source
from ._pipeline import feature_names, split, transform
from ._rows import MAX_POINTS
from ._style import INK, PALETTE, Display

_GRID = 300  # places on a feature


class PredictiveBandDisplay(Display):
    """A band of the predictive distribution, over a feature or over the predictions themselves.

    Create one with `from_estimator`.

    Parameters
    ----------
    x : array-like of shape (m,)
        Places: values of a feature, or predictions.
    prediction, lower, upper : array-like of shape (m,)
        Predictions there, and the ends of the band.
    observed : tuple of two array-like of shape (n,), optional
        Places and values of what was observed.
    feature_name : str, optional
        Name of the feature; None where x are predictions.
    coverage : float, optional
        Share of the observed values in the band, for the note.

    Attributes
    ----------
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import PredictiveBandDisplay
    >>> display = PredictiveBandDisplay([0, 1], [0.0, 1.0], [-1.0, 0.0], [1.0, 2.0])
    >>> display.plot().ax_.get_ylabel()
    'Target'
    """

    def __init__(
        self, x: Any, prediction: Any, lower: Any, upper: Any, *, observed: Any = None,
        level: float = 0.9, feature_name: str | None = None, coverage: float | None = None,
        estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        given = {"x": x, "prediction": prediction, "lower": lower, "upper": upper}
        arrays = {name: np.asarray(to_host(v), np.float64) for name, v in given.items()}
        for name, array in arrays.items():
            if array.ndim != 1 or array.shape != arrays["x"].shape:
                raise ValueError(
                    f"PredictiveBandDisplay: {name} must have the shape of x, "
                    f"{arrays['x'].shape}, got {array.shape}"
                )
        self.x, self.prediction, self.lower, self.upper = arrays.values()
        self.observed = None if observed is None else tuple(np.asarray(v) for v in observed)
        if self.observed is not None:
            shapes = [v.shape for v in self.observed]
            over = [self.x.shape] * 2 if feature_name is None else shapes[:1] * 2
            if shapes != over:
                raise ValueError(
                    "PredictiveBandDisplay: observed must be places and values of one shape, that "
                    f"of x where there is no feature_name, got shapes {shapes}"
                )
        self.level, self.feature_name, self.coverage = level, feature_name, coverage
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, feature: Any = None, level: float = 0.9,
        max_points: int = MAX_POINTS, random_state: Any = 0, ax: Any = None, **kwargs: Any,
    ) -> PredictiveBandDisplay:  # fmt: skip
        """Plot the predictive band of a fitted regression, and observed values.

        Parameters
        ----------
        estimator : estimator
            Fitted model whose ``predict`` takes ``return_std=True``, or with
            ``predict_quantiles``, or that predicts several quantiles; or a fitted pipeline that
            ends with one. Of a deviation the band is that of a normal distribution; that of a
            Gaussian process has the noise in it if its kernel has, as `WhiteKernel`.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), optional
            What was observed there; the band should hold `level` of it.
        feature : int or str, optional
            A feature over which the band is drawn, where the others have their medians. By default
            the only one; of several features each row has a bar, over its prediction.

        Returns
        -------
        display : PredictiveBandDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or gives no band, `feature` is none of X, or shapes do
            not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.linear_model import BayesianLinearRegression
        >>> from kernelmill.plot import PredictiveBandDisplay
        >>> rng = np.random.default_rng(0)
        >>> X = rng.uniform(-1, 1, size=(200, 1))
        >>> y = X[:, 0] + 0.1 * rng.normal(size=200)
        >>> model = BayesianLinearRegression().fit(X, y)
        >>> display = PredictiveBandDisplay.from_estimator(model, X, y)
        >>> display.ax_.get_xlabel(), bool(0.8 < display.coverage < 1)
        ('Feature 0', True)
        """
        owner = cls.__name__
        if not 0 < level < 1:
            raise ValueError(f"{owner}: level must be between 0 and 1, got {level!r}")
        steps, model = split(owner, estimator, "predict")
        rows = source(X, owner=owner)
        given = np.asarray(to_host(rows.take(np.arange(rows.count_rows()))), np.float64)
        names = feature_names([], X, rows)[0]
        target = None if y is None else np.asarray(to_host(y), np.float64)
        if target is not None and target.shape != (len(given),):
            raise ValueError(
                f"{owner}: y must have shape ({len(given)},), got {target.shape}"
            )
        mean, low, high = band_of(owner, model, transform(owner, steps, X), level)
        coverage = None
        if target is not None:
            coverage = float(((target >= low) & (target <= high)).mean())
        column = _column(owner, feature, names)
        observed, chosen = None, np.arange(len(given))
        if len(given) > max_points:
            chosen = np.sort(np.random.default_rng(random_state).choice(
                len(given), max_points, replace=False))  # fmt: skip
        if column is None:
            x, name = mean[chosen], None
            observed = None if target is None else (x, target[chosen])
            mean, low, high = (values[chosen] for values in (mean, low, high))
        else:
            values, name = given[:, column], names[column]
            x = np.linspace(values.min(), values.max(), _GRID)
            grid = np.tile(np.median(given, axis=0), (_GRID, 1))
            grid[:, column] = x
            mean, low, high = band_of(owner, model, transform(owner, steps, _like(X, grid)), level)
            if target is not None and given.shape[1] == 1:
                observed = values[chosen], target[chosen]
            else:
                coverage = None
        display = cls(
            x, mean, low, high, observed=observed, level=level, feature_name=name,
            coverage=coverage, estimator_name=type(model).__name__,
        )  # fmt: skip
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> PredictiveBandDisplay:
        """Draw predictions, band and observed values.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.plot`` for the line of the predictions.

        Returns
        -------
        display : PredictiveBandDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import PredictiveBandDisplay
        >>> display = PredictiveBandDisplay(
        ...     [0, 1], [0, 1], [-1, 0], [1, 2], observed=([0.5], [5]), feature_name="x"
        ... )
        >>> display.plot().ax_.get_xlabel()
        'x'
        """
        ax = self._axes(ax, (7.0, 4.6))
        color, order = PALETTE[0], np.argsort(self.x, kind="stable")
        x = self.x[order]
        style = {"color": INK, "linewidth": 1.4, **kwargs}
        inside = np.zeros(0, dtype=bool)
        if self.feature_name is None:
            faint = float(np.clip(60 / max(len(x), 1), 0.08, 0.4))
            ax.vlines(x, self.lower[order], self.upper[order], color=color, alpha=faint, zorder=1)
            ax.plot(x, self.prediction[order], label="prediction", zorder=2, **style)
            if self.observed is not None:
                inside = (self.observed[1] >= self.lower) & (self.observed[1] <= self.upper)
        else:
            ax.fill_between(
                x, self.lower[order], self.upper[order], color=color, alpha=0.2, linewidth=0,
                label=f"{self.level:.0%} of new values",
            )  # fmt: skip
            ax.plot(x, self.prediction[order], label="prediction", zorder=3, **style)
            if self.observed is not None:
                at, values = self.observed
                low, high = (
                    np.interp(at, x, ends[order]) for ends in (self.lower, self.upper)
                )
                inside = (values >= low) & (values <= high)
        if self.observed is not None:
            size = float(np.clip(4000 / max(len(self.observed[0]), 1), 5, 22))
            for those, shade, name in (
                (inside, color, "observed in the band"), (~inside, PALETTE[5], "outside")
            ):  # fmt: skip
                ax.scatter(
                    self.observed[0][those], self.observed[1][those], s=size, color=shade,
                    linewidths=0, label=name, zorder=2.5,
                )  # fmt: skip
        ax.set(xlabel=self.feature_name or "Prediction", ylabel="Target")
        ax.legend(frameon=False, fontsize=8.5)
        note = None
        if self.coverage is not None:
            note = f"{self.coverage:.1%} of the observed values are in the band of {self.level:.0%}"
        return self._finish(ax, f"predictive band of {self.level:.0%}", note)


def band_of(owner: str, model: Any, seen: Any, level: float) -> tuple[np.ndarray, ...]:
    """Predictions of rows, and the ends of the band."""
    from scipy.stats import norm

    tail = (1 - level) / 2
    if hasattr(model, "predict_quantiles"):
        ends = np.asarray(to_host(model.predict_quantiles(seen, [tail, 1 - tail])))
        mean = np.asarray(to_host(model.predict(seen)))
        return mean.ravel(), ends[..., 0].ravel(), ends[..., -1].ravel()
    if "return_std" in inspect.signature(model.predict).parameters:
        mean, deviation = (to_host(part) for part in model.predict(seen, return_std=True))
        step = norm.ppf(1 - tail) * np.ravel(deviation)
        return np.ravel(mean), np.ravel(mean) - step, np.ravel(mean) + step
    mean = np.asarray(to_host(model.predict(seen)), np.float64)
    shares = np.atleast_1d(getattr(model, "quantile", np.empty(0)))
    if mean.ndim == 2 and len(shares) == mean.shape[1] > 1:
        order = np.argsort(shares)
        middle = order[np.argmin(np.abs(shares[order] - 0.5))]
        return mean[:, middle], mean[:, order[0]], mean[:, order[-1]]
    raise ValueError(
        f"{owner}: estimator must predict deviations or quantiles, got {type(model).__name__} (use "
        "a Bayesian or Gaussian process regression, a forest, or several quantiles)"
    )


def _column(owner: str, feature: Any, names: list[str]) -> int | None:
    if feature is None:
        return 0 if len(names) == 1 else None
    column = names.index(feature) if isinstance(feature, str) and feature in names else feature
    if not isinstance(column, (int, np.integer)) or not 0 <= column < len(names):
        raise ValueError(
            f"{owner}: feature must be one of the {len(names)} columns of X, got {feature!r}"
        )
    return int(column)


def _like(X: Any, values: np.ndarray) -> Any:
    """Rows with the column names of X."""
    if not is_frame(X):
        return values
    return type(X)({name: values[:, j] for j, name in enumerate(column_names(X))})
