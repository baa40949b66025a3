"""Decision trees: against scikit-learn, brute force, theorems, and cases worked out by hand."""

import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.tree as peer
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import GridSearchCV

import kernelmill
from kernelmill.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

CLASSIFICATION = ("gini", "entropy")
REGRESSION = ("squared_error", "absolute_error", "poisson")


def unique_splits(n=300, d=6, seed=0, classes=None):
    """Continuous weights make the best split of every node unique, up to rows that are alone."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32).astype(float)  # scikit-learn keeps float32
    signal = X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.normal(size=n)
    weight = rng.integers(512, 2048, n) / 1024  # exact sums: else scikit-learn splits pure nodes
    y = signal if classes is None else np.digitize(signal, np.quantile(signal, classes))
    return X, y, weight


OPTIONS = (
    {"max_depth": 6, "min_samples_leaf": 4},
    {"min_samples_split": 0.1, "min_samples_leaf": 0.02},
    {"max_leaf_nodes": 17, "min_samples_leaf": 3},
    {"min_weight_fraction_leaf": 0.03},
    {"min_impurity_decrease": 0.004, "min_samples_leaf": 4},
    {"ccp_alpha": 0.004, "min_samples_leaf": 4},
)


def assert_same_tree(ours, theirs):
    """The same tree, however its nodes are numbered, up to rounding."""
    stack = [(0, 0)]
    assert ours.node_count == theirs.node_count
    while stack:
        a, b = stack.pop()
        assert ours.n_node_samples[a] == theirs.n_node_samples[b]
        weights = ours.weighted_n_node_samples[a], theirs.weighted_n_node_samples[b]
        np.testing.assert_allclose(*weights, rtol=1e-9)
        np.testing.assert_allclose(ours.value[a], theirs.value[b], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.impurity[a], theirs.impurity[b], rtol=1e-7, atol=1e-12)
        assert ours.feature[a] == theirs.feature[b]
        if ours.feature[a] < 0:
            continue
        np.testing.assert_allclose(ours.threshold[a], theirs.threshold[b], rtol=1e-6)
        # None were missing: they follow the heavier child, with scikit-learn the one of more rows.
        mass = theirs.weighted_n_node_samples
        heavier = mass[theirs.children_left[b]] > mass[theirs.children_right[b]]
        assert ours.missing_go_to_left[a] == heavier
        for side in ("children_left", "children_right"):
            stack.append((getattr(ours, side)[a], getattr(theirs, side)[b]))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(o))
@pytest.mark.parametrize("criterion", CLASSIFICATION)
@pytest.mark.parametrize("classes", [(0.5,), (0.3, 0.6)], ids=("two", "three"))
def test_classifier_is_scikit_learns_where_the_best_split_is_unique(criterion, classes, options):
    X, y, w = unique_splits(classes=list(classes))
    ours = DecisionTreeClassifier(criterion=criterion, **options).fit(X, y, w)
    theirs = peer.DecisionTreeClassifier(criterion=criterion, random_state=0, **options)
    theirs.fit(X, y, w)
    assert_same_tree(ours.tree_, theirs.tree_)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, atol=1e-10)
    assert ours.get_depth() == theirs.get_depth()
    assert ours.get_n_leaves() == theirs.get_n_leaves()
    path, want = ours.decision_path(X), theirs.decision_path(X)
    assert (path.sum(axis=1) == want.sum(axis=1)).all()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(o))
@pytest.mark.parametrize("criterion", REGRESSION)
def test_regressor_is_scikit_learns_where_the_best_split_is_unique(criterion, options):
    X, y, w = unique_splits(seed=1)
    y = np.exp(y / 2) if criterion == "poisson" else y
    ours = DecisionTreeRegressor(criterion=criterion, **options).fit(X, y, w)
    theirs = peer.DecisionTreeRegressor(criterion=criterion, random_state=0, **options).fit(X, y, w)
    assert_same_tree(ours.tree_, theirs.tree_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("criterion", CLASSIFICATION)
def test_impurities_on_real_data(load, criterion):
    """Ties are broken otherwise, but the best split has the same gain at every shared node."""
    X, y = load(return_X_y=True)
    X = X.astype(np.float32).astype(float)
    ours = DecisionTreeClassifier(criterion=criterion).fit(X, y)
    theirs = peer.DecisionTreeClassifier(criterion=criterion, random_state=0).fit(X, y)
    a, b, stack = ours.tree_, theirs.tree_, [(0, 0)]
    while stack:
        i, j = stack.pop()
        np.testing.assert_allclose(a.impurity[i], b.impurity[j], atol=1e-12)
        assert (a.feature[i] < 0) == (b.feature[j] < 0)
        if a.feature[i] < 0:
            continue

        def gain(t, node):
            sides = t.children_left[node], t.children_right[node]
            w = t.weighted_n_node_samples
            return w[node] * t.impurity[node] - sum(w[s] * t.impurity[s] for s in sides)

        np.testing.assert_allclose(gain(a, i), gain(b, j), rtol=1e-9)
        if a.feature[i] == b.feature[j]:
            stack += [(a.children_left[i], b.children_left[j])]
            stack += [(a.children_right[i], b.children_right[j])]
    assert ours.score(X, y) == 1.0


def loss(y, w, criterion):
    """Weight times impurity, from the definition."""
    if criterion == "absolute_error":
        return min((w * np.abs(y - m)).sum() for m in y)
    if criterion == "squared_error":
        return (w * (y - np.average(y, weights=w)) ** 2).sum()
    p = np.array([w[y == c].sum() for c in np.unique(y)]) / w.sum()
    return w.sum() * (1 - (p**2).sum() if criterion == "gini" else -(p * np.log2(p)).sum())


@pytest.mark.parametrize("criterion", ["gini", "entropy", "squared_error", "absolute_error"])
@pytest.mark.parametrize("gaps", [False, True])
def test_every_cut_of_small_sets(criterion, gaps):
    """The first cut leaves no more loss than any other, the missing on either side."""
    rng = np.random.default_rng(0)
    model = DecisionTreeClassifier if criterion in CLASSIFICATION else DecisionTreeRegressor
    for _ in range(60):
        n, d = int(rng.integers(2, 9)), int(rng.integers(1, 4))
        X = rng.integers(0, 4, (n, d)).astype(float)
        if gaps:
            X[rng.random((n, d)) < 0.3] = np.nan
        y, w = rng.integers(0, 3, n), rng.integers(1, 4, n).astype(float)
        tree = model(criterion=criterion, max_depth=1).fit(X, y, w).tree_
        best, whole = np.inf, loss(y, w, criterion)
        for f in range(d):
            gap = np.isnan(X[:, f])
            for t in np.unique(X[~gap, f]):
                for side in (False, True):
                    left = np.where(gap, side, X[:, f] <= t)
                    if 0 < left.sum() < n:
                        parts = [loss(y[s], w[s], criterion) for s in (left, ~left)]
                        best = min(best, sum(parts))
        if not np.isfinite(best) or whole == 0:
            assert tree.node_count == 1
            continue
        leaves = tree.children_left < 0
        got = (tree.impurity * tree.weighted_n_node_samples)[leaves].sum()
        np.testing.assert_allclose(got, best, atol=1e-9)


# --- theorems -------------------------------------------------------------------------------------


def models():
    for criterion in CLASSIFICATION:
        yield DecisionTreeClassifier(criterion=criterion)
    for criterion in (*REGRESSION, "quantile"):
        yield DecisionTreeRegressor(criterion=criterion)
    yield ExtraTreeClassifier(random_state=0)
    yield ExtraTreeRegressor(random_state=0)


def data_for(model, n=200, seed=0):
    X, y, _ = unique_splits(n, seed=seed)
    return X, np.digitize(y, [-1, 0, 1]) if hasattr(model, "predict_proba") else np.exp(y)


@pytest.mark.parametrize("model", [*models()], ids=str)
def test_a_fully_grown_tree_makes_no_training_error(model):
    X, y = data_for(model)
    np.testing.assert_allclose(model.fit(X, y).predict(X), y, rtol=1e-12)


@pytest.mark.parametrize("model", [m for m in models() if m.splitter == "best"], ids=str)
def test_rising_maps_constants_and_duplicates_change_nothing(model):
    X, y = data_for(model)
    want = clone(model).fit(X, y).predict(X)
    mapped = clone(model).fit(np.exp(X), y)
    np.testing.assert_array_equal(mapped.predict(np.exp(X)), want)
    more = np.hstack([X, np.full((len(X), 1), 7.0), X[:, :3]])
    wider = clone(model).fit(more, y)
    np.testing.assert_array_equal(wider.predict(more), want)
    assert (wider.tree_.feature < X.shape[1]).all()
    np.testing.assert_allclose(wider.feature_importances_.sum(), 1)


@pytest.mark.parametrize("model", [*models()], ids=str)
def test_weights_are_repetitions_and_zero_weights_are_absent(model):
    X, y = data_for(model, 60)
    w = np.random.default_rng(0).integers(0, 4, len(X))
    model.set_params(max_depth=5)
    if model.max_features is not None:
        model.set_params(max_features=None)
    weighted = clone(model).fit(X, y, w)
    repeated = clone(model).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-12)
    absent = clone(model).fit(X[w > 0], y[w > 0], w[w > 0])
    np.testing.assert_array_equal(weighted.predict(X), absent.predict(X))


@pytest.mark.parametrize("model", [*models()], ids=str)
def test_same_bits_at_any_number_of_threads(model):
    X, y = data_for(model, 3000)
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            fitted = clone(model).fit(X, y)
            results.append((fitted.tree_.threshold, fitted.predict(X[::7])))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_pruning_path():
    X, y, w = unique_splits(classes=[0.5])
    ours = DecisionTreeClassifier(min_samples_leaf=4)
    theirs = peer.DecisionTreeClassifier(min_samples_leaf=4, random_state=0)
    a = ours.cost_complexity_pruning_path(X, y, w)
    b = theirs.cost_complexity_pruning_path(X, y, w)
    np.testing.assert_allclose(a.ccp_alphas, b.ccp_alphas, atol=1e-12)
    np.testing.assert_allclose(a.impurities, b.impurities, atol=1e-12)
    for alpha in (a.ccp_alphas[:-1] + a.ccp_alphas[1:]) / 2:
        one = clone(ours).set_params(ccp_alpha=alpha).fit(X, y, w)
        two = clone(theirs).set_params(ccp_alpha=alpha).fit(X, y, w)
        assert_same_tree(one.tree_, two.tree_)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(),
        DecisionTreeRegressor(),
        DecisionTreeRegressor(criterion="absolute_error"),
        DecisionTreeRegressor(max_leaf_nodes=20),
    ],
    ids=str,
)
def test_monotonic_constraints(model, sign):
    X, y, _ = unique_splits(400)
    y = (y > 0).astype(int) if hasattr(model, "predict_proba") else y
    model = clone(model).set_params(monotonic_cst=[sign, 0, 0, -sign, 0, 0]).fit(X, y)
    assert model.tree_.node_count > 5
    grid = np.linspace(-3, 3, 50)
    for row in X[:40]:
        for feature, way in ((0, sign), (3, -sign)):
            rows = np.tile(row, (50, 1))
            rows[:, feature] = grid
            given = model.predict_proba(rows)[:, 1] if hasattr(model, "classes_") else None
            level = model.predict(rows) if given is None else given
            assert (np.diff(level) * way >= -1e-12).all()


def test_several_outputs():
    X, y, w = unique_splits()
    targets = np.stack([y, X[:, 1], -y], axis=1)
    ours = DecisionTreeRegressor(min_samples_leaf=5).fit(X, targets, w)
    theirs = peer.DecisionTreeRegressor(min_samples_leaf=5, random_state=0).fit(X, targets, w)
    assert_same_tree(ours.tree_, theirs.tree_)
    labels = np.stack([y > 0, np.digitize(X[:, 1], [-1, 0.3])], axis=1)
    ours = DecisionTreeClassifier(min_samples_leaf=5).fit(X, labels, w)
    theirs = peer.DecisionTreeClassifier(min_samples_leaf=5, random_state=0).fit(X, labels, w)
    assert_same_tree(ours.tree_, theirs.tree_)
    for a, b in zip(ours.predict_proba(X), theirs.predict_proba(X), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    words = np.where(labels > 0, "yes", "no")
    assert DecisionTreeClassifier().fit(X, words).predict(X).tolist() == words.tolist()


def test_quantiles():
    X, y, w = unique_splits(500)
    for q in (0.1, 0.5, 0.9):
        model = DecisionTreeRegressor(criterion="quantile", quantile=q, min_samples_leaf=25)
        leaves = model.fit(X, y, w).apply(X)
        for leaf in np.unique(leaves):
            own, mass = y[leaves == leaf], w[leaves == leaf]
            value = model.tree_.value[leaf, 0, 0]
            assert mass[own < value].sum() <= q * mass.sum() * (1 + 1e-12)
            assert mass[own > value].sum() <= (1 - q) * mass.sum() * (1 + 1e-12)


# --- cases from public bug reports ----------------------------------------------------------------

A = np.arange(6.0)[:, None]
V = np.array([0, 1, 5, 2, 7, 3.0])


@pytest.mark.parametrize("low_high", [(0, 1e-7), (0, 1e-9), (0, 1e-30), (0, 5e-324)])
def test_close_values_differ(low_high):
    X = np.array(low_high)[:, None]
    assert DecisionTreeClassifier().fit(X, [0, 1]).score(X, [0, 1]) == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thresholds_lie_between_neighbours(dtype):
    one, big = dtype(1), np.finfo(dtype).max
    pairs = [(one, np.nextafter(one, dtype(2))), (big * dtype(0.88), big), (-big, big)]
    a = dtype(-0.00112051336219505895)
    pairs.append((a, np.nextafter(a, dtype(1))))
    for low, high in pairs:
        X = np.repeat(np.array([low, high], dtype), 10)[:, None]
        y = np.repeat([0, 1], 10)
        model = DecisionTreeClassifier().fit(X, y)
        assert model.score(X, y) == 1.0
        assert low <= model.tree_.threshold[0] < high


@pytest.mark.parametrize("scale", [1e-9, 1e-150, 1e150])
@pytest.mark.parametrize("criterion", ["squared_error", "absolute_error", "poisson"])
def test_units_of_targets(criterion, scale):
    model = DecisionTreeRegressor(criterion=criterion)
    y = V + 1  # leaves of the Poisson criterion are positive
    plain, scaled = clone(model).fit(A, y), clone(model).fit(A, y * scale)
    np.testing.assert_allclose(scaled.predict(A), y * scale, rtol=1e-14)
    np.testing.assert_array_equal(scaled.tree_.threshold, plain.tree_.threshold)


def test_a_value_equal_to_the_threshold_goes_left():
    for seed in range(200):
        g = np.random.default_rng(seed)
        X, y = g.random((40, 1)), g.integers(0, 2, 40)
        model = DecisionTreeClassifier(max_depth=1).fit(X, y)
        assert model.apply([[model.tree_.threshold[0]]]) == [1]


def test_weighted_absolute_error():
    X, y, w = [[1], [2], [3], [4], [5]], [1, 1, 3, 1, 2], [3, 3, 2, 1, 2]
    model = DecisionTreeRegressor(criterion="absolute_error", max_depth=1).fit(X, y, w)
    left, right = model.apply(X)[0], model.apply(X)[-1]
    assert (model.apply(X) == [left, left, right, right, right]).all()
    assert abs(np.array(y) - model.predict(X)) @ np.array(w) == 3


@pytest.mark.parametrize("model", [*models()], ids=str)
@pytest.mark.parametrize("weight", [None, 0.1])
def test_exclusive_or(model, weight):
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([0, 1, 1, 0])
    w = None if weight is None else np.full(4, weight)
    if getattr(model, "criterion", "") == "poisson":
        y = y + 1  # its leaves must be positive
    fitted = clone(model).fit(X, y, w)
    assert fitted.get_n_leaves() == 4
    np.testing.assert_array_equal(fitted.predict(X), y)


@pytest.mark.parametrize("power", [-1000, -400, 300, 900])
@pytest.mark.parametrize("model", [*models()], ids=str)
def test_units_of_weights(model, power):
    """A power of two changes no bit of what is learnt, but of logarithms the last ones."""
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(80, 3)), rng.integers(1, 4, 80), rng.uniform(0.5, 2, 80)
    one, other = (clone(model).fit(X, y, own) for own in (w, w * 2.0**power))
    for name in ("feature", "threshold", "value", "impurity"):
        given, found = getattr(one.tree_, name), getattr(other.tree_, name)
        if name == "impurity" and model.criterion in ("entropy", "poisson"):
            np.testing.assert_allclose(found, given, rtol=1e-12, atol=1e-15)
        else:
            np.testing.assert_array_equal(found, given, err_msg=name)
    mass = other.tree_.weighted_n_node_samples
    np.testing.assert_array_equal(mass, one.tree_.weighted_n_node_samples * 2.0**power)


@pytest.mark.parametrize("counts", [[5, 1, 5, 3, 3], [2, 2, 5, 1, 2], [3, 2, 5, 2, 2]], ids=str)
@pytest.mark.parametrize("times", [(7, 4), (8, 9), (10, 1)], ids=str)
def test_a_cut_between_equal_shares_is_a_cut(counts, times):
    """Its gain of 0 may be rounded to less; what is below it may still be cut."""
    rows = [np.repeat(np.arange(5), np.array(counts) * t) for t in times]
    X = np.repeat([0.0, 1.0], [len(own) for own in rows])[:, None]
    tree = DecisionTreeClassifier().fit(X, np.concatenate(rows)).tree_
    assert tree.n_node_samples.tolist() == [len(X), *(len(own) for own in rows)]


@pytest.mark.parametrize("criterion", ["squared_error", "absolute_error", "friedman_mse"])
def test_outputs_that_cancel(criterion):
    X, y = [[1], [2], [3], [4]], np.array([[1, -1], [1, -1], [0, 0], [0, 0.0]])
    model = DecisionTreeRegressor(criterion=criterion).fit(X, y)
    assert model.get_n_leaves() == 2
    assert model.tree_.threshold[0] == 2.5
    np.testing.assert_array_equal(model.predict(X), y)


def test_a_gap_beside_a_complete_column():
    X = np.array([[0, 0, 0, 0, 1, 2, 3, 4], [1, 2, 1, 2, 1, 2, 1, 2]], float).T
    X[X == 0] = np.nan
    y = [0, 0, 0, 0, 1, 1, 1, 1]
    for seed in range(20):
        model = DecisionTreeRegressor(
            max_depth=1, min_impurity_decrease=0.25, random_state=seed, max_features=1 + seed % 2
        ).fit(X, y)
        if model.max_features == 2:
            assert model.tree_.impurity.tolist() == [0.25, 0, 0]


@pytest.mark.parametrize("options", [{}, {"categorical_features": [0]}])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(),
        DecisionTreeClassifier(criterion="entropy"),
        DecisionTreeRegressor(),
        DecisionTreeRegressor(criterion="poisson"),
        ExtraTreeRegressor(random_state=0),
    ],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_missing_only_at_prediction_follow_the_larger_weight(model, options, classes):
    """As with rows repeated: 2 rows of weight 5 are more than 3 of 1. Equal sides go right."""
    model = clone(model).set_params(max_depth=1, **options)
    x = np.array([[0.0], [0], [1], [1], [1]])
    y = np.array([1.0, 1, 2, 2, classes])
    for weights in ([5, 5, 1, 1, 1], [1, 1, 5, 5, 5], [3, 3, 2, 2, 2]):
        rows = np.repeat(np.arange(5), weights)
        repeated = model.fit(x[rows], y[rows]).tree_.missing_go_to_left[0]
        assert options or repeated == (weights[0] == 5)  # levels may come in the other order
        for unit in (1.0, 0.1, 1e-9):
            tree = model.fit(x, y, sample_weight=unit * np.array(weights)).tree_
            assert tree.missing_go_to_left[0] == repeated


@pytest.mark.parametrize("model", [DecisionTreeRegressor(), ExtraTreeRegressor(random_state=0)])
def test_missing_only_at_prediction_follow_the_larger_child(model):
    x = np.arange(10.0)[:, None]
    model = model.set_params(max_depth=1).fit(x, (x[:, 0] > 6) * 1.0)
    tree = model.tree_
    larger = 1 if tree.n_node_samples[1] > tree.n_node_samples[tree.children_right[0]] else 2
    assert model.apply([[np.nan]]) == [1 if larger == 1 else tree.children_right[0]]


@pytest.mark.parametrize("criterion", ["squared_error", "absolute_error", "poisson", "gini"])
def test_drawn_cuts_part_the_missing_from_equal_values(criterion):
    """Rows that differ can be separated, if only in that a value is missing."""
    X = np.array([[np.nan, 5], [1, 5], [np.nan, 5], [1, 5]])
    y = np.array([1, 2, 1, 2])
    cls = ExtraTreeClassifier if criterion == "gini" else ExtraTreeRegressor
    model = cls(criterion=criterion, random_state=0).fit(X, y)
    assert model.predict(X).tolist() == y.tolist()
    assert model.tree_.threshold[0] == 1
    assert model.tree_.missing_go_to_left[0] == 0


def test_missing_values_change_nothing_where_there_are_none():
    X, y, _ = unique_splits()
    want = DecisionTreeRegressor().fit(X, y)
    wider = np.hstack([X, np.full((len(X), 1), np.nan)])
    np.testing.assert_array_equal(DecisionTreeRegressor().fit(wider, y).predict(wider),
                                  want.predict(X))  # fmt: skip


def test_tree_takes_sparse_rows():
    X = scipy.sparse.random(30, 4, 0.5, format="csr", random_state=0)
    tree = DecisionTreeRegressor().fit(X, np.arange(30)).tree_
    for name in ("apply", "predict"):
        want = getattr(tree, name)(X.toarray())
        np.testing.assert_array_equal(getattr(tree, name)(X), want)
    assert (tree.decision_path(X) != tree.decision_path(X.toarray())).nnz == 0


def test_sparse_read_only_and_mapped(tmp_path):
    import joblib

    S = scipy.sparse.random(200, 30, 0.1, format="csc", random_state=0)
    y = np.random.default_rng(0).normal(size=200)
    want = DecisionTreeRegressor().fit(S.toarray(), y)
    shuffled = S.tocsr()
    shuffled.indices, shuffled.data = shuffled.indices.copy(), shuffled.data.copy()
    for begin, end in itertools.pairwise(shuffled.indptr):
        shuffled.indices[begin:end] = shuffled.indices[begin:end][::-1]
        shuffled.data[begin:end] = shuffled.data[begin:end][::-1]
    shuffled.has_sorted_indices = False
    for X in (S, S.tocsr(), shuffled):
        for array in (X.data, X.indices, X.indptr):
            array.flags.writeable = False
        model = DecisionTreeRegressor().fit(X, y)
        np.testing.assert_array_equal(model.predict(X), want.predict(S))
        np.testing.assert_array_equal(model.tree_.threshold, want.tree_.threshold)
    joblib.dump(want, tmp_path / "tree.joblib")
    mapped = joblib.load(tmp_path / "tree.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict(S), want.predict(S))


# --- the ecosystem --------------------------------------------------------------------------------


def test_scikit_learns_exports_and_inspections():
    import matplotlib as mpl

    mpl.use("Agg")
    X, y = load_iris(return_X_y=True)
    model = DecisionTreeClassifier(max_depth=3).fit(X, y)
    theirs = peer.DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    assert peer.export_text(model).count("class") == peer.export_text(theirs).count("class")
    assert "digraph" in peer.export_graphviz(model, out_file=None, filled=True)
    assert len(peer.plot_tree(model, filled=True)) > 5
    X, y, _ = unique_splits()
    model = DecisionTreeRegressor(min_samples_leaf=5).fit(X, y)
    theirs = peer.DecisionTreeRegressor(min_samples_leaf=5, random_state=0).fit(X, y)
    for method in ("recursion", "brute"):
        ours, want = (
            partial_dependence(m, X, [2], method=method, kind="average")["average"]
            for m in (model, theirs)
        )
        np.testing.assert_allclose(ours, want, rtol=1e-6)
    assert permutation_importance(model, X, y, n_repeats=2).importances_mean.shape == (6,)
    search = GridSearchCV(DecisionTreeRegressor(), {"max_depth": [1, 2]}, cv=3).fit(X, y)
    assert search.best_estimator_.get_depth() in (1, 2)


def test_pickle_save_and_frames(tmp_path):
    X, y, w = unique_splits(classes=[0.5])
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = DecisionTreeClassifier(class_weight="balanced").fit(frame, y, w)
    assert model.feature_names_in_.tolist() == list("abcdef")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    kernelmill.save(model, tmp_path / "tree.km")
    loaded = kernelmill.load(tmp_path / "tree.km")
    np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    assert loaded.tree_.node_count == model.tree_.node_count


@pytest.mark.parametrize(
    ("model", "X", "y", "message"),
    [
        (DecisionTreeRegressor(max_depth=0), A, V, "max_depth must be a whole number"),
        (DecisionTreeRegressor(criterion="gini"), A, V, "criterion must be one of"),
        (DecisionTreeRegressor(criterion="poisson"), A, -V, "y must be at least 0"),
        (DecisionTreeRegressor(monotonic_cst=[2]), A, V, "monotonic_cst must be 1 numbers of"),
        (DecisionTreeRegressor(quantile=1.0), A, V, r"quantile must be a number in \(0, 1\)"),
        (DecisionTreeClassifier(monotonic_cst=[1]), A, [0, 1, 2, 0, 1, 2], "monotonic_cst must be"),
        (DecisionTreeClassifier(class_weight={7: 1}), A, [0, 1, 0, 1, 0, 1], "class_weight must"),
        (DecisionTreeClassifier(), A, V + 0.5, "y must be a vector of class labels"),
        (DecisionTreeRegressor(), A + np.inf, V, "X must be"),
        (DecisionTreeRegressor(), A, V[:5], "y must have one entry for each row"),
    ],
)  # fmt: skip
def test_errors(model, X, y, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


def by_subsets(model, x):
    """Shapley values of one row by their definition: worth is an expectation by weight."""
    t = model.tree_
    d = t.n_features

    def worth(at, known):
        if t.children_left[at] < 0:
            return t.value[at].ravel()
        sides = t.children_left[at], t.children_right[at]
        f = t.feature[at]
        if f in known:
            left = t.missing_go_to_left[at] if np.isnan(x[f]) else x[f] <= t.threshold[at]
            return worth(sides[0] if left else sides[1], known)
        mass = t.weighted_n_node_samples[list(sides)]
        return (mass[0] * worth(sides[0], known) + mass[1] * worth(sides[1], known)) / mass.sum()

    phi = np.zeros((d + 1, t.value[0].size))
    phi[d] = worth(0, ())
    for f in range(d):
        for size in range(d):
            share = 1 / (d * math.comb(d - 1, size))
            for known in itertools.combinations([g for g in range(d) if g != f], size):
                phi[f] += share * (worth(0, (*known, f)) - worth(0, known))
    return phi


def test_contributions_by_all_subsets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    X[rng.random((120, 4)) < 0.1] = np.nan
    y, w = np.nan_to_num(X[:, 0] * X[:, 1]) + rng.normal(size=120), rng.random(120)
    for model, targets in (
        (DecisionTreeRegressor(max_depth=6), y),
        (DecisionTreeRegressor(max_depth=5), np.stack([y, y**2], axis=1)),
        (DecisionTreeClassifier(max_depth=6), np.digitize(y, [-0.5, 0.5])),
        (ExtraTreeClassifier(random_state=0), y > 0),
    ):
        phi = model.fit(X, targets, sample_weight=w).predict_contributions(X[:9])
        want = np.stack([by_subsets(model, x) for x in X[:9]])
        np.testing.assert_allclose(phi, want.reshape(phi.shape), atol=1e-12)
        raw = getattr(model, "predict_proba", model.predict)(X[:9])
        np.testing.assert_allclose(phi.sum(axis=1), raw, atol=1e-12)
    several = DecisionTreeClassifier(max_depth=3).fit(X, np.stack([y > 0, y > 1], axis=1))
    for own, proba in zip(several.predict_contributions(X), several.predict_proba(X), strict=True):
        np.testing.assert_allclose(own.sum(axis=1), proba, atol=1e-12)


def test_contributions_ignore_rows_without_weight():
    rows, y = [[0, 0], [1, 0], [0, 1], [1, 1]], [0, 1, 5, 7]
    model = DecisionTreeRegressor().fit(rows, y, sample_weight=[1, 1, 0, 0])
    assert model.predict_contributions([[1, 1]]).tolist() == [[0.5, 0, 0.5]]
    constant = DecisionTreeRegressor().fit(rows, [2.0] * 4)
    assert constant.predict_contributions(rows).tolist() == [[0, 0, 2]] * 4


@pytest.mark.parametrize("tiny", [1e-12, 1e-17, 1e-20, 1e-300])
def test_a_mean_that_is_nothing_beside_the_other_is_the_best_cut(tiny):
    y = np.r_[np.full(5, tiny), np.ones(5)]
    model = DecisionTreeRegressor(criterion="poisson", max_depth=1)
    model.fit(np.arange(10.0)[:, None], y, sample_weight=np.arange(1.0, 11))
    assert model.tree_.threshold[0] == 4.5


def test_the_tree_is_one_object_as_long_as_the_fit_holds():
    """So that `model.tree_.threshold[i]` in a loop makes no array for each number."""
    X = np.arange(20.0)[:, None]
    model = DecisionTreeRegressor().fit(X, X[:, 0])
    size = len(pickle.dumps(model))
    tree = model.tree_
    assert tree is model.tree_
    assert tree.threshold is model.tree_.threshold
    assert len(pickle.dumps(model)) == size
    other = pickle.loads(pickle.dumps(model))
    assert other.tree_ is not tree
    model.fit(X[:10], X[:10, 0])
    assert (tree.node_count, model.tree_.node_count, other.tree_.node_count) == (39, 19, 39)
