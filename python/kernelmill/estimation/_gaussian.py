"""Gaussians of features alone and together, with normal-inverse-gamma and -Wishart priors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._class_moments import ClassMoments, class_moments_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._validation import as_numbers
from kernelmill.estimation._base import POSITIVE, Numeric, Parameters, blocks, log_rising
from kernelmill.estimation._words import DENSE
from kernelmill.ops import linear

_LOG_PI = math.log(math.pi)
_LOG_TWO_PI = math.log(2 * math.pi)


class _NormalMean(Numeric):
    """Base of Gaussians: the mean has a Gaussian prior whose precision is `kappa` times theirs.

    The mean of rows and that of the prior are apart by ``mean - mean_0``; that adds ``kappa_0 W /
    (kappa_0 + W)`` times its square to the scatter, and with a flat prior costs one row.
    """

    mean: Any
    kappa: Any

    _words = DENSE
    _kind: ClassVar[str]  # of the second moments

    def _observe(self, chunk: Rows, before: Parameters | None) -> Parameters:
        earlier = None if before is None else ClassMoments.kept_by(self)
        codes = np.zeros(chunk.count, dtype=np.int64)
        moments = class_moments_of(chunk, codes, 1, self._kind, earlier)
        moments.keep(self)
        return {
            "weight": moments.class_weight[0],
            "mean": moments.means[0],
            "scatter": moments.scatter[0],
        }

    def _mean_prior(self, d: int) -> Parameters:
        return {"mean": self._hyper("mean", d, None), "kappa": np.float64(self.kappa)}

    def _mean_update(
        self, prior: Parameters, statistics: Parameters
    ) -> tuple[Parameters, np.ndarray, float]:
        """Posterior of the mean, what it is apart by, and the weight that the spread gains."""
        weight = statistics["weight"]
        kappa = prior["kappa"] + weight
        share = prior["kappa"] / kappa
        apart = statistics["mean"] - prior["mean"]
        mean = statistics["mean"] - share * apart
        gained = weight if prior["kappa"] > 0 else max(weight - 1, 0.0)
        return {"mean": mean, "kappa": kappa}, math.sqrt(share * weight) * apart, gained

    def _student(self) -> tuple[np.ndarray, np.ndarray, Any]:
        """Location, scale and degrees of freedom of each feature of a new row."""
        raise NotImplementedError

    def _predictive(self) -> Any:
        from scipy.stats import t

        location, scale, free = self._student()
        return t(free, loc=location, scale=scale)

    def _predictive_moments(self) -> tuple[np.ndarray, np.ndarray]:
        location, scale, free = map(np.asarray, self._student())
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(free > 2, scale**2 * (free / (free - 2)), np.inf)
        return np.where(free > 1, location, np.nan), variance

    def _log_shrink(self) -> float:
        """``log(kappa_0 / kappa) / 2``, of a flat prior of density 1 without kappa_0."""
        before, after = self.prior_["kappa"], self.posterior_["kappa"]
        return 0.5 * (math.log(before) if before > 0 else 0.0) - 0.5 * math.log(after)


def _normal(x: np.ndarray, j: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    z = (x - mean[j]) / np.sqrt(variance[j])
    return -0.5 * (_LOG_TWO_PI + np.log(variance)[j] + z * z)


def _student_entry(
    x: np.ndarray, j: np.ndarray, mean: np.ndarray, scale: np.ndarray, freedom: np.ndarray,
    offset: np.ndarray,
) -> np.ndarray:  # fmt: skip
    z = (x - mean[j]) / scale[j]
    return offset[j] - 0.5 * (freedom[j] + 1) * np.log1p(z * z / freedom[j])


class Gaussian(_NormalMean):
    """Gaussians, one for each feature, with a normal-inverse-gamma prior.

    The variance v has an inverse gamma prior, ``1 / v ~ Gamma(shape, rate)``, and the mean has
    ``N(mean, v / kappa)``.

    Parameters
    ----------
    shape : float or array-like of shape (d,), default=1e-3
        Shape of the prior of the precision; twice the shape counts as rows.
    rate : float or array-like of shape (d,), default=1e-3
        Its rate, in the squared unit of X; rate over shape is a guess of the variance.

    Attributes
    ----------
    posterior_ : dict of str to ndarray of shape (d,), float64
        ``"mean"``, ``"kappa"`` (a number), ``"shape"`` and ``"rate"``, of the posterior.
    prior_, map_, maximum_likelihood_, posterior_mean_, predictive_mean_, predictive_variance_
    log_evidence_, statistics_, n_samples_seen_, n_features_in_, feature_names_in_

    See Also
    --------
    MultivariateGaussian : With covariances of features.
    kernelmill.linear_model.BayesianLinearRegression : A mean that depends on features.

    Notes
    -----
    Of n rows of mean m and variance s^2 the posterior has ``kappa + n``, ``shape + n / 2`` and
    ``rate + n s^2 / 2 + kappa n / (kappa + n) (m - mean)^2 / 2``; the next value has Student's
    distribution. A flat mean costs one row: the shape gains ``(n - 1) / 2``, and the evidence has
    the density 1 of the mean in it. ``map_`` is the mode of mean and variance together. One pass,
    in O(n d); the sums are taken about values near the means, so that offsets cost no digits.

    References
    ----------
    Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.estimation import Gaussian
    >>> model = Gaussian(kappa=1.0, shape=2.0, rate=2.0).fit([[1.0], [3.0], [5.0], [3.0]])
    >>> {name: value.item() for name, value in model.posterior_.items()}
    {'mean': 2.4, 'kappa': 5.0, 'shape': 4.0, 'rate': 9.6}
    >>> model.maximum_likelihood_["variance"].item(), round(model.map_["variance"].item(), 3)
    (2.0, 1.745)
    >>> model.predictive_quantiles([0.05, 0.5, 0.95]).ravel().round(2).tolist()
    [-0.76, 2.4, 5.56]
    """

    _kind: ClassVar = "diag"
    _parameters: ClassVar = {
        "mean": rule.any_of(rule.real(-math.inf), rule.array("(d,)")),
        "kappa": rule.real(0),
        "shape": POSITIVE,
        "rate": POSITIVE,
    }

    def __init__(self, *, mean=0.0, kappa=0.0, shape=1e-3, rate=1e-3):
        self._set_parameters(locals())

    def _prior(self, statistics: Parameters, d: int) -> Parameters:
        spread = {name: self._hyper(name, d) for name in ("shape", "rate")}
        return {**self._mean_prior(d), **spread}

    def _update(self, prior: Parameters, statistics: Parameters) -> Parameters:
        mean, apart, gained = self._mean_update(prior, statistics)
        rate = prior["rate"] + 0.5 * (statistics["scatter"] + apart**2)
        return {**mean, "shape": prior["shape"] + gained / 2, "rate": rate}

    def _log_evidence(self) -> float:
        before, after = self.prior_, self.posterior_
        a0, a, b0, b = before["shape"], after["shape"], before["rate"], after["rate"]
        steps = log_rising(a0, a - a0) - a0 * np.log1p((b - b0) / b0) - (a - a0) * np.log(b)
        steps = steps + self._log_shrink() - (a - a0) * _LOG_TWO_PI
        return steps.sum()

    def _likeliest(self, statistics: Parameters) -> Parameters:
        return {
            "mean": statistics["mean"],
            "variance": statistics["scatter"] / statistics["weight"],
        }

    def _mode(self, posterior: Parameters) -> Parameters:
        variance = posterior["rate"] / (posterior["shape"] + 1.5)
        return {"mean": posterior["mean"], "variance": variance}

    def _mean(self, posterior: Parameters) -> Parameters:
        free = posterior["shape"] - 1
        variance = np.where(free > 0, posterior["rate"] / np.where(free > 0, free, 1.0), np.inf)
        return {"mean": posterior["mean"], "variance": variance}

    def _marginals(self, posterior: Parameters) -> dict[str, Any]:
        from scipy.stats import invgamma, t

        a, b = posterior["shape"], posterior["rate"]
        scale = np.sqrt(b / a / posterior["kappa"])
        return {
            "mean": t(2 * a, loc=posterior["mean"], scale=scale),
            "variance": invgamma(a, scale=b),
        }

    def _scale(self) -> np.ndarray:
        """Scales of Student's distributions of new values."""
        h = self.posterior_
        return np.sqrt(h["rate"] / h["shape"] * (1 + 1 / h["kappa"]))

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        return self._of_entries(_normal, parameters["mean"], parameters["variance"])

    def _predictive_density(self) -> tuple[Callable, tuple]:
        a, scale = self.posterior_["shape"], self._scale()
        offset = log_rising(a, 0.5) - 0.5 * (np.log(2 * a) + _LOG_PI) - np.log(scale)
        return self._of_entries(_student_entry, self.posterior_["mean"], scale, 2 * a, offset)

    def _student(self) -> tuple[np.ndarray, np.ndarray, Any]:
        return self.posterior_["mean"], self._scale(), 2 * self.posterior_["shape"]

    def _draw_parameters(self, draws: np.random.Generator, n: int) -> Parameters:
        h = self.posterior_
        variance = h["rate"] / draws.gamma(h["shape"], size=(n, len(h["shape"])))
        z = draws.standard_normal(variance.shape)
        return {"mean": h["mean"] + z * np.sqrt(variance / h["kappa"]), "variance": variance}


