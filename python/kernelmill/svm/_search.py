"""SVCCV and SVRCV: machines whose price and kernel width are chosen by cross-validation."""

from __future__ import annotations

from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import check_scoring

from kernelmill._arrays import is_cupy, is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._routing import CrossValidated, of_rows
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_classes, check_count, class_labels, targets_of
from kernelmill._kernels import Kernel, kernel_of
from kernelmill.ops import svm as ops
from kernelmill.svm import _pairs, _problems
from kernelmill.svm._classifier import SVC
from kernelmill.svm._regressor import SVR
from kernelmill.svm._training import Solved, Training

_DOUBLE = 512  # rows whose kernel is searched in float64
_PRICES = (0.01, 0.1, 1.0, 10.0, 100.0)
_FOUND = ("C", "gamma", "warm_start")  # parameters of the machines that a search has not
_SEARCH: dict[str, rule.Rule] = {
    "Cs": rule.array("(n_prices,)"),
    "gammas": rule.array("(n_gammas,)"),
    "cv": rule.Rule(lambda value: True, "a number of folds or a splitter"),
    "scoring": rule.Rule(
        lambda v: v is None or isinstance(v, str) or callable(v), "None, a name or a function"
    ),
}


class _Fold(BaseEstimator):
    """Answers for the rows of one fold, for a scorer."""

    def __init__(self, decision: Any = None, predicted: Any = None, classes: Any = None) -> None:
        self.decision, self.predicted, self.classes = decision, predicted, classes
        self.classes_ = classes

    def fit(self, X: Any, y: Any) -> _Fold:
        return self

    def predict(self, X: Any) -> Any:
        return self.predicted

    def decision_function(self, X: Any) -> Any:
        return self.decision


class _ClassFold(ClassifierMixin, _Fold):
    pass


class _ValueFold(RegressorMixin, _Fold):
    pass


