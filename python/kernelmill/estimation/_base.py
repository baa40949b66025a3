"""Conjugate estimation: statistics that add up turn a prior into a posterior of the same form.

For a family p(x | t) with the prior p(t | h) = f(t; h) / Z(h), where the likelihood of rows is a
multiple of f in t,

    p(t | X) = p(t | h'),    h' = update(h, s),    log p(X) = log Z(h') - log Z(h) + base(s)

with s the statistics of the rows: sums of weights, of entries, of products. A family is these
functions; all that users ask for is written here. The last equation, for one more row, is the
predictive density, which families give in closed form; the tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NoReturn

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_sparse
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, fitting_at_once
from kernelmill._estimator._random import generator, seed_of
from kernelmill._estimator._rows import Estimator, Rows
from kernelmill._estimator._validation import as_numbers, zero_weights
from kernelmill.estimation._words import WORDS

_BLOCK = 1 << 16  # elements of rows that are made float64 at a time
_TABLE = 1024  # values whose densities are looked up, where there are more rows than _FEW
_FEW = 2 * _TABLE
Parameters = dict[str, Any]  # arrays by name

POSITIVE = rule.any_of(rule.real(0, above=True), rule.array("(d,)"))


def blocks(X: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Dense float64 blocks of rows, each after the number of its first row."""
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for i in range(0, X.shape[0], step):
        block = X[i : i + step]
        yield i, (block.toarray() if is_sparse(X) else block).astype(np.float64)


def entry_densities(
    X: Any, owner: str, support: Any, whole: bool, entry: Callable, *state: Any
) -> np.ndarray:
    """Log densities of rows of independent features (n,), of CSR rows by what they store.

    ``entry(x, j, *state)`` is the log density of values x of the features j; of small whole numbers
    it is looked up.
    """
    check_support(X, owner, support)
    if is_sparse(X):
        zeros = entry(np.zeros(X.shape[1]), np.arange(X.shape[1]), *state)
        if np.isfinite(zeros).all():
            more = entry(X.data.astype(np.float64), X.indices, *state) - zeros[X.indices]
            row = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
            return float(zeros.sum()) + np.bincount(row, more, minlength=X.shape[0])
    out = np.empty(X.shape[0])
    j = np.arange(X.shape[1])
    table = None
    if whole and X.shape[0] > _FEW and X.size and X.max() < _TABLE:
        # Gamma functions of each entry are most of the time: 13 to 1 at 400,000 x 60.
        table = entry(np.arange(float(X.max()) + 1), j[:, None], *state)
    for i, block in blocks(X):
        found = entry(block, j, *state) if table is None else table[j, block.astype(np.int64)]
        out[i : i + len(block)] = found.sum(axis=1)
    return out


def check_support(X: Any, owner: str, support: tuple[Callable, str] | None) -> None:
    """Raise where a value is none that the distribution has; `support` is a test and its words."""
    if support is None:
        return
    possible, words = support
    if is_sparse(X):  # zeros are possible for all families of sparse rows
        wrong = ~possible(X.data.astype(np.float64))
        if wrong.any():
            k = int(wrong.argmax())
            r = int(np.searchsorted(X.indptr, k, side="right")) - 1
            _refuse(X.data[k], r, int(X.indices[k]), owner, words)
        return
    for i, block in blocks(X):
        bad = ~possible(block)
        if bad.any():
            r, j = (int(k) for k in np.argwhere(bad)[0])
            _refuse(block[r, j], i + r, j, owner, words)


def _refuse(value: float, row: int, column: int, owner: str, words: str) -> NoReturn:
    hint = f" (Negative values in data passed to {owner})" if value < 0 else ""
    raise ValueError(
        f"{owner}: X must hold {words}, got {value:g} in row {row}, column {column}{hint}"
    )


def log_rising(a: Any, s: Any) -> Any:
    """``log Gamma(a + s) - log Gamma(a)``, also where both are large, 0 for s = 0."""
    from scipy.special import betaln, gammaln

    a, s = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(s, dtype=np.float64))
    some = np.where(s > 0, s, 1.0)
    return np.where(s > 0, gammaln(some) - betaln(a, some), 0.0)


