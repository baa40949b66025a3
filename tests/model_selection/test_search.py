"""BayesSearchCV: scikit-learn's interface, beside its own grid search; failures; files."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import sklearn
from joblib import parallel_config
from scipy import sparse, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from kernelmill._estimator import persistence
from kernelmill.model_selection import BayesSearchCV, Integer, Real
from kernelmill.tree import DecisionTreeClassifier

X, Y = load_iris(return_X_y=True)
GRID = {"C": [0.1, 1.0, 10.0], "gamma": [0.01, 0.1]}
SPACE = {"C": (1e-2, 1e3, "log-uniform"), "gamma": (1e-4, 1.0, "log-uniform")}


# scikit-learn's check_cv casts infinite targets.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@parametrize_with_checks(
    [
        BayesSearchCV(
            DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}, n_iter=3, cv=2,
            random_state=0,
        ),
        BayesSearchCV(Ridge(), {"alpha": (1e-2, 10.0)}, n_iter=3, cv=2, random_state=0),
    ]
)  # fmt: skip
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("scoring", [None, "f1_macro", ["accuracy", "f1_macro"]])
def test_a_whole_grid_gives_the_table_of_a_grid_search(scoring):
    several = isinstance(scoring, list)
    options = {
        "scoring": scoring, "cv": StratifiedKFold(3), "return_train_score": True,
        "refit": "f1_macro" if several else True,
    }  # fmt: skip
    grid = GridSearchCV(SVC(), GRID, **options).fit(X, Y)
    own = BayesSearchCV(SVC(), GRID, n_iter=6, random_state=0, **options).fit(X, Y)
    assert set(own.cv_results_) == set(grid.cv_results_)
    order = [own.cv_results_["params"].index(p) for p in grid.cv_results_["params"]]
    for key, expected in grid.cv_results_.items():
        if "time" in key or key == "params":
            continue
        got = own.cv_results_[key]
        assert (type(got), got.dtype) == (type(expected), expected.dtype)
        np.testing.assert_array_equal(got[order], expected, err_msg=key)
    assert own.best_params_ == grid.best_params_
    assert own.best_score_ == grid.best_score_
    assert own.multimetric_ == grid.multimetric_
    assert own.n_splits_ == 3
    assert type(own.scorer_) is type(grid.scorer_)
    assert own.score(X, Y) == grid.score(X, Y)
    np.testing.assert_array_equal(own.predict(X), grid.predict(X))
    assert own.classes_.tolist() == [0, 1, 2]
    assert own.n_features_in_ == 4
    assert own.search_result_.fun == -own.best_score_


def test_a_search_finds_more_than_a_grid_of_as_many():
    data, target = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), SVC())
    space = {f"svc__{name}": dimension for name, dimension in SPACE.items()}
    search = BayesSearchCV(model, space, n_iter=16, cv=3, random_state=0).fit(data, target)
    grid = {"svc__C": np.logspace(-2, 3, 4), "svc__gamma": np.logspace(-4, 0, 4)}
    assert search.best_score_ > GridSearchCV(model, grid, cv=3).fit(data, target).best_score_
    assert not hasattr(search, "predict_proba")
    assert hasattr(search, "decision_function")


def test_conditional_and_alternative_spaces():
    model = SVC()
    conditional = {
        "kernel": ["linear", "rbf", "poly"],
        "gamma": Real(1e-3, 1.0, "log-uniform", when={"kernel": ["rbf", "poly"]}),
        "degree": Integer(2, 3, when={"kernel": "poly"}),
    }
    alternatives = [
        {"kernel": ["linear"]},
        {"kernel": ["rbf"], "gamma": stats.loguniform(1e-3, 1.0)},
        {"kernel": ["poly"], "gamma": stats.loguniform(1e-3, 1.0), "degree": [2, 3]},
    ]
    for space in (conditional, alternatives):
        search = BayesSearchCV(model, space, n_iter=12, cv=3, random_state=0).fit(X, Y)
        table = search.cv_results_
        for i, params in enumerate(table["params"]):
            assert ("gamma" in params) == (params["kernel"] != "linear")
            assert ("degree" in params) == (params["kernel"] == "poly")
            for name in ("kernel", "gamma", "degree"):
                column = table[f"param_{name}"]
                assert np.ma.getmaskarray(column)[i] == (name not in params)
                assert name not in params or column[i] == params[name]
        kernels = {p["kernel"] for p in table["params"]}
        assert kernels == {"linear", "rbf", "poly"}
        linear = sum(p["kernel"] == "linear" for p in table["params"])
        assert linear == 1  # it has no other dimension: one point


def test_choices_may_be_estimators():
    model = make_pipeline(StandardScaler(), SVC())
    linear = LogisticRegression(max_iter=1000)
    choices = {"svc": [SVC(), linear], "standardscaler": ["passthrough", StandardScaler()]}
    search = BayesSearchCV(model, choices, n_iter=4, cv=3, random_state=0).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_params_["svc"] is not search.best_estimator_[-1]


class Fragile(ClassifierMixin, BaseEstimator):
    """Fails for large a, and cannot be scored for a near 0."""

    def __init__(self, a=1.0):
        self.a = a

    def fit(self, X, y):
        if self.a > 0.5:
            raise RuntimeError("a is too large")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def score(self, X, y):
        if self.a < 0.1:
            raise RuntimeError("no score")
        return -((self.a - 0.4) ** 2)


def test_failures_survive():
    search = BayesSearchCV(Fragile(), {"a": (0.0, 1.0)}, n_iter=20, cv=2, random_state=0)
    with pytest.warns(FitFailedWarning, match="in 40 fits, the first .*RuntimeError"):
        search.fit(X, Y)
    table = search.cv_results_
    a, means = np.asarray(table["param_a"]), table["mean_test_score"]
    assert (np.isnan(means) == ((a > 0.5) | (a < 0.1))).all()
    assert search.best_params_["a"] == pytest.approx(0.4, abs=0.02)
    assert set(table["rank_test_score"][np.isnan(means)]) == {np.isfinite(means).sum() + 1}
    with pytest.raises(RuntimeError, match=r"a is too large|no score"):
        search.set_params(error_score="raise").fit(X, Y)
    search.set_params(error_score=-5.0)
    with pytest.warns(FitFailedWarning, match="error_score=-5.0"):
        search.fit(X, Y)
    assert search.cv_results_["mean_test_score"].min() == -5.0
    with pytest.raises(ValueError, match=r"at least one candidate must be fitted.*all the 6 fits"):
        BayesSearchCV(Fragile(), {"a": (0.6, 1.0)}, n_iter=3, cv=2).fit(X, Y)


def two_scores(estimator, X, y):
    accuracy = accuracy_score(y, estimator.predict(X))
    return {"hit": accuracy, "miss": 1 - accuracy}


def test_scores_by_functions():
    options = {"n_iter": 5, "cv": 3, "random_state": 0}
    search = BayesSearchCV(SVC(), SPACE, scoring=two_scores, refit="hit", **options).fit(X, Y)
    assert search.multimetric_
    np.testing.assert_allclose(
        search.cv_results_["mean_test_hit"] + search.cv_results_["mean_test_miss"], 1
    )
    assert search.score(X, Y) > 0.9
    with pytest.raises(ValueError, match=r"refit must be one of the scores \['hit', 'miss'\]"):
        BayesSearchCV(SVC(), SPACE, scoring=two_scores, **options).fit(X, Y)
    own = make_scorer(accuracy_score, greater_is_better=False)
    minus = BayesSearchCV(SVC(), SPACE, scoring=own, **options).fit(X, Y)
    assert minus.best_score_ <= 0
    chosen = BayesSearchCV(
        SVC(), SPACE, scoring={"a": "accuracy"}, refit=lambda table: 2, **options
    ).fit(X, Y)
    assert chosen.best_index_ == 2
    assert not hasattr(chosen, "best_score_")
    free = BayesSearchCV(SVC(), SPACE, scoring=["accuracy"], refit=False, **options).fit(X, Y)
    assert not hasattr(free, "best_estimator_")
    with pytest.raises(IndexError, match="index of a candidate, got 99"):
        chosen.set_params(refit=lambda table: 99).fit(X, Y)
    with pytest.raises(TypeError, match="refit must return a whole number"):
        chosen.set_params(refit=lambda table: "0").fit(X, Y)


def test_workers_and_batches():
    options = {"n_iter": 8, "cv": 3, "random_state": 0, "n_points": 2}
    one = BayesSearchCV(SVC(), SPACE, **options).fit(X, Y)
    with parallel_config(backend="threading"):  # processes take seconds to start
        two = BayesSearchCV(SVC(), SPACE, n_jobs=2, **options).fit(X, Y)
    assert one.cv_results_["params"] == two.cv_results_["params"]
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )


def test_weights_count_as_repetition():
    weights = np.r_[np.full(50, 3), np.ones(100, dtype=int)]
    rows = np.repeat(np.arange(150), weights)
    folds = np.arange(150) % 3
    splits = [(np.flatnonzero(folds != f), np.flatnonzero(folds == f)) for f in range(3)]
    repeated = [tuple(np.flatnonzero(np.isin(rows, part)) for part in s) for s in splits]
    options = {"n_iter": 4, "random_state": 0}
    space = {"alpha": (1e-2, 10.0)}
    a = BayesSearchCV(Ridge(), space, cv=splits, **options).fit(X, Y, sample_weight=weights)
    b = BayesSearchCV(Ridge(), space, cv=repeated, **options).fit(X[rows], Y[rows])
    np.testing.assert_allclose(
        a.cv_results_["mean_test_score"], b.cv_results_["mean_test_score"], rtol=1e-9
    )
    np.testing.assert_allclose(a.best_estimator_.coef_, b.best_estimator_.coef_, rtol=1e-9)


def test_groups_sparse_rows_kernels_and_frames():
    groups = np.arange(150) % 5
    options = {"n_iter": 3, "random_state": 0}
    plain = BayesSearchCV(SVC(), SPACE, cv=GroupKFold(5), **options).fit(X, Y, groups=groups)
    rows = BayesSearchCV(SVC(), SPACE, cv=GroupKFold(5), **options)
    rows.fit(sparse.csr_matrix(X), Y, groups=groups)
    np.testing.assert_array_equal(
        plain.cv_results_["mean_test_score"], rows.cv_results_["mean_test_score"]
    )
    K, cv = X @ X.T, KFold(3, shuffle=True, random_state=0)
    kernel = BayesSearchCV(SVC(kernel="precomputed"), {"C": (0.1, 10.0)}, cv=cv, **options)
    linear = BayesSearchCV(SVC(kernel="linear"), {"C": (0.1, 10.0)}, cv=cv, **options)
    np.testing.assert_array_equal(
        kernel.fit(K, Y).cv_results_["mean_test_score"],
        linear.fit(X, Y).cv_results_["mean_test_score"],
    )
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    named = BayesSearchCV(SVC(), SPACE, cv=3, **options).fit(frame, pandas.Series(Y))
    assert named.feature_names_in_.tolist() == ["a", "b", "c", "d"]


def test_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        model = Ridge().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = BayesSearchCV(
            model, {"alpha": (0.1, 1.0)}, n_iter=2, cv=GroupKFold(3), random_state=0
        )
        search.fit(X, Y, sample_weight=np.ones(150), groups=np.arange(150) % 3)
    assert search.n_splits_ == 3


def test_a_search_goes_on_from_its_file(tmp_path):
    path = tmp_path / "search.json"
    options = {
        "n_iter": 9, "cv": 3, "random_state": 0, "scoring": ["accuracy", "f1_macro"],
        "refit": "f1_macro", "return_train_score": True,
    }  # fmt: skip
    whole = BayesSearchCV(SVC(), SPACE, **options).fit(X, Y)
    stop = BayesSearchCV(SVC(), SPACE, checkpoint=path, **options)
    stop.set_params(callback=lambda result: result.nfev == 6).fit(X, Y)
    assert len(stop.cv_results_["params"]) == 6
    again = BayesSearchCV(SVC(), SPACE, checkpoint=path, **options).fit(X, Y)
    assert again.cv_results_["params"] == whole.cv_results_["params"]
    for key, expected in whole.cv_results_.items():
        if "score" in key and "time" not in key:
            assert again.cv_results_[key].tobytes() == expected.tobytes()
    np.testing.assert_array_equal(
        again.cv_results_["mean_fit_time"][:6], stop.cv_results_["mean_fit_time"]
    )
    for changed, words in (
        ({"cv": 4}, "cv"), ({"scoring": "accuracy", "refit": True}, "scoring"),
        ({"estimator": SVC(tol=1e-2)}, "estimator"), ({"random_state": 1}, "random_state"),
    ):  # fmt: skip
        other = BayesSearchCV(SVC(), SPACE, checkpoint=path, **options).set_params(**changed)
        with pytest.raises(ValueError, match=f"of the same search, got one with another {words}"):
            other.fit(X, Y)
    with pytest.raises(ValueError, match="another X, y or parameters of fit"):
        again.fit(X, Y[::-1])


def test_files_of_models_and_callbacks():
    options = {"n_iter": 3, "cv": 3, "random_state": 0}
    search = BayesSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2, 3]}, **options)
    stages = []

    class Listener:
        def setup(self, estimator, context):
            stages.append("setup")

        def teardown(self, estimator, context):
            stages.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            stages.append(context.task_name)
            return stages.count("candidate") == 2

    if hasattr(search, "set_callbacks"):  # scikit-learn 1.9 and later
        search.set_callbacks(Listener()).fit(X, Y)
        assert stages == ["setup", "candidate", "candidate", "run", "fit", "teardown"]
        assert len(search.cv_results_["params"]) == 2
    search = BayesSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2, 3]}, **options)
    search.fit(X, Y)
    with pytest.raises(TypeError, match=r"got BayesSearchCV .save its best_estimator_"):
        persistence.dumps(search)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_a_failed_fit_changes_nothing():
    search = BayesSearchCV(Fragile(), {"a": (0.1, 0.5)}, n_iter=3, cv=2, random_state=0).fit(X, Y)
    before = search.best_params_
    search.set_params(search_spaces={"a": (0.6, 1.0)})
    with pytest.raises(ValueError, match="at least one candidate"):
        search.fit(X, Y)
    assert search.best_params_ is before


def test_finite_space_ends():
    with pytest.warns(UserWarning, match="n_iter must be at most the size of a finite space"):
        search = BayesSearchCV(SVC(), GRID, cv=3, random_state=0).fit(X, Y)
    assert len(search.cv_results_["params"]) == 6


def test_none_is_a_choice():
    space = {"max_depth": [None, 1, 2]}
    search = BayesSearchCV(DecisionTreeClassifier(random_state=0), space, n_iter=3, cv=3)
    search.fit(X, Y)
    assert {p["max_depth"] for p in search.cv_results_["params"]} == {None, 1, 2}
    assert not np.ma.getmaskarray(search.cv_results_["param_max_depth"]).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_iter": 0}, "n_iter must be a whole number of at least 1"),
        ({"search_spaces": [(0.0, 1.0)]}, "search_spaces must be a dict or a list of dicts"),
        ({"search_spaces": {}}, "the space must be a list of dimensions"),
        ({"estimator": 3}, "estimator must be an object with fit"),
        ({"scoring": []}, "scoring must name at least one scorer"),
        ({"scoring": ["accuracy"]}, "refit must be one of the scores"),
        ({"error_score": "nan"}, "error_score must be"),
        ({"acquisition": "LCB"}, "acquisition must be"),
    ],
)
def test_refusals(options, words):
    given = {"estimator": SVC(), "search_spaces": SPACE, "n_iter": 2, **options}
    with pytest.raises(ValueError, match=f"BayesSearchCV: {words}"):
        BayesSearchCV(**given).fit(X, Y)


def test_scores_must_be_numbers():
    with pytest.raises(ValueError, match="scoring must return a number, got 'good'"):
        BayesSearchCV(SVC(), SPACE, n_iter=2, scoring=lambda m, X, y: "good").fit(X, Y)
    assert math.isnan(BayesSearchCV(SVC(), SPACE).error_score)
