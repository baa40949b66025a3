"""Attention against its specification, at the edges, and in the memory it takes."""

import itertools

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import attention

# b, t, s, h, g, e, f: around vectors, panels, blocks of 128 keys, and pieces of single queries.
SIZES = ((1, 1, 1, 1, 1, 1, 1), (2, 1, 5, 2, 1, 3, 2), (1, 3, 300, 2, 2, 8, 5),
         (2, 5, 7, 4, 2, 4, 4),
         (1, 17, 33, 2, 1, 16, 16), (1, 40, 129, 1, 1, 31, 33), (2, 70, 64, 2, 2, 8, 40),
         (1, 130, 260, 3, 3, 5, 7), (1, 9, 3, 1, 1, 270, 2), (1, 0, 3, 1, 1, 2, 2),
         (1, 33, 0, 2, 2, 2, 3), (1, 2, 0, 1, 1, 2, 2), (0, 3, 3, 1, 1, 2, 2),
         (1, 6, 4, 2, 1, 0, 2), (1, 6, 4, 2, 1, 2, 0), (2, 3, 4, 0, 0, 2, 2),
         (4, 3, 3, 1, 1, 3, 3), (5, 6, 9, 2, 1, 4, 3), (1, 140, 3, 2, 1, 4, 4),
         (1, 70, 40, 1, 1, 270, 260))  # fmt: skip
OPTIONS = ("", "causal", "mask", "bias", "window", "causal window slopes", "mask bias dropout",
           "dropout", "slopes offset causal", "row bias",
           "mask causal bias slopes window")  # fmt: skip


