"""Searches against their specification: metrics, ties, trees, many and few features."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases, last_tie

import kernelmill
from kernelmill.ops import neighbors

# Rows to search, queries and features: around the leaves of 32 rows, groups of 8 leaves, and the
# number of features from which products are compared.
SHAPES = ((1, 1, 1), (31, 5, 3), (33, 64, 2), (300, 40, 5), (64, 9, 7), (65, 33, 7), (257, 70, 20))
MOST_D = 300  # more than one piece of depth in the tile product
TREES = [i for i in range(8) if i not in (neighbors.HAMMING, neighbors.NAN_EUCLIDEAN)]


def tree_of(Y):
    leaves = neighbors.leaves_of(len(Y))
    return neighbors.grow.specification(Y, leaves, neighbors.groups_of(leaves))


def rows_of(n, d, dtype, seed, ties=True):
    """Small whole numbers, of which sums are exact, so that ties are; or normal numbers."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (n, d)) if ties else rng.normal(size=(n, d)) + 100
    return X.astype(dtype)


def pairs(seed=0):
    """Queries, rows, exponent, own rows and, if any, a tree, for each metric."""
    for dtype in DTYPES:
        for number, (m, n, d) in enumerate(SHAPES):
            for ties in (True, False):
                X, Y = rows_of(n, d, dtype, seed, ties), rows_of(m, d, dtype, seed + 1, ties)
                own = np.arange(n) % m if number % 2 else None
                for metric in (number % 8, (number + 3) % 8):
                    name = f"{m} {n} {d} {neighbors.METRICS[metric]} {dtype.__name__}"
                    Z = X.copy()
                    if metric == neighbors.NAN_EUCLIDEAN:
                        Z[::3, 0] = np.nan
                    yield name, Z, Y, metric, own, None
                    if metric in TREES:
                        yield name + " tree", X, Y, metric, own, tree_of(Y)
        X, Y = rows_of(40, MOST_D, dtype, 5), rows_of(90, MOST_D, dtype, 6)
        yield "deep", X, Y, neighbors.EUCLIDEAN, None, None
        X, Y = (rows_of(n, 9, dtype, n, False) for n in (300, 700))
        Y[::7] = Y[0]
        X[:9] = Y[0]
        yield "many equal", X, Y, neighbors.EUCLIDEAN, None, None
        yield "far values", 1e30 * X, 1e30 * Y, neighbors.EUCLIDEAN, None, None


def bound(X, D):
    """Sums of d terms in two orders of rounding; powers are good to a few units."""
    return 8 * (X.shape[1] + 8) * 2.0**-52 * np.nan_to_num(np.abs(D))


@cases("neighbors.grow")
def grow():
    for dtype in DTYPES:
        for m, _, d in (*SHAPES, (2100, 1, 3)):
            for ties in (True, False):
                leaves = neighbors.leaves_of(m)
                args = (rows_of(m, d, dtype, m, ties), leaves, neighbors.groups_of(leaves))
                yield Case(f"{m} {d}", args)
        yield Case("no rows", (np.zeros((0, 2), dtype), 1, 1))
        yield Case("equal rows", (np.ones((200, 2), dtype), 7, 1))
    leaves = neighbors.leaves_of(20000)
    X = rows_of(20000, 3, np.float64, 2, False)
    yield Case("big", (X, leaves, neighbors.groups_of(leaves)), big=True)


@cases("neighbors.nearest")
def nearest():
    for name, X, Y, metric, own, tree in pairs():
        for k in {1, min(3, len(Y)), len(Y)}:
            args = (X, Y, k, metric, 3.0, own, *(tree or ()))
            D = neighbors.nearest.specification(*args)[1]
            yield Case(f"{name} k={k}", args, bounds=(None, bound(X, D)))
    one = np.ones((3, 2))
    yield Case("no rows", (one[:0], one, 2))
    yield Case("nothing to find", (one, one[:0], 2))
    yield Case("no neighbours", (one, one, 0))
    for d in (3, 20):
        X, Y = rows_of(700, d, np.float64, 3), rows_of(900, d, np.float64, 4)
        for tree in ((), tree_of(Y)):
            yield Case(f"big {d}", (X, Y, 50, 0, 2.0, None, *tree), big=True)


@last_tie("neighbors.nearest")
def nearest_of_last_tie(X, Y, k, *rest):
    found, distances = neighbors.nearest.specification(X, Y[::-1], k, *rest[:2])
    return np.where(found < 0, -1, len(Y) - 1 - found), distances


