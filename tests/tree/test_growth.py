"""Trees and forests on binned features: equal to exact ones over few values, and by brute force."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import kernelmill
from kernelmill.ensemble import (
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from kernelmill.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from kernelmill.tree import _growth as growth

TREES = (
    DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor,
)  # fmt: skip
FORESTS = (
    RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor,
)  # fmt: skip


def few_values(n=700, values=255, gaps=True, seed=0):
    """Columns of at most `values` different numbers, some missing, with weights, some 0."""
    rng = np.random.default_rng(seed)
    X = np.stack([
        rng.integers(0, values, n) * 0.37 - 20,
        np.exp(rng.integers(0, min(values, 30), n) / 3.0),
        rng.integers(0, 2, n).astype(float),
        rng.integers(0, 7, n).astype(float),
    ], axis=1)  # fmt: skip
    y = X[:, 0] / 30 + np.sin(X[:, 1]) * (X[:, 2] - 0.4) + 0.3 * rng.normal(size=n)
    if gaps:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X, y, rng.integers(0, 512, n) / 256


def targets(cls, y):
    return np.digitize(y, np.quantile(y, [0.3, 0.7])) if "Classifier" in cls.__name__ else y


def trees_of(model):
    return [m.tree_ for m in model.estimators_] if hasattr(model, "estimators_") else [model.tree_]


def assert_equal(a, b):
    """The same trees, bit for bit."""
    for one, other in zip(trees_of(a), trees_of(b), strict=True):
        for name in ("feature", "threshold", "missing_go_to_left", "impurity", "value",
                     "weighted_n_node_samples", "children_left", "children_right"):  # fmt: skip
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


OPTIONS = (
    {},
    {"max_leaf_nodes": 9, "min_samples_leaf": 5},
    {"max_depth": 5, "min_weight_fraction_leaf": 0.02},
    {"max_features": 2, "ccp_alpha": 0.002},
)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(o) or "grown")
@pytest.mark.parametrize("cls", TREES)
def test_with_few_values_the_tree_is_the_exact_one(cls, options, weighted):
    X, y, w = few_values()
    y, w = targets(cls, y), w if weighted else None
    exact = cls(random_state=3, **options).fit(X, y, w)
    binned = cls(random_state=3, split="hist", **options).fit(X, y, w)
    assert_equal(exact, binned)
    assert exact.get_n_leaves() > 5
    new = few_values(seed=1)[0] + 0.1  # values never seen
    np.testing.assert_array_equal(exact.predict(new), binned.predict(new))
    np.testing.assert_array_equal(exact.apply(X), binned.apply(X))


@pytest.mark.parametrize("cls", FORESTS)
def test_with_few_values_the_forest_is_the_exact_one(cls):
    X, y, w = few_values(gaps=False)
    y = targets(cls, y)
    exact = cls(4, random_state=0).fit(X, y, w)
    binned = cls(4, random_state=0, split="hist").fit(X, y, w)
    assert_equal(exact, binned)
    assert binned.estimators_[0].split == "hist"
    np.testing.assert_array_equal(exact.feature_importances_, binned.feature_importances_)


@pytest.mark.parametrize(
    ("criterion", "more"),
    [("entropy", {}), ("squared_error", {"monotonic_cst": [1, 0, 0, -1]}), ("poisson", {}),
     ("absolute_error", {}), ("quantile", {"quantile": 0.9, "monotonic_cst": [1, 0, 0, 0]}),
     ("squared_error", {"categorical_features": [1, 3]})],
)  # fmt: skip
@pytest.mark.parametrize("outputs", [1, 2])
def test_every_criterion_and_option(criterion, more, outputs):
    cls = DecisionTreeClassifier if criterion == "entropy" else DecisionTreeRegressor
    X, y, w = few_values(300, 60, gaps="monotonic_cst" not in more)
    y = targets(cls, y) if criterion == "entropy" else np.exp(y)
    if outputs == 2:
        if "monotonic_cst" in more:
            more = {}
        y = np.stack([y, y[::-1]], axis=1)
    options = {"criterion": criterion, "max_depth": 6, **more}
    exact, binned = (cls(split=split, **options).fit(X, y, w) for split in ("exact", "hist"))
    assert_equal(exact, binned)
    assert exact.get_n_leaves() > 8


def test_levels_are_never_merged():
    rng = np.random.default_rng(0)
    level = rng.permutation(np.repeat(np.arange(200.0), 5))
    high = np.isin(level, rng.choice(200, 90, replace=False))
    X, y = np.stack([level, rng.normal(size=1000)], axis=1), high * 2.0
    model = DecisionTreeRegressor(
        max_depth=1, categorical_features=[0], split="hist", max_bins=5
    ).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)


def loss(y, w):
    return (w * (y - np.average(y, weights=w)) ** 2).sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_cuts_between_bins(seed):
    """Bins of about equal weight, by their definition; thresholds between neighbours."""
    rng = np.random.default_rng(seed)
    X, y, w = rng.normal(size=(60, 3)), rng.normal(size=60), rng.integers(1, 5, 60) * 1.0
    found = []
    for f in range(3):
        order = np.argsort(X[:, f])
        below, x = np.cumsum(w[order]), X[order, f]
        for j in range(1, 6):
            cut = np.searchsorted(below, below[-1] * j / 6 - 1e-9)
            threshold = x[cut] / 2 + x[cut + 1] / 2
            left = X[:, f] <= threshold
            found.append((loss(y[left], w[left]) + loss(y[~left], w[~left]), f, threshold))
    model = DecisionTreeRegressor(max_depth=1, split="hist", max_bins=6).fit(X, y, w)
    _, f, threshold = min(found)
    assert (model.tree_.feature[0], model.tree_.threshold[0]) == (f, threshold)


@pytest.mark.parametrize("cls", TREES + FORESTS)
def test_thresholds_part_the_rows_as_bins_do(cls):
    """What training put into a leaf goes there: also where a bin is cut off from empty ones."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(900, 4)).astype(np.float32)
    X[::7, 1] = np.nan
    y = targets(cls, np.nan_to_num(X[:, 0] * X[:, 1]) + X[:, 2])
    model = cls(split="hist", max_bins=20, random_state=0)
    if cls in FORESTS:
        model.set_params(n_estimators=3, bootstrap=False)
    model.fit(X, y)
    for tree, leaves in zip(trees_of(model), model.apply(X).reshape(900, -1).T, strict=True):
        counts = np.bincount(leaves, minlength=tree.node_count)
        inner = tree.children_left >= 0
        np.testing.assert_array_equal(counts[~inner], tree.n_node_samples[~inner])


