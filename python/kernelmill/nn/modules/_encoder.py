"""An encoder layer as one node of the tape: its ops follow each other on arrays, both ways.

With a node for each of its 18 steps, the layers of a small model spent a twentieth of a training
step between the ops. Sums of residual connections go into what the branch wrote, and the gradient
of the activation into that of its result.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ...ops import attention, elementwise, norm
from ...ops.linear import ACTIVATIONS, backward, forward
from .. import _tape
from .. import functional as F
from .._backward import recomputed
from .._functions import FUNCTIONS
from .._tape import Node, Rule
from .._tensor import Tensor
from ..functional._attention import placed, settings
from ..functional._dense import _slope, dense, dense_forward
from ._attention import MultiheadAttention, joint_attention, values_of
from ._layers import LayerNorm, Linear
from ._module import untouched
from ._positions import alibi_slopes
from ._simple import LAYERS

# By the functions themselves: others may have the same names.
_FUSED = {
    id(getattr(place, name)): name
    for place in (F, SimpleNamespace(**FUNCTIONS), Tensor)
    for name in ("relu", "gelu", "silu", "tanh")
    if hasattr(place, name)
}
_PARTS: Any = (
    *((name, LayerNorm, False) for name in ("norm1", "norm2")),
    *((name, Linear, False) for name in ("linear1", "linear2")),
    *((name, LAYERS["Dropout"], True) for name in ("dropout", "dropout1", "dropout2")),
)

INPUTS = 13  # x, and weight and bias of two norms and four products in the order of the layer


def _normed(x: Any, eps: float, weight: Any, bias: Any) -> tuple[Any, list[Any]]:
    y, *kept = norm.group(x[:, :, None], weight, bias, 1, eps)
    return y[:, :, 0], [x, weight, *kept]


def _norm_gradients(g: Any, x: Any, weight: Any, mean: Any, inverse: Any) -> Any:
    made = norm.group_backward(g[:, :, None], x[:, :, None], mean, inverse, weight)
    return made[0][:, :, 0], *made[1:]


def _attend(x: Any, parameters: Any, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    weight, bias, last, last_bias = parameters
    qkv = dense_forward(x, weight, bias, "identity")[0].reshape(options["heads"])
    queries, keys, values = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    out, lse = attention.forward(queries, keys, values, None, **options["attention"])
    return dense_forward(out.reshape(x.shape), last, last_bias, "identity")[0], [x, qkv, out, lse]


def _attend_gradients(
    g: Any, parameters: Any, kept: list[Any], skip: Any, options: dict[str, Any]
) -> Any:
    x, qkv, out, lse = kept
    n, t, _, h, e = options["heads"]
    dout, *second = backward(g, out.reshape(x.shape), parameters[2], False, *skip[2:])
    dqkv = attention.joint_backward(dout.reshape(out.shape), qkv.reshape(n, t, 3 * h, e), out, lse,
                                    None, **options["attention"])  # fmt: skip
    dx, *first = backward(dqkv.reshape(n * t, 3 * h * e), x, parameters[0], False, *skip[:2])
    return dx, *first, *second


def _feed(x: Any, parameters: Any, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    weight, bias, last, last_bias = parameters
    units, (before,) = dense_forward(x, weight, bias, options["activation"])
    return dense_forward(units, last, last_bias, "identity")[0], [x, before, units]


def _feed_gradients(
    g: Any, parameters: Any, kept: list[Any], skip: Any, options: dict[str, Any]
) -> Any:
    x, before, units = kept
    dunits, *second = backward(g, units, parameters[2], False, *skip[2:])
    slope, names = _slope(options["activation"])[0]
    slope(*[dunits if n == "dout" else before for n in names], out=dunits)
    dx, *first = backward(dunits, x, parameters[0], False, *skip[:2])
    return dx, *first, *second


_BRANCHES = ((1, _attend, _attend_gradients), (7, _feed, _feed_gradients))


def _forward(x: Any, *parameters: Any, **options: Any) -> Any:
    given, kept = (x, *parameters), []
    rows, recorded = x.reshape(-1, x.shape[-1]), _tape.recording.get()
    for (at, branch, _), eps in zip(_BRANCHES, options["eps"], strict=True):
        scales, weights = given[at : at + 2], given[at + 2 : at + 6]
        if options["ahead"]:
            inside, normed = _normed(rows, eps, *scales)
            out, values = branch(inside, weights, options)
            rows = elementwise.add(rows, out, out=out)
        else:
            out, values = branch(rows, weights, options)
            rows, normed = _normed(elementwise.add(rows, out, out=out), eps, *scales)
        if recorded:
            kept += [normed, values]
        del normed, values
    return rows.reshape(x.shape), (kept,)


def _backward(g: Any, saved: Any, node: Node) -> Any:
    given, kept, options = saved[:INPUTS], saved[INPUTS], node.options
    skip = [p is None for p in node.parents]
    found: list[Any] = [None] * INPUTS
    rows = g.reshape(-1, g.shape[-1])
    for at, _, gradients in _BRANCHES[::-1]:
        normed, values = kept[at // 6 * 2 : at // 6 * 2 + 2]
        weights, unwanted = given[at + 2 : at + 6], skip[at + 2 : at + 6]
        if options["ahead"]:
            dx, *found[at + 2 : at + 6] = gradients(rows, weights, values, unwanted, options)
            dx, *found[at : at + 2] = _norm_gradients(dx, *normed)
        else:
            rows, *found[at : at + 2] = _norm_gradients(rows, *normed)
            dx, *found[at + 2 : at + 6] = gradients(rows, weights, values, unwanted, options)
        rows = elementwise.add(rows, dx, out=dx)
    found[0] = rows.reshape(g.shape)
    return tuple(None if skipped else d for skipped, d in zip(skip, found, strict=True))


def _composed(x: Any, *parameters: Any, **options: Any) -> Any:
    """The same in differentiable operations."""
    given, wide = (x, *parameters), x.shape[-1:]
    for (at, branch, _), eps in zip(_BRANCHES, options["eps"], strict=True):
        scale, shift, weight, bias, last, last_bias = given[at : at + 6]
        inside = F.layer_norm(x, wide, scale, shift, eps) if options["ahead"] else x
        if branch is _attend:
            qkv = F.linear(inside, weight, bias).reshape(options["heads"])
            inside = joint_attention(qkv, None, **options["attention"]).reshape(x.shape)
        else:
            inside = dense(inside, weight, bias, options["activation"])
        x = x + F.linear(inside, last, last_bias)
        if not options["ahead"]:
            x = F.layer_norm(x, wide, scale, shift, eps)
    return x


encoder_layer: Rule = Rule(
    "encoder_layer", _forward, _backward, dict.fromkeys(range(INPUTS), ()),
    twice=recomputed(_composed, INPUTS), extras=True,
)  # fmt: skip


def activation_of(layer: Any) -> str | None:
    """The activation of a layer in the table of elementwise functions, None if it is not there."""
    return _FUSED.get(id(layer.activation))


def unchanged(part: Any, kind: type) -> bool:
    """Whether a call of a part is the forward pass of its kind, which nothing watches."""
    return type(part) is kind and untouched(part)


def _plain(layer: Any, data: Any) -> list[Any] | None:
    """The parameters if no part is changed or watched or drops anything: ops alone may run then."""
    parts = layer._modules
    own: Any = parts.get("self_attn")
    if (
        not unchanged(own, MultiheadAttention)
        or not own.simple
        or (own.dropout and own.training)
        or not unchanged(own._modules.get("out_proj"), Linear)
    ):
        return None
    for name, kind, drops in _PARTS:
        part = parts.get(name)
        if type(part) is not kind or not untouched(part) or (drops and part.p and part.training):
            return None
    if (
        type(data) is not np.ndarray
        or data.ndim != 3
        or data.dtype.char not in "fd"
        or activation_of(layer) is None
        or _tape._anomalies
        or _tape.autocast.get() is not None
    ):
        return None
    try:
        parameters = _parameters(layer)
    except KeyError:  # attributes that are no parameters took their places
        return None
    d, f, kind = data.shape[-1], parts["linear1"].out_features, data.dtype
    shapes = [(d,), (3 * d, d), (d, d), (d,), (f, d), (d, f)]
    arrays = [p.data for p in parameters if p is not None]
    fit = [None if w is None else w.data.shape for w in parameters[::2]] == shapes
    if not fit or own.num_heads * own.head_dim != d or [a for a in arrays if a.dtype != kind]:
        return None
    return parameters


def _parameters(layer: Any) -> list[Any]:
    """Weights and biases, or None, in the order of the rule's inputs."""
    parts = layer._modules
    own = parts["self_attn"]._parameters
    found = []
    for part in ("norm1", None, "self_attn", "norm2", "linear1", "linear2"):
        if part is None:
            found += [own["in_proj_weight"], own["in_proj_bias"]]
        else:
            at = parts[part]
            kept = (at._modules["out_proj"] if part == "self_attn" else at)._parameters
            found += [kept["weight"], kept["bias"]]
    return found


