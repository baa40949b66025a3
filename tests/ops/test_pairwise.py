"""Euclidean distances against their specification."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

import kernelmill
from kernelmill.ops import pairwise

# |got - D| <= CONSTANT (d + 4) eps D, the contract of the specification.
CONSTANT = 4


def bound(X, Y, squared):
    D = pairwise.euclidean.specification(X, Y, squared).astype(np.float64)
    return (CONSTANT * (X.shape[1] + 4) * eps(X) * D + np.finfo(X.dtype).tiny,)


@cases("pairwise.euclidean")
def euclidean():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for i, n in enumerate(SIZES):
            m, d = SIZES[-1 - i], SIZES[(3 * i) % len(SIZES)]
            X = rng.integers(-9, 9, (n, d)).astype(dtype)
            Y = rng.integers(-9, 9, (m, d)).astype(dtype)
            yield Case(f"{n} {m} {d} integers squared {dtype.__name__}", (X, Y, True))
            X, Y = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)
            yield Case(f"{n} {m} {d} normal", (X, Y), bounds=bound(X, Y, False))
        for origin in (1e4, -3e6):  # far from zero, with equal and nearly equal rows
            X = (rng.normal(size=(65, 20)) + origin).astype(dtype)
            Y = X[::2].copy()
            Y[::3] = np.nextafter(Y[::3], np.inf, dtype=dtype)
            yield Case(f"origin {origin}", (X, Y), bounds=bound(X, Y, False))
        X = rng.normal(size=(20, 1)).astype(dtype) * 1e3
        X[3], X[11, 0] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            yield Case("NaN and inf", (X, np.ones((17, 1), dtype)),
                       bounds=bound(X, np.ones((17, 1), dtype), False))  # fmt: skip
        yield Case("no rows", (np.ones((0, 3), dtype), np.ones((4, 3), dtype)))
        yield Case("no columns", (np.ones((3, 0), dtype), np.ones((4, 0), dtype)))
        X = rng.normal(size=(4000, 12)).astype(dtype)
        yield Case("big", (X, X[:200]), bounds=bound(X, X[:200], False), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("pairwise")


def test_equal_rows_are_at_zero():
    X = (np.random.default_rng(2).normal(size=(100, 30)) + 7e5).astype(np.float32)
    np.testing.assert_array_equal(np.diag(pairwise.euclidean(X, X)), 0)


@pytest.mark.parametrize(
    ("X", "Y"),
    [
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.ones((2, 3)), np.ones((2, 3), np.float32)),
        (np.ones(3), np.ones((2, 3))),
        (np.ones((2, 3), int), np.ones((2, 3), int)),
    ],
)
def test_errors(X, Y):
    with pytest.raises(ValueError, match=r"^pairwise\.euclidean: .* must .*, got "):
        pairwise.euclidean(X, Y)


def test_an_unknown_backend_is_refused_at_the_call():
    with pytest.raises(ValueError, match="name must be one of numpy, cpu, cuda, got 'gpu'"):
        kernelmill.backend("gpu")
