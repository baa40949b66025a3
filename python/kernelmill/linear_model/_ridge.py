"""Ridge regression, and classification by it."""

from __future__ import annotations

import functools
import numbers
import warnings
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.linalg
from sklearn.base import ClassifierMixin, MultiOutputMixin

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting_at_once
from kernelmill._estimator._moments import Moments, moments_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import (
    check_count,
    class_labels,
    targets_of,
    weights_by_class,
)
from kernelmill.linear_model import _solve as solve
from kernelmill.linear_model._linear import LinearClassifier
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import CLASSES, WORDS

SOLVERS = ("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs")
# Features whose products fit memory easily: 128 MB.
MOST_PRODUCTS = 4096
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


class Dual:
    """The problem of fewer rows than features, of the size of the rows.

    With A the centred rows, each times the root r of its weight, and t the centred targets times r,
    the coefficients are ``A' (A A' + alpha I)^-1 t``. Centred rows leave the direction r without
    products; it is given some, which changes nothing since ``r't = 0``.
    """

    def __init__(self, rows: Rows, Y: np.ndarray, centred: bool) -> None:
        X, w = rows.X, rows.weight
        w = np.ones(rows.count) if w is None else w.astype(np.float64)
        share = w / w.sum()
        if centred:
            self.x_mean = np.asarray(X.T @ share).ravel().astype(np.float64)
            self.y_mean = share @ Y
        else:
            self.x_mean, self.y_mean = np.zeros(X.shape[1]), np.zeros(Y.shape[1])
        self.root, self.centred = np.sqrt(w), centred
        if is_sparse(X):
            self.wide = X.astype(np.float64)
            K = (self.wide @ self.wide.T).toarray()
            cross = self.wide @ self.x_mean
            K += self.x_mean @ self.x_mean - cross[:, None] - cross
        else:
            self.wide = X.astype(np.float64) - self.x_mean
            K = self.wide @ self.wide.T
        K *= np.multiply.outer(self.root, self.root)
        if centred:
            unit = self.root / np.sqrt(w.sum())
            self.filled = 2.0 * (np.trace(K) or 1.0)  # above every other eigenvalue
            K += self.filled * np.multiply.outer(unit, unit)
        self.K, self.right = K, self.root[:, None] * (Y - self.y_mean)

    @functools.cached_property
    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, exactly 0 where they are within rounding, and vectors.

        The last one is the intercept's direction where rows are centred.
        """
        values, vectors = scipy.linalg.eigh(self.K, check_finite=False)
        top = values[-2] if self.centred and len(values) > 1 else values[-1]
        return np.where(values > solve.EPS * len(values) * top, values, 0.0), vectors

    def dual(self, alpha: float) -> np.ndarray:
        """``(A A' + alpha I)^-1 t`` (n, m); of a singular matrix the least solution."""
        L = self.K.copy()
        L.flat[:: len(L) + 1] += alpha
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
                return scipy.linalg.solve(L, self.right, assume_a="pos", check_finite=False)
        except (scipy.linalg.LinAlgError, scipy.linalg.LinAlgWarning):
            return self.spectral(alpha)

    def spectral(self, alpha: float) -> np.ndarray:
        """The same by eigenvectors; rows that say nothing new have no part."""
        values, vectors = self.eigen
        inverse = np.where(values > 0, 1 / np.where(values > 0, values + alpha, 1.0), 0.0)
        return (vectors * inverse) @ (vectors.T @ self.right)

    def coef(self, dual: np.ndarray) -> np.ndarray:
        """Coefficients (m, d) for a solution (n, m)."""
        dual = dual * self.root[:, None]
        found = np.asarray(self.wide.T @ dual)
        if is_sparse(self.wide):
            found = found - np.multiply.outer(self.x_mean, dual.sum(0))
        return found.T


def _by_rows(
    rows: Rows, Y: np.ndarray, alpha: np.ndarray, centred: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fewer rows than features: the dual, of the size of the rows."""
    made = Dual(rows, Y, centred)
    coef = np.empty((Y.shape[1], rows.n_features))
    for value in np.unique(alpha):
        those = alpha == value
        coef[those] = made.coef(made.dual(float(value)))[those]
    return coef, made.x_mean, made.y_mean


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
    >>> model.coef_.round(6).tolist(), round(float(model.intercept_), 6)
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
        self._set_parameters(locals())

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


_CLASSES = CLASSES.extended(
    arguments={
        "fit.y": ("array-like of shape (n,) or (n, n_labels)", "Class labels, numbers or strings, "
            "or 0 and 1 for each label where several may hold; in memory even if X is a stream."),
    },
    attributes={
        "coef_": ("ndarray of shape (d,), (n_classes, d) or (n_labels, d), dtype of X",
            "Coefficients, a vector for two classes."),
        "intercept_": ("ndarray of shape (1,), (n_classes,) or (n_labels,), or float",
            "Intercepts, 0.0 where none is learnt."),
        "classes_": ("ndarray of shape (n_classes,) or (n_labels,)", "Labels of the classes, or "
            "numbers of the labels."),
    },
)


class ClassTargets(ClassifierMixin, LinearClassifier):
    """Targets 1 and -1 for classes, and what is made of the scores."""

    class_weight: Any
    fit_intercept: Any
    _multilabel = False
    _words = _CLASSES
    _squares: ClassVar = np.float64

    def _encoded(self, y: Any, rows: Rows) -> tuple[np.ndarray, Rows]:
        """Targets (n, k), and the rows with the weights of the classes."""
        y = class_labels(y, rows.owner, multilabel=True)
        if not rows.is_stream:
            check_count(y, rows.count, rows.owner)
        self._multilabel = y.ndim == 2
        if self._multilabel:
            self.classes_, own = np.arange(y.shape[1]), y > 0
        else:
            self.classes_ = np.unique(y)
            # The second class of two, none of one, which all rows are given then.
            shown = self.classes_ if len(self.classes_) > 2 else self.classes_[:2][-1:]
            own = (y[:, None] == shown) & (len(self.classes_) > 1)
        if self.class_weight is not None:
            weights = rows.all_weights()
            weights = None if self._multilabel else weights
            rows = rows.weighted(weights_by_class(self.class_weight, y, rows.owner, weights))
        return np.where(own, 1.0, -1.0), rows

    def _set_scores(self, coef: np.ndarray, intercept: Any, dtype: Any) -> None:
        """Set coefficients (k, d), a vector for two classes, in the dtype of the rows."""
        coef = np.ascontiguousarray(coef, dtype=dtype)
        self.coef_ = coef[0] if len(coef) == 1 else coef
        self.intercept_ = intercept if self.fit_intercept else 0.0

    def predict(self, X):
        """The class with the highest score, or all labels whose scores are positive.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_labels)
            Classes; 0 and 1 for each label where several may hold.
        """
        if self._multilabel:
            return (self._scores(X) > 0).astype(np.int64)
        return super().predict(X)


class RidgeClassifier(ClassTargets):
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
    coef_, intercept_, classes_
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

    _parameters: ClassVar = {**_PARAMETERS, "class_weight": rule.CLASS_WEIGHT}

    def __init__(
        self, alpha=1.0, *, fit_intercept=True, copy_X=True, max_iter=None, tol=1e-4,
        class_weight=None, solver="auto", positive=False, random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Find the coefficients.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True, deferred=True)
        Y, rows = self._encoded(y, rows)
        alpha = alphas_of(self.alpha, Y.shape[1], rows.owner)
        coef, x_mean, y_mean = ridge(
            rows, Y, alpha, centred=self.fit_intercept, positive=self.positive,
            max_iter=self.max_iter,
        )  # fmt: skip
        shown = coef.astype(rows.dtype).astype(np.float64)
        self._set_scores(coef, y_mean - shown @ x_mean, rows.dtype)
        self.n_iter_, self.solver_ = 1, "cholesky"
        return self
