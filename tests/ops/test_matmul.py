"""The matrix product against its specification."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

from kernelmill.ops import matmul


def bound(A, B, alpha=1.0, beta=0.0, C=None):
    """k roundings of a sum of |a b|, and a few more for the scales (Higham 2002, section 3.5)."""
    total = abs(alpha) * (np.abs(A).astype(np.float64) @ np.abs(B).astype(np.float64))
    if beta:
        total = total + abs(beta) * np.abs(C)
    return ((A.shape[1] + 4) * eps(A) * total,)


@cases("matmul.matmul")
def product():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for i, m in enumerate(SIZES):
            k, n = SIZES[(7 * i + 3) % len(SIZES)], SIZES[-1 - i]
            A = rng.integers(-9, 9, (m, k)).astype(dtype)
            B = rng.integers(-9, 9, (k, n)).astype(dtype)
            yield Case(f"{m} {n} {k} integers {dtype.__name__}", (A, B))
            C = rng.integers(-9, 9, (m, n)).astype(dtype)
            yield Case(f"{m} {n} {k} scaled", (A, B, C, 2.0, -3.0))
            A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
            yield Case(f"{m} {n} {k} normal", (A, B), bounds=bound(A, B))
        A, B = rng.normal(size=(20, 1500)).astype(dtype), rng.normal(size=(1500, 40)).astype(dtype)
        yield Case("deep", (A, B), bounds=bound(A, B))
        nan = np.full((20, 40), np.nan, dtype)
        yield Case("beta = 0 does not read C", (A, B, nan, 0.5, 0.0), bounds=bound(A, B, 0.5))
        yield Case("no rows", (A[:0], B))
        yield Case("no depth", (A[:, :0], B[:0], nan * 0 + 2, 1.0, 3.0))
        A = rng.normal(size=(700, 60)).astype(dtype)
        B = rng.normal(size=(60, 500)).astype(dtype)
        yield Case("big", (A, B), bounds=bound(A, B), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("matmul")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [3, 64, 300, 1024])
def test_the_bits_of_a_row_do_not_depend_on_the_rows_beside_it(dtype, k):
    """Single rows, few, tiles and parts each have loops of their own; so have layouts of B."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(700, k)).astype(dtype)
    for n in (5, 33, 200):
        for B in (rng.normal(size=(k, n)), rng.normal(size=(n, k)).T):
            B = B.astype(dtype, order="K")
            whole = matmul.matmul(A, B)
            for count in (1, 2, 3, 4, 5, 8, 11, 16, 17, 40, 200):
                np.testing.assert_array_equal(matmul.matmul(A[:count], B), whole[:count])


@pytest.mark.parametrize(
    "arguments",
    [
        (np.ones((2, 3)), np.ones((2, 3))),
        (np.ones((2, 3)), np.ones((3, 2), np.float32)),
        (np.ones((2, 3)), np.ones((3, 2)), None, 1.0, 1.0),
        (np.ones((2, 3)), np.ones((3, 2)), np.ones((3, 3)), 1.0, 1.0),
        (np.ones((2, 3), np.int32), np.ones((3, 2), np.int32)),
    ],
)
def test_errors(arguments):
    with pytest.raises(ValueError, match=r"^matmul\.matmul: .* must .*, got "):
        matmul.matmul(*arguments)
