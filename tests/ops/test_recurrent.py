"""Recurrences against their specification, torch, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import recurrent

# Units, width of the state where it is projected, sequences, rows of each step.
SHAPES = (
    (1, 1, 1, (1,)),
    (3, 2, 5, (5, 4, 4, 1)),
    (16, 5, 3, (3, 3, 3)),
    (17, 20, 4, (2, 2, 1, 0)),
    (33, 8, 15, (15, 15, 9, 8, 2)),
    (31, 31, 70, (70, 64, 3, 1)),
    (8, 4, 2, ()),
    (5, 3, 0, (0, 0)),
    (40, 9, 30, (30, 29)),  # too few steps to pack weights
    (66, 1, 1, (1,) * 9),
)
BIG = (
    (70, 30, 40, (40, 40, 40, 33, 33, 20)),
    (300, 90, 5, (5, 5, 5, 4)),  # threads share the columns of a product
    (200, 64, 60, (60, 60)),
)


def draws(shape, dtype, seed=1):
    """A function that gives normal numbers, and one that gives weights."""
    rng = np.random.default_rng(seed)

    def normal(*size):
        return rng.normal(size=size).astype(dtype)

    def weight(*size):
        """Rows and columns whose magnitudes add up to at most 1/2: no step amplifies an error."""
        w = rng.normal(size=size)
        flat = np.abs(w).reshape(-1, size[-1])
        most = max(flat.sum(0).max(initial=0), flat.sum(1).max(initial=0), 1e-9)
        return (w / (2 * most)).astype(dtype)

    return normal, weight


def generate(op, arguments, updated):
    """Cases of an op, whose arguments come from ``arguments(shape, normal, weight, reverse)``."""
    for dtype in DTYPES:
        for shape in (*SHAPES, *BIG):
            for reverse in (False, True):
                args = arguments(shape, *draws(shape, dtype), reverse)
                now = [a.copy() if i in updated else a for i, a in enumerate(args)]
                results = op.specification(*now)
                results = results if isinstance(results, tuple) else (results,)
                outputs = [*(r for r in results if r is not None), *(now[i] for i in updated)]
                # A step is sums of at most 4 u terms of size 1/2 in all, then about 16 roundings of
                # numbers below the largest one; the errors of all steps add up.
                u, _, _, sizes = shape
                step = (u + 16) * 4 * eps(outputs[-1])
                size = 1 + max(float(np.abs(o).max(initial=0)) for o in outputs)
                bounds = ((len(sizes) + 1) * step * size,) * len(outputs)
                name = f"{shape} {dtype.__name__} {'reverse' if reverse else ''}"
                yield Case(name, args, bounds=bounds, updated=updated, big=shape in BIG)


def steps(shape):
    return np.array(shape[3], np.int64), sum(shape[3])


@cases("recurrent.elman_forward")
def elman_forward():
    def arguments(shape, normal, weight, reverse):
        (u, _, b, _), (sizes, n) = shape, steps(shape)
        bias = None if u == 16 else normal(u)
        return normal(n, u), weight(u, u), bias, normal(b, u), sizes, u % 2 == 0, reverse

    yield from generate(recurrent.elman_forward, arguments, (0, 3))


@cases("recurrent.elman_backward")
def elman_backward():
    def arguments(shape, normal, weight, reverse):
        (u, _, b, _), (sizes, n) = shape, steps(shape)
        dy = None if u == 17 else normal(n, u)
        y = np.tanh(normal(n, u))
        return y, dy, weight(u, u), normal(b, u), sizes, u % 2 == 0, reverse

    yield from generate(recurrent.elman_backward, arguments, (3,))


@cases("recurrent.lstm_forward")
def lstm_forward():
    def arguments(shape, normal, weight, reverse):
        (u, p, b, _), (sizes, n) = shape, steps(shape)
        projection = weight(p, u) if reverse else None
        p = p if reverse else u
        bias = None if u == 16 else normal(4, u)
        return (
            normal(n, 4, u), weight(4, u, p), bias, projection, normal(b, p), normal(b, u), sizes,
            reverse,
        )  # fmt: skip

    yield from generate(recurrent.lstm_forward, arguments, (0, 4, 5))


@cases("recurrent.lstm_backward")
def lstm_backward():
    def arguments(shape, normal, weight, reverse):
        (u, p, b, _), (sizes, n) = shape, steps(shape)
        projection = weight(p, u) if reverse else None
        p = p if reverse else u
        gates, dy = np.tanh(normal(n, 4, u)), None if u == 17 else normal(n, p)
        gates[:, [0, 1, 3]] = gates[:, [0, 1, 3]] / 2 + gates.dtype.type(0.5)
        return (
            gates, normal(n, u), dy, weight(4, u, p), projection, normal(b, p), normal(b, u), sizes,
            reverse, not reverse,
        )  # fmt: skip

    yield from generate(recurrent.lstm_backward, arguments, (5, 6))


@cases("recurrent.gru_forward")
def gru_forward():
    def arguments(shape, normal, weight, reverse):
        (u, _, b, _), (sizes, n) = shape, steps(shape)
        bias = None if u == 16 else normal(3, u)
        return normal(n, 3, u), weight(3, u, u), bias, normal(b, u), sizes, reverse

    yield from generate(recurrent.gru_forward, arguments, (0, 3))


@cases("recurrent.gru_backward")
def gru_backward():
    def arguments(shape, normal, weight, reverse):
        (u, _, b, _), (sizes, n) = shape, steps(shape)
        gates, dy = np.tanh(normal(n, 3, u)), None if u == 17 else normal(n, u)
        gates[:, :2] = gates[:, :2] / 2 + gates.dtype.type(0.5)
        return (
            gates, normal(n, u), normal(n, u), normal(b, u), dy, weight(3, u, u), normal(b, u),
            sizes, reverse,
        )  # fmt: skip

    yield from generate(recurrent.gru_backward, arguments, (6,))


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("recurrent")


def both(op):
    return [op.implementation("cpu"), op.specification]


@pytest.mark.parametrize("i", [0, 1])
def test_the_reset_gate_multiplies_product_and_bias(i):
    gates, h = np.array([[[-100.0], [0.0], [0.0]]]), np.array([[0.8]])
    bias = np.array([[0.0], [0.0], [1.0]])
    one = np.array([1])
    y, q = both(recurrent.gru_forward)[i](gates, np.zeros((3, 1, 1)), bias, h, one)
    np.testing.assert_allclose(y, 0.4, rtol=1e-15)
    assert q == 1
    np.testing.assert_array_equal(h, y)


@pytest.mark.parametrize("i", [0, 1])
def test_the_way_back_starts_at_the_end_of_each_sequence(i):
    """Sequences 1, 2, 3 and 4, reversed: states belong to the first step."""
    y, h = np.array([[1.0], [4.0], [2.0], [3.0]]), np.zeros((2, 1))
    sizes = np.array([2, 1, 1])
    both(recurrent.elman_forward)[i](y, np.ones((1, 1)), None, h, sizes, True, True)
    assert y.ravel().tolist() == [6, 4, 5, 3]
    assert h.ravel().tolist() == [6, 4]


def test_nan_stays_in_its_sequence():
    gates, h, c = np.zeros((6, 4, 20)), np.zeros((3, 20)), np.zeros((3, 20))
    gates[1, 2, 7] = np.nan
    weight = np.ones((4, 20, 20))
    y, _ = recurrent.lstm_forward(gates, weight, None, None, h, c, np.array([3, 3]))
    np.testing.assert_array_equal(np.isnan(y).all(1), [False, False, False, False, True, False])
    np.testing.assert_array_equal(np.isnan(y).sum(1), [0, 1, 0, 0, 20, 0])


@pytest.mark.parametrize("sizes", [[1, 2], [4], [3, -1, 1], [2], [3, 1]])
@pytest.mark.parametrize("i", [0, 1])
def test_batch_sizes_that_do_not_fit_are_refused(i, sizes):
    y, h = np.zeros((3, 2)), np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"elman_forward: batch_sizes must never rise, .* got"):
        both(recurrent.elman_forward)[i](y, np.ones((2, 2)), None, h, np.array(sizes))


@pytest.mark.parametrize("i", [0, 1])
def test_weights_that_are_not_square_are_refused(i):
    gates, h, c = np.zeros((1, 4, 3)), np.zeros((1, 2)), np.zeros((1, 3))
    with pytest.raises(ValueError, match=r"weight must be square .* a projection, got shape"):
        both(recurrent.lstm_forward)[i](gates, np.ones((4, 3, 2)), None, None, h, c, np.array([1]))
