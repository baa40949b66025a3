"""Hierarchies against merging the closest pair again and again."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import linkage, neighbors

SHAPES = ((2, 1), (3, 2), (31, 3), (33, 1), (64, 5), (65, 2), (150, 8))


def rows_of(n, d, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def bounds(n, heights):
    """Means of up to n rows, or updates one after another; heights are in the unit of the rows."""
    return (None, 2.0**-46 * (n + 8) * (np.abs(heights).max(initial=0) + 1), None)


def together(n, heights):
    return (*bounds(n, heights), bounds(n, heights)[1])


@cases("linkage.single")
def single():
    for dtype in DTYPES:
        for n, d in SHAPES:
            X = rows_of(n, d, dtype, n)
            for metric in (0, 1, 2, 3, 6):
                args = (X, n - 1, metric, 3.0)
                heights = linkage.single.specification(*args)[1]
                yield Case(f"{n} {d} {metric}", args, bounds=bounds(n, heights))
                # One row alone has a large floor: more of them would make ties.
                least = np.zeros(n)
                least[n // 2] = heights[-1] * 2
                args = (X, n - 1, metric, 3.0, least)
                if n == 2:
                    heights = linkage.single.specification(*args)[1]
                    yield Case(f"{n} {d} {metric} floor", args, bounds=bounds(n, heights))
        yield Case("no rows", (np.zeros((0, 2), dtype), 0))
        yield Case("one row", (np.zeros((1, 2), dtype), 0))
    X = rows_of(400, 3, np.float64)
    yield Case("big", (X, 399), bounds=bounds(400, np.ones(1)), big=True)


@cases("linkage.ward")
def ward():
    for dtype in DTYPES:
        for n, d in SHAPES:
            args = (rows_of(n, d, dtype, n) + dtype(10), n - 1)
            heights = linkage.ward.specification(*args)[1]
            # The formula of the specification takes differences of squares, and their root.
            yield Case(f"{n} {d}", args, bounds=(None, 2.0**-30 * (heights.max() + 1), None))
        yield Case("no rows", (np.zeros((0, 2), dtype), 0))
        yield Case("one row", (np.zeros((1, 2), dtype), 0))
    yield Case("big", (rows_of(400, 3, np.float64), 399), bounds=(None, 2.0**-30, None), big=True)


@cases("linkage.chain")
def chain():
    for n in (1, 2, 3, 20, 90):
        D = neighbors.distances_of(*2 * [rows_of(n, 3, np.float64, n)], 0, 2.0)
        given = D[np.triu_indices(n, 1)]
        for kind in range(4):
            args = (given, n - 1, kind)
            heights = linkage.chain.specification(given.copy(), n - 1, kind)[1]
            yield Case(f"{n} {kind}", args, bounds=together(n, heights), updated=(0,))
    yield Case("big", (given, n - 1, 1), bounds=together(n, heights), updated=(0,), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("linkage")


@pytest.mark.parametrize("k", [2, 5, 30])
def test_floors_raise_distances(rng, k):
    """Merges at equal heights come in some order: heights and sizes of parts below one decide."""
    X = rng.normal(size=(200, 3))
    D = neighbors.distances_of(X, X, 0, 2.0)
    least = np.sort(D, axis=1)[:, k - 1]
    heights = linkage.single(X, 199, 0, 2.0, least)[1]
    want = linkage.single.specification(X, 199, 0, 2.0, least)[1]
    np.testing.assert_allclose(heights, want, rtol=1e-13)


def test_refusals():
    X = np.zeros((3, 2))
    for twin in (linkage.single, linkage.ward, linkage.single.specification):
        with pytest.raises(ValueError, match=r"^linkage\.\w+: m must be 2, got 3"):
            twin(X, 3)
    with pytest.raises(ValueError, match=r"^linkage\.chain: distances must be 3 for 3 rows, got 2"):
        linkage.chain(np.zeros(2), 2, 0)
