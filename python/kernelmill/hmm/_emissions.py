"""Emission distributions: log densities, expected statistics and samples of K states.

An emission is small, immutable and picklable, so that passes can carry it to where the rows are.

``log_density(observed)``
    (T, K) float64, and what `statistics` can use again.
``statistics(observed, gamma, shares)``
    Sums over rows of what the M-step needs; they add up over chunks.
``means``, ``variances``
    (K, m): the expected observation in each state, and the variances of its entries.
``shares(states)``, ``below(x, j)``, ``above(x, j)``
    For quantiles: probabilities of C components from those of the states, (n, C), and for each
    component the probability that entry j is at most, or above, x of shape (n,). `is_whole` says
    whether entries are whole numbers, `no_quantiles` why there are none.
``sample(states, seed)``
    One observation for each state of a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import bdtr, ndtr, pdtr

from kernelmill._arrays import beside, to_host
from kernelmill._estimator._random import generator
from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments, log_joint, moments
from kernelmill._gaussian._update import variances_of
from kernelmill.hmm._observations import Counts, Symbols, Vectors
from kernelmill.ops import hmm, matmul, mixture, random

# Streams of random numbers for one sample: paths, mixture components, noise, counts.
PATHS, COMPONENTS, NOISE, COUNTS = range(4)


def _densities(observed: Vectors, gaussians: Gaussians, offsets: np.ndarray) -> Any:
    """Log joint densities as float64."""
    missing = False if observed.parts is None else observed.parts
    density = log_joint(observed.X, gaussians, offsets, missing=missing)
    return density if density.dtype == np.float64 else density.astype(np.float64)


def _moments_of_seen(observed: Vectors, gamma: Any, gaussians: Gaussians) -> Moments:
    """Moments of the rows with anything observed: EM need not complete rows that tell nothing."""
    if observed.parts is None:
        return moments(observed.X, gamma, gaussians, missing=False)
    seen = [part for part in observed.parts if len(part.observed)]
    return moments(observed.X, gamma, gaussians, missing=seen)


def _inversion(cumulative: np.ndarray, rows: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """For each row number the first entry of that row of running sums that passes u * total."""
    places = np.empty(len(rows), dtype=np.int64)
    for j in np.unique(rows):
        here = rows == j
        running = cumulative[j]
        place = np.searchsorted(running, uniforms[here] * running[-1], side="right")
        places[here] = np.minimum(place, np.searchsorted(running, running[-1]))
    return places


@dataclass(frozen=True)
class _Normal:
    """Gaussian components of states."""

    gaussians: Gaussians
    is_whole: ClassVar[bool] = False
    no_quantiles: ClassVar[str] = ""

    @property
    def _spreads(self) -> np.ndarray:
        """Variances of the features, (k, d)."""
        return np.broadcast_to(variances_of(self.gaussians), self.gaussians.means.shape)

    def _standardised(self, x: np.ndarray, j: int) -> np.ndarray:
        deviations = np.sqrt(self._spreads[:, j])
        return (x[:, None] - self.gaussians.means[:, j]) / deviations

    def below(self, x: np.ndarray, j: int) -> np.ndarray:
        return ndtr(self._standardised(x, j))

    def above(self, x: np.ndarray, j: int) -> np.ndarray:
        return ndtr(-self._standardised(x, j))


@dataclass(frozen=True)
class GaussianEmission(_Normal):
    """One Gaussian a state; `offsets` is added to its log density (variational inference)."""

    offsets: np.ndarray

    @property
    def means(self) -> np.ndarray:
        return self.gaussians.means

    @property
    def variances(self) -> np.ndarray:
        return self._spreads

    def shares(self, states: np.ndarray) -> np.ndarray:
        return states

    def log_density(self, observed: Vectors) -> tuple[Any, Any]:
        density = _densities(observed, self.gaussians, self.offsets)
        if observed.parts and self.offsets.any():
            for part in observed.parts:
                if not len(part.observed):
                    density[part.rows] = 0.0
        return density, None

    def statistics(self, observed: Vectors, gamma: Any, shares: Any) -> Moments:
        return _moments_of_seen(observed, gamma, self.gaussians)

    def sample(self, states: np.ndarray, seed: int) -> np.ndarray:
        d = self.gaussians.d
        noise = random.normal(seed, NOISE, 0, len(states) * d).reshape(len(states), d)
        if self.gaussians.is_diagonal:
            return self.means[states] + noise * np.sqrt(self.gaussians.variances)[states]
        factors = np.linalg.cholesky(self.gaussians.matrices)
        if len(factors) == 1:
            return self.means[states] + noise @ factors[0].T
        X = self.means[states]
        for j in np.unique(states):
            here = states == j
            X[here] += noise[here] @ factors[j].T
        return X


@dataclass(frozen=True)
class MixtureEmission(_Normal):
    """M Gaussians a state: component ``j * M + m`` is number m of state j."""

    weights: np.ndarray  # (K, M)

    @property
    def means(self) -> np.ndarray:
        return self._mixed(self.gaussians.means)

    @property
    def variances(self) -> np.ndarray:
        apart = self.gaussians.means - np.repeat(self.means, self.weights.shape[1], axis=0)
        return self._mixed(self._spreads + apart**2)

    def _mixed(self, values: np.ndarray) -> np.ndarray:
        """Means over the components of each state."""
        return (self.weights[:, :, None] * values.reshape(*self.weights.shape, -1)).sum(axis=1)

    def shares(self, states: np.ndarray) -> np.ndarray:
        return (states[:, :, None] * self.weights).reshape(len(states), -1)

    def log_density(self, observed: Vectors) -> tuple[Any, Any]:
        K, M = self.weights.shape
        with np.errstate(divide="ignore"):
            offsets = np.log(self.weights).reshape(-1)
        joint = _densities(observed, self.gaussians, offsets)
        if M == 1:
            return joint, None
        log_prob, share = mixture.responsibilities(joint.reshape(-1, M))
        return log_prob.reshape(-1, K), share

    def statistics(self, observed: Vectors, gamma: Any, shares: Any) -> Moments:
        K, M = self.weights.shape
        if shares is not None:
            gamma = (gamma[:, :, None] * shares.reshape(-1, K, M)).reshape(-1, K * M)
        return _moments_of_seen(observed, gamma, self.gaussians)

    def sample(self, states: np.ndarray, seed: int) -> np.ndarray:
        M = self.weights.shape[1]
        uniforms = random.uniform(seed, COMPONENTS, 0, len(states))
        component = _inversion(np.cumsum(self.weights, axis=1), states, uniforms)
        whole = GaussianEmission(self.gaussians, np.zeros(self.gaussians.k))
        return whole.sample(states * M + component, seed)


@dataclass(frozen=True)
class CategoricalEmission:
    """A distribution over symbols a state; the table need not be normalised."""

    log_table: np.ndarray  # (K, M)
    no_quantiles: ClassVar[str] = "symbols have no order"

    @property
    def means(self) -> np.ndarray:
        return np.exp(self.log_table)

    @property
    def variances(self) -> np.ndarray:
        return self.means * (1.0 - self.means)

    def log_density(self, observed: Symbols) -> tuple[Any, Any]:
        # One more row of zeros, which code -1 finds: where nothing was observed the density is 1.
        K, M = self.log_table.shape
        table = np.zeros((M + 1, K))
        table[:M] = self.log_table.T
        return beside(table, observed.codes).take(observed.codes, axis=0), None

    def statistics(self, observed: Symbols, gamma: Any, shares: Any) -> np.ndarray:
        return to_host(hmm.symbol_counts(observed.codes, gamma, self.log_table.shape[1]))

    def sample(self, states: np.ndarray, seed: int) -> np.ndarray:
        uniforms = random.uniform(seed, COUNTS, 0, len(states))
        return _inversion(np.cumsum(self.means, axis=1), states, uniforms)[:, None]


@dataclass(frozen=True)
class PoissonEmission:
    """Independent Poisson counts in d features, with rates (K, d)."""

    rates: np.ndarray
    is_whole: ClassVar[bool] = True
    no_quantiles: ClassVar[str] = ""

    @property
    def means(self) -> np.ndarray:
        return self.rates

    variances = means

    def shares(self, states: np.ndarray) -> np.ndarray:
        return states

    def below(self, x: np.ndarray, j: int) -> np.ndarray:
        x = x[:, None]
        return np.where(x < 0, 0.0, pdtr(np.maximum(x, 0.0), self.rates[:, j]))

    def log_density(self, observed: Counts | Symbols) -> tuple[Any, Any]:
        if isinstance(observed, Symbols):
            return self._tabled(observed.n_symbols).log_density(observed)
        density = _linear(observed, self.rates)
        if observed.seen is None:
            density -= beside(self.rates.sum(axis=1), density)
        else:
            density -= matmul.matmul(observed.seen, beside(self.rates.T.copy(), density))
        return density, None

    def _tabled(self, n_symbols: int) -> CategoricalEmission:
        from scipy.special import gammaln, xlogy

        values = np.arange(float(n_symbols))
        return CategoricalEmission(xlogy(values, self.rates) - self.rates - gammaln(values + 1.0))

    def statistics(
        self, observed: Counts | Symbols, gamma: Any, shares: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(observed, Symbols):
            counts = self._tabled(observed.n_symbols).statistics(observed, gamma, shares)
            total = (counts @ np.arange(float(observed.n_symbols)))[:, None]
            return counts.sum(axis=1, keepdims=True), total
        weights, sums = _sums(observed.X, gamma)
        if observed.seen is None:
            return np.broadcast_to(weights[:, None], sums.shape).copy(), sums
        return _sums(observed.seen, gamma)[1], sums

    def sample(self, states: np.ndarray, seed: int) -> np.ndarray:
        return generator(seed, COUNTS).poisson(self.rates[states])


@dataclass(frozen=True)
class MultinomialEmission:
    """Counts of M kinds, with probabilities (K, M); `n_trials` is for samples and means."""

    probabilities: np.ndarray
    n_trials: int | None = None
    is_whole: ClassVar[bool] = True

    @property
    def no_quantiles(self) -> str:
        return "n_trials is not a single number" if self.n_trials is None else ""

    @property
    def means(self) -> np.ndarray:
        return self.probabilities * (1 if self.n_trials is None else self.n_trials)

    @property
    def variances(self) -> np.ndarray:
        return self.means * np.maximum(1.0 - self.probabilities, 0.0)

    def shares(self, states: np.ndarray) -> np.ndarray:
        return states

    def below(self, x: np.ndarray, j: int) -> np.ndarray:
        x, n = x[:, None], self.n_trials
        p = np.minimum(self.probabilities[:, j], 1.0)  # rows may be off by what models accept
        return np.where(x < 0, 0.0, bdtr(np.clip(x, 0.0, n), n, p))

    def log_density(self, observed: Counts) -> tuple[Any, Any]:
        return _linear(observed, self.probabilities), None

    def statistics(self, observed: Counts, gamma: Any, shares: Any) -> np.ndarray:
        return _sums(observed.X, gamma)[1]

    def sample(self, states: np.ndarray, seed: int) -> np.ndarray:
        assert self.n_trials is not None  # the model has looked
        # Rows may be off by what models accept, and NumPy takes sums closely.
        p = self.probabilities / self.probabilities.sum(axis=1, keepdims=True)
        return generator(seed, COUNTS).multinomial(self.n_trials, p[states])


def _linear(observed: Counts, rates: np.ndarray) -> Any:
    """``constant_t + sum_p X[t, p] log rates[j, p]``, with 0 log 0 = 0."""
    X = observed.X
    zero = rates == 0
    logs = np.log(np.where(zero, 1.0, rates))
    density = matmul.matmul(X, beside(logs.T.copy(), X))
    density += observed.constant[:, None]
    if zero.any():
        density[matmul.matmul(X, beside(zero.T.astype(np.float64), X)) > 0] = -np.inf
    return density


def _sums(X: Any, gamma: Any) -> tuple[np.ndarray, np.ndarray]:
    """``sum_t gamma[t, j]`` and ``sum_t gamma[t, j] X[t]``, the same bits at any thread count."""
    origin = beside(np.zeros((gamma.shape[1], X.shape[1])), X)
    weights, sums, _ = mixture.diag_moments(X, gamma, origin)
    return to_host(weights), to_host(sums)
