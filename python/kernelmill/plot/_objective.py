"""How the model of a search depends on one or two dimensions, averaged over the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._convergence import search_result
from ._style import FAINT, INK, PALETTE, Display

_MOST = 5  # dimensions that are drawn by default


class ObjectiveDisplay(Display):
    """Partial dependence of an objective on the dimensions of a search.

    Create one with `from_result`. On the diagonal is the model's median as a function of one
    dimension, averaged over the others, with a band that holds 95 %; below it that of two, with the
    points that were evaluated.

    Parameters
    ----------
    names : list of str
        Names of the dimensions.
    grids : list of ndarray
        Positions of values of each, of shape (m,).
    curves : list of ndarray of shape (3, m)
        Median, lower and upper end for each value.
    surfaces : dict of (int, int) to ndarray of shape (m, m)
        Medians by the second dimension of a pair, in rows, and the first.
    points : ndarray of shape (n, k)
        Positions of points that were evaluated; NaN where a dimension was not active.
    best : int
        Index of the best one; -1 if there is none.
    ticks : list of (positions, labels)
        Ticks for each dimension.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (k, k)
        Axes; None above the diagonal.
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.model_selection import minimize
    >>> from kernelmill.plot import ObjectiveDisplay
    >>> space = {"a": (-1.0, 2.0), "b": ["x", "y", "z"]}
    >>> result = minimize(lambda x: x["a"] ** 2 + len(x["b"]), space, n_calls=10, random_state=0)
    >>> display = ObjectiveDisplay.from_result(result)
    >>> display.names, display.axes_.shape
    (['a', 'b'], (2, 2))
    """

    def __init__(
        self, names: list[str], grids: list[np.ndarray], curves: list[np.ndarray],
        surfaces: dict[tuple[int, int], np.ndarray], points: np.ndarray, best: int,
        ticks: list[tuple[Any, list[str]]], estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        self.names, self.grids, self.curves, self.surfaces = names, grids, curves, surfaces
        self.points, self.best, self.ticks = points, best, ticks
        self.estimator_name = estimator_name

    @classmethod
    def from_result(
        cls, result: Any, *, dimensions: Sequence[str] | None = None, n_points: int = 24,
        n_samples: int = 128, random_state: int = 0, **kwargs: Any,
    ) -> ObjectiveDisplay:  # fmt: skip
        """Compute and draw the partial dependence.

        Parameters
        ----------
        result : SearchResult or BayesSearchCV
            What `kernelmill.model_selection.minimize` returns, or a fitted search.
        dimensions : sequence of str, optional
            Names of the dimensions to draw; the first five by default.
        n_points : int, default=24
            Values of a continuous dimension.
        n_samples : int, default=128
            Points, drawn from the priors, over which the other dimensions are averaged.
        random_state : int, default=0
            Seed of these points.

        Returns
        -------
        display : ObjectiveDisplay

        Raises
        ------
        ValueError
            If it is no result, there was no success, or a name is unknown.

        Examples
        --------
        >>> from kernelmill.model_selection import minimize
        >>> from kernelmill.plot import ObjectiveDisplay
        >>> result = minimize(lambda x: x[0] ** 2, [(-1.0, 2.0)], n_calls=8, random_state=0)
        >>> display = ObjectiveDisplay.from_result(result)
        >>> bool(abs(display.grids[0][display.curves[0][0].argmin()] - 1 / 3) < 0.1)
        True
        """
        owner, found = cls.__name__, search_result(cls.__name__, result)
        cls._pyplot()  # fail before the work, not after it
        space = found.space
        if not found.success:
            raise ValueError(f"{owner}: result must have a success, got {found!r}")
        shown = [i for i, d in enumerate(space.dimensions) if d.width and space.labels[i]]
        by_name = {space.names[i]: i for i in reversed(shown)}
        wanted = [space.names[i] for i in shown[:_MOST]] if dimensions is None else [*dimensions]
        unknown = [name for name in wanted if name not in by_name]
        if unknown or not wanted:
            raise ValueError(
                f"{owner}: dimensions must be some of {[*by_name]}, got {list(wanted)}"
            )
        chosen = [by_name[name] for name in wanted]
        rng = np.random.default_rng(random_state)
        others = space.draw(rng.random((n_samples, len(space.dimensions))))
        codes = [_codes(space.dimensions[i], n_points) for i in chosen]
        model = found.models[-1]

        def averaged(at: dict[int, np.ndarray]) -> np.ndarray:
            """Median and ends for each combination of codes, averaged over the others."""
            grid = np.stack([g.ravel() for g in np.meshgrid(*at.values(), indexing="ij")], 1)
            V = np.repeat(others[None], len(grid), axis=0)
            V[:, :, [*at]] = grid[:, None]
            flat = space.enabled(V.reshape(-1, V.shape[2]), [*at])
            flat = space.completed(flat, rng.random(flat.shape))
            bands = np.stack(model.bands(flat, 1.96)).reshape(3, len(grid), n_samples)
            return bands.mean(2)

        curves = [averaged({i: c}) for i, c in zip(chosen, codes, strict=True)]
        surfaces = {
            (a, b): averaged({chosen[b]: codes[b], chosen[a]: codes[a]})[0].reshape(
                len(codes[b]), len(codes[a])
            )
            for b in range(len(chosen))
            for a in range(b)
        }
        places = [_places(space.dimensions[i], c) for i, c in zip(chosen, codes, strict=True)]
        points = space.codes(found.rows)[:, chosen]
        for j, i in enumerate(chosen):
            active = ~np.isnan(points[:, j])
            points[active, j] = _places(space.dimensions[i], points[active, j])
        display = cls(
            wanted, places, curves, surfaces, points, found.best_index,
            [_ticks(space.dimensions[i]) for i in chosen], "Search",
        )  # fmt: skip
        return display.plot(**kwargs)

    def plot(self, figure: Any = None, **kwargs: Any) -> ObjectiveDisplay:
        """Draw the curves and surfaces.

        Parameters
        ----------
        figure : matplotlib Figure, optional
            Figure to draw on; a new one is created by default.
        **kwargs
            Passed to ``ax.plot`` for each curve.

        Returns
        -------
        display : ObjectiveDisplay
            The display itself, with ``axes_``, ``ax_`` (the first of them) and ``figure_`` set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt, k = self._pyplot(), len(self.names)
        if figure is None:
            figure = plt.figure(figsize=(2.4 * k + 1.2, 2.2 * k + 0.8), layout="constrained")
        self.axes_ = np.full((k, k), None, dtype=object)
        levels = np.linspace(*self._range(), 12)
        for b in range(k):
            for a in range(b + 1):
                ax = self._axes(figure.add_subplot(k, k, b * k + a + 1))
                self.axes_[b, a] = ax
                if a == b:
                    self._draw_curve(ax, a, kwargs)
                else:
                    self._draw_surface(ax, a, b, levels)
                self._label(ax, a, b, k)
        return self._finish(self.axes_[0, 0], "partial dependence")

    def _range(self) -> tuple[float, float]:
        values = [s for s in self.surfaces.values()] or [self.curves[0][0]]
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _draw_curve(self, ax: Any, a: int, kwargs: dict[str, Any]) -> None:
        middle, low, high = self.curves[a]
        few = len(self.ticks[a][1]) == len(self.grids[a])
        style = {"color": PALETTE[0], "linewidth": 1 if few else 2, "marker": "o" if few else ""}
        style["linestyle"] = ":" if few else "-"  # between choices there is nothing
        ax.fill_between(self.grids[a], low, high, color=PALETTE[0], alpha=0.15, linewidth=0)
        ax.plot(self.grids[a], middle, **{**style, **kwargs})
        if self.best >= 0:
            ax.axvline(self.points[self.best, a], color=PALETTE[5], linewidth=1, linestyle=":")

    def _draw_surface(self, ax: Any, a: int, b: int, levels: np.ndarray) -> None:
        surface = self.surfaces[a, b]
        if min(surface.shape) > 1:
            at = self.grids[a], self.grids[b]
            ax.contourf(*at, surface, levels, cmap="Blues_r", extend="both")
        ax.plot(self.points[:, a], self.points[:, b], ".", color=INK, markersize=4)
        if self.best >= 0:
            ax.plot(
                *self.points[self.best, [a, b]], "*", color=PALETTE[5], markersize=12,
                markeredgecolor="white",
            )  # fmt: skip

    def _label(self, ax: Any, a: int, b: int, k: int) -> None:
        ax.set_xticks(*self.ticks[a] if b == k - 1 else (self.ticks[a][0], []))
        if a == b:
            ax.yaxis.tick_right()
            ax.spines["left"].set_visible(False)
            ax.spines["right"].set_visible(True)
            ax.spines["right"].set_color(FAINT)
        else:
            ax.set_yticks(*self.ticks[b] if a == 0 else (self.ticks[b][0], []))
            if a == 0:
                ax.set_ylabel(self.names[b])
        if b == k - 1:
            ax.set_xlabel(self.names[a])


def _codes(dimension: Any, n: int) -> np.ndarray:
    if dimension.levels is not None and dimension.levels <= 16:
        codes = dimension._draw((np.arange(dimension.levels) + 0.5) / dimension.levels)
        if hasattr(dimension, "low"):
            codes = dimension.low + np.arange(dimension.levels, dtype=np.float64)
        return codes
    u = np.linspace(0, 1 - 1e-12, n)
    return np.unique(dimension._draw(u))


def _places(dimension: Any, codes: np.ndarray) -> np.ndarray:
    """Where codes are drawn: evenly by the prior; choices without order side by side."""
    if dimension.width == 1:
        return dimension._positions(codes)[:, 0]
    return codes / max(dimension.levels - 1, 1)


def _ticks(dimension: Any) -> tuple[np.ndarray, list[str]]:
    if dimension.levels is not None and dimension.levels <= 6:
        codes = _codes(dimension, 0)
    else:
        codes = dimension._draw(np.array([0.0, 0.5, 1 - 1e-12]))
    labels = [dimension._value(v) for v in dimension._numbers(codes)]
    texts = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in labels]
    return _places(dimension, codes), texts