def as_node(layer: Any, x: Tensor, mask: Any, padding: Any, causal: bool) -> Tensor | None:
    """A layer's output; None where it must run part by part."""
    parameters = _plain(layer, x.data)
    parts = layer._modules
    if parameters is None or parts["self_attn"].rotary is not None:
        return None
    own, norms = parts["self_attn"], (parts["norm1"], parts["norm2"])
    n, t, _ = x.shape
    h, e = own.num_heads, own.head_dim
    added, seen, causal = own._masks(n, t, t, padding, mask, causal, 0)
    if added is not None:
        return None
    slopes = alibi_slopes(h, x.dtype).data if own.alibi else None
    options = settings(e, slopes=slopes, causal=causal, window=own.window)
    return encoder_layer(
        x, *parameters, heads=(n, t, 3, h, e), activation=activation_of(layer),
        eps=(norms[0].eps, norms[1].eps), ahead=layer.norm_first,
        attention=placed(seen, options, x.data),
    )  # fmt: skip


def evaluated(
    layer: Any, given: Tensor, padding: Any, causal: bool, cache: Any, positions: Any
) -> Tensor | None:
    """A layer's output with a cache, where nothing is recorded; None as in `as_node`.

    A token of a small model takes less time in ops than in what surrounds them.
    """
    x = given.data
    parts: dict[str, Any] = layer._modules
    if _plain(layer, x) is None:
        return None
    own, first, second = parts["self_attn"], parts["linear1"], parts["linear2"]
    n, t, d = x.shape
    rows, ahead = x.reshape(n * t, d), layer.norm_first

    def normed(part: Any, values: Any) -> Any:
        return _normed(values, part.eps, *values_of(part))[0]

    before = normed(parts["norm1"], rows) if ahead else rows
    rows = rows + own.evaluated(before.reshape(n, t, d), padding, causal, cache, positions)
    if not ahead:
        rows = normed(parts["norm1"], rows)
    before = normed(parts["norm2"], rows) if ahead else rows
    units = forward(before, *values_of(first), ACTIVATIONS.index(activation_of(layer)))[0]
    rows = rows + forward(units, *values_of(second))[0]
    return Tensor((rows if ahead else normed(parts["norm2"], rows)).reshape(n, t, d))
