"""Models of ours as scikit-learn's, and as ours again: what theirs can hold, and what it cannot."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
import sklearn.ensemble
import sklearn.svm
from sklearn.base import is_classifier
from sklearn.metrics.pairwise import rbf_kernel

import kernelmill
from kernelmill.convert import to_sklearn
from kernelmill.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from kernelmill.linear_model import Ridge
from kernelmill.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM
from kernelmill.tree import DecisionTreeClassifier, ExtraTreeRegressor

rng = np.random.default_rng(5)
X, NEW = rng.normal(size=(90, 4)), rng.normal(size=(50, 4))
THREE = (X[:, 0] > 0.3).astype(int) + (X[:, 1] + 0.4 * X[:, 2] > 0.0)
LABELS = np.array(list("abc"))[THREE]
SEVERAL = np.stack([THREE, 2 * (X[:, 3] > 0) + 1], axis=1)
GAPS, NEW_GAPS = (np.where(rng.random(a.shape) < 0.15, np.nan, a) for a in (X, NEW))
CSR, NEW_CSR = (scipy.sparse.csr_matrix(np.where(a > -0.3, a, 0)) for a in (X, NEW))
METHODS = ("predict", "decision_function", "predict_proba", "score_samples", "apply")


def same(one, other, rows, atol=1e-9, without=()):
    """How many methods agree."""
    compared = 0
    for method in METHODS:
        if method in without or not (hasattr(one, method) and hasattr(other, method)):
            continue
        want, found = getattr(one, method)(rows), getattr(other, method)(rows)
        for a, b in zip(want, found, strict=True) if isinstance(want, list) else [(want, found)]:
            assert np.shape(a) == np.shape(b), method
            if np.asarray(a).dtype.kind in "iuOU":
                assert np.array_equal(a, b), method
            else:
                np.testing.assert_allclose(b, a, rtol=1e-6, atol=atol, err_msg=method)
        compared += 1
    return compared


def both_ways(ours, rows, **options):
    """Theirs predicts as ours, after a pickle too, and what becomes ours again as theirs."""
    parameters = ours.get_params(deep=False)
    theirs = to_sklearn(ours)
    assert type(theirs).__module__.startswith("sklearn.")
    assert same(ours, theirs, rows, **options)
    loaded = pickle.loads(pickle.dumps(theirs))
    assert b"kernelmill" not in pickle.dumps(theirs)
    again = kernelmill.convert(loaded)
    assert type(again) is type(ours)
    assert same(loaded, again, rows, **options)
    assert ours.get_params(deep=False) == parameters
    return theirs


def options_of(cls):
    return {} if cls in (SVC, SVR) else {"nu": 0.2}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of sigmoids
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid", rbf_kernel])
@pytest.mark.parametrize("cls", [SVC, NuSVC, SVR, NuSVR, OneClassSVM])
def test_every_machine_and_kernel(cls, kernel):
    model = cls(kernel=kernel, **options_of(cls))
    for rows, new in ((X, NEW), (CSR, NEW_CSR)):
        for y in (THREE > 0, LABELS) if is_classifier(model) else (X[:, 0],):
            theirs = both_ways_of_machines(model.fit(rows, y), new)
            if kernel == "linear" and rows is X:
                np.testing.assert_allclose(theirs.coef_, model.coef_, atol=1e-9)
    if kernel is rbf_kernel:
        y = LABELS if is_classifier(model) else X[:, 0]
        model = cls(kernel="precomputed", **options_of(cls)).fit(rbf_kernel(X, X), y)
        assert same(model, to_sklearn(model), rbf_kernel(NEW, X))


def both_ways_of_machines(ours, rows, **options):
    theirs = to_sklearn(ours)
    for one, other in ((ours, theirs), (theirs, kernelmill.convert(theirs))):
        assert same(one, other, rows, **options)
    return theirs


def test_machines_without_support_and_on_the_border():
    rows = np.eye(4)[[1, 3, 2, 3]]
    for given in (rows, scipy.sparse.csr_matrix(rows)):
        model = SVR(kernel="linear", C=316.0).fit(given, [0.04, 0.04, 0.1, 0.16])
        assert model.dual_coef_.shape == (1, 0)
        both_ways_of_machines(model, given)
    model = OneClassSVM(nu=0.02, gamma=1.0).fit(X[:3])
    assert (to_sklearn(model).predict(X[:3]) == 1).all()


def test_probabilities_of_machines():
    for cls in (sklearn.svm.SVC, sklearn.svm.NuSVC):
        for y in (THREE > 0, THREE):
            with pytest.warns(FutureWarning, match="probability"):
                theirs = cls(probability=True, random_state=0, **(
                    {} if cls is sklearn.svm.SVC else {"nu": 0.2})).fit(X, y)  # fmt: skip
            ours = kernelmill.convert(theirs)
            assert same(theirs, ours, NEW) == 3
            assert same(theirs, to_sklearn(ours), NEW) == 3
            # Theirs solves for probabilities of several classes to 0.005 / k alone.
            ours = getattr(kernelmill.svm, cls.__name__)(**theirs.get_params()).fit(X, y)
            assert same(ours, to_sklearn(ours), NEW, atol=5e-3) == 3


def test_kernels_that_theirs_has_no_name_for():
    model = SVC(kernel="laplacian").fit(X, THREE)
    with pytest.raises(NotImplementedError, match=r"to_sklearn: kernel must be .* 'laplacian'"):
        to_sklearn(model)


@pytest.mark.parametrize("given", [(X, NEW), (GAPS, NEW_GAPS), (CSR, NEW_CSR)])
def test_trees_and_forests(given):
    rows, new = given
    for y in (LABELS, SEVERAL):
        for parameters in ({}, {"max_leaf_nodes": 6}, {"ccp_alpha": 0.02}):
            ours = DecisionTreeClassifier(random_state=0, **parameters).fit(rows, y)
            theirs = both_ways(ours, new)
            assert theirs.get_depth() == ours.get_depth()
            assert np.allclose(theirs.feature_importances_, ours.feature_importances_)
            assert (theirs.decision_path(new) != ours.decision_path(new)).nnz == 0
        both_ways(RandomForestClassifier(4, bootstrap=True, random_state=0).fit(rows, y), new)
    for y in (X[:, 0], X[:, :2]):
        both_ways(ExtraTreeRegressor(random_state=0).fit(rows, y), new)
        both_ways(ExtraTreesRegressor(4, random_state=0).fit(rows, y), new)
    for parameters in ({}, {"max_features": 2}, {"bootstrap": True, "contamination": 0.1}):
        both_ways(IsolationForest(n_estimators=5, random_state=0, **parameters).fit(rows), new)


def test_splits_of_levels_are_no_tree_of_theirs():
    rows = np.column_stack([np.arange(90) % 5, X])
    model = DecisionTreeClassifier(categorical_features=[0]).fit(rows, rows[:, 0] % 2)
    model.set_params(categorical_features=None)
    with pytest.raises(NotImplementedError, match="to_sklearn: splits must compare numbers"):
        to_sklearn(model)


@pytest.mark.parametrize("init", [None, "zero", Ridge(), sklearn.ensemble.RandomForestRegressor(2)])
def test_stages(init):
    one = GradientBoostingRegressor(n_estimators=3, init=init, random_state=0)
    both_ways(one.fit(X, X[:, 0]), NEW)
    if isinstance(init, str | None):
        for loss, y in (("log_loss", LABELS), ("log_loss", THREE > 0), ("exponential", THREE > 0)):
            ours = GradientBoostingClassifier(n_estimators=3, init=init, loss=loss, subsample=0.7)
            both_ways(ours.fit(X, y), NEW)


@pytest.mark.parametrize("levels", [None, [1], [0, 3]])
def test_histograms(levels):
    rows, new = GAPS.copy(), NEW_GAPS.copy()
    for f in levels or ():  # some are negative, and some not in the fit
        rows[:, f], new[:, f] = np.round(2 * rows[:, f]), np.round(3 * new[:, f])
    options = {"max_iter": 4, "min_samples_leaf": 3, "categorical_features": levels}
    for given in (rows, np.nan_to_num(rows)):
        for y in (LABELS, THREE > 0):
            ours = HistGradientBoostingClassifier(**options).fit(given, y)
            both_ways(ours, new, without=("apply",))
        ours = HistGradientBoostingRegressor("poisson", **options).fit(given, THREE)
        theirs = both_ways(ours, new, without=("apply",))
        assert theirs.n_iter_ == ours.n_iter_


def test_histograms_of_frames():
    pd = pytest.importorskip("pandas", reason="frames with categories")
    frames = []
    for values in (GAPS, NEW_GAPS):
        frame = pd.DataFrame(values, columns=list("abcd"))
        code = np.where(np.isnan(values[:, 2]), -1, np.abs(np.round(values[:, 2]))).clip(-1, 3)
        frame["c"] = pd.Categorical.from_codes(code.astype(int), list("zyxw"))
        frames.append(frame)
    ours = HistGradientBoostingRegressor(max_iter=4, min_samples_leaf=3).fit(frames[0], THREE)
    both_ways(ours, frames[1], without=("apply",))


@pytest.mark.parametrize("member", [None, DecisionTreeClassifier(max_depth=2)])
def test_members(member):
    both_ways(AdaBoostClassifier(member, n_estimators=4, random_state=0).fit(X, LABELS), NEW)
    if member is None:
        both_ways(AdaBoostRegressor(Ridge(), n_estimators=4, random_state=0).fit(X, X[:, 0]), NEW)


def test_wrong_trees_are_noticed():
    ours = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=3).fit(GAPS, THREE)
    theirs = to_sklearn(ours)
    nodes = theirs._predictors[0][0].nodes
    nodes["missing_go_to_left"] ^= 1
    with pytest.raises(AssertionError):
        same(ours, theirs, NEW_GAPS)
    model = SVC().fit(CSR, THREE)
    theirs = to_sklearn(model)
    theirs._dual_coef_.eliminate_zeros()  # LIBSVM reads them as a dense array
    assert not np.allclose(theirs.decision_function(NEW_CSR), model.decision_function(NEW_CSR))
