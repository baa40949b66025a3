"""Second moments of rows against the specification, and the digits that an origin saves."""

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases

import kernelmill
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


@cases("moments.left_out")
def left_out():
    rng = np.random.default_rng(6)
    for dtype in DTYPES:

        def case(name, n, d, m, a, weighted=False, brief=False, X=None, big=False, dtype=dtype):
            X = rng.normal(3, 1, (n, d)).astype(dtype) if X is None else X
            Y, origin = rng.normal(size=(n, m)), rng.normal(3, 0.1, d + m)
            weight = rng.uniform(0, 2, n).astype(dtype) if weighted else None
            dense = X.toarray() if scipy.sparse.issparse(X) else X
            w = np.ones(n) if weight is None else weight.astype("f8")
            z = dense.astype("f8") - origin[:d]
            values, vectors = np.linalg.eigh((z * w[:, None]).T @ z)
            scales = 1 / (np.maximum(values, 0) + np.geomspace(1, 100, a)[:, None])
            right = vectors.T @ (z.T @ (w[:, None] * Y))
            share = 0.5 / max(n, 1)
            # A product rounds once a term, with sums of sizes; what is left of the row divides it.
            sizes = np.abs(z) @ np.abs(vectors)
            fitted = np.einsum("nr,ar,rm->anm", sizes, scales, np.abs(right))
            lever = w * (share + scales @ (sizes * sizes).T)
            z = z @ vectors
            kept = np.abs(1 - w * (share + scales @ (z * z).T))[:, :, None]
            spread = (np.abs(Y - origin[d:]) + fitted) * (1 + lever[:, :, None] / kept)
            each = 2.3e-16 * (2 * d + 8) * spread / kept + 1e-300
            sums = (
                w[:, None] * (2 * spread / kept * each + 2.3e-16 * n * (spread / kept) ** 2)
            ).sum(1)
            args = X, Y, origin, vectors, scales, right, share, brief, weight
            bounds = sums, each[:0] if brief else each
            return Case(f"{name} {n} {d} {m} {a}", args, bounds=bounds, big=big)

        for d, m, a in ((1, 1, 1), (3, 1, 3), (7, 2, 3), (8, 1, 5), (13, 3, 1), (14, 1, 2),
                        (15, 1, 17), (31, 1, 3), (65, 2, 3), (140, 1, 2)):  # fmt: skip
            yield case("dense", 37, d, m, a)
            yield case("weighted", 150, d, m, a, weighted=True, brief=d % 2 == 0)
        yield case("chunks", 2500, 6, 2, 3, weighted=True, big=True)
        yield case("no rows", 0, 3, 1, 2)
        yield case("no features", 5, 0, 1, 2)
        yield case("no targets", 5, 2, 0, 2)
        yield case("no penalties", 5, 2, 1, 0)
        yield case(
            "columns", 50, 6, 1, 2, X=np.asfortranarray(rng.normal(size=(50, 6)).astype(dtype))
        )
        csr = scipy.sparse.random(300, 40, 0.2, "csr", dtype, rng)
        yield case("CSR", 300, 40, 1, 3, weighted=True, X=csr)
        csr = csr.copy()
        csr.indices, csr.indptr = csr.indices.astype("i8"), csr.indptr.astype("i8")
        yield case("wide CSR", 300, 40, 2, 3, X=csr)


def of_classes(rng, dtype, n, d, k, weighted, spread=1.0):
    X = (rng.normal(3, spread, (n, d))).astype(dtype)
    labels = rng.integers(0, k, n)
    origins = rng.normal(3, 0.1, (k, d))
    return X, labels, origins, rng.uniform(0, 2, n).astype(dtype) if weighted else None


def class_bound(X, labels, origins, weight, power):
    """Each term is rounded a few times, each sum once a row."""
    n, k = len(X), len(origins)
    z = np.abs(np.nan_to_num(X.astype("f8") - origins[labels]))
    w = np.ones(n) if weight is None else weight.astype("f8")
    own = (labels == np.arange(k)[:, None]) * w
    size = own @ z if power == 1 else np.einsum("cn,np,nq->cpq", own, z, z)
    return 2.3e-16 * (n + 8) * size + 1e-300


