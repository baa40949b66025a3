"""Logistic regression with penalties chosen by cross-validation."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import brier_score_loss, check_scoring, log_loss, make_scorer
from sklearn.utils.metadata_routing import UNUSED

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._routing import CrossValidated, of_rows
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import (
    check_classes,
    check_count,
    class_labels,
    weights_by_class,
)
from kernelmill.linear_model._linear import scores
from kernelmill.linear_model._logistic import JOBS, LogisticRegression, minimised

_CS = rule.Rule(
    lambda v: (rule.is_integer(v) and v >= 1) or rule.is_vector(v),
    "a whole number of at least 1 or an array of numbers above 0",
)
_RATIOS = rule.Rule(
    lambda v: v is None or (rule.is_vector(v) and all(0 <= r <= 1 for r in v)),
    "a list of numbers between 0 and 1",
)


# Losses of probabilities, which must be told of classes that the rows left out lack.
_LOSSES = {"neg_log_loss": log_loss, "neg_brier_score": brier_score_loss}


class LogisticRegressionCV(CrossValidated, LogisticRegression):
    """Logistic regression with the strength and the kind of the penalty chosen by cross-validation.

    Parameters
    ----------
    Cs : int or list of float, default=10
        Inverse strengths of the penalty, or how many, evenly spaced in the logarithm from 1e-4 to
        1e4.
    l1_ratios : list of float or None, default=(0.0,)
        Shares of the L1 penalty to choose from; None is ``(0.0,)``.
    cv : int, splitter, iterable or None, default=None
        How rows are split; 5 stratified folds by default.
    dual : bool, default=False
        Ignored; present for API compatibility.
    penalty : {"deprecated", "l2", "l1", "elasticnet"} or None, default="deprecated"
        As in `LogisticRegression`: not needed.
    scoring : str, callable or None, default=None
        Score of the rows left out; the accuracy by default.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}, default="lbfgs"
        Ignored, as in `LogisticRegression`.
    tol : float, default=1e-4
        As in `LogisticRegression`.
    max_iter : int, default=100
        Most steps of a fit.
    n_jobs : int or None, default=None
        Ignored; present for API compatibility.
    verbose : int, default=0
        Ignored; present for API compatibility.
    refit : bool, default=True
        Whether to fit all rows with the penalty whose mean score is the best; else the coefficients
        of the best penalty of each fold, and these penalties, are averaged.
    intercept_scaling : float, default=1.0
        Ignored: the intercept is not penalised.
    use_legacy_attributes : bool, default=False
        Whether to give attributes the shapes that they had in scikit-learn before 1.8: `scores_`
        and `coefs_paths_` are dicts by class, axes are folds, Cs and, unless ``l1_ratios=None``,
        ratios; `C_` and `l1_ratio_` are vectors.

    Attributes
    ----------
    classes_, coef_
    intercept_ : ndarray of shape (1,) or (n_classes,), dtype of X
        Intercepts.
    C_, l1_ratio_ : float
        What was chosen.
    Cs_ : ndarray of shape (n_cs,)
        Inverse strengths.
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        Shares of the L1 penalty.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Scores of the rows left out.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_cs, 1 or n_classes, d + 1)
        Coefficients, the intercept last; of d columns without one.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_cs)
        Number of steps.
    n_features_in_, feature_names_in_

    See Also
    --------
    LogisticRegression : With a given penalty.

    Notes
    -----
    Each fit starts from the one with the next weaker inverse strength.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import LogisticRegressionCV
    >>> X = np.random.default_rng(0).normal(size=(90, 3))
    >>> model = LogisticRegressionCV(Cs=5, cv=3).fit(X, X[:, 0] > 0)
    >>> model.scores_.shape, model.coefs_paths_.shape, model.C_ in model.Cs_
    ((3, 1, 5), (3, 1, 5, 1, 4), True)
    """

    _parameters: ClassVar = {
        **{k: v for k, v in LogisticRegression._parameters.items() if k not in ("C", "l1_ratio")},
        "Cs": _CS,
        "l1_ratios": _RATIOS,
        "refit": rule.boolean(),
        "n_jobs": JOBS,
        "use_legacy_attributes": rule.boolean(),
    }
    _score_name = "accuracy"
    _scoring_methods = ("fit", "score")
    # The scorer is asked whether it wants the weights.
    __metadata_request__score: ClassVar = {"sample_weight": UNUSED}
    warm_start = False
    C_: Any
    l1_ratio_: Any
    scores_: Any
    coefs_paths_: Any
    n_iter_: Any

    def __init__(
        self, *, Cs=10, l1_ratios=(0.0,), fit_intercept=True, cv=None, dual=False,
        penalty="deprecated", scoring=None, solver="lbfgs", tol=1e-4, max_iter=100,
        class_weight=None, n_jobs=None, verbose=0, refit=True, intercept_scaling=1.0,
        random_state=None, use_legacy_attributes=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _strength(self) -> tuple[float, float]:
        """What was chosen."""
        return float(np.ravel(self.C_)[0]), float(np.ravel(self.l1_ratio_)[0])

    @fitting_at_once
    def fit(self, X, y, sample_weight=None, **params):
        """Fit all penalties to each fold, choose, and fit with what was chosen.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels, numbers or strings.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        self._refuse_stream(X, "rows are split into folds; LogisticRegression reads streams")
        rows = self._rows(X, sample_weight, reset=True)
        labels = class_labels(y, rows.owner)
        check_count(labels, rows.count, rows.owner)
        self.classes_ = np.unique(labels)
        check_classes(self.classes_, rows.owner)
        self.Cs_, self.l1_ratios_ = self._strengths(), self._shares()
        given = rows
        split, score = self._routed("fit", given.weight, params)
        if score is None:
            score = {} if given.weight is None else {"sample_weight": given.weight}
        if self.class_weight is not None:
            own = weights_by_class(self.class_weight, labels, rows.owner, rows.all_weights())
            rows = rows.weighted(own)
        codes = np.searchsorted(self.classes_, labels).astype(np.float64)
        folds = self._folds(given, labels, split, True)
        k, d = 1 if len(self.classes_) == 2 else len(self.classes_), rows.n_features
        shape = len(folds), len(self.l1_ratios_), len(self.Cs_)
        self.scores_, self.n_iter_ = np.empty(shape), np.empty(shape, dtype=np.int32)
        self.coefs_paths_ = np.empty((*shape, k, d + bool(self.fit_intercept)))
        for f, (train, test) in enumerate(folds):
            options = of_rows(score, len(codes), test)
            self._follow(rows.part(train), codes[train], f, (rows.X[test], labels[test], options))
        self._choose(rows, codes)
        if self.use_legacy_attributes:
            self._reshape()
        return self

    def _shares(self) -> np.ndarray:
        if self.penalty == "elasticnet" and self.l1_ratios is None:
            raise ValueError(
                f"{type(self).__name__}: l1_ratios must be a list of numbers between 0 and 1 for "
                "penalty='elasticnet', got None"
            )
        named = {"l1": (1.0,), "l2": (0.0,), None: (0.0,)}
        given = (0.0,) if self.l1_ratios is None else self.l1_ratios
        return np.asarray(named.get(self.penalty, given), dtype=np.float64)

    def _reshape(self) -> None:
        """Give attributes the shapes of scikit-learn before 1.8."""
        places = slice(None) if self.l1_ratios is not None else 0
        paths = np.moveaxis(self.coefs_paths_, (3, 0, 2, 1), (0, 1, 2, 3))[:, :, :, places]
        scores = self.scores_.swapaxes(1, 2)[:, :, places]
        shown = self.classes_[1:] if len(paths) == 1 else self.classes_
        self.coefs_paths_ = dict(zip(shown, paths, strict=True))
        self.scores_ = {label: scores.copy() for label in shown}
        self.n_iter_ = self.n_iter_.swapaxes(1, 2)[None, :, :, places]
        self.C_ = np.full(len(shown), self.C_)
        self.l1_ratio_ = np.full(len(shown), self.l1_ratio_)

    def _strengths(self) -> np.ndarray:
        if self.penalty is None:
            return np.array([np.inf])
        if rule.is_integer(self.Cs):
            return np.logspace(-4, 4, int(self.Cs))
        found = np.asarray(self.Cs, dtype=np.float64)
        if not (found > 0).all():
            raise ValueError(f"{type(self).__name__}: Cs must be numbers above 0, got {self.Cs!r}")
        return found

    def _scoring(self) -> Any:
        """The score of rows left out, which may lack classes."""
        loss = _LOSSES.get(self.scoring) if isinstance(self.scoring, str) else None
        if loss is None or "labels" not in inspect.signature(loss).parameters:
            return self.scoring
        options = {"labels": self.classes_}
        if len(self.classes_) == 2 and loss is brier_score_loss:
            options["pos_label"] = self.classes_[1]
        return make_scorer(
            loss, greater_is_better=False, response_method="predict_proba", **options
        )

    def _follow(self, rows: Rows, codes: np.ndarray, f: int, held: tuple[Any, Any, Any]) -> None:
        """Fit all penalties to a fold, and score the rows left out."""
        X, labels, options = held
        model = LogisticRegression()
        model.classes_, model.n_features_in_ = self.classes_, rows.n_features
        # The accuracy needs no more than the scores; a scorer checks X again for each penalty.
        scorer = None if self.scoring is None else check_scoring(model, scoring=self._scoring())
        for r, ratio in enumerate(self.l1_ratios_):
            start: tuple[Any, Any] = (None, None)
            for c in np.argsort(self.Cs_, kind="stable"):
                C = float(self.Cs_[c])
                objective = self._objective(rows, codes, len(self.classes_), C, float(ratio))
                at, taken, _ = minimised(
                    objective, objective.start(*start), self.tol, self.max_iter
                )
                start = at.coef, objective.intercepts(at)
                model.coef_ = at.coef.astype(rows.dtype)
                model.intercept_ = start[1].astype(rows.dtype)
                if scorer is None:
                    found = model._chosen(scores(X, model.coef_, model.intercept_))
                    self.scores_[f, r, c] = np.average(
                        found == labels, weights=options.get("sample_weight")
                    )
                else:
                    self.scores_[f, r, c] = scorer(model, X, labels, **options)
                self.n_iter_[f, r, c] = taken
                both = np.hstack([at.coef, start[1][:, None]])
                self.coefs_paths_[f, r, c] = both if self.fit_intercept else at.coef

    def _choose(self, rows: Rows, codes: np.ndarray) -> None:
        if self.refit:
            best = self.scores_.mean(0).T  # of equal scores the first C's
            c, r = np.unravel_index(best.argmax(), best.shape)
            self.C_, self.l1_ratio_ = float(self.Cs_[c]), float(self.l1_ratios_[r])
            objective = self._objective(
                rows, codes, len(self.classes_), self.C_, self.l1_ratio_
            )
            at, taken, converged = minimised(
                objective, objective.start(), self.tol, self.max_iter
            )
            self._judge(objective, at, converged, taken)
            coef, intercept = at.coef, objective.intercepts(at)
        else:
            each = self.scores_.transpose(0, 2, 1)
            c, r = np.unravel_index(each.reshape(len(each), -1).argmax(1), each.shape[1:])
            self.C_ = float(self.Cs_[c].mean())
            self.l1_ratio_ = float(self.l1_ratios_[r].mean())
            mean = self.coefs_paths_[np.arange(len(each)), r, c].mean(0)
            coef = mean[:, : rows.n_features]
            intercept = mean[:, -1] if self.fit_intercept else np.zeros(len(mean))
        self.coef_ = np.ascontiguousarray(coef, dtype=rows.dtype)
        self.intercept_ = intercept.astype(rows.dtype)

    def score(self, X, y, sample_weight=None, **params):
        """Score with `scoring`, the accuracy by default.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d)
            Rows.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        score : float
            The score.
        """
        options = self._routed("score", sample_weight, params)[1]
        if options is None:
            options = {} if sample_weight is None else {"sample_weight": sample_weight}
        if self.scoring is None:
            return super().score(X, y, **options)
        return float(check_scoring(self, scoring=self.scoring)(self, X, y, **options))
