"""ProbabilisticPCA: principal components as a Gaussian, of rows with missing entries."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.linalg

from kernelmill._arrays import to_host
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._climb import Run, Step, climb, warn_unconverged
from kernelmill._estimator._linalg import lapack_threads
from kernelmill._estimator._progress import Progress
from kernelmill._estimator._validation import refuse_unseen
from kernelmill._estimator._words import DENSE_ROWS
from kernelmill.decomposition._axes import by_scatter, signed
from kernelmill.decomposition._low_rank import LowRank
from kernelmill.decomposition._pca import few_rows
from kernelmill.decomposition._projection import GaussianProjection
from kernelmill.decomposition._words import WORDS
from kernelmill.ops import matmul, moments

_BLOCK = 1 << 18  # numbers of the second moments of the factors of a block of rows
_LEAST = 1e-14  # share of the variance that is noise at least


class _State(NamedTuple):
    mean: np.ndarray
    W: np.ndarray  # (k, d)
    noise: float
    value: float = -np.inf  # mean log-likelihood of the parameters before


def observed(X: Any, sample_weight: Any = None) -> np.ndarray:
    """Rows, then weights and weighted sums of observed entries of each feature: (3, d)."""
    X = to_host(X)
    seen = ~np.isnan(X)
    w = np.ones(len(X)) if sample_weight is None else to_host(sample_weight).astype(np.float64)
    rows = np.full(X.shape[1], float((w > 0).sum()))
    return np.array([rows, w @ seen, w @ np.where(seen, X, 0).astype(np.float64)])


def filled_products(X: Any, mean: np.ndarray, sample_weight: Any = None) -> np.ndarray:
    """Products of rows less the mean, with 0 for what is missing; the corner is the weight."""
    X = to_host(X)
    centred = np.where(np.isnan(X), 0, X - mean)
    w = None if sample_weight is None else to_host(sample_weight).astype(np.float64)
    return moments.products(centred, np.empty((len(X), 0)), np.zeros(X.shape[1]), w)


class Factors(NamedTuple):
    """What a block of rows says of its factors."""

    x: np.ndarray  # (n, d) centred, 0 where missing
    seen: np.ndarray  # (n, d) 1 where observed
    z: np.ndarray  # (n, k) means
    covariance: np.ndarray  # (n, k, k)
    density: np.ndarray  # (n,) log-densities of the observed entries


def factors(X: np.ndarray, mean: np.ndarray, W: np.ndarray, noise: float) -> Factors:
    """Means and covariances of the factors of rows given their observed entries.

    For a row with observed features o: ``G = noise I + W_o W_o'``, ``z = G^-1 W_o x_o``, covariance
    ``noise G^-1``.
    """
    k, d = W.shape
    seen = (~np.isnan(X)).astype(np.float64)
    x = np.where(seen > 0, X - mean, 0.0)
    G = (seen @ (W[:, None] * W).reshape(k * k, d).T).reshape(len(X), k, k)
    G += noise * np.eye(k)
    inverse = np.linalg.inv(G)
    z = np.einsum("nij,nj->ni", inverse, x @ W.T)
    rest = x - seen * (z @ W)
    count = seen.sum(1)
    log_det = np.linalg.slogdet(G)[1] + (count - k) * np.log(noise)
    square = (rest * rest).sum(1) / noise + (z * z).sum(1)
    density = -0.5 * (count * np.log(2 * np.pi) + log_det + square)
    return Factors(x, seen, z, noise * inverse, density)


def _blocks(X: Any, k: int) -> Any:
    X = to_host(X)
    step = max(1, _BLOCK // max((k + 1) ** 2, X.shape[1]))
    for i in range(0, len(X), step):
        yield slice(i, min(i + step, len(X))), X[i : i + step].astype(np.float64)


def expected(
    X: Any, mean: np.ndarray, W: np.ndarray, noise: float, sample_weight: Any = None
) -> np.ndarray:
    """Sums for the next parameters: (d + 1, q^2 + q + 1) with q = k + 1.

    Of each feature, over the rows where it is observed: ``E[e e']`` and ``x E[e]`` for
    ``e = (z, 1)``, and x^2. The last row has ``E[e e']`` over all rows, and their log-likelihood.
    """
    k, d = W.shape
    q = k + 1
    total = np.zeros((d + 1, q * q + q + 1))
    w = None if sample_weight is None else to_host(sample_weight).astype(np.float64)
    for place, block in _blocks(X, k):
        found = factors(block, mean, W, noise)
        n = len(block)
        e = np.concatenate([found.z, np.ones((n, 1))], axis=1)
        second = e[:, :, None] * e[:, None, :]
        second[:, :k, :k] += found.covariance
        weight = np.ones(n) if w is None else w[place]
        weighted = weight[:, None] * found.seen
        second = second.reshape(n, q * q)
        total[:d, : q * q] += matmul.matmul(weighted.T, second)
        total[:d, q * q : -1] += (weight[:, None] * found.x).T @ e
        total[:d, -1] += weight @ (found.x * found.x)
        total[d, : q * q] += weight @ second
        total[d, -1] += float(weight @ found.density)
    return total


def latent(X: Any, mean: np.ndarray, W: np.ndarray, noise: float, what: str) -> np.ndarray:
    """``"means"`` of the factors, log ``"densities"``, or rows with gaps ``"filled"``."""
    X = to_host(X)
    width = {"means": (len(W),), "densities": (), "filled": (len(mean),)}[what]
    out = np.empty((len(X), *width), np.float64 if what == "densities" else X.dtype)
    for place, block in _blocks(X, len(W)):
        found = factors(block, mean, W, noise)
        if what == "filled":
            out[place] = np.where(found.seen > 0, block, found.z @ W + mean)
        else:
            out[place] = found.z if what == "means" else found.density
    return out


class ProbabilisticPCA(GaussianProjection):
    """Principal components as a Gaussian model, whose rows may have missing entries.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components k, less than d; d - 1 by default.
    tol : float, default=1e-6
        Increase of the mean log-likelihood of a row that ends the iteration.
    method : {"auto", "em"}, default="auto"
        ``"auto"`` takes the maximum in closed form where no entry is missing.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, d), float64
        Axes, orthonormal, by decreasing variance; of the entries of each the largest in magnitude
        is positive.
    explained_variance_ : ndarray of shape (n_components,), float64
        Variance along each axis in the model, noise included: maximum likelihood, divided by n.
    noise_variance_ : float
        Variance in every other direction.
    mean_
    lower_bound_ : float
        Mean log-likelihood of a row of ``fit``.
    n_iter_ : int
        Number of iterations, 1 for the closed form.
    n_features_in_, feature_names_in_

    See Also
    --------
    PCA : Without missing entries.
    FactorAnalysis : A noise of its own in every feature.

    Notes
    -----
    Rows are ``x = z W + mean + e`` with factors z of variance 1 and noise e of one variance s in
    all features, so that ``x ~ N(mean, W'W + s I)``. An entry that is missing is integrated out:
    the likelihood is that of the observed entries, which is right where entries are missing for
    reasons that do not depend on their values. EM increases it. With e = (z, 1), G and z as
    in the code, each feature has the equations ``(sum E[e e']) (w, dm) = sum x E[e]`` over
    the rows where it is observed; s is the mean square of what they leave. Then the mean and
    covariance that the factors have over all rows are moved into the parameters, which increases
    the likelihood too, and saves most iterations where the noise is small. At the end W is turned
    to its principal axes. ``transform`` gives the means of z. A stream is read once in each
    iteration. Cost of an iteration n d k^2.

    References
    ----------
    Tipping and Bishop (1999), "Probabilistic principal component analysis". Ilin and Raiko (2010),
    "Practical approaches to principal component analysis in the presence of missing values". Liu,
    Rubin and Wu (1998), "Parameter expansion to accelerate EM: the PX-EM algorithm".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.decomposition import ProbabilisticPCA
    >>> t = np.linspace(0, 1, 20)
    >>> X = np.column_stack([t, 2 * t, 3 * t])
    >>> X += 0.01 * np.random.default_rng(0).normal(size=(20, 3))
    >>> X[3, 1] = X[7, 2] = np.nan
    >>> model = ProbabilisticPCA(1).fit(X)
    >>> bool(abs(model.impute(X)[3, 1] - 2 * t[3]) < 0.05)
    True
    """

    _accepts_missing = True
    _words = WORDS.extended(arguments={"fit.X": DENSE_ROWS})
    _parameters: ClassVar = {
        "n_components": rule.any_of(rule.integer(1), rule.nothing()),
        "tol": rule.real(0),
        "max_iter": rule.integer(1),
        "method": rule.one_of("auto", "em"),
    }

    def __init__(self, n_components=None, *, tol=1e-6, max_iter=1000, method="auto"):
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y=None, sample_weight=None):
        """Find the maximum of the likelihood.

        Raises
        ------
        ValueError
            If X, the weights or a parameter do not fit, or a feature has no observed entry.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ends the iteration.
        """
        rows = self._rows(X, sample_weight, reset=True)
        d = rows.n_features
        k = max(d - 1, 1) if self.n_components is None else self.n_components
        if k >= d:
            raise ValueError(
                f"{rows.owner}: n_components must be less than n_features, so that noise is left, "
                f"got {k} for {d} feature(s) (n_features = {d})"
            )
        counts, weights, sums = rows.map_reduce(observed)
        few_rows(int(counts[0]), rows.owner)
        refuse_unseen(weights, rows.owner)
        mean = sums / weights
        products = rows.map_reduce(filled_products, mean)
        total = float(products[-1, -1])
        shift = products[-1, :-1] / weights  # what rounding left of the mean
        mean = mean + shift
        S = products[:-1, :-1] / total - np.multiply.outer(shift, shift)
        axes = by_scatter(S, k)
        variance = float(np.trace(S)) / d
        least = _LEAST * variance
        if not variance > 0:
            raise ValueError(
                f"{rows.owner}: X must have features that vary, got constant ones alone"
            )
        noise = max((d * variance - float((axes.values**2).sum())) / (d - k), least)
        W = np.sqrt(np.maximum(axes.values**2 - noise, 0))[:, None] * axes.components
        complete = bool((weights >= total * (1 - 1e-12)).all())
        state = _State(mean, W, noise)
        if complete and self.method == "auto":
            value = -0.5 * (
                d * np.log(2 * np.pi) + np.log(np.maximum(axes.values**2, noise)).sum()
                + (d - k) * np.log(noise) + d
            )  # fmt: skip
            self.__dict__.update(self._learned(state._replace(value=float(value)), 1))
            return self
        # directions without a variance of their own would stay so
        W = np.sqrt(np.maximum(axes.values**2 - noise, 0.01 * noise))[:, None] * axes.components
        q = k + 1

        def advance(state: _State, most: int) -> Step:
            sums = rows.map_reduce(expected, state.mean, state.W, state.noise)
            second = sums[:, : q * q].reshape(d + 1, q, q)
            first = sums[:d, q * q : -1]
            new = np.linalg.solve(second[:d], first[:, :, None])[:, :, 0]
            rest = sums[:d, -1] - (first * new).sum(1)
            noise = max(float(np.maximum(rest, 0).sum() / weights.sum()), least)
            value = float(sums[d, -1]) / total
            finished = value - state.value <= self.tol
            # a free mean and covariance of the factors, moved into the parameters: PX-EM
            W, spread = new[:, :k].T, second[d] / total
            middle = spread[:k, k]
            L = np.linalg.cholesky(spread[:k, :k] - np.multiply.outer(middle, middle))
            mean = state.mean + new[:, k] + middle @ W
            after = _State(mean, L.T @ W, noise, value)
            return Step(after, value, finished)

        bar = Progress(self, False, iterations=self.max_iter, X=X)
        with lapack_threads(k), bar as progress:
            run: Run = climb(
                progress, lambda number: state._replace(W=W), advance, max_iter=self.max_iter,
                attributes=self._learned,
            )  # fmt: skip
        warn_unconverged(rows.owner, run, "max_iter", self.max_iter)
        self.__dict__.update(self._learned(run.state, run.n_iter))
        return self

    def _learned(self, state: _State, done: int) -> dict[str, Any]:
        _, values, axes = scipy.linalg.svd(state.W, full_matrices=False, check_finite=False)
        return {
            "components_": signed(axes),
            "explained_variance_": values**2 + state.noise,
            "noise_variance_": state.noise,
            "mean_": state.mean,
            "lower_bound_": state.value,
            "n_iter_": done,
        }

    def _low_rank(self) -> LowRank:
        spread = np.sqrt(np.maximum(self.explained_variance_ - self.noise_variance_, 0))
        noise = np.full(self.n_features_in_, self.noise_variance_)
        return LowRank(spread[:, None] * self.components_, noise)

    def _model(self) -> tuple[np.ndarray, np.ndarray, float]:
        return self.mean_, self._low_rank().W, self.noise_variance_

    def transform(self, X):
        """Means of the factors of rows, given what is observed.

        Returns
        -------
        Z : ndarray of shape (n, n_components), dtype of X, or Source
            For a stream a `kernelmill.stream.Source`.
        """
        return self._asked(X, "means", "_n_features_out")

    def impute(self, X):
        """Rows with their missing entries replaced by expected values.

        Returns
        -------
        X : ndarray of shape (n, d), dtype of X, or Source
            For a stream a `kernelmill.stream.Source`.
        """
        return self._asked(X, "filled", "n_features_in_")

    def score_samples(self, X):
        """Logarithms of the densities of the observed entries of rows.

        Returns
        -------
        densities : ndarray of shape (n,), float64
            A logarithm for each row.
        """
        self._check_fitted()
        return self._rows(X, reset=False, once=True).map(latent, *self._model(), "densities")

    def _asked(self, X: Any, what: str, columns: str) -> Any:
        """What `latent` gives of rows, with as many columns as the attribute of that name says."""
        self._check_fitted()
        return self._mapped(X, latent, (*self._model(), what), getattr(self, columns))

    def _check_fitted(self) -> None:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)

    def _restored(self, Z: np.ndarray) -> np.ndarray:
        return (matmul.matmul(Z.astype(np.float64), self._low_rank().W) + self.mean_).astype(
            Z.dtype
        )
