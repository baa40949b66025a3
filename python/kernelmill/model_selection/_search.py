"""BayesSearchCV: hyperparameters by Bayesian optimisation of a cross-validated score."""

from __future__ import annotations

import functools
import time
import zlib
from typing import Any, ClassVar

import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import RandomizedSearchCV, check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils.metadata_routing import process_routing

from kernelmill._docstrings import Documented
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._random import seed_of
from kernelmill.model_selection._folds import Fold, Scoring, fit_fold, scores, table
from kernelmill.model_selection._minimize import search
from kernelmill.model_selection._optimizer import BayesianOptimizer
from kernelmill.model_selection._record import Record
from kernelmill.model_selection._space import Space
from kernelmill.model_selection._words import LOOP, OPTIONS, WORDS


class BayesSearchCV(Documented, RandomizedSearchCV):
    """Bayesian optimisation of hyperparameters, with scikit-learn's interface of searches.

    Parameters
    ----------
    estimator : estimator
        The model; a pipeline or another meta-estimator too.
    search_spaces : dict or list of dict
        Dimensions by the names of parameters: a list is a set of choices, a pair ``(low, high)`` a
        range, of whole numbers if both are int, ``(low, high, "log-uniform")`` one in which ratios
        count; or `Real`, `Integer`, `Categorical`, which can be made conditional, or a frozen
        distribution of SciPy. Several dicts are alternatives.
    n_iter : int, default=50
        Number of candidates.
    scoring : str, callable, list, tuple, dict or None
        As in `sklearn.model_selection.GridSearchCV`. Of several scores the one that `refit` names
        is optimised, or else the first.
    refit : bool, str or callable, default=True
        As in `sklearn.model_selection.GridSearchCV`.
    cv : int, splitter, iterable or None
        As in `sklearn.model_selection.GridSearchCV`. All candidates get the same splits.
    n_jobs : int, optional
        Number of fits that run at once: of splits, and of the `n_points` candidates.
    pre_dispatch : int or str, default="2*n_jobs"
        As in `sklearn.model_selection.GridSearchCV`.
    error_score : "raise" or float, default=np.nan
        Score where a fit or a score raises. With NaN the candidate counts as failed: it is ranked
        last, and the region is avoided.
    return_train_score : bool, default=False
        Score training rows too.
    callback : callable, optional
        ``callback(result)`` with the `SearchResult` so far, called after each `n_points`
        candidates; a true result ends the search.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        A row for each candidate, as in `sklearn.model_selection.GridSearchCV`.
    search_result_ : SearchResult
        The record of the search, whose values are minus the score; `kernelmill.plot` draws it.
    best_estimator_ : estimator
        The model with the best parameters, fitted to all rows, if `refit` is set.
    best_score_ : float
        Mean score of the best candidate.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its row.
    scorer_ : callable or dict
        Scorers.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds of the last fit.
    multimetric_ : bool
        Whether there are several scores.

    See Also
    --------
    minimize : The same for any function.

    Notes
    -----
    Candidates depend on `n_points`, not on `n_jobs`. A finite space is never asked twice: the
    search ends with its last point.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from kernelmill.model_selection import BayesSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> space = {"C": (1e-3, 1e3, "log-uniform"), "gamma": (1e-4, 10.0, "log-uniform")}
    >>> search = BayesSearchCV(SVC(), space, n_iter=16, random_state=0).fit(X, y)
    >>> bool(search.best_score_ > 0.97)
    True
    """

    _words = WORDS
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **OPTIONS,
        **{name: LOOP[name] for name in LOOP if name != "n_calls"},
        "estimator": rule.Rule(lambda v: hasattr(v, "fit"), "an object with fit"),
        "n_iter": rule.integer(1),
        "refit": rule.any_of(
            rule.boolean(), rule.Rule(lambda v: isinstance(v, str), "a name"),
            rule.function("(cv_results)"),
        ),
        "return_train_score": rule.boolean(),
    }  # fmt: skip

    def __init__(
        self, estimator, search_spaces, *, n_iter=50, n_initial_points=None, acquisition="EI",
        xi=None, kappa=1.96, n_points=1, scoring=None, n_jobs=None, refit=True, cv=None, verbose=0,
        pre_dispatch="2*n_jobs", random_state=None, error_score=np.nan, return_train_score=False,
        timeout=None, callback=None, checkpoint=None,
    ):  # fmt: skip
        for name, value in list(locals().items()):
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    @fitting
    def fit(self, X, y=None, **params):
        """Search, and fit the best candidate to all rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.
        y : array-like of shape (n,) or (n, n_outputs), optional
            Targets.
        **params
            Passed to ``fit`` of the estimator, the scorer and the splitter. What has an entry for
            each row is split along with X; ``groups`` goes to the splitter.

        Raises
        ------
        ValueError
            If a parameter does not fit, all candidates failed, or `checkpoint` is of another
            search.

        Warns
        -----
        FitFailedWarning
            If fits failed.
        """
        owner = type(self).__name__
        space = Space(self.search_spaces, owner)
        if not space.as_dict:
            raise ValueError(
                f"{owner}: search_spaces must be a dict or a list of dicts, got "
                f"{rule.shown(self.search_spaces)}"
            )
        scoring = Scoring(self.estimator, self.scoring)
        self._check_refit(scoring.names if scoring.is_multimetric else None)
        if y is None and get_tags(self.estimator).target_tags.required:
            raise ValueError(
                f"{owner}: y must be given for {type(self.estimator).__name__}, got None (it "
                "requires y to be passed, but the target y is None)"
            )
        X, y = indexable(X, y)
        fit_params, split_params, score_params = self._routed(scoring, params)
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = [*splitter.split(X, y, **split_params)]
        if not splits:
            raise ValueError(f"{owner}: cv must give at least one split, got none (no fits)")
        base = clone(self.estimator)
        record = Record(
            owner, space, self.checkpoint, self._made_of(X, y, splits, params),
            seed_of(self.random_state), not rule.is_integer(self.random_state),
        )  # fmt: skip
        optimizer = BayesianOptimizer(
            space, n_initial_points=self.n_initial_points, acquisition=self.acquisition, xi=self.xi,
            kappa=self.kappa,
        )  # fmt: skip
        optimizer.seed = record.seed
        fold = functools.partial(
            fit_fold, base, X=X, y=y, scoring=scoring, fit_params=fit_params,
            score_params=score_params, return_train_score=self.return_train_score,
            error_score=self.error_score,
        )  # fmt: skip
        with Progress(self, self.verbose, iterations=self.n_iter, unit="candidate", X=X, y=y) as p:
            message = search(
                optimizer, record, functools.partial(self._evaluated, fold, splits), [],
                total=self.n_iter, n_points=self.n_points, progress=p, callback=self.callback,
                timeout=self.timeout,
            )  # fmt: skip
            p.end_run("%s", message)
            p.end_fit()
        if not record.entries:
            raise ValueError(f"{owner}: timeout must allow a candidate, got none ({message})")
        folds = [_folds(e.details) for e in record.entries]
        self._warn_of_failures(folds)
        first = next((f.test for own in folds for f in own if f.test is not None), None)
        if first is None:
            raise ValueError(
                f"{owner}: at least one candidate must be fitted, got {folds[0][0].error!r} (all "
                f"the {len(folds) * len(splits)} fits failed)"
            )
        self.multimetric_ = bool(self.scoring is not None and [*first] != ["score"]) or bool(
            scoring.is_multimetric
        )
        if self.multimetric_:
            self._check_refit([*first])
        self.n_splits_, self.scorer_ = len(splits), scoring.scorer_
        self.cv_results_ = table(
            [space.point(e.row) for e in record.entries], folds, [*first], self.return_train_score,
            self.error_score,
        )  # fmt: skip
        self.search_result_ = optimizer.result()
        self.search_result_.message = message
        if len(folds) < self.n_iter and optimizer.is_exhausted:
            warn(
                f"{owner}: n_iter must be at most the size of a finite space, got {self.n_iter} "
                f"({message})", UserWarning,
            )  # fmt: skip
        self._choose([*first])
        if self.refit:
            self._refitted(base, X, y, fit_params)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        own = get_tags(self.estimator)
        tags.target_tags, tags.input_tags.allow_nan = own.target_tags, own.input_tags.allow_nan
        return tags

    def _routed(self, scoring: Scoring, params: dict[str, Any]) -> tuple[dict, dict, dict]:
        """Arguments of fit, of the splitter and of scorers."""
        if get_config()["enable_metadata_routing"]:
            found = process_routing(self, "fit", **params)
            return found.estimator.fit, found.splitter.split, found.scorer.score
        fit_params = {k: v for k, v in params.items() if k != "groups"}
        weights = params.get("sample_weight")
        scored = weights is not None and scoring.takes_weights()
        return (
            fit_params, {"groups": params.get("groups")},
            {"sample_weight": weights} if scored else {},
        )  # fmt: skip

    def _check_refit(self, names: list[str] | None) -> None:
        named = isinstance(self.refit, str)
        if names is None or self.refit is False or callable(self.refit):
            return
        if not (named and self.refit in names):
            raise ValueError(
                f"{type(self).__name__}: refit must be one of the scores {names}, a function or "
                f"False where there are several, got {self.refit!r} (For multi-metric scoring, the "
                "parameter refit must be set to a scorer key)"
            )

    def _made_of(self, X: Any, y: Any, splits: list, params: dict[str, Any]) -> dict[str, Any]:
        """What must be the same for a search to go on."""
        if self.checkpoint is None:
            return {}
        import joblib

        parts = [np.asarray(part, np.int64).tobytes() for split in splits for part in split]
        return {
            "estimator": repr(self.estimator), "scoring": repr(self.scoring),
            "refit": self.refit if isinstance(self.refit, str) else None,
            "cv": zlib.crc32(b"".join(parts)),
            "X, y or parameters of fit": joblib.hash((X, y, params)), "n_points": self.n_points,
            "n_initial_points": self.n_initial_points, "acquisition": self.acquisition,
            "xi": self.xi, "kappa": self.kappa, "return_train_score": self.return_train_score,
        }  # fmt: skip

    def _evaluated(
        self, fold: Any, splits: list, points: list[dict[str, Any]]
    ) -> list[tuple[float, str | None, dict[str, Any]]]:
        """Minus the score of each candidate, an error, and the folds for the record."""
        tasks = [(c, train, test) for c in points for train, test in splits]
        if self.n_jobs in (None, 1):
            found = [fold(c, train=train, test=test) for c, train, test in tasks]
        else:
            from joblib import Parallel, delayed

            parallel = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)
            found = parallel(delayed(fold)(c, train=a, test=b) for c, a, b in tasks)
        result = []
        for i in range(len(points)):
            own = found[i * len(splits) : (i + 1) * len(splits)]
            first = next((f.test for f in own if f.test is not None), {})
            name = self.refit if isinstance(self.refit, str) and self.refit in first else None
            name = name or next(iter(first), "score")
            y = -float(scores([own], name, self.error_score).mean())
            error = next((f.error for f in own if f.error), None)
            details = {"folds": [list(f) for f in own]}
            result.append((y, error, details))
        return result

    def _warn_of_failures(self, folds: list[list[Fold]]) -> None:
        errors = [f.error for own in folds for f in own if f.error]
        if errors and any(f.test is not None for own in folds for f in own):
            warn(
                f"{type(self).__name__}: candidates must be fitted and scored, got {len(errors)} "
                f"failures in {sum(map(len, folds))} fits, the first {errors[0]!r} (their scores "
                f"are error_score={self.error_score})", FitFailedWarning,
            )  # fmt: skip

    def _choose(self, names: list[str]) -> None:
        """Set the attributes of the best candidate, if it is said which one that is."""
        name = self.refit if self.multimetric_ else names[0]
        if callable(self.refit):
            index = self.refit(self.cv_results_)
            if not rule.is_integer(index):
                raise TypeError(
                    f"{type(self).__name__}: refit must return a whole number, got "
                    f"{rule.shown(index)} (best_index_ returned is not an integer)"
                )
            if not 0 <= index < len(self.cv_results_["params"]):
                raise IndexError(
                    f"{type(self).__name__}: refit must return the index of a candidate, got "
                    f"{index} (best_index_ index out of range)"
                )
            self.best_index_ = index
        elif self.refit or not self.multimetric_:
            self.best_index_ = int(self.cv_results_[f"rank_test_{name}"].argmin())
            self.best_score_ = self.cv_results_[f"mean_test_{name}"][self.best_index_]
        else:
            return
        self.best_params_ = self.cv_results_["params"][self.best_index_]

    def _refitted(self, base: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        self.best_estimator_ = clone(base).set_params(**clone(self.best_params_, safe=False))
        began = time.perf_counter()
        self.best_estimator_.fit(X, *(() if y is None else (y,)), **fit_params)
        self.refit_time_ = time.perf_counter() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_


def _folds(details: dict[str, Any] | None) -> list[Fold]:
    return [Fold(*own) for own in (details or {"folds": []})["folds"]]
