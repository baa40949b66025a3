"""Density of a mixture in the plane: contours, ellipses, and rows coloured by membership."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._pipeline import feature_names, split, transform
from ._plane import MAX_POINTS, dense_rows, grid, plane, point_style, sample
from ._style import (
    FAINT,
    MOST_IN_LEGEND,
    Display,
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
    """Density of a Gaussian mixture in the plane, with the rows it was given.

    Create one with `from_estimator` or `from_predictions`, which compute the parameters.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2)
        Coordinates of the rows in the plane.
    memberships : array-like of shape (n_samples, n_components)
        Probability of each component for each row.
    means : array-like of shape (n_components, 2)
        Means in the plane.
    covariances : array-like of shape (n_components, 2, 2)
        Covariances in the plane.
    weights : array-like of shape (n_components,)
        Weights of the components.
    axis_names : tuple of two str, default=("Feature 0", "Feature 1")
        Labels of the axes.
    component_names : sequence of str, optional
        Names for the legend; numbers by default.
    estimator_name : str, optional
        Name for the title.

    Attributes
    ----------
    density : tuple of (xs, ys, values)
        Grid coordinates of shape (a,) and (b,), and the density there, of shape (b, a).
    levels_ : ndarray
        Density on each contour.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

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
        self,
        points: Any,
        memberships: Any,
        means: Any,
        covariances: Any,
        weights: Any,
        *,
        axis_names: tuple[str, str] = ("Feature 0", "Feature 1"),
        component_names: Sequence[str] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self.memberships = np.asarray(memberships, dtype=np.float64)
        self.means = np.asarray(means, dtype=np.float64)
        self.covariances = np.asarray(covariances, dtype=np.float64)
        self.weights = np.asarray(weights, dtype=np.float64)
        self.axis_names = axis_names
        self.component_names = component_names
        self.estimator_name = estimator_name
        k = len(self.means)
        if self.memberships.shape != (len(self.points), k):
            raise ValueError(
                f"DensityDisplay: memberships must have shape ({len(self.points)}, {k}), got "
                f"{self.memberships.shape}"
            )
        self.density = self._grid()
        self.levels_ = self._levels()

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        features: tuple[Any, Any] | None = None,
        component_names: Sequence[str] | None = None,
        max_points: int = MAX_POINTS,
        random_state: Any = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> DensityDisplay:
        """Plot a fitted mixture and the rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``means_``, ``covariances_`` (or ``covars_``) of any covariance type,
            and ``predict_proba``, such as a Gaussian mixture or a hidden Markov model with Gaussian
            states; or a fitted pipeline that ends with one. Without ``weights_``, the mean
            memberships are used.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows with at least two features. A pipeline transforms them first; the plot shows the
            features that its model sees.
        features : pair of int or str, optional
            Columns to show, of the features that the model sees. By default, both of two features
            or else the first two principal components.
        component_names : sequence of str, optional
            Names for the legend.
        max_points : int, default=20_000
            Maximum number of rows to draw; a random sample is drawn if there are more.
        random_state : int, RandomState instance or None, default=0
            Seed or generator for the sample; pass an int for reproducible results.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or is not such a model, X has fewer than two features, or
            ``features`` does not name two of them.
        ImportError
            If matplotlib is not installed.

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
        cls,
        estimator: Any,
        X: Any,
        memberships: Any,
        *,
        features: tuple[Any, Any] | None = None,
        component_names: Sequence[str] | None = None,
        max_points: int = MAX_POINTS,
        random_state: Any = 0,
        ax: Any = None,
        **kwargs: Any,
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
        features : pair of int or str, optional
            As in `from_estimator`.
        component_names : sequence of str, optional
            Names for the legend.
        max_points : int, default=20_000
            Maximum number of rows to draw; a random sample is drawn if there are more.
        random_state : int, RandomState instance or None, default=0
            Seed or generator for the sample; pass an int for reproducible results.
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            As in `from_estimator`.
        ImportError
            If matplotlib is not installed.

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
        seen = transform(cls.__name__, steps, X)
        shape = np.shape(seen)
        if len(shape) != 2 or shape[1] < 2:
            raise ValueError(
                f"DensityDisplay: X must be a matrix of at least two features, got shape {shape}"
            )
        means = np.asarray(model.means_, dtype=np.float64)
        k, d = means.shape
        if memberships is None:
            memberships = model.predict_proba(seen)
        memberships = np.asarray(memberships)
        if memberships.ndim == 1:
            memberships = np.eye(k)[memberships]
        weights: Any = getattr(model, "weights_", None)
        if np.shape(weights) != (k,):
            weights = memberships.mean(axis=0)
        chosen = sample(shape[0], max_points, random_state)
        rows = dense_rows(seen, chosen).astype(np.float64)
        names, labels = feature_names(steps, X, d)
        origin, axes, axis_names = plane(cls.__name__, rows, names, labels, features)
        display = cls(
            (rows - origin) @ axes,
            memberships[chosen],
            (means - origin) @ axes,
            axes.T @ full_covariances(model, k, d) @ axes,
            weights,
            axis_names=axis_names,
            component_names=component_names,
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        contours: bool = True,
        ellipses: bool = True,
        shading: bool = True,
        **kwargs: Any,
    ) -> DensityDisplay:
        """Draw the density and the rows.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure is created by default.
        contours : bool, default=True
            Draw lines of equal density, which enclose 10 to 99 % of the probability.
        ellipses : bool, default=True
            Draw each component's ellipse of two standard deviations, in its colour.
        shading : bool, default=True
            Shade the plane by density.
        **kwargs
            Passed to ``ax.scatter`` for the rows.

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
        ax = self._axes(ax, (6.6, 5.2))
        xs, ys, values = self.density
        colors = cluster_colors(len(self.means))
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
        ax.scatter(*self.points.T, c=blend(self.memberships, colors), **{**style, **kwargs})
        if ellipses:
            for mean, covariance, color in zip(self.means, self.covariances, colors, strict=True):
                ax.add_patch(_ellipse(mean, covariance, color))
                ax.plot(
                    *mean, marker="X", markersize=11, color=color, markeredgecolor="white",
                    markeredgewidth=1.1, linestyle="none", zorder=5,
                )  # fmt: skip
        if len(colors) <= MOST_IN_LEGEND:
            from matplotlib.lines import Line2D

            names = self.component_names or range(len(colors))
            shares = [f"{name}  ({w:.0%})" for name, w in zip(names, self.weights, strict=True)]
            marks = [Line2D([], [], color=c, marker="o", ls="none", markersize=7) for c in colors]
            legend_beside(ax, marks, shares, title="Component (weight)")
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        ax.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))
        return self._finish(ax, counted(len(colors), "component"))

    def _grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The density on a grid that contains the points and all components."""
        spread = 3.1 * np.sqrt(np.maximum(np.diagonal(self.covariances, axis1=1, axis2=2), 0))
        used = self.weights > 1e-3  # components with no weight must not stretch the plane
        if not used.any():
            used[:] = True
        corners = [self.points, (self.means - spread)[used], (self.means + spread)[used]]
        low = np.min([part.min(axis=0) for part in corners if len(part)], axis=0)
        high = np.max([part.max(axis=0) for part in corners if len(part)], axis=0)
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


def full_covariances(estimator: Any, k: int, d: int) -> np.ndarray:
    """Covariances of any type as matrices of shape (k, d, d)."""
    covariances = getattr(estimator, "covariances_", None)
    if covariances is None:
        covariances = estimator.covars_
    covariances = np.asarray(covariances, dtype=np.float64)
    kind = getattr(estimator, "covariance_type", None)
    if covariances.ndim == 3:  # full, or what hmmlearn gives for every type
        return covariances
    if kind == "tied" or (kind is None and covariances.shape == (d, d) and k != d):
        return np.broadcast_to(covariances, (k, d, d))
    if covariances.ndim == 2:
        return covariances[:, :, None] * np.eye(d)
    if covariances.shape == (k,):
        return covariances[:, None, None] * np.eye(d)
    raise ValueError(
        f"DensityDisplay: covariances_ must be full, tied, diag or spherical for {k} components "
        f"and {d} features, got shape {covariances.shape}"
    )


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
