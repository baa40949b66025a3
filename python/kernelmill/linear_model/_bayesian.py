"""Bayesian linear regression: precisions from the evidence, and the conjugate posterior."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats
from scipy.linalg import lapack
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, fitting_at_once
from kernelmill._estimator._moments import Moments, _about_means, moments_of
from kernelmill._estimator._random import generator, seed_of
from kernelmill.linear_model._coordinate import of_moments
from kernelmill.linear_model._generalised import vector
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import IGNORED, ONE_TARGET

_EPS = float(np.finfo(np.float64).eps)
_PRIORS = {name: rule.real(0) for name in ("alpha_1", "alpha_2", "lambda_1", "lambda_2")}
_HALF_LOG = 0.5 * math.log(2 * math.pi)
_WORDS = ONE_TARGET.extended(
    parameters={
        "tol": ("float", "The sum of the changes of the coefficients, as a share of the sum of "
            "their sizes where that is below one, that ends the fit."),
        "alpha_1": ("float", "Shape of the prior of alpha."),
        "alpha_2": ("float", "Rate of the prior of alpha."),
        "lambda_1": ("float", "Shape of the prior of lambda."),
        "lambda_2": ("float", "Rate of the prior of lambda."),
        "verbose": ("bool", IGNORED),
    },
    attributes={
        "coef_": ("ndarray of shape (d,), dtype of X", "Means of the coefficients."),
        "X_offset_": ("ndarray of shape (d,)", "Means of the features."),
        "X_scale_": ("ndarray of shape (d,)", "Ones; present for API compatibility."),
    },
)


def spreads(X: Any, mean: np.ndarray, covariance: np.ndarray, columns: Any = None) -> np.ndarray:
    """``(x - mean)' covariance (x - mean)`` of each row, over some columns."""
    found = np.empty(X.shape[0])
    for i in range(0, X.shape[0], 4096):
        z = X[i : i + 4096]
        z = (z.toarray() if is_sparse(z) else z).astype(np.float64) - mean
        z = z if columns is None else z[:, columns]
        found[i : i + 4096] = np.maximum(((z @ covariance) * z).sum(1), 0)
    return found


def cleaned(moments: Moments) -> tuple[np.ndarray, np.ndarray, float]:
    """Products of features, with the target, and of the target; what only rounds is zero."""
    made = of_moments(moments)
    return made.G, made.Q[:, 0], made.square


_LEAST = 4 * float(np.finfo(np.float64).tiny)  # its inverse is finite
_FLAT = 1e-300  # error of targets that are all zeros: its inverse may be multiplied
_SWAMPED = 1e-20  # of alpha_2: a variance of which nothing is left beside the prior
_LARGE = 1e8  # variance from which the first precisions of the coefficients follow the units of y


def first_precision(variance: float) -> float:
    """One as in scikit-learn, or less where y is large: else no coefficient would leave zero."""
    return min(1.0, _LARGE / variance) if variance > 0 else 1.0


