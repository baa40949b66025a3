"""Counts and waiting times: rates with gamma priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import is_sparse
from kernelmill._estimator._posterior import log_of
from kernelmill._estimator._rows import Rows
from kernelmill.estimation._base import (
    _TABLE,
    POSITIVE,
    Numeric,
    Parameters,
    blocks,
    log_rising,
)
from kernelmill.estimation._categories import entry_sums, plus
from kernelmill.estimation._words import RATES

_MANY = 2.0**40  # counts beyond which one is nothing


def _is_count(X: np.ndarray) -> np.ndarray:
    return (X >= 0) & (np.floor(X) == X)


def _is_time(X: np.ndarray) -> np.ndarray:
    return X >= 0


def log_factorials(X: Any, sample_weight: Any = None) -> float:
    """Weighted sum of ``log x!`` over the entries of rows, of CSR rows by what they store."""
    from scipy.special import gammaln

    most = X.max() if X.size and X.shape[0] else 0
    table = gammaln(np.arange(1.0, float(most) + 2)) if most < _TABLE else None

    def log_factorial(x: np.ndarray) -> np.ndarray:
        return gammaln(x + 1) if table is None else table[x.astype(np.int64)]

    if is_sparse(X):
        logs = log_factorial(X.data.astype(np.float64))
        if sample_weight is None:
            return float(logs.sum())
        return float(logs @ np.repeat(sample_weight, np.diff(X.indptr)))
    total = 0.0
    for i, block in blocks(X):
        logs = log_factorial(block).sum(axis=1)
        own = None if sample_weight is None else sample_weight[i : i + len(block)]
        total += float(logs.sum() if own is None else logs @ own)
    return total


class _GammaRate(Numeric):
    """Base of families with a rate of gamma prior; subclasses say what counts and what is time."""

    shape: Any
    rate: Any

    _words = RATES
    _accepts_sparse: ClassVar = True
    _squares: ClassVar = False
    _parameters: ClassVar = {"shape": POSITIVE, "rate": POSITIVE}

    def _events(self, statistics: Parameters) -> tuple[Any, Any]:
        """Number of events, and the time that they took."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def _prior(self, statistics: Parameters, d: int) -> Parameters:
        return {name: self._hyper(name, d) for name in ("shape", "rate")}

    def _update(self, prior: Parameters, statistics: Parameters) -> Parameters:
        events, time = self._events(statistics)
        return {"shape": prior["shape"] + events, "rate": prior["rate"] + time}

    def _log_evidence(self) -> float:
        (a, b), (a0, b0) = self.posterior_.values(), self.prior_.values()
        steps = log_rising(a0, a - a0) - a0 * np.log1p((b - b0) / b0) - (a - a0) * np.log(b)
        return steps.sum() - self.statistics_.get("log_factorials", 0.0)

    def _likeliest(self, statistics: Parameters) -> Parameters:
        events, time = self._events(statistics)
        with np.errstate(divide="ignore"):
            return {"rate": np.asarray(np.true_divide(events, time))}

    def _mode(self, posterior: Parameters) -> Parameters:
        return {"rate": np.maximum(posterior["shape"] - 1, 0.0) / posterior["rate"]}

    def _mean(self, posterior: Parameters) -> Parameters:
        return {"rate": posterior["shape"] / posterior["rate"]}

    def _marginals(self, posterior: Parameters) -> dict[str, Any]:
        from scipy.stats import gamma

        return {"rate": gamma(posterior["shape"], scale=1 / posterior["rate"])}


def _poisson(x: np.ndarray, j: np.ndarray, rate: np.ndarray) -> np.ndarray:
    from scipy.special import gammaln, xlogy

    return xlogy(x, rate[j]) - rate[j] - gammaln(x + 1)


def _negative_binomial(
    x: np.ndarray, j: np.ndarray, shape: np.ndarray, rate: np.ndarray
) -> np.ndarray:
    from scipy.special import gammaln

    a, b = shape[j], rate[j]
    return log_rising(a, x) - gammaln(x + 1) - a * np.log1p(1 / b) - x * np.log1p(b)


