"""Generalised linear models of counts and of positive numbers, and the log-cosh regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import d2_tweedie_score

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import as_vector, targets_of
from kernelmill.linear_model._logistic import minimised, warn_steps
from kernelmill.linear_model._newton import Objective, Point
from kernelmill.linear_model._regression import LinearRegressor
from kernelmill.linear_model._words import ONE_TARGET

PARAMETERS: dict[str, rule.Rule] = {
    "alpha": rule.real(0),
    "fit_intercept": rule.boolean(),
    "solver": rule.one_of("lbfgs", "newton-cholesky"),
    "max_iter": rule.integer(1),
    "tol": rule.real(0, above=True),
    "warm_start": rule.boolean(),
    "verbose": rule.VERBOSE,
}


def _median(y: np.ndarray, weights: Any) -> float:
    """The lower weighted median."""
    order = np.argsort(y, kind="stable")
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)[order]
    total = np.cumsum(w)
    return float(y[order[np.searchsorted(total, 0.5 * total[-1])]])


def vector(
    y: Any, rows: Rows, squared: bool = True, vanishing: bool = False
) -> np.ndarray:  # fmt: skip
    """Targets (n,)."""
    return as_vector(targets_of(y, rows, squared, vanishing), rows.owner)


class GeneralisedRegressor(LinearRegressor):
    """Minimises ``sum w l(y, coef.x + intercept) / W + alpha / 2 |coef|^2``."""

    _words = ONE_TARGET
    _squares_targets: ClassVar[bool] = True

    def _loss(self, y: np.ndarray, mean: float, weights: Any) -> tuple[str, float, float, float]:
        """Name and parameter of the loss, its unit, and the predictor that gives the mean."""
        raise NotImplementedError

    def _factor(self) -> float:
        """What targets and predictors are divided by in the loss."""
        return 1.0

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Find the coefficients.

        Raises
        ------
        ValueError
            If X or y do not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` steps were not enough.
        """
        before = getattr(self, "coef_", None) if self.warm_start else None
        rows = self._rows(X, sample_weight, reset=True)
        factor = self._factor()
        y = vector(y, rows, self._squares_targets) / factor
        weights = rows.all_weights()
        mean = float(np.average(y, weights=weights))
        name, parameter, unit, start = self._loss(y, mean, weights)
        total = float(rows.count if weights is None else weights.sum(dtype=np.float64))
        objective = Objective(
            rows, y, name, l2=self.alpha * total, intercept=self.fit_intercept,
            parameter=parameter, unit=unit,
        )  # fmt: skip
        if before is not None and np.shape(before) == (objective.d,):
            given = np.asarray(before, dtype=np.float64)[None] / factor
            at = objective.start(given, np.array([float(self.intercept_) / factor]))
        else:
            at = objective.start(None, np.array([start]) if self.fit_intercept else None)

        def attributes(point: Point, n_iter: int) -> dict[str, Any]:
            intercept = objective.intercepts(point)[0] * factor
            return {
                "coef_": np.ascontiguousarray(point.coef[0] * factor, dtype=rows.dtype),
                "intercept_": intercept if self.fit_intercept else 0.0,
                "n_iter_": n_iter,
            }

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        with Progress(
            self, getattr(self, "verbose", 0), iterations=self.max_iter, X=X, y=y,
            metadata=metadata,
        ) as progress:  # fmt: skip
            at, taken, converged = minimised(
                objective, at, self.tol, self.max_iter, progress, attributes
            )
        if not converged and taken >= self.max_iter:
            warn_steps(rows.owner, self.max_iter)
        self.__dict__.update(attributes(at, taken))
        return self