def _squared(X: Any, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """``(x - mean)' (L L')^-1 (x - mean)`` of rows (n,), float64."""
    inverse = scipy.linalg.solve_triangular(factor, np.eye(len(factor)), lower=True)
    out = np.empty(X.shape[0])
    for i, block in blocks(X):
        z = linear.forward(block - mean, inverse)[0]
        out[i : i + len(block)] = np.einsum("ij,ij->i", z, z)
    return out


def _normals(X: Any, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    log_det = float(np.log(np.diag(factor)).sum())
    return -0.5 * (len(mean) * _LOG_TWO_PI + _squared(X, mean, factor)) - log_det


def _students(
    X: Any, mean: np.ndarray, factor: np.ndarray, freedom: float, offset: float
) -> np.ndarray:
    steps = np.log1p(_squared(X, mean, factor) / freedom)
    return offset - 0.5 * (freedom + len(mean)) * steps


class MultivariateGaussian(_NormalMean):
    """A Gaussian of all features together, with a normal-inverse-Wishart prior.

    The covariance S has an inverse Wishart prior of `degrees_of_freedom` and `scale`, and the mean
    ``N(mean, S / kappa)``.

    Parameters
    ----------
    degrees_of_freedom : float, optional
        Of the prior of the covariance, above d - 1: it counts as so many rows. d by default.
    scale : float, array-like of shape (d,) or (d, d), default=1e-3
        Scatter of these rows, in the squared unit of X: a positive definite matrix, its diagonal,
        or a number for all of the diagonal.

    Attributes
    ----------
    posterior_ : dict of str to ndarray, float64
        ``"mean"`` (d,), ``"kappa"``, ``"degrees_of_freedom"`` and ``"scale"`` (d, d), of the
        posterior.
    prior_, map_, maximum_likelihood_, posterior_mean_, predictive_mean_, predictive_variance_
    log_evidence_, statistics_, n_samples_seen_, n_features_in_, feature_names_in_

    See Also
    --------
    Gaussian : Features alone.
    kernelmill.mixture.BayesianGaussianMixture : Several Gaussians with this prior.

    Notes
    -----
    Of n rows of mean m and scatter R about it the posterior has ``kappa + n``,
    ``degrees_of_freedom + n`` and ``scale + R + kappa n / (kappa + n) (m - mean)(m - mean)'``; the
    next row has the multivariate Student's distribution. A flat mean costs one row, as in
    `Gaussian`. Intervals of ``"variance"`` are those of the diagonal; quantiles are those of each
    feature alone. ``map_`` is the mode of mean and covariance together. One pass, in O(n d^2).

    References
    ----------
    Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.estimation import MultivariateGaussian
    >>> X = np.array([[0.0, 0.0], [2.0, 1.0], [1.0, 2.0], [1.0, 1.0]])
    >>> model = MultivariateGaussian(kappa=1.0, degrees_of_freedom=3, scale=1.0).fit(X)
    >>> model.posterior_["degrees_of_freedom"].item(), model.posterior_["mean"].tolist()
    (7.0, [0.8, 0.8])
    >>> model.posterior_["scale"].round(6).tolist()
    [[3.8, 1.8], [1.8, 3.8]]
    >>> model.maximum_likelihood_["covariance"].tolist()
    [[0.5, 0.25], [0.25, 0.5]]
    >>> model.sample(3, random_state=0).shape
    (3, 2)
    """

    _kind: ClassVar = "full"
    _parameters: ClassVar = {
        "mean": rule.any_of(rule.real(-math.inf), rule.array("(d,)")),
        "kappa": rule.real(0),
        "degrees_of_freedom": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "scale": rule.any_of(rule.real(0, above=True), rule.array("(d,) or (d, d)")),
    }

    def __init__(self, *, mean=0.0, kappa=0.0, degrees_of_freedom=None, scale=1e-3):
        self._set_parameters(locals())

    def _prior(self, statistics: Parameters, d: int) -> Parameters:
        freedom = float(d if self.degrees_of_freedom is None else self.degrees_of_freedom)
        if not freedom > d - 1:
            raise ValueError(
                f"MultivariateGaussian: degrees_of_freedom must be above d - 1 = {d - 1}, got "
                f"{freedom:g}"
            )
        scale = as_numbers(self.scale, "scale", "MultivariateGaussian")
        if scale.shape not in ((), (d,), (d, d)):
            raise ValueError(
                f"MultivariateGaussian: scale must be a number or have shape ({d},) or ({d}, {d}), "
                f"got shape {scale.shape}"
            )
        if scale.ndim < 2:
            scale = np.diag(np.broadcast_to(scale, (d,)))
        self._factor(scale, "scale must be positive definite and symmetric")
        return {
            **self._mean_prior(d),
            "degrees_of_freedom": np.float64(freedom),
            "scale": np.array(scale, dtype=np.float64),
        }

    @staticmethod
    def _factor(matrix: np.ndarray, must: str) -> np.ndarray:
        """The lower Cholesky factor, of the matrix with a diagonal of ones and scaled back."""
        d = np.diagonal(matrix)
        with np.errstate(all="ignore"):
            root = np.sqrt(d)
            unit = matrix / root[:, None] / root
        try:
            if not (np.isfinite(unit).all() and np.allclose(unit, unit.T, rtol=0, atol=1e-12)):
                raise scipy.linalg.LinAlgError
            return root[:, None] * scipy.linalg.cholesky(unit, lower=True)
        except scipy.linalg.LinAlgError:
            raise ValueError(
                f"MultivariateGaussian: {must}, got one that is not (its diagonal runs from "
                f"{d.min():g} to {d.max():g})"
            ) from None

    def _update(self, prior: Parameters, statistics: Parameters) -> Parameters:
        mean, apart, gained = self._mean_update(prior, statistics)
        scale = prior["scale"] + statistics["scatter"] + np.multiply.outer(apart, apart)
        return {
            **mean,
            "degrees_of_freedom": prior["degrees_of_freedom"] + gained,
            "scale": scale,
        }

    def _posterior_factor(self) -> np.ndarray:
        return self._factor(self.posterior_["scale"], "scale of the posterior must be definite")

    def _log_evidence(self) -> float:
        before, after, d = self.prior_, self.posterior_, self.n_features_in_
        v0, v = before["degrees_of_freedom"], after["degrees_of_freedom"]
        prior = self._factor(before["scale"], "scale must be positive definite")
        det0 = 2 * float(np.log(np.diag(prior)).sum())
        det = 2 * float(np.log(np.diag(self._posterior_factor())).sum())
        log = 0.5 * v0 * (det0 - det) - 0.5 * (v - v0) * (det + d * _LOG_PI)
        log += float(log_rising((v0 - np.arange(d)) / 2, (v - v0) / 2).sum())
        return log + d * self._log_shrink()

    def _likeliest(self, statistics: Parameters) -> Parameters:
        covariance = statistics["scatter"] / statistics["weight"]
        return {"mean": statistics["mean"], "covariance": covariance}

    def _mode(self, posterior: Parameters) -> Parameters:
        total = posterior["degrees_of_freedom"] + len(posterior["mean"]) + 2
        return {"mean": posterior["mean"], "covariance": posterior["scale"] / total}

    def _mean(self, posterior: Parameters) -> Parameters:
        free = posterior["degrees_of_freedom"] - len(posterior["mean"]) - 1
        scale = posterior["scale"]
        covariance = scale / free if free > 0 else np.full_like(scale, np.inf)
        return {"mean": posterior["mean"], "covariance": covariance}

    def _freedom(self, posterior: Parameters) -> float:
        """Degrees of freedom of Student's distribution of the mean, and of new rows."""
        return float(posterior["degrees_of_freedom"]) - len(posterior["mean"]) + 1

    def _marginals(self, posterior: Parameters) -> dict[str, Any]:
        from scipy.stats import invgamma, t

        free, spread = self._freedom(posterior), np.diagonal(posterior["scale"])
        scale = np.sqrt(spread / free / posterior["kappa"])
        return {
            "mean": t(free, loc=posterior["mean"], scale=scale),
            "variance": invgamma(free / 2, scale=spread / 2),
        }

    def _widening(self) -> float:
        """What the scale of the posterior is multiplied by for a new row."""
        return (1 + 1 / float(self.posterior_["kappa"])) / self._freedom(self.posterior_)

    def _density(self, parameters: Parameters) -> tuple[Callable, tuple]:
        must = "X must have a covariance that is not singular for this density"
        return _normals, (parameters["mean"], self._factor(parameters["covariance"], must))

    def _predictive_density(self) -> tuple[Callable, tuple]:
        d, free = self.n_features_in_, self._freedom(self.posterior_)
        factor = self._posterior_factor() * math.sqrt(self._widening())
        offset = float(log_rising(free / 2, d / 2)) - 0.5 * d * (math.log(free) + _LOG_PI)
        offset -= float(np.log(np.diag(factor)).sum())
        return _students, (self.posterior_["mean"], factor, free, offset)

    def _student(self) -> tuple[np.ndarray, np.ndarray, Any]:
        scale = np.sqrt(self._widening() * np.diagonal(self.posterior_["scale"]))
        return self.posterior_["mean"], scale, self._freedom(self.posterior_)

    def _draw(self, draws: np.random.Generator, n: int) -> np.ndarray:
        free = self._freedom(self.posterior_)
        factor = self._posterior_factor() * math.sqrt(self._widening())
        z = draws.standard_normal((n, self.n_features_in_)) @ factor.T
        return self.posterior_["mean"] + z / np.sqrt(draws.chisquare(free, (n, 1)) / free)

    def _draw_parameters(self, draws: np.random.Generator, n: int) -> Parameters:
        # With A the lower triangle of Bartlett, A A' is Wishart and (L A^-T)(L A^-T)' its inverse.
        d, factor = self.n_features_in_, self._posterior_factor()
        triangle = np.tril(draws.standard_normal((n, d, d)), -1)
        freedom = self.posterior_["degrees_of_freedom"] - np.arange(d)
        triangle[:, np.arange(d), np.arange(d)] = np.sqrt(draws.chisquare(freedom, (n, d)))
        root = factor @ np.linalg.inv(triangle).transpose(0, 2, 1)
        z = draws.standard_normal((n, d, 1)) / math.sqrt(self.posterior_["kappa"])
        return {
            "mean": self.posterior_["mean"] + (root @ z)[:, :, 0],
            "covariance": root @ root.transpose(0, 2, 1),
        }
