"""RandomForestRegressor and ExtraTreesRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import r2_score

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._targets import exponent_of
from kernelmill.ensemble import _words
from kernelmill.ensemble._forest import PARAMETERS, Forest
from kernelmill.ensemble._trees import Store, Trees
from kernelmill.tree import _words as tree_words
from kernelmill.tree._regressor import (
    CRITERIA,
    DecisionTreeRegressor,
    ExtraTreeRegressor,
    ValueTrees,
)

_CRITERION = """criterion : {"squared_error", "friedman_mse", "absolute_error", "poisson"}, \
default="squared_error"
        Loss that a leaf minimises over its rows: it predicts their mean, or their median with
        ``"absolute_error"``. ``"friedman_mse"`` grows the trees of ``"squared_error"``."""
_KEPT = """keep_targets : bool, default=False
        Whether to keep the training targets of each leaf, which `predict_quantiles` reads: 12 bytes
        for each row and tree."""
_OOB = """oob_prediction_ : ndarray of shape (n,) or (n, n_outputs)
        Mean predictions of the trees whose bag lacks the row; NaN where there is none."""
_ROWS = 256  # of a block of queries


class _ForestRegressor(Forest, ValueTrees):
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "criterion": rule.one_of(*(name for name in CRITERIA if name != "quantile")),
        "keep_targets": rule.boolean(),
    }
    keep_targets: bool

    def _attributes(self, store: Store) -> dict[str, Any]:
        return {"_kept": None, **super()._attributes(store)}

    def _keep(self, X: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> None:
        """Rows by leaf of all trees, with their shares of the leaf."""
        if not self.keep_targets:
            return
        trees, n = Trees(self._trees), len(X)
        leaves = trees.leaves(X)
        rows, shares, counts = [], [], np.zeros(len(trees.leaf_values), np.int64)
        for t in range(len(trees)):
            own = self._bag_weights(t, 1, n, targets, weight)[0]
            held = np.flatnonzero(own > 0)
            number = trees.leaf_numbers(leaves[held, t] + trees.roots[t])
            order = np.argsort(number, kind="stable")
            held, number = held[order], number[order]
            mass = np.bincount(number, own[held], minlength=len(counts))
            rows.append(held.astype(np.int32))
            shares.append(own[held] / mass[number])
            counts += np.bincount(number, minlength=len(counts))
        self._kept = {
            "targets": targets,
            "begins": np.concatenate([[0], np.cumsum(counts)]),
            "rows": np.concatenate(rows),
            "shares": np.concatenate(shares),
        }

    def _set_oob(self, sums: np.ndarray, votes: np.ndarray, targets: np.ndarray) -> None:
        known, mean = votes > 0, sums[:, :, 0]
        one = self.n_outputs_ == 1
        self.oob_prediction_ = mean[:, 0] if one else mean
        true, found = (targets[known, 0], mean[known, 0]) if one else (targets[known], mean[known])
        score = self.oob_score if callable(self.oob_score) else r2_score
        exponent = 0 if callable(self.oob_score) else exponent_of(true)
        if exponent:  # R^2 is the same at any scale, but squares
            true, found = np.ldexp(true, -exponent), np.ldexp(found, -exponent)
        self.oob_score_ = float(score(true, found)) if known.sum() > 1 else float("nan")

    def predict(self, X):
        """Mean over trees of what the leaf of each row predicts.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs), float64
            Predictions.
        """
        return self._predictions(X)

    def _compute_partial_dependence_recursion(self, grid, target_features):
        """What scikit-learn's ``partial_dependence`` asks of a forest: (1, n_grid)."""
        own = [t._compute_partial_dependence_recursion(grid, target_features) for t in self]
        return np.mean(own, axis=0)

    def predict_quantiles(self, X, quantiles=(0.05, 0.5, 0.95)):
        """Quantiles of the training targets in the leaves of each row.

        Parameters
        ----------
        quantiles : array-like of shape (q,), default=(0.05, 0.5, 0.95)
            Levels in [0, 1].

        Returns
        -------
        y : ndarray of shape (n, q) or (n, q, n_outputs), float64
            Least target up to which the rows of the leaves have this share of the weight.

        Raises
        ------
        ValueError
            If the forest was not fitted with ``keep_targets=True``, or a level is out of range.

        Notes
        -----
        Each tree weighs the training rows of the leaf by their share of its weight, and trees weigh
        the same: Meinshausen (2006), "Quantile regression forests".

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from kernelmill.ensemble import RandomForestRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = RandomForestRegressor(min_samples_leaf=5, keep_targets=True, random_state=0)
        >>> low, high = model.fit(X, y).predict_quantiles(X, [0.1, 0.9]).T
        >>> bool(((low <= y) & (y <= high)).mean() > 0.8)
        True
        """
        owner, trees = type(self).__name__, self._held()
        if self._kept is None:
            raise ValueError(
                f"{owner}: keep_targets must be True in fit for predict_quantiles, got a forest "
                "without targets"
            )
        levels = np.atleast_1d(np.asarray(quantiles, np.float64))
        if levels.ndim != 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"{owner}: quantiles must be numbers in [0, 1], got {quantiles}")
        X = self._dense(X)
        out = np.empty((len(X), len(levels), self.n_outputs_))
        for first in range(0, len(X), _ROWS):
            block = X[first : first + _ROWS]
            number = trees.leaf_numbers(to_host(trees.leaves(block)) + trees.roots)
            out[first : first + _ROWS] = self._block_quantiles(number, levels)
        return out[:, :, 0] if self.n_outputs_ == 1 else out

    def _block_quantiles(self, leaves: np.ndarray, levels: np.ndarray) -> np.ndarray:
        kept = self._kept
        begin = kept["begins"][leaves].ravel()
        count = kept["begins"][leaves + 1].ravel() - begin
        ends = np.cumsum(count)
        at = np.arange(ends[-1]) + np.repeat(begin - (ends - count), count)
        query = np.repeat(np.arange(len(leaves)), count.reshape(leaves.shape).sum(axis=1))
        shares, rows = kept["shares"][at], kept["rows"][at]
        last = np.searchsorted(query, np.arange(len(leaves)), side="right")
        first = np.concatenate([[0], last[:-1]])
        out = np.empty((len(leaves), len(levels), self.n_outputs_))
        for k in range(self.n_outputs_):
            y = kept["targets"][rows, k]
            order = np.lexsort((y, query))
            below = np.concatenate([[0.0], np.cumsum(shares[order])])
            mass = below[last] - below[first]
            for j, level in enumerate(levels):
                # Sums of shares are rounded: what reaches the level exactly counts.
                wanted = below[first] + level * mass * (1 - 2.0**-40)
                place = np.searchsorted(below, wanted, side="left") - 1
                out[:, j, k] = y[order[np.clip(place, first, last - 1)]]
        return out


