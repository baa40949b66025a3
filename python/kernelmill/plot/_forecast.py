"""A series, its forecast with a band of quantiles, and what other methods say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._arrays import to_host
from ._style import INK, PALETTE, Display


class ForecastDisplay(Display):
    """A forecast with its band beside the series that it continues.

    Parameters
    ----------
    times : array-like of shape (n,)
        Times of the series, ascending.
    values : array-like of shape (n,)
        The series. It may go on behind the start of the forecast.
    forecast_times : array-like of shape (h,)
        Times of the forecast.
    forecast : array-like of shape (h,)
        Its centre, usually the median.
    lower, upper : array-like of shape (h,), optional
        Ends of the band.
    band_name : str, default="band"
        What the band is, for the legend.
    others : dict of str to array-like of shape (h,), optional
        Forecasts of other methods, by name.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    Examples
    --------
    >>> from kernelmill.plot import ForecastDisplay
    >>> display = ForecastDisplay([0, 1, 2], [1.0, 2, 1], [3, 4], [2.0, 1], [1.0, 0], [3.0, 2])
    >>> display.covered([2.5, 5.0])
    0.5
    """

    def __init__(
        self,
        times: Any,
        values: Any,
        forecast_times: Any,
        forecast: Any,
        lower: Any = None,
        upper: Any = None,
        *,
        band_name: str = "band",
        others: Mapping[str, Any] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.times, self.values = np.asarray(times), np.asarray(to_host(values), np.float64)
        self.forecast_times = np.asarray(forecast_times)
        self.band_name, self.estimator_name = band_name, estimator_name
        if (lower is None) != (upper is None):
            raise ValueError("ForecastDisplay: lower and upper must be given together, got one")
        if self.times.shape != self.values.shape or self.times.ndim != 1:
            raise ValueError(
                "ForecastDisplay: times and values must have one shape (n,), got "
                f"{self.times.shape} and {self.values.shape}"
            )
        self.forecast = self._along("forecast", forecast)
        self.lower = None if lower is None else self._along("lower", lower)
        self.upper = None if upper is None else self._along("upper", upper)
        self.others = {name: self._along(name, v) for name, v in (others or {}).items()}

    def _along(self, name: str, values: Any) -> np.ndarray:
        array = np.asarray(to_host(values), np.float64)
        if array.shape != self.forecast_times.shape:
            raise ValueError(
                f"ForecastDisplay: {name} must have the shape of forecast_times, "
                f"{self.forecast_times.shape}, got {array.shape}"
            )
        return array

    def covered(self, truth: Any) -> float:
        """Share of true values that lie in the band.

        Parameters
        ----------
        truth : array-like of shape (h,)
            What came at the times of the forecast.

        Returns
        -------
        share : float
            Between 0 and 1.

        Raises
        ------
        ValueError
            If there is no band, or shapes do not fit.

        Examples
        --------
        >>> from kernelmill.plot import ForecastDisplay
        >>> ForecastDisplay([0], [0.0], [1], [0.0], [-1.0], [1.0]).covered([0.5])
        1.0
        """
        if self.lower is None:
            raise ValueError("ForecastDisplay: lower and upper must be given, got no band")
        true = self._along("truth", truth)
        return float(((true >= self.lower) & (true <= self.upper)).mean())

    def plot(self, ax: Any = None, **kwargs: Any) -> ForecastDisplay:
        """Draw series, forecast, band and other forecasts.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``ax.plot`` for the forecast.

        Returns
        -------
        display : ForecastDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from kernelmill.plot import ForecastDisplay
        >>> display = ForecastDisplay([0, 1], [1.0, 2], [2, 3], [2.0, 1]).plot()
        >>> [line.get_label() for line in display.ax_.lines]
        ['observed', 'forecast']
        """
        ax = self._axes(ax, (8, 4))
        color = PALETTE[0]
        ax.plot(self.times, self.values, color=INK, linewidth=1.2, label="observed")
        if self.lower is not None:
            ax.fill_between(
                self.forecast_times, self.lower, self.upper, color=color, alpha=0.2, linewidth=0,
                label=self.band_name,
            )  # fmt: skip
        for (name, values), other in zip(self.others.items(), PALETTE[1:] * 9, strict=False):
            ax.plot(self.forecast_times, values, color=other, linestyle="--", label=name)
        style = {"color": color, "linewidth": 2, "label": "forecast"}
        ax.plot(self.forecast_times, self.forecast, **{**style, **kwargs})
        ax.legend(frameon=False, loc="upper left")
        return self._finish(ax, "forecast")
