"""Counts and flags: definitions, smoothing, no smoothing, gaps."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.naive_bayes

from kernelmill.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB

COUNTS = (MultinomialNB, ComplementNB, BernoulliNB)


def problem(n=150, d=6, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.poisson(rng.gamma(1.0, 1.0, (3, d))[y]).astype(float), y


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize("alpha", [1.0, 0.2, np.array([0.1, 1, 2, 3, 0.5, 1])], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_they_are_the_models_of_scikit_learn(kind, alpha, weighted):
    X, y = problem()
    w = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    if kind is BernoulliNB and np.ndim(alpha):
        X = X[:, :3]  # scikit-learn takes such an alpha for as many classes as features only
        alpha = np.full(3, 0.3)
    for options in ({}, {"fit_prior": False}, {"class_prior": [0.2, 0.3, 0.5]}):
        options = {**options, "alpha": alpha}
        ours = kind(**options).fit(X, y, sample_weight=w)
        theirs = getattr(sklearn.naive_bayes, kind.__name__)(**options).fit(X, y, sample_weight=w)
        for name in ("feature_log_prob_", "feature_count_", "class_log_prior_", "class_count_"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-11)
        want = theirs.predict_joint_log_proba(X)
        np.testing.assert_allclose(ours.predict_joint_log_proba(X), want, rtol=1e-11)


def test_normalised_weights_of_complements():
    X, y = problem()
    ours, theirs = (
        package.ComplementNB(norm=True).fit(X, y)
        for package in (__import__("kernelmill").naive_bayes, sklearn.naive_bayes)
    )
    np.testing.assert_allclose(ours.feature_log_prob_, theirs.feature_log_prob_, rtol=1e-12)
    np.testing.assert_array_equal(ours.feature_all_, theirs.feature_all_)


@pytest.mark.parametrize("binarize", [None, 0.0, 1.0, 2.5])
def test_flags_of_any_threshold(binarize):
    X, y = problem()
    X = (X > 1).astype(float) if binarize is None else X
    theirs = sklearn.naive_bayes.BernoulliNB(binarize=binarize).fit(X, y)
    for rows in (X, scipy.sparse.csr_array(X)):
        ours = BernoulliNB(binarize=binarize).fit(rows, y)
        want = theirs.predict_joint_log_proba(X)
        np.testing.assert_allclose(ours.predict_joint_log_proba(rows), want, rtol=1e-11)


def test_repeated_entries_of_sparse_rows_add_up():
    data, columns, starts = [0.6, 0.6, 1.0, 0.3], [0, 0, 1, 2], [0, 3, 4]
    X = scipy.sparse.csr_matrix((data, columns, starts), shape=(2, 3))
    for kind in COUNTS:
        options = {"binarize": 0.9} if kind is BernoulliNB else {}
        sparse = kind(**options).fit(X, [0, 1])
        dense = kind(**options).fit(X.toarray(), [0, 1])
        np.testing.assert_allclose(sparse.feature_count_, dense.feature_count_)
        got = sparse.predict_log_proba(X)
        np.testing.assert_allclose(got, dense.predict_log_proba(X.toarray()))
    assert X.nnz == 4  # left as it was


def test_one_class():
    """scikit-learn/scikit-learn#17926"""
    for kind in COUNTS:
        model = kind(fit_prior=False).fit([[1, 2], [3, 1]], ["a", "a"])
        assert model.predict_proba([[1, 2]]).tolist() == [[1.0]]
        assert model.predict([[1, 2]]).tolist() == ["a"]


@pytest.mark.parametrize("kind", [MultinomialNB, ComplementNB])
def test_negative_counts_are_refused(kind):
    X, y = problem()
    X[5, 2] = -1.0
    for rows in (X, scipy.sparse.csr_array(X)):
        with pytest.raises(ValueError, match=f"{kind.__name__}: X must hold counts.*got -1"):
            kind().fit(rows, y)


def test_without_smoothing_a_feature_excludes_classes():
    X = np.array([[2.0, 1, 0], [1, 3, 0], [0, 2, 1], [0, 1, 5]])
    y = np.array(["a", "a", "b", "b"])
    model = MultinomialNB(alpha=0).fit(X, y)
    logs = model.predict_log_proba([[1, 1, 0], [0, 1, 1], [0, 3, 0], [2, 0, 1], [1, 0, 1], [0] * 3])
    np.testing.assert_array_equal(logs[0], [0, -np.inf])
    np.testing.assert_array_equal(logs[1], [-np.inf, 0])
    assert np.isfinite(logs[2]).all()
    # Impossible for both: the class with less that speaks against it is the limit.
    np.testing.assert_array_equal(logs[3], [0, -np.inf])
    near = MultinomialNB(alpha=1e-200).fit(X, y).predict_log_proba([[1, 0, 1]])
    np.testing.assert_allclose(logs[4], near[0], rtol=1e-12)
    np.testing.assert_allclose(np.exp(logs[5]), [0.5, 0.5])
    again = model.predict_log_proba(scipy.sparse.csr_array([[1.0, 1, 0], [2, 0, 1]]))
    np.testing.assert_array_equal(again, logs[[0, 3]])


