"""The losses of boosting: values and derivatives."""

from __future__ import annotations

import numpy as np

LOSSES = (
    "squared_error", "absolute_error", "quantile", "huber", "log_cosh", "poisson", "gamma",
    "log_loss", "multinomial",
)  # fmt: skip


def _softmax(raw: np.ndarray) -> np.ndarray:
    e = np.exp(raw - raw.max(axis=0))
    return e / e.sum(axis=0)


def slopes_of(
    loss: str, y: np.ndarray, raw: np.ndarray, parameter: float
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivatives, (k, n)."""
    r, one = raw - y, np.ones(raw.shape)
    if loss == "squared_error":
        return r, one
    if loss == "absolute_error":
        return np.sign(r), one
    if loss == "quantile":
        return np.where(r > 0, 1 - parameter, np.where(r < 0, -parameter, 0.0)), one
    if loss == "huber":
        return np.clip(r, -parameter, parameter), one
    if loss == "log_cosh":
        t = np.tanh(r)
        return t, np.where(np.abs(r) > 1e-4, t / np.where(r == 0, 1.0, r), 1.0)
    if loss == "poisson":
        e = np.exp(raw)
        return e - y, e
    if loss == "gamma":
        e = y * np.exp(-raw)
        return 1 - e, e
    if loss == "log_loss":
        e = np.exp(-np.abs(raw))
        p = np.where(raw >= 0, 1 / (1 + e), e / (1 + e))
        return p - y, e / (1 + e) ** 2
    p = _softmax(raw)
    g = p.copy()
    g[y.astype(int), np.arange(len(y))] -= 1
    return g, p * (1 - p)


def losses_of(loss: str, y: np.ndarray, raw: np.ndarray, parameter: float) -> np.ndarray:
    """The loss of each row."""
    x = raw[0]
    r = x - y
    size = np.abs(r)
    if loss == "squared_error":
        return r * r / 2
    if loss == "absolute_error":
        return size
    if loss == "quantile":
        return np.maximum(-parameter * r, (1 - parameter) * r)
    if loss == "huber":
        return np.where(size <= parameter, r * r / 2, parameter * (size - parameter / 2))
    if loss == "log_cosh":
        return size + np.log1p(np.expm1(-2 * size) / 2)
    if loss == "poisson":
        return np.exp(x) - y * x
    if loss == "gamma":
        return x + y * np.exp(-x)
    if loss == "log_loss":
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))) - y * x
    top = raw.max(axis=0)
    return top + np.log(np.exp(raw - top).sum(axis=0)) - raw[y.astype(int), np.arange(len(y))]


def check_classes(name: str, loss: int, y: np.ndarray, k: int) -> None:
    """Raise unless y holds classes, where the loss takes them."""
    if LOSSES[loss] == "multinomial" and len(y) and not (y.min() >= 0 and y.max() < k):
        raise ValueError(
            f"histogram.{name}: y must hold classes below {k}, got {y.min():g} to {y.max():g}"
        )
