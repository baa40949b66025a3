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


def graph(n, more, seed=0):
    """A path through all rows, and further pairs, in any order."""
    rng = np.random.default_rng(seed)
    path = np.sort(np.column_stack([order := rng.permutation(n), np.roll(order, 1)])[1:], axis=1)
    extra = np.sort(rng.integers(0, n, size=(more, 2)), axis=1)
    pairs = np.unique(np.concatenate([path, extra[extra[:, 0] < extra[:, 1]]]), axis=0)
    lower, upper = rng.permutation(pairs).T
    return lower.copy(), upper.copy()


@cases("linkage.connected")
def connected():
    for n, more in ((1, 0), (2, 0), (3, 3), (40, 0), (60, 90), (60, 1800)):
        lower, upper = graph(n, more, n)
        rng = np.random.default_rng(n)
        ties = rng.integers(0, 5, size=len(lower)).astype(float)
        for kind in range(3):
            for name, given in (("", rng.random(len(lower))), (" ties", ties)):
                if name and kind == linkage.AVERAGE:  # its means may differ in their last bits
                    continue
                args = (given, lower, upper, n - 1, kind)
                heights = linkage.connected.specification(*args)[1]
                bound = bounds(n, heights) if kind == linkage.AVERAGE else ()
                yield Case(f"{n} {more} {kind}{name}", args, bounds=bound)
    args = (*(np.random.default_rng(1).random(len(lower)),), lower, upper, n - 1, 0)
    yield Case("big", args, big=True)


@cases("linkage.connected_ward")
def connected_ward():
    for dtype in DTYPES:
        for n, d in ((0, 2), (1, 2), *SHAPES):
            lower, upper = graph(n, 2 * n, n) if n else (np.empty(0, np.int64),) * 2
            X = rows_of(n, d, dtype, n) + dtype(10)
            args = (X, lower, upper, max(n - 1, 0))
            heights = linkage.connected_ward.specification(*args)[1]
            yield Case(f"{n} {d}", args, bounds=bounds(n, heights))
            if d == 1:  # without a sum over features bits are the same, so ties are
                ties = np.random.default_rng(n).integers(0, 4, size=(n, 1)).astype(dtype)
                yield Case(f"{n} ties", (ties, *args[1:]))
    yield Case("big", (X, lower, upper, n - 1), bounds=bounds(n, heights), big=True)


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


def test_pairs_are_refused():
    far = np.arange(3.0)
    for twin in (linkage.connected, linkage.connected.specification):
        for lower, upper, shown in (
            ([0, 0, 1], [1, 3, 2], r"\(0, 3\)"),
            ([0, 2, 1], [1, 1, 2], r"\(2, 1\)"),
            ([0, -1, 1], [1, 1, 2], r"\(-1, 1\)"),
            ([0, 1, 0], [1, 2, 1], r"\(0, 1\)"),
        ):
            with pytest.raises(ValueError, match=f"pairs must be rows of 0 to 2, .* got {shown}"):
                twin(far, np.array(lower), np.array(upper), 2, 0)
        with pytest.raises(ValueError, match="pairs must connect all rows, got 2 parts"):
            twin(far[:2], np.array([0, 2]), np.array([1, 3]), 3, 0)
    for twin in (linkage.connected_ward, linkage.connected_ward.specification):
        with pytest.raises(ValueError, match=r"each pair once, got \(0, 5\)"):
            twin(np.ones((3, 1)), np.array([0]), np.array([5]), 2)
