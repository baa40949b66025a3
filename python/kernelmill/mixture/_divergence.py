"""Divergence, entropy and distances of fitted mixtures: closed form or Monte Carlo estimates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._random import generator, seed_of
from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import _marginal, parts_of
from kernelmill.mixture._densities import log_prob_of
from kernelmill.mixture._gaussian_mixture import Mixture
from kernelmill.mixture._model import MixtureBase

_LOG_2PI_E = float(np.log(2 * np.pi) + 1)
_BLOCK_ROWS = 65536  # rows sampled or compared at a time


class Estimate(NamedTuple):
    """A value with its standard error.

    Parameters
    ----------
    value : float
        Value in nats.
    standard_error : float
        Standard error of the Monte Carlo average; 0 if the value is exact.

    Examples
    --------
    >>> from kernelmill.mixture import Estimate
    >>> float(Estimate(1.5, 0.1))
    1.5
    """

    value: float
    standard_error: float

    def __float__(self) -> float:
        return self.value


def _mixture(model: Any, owner: str, argument: str) -> Mixture:
    """The point estimate of a fitted mixture, without components of zero weight."""
    if not isinstance(model, MixtureBase):
        raise TypeError(
            f"{owner}: {argument} must be a fitted GaussianMixture or BayesianGaussianMixture, got "
            f"{type(model).__name__}"
        )
    check_is_fitted(model, "means_")
    model._ready()
    exact = model._exact()
    weights = np.asarray(exact.get("weights_", model.weights_), dtype=np.float64)
    positive = weights > 0
    weights, kind = weights[positive], model.covariance_type
    which = ... if kind == "tied" else positive
    gaussians = Gaussians(
        kind,
        exact["means_"][positive],
        exact["covariances_"][which],
        exact["precisions_cholesky_"][which],
    )
    return Mixture(weights / weights.sum(), gaussians, 0.0, owner)


def _factor(gaussians: Gaussians) -> np.ndarray:
    """P of the first component as a matrix (d, d)."""
    P = gaussians.whitening[0]
    return np.diag(P) if gaussians.is_diagonal else P


def _draw(model: Mixture, n: int, rng: np.random.Generator) -> np.ndarray:
    """n rows sampled from a mixture, in random order."""
    gaussians = model.gaussians
    labels = rng.choice(gaussians.k, size=n, p=model.weights)
    X = rng.standard_normal((n, gaussians.d))
    matrices = gaussians.matrices
    for j in range(gaussians.k):
        rows = labels == j
        if gaussians.is_diagonal:
            X[rows] *= np.sqrt(gaussians.variances[j])
        else:
            X[rows] = X[rows] @ np.linalg.cholesky(matrices[j % len(matrices)]).T
    return X + gaussians.means[labels]


def _sampled(first: Mixture, second: Mixture | None, n: int, random_state: Any) -> Estimate:
    """Average of log p, or of log p - log q, over n rows of p, with its standard error."""
    rng = generator(seed_of(random_state), 0)
    values = np.empty(n)
    for start in range(0, n, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, n))
        X = _draw(first, block.stop - start, rng)
        values[block] = log_prob_of(X, first.gaussians, first.offsets)
        if second is not None:
            values[block] -= log_prob_of(X, second.gaussians, second.offsets)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)))


def _check_size(n_samples: Any, owner: str) -> int:
    if not rule.is_integer(n_samples) or n_samples < 2:
        raise ValueError(
            f"{owner}: n_samples must be a whole number of at least 2, got {n_samples!r}"
        )
    return int(n_samples)


def kl_divergence(p: Any, q: Any, *, n_samples: int = 100_000, random_state: Any = 0) -> Estimate:
    """Return the Kullback-Leibler divergence of a fitted mixture from another.

    Parameters
    ----------
    p, q : GaussianMixture or BayesianGaussianMixture
        Fitted mixtures of any covariance types, with the same number of features. The expected
        parameters of a Bayesian mixture are used.
    n_samples : int, default=100000
        Rows sampled from p if there is no closed form.
    random_state : int, RandomState, Generator or None, default=0
        Seed or generator; pass an int for reproducible results.

    Returns
    -------
    estimate : Estimate
        ``KL(p | q) = E_p[log p(x) - log q(x)]`` in nats, and its standard error: 0 if p and q have
        one component each.

    Raises
    ------
    TypeError
        If p or q is not a mixture.
    ValueError
        If they have different numbers of features.
    NotFittedError
        If one is not fitted.

    Notes
    -----
    For Gaussians, ``E_p[(x - m_q)' A (x - m_q)] = tr(A S_p) + (m_p - m_q)' A (m_p - m_q)`` with A
    the inverse of S_q, and the same for p is d, so

        KL = 1/2 (tr(A S_p) + (m_p - m_q)' A (m_p - m_q) - d + log|S_q| - log|S_p|).

    For mixtures there is no closed form: log p - log q is averaged over rows sampled from p. This
    estimate is unbiased and may be negative by a few standard errors, which decrease with the
    square root of `n_samples`. Cost 2 n_samples (k_p + k_q) d^2 flops.

    References
    ----------
    Kullback and Leibler (1951), "On information and sufficiency". Hershey and Olsen (2007),
    "Approximating the Kullback Leibler divergence between Gaussian mixture models".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.mixture import GaussianMixture, kl_divergence
    >>> p = GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]])
    >>> q = GaussianMixture(reg_covar=0).fit([[1.0], [3.0]])
    >>> kl_divergence(p, q)
    Estimate(value=2.0, standard_error=0.0)
    """
    n = _check_size(n_samples, "kl_divergence")
    first, second = _mixture(p, "kl_divergence", "p"), _mixture(q, "kl_divergence", "q")
    if first.gaussians.d != second.gaussians.d:
        raise ValueError(
            f"kl_divergence: p and q must have the same number of features, got "
            f"{first.gaussians.d} and {second.gaussians.d}"
        )
    if first.gaussians.k > 1 or second.gaussians.k > 1:
        return _sampled(first, second, n, random_state)
    P, Q = _factor(first.gaussians), _factor(second.gaussians)
    # A = Q Q' and S_p = P'^-1 P^-1, so tr(A S_p) = ||P^-1 Q||^2.
    ratio = np.linalg.solve(P, Q)
    away = (first.gaussians.means[0] - second.gaussians.means[0]) @ Q
    log_dets = np.log(np.diag(P)).sum() - np.log(np.diag(Q)).sum()
    value = 0.5 * ((ratio**2).sum() + away @ away - first.gaussians.d) + log_dets
    return Estimate(float(value), 0.0)


def entropy(model: Any, *, n_samples: int = 100_000, random_state: Any = 0) -> Estimate:
    """Return the differential entropy of a fitted mixture.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        Fitted mixture. The expected parameters of a Bayesian mixture are used.
    n_samples : int, default=100000
        Rows sampled from the mixture if there is no closed form.
    random_state : int, RandomState, Generator or None, default=0
        Seed or generator; pass an int for reproducible results.

    Returns
    -------
    estimate : Estimate
        ``-E[log p(x)]`` in nats, and its standard error: 0 for one component.

    Raises
    ------
    TypeError
        If `model` is not a mixture.
    NotFittedError
        If it is not fitted.

    Notes
    -----
    ``1/2 log|2 pi e S|`` for a Gaussian; for mixtures -log p is averaged over rows sampled from p.
    Cost 2 n_samples k d^2 flops.

    References
    ----------
    Cover and Thomas (2006), "Elements of Information Theory", 8.4.

    Examples
    --------
    >>> from kernelmill.mixture import GaussianMixture, entropy
    >>> model = GaussianMixture(reg_covar=0).fit([[-1.0], [1.0]])
    >>> round(float(entropy(model)), 6)
    1.418939
    """
    n = _check_size(n_samples, "entropy")
    fitted = _mixture(model, "entropy", "model")
    if fitted.gaussians.k > 1:
        estimate = _sampled(fitted, None, n, random_state)
        return Estimate(-estimate.value, estimate.standard_error)
    P, d = _factor(fitted.gaussians), fitted.gaussians.d
    return Estimate(float(0.5 * d * _LOG_2PI_E - np.log(np.diag(P)).sum()), 0.0)


def mahalanobis(X: Any, model: Any) -> np.ndarray:
    """Return the Mahalanobis distance of each row to each component of a fitted mixture.

    Parameters
    ----------
    X : {array-like} of shape (n, d)
        Rows in memory. A row with NaN is compared in its observed features.
    model : GaussianMixture or BayesianGaussianMixture
        Fitted mixture.

    Returns
    -------
    distances : ndarray of shape (n, k), dtype of X
        ``sqrt((x - m_j)' S_j^-1 (x - m_j))``.

    Raises
    ------
    TypeError
        If `model` is not a mixture, or X is a stream.
    ValueError
        If X holds inf or has other features than in ``fit``.
    NotFittedError
        If the model is not fitted.

    Notes
    -----
    With ``P_j P_j' = S_j^-1`` the distance is the norm of ``(x - m_j) P_j``, which keeps the digits
    of small distances. For a row from component j the squared distance is chi-squared with as many
    degrees of freedom as observed features. Cost n k d^2 flops.

    References
    ----------
    Mahalanobis (1936), "On the generalised distance in statistics".

    Examples
    --------
    >>> from kernelmill.mixture import GaussianMixture, mahalanobis
    >>> model = GaussianMixture(reg_covar=0).fit([[-2.0], [2.0]])
    >>> mahalanobis([[0.0], [3.0]], model)
    array([[0. ],
           [1.5]])
    """
    if not isinstance(model, MixtureBase):
        raise TypeError(
            f"mahalanobis: model must be a fitted GaussianMixture or BayesianGaussianMixture, got "
            f"{type(model).__name__}"
        )
    gaussians, _ = model._ready()
    X_rows = model._rows(X, reset=False)
    if X_rows.is_stream:
        raise TypeError(f"mahalanobis: X must be in memory, got {type(X).__name__}")
    rows = to_host(X_rows.X)
    out = np.empty((rows.shape[0], gaussians.k), dtype=rows.dtype)
    for start in range(0, rows.shape[0], _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        parts = parts_of(block)
        if parts is None:
            out[start : start + len(block)] = _distances(block, gaussians)
            continue
        for places, observed, some in parts:
            part = _marginal(gaussians, observed) if len(observed) else None
            out[start + places] = 0.0 if part is None else _distances(some, part)
    return out


def _distances(X: np.ndarray, gaussians: Gaussians) -> np.ndarray:
    out = np.empty((len(X), gaussians.k))
    P = gaussians.whitening
    for j in range(gaussians.k):
        away = X - gaussians.means[j]
        white = away * P[j] if gaussians.is_diagonal else away @ P[j % len(P)]
        out[:, j] = np.sqrt((white**2).sum(axis=1))
    return out
