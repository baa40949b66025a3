"""Ridge regression, and classification by it; penalties chosen by leaving one row out."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_sample_weight

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._moments import Moments, moments_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count, class_labels
from kernelmill.linear_model import _solve as solve
from kernelmill.linear_model._linear import LinearClassifier
from kernelmill.linear_model._regression import LinearRegressor, fitting_at_once, targets_of
from kernelmill.linear_model._words import WORDS

SOLVERS = ("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs")
# Features whose products fit memory easily: 128 MB.
MOST_PRODUCTS = 4096
_BLOCK_ROWS = 4096
_LEAST_RECIPROCAL = 1e-7  # condition number of penalised products that leaves nine digits


def penalised(moments: Moments, alpha: np.ndarray) -> np.ndarray | None:
    """Coefficients (m, d) for a penalty of each target; None where too many digits are lost."""
    d, m = moments.xy.shape
    coef = np.empty((m, d))
    scale = np.sqrt(np.maximum(np.diag(moments.xx), 0.0))
    for value in np.unique(alpha):
        those = alpha == value
        s = np.sqrt(scale * scale + value)
        s = np.where(s > 0, s, 1.0)
        K = moments.xx / np.multiply.outer(s, s)
        K.flat[:: d + 1] += value / (s * s)
        try:
            factor = scipy.linalg.cho_factor(K, lower=True, check_finite=False)
        except scipy.linalg.LinAlgError:
            return None
        norm = np.abs(K).sum(0).max(initial=0.0)
        reciprocal = scipy.linalg.lapack.dpocon(factor[0], norm, uplo="L")[0] if d else 1.0
        if not reciprocal > _LEAST_RECIPROCAL:
            return None
        right = moments.xy[:, those] / s[:, None]
        coef[those] = (scipy.linalg.cho_solve(factor, right, check_finite=False) / s[:, None]).T
    return coef


def from_triangle(R: np.ndarray, d: int, alpha: np.ndarray) -> np.ndarray:
    """The same from the triangular factor of the rows: no digits are lost to squares."""
    A, B = R[:, :d], R[:, d:]
    coef = np.empty((B.shape[1], d))
    for value in np.unique(alpha):
        those = alpha == value
        stacked = np.vstack([A, np.sqrt(value) * np.eye(d)])
        right = np.vstack([B[:, those], np.zeros((d, int(those.sum())))])
        found = scipy.linalg.lstsq(stacked, right, cond=solve.EPS * d, check_finite=False)[0]
        coef[those] = found.T
    return coef


def _by_rows(
    rows: Rows, Y: np.ndarray, alpha: np.ndarray, centred: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fewer rows than features: the dual, of the size of the rows."""
    X, w = rows.X, rows.weight
    w = np.ones(rows.count) if w is None else w.astype(np.float64)
    share = w / w.sum()
    if centred:
        x_mean, y_mean = np.asarray(X.T @ share).ravel().astype(np.float64), share @ Y
    else:
        x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(Y.shape[1])
    root = np.sqrt(w)
    if is_sparse(X):
        wide = X.astype(np.float64)
        K = (wide @ wide.T).toarray()
        cross = wide @ x_mean
        K += x_mean @ x_mean - cross[:, None] - cross
    else:
        wide = X.astype(np.float64) - x_mean
        K = wide @ wide.T
    K *= np.multiply.outer(root, root)
    right = root[:, None] * (Y - y_mean)
    coef = np.empty((Y.shape[1], X.shape[1]))
    for value in np.unique(alpha):
        those = alpha == value
        L = K.copy()
        L.flat[:: len(L) + 1] += value
        dual = scipy.linalg.solve(L, right[:, those], assume_a="pos") * root[:, None]
        found = np.asarray(wide.T @ dual)
        if is_sparse(X):
            found = found - np.multiply.outer(x_mean, dual.sum(0))
        coef[those] = found.T
    return coef, x_mean, y_mean


