"""The matrix product against its specification."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

import kernelmill
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
        # Large enough for tiles of bfloat16: parts of tiles on all sides, several chunks and parts.
        A, B = rng.normal(size=(147, 301)).astype(dtype), rng.normal(size=(301, 131)).astype(dtype)
        C = rng.normal(size=(147, 131)).astype(dtype)
        yield Case("tiles", (A, B), bounds=bound(A, B))
        yield Case("tiles, added", (A, B, C, 0.5, -2.0), bounds=bound(A, B, 0.5) + 1e-6 * abs(C))


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("matmul")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [3, 64, 300, 1024])
def test_the_bits_of_a_row_do_not_depend_on_the_rows_beside_it(dtype, k):
    """Single rows, few, tiles and parts each have loops of their own; so have layouts of B.

    Products that are large enough for tiles of bfloat16, where the processor has them, have bits of
    their own, which do not depend on the rows either.
    """
    rng = np.random.default_rng(2)
    A = rng.normal(size=(700, k)).astype(dtype)
    tiles = dtype == np.float32 and kernelmill.info()["level"]["tiles"]
    for n in (5, 33, 200):
        for B in (rng.normal(size=(k, n)), rng.normal(size=(n, k)).T):
            B = B.astype(dtype, order="K")
            whole = matmul.matmul(A, B)
            few = np.concatenate([matmul.matmul(A[i : i + 16], B) for i in range(0, 700, 16)])
            for count in (1, 2, 3, 4, 5, 8, 11, 16, 17, 40, 200, 333):
                part = matmul.matmul(A[:count], B)
                large = tiles and count > 16 and not np.array_equal(part, few[:count])
                np.testing.assert_array_equal(part, (whole if large else few)[:count])
            if not tiles:
                np.testing.assert_array_equal(whole, few)


def test_values_that_parts_of_bfloat16_cannot_hold():
    """Rows and columns of any size, infinities, NaN and overflow give what float32 gives."""
    rng = np.random.default_rng(3)
    A, B = rng.normal(size=(160, 200)), rng.normal(size=(200, 170))
    A *= np.exp2(rng.integers(-126, 60, (160, 1)))  # rows of all sizes
    A[5], B[:, 7] = 0, 0
    A[9] *= np.exp2(-140 - np.floor(np.log2(abs(A[9]).max())))  # below what is normal
    A, B = A.astype(np.float32), B.astype(np.float32)
    exact = A.astype(np.float64) @ B.astype(np.float64)
    size = abs(A).astype(np.float64) @ abs(B).astype(np.float64)
    # Sums of 200 products, and what is below the least float.
    assert np.all(abs(matmul.matmul(A, B) - exact) <= 2e-6 * size + 200 * 2.0**-149)


def test_values_of_all_sizes_side_by_side():
    """Parts of tiny values are subnormal, or lost, and leave those beside them as they are."""
    rng = np.random.default_rng(4)
    A, B = rng.normal(size=(150, 200)), rng.normal(size=(200, 140))
    for lowest in (-60, -110, -149):
        wide = (
            A * np.exp2(rng.integers(lowest, 1, A.shape)),
            B * np.exp2(rng.integers(lowest // 2, 1, B.shape)),
        )
        for left, right in (wide, (wide[0], B), (A, wide[1]), (wide[0] * 2.0**-90, B)):
            left, right = left.astype(np.float32), right.astype(np.float32)
            for X, Y in ((left, right), (left.T.copy().T, right.T.copy().T)):
                exact = X.astype(np.float64) @ Y.astype(np.float64)
                scale = abs(X).max(axis=1)[:, None] * abs(Y).max(axis=0)
                error = abs(matmul.matmul(X, Y) - exact)
                assert np.all(error <= 2e-6 * 200**0.5 * scale + 200 * 2.0**-149)


def test_what_is_not_finite_stays_what_it_is():
    """Infinities, NaN and sums that overflow, one of them in a block of its own."""
    rng = np.random.default_rng(3)
    A, B = (rng.normal(size=shape).astype(np.float32) for shape in ((160, 200), (200, 170)))
    A[140, 3] = np.inf
    A[11, 3], A[12, 5], A[13, 5], B[4, 20] = np.inf, np.nan, -np.inf, np.inf
    A[14], B[:, 21] = 1.5e38, 3.0  # the sum overflows
    A[15, 0], B[0, 22] = 3.4e38, 0.5  # rounds to infinity as a bfloat16
    with np.errstate(all="ignore"):
        exact = (A.astype(np.float64) @ B.astype(np.float64)).astype(np.float32)
        ours = matmul.matmul(A, B)
    # Where products of float32 overflow on the way, either may be infinite.
    with np.errstate(all="ignore"):
        finite = (np.where(np.isfinite(X), abs(X), 0).astype(np.float64) for X in (A, B))
        sure = np.matmul(*finite) < 3e38
    np.testing.assert_array_equal(np.isnan(ours)[sure], np.isnan(exact)[sure])
    np.testing.assert_array_equal(np.isinf(ours)[sure], np.isinf(exact)[sure])
    assert np.isfinite(ours[15, 22]) == np.isfinite(exact[15, 22])


def test_large_products_are_as_exact_as_multiply_adds_of_float32(rng):
    for k in (64, 500, 3000, 20_000):
        A = rng.uniform(0.5, 1, (150, k)).astype(np.float32)  # all positive: roundings add up
        B = rng.uniform(0.5, 1, (k, 140)).astype(np.float32)
        exact = A.astype(np.float64) @ B.astype(np.float64)
        error = abs(matmul.matmul(A, B) - exact) / exact
        # Sums begin anew after some hundred values: roundings do not add up to k of them.
        assert error.max() < 1.5e-6


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
