"""Distance sums by cluster against their specification."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

from kernelmill.ops import silhouette


def bound(X, Y, offsets):
    S = silhouette.cluster_distance_sums.specification(X, Y, offsets)
    return (4 * (X.shape[1] + 8) * eps(X) * S,)


def make(rng, n, m, d, k, dtype, origin=0.0):
    X = (rng.normal(size=(n, d)) + origin).astype(dtype)
    Y = (rng.normal(size=(m, d)) + origin).astype(dtype)
    cuts = np.sort(rng.integers(0, m + 1, k - 1))
    offsets = np.concatenate([[0], cuts, [m]]).astype(np.int64)
    return (X, Y, offsets)


@cases("silhouette.cluster_distance_sums")
def cluster_distance_sums():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for i, n in enumerate(SIZES):
            args = make(rng, n, SIZES[-1 - i], SIZES[(5 * i) % len(SIZES)], 1 + i, dtype)
            yield Case(f"{n} {dtype.__name__}", args, bounds=bound(*args))
        args = make(rng, 70, 90, 5, 4, dtype, origin=1e4)
        yield Case("far from zero", args, bounds=bound(*args))
        X, Y, offsets = make(rng, 33, 40, 3, 3, dtype)
        X[5] = np.nan
        yield Case("NaN", (X, Y, offsets), bounds=bound(X, Y, offsets))
        one = np.ones((3, 2), dtype)
        yield Case("no rows", (one[:0], one, np.array([0, 3])))
        yield Case("no others", (one, one[:0], np.array([0, 0])))
        args = make(rng, 3000, 300, 6, 5, dtype)
        yield Case("big", args, bounds=bound(*args), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("silhouette")


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 2, 1, 3], []])
def test_offset_errors(offsets):
    X = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"^silhouette\.cluster_distance_sums: offsets must"):
        silhouette.cluster_distance_sums(X, X, np.array(offsets, dtype=np.int64))