class Conjugate(DensityMixin, Estimator):
    """Base of families with a conjugate prior; subclasses give the functions below."""

    prior_: Parameters
    posterior_: Parameters
    maximum_likelihood_: Parameters
    map_: Parameters
    posterior_mean_: Parameters
    statistics_: Parameters
    log_evidence_: float
    n_samples_seen_: int

    _words = WORDS
    _support: ClassVar[tuple[Callable, str] | None] = None
    _whole: ClassVar[bool] = False  # whether values are whole numbers
    _chosen: ClassVar[tuple[str, ...]] = ("predictive", "map", "maximum_likelihood")

    def _observe(self, chunk: Rows, before: Parameters | None) -> Parameters:
        """Statistics of rows in memory, and of those before."""
        raise NotImplementedError

    def _prior(self, statistics: Parameters, d: int) -> Parameters:
        """Parameters of the prior."""
        raise NotImplementedError

    def _update(self, prior: Parameters, statistics: Parameters) -> Parameters:
        """Parameters of the posterior."""
        raise NotImplementedError

    def _log_evidence(self) -> float:
        """``log Z(h') - log Z(h) + base(s)``."""
        raise NotImplementedError

    def _likeliest(self, statistics: Parameters) -> Parameters:
        """Parameters of maximum likelihood."""
        raise NotImplementedError

    def _mode(self, posterior: Parameters) -> Parameters:
        """Parameters at the mode."""
        raise NotImplementedError

    def _mean(self, posterior: Parameters) -> Parameters:
        """Means of the parameters."""
        raise NotImplementedError

    def _marginals(self, posterior: Parameters) -> dict[str, Any]:
        """Distributions of SciPy of each parameter alone."""
        raise NotImplementedError

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        """The pass ``op(X, *state) -> (n,)`` of log densities for given parameters."""
        raise NotImplementedError

    def _predictive_density(self) -> tuple[Callable, tuple]:
        """The pass of log densities of the predictive distribution."""
        raise NotImplementedError

    def _draw(self, draws: np.random.Generator, n: int) -> np.ndarray:
        """Rows of the predictive distribution (n, d)."""
        raise NotImplementedError

    def _draw_parameters(self, draws: np.random.Generator, n: int) -> Parameters:
        """Parameters of the posterior, the first axis of each of length n."""
        return {
            name: np.asarray(one.rvs((n, *np.shape(one.mean())), random_state=draws))
            for name, one in self._marginals(self.posterior_).items()
        }

    def _of_entries(self, entry: Callable, *state: Any) -> tuple[Callable, tuple]:
        """The pass of independent features; see `entry_densities`."""
        return entry_densities, (type(self).__name__, self._support, self._whole, entry, *state)

    def _hyper(self, name: str, d: int, least: float | None = 0.0) -> np.ndarray:
        """A parameter of the prior, given for all features or each: (d,), float64."""
        given = getattr(self, name)
        value = as_numbers(given, name, type(self).__name__)
        if value.shape not in ((), (d,)):
            raise ValueError(
                f"{type(self).__name__}: {name} must be a number or one for each of {d} features, "
                f"got shape {value.shape}"
            )
        value = np.broadcast_to(value, (d,)).astype(np.float64)
        good = np.isfinite(value) if least is None else (value > least) & (value < np.inf)
        if not good.all():
            what = "finite" if least is None else f"finite and above {least:g}"
            raise ValueError(
                f"{type(self).__name__}: {name} must be {what}, got {value[~good][0]:g}"
            )
        return value

    @fitting_at_once
    def fit(self, X, y=None, sample_weight=None):
        """Find the posterior from the rows, in one pass.

        Raises
        ------
        ValueError
            If X is not finite or holds values that the distribution does not have.
        """
        return self._learn(X, sample_weight, True)

    @fitting
    def partial_fit(self, X, y=None, sample_weight=None):
        """Add rows: the posterior is that of all rows so far at once.

        Raises
        ------
        ValueError
            If X is not finite, has other features than before, or holds values that the
            distribution does not have.
        """
        return self._learn(X, sample_weight, not hasattr(self, "statistics_"))

    def _learn(self, X: Any, sample_weight: Any, reset: bool) -> Any:
        rows = self._rows(X, sample_weight, reset=reset, once=True)
        statistics = None if reset else self.statistics_
        count = 0 if reset else self.n_samples_seen_
        for chunk in rows.chunks():
            if chunk.count:
                check_support(chunk.X, rows.owner, self._support)
                statistics = self._observe(chunk, statistics)
                count += chunk.count
        if statistics is None or not statistics["weight"] > 0:
            raise zero_weights(rows.owner)
        if not np.isfinite(statistics.get("sum", 0.0)).all():
            raise ValueError(
                f"{rows.owner}: X must be small enough to be added up in float64, got columns "
                "whose sums are infinite (scale X)"
            )
        self.statistics_, self.n_samples_seen_ = statistics, count
        self.prior_ = self._prior(statistics, rows.n_features)
        self.posterior_ = self._update(self.prior_, statistics)
        self.maximum_likelihood_ = self._likeliest(statistics)
        self.map_ = self._mode(self.posterior_)
        self.posterior_mean_ = self._mean(self.posterior_)
        self.log_evidence_ = float(self._log_evidence())
        return self

    def log_density(self, X, parameters="predictive"):
        """Logarithms of the densities of rows, each as if it were the next one.

        Returns
        -------
        log_density : ndarray of shape (n,), float64
            Of probabilities, where values are discrete.

        Raises
        ------
        ValueError
            If X is not finite, has other features than in ``fit``, or holds values that the
            distribution does not have; or if a covariance of maximum likelihood is singular.
        """
        check_is_fitted(self)
        if parameters not in self._chosen:
            raise ValueError(
                f"{type(self).__name__}: parameters must be one of {list(self._chosen)}, got "
                f"{parameters!r}"
            )
        if parameters == "predictive":
            op, state = self._predictive_density()
        else:
            op, state = self._density(getattr(self, f"{parameters}_"))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._rows(X, reset=False).map(op, *state)

    def score_samples(self, X):
        """Logarithms of the predictive densities of rows: ``log_density(X)``.

        Returns
        -------
        log_density : ndarray of shape (n,), float64
            Each row as if it were the next one.
        """
        return self.log_density(X)

    def score(self, X, y=None):
        """Mean logarithm of the predictive densities of rows.

        Returns
        -------
        score : float
            Mean of ``score_samples(X)``.
        """
        return float(self.score_samples(X).mean())

    def credible_interval(self, level=0.95):
        """Intervals of the posterior that each parameter is in with a given probability.

        What is left of the probability lies above and below in equal parts.

        Returns
        -------
        intervals : dict of str to tuple of two ndarrays, float64
            Lower and upper ends of each parameter.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1.
        """
        check_is_fitted(self)
        if not (rule.is_real(level) and 0 < level < 1):
            raise ValueError(
                f"{type(self).__name__}: level must be a number between 0 and 1, got {level!r}"
            )
        tail = (1 - level) / 2
        with np.errstate(all="ignore"):  # ends may be infinite
            return {
                name: (np.asarray(one.ppf(tail)), np.asarray(one.ppf(1 - tail)))
                for name, one in self._marginals(self.posterior_).items()
            }

    def sample(self, n_samples=1, random_state=None):
        """Draw rows from the predictive distribution, independently of each other.

        Returns
        -------
        X : ndarray of shape (n_samples, d), float64
            Rows.

        Raises
        ------
        ValueError
            If `n_samples` is not a whole number of at least 0.
        """
        self._check_draws(n_samples)
        draws = generator(seed_of(random_state), 0)
        return np.asarray(self._draw(draws, n_samples), dtype=np.float64)

    def _check_draws(self, n_samples: Any) -> None:
        check_is_fitted(self)
        rule.check_whole(n_samples, "n_samples", type(self).__name__)

    def sample_posterior(self, n_samples=1, random_state=None):
        """Draw parameters from the posterior.

        Returns
        -------
        parameters : dict of str to ndarray, float64
            Draws along the first axis, by the names of ``map_``.

        Raises
        ------
        ValueError
            If `n_samples` is not a whole number of at least 0.
        """
        self._check_draws(n_samples)
        return self._draw_parameters(generator(seed_of(random_state), 0), n_samples)


