"""Histogram boosting against the specification: bins, slopes, growth, walks."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import histogram
from kernelmill.ops.histogram_growth import in_steps, noise

NONE = np.zeros(0)
SHAPES = ((1, 1), (3, 2), (40, 3), (300, 5), (120, 20))


def rows_of(n, d, dtype=np.float64, seed=0):
    """Ties, both zeros, infinities and gaps; the last feature is constant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(dtype)
    X[:, 0] = np.round(X[:, 0] * 2) * rng.choice([-1.0, 1.0], n)
    X[rng.random((n, d)) < 0.15] = np.nan
    if n > 10:
        X[3, 0], X[5, 0] = np.inf, -np.inf
    if d > 2:
        X[:, -1] = 1.5
    return X


def layout(d):
    blocks = -(-d // 16)
    return blocks, -(-d // blocks)


def coded(n, d, categorical=False, cuts=20, seed=0):
    """Rows and their codes, edges and counts; feature 0 may hold levels."""
    X = rows_of(n, d, seed=seed)
    mask = np.zeros(d, bool)
    edges, count = histogram.edges.specification(X, NONE, cuts)
    if categorical:
        X[:, 0] = np.clip(np.round(X[:, 0]), -4, 4)
        own = np.unique(X[:, 0][~np.isnan(X[:, 0])])
        mask[0], edges[0], count[0] = True, np.inf, len(own)
        edges[0, : len(own)] = own
    codes = histogram.encode.specification(X, edges, count, mask, *layout(d))
    return X, codes, edges, count, mask


@cases("histogram.edges")
def edges():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2), (3, 0), (2000, 2)):
            X = rows_of(n, d, dtype) if n * d else np.zeros((n, d), dtype)
            weight = np.random.default_rng(1).uniform(0.5, 2, n)
            for cuts in (1, 7, 254):
                yield Case(f"{n} {d} {cuts}", (X, NONE, cuts), big=n == 2000)
                yield Case(f"{n} {d} {cuts} weighted", (X, weight, cuts))
    X = np.array([[1.5e308], [1.7e308], [np.nextafter(1, 2)], [1], [-0.0], [0.0]])
    yield Case("close and far", (X, NONE, 9))
    yield Case("float32", (np.float32([[3e38], [3.2e38], [1e-45]]), NONE, 9))


@cases("histogram.encode")
def encode():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2), (2500, 18)):
            X, _, edges, count, mask = coded(max(n, 1), d, categorical=d > 1)
            X = X[:n].astype(dtype)
            if n > 10:
                X[0, 0], X[1, 0] = 99.0, 0.5  # unseen
            yield Case(f"{n} {d}", (X, edges, count, mask, *layout(d)), big=n == 2500)
    many = np.arange(300.0)[:, None]
    levels, full = np.arange(255.0)[None], np.array([255], np.int32)
    yield Case("full", (many, levels, full, np.array([True]), 1, 1))
    one = np.float32(0.1)
    near = np.array([[np.nextafter(np.float64(one), 0), np.float64(one)]])
    X = np.array([[one], [np.nextafter(one, np.float32(1))], [np.nextafter(one, np.float32(0))]])
    for kind in (False, True):
        args = (X, near, np.array([2], np.int32), np.array([kind]), 1, 1)
        yield Case(f"between float32 {kind}", args)
    yield Case("wide", (X, near, np.array([0], np.int32), np.array([False]), 2, 3))
    X, _, edges, count, mask = coded(40, 7)
    yield Case("narrow", (X, edges, count, mask, 4, 2))


def targets(loss, n, k, seed=0):
    rng = np.random.default_rng(seed)
    if loss == "multinomial":
        return rng.integers(0, k, n).astype(float)
    if loss == "log_loss":
        return rng.integers(0, 2, n).astype(float)
    y = rng.gamma(1.0, size=n)
    return np.round(y) if loss == "poisson" else y


def scored(n):
    for number, loss in enumerate(histogram.LOSSES):
        k = 3 if loss == "multinomial" else 1
        raw = np.random.default_rng(2).normal(size=(k, n)) * 2
        y = targets(loss, n, k)
        if n > 8:
            raw[:, 0], raw[:, 1], raw[0, 2], raw[0, 3] = 40.0, -40.0, y[2], y[3] + 1e-6
        yield number, loss, y, raw


@cases("histogram.slopes")
def slopes():
    for n in (1, 33, 0, 20000):
        weight = np.random.default_rng(3).uniform(0.5, 2, n)
        for number, loss, y, raw in scored(n):
            with np.errstate(over="ignore"):
                size = 1e-14 * (1 + np.exp(np.abs(raw)) * (2 + y))
            for w in (NONE, weight):
                given = (y, raw, w, number, 0.7, False)
                yield Case(f"{loss} {n} {len(w)}", given, bounds=(size, size), big=n > 999)
            yield Case(f"{loss} {n} unit", (y, raw, NONE, number, 0.7, True), bounds=(size, None))


