"""Normalisation by batch, layer, group, instance and root mean square.

Deviations are taken from the mean before they are squared, and rows are scaled by a power of two
first where their squares would leave the range of numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import namespace
from .._documents import complete
from .._reductions import mean as _mean
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor


def _scale_of(size: Any) -> Any:
    """A power of two near each size, 1 where squares are in range anyway."""
    xp = namespace(size)
    _, exponent = xp.frexp(size)
    limit = 60 if size.dtype == np.float32 else 500
    extreme = (abs(exponent) > limit) & (size > 0) & xp.isfinite(size)
    return xp.where(extreme, xp.ldexp(size.dtype.type(1), exponent), size.dtype.type(1))


def _normalised(x: Any, axis: tuple[int, ...], eps: float, centre: bool) -> tuple[Any, Any]:
    """(x - mean) / sqrt(variance + eps), and the factor 1 / sqrt(variance + eps)."""
    xp = namespace(x)
    scale = _scale_of(abs(x).max(axis, keepdims=True, initial=0))
    if (scale != 1).any():
        x = x / scale
    wide = x.astype(np.float64)
    if centre:
        wide = wide - wide.mean(axis, keepdims=True)
        wide = wide - wide.mean(axis, keepdims=True)
    square = (wide * wide).mean(axis, keepdims=True)
    inverse = 1 / xp.sqrt(square + eps / (scale.astype(np.float64) ** 2))
    return (wide * inverse).astype(x.dtype), (inverse / scale).astype(x.dtype)


def _normalise_forward(x: Any, axis: tuple[int, ...], eps: float, centre: bool) -> Any:
    y, inverse = _normalised(x, axis, eps, centre)
    return y, (y, inverse)


def _normalise_backward(g: Any, saved: tuple, node: Node) -> Any:
    _, y, inverse = saved
    axis = node.options["axis"]
    d = g - y * (g * y).mean(axis, keepdims=True, dtype=np.float64).astype(g.dtype)
    if node.options["centre"]:
        d = d - g.mean(axis, keepdims=True, dtype=np.float64).astype(g.dtype)
    return d * inverse


def _normalise_twice(g: Any, saved: tuple, node: Node) -> Any:
    """The same with y and the factor computed from x on the tape."""
    x = saved[0]
    axis, eps = node.options["axis"], node.options["eps"]
    if node.options["centre"]:
        x = x - _mean(x, axis=axis, keepdims=True)
    inverse = (_mean(x * x, axis=axis, keepdims=True) + eps).rsqrt()
    y = x * inverse
    d = g - y * _mean(g * y, axis=axis, keepdims=True)
    if node.options["centre"]:
        d = d - _mean(g, axis=axis, keepdims=True)
    return d * inverse


normalise: Rule = Rule(
    "normalise",
    _normalise_forward,
    _normalise_backward,
    {0: ()},
    twice=_normalise_twice,
    extras=True,
)


def _affine(y: Tensor, weight: Any, bias: Any, shape: tuple[int, ...]) -> Tensor:
    if weight is not None:
        y = y * as_tensor(weight).reshape(shape)
    return y if bias is None else y + as_tensor(bias).reshape(shape)


def _per_channel(x: Tensor) -> tuple[int, ...]:
    return (1, x.shape[1], *(1,) * (x.ndim - 2))


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
    x, axes = _last_axes("layer_norm", input, normalized_shape)
    y = normalise(x, axis=axes, eps=float(eps), centre=True)
    return _affine(y, weight, bias, x.shape[x.ndim - len(axes) :])


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    """Each sample divided by the root of its mean square, then scaled.

    ``eps`` is the machine epsilon of the dtype by default.
    """
    x, axes = _last_axes("rms_norm", input, normalized_shape)
    if eps is None:
        eps = float(np.finfo(x.dtype).eps)
    y = normalise(x, axis=axes, eps=float(eps), centre=False)
    return _affine(y, weight, None, x.shape[x.ndim - len(axes) :])


def _last_axes(name: str, input: Any, shape: Any) -> tuple[Tensor, tuple[int, ...]]:
    x = as_tensor(input)
    wanted = (int(shape),) if hasattr(shape, "__index__") else tuple(shape)
    if not wanted or x.shape[x.ndim - len(wanted) :] != wanted or len(wanted) > x.ndim:
        raise RuntimeError(f"F.{name}: input must end with the shape {wanted}, got shape {x.shape}")
    return x, tuple(range(x.ndim - len(wanted), x.ndim))


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
    groups = x.reshape(x.shape[0], num_groups, -1)
    y = normalise(groups, axis=(2,), eps=float(eps), centre=True).reshape(x.shape)
    return _affine(y, weight, bias, _per_channel(x))


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Means and unbiased variances for the running statistics."""
    from ...ops import reduction

    n = x.numel() // max(x.shape[1], 1)
    return (
        reduction.mean(x.data, axis=axes),
        reduction.variance(x.data, axis=axes, ddof=1.0 if n > 1 else 0.0),
    )


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
    shape = _per_channel(x)
    axes = (0, *range(2, x.ndim))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("F.batch_norm: running statistics must be given unless training")
        inverse = (as_tensor(running_var) + eps).rsqrt()
        factor = inverse if weight is None else inverse * as_tensor(weight)
        shift = -as_tensor(running_mean) * factor
        if bias is not None:
            shift = shift + as_tensor(bias)
        return x * factor.reshape(shape) + shift.reshape(shape)
    if x.numel() == x.shape[1] and x.shape[1]:
        raise ValueError(
            "F.batch_norm: there must be more than one value per channel in training, got shape "
            f"{x.shape}"
        )
    if running_mean is not None and x.numel():
        mean, variance = _moments(x, axes)
        for running, value in ((running_mean, mean), (running_var, variance)):
            running.copy_(running.data + momentum * (value - running.data))
    y = normalise(x, axis=axes, eps=float(eps), centre=True)
    return _affine(y, weight, bias, shape)


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
    axes = tuple(range(2, x.ndim))
    if x.numel() == x.shape[0] * x.shape[1] and x.numel():
        raise ValueError(
            f"F.instance_norm: there must be more than one value per channel, got shape {x.shape}"
        )
    if running_mean is not None and x.numel():
        from ...ops import reduction

        mean = reduction.mean(x.data, axis=axes).mean(0)
        variance = reduction.variance(x.data, axis=axes, ddof=1.0).mean(0)
        for running, value in ((running_mean, mean), (running_var, variance)):
            running.copy_(running.data + momentum * (value - running.data))
    y = normalise(x, axis=axes, eps=float(eps), centre=True)
    return _affine(y, weight, bias, _per_channel(x))


complete(globals())
