"""GaussianNB: smoothing, constants, gaps, and the cases that other libraries got wrong."""

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.naive_bayes

from kernelmill.naive_bayes import GaussianNB


def problem(n=120, d=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, d)) * [1, 2, 0.5, 3] + y[:, None], y


def test_it_is_the_model_of_scikit_learn():
    X, y = problem()
    ours = GaussianNB(var_smoothing=1e-3).fit(X, y)
    theirs = sklearn.naive_bayes.GaussianNB(var_smoothing=1e-3).fit(X, y)
    for name in ("theta_", "var_", "class_count_", "class_prior_", "epsilon_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12)
    want = theirs.predict_joint_log_proba(X)
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), want, rtol=1e-12)


def test_smoothing_is_relative():
    """scikit-learn/scikit-learn#24732"""
    X = np.array([[0, 0.01], [3600, 0.02], [1800, 0.05], [5400, 0.06]])
    y = [0, 0, 1, 1]
    model = GaussianNB().fit(X, y)
    np.testing.assert_allclose(model.epsilon_, 0.00405, rtol=1e-12)
    np.testing.assert_allclose(model.var_, [[3.24e6 + 0.00405, 0.004075]] * 2, rtol=1e-12)
    for c in (1e-100, 1e-3, 7.0, 1e100):
        scaled = GaussianNB().fit(c * X, y)
        np.testing.assert_allclose(scaled.predict_proba(c * X), model.predict_proba(X), rtol=1e-9)
    moved = GaussianNB().fit(X * 16 + 2.0**33, y).var_
    np.testing.assert_allclose(moved[:, 0], 256 * model.var_[:, 0], rtol=1e-12)


def test_the_largest_variance_is_that_of_weighted_rows_seen_so_far():
    X, y = problem()
    w = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    model = GaussianNB(var_smoothing=0.5).fit(X, y, sample_weight=w)
    wide = np.repeat(X, w.astype(int), 0)
    np.testing.assert_allclose(model.epsilon_, 0.5 * wide.var(0).max(), rtol=1e-12)


def test_a_constant_feature_changes_nothing():
    X, y = problem()
    plain = GaussianNB().fit(X, y)
    for constant in (0.0, 0.1, 1e-300, 1e10 / 3):
        for dtype in (np.float64, np.float32):
            more = np.column_stack([X, np.full(len(y), constant)]).astype(dtype)
            model = GaussianNB().fit(more, y)
            want = GaussianNB().fit(more[:, :-1], y).predict_log_proba(more[:, :-1])
            np.testing.assert_allclose(model.predict_log_proba(more), want, rtol=1e-10)
            more[:, -1] += dtype(1e5)  # of all classes alike
            np.testing.assert_allclose(model.predict_log_proba(more), want, rtol=1e-6)
    assert plain.epsilon_ > 0


def test_rows_that_are_all_equal_have_the_priors():
    for value in (0.1, 1e8 / 3):
        X, y = np.full((7, 3), value), [0, 0, 1, 1, 1, 1, 1]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = GaussianNB().fit(X, y)
            np.testing.assert_allclose(model.predict_proba(X), [[2 / 7, 5 / 7]] * 7)
            np.testing.assert_allclose(model.predict_proba(X + 1e5), [[2 / 7, 5 / 7]] * 7)
        assert model.epsilon_ == 0
        gaps = X.copy()
        gaps[:2, 0] = np.nan
        np.testing.assert_allclose(GaussianNB().fit(gaps, y).predict_proba(X)[0], [2 / 7, 5 / 7])


def test_the_rounding_of_a_constant_is_no_variance():
    for value in (0.1, 1 / 3, 1e8 / 7, -0.7):
        X, y = np.full((41, 1), value), np.arange(41) % 2
        X[5] = np.nextafter(value, 1e9)
        model = GaussianNB().fit(X, y)
        assert model.epsilon_ == 0
        assert (model.var_ == 0).all()
        np.testing.assert_allclose(model.predict_proba(X), [[21 / 41, 20 / 41]] * 41)


def test_a_constant_of_one_class_is_smoothed_or_refused():
    X, y = np.array([[0.0], [1.0], [1.0]]), ["a", "b", "b"]
    assert GaussianNB().fit(X, y).predict(X).tolist() == y
    with pytest.raises(ValueError, match=r"variance 0 of feature 0 in class 'a' \(raise"):
        GaussianNB(var_smoothing=0.0).fit(X, y)
    model = GaussianNB(var_smoothing=0.0).partial_fit(X, y, classes=["a", "b"])
    with pytest.raises(ValueError, match="variance 0 of feature 0"):
        model.predict(X)
    model.partial_fit([[0.5], [2.0], [1.5]], ["a", "b", "a"])
    assert np.isfinite(model.predict_log_proba(X)).all()


