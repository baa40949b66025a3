"""HistGradientBoostingRegressor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import check_sums, vector
from kernelmill.ensemble import _hist_base, _hist_words
from kernelmill.ensemble._hist_base import HistGradientBoosting
from kernelmill.ensemble._hist_losses import Loss, named

_LOSSES = (
    "squared_error", "absolute_error", "gamma", "poisson", "quantile", "huber", "log_cosh",
)  # fmt: skip


class HistGradientBoostingRegressor(RegressorMixin, HistGradientBoosting):
    __doc__ = f"""Gradient boosting on histograms, for regression.

    Parameters
    ----------
    loss : {{"squared_error", "absolute_error", "gamma", "poisson", "quantile", "huber", \
"log_cosh"}} or callable, default="squared_error"
        What is minimised. ``"gamma"`` needs targets above 0, ``"poisson"`` targets of at least 0;
        both predict through the exponential. ``"huber"`` is squared for the share ``alpha`` of the
        residuals and straight beyond. A callable ``loss(y, raw)`` returns the gradient and the
        hessian of each row by its raw prediction; the start comes from Newton's steps on it.
    quantile : float or None, default=None
        Level of the loss ``"quantile"``.
    alpha : float, default=0.9
        Share of the residuals that the loss ``"huber"`` squares.
    {_hist_words.PARAMETERS.format(binary="")}

    Attributes
    ----------
    {_hist_words.ATTRIBUTES}

    Notes
    -----
    Leaves of ``"absolute_error"`` and ``"quantile"`` predict the weighted quantile of their
    residuals, unless there are monotonic constraints.
    {_hist_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.ensemble import HistGradientBoostingRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = HistGradientBoostingRegressor(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    >>> model.predict_contributions(X[:1]).shape
    (1, 11)
    """  # fmt: skip

    _classification = False
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **_hist_base.PARAMETERS,
        "loss": rule.any_of(rule.one_of(*_LOSSES), rule.function("(y, raw)")),
        "quantile": rule.any_of(
            rule.Rule(lambda v: rule.is_real(v) and 0 <= v <= 1, "a number in [0, 1]"),
            rule.nothing(),
        ),
        "alpha": rule.Rule(lambda v: rule.is_real(v) and 0 < v < 1, "a number in (0, 1)"),
    }

    def __init__(
        self, loss="squared_error", *, quantile=None, learning_rate=0.1, max_iter=100,
        max_leaf_nodes=31, max_depth=None, min_samples_leaf=20, l2_regularization=0.0,
        max_features=1.0, max_bins=255, categorical_features="from_dtype", monotonic_cst=None,
        interaction_cst=None, warm_start=False, early_stopping="auto", scoring="loss",
        validation_fraction=0.1, n_iter_no_change=10, tol=1e-7, verbose=0, random_state=None,
        alpha=0.9, l1_regularization=0.0, min_gain_to_split=0.0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _encoded(self, y: Any, owner: str, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        y = vector(y, owner)
        check_sums(y, owner)
        if self.loss == "poisson" and (y.min(initial=0) < 0 or not y.sum() > 0):
            raise ValueError(
                f"{owner}: y must be at least 0 and not all 0 for loss='poisson', got {y.min()}"
            )
        if self.loss == "gamma" and not (y > 0).all():
            raise ValueError(f"{owner}: y must be above 0 for loss='gamma', got {y.min()}")
        return y, y

    def _loss(self, owner: str) -> Loss:
        if self.loss == "quantile" and self.quantile is None:
            raise ValueError(f"{owner}: quantile must be given for loss='quantile', got None")
        level = self.quantile if self.loss == "quantile" else self.alpha
        return named(self.loss, 0.5 if level is None else float(level), 1, owner)

    def _linked(self, raw: np.ndarray) -> np.ndarray:
        return np.exp(raw[:, 0]) if self.loss in ("poisson", "gamma") else raw[:, 0].copy()

    def predict(self, X):
        """Predict targets.

        Returns
        -------
        y : ndarray of shape (n,), float64
            Predictions.
        """
        return self._linked(self._raw(X))

    def staged_predict(self, X) -> Iterator[np.ndarray]:
        """Predict targets after each round.

        Yields
        ------
        y : ndarray of shape (n,), float64
            Predictions.
        """
        for raw in self._staged_raw(X):
            yield self._linked(raw)
