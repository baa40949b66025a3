"""Histogram boosting: inputs on which other libraries failed, theorems, scikit-learn beside it."""

import io
import pickle

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kernelmill
from kernelmill.ensemble import HistGradientBoostingClassifier as Classifier
from kernelmill.ensemble import HistGradientBoostingRegressor as Regressor

A, V = np.arange(6.0)[:, None], np.array([0, 1, 5, 2, 7, 3.0])


def hist(**options):
    """One round, full step: a prediction is a leaf's own value."""
    return Regressor(max_iter=1, learning_rate=1.0, min_samples_leaf=1, **options)


def noisy(n=400, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=n)


# --- cases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1.0, 1e-4, 1e-9, 1e9, 2.0**-60])
def test_small_weights(c):
    model = Regressor(max_iter=50, learning_rate=0.5, min_samples_leaf=1)
    model.fit(A, V, sample_weight=np.full(6, c))
    np.testing.assert_allclose(model.predict(A), V, atol=0.01)
    X, y = load_iris(return_X_y=True)
    few = Classifier(max_iter=5, max_leaf_nodes=5)
    plain = few.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(few.fit(X, y, np.full(150, c)).predict_proba(X), plain, rtol=1e-9)


@pytest.mark.parametrize("c", [1e-9, 1e-200, 1e200, 3.0])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile", "huber"])
def test_targets_in_any_unit(loss, c):
    options = {"max_iter": 20, "min_samples_leaf": 3, "quantile": 0.7}
    X, y = noisy(120)
    plain = Regressor(loss, **options).fit(X, y).predict(X)
    scaled = Regressor(loss, **options).fit(X, c * y).predict(X)
    np.testing.assert_allclose(scaled / c, plain, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(hist().fit(A, V * c).predict(A), V * c, rtol=1e-12)


NEIGHBOURS = [
    np.array([-0.00112051336219505895, np.nextafter(-0.00112051336219505895, 1)]),
    np.float32([3e38, 3.2e38]),
    np.array([1.5e308, 1.7e308]),
    np.array([0.0, 1e-30]),
    np.array([-np.inf, np.inf]),
]


@pytest.mark.parametrize("pair", NEIGHBOURS, ids=str)
def test_a_midpoint_that_is_not_between(pair):
    x, y = np.tile(pair, 10)[:, None], np.tile([0.0, 1.0], 10)
    assert hist().fit(x, y).predict(pair[:, None]).tolist() == [0.0, 1.0]


def test_infinity_beside_a_gap():
    x = np.array([0, 1, np.inf, np.nan, np.nan])[:, None]
    model = hist().fit(x, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(model.predict(x), [0, 0, 0, 1, 1], atol=1e-15)
    np.testing.assert_allclose(model.predict([[-np.inf], [1e308]]), [0, 0], atol=1e-15)


def test_gaps_only_at_prediction():
    x = np.arange(10.0)[:, None]
    assert hist(max_leaf_nodes=2).fit(x, (x[:, 0] > 6) * 1.0).predict([[np.nan]]).tolist() == [0.0]
    assert hist(max_leaf_nodes=2).fit(x, (x[:, 0] > 2) * 1.0).predict([[np.nan]]).tolist() == [1.0]


def test_missing_values_change_nothing_where_there_are_none():
    X, y = noisy()
    gaps = X.copy()
    gaps[:, 4] = np.nan
    full = X.copy()
    full[:, 4] = 1.0
    a, b = (Regressor(max_iter=10).fit(Z, y).predict(Z) for Z in (gaps, full))
    assert a.tobytes() == b.tobytes()


def test_same_names_other_codes():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    names = ["red", "green", "blue"]
    frame = pd.DataFrame({"c": pd.Categorical(names * 20, categories=names)})
    asked = pd.DataFrame({"c": pd.Categorical(["blue", "red"], categories=["blue", "red"])})
    model = hist().fit(frame, [1.0, 2.0, 3.0] * 20)
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    for own in (model, pickle.loads(pickle.dumps(model)), kernelmill.load(file)):
        np.testing.assert_allclose(own.predict(asked), [3, 1])
        strange = pd.DataFrame({"c": pd.Categorical(["violet", None])})
        assert np.isfinite(own.predict(strange)).all()
    many = hist(early_stopping=True, validation_fraction=None)
    held = (asked, np.array([3.0, 1.0]))
    many.fit(frame, [1.0, 2.0, 3.0] * 20, eval_set=held)
    assert many.validation_score_[-1] > -1e-20


def test_levels_of_other_frames():
    pl = pytest.importorskip("polars", reason="needs polars")
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    names, y = ["red", "green", "blue"] * 20, [1.0, 2.0, 3.0] * 20
    number = np.arange(60.0)
    for dtype in (pl.Categorical, pl.Enum(["green", "blue", "red"])):
        frame = pl.DataFrame({"x": number, "c": pl.Series(names, dtype=dtype)})
        asked = pl.DataFrame({"x": [0.0, 1], "c": pl.Series(["blue", "red"], dtype=dtype)})
        model = hist().fit(frame, y)
        assert model.is_categorical_.tolist() == [False, True]
        np.testing.assert_allclose(model.predict(asked), [3, 1])
    table = pa.table({"x": number, "c": pa.array(names).dictionary_encode()})
    np.testing.assert_allclose(hist().fit(table, y).predict(table), y)


def test_categories_by_name_position_and_mask():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 8, 300)
    X = np.stack([rng.normal(size=300), codes], axis=1)
    y = (codes % 2) + 0.1 * X[:, 0]
    frame = pd.DataFrame(X, columns=["x", "c"])
    fits = [
        Regressor(max_iter=5, categorical_features=[1]).fit(X, y).predict(X),
        Regressor(max_iter=5, categorical_features=[False, True]).fit(X, y).predict(X),
        Regressor(max_iter=5, categorical_features=["c"]).fit(frame, y).predict(frame),
        Regressor(max_iter=5).fit(frame.astype({"c": "category"}), y).predict(
            frame.astype({"c": "category"})
        ),
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(other, fits[0])
    texts = frame.assign(c=[f"level {c}" for c in codes])
    named = Regressor(max_iter=5, categorical_features=["c"]).fit(texts, y)
    np.testing.assert_array_equal(named.predict(texts), fits[0])
    for given, words in (
        ([2], "positions in"), (["z"], "column names"), ([True], "shape"), ([1.5], "bool, int or"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            Regressor(categorical_features=given).fit(X, y)
    with pytest.raises(ValueError, match="must name columns of X, got 'z'"):
        Regressor(categorical_features=["z"]).fit(frame, y)
    with pytest.raises(ValueError, match="at most max_bins=4 levels, got 8"):
        Regressor(categorical_features=[1], max_bins=4).fit(X, y)


def test_negative_codes():
    model = hist(categorical_features=[0])
    model.fit(np.repeat([-1.0, 0, 1], 20)[:, None], np.repeat([1.0, 2, 3], 20))
    got = model.predict([[-1.0], [0], [1], [-2], [np.nan]])
    np.testing.assert_allclose(got[:3], [1, 2, 3])
    assert np.isfinite(got).all()


@pytest.mark.parametrize("swapped", [False, True])
def test_a_level_never_seen_follows_the_larger_child(swapped):
    x = np.repeat([1.0, 0.0] if swapped else [0.0, 1.0], [60, 40])[:, None]
    model = hist(categorical_features=[0]).fit(x, np.repeat([5.0, -5.0], [60, 40]))
    assert model.predict([[42.0], [np.nan]]).tolist() == [5.0, 5.0]
    # Gaps that carry meaning have a side of their own, and unseen levels do not share it.
    gaps = np.concatenate([x, np.full((30, 1), np.nan)])
    y = np.concatenate([np.repeat([5.0, -5.0], [60, 40]), np.full(30, 100.0)])
    model = hist(categorical_features=[0], max_leaf_nodes=3).fit(gaps, y)
    np.testing.assert_allclose(model.predict([[np.nan], [42.0]]), [100, 5])


def test_all_255_levels():
    x = np.repeat(np.arange(255.0), 3)[:, None]
    y = np.random.default_rng(0).permutation(255)[x[:, 0].astype(int)].astype(float)
    model = hist(categorical_features=[0], max_leaf_nodes=None).fit(x, y)
    np.testing.assert_allclose(model.predict(x), y)
    assert np.isfinite(model.predict([[999.0]])).all()


def test_a_weighted_quantile_is_never_outside_the_data():
    x = np.zeros((2, 1))
    median = hist(loss="absolute_error").fit(x, [0, 10], sample_weight=[1, 3])
    assert median.predict(x).tolist() == [10, 10]
    level = hist(loss="quantile", quantile=0.9).fit(np.zeros((3, 1)), [1, 2, 3], [1, 1, 10])
    assert level.predict([[0.0]]).tolist() == [3]
    rng = np.random.default_rng(0)
    for _ in range(30):
        y, w, q = rng.normal(size=9), rng.uniform(0.1, 3, 9), rng.uniform()
        got = hist(loss="quantile", quantile=q).fit(np.zeros((9, 1)), y, w).predict([[0.0]])[0]
        r = y - got
        costs = [(w * np.maximum(q * (y - c), (q - 1) * (y - c))).sum() for c in y]
        assert (w * np.maximum(q * r, (q - 1) * r)).sum() <= min(costs) * (1 + 1e-12)


def squared(y, raw):
    return raw - y, np.ones(len(y))


def logistic(y, raw):
    p = 1 / (1 + np.exp(-raw))
    return p - y, p * (1 - p)


def test_own_loss_equal_to_a_built_in_one():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = 3 * X[:, 0] + rng.normal(size=300) + 50
    own, built = (Regressor(loss, max_iter=5).fit(X, y) for loss in (squared, "squared_error"))
    np.testing.assert_allclose(own.predict(X), built.predict(X), atol=1e-6, rtol=0)
    shifted = Regressor(squared, max_iter=5).fit(X, y + 1000)
    np.testing.assert_allclose(shifted.predict(X), built.predict(X) + 1000, atol=1e-6, rtol=0)
    z = (y > 50).astype(int)
    own, built = (Classifier(loss, max_iter=5).fit(X, z) for loss in (logistic, "log_loss"))
    np.testing.assert_allclose(own.predict_proba(X), built.predict_proba(X), atol=1e-6, rtol=0)
    metric = Regressor(squared, max_iter=30, early_stopping=True, scoring="r2").fit(X, y)
    assert len(metric.validation_score_) > 1
    with pytest.raises(ValueError, match="scoring must be a metric where loss is a function"):
        Regressor(squared, early_stopping=True).fit(X, y)
    with pytest.raises(ValueError, match="loss must return a gradient and a hessian of shape"):
        Regressor(lambda y, raw: (raw - y, 1.0)).fit(X, y)
    with pytest.raises(ValueError, match="y must hold two classes where loss is a function"):
        Classifier(logistic).fit(X, np.arange(300) % 3)


@pytest.mark.parametrize("scoring", ["loss", "neg_mean_absolute_error"])
def test_the_best_round(scoring):
    X, y = noisy(600)
    y = y + 2 * np.random.default_rng(1).normal(size=600)
    A, B, a, b = train_test_split(X, y, random_state=0)
    options = {"scoring": scoring, "max_iter": 300, "learning_rate": 0.3, "early_stopping": True}
    models = [
        Regressor(n_iter_no_change=p, tol=0.0, **options).fit(A, a, eval_set=(B, b))
        for p in (10, 100)
    ]
    np.testing.assert_array_equal(models[0].predict(B), models[1].predict(B))
    model = models[1]
    stages = [*model.staged_predict(B)]
    np.testing.assert_array_equal(stages[-1], model.predict(B))
    whole = Regressor(max_iter=60, learning_rate=0.3).fit(A, a)
    size = (lambda r: r * r) if scoring == "loss" else np.abs
    losses = [size(p - b).mean() for p in whole.staged_predict(B)]
    assert model.n_iter_ == np.argmin(losses) + 1
    assert model.n_iter_ == np.argmax(model.validation_score_)
    assert len(model.validation_score_) == len(model.train_score_) == model.n_iter_ + 101
    with pytest.raises(ValueError, match="y must be finite"):
        Regressor(early_stopping=True).fit(A, a, eval_set=(B, np.where(b > 1, np.nan, b)))


def test_contributions_where_hessians_vanish():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    model = Classifier(max_iter=300, learning_rate=1.0, min_samples_leaf=1).fit(X, X[:, 0] > 0)
    phi = model.predict_contributions(X)
    assert np.isfinite(phi).all()
    np.testing.assert_allclose(phi.sum(axis=1), model.decision_function(X), rtol=1e-9)


def test_read_only_arrays():
    X, y = noisy(200)
    w = np.ones(200)
    for array in (X, y, w):
        array.flags.writeable = False
    plain = Regressor(max_iter=3).fit(X.copy(), y.copy(), w.copy()).predict(X)
    np.testing.assert_array_equal(Regressor(max_iter=3).fit(X, y, w).predict(X), plain)
    np.testing.assert_array_equal(
        Regressor(max_iter=3).fit(np.asfortranarray(X), y).predict(X[:, ::-1][:, ::-1]), plain
    )


# --- theorems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "log_cosh", "quantile"])
def test_the_training_loss_never_rises(loss):
    X, y = noisy()
    model = Regressor(
        loss, learning_rate=0.9, max_iter=60, early_stopping=True, validation_fraction=None,
        n_iter_no_change=60, quantile=0.3, l2_regularization=0.5, min_samples_leaf=2,
    ).fit(X, y)  # fmt: skip
    assert np.diff(model.train_score_).min() > -1e-12


def test_the_training_loss_of_classes_never_rises():
    X, y = load_iris(return_X_y=True)
    for target in (y, (y > 1).astype(int)):
        stages = Classifier(max_iter=30).fit(X, target).staged_predict_proba(X)
        losses = [log_loss(target, p) for p in stages]
        assert np.diff(losses).max() < 0


def test_a_duplicate_and_a_constant_feature_change_nothing():
    X, y = noisy()
    plain = Regressor(max_iter=10).fit(X, y).predict(X)
    more = np.concatenate([X, X[:, :2], np.ones((400, 1))], axis=1)
    np.testing.assert_array_equal(Regressor(max_iter=10).fit(more, y).predict(more), plain)


def test_an_increasing_map_changes_no_training_prediction():
    X, y = noisy()
    plain = Regressor(max_iter=10).fit(X, y).predict(X)
    mapped = np.exp(X / 2)
    np.testing.assert_array_equal(Regressor(max_iter=10).fit(mapped, y).predict(mapped), plain)


def test_weights_equal_repetition():
    X, y = noisy(80)
    w = np.random.default_rng(1).integers(0, 4, 80)
    options = {"max_iter": 10, "min_samples_leaf": 1, "max_leaf_nodes": 6}
    Z = np.repeat(X, w, axis=0)
    for model, u in ((Regressor(**options), y), (Classifier(**options), (y > 0).astype(int))):
        weighted = model.fit(X, u, sample_weight=w).predict_contributions(X)
        repeated = model.fit(Z, np.repeat(u, w)).predict_contributions(X)
        np.testing.assert_allclose(weighted, repeated, rtol=1e-8, atol=1e-8)


def test_threads_change_no_bit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(70_000, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) > 0
    found = []
    for threads in (1, 2, 7):
        with kernelmill.threads(threads):
            model = Classifier(max_iter=4, random_state=0, max_features=0.7, early_stopping=False)
            found.append(model.fit(X, y).decision_function(X).tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", ["regression", "classification", "classes"])
def test_monotonic_constraints_hold(kind):
    X, y = noisy(500, seed=3)
    y = y - 2 * X[:, 3]
    cst = [1, 0, 0, -1, 0]
    X[::7, 0] = np.nan
    if kind == "regression":
        model = Regressor(monotonic_cst=cst).fit(X, y)
        values = model.predict
    elif kind == "classification":
        model = Classifier(monotonic_cst=cst, min_samples_leaf=2).fit(X, y > 0)
        values = model.decision_function
    else:
        with pytest.raises(ValueError, match="not supported for multiclass"):
            Classifier(monotonic_cst=cst).fit(X, np.arange(500) % 3)
        return
    base = np.nan_to_num(X[:50])
    for f, sign in ((0, 1), (3, -1)):
        line = np.repeat(base, 80, axis=0)
        line[:, f] = np.tile(np.linspace(-3, 3, 80), 50)
        steps = np.diff(values(line).reshape(50, 80), axis=1)
        assert (sign * steps).min() >= 0
        assert np.abs(steps).max() > 0


def test_constraints_by_name_and_what_does_not_fit():
    pd = pytest.importorskip("pandas", reason="needs pandas")
    X, y = noisy()
    frame = pd.DataFrame(X, columns=list("abcde"))
    named = Regressor(max_iter=5, monotonic_cst={"a": 1, "d": -1}).fit(frame, y)
    listed = Regressor(max_iter=5, monotonic_cst=[1, 0, 0, -1, 0]).fit(X, y)
    np.testing.assert_array_equal(named.predict(frame), listed.predict(X))
    for given, words in (({"a": 1}, "no column names"), ([1, 0], "must be 5 numbers")):
        with pytest.raises(ValueError, match=words):
            Regressor(monotonic_cst=given).fit(X, y)
    with pytest.raises(ValueError, match="name columns of X, got 'z'"):
        Regressor(monotonic_cst={"z": 1}).fit(frame, y)
    with pytest.raises(ValueError, match="0 for categorical features"):
        Regressor(monotonic_cst=[1, 0, 0, 0, 0], categorical_features=[0]).fit(np.round(X), y)
    with pytest.raises(ValueError, match="interaction_cst must hold positions"):
        Regressor(interaction_cst=[{7}]).fit(X, y)


@pytest.mark.parametrize("given", ["no_interactions", "pairwise", [{0, 1}, {2}]])
def test_interaction_constraints_hold(given):
    X, y = noisy()
    y = y + X[:, 0] * X[:, 3] + X[:, 1] * X[:, 4]
    model = Regressor(interaction_cst=given, max_iter=20).fit(X, y)
    trees = model._fitted()
    groups = model._groups(5)
    assert groups.any(axis=0).all()
    node = trees.nodes.view(kernelmill.ops.histogram.NODE)[:, 0]

    def paths(at, seen):
        if node[at]["feature"] < 0:
            assert not seen or groups[:, sorted(seen)].all(axis=1).any()
            return
        seen = seen | {int(node[at]["feature"]) % 2**29}
        paths(at + 1, seen)
        paths(root + int(node[at]["right"]), seen)

    for root in trees.roots:
        paths(root, frozenset())
    if given == "no_interactions":  # a sum of functions of one feature
        a, b = X[:1], X[1:2]
        mixed = a.copy()
        mixed[0, 0] = b[0, 0]
        rest = b.copy()
        rest[0, 0] = a[0, 0]
        f = model.predict
        np.testing.assert_allclose(f(a) + f(b), f(mixed) + f(rest), rtol=1e-9)


def test_warm_start_goes_on():
    X, y = noisy()
    whole = Regressor(max_iter=12, random_state=0).fit(X, y)
    parts = Regressor(max_iter=5, random_state=0, warm_start=True).fit(X, y)
    five = parts.predict(X)
    parts.set_params(max_iter=12).fit(X, y)
    np.testing.assert_array_equal([*parts.staged_predict(X)][4], five)
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), rtol=1e-12)
    assert parts.n_iter_ == 12
    with pytest.raises(ValueError, match="larger than or equal to n_iter_"):
        parts.set_params(max_iter=3).fit(X, y)
    Z, z = load_iris(return_X_y=True)
    labels = np.array(["a", "b", "c"])[z]
    first = Classifier(max_iter=3, warm_start=True, categorical_features=[3]).fit(Z, labels)
    first.set_params(max_iter=6).fit(Z, labels)
    both = Classifier(max_iter=6, categorical_features=[3]).fit(Z, labels)
    np.testing.assert_allclose(first.predict_proba(Z), both.predict_proba(Z), rtol=1e-9)
    stopping = Regressor(max_iter=5, warm_start=True, early_stopping=True, random_state=0)
    stopping.fit(X, y).set_params(max_iter=9).fit(X, y)
    assert len(stopping.train_score_) == 10


def test_an_interrupted_fit_is_a_model_and_goes_on():
    X, y = noisy(200)
    calls = 0

    def interrupted(y, raw):
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt
        return squared(y, raw)

    model = Regressor(interrupted, max_iter=20, warm_start=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.interrupted_
    assert 0 < model.n_iter_ < 20
    assert model.score(X, y) > 0.2
    np.testing.assert_allclose(
        model.fit(X, y).predict(X), Regressor(max_iter=20).fit(X, y).predict(X), rtol=1e-6
    )
    assert not hasattr(model, "interrupted_")


def test_shares_of_features_are_drawn_by_the_seed():
    X, y = noisy()
    a, b, c = (
        Regressor(max_iter=5, max_features=0.4, random_state=s).fit(X, y).predict(X)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_growth_limits():
    X, y = noisy()
    for options, leaves in (
        ({"max_leaf_nodes": 5}, 5), ({"max_depth": 2, "max_leaf_nodes": None}, 4),
        ({"min_samples_leaf": 150}, 2), ({"min_gain_to_split": 1e9}, 1),
    ):  # fmt: skip
        model = Regressor(max_iter=1, **options).fit(X, y)
        assert len(np.unique(model.predict(X))) <= leaves
    plain, ridge, lasso = (
        np.ptp(Regressor(max_iter=1, **options).fit(X, y).predict(X))
        for options in ({}, {"l2_regularization": 50.0}, {"l1_regularization": 5.0})
    )
    assert ridge < plain > lasso
    assert Regressor(max_leaf_nodes=None, min_samples_leaf=1, learning_rate=1.0).fit(X, y).score(
        X, y
    ) == pytest.approx(1)


def test_the_specification_runs_a_whole_fit():
    X, y = noisy(60, 3)
    model = Regressor(max_iter=2, max_leaf_nodes=4, min_samples_leaf=5)
    want = model.fit(X, y).predict(X)
    with kernelmill.backend("numpy"):
        got = model.fit(X, y).predict(X)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("stop", [False, True])
def test_streams_give_the_same_model(stop, tmp_path):
    X, y = noisy(500)
    X[::9, 2], X[3, 1] = np.nan, np.inf
    X[:, 4] = np.round(X[:, 4])
    w = np.random.default_rng(0).integers(0, 3, 500).astype(float)
    options = {"max_iter": 8, "categorical_features": [4], "random_state": 0}
    options |= {"early_stopping": stop, "scoring": "r2"}
    plain = Regressor(**options).fit(X, y, w)
    chunks = [(X[:200], w[:200]), (X[200:], w[200:])]
    dask = pytest.importorskip("dask.array", reason="needs dask")
    path = tmp_path / "rows.npy"
    np.save(path, X)
    lazy = dask.from_array(X, chunks=(170, 5))
    for source, weight in ((chunks, None), (path, w), (lazy, w)):
        model = Regressor(**options).fit(source, y, weight)
        np.testing.assert_array_equal(model.predict(X), plain.predict(X))
        np.testing.assert_array_equal(model.validation_score_, plain.validation_score_)
    np.testing.assert_array_equal(model.predict(lazy), plain.predict(X))
    np.testing.assert_array_equal(
        model.predict_contributions([X[:200], X[200:]]), plain.predict_contributions(X)
    )
    with pytest.raises(TypeError, match="predict reads streams"):
        next(model.staged_predict([X[:200], X[200:]]))
    with pytest.raises(TypeError, match="must be dense"):
        Regressor().fit([scipy.sparse.csr_matrix(np.nan_to_num(X[:300])) for _ in range(2)], y)


def test_bins_of_a_sample(monkeypatch):
    monkeypatch.setattr("kernelmill.ensemble._hist_bins.SAMPLE", 300)
    X, y = noisy(900)
    options = {"max_iter": 5, "random_state": 0, "max_bins": 40}
    plain = Regressor(**options).fit(X, y)
    assert plain.score(X, y) > 0.3
    parts = Regressor(**options).fit([X[:500], X[500:]], y)
    np.testing.assert_array_equal(parts.predict(X), plain.predict(X))
    assert not np.array_equal(Regressor(**options | {"random_state": 1}).fit(X, y).predict(X),
                              plain.predict(X))  # fmt: skip


# --- use -----------------------------------------------------------------------------------------


def test_contributions_add_up():
    X, y = noisy()
    X[::5, 1] = np.nan
    model = Regressor(max_iter=15).fit(X, y)
    phi = model.predict_contributions(X)
    assert phi.shape == (400, 6)
    np.testing.assert_allclose(phi.sum(axis=1), model.predict(X), rtol=1e-10)
    # The expected prediction of the training rows along the paths is their mean prediction.
    np.testing.assert_allclose(phi[:, -1], model.predict(X).mean(), rtol=1e-10)
    Z, z = load_iris(return_X_y=True)
    three = Classifier(max_iter=8).fit(Z, z)
    phi = three.predict_contributions(Z)
    assert phi.shape == (150, 5, 3)
    np.testing.assert_allclose(phi.sum(axis=1), three.decision_function(Z), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(three.feature_importances_.sum(), 1)


def test_early_stopping_in_pipelines_and_searches():
    X, y = noisy(300)
    pipeline = make_pipeline(StandardScaler(), Regressor(max_iter=50, early_stopping=True))
    search = GridSearchCV(
        pipeline, {"histgradientboostingregressor__learning_rate": [0.1, 0.5]}, cv=2
    )
    best = search.fit(X, y).best_estimator_[-1]
    assert best.do_early_stopping_
    assert len(best.validation_score_) >= best.n_iter_
    labels = y > 0
    for scoring in ("loss", "roc_auc", None):
        model = Classifier(max_iter=20, early_stopping=True, scoring=scoring, random_state=0)
        model.fit(X, labels, sample_weight=np.ones(300))
        assert model.n_iter_ == np.argmax(model.validation_score_)
    counted = Classifier(max_iter=5, early_stopping=True, validation_fraction=100).fit(X, labels)
    assert counted.n_iter_ >= 0
    for model, given in ((Regressor, y), (Classifier, labels)):  # of 1, of all, and all but one
        for count in (1, 300, 301) + (299,) * (model is Classifier):
            few = f"^{model.__name__}: validation_fraction must leave .* got {count} of 300"
            with pytest.raises(ValueError, match=few):
                model(early_stopping=True, validation_fraction=count).fit(X, given)


def test_class_weights():
    X, y = load_breast_cancer(return_X_y=True)
    weight = {0: 3.0, 1: 0.5}
    a = Classifier(max_iter=5, class_weight=weight).fit(X, y).predict_proba(X)
    b = Classifier(max_iter=5).fit(X, y, np.where(y == 0, 3.0, 0.5)).predict_proba(X)
    np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused():
    X, y = noisy(50)
    for model, target, words in (
        (Regressor("poisson"), y, "at least 0"),
        (Regressor("gamma"), np.abs(y) * (y > 0), "above 0"),
        (Regressor("quantile"), y, "quantile must be given"),
        (Regressor("squares"), y, "loss must be one of"),
        (Regressor(max_bins=256), y, "max_bins must be a whole number from 2 to 255"),
        (Regressor(), np.stack([y, y], 1), "y must be a vector"),
        (Classifier(), np.zeros(50), "at least two classes"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(X, target)
    with pytest.raises(ValueError, match="y_val must be given with X_val"):
        Regressor().fit(X, y, X_val=X)
    for lone in ({"y_val": y}, {"sample_weight_val": y}):
        with pytest.raises(ValueError, match="X_val must be given with"):
            Regressor().fit(X, y, **lone)
    with pytest.raises(ValueError, match="eval_set must be one pair"):
        Regressor().fit(X, y, eval_set=X)
    for given in ({"X_val": X, "y_val": y}, {"eval_set": (X, y)}):
        with pytest.raises(ValueError, match="early_stopping must be 'auto' or True"):
            Regressor(early_stopping=False).fit(X, y, **given)
    with pytest.raises(ValueError, match="known classes only"):
        Classifier().fit(X, y > 0, eval_set=(X, np.full(50, 7)))
    with pytest.raises(ValueError, match="two classes, got 1 class"):
        Classifier().fit(X, y > 0, sample_weight=(y > 0) * 1.0)


@pytest.mark.parametrize("model", [Regressor("huber", alpha=0.8), Classifier()])
def test_saved_models_predict_the_same(model, tmp_path):
    X, y = noisy(100)
    model.fit(X, y if isinstance(model, Regressor) else y > 0)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict(X), model.predict(X))
    file = io.BytesIO()
    kernelmill.save(model, file)
    file.seek(0)
    np.testing.assert_array_equal(
        kernelmill.load(file).predict_contributions(X), model.predict_contributions(X)
    )


@pytest.mark.parametrize("missing", [True, False])
def test_sparse_rows_of_complex_numbers_are_refused(missing):
    X, y = noisy(30)
    model = Regressor(max_iter=2).fit(X, y)
    model._absent_is_missing = missing  # as of a model that was converted
    with pytest.raises((TypeError, ValueError), match=r"X must .*complex"):
        model.predict(scipy.sparse.csr_matrix(X * 1j))
