"""Conversions of float16: every one of them, and every rounding beside NumPy's."""

import numpy as np
from agreement import SIZES, Case, agreement_tests, cases

from kernelmill.ops import half

ALL = np.arange(2**16, dtype=np.uint16)
FINITE = ALL[(ALL & 0x7C00) != 0x7C00]  # the payload of NaN is not specified


def rows(h):
    return h.view(np.uint8).reshape(-1, 2)


@cases("half.widen")
def widen():
    for n in (0, *SIZES):
        yield Case(f"{n}", (rows(np.random.default_rng(n).choice(FINITE, n)),))
    yield Case("all", (rows(FINITE),))
    yield Case("big", (rows(np.tile(FINITE, 5)),), big=True)


@cases("half.narrow")
def narrow():
    for n in (0, *SIZES):
        x = np.random.default_rng(n).normal(size=n) * 10.0 ** np.linspace(-9, 6, max(n, 1))[:n]
        yield Case(f"{n}", (x.astype(np.float32),))
    exact = FINITE.view(np.float16).astype(np.float32)
    yield Case("exact", (exact,))
    # Midway between neighbours and just beside it, where rounding is decided.
    order = np.sort(exact)
    middle = (order[1:] + order[:-1]) / 2
    yield Case("ties", (middle,))
    yield Case("above ties", (np.nextafter(middle, np.float32(np.inf)),))
    yield Case("below ties", (np.nextafter(middle, np.float32(-np.inf)),))
    ends = np.float32([65504, 65519.996, 65520, 65536, 1e30, np.inf, 2**-25, 2**-24, 1e-45, 0])
    yield Case("ends", (np.concatenate([ends, -ends]),))
    yield Case("big", (np.tile(exact, 5),), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("half")


def test_nan_stays_nan():
    every = ALL[np.isnan(ALL.view(np.float16))]
    assert np.isnan(half.widen(rows(every))).all()
    wide = np.array([0x7F800001, 0xFFC00000, 0x7FFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(half.narrow(wide).view(np.float16)).all()


def test_there_and_back_is_the_same():
    np.testing.assert_array_equal(half.narrow(half.widen(rows(FINITE))), rows(FINITE))
