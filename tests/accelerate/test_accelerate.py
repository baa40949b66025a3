"""Other libraries' classes run here where they can, and the report says so."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
import types

import numpy as np
import pytest
import sklearn.cluster
import sklearn.decomposition
import sklearn.ensemble
import sklearn.linear_model
import sklearn.svm
from sklearn.base import clone
from sklearn.inspection import partial_dependence
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import kernelmill
from kernelmill.accelerate import __main__ as command_line
from kernelmill.accelerate import _classes, _records, _switch, _table

THEIRS = sklearn.cluster.KMeans
X = np.random.default_rng(0).normal(size=(90, 4)) + np.repeat([[0.0], [8.0], [16.0]], 30, axis=0)
y = np.repeat([0, 1, 2], 30)


@pytest.fixture
def accelerated():
    with kernelmill.accelerate() as acceleration:
        yield acceleration
    assert sklearn.cluster.KMeans is THEIRS


def last():
    return kernelmill.accelerate.report()[-1]


# --- the table ------------------------------------------------------------------------------------


def test_the_table_has_every_class_of_both_libraries():
    """A class that we add under scikit-learn's name is accelerated too."""
    from sklearn.utils import all_estimators

    theirs = dict(all_estimators())
    both = set()
    for family in pkgutil.iter_modules(kernelmill.__path__):
        if not family.name.startswith("_") and family.name not in {"accelerate", "cli", "nn"}:
            module = importlib.import_module(f"kernelmill.{family.name}")
            both |= {name for name in getattr(module, "__all__", ()) if name in theirs}
    listed = {name for name, entry in _table.entries().items() if entry.library == "scikit-learn"}
    assert both == listed


@pytest.mark.parametrize("name", sorted(_table.entries()))
def test_defaults_are_supported(name):
    entry = _table.entries()[name]
    if entry.library == "hmmlearn":
        pytest.importorskip("hmmlearn", reason="compares with hmmlearn")
    theirs = _switch.original(entry)
    values = _table.defaults(theirs)
    given, reason = _table.parameters(entry, theirs, values)
    assert not reason
    lacking = set(values) - set(given) - {"n_jobs"}
    assert all(values[parameter] in ("deprecated", "warn") for parameter in lacking) or (
        name == "SparseCoder" and lacking == {"transform_max_iter"}
    )


_PATH = "takes parameters by name, as the function lasso_path does"
_GRAM = "products of columns are computed here"
_OTHER_METHODS = {
    "ElasticNet.path": _PATH,
    "Lasso.path": _PATH,
    "MultiTaskElasticNet.path": _PATH,
    "MultiTaskLasso.path": _PATH,
    "Lars.fit": _GRAM,
    "LassoLars.fit": _GRAM,
    "SimpleImputer.inverse_transform": "lacks, so add_indicator=True runs there",
}


def test_methods_take_what_theirs_take():
    """A call with any arguments of theirs, by place or by name, means the same here."""
    different = set()
    for name, entry in _table.entries().items():
        if _switch._imported(entry.module) is None:
            continue
        ours, theirs = entry.ours(), _switch.original(entry)
        for method in dir(theirs):
            value = getattr(theirs, method)
            if method.startswith(("_", "set_")) or not inspect.isroutine(value):
                continue
            own, wanted = getattr(ours, method, None), _named(value)
            taken = [] if own is None else _named(own)
            if entry.library == "hmmlearn":  # y is the lengths where these are given by place
                taken = [one for one in taken if one not in ("y", "sample_weight")]
            if own is None or taken[: len(wanted)] != wanted:
                different.add(f"{name}.{method}")
    assert different == set(_OTHER_METHODS)


def _named(method):
    kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    taken = inspect.signature(method).parameters
    return [name for name, given in taken.items() if given.kind not in kinds]


# --- on and off -----------------------------------------------------------------------------------


def test_on_off_and_nested():
    first = kernelmill.accelerate("KMeans")
    assert first.names == ("KMeans",)
    assert sklearn.cluster.KMeans is not THEIRS
    with kernelmill.accelerate("KMeans", "PCA") as second:
        assert second.names == ("PCA",)
        assert issubclass(sklearn.cluster.KMeans, THEIRS)
    assert sklearn.cluster.KMeans is not THEIRS
    assert sklearn.decomposition.PCA is not _classes.PCA
    first.undo()
    assert sklearn.cluster.KMeans is THEIRS
    kernelmill.accelerate()
    kernelmill.accelerate.stop()
    assert sklearn.cluster.KMeans is THEIRS
    with pytest.raises(ValueError, match=r"accelerate: names must be classes .*, got 'Nothing'"):
        kernelmill.accelerate("Nothing")


