"""CategoricalNB: categories that come later, gaps, bounds."""

import numpy as np
import pytest
import sklearn.naive_bayes

from kernelmill.naive_bayes import CategoricalNB


def problem(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    X = np.column_stack([rng.integers(0, m, n) for m in (2, 5, 3)])
    X[:, 1] = np.minimum(X[:, 1] + y, 4)
    return X, y


@pytest.mark.parametrize("least", [None, 7, [2, 9, 4]])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_model_of_scikit_learn(least, weighted):
    X, y = problem()
    w = np.random.default_rng(1).uniform(0, 2, len(y)) if weighted else None
    ours = CategoricalNB(alpha=0.4, min_categories=least).fit(X, y, sample_weight=w)
    theirs = sklearn.naive_bayes.CategoricalNB(alpha=0.4, min_categories=least)
    theirs.fit(X, y, sample_weight=w)
    for a, b in zip(ours.category_count_, theirs.category_count_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(ours.feature_log_prob_, theirs.feature_log_prob_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_array_equal(ours.n_categories_, theirs.n_categories_)
    want = theirs.predict_joint_log_proba(X)
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), want, rtol=1e-12)


def test_categories_may_come_later():
    X, y = problem()
    order = np.argsort(X[:, 1], kind="stable")
    X, y = X[order], y[order]
    whole = CategoricalNB().fit(X, y)
    model = CategoricalNB().partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    assert model.n_categories_[1] < 5
    model.partial_fit(X[50:], y[50:])
    streamed = CategoricalNB().fit(lambda: iter([X[:50], X[50:]]), y)
    for other in (model, streamed):
        np.testing.assert_array_equal(other.n_categories_, whole.n_categories_)
        np.testing.assert_allclose(other.predict_log_proba(X), whole.predict_log_proba(X))


def test_missing_entries_are_left_out():
    X, y = problem()
    X = np.where(np.random.default_rng(2).random(X.shape) < 0.3, np.nan, X)
    model = CategoricalNB(alpha=0.5).fit(X, y)
    joint = np.tile(np.log(np.bincount(y) / len(y)), (len(y), 1))
    for p, m in enumerate((2, 5, 3)):
        for c in range(3):
            counts = np.array([((X[:, p] == v) & (y == c)).sum() for v in range(m)]) + 0.5
            np.testing.assert_array_equal(model.category_count_[p][c], counts - 0.5)
            share = np.log(counts / counts.sum())
            there = ~np.isnan(X[:, p])
            joint[there, c] += share[X[there, p].astype(int)]
    np.testing.assert_allclose(model.predict_joint_log_proba(X), joint, rtol=1e-11)


def test_a_feature_without_entries_says_nothing():
    X, y = problem()
    X = np.column_stack([X.astype(float), np.full(len(y), np.nan)])
    model = CategoricalNB().fit(X, y)
    want = CategoricalNB().fit(X[:, :3], y).predict_log_proba(X[:, :3])
    np.testing.assert_allclose(model.predict_log_proba(X), want, rtol=1e-12)
    assert model.n_categories_.tolist() == [2, 5, 3, 0]


def test_unknown_and_negative_categories_are_refused():
    X, y = problem()
    model = CategoricalNB().fit(X, y)
    X[3, 1] = 5
    with pytest.raises(IndexError, match=r"got 5 in column 1, which has 5 \(set min_categories"):
        model.predict(X)
    X[3, 1] = -1
    for call in (model.predict, lambda X: CategoricalNB().fit(X, y)):
        with pytest.raises(ValueError, match=r"got -1 in column 1 \(Negative values in data"):
            call(X)


@pytest.mark.parametrize("huge", [2.0**31, 1e30, 1e150])
def test_numbers_too_large_for_categories_are_refused(huge):
    X, y = problem()
    model = CategoricalNB().fit(X, y)
    X = X.astype(float)
    X[3, 1] = huge
    with pytest.raises(IndexError, match=r"in column 1, which has 5 \(set min_categories"):
        model.predict(X)
    with pytest.raises(ValueError, match=r"2\*\*31 numbers, got .* in column 1 \(skl"):
        CategoricalNB().fit(X, y)


@pytest.mark.parametrize("least", [[2.5, 1, 1], [3, 3], "b"])
def test_wrong_numbers_of_categories_are_refused(least):
    X, y = problem()
    with pytest.raises(ValueError, match="min_categories must be"):
        CategoricalNB(min_categories=least).fit(X, y)


def test_without_smoothing_a_category_excludes_classes():
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), [0, 0, 1, 1]
    model = CategoricalNB(alpha=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_log_proba([[0, 1]]), [[0, -np.inf]])
    X3, y3 = np.array([[0, 0], [1, 1]]), [0, 1]
    both = CategoricalNB(alpha=0).fit(X3, y3).predict_proba([[0, 1]])
    np.testing.assert_allclose(both, [[0.5, 0.5]])


def test_one_class():
    """scikit-learn/scikit-learn#17926"""
    model = CategoricalNB(fit_prior=False).fit([[1, 2], [3, 1]], ["a", "a"])
    assert model.predict_proba([[1, 2]]).tolist() == [[1.0]]
