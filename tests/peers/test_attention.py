"""Attention and transformers beside torch: outputs, weights, all gradients, every option; float64.

1e-10 of the largest entry, as both sides are exact but for rounding.
"""

import itertools
import warnings

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")

DTYPES = {"ours": {"dtype": np.float64}, "theirs": {"dtype": torch.float64}}


def rng_of(name):
    return np.random.default_rng(sum(map(ord, name)))


def close(ours, theirs, what):
    a, b = np.asarray(ours.data), theirs.detach().numpy()
    assert a.shape == b.shape, what
    size = max(np.abs(b).max(initial=0), 1.0)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * size, err_msg=what)


def theirs(value):
    return None if value is None else torch.tensor(value)


def pair(ours, other, seed=0):
    """Two modules with the same weights, all of them random."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in other.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape)) * 0.5))
    assert list(ours.state_dict()) == list(other.state_dict())
    ours.load_state_dict(other.state_dict())
    return ours, other


def compared(ours, other, arrays, name, **options):
    """Output, gradients of the inputs and of all parameters."""
    a = [nn.Tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    y = ours(*a, **options)
    z = other(*b, **{n: theirs(v) if isinstance(v, np.ndarray) else v for n, v in options.items()})
    w = rng_of(name).normal(size=y.shape)
    close(y, z, name)
    (y * w).sum().backward()
    (z * torch.tensor(w)).sum().backward()
    for i, (p, q) in enumerate(zip(a, b, strict=True)):
        same_gradient(p, q, f"{name}: gradient of input {i}")
    if isinstance(ours, nn.Module):
        same_gradients(ours, other, name)


def same_gradient(p, q, what):
    """None and zeros are the same: values have no part in weights."""
    if q.grad is None:
        assert p.grad is None or not p.grad.data.any(), what
    else:
        close(nn.Tensor(np.zeros(p.shape)) if p.grad is None else p.grad, q.grad, what)


def same_gradients(ours, other, name):
    pairs = zip(ours.named_parameters(), other.named_parameters(), strict=True)
    for (n, p), (_, q) in pairs:
        same_gradient(p, q, f"{name}: gradient of {n}")


# --- the function ---------------------------------------------------------------------------------

SHAPES = {
    "four axes": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)),
    "three axes": ((3, 5, 4), (3, 7, 4), (3, 7, 6)),
    "two axes": ((5, 4), (7, 4), (7, 6)),
    "five axes": ((2, 2, 3, 5, 4), (2, 2, 3, 7, 4), (2, 2, 3, 7, 6)),
    "repeated": ((2, 3, 5, 4), (1, 1, 7, 4), (1, 3, 7, 6)),
    "grouped": ((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 6)),
    "one query": ((1, 2, 1, 4), (1, 2, 200, 4), (1, 2, 200, 4)),
    "panels": ((1, 2, 150, 16), (1, 2, 300, 16), (1, 2, 300, 16)),
}
MASKS = {
    "none": lambda rng, t, s, lead: None,
    "bool": lambda rng, t, s, lead: (rng.random((t, s)) < 0.6) | (np.arange(s) == 0),
    "float": lambda rng, t, s, lead: rng.normal(size=(t, s)),
    "column": lambda rng, t, s, lead: rng.normal(size=(t, 1)),
    "whole": lambda rng, t, s, lead: rng.normal(size=(*lead, t, s)),
    "hidden": lambda rng, t, s, lead: np.where(rng.random((t, s)) < 0.3, -np.inf, 0.0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("mask", "causal"), [*((m, False) for m in MASKS), ("none", True)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_scaled_dot_product_attention(shape, mask, causal, scale):
    name = f"{shape} {mask} {causal} {scale}"
    rng = rng_of(name)
    arrays = [rng.normal(size=s) for s in SHAPES[shape]]
    t, s = arrays[0].shape[-2], arrays[1].shape[-2]
    given = MASKS[mask](rng, t, s, arrays[0].shape[:-2])
    more = {"is_causal": causal, "scale": scale, "enable_gqa": shape == "grouped"}
    if given is not None and given.dtype == bool:
        more["attn_mask"] = given
        given = None
    arrays += [] if given is None else [given]
    compared(F.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention,
             arrays, name, **more)  # fmt: skip


# --- layers ---------------------------------------------------------------------------------------

LAYERS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "bias_kv": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True, "batch_first": True},
    "both": {"add_bias_kv": True, "add_zero_attn": True},
    "kdim": {"kdim": 3, "vdim": 5},
    "vdim": {"vdim": 5, "add_bias_kv": True},
}
HIDING = ("none", "bool", "float", "three axes", "padding", "float padding", "two", "causal")


def hiding(kind, rng, n, t, s, heads):
    attn = padding = None
    if kind in ("bool", "two"):
        attn = (rng.random((t, s)) < 0.4) & (np.arange(s) > 0)
    elif kind == "float":
        attn = rng.normal(size=(t, s))
    elif kind == "three axes":
        attn = rng.normal(size=(n * heads, t, s))
    elif kind == "causal":
        attn = np.triu(np.ones((t, s), bool), 1)
    if kind in ("padding", "two"):
        padding = (rng.random((n, s)) < 0.4) & (np.arange(s) > 0)
    elif kind == "float padding":
        padding = rng.normal(size=(n, s))
    return {"attn_mask": attn, "key_padding_mask": padding}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("hide", HIDING)
@pytest.mark.parametrize(("need", "average"), [(True, True), (True, False), (False, True)])
def test_multihead_attention(layer, hide, need, average):
    more = LAYERS[layer]
    ours, other = pair(nn.MultiheadAttention(8, 2, **more, **DTYPES["ours"]),
                       torch.nn.MultiheadAttention(8, 2, **more, **DTYPES["theirs"]))  # fmt: skip
    for itself, n in itertools.product((True, False), (1, 3)):
        if itself and {"kdim", "vdim"} & {*more}:
            continue
        name = f"{layer} {hide} {need} {average} {itself} {n}"
        rng = rng_of(name)
        t, s = 5, 5 if itself else 6
        sizes = [(n, t, 8)] if itself else [
            (n, t, 8), (n, s, more.get("kdim", 8)), (n, s, more.get("vdim", 8))
        ]  # fmt: skip
        arrays = [rng.normal(size=size) for size in sizes]
        if not more.get("batch_first"):
            arrays = [x.swapaxes(0, 1).copy() for x in arrays]
        masks = hiding(hide, rng, n, t, s, 2)
        # The hint that a mask is causal, where the added keys do not change its shape.
        hint = hide == "causal" and not {"add_bias_kv", "add_zero_attn"} & {*more}
        options = {**masks, "need_weights": need, "average_attn_weights": average,
                   "is_causal": hint}  # fmt: skip
        for i in range(1 + need):
            ours.zero_grad()
            other.zero_grad()

            def part(module, *given, i=i, itself=itself, **kwargs):
                return module(*(given * 3 if itself else given), **kwargs)[i]

            a = lambda *x, part=part, **k: part(ours, *x, **k)  # noqa: E731
            b = lambda *x, part=part, **k: part(other, *x, **k)  # noqa: E731
            compared(a, b, arrays, f"{name} {i}", **options)
            same_gradients(ours, other, f"{name} {i}")


STYLES = {
    "plain": {},
    "norm first": {"norm_first": True, "batch_first": True},
    "gelu": {"activation": "gelu"},
    "no bias": {"bias": False, "batch_first": True},
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoders", "decoders", "transformer"])
def test_transformers(kind, style):
    more = {**STYLES[style], "dropout": 0.0}

    def build(library, dtype):
        encoder = library.TransformerEncoderLayer(8, 2, 16, **more, **dtype)
        decoder = library.TransformerDecoderLayer(8, 2, 16, **more, **dtype)
        if kind == "encoders":
            return library.TransformerEncoder(encoder, 2, library.LayerNorm(8, **dtype))
        if kind == "decoders":
            return library.TransformerDecoder(decoder, 2, library.LayerNorm(8, **dtype))
        if kind == "transformer":
            return library.Transformer(8, 2, 2, 2, 16, **more, **dtype)
        return encoder if kind == "encoder" else decoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about nested tensors
        ours, other = pair(build(nn, DTYPES["ours"]), build(torch.nn, DTYPES["theirs"]))
    for n, masked in itertools.product((1, 3), (False, True)):
        name = f"{kind} {style} {n} {masked}"
        rng = rng_of(name)
        first, second = rng.normal(size=(n, 5, 8)), rng.normal(size=(n, 7, 8))
        padding = (np.arange(7) > 4) & (np.arange(n)[:, None] == 0)
        causal = np.triu(np.full((5, 5), -np.inf), 1)
        if kind == "transformer":
            arrays, masks = [second, first], {"tgt_mask": causal, "src_key_padding_mask": padding,
                                              "memory_key_padding_mask": padding}  # fmt: skip
        elif kind.startswith("decoder"):
            arrays, masks = [first, second], {"tgt_mask": causal,
                                              "memory_key_padding_mask": padding}  # fmt: skip
        else:
            arrays = [second]
            masks = {"src_key_padding_mask": padding}
        if not more.get("batch_first"):
            arrays = [x.swapaxes(0, 1).copy() for x in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bool and a float mask together
            ours.zero_grad()
            other.zero_grad()
            compared(ours, other, arrays, name, **(masks if masked else {}))


def test_initial_weights_have_the_distributions_of_torch():
    nn.manual_seed(0)
    torch.manual_seed(0)
    kinds = (lambda lib: lib.MultiheadAttention(64, 4, add_bias_kv=True),
             lambda lib: lib.MultiheadAttention(64, 4, kdim=32, vdim=16),
             lambda lib: lib.Transformer(64, 4, 1, 1, 128))  # fmt: skip
    for make in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about nested tensors
            ours, other = make(nn), make(torch.nn)
        for (name, p), (_, q) in zip(ours.named_parameters(), other.named_parameters(),
                                     strict=True):  # fmt: skip
            a, b = float(p.data.std()), float(q.detach().std(correction=0))
            assert abs(a - b) <= 0.3 * b, name


def test_masks_of_subsequent_places_are_equal():
    ours = nn.Transformer.generate_square_subsequent_mask(5)
    np.testing.assert_array_equal(
        ours.data, torch.nn.Transformer.generate_square_subsequent_mask(5).numpy()
    )


def test_rotations_and_filters_equal_those_written_in_torch():
    x = torch.tensor(np.random.default_rng(0).normal(size=(2, 3, 7, 6)))
    wave = torch.arange(0, 6, 2, dtype=x.dtype) / 6
    angle = torch.arange(7.0, dtype=x.dtype)[:, None] / 10000**wave
    turned = torch.view_as_real(torch.view_as_complex(x.reshape(2, 3, 7, 3, 2)) *
                                torch.polar(torch.ones_like(angle), angle)).flatten(-2)  # fmt: skip
    close(nn.RotaryEmbedding(6, interleaved=True)(x.numpy()), turned, "rotary")
