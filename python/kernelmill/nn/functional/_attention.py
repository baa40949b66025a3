"""Scaled dot-product attention: one op each way that never holds the matrix of scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import beside, namespace
from ...ops import attention as ops
from .._backward import recomputed
from .._documents import complete
from .._dtypes import FLOATS
from .._random import Generator, current
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor
from ._dropout import _checked, _dropout, _plain


def heads_first(x: Any) -> Any:
    """(batch, length, heads, features) from (batch, heads, length, features), and back."""
    return x.transpose(0, 2, 1, 3)


def _forward(q: Any, k: Any, v: Any, bias: Any, **options: Any) -> Any:
    out, lse = ops.forward(heads_first(q), heads_first(k), heads_first(v), bias, **options)
    return heads_first(out), (out, lse)


def _backward(g: Any, saved: tuple, node: Node) -> Any:
    q, k, v, bias, out, lse = saved
    given = (heads_first(g), heads_first(q), heads_first(k), heads_first(v), out, lse, bias)
    needs = [p is not None for p in node.parents]
    found: list[Any] = [None] * 4
    if any(needs[:3]):
        made = map(heads_first, ops.backward(*given, **node.options))
        found[:3] = [d if n else None for d, n in zip(made, needs[:3], strict=True)]
    if needs[3]:
        found[3] = ops.bias_backward(*given, **node.options)
    return tuple(found)


def hidden(
    x: Any, t: int, s: int, mask: Any, causal: bool, window: int, offset: int
) -> Any:
    """True where a key is hidden from a query, an array beside x; None where all are seen."""
    distance = np.arange(t)[:, None] + offset - np.arange(s)
    seen = np.ones((t, s), bool)
    if causal:
        seen &= distance >= 0
    if window >= 0:
        seen &= np.abs(distance) <= window
    if mask is None:
        return None if seen.all() else beside(~seen, x)
    return ~(beside(seen, x) & beside(mask, x))


def masked_softmax(scores: Any, hide: Any) -> Any:
    """Softmax over the last axis of what is not hidden; zeros where all is, with gradient 0."""
    xp = namespace(scores.data)
    if hide is not None:
        scores = scores.masked_fill(hide, -math.inf)
    some = scores.shape[-1] > 0
    top = scores.data.max(-1, keepdims=True) if some else xp.zeros((*scores.shape[:-1], 1))
    shares = (scores - xp.where(top == -math.inf, 0, top).astype(scores.dtype)).exp()
    total = shares.sum(-1, keepdim=True)
    return shares / total.masked_fill(total.data == 0, 1.0)


def attention_weights(
    q: Any, k: Any, bias: Any, mask: Any, slopes: Any, causal: bool, window: int, offset: int,
    scale: float, p: float, seed: int, stream: int,
) -> Any:  # fmt: skip
    """The matrix of probabilities, after dropout, in differentiable operations."""
    q, k = as_tensor(q), as_tensor(k)
    h, g, t, s = q.shape[1], k.shape[1], q.shape[2], k.shape[2]
    if h != g:
        k = k.repeat_interleave(h // g, 1)
    scores = (q @ k.transpose(-2, -1)) * scale
    if bias is not None:
        scores = scores + bias
    if slopes is not None:
        distance = np.abs(np.arange(t)[:, None] + offset - np.arange(s)).astype(q.dtype)
        scores = scores - beside(slopes, q.data)[:, None, None] * beside(distance, q.data)
    shares = masked_softmax(scores, hidden(q.data, t, s, mask, causal, window, offset))
    if p > 0:
        shares = _dropout(shares, p=p, seed=seed, stream=stream, **_plain(p), axes=0)
    return shares


def _composed(q: Any, k: Any, v: Any, bias: Any, **options: Any) -> Any:
    v = as_tensor(v)
    if q.shape[1] != v.shape[1]:
        v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    return attention_weights(q, k, bias, **options) @ v


_attention: Rule = Rule(
    "scaled_dot_product_attention",
    _forward,
    _backward,
    {0: (), 1: (), 2: (), 3: ()},
    twice=recomputed(_composed, 4),
    extras=True,
)


def attend(q: Any, k: Any, v: Any, bias: Any = None, mask: Any = None, **options: Any) -> Any:
    """Attention of tensors of four axes, with the arguments of `ops.attention.forward`."""
    return _attention(q, k, v, bias, **placed(mask, options, q.data))


def tensor_beside(mask: Any, like: Any) -> Tensor:
    """A tensor as it is; of anything else, one over an array on the device of `like`."""
    return mask if isinstance(mask, Tensor) else as_tensor(beside(mask, like))


def placed(mask: Any, options: dict[str, Any], like: Any) -> dict[str, Any]:
    """The options with the mask, arrays beside those of the tensors."""
    slopes = beside(options["slopes"], like)
    return {**options, "mask": beside(mask, like), "slopes": slopes}


def settings(
    e: int, *, slopes: Any = None, causal: bool = False, window: int | None = None,
    offset: int = 0, scale: float | None = None, p: float = 0.0,
    generator: Generator | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Options of `attend`; a dropout mask is drawn if there is dropout."""
    seed, stream = current(generator).draw() if p > 0 else (0, 0)
    return {
        "slopes": slopes,
        "causal": bool(causal),
        "window": -1 if window is None else int(window),
        "offset": int(offset),
        "scale": 1 / math.sqrt(max(e, 1)) if scale is None else float(scale),
        "p": float(p),
        "seed": seed,
        "stream": stream,
    }


