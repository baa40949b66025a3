"""Kernels of a distance.

With ``r`` the distance of rows that are divided by their length scales, each has a value ``k(r)``
and a slope ``g(r) = -k'(r) / r``, which is finite at 0 where the kernel is smooth there. As
``dr^2 / dlog l_p = -2 (x_p - y_p)^2 / l_p^2``,

    dK / dlog l_p = g (x_p - y_p)^2 / l_p^2,      dK / dx_p = -g (x_p - y_p) / l_p^2.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from kernelmill._arrays import beside, is_cupy, namespace, to_host
from kernelmill.gaussian_process.kernels._kernel import Kernel, shown
from kernelmill.ops import elementwise, pairwise

_BOUNDS = (1e-5, 1e5)


def _squares(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Squared distances, without cancellation."""
    dense = namespace(X).ascontiguousarray
    return pairwise.euclidean(dense(X), dense(Y), squared=True)


def _weighted_squares(W: np.ndarray, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """``sum_ij W_ij (x_ip - y_jp)^2`` for each feature p, as two products.

    Rows are distances from their mean. The error is then about eps R^2 for rows of extent R in
    length scales, against terms near 1: 1e-10 where R is 1,000.
    """
    center = Y.mean(0)
    X, Y = X - center, Y - center
    total = W.sum(1) @ (X * X) + W.sum(0) @ (Y * Y)
    return total - 2 * np.einsum("ip,ip->p", X, W @ Y)


def _weighted_products(G: np.ndarray, X: np.ndarray, Y: np.ndarray, a: np.ndarray) -> np.ndarray:
    """``sum_j G_ij (x_ip - y_jp)^2 a_jt``, (d, n, t), as one product."""
    x, y = X.T[:, :, None], Y.T[:, :, None]
    columns = np.concatenate([a[None], y * a, y * y * a])
    sums = np.moveaxis((G @ np.hstack(list(columns))).reshape(len(X), *columns.shape[::2]), 1, 0)
    d = len(x)
    return x * x * sums[0] - 2 * x * sums[1 : d + 1] + sums[d + 1 :]


class _Stationary(Kernel):
    """Base: one length scale, or one for each feature."""

    _powers: ClassVar = {"length_scale": -2.0, "alpha": -1.0}
    length_scale: Any
    length_scale_bounds: Any

    def _value(self, s: np.ndarray) -> np.ndarray:
        """k of squared distances."""
        raise NotImplementedError

    def _slope(self, s: np.ndarray, K: np.ndarray) -> np.ndarray:
        """g of squared distances; any finite number at distance 0, where differences are 0."""
        raise NotImplementedError

    def _check(self, d):
        super()._check(d)
        scale = np.asarray(self.length_scale, dtype=np.float64)
        if scale.ndim and len(scale) not in (1, d):
            raise ValueError(
                f"{type(self).__name__}: length_scale must be a number or {d} numbers, one for "
                f"each feature, got {len(scale)} (Anisotropic kernel must have the same number of "
                "dimensions as data)"
            )
        if (scale <= 0).any():
            raise ValueError(
                f"{type(self).__name__}: length_scale must be above 0, got {self.length_scale!r}"
            )

    def _scale(self, X: np.ndarray) -> Any:
        """The length scale as a number, or those of the features beside X."""
        scale = np.asarray(self.length_scale, dtype=np.float64)
        return beside(scale, X) if scale.ndim else float(scale)

    def _forward(self, X, Y, own):
        scale = self._scale(X)
        s = _squares(X / scale, Y / scale)
        K = self._value(s)
        return K, (s, K)

    def _own(self, s: np.ndarray, K: np.ndarray) -> dict[str, np.ndarray]:
        """dK / dlog of the other hyperparameters, by name."""
        return {}

    def _free(self, name: str) -> bool:
        return not isinstance(getattr(self, f"{name}_bounds"), str)

    def _derivatives(self, X, Y, own, saved):
        s, K = saved
        own = self._own(s, K)
        for name in self._names:
            if not self._free(name):
                continue
            if name != "length_scale":
                yield own[name]
            elif np.size(self.length_scale) == 1:
                yield self._slope(s, K) * s
            else:
                G = self._slope(s, K)
                for p, scale in enumerate(self.length_scale):
                    yield G * ((X[:, p, None] - Y[:, p]) / scale) ** 2

    def _pull(self, X, Y, own, saved, A):
        s, K = saved
        own = self._own(s, K)
        found: list[Any] = []
        for name in self._names:
            if not self._free(name):
                continue
            if name != "length_scale":
                found.append([float(np.vdot(A, own[name]))])
            elif np.size(self.length_scale) == 1:
                found.append([float(np.vdot(A, self._slope(s, K) * s))])
            else:
                scale = self._scale(X)
                W = A * self._slope(s, K)
                found.append(to_host(_weighted_squares(W, X / scale, Y / scale)))
        return np.concatenate(found) if found else np.zeros(0)

    def _products(self, X, Y, own, saved, W, a, b):
        if self._names != ("length_scale",) or np.size(self.length_scale) == 1 or not self.n_dims:
            return super()._products(X, Y, own, saved, W, a, b)
        G = self._slope(*saved)
        G = G if W is None else G * W
        center = Y.mean(0)
        X, Y = ((Z - center) / self._scale(Z) for Z in (X, Y))
        return _weighted_products(G, X, Y, a), _weighted_products(G.T, Y, X, b)

    def _pull_rows(self, X, Y, saved, A):
        W = A * self._slope(*saved)
        center = Y.mean(0)
        change = W @ (Y - center) - W.sum(1)[:, None] * (X - center)
        return change / self._scale(X) ** 2

    def _diag(self, X):
        return namespace(X).ones(len(X))

    def _pull_diag(self, X, a):
        return np.zeros(self.n_dims)

    def is_stationary(self):
        """Whether covariances depend on differences of rows only: yes.

        Returns
        -------
        stationary : bool
            True.
        """
        return True


_LENGTH = """length_scale : float or array-like of shape (d,), default=1.0
        Length scale, or one for each feature (automatic relevance determination).
    length_scale_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Its bounds in fits."""


class RBF(_Stationary):
    __doc__ = f"""Gaussian kernel: ``K(x, y) = exp(-r^2 / 2)``, r = ||(x - y) / length_scale||.

    Parameters
    ----------
    {_LENGTH}

    Notes
    -----
    ``dK / dlog l = K r^2``: the gradient is in the logarithm of the length scale.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import RBF
    >>> RBF(2.0)([[0.0], [2.0]]).round(4)
    array([[1.    , 0.6065],
           [0.6065, 1.    ]])
    """

    _names = ("length_scale",)

    def __init__(self, length_scale=1.0, length_scale_bounds=_BOUNDS):
        self.length_scale = length_scale
        self.length_scale_bounds = length_scale_bounds

    def _value(self, s):
        s = s * -0.5
        return elementwise.exp(s, out=s)

    def _slope(self, s, K):
        return K


class Matern(_Stationary):
    __doc__ = f"""Matern kernel of smoothness `nu`, a function of r = ||(x - y) / length_scale||.

    ``K = 2^(1 - nu) / Gamma(nu) t^nu K_nu(t)`` with ``t = sqrt(2 nu) r`` and the modified Bessel
    function ``K_nu``; functions drawn from it have derivatives of the orders below `nu`.

    Parameters
    ----------
    {_LENGTH}
    nu : float, default=1.5
        Smoothness, above 0. With 0.5, 1.5 and 2.5 the kernel is an exponential times a polynomial;
        with infinity it is `RBF`. Others cost about a hundred times as much.

    Notes
    -----
    Derivatives are exact for every `nu`: ``d/dt t^nu K_nu(t) = -t^nu K_(nu - 1)(t)``.

    References
    ----------
    Rasmussen and Williams (2006), "Gaussian processes for machine learning", section 4.2.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import Matern
    >>> Matern(2.0, nu=0.5)([[0.0], [2.0]]).round(4)
    array([[1.    , 0.3679],
           [0.3679, 1.    ]])
    """

    _names = ("length_scale",)

    def __init__(self, length_scale=1.0, length_scale_bounds=_BOUNDS, nu=1.5):
        self.length_scale = length_scale
        self.length_scale_bounds = length_scale_bounds
        self.nu = nu

    def _check(self, d):
        super()._check(d)
        if not self.nu > 0:
            raise ValueError(f"Matern: nu must be a number above 0, got {self.nu!r}")

    def _value(self, s):
        if self.nu == math.inf:
            return elementwise.exp(-0.5 * s)
        a = np.sqrt(2 * self.nu * s)
        if self.nu == 0.5:
            return elementwise.exp(-a)
        if self.nu == 1.5:
            return (1 + a) * elementwise.exp(-a)
        if self.nu == 2.5:
            return (1 + a + a * a / 3) * elementwise.exp(-a)
        return self._bessel(a, self.nu, 1.0)

    def _bessel(self, t: np.ndarray, order: float, limit: float) -> np.ndarray:
        """``2^(1 - nu) / Gamma(nu) t^order K_order(t)``, with its limit at 0."""
        from scipy.special import gammaln, kve

        if is_cupy(t):
            raise TypeError(
                "Matern: nu must be 0.5, 1.5, 2.5 or infinity where X is on a GPU, which has no "
                f"Bessel functions of real order, got {self.nu:g} (move X with cupy.asnumpy)"
            )
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log = order * np.log(t) + np.log(kve(order, t)) - t
            log += (1 - self.nu) * math.log(2) - gammaln(self.nu)
            value = np.exp(log)
        return np.where((t == 0) | ~np.isfinite(value), limit, value)

    def _slope(self, s, K):
        if self.nu == math.inf:
            return K
        a = np.sqrt(2 * self.nu * s)
        if self.nu == 0.5:
            return K / np.where(a > 0, a, np.inf)
        if self.nu == 1.5:
            return 3 * elementwise.exp(-a)
        if self.nu == 2.5:
            return (5 / 3) * (1 + a) * elementwise.exp(-a)
        # t^(nu - 1) K_(nu - 1)(t), and K_(-v) = K_v.
        if self.nu >= 1:
            return 2 * self.nu * self._bessel(a, self.nu - 1, 0.0)
        power = np.divide(1, a, out=np.zeros_like(a), where=a > 0) ** (2 - 2 * self.nu)
        return 2 * self.nu * power * self._bessel(a, 1 - self.nu, 0.0)

    def __repr__(self):
        return f"{super().__repr__()[:-1]}, nu={shown(self.nu)})"


class RationalQuadratic(_Stationary):
    """Mixture of Gaussian kernels: ``K(x, y) = (1 + r^2 / (2 alpha))^(-alpha)``.

    ``r = ||x - y|| / length_scale``; length scales are mixed by a gamma distribution.

    Parameters
    ----------
    length_scale : float, default=1.0
        Length scale.
    alpha : float, default=1.0
        Shape: the larger, the nearer to `RBF`.
    length_scale_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Bounds of the length scale in fits.
    alpha_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Bounds of the shape.

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import RationalQuadratic
    >>> RationalQuadratic(1.0, alpha=0.5)([[0.0], [1.0]]).round(4)
    array([[1.    , 0.7071],
           [0.7071, 1.    ]])
    """

    _names = ("alpha", "length_scale")

    def __init__(
        self, length_scale=1.0, alpha=1.0, length_scale_bounds=_BOUNDS, alpha_bounds=_BOUNDS
    ):
        self.length_scale = length_scale
        self.alpha = alpha
        self.length_scale_bounds = length_scale_bounds
        self.alpha_bounds = alpha_bounds

    def _check(self, d):
        super()._check(d)
        if np.ndim(self.length_scale):
            raise ValueError(
                "RationalQuadratic: length_scale must be a number, got an array (AttributeError: "
                "RationalQuadratic kernel only supports isotropic version)"
            )

    def _value(self, s):
        return np.exp(-self.alpha * np.log1p(s / (2 * self.alpha)))

    def _slope(self, s, K):
        return K / (1 + s / (2 * self.alpha))

    def _own(self, s, K):
        t = s / (2 * self.alpha)
        return {"alpha": self.alpha * K * (t / (1 + t) - np.log1p(t))}


class ExpSineSquared(_Stationary):
    """Periodic kernel: ``K(x, y) = exp(-2 sin^2(pi ||x - y|| / periodicity) / length_scale^2)``.

    Parameters
    ----------
    length_scale : float, default=1.0
        Length scale, in periods' own unit.
    periodicity : float, default=1.0
        The period.
    length_scale_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Bounds of the length scale in fits.
    periodicity_bounds : pair of float or "fixed", default=(1e-5, 1e5)
        Bounds of the period.

    References
    ----------
    MacKay (1998), "Introduction to Gaussian processes".

    Examples
    --------
    >>> from kernelmill.gaussian_process.kernels import ExpSineSquared
    >>> ExpSineSquared(1.0, periodicity=2.0)([[0.0], [1.0], [2.0]]).round(4)
    array([[1.    , 0.1353, 1.    ],
           [0.1353, 1.    , 0.1353],
           [1.    , 0.1353, 1.    ]])
    """

    _names = ("length_scale", "periodicity")

    def __init__(
        self, length_scale=1.0, periodicity=1.0, length_scale_bounds=_BOUNDS,
        periodicity_bounds=_BOUNDS,
    ):  # fmt: skip
        self.length_scale = length_scale
        self.periodicity = periodicity
        self.length_scale_bounds = length_scale_bounds
        self.periodicity_bounds = periodicity_bounds

    def _check(self, d):
        super()._check(d)
        if np.ndim(self.length_scale) or self.periodicity <= 0:
            raise ValueError(
                "ExpSineSquared: length_scale and periodicity must be numbers above 0, got "
                f"{self.length_scale!r} and {self.periodicity!r}"
            )

    def _forward(self, X, Y, own):
        angle = np.sqrt(_squares(X, Y)) * (math.pi / self.periodicity)
        sine = np.sin(angle)
        K = elementwise.exp(-2 / self.length_scale**2 * sine * sine)
        return K, (angle, sine, K)

    def _derivatives(self, X, Y, own, saved):
        angle, sine, K = saved
        factor = 4 / self.length_scale**2 * K
        if self._free("length_scale"):
            yield factor * sine * sine
        if self._free("periodicity"):
            yield factor * sine * np.cos(angle) * angle

    def _pull(self, X, Y, own, saved, A):
        return Kernel._pull(self, X, Y, own, saved, A)

    def _pull_rows(self, X, Y, saved, A):
        # dK / dx = -K 4 / l^2 sin cos pi / (p r) (x - y), and sin(a) / a tends to 1.
        angle, _, K = saved
        c = (2 * math.pi / (self.length_scale * self.periodicity)) ** 2
        W = A * K * np.cos(angle) * np.sinc(angle / math.pi) * c
        center = Y.mean(0)
        return W @ (Y - center) - W.sum(1)[:, None] * (X - center)
