"""Growth of trees against the specification: spans, marks, criteria, and walks down."""

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import tree

NONE = np.zeros(0, np.int64)
SHAPES = ((1, 1), (2, 3), (17, 4), (64, 2), (700, 3))  # rows, features


def rows_of(n, d, dtype=np.float64, gaps=True, seed=0):
    """Ties, both zeros, infinities and gaps; the last feature is constant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(dtype)
    X[:, 0] = np.round(X[:, 0] * 2) * rng.choice([-1.0, 1.0], n)  # -0 and 0 among them
    if gaps:
        X[rng.random((n, d)) < 0.2] = np.nan
    if n > 10:
        X[3, 0], X[5, 0] = np.inf, -np.inf
    if d > 2:
        X[:, -1] = 1.5
    return X


def grown(n, d, outputs=1, classes=(), weighted=False, gaps=True, seed=0):
    """Rows, and the state after two levels where there are rows enough."""
    rng = np.random.default_rng(seed + 1)
    X = rows_of(n, d, gaps=gaps, seed=seed)
    order, rows = tree.sort_columns.specification(X), np.arange(n, dtype=np.int32)
    y = rng.normal(size=(n, outputs)) + 3
    if classes:
        y = np.stack([rng.integers(0, c, n) for c in classes], axis=1).astype(float)
    weight = rng.uniform(0.5, 2, n) if weighted else np.zeros(0)
    spans = np.array([[0, n]])
    for _ in range(2 if n > 60 else 1 if n > 10 else 0):
        one, no = np.ones(len(spans), np.int32), np.zeros(len(spans), bool)
        tags = [order[1, a:b] for a, b in spans]
        firsts = [np.flatnonzero(e < 0)[1:] for e in tags]
        cut = np.array([f[len(f) // 3] for f in firsts], np.int32)
        middle = tree.partition.specification(order, rows, y, weight, spans, one, cut, no)
        spans = np.stack([spans[:, 0], middle, middle, spans[:, 1]], axis=1).reshape(-1, 2)
    return X, order, rows, y, weight, spans


@cases("tree.sort_columns")
def sort_columns():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2), (3, 0)):
            yield Case(f"{n} {d}", (rows_of(n, d, dtype) if n * d else np.zeros((n, d), dtype),))
        yield Case("big", (rows_of(5000, 3, dtype),), big=True)


@cases("tree.draw")
def draw():
    for n, d in ((17, 4), (64, 2), (700, 3), (40, 9)):
        _, order, _, _, _, spans = grown(n, d)
        for most in (1, 2, d):
            keys = np.array([7, 2**40, 0, 1])
            yield Case(f"{n} {d} {most}", (order, spans, keys[: len(spans)], most, 5))
    order = tree.sort_columns.specification(np.ones((20, 6)))
    yield Case("constant", (order, np.array([[0, 20], [4, 4]]), np.array([1, 2]), 2, 2**63))
    many = np.repeat(np.array([[0, 20]]), 2000, axis=0)
    yield Case("big", (order, many, np.arange(2000), 2, 3), big=True)


@cases("tree.random_cuts")
def random_cuts():
    for dtype in DTYPES:
        for n, d in SHAPES:
            X, order, rows, _, _, spans = grown(n, d)
            X = X.astype(dtype)
            keys = np.arange(len(spans))
            # A fused product rounds once less than two operations.
            rounding = (None, 2.0**-51 * np.abs(X[np.isfinite(X)]).max(initial=0))
            yield Case(f"{n} {d}", (X, rows, order, spans, keys, None, 3), bounds=rounding)
            allowed = np.random.default_rng(0).random((len(spans), d)) < 0.5
            yield Case(f"{n} {d} some", (X, rows, order, spans, keys, allowed, 4), bounds=rounding)
    X = np.array([[1.0], [np.nextafter(1.0, 2)], [-1.5e308], [1.5e308]])
    order, rows = tree.sort_columns.specification(X), np.arange(4, dtype=np.int32)
    spans = np.repeat(np.array([[0, 4], [0, 2]]), 300, axis=0)
    bounds = (None, 2.0**-51 * 1.5e308)
    args = (X, rows, order, spans, np.arange(600), None, 5)
    yield Case("neighbours", args, bounds=bounds, big=True)


# Criterion, classes, outputs, alpha.
RULES = (
    (tree.GINI, (2,), 1, 0.0),
    (tree.GINI, (3,), 1, 0.0),
    (tree.GINI, (2, 4), 2, 0.0),
    (tree.ENTROPY, (2,), 1, 0.0),
    (tree.ENTROPY, (3, 2), 2, 0.0),
    (tree.SQUARED, (), 1, 0.0),
    (tree.SQUARED, (), 3, 0.0),
    (tree.POISSON, (), 1, 0.0),
    (tree.POISSON, (), 2, 0.0),
    (tree.QUANTILE, (), 1, 0.5),
    (tree.QUANTILE, (), 1, 0.9),
    (tree.QUANTILE, (), 2, 0.25),
)


def problems(sizes=SHAPES):
    for n, d in sizes:
        for criterion, classes, outputs, alpha in RULES:
            for weighted in (False, True):
                X, order, rows, y, weight, spans = grown(n, max(d, 2), outputs, classes, weighted)
                if criterion == tree.POISSON:
                    y = np.maximum(0, np.round(y))
                rule = np.array([criterion, alpha, 1.0, 0.0])
                labels = np.array(classes, np.int64)
                name = f"{n} {d} {tree.CRITERIA[criterion]} {outputs} {alpha} {weighted}"
                yield name, X, order, rows, y, weight, spans, labels, rule


@cases("tree.measure")
def measure():
    for name, _, _, _, y, weight, spans, classes, rule in problems((*SHAPES, (20000, 2))):
        width = int(classes.sum()) if len(classes) else y.shape[1]
        size = 1e-13 * len(y) ** 0.5 * (1 + np.abs(y).max())
        bounds = (size * 10, size, 1e-12 * len(y), None)
        yield Case(name, (y, weight, spans, classes, rule, width), bounds=bounds, big=len(y) > 9999)
    y = np.array([[1e8 + 1], [1e8 + 3.0]])
    rule = np.array([tree.SQUARED, 0.0, 1.0, 0.0])
    four = np.array([[0, 2], [0, 1], [0, 2], [1, 2]])
    yield Case("pure", (y, np.zeros(0), four, NONE, rule, 1))
    yield Case("far", (y, np.zeros(0), np.array([[0, 2], [1, 2]]), NONE, rule, 1))


def same_splits(args, kwargs, size):
    """Equal gains, and the same split unless the other one is as good."""

    def compare(got, want):
        gain, best = got[3], want[3]
        assert np.array_equal(np.isinf(gain), np.isinf(best)), (gain, best)
        found = np.isfinite(best)
        np.testing.assert_allclose(gain[found], best[found], rtol=0, atol=size)
        order, spans = args[0], args[3]
        for i in range(len(spans)):
            g, w = ([int(output[i]) for output in outputs[:3]] for outputs in (got, want))
            if g == w:
                continue
            assert 0 <= g[0] < len(order), (i, g, w)
            assert 0 < g[1] < spans[i, 1] - spans[i, 0], (i, g, w)
            entry = order[g[0], spans[i, 0] + g[1]]
            assert entry < 0 or kwargs.get("cuts") is not None, (i, g, w)
            cuts = np.zeros((len(spans), len(order)), np.int32)
            cuts[i, g[0]] = g[1]
            one = tree.split.specification(*args, **(kwargs | {"cuts": cuts}))
            assert abs(one[3][i] - best[i]) <= size, (i, g, w)
            assert one[2][i] == g[2] or abs(one[3][i]) <= size, (i, g, w)

    return compare


@cases("tree.split")
def split():
    for name, X, order, rows, y, weight, spans, classes, rule in problems(SHAPES[:4]):
        width = int(classes.sum()) if len(classes) else y.shape[1]
        value, impurity, mass, _ = tree.measure.specification(
            y, weight, spans, classes, rule, width
        )
        size = 1e-11 * len(y) * (1 + np.abs(y).max())
        args = (order, y, weight, spans, value, impurity * mass, classes)
        rng = np.random.default_rng(len(y))
        tight = rule + np.array([0, 0, 3, 2.5])
        allowed = rng.random((len(spans), len(order))) < 0.6
        cuts = tree.random_cuts.specification(X, rows, order, spans, np.arange(len(spans)), None, 9)
        variants = [("", rule, {}), ("leaves", tight, {}), ("some", rule, {"allowed": allowed})]
        variants.append(("random", rule, {"cuts": cuts[0]}))
        if y.shape[1] == 1 and (not len(classes) or classes[0] == 2) and rule[0] != tree.POISSON:
            signs = rng.integers(-1, 2, len(order)).astype(np.int32)
            middle = value[:, 1] / value.sum(axis=1) if len(classes) else value[:, 0]
            bounds = np.stack([middle - 0.4, middle + 0.4], axis=1)
            variants.append(("monotonic", rule, {"monotonic": signs}))
            variants.append(("bounds", rule, {"monotonic": signs, "bounds": bounds}))
        for variant, limits, kwargs in variants:
            given = (*args, limits)
            compare = same_splits(given, kwargs, size)
            yield Case(f"{name} {variant}", given, kwargs, compare=compare)
    X, order, rows, y, weight, spans = grown(400, 60, gaps=False)
    rule = np.array([tree.SQUARED, 0.0, 1.0, 0.0])
    value, impurity, mass, _ = tree.measure.specification(y, weight, spans, NONE, rule, 1)
    given = (order, y, weight, spans, value, impurity * mass, NONE, rule)
    yield Case("big", given, compare=same_splits(given, {}, 1e-9), big=True)


@cases("tree.partition")
def partition():
    for n, d in (*SHAPES, (3000, 9)):
        for outputs, weighted in ((1, False), (3, True)):
            _, order, rows, y, weight, spans = grown(n, max(2, d), outputs, (), weighted)
            for f in range(2):
                tags = [order[f, a:b] for a, b in spans]
                present = [int(((e & tree.MISSING) == 0).sum()) for e in tags]
                if min(present) < 1:
                    continue
                cut = np.array([max(1, p // 2) for p in present], np.int32)
                feature, side = np.full(len(spans), f, np.int32), np.arange(len(spans)) % 2 == 0
                args = (order, rows, y, weight, spans, feature, cut, side)
                yield Case(f"{n} {d} {f}", args, updated=(0, 1, 2, 3), big=n > 999)


def forest(n_features, trees=3, seed=0):
    """Random nodes in order of depth first, and their values."""
    rng = np.random.default_rng(seed)
    nodes, roots, leaves = [], [], 0

    def add(depth):
        nonlocal leaves
        me = len(own)
        if depth == 0 or rng.random() < 0.15:
            own.append((0.0, -1, leaves))
            leaves += 1
            return
        own.append(None)
        add(depth - 1)
        right = len(own)
        add(depth - 1)
        feature = int(rng.integers(n_features)) | (tree.MISSING if rng.random() < 0.5 else 0)
        own[me] = (float(np.round(rng.normal() * 2) / 2), feature, right)

    for _ in range(trees):
        own = []
        add(5)
        roots.append(len(nodes))
        nodes += own
    words = np.array(nodes, tree.NODE).view(np.int64).reshape(-1, 2)
    return words, np.array(roots), rng.normal(size=(leaves, 2))


@cases("tree.apply")
def apply():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2)):
            words, roots, _ = forest(d)
            yield Case(f"{n} {d}", (rows_of(n, d, dtype) if n else np.zeros((0, d)), words, roots))
        yield Case("big", (rows_of(3000, 3, dtype), *forest(3, trees=2)[:2]), big=True)
        yield Case("no tree", (rows_of(5, 2, dtype), words[:0], NONE))


@cases("tree.predict")
def predict():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2)):
            X = rows_of(n, d, dtype) if n else np.zeros((0, d))
            yield Case(f"{n} {d}", (X, *forest(d)), bounds=(1e-14,))
        yield Case("big", (rows_of(3000, 3, dtype), *forest(3, trees=2)), bounds=(1e-14,), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("tree")


def test_bad_nodes():
    words, roots, values = forest(2)
    X = np.zeros((1, 2))
    for op, args in ((tree.apply, ()), (tree.predict, (values,))):
        for name, wrong in (
            ("feature", np.array([(0.0, 2, 2), (0.0, -1, 0), (0.0, -1, 0)], tree.NODE)),
            ("cycle", np.array([(0.0, 0, 0), (0.0, -1, 0), (0.0, -1, 0)], tree.NODE)),
            ("outside", np.array([(0.0, 0, 3), (0.0, -1, 0), (0.0, -1, 0)], tree.NODE)),
        ):
            bad = wrong.view(np.int64).reshape(-1, 2)
            for function in (op, op.specification):
                with pytest.raises(ValueError, match=r"nodes must name features of X"):
                    function(X, bad, np.array([0]), *args), name
    with pytest.raises(ValueError, match="nodes must"):
        tree.predict(X, words, roots, values[:1])
    with pytest.raises(ValueError, match="nodes must"):
        tree.apply(X, words, np.array([len(words)]))


def test_partition_refuses_cuts_outside():
    _, order, rows, y, weight, spans = grown(17, 4)
    spans, no = spans[:1], np.array([False])
    for f, c in ((4, 1), (-1, 1), (0, 0), (0, 99)):
        for op in (tree.partition, tree.partition.specification):
            with pytest.raises(ValueError, match=r"^tree.partition: feature must be in \[0, 4\)"):
                op(order, rows, y, weight, spans, np.array([f], np.int32),
                   np.array([c], np.int32), no)  # fmt: skip
