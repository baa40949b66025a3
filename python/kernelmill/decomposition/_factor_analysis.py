"""FactorAnalysis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.linalg

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run, Step, climb, warn_unconverged
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._moments import moments_of
from kernelmill._estimator._progress import Progress
from kernelmill.decomposition._axes import CentredRows, signed, top
from kernelmill.decomposition._low_rank import LowRank
from kernelmill.decomposition._pca import few_rows
from kernelmill.decomposition._projection import GaussianProjection
from kernelmill.ops import matmul, moments

_LEAST = 1e-12  # share of a feature's variance that is noise at least, as scikit-learn's for 1
_TURNS, _TURN_TOL = 100, 1e-6  # of rotations, scikit-learn's


class _State(NamedTuple):
    W: np.ndarray  # (k, d)
    noise: np.ndarray  # (d,), the noise that W belongs to
    following: np.ndarray  # (d,), the noise of the next iteration
    loglike: tuple[float, ...]


def rotated(W: np.ndarray, method: str) -> np.ndarray:
    """Components (k, d), turned so that each feature has few large ones.

    With A = W' and B = A R, R maximises the sum of B^4, less that of the squared means of the
    columns of B^2 for varimax. Each step takes the orthogonal factor of A' times the gradient.
    """
    A = W.T / (np.abs(W).max() or 1.0)
    R, before = np.eye(len(W)), 0.0
    for _ in range(_TURNS):
        B = A @ R
        slope = B**3
        if method == "varimax":
            slope -= B * (B**2).mean(0)
        left, values, right = scipy.linalg.svd(A.T @ slope, check_finite=False)
        R = left @ right
        total = float(values.sum())
        if before and total < before * (1 + _TURN_TOL):
            break
        before = total
    return (W.T @ R).T


class FactorAnalysis(GaussianProjection):
    """Rows as mixtures of few factors with a noise of its own in every feature.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of factors; d by default.
    tol : float, default=0.01
        Increase of the log-likelihood of all rows that ends the iteration.
    noise_variance_init : array-like of shape (d,) or None, default=None
        First noise variances; by default the variances of the features, which are 1, as
        scikit-learn's start is, for standardised rows.
    svd_method : {"lapack", "randomized"}, default="randomized"
        Ignored but for its name: eigenvectors are exact.
    iterated_power : int, default=3
        Ignored; present for API compatibility.
    rotation : {"varimax", "quartimax"} or None, default=None
        How the factors are turned, which changes no density.
    random_state : int or RandomState, default=0
        Ignored; present for API compatibility.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, d), float64
        Factors W: rows are ``z W + mean`` and noise. Of the entries of each the largest in
        magnitude is positive.
    loglike_ : list of float
        Log-likelihood of all rows at each iteration.
    noise_variance_ : ndarray of shape (d,), float64
        Variance of the noise of each feature.
    mean_
    n_iter_ : int
        Number of iterations.
    n_features_in_, feature_names_in_

    See Also
    --------
    PCA : Directions of largest variance.
    ProbabilisticPCA : The same noise in all features.

    Notes
    -----
    With the noise psi fixed, the best W are the k leading eigenvectors of ``psi^-1/2 C psi^-1/2``
    times ``psi^1/2 sqrt(l - 1)``, C the covariance of the rows; then psi is what W leaves of the
    variances, at least 1e-12 of them. The log-likelihood never decreases. One pass over X makes C,
    so streams are read once; for n < d in memory, products of rows take its place. Cost of an
    iteration d^3.

    References
    ----------
    Barber (2012), "Bayesian reasoning and machine learning", chapter 21.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import FactorAnalysis
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1)) @ [[1.0, 2.0, 3.0]] + rng.normal(size=(500, 3))
    >>> model = FactorAnalysis(1).fit(X)
    >>> bool(np.all(np.diff(model.loglike_) > 0)), model.transform(X).shape
    (True, (500, 1))
    """

    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(0), rule.nothing()),
        "tol": rule.real(0),
        "copy": rule.boolean(),
        "max_iter": rule.integer(1),
        "noise_variance_init": rule.any_of(rule.array("(d,)"), rule.nothing()),
        "svd_method": rule.one_of("randomized", "lapack"),
        "iterated_power": rule.integer(0),
        "rotation": rule.one_of("varimax", "quartimax", None),
        "random_state": rule.RANDOM_STATE,
    }
    noise_variance_: np.ndarray

    def __init__(
        self, n_components=None, *, tol=1e-2, copy=True, max_iter=1000, noise_variance_init=None,
        svd_method="randomized", iterated_power=3, rotation=None, random_state=0,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the factors by EM.

        Raises
        ------
        ValueError
            If X, the weights or a parameter do not fit.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ends the iteration.
        """
        rows = self._rows(X, sample_weight, reset=True, once=True)
        d = rows.n_features
        k = d if self.n_components is None else self.n_components
        if k > d:
            raise ValueError(
                f"{rows.owner}: n_components must be at most n_features={d}, got {k}"
            )
        if rows.is_stream or rows.count >= d:
            seen = moments_of(rows)
            few_rows(seen.count, rows.owner)
            C, mean, weight = seen.xx / seen.weight, seen.mean, seen.weight
            variance = np.diag(C).copy()
            leading = _from_covariance(C)
        else:
            few_rows(rows.count, rows.owner)
            A = CentredRows(rows, centred=True)
            mean, weight = A.mean, A.weight
            dense = A.A.astype(np.float64) / np.sqrt(weight)
            variance = np.einsum("ij,ij->j", dense, dense)
            leading = _from_rows(dense)
        varies = variance > 0
        size = np.where(varies, variance, 1.0)
        noise = size.copy()
        if self.noise_variance_init is not None:
            noise = np.array(to_host(self.noise_variance_init), dtype=np.float64)
            if noise.shape != (d,) or not (noise > 0).all():
                raise ValueError(
                    f"{rows.owner}: noise_variance_init must hold {d} positive numbers, got shape "
                    f"{noise.shape}"
                )
        constant = d * np.log(2 * np.pi) + k

        def advance(state: _State, most: int) -> Step:
            noise = state.following
            root = np.sqrt(noise)
            values, vectors, whole = leading(root, k)
            W = np.sqrt(np.maximum(values - 1, 0))[:, None] * vectors * root
            with np.errstate(divide="ignore"):
                value = constant + np.log(values).sum() + max(whole - values.sum(), 0.0)
            value = float(-weight / 2 * (value + np.log(noise[varies]).sum()))
            before = state.loglike
            following = np.maximum(variance - (W * W).sum(0), _LEAST * size)
            loglike = (*before, value)
            finished = bool(before) and value - before[-1] < self.tol
            return Step(_State(W, noise, following, loglike), value, finished)

        begin = _State(np.zeros((k, d)), noise, noise, ())
        learned = lambda state, done: self._learned(state, mean, varies, done)  # noqa: E731
        bar = Progress(self, False, iterations=self.max_iter, X=X)
        with lapack_threads(d), bar as progress:
            run: Run = climb(
                progress, lambda number: begin, advance, max_iter=self.max_iter, attributes=learned
            )
        warn_unconverged(rows.owner, run, "max_iter", self.max_iter)
        self.__dict__.update(learned(run.state, run.n_iter))
        return self

    def _learned(
        self, state: _State, mean: np.ndarray, varies: np.ndarray, done: int
    ) -> dict[str, Any]:
        W = state.W if self.rotation is None else rotated(state.W, self.rotation)
        return {
            "components_": signed(W),
            "noise_variance_": np.where(varies, state.noise, 0.0),
            "loglike_": list(state.loglike),
            "mean_": mean,
            "n_iter_": done,
        }

    def _low_rank(self) -> LowRank:
        return LowRank(self.components_, self.noise_variance_)

    def _transformation(self) -> tuple:
        noise = np.where(self.noise_variance_ > 0, self.noise_variance_, 1.0)
        ready = LowRank(self.components_, noise).prepared()
        return self.mean_, ready.to_factors / ready.root, None

    def _restored(self, Z: np.ndarray) -> np.ndarray:
        return (matmul.matmul(Z.astype(np.float64), self.components_) + self.mean_).astype(Z.dtype)


Leading = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray, float]]


def _from_covariance(C: np.ndarray) -> Leading:
    """Eigenvalues and vectors of ``C / (root root')``, and its trace."""

    def leading(root: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, float]:
        scaled = C / root / root[:, None]
        values, vectors = top(scaled, k)
        return np.maximum(values, 0), vectors, float(np.trace(scaled))

    return leading


def _from_rows(A: np.ndarray) -> Leading:
    """The same from centred rows over sqrt(n), for n < d."""
    n, d = A.shape

    def leading(root: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, float]:
        scaled = A / root
        K = moments.products(scaled.T, np.empty((d, 0)), np.zeros(n))[:n, :n]
        values, U = top(K, min(k, n))
        values = np.maximum(values, 0)
        size = np.sqrt(np.where(values > n * np.finfo(float).eps * values[:1], values, np.inf))
        vectors = matmul.matmul(np.ascontiguousarray(U), scaled) / size[:, None]
        more = k - len(values)  # directions that no row has: values - 1 is below 0
        values = np.concatenate([values, np.zeros(more)])
        return values, np.concatenate([vectors, np.zeros((more, d))]), float(np.trace(K))

    return leading