SHAPES = ((1, 1, 1), (37, 3, 2), (130, 7, 5), (90, 8, 1), (200, 13, 3), (60, 31, 4), (0, 3, 2))


@cases("moments.class_products")
def class_products():
    rng = np.random.default_rng(2)
    for dtype in DTYPES:
        for pooled in (False, True):
            for weighted in (False, True):
                for n, d, k in (*SHAPES, (9001, 5, 3), (5, 0, 2), (700, 16, 40)):
                    X, labels, origins, weight = of_classes(rng, dtype, n, d, k, weighted)
                    bounds = [class_bound(X, labels, origins, weight, power) for power in (1, 2)]
                    if pooled:
                        bounds[1] = bounds[1].sum(0, keepdims=True)
                    yield Case(
                        f"{n} {d} {k} pooled {pooled}", (X, labels, origins, pooled, weight),
                        bounds=(2.3e-16 * 2 * n * n + 1e-300, *bounds), big=n > 9000,
                    )  # fmt: skip


@cases("moments.class_squares")
def class_squares():
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        for missing in (0.0, 0.3):
            for n, d, k in (*SHAPES, (40_000, 4, 3), (5, 0, 2)):
                X, labels, origins, weight = of_classes(rng, dtype, n, d, k, missing > 0)
                X[rng.random(X.shape) < missing] = np.nan
                first = class_bound(X, labels, origins, weight, 1)
                second = class_bound(np.nan_to_num(X - 0) ** 2 + 1, labels, 0 * origins, weight, 1)
                args = X, labels, origins, weight
                bounds = (2.3e-16 * 2 * n * n + 1e-300, first, 4 * second)
                yield Case(f"{n} {d} {k} missing {missing}", args, bounds=bounds, big=n > 9000)


@cases("moments.class_sums")
def class_sums():
    rng = np.random.default_rng(4)
    for dtype in DTYPES:
        for threshold in (np.nan, 0.0, 0.5):
            for n, d, k in (*SHAPES, (60_000, 4, 3), (5, 0, 2)):
                X, labels, origins, weight = of_classes(rng, dtype, n, d, k, n == 130)
                X = (X - 3).astype(dtype)
                bound = class_bound(np.abs(X) + 1, labels, 0 * origins, weight, 1)
                bounds = (2.3e-16 * 2 * n * n + 1e-300, bound, None)
                args = X, labels, k, threshold, weight
                yield Case(f"{n} {d} {k} above {threshold}", args, bounds=bounds, big=n > 9000)
            for n, d, k in ((90, 40, 3), (20_000, 60, 2)):
                csr = scipy.sparse.random(n, d, 0.1, "csr", dtype, rng)
                csr.data -= dtype(0.25)
                labels = rng.integers(0, k, n)
                weight = rng.uniform(0, 2, n).astype(dtype)
                bounds = (2.3e-16 * 4 * n * n, 2.3e-16 * 4 * n * n, None)
                args = csr, labels, k, threshold, weight
                yield Case(f"CSR {n} above {threshold}", args, bounds=bounds, big=n > 9000)
                wide = csr.copy()
                wide.indices, wide.indptr = wide.indices.astype("i8"), wide.indptr.astype("i8")
                yield Case(f"wide CSR {n}", (wide, *args[1:]), bounds=bounds)
    gaps = np.array([[np.nan, 2.0], [-1.0, np.nan]])
    yield Case("missing", (gaps, np.array([0, 0]), 1, 0.0))


@cases("moments.class_tallies")
def class_tallies():
    rng = np.random.default_rng(5)
    for dtype in DTYPES:
        for n, d, k in (*SHAPES, (50_000, 4, 3), (5, 0, 2)):
            sizes = rng.integers(1, 6, d)
            starts = np.concatenate([[0], np.cumsum(sizes)])
            X = rng.integers(-1, 7, (n, d)).astype(dtype)
            X[rng.random(X.shape) < 0.2] = np.nan
            X += dtype(0.5) * (rng.random(X.shape) < 0.1).astype(dtype)
            labels = rng.integers(0, k, n)
            tallies = np.full((k, int(starts[-1]) + 1), 0.25)
            weight = rng.integers(0, 4, n).astype(dtype) if n != 37 else None
            args = X, labels, starts, tallies, weight
            yield Case(f"{n} {d} {k}", args, updated=(3,), big=n > 9000)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("moments")