class TweedieModel(GeneralisedRegressor):
    """Base of the models with a Tweedie deviance."""

    def _power(self) -> float:
        raise NotImplementedError

    def _exponential(self) -> bool:
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self._power() >= 1
        return tags

    def _check_range(self, y: np.ndarray) -> None:
        power, owner = self._power(), type(self).__name__
        bad = (y <= 0).any() if power >= 2 else (y < 0).any() if power >= 1 else False
        if bad:
            least = "above 0" if power >= 2 else "of at least 0"
            raise ValueError(
                f"{owner}: y must be numbers {least}, got {y.min():g} (some value(s) of y are out "
                "of the valid range of the loss)"
            )

    def _loss(self, y: np.ndarray, mean: float, weights: Any) -> tuple[str, float, float, float]:
        self._check_range(y)
        power = self._power()
        if not self._exponential():
            return "squared_error", 0.0, max(float(np.var(y)), 1e-300), mean
        if power in (1, 2):
            name = "poisson" if power == 1 else "gamma"
            if not mean > 0:
                raise ValueError(
                    f"{type(self).__name__}: y must not be all zeros, got only zeros (there is no "
                    "finite optimum)"
                )
            return name, 0.0, mean if power == 1 else 1.0, float(np.log(mean))
        start = max(mean, 1e-300) if mean > 0 else 1.0
        return "tweedie", power, start ** (2 - power), float(np.log(start))

    def predict(self, X):
        """Predicted means.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.

        Returns
        -------
        y : ndarray of shape (n,), float64
            Means: the exponential of ``coef_ x + intercept_`` where the link is the logarithm.
        """
        found = self._linear(X).ravel()
        return np.exp(found) if self._exponential() else found

    def score(self, X, y, sample_weight=None):
        """Share of the deviance explained.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n, d), or a stream
            Rows.
        y : array-like of shape (n,)
            Numbers.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        score : float
            D2: 1 minus the deviance over that of the mean.
        """
        self._check_range(np.asarray(y, dtype=np.float64))
        power = self._power()
        return float(
            d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=power)
        )


_NOTES = """Steps are Newton's, of value, gradient and Hessian in one pass over the rows, up to
    1200 features, and those of L-BFGS beyond; see `LogisticRegression`. Columns may have any scale:
    a step that overflows is halved. Scikit-learn's objective and attributes. Without a penalty the
    coefficients are the shortest of the best where features depend on each other; beyond 1200
    features, where there are no more rows than features."""