@pytest.mark.parametrize("cls", [DecisionTreeRegressor, DecisionTreeClassifier, ExtraTreeRegressor])
def test_weights_are_repetitions_and_units_do_not_matter(cls):
    rng = np.random.default_rng(2)
    X, y, w = rng.normal(size=(600, 3)), rng.normal(size=600), rng.integers(0, 4, 600)
    y = targets(cls, y)
    model = cls(split="hist", max_bins=17, random_state=0, min_weight_fraction_leaf=0.02)
    one, other = clone(model).fit(X, y, w), clone(model).fit(X.repeat(w, 0), y.repeat(w))
    np.testing.assert_array_equal(one.tree_.threshold, other.tree_.threshold)
    np.testing.assert_allclose(one.tree_.value, other.tree_.value)
    scaled = clone(model).fit(X * 2.0**-40, y, w)
    np.testing.assert_array_equal(one.tree_.threshold[one.tree_.feature >= 0] * 2.0**-40,
                                  scaled.tree_.threshold[one.tree_.feature >= 0])  # fmt: skip
    if cls is DecisionTreeRegressor:
        small = clone(model).fit(X, y * 2.0**-90, w)
        np.testing.assert_array_equal(small.predict(X), one.predict(X) * 2.0**-90)


@pytest.mark.parametrize("cls", TREES + FORESTS)
def test_same_bits_at_any_number_of_threads_and_from_files(cls):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(9000, 16))
    y = targets(cls, X[:, 0] + rng.normal(size=9000))
    options = {"max_depth": 6, "random_state": 0, "split": "hist"}
    options |= {"n_estimators": 2} if cls in FORESTS else {}
    models = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            models.append(cls(**options).fit(X, y))
    for other in (*models[1:], pickle.loads(pickle.dumps(models[0]))):
        assert_equal(models[0], other)
        np.testing.assert_array_equal(models[0].predict(X[:500]), other.predict(X[:500]))


