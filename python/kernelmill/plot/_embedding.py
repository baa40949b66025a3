"""Rows as points: two columns of what a model makes of them, coloured by what is known of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import to_host
from ._pipeline import split, transform
from ._plane import point_style
from ._rows import MAX_POINTS, DrawnRows
from ._style import MOST_IN_LEGEND, PALETTE, Display, cluster_colors, legend_beside


class EmbeddingDisplay(Display):
    """Two coordinates of each row, as a decomposition or an embedding gives them.

    Create one with `from_estimator` or `from_predictions`.

    Parameters
    ----------
    points : array-like of shape (n_samples, 2)
        Coordinates.
    target : array-like of shape (n_samples,), optional
        A class or a number for each row, which colours it: up to 12 classes in a legend, real
        numbers by a colour bar.

    Attributes
    ----------
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import EmbeddingDisplay
    >>> display = EmbeddingDisplay([[0, 0], [1, 2], [3, 1]], ["a", "b", "a"]).plot()
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['a', 'b']
    """

    def __init__(
        self, points: Any, target: Any = None, *,
        axis_names: tuple[str, str] = ("Component 0", "Component 1"),
        estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        self.points = np.asarray(to_host(points))
        self.target = None if target is None else np.asarray(to_host(target))
        self.axis_names, self.estimator_name = axis_names, estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, components: tuple[int, int] = (0, 1),
        max_points: int = MAX_POINTS, random_state: Any = 0, ax: Any = None, **kwargs: Any,
    ) -> EmbeddingDisplay:  # fmt: skip
        """Plot the rows of X where a fitted model puts them.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``transform``, or with the ``embedding_`` of X; or a fitted pipeline
            that ends with one.
        X : array-like or DataFrame of shape (n_samples, n_features), or a stream
            Rows.
        y : array-like of shape (n_samples,), optional
            A class or a number for each row.
        components : pair of int, default=(0, 1)
            Columns to draw.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted, or has not these components.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.decomposition import PCA
        >>> from kernelmill.plot import EmbeddingDisplay
        >>> X = np.random.default_rng(0).normal(size=(30, 4))
        >>> EmbeddingDisplay.from_estimator(PCA(2).fit(X), X).ax_.get_xlabel()
        'PCA 0'
        """
        steps, model = split(cls.__name__, estimator, "transform", "embedding_")
        seen = transform(cls.__name__, steps, X)
        drawn = DrawnRows(cls.__name__, seen, max_points, random_state)
        if hasattr(model, "transform"):
            found = np.asarray(drawn.ask(model.transform))
        else:
            found = drawn.of(np.asarray(to_host(model.embedding_)))
        if not all(0 <= c < found.shape[1] for c in components):
            raise ValueError(
                f"{cls.__name__}: components must be two of {found.shape[1]} columns, got "
                f"{tuple(components)}"
            )
        name = type(model).__name__
        display = cls(
            found[:, list(components)],
            None if y is None else drawn.of(np.asarray(to_host(y))),
            axis_names=(f"{name} {components[0]}", f"{name} {components[1]}"),
            estimator_name=name,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls, points: Any, target: Any = None, *, ax: Any = None, **kwargs: Any
    ) -> EmbeddingDisplay:
        """Plot given coordinates.

        Parameters
        ----------
        points : array-like of shape (n_samples, 2)
            Coordinates.
        target : array-like of shape (n_samples,), optional
            As in the constructor.

        Returns
        -------
        display : EmbeddingDisplay

        Examples
        --------
        >>> from kernelmill.plot import EmbeddingDisplay
        >>> len(EmbeddingDisplay.from_predictions([[0, 0], [1, 2]], [0.5, 1.5]).figure_.axes)
        2
        """
        return cls(points, target).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> EmbeddingDisplay:
        """Draw the points.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.scatter``.

        Returns
        -------
        display : EmbeddingDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import EmbeddingDisplay
        >>> len(EmbeddingDisplay([[0, 0], [1, 2]]).plot().ax_.collections)
        1
        """
        ax = self._axes(ax, (6.4, 5.2))
        style = {**point_style(len(self.points)), "linewidths": 0, **kwargs}
        if self.target is None:
            ax.scatter(*self.points.T, **{"color": PALETTE[0], **style})
        elif self.target.dtype.kind == "f":
            drawn = ax.scatter(*self.points.T, c=self.target, **{"cmap": "viridis", **style})
            bar = ax.figure.colorbar(drawn, ax=ax)
            bar.outline.set_visible(False)
        else:
            classes = np.unique(self.target)
            for label, color in zip(classes, cluster_colors(len(classes)), strict=True):
                own = self.target == label
                ax.scatter(*self.points[own].T, color=color, label=f"{label}", **style)
            if len(classes) <= MOST_IN_LEGEND:
                for handle in legend_beside(ax, title="Class").legend_handles:
                    handle.set_sizes([46])
                    handle.set_alpha(1)
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        n = len(self.points)
        return self._finish(ax, f"{n:,} rows")