def _four_axes(mask: Any, lead: tuple[int, ...]) -> Any:
    """A mask over (..., L, S) in the axes of (batch, heads, L, S)."""
    extra = len(lead) + 2 - mask.ndim
    if extra < 0:
        raise RuntimeError(
            f"F.scaled_dot_product_attention: attn_mask must have at most {len(lead) + 2} axes, "
            f"got shape {tuple(mask.shape)}"
        )
    shape = (*(1,) * extra, *mask.shape)
    if len(lead) == 0:
        return mask.reshape(1, 1, *shape)
    if len(lead) == 1:
        return mask.reshape(shape[0], 1, *shape[1:])
    if len(lead) > 2 and any(n != 1 for n in shape[:-3]):
        whole = (*lead[:-1], *shape[-3:])
        mask = mask.expand(whole) if isinstance(mask, Tensor) else np.broadcast_to(mask, whole)
        return mask.reshape(-1, *shape[-3:])
    return mask.reshape(-1 if len(lead) == 2 else 1, *shape[-3:])


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    window: int | None = None,
    slopes: Any = None,
    offset: int = 0,
    generator: Generator | None = None,
) -> Tensor:
    """Attention: each query's mean of the values, weighted by the softmax of its scaled products.

    The matrix of weights is never formed, neither forward nor backward, so memory grows linearly
    with the lengths. A query whose keys are all hidden has output 0 and gradient 0.

    Parameters
    ----------
    query : Tensor of shape (..., H, L, E)
        Queries.
    key : Tensor of shape (..., H, S, E)
        Keys.
    value : Tensor of shape (..., H, S, F)
        Values.
    attn_mask : Tensor, optional
        Broadcasts to (..., H, L, S). A boolean mask is True where a key *takes part*, unlike those
        of :class:`kernelmill.nn.MultiheadAttention`; a float mask is added to the scores and may
        need a gradient. It may be combined with `is_causal`.
    dropout_p : float, default=0.0
        Probability that a weight is dropped; applied whenever it is positive.
    is_causal : bool, default=False
        Hide key j from query i where ``j > i + offset``. With the default offset, query 0 sees key
        0 alone whatever the lengths are, as in torch.
    scale : float, optional
        Factor of the products; ``1 / sqrt(E)`` by default.
    enable_gqa : bool, default=False
        Let groups of query heads share heads of key and value, whose number divides H.
    window : int, optional
        Hide keys that are further than this from the query. Not in torch.
    slopes : Tensor of shape (H,), optional
        Subtract ``slopes * |i + offset - j|`` from the scores, without forming it (ALiBi; see
        :func:`kernelmill.nn.alibi_slopes`). No gradient flows to them. Not in torch.
    offset : int, default=0
        Position of the first query among the keys, as in decoding with a cache. Not in torch.
    generator : Generator, optional
        Where the dropout mask is drawn from. Not in torch.

    Returns
    -------
    output : Tensor of shape (..., H, L, F)
        The means.

    Raises
    ------
    RuntimeError
        If shapes do not fit.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need". Dao et al. (2022), "FlashAttention".

    Examples
    --------
    >>> from kernelmill import nn
    >>> q, v = nn.ones(1, 3, 2), nn.Tensor([[[0.0], [1.0], [2.0]]])
    >>> nn.functional.scaled_dot_product_attention(q, q, v, is_causal=True).tolist()
    [[[0.0], [0.5], [1.0]]]
    """
    name = "F.scaled_dot_product_attention"
    q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
    lead, t, s = _leading(name, q, k, v, enable_gqa)
    if k.dtype != q.dtype or v.dtype != q.dtype or q.dtype.kind not in FLOATS:
        raise RuntimeError(
            f"{name}: query, key and value must have one float dtype, got {q.dtype}, {k.dtype} and "
            f"{v.dtype}"
        )
    _checked("scaled_dot_product_attention", dropout_p)
    bias = mask = None
    if attn_mask is not None:
        given = tensor_beside(attn_mask, q.data)
        _check_mask(name, given, (*lead, t, s))
        if given.dtype == bool:
            mask = _four_axes(given.data, lead)
        else:
            bias = _four_axes(given.to(q.dtype), lead)
    if slopes is not None:
        slopes = as_tensor(slopes).data.astype(q.dtype, copy=False)
    options = settings(q.shape[-1], slopes=slopes, causal=is_causal, window=window, offset=offset,
                       scale=scale, p=dropout_p, generator=generator)  # fmt: skip
    if q.ndim == 4 and k.shape[0] == v.shape[0] == q.shape[0]:
        return attend(q, k, v, bias, mask, **options)
    groups = k.shape[-3] if enable_gqa and lead else None
    query, key, value = _as_four(q, lead, None), *(_as_four(x, lead, groups) for x in (k, v))
    out = attend(query, key, value, bias, mask, **options)
    return out.reshape(*lead, t, v.shape[-1])


