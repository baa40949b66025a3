"""What both kinds of gradient boosting over exact trees share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import blocks, check_count, hold_out
from kernelmill.ensemble._as_sequence import AsSequence
from kernelmill.ensemble._gradient_losses import loss_of
from kernelmill.ensemble._trees import Trees, cut_back, joined, set_before
from kernelmill.ops import tree as ops
from kernelmill.tree import _base
from kernelmill.tree._fitted import arrays_of
from kernelmill.tree._growth import Field, Grown, Limits, Nursery
from kernelmill.tree._regressor import DecisionTreeRegressor
from kernelmill.tree._words import WORDS

# Why not on a GPU.
_THERE = "its trees are exact; those of HistGradientBoosting take either device"
_ONE = np.ones(1, np.int64)
_ROOT = np.zeros(1, np.int64)
# What a fit sets before its first stage.
_STARTED = ("_seed", "_base", "init_", "max_features_", "classes_", "n_classes_")
# Parameters of trees that it lacks.
_MISSING = ("monotonic_cst", "categorical_features", "split", "max_bins")
# Parameters that its trees have as their own.
_OF_TREES = (
    "max_depth", "min_samples_split", "min_samples_leaf", "min_weight_fraction_leaf",
    "max_features", "max_leaf_nodes", "min_impurity_decrease", "ccp_alpha",
)  # fmt: skip
_share = rule.Rule(lambda v: rule.is_real(v) and 0 < v <= 1, "a number in (0, 1]")
PARAMETERS = {
    **{k: v for k, v in _base.PARAMETERS.items() if k not in _MISSING},
    "learning_rate": rule.real(0),
    "n_estimators": rule.integer(1),
    "subsample": _share,
    "criterion": rule.one_of("friedman_mse", "squared_error", "deprecated"),
    "init": rule.any_of(
        rule.one_of("zero"),
        rule.Rule(lambda v: hasattr(v, "fit") and hasattr(v, "predict"), "an estimator"),
        rule.nothing(),
    ),
    "verbose": rule.VERBOSE,
    "warm_start": rule.boolean(),
    "validation_fraction": rule.Rule(
        lambda v: rule.is_real(v) and 0 < v < 1, "a number in (0, 1)"
    ),
    "n_iter_no_change": rule.any_of(rule.integer(1), rule.nothing()),
    "tol": rule.real(0),
}


class _State(NamedTuple):
    stages: tuple[tuple[Grown, ...], ...]  # trees of each stage, a column each
    raw: np.ndarray  # of the training rows
    held: np.ndarray | None  # of the rows to validate with
    scores: tuple[float, ...]  # training losses
    losses: tuple[float, ...]  # losses of the rows to validate with
    outside: tuple[tuple[float, float], ...]  # of the rows left out: improvement, loss


class GradientBoosting(AsSequence, Estimator):
    """Base of both. A subclass encodes targets and says what raw predictions mean."""

    _words = WORDS
    _accepts_sparse = True
    _accepts_missing = True
    _accepts_streams = False
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]]
    loss: str
    learning_rate: float
    n_estimators: int
    subsample: float
    min_samples_split: Any
    min_samples_leaf: Any
    min_weight_fraction_leaf: float
    max_depth: Any
    max_features: Any
    max_leaf_nodes: Any
    min_impurity_decrease: float
    ccp_alpha: float
    init: Any
    random_state: Any
    verbose: Any
    warm_start: bool
    validation_fraction: float
    n_iter_no_change: Any
    tol: float

    def _targets(self, y: Any, owner: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Targets for the loss, targets as given, and the number of classes or 0."""
        raise NotImplementedError

    def _raw_of(self, model: Any, X: Any) -> np.ndarray:
        """Raw predictions of a fitted `init`."""
        raise NotImplementedError

    @fitting
    def fit(self, X, y, sample_weight=None, monitor=None):
        """Fit the stages.

        Parameters
        ----------
        y : array-like of shape (n,)
            Targets.
        monitor : callable, optional
            ``monitor(stage, self, state)`` after each stage, with the model as it is then and a
            dict of ``X``, ``y``, ``sample_weight`` and ``raw_predictions``; stops by returning
            True.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.
        """
        owner = type(self).__name__
        again = self.warm_start and "_columns" in self.__dict__
        rows = self._rows(X, sample_weight, reset=not again)
        self._refuse_device(rows.X, _THERE)
        before = self.__dict__.get("classes_")
        targets, given, classes = self._targets(y, owner)
        if again:
            _base.check_again(owner, (before, 1), (self.__dict__.get("classes_"), 1))
        check_count(targets, rows.count, owner)
        dense = rows.X.toarray() if is_sparse(rows.X) else rows.X
        weight = np.broadcast_to(1.0, len(dense))  # one number
        if rows.weight is not None:
            weight = rows.weight.astype(np.float64)
            weight /= weight.max()  # first: the least may vanish beside it
            kept = weight > 0
            if not kept.all():
                dense, targets, given = dense[kept], targets[kept], given[kept]
                weight = weight[kept]
        if classes and len(np.unique(targets)) < 2:
            raise ValueError(
                f"{owner}: y must hold at least 2 classes, got 1 (with weight above 0; it "
                "contains 1 class after sample_weight trimmed samples with zero weights)"
            )
        loss = loss_of(self.loss, getattr(self, "alpha", 0.9), classes)
        loss.measure(targets)
        old = self._old_stages(owner)
        if not old:
            self._seed = seed_of(self.random_state)
        held = None
        if self.n_iter_no_change is not None:
            train, chosen = hold_out(self, given, len(dense), self._seed)
            left, all_classes = len(np.unique(targets[train])), len(np.unique(targets))
            if classes and left < all_classes:
                raise ValueError(
                    f"{owner}: validation_fraction must leave rows of every class to train on, got "
                    f"{self.validation_fraction!r}, which leaves {left} of {all_classes} classes "
                    "(The training data after the early stopping split is missing some classes.)"
                )
            held = dense[chosen], targets[chosen], weight[chosen]
            dense, targets, weight = dense[train], targets[train], weight[train]
            given = given[train]
        self._start(dense, given, targets, weight, loss, old)
        state = self._climb(dense, targets, weight, loss, held, old, monitor)
        self.__dict__.update(self._attributes(state, 0))
        return self

    def _old_stages(self, owner: str) -> tuple[tuple[Grown, ...], ...]:
        if not (self.warm_start and "_columns" in self.__dict__):
            return ()
        held = [Trees(arrays) for arrays in self._columns]
        if self.n_estimators < len(held[0]):
            raise ValueError(
                f"{owner}: n_estimators must be at least {len(held[0])}, the number of stages that "
                f"warm_start keeps, got {self.n_estimators}"
            )
        return tuple(
            tuple(trees.grown(t, _ONE, False) for trees in held) for t in range(len(held[0]))
        )

    def _start(
        self, X: np.ndarray, given: np.ndarray, targets: np.ndarray, weight: np.ndarray,
        loss: Any, old: tuple,
    ) -> None:
        """Sets what raw predictions begin with."""
        if old:
            return
        self.init_ = None
        self._base = np.zeros(loss.columns)
        if self.init is None:
            self._base = loss.base(targets, weight)
        elif self.init != "zero":
            model = clone(self.init)
            uneven = not (weight == weight[0]).all()
            try:
                self.init_ = model.fit(X, given, sample_weight=weight) if uneven else model.fit(
                    X, given
                )
            except TypeError as error:
                if not uneven or has_fit_parameter(model, "sample_weight"):
                    raise
                raise ValueError(
                    f"{type(self).__name__}: init must take sample_weight in fit, got "
                    f"{type(model).__name__} (The initial estimator does not support sample "
                    "weights.)"
                ) from error

    def _begin(self, X: np.ndarray) -> np.ndarray:
        """Raw predictions before the first stage."""
        raw = np.tile(self._base, (len(X), 1))
        return raw if self.init_ is None else raw + self._raw_of(self.init_, X)

    def _limits(self, n: int, d: int) -> Limits:
        return Limits(
            criterion=ops.SQUARED,
            classes=np.zeros(0, np.int64),
            max_depth=self.max_depth,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_split=max(2, _base._share(self.min_samples_split, n)),
            min_samples_leaf=_base._share(self.min_samples_leaf, n),
            min_weight_fraction=self.min_weight_fraction_leaf,
            min_impurity_decrease=self.min_impurity_decrease,
            max_features=_base._features(self.max_features, d),
            in_order=self.max_features is None,
        )

    def _climb(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray, loss: Any,
        held: tuple[np.ndarray, ...] | None, old: tuple[tuple[Grown, ...], ...], monitor: Any,
    ) -> _State:
        n = len(X)
        raw = self._begin(X)
        field = Field.of(X, loss.gradient(y, raw, weight))
        field.y = raw[:0]  # what counts is the magnitude
        limits = self._limits(n, X.shape[1])
        self.max_features_ = limits.max_features
        nursery = Nursery(limits)
        bag = max(1, int(self.subsample * n))
        plain = self.subsample == 1 and (weight == weight[0]).all()

        def grow(gradient: np.ndarray, w: np.ndarray, seed: int) -> Grown:
            field.set_targets(gradient)
            (grown,) = nursery.grow(field, None if plain else w[None], np.array([seed]))
            return cut_back(grown, _ONE, False, self.ccp_alpha) if self.ccp_alpha else grown

        def add(grown: Grown, rows: np.ndarray, raw: np.ndarray, k: int) -> None:
            raw[:, k] += self.learning_rate * _values_at(grown, rows)

        def advance(state: _State, most: int) -> Step:
            stage = len(state.stages)
            draws = generator(self._seed, 2 * stage + 1)
            w, inside = weight, None
            if self.subsample < 1:
                inside = np.zeros(n, bool)
                inside[draws.choice(n, bag, replace=False)] = True
                w = np.where(inside, weight, 0.0)
            raw = state.raw
            gradient = loss.gradient(y, raw, w)
            trees, moves = [], []
            for k in range(loss.columns):
                grown = grow(gradient[:, k], w, int(draws.integers(2**31)))
                leaf, at = _leaves_of(grown, X), _leaf_nodes(grown)
                if loss.leaves is not None:
                    values = loss.leaves(y, raw, gradient, w, k, leaf, len(at))
                    grown.value[at, 0] = values
                trees.append(grown)
                moves.append((leaf, self.learning_rate * grown.value[at, 0]))
            # Not before the trees have grown, and without gradients: memory is highest there.
            del gradient
            after = raw.copy()
            for k, (leaf, step) in enumerate(moves):
                for own in blocks(n):
                    after[own, k] += step[leaf[own]]
            del moves, leaf
            field.y = after[:0]
            train = w if inside is None else w[inside]
            seen = (y, after) if inside is None else (y[inside], after[inside])
            outside = state.outside
            if inside is not None:
                out = ~inside
                if out.any():
                    was = loss.of(y[out], raw[out], weight[out])
                    now = loss.of(y[out], after[out], weight[out])
                else:
                    was = now = float("nan")
                outside = (*outside, (was - now, now))
            losses, kept = state.losses, state.held
            if held is not None and kept is not None:
                kept = kept.copy()
                for k, grown in enumerate(trees):
                    add(grown, held[0], kept, k)
                losses = (*losses, loss.of(held[1], kept, held[2]))
            score = loss.of(*seen, train)
            step = _State(
                (*state.stages, tuple(trees)), after, kept, (*state.scores, score), losses, outside
            )
            return Step(step, score, finished=self._stops(losses) or stopped_by(step, w))

        def stopped_by(step: _State, w: np.ndarray) -> bool:
            if monitor is None:
                return False
            self.__dict__.update(self._attributes(step, 0))
            given = {"X": X, "y": y, "sample_weight": w, "raw_predictions": step.raw}
            return bool(monitor(len(step.stages) - 1, self, given))

        kept = None if held is None else self._begin(held[0])
        for trees in old:
            for k, grown in enumerate(trees):
                add(grown, X, raw, k)
                if held is not None and kept is not None:
                    add(grown, held[0], kept, k)
        past = getattr(self, "train_score_", np.zeros(0)) if old else np.zeros(0)
        outside: tuple = ()
        if old and hasattr(self, "oob_scores_"):
            outside = tuple(zip(self.oob_improvement_, self.oob_scores_, strict=True))
        elif self.subsample < 1:  # stages before looked at all rows
            outside = ((0.0, 0.0),) * len(old)
        begin = [_State(old, raw, kept, tuple(past), (), outside)]
        del raw  # and the list is emptied: nothing holds it after the first stage
        left = self.n_estimators - len(old)
        if not left:
            return begin[0]
        with Progress(self, self.verbose, iterations=left, unit="stage", X=X, y=y) as progress:
            run = climb(
                progress, lambda number: begin.pop(), advance, max_iter=left,
                attributes=self._attributes,
            )  # fmt: skip
        state = run.state
        if state.losses and self.n_iter_no_change is not None:
            best = len(old) + int(np.argmin(state.losses)) + 1
            state = state._replace(
                stages=state.stages[:best], scores=state.scores[:best],
                outside=state.outside[:best],
            )  # fmt: skip
        return state

    def _stops(self, losses: tuple[float, ...]) -> bool:
        """Whether the last losses have not improved by ``tol`` on those before."""
        patience = self.n_iter_no_change
        if patience is None or len(losses) <= patience:
            return False
        return min(losses[-patience:]) + self.tol * abs(losses[0]) > min(losses[:-patience])

    def _attributes(self, state: _State, count: int) -> dict[str, Any]:
        if not state.stages:
            return {}
        columns = [joined(trees, _ONE, False) for trees in zip(*state.stages, strict=True)]
        own = set_before(self, _STARTED) | {
            "_columns": columns,
            "n_estimators_": len(state.stages),
            "train_score_": np.array(state.scores),
        }
        if state.outside:
            gained, losses = np.array(state.outside).T
            own |= {
                "oob_improvement_": gained,
                "oob_scores_": losses,
                "oob_score_": float(losses[-1]),
            }
        return own

    # --- use --------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self):
        return "_columns" in self.__dict__

    def _dense(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        self._refuse_device(rows.X, _THERE)
        return rows.X.toarray() if is_sparse(rows.X) else rows.X

    def _raw(self, X: Any) -> np.ndarray:
        X = self._dense(X)
        raw = self._begin(X)
        for k, arrays in enumerate(self._columns):
            raw[:, k] += self.learning_rate * Trees(arrays).sums(X)[:, 0]
        return raw

    def _staged_raw(self, X: Any) -> Iterator[np.ndarray]:
        X = self._dense(X)
        raw = self._begin(X)
        columns = [Trees(arrays) for arrays in self._columns]
        for t in range(self.n_estimators_):
            raw = raw.copy()
            for k, trees in enumerate(columns):
                raw[:, k] += self.learning_rate * trees.sums_of(X, t)[:, 0]
            yield raw

    def predict_contributions(self, X):
        """What each feature adds to the raw prediction: Shapley values along the paths of trees.

        Returns
        -------
        contributions : ndarray of shape (n, d + 1) or (n, d + 1, n_classes)
            The last column is what ``init`` predicts and the expected sum of the trees. Columns
            add up to the raw prediction: the decision function, or the prediction.
        """
        X = self._dense(X)
        phi = np.zeros((len(X), X.shape[1] + 1, len(self._columns)))
        for k, arrays in enumerate(self._columns):
            own = ops.contributions(X, *Trees(arrays).walkable(), np.zeros(1))
            phi[:, :, k] = self.learning_rate * own[:, 0]
        phi[:, -1] += self._begin(X)
        return phi[:, :, 0] if phi.shape[2] == 1 else phi

    @property
    def n_trees_per_iteration_(self):
        """Trees of a stage: one, or one for each class of several."""
        check_is_fitted(self)
        return len(self._columns)

    @property
    def estimators_(self):
        """The trees, ndarray of shape (n_estimators_, columns), made when they are asked for."""
        check_is_fitted(self)
        out = np.empty((self.n_estimators_, len(self._columns)), object)
        own = {name: getattr(self, name) for name in _OF_TREES}
        for k, arrays in enumerate(self._columns):
            trees = Trees(arrays)
            for t in range(self.n_estimators_):
                tree = DecisionTreeRegressor(**own)
                tree._arrays = arrays_of(trees.grown(t, _ONE, False), _ONE, False)
                tree.n_features_in_, tree.n_outputs_ = self.n_features_in_, 1
                tree._n_classes, tree.max_features_ = _ONE, self.max_features_
                tree._category_levels, tree.is_categorical_ = {}, None
                out[t, k] = tree
        return out

    def _compute_partial_dependence_recursion(self, grid, target_features):
        """What scikit-learn's ``partial_dependence`` asks of trees: (k, n_grid), without start."""
        if self.init is not None:
            warn(
                f"{type(self).__name__}: init must be None for partial dependence by recursion to "
                f"include the start, got {self.init!r} (Using recursion method with a non-constant "
                "init predictor will lead to incorrect partial dependence values)", UserWarning
            )  # fmt: skip
        parts = [
            [tree._compute_partial_dependence_recursion(grid, target_features)[0] for tree in stage]
            for stage in self.estimators_
        ]
        return float(self.learning_rate) * np.sum(parts, axis=0)

    @property
    def feature_importances_(self):
        """Decrease of squared error of the gradients by each feature, normalised, (d,)."""
        check_is_fitted(self)
        own = [Trees(arrays).decreases(self.n_features_in_) for arrays in self._columns]
        sums = np.mean([part for column in own for part in column], axis=0)
        return sums / sums.sum() if sums.sum() > 0 else sums

    def apply(self, X):
        """Number of the leaf of each row in each tree.

        Returns
        -------
        leaves : ndarray of shape (n, n_estimators) or (n, n_estimators, n_classes), int64
            Numbers of nodes.
        """
        X = self._dense(X)
        leaves = [Trees(arrays).leaves(X).astype(np.int64) for arrays in self._columns]
        return self._leaves_shaped(np.stack(leaves, axis=2))

    def _leaves_shaped(self, leaves: np.ndarray) -> np.ndarray:
        return leaves


def _leaves_of(grown: Grown, X: np.ndarray) -> np.ndarray:
    """The number among leaves of the leaf of each row."""
    right = grown.nodes.view(ops.NODE).reshape(-1)["right"]
    leaf = np.empty(len(X), np.min_scalar_type(len(right)))
    for own in blocks(len(X)):
        leaf[own] = right[ops.apply(X[own], grown.nodes, _ROOT, grown.sides)[:, 0]]
    return leaf


def _leaf_nodes(grown: Grown) -> np.ndarray:
    return np.flatnonzero(grown.nodes.view(ops.NODE).reshape(-1)["feature"] < 0)


def _values_at(grown: Grown, X: np.ndarray) -> np.ndarray:
    values = np.ascontiguousarray(grown.value[_leaf_nodes(grown)])
    return ops.predict(X, grown.nodes, _ROOT, grown.sides, values)[:, 0]