class Numeric(Conjugate):
    """Base of families of numbers: new rows have means, variances and quantiles."""

    predictive_mean_: Any
    predictive_variance_: Any

    def _predictive(self) -> Any:
        """Distribution of SciPy of each feature of a new row."""
        raise NotImplementedError

    def _predictive_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Its means and variances: SciPy's lose digits where parameters are large."""
        raise NotImplementedError

    def _learn(self, X: Any, sample_weight: Any, reset: bool) -> Any:
        super()._learn(X, sample_weight, reset)
        self.predictive_mean_, self.predictive_variance_ = self._predictive_moments()
        return self

    def predictive_quantiles(self, quantiles):
        """Quantiles of each feature of a new row.

        Returns
        -------
        values : ndarray of shape (k, d), float64
            The least value that at least that share lies at or below.

        Raises
        ------
        ValueError
            If a share is not between 0 and 1.
        """
        check_is_fitted(self)
        shares = as_numbers(quantiles, "quantiles", type(self).__name__)
        if shares.ndim != 1 or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(
                f"{type(self).__name__}: quantiles must be a list of numbers from 0 to 1, got "
                f"{quantiles!r}"
            )
        return self._quantiles(shares[:, None])

    def _quantiles(self, shares: np.ndarray) -> np.ndarray:
        found = np.asarray(self._predictive().ppf(shares), dtype=np.float64)
        return np.maximum(found, 0.0) if self._whole else found  # SciPy's least count is -1

    def _draw(self, draws: np.random.Generator, n: int) -> np.ndarray:
        return self._predictive().rvs((n, self.n_features_in_), random_state=draws)
