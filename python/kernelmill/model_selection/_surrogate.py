"""The model of an objective: a Gaussian process of warped values, and one of failures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize as scipy_minimize
from scipy.special import log_ndtr
from sklearn.exceptions import ConvergenceWarning

from kernelmill.gaussian_process import GaussianProcessRegressor, _factor
from kernelmill.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from kernelmill.gaussian_process.kernels._kernel import Kernel
from kernelmill.model_selection._space import Space

OWNER = "BayesianOptimizer"
# Values that differ by rounding give the same search: warped ones are multiples of this.
_GRID = 2.0**-30
# Log-normal priors of hyperparameters, (mean, deviation) of logarithms: variance and noise of
# values of variance 1; a length scale grows with the root of the number of dimensions, as
# distances do (Hvarfner, Hellsten and Nardi, 2024).
_VARIANCE = (0.0, 1.0)
_NOISE = (math.log(1e-4), 2.5)
_LENGTH = (math.log(0.5), 1.0)
_BOUNDS = {"variance": (1e-2, 1e2), "length": (1e-2, 1e2), "noise": (1e-7, 0.1)}
_LABEL_NOISE = 0.01
# Hyperparameters are fitted to so many points: the best half of that, and others evenly by value.
_MOST_FITTED = 300


class Warp(NamedTuple):
    """A monotone function of values: linear near the least one, logarithmic far above it.

    How bad a bad point is tells little of where the best one is, and would stretch the model. With
    ``u = (y - least) / scale``, where scale is the median of ``y - least``, ``w = (log1p(u) - mean)
    / std``. So w is the same when the values are scaled and shifted.
    """

    exponent: int
    least: float
    scale: float
    mean: float
    std: float

    @classmethod
    def of(cls, y: np.ndarray, first: int = 0) -> Warp:
        """That of some values, all finite, of which the first have been spread over the space."""
        if not len(y):
            return cls(0, 0.0, 1.0, 0.0, 1.0)
        # Powers of 2 change no digit, and no difference overflows afterwards.
        exponent = int(np.frexp(np.abs(y).max())[1]) + 1
        y = np.ldexp(y, -exponent)
        least = float(y.min())
        # Later values crowd at the least one: the scale must not follow them there.
        scale = max(float(np.median(part)) - least for part in (y, y[:first] if first else y))
        scale = scale or float(y.max()) - least
        if scale == 0:
            return cls(exponent, least, 1.0, 0.0, 1.0)
        u = np.log1p((y - least) / scale)
        return cls(exponent, least, scale, float(u.mean()), float(u.std()))

    def __call__(self, y: np.ndarray) -> np.ndarray:
        u = np.log1p((np.ldexp(y, -self.exponent) - self.least) / self.scale)
        return np.rint((u - self.mean) / self.std / _GRID) * _GRID

    def inverse(self, w: np.ndarray) -> np.ndarray:
        """The values of warped ones; below the least, on the line that goes on."""
        u = w * self.std + self.mean
        u = np.where(u > 0, np.expm1(np.clip(u, 0.0, 700.0)), u)
        with np.errstate(over="ignore"):
            return np.ldexp(u * self.scale + self.least, self.exponent)


class Posterior:
    """A Gaussian process at given hyperparameters, that points can be added to.

    Parameters
    ----------
    kernel : Kernel
        That of the function, without noise.
    noise : float
        Variance of the noise.
    Z : ndarray of shape (n, d)
        Rows.
    w : ndarray of shape (n,)
        Their values.
    """

    def __init__(self, kernel: Kernel, noise: float, Z: np.ndarray, w: np.ndarray) -> None:
        self.kernel, self.noise, self.Z, self.w = kernel, noise, Z, w
        self.L, _ = _factor.factor(lambda: _factor.covariances(kernel, Z), noise, OWNER)
        self.a = _factor.solve(self.L, w[:, None])[:, 0]

    def at(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and deviations of the function."""
        K, _ = self.kernel._forward(Z, self.Z, False)
        V = _factor.half_solve(self.L, K.T)
        prior = self.kernel._diag(Z)
        least = np.finfo(float).eps * prior
        return K @ self.a, np.sqrt(np.maximum(prior - np.einsum("ij,ij->j", V, V), least))

    def with_gradients(self, Z: np.ndarray) -> tuple[np.ndarray, ...]:
        """Means and deviations, and their gradients, (m, d)."""
        K, saved = self.kernel._forward(Z, self.Z, False)
        inner = _factor.solve(self.L, K.T).T
        prior = self.kernel._diag(Z)
        square = prior - np.einsum("ij,ij->i", K, inner)
        s = np.sqrt(np.maximum(square, np.finfo(float).eps * prior))
        dm = self.kernel._pull_rows(Z, self.Z, saved, np.broadcast_to(self.a, K.shape))
        ds = -self.kernel._pull_rows(Z, self.Z, saved, inner) / s[:, None]
        return K @ self.a, s, dm, ds

    def draw(self, Z: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Values of functions drawn from the process, one for each row of normal, (q, m)."""
        K, _ = self.kernel._forward(Z, self.Z, False)
        V = _factor.half_solve(self.L, K.T)
        values, vectors = np.linalg.eigh(self.kernel._forward(Z, Z, True)[0] - V.T @ V)
        return K @ self.a + normal @ (vectors * np.sqrt(np.maximum(values, 0.0))).T

    def extended(self, Z: np.ndarray) -> Posterior:
        """One that takes its means at more points for values there."""
        return Posterior(
            self.kernel, self.noise, np.concatenate([self.Z, Z]),
            np.concatenate([self.w, self.at(Z)[0]]),
        )  # fmt: skip


class Surrogate:
    """The model of an objective after some evaluations.

    Parameters
    ----------
    space : Space
        The space.
    N : ndarray of shape (n, k)
        Points, as rows of numbers.
    y : ndarray of shape (n,)
        Values; NaN where an evaluation failed.
    first : int
        How many of them belong to the initial design.

    Attributes
    ----------
    kernel_ : Kernel
        Kernel with the hyperparameters of the fit: length scales are those of positions in the unit
        cube.
    warp : Warp
        What the process models is ``warp(y)``.
    """

    def __init__(self, space: Space, N: np.ndarray, y: np.ndarray, first: int = 0) -> None:
        self.space = space
        self.n = len(y)
        valid = np.isfinite(y)
        self.warp = Warp.of(y[valid], int(valid[:first].sum()))
        self.failures: Posterior | None = None
        Z = space.positions(space.codes(N))
        with _factor.lapack_threads(len(Z)):
            if not valid.all():
                length = 0.25 * math.sqrt(len(space.dimensions))
                self.failures = Posterior(
                    Matern(length, nu=2.5), _LABEL_NOISE, Z, np.where(valid, 1.0, -1.0)
                )
            w = self.warp(y[valid])
            if len(w) > 1 and np.ptp(w) > 0:
                part = _representative(w)
                self.kernel_ = _fitted(space, Z[valid][part], w[part])
                Z = Z[valid]
            else:  # all that is known is where not to look again
                self.kernel_ = _kernel(space)
                w = np.zeros(len(Z))
            self.process = Posterior(self.kernel_.k1, self.kernel_.k2.noise_level, Z, w)
            # Noise may have favoured a point: the best mean at one, not the best value.
            self.best = float(self.process.at(Z)[0].min()) if valid.any() else 0.0

    def success(self, Z: np.ndarray) -> np.ndarray:
        """Logarithms of the probability that an evaluation succeeds, at positions."""
        if self.failures is None:
            return np.zeros(len(Z))
        m, s = self.failures.at(Z)
        return log_ndtr(m / np.sqrt(s * s + _LABEL_NOISE))

    def success_with_gradient(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`success` and its gradient."""
        if self.failures is None:
            return np.zeros(len(Z)), np.zeros_like(Z)
        m, s, dm, ds = self.failures.with_gradients(Z)
        spread = np.sqrt(s * s + _LABEL_NOISE)
        z = m / spread
        log = log_ndtr(z)
        slope = np.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - log)
        dz = dm / spread[:, None] - (z * s / spread**2)[:, None] * ds
        return log, slope[:, None] * dz

    def predict(self, points: Sequence[Any], return_std: bool = False) -> Any:
        """Medians of the objective at points of the space, in its own unit.

        Parameters
        ----------
        points : sequence of points
            As the objective gets them.
        return_std : bool, default=False
            Return half the width of the interval that holds 68 % too.

        Returns
        -------
        median : ndarray of shape (n,)
            Medians; the process has a mean for a warped value.
        std : ndarray of shape (n,)
            Half widths, if asked for.
        """
        N = np.stack([self.space.row(x) for x in points])
        m, low, high = self.bands(self.space.codes(N))
        return (m, (high - low) / 2) if return_std else m

    def bands(self, V: np.ndarray, width: float = 1.0) -> tuple[np.ndarray, ...]:
        """Medians at codes, and the ends of intervals of so many deviations to both sides."""
        m, s = self.process.at(self.space.positions(V))
        return tuple(self.warp.inverse(m + side * s) for side in (0.0, -width, width))


