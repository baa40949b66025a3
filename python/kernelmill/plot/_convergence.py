"""The best value of a search by the number of evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._style import FAINT, INK, NOISE, PALETTE, Display


def search_result(owner: str, given: Any) -> Any:
    """The record of a search: itself, or that of a fitted BayesSearchCV."""
    result = getattr(given, "search_result_", given)
    if not (hasattr(result, "func_vals") and hasattr(result, "n_initial_points")):
        raise ValueError(
            f"{owner}: result must be what minimize returns or a fitted BayesSearchCV, got "
            f"{type(given).__name__}"
        )
    return result


class ConvergenceDisplay(Display):
    """Convergence of a search: each value, and the best one so far.

    Create one with `from_result`, or from values.

    Parameters
    ----------
    values : dict of array-like of shape (n,) or (n_runs, n)
        Values of each search by its name, in the order of evaluation; NaN where one failed. Of
        several runs the median of the best so far is drawn, with quartiles.
    n_initial_points : int, default=0
        Evaluations before a model was used.
    least : float, optional
        The least value that there is: then what is left to it is drawn, on a logarithmic scale.

    Attributes
    ----------
    best : dict of ndarray of shape (n_runs, n)
        The best value so far of each run; NaN before the first success.
    lines_ : dict of matplotlib Line2D
        The line of each search.
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import ConvergenceDisplay
    >>> ConvergenceDisplay({"search": [3.0, 5.0, float("nan"), 1.0]}).best["search"].tolist()
    [[3.0, 3.0, 3.0, 1.0]]
    """

    def __init__(
        self, values: Mapping[str, Any], *, n_initial_points: int = 0, least: float | None = None,
        estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(values, Mapping) or not values:
            raise ValueError(
                "ConvergenceDisplay: values must be a dict from names to values, with at least one "
                f"search, got {type(values).__name__}"
            )
        self.values = {k: np.atleast_2d(np.asarray(v, dtype=np.float64)) for k, v in values.items()}
        self.n_initial_points, self.least = n_initial_points, least
        self.estimator_name = estimator_name
        self.best = {k: np.fmin.accumulate(v, axis=1) for k, v in self.values.items()}

    @classmethod
    def from_result(
        cls, result: Any, *, least: float | None = None, ax: Any = None, **kwargs: Any
    ) -> ConvergenceDisplay:
        """Draw the convergence of a search, or of several.

        Parameters
        ----------
        result : SearchResult, BayesSearchCV, or dict of these or of lists of these
            What `kernelmill.model_selection.minimize` returns, or a fitted search. In a dict names
            are those of the legend, and a list has runs of equal length from several seeds.
        least : float, optional
            The least value that there is: then what is left to it is drawn.

        Returns
        -------
        display : ConvergenceDisplay

        Raises
        ------
        ValueError
            If it is none of these.

        Examples
        --------
        >>> from kernelmill.model_selection import minimize
        >>> from kernelmill.plot import ConvergenceDisplay
        >>> result = minimize(lambda x: x[0] ** 2, [(-1.0, 2.0)], n_calls=8, random_state=0)
        >>> display = ConvergenceDisplay.from_result(result, least=0.0)
        >>> display.ax_.get_xlabel()
        'Evaluations'
        """
        owner = cls.__name__
        named = result if isinstance(result, Mapping) else {"best so far": result}
        values, first = {}, 0
        for name, given in named.items():
            several = given if isinstance(given, list) else [given]
            runs = [search_result(owner, one) for one in several]
            lengths = {len(r.func_vals) for r in runs}
            if len(lengths) != 1:
                raise ValueError(
                    f"{owner}: runs of one search must have equal numbers of evaluations, got "
                    f"{sorted(lengths)} for {name!r}"
                )
            values[name] = np.array([r.func_vals for r in runs])
            first = runs[0].n_initial_points
        single = None if isinstance(result, Mapping) else "Search"
        display = cls(values, n_initial_points=first, least=least, estimator_name=single)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ConvergenceDisplay:
        """Draw the best value so far; for a single run each value too.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.plot`` for each line.

        Returns
        -------
        display : ConvergenceDisplay
            The display itself, with ``ax_``, ``figure_`` and ``lines_`` set.

        Examples
        --------
        >>> from kernelmill.plot import ConvergenceDisplay
        >>> display = ConvergenceDisplay({"a": [3.0, 2.0], "b": [2.0, 2.5]}).plot()
        >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
        ['a', 'b']
        """
        ax = self._axes(ax, (6.4, 4.2))
        from matplotlib.ticker import MaxNLocator

        base = 0.0 if self.least is None else self.least
        single = len(self.values) == 1 and len(next(iter(self.values.values()))) == 1
        self.lines_ = {}
        for i, (name, best) in enumerate(self.best.items()):
            color, at = PALETTE[i % len(PALETTE)], np.arange(1, best.shape[1] + 1)
            if single:
                self._draw_values(ax, self.values[name][0] - base)
            low, middle, high = np.full((3, len(at)), np.nan)
            some = ~np.isnan(best).all(0)
            low[some], middle[some], high[some] = np.nanpercentile(
                best[:, some] - base, [25, 50, 75], axis=0
            )
            if len(best) > 1:
                ax.fill_between(at, low, high, step="post", color=color, alpha=0.2, linewidth=0)
            style = {"color": color, "linewidth": 2, "drawstyle": "steps-post", "label": name}
            (self.lines_[name],) = ax.plot(at, middle, **{**style, **kwargs})
        if self.least is not None:
            ax.set_yscale("log")
        if 0 < self.n_initial_points < max(v.shape[1] for v in self.values.values()):
            ax.axvline(self.n_initial_points + 0.5, color=FAINT, linewidth=1, linestyle=":")
            ax.annotate(
                "model", (self.n_initial_points + 0.5, 1), xycoords=("data", "axes fraction"),
                xytext=(4, -12), textcoords="offset points", color=INK,
            )  # fmt: skip
        label = "Objective" if self.least is None else "Objective less the least value"
        ax.set(xlabel="Evaluations", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        if len(self.values) > 1:
            ax.legend(frameon=False)
        return self._finish(ax, "convergence")

    def _draw_values(self, ax: Any, values: np.ndarray) -> None:
        at, failed = np.arange(1, len(values) + 1), np.isnan(values)
        shown = np.where(values > 0, values, np.nan) if self.least is not None else values
        ax.plot(at, shown, ".", color=NOISE, markersize=7, label="value")
        if failed.any():  # on the lower edge, whatever the scale
            ax.plot(
                at[failed], np.zeros(failed.sum()), "x", color=PALETTE[5], clip_on=False,
                transform=ax.get_xaxis_transform(), label="failed",
            )  # fmt: skip
