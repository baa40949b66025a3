"""A series with its decoded states as coloured spans, and their probabilities below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import as_matrix, column_names, is_frame, library, to_host
from ._pipeline import split, transform
from ._style import (
    INK,
    MOST_IN_LEGEND,
    Display,
    checked_names,
    cluster_colors,
    counted,
    legend_beside,
    lighter,
)


class StatePathDisplay(Display):
    """A time series, coloured by the hidden state it is in.

    Create one with `from_estimator` or `from_predictions`, which compute the parameters.

    Parameters
    ----------
    series : array-like of shape (T,) or (T, d)
        The values to draw.
    states : array-like of shape (T,), int
        State at each time, from 0.
    probabilities : array-like of shape (T, K), optional
        Posterior probability of each state, drawn below.
    times : array-like of shape (T,), optional
        Positions on the time axis, ascending: numbers or dates; 0, 1, ... by default.
    lengths : array-like of shape (S,), optional
        Lengths of the sequences that the series consists of; their boundaries are drawn.
    state_names : sequence of str, optional
        Names for the legend; numbers by default.
    series_names : sequence of str, optional
        Names of the columns.

    Attributes
    ----------
    n_states : int
        Number of states, K.
    ax_ : matplotlib Axes
        Axes of the series.
    probability_ax_ : matplotlib Axes or None
        Axes of the probabilities.
    figure_

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.plot import StatePathDisplay
    >>> StatePathDisplay(np.zeros(4), [0, 0, 1, 1], probabilities=np.full((4, 3), 1 / 3)).n_states
    3
    """

    def __init__(
        self, series: Any, states: Any, *, probabilities: Any = None, times: Any = None,
        lengths: Any = None, state_names: Sequence[str] | None = None,
        series_names: Sequence[str] | None = None, estimator_name: str | None = None
    ) -> None:
        try:
            # A frame may have missing values of its own kind.
            values = as_matrix(series, "series") if is_frame(series) else to_host(series)
            self.series = np.asarray(values)
            if self.series.dtype.kind not in "biuf":
                self.series = self.series.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"StatePathDisplay: series must be numeric, got {error} (select the columns to "
                "draw)"
            ) from error
        if self.series.ndim == 1:
            self.series = self.series[:, None]
        T = len(self.series)
        self.states = np.asarray(states)
        self.probabilities = None if probabilities is None else np.asarray(probabilities)
        self.times = np.arange(T) if times is None else np.asarray(times)
        self.lengths = np.array([T]) if lengths is None else np.asarray(lengths)
        self.series_names = series_names
        self.estimator_name = estimator_name
        for name, value in (("states", self.states), ("times", self.times)):
            if value.shape != (T,):
                raise ValueError(
                    f"StatePathDisplay: {name} must have shape ({T},), got {value.shape}"
                )
        if T == 0 or self.lengths.sum() != T:
            raise ValueError(
                "StatePathDisplay: series must have at least one row and lengths must add up to "
                f"them, got {T} rows and a sum of {self.lengths.sum()}"
            )
        if self.states.dtype.kind not in "iu" or self.states.min() < 0:
            raise ValueError(
                f"StatePathDisplay: states must be whole numbers from 0, got {self.states.dtype}"
            )
        self.n_states = int(self.states.max()) + 1
        if self.probabilities is not None:
            if self.probabilities.ndim != 2 or len(self.probabilities) != T:
                raise ValueError(
                    f"StatePathDisplay: probabilities must have shape ({T}, K), got "
                    f"{self.probabilities.shape}"
                )
            self.n_states = max(self.n_states, self.probabilities.shape[1])
        # States that the model has are known; of a path alone, some may not have been visited.
        self.state_names = checked_names(
            "StatePathDisplay", "state_names", state_names, self.n_states, probabilities is None
        )
        self.n_states = len(self.state_names)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, lengths: Any = None, *, series: Any = None, times: Any = None,
        state_names: Sequence[str] | None = None, ax: Any = None, **kwargs: Any
    ) -> StatePathDisplay:
        """Decode X with a fitted model and plot it.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``predict(X, lengths)``, and ``predict_proba`` for the lower axes; or
            a fitted pipeline that ends with one.
        X : array-like or DataFrame of shape (T, d)
            Observations. A pipeline transforms them for its model; they are drawn as given.
        series : array-like of shape (T,) or (T, c), optional
            Values to draw instead of X, such as prices where X contains their changes.
        times : array-like of shape (T,), optional
            Positions on the time axis; by default the index of a DataFrame, or else 0, 1, ...
        ax : matplotlib Axes or pair of Axes, optional
            Axes to draw on. A single one is divided in two; a pair takes the series and the
            probabilities. A new figure is created by default.

        Returns
        -------
        display : StatePathDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or does not predict, shapes do not match, or the values
            to draw are not numeric.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.hmm import GaussianHMM
        >>> from kernelmill.plot import StatePathDisplay
        >>> X = np.repeat([[0.0], [9.0], [0.0]], 30, axis=0)
        >>> X += np.random.default_rng(0).standard_normal(X.shape)
        >>> model = GaussianHMM(2, random_state=0).fit(X)
        >>> display = StatePathDisplay.from_estimator(model, X, state_names=["calm", "busy"])
        >>> np.flatnonzero(np.diff(display.states))
        array([29, 59])
        """
        steps, model = split(cls.__name__, estimator, "predict")
        seen = transform(cls.__name__, steps, X)
        extra = () if lengths is None else (lengths,)
        if times is None and is_frame(X) and library(X) == "pandas":
            times = X.index
        shown = X if series is None else series
        display = cls(
            shown,
            to_host(model.predict(seen, *extra)),
            probabilities=(
                to_host(model.predict_proba(seen, *extra))
                if hasattr(model, "predict_proba")
                else None
            ),
            times=times,
            lengths=lengths,
            state_names=state_names,
            series_names=_column_names(shown),
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, series: Any, states: Any, *, probabilities: Any = None, times: Any = None,
        lengths: Any = None, state_names: Sequence[str] | None = None, ax: Any = None, **kwargs: Any
    ) -> StatePathDisplay:
        """Plot a series with the given states.

        Parameters
        ----------
        series : array-like of shape (T,) or (T, d)
            The values to draw.
        states : array-like of shape (T,), int
            State at each time, from 0.
        probabilities : array-like of shape (T, K), optional
            Posterior probabilities.
        times : array-like of shape (T,), optional
            Positions on the time axis.
        ax : matplotlib Axes or pair of Axes, optional
            As in `from_estimator`.

        Returns
        -------
        display : StatePathDisplay

        Raises
        ------
        ValueError
            If shapes do not match or the series is not numeric.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.plot import StatePathDisplay
        >>> series = np.r_[np.zeros(20), np.ones(30)]
        >>> StatePathDisplay.from_predictions(series, series.astype(int)).n_states
        2
        """
        display = cls(
            series,
            states,
            probabilities=probabilities,
            times=times,
            lengths=lengths,
            state_names=state_names,
            series_names=_column_names(series),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> StatePathDisplay:
        """Draw the series over the spans of its states, and the probabilities below.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, optional
            As in `from_estimator`.
        **kwargs
            Passed to ``ax.plot`` for the series.

        Returns
        -------
        display : StatePathDisplay
            The display itself, with ``ax_``, ``probability_ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import StatePathDisplay
        >>> display = StatePathDisplay([1.0, 1.2, 3.1], [0, 0, 1], state_names=["low", "high"])
        >>> [text.get_text() for text in display.plot().ax_.get_legend().get_texts()]
        ['low', 'high']
        """
        top, below = self._pair(ax)
        colors = cluster_colors(self.n_states)
        shades = [lighter(color, 0.62) for color in colors]
        edges = self._edges(top)
        for state, shade in enumerate(shades):
            self._draw_spans(top, edges, np.flatnonzero(self.states == state), shade)
        # One line per column, with a gap between sequences.
        starts = np.cumsum(self.lengths)[:-1]
        x = np.insert(self.times, starts, self.times[starts]) if len(starts) else self.times
        d = self.series.shape[1]
        inks = [INK] if d == 1 else [INK, "#6B7480", "#A3ABB5"]
        for column in range(d):
            y = np.insert(self.series[:, column].astype(np.float64), starts, np.nan)
            name = self.series_names[column] if self.series_names else f"Feature {column}"
            style: dict[str, Any] = {"linewidth": 1.1 if len(y) < 3000 else 0.7, "zorder": 3}
            style["color"] = inks[column % len(inks)]
            top.plot(x, y, label=f"_{name}", **{**style, **kwargs})
        if self.series_names and d == 1:
            top.set_ylabel(self.series_names[0])
        for axes in (top,) if below is None else (top, below):
            self._format_dates(axes)
            for edge in edges[starts]:
                axes.axvline(edge, color=INK, linewidth=0.8, linestyle=":", zorder=4)
        top.set_xlim(edges[0], edges[-1])
        if self.n_states <= MOST_IN_LEGEND:
            from matplotlib.patches import Patch

            legend_beside(top, [Patch(color=s) for s in shades], self.state_names, title="State")
        if below is not None:
            self._draw_probabilities(below, edges, colors)
            top.tick_params(labelbottom=False)
            top.xaxis.offsetText.set_visible(False)
        self.probability_ax_ = below
        return self._finish(top, counted(self.n_states, "state"))

    def _pair(self, ax: Any) -> tuple[Any, Any]:
        """Axes of the series, and of the probabilities or None."""
        if isinstance(ax, (tuple, list, np.ndarray)):
            top, below = ax
            return self._axes(top), None if self.probabilities is None else self._axes(below)
        ax = self._axes(ax, (9.0, 4.6))
        spec = ax.get_subplotspec()
        if self.probabilities is None or spec is None:
            return ax, None
        # The given axes stay, without decoration, and two take their place.
        ax.set_axis_off()
        grid = spec.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.06)
        top = self._axes(ax.figure.add_subplot(grid[0]))
        return top, self._axes(ax.figure.add_subplot(grid[1], sharex=top))

    def _edges(self, ax: Any) -> np.ndarray:
        """The T + 1 borders of the times as numbers: midpoints, and one as far outside each end."""
        ax.xaxis.update_units(self.times)
        x = np.asarray(ax.convert_xunits(self.times), dtype=np.float64)
        if len(x) == 1:
            return np.array([x[0] - 0.5, x[0] + 0.5])
        middle = (x[1:] + x[:-1]) / 2
        return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])

    def _format_dates(self, ax: Any) -> None:
        """Short labels for dates: full ones overlap in narrow axes."""
        if self.times.dtype.kind == "M":
            from matplotlib.dates import ConciseDateFormatter

            ax.xaxis.update_units(self.times)
            ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))

    @staticmethod
    def _draw_spans(ax: Any, edges: np.ndarray, here: np.ndarray, color: Any) -> None:
        """Runs of one state as one collection, as high as the axes."""
        first = here[np.diff(here, prepend=-2) > 1]
        last = here[np.diff(here, append=edges.size + 1) > 1]
        spans = np.column_stack([edges[first], edges[last + 1] - edges[first]])
        transform = ax.get_xaxis_transform()
        ax.broken_barh(spans, (0, 1), transform=transform, facecolors=[color], lw=0, zorder=0)

    def _draw_probabilities(self, ax: Any, edges: np.ndarray, colors: list[Any]) -> None:
        assert self.probabilities is not None
        # Steps that are constant between borders, stacked to one.
        x = np.repeat(edges, 2)[1:-1]
        base = np.zeros(len(x))
        for p, color in zip(np.repeat(self.probabilities, 2, axis=0).T, colors, strict=False):
            ax.fill_between(x, base, base + p, color=color, linewidth=0, zorder=1)
            base = base + p
        ax.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="Probability")
        ax.set_xlim(edges[0], edges[-1])


def _column_names(X: Any) -> list[str] | None:
    return [str(name) for name in column_names(X)] if is_frame(X) else None
