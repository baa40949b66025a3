"""A series with its decoded states as coloured spans, and their probabilities below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._style import FAINT, INK, axes_for, cluster_colors, lighter


class StatePathDisplay:
    """A series in time, coloured by the hidden state it is in.

    Make one with `from_estimator` or `from_predictions`; the parameters are what they compute.

    Parameters
    ----------
    series : array-like of shape (T,) or (T, d)
        What is drawn.
    states : array-like of shape (T,), int
        State at each time, from 0.
    probabilities : array-like of shape (T, K), optional
        Posterior probability of each state, drawn below.
    times : array-like of shape (T,), optional
        Places on the time axis, ascending: numbers or dates; 0, 1, ... when left out.
    lengths : array-like of shape (S,), optional
        Lengths of the sequences that the series is made of; their borders are drawn.
    state_names : sequence of str, optional
        Names for the legend; numbers when left out.
    series_names : sequence of str, optional
        Names of the columns.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    n_states : int
        K.
    ax_ : matplotlib Axes
        Axes of the series.
    probability_ax_ : matplotlib Axes or None
        Axes of the probabilities.
    figure_ : matplotlib Figure
        Figure of the axes.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from kernelmill.plot import StatePathDisplay
    >>> series = np.r_[np.zeros(20), np.ones(30)]
    >>> display = StatePathDisplay.from_predictions(series, series.astype(int))
    >>> display.n_states
    2
    """

    def __init__(
        self,
        series: Any,
        states: Any,
        *,
        probabilities: Any = None,
        times: Any = None,
        lengths: Any = None,
        state_names: Sequence[str] | None = None,
        series_names: Sequence[str] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.series = np.asarray(series)
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
                f"StatePathDisplay: series must have at least one row and lengths add up to them, "
                f"got {T} rows and a sum of {self.lengths.sum()}"
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
        if state_names is not None:
            self.n_states = max(self.n_states, len(state_names))
        self.state_names = state_names or [str(j) for j in range(self.n_states)]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        lengths: Any = None,
        *,
        series: Any = None,
        times: Any = None,
        state_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> StatePathDisplay:
        """Decode X by a fitted model and draw.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``predict(X, lengths)``, and ``predict_proba`` for the lower part.
        X : array-like or DataFrame of shape (T, d)
            Observations.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences.
        series : array-like of shape (T,) or (T, c), optional
            What to draw in place of X, such as prices where X holds their changes.
        times : array-like of shape (T,), optional
            Places on the time axis; the index of a frame when left out, else 0, 1, ...
        state_names : sequence of str, optional
            Names for the legend.
        ax : matplotlib Axes or pair of these, optional
            Where to draw. One is divided, a pair takes the series and the probabilities. A new
            figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : StatePathDisplay

        Raises
        ------
        ValueError
            If shapes do not fit.
        ImportError
            If matplotlib is not installed.
        """
        extra = () if lengths is None else (lengths,)
        probabilities = None
        if hasattr(estimator, "predict_proba"):
            probabilities = estimator.predict_proba(X, *extra)
        shown = X if series is None else series
        names = [str(name) for name in getattr(shown, "columns", ())] or None
        if times is None and hasattr(X, "columns") and hasattr(X, "index"):
            times = X.index
        display = cls(
            shown,
            estimator.predict(X, *extra),
            probabilities=probabilities,
            times=times,
            lengths=lengths,
            state_names=state_names,
            series_names=names,
            estimator_name=type(estimator).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        series: Any,
        states: Any,
        *,
        probabilities: Any = None,
        times: Any = None,
        lengths: Any = None,
        state_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> StatePathDisplay:
        """Draw given states.

        Parameters
        ----------
        series : array-like of shape (T,) or (T, d)
            What is drawn.
        states : array-like of shape (T,), int
            State at each time, from 0.
        probabilities : array-like of shape (T, K), optional
            Posterior probabilities.
        times : array-like of shape (T,), optional
            Places on the time axis.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences.
        state_names : sequence of str, optional
            Names for the legend.
        ax : matplotlib Axes or pair of these, optional
            As in `from_estimator`.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : StatePathDisplay

        Raises
        ------
        ValueError
            If shapes do not fit.
        ImportError
            If matplotlib is not installed.
        """
        names = [str(name) for name in getattr(series, "columns", ())] or None
        display = cls(
            series,
            states,
            probabilities=probabilities,
            times=times,
            lengths=lengths,
            state_names=state_names,
            series_names=names,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> StatePathDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or pair of these, optional
            As in `from_estimator`.
        **kwargs
            Passed to ``ax.plot`` for the series.

        Returns
        -------
        display : StatePathDisplay
            Itself, with ``ax_``, ``probability_ax_`` and ``figure_``.
        """
        top, below = self._axes(ax)
        colors = cluster_colors(self.n_states)
        edges, floats = self._edges(top)
        for j, color in enumerate(colors):
            here = np.flatnonzero(self.states == j)
            self._spans(top, edges, here, lighter(color, 0.62))
        style: dict[str, Any] = {"linewidth": 1.1 if len(floats) < 3000 else 0.7, "zorder": 3}
        inks = [INK] if self.series.shape[1] == 1 else [INK, "#6B7480", "#A3ABB5"]
        ends = np.cumsum(self.lengths)
        for column in range(self.series.shape[1]):
            # One line with a gap between sequences.
            x, y = self.times, self.series[:, column]
            gaps = ends[:-1]
            y = np.insert(y.astype(np.float64), gaps, np.nan)
            x = np.insert(x, gaps, x[gaps]) if len(gaps) else x
            name = self.series_names[column] if self.series_names else f"Feature {column}"
            drawn = {**style, "color": inks[column % len(inks)], **kwargs}
            top.plot(x, y, label=f"_{name}", **drawn)
        single = self.series_names[0] if self.series_names and self.series.shape[1] == 1 else ""
        top.set_ylabel(single)
        for end in ends[:-1]:
            for axes in (top, below) if below is not None else (top,):
                axes.axvline(edges[end], color=INK, linewidth=0.8, linestyle=":", zorder=4)
        top.set_xlim(edges[0], edges[-1])
        if self.n_states <= 12:
            from matplotlib.patches import Patch

            marks = [Patch(color=lighter(color, 0.62)) for color in colors]
            top.legend(
                marks,
                self.state_names,
                title="State",
                loc="upper left",
                bbox_to_anchor=(1.0, 1.0),
                frameon=False,
            )
        if self.estimator_name:
            top.set_title(f"{self.estimator_name}: {self.n_states} states", loc="left")
        if below is not None:
            self._draw_probabilities(below, edges, colors)
            top.tick_params(labelbottom=False)
        self.ax_, self.probability_ax_, self.figure_ = top, below, top.figure
        return self

    def _axes(self, ax: Any) -> tuple[Any, Any]:
        from ._style import pyplot

        pyplot("StatePathDisplay")
        if isinstance(ax, (tuple, list, np.ndarray)):
            top, below = ax
            return axes_for("StatePathDisplay", top, (0, 0)), (
                axes_for("StatePathDisplay", below, (0, 0))
                if self.probabilities is not None
                else None
            )
        ax = axes_for("StatePathDisplay", ax, (9.0, 4.6))
        spec = ax.get_subplotspec()
        if self.probabilities is None or spec is None:
            return ax, None
        # The given axes stay, without decoration, and two take its place.
        ax.set_axis_off()
        grid = spec.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.06)
        top = ax.figure.add_subplot(grid[0])
        below = ax.figure.add_subplot(grid[1], sharex=top)
        return axes_for("StatePathDisplay", top, (0, 0)), axes_for(
            "StatePathDisplay", below, (0, 0)
        )

    def _edges(self, ax: Any) -> tuple[np.ndarray, np.ndarray]:
        """Borders between the times as numbers, T + 1 of them: half way, and as far outside."""
        ax.xaxis.update_units(self.times)
        x = np.asarray(ax.convert_xunits(self.times), dtype=np.float64)
        if len(x) == 1:
            return np.array([x[0] - 0.5, x[0] + 0.5]), x
        middle = (x[1:] + x[:-1]) / 2
        return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]]), x

    @staticmethod
    def _spans(ax: Any, edges: np.ndarray, here: np.ndarray, color: Any) -> None:
        """Runs of one state as one collection, whose height is that of the axes."""
        first = here[np.diff(here, prepend=-2) > 1]
        last = here[np.diff(here, append=edges.size + 1) > 1]
        widths = [(edges[a], edges[b + 1] - edges[a]) for a, b in zip(first, last, strict=True)]
        ax.broken_barh(
            widths,
            (0, 1),
            transform=ax.get_xaxis_transform(),
            facecolors=[color],
            linewidth=0,
            zorder=0,
        )

    def _draw_probabilities(self, ax: Any, edges: np.ndarray, colors: list[Any]) -> None:
        # Steps that are constant between borders, stacked to one.
        assert self.probabilities is not None
        x = np.repeat(edges, 2)[1:-1]
        p = np.repeat(self.probabilities, 2, axis=0)
        base = np.zeros(len(x))
        for j in range(p.shape[1]):
            ax.fill_between(x, base, base + p[:, j], color=colors[j], linewidth=0, zorder=1)
            base = base + p[:, j]
        ax.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="Probability")
        ax.set_xlim(edges[0], edges[-1])
        ax.spines["left"].set_color(FAINT)