def test_stopped_models_predict_here_and_fit_there():
    with kernelmill.accelerate():
        model = sklearn.cluster.KMeans(3, random_state=0).fit(X)
    model.predict(X)
    assert last()[:3] == ("KMeans.predict", "kernelmill", "")
    model.fit(X)
    assert last()[:3] == ("KMeans.fit", "scikit-learn", "kernelmill.accelerate was stopped")
    assert "_kernelmill_model" not in vars(model)


# --- results --------------------------------------------------------------------------------------


def test_results_are_those_of_our_classes(accelerated):
    model = sklearn.cluster.KMeans(3, random_state=0).fit(X)
    ours = kernelmill.cluster.KMeans(3, random_state=0).fit(X)
    assert np.array_equal(model.cluster_centers_, ours.cluster_centers_)
    assert np.array_equal(model.predict(X), ours.labels_)
    assert model.n_features_in_ == 4
    check_is_fitted(model)
    assert last() == ("KMeans.predict", "kernelmill", "", last().seconds, (90, 4))
    assert last().seconds > 0


def test_small_fits_stay_close_to_theirs(accelerated):
    for model in (
        sklearn.linear_model.Ridge(),
        sklearn.linear_model.LogisticRegression(C=0.5, tol=1e-8),
        sklearn.svm.SVC(),
        sklearn.ensemble.GradientBoostingRegressor(n_estimators=5),
    ):
        theirs = type(model).__mro__[1](**model.get_params()).fit(X, y)
        here = model.fit(X, y).predict(X)
        assert last().where == "kernelmill"
        assert np.allclose(here, theirs.predict(X), rtol=1e-5)


# --- the estimators stay sound --------------------------------------------------------------------


def test_it_is_still_their_class(accelerated):
    model = sklearn.cluster.KMeans(3, tol=0.5)
    assert isinstance(model, THEIRS)
    assert repr(model) == "KMeans(n_clusters=3, tol=0.5)"
    assert model.get_params() == THEIRS(3, tol=0.5).get_params()
    assert inspect.signature(type(model)) == inspect.signature(THEIRS)
    assert inspect.signature(model.fit) == inspect.signature(THEIRS().fit)
    assert clone(model).get_params() == model.get_params()


def test_their_objects_are_objects_of_the_replacement(accelerated):
    class Mine(sklearn.cluster.KMeans):
        pass

    assert isinstance(THEIRS(), sklearn.cluster.KMeans)
    assert issubclass(THEIRS, sklearn.cluster.KMeans)
    assert issubclass(Mine, THEIRS)
    assert isinstance(Mine(), Mine)
    assert not isinstance(THEIRS(), Mine)
    assert not issubclass(THEIRS, Mine)
    assert not isinstance(sklearn.svm.SVC(), sklearn.cluster.KMeans)


def test_callbacks_watch_theirs(accelerated):
    scaler = importlib.import_module("sklearn.preprocessing").StandardScaler()
    if not hasattr(scaler, "set_callbacks"):
        pytest.skip("this scikit-learn has no callbacks")
    from sklearn.callback import ProgressBar

    scaler.set_callbacks(ProgressBar()).fit(X)
    assert last().where == "scikit-learn"
    assert "callbacks are set" in last().reason


def test_copies_and_pickles_predict_here(accelerated):
    model = sklearn.cluster.KMeans(3, random_state=0).fit(X)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model)
        assert np.array_equal(other.predict(X), model.labels_)
        assert last().where == "kernelmill"


