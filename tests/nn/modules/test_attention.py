"""Layers of attention: masks, caches, positions, and hard attention that learns."""

import copy
import pickle

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn.modules._encoder import _parameters, encoder_layer

F64 = {"dtype": np.float64}


def randn(*shape, seed=0):
    return nn.Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def jittered(module, seed=1):
    """Biases and norms that are not 0 and 1."""
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        parameter.data[...] += nn.Tensor(0.3 * rng.normal(size=parameter.shape)).data
    return module


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_query_that_may_see_nothing(need_weights):
    """Second sample padded in places 2 and 3; each place sees itself and the one before."""
    layer = jittered(nn.MultiheadAttention(1, 1, **F64))
    x = randn(4, 2, 1)
    padding = np.array([[False] * 4, [False, False, True, True]])
    i = np.arange(4)
    mask = ~((i[:, None] - i >= 0) & (i[:, None] - i <= 1))
    y, _ = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights, attn_mask=mask)
    np.testing.assert_allclose(y.data[3, 1], layer.out_proj.bias.data)
    y[:2].sum().backward()
    assert all(np.isfinite(p.grad.data).all() for p in (*layer.parameters(), x))
    assert not x.grad.data[2:].any()
    with nn.detect_anomaly():
        layer(x, x, x, padding, need_weights, mask)[0][:2].sum().backward()


@pytest.mark.parametrize("need_weights", [False, True])
def test_gradients_equal_differences_twice(need_weights):
    layer = jittered(nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True, **F64))
    padding = np.array([[False, True, False]])

    def function(x, weight, bias_k):
        twin = copy.copy(layer)
        twin._parameters = {**layer._parameters, "in_proj_weight": weight, "bias_k": bias_k}
        return twin(x, x, x, padding, need_weights, is_causal=True)[0]

    given = (randn(1, 3, 4), layer.in_proj_weight, layer.bias_k)
    assert nn.gradcheck(function, given)
    assert nn.gradgradcheck(function, given)


def test_weights_do_not_change_the_output():
    layer = jittered(nn.MultiheadAttention(8, 2, batch_first=True, window=2, alibi=True, **F64))
    x = randn(2, 6, 8)
    padding = np.arange(6) + np.zeros((2, 1)) > 3
    for more in ({}, {"is_causal": True}, {"key_padding_mask": padding}):
        a, weights = layer(x, x, x, **more)
        b, none = layer(x, x, x, need_weights=False, **more)
        assert none is None
        np.testing.assert_allclose(a.data, b.data, atol=1e-13)
        np.testing.assert_allclose(weights.data.sum(-1), 1)


def test_dropout_in_training_only():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True, **F64)
    x = randn(2, 6, 8)
    first, second = (layer(x, x, x, need_weights=False)[0].data for _ in range(2))
    assert not np.array_equal(first, second)
    layer.eval()
    first, second = (layer(x, x, x, need_weights=False)[0].data for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ["plain", "window", "alibi", "rotary", "interleaved", "gelu"])
@pytest.mark.parametrize("steps", [(1,) * 9, (4, 1, 3, 1), (9,), (7, 2)])
def test_decoding_with_a_cache_equals_recomputation(kind, steps):
    more = {
        "window": {"window": 3},
        "alibi": {"alibi": True},
        "rotary": {"rotary": nn.RotaryEmbedding(4)},
        "interleaved": {"rotary": nn.RotaryEmbedding(4, interleaved=True)},
        "gelu": {"activation": "gelu", "norm_first": True},
    }.get(kind, {})
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **F64, **more)
    model = jittered(nn.TransformerEncoder(layer, 2, nn.LayerNorm(8, **F64))).eval()
    x, cache, at = randn(3, 9, 8), nn.KVCache(), 0
    with nn.no_grad():
        whole = model(x, is_causal=True)
        for n in steps:
            assert cache.length == at
            part = model(x[:, at : at + n], is_causal=True, cache=cache)
            np.testing.assert_allclose(part.data, whole.data[:, at : at + n], atol=1e-12)
            at += n