@cases("histogram.deviance")
def deviance():
    for n in (1, 33, 0, 20000):
        weight = np.random.default_rng(3).uniform(0.5, 2, n)
        for number, loss, y, raw in scored(n):
            with np.errstate(over="ignore"):
                size = 1e-13 * (1 + np.exp(np.abs(raw)).max(initial=0) * (2 + y.max(initial=0)))
            for w in (NONE, weight):
                given = (y, raw, w, number, 0.7)
                yield Case(f"{loss} {n} {len(w)}", given, bounds=(size,), big=n > 999)


# rate, l2, l1, min_leaf, min_hessian, max_depth, share, min_gain, coarse
RULE = np.array([0.1, 0.5, 0.0, 2, 1e-3, 0, 1.0, 0.0, 1e9])


def rule(**changed):
    names = ["rate", "l2", "l1", "min_leaf", "min_hessian", "max_depth"]
    names += ["share", "min_gain", "coarse"]
    own = RULE.copy()
    for name, value in changed.items():
        own[names.index(name)] = value
    return own


def grow_args(n, d, limits, leaves, *, categorical=False, unit=False, signs=None, groups=None):
    X, codes, _, count, mask = coded(n, d, categorical)
    rng = np.random.default_rng(n + d)
    gradient = rng.normal(size=n) + np.nan_to_num(X[:, -2:].sum(axis=1), posinf=1, neginf=-1)
    hessian = np.array([0.5]) if unit else rng.uniform(0.1, 1, n)
    rows = np.zeros(n, np.int32)
    counts = (count + 2).astype(np.int32)
    return (
        codes, counts, mask, gradient, hessian, limits, signs, groups, 11, rows, 2 * leaves - 1
    )  # fmt: skip


@cases("histogram.grow")
def grow():
    signs = np.array([0, 1, -1, 1, 0], np.int32)
    groups = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 0, 1]], bool)
    variants = [
        ("plain", rule(), {}),
        ("unit", rule(l2=0), {"unit": True}),
        ("levels", rule(), {"categorical": True}),
        ("rare levels", rule(min_leaf=24), {"categorical": True}),
        ("all levels", rule(min_leaf=1), {"categorical": True}),
        ("lasso", rule(l1=2.0), {}),
        ("leaves", rule(min_leaf=30, min_hessian=20), {}),
        ("deep", rule(max_depth=2), {}),
        ("gain", rule(min_gain=8.0), {}),
        ("share", rule(share=0.4), {}),
        ("signs", rule(), {"signs": signs}),
        ("signs and levels", rule(l1=0.5), {"signs": signs, "categorical": True}),
        ("groups", rule(), {"groups": groups}),
    ]
    # Sums of leaves round; all else is whole.
    bounds = (None, 1e-11, None, None, None)
    for name, limits, options in variants:
        for coarse in (False, True):
            own = limits.copy()
            own[-1] = 0.0 if coarse else 1e9
            args = grow_args(300, 5, own, 8, **options)
            yield Case(f"{name} {coarse}", args, updated=(9,), bounds=bounds)
    for n, d in SHAPES:
        yield Case(f"{n} {d}", grow_args(n, d, rule(), 5), updated=(9,), bounds=bounds)
    for n in (0, 5):
        yield Case(f"{n} one leaf", grow_args(max(n, 1), 2, rule(), 1), updated=(9,), bounds=bounds)
    # More than 2**16 rows: parts of rows have histograms of their own.
    for coarse in (0.0, 1e9):
        args = grow_args(70_000, 3, rule(coarse=coarse, min_leaf=20), 6)
        yield Case(f"many {coarse}", args, updated=(9,), bounds=(None, 1e-8), big=True)
    # A gradient that coarse steps do not suit, and one that is 0.
    for size in (1e6, 0.0):
        args = list(grow_args(200, 3, rule(coarse=0), 4))
        args[3] = np.where(np.arange(200) == 7, size, 1e-3 * args[3]) if size else 0 * args[3]
        yield Case(f"odd {size}", tuple(args), updated=(9,), bounds=(None, 1e-6 * (size + 1)))


def leaves_of(n, m, seed=0):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, n + 1, m - 1)) if m > 1 else np.zeros(0, int)
    bounds = np.concatenate([[0], ends, [n]])
    spans = np.stack([bounds[:-1], bounds[1:]], axis=1).astype(np.int32)
    return rng.permutation(n).astype(np.int32), spans