def test_pickles_are_read_by_a_process_that_is_not_accelerated(accelerated, tmp_path):
    model = sklearn.cluster.KMeans(3, random_state=0).fit(X)
    (tmp_path / "model").write_bytes(pickle.dumps((model, X)))
    code = (
        "import pickle\nmodel, X = pickle.load(open('model', 'rb'))\n"
        "print((model.predict(X) == model.labels_).all())\n"
        "import kernelmill; print(kernelmill.accelerate.report()[0].where)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["True", "kernelmill"]


def test_subclasses_that_only_change_fit_run_here(accelerated):
    class Noted(sklearn.cluster.KMeans):
        def fit(self, X, y=None, sample_weight=None):
            self.noted = True
            return super().fit(X, y, sample_weight)

    model = Noted(3, random_state=0)
    labels = model.fit_predict(X)
    assert model.noted
    assert last()[:2] == ("Noted.fit", "kernelmill")
    assert np.array_equal(labels, model.labels_)


def test_subclasses_that_change_more_run_there(accelerated):
    class Odd(sklearn.cluster.KMeans):
        def predict(self, X):
            return -super().predict(X)

    model = Odd(3, random_state=0).fit(X)
    assert last()[:3] == ("Odd.fit", "scikit-learn", "Odd overrides predict")
    assert np.array_equal(model.predict(X), -model.labels_)


def test_availability_is_theirs(accelerated):
    assert not hasattr(sklearn.svm.SVC().fit(X, y), "predict_proba")
    assert hasattr(sklearn.svm.OneClassSVM(), "score_samples")
    lof = importlib.import_module("sklearn.neighbors").LocalOutlierFactor
    assert hasattr(lof(novelty=True), "predict")
    assert not hasattr(lof(), "predict")


def test_properties_come_from_the_model(accelerated):
    forest = sklearn.ensemble.RandomForestClassifier(5, random_state=0)
    with pytest.raises(Exception, match="not fitted"):
        forest.feature_importances_  # noqa: B018
    forest.fit(X, y)
    assert forest.feature_importances_.sum() == pytest.approx(1)
    with pytest.raises(AttributeError, match="no attribute 'nothing_'"):
        forest.nothing_  # noqa: B018


def test_assigned_attributes_and_parameters_reach_the_model(accelerated):
    model = sklearn.cluster.KMeans(3, random_state=0).fit(X)
    before = model.predict(X)
    model.cluster_centers_ = model.cluster_centers_[[1, 2, 0]].copy()
    assert np.array_equal(model.predict(X), np.array([2, 0, 1])[before])
    near = importlib.import_module("sklearn.neighbors").NearestNeighbors(n_neighbors=2).fit(X)
    near.set_params(n_neighbors=7)
    assert near.kneighbors(X, return_distance=False).shape == (90, 7)


def test_pipelines_searches_and_frames(accelerated):
    pandas = pytest.importorskip("pandas", reason="frames out")
    scaler = importlib.import_module("sklearn.preprocessing").StandardScaler()
    search = GridSearchCV(make_pipeline(scaler, sklearn.svm.SVC()), {"svc__C": [0.1, 1.0]}, cv=3)
    assert search.fit(X, y).best_score_ > 0.9
    assert {call.where for call in kernelmill.accelerate.report()} == {"kernelmill"}
    frame = sklearn.decomposition.PCA(2).set_output(transform="pandas").fit_transform(X)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame) == ["pca0", "pca1"]


def test_warm_starts_and_partial_fits_go_on(accelerated):
    model = sklearn.cluster.MiniBatchKMeans(3, random_state=0)
    for part in np.split(X, 3):
        model.partial_fit(part)
    ours = kernelmill.cluster.MiniBatchKMeans(3, random_state=0)
    for part in np.split(X, 3):
        ours.partial_fit(part)
    assert np.array_equal(model.cluster_centers_, ours.cluster_centers_)
    forest = sklearn.ensemble.RandomForestClassifier(3, warm_start=True, random_state=0).fit(X, y)
    seeds = [tree.random_state for tree in forest.estimators_]
    forest.set_params(n_estimators=5).fit(X, y)
    assert len(forest.estimators_) == 5
    assert [tree.random_state for tree in forest.estimators_[:3]] == seeds


def test_begun_there_goes_on_there(accelerated):
    model = _classes.MiniBatchKMeans(3, random_state=0)
    kernelmill.accelerate.stop()
    model.partial_fit(X)
    with kernelmill.accelerate():
        model.partial_fit(X)
        assert last().where == "scikit-learn"
        assert last().reason == "begun by scikit-learn"


