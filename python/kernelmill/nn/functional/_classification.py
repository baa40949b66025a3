"""Losses of classification: cross entropies of classes, probabilities and logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import beside, namespace
from ...ops import reduction as reduction_ops
from ...ops import softmax as ops
from .._backward import recomputed
from .._documents import complete
from .._dtypes import FLOATS, is_half, widened
from .._elementwise import apply, unified, where
from .._shape import gather_along
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor
from ._activation import as_classes, log_softmax
from ._loss import REDUCTIONS, pair, reduced


def _mean_over(total: Tensor, count: Any) -> Tensor:
    """A sum divided by a count; NaN without one, but with a gradient of exactly 0."""
    count = float(count)
    return total * (1.0 / count) if count else total * 0.0 + math.nan


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
    index, classes = _checked("nll_loss", x, target, weight)
    return _weighted_nll(x, index, classes, ignore_index, 0.0, reduction)


def _checked(name: str, x: Tensor, target: Any, weight: Any) -> tuple[Any, Any]:
    """Classes as int64 and their weights in the dtype of the input, of the right shapes."""
    if x.ndim == 0:
        raise ValueError(f"F.{name}: input must have classes along axis 1 (or 0), got a number")
    t = target.data if isinstance(target, Tensor) else np.asarray(target)
    if t.dtype.kind not in "iu":
        raise RuntimeError(f"F.{name}: target must be integers, got {t.dtype}")
    rest = () if x.ndim == 1 else (x.shape[0], *x.shape[2:])
    if t.shape != rest:
        raise ValueError(
            f"F.{name}: target must have shape {rest} for input of shape {x.shape}, got {t.shape}"
        )
    count = x.shape[0 if x.ndim == 1 else 1]
    classes = None
    if weight is not None:
        classes = beside(as_tensor(weight).data.astype(x.dtype), x.data)
        if classes.shape != (count,):
            raise ValueError(f"F.{name}: weight must have shape ({count},), got {classes.shape}")
    return beside(t.astype(np.int64, copy=False), x.data), classes


def _weighted_nll(
    logp: Any, target: Any, classes: Any, ignore: int, smoothing: float, reduction: str
) -> Tensor:
    """Losses from log-probabilities, in differentiable operations."""
    rows = logp.unsqueeze(0) if logp.ndim == 1 else logp
    t = target.reshape(1) if logp.ndim == 1 else target
    keep = t != ignore
    seen = t[keep]
    if seen.size and (seen.min() < 0 or seen.max() >= rows.shape[1]):
        raise ValueError(
            f"F.nll_loss: target must be in [0, {rows.shape[1]}) or {ignore} (ignore_index), got "
            f"{seen.min()} to {seen.max()}"
        )
    index = t * keep
    picked = gather_along(rows, index[:, None], 1).squeeze(1)
    factors = keep.astype(rows.dtype)
    if classes is not None:
        factors = factors * classes[index]
    loss = where(factors != 0, -picked * factors, 0.0)
    if smoothing:
        spread = rows
        if classes is not None:
            apart = classes.reshape(-1, *(1,) * (rows.ndim - 2))
            spread = where(apart != 0, rows * apart, 0.0)
        uniform = where(keep, -spread.sum(1), 0.0)
        loss = (1.0 - smoothing) * loss + (smoothing / rows.shape[1]) * uniform
    if reduction == "mean":
        return _mean_over(loss.sum(), factors.sum())
    return reduced("nll_loss", loss.squeeze(0) if logp.ndim == 1 else loss, reduction)


def _cross_entropy_forward(
    x: Any, target: Any, classes: Any, ignore: int, smoothing: float, reduction: str
) -> Any:
    axis = 0 if x.ndim == 1 else 1
    logits = as_classes(x, axis)
    index = target.reshape(logits.shape[0], logits.shape[2])
    losses, lse, total = ops.cross_entropy(logits, index, classes, ignore, smoothing)
    if reduction == "none":
        return losses.reshape(target.shape), (index, lse, 1.0)
    summed = reduction_ops.sum(losses)
    if reduction == "sum":
        return summed, (index, lse, 1.0)
    # Without a target the mean is 0 / 0, and its gradient 0.
    divided = summed / summed.dtype.type(total) if total else summed + math.nan
    return namespace(x).asarray(divided), (index, lse, 1.0 / total if total else 0.0)


def _cross_entropy_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, index, lse, scale = saved
    options = node.options
    logits = as_classes(x, 0 if x.ndim == 1 else 1)
    if is_half(x.dtype):  # a small factor keeps its digits
        g = widened(g)
    factor = g.dtype.type(scale)
    if g.size == index.size:
        dout = g.reshape(index.shape) * factor
    elif type(g) is np.ndarray:
        dout = np.full(index.shape, g.reshape(()) * factor)
    else:
        dout = namespace(g).broadcast_to(g * factor, index.shape)
    return ops.cross_entropy_backward(
        dout, logits, lse, index, options["classes"], options["ignore"], options["smoothing"]
    ).reshape(x.shape)


def _cross_entropy_composed(
    x: Any, target: Any, classes: Any, ignore: int, smoothing: float, reduction: str
) -> Tensor:
    logp = log_softmax(x, 0 if x.ndim == 1 else 1)
    return _weighted_nll(logp, target, classes, ignore, smoothing, reduction)


_cross_entropy: Rule = Rule(
    "cross_entropy",
    _cross_entropy_forward,
    _cross_entropy_backward,
    {0: ()},
    twice=recomputed(_cross_entropy_composed, 1),
    extras=True,
)


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
    ValueError
        If a class is out of range, or shapes do not fit.

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
    if reduction not in REDUCTIONS:
        raise ValueError(f"F.cross_entropy: reduction must be mean, sum or none, got {reduction!r}")
    x, t = as_tensor(input), as_tensor(target)
    if t.dtype.kind not in FLOATS:
        index, classes = _checked("cross_entropy", x, t, weight)
        return _cross_entropy(
            x, target=index, classes=classes, ignore=int(ignore_index),
            smoothing=float(label_smoothing), reduction=reduction,
        )  # fmt: skip
    x, t = pair("cross_entropy", x, t)
    rows = log_softmax(x, 0 if x.ndim == 1 else 1)
    if x.ndim == 1:
        rows, t = rows.unsqueeze(0), t.unsqueeze(0)
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
    xp = namespace(p)
    with np.errstate(divide="ignore"):
        a = xp.maximum(xp.log(p), -100)  # torch's floor: a certain mistake costs 100, not infinity
        b = xp.maximum(xp.log1p(-p), -100)
    return -(y * a + (1 - y) * b)


def _bce_backward(g: Any, saved: tuple, node: Node) -> Any:
    p, y = saved
    width = p * (1.0 - p)
    tiny = 1e-12
    if isinstance(width, Tensor):
        floor = where(width.data < tiny, tiny, width)
    else:
        floor = namespace(width).maximum(width, tiny)
    dp = g * ((p - y) / floor) if node.parents[0] is not None else None
    dy = None
    if node.parents[1] is not None:
        one = p if isinstance(p, Tensor) else Tensor(p)
        slope = (1.0 - one).clamp(tiny).log() - one.clamp(tiny).log()
        dy = g * (slope if isinstance(g, Tensor) else slope.data)
    return dp, dy


_bce: Rule = Rule("binary_cross_entropy", _bce_forward, _bce_backward, {0: (), 1: ()})


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


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
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


complete(globals())