@cases("histogram.quantiles")
def quantiles():
    rng = np.random.default_rng(4)
    for n, m in ((1, 1), (9, 3), (200, 7), (30000, 12)):
        rows, spans = leaves_of(n, m)
        residual = np.round(rng.normal(size=n), 1)
        for level in (0.0, 0.1, 0.5, 1.0):
            given = (residual, NONE, rows, spans, level)
            yield Case(f"{n} {level}", given, big=n > 999)
            weight = rng.integers(1, 4, n).astype(float)
            yield Case(f"{n} {level} weighted", (residual, weight, rows, spans, level))
    yield Case("none", (NONE, NONE, np.zeros(0, np.int32), np.zeros((1, 2), np.int32), 0.5))


@cases("histogram.add")
def add():
    rng = np.random.default_rng(5)
    for n, m in ((1, 1), (9, 3), (200, 7), (60000, 12)):
        rows, spans = leaves_of(n, m)
        given = (rows, spans, rng.normal(size=m), rng.normal(size=n))
        yield Case(f"{n}", given, updated=(3,), big=n > 999)


def grown(n, d, categorical=False, leaves=9):
    args = grow_args(n, d, rule(), leaves, categorical=categorical)
    split, stats, sides, count = histogram.grow.specification(*args)
    return args[0], split[:count], stats[:count], sides[:count]


@cases("histogram.walk")
def walk():
    for n, d in ((40, 3), (300, 5), (120, 20)):
        codes, split, _, sides = grown(n, d, categorical=True)
        yield Case(f"{n} {d}", (codes, split, sides))
        yield Case(f"{n} {d} none", (codes[:, :0], split, sides))
    big = np.tile(codes, (1, 100, 1))
    yield Case("big", (big, split, sides), big=True)


def forest(d, trees=4, depth=4, seed=0, levels=True):
    """Random nodes, depth first; feature 0 holds codes."""
    rng = np.random.default_rng(seed)
    nodes, roots, sides = [], [], []

    def add(level):
        me = len(own)
        if level == 0 or rng.random() < 0.15:
            own.append((rng.normal(), -1, 0))
            return
        own.append(None)
        add(level - 1)
        right = len(own)
        add(level - 1)
        feature = int(rng.integers(d))
        mark = histogram.MISSING if rng.random() < 0.5 else 0
        threshold = float(np.round(rng.normal() * 2) / 2)
        if feature == 0 and levels:
            threshold, mark = float(len(sides)), histogram.CATEGORY
            sides.append(rng.integers(0, 256, 32).astype(np.uint8))
        own[me] = (threshold, feature | mark, right)

    for _ in range(trees):
        own = []
        add(depth)
        roots.append(len(nodes))
        nodes += own
    words = np.array(nodes, histogram.NODE).view(np.int64).reshape(-1, 2)
    return words, np.array(roots), np.array(sides, np.uint8).reshape(-1, 32)


def rows_for(n, d, dtype):
    """Feature 0 holds codes, some of them out of range."""
    X = rows_of(n, d, dtype)
    X[:, 0] = np.random.default_rng(n).integers(-2, 300, n)
    return X


@cases("histogram.predict")
def predict():
    start = np.array([0.5, -1.0])
    for dtype in DTYPES:
        for n, d in ((1, 1), (3, 2), (40, 3), (300, 5), (0, 2)):
            for depth in (4, 5, 6, 8):  # up to 16, 32, 64 leaves, and more
                X = rows_for(n, d, dtype) if n else np.zeros((0, d), dtype)
                yield Case(f"{n} {d} {depth}", (X, *forest(d, depth=depth), start))
        yield Case("big", (rows_for(3000, 3, dtype), *forest(3), start), big=True)
        words, roots, sides = forest(3)
        yield Case("no tree", (rows_for(50, 3, dtype), words[:0], roots[:0], sides, start))
    words, roots, _ = forest(3, levels=False)
    X = np.array(words).view(histogram.NODE)["threshold"][:60]
    yield Case("thresholds", (np.repeat(X, 3, axis=1), words, roots, np.zeros((0, 32), np.uint8),
                              start[:1]))  # fmt: skip


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("histogram")


def test_coarse_steps_have_no_bias():
    n = 100_000
    gradient = np.full(n, 0.3)
    gradient[0] = 1.0
    g, h, step, _, coarse = in_steps(gradient, np.full(n, 0.2), 0, 5)
    assert coarse
    # The deviation of a sum of n roundings is at most step sqrt(n) / 2.
    assert abs(g.sum() * step - gradient.sum()) < 5 * step * n**0.5 / 2
    assert set(np.unique(h)) <= {16383.0, 16384.0}
    u, v = noise(np.arange(n), 5)
    assert abs(np.corrcoef(u, v)[0, 1]) < 0.02
    assert abs(u.mean() - 0.5) < 0.01