class RandomForestRegressor(_ForestRegressor):
    __doc__ = f"""Random forest for regression.

    Trees over bags of rows; predictions are means over trees, and with ``keep_targets`` also
    quantiles of the training targets in leaves.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    {_CRITERION}
    {_words.PARAMETERS.format(max_features="1.0", bootstrap="True", score="R^2")}
    {_words.PRUNING.format(binary="")}
    {_KEPT}
    {tree_words.CATEGORIES}
    {tree_words.SPLIT}

    Attributes
    ----------
    {_words.ATTRIBUTES}
    {_OOB}

    Notes
    -----
    {_words.NOTES}

    References
    ----------
    Breiman (2001), "Random forests".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.ensemble import RandomForestRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = RandomForestRegressor(min_samples_leaf=3, oob_score=True, random_state=0)
    >>> model.fit(X, y).oob_score_ > 0.4, model.predict(X[:1]).shape
    (True, (1,))
    """  # fmt: skip
    _tree = DecisionTreeRegressor

    def __init__(
        self, n_estimators=100, *, criterion="squared_error", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features=1.0, max_leaf_nodes=None,
        min_impurity_decrease=0.0, bootstrap=True, oob_score=False, n_jobs=None, random_state=None,
        verbose=0, warm_start=False, ccp_alpha=0.0, max_samples=None, monotonic_cst=None,
        keep_targets=False, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())


class ExtraTreesRegressor(_ForestRegressor):
    __doc__ = f"""Extremely randomised trees for regression: thresholds are drawn.

    Trees over all rows; a split is the best of the features drawn for it, each with one threshold
    drawn between its extremes in the node.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    {_CRITERION}
    {_words.PARAMETERS.format(max_features="1.0", bootstrap="False", score="R^2")}
    {_words.PRUNING.format(binary="")}
    {_KEPT}
    {tree_words.CATEGORIES}
    {tree_words.SPLIT}

    Attributes
    ----------
    {_words.ATTRIBUTES}
    {_OOB}

    Notes
    -----
    {_words.NOTES}

    References
    ----------
    Geurts, Ernst and Wehenkel (2006), "Extremely randomized trees".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.ensemble import ExtraTreesRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> ExtraTreesRegressor(50, random_state=0).fit(X, y).score(X, y)
    1.0
    """  # fmt: skip
    _tree, _cuts = ExtraTreeRegressor, True

    def __init__(
        self, n_estimators=100, *, criterion="squared_error", max_depth=None, min_samples_split=2,
        min_samples_leaf=1, min_weight_fraction_leaf=0.0, max_features=1.0, max_leaf_nodes=None,
        min_impurity_decrease=0.0, bootstrap=False, oob_score=False, n_jobs=None,
        random_state=None, verbose=0, warm_start=False, ccp_alpha=0.0, max_samples=None,
        monotonic_cst=None, keep_targets=False, categorical_features=None,
        split="exact", max_bins=255,
    ):  # fmt: skip
        self._set_parameters(locals())