def test_a_decoder_projects_its_memory_once():
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, **F64)
    model = jittered(nn.TransformerDecoder(layer, 2)).eval()
    x, memory, cache = randn(3, 5, 8), randn(3, 7, 8, seed=2), nn.KVCache()
    with nn.no_grad():
        whole = model(x, memory, tgt_is_causal=True)
        for i in range(5):
            part = model(x[:, i : i + 1], memory, tgt_is_causal=True, cache=cache)
            np.testing.assert_allclose(part.data[:, 0], whole.data[:, i], atol=1e-12)
        cache.select([2, 2, 0])
        again = model(x[[2, 2, 0], 4:], memory[[2, 2, 0]], tgt_is_causal=True, cache=cache)
    np.testing.assert_allclose(again.data[0], again.data[1])
    assert cache.length == 6


def test_a_cache_refuses_gradients_and_other_batches():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x, cache = nn.randn(2, 1, 4), nn.KVCache()
    with pytest.raises(RuntimeError, match=r"KVCache: gradients must be off"):
        layer(x, x, x, cache=cache)
    with nn.no_grad():
        layer(x, x, x, cache=cache)
        with pytest.raises(RuntimeError, match="must be of the batch before, 2 x 2 x 2"):
            layer(x[:1], x[:1], x[:1], cache=cache)


