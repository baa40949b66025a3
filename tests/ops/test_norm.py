"""Normalisation against its specification, far from zero, at the edges, and beside torch."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import norm

U = 2.0**-52  # of the float64 arithmetic inside

# n, c, k, groups
GROUPED = ((5, 8, 1, 1), (3, 8, 1, 2), (4, 33, 1, 1), (3, 6, 5, 3), (2, 6, 17, 6), (2, 4, 1, 4),
           (1, 1, 1, 1), (0, 4, 2, 2), (3, 0, 2, 1), (3, 4, 0, 2), (2, 257, 1, 1))  # fmt: skip
GROUPED_BIG = ((900, 300, 1, 1), (20, 32, 150, 4))
BATCHED = ((7, 5, 1), (4, 3, 6), (33, 32, 1), (9, 70, 1), (2, 3, 65), (1, 2, 4), (5, 1, 1),
           (0, 3, 1), (0, 3, 2), (4, 0, 3), (4, 2, 0))  # fmt: skip
BATCHED_BIG = ((700, 300, 1), (30, 40, 120))


def values(rng, shape, dtype, offset=0.0):
    c = shape[1]
    x = (offset + rng.normal(size=shape)).astype(dtype)
    return x, (rng.normal(size=c)).astype(dtype), rng.normal(size=c).astype(dtype)


def spread(v, x, groups):
    """Statistics, of shape (n, groups) or (c,), beside x."""
    n, c = x.shape[:2]
    if groups:
        v = np.repeat(v.reshape(n, groups), c // groups, 1) if c else np.zeros((n, c))
        return v[:, :, None]
    return v[:, None]


def z_bound(x, mean, inverse, count):
    """Error of the normalised values: of the mean and the variance in float64."""
    x = x.astype(np.float64)
    far = 8 * U * np.abs(inverse) * (np.abs(x) + np.abs(mean))
    return far + U * (count + 8) * np.abs((x - mean) * inverse)


def y_bound(x, weight, bias, mean, inverse, count):
    w = 1.0 if weight is None else np.abs(weight.astype(np.float64))[:, None]
    b = 0.0 if bias is None else np.abs(bias.astype(np.float64))[:, None]
    z = np.abs((x.astype(np.float64) - mean) * inverse)
    return w * z_bound(x, mean, inverse, count) + 2 * eps(x) * (w * z + b)


def statistics_bounds(x, mean, inverse, count):
    m = U * 4 * (np.abs(mean) + np.abs(x).max(initial=0.0)) + 0 * mean
    return m, U * (count + 16) * np.abs(inverse)


@cases("norm.group")
def group():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for n, c, k, groups in (*GROUPED, *GROUPED_BIG):
            for offset, centered in ((0.0, True), (2000.0, True), (3.0, False)):
                x, weight, bias = values(rng, (n, c, k), dtype, offset)
                if offset == 3.0:
                    bias = None
                if offset == 0.0 and n == 3:
                    weight = bias = None
                arguments = (x, weight, bias, groups, 1e-5, centered)
                yield grouped_case(f"{(n, c, k)} {groups} {offset}", arguments, n * c * k > 10_000)
        x = rng.normal(size=(3, 40, 1)).astype(dtype)
        x[1, 3], x[2, 5] = np.nan, np.inf
        yield Case("NaN and inf", (x,), bounds=(4 * eps(x) * 5,) * 3)
        x = (1e30 if dtype == np.float32 else 1e200) * np.sign(x[:1])
        x = x.astype(dtype)
        yield Case("huge", (x, None, None, 4), bounds=(4 * eps(x), U * 1e201, 4 * U / 1e29))


def grouped_case(name, arguments, big=False):
    x, weight, bias, groups, *_ = arguments
    _, mean, inverse = norm.group.specification(*arguments)
    count = x[0].size // groups if len(x) else 0
    beside = [spread(v, x, groups) for v in (mean, inverse)]
    bounds = (
        y_bound(x, weight, bias, *beside, count),
        *statistics_bounds(x, mean, inverse, count),
    )
    return Case(name, arguments, bounds=bounds, big=big)


def gradient_bounds(dout, x, weight, mean, inverse, count, groups):
    """Bounds of dx, dweight and dbias from those of z and of sums of `count` terms."""
    d, n, c, k = np.abs(dout.astype(np.float64)), *x.shape
    z, dz = np.abs((x.astype(np.float64) - mean) * inverse), z_bound(x, mean, inverse, count)
    w = 1.0 if weight is None else np.abs(weight.astype(np.float64))[:, None]
    g = d * w

    def means(v):
        if groups:
            v = v.reshape(n, groups, -1).mean(2) if v.size else np.zeros((n, groups))
            return spread(v, x, groups)
        return v.mean((0, 2))[:, None] if v.size else np.zeros((c, 1))

    sums = U * (count + 8)
    terms = g + means(g) + z * means(g * z)
    inner = sums * terms + dz * means(g * z) + z * means(g * dz)
    dx = np.abs(inverse) * (inner + 2 * eps(x) * terms)
    total = n * k
    dw = (d * dz).sum((0, 2)) + (U * (total + 8) + eps(x)) * (d * z).sum((0, 2))
    return dx, dw, (U * total + eps(x)) * d.sum((0, 2))


@cases("norm.group_backward")
def group_backward():
    for dtype in DTYPES:
        rng = np.random.default_rng(2)
        for n, c, k, groups in (*GROUPED, *GROUPED_BIG):
            for centered in (True, False):
                x, weight, _ = values(rng, (n, c, k), dtype, 1.0)
                weight = weight if n != 3 else None
                dout = rng.normal(size=x.shape).astype(dtype)
                _, mean, inverse = norm.group.specification(x, None, None, groups, 1e-5, centered)
                count = x[0].size // groups if n else 0
                beside = [spread(v, x, groups) for v in (mean, inverse)]
                bounds = gradient_bounds(dout, x, weight, *beside, count, groups)
                arguments = (dout, x, mean, inverse, weight, centered)
                big = x.size > 10_000
                yield Case(f"{x.shape} {groups}", arguments, bounds=bounds, big=big)


def batches():
    for dtype in DTYPES:
        rng = np.random.default_rng(3)
        for shape in (*BATCHED, *BATCHED_BIG):
            for offset in (0.0, 2000.0):
                x, weight, bias = values(rng, shape, dtype, offset)
                if offset:
                    bias = None
                if shape[0] == 4:
                    weight = None
                yield f"{shape} {offset}", x, weight, bias, x.size > 10_000


@cases("norm.batch")
def batch():
    for name, x, weight, bias, big in batches():
        _, mean, variance, inverse = norm.batch.specification(x, weight, bias)
        count = x.shape[0] * x.shape[2]
        bounds = statistics_bounds(x, mean, inverse, count)
        square = U * (count + 16) * variance
        y = y_bound(x, weight, bias, mean[:, None], inverse[:, None], count)
        yield Case(name, (x, weight, bias), bounds=(y, bounds[0], square, bounds[1]), big=big)
    for dtype, size in ((np.float32, 1e30), (np.float64, 1e200)):
        for shape in ((4, 3, 1), (2, 3, 2)):
            x = (size * np.array([1, -1, 1, -1]).reshape(-1, 1, shape[2])).astype(dtype)
            x = np.broadcast_to(x, shape)
            bounds = (8 * eps(x), U * size, U * size**2 if size < 1e100 else None, 4 * U / size)
            yield Case("huge", (x,), bounds=bounds)


@cases("norm.batch_evaluate")
def batch_evaluate():
    rng = np.random.default_rng(4)
    for name, x, weight, bias, big in batches():
        mean, inverse = rng.normal(size=(2, x.shape[1]))
        y = y_bound(x, weight, bias, mean[:, None], inverse[:, None], 1)
        yield Case(name, (x, mean, inverse, weight, bias), bounds=(y,), big=big)


@cases("norm.batch_backward")
def batch_backward():
    rng = np.random.default_rng(5)
    for name, x, weight, _, big in batches():
        _, mean, _, inverse = norm.batch.specification(x)
        dout = rng.normal(size=x.shape).astype(x.dtype)
        count = x.shape[0] * x.shape[2]
        beside = mean[:, None], inverse[:, None]
        bounds = gradient_bounds(dout, x, weight, *beside, count, 0)
        yield Case(name, (dout, x, mean, inverse, weight), bounds=bounds, big=big)
        arguments = (dout, x, mean, inverse, weight, True)
        yield Case(f"{name} evaluate", arguments, bounds=bounds)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("norm")


def test_far_from_zero():
    x = (np.float32(2000) + np.float32([0.5, -1, 0.25, 0.25])).reshape(1, 4, 1)
    want = [0.8528, -1.7056, 0.4264, 0.4264]
    np.testing.assert_allclose(norm.group(x)[0].ravel(), want, atol=5e-5)
    np.testing.assert_allclose(norm.batch(x.reshape(4, 1, 1))[0].ravel(), want, atol=5e-5)
    np.testing.assert_allclose(norm.batch(x.reshape(1, 1, 4))[0].ravel(), want, atol=5e-5)
    x = np.float32([1e30, -1e30, 1e30, -1e30]).reshape(1, 4, 1)
    np.testing.assert_array_equal(norm.group(x)[0].ravel(), [1, -1, 1, -1])
    np.testing.assert_array_equal(norm.batch(x.reshape(4, 1, 1))[0].ravel(), [1, -1, 1, -1])


def test_variance_of_a_batch():
    x = np.array([[2.0, 15, 2, 1], [2, 17, 2, 1], [-4, -2, -2, -1]])[:, :, None]
    _, mean, variance, _ = norm.batch(x)
    np.testing.assert_allclose(mean, [0, 10, 2 / 3, 1 / 3], atol=1e-15)
    np.testing.assert_allclose(variance * 3 / 2, [12, 109, 16 / 3, 4 / 3])


@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 4, 7)])
def test_equals_torch(shape):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(6)
    n, c, k = shape
    x, weight, bias = values(rng, shape, np.float64)
    dout = rng.normal(size=shape)
    rows, square = (x.reshape(n, c) if k == 1 else x), (c,)
    checks = [
        (norm.batch(x, weight, bias), norm.batch_backward, (),
         lambda t, w, b: functional.batch_norm(t, None, None, w, b, True)),
        (norm.group(x, weight, bias, c if k > 1 else 1), norm.group_backward, (),
         lambda t, w, b: functional.group_norm(t, c if k > 1 else 1, w, b)),
    ]  # fmt: skip
    if k == 1:
        checks += [
            (norm.group(x, weight, bias), norm.group_backward, (),
             lambda t, w, b: functional.layer_norm(t, square, w, b)),
            (norm.group(x, weight, None, 1, 1e-5, False), norm.group_backward, (False,),
             lambda t, w, b: functional.rms_norm(t, square, w, 1e-5) + 0 * b),
        ]  # fmt: skip
    for (y, mean, *_, inverse), backward, more, peer in checks:
        tensors = [torch.tensor(v, requires_grad=True) for v in (rows, weight, bias)]
        want = peer(*tensors)
        want.backward(torch.tensor(dout.reshape(want.shape)))
        np.testing.assert_allclose(y.reshape(want.shape), want.detach().numpy(), atol=1e-12)
        gradients = backward(dout, x, mean, inverse, weight, *more)
        for mine, t in zip(gradients[: 2 if more else 3], tensors, strict=False):
            np.testing.assert_allclose(mine.reshape(t.shape), t.grad.numpy(), atol=1e-11)


@pytest.mark.parametrize("groups", [0, 3])
def test_groups_divide_channels(groups):
    x = np.zeros((2, 4, 1))
    for op in (norm.group, norm.group.specification):
        with pytest.raises(ValueError, match=rf"groups must divide 4 channels, got {groups}"):
            op(x, None, None, groups)