def test_steps_members_and_boosting():
    X, y, _ = few_values(400)
    rng = np.random.default_rng(4)
    X[:, 0] += rng.random(400)
    options = {"split": "hist", "max_bins": 9, "random_state": 1, "max_depth": 4}
    whole = RandomForestRegressor(6, **options).fit(X, y)
    steps = RandomForestRegressor(2, warm_start=True, **options).fit(X, y)
    assert_equal(whole, steps.set_params(n_estimators=6).fit(X, y))
    assert whole.estimator_.get_params()["max_bins"] == 9
    tree = DecisionTreeRegressor(max_depth=3, split="hist", max_bins=9)
    boosted = AdaBoostRegressor(tree, n_estimators=3, random_state=0).fit(X, y)
    used = {t for m in boosted.estimators_ for t, f in zip(m.tree_.threshold, m.tree_.feature,
                                                           strict=True) if f == 0}  # fmt: skip
    exact = AdaBoostRegressor(clone(tree).set_params(split="exact"), n_estimators=3, random_state=0)
    assert used
    assert boosted.predict(X).tolist() != exact.fit(X, y).predict(X).tolist()


def test_a_rare_value_is_no_matter_of_the_sample(monkeypatch):
    """Thresholds come from a sample of the rows, but all values count where they are few."""
    monkeypatch.setattr(growth, "SAMPLE", 100)
    rng = np.random.default_rng(5)
    X = np.stack([rng.integers(0, 3, 3000) * 1.0, rng.normal(size=3000)], axis=1)
    X[17, 0] = 1.5
    y = (X[:, 0] == 1.5) * 500.0 + 0.01 * X[:, 1]
    weight = np.where(np.arange(3000) % 3 == 0, 0.0, 2.0)
    for own in (None, weight):
        model = DecisionTreeRegressor(max_depth=2, split="hist", max_bins=10).fit(X, y, own)
        assert set(model.tree_.threshold[model.tree_.feature == 0]) == {1.25, 1.75}
    field = growth.Field.binned(X, y, None, 10)
    counts = np.bincount(field.ranks[1, :, 0])
    assert len(counts) == 10
    assert counts.min() > 100


def test_memory_of_bins_is_a_byte_an_entry():
    X = np.random.default_rng(6).normal(size=(5000, 3))
    X[7, 1] = np.nan
    ranks = growth.Field.binned(X, X[:, 0], None, 255).ranks
    assert ranks.dtype == np.uint8
    assert ranks.shape == (3, 5000, 1)
    np.testing.assert_array_equal(ranks[:, :, 0] == 255, np.isnan(X.T))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": "histogram"}, "split must be"), ({"max_bins": 256}, "max_bins must be a whole"),
     ({"max_bins": 1}, "max_bins must be a whole number from 2 to 255, got 1")],
)  # fmt: skip
@pytest.mark.parametrize("cls", [DecisionTreeClassifier, RandomForestRegressor])
def test_errors(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options).fit(np.zeros((3, 1)), [0, 1, 0])


def test_weights_of_many_scales_have_the_best_cut():
    """A right side that is lost beside the whole weight gains nothing, and once gained infinity."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, y, w = rng.normal(size=(40, 2)), rng.normal(size=40), np.exp(20 * rng.normal(size=40))

        def gain(left, y=y, w=w):
            a, b = w[left].sum(), w[~left].sum()
            off = np.average(y[left], weights=w[left]) - np.average(y[~left], weights=w[~left])
            return a / (a + b) * b * off**2

        tree = DecisionTreeRegressor(max_depth=1).fit(X, y, w).tree_
        best = max(gain(X[:, j] <= x) for j in range(2) for x in np.sort(X[:, j])[:-1])
        own = gain(X[:, tree.feature[0]] <= tree.threshold[0]) if tree.node_count > 1 else 0.0
        assert own >= best - 1e-12 * w.sum()