def _by_products(
    rows: Rows, Y: np.ndarray, alpha: np.ndarray, centred: bool, tol: float, max_iter: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Too many of both: products with the rows, as many as LSQR needs."""
    X, w = rows.X, rows.weight
    w = np.ones(rows.count) if w is None else w.astype(np.float64)
    share, root = w / w.sum(), np.sqrt(w)
    if centred:
        x_mean, y_mean = np.asarray(X.T @ share).ravel().astype(np.float64), share @ Y
    else:
        x_mean, y_mean = np.zeros(X.shape[1]), np.zeros(Y.shape[1])
    operator = scipy.sparse.linalg.LinearOperator(
        X.shape,
        matvec=lambda b: root * (X @ b - x_mean @ b),
        rmatvec=lambda r: X.T @ (root * r) - x_mean * (root @ r),
        dtype=np.float64,
    )
    coef = [
        scipy.sparse.linalg.lsqr(
            operator, root * (y - mean), damp=float(np.sqrt(a)), atol=tol, btol=tol,
            iter_lim=max_iter,
        )[0]
        for y, mean, a in zip(Y.T, y_mean, alpha, strict=True)
    ]  # fmt: skip
    return np.array(coef), x_mean, y_mean


def ridge(
    rows: Rows, Y: np.ndarray, alpha: np.ndarray, *, centred: bool, positive: bool = False,
    max_iter: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Coefficients (m, d) and means of features and targets, by whatever suits the shape."""
    d = rows.n_features
    if not rows.is_stream and not positive:
        if rows.count < d and rows.count <= MOST_PRODUCTS and (alpha > 0).all():
            rows.check()
            return _by_rows(rows, Y, alpha, centred)
        if d > MOST_PRODUCTS:
            rows.check()
            return _by_products(rows, Y, alpha, centred, 1e-10, max_iter)
    moments = moments_of(rows, Y, centred=centred)
    coef = None if positive else penalised(moments, alpha)
    if coef is None:
        R = solve.triangular(rows, Y, moments)
        if positive:
            coef = np.empty((Y.shape[1], d))
            for j, a in enumerate(alpha):
                stacked = np.vstack([R[:, :d], np.sqrt(a) * np.eye(d)])
                right = np.concatenate([R[:, d + j], np.zeros(d)])
                coef[j] = scipy.optimize.nnls(stacked, right)[0]
        elif (alpha > 0).all():
            coef = from_triangle(R, d, alpha)
        else:
            still = solve.constant_columns(moments)
            coef = from_triangle(R, d, alpha)
            coef[alpha == 0] = solve.from_factor(R, d, moments.count, still).coef[alpha == 0]
    return coef, moments.x_mean, moments.y_mean


def alphas_of(alpha: Any, m: int, owner: str) -> np.ndarray:
    """A penalty for each target."""
    given = np.asarray(alpha, dtype=np.float64).ravel()
    if len(given) not in (1, m):
        raise ValueError(
            f"{owner}: alpha must be a number or one for each target, got {len(given)} for {m} "
            "targets (Number of targets and number of penalties do not correspond)"
        )
    return np.broadcast_to(given, (m,))


_ALPHA = rule.any_of(
    rule.real(0),
    rule.Rule(
        lambda v: (
            not isinstance(v, str | numbers.Number)
            and np.size(v) > 0
            and np.asarray(v).dtype.kind in "iuf"
            and bool((np.asarray(v) >= 0).all())
        ),
        "an array of such numbers",
    ),
)
_PARAMETERS: dict[str, rule.Rule] = {
    "alpha": _ALPHA,
    "fit_intercept": rule.boolean(),
    "copy_X": rule.boolean(),
    "max_iter": rule.any_of(rule.integer(1), rule.nothing()),
    "tol": rule.real(0),
    "solver": rule.one_of(*SOLVERS),
    "positive": rule.boolean(),
    "random_state": rule.RANDOM_STATE,
}


class Ridge(MultiOutputMixin, LinearRegressor):
    """Least squares with a penalty of the squares of the coefficients.

    Minimises ``sum w (y - coef.x - intercept)^2 + alpha |coef|^2``.

    Parameters
    ----------
    alpha : float or array-like of shape (n_outputs,), default=1.0
        Strength of the penalty, or one for each output.
    max_iter : int or None, default=None
        Most iterations where there are more features and rows than products can be kept of.
    tol : float, default=1e-4
        Ignored: the coefficients are exact.
    solver : {"auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"}, \
default="auto"
        Ignored: how the coefficients are found is chosen by the shape of X.

    Attributes
    ----------
    coef_, intercept_
    n_iter_ : int
        1; present for API compatibility.
    solver_ : str
        ``"cholesky"``, of the products of features, or of rows where there are fewer of them.
    n_features_in_, feature_names_in_

    See Also
    --------
    RidgeCV : Chooses the penalty.
    LinearRegression : Without a penalty.
    BayesianRidge : Learns the penalty from the evidence, and gives a band.

    Notes
    -----
    One pass gives the second moments of rows and targets about their means, in float64; see
    `LinearRegression`. With a penalty of 0 it is least squares.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import Ridge
    >>> X, y = np.arange(1.0, 6.0)[:, None], 2 * np.arange(1.0, 6.0)
    >>> model = Ridge(alpha=1.0).fit(X, y)
    >>> model.coef_.round(6).tolist(), round(model.intercept_, 6)
    ([1.818182], 0.545455)
    >>> model.predict([[6.0]]).round(4).tolist()
    [11.4545]
    """

    _words = WORDS
    _parameters: ClassVar = _PARAMETERS

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, copy_X=True, max_iter=None, tol=1e-4,
        solver="auto", positive=False, random_state=None,
    ):  # fmt: skip
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Find the coefficients.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        y = targets_of(y, rows)
        Y = y.reshape(len(y), -1)
        alpha = alphas_of(self.alpha, Y.shape[1], rows.owner)
        coef, x_mean, y_mean = ridge(
            rows, Y, alpha, centred=self.fit_intercept, positive=self.positive,
            max_iter=self.max_iter,
        )  # fmt: skip
        self._set_model(coef, x_mean, y_mean, rows, y.ndim == 1)
        self.n_iter_, self.solver_ = 1, "cholesky"
        return self