def test_a_start_that_was_assigned_before_a_fit_is_one(accelerated):
    """Of many least points the one that is nearest to the start is reached."""
    rows, values = np.array([[1.0, 1], [-1, -1]]), np.array([1.0, -1])
    model = sklearn.linear_model.Lasso(0.01, fit_intercept=False, warm_start=True)
    model.coef_ = np.array([0.0, 0.99])
    assert model.fit(rows, values).coef_.tolist() == [0, 0.99]
    assert last().where == "scikit-learn"
    assert "assigned" in last().reason
    fresh = sklearn.linear_model.Lasso(0.01, fit_intercept=False, warm_start=True)
    assert abs(fresh.fit(rows, values).coef_[1]) < 0.5
    assert last().where == "kernelmill"


# --- theirs runs, never in silence ----------------------------------------------------------------


def test_what_is_not_supported_runs_there_and_says_why(accelerated, caplog):
    import logging

    caplog.set_level(logging.INFO, logger="kernelmill.accelerate")
    model = importlib.import_module("sklearn.impute").SimpleImputer(add_indicator=True).fit(X)
    reason = "add_indicator=True is not supported: inverse_transform is theirs only"
    assert last()[:3] == ("SimpleImputer.fit", "scikit-learn", reason)
    assert reason in caplog.text
    model.transform(X)
    assert last().where == "scikit-learn"
    assert "scikit-learn" in str(kernelmill.accelerate.report())


def test_what_ours_refuses_runs_there_with_the_same_random_numbers(accelerated, monkeypatch):
    def refuse(self, X, y=None, sample_weight=None):
        self.random_state.normal(size=3)
        raise NotImplementedError("KMeans: not today")

    monkeypatch.setattr(kernelmill.cluster.KMeans, "fit", refuse)
    model = sklearn.cluster.KMeans(3, random_state=np.random.RandomState(4)).fit(X)
    assert last().where == "scikit-learn"
    assert last().reason == "NotImplementedError: KMeans: not today"
    theirs = THEIRS(3, random_state=np.random.RandomState(4)).fit(X)
    assert np.array_equal(model.cluster_centers_, theirs.cluster_centers_)


def test_numbers_round_as_theirs(accelerated):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LassoCV
    from sklearn.manifold import Isomap

    X = np.random.default_rng(0).normal(size=(40, 3))
    model = LassoCV().fit(X, X[:, 0])
    for value in (model.alpha_, PCA(2).fit(X).score(X), Isomap().fit(X).reconstruction_error()):
        assert value.round(6) == round(float(value), 6)
    assert type(model.score(X, X[:, 0])) is float


def test_bad_input_raises_their_error(accelerated):
    model = sklearn.cluster.KMeans(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(np.full((5, 4), np.nan))
    assert np.array_equal(model.predict(X), model.labels_)  # the earlier fit is still there


def test_a_warning_that_is_an_error_is_raised_by_ours(accelerated):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Warning, match="KMeans: "):
            sklearn.cluster.KMeans(3, random_state=0).fit(np.ones((5, 2)))
    assert len(kernelmill.accelerate.report()) == 0


def test_penalties_are_translated(accelerated):
    model = sklearn.linear_model.LogisticRegression(penalty="l2", C=0.5, tol=1e-8).fit(X, y)
    assert last().where == "kernelmill"
    plain = sklearn.linear_model.LogisticRegression(C=0.5, tol=1e-8).fit(X, y)
    assert np.array_equal(model.coef_, plain.coef_)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_attributes_of_a_search_are_theirs(accelerated):
    def shapes(model):
        found = model.scores_, model.coefs_paths_, model.C_, model.n_iter_
        return [
            {k: v.shape for k, v in part.items()} if isinstance(part, dict) else np.shape(part)
            for part in found
        ]

    for options in ({}, {"l1_ratios": (0.0,)}, {"use_legacy_attributes": False}):
        given = {"Cs": 2, "cv": 2, **options}
        ours = shapes(sklearn.linear_model.LogisticRegressionCV(**given).fit(X, y))
        assert last().where == "kernelmill"
        theirs = accelerated.undo() or sklearn.linear_model.LogisticRegressionCV(**given)
        assert ours == shapes(theirs.fit(X, y))
        kernelmill.accelerate()


