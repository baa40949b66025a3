"""SparseGaussianProcessRegressor: the variational bound over inducing inputs, by passes over rows.

With m inducing inputs Z, ``Kmm = k(Z, Z)``, ``Kmn = k(Z, X)``, noise variance s and
``Q = Knm Kmm^-1 Kmn``, the bound on the log marginal likelihood is

    F = log N(y; 0, Q + s I) - tr(Knn - Q) / (2 s),

for each target. It needs of the rows only sums: ``P = Kmn Knm`` (m, m), ``q = Kmn y`` (m, t), y'y,
tr Knn and n. So a pass over the rows, in memory or streamed, gives its value, in O(n m^2) time and
O(m^2) memory beside a chunk. With ``S = Kmm + P / s`` and ``v = S^-1 q``,

    dF/dP   = (Kmm^-1 - S^-1 - v v' / s^2) / (2 s),
    dF/dq   = v / s^2,
    dF/dKmm = (Kmm^-1 - S^-1 - v v' / s^2 - Kmm^-1 P Kmm^-1 / s) / 2,

and a second pass pulls ``dF/dKmn = 2 dF/dP Kmn + dF/dq y'`` back to the hyperparameters and to Z.
The sums are taken of ``L^-1 Kmn``, ``L L' = Kmm``, which loses no digits of a badly conditioned
Kmm.

Titsias (2009), "Variational learning of inducing variables in sparse Gaussian processes".
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from kernelmill._arrays import is_cupy
from kernelmill._estimator import _parameters as rule
from kernelmill._estimator._base import fitting
from kernelmill._estimator._random import seed_of
from kernelmill._estimator._rows import Rows
from kernelmill._estimator._targets import check_count, numbers
from kernelmill.gaussian_process import _factor
from kernelmill.gaussian_process._regressor import _CHUNK, ONE_OF_TWO, Sampled, columns_of
from kernelmill.gaussian_process._words import PARAMETERS, WORDS
from kernelmill.gaussian_process.kernels._kernel import Kernel, own_kernel


class _Sums(NamedTuple):
    """Sums over rows, with V = L^-1 Kmn."""

    VV: np.ndarray  # (m, m)
    Vy: np.ndarray  # (m, t)
    diagonal: float  # tr Knn

_LARGEST = 1e70  # of the targets: squares of their variances must not overflow


class SparseGaussianProcessRegressor(RegressorMixin, MultiOutputMixin, Sampled):
    """Gaussian process regression from inducing inputs, for many rows.

    The posterior is approximated from the function's values at `n_inducing` places. These, the
    kernel's hyperparameters and the variance of the noise maximise a lower bound on the log
    marginal likelihood, which never falls when inducing inputs are added, and is the log marginal
    likelihood where they are the rows.

    Parameters
    ----------
    kernel : Kernel, optional
        Covariance function without noise; ``1.0 * RBF(1.0)`` by default.
    n_inducing : int, default=100
        Number m of inducing inputs; at most the number of different rows is used.
    inducing_inputs : array-like of shape (m, d), optional
        Where they start; the centers of k-means by default.
    optimize_inducing : bool, default=True
        Move them too.
    noise_variance : float, optional
        Variance of the noise at the start; a tenth of the variance of y by default.
    noise_variance_bounds : pair of float or "fixed", default=(1e-8, 1e8)
        Its bounds in fits, relative to the variance of y.
    optimizer : "fmin_l_bfgs_b", callable or None, default="fmin_l_bfgs_b"
        How the bound is maximised; None keeps the kernel, the noise and the inducing inputs.
    max_iter : int, default=100
        Most iterations of L-BFGS. Each takes two passes over the rows, or a few.
    normalize_y : bool, default=False
        Centre and scale the targets of the fit; predictions are scaled back.

    Attributes
    ----------
    inducing_inputs_ : ndarray of shape (m, d)
        Inducing inputs.
    kernel_
    noise_variance_ : float
        Variance of the noise, in the unit of y squared, after normalisation.
    lower_bound_ : float
        The bound on the log marginal likelihood, summed over targets.
    jitter_ : float
        What was added to the diagonal of ``kernel_(inducing_inputs_)``; 0 if nothing.
    n_iter_ : int
        Iterations of the optimizer.
    n_features_in_, feature_names_in_

    Notes
    -----
    An iteration costs O(n m^2 + n m d) and reads the rows twice; memory is O(m^2) beside a chunk of
    the rows. X may be a stream; y is an array. Computations are in float64.

    References
    ----------
    Titsias (2009), "Variational learning of inducing variables in sparse Gaussian processes".

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.gaussian_process import SparseGaussianProcessRegressor
    >>> from kernelmill.gaussian_process.kernels import RBF
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 10, (5000, 1))
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=5000)
    >>> model = SparseGaussianProcessRegressor(1.0 * RBF(1.0), n_inducing=20, random_state=0)
    >>> model = model.fit(X, y)
    >>> model.predict([[np.pi / 2]]).round(1), round(model.noise_variance_, 3)
    (array([1.]), 0.01)
    """

    _words = WORDS
    _squares = False
    _parameters: ClassVar[dict[str, rule.Rule]] = {
        "kernel": PARAMETERS["kernel"],
        "n_inducing": rule.integer(1),
        "inducing_inputs": rule.any_of(rule.array("(m, d)"), rule.nothing()),
        "optimize_inducing": rule.boolean(),
        "noise_variance": rule.any_of(rule.real(0, above=True), rule.nothing()),
        "noise_variance_bounds": rule.any_of(rule.one_of("fixed"), rule.array("(2,)")),
        "optimizer": PARAMETERS["optimizer"],
        "max_iter": rule.integer(1),
        "normalize_y": rule.boolean(),
        "random_state": rule.RANDOM_STATE,
    }

    def __init__(
        self, kernel=None, *, n_inducing=100, inducing_inputs=None, optimize_inducing=True,
        noise_variance=None, noise_variance_bounds=(1e-8, 1e8), optimizer="fmin_l_bfgs_b",
        max_iter=100, normalize_y=False, random_state=None,
    ):  # fmt: skip
        self._set_parameters(locals())

    @fitting
    def fit(self, X, y):
        """Fit the process.

        Parameters
        ----------
        X : array-like or stream of shape (n, d)
            Rows.

        Raises
        ------
        ValueError
            If X, y or a parameter does not fit.
        """
        owner = type(self).__name__
        rows = self._rows(X, reset=True)
        if is_cupy(rows.X):
            raise TypeError(
                f"{owner}: X must be on the CPU, got an array on a GPU (move it with cupy.asnumpy, "
                "or use GaussianProcessRegressor)"
            )
        y = numbers(y, owner, np.float64)
        check_count(y, rows.count, owner)
        targets = y.reshape(len(y), -1)
        self._shape = columns_of(y)
        self._mean = targets.mean(0) if self.normalize_y else np.zeros(targets.shape[1])
        spread = targets.std(0)
        spread = spread if self.normalize_y else np.ones(len(spread))
        self._scale = np.where(spread > 0, spread, 1.0)
        targets = (targets - self._mean) / self._scale
        largest = float(np.abs(targets).max(initial=0.0))
        if largest and not 1 / _LARGEST < largest < _LARGEST:
            raise ValueError(
                f"{owner}: y must have sizes between {1 / _LARGEST:g} and {_LARGEST:g}, whose "
                f"fourth powers are finite, got up to {largest:.3g} (scale y, or normalize_y=True)"
            )
        kernel = own_kernel(self.kernel, owner)
        kernel._check(rows.n_features)
        Z = self._start(rows, owner)
        variance = float(targets.var(0).mean()) or 1.0
        noise = 0.1 * variance if self.noise_variance is None else float(self.noise_variance)
        data = _Data(rows, targets, owner)
        self.n_iter_ = 0
        with _factor.lapack_threads(len(Z)):
            if self.optimizer is not None:
                kernel, noise, Z = self._optimised(kernel, noise, Z, data, variance, owner)
            bound = _Bound(kernel, noise, Z, data)
        self.kernel_, self.noise_variance_, self.inducing_inputs_ = kernel, noise, Z
        self.lower_bound_, self.jitter_ = bound.value, bound.jitter
        # k(x, Z) Kmm^-1 u: means are k(x, Z) w, and variances lose what two factors explain.
        self._weights = _factor.half_solve(bound.L, bound.c / noise, transposed=True)
        self._L, self._LB = np.tril(bound.L), np.tril(bound.LB)
        return self

    def _start(self, rows: Rows, owner: str) -> np.ndarray:
        if self.inducing_inputs is not None:
            Z = np.array(self.inducing_inputs, dtype=np.float64)
            if Z.ndim != 2 or Z.shape[1] != rows.n_features or not np.isfinite(Z).all():
                raise ValueError(
                    f"{owner}: inducing_inputs must be finite, of shape (m, {rows.n_features}), "
                    f"got an array of shape {Z.shape}"
                )
            return Z
        from kernelmill.cluster import KMeans

        seed = seed_of(self.random_state) % 2**32  # what random_state of KMeans may be
        # k-means over 20 rows a center says as well where rows are dense as over all of them.
        sample = rows.sample(max(20 * self.n_inducing, 2000), seed, 0).X
        sample = np.unique(np.asarray(sample, dtype=np.float64), axis=0)
        if len(sample) <= self.n_inducing:
            return sample
        model = KMeans(self.n_inducing, n_init=1, max_iter=20, tol=0, random_state=seed)
        fitted = model.fit(sample)
        return fitted.cluster_centers_.astype(np.float64)

    def _optimised(
        self, kernel: Kernel, noise: float, Z: np.ndarray, data: _Data, variance: float, owner: str
    ) -> tuple[Kernel, float, np.ndarray]:
        p, moves = kernel.n_dims, self.optimize_inducing
        fixed = isinstance(self.noise_variance_bounds, str)
        # L-BFGS steps in units of the logarithms; inducing inputs move in units of their spread.
        unit = np.where(Z.std(0) > 0, Z.std(0), 1.0)

        def parts(theta: np.ndarray) -> tuple[Kernel, float, np.ndarray]:
            own = kernel.clone_with_theta(theta[:p])
            s = noise if fixed else float(np.exp(theta[p]))
            rest = theta[p + (not fixed) :]
            return own, s, rest.reshape(Z.shape) * unit if moves else Z

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            try:
                bound = _Bound(*parts(theta), data)
            except ValueError:
                return -math.inf, np.zeros(len(theta))
            dtheta, dnoise, dZ = bound.gradient(moves)
            found = [dtheta] if fixed else [dtheta, np.array([dnoise])]
            if moves:
                found.append((dZ * unit).ravel())
            return bound.value, np.concatenate(found)

        start, bounds = [kernel.theta], [kernel.bounds]
        if not fixed:
            low, high = np.asarray(self.noise_variance_bounds, dtype=np.float64) * variance
            start.append(np.log([np.clip(noise, low, high)]))
            bounds.append(np.log([[low, high]]))
        if moves:
            start.append((Z / unit).ravel())
            bounds.append(np.full((Z.size, 2), (-np.inf, np.inf)))
        theta, _ = _factor.maximise(
            objective, np.concatenate(start), np.concatenate(bounds), self.optimizer, owner,
            max_iter=self.max_iter, count=lambda n: setattr(self, "n_iter_", n),
        )  # fmt: skip
        return parts(theta)

    def predict(self, X, return_std=False, return_cov=False):
        """Means of the posterior.

        Returns
        -------
        mean : ndarray of shape (m,) or (m, n_targets)
            Means.
        std : ndarray of shape (m,) or (m, n_targets)
            Standard deviations of the function, without noise, if asked for.
        cov : ndarray of shape (m, m) or (m, m, n_targets)
            Covariances of the function, without noise, if asked for.

        Raises
        ------
        RuntimeError
            If both are asked for.
        """
        check_is_fitted(self)
        if return_std and return_cov:
            raise RuntimeError(ONE_OF_TWO.format(type(self).__name__))
        rows = self._rows(X, reset=False)
        spread = return_std or return_cov
        state = self.kernel_, self.inducing_inputs_, self._weights, self._L, self._LB, spread
        found = rows.map(_predicted, *state)
        mean = found[:, :-1] * self._scale + self._mean
        mean = mean.reshape(len(mean), *self._shape)
        if return_cov:
            cov = self._covariances(rows, found[:, -1])[:, :, None] * self._scale**2
            return mean, cov.reshape(*cov.shape[:2], *self._shape)
        if not return_std:
            return mean
        std = np.sqrt(found[:, -1:]) * self._scale
        return mean, std.reshape(mean.shape)

    def _covariances(self, rows: Rows, variances: np.ndarray) -> np.ndarray:
        """``k(x, x') - v'v + u'u`` with ``v = L^-1 k(Z, x)`` and ``u = LB^-1 v``."""
        x = rows.map(np.asarray, np.float64)
        V = _factor.half_solve(self._L, self.kernel_._forward(x, self.inducing_inputs_, False)[0].T)
        U = _factor.half_solve(self._LB, V)
        cov = self.kernel_._forward(x, x, True)[0] - V.T @ V + U.T @ U
        np.einsum("ii->i", cov)[...] = variances
        return cov


def _predicted(
    X: np.ndarray, kernel: Kernel, Z: np.ndarray, weights: np.ndarray, L: np.ndarray,
    LB: np.ndarray, variances: bool,
) -> np.ndarray:  # fmt: skip
    """Means of the targets, and the variance in the last column."""
    out = np.zeros((len(X), weights.shape[1] + 1))
    for start in range(0, len(X), _CHUNK):
        rows = slice(start, start + _CHUNK)
        x = np.asarray(X[rows], dtype=np.float64)
        K, _ = kernel._forward(x, Z, False)
        out[rows, :-1] = K @ weights
        if variances:
            V = _factor.half_solve(L, K.T)
            U = _factor.half_solve(LB, V)
            prior = kernel._diag(x)
            square = prior - np.einsum("ij,ij->j", V, V) + np.einsum("ij,ij->j", U, U)
            out[rows, -1] = np.maximum(square, np.finfo(float).eps * prior)
    return out


class _Data:
    """The rows and targets of a fit, in chunks."""

    def __init__(self, rows: Rows, targets: np.ndarray, owner: str) -> None:
        self.rows, self.targets, self.owner = rows, targets, owner
        self.count, self.squares = len(targets), float(np.vdot(targets, targets))

    def chunks(self):
        """Rows, float64, with their targets."""
        at = 0
        for chunk in self.rows.chunks():
            for start in range(0, chunk.count, _CHUNK):
                x = np.asarray(chunk.X[start : start + _CHUNK], dtype=np.float64)
                yield x, self.targets[at : at + len(x)]
                at += len(x)


class _Bound:
    """The bound at some parameters.

    Attributes
    ----------
    value : float
    L, LB : ndarray of shape (m, m)
        Factors of Kmm, and of ``I + V V' / s``.
    c : ndarray of shape (m, t)
        ``(I + V V' / s)^-1 V y``
    jitter : float
    """

    def __init__(self, kernel: Kernel, noise: float, Z: np.ndarray, data: _Data) -> None:
        self.kernel, self.noise, self.Z, self.data = kernel, noise, Z, data
        self.L, self.jitter = _factor.factor(
            lambda: _factor.covariances(kernel, Z), 0.0, data.owner
        )
        m, t, n = len(Z), data.targets.shape[1], data.count
        sums = _Sums(np.zeros((m, m)), np.zeros((m, t)), 0.0)
        for x, y in data.chunks():
            K, _ = kernel._forward(x, Z, False)
            V = _factor.half_solve(self.L, K.T)
            sums = _Sums(
                sums.VV + V @ V.T, sums.Vy + V @ y, sums.diagonal + float(kernel._diag(x).sum())
            )
        self.sums = sums
        self.LB = _factor.factor(lambda: sums.VV / noise, 1.0, data.owner)[0]
        self.c = _factor.solve(self.LB, sums.Vy)
        explained = float(np.vdot(sums.Vy, self.c)) / noise
        logs = n * math.log(2 * math.pi * noise) + _factor.log_determinant(self.LB)
        left = (sums.diagonal - float(np.trace(sums.VV))) / noise
        self.value = -0.5 * (t * (logs + left) + (data.squares - explained) / noise)

    def gradient(self, moves: bool) -> tuple[np.ndarray, float, np.ndarray]:
        """Derivatives in theta, in the logarithm of the noise, and in Z."""
        kernel, s, Z, data, sums = self.kernel, self.noise, self.Z, self.data, self.sums
        m, t, n = len(Z), data.targets.shape[1], data.count
        # In the coordinates of L: Kmm is I, P is VV and S is B.
        eye = np.eye(m)
        B = _factor.solve(self.LB, eye)
        vv = self.c @ self.c.T / s**2
        dP = (t * (eye - B) - vv) / (2 * s)
        dKmm = 0.5 * (t * (eye - B - sums.VV / s) - vv)
        dP, dKmm = (self._back(A) for A in (dP, dKmm))
        dq = _factor.half_solve(self.L, self.c, transposed=True) / s**2
        explained = float(np.vdot(sums.Vy, self.c))
        dnoise = 0.5 * (
            t * (float(np.vdot(B, sums.VV)) / s - n)
            + data.squares / s
            - 2 * explained / s**2
            + float(np.vdot(self.c, sums.VV @ self.c)) / s**3
            + t * (sums.diagonal - float(np.trace(sums.VV))) / s
        )
        saved = kernel._forward(Z, Z, True)[1]
        dtheta = kernel._pull(Z, Z, True, saved, dKmm)
        dZ = np.zeros_like(Z)
        if moves:
            own = kernel._forward(Z, Z, False)[1]
            inner = dKmm - np.diag(np.diag(dKmm))  # its diagonal moves in both arguments
            dZ = 2 * kernel._pull_rows(Z, Z, own, inner)
            dZ += kernel._pull_diag_rows(Z, np.diag(dKmm))
        for x, y in data.chunks():
            K, saved = kernel._forward(x, Z, False)
            A = 2 * K @ dP + y @ dq.T
            dtheta += kernel._pull(x, Z, False, saved, A)
            dtheta += kernel._pull_diag(x, np.full(len(x), -0.5 * t / s))
            if moves:
                turned = kernel._forward(Z, x, False)[1]
                dZ += kernel._pull_rows(Z, x, turned, np.ascontiguousarray(A.T))
        return dtheta, dnoise, dZ

    def _back(self, A: np.ndarray) -> np.ndarray:
        """``L'^-1 A L^-1``"""
        half = _factor.half_solve(self.L, A, transposed=True)
        return _factor.half_solve(self.L, half.T, transposed=True).T
