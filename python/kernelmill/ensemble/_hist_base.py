"""What both models of histogram boosting share: parameters, fit, scores, contributions."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import (
    as_matrix,
    column_names,
    distinct,
    feature_names,
    is_frame,
    levels_of,
    numbered,
)
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Step, climb
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import check_count, hold_out
from kernelmill.ensemble._hist_bins import Bins, chosen_categories
from kernelmill.ensemble._hist_losses import Loss
from kernelmill.ensemble._hist_trees import Grown, Trees
from kernelmill.nn._trainer_loop import Patience
from kernelmill.ops import histogram as ops

_NONE = np.zeros(0)
_COARSE = 1 << 14  # rows from which gradients are rounded to coarse steps
_LEAST_HESSIAN = 1e-3  # of a leaf, as a share of a row's mean hessian at the start
_SCORED = 10_000  # training rows that a metric is computed on

PARAMETERS = {
    "learning_rate": rule.real(0, above=True),
    "max_iter": rule.integer(1),
    "max_leaf_nodes": rule.any_of(rule.integer(2), rule.nothing()),
    "max_depth": rule.any_of(rule.integer(1), rule.nothing()),
    "min_samples_leaf": rule.integer(1),
    "l2_regularization": rule.real(0),
    "l1_regularization": rule.real(0),
    "min_gain_to_split": rule.real(0),
    "max_features": rule.real(0, above=True, high=1.0),
    "max_bins": rule.Rule(
        lambda v: rule.is_integer(v) and 2 <= v <= 255, "a whole number from 2 to 255"
    ),
    "categorical_features": rule.any_of(
        rule.one_of("from_dtype"), rule.array("(n_features,) or of positions or names"),
        rule.nothing(),
    ),
    "monotonic_cst": rule.any_of(
        rule.Rule(lambda v: isinstance(v, Mapping), "a dict of -1, 0 and 1 by names"),
        rule.array("(n_features,) of -1, 0 and 1"),
        rule.nothing(),
    ),
    "interaction_cst": rule.any_of(
        rule.one_of("pairwise", "no_interactions"),
        rule.Rule(
            lambda v: isinstance(v, list | tuple) and len(v) > 0
            and all(isinstance(group, list | tuple | set | frozenset) for group in v),
            "a list of sets of positions",
        ),
        rule.nothing(),
    ),
    "warm_start": rule.boolean(),
    "early_stopping": rule.any_of(rule.one_of("auto"), rule.boolean()),
    "scoring": rule.any_of(
        rule.Rule(lambda v: isinstance(v, str), "the name of a scorer"),
        rule.function("(estimator, X, y)"), rule.nothing(),
    ),
    "validation_fraction": rule.any_of(
        rule.integer(1),
        rule.Rule(lambda v: rule.is_real(v) and 0 < v < 1, "a share in (0, 1)"),
        rule.nothing(),
    ),
    "n_iter_no_change": rule.integer(1),
    "tol": rule.real(0),
    "verbose": rule.VERBOSE,
    "random_state": rule.RANDOM_STATE,
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """Rows to validate with: codes, targets as the loss takes them and as given, weights."""

    X: np.ndarray
    codes: np.ndarray
    y: np.ndarray
    given: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Stage:
    """Where a fit stands after some rounds; never changed in place."""

    rounds: int
    patience: Patience = field(default_factory=Patience)
    best: int = 0  # rounds of the best score
    train: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()


class HistGradientBoosting(Estimator):
    """Base of both models. A subclass encodes targets and turns scores into predictions."""

    _accepts_missing = True
    _accepts_streams = False
    _checks_values = False  # infinity is a value like any other
    _classification: ClassVar[bool]
    n_iter_: int

    def _encoded(self, y: Any, owner: str, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Targets as the loss takes them, float64, and as given."""
        raise NotImplementedError

    def _loss(self, owner: str) -> Loss:
        """The loss, once targets are known."""
        raise NotImplementedError

    def _class_weight(self, given: np.ndarray) -> np.ndarray | None:
        return None

    # --- X ----------------------------------------------------------------------------------------

    def _matrix(self, X: Any) -> tuple[Any, Any]:
        """X as numbers: levels of frames' categorical columns are numbered as in the first fit."""
        if is_frame(X):
            if "_levels" not in self.__dict__:
                self._levels = self._found_levels(X)
            if len(column_names(X)) > max(self._levels, default=-1):
                X, names = numbered(X, self._levels), feature_names(X)
                return as_matrix(X, type(self).__name__, accept_sparse=False), names
        return super()._matrix(X)

    def _found_levels(self, frame: Any) -> dict[int, np.ndarray]:
        given, names = self.categorical_features, column_names(frame)
        levels = {}
        for j, name in enumerate(names):
            own = levels_of(frame, j)
            if given is None:
                continue
            if not isinstance(given, str):
                listed = np.asarray(given)
                mask = listed.dtype.kind == "b"
                if not (listed[j] if mask and len(listed) == len(names) else j in listed.tolist()
                        or name in listed.tolist()):  # fmt: skip
                    continue
                if own is None:
                    own = distinct(frame, j)
                    if own.dtype.kind in "biuf":
                        continue  # a column of numbers is one already
            if own is None:
                continue
            if len(own) > self.max_bins:
                raise ValueError(
                    f"{type(self).__name__}: categorical_features must have at most max_bins="
                    f"{self.max_bins} levels, got {len(own)} in column {name!r} (it is expected to "
                    f"have a cardinality <= {self.max_bins})"
                )
            levels[j] = own
        return levels

    def _categories(self, d: int) -> np.ndarray:
        names = getattr(self, "feature_names_in_", None)
        levels = self.__dict__.get("_levels", {})
        mask = chosen_categories(self, names, d, list(levels))
        mask[list(levels)] = True
        return mask

    # --- fit --------------------------------------------------------------------------------------

    @fitting
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None,
        eval_set=None,
    ):  # fmt: skip
        """Grow trees, each for what the others left over.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Rows; NaN is a missing value.
        y : array-like of shape (n,)
            Targets.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows; those of weight 0 are ignored.
        X_val, y_val : array-like, optional
            Rows and targets to validate with, in place of a part of X.
        sample_weight_val : array-like, optional
            Weights of these rows.
        eval_set : tuple (X, y) or list of one, optional
            Another way to give ``X_val`` and ``y_val``.

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
        again = self.warm_start and "_trees" in self.__dict__
        if not again:
            self.__dict__.pop("_levels", None)
        if eval_set is not None:
            X_val, y_val = _evaluation(eval_set, X_val, owner)
        rows = self._rows(X, sample_weight, reset=not again)
        targets, given = self._encoded(y, owner, not again)
        check_count(targets, rows.count, owner)
        weight = _NONE if rows.weight is None else rows.weight.astype(np.float64)
        by_class = self._class_weight(given)
        if by_class is not None:
            weight = weight * by_class if len(weight) else by_class
        X = rows.X
        if len(weight) and not (weight > 0).all():
            kept = weight > 0
            X, targets, given, weight = X[kept], targets[kept], given[kept], weight[kept]
            if self._classification and targets.min() == targets.max():
                raise ValueError(
                    f"{owner}: sample_weight must be above 0 for rows of at least two classes, got "
                    "1 class"
                )
        if again and self.max_iter < self.n_iter_:
            raise ValueError(
                f"{owner}: max_iter must be at least the rounds of the last fit with warm_start, "
                f"got {self.max_iter} and {self.n_iter_} (larger than or equal to n_iter_)"
            )
        seed = seed_of(self.random_state)
        loss = self._loss(owner)
        stopping = self.early_stopping
        self.do_early_stopping_ = len(X) > 10_000 if stopping == "auto" else bool(stopping)
        held = None
        if X_val is not None:
            if y_val is None:
                raise ValueError(f"{owner}: y_val must be given with X_val, got None")
            held = self._held(X_val, y_val, sample_weight_val, owner)
            self.do_early_stopping_ = self.do_early_stopping_ or stopping == "auto"
        elif self.do_early_stopping_ and self.validation_fraction is not None:
            train, chosen = self._parts(given, len(X), seed)
            part = weight[chosen] if len(weight) else _NONE
            held = Held(X[chosen], _NONE, targets[chosen], given[chosen], part)
            X, targets, given = X[train], targets[train], given[train]
            weight = weight[train] if len(weight) else _NONE
        if len(X) > 2**31 - 1:
            raise ValueError(f"{owner}: X must have fewer than 2**31 rows, got {len(X)}")
        if not again:
            self.is_categorical_ = None
            mask = self._categories(X.shape[1])
            bins = Bins.of(X, weight, mask, int(self.max_bins), seed, owner)
            self._edges, self._edge_count, self._is_categorical = (
                bins.edges, bins.count, bins.categorical
            )  # fmt: skip
            self.is_categorical_ = mask if mask.any() else None
            self._baseline = loss.start(targets, weight)
            self._trees = Trees.none().state()
            self.train_score_ = self.validation_score_ = _NONE
            self.n_iter_ = 0
        boosting = Boosting(self, loss, X, targets, given, weight, held, seed)
        self.n_trees_per_iteration_ = len(self._baseline)
        boosting.run()
        return self

    def _parts(self, given: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if rule.is_integer(self.validation_fraction):
            return hold_out(_Fraction(self, self.validation_fraction / n), given, n, seed)
        return hold_out(self, given, n, seed)

    def _held(self, X: Any, y: Any, sample_weight: Any, owner: str) -> Held:
        rows = self._rows(X, sample_weight, reset=False)
        targets, given = self._encoded(y, f"{owner} (validation)", False)
        check_count(targets, rows.count, owner)
        weight = _NONE if rows.weight is None else rows.weight.astype(np.float64)
        by_class = self._class_weight(given)
        if by_class is not None:
            weight = weight * by_class if len(weight) else by_class
        return Held(rows.X, _NONE, targets, given, weight)

    @property
    def _bins(self) -> Bins:
        return Bins(self._edges, self._edge_count, self._is_categorical)

    def _signs(self, d: int) -> np.ndarray | None:
        """Monotonic constraints."""
        owner, given = type(self).__name__, self.monotonic_cst
        if given is None:
            return None
        if isinstance(given, Mapping):
            names = getattr(self, "feature_names_in_", None)
            if names is None:
                raise ValueError(
                    f"{owner}: monotonic_cst must be an array where X has no column names, got a "
                    "dict"
                )
            unknown = sorted(set(given) - set(names))
            if unknown:
                raise ValueError(
                    f"{owner}: monotonic_cst must name columns of X, got {unknown[0]!r}"
                )
            given = [given.get(name, 0) for name in names]
        signs = np.asarray(given)
        if signs.shape != (d,) or not np.isin(signs, (-1, 0, 1)).all():
            raise ValueError(
                f"{owner}: monotonic_cst must be {d} numbers of -1, 0 and 1, got {signs.tolist()}"
            )
        if (signs[self._is_categorical] != 0).any():
            raise ValueError(
                f"{owner}: monotonic_cst must be 0 for categorical features, got others (levels "
                "have no order)"
            )
        if len(self._baseline) > 1 and signs.any():
            raise ValueError(
                f"{owner}: monotonic_cst must be None for more than two classes, got constraints "
                "(monotonic constraints are not supported for multiclass classification)"
            )
        return signs.astype(np.int32) if signs.any() else None

    def _groups(self, d: int) -> np.ndarray | None:
        """Interaction constraints as a mask, (q, d)."""
        given = self.interaction_cst
        if given is None:
            return None
        if isinstance(given, str):
            if given == "no_interactions":
                return np.eye(d, dtype=bool)
            first, second = np.triu_indices(d, min(1, d - 1))
            groups = np.zeros((len(first), d), bool)
            groups[np.arange(len(first)), first] = groups[np.arange(len(first)), second] = True
            return groups
        groups = np.zeros((len(given) + 1, d), bool)
        for q, group in enumerate(given):
            for f in group:
                if not (rule.is_integer(f) and 0 <= f < d):
                    raise ValueError(
                        f"{type(self).__name__}: interaction_cst must hold positions in [0, "
                        f"{d - 1}], got {f!r}"
                    )
                groups[q, f] = True
        groups[-1] = ~groups.any(axis=0)  # those not listed are one more group
        return groups if groups[-1].any() else groups[:-1]

    # --- scores -----------------------------------------------------------------------------------

    def _fitted(self) -> Trees:
        check_is_fitted(self, "_trees")
        return Trees(**self._trees)

    def __sklearn_is_fitted__(self):
        return "_trees" in self.__dict__

    def _coded(self, X: Any) -> np.ndarray:
        return self._bins.with_codes(self._rows(X, reset=False).X)

    def _raw(self, X: Any) -> np.ndarray:
        """Scores, (n, k)."""
        known = self.__dict__.get("_known_scores")
        if known is not None:
            return known
        trees = self._fitted()
        return trees.scores(self._coded(X), self._baseline)

    def _staged_raw(self, X: Any) -> Iterator[np.ndarray]:
        trees, k = self._fitted(), self.n_trees_per_iteration_
        X = self._coded(X)
        raw = np.tile(self._baseline, (len(X), 1))
        nothing = np.zeros(k)
        for i in range(self.n_iter_):
            raw = raw + trees.part(k * i, k * i + k).scores(X, nothing)
            yield raw

    def predict_contributions(self, X):
        """What each feature adds to the raw prediction: Shapley values along the paths of trees.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Rows.

        Returns
        -------
        contributions : ndarray of shape (n, d + 1) or (n, d + 1, n_classes)
            The last column is the expected raw prediction. Columns add up to the raw prediction:
            the decision function, or the prediction before the inverse link.
        """
        trees = self._fitted()
        phi = ops.contributions(
            self._coded(X), trees.nodes, trees.roots, trees.sides, trees.cover, self._baseline
        )
        return phi[:, 0] if phi.shape[1] == 1 else np.ascontiguousarray(phi.transpose(0, 2, 1))

    @property
    def feature_importances_(self):
        """Share of each feature in what all splits gain, ndarray of shape (d,)."""
        return self._fitted().importances(self.n_features_in_)


class _Fraction:
    """A model with another share to validate with."""

    def __init__(self, model: Any, share: float) -> None:
        self.validation_fraction = min(share, 1.0)
        if hasattr(model, "classes_"):
            self.classes_ = model.classes_


def _evaluation(eval_set: Any, X_val: Any, owner: str) -> tuple[Any, Any]:
    if X_val is not None:
        raise ValueError(f"{owner}: eval_set must be None where X_val is given, got both")
    one = eval_set[0] if isinstance(eval_set, list) and len(eval_set) == 1 else eval_set
    if not (isinstance(one, tuple | list) and len(one) == 2):
        raise ValueError(f"{owner}: eval_set must be one pair (X, y), got something else")
    return one[0], one[1]


class Boosting:
    """The rounds of one fit.

    Parameters
    ----------
    model : HistGradientBoosting
        With bins, a start, and the trees of earlier fits.
    loss : Loss
    X : ndarray of shape (n, d)
    y, given : ndarray of shape (n,)
        Targets as the loss takes them and as given.
    weight : ndarray of shape (n,) or (0,)
    held : Held or None
    seed : int
    """

    def __init__(
        self, model: Any, loss: Loss, X: np.ndarray, y: np.ndarray, given: np.ndarray,
        weight: np.ndarray, held: Held | None, seed: int,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.X, self.y, self.given = model, loss, X, y, given
        self.weight, self.seed = weight, seed
        self.bins, self.start = model._bins, model._baseline
        self.codes, self.counts = self.bins.encoded(X), self.bins.codes
        self.before = Trees(**model._trees)
        self.first = model.n_iter_  # rounds of earlier fits
        k, n, d = len(self.start), len(X), X.shape[1]
        self.raw = self._scores(X)
        self.held = held
        if held is not None:
            self.held = replace(held, codes=self.bins.encoded(held.X))
            self.held_raw = self._scores(held.X)
        self.grown: list[Grown] = []
        self.rows = np.empty(n, np.int32)
        self.monotonic, self.groups = model._signs(d), model._groups(d)
        leaves = max(1, n // model.min_samples_leaf)
        if model.max_leaf_nodes is not None:
            leaves = min(leaves, int(model.max_leaf_nodes))
        if model.max_depth is not None:
            leaves = min(leaves, 2 ** min(int(model.max_depth), 40))
        self.nodes = 2 * leaves - 1
        _, hessian = loss.slopes(y, np.repeat(self.start[:, None], n, axis=1), weight)
        self.rule = np.array([
            model.learning_rate, model.l2_regularization, model.l1_regularization,
            model.min_samples_leaf, _LEAST_HESSIAN * float(hessian.mean()), model.max_depth or 0,
            model.max_features, model.min_gain_to_split, _COARSE,
        ])  # fmt: skip
        self.scorer = None
        if model.do_early_stopping_ and model.scoring != "loss":
            self.scorer = check_scoring(model, model.scoring)
            self.sample = np.arange(n)
            if n > _SCORED:
                self.sample = np.sort(generator(seed, 3).choice(n, _SCORED, replace=False))
        elif model.do_early_stopping_ and loss.code is None:
            raise ValueError(
                f"{loss.owner}: scoring must be a metric where loss is a function, got 'loss' (the "
                "function gives slopes, no losses)"
            )
        self.k = k

    def _scores(self, X: np.ndarray) -> np.ndarray:
        """Scores by the trees of earlier fits, (k, n)."""
        if not len(self.before):
            return np.repeat(self.start[:, None], len(X), axis=1)
        scores = self.before.scores(self.bins.with_codes(X), self.start)
        return np.ascontiguousarray(scores.T)

    def run(self) -> None:
        """All rounds; leaves the model fitted."""
        model = self.model
        most = max(0, model.max_iter - self.first)
        progress = Progress(model, model.verbose, iterations=most, unit="tree", X=self.X, y=self.y)
        with progress:
            run = climb(
                progress, self.begin, self.advance, max_iter=most, attributes=self.attributes
            )
        vars(model).update(self.attributes(run.state, run.n_iter))

    def begin(self, number: int) -> Stage:
        """Before the first round."""
        model = self.model
        stage = Stage(self.first, best=self.first)
        if model.do_early_stopping_:
            if self.first:  # scores of earlier fits go on
                train, held = (
                    tuple(scores[: self.first + 1])
                    for scores in (model.train_score_, model.validation_score_)
                )
                patience = Patience(1.0, model.tol)
                for score in held or train:
                    patience = patience.after(score)
                patience = replace(patience, since=0)
                stage = replace(stage, train=train, validation=held, patience=patience)
            if not stage.train:
                stage = self._scored(stage)
        return stage

    def advance(self, stage: Stage, most: int) -> Step:
        """One round: a tree for each score."""
        loss, weight = self.loss, self.weight
        gradient, hessian = loss.slopes(self.y, self.raw, weight)
        alive = False
        for c in range(self.k):
            number = stage.rounds * self.k + c
            split, stats, sides, count = ops.grow(
                self.codes, self.counts, self.bins.categorical, gradient[c], hessian[c], self.rule,
                self.monotonic, self.groups, (self.seed + 0x9E3779B97F4A7C15 * number) % 2**64,
                self.rows, self.nodes,
            )  # fmt: skip
            split, stats, sides = split[:count].copy(), stats[:count].copy(), sides[:count].copy()
            leaves = np.flatnonzero(split[:, 0] < 0)
            spans = split[leaves, 5:7]
            if loss.renewed is not None and self.monotonic is None:
                residual = self.y - self.raw[c]
                values = ops.quantiles(residual, weight, self.rows, spans, loss.renewed)
                stats[leaves, 1] = self.model.learning_rate * values
            value = stats[leaves, 1]
            ops.add(self.rows, spans, value, self.raw[c])
            if self.held is not None:
                self.held_raw[c] += stats[ops.walk(self.held.codes, split, sides), 1]
            del self.grown[number - self.first * self.k :]
            self.grown.append(Grown(split, stats, sides, self._cover(split)))
            alive = alive or count > 1 or bool((value != 0).any())
        stage = replace(stage, rounds=stage.rounds + 1)
        finished = False
        if self.model.do_early_stopping_:
            stage = self._scored(stage)
            finished = stage.patience.since >= self.model.n_iter_no_change
        objective = self._objective if loss.code is not None else None
        return Step(stage, objective, finished or not alive)

    def _cover(self, split: np.ndarray) -> np.ndarray:
        """Weight of the rows of each node."""
        if not len(self.weight):
            return (split[:, 6] - split[:, 5]).astype(np.float64)
        cover = np.zeros(len(split))
        leaves = np.flatnonzero(split[:, 0] < 0)
        cover[leaves] = np.add.reduceat(self.weight[self.rows], split[leaves, 5])
        for node in np.flatnonzero(split[:, 0] >= 0)[::-1]:  # children come behind
            cover[node] = cover[split[node, 3]] + cover[split[node, 4]]
        return cover

    def _objective(self) -> float:
        return self.loss.mean(self.y, self.raw, self.weight)

    def _scored(self, stage: Stage) -> Stage:
        """With the scores of the present round."""
        held = self.held
        if self.scorer is None:
            train = -self.loss.mean(self.y, self.raw, self.weight)
            own = -self.loss.mean(held.y, self.held_raw, held.weight) if held is not None else None
        else:
            chosen = self.sample
            part = self.weight[chosen] if len(self.weight) else _NONE
            train = self._metric(self.X[chosen], self.given[chosen], part, self.raw[:, chosen])
            own = None
            if held is not None:
                own = self._metric(held.X, held.given, held.weight, self.held_raw)
        watched = train if own is None else own
        before = stage.patience if stage.train else Patience(1.0, self.model.tol)
        patience = before.after(watched)
        best = stage.rounds if not stage.train or watched > before.best else stage.best
        return replace(
            stage, patience=patience, best=best, train=(*stage.train, train),
            validation=stage.validation if own is None else (*stage.validation, own),
        )  # fmt: skip

    def _metric(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray, raw: np.ndarray
    ) -> float:
        """A metric of scores that are known: the scorer's predictions read them."""
        assert self.scorer is not None
        model = copy.copy(self.model)
        model._known_scores = np.ascontiguousarray(raw.T)
        if len(weight):
            return float(self.scorer(model, X, y, sample_weight=weight))
        return float(self.scorer(model, X, y))

    def attributes(self, stage: Stage, n_iter: int) -> dict[str, Any]:
        """Of a usable model: up to the best round."""
        rounds = stage.best if self.model.do_early_stopping_ else stage.rounds
        grown = self.grown[: (rounds - self.first) * self.k]
        trees = self.before.joined(Trees.of(grown, self.bins)) if self.first else (
            Trees.of(grown, self.bins)
        )
        return {
            "_trees": trees.state(),
            "n_iter_": rounds,
            "train_score_": np.array(stage.train),
            "validation_score_": np.array(stage.validation),
            "n_trees_per_iteration_": self.k,
        }
