"""Pools against their specification, torch, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps, last_tie

from kernelmill.ops import pool

# Planes, size, kernel, stride, padding, dilation, ceil_mode, count_include_pad.
POOLS = (
    (6, (1, 9, 12), (1, 2, 3), (1, 2, 3), (0, 1, 1), (1, 1, 1), False, True),
    (4, (1, 1, 5), (1, 1, 2), (1, 1, 2), (0, 0, 1), (1, 1, 1), True, True),
    (3, (1, 7, 7), (1, 2, 2), (1, 3, 3), (0, 0, 0), (1, 1, 1), True, True),
    (3, (1, 7, 8), (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), True, False),
    (2, (5, 6, 7), (2, 3, 2), (2, 1, 2), (1, 1, 0), (1, 1, 1), False, False),
    (2, (1, 11, 13), (1, 3, 2), (1, 2, 1), (0, 1, 1), (1, 2, 3), False, True),
    (1, (1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), False, True),
    (5, (1, 9, 24), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1), False, True),
    (2, (1, 70, 60), (1, 2, 3), (1, 2, 3), (0, 1, 0), (1, 1, 1), False, True),
    (3, (2, 8, 8), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False, True),
    # Pairs of neighbours: lines of more and of fewer windows than a vector has lanes.
    (3, (1, 28, 28), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1), False, True),
    (2, (3, 6, 70), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1), False, True),
    (0, (1, 4, 4), (1, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1), False, True),
)
ADAPTIVE = ((2, (1, 7, 10), (1, 3, 4)), (3, (4, 5, 6), (1, 1, 1)), (2, (1, 3, 3), (1, 5, 7)))
BIG = (70, (1, 29, 31), (1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), False, True)


def planes(n, size, dtype, ties=False):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(n, *size))
    return (np.round(values) if ties else values).astype(dtype)


def tables(dilated=True):
    """Planes, size, windows, and whether the case is big."""
    for n, size, *more in (*POOLS, BIG):
        if dilated or more[3] == (1, 1, 1):
            yield n, size, pool.windows(size, *more), n == BIG[0]
    for n, size, out in ADAPTIVE:
        yield n, size, pool.adaptive_windows(size, out), False


@cases("pool.maximum")
def largest():
    for dtype in DTYPES:
        for n, size, w, big in tables():
            for ties in (False, True):
                x = planes(n, size, dtype, ties)
                if ties and x.size > 3:
                    x.flat[3], x.flat[-1], x.flat[0] = np.nan, -np.inf, -np.inf
                    x.flat[40::5] = np.nan
                yield Case(f"{size} {w.out}", (x, w.begin, w.end, w.step, *w.out), big=big)
    whole = (np.array([0, 0, 0]), np.array([1, 1, 4]), np.ones(3, np.int64), 1, 1, 1)
    yield Case("only -inf", (np.full((2, 1, 1, 4), -np.inf), *whole))
    nothing = (whole[0], np.array([1, 1, 0]), *whole[2:])
    yield Case("windows without elements", (np.zeros((2, 1, 1, 4)), *nothing))


@last_tie("pool.maximum")
def last(x, begin, end, step, oa, ob, oc):
    """The last of equals in memory instead of the first."""
    y, indices = pool.maximum.specification(x, begin, end, step, oa, ob, oc)
    flat = x.reshape(len(x), -1)
    for place in np.ndindex(*y.shape):
        equal = np.flatnonzero(flat[place[0]] == y[place])
        indices[place] = equal[-1] if len(equal) else indices[place]
    return y, indices


@cases("pool.average")
def mean():
    for dtype in DTYPES:
        for n, size, w, big in tables(dilated=False):
            x = planes(n, size, dtype)
            for divisor in (1.0, 2.5):
                args = (x, w.begin, w.end, w.counts, divisor, *w.out)
                want = pool.average.specification(*args).astype(np.float64)
                bound = (eps(x) * np.abs(want) + 2.0**-48 * max(1.0, np.abs(x).max(initial=0)),)
                yield Case(f"{size} {w.out} {divisor}", args, bounds=bound, big=big)


@cases("pool.average_gradient")
def mean_gradient():
    for dtype in DTYPES:
        for n, size, w, big in tables(dilated=False):
            dout = planes(n, w.out, dtype)
            args = (dout, w.begin, w.end, w.counts, 1.5, *size)
            want = pool.average_gradient.specification(*args).astype(np.float64)
            bound = (eps(dout) * np.abs(want) + 2.0**-46,)
            yield Case(f"{size} {w.out}", args, bounds=bound, big=big)


def chosen(dtype, n, size, out, rng):
    indices = rng.integers(0, np.prod(size), (n, *out))
    return rng.integers(-9, 9, (n, *out)).astype(dtype), indices


@cases("pool.scatter")
def scatter():
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        for n, size, out in (*ADAPTIVE, (0, (1, 2, 2), (1, 1, 1)), (70, (1, 20, 31), (1, 10, 15))):
            x, indices = chosen(dtype, n, size, out, rng)
            yield Case(f"{size} {out}", (x, indices, *size), big=n == 70)


@cases("pool.gather")
def gather():
    rng = np.random.default_rng(4)
    for dtype in DTYPES:
        for n, size, out in (*ADAPTIVE, (0, (1, 2, 2), (1, 1, 1)), (70, (1, 20, 31), (1, 10, 15))):
            _, indices = chosen(dtype, n, size, out, rng)
            yield Case(f"{size} {out}", (planes(n, size, dtype), indices), big=n == 70)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("pool")


@pytest.mark.parametrize("layer", [p for p in POOLS if p[0]], ids=str)
def test_torch_agrees(layer):
    torch = pytest.importorskip("torch")
    n, size, kernel, stride, padding, dilation, ceil_mode, include = layer
    x = planes(n, size, np.float64)
    t = torch.tensor(x, requires_grad=True)
    f = torch.nn.functional
    w = pool.windows(size, kernel, stride, padding, dilation, ceil_mode, include)
    want, indices = f.max_pool3d(
        t[:, None], kernel, stride, padding, dilation, ceil_mode, return_indices=True
    )
    y, found = pool.maximum(x, w.begin, w.end, w.step, *w.out)
    np.testing.assert_array_equal(y, want[:, 0].detach().numpy())
    np.testing.assert_array_equal(found, indices[:, 0].numpy())
    dout = planes(n, w.out, np.float64)
    want.backward(torch.tensor(dout)[:, None])
    np.testing.assert_allclose(pool.scatter(dout, found, *size), t.grad.numpy(), rtol=1e-12)
    if dilation == (1, 1, 1):
        t.grad = None
        want = f.avg_pool3d(t[:, None], kernel, stride, padding, ceil_mode, include)
        want.backward(torch.tensor(dout)[:, None])
        y = pool.average(x, w.begin, w.end, w.counts, 1.0, *w.out)
        np.testing.assert_allclose(y, want[:, 0].detach().numpy(), rtol=1e-12, atol=1e-15)
        dx = pool.average_gradient(dout, w.begin, w.end, w.counts, 1.0, *size)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("layer", ADAPTIVE, ids=str)
def test_torch_agrees_on_adaptive_windows(layer):
    torch = pytest.importorskip("torch")
    n, size, out = layer
    x = planes(n, size, np.float64)
    w = pool.adaptive_windows(size, out)
    t = torch.tensor(x)[:, None]
    want = torch.nn.functional.adaptive_avg_pool3d(t, out)[:, 0].numpy()
    got = pool.average(x, w.begin, w.end, w.counts, 1.0, *w.out)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    want = torch.nn.functional.adaptive_max_pool3d(t, out)[:, 0].numpy()
    np.testing.assert_array_equal(pool.maximum(x, w.begin, w.end, w.step, *w.out)[0], want)


def test_windows_over_the_edge():
    """A window that would start in the right padding is dropped; an overhang is never counted."""
    x = np.arange(1.0, 6).reshape(1, 1, 1, 5)
    w = pool.windows((1, 1, 5), (1, 1, 2), (1, 1, 2), (0, 0, 1), ceil_mode=True)
    y, indices = pool.maximum(x, w.begin, w.end, w.step, *w.out)
    assert (y.ravel().tolist(), indices.ravel().tolist()) == ([1, 3, 5], [0, 2, 4])
    x = np.arange(49.0).reshape(1, 1, 7, 7)
    w = pool.windows((1, 7, 7), (1, 2, 2), (1, 3, 3), (0, 0, 0), ceil_mode=True)
    y = pool.average(x, w.begin, w.end, w.counts, 1.0, *w.out)
    assert y[0, 0].tolist() == [[4, 7, 9.5], [25, 28, 30.5], [42.5, 45.5, 48]]


def test_padding_of_a_maximum_is_not_zero():
    w = pool.windows((1, 1, 4), (1, 1, 3), (1, 1, 1), (0, 0, 1))
    x = np.full((1, 1, 1, 4), -2.0)
    assert (pool.maximum(x, w.begin, w.end, w.step, *w.out)[0] == -2).all()


@pytest.mark.parametrize("i", [0, 1])
def test_wrong_calls_are_refused(i):
    def run(op):
        return [op.implementation("cpu"), op.specification][i]

    x, one = np.zeros((2, 1, 1, 4)), np.ones(3, np.int64)
    zero, far, index = np.zeros(3, np.int64), np.array([1, 1, 5]), np.full((2, 1, 1, 1), 4)
    with pytest.raises(ValueError, match="windows must lie within the planes"):
        run(pool.maximum)(x, zero, far, one, 1, 1, 1)
    with pytest.raises(ValueError, match="begin and end must have 4 values, got 3 and 3"):
        run(pool.maximum)(x, zero, one, one, 1, 1, 2)
    with pytest.raises(IndexError, match=r"pool.scatter: indices must lie in \[0, 4\), got 4"):
        run(pool.scatter)(np.zeros((2, 1, 1, 1)), index, 1, 1, 4)
    with pytest.raises(IndexError, match=r"pool.gather: indices must lie in \[0, 4\), got 4"):
        run(pool.gather)(x, index)
    with pytest.raises(ValueError, match="padding at most half a window, got 2, 1, 1 and 2"):
        pool.windows((1, 1, 4), (1, 1, 2), (1, 1, 1), (0, 0, 2))
    with pytest.raises(ValueError, match="kernels must fit the padded input, got 5 with dilation"):
        pool.windows((1, 1, 4), (1, 1, 5), (1, 1, 1), (0, 0, 0))