def _as_four(x: Tensor, lead: tuple[int, ...], heads: int | None) -> Tensor:
    wanted = lead if heads is None else (*lead[:-1], heads)
    if x.shape[:-2] != wanted:
        x = x.expand((*wanted, *x.shape[-2:]))
    return x.reshape(math.prod(wanted[:-1]) if len(wanted) > 1 else (*wanted, 1)[0],
                     wanted[-1] if len(wanted) > 1 else 1, *x.shape[-2:])  # fmt: skip


def _leading(name: str, q: Any, k: Any, v: Any, grouped: bool) -> tuple[tuple[int, ...], int, int]:
    """The axes before the last two, and the lengths of queries and keys."""
    shapes = f"got shapes {q.shape}, {k.shape} and {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            f"{name}: query, key and value must be (..., L, E), (..., S, E) and (..., S, F), "
            f"{shapes}"
        )
    own, others = q.shape[:-2], (k.shape[:-2], v.shape[:-2])
    if grouped:
        if min(q.ndim, k.ndim, v.ndim) < 3 or k.shape[-3] != v.shape[-3] or (
            k.shape[-3] == 0 or q.shape[-3] % k.shape[-3]
        ):  # fmt: skip
            raise RuntimeError(
                f"{name}: the heads of query must be a multiple of those of key and value, {shapes}"
            )
        heads = own[-1]
        own, others = own[:-1], (k.shape[:-3], v.shape[:-3])
    try:
        lead = np.broadcast_shapes(own, *others)
    except ValueError:
        raise RuntimeError(
            f"{name}: the axes before the last two must broadcast, {shapes} (enable_gqa=True lets "
            "query heads share key heads)"
        ) from None
    return ((*lead, heads) if grouped else lead), q.shape[-2], k.shape[-2]


def _check_mask(name: str, mask: Any, shape: tuple[int, ...]) -> None:
    own = mask.shape
    fits = len(own) <= len(shape) and all(
        n in (1, m) for n, m in zip(own[::-1], shape[::-1], strict=False)
    )
    if not fits or mask.dtype.kind not in "b" + FLOATS:
        raise RuntimeError(
            f"{name}: attn_mask must be bool or float and broadcast to {shape}, got {mask.dtype} "
            f"of shape {own}"
        )


complete(globals())
