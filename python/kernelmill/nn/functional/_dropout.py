"""Dropout: elements or whole channels set to 0, from a mask that is drawn again, not saved."""

from __future__ import annotations

import math
from typing import Any

from ...ops import dropout as ops
from .._documents import complete
from .._random import Generator, current
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor


def _apply(
    x: Any, p: float, seed: int, stream: int, scale: float, shift: float, dropped: float, axes: int
) -> Any:
    """``scale x + shift`` where kept; with ``axes`` the places of a channel stay together."""
    rows = math.prod(x.shape[: x.ndim - max(axes, 1)])
    flat = x.reshape(rows, -1) if x.size else x.reshape(rows, 0)
    y = ops.dropout(flat, p, seed, stream, scale, shift, dropped, axes > 0)
    return y.reshape(x.shape)


def _backward(g: Any, saved: tuple, node: Node) -> Any:
    return _dropout(g, **{**node.options, "shift": 0.0, "dropped": 0.0})


_dropout: Rule = Rule("dropout", _apply, _backward)


def _plain(p: float) -> dict[str, float]:
    """Kept entries are divided by the share that is kept."""
    return {"scale": 1 / (1 - p) if p < 1 else 0.0, "shift": 0.0, "dropped": 0.0}


def _checked(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"F.{name}: p must be a probability, from 0 to 1, got {p}")
    return float(p)


def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Set elements to 0 with probability p and divide the others by 1 - p.

    Parameters
    ----------
    input : Tensor
    p : float, default=0.5
    training : bool, default=True
        False gives the input.
    inplace : bool, default=False
        Ignored; present for compatibility with torch.
    generator : Generator, optional
        Where the mask is drawn from; see :func:`kernelmill.nn.manual_seed`.

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting".

    Examples
    --------
    >>> from kernelmill import nn
    >>> x = nn.functional.dropout(nn.ones(1000), 0.5)
    >>> sorted(set(x.tolist()))
    [0.0, 2.0]
    """
    x = as_tensor(input)
    if _checked("dropout", p) == 0 or not training:
        return x
    seed, stream = current(generator).draw()
    return _dropout(x, p=float(p), seed=seed, stream=stream, **_plain(p), axes=0)


def _channels(name: str, input: Any, p: float, training: bool, axes: int,
              generator: Generator | None) -> Tensor:  # fmt: skip
    x = as_tensor(input)
    if x.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"F.{name}: input must have {axes + 1} or {axes + 2} axes, got shape {x.shape}"
        )
    if _checked(name, p) == 0 or not training:
        return x
    seed, stream = current(generator).draw()
    return _dropout(x, p=float(p), seed=seed, stream=stream, **_plain(p), axes=axes)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False,
              generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Whole channels of (N, C, L) or (C, L) set to 0 (see :func:`dropout`)."""
    return _channels("dropout1d", input, p, training, 1, generator)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False,
              generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Whole channels of (N, C, H, W) or (C, H, W) set to 0 (see :func:`dropout`)."""
    return _channels("dropout2d", input, p, training, 2, generator)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False,
              generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) set to 0 (see :func:`dropout`)."""
    return _channels("dropout3d", input, p, training, 3, generator)


_ALPHA = -1.7580993408473766  # the limit of SELU towards minus infinity


def _alpha(
    name: str, input: Any, p: float, training: bool, channels: bool, generator: Generator | None
) -> Tensor:
    x = as_tensor(input)
    if _checked(name, p) == 0 or not training:
        return x
    if p == 1:
        return x * 0.0
    seed, stream = current(generator).draw()
    # Mean 0 and variance 1 are kept (Klambauer et al. 2017).
    a = ((1 - p) * (1 + p * _ALPHA**2)) ** -0.5
    shift = -a * _ALPHA * p
    axes = max(x.ndim - 2, 1) if channels else 0
    return _dropout(x, p=float(p), seed=seed, stream=stream, scale=a, shift=shift,
                    dropped=a * _ALPHA + shift, axes=axes)  # fmt: skip


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False,
                  generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Dropout that keeps mean 0 and variance 1, for networks with SELU."""
    return _alpha("alpha_dropout", input, p, training, False, generator)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False,
                          generator: Generator | None = None) -> Tensor:  # fmt: skip
    """:func:`alpha_dropout` of whole channels."""

    return _alpha("feature_alpha_dropout", input, p, training, True, generator)


complete(globals())
