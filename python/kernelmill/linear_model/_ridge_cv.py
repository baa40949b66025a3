"""Ridge regression and classification with penalties chosen by leaving one row out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator, MultiOutputMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import targets_of
from kernelmill.linear_model import _solve as solve
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._ridge import ClassTargets, Ridge, RidgeClassifier
from kernelmill.linear_model._words import WORDS
from kernelmill.ops import moments


class LeftOut:
    """Residuals of rows that are left out one at a time, for any number of penalties.

    With eigenvectors V and eigenvalues v of the weighted, centred products C, z = V'(x - mean) and
    t = V'X'y, a row of weight w has the leverage ``h = w (1/W + sum z^2 / (v + alpha))``, its
    residual is ``e = y - mean - sum z t / (v + alpha)``, and without it ``e / (1 - h)``.
    """

    def __init__(self, rows: Rows, Y: np.ndarray, centred: bool) -> None:
        self.rows, self.Y, self.centred = rows, Y, centred
        self.moments = moments_of(rows, Y, centred=centred)
        values, self.vectors = scipy.linalg.eigh(self.moments.xx, check_finite=False)
        self.values = np.maximum(values, 0.0)
        self.right = self.vectors.T @ self.moments.xy

    def coef(self, alpha: float) -> np.ndarray:
        """Coefficients (m, d)."""
        return (self.vectors @ (self.right / self._shrunk(alpha)[:, None])).T

    def _shrunk(self, alpha: float) -> np.ndarray:
        total = self.values + alpha
        least = total.max(initial=0.0) * solve.EPS * len(total)
        return np.where(total > least, total, np.inf)

    def errors(self, alphas: np.ndarray, brief: bool) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean squared residuals (n_alphas, m), and residuals (n_alphas, n, m).

        Without the residuals if `brief`.
        """
        scales = np.array([1 / self._shrunk(a) for a in alphas]).reshape(len(alphas), -1)
        share = 1 / self.moments.weight if self.centred else 0.0
        start, total, parts = 0, np.zeros((len(alphas), self.Y.shape[1])), []
        for chunk in self.rows.chunks():
            Y = self.Y[start : start + chunk.count]
            part, residuals = chunk.map_reduce(
                moments.left_out, Y, self.moments.mean, self.vectors, scales, self.right, share,
                brief,
            )  # fmt: skip
            start += chunk.count
            total += part
            parts.append(residuals)
        residuals = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return total / self.moments.weight, residuals


class _Identity(BaseEstimator):
    """An estimator whose predictions are its rows, for scorers."""

    def fit(self, X: Any, y: Any) -> Any:
        return self

    def decision_function(self, X: Any) -> Any:
        return X

    def predict(self, X: Any) -> Any:
        return X


