"""Forests: against scikit-learn, by hand, theorems, and cases from public bug reports."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.ensemble as peer
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_score

import kernelmill
from kernelmill.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from kernelmill.tree import ExtraTreeRegressor

CLASSIFIERS = (RandomForestClassifier, ExtraTreesClassifier)
REGRESSORS = (RandomForestRegressor, ExtraTreesRegressor)
ALL = (*CLASSIFIERS, *REGRESSORS)


def data(n=300, d=5, seed=0, classes=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n)
    return X, y if classes is None else np.digitize(y, np.quantile(y, classes))


def data_for(cls, n=300, seed=0):
    return data(n, seed=seed, classes=[0.3, 0.7] if cls in CLASSIFIERS else None)


def raw(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize("cls", ALL)
def test_predictions_are_means_over_the_trees(cls):
    X, y = data_for(cls)
    model = cls(12, random_state=0, min_samples_leaf=3).fit(X, y)
    single = [raw(tree, X) for tree in model.estimators_]
    np.testing.assert_allclose(raw(model, X), np.mean(single, axis=0), rtol=1e-12)
    importances = np.mean([tree.feature_importances_ for tree in model.estimators_], axis=0)
    np.testing.assert_allclose(model.feature_importances_, importances, rtol=1e-12)
    np.testing.assert_allclose(model.feature_importances_.sum(), 1)
    leaves = np.stack([tree.apply(X) for tree in model.estimators_], axis=1)
    np.testing.assert_array_equal(model.apply(X), leaves)
    path, begins = model.decision_path(X)
    assert path.shape == (len(X), begins[-1])
    for t, tree in enumerate(model.estimators_):
        own = path[:, begins[t] : begins[t + 1]]
        assert (own != tree.decision_path(X)).nnz == 0
    assert len(model.estimators_[2:5]) == 3
    assert len({tree.random_state for tree in model.estimators_}) == 12


@pytest.mark.parametrize("cls", [RandomForestClassifier, RandomForestRegressor])
def test_a_tree_of_a_forest_is_the_tree_of_its_bag(cls):
    """Without draws of features a forest is trees over bags, each equal to a single tree."""
    X, y = data_for(cls)
    model = cls(4, max_features=None, random_state=3, max_samples=0.6).fit(X, y)
    for tree, bag in zip(model.estimators_, model.estimators_samples_, strict=True):
        assert len(bag) == 180
        weight = np.bincount(bag, minlength=len(X))
        want = clone(tree).fit(X, y, weight)
        np.testing.assert_array_equal(raw(tree, X), raw(want, X))
        np.testing.assert_array_equal(tree.tree_.threshold, want.tree_.threshold)


@pytest.mark.parametrize("cls", ALL)
def test_growth_in_steps_is_growth_at_once(cls):
    X, y = data_for(cls)
    whole = cls(9, random_state=1).fit(X, y)
    steps = cls(2, random_state=1, warm_start=True)
    for count in (2, 3, 9):
        steps.set_params(n_estimators=count).fit(X, y)
    np.testing.assert_array_equal(raw(steps, X), raw(whole, X))
    with pytest.warns(UserWarning, match="n_estimators must grow"):
        steps.fit(X, y)
    with pytest.raises(ValueError, match="n_estimators must be at least 9"):
        steps.set_params(n_estimators=3).fit(X, y)


@pytest.mark.parametrize("cls", ALL)
def test_same_bits_at_any_number_of_threads(cls):
    X, y = data_for(cls, 2000)
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            results.append(raw(cls(8, random_state=0).fit(X, y), X))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("trees", [1, 9])
def test_same_bits_where_a_node_is_searched_by_several_threads(trees):
    X, y = data(9000, 16)
    results = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = RandomForestRegressor(trees, max_depth=4, random_state=0)
            results.append(model.fit(X, y).predict(X[:500]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_out_of_bag_estimates():
    X, y = data(classes=[0.5])
    model = RandomForestClassifier(30, oob_score=True, random_state=0).fit(X, y)
    sums, votes = np.zeros((len(X), 2)), np.zeros(len(X))
    for tree, bag in zip(model.estimators_, model.estimators_samples_, strict=True):
        out = np.setdiff1d(np.arange(len(X)), bag)
        sums[out] += tree.predict_proba(X[out])
        votes[out] += 1
    want = sums / votes[:, None]
    np.testing.assert_allclose(model.oob_decision_function_, want, rtol=1e-12)
    assert model.oob_score_ == np.mean(want.argmax(axis=1) == y)
    model.set_params(oob_score=balanced_accuracy_score).fit(X, y)
    assert model.oob_score_ == balanced_accuracy_score(y, want.argmax(axis=1))
    X, y = data()
    both = RandomForestRegressor(30, oob_score=True, random_state=0).fit(X, np.stack([y, -y], 1))
    one = RandomForestRegressor(30, oob_score=True, random_state=0).fit(X, y)
    assert both.oob_prediction_.shape == (300, 2)
    assert 0.4 < one.oob_score_ < 1
    labels = np.stack([y > 0, y > 1], axis=1)
    two = RandomForestClassifier(30, oob_score=True, random_state=0).fit(X, labels)
    assert two.oob_decision_function_.shape == (300, 2, 2)
    assert two.oob_score_ > 0.7


def test_rows_that_are_in_every_bag():
    X = np.random.default_rng(0).normal(size=(200, 3))
    model = RandomForestClassifier(3, oob_score=True, random_state=0)
    with pytest.warns(UserWarning, match=r"are in every bag; theirs are NaN"):
        model.fit(X, X[:, 0] > 0)
    sums = model.oob_decision_function_.sum(axis=1)
    missing = np.isnan(sums)
    assert 30 < missing.sum() < 75  # about 200 (1 - 1/e)^3 = 50
    np.testing.assert_allclose(sums[~missing], 1)
    guess = model.classes_[model.oob_decision_function_[~missing].argmax(axis=1)]
    assert model.oob_score_ == np.mean(guess == (X[:, 0] > 0)[~missing])


@pytest.mark.parametrize(
    ("ours", "theirs", "load"),
    [
        (RandomForestClassifier, peer.RandomForestClassifier, load_breast_cancer),
        (ExtraTreesClassifier, peer.ExtraTreesClassifier, load_iris),
        (RandomForestRegressor, peer.RandomForestRegressor, load_diabetes),
        (ExtraTreesRegressor, peer.ExtraTreesRegressor, load_diabetes),
    ],
)
def test_scores_are_those_of_scikit_learn(ours, theirs, load):
    X, y = load(return_X_y=True)
    options = {"n_estimators": 60, "max_features": 0.4, "random_state": 0}
    got = cross_val_score(ours(**options), X, y, cv=5).mean()
    want = cross_val_score(theirs(**options, n_jobs=1), X, y, cv=5).mean()
    assert got > want - 0.025


@pytest.mark.parametrize("criterion", ["gini", "entropy", "log_loss"])
def test_classes_and_their_weights(criterion):
    X, y = data(classes=[0.1])
    for weight in ("balanced", "balanced_subsample", {0: 9.0, 1: 1.0}):
        for bootstrap in (False, True):
            model = RandomForestClassifier(
                25, criterion=criterion, class_weight=weight, bootstrap=bootstrap, max_depth=3,
                random_state=0,
            )  # fmt: skip
            plain = clone(model).set_params(class_weight=None).fit(X, y)
            rare = model.fit(X, y).predict_proba(X)[:, 0]
            assert rare.mean() > 1.5 * plain.predict_proba(X)[:, 0].mean()
    labels = np.array(["rare", "usual"])[y]
    assert set(RandomForestClassifier(3, random_state=0).fit(X, labels).predict(X)) == {*labels}


def test_several_outputs():
    X, y = data()
    labels = np.stack([y > 0, np.digitize(X[:, 1], [-1, 0.3])], axis=1)
    model = ExtraTreesClassifier(10, random_state=0).fit(X, labels)
    np.testing.assert_array_equal(model.predict(X), labels)
    assert [p.shape for p in model.predict_proba(X)] == [(300, 2), (300, 3)]
    assert [p.shape for p in model.predict_log_proba(X)] == [(300, 2), (300, 3)]
    targets = np.stack([y, -y], axis=1)
    model = ExtraTreesRegressor(10, random_state=0).fit(X, targets)
    np.testing.assert_allclose(model.predict(X), targets, atol=1e-12)


def test_several_outputs_out_of_bag():
    X, y = data()
    both = np.stack([y > 0, X[:, 0] > 0], axis=1).astype(int)
    model = RandomForestClassifier(30, oob_score=True, random_state=0).fit(X, both)
    right = model.oob_decision_function_.argmax(axis=1) == both
    assert model.oob_score_ == right.all(axis=1).mean() < right.mean()


@pytest.mark.parametrize(
    "targets",
    [lambda y: np.stack([y, y], 1), lambda y: y % 2, lambda y: y + 5, lambda y: y.astype(str)],
)
def test_steps_refuse_other_targets(targets):
    X, y = data()
    y = np.digitize(y, [-1, 0, 1])
    model = RandomForestClassifier(3, warm_start=True, random_state=0).fit(X, y)
    want = model.predict(X)
    with pytest.raises(ValueError, match="y must have the outputs and classes of the last fit"):
        model.set_params(n_estimators=5).fit(X, targets(y))
    np.testing.assert_array_equal(model.predict(X), want)


@pytest.mark.parametrize(
    "cls", [RandomForestClassifier, ExtraTreesRegressor, IsolationForest, GradientBoostingRegressor]
)
def test_steps_refuse_other_features(cls):
    X, y = data()
    y = (y > 0).astype(int)
    model = cls(n_estimators=3, warm_start=True, random_state=0).fit(X, y)
    want = model.predict(X)
    for other in (X[:, :2], np.hstack([X, X])):
        with pytest.raises(ValueError, match=f"X has {other.shape[1]} features"):
            model.set_params(n_estimators=5).fit(other, y)
        np.testing.assert_array_equal(model.predict(X), want)


def test_steps_with_other_bags():
    """Each tree has the bag that it grew with, and no two share draws."""
    X = np.random.default_rng(0).normal(size=(300, 4))
    y = np.random.default_rng(1).integers(0, 2, 300)  # noise
    model = RandomForestClassifier(40, warm_start=True, random_state=0, oob_score=True).fit(X, y)
    before = model.estimators_samples_
    model.set_params(n_estimators=43, max_samples=30).fit(X, y)
    assert model.oob_score_ < 0.65  # rows in bags of the first trees are not out of bag
    after = model.estimators_samples_
    assert [len(rows) for rows in after] == [300] * 40 + [30] * 3
    for one, other in zip(before, after, strict=False):
        np.testing.assert_array_equal(one, other)
    model.set_params(n_estimators=60, max_samples=None, bootstrap=False, oob_score=False).fit(X, y)
    assert [len(rows) for rows in model.estimators_samples_] == [300] * 40 + [30] * 3 + [300] * 17
    np.testing.assert_array_equal(model.estimators_samples_[50], np.arange(300))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.estimators_samples_[41], after[41])

    halves = RandomForestClassifier(10, max_samples=200, warm_start=True, random_state=0).fit(X, y)
    halves.set_params(n_estimators=40, max_samples=100).fit(X, y)
    bags = halves.estimators_samples_
    assert len({np.sort(np.concatenate(bags[t : t + 2])).tobytes() for t in range(10, 40, 2)}
               | {np.sort(bag).tobytes() for bag in bags[:10]}) == 25  # fmt: skip

    # Trees of other rows say nothing of these.
    model = RandomForestClassifier(5, warm_start=True, random_state=0).fit(X[:200], y[:200])
    model.set_params(n_estimators=45, oob_score=True).fit(X, y)
    assert model.oob_score_ < 0.65
    assert [len(rows) for rows in model.estimators_samples_] == [200] * 5 + [300] * 40


def test_bags_are_those_of_each_tree():
    """Drawn together or alone; every row is drawn alike; no two trees or seeds share a bag."""
    X, y = np.arange(300.0)[:, None], np.arange(300.0)
    model = RandomForestRegressor(400, max_samples=200, max_depth=1, random_state=7).fit(X, y)
    counts = model._bags(0, 400, 300)
    for t, rows in enumerate(model.estimators_samples_):
        assert rows.dtype == np.int32
        np.testing.assert_array_equal(np.bincount(rows, minlength=300), counts[t])
    np.testing.assert_array_equal(counts[250:], model._bags(250, 150, 300))
    assert (counts.sum(axis=1) == 200).all()
    assert len(np.unique(counts, axis=0)) == 400
    expected = 400 * 200 / 300
    assert ((counts.sum(axis=0) - expected) ** 2 / expected).sum() < 400  # chi squared, 299 +- 24
    other = RandomForestRegressor(1, max_samples=200, max_depth=1, random_state=8).fit(X, y)
    assert (other._bags(0, 1, 300) != counts[:1]).any()


def test_monotonic_constraints():
    X, y = data(400)
    signs = [1, 0, 0, -1, 0]
    for model, target in (
        (RandomForestRegressor(10, monotonic_cst=signs, random_state=0), y),
        (RandomForestClassifier(10, monotonic_cst=signs, random_state=0), y > 0),
    ):
        model.fit(X, target)
        grid = np.linspace(-3, 3, 40)
        for row in X[:20]:
            for feature, way in ((0, 1), (3, -1)):
                rows = np.tile(row, (40, 1))
                rows[:, feature] = grid
                level = raw(model, rows)
                level = level[:, 1] if level.ndim == 2 else level
                assert (np.diff(level) * way >= -1e-12).all()


def test_quantiles():
    X, y = data(400)
    model = RandomForestRegressor(20, min_samples_leaf=5, keep_targets=True, random_state=0)
    model.fit(X, y, np.random.default_rng(0).integers(1, 3, len(X)))
    levels = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    got = model.predict_quantiles(X[:30], levels)
    train = model.apply(X)
    for i, leaves in enumerate(model.apply(X[:30])):
        weight = np.zeros(len(X))
        for t in range(20):
            own = model._bag_weights(t, 1, len(X), y[:, None], WEIGHT)[0]
            own = own * (train[:, t] == leaves[t])
            weight += own / own.sum()
        order = np.argsort(y)
        order = order[weight[order] > 0]
        below = np.cumsum(weight[order]) / weight.sum()
        want = [y[order][np.searchsorted(below, q * (1 - 1e-9))] for q in levels]
        np.testing.assert_array_equal(got[i], want)
    assert (np.diff(got, axis=1) >= 0).all()
    assert model.predict_quantiles(X[:3], 0.5).shape == (3, 1)
    both = clone(model).fit(X, np.stack([y, -y], axis=1))
    assert both.predict_quantiles(X[:3]).shape == (3, 3, 2)
    with pytest.raises(ValueError, match="keep_targets must be True"):
        model.set_params(keep_targets=False).fit(X, y).predict_quantiles(X)
    with pytest.raises(ValueError, match=r"quantiles must be numbers in \[0, 1\]"):
        both.predict_quantiles(X, [2.0])


def test_a_quantile_that_the_weight_reaches_exactly():
    for n in (5, 10, 22, 49):
        y = np.random.default_rng(0).permutation(n).astype(float)
        one = RandomForestRegressor(1, bootstrap=False, keep_targets=True).fit(np.zeros((n, 1)), y)
        levels = np.arange(1, n + 1) / n
        np.testing.assert_array_equal(one.predict_quantiles([[0.0]], levels)[0], np.arange(n))


WEIGHT = np.random.default_rng(0).integers(1, 3, 400).astype(float)


def test_proximity():
    X, y = data(100)
    model = RandomForestRegressor(15, min_samples_leaf=5, random_state=0).fit(X, y)
    leaves = model.apply(X)
    want = (leaves[:, None] == leaves[None]).mean(axis=2)
    np.testing.assert_allclose(model.proximity(X), want)
    np.testing.assert_allclose(model.proximity(X[:7], X), want[:7])


@pytest.mark.parametrize("cls", ALL)
def test_options_hold_for_every_tree(cls):
    X, y = data_for(cls)
    model = cls(5, max_depth=4, min_samples_leaf=7, max_leaf_nodes=9, random_state=0).fit(X, y)
    for tree in model.estimators_:
        assert tree.get_depth() <= 4
        assert tree.get_n_leaves() <= 9
        assert (tree.tree_.n_node_samples >= 7).all()
    grown = cls(5, random_state=0).fit(X, y)
    pruned = cls(5, ccp_alpha=0.02, random_state=0).fit(X, y)
    for a, b in zip(grown.estimators_, pruned.estimators_, strict=True):
        assert b.get_n_leaves() < a.get_n_leaves()
        alone = clone(a).set_params(ccp_alpha=0.0)
        assert alone.get_params()["max_features"] == b.get_params()["max_features"]


@pytest.mark.parametrize("cls", ALL)
def test_missing_values_and_units(cls):
    X, y = data_for(cls)
    gaps = X.copy()
    gaps[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    model = cls(20, random_state=0).fit(gaps, y)
    assert model.score(gaps, y) > 0.8
    for factor in (2.0**-40, 2.0**30):
        scaled = cls(5, random_state=0).fit(X * factor, y)
        plain = cls(5, random_state=0).fit(X, y)
        np.testing.assert_array_equal(raw(scaled, X * factor), raw(plain, X))
    if cls in REGRESSORS:
        small = cls(5, random_state=0).fit(X, y * 1e-9)
        np.testing.assert_allclose(small.predict(X), plain.predict(X) * 1e-9, rtol=1e-9)


def test_missing_only_at_prediction():
    x = np.arange(10.0)[:, None]
    model = ExtraTreesRegressor(50, random_state=0).fit(x, (x[:, 0] > 6) * 1.0)
    assert 0 <= model.predict([[np.nan]])[0] <= 1
    whole = RandomForestRegressor(5, bootstrap=False).fit(x, (x[:, 0] > 6) * 1.0)
    assert whole.predict([[np.nan]]) == [0.0]


@pytest.mark.parametrize("options", [{}, {"categorical_features": [2]}])
@pytest.mark.parametrize("cls", ALL)
def test_weights_are_repetitions_without_bags(cls, options):
    """Also where values are missing, or levels new, at prediction only."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (80, 3)).astype(float)
    y = (X[:, 0] + X[:, 1] * X[:, 2] > 9).astype(int)
    weight = rng.integers(0, 7, 80)
    rows = np.repeat(np.arange(80), weight)
    model = cls(4, bootstrap=False, max_features=None, max_depth=3, random_state=0, **options)
    fitted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(X[rows], y[rows])
    X[rng.random(X.shape) < 0.4] = np.nan
    X[::3, 2] = 9
    np.testing.assert_allclose(fitted.predict(X), repeated.predict(X))
    np.testing.assert_array_equal(fitted.apply(X), repeated.apply(X))


