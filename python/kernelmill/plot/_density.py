"""Mixture density in the plane: contours, ellipses, and rows coloured by soft membership."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._style import FAINT, axes_for, cluster_colors, lighter

MAX_POINTS = 20_000
GRID = 240  # steps of each axis at which the density is evaluated
# Shares of the probability inside each contour: one, two and three standard deviations of a
# Gaussian in the plane come close to the three outer ones.
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.86, 0.95, 0.99)


class DensityDisplay:
    """A mixture of Gaussians in the plane, its density and its rows.

    Make one with `from_estimator` or `from_predictions`; the parameters are what they compute.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2)
        Rows in the plane.
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
        Names for the legend; numbers when left out.
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
        Figure of the axes.

    Notes
    -----
    Rows of more than two features are shown in a plane: two chosen features or the first two
    principal components. A linear map of a mixture of Gaussians is one again, with means ``m W``
    and covariances ``W' S W``, so the density drawn is exactly that of the model in this plane.

    References
    ----------
    Hyndman (1996), "Computing and graphing highest density regions", for the contours: each holds
    its share of the probability in the least area.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from kernelmill.plot import DensityDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0, 0, 0], [6, 0, 1]], 50, axis=0) + rng.standard_normal((100, 3))
    >>> model = GaussianMixture(2, random_state=0).fit(X)
    >>> display = DensityDisplay.from_estimator(model, X, features=(0, 1))
    >>> display.covariances.shape
    (2, 2, 2)
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
        """Draw a fitted mixture and the rows of X.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``means_``, ``covariances_`` (or ``covars_``) of any covariance type, and
            ``predict_proba``: a Gaussian mixture, or a hidden Markov model with Gaussian states.
            ``weights_`` where there are any, else the mean memberships.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, of at least two features.
        features : pair of int or str, optional
            Columns to show. When left out, both of two features, else principal components.
        component_names : sequence of str, optional
            Names for the legend.
        max_points : int, default=20_000
            Most rows to draw; more are sampled.
        random_state : int, RandomState instance or None, default=0
            Draws that sample.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        **kwargs
            Passed to ``plot``.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            If X has fewer than two features or ``features`` is not two of them.
        ImportError
            If matplotlib is not installed.
        """
        memberships = np.asarray(estimator.predict_proba(X))
        return cls._from(
            estimator, X, memberships, features, component_names, max_points, random_state, ax,
            kwargs,
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
        """Draw a fitted mixture with memberships that are known already.

        Parameters
        ----------
        estimator : estimator
            As in `from_estimator`; ``predict_proba`` is not called.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        memberships : array-like of shape (n_samples, n_components) or (n_samples,)
            Probabilities, or the number of the component that each row belongs to.
        features : pair of int or str, optional
            As in `from_estimator`.
        component_names : sequence of str, optional
            Names for the legend.
        max_points : int, default=20_000
            Most rows to draw; more are sampled.
        random_state : int, RandomState instance or None, default=0
            Draws that sample.
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
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
        """
        given = np.asarray(memberships)
        if given.ndim == 1:
            given = np.eye(len(np.asarray(estimator.means_)))[given]
        return cls._from(
            estimator, X, given, features, component_names, max_points, random_state, ax, kwargs
        )

    @classmethod
    def _from(
        cls, estimator, X, memberships, features, component_names, max_points, random_state, ax,
        kwargs,
    ):  # fmt: skip
        names = [str(name) for name in getattr(X, "columns", ())]
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] < 2:
            raise ValueError(
                f"DensityDisplay: X must be a matrix of at least two features, got shape "
                f"{rows.shape}"
            )
        means = np.asarray(estimator.means_, dtype=np.float64)
        full = full_covariances(estimator, *means.shape)
        origin, W, axis_names = _plane(rows, features, names)
        weights = getattr(estimator, "weights_", None)
        if weights is None or np.shape(weights) != (len(means),):
            weights = memberships.mean(axis=0)
        if len(rows) > max_points:
            from sklearn.utils import check_random_state

            kept = check_random_state(random_state).permutation(len(rows))[:max_points]
            rows, memberships = rows[kept], memberships[kept]
        display = cls(
            (rows - origin) @ W,
            memberships,
            (means - origin) @ W,
            W.T @ full @ W,
            weights,
            axis_names=axis_names,
            component_names=component_names,
            estimator_name=type(estimator).__name__,
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
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure when left out.
        contours : bool, default=True
            Draw lines of equal density, which hold 10 to 99 % of the probability.
        ellipses : bool, default=True
            Draw each component's ellipse of two standard deviations, in its colour.
        shading : bool, default=True
            Shade the plane by density.
        **kwargs
            Passed to ``ax.scatter`` for the rows.

        Returns
        -------
        display : DensityDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        ax = axes_for("DensityDisplay", ax, (6.6, 5.2))
        xs, ys, values = self.density
        colors = cluster_colors(len(self.means))
        if shading:
            bands = [*self.levels_, 1.01 * values.max()]
            shades = _shades(len(self.levels_))
            ax.contourf(xs, ys, values, levels=bands, colors=shades, zorder=0)
        if contours:
            ax.contour(
                xs, ys, values, levels=self.levels_, colors=FAINT, linewidths=0.6, alpha=0.8,
                zorder=1,
            )  # fmt: skip
        n = max(len(self.points), 1)
        style: dict[str, Any] = {
            "s": float(np.clip(9000 / n, 5, 26)),
            "linewidths": 0.4,
            "zorder": 2,
        }
        style["edgecolors"] = "white" if n < 2000 else "none"
        style["alpha"] = 0.95 if n < 2000 else 0.6
        ax.scatter(*self.points.T, c=blend(self.memberships, colors), **{**style, **kwargs})
        if ellipses:
            for j, color in enumerate(colors):
                ax.add_patch(_ellipse(self.means[j], self.covariances[j], color))
                ax.plot(
                    *self.means[j], marker="X", markersize=11, color=color, markeredgecolor="white",
                    markeredgewidth=1.1, linestyle="none", zorder=5,
                )  # fmt: skip
        self._legend(ax, colors)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        ax.set_xlim(xs[0], xs[-1])
        ax.set_ylim(ys[0], ys[-1])
        if self.estimator_name:
            noun = "component" if len(colors) == 1 else "components"
            ax.set_title(f"{self.estimator_name}: {len(colors)} {noun}", loc="left")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _legend(self, ax: Any, colors: list[Any]) -> None:
        if len(colors) > 12:
            return
        from matplotlib.lines import Line2D

        names = self.component_names or [str(j) for j in range(len(colors))]
        marks = [
            Line2D([], [], color=color, marker="o", linestyle="none", markersize=7)
            for color in colors
        ]
        shares = [f"{name}  ({w:.0%})" for name, w in zip(names, self.weights, strict=True)]
        ax.legend(
            marks, shares, title="Component (weight)", loc="upper left", bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )  # fmt: skip

    def _grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The density on a grid that holds the points and all components."""
        spread = 3.1 * np.sqrt(np.maximum(np.diagonal(self.covariances, axis1=1, axis2=2), 0))
        used = self.weights > 1e-3  # components without weight shall not stretch the plane
        if not used.any():
            used[:] = True
        corners = [self.points, (self.means - spread)[used], (self.means + spread)[used]]
        low = np.min([part.min(axis=0) for part in corners if len(part)], axis=0)
        high = np.max([part.max(axis=0) for part in corners if len(part)], axis=0)
        pad = 0.04 * np.where(high > low, high - low, 1)
        xs, ys = (np.linspace(low[i] - pad[i], high[i] + pad[i], GRID) for i in range(2))
        grid = np.stack(np.meshgrid(xs, ys), axis=-1)
        values = np.zeros(grid.shape[:2])
        # A component thinner than a step of the grid is drawn one step wide.
        step = np.diag([(xs[1] - xs[0]) ** 2, (ys[1] - ys[0]) ** 2]) / 4
        for weight, mean, covariance in zip(
            self.weights, self.means, self.covariances, strict=True
        ):
            S = covariance + step
            offset = grid - mean
            square = np.einsum("abi,ij,abj->ab", offset, np.linalg.inv(S), offset)
            values += weight * np.exp(-square / 2) / (2 * np.pi * np.sqrt(np.linalg.det(S)))
        return xs, ys, values

    def _levels(self) -> np.ndarray:
        """Densities whose regions above hold the shares of `LEVELS`, ascending and distinct."""
        values = np.sort(self.density[2], axis=None)[::-1]
        inside = np.cumsum(values)
        inside /= inside[-1]
        at = np.minimum(np.searchsorted(inside, LEVELS), len(values) - 1)
        return np.unique(values[at])


def full_covariances(estimator: Any, k: int, d: int) -> np.ndarray:
    """Covariances of any type as matrices of shape (k, d, d)."""
    found = getattr(estimator, "covariances_", None)
    if found is None:
        found = estimator.covars_
    found = np.asarray(found, dtype=np.float64)
    kind = getattr(estimator, "covariance_type", None)
    if found.ndim == 3:  # full, or what hmmlearn gives for every type
        return found
    if kind == "tied" or (kind is None and found.shape == (d, d) and k != d):
        return np.broadcast_to(found, (k, d, d))
    if found.ndim == 2:
        return found[:, :, None] * np.eye(d)
    if found.shape == (k,):
        return found[:, None, None] * np.eye(d)
    raise ValueError(
        f"DensityDisplay: covariances_ must be full, tied, diag or spherical for {k} components "
        f"and {d} features, got shape {found.shape}"
    )


def blend(memberships: np.ndarray, colors: list[Any]) -> np.ndarray:
    """Colours of rows: those of the components, mixed by membership as light is mixed."""
    from matplotlib.colors import to_rgb

    # Means of the codes of two hues are muddy; means of the light that they stand for are not.
    light = np.array([to_rgb(color) for color in colors]) ** 2.2
    total = memberships.sum(axis=1, keepdims=True)
    shares = memberships / np.where(total > 0, total, 1)
    return np.clip(shares @ light, 0, 1) ** (1 / 2.2)


def _plane(rows: np.ndarray, features: Any, names: list[str]) -> tuple[Any, Any, tuple[str, str]]:
    """Origin, axes (d, 2) and axis names of the plane that is shown."""
    d = rows.shape[1]
    if features is None and d > 2:
        from sklearn.decomposition import PCA

        project = PCA(2).fit(rows)
        share = project.explained_variance_ratio_
        labels = (
            f"Principal component 1 ({share[0]:.0%} of variance)",
            f"Principal component 2 ({share[1]:.0%} of variance)",
        )
        return project.mean_, project.components_.T, labels
    chosen = (0, 1) if features is None else tuple(features)
    places = [names.index(f) if isinstance(f, str) and f in names else f for f in chosen]
    if (
        len(places) != 2
        or places[0] == places[1]
        or not all(isinstance(i, (int, np.integer)) and 0 <= i < d for i in places)
    ):
        raise ValueError(
            f"DensityDisplay: features must be two different columns of the {d} of X, got "
            f"{features!r}"
        )
    shown = [names[i] if names else f"Feature {i}" for i in places]
    return np.zeros(d), np.eye(d)[:, places], (shown[0], shown[1])


def _ellipse(mean: np.ndarray, covariance: np.ndarray, color: Any) -> Any:
    """Two standard deviations in every direction."""
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(covariance)
    width, height = 4 * np.sqrt(np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse(
        (float(mean[0]), float(mean[1])),
        width,
        height,
        angle=angle,
        facecolor="none",
        edgecolor=color,
        linewidth=1.8,
        zorder=3,
    )


def _shades(n: int) -> list[Any]:
    """Greys from near white outside to a middle grey inside, which leave colours to the rows."""
    return [lighter("#8C98A8", 0.93 - 0.48 * i / max(n - 1, 1)) for i in range(n)]
