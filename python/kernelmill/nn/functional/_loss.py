"""Losses of regression, ranking and embeddings, composed of differentiable functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import beside, to_host
from .._documents import complete
from .._elementwise import apply, unified, where
from .._functions import cat
from .._tensor import Tensor, as_array, as_tensor
from ._activation import log_softmax, logsigmoid, normalize, softplus

REDUCTIONS = ("mean", "sum", "none")


def reduced(name: str, loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of losses, or the losses.

    Raises
    ------
    ValueError
        If it is none of the three.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"F.{name}: reduction must be mean, sum or none, got {reduction!r}")
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def pair(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype and shape; a mere broadcast is nearly always a mistake."""
    (x, y), _ = unified((as_tensor(input), as_tensor(target)))
    if x.shape != y.shape:
        raise ValueError(
            f"F.{name}: input and target must have one shape, got {x.shape} and {y.shape} "
            "(reshape one of them)"
        )
    return x, y


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Squared differences.

    Parameters
    ----------
    input, target : Tensor of one shape
    reduction : {"mean", "sum", "none"}
    weight : Tensor, optional
        Factors of the elements; the mean is divided by their sum.

    Examples
    --------
    >>> from kernelmill import nn
    >>> nn.functional.mse_loss(nn.Tensor([1.0, 2.0]), nn.Tensor([1.0, 4.0])).item()
    2.0
    """
    x, y = pair("mse_loss", input, target)
    return _weighted("mse_loss", apply("square", x - y), reduction, weight)


def _weighted(name: str, loss: Tensor, reduction: str, weight: Any) -> Tensor:
    """Losses times their weights, the mean divided by the sum of these."""
    if weight is None:
        return reduced(name, loss, reduction)
    weight = as_tensor(weight).expand(*loss.shape)
    if reduction == "mean":
        return (loss * weight).sum() / weight.sum()
    return reduced(name, loss * weight, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Absolute differences.

    Parameters
    ----------
    input, target : Tensor of one shape
    reduction : {"mean", "sum", "none"}
    weight : Tensor, optional
        Factors of the elements; the mean is divided by their sum.
    """
    x, y = pair("l1_loss", input, target)
    return _weighted("l1_loss", abs(x - y), reduction, weight)


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Tensor:
    """Half the squared difference up to ``delta``, linear beyond.

    Parameters
    ----------
    input, target : Tensor of one shape
    reduction : {"mean", "sum", "none"}
    delta : float, default=1
        Above 0.
    weight : Tensor, optional
        Factors of the elements; the mean is that of the products, as in torch.
    """
    if not delta > 0:
        raise ValueError(f"F.huber_loss: delta must be positive, got {delta}")
    x, y = pair("huber_loss", input, target)
    d = x - y
    size = abs(d)
    loss = where(size.data < delta, 0.5 * apply("square", d), delta * (size - 0.5 * delta))
    if weight is not None:
        loss = loss * as_tensor(weight).expand(*loss.shape)
    return reduced("huber_loss", loss, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """:func:`huber_loss` divided by ``beta``; absolute differences where that is 0."""
    if beta < 0:
        raise ValueError(f"F.smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    x, y = pair("smooth_l1_loss", input, target)
    return huber_loss(x, y, reduction, beta) / beta


def log_cosh_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The logarithm of the hyperbolic cosine of the difference, without overflow."""
    x, y = pair("log_cosh_loss", input, target)
    size = abs(x - y)
    return reduced("log_cosh_loss", size + softplus(-2.0 * size) - math.log(2.0), reduction)


def quantile_loss(
    input: Any, target: Any, quantile: float = 0.5, reduction: str = "mean"
) -> Tensor:
    """The loss whose minimiser is a quantile (pinball loss).

    Parameters
    ----------
    input, target : Tensor of one shape
    quantile : float in (0, 1), default=0.5
    reduction : {"mean", "sum", "none"}
    """
    if not 0 < quantile < 1:
        raise ValueError(f"F.quantile_loss: quantile must be between 0 and 1, got {quantile}")
    x, y = pair("quantile_loss", input, target)
    d = y - x
    return reduced("quantile_loss", apply("maximum", quantile * d, (quantile - 1.0) * d), reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Negative log-likelihood of Gaussians with these means and variances (at least ``eps``)."""
    x, y = as_tensor(input), as_tensor(target)
    v = as_tensor(var)
    if (v.data < 0).any():
        raise ValueError("F.gaussian_nll_loss: var must not be negative, got negative entries")
    v = where(v.data < eps, v.detach() * 0.0 + eps, v)
    loss = 0.5 * (v.log() + apply("square", x - y) / v)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced("gaussian_nll_loss", loss, reduction)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Negative log-likelihood of Poisson distributions with these (logarithms of) means."""
    x, y = as_tensor(input), as_tensor(target)
    loss = x.exp() - y * x if log_input else x - y * (x + eps).log()
    if full:  # Stirling's approximation of log y!, for y > 1
        safe = where(y.data > 1, y, 2.0)
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        loss = loss + where(y.data > 1, stirling, 0.0)
    return reduced("poisson_nll_loss", loss, reduction)


# --- margins --------------------------------------------------------------------------------------


def hinge_loss(input: Any, target: Any, reduction: str = "mean", margin: float = 1.0) -> Tensor:
    """``max(0, margin - target * input)`` for targets of -1 and 1."""
    x, y = pair("hinge_loss", input, target)
    return reduced("hinge_loss", apply("relu", margin - y * x), reduction)


def squared_hinge_loss(
    input: Any, target: Any, reduction: str = "mean", margin: float = 1.0
) -> Tensor:
    """The square of :func:`hinge_loss`."""
    x, y = pair("squared_hinge_loss", input, target)
    loss = apply("square", apply("relu", margin - y * x))
    return reduced("squared_hinge_loss", loss, reduction)


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Distances of similar pairs (target 1); of others (-1) what they lack to the margin."""
    x, y = pair("hinge_embedding_loss", input, target)
    zero = 0.0
    loss = where(y.data != -1, x, zero) + where(y.data != 1, apply("relu", margin - x), zero)
    return reduced("hinge_embedding_loss", loss, reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """``max(0, -target * (input1 - input2) + margin)``: target 1 where the first ranks higher."""
    a, b = as_tensor(input1), as_tensor(input2)
    loss = apply("relu", -as_tensor(target) * (a - b) + margin)
    return reduced("margin_ranking_loss", loss, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """``log(1 + e^(-target * input))`` for targets of -1 and 1."""
    x, y = pair("soft_margin_loss", input, target)
    return reduced("soft_margin_loss", softplus(-y * x, threshold=math.inf), reduction)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross entropy of logits, averaged over the last axis."""
    x, y = pair("multilabel_soft_margin_loss", input, target)
    loss = -(y * logsigmoid(x) + (1.0 - y) * logsigmoid(-x))
    if weight is not None:
        loss = loss * as_tensor(weight)
    return reduced("multilabel_soft_margin_loss", loss.mean(-1), reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Margins between the score of the right class and all others."""
    x = as_tensor(input)
    rows = x if x.ndim == 2 else x.unsqueeze(0)
    index = np.atleast_1d(to_host(as_array(target)))
    if p not in (1, 2):
        raise ValueError(f"F.multi_margin_loss: p must be 1 or 2, got {p}")
    right = rows.gather(1, index[:, None])
    others = np.arange(rows.shape[1]) != index[:, None]
    loss = apply("relu", margin - right + rows)
    if p == 2:
        loss = apply("square", loss)
    if weight is not None:
        factors = as_tensor(weight).data
        loss = loss * factors[beside(index, factors)][:, None]
    loss = where(others, loss, 0.0).sum(1) / rows.shape[1]
    return reduced("multi_margin_loss", loss if x.ndim == 2 else loss.squeeze(0), reduction)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Margins between each right class and each other; targets are classes, ended by -1."""
    x = as_tensor(input)
    rows = x if x.ndim == 2 else x.unsqueeze(0)
    index = np.atleast_2d(to_host(as_array(target)))
    valid = np.cumsum(index == -1, axis=1) == 0
    is_target = np.zeros(rows.shape, bool)
    for i, (row, ok) in enumerate(zip(index, valid, strict=True)):
        is_target[i, row[ok]] = True
    right = rows.gather(1, np.where(valid, index, 0)).unsqueeze(2)  # (N, target, 1)
    loss = apply("relu", 1.0 - (right - rows.unsqueeze(1)))
    loss = where(valid[:, :, None] & ~is_target[:, None, :], loss, 0.0)
    loss = loss.sum((1, 2)) / rows.shape[1]
    return reduced("multilabel_margin_loss", loss if x.ndim == 2 else loss.squeeze(0), reduction)


# --- distances between embeddings -----------------------------------------------------------------


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors; norms are at least ``eps``."""
    (a, b), _ = unified((as_tensor(x1), as_tensor(x2)))
    a = a / apply("maximum", a.norm(2, dim, keepdim=True), float(eps))
    b = b / apply("maximum", b.norm(2, dim, keepdim=True), float(eps))
    return (a * b).sum(dim)


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last axis."""
    (a, b), _ = unified((as_tensor(x1), as_tensor(x2)))
    return (a - b + eps).norm(p, -1, keepdim)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """One minus the cosine of similar pairs (target 1); of others (-1) what is above the margin."""
    a = as_tensor(input1)
    y = as_tensor(target).data
    cosine = cosine_similarity(a, input2, a.ndim - 1)
    loss = where(y == 1, 1.0 - cosine, apply("relu", cosine - margin))
    return reduced("cosine_embedding_loss", loss, reduction)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0,
    eps: float = 1e-6, swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """What the negative example lacks to be a margin further from the anchor than the positive.

    Parameters
    ----------
    anchor, positive, negative : Tensor of shape (..., d)
    margin : float, default=1
    p : float, default=2
        Of the norm.
    eps : float, default=1e-6
        Added to differences.
    swap : bool, default=False
        Use the distance from the positive to the negative example where that is smaller.
    reduction : {"mean", "sum", "none"}
    """
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = apply("minimum", far, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", apply("relu", near - far + margin), reduction)


def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Any = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """:func:`triplet_margin_loss` with a distance of one's own.

    Parameters
    ----------
    anchor, positive, negative : Tensor of shape (..., d)
    distance_function : callable, optional
        Gives the distances of two tensors; :func:`pairwise_distance` by default.
    margin : float, default=1
    swap : bool, default=False
        Use the distance from the positive to the negative example where that is smaller.
    reduction : {"mean", "sum", "none"}
    """
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = apply("minimum", far, distance(positive, negative))
    loss = apply("relu", near - far + margin)
    return reduced("triplet_margin_with_distance_loss", loss, reduction)


def contrastive_loss(
    x1: Any, x2: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Squared distances of similar pairs, squared margins of others (Hadsell et al. 2006).

    The loss is ``d^2 / 2`` for target 1 and ``max(0, margin - d)^2 / 2`` for target 0, where d is
    the Euclidean distance.
    """
    (a, b), _ = unified((as_tensor(x1), as_tensor(x2)))
    y = as_tensor(target).to(a.dtype)
    distance = (a - b).norm(2, -1)
    loss = 0.5 * y * apply("square", distance)
    loss = loss + 0.5 * (1.0 - y) * apply("square", apply("relu", margin - distance))
    return reduced("contrastive_loss", loss, reduction)


def info_nce(
    query: Any, positive: Any, negatives: Any = None, temperature: float = 0.1,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Cross entropy of finding the positive example among others by cosine similarity.

    Parameters
    ----------
    query, positive : Tensor of shape (n, d)
    negatives : Tensor of shape (m, d), optional
        Shared by all queries; by default the positive examples of the other queries.
    temperature : float, default=0.1
    reduction : {"mean", "sum", "none"}

    References
    ----------
    van den Oord et al. (2018), "Representation learning with contrastive predictive coding".
    """
    if not temperature > 0:
        raise ValueError(f"F.info_nce: temperature must be positive, got {temperature}")
    q, k = normalize(query, dim=-1), normalize(positive, dim=-1)
    if negatives is None:
        logits = q @ k.T / temperature
        right = np.arange(len(q))
    else:
        others = q @ normalize(negatives, dim=-1).T
        logits = cat([(q * k).sum(-1, keepdim=True), others], 1) / temperature
        right = np.zeros(len(q), np.int64)
    loss = -log_softmax(logits, 1).gather(1, right[:, None]).squeeze(1)
    return reduced("info_nce", loss, reduction)


complete(globals())