class _ClassTargets(ClassifierMixin, LinearClassifier):
    """Targets 1 and -1 for classes, and what is made of the scores."""

    class_weight: Any
    _squares: ClassVar = np.float64

    def _encoded(self, y: Any, rows: Rows, sample_weight: Any) -> tuple[np.ndarray, Any]:
        """Targets (n, k), and weights with those of the classes."""
        y = class_labels(y, rows.owner)
        if not rows.is_stream:
            check_count(y, rows.count, rows.owner)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{rows.owner}: y must hold at least 2 classes, got 1 class (the number of classes "
                "has to be greater than one)"
            )
        own = y[:, None] == (self.classes_[1:] if len(self.classes_) == 2 else self.classes_)
        weight = None
        if self.class_weight is not None:
            weight = compute_sample_weight(self.class_weight, y)
        return np.where(own, 1.0, -1.0), weight


class RidgeClassifier(_ClassTargets):
    """Classification by ridge regression of targets 1, for the own class, and -1.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty.
    max_iter : int or None, default=None
        As in `Ridge`.
    tol : float, default=1e-4
        Ignored: the coefficients are exact.
    solver : {"auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"}, \
default="auto"
        Ignored: how the coefficients are found is chosen by the shape of X.

    Attributes
    ----------
    coef_ : ndarray of shape (1, d) or (n_classes, d), dtype of X
        Coefficients.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    classes_
    n_iter_ : int
        1; present for API compatibility.
    solver_ : str
        As in `Ridge`.
    n_features_in_, feature_names_in_

    See Also
    --------
    Ridge : The regression.
    LogisticRegression : Gives probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import RidgeClassifier
    >>> X = np.array([[2.0, 1.0], [1.0, 3.0], [-1.0, -2.0], [-2.0, 1.0]])
    >>> model = RidgeClassifier().fit(X, ["right", "right", "left", "left"])
    >>> model.predict([[3.0, 2.0], [-3.0, 0.0]]).tolist(), model.decision_function(X).shape
    (['right', 'left'], (4,))
    """

    _words = WORDS
    _parameters: ClassVar = {
        **_PARAMETERS,
        "class_weight": rule.any_of(
            rule.one_of("balanced", None), rule.Rule(lambda v: isinstance(v, dict), "a dict")
        ),
    }

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, copy_X=True, max_iter=None, tol=1e-4,
        class_weight=None, solver="auto", positive=False, random_state=None,
    ):  # fmt: skip
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.class_weight = class_weight
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Find the coefficients.

        Parameters
        ----------
        y : array-like of shape (n,)
            Class labels, numbers or strings, in memory even if X is a stream.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        Y, weight = self._encoded(y, rows, sample_weight)
        if weight is not None:
            rows = rows.weighted(weight)
        alpha = alphas_of(self.alpha, Y.shape[1], rows.owner)
        coef, x_mean, y_mean = ridge(
            rows, Y, alpha, centred=self.fit_intercept, positive=self.positive,
            max_iter=self.max_iter,
        )  # fmt: skip
        self.coef_ = np.ascontiguousarray(coef, dtype=rows.dtype)
        self.intercept_ = np.zeros(len(coef))
        if self.fit_intercept:
            self.intercept_ = y_mean - self.coef_.astype(np.float64) @ x_mean
        self.n_iter_, self.solver_ = 1, "cholesky"
        return self


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

    def residuals(self, alphas: np.ndarray) -> np.ndarray:
        """(n_alphas, n, m) in the order of the rows."""
        found = np.empty((len(alphas), len(self.Y), self.Y.shape[1]))
        inverse = np.array([1 / self._shrunk(a) for a in alphas])  # (a, d)
        start = 0
        for chunk in self.rows.chunks():
            for i in range(0, chunk.count, _BLOCK_ROWS):
                X = chunk.X[i : i + _BLOCK_ROWS]
                X = X.toarray() if is_sparse(X) else X
                at = slice(start + i, start + i + len(X))
                z = (X.astype(np.float64) - self.moments.x_mean) @ self.vectors
                w = 1.0 if chunk.weight is None else chunk.weight[i : i + len(X)].astype("f8")
                leverage = (z * z) @ inverse.T
                if self.centred:
                    leverage += 1 / self.moments.weight
                kept = 1 - w * leverage.T  # (a, rows)
                centred = self.Y[at] - self.moments.y_mean
                for a, factors in enumerate(inverse):
                    fitted = z @ (factors[:, None] * self.right)
                    with np.errstate(divide="ignore", invalid="ignore"):
                        found[a, at] = (centred - fitted) / kept[a][:, None]
            start += chunk.count
        return found


class _Identity(BaseEstimator):
    """An estimator whose predictions are its rows, for scorers."""

    def __init__(self, classes: Any = None) -> None:
        self.classes = classes

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
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.scoring = scoring
        self.cv = cv
        self.gcv_mode = gcv_mode
        self.store_cv_results = store_cv_results
        self.alpha_per_target = alpha_per_target

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
        y = targets_of(y, rows)
        Y = y.reshape(len(y), -1)
        if self.cv is not None:
            rows.check()
            return self._searched(X, y, sample_weight, rows, alphas)
        if self.alpha_per_target and y.ndim == 1:
            raise ValueError(f"{owner}: alpha_per_target=True needs several outputs, got one")
        left = LeftOut(rows, Y, self.fit_intercept)
        residuals = left.residuals(alphas)
        weight = rows.all_weights()
        if self.scoring is None:
            errors = residuals**2
            per_output = -np.average(errors, axis=1, weights=weight)  # (a, m)
            kept = errors
            scores = per_output if self.alpha_per_target else per_output.mean(1, keepdims=True)
        else:
            kept = Y - residuals
            scores = self._scored(kept, Y, weight)
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