class _Search(CrossValidated):
    """One matrix K for each gamma serves all folds and prices; prices rise, with warm starts."""

    _weighs_score = False

    Cs: Any
    gammas: Any
    cv: Any
    scoring: Any
    C_: float
    gamma_: float

    def _checked(self, rows: Rows) -> Rows:
        if is_cupy(rows.X):
            raise TypeError(
                f"{rows.owner}: X must be on the CPU, where folds share rows of the kernel, got an "
                "array on a GPU (move it with cupy.asnumpy, or search over the plain machine with "
                "GridSearchCV)"
            )
        return super()._checked(rows)  # type: ignore[misc]

    def _groups(self) -> np.ndarray:
        """A number for each row: those of an equal one follow one another in K."""
        raise NotImplementedError

    def _fold_problems(self, train: np.ndarray, C: float) -> list[_problems.Problem]:
        raise NotImplementedError

    def _answer(self, decisions: np.ndarray) -> Any:
        """What a fold's machines say about rows held out, from a column of sums for each."""
        raise NotImplementedError

    def _candidates(self, owner: str) -> tuple[np.ndarray, list]:
        prices = np.asarray(self.Cs, dtype=np.float64).ravel()
        gammas = list(np.asarray(self.gammas, dtype=object).ravel())
        good: Any = len(prices) and len(gammas) and np.isfinite(prices).all()
        good = good and (prices > 0).all()
        for gamma in gammas:
            good = good and (gamma in ("scale", "auto") or (rule.is_real(gamma) and gamma > 0))
        if not good:
            raise ValueError(
                f"{owner}: Cs and gammas must be numbers above 0 (or 'scale' and 'auto'), got "
                f"{self.Cs!r} and {self.gammas!r}"
            )
        return prices, gammas

    def _search(
        self: Any, rows: Rows, y: Any, targets: Any, classifier: bool, params: dict
    ) -> None:  # fmt: skip
        """Score all candidates and keep the best; sets ``cv_results_`` and the like."""
        owner = type(self).__name__
        prices, gammas = self._candidates(owner)
        X = rows.X
        split, score = self._routed("fit", rows.weight, params)
        splits = self._splits(rows, y, split, classifier)
        if not splits:
            raise ValueError(f"{owner}: cv must give at least one split, got none")
        scorer = check_scoring(_ClassFold() if classifier else _ValueFold(), self.scoring)
        scores = np.empty((len(prices), len(gammas), len(splits)))
        # Seconds of each fit; what several fits share is divided evenly among them.
        fit_times, score_times = np.empty_like(scores), np.empty_like(scores)
        order = np.argsort(prices, kind="stable")
        widths = []
        # Rows of a problem, and those held out from it, should follow one another in K.
        fold = np.zeros(len(targets), np.int64)
        for f, (_, test) in enumerate(splits):
            fold[test] = f
        order_of_rows = np.lexsort((fold, self._groups()))
        self._place = np.argsort(order_of_rows).astype(np.int32)  # of each row of X in K
        splits = [tuple(own[np.argsort(self._place[own])] for own in split) for split in splits]
        for g, given in enumerate(gammas):
            began = perf_counter()
            kernel = self._kernel_with(given, X)
            widths.append(kernel.gamma)
            whole = self._whole(kernel, X[order_of_rows])
            K = self._gram(whole, np.float32 if len(targets) > _DOUBLE else np.float64)
            fit_times[:, g] = (perf_counter() - began) / scores[:, g].size
            before: Any = None
            found = []  # at each price, the solved problems of all folds
            for c in order:
                began = perf_counter()
                problems = [self._fold_problems(train, float(prices[c])) for train, _ in splits]
                flat = [p for own in problems for p in own]
                training = self._over(K, flat)
                solved = training.settled(
                    training.begin_from(*before) if before else training.begin_at_bounds()
                )
                some = list(training.parts(solved))[: len(problems[0])]  # those of one fold
                if K.dtype == np.float32 and not all(
                    whole.rounding(*part) <= self.tol / 4 for part in some
                ):  # this price and larger ones go on in float64
                    beta = solved.beta
                    del K, before, training  # one matrix at a time
                    K = self._gram(whole, np.float64)
                    training = self._over(K, flat)
                    solved = training.settled(
                        Solved(beta, training.gradient(beta), training.begin_state())
                    )
                before = training, solved
                found.append(training.parts(solved))
                fit_times[c, g] += (perf_counter() - began) / len(splits)
            began = perf_counter()
            decisions = self._about_folds(K, splits, found)
            score_times[:, g] = (perf_counter() - began) / scores[:, g].size
            for f, (_, test) in enumerate(splits):
                for c, own in zip(order, decisions[f], strict=True):
                    began = perf_counter()
                    answer = self._answer(own)
                    options = of_rows(score or {}, len(targets), test)
                    scores[c, g, f] = scorer(answer, X[test], targets[test], **options)
                    score_times[c, g, f] += perf_counter() - began
        mean = scores.mean(axis=2)
        if not np.isfinite(mean).any():
            raise ValueError(
                f"{owner}: scoring must give finite scores, got none (R^2 needs two rows in each "
                "fold: take fewer folds, or another scoring)"
            )
        table: dict[str, Any] = {}
        for name, times in (("fit_time", fit_times), ("score_time", score_times)):
            table[f"mean_{name}"] = times.mean(axis=2).ravel()
            table[f"std_{name}"] = times.std(axis=2).ravel()
        table |= {
            "param_C": np.repeat(prices, len(gammas)),
            "param_gamma": np.array(gammas * len(prices), dtype=object),
        }
        table["params"] = [
            {"C": float(C), "gamma": gamma}
            for C, gamma in zip(table["param_C"], table["param_gamma"], strict=True)
        ]
        for f in range(len(splits)):
            table[f"split{f}_test_score"] = scores[:, :, f].ravel()
        table["mean_test_score"] = mean.ravel()
        table["std_test_score"] = scores.std(axis=2).ravel()
        table["rank_test_score"] = rankdata(-mean.ravel(), method="min").astype(np.int32)
        best = int(np.nanargmax(mean))
        self.cv_results_, self.best_index_, self.n_splits_ = table, best, len(splits)
        self.best_score_ = float(mean.ravel()[best])
        self.best_params_ = table["params"][best]
        self.C_ = float(prices[best // len(gammas)])
        self.gamma_ = float(widths[best % len(gammas)])

    def _about_folds(self, K: np.ndarray, splits: list, found: list) -> list[np.ndarray]:
        """For each fold an array (prices, rows held out, machines)."""
        each = len(found[0]) // len(splits)
        rows, used, coef = [], [], []
        for k, (problem, *_) in enumerate(found[0]):
            b = np.array([parts[k][1] for parts in found])
            chosen = np.flatnonzero(b.any(axis=0))
            rows.append(self._place[splits[k // each][1]])
            used.append(problem.rows[chosen])
            coef.append(b[:, chosen])
        spans, ends = (np.cumsum([0, *map(len, arrays)]) for arrays in (rows, used))
        sums = ops.products(
            K, np.concatenate(rows), spans, np.concatenate(used), ends, np.hstack(coef)
        )
        columns = np.split(sums, spans[1:-1], axis=1)
        for k, column in enumerate(columns):
            column += np.array([[p.multipliers(b, g)[0]] for p, b, g in (q[k] for q in found)])
        return [np.stack(columns[f * each : (f + 1) * each], 2) for f in range(len(splits))]

    def _kernel_with(self: Any, gamma: Any, X: Any) -> Kernel:
        self.gamma = gamma
        try:
            return kernel_of(self, X, self._all_weights)
        finally:
            del self.gamma

    def _over(self: Any, K: np.ndarray, problems: list[Any]) -> Training:
        return Training(
            type(self).__name__, Kernel("precomputed"), K, None, problems, self.tol,
            self.cache_size, self.max_iter,
        )  # fmt: skip

    def _whole(self: Any, kernel: Kernel, X: Any) -> Training:
        """All rows about their origin, without a problem."""
        return Training(
            type(self).__name__, kernel, X,
            None if is_sparse(X) or not kernel.moves else X.mean(axis=0), [], self.tol,
            self.cache_size, self.max_iter,
        )  # fmt: skip

    def _gram(self: Any, whole: Training, dtype: Any) -> np.ndarray:
        rows = whole.rows_as(dtype)
        return whole.kernel.matrix(rows, rows, type(self).__name__)

    def _fitted_kernel(self: Any, X: Any, kept: Any, weights: Any) -> Kernel:
        return Kernel(self.kernel, self.gamma_, float(self.coef0), float(self.degree))


class SVCCV(_Search, SVC):
    """Support vector classification with C and gamma chosen by cross-validation.

    Parameters
    ----------
    kernel : {"linear", "poly", "rbf", "sigmoid", "laplacian", "chi2"}, default="rbf"
        Kernel function.
    random_state : int, RandomState, Generator or None, default=None
        Draws the folds of the calibration of probabilities.

    Attributes
    ----------
    C_, gamma_, best_index_, best_params_, best_score_, cv_results_, n_splits_
    classes_, class_weight_, coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_
    n_support_, shape_fit_, support_, support_vectors_, n_features_in_, feature_names_in_

    See Also
    --------
    SVC : The machine that is fitted to all rows in the end.

    Notes
    -----
    For each gamma one kernel matrix, of 4 n^2 bytes, serves all folds and all prices; each price
    starts from the multipliers of the one before, and the folds are solved side by side. Prices at
    which the rounding of float32 reaches a quarter of the tolerance get a matrix of float64, of
    8 n^2 bytes. Scores are those of scikit-learn's `GridSearchCV` over `SVC` up to the tolerance.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kernelmill.svm import SVCCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SVCCV(Cs=[0.1, 1.0, 10.0], gammas=[0.1, 1.0]).fit(X, y)
    >>> model.cv_results_["mean_test_score"].shape
    (6,)
    >>> model.best_score_ > 0.95
    True
    """

    _score_name = "accuracy"
    _parameters: ClassVar = {
        **{k: v for k, v in SVC._parameters.items() if k not in _FOUND},
        **_SEARCH,
        "kernel": rule.one_of("linear", "poly", "rbf", "sigmoid", "laplacian", "chi2"),
    }

    def __init__(
        self, *, Cs=_PRICES, gammas=("scale",), cv=5, scoring=None, kernel="rbf", degree=3,
        coef0=0.0, shrinking=True, probability=False, tol=1e-3, cache_size=200,
        class_weight=None, verbose=False, max_iter=-1, decision_function_shape="ovr",
        break_ties=False, random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y, sample_weight=None, **params):
        """Choose C and gamma, then fit all rows.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels, numbers or strings.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.
        """
        rows = self._checked(self._rows(X, sample_weight, reset=True))
        labels = class_labels(y, rows.owner)
        check_count(labels, rows.count, rows.owner)
        self.classes_, self._codes = np.unique(labels, return_inverse=True)
        check_classes(self.classes_, rows.owner)
        self._all_weights = self._weights(rows)
        self._class_weights(rows, labels, self._codes)
        self._search(rows, labels, labels, True, params)
        for name in ("_codes", "_all_weights", "_place"):
            delattr(self, name)
        return self._fit(X, y, sample_weight)

    def _pair(
        self, rows: np.ndarray, signs: np.ndarray, weights: np.ndarray, scale: float
    ) -> _problems.Problem:
        return _problems.classes(rows, signs, self.C_ * weights)

    def _groups(self) -> np.ndarray:
        return self._codes

    def _fold_problems(self, train: np.ndarray, C: float) -> list[_problems.Problem]:
        train = train[self._all_weights[train] > 0]
        codes, weights = self._codes[train], self._all_weights[train]
        shares = np.bincount(codes, weights, len(self.classes_))
        if not (shares > 0).all():
            raise ValueError(
                f"{type(self).__name__}: cv must leave rows of each class to train on, got none "
                f"of class {self.classes_[int(np.argmin(shares))]!r}"
            )
        factors = self.class_weight_
        if isinstance(self.class_weight, str):
            factors = shares.sum() / (len(shares) * shares)
        weights = weights * factors[codes]
        found = []
        for i, j in _pairs.pairs(len(self.classes_)):
            own = (codes == i) | (codes == j)
            signs = np.where(codes[own] == i, 1.0, -1.0)
            rows = self._place[train[own]]
            found.append(_problems.classes(rows, signs, C * weights[own]))
        return found

    def _answer(self, decisions: np.ndarray) -> _ClassFold:
        k = len(self.classes_)
        labels = self.classes_[self._labels(decisions)]
        scores = -decisions.ravel() if k == 2 else _pairs.one_against_rest(decisions, k)
        return _ClassFold(scores, labels, self.classes_)


class SVRCV(_Search, SVR):
    """Support vector regression with C and gamma chosen by cross-validation.

    Parameters
    ----------
    kernel : {"linear", "poly", "rbf", "sigmoid", "laplacian", "chi2"}, default="rbf"
        Kernel function.
    epsilon : float, default=0.1
        Half width of the tube of free errors.

    Attributes
    ----------
    C_, gamma_, best_index_, best_params_, best_score_, cv_results_, n_splits_
    coef_, dual_coef_, dual_gap_, fit_status_, intercept_, n_iter_, n_support_, shape_fit_
    support_, support_vectors_
    n_features_in_, feature_names_in_

    See Also
    --------
    SVR : The machine that is fitted to all rows in the end.
    SVCCV : The same for classes; its notes hold here.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.svm import SVRCV
    >>> X = np.linspace(0, 6, 60)[:, None]
    >>> model = SVRCV(Cs=[1.0, 100.0], epsilon=0.01).fit(X[::-1], np.sin(X).ravel())
    >>> model.cv_results_["rank_test_score"].shape
    (2,)
    """

    _score_name = "r2"
    _parameters: ClassVar = {
        **{k: v for k, v in SVR._parameters.items() if k not in _FOUND},
        **_SEARCH,
        "kernel": rule.one_of("linear", "poly", "rbf", "sigmoid", "laplacian", "chi2"),
    }

    def __init__(
        self, *, Cs=_PRICES, gammas=("scale",), cv=5, scoring=None, kernel="rbf", degree=3,
        coef0=0.0, tol=1e-3, epsilon=0.1, shrinking=True, cache_size=200, verbose=False,
        max_iter=-1,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y, sample_weight=None, **params):
        """Choose C and gamma, then fit all rows.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter do not fit.
        """
        rows = self._checked(self._rows(X, sample_weight, reset=True))
        targets = targets_of(y, rows)
        self._given_targets = targets.reshape(len(targets), -1)[:, 0]
        self._all_weights = self._weights(rows)
        self._search(rows, self._given_targets, self._given_targets, False, params)
        for name in ("_given_targets", "_all_weights", "_place"):
            delattr(self, name)
        return self._fit(X, y, sample_weight)

    def _problem(self, y: np.ndarray, weights: np.ndarray, scale: float) -> _problems.Problem:
        rows = np.arange(len(y), dtype=np.int32)
        return _problems.values(rows, y, self.C_ * weights, self.epsilon)

    def _groups(self) -> np.ndarray:
        return np.zeros(len(self._given_targets))

    def _fold_problems(self, train: np.ndarray, C: float) -> list[_problems.Problem]:
        train = train[self._all_weights[train] > 0]
        bounds = C * self._all_weights[train]
        return [
            _problems.values(
                self._place[train],
                self._given_targets[train],
                bounds,
                self.epsilon,
            )
        ]

    def _answer(self, decisions: np.ndarray) -> _ValueFold:
        return _ValueFold(None, decisions[:, 0])
