"""Categorical features of exact trees and forests: partitions, names, codes, refusals."""

import itertools

import numpy as np
import pytest
from sklearn.inspection import partial_dependence
from sklearn.tree import export_text

import kernelmill
from kernelmill.ensemble import (
    AdaBoostClassifier,
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


def decrease(model):
    """What the split of a stump gains, as a share of the weight of all."""
    t = model.tree_
    own = t.impurity * t.weighted_n_node_samples
    return (own[0] - own[1:].sum()) / t.weighted_n_node_samples[0] if t.node_count > 1 else 0.0


def impurity(y, w, criterion, classes=2):
    if criterion in ("gini", "entropy"):
        p = np.bincount(y.astype(int), w, classes) / w.sum()
        p = p[p > 0]
        return w.sum() * (1 - (p**2).sum() if criterion == "gini" else -(p * np.log2(p)).sum())
    mean = np.average(y, weights=w)
    if criterion == "poisson":
        return (w * (np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / mean), 0) - y + mean)).sum()
    return (w * (y - mean) ** 2).sum()


def best_partition(levels, y, w, criterion, classes=2):
    found, names = 0.0, np.unique(levels)
    whole = impurity(y, w, criterion, classes)
    for size in range(1, len(names)):
        for own in itertools.combinations(names, size):
            side = np.isin(levels, own)
            if criterion == "poisson" and min(y[side].sum(), y[~side].sum()) <= 0:
                continue
            parts = [impurity(y[s], w[s], criterion, classes) for s in (side, ~side)]
            found = max(found, whole - sum(parts))
    return found / w.sum()


@pytest.mark.parametrize("criterion", ["gini", "entropy", "squared_error", "poisson"])
def test_the_best_of_all_partitions(criterion):
    rng = np.random.default_rng(0)
    for _ in range(20):
        levels = rng.choice([-3.0, 0, 0.5, 7, 1e9], 30)
        levels[rng.random(30) < 0.1] = 99
        w = rng.integers(1, 9, 30) / 4
        if criterion in ("gini", "entropy"):
            model, y = DecisionTreeClassifier, rng.integers(0, 2, 30)
        else:
            model, y = DecisionTreeRegressor, rng.integers(0, 5, 30).astype(float)
        for weight in (None, w):
            stump = model(criterion=criterion, max_depth=1, categorical_features=[0])
            got = decrease(stump.fit(levels[:, None], y, sample_weight=weight))
            own = np.ones(30) if weight is None else w
            np.testing.assert_allclose(got, best_partition(levels, y, own, criterion), rtol=1e-9)


def test_several_classes_are_cut_in_the_order_of_each():
    """Nearly always the best of all partitions, and never worse than any order of a class."""
    missed = 0
    for seed in (*range(40), 166):
        rng = np.random.default_rng(seed)
        levels, y = rng.permutation(np.arange(24) % 6), rng.integers(0, 4, 24)
        w = rng.integers(1, 9, 24) / 4 if seed < 20 else np.ones(24)
        stump = DecisionTreeClassifier(max_depth=1, categorical_features=[0])
        got = decrease(stump.fit(levels[:, None], y, sample_weight=w))
        want = 0.0
        for c in range(4):
            mass = np.bincount(levels, w, 6)
            order = np.argsort(np.bincount(levels, w * (y == c), 6) / mass, kind="stable")
            place = np.argsort(order)[levels]
            want = max(want, best_cut(place, y, w))
        np.testing.assert_allclose(got, want, rtol=1e-9)
        missed += got < best_partition(levels, y, w, "gini", 4) - 1e-9
        assert got > 0.75 * best_partition(levels, y, w, "gini", 4)
    assert missed == 1


def best_cut(place, y, w):
    whole = impurity(y, w, "gini", 4)
    gains = [
        whole - sum(impurity(y[s], w[s], "gini", 4) for s in (place <= c, place > c))
        for c in range(place.max())
    ]
    return max(gains) / w.sum()


