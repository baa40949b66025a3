"""Scaled dot-product attention: both lanes, what is hidden, and the memory it takes."""

import subprocess
import sys

import numpy as np
import pytest

from kernelmill import nn
from kernelmill.nn import functional as F
from kernelmill.nn.functional._attention import _composed, attend, settings

sdpa = F.scaled_dot_product_attention


def tensors(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [nn.Tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes]


OPTIONS = {
    "plain": {},
    "causal": {"causal": True},
    "window": {"window": 1, "causal": True},
    "slopes": {"slopes": np.array([0.5, 0.25])},
    "offset": {"offset": 2, "causal": True},
    "dropout": {"p": 0.4},
    "mask": {"mask": np.array([[[[True, False, True, True], [False] * 4, [True] * 4]]])},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("heads", [1, 2])
def test_lanes_agree_with_differences_twice(name, heads):
    chosen = dict(OPTIONS[name])
    mask = chosen.pop("mask", None)
    options = settings(3, **chosen, generator=nn.Generator(3))

    def function(q, k, v, bias):
        return attend(q, k, v, bias, mask, **options)

    given = tensors((2, 2, 3, 3), (2, heads, 4, 3), (2, heads, 4, 2), (2, 1, 3, 4))
    assert nn.gradcheck(function, given)
    assert nn.gradgradcheck(function, given)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_op_is_its_composition(name):
    chosen = dict(OPTIONS[name])
    mask = chosen.pop("mask", None)
    options = settings(3, **chosen, generator=nn.Generator(3))
    given = tensors((2, 2, 3, 3), (2, 2, 4, 3), (2, 2, 4, 2), (1, 2, 1, 4))
    fused = attend(*given, mask, **options)
    composed = _composed(*given, mask=mask, **options)
    np.testing.assert_allclose(fused.data, composed.data, atol=1e-14)
    weight = np.random.default_rng(1).normal(size=fused.shape)
    for a, b in zip(nn.grad(fused, given, weight), nn.grad(composed, given, weight), strict=True):
        np.testing.assert_allclose(a.data, b.data, atol=1e-13)


def test_one_query_and_many_keys_are_aligned_at_the_first():
    v = nn.Tensor(np.arange(8.0).reshape(1, 8, 1))
    k = nn.ones(1, 8, 1, dtype=np.float64)
    q = nn.ones(1, 1, 1, dtype=np.float64)
    assert sdpa(q, k, v, is_causal=True).item() == 0
    assert sdpa(q, k, v, is_causal=True, offset=7).item() == 3.5
    assert sdpa(q, k, v, is_causal=True, offset=7, window=1).item() == 6.5


def test_a_boolean_mask_keeps_where_it_is_true():
    q, v = nn.ones(1, 1, 1), nn.Tensor([[[1.0], [5.0]]])
    assert sdpa(q, nn.ones(1, 2, 1), v, nn.Tensor([[False, True]])).item() == 5


def test_hidden_rows_have_zeros_and_finite_gradients():
    q, k, v = tensors((2, 3, 4), (2, 5, 4), (2, 5, 4))
    bias = nn.Tensor(np.full((3, 5), -np.inf), requires_grad=True)
    bias.data[0] = 0.0
    for mask in (bias, np.arange(3)[:, None] + np.zeros((1, 5)) == 0):
        y = sdpa(q, k, v, mask)
        assert not y.data[:, 1:].any()
        for create_graph in (False, True):
            gradients = nn.grad(y.sum(), (q, k, v), create_graph=create_graph, retain_graph=True)
            assert all(np.isfinite(g.data).all() for g in gradients)
            assert not gradients[0].data[:, 1:].any()
    assert np.isfinite(nn.grad(sdpa(q, k, v, bias).sum(), bias)[0].data).all()


@pytest.mark.parametrize("shape", [(0, 4), (1, 0), (0, 0)])
def test_lengths_of_zero(shape):
    t, s = shape
    q, k, v = tensors((2, 2, t, 3), (2, 2, s, 3), (2, 2, s, 5))
    y = sdpa(q, k, v)
    assert y.shape == (2, 2, t, 5)
    assert not y.data.any()
    y.sum().backward()
    assert all(x.grad.shape == x.shape and not x.grad.data.any() for x in (q, k, v))


def test_a_window_and_slopes_are_masks_that_are_not_formed():
    q, k, v = tensors((2, 3, 150, 4), (2, 3, 150, 4), (2, 3, 150, 4))
    distance = np.abs(np.arange(150)[:, None] - np.arange(150))
    slopes = nn.alibi_slopes(3, np.float64)
    bias = -slopes.data[:, None, None] * distance
    for ours, mask in (({"window": 9}, distance <= 9), ({"slopes": slopes}, bias)):
        a, b = sdpa(q, k, v, **ours), sdpa(q, k, v, mask)
        np.testing.assert_allclose(a.data, b.data, atol=1e-13)
        for x, y in zip(nn.grad(a.sum(), (q, k, v)), nn.grad(b.sum(), (q, k, v)), strict=True):
            np.testing.assert_allclose(x.data, y.data, atol=1e-12)


def test_dropout_is_drawn_again_and_keeps_the_mean():
    nn.manual_seed(0)
    q, k = tensors((4, 8, 64, 4), (4, 8, 64, 4))
    v = nn.Tensor(np.ones((4, 8, 64, 1)), requires_grad=True)
    y = sdpa(q, k, v, dropout_p=0.3)
    assert y.data.std() > 0.01
    assert abs(y.data.mean() - 1) < 0.01
    # The output is linear in v, so it equals the gradient applied to v.
    (g,) = nn.grad(y.sum(), v)
    np.testing.assert_allclose((g.data * v.data).sum(), y.data.sum())
    again = sdpa(q, k, v, dropout_p=0.3)
    assert not np.array_equal(y.data, again.data)


def test_memory_grows_linearly():
    """What a process of its own takes both ways: a matrix of scores would have 1 GiB."""
    script = """
import resource, numpy as np
from kernelmill import nn
def step(t):
    q, k, v = (nn.Tensor(np.ones((1, 1, t, 8), np.float32), True) for _ in range(3))
    y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.1)
    y.sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
first = step(64)
print(*(step(t) - first for t in (8192, 16384)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    half, whole = map(int, run.stdout.split())  # KiB
    assert whole < 48 * 1024
    assert whole < 3 * half + 4096


def test_shared_heads_are_repeated_ones():
    q, k, v = tensors((2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 3))
    a = sdpa(q, k, v, enable_gqa=True)
    b = sdpa(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1))
    np.testing.assert_allclose(a.data, b.data, atol=1e-14)
    for x, y in zip(nn.grad(a.sum(), (k, v)), nn.grad(b.sum(), (k, v)), strict=True):
        np.testing.assert_allclose(x.data, y.data, atol=1e-13)


def test_views_are_read_where_they_lie():
    rng = np.random.default_rng(0)
    joint = nn.Tensor(rng.normal(size=(2, 40, 3, 2, 4)), requires_grad=True)
    q, k, v = (joint[:, :, i].transpose(1, 2) for i in range(3))
    y = sdpa(q, k, v, is_causal=True)
    parts = [nn.Tensor(np.ascontiguousarray(x.data), requires_grad=True) for x in (q, k, v)]
    z = sdpa(*parts, is_causal=True)
    np.testing.assert_array_equal(y.data, z.data)
    y.sum().backward()
    z.sum().backward()
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(joint.grad.data[:, :, i].swapaxes(1, 2), part.grad.data)


@pytest.mark.parametrize(
    ("shapes", "more", "words"),
    [
        (((2, 3), (4, 2), (4, 2)), {}, r"query, key and value must be \(\.\.\., L, E\)"),
        (((2, 3, 4), (3, 3, 4), (3, 3, 4)), {}, "must broadcast"),
        (((1, 3, 2, 4), (1, 2, 2, 4), (1, 2, 2, 4)), {"enable_gqa": True}, "multiple of those"),
        (((2, 3), (4, 3), (4, 3)), {"attn_mask": np.zeros((3, 4))}, r"broadcast to \(2, 4\)"),
        (((2, 3), (4, 3), (4, 3)), {"attn_mask": np.zeros((2, 4), int)}, "must be bool or float"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, more, words):
    with pytest.raises(RuntimeError, match=words):
        sdpa(*tensors(*shapes), **more)