def test_a_nested_estimator_becomes_ours(accelerated):
    tree = importlib.import_module("sklearn.tree").DecisionTreeClassifier(max_depth=1)
    model = sklearn.ensemble.AdaBoostClassifier(tree, n_estimators=3, random_state=0).fit(X, y)
    assert type(model.estimators_[0]) is kernelmill.tree.DecisionTreeClassifier
    assert model.estimator is tree


def test_the_report_is_a_table_and_bounded(monkeypatch):
    calls = [_records.Call("A.fit", "kernelmill", "", 1.0, (2, 2))] * 3
    text = str(_records.Report(calls, dropped=4))
    assert "A.fit" in text
    assert "3.0000" in text
    assert "4 older calls" in text
    assert "no call" in str(_records.Report())
    assert _records.shape_of(([1, 2],)) is None


def test_calls_of_workers_are_in_the_report(accelerated, monkeypatch):
    sklearn.cluster.KMeans(3, random_state=0).fit(X)
    with monkeypatch.context() as other:  # what this process records now, it does as a worker
        other.setattr(_records.os, "getpid", lambda: -1)
        sklearn.cluster.KMeans(3, random_state=0).fit(X).predict(X[:7])
        assert kernelmill.accelerate.report().workers == (0, 0)  # they are not its workers
    calls = kernelmill.accelerate.report()
    assert calls.workers == (2, 1)
    assert calls[-1] == ("KMeans.predict", "kernelmill", "", calls[-1].seconds, (7, 4))
    assert str(calls).endswith("(2 of the calls in 1 other processes)")
    _records.clear()
    assert len(kernelmill.accelerate.report()) == 0


def test_workers_start_what_was_started_here(accelerated, monkeypatch):
    folder = command_line.Folder("here")
    sent = pickle.dumps([folder, type(sklearn.cluster.KMeans)])
    accelerated.undo()
    read, kind = pickle.loads(sent)
    assert sklearn.cluster.KMeans is not THEIRS
    assert kind is type(sklearn.cluster.KMeans)  # or a subclass has two kinds in a worker
    assert type(read) is command_line.Folder
    kernelmill.accelerate.stop()
    monkeypatch.delenv(_records.SHARED)
    read, kind = pickle.loads(sent)
    assert type(read) is str
    assert sklearn.cluster.KMeans is THEIRS


# --- hmmlearn -------------------------------------------------------------------------------------


def test_hidden_markov_models_with_assigned_parameters(accelerated):
    hmm = pytest.importorskip("hmmlearn.hmm", reason="compares with hmmlearn")
    model = hmm.GaussianHMM(2)
    model.startprob_ = np.array([0.5, 0.5])
    model.transmat_ = np.array([[0.9, 0.1], [0.2, 0.8]])
    model.means_ = np.array([[0.0], [5.0]])
    model.covars_ = np.ones((2, 1))
    score = model.score(X[:, :1])
    assert last()[:2] == ("GaussianHMM.score", "kernelmill")
    theirs = type(model).__mro__[1](2)
    for name in ("startprob_", "transmat_", "means_"):
        setattr(theirs, name, getattr(model, name))
    theirs.covars_ = np.ones((2, 1))
    assert score == pytest.approx(theirs.score(X[:, :1]), rel=1e-9)
    model.means_ = model.means_ + 1
    assert model.score(X[:, :1]) != score
    fitted = hmm.GaussianHMM(2, n_iter=3, tol=1e9, random_state=0).fit(X, [30, 60])
    assert last()[:2] == ("GaussianHMM.fit", "kernelmill")
    assert fitted.monitor_.iter >= 1
    assert fitted.covars_.shape == (2, 4, 4)
    assert fitted.n_features == 4
    assert hmm.CategoricalHMM(2, tol=1e9).fit((X[:, :1] > 8).astype(int)).n_features == 2