MODELS = (
    DecisionTreeRegressor(categorical_features=[0], max_depth=4),
    ExtraTreeRegressor(categorical_features=[0], random_state=0),
    RandomForestRegressor(20, categorical_features=[0], random_state=0, oob_score=True),
    ExtraTreesRegressor(7, categorical_features=[0], random_state=0, min_samples_leaf=3),
    RandomForestRegressor(7, categorical_features=[0], ccp_alpha=0.01, random_state=0),
)


def rows(n=300, levels=9):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, levels, n)
    X = np.stack([codes, rng.normal(size=n)], axis=1)
    y = rng.normal(size=levels)[codes] + X[:, 1] ** 2 + 0.01 * rng.normal(size=n)
    return X, y


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_names_of_levels_mean_nothing(model):
    X, y = rows()
    renamed = X.copy()
    renamed[:, 0] = (X[:, 0] * 5 % 9) * -1e7 + 0.25  # in another order
    first = model.fit(X, y).predict(X)
    assert model.is_categorical_.tolist() == [True, False]
    np.testing.assert_allclose(model.fit(renamed, y).predict(renamed), first, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_members_files_and_walks_agree(model, tmp_path):
    X, y = rows()
    X[::7, 0] = np.nan
    model.fit(X, y)
    kernelmill.save(model, tmp_path / "model.km")
    again = kernelmill.load(tmp_path / "model.km")
    new = X[:40].copy()
    new[:9, 0] = [50, -1, 0.5, np.nan, 256, 1e30, -1e30, 8, 0]
    assert np.array_equal(model.predict(new), again.predict(new))
    phi = model.predict_contributions(new)
    np.testing.assert_allclose(phi.sum(axis=1), model.predict(new), rtol=1e-10)
    members = getattr(model, "estimators_", [model])
    mean = np.mean([tree.predict(new) for tree in members], axis=0)
    np.testing.assert_allclose(mean, model.predict(new), rtol=1e-12)
    for tree in members:
        path = tree.decision_path(new)
        assert (path[np.arange(40), tree.apply(new)] == 1).all()
        t = tree.tree_
        split = t.side >= 0
        assert (t.feature[split] == 0).all()
        assert np.array_equal(np.isnan(t.threshold), split)
        assert t.side[split].max() < len(t.sides)
        root = int(t.side[0])
        assert "nan" in export_text(tree)
        if root >= 0:  # missing is code 0, the levels are 1 to 9
            left = t.sides[root][np.where(np.isnan(X[:, 0]), 0, X[:, 0] + 1).astype(int)]
            assert np.array_equal(left, np.asarray(tree.decision_path(X)[:, 1].todense())[:, 0])


def test_partial_dependence_reads_levels():
    X, _ = rows(90)
    X[:, 0], y = X[:, 0] * 2 - 5, X[:, 0] % 3
    model = DecisionTreeRegressor(categorical_features=[0], max_depth=1).fit(X, y)
    grid = np.unique(X[:, 0])
    fast = partial_dependence(model, X, [0], method="recursion")["average"][0]
    assert np.array_equal(fast, model.predict(np.stack([grid, grid], axis=1)))
    assert np.unique(fast).size == 2


def test_a_level_never_seen_follows_the_larger_child():
    codes, y = np.repeat([0.0, 1], [60, 40]), np.repeat([5.0, -5], [60, 40])
    for own in (codes, 1 - codes):
        for model in (DecisionTreeRegressor, ExtraTreeRegressor):
            stump = model(categorical_features=[0]).fit(own[:, None], y)
            assert stump.predict([[42.0], [np.nan], [own[0]]]).tolist() == [5, 5, 5]
    # Negative codes are levels like any other; missing ones are one more.
    own, y = np.repeat([-1.0, 0, 1, np.nan], 20), np.repeat([1.0, 2, 3, 100], 20)
    tree = DecisionTreeRegressor(categorical_features=[0]).fit(own[:, None], y)
    assert tree.predict([[-1], [0], [1], [np.nan]]).tolist() == [1, 2, 3, 100]
    assert np.isfinite(tree.predict([[-2]])).all()


def test_levels_of_frames_are_known_by_name():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    names = ["red", "green", "blue"]
    train = pd.DataFrame({"c": pd.Categorical(names * 20, categories=names), "x": np.ones(60)})
    test = pd.DataFrame({"c": pd.Categorical(["blue", "red"]), "x": [1.0, 1.0]})
    for model in (
        DecisionTreeRegressor(categorical_features="from_dtype"),
        DecisionTreeRegressor(categorical_features=["c"]),
        RandomForestRegressor(5, bootstrap=False, categorical_features="from_dtype"),
    ):
        assert model.fit(train, [1.0, 2, 3] * 20).predict(test).tolist() == [3, 1]
    label = DecisionTreeClassifier(categorical_features="from_dtype").fit(train, list("abc") * 20)
    assert label.predict(test).tolist() == ["c", "a"]


def test_classifiers_and_warm_starts():
    X, _ = rows()
    y = (X[:, 0] % 3 + (X[:, 1] > 1)).astype(int)
    whole = RandomForestClassifier(6, categorical_features=[True, False], random_state=0).fit(X, y)
    part = RandomForestClassifier(2, categorical_features=[0], random_state=0, warm_start=True).fit(
        X, y
    )
    part.set_params(n_estimators=6).fit(X, y)
    assert np.array_equal(whole.predict_proba(X), part.predict_proba(X))
    phi = whole.predict_contributions(X)
    np.testing.assert_allclose(phi.sum(axis=1), whole.predict_proba(X), atol=1e-12)
    assert ExtraTreeClassifier(categorical_features=[0]).fit(X, y).score(X, y) == 1
    both = np.stack([y, y % 2], axis=1)
    assert (DecisionTreeClassifier(categorical_features=[0]).fit(X, both).predict(X) == both).all()
    stump = DecisionTreeClassifier(categorical_features=[0], max_depth=1)
    boosted = AdaBoostClassifier(stump, n_estimators=5).fit(X, X[:, 0] % 2)
    plain = AdaBoostClassifier(n_estimators=5).fit(X, X[:, 0] % 2)
    assert boosted.score(X, X[:, 0] % 2) == 1 > plain.score(X, X[:, 0] % 2)


def test_what_is_refused():
    X, y = rows()
    for options, words in (
        ({"criterion": "absolute_error"}, "no order of levels gives the best cut"),
        ({"criterion": "quantile"}, "no order of levels gives the best cut"),
        ({"monotonic_cst": [1, 0]}, "monotonic_cst must be 0 for categorical features"),
        ({"categorical_features": [2]}, r"positions in \[0, 1\], got 2 to 2"),
        ({"categorical_features": ["a"]}, "X has no column names"),
        ({"categorical_features": [1]}, "with at most 255 levels, got 300 in feature 1"),
        ({"categorical_features": 3}, "categorical_features must be"),
    ):
        model = DecisionTreeRegressor(**{"categorical_features": [0], **options})
        with pytest.raises(ValueError, match=words):
            model.fit(X, y)
    many = np.arange(255.0)[:, None]
    tree = DecisionTreeRegressor(categorical_features=[0]).fit(many, many[:, 0] ** 2)
    assert np.array_equal(tree.predict(many), many[:, 0] ** 2)


def test_many_levels_cost_a_forest_no_quality():
    """Levels in order once for a tree: an order for each node is fooled by small nodes."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 20, (1200, 2))
    X = np.concatenate([codes, rng.normal(size=(1200, 2))], axis=1)
    y = rng.normal(size=20)[codes[:, 0]] + X[:, 2] * X[:, 3] + rng.normal(size=1200)
    A, B, a, b = X[:600], X[600:], y[:600], y[600:]
    plain = RandomForestRegressor(40, random_state=0).fit(A, a)
    levels = RandomForestRegressor(40, random_state=0, categorical_features=[0, 1]).fit(A, a)
    assert levels.score(B, b) > plain.score(B, b) + 0.01
