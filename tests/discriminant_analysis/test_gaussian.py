"""GaussianClassifier: the four cases, constants, missing entries."""

import numpy as np
import pytest
import scipy.stats
from sklearn.exceptions import ConvergenceWarning

from kernelmill.discriminant_analysis import (
    GaussianClassifier,
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from kernelmill.naive_bayes import GaussianNB

CASES = [("full", False), ("full", True), ("diag", False), ("diag", True)]


def problem(n=160, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    X = np.einsum("nd,nde->ne", rng.normal(size=(n, d)), rng.normal(size=(k, d, d))[y])
    return X + rng.normal(size=(k, d))[y], np.array(["a", "b", "c"])[y]


def covariances(X, y, covariance, shared):
    each = [np.cov(X[y == c].T, bias=True) for c in "abc"]
    if shared:
        each = [np.average(each, axis=0, weights=[(y == c).sum() for c in "abc"])] * 3
    return each if covariance == "full" else [np.diag(np.diag(C)) for C in each]


@pytest.mark.parametrize(("covariance", "shared"), CASES)
def test_densities_are_normal(covariance, shared):
    X, y = problem()
    model = GaussianClassifier(covariance=covariance, shared=shared).fit(X, y)
    wanted = covariances(X, y, covariance, shared)
    shape = {"full": (4, 4), "diag": (4,)}[covariance]
    assert model.covariances_.shape == (shape if shared else (3, *shape))
    joint = np.empty((len(y), 3))
    for c, (label, C) in enumerate(zip("abc", wanted, strict=True)):
        found = model.covariances_ if shared else model.covariances_[c]
        found = found if covariance == "full" else np.diag(found)
        np.testing.assert_allclose(found, C, rtol=1e-10, atol=1e-12)
        mean = X[y == label].mean(0)
        np.testing.assert_allclose(model.means_[c], mean, rtol=1e-10)
        density = scipy.stats.multivariate_normal(mean, C).logpdf(X)
        joint[:, c] = np.log((y == label).mean()) + density
    np.testing.assert_allclose(model.decision_function(X), joint, rtol=1e-9)
    total = scipy.special.logsumexp(joint, axis=1)
    np.testing.assert_allclose(model.score_samples(X), total, rtol=1e-9)
    np.testing.assert_allclose(model.predict_log_proba(X), joint - total[:, None], atol=1e-9)


@pytest.mark.parametrize(
    ("covariance", "shared", "same"),
    [
        ("full", False, QuadraticDiscriminantAnalysis()),
        ("full", True, LinearDiscriminantAnalysis()),
        ("diag", False, GaussianNB(var_smoothing=0)),
    ],
)
def test_three_cases_have_names(covariance, shared, same):
    X, y = problem()
    model = GaussianClassifier(covariance=covariance, shared=shared).fit(X, y)
    want = same.fit(X, y).predict_log_proba(X)
    np.testing.assert_allclose(model.predict_log_proba(X), want, rtol=1e-9, atol=1e-10)


def test_parameters_are_counted():
    X, y = problem()
    count = {
        case: GaussianClassifier(covariance=case[0], shared=case[1]).fit(X, y).n_parameters_
        for case in CASES
    }
    assert count == {
        ("full", False): 2 + 12 + 30, ("full", True): 2 + 12 + 10, ("diag", False): 2 + 12 + 12,
        ("diag", True): 2 + 12 + 4,
    }  # fmt: skip
    given = GaussianClassifier(priors=[0.2, 0.3, 0.5]).fit(X, y)
    assert given.n_parameters_ == 12 + 30


def test_shrinkage_keeps_the_diagonal():
    X, y = problem()
    plain = GaussianClassifier().fit(X, y).covariances_
    half = GaussianClassifier(shrinkage=0.5).fit(X, y).covariances_
    eye = np.eye(4, dtype=bool)
    np.testing.assert_allclose(half, np.where(eye, plain, plain / 2))
    all_of_it = GaussianClassifier(shrinkage=1.0).fit(X, y)
    want = GaussianClassifier(covariance="diag").fit(X, y).predict_log_proba(X)
    np.testing.assert_allclose(all_of_it.predict_log_proba(X), want, atol=1e-10)


@pytest.mark.parametrize(("covariance", "shared"), CASES)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 / 3])
def test_a_constant_feature_says_nothing(covariance, shared, value):
    X, y = problem()
    model = GaussianClassifier(covariance=covariance, shared=shared)
    want = model.fit(X, y).predict_log_proba(X)
    more = np.column_stack([X, np.full(len(y), value)])
    np.testing.assert_allclose(model.fit(more, y).predict_log_proba(more), want, atol=1e-9)
    more[::3, 1] = np.nan
    gaps = X.copy()
    gaps[::3, 1] = np.nan
    want = model.fit(gaps, y).predict_log_proba(gaps)
    np.testing.assert_allclose(model.fit(more, y).predict_log_proba(more), want, atol=1e-7)


