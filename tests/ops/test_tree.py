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


@cases("tree.rank_columns")
def rank_columns():
    for dtype in DTYPES:
        for n, d in (*SHAPES, (0, 2), (3, 0)):
            yield Case(f"{n} {d}", (rows_of(n, d, dtype) if n * d else np.zeros((n, d), dtype),))
        yield Case("big", (rows_of(5000, 3, dtype),), big=True)


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
    "best first": {"max_leaf_nodes": 7, "min_gain": 1e-3},
    "drawn": {"max_features": 2},
    "random": {"max_features": 2, "random": True},
}


def targets_for(criterion, classes, outputs, n, rng):
    """Targets that make ties of unrelated splits unlikely; weights are sums of few bits."""
    if classes:
        return np.stack([rng.integers(0, c, n) for c in classes], axis=1).astype(float)
    y = np.round(rng.normal(size=(n, outputs)) * 2**20) / 2**20 + 3
    return np.maximum(0, np.round(y * 4)) if criterion == tree.POISSON else y


def growing(X, y, weight, classes, options, trees=1, monotonic=None):
    """Arguments of `tree.grow`, and the bounds of its outputs."""
    n, width = len(X), sum(classes) if classes else y.shape[1]
    most = max(1, 2 * n - 1)
    room = [np.zeros((trees, most, k), t) for k, t in ((2, np.int64), (3, float), (width, float))]
    args = (
        *tree.rank_columns.specification(X), y, weight, np.array(classes, np.int64), options,
        monotonic, np.arange(trees) + 7, *room,
    )  # fmt: skip
    size = 1e-12 * (1 + np.abs(y).max(initial=0)) * n
    return args, (None, None, size, size)


@cases("tree.grow")
def grow():
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
                    if n == 700 and name in ("grown", "random"):
                        limits = {**limits, "max_depth": 3}
                    rule = tree.rule_of(criterion, alpha=alpha, **limits)
                    args, bounds = growing(X, y, weight, classes, rule)
                    words = f"{n} {d} {tree.CRITERIA[criterion]} {outputs} {alpha} {weighted}"
                    yield Case(f"{words} {name}", args, bounds=bounds, updated=(8, 9, 10))
    for criterion, classes in ((tree.GINI, (2,)), (tree.SQUARED, ()), (tree.QUANTILE, ())):
        X, signs = rows_of(60, 3, gaps=False), np.array([1, -1, 0], np.int32)
        y = targets_for(criterion, classes, 1, 60, rng)
        args, bounds = growing(X, y, None, classes, tree.rule_of(criterion), 1, signs)
        name = f"monotonic {tree.CRITERIA[criterion]}"
        yield Case(name, args, bounds=bounds, updated=(8, 9, 10))
    X = np.array([[1.0], [np.nextafter(1.0, 2)], [-1.5e308], [1.5e308]]).astype(float)
    y = np.arange(4.0)[:, None]
    for random in (False, True):
        rule = tree.rule_of(tree.SQUARED, random=random)
        args, bounds = growing(X, y, None, (), rule, 3)
        yield Case(f"neighbours {random}", args, bounds=bounds, updated=(8, 9, 10))
    X, y = rows_of(60, 70), targets_for(tree.SQUARED, (), 1, 60, rng)
    weight = rng.integers(0, 3, (4, 60)).astype(float)
    weight[1, 9:] = weight[2, 20:] = 0
    rule = tree.rule_of(tree.SQUARED, max_features=3)
    args, bounds = growing(X.astype(np.float32), y, weight, (), rule, 4)
    yield Case("big", args, bounds=bounds, updated=(8, 9, 10), big=True)


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
    short = [array[:, :1].copy() for array in args[8:]]
    for op in (tree.grow, tree.grow.specification):
        with pytest.raises(ValueError, match=r"^tree.grow: nodes must have room"):
            op(*args[:8], *short)
