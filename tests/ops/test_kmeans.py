"""k-means ops against their specification."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from agreement import DTYPES, Case, agreement_tests, cases, eps, last_tie

from kernelmill.ops import kmeans

SHAPES = (  # n, d, k: around lanes, panels, tiles and depth chunks
    (1, 1, 1), (2, 1, 2), (7, 3, 2), (15, 4, 13), (16, 5, 14), (17, 7, 15), (31, 8, 16),
    (32, 9, 17), (33, 16, 28), (65, 17, 29), (258, 33, 31), (100, 520, 3), (40, 1100, 20),
    (131, 9, 129), (70, 5, 257),
)  # fmt: skip


def integers(n, d, dtype, seed=0, high=9):
    """Small integers: every sum and product is exact, and ties are many."""
    rng = np.random.default_rng([seed, n, d])
    return rng.integers(-high, high + 1, (n, d)).astype(dtype)


def blobs(n, d, k, dtype, seed=0, origin=0.0):
    """Clusters far apart, so that no rounding decides a label; `origin` moves all of them."""
    rng = np.random.default_rng([seed, n, d, k])
    means = rng.permuted(np.tile(np.arange(k) * 16.0, (d, 1)), axis=1).T + origin
    X = means[rng.integers(0, k, n)] + rng.uniform(-1, 1, (n, d))
    return X.astype(dtype), means + rng.uniform(-1, 1, (k, d))


def weights(n, dtype, seed=1):
    w = np.random.default_rng([seed, n]).integers(0, 4, n).astype(dtype)
    if n:
        w[0] = 1
    return w


def sum_bounds(X, centers, w=None):
    """Rounding of float64 sums over n rows, and of squared differences of d terms (inertia)."""
    n, d = X.shape
    w = np.ones(n) if w is None else w.astype(np.float64)
    u = np.finfo(np.float64).eps
    total = (w[:, None] * np.abs(X.astype(np.float64))).sum(axis=0)
    spread = (np.abs(X).max(initial=0) + np.abs(centers).max()) ** 2 * d
    return (2 * n * u * total, 2 * n * u * w.sum(), 4 * (n + d) * u * spread * max(w.sum(), 1))


def nearest_within_rounding(X, centers):
    """A label is right when its center is nearest up to the documented score error."""
    n, d = X.shape
    middle = centers.mean(axis=0)
    x, c = X.astype(np.float64) - middle, centers - middle
    squared = ((x[:, None, :] - c[None, :, :]) ** 2).sum(axis=2)
    reach = np.sqrt((x**2).sum(axis=1)) + 2 * np.sqrt((c**2).sum(axis=1).max())
    slack = 4 * (d + 8) * eps(X) * reach**2

    def compare(got, want):
        labels, distance = got
        assert labels.dtype == np.int32
        assert ((labels >= 0) & (labels < len(centers))).all()
        chosen = squared[np.arange(n), labels]
        worst = (chosen - squared.min(axis=1) - slack).max(initial=-1)
        assert worst <= 0, f"a label is off by {worst} beyond rounding"
        allowed = (d + 4) * eps(X) * chosen + eps(X) * 1e-6
        np.testing.assert_array_less(np.abs(distance - chosen), allowed + 1e-300)

    return compare


def unspecified_in_rows(bad, centers):
    """Rows with NaN or inf have any label within range, and a distance of NaN or inf."""

    def compare(got, want):
        labels, distance = got
        assert ((labels >= 0) & (labels < len(centers))).all()
        assert not np.isfinite(distance[bad]).any()
        np.testing.assert_array_equal(np.delete(labels, bad), np.delete(want[0], bad))
        u = eps(distance)
        rest = np.delete(distance, bad), np.delete(want[1], bad)
        np.testing.assert_allclose(*rest, rtol=(centers.shape[1] + 4) * u, atol=u * 1e-6)

    return compare


def sparse_rows():
    """CSR matrices of small integers, with indices of both widths, and centers for them."""
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        for n, d, k, density, index in (
            (1, 1, 1, 0.3, np.int32),
            (33, 7, 8, 0.3, np.int64),
            (200, 60, 17, 0.3, np.int32),
            (9, 4, 3, 0.0, np.int32),
            (0, 4, 3, 0.0, np.int64),
            (20_000, 50, 30, 0.1, np.int32),
        ):
            X = scipy.sparse.random_array((n, d), density=density, format="csr", rng=rng)
            arrays = np.rint(X.data * 9 + 1).astype(dtype), X.indices, X.indptr
            X = scipy.sparse.csr_array(arrays, (n, d))
            X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
            C = rng.integers(-3, 9, (k, d)).astype(np.float64)
            yield f"CSR {n} {d} {k} {dtype.__name__}", X, C, n > 1000
        repeated = np.array([1, 2, 3], dtype), np.array([1, 1, 0]), np.array([0, 2, 3])
        yield "CSR repeated columns", scipy.sparse.csr_array(repeated, (2, 3)), np.eye(2, 3), False
        yield "CSR matrix", scipy.sparse.csr_matrix(np.eye(3, 4, dtype=dtype)), np.eye(3, 4), False


@cases("kmeans.assign")
def assign():
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            X = integers(n, d, dtype)
            yield Case(f"integers {n} {d} {k} {dtype.__name__}", (X, integers(k, d, np.float64, 7)))
        rng = np.random.default_rng(3)
        for n, d, k, origin in ((257, 5, 33, 0.0), (129, 40, 100, 1e4), (64, 700, 15, -3.0)):
            X = (rng.normal(size=(n, d)) + origin).astype(dtype)
            C = rng.normal(size=(k, d)) + origin
            yield Case(f"normal {n} {d} {k}", (X, C), compare=nearest_within_rounding(X, C))
        yield Case("all tied", (np.zeros((37, 3), dtype), np.ones((20, 3))))
        yield Case("no rows", (np.zeros((0, 3), dtype), np.ones((2, 3))))
        yield Case("no columns", (np.zeros((5, 0), dtype), np.ones((2, 0))))
        for bad in (np.nan, np.inf):
            X = np.random.default_rng(0).normal(size=(100, 3)).astype(dtype)
            C = X[1:9].astype(np.float64)
            X[[0, 50, 99], 1] = bad
            yield Case(f"{bad} in three rows", (X, C), compare=unspecified_in_rows([0, 50, 99], C))
        X, C = integers(60_000, 3, dtype, 4), integers(40, 3, np.float64, 8)
        yield Case("big", (X, C), big=True)
    for name, X, C, big in sparse_rows():
        yield Case(name, (X, C), big=big)


@last_tie("kmeans.assign")
def assign_last(X, centers):
    labels, squared = kmeans.assign.specification(X, centers[::-1])
    return (len(centers) - 1 - labels).astype(np.int32), squared


@cases("kmeans.lloyd_step")
def lloyd_step():
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            X, C = integers(n, d, dtype), integers(k, d, np.float64, 7)
            yield Case(f"integers {n} {d} {k} {dtype.__name__}", (X, C))
            yield Case(f"weighted {n} {d} {k}", (X, C, weights(n, dtype)))
        for origin in (0.0, 1e4):
            X, C = blobs(333, 6, 11, dtype, origin=origin)
            yield Case(f"blobs at {origin}", (X, C), bounds=sum_bounds(X, C))
        yield Case("no rows", (np.zeros((0, 3), dtype), np.ones((2, 3))))
        X, C = blobs(60_000, 4, 40, dtype)
        w = np.random.default_rng(5).random(len(X)).astype(dtype)
        yield Case("big", (X, C, w), bounds=sum_bounds(X, C, w), big=True)
    for name, X, C, big in sparse_rows():
        yield Case(name, (X, C), big=big)
        yield Case(f"{name} weighted", (X, C, weights(X.shape[0], X.dtype)), big=big)


@last_tie("kmeans.lloyd_step")
def lloyd_step_last(X, centers, sample_weight=None):
    sums, w, inertia = kmeans.lloyd_step.specification(X, centers[::-1], sample_weight)
    return sums[::-1], w[::-1], inertia


def compare_lloyd(X):
    """Centers within rounding of float64, counts and labels equal, bounds true."""

    def compare(got, want):
        centers, w, steps, shift, status, labels, bounds = got
        scale = np.abs(want[0]).max() + 1
        np.testing.assert_allclose(centers, want[0], rtol=0, atol=1e-11 * scale)
        np.testing.assert_allclose(w, want[1], rtol=1e-12, atol=0)
        assert (steps, status) == (want[2], want[4])
        assert abs(shift - want[3]) <= 1e-9 * (scale**2)
        np.testing.assert_array_equal(labels, want[5])
        if len(bounds):
            distance = np.sqrt(((X.astype(np.float64)[:, None] - centers) ** 2).sum(axis=2))
            rows = np.arange(len(X))
            own = distance[rows, labels].copy()
            distance[rows, labels] = np.inf
            tiny = 1e-12 * scale
            assert (bounds[:, 0] >= own - tiny).all(), "an upper bound is below the distance"
            assert (bounds[:, 1] <= distance.min(axis=1) + tiny).all(), "a lower bound is above"

    return compare


@cases("kmeans.lloyd")
def lloyd():
    for dtype in DTYPES:
        for bounded in (False, True):
            for n, d, k, steps in ((1, 1, 1, 3), (40, 2, 3, 1), (40, 2, 3, 50), (333, 6, 11, 4),
                                   (258, 40, 33, 30)):  # fmt: skip
                X, C = blobs(n, d, k, dtype)
                labels = np.full(n, -1, np.int32)
                bounds = np.tile(np.array([np.inf, 0], dtype), (n if bounded else 0, 1))
                yield Case(
                    f"{n} {d} {k} x{steps} {dtype.__name__} bounded={bounded}",
                    (X, C, labels, bounds.reshape(-1, 2)),
                    {"n_steps": steps, "sample_weight": weights(n, dtype)},
                    updated=(2, 3),
                    compare=compare_lloyd(X),
                )
            X = integers(30, 2, dtype)
            C = np.array([[0.0, 0.0], [100.0, 100.0], [1.0, 0.0]])
            start = (X, C, np.full(30, -1, np.int32), np.empty((0, 2), dtype))
            yield Case("empty cluster", start, {"n_steps": 9}, updated=(2, 3),
                       compare=compare_lloyd(X))  # fmt: skip
        # The second of two equal centers is at distance 0, the only true lower bound.
        far, labels = X[:20].astype(np.float64) + 0.25, np.full(30, -1, np.int32)
        far[7] = 1e6  # of no row: an origin there would cost every digit
        yield Case("a far center", (X, far, labels, np.empty((0, 2), dtype)), {"n_steps": 3},
                   updated=(2, 3), compare=compare_lloyd(X))  # fmt: skip
        X, bounds = np.ones((9, 2), dtype), np.tile(np.array([np.inf, 0], dtype), (9, 1))
        yield Case("equal centers", (X, np.ones((2, 2)), np.full(9, -1, np.int32), bounds),
                   updated=(2, 3), compare=compare_lloyd(X))  # fmt: skip
        X, C = blobs(60_000, 4, 40, dtype)
        bounds = np.tile(np.array([np.inf, 0], dtype), (len(X), 1))
        yield Case("big", (X, C, np.full(len(X), -1, np.int32), bounds), {"n_steps": 3},
                   updated=(2, 3), compare=compare_lloyd(X), big=True)  # fmt: skip


@cases("kmeans.restarts")
def restarts():
    rng = np.random.default_rng(13)
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            X, _ = blobs(n, d, k, dtype)
            _, first = np.unique(X.round(-1), axis=0, return_index=True)
            k = len(first)  # one row of each cluster: no run leaves one empty
            starts = np.stack([rng.permutation(first) for _ in range(3)]).astype(np.int64)
            for w in (None, weights(n, dtype) + dtype(1)):
                yield Case(f"{n} {d} {k} {dtype.__name__}", (X, starts, w), {"max_steps": 4},
                           compare=compare_restarts(X))  # fmt: skip
        X = integers(40, 3, dtype)
        X = np.repeat(X, 2, axis=0)
        yield Case("same start twice", (X, np.zeros((2, 2), np.int64)), compare=compare_restarts(X))
        X = X[::2]
        yield Case("tol", (X, rng.integers(0, 40, (3, 2)), weights(40, dtype), 50, 1.0),
                   compare=compare_restarts(X))  # fmt: skip
        corners = np.array([[0], [1], [10], [11]], dtype)
        starts = np.array([[0, 1], [0, 2], [0, 0]])  # steps run out, no label changes, one empty
        yield Case("three ends", (corners, starts), {"max_steps": 2},
                   compare=compare_restarts(corners))  # fmt: skip
        yield Case("no runs", (X, np.empty((0, 2), np.int64)))
        yield Case("no steps", (X, np.array([[3, 4], [0, 9]]), None, 0))
        X, _ = blobs(20_000, 3, 12, dtype)
        _, first = np.unique(X.round(-1), axis=0, return_index=True)
        yield Case("big", (X, np.stack([first, first[::-1]])), {"max_steps": 3},
                   compare=compare_restarts(X), big=True)  # fmt: skip


def compare_restarts(X):
    def compare(got, want):
        for part in (1, 3, 4):  # labels, steps, status
            np.testing.assert_array_equal(got[part], want[part])
        top = np.abs(X).max()
        off = 4e-16 * len(X) * top  # of a center
        np.testing.assert_allclose(got[0], want[0], rtol=0, atol=off)
        slack = 16 * (X.shape[1] + 4) * eps(X)
        moved = 2 * off * np.sqrt(X.shape[1] * want[2].max(initial=0))
        np.testing.assert_allclose(got[2], want[2], rtol=slack, atol=slack * 1e-3 * top**2 + moved)

    return compare


@cases("kmeans.plus_plus")
def plus_plus():
    rng = np.random.default_rng(11)
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            X = integers(n, d, dtype, high=40)
            u = rng.random((min(n, k, 8) + 2, 1 + k % 4))  # for few rows, more seeds than rows
            yield Case(f"{n} {d} {k} {dtype.__name__}", (X, u))
            yield Case(f"{n} {d} {k} weighted", (X, u, weights(n, dtype)))
        yield Case("equal rows", (np.ones((50, 3), dtype), rng.random((4, 2))))
        X = integers(90, 2, dtype, high=40)
        yield Case("largest uniforms", (X, np.full((4, 2), 1 - 2.0**-53), weights(90, dtype)))
        yield Case("smallest uniforms", (X, np.zeros((4, 1)), weights(90, dtype)))
        few = np.repeat(X[:2], 200, axis=0)
        yield Case("fewer distinct rows than seeds", (few, rng.random((6, 9))))
        yield Case("several", (X, rng.random((3, 5, 4))))
        yield Case("several weighted", (X, rng.random((2, 4, 1)), weights(90, dtype)))
        yield Case("several, none", (X, rng.random((0, 4, 1))))
        yield Case("no seeds", (np.ones((5, 3), dtype), rng.random((0, 2))))
        yield Case("big", (integers(20_000, 3, dtype, high=99), rng.random((3, 9))), big=True)


@cases("kmeans.minibatch_step")
def minibatch_step():
    rng = np.random.default_rng(12)
    for dtype in DTYPES:
        for n, d, k in SHAPES:
            X, C = integers(n, d, dtype), integers(k, d, np.float64, 7)
            rows = rng.integers(0, n, 2 * n)
            seen = rng.integers(0, 5, k).astype(np.float64)
            w = weights(n, dtype)
            bounds = (1e-13 * (np.abs(C).max() + 10), None, None)
            yield Case(f"{n} {d} {k} {dtype.__name__}", (X, rows, C, seen), bounds=bounds)
            yield Case(f"{n} {d} {k} weighted", (X, rows, C, seen, w), bounds=bounds)
        empty = np.empty(0, np.int64)
        yield Case("empty batch", (np.ones((4, 2), dtype), empty, np.ones((3, 2)), np.zeros(3)))
        X, C = integers(50_000, 3, dtype), integers(40, 3, np.float64, 8)
        rows = rng.integers(0, len(X), 60_000)
        yield Case("big", (X, rows, C, np.ones(40)), bounds=(1e-12, None, None), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("kmeans")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d", "k"), [(5000, 3, 20), (3000, 30, 64), (2000, 300, 17)])
def test_bounds_change_no_bit(n, d, k, dtype):
    """Pruned Lloyd equals plain Lloyd to the bit, on data without structure and far from 0."""
    rng = np.random.default_rng([n, d])
    X = (rng.normal(size=(n, d)) + 50).astype(dtype)
    C = X[:k].astype(np.float64)
    outcomes = []
    for bounded in (False, True):
        labels = np.full(n, -1, np.int32)
        bounds = np.tile(np.array([np.inf, 0], dtype), (n if bounded else 0, 1)).reshape(-1, 2)
        first = kmeans.lloyd(X, C, labels, bounds, n_steps=3)
        last = kmeans.lloyd(X, first[0], labels, bounds, n_steps=40)
        outcomes.append((labels.tobytes(), first[0].tobytes(), last[0].tobytes(), last[2:]))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(1, 1, 1), (7, 3, 2), (65, 7, 9), (83, 256, 3), (257, 8, 4), (520, 31, 8), (1056, 15, 8),
     (1500, 2, 33), (1800, 5, 400), (4600, 3, 7), (5, 0, 2), (0, 3, 2)],
)  # fmt: skip
def test_steps_together_change_no_bit(n, d, k, weighted, dtype):
    """Several steps in one call, which may keep packed rows, equal single steps, which never do."""
    rng = np.random.default_rng([n, d, k])
    X = (3 * rng.normal(size=(n, d))).astype(dtype)
    w = (3 * rng.random(n)).astype(dtype) if weighted else None
    C = X[rng.permutation(n)[:k]].astype(np.float64) if n >= k else rng.normal(size=(k, d))
    labels, none = np.full(n, -1, np.int32), np.empty((0, 2), dtype)
    together = kmeans.lloyd(X, C, labels, none, w, n_steps=6)
    single, steps = np.full(n, -1, np.int32), 0
    while steps < together[2]:
        C, weight_sums, taken, shift, status = kmeans.lloyd(X, C, single, none, w, n_steps=1)
        steps += taken
    np.testing.assert_array_equal(single, labels)
    assert C.tobytes() == together[0].tobytes()
    assert weight_sums.tobytes() == together[1].tobytes()
    assert (steps, shift, status) == together[2:]


def test_bounds_prune():
    """The bounds do their work: after convergence no row needs more than its own center."""
    X, _ = blobs(2000, 4, 16, np.float64)
    C = X[np.unique(((X[:, 0]) / 16).round(), return_index=True)[1]].astype(np.float64)
    labels, bounds = np.full(len(X), -1, np.int32), np.tile([np.inf, 0.0], (len(X), 1))
    _, _, _, _, status = kmeans.lloyd(X, C, labels, bounds, n_steps=100)
    assert status == 1
    assert (bounds[:, 0] < bounds[:, 1]).all()


def csr(X, **change):
    """Two entries in the shape of X, with arrays that need not describe a matrix."""
    made = scipy.sparse.csr_array((np.ones(2, X.dtype), [0, 2], [0, 1, 2, 2, 2, 2]), X.shape)
    for name, array in change.items():
        setattr(made, name, np.array(array, np.int32))
    return made


@pytest.mark.parametrize("call", [kmeans.assign, kmeans.lloyd_step])
def test_other_sparse_formats_are_refused(call):
    X = scipy.sparse.csc_array(np.eye(3))
    with pytest.raises(TypeError, match="NumPy or CuPy array or a SciPy CSR matrix, got csc_array"):
        call(X, np.eye(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, C: kmeans.assign(X, C[:, :2]), r"centers must .*\(k, 3\)"),
        (lambda X, C: kmeans.assign(X, C[:0]), "centers must"),
        (lambda X, C: kmeans.assign(X.astype(int), C), "X must be .*float32 or float64"),
        (lambda X, C: kmeans.assign(X[0], C), r"X must be .* of shape \(n, d\), got"),
        (lambda X, C: kmeans.assign(X, C.astype(np.float32)), "centers must be .*float64"),
        (lambda X, C: kmeans.lloyd_step(X, C, np.ones(3)), r"sample_weight must .*\(5,\)"),
        (lambda X, C: kmeans.lloyd_step(X, C, np.ones(5, np.float32)), "sample_weight must be"),
        (lambda X, C: kmeans.lloyd(X, C, np.zeros(4, np.int32), np.empty((0, 2))), "labels must"),
        (lambda X, C: kmeans.lloyd(X, C, np.zeros(5, np.int32), np.empty((3, 2))), "bounds must"),
        (lambda X, C: kmeans.plus_plus(X, np.ones(3)), "uniforms must"),
        (lambda X, C: kmeans.assign(csr(X, indices=[0, 3]), C), r"X.indices must lie in \[0, 3\)"),
        (lambda X, C: kmeans.assign(csr(X, indices=[0, -1]), C), r"X.indices must lie in"),
        (lambda X, C: kmeans.assign(csr(X, indices=[0]), C), "X.indices must be as long"),
        (lambda X, C: kmeans.assign(csr(X, indptr=[0, 2]), C), "X.indptr must run from 0 to 2"),
        (lambda X, C: kmeans.assign(csr(X, indptr=[0, 1, 0, 1, 1, 2]), C), "X.indptr must never"),
        (lambda X, C: kmeans.assign(csr(X), C[:, :2]), r"centers must be .*\(k, 3\)"),
        (lambda X, C: kmeans.assign(csr(X).astype(int), C), "X must be float32 or float64"),
        (lambda X, C: kmeans.lloyd_step(csr(X), C, np.ones(4)), r"sample_weight .*\(5,\)"),
        (lambda X, C: kmeans.restarts(X, np.zeros((1, 0), np.int64)), "starts must"),
        (lambda X, C: kmeans.restarts(X, np.zeros((1, 2))), "starts must"),
        (lambda X, C: kmeans.restarts(X, np.zeros((1, 2), np.int64), np.ones(3)), "sample_weight"),
        (lambda X, C: kmeans.plus_plus(X[:0], np.ones((1, 1)) / 2), "X must"),
        (lambda X, C: kmeans.plus_plus(X, np.ones((1, 1)) / 2, np.zeros(5)), "positive sum"),
    ],
)
def test_errors(call, message):
    """The specification and its twin refuse the same input in the same words."""
    import kernelmill

    X, C = np.arange(15.0).reshape(5, 3), np.ones((2, 3))
    with pytest.raises(ValueError, match=message):
        call(X, C)
    with kernelmill.backend("numpy"), pytest.raises(ValueError, match=message):
        call(X, C)


def test_row_errors():
    with pytest.raises(IndexError, match=r"rows must lie in \[0, 4\), got .*4"):
        kmeans.minibatch_step(np.ones((4, 2)), np.array([0, 4]), np.ones((1, 2)), np.zeros(1))
