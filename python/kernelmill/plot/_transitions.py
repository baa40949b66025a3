"""A transition matrix as a heat map, or as a graph of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._pipeline import split
from ._style import (
    FAINT,
    INK,
    MOST_IN_LEGEND,
    Display,
    checked_names,
    cluster_colors,
    hide_spines,
    legend_beside,
    lighter,
)

_SHOWN = 0.005  # smaller probabilities would read "0.00": they get no arrow, and "~0" as text


class TransitionDisplay(Display):
    """Transition probabilities between states, as a heat map or a graph.

    Create one with `from_estimator` or `from_predictions`, which compute the parameters.

    Parameters
    ----------
    transmat : array-like of shape (K, M)
        ``transmat[i, j]`` is the probability that j follows state i.
    weights : array-like of shape (K,), optional
        Share of time spent in each state; determines the sizes of the nodes of the graph.
    state_names : sequence of str, optional
        Names of the rows; numbers by default.
    symbol_names : sequence of str, optional
        Names of the columns, if they are not the states.

    Attributes
    ----------
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import TransitionDisplay
    >>> TransitionDisplay([[0.9, 0.1], [0.4, 0.6]]).state_names
    ['0', '1']
    """

    def __init__(
        self, transmat: Any, *, weights: Any = None, state_names: Sequence[str] | None = None,
        symbol_names: Sequence[str] | None = None, estimator_name: str | None = None
    ) -> None:
        self.transmat = np.asarray(transmat, dtype=np.float64)
        if self.transmat.ndim != 2 or not self.transmat.size:
            raise ValueError(
                f"TransitionDisplay: transmat must be a matrix, got shape {self.transmat.shape}"
            )
        K, M = self.transmat.shape
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        if self.weights is not None and self.weights.shape != (K,):
            raise ValueError(
                f"TransitionDisplay: weights must have shape ({K},), got {self.weights.shape}"
            )
        owner, self.estimator_name = type(self).__name__, estimator_name
        self.state_names = checked_names(owner, "state_names", state_names, K)
        if symbol_names is None and K == M:
            symbol_names = self.state_names
        self.symbol_names = checked_names(owner, "symbol_names", symbol_names, M)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, state_names: Sequence[str] | None = None, ax: Any = None,
        **kwargs: Any
    ) -> TransitionDisplay:
        """Plot the transitions of a fitted Markov chain or hidden Markov model.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``transmat_``, or a fitted pipeline that ends with one. Names come
            from ``states_`` if it has them, shares of time from ``long_run_distribution`` or
            ``get_stationary_distribution``.
        state_names : sequence of str, optional
            Names to use instead.

        Returns
        -------
        display : TransitionDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or has no transitions, the number of names is wrong, or
            the graph of a chain of higher order is requested.

        Examples
        --------
        >>> from kernelmill.markov import MarkovChain
        >>> from kernelmill.plot import TransitionDisplay
        >>> chain = MarkovChain.from_matrix([[0.9, 0.1], [0.4, 0.6]], classes=["idle", "busy"])
        >>> TransitionDisplay.from_estimator(chain, kind="graph").weights
        array([0.8, 0.2])
        """
        _, model = split(cls.__name__, estimator, "transmat_")
        symbols = None
        if state_names is None and hasattr(model, "states_"):
            state_names = [_name(state) for state in np.asarray(model.states_).tolist()]
            symbols = [_name(symbol) for symbol in np.asarray(model.classes_).tolist()]
        weights = None
        for method in ("long_run_distribution", "get_stationary_distribution"):
            if hasattr(model, method):
                weights = getattr(model, method)()
                break
        display = cls(
            model.transmat_,
            weights=weights,
            state_names=state_names,
            symbol_names=symbols,
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, states: Any, lengths: Any = None, *, state_names: Sequence[str] | None = None,
        ax: Any = None, **kwargs: Any
    ) -> TransitionDisplay:
        """Plot how often each state follows each other one in the given paths.

        Parameters
        ----------
        states : array-like of shape (T,)
            States over time, such as those that ``predict`` of a hidden Markov model returns.
        state_names : sequence of str, optional
            Names, in the order of the sorted states.

        Returns
        -------
        display : TransitionDisplay

        Raises
        ------
        ValueError
            If shapes do not match or the number of names is wrong.

        Examples
        --------
        >>> from kernelmill.plot import TransitionDisplay
        >>> TransitionDisplay.from_predictions([0, 0, 0, 1, 0, 1, 1]).transmat
        array([[0.5, 0.5],
               [0.5, 0.5]])
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
        """Draw the transitions.

        Parameters
        ----------
        kind : {"matrix", "graph"}, default="matrix"
            A heat map, or states on a circle with arrows whose widths show the probabilities.
        values : bool, optional
            Write the probabilities; by default, done for up to 12 states.
        **kwargs
            Passed to ``ax.imshow`` for the matrix, to every arrow of the graph.

        Returns
        -------
        display : TransitionDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Raises
        ------
        ValueError
            If kind is unknown, or is "graph" for a matrix that is not square.

        Examples
        --------
        >>> from kernelmill.plot import TransitionDisplay
        >>> display = TransitionDisplay([[0.9, 0.1], [0.4, 0.6]], state_names=["idle", "busy"])
        >>> [text.get_text() for text in display.plot().ax_.texts]
        ['0.90', '0.10', '0.40', '0.60']
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
            values = max(K, M) <= MOST_IN_LEGEND
        if kind == "matrix":
            size = float(np.clip(1.2 + 0.55 * max(K, M), 3.6, 9))
            long, wide = (max(map(len, n)) for n in (self.state_names, self.symbol_names))
            # Characters are about 0.08 inches wide; names of columns lean where they would touch.
            slanted = wide > 3 and wide * 0.08 > 0.8 * (size - 1) / M
            height = size + 0.055 * max(0, wide - 6) if slanted else size
            ax = self._axes(ax, (size + 1.1 + 0.08 * max(0, long - 6), height))
            self._draw_matrix(ax, values, slanted, kwargs)
        else:
            own = ax is None
            ax = self._axes(ax, (5.6, 5.4))
            self._draw_graph(ax, values, kwargs)
            if own and ax.get_legend() is not None:
                ax.set_anchor("W")
                ax.figure.set_size_inches(6.2 + 0.08 * max(map(len, self.state_names)), 5.4)
        hide_spines(ax)
        return self._finish(ax, "transitions")

    def _draw_matrix(
        self, ax: Any, values: bool, slanted: bool, options: dict[str, Any]
    ) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        shades = LinearSegmentedColormap.from_list(
            "probability", ["#FFFFFF", "#CFE3F2", "#56A5D6", "#0072B2", "#003F66"]
        )
        style = {"cmap": shades, "vmin": 0, "vmax": 1, "aspect": "equal"}
        image = ax.imshow(self.transmat, **{**style, **options})
        K, M = self.transmat.shape
        ax.set_xticks(range(M), self.symbol_names)
        if slanted:
            ax.tick_params(axis="x", rotation=45)
            for tick in ax.get_xticklabels():
                tick.set(ha="right", rotation_mode="anchor")
        ax.set_yticks(range(K), self.state_names)
        ax.set(xlabel="to", ylabel="from")
        # White lines between the cells instead of a frame.
        ax.set_xticks(np.arange(M + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(K + 1) - 0.5, minor=True)
        if max(K, M) <= 40:
            ax.grid(which="minor", color="white", linewidth=1.5)
        ax.tick_params(which="both", length=0)
        if values:
            for (i, j), p in np.ndenumerate(self.transmat):
                text = f"{p:.2f}" if p >= _SHOWN else ("0" if p == 0 else "~0")
                color = "white" if p > 0.62 else (INK if p >= _SHOWN else FAINT)
                ax.text(j, i, text, ha="center", va="center", color=color, fontsize=9.5)
        else:
            bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, label="Probability")
            bar.outline.set_visible(False)

    def _draw_graph(self, ax: Any, values: bool, options: dict[str, Any]) -> None:
        from matplotlib.patches import Circle

        from ._node_label import SMALLEST, NodeLabel

        K = len(self.transmat)
        # The first state on top, then clockwise; a pair side by side.
        angles = np.pi / 2 - 2 * np.pi * np.arange(K) / K if K > 2 else np.pi * (1 - np.arange(K))
        places = np.column_stack([np.cos(angles), np.sin(angles)]) if K > 1 else np.zeros((1, 2))
        share = np.full(K, 1 / K) if self.weights is None else self.weights
        biggest = 0.3 * min(1, 2 * np.sin(np.pi / max(K, 2)))  # times the distance of neighbours
        radii = biggest * np.sqrt(np.clip(share / max(share.max(), 1e-300), 0.15, 1))
        colors = cluster_colors(K)
        for i, j in zip(*np.nonzero(self.transmat >= _SHOWN), strict=True):
            if i == j:
                path, label_at = _loop(places[i], radii[i])
            else:
                near = min((i - j) % K, (j - i) % K) == 1
                clear = np.inf if near else 1 - 1.3 * biggest
                path, label_at = _arc(places[i], places[j], radii[i], radii[j], clear)
            p = float(self.transmat[i, j])
            _draw_arrow(ax, path, p, {"color": colors[i], **options})
            if values:
                ax.text(
                    *label_at, f"{p:.2f}", ha="center", va="center", color=INK, fontsize=8.5,
                    zorder=4, bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none",
                                    "alpha": 0.85},
                )  # fmt: skip
        reach = 1.28 + 1.75 * biggest
        height = reach if K > 2 else 0.55 * reach
        ax.set(xlim=(-reach, reach), ylim=(-height, height), xticks=[], yticks=[], aspect="equal")
        nodes = []
        for place, radius, color in zip(places, radii, colors, strict=True):
            style = {"facecolor": lighter(color, 0.72), "edgecolor": color, "linewidth": 2}
            nodes.append(ax.add_patch(Circle(place, radius, zorder=3, **style)))
        labels = [
            NodeLabel(place, radius, name)
            for place, radius, name in zip(places, radii, self.state_names, strict=True)
        ]
        for label in labels:
            ax.add_artist(label)
        box = ax.get_window_extent().size * 72 / ax.figure.dpi
        unit = min(box / (2 * np.array([reach, height])))  # points; the layout may give more
        if min(label.fitting(unit) for label in labels) < SMALLEST:
            for j, label in enumerate(labels):
                label.write(str(j))
            texts = [f"{j}  {name}" for j, name in enumerate(self.state_names)]
            legend_beside(ax, nodes, texts, title="State")


def _name(state: Any) -> str:
    """A state as text; windows of one-character symbols are written as one word."""
    if isinstance(state, tuple):
        parts = [str(part) for part in state]
        return ("" if all(len(part) == 1 for part in parts) else " ").join(parts)
    return str(state)


def _draw_arrow(ax: Any, points: np.ndarray, p: float, options: dict[str, Any]) -> None:
    """An arrow along a Bezier curve, the wider and darker the larger its probability."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    curve = Path.CURVE4 if len(points) == 4 else Path.CURVE3
    style = {
        "arrowstyle": f"-|>,head_length={4 + 3 * p:.2f},head_width={2 + 1.8 * p:.2f}",
        "linewidth": 0.7 + 2.6 * p,
        "alpha": 0.35 + 0.6 * p,
        "zorder": 2,
        "shrinkA": 0,
        "shrinkB": 0,
        "joinstyle": "miter",
        "capstyle": "butt",
    }
    path = Path(points, [Path.MOVETO] + [curve] * (len(points) - 1))
    ax.add_patch(FancyArrowPatch(path=path, **{**style, **options}))


