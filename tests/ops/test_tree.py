"""Growth of trees against the specification: spans, marks, criteria, and walks down."""

import itertools

import numpy as np
import pytest
from agreement import DTYPES, Case, agreement_tests, cases

from kernelmill.ops import tree

NONE = np.zeros(0, np.int64)
NO_SIDES = np.zeros((0, 32), np.uint8)
SHAPES = ((1, 1), (2, 3), (17, 4), (64, 2), (700, 3))  # rows, features


def rows_of(n, d, dtype=np.float64, gaps=True, seed=0):
    """Ties, both zeros, infinities and gaps; the last feature is constant where it is there."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(dtype)
    X[:, 0] = np.round(X[:, 0] * 2) * rng.choice([-1.0, 1.0], n)  # -0 and 0 among them
    if gaps:
        X[rng.random((n, d)) < 0.2] = np.nan
    if n > 10:
        X[3, 0], X[5, 0] = np.inf, -np.inf
    if d > 2:
        X[~np.isnan(X[:, -1]), -1] = 1.5
    return X


@cases("tree.rank_columns")
def rank_columns():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2), (3, 0)):
            X = rows_of(n, d, dtype) if n * d else np.zeros((n, d), dtype)
            for bytes_ in (2, 3, 4):
                yield Case(f"{n} {d} {bytes_}", (X, bytes_))
        yield Case("big", (rows_of(5000, 3, dtype), 2), big=True)


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
LIMITS = {
    "grown": {},
    "limits": {"min_leaf": 3, "min_weight": 0.04, "min_split": 9, "max_depth": 4},
    "best first": {"max_leaf_nodes": 7, "min_gain": 1e-3, "min_leaf": 4},
    "drawn": {"max_features": 2},
    "random": {"max_features": 2, "random": True},
    "one random": {"max_features": 1, "random": True},
}


def targets_for(criterion, classes, outputs, n, rng):
    """Targets that make ties of unrelated splits unlikely; weights are sums of few bits."""
    if classes:
        return np.stack([rng.integers(0, c, n) for c in classes], axis=1).astype(float)
    y = np.round(rng.normal(size=(n, outputs)) * 2**20) / 2**20 + 3
    return np.maximum(0, np.round(y * 4)) if criterion == tree.POISSON else y


def growing(X, y, weight, classes, options, trees=1, monotonic=None, categorical=None, ranks=2):
    """Arguments of `tree.grow`, and the bounds of its outputs."""
    n, width = len(X), sum(classes) if classes else y.shape[1]
    most = max(1, 2 * n - 1)
    room = [np.zeros((trees, most, k), t) for k, t in ((2, np.int64), (3, float), (width, float))]
    room.append(np.zeros((trees, 0 if categorical is None else most // 2, 32), np.uint8))
    args = (
        X, ranks and tree.rank_columns.specification(X, ranks), y, weight,
        np.array(classes, np.int64), options, monotonic, categorical, np.arange(trees) + 7, *room,
    )  # fmt: skip
    size = 1e-12 * (1 + np.abs(y).max(initial=0)) * n
    return args, (None, None, size, size, None)


UPDATED = (9, 10, 11, 12)


def levels_of(n, seed=0, gaps=True):
    """Codes of levels in the outer features of three."""
    rng = np.random.default_rng(seed)
    X = rows_of(n, 3, gaps=gaps, seed=seed)
    X[:, 0] = rng.integers(0, 6, n)
    X[:, 2] = rng.choice([0, 1, 63, 64, 200, 255], n)
    if gaps:
        X[rng.random(n) < 0.1, 2] = np.nan
    return X, np.array([True, False, True])


@cases("tree.grow")
def grow():
    rng = np.random.default_rng(1)
    X, mask = levels_of(30, seed=30)  # the first case has all outputs: mutants of them end here
    y, weight = targets_for(tree.SQUARED, (), 1, 30, rng), rng.integers(1, 1024, (3, 30)) / 512
    weight[1, 20:] = weight[2, 10:] = 0
    args, bounds = growing(X, y, weight, (), tree.rule_of(tree.SQUARED), 3, None, mask)
    yield Case("levels first", args, bounds=bounds, updated=UPDATED)
    # Several classes with whole weights: few rows, bins, and ranks far from each other.
    for (n, k), limits in itertools.product(
        ((40, 5), (90, 4), (300, 7), (700, 3)), ({}, {"min_leaf": 3, "max_leaf_nodes": 9})
    ):
        X, y = rows_of(n, 4, gaps=False, seed=n), targets_for(tree.GINI, (k,), 1, n, rng)
        weight = rng.integers(0, 4, (2, n)).astype(float)
        weight[1] = weight[1] * (rng.random(n) < 0.05) + (np.arange(n) < 2)
        for own in (None, weight):
            trees = 1 if own is None else 2
            rule = tree.rule_of(tree.GINI, **({"max_depth": 3} if n >= 300 else {}), **limits)
            args, bounds = growing(X, y, own, (k,), rule, trees)
            yield Case(f"{k} classes {n} {trees} {limits}", args, bounds=bounds, updated=UPDATED)
    rng = np.random.default_rng(0)
    # Up to 64 rows every cut is looked at; beyond, bins, and bins of bins.
    for n, d, criteria in ((1, 1, RULES), (24, 3, RULES), (70, 2, RULES), (700, 2, RULES[5:6])):
        for criterion, classes, outputs, alpha in criteria:
            for weighted in (False, True):
                X = rows_of(n, max(d, 2), gaps=n == 24, seed=n)
                y = targets_for(criterion, classes, outputs, n, rng)
                weight = rng.integers(0, 1024, (1, n)) / 512 if weighted else None
                if weighted:
                    weight[:, 0] = 1
                for name, limits in LIMITS.items():
                    if n > 64 and name != "limits":  # what is below is as for few rows
                        limits = {**limits, "max_depth": 3}
                    rule = tree.rule_of(criterion, alpha=alpha, **limits)
                    ranks = (None if weighted else 4) if limits.get("random") else 2
                    args, bounds = growing(X, y, weight, classes, rule, ranks=ranks)
                    words = f"{n} {d} {tree.CRITERIA[criterion]} {outputs} {alpha} {weighted}"
                    yield Case(f"{words} {name}", args, bounds=bounds, updated=UPDATED)
    for n, criteria in ((30, RULES[:9]), (120, (RULES[0], RULES[5]))):
        for criterion, classes, outputs, alpha in criteria:
            X, mask = levels_of(n, seed=n)
            y = targets_for(criterion, classes, outputs, n, rng)
            weight = rng.integers(1, 1024, (3, n))[:2] / 512
            for name, limits in LIMITS.items():
                once = name in ("limits", "drawn", "random")
                rule = tree.rule_of(
                    criterion, alpha=alpha, levels_once=once, bagged=name == "limits", **limits
                )
                for own in (None, weight):
                    trees = 1 if own is None else 2
                    args, bounds = growing(X, y, own, classes, rule, trees, None, mask, 2 * trees)
                    words = f"levels {n} {tree.CRITERIA[criterion]} {outputs} {own is None}"
                    yield Case(f"{words} {name}", args, bounds=bounds, updated=UPDATED)
    for criterion, classes in ((tree.GINI, (2,)), (tree.SQUARED, ()), (tree.QUANTILE, ())):
        X, signs = rows_of(60, 3, gaps=False), np.array([1, -1, 0], np.int32)
        y = targets_for(criterion, classes, 1, 60, rng)
        args, bounds = growing(X, y, None, classes, tree.rule_of(criterion), 1, signs)
        name = f"monotonic {tree.CRITERIA[criterion]}"
        yield Case(name, args, bounds=bounds, updated=UPDATED)
    X = np.array([[1.0], [np.nextafter(1.0, 2)], [-1.5e308], [1.5e308]]).astype(float)
    y = np.arange(4.0)[:, None]
    for random in (False, True):
        rule = tree.rule_of(tree.SQUARED, random=random)
        args, bounds = growing(X, y, None, (), rule, 3, ranks=4)
        yield Case(f"neighbours {random}", args, bounds=bounds, updated=UPDATED)
    # Values of float32 that stand for their ranks, and ranks of three bytes.
    for criterion, classes, outputs, alpha in RULES:
        X = rows_of(40, 3, seed=40)
        y = targets_for(criterion, classes, outputs, 40, rng)
        weight = rng.integers(0, 1024, (2, 40)) / 512 if outputs == 1 else None
        rule = tree.rule_of(criterion, alpha=alpha, max_depth=3)
        for ranks, own in ((None, X.astype(np.float32)), (3, X)):
            args, bounds = growing(
                own, y, weight, classes, rule, 1 if weight is None else 2, ranks=ranks
            )
            words = f"{ranks} bytes {tree.CRITERIA[criterion]} {classes} {outputs} {alpha}"
            yield Case(words, args, bounds=bounds, updated=UPDATED)
    # Ranks of bins, some of them without rows.
    for n, (criterion, classes, outputs, alpha) in itertools.product(
        (30, 90), (RULES[0], RULES[1], RULES[3], RULES[5], RULES[10])
    ):
        X = rows_of(n, 4, gaps=n < 90)
        y = targets_for(criterion, classes, outputs, n, rng)
        weight = rng.integers(1, 1024, (2, n)) / 512
        weight[1, n // 2 :] = 0
        bins = 2 * (np.nan_to_num(X)[:, :, None] > np.arange(6) - 3).sum(axis=2)
        bins = np.where(np.isnan(X), 255, bins).T[:, :, None].astype(np.uint8)
        for name in ("grown", "limits", "best first", "random") if n < 90 else ("limits",):
            rule = tree.rule_of(criterion, alpha=alpha, **LIMITS[name])
            args, bounds = growing(X, y, weight, classes, rule, 2)
            args = X, bins, *args[2:]
            words = f"bins {n} {tree.CRITERIA[criterion]} {classes} {name}"
            yield Case(words, args, bounds=bounds, updated=UPDATED)
    X, y = rows_of(60, 70), targets_for(tree.SQUARED, (), 1, 60, rng)
    weight = rng.integers(0, 3, (4, 60)).astype(float)
    weight[1, 9:] = weight[2, 20:] = 0
    rule = tree.rule_of(tree.SQUARED, max_features=3)
    args, bounds = growing(X.astype(np.float32), y, weight, (), rule, 4)
    yield Case("big", args, bounds=bounds, updated=UPDATED, big=True)


def forest(n_features, trees=3, seed=0, levels=False, depth=5):
    """Random nodes in order of depth first, sides, and values; feature 0 may hold codes."""
    rng = np.random.default_rng(seed)
    nodes, roots, leaves, sides = [], [], 0, []

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
        threshold = float(np.round(rng.normal() * 2) / 2)
        if levels and feature in (0, tree.MISSING):
            threshold, feature = float(len(sides)), feature | tree.CATEGORY
            sides.append(rng.integers(0, 256, 32).astype(np.uint8))
        own[me] = (threshold, feature, right)

    for _ in range(trees):
        own = []
        add(depth)
        roots.append(len(nodes))
        nodes += own
    words = np.array(nodes, tree.NODE).view(np.int64).reshape(-1, 2)
    return (
        words,
        np.array(roots),
        np.array(sides, np.uint8).reshape(-1, 32),
        rng.normal(size=(leaves, 2)),
    )


def rows_for(n, d, dtype):
    """Feature 0 holds codes, some of them out of range or missing."""
    X = rows_of(n, d, dtype)
    X[:, 0] = np.random.default_rng(n).choice([*range(-2, 260), 300, np.nan], n)
    return X


@cases("tree.apply")
def apply():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2)):
            X = rows_of(n, d, dtype) if n else np.zeros((0, d))
            yield Case(f"{n} {d}", (X, *forest(d)[:3]))
        for n in (1, 30, 200):
            yield Case(f"levels {n}", (rows_for(n, 3, dtype), *forest(3, levels=True)[:3]))
        yield Case("big", (rows_of(3000, 3, dtype), *forest(3, trees=2)[:3]), big=True)
        yield Case("no tree", (rows_of(5, 2, dtype), np.zeros((0, 2), np.int64), NONE, NO_SIDES))


@cases("tree.predict")
def predict():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2)):
            X = rows_of(n, d, dtype) if n else np.zeros((0, d))
            yield Case(f"{n} {d}", (X, *forest(d)), bounds=(1e-14,))
        X = rows_for(150, 3, dtype)
        yield Case("levels", (X, *forest(3, levels=True)), bounds=(1e-14,))
        yield Case("big", (rows_of(3000, 3, dtype), *forest(3, trees=2)), bounds=(1e-14,), big=True)


@cases("tree.contributions")
def contributions():
    start = np.array([0.5, -1.0, 2.0, 0.0])
    for dtype in DTYPES:
        for n, d in ((1, 1), (3, 2), (40, 4), (0, 2)):
            *given, values = forest(d, levels=True, depth=4)
            X = rows_for(n, d, dtype) if n else np.zeros((0, d), dtype)
            cover = np.random.default_rng(6).uniform(0.01, 5, len(given[0]))
            for k in (2, 4):  # all trees add to the same scores, or in turns
                yield Case(f"{n} {d} {k}", (X, *given, cover, values, start[:k]), bounds=(1e-12,))
        *given, values = forest(3, 3, depth=3)
        cover = np.random.default_rng(7).uniform(1, 5, len(given[0]))
        args = rows_for(500, 3, dtype), *given, cover, values, start
        yield Case("big", args, bounds=(1e-12,), big=True)


test_agreement, test_layouts, test_threads, test_mutants = agreement_tests("tree")


def test_bad_nodes():
    words, roots, sides, values = forest(2)
    X, ones = np.zeros((1, 2)), np.ones(len(words))
    for op, args in (
        (tree.apply, ()),
        (tree.predict, (values,)),
        (tree.contributions, (np.ones(3), values, np.zeros(2))),
    ):
        for name, wrong in (
            ("feature", np.array([(0.0, 2, 2), (0.0, -1, 0), (0.0, -1, 0)], tree.NODE)),
            ("cycle", np.array([(0.0, 0, 0), (0.0, -1, 0), (0.0, -1, 0)], tree.NODE)),
            ("outside", np.array([(0.0, 0, 3), (0.0, -1, 0), (0.0, -1, 0)], tree.NODE)),
            ("sides", np.array([(0, tree.CATEGORY, 2), (0, -1, 0), (0, -1, 0)], tree.NODE)),
        ):
            bad = wrong.view(np.int64).reshape(-1, 2)
            for function in (op, op.specification):
                with pytest.raises(ValueError, match=r"nodes must name features of X"):
                    function(X, bad, np.array([0]), sides, *args), name
    for function in (tree.predict, tree.predict.specification):
        with pytest.raises(ValueError, match="nodes must"):
            function(X, words, roots, sides, values[:1])
    for function in (tree.apply, tree.apply.specification):
        with pytest.raises(ValueError, match="nodes must"):
            function(X, words, np.array([len(words)]), sides)
    for function in (tree.contributions, tree.contributions.specification):
        with pytest.raises(ValueError, match="nodes must"):
            function(X, words, roots, sides, ones, values[:1], np.zeros(2))
        with pytest.raises(ValueError, match="start must have a multiple of the columns"):
            function(X, words, roots, sides, ones, values, np.zeros(3))


@pytest.mark.parametrize("criterion", [tree.SQUARED, tree.POISSON])
@pytest.mark.parametrize("outputs", [1, 2])
def test_equal_partitions_tie_whatever_rounds(criterion, outputs):
    """Two rows far from 0 and close to each other: each feature gives the same partition."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        X = rng.permuted(np.arange(2.0)[:, None] + np.zeros((2, 4)), axis=0)
        y = rng.uniform(1, 50) * (1 + 10 ** rng.uniform(-4, -1) * rng.random((2, outputs)))
        weight = rng.random((1, 2)) + 0.01
        args, _ = growing(X, y, weight, (), tree.rule_of(criterion))
        for op in (tree.grow, tree.grow.specification):
            room = [array.copy() for array in args[9:]]
            op(*args[:9], *room)
            root = room[0][0, :1].copy().view(tree.NODE).ravel()[0]
            assert (root["feature"] & 0xFFFF, root["threshold"]) == (0, 0.5)