def test_a_class_without_prior_is_no_way_out():
    X, y = np.array([[1.0, 0], [0, 1.0]]), ["a", "b"]
    model = MultinomialNB(alpha=0, class_prior=[0.0, 1.0]).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba([[1, 0], [0, 1]]), [[0, 1], [0, 1]])


def test_flags_without_smoothing():
    X = np.array([[1.0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1]])
    y = [0, 0, 1, 1]
    model = BernoulliNB(alpha=0).fit(X, y)
    rows = np.array([[1.0, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1], [np.nan, 1, np.nan]])
    logs = model.predict_log_proba(rows)
    near = BernoulliNB(alpha=1e-250).fit(X, y).predict_log_proba(rows)
    # scikit-learn gives NaN. What 1e-250 leaves is exp(-575), which is nothing here.
    np.testing.assert_allclose(np.exp(logs), np.exp(near), rtol=1e-9, atol=1e-200)
    sparse = model.predict_log_proba(scipy.sparse.csr_array(rows[:4]))
    np.testing.assert_array_equal(sparse, logs[:4])


def test_flags_that_are_nearly_certain_keep_their_digits():
    n = 10**6
    X, y = np.array([[1.0], [0.0], [0.0]]), [0, 0, 1]
    model = BernoulliNB(alpha=1e-9).fit(X, y, sample_weight=[n, 1.0, 1.0])
    joint = model.predict_joint_log_proba([[0.0]])[0, 0] - np.log((n + 1) / (n + 2))
    np.testing.assert_allclose(joint, np.log((1 + 1e-9) / (n + 1 + 2e-9)), rtol=1e-13)


def test_missing_flags_are_left_out():
    X, y = problem()
    gaps = np.random.default_rng(3).random(X.shape) < 0.3
    X = np.where(gaps, np.nan, X)
    sparse = scipy.sparse.csr_array(np.where(gaps, 1e300, X))
    sparse.data[sparse.data == 1e300] = np.nan
    joint = np.empty((len(y), 3))
    for c in range(3):
        own = X[y == c]
        known = (~np.isnan(own)).sum(0)
        share = ((own > 0).sum(0) + 0.5) / (known + 1.0)
        terms = np.where(X > 0, np.log(share), np.log(1 - share))
        joint[:, c] = np.log((y == c).mean()) + np.where(gaps, 0.0, terms).sum(1)
    for rows in (X, sparse):
        model = BernoulliNB(alpha=0.5).fit(rows, y)
        np.testing.assert_allclose(model.predict_joint_log_proba(rows), joint, rtol=1e-10)
    parts = BernoulliNB(alpha=0.5).partial_fit(X[:40], y[:40], classes=[0, 1, 2])
    parts.partial_fit(X[40:], y[40:])
    np.testing.assert_allclose(parts.predict_joint_log_proba(X), joint, rtol=1e-10)


@pytest.mark.parametrize("kind", COUNTS)
def test_smoothing_that_does_not_fit_is_refused(kind):
    X, y = problem()
    with pytest.raises(ValueError, match="one for each of 6 features"):
        kind(alpha=[1.0, 2.0]).fit(X, y)
    with pytest.raises(ValueError, match="alpha must not be negative"):
        kind(alpha=[1.0, 2.0, -1, 1, 1, 1]).fit(X, y)
    with pytest.raises(ValueError, match="alpha must be"):
        kind(alpha=-1.0).fit(X, y)
    with pytest.warns(UserWarning, match="alpha must be at least 1.0e-10"):
        low = kind(alpha=0.0, force_alpha=False).fit(X, y)
    want = kind(alpha=1e-10).fit(X, y).feature_log_prob_
    np.testing.assert_array_equal(low.feature_log_prob_, want)


def test_a_class_without_a_count_says_nothing():
    X, y = np.array([[1.0, 3], [2, 1], [0, 0]]), ["a", "a", "b"]
    for kind in (MultinomialNB, ComplementNB):
        assert np.isfinite(kind(alpha=0.0).fit(X, y).feature_log_prob_).all()
    np.testing.assert_allclose(MultinomialNB(alpha=0).fit(X, y).feature_log_prob_[1], np.log(0.5))
