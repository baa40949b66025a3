"""Converted ensembles and neighbours: gaps, categories, losses, members and metrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import sklearn.ensemble
import sklearn.neighbors

import kernelmill
from kernelmill.convert._trees import largest_below
from kernelmill.ops import tree as ops

rng = np.random.default_rng(8)
X = rng.normal(size=(150, 6))
y = (X[:, 0] > 0.3).astype(int) + (X[:, 1] + 0.4 * X[:, 2] > 0.0)
GAPS = np.where(rng.random(X.shape) < 0.15, np.nan, X)
NEW = np.where(rng.random((80, 6)) < 0.15, np.nan, rng.normal(size=(80, 6)))
FULL = np.nan_to_num(NEW)


def same(theirs, rows, methods, rtol=1e-9):
    ours = kernelmill.convert(theirs)
    assert type(ours).__module__.startswith("kernelmill.")
    for method in methods:
        expected, found = getattr(theirs, method)(rows), getattr(ours, method)(rows)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12, err_msg=method)
    return ours


@pytest.mark.parametrize("levels", [None, [5], [0, 5]])
@pytest.mark.parametrize("classes", [2, 3])
def test_histogram_boosting(levels, classes):
    given, new = GAPS.copy(), NEW.copy()
    for f in levels or ():  # levels with gaps between their numbers, some of them not in fit
        given[:, f] = np.round(given[:, f] * 3) ** 2
        new[:, f] = np.round(new[:, f] * 4) ** 2
    model = sklearn.ensemble.HistGradientBoostingClassifier(
        max_iter=8, categorical_features=levels, min_samples_leaf=5
    ).fit(given, np.minimum(y, classes - 1))
    same(model, new, ("predict_proba", "decision_function", "predict"))
    for loss in ("squared_error", "poisson"):
        model = sklearn.ensemble.HistGradientBoostingRegressor(
            loss=loss, max_iter=8, categorical_features=levels, min_samples_leaf=5
        ).fit(given, y)
        ours = same(model, new, ("predict",))
    assert ours.predict_contributions(new).shape == (80, 7)
    assert ours.n_iter_ == model.n_iter_


def test_histogram_boosting_of_frames():
    pd = pytest.importorskip("pandas", reason="frames with categories")
    frames = []
    for values in (GAPS, NEW):
        frame = pd.DataFrame(values, columns=list("abcdef"))
        code = np.where(np.isnan(values[:, 2]), -1, np.abs(np.round(values[:, 2])))
        frame["c"] = pd.Categorical.from_codes(np.minimum(code, 3).astype(int), list("zyxw"))
        frames.append(frame)
    model = sklearn.ensemble.HistGradientBoostingRegressor(
        categorical_features="from_dtype", max_iter=8, min_samples_leaf=5
    ).fit(frames[0], y)
    same(model, frames[1], ("predict",))


@pytest.mark.parametrize(
    "parameters",
    [{}, {"init": "zero"}, {"subsample": 0.5}, {"max_features": 2},
     {"init": sklearn.ensemble.RandomForestClassifier(5, random_state=0)}],
)  # fmt: skip
def test_gradient_boosting(parameters):
    kind = sklearn.ensemble.GradientBoostingClassifier
    for targets, more in ((y, {}), (y > 0, {}), (y > 0, {"loss": "exponential"})):
        model = kind(n_estimators=6, random_state=0, **parameters | more).fit(X, targets)
        ours = same(model, FULL, ("predict_proba", "decision_function", "predict"))
        np.testing.assert_allclose(
            ours.feature_importances_, model.feature_importances_, atol=1e-12
        )
    if not hasattr(parameters.get("init"), "fit"):
        for loss in ("squared_error", "huber"):
            model = sklearn.ensemble.GradientBoostingRegressor(
                n_estimators=6, loss=loss, random_state=0, **parameters
            ).fit(X, X[:, 0])
            same(model, FULL, ("predict",))
            staged = zip(kernelmill.convert(model).staged_predict(FULL),
                         model.staged_predict(FULL), strict=True)  # fmt: skip
            for found, expected in staged:
                np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "parameters", [{}, {"max_features": 3}, {"bootstrap": True, "contamination": 0.1}]
)
def test_isolation_forest(parameters):
    model = sklearn.ensemble.IsolationForest(n_estimators=20, random_state=1, **parameters).fit(X)
    same(model, FULL, ("score_samples", "decision_function", "predict"))


@pytest.mark.parametrize("name", ["RandomForestClassifier", "ExtraTreesRegressor"])
def test_forests_have_their_members_and_go_on_growing(name):
    theirs = getattr(sklearn.ensemble, name)(6, random_state=0).fit(GAPS, y)
    ours = kernelmill.convert(theirs)
    for one, other in zip(ours.estimators_, theirs.estimators_, strict=True):
        np.testing.assert_allclose(one.predict(NEW), other.predict(NEW), rtol=1e-12)
    first = ours.apply(NEW)
    ours.set_params(n_estimators=50, warm_start=True, bootstrap=True, oob_score=True).fit(GAPS, y)
    np.testing.assert_array_equal(ours.apply(NEW)[:, :6], first)
    # Bags of the first six are not known, so these say nothing of rows out of bag.
    noise = np.random.default_rng(0).permutation(y)
    theirs = getattr(sklearn.ensemble, name)(40, random_state=0).fit(X, noise)
    ours = kernelmill.convert(theirs)
    ours.set_params(n_estimators=80, warm_start=True, bootstrap=True, oob_score=True).fit(X, noise)
    assert ours.oob_score_ < 0.6


def test_boosted_members_become_ours():
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    for member in (None, DecisionTreeClassifier(max_depth=2), LogisticRegression()):
        model = sklearn.ensemble.AdaBoostClassifier(member, n_estimators=7).fit(X, y)
        ours = same(model, FULL, ("predict_proba", "decision_function", "predict"))
        assert type(ours.estimators_[0]).__module__.startswith("kernelmill.")
    model = sklearn.ensemble.AdaBoostRegressor(n_estimators=7).fit(X, X[:, 0])
    same(model, FULL, ("predict",))


def test_rows_that_round_over_a_threshold():
    # scikit-learn's trees see rows of float32; thresholds here are those of float64 rows.
    t = np.concatenate([rng.normal(size=300), [0.0, 1.0, -1.0, 1e-42, 3e38]])
    t = np.concatenate([t, t.astype(np.float32).astype(np.float64)])
    for inclusive in (True, False):
        found = largest_below(t, inclusive)
        up = np.nextafter(found, np.inf)
        low, high = found.astype(np.float32), up.astype(np.float32)
        assert ((low <= t) if inclusive else (low < t)).all()
        assert not ((high <= t) if inclusive else (high < t)).any()
    model = sklearn.ensemble.RandomForestRegressor(20, random_state=0).fit(X, X[:, 0] * X[:, 1])
    splits = [tree.tree_ for tree in model.estimators_]
    at = np.concatenate([np.column_stack([t.feature, t.threshold])[t.feature >= 0] for t in splits])
    rows = np.zeros((3 * len(at), 6))
    for i, near in enumerate((-1e-9, 0.0, 1e-9)):
        own = np.arange(len(at)) * 3 + i
        rows[own, at[:, 0].astype(int)] = at[:, 1] * (1 + near)
    same(model, rows, ("predict",), rtol=1e-12)


def test_wrong_members_are_noticed():
    model = sklearn.ensemble.GradientBoostingRegressor(n_estimators=4).fit(X, X[:, 0])
    ours = kernelmill.convert(model)
    words = ours._columns[0]["nodes"].view(ops.NODE)[:, 0]
    words["threshold"][words["feature"] >= 0] += 0.05
    assert np.abs(ours.predict(FULL) - model.predict(FULL)).max() > 1e-3


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "haversine", "chebyshev"])
def test_neighbours(metric):
    theirs = sklearn.neighbors.NearestNeighbors(n_neighbors=4, metric=metric)
    theirs.fit(X[:, :2])
    ours, new = kernelmill.convert(theirs), FULL[:, :2] + 0.01  # equal directions would be ties
    for found, expected in zip(ours.kneighbors(new), theirs.kneighbors(new), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    if metric == "cosine":
        with pytest.raises(NotImplementedError, match="to_sklearn: metric must leave rows"):
            kernelmill.convert.to_sklearn(ours)
        return
    again = kernelmill.convert.to_sklearn(ours)
    assert np.array_equal(again._fit_X, X[:, :2])


def test_neighbours_of_every_kind_of_target():
    several = np.column_stack([y, (X[:, 3] > 0).astype(int)])
    sparse = scipy.sparse.csr_matrix(np.round(X))
    for rows, targets in ((X, y), (X, several), (sparse, y), (X, np.array(list("abc"))[y])):
        new = FULL if rows is X else scipy.sparse.csr_matrix(np.round(FULL))
        theirs = sklearn.neighbors.KNeighborsClassifier(3, weights="distance").fit(rows, targets)
        ours = kernelmill.convert(theirs)
        assert np.array_equal(ours.classes_[-1], theirs.classes_[-1])
        if rows is X:  # whole numbers are at many equal distances
            assert np.array_equal(ours.predict(new), theirs.predict(new))
        back = kernelmill.convert.to_sklearn(ours)
        assert np.array_equal(back.predict(new), theirs.predict(new))
    theirs = sklearn.neighbors.KNeighborsRegressor(3).fit(X, X[:, :2])
    same(theirs, FULL, ("predict",))
    theirs = sklearn.neighbors.RadiusNeighborsRegressor(2.5).fit(X, X[:, 0])
    same(theirs, FULL, ("predict",))


def test_density_with_weights_and_a_rule():
    weight = rng.uniform(0.5, 2, len(X))
    for given in (None, weight):
        theirs = sklearn.neighbors.KernelDensity(bandwidth="scott").fit(X, sample_weight=given)
        same(theirs, FULL, ("score_samples",))


def test_outliers_keep_their_offset():
    theirs = sklearn.neighbors.LocalOutlierFactor(5, novelty=True, contamination=0.1).fit(X)
    ours = same(theirs, FULL, ("score_samples", "decision_function", "predict"))
    assert ours.offset_ == theirs.offset_