@pytest.mark.parametrize(
    "name", ["DecisionTreeRegressor", "GradientBoostingClassifier", "GradientBoostingRegressor",
             "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
             "RandomForestRegressor"]
)  # fmt: skip
def test_partial_dependence_asks_our_trees(accelerated, name):
    """Where all features are given it is the score itself, less where boosting starts."""
    import sklearn.ensemble
    import sklearn.tree

    cls = getattr(sklearn.ensemble, name, None) or getattr(sklearn.tree, name)
    options = {"categorical_features": [1]} if name.startswith("Hist") else {"max_depth": 3}
    rows = np.column_stack([X[:, 0], np.arange(90) % 3, X[:, 1]])
    given = y if name.endswith("Classifier") else X[:, 0] + rows[:, 1] ** 2
    model = cls(random_state=0, **options).fit(rows, given)
    found = model._compute_partial_dependence_recursion(rows, [0, 1, 2])
    score = model.decision_function if name.endswith("Classifier") else model.predict
    less = score(rows).T - found
    np.testing.assert_allclose(less - less.reshape(len(found), -1)[:, :1], 0, atol=1e-10)
    assert np.ptp(found) > 1
    if "Boosting" not in name:
        np.testing.assert_allclose(less, 0, atol=1e-10)
    mean = partial_dependence(model, rows, [0], grid_resolution=5, kind="average")["average"]
    assert mean.shape == (len(found), 5)
    assert {call.where for call in kernelmill.accelerate.report()} == {"kernelmill"}
    if name == "GradientBoostingRegressor":
        with pytest.warns(UserWarning, match="init must be None for partial dependence"):
            model.set_params(init="zero").fit(rows, given)._compute_partial_dependence_recursion(
                rows, [0]
            )


def test_graphs_of_fitted_models(accelerated):
    from sklearn.neighbors import (
        KNeighborsClassifier,
        NearestNeighbors,
        kneighbors_graph,
        radius_neighbors_graph,
    )

    plain = kneighbors_graph(X, 3, include_self=True)
    found = kneighbors_graph(KNeighborsClassifier(3).fit(X, y), 3, include_self=True)
    assert (plain != found).nnz == 0
    plain = radius_neighbors_graph(X, 1.0, mode="distance")
    found = radius_neighbors_graph(NearestNeighbors().fit(X), 1.0, mode="distance")
    np.testing.assert_allclose(found.toarray(), plain.toarray(), rtol=1e-12)
    with pytest.raises(AttributeError, match="own kneighbors_graph"):
        kneighbors_graph(NearestNeighbors(metric="cosine").fit(X), 3, metric="cosine")


# --- python -m kernelmill.accelerate --------------------------------------------------------------


def test_the_command_line_runs_scripts_and_modules(tmp_path, monkeypatch, capsys):
    (tmp_path / "script.py").write_text(
        "import sys\nfrom sklearn.cluster import KMeans\n"
        "print(__name__, sys.argv[1], KMeans(2, random_state=0).fit([[0.0], [1.0]]).inertia_)\n"
    )

    command = [sys.executable, "-m", "kernelmill.accelerate", "script.py", "one"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.split() == ["__main__", "one", "0.0"], ran.stderr
    assert "KMeans.fit  kernelmill" in ran.stderr

    # The rest in this process: a new one takes a second.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    for arguments in (["script.py", "one"], ["-m", "script", "one"]):
        try:
            assert command_line.main(["--quiet", *arguments]) == 0
        finally:
            kernelmill.accelerate.stop()
        written = capsys.readouterr()
        assert written.out.split() == ["__main__", "one", "0.0"]
        assert written.err == ""
        assert [call.where for call in kernelmill.accelerate.report()] == ["kernelmill"]
    assert command_line.main([]) == 2
    assert command_line.main(["--help"]) == 0
    assert "usage" in capsys.readouterr().err
    for arguments, message in (
        (["nothing.py"], "no file 'nothing.py'"),
        (["-m", "nothing.at_all"], "no module named 'nothing.at_all'"),
        (["-c", "1"], "the options are --quiet and -m, got '-c'"),
    ):
        assert command_line.main(arguments) == 2
        assert message in capsys.readouterr().err


# --- scikit-learn's checks ------------------------------------------------------------------------


_DRAWN = "starts are drawn from other random numbers when rows are repeated"


def exceptions(estimator):
    kinds = ("dense", "sparse") if isinstance(estimator, THEIRS) else ()
    return {f"check_sample_weight_equivalence_on_{kind}_data": _DRAWN for kind in kinds}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [_classes.KMeans(), _classes.PCA(), _classes.LogisticRegression()],
    expected_failed_checks=exceptions,
)
def test_scikit_learns_checks(estimator, check):
    with kernelmill.accelerate():
        check(estimator)


def test_the_module_is_callable():
    assert isinstance(kernelmill.accelerate, types.ModuleType)
    assert callable(kernelmill.accelerate)
