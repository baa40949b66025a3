"""LinearDiscriminantAnalysis: solvers, shrinkage, projections, ranks, and what others got wrong."""

import numpy as np
import pytest
import sklearn.covariance
import sklearn.discriminant_analysis
from sklearn.datasets import load_iris

from kernelmill.discriminant_analysis import LinearDiscriminantAnalysis

SKLEARN = sklearn.discriminant_analysis.LinearDiscriminantAnalysis
SOLVERS = ("svd", "lsqr", "eigen")


def problem(n=160, d=5, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=(k, d))[y], y


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shrinkage", [None, 0.0, 0.3, 1.0, "auto"])
@pytest.mark.parametrize("priors", [None, [0.5, 0.2, 0.3]])
def test_it_is_the_model_of_scikit_learn(solver, shrinkage, priors):
    if solver == "svd" and shrinkage is not None:
        return
    X, y = problem()
    options = {"solver": solver, "shrinkage": shrinkage, "priors": priors}
    ours = LinearDiscriminantAnalysis(store_covariance=True, **options).fit(X, y)
    theirs = SKLEARN(store_covariance=True, **options).fit(X, y)
    for name in ("means_", "priors_", "covariance_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-10)
    size = np.abs(theirs.decision_function(X)).max()
    got, want = ours.decision_function(X), theirs.decision_function(X)
    apart = (got - got[:, :1]) - (want - want[:, :1])
    np.testing.assert_allclose(apart / size, 0, atol=1e-11)
    if solver == "svd":
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)
        np.testing.assert_allclose(ours.xbar_, theirs.xbar_, rtol=1e-12)
    if solver != "lsqr" and shrinkage != 1.0:  # then all axes are alike
        np.testing.assert_allclose(
            ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-9
        )
        axes = ours.scalings_[:, :2] * np.sign((ours.scalings_ * theirs.scalings_).sum(0)[:2])
        np.testing.assert_allclose(axes, theirs.scalings_[:, :2], rtol=1e-8)
        got = np.abs(ours.transform(X))
        np.testing.assert_allclose(got, np.abs(theirs.transform(X)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_and_divisors(solver):
    """scikit-learn/scikit-learn#8212, scikit-learn/scikit-learn#25662"""
    X, y = [[0, 0], [2, 1], [1, 3], [4, 1], [6, 3], [5, 2]], [0, 0, 0, 1, 1, 1]
    model = LinearDiscriminantAnalysis(solver).fit(X, y)
    np.testing.assert_allclose(model.coef_, [[8.377358, -3.169811]], rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, [-19.849057], rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba([[3, 2]])[0, 0], 0.742041, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_variance_within_classes(solver):
    """scikit-learn/scikit-learn#18671"""
    for X in ([[0], [1], [1]], [[0.1], [0.3], [0.3]], [[0, 7], [1, 8], [1, 8]]):
        model = LinearDiscriminantAnalysis(solver)
        with pytest.raises(ValueError, match="X must vary within classes"):
            model.fit(X, [0, 1, 1])
    with pytest.raises(ValueError, match="more rows than classes, got 2 for 2"):
        model.fit([[0], [1]], [0, 1])
    model.partial_fit([[0.1], [0.3], [0.3]], [0, 1, 1], classes=[0, 1])
    with pytest.raises(ValueError, match="X must vary within classes"):
        model.predict([[0.0]])
    model.partial_fit([[0.2], [0.4]], [0, 1])
    assert model.predict([[0.0], [0.5]]).tolist() == [0, 1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_constant_columns_take_no_part(solver):
    X, y = problem()
    plain = LinearDiscriminantAnalysis(solver).fit(X, y)
    more = np.column_stack([X, np.full(len(y), 1e8 / 3), np.where(y == 1, 0.1, 0.3)])
    model = LinearDiscriminantAnalysis(solver).fit(more, y)
    np.testing.assert_allclose(model.predict_proba(more), plain.predict_proba(X), rtol=1e-6)
    assert (model.coef_[:, 5:] == 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_dependent_columns_change_nothing(solver):
    X, y = problem()
    plain = LinearDiscriminantAnalysis(solver).fit(X, y)
    for scale in (1.0, 1e-9, 1e9):
        more = np.column_stack([X, scale * (X[:, 0] - 2 * X[:, 1])])
        model = LinearDiscriminantAnalysis(solver).fit(more, y)
        np.testing.assert_allclose(model.predict_proba(more), plain.predict_proba(X), rtol=1e-6)


def test_tol_has_no_unit():
    rng = np.random.default_rng(0)
    X, y = problem()
    X = np.column_stack([X, X[:, 0] + 1e-3 * rng.normal(size=len(y))])
    for scales in (np.ones(6), 10.0 ** rng.integers(-30, 30, 6)):
        for tol, rank in ((1e-6, 6), (1e-2, 5)):
            model = LinearDiscriminantAnalysis(tol=tol).fit(X * scales, y)
            plain = LinearDiscriminantAnalysis().fit(X[:, : 6 if rank == 6 else 5], y)
            got = model.predict_proba(X * scales)
            atol = 1e-6 if rank == 6 else 0.02
            np.testing.assert_allclose(got, plain.predict_proba(X[:, :rank]), atol=atol)


def test_badly_conditioned_rows_keep_their_digits():
    rng = np.random.default_rng(1)
    y = np.arange(300) % 2
    Z = rng.integers(-8, 9, (300, 2)) + 3.0 * y[:, None]
    # The second column is the first and a part in 2^22 of another; all sums are exact.
    X = np.column_stack([Z[:, 0], Z[:, 0] + Z[:, 1] * 2.0**-22])
    want = LinearDiscriminantAnalysis().fit(Z, y)
    model = LinearDiscriminantAnalysis(tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), want.predict_proba(Z), rtol=1e-6)
    assert LinearDiscriminantAnalysis(tol=1e-4).fit(X, y).scalings_.shape == (2, 1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fewer_rows_than_features(solver):
    X, y = problem(n=20, d=50)
    ours = LinearDiscriminantAnalysis(solver).fit(X, y)
    if solver == "svd":
        theirs = SKLEARN().fit(X, y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-8)
    # Both leave out what the rows do not determine.
    want = LinearDiscriminantAnalysis().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(ours.predict_proba(X), want, rtol=1e-6)
    shrunk = LinearDiscriminantAnalysis("eigen", "auto").fit(X, y)
    np.testing.assert_allclose(
        shrunk.predict_proba(X), SKLEARN("eigen", "auto").fit(X, y).predict_proba(X), rtol=1e-7
    )


def test_wide_rows_are_reduced_as_moments_are():
    X, y = problem(n=40, d=60)
    w = np.random.default_rng(1).integers(1, 3, 40).astype(float)
    few = LinearDiscriminantAnalysis().fit(X, y, sample_weight=w)  # by the rows
    times = w.astype(int)
    many = LinearDiscriminantAnalysis().fit(np.repeat(X, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(few.predict_log_proba(X), many.predict_log_proba(X), rtol=1e-7)


def test_projections():
    X, y = load_iris(return_X_y=True)
    model = LinearDiscriminantAnalysis(n_components=1).fit(X, y)
    Z = model.transform(X)
    assert Z.shape == (150, 1)
    assert model.get_feature_names_out().tolist() == ["lineardiscriminantanalysis0"]
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    streamed = model.transform(lambda: iter([X[:100], X[100:]]))
    np.testing.assert_allclose(np.concatenate([chunk for chunk, _ in streamed]), Z)
    # Round within classes.
    Z = LinearDiscriminantAnalysis().fit_transform(X, y)
    within = sum(np.cov(Z[y == c].T, bias=True) for c in range(3)) / 3
    np.testing.assert_allclose(within, np.eye(2), atol=1e-10)
    with pytest.raises(NotImplementedError, match="transform not implemented for 'lsqr'"):
        LinearDiscriminantAnalysis("lsqr").fit(X, y).transform(X)
    with pytest.raises(ValueError, match="n_components must be at most 2, got 3"):
        LinearDiscriminantAnalysis(n_components=3).fit(X, y)


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
def test_covariances_of_an_estimator(solver):
    X, y = problem()
    estimator = sklearn.covariance.OAS()
    ours = LinearDiscriminantAnalysis(solver, covariance_estimator=estimator).fit(X, y)
    theirs = SKLEARN(solver, covariance_estimator=estimator).fit(X, y)
    np.testing.assert_allclose(ours.covariance_, theirs.covariance_, rtol=1e-10)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8)
    streamed = LinearDiscriminantAnalysis(solver, covariance_estimator=estimator)
    streamed.fit(lambda: iter([X[:50], X[50:]]), y)
    np.testing.assert_allclose(streamed.covariance_, ours.covariance_, rtol=1e-10)
    with pytest.raises(ValueError, match="sample_weight must be left out"):
        ours.fit(X, y, sample_weight=np.arange(len(y)) + 1.0)
    with pytest.raises(ValueError, match="does not have a covariance_ attribute"):
        LinearDiscriminantAnalysis(solver, covariance_estimator=_NoCovariance()).fit(X, y)
    with pytest.raises(ValueError, match="shrinkage must be None with a covariance_estimator"):
        LinearDiscriminantAnalysis(solver, 0.1, covariance_estimator=estimator).fit(X, y)


class _NoCovariance:
    def fit(self, X):
        return self


def test_what_a_solver_does_not_take_is_refused():
    X, y = problem()
    with pytest.raises(NotImplementedError, match="shrinkage must be None for solver='svd'"):
        LinearDiscriminantAnalysis(shrinkage=0.1).fit(X, y)
    with pytest.raises(ValueError, match="covariance_estimator must be None for solver='svd'"):
        LinearDiscriminantAnalysis(covariance_estimator=sklearn.covariance.OAS()).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        LinearDiscriminantAnalysis().fit(X, np.zeros(len(y)))


def test_far_classes_and_far_rows_keep_their_digits():
    rng = np.random.default_rng(2)
    y = np.arange(200) % 2
    Z = rng.integers(-64, 65, (200, 3)) / 64.0
    apart = Z + 2.0**30 * y[:, None]  # exact
    model = LinearDiscriminantAnalysis().fit(apart, y)
    W = sum(np.cov(Z[y == c].T, bias=True) for c in range(2)) / 2
    np.testing.assert_allclose(model.coef_[0] @ W / 2.0**30, np.ones(3), rtol=1e-6)


def test_parts_go_on_with_other_parameters_only_where_moments_suffice():
    X, y = problem()
    model = LinearDiscriminantAnalysis("lsqr").partial_fit(X[:80], y[:80], classes=[0, 1, 2])
    with pytest.raises(ValueError, match="partial_fit must do with moments"):
        model.set_params(shrinkage="auto").partial_fit(X[80:], y[80:])
    with pytest.raises(ValueError, match="must go on with the moments of the first call"):
        model.set_params(shrinkage=None, priors=[0.2, 0.3, 0.5]).partial_fit(X[80:], y[80:])
    model.set_params(priors=None).partial_fit(X[80:], y[80:])
    want = LinearDiscriminantAnalysis("lsqr").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X), want, rtol=1e-9)