def arguments(rng, size, dtype, options):
    b, t, s, h, g, e, f = size
    q, k, v = (rng.normal(size=shape).astype(dtype)
               for shape in ((b, t, h, e), (b, s, g, e), (b, s, g, f)))  # fmt: skip
    bias = mask = slopes = None
    if "row bias" in options:
        bias = rng.normal(size=(1, h, 1, s)).astype(dtype)
    elif "bias" in options:
        bias = rng.normal(size=(b, 1, t, s)).astype(dtype)
        bias[rng.random(bias.shape) < 0.1] = -np.inf
    if "mask" in options:
        mask = rng.random((b, h, t, s)) < 0.7
        mask[:, :, t // 2 : t // 2 + 1] = False  # a query that sees nothing
    if "slopes" in options:
        slopes = (2.0 ** -np.arange(1, h + 1)).astype(dtype)
    window = 0 if "window" not in options else max(1, s // 3)
    dropout = (0.3, 5, 2**63) if "dropout" in options else (0.0, 0, 0)
    return (q, k, v), (bias, mask, slopes, "causal" in options,
                       window if "window" in options else -1, 2 if "offset" in options else 0,
                       0.5, *dropout)  # fmt: skip


def bounds(size, arrays, options, dout=None):
    """First order: a score is off by a few eps of its terms, an exponential by that much of itself.

    `terms` bounds the absolute parts of scores, of their differences to the log-sum-exp; outputs
    are sums of at most s (or h t) terms that are each off by `relative`.
    """
    _, t, s, h, g, e, f = size
    q, k, v = (np.abs(a.astype(np.float64)) for a in arrays)
    bias, slopes = options[0], options[2]
    u = eps(arrays[0]) / 2
    terms = 0.5 * e * q.max(initial=0) * k.max(initial=0)
    if bias is not None:
        terms += np.abs(bias[np.isfinite(bias)]).max(initial=0)
    if slopes is not None:
        terms += float(slopes.max(initial=0)) * (t + s + 2)
    score = u * (e + 4) * terms
    relative = 2 * score + u * (s + terms + 20)
    drop = 1 / (1 - options[7])
    top = v.max(initial=0) * drop
    if dout is None:
        return (2 * relative * top, 2 * relative + score + u * (terms + np.log(s + 1)))
    d = np.abs(dout.astype(np.float64)).max(initial=0)
    dp = f * d * top
    ds = (2 * relative + u * (f + 4)) * 2 * dp + 2 * relative * dp
    per_head = h // max(g, 1)
    rows = per_head * t  # sums over queries; shares of one query add up to at most drop
    return (
        0.5 * k.max(initial=0) * (ds + u * (s + 4) * dp) * 2,
        0.5 * q.max(initial=0) * rows * (ds + u * (rows + 4) * dp) * 2,
        d * drop * rows * (relative + u * (rows + 4)) * 2,
        ds + u * dp,
    )


def generated():
    for dtype in DTYPES:
        rng = np.random.default_rng(3)
        for size in SIZES:
            for options in OPTIONS:
                name = f"{size} {options} {dtype.__name__}"
                yield name, size, *arguments(rng, size, dtype, options), False
        for size, options in (((2, 300, 700, 2, 1, 24, 40), "causal mask bias dropout"),
                              ((1, 150, 1300, 3, 3, 8, 8), "bias dropout"),
                              ((1, 3, 9000, 4, 2, 16, 16), "dropout slopes")):  # fmt: skip
            yield f"big {size}", size, *arguments(rng, size, dtype, options), True


@cases("attention.forward")
def forward_cases():
    for name, size, arrays, options, big in generated():
        yield Case(name, (*arrays, *options), bounds=bounds(size, arrays, options), big=big)


def backward(with_bias):
    rng = np.random.default_rng(4)
    for name, size, arrays, options, big in generated():
        if with_bias and options[0] is None:
            continue
        b, t, _, h, _, _, f = size
        dout = rng.normal(size=(b, t, h, f)).astype(arrays[0].dtype)
        out, lse = attention.forward.specification(*arrays, *options)
        limits = bounds(size, arrays, options, dout)
        if with_bias:
            limits = (limits[3] * max(1, b * t * h),)
        yield Case(name, (dout, *arrays, out, lse, *options), bounds=limits[:3], big=big)


@cases("attention.backward")
def backward_cases():
    yield from backward(False)


@cases("attention.joint_backward")
def joint_backward_cases():
    rng = np.random.default_rng(6)
    sizes = (((1, 1, 1, 1, 1, 1, 1), ""), ((4, 3, 3, 1, 1, 3, 3), "causal"),
             ((0, 2, 2, 1, 1, 2, 2), ""), ((2, 70, 70, 2, 2, 8, 8), "dropout mask"),
             ((1, 40, 40, 3, 3, 33, 33), "causal bias window slopes"),
             ((1, 600, 600, 2, 2, 4, 4), "causal"))  # fmt: skip
    for (size, options), dtype in itertools.product(sizes, DTYPES):
        arrays, given = arguments(rng, size, dtype, options)
        dout = rng.normal(size=arrays[0].shape).astype(dtype)
        out, lse = attention.forward.specification(*arrays, *given)
        limits = bounds(size, arrays, given, dout)[:3]
        limit = np.repeat(np.array(limits), size[3])[:, None]
        yield Case(
            f"{size} {options} {dtype.__name__}",
            (dout, np.concatenate(arrays, 2), out, lse, *given),
            bounds=(limit,),
            big=size[1] == 600,
        )


def test_a_joint_projection_must_have_three_times_the_heads():
    x = np.ones((1, 2, 2, 1))
    for function in (attention.joint_backward, attention.joint_backward.specification):
        with pytest.raises(ValueError, match="three times the heads of dout, got 4 and 2"):
            function(x, np.ones((1, 2, 4, 1)), x, np.ones((1, 2, 2)))


@cases("attention.bias_backward")
def bias_cases():
    yield from backward(True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("attention")


def test_a_query_that_sees_nothing_has_zeros_and_no_gradient():
    rng = np.random.default_rng(0)
    for t in (2, 40):  # single queries, and panels
        q = rng.normal(size=(1, t, 1, 4))
        dout = rng.normal(size=(1, t, 1, 4))
        for hide in ({"mask": np.zeros((1, 1, t, t), bool)}, {"offset": -t, "causal": True},
                     {"bias": np.full((1, 1, t, t), -np.inf)}):  # fmt: skip
            out, lse = attention.forward(q, q, q, **hide)
            assert not out.any()
            assert (lse == -np.inf).all()
            for gradient in attention.backward(dout, q, q, q, out, lse, **hide):
                assert not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_spreads_to_the_queries_that_see_it(dtype):
    payload = np.array([np.nan], dtype)
    payload.view(np.uint8)[0] = 1  # the lowest bits, which an exponential may shift
    for t, nan in itertools.product((3, 40), (np.nan, payload[0])):
        q = np.ones((1, t, 1, 2), dtype)
        k = q.copy()
        k[0, 2] = nan
        out, lse = attention.forward(q, k, np.ones((1, t, 1, 2), dtype), causal=True)
        assert np.isfinite(out[0, :2]).all()
        assert np.isnan(out[0, 2:]).all()
        assert np.isnan(lse[0, 0, 2:]).all()


def test_large_scores_do_not_overflow():
    q = np.full((1, 40, 1, 4), 1e4, np.float32)
    out, lse = attention.forward(q, q, np.ones((1, 40, 1, 3), np.float32))
    np.testing.assert_allclose(out, 1, rtol=1e-6)
    np.testing.assert_allclose(lse, 4e8, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [attention.forward, attention.forward.specification])
def test_weights_are_exact_to_their_last_places(op, dtype):
    x = -np.concatenate([np.linspace(0, 87, 20001), np.linspace(88, 1e4, 1001)]).astype(dtype)
    k = v = np.array([0, 1], dtype).reshape(1, 2, 1, 1)
    out, lse = (a.ravel() for a in op(x.reshape(1, -1, 1, 1), k, v))
    p = np.exp(x.astype(np.float64))
    # Without fused multiply-add, x log2 e is rounded to half a unit besides log2 e itself.
    tolerance = (3 - (1 / 2 + 1 / 8) * x) * np.finfo(dtype).eps
    near = x >= -87
    assert (np.abs(out - p / (1 + p)) <= tolerance * p)[near].all()
    assert (np.abs(lse - np.log1p(p)) <= 2 * np.finfo(dtype).eps).all()
    assert (out[~near] <= 2 * p[~near]).all()


@pytest.mark.parametrize("op", [attention.forward, attention.forward.specification])
def test_heads_and_probability_are_checked(op):
    q, k = np.ones((1, 2, 3, 4)), np.ones((1, 2, 2, 4))
    with pytest.raises(ValueError, match=r"heads of q must be a multiple .* got 3 and 2"):
        op(q, k, k)
    with pytest.raises(ValueError, match=r"attention\.forward: p must be in \[0, 1\], got 1.5"):
        op(q, q, q, p=1.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_block_of_keys_that_only_the_later_queries_of_a_panel_see(dtype):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, n, 1, 5)).astype(dtype) for n in (132, 150, 150))
    # Half panels of 2, 4, 8 and 16 queries, whose first half ends with the 128 keys of a block.
    for offset in (2, 4, 8, 16):
        options = {"causal": True, "offset": offset, "p": 0.2, "seed": 3}
        got = attention.forward(q, k, v, **options)
        for mine, want in zip(
            got, attention.forward.specification(q, k, v, **options), strict=True
        ):
            np.testing.assert_allclose(mine, want, rtol=0, atol=50 * np.finfo(dtype).eps)


def test_every_probability_may_be_dropped():
    q = np.ones((1, 40, 1, 4))
    out, _ = attention.forward(q, q, q, p=1.0)
    assert not out.any()
