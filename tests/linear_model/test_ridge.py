"""Ridge: scikit-learn's answers by every way to them, and leaving out one row at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model as sk
from sklearn import metrics

from kernelmill import linear_model, stream
from kernelmill.linear_model import (
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    _ridge,
    _ridge_cv,
    _solve,
)


def problem(n, d, seed=0, outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal(size=d)
    return X, X[:, : min(d, 4)].sum(1, keepdims=True) + rng.normal(size=(n, outputs))


@pytest.mark.parametrize(("n", "d"), [(60, 4), (20, 50)])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_it_is_scikit_learns(n, d, intercept, sparse):
    X, Y = problem(n, d, outputs=3)
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    w = np.random.default_rng(1).uniform(0.1, 2, n)
    for alpha in (1e-3, 2.0, np.array([0.1, 1.0, 10.0])):
        ours = Ridge(alpha, fit_intercept=intercept).fit(rows, Y, sample_weight=w)
        theirs = sk.Ridge(alpha, fit_intercept=intercept).fit(X, Y, sample_weight=w)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-9)


def test_products_with_the_rows_give_the_same(monkeypatch):
    X, Y = problem(80, 30)
    want = Ridge(0.7).fit(X, Y)
    monkeypatch.setattr(_ridge, "MOST_PRODUCTS", 5)
    for rows in (X, scipy.sparse.csr_matrix(X)):
        np.testing.assert_allclose(Ridge(0.7).fit(rows, Y).coef_, want.coef_, atol=1e-7)


def test_the_definition():
    X = np.arange(1.0, 6)[:, None]
    model = Ridge(1.0).fit(X, 2 * X[:, 0])
    assert model.coef_[0] == pytest.approx(20 / 11)
    assert model.intercept_ == pytest.approx(0.545455, abs=1e-6)


def test_positive():
    X, Y = problem(60, 5)
    ours = Ridge(1.0, positive=True).fit(X, -Y[:, 0])
    theirs = sk.Ridge(1.0, positive=True, tol=1e-12).fit(X, -Y[:, 0])
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_without_a_penalty_it_is_least_squares():
    X, Y = problem(60, 5)
    X[:, 4] = X[:, 3] + 1
    model = Ridge(0.0).fit(X, Y[:, 0])
    np.testing.assert_allclose(model.coef_, sk.LinearRegression().fit(X, Y[:, 0]).coef_, atol=1e-8)


def test_an_ill_conditioned_penalty():
    X, Y = problem(60, 4)
    X[:, 3] = X[:, 2] + 1e-7 * X[:, 3]
    ours = Ridge(1e-12).fit(X, Y[:, 0])
    # The minimum norm of the stacked problem, by the singular values of the centred rows.
    A = X - X.mean(0)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    want = Vt.T @ (s / (s * s + 1e-12) * (U.T @ (Y[:, 0] - Y[:, 0].mean())))
    np.testing.assert_allclose(ours.coef_, want, rtol=1e-5)


def test_leaving_out_one_row():
    X, y = np.arange(5.0)[:, None], np.array([0.0, 1, 0, 1, 5])
    model = RidgeCV([0.1, 1.0, 10.0], store_cv_results=True).fit(X, y)
    np.testing.assert_allclose(model.cv_results_.mean(0), [5.169009, 4.915650, 4.748500], atol=1e-6)
    assert (model.alpha_, model.best_score_) == (10, pytest.approx(-4.7485))


@pytest.mark.parametrize("intercept", [True, False])
def test_left_out_residuals_are_those_of_refits(intercept):
    X, Y = problem(25, 4, outputs=2)
    w = np.random.default_rng(0).integers(1, 4, 25).astype(float)
    alphas = np.array([0.1, 3.0])
    model = RidgeCV(alphas, fit_intercept=intercept, store_cv_results=True)
    errors = model.fit(X, Y, sample_weight=w).cv_results_
    for i in range(25):
        rest = np.delete(np.arange(25), i)
        for a, alpha in enumerate(alphas):
            refit = sk.Ridge(alpha, fit_intercept=intercept).fit(X[rest], Y[rest], w[rest])
            want = w[i] * (Y[i] - refit.predict(X[i : i + 1])[0]) ** 2
            np.testing.assert_allclose(errors[i, :, a], want, rtol=1e-8)


def test_penalties_of_each_target_and_scores():
    X, Y = problem(40, 6, outputs=2)
    for options in ({"alpha_per_target": True}, {"scoring": "r2"}, {}):
        ours = RidgeCV([0.01, 1, 100], **options).fit(X, Y)
        theirs = sk.RidgeCV([0.01, 1, 100], **options).fit(X, Y)
        np.testing.assert_array_equal(ours.alpha_, theirs.alpha_)
        np.testing.assert_allclose(ours.best_score_, theirs.best_score_, rtol=1e-8)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)
    ours = RidgeCV([0.01, 1, 100], cv=4).fit(X, Y[:, 0])
    theirs = sk.RidgeCV([0.01, 1, 100], cv=4).fit(X, Y[:, 0])
    assert ours.alpha_ == theirs.alpha_


def test_scores_of_each_target_and_of_weighted_rows():
    X, Y = problem(40, 6, outputs=2)
    Y[:, 1] = 10 * np.random.default_rng(2).normal(size=40)  # wants a strong penalty
    w = np.random.default_rng(1).uniform(0.01, 3, 40)
    for options in ({"alpha_per_target": True}, {}):
        given = {"alphas": [0.01, 1, 100], "scoring": "neg_mean_absolute_error", **options}
        ours = RidgeCV(**given, store_cv_results=True).fit(X, Y, sample_weight=w)
        theirs = sk.RidgeCV(**given, store_cv_results=True).fit(X, Y, sample_weight=w)
        np.testing.assert_array_equal(ours.alpha_, theirs.alpha_)
        # Left out are all copies of a row, as in scikit-learn; the scores are of our predictions.
        errors = np.average(np.abs(ours.cv_results_ - Y[:, :, None]), 0, w)  # (outputs, alphas)
        best = -errors.min(1) if options else -errors.mean(0).min()
        np.testing.assert_allclose(ours.best_score_, best)


def test_no_penalty_is_right_or_refused():
    X, Y = problem(12, 3)
    residuals = RidgeCV([0.0], store_cv_results=True).fit(X, Y[:, 0]).cv_results_[:, 0]
    rest = sk.LinearRegression().fit(X[1:], Y[1:, 0])
    assert residuals[0] == pytest.approx((Y[0, 0] - rest.predict(X[:1])[0]) ** 2)


def test_classes():
    X, Y = problem(90, 4)
    y = np.digitize(Y[:, 0], [0.0, 3.0])
    for labels in (y, y > 0):
        for weight in (None, "balanced"):
            ours = RidgeClassifier(class_weight=weight).fit(X, labels)
            theirs = sk.RidgeClassifier(class_weight=weight).fit(X, labels)
            np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
            np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
            want = theirs.decision_function(X)
            np.testing.assert_allclose(ours.decision_function(X), want, atol=1e-10)


def test_classes_choose_a_penalty():
    X, Y = problem(90, 4)
    y = np.digitize(Y[:, 0], [0.0, 3.0])
    for labels in (y, y > 0):
        for options in ({}, {"class_weight": "balanced"}, {"cv": 3, "scoring": "accuracy"}):
            ours = RidgeClassifierCV([0.01, 1, 100], **options).fit(X, labels)
            theirs = sk.RidgeClassifierCV([0.01, 1, 100], **options).fit(X, labels)
            assert ours.alpha_ == theirs.alpha_
            np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes_of_rows_left_out_are_scored(scoring, weighted):
    X, Y = problem(40, 4)
    y = np.array(["a", "b", "c"])[np.digitize(Y[:, 0], [0.0, 3.0])]
    w = np.random.default_rng(3).integers(1, 4, 40).astype(float) if weighted else None
    alphas = [0.01, 10, 1e4]
    for labels in (y, np.where(y == "a", "a", "b"), np.column_stack([y == "a", y == "b"]) * 1):
        model = RidgeClassifierCV(alphas, scoring=scoring) if labels.ndim == 1 else (
            RidgeClassifierCV(alphas, scoring="accuracy")
        )  # fmt: skip
        model.fit(X, labels, sample_weight=w)
        refits = np.empty((3, *labels.shape), labels.dtype)
        for a, i in np.ndindex(3, 40):
            rest = np.delete(np.arange(40), i)
            own = None if w is None else w[rest]
            refit = RidgeClassifier(alphas[a]).fit(X[rest], labels[rest], own)
            refits[a, i] = refit.predict(X[[i]])[0]
        scorer = getattr(metrics, f"{model.scoring}_score")
        want = [scorer(labels, refit, sample_weight=w) for refit in refits]
        assert model.best_score_ == pytest.approx(max(want), rel=1e-12)
        assert model.alpha_ == alphas[int(np.argmax(want))]


@pytest.mark.parametrize("kind", ["RidgeClassifier", "RidgeClassifierCV"])
def test_one_class(kind):
    X, _ = problem(12, 3)
    ours, theirs = (getattr(made, kind)().fit(X, ["a"] * 12) for made in (linear_model, sk))
    np.testing.assert_array_equal(ours.predict(X), ["a"] * 12)
    np.testing.assert_array_equal(ours.decision_function(X), theirs.decision_function(X))
    assert ours.coef_.shape == theirs.coef_.shape


def test_several_labels_at_once():
    X, Y = problem(60, 4, outputs=3)
    labels = (np.array(Y) > 0).astype(int)
    for ours, theirs in (
        (RidgeClassifier(2.0), sk.RidgeClassifier(2.0)),
        (RidgeClassifierCV(), sk.RidgeClassifierCV()),
        (RidgeClassifierCV(cv=3), sk.RidgeClassifierCV(cv=3)),
        (RidgeClassifier(class_weight="balanced"), sk.RidgeClassifier(class_weight="balanced")),
    ):
        a, b = ours.fit(X, labels), theirs.fit(X, labels)
        np.testing.assert_allclose(a.coef_, b.coef_, atol=1e-10)
        np.testing.assert_array_equal(a.predict(X), b.predict(X))
        np.testing.assert_array_equal(a.classes_, [0, 1, 2])
        assert a.score(X, labels) == b.score(X, labels)


def test_attributes_have_scikit_learns_shapes():
    X, Y = problem(30, 4, outputs=2)
    models = ("Ridge", "RidgeCV", "Lasso", "ElasticNet", "Lars", "OrthogonalMatchingPursuit")
    for name in (*models, "LassoLars", "LinearRegression"):
        for y in (Y[:, 0], Y[:, :1], Y):
            for intercept in (True, False):
                ours = getattr(linear_model, name)(fit_intercept=intercept).fit(X, y)
                theirs = getattr(sk, name)(fit_intercept=intercept).fit(X, y)
                assert ours.coef_.shape == theirs.coef_.shape, name
                assert np.shape(ours.intercept_) == np.shape(theirs.intercept_), name
                assert type(ours.intercept_) is type(theirs.intercept_), name
                assert ours.predict(X).shape == theirs.predict(X).shape, name
                assert ours.fit(X, y).score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-3)
                for attribute in ("dual_gap_", "alphas_", "coef_path_"):
                    if hasattr(theirs, attribute):
                        a, b = getattr(ours, attribute), getattr(theirs, attribute)
                        assert isinstance(a, list) == isinstance(b, list), (name, attribute)
                        assert isinstance(a, list) or np.ndim(a) == np.ndim(b), name
    for y in (Y[:, 0] > 0, np.digitize(Y[:, 0], [0.0, 3.0])):
        for intercept in (True, False):
            ours = RidgeClassifier(fit_intercept=intercept).fit(X, y)
            theirs = sk.RidgeClassifier(fit_intercept=intercept).fit(X, y)
            assert ours.coef_.shape == theirs.coef_.shape
            assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
            np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_few_rows_are_left_out_by_their_products(intercept, sparse):
    X, Y = problem(9, 20, outputs=2)
    w = np.random.default_rng(0).integers(1, 4, 9).astype(float)
    w[4] = 0.0
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    alphas = np.array([0.01, 3.0])
    model = RidgeCV(alphas, fit_intercept=intercept, store_cv_results=True, scoring="r2")
    left = model.fit(rows, Y, sample_weight=w).cv_results_
    for i in range(9):
        rest = np.delete(np.arange(9), i)
        for a, alpha in enumerate(alphas):
            refit = sk.Ridge(alpha, fit_intercept=intercept).fit(X[rest], Y[rest], w[rest])
            np.testing.assert_allclose(left[i, :, a], refit.predict(X[[i]])[0], rtol=1e-8)
    want = Ridge(model.alpha_, fit_intercept=intercept).fit(X, Y, sample_weight=w)
    np.testing.assert_allclose(model.coef_, want.coef_, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1e-16])
@pytest.mark.parametrize("n", [8, 20, 21])
def test_rows_that_are_fitted_exactly_are_left_out(alpha, n):
    """Without a penalty the other rows are fitted exactly, by the shortest coefficients."""
    X, Y = problem(n, 20)
    X[5], Y[5] = X[2], Y[2] + 1  # the same row with another target
    model = RidgeCV([alpha], store_cv_results=True).fit(X, Y[:, 0])
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        centred = X[rest] - X[rest].mean(0)
        coef = np.linalg.pinv(centred, rcond=1e-10) @ (Y[rest, 0] - Y[rest, 0].mean())
        error = Y[i, 0] - Y[rest, 0].mean() - (X[i] - X[rest].mean(0)) @ coef
        assert model.cv_results_[i, 0] == pytest.approx(error**2, rel=1e-6)
    coef = np.linalg.pinv(X - X.mean(0), rcond=1e-10) @ (Y[:, 0] - Y.mean())
    np.testing.assert_allclose(model.coef_, coef, atol=1e-10)
    if n < 20:  # Ridge, too, solves the dual
        np.testing.assert_allclose(Ridge(1e-16).fit(X, Y[:, 0]).coef_, coef, atol=1e-10)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_rows_without_weight_are_as_if_not_there(make):
    """Few rows with weight are fitted exactly, however many have none."""
    X, Y = problem(60, 12, outputs=2)
    w = np.zeros(60)
    few = np.arange(3, 12)
    w[few] = 1 + few % 3
    for alpha in (0.0, 1e-10, 1.0):
        model = RidgeCV([alpha], store_cv_results=True).fit(make(X), Y, sample_weight=w)
        want = RidgeCV([alpha], store_cv_results=True).fit(X[few], Y[few], sample_weight=w[few])
        np.testing.assert_allclose(model.best_score_, want.best_score_, rtol=1e-6)
        np.testing.assert_allclose(model.cv_results_[few], want.cv_results_, rtol=1e-6)
        np.testing.assert_allclose(model.coef_, want.coef_, atol=1e-9)
        scores = RidgeCV([alpha], store_cv_results=True, scoring="r2").fit(make(X), Y, w)
        np.testing.assert_allclose(scores.cv_results_[0, :, 0], model.predict(X[:1])[0], rtol=1e-6)


def test_one_penalty_and_one_target():
    X, Y = problem(30, 4)
    model = RidgeCV(2.0, alpha_per_target=True).fit(X, Y[:, 0])
    assert (model.alpha_, np.shape(model.best_score_)) == (2.0, ())


def test_bad_penalties_are_refused():
    X, Y = problem(12, 3, outputs=2)
    with pytest.raises(ValueError, match="alpha must be a number of at least 0"):
        Ridge(-1.0).fit(X, Y)
    with pytest.raises(ValueError, match="Number of targets and number of penalties"):
        Ridge([1.0, 2.0, 3.0]).fit(X, Y)
    with pytest.raises(ValueError, match="alphas must be numbers of at least 0"):
        RidgeCV([-1.0]).fit(X, Y)
    with pytest.raises(ValueError, match=r"alphas must be numbers of at least 0, got .*'1'"):
        RidgeCV([1.0, "1"]).fit(X, Y)


@pytest.mark.parametrize("rows_of", ["dense", "sparse", "stream"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_rows_that_alone_say_something_are_left_out_by_fits_of_the_others(
    rows_of, intercept, weighted
):
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(30, 5)), rng.normal(size=(30, 2)) + 3
    X[:, 3:] = 0.0
    X[4, 3], X[20, 4] = 3.0, -2.0
    w = rng.uniform(0.5, 2, 30) if weighted else np.ones(30)
    alphas = [0.0, 1e-14, 1e-9, 1e-3]
    want = np.empty((30, 2, len(alphas)))
    for i in range(30):
        others = np.arange(30) != i
        x_mean, y_mean = (
            np.average(a[others], axis=0, weights=w[others]) * intercept for a in (X, Y)
        )
        root = np.sqrt(w[others])[:, None]
        U, s, Vt = np.linalg.svd((X[others] - x_mean) * root, full_matrices=False)
        t = U.T @ ((Y[others] - y_mean) * root)
        known = s > 1e-12
        for a, alpha in enumerate(alphas):
            shrunk = np.divide(s, s**2 + alpha, out=np.zeros(5), where=known)
            e = Y[i] - y_mean - (X[i] - x_mean) @ Vt.T @ (shrunk[:, None] * t)
            want[i, :, a] = w[i] * e**2
    rows = {
        "dense": X, "sparse": scipy.sparse.csr_matrix(X),
        "stream": stream.source(lambda: ((X[i : i + 7], w[i : i + 7]) for i in range(0, 30, 7))),
    }[rows_of]  # fmt: skip
    weights = {} if rows_of == "stream" else {"sample_weight": w}
    for chosen in (alphas, alphas[:1]):
        model = RidgeCV(chosen, fit_intercept=intercept, store_cv_results=True)
        found = model.fit(rows, Y, **weights).cv_results_
        np.testing.assert_allclose(found, want[:, :, : len(chosen)], atol=1e-10)
        brief = RidgeCV(chosen, fit_intercept=intercept).fit(rows, Y, **weights)
        mean = want[:, :, : len(chosen)].sum((0, 1)) / w.sum() / 2
        assert brief.best_score_ == pytest.approx(-mean.min(), rel=1e-10)


@pytest.mark.parametrize("intercept", [True, False])
def test_many_rows_that_alone_say_something_take_one_pass(intercept, monkeypatch):
    passes = []

    def counting(*args):
        passes.append(args)
        return _solve.triangular(*args)

    solve = SimpleNamespace(**{**vars(_solve), "triangular": counting})
    monkeypatch.setattr(_ridge_cv, "solve", solve)
    rng = np.random.default_rng(0)
    X, Y, w = np.eye(60)[:, :56], rng.normal(size=(60, 2)), rng.uniform(0.5, 2, 60)
    X[:, :3] += rng.normal(size=(60, 3))
    alphas = [0.0, 1e-9, 1e-3]
    model = RidgeCV(alphas, fit_intercept=intercept, store_cv_results=True)
    found = model.fit(X, Y, sample_weight=w).cv_results_
    assert len(passes) == 1
    for i in range(60):
        others = np.arange(60) != i
        for a, alpha in enumerate(alphas):
            one = Ridge(alpha, fit_intercept=intercept).fit(X[others], Y[others], w[others])
            want = w[i] * (Y[i] - one.predict(X[i : i + 1])[0]) ** 2
            np.testing.assert_allclose(found[i, :, a], want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
def test_a_long_row_among_few_is_left_out_precisely(intercept):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(8, 8)), rng.normal(size=8)
    X[6] *= 1e6
    alphas = [0.0, 1e-5, 0.1]
    found = RidgeCV(alphas, fit_intercept=intercept, store_cv_results=True).fit(X, y).cv_results_
    others = np.arange(8) != 6
    mean, middle = X[others].mean(0) * intercept, y[others].mean() * intercept
    U, s, Vt = np.linalg.svd(X[others] - mean, full_matrices=False)
    for a, alpha in enumerate(alphas):
        shrunk = np.divide(s, s * s + alpha, out=np.zeros(7), where=s > 1e-12)
        coef = Vt.T @ (shrunk * (U.T @ (y[others] - middle)))
        want = (y[6] - middle - (X[6] - mean) @ coef) ** 2
        assert found[6, a] == pytest.approx(want, rel=1e-6)
