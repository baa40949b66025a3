"""Logistic regression: scikit-learn's optimum or a better one, penalties, and hard inputs."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model as sk
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from kernelmill.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    RidgeClassifier,
    RidgeClassifierCV,
    _logistic,
    _newton,
)

EPS = float(np.finfo(np.float64).eps)


def problem(n=200, d=6, k=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.geomspace(0.1, 10, d) + 5 * rng.normal(size=d)
    score = (X - X.mean(0)) / X.std(0) @ rng.normal(size=(d, k)) + rng.gumbel(size=(n, k))
    return X, score.argmax(1)


def objective(model, X, y, C, ratio, w=None):
    logs = model.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    coef = np.asarray(model.coef_, dtype=float)
    penalty = ratio * np.abs(coef).sum() + (1 - ratio) / 2 * (coef**2).sum()
    return -np.sum(logs * (1 if w is None else w)) + (0 if np.isinf(C) else penalty / C)


@pytest.fixture(params=["newton", "l-bfgs"])
def way(request, monkeypatch):
    if request.param == "l-bfgs":
        monkeypatch.setattr(_newton, "MOST_PARAMETERS", 0)
    return request.param


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("C", [np.inf, 1.0, 1e-3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_scikit_learns(way, k, C, intercept, weighted):
    X, y = problem(k=k)
    w = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    tol = 1e-6 if way == "newton" else 1e-8
    ours = LogisticRegression(C=C, fit_intercept=intercept, tol=tol, max_iter=5000)
    ours.fit(X, y, sample_weight=w)
    theirs = sk.LogisticRegression(
        C=C, fit_intercept=intercept, solver="newton-cholesky", tol=1e-10, max_iter=1000
    ).fit(X, y, sample_weight=w)
    rtol = 1e-7 if way == "newton" else 1e-4
    size = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=rtol * size)
    a, b = (objective(m, X, y, C, 0, w) for m in (ours, theirs))
    assert a <= b * (1 + 1e-10 if way == "newton" else 1 + 1e-8)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=10 * rtol)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.4])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_conditions_of_the_optimum(way, k, ratio, sparse, monkeypatch):
    if way == "l-bfgs":  # working sets of about this size
        monkeypatch.setattr(_newton, "MOST_PARAMETERS", 40)
        monkeypatch.setattr(_logistic, "_LEAST", 4)
    X, y = problem(120, 30, k)
    X = (X - X.mean(0)) / X.std(0)
    X = np.where(np.random.default_rng(1).random(X.shape) < 0.6, X, 0) if sparse else X
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    C = 0.3
    model = LogisticRegression(C=C, l1_ratio=ratio, tol=1e-8).fit(rows, y)
    own = y[:, None] == model.classes_
    shares = model.predict_proba(X)
    slope = (own - shares).T @ X if k > 2 else (own - shares)[:, 1:].T @ X
    slope = slope - (1 - ratio) / C * model.coef_
    wrong = np.where(
        model.coef_ != 0,
        slope - ratio / C * np.sign(model.coef_),
        np.maximum(np.abs(slope) - ratio / C, 0),
    )
    assert np.abs(wrong).max() < 1e-4 / C
    assert (model.coef_ == 0).any()
    np.testing.assert_allclose((own - shares).sum(0), 0, atol=1e-4)  # intercepts


@pytest.mark.parametrize("k", [2, 3])
def test_a_working_set_holds_all_that_is_not_zero(k, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    y = (X @ rng.normal(size=(60, k)) * 0.5 + rng.gumbel(size=(300, k))).argmax(1)
    options = {"C": 1.0, "l1_ratio": 1.0, "tol": 1e-8}
    want = LogisticRegression(**options).fit(X, y)
    assert (want.coef_ != 0).any(0).sum() > 40
    monkeypatch.setattr(_newton, "MOST_PARAMETERS", 40)
    for least in (5, 50):
        monkeypatch.setattr(_logistic, "_LEAST", least)
        model = LogisticRegression(**options).fit(X, y)
        np.testing.assert_allclose(model.coef_, want.coef_, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_working_sets_of_a_stream(weighted, sparse, monkeypatch):
    monkeypatch.setattr(_newton, "MOST_PARAMETERS", 20)
    X, y = problem(120, 30, 2)
    rows = scipy.sparse.csr_matrix(np.where(X.mean(0) < X, X, 0)) if sparse else X
    w = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    parts = [slice(0, 50), slice(50, 120)]
    chunks = [(rows[p], w[p]) if weighted else rows[p] for p in parts]
    options = {"C": 0.3, "l1_ratio": 1.0, "tol": 1e-8}
    want = LogisticRegression(**options).fit(rows, y, sample_weight=w)
    got = LogisticRegression(**options).fit(lambda: iter(chunks), y)
    np.testing.assert_allclose(got.coef_, want.coef_, atol=1e-5 * np.abs(want.coef_).max())


def test_classes_are_weighted():
    X, y = problem()
    labels = np.array(["c", "a", "b"])[y]
    ours = LogisticRegression(class_weight="balanced", tol=1e-7).fit(X, labels)
    theirs = sk.LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-10)
    theirs.fit(X, labels)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    given = LogisticRegression(class_weight={"a": 2.0}, tol=1e-7).fit(X, labels)
    want = LogisticRegression(tol=1e-7).fit(X, labels, sample_weight=1 + (labels == "a"))
    np.testing.assert_allclose(given.coef_, want.coef_, atol=1e-9)


def test_a_feature_of_1e100():
    model = LogisticRegression().fit([[0], [1e100]], [0, 1])
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert model.predict([[0], [1e100]]).tolist() == [0, 1]


def test_a_class_without_weight():
    X = np.arange(6.0)[:, None]
    w = [1, 1, 0, 0, 1, 1]
    model = LogisticRegression().fit(X, [0, 0, 1, 1, 2, 2], sample_weight=w)
    got = model.predict_proba([[0], [2.5], [4]])
    want = [[0.956869, 0, 0.043131], [0.5, 0, 0.5], [0.134743, 0, 0.865257]]
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("k", [2, 3])
def test_separable_classes_are_warned_of(k):
    X = np.array([[-2.0], [-1], [1], [2]]) if k == 2 else np.repeat(np.eye(3), 2, 0) * 3
    y = [0, 0, 1, 1] if k == 2 else [0, 0, 1, 1, 2, 2]
    with pytest.warns(ConvergenceWarning, match="separated by a plane") as caught:
        model = LogisticRegression(C=np.inf).fit(X, y)
    assert len(caught) == 1
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict_log_proba(X)).all()
    np.testing.assert_array_equal(model.predict(X), y)


def test_other_fits_are_silent():
    X, y = problem(60, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegression().fit([[-2.0], [-1], [1], [2]], [0, 0, 1, 1])  # separable
        LogisticRegression(C=np.inf).fit(X, y, sample_weight=np.full(60, 1e-3))  # small


@pytest.mark.parametrize("k", [2, 3])
def test_columns_that_depend_on_each_other(way, k):
    X, y = problem(k=k)
    twice = np.column_stack([X, X[:, 0], np.ones(len(X))])
    for C in (np.inf, 1.0):
        model = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(twice, y)
        assert np.isfinite(model.coef_).all()
        if np.isinf(C):
            plain = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(X, y)
            a, b = model.predict_proba(twice), plain.predict_proba(X)
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_scores_and_probabilities():
    X, y = problem(k=2)
    model = LogisticRegression().fit(X, y)
    score = model.decision_function(X)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-score)))
    far = X * 1e6
    logs = model.predict_log_proba(far)
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(np.exp(logs).sum(1), 1)


def test_a_warm_start_goes_on():
    X, y = problem()
    with pytest.warns(ConvergenceWarning, match="max_iter=2 steps"):
        model = LogisticRegression(max_iter=2, warm_start=True, tol=1e-9).fit(X, y)
    model.set_params(max_iter=100).fit(X, y)
    fresh = LogisticRegression(tol=1e-9).fit(X, y)
    assert model.n_iter_ < fresh.n_iter_
    np.testing.assert_allclose(model.coef_, fresh.coef_, atol=1e-8)


def test_unscaled_columns_converge_with_the_defaults():
    X, y = problem(500, 8, 2)
    X = X * np.geomspace(1e-4, 1e5, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegression().fit(X, y)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_begin_with_a_sample(k, sparse, weighted, monkeypatch):
    X, y = problem(4000, 5, k)
    if sparse:
        X = scipy.sparse.csr_matrix(np.where(np.abs(X) > 2, X, 0.0))
    w = np.random.default_rng(1).integers(0, 3, len(y)).astype(float) if weighted else None
    plain = LogisticRegression(tol=1e-9).fit(X, y, w)
    passes = []
    evaluated = _newton.Objective.evaluated
    monkeypatch.setattr(
        _newton.Objective, "evaluated",
        lambda own, at, second: (
            passes.append((own.rows.count, second)), evaluated(own, at, second)
        )[1],
    )  # fmt: skip
    monkeypatch.setattr(_newton, "_ROWS_WORTH", 1000)
    model = LogisticRegression().fit(X, y, w)
    assert (4000, True) not in passes
    assert 3 <= passes.count((4000, False)) <= 8
    assert any(second for count, second in passes if count <= 1000)
    best = objective(plain, X, y, 1.0, 0.0, w)
    assert objective(model, X, y, 1.0, 0.0, w) <= best * (1 + 1e-9)
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-4, atol=1e-5)


def test_what_a_sample_has_missed_is_found(monkeypatch):
    # A feature that three rows have, whose penalty alone would say how far it goes; rows of classes
    # that alternate; a class too rare for a sample.
    X, y = problem(4000, 4, 2)
    X[:, 3] = 0.0
    X[[7, 1900, 3999], 3] = 1e3
    y[[7, 1900, 3999]] = [0, 1, 1]
    alternating, others = np.arange(4000) % 2, np.random.default_rng(0).normal(size=(4000, 2))
    rare = np.where(np.arange(4000) < 6, 2, y)
    for X_, y_ in ((X, y), (others, alternating), (X, rare)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_newton, "_ROWS_WORTH", 10**9)
            plain = LogisticRegression(C=100.0, tol=1e-9).fit(X_, y_)
        monkeypatch.setattr(_newton, "_ROWS_WORTH", 1000)
        model = LogisticRegression(C=100.0).fit(X_, y_)
        best = objective(plain, X_, y_, 100.0, 0.0)
        assert objective(model, X_, y_, 100.0, 0.0) <= best + 1e-8 * len(y_)  # tol squared
        assert model.n_iter_[0] < 40


@pytest.mark.filterwarnings("ignore:'penalty' was deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:Inconsistent values:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting penalty=None:UserWarning")
@pytest.mark.filterwarnings("ignore:l1_ratio parameter is only:UserWarning")
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
def test_a_penalty_may_be_named(penalty):
    X, y = problem(60, 4, 2)
    X = (X - X.mean(0)) / X.std(0)
    given = {"penalty": penalty, "C": 0.3, "l1_ratio": 0.4, "tol": 1e-8}
    ours = LogisticRegression(**given, n_jobs=2).fit(X, y)
    theirs = sk.LogisticRegression(**given, solver="saga", max_iter=10**4).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4 * np.abs(theirs.coef_).max())
    ratios = {"l1": (1.0,), "elasticnet": (0.2, 0.9)}.get(penalty, (0.0,))
    named = LogisticRegressionCV(Cs=3, cv=2, penalty=penalty, l1_ratios=(0.2, 0.9)).fit(X, y)
    strengths = [np.inf] if penalty is None else 3
    plain = LogisticRegressionCV(Cs=strengths, cv=2, l1_ratios=ratios).fit(X, y)
    np.testing.assert_array_equal(named.coef_, plain.coef_)
    with pytest.raises(ValueError, match=r"^LogisticRegression: penalty must be one of"):
        LogisticRegression("l3").fit(X, y)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("ratios", [None, (0.0, 1.0)])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_attributes_of_cross_validation_have_scikit_learns_shapes(k, ratios, legacy):
    X, y = problem(40, 3, k)
    X = (X - X.mean(0)) / X.std(0)
    given = {"Cs": [1.0, 0.01], "cv": 2, "l1_ratios": ratios, "use_legacy_attributes": legacy}
    ours = LogisticRegressionCV(**given).fit(X, np.array(["a", "b", "c"])[y])
    theirs = sk.LogisticRegressionCV(**given, solver="saga", scoring=None, tol=1e-4, max_iter=1000)
    theirs.fit(X, np.array(["a", "b", "c"])[y])
    for name in ("C_", "l1_ratio_", "Cs_", "n_iter_", "coef_", "intercept_"):
        assert np.shape(getattr(ours, name)) == np.shape(getattr(theirs, name)), name
    np.testing.assert_array_equal(ours.Cs_, [1.0, 0.01])
    for name in ("scores_", "coefs_paths_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert type(a) is type(b)
        if not legacy:
            a, b = {"": a}, {"": b}
        assert list(a) == list(b)
        for key in a:
            assert a[key].shape == b[key].shape
            if name == "coefs_paths_":  # intercepts of classes are free but for a constant
                size = np.abs(b[key]).max()
                np.testing.assert_allclose(a[key][..., :3], b[key][..., :3], atol=0.1 * size)
            else:
                np.testing.assert_allclose(a[key], b[key], atol=0.15)
    assert (ours.predict(X) == theirs.predict(X)).mean() > 0.9
    if ours._strength()[1] == 0:
        assert ours.coef_covariance(X).shape == ((3, 3) if k == 2 else (3, 3, 3))


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scoring", ["neg_log_loss", "neg_brier_score"])
def test_folds_that_lack_classes_are_scored(k, scoring):
    y, X = np.repeat(["a", "b", "c"], 2)[: 2 * k], np.arange(2.0 * k)[:, None]
    given = {"cv": KFold(k), "Cs": [1e-3, 1.0], "scoring": scoring, "tol": 1e-8}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LogisticRegressionCV(**given).fit(X, y)
    for f, (_, test) in enumerate(KFold(k).split(X)):
        for c in range(2):
            fold = LogisticRegression()
            fold.classes_, fold.n_features_in_ = model.classes_, 1
            fold.coef_, intercept = np.split(model.coefs_paths_[f, 0, c], [1], axis=1)
            fold.intercept_ = intercept[:, 0]
            shares = fold.predict_proba(X[test])
            own = y[test][:, None] == model.classes_
            # scikit-learn's logarithms end at eps; of two shares one is 1 less the other.
            shown = np.maximum(shares[own], EPS)
            loss = -np.log(shown) if scoring == "neg_log_loss" else (
                ((shares - own) ** 2).sum(1) / (2 if k == 2 else 1)
            )  # fmt: skip
            assert model.scores_[f, 0, c] == pytest.approx(
                -loss.mean(), rel=1e-6, abs=EPS / shown.min()
            )


def test_an_elastic_net_without_a_share_is_refused():
    X, y = problem(40, 3, 2)
    with pytest.raises(ValueError, match=r"^LogisticRegression: l1_ratio must be a number"):
        LogisticRegression(penalty="elasticnet", l1_ratio=None).fit(X, y)
    with pytest.raises(ValueError, match=r"^LogisticRegressionCV: l1_ratios must be a list"):
        LogisticRegressionCV(penalty="elasticnet", l1_ratios=None).fit(X, y)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least 2 classes"):
        LogisticRegression().fit([[1.0], [2.0]], [3, 3])


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"class_weight": "balanced"}],
                         ids=str)  # fmt: skip
def test_cross_validation_is_scikit_learns(k, refit, options):
    X, y = problem(k=k)
    X = (X - X.mean(0)) / X.std(0)
    w = np.random.default_rng(1).uniform(0.1, 2, len(y))
    given = {"Cs": 4, "cv": 3, "refit": refit, "scoring": "neg_log_loss", **options}
    ours = LogisticRegressionCV(**given, tol=1e-7).fit(X, y, sample_weight=w)
    theirs = sk.LogisticRegressionCV(
        **given, l1_ratios=(0.0,), solver="newton-cholesky", tol=1e-10, use_legacy_attributes=False
    ).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(ours.Cs_, theirs.Cs_)
    np.testing.assert_allclose(ours.scores_, theirs.scores_, rtol=1e-5)
    size = np.abs(theirs.coefs_paths_).max()
    np.testing.assert_allclose(ours.coefs_paths_, theirs.coefs_paths_, atol=1e-5 * size)
    assert (ours.C_, ours.l1_ratio_) == (pytest.approx(theirs.C_), theirs.l1_ratio_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5 * size)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5 * size)
    assert ours.score(X, y, w) == pytest.approx(theirs.score(X, y, sample_weight=w), rel=1e-5)


@pytest.mark.parametrize("refit", [True, False])
def test_of_equal_scores_the_strongest_penalty_is_chosen(refit):
    X, y = problem(60, 4, 2)
    scores = iter(2 * [0, 0, 1, 0, 1, 0])  # of each fold, ratio and C
    model = LogisticRegressionCV(
        Cs=[0.1, 1.0, 10.0], l1_ratios=(0.0, 0.5), cv=2, scoring=lambda *_: next(scores),
        refit=refit,
    ).fit(X, y)  # fmt: skip
    assert (model.C_, model.l1_ratio_) == (1.0, 0.5)


@pytest.mark.parametrize("model", [LogisticRegression, RidgeClassifier, RidgeClassifierCV])
def test_balanced_classes_of_weighted_rows_are_those_of_repeated_rows(model):
    X, y = problem()
    w = np.random.default_rng(1).integers(0, 4, len(y)) * (1 + y)
    repeated = np.repeat(X, w, 0), np.repeat(y, w)
    # One penalty to choose: leaving out one of equal rows is not leaving out all of them.
    options = {"alphas": [1.0]} if model is RidgeClassifierCV else {}
    a = model(class_weight="balanced", **options).fit(X, y, sample_weight=w)
    b = model(class_weight="balanced", **options).fit(*repeated)
    np.testing.assert_allclose(a.coef_, b.coef_, atol=1e-8 * np.abs(b.coef_).max())
    np.testing.assert_allclose(a.intercept_, b.intercept_, atol=1e-7)
    without = w * (y > 0)  # a class has no weight
    given = model(class_weight="balanced").fit(X, y, sample_weight=without)
    assert np.isfinite(given.coef_).all()
