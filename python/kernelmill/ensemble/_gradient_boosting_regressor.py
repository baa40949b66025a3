"""GradientBoostingRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import check_sums, vector
from kernelmill.ensemble import _gradient_words as _words
from kernelmill.ensemble._gradient_boosting import PARAMETERS, GradientBoosting


class GradientBoostingRegressor(RegressorMixin, GradientBoosting):
    __doc__ = f"""Gradient boosting for regression, over exact trees.

    Parameters
    ----------
    loss : {{"squared_error", "absolute_error", "huber", "quantile"}}, default="squared_error"
        ``"huber"`` is squared up to the quantile ``alpha`` of the absolute errors and absolute
        beyond; ``"quantile"`` is the pinball loss of level ``alpha``.
    {_words.PARAMETERS.format()}
    max_features : int, float, {{"sqrt", "log2"}} or None, default=None
        Features to look at in each node, drawn anew.
    alpha : float, default=0.9
        Level of the losses ``"huber"`` and ``"quantile"``.
    {_words.MORE}

    Attributes
    ----------
    {_words.ATTRIBUTES}

    Notes
    -----
    {_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.ensemble import GradientBoostingRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GradientBoostingRegressor(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.75, model.apply(X).shape
    (True, (442, 100))
    >>> model.predict(X[:1]).shape, len([*model.staged_predict(X)])
    ((1,), 100)
    """  # fmt: skip

    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "loss": rule.one_of("squared_error", "absolute_error", "huber", "quantile"),
        "alpha": rule.Rule(lambda v: rule.is_real(v) and 0 < v < 1, "a number in (0, 1)"),
    }
    alpha: float

    def __init__(
        self, *, loss="squared_error", learning_rate=0.1, n_estimators=100, subsample=1.0,
        criterion="friedman_mse", min_samples_split=2, min_samples_leaf=1,
        min_weight_fraction_leaf=0.0, max_depth=3, min_impurity_decrease=0.0, init=None,
        random_state=None, max_features=None, alpha=0.9, verbose=0, max_leaf_nodes=None,
        warm_start=False, validation_fraction=0.1, n_iter_no_change=None, tol=1e-4, ccp_alpha=0.0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _targets(self, y: Any, owner: str) -> tuple[np.ndarray, np.ndarray, int]:
        given = vector(y, owner)
        check_sums(given, owner)
        return given, given, 0

    def _raw_of(self, model: Any, X: Any) -> np.ndarray:
        return np.asarray(model.predict(X), np.float64).reshape(len(X), 1)

    def predict(self, X):
        """Predictions.

        Returns
        -------
        y : ndarray of shape (n,)
            The sum of all stages.
        """
        return self._raw(X)[:, 0]

    def staged_predict(self, X):
        """`predict` after each stage.

        Yields
        ------
        y : ndarray of shape (n,)
            One for each stage.
        """
        for raw in self._staged_raw(X):
            yield raw[:, 0]

    def _leaves_shaped(self, leaves: np.ndarray) -> np.ndarray:
        return leaves[:, :, 0]
