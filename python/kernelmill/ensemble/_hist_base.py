"""What both models of histogram boosting share: parameters, fit, scores, contributions."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import beside, is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._targets import check_count, check_mass, check_squares, hold_out
from kernelmill.ensemble._hist_bins import Bins, dense_chunk
from kernelmill.ensemble._hist_losses import Loss
from kernelmill.ensemble._hist_rounds import Boosting, Labelled
from kernelmill.ensemble._hist_trees import Trees, contributions_of, scores_of
from kernelmill.ensemble._hist_words import WORDS
from kernelmill.tree import _levels
from kernelmill.tree._levels import Levelled

_NONE = np.zeros(0)
_ENTRIES = 1 << 23  # of sparse rows that are made dense at a time, 64 MB

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
    "categorical_features": _levels.RULE,
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


class HistGradientBoosting(Levelled):
    """Base of both models. A subclass encodes targets and turns scores into predictions."""

    _words = WORDS
    _accepts_missing = True
    _checks_values = False  # infinity is a value like any other
    _most_words = "max_bins="
    max_bins: int
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

    @property
    def _most_levels(self) -> int:
        return int(self.max_bins)

    def _matrix(self, X: Any) -> tuple[Any, Any]:
        """X as numbers; sparse where a converted model says what an absent entry is."""
        if is_sparse(X) and "_absent_is_missing" in self.__dict__:
            X = _dense(X, np.nan if self._absent_is_missing else 0.0)
        return super()._matrix(X)

    def _chunk_check(self, reset: bool) -> Any:
        return functools.partial(dense_chunk, owner=type(self).__name__)

    # --- fit --------------------------------------------------------------------------------------

    @fitting
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None,
        eval_set=None,
    ):  # fmt: skip
        """Grow trees, each for what the others left over.

        Parameters
        ----------
        X : array-like or frame of shape (n, d), or a stream
            Rows; NaN is a missing value.
        y : array-like of shape (n,)
            Targets, in memory even if X is a stream.
        X_val, y_val : array-like, optional
            Rows and targets to validate with, in place of a part of X. They are refused with
            ``early_stopping=False``.
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
        self.__dict__.pop("_absent_is_missing", None)
        if eval_set is not None:
            X_val, y_val = _evaluation(eval_set, X_val, owner)
        if X_val is not None and not self.early_stopping:
            raise ValueError(
                f"{owner}: early_stopping must be 'auto' or True where rows to validate with are "
                "given, got False (X_val and y_val are passed to fit while at the same time "
                "early_stopping is False)"
            )
        data = self._labelled(X, y, sample_weight, owner, reset=not again)
        if len(data.weight) and not (data.weight > 0).all():
            data = data.part(np.flatnonzero(data.weight > 0))
            if self._classification and data.y.min() == data.y.max():
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
        stopping, n = self.early_stopping, len(data.y)
        self.do_early_stopping_ = n > 10_000 if stopping == "auto" else bool(stopping)
        held = None
        if X_val is None and not (y_val is None and sample_weight_val is None):
            raise ValueError(
                f"{owner}: X_val must be given with y_val and sample_weight_val, got None "
                f"({'sample_weight_val' if y_val is None else 'y_val'} is provided, but X_val was "
                "not provided)"
            )
        if X_val is not None:
            if y_val is None:
                raise ValueError(
                    f"{owner}: y_val must be given with X_val, got None "
                    "(X_val is provided, but y_val was not provided)"
                )
            held = self._labelled(
                X_val, y_val, sample_weight_val, f"{owner} (validation)", reset=False
            )
            if held.rows.xp is not data.rows.xp:
                raise TypeError(
                    f"{owner}: X_val must be an array of {data.rows.xp.__name__} as X is, got one "
                    f"of {held.rows.xp.__name__} (move it to the device of X)"
                )
            self.do_early_stopping_ = self.do_early_stopping_ or stopping == "auto"
        elif self.do_early_stopping_ and self.validation_fraction is not None:
            train, chosen = hold_out(self, data.given, n, seed)
            held, data = data.part(np.sort(chosen)), data.part(np.sort(train))
        if self.do_early_stopping_ and self.loss in ("squared_error", "huber"):
            check_squares(data.y, owner, vanishing=self.scoring == "loss")
        if n > 2**31 - 1:
            raise ValueError(f"{owner}: X must have fewer than 2**31 rows, got {n}")
        if not again:
            mask = self._categories(data.rows.n_features)
            bins = Bins.of(data.rows, data.weight, mask, int(self.max_bins), seed, owner)
            self._edges, self._edge_count, self._is_categorical = (
                bins.edges, bins.count, bins.categorical
            )  # fmt: skip
            self.is_categorical_ = mask if mask.any() else None
            self._baseline = loss.start(data.y, data.weight)
            self._trees = Trees.none().state()
            self.train_score_ = self.validation_score_ = _NONE
            self.n_iter_ = 0
        self.n_trees_per_iteration_ = len(self._baseline)
        Boosting(self, loss, data, held, seed).run()
        return self

    def _labelled(
        self, X: Any, y: Any, sample_weight: Any, owner: str, reset: bool
    ) -> Labelled:
        """Rows with their targets, and weights by row and class."""
        rows = self._rows(X, sample_weight, reset=reset)
        targets, given = self._encoded(y, owner, reset)
        check_count(targets, rows.count, owner)
        own = rows.all_weights()
        weight = _NONE if own is None else own.astype(np.float64)
        by_class = self._class_weight(given)
        if by_class is not None:
            weight = weight * by_class if len(weight) else by_class
        check_mass(weight, owner)
        return Labelled(rows, targets, given, weight)

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

    def _mapped_rows(self, op: Any, X: Any) -> np.ndarray:
        """``op(rows, trees, start, bins)``, over the chunks of a stream."""
        how = self._fitted(), self._baseline, self._bins
        known = is_sparse(X) and "_absent_is_missing" in self.__dict__
        if known and math.prod(X.shape) > _ENTRIES:
            X, step = X.tocsr(), max(1, _ENTRIES // X.shape[1])
            parts = (self._rows(X[i : i + step], reset=False) for i in range(0, X.shape[0], step))
            return np.concatenate([op(rows.X, *how) for rows in parts])
        rows = self._rows(X, reset=False)
        return rows.map(op, *how) if rows.is_stream else op(rows.X, *how)

    def _raw(self, X: Any) -> np.ndarray:
        """Scores, (n, k)."""
        known = self.__dict__.get("_known_scores")
        return self._mapped_rows(scores_of, X) if known is None else known

    def _staged_raw(self, X: Any) -> Iterator[np.ndarray]:
        trees, k = self._fitted(), self.n_trees_per_iteration_
        self._refuse_stream(X, "predict reads streams")
        X = self._bins.with_codes(self._rows(X, reset=False).X)
        raw = beside(np.tile(self._baseline, (len(X), 1)), X)
        nothing = np.zeros(k)
        for i in range(self.n_iter_):
            raw = raw + trees.part(k * i, k * i + k).scores(X, nothing)
            yield raw

    def predict_contributions(self, X):
        """What each feature adds to the raw prediction: Shapley values along the paths of trees.

        Parameters
        ----------
        X : array-like or frame of shape (n, d), or a stream
            Rows.

        Returns
        -------
        contributions : ndarray of shape (n, d + 1) or (n, d + 1, n_classes)
            The last column is the expected raw prediction. Columns add up to the raw prediction:
            the decision function, or the prediction before the inverse link.
        """
        self._refuse_device(X, "contributions are computed there")
        phi = self._mapped_rows(contributions_of, X)
        return phi[:, 0] if phi.shape[1] == 1 else np.ascontiguousarray(phi.transpose(0, 2, 1))

    def _compute_partial_dependence_recursion(self, grid, target_features):
        """What scikit-learn's ``partial_dependence`` asks of trees: (k, n_grid), without start."""
        return self._fitted().dependence(grid, target_features, self._bins, len(self._baseline))

    @property
    def feature_importances_(self):
        """Share of each feature in what all splits gain, ndarray of shape (d,)."""
        return self._fitted().importances(self.n_features_in_)


def _dense(X: Any, absent: float) -> np.ndarray:
    """Sparse rows as an array, with the number for entries that are not stored."""
    X = X.tocsr(copy=True)
    X.sum_duplicates()
    own = X.dtype if X.dtype == np.float32 or X.dtype.kind == "c" else np.float64
    out = np.full(X.shape, absent, own)  # complex numbers are refused later
    out[np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), X.indices] = X.data
    return out


def _evaluation(eval_set: Any, X_val: Any, owner: str) -> tuple[Any, Any]:
    if X_val is not None:
        raise ValueError(f"{owner}: eval_set must be None where X_val is given, got both")
    one = eval_set[0] if isinstance(eval_set, list) and len(eval_set) == 1 else eval_set
    if not (isinstance(one, tuple | list) and len(one) == 2):
        raise ValueError(f"{owner}: eval_set must be one pair (X, y), got something else")
    return one[0], one[1]
