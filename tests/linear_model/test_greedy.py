"""Pursuit and paths: scikit-learn's steps, and the lasso's optimum at every knot."""

import warnings

import numpy as np
import pytest
from sklearn import linear_model as sk
from sklearn.datasets import load_diabetes

from kernelmill.linear_model import Lars, Lasso, LassoLars, OrthogonalMatchingPursuit
from kernelmill.ops import coordinate


def problem(n=100, d=15, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3
    X[:, 5] = 0.9 * X[:, 0] + 0.3 * X[:, 5]
    return X, X[:, :4] @ rng.normal(size=4) + rng.normal(size=n)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("count", [1, 4, 15, None])
def test_pursuit_is_scikit_learns(intercept, count):
    X, y = problem()
    given = {"n_nonzero_coefs": count, "fit_intercept": intercept}
    ours = OrthogonalMatchingPursuit(**given).fit(X, y)
    theirs = sk.OrthogonalMatchingPursuit(**given).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
    assert ours.n_nonzero_coefs_ == theirs.n_nonzero_coefs_


def test_pursuit_to_an_error_and_of_several_outputs():
    X, y = problem()
    ours = OrthogonalMatchingPursuit(tol=100.0).fit(X, y)
    theirs = sk.OrthogonalMatchingPursuit(tol=100.0).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
    both = OrthogonalMatchingPursuit(n_nonzero_coefs=3).fit(X, np.column_stack([y, -2 * y]))
    np.testing.assert_allclose(both.coef_[1], -2 * both.coef_[0], atol=1e-10)
    exact = OrthogonalMatchingPursuit(n_nonzero_coefs=9).fit(X, 2 * X[:, 3])
    assert np.flatnonzero(exact.coef_).tolist() == [3]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("count", [1, 5, 15])
def test_least_angles_are_scikit_learns(intercept, count):
    X, y = problem()
    given = {"n_nonzero_coefs": count, "fit_intercept": intercept}
    ours, theirs = Lars(**given).fit(X, y), sk.Lars(**given).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)
    np.testing.assert_allclose(ours.alphas_, theirs.alphas_, atol=1e-9)
    np.testing.assert_allclose(ours.coef_path_, theirs.coef_path_, atol=1e-9)
    assert sorted(ours.active_) == sorted(theirs.active_)


@pytest.mark.parametrize("kind", [Lars, LassoLars])
def test_paths_of_float32_rows_are_float32(kind):
    X, y = problem()
    model = kind().fit(X.astype(np.float32), y)
    assert model.coef_path_.dtype == model.coef_.dtype == np.float32
    np.testing.assert_array_equal(model.coef_path_[:, -1], model.coef_)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("n", "d"), [(100, 15), (12, 40)])
def test_every_knot_is_the_lassos_optimum(positive, n, d):
    X, y = problem(n, d)
    model = LassoLars(1e-3, positive=positive).fit(X, y)
    for alpha, coef in list(zip(model.alphas_, model.coef_path_.T, strict=True))[1::3]:
        want = Lasso(alpha, tol=1e-13, max_iter=10**6, positive=positive).fit(X, y).coef_
        np.testing.assert_allclose(coef, want, atol=1e-5)
    rest = y - model.predict(X)
    slope = (X - X.mean(0)).T @ rest / n
    assert (slope if positive else np.abs(slope)).max() <= 1e-3 * (1 + 1e-6)


def test_the_definition_and_constant_targets():
    X = np.arange(1.0, 6)[:, None]
    model = LassoLars(1.0).fit(X, 2 * X[:, 0])
    assert model.coef_[0] == pytest.approx(1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (Lars, LassoLars, OrthogonalMatchingPursuit):
            assert not kind().fit(X, np.ones(5)).coef_.any()


def test_equal_columns_do_not_stop_the_path():
    X, y = problem()
    X[:, 1] = X[:, 0]
    model = LassoLars(1e-3).fit(X, y)
    np.testing.assert_allclose(
        model.predict(X), Lasso(1e-3, tol=1e-12).fit(X, y).predict(X), atol=1e-4
    )


def test_pursuit_ends_where_features_depend_on_those_before():
    X, y = problem()
    X = np.hstack([X, X @ np.random.default_rng(1).normal(size=(15, 5))])
    model = OrthogonalMatchingPursuit(n_nonzero_coefs=20).fit(X, y)
    assert model.n_iter_ == 15
    want = sk.LinearRegression().fit(X, y).predict(X)
    np.testing.assert_allclose(model.predict(X), want, atol=1e-9)
    # Equal features whose products with the target differ by rounding.
    coef, count = coordinate.pursuits(
        np.ones((2, 2)), np.array([[1.0, 1.0 + 1e-12]]), np.ones(1), 2, -1.0
    )
    assert (count.tolist(), coef.tolist()) == ([1], [[0.0, 1.0 + 1e-12]])


@pytest.mark.parametrize("positive", [False, True])
def test_every_knot_of_the_lassos_path_is_optimal(positive):
    """Also where a feature leaves and comes back with the other sign, as on the diabetes data."""
    crossings = 0
    problems = [load_diabetes(return_X_y=True)]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(30, 9)) @ rng.normal(size=(9, 9))
        problems.append((X, X @ rng.normal(size=9) + 5 * rng.normal(size=30)))
    for X, y in problems:
        X = (X - X.mean(0)) / X.std(0)
        model = LassoLars(alpha=0.0, positive=positive).fit(X, y)
        for alpha, coef in zip(model.alphas_, model.coef_path_.T, strict=True):
            slope = X.T @ (y - y.mean() - X @ coef) / len(y)
            used = coef != 0
            near = 1e-9 * model.alphas_[0]
            assert (slope if positive else abs(slope)).max() <= alpha + near
            np.testing.assert_allclose(slope[used], alpha * np.sign(coef[used]), atol=near)
        assert model.alphas_[-1] == 0
        signs = np.sign(model.coef_path_)
        crossings += ((signs == 1).any(1) & (signs == -1).any(1)).sum()
    assert positive or crossings > 0
