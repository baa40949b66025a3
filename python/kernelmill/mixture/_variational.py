"""Mean-field variational inference of a Gaussian mixture: posterior, update, exact bound.

The model, with the Gaussian's precision L_j = inverse covariance:

    z_i ~ pi,    x_i | z_i = j ~ N(mu_j, L_j^-1),    mu_j | L_j ~ N(m0, (beta0 L_j)^-1),
    L_j ~ Wishart(nu0, V0^-1), one L for all j where the covariance is tied;
    L_jp ~ Gamma(nu0 / 2, V0_p / 2) for each feature p where it is diagonal;
    lambda_j ~ Gamma(d nu0 / 2, d V0 / 2) where it is spherical;
    pi ~ Dirichlet(a0), or stick-breaking: pi_j = v_j prod_{l<j} (1 - v_l), v_j ~ Beta(1, a0).

q(z, x_missing) q(pi, mu, L) has factors of the same families. With moments N_j, s_j, S_j of a pass
about m_j (see `kernelmill._gaussian._update`), x_j = m_j + s_j / N_j and
C_j = S_j - s_j s_j' / N_j, q(pi, mu, L) is best at

    beta_j = beta0 + N_j,    m_j = (beta0 m0 + N_j x_j) / beta_j,    nu_j = nu0 + N_j,
    V_j = V0 + C_j + beta0 N_j / beta_j (x_j - m0) (x_j - m0)'      (its diagonal; the mean of that)
    tied: nu = nu0 + sum N_j, V = V0 + the sum of the terms over j
    Dirichlet: a_j = a0 + N_j;    sticks: a_j = 1 + N_j, b_j = a0 + sum_{l>j} N_l.

E[L_j] = nu_j V_j^-1, so the Gaussians of a pass have the covariances V_j / nu_j, and the remainder
of E[log p(x_i, z_i = j | pi, mu, L)] is the offset of the op, from which V_j cancels:

    c_j = E log pi_j + 1/2 (E log|L_j| - log|E L_j|) - d / (2 beta_j).

The exponential of that is a Gaussian in x_i, so integrating out a missing value keeps the offset
and leaves the marginal Gaussian of the observed values: the passes for missing values are exact
here too. The bound after an E-step is

    sum_i w_i log sum_j exp(c_j + log N(x_i; m_j, V_j / nu_j)) - KL(q(pi) | p(pi))
        - sum_j E KL(q(mu_j | L_j) | p(mu_j | L_j)) - sum_j KL(q(L_j) | p(L_j)),

with all constants: for one component it is the log evidence. Sticks beyond the k-th keep their
prior and have no rows, so they contribute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaln, digamma, gammaln, multigammaln

from kernelmill._gaussian._parameters import Gaussians
from kernelmill._gaussian._passes import Moments
from kernelmill._gaussian._update import EMPTY


@dataclass(frozen=True)
class Prior:
    """p(pi, mu, L)."""

    covariance_type: str
    process: bool  # stick-breaking (Dirichlet process) rather than Dirichlet weights
    concentration: float  # a0
    mean_precision: float  # beta0
    degrees_of_freedom: float  # nu0
    mean: np.ndarray  # m0, (d,)
    scale: np.ndarray  # V0, (d, d), (d,) for "diag", or () for "spherical"


@dataclass(frozen=True)
class Posterior:
    """q(pi, mu, L): the model of a fit, see `kernelmill.mixture._model.Position`."""

    prior: Prior
    concentration: Any  # (k,), or a pair of these for sticks
    mean_precision: np.ndarray  # beta, (k,)
    degrees_of_freedom: np.ndarray  # nu, (k,), or () when tied
    gaussians: Gaussians  # means m and covariances V / nu
    owner: str  # name of the estimator in errors

    @property
    def log_weights(self) -> np.ndarray:
        """E log pi."""
        if not self.prior.process:
            return digamma(self.concentration) - digamma(self.concentration.sum())
        a, b = self.concentration
        total = digamma(a + b)
        rest = np.cumsum(digamma(b) - total)
        return digamma(a) - total + np.r_[0.0, rest[:-1]]

    @property
    def weights(self) -> np.ndarray:
        """E pi, scaled to sum to one: the sticks beyond the k-th are left out."""
        if not self.prior.process:
            return self.concentration / self.concentration.sum()
        a, b = self.concentration
        share = a / (a + b) * np.r_[1.0, np.cumprod(b / (a + b))[:-1]]
        return share / share.sum()

    @property
    def offsets(self) -> np.ndarray:
        """c_j, see the module's docstring."""
        d, nu = self.gaussians.d, self.degrees_of_freedom
        kind = self.prior.covariance_type
        if kind == "diag":
            gap = d * (digamma(nu / 2) - np.log(nu / 2))
        elif kind == "spherical":
            gap = d * (digamma(d * nu / 2) - np.log(d * nu / 2))
        else:
            half = (np.expand_dims(nu, -1) - np.arange(d)) / 2
            gap = digamma(half).sum(axis=-1) - d * np.log(nu / 2)
        return self.log_weights + 0.5 * gap - 0.5 * d / self.mean_precision

    def bound(self, moments: Moments) -> float:
        """The bound on the log evidence, after the E-step that gave the moments."""
        return moments.log_likelihood - self.divergence()

    def updated(self, moments: Moments) -> Posterior:
        """The best q(pi, mu, L) given the responsibilities of a pass."""
        return posterior_of(self.prior, moments, self.gaussians.means, self.owner)

    def divergence(self) -> float:
        """KL(q(pi, mu, L) | p(pi, mu, L))."""
        return self._divergence_of_weights() + self._divergence_of_means() + self._of_precisions()

    def _divergence_of_weights(self) -> float:
        a0 = self.prior.concentration
        if self.prior.process:
            a, b = self.concentration
            terms = betaln(1.0, a0) - betaln(a, b) + (a - 1) * digamma(a) + (b - a0) * digamma(b)
            return float((terms + (1 + a0 - a - b) * digamma(a + b)).sum())
        a = self.concentration
        return float(
            gammaln(a.sum())
            - gammaln(a).sum()
            - gammaln(len(a) * a0)
            + len(a) * gammaln(a0)
            + (a - a0) @ (digamma(a) - digamma(a.sum()))
        )

    def _divergence_of_means(self) -> float:
        prior, gaussians = self.prior, self.gaussians
        away = gaussians.means - prior.mean
        if gaussians.is_diagonal:
            white = away * gaussians.whitening
        else:
            white = (away[:, None, :] @ gaussians.whitening)[:, 0]
        ratio = prior.mean_precision / self.mean_precision
        d, square = gaussians.d, (white**2).sum(axis=1)
        return float(0.5 * (d * (ratio - np.log(ratio) - 1) + prior.mean_precision * square).sum())

    def _of_precisions(self) -> float:
        prior, gaussians = self.prior, self.gaussians
        d, nu, nu0 = gaussians.d, self.degrees_of_freedom, prior.degrees_of_freedom
        if prior.covariance_type == "diag":
            scale = gaussians.covariances * nu[:, None]
            return _gamma_divergence(nu[:, None] / 2, scale / 2, nu0 / 2, prior.scale / 2)
        if prior.covariance_type == "spherical":
            scale = gaussians.covariances * nu
            return _gamma_divergence(d * nu / 2, d * scale / 2, d * nu0 / 2, d * prior.scale / 2)
        nu = np.atleast_1d(nu)
        scale = gaussians.matrices * nu[:, None, None]
        return _wishart_divergence(nu, scale, nu0, prior.scale)