def _arc(
    a: np.ndarray, b: np.ndarray, r: float, s: float, clear: float
) -> tuple[np.ndarray, np.ndarray]:
    """An arc from one circle to another, bent to the right but less than `clear`, and its middle.

    An arc that leaves the circle of radius `clear` around the origin would cross other nodes.
    """
    direction = b - a
    length = float(np.hypot(*direction))
    right = np.array([direction[1], -direction[0]]) / length
    middle = (a + b) / 2
    bend = 0.24 * length + 0.06
    if right @ middle > 0:
        bend = min(bend, 2 * (clear - float(np.hypot(*middle))))
    control = middle + bend * right
    # Ends lie on the circles, where the straight lines to the control point leave them.
    out, back = control - a, control - b
    start = a + out / np.hypot(*out) * (r + 0.02)
    stop = b + back / np.hypot(*back) * (s + 0.03)
    return np.array([start, control, stop]), (start + 2 * control + stop) / 4


def _loop(at: np.ndarray, r: float) -> tuple[np.ndarray, np.ndarray]:
    """A loop outside the circle of states, and its far end."""
    distance = float(np.hypot(*at))
    x, y = at / distance if distance > 0 else np.array([0.0, 1.0])

    def offset(angle: float, length: float) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        return at + length * np.array([c * x - s * y, s * x + c * y])

    reach = 2.0 * r + 0.26
    path = np.array(
        [offset(0.45, r + 0.01), offset(0.75, reach), offset(-0.75, reach), offset(-0.45, r + 0.03)]
    )
    return path, np.array([1, 3, 3, 1]) @ path / 8
