"""k-means on CSR rows against its specification."""

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases, last_tie

from kernelmill.ops import sparse_kmeans


def csr(rng, n, d, density, dtype, index=np.int32):
    X = scipy.sparse.random(n, d, density, format="csr", rng=rng, dtype=np.float64)
    data = np.rint(X.data * 9 + 1).astype(dtype)
    return data, X.indices.astype(index), X.indptr.astype(index)


def shapes():
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        for n, d, k, index in ((1, 1, 1, np.int32), (33, 7, 8, np.int64), (200, 60, 17, np.int32)):
            C = rng.integers(-3, 9, (k, d)).astype(np.float64)
            yield f"{n} {d} {k} {dtype.__name__}", csr(rng, n, d, 0.3, dtype, index), C, False
        yield "no stored values", csr(rng, 9, 4, 0.0, dtype), np.eye(3, 4), False
        yield "no rows", csr(rng, 0, 4, 0.0, dtype), np.eye(3, 4), False
        repeated = (np.array([1, 2, 3], dtype), np.array([1, 1, 0], np.int32), np.array([0, 2, 3]))
        yield "repeated columns", (*repeated[:2], repeated[2].astype(np.int32)), np.eye(2, 3), False
        C = rng.integers(-3, 9, (30, 50)).astype(np.float64)
        yield "big", csr(rng, 20_000, 50, 0.1, dtype), C, True


@cases("sparse_kmeans.assign")
def assign():
    for name, X, C, big in shapes():
        yield Case(name, (*X, C), big=big)


@last_tie("sparse_kmeans.assign")
def assign_last(data, indices, indptr, centers):
    labels, squared = sparse_kmeans.assign.specification(data, indices, indptr, centers[::-1])
    return (len(centers) - 1 - labels).astype(np.int32), squared


@cases("sparse_kmeans.lloyd_step")
def lloyd_step():
    for name, X, C, big in shapes():
        w = np.random.default_rng(4).integers(0, 4, len(X[2]) - 1).astype(X[0].dtype)
        yield Case(name, (*X, C), big=big)
        yield Case(f"{name} weighted", (*X, C, w), big=big)


@last_tie("sparse_kmeans.lloyd_step")
def lloyd_step_last(data, indices, indptr, centers, sample_weight=None):
    sums, w, inertia, labels = sparse_kmeans.lloyd_step.specification(
        data, indices, indptr, centers[::-1], sample_weight
    )
    return sums[::-1], w[::-1], inertia, (len(centers) - 1 - labels).astype(np.int32)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("sparse_kmeans")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": np.array([0, 4], np.int32)}, r"indices must lie in \[0, 3\)"),
        ({"indices": np.array([0, -1], np.int32)}, r"indices must lie in \[0, 3\)"),
        ({"indices": np.array([0], np.int32)}, "indices"),
        ({"indptr": np.array([0, 1], np.int32)}, "indptr must"),
        ({"indptr": np.array([0, 2, 1, 2], np.int32)}, "indptr must never fall"),
        ({"centers": np.ones((0, 3))}, "centers must"),
        ({"data": np.array([1, 2])}, "data must be"),
    ],
)
def test_errors(change, message):
    good = {
        "data": np.ones(2),
        "indices": np.array([0, 2], np.int32),
        "indptr": np.array([0, 1, 2], np.int32),
        "centers": np.ones((2, 3)),
    }
    with pytest.raises(ValueError, match=rf"^sparse_kmeans\.assign: {message}"):
        sparse_kmeans.assign(*(good | change).values())