class _EvidenceRegressor(LinearRegressor):
    """Base of the models with a precision of the noise and one, or several, of the coefficients."""

    _words = _WORDS

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Learn the precisions and the posterior of the coefficients.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        rows = self._rows(X, sample_weight, reset=True)
        y = vector(y, rows, vanishing=True)
        moments = moments_of(rows, y[:, None], centred=self.fit_intercept)
        weights = rows.all_weights()
        variance = float(np.average((y - np.average(y, weights=weights)) ** 2, weights=weights))
        # Of equal targets the variance is that of their rounding.
        rounded = variance <= (1e-12 * float(np.abs(y).max(initial=0.0))) ** 2
        if not rounded and variance < _SWAMPED * self.alpha_2:
            raise ValueError(
                f"{rows.owner}: y must be larger beside the prior alpha_2={self.alpha_2:g}, which "
                f"is in units of y squared, got a variance of {variance:.3g} (scale y, or lower "
                "alpha_2 and lambda_2)"
            )
        coef = self._learnt(moments, variance)
        self.X_offset_, self.X_scale_ = moments.x_mean, np.ones(moments.d)
        self._set_model(coef[None], moments.x_mean, moments.y_mean, rows, True)
        return self

    def _learnt(self, moments: Moments, variance: float) -> np.ndarray:
        """Set what is learnt but the model itself, and return the coefficients (d,).

        `variance` is that of the target, from which the precision of the noise starts.
        """
        raise NotImplementedError

    def predict(self, X, return_std=False):
        """Means of the predictive distribution, and its standard deviations.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        return_std : bool, default=False
            Whether to return the deviations as well.

        Returns
        -------
        y_mean : ndarray of shape (n,), float64
            Means.
        y_std : ndarray of shape (n,), float64
            Deviations of a new value: narrowest at the mean of the rows of ``fit``. Only with
            `return_std`.
        """
        mean = self._linear(X).ravel()
        if not return_std:
            return mean
        rows = self._rows(X, reset=False)
        spread = rows.map(spreads, self.X_offset_, self.sigma_, self._columns())
        return mean, np.sqrt(spread + 1.0 / self.alpha_)

    def _columns(self) -> Any:
        return None


