"""Normalisation by batch, layer, group, instance and root mean square: one op each way.

Statistics are accumulated in float64 about the mean, so neither large means nor large values cost
digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops import norm as ops
from .._backward import recomputed
from .._documents import complete
from .._dtypes import finfo, is_half, widened
from .._reductions import mean as _mean
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor

# --- groups of channels of each sample ------------------------------------------------------------


def _channels(x: Any) -> Any:
    """An array as (samples, channels, places)."""
    return x.reshape(x.shape[0], x.shape[1], math.prod(x.shape[2:]))


def _group_forward(x: Any, weight: Any, bias: Any, groups: int, eps: float, centered: bool) -> Any:
    y, mean, inverse = ops.group(_channels(x), weight, bias, groups, eps, centered)
    return y.reshape(x.shape), (mean, inverse)


def _group_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, weight, _, mean, inverse = saved
    centered = node.options["centered"]
    dx, dweight, dbias = ops.group_backward(
        _channels(g), _channels(x), mean, inverse, weight, centered
    )
    found = (dx.reshape(x.shape), dweight, dbias)
    return tuple(d if p is not None else None for d, p in zip(found, node.parents, strict=True))


def _per_channel(values: Any, x: Any) -> Any:
    return values.reshape(1, x.shape[1], *(1,) * (x.ndim - 2))


def _scaled(y: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        y = y * _per_channel(weight, y)
    return y if bias is None else y + _per_channel(bias, y)


def _group_composed(x: Any, weight: Any, bias: Any, groups: int, eps: float, centered: bool) -> Any:
    rows = x.reshape(x.shape[0], groups, -1)
    return _scaled(_standard(rows, (2,), eps, centered).reshape(x.shape), weight, bias)


def _standard(x: Any, axis: tuple[int, ...], eps: float, centered: bool = True) -> Any:
    """Mean 0 and variance 1 over axes, in differentiable operations."""
    if centered:
        x = x - _mean(x, axis=axis, keepdims=True)
    return x * (_mean(x * x, axis=axis, keepdims=True) + eps) ** -0.5


_group: Rule = Rule(
    "group_norm",
    _group_forward,
    _group_backward,
    {0: (), 1: (), 2: ()},
    twice=recomputed(_group_composed, 3),
    extras=True,
)


def _grouped(x: Tensor, weight: Any, bias: Any, groups: int, eps: float, centered: bool) -> Tensor:
    return _group(x, weight, bias, groups=groups, eps=float(eps), centered=centered)


# --- channels of the batch ------------------------------------------------------------------------


def _batch_forward(x: Any, weight: Any, bias: Any, eps: float, running: Any) -> Any:
    y, mean, variance, inverse = ops.batch(_channels(x), weight, bias, eps)
    running(mean, variance)
    return y.reshape(x.shape), (mean, inverse)


def _batch_backward(g: Any, saved: tuple, node: Node) -> Any:
    x, weight, _, mean, inverse = saved
    dx, dweight, dbias = ops.batch_backward(
        _channels(g), _channels(x), mean, inverse, weight, False
    )
    found = (dx.reshape(x.shape), dweight, dbias)
    return tuple(d if p is not None else None for d, p in zip(found, node.parents, strict=True))


def _batch_composed(x: Any, weight: Any, bias: Any, eps: float, running: Any) -> Any:
    # The statistics were updated by the forward pass.
    return _scaled(_standard(x, (0, *range(2, x.ndim)), eps), weight, bias)


_batch: Rule = Rule(
    "batch_norm",
    _batch_forward,
    _batch_backward,
    {0: (), 1: (), 2: ()},
    twice=recomputed(_batch_composed, 3),
    extras=True,
)


def _beside(x: Tensor, *values: Any) -> list[Any]:
    """Weights and biases in the dtype of the input; beside 16 bits they may be float32."""
    like = np.dtype(np.float32) if is_half(x.dtype) else x.dtype
    given = [None if v is None else as_tensor(v) for v in values]
    return [v if v is None or v.dtype == x.dtype else v.to(like) for v in given]


def _single(x: Any) -> Tensor:
    """A tensor whose arithmetic is not rounded to 16 bits."""
    x = as_tensor(x)
    return x.float() if is_half(x.dtype) else x


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Each sample with mean 0 and variance 1 over its last axes, then scaled and shifted.

    Parameters
    ----------
    input : Tensor of shape (..., *normalized_shape)
    normalized_shape : tuple of int
    weight, bias : Tensor of shape normalized_shape, optional
    eps : float, default=1e-5
        Added to the variance.

    References
    ----------
    Ba, Kiros and Hinton (2016), "Layer normalization".
    """
    return _over_last("layer_norm", input, normalized_shape, weight, bias, eps, True)


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    """Each sample divided by the root of its mean square, then scaled.

    ``eps`` is the machine epsilon of the dtype by default.
    """
    if eps is None:
        eps = float(finfo(as_tensor(input).dtype).eps)
    return _over_last("rms_norm", input, normalized_shape, weight, None, eps, False)


