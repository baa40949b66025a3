"""Fitted models of LightGBM and XGBoost predict the same as ours."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import kernelmill
from kernelmill.ensemble import _hist_base

lightgbm = pytest.importorskip("lightgbm", reason="compares with LightGBM")
xgboost = pytest.importorskip("xgboost", reason="compares with XGBoost")
pd = pytest.importorskip("pandas", reason="frames with categories")
pytestmark = pytest.mark.filterwarnings("ignore")


def table(n=400, seed=0):
    """Rows with gaps, with zeros, and with levels in the last column; four targets."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X[:, 3] = np.round(X[:, 3])
    X[:, 4] = rng.integers(0, 9, n)
    score = X[:, 0] + (X[:, 4] % 3) - 0.5 * X[:, 3]
    X[rng.random(X.shape) < 0.1] = np.nan
    binary = (score > 0.7).astype(int)
    return X, {
        "regression": score,
        "binary": np.array(["no", "yes"])[binary],
        "multiclass": np.digitize(score, [0.2, 1.2]) * 10,
        "counts": np.random.default_rng(seed).poisson(np.exp(0.3 * score)),
    }


X, TARGETS = table()
# Unknown levels too, and numbers on both sides of what rounds to them in float32.
NEW = table(seed=1)[0]
NEW[:5, 4] = [11.0, 200.0, 300.0, 3.0, np.nan]


def lightgbm_model(task, **parameters):
    kind = lightgbm.LGBMRegressor if task in ("regression", "counts") else lightgbm.LGBMClassifier
    given = {"n_estimators": 12, "num_leaves": 9, "min_child_samples": 5, "verbose": -1}
    if task == "counts":
        given["objective"] = "poisson"
    fit = {"categorical_feature": [4]} if parameters.pop("levels", True) else {}
    return kind(**given | parameters).fit(X, TARGETS[task], **fit)


def xgboost_model(task, **parameters):
    kind = xgboost.XGBRegressor if task in ("regression", "counts") else xgboost.XGBClassifier
    given = {"n_estimators": 12, "max_depth": 4, "feature_types": ["q"] * 4 + ["c"],
             "enable_categorical": True, "max_cat_to_onehot": 2}  # fmt: skip
    if task == "counts":
        given["objective"] = "count:poisson"
    y = TARGETS[task]
    y = np.unique(y, return_inverse=True)[1] if task in ("binary", "multiclass") else y
    return kind(**given | parameters).fit(X, y)


def assert_equal(theirs, rows, tolerance, there=None):
    there = rows if there is None else there
    ours = kernelmill.convert(theirs)
    for method in ("predict_proba", "predict"):
        if not hasattr(theirs, method):
            continue
        expected, found = getattr(theirs, method)(there), getattr(ours, method)(rows)
        if method == "predict" and hasattr(theirs, "predict_proba"):
            assert np.array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    return ours


TASKS = ("regression", "binary", "multiclass", "counts")
# Sums of XGBoost's leaves are float32: 12 to 36 roundings of sums of about 1.
SINGLE = 1e-6


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "parameters",
    [{}, {"levels": False}, {"boosting_type": "dart"}, {"use_missing": False},
     {"boosting_type": "rf", "subsample": 0.6, "subsample_freq": 1}],
)  # fmt: skip
def test_lightgbm(task, parameters):
    if task == "counts" and "rf" in parameters.values():
        parameters = {}
    ours = assert_equal(lightgbm_model(task, **parameters), NEW, 1e-12)
    assert ours.n_features_in_ == 5


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "parameters",
    [{}, {"booster": "dart", "rate_drop": 0.3}, {"num_parallel_tree": 3, "subsample": 0.6},
     {"feature_types": None}, {"base_score": 0.3}],
)  # fmt: skip
def test_xgboost(task, parameters):
    if parameters.get("base_score") and task == "multiclass":
        parameters = {}
    known = NEW.copy()
    known[:3, 4] = [0.0, 1.0, 8.0]
    ours = assert_equal(xgboost_model(task, **parameters), known, SINGLE)
    assert ours.is_categorical_ is None or ours.is_categorical_[4]


def test_xgboost_at_its_thresholds():
    # Rows are rounded to float32 there: the nearest float64 numbers to what rounds up and down.
    model = xgboost_model("regression", feature_types=None)
    frame = model.get_booster().trees_to_dataframe()
    splits = frame[frame.Feature != "Leaf"]
    rows = []
    for feature, split in zip(splits.Feature, splits.Split, strict=True):
        c = np.float32(split)
        for near in (c, np.nextafter(c, np.float32(-9)), np.nextafter(c, np.float32(9))):
            half = (np.float64(c) + np.float64(near)) / 2
            for x in (half, np.nextafter(half, -9.0), np.nextafter(half, 9.0)):
                row = np.zeros(5)
                row[int(feature[1:])] = x
                rows.append(row)
    assert_equal(model, np.array(rows), SINGLE)


