"""What boosting minimises: losses by name or by the user's function, and where they start."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelmill._arrays import namespace, to_host
from kernelmill.ops import histogram as ops

_NONE = np.zeros(0)
_SAMPLE = 1 << 16  # rows that Huber's width is taken from


class Loss:
    """A loss of scores; targets and weights are float64.

    Parameters
    ----------
    name : str or callable
        One of `ops.LOSSES`, or the user's function: ``f(y, raw)`` gives gradient and hessian.
    level : float
        Level of the quantile; with ``"huber"`` the share of the residuals that are squared.
    classes : int
        Number of scores.
    owner : str
        Name of the estimator in errors.
    """

    def __init__(self, name: Any, level: float, classes: int, owner: str) -> None:
        self.name, self.level, self.classes, self.owner = name, level, classes, owner
        self.code = None if callable(name) else ops.LOSSES.index(name)
        self.renewed: float | None = None  # leaves predict this quantile of their residuals
        if name == "absolute_error":
            self.renewed = 0.5
        elif name == "quantile":
            self.renewed = level
        # All second derivatives are equal.
        self.is_of_residuals = name in ("squared_error", "absolute_error", "quantile", "huber")
        self.link = {"poisson": np.exp, "gamma": np.exp}.get(name if self.code is not None else "")

    def slopes(
        self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weighted gradient (k, n), and hessian (k, n), or (k, 1) where all are equal."""
        if self.code is None:
            return self._called(y, raw, weight)
        parameter = self._width(y, raw) if self.name == "huber" else self.level
        unit = self.is_of_residuals and not len(weight)
        return ops.slopes(y, raw, weight, self.code, parameter, unit)

    def _called(
        self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        result, xp = self.name(y.copy(), raw[0].copy()), namespace(y)
        try:
            gradient, hessian = (xp.asarray(a, np.float64) for a in result)
        except (TypeError, ValueError):
            gradient = hessian = _NONE
        n = len(y)
        fits = gradient.shape == (n,) and hessian.shape == (n,)
        if not (fits and bool(xp.isfinite(gradient).all()) and bool((hessian >= 0).all())):
            raise ValueError(
                f"{self.owner}: loss must return a gradient and a hessian of shape ({n},), finite "
                "and the second not below 0, got others"
            )
        if len(weight):
            gradient, hessian = gradient * weight, hessian * weight
        return gradient[None], xp.ascontiguousarray(hessian[None])

    def _width(self, y: np.ndarray, raw: np.ndarray) -> float:
        size = to_host(abs(y - raw[0])[:: 1 + len(y) // _SAMPLE])
        return float(np.quantile(size, self.level, method="inverted_cdf")) if len(size) else 0.0

    def mean(self, y: np.ndarray, raw: np.ndarray, weight: np.ndarray) -> float:
        """The weighted mean of the loss."""
        assert self.code is not None
        parameter = self._width(y, raw) if self.name == "huber" else self.level
        return ops.deviance(y, raw, weight, self.code, parameter)

    def start(self, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The best constant scores, (k,)."""
        w = weight if len(weight) else None
        if self.name == "squared_error":
            return np.array([np.average(y, weights=w)])
        if self.name in ("poisson", "gamma"):
            return np.log([np.average(y, weights=w)])
        if self.name in ("log_loss", "multinomial"):
            mass = np.bincount(y.astype(np.int64), w, max(2, self.classes))
            # A class that only rows to validate with have: as if it had a rounding error of weight.
            logs = np.log(np.maximum(mass / mass.sum(), 2.0**-52))
            return logs - logs.mean() if self.name == "multinomial" else logs[1:] - logs[0]
        if self.name in ("absolute_error", "quantile", "huber"):
            level = self.level if self.name == "quantile" else 0.5
            rows = np.arange(len(y), dtype=np.int32)
            return ops.quantiles(y, weight, rows, np.array([[0, len(y)]], np.int32), level)
        return self._newton(y, weight)

    def _newton(self, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Newton's steps for one constant, halved while they do not bring the slope nearer to 0."""
        at = 0.0

        def sums(x: float) -> tuple[float, float]:
            g, h = self.slopes(y, np.full((1, len(y)), x), weight)
            return float(g.sum()), float(h.sum()) * (1 if h.shape == g.shape else len(y))

        slope, curve = sums(at)
        first = abs(slope)
        for _ in range(100):
            if curve <= 0 or abs(slope) <= 2.0**-40 * first:
                break
            step = -slope / curve
            for _ in range(50):
                new_slope, new_curve = sums(at + step)
                if np.isfinite(new_slope) and abs(new_slope) < abs(slope):
                    break
                step /= 2
            else:
                break
            at, slope, curve = at + step, new_slope, new_curve
        return np.array([at])


def named(loss: Any, level: float, classes: int, owner: str) -> Loss:
    """The loss of an estimator; ``"log_loss"`` of more than two classes is multinomial."""
    if loss == "log_loss" and classes > 2:
        return Loss("multinomial", level, classes, owner)
    return Loss(loss, level, 1, owner)