@pytest.mark.parametrize("case", [(163, 5), (175, 8), (119, 8), (175, 7)])
def test_random_trees_of_weighted_rows(case):
    """Trees that once differed from the specification, by gains that should have tied."""
    seed, rule = case
    rng = np.random.default_rng(seed)
    criterion, classes, outputs, alpha = RULES[rule]
    for n, limits, weighted in itertools.product((24, 60), LIMITS.values(), (False, True)):
        X, y = rows_of(n, 3, seed=seed), targets_for(criterion, classes, outputs, n, rng)
        weight = rng.integers(0, 1024, (1, n)) / 512 if weighted else None
        args, _ = growing(X, y, weight, classes, tree.rule_of(criterion, alpha=alpha, **limits))
        rooms = [[array.copy() for array in args[9:]] for _ in range(2)]
        for op, room in zip((tree.grow, tree.grow.specification), rooms, strict=True):
            op(*args[:9], *room)
        np.testing.assert_array_equal(rooms[0][0], rooms[1][0])


def test_refusals_of_ranks():
    X, y = rows_of(20, 2), np.arange(20.0)[:, None]
    args = growing(X, y, None, (), tree.rule_of(tree.SQUARED))[0]
    for op in (tree.grow, tree.grow.specification):
        with pytest.raises(
            ValueError, match="ranks must be given for cuts of float64 that are not"
        ):
            op(X, None, *args[2:])
        with pytest.raises(ValueError, match=r"must have 1 or 4 bytes each, or 2 .* got 5 for 20"):
            op(X, np.zeros((2, 20, 5), np.uint8), *args[2:])
        none = op(X[:, :0], None, *args[2:])  # without features there is nothing to rank
        assert none.tolist() == [1]
    many = np.zeros((65_536, 1), np.float32)
    for op in (tree.rank_columns, tree.rank_columns.specification):
        with pytest.raises(ValueError, match=r"bytes must be 4, or 2 .* got 2 for 65536 rows"):
            op(many, 2)
        assert op(many[1:], 2).shape == (1, 65_535, 2)


