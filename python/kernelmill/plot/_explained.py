"""Scree plot: the share of the variance that each component explains, and their sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import to_host
from ._pipeline import split
from ._style import FAINT, INK, PALETTE, Display, counted


class ExplainedVarianceDisplay(Display):
    """Shares of the variance by component, and of the components so far.

    Create one with `from_estimator`.

    Parameters
    ----------
    ratios : array-like of shape (n_components,)
        Share of each component.
    threshold : float or None, default=0.9
        A share that is marked where the components so far reach it.

    Attributes
    ----------
    reached_ : int or None
        Number of components that reach the threshold together, None if they do not.
    ax_, figure_

    References
    ----------
    Cattell (1966), "The scree test for the number of factors".

    Examples
    --------
    >>> from kernelmill.plot import ExplainedVarianceDisplay
    >>> ExplainedVarianceDisplay([0.6, 0.35, 0.05]).reached_
    2
    """

    def __init__(
        self, ratios: Any, *, threshold: float | None = 0.9, estimator_name: str | None = None
    ) -> None:
        self.ratios = np.asarray(to_host(ratios), dtype=np.float64)
        self.threshold, self.estimator_name = threshold, estimator_name
        total = np.cumsum(self.ratios)
        enough = np.flatnonzero(total >= (2.0 if threshold is None else threshold) - 1e-12)
        self.reached_ = int(enough[0]) + 1 if len(enough) else None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, threshold: float | None = 0.9, ax: Any = None, **kwargs: Any
    ) -> ExplainedVarianceDisplay:
        """Plot the shares of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``explained_variance_ratio_``, or a fitted pipeline that ends with
            one.
        threshold : float or None, default=0.9
            As in the constructor.

        Returns
        -------
        display : ExplainedVarianceDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or has no such shares.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.decomposition import PCA
        >>> from kernelmill.plot import ExplainedVarianceDisplay
        >>> X = np.random.default_rng(0).normal(size=(100, 4)) * [3, 2, 1, 0.1]
        >>> ExplainedVarianceDisplay.from_estimator(PCA().fit(X)).reached_
        2
        """
        _, model = split(cls.__name__, estimator, "explained_variance_ratio_")
        display = cls(
            model.explained_variance_ratio_, threshold=threshold,
            estimator_name=type(model).__name__,
        )  # fmt: skip
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ExplainedVarianceDisplay:
        """Draw a bar for each component and a line for their sum.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.bar``.

        Returns
        -------
        display : ExplainedVarianceDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import ExplainedVarianceDisplay
        >>> len(ExplainedVarianceDisplay([0.6, 0.35, 0.05]).plot().ax_.patches)
        3
        """
        ax = self._axes(ax)
        k = len(self.ratios)
        at, total = np.arange(1, k + 1), np.cumsum(self.ratios)
        ax.bar(at, self.ratios, **{"color": PALETTE[0], "width": 0.8, **kwargs})
        style = {"marker": "o", "markersize": 3.5} if k <= 40 else {}
        ax.plot(at, total, color=INK, linewidth=1.2, **style)
        if self.reached_ is not None:
            share = float(total[self.reached_ - 1])
            ax.plot([self.reached_] * 2, [0, share], color=FAINT, linewidth=0.8, linestyle="--")
            ax.annotate(
                f"{share:.0%} in {counted(self.reached_, 'component')}", (self.reached_, share),
                xytext=(6, -10), textcoords="offset points", ha="left", va="top", color=INK,
            )  # fmt: skip
        ax.set(xlabel="Component", ylabel="Share of the variance", ylim=(0, 1.04))
        ax.set_xlim(0.4, k + 0.6)
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        return self._finish(ax, f"{total[-1]:.0%} in {counted(k, 'component')}" if k else "")
