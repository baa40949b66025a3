"""Convolutions against their specification, torch, and cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import convolution, linear

# Images, channels and outputs of a group, groups, size, kernel, stride, padding, dilation.
LAYERS = (
    (2, 3, 4, 1, (9, 11), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 1, 1, 1, (1,), (1,), (1,), (0,), (1,)),
    (3, 2, 5, 1, (37,), (5,), (1,), (2,), (1,)),
    (2, 3, 2, 2, (41,), (3,), (3,), (1,), (2,)),
    (1, 1, 3, 1, (2100,), (7,), (1,), (3,), (1,)),
    (2, 16, 17, 1, (14, 14), (1, 1), (1, 1), (0, 0), (1, 1)),
    (2, 4, 15, 1, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 3, 5, 1, (23, 20), (7, 7), (2, 2), (3, 3), (1, 1)),
    (1, 5, 3, 2, (10, 13), (2, 3), (3, 2), (0, 2), (2, 1)),
    (2, 1, 1, 6, (9, 70), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 1, 2, 3, (8, 9), (3, 5), (2, 2), (1, 2), (1, 1)),
    (2, 2, 3, 1, (5, 6, 7), (2, 3, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2)),
    (1, 40, 3, 1, (6, 33), (3, 3), (1, 1), (0, 0), (1, 1)),
    (1, 2, 3, 1, (8, 5), (1, 1), (3, 4), (0, 0), (1, 1)),
    (0, 2, 3, 1, (8, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 9, 20, 1, (5, 16), (1, 1), (1, 1), (0, 0), (1, 1)),
    (3, 5, 4, 2, (6, 7), (1, 1), (1, 1), (0, 0), (1, 1)),
)
BIG = (
    (3, 20, 30, 1, (28, 33), (3, 3), (1, 1), (1, 1), (1, 2)),
    (2, 1, 1, 40, (30, 30), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 70, 90, 1, (9, 9), (3, 3), (2, 2), (1, 1), (1, 1)),
    # Weight gradients tap by tap: strided and dilated, and read where they are.
    (6, 9, 18, 1, (40, 37), (3, 2), (2, 1), (1, 1), (1, 2)),
    (5, 17, 33, 1, (32, 33), (2, 3), (1, 1), (0, 0), (1, 1)),
)
# Large enough for tiles of bfloat16, where the processor has them: strides, dilations, borders that
# leave gaps between rows, one to three axes, one image.
WIDE = (
    (8, 20, 35, 1, (15, 27), (3, 3), (2, 2), (1, 1), (1, 1)),
    (3, 40, 50, 1, (20, 23), (3, 2), (1, 1), (1, 0), (2, 1)),
    (4, 33, 48, 1, (350,), (5,), (1,), (2,), (1,)),
    (1, 17, 34, 1, (9, 10, 13), (2, 3, 3), (1, 1, 1), (1, 1, 0), (1, 1, 1)),
    (1, 130, 70, 1, (13, 12), (3, 4), (1, 1), (1, 2), (1, 1)),
)
# Computed by tiles in float32.
TILED = (
    (3, 20, 30, 1, (28, 33), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 70, 33, 1, (19, 70), (5, 5), (1, 1), (2, 1), (1, 1)),
    (9, 300, 40, 1, (7, 7), (3, 3), (1, 1), (0, 2), (1, 1)),
    (2, 16, 18, 2, (31, 90), (3, 3), (1, 1), (1, 0), (1, 1)),
    (4, 33, 40, 2, (31, 29), (3, 3), (1, 1), (1, 0), (1, 1)),
    (1, 64, 40, 1, (14, 15), (3, 3), (1, 1), (1, 1), (1, 1)),
)


def sizes(layer):
    _, _, _, _, size, kernel, stride, padding, dilation = layer
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]


def tensors(layer, dtype, integers, seed=1):
    images, channels, outputs, groups, size, kernel, *_ = layer
    rng = np.random.default_rng(seed)

    def draw(*shape):
        values = rng.integers(-4, 5, shape) if integers else rng.normal(size=shape)
        return values.astype(dtype)

    return (
        draw(images, channels * groups, *size),
        draw(outputs * groups, channels, *kernel),
        draw(images, outputs * groups, *sizes(layer)),
        draw(outputs * groups),
        draw(channels * groups),
    )


def case(name, op, args, layer, big=False):
    """k roundings of a sum of |a b|, one more for the bias and some for an activation."""
    if "integers" in name:
        return Case(name, args, big=big)
    wide = [np.abs(a).astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
    if op is convolution.weight_gradient:
        total = op.specification(*wide)
        terms = args[1].size / max(1, args[1].shape[1])
    else:
        total = op.specification(*wide[: 8 if op is convolution.input_gradient else 7])
        terms = args[1].size
    if layer in TILED and args[0].dtype == np.float32:
        return Case(name, args, bounds=(tiled_bound(op, wide, layer[3]),), big=big)
    return Case(name, args, bounds=((terms + 8) * 4 * eps(args[0]) * total,), big=big)


def tiled_bound(op, wide, groups):
    """What the docstring of the family states, with whole planes for tiles."""
    if op is convolution.weight_gradient:
        m = 7 - wide[2][0]
        tiles = math.prod(-(-n // m) for n in wide[1].shape[2:])
        x, dout = (a.max((2, 3)).reshape(len(a), groups, -1) for a in wide[:2])
        total = tiles * np.einsum("ngc,ngo->goc", x, dout).reshape(-1, x.shape[2])
        k = 850 if wide[2][0] == 3 else 400
        return (2.0**-23 * (tiles * len(x) + 30) * k * total)[..., None, None]
    inputs, weight = wide[0].max((2, 3)), wide[1].max((2, 3))
    inputs = inputs.reshape(len(inputs), groups, -1)
    subscripts = "ngo,goc->ngc" if op is convolution.input_gradient else "ngc,goc->ngo"
    total = np.einsum(subscripts, inputs, weight.reshape(groups, -1, weight.shape[1]))
    bound = 2.0**-23 * (inputs.shape[2] + 30) * (600 if wide[1].shape[2] == 3 else 1200) * total
    return bound.reshape(len(inputs), -1, 1, 1)


def generate(op, arguments):
    for dtype in DTYPES:
        for layer in LAYERS:
            for kind in ("integers", "normal"):
                made = arguments(layer, tensors(layer, dtype, kind == "integers"))
                yield case(f"{layer} {kind} {dtype.__name__}", op, made, layer)
        for layer in (*BIG, *WIDE, *TILED):
            made = arguments(layer, tensors(layer, dtype, integers=False))
            yield case(f"big {layer} {dtype.__name__}", op, made, layer, big=True)


@cases("convolution.forward")
def forward():
    def arguments(layer, t):
        return (t[0], t[1], None, *layer[6:], layer[3])

    yield from generate(convolution.forward, arguments)
    for dtype in DTYPES:
        for layer in (LAYERS[0], LAYERS[9], LAYERS[-1]):
            for name in linear.ACTIVATIONS:
                x, w, _, bias, _ = tensors(layer, dtype, integers=False)
                args = (x, w, bias, *layer[6:], layer[3], linear.ACTIVATIONS.index(name), 0.5)
                yield case(f"{name} {dtype.__name__}", convolution.forward, args, layer)


@cases("convolution.input_gradient")
def input_gradient():
    def arguments(layer, t):
        return (t[2], t[1], None, layer[4], *layer[6:], layer[3])

    yield from generate(convolution.input_gradient, arguments)
    for dtype in DTYPES:
        layer = LAYERS[7]
        _, w, dout, _, bias = tensors(layer, dtype, integers=False)
        args = (dout, w, bias, layer[4], *layer[6:], layer[3], 1)
        yield case(f"transposed {dtype.__name__}", convolution.input_gradient, args, layer)


@cases("convolution.weight_gradient")
def weight_gradient():
    def arguments(layer, t):
        return (t[0], t[2], layer[5], *layer[6:], layer[3])

    yield from generate(convolution.weight_gradient, arguments)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("convolution")


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer[0]], ids=str)
def test_torch_agrees(layer):
    torch = pytest.importorskip("torch")
    x, w, dout, bias, _ = tensors(layer, np.float64, integers=False)
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    run = getattr(torch.nn.functional, f"conv{len(layer[4])}d")
    y = run(tx, tw, torch.tensor(bias), *layer[6:], layer[3])
    y.backward(torch.tensor(dout))
    more = (*layer[6:], layer[3])
    got = convolution.forward(x, w, bias, *more)
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-10, atol=1e-10)
    got = convolution.input_gradient(dout, w, None, layer[4], *more)
    np.testing.assert_allclose(got, tx.grad.numpy(), rtol=1e-10, atol=1e-10)
    got = convolution.weight_gradient(x, dout, layer[5], *more)
    np.testing.assert_allclose(got, tw.grad.numpy(), rtol=1e-10, atol=1e-10)


def both(op):
    return [op.implementation("cpu"), op.specification]


@pytest.mark.parametrize("i", [0, 1])
def test_strided_dilated_padded_by_hand(i):
    x, w = np.array([[[7.0, 3]], [[3, 2]]]), np.array([[[3.0, 6]], [[4, 2]]])
    y = both(convolution.forward)[i](x, w, None, (2,), (1,), (2,))
    assert y.tolist() == [[[18], [6]], [[12], [4]]]
    one = np.ones_like(y)
    dx = both(convolution.input_gradient)[i](one, w, None, (2,), (2,), (1,), (2,))
    dw = both(convolution.weight_gradient)[i](x, one, (2,), (2,), (1,), (2,))
    assert dx.tolist() == [[[0, 8]], [[0, 8]]]
    assert dw.tolist() == [[[0, 5]], [[0, 5]]]


@pytest.mark.parametrize("i", [0, 1])
def test_transposed_with_kernel_1_and_stride_2(i):
    x, w = np.array([[[[-2.0, -0.5]]]]), np.array([[[[2.0]]]])
    more = ((1, 2), (0, 0), (1, 1))
    y = both(convolution.input_gradient)[i](x, w, None, (1, 3), *more)
    assert y.tolist() == [[[[-4, 0, -1]]]]
    dy = np.array([[[[1.5, 0, 0.7]]]])
    np.testing.assert_allclose(
        both(convolution.forward)[i](dy, w, None, *more), [[[[3.0, 1.4]]]], rtol=1e-14
    )
    # Places added at the end: with dilation 2 a tap reaches them.
    got = both(convolution.input_gradient)[i](
        np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 2)), None, (1, 6), (1, 2), (0, 0), (1, 2)
    )
    assert got.tolist() == [[[[1, 0, 2, 0, 1, 0]]]]


def test_nan_reaches_its_windows_only():
    x, w = np.zeros((1, 1, 9, 40)), np.zeros((3, 1, 3, 3))
    x[0, 0, 4, 17] = np.nan
    y = convolution.forward(x, w, None, (1, 1), (1, 1), (1, 1))
    want = np.zeros((9, 40), bool)
    want[3:6, 16:19] = True
    for o in range(3):
        np.testing.assert_array_equal(np.isnan(y[0, o]), want)


@pytest.mark.parametrize("kernel", [3, 5])
def test_tiles_cost_little_accuracy(kernel):
    """Plain sums in float32 err by 4e-7 of the spread of y, those of all places by 2e-6."""
    layer = (8, 64, 32, 1, (28, 28), (kernel, kernel), (1, 1), (1, 1), (1, 1))
    x, w, dout, *_ = tensors(layer, np.float32, integers=False)
    more = (*layer[6:], 1)
    wide = [a.astype(float) for a in (x, w, dout)]
    for limit, op, *args in (
        (1.2e-6, convolution.forward, 0, 1, (None, *more)),
        (1.2e-6, convolution.input_gradient, 2, 1, (None, layer[4], *more)),
        (2e-6, convolution.weight_gradient, 0, 2, (layer[5], *more)),
    ):
        got = op(*[(x, w, dout)[i] for i in args[:2]], *args[2])
        want = op(*[wide[i] for i in args[:2]], *args[2])
        assert np.sqrt(np.mean((got - want) ** 2)) < limit * want.std()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_tiles_do_not_spread_what_is_not_finite(value):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 16, 40, 40)).astype(np.float32)
    w = rng.normal(size=(24, 16, 3, 3)).astype(np.float32)
    calm = convolution.forward(x, w, None, (1, 1), (1, 1), (1, 1))
    x[1, 3, 17, 22] = value
    y = convolution.forward(x, w, None, (1, 1), (1, 1), (1, 1))
    hit = np.zeros(y.shape, bool)
    hit[1, :, 16:19, 21:24] = True
    np.testing.assert_allclose(y[~hit], calm[~hit], rtol=0, atol=1e-4)
    want = value * w[:, 3, ::-1, ::-1].astype(float)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(y[1, :, 16:19, 21:24], want.astype(np.float32), rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("operand", [0, 1])
def test_tiles_of_weight_gradients_do_not_spread_what_is_not_finite(operand, value):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 24, 40, 40)).astype(np.float32)
    dout = rng.normal(size=(2, 32, 40, 40)).astype(np.float32)
    more = ((3, 3), (1, 1), (1, 1), (1, 1))
    calm = convolution.weight_gradient(x, dout, *more)
    (x, dout)[operand][1, 3, 0, 22] = value
    with np.errstate(all="ignore"):
        want = convolution.weight_gradient.specification(x, dout, *more)
        got = convolution.weight_gradient(x, dout, *more)
    hit = np.zeros(got.shape, bool)
    hit[(slice(None), 3) if operand == 0 else 3] = True
    np.testing.assert_allclose(got[~hit], calm[~hit], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


@pytest.mark.parametrize("i", [0, 1])
def test_wrong_calls_are_refused(i):
    forward, back = both(convolution.forward)[i], both(convolution.input_gradient)[i]
    weights = both(convolution.weight_gradient)[i]
    x, w = np.zeros((2, 4, 9)), np.zeros((6, 2, 3))
    one = ((1,), (0,), (1,))
    for call, message in [
        (lambda: forward(x, w, None, *one), "forward: x must have 2 channels as weight and groups"),
        (lambda: forward(x, w, None, *one, 4), r"weight must have a multiple of 4 \(groups\)"),
        (lambda: forward(x, w, None, *one, 0), "groups must be at least 1, got 0"),
        (lambda: forward(x.astype(int), w, None, *one, 2), "x must be float32 or float64, got int"),
        (lambda: forward(x, w.astype("f"), None, *one, 2), "weight must be float64 like the other"),
        (lambda: forward(x[0], w, None, *one, 2), "x must have 3 to 5 axes, got shape"),
        (lambda: forward(x, w[..., None], None, *one, 2), "weight must have 3 axes, got shape"),
        (lambda: forward(x, w, None, (0,), (0,), (1,), 2), "stride must be at least 1, got 0"),
        (lambda: forward(x, w, None, (1, 1), (0,), (1,), 2), "stride must have 1 values, got 2"),
        (lambda: forward(x, w, None, (1,), (0,), (5,), 2), "kernels must fit the padded input"),
        (lambda: forward(x, w, np.zeros(5), *one, 2), r"bias must have shape \(6,\), got \(5,\)"),
        (lambda: forward(x, w, None, *one, 2, 12), r"activation must be in \[0, 12\), got 12"),
        (lambda: back(np.zeros((2, 6, 7)), w, None, (8,), *one, 2), "size must be one whose"),
        (lambda: back(np.zeros((2, 5, 7)), w, None, (9,), *one, 2), "dout must have 6 channels"),
        (lambda: back(np.zeros((2, 6, 7)), w, None, (9, 1), *one, 2), "size must have 1 values"),
        (lambda: weights(x, np.zeros((2, 6, 6)), (3,), *one, 2), "dout must be a gradient of the"),
        (lambda: weights(x, np.zeros((2, 6, 7)), (3, 3), *one, 2), "kernel must have 1 values"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38, 1e-30, 1e-36])
def test_values_that_parts_of_bfloat16_cannot_hold(value):
    """What is not finite, sums that overflow and tiny inputs come out as they do elsewhere."""
    layer = WIDE[1]
    x, w, dout, *_ = tensors(layer, np.float32, integers=False)
    more = (*layer[6:], layer[3])
    if value < 1:
        x, dout = x * np.float32(value), dout * np.float32(value)
    else:
        x[1, 3, 4, 5] = dout[1, 7, 3, 2] = value
    calls = (
        (convolution.forward, (x, w, None, *more)),
        (convolution.input_gradient, (dout, w, None, layer[4], *more)),
        (convolution.weight_gradient, (x, tensors(layer, np.float32, False)[2], layer[5], *more)),
    )
    for op, args in calls:
        with np.errstate(all="ignore"):
            want, ours = op.specification(*args), op(*args)
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(want))
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(want))
        finite = np.isfinite(want)
        size = abs(want[finite]).max()
        np.testing.assert_allclose(ours[finite], want[finite], rtol=0, atol=2e-5 * size)


def test_one_image_or_channel_of_tiny_values_keeps_its_digits():
    layer = WIDE[1]
    x, w, dout, *_ = tensors(layer, np.float32, integers=False)
    more = (*layer[6:], layer[3])
    x[1] *= np.float32(1e-36)
    y, want = (f(x, w, None, *more) for f in (
        convolution.forward, convolution.forward.specification
    ))  # fmt: skip
    np.testing.assert_allclose(y[1], want[1], rtol=0, atol=2e-5 * abs(want[1]).max())
    dout[:, 1] *= np.float32(1e-36)
    x = tensors(layer, np.float32, False)[0]
    args = (x, dout, layer[5], *more)
    dw, want = convolution.weight_gradient(*args), convolution.weight_gradient.specification(*args)
    np.testing.assert_allclose(dw[1], want[1], rtol=0, atol=2e-5 * abs(want[1]).max())


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_what_no_output_reads_does_not_matter(odd):
    """Borders that the stride leaves over, and biases, are not what sums are made of."""
    import kernelmill

    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 32, 66, 65)).astype(np.float32)
    w = rng.normal(size=(40, 32, 3, 3)).astype(np.float32)
    bias = np.zeros(40, np.float32)
    clean = convolution.forward(x, w, bias, (2, 2), (0, 0), (1, 1), 1)
    x[:, :, 65, 5] = odd
    bias[20] = odd
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            results.append(convolution.forward(x, w, bias, (2, 2), (0, 0), (1, 1), 1))
    others = np.arange(40) != 20
    for y in results:
        np.testing.assert_array_equal(y[:, others], results[0][:, others])
        np.testing.assert_allclose(y[:, others], clean[:, others], rtol=1e-4, atol=1e-4)
