"""Density of a mixture: contours, ellipses and rows in the plane, or curves over a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._pipeline import feature_names, split, transform
from ._plane import grid, plane, point_style, scatter
from ._rows import MAX_POINTS, DrawnRows, complete, gaussians_of, note_of
from ._style import (
    FAINT,
    INK,
    MOST_IN_LEGEND,
    Display,
    checked_names,
    cluster_colors,
    counted,
    legend_beside,
    lighter,
)

GRID = 240  # steps of each axis at which the density is evaluated
# Shares of the probability inside each contour: one, two and three standard deviations of a
# Gaussian in the plane come close to the three outer ones.
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.86, 0.95, 0.99)


class DensityDisplay(Display):
    """Density of a Gaussian mixture in the plane or of one feature, with the rows it was given.

    Create one with `from_estimator` or `from_predictions`, which compute the parameters.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2) or (n_samples, 1)
        Coordinates of the rows in the plane, or the values of one feature.
    memberships : array-like of shape (n_samples, n_components)
        Probability of each component for each row.
    means : array-like of shape (n_components, 2) or (n_components, 1)
        Means in the plane.
    covariances : array-like of shape (n_components, 2, 2) or (n_components, 1, 1)
        Covariances in the plane.
    weights : array-like of shape (n_components,)
        Weights of the components.
    component_names : sequence of str, optional
        Names for the legend; numbers by default.

    Attributes
    ----------
    density : tuple of (xs, ys, values), or (xs, values) of one feature
        Grid coordinates of shape (a,) and (b,), and the density there, of shape (b, a) or (a,).
    levels_ : ndarray
        Density on each contour; none for one feature.
    ax_, figure_

    Notes
    -----
    Rows with more than two features are shown in a plane, that of two chosen features or of the
    first two principal components. A linear map of a Gaussian mixture is again a Gaussian mixture,
    with means ``m W`` and covariances ``W' S W``, so the density drawn is exactly that of the model
    in this plane.

    References
    ----------
    Hyndman (1996), "Computing and graphing highest density regions", for the contours: each
    encloses its share of the probability in the smallest possible area.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.plot import DensityDisplay
    >>> points, memberships = [[0, 0], [4, 1]], [[0.9, 0.1], [0.2, 0.8]]
    >>> covariances = np.tile(np.eye(2), (2, 1, 1))
    >>> display = DensityDisplay(points, memberships, points, covariances, [0.5, 0.5])
    >>> len(display.plot(shading=False).levels_)
    7
    """

    def __init__(
        self, points: Any, memberships: Any, means: Any, covariances: Any, weights: Any, *,
        axis_names: tuple[str, str] = ("Feature 0", "Feature 1"),
        component_names: Sequence[str] | None = None, imputed: Any = None, note: str | None = None,
        estimator_name: str | None = None
    ) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self.memberships = np.asarray(memberships, dtype=np.float64)
        self.means = np.asarray(means, dtype=np.float64)
        self.covariances = np.asarray(covariances, dtype=np.float64)
        self.weights = np.asarray(weights, dtype=np.float64)
        self.axis_names = axis_names
        self.estimator_name, self.note = estimator_name, note
        self.imputed = np.zeros(len(self.points), bool) if imputed is None else np.asarray(imputed)
        k = len(self.means)
        self.component_names = checked_names(
            "DensityDisplay", "component_names", component_names, k
        )
        if self.memberships.shape != (len(self.points), k):
            raise ValueError(
                f"DensityDisplay: memberships must have shape ({len(self.points)}, {k}), got "
                f"{self.memberships.shape}"
            )
        self.density: tuple[np.ndarray, ...] = self._grid()
        self.levels_ = self._levels() if self.means.shape[1] > 1 else np.empty(0)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, features: tuple[Any, Any] | None = None,
        component_names: Sequence[str] | None = None, max_points: int = MAX_POINTS,
        random_state: Any = 0, ax: Any = None, **kwargs: Any
    ) -> DensityDisplay:
        """Plot a fitted mixture and the rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``means_``, ``covariances_`` (or ``covars_``) of any covariance type,
            and ``predict_proba``, such as a Gaussian mixture or a hidden Markov model with Gaussian
            states; or a fitted pipeline that ends with one. Without ``weights_``, the mean
            memberships are used.
        X : array-like or DataFrame of shape (n_samples, n_features), or a stream
            Rows. A pipeline transforms them first; the plot shows the features that its model sees.
            One feature is shown as a histogram. Rows with missing values (NaN) are drawn hollow at
            their conditional mean, rows without any value are left out; a note counts them.
        features : pair of int or str, optional
            Columns to show, of the features that the model sees. By default, both of two features
            or else the first two principal components.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or is not such a model, or ``features`` does not name two
            features.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.mixture import GaussianMixture
        >>> from kernelmill.plot import DensityDisplay
        >>> rng = np.random.default_rng(0)
        >>> X = np.repeat([[0, 0, 0], [6, 0, 1]], 50, axis=0) + rng.standard_normal((100, 3))
        >>> model = GaussianMixture(2, random_state=0).fit(X)
        >>> display = DensityDisplay.from_estimator(model, X, features=(0, 1))
        >>> display.covariances.shape
        (2, 2, 2)
        """
        split(cls.__name__, estimator, "predict_proba")
        return cls.from_predictions(
            estimator, X, None, features=features, component_names=component_names,
            max_points=max_points, random_state=random_state, ax=ax, **kwargs,
        )  # fmt: skip

    @classmethod
    def from_predictions(
        cls, estimator: Any, X: Any, memberships: Any, *, features: tuple[Any, Any] | None = None,
        component_names: Sequence[str] | None = None, max_points: int = MAX_POINTS,
        random_state: Any = 0, ax: Any = None, **kwargs: Any
    ) -> DensityDisplay:
        """Plot a fitted mixture with memberships that are already known.

        Parameters
        ----------
        estimator : estimator
            As in `from_estimator`; ``predict_proba`` is not needed if memberships are given.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, as in `from_estimator`.
        memberships : array-like of shape (n_samples, n_components) or (n_samples,), or None
            Probabilities, or the index of the component that each row belongs to. None computes
            them with ``predict_proba``.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            As in `from_estimator`.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.mixture import GaussianMixture
        >>> from kernelmill.plot import DensityDisplay
        >>> rng = np.random.default_rng(0)
        >>> X = np.repeat([[0, 0], [6, 0]], [50, 150], axis=0) + rng.standard_normal((200, 2))
        >>> model = GaussianMixture(2, random_state=0).fit(X)
        >>> display = DensityDisplay.from_predictions(model, X, model.predict(X))
        >>> display.memberships.sum(axis=1).max()
        np.float64(1.0)
        """
        steps, model = split(cls.__name__, estimator, "means_")
        gaussians = gaussians_of(cls.__name__, model)
        if gaussians is None:
            raise ValueError(
                "DensityDisplay: estimator must have means_ of shape (n_components, n_features) "
                f"and covariances_ or covars_, got {type(model).__name__} with means_ of shape "
                f"{np.shape(model.means_)}"
            )
        seen = transform(cls.__name__, steps, X)
        drawn = DrawnRows(cls.__name__, seen, max_points, random_state)
        k = gaussians.k
        if memberships is None:
            memberships = drawn.ask(model.predict_proba)
        memberships = np.asarray(memberships)
        if memberships.ndim == 1:
            memberships = np.eye(k)[memberships]
        weights: Any = getattr(model, "weights_", None)
        if np.shape(weights) != (k,):
            weights = memberships.mean(axis=0)
        shares = drawn.of(memberships)
        full = complete(cls.__name__, drawn.rows.astype(np.float64), gaussians, shares)
        names, labels = feature_names(steps, X, drawn.source)
        if gaussians.d == 1 and features is None:
            origin, axes, axis_names = np.zeros(1), np.eye(1), (labels[0], "Density")
        else:
            origin, axes, axis_names = plane(cls.__name__, full.rows, names, labels, features)
        imputed = full.imputed[:, (axes != 0).any(axis=1)].any(axis=1)
        display = cls(
            (full.rows - origin) @ axes,
            shares[full.kept],
            (gaussians.means - origin) @ axes,
            axes.T @ gaussians.covariances @ axes,
            weights,
            axis_names=axis_names,
            component_names=component_names,
            imputed=imputed,
            note=note_of(int(imputed.sum()), int((~full.kept).sum()), mixture=True),
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, contours: bool = True, ellipses: bool = True, shading: bool = True,
        **kwargs: Any
    ) -> DensityDisplay:
        """Draw the density and the rows; of one feature, curves over a histogram.

        Parameters
        ----------
        contours : bool, default=True
            Draw lines of equal density, which enclose 10 to 99 % of the probability. For one
            feature, the density of the mixture.
        ellipses : bool, default=True
            Draw each component's ellipse of two standard deviations, in its colour. For one
            feature, its density times its weight.
        shading : bool, default=True
            Shade the plane by density. For one feature, the area below each component.
        **kwargs
            Passed to ``ax.scatter`` for the rows; for one feature to ``ax.hist``.

        Returns
        -------
        display : DensityDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.plot import DensityDisplay
        >>> display = DensityDisplay([[0, 0]], [[1]], [[0, 0]], [np.eye(2)], [1])
        >>> len(display.plot(ellipses=False).ax_.patches)
        0
        """
        ax = self._axes(ax, (6.6, 5.2) if self.means.shape[1] > 1 else (7.0, 4.2))
        colors = cluster_colors(len(self.means))
        draw = self._draw_plane if self.means.shape[1] > 1 else self._draw_curves
        draw(ax, colors, contours, ellipses, shading, kwargs)
        if len(colors) <= MOST_IN_LEGEND:
            from matplotlib.lines import Line2D

            names = zip(self.component_names, self.weights, strict=True)
            shares = [f"{name}  ({weight:.0%})" for name, weight in names]
            marks = [Line2D([], [], color=c, marker="o", ls="none", markersize=7) for c in colors]
            legend_beside(ax, marks, shares, title="Component (weight)")
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        return self._finish(ax, counted(len(colors), "component"), self.note)

    def _draw_curves(
        self, ax: Any, colors: list[Any], contours: bool, ellipses: bool, shading: bool, kwargs: Any
    ) -> None:
        xs, values = self.density
        x = self.points[:, 0]
        # Scott (1979) for each component; within bounds, as outliers must not make a million bins.
        used = self._used
        width = 3.49 * np.sqrt(self.covariances[used, 0, 0])
        width /= np.cbrt(np.maximum(self.weights[used] * len(x), 1))
        bins = int(np.clip(np.ptp(x) / max(width.min(), 1e-300), 10, 100))
        style = {"bins": bins, "color": "#D9DDE2", "edgecolor": "white", "linewidth": 0.6}
        ax.hist(x, **{**style, "density": True, "zorder": 1, **kwargs})
        for curve, color in zip(self._curves(xs), colors, strict=True):
            if shading:
                ax.fill_between(xs, 0, curve, color=color, alpha=0.14, linewidth=0, zorder=2)
            if ellipses:
                seen = np.where(curve > 1e-3 * values.max(), curve, np.nan)
                ax.plot(xs, seen, color=color, linewidth=1.8, zorder=4)
        if contours:
            ax.plot(xs, values, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), zorder=3)
        ax.set(xlim=(xs[0], xs[-1]))
        ax.set_ylim(bottom=0)

    def _draw_plane(
        self, ax: Any, colors: list[Any], contours: bool, ellipses: bool, shading: bool, kwargs: Any
    ) -> None:
        xs, ys, values = self.density
        if shading:
            # Greys from near white outside to a middle grey, which leave colours to the rows.
            shades = [lighter("#8C98A8", x) for x in np.linspace(0.93, 0.45, len(self.levels_))]
            bands = [*self.levels_, 1.01 * values.max()]
            ax.contourf(xs, ys, values, levels=bands, colors=shades, zorder=0)
        if contours:
            ax.contour(
                xs, ys, values, levels=self.levels_, colors=FAINT, linewidths=0.6, alpha=0.8,
                zorder=1,
            )  # fmt: skip
        style: dict[str, Any] = {**point_style(len(self.points)), "linewidths": 0.4}
        style["edgecolors"] = "white" if len(self.points) < 2000 else "none"
        each = blend(self.memberships, colors)
        scatter(ax, self.points, each, self.imputed, **{**style, **kwargs})
        if ellipses:
            for j in np.flatnonzero(self._used):
                mean, covariance, color = self.means[j], self.covariances[j], colors[j]
                ax.add_patch(_ellipse(mean, covariance, color))
                ax.plot(
                    *mean, marker="X", markersize=11, color=color, markeredgecolor="white",
                    markeredgewidth=1.1, linestyle="none", zorder=5,
                )  # fmt: skip
        ax.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))

    @property
    def _used(self) -> np.ndarray:
        """Components with a weight: others lie anywhere, and would stretch the axes."""
        used = self.weights > 1e-3
        return used if used.any() else ~used

    def _curves(self, xs: np.ndarray) -> np.ndarray:
        """Density of each component times its weight at values of one feature, (k, m)."""
        # A component thinner than a thousandth of the axis is drawn as thick.
        sd = np.maximum(np.sqrt(self.covariances[:, 0]), np.ptp(xs) / 1000)
        height = self.weights[:, None] / (np.sqrt(2 * np.pi) * sd)
        return height * np.exp(-(((xs - self.means) / sd) ** 2) / 2)

    def _grid(self) -> tuple[np.ndarray, ...]:
        """The density on a grid that contains the points and all components."""
        spread = 3.1 * np.sqrt(np.maximum(np.diagonal(self.covariances, axis1=1, axis2=2), 0))
        used = self._used
        corners = [self.points, (self.means - spread)[used], (self.means + spread)[used]]
        low = np.min([part.min(axis=0) for part in corners if len(part)], axis=0)
        high = np.max([part.max(axis=0) for part in corners if len(part)], axis=0)
        if len(low) == 1:
            pad = 0.04 * (high - low or 1)
            xs = np.linspace(low - pad, high + pad, 4 * GRID + 1)[:, 0]
            return xs, self._curves(xs).sum(axis=0)
        xs, ys, places = grid(low, high, 0.04, GRID)
        values = np.zeros((GRID, GRID))
        # A component thinner than a step of the grid is drawn one step wide.
        step = np.diag([(xs[1] - xs[0]) ** 2, (ys[1] - ys[0]) ** 2]) / 4
        for weight, mean, covariance in zip(
            self.weights, self.means, self.covariances, strict=True
        ):
            S = covariance + step
            offset = places - mean
            square = np.einsum("abi,ij,abj->ab", offset, np.linalg.inv(S), offset)
            values += weight * np.exp(-square / 2) / (2 * np.pi * np.sqrt(np.linalg.det(S)))
        return xs, ys, values

    def _levels(self) -> np.ndarray:
        """Densities above which the shares in `LEVELS` lie, ascending and distinct."""
        values = np.sort(self.density[2], axis=None)[::-1]
        inside = np.cumsum(values)
        inside /= inside[-1]
        at = np.minimum(np.searchsorted(inside, LEVELS), len(values) - 1)
        return np.unique(values[at])


def blend(memberships: np.ndarray, colors: list[Any]) -> np.ndarray:
    """Colours of the rows: those of the components, mixed by membership as light is mixed."""
    from matplotlib.colors import to_rgb

    # Means of the codes of two hues are muddy; means of the light that they stand for are not.
    light = np.array([to_rgb(color) for color in colors]) ** 2.2
    total = memberships.sum(axis=1, keepdims=True)
    shares = memberships / np.where(total > 0, total, 1)
    return np.clip(shares @ light, 0, 1) ** (1 / 2.2)


def _ellipse(mean: np.ndarray, covariance: np.ndarray, color: Any) -> Any:
    """Two standard deviations in every direction."""
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(covariance)
    width, height = 4 * np.sqrt(np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    style = {"facecolor": "none", "edgecolor": color, "linewidth": 1.8, "zorder": 3}
    return Ellipse((float(mean[0]), float(mean[1])), width, height, angle=angle, **style)
