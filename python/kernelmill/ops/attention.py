"""Scaled dot-product attention without its matrix of scores, forward and backward.

For query i and key j of one head, with positions ``x_i = i + offset`` and ``y_j = j``,

    s_ij = scale q_i . k_j + bias_ij - slope |x_i - y_j|
    p_ij = exp(s_ij - lse_i)        lse_i = log sum_j exp(s_ij)        out_i = sum_j p_ij v_j

where sums run over the keys that the query sees: those where `mask` is true, with `causal` those
with ``y_j <= x_i``, with a `window` of w >= 0 those with ``|x_i - y_j| <= w``. A query that sees no
key has out 0, lse -inf, and no gradient.

Implementations walk blocks of scores and never hold a row of them, so memory grows with t and s,
not with their product; blocks that no query sees are skipped. Scores and sums are computed at the
dtype of q. NaN and infinity spread to the queries that see them; at hidden places numbers should be
finite, as 0 times infinity is NaN. Empty input gives empty results, no keys (s = 0) zeros. Shapes,
dtypes and values that do not fit raise ValueError. Deterministic: the same bits at any thread
count. Cost is 4 flops a visible pair and feature forward and 10 backward, beside one exponential.
"""

from __future__ import annotations

import numpy as np

from . import dropout
from ._op import op

_INPUTS = "q: T[b,t,h,e], k: T[b,s,g,e], v: T[b,s,g,f]"
_OPTIONS = (
    "mask: bool[mb=b|1,mh=h|1,mt=t|1,ms=s|1]?, slopes: A[h]?, causal: bool, window: int,"
    " offset: int, scale: float, p: float, seed: int[0,2**64), stream: int[0,2**64)"
)
_BIAS = "bias: T[bb=b|1,bh=h|1,bt=t|1,bs=s|1]"
_OWN_OPTIONS, _OWN_BIAS = (text.replace("=s|1", "=t|1") for text in (_OPTIONS, _BIAS))  # s is t


def _check(name: str, q: np.ndarray, k: np.ndarray, p: float) -> None:
    h, g = q.shape[2], k.shape[2]
    if h and (g == 0 or h % g):
        raise ValueError(
            f"attention.{name}: the heads of q must be a multiple of those of k and v, got {h} and "
            f"{g}"
        )
    if not 0 <= p <= 1:
        raise ValueError(f"attention.{name}: p must be in [0, 1], got {p}")


