"""Layers of attention: multi-head, additive, multiplicative, and hard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import namespace
from ...ops import linear as products
from .. import functional as F
from .. import init
from .._backward import recomputed
from .._documents import complete
from .._shape import cat
from .._tape import Node, Rule
from .._tensor import Tensor, as_tensor
from ..functional._attention import (
    _composed,
    attend,
    attention_weights,
    heads_first,
    ops,
    placed,
    settings,
    tensor_beside,
)
from ._layers import Linear, empty_parameter
from ._module import Module
from ._positions import alibi_slopes

# --- queries, keys and values of one projection ---------------------------------------------------


def _joint_forward(qkv: Any, bias: Any, **options: Any) -> Any:
    out, lse = ops.forward(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], bias, **options)
    return out, (out, lse)


def _joint_backward(g: Any, saved: tuple, node: Node) -> Any:
    qkv, bias, out, lse = saved
    given = (g, qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], out, lse, bias)
    options = node.options
    needs = [p is not None for p in node.parents]
    dqkv = None
    if needs[0] and namespace(qkv) is np:
        b, t, _, h, e = qkv.shape
        dqkv = ops.joint_backward(g, qkv.reshape(b, t, 3 * h, e), out, lse, bias, **options)
        dqkv = dqkv.reshape(qkv.shape)
    elif needs[0]:
        dqkv = np.stack(ops.backward(*given, **options), axis=2)
    return dqkv, ops.bias_backward(*given, **options) if needs[1] else None


def _joint_composed(qkv: Any, bias: Any, **options: Any) -> Any:
    q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
    return _composed(q, k, v, bias, **options).transpose(1, 2)


# (N, T, 3, H, E) to (N, T, H, E)
joint_attention: Rule = Rule(
    "attention", _joint_forward, _joint_backward, {0: (), 1: ()},
    twice=recomputed(_joint_composed, 2), extras=True,
)  # fmt: skip


def array(tensor: Any) -> Any:
    """The array of a tensor, or None."""
    return None if tensor is None else tensor.data


def values_of(layer: Any) -> tuple:
    """The arrays of a layer's weight and bias."""
    own = layer._parameters
    return own["weight"].data, array(own["bias"])


