"""DecisionTreeRegressor and ExtraTreeRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.tree import DecisionTreeRegressor as Peer

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import check_sums, numbers
from kernelmill.ops import tree as ops
from kernelmill.tree import _base, _words
from kernelmill.tree._base import DecisionTree, TreeModel

CRITERIA = {
    "squared_error": ops.SQUARED,
    "friedman_mse": ops.SQUARED,
    "absolute_error": ops.QUANTILE,
    "quantile": ops.QUANTILE,
    "poisson": ops.POISSON,
}
_CRITERION = """criterion : {"squared_error", "friedman_mse", "absolute_error", "poisson", \
"quantile"}, default="squared_error"
        Loss that a leaf minimises over its rows: it predicts their mean, their median with
        ``"absolute_error"``, or their quantile. Friedman's criterion ranks splits by the difference
        of means, which is the decrease of the squared error, so both grow the same tree.
        ``"poisson"`` is half the Poisson deviance, for targets of at least 0."""
_QUANTILE = """quantile : float, default=0.5
        Level of the criterion ``"quantile"``."""


class ValueTrees(RegressorMixin, TreeModel):
    """Targets and predictions of regressors."""

    _classification = False
    criterion: str
    quantile: float = 0.5

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _criterion(self) -> tuple[int, float]:
        return CRITERIA[self.criterion], self.quantile if self.criterion == "quantile" else 0.5

    def _encoded(self, y: Any, owner: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        given = numbers(y, owner, np.float64)
        check_sums(given, owner)
        targets = given.reshape(len(given), -1)
        if self.criterion == "poisson" and ((targets < 0).any() or (targets.sum(0) <= 0).any()):
            raise ValueError(
                f"{owner}: y must be at least 0 and not all 0 for criterion='poisson', got "
                f"{targets.min()} (Some value(s) of y are negative, or their sum is not positive)"
            )
        self._one = given.ndim == 1
        return targets, np.zeros(0, np.int64), None

    def _predictions(self, X: Any) -> np.ndarray:
        values = self._leaf_values(X)[:, :, 0]
        return values[:, 0] if self.n_outputs_ == 1 else values


class _Regressor(ValueTrees, DecisionTree):
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **_base.PARAMETERS,
        "splitter": rule.one_of("best", "random"),
        "criterion": rule.one_of(*CRITERIA),
        "quantile": rule.Rule(lambda v: rule.is_real(v) and 0 < v < 1, "a number in (0, 1)"),
    }

    def predict(self, X, check_input=True):
        """What the leaf of each row predicts.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs), float64
            Means, medians or quantiles.
        """
        return self._predictions(X)


class DecisionTreeRegressor(_Regressor):
    __doc__ = f"""Decision tree for regression.

    Parameters
    ----------
    {_CRITERION}
    {_words.PARAMETERS.format(splitter="best", max_features="None")}
    {_words.PRUNING.format(binary="")}
    {_QUANTILE}
    {_words.CATEGORIES}
    {_words.SPLIT}

    Attributes
    ----------
    {_words.ATTRIBUTES}

    Notes
    -----
    {_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.tree import DecisionTreeRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DecisionTreeRegressor(max_depth=3).fit(X, y)
    >>> model.score(X, y) > 0.5, model.get_n_leaves()
    (True, 8)
    >>> model.predict(X[:1]).shape, model.apply(X[:1]).shape
    ((1,), (1,))
    """  # fmt: skip

    def __init__(
        self, *, criterion="squared_error", splitter="best", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features=None, random_state=None,
        max_leaf_nodes=None, min_impurity_decrease=0.0, ccp_alpha=0.0, monotonic_cst=None,
        quantile=0.5, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())


class ExtraTreeRegressor(_Regressor):
    __doc__ = f"""Extremely randomised tree for regression: thresholds are drawn.

    For ensembles. Differs from `DecisionTreeRegressor` in two defaults.

    Parameters
    ----------
    {_CRITERION}
    {_words.PARAMETERS.format(splitter="random", max_features="1.0")}
    {_words.PRUNING.format(binary="")}
    {_QUANTILE}
    {_words.CATEGORIES}
    {_words.SPLIT}

    Attributes
    ----------
    {_words.ATTRIBUTES}

    Notes
    -----
    {_words.NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.tree import ExtraTreeRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> ExtraTreeRegressor(random_state=0).fit(X, y).score(X, y)
    1.0
    """  # fmt: skip

    def __init__(
        self, *, criterion="squared_error", splitter="random", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features=1.0, random_state=None,
        max_leaf_nodes=None, min_impurity_decrease=0.0, ccp_alpha=0.0, monotonic_cst=None,
        quantile=0.5, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())


Peer.register(_Regressor)  # its tree_ is what plot_tree and its like read