def test_files_frames_and_sparse(tmp_path):
    import joblib

    S = scipy.sparse.random(200, 30, 0.1, format="csc", random_state=0)
    y = np.random.default_rng(0).normal(size=200)
    model = RandomForestRegressor(5, random_state=0).fit(S, y)
    dense = RandomForestRegressor(5, random_state=0).fit(S.toarray(), y)
    np.testing.assert_array_equal(model.predict(S), dense.predict(S.toarray()))
    joblib.dump(model, tmp_path / "forest.joblib")
    mapped = joblib.load(tmp_path / "forest.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict(S), model.predict(S))
    X, y = data(classes=[0.5])
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = RandomForestClassifier(5, random_state=0).fit(frame, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    kernelmill.save(model, tmp_path / "forest.km")
    loaded = kernelmill.load(tmp_path / "forest.km")
    np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    assert loaded.feature_names_in_.tolist() == list("abcde")


def test_a_row_alone_is_predicted_as_among_many():
    X, y = data(2000, classes=[0.3, 0.6])
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    many = model.predict_proba(X)
    for i in range(0, 2000, 250):
        np.testing.assert_array_equal(model.predict_proba(X[i : i + 1])[0], many[i])
    single = model.predict_proba(X.astype(np.float32))
    np.testing.assert_array_equal(single[:70], model.predict_proba(X.astype(np.float32)[:70]))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (RandomForestRegressor(0), "n_estimators must be a whole number of at least 1"),
        (RandomForestRegressor(criterion="gini"), "criterion must be one of"),
        (RandomForestRegressor(bootstrap=False, oob_score=True), "oob_score must be False"),
        (RandomForestRegressor(bootstrap=False, max_samples=3), "max_samples must be None"),
        (RandomForestRegressor(max_samples=301), "max_samples must be at most"),
        (RandomForestRegressor(max_samples=1.5), "max_samples must be"),
        (RandomForestRegressor(monotonic_cst=[2]), "monotonic_cst must be"),
    ],
)
def test_errors(model, message):
    with pytest.raises(ValueError, match=f"^RandomForestRegressor: {message}"):
        model.fit(*data())