def radius_of(X, Y, metric, own):
    """Between two distances that occur, at one of them where sums are exact."""
    D = neighbors.distances_of(X, Y, metric, 3.0)
    D = np.sort(D[~np.isnan(D)])
    middle = D[len(D) // 3]
    exact = metric != neighbors.MINKOWSKI and np.array_equal(X, np.round(X))
    return float(middle) if exact else float(middle * (1 + 1e-9))


@cases("neighbors.within")
def within():
    for name, X, Y, metric, own, tree in pairs(7):
        radius = radius_of(X, Y, metric, own)
        yield Case(name, (X, Y, radius, metric, 3.0, own, *(tree or ())))
    one = np.ones((3, 2))
    yield Case("no rows", (one[:0], one, 2.0))
    yield Case("nothing to find", (one, one[:0], 2.0))
    yield Case("below 0", (one, one, -1.0))
    for d in (3, 20):
        X, Y = rows_of(700, d, np.float64, 3), rows_of(900, d, np.float64, 4)
        for tree in ((), tree_of(Y)):
            yield Case(f"big {d}", (X, Y, 4.0, 0, 2.0, None, *tree), big=True)


@cases("neighbors.lists")
def lists():
    for case in within():
        X, Y, radius, *rest = case.args
        counts = neighbors.within.specification(*case.args)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        found, distances = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1])
        args = (X, Y, radius, offsets, found, distances, *rest)
        largest = bound(X, np.array(abs(radius)))
        yield Case(case.name, args, bounds=(None, largest), updated=(4, 5), big=case.big)


@cases("neighbors.dbscan")
def dbscan():
    for dtype in DTYPES:
        for number, (n, _, d) in enumerate(SHAPES):
            X = rows_of(n, d, dtype, number)
            rng = np.random.default_rng(number)
            weight = rng.integers(0, 3, n).astype(float) if number % 2 else None
            for metric in (0, number % 4, neighbors.SQUARED):
                radius = radius_of(X, X, metric, None)
                for least in (1.0, 4.0, n / 3):
                    args = (X, radius / 2, least, weight, metric, 3.0)
                    name = f"{n} {d} {metric} {least} {dtype.__name__}"
                    yield Case(name, args)
                    yield Case(name + " tree", (*args, *tree_of(X)))
    none = np.zeros((0, 2))
    yield Case("no rows", (none, 1.0, 2.0))
    for d, eps in ((2, 0.12), (12, 2.8)):
        X = rows_of(900, d, np.float64, 9, False)
        yield Case(f"big {d}", (X, eps, 4.0), big=True)
        yield Case(f"big {d} tree", (X, eps, 4.0, None, 0, 2.0, *tree_of(X)), big=True)


@cases("neighbors.log_density")
def log_density():
    for dtype in DTYPES:
        rng = np.random.default_rng(4)
        for number, (m, n, d) in enumerate(SHAPES):
            X, Y = (rng.normal(size=(rows, d)).astype(dtype) for rows in (n, m))
            X[0] += 40  # out of reach, or a tiny density
            weight = rng.uniform(0, 2, m) if number % 2 else None
            for kernel in range(6):
                for metric in (0, 1):
                    args = (X, Y, weight, kernel, 1.5, metric)
                    want = neighbors.log_density.specification(*args)
                    # Near 1 a kernel is a difference: of z - 1, or its square, by rounding.
                    scale = np.where(want > -99, np.abs(want) + np.exp(-want.clip(-99)), 0) + d
                    near = 2.0**-44 * (m + 8) * scale
                    yield Case(f"{m} {n} {d} {kernel}", args, bounds=(near,))
        one = np.ones((3, 2), dtype)
        yield Case("no rows", (one[:0], one, None, 0, 1.0))
        yield Case("no kernels", (one, one[:0], None, 0, 1.0))
    X = rng.normal(size=(600, 3))
    args = (X, X, None, 0, 0.5)
    yield Case("big", args, bounds=(1e-11,), big=True)  # 600 terms, logarithms of up to 20


