"""Random numbers: the same stream from the specification and every twin."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases

from kernelmill.ops import random

STREAMS = ((0, 0, 0), (42, 1, 3), (2**64 - 1, 2**63, 2**40 + 5))


def positions():
    for seed, stream, start in STREAMS:
        for n in (0, *SIZES):
            yield f"{seed} {stream} {start} {n}", (seed, stream, start, n), False
    yield "big", (7, 0, 1, 200_001), True


@cases("random.uniform")
def uniform():
    for dtype in DTYPES:
        for name, arguments, big in positions():
            yield Case(name, (*arguments, dtype), big=big)


@cases("random.normal")
def normal():
    for dtype in DTYPES:
        for name, arguments, big in positions():
            want = random.normal.specification(*arguments, dtype)
            # Box-Muller multiplies a root of a logarithm by a sine or cosine, whose absolute error
            # near a zero is an ulp of 1: relative to the radius, not to the product.
            bound = 8 * np.finfo(dtype).eps * np.maximum(np.abs(want), 1).astype(np.float64)
            yield Case(name, (*arguments, dtype), bounds=(8 * bound,), big=big)


@cases("random.integers")
def integers():
    for high in (1, 6, 2**31 + 11, 2**63):
        for name, arguments, big in positions():
            yield Case(f"{name} < {high}", (*arguments, high), big=big)


@cases("random.permutations")
def permutations():
    for seed, stream, start in STREAMS:
        for e, n in ((0, 5), (3, 0), (4, 1), (5, 2), (3, 200), (2, 1025)):
            yield Case(f"{seed} {stream} {start} {e} {n}", (seed, stream, start, e, n))
    yield Case("big", (7, 0, 1, 20, 3001), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("random")
del test_layouts  # no arrays go in


def test_pieces_equal_the_whole():
    whole = random.uniform(9, 2, 10, 1000)
    pieces = [random.uniform(9, 2, 10 + at, 50) for at in range(0, 1000, 50)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def test_moments():
    z = random.normal(1, 0, 0, 1_000_000)
    assert abs(z.mean()) < 5e-3  # five standard errors
    assert abs(z.var() - 1) < 7.1e-3
    k = random.integers(1, 1, 0, 600_000, 6)
    counts = np.bincount(k, minlength=6)
    chi2 = ((counts - 1e5) ** 2 / 1e5).sum()
    assert chi2 < 25.7  # 0.9999 quantile, 5 degrees of freedom


def test_all_permutations_are_as_likely():
    order = random.permutations(3, 1, 0, 48_000, 4)
    counts = np.unique(order @ [64, 16, 4, 1], return_counts=True)[1]
    assert len(counts) == 24
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert chi2 < 57.1  # 0.9999 quantile, 23 degrees of freedom


@pytest.mark.parametrize("call", [random.permutations, random.permutations.specification])
def test_permutations_end(call):
    with pytest.raises(ValueError, match=r"\(start \+ e\) n must be at most"):
        call(0, 0, 2**62, 1, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, 0, 1), "seed must"),
        ((2**64, 0, 0, 1), "seed must"),
        ((0, 0, -1, 1), "start"),
        ((0, 0, 0, -1), "n must"),
        ((0, 0, 2**63 - 1, 2), "start"),
        ((0, 0, 0, 1, np.int32), "dtype must"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        random.uniform(*arguments)
    with pytest.raises(ValueError, match=message):
        random.uniform.specification(*arguments)
