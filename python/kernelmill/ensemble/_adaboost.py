"""What both kinds of AdaBoost share: members, stages, and trees that grow over shared ranks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._climb import climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill.ensemble._as_sequence import AsSequence
from kernelmill.tree._base import DecisionTree
from kernelmill.tree._fitted import arrays_of
from kernelmill.tree._growth import Nursery
from kernelmill.tree._words import WORDS

# Why not on a GPU.
THERE = "members are weighed there"
PARAMETERS = {
    "estimator": rule.any_of(
        rule.Rule(lambda v: hasattr(v, "fit") and hasattr(v, "predict"), "an estimator"),
        rule.nothing(),
    ),
    "n_estimators": rule.integer(1),
    "learning_rate": rule.real(0, above=True),
    "random_state": rule.RANDOM_STATE,
}


class State(NamedTuple):
    """Where a fit stands after some members."""

    logs: np.ndarray  # logarithms of the weights of the rows, the largest 0
    members: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()  # of the members
    errors: tuple[float, ...] = ()

    @property
    def shares(self) -> np.ndarray:
        """The weights of the rows, of sum 1."""
        weights = np.exp(self.logs)
        weights /= weights.sum()
        return weights

    def after(self, member: Any, weight: float, error: float, logs: np.ndarray) -> State:
        """With one more member, and other weights of the rows."""
        return State(
            logs - logs.max(), (*self.members, member), (*self.weights, weight),
            (*self.errors, error),
        )  # fmt: skip


class AdaBoost(AsSequence, Estimator):
    """Base of both. A subclass says how a member changes the weights."""

    _metric: ClassVar[Any]  # of `score`
    _words = WORDS.extended(
        arguments={
            "fit.X": WORDS.arguments["X"],
            "fit.sample_weight": (
                WORDS.arguments["sample_weight"][0], "Weights of the rows to begin with."
            ),
        }
    )  # fmt: skip
    _accepts_sparse = True
    _accepts_missing = True
    _accepts_streams = False
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]]
    estimator: Any
    n_estimators: int
    learning_rate: float
    random_state: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.estimator is None or isinstance(
            self.estimator, DecisionTree
        )
        return tags

    def _default(self) -> Any:
        raise NotImplementedError

    def _set_estimator(self) -> None:
        self.estimator_ = self._default() if self.estimator is None else self.estimator
        self._seed = seed_of(self.random_state)

    def _begin(self, rows: Rows, targets: np.ndarray) -> tuple[Any, Planted | None, State]:
        """An index of the rows with weight, members over their ranks if they can be, the start."""
        kept: Any = slice(None)  # no copy of X
        logs = np.broadcast_to(0.0, rows.count)  # one number
        if rows.weight is not None:
            weight = rows.weight.astype(np.float64)
            if not (weight > 0).all():
                kept = weight > 0
            logs = np.log(weight[kept])
            logs -= logs.max()
        first, given = self._member(0), rows.X[kept]
        shared = Planted(first, given, targets[kept]) if plantable(first, given) else None
        return kept, shared, State(logs)

    def _climb(self, X: Any, y: Any, begin: State, advance: Any) -> None:
        """Fit the members one after another."""
        with Progress(self, False, iterations=self.n_estimators, unit="member", X=X, y=y) as bar:
            run = climb(
                bar, lambda number: begin, advance, max_iter=self.n_estimators,
                attributes=self._attributes,
            )  # fmt: skip
        self.__dict__.update(self._attributes(run.state, run.n_iter))

    def _attributes(self, state: State, count: int) -> dict[str, Any]:
        if not state.members:
            return {}
        return {
            "estimators_": list(state.members),
            "estimator_weights_": np.array(state.weights),
            "estimator_errors_": np.array(state.errors),
        }

    def _member(self, number: int) -> Any:
        """An unfitted member."""
        member = clone(self.estimator_)
        if "random_state" in member.get_params(deep=False):
            member.set_params(random_state=self._member_seed(number))
        return member

    def _member_seed(self, number: int) -> int:
        return int(generator(self._seed, number).integers(2**31))

    def _fitted_member(
        self, number: int, shared: Planted | None, X: Any, y: Any, weights: np.ndarray
    ) -> Any:
        """A member, fitted with weights."""
        if shared is not None:
            return shared.fitted(self._member_seed(number), weights)
        member = self._member(number)
        member.fit(X, y, sample_weight=weights)  # whatever it returns
        return member

    @property
    def feature_importances_(self):
        """Mean of the importances of the members by their weights, (d,)."""
        check_is_fitted(self, "estimators_")
        if not hasattr(self.estimators_[0], "feature_importances_"):
            raise AttributeError(
                f"{type(self).__name__}: estimator must have feature_importances_, got "
                f"{type(self.estimators_[0]).__name__}"
            )
        weights = self.estimator_weights_[: len(self.estimators_)]
        own = [member.feature_importances_ for member in self.estimators_]
        return weights @ np.array(own) / weights.sum()

    def _used(self, X: Any) -> Any:
        """X as members take it."""
        check_is_fitted(self, "estimators_")
        rows = self._rows(X, reset=False)
        self._refuse_device(rows.X, THERE)
        if is_sparse(rows.X) and isinstance(self.estimators_[0], DecisionTree):
            return rows.X.toarray()
        return rows.X

    def _stages(self, X: Any, one: Any) -> Iterator[tuple[Any, float]]:
        """``one(member, X)`` and the weight of each member."""
        used = self._used(X)
        for member, weight in zip(self.estimators_, self.estimator_weights_, strict=False):
            yield one(member, used), float(weight)

    def staged_score(self, X, y, sample_weight=None):
        """`score` after each member.

        Parameters
        ----------
        y : array-like of shape (n,)
            Targets.

        Yields
        ------
        score : float
            One for each stage.
        """
        for found in self.staged_predict(X):
            yield self._metric(y, found, sample_weight=sample_weight)


class Planted:
    """Members that are trees of this package, grown over ranks made once.

    Parameters
    ----------
    member : DecisionTree
        An unfitted tree, of exactly the public classes.
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
        Targets as given.
    """

    def __init__(self, member: DecisionTree, X: np.ndarray, y: np.ndarray) -> None:
        self._template = member
        member.fit(X[:1], y[:1])  # parameters are checked; encodings are set below
        targets, classes, _ = member._encoded(y, type(member).__name__)
        member.n_outputs_, member.is_categorical_, member._category_levels = 1, None, {}
        member._n_classes = classes if len(classes) else np.ones(1, np.int64)
        self._limits = member._limits(len(X), X.shape[1], classes)
        self._field = member._field(X, targets, None, self._limits.random)
        self._nursery = Nursery(self._limits)
        self._kept = {
            name: value for name, value in vars(member).items() if name.endswith("_")
        } | {"_n_classes": member._n_classes, "_category_levels": {}}

    def fitted(self, seed: int, weight: np.ndarray) -> DecisionTree:
        """A member, fitted with weights."""
        member = copy.copy(self._template)  # a tenth of the time of a clone
        member.random_state = seed
        (grown,) = self._nursery.grow(self._field, weight[None], np.array([seed_of(seed)]))
        member.__dict__.update(self._kept)
        member._arrays = arrays_of(grown, member._n_classes, member._classification)
        member.max_features_ = self._limits.max_features
        return member


def plantable(member: Any, X: Any) -> bool:
    """Whether members can grow over shared ranks."""
    return (
        isinstance(member, DecisionTree)
        and type(member).__module__.startswith("kernelmill.tree.")
        and not is_sparse(X)
        and member.ccp_alpha == 0
        and getattr(member, "class_weight", None) is None
        and member.categorical_features is None
    )
