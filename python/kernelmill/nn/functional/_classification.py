"""Losses of classification: cross entropies of classes, probabilities and logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import beside
from .._elementwise import apply, unified, where
from .._shape import gather_along
from .._tape import RESULT, Node, Rule
from .._tensor import Tensor, as_tensor
from ._activation import log_softmax
from ._loss import pair, reduced


def _mean_over(total: Tensor, count: Any) -> Tensor:
    """A sum divided by a count; NaN without one, but with a gradient of exactly 0."""
    count = float(count)
    return total * (1.0 / count) if count else total * 0.0 + math.nan


def _class_first(x: Tensor) -> Tensor:
    return x.unsqueeze(0) if x.ndim == 1 else x


def _target(name: str, target: Any, shape: tuple[int, ...], ignore: int) -> tuple[Any, Any]:
    """Indices of classes with a legal number in place of ignored ones, and which count."""
    t = target.data if isinstance(target, Tensor) else np.asarray(target)
    if t.dtype.kind not in "iu":
        raise RuntimeError(f"F.{name}: target must be integers, got {t.dtype}")
    rest = (shape[0], *shape[2:])
    if t.shape != rest:
        raise ValueError(
            f"F.{name}: target must have shape {rest} for input of shape {shape}, got {t.shape}"
        )
    keep = t != ignore
    seen = t[keep]
    if seen.size and (seen.min() < 0 or seen.max() >= shape[1]):
        raise IndexError(
            f"F.{name}: target must be classes from 0 to {shape[1] - 1}, or {ignore} to be ignored, "
            f"got {seen.min()} to {seen.max()}"
        )
    return np.where(keep, t, 0) if isinstance(t, np.ndarray) else t * keep, keep


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Minus the log-probabilities of the right classes.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...) or (C,)
        Log-probabilities.
    target : Tensor of shape (N, ...) or (), integers
    weight : Tensor of shape (C,), optional
        Of the classes; the mean is divided by the sum of the weights used.
    ignore_index : int, default=-100
        Targets that do not count.
    reduction : {"mean", "sum", "none"}
    """
    x = as_tensor(input)
    return _weighted_nll("nll_loss", x, target, weight, ignore_index, 0.0, reduction)


def _weighted_nll(name: str, logp: Tensor, target: Any, weight: Any, ignore: int,
                  smoothing: float, reduction: str) -> Tensor:  # fmt: skip
    rows = _class_first(logp)
    t = target.data if isinstance(target, Tensor) else np.asarray(target)
    index, keep = _target(name, t[None] if logp.ndim == 1 else t, rows.shape, ignore)
    picked = gather_along(rows, index[:, None], 1).squeeze(1)
    if weight is None:
        factors = keep.astype(rows.dtype)
        classes = None
    else:
        classes = as_tensor(weight).data.astype(rows.dtype)
        if classes.shape != (rows.shape[1],):
            raise ValueError(
                f"F.{name}: weight must have shape ({rows.shape[1]},), got {classes.shape}"
            )
        factors = beside(classes, rows.data)[index] * keep
    loss = where(keep, -picked * factors, 0.0)
    if smoothing:
        spread = rows if classes is None else rows * classes.reshape(-1, *(1,) * (rows.ndim - 2))
        uniform = where(keep, -spread.sum(1), 0.0)
        loss = (1.0 - smoothing) * loss + (smoothing / rows.shape[1]) * uniform
    if reduction == "mean":
        return _mean_over(loss.sum(), factors.sum())
    return reduced(name, loss.squeeze(0) if logp.ndim == 1 else loss, reduction)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy between logits and classes, or probabilities of classes.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...) or (C,)
        Logits.
    target : Tensor of shape (N, ...), integers, or of the input's shape, floats
        Classes, or their probabilities.
    weight : Tensor of shape (C,), optional
        Of the classes; for classes the mean is divided by the sum of the weights used.
    ignore_index : int, default=-100
        Classes that do not count. Where all are ignored the mean is NaN and its gradient 0.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float in [0, 1], default=0
        Share of the target that is spread evenly over all classes.

    Raises
    ------
    IndexError
        If a class is out of range.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.cross_entropy(nn.Tensor([[0.0, 0.0]]), nn.Tensor([1]))
    tensor(0.6931)
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"F.cross_entropy: label_smoothing must be from 0 to 1, got {label_smoothing}"
        )
    x = as_tensor(input)
    t = as_tensor(target)
    logp = log_softmax(x, 0 if x.ndim == 1 else 1)
    if t.dtype.kind != "f":
        return _weighted_nll(
            "cross_entropy", logp, t, weight, ignore_index, label_smoothing, reduction
        )
    x, t = pair("cross_entropy", x, t)
    rows, t = _class_first(logp), _class_first(t)
    if label_smoothing:
        t = t * (1.0 - label_smoothing) + label_smoothing / rows.shape[1]
    terms = rows * t
    if weight is not None:
        terms = terms * as_tensor(weight).reshape(-1, *(1,) * (rows.ndim - 2))
    # 0 log 0 is 0, and where the probability is 0 nothing flows.
    loss = -where(t.data == 0, 0.0, terms).sum(1) if not t.requires_grad else -terms.sum(1)
    if reduction == "mean":
        return _mean_over(loss.sum(), loss.numel())
    return reduced("cross_entropy", loss.squeeze(0) if x.ndim == 1 else loss, reduction)