class BayesianRidge(_EvidenceRegressor):
    """Ridge regression whose penalty is learnt from the evidence.

    Coefficients have the prior ``N(0, 1 / lambda)``, noise the precision alpha, and both precisions
    gamma priors; they are moved to what the posterior of the coefficients expects (MacKay, 1992)
    until the coefficients stay.

    Parameters
    ----------
    alpha_init : float or None, default=None
        First alpha; one over the variance of y by default.
    lambda_init : float or None, default=None
        First lambda; by default 1, and 1e8 over the variance of y where that is less.
    compute_score : bool, default=False
        Whether to keep the evidence of each iteration.

    Attributes
    ----------
    coef_, intercept_
    alpha_, lambda_ : float
        Precisions of the noise and of the coefficients.
    sigma_ : ndarray of shape (d, d)
        Covariance of the coefficients.
    scores_ : ndarray of shape (n_iter_ + 1,)
        Logarithms of the evidence, where asked for.
    n_iter_, X_offset_, X_scale_, n_features_in_, feature_names_in_

    See Also
    --------
    ARDRegression : A precision for each coefficient.
    BayesianLinearRegression : The conjugate posterior, updated by more rows.

    Notes
    -----
    One pass gives the products of the features; the iterations are over their eigenvalues. The
    priors `alpha_2` and `lambda_2` are in units of y squared: for y much smaller than one they
    outweigh the data, so scale y, or lower them.

    References
    ----------
    MacKay (1992), "Bayesian interpolation". Tipping (2001), "Sparse Bayesian learning and the
    relevance vector machine".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import BayesianRidge
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> model = BayesianRidge().fit(X, 3 * X[:, 0] + 0.1 * np.sin(np.arange(50)))
    >>> mean, deviation = model.predict([[0.5], [2.0]], return_std=True)
    >>> mean.round(1).tolist(), bool(deviation[0] < deviation[1])
    ([1.5, 6.0], True)
    """

    _parameters: ClassVar = {
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
        **_PRIORS,
        "alpha_init": rule.any_of(rule.real(0), rule.nothing()),
        "lambda_init": rule.any_of(rule.real(0), rule.nothing()),
        "compute_score": rule.boolean(),
        "fit_intercept": rule.boolean(),
        "copy_X": rule.boolean(),
    }

    def __init__(
        self, *, max_iter=300, tol=1e-3, alpha_1=1e-6, alpha_2=1e-6, lambda_1=1e-6, lambda_2=1e-6,
        alpha_init=None, lambda_init=None, compute_score=False, fit_intercept=True, copy_X=True,
        verbose=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _learnt(self, moments: Moments, variance: float) -> np.ndarray:
        G, q, square = cleaned(moments)
        values, V = scipy.linalg.eigh(G, check_finite=False)
        values = np.where(values > values.max(initial=0.0) * len(values) * _EPS, values, 0.0)
        right = np.where(values > 0, V.T @ q, 0.0)
        best = right / np.where(values > 0, values, 1.0)
        left = max(square - float(right @ best), 0.0)
        rounding = max(_EPS**2 * square, _FLAT)
        alpha = 1 / (variance + _EPS) if self.alpha_init is None else float(self.alpha_init)
        given = self.lambda_init
        penalty = first_precision(variance) if given is None else float(given)
        weight, d = moments.weight, moments.d
        scores: list[float] = []
        before = None

        def posterior() -> tuple[np.ndarray, float]:
            found = alpha * right / (penalty + alpha * values)
            return found, left + float((values * (found - best) ** 2).sum())

        def score(found: np.ndarray, error: float) -> float:
            total = self.lambda_1 * math.log(penalty) - self.lambda_2 * penalty
            total += self.alpha_1 * math.log(alpha) - self.alpha_2 * alpha
            return total + 0.5 * (
                d * math.log(penalty) + weight * math.log(alpha) - alpha * error
                - penalty * float(found @ found) - float(np.log(penalty + alpha * values).sum())
                - weight * math.log(2 * math.pi)
            )  # fmt: skip

        self.n_iter_ = 0
        while self.n_iter_ < self.max_iter:
            self.n_iter_ += 1
            found, error = posterior()
            if self.compute_score:
                scores.append(score(found, error))
            known = float((alpha * values / (penalty + alpha * values)).sum())
            size = max(float(found @ found) + 2 * self.lambda_2, d * _LEAST)
            penalty = max(known + 2 * self.lambda_1, _LEAST) / size
            alpha = (weight - known + 2 * self.alpha_1) / max(error + 2 * self.alpha_2, rounding)
            coef = V @ found
            if before is not None:
                size = min(1.0, float(np.abs(coef).sum()))
                if float(np.abs(coef - before).sum()) <= self.tol * size:
                    break
            before = coef
        found, error = posterior()
        if self.compute_score:
            scores.append(score(found, error))
        self.scores_: Any = np.array(scores) if self.compute_score else []
        self.alpha_, self.lambda_ = alpha, penalty
        self.sigma_ = (V / (alpha * values + penalty)) @ V.T
        return V @ found


class ARDRegression(_EvidenceRegressor):
    """Bayesian regression with a precision for each coefficient: most go to infinity.

    Parameters
    ----------
    compute_score : bool, default=False
        Whether to keep the objective of each iteration.
    threshold_lambda : float, default=1e4
        Coefficients with a larger precision become zero.

    Attributes
    ----------
    coef_, intercept_
    alpha_ : float
        Precision of the noise.
    lambda_ : ndarray of shape (d,)
        Precisions of the coefficients.
    sigma_ : ndarray of shape (k, k)
        Covariance of the coefficients that are not zero.
    scores_ : list of float
        Objectives, where asked for.
    n_iter_, X_offset_, X_scale_, n_features_in_, feature_names_in_

    See Also
    --------
    BayesianRidge : One precision for all coefficients.

    Notes
    -----
    The priors `alpha_2` and `lambda_2` are in units of y squared, and `threshold_lambda` in those
    of one over the coefficients squared: for y much smaller than one all coefficients become zero,
    so scale y.

    References
    ----------
    Tipping (2001), "Sparse Bayesian learning and the relevance vector machine".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import ARDRegression
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> model = ARDRegression().fit(X, 2 * X[:, 1] + 0.1 * X[:, 0] ** 2)
    >>> model.coef_.round(1).tolist(), model.predict(X, return_std=True)[1].shape
    ([0.0, 2.0, 0.0, 0.0, 0.0], (100,))
    """

    _parameters: ClassVar = {
        "max_iter": rule.integer(1),
        "tol": rule.real(0),
        **_PRIORS,
        "compute_score": rule.boolean(),
        "threshold_lambda": rule.real(0),
        "fit_intercept": rule.boolean(),
        "copy_X": rule.boolean(),
    }

    def __init__(
        self, *, max_iter=300, tol=1e-3, alpha_1=1e-6, alpha_2=1e-6, lambda_1=1e-6, lambda_2=1e-6,
        compute_score=False, threshold_lambda=1e4, fit_intercept=True, copy_X=True, verbose=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _learnt(self, moments: Moments, variance: float) -> np.ndarray:
        G, q, square = cleaned(moments)
        d, weight = moments.d, moments.weight
        alpha = 1 / (variance + _EPS)
        precisions = np.full(d, first_precision(variance))
        kept = np.ones(d, dtype=bool)
        coef, before = np.zeros(d), None
        scores: list[float] = []

        def posterior() -> tuple[np.ndarray, float]:
            """Covariance of the coefficients kept, and the logarithm of its determinant."""
            root = 1 / np.sqrt(precisions[kept])
            inner = alpha * root[:, None] * (G if kept.all() else G[np.ix_(kept, kept)]) * root
            inner.flat[:: len(root) + 1] += 1.0
            factor, info = lapack.dpotrf(inner, lower=1, clean=0)
            if info:
                raise scipy.linalg.LinAlgError("the products of the features are not positive")
            inverse = lapack.dpotrs(factor, np.diag(root), lower=1)[0]
            log = 2 * float(np.log(root / factor.diagonal()).sum())
            return root[:, None] * inverse, log

        self.n_iter_ = 0
        while self.n_iter_ < self.max_iter:
            self.n_iter_ += 1
            sigma, log = posterior()
            coef = np.zeros(d)
            coef[kept] = (alpha * sigma) @ q[kept]
            error = max(square - 2 * float(coef @ q) + float(coef @ (G @ coef)), 0.0)
            known = 1 - precisions[kept] * sigma.diagonal()
            precisions = precisions.copy()
            size = np.maximum(coef[kept] ** 2 + 2 * self.lambda_2, _LEAST)
            precisions[kept] = np.maximum(known + 2 * self.lambda_1, _LEAST) / size
            alpha = (weight - float(known.sum()) + 2 * self.alpha_1) / max(
                error + 2 * self.alpha_2, max(_EPS**2 * square, _FLAT)
            )
            kept = precisions < self.threshold_lambda
            coef[~kept] = 0
            if self.compute_score:
                s = float((self.lambda_1 * np.log(precisions) - self.lambda_2 * precisions).sum())
                s += self.alpha_1 * math.log(alpha) - self.alpha_2 * alpha
                s += 0.5 * (log + weight * math.log(alpha) + float(np.log(precisions).sum()))
                s -= 0.5 * (alpha * error + float((precisions * coef**2).sum()))
                scores.append(s)
            if before is not None:
                size = min(1.0, float(np.abs(coef).sum()))
                if float(np.abs(coef - before).sum()) <= self.tol * size:
                    break
            before = coef
            if not kept.any():
                break
        if kept.any():
            sigma, _ = posterior()
            coef = np.zeros(d)
            coef[kept] = (alpha * sigma) @ q[kept]
        else:
            sigma = np.zeros((0, 0))
        self.scores_ = scores
        self.alpha_, self.lambda_, self.sigma_ = alpha, precisions, sigma
        return coef

    def _columns(self) -> Any:
        return np.flatnonzero(self.lambda_ < self.threshold_lambda)


class BayesianLinearRegression(LinearRegressor):
    """Linear regression with the conjugate prior: a posterior in closed form, updated by more rows.

    With noise ``N(0, v)``, coefficients ``N(0, v / alpha)`` and ``1 / v`` of the gamma distribution
    with `shape` and `rate`, the posterior is of the same form, and a new value has Student's
    distribution. The intercept has a flat prior.

    Parameters
    ----------
    alpha : float, default=1.0
        Precision of the prior of the coefficients, in units of that of the noise; as in `Ridge`.
    shape : float, default=1e-3
        Shape of the prior of the precision of the noise; twice the shape counts as rows.
    rate : float, default=1e-3
        Its rate; rate over shape is a guess of the variance of the noise.

    Attributes
    ----------
    coef_, intercept_
    covariance_ : ndarray of shape (d, d)
        Covariance of the coefficients; infinite for one row or two.
    noise_variance_ : float
        Mean of the variance of the noise; infinite for one row or two.
    shape_, rate_ : float
        Of the posterior of the precision of the noise.
    log_evidence_ : float
        Logarithm of the density of y that the prior gives; with the flat prior of the intercept up
        to a constant of its own.
    n_samples_seen_ : int
        Number of rows.
    n_features_in_, feature_names_in_

    See Also
    --------
    BayesianRidge : Learns alpha.

    Notes
    -----
    ``partial_fit`` adds the moments of more rows: the posterior is that of all rows at once.

    References
    ----------
    Bishop (2006), "Pattern Recognition and Machine Learning", 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import BayesianLinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = X @ [1.0, -2.0] + 3.0 + 0.1 * rng.normal(size=200)
    >>> model = BayesianLinearRegression().fit(X[:100], y[:100]).partial_fit(X[100:], y[100:])
    >>> model.coef_.round(1).tolist(), round(float(model.intercept_), 1), model.n_samples_seen_
    ([1.0, -2.0], 3.0, 200)
    >>> mean, deviation = model.predict([[0.0, 0.0]], return_std=True)
    >>> low, high = model.predict_quantiles([[0.0, 0.0]], [0.05, 0.95])[0]
    >>> bool(low < mean[0] < high), model.sample_posterior(5, random_state=0)[0].shape
    (True, (5, 2))
    """

    n_samples_seen_: int
    _origin: np.ndarray
    _total: np.ndarray
    _words = _WORDS
    _parameters: ClassVar = {
        "alpha": rule.real(0, above=True),
        "shape": rule.real(0, above=True),
        "rate": rule.real(0, above=True),
        "fit_intercept": rule.boolean(),
    }

    def __init__(self, *, alpha=1.0, shape=1e-3, rate=1e-3, fit_intercept=True):
        self._set_parameters(locals())

    @fitting_at_once
    def fit(self, X, y, sample_weight=None):
        """Find the posterior.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        return self._learn(X, y, sample_weight, reset=True)

    @fitting
    def partial_fit(self, X, y, sample_weight=None):
        """Update the posterior by more rows.

        Raises
        ------
        ValueError
            If X or y do not fit.
        """
        return self._learn(X, y, sample_weight, reset=not hasattr(self, "coef_"))

    def _learn(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> Any:
        rows = self._rows(X, sample_weight, reset=reset, once=True)
        y = vector(y, rows, vanishing=True)
        origin = None if reset else self._origin
        moments = moments_of(rows, y[:, None], centred=self.fit_intercept, origin=origin)
        total, count = moments.total, moments.count
        if not reset:
            total, count = total + self._total, count + self.n_samples_seen_
        d = moments.d
        if self.fit_intercept:
            moments = _about_means(total, moments.origin, count, d)
        else:
            moments = Moments(
                count, float(total[-1, -1]), np.zeros(d + 1), total[:-1, :-1], d, total,
                moments.origin,
            )  # fmt: skip
        G, q, square = cleaned(moments)
        factor = scipy.linalg.cholesky(G + self.alpha * np.eye(d), lower=True, check_finite=False)
        coef = scipy.linalg.cho_solve((factor, True), q, check_finite=False)
        free = moments.weight - (1 if self.fit_intercept else 0)
        half = 0.5 * max(square - float(q @ coef), 0.0)
        self.shape_, self.rate_ = self.shape + free / 2, self.rate + half
        self._factor_, self._mean, self._weight = factor, moments.x_mean, moments.weight
        self._total, self._origin, self.n_samples_seen_ = total, moments.origin, count
        inverse = scipy.linalg.cho_solve((factor, True), np.eye(d), check_finite=False)
        self.noise_variance_ = self.rate_ / (self.shape_ - 1) if self.shape_ > 1 else math.inf
        known = math.isfinite(self.noise_variance_)
        inverse = self.noise_variance_ * inverse if known else np.full_like(inverse, np.inf)
        self.covariance_ = inverse
        log = 0.5 * d * math.log(self.alpha) - float(np.log(np.diag(factor)).sum())
        log += self.shape * math.log(self.rate) - self.shape_ * math.log(self.rate_)
        log += float(scipy.special.gammaln(self.shape_) - scipy.special.gammaln(self.shape))
        log -= free * _HALF_LOG
        if self.fit_intercept:
            log -= 0.5 * math.log(moments.weight)
        self.log_evidence_ = log
        self._set_model(coef[None], moments.x_mean, moments.y_mean, rows, True)
        return self

    def _scale(self, X: Any) -> np.ndarray:
        """Scales of Student's distributions of new values at rows."""
        inverse = scipy.linalg.cho_solve((self._factor_, True), np.eye(len(self._mean)))
        spread = self._rows(X, reset=False).map(spreads, self._mean, inverse)
        spread = spread + (1 + (1 / self._weight if self.fit_intercept else 0.0))
        return np.sqrt(spread * self.rate_ / self.shape_)

    def predict(self, X, return_std=False):
        """Means of the predictive distribution, and its standard deviations.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        return_std : bool, default=False
            Whether to return the deviations as well.

        Returns
        -------
        y_mean : ndarray of shape (n,), float64
            Means.
        y_std : ndarray of shape (n,), float64
            Deviations of a new value, only with `return_std`; infinite for one row or two, whose
            distribution has none.
        """
        mean = self._linear(X).ravel()
        if not return_std:
            return mean
        free = 2 * self.shape_
        scale = self._scale(X)
        factor = math.sqrt(free / (free - 2)) if free > 2 else math.inf
        return mean, scale * factor

    def predict_quantiles(self, X, quantiles):
        """Quantiles of the predictive distribution.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        quantiles : array-like of shape (k,)
            Shares between 0 and 1.

        Returns
        -------
        values : ndarray of shape (n, k), float64
            Quantiles of new values.

        Raises
        ------
        ValueError
            If a share is not between 0 and 1.
        """
        mean = self._linear(X).ravel()
        levels = np.asarray(quantiles)
        numbers = levels.ndim <= 1 and levels.dtype.kind in "iuf"
        if not (numbers and ((levels >= 0) & (levels <= 1)).all()):
            raise ValueError(
                f"{type(self).__name__}: quantiles must be numbers from 0 to 1, got "
                f"{rule.shown(quantiles)}"
            )
        steps = scipy.stats.t.ppf(levels.astype(np.float64), 2 * self.shape_)
        return mean[:, None] + self._scale(X)[:, None] * steps

    def sample_posterior(self, n_samples=1, random_state=None):
        """Draw coefficients, intercepts and variances of the noise from the posterior.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState, Generator or None, default=None
            Seed or generator.

        Returns
        -------
        coef : ndarray of shape (n_samples, d), float64
            Coefficients.
        intercept : ndarray of shape (n_samples,), float64
            Intercepts.
        variance : ndarray of shape (n_samples,), float64
            Variances of the noise.

        Raises
        ------
        ValueError
            If n_samples is no whole number of at least 1.
        """
        check_is_fitted(self)
        rule.check_whole(n_samples, "n_samples", type(self).__name__, least=1)
        draws = generator(seed_of(random_state), 0)
        variance = self.rate_ / draws.gamma(self.shape_, size=n_samples)
        z = draws.standard_normal((len(self._mean), n_samples)) * np.sqrt(variance)
        steps = scipy.linalg.solve_triangular(self._factor_, z, lower=True, trans="T").T
        coef = np.asarray(self.coef_, dtype=np.float64) + steps
        intercept = np.full(n_samples, float(self.intercept_)) - steps @ self._mean
        if self.fit_intercept:
            noise = draws.standard_normal(n_samples) * np.sqrt(variance / self._weight)
            intercept = intercept + noise
        else:
            intercept = np.zeros(n_samples)
        return coef, intercept, variance