class MultiheadAttention(Module):
    """Attention of several heads between projections.

    Masks hide where they are True, as in torch, unlike those of
    :func:`kernelmill.nn.functional.scaled_dot_product_attention`. A query that sees nothing gets
    ``out_proj(0)`` and finite gradients.

    Parameters
    ----------
    embed_dim : int
        Number of features of queries and of the output.
    num_heads : int
        Number of heads, which divides ``embed_dim``.
    dropout : float, default=0.0
        Probability that a weight is dropped, in training.
    bias : bool, default=True
        Whether the projections have biases.
    add_bias_kv : bool, default=False
        Add a learnt key and value behind the others.
    add_zero_attn : bool, default=False
        Add a key and a value of zeros behind the others.
    kdim, vdim : int, optional
        Number of features of keys and of values; ``embed_dim`` by default.
    batch_first : bool, default=False
        Take (N, L, E) instead of (L, N, E).
    dtype : dtype, optional
        Dtype of the parameters.
    window : int, optional
        Keys further away than this are hidden: local attention. Not in torch.
    alibi : bool, default=False
        Subtract a slope times the distance from the scores. Not in torch.
    rotary : RotaryEmbedding, optional
        Turn queries and keys by their positions. Not in torch.

    Attributes
    ----------
    in_proj_weight : Parameter of shape (3 embed_dim, embed_dim) or None
        Projections of query, key and value; with other sizes of keys or values there are
        ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight``.
    in_proj_bias : Parameter of shape (3 embed_dim,) or None
        Their biases.
    out_proj : Linear
        The projection of the output.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need".

    Examples
    --------
    >>> from kernelmill import nn
    >>> layer = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = nn.randn(3, 5, 8)
    >>> output, weights = layer(x, x, x)
    >>> output.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
        add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
        vdim: int | None = None, batch_first: bool = False, dtype: Any = None, *,
        window: int | None = None, alibi: bool = False, rotary: Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim must be a positive multiple of num_heads, got "
                f"{embed_dim} and {num_heads}"
            )
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first, self.add_zero_attn, self.window = batch_first, add_zero_attn, window
        self._joined = self.kdim == embed_dim and self.vdim == embed_dim
        sizes = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim,
                 "v_proj_weight": self.vdim}  # fmt: skip
        for name, size in sizes.items():
            made = None if self._joined else empty_parameter(embed_dim, size, dtype=dtype)
            self.register_parameter(name, made)
        shape = (3 * embed_dim, embed_dim)
        self.register_parameter(
            "in_proj_weight", empty_parameter(*shape, dtype=dtype) if self._joined else None
        )
        self.register_parameter(
            "in_proj_bias", empty_parameter(3 * embed_dim, dtype=dtype) if bias else None
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            made = empty_parameter(1, 1, embed_dim, dtype=dtype) if add_bias_kv else None
            self.register_parameter(name, made)
        self.rotary = rotary
        self.alibi = alibi
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None,
        need_weights: bool = True, attn_mask: Any = None, average_attn_weights: bool = True,
        is_causal: bool = False, *, cache: Any = None, is_memory: bool = False,
        positions: Any = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Apply the layer.

        Parameters
        ----------
        query : Tensor of shape (L, N, E), (N, L, E) with ``batch_first``, or (L, E)
            Queries.
        key : Tensor of shape (S, N, kdim), (N, S, kdim) or (S, kdim)
            What the keys are projected from.
        value : Tensor of shape (S, N, vdim), (N, S, vdim) or (S, vdim)
            What the values are projected from.
        key_padding_mask : Tensor of shape (N, S) or (S,), optional
            True where a key is hidden, or a float that is added to the scores.
        need_weights : bool, default=True
            Return the weights too, which takes memory for all of them; pass False for speed.
        attn_mask : Tensor of shape (L, S) or (N * num_heads, L, S), optional
            True where a key is hidden from a query, or a float that is added to the scores.
        average_attn_weights : bool, default=True
            Return the mean of the weights over the heads.
        is_causal : bool, default=False
            Hide later keys. With ``attn_mask`` it says that the mask does the same, and the mask
            is not read.
        cache : KVCache, optional
            Keys and values of earlier calls, to which those of this one are added; positions
            continue behind them. Not in torch.
        is_memory : bool, default=False
            Keys and values are the same at each call with this cache, such as an encoder's output:
            they are projected once. Not in torch.
        positions : array-like of int of shape (N, L), optional
            Positions for ``rotary``, where they are not consecutive. Not in torch.

        Returns
        -------
        attn_output : Tensor in the shape of query
            The output.
        attn_output_weights : Tensor of shape (N, L, S), (N, num_heads, L, S), or None
            The weights, if they are needed.

        Raises
        ------
        RuntimeError
            If shapes do not fit.
        """
        itself = key is query and value is query
        query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
        single = query.ndim == 2
        axis = 0 if self.batch_first else 1
        if single:
            query, key, value = (x.unsqueeze(axis) for x in (query, key, value))
        self._check(query, key, value)
        n, t, s = query.shape[axis], query.shape[1 - axis], key.shape[1 - axis]
        plain = self.bias_k is None and not self.add_zero_attn
        p = self.dropout if self.training else 0.0
        projected, offset = None, 0
        if itself and self._joined and plain and cache is None and self.rotary is None:
            projected = self._split(F.linear(query, self.in_proj_weight, self.in_proj_bias), 3)
            if need_weights:
                q, k, v = (projected[:, :, i].transpose(1, 2) for i in range(3))
        else:
            q, k, v, offset = self._heads(query, key, value, itself, cache, is_memory, positions)
            s = k.shape[2]
        bias, mask, causal = self._masks(n, t, s, key_padding_mask, attn_mask, is_causal, offset)
        if not plain:
            k, v = self._extended(k, v)
            bias, mask = (_one_more(m, k.shape[2] - s) for m in (bias, mask))
            if causal:  # the added keys are seen by all
                later = np.arange(t)[:, None] + offset < np.arange(s)
                seen = ~np.pad(later, ((0, 0), (0, k.shape[2] - s)))
                mask, causal = seen[None, None] if mask is None else mask & seen, False
        slopes = alibi_slopes(self.num_heads, query.dtype).data if self.alibi else None
        options = settings(self.head_dim, slopes=slopes, causal=causal, window=self.window,
                           offset=offset, p=p)  # fmt: skip
        weights = None
        if need_weights:
            weights = attention_weights(q, k, bias, mask, **options)
            out = (weights @ v).transpose(1, 2)
            weights = weights.mean(1) if average_attn_weights else weights
        elif projected is not None:
            out = joint_attention(projected, bias, **placed(mask, options, query.data))
        else:
            out = attend(q, k, v, bias, mask, **options).transpose(1, 2)
        out = out.reshape(n, t, self.embed_dim)
        out = self.out_proj(out if self.batch_first else out.transpose(0, 1))
        if single:
            out = out.squeeze(axis)
            weights = None if weights is None else weights.squeeze(0)
        return out, weights

    @property
    def simple(self) -> bool:
        """Whether queries, keys and values come from one projection of batches that lead."""
        plain = self._joined and self.batch_first and not self.add_zero_attn
        return plain and self._parameters.get("bias_k", self) is None  # not if it is no parameter

    def evaluated(self, x: Any, padding: Any, causal: bool, cache: Any, positions: Any) -> Any:
        """Self-attention of a `simple` layer with a cache, on arrays and without dropout.

        Parameters
        ----------
        x : ndarray of shape (N, L, E)
            The sequences.
        padding : Tensor of bool or None
            As ``key_padding_mask`` of :meth:`forward`.
        causal : bool
            Hide later keys.
        cache : KVCache
            Keys and values of earlier places.
        positions : array-like of int or None
            As in :meth:`forward`.

        Returns
        -------
        ndarray of shape (N * L, E)
            The output.
        """
        n, t, d = x.shape
        own, offset = self._parameters, cache.held(self)
        joint = products.forward(x.reshape(n * t, d), own["in_proj_weight"].data,  # type: ignore[union-attr]
                                 array(own["in_proj_bias"]))[0]  # fmt: skip
        joint = joint.reshape(n, t, 3, self.num_heads, self.head_dim)
        q, k, v = joint[:, :, 0], joint[:, :, 1], joint[:, :, 2]
        if self.rotary is not None:
            turned = (self.rotary(Tensor(heads_first(x)), offset, positions) for x in (q, k))
            q, k = (heads_first(x.data) for x in turned)
        k, v = cache.extended(self, k, v)
        added = mask = slopes = None
        if padding is not None:
            added, mask, causal = self._masks(n, t, k.shape[1], padding, None, causal, offset)
            added = array(added)
        if self.alibi:
            slopes = alibi_slopes(self.num_heads, x.dtype).data
        window = -1 if self.window is None else int(self.window)
        out = ops.forward(q, k, v, added, mask, slopes, causal, window, offset,
                          1 / math.sqrt(self.head_dim))[0]  # fmt: skip
        return products.forward(out.reshape(n * t, d), *values_of(self._modules["out_proj"]))[0]

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        shapes = f"{query.shape}, {key.shape} and {value.shape}"
        sizes = (self.embed_dim, self.kdim, self.vdim)
        given = (query, key, value)
        if any(x.ndim != 3 or x.shape[2] != d for x, d in zip(given, sizes, strict=True)):
            raise RuntimeError(
                f"MultiheadAttention: query, key and value must have 2 or 3 axes and {sizes[0]}, "
                f"{sizes[1]} and {sizes[2]} features, got shapes {shapes}"
            )
        axis = 0 if self.batch_first else 1
        if key.shape[:2] != value.shape[:2] or query.shape[axis] != key.shape[axis]:
            raise RuntimeError(
                "MultiheadAttention: batches of query, key and value and lengths of key and value "
                f"must be equal, got shapes {shapes}"
            )

    def _split(self, x: Tensor, parts: int) -> Tensor:
        """A projection as (N, L, H, E) or (N, L, parts, H, E)."""
        more = (parts,) if parts > 1 else ()
        x = x.reshape(*x.shape[:2], *more, self.num_heads, self.head_dim)
        return x if self.batch_first else x.transpose(0, 1)

    def _heads(
        self, query: Tensor, key: Tensor, value: Tensor, itself: bool, cache: Any, is_memory: bool,
        positions: Any,
    ) -> tuple[Tensor, Tensor, Tensor, int]:  # fmt: skip
        """Queries, keys and values as (N, H, L, E), and the position of the first query."""
        e = self.embed_dim
        weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases: Any = (None, None, None)
        if self.in_proj_bias is not None:
            biases = self.in_proj_bias.split(e)
        if self._joined and not itself:
            weights = self.in_proj_weight.split(e)

        def project(i: int, x: Tensor) -> Tensor:
            return self._split(F.linear(x, weights[i], biases[i]), 1).transpose(1, 2)

        if self._joined and itself:
            joint = self._split(F.linear(query, self.in_proj_weight, self.in_proj_bias), 3)
            q, k, v = (joint[:, :, i].transpose(1, 2) for i in range(3))
        elif cache is not None and is_memory:
            q = project(0, query)
            k, v = cache.fixed(self, lambda: (project(1, key), project(2, value)))
            return q, k, v, 0
        else:
            q, k, v = project(0, query), project(1, key), project(2, value)
        offset = 0
        if cache is not None:
            offset = cache.held(self)
        if self.rotary is not None:
            q, k = (self.rotary(x, offset, positions) for x in (q, k))
        if cache is not None:
            k, v = cache.append(self, k, v)
        return q, k, v, offset

    def _masks(
        self, n: int, t: int, s: int, padding: Any, mask: Any, causal: bool, offset: int
    ) -> tuple[Any, Any, bool]:
        """A tensor to add to the scores, an array that is True where keys are seen, causality."""
        name = "MultiheadAttention"
        added, hide = None, None
        if mask is not None and not causal:
            given = tensor_beside(mask, self.out_proj.weight.data)
            if given.ndim == 3 and given.shape == (n * self.num_heads, t, s):
                given = given.reshape(n, self.num_heads, t, s)
            elif given.shape != (t, s):
                raise RuntimeError(
                    f"{name}: attn_mask must have shape {(t, s)} or {(n * self.num_heads, t, s)}, "
                    f"got {tuple(given.shape)}"
                )
            else:
                given = given.reshape(1, 1, t, s)
            if given.dtype == bool:
                hide = given.data
            else:
                added = given
        if padding is not None:
            given = tensor_beside(padding, self.out_proj.weight.data)
            if given.shape not in ((n, s), (s,)):
                raise RuntimeError(
                    f"{name}: key_padding_mask must have shape {(n, s)}, got {tuple(given.shape)}"
                )
            given = given.reshape(-1, 1, 1, s)
            if given.dtype == bool:
                hide = given.data if hide is None else hide | given.data
            else:
                added = given if added is None else added + given
        if added is not None:
            added = added.to(self.out_proj.weight.dtype)
        return added, None if hide is None else ~hide, bool(causal)

    def _extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values with those of ``bias_k`` and ``bias_v`` and of zeros behind them."""
        n, h, _, e = k.shape
        ks, vs = [k], [v]
        if self.bias_k is not None:
            for parts, extra in ((ks, self.bias_k), (vs, self.bias_v)):
                parts.append(extra.reshape(1, 1, h, e).transpose(1, 2).expand((n, h, 1, e)))
        if self.add_zero_attn:
            zeros = Tensor(namespace(k.data).zeros((n, h, 1, e), k.dtype))
            ks.append(zeros)
            vs.append(zeros)
        return cat(ks, 2), cat(vs, 2)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.embed_dim}, {self.num_heads}, batch_first={self.batch_first}"


def _one_more(mask: Any, columns: int) -> Any:
    """A mask that lets the added keys be seen."""
    if mask is None:
        return None
    if isinstance(mask, Tensor):
        return F.pad(mask, (0, columns))
    xp = namespace(mask)
    return xp.concatenate([mask, xp.ones((*mask.shape[:-1], columns), bool)], -1)


complete(globals())