def test_one_class():
    """scikit-learn/scikit-learn#17926"""
    model = GaussianNB().fit([[1, 2], [3, 1]], ["a", "a"])
    assert model.predict_proba([[1, 2]]).tolist() == [[1.0]]
    assert model.predict([[9, 9]]).tolist() == ["a"]


def test_missing_entries_are_left_out():
    X, y = problem()
    X[np.random.default_rng(2).random(X.shape) < 0.3] = np.nan
    model = GaussianNB(var_smoothing=0.0).fit(X, y)
    joint = np.empty((len(y), 3))
    for c in range(3):
        own = X[y == c]
        mean, sd = np.nanmean(own, 0), np.nanstd(own, 0)
        np.testing.assert_allclose(model.theta_[c], mean, rtol=1e-12)
        np.testing.assert_allclose(model.var_[c], sd**2, rtol=1e-12)
        logs = scipy.stats.norm.logpdf(X, mean, sd)
        joint[:, c] = np.log((y == c).mean()) + np.nansum(logs, 1)
    np.testing.assert_allclose(model.predict_joint_log_proba(X), joint, rtol=1e-10)


def test_a_feature_without_entries_in_a_class_has_the_moments_of_all_rows():
    X, y = problem()
    X[y == 1, 2] = np.nan
    model = GaussianNB().fit(X, y)
    np.testing.assert_allclose(model.theta_[1, 2], np.nanmean(X[:, 2]), rtol=1e-12)
    np.testing.assert_allclose(model.var_[1, 2] - model.epsilon_, np.nanvar(X[:, 2]), rtol=1e-6)
    X[:, 3] = np.nan  # nowhere: says nothing
    less = GaussianNB().fit(X[:, :3], y).predict_proba(X[:, :3])
    model = GaussianNB().fit(X, y)
    X[:, 3] = 5.0
    np.testing.assert_allclose(model.predict_proba(X), less, rtol=1e-9)


def test_far_points_keep_their_digits():
    model = GaussianNB(var_smoothing=0).fit([[-1.0], [1.0], [9.0], [11.0]], [0, 0, 1, 1])
    for dtype in (np.float32, np.float64):
        for x in (1e3, 1e6, 2.0**60, 2.0**125):
            found = model.predict_log_proba(np.array([[x]], dtype=dtype))[0]
            # (x^2 - (x - 10)^2) / 2 = 10 x - 50
            np.testing.assert_allclose(found[0], 50 - 10 * x, rtol=max(1e-12, 1e-16 * x))
            assert found[1] == 0
    X = 2.0**-400 * np.array([[-1.0], [1], [9], [11]])  # exact, so variances are equal
    tiny = GaussianNB(var_smoothing=0).fit(X, [0, 0, 1, 1])
    found = tiny.predict_log_proba([[2.0**460]])  # squares of 2^860 deviations overflow
    np.testing.assert_allclose(found, [[-10 * 2.0**860, 0.0]], rtol=1e-12)


def test_classes_of_partial_fit_that_have_no_rows_are_impossible():
    X, y = problem()
    model = GaussianNB().partial_fit(X, y, classes=[0, 1, 2, 7])
    logs = model.predict_log_proba(X)
    assert (logs[:, 3] == -np.inf).all()
    np.testing.assert_allclose(logs[:, :3], GaussianNB().fit(X, y).predict_log_proba(X), rtol=1e-12)
    model.partial_fit(X + 50, np.full(len(y), 7))
    assert (model.predict(X + 50) == 7).all()


def test_priors_go_before_shares():
    X, y = problem()
    model = GaussianNB(priors=[0.5, 0.25, 0.25]).fit(X, y)
    plain = GaussianNB().fit(X, y)
    apart = model.predict_joint_log_proba(X) - plain.predict_joint_log_proba(X)
    want = np.log([0.5, 0.25, 0.25]) - np.log(plain.class_prior_)
    np.testing.assert_allclose(apart, np.tile(want, (len(y), 1)), rtol=1e-9)
    with pytest.raises(ValueError, match="must sum to one"):
        GaussianNB(priors=[0.5, 0.4, 0.2]).fit(X, y)