def _heads(x: np.ndarray, h: int) -> np.ndarray:
    """Float64 of shape (b, h, n, d), groups repeated."""
    x = x.astype(np.float64).transpose(0, 2, 1, 3)
    return x if x.shape[1] == h else np.repeat(x, h // max(x.shape[1], 1), 1)


def _scores(q, k, bias, mask, slopes, causal, window, offset, scale) -> np.ndarray:
    """Scores in float64, -inf where a key is hidden."""
    h, t, s = q.shape[2], q.shape[1], k.shape[1]
    scores = scale * (_heads(q, h) @ _heads(k, h).swapaxes(2, 3))
    distance = np.arange(t)[:, None] + offset - np.arange(s)
    if bias is not None:
        scores = scores + bias
    if slopes is not None:
        scores = scores - slopes.astype(np.float64)[:, None, None] * np.abs(distance)
    seen = np.ones((t, s), bool)
    if causal:
        seen &= distance >= 0
    if window >= 0:
        seen &= np.abs(distance) <= window
    if mask is not None:
        seen = seen & mask
    return np.where(seen, scores, -np.inf)


def _kept(shape: tuple[int, ...], p: float, seed: int, stream: int) -> np.ndarray:
    """0 where a probability is dropped, else 1 / (1 - p)."""
    ones = np.ones((int(np.prod(shape[:-1])), shape[-1]))
    scale = 1 / (1 - p) if p < 1 else 0.0
    return dropout.dropout.specification(ones, p, seed, stream, scale).reshape(shape)


@op(f"{_INPUTS}, {_BIAS}?, {_OPTIONS} -> out: T[b,t,h,f], lse: A[b,h,t]", half=True)
def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    bias: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    causal: bool = False,
    window: int = -1,
    offset: int = 0,
    scale: float = 1.0,
    p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Attention, and the logarithm of what each row of probabilities was divided by.

    Parameters
    ----------
    q : ndarray of shape (b, t, h, e), float32 or float64
        Queries of b samples and h heads, any strides.
    k, v : ndarray of shape (b, s, g, e) and (b, s, g, f), dtype of q
        Keys and values of g heads; query head i uses head ``i // (h / g)``.
    bias : ndarray of shape (b or 1, h or 1, t or 1, s or 1), dtype of q, optional
        Added to the scores; -inf hides a key.
    mask : ndarray of shape (b or 1, h or 1, t or 1, s or 1), bool, optional
        True where a key may be seen.
    slopes : ndarray of shape (h,), dtype of q, optional
        What the distance of query and key costs, for each head (ALiBi).
    causal : bool, default=False
        Hide keys behind the query.
    window : int, default=-1
        Hide keys further away than this; negative hides none.
    offset : int, default=0
        Position of the first query.
    scale : float, default=1.0
        Factor of the products.
    p : float, default=0.0
        Probability that an entry of p_ij is set to 0 and the others are divided by ``1 - p``.
    seed, stream : int in [0, 2**64)
        As in `dropout.dropout`: entry (b, h, i, j) has the item of its place in C order.

    Returns
    -------
    out : ndarray of shape (b, t, h, f), dtype of q
        Weighted means of the values.
    lse : ndarray of shape (b, h, t), dtype of q
        Log-sum-exp of the scores.

    Raises
    ------
    ValueError
        If g does not divide h, p is not in [0, 1], or shapes or dtypes do not fit.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need". Milakov and Gimelshein (2018), "Online
    normalizer calculation for softmax". Dao et al. (2022), "FlashAttention". Press et al. (2022),
    "Train short, test long" (ALiBi). Shazeer (2019) and Ainslie et al. (2023) on grouped heads.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import attention
    >>> q, v = np.zeros((1, 2, 1, 1)), np.array([1.0, 3.0]).reshape(1, 2, 1, 1)
    >>> out, lse = attention.forward(q, q, v, causal=True)
    >>> out.ravel()
    array([1., 2.])
    """
    _check("forward", q, k, p)
    h = q.shape[2]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scores = _scores(q, k, bias, mask, slopes, causal, window, offset, scale)
        top = scores.max(3, keepdims=True, initial=-np.inf)
        shares = np.exp(scores - np.where(top == -np.inf, 0.0, top))
        total = shares.sum(3, keepdims=True)
        shares = shares / np.where(total == 0, 1.0, total)
        if p > 0:
            shares = shares * _kept(shares.shape, p, seed, stream)
        out = (shares @ _heads(v, h)).transpose(0, 2, 1, 3)
        lse = (top + np.log(total))[..., 0]
    return np.ascontiguousarray(out).astype(q.dtype), lse.astype(q.dtype)


def _flows(dout, q, k, v, out, lse, bias, mask, slopes, causal, window, offset, scale, p, seed,
           stream):  # fmt: skip
    """Probabilities after dropout and gradients of the scores, of shape (b, h, t, s)."""
    h = q.shape[2]
    scores = _scores(q, k, bias, mask, slopes, causal, window, offset, scale)
    total = lse.astype(np.float64)[..., None]
    shares = np.exp(scores - np.where(total == -np.inf, np.inf, total))
    g = _heads(dout, h)
    dshares = g @ _heads(v, h).swapaxes(2, 3)
    dropped = shares
    if p > 0:
        kept = _kept(shares.shape, p, seed, stream)
        dshares, dropped = dshares * kept, shares * kept
    delta = (g * _heads(out, h)).sum(3, keepdims=True)
    return dropped, np.where(shares == 0, 0.0, shares * (dshares - delta))


@op(
    f"dout: T[b,t,h,f], {_INPUTS}, out: T[b,t,h,f], lse: A[b,h,t], {_BIAS}?, {_OPTIONS}"
    " -> dq: T[b,t,h,e], dk: T[b,s,g,e], dv: T[b,s,g,f]",
    half=True,
)
def backward(
    dout: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    bias: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    causal: bool = False,
    window: int = -1,
    offset: int = 0,
    scale: float = 1.0,
    p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `forward` with respect to queries, keys and values.

    With ``D_i = dout_i . out_i``, which equals ``sum_j p_ij dout_i . v_j``,

        dv_j = sum_i p_ij dout_i                ds_ij = p_ij (dout_i . v_j - D_i)
        dq_i = scale sum_j ds_ij k_j            dk_j = scale sum_i ds_ij q_i

    Parameters
    ----------
    dout : ndarray of shape (b, t, h, f), float32 or float64
        Gradient of out.
    q, k, v : ndarray of shape (b, t, h, e), (b, s, g, e) and (b, s, g, f), dtype of dout
        As in the forward pass.
    out, lse : ndarray of shape (b, t, h, f) and (b, h, t), dtype of dout
        What the forward pass returned.
    bias, mask, slopes : ndarray, optional
        As in the forward pass.
    causal, window, offset, scale, p, seed, stream : bool, int and float
        As in the forward pass.

    Returns
    -------
    dq, dk, dv : ndarray of the shape of q, k and v, dtype of dout
        Their gradients; those of a shared head are summed.

    Raises
    ------
    ValueError
        If g does not divide h, p is not in [0, 1], or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import attention
    >>> q, v = np.zeros((1, 2, 1, 1)), np.array([1.0, 3.0]).reshape(1, 2, 1, 1)
    >>> out, lse = attention.forward(q, q, v)
    >>> attention.backward(np.ones((1, 2, 1, 1)), q, q, v, out, lse)[2].ravel()
    array([1., 1.])
    """
    _check("backward", q, k, p)
    h, g = q.shape[2], k.shape[2]
    with np.errstate(invalid="ignore", over="ignore"):
        shares, ds = _flows(dout, q, k, v, out, lse, bias, mask, slopes, causal, window, offset,
                            scale, p, seed, stream)  # fmt: skip
        dq = scale * (ds @ _heads(k, h))
        dk = scale * (ds.swapaxes(2, 3) @ _heads(q, h))
        dv = shares.swapaxes(2, 3) @ _heads(dout, h)

    def merged(x: np.ndarray, heads: int) -> np.ndarray:
        b, _, n, d = x.shape
        x = x.reshape(b, heads, h // max(heads, 1), n, d).sum(2) if heads else x
        return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).astype(q.dtype)

    return merged(dq, h), merged(dk, g), merged(dv, g)


@op(
    f"dout: T[b,t,h,e], qkv: T[b,t,m,e], out: T[b,t,h,e], lse: A[b,h,t], {_OWN_BIAS}?,"
    f" {_OWN_OPTIONS} -> dqkv: T[b,t,m,e]",
    cuda="a GPU stacks what `backward` returns",
)
def joint_backward(
    dout: np.ndarray,
    qkv: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    bias: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    causal: bool = False,
    window: int = -1,
    offset: int = 0,
    scale: float = 1.0,
    p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
) -> np.ndarray:
    """`backward` of queries, keys and values of one projection, written side by side.

    Parameters
    ----------
    dout, out : ndarray of shape (b, t, h, e), float32 or float64
        Gradient of out, and what the forward pass returned.
    qkv : ndarray of shape (b, t, 3 * h, e), dtype of dout
        The heads of queries, then those of keys, then those of values.
    lse : ndarray of shape (b, h, t), dtype of dout
        What the forward pass returned.
    bias, mask, slopes : ndarray, optional
        As in the forward pass.
    causal, window, offset, scale, p, seed, stream : bool, int and float
        As in the forward pass.

    Returns
    -------
    dqkv : ndarray of shape (b, t, 3 * h, e), dtype of dout
        Their gradients.

    Raises
    ------
    ValueError
        If qkv has other than 3 h heads, p is not in [0, 1], or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import attention
    >>> qkv = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 3.0]).reshape(1, 2, 3, 1)
    >>> out, lse = attention.forward(qkv[:, :, :1], qkv[:, :, 1:2], qkv[:, :, 2:])
    >>> attention.joint_backward(np.ones((1, 2, 1, 1)), qkv, out, lse)[:, :, 2].ravel()
    array([1., 1.])
    """
    h = dout.shape[2]
    if qkv.shape[2] != 3 * h:
        raise ValueError(
            "attention.joint_backward: qkv must have three times the heads of dout, got "
            f"{qkv.shape[2]} and {h}"
        )
    q, k, v = qkv[:, :, :h], qkv[:, :, h : 2 * h], qkv[:, :, 2 * h :]
    _check("joint_backward", q, k, p)
    parts = backward.specification(dout, q, k, v, out, lse, bias, mask, slopes, causal, window,
                                   offset, scale, p, seed, stream)  # fmt: skip
    return np.concatenate(parts, axis=2)


@op(
    f"dout: T[b,t,h,f], {_INPUTS}, out: T[b,t,h,f], lse: A[b,h,t], {_BIAS}, {_OPTIONS}"
    " -> dbias: T[bb,bh,bt,bs]",
    half=True,
)
def bias_backward(
    dout: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    bias: np.ndarray,
    mask: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    causal: bool = False,
    window: int = -1,
    offset: int = 0,
    scale: float = 1.0,
    p: float = 0.0,
    seed: int = 0,
    stream: int = 0,
) -> np.ndarray:
    """Gradient of `forward` with respect to the bias, ``ds_ij`` of `backward`.

    Parameters
    ----------
    dout : ndarray of shape (b, t, h, f), float32 or float64
        Gradient of out.
    q, k, v : ndarray of shape (b, t, h, e), (b, s, g, e) and (b, s, g, f), dtype of dout
        As in the forward pass.
    out, lse : ndarray of shape (b, t, h, f) and (b, h, t), dtype of dout
        What the forward pass returned.
    bias, mask, slopes : ndarray, optional but for bias
        As in the forward pass.
    causal, window, offset, scale, p, seed, stream : bool, int and float
        As in the forward pass.

    Returns
    -------
    dbias : ndarray of the shape of bias, dtype of dout
        Summed over the axes along which the bias is repeated.

    Raises
    ------
    ValueError
        If g does not divide h, p is not in [0, 1], or shapes or dtypes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from kernelmill.ops import attention
    >>> q, v = np.zeros((1, 2, 1, 1)), np.array([1.0, 3.0]).reshape(1, 2, 1, 1)
    >>> bias = np.zeros((1, 1, 1, 2))
    >>> out, lse = attention.forward(q, q, v, bias)
    >>> attention.bias_backward(np.ones((1, 2, 1, 1)), q, q, v, out, lse, bias).ravel()
    array([-1.,  1.])
    """
    _check("bias_backward", q, k, p)
    with np.errstate(invalid="ignore", over="ignore"):
        ds = _flows(dout, q, k, v, out, lse, bias, mask, slopes, causal, window, offset, scale, p,
                    seed, stream)[1]  # fmt: skip
    repeated = tuple(i for i in range(4) if bias.shape[i] == 1)
    return ds.sum(repeated, keepdims=True).astype(q.dtype)