class PoissonRegressor(TweedieModel):
    __doc__ = f"""Regression of counts: the logarithm of the mean is linear.

    Minimises ``sum w (exp(p) - y p) / W + alpha / 2 |coef|^2`` with ``p = coef.x + intercept``.

    Parameters
    ----------
    tol : float, default=1e-4
        Ends the fit where what is left to gain is below ``tol**2`` of the mean of y for each row.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    TweedieRegressor : Other powers of the variance.

    Notes
    -----
    {_NOTES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import PoissonRegressor
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 4.0])
    >>> model = PoissonRegressor(alpha=0.0).fit(X, y)
    >>> model.predict([[3.0]]).round(4).tolist(), round(model.score(X, y), 6)
    ([8.0], 1.0)
    """

    _parameters: ClassVar = PARAMETERS
    _squares_targets: ClassVar[bool] = False

    def __init__(
        self, *, alpha=1.0, fit_intercept=True, solver="lbfgs", max_iter=100, tol=1e-4,
        warm_start=False, verbose=0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _power(self) -> float:
        return 1.0


class GammaRegressor(TweedieModel):
    __doc__ = f"""Regression of positive numbers whose deviation grows with their mean.

    Minimises ``sum w (p + y exp(-p)) / W + alpha / 2 |coef|^2`` with ``p = coef.x + intercept``,
    the logarithm of the mean.

    Parameters
    ----------
    tol : float, default=1e-4
        Ends the fit where what is left to gain is below ``tol**2`` for each row.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    TweedieRegressor : Other powers of the variance.

    Notes
    -----
    {_NOTES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import GammaRegressor
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 4.0])
    >>> model = GammaRegressor(alpha=0.0).fit(X, y)
    >>> model.predict([[3.0]]).round(4).tolist(), round(model.score(X, y), 6)
    ([8.0], 1.0)
    """

    _parameters: ClassVar = PARAMETERS
    _squares_targets: ClassVar[bool] = False

    def __init__(
        self, *, alpha=1.0, fit_intercept=True, solver="lbfgs", max_iter=100, tol=1e-4,
        warm_start=False, verbose=0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _power(self) -> float:
        return 2.0


class TweedieRegressor(TweedieModel):
    __doc__ = f"""Regression with a variance that is a power of the mean.

    Minimises half the unit deviance of the power, averaged over the rows, plus
    ``alpha / 2 |coef|^2``: 0 is the normal distribution, 1 Poisson's, 2 the gamma distribution, 3
    the inverse Gaussian; in between are sums of gammas, with a mass at zero.

    Parameters
    ----------
    power : float, default=0.0
        Power of the variance, not between 0 and 1.
    link : {{"auto", "identity", "log"}}, default="auto"
        What of the mean is linear; ``"auto"`` is the identity up to a power of 0, else the
        logarithm. The identity is there for the power 0 only.
    tol : float, default=1e-4
        Ends the fit where what is left to gain is below ``tol**2`` of a typical loss for each row.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    PoissonRegressor, GammaRegressor

    Notes
    -----
    {_NOTES}

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import TweedieRegressor
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 4.0])
    >>> model = TweedieRegressor(power=1.5, alpha=0.0).fit(X, y)
    >>> model.predict([[3.0]]).round(4).tolist(), round(model.score(X, y), 6)
    ([8.0], 1.0)
    """

    _parameters: ClassVar = {
        **PARAMETERS,
        "power": rule.Rule(
            lambda v: rule.is_real(v) and np.isfinite(v) and not 0 < v < 1,
            "a number that is not between 0 and 1",
        ),
        "link": rule.one_of("auto", "identity", "log"),
    }

    def __init__(
        self, *, power=0.0, alpha=1.0, fit_intercept=True, link="auto", solver="lbfgs",
        max_iter=100, tol=1e-4, warm_start=False, verbose=0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _power(self) -> float:
        return float(self.power)

    def _exponential(self) -> bool:
        if self.link == "auto":
            return self.power > 0
        return self.link == "log"

    def _loss(self, y: np.ndarray, mean: float, weights: Any) -> tuple[str, float, float, float]:
        if not self._exponential() and self.power != 0:
            raise ValueError(
                f"TweedieRegressor: link must be 'log' for a power other than 0, got 'identity' "
                f"for power={self.power:g} (means must stay positive)"
            )
        return super()._loss(y, mean, weights)


class LogCoshRegressor(GeneralisedRegressor):
    """Regression with the loss ``log cosh``: squares near zero, sizes far away, smooth throughout.

    Minimises ``sum w scale^2 log cosh((y - coef.x - intercept) / scale) / W + alpha / 2 |coef|^2``.

    Parameters
    ----------
    scale : float, default=1.0
        Residuals well below count by their squares, those above by their sizes.
    tol : float, default=1e-4
        Ends the fit where what is left to gain is below ``tol**2 scale**2`` for each row.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_

    See Also
    --------
    HuberRegressor : With the scale learnt.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.linear_model import LogCoshRegressor
    >>> X = np.arange(20.0)[:, None]
    >>> y = 3 * X[:, 0]
    >>> y[7] = 1e4
    >>> LogCoshRegressor().fit(X, y).predict([[30.0]]).round(0).tolist()
    [90.0]
    """

    _parameters: ClassVar = {
        **{k: v for k, v in PARAMETERS.items() if k != "solver"},
        "scale": rule.real(0, above=True),
    }

    def __init__(
        self, *, scale=1.0, alpha=1e-4, fit_intercept=True, max_iter=100, tol=1e-4,
        warm_start=False, verbose=0,
    ):  # fmt: skip
        self._set_parameters(locals())

    def _factor(self) -> float:
        return float(self.scale)

    def _loss(self, y: np.ndarray, mean: float, weights: Any) -> tuple[str, float, float, float]:
        return "log_cosh", 0.0, 1.0, _median(y, weights)