class RidgeCV(MultiOutputMixin, LinearRegressor):
    """Ridge regression whose penalty is chosen by leaving one row out, in closed form.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,), default=(0.1, 1.0, 10.0)
        Penalties to choose from.
    scoring : str, callable or None, default=None
        Score of the predictions of the rows left out; the negative mean squared error by default.
    cv : int, splitter, iterable or None, default=None
        None leaves out one row at a time; else how rows are split.
    gcv_mode : {"auto", "svd", "eigen"} or None, default=None
        Ignored: the eigenvectors of the products are used.
    store_cv_results : bool, default=False
        Whether to keep ``cv_results_``.
    alpha_per_target : bool, default=False
        Whether each output has a penalty of its own.

    Attributes
    ----------
    coef_, intercept_
    alpha_ : float or ndarray of shape (n_outputs,)
        The penalty that was chosen.
    best_score_ : float or ndarray of shape (n_outputs,)
        Its score.
    cv_results_ : ndarray of shape (n, n_alphas) or (n, n_outputs, n_alphas)
        Squared errors of the rows left out, or their predictions where `scoring` is given; only
        with ``store_cv_results``.
    n_features_in_, feature_names_in_

    See Also
    --------
    Ridge : With a given penalty.

    Notes
    -----
    Leaving out a row of weight 2 leaves out both of its copies; errors are averaged with the
    weights. One factorisation serves all penalties, and a second pass gives all residuals.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import RidgeCV
    >>> X, y = np.arange(5.0)[:, None], np.array([0.0, 1.0, 0.0, 1.0, 5.0])
    >>> model = RidgeCV([0.1, 1.0, 10.0]).fit(X, y)
    >>> model.alpha_, round(model.best_score_, 4), model.predict([[2.0]]).round(6).tolist()
    (10.0, -4.7485, [1.4])
    """

    _words = WORDS
    _parameters: ClassVar = {
        "alphas": rule.array("(n_alphas,)"),
        "fit_intercept": rule.boolean(),
        "scoring": rule.Rule(lambda v: v is None or isinstance(v, str) or callable(v), "a scorer"),
        "gcv_mode": rule.one_of("auto", "svd", "eigen", None),
        "store_cv_results": rule.boolean(),
        "alpha_per_target": rule.boolean(),
    }

    def __init__(
        self, alphas=(0.1, 1.0, 10.0), *, fit_intercept=True, scoring=None, cv=None, gcv_mode=None,
        store_cv_results=False, alpha_per_target=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Choose the penalty, and fit with it.

        Raises
        ------
        ValueError
            If X, y or alphas do not fit.
        """
        alphas = np.atleast_1d(np.asarray(self.alphas, dtype=np.float64)).ravel()
        owner = type(self).__name__
        if not len(alphas) or not (alphas >= 0).all() or not np.isfinite(alphas).all():
            raise ValueError(f"{owner}: alphas must be numbers of at least 0, got {self.alphas!r}")
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        y = targets_of(y, rows, vanishing=True)
        Y = y.reshape(len(y), -1)
        if self.cv is not None:
            rows.check()
            return self._searched(X, y, sample_weight, rows, alphas)
        if self.alpha_per_target and y.ndim == 1:
            raise ValueError(f"{owner}: alpha_per_target=True needs several outputs, got one")
        left = LeftOut(rows, Y, self.fit_intercept)
        brief = self.scoring is None and not self.store_cv_results
        errors, residuals = left.errors(alphas, brief)
        if self.scoring is None:
            kept = residuals**2
            scores = -errors if self.alpha_per_target else -errors.mean(1, keepdims=True)
        else:
            kept = Y - residuals
            scores = self._scored(kept, Y, rows.all_weights())
        if not np.isfinite(scores).any(0).all():
            raise ValueError(
                f"{owner}: alphas must leave a prediction for rows left out, got none that does "
                f"for n_samples = {len(Y)} (raise alphas, or pass more rows)"
            )
        best = np.where(np.isfinite(scores), scores, -np.inf).argmax(0)
        chosen = alphas[best]
        coef = np.empty((Y.shape[1], rows.n_features))
        for a in np.unique(best):
            those = best == a if self.alpha_per_target else slice(None)
            coef[those] = left.coef(float(alphas[a]))[those]
        self._set_model(coef, left.moments.x_mean, left.moments.y_mean, rows, y.ndim == 1)
        per = self.alpha_per_target
        self.alpha_ = chosen if per else float(chosen[0])
        top = scores[best, np.arange(len(best))]
        self.best_score_ = top if per else float(top[0])
        if self.store_cv_results:
            table = np.moveaxis(kept, 0, -1)
            self.cv_results_ = table[:, 0] if y.ndim == 1 else table
        return self

    def _scored(self, predictions: np.ndarray, Y: np.ndarray, weight: Any) -> np.ndarray:
        scorer = check_scoring(_Identity(), scoring=self.scoring, allow_none=False)
        options = {} if weight is None else {"sample_weight": weight}

        def score(p: np.ndarray, t: np.ndarray) -> float:
            return float(scorer(_Identity(), p, t, **options))

        if self.alpha_per_target:
            several = range(Y.shape[1])
            return np.array([[score(p[:, j], Y[:, j]) for j in several] for p in predictions])
        if Y.shape[1] == 1:
            return np.array([[score(p[:, 0], Y[:, 0])] for p in predictions])
        return np.array([[score(p, Y)] for p in predictions])

    def _searched(self, X: Any, y: Any, weight: Any, rows: Rows, alphas: np.ndarray) -> Any:
        if rows.is_stream:
            raise TypeError(f"{rows.owner}: X must be in memory where cv is given, got a stream")
        if self.store_cv_results or self.alpha_per_target:
            raise ValueError(
                f"{rows.owner}: cv must be None with store_cv_results or alpha_per_target, got "
                f"{self.cv!r} (cv!=None and store_cv_results=True are incompatible)"
            )
        search = GridSearchCV(
            Ridge(fit_intercept=self.fit_intercept), {"alpha": list(alphas)}, cv=self.cv,
            scoring=self.scoring,
        )  # fmt: skip
        search.fit(rows.X, y, sample_weight=rows.weight)
        best = search.best_estimator_
        self.coef_, self.intercept_ = best.coef_, best.intercept_
        self.alpha_, self.best_score_ = float(best.alpha), search.best_score_
        return self


class RidgeClassifierCV(ClassTargets):
    """Ridge classification whose penalty is chosen by leaving one row out, in closed form.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,), default=(0.1, 1.0, 10.0)
        Penalties to choose from.
    scoring : str, callable or None, default=None
        Score of the rows left out, with `cv`; else the negative mean squared error of the targets 1
        and -1 is used, and this must be None.
    cv : int, splitter, iterable or None, default=None
        None leaves out one row at a time; else how rows are split.
    store_cv_results : bool, default=False
        Whether to keep ``cv_results_``.

    Attributes
    ----------
    coef_, intercept_, classes_, alpha_
    best_score_ : float
        The score of the penalty.
    cv_results_ : ndarray of shape (n, n_targets, n_alphas)
        Squared errors of the rows left out; only with ``store_cv_results``.
    n_features_in_, feature_names_in_

    See Also
    --------
    RidgeCV : The regression.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import RidgeClassifierCV
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> model = RidgeClassifierCV().fit(X, X[:, 0] > 0)
    >>> model.alpha_ in (0.1, 1.0, 10.0), model.score(X, X[:, 0] > 0) > 0.9
    (True, True)
    """

    _parameters: ClassVar = {
        "alphas": rule.array("(n_alphas,)"),
        "fit_intercept": rule.boolean(),
        "scoring": rule.Rule(lambda v: v is None or isinstance(v, str) or callable(v), "a scorer"),
        "class_weight": rule.CLASS_WEIGHT,
        "store_cv_results": rule.boolean(),
    }

    def __init__(
        self, alphas=(0.1, 1.0, 10.0), *, fit_intercept=True, scoring=None, cv=None,
        class_weight=None, store_cv_results=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Choose the penalty, and fit with it.

        Raises
        ------
        ValueError
            If X, y or alphas do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True)
        Y, weighted = self._encoded(y, rows)
        if self.cv is not None:
            return self._searched(rows, y)
        if self.scoring is not None:
            raise ValueError(
                f"{rows.owner}: scoring must be None where rows are left out one at a time, got "
                f"{self.scoring!r} (pass cv)"
            )
        inner = RidgeCV(
            self.alphas, fit_intercept=self.fit_intercept, store_cv_results=self.store_cv_results
        ).fit(weighted, Y)
        self.coef_ = inner.coef_
        self.intercept_ = np.broadcast_to(inner.intercept_, (len(inner.coef_),)).copy()
        self.alpha_, self.best_score_ = inner.alpha_, inner.best_score_
        if self.store_cv_results:
            self.cv_results_ = inner.cv_results_
        return self

    def _searched(self, rows: Rows, y: Any) -> Any:
        if rows.is_stream:
            raise TypeError(f"{rows.owner}: X must be in memory where cv is given, got a stream")
        if self.store_cv_results:
            raise ValueError(
                f"{rows.owner}: cv must be None with store_cv_results, got {self.cv!r} "
                "(cv!=None and store_cv_results=True are incompatible)"
            )
        model = RidgeClassifier(fit_intercept=self.fit_intercept, class_weight=self.class_weight)
        grid = {"alpha": list(np.ravel(self.alphas))}
        search = GridSearchCV(model, grid, cv=self.cv, scoring=self.scoring)
        search.fit(rows.X, y, sample_weight=rows.weight)
        best = search.best_estimator_
        self.coef_, self.intercept_ = best.coef_, best.intercept_
        self.alpha_, self.best_score_ = float(best.alpha), search.best_score_
        return self
