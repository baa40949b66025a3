"""Ridge: scikit-learn's answers by every way to them, and leaving out one row at a time."""

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model as sk

from kernelmill.linear_model import Ridge, RidgeClassifier, RidgeClassifierCV, RidgeCV, _ridge


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
    np.testing.assert_allclose(
        model.cv_results_.mean(0), [5.169009, 4.915650, 4.748500], atol=1e-6
    )
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
            want = (Y[i] - refit.predict(X[i : i + 1])[0]) ** 2
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
            np.testing.assert_allclose(ours.coef_, np.atleast_2d(theirs.coef_), atol=1e-10)
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
            np.testing.assert_allclose(ours.coef_, np.atleast_2d(theirs.coef_), atol=1e-9)
    with pytest.raises(ValueError, match="scoring must be None"):
        RidgeClassifierCV(scoring="accuracy").fit(X, y)


def test_bad_penalties_are_refused():
    X, Y = problem(12, 3, outputs=2)
    with pytest.raises(ValueError, match="alpha must be a number of at least 0"):
        Ridge(-1.0).fit(X, Y)
    with pytest.raises(ValueError, match="Number of targets and number of penalties"):
        Ridge([1.0, 2.0, 3.0]).fit(X, Y)
    with pytest.raises(ValueError, match="alphas must be numbers of at least 0"):
        RidgeCV([-1.0]).fit(X, Y)