def sorts_of_values(rng, n):
    """Columns whose values lie in all sorts of ways, and the name of each sort."""
    gauss = rng.normal(size=(n, 3))
    yield "usual", gauss
    yield "integers", rng.integers(-3, 12, (n, 3))
    yield "many integers", rng.integers(-5000, 5000, (n, 3))
    yield "two values", rng.integers(0, 2, (n, 3))
    yield "two fractions", np.where(rng.random((n, 3)) < 0.3, 0.1, 0.7)
    yield "outliers", rng.standard_cauchy((n, 3))
    yield "many scales", np.exp(12 * rng.normal(size=(n, 3)))
    yield "mostly zero", gauss * (rng.random((n, 3)) < 0.1)
    yield "beyond the range", gauss * 1e38  # differences overflow
    yield "no normal numbers", gauss * 1e-40
    yield "both zeros", np.where(gauss < 0, -0.0, 0.0) + (gauss > 1.5)
    yield "one constant", gauss * [1, 0, 1]
    gaps = rng.random((n, 3))
    yield "missing", np.where(gaps < 0.2, np.nan, gauss)
    yield "infinite", np.where(gaps < 0.02, np.inf, np.where(gaps > 0.98, -np.inf, gauss))


@pytest.mark.parametrize("n", [60, 700, 4000])
def test_values_stand_for_their_ranks(n):
    """Trees of float32 rows without ranks have the bits of those with ranks of any width."""
    rng = np.random.default_rng(n)
    none = np.zeros(0, np.int64)
    for name, columns in sorts_of_values(rng, n):
        with np.errstate(over="ignore"):
            X = columns.astype(np.float32)
        order = np.argsort(np.argsort(np.nan_to_num(X[:, 0], posinf=9, neginf=-9), kind="stable"))
        signal = order / n + (rng.random(n) < 0.3)
        for criterion, count in (
            (tree.GINI, 2), (tree.GINI, 3), (tree.GINI, 12), (tree.ENTROPY, 2), (tree.SQUARED, 0)
        ):  # fmt: skip
            classes = np.array([count]) if count else none
            y = (np.floor(signal / 1.3 * count) if count else signal + rng.normal(size=n))[:, None]
            y = np.clip(y, 0, count - 1) if count else y
            for weight in (None, rng.integers(1, 99, (1, n)) / 64):
                rule = tree.rule_of(criterion, max_depth=6, min_leaf=2)
                trees = []
                for width in (None, 3, 4):
                    room = growing(X, y, None, (), rule)[0][9:]
                    if count:
                        room = (*room[:2], np.zeros((1, 2 * n, count)), room[3])
                        room = (room[0], room[1], room[2][:, : room[0].shape[1]].copy(), room[3])
                    ranks = width and tree.rank_columns(X, width)
                    size = tree.grow(
                        X, ranks, y, weight, classes, rule, None, None, np.zeros(1, int), *room
                    )[0]
                    trees.append([part[0, :size] for part in room[:3]])
                for other in trees[1:]:
                    for a, b in zip(trees[0], other, strict=True):
                        np.testing.assert_array_equal(a, b, err_msg=f"{name} {criterion} {count}")
                assert len(trees[0][0]) > 1, name


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("criterion", [tree.GINI, tree.SQUARED])
def test_equal_gains_of_several_features_in_one_pass(criterion, weighted):
    """A cut inside a bin, one between two bins, and cuts that gain nothing: the first feature."""
    rng, n = np.random.default_rng(3), 600
    classes = (2,) if criterion == tree.GINI else ()
    order = rng.permutation(n)
    y = (order < n // 2).astype(float)[:, None]
    X = rng.normal(size=(n, 7))
    X[:, 5] = np.where(order == n - 1, 1.0, order * 1e-6)  # one bin holds all rows but one
    X[:, 6] = -y[:, 0]
    first, second = order % 2, order // 2 % 2
    exclusive = np.ones((n, 7))
    exclusive[:, 3], exclusive[:, 6] = first, second
    either = (first ^ second)[:, None].astype(float)
    weight = rng.integers(1, 99, (1, n)) / 64 if weighted else None
    even = np.full((1, n), 0.75) if weighted else None  # so that gains are 0
    for own, targets, mass, feature, size in (
        (X, y, weight, 5, 3),
        (exclusive, either, even, 3, 7),
    ):
        for ranks in (None, 4):
            args, _ = growing(
                own.astype(np.float32), targets, mass, classes, tree.rule_of(criterion), ranks=ranks
            )
            got = tree.grow(*args)
            root = args[9][0, 0].view(tree.NODE)[0]
            assert (root["feature"] & 0xFFFF, got[0]) == (feature, size), ranks


def test_shapley_values_by_all_orders():
    """Against the definition: the mean gain of worth over all orders of the features."""
    words, roots, sides, values = forest(3, trees=1, depth=4)
    X, cover = rows_of(5, 3), np.random.default_rng(0).uniform(1, 2, len(words))
    nodes = words.view(tree.NODE)[:, 0]

    def worth(at, known, x):
        node = nodes[at]
        if node["feature"] < 0:
            return values[node["right"], 0]
        f, right = int(node["feature"]) & 0xFFFF, int(node["right"])
        if f in known:
            missing = bool(int(node["feature"]) & tree.MISSING)
            left = missing if np.isnan(x[f]) else x[f] <= node["threshold"]
            return worth(at + 1 if left else right, known, x)
        a, b = cover[at + 1], cover[right]
        return (a * worth(at + 1, known, x) + b * worth(right, known, x)) / (a + b)

    want = np.zeros((5, 4))
    for order in itertools.permutations(range(3)):
        for i, f in enumerate(order):
            for r in range(5):
                after, before = set(order[: i + 1]), set(order[:i])
                want[r, f] += (worth(0, after, X[r]) - worth(0, before, X[r])) / 6
    want[:, 3] = worth(0, set(), X[0])
    for op in (tree.contributions, tree.contributions.specification):
        got = op(X, words, roots, sides, cover, values, np.zeros(2))[:, 0]
        np.testing.assert_allclose(got, want, atol=1e-13)


def test_shapley_values_of_long_paths_add_up():
    """A path through 60 features needs 30 points of integration, and a chain is no recursion."""
    for length, d in ((60, 60), (20_000, 7)):
        nodes = np.zeros(2 * length + 1, tree.NODE)
        nodes["feature"][0::2], nodes["right"][0::2] = np.arange(length + 1) % d, 0
        nodes["threshold"][0::2] = -np.arange(length + 1) / length
        nodes["feature"][1::2], nodes["right"][1::2] = -1, np.arange(length)
        nodes["right"][0:-1:2] = np.arange(2, 2 * length + 1, 2)
        nodes[-1] = (0, -1, length)
        words, root = nodes.view(np.int64).reshape(-1, 2), np.zeros(1, np.int64)
        rng = np.random.default_rng(0)
        values, cover = rng.normal(size=(length + 1, 1)), np.ones(2 * length + 1)
        cover[::2] = np.arange(length + 1, 0, -1)
        X = -rng.random((9, d)) * 0.9
        phi = tree.contributions(X, words, root, NO_SIDES, cover, values, np.zeros(1))[:, 0]
        want = tree.predict(X, words, root, NO_SIDES, values)[:, 0]
        np.testing.assert_allclose(phi.sum(axis=1), want, atol=1e-11)
        np.testing.assert_allclose(phi[:, -1], values.mean(), atol=1e-12)


def test_grow_refuses():
    X, y = np.zeros((3, 1)), np.array([[0.0], [1.0], [1.0]])
    for wrong, message in (
        ((y + 0.5, None, (2,), {}), "y must hold numbers of classes"),
        ((y + 1, None, (2,), {}), "y must hold numbers of classes"),
        ((y, None, (2, 2), {}), "y must hold numbers of classes"),
        ((y, np.zeros((1, 3)), (2,), {}), "weight must be above 0"),
    ):
        targets, weight, classes, limits = wrong
        args, _ = growing(X, targets, weight, classes, tree.rule_of(tree.GINI, **limits))
        for op in (tree.grow, tree.grow.specification):
            with pytest.raises(ValueError, match=f"^tree.grow: {message}"):
                op(*args)
    args, _ = growing(np.arange(3.0)[:, None], y, None, (2,), tree.rule_of(tree.GINI))
    short = [array[:, :1].copy() for array in args[9:12]]
    for op in (tree.grow, tree.grow.specification):
        with pytest.raises(ValueError, match=r"^tree.grow: nodes must have room"):
            op(*args[:9], *short, args[12])
    one = np.ones(1, bool)
    for wrong in (-1.0, 256.0, 0.5, np.inf):
        args, _ = growing(np.array([[0], [1], [wrong]]), y, None, (2,), tree.rule_of(tree.GINI))
        for op in (tree.grow, tree.grow.specification):
            with pytest.raises(ValueError, match=r"categorical features must be whole numbers"):
                op(*args[:7], one, *args[8:])
    args, _ = growing(np.arange(3.0)[:, None], y, None, (2,), tree.rule_of(tree.GINI))
    for op in (tree.grow, tree.grow.specification):
        with pytest.raises(ValueError, match=r"^tree.grow: sides must have room"):
            op(*args[:7], one, *args[8:])


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_ways_down_lead_to_the_same_leaves(dtype, gaps):
    """A few rows, blocks of rows along nodes as they are, packed nodes, and those of long links."""
    X = rows_of(2000, 4, dtype, gaps=gaps)
    many = forest(4, trees=3, depth=11, seed=5)
    levels = forest(4, trees=3, depth=11, seed=5, levels=True)
    for words, roots, sides, values in (many, levels):
        few = [slice(i, i + 50) for i in range(0, 2000, 50)]
        one = np.concatenate([tree.apply(X[s], words, roots, sides) for s in few])
        sums = np.concatenate([tree.predict(X[s], words, roots, sides, values) for s in few])
        assert len(words) > 8 * 64 * 3  # so that 64 rows are not worth packing
        for rows in (64, 65, 400, 2000):
            assert np.array_equal(tree.apply(X[:rows], words, roots, sides), one[:rows])
            assert np.array_equal(tree.predict(X[:rows], words, roots, sides, values), sums[:rows])


def test_links_that_need_more_than_32_bits():
    """16,384 features and 65,537 nodes: a chain whose left children are leaves."""
    d, length = 2**14, 2**15
    nodes = np.zeros(2 * length + 1, tree.NODE)
    nodes["feature"][0::2], nodes["threshold"][0::2] = np.arange(length + 1) % d, -0.999
    nodes["right"][0:-1:2] = np.arange(2, 2 * length + 1, 2)
    nodes["feature"][1::2], nodes["right"][1::2] = -1, np.arange(length)
    nodes[-1] = (0, -1, length)
    words, root = nodes.view(np.int64).reshape(-1, 2), np.zeros(1, np.int64)
    line = np.random.default_rng(1).uniform(-1, 1, 9000 + d).astype(np.float32)
    X = np.lib.stride_tricks.sliding_window_view(line, d)[:9000]
    got = tree.apply(X, words, root, NO_SIDES)[:, 0]
    left = np.flatnonzero(line <= -0.999)
    first = left[np.searchsorted(left, np.arange(9000))] - np.arange(9000)
    assert first.max() < d
    assert np.array_equal(got, 2 * first + 1)