def _representative(w: np.ndarray) -> np.ndarray:
    """Indices of the points that hyperparameters are fitted to."""
    if len(w) <= _MOST_FITTED:
        return np.arange(len(w))
    order, half = np.argsort(w, kind="stable"), _MOST_FITTED // 2
    rest = np.linspace(half, len(w) - 1, _MOST_FITTED - half).astype(np.intp)
    return np.sort(order[np.r_[:half, rest]])


def _kernel(space: Space) -> Any:
    d = space.n_columns
    length = np.full(d, 0.5 * math.sqrt(len(space.dimensions)))
    bounds = tuple(b * math.sqrt(len(space.dimensions)) for b in _BOUNDS["length"])
    matern = Matern(length, bounds, nu=2.5)
    return ConstantKernel(1.0, _BOUNDS["variance"]) * matern + WhiteKernel(1e-3, _BOUNDS["noise"])


def _fitted(space: Space, Z: np.ndarray, w: np.ndarray) -> Any:
    """The kernel with the most probable hyperparameters: likelihood times prior.

    Columns of one dimension share a length scale, so what is searched is a shorter vector, `short`,
    with ``theta = tie short``.
    """
    own, k = space.owner_of_column, len(space.dimensions)
    used = np.unique(own)
    tie = np.zeros((len(own) + 2, len(used) + 2))
    tie[0, 0] = tie[-1, -1] = 1
    tie[1:-1, 1:-1] = own[:, None] == used
    length = _LENGTH[0] + 0.5 * math.log(k)
    prior = np.array([_VARIANCE[0], *[length] * len(used), _NOISE[0]])
    spread = np.array([_VARIANCE[1], *[_LENGTH[1]] * len(used), _NOISE[1]])

    def search(objective: Any, start: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
        def value(short: np.ndarray) -> tuple[float, np.ndarray]:
            minus, gradient = objective(tie @ short)
            gap = (short - prior) / spread
            return minus + 0.5 * float(gap @ gap), gradient @ tie + gap / spread

        first = np.argmax(tie, axis=0)
        limits = bounds[first]
        starts = [start[first]]
        starts.append(starts[0] + np.r_[0.0, np.full(len(used), -1.0), math.log(1e-2)])
        found = [
            scipy_minimize(value, at, jac=True, method="L-BFGS-B", bounds=limits,
                           options={"maxiter": 60})
            for at in starts
        ]  # fmt: skip
        best = min(found, key=lambda result: result.fun)
        return tie @ best.x, best.fun

    model = GaussianProcessRegressor(_kernel(space), alpha=0.0, optimizer=search)
    with warnings.catch_warnings():
        # A length scale at its bound belongs to a dimension that does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(Z, w).kernel_
