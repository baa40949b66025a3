"""Rows of a table against the specification."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, eps

from kernelmill.ops import embedding

SIZES = ((1, 1, 1), (7, 3, 20), (50, 33, 9), (4, 0, 5), (3, 5, 0), (9, 16, 70))  # v, d, n
BIG = (400, 70, 3000)


@cases("embedding.forward")
def forward():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for v, d, n in (*SIZES, BIG):
            weight = rng.normal(size=(v, d)).astype(dtype)
            yield Case(f"{v} {d} {n}", (weight, rng.integers(0, v, n)), big=n > 1000)


def sum_bound(terms, index, rows):
    """One rounding of a sum in float64, and the roundings in it."""
    total = np.zeros((rows, terms.shape[1]))
    np.add.at(total, index, np.abs(terms).astype(np.float64))
    return (eps(terms) + 2.3e-16 * (len(index) + 2)) * total


@cases("embedding.backward")
def backward():
    for dtype in DTYPES:
        rng = np.random.default_rng(2)
        for v, d, n in (*SIZES, BIG):
            dout, index = rng.normal(size=(n, d)).astype(dtype), rng.integers(0, v, n)
            bounds = (sum_bound(dout, index, v),)
            yield Case(f"{v} {d} {n}", (dout, index, v), bounds=bounds, big=n > 1000)
            yield Case("padding", (dout, index, v, v // 2), bounds=bounds)


def bags():
    for dtype in DTYPES:
        rng = np.random.default_rng(3)
        for v, d, n in (*SIZES, BIG):
            weight, index = rng.normal(size=(v, d)).astype(dtype), rng.integers(0, v, n)
            offsets = np.sort(rng.integers(0, n + 1, 1 + n // 3))  # some bags are empty
            offsets[0] = 0
            factors = rng.normal(size=n).astype(dtype)
            for mode in range(3):
                arguments = (weight, index, offsets, None, mode, v // 2 if n == 20 else -1)
                yield f"{v} {d} {n} {embedding.MODES[mode]}", arguments, n > 1000
            yield "factors", (weight, index, offsets, factors), False


def terms_of(weight, index, factors):
    rows = weight[index]
    return rows if factors is None else rows * factors[:, None]


@cases("embedding.bag")
def bag():
    for name, arguments, big in bags():
        weight, index, offsets, factors, *_ = arguments
        places = np.repeat(np.arange(len(offsets)), np.diff(np.append(offsets, len(index))))
        bound = 2 * sum_bound(terms_of(weight, index, factors), places, len(offsets))
        yield Case(name, arguments, bounds=(bound,), big=big)


@cases("embedding.bag_backward")
def bag_backward():
    rng = np.random.default_rng(4)
    for name, arguments, big in bags():
        weight, index, offsets, factors, *_ = arguments
        dout = rng.normal(size=(len(offsets), weight.shape[1])).astype(weight.dtype)
        places = np.repeat(np.arange(len(offsets)), np.diff(np.append(offsets, len(index))))
        terms = dout[places] if factors is None else dout[places] * factors[:, None]
        dots = np.abs(dout[places].astype(np.float64) * weight[index]).sum(1)
        bounds = 2 * sum_bound(terms, index, len(weight)), 2 * eps(weight) * dots
        yield Case(name, (dout, *arguments), bounds=bounds, big=big)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("embedding")


@pytest.mark.parametrize("mode", range(3))
def test_bags_equal_torch(mode):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    weight, index = rng.normal(size=(10, 4)), rng.integers(0, 10, 20)
    offsets, dout = np.array([0, 3, 3, 11]), rng.normal(size=(4, 4))
    for factors in (None, rng.normal(size=20)) if mode == 0 else (None,):
        table = torch.tensor(weight, requires_grad=True)
        weights = None if factors is None else torch.tensor(factors, requires_grad=True)
        want = torch.nn.functional.embedding_bag(
            torch.tensor(index), table, torch.tensor(offsets), mode=embedding.MODES[mode],
            per_sample_weights=weights, padding_idx=2,
        )  # fmt: skip
        want.backward(torch.tensor(dout))
        more = index, offsets, factors, mode, 2
        np.testing.assert_allclose(embedding.bag(weight, *more), want.detach(), atol=1e-14)
        dweight, dfactors = embedding.bag_backward(dout, weight, *more)
        np.testing.assert_allclose(dweight, table.grad, atol=1e-14)
        if factors is not None:
            np.testing.assert_allclose(dfactors, weights.grad, atol=1e-14)


def test_the_largest_of_a_bag_is_nan_where_a_row_is():
    weight = np.array([[1.0, np.nan], [2.0, 3.0]])
    arguments = weight, np.array([0, 1]), np.array([0]), None, 2
    for op in (embedding.bag, embedding.bag.specification):
        np.testing.assert_array_equal(op(*arguments), [[2.0, np.nan]])
    for op in (embedding.bag_backward, embedding.bag_backward.specification):
        np.testing.assert_array_equal(op(np.ones((1, 2)), *arguments)[0], [[0, 1], [1, 0]])


TABLE = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("op", "arguments", "error", "message"),
    [
        (embedding.forward, (TABLE, np.array([3])), IndexError, r"index must be in \[0, 3\),"),
        (embedding.forward, (TABLE, np.array([-1])), IndexError, "index must be .*, got -1"),
        (embedding.backward, (TABLE, np.array([0, 1, 9]), 4), IndexError, "index must .* got 9"),
        (embedding.bag, (TABLE, np.array([0]), np.array([1])), ValueError, r"offsets must .*\[1\]"),
        (embedding.bag, (TABLE, np.array([0]), np.array([0, 2])), ValueError, "offsets must .*, 2"),
        (embedding.bag, (TABLE, np.array([0]), np.array([], int)), ValueError, "offsets must"),
        (embedding.bag, (TABLE, np.array([0]), np.array([0]), np.ones(1), 1), ValueError,
         r"sample_weight must be None unless mode is 0 \(sum\), got mode 1"),
    ],
)  # fmt: skip
def test_errors(op, arguments, error, message):
    said = []
    for function in (op, op.specification):
        with pytest.raises(error, match=rf"^{op.name}: {message}") as raised:
            function(*arguments)
        said.append(str(raised.value))
    assert said[0] == said[1]
