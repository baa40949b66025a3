"""AdaBoostRegressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step
from kernelmill._estimator._random import generator
from kernelmill._estimator._targets import check_count, check_sums, vector
from kernelmill.ensemble._adaboost import PARAMETERS, THERE, AdaBoost, State
from kernelmill.tree import DecisionTreeRegressor


class AdaBoostRegressor(RegressorMixin, AdaBoost):
    """AdaBoost for regression, by R2.

    Each member is fitted to rows drawn with larger probability where those before it were far off;
    a prediction is the weighted median of the members'.

    Parameters
    ----------
    estimator : estimator or None, default=None
        A regressor; None stands for ``DecisionTreeRegressor(max_depth=3)``.
    n_estimators : int, default=50
        Most members.
    learning_rate : float, default=1.0
        Factor of the weights of members.
    loss : {"linear", "square", "exponential"}, default="linear"
        Of errors as shares of the largest.
    random_state : int, RandomState, Generator or None, default=None
        Seed or generator, of the draws of rows and of members that have one.

    Attributes
    ----------
    estimator_ : estimator
        What members are clones of.
    estimators_ : list of estimators
        Members; fewer than ``n_estimators`` where one makes no error, or its mean loss is a half or
        more.
    estimator_weights_, estimator_errors_ : ndarray of shape (n_members,)
        Weights in the median, and mean losses.
    feature_importances_ : ndarray of shape (d,)
        Mean of the importances of the members by their weights.
    n_features_in_, feature_names_in_

    Notes
    -----
    With L the losses of the rows, e their mean by weight and ``b = e / (1 - e)``, the weight of a
    member is ``learning_rate log(1 / b)`` and those of the rows are multiplied by
    ``b**(learning_rate (1 - L))``. Trees of this package share the ranks of float64 features, and
    take a drawn row with the number of times it was drawn as its weight.

    References
    ----------
    Drucker (1997), "Improving regressors using boosting techniques".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kernelmill.ensemble import AdaBoostRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = AdaBoostRegressor(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.5, model.predict(X[:1]).shape
    (True, (1,))
    >>> len([*model.staged_predict(X)]) == len([*model.staged_score(X, y)])
    True
    """

    _metric = staticmethod(r2_score)
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "loss": rule.one_of("linear", "square", "exponential"),
    }
    loss: str

    def __init__(
        self, estimator=None, *, n_estimators=50, learning_rate=1.0, loss="linear",
        random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _default(self) -> Any:
        return DecisionTreeRegressor(max_depth=3)

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Fit the members one after another.

        Parameters
        ----------
        y : array-like of shape (n,)
            Targets.

        Returns
        -------
        self : AdaBoostRegressor
            Itself.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.
        """
        owner = type(self).__name__
        rows = self._rows(X, sample_weight, reset=True)
        self._refuse_device(rows.X, THERE)
        targets = vector(y, owner)
        check_sums(targets, owner)
        check_count(targets, rows.count, owner)
        self._set_estimator()
        kept, shared, begin = self._begin(rows, targets)
        given, targets = rows.X[kept], targets[kept]

        def advance(state: State, most: int) -> Step:
            number, n, weights = len(state.members), len(targets), state.shares
            # Stream `number` is that of the seed of the member.
            drawn = generator(self._seed, 2**32 + number).choice(n, n, p=weights)
            if shared is not None:
                counts = np.bincount(drawn, minlength=n).astype(np.float64)
                member = self._fitted_member(number, shared, given, targets, counts)
                found = member.tree_.predict(given)[:, 0]
            else:
                member = self._member(number)
                member.fit(given[drawn], targets[drawn])
                found = member.predict(given)
            loss = np.abs(found - targets)
            worst = loss[weights > 0].max()
            if worst > 0:
                loss = loss / worst
            if self.loss == "square":
                loss = loss**2
            elif self.loss == "exponential":
                loss = -np.expm1(-loss)
            error = float((weights * loss).sum())
            if error <= 0 or (error >= 0.5 and not number):  # the first one stays, alone
                return Step(state.after(member, 1.0, error, state.logs), finished=True)
            if error >= 0.5:
                return Step(state, finished=True, taken=1)
            log_b = np.log(error) - np.log1p(-error)
            moved = state.logs + self.learning_rate * (1 - loss) * log_b
            return Step(state.after(member, float(-self.learning_rate * log_b), error, moved))

        self._climb(X, y, begin, advance)
        return self

    def _found(self, member: Any, X: Any) -> np.ndarray:
        return np.asarray(member.predict(X), np.float64)

    def _medians(self, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted medians of columns of members, (n, members) -> (n,)."""
        order = np.argsort(found, axis=1, kind="stable")
        below = np.cumsum(weights[order], axis=1)
        place = (below >= 0.5 * below[:, -1:]).argmax(axis=1)
        rows = np.arange(len(found))
        return found[rows, order[rows, place]]

    def predict(self, X):
        """Weighted median of what the members predict.

        Returns
        -------
        y : ndarray of shape (n,)
            The lower one where two are in the middle.
        """
        *_, last = self._all(X, stages=False)
        return last

    def staged_predict(self, X):
        """`predict` after each member.

        Yields
        ------
        y : ndarray of shape (n,)
            One for each stage.
        """
        yield from self._all(X, stages=True)

    def _all(self, X: Any, stages: bool) -> Any:
        columns: list[np.ndarray] = []
        weights: list[float] = []
        for found, weight in self._stages(X, self._found):
            columns.append(found)
            weights.append(weight)
            if stages or len(columns) == len(self.estimators_):
                yield self._medians(np.stack(columns, axis=1), np.array(weights))