class Poisson(_GammaRate):
    """Counts of each feature, with a rate that has a gamma prior.

    Parameters
    ----------
    shape : float or array-like of shape (d,), default=1.0
        Shape of the prior of the rate: it counts as so many events.
    rate : float or array-like of shape (d,), default=1e-3
        Its rate: in so many rows. With the defaults small rates are nearly alike, and the mode is
        nearly that of the likelihood.

    Attributes
    ----------
    prior_, posterior_, map_, maximum_likelihood_, posterior_mean_, predictive_mean_
    predictive_variance_, log_evidence_, statistics_, n_samples_seen_, n_features_in_
    feature_names_in_

    See Also
    --------
    Exponential : For the times between events.
    kernelmill.linear_model.PoissonRegressor : Rates that depend on features.

    Notes
    -----
    With s events in n rows the posterior is the gamma distribution of ``shape + s`` and ``rate +
    n``, and the next count has a negative binomial distribution. One pass, in O(n d), of CSR rows
    in O(what they store).

    References
    ----------
    Gelman et al. (2013), "Bayesian Data Analysis", 2.6.

    Examples
    --------
    >>> from kernelmill.estimation import Poisson
    >>> model = Poisson(shape=2.0, rate=1.0).fit([[3], [0], [4]])
    >>> model.posterior_["shape"].item(), model.posterior_["rate"].item()
    (9.0, 4.0)
    >>> model.map_["rate"].item(), model.predictive_mean_.item(), model.predictive_variance_.item()
    (2.0, 2.25, 2.8125)
    >>> model.predictive_quantiles([0.05, 0.95]).ravel().tolist()
    [0.0, 5.0]
    """

    _support = (_is_count, "counts, whole numbers of at least 0")
    _whole: ClassVar = True

    def __init__(self, *, shape=1.0, rate=1e-3):
        self._set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True  # whole numbers
        return tags

    def _observe(self, chunk: Rows, before: Parameters | None) -> Parameters:
        part = entry_sums(chunk)
        part["log_factorials"] = log_factorials(chunk.X, chunk.weight)
        return plus(before, part)

    def _events(self, statistics: Parameters) -> tuple[Any, Any]:
        return statistics["sum"], statistics["weight"]

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        return self._of_entries(_poisson, parameters["rate"])

    def _predictive_density(self) -> tuple[Callable, tuple]:
        return self._of_entries(_negative_binomial, *self.posterior_.values())

    def _predictive(self) -> Any:
        from scipy.stats import nbinom

        a, b = self.posterior_.values()
        return nbinom(a, b / (b + 1))

    def _quantiles(self, shares: np.ndarray) -> np.ndarray:
        a, b = self.posterior_.values()
        many = a / b > _MANY
        if not many.any():
            return super()._quantiles(shares)
        from scipy.stats import gamma, nbinom

        # Of the same mean and variance; SciPy's own end the process from 2^53 on.
        near = np.floor(gamma.ppf(shares, a / (b + 1), scale=1 + 1 / b))
        few = nbinom.ppf(shares, np.where(many, 1.0, a), np.where(many, 0.5, b / (b + 1)))
        return np.where(many, near, np.maximum(few, 0.0))

    def _predictive_moments(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self.posterior_mean_["rate"]
        return mean, mean * (1 + 1 / self.posterior_["rate"])


def _exponential(x: np.ndarray, j: np.ndarray, rate: np.ndarray) -> np.ndarray:
    return log_of(rate)[j] - rate[j] * x


def _lomax(x: np.ndarray, j: np.ndarray, shape: np.ndarray, rate: np.ndarray) -> np.ndarray:
    a, b = shape[j], rate[j]
    return np.log(a) - np.log(b) - (a + 1) * np.log1p(x / b)


class Exponential(_GammaRate):
    """Waiting times of each feature, with a rate that has a gamma prior.

    Parameters
    ----------
    shape : float or array-like of shape (d,), default=1.0
        Shape of the prior of the rate: it counts as so many rows.
    rate : float or array-like of shape (d,), default=1e-3
        Its rate, in the unit of X: the sum of these rows. With the defaults rates far below a
        thousand are nearly alike; for times of another unit scale it along.

    Attributes
    ----------
    prior_, posterior_, map_, maximum_likelihood_, posterior_mean_, predictive_mean_
    predictive_variance_, log_evidence_, statistics_, n_samples_seen_, n_features_in_
    feature_names_in_

    See Also
    --------
    Poisson : For the number of events.

    Notes
    -----
    With n rows whose sum is s the posterior is the gamma distribution of ``shape + n`` and ``rate +
    s``, and the next time has a Lomax (Pareto II) distribution. The mode is that of the rate, not
    of the mean time. One pass, in O(n d).

    References
    ----------
    Gelman et al. (2013), "Bayesian Data Analysis", 2.6.

    Examples
    --------
    >>> from kernelmill.estimation import Exponential
    >>> model = Exponential(shape=2.0, rate=1.0).fit([[0.5], [1.5], [1.0]])
    >>> model.posterior_["shape"].item(), model.posterior_["rate"].item()
    (5.0, 4.0)
    >>> model.maximum_likelihood_["rate"].item(), model.map_["rate"].item()
    (1.0, 1.0)
    >>> model.predictive_mean_.item()
    1.0
    """

    _support = (_is_time, "times, numbers of at least 0")

    def __init__(self, *, shape=1.0, rate=1e-3):
        self._set_parameters(locals())

    def _observe(self, chunk: Rows, before: Parameters | None) -> Parameters:
        return plus(before, entry_sums(chunk))

    def _events(self, statistics: Parameters) -> tuple[Any, Any]:
        return statistics["weight"], statistics["sum"]

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        return self._of_entries(_exponential, parameters["rate"])

    def _predictive_density(self) -> tuple[Callable, tuple]:
        return self._of_entries(_lomax, *self.posterior_.values())

    def _predictive(self) -> Any:
        from scipy.stats import lomax

        a, b = self.posterior_.values()
        return lomax(a, scale=b)

    def _predictive_moments(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.posterior_.values()
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(a > 1, b / (a - 1), np.inf)
            return mean, np.where(a > 2, mean**2 * (a / (a - 2)), np.inf)