def test_singular_covariances_are_refused():
    X, y = problem()
    line = X.copy()
    line[y == "b", 1] = line[y == "b", 0]
    with pytest.raises(ValueError, match="class 'b' must have rank 4, got rank 3"):
        GaussianClassifier().fit(line, y)
    GaussianClassifier(shared=True).fit(line, y)
    line[:, 1] = line[:, 0]
    with pytest.raises(ValueError, match="shared covariance must have rank 4, got rank 3"):
        GaussianClassifier(shared=True).fit(line, y)
    GaussianClassifier(shared=True, shrinkage=0.1).fit(line, y)
    still = X.copy()
    still[y == "c", 2] = 0.1
    with pytest.raises(ValueError, match="class 'c' must be positive, got the variance 0 of feat"):
        GaussianClassifier(covariance="diag").fit(still, y)
    GaussianClassifier(covariance="diag", shared=True).fit(still, y)


def log_likelihood(X, y, means, each):
    total = 0.0
    for row, label in zip(X, y, strict=True):
        seen, c = ~np.isnan(row), "abc".index(label)
        if seen.any():
            C = each[c][np.ix_(seen, seen)]
            total += scipy.stats.multivariate_normal(means[c][seen], C).logpdf(row[seen])
    return total


@pytest.mark.parametrize("shared", [False, True])
def test_missing_entries_climb_to_the_greatest_likelihood(shared):
    X, y = problem(120, 3)
    X[np.random.default_rng(1).random(X.shape) < 0.25] = np.nan
    model = GaussianClassifier(shared=shared, tol=1e-9).fit(X, y)
    assert model.n_iter_ > 5
    each = [model.covariances_] * 3 if shared else list(model.covariances_)
    best = log_likelihood(X, y, model.means_, each)
    rng = np.random.default_rng(2)
    for _ in range(12):  # no direction leads up
        step = 1e-3 * rng.normal(size=model.means_.shape)
        assert log_likelihood(X, y, model.means_ + step, each) < best
        A = np.eye(3) + 1e-3 * rng.normal(size=(3, 3))
        moved = [A @ C @ A.T for C in each] if shared else [A @ each[0] @ A.T, *each[1:]]
        assert log_likelihood(X, y, model.means_, moved) < best


@pytest.mark.parametrize("shared", [False, True])
def test_missing_entries_of_independent_features_are_left_out(shared):
    X, y = problem()
    X[np.random.default_rng(1).random(X.shape) < 0.25] = np.nan
    model = GaussianClassifier(covariance="diag", shared=shared).fit(X, y)
    assert model.n_iter_ == 1
    each = np.array([np.nanvar(X[y == c], axis=0) for c in "abc"])
    if shared:
        weights = np.array([(~np.isnan(X[y == c])).sum(0) for c in "abc"])
        each = (each * weights).sum(0) / weights.sum(0)
    np.testing.assert_allclose(model.covariances_, each, rtol=1e-10)


def test_streams_and_weights_of_rows_with_gaps():
    X, y = problem()
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    w = np.random.default_rng(2).integers(1, 3, len(y))
    repeated = GaussianClassifier(shared=True, tol=1e-10)
    repeated.fit(np.repeat(X, w, 0), np.repeat(y, w))
    chunks = [(X[:70], w[:70].astype(float)), (X[70:], w[70:].astype(float))]
    streamed = GaussianClassifier(shared=True, tol=1e-10).fit(lambda: iter(chunks), y)
    np.testing.assert_allclose(streamed.covariances_, repeated.covariances_, rtol=1e-7)
    np.testing.assert_allclose(streamed.means_, repeated.means_, rtol=1e-7)


def test_too_few_passes_are_warned_of():
    X, y = problem()
    X[::4, 1] = np.nan
    with pytest.warns(ConvergenceWarning, match="did not converge in max_iter=1"):
        GaussianClassifier(max_iter=1).fit(X, y)


def test_parts_with_gaps_are_for_independent_features():
    X, y = problem()
    X[::4, 1] = np.nan
    model = GaussianClassifier().partial_fit(X[1:4], y[1:4], classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="no missing entries in partial_fit"):
        model.partial_fit(X, y)
    parts = GaussianClassifier(covariance="diag")
    parts.partial_fit(X[:90], y[:90], classes=["a", "b", "c"]).partial_fit(X[90:], y[90:])
    want = GaussianClassifier(covariance="diag").fit(X, y).predict_log_proba(X)
    np.testing.assert_allclose(parts.predict_log_proba(X), want, atol=1e-10)