@cases("neighbors.donors")
def donors():
    for dtype in DTYPES:
        for number, (m, n, d) in enumerate(SHAPES):
            rng = np.random.default_rng(number)
            X, Y = rows_of(n, d, dtype, number), rows_of(m, d, dtype, number + 1)
            X[rng.random(X.shape) < 0.4] = np.nan
            Y[rng.random(Y.shape) < 0.3] = np.nan
            rows, cols = np.nonzero(np.isnan(X))
            for k in (1, 3, m + 1):
                D = neighbors.donors.specification(X, Y, rows, cols, k)[1]
                yield Case(f"{m} {n} {d} {k}", (X, Y, rows, cols, k), bounds=(None, bound(X, D)))
    none = np.zeros(0, np.int64)
    yield Case("no entries", (X, Y, none, none, 2))
    rng = np.random.default_rng(1)
    X = np.where(rng.random((400, 6)) < 0.2, np.nan, rng.normal(size=(400, 6)))
    rows, cols = np.nonzero(np.isnan(X))
    args = (X, X, rows, cols, 4)
    D = neighbors.donors.specification(*args)[1]
    yield Case("big", args, bounds=(None, bound(X, D)), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("neighbors")


def test_trees_change_no_bit(rng):
    for dtype in DTYPES:
        X, Y = (rng.normal(size=(n, 9)).astype(dtype) for n in (200, 3000))
        tree = tree_of(Y)
        for metric in TREES:
            a = neighbors.nearest(X, Y, 20, metric, 1.7)
            b = neighbors.nearest(X, Y, 20, metric, 1.7, None, *tree)
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


# Rows, and queries, whose products are worth sifting by bytes where the processor can.
def rows_for_bytes(kind, rng):
    m, n, d = 1003, 131, 37  # no whole panel of rows, tile of queries or word of bytes
    Y, X = rng.normal(size=(m, d)), rng.normal(size=(n, d))
    if kind == "clusters":
        centers = 20 * rng.normal(size=(9, d))
        return Y + centers[np.arange(m) % 9], X + centers[np.arange(n) % 9]
    if kind == "duplicates":
        return Y[np.arange(m) % 40], Y[np.arange(n) % 40]
    if kind == "ties":
        return rng.integers(0, 2, (m, d)), rng.integers(0, 2, (n, d))
    if kind == "far":
        return Y + 1e5, X + 1e5
    if kind == "one large column":
        return Y * (1 + 1e6 * (np.arange(d) == 5)), X * (1 + 1e6 * (np.arange(d) == 5))
    if kind == "one large row":
        return Y * (1 + 1e6 * (np.arange(m) == 5))[:, None], X
    if kind == "tails":
        return rng.standard_cauchy((m, d)), rng.standard_cauchy((n, d))
    if kind == "broken queries":
        X[3, 2], X[70] = np.nan, np.inf
    scale = {"tiny": 1e-20, "least": 1e-40, "huge": 1e17, "overflow": 1e30}.get(kind, 1.0)
    return Y * scale, X * scale


@pytest.mark.parametrize(
    "kind",
    [
        *("normal", "clusters", "duplicates", "ties", "far", "one large column", "one large row"),
        *("tails", "broken queries", "tiny", "least", "huge", "overflow"),
    ],
)
def test_bytes_change_no_bit(kind, rng):
    Y, X = (Z.astype(np.float32) for Z in rows_for_bytes(kind, rng))
    # Rows that are not side by side in memory are compared by the product of floats alone.
    other = np.asfortranarray(Y)
    for k, own in ((7, None), (60, np.arange(len(X)))):
        here, there = (neighbors.nearest(X, rows, k, own=own) for rows in (Y, other))
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(a, b)
    # Nor are rows of float64, of which squared distances are summed alike.
    wide = neighbors.nearest(X.astype(np.float64), Y.astype(np.float64), 60, own=np.arange(len(X)))
    for a, b in zip(here, wide, strict=True):
        np.testing.assert_array_equal(a, b)
    radius = float(np.nanmedian(np.where(np.isfinite(here[1][:, 9]), here[1][:, 9], np.nan)))
    counts = neighbors.within(X, Y, radius)
    np.testing.assert_array_equal(counts, neighbors.within(X, other, radius))
    assert counts.sum() >= 5 * len(X)


@pytest.mark.parametrize("scale", [1e-17, 3e-18, 1e-18, 1e-19])
def test_bytes_where_small_numbers_are_flushed_to_zero(scale, rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    Y, X = (scale * rng.normal(size=(n, 64)).astype(np.float32) for n in (1003, 131))
    want = neighbors.nearest(X.astype(np.float64), Y.astype(np.float64), 5)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush small numbers")
    try:
        with kernelmill.threads(1):
            got = neighbors.nearest(X, Y, 5)
    finally:
        torch.set_flush_denormal(False)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_refusals():
    X = np.ones((70, 2))
    with pytest.raises(ValueError, match=r"^neighbors\.grow: leaves must have 1 to 32 rows"):
        neighbors.grow(X, 2, 1)
    with pytest.raises(ValueError, match=r"^neighbors\.grow: groups must be 1 for 3 leaves"):
        neighbors.grow(X, 3, 2)
    order, points, boxes = neighbors.grow(X, 3, 1)
    for twin in (neighbors.nearest, neighbors.nearest.specification):
        with pytest.raises(ValueError, match="must be what grow gave"):
            twin(X, X, 1, 0, 2.0, None, order, points[:1], boxes)
    with pytest.raises(ValueError, match="metric must be one of the family of Minkowski"):
        neighbors.nearest(X, X, 1, neighbors.HAMMING, 2.0, None, order, points, boxes)
    with pytest.raises(ValueError, match=r"^neighbors\.lists: offsets must be the sums"):
        neighbors.lists(X, X, 1.0, np.zeros(71, np.int64), order[:0].copy(), np.zeros(0))
    with pytest.raises(ValueError, match=r"^neighbors\.dbscan: order must hold numbers of rows"):
        neighbors.dbscan(X, 1.0, 2.0, None, 0, 2.0, order + 1, points, boxes)
    with pytest.raises(ValueError, match=r"^neighbors\.donors: rows and cols must be entries"):
        neighbors.donors(X, X, np.array([70]), np.array([0]), 1)
