"""Ridge regression and classification with penalties chosen by leaving one row out."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._routing import CrossValidated, is_routing
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import targets_of
from kernelmill.linear_model import _solve as solve
from kernelmill.linear_model._regression import LinearRegressor, predicted
from kernelmill.linear_model._ridge import ClassTargets, Dual, Ridge, RidgeClassifier
from kernelmill.linear_model._words import WORDS
from kernelmill.ops import moments

_NEAR = 1e4  # 1 / (1 - h) of a row whose leverage is nearly 1
_MILD = 1e-8  # the least of the largest eigenvalue that products keep well enough
_RULED = 1e6  # of the weight: sums of squares of the same beyond which there may be such rows


def _penalties(model: Any) -> np.ndarray:
    """The alphas of a model, checked."""
    alphas = np.atleast_1d(np.asarray(model.alphas)).ravel()
    numbers = len(alphas) > 0 and alphas.dtype.kind in "iuf"
    if not numbers or not (alphas >= 0).all() or not np.isfinite(alphas).all():
        raise ValueError(
            f"{type(model).__name__}: alphas must be numbers of at least 0, got {model.alphas!r}"
        )
    return alphas.astype(np.float64)


class _RidgeSearch(CrossValidated):
    """The choice of the penalty by splits of the rows."""

    _weighs_score = True

    def _best(
        self, model: Any, alphas: np.ndarray, rows: Rows, y: Any, folds: list, score: Any
    ) -> None:  # fmt: skip
        """Set what a search finds."""
        options = {"sample_weight": rows.weight, **(score or {})}
        if is_routing():
            model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"alpha": list(alphas)}, cv=folds, scoring=self.scoring)
        search.fit(rows.X, y, **options)
        best = search.best_estimator_
        self.coef_, self.intercept_ = best.coef_, best.intercept_
        self.alpha_, self.best_score_ = float(best.alpha), search.best_score_


class LeftOut:
    """Residuals of rows that are left out one at a time, for any number of penalties.

    With eigenvectors V and eigenvalues v of the weighted, centred products C, z = V'(x - mean) and
    t = V'X'y, a row of weight w has the leverage ``h = w (1/W + sum z^2 / (v + alpha))``, its
    residual is ``e = y - mean - sum z t / (v + alpha)``, and without it ``e / (1 - h)``. Where h is
    nearly 1, that is 0 / 0: such a row is left out by a fit of the others, which has a limit as
    alpha vanishes, the shortest of their best coefficients.
    """

    def __init__(self, rows: Rows, Y: np.ndarray, centred: bool) -> None:
        self.rows, self.Y, self.centred = rows, Y, centred
        self.moments = moments_of(rows, Y, centred=centred)
        self.x_mean, self.y_mean = self.moments.x_mean, self.moments.y_mean
        values, self.vectors = scipy.linalg.eigh(self.moments.xx, check_finite=False)
        self.values = np.maximum(values, 0.0)
        self.right = self.vectors.T @ self.moments.xy

    def coefficients(self, alpha: float) -> np.ndarray:
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
        total, residuals = self._pass(alphas, brief)
        ruled = ~(total[:, -1] <= _RULED * self.moments.weight)
        if ruled.any():
            some, found = self._pass(alphas[ruled], False)
            self._refit(alphas[ruled], some, found)
            total[ruled] = some
            if not brief:
                residuals[ruled] = found
        return total[:, :-1] / self.moments.weight, residuals[:, :, :-1]

    def _pass(self, alphas: np.ndarray, brief: bool) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squared residuals and residuals, of one more target: its are ``1 / (1 - h)``."""
        scales = np.array([1 / self._shrunk(a) for a in alphas]).reshape(len(alphas), -1)
        share = 1 / self.moments.weight if self.centred else 0.0
        origin = np.append(self.moments.mean, 0.0)
        right = np.concatenate([self.right, np.zeros((len(self.right), 1))], axis=1)
        Y = np.concatenate([self.Y, np.ones((len(self.Y), 1))], axis=1)
        start, total, parts = 0, np.zeros((len(alphas), Y.shape[1])), []
        for chunk in self.rows.chunks():
            part, residuals = chunk.map_reduce(
                moments.left_out, Y[start : start + chunk.count], origin, self.vectors, scales,
                right, share, brief,
            )  # fmt: skip
            start += chunk.count
            total += part
            parts.append(residuals)
        return total, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _refit(self, alphas: np.ndarray, total: np.ndarray, residuals: np.ndarray) -> None:
        """Fit without each row whose leverage is nearly 1, in place: at most d + 1 an alpha."""
        weights = self.rows.all_weights()
        w = np.ones(len(self.Y)) if weights is None else weights.astype(np.float64)
        near = ~(np.abs(residuals[:, :, -1]) <= _NEAR) & (w > 0) & (w < w.sum())
        some = np.flatnonzero(near.any(0))
        if len(some):
            residuals[:, some, :-1] = self._fits_of_others(some, w, alphas)
        total[:] = np.einsum("n,anm->am", w, residuals**2)

    def _fits_of_others(self, some: np.ndarray, w: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """Residuals (n_alphas, len(some), m) of some rows, each by a fit of all others.

        The rows that are in all of these fits are read once: their mean and triangular factor say
        as much as they do.
        """
        d = self.moments.d
        own, weight = np.hstack([self.rows.take(some), self.Y[some]]), w[some]
        R, first, always = own[:0], 0, np.ones(len(w))
        always[some] = 0.0
        if (always * w).any():
            rest = self.rows.weighted(always)
            part = moments_of(rest, self.Y, centred=self.centred)
            R, first = solve.triangular(rest, self.Y, part)[:d], 1
            own = np.vstack([np.append(part.x_mean, part.y_mean), own])
            weight = np.append(part.weight, weight)
        if self.centred:
            own = own - own[0]  # columns that are constant have no spread, not even by rounding
        found = np.empty((len(alphas), len(some), self.Y.shape[1]))
        for i in range(len(some)):
            others = np.arange(len(own)) != first + i
            mean = np.average(own[others], axis=0, weights=weight[others]) * self.centred
            A = np.vstack([R, np.sqrt(weight[others])[:, None] * (own[others] - mean)])
            U, s, Vt = scipy.linalg.svd(A[:, :d], full_matrices=False, check_finite=False)
            s[s <= solve.EPS * d * s.max(initial=0.0)] = 0.0
            x, y = np.split(own[first + i] - mean, [d])
            t, z = U.T @ A[:, d:], Vt @ x
            for a, alpha in enumerate(alphas):
                shrunk = np.divide(s, s * s + alpha, out=np.zeros_like(s), where=s > 0)
                found[a, i] = y - (shrunk * z) @ t
        return found


def counted(rows: Rows) -> np.ndarray:
    """Numbers of the rows in memory that have weight."""
    return np.arange(rows.count) if rows.weight is None else np.flatnonzero(rows.weight > 0)


class DualLeftOut(Dual):
    """The same for fewer rows than features.

    With G = A A' + alpha I and c = G^-1 t, a row of weight w that is left out has the residual
    ``c / (G^-1)_ii / sqrt(w)``. Nothing cancels as alpha vanishes, where rows are fitted exactly.
    """

    def __init__(self, rows: Rows, Y: np.ndarray, centred: bool) -> None:
        self.rows, self.Y, kept = rows, Y, counted(rows)
        # Rows of weight 0 are not there to be left out.
        self.none = np.ones(len(Y), bool)
        self.none[kept] = False
        super().__init__(rows.part(kept) if self.none.any() else rows, Y[kept], centred)

    @functools.cached_property
    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Those of the products, or by the rows themselves where squares lose too many digits."""
        found = super().eigen
        values = found[0][:-1] if self.centred else found[0]
        if is_sparse(self.wide) or not values.min(initial=np.inf) < _MILD * values.max(initial=0):
            return found
        A = self.root[:, None] * self.wide
        if self.centred:  # above every other, as in the products
            unit = self.root / np.linalg.norm(self.root)
            A = np.hstack([A, np.sqrt(self.filled) * unit[:, None]])
        vectors, s, _ = scipy.linalg.svd(A, full_matrices=False, check_finite=False)
        top = s[1] if self.centred and len(s) > 1 else s[0]
        s = np.where(s > solve.EPS * max(A.shape) * top, s, 0.0)
        return (s * s)[::-1], vectors[:, ::-1]

    def coefficients(self, alpha: float) -> np.ndarray:
        """Coefficients (m, d)."""
        return self.coef(self.spectral(alpha))

    def errors(self, alphas: np.ndarray, brief: bool) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean squared residuals (n_alphas, m), and residuals (n_alphas, n, m)."""
        residuals = np.empty((len(alphas), *self.Y.shape))
        values, vectors = self.eigen
        turned, squares = vectors.T @ self.right, vectors * vectors
        null = values == 0
        # Rows with a part in the directions without products: these rule as alpha vanishes.
        bound = squares[:, null].sum(1) > solve.EPS * len(values)
        for a, alpha in enumerate(alphas):
            # G^-1, but for a factor where a direction is null.
            inverse = 1 / np.where(null, 1.0, values + alpha)
            ruled = np.where(null, 1.0, alpha * inverse)
            inverse[null] = 0.0
            if self.centred:
                inverse[-1] = ruled[-1] = 0.0
            with np.errstate(divide="ignore", invalid="ignore"):
                left, other = (
                    (vectors @ (g[:, None] * turned)) / (squares @ g)[:, None]
                    for g in (inverse, ruled)
                )
                left[bound] = other[bound]
                residuals[a, ~self.none] = left / self.root[:, None]
            if self.none.any():
                coef = self.coefficients(float(alpha))
                fitted = predicted(self.rows.X[self.none], coef, self.y_mean - coef @ self.x_mean)
                residuals[a, self.none] = self.Y[self.none] - fitted
        found = residuals[:, ~self.none]
        return np.average(found**2, axis=1, weights=self.root**2), residuals


class _Identity(BaseEstimator):
    """An estimator whose predictions are its rows, for scorers."""

    def fit(self, X: Any, y: Any) -> Any:
        return self

    def decision_function(self, X: Any) -> Any:
        return X

    def predict(self, X: Any) -> Any:
        return X


class _Labels(ClassifierMixin, _Identity):
    """The same for scores of classes."""

    def __init__(self, classes: np.ndarray, multilabel: bool) -> None:
        self.classes_, self.multilabel = classes, multilabel

    def predict(self, X: Any) -> Any:
        if self.multilabel:
            return (X.reshape(len(X), -1) > 0).astype(np.int64)
        return self.classes_[X.argmax(1) if X.ndim == 2 else (X > 0).astype(np.int64)]


class RidgeCV(MultiOutputMixin, _RidgeSearch, LinearRegressor):
    """Ridge regression whose penalty is chosen by leaving one row out, in closed form.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,) or float, default=(0.1, 1.0, 10.0)
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
        Squared errors of the rows left out, times their weights, or their predictions where
        `scoring` is given; only with ``store_cv_results``.
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
    _score_name = "r2"
    _parameters: ClassVar = {
        "alphas": rule.any_of(rule.array("(n_alphas,)"), rule.real(0)),
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
    def fit(self, X, y, sample_weight=None, **params):
        """Choose the penalty, and fit with it.

        Raises
        ------
        ValueError
            If X, y or alphas do not fit.
        """
        owner, alphas = type(self).__name__, _penalties(self)
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        y = targets_of(y, rows, vanishing=True)
        Y = y.reshape(len(y), -1)
        if self.cv is not None:
            rows.check()
            return self._searched(rows, y, alphas, params)
        score = self._routed("fit", rows.all_weights() if is_routing() else None, params)[1]
        # As many rows as features and an intercept are fitted exactly as alpha vanishes, too.
        most = rows.n_features + bool(self.fit_intercept)
        if rows.is_stream or len(counted(rows)) > most:
            left: Any = LeftOut(rows, Y, self.fit_intercept)
        else:
            rows.check()
            left = DualLeftOut(rows, Y, self.fit_intercept)
        per = self.alpha_per_target and Y.shape[1] > 1
        brief = self.scoring is None and not self.store_cv_results
        errors, residuals = left.errors(alphas, brief)
        weight = None if brief else rows.all_weights()
        if self.scoring is None:
            kept = residuals**2 if weight is None else residuals**2 * weight[:, None]
            scores = -errors if per else -errors.mean(1, keepdims=True)
        else:
            kept = Y - residuals
            if score is None:
                score = {} if weight is None else {"sample_weight": weight}
            scores = self._scored(kept, Y, score)
        if not np.isfinite(scores).any(0).all():
            raise ValueError(
                f"{owner}: alphas must leave a prediction for rows left out, got none that does "
                f"for n_samples = {len(Y)} (raise alphas, or pass more rows)"
            )
        best = np.where(np.isfinite(scores), scores, -np.inf).argmax(0)
        chosen = alphas[best]
        coef = np.empty((Y.shape[1], rows.n_features))
        for a in np.unique(best):
            those = best == a if per else slice(None)
            coef[those] = left.coefficients(float(alphas[a]))[those]
        self._set_model(coef, left.x_mean, left.y_mean, rows, y.ndim == 1)
        self.alpha_ = chosen if per else float(chosen[0])
        top = scores[best, np.arange(len(best))]
        self.best_score_ = top if per else float(top[0])
        if self.store_cv_results:
            table = np.moveaxis(kept, 0, -1)
            self.cv_results_ = table[:, 0] if y.ndim == 1 else table
        return self

    def _scored(self, predictions: np.ndarray, Y: np.ndarray, options: dict) -> np.ndarray:
        scorer = check_scoring(_Identity(), scoring=self.scoring, allow_none=False)

        def score(p: np.ndarray, t: np.ndarray) -> float:
            return float(scorer(_Identity(), p, t, **options))

        if self.alpha_per_target and Y.shape[1] > 1:
            several = range(Y.shape[1])
            return np.array([[score(p[:, j], Y[:, j]) for j in several] for p in predictions])
        if Y.shape[1] == 1:
            return np.array([[score(p[:, 0], Y[:, 0])] for p in predictions])
        return np.array([[score(p, Y)] for p in predictions])

    def _searched(self, rows: Rows, y: Any, alphas: np.ndarray, params: dict) -> Any:
        if rows.is_stream:
            raise TypeError(f"{rows.owner}: X must be in memory where cv is given, got a stream")
        if self.store_cv_results or self.alpha_per_target:
            raise ValueError(
                f"{rows.owner}: cv must be None with store_cv_results or alpha_per_target, got "
                f"{self.cv!r} (cv!=None and store_cv_results=True are incompatible)"
            )
        split, score = self._routed("fit", rows.weight, params)
        model = Ridge(fit_intercept=self.fit_intercept)
        self._best(model, alphas, rows, y, self._folds(rows, y, split), score)
        return self


class RidgeClassifierCV(_RidgeSearch, ClassTargets):
    """Ridge classification whose penalty is chosen by leaving one row out, in closed form.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,) or float, default=(0.1, 1.0, 10.0)
        Penalties to choose from.
    scoring : str, callable or None, default=None
        Score of the rows left out; without `cv` the negative mean squared error of the targets 1
        and -1 by default.
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
        Squared errors of the rows left out, times their weights, or their scores where `scoring`
        is given; only with ``store_cv_results``.
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

    _score_name = "accuracy"
    _parameters: ClassVar = {
        "alphas": rule.any_of(rule.array("(n_alphas,)"), rule.real(0)),
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
    def fit(self, X, y, sample_weight=None, **params):
        """Choose the penalty, and fit with it.

        Raises
        ------
        ValueError
            If X, y or alphas do not fit.
        """
        alphas = _penalties(self)
        rows = self._rows(X, sample_weight, reset=True)
        Y, weighted = self._encoded(y, rows)
        if self.cv is not None:
            return self._searched(rows, y, alphas, params)
        score = self._routed("fit", rows.all_weights() if is_routing() else None, params)[1]
        inner = RidgeCV(
            self.alphas, fit_intercept=self.fit_intercept, scoring=self._scorer(y, score),
            store_cv_results=self.store_cv_results,
        ).fit(weighted, Y)  # fmt: skip
        self._set_scores(np.atleast_2d(inner.coef_), inner.intercept_, rows.dtype)
        self.alpha_, self.best_score_ = inner.alpha_, inner.best_score_
        if self.store_cv_results:
            self.cv_results_ = inner.cv_results_
        return self

    def _scorer(self, y: Any, routed: dict | None) -> Any:
        """What scores the rows left out by their labels; None for squared errors."""
        if self.scoring is None:
            return None
        labels = _Labels(self.classes_, self._multilabel)
        scorer = check_scoring(labels, scoring=self.scoring, allow_none=False)
        y = np.asarray(y) if self._multilabel else np.ravel(y)

        def score(model: Any, scores: Any, targets: Any, **options: Any) -> float:
            return float(scorer(labels, scores, y, **(options if routed is None else routed)))

        return score

    def _searched(self, rows: Rows, y: Any, alphas: np.ndarray, params: dict) -> Any:
        if rows.is_stream:
            raise TypeError(f"{rows.owner}: X must be in memory where cv is given, got a stream")
        if self.store_cv_results:
            raise ValueError(
                f"{rows.owner}: cv must be None with store_cv_results, got {self.cv!r} "
                "(cv!=None and store_cv_results=True are incompatible)"
            )
        model = RidgeClassifier(fit_intercept=self.fit_intercept, class_weight=self.class_weight)
        split, score = self._routed("fit", rows.weight, params)
        self._best(model, alphas, rows, y, self._folds(rows, y, split, True), score)
        return self
