"""Softmax and cross entropy against their specification, at the edges, and beside torch."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import softmax

# Rows of more than 128 classes are walked along classes, others along positions.
SHAPES = ((3, 1, 1), (7, 4, 5), (2, 10, 33), (40, 10, 1), (65, 127, 1), (5, 128, 1), (33, 130, 3),
          (2, 1000, 1), (1, 35, 64), (0, 5, 2), (3, 0, 2), (3, 5, 0), (3, 300, 2))  # fmt: skip


def logits(rng, shape, dtype, scale=3.0):
    """Normal numbers, with entries of -inf and, where there are positions, one of nothing else."""
    x = (scale * rng.normal(size=shape)).astype(dtype)
    x[rng.random(shape) < 0.05] = -np.inf
    if x.size and shape[0] > 2:
        x[1, :, 0] = -np.inf
    return x


def distance(x):
    """How far entries lie below the largest one, and the mean of that under the softmax."""
    x = x.astype(np.float64)
    shift = np.where(np.isneginf(x), 0, x).max(1, keepdims=True, initial=-np.inf)
    below = np.where(np.isneginf(x), 0, shift - x)
    mean = (np.exp(-below) * below).sum(1, keepdims=True)
    return below, mean


def softmax_bound(x):
    """Half an ulp of x - shift in the exponent, and the roundings of exp, sum and product."""
    below, mean = distance(x)
    return eps(x) * softmax.softmax.specification(x) * (below + mean + 6) + np.finfo(x.dtype).tiny


def log_bound(x):
    below, mean = distance(x)
    return 2 * eps(x) * (below + mean + np.log(max(x.shape[1], 1)) + 4)


def forward(bound):
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for shape in SHAPES:
            x = logits(rng, shape, dtype)
            yield Case(f"{shape} {dtype.__name__}", (x,), bounds=(bound(x),))
        x = rng.normal(size=(4, 3, 6)).astype(dtype)
        x[0, 1, 2], x[1, 2, 3] = np.nan, np.inf
        yield Case("NaN and inf", (x,), bounds=(bound(np.nan_to_num(x, posinf=0)),))
        x = (1e4 * rng.normal(size=(5, 200, 1))).astype(dtype)
        yield Case("large", (x,), bounds=(bound(x),))
        for shape in ((700, 300, 1), (300, 10, 70), (20000, 10, 1)):
            x = logits(rng, shape, dtype)
            yield Case(f"big {shape}", (x,), bounds=(bound(x),), big=True)


@cases("softmax.softmax")
def softmax_cases():
    yield from forward(softmax_bound)


@cases("softmax.log_softmax")
def log_softmax_cases():
    yield from forward(log_bound)


def backward(op, bound):
    for dtype in DTYPES:
        rng = np.random.default_rng(2)
        for shape in (*SHAPES, (700, 300, 1), (300, 10, 70)):
            dout = rng.normal(size=shape).astype(dtype)
            y = op.specification(logits(rng, shape, dtype))
            yield Case(f"{shape}", (dout, y), bounds=(bound(dout, y),), big=shape[0] > 100)


@cases("softmax.softmax_backward")
def softmax_backward_cases():
    def bound(dout, y):
        total = np.abs(dout.astype(np.float64) * y).sum(1, keepdims=True)
        sums = 2.3e-16 * y.shape[1] * total  # c roundings of a sum in float64
        return y * (4 * eps(y) * (np.abs(dout) + total) + sums) + np.finfo(y.dtype).tiny

    yield from backward(softmax.softmax, bound)


@cases("softmax.log_softmax_backward")
def log_softmax_backward_cases():
    def bound(dout, y):
        d, p = dout.astype(np.float64), np.exp(y.astype(np.float64))
        sums = 2.3e-16 * y.shape[1] * np.abs(d).sum(1, keepdims=True)
        return 4 * eps(y) * (np.abs(d) + p * np.abs(d.sum(1, keepdims=True))) + p * sums

    yield from backward(softmax.log_softmax, bound)


def losses():
    """Arguments of the loss, and whether they are big."""
    for dtype in DTYPES:
        rng = np.random.default_rng(3)
        for shape in (*(s for s in SHAPES if s[1]), (700, 300, 1), (300, 10, 70)):
            n, c, k = shape
            z, target = logits(rng, shape, dtype), rng.integers(0, c, (n, k))
            target[rng.random((n, k)) < 0.2] = -100
            weight = rng.random(c).astype(dtype)
            weight[0] = 0
            big = n > 100
            yield f"{shape}", (z, target), big
            finite = np.maximum(z, -20)
            yield f"{shape} weighted", (finite, target, weight), False
            ones = np.abs(target) % 99  # class 1 is ignored
            yield f"{shape} smoothed", (finite, ones, weight, 1, 0.1), big
            yield f"{shape} smoothed", (finite, target, None, -100, 0.3), False
        z, target = rng.normal(size=(3, 5, 1)).astype(dtype), np.full((3, 1), -100)
        yield "all ignored", (z, target), False
        yield "no classes", (z[:, :0], target), False


def loss_bound(z, target, weight=None, ignore_index=-100, label_smoothing=0.0):
    largest = log_bound(z).max(1, initial=0.0)
    w = 1.0 if weight is None else np.abs(weight).astype(np.float64).max()
    losses = softmax.cross_entropy.specification(z, target, weight, ignore_index, label_smoothing)
    size = np.where(np.isfinite(losses[0]), losses[0], 0)
    return largest * w + 4 * eps(z) * np.abs(size)


@cases("softmax.cross_entropy")
def cross_entropy_cases():
    for name, arguments, big in losses():
        z, c = arguments[0], arguments[0].shape[1]
        _, lse, total = softmax.cross_entropy.specification(*arguments)
        size = np.where(np.isfinite(lse), np.abs(lse), 0)
        mean = distance(z)[1]
        lse_bound = eps(z) * (mean[:, 0] + 4) + 2.3e-16 * (size + c)
        bounds = loss_bound(*arguments), lse_bound, 1e-13 * total
        yield Case(name, arguments, bounds=bounds, big=big)


@cases("softmax.cross_entropy_backward")
def cross_entropy_backward_cases():
    rng = np.random.default_rng(4)
    for name, (z, target, *more), big in losses():
        dout = rng.normal(size=target.shape).astype(z.dtype)
        dout[rng.random(target.shape) < 0.1] = 0
        lse = softmax.cross_entropy.specification(z, target, *more)[1]
        w = more[0] if more and more[0] is not None else np.ones(z.shape[1], z.dtype)
        most = float(w.max(initial=0)) * 2
        bound = np.abs(dout)[:, None] * most * (softmax_bound(z) + 4 * eps(z))
        yield Case(name, (dout, z, lse, target, *more), bounds=(bound,), big=big)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("softmax")


def test_smoothing_with_an_ignored_row_and_weights():
    z, target = np.array([[1.0, 2], [3, 0.4]])[:, :, None], np.array([[-100], [1]])
    losses, _, total = softmax.cross_entropy(z, target, None, -100, 0.1)
    np.testing.assert_allclose(losses[:, 0], [0, 2.54164], atol=5e-6)
    assert total == 1
    losses, _, total = softmax.cross_entropy(z, target, np.array([0.2, 0.3]), -100, 0.1)
    np.testing.assert_allclose(losses[:, 0] / total, [0, 2.54045], atol=5e-6)


def test_ignored_positions_let_nothing_through():
    z, target = np.random.default_rng(0).normal(size=(3, 4, 1)), np.full((3, 1), -100)
    losses, lse, total = softmax.cross_entropy(z, target)
    assert not losses.any()
    assert total == 0
    for dout in (np.nan, np.inf):
        given = softmax.cross_entropy_backward(np.full((3, 1), dout), z, lse, target)
        assert not given.any()


@pytest.mark.parametrize("c", [3, 200])
def test_a_transposed_batch_is_its_copy(c):
    z = np.sin(np.arange(8.0 * c)).reshape(4, 2, c).transpose(1, 0, 2)
    copy, target = np.ascontiguousarray(z), np.arange(8).reshape(2, 4) % 3
    z, copy = z.swapaxes(1, 2), copy.swapaxes(1, 2)
    for a, b in zip(softmax.cross_entropy(z, target), softmax.cross_entropy(copy, target),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_torch(smoothing, weighted):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    for shape in ((6, 5, 7), (9, 200, 1)):
        z, target = rng.normal(size=shape), rng.integers(0, 5, (shape[0], shape[2]))
        target[0, 0] = -100
        weight = rng.random(shape[1]) if weighted else None
        t = torch.tensor(z, requires_grad=True)
        w = None if weight is None else torch.tensor(weight)
        want = torch.nn.functional.cross_entropy(
            t, torch.tensor(target), w, reduction="none", label_smoothing=smoothing
        )
        dout = rng.normal(size=target.shape)
        want.backward(torch.tensor(dout))
        more = weight, -100, smoothing
        losses, lse, _ = softmax.cross_entropy(z, target, *more)
        np.testing.assert_allclose(losses, want.detach().numpy(), rtol=1e-12)
        gradient = softmax.cross_entropy_backward(dout, z, lse, target, *more)
        np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("target", [-1, 4])
def test_targets_are_classes(target):
    z = np.zeros((1, 4, 1))
    t = np.array([[target]])
    message = rf"target must be in \[0, 4\) or -100 \(ignore_index\), got {target}"
    for op in (softmax.cross_entropy, softmax.cross_entropy.specification):
        with pytest.raises(ValueError, match=rf"^softmax\.cross_entropy: {message}"):
            op(z, t)
    backward = softmax.cross_entropy_backward
    for op in (backward, backward.specification):
        with pytest.raises(ValueError, match=rf"^softmax\.cross_entropy_backward: {message}"):
            op(np.ones((1, 1)), z, np.ones((1, 1)), t)
