"""Extents against their specification."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases

from kernelmill.ops import values


@cases("values.extent")
def extent():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for i, n in enumerate(SIZES):
            X = rng.normal(size=(n, SIZES[(5 * i) % len(SIZES)])).astype(dtype)
            yield Case(f"{X.shape} {dtype.__name__}", (X,))
            X = np.where(rng.uniform(size=X.shape) < 0.3, dtype(np.nan), X)
            yield Case(f"{X.shape} with gaps", (X,))
        yield Case("infinite", (np.array([[1, -np.inf], [np.nan, 0]], dtype),))
        yield Case("all missing", (np.full((70, 3), np.nan, dtype),))
        yield Case("empty", (np.empty((0, 3), dtype),))
        X = rng.normal(size=(40_000, 7)).astype(dtype)
        X[39_999, 6], X[::11, 3] = -9, np.nan
        yield Case("big", (X,), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("values")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 63, 65, 70_000])
def test_every_place_is_seen(dtype, n):
    wide = np.zeros((4, n), dtype)
    for X in (wide, wide.T, wide[:, ::-1], wide[::2], wide[:1], wide[:, :1]):
        for at in ((0, 0), (-1, -1)):
            X[at] = np.finfo(dtype).min
            assert values.extent(X) == (float(np.finfo(dtype).max), 0)
            X[at] = np.nan
            assert values.extent(X) == (0.0, 1)
            X[at] = 0
