"""A transition matrix as a heat map, or as a graph of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._style import FAINT, INK, axes_for, cluster_colors, lighter

_SHOWN = 0.005  # probabilities below are "0.00" and get neither arrow nor text


class TransitionDisplay:
    """Transition probabilities between states.

    Make one with `from_estimator` or `from_predictions`; the parameters are what they compute.

    Parameters
    ----------
    transmat : array-like of shape (K, M)
        ``transmat[i, j]``: probability that j follows state i.
    weights : array-like of shape (K,), optional
        Shares of time spent in the states; sizes of the nodes of the graph.
    state_names : sequence of str, optional
        Names of the rows; numbers when left out.
    symbol_names : sequence of str, optional
        Names of the columns, where they are not the states.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the axes.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from kernelmill.markov import MarkovChain
    >>> from kernelmill.plot import TransitionDisplay
    >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]], classes=["idle", "busy"])
    >>> display = TransitionDisplay.from_estimator(chain, kind="graph")
    >>> display.weights
    array([0.8, 0.2])
    """

    def __init__(
        self,
        transmat: Any,
        *,
        weights: Any = None,
        state_names: Sequence[str] | None = None,
        symbol_names: Sequence[str] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.transmat = np.asarray(transmat, dtype=np.float64)
        if self.transmat.ndim != 2 or not self.transmat.size:
            raise ValueError(
                f"TransitionDisplay: transmat must be a matrix, got shape {self.transmat.shape}"
            )
        K, M = self.transmat.shape
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        self.state_names = [str(j) for j in range(K)] if state_names is None else list(state_names)
        if symbol_names is not None:
            self.symbol_names = list(symbol_names)
        else:
            self.symbol_names = self.state_names if K == M else [str(j) for j in range(M)]
        self.estimator_name = estimator_name
        if (len(self.state_names), len(self.symbol_names)) != (K, M):
            raise ValueError(
                f"TransitionDisplay: state_names must have a name for each of {K} states, got "
                f"{len(self.state_names)}"
            )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        state_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> TransitionDisplay:
        """Draw the transitions of a fitted Markov chain or hidden Markov model.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transmat_``; names come from ``states_`` where it has them, shares of
            time from ``long_run_distribution`` or ``get_stationary_distribution``.
        state_names : sequence of str, optional
            Names in place of these.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : TransitionDisplay

        Raises
        ------
        ValueError
            If the names do not fit, or the graph of a chain of higher order is asked for.
        ImportError
            If matplotlib is not installed.
        """
        symbols = None
        if state_names is None and hasattr(estimator, "states_"):
            state_names = [_name(state) for state in np.asarray(estimator.states_).tolist()]
            symbols = [_name(symbol) for symbol in np.asarray(estimator.classes_).tolist()]
        weights = None
        for method in ("long_run_distribution", "get_stationary_distribution"):
            if hasattr(estimator, method):
                weights = getattr(estimator, method)()
                break
        display = cls(
            estimator.transmat_,
            weights=weights,
            state_names=state_names,
            symbol_names=symbols,
            estimator_name=type(estimator).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        states: Any,
        lengths: Any = None,
        *,
        state_names: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> TransitionDisplay:
        """Draw how often each state follows each other in given paths.

        Parameters
        ----------
        states : array-like of shape (T,)
            States in time, such as ``predict`` of a hidden Markov model gives.
        lengths : array-like of shape (S,), optional
            Lengths of the sequences.
        state_names : sequence of str, optional
            Names, in the order of the sorted states.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : TransitionDisplay

        Raises
        ------
        ValueError
            If shapes or names do not fit.
        ImportError
            If matplotlib is not installed.
        """
        from ..markov import MarkovChain

        chain = MarkovChain().fit(np.asarray(states), lengths=lengths)
        if state_names is None:
            state_names = [_name(state) for state in chain.states_.tolist()]
        weights = chain.long_run_distribution()
        display = cls(chain.transmat_, weights=weights, state_names=state_names)
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, kind: str = "matrix", values: bool | None = None, **kwargs: Any
    ) -> TransitionDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        kind : {"matrix", "graph"}, default="matrix"
            A heat map, or states on a circle with arrows as wide as probabilities.
        values : bool, optional
            Write the probabilities; done for up to 12 states when left out.
        **kwargs
            Passed to ``ax.imshow`` for the matrix, to every arrow of the graph.

        Returns
        -------
        display : TransitionDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If kind is another one, or "graph" for a matrix that is not square.
        """
        if kind not in ("matrix", "graph"):
            raise ValueError(f"TransitionDisplay: kind must be 'matrix' or 'graph', got {kind!r}")
        K, M = self.transmat.shape
        if kind == "graph" and K != M:
            raise ValueError(
                f"TransitionDisplay: kind must be 'matrix' for a chain of higher order, got "
                f"'graph' for {K} states of {M} symbols"
            )
        if values is None:
            values = max(K, M) <= 12
        if kind == "matrix":
            size = float(np.clip(1.2 + 0.55 * max(K, M), 3.6, 9))
            ax = axes_for("TransitionDisplay", ax, (size + 1.1, size))
            self._draw_matrix(ax, values, kwargs)
        else:
            ax = axes_for("TransitionDisplay", ax, (5.6, 5.4))
            self._draw_graph(ax, values, kwargs)
        if self.estimator_name:
            ax.set_title(f"{self.estimator_name}: transitions", loc="left")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_matrix(self, ax: Any, values: bool, options: dict[str, Any]) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        shades = LinearSegmentedColormap.from_list(
            "probability", ["#FFFFFF", "#CFE3F2", "#56A5D6", "#0072B2", "#003F66"]
        )
        style = {"cmap": shades, "vmin": 0, "vmax": 1, "aspect": "equal"}
        image = ax.imshow(self.transmat, **{**style, **options})
        K, M = self.transmat.shape
        long = max(map(len, self.symbol_names)) > 3
        ax.set_xticks(range(M), self.symbol_names, rotation=45 if long and M > 4 else 0)
        if long and M > 4:
            for tick in ax.get_xticklabels():
                tick.set_ha("right")
                tick.set_rotation_mode("anchor")
        ax.set_yticks(range(K), self.state_names)
        ax.set(xlabel="to", ylabel="from")
        # White lines between the cells, in place of a frame.
        ax.set_xticks(np.arange(M + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(K + 1) - 0.5, minor=True)
        if max(K, M) <= 40:
            ax.grid(which="minor", color="white", linewidth=1.5)
        ax.tick_params(which="both", length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        if values:
            for (i, j), p in np.ndenumerate(self.transmat):
                text = f"{p:.2f}" if p >= _SHOWN else ("0" if p == 0 else "~0")
                color = "white" if p > 0.62 else (INK if p >= _SHOWN else FAINT)
                ax.text(j, i, text, ha="center", va="center", color=color, fontsize=9.5)
        else:
            bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, label="Probability")
            bar.outline.set_visible(False)

    def _draw_graph(self, ax: Any, values: bool, options: dict[str, Any]) -> None:
        K = len(self.transmat)
        # The first state on top, then clockwise; a pair lies side by side.
        angles = np.pi / 2 - 2 * np.pi * np.arange(K) / K if K > 2 else np.pi * (1 - np.arange(K))
        places = np.column_stack([np.cos(angles), np.sin(angles)]) if K > 1 else np.zeros((1, 2))
        share = np.full(K, 1 / K) if self.weights is None else self.weights
        spacing = 2 * np.sin(np.pi / max(K, 2)) if K > 1 else 1.0
        biggest = min(0.3, 0.3 * spacing)
        radii = biggest * np.sqrt(np.clip(share / max(share.max(), 1e-300), 0.15, 1))
        colors = cluster_colors(K)
        for i in range(K):
            for j in range(K):
                if self.transmat[i, j] >= _SHOWN:
                    self._arrow(ax, places, radii, i, j, colors[i], values, options)
        from matplotlib.patches import Circle

        for i in range(K):
            ax.add_patch(
                Circle(
                    places[i], radii[i], facecolor=lighter(colors[i], 0.72), edgecolor=colors[i],
                    linewidth=2, zorder=3,
                )
            )  # fmt: skip
            name = self.state_names[i]
            fits = len(name) * 0.052 < 1.8 * radii[i]
            at = places[i] if fits else places[i] * (1 - (radii[i] + 0.16) / np.hypot(*places[i]))
            if not np.isfinite(at).all():
                at = places[i]
            ax.text(*at, name, ha="center", va="center", color=INK, fontsize=10, zorder=5)
        reach = 1 + biggest + 0.75 * biggest + 0.28
        height = reach if K > 2 else 0.55 * reach
        ax.set(xlim=(-reach, reach), ylim=(-height, height), xticks=[], yticks=[], aspect="equal")
        for spine in ax.spines.values():
            spine.set_visible(False)

    def _arrow(
        self, ax: Any, places: Any, radii: Any, i: int, j: int, color: Any, values: bool,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        p = float(self.transmat[i, j])
        if i == j:
            path, label_at = _loop(places[i], radii[i])
        else:
            path, label_at = _arc(places[i], places[j], radii[i], radii[j])
        style = {
            "arrowstyle": f"-|>,head_length={4 + 3 * p:.2f},head_width={2 + 1.8 * p:.2f}",
            "linewidth": 0.7 + 2.6 * p,
            "color": color,
            "alpha": 0.35 + 0.6 * p,
            "zorder": 2,
            "shrinkA": 0,
            "shrinkB": 0,
            "joinstyle": "miter",
            "capstyle": "butt",
        }
        curve = Path(path, [Path.MOVETO] + [Path.CURVE4 if len(path) == 4 else Path.CURVE3] * (
            len(path) - 1
        ))  # fmt: skip
        ax.add_patch(FancyArrowPatch(path=curve, **{**style, **options}))
        if values:
            ax.text(
                *label_at, f"{p:.2f}", ha="center", va="center", color=INK, fontsize=8.5, zorder=4,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none",
                      "alpha": 0.85},
            )  # fmt: skip


def _name(state: Any) -> str:
    """A state as text; windows of short symbols are written as one word."""
    if isinstance(state, tuple):
        parts = [str(part) for part in state]
        return ("" if all(len(part) == 1 for part in parts) else " ").join(parts)
    return str(state)


def _arc(a: np.ndarray, b: np.ndarray, r: float, s: float) -> tuple[np.ndarray, np.ndarray]:
    """A bow from one circle to another, to the right of the way, and its middle."""
    way = b - a
    length = float(np.hypot(*way))
    unit = way / length
    side = np.array([unit[1], -unit[0]])
    bend = 0.16 * length + 0.04
    control = (a + b) / 2 + 2 * bend * side * 0.75
    # Ends lie on the circles, where the straight lines to the control point leave them.
    out, back = control - a, control - b
    start = a + out / np.hypot(*out) * (r + 0.02)
    stop = b + back / np.hypot(*back) * (s + 0.03)
    return np.array([start, control, stop]), (start + 2 * control + stop) / 4


def _loop(at: np.ndarray, r: float) -> tuple[np.ndarray, np.ndarray]:
    """A loop outside the circle of states, and its far end."""
    distance = float(np.hypot(*at))
    unit = at / distance if distance > 0 else np.array([0.0, 1.0])
    turn = 0.45
    reach = 2.0 * r + 0.26

    def rotated(angle: float) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        return np.array([c * unit[0] - s * unit[1], s * unit[0] + c * unit[1]])

    start, stop = at + rotated(turn) * (r + 0.01), at + rotated(-turn) * (r + 0.03)
    first, second = at + rotated(0.75) * reach, at + rotated(-0.75) * reach
    path = np.array([start, first, second, stop])
    return path, (start + 3 * first + 3 * second + stop) / 8
