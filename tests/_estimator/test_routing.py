"""Metadata routing of models with a cross-validation: scikit-learn's models are the oracle."""

import numpy as np
import pytest
import sklearn
from sklearn import linear_model as sk
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, LeaveOneGroupOut
from sklearn.svm import SVC, SVR

from kernelmill import linear_model, svm

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(4), [8, 10, 12, 10])
# The groups differ, so that the choice depends on how rows are split.
X = RNG.normal(size=(40, 3)) + GROUPS[:, None]
Y = X @ [1.0, -1.0, 0.5] + RNG.normal(size=40) + GROUPS % 2
LABELS = np.where(np.median(Y) < Y, "yes", "no")
WEIGHTS = RNG.uniform(0.1, 2.0, 40)
ALPHAS = [1e-2, 1.0, 100.0]
EXACT = {"tol": 1e-8, "max_iter": 10_000}
REGRESSORS = {"RidgeCV": {"alphas": ALPHAS}, "LassoCV": EXACT, "ElasticNetCV": EXACT}
SEVERAL = {"MultiTaskLassoCV": EXACT, "MultiTaskElasticNetCV": EXACT}
CLASSIFIERS = {
    "RidgeClassifierCV": {"alphas": ALPHAS},
    "LogisticRegressionCV": {
        "Cs": 3,
        "l1_ratios": (0.0,),
        "use_legacy_attributes": False,
        "scoring": "accuracy",
    },
}
NAMES = {**REGRESSORS, **SEVERAL, **CLASSIFIERS}


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def targets(name):
    return LABELS if name in CLASSIFIERS else np.stack([Y, -Y], 1) if name in SEVERAL else Y


def both(name, **options):
    return (getattr(m, name)(**{**NAMES[name], **options}) for m in (linear_model, sk))


def assert_the_same(ours, theirs):
    for name in ("alpha_", "C_", "best_score_", "scores_", "mse_path_"):
        assert hasattr(ours, name) == hasattr(theirs, name)
        want = getattr(theirs, name, 0.0)
        np.testing.assert_allclose(getattr(ours, name, 0.0), want, rtol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_groups_reach_the_splitter(routing, name):
    ours, theirs = (
        m.fit(X, targets(name), groups=GROUPS) for m in both(name, cv=LeaveOneGroupOut())
    )
    assert_the_same(ours, theirs)
    if hasattr(ours, "mse_path_"):
        assert ours.mse_path_.shape[-1] == 4
    asked = ours.get_metadata_routing().consumes("fit", ["groups", "sample_weight", "other"])
    assert asked == theirs.get_metadata_routing().consumes("fit", ["groups", "sample_weight"])


@pytest.mark.parametrize("name", [n for n in NAMES if "Task" not in n])
@pytest.mark.parametrize("weighs", [True, False])
def test_weights_reach_the_scorer_that_asks(routing, name, weighs):
    if "scoring" in getattr(linear_model, name)().get_params():
        scorer = get_scorer("accuracy" if name in CLASSIFIERS else "neg_mean_squared_error")
        options = {"scoring": scorer.set_score_request(sample_weight=weighs)}
    else:
        options = {}
    ours, theirs = (
        m.fit(X, targets(name), sample_weight=WEIGHTS, groups=GROUPS)
        for m in both(name, cv=GroupKFold(3), **options)
    )
    assert_the_same(ours, theirs)


@pytest.mark.parametrize("name", ["RidgeCV", "RidgeClassifierCV"])
@pytest.mark.parametrize("weighs", [True, False])
def test_weights_reach_the_scorer_of_single_rows_left_out(routing, name, weighs):
    seen = []

    def score(y, found, sample_weight=None):
        seen.append(sample_weight)
        return -float(np.mean(y != found))

    scorer = make_scorer(score).set_score_request(sample_weight=weighs)
    model = getattr(linear_model, name)(**NAMES[name], scoring=scorer)
    model.fit(X, targets(name), sample_weight=WEIGHTS)
    assert len(seen) == len(ALPHAS)
    for one in seen:
        np.testing.assert_array_equal(one, WEIGHTS if weighs else None)


def test_the_score_of_the_logistic_regression_is_routed(routing):
    scorer = get_scorer("accuracy")
    options = {"scoring": scorer.set_score_request(sample_weight=True), "cv": 3}
    ours, theirs = (m.fit(X, LABELS) for m in both("LogisticRegressionCV", **options))
    want = theirs.score(X, LABELS, sample_weight=WEIGHTS)
    assert ours.score(X, LABELS, sample_weight=WEIGHTS) == pytest.approx(want)
    assert want != ours.score(X, LABELS)
    model = linear_model.LogisticRegressionCV(Cs=3, cv=3)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        model.fit(X, LABELS, sample_weight=WEIGHTS)


@pytest.mark.parametrize(("ours", "theirs", "y"), [("SVCCV", SVC, LABELS), ("SVRCV", SVR, Y)])
def test_groups_reach_the_splitter_of_support_vectors(routing, ours, theirs, y):
    model = getattr(svm, ours)(Cs=[0.1, 10.0], gammas=[0.3], cv=GroupKFold(3))
    model.fit(X, y, groups=GROUPS)
    search = GridSearchCV(theirs(gamma=0.3), {"C": [0.1, 10.0]}, cv=GroupKFold(3))
    want = search.fit(X, y, groups=GROUPS).cv_results_["mean_test_score"]
    np.testing.assert_allclose(model.cv_results_["mean_test_score"], want, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_folds_given_as_an_iterator_are_read_once(routing, name):
    folds = list(KFold(3).split(X))
    model, same = (getattr(linear_model, name)(**NAMES[name], cv=cv) for cv in (iter(folds), folds))
    model.get_metadata_routing()
    assert_the_same(model.fit(X, targets(name)), same.fit(X, targets(name)))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_routed_unless_enabled(name):
    for model in both(name, cv=LeaveOneGroupOut()):
        with pytest.raises(ValueError, match="only supported if enable_metadata_routing=True"):
            model.fit(X, targets(name), groups=GROUPS)
        with pytest.raises(ValueError, match="'groups' parameter should not be None"):
            model.fit(X, targets(name))