# --- two classes ----------------------------------------------------------------------------------


def _bce_forward(p: Any, y: Any) -> Any:
    with np.errstate(divide="ignore"):
        a = np.maximum(np.log(p), -100)  # torch's floor: a certain mistake costs 100, not infinity
        b = np.maximum(np.log1p(-p), -100)
    return -(y * a + (1 - y) * b)


def _bce_backward(g: Any, saved: tuple, node: Node) -> Any:
    p, y = saved
    width = p * (1.0 - p)
    tiny = 1e-12
    data = width.data if isinstance(width, Tensor) else width
    floor = where(data < tiny, tiny, width) if isinstance(width, Tensor) else np.maximum(data, tiny)
    dp = g * ((p - y) / floor) if node.parents[0] is not None else None
    dy = None
    if node.parents[1] is not None:
        one = p if isinstance(p, Tensor) else Tensor(p)
        slope = (1.0 - one).clamp(tiny).log() - one.clamp(tiny).log()  # type: ignore[attr-defined]
        dy = g * (slope if isinstance(g, Tensor) else slope.data)
    return dp, dy


_bce = Rule("binary_cross_entropy", _bce_forward, _bce_backward, {0: (), 1: ()})


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Cross entropy of probabilities; logarithms are at least -100.

    Parameters
    ----------
    input, target : Tensor of one shape
        Probabilities.
    weight : Tensor, optional
        Factors of the losses.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    RuntimeError
        If an input is not a probability.
    """
    x, y = pair("binary_cross_entropy", input, target)
    if x.data.size and not ((x.data >= 0) & (x.data <= 1)).all():
        raise RuntimeError(
            "F.binary_cross_entropy: input must be probabilities, from 0 to 1, got others (for "
            "logits use binary_cross_entropy_with_logits)"
        )
    loss = _bce(x, y)
    if weight is not None:
        loss = loss * as_tensor(weight)
    return reduced("binary_cross_entropy", loss, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Cross entropy of logits, without overflow.

    Parameters
    ----------
    input : Tensor
        Logits.
    target : Tensor of the same shape
        Probabilities.
    weight : Tensor, optional
        Factors of the losses.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        Factors of the positive part.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.binary_cross_entropy_with_logits(nn.Tensor([0.0]), nn.Tensor([1.0]))
    tensor(0.6931)
    """
    x, y = pair("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        loss = apply("softplus", x) - y * x
    else:
        factor = 1.0 + (as_tensor(pos_weight) - 1.0) * y
        loss = (1.0 - y) * x + factor * apply("softplus", -x)
    if weight is not None:
        loss = loss * as_tensor(weight)
    return reduced("binary_cross_entropy_with_logits", loss, reduction)


def kl_div(
    input: Any, target: Any, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Kullback-Leibler divergence of log-probabilities from probabilities.

    Parameters
    ----------
    input : Tensor
        Log-probabilities.
    target : Tensor
        Probabilities, or their logarithms with ``log_target``.
    reduction : {"mean", "batchmean", "sum", "none"}
        ``"batchmean"``, the sum divided by the size of the first axis, is the divergence.
    log_target : bool, default=False
    """
    (x, y), _ = unified((as_tensor(input), as_tensor(target)))
    if log_target:
        loss = y.exp() * (y - x)
    else:
        positive = y.data > 0
        safe = where(positive, y, 1.0)
        loss = where(positive, safe * safe.log(), 0.0) - where(y.data == 0, 0.0, y * x)
    if reduction == "batchmean":
        return loss.sum() / max(x.shape[0] if x.ndim else 1, 1)
    return reduced("kl_div", loss, reduction)


__all__ = ["RESULT"]
