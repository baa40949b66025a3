"""Least squares: reference data, conditions, ranks, and inputs on which others failed."""

import numpy as np
import pytest
import scipy.sparse
import strd
from sklearn import linear_model as sk

from kernelmill.linear_model import LinearRegression, Ridge

# Wampler5's residuals are 1e4 times its polynomial; Filip's condition number is near 1e15.
DIGITS = {"Wampler5": 6.5, "Filip": 6.5, "Wampler4": 7.5}


@pytest.mark.parametrize("name", strd.SETS)
def test_reference_data(name):
    X, y, constant = strd.SETS[name]
    with_one = np.hstack([np.ones((len(X), 1)), X]) if constant else X
    want = strd.exact(with_one, y)
    model = LinearRegression(fit_intercept=constant).fit(X, y)
    theirs = sk.LinearRegression(fit_intercept=constant).fit(X, y)
    with np.errstate(divide="ignore"):
        right, others = (
            -np.log10(
                np.abs(np.append(m.intercept_, m.coef_)[-len(want) :] / want - 1).max() + 1e-17
            )
            for m in (model, theirs)
        )
    assert right > DIGITS.get(name, 9)
    assert right > min(others, 13)  # the square of Longley's condition number would take two
    assert model.rank_ == X.shape[1]


def test_longley_is_as_certified():
    model = LinearRegression().fit(strd.LONGLEY[:, 1:], strd.LONGLEY[:, 0])
    got = np.append(model.intercept_, model.coef_)
    np.testing.assert_allclose(got, strd.LONGLEY_CERTIFIED, rtol=1e-10)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("outputs", [0, 1, 3])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_it_is_scikit_learns(intercept, outputs, weighted, positive):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5)) + 2
    y = rng.normal(size=(80, max(outputs, 1))) + X[:, :1]
    y = y if outputs else y[:, 0]
    w = rng.uniform(0, 2, 80) if weighted else None
    options = {"fit_intercept": intercept, "positive": positive}
    ours = LinearRegression(**options).fit(X, y, sample_weight=w)
    theirs = sk.LinearRegression(**options).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-11)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-11)
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-11)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))
    if not positive:
        np.testing.assert_allclose(ours.singular_, theirs.singular_, rtol=1e-9)


@pytest.mark.parametrize("factor", [1.0, 1e-8, 1e8])
@pytest.mark.parametrize("rows", [5, 1000])
def test_columns_that_depend_on_each_other_after_centring(factor, rows):
    x = np.tile(np.arange(5.0), rows // 5)
    X = factor * np.column_stack([x, x**2, x + 2])
    model = LinearRegression().fit(X, np.tile([1.0, 0, 2, 1, 5], rows // 5))
    np.testing.assert_allclose(model.coef_ * factor, [-0.55, 0.5, -0.55], atol=1e-9)
    assert model.intercept_ == pytest.approx(2.1)
    assert (model.rank_, model.condition_) == (2, np.inf)


def test_equal_columns():
    model = LinearRegression().fit([[1, 1], [2, 2], [3, 3.0]], [1, 2, 3.0])
    np.testing.assert_allclose(model.coef_, [0.5, 0.5], atol=1e-12)
    assert model.rank_ == 1


def test_of_all_best_coefficients_the_shortest_are_returned():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    X = X @ [[1, 10, 0, 0, 3], [0, 0, 1, 0, 100], [0, 0, 0, 2, 1]]
    model = LinearRegression().fit(X, y)
    want = np.linalg.lstsq(X - X.mean(0), y - y.mean(), rcond=1e-10)[0]
    np.testing.assert_allclose(model.coef_, want, atol=1e-10)
    assert model.rank_ == 3


def test_fewer_rows_than_features():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 30)), rng.normal(size=8)
    ours, theirs = LinearRegression().fit(X, y), sk.LinearRegression().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
    np.testing.assert_allclose(ours.predict(X), y, atol=1e-10)
    assert ours.rank_ == 7  # one is the mean's


def test_a_constant_column_gets_nothing():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=50), np.full(50, 0.1), np.full(50, 1e9)])
    model = LinearRegression().fit(X, 3 * X[:, 0] + 1)
    np.testing.assert_allclose(model.coef_, [3, 0, 0], atol=1e-12)
    assert model.rank_ == 1
    np.testing.assert_allclose(Ridge(1e-9).fit(X, 3 * X[:, 0] + 1).coef_, [3, 0, 0], atol=1e-6)


def test_a_condition_number_of_1e10():
    rng = np.random.default_rng(0)
    U, _ = np.linalg.qr(rng.normal(size=(200, 6)))
    V, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    X = (U * np.geomspace(1, 1e-10, 6)) @ V.T
    true = rng.normal(size=6)
    model = LinearRegression(fit_intercept=False).fit(X, X @ true)
    assert 1e7 < model.condition_ < 1e11
    # Half of the digits of the data are lost to the condition number, none to its square.
    np.testing.assert_allclose(model.coef_, true, rtol=0, atol=1e-4 * np.abs(true).max())


def test_weights_with_sparse_rows():
    X = np.array([[0, 2], [1, 0], [0, 0], [3, 1], [0, 5.0]])
    y = X @ [2, -1] + 7
    y[2], w = 100, [1, 2, 0, 1, 3]
    for rows in (X, scipy.sparse.csr_matrix(X)):
        model = LinearRegression().fit(rows, y, sample_weight=w)
        np.testing.assert_allclose(model.coef_, [2, -1], atol=1e-12)
        assert model.intercept_ == pytest.approx(7)
        model = Ridge(alpha=1.0).fit(rows, y, sample_weight=w)
        np.testing.assert_allclose(model.coef_, [1.695175, -1.057749], atol=1e-6)
        assert model.intercept_ == pytest.approx(7.366228, abs=1e-6)
        model = Ridge(alpha=1e-9).fit(rows, X @ [2, -1] + 7)
        np.testing.assert_allclose([*model.coef_, model.intercept_], [2, -1, 7], atol=1e-8)


@pytest.mark.parametrize("kind", [LinearRegression, lambda: Ridge(1e-9)])
def test_float32_far_from_zero(kind):
    X = np.float32([[10000, 1], [10025, -1], [10050, 2], [10075, 0], [10100, 5]])
    y = np.float32(3 * (X[:, 0] - 10000) - 5 * X[:, 1] + 20)
    for rows in (X, lambda: iter([X[:2], X[2:]])):
        model = kind().fit(rows, y)
        np.testing.assert_allclose(model.coef_, [3, -5], rtol=1e-6)
        assert model.intercept_ == pytest.approx(-29980, rel=1e-6)
        np.testing.assert_allclose(model.predict(X), y, atol=1e-3)


def test_an_iterator_is_read_once():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 3)), rng.normal(size=90)
    once = LinearRegression().fit(iter([X[:40], X[40:]]), y)
    np.testing.assert_allclose(once.coef_, LinearRegression().fit(X, y).coef_, atol=1e-12)


def test_large_values_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="X must be small enough to be squared"):
        LinearRegression().fit([[1e200, 1], [2, 2], [3, -1e200], [1, 4]], [1, 2, 3, 4])