def test_early_stopping_uses_the_best_round():
    y = np.random.default_rng(2).normal(size=len(X))  # nothing to learn
    model = xgboost.XGBRegressor(n_estimators=30, early_stopping_rounds=3)
    model.fit(X, y, eval_set=[(X[::-1] + 1, y)], verbose=False)
    assert kernelmill.convert(model).n_iter_ == model.best_iteration + 1
    assert_equal(model, NEW, SINGLE)
    model = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1)
    model.fit(X, y, eval_set=[(X[::-1] + 1, y)], callbacks=[lightgbm.early_stopping(3, False)])
    assert kernelmill.convert(model).n_iter_ == model.best_iteration_
    assert_equal(model, NEW, 1e-12)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entries_that_are_not_stored(kind, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(_hist_base, "_ENTRIES", 100)  # some chunks
    rng = np.random.default_rng(5)
    rows = sp.random_array((90, 6), density=0.5, format=kind, dtype=dtype, rng=rng)
    y = np.asarray(rows.sum(axis=1)) + rng.normal(size=90)
    for model, tolerance in (
        (lightgbm.LGBMRegressor(n_estimators=9, min_child_samples=3, verbose=-1), 1e-12),
        (xgboost.XGBRegressor(n_estimators=9), 1e-6),
    ):
        want = model.fit(rows.tocsr(), y).predict(rows.tocsr())
        ours = kernelmill.convert(model)
        np.testing.assert_allclose(ours.predict(rows), want, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(list(ours.staged_predict(rows))[-1], ours.predict(rows))
        sums = ours.predict_contributions(rows).sum(axis=1)
        np.testing.assert_allclose(sums, want, rtol=2e-6, atol=2e-6)
        kernelmill.save(ours, tmp_path / "m.safetensors")
        kept = kernelmill.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(kept.predict(rows), ours.predict(rows))
        if isinstance(model, xgboost.XGBRegressor):
            assert np.abs(ours.predict(rows.toarray()) - want).max() > 0.1
        with pytest.raises(ValueError, match="X has 4 features"):
            ours.predict(rows.tocsr()[:, :4])
        with pytest.raises(TypeError, match=r"X must be dense, got a sparse matrix of shape \(90"):
            ours.fit(rows, y)
        with pytest.raises(TypeError, match=r"X must be dense, got a sparse matrix of shape \(90"):
            ours.fit(rows.toarray(), y).predict(rows)


def test_boosters_without_a_wrapper():
    ours = kernelmill.convert(lightgbm_model("binary").booster_)
    proba = lightgbm_model("binary").booster_.predict(NEW)
    np.testing.assert_allclose(ours.predict_proba(NEW)[:, 1], proba, rtol=1e-12)
    booster = xgboost_model("multiclass", feature_types=None).get_booster()
    ours = kernelmill.convert(booster)
    proba = booster.predict(xgboost.DMatrix(NEW))
    np.testing.assert_allclose(ours.predict_proba(NEW), proba, rtol=SINGLE, atol=SINGLE)
    assert ours.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [lightgbm.LGBMClassifier, xgboost.XGBClassifier])
def test_frames_with_categories(kind):
    labels = np.array(list("zyxwvutsr"), object)
    frames = []
    for values in (X, NEW):
        frame = pd.DataFrame(values, columns=list("abcde"))
        code = np.where(np.isnan(values[:, 4]), -1, values[:, 4]).astype(int) % 9
        column = np.where(np.isnan(values[:, 4]), None, labels[code])
        frame["e"] = pd.Categorical(column, categories=labels)
        frames.append(frame)
    extra = {"verbose": -1} if kind is lightgbm.LGBMClassifier else {"enable_categorical": True}
    y = (TARGETS["binary"] == "yes").astype(int)
    model = kind(n_estimators=8, **extra).fit(frames[0], y)
    assert_equal(model, frames[1], SINGLE)
    other = frames[1].copy()  # in another order, and as plain objects
    other["e"] = other["e"].cat.set_categories(labels[::-1])
    ours = kernelmill.convert(model)
    assert np.array_equal(ours.predict_proba(other), ours.predict_proba(frames[1]))
    assert ours.feature_names_in_.tolist() == list("abcde")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: lightgbm_model("regression", linear_tree=True, levels=False), "linear leaves"),
        (lambda: lightgbm_model("multiclass", objective="multiclassova"), "multiclassova"),
        (lambda: lightgbm_model("regression", zero_as_missing=True), "zero_as_missing"),
        (lambda: xgboost.XGBRegressor(booster="gblinear", n_estimators=2).fit(
            np.nan_to_num(X), TARGETS["regression"]), "must be of trees"),
        (lambda: xgboost.XGBRegressor(objective="reg:logistic", n_estimators=2).fit(
            X, TARGETS["regression"] > 1), "reg:logistic"),
        (lambda: xgboost.XGBRegressor(n_estimators=2).fit(X, np.ones((len(X), 2))), "one output"),
        (lambda: xgboost.XGBClassifier(n_estimators=2).fit(
            X, np.tile([[0, 1], [1, 0]], (len(X) // 2, 1))), "one output, got 2 labels"),
        (lambda: xgboost_model("regression", feature_types=None, missing=0.0), "missing=0.0"),
        (lambda: xgboost.DMatrix(X), "must be of a class"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_says_so(model, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = model()
    with pytest.raises(NotImplementedError, match=f"convert: .*{message}"):
        kernelmill.convert(fitted)


def test_wrong_trees_are_noticed():
    # What the comparisons above must see: another default direction, another threshold.
    theirs = xgboost_model("regression", feature_types=None)
    ours = kernelmill.convert(theirs)
    expected = theirs.predict(NEW)
    for word in (lambda w: np.where(w >= 0, w ^ 2**30, w), lambda w: np.where(w >= 0, w & ~7, w)):
        state = dict(ours._trees)
        nodes = state["nodes"].copy()
        own = nodes.view(kernelmill.ops.histogram.NODE)[:, 0]
        own["feature"] = word(own["feature"])
        changed = kernelmill.convert(theirs)
        changed._trees = state | {"nodes": nodes}
        assert np.abs(changed.predict(NEW) - expected).max() > 1e-3
