"""GaussianProcessRegressor: exact inference by one Cholesky factor.

With K the covariances of the rows, S the noise, ``L L' = K + S`` and ``a = (K + S)^-1 y``,

    log p(y) = -y'a / 2 - sum_i log L_ii - n log(2 pi) / 2,
    d log p(y) / dK = (a a' - (K + S)^-1) / 2,

and the kernel pulls that back to its hyperparameters by blocks of rows. An evaluation costs n^3
flops: a third for L, two thirds for the inverse. At a row x with ``v = L^-1 k(X, x)``, the mean is
``k(x, X) a`` and the variance ``k(x, x) - v'v``.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import beside, is_cupy, namespace
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting, warn
from kernelmill._estimator._linalg import numpy_on_one_thread
from kernelmill._estimator._random import legacy_state, seed_of
from kernelmill._estimator._rows import Estimator
from kernelmill._estimator._targets import check_count, numbers
from kernelmill.gaussian_process import _factor
from kernelmill.gaussian_process._scoring import ascend
from kernelmill.gaussian_process._search import Search, described, fingerprint
from kernelmill.gaussian_process._words import PARAMETERS, WORDS
from kernelmill.gaussian_process.kernels._kernel import Kernel, own_kernel

# From this many rows on, the search for hyperparameters starts from where it ends on half of the
# rows, drawn at random: there an evaluation costs an eighth, and most of them are far from the end.
_COARSE = 1000
# A search ends with the step that is foreseen to gain less, in log p; half of the rows have their
# optimum where the likelihood of all is lower by about 1.
_COARSE_GAIN, _LAST_GAIN = 1e-2, 1e-5
_CHUNK = 1000  # rows of a prediction at a time: memory is that times n


ONE_OF_TWO = (
    "{}: only one of return_std and return_cov may be True, got both (At most one of return_std or "
    "return_cov can be requested.)"
)


def columns_of(y: Any) -> tuple[int, ...]:
    """Axes of predictions beside the rows': none for one column of targets, as in scikit-learn."""
    return y.shape[1:] if y[:1].size > 1 else ()


class Sampled(Estimator):
    """Base of processes of which functions can be drawn, by ``predict(X, return_cov=True)``."""

    _words = WORDS

    def sample_y(self, X, n_samples=1, random_state=0):
        """Draw functions from the process.

        Returns
        -------
        samples : ndarray of shape (m, n_samples) or (m, n_targets, n_samples)
            Values of the functions at the rows.

        Raises
        ------
        ValueError
            If `n_samples` is no whole number of at least 0.
        """
        rule.check_whole(n_samples, "n_samples", type(self).__name__)
        mean, cov = self.predict(X, return_cov=True)
        draw = legacy_state(seed_of(random_state), 0)
        several = mean.reshape(len(mean), -1)
        covs = cov.reshape(len(mean), len(mean), -1)
        samples = namespace(mean).empty((*several.shape, n_samples))
        for t in range(several.shape[1]):
            values, vectors = np.linalg.eigh(covs[:, :, t])
            root = vectors * np.sqrt(np.maximum(values, 0))
            noise = beside(draw.standard_normal((len(mean), n_samples)), mean)
            samples[:, t] = several[:, t, None] + root @ noise
        return samples.reshape(*mean.shape, n_samples)


