"""QuadraticDiscriminantAnalysis: definitions, ranks, and what others got wrong."""

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.covariance
import sklearn.discriminant_analysis

from kernelmill.discriminant_analysis import QuadraticDiscriminantAnalysis

SKLEARN = sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis


def problem(n=160, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    X = np.einsum("nd,nde->ne", rng.normal(size=(n, d)), rng.normal(size=(k, d, d))[y])
    return X + rng.normal(size=(k, d))[y], y


@pytest.mark.parametrize(
    "options",
    [
        {}, {"reg_param": 0.3}, {"priors": [0.2, 0.5, 0.3]}, {"solver": "eigen"},
        {"solver": "eigen", "shrinkage": 0.4}, {"solver": "eigen", "shrinkage": "auto"},
        {"solver": "eigen", "covariance_estimator": sklearn.covariance.OAS()},
    ],
    ids=str,
)  # fmt: skip
def test_it_is_the_model_of_scikit_learn(options):
    X, y = problem()
    ours = QuadraticDiscriminantAnalysis(store_covariance=True, **options).fit(X, y)
    theirs = SKLEARN(store_covariance=True, **options).fit(X, y)
    for name in ("means_", "priors_", "covariance_", "scalings_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    for R, S, C in zip(ours.rotations_, ours.scalings_, ours.covariance_, strict=True):
        np.testing.assert_allclose((R * S) @ R.T, C, rtol=1e-9, atol=1e-12)
    want = theirs.decision_function(X)
    np.testing.assert_allclose(ours.decision_function(X), want, rtol=1e-9, atol=1e-9)
    two = y < 2
    pair = QuadraticDiscriminantAnalysis().fit(X[two], y[two])
    want = SKLEARN().fit(X[two], y[two]).decision_function(X)
    np.testing.assert_allclose(pair.decision_function(X), want, rtol=1e-9, atol=1e-9)


def test_a_class_on_a_line():
    """scikit-learn/scikit-learn#14997"""
    line = np.repeat(np.arange(10.0)[:, None], 2, 1)
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), -1).reshape(-1, 2)
    X, y = np.vstack([line, grid]), np.array(["line"] * 10 + ["grid"] * 16)
    for scale in (1.0, 1e-100, 1e100):
        words = "class 'line' must have rank 2, got rank 1.*raise reg_param"
        with pytest.raises(np.linalg.LinAlgError, match=words):
            QuadraticDiscriminantAnalysis().fit(scale * X, y)
        with pytest.raises(np.linalg.LinAlgError, match="raise shrinkage"):
            QuadraticDiscriminantAnalysis(solver="eigen").fit(scale * X, y)
        shrunk = QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.1).fit(scale * X, y)
        assert shrunk.predict(scale * line[4:]).tolist() == ["line"] * 6
    model = QuadraticDiscriminantAnalysis(reg_param=0.1).fit(X, y)
    assert np.isfinite(model.predict_log_proba(X)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 / 3])
def test_a_class_of_one_row_or_with_a_constant(value):
    X, y = problem()
    with pytest.raises(np.linalg.LinAlgError, match="class 9 must have rank 4, got rank 0"):
        QuadraticDiscriminantAnalysis().fit(np.vstack([X, np.full((1, 4), value)]), [*y, 9])
    X[y == 1, 2] = value
    with pytest.raises(np.linalg.LinAlgError, match="class 1 must have rank 4, got rank 3"):
        QuadraticDiscriminantAnalysis().fit(X, y)


def test_tol_has_no_unit():
    X, y = problem()
    near = np.column_stack([X, X[:, 0] + 1e-5 * np.random.default_rng(0).normal(size=len(y))])
    for scales in (np.ones(5), np.array([1e-20, 1, 1e20, 1e-3, 1e30])):
        with pytest.raises(np.linalg.LinAlgError, match="must have rank 5, got rank 4"):
            QuadraticDiscriminantAnalysis().fit(near * scales, y)
        QuadraticDiscriminantAnalysis(tol=1e-7).fit(near * scales, y)


@pytest.mark.parametrize("tol", [0.0, 1e-4])
def test_a_copied_feature_is_refused_without_another_warning(tol):
    X, y = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(np.linalg.LinAlgError):
            QuadraticDiscriminantAnalysis(tol=tol).fit(X[:, [0, 1, 0]], y)


def test_log_posteriors_are_those_of_normal_densities():
    X, y = problem()
    model = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, y)
    joint = np.stack(
        [
            scipy.stats.multivariate_normal(m, C).logpdf(X) + np.log(p)
            for m, C, p in zip(model.means_, model.covariance_, model.priors_, strict=True)
        ],
        axis=1,
    )
    want = joint - np.log(np.exp(joint).sum(1, keepdims=True))
    np.testing.assert_allclose(model.predict_log_proba(X), want, rtol=1e-8, atol=1e-10)


def test_far_points_keep_their_digits():
    rng = np.random.default_rng(0)
    Z = rng.integers(-8, 9, (64, 2)) / 8.0
    X, y = np.vstack([Z, Z + np.array([8, 0])]), np.repeat([0, 1], 64)
    model = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, y)
    P = np.linalg.inv(model.covariance_[0])
    m, v = model.means_[0], np.array([8.0, 0.0])
    for size in (1e3, 1e9, 1e15):
        x = np.array([[size, -size]])
        want = v @ P @ (x[0] - m) - v @ P @ v / 2
        found = model.predict_log_proba(x)[0]
        np.testing.assert_allclose(found[1] - found[0], want, rtol=1e-6)


def test_what_a_solver_does_not_take_is_refused():
    X, y = problem()
    with pytest.raises(NotImplementedError, match="shrinkage must be None for solver='svd'"):
        QuadraticDiscriminantAnalysis(shrinkage=0.1).fit(X, y)
    with pytest.raises(ValueError, match="covariance_estimator must be None for solver='svd'"):
        QuadraticDiscriminantAnalysis(covariance_estimator=sklearn.covariance.OAS()).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        QuadraticDiscriminantAnalysis().fit(X, np.zeros(len(y)))


def test_parts_that_do_not_determine_covariances_are_kept():
    X, y = problem()
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    model = QuadraticDiscriminantAnalysis().partial_fit(X[:3], y[:3], classes=[0, 1, 2])
    for call in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(np.linalg.LinAlgError, match="class 0 must have rank 4, got rank 2"):
            call(X)
    model.partial_fit(X[3:90], y[3:90]).partial_fit(X[90:], y[90:])
    want = QuadraticDiscriminantAnalysis().fit(X, y).predict_log_proba(X)
    np.testing.assert_allclose(model.predict_log_proba(X), want, rtol=1e-8, atol=1e-10)
