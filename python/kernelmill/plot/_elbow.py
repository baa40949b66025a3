"""How many clusters? Inertia over k with its knee, and the silhouette score beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ._style import FAINT, INK, PALETTE, axes_for, pyplot

# How far below the chord, in units of log inertia, a knee must be. 400 rows without clusters
# (normal or uniform, 1 to 20 dimensions) came to 0.07 at most; blobs to 0.24 and more, iris to 0.6,
# wine to 0.12; the digits, whose curve shows no knee, to 0.003.
_LEAST_DEPTH = 0.1


def knee(k: Any, inertia: Any) -> int | None:
    """Index of the knee of the inertia over the number of clusters, None where there is none.

    Data without clusters in d dimensions have an inertia of about ``c k^(-2/d)``, as quantisation
    of any density does: a straight line between the logarithms. The knee is the inner point
    farthest below the chord from the first to the last of these. So it is where a gap statistic is
    largest whose reference passes through both ends, and it depends on no unit of the inertia.

    Parameters
    ----------
    k, inertia : array-like of shape (n,)
        The curve, k rising.

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


def _score(X: Any, labels: Any, sample_size: int | None, random_state: Any) -> float:
    from sklearn.utils import check_random_state

    from ..metrics import silhouette_score

    X, labels = np.asarray(X), np.asarray(labels)
    if sample_size is not None and sample_size < len(X):
        rows = check_random_state(random_state).permutation(len(X))[:sample_size]
        X, labels = X[rows], labels[rows]
    if not 2 <= len(np.unique(labels)) <= len(X) - 1:
        return float("nan")
    return silhouette_score(X, labels)


