"""Second moments of rows against the specification, and the digits that an origin saves."""

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import moments


def bounded(X, Y, origin, weight=None):
    """Each product is rounded once, each sum once a row."""
    n = X.shape[0]
    X = X.toarray() if scipy.sparse.issparse(X) else X
    z = np.abs(np.hstack([X.astype("f8") - origin[: X.shape[1]], Y - origin[X.shape[1] :]]))
    z = np.hstack([z, np.ones((n, 1))])
    w = np.ones(n) if weight is None else weight.astype("f8")
    return 2.3e-16 * (n + 4) * ((z * w[:, None]).T @ z) + 1e-300


@cases("moments.products")
def products():
    rng = np.random.default_rng(0)
    for dtype in DTYPES:

        def case(name, n, d, m, weighted=False, moved=True, X=None, big=False, dtype=dtype):
            X = rng.normal(3, 1, (n, d)).astype(dtype) if X is None else X
            Y = rng.normal(size=(n, m))
            origin = rng.normal(3, 0.1, d + m) if moved else np.zeros(d + m)
            weight = rng.uniform(0, 2, n).astype(dtype) if weighted else None
            args = X, Y, origin, weight
            return Case(f"{name} {n} {d} {m}", args, bounds=(bounded(*args),), big=big)

        for d, m in ((1, 0), (3, 1), (7, 1), (8, 2), (13, 1), (14, 0), (16, 3), (31, 1), (65, 2)):
            yield case("dense", 37, d, m)
            yield case("weighted", 130, d, m, weighted=True)
        yield case("blocks", 700, 5, 1, weighted=True)
        yield case("chunks", 9001, 6, 1, weighted=True, big=True)
        yield case("wide", 260, 530, 1, weighted=True, big=True)
        yield case("no rows", 0, 3, 1)
        yield case("no features", 5, 0, 1)
        whole = rng.integers(-3, 4, (40, 9)).astype(dtype)
        yield case("whole numbers", 40, 9, 0, moved=False, X=whole)
        yield case("columns", 50, 6, 1, X=np.asfortranarray(rng.normal(size=(50, 6)).astype(dtype)))
        for density, moved in ((0.05, False), (0.05, True), (0.7, False)):
            csr = scipy.sparse.random(90, 40, density, "csr", dtype, rng)
            yield case(f"CSR {density}", 90, 40, 1, weighted=True, moved=moved, X=csr)
            csr = csr.copy()
            csr.indices, csr.indptr = csr.indices.astype("i8"), csr.indptr.astype("i8")
            yield case(f"wide CSR {density}", 90, 40, 0, moved=moved, X=csr)
        data = np.ones(5, dtype), np.array([2, 0, 2, 1, 1], "i4"), np.array([0, 3, 5], "i4")
        repeated = scipy.sparse.csr_matrix(data, shape=(2, 40))
        yield case("CSR repeated", 2, 40, 1, moved=False, X=repeated)
        csr = scipy.sparse.random(5000, 60, 0.02, "csr", dtype, rng)
        yield case("CSR chunks", 5000, 60, 1, weighted=True, moved=False, X=csr, big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("moments")


def test_an_origin_keeps_the_digits():
    rng = np.random.default_rng(1)
    X = 1e6 + rng.integers(-8, 9, (2000, 4)) / 8.0
    about = moments.products(X, np.empty((2000, 0)), np.full(4, 1e6))
    np.testing.assert_array_equal(about[:4, :4], (X - 1e6).T @ (X - 1e6))  # all exact


def test_an_origin_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"origin must have shape \(d \+ m,\)"):
        moments.products(np.ones((3, 2)), np.ones((3, 1)), np.zeros(2))