# --- theorems, and scikit-learn's own ensembles over these trees ----------------------------------


@pytest.mark.parametrize("cls", [RandomForestClassifier, RandomForestRegressor])
def test_rising_maps_constants_and_duplicates_change_nothing(cls):
    X, y = data_for(cls)
    model = cls(5, max_features=None, random_state=0)
    plain = clone(model).fit(X, y)
    want = raw(plain, X)
    mapped = clone(model).fit(np.exp(X), y)  # rows of no bag may lie on the other side of a middle
    for a, b in zip(plain.estimators_, mapped.estimators_, strict=True):
        np.testing.assert_array_equal(a.tree_.feature, b.tree_.feature)
        np.testing.assert_array_equal(a.tree_.n_node_samples, b.tree_.n_node_samples)
    more = np.hstack([X, np.full((len(X), 1), 7.0), X[:, :2]])
    np.testing.assert_array_equal(raw(clone(model).fit(more, y), more), want)


@pytest.mark.parametrize("cls", ALL)
def test_without_bags_there_is_no_training_error(cls):
    X, y = data_for(cls)
    model = cls(5, bootstrap=False, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-12)


@pytest.mark.parametrize("classes", [None, [0.5], [0.3, 0.6]])
def test_whole_and_broken_weights_grow_the_same_trees(classes):
    """Weights that are whole numbers take another way, for two classes and for more."""
    X, y = data(400, classes=classes)
    X[::3, 1] = np.round(X[::3, 1])
    X[::7, 2] = np.nan
    w = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    cls = RandomForestRegressor if classes is None else RandomForestClassifier
    for criterion in ("squared_error",) if classes is None else ("gini", "entropy"):
        model = cls(4, criterion=criterion, random_state=0)
        whole = clone(model).fit(X, y, w)
        broken = clone(model).fit(X, y, w * 0.375)
        np.testing.assert_allclose(raw(whole, X), raw(broken, X), rtol=1e-9)
        for a, b in zip(whole.estimators_, broken.estimators_, strict=True):
            np.testing.assert_array_equal(a.tree_.feature, b.tree_.feature)
            np.testing.assert_array_equal(a.tree_.threshold, b.tree_.threshold)