def test_an_origin_keeps_the_digits():
    rng = np.random.default_rng(1)
    X = 1e6 + rng.integers(-8, 9, (2000, 4)) / 8.0
    about = moments.products(X, np.empty((2000, 0)), np.full(4, 1e6))
    np.testing.assert_array_equal(about[:4, :4], (X - 1e6).T @ (X - 1e6))  # all exact


def test_an_origin_of_another_length_is_refused():
    X, Y, origin, V = np.ones((3, 2)), np.ones((3, 1)), np.zeros(2), np.eye(2)
    for backend in ("cpu", "numpy"):
        for call in (
            lambda: moments.products(X, Y, origin),
            lambda: moments.left_out(X, Y, origin, V, np.ones((1, 2)), np.ones((2, 1)), 0.1),
        ):
            words = r"origin must have shape \(d \+ m,\), got \(2,\) for d = 2 and m = 1"
            with kernelmill.backend(backend), pytest.raises(ValueError, match=words):
                call()


def test_rows_left_out_are_fits_without_them():
    rng = np.random.default_rng(7)
    X, Y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    w, alphas = rng.integers(1, 4, 12).astype(float), np.array([0.5, 20.0])
    mean = np.concatenate([np.average(A, axis=0, weights=w) for A in (X, Y)])
    Z, T = X - mean[:3], Y - mean[3:]
    values, V = np.linalg.eigh((Z * w[:, None]).T @ Z)
    given = mean, V, 1 / (values + alphas[:, None]), V.T @ (Z * w[:, None]).T @ T, 1 / w.sum()
    errors, residuals = moments.left_out(X, Y, *given, sample_weight=w)
    for a, alpha in enumerate(alphas):
        for i in range(12):
            own = np.where(np.arange(12) == i, 0, w)
            centre = np.average(X, axis=0, weights=own), np.average(Y, axis=0, weights=own)
            A, B = X - centre[0], Y - centre[1]
            G = (A * own[:, None]).T @ A + alpha * np.eye(3)
            coef = np.linalg.solve(G, (A * own[:, None]).T @ B)
            np.testing.assert_allclose(residuals[a, i], B[i] - A[i] @ coef, rtol=1e-9)
    np.testing.assert_allclose(errors, np.einsum("n,anm->am", w, residuals**2), rtol=1e-12)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_of_no_class_are_refused(label):
    X, labels = np.ones((3, 2)), np.array([0, 1, label])
    words = f"labels must be from 0 to 1, got {label}"
    for call in (
        lambda: moments.class_products(X, labels, np.zeros((2, 2))),
        lambda: moments.class_squares(X, labels, np.zeros((2, 2))),
        lambda: moments.class_sums(X, labels, 2),
        lambda: moments.class_tallies(X, labels, np.array([0, 2, 4]), np.zeros((2, 4))),
    ):
        for backend in ("cpu", "numpy"):
            with kernelmill.backend(backend), pytest.raises(ValueError, match=words):
                call()


def test_starts_that_fall_are_refused():
    X, labels = np.ones((3, 2)), np.array([0, 1, 1])
    for starts in ([0, 3, 2], [0, 2, 5]):
        for backend in ("cpu", "numpy"):
            with kernelmill.backend(backend), pytest.raises(ValueError, match="starts must rise"):
                moments.class_tallies(X, labels, np.array(starts), np.zeros((2, 4)))


@pytest.mark.parametrize("column", [5, -1, 2**31 - 1])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_columns_beyond_the_last_are_refused(column, index):
    X = scipy.sparse.random(40, 5, 0.5, "csr", rng=np.random.default_rng(0))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    X.indices[-1] = column
    labels = np.zeros(40, dtype=np.int64)
    for call in (
        lambda: moments.class_sums(X, labels, 1),
        lambda: moments.products(X, np.empty((40, 0)), np.zeros(5)),
        lambda: moments.left_out(
            X, np.empty((40, 0)), np.zeros(5), np.eye(5), np.ones((1, 5)), np.empty((5, 0)), 0.1
        ),
    ):
        with pytest.raises(ValueError, match=r"X.indices must lie in \[0, 5\)"):
            call()
