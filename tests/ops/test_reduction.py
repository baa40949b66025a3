"""Reductions beside their specification, NumPy and theorems; gradients beside differences."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps, last_tie

from kernelmill.ops import elementwise, reduction

NAMES = tuple(reduction.ROWS)
INDEX = ("argmax", "argmin")
SPECIAL = (0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-30, -1e30, 700.0)


def bound(name, x, want):
    """One rounding to the dtype, and of float64 sums sqrt(n) roundings of their largest term.

    The logarithm of a sum is off by its relative error, an exp of 2 ulp in the dtype among others.
    The terms of the variance are squares of deviations.
    """
    if name in (*INDEX, "max", "min"):
        return None
    known = x[np.isfinite(x)].astype(np.float64)
    n, largest = max(1, x.size), np.abs(known).max(initial=0.0)
    terms = {"sum": n * largest, "mean": largest, "norm": largest * np.sqrt(n), "logsumexp": 1.0}
    if name == "variance":
        terms[name] = (2 * np.abs(known - known[:1]).max(initial=0.0)) ** 2
    with np.errstate(all="ignore"):
        size = np.abs(want).astype(np.float64) + (4 if name == "logsumexp" else 0)
        size = np.nan_to_num(size, posinf=0.0)
        tiny = np.finfo(x.dtype).smallest_subnormal
        return eps(x) * size + 4 * np.sqrt(n) * 2.0**-52 * terms[name] + tiny


def case(name, label, x, big=False, **kwargs):
    want = getattr(reduction, name).specification(x, **kwargs)
    return Case(
        f"{label} {kwargs} {x.dtype}", (x,), kwargs, bounds=(bound(name, x, want),), big=big
    )


def register(name):
    @cases(f"reduction.{name}")
    def generate():
        chooses = name in (*INDEX, "max", "min")
        for dtype in DTYPES:
            rng = np.random.default_rng(1)

            def draw(*shape, scale=3.0, rng=rng, dtype=dtype):
                x = np.asarray(rng.normal(size=shape) * scale)
                return np.asarray(np.where(rng.uniform(size=shape) < 0.3, np.round(x), x), dtype)

            for n in (() if chooses else (0,)) + SIZES + (127, 128, 4095, 4097, 9001):
                yield case(name, f"{n}", draw(n))
            for shape in ((3, 5), (33, 9), (9, 33), (140, 70), (2, 300), (300, 2), (5, 1), (1, 5)):
                for axis in (0, 1, -1, (0, 1)):
                    yield case(name, f"{shape}", draw(*shape), axis=axis)
                yield case(name, f"{shape}", draw(*shape), axis=0, keepdims=True)
            x = draw(4, 6, 7, 40)
            for r in range(5):
                for axes in itertools.combinations(range(4), r):
                    yield case(name, "4 axes", x, axis=axes)
            yield case(name, "strided", x[:, ::-2, 1:, ::3], axis=(0, 2))
            yield case(name, "transposed", x.T, axis=(0, 1), keepdims=True)
            yield case(name, "transposed", x.T)
            yield case(name, "broadcast", np.broadcast_to(x[0, 0, 0], (300, 40)), axis=0)
            yield case(name, "no axes", np.array(2.5, dtype))
            yield case(name, "no results", x[:0], axis=1)
            if not chooses:
                yield case(name, "no elements", x[:0], axis=0)
            far = (draw(500, 37) + 1e4).astype(dtype)
            yield case(name, "far from the origin", far, axis=0)
            yield case(name, "far from the origin", far, axis=1)
            special = np.array(list(itertools.product(SPECIAL, repeat=3)), dtype)
            yield case(name, "special values", special, axis=1)
            yield case(name, "special values", np.repeat(special, 100, axis=1), axis=1)
            yield case(name, "special values", np.repeat(special.T, 50, axis=0), axis=0)
            if name == "variance":
                yield case(name, "ddof", draw(3, 50), axis=1, ddof=1)
                yield case(name, "ddof", draw(3, 1), axis=1, ddof=1)
                yield case(name, "ddof", draw(3, 50), axis=0, ddof=1.5)
            for shape, axis in (
                ((300, 700), 0),
                ((300, 700), 1),
                ((300, 700), None),
                ((70_001, 3), 0),
                ((70_001, 3), 1),
            ):
                yield case(name, f"big {shape}", draw(*shape), axis=axis, big=True)


for _name in NAMES:
    register(_name)


def _last(name):
    """The last of equals instead of the first."""

    def wrong(x, axis=None, keepdims=False, out=None):
        if axis is None or isinstance(axis, tuple):
            return getattr(reduction, name).specification(x, axis, keepdims)
        found = getattr(reduction, name).specification(np.flip(x, axis), axis, keepdims)
        return x.shape[axis] - 1 - found

    return wrong


for _name in INDEX:
    last_tie(f"reduction.{_name}")(_last(_name))

test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("reduction")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "argmax", "argmin"])
def test_integers_equal_numpy(name, dtype):
    """Small integers make sums exact."""
    rng = np.random.default_rng(2)
    x = rng.integers(-8, 9, (37, 65, 130)).astype(dtype)
    for axis in (None, 0, 1, 2, -1):
        got = getattr(reduction, name)(x, axis)
        np.testing.assert_array_equal(
            got, getattr(np, name)(x.astype(np.float64), axis).astype(got.dtype)
        )


@pytest.mark.parametrize("shift", [0.0, 1e8, 1e12])
@pytest.mark.parametrize("axis", [0, 1])
def test_variance_is_accurate_far_from_the_origin(shift, axis):
    x = np.random.default_rng(3).integers(-50, 50, (1000, 999)).astype(float)
    want = x.var(axis=axis)  # shifted integers are exact
    np.testing.assert_allclose(reduction.variance(x + shift, axis), want, rtol=1e-13)


def test_float32_sums_keep_float64_digits():
    x = np.full((4_000_000,), 0.1, np.float32)
    assert reduction.sum(x) == np.float32(x.astype(np.float64).sum())
    assert reduction.mean(x) == np.float32(0.1)


def test_norm_and_logsumexp_never_leave_the_range():
    x = np.array([[3e200, 4e200], [3e-200, 4e-200], [3.0, 4.0], [0.0, 0.0]])
    for repeat in (1, 64, 5000):
        wide = np.repeat(x, repeat, axis=1)
        want = np.array([5e200, 5e-200, 5.0, 0.0]) * np.sqrt(repeat)
        np.testing.assert_allclose(reduction.norm(wide, 1), want, rtol=1e-13)
        np.testing.assert_allclose(reduction.norm(wide.T.copy(), 0), want, rtol=1e-13)
        high = np.repeat([[1e300, 1e300], [-1e300, -1e300]], repeat, axis=1)
        np.testing.assert_array_equal(reduction.logsumexp(high, 1), high[:, 0])
    mixed = np.concatenate([np.full(5000, 1e-200), [2.0], np.full(5000, 1e200)])
    np.testing.assert_allclose(reduction.norm(mixed), 1e200 * np.sqrt(5000), rtol=1e-13)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in INDEX])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_derivatives_equal_differences(name, axis):
    row, rng = reduction.ROWS[name], np.random.default_rng(4)
    x = rng.permutation(np.arange(35.0)).reshape(5, 7) / 10 + 0.3
    op = getattr(reduction, name)
    result = op(x, axis, keepdims=True)
    dout = rng.normal(size=result.shape)
    known = {
        "x": x, "dout": dout, "result": result, "n": x.size / result.size, "ties": 1.0, "ddof": 0.0,
        "mean": x.mean(axis, keepdims=True),
    }  # fmt: skip
    got = np.broadcast_to(elementwise.evaluate(row.derivative, known), x.shape)
    h = 1e-5
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += h
        down[at] -= h
        want = (dout * (op(up, axis, keepdims=True) - op(down, axis, keepdims=True))).sum() / (
            2 * h
        )
        np.testing.assert_allclose(got[at], want, rtol=1e-7, atol=1e-8)


def both(name):
    op = getattr(reduction, name)
    return op, op.specification


@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused(name):
    x = np.ones((3, 4))
    for function in both(name):
        with pytest.raises(
            ValueError, match=rf"^reduction\.{name}: x must be float32 or float64, got int64"
        ):
            function(np.arange(3))
        for axis in (2, -3, (0, 0), (1, -1)):
            with pytest.raises(
                ValueError, match="axis must name different axes of an array with 2, got"
            ):
                function(x, axis)
        with pytest.raises(
            TypeError, match=r"axis must be None, an integer or a tuple of integers, got 0\.5"
        ):
            function(x, 0.5)
        for out in (np.zeros(3), np.zeros(4, np.int32), [0, 0, 0, 0]):
            with pytest.raises(
                ValueError,
                match=r"out must be a writeable (float64|int64) array of shape \(4,\), got",
            ):
                function(x, 0, out=out)
        if name in (*INDEX, "max", "min"):
            with pytest.raises(
                ValueError, match=r"x must have elements along the reduced axes, got shape \(0, 4\)"
            ):
                function(x[:0], 0)


@pytest.mark.parametrize("name", NAMES)
def test_out_is_written_and_returned(name):
    x = np.random.default_rng(0).normal(size=(6, 9))
    for function in both(name):
        want = function(x, 0)
        out = np.zeros(18, want.dtype)[::-2]
        assert function(x, 0, out=out) is out
        np.testing.assert_array_equal(out, want)


def test_the_page_lists_every_row():
    page = Path(__file__).parents[2] / "docs" / "vector-math.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    for row in reduction.TABLE:
        back = f"`{row.derivative}`" if row.derivative else ""
        assert f"| `{row.name}` | {row.steps} | {back} |" in lines
