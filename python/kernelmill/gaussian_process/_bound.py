"""The variational bound over inducing inputs, from sums over rows.

With m inducing inputs Z, ``Kmm = k(Z, Z) = L L'``, ``V = L^-1 k(Z, X)``, noise variance s and
``u = L v`` the values of the function at Z, each target has ``q(v) = N(mu, S)`` with natural
parameters ``Lambda = S^-1`` and ``eta = Lambda mu``; Lambda is the same for all t targets. The
prior of v is N(0, I), and the bound on the log marginal likelihood is

    F = - n t log(2 pi s) / 2 - R / (2 s) - KL,
    R = |Y|^2 - 2 <V Y, mu> + <mu, P mu> + t (tr Knn - tr P + tr S P),      P = V V',
    KL = (|mu|^2 + t (tr S - m + log det Lambda)) / 2.

It needs of the rows only sums: P, V Y, |Y|^2, tr Knn and n. Those of b rows, times n / b, are
unbiased estimates of those of n, and so is F.

**The optimum of q.** ``dF/dmu = 0`` and ``dF/dS = 0`` at ``Lambda = I + P / s``, ``eta = V Y / s``:
the natural gradient of F is what natural parameters lack of these. There F is the collapsed bound

    log N(y; 0, Q + s I) - tr(Knn - Q) / (2 s),     Q = V'V.

**Gradients**, with q(v) held. In the coordinates of L

    dF/dP = (t (I - S) - mu mu') / (2 s),     dF/d(V Y) = mu / s,     dF/dtr Knn = -t / (2 s),

and ``dL = L phi(L^-1 dKmm L'^-1)``, phi the lower triangle with half of the diagonal, gives
``dF/dKmm = -L'^-1 (T + T') L^-1 / 2`` with ``T = phi((mu (V Y)' - mu mu'P + t (P - S P)) / s)``.
At the optimum of q that is symmetric before phi, and ``(t (I - S - P / s) - mu mu') / 2``. A second
pass pulls ``dF/dKmn = 2 dF/dP Kmn + dF/d(Kmn Y) Y'`` back to the hyperparameters and to Z.

Titsias (2009), "Variational learning of inducing variables in sparse Gaussian processes".
Hensman, Fusi and Lawrence (2013), "Gaussian processes for big data".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kernelmill._estimator._rows import Rows
from kernelmill.gaussian_process import _factor
from kernelmill.gaussian_process.kernels._kernel import Kernel

CHUNK = 1000  # rows at a time: memory is that times m


class Gaussian(NamedTuple):
    """q(v) by its natural parameters."""

    precision: np.ndarray  # Lambda (m, m)
    shift: np.ndarray  # eta (m, t)


class Data:
    """Rows and targets, in chunks."""

    def __init__(self, rows: Rows, targets: np.ndarray, owner: str) -> None:
        self.rows, self.targets, self.owner = rows, targets, owner
        self.count, self.squares = len(targets), float(np.vdot(targets, targets))

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows, float64, with their targets."""
        at = 0
        for chunk in self.rows.chunks():
            for start in range(0, chunk.count, CHUNK):
                x = np.asarray(chunk.X[start : start + CHUNK], dtype=np.float64)
                yield x, self.targets[at : at + len(x)]
                at += len(x)


