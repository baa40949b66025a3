"""Kernel functions against their specification."""

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, SIZES, Case, agreement_tests, cases, eps

from kernelmill.ops import kernels

SETTINGS = (  # kind, gamma, coef0, degree
    (0, 1.0, 0.0, 1.0),
    (1, 0.3, 1.0, 3.0),
    (1, 0.3, 0.0, 2.0),
    (1, 0.1, 2.0, 2.5),
    (2, 0.05, 0.0, 0.0),
    (3, 0.02, 0.1, 0.0),
    (4, 0.03, 0.0, 0.0),
    (5, 0.3, 0.0, 0.0),
)


def bound(X, Y, settings):
    """Roundings of sums of d terms, of their function, and of differences from zero."""
    kind, gamma, coef0, degree = settings
    d = X.shape[1]
    K = kernels.matrix.specification(X, Y, *settings).astype(np.float64)
    A, B = np.abs(X.astype(np.float64)), np.abs(Y.astype(np.float64))
    products = A @ B.T
    size = 8 * (d + 8) * eps(X)
    if kind == 0:
        return size * products
    if kind == 1:
        inner = gamma * products + coef0
        return size * (1 + degree) * inner**degree
    if kind == 3:
        return size * (1 + gamma * products + coef0)
    return 8 * size * (K * (1 + np.abs(np.log(np.maximum(K, 1e-300))))) + np.finfo(X.dtype).tiny


def rows(rng, n, d, dtype):
    return np.abs(rng.normal(size=(n, d))).astype(dtype)


def sparse(rng, n, d, dtype):
    """Half of the entries, one of them in two parts and columns out of order."""
    X = rows(rng, n, d, dtype) * (rng.random((n, d)) < 0.5)
    made = scipy.sparse.csr_matrix(X)
    data = np.concatenate([made.data / 2, made.data / 2])
    of = np.repeat(np.arange(n), np.diff(made.indptr))
    order = np.argsort(np.concatenate([of, of]), kind="stable")
    columns = np.concatenate([made.indices, made.indices])[order]
    return scipy.sparse.csr_matrix((data[order], columns, 2 * made.indptr), (n, d))


def pairs():
    for dtype in DTYPES:
        rng = np.random.default_rng(2)
        for i, n in enumerate(SIZES[::3]):
            m, d = SIZES[-1 - 3 * i], SIZES[(3 * i) % 13]
            yield f"{n} {m} {d}", rows(rng, n, d, dtype), rows(rng, m, d, dtype), False
        X = rows(rng, 65, 20, dtype) + dtype(1000)
        Y = X[::2].copy()
        Y[::3] = np.nextafter(Y[::3], np.inf, dtype=dtype)
        yield "far from zero", X, Y, False
        yield "no rows", np.ones((0, 3), dtype), np.ones((4, 3), dtype), False
        yield "no columns", np.ones((3, 0), dtype), np.ones((4, 0), dtype), False
        yield "big", rows(rng, 300, 3, dtype), rows(rng, 1100, 3, dtype), True
        for n, m, d in ((1, 1, 1), (33, 17, 9), (40, 100, 31)):
            yield f"csr {n} {m} {d}", sparse(rng, n, d, dtype), sparse(rng, m, d, dtype), False


def dense(X):
    return X.toarray() if scipy.sparse.issparse(X) else X


@cases("kernels.matrix")
def matrix():
    for name, X, Y, big in pairs():
        for settings in SETTINGS:
            if name == "far from zero" and settings[0] in (1, 3):
                continue  # the function of a large product says nothing
            allowed = bound(dense(X), dense(Y), settings)
            yield Case(f"{name} {settings}", (X, Y, *settings), bounds=(allowed,), big=big)


@cases("kernels.apply")
def apply():
    rng = np.random.default_rng(3)
    for name, X, Y, big in pairs():
        for settings in SETTINGS:
            if name == "far from zero" and settings[0] in (1, 3):
                continue
            for k in (1, 3):
                coef = rng.normal(size=(Y.shape[0], k))
                allowed = bound(dense(X), dense(Y), settings)
                # Values are computed in the dtype of X, then summed in float64.
                K = np.abs(kernels.matrix.specification(dense(X), dense(Y), *settings))
                allowed = (allowed + eps(dense(X)) * K) @ np.abs(coef)
                case = (X, Y, coef, *settings)
                yield Case(f"{name} {settings} {k}", case, bounds=(allowed,), big=big)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("kernels")


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_symmetric_and_exact_between_equal_rows(dtype):
    X = np.random.default_rng(0).normal(size=(300, 7)).astype(dtype) + dtype(50)
    for settings in SETTINGS[:-1]:
        K = kernels.matrix(X, X, *settings)
        assert settings[0] == 1 or K.tobytes() == np.ascontiguousarray(K.T).tobytes(), settings
        if settings[0] in (2, 4):
            np.testing.assert_array_equal(K.diagonal(), 1)


def test_nan_and_infinity_propagate():
    X = np.ones((20, 3))
    X[3, 1], X[5, 2] = np.nan, np.inf
    for settings in SETTINGS:
        for Y in (np.ones((17, 3)), X):
            with np.errstate(all="ignore"):
                want = kernels.matrix.specification(X, Y, *settings)
            got = kernels.matrix(X, Y, *settings)
            np.testing.assert_array_equal(np.isnan(got[3]), np.isnan(want[3]), str(settings))


def test_dense_and_sparse_are_not_mixed():
    X = np.ones((2, 3))
    for op in (kernels.matrix, kernels.matrix.specification):
        with pytest.raises(ValueError, match="X and Y must all be arrays or all be CSR"):
            op(X, scipy.sparse.csr_matrix(X), 0)
        with pytest.raises(ValueError, match="X and Y must all be arrays or all be CSR"):
            op(scipy.sparse.csr_matrix(X), X, 0)