def posterior_of(prior: Prior, moments: Moments, means: np.ndarray, owner: str) -> Posterior:
    """The best q(pi, mu, L) given moments about some means; see the module's docstring."""
    kind, counts = prior.covariance_type, moments.weights
    filled = counts > EMPTY * counts.sum()
    total = np.where(filled, counts, 1.0)
    delta = np.where(filled[:, None], moments.sums / total[:, None], 0.0)
    away = np.where(filled[:, None], means - prior.mean + delta, 0.0)  # x_j - m0
    beta = prior.mean_precision + counts
    new_means = prior.mean + (counts / beta)[:, None] * away
    pull = prior.mean_precision * counts / beta
    nu = prior.degrees_of_freedom + counts
    covariances: Any
    if kind in ("diag", "spherical"):
        spread = np.maximum(moments.squares - counts[:, None] * delta**2, 0.0)
        scatter = spread + pull[:, None] * away**2
        if kind == "diag":
            covariances = (prior.scale + scatter) / nu[:, None]
        else:
            covariances = (prior.scale + scatter.mean(axis=1)) / nu
    elif kind == "tied":
        nu = np.asarray(prior.degrees_of_freedom + counts.sum())
        scatter = moments.squares[0] - (counts[:, None] * delta).T @ delta
        scatter = scatter + (pull[:, None] * away).T @ away
        covariances = (prior.scale + (scatter + scatter.T) / 2) / nu
    else:
        scatter = moments.squares - counts[:, None, None] * delta[:, :, None] * delta[:, None]
        scatter += pull[:, None, None] * away[:, :, None] * away[:, None]
        covariances = (prior.scale + scatter) / nu[:, None, None]
    concentration: Any = prior.concentration + counts
    if prior.process:
        later = np.r_[np.cumsum(counts[::-1])[-2::-1], 0.0]
        concentration = (1.0 + counts, prior.concentration + later)
    gaussians = Gaussians.of(new_means, covariances, kind, owner)
    return Posterior(prior, concentration, beta, nu, gaussians, owner)


def _gamma_divergence(shape: Any, rate: Any, shape0: Any, rate0: Any) -> float:
    """Sum of KL(Gamma(shape, rate) | Gamma(shape0, rate0))."""
    return float(
        np.sum(
            (shape - shape0) * digamma(shape)
            - gammaln(shape)
            + gammaln(shape0)
            + shape0 * np.log(rate / rate0)
            + shape * (rate0 / rate - 1)
        )
    )


def _wishart_divergence(nu: np.ndarray, V: np.ndarray, nu0: float, V0: np.ndarray) -> float:
    """Sum of KL(Wishart(nu_j, V_j^-1) | Wishart(nu0, V0^-1))."""
    d = V.shape[-1]
    log_ratio = np.linalg.slogdet(V)[1] - np.linalg.slogdet(V0)[1]
    trace = np.trace(np.linalg.solve(V, np.broadcast_to(V0, V.shape)), axis1=1, axis2=2)
    psi = digamma((nu[:, None] - np.arange(d)) / 2).sum(axis=1)
    return float(
        np.sum(
            0.5 * (nu - nu0) * psi
            - multigammaln(nu / 2, d)
            + multigammaln(nu0 / 2, d)
            + 0.5 * nu0 * log_ratio
            + 0.5 * nu * (trace - d)
        )
    )
