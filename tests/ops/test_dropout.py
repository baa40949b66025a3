"""Dropout: the same mask from the specification and every implementation."""

import numpy as np
import pytest
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

from kernelmill.ops import dropout

STREAMS = ((0, 0), (2**64 - 1, 2**63))


@cases("dropout.dropout")
def drop():
    for dtype in DTYPES:
        rng = np.random.default_rng(1)
        for i, n in enumerate((0, *SIZES, 300)):
            k = (0, *SIZES, 200)[-1 - i]
            x = (3 + rng.normal(size=(n, k))).astype(dtype)
            for rows in (False, True):
                for p in (0.0, 0.3, 0.7, 1.0):
                    arguments = (x, p, *STREAMS[i % 2], 1.25, 0.5, -1.5, rows)
                    bound = 2 * eps(x) * (np.abs(x) * 1.25 + 1.5)
                    yield Case(f"{n} {k} {p} {rows}", arguments, bounds=(bound,))
        x = (3 + rng.normal(size=(300, 250))).astype(dtype)
        for rows in (False, True):
            yield Case("big", (x, 0.5, 7, 3, 2.0, 0.0, 0.0, rows), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("dropout")


def test_dropped_entries_leave_no_trace():
    x = np.full((1, 1000), np.inf)
    y = dropout.dropout(x, 0.5, 1, 0)
    assert set(y.ravel()) == {0.0, np.inf}
    assert (dropout.dropout(np.full((3, 40), np.nan), 1.0, 1, 0) == 0).all()


def test_the_share_that_is_kept():
    y = dropout.dropout(np.ones((1, 1_000_000)), 0.3, 5, 2)
    assert abs(y.mean() - 0.7) < 5 * np.sqrt(0.21 / 1e6)
    other = dropout.dropout(np.ones((1, 1_000_000)), 0.3, 5, 3)
    assert abs((y * other).mean() - 0.49) < 5 * np.sqrt(0.25 / 1e6)  # streams are independent


def test_the_mask_does_not_depend_on_shape_or_dtype():
    whole = dropout.dropout(np.ones((1, 600)), 0.4, 1, 9)
    for shape in ((20, 30), (600, 1), (3, 200)):
        part = dropout.dropout(np.ones(shape, np.float32), 0.4, 1, 9)
        np.testing.assert_array_equal(part.reshape(1, 600), whole)


@pytest.mark.parametrize("p", [-0.1, 1.5, np.nan])
def test_p_is_a_probability(p):
    for op in (dropout.dropout, dropout.dropout.specification):
        with pytest.raises(ValueError, match=r"^dropout\.dropout: p must be in \[0, 1\], got "):
            op(np.ones((1, 1)), p, 0, 0)
