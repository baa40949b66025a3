"""Coefficients of linear models: with intervals, and by the strength of the penalty."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from sklearn.base import clone, is_regressor

from .._arrays import column_names, is_frame, is_sparse, to_host
from ..stream import source
from ._pipeline import feature_names, split, transform
from ._style import (
    FAINT,
    INK,
    NOISE,
    PALETTE,
    Display,
    checked_names,
    cluster_colors,
    counted,
)

_MOST = 30  # coefficients that are drawn by default
_NAMED = 10  # lines with a name


def names_of(owner: str, steps: list[Any], model: Any, X: Any, d: int) -> list[str]:
    """Names of the features that the model sees."""
    if X is not None and not hasattr(X, "__next__"):
        seen = transform(owner, steps, X)
        return feature_names(steps, X, source(seen, owner=owner))[0]
    known = getattr(model, "feature_names_in_", None)
    if known is None and is_frame(X):
        known = column_names(X)
    return [f"Feature {j}" for j in range(d)] if known is None else [str(name) for name in known]


def deviations_of(model: Any, seen: Any, sample_weight: Any) -> tuple[Any, float]:
    """Standard deviations of coefficients, and degrees of freedom; None where none are known."""
    d = np.shape(model.coef_)[-1]
    for name in ("covariance_", "sigma_"):
        found = getattr(model, name, None)
        if found is None or not is_regressor(model):
            continue
        variance = np.diagonal(np.asarray(found))
        if len(variance) < d:  # of those that an ARDRegression has kept
            variance = np.zeros(d)
            variance[model.lambda_ < model.threshold_lambda] = np.diagonal(found)
        free = 2 * float(getattr(model, "shape_", np.inf))
        if np.isfinite(free):  # a variance is that of Student's distribution, wider than its scale
            variance = variance * max(free - 2, 0.0) / free
        return np.sqrt(variance), free
    if hasattr(model, "coef_covariance") and seen is not None:
        covariance = model.coef_covariance(seen, sample_weight)
        return np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1)), np.inf
    return None, 0.0


class CoefficientDisplay(Display):
    """Coefficients of a linear model, the largest on top, with intervals where they are known.

    Create one with `from_estimator`.

    Parameters
    ----------
    coef : array-like of shape (d,)
        Coefficients.
    lower, upper : array-like of shape (d,), optional
        Ends of their intervals.

    Attributes
    ----------
    order_ : ndarray of int
        Features that are drawn, from the top.
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import CoefficientDisplay
    >>> display = CoefficientDisplay([0.5, -2.0], [0.2, -3.0], [0.8, -1.0]).plot()
    >>> display.order_.tolist()
    [1, 0]
    """

    def __init__(
        self, coef: Any, lower: Any = None, upper: Any = None, *, feature_names: Any = None,
        level: float = 0.95, estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        self.coef = np.asarray(to_host(coef), np.float64)
        if self.coef.ndim != 1:
            raise ValueError(
                f"CoefficientDisplay: coef must have shape (d,), got {self.coef.shape} (choose an "
                "output)"
            )
        if (lower is None) != (upper is None):
            raise ValueError("CoefficientDisplay: lower and upper must be given together, got one")
        self.lower: Any
        self.upper: Any
        self.lower, self.upper = (
            None if ends is None else np.asarray(to_host(ends), np.float64)
            for ends in (lower, upper)
        )
        for ends in (self.lower, self.upper):
            if ends is not None and ends.shape != self.coef.shape:
                raise ValueError(
                    f"CoefficientDisplay: lower and upper must have the shape of coef, "
                    f"{self.coef.shape}, got {ends.shape}"
                )
        self.feature_names = checked_names(
            "CoefficientDisplay", "feature_names", feature_names, len(self.coef)
        )
        self.level, self.estimator_name = level, estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, *, sample_weight: Any = None, output: Any = None,
        level: float = 0.95, feature_names: Any = None, ax: Any = None, **kwargs: Any,
    ) -> CoefficientDisplay:  # fmt: skip
        """Plot the coefficients of a fitted model.

        Intervals are those of the posterior of Bayesian regressions. For `LogisticRegression` they
        are normal, by the Hessian at the optimum, which takes the rows of ``fit``. Other models
        have none.

        Parameters
        ----------
        estimator : estimator
            Fitted model with ``coef_``, or a fitted pipeline that ends with one.
        X : array-like of shape (n_samples, n_features), optional
            The rows of ``fit``, for names, and for intervals of `LogisticRegression`.
        sample_weight : array-like of shape (n_samples,), optional
            The weights of ``fit``.

        Returns
        -------
        display : CoefficientDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or has no coefficients, if `output` is none of its
            outputs, or if the level is not between 0 and 1.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.linear_model import LogisticRegression
        >>> from kernelmill.plot import CoefficientDisplay
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> model = LogisticRegression().fit(X, X[:, 0] > 0)
        >>> display = CoefficientDisplay.from_estimator(model, X, feature_names=["a", "b"])
        >>> bool(display.lower[0] > 0 > display.lower[1])
        True
        """
        from scipy.stats import norm, t

        owner = cls.__name__
        if not 0 < level < 1:
            raise ValueError(f"{owner}: level must be between 0 and 1, got {level!r}")
        steps, model = split(owner, estimator, "coef_")
        seen = None if X is None else transform(owner, steps, X)
        coef = np.asarray(to_host(model.coef_), np.float64)
        wide = np.atleast_2d(coef)
        row = _row_of(owner, model, output, len(wide))
        coef = wide[row]
        lower = upper = None
        held = getattr(model, "l1_ratio_", getattr(model, "l1_ratio", 0))  # at zero
        deviation, free = (None, 0.0) if held else deviations_of(model, seen, sample_weight)
        if deviation is not None:
            tail = (1 + level) / 2
            step = t.ppf(tail, free) if np.isfinite(free) else norm.ppf(tail)
            half = np.atleast_2d(deviation)[row] * step
            lower, upper = coef - half, coef + half
        names = names_of(owner, steps, model, X, len(coef)) if feature_names is None else (
            feature_names
        )
        display = cls(
            coef, lower, upper, feature_names=names, level=level,
            estimator_name=type(model).__name__,
        )  # fmt: skip
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, most: int = _MOST, **kwargs: Any) -> CoefficientDisplay:
        """Draw the largest coefficients, faint where the interval holds zero.

        Parameters
        ----------
        most : int, default=30
            How many to draw.
        **kwargs
            Passed to ``ax.errorbar``, or ``ax.plot`` where there are no intervals.

        Returns
        -------
        display : CoefficientDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import CoefficientDisplay
        >>> display = CoefficientDisplay([0.5, -2.0, 1.0], feature_names=["a", "b", "c"])
        >>> [text.get_text() for text in display.plot(most=2).ax_.get_yticklabels()]
        ['b', 'c']
        """
        self.order_ = np.argsort(-np.abs(self.coef), kind="stable")[:most]
        count = len(self.order_)
        ax = self._axes(ax, (7.0, 1.2 + 0.24 * max(count, 4)))
        ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        places, coef = np.arange(count), self.coef[self.order_]
        if self.lower is None:
            clear = coef != 0
        else:
            low, high = self.lower[self.order_], self.upper[self.order_]
            clear = (low > 0) | (high < 0)
        for those, color in ((clear, PALETTE[0]), (~clear, NOISE)):
            style = {"fmt": "o", "markersize": 5, "color": color, "elinewidth": 1.8, **kwargs}
            error = None
            if self.lower is not None:
                error = np.stack([coef - low, high - coef])[:, those]
            ax.errorbar(coef[those], places[those], xerr=error, **style)
        ax.set_yticks(places, [self.feature_names[j] for j in self.order_])
        ax.set_ylim(count - 0.4, -0.6)
        ax.set_xlabel("Coefficient")
        ax.tick_params(axis="y", length=0)
        title = f"{counted(len(self.coef), 'coefficient')}"
        if count < len(self.coef):
            title = f"{count} of {title}"
        note = None
        if self.lower is not None:
            note = f"Intervals of {self.level:.0%}; grey where they hold zero"
        return self._finish(ax, title, note)


def _row_of(owner: str, model: Any, output: Any, k: int) -> int:
    """The row of the coefficients of an output, by its number or, of a class, by its label."""
    labels = np.asarray(getattr(model, "classes_", np.arange(k))).tolist()
    if k == 1:
        return 0
    if output is None or output not in labels:
        raise ValueError(f"{owner}: output must be one of {labels}, got {output!r}")
    return labels.index(output)


class CoefficientPathDisplay(Display):
    """Coefficients of a linear model by the strength of its penalty.

    Create one with `from_estimator`.

    Parameters
    ----------
    penalties : array-like of shape (n_penalties,)
        Strengths, above 0.
    coefs : array-like of shape (n_penalties, d)
        Coefficients at each.
    chosen : float, optional
        A strength to mark.
    penalty_name : str, default="alpha"
        What the strength is called.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The line of each feature.
    ax_, figure_

    Examples
    --------
    >>> from kernelmill.plot import CoefficientPathDisplay
    >>> display = CoefficientPathDisplay([1.0, 0.1], [[0, 0], [2, -1]], chosen=0.1).plot()
    >>> len(display.lines_), display.ax_.get_xscale()
    (2, 'log')
    """

    def __init__(
        self, penalties: Any, coefs: Any, *, chosen: float | None = None,
        feature_names: Any = None, penalty_name: str = "alpha", estimator_name: str | None = None,
    ) -> None:  # fmt: skip
        self.penalties = np.asarray(to_host(penalties), np.float64)
        self.coefs = np.asarray(to_host(coefs), np.float64)
        if self.coefs.ndim != 2 or self.coefs.shape[0] != len(self.penalties):
            raise ValueError(
                f"CoefficientPathDisplay: coefs must have shape ({len(self.penalties)}, d), got "
                f"{self.coefs.shape}"
            )
        if not (self.penalties > 0).all():
            raise ValueError("CoefficientPathDisplay: penalties must be above 0")
        self.chosen, self.penalty_name = chosen, penalty_name
        self.estimator_name = estimator_name
        self.feature_names = checked_names(
            "CoefficientPathDisplay", "feature_names", feature_names, self.coefs.shape[1]
        )

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, penalties: Any = None, output: Any = None,
        feature_names: Any = None, ax: Any = None, **kwargs: Any,
    ) -> CoefficientPathDisplay:  # fmt: skip
        """Fit a model with many strengths of its penalty, and plot its coefficients.

        Parameters
        ----------
        estimator : estimator
            Fitted model with a parameter ``alpha`` or ``C``, one that has chosen it by
            cross-validation, a model of least angles, whose fitted path is drawn, or a fitted
            pipeline that ends with one. The strength that it has is marked. It stays as it is.
        X : array-like or DataFrame of shape (n_samples, n_features)
            The rows of ``fit``.
        y : array-like of shape (n_samples,)
            Their targets.
        penalties : array-like of shape (n_penalties,), optional
            Values of ``alpha`` or ``C``. By default 60 from the least that leaves no coefficient to
            a thousandth of it for the lasso and its relatives; for others ``alpha``, or 1 / ``C``,
            from a hundred times the sum of squares of a feature about its mean, on average over the
            features, to a ten-thousandth of it.

        Returns
        -------
        display : CoefficientPathDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted or has neither ``alpha`` nor ``C``, if X has other
            features than in ``fit``, or if `output` is none of its outputs.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.linear_model import LassoCV
        >>> from kernelmill.plot import CoefficientPathDisplay
        >>> X = np.random.default_rng(0).normal(size=(100, 4))
        >>> model = LassoCV(cv=3).fit(X, X @ [2.0, 0.0, -1.0, 0.0])
        >>> display = CoefficientPathDisplay.from_estimator(model, X, X @ [2.0, 0.0, -1.0, 0.0])
        >>> display.coefs.shape, bool((display.coefs[0] == 0).all())
        ((60, 4), True)
        """
        owner = cls.__name__
        steps, model = split(owner, estimator, "coef_")
        seen = transform(owner, steps, X)
        width = np.shape(model.coef_)[-1]
        if np.shape(seen)[1:] != (width,):
            raise ValueError(
                f"{owner}: X must have the {width} features of fit, got the shape {np.shape(seen)}"
            )
        name = "C" if "C" in model.get_params() or hasattr(model, "C_") else "alpha"
        if hasattr(model, "coef_path_"):
            strengths, path = np.asarray(model.alphas_), np.asarray(model.coef_path_).T
            positive = strengths > 0
            strengths, path, chosen = strengths[positive], path[positive], None
        else:
            single = _with_one_penalty(owner, model, name)
            given: Any = getattr(model, f"{name}_", getattr(model, name, np.empty(0)))
            chosen = float(given) if np.ndim(given) == 0 else None
            strengths = _strengths(single, seen, y, name) if penalties is None else penalties
            strengths = np.asarray(strengths, np.float64)
            rows = []
            for strength in strengths:
                fitted = single.set_params(**{name: float(strength)}).fit(seen, y)
                wide = np.atleast_2d(np.asarray(to_host(fitted.coef_), np.float64))
                rows.append(wide[_row_of(owner, fitted, output, len(wide))])
            path = np.array(rows)
        names = feature_names
        if names is None:
            names = names_of(owner, steps, model, X, path.shape[1])
        display = cls(
            strengths, path, chosen=chosen, feature_names=names, penalty_name=name,
            estimator_name=type(model).__name__,
        )  # fmt: skip
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> CoefficientPathDisplay:
        """Draw a line for each feature, from the strongest penalty to the weakest.

        Parameters
        ----------
        **kwargs
            Passed to ``ax.plot`` for each line.

        Returns
        -------
        display : CoefficientPathDisplay
            The display itself, with ``ax_`` and ``figure_`` set.

        Examples
        --------
        >>> from kernelmill.plot import CoefficientPathDisplay
        >>> CoefficientPathDisplay([1.0, 0.1], [[0.0], [2.0]]).plot().ax_.get_xlabel()
        'alpha (stronger penalties on the left)'
        """
        ax = self._axes(ax, (7.5, 4.8))
        strong_left = self.penalty_name != "C"
        order = np.argsort(-self.penalties if strong_left else self.penalties)
        x, coefs = self.penalties[order], self.coefs[order]
        ax.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
        ax.set_xscale("log")
        largest = np.argsort(-np.abs(coefs[-1]), kind="stable")
        named = largest[np.abs(coefs[-1][largest]) > 0][:_NAMED]
        colors = dict(zip(named.tolist(), cluster_colors(len(named)), strict=True))
        self.lines_ = []
        for j in range(coefs.shape[1]):
            style = {"color": colors.get(j, NOISE), "linewidth": 1.6 if j in colors else 0.8}
            self.lines_ += ax.plot(x, coefs[:, j], **{**style, **kwargs})
        ax.margins(x=0)
        if strong_left:
            ax.invert_xaxis()
        if self.chosen is not None and x.min() <= self.chosen <= x.max():
            ax.axvline(self.chosen, color=INK, linewidth=0.9, linestyle="--")
            weak = abs(np.log(self.chosen / x[-1])) < 0.4 * abs(np.log(x[0] / x[-1]))
            ax.annotate(
                f"{self.penalty_name} = {self.chosen:.3g}", (self.chosen, 0),
                xycoords=("data", "axes fraction"), xytext=(-4 if weak else 4, 4),
                textcoords="offset points", ha="right" if weak else "left", fontsize=8.5, color=INK,
            )  # fmt: skip
        low, high = ax.get_ylim()
        least = (high - low) * 0.045  # what keeps names apart
        order = named[np.argsort(coefs[-1][named])]
        for j, place in zip(order, spread_out(coefs[-1][order], least), strict=True):
            ax.annotate(
                self.feature_names[j], (1, place), xycoords=("axes fraction", "data"),
                xytext=(5, 0), textcoords="offset points", va="center", fontsize=9,
                color=colors[int(j)],
            )  # fmt: skip
        name = f"{self.penalty_name} (stronger penalties on the left)"
        ax.set(xlabel=name, ylabel="Coefficient")
        return self._finish(ax, "coefficients by the penalty")


def spread_out(places: np.ndarray, least: float) -> np.ndarray:
    """Ascending places, moved as little as needed to be `least` apart."""
    found = np.array(places, dtype=np.float64)
    for _ in range(100):
        gaps = np.diff(found)
        tight = gaps < least * 0.999
        if not tight.any():
            break
        push = np.where(tight, (least - gaps) / 2, 0.0)
        found[:-1] -= push
        found[1:] += push
    return found


def _with_one_penalty(owner: str, model: Any, name: str) -> Any:
    """An unfitted model with a parameter for the penalty, for one that has chosen its own."""
    params = model.get_params()
    if name in params:
        return clone(model)
    package = importlib.import_module(type(model).__module__.partition("._")[0])
    single = getattr(package, type(model).__name__.removesuffix("CV"), None)
    if single is None or single is type(model):
        raise ValueError(
            f"{owner}: estimator must be a model with alpha or C, got {type(model).__name__}"
        )
    made = single()
    usual, known = type(model)().get_params(), made.get_params()
    shared = {k: v for k, v in params.items() if k in known and v is not usual[k]}
    for key in ("l1_ratio", "C", "alpha"):
        if hasattr(model, f"{key}_") and key in made.get_params():
            shared[key] = float(np.ravel(getattr(model, f"{key}_"))[0])
    return made.set_params(**shared)


def _strengths(model: Any, X: Any, y: Any, name: str) -> np.ndarray:
    """Penalties from strong to weak."""
    rows = np.asarray(to_host(X.toarray() if is_sparse(X) else X), np.float64)
    centred = rows - rows.mean(0)
    share = model.get_params().get("l1_ratio")
    if name == "alpha" and (share or type(model).__name__ in ("Lasso", "MultiTaskLasso")):
        target = np.asarray(y, np.float64)
        target = target - target.mean(0)
        size = np.linalg.norm((centred.T @ target).reshape(rows.shape[1], -1), axis=1).max()
        most = float(size) / len(rows) / (share or 1.0)
        return most * np.logspace(0, -3, 60)
    mean = float((centred**2).sum()) / rows.shape[1]
    alphas = mean * np.logspace(2, -4, 60)
    return alphas if name == "alpha" else 1 / alphas