def test_unbatched_and_empty_sequences():
    layer = jittered(nn.MultiheadAttention(4, 2, **F64))
    x = randn(3, 4)
    y, weights = layer(x, x, x)
    z, _ = layer(x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1))
    np.testing.assert_allclose(y.data, z.data[:, 0])
    assert weights.shape == (3, 3)
    for need in (True, False):
        empty = layer(randn(2, 1, 4), randn(0, 1, 4), randn(0, 1, 4), need_weights=need)[0]
        np.testing.assert_allclose(empty.data, np.broadcast_to(layer.out_proj.bias.data, (2, 1, 4)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"query": (3, 2, 5)}, "4, 4 and 4 features"),
        ({"value": (4, 2, 4)}, "lengths of key and value must be equal"),
        ({"key_padding_mask": np.zeros((3, 2), bool)}, "key_padding_mask must have shape"),
        ({"attn_mask": np.zeros((2, 3), bool)}, "attn_mask must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    layer = nn.MultiheadAttention(4, 2, **F64)
    given = {"query": (3, 2, 4), "key": (3, 2, 4), "value": (3, 2, 4), **change}
    given = {n: randn(*v) if isinstance(v, tuple) else v for n, v in given.items()}
    with pytest.raises(RuntimeError, match=words):
        layer(**given)
    with pytest.raises(ValueError, match="embed_dim must be a positive multiple"):
        nn.MultiheadAttention(5, 2)


# --- additive, multiplicative, hard ---------------------------------------------------------------

KINDS = {
    "additive": lambda: nn.AdditiveAttention(3, 4, 5, bias=True, **F64),
    "general": lambda: nn.MultiplicativeAttention(3, 4, **F64),
    "dot": lambda: nn.MultiplicativeAttention(4, method="dot", scale=True, **F64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_papers(kind):
    layer = jittered(KINDS[kind]())
    q, k = randn(2, 5, 4 if kind == "dot" else 3), randn(2, 6, 4, seed=2)
    mask = np.array([[True] * 6, [True, False, True, True, False, False]])
    context, weights = layer(q, k, mask=mask)
    state = {name: p.data for name, p in layer.named_parameters()}
    if kind == "additive":
        a = q.data @ state["query_proj.weight"].T + state["query_proj.bias"]
        b = k.data @ state["key_proj.weight"].T
        scores = (np.tanh(a[:, :, None] + b[:, None]) @ state["score.weight"].T)[..., 0]
    elif kind == "general":
        scores = q.data @ (k.data @ state["key_proj.weight"].T).swapaxes(1, 2)
    else:
        scores = q.data @ k.data.swapaxes(1, 2) / 2
    shares = np.where(nn.Tensor(mask).data[:, None], np.exp(scores), 0)
    shares /= shares.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights.data, shares, atol=1e-13)
    np.testing.assert_allclose(context.data, shares @ k.data, atol=1e-13)
    one = layer(q[:, 0], k, mask=mask)
    np.testing.assert_allclose(one[0].data, context.data[:, 0])
    assert one[1].shape == (2, 6)
    nothing, none = layer(q, k, mask=np.zeros((2, 6), bool))
    assert not nothing.data.any()
    assert not none.data.any()


@pytest.mark.parametrize("kind", KINDS)
def test_soft_attention_differentiates_twice(kind):
    layer = jittered(KINDS[kind]())
    given = (randn(1, 2, 4 if kind == "dot" else 3), randn(1, 3, 4, seed=2))
    assert nn.gradcheck(lambda q, k: layer(q, k)[0], given)
    assert nn.gradgradcheck(lambda q, k: layer(q, k)[0], given)


def test_the_surrogate_of_hard_attention_has_the_gradient_of_the_expected_loss():
    """The mean over many draws, within five standard errors."""
    nn.manual_seed(0)
    n = 20000
    layer = nn.HardAttention(3, method="dot", **F64)
    q = nn.Tensor(np.array([0.4, -0.3, 0.2]), requires_grad=True)
    keys, losses = np.eye(3), np.array([1.0, 0.0, 3.0])
    p = np.exp(q.data) / np.exp(q.data).sum()
    exact = p * (losses - p @ losses)  # of sum_j p_j loss_j
    context, _ = layer(q.reshape(1, 3).expand(n, 3), np.broadcast_to(keys, (n, 3, 3)))
    (g,) = nn.grad(layer.surrogate(nn.Tensor(context.data @ losses)), q)
    np.testing.assert_allclose(g.data, exact, atol=5 * 3 / np.sqrt(n))


def test_hard_attention_learns_where_to_look():
    nn.manual_seed(0)
    rng = np.random.default_rng(0)
    layer = nn.HardAttention(6)
    optimizer = nn.optim.Adam(layer.parameters(), lr=0.05)
    keys = nn.Tensor(np.tile(np.eye(6, dtype=np.float32), (64, 1, 1)))
    for _ in range(300):
        wanted = (2 * rng.integers(0, 3, 64) + 1) % 6
        query = np.eye(6, dtype=np.float32)[wanted - 1]  # look one place further
        context, _ = layer(query, keys)
        losses = ((context - np.eye(6, dtype=np.float32)[wanted]) ** 2).sum(1)
        optimizer.zero_grad()
        layer.surrogate(losses).backward()
        optimizer.step()
    context, _ = layer.eval()(np.eye(6, dtype=np.float32)[[0, 2, 4]], keys[:3])
    assert context.argmax(1).tolist() == [1, 3, 5]
    nothing, _ = layer(np.eye(6, dtype=np.float32)[:1], keys[:1], mask=np.zeros((1, 6), bool))
    assert not nothing.data.any()
    with pytest.raises(RuntimeError, match="surrogate must follow a call"):
        nn.HardAttention(6).surrogate(nn.ones(2))
    with pytest.raises(ValueError, match="method must be 'general', or 'dot'"):
        nn.MultiplicativeAttention(3, 4, method="dot")


# --- positions ------------------------------------------------------------------------------------


def test_sinusoids_are_those_of_the_paper():
    y = nn.SinusoidalPositions(6)(nn.zeros(2, 5, 6, dtype=np.float64), offset=3).data
    for x in range(5):
        for i in range(3):
            angle = (x + 3) / 10000 ** (2 * i / 6)
            want = [[np.sin(angle), np.cos(angle)]] * 2
            np.testing.assert_allclose(y[:, x, 2 * i : 2 * i + 2], want)
    zeros = nn.zeros(2, 2, 6, dtype=np.float64)
    given = nn.SinusoidalPositions(6)(zeros, positions=[[3, 4], [5, 6]])
    np.testing.assert_array_equal(given.data.reshape(4, 6), y[0, :4])


def test_learnt_positions_are_rows_of_a_table():
    layer = nn.LearnedPositions(8, 4, **F64)
    x = randn(2, 3, 4)
    np.testing.assert_allclose(layer(x, offset=2).data, x.data + layer.weight.data[2:5])
    chosen = layer(x, positions=np.array([[0, 1, 7], [2, 2, 2]]))
    np.testing.assert_allclose(chosen.data[1], x.data[1] + layer.weight.data[2])
    chosen.sum().backward()
    assert layer.weight.grad.data[2, 0] == 3
    with pytest.raises(ValueError, match=r"positions must lie in \[0, 8\), got 6 to 8"):
        layer(x, offset=6)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotations_keep_norms_and_depend_on_distances(interleaved):
    rotary = nn.RotaryEmbedding(6, interleaved=interleaved)
    q, k = randn(2, 3, 7, 8), randn(2, 3, 7, 8, seed=2)
    turned = rotary(q)
    np.testing.assert_allclose((turned.data**2).sum(-1), (q.data**2).sum(-1))
    np.testing.assert_array_equal(turned.data[..., 6:], q.data[..., 6:])
    np.testing.assert_array_equal(turned.data[:, :, 0], q.data[:, :, 0])
    a = rotary(q).data @ rotary(k).data.swapaxes(-1, -2)
    b = rotary(q, offset=11).data @ rotary(k, offset=11).data.swapaxes(-1, -2)
    np.testing.assert_allclose(a, b, atol=1e-12)
    places = np.stack([np.arange(7), np.arange(11, 18)])
    np.testing.assert_allclose(rotary(q, positions=places).data[1], rotary(q, offset=11).data[1])
    pair = [0, 1] if interleaved else [0, 3]
    angle = 4.0
    first, second = q.data[0, 0, 4, pair]
    np.testing.assert_allclose(
        turned.data[0, 0, 4, pair],
        [first * np.cos(angle) - second * np.sin(angle),
         second * np.cos(angle) + first * np.sin(angle)],
    )  # fmt: skip
    small = randn(1, 1, 3, 6)
    assert nn.gradcheck(lambda x: rotary(x, offset=2), (small,))
    assert nn.gradgradcheck(lambda x: rotary(x, offset=2) ** 2, (small,))
    with pytest.raises(ValueError, match="dim must be an even number"):
        nn.RotaryEmbedding(3)
    with pytest.raises(RuntimeError, match="must have at least 6 features"):
        rotary(randn(2, 4))


def test_slopes_of_heads():
    np.testing.assert_allclose(nn.alibi_slopes(8).data, 2.0 ** -np.arange(1, 9))
    twelve = nn.alibi_slopes(12, np.float64).data
    np.testing.assert_allclose(twelve[:8], 2.0 ** -np.arange(1, 9))
    np.testing.assert_allclose(twelve[8:], 2.0 ** -(np.arange(1, 9, 2) / 2))
    assert nn.alibi_slopes(0).shape == (0,)


# --- stacks ---------------------------------------------------------------------------------------


def test_a_causal_mask_is_recognised():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **F64)
    model = jittered(nn.TransformerEncoder(layer, 2)).eval()
    x = randn(2, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    hint = model(x, is_causal=True).data
    for given in (mask, np.triu(np.ones((5, 5), bool), 1)):
        np.testing.assert_allclose(model(x, given).data, hint, atol=1e-13)
        np.testing.assert_allclose(model(x, given, is_causal=False).data, hint, atol=1e-13)
    assert not np.allclose(model(x).data, hint)


def test_fused_units_are_the_layers_one_by_one():
    layer = jittered(nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", **F64)).eval()
    x, seen = randn(5, 2, 8), []
    fused = layer(x)
    layer.linear1.register_forward_hook(lambda module, args, result: seen.append(result.shape))
    np.testing.assert_allclose(layer(x).data, fused.data, atol=1e-13)
    assert seen == [(5, 2, 16)]
    with pytest.raises(RuntimeError, match="activation must be 'relu', 'gelu'"):
        nn.TransformerEncoderLayer(8, 2, activation="sine")


ONE_NODE = {"bias": True, "norm_first": True, "activation": "gelu", "batch_first": True}


def run_and_back(layer, x, **masks):
    layer.zero_grad()
    y = layer(x, **masks)
    x.grad = None
    (y * y).sum().backward(retain_graph=True)
    (y * y).sum().backward()
    parameters = [p for p in layer.parameters() if p.requires_grad]
    return y, [g.data for g in (y, x.grad, *(p.grad for p in parameters))]


@pytest.mark.parametrize("more", [
    {}, {"norm_first": False}, {"bias": False, "activation": "relu"}, {"window": 2},
    {"alibi": True, "norm_first": False, "bias": False}, {"dtype": np.float64},
], ids=str)  # fmt: skip
def test_a_layer_of_one_node_has_the_bits_of_its_parts(more):
    layer = jittered(nn.TransformerEncoderLayer(8, 2, 12, 0.0, **ONE_NODE | more))
    layer.linear1.weight.requires_grad = layer.norm2.weight.requires_grad = False
    x = nn.Tensor(randn(3, 5, 8).data.astype(layer.linear1.weight.dtype), requires_grad=True)
    masks = {"src_key_padding_mask": np.arange(5) > np.array([[5], [2], [-1]]), "is_causal": True}
    y, one = run_and_back(layer, x, **masks)
    layer.dropout2.register_forward_hook(lambda *given: None)
    z, parts = run_and_back(layer, x, **masks)
    assert y._node.rule is encoder_layer
    assert z._node.rule is not encoder_layer
    for a, b in zip(one, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert layer.linear1.weight.grad is None
    assert layer.norm2.weight.grad is None


@pytest.mark.parametrize("ahead", [True, False])
def test_a_layer_of_one_node_has_gradients_equal_to_differences_twice(ahead):
    more = ONE_NODE | {"norm_first": ahead}
    layer = jittered(nn.TransformerEncoderLayer(2, 1, 2, 0.0, **more, **F64))
    x = randn(1, 2, 2)
    options = layer(x, is_causal=True)._node.options

    given = (x, *_parameters(layer))
    some = (0, 4, 7, 9)  # the input, a bias, the scale of a norm and a weight; first all, once
    assert nn.gradcheck(lambda *given: encoder_layer(*given, **options), given)

    def function(*changed):
        everything = list(given)
        for i, value in zip(some, changed, strict=True):
            everything[i] = value
        return encoder_layer(*everything, **options)

    assert nn.gradgradcheck(function, [given[i] for i in some])


def test_a_layer_that_drops_or_is_watched_runs_part_by_part():
    x = nn.Tensor(randn(2, 3, 8).data.astype(np.float32))
    layer = nn.TransformerEncoderLayer(8, 2, 12, **ONE_NODE)

    def rule():
        return layer(x)._node.rule.name

    assert rule() == "add"
    assert layer.eval()(x)._node.rule.name == "encoder_layer"
    layer.self_attn.train()
    assert rule() == "add"
    layer.eval()
    handle = layer.self_attn.out_proj.register_forward_hook(lambda module, given, y: 2 * y)
    assert rule() == "add"
    handle.remove()
    assert rule() == "encoder_layer"
    with nn.autocast("cpu"), nn.detect_anomaly():
        assert rule() == "add"
    layer.linear2 = type("Other", (nn.Linear,), {})(12, 8)
    assert rule() == "add"
    layer.linear2 = nn.Linear(12, 8)
    layer.norm1 = nn.LayerNorm((3, 8))
    assert rule() == "add"


def own_gelu():
    def gelu(x):
        return 3 * x

    return gelu


class OwnUnits(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def own_forward(name):
    def change(layer):
        part = getattr(layer, name)
        forward = part.forward
        part.forward = lambda *given, **more: (
            (2 * forward(*given, **more)[0], None) if name == "self_attn" else 2 * forward(*given)
        )

    return change


def own_weight(part, name):
    def change(layer):
        place = getattr(layer, part)
        value = 2 * getattr(place, name).detach()
        delattr(place, name)
        setattr(place, name, value)

    return change


def no_norm(layer):
    del layer.norm1
    layer.norm1 = lambda x: x


@pytest.mark.parametrize("change", [
    lambda layer: setattr(layer, "activation", own_gelu()),
    lambda layer: setattr(layer, "linear1", jittered(OwnUnits(8, 12, **F64))),
    *map(own_forward, ("self_attn", "norm1", "norm2", "linear1", "linear2", "dropout")),
    own_weight("linear1", "bias"), own_weight("linear2", "weight"), own_weight("norm2", "bias"),
    own_weight("self_attn", "in_proj_weight"), no_norm,
    lambda layer: setattr(layer, "norm1", nn.LayerNorm(8, elementwise_affine=False, **F64)),
])  # fmt: skip
def test_a_layer_runs_the_parts_that_it_was_given(change):
    layer = jittered(nn.TransformerEncoderLayer(8, 2, 12, 0.0, **ONE_NODE, **F64)).eval()
    x = randn(2, 3, 8)
    plain = layer(x)
    change(layer)
    middle = x + layer.self_attn(*[layer.norm1(x)] * 3)[0]
    units = layer.activation(layer.linear1(layer.norm2(middle)))
    want = middle + layer.linear2(layer.dropout(units))
    np.testing.assert_allclose(layer(x).data, want.data, rtol=1e-12, atol=1e-13)
    with nn.no_grad():
        cached = layer(x, cache=nn.KVCache())
    np.testing.assert_allclose(cached.data, want.data, rtol=1e-12, atol=1e-13)
    assert np.abs(plain.data - want.data).max() > 1e-3


@pytest.mark.parametrize("function", [
    nn.functional.gelu, nn.functional.silu, nn.relu, nn.tanh, nn.Tensor.tanh,
])  # fmt: skip
def test_a_layer_knows_activations_by_the_functions_themselves(function):
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, **ONE_NODE | {"activation": function})
    assert layer(randn(2, 3, 8).float())._node.rule is encoder_layer


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("shape", [(0, 5, 8), (3, 0, 8), (0, 0, 8)])
def test_a_layer_of_no_sequences_or_no_places(shape, ahead):
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, **ONE_NODE | {"norm_first": ahead})
    x = nn.zeros(*shape).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.shape == shape
    assert not any(p.grad.data.any() for p in layer.parameters())


def test_layers_of_a_stack_are_copies_and_survive_pickling():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **F64)
    model = nn.TransformerEncoder(layer, 3).eval()
    assert len({id(p) for p in model.parameters()}) == 3 * len(list(layer.parameters()))
    x = randn(2, 4, 8)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(x).data, model(x).data)


def test_sequences_and_features_of_a_transformer_are_checked():
    model = nn.Transformer(8, 2, 1, 1, 16)
    with pytest.raises(RuntimeError, match="src and tgt must be of one batch"):
        model(nn.zeros(5, 2, 8), nn.zeros(5, 3, 8))
    with pytest.raises(RuntimeError, match="must have 8 features"):
        model(nn.zeros(5, 2, 7), nn.zeros(5, 2, 7))