def _over_last(
    name: str, input: Any, shape: Any, weight: Any, bias: Any, eps: float, centered: bool
) -> Tensor:
    """The last axes as channels of one group."""
    x = as_tensor(input)
    wanted = (int(shape),) if hasattr(shape, "__index__") else tuple(shape)
    before = x.ndim - len(wanted)
    if not wanted or before < 0 or x.shape[before:] != wanted:
        raise RuntimeError(f"F.{name}: input must end with the shape {wanted}, got {x.shape}")
    count = math.prod(wanted)
    rows = x.reshape(math.prod(x.shape[:before]), count)
    weight, bias = (None if v is None else v.reshape(count) for v in _beside(x, weight, bias))
    y = _grouped(rows, weight, bias, 1, eps, centered)
    return y if y.shape == x.shape else y.reshape(x.shape)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Groups of channels of each sample with mean 0 and variance 1 (Wu and He 2018).

    Parameters
    ----------
    input : Tensor of shape (N, C, ...)
    num_groups : int
        Must divide C.
    weight, bias : Tensor of shape (C,), optional
    eps : float, default=1e-5
    """
    x = as_tensor(input)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise RuntimeError(
            f"F.group_norm: input must have channels (axis 1) in {num_groups} equal groups, got "
            f"shape {x.shape}"
        )
    weight, bias = _beside(x, weight, bias)
    return _grouped(x, weight, bias, int(num_groups), eps, True)


def _update(momentum: float, statistics: Any, n: int) -> Any:
    """Moves running statistics towards those of a batch, whose variance is then of n - 1."""

    def update(mean: Any, variance: Any) -> None:
        if statistics[0] is None:
            return
        for running, value in zip(statistics, (mean, variance * (n / max(n - 1, 1))), strict=True):
            old = running.data
            running.copy_((old + momentum * (value - old)).astype(old.dtype))

    return update


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Channels with mean 0 and variance 1 over the batch; in evaluation by running statistics.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...)
    running_mean, running_var : Tensor of shape (C,), or None
        Updated in place in training: ``(1 - momentum) * running + momentum * batch``, with the
        variance divided by n - 1.
    weight, bias : Tensor of shape (C,), optional
    training : bool, default=False
    momentum : float, default=0.1
    eps : float, default=1e-5

    Raises
    ------
    ValueError
        If there is but one value per channel in training.

    References
    ----------
    Ioffe and Szegedy (2015), "Batch normalization".
    """
    x = as_tensor(input)
    if x.ndim < 2:
        raise ValueError(f"F.batch_norm: input must have channels (axis 1), got shape {x.shape}")
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("F.batch_norm: running statistics must be given unless training")
        inverse = (_single(running_var) + eps).rsqrt()
        factor = inverse if weight is None else inverse * _single(weight)
        shift = -_single(running_mean) * factor
        if bias is not None:
            shift = shift + _single(bias)
        wide = _single(x)
        return _scaled(wide, factor.to(wide.dtype), shift.to(wide.dtype)).to(x.dtype)
    count = x.numel() // max(x.shape[1], 1)
    if count == 1:
        raise ValueError(
            "F.batch_norm: there must be more than one value per channel in training, got shape "
            f"{x.shape}"
        )
    running = _update(momentum, (running_mean, running_var) if count else (None, None), count)
    weight, bias = _beside(x, weight, bias)
    return _batch(x, weight, bias, eps=float(eps), running=running)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample with mean 0 and variance 1.

    Parameters are those of :func:`batch_norm`; ``use_input_stats=False`` normalises by the running
    statistics.
    """
    x = as_tensor(input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if x.ndim < 2 or (x.numel() == x.shape[0] * x.shape[1] and x.numel()):
        raise ValueError(
            f"F.instance_norm: there must be more than one value per channel, got shape {x.shape}"
        )
    if running_mean is not None and x.numel():
        from ...ops import reduction

        axes, n = tuple(range(2, x.ndim)), math.prod(x.shape[2:])
        wide = widened(x.data)
        mean = reduction.mean(wide, axis=axes).mean(0)
        variance = reduction.variance(wide, axis=axes).mean(0)
        _update(momentum, (running_mean, running_var), n)(mean, variance)
    return group_norm(x, max(x.shape[1], 1), weight, bias, eps)


complete(globals())