class Bound:
    """The bound at some parameters.

    Parameters
    ----------
    kernel : Kernel
    noise : float
    Z : ndarray of shape (m, d)
    data : Data
    q : Gaussian, optional
        The best one for these rows by default.
    n : float, optional
        Number of rows that those of `data` stand for; their own by default.

    Attributes
    ----------
    value : float
    L, LB : ndarray of shape (m, m)
        Factors of Kmm, and of Lambda.
    mu : ndarray of shape (m, t)
    jitter : float
    """

    def __init__(
        self, kernel: Kernel, noise: float, Z: np.ndarray, data: Data, q: Gaussian | None = None,
        n: float | None = None,
    ) -> None:  # fmt: skip
        self.kernel, self.noise, self.Z, self.data = kernel, noise, Z, data
        self.L, self.jitter = _factor.factor(
            lambda: _factor.covariances(kernel, Z), 0.0, data.owner
        )
        m, t, s = len(Z), data.targets.shape[1], noise
        self.n = data.count if n is None else n
        self.each = 1.0 if n is None else n / data.count  # rows that a row stands for
        P, Vy, diagonal = np.zeros((m, m)), np.zeros((m, t)), 0.0
        for x, y in data.chunks():
            V = _factor.half_solve(self.L, kernel._forward(x, Z, False)[0].T)
            P, Vy, diagonal = P + V @ V.T, Vy + V @ y, diagonal + float(kernel._diag(x).sum())
        self.P, self.Vy, diagonal = self.each * P, self.each * Vy, self.each * diagonal
        self.best = q is None
        if q is None:
            self.LB = _factor.factor(lambda: self.P / s, 1.0, data.owner)[0]
            self.mu = _factor.solve(self.LB, self.Vy) / s
        else:
            self.LB = _factor.factor(q.precision.copy, 0.0, data.owner)[0]
            self.mu = _factor.solve(self.LB, q.shift)
        self.S = _factor.solve(self.LB, np.eye(m))
        missed = self.each * data.squares + float(np.vdot(self.mu, self.P @ self.mu - 2 * self.Vy))
        self.R = missed + t * (diagonal - float(np.trace(self.P)) + float(np.vdot(self.S, self.P)))
        far = float(np.vdot(self.mu, self.mu))
        spread = float(np.trace(self.S)) - m + _factor.log_determinant(self.LB)
        self.value = -0.5 * (self.n * t * math.log(2 * math.pi * s) + self.R / s + far + t * spread)

    def natural(self, q: Gaussian, step: float) -> Gaussian:
        """q after a step along the natural gradient; with a step of 1, the best for these rows."""
        precision = (1 - step) * q.precision + step * (np.eye(len(self.Z)) + self.P / self.noise)
        return Gaussian(precision, (1 - step) * q.shift + step * self.Vy / self.noise)

    def gradient(self, moves: bool) -> tuple[np.ndarray, float, np.ndarray]:
        """Derivatives in theta, in the logarithm of the noise, and in Z."""
        kernel, s, Z, data = self.kernel, self.noise, self.Z, self.data
        m, t, each, mu = len(Z), data.targets.shape[1], self.each, self.mu
        eye, squares = np.eye(m), mu @ mu.T
        dP = each * (t * (eye - self.S) - squares) / (2 * s)
        if self.best:
            dKmm = 0.5 * (t * (eye - self.S - self.P / s) - squares)
        else:
            T = np.tril((mu @ self.Vy.T - squares @ self.P + t * (self.P - self.S @ self.P)) / s)
            np.einsum("ii->i", T)[...] *= 0.5
            dKmm = -0.5 * (T + T.T)
        dP, dKmm = (self._back(A) for A in (dP, dKmm))
        dq = each * _factor.half_solve(self.L, mu, transposed=True) / s
        dnoise = 0.5 * (self.R / s - self.n * t)
        dtheta = kernel._pull(Z, Z, True, kernel._forward(Z, Z, True)[1], dKmm)
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
            dtheta += kernel._pull_diag(x, np.full(len(x), -0.5 * each * t / s))
            if moves:
                turned = kernel._forward(Z, x, False)[1]
                dZ += kernel._pull_rows(Z, x, turned, np.ascontiguousarray(A.T))
        return dtheta, dnoise, dZ

    def _back(self, A: np.ndarray) -> np.ndarray:
        """``L'^-1 A L^-1``"""
        half = _factor.half_solve(self.L, A, transposed=True)
        return _factor.half_solve(self.L, half.T, transposed=True).T

    def attributes(self) -> dict[str, Any]:
        """What predictions need, and the bound."""
        # k(x, Z) Kmm^-1 u: means are k(x, Z) w, and variances lose what two factors explain.
        return {
            "kernel_": self.kernel,
            "noise_variance_": self.noise,
            "inducing_inputs_": self.Z,
            "lower_bound_": self.value,
            "jitter_": self.jitter,
            "_weights": _factor.half_solve(self.L, self.mu, transposed=True),
            "_L": np.tril(self.L),
            "_LB": np.tril(self.LB),
        }


class Coordinates:
    """Kernel, noise and inducing inputs as one vector of numbers of about one size.

    Parameters
    ----------
    kernel : Kernel
    noise : float
    Z : ndarray of shape (m, d)
    bounds : ndarray of shape (2,), or None
        Of the noise; None keeps it.
    unit : ndarray of shape (d,), or None
        In which inducing inputs move; None keeps them.
    """

    def __init__(
        self, kernel: Kernel, noise: float, Z: np.ndarray, bounds: Any, unit: np.ndarray | None
    ) -> None:
        self.kernel, self.noise, self.Z, self.unit = kernel, noise, Z, unit
        self.moves, self.fixed = unit is not None, bounds is None
        start, limits = [kernel.theta], [kernel.bounds]
        if bounds is not None:
            start.append(np.log([np.clip(noise, *bounds)]))
            limits.append(np.log([bounds]))
        if unit is not None:
            start.append((Z / unit).ravel())
            limits.append(np.full((Z.size, 2), (-np.inf, np.inf)))
        self.start, self.bounds = np.concatenate(start), np.concatenate(limits)

    def parts(self, theta: np.ndarray) -> tuple[Kernel, float, np.ndarray]:
        """Kernel, noise and inducing inputs."""
        p = self.kernel.n_dims
        kernel = self.kernel.clone_with_theta(theta[:p])
        noise = self.noise if self.fixed else float(np.exp(theta[p]))
        if self.unit is None:
            return kernel, noise, self.Z
        return kernel, noise, theta[p + (not self.fixed) :].reshape(self.Z.shape) * self.unit

    def gradient(self, bound: Bound) -> np.ndarray:
        """That of the bound in the vector."""
        dtheta, dnoise, dZ = bound.gradient(self.moves)
        found = [dtheta] if self.fixed else [dtheta, np.array([dnoise])]
        if self.unit is not None:
            found.append((dZ * self.unit).ravel())
        return np.concatenate(found)
