"""Inertia by number of clusters with its knee, and the silhouette score beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._arrays import to_host
from ._pipeline import split
from ._rows import DrawnRows
from ._style import FAINT, INK, PALETTE, Display

# How far below the chord, in units of log inertia, a knee must be. 400 rows without clusters
# (normal or uniform, 1 to 20 dimensions) came to 0.07 at most; blobs to 0.24 and more, iris to 0.6,
# wine to 0.12; the digits, whose curve shows no knee, to 0.003.
_LEAST_DEPTH = 0.1


def knee(k: Any, inertia: Any) -> int | None:
    """Index of the knee of inertia as a function of the number of clusters, or None.

    Data without clusters in d dimensions have an inertia of about ``c k^(-2/d)``, as for the
    quantisation of any density: a straight line on logarithmic axes. The knee is the inner point
    farthest below the chord from the first to the last point on these axes. It is where the gap
    statistic is largest for a reference that passes through both ends, and it does not depend on
    the unit of the inertia.

    Parameters
    ----------
    k, inertia : array-like of shape (n,)
        The curve, k in ascending order.

    Returns
    -------
    index : int or None
        None for fewer than three points, or when no inertia is 10 % below the chord.

    References
    ----------
    Zador (1982), "Asymptotic quantization error of continuous signals and the quantization
    dimension", for the power law; Tibshirani, Walther, Hastie (2001), "Estimating the number of
    clusters in a data set via the gap statistic", for the logarithm and the reference; Satopaa et
    al. (2011), "Finding a kneedle in a haystack", for the chord.

    Examples
    --------
    >>> from kernelmill.plot._elbow import knee
    >>> knee([1, 2, 3, 4, 5], [100, 50, 10, 8, 6])
    2
    """
    y = np.asarray(inertia, dtype=np.float64)
    if len(y) < 3 or y[0] <= y[-1]:
        return None
    x = np.log(np.asarray(k, dtype=np.float64))
    # An inertia of 0, of as many clusters as there are distinct rows, is as small as rounding.
    y = np.log(np.maximum(y, np.finfo(np.float64).eps * y[0]))
    depth = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0]) - y
    best = int(depth[1:-1].argmax()) + 1
    return best if depth[best] > _LEAST_DEPTH else None


def _score(drawn: DrawnRows, labels: Any) -> float:
    from ..metrics import silhouette_score

    labels = drawn.of(to_host(labels))
    if not 2 <= len(np.unique(labels)) <= len(labels) - 1:
        return float("nan")
    return silhouette_score(drawn.rows, labels)


class ElbowDisplay(Display):
    """Inertia of a clustering as a function of the number of clusters.

    Create one with `from_estimator`, which computes the parameters.

    Parameters
    ----------
    n_clusters : array-like of shape (m,)
        Numbers of clusters, ascending.
    inertias : array-like of shape (m,)
        Inertia of each fit.
    silhouettes : array-like of shape (m,), optional
        Silhouette score of each fit; NaN where it is undefined (k = 1).

    Attributes
    ----------
    knee_ : int or None
        Number of clusters at the knee: the inner point farthest below the chord from the first to
        the last point, on logarithmic axes. None if no inertia is 10 % below the chord, as for data
        without clusters or with clusters that overlap.
    ax_ : matplotlib Axes
        Axes of the inertia.
    silhouette_ax_ : matplotlib Axes or None
        Axes of the silhouette score, with its scale on the right.
    figure_
    line_ : matplotlib Line2D
        Line of the inertia.

    References
    ----------
    Thorndike (1953), "Who belongs in the family?", for the elbow; Tibshirani, Walther, Hastie
    (2001), "Estimating the number of clusters in a data set via the gap statistic", and Satopaa et
    al. (2011), "Finding a kneedle in a haystack", for its location.

    Examples
    --------
    >>> from kernelmill.plot import ElbowDisplay
    >>> ElbowDisplay([1, 2, 3, 4, 5], [100, 50, 10, 8, 6]).knee_
    3
    """

    def __init__(
        self, n_clusters: Any, inertias: Any, *, silhouettes: Any = None,
        estimator_name: str | None = None
    ) -> None:
        self.n_clusters = np.asarray(n_clusters)
        self.inertias = np.asarray(inertias, dtype=np.float64)
        self.silhouettes = None if silhouettes is None else np.asarray(silhouettes, np.float64)
        self.estimator_name = estimator_name
        at = knee(self.n_clusters, self.inertias)
        self.knee_ = None if at is None else int(self.n_clusters[at])

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, k: Iterable[int] = range(1, 11), sample_weight: Any = None,
        silhouette: bool = False, silhouette_sample_size: int | None = 10_000,
        random_state: Any = 0, ax: Any = None, **kwargs: Any
    ) -> ElbowDisplay:
        """Fit a clone for each number of clusters and plot the inertia.

        Parameters
        ----------
        estimator : estimator
            Model with a parameter ``n_clusters`` and, once fitted, ``inertia_`` and ``labels_``; or
            a pipeline that ends with one, whose other steps are fitted once. It is cloned; the
            estimator itself is not fitted.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        k : iterable of int, default=range(1, 11)
            Numbers of clusters.
        sample_weight : array-like of shape (n_samples,), optional
            Passed to ``fit`` of the model.
        silhouette : bool, default=False
            Also plot the silhouette score.
        silhouette_sample_size : int or None, default=10_000
            Number of rows, drawn at random, that the score is computed from; None uses all.

        Returns
        -------
        display : ElbowDisplay

        Raises
        ------
        ValueError
            If k is empty or contains a number below 1, or the model has no parameter
            ``n_clusters``.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.cluster import KMeans
        >>> from kernelmill.plot import ElbowDisplay
        >>> rng = np.random.default_rng(0)
        >>> X = np.repeat([[0, 0], [9, 0], [0, 9]], 30, axis=0) + rng.standard_normal((90, 2))
        >>> model = KMeans(n_init=3, random_state=0)
        >>> ElbowDisplay.from_estimator(model, X, k=range(1, 7)).knee_
        3
        """
        from sklearn.base import clone

        cls._pyplot()  # fail before the fits, not after them
        numbers = sorted({int(number) for number in k})
        if not numbers or numbers[0] < 1:
            raise ValueError(f"ElbowDisplay: k must contain numbers of at least 1, got {numbers}")
        steps, model = split(cls.__name__, estimator, "n_clusters", fitted=False)
        for step in steps:
            X = clone(step).fit_transform(X)
        if silhouette:
            drawn = DrawnRows(cls.__name__, X, silhouette_sample_size, random_state)
        inertias, silhouettes = [], []
        fit_params = {} if sample_weight is None else {"sample_weight": sample_weight}
        for number in numbers:
            fitted = clone(model).set_params(n_clusters=number).fit(X, **fit_params)
            inertias.append(float(fitted.inertia_))
            if silhouette:
                silhouettes.append(_score(drawn, fitted.labels_))
        display = cls(
            numbers,
            inertias,
            silhouettes=silhouettes if silhouette else None,
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ElbowDisplay:
        """Draw the inertia, its knee, and the silhouette score if there is one.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.plot`` for the inertia.

        Returns
        -------
        display : ElbowDisplay
            The display itself, with ``ax_``, ``silhouette_ax_``, ``figure_`` and ``line_`` set.

        Examples
        --------
        >>> from kernelmill.plot import ElbowDisplay
        >>> display = ElbowDisplay([1, 2, 3, 4], [90, 12, 10, 9]).plot(color="black")
        >>> [text.get_text() for text in display.ax_.texts]
        ['knee at k = 2']
        """
        ax = self._axes(ax, (6.4, 4.2))
        from matplotlib.ticker import MaxNLocator

        style = {"color": PALETTE[0], "marker": "o", "markersize": 5, "linewidth": 2, "zorder": 3}
        (self.line_,) = ax.plot(self.n_clusters, self.inertias, **{**style, **kwargs})
        ax.set(xlabel="Number of clusters", ylabel="Inertia")
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        self.silhouette_ax_ = None
        if self.silhouettes is not None:
            self.silhouette_ax_ = self._draw_silhouettes(ax)
        if self.knee_ is not None:
            knee_point = self.knee_, self.inertias[self.n_clusters == self.knee_][0]
            ax.axvline(self.knee_, color=FAINT, linewidth=1, linestyle=":", zorder=1)
            ax.plot(
                *knee_point, marker="o", markersize=12, markerfacecolor="none", markeredgecolor=INK,
                markeredgewidth=1.5, linestyle="none", zorder=4,
            )  # fmt: skip
            ax.annotate(
                f"knee at k = {self.knee_}", knee_point, xytext=(12, 14),
                textcoords="offset points", color=INK,
            )  # fmt: skip
        return self._finish(ax, "inertia by number of clusters")

    def _draw_silhouettes(self, ax: Any) -> Any:
        assert self.silhouettes is not None
        color, other = PALETTE[5], ax.twinx()
        style = {"marker": "s", "markersize": 4, "linewidth": 1.5, "linestyle": "--"}
        other.plot(self.n_clusters, self.silhouettes, color=color, **style)
        ax.yaxis.label.set_color(self.line_.get_color())
        other.set_ylabel("Silhouette score", color=color)
        other.spines["top"].set_visible(False)
        other.spines["right"].set_color(FAINT)
        other.tick_params(color=FAINT, labelcolor=INK)
        other.set_ylim(np.nanmin([0.0, *self.silhouettes]), 1)
        return other