class ElbowDisplay:
    """Inertia of a clustering as a function of the number of clusters.

    Make one with `from_estimator`; the parameters are what it computes.

    Parameters
    ----------
    n_clusters : array-like of shape (m,)
        Numbers of clusters, rising.
    inertias : array-like of shape (m,)
        Inertia of each fit.
    silhouettes : array-like of shape (m,), optional
        Silhouette score of each fit; NaN where it does not exist (k = 1).
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    knee_ : int or None
        Number of clusters at the knee of the inertia: the inner one that is farthest below the
        chord from first to last, both axes being logarithms. None where no inertia is 10 % below
        it, as without clusters or with clusters that overlap.
    ax_ : matplotlib Axes
        Axes with the inertia.
    silhouette_ax_ : matplotlib Axes or None
        Axes with the silhouette score, on the right-hand scale.
    figure_ : matplotlib Figure
        Figure of the axes.
    line_ : matplotlib Line2D
        The inertia.

    References
    ----------
    Thorndike (1953), "Who belongs in the family?", for the elbow; Tibshirani, Walther, Hastie
    (2001), "Estimating the number of clusters in a data set via the gap statistic", and Satopaa et
    al. (2011), "Finding a kneedle in a haystack", for its place.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from kernelmill.plot import ElbowDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0, 0], [9, 0], [0, 9]], 30, axis=0) + rng.standard_normal((90, 2))
    >>> display = ElbowDisplay.from_estimator(KMeans(n_init=3, random_state=0), X, k=range(1, 7))
    >>> display.knee_
    3
    """

    def __init__(
        self,
        n_clusters: Any,
        inertias: Any,
        *,
        silhouettes: Any = None,
        estimator_name: str | None = None,
    ) -> None:
        self.n_clusters = np.asarray(n_clusters)
        self.inertias = np.asarray(inertias, dtype=np.float64)
        self.silhouettes = None if silhouettes is None else np.asarray(silhouettes, np.float64)
        self.estimator_name = estimator_name
        at = knee(self.n_clusters, self.inertias)
        self.knee_ = None if at is None else int(self.n_clusters[at])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        k: Iterable[int] = range(1, 11),
        sample_weight: Any = None,
        silhouette: bool = False,
        silhouette_sample_size: int | None = 10_000,
        random_state: Any = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> ElbowDisplay:
        """Fit a clone for each number of clusters and draw.

        Parameters
        ----------
        estimator : estimator
            With a parameter ``n_clusters`` and, once fitted, ``inertia_`` and ``labels_``. It is
            cloned, not fitted itself.
        X : array-like of shape (n_samples, n_features)
            Rows.
        k : iterable of int, default=range(1, 11)
            Numbers of clusters.
        sample_weight : array-like of shape (n_samples,), optional
            Passed to ``fit``.
        silhouette : bool, default=False
            Also draw the silhouette score.
        silhouette_sample_size : int or None, default=10_000
            Rows that the score is computed from, drawn at random; None takes all.
        random_state : int, RandomState instance or None, default=0
            Draws that sample.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : ElbowDisplay

        Raises
        ------
        ValueError
            If k is empty or below 1, or the estimator has no parameter ``n_clusters``.
        ImportError
            If matplotlib is not installed.
        """
        from sklearn.base import clone

        pyplot("ElbowDisplay")  # fail before the fits, not after them
        numbers = sorted({int(number) for number in k})
        if not numbers or numbers[0] < 1:
            raise ValueError(f"ElbowDisplay: k must hold numbers of at least 1, got {numbers}")
        if "n_clusters" not in estimator.get_params(deep=False):
            raise ValueError(
                "ElbowDisplay: estimator must have a parameter n_clusters, got "
                f"{type(estimator).__name__}"
            )
        inertias, silhouettes = [], []
        fit_params = {} if sample_weight is None else {"sample_weight": sample_weight}
        for number in numbers:
            fitted = clone(estimator).set_params(n_clusters=number).fit(X, **fit_params)
            inertias.append(float(fitted.inertia_))
            if silhouette:
                silhouettes.append(_score(X, fitted.labels_, silhouette_sample_size, random_state))
        display = cls(
            numbers,
            inertias,
            silhouettes=silhouettes if silhouette else None,
            estimator_name=type(estimator).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> ElbowDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``ax.plot`` for the inertia.

        Returns
        -------
        display : ElbowDisplay
            Itself, with ``ax_``, ``figure_`` and ``line_``.
        """
        from matplotlib.ticker import MaxNLocator

        ax = axes_for("ElbowDisplay", ax, (6.4, 4.2))
        style = {"color": PALETTE[0], "marker": "o", "markersize": 5, "linewidth": 2, "zorder": 3}
        (self.line_,) = ax.plot(self.n_clusters, self.inertias, **{**style, **kwargs})
        color = self.line_.get_color()
        ax.set(xlabel="Number of clusters", ylabel="Inertia")
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        if self.estimator_name:
            ax.set_title(f"{self.estimator_name}: inertia by number of clusters", loc="left")
        self.silhouette_ax_ = None
        if self.silhouettes is not None:
            other = self.silhouette_ax_ = ax.twinx()
            other.plot(
                self.n_clusters,
                self.silhouettes,
                color=PALETTE[5],
                marker="s",
                markersize=4,
                linewidth=1.5,
                linestyle="--",
            )
            ax.yaxis.label.set_color(color)
            other.set_ylabel("Silhouette score", color=PALETTE[5])
            other.spines["top"].set_visible(False)
            other.spines["right"].set_color(FAINT)
            other.tick_params(color=FAINT, labelcolor=INK)
            finite = self.silhouettes[np.isfinite(self.silhouettes)]
            other.set_ylim(min(0.0, *finite, 0.0), 1)
        if self.knee_ is not None:
            at = int(np.flatnonzero(self.n_clusters == self.knee_)[0])
            ax.axvline(self.knee_, color=FAINT, linewidth=1, linestyle=":", zorder=1)
            ax.plot(
                self.knee_,
                self.inertias[at],
                marker="o",
                markersize=12,
                markerfacecolor="none",
                markeredgecolor=INK,
                markeredgewidth=1.5,
                linestyle="none",
                zorder=4,
            )
            ax.annotate(
                f"knee at k = {self.knee_}",
                (self.knee_, self.inertias[at]),
                xytext=(12, 14),
                textcoords="offset points",
                color=INK,
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self
