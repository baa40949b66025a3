"""Trees, forests and boosting on device arrays do what they do on NumPy arrays.

``python trees.py <folder of the emulated _cuda> [arguments of pytest]``. Nothing here may leave the
device unless a result is said to be on the host: the stand-in for CuPy refuses to become a NumPy
array.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [sys.argv[1], str(HERE)]
import cupy  # noqa: E402 - the stand-in of this folder

import kernelmill  # noqa: E402, F401

sys.modules["kernelmill._cuda"] = importlib.import_module("_cuda")
from kernelmill import ensemble, tree  # noqa: E402
from kernelmill.ops import histogram as tree_ops  # noqa: E402


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4))
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 3] = rng.integers(0, 5, len(X))
    y = np.nan_to_num(X[:, 0]) + (X[:, 3] == 2) + 0.1 * rng.normal(size=len(X))
    return X, y


def same(model, names, X, exponentials=False):
    """Methods give device arrays for device arrays, with the same bits; labels are on the host."""
    for name in names:
        here, there = getattr(model, name)(X), getattr(model, name)(cupy.asarray(X))
        if isinstance(here, list):
            here, there = here[0], there[0]
        if isinstance(there, cupy.ndarray):
            there = there.get()
        else:
            assert name in ("predict", "proximity", "decision_path"), name
        if name == "decision_path":
            here, there = (np.asarray(p.toarray()) for p in (here, there))
        # Libraries of exponentials round in their own ways.
        close = 4 * np.finfo(float).eps if exponentials and name == "predict_proba" else 0
        if close:
            np.testing.assert_allclose(there, here, rtol=close, atol=0, err_msg=name)
        else:
            np.testing.assert_array_equal(there, here, err_msg=name)
        assert there.dtype == here.dtype


FORESTS = ("RandomForest", "ExtraTrees")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("categories", [None, [3]])
@pytest.mark.parametrize("kind", FORESTS)
def test_forests_predict(rows, kind, categories, dtype):
    X, y = rows
    X = X.astype(dtype)
    given = {"n_estimators": 3, "random_state": 0, "categorical_features": categories}
    model = getattr(ensemble, kind + "Classifier")(**given).fit(X, np.where(y > 0, "b", "a"))
    names = ("predict", "predict_proba", "predict_log_proba", "apply")
    same(model, names, X)
    assert isinstance(model.predict_proba(cupy.asarray(X)), cupy.ndarray)
    model = getattr(ensemble, kind + "Regressor")(**given).fit(X, np.stack([y, -y], axis=1))
    same(model, ("predict", "apply", "proximity"), X)
    assert isinstance(model.predict(cupy.asarray(X)), cupy.ndarray)


def test_trees_predict(rows):
    X, y = rows
    model = tree.DecisionTreeRegressor(max_depth=4).fit(X, y)
    same(model, ("predict", "apply", "decision_path"), X)
    model = ensemble.IsolationForest(n_estimators=5, random_state=0).fit(X)
    same(model, ("score_samples", "predict"), X)


def test_what_has_no_device_path_says_so(rows):
    X, y = rows
    there, labels = cupy.asarray(X), y > 0
    for model in (
        ensemble.RandomForestClassifier(2), ensemble.ExtraTreesClassifier(2),
        ensemble.AdaBoostClassifier(n_estimators=2), tree.DecisionTreeClassifier(),
        ensemble.GradientBoostingClassifier(n_estimators=2),
        ensemble.IsolationForest(n_estimators=2),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match=r"X must be an array on the CPU here, got"):
            model.fit(there, labels)
    model = ensemble.RandomForestClassifier(2).fit(X, labels)
    with pytest.raises(NotImplementedError, match=r"contributions are computed there"):
        model.predict_contributions(there)


BOOSTED = {
    "plain": {},
    "float32": {"dtype": np.float32},
    "weights": {"weighted": True},
    "levels": {"categorical_features": [3]},
    "constraints": {"monotonic_cst": [1, 0, -1, 0], "interaction_cst": [{0, 1}, {2, 3}]},
    "drawn features": {"max_features": 0.5, "l1_regularization": 0.1, "min_gain_to_split": 1e-3},
    "early": {"early_stopping": True, "max_iter": 9, "n_iter_no_change": 2},
    "metric": {"early_stopping": True, "scoring": "neg_log_loss"},
    "warm": {"warm_start": True},
}


def fitted(kind, X, y, *, dtype=np.float64, weighted=False, more=0, **given):
    """The same fit on both devices, and what they predict from."""
    given = {"max_iter": 4, "max_leaf_nodes": 6, "min_samples_leaf": 3, "random_state": 0} | given
    X = X.astype(dtype)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    models = []
    for rows in (X, cupy.asarray(X)):
        model = getattr(ensemble, f"HistGradientBoosting{kind}")(**given)
        model.fit(rows, y, sample_weight=weight)
        if given.get("warm_start"):
            model.set_params(max_iter=6).fit(rows, y)
        models.append(model)
    return *models, X


def equal(here, there):
    """The same trees; values of leaves are sums in another order."""
    for name in ("roots", "sides"):
        np.testing.assert_array_equal(there._trees[name], here._trees[name], err_msg=name)
    own, other = (m._trees["nodes"].view(tree_ops.NODE)[:, 0] for m in (here, there))
    for name in ("feature", "right"):
        np.testing.assert_array_equal(other[name], own[name], err_msg=name)
    inner = own["feature"] >= 0
    np.testing.assert_array_equal(other["threshold"][inner], own["threshold"][inner])
    for a, b in ((other["threshold"], own["threshold"]), (there._trees["cover"],
                 here._trees["cover"]), (there.train_score_, here.train_score_),
                 (there.validation_score_, here.validation_score_)):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert there.n_iter_ == here.n_iter_ > 1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", BOOSTED)
def test_boosting_classifies(rows, name, classes):
    X, y = rows
    given = BOOSTED[name]
    if name == "constraints" and classes == 3:
        given = {"interaction_cst": given["interaction_cst"]}
    labels = np.array(["a", "b", "c"])[np.digitize(y, [0.3, 1.0][: classes - 1])]
    here, there, X = fitted("Classifier", X, labels, **given)
    equal(here, there)
    same(there, ("predict", "predict_proba", "decision_function"), X, exponentials=True)
    assert isinstance(there.predict_proba(cupy.asarray(X)), cupy.ndarray)
    staged = [s.get() for s in there.staged_decision_function(cupy.asarray(X))]
    np.testing.assert_allclose(staged[-1], there.decision_function(X), rtol=1e-12)


@pytest.mark.parametrize("loss", tree_ops.LOSSES[:7])
def test_boosting_regresses(rows, loss):
    X, y = rows
    y = np.abs(y) + 0.1 if loss in ("gamma", "poisson") else y
    here, there, X = fitted("Regressor", X, y, loss=loss, quantile=0.7)
    equal(here, there)
    same(there, ("predict",), X)
    assert isinstance(there.predict(cupy.asarray(X)), cupy.ndarray)


def test_boosting_takes_functions_and_rows_to_validate_with(rows):
    X, y = rows

    def squared(y, raw):
        return raw - y, raw * 0 + 1

    here, there, _ = fitted("Regressor", X, y, loss=squared)
    equal(here, there)
    models = []
    for move in (np.asarray, cupy.asarray):
        model = ensemble.HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=3)
        given = {"X_val": move(X[60:]), "y_val": y[60:], "sample_weight_val": np.ones(30)}
        models.append(model.fit(move(X[:60]), move(y[:60]), **given))
    equal(*models)
    with pytest.raises(TypeError, match="X_val must be an array of cupy as X is, got one of numpy"):
        model.fit(cupy.asarray(X), y, X_val=X, y_val=y)
    with pytest.raises(NotImplementedError, match="contributions are computed there"):
        model.predict_contributions(cupy.asarray(X))


def test_boosting_of_many_rows_takes_coarse_steps():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(17_000, 3))
    y = X[:, 0] + rng.normal(size=len(X))
    here, there, _ = fitted("Regressor", X, y, max_iter=2, max_leaf_nodes=8)
    equal(here, there)


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__, *sys.argv[2:]]))