def test_scikit_learns_ensembles_over_these_trees():
    from kernelmill.tree import DecisionTreeClassifier

    X, y = load_breast_cancer(return_X_y=True)
    tree = DecisionTreeClassifier(max_depth=4)
    both = [("tree", tree), ("forest", RandomForestClassifier(5, random_state=0))]
    for model in (
        peer.BaggingClassifier(tree, 5, max_features=0.5, random_state=0),
        peer.VotingClassifier(both),
        peer.StackingClassifier(both, cv=3),
    ):
        assert model.fit(X, y).score(X, y) > 0.95


def test_contributions_are_means_over_trees():
    X, y = load_iris(return_X_y=True)
    for model in (
        RandomForestClassifier(9, random_state=0),
        ExtraTreesClassifier(9, random_state=0),
        RandomForestRegressor(9, random_state=0),
    ):
        phi = model.fit(X, y).predict_contributions(X)
        mean = np.mean([tree.predict_contributions(X) for tree in model.estimators_], axis=0)
        np.testing.assert_allclose(phi, mean, atol=1e-13)
        raw = getattr(model, "predict_proba", model.predict)(X)
        np.testing.assert_allclose(phi.sum(axis=1), raw, atol=1e-13)


@pytest.mark.parametrize("features", [1.0, "sqrt"])
def test_ties_fall_differently_in_each_tree(features):
    """Equal columns share the splits; with the lowest always first trees were too much alike."""
    X, y = data(classes=[0.3, 0.7])
    same = np.repeat(X[:, :3], 4, axis=1)
    for cls in (RandomForestClassifier, RandomForestRegressor):
        found = cls(40, max_features=features, random_state=0).fit(same, y).feature_importances_
        share = found.reshape(3, 4) / found.reshape(3, 4).sum(axis=1, keepdims=True)
        assert share.min() > 0.1
        assert share.max() < 0.45


def test_weights_of_nodes_are_exact():
    """Whole weights are kept in half the memory, others are not rounded, also where both come."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    for weight in (None, rng.random(60), np.where(np.arange(60) < 30, 1.0, 2.0**25 + 1)):
        forest = ExtraTreesRegressor(3, random_state=0).fit(X, y, weight)
        single = ExtraTreeRegressor(max_features=1.0)
        for tree in forest.estimators_:
            whole = 60 if weight is None else weight.sum()
            assert tree.tree_.weighted_n_node_samples[0] == pytest.approx(whole, rel=1e-15)
            own = single.set_params(random_state=tree.random_state).fit(X, y, weight).tree_
            for name in ("weighted_n_node_samples", "n_node_samples", "impurity", "value"):
                np.testing.assert_array_equal(getattr(tree.tree_, name), getattr(own, name))
    forest = ExtraTreesRegressor(1, random_state=0, warm_start=True).fit(X, y)
    forest.set_params(n_estimators=2).fit(X, y, rng.random(60))
    assert [t.tree_.weighted_n_node_samples[0] == 60 for t in forest.estimators_] == [True, False]