def test_subtraction_is_exact():
    """The histogram of a sibling by difference is the one that its rows give, bit for bit."""
    args = grow_args(4000, 4, rule(min_leaf=5), 40)
    wide = histogram.grow(*args)
    rows = args[9].copy()
    for i in np.flatnonzero(wide[0][: wide[3], 0] >= 0):
        start, stop = wide[0][i, 5:7]
        own = np.sort(rows[start:stop])
        alone = list(args)
        alone[0] = np.ascontiguousarray(args[0][:, own])
        alone[3], alone[4], alone[9] = args[3][own], args[4][own], np.zeros(len(own), np.int32)
        alone[10] = 3
        again = histogram.grow(*alone)
        assert again[0][0, :3].tolist() == wide[0][i, :3].tolist()


def test_histograms_that_are_not_kept_are_built_again():
    """With many features waiting leaves keep no histogram; the tree is that of each node alone."""
    rng = np.random.default_rng(0)
    n, d = 700, 2000
    codes = rng.integers(1, 255, (d // 16, n, 16)).astype(np.uint8)
    counts, mask = np.full(d, 256, np.int32), np.zeros(d, bool)
    gradient, rows = rng.normal(size=n), np.zeros(n, np.int32)
    args = (counts, mask, gradient, np.ones(1), rule(min_leaf=5), None, None, 0, rows, 79)
    split, _, _, count = histogram.grow(codes, *args)
    inner = np.flatnonzero(split[:count, 0] >= 0)
    assert len(inner) > 30
    for i in inner[::6]:
        own = np.sort(rows[split[i, 5] : split[i, 6]])
        alone = (counts, mask, gradient[own], *args[3:8], np.zeros(len(own), np.int32), 3)
        again = histogram.grow(np.ascontiguousarray(codes[:, own]), *alone)
        assert again[0][0, :3].tolist() == split[i, :3].tolist()


def test_what_does_not_fit_is_refused():
    X, codes, edges, count, mask = coded(9, 2)
    for op in (histogram.encode, histogram.encode.specification):
        with pytest.raises(ValueError, match=r"blocks times width must be at least 2, got 1"):
            op(X, edges, count, mask, 1, 1)
        with pytest.raises(ValueError, match="count must be at most"):
            op(X, edges, np.array([99, 1], np.int32), mask, 1, 2)
    args = grow_args(9, 2, rule(), 2)
    for op in (histogram.grow, histogram.grow.specification):
        with pytest.raises(ValueError, match="counts must be of at most"):
            op(args[0], np.array([0, 1], np.int32), *args[2:])
    rows, spans = leaves_of(9, 2)
    for op in (histogram.add, histogram.add.specification):
        with pytest.raises(ValueError, match="spans and rows must lie"):
            op(rows, spans + 5, np.ones(2), np.zeros(9))
        with pytest.raises(ValueError, match="spans and rows must lie"):
            op(rows, spans, np.ones(2), np.zeros(8))
    for op in (histogram.quantiles, histogram.quantiles.specification):
        with pytest.raises(ValueError, match="spans and rows must lie"):
            op(np.zeros(9), NONE, rows + 1, spans, 0.5)
    y, raw, multinomial = np.array([3.0]), np.zeros((3, 1)), histogram.LOSSES.index("multinomial")
    for op in (histogram.slopes, histogram.slopes.specification):
        with pytest.raises(ValueError, match="y must hold classes below 3"):
            op(y, raw, NONE, multinomial, 0.0, False)
    for op in (histogram.deviance, histogram.deviance.specification):
        with pytest.raises(ValueError, match="y must hold classes below 3"):
            op(-y, raw, NONE, multinomial, 0.0)
    split = np.array([[7, 1, 0, 1, 2, 0, 9, 0]] + [[-1] * 8] * 2, np.int32)
    sides = np.zeros((3, 32))
    for op in (histogram.walk, histogram.walk.specification):
        for wrong in (split, split[:1] * 0, np.where(split == 7, 0, split)[:2]):
            with pytest.raises(ValueError, match="split must name features of the codes"):
                op(codes, wrong, sides[: len(wrong)].astype(np.uint8))
    words, roots, sides = forest(3)
    for function in (histogram.predict, histogram.predict.specification):
        for X, root, own in (
            (np.zeros((1, 1)), roots, sides),
            (np.zeros((1, 3)), roots + len(words), sides),
            (np.zeros((1, 3)), roots, sides[:0]),
        ):
            with pytest.raises(ValueError, match="nodes must name features of X"):
                function(X, words, root, own, np.zeros(1))