class GaussianProcessRegressor(RegressorMixin, MultiOutputMixin, Sampled):
    """Gaussian process regression.

    The prior of the function is a Gaussian process with a kernel as covariance; the targets are its
    values with Gaussian noise. Hyperparameters maximise the log marginal likelihood.

    Parameters
    ----------
    kernel : Kernel, optional
        Covariance function, of `kernelmill.gaussian_process.kernels`; scikit-learn's are taken too.
        ``ConstantKernel() * RBF()`` by default.
    alpha : float or array-like of shape (n,), default=1e-10
        Variance of the noise of each target, added to the diagonal; in the unit of y squared, after
        normalisation.
    optimizer : {"scoring", "fmin_l_bfgs_b"}, callable or None, default="scoring"
        How the log marginal likelihood is maximised over the kernel's hyperparameters: by scoring
        steps, or by SciPy's L-BFGS-B; None keeps them. A callable takes ``(objective, start,
        bounds)`` and returns the best theta and the objective there, which is minus the log
        marginal likelihood and its gradient.
    normalize_y : bool, default=False
        Centre and scale the targets of the fit; predictions are scaled back.
    n_targets : int, optional
        Number of targets of the prior, before a fit; 1 by default.
    warm_start

    Attributes
    ----------
    X_train_
    y_train_ : ndarray of shape (n,) or (n, n_targets)
        Targets of the fit, normalised.
    kernel_
    L_ : ndarray of shape (n, n)
        Lower Cholesky factor of the covariances of the targets.
    alpha_ : ndarray of shape (n,) or (n, n_targets)
        Weights of the rows in means.
    jitter_, log_marginal_likelihood_value_, n_features_in_, feature_names_in_

    Notes
    -----
    An evaluation of the log marginal likelihood with its gradient takes n^3 flops and one matrix of
    n^2 numbers beside blocks; the average information, which scoring takes for curvature, n^2 more
    for each hyperparameter. From 1,000 rows on, the search starts from where it ends on half of the
    rows, drawn at random. Callbacks hear of each evaluation. Where the kernel matrix is not
    numerically positive definite, a jitter relative to its diagonal is added, kept in ``jitter_``,
    and warned of. Computations are in float64. For more rows than about 10,000 see
    `SparseGaussianProcessRegressor`.

    References
    ----------
    Rasmussen and Williams (2006), "Gaussian processes for machine learning", algorithm 2.1.
    Gilmour, Thompson and Cullis (1995), "Average information REML".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.gaussian_process import GaussianProcessRegressor
    >>> from kernelmill.gaussian_process.kernels import RBF, WhiteKernel
    >>> X = np.linspace(0, 10, 100)[:, None]
    >>> y = np.sin(X[:, 0]) + 0.1 * np.random.default_rng(0).normal(size=100)
    >>> model = GaussianProcessRegressor(RBF() + WhiteKernel(1e-2)).fit(X, y)
    >>> mean, std = model.predict([[np.pi / 2], [20.0]], return_std=True)
    >>> float(mean[0].round(1)), bool(std[1] > 2 * std[0])
    (1.0, True)
    >>> model.sample_y([[1.0], [2.0]], n_samples=3, random_state=0).shape
    (2, 3)
    """

    _words = WORDS
    _accepts_streams = False
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        **PARAMETERS,
        "optimizer": rule.any_of(rule.one_of("scoring"), PARAMETERS["optimizer"]),
        "alpha": rule.any_of(rule.real(0), rule.array("(n,)")),
        "normalize_y": rule.boolean(),
        "copy_X_train": rule.boolean(),
        "n_targets": rule.any_of(rule.integer(1), rule.nothing()),
        "warm_start": rule.boolean(),
    }

    def __init__(
        self, kernel=None, *, alpha=1e-10, optimizer="scoring", n_restarts_optimizer=0,
        normalize_y=False, copy_X_train=True, n_targets=None, random_state=None, warm_start=False,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y):
        """Fit the process.

        Raises
        ------
        ValueError
            If X, y or a parameter does not fit, or the kernel matrix is not positive definite.
        """
        owner, given = type(self).__name__, X
        rows = self._rows(X, reset=True)
        y = numbers(y, owner, np.float64)
        check_count(y, rows.count, owner)
        targets = y.reshape(len(y), -1)
        if self.n_targets is not None and targets.shape[1] != self.n_targets:
            raise ValueError(
                f"{owner}: y must have n_targets = {self.n_targets} columns, got {targets.shape[1]}"
                " (The number of targets seen in `y` is different from the parameter `n_targets`.)"
            )
        noise = self._noise(rows.count, owner)
        self._mean = targets.mean(0) if self.normalize_y else np.zeros(targets.shape[1])
        self._scale = np.ones(targets.shape[1])
        if self.normalize_y:
            spread = targets.std(0)
            self._scale = np.where(spread > 0, spread, 1.0)
        targets = beside((targets - self._mean) / self._scale, rows.X)
        X = rows.X.astype(np.float64, copy=self.copy_X_train)
        kernel = own_kernel(self.kernel, owner)
        kernel._check(X.shape[1])
        optimises = self.optimizer is not None and kernel.n_dims > 0
        made_of = [described(kernel), repr(self.optimizer), self.n_restarts_optimizer]
        made_of += fingerprint(X, targets, np.asarray(noise))
        self._axes = y.shape[1:]
        self.__dict__.pop("X_train_", None)  # that of this fit may be the same array
        runs = 1 + self.n_restarts_optimizer if optimises else 0
        with (
            _factor.lapack_threads(len(X)), numpy_on_one_thread,
            Search(self, given, y, made_of, runs) as search,
        ):  # fmt: skip
            if optimises:
                kernel = self._optimised(kernel, X, targets, noise, search)
            found = _posterior(kernel, X, targets, noise, owner)
            attributes = self._attributes(kernel, X, targets, *found)
            search.progress.end_fit(lambda: attributes)
        self.__dict__.update(attributes)
        self._warn_of_jitter(owner)
        return self

    def _attributes(
        self, kernel: Kernel, X: np.ndarray, targets: np.ndarray, L: np.ndarray, jitter: float,
        weights: np.ndarray, value: float,
    ) -> dict[str, Any]:  # fmt: skip
        shape = (len(X), *self._axes)
        if not is_cupy(L):  # CuPy's is a triangle
            for j in range(1, len(L)):  # columns of Fortran's order, without another n x n
                L[:j, j] = 0
        return {
            "kernel_": kernel, "L_": L, "jitter_": jitter, "log_marginal_likelihood_value_": value,
            "X_train_": X, "y_train_": targets.reshape(shape), "alpha_": weights.reshape(shape),
            "_mean": self._mean, "_scale": self._scale,
        }  # fmt: skip

    def _noise(self, n: int, owner: str) -> Any:
        if np.ndim(self.alpha) == 0:
            return float(self.alpha)
        noise = np.asarray(self.alpha, dtype=np.float64)
        if noise.shape not in ((n,), (1,)) or not (noise >= 0).all():
            raise ValueError(
                f"{owner}: alpha must be a number or one number of at least 0 for each of {n} rows,"
                f" got an array of shape {noise.shape} (alpha must be a scalar or an array with "
                "same number of entries as y)"
            )
        return noise

    def _optimised(
        self, kernel: Kernel, X: np.ndarray, targets: np.ndarray, noise: Any, search: Search
    ) -> Kernel:
        """The kernel with the hyperparameters of the largest log marginal likelihood."""
        owner, n = type(self).__name__, len(X)
        noise = np.broadcast_to(noise, n)
        starts, bounds = [kernel.theta], kernel.bounds
        if self.n_restarts_optimizer:
            low, high = _factor.check_bounds(kernel, owner).T
            draw = legacy_state(search.seed, 0)
            starts += [draw.uniform(low, high) for _ in range(self.n_restarts_optimizer)]
        order = legacy_state(search.seed, 1).permutation(n)

        def climb(start: np.ndarray, count: int) -> tuple[np.ndarray, float]:
            """The search on some of the rows, from where it ends on half of them."""
            part = np.sort(order[:count]) if count < n else slice(None)
            data = X[part], targets[part], noise[part]

            def likelihood(theta: np.ndarray, least: float) -> Any:
                own = kernel.clone_with_theta(theta)
                kept: dict[str, Any] = {"keep": []} if search.keeps else {}
                return search.evaluate(
                    theta, lambda: _likelihood(own, *data, owner, least, **kept),
                    lambda: self._attributes(own, *data[:2], *kept["keep"]),
                )  # fmt: skip

            search.forget(whole=count == n)
            if self.optimizer != "scoring":
                return _factor.maximise(
                    lambda theta: likelihood(theta, -math.inf)[:2], start, bounds,
                    self.optimizer, owner,
                )  # fmt: skip
            powers, gain = kernel._theta_powers(), _LAST_GAIN if count == n else _COARSE_GAIN
            ascent = functools.partial(ascend, likelihood, bounds=bounds, powers=powers,
                                       owner=owner, gain=gain)  # fmt: skip
            if count < _COARSE:
                return ascent(start)
            first = climb(start, count // 2)[0]
            search.forget(whole=count == n)
            found, value = ascent(first)
            # Half of the rows may have led away from a better start.
            return (found, value) if value >= likelihood(start, math.inf)[0] else ascent(start)

        best, most = starts[0], -math.inf
        for start in starts:
            theta, value, ends = search.run(functools.partial(climb, start, n))
            if value > most or most == -math.inf:
                best, most = theta, value
            if ends:
                break
        found = kernel.clone_with_theta(best)
        _factor.warn_at_bounds(found, owner)
        return found

    def _warn_of_jitter(self, owner: str) -> None:
        if self.jitter_ > 0:
            warn(
                f"{owner}: the kernel matrix must be positive definite, got one that needed "
                f"{self.jitter_:.3g} more on its diagonal (are rows repeated? raise alpha or add a "
                "WhiteKernel)",
                RuntimeWarning,
            )

    def log_marginal_likelihood(self, theta=None, eval_gradient=False, clone_kernel=True):
        """Log marginal likelihood of the targets of the fit.

        Returns
        -------
        value : float
            Log marginal likelihood, summed over targets.
        gradient : ndarray of shape (p,)
            Its gradient in `theta`, if asked for.

        Raises
        ------
        ValueError
            If the gradient is asked for without theta.
        """
        check_is_fitted(self)
        if theta is None:
            if eval_gradient:
                raise ValueError(
                    f"{type(self).__name__}: theta must be given with eval_gradient=True, got None "
                    "(Gradient can only be evaluated for theta!=None)"
                )
            return np.float64(self.log_marginal_likelihood_value_)
        owner = type(self).__name__
        kernel = self.kernel_.clone_with_theta(theta)
        if not clone_kernel:
            self.kernel_.theta = kernel.theta
        targets = self.y_train_.reshape(len(self.y_train_), -1)
        noise = self._noise(len(targets), owner)
        least = -math.inf if eval_gradient else math.inf
        with _factor.lapack_threads(len(targets)), numpy_on_one_thread:
            value, gradient, _ = _likelihood(kernel, self.X_train_, targets, noise, owner, least)
        value = np.float64(value)
        return (value, gradient) if eval_gradient else value

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False  # before a fit, predictions are those of the prior
        return tags

    def _query(self, X: Any) -> tuple[Any, Any]:
        """Rows to predict, float64, beside those of the fit, and as they are given."""
        fitted = "X_train_" in vars(self)
        given = self._rows(X, reset=not fitted).X
        X = given.astype(np.float64, copy=False)
        return (beside(X, self.X_train_) if fitted else X), given

    @numpy_on_one_thread
    def predict(self, X, return_std=False, return_cov=False):
        """Means of the posterior, or of the prior before a fit.

        Returns
        -------
        mean : ndarray of shape (m,) or (m, n_targets)
            Means.
        std : ndarray of shape (m,) or (m, n_targets)
            Standard deviations of the function, without noise outside the kernel, if asked for.
        cov : ndarray of shape (m, m) or (m, m, n_targets)
            Covariances, if asked for.

        Raises
        ------
        RuntimeError
            If both are asked for.
        """
        if return_std and return_cov:
            raise RuntimeError(ONE_OF_TWO.format(type(self).__name__))
        if "X_train_" not in vars(self):
            return self._prior(X, return_std, return_cov)
        X, given = self._query(X)
        targets, xp = columns_of(self.y_train_), namespace(X)
        middle, scale = beside(self._mean, X), beside(self._scale, X)
        mean = xp.empty((len(X), len(self._scale)))
        square = xp.empty(len(X))
        weights = self.alpha_.reshape(len(self.alpha_), -1)
        halves = []
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            K, _ = self.kernel_._forward(X[rows], self.X_train_, False)
            mean[rows] = K @ weights * scale + middle
            if return_std or return_cov:
                V = _factor.half_solve(self.L_, K.T)
                prior = self.kernel_._diag(X[rows])
                # What is left may be rounding: eps of the prior is the most that is known of it.
                least = np.finfo(float).eps * prior
                square[rows] = np.maximum(prior - np.einsum("ij,ij->j", V, V), least)
                if return_cov:
                    halves.append(V)
        mean = beside(mean.reshape(len(X), *targets), given)
        if return_std:
            std = np.sqrt(square)[:, None] * scale
            return mean, beside(std.reshape(len(X), *targets), given)
        if return_cov:
            V = np.concatenate(halves, axis=1) if halves else xp.zeros((len(self.L_), 0))
            cov = self.kernel_._forward(X, X, True)[0] - V.T @ V
            places = xp.arange(len(X))
            cov[places, places] = square
            cov = cov[:, :, None] * scale**2
            return mean, beside(cov.reshape(len(X), len(X), *targets), given)
        return mean

    def _prior(self, X: Any, return_std: bool, return_cov: bool) -> Any:
        (X, _), kernel = self._query(X), own_kernel(self.kernel, type(self).__name__)
        kernel._check(X.shape[1])
        targets = () if self.n_targets in (None, 1) else (self.n_targets,)
        mean = namespace(X).zeros((len(X), *targets))
        spread = namespace(X).ones(targets)
        if return_cov:
            cov = kernel._forward(X, X, True)[0]
            return mean, cov.reshape(*cov.shape, *[1] * len(targets)) * spread
        if return_std:
            std = np.sqrt(kernel._diag(X))
            return mean, std.reshape(*std.shape, *[1] * len(targets)) * spread
        return mean

    def predict_gradient(self, X, return_std=False):
        """Gradients of the mean, and of the standard deviation, in the features.

        Returns
        -------
        dmean : ndarray of shape (m, d) or (m, d, n_targets)
            Derivatives of the means.
        dstd : ndarray of shape (m, d) or (m, d, n_targets)
            Derivatives of the standard deviations, if asked for.

        Examples
        --------
        >>> import numpy as np
        >>> from kernelmill.gaussian_process import GaussianProcessRegressor
        >>> from kernelmill.gaussian_process.kernels import RBF
        >>> X = np.linspace(0, 6, 20)[:, None]
        >>> model = GaussianProcessRegressor(RBF(), alpha=1e-6).fit(X, np.sin(X[:, 0]))
        >>> bool(abs(model.predict_gradient([[0.5]])[0, 0] - np.cos(0.5)) < 1e-3)
        True
        """
        check_is_fitted(self)
        X, given = self._query(X)
        targets, xp = columns_of(self.y_train_), namespace(X)
        weights = self.alpha_.reshape(len(self.alpha_), -1)
        dmean = xp.empty((*X.shape, len(self._scale)))
        dstd = xp.empty(X.shape)
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            x = X[rows]
            K, saved = self.kernel_._forward(x, self.X_train_, False)
            for t, scale in enumerate(self._scale):
                A = np.broadcast_to(weights[:, t] * scale, K.shape)
                dmean[rows, :, t] = self.kernel_._pull_rows(x, self.X_train_, saved, A)
            if return_std:
                # d(k - v'v) = dk - 2 dk(x, X) (K + S)^-1 k(X, x), and dstd is half of it by std.
                inner = _factor.solve(self.L_, K.T).T
                change = self.kernel_._pull_diag_rows(x, xp.ones(len(x)))
                change -= 2 * self.kernel_._pull_rows(x, self.X_train_, saved, inner)
                prior = self.kernel_._diag(x)
                square = prior - np.einsum("ij,ij->i", K, inner)
                std = np.sqrt(np.maximum(square, np.finfo(float).eps * prior))
                dstd[rows] = change / (2 * std[:, None])
        shape = (*X.shape, *targets)
        dmean = beside(dmean.reshape(shape), given)
        if return_std:
            dstd = dstd[:, :, None] * beside(self._scale, X)
            return dmean, beside(dstd.reshape(shape), given)
        return dmean


def _posterior(
    kernel: Kernel, X: np.ndarray, targets: np.ndarray, noise: Any, owner: str
) -> tuple[np.ndarray, float, np.ndarray, float]:
    """L, the jitter, the weights of the rows and the log marginal likelihood.

    What is above the diagonal of L is not set: `_attributes` sets it to 0.
    """
    L, jitter = _factor.factor(lambda: _factor.covariances(kernel, X), noise, owner)
    weights = _factor.solve(L, targets)
    n, t = targets.shape
    value = -0.5 * float(np.vdot(targets, weights))
    value -= t * (0.5 * _factor.log_determinant(L) + 0.5 * n * math.log(2 * math.pi))
    return L, jitter, weights, value


def _likelihood(
    kernel: Kernel, X: np.ndarray, targets: np.ndarray, noise: Any, owner: str, least: float,
    keep: list[Any] | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:  # fmt: skip
    """The log marginal likelihood; its gradient and information if it is above the least.

    A list `keep` gets what `_posterior` returns.
    """
    p = kernel.n_dims
    try:
        L, jitter, weights, value = _posterior(kernel, X, targets, noise, owner)
    except ValueError:
        # Hyperparameters without a factor have no likelihood; a search turns back.
        return -math.inf, np.zeros(p), np.zeros((p, p))
    if keep is not None:
        keep[:] = L.copy(order="K"), jitter, weights, value
    if not value > least:
        return value, np.zeros(0), np.zeros((0, 0))
    lower = _factor.inverse(L)
    upper = lower.T  # rows of it are adjacent, from the diagonal on
    t = targets.shape[1]

    def block(rows: slice, columns: slice) -> np.ndarray:
        return 0.5 * (weights[rows] @ weights[columns].T - t * upper[rows, columns])

    gradient, products = _factor.contract(kernel, X, block, weights)
    V = np.moveaxis(products, 0, 2).reshape(len(X), t * p)
    return value, gradient, _factor.information(lower, V, p)
